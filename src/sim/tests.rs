//! Scenarios of whole clusters: what must hold, and how soon.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::cluster::{Cluster, Plan, from_instance, values};
use super::fault::Fault;
use super::network::Weather;
use super::record::Record;
use super::scenario::{Scenario, run_seed};
use super::script::Stage;
use super::trace::{Detail, Trace};
use crate::protocol::message::Assignment;
use crate::protocol::types::{NodeId, Role, Time, To};

const SECOND: Duration = Duration::from_secs(1);

fn after(cluster: &Cluster, length: Duration) -> Time {
    cluster.now() + length
}

/// Runs until clients and learners have everything, for at most `limit`.
fn finish(cluster: &mut Cluster, limit: Duration) {
    let deadline = after(cluster, limit);
    let done = cluster
        .run_until(deadline, |cluster| cluster.clients_finished() && cluster.learners_complete())
        .unwrap_or_else(|violation| panic!("{violation}"));
    assert!(done, "not finished by {deadline}: {:?} {:?}", cluster.tally(1), cluster.tally(2));
}

fn lossy(loss: f64) -> Weather {
    Weather {
        loss,
        duplication: 0.05,
        delay_min: Duration::from_micros(20),
        delay_max: Duration::from_millis(2),
        line: None,
    }
}

fn proposer(id: u32) -> NodeId {
    NodeId::new(Role::Proposer, id)
}

#[test]
fn a_clean_run_decides_everything_in_milliseconds() {
    let mut cluster = Cluster::new(Plan::default());
    cluster.start_client(1, from_instance(1), values(1, 1000));
    cluster.start_client(2, from_instance(1), values(2, 1000));
    finish(&mut cluster, SECOND / 2);
    let (first, second) = (cluster.tally(1), cluster.tally(2));
    let (Some(first), Some(second)) = (first, second) else { panic!("two clients") };
    assert_eq!(first.delivered + second.delivered, 1000);
    assert_eq!(first.lost + second.lost, 1000);
    assert_eq!(cluster.delivered(1).len(), 1000);
    assert_eq!(cluster.delivered(1), cluster.delivered(2));
}

#[test]
fn leader_assigned_values_are_delivered_once_under_loss() {
    for seed in 1..=20 {
        for no_preexecution in [false, true] {
            let weather = lossy(0.1 * (seed % 4) as f64);
            let mut cluster =
                Cluster::new(Plan { seed, weather, no_preexecution, ..Plan::default() });
            cluster.start_client(1, Assignment::Leader, values(1, 300));
            cluster.start_client(2, Assignment::Leader, values(2, 300));
            finish(&mut cluster, 20 * SECOND);
            assert_eq!(cluster.delivered(1).len(), 600, "seed {seed}");
            assert_eq!(cluster.delivered(1), cluster.delivered(2), "seed {seed}");
        }
    }
}

#[test]
fn a_killed_leader_is_replaced_and_nothing_is_lost() {
    for seed in 1..=20 {
        for no_preexecution in [false, true] {
            let weather = lossy(0.05 * (seed % 3) as f64);
            let mut cluster =
                Cluster::new(Plan { seed, weather, no_preexecution, ..Plan::default() });
            cluster.start_client(1, Assignment::Leader, values(1, 5000));
            cluster.start_client(2, from_instance(1), values(2, 200));
            let deadline = after(&cluster, SECOND);
            let early = |cluster: &Cluster| cluster.checker().chosen().len() > 100;
            cluster.run_until(deadline, early).unwrap_or_else(|violation| panic!("{violation}"));
            cluster.kill(proposer(1));
            finish(&mut cluster, 20 * SECOND);
            assert_eq!(cluster.leader(), Some(proposer(2)), "seed {seed}");
        }
    }
}

#[test]
fn a_paused_leader_comes_back_and_does_no_harm() {
    for seed in 1..=10 {
        let mut cluster = Cluster::new(Plan { seed, ..Plan::default() });
        cluster.start_client(1, Assignment::Leader, values(1, 5000));
        cluster
            .run_for(Duration::from_millis(55))
            .unwrap_or_else(|violation| panic!("{violation}"));
        cluster.pause(proposer(1), 3 * SECOND);
        cluster.start_client(2, Assignment::Leader, values(2, 5000));
        finish(&mut cluster, 2 * SECOND);
        cluster.run_for(4 * SECOND).unwrap_or_else(|violation| panic!("{violation}"));
        assert_eq!(cluster.leader(), Some(proposer(2)));
        assert_eq!(cluster.delivered(2).len(), 10_000);
    }
}

#[test]
fn a_late_learner_fetches_a_long_log_quickly() {
    let mut cluster = Cluster::new(Plan { learners: 1, ..Plan::default() });
    cluster.start_client(1, Assignment::Leader, values(1, 20_000));
    finish(&mut cluster, 10 * SECOND);
    cluster.network.weather = lossy(0.3);
    cluster.start(NodeId::new(Role::Learner, 2));
    finish(&mut cluster, 4 * SECOND);
    assert_eq!(cluster.delivered(2), cluster.delivered(1));
}

#[test]
fn without_a_quorum_nothing_is_decided() {
    let mut cluster = Cluster::new(Plan::default());
    cluster.kill(NodeId::new(Role::Acceptor, 1));
    cluster.kill(NodeId::new(Role::Acceptor, 2));
    cluster.start_client(1, from_instance(1), values(1, 10));
    cluster.run_for(5 * SECOND).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(cluster.checker().chosen().is_empty());
    // With the second acceptor, everything is decided soon.
    cluster.start(NodeId::new(Role::Acceptor, 2));
    finish(&mut cluster, 2 * SECOND);
}

#[test]
fn a_leader_cut_off_from_the_acceptors_gives_way() {
    let mut cluster = Cluster::new(Plan { proposers: 3, ..Plan::default() });
    cluster.run_for(SECOND / 2).unwrap_or_else(|violation| panic!("{violation}"));
    for id in 1..=3 {
        cluster.network.cut(proposer(1), NodeId::new(Role::Acceptor, id));
    }
    cluster.start_client(1, Assignment::Leader, values(1, 100));
    finish(&mut cluster, 4 * SECOND);
    assert_eq!(cluster.leader(), Some(proposer(2)));
}

/// Cuts proposer 1 off, lets proposer 2 lead, kills it, and connects proposer 1 again, which
/// believes that it leads. Nothing it does is refused, for it does nothing: the clients request
/// numbers that follow values it never heard of. With `without_learners` only the clients have
/// heard of them.
fn miss_a_successor(without_learners: bool) {
    let mut cluster = Cluster::new(Plan::default());
    cluster.start_typist(1, Assignment::Leader, values(1, 1000), Duration::from_millis(4));
    cluster.run_for(SECOND).unwrap_or_else(|violation| panic!("{violation}"));
    let learners = [1, 2].map(|id| NodeId::new(Role::Learner, id));
    let others = [1, 2, 3].map(|id| NodeId::new(Role::Acceptor, id)).into_iter().chain(learners);
    for other in others.chain([proposer(2), NodeId::new(Role::Client, 1)]) {
        cluster.network.cut(proposer(1), other);
        cluster.network.cut(other, proposer(1));
    }
    if without_learners {
        learners.into_iter().for_each(|learner| cluster.network.cut(proposer(2), learner));
    }
    cluster.run_for(SECOND).unwrap_or_else(|violation| panic!("{violation}"));
    cluster.kill(proposer(2));
    cluster.network.heal();
    finish(&mut cluster, 5 * SECOND);
    assert_eq!(cluster.delivered(1).len(), 1000);
}

/// Found with pulled cables.
#[test]
fn a_leader_that_missed_its_successor_hears_of_it_from_learners() {
    miss_a_successor(false);
}

/// Found by seed 78482 of the simulator.
#[test]
fn a_leader_that_missed_its_successor_hears_of_it_from_clients() {
    miss_a_successor(true);
}

#[test]
fn when_everything_is_decided_only_heartbeats_remain() {
    let mut cluster = Cluster::new(Plan { weather: lossy(0.2), ..Plan::default() });
    cluster.start_client(1, from_instance(5), values(1, 100));
    cluster.start_client(2, Assignment::Leader, values(2, 100));
    finish(&mut cluster, 10 * SECOND);
    cluster.run_for(2 * SECOND).unwrap_or_else(|violation| panic!("{violation}"));
    let before = cluster.checker().sent();
    cluster.run_for(SECOND).unwrap_or_else(|violation| panic!("{violation}"));
    // 50 a second from each learner, four times 50 from the leader, 17 from the standby, and at
    // most four in three intervals from each acceptor.
    let heartbeats = 50 * (2 + 4) + 17 + 67 * 3;
    let sent = cluster.checker().sent() - before;
    assert!(sent <= heartbeats + 10, "{sent} messages in a quiet second");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let hash = |seed| Scenario::drawn(seed).run(Trace::silent()).hash;
    let hashes: Vec<u64> = (1..=10).map(hash).collect();
    assert_eq!(hashes, (1..=10).map(hash).collect::<Vec<_>>());
    assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]));
}

/// Reading along changes nothing.
#[test]
fn a_trace_that_is_read_has_the_same_hash() {
    let scenario =
        Scenario { faults: vec![(Time(500_000), Fault::KillLeader)], ..Scenario::calm(7) };
    let lines = Rc::new(Cell::new(0));
    let counted = Rc::clone(&lines);
    let read = Trace::told(Detail::Everything, move |_| counted.set(counted.get() + 1));
    assert_eq!(scenario.run(read), scenario.run(Trace::silent()));
    assert!(lines.get() > 1000, "{} lines", lines.get());
}

#[test]
fn chaos_breaks_nothing() {
    let seeds: u64 = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    let first: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut chosen = 0;
    for seed in first..first + seeds {
        let outcome = run_seed(seed).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        chosen += outcome.chosen;
    }
    assert!(chosen > 0, "a run that decides nothing shows nothing");
}

/// Whom a table in ARCHITECTURE.md says a kind of message is sent to: roles whose groups, and roles
/// of which one process.
fn addressees() -> BTreeSet<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, section) = page.split_once("## Who is sent which message").expect("the section");
    let mut told = BTreeSet::new();
    for row in section.lines().skip_while(|line| !line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, kinds, groups, alone, _, _] = cells[..] else { break };
        for kind in kinds.split(", ").map(|kind| kind.trim_matches('`').to_owned()) {
            let named = groups.split(", ").chain(alone.split(", ")).filter(|to| *to != "-");
            told.extend(named.map(|to| (kind.clone(), to.to_owned())));
        }
    }
    told
}

#[test]
fn messages_are_addressed_as_the_architecture_says() {
    let told = addressees();
    assert!(told.len() > 35, "the table was not understood: {told:?}");
    let runs = (1..=6).map(|seed| {
        let record = Record::shared();
        let _ = Scenario::drawn(seed).run(Trace::silent().recorded(Rc::clone(&record)));
        record.take()
    });
    // What is rare happens there.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/protocol/testdata");
    let transcripts = std::fs::read_dir(folder).unwrap().map(|file| {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        Stage::recorded(&text).unwrap_or_else(|what| panic!("{what}")).1
    });
    let sent = runs.chain(transcripts).flat_map(|record| record.messages);
    let addressed = sent.filter_map(|sent| {
        let to = match sent.to? {
            To::Group(role) => format!("{role}s"),
            To::Node(node) => node.role.to_string(),
        };
        Some((format!("{:?}", sent.message?.kind()), to))
    });
    let mut seen: BTreeSet<(String, String)> = addressed.collect();
    // That is the second try, 200 ms later: `proposer/incarnations.rs` has a test of it.
    seen.insert(("Disown".to_owned(), "acceptors".to_owned()));
    let wrong: Vec<_> = seen.difference(&told).collect();
    assert!(wrong.is_empty(), "the table lacks {wrong:?}");
    let unseen: Vec<_> = told.difference(&seen).collect();
    assert!(unseen.is_empty(), "nobody sends {unseen:?}");
}
