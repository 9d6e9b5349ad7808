//! Are the tests able to see? A store in this process, a short load, and the judge: without a bug
//! nothing is found, and with each of the deliberate ones something is.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use multi_paxos::{Cluster, Position, StateMachine};

use crate::bugs::{Bug, with};
use crate::entry::{self, Steps};
use crate::judge;
use crate::machine::{Machine, Shared};
use crate::options::Serving;
use crate::server::Server;

/// A load on a store of three servers in this process. Returns how many operations were judged, or
/// what is wrong.
fn run(seconds: u64) -> Result<usize, String> {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let (folder, name) = (tempfile::tempdir().unwrap(), format!("hunt-{}", std::process::id()));
    let cluster = Cluster::builder(&format!("{name}-{count}"))
        .multicast("239.0.0.1".parse().unwrap(), 19_700 + 4 * count)
        .data(folder.path())
        .build()
        .unwrap();
    let start = |id: u32| {
        let serving = Serving {
            id,
            listen: ([127, 0, 0, 1], 0).into(),
            reads_locally: false,
            password: None,
            clients_max: 100,
            idle: None,
            origin: u64::from(id),
        };
        Server::start(&cluster, serving).unwrap()
    };
    let servers = [1, 2, 3].map(start);
    let ports = servers.each_ref().map(|server| server.address().port());
    let stoppers = servers.each_ref().map(Server::stopper);
    let slow = servers[2].store();
    let mut log = cluster.subscribe(4).unwrap();
    let threads = servers.map(|server| thread::spawn(move || server.run(|_| ())));
    let is_over = AtomicBool::new(false);
    let history = thread::scope(|scope| {
        let load = scope.spawn(|| judge::load(ports, &is_over));
        // One of the replicas falls behind, again and again.
        for _ in 0..seconds * 25 {
            let held = slow.lock();
            thread::sleep(Duration::from_millis(20));
            drop(held);
            thread::sleep(Duration::from_millis(20));
        }
        is_over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    let lists = judge::lists(ports[0]);
    let judged = judge::judge(&history, &judge::registers(&mut log, ports[0]), &lists);
    stoppers.iter().for_each(|stopper| stopper.stop());
    threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    judged
}

/// Whether two replicas hold the same, of which one applies the log later than the other.
fn replicas_agree() -> bool {
    let mut steps = Steps::default();
    steps.command(&["SET", "k", "v", "PX", "50"]);
    let value = [entry::begin(1, 1_700_000_000_000), steps.as_bytes().to_vec()].concat();
    let digests = [0, 5].map(|pause| {
        thread::sleep(Duration::from_millis(pause));
        let mut machine = Machine::new(Shared::default(), 2);
        machine.apply(Position(1), &value);
        machine.digest()
    });
    digests[0] == digests[1]
}

#[test]
fn nothing_is_wrong_and_every_deliberate_bug_is_seen() {
    let judged = with(None, || run(2));
    assert!(judged.as_ref().is_ok_and(|count| *count > 200), "{judged:?}");
    assert!(with(None, replicas_agree));
    assert!(!with(Some(Bug::ExpiresByLocalClock), replicas_agree));
    let bugs =
        [Bug::AnswersBeforeDecided, Bug::ReadsLocally, Bug::AppliesTwice, Bug::IgnoresWatched];
    for bug in bugs {
        // Some show themselves only now and then.
        let seen = (1..=5).find_map(|try_| with(Some(bug), || run(1)).err().map(|why| (try_, why)));
        let Some((tries, why)) = seen else { panic!("{bug:?} is not seen") };
        println!("{bug:?} is seen in run {tries}: {why}");
    }
}
