//! Are the tests able to see? A store in this process: without a bug nothing is found, and with
//! each of the deliberate ones something is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use multi_paxos::{Cluster, NodeError, Place, Position, StateMachine, conformance};
use redis::Value;

use crate::bugs::{Bug, GATE, SLOW, with};
use crate::entry::{self, Reader, Steps};
use crate::judge;
use crate::machine::{self, Machine, Shared};
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

/// Whether no process reads a key whose time is over, although nobody has written since.
fn what_has_expired_is_not_read() -> bool {
    let world = World::start();
    assert_eq!(judge::ask(&world.urls[0], &["SET", "k", "v", "PX", "30"]), Value::Okay);
    thread::sleep(Duration::from_millis(40));
    let told = [0, 1, 2].map(|place| judge::ask(&world.urls[place], &["GET", "k"]));
    world.stop();
    told == [Value::Nil, Value::Nil, Value::Nil]
}

/// A place in the log, and its time in milliseconds since `START`.
fn at(position: u64, millis: u64) -> Place {
    let since = Duration::from_millis(START + millis);
    Place::new(Position(position), Some(SystemTime::UNIX_EPOCH + since))
}

/// In milliseconds since 1970.
const START: u64 = 1_700_000_000_000;

/// A command as a person would type it.
fn steps(line: &str) -> Steps {
    let mut steps = Steps::default();
    steps.command(&line.split(' ').collect::<Vec<_>>());
    steps
}

/// An entry with one command.
fn value(line: &str) -> Vec<u8> {
    [entry::begin(1), steps(line).as_bytes().to_vec()].concat()
}

/// The same as an earlier version wrote it, at this time since the start.
fn old_value(millis: u64, line: &str) -> Vec<u8> {
    [entry::begin_timed(1, START + millis), steps(line).as_bytes().to_vec()].concat()
}

/// Whether two replicas hold the same, of which one applies the log later than the other.
fn replicas_agree() -> bool {
    let digests = [0, 5].map(|pause| {
        thread::sleep(Duration::from_millis(pause));
        let mut machine = Machine::new(Shared::default(), 2);
        machine.apply(&at(1, 0), &value("SET k v PX 50"));
        machine.digest()
    });
    digests[0] == digests[1]
}

/// Whether a replica that begins with entries of an earlier version agrees with one that goes on
/// from a snapshot that this version took behind them. The clock of their proposer differed from
/// the leader's.
fn old_entries_are_what_they_were() -> bool {
    // The state that the earlier version made from them, and its form.
    let store = Shared::default();
    for (millis, line) in [(900, "SET k v PX 50"), (940, "SET l v PX 50")] {
        let mut store = store.lock();
        store.advance(START + millis);
        machine::read(&mut store, Reader::of(&steps(line)));
    }
    let mut snapshot = Vec::new();
    store.lock().write(&mut snapshot).unwrap();
    snapshot[0] = 1;

    let mut restored = Machine::new(Shared::default(), 2);
    restored.restore(&mut snapshot.as_slice()).unwrap();
    let whole = Shared::default();
    let mut machine = Machine::new(Arc::clone(&whole), 3);
    // Some are older than the log's times.
    machine.apply(&Place::new(Position(1), None), &old_value(900, "SET k v PX 50"));
    machine.apply(&at(2, 0), &old_value(940, "SET l v PX 50"));
    let is_same = machine.digest() == restored.digest();
    // The time stands still until that of the log is later than theirs.
    let expiring = [(3, 930), (4, 951), (5, 991)].map(|(position, millis)| {
        for each in [&mut machine, &mut restored] {
            each.apply(&at(position, millis), &value("INCR n"));
        }
        whole.lock().expiring()
    });
    is_same && machine.digest() == restored.digest() && expiring == [2, 1, 0]
}

/// Whether a machine is one by the library's own judgement.
fn machine_conforms() -> bool {
    let lines =
        ["SET a 1", "INCR a", "HSET h f v", "RPUSH l x y", "SADD s m", "SET t v EX 5", "DEL h"];
    let commands: Vec<_> = lines.into_iter().cycle().take(30).map(value).collect();
    let judged = conformance::check(|| Machine::new(Shared::default(), 2), &commands);
    judged.inspect_err(|fault| println!("{fault}")).is_ok()
}

/// Whether a machine goes on after a snapshot as the one it is of, which went on meanwhile.
fn snapshots_are_exact() -> bool {
    let mut machine = Machine::new(Shared::default(), 2);
    machine.apply(&at(1, 0), &value("INCR n"));
    let mut snapshot = Vec::new();
    let frozen = machine.freeze().unwrap();
    machine.apply(&at(2, 1), &value("INCR n"));
    frozen(&mut snapshot).unwrap();
    let mut restored = Machine::new(Shared::default(), 3);
    restored.apply(&at(1, 0), &value("SET other v"));
    restored.restore(&mut snapshot.as_slice()).unwrap();
    restored.apply(&at(2, 1), &value("INCR n"));
    restored.digest() == machine.digest()
}

#[test]
fn nothing_is_wrong_and_every_deliberate_bug_is_seen() {
    let judged = with(None, || load(2));
    assert!(judged.as_ref().is_ok_and(|count| *count > 100), "{judged:?}");
    assert!(with(None, reads_are_fresh) && with(None, replicas_agree));
    assert!(with(None, snapshots_are_exact) && with(None, machine_conforms));
    assert!(with(None, old_entries_are_what_they_were));
    assert!(with(None, what_has_expired_is_not_read));
    for bug in [Bug::FreezesLate, Bug::RestoreMerges, Bug::AnswersFromBeforeSnapshot] {
        assert!(!with(Some(bug), snapshots_are_exact), "{bug:?} is not seen");
        assert!(!with(Some(bug), machine_conforms), "{bug:?} conforms");
    }
    assert!(!with(Some(Bug::ReadsLocally), reads_are_fresh));
    assert!(!with(Some(Bug::ExpiresByLocalClock), replicas_agree));
    assert!(!with(Some(Bug::MisreadsOldEntries), old_entries_are_what_they_were));
    assert!(!with(Some(Bug::ReadsWhatExpired), what_has_expired_is_not_read));
    for bug in [Bug::AnswersBeforeDecided, Bug::AppliesTwice, Bug::IgnoresWatched] {
        // Some show themselves only now and then.
        let seen = (1..=5).find_map(|run| with(Some(bug), || load(1)).err().map(|why| (run, why)));
        let Some((run, why)) = seen else { panic!("{bug:?} is not seen") };
        println!("{bug:?} is seen in run {run}: {why}");
    }
}
