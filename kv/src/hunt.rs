//! Are the tests able to see? A store in this process: without a bug nothing is found, and with
//! each of the deliberate ones something is.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use multi_paxos::{Cluster, NodeError, Place, Position, StateMachine, conformance};
use redis::Value;

use crate::bugs::{Bug, GATE, SLOW, with};
use crate::entry::{self, Steps};
use crate::judge;
use crate::machine::{Machine, Shared};
use crate::options::Serving;
use crate::server::{Server, Stopper};

/// Three servers in this process.
struct World {
    cluster: Cluster,
    urls: [String; 3],
    stoppers: [Stopper; 3],
    threads: [JoinHandle<Result<(), NodeError>>; 3],
    _folder: tempfile::TempDir,
}

impl World {
    fn start() -> World {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster::builder(&format!("hunt-{}-{count}", std::process::id()))
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
        World {
            urls: servers.each_ref().map(|server| format!("redis://{}/", server.address())),
            stoppers: servers.each_ref().map(Server::stopper),
            threads: servers.map(|server| thread::spawn(move || server.run(|_| ()))),
            cluster,
            _folder: folder,
        }
    }

    fn stop(self) {
        self.stoppers.iter().for_each(Stopper::stop);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    }
}

/// A load of some seconds. Returns how many operations were judged, or what is wrong.
fn load(seconds: u64) -> Result<usize, String> {
    let world = World::start();
    let mut log = world.cluster.subscribe(4).unwrap();
    let is_over = AtomicBool::new(false);
    let history = thread::scope(|scope| {
        let load = scope.spawn(|| judge::load(&world.urls, Duration::ZERO, &is_over));
        thread::sleep(Duration::from_secs(seconds));
        is_over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    let lists = judge::lists(&world.urls[0]);
    let judged = judge::judge(&history, &judge::registers(&mut log, &world.urls[0]), &lists);
    world.stop();
    judged
}

/// Whether a process that has fallen behind reads what another one has acknowledged.
fn reads_are_fresh() -> bool {
    let world = World::start();
    let ask = |place: usize, words: &[&str]| judge::ask(&world.urls[place], words);
    let slow = SLOW as usize - 1;
    assert_eq!(ask(slow, &["GET", "k"]), Value::Nil);
    let held = GATE.lock();
    assert_eq!(ask(0, &["SET", "k", "v"]), Value::Okay);
    let told = thread::scope(|scope| {
        let read = scope.spawn(|| ask(slow, &["GET", "k"]));
        thread::sleep(Duration::from_millis(100));
        drop(held);
        read.join().unwrap()
    });
    world.stop();
    told == Value::BulkString(b"v".to_vec())
}

/// Where the first entries stand.
fn at(position: u64) -> Place {
    Place::new(Position(position), None)
}

/// Whether two replicas hold the same, of which one applies the log later than the other.
fn replicas_agree() -> bool {
    let mut steps = Steps::default();
    steps.command(&["SET", "k", "v", "PX", "50"]);
    let value = [entry::begin(1, 1_700_000_000_000), steps.as_bytes().to_vec()].concat();
    let digests = [0, 5].map(|pause| {
        thread::sleep(Duration::from_millis(pause));
        let mut machine = Machine::new(Shared::default(), 2);
        machine.apply(&at(1), &value);
        machine.digest()
    });
    digests[0] == digests[1]
}

/// Whether a machine is one by the library's own judgement.
fn machine_conforms() -> bool {
    let lines =
        ["SET a 1", "INCR a", "HSET h f v", "RPUSH l x y", "SADD s m", "SET t v PX 5", "DEL h"];
    let value = |(place, line): (usize, &str)| {
        let mut steps = Steps::default();
        steps.command(&line.split(' ').collect::<Vec<_>>());
        let now = 1_700_000_000_000 + place as u64;
        [entry::begin(1, now), steps.as_bytes().to_vec()].concat()
    };
    let commands: Vec<_> = lines.into_iter().cycle().take(30).enumerate().map(value).collect();
    let judged = conformance::check(|| Machine::new(Shared::default(), 2), &commands);
    judged.inspect_err(|fault| println!("{fault}")).is_ok()
}

/// Whether a machine goes on after a snapshot as the one it is of, which went on meanwhile.
fn snapshots_are_exact() -> bool {
    let value = |line: &str| {
        let mut steps = Steps::default();
        steps.command(&line.split(' ').collect::<Vec<_>>());
        [entry::begin(1, 1_700_000_000_000), steps.as_bytes().to_vec()].concat()
    };
    let mut machine = Machine::new(Shared::default(), 2);
    machine.apply(&at(1), &value("INCR n"));
    let mut snapshot = Vec::new();
    let frozen = machine.freeze().unwrap();
    machine.apply(&at(2), &value("INCR n"));
    frozen(&mut snapshot).unwrap();
    let mut restored = Machine::new(Shared::default(), 3);
    restored.apply(&at(1), &value("SET other v"));
    restored.restore(&mut snapshot.as_slice()).unwrap();
    restored.apply(&at(2), &value("INCR n"));
    restored.digest() == machine.digest()
}

#[test]
fn nothing_is_wrong_and_every_deliberate_bug_is_seen() {
    let judged = with(None, || load(2));
    assert!(judged.as_ref().is_ok_and(|count| *count > 100), "{judged:?}");
    assert!(with(None, reads_are_fresh) && with(None, replicas_agree));
    assert!(with(None, snapshots_are_exact) && with(None, machine_conforms));
    for bug in [Bug::FreezesLate, Bug::RestoreMerges] {
        assert!(!with(Some(bug), snapshots_are_exact), "{bug:?} is not seen");
        assert!(!with(Some(bug), machine_conforms), "{bug:?} conforms");
    }
    assert!(!with(Some(Bug::ReadsLocally), reads_are_fresh));
    assert!(!with(Some(Bug::ExpiresByLocalClock), replicas_agree));
    for bug in [Bug::AnswersBeforeDecided, Bug::AppliesTwice, Bug::IgnoresWatched] {
        // Some show themselves only now and then.
        let seen = (1..=5).find_map(|run| with(Some(bug), || load(1)).err().map(|why| (run, why)));
        let Some((run, why)) = seen else { panic!("{bug:?} is not seen") };
        println!("{bug:?} is seen in run {run}: {why}");
    }
}
