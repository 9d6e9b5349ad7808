//! Scenarios in which something is large, and must not make anything take long, or for ever.

use std::time::Duration;

use super::cluster::{Cluster, Plan, from_instance, values};
use super::network::Weather;
use crate::protocol::message::{Assignment, Kind};
use crate::protocol::settings::Settings;
use crate::protocol::types::{NodeId, Role};

const SECOND: Duration = Duration::from_secs(1);

/// Runs until clients and learners have everything, for at most `limit`; returns how long.
fn finish(cluster: &mut Cluster, limit: Duration) -> Duration {
    let begin = cluster.now();
    let is_done = |cluster: &Cluster| cluster.clients_finished() && cluster.learners_complete();
    let done =
        cluster.run_until(begin + limit, is_done).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(done, "not finished: {:?} {:?}", cluster.tally(1), cluster.tally(2));
    cluster.now().since(begin)
}

/// One value far above the others: the holes below it are closed in runs, a window at a time, and
/// those whose instances the leader chooses do not wait long.
#[test]
fn many_holes_are_closed_in_runs() {
    const HOLES: u64 = 200_000;
    let mut cluster = Cluster::new(Plan { learners: 1, ..Plan::default() });
    cluster.start_client(1, from_instance(HOLES), values(1, 1));
    cluster.run_for(SECOND / 2).unwrap_or_else(|violation| panic!("{violation}"));
    cluster.start_client(2, Assignment::Leader, values(2, 100));
    let before = cluster.checker().sent();
    let took = finish(&mut cluster, SECOND);
    assert!(took < SECOND / 2, "{took:?}");
    // 1,312 no-ops fit a datagram, which is accepted by three and told to two groups.
    let sent = cluster.checker().sent() - before;
    assert!(sent < 8 * HOLES / 1000, "{sent} datagrams");
    assert_eq!(cluster.elections(), 1);
}

/// Found by lowering it: with less room at the leader than its clients have in flight, nothing was
/// decided any more once a datagram was lost.
#[test]
fn a_short_queue_at_the_leader_is_live() {
    const CASES: [(usize, f64); 7] =
        [(1, 0.0), (100, 0.0), (1000, 0.0), (20, 0.1), (100, 0.1), (20, 0.3), (1000, 0.3)];
    for (seed, (request_queue, loss)) in (1..).zip(CASES) {
        let settings = Settings { request_queue, ..Settings::default() };
        let weather = Weather { loss, ..Weather::default() };
        let mut cluster = Cluster::new(Plan { seed, settings, weather, ..Plan::default() });
        let count = if request_queue < 100 { 50 } else { 5000 };
        cluster.start_client(1, Assignment::Leader, values(1, count));
        cluster.start_client(2, from_instance(1), values(2, count));
        finish(&mut cluster, 20 * SECOND);
    }
}

/// An instance that nobody can decide soon is waited for, and decided once the others are.
#[test]
fn an_instance_far_ahead_is_waited_for() {
    let settings = Settings { instances_ahead: 1024, ..Settings::default() };
    let mut cluster = Cluster::new(Plan { settings, ..Plan::default() });
    cluster.start_client(1, from_instance(1500), values(1, 10));
    cluster.run_for(3 * SECOND).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(cluster.tally(1).map(|tally| tally.undecided()), Some(10));
    cluster.start_client(2, from_instance(1), values(2, 1000));
    finish(&mut cluster, 3 * SECOND);
}

/// Found by counting: each plea was answered to all who plead. Here nobody can help them: the
/// proposers that hear the clients have no quorum.
#[test]
fn many_that_plead_cost_little_more_than_a_few() {
    let pleas_a_second = |clients: u32| {
        let mut cluster = Cluster::new(Plan { proposers: 3, ..Plan::default() });
        cluster.run_for(SECOND).unwrap_or_else(|violation| panic!("{violation}"));
        let leader = cluster.leader().expect("somebody leads");
        let others = (1..=3).map(|id| NodeId::new(Role::Proposer, id)).filter(|id| *id != leader);
        for (acceptor, other) in (1..=3).flat_map(|id| others.clone().map(move |it| (id, it))) {
            cluster.network.cut(NodeId::new(Role::Acceptor, acceptor), other);
        }
        for id in 1..=clients {
            cluster.network.cut(NodeId::new(Role::Client, id), leader);
            cluster.start_client(id, Assignment::Leader, values(id, 1));
        }
        cluster.run_for(SECOND * 4).unwrap_or_else(|violation| panic!("{violation}"));
        let sent = |cluster: &Cluster| cluster.checker().sent_of(&[Kind::Plea, Kind::Offer]);
        let before = sent(&cluster);
        cluster.run_for(SECOND * 4).unwrap_or_else(|violation| panic!("{violation}"));
        (sent(&cluster) - before) / 4
    };
    let (few, many) = (pleas_a_second(10), pleas_a_second(200));
    println!("10 clients: {few} a second; 200: {many}");
    assert!(few <= 60, "{few} a second");
    assert!(many <= 320, "{many} a second");
}
