//! Processes that are killed at their system calls. Each goes on afterwards, and its results are
//! compared with what was fed. `killer` says how they are killed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::killer::{Change, Killer, Moment, is_killed, moments, run};
use crate::world::{PAXOS, SOON, World, happens, text, values};

/// Lines for a client, from a thread, as fast as they are taken, until it is told to stop.
struct Feeder {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Feeder {
    fn new(mut stdin: ChildStdin, line: fn(usize) -> String, pause: Duration) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let feed = move || {
            let mut count = 0;
            while !ends.load(Ordering::Relaxed) {
                let lines: String = (count..count + 100).map(line).collect();
                stdin.write_all(lines.as_bytes()).unwrap();
                count += 100;
                thread::sleep(pause);
            }
            count
        };
        Feeder { is_over, thread: thread::spawn(feed) }
    }

    /// How many lines it has fed.
    fn end(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A first start that is killed at each of its system calls starts the next time.
#[test]
fn killed_at_any_system_call_of_its_first_start_an_acceptor_starts_again() {
    let world = World::durable();
    let Some(mut killer) = Killer::new("a kill at every call of a first start", &world) else {
        return;
    };
    let data = world.path("data");
    let acceptor = world.paxos("acceptor 2 --lifetime 0.05");
    let first = |killer: &Killer, moment: Option<&Moment>| {
        if data.exists() {
            fs::remove_dir_all(&data).unwrap();
        }
        run(&mut killer.wrap(&acceptor, moment))
    };
    let (pid, whole) = first(&killer, None);
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let mut files = killer.changes(pid);
    files.retain(|change| change.path.is_some());
    for moment in &moments(&files) {
        let (pid, killed) = first(&killer, Some(moment));
        assert!(is_killed(&killed), "{moment:?}: {}", text(&killed.stderr));
        killer.note(pid, moment);
        let again = world.paxos("acceptor 2 --lifetime 0.05").output().unwrap();
        assert_eq!(again.status.code(), Some(0), "{moment:?}: {}", text(&again.stderr));
    }
    killer.expect_all(&killer.places(&files));
    assert!(killer.killed.len() > 15, "{:?}", killer.killed);
}

/// How often a process asks the kernel for its interfaces by the call that sends datagrams, at
/// most.
const ASKS: usize = 6;

/// Killed at the calls of a client with a session, it goes on where it was: all its values are
/// decided in their order, and none twice.
#[test]
fn killed_at_any_system_call_a_client_goes_on_with_its_session() {
    let mut world = World::new();
    let Some(mut killer) = Killer::new("a kill at every call of a client", &world) else { return };
    world.configure("datagram_bytes 1472\nclient_window_values 4");
    world.start_cluster(1, "0");
    let mut all = String::new();
    let mut runs = 0;
    // One of them travels in parts.
    let mut fed = || {
        runs += 1;
        let long = format!("long-{runs} {}\n", "x".repeat(5000));
        let fed = [values(&format!("{runs}-a"), 25), long, values(&format!("{runs}-b"), 25)];
        all.push_str(&fed.concat());
        fed.concat()
    };
    const SESSION: &str = "client 1 --first-instance auto --session session";
    let feed = |world: &World, command: &mut Command| {
        run(command.stdin(File::open(world.path("fed")).unwrap()))
    };
    let start = |world: &World, fed: &str| {
        fs::write(world.path("fed"), fed).unwrap();
        let _ = fs::remove_file(world.path("session"));
    };
    start(&world, &fed());
    let (pid, whole) = feed(&world, &mut killer.wrap(&world.paxos(SESSION), None));
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let changes = killer.changes(pid);
    let (files, sent): (Vec<Change>, Vec<Change>) =
        changes.iter().cloned().partition(|change| change.path.is_some());
    let calls: BTreeSet<&str> = sent.iter().map(|change| change.call.as_str()).collect();
    let sends = calls.iter().flat_map(|call| {
        // The first ones ask the kernel for its interfaces, in another thread.
        let asks = if *call == "sendto" { ASKS } else { 0 };
        (1..=7).step_by(2).map(move |nth| Moment::new(call, None, asks + nth))
    });
    for moment in moments(&files).into_iter().chain(sends) {
        start(&world, &fed());
        let (pid, killed) = feed(&world, &mut killer.wrap(&world.paxos(SESSION), Some(&moment)));
        // How often it sends is not always the same.
        let is_sent = moment.path.is_none();
        assert!(is_killed(&killed) || is_sent, "{moment:?}: {}", text(&killed.stderr));
        if is_killed(&killed) {
            killer.note(pid, &moment);
        }
        let (_, again) = feed(&world, &mut world.paxos(SESSION));
        assert_eq!(again.status.code(), Some(0), "{moment:?}: {}", text(&again.stderr));
    }
    killer.expect_all(&killer.places(&files));
    assert!(killer.killed.keys().any(|place| place.ends_with("network")), "{:?}", killer.killed);
    world.await_lines(&[1, 2], all.lines().count(), SOON);
    for learner in ["learner1", "learner2"] {
        assert!(world.printed(learner) == all.as_bytes(), "{learner}: {:?}", killer.killed);
    }
}

/// How many MiB of values fill what an acceptor keeps, so that from then on it removes a segment
/// for each that it begins.
const FILL_MIB: usize = 34;

/// A line of 8 KiB.
fn long_line(number: usize) -> String {
    format!("{number} {}\n", "x".repeat(8180))
}

/// The number of an acceptor's last segment.
fn last_segment(data: &Path) -> u32 {
    let names = fs::read_dir(data).into_iter().flatten().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter_map(|name| name.strip_prefix("log-")?.parse().ok()).max().unwrap_or(0)
}

/// Where to kill an acceptor whose last segment is this one, while it begins the next one and
/// removes the first, with the place that it is then killed at.
fn rolls() -> Vec<(&'static str, &'static str, usize, &'static str)> {
    vec![
        ("pwrite64", "log-LAST", 3, "pwrite64 log-N"),
        ("fsync", "log-LAST", 2, "fsync log-N"),
        ("fdatasync", "log-LAST", 3, "fdatasync log-N"),
        ("pwrite64", "manifest", 3, "pwrite64 manifest"),
        // The segment is full.
        ("ftruncate", "log-LAST", 1, "ftruncate log-N"),
        ("openat", "index-LAST", 1, "openat index-N"),
        ("pwrite64", "index-LAST", 1, "pwrite64 index-N"),
        ("openat", "log-NEXT", 1, "openat log-N"),
        ("pwrite64", "log-NEXT", 1, "pwrite64 log-N"),
        ("fsync", "log-NEXT", 1, "fsync log-N"),
        // Each is made once at the start, once for the new segment, and once for the removal.
        ("openat", "manifest.new", 3, "openat manifest.new"),
        ("pwrite64", "manifest.new", 2, "pwrite64 manifest.new"),
        ("fsync", "manifest.new", 2, "fsync manifest.new"),
        ("renameat", "manifest.new", 2, "renameat manifest.new"),
        ("renameat", "manifest.new", 3, "renameat manifest.new"),
        ("fsync", ".", 2, "fsync data"),
        ("fsync", ".", 4, "fsync data"),
        ("unlinkat", ".", 1, "unlinkat index-N"),
        ("unlinkat", ".", 2, "unlinkat log-N"),
    ]
}

/// An acceptor that begins segments, and removes others, is killed at its system calls. Another one
/// is away for good, so each value that is decided is one that this one has accepted: a newcomer
/// reads all that is kept from its disk.
#[test]
fn killed_at_any_system_call_of_a_full_segment_an_acceptor_goes_on() {
    let mut world = World::beside_another();
    let test = "a kill at every call of a full segment";
    let Some(mut killer) = Killer::new(test, &world) else { return };
    let [all, data] = ["data", "data/acceptor-2"].map(|name| world.path(name));
    world.configure(&format!(
        "data {}\nretain 16MiB\ndisk_bytes 64MiB\nclient_window_values 64\nleader_timeout_ms 1000",
        all.display()
    ));
    for name in ["acceptor1", "acceptor2", "proposer1"] {
        world.start(name, &[]);
    }
    world.launch("learner1", "learner 1", Stdio::null(), Stdio::null());
    let stdin = world.feed_slowly(1, &["0", "0", "auto"]);
    let feeder = Feeder::new(stdin, long_line, Duration::ZERO);
    let segments = (FILL_MIB / 4) as u32;
    assert!(happens(3 * SOON, || last_segment(&data) > segments), "{}", world.said("acceptor2"));
    world.kill("acceptor2");
    for (call, file, nth, _) in rolls() {
        // If the segment is full before that many calls, the next one has more room.
        let is_killed = (0..5).any(|_| {
            let last = last_segment(&data);
            let file = file.replace("LAST", &format!("{last:08}"));
            let file = file.replace("NEXT", &format!("{:08}", last + 1));
            let path = if file == "." { data.clone() } else { data.join(file) };
            let moment = Moment::new(call, Some(path), nth);
            let mut command = killer.wrap(&world.paxos("acceptor 2"), Some(&moment));
            let err = File::create(world.path("acceptor2.err")).unwrap();
            world.adopt("acceptor2", command.stdout(Stdio::null()).stderr(err));
            let is_over = || killer.has_killed() || last_segment(&data) > last + 1;
            assert!(happens(SOON, is_over), "{moment:?}: {}", world.said("acceptor2"));
            let is_killed = killer.has_killed();
            if is_killed {
                killer.note(world.pid("acceptor2"), &moment);
            }
            world.kill("acceptor2");
            is_killed
        });
        assert!(is_killed, "not at {call} {nth} of {file}: {:?}", killer.killed);
        let verified = Command::new(PAXOS).args(["log", "verify"]).arg(&data).output().unwrap();
        let found = text(&verified.stdout) + &text(&verified.stderr);
        assert_eq!(verified.status.code(), Some(0), "{call} {nth} of {file}: {found}");
    }
    let places = rolls().into_iter().map(|(.., place)| {
        let (call, file) = place.split_once(' ').unwrap();
        let file = if file == "data" { String::new() } else { format!("/{file}") };
        format!("{call} data/acceptor-2{file}")
    });
    killer.expect_all(&places.collect());
    world.start("acceptor2", &[]);
    let fed = feeder.end();
    assert!(world.end_of("client1", 3 * SOON).success(), "{}", world.said("client1"));
    let decided = |learner| text(&world.decided(learner));
    assert!(happens(SOON, || decided(1).lines().count() == fed), "{}", decided(1).lines().count());
    let first = decided(1);
    let numbers = first.lines().map(|line| line.split(['\t', ' ']).nth(1).unwrap().parse());
    assert!(numbers.eq((0..fed).map(Ok)), "each value once, in order");
    // The third has nothing. A value after all the others shows that the new leader has taken up
    // the log.
    ["acceptor1", "learner1", "proposer1"].iter().for_each(|name| world.kill(name));
    for name in ["acceptor3", "proposer1"] {
        world.start(name, &[]);
    }
    world.feed(2, b"after all\n", &["0", "0", "auto"]);
    assert!(world.end_of("client2", SOON).success(), "{}", world.said("client2"));
    world.launch("learner2", "learner 2", Stdio::null(), Stdio::null());
    let kept = || text(&world.decided(2));
    assert!(happens(SOON, || kept().ends_with("\tafter all\n")), "{}", world.said("learner2"));
    let kept = kept();
    let without_last = &kept[..=kept.trim_end().rfind('\n').unwrap()];
    assert!(kept.len() > 16 << 20, "{} bytes are kept", kept.len());
    assert!(first.ends_with(without_last), "what is kept is not what was decided");
}

/// A short line.
fn short_line(number: usize) -> String {
    format!("{number}\n")
}

/// The lines that a learner with `--apply digest` has printed there.
fn digests(world: &World, printed: &str) -> Vec<String> {
    let text = text(&fs::read(world.path(printed)).unwrap_or_default());
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// The names of the snapshots in a directory.
fn snapshots_in(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| name.starts_with("snapshot-") && !name.contains('.')).collect()
}

/// How many snapshots a directory has, all of which are whole.
fn whole_snapshots(directory: &Path) -> usize {
    let verified = Command::new(PAXOS).args(["snapshot", "verify"]).arg(directory).output();
    let verified = verified.unwrap();
    let found = text(&verified.stdout) + &text(&verified.stderr);
    assert_eq!(verified.status.code(), Some(0), "{found}");
    snapshots_in(directory).len()
}

/// Starts learner 2, which prints its digests to this file, under `strace` if there is a killer.
fn start_digesting(
    world: &mut World,
    printed: &str,
    conf: &str,
    killer: Option<(&Killer, Option<&Moment>)>,
) {
    let mut command = Command::new(PAXOS);
    command.args(["--conf", conf, "learner", "2", "--apply", "digest"]);
    command.current_dir(world.path("")).env_remove("RUST_LOG");
    if let Some((killer, moment)) = killer {
        command = killer.wrap(&command, moment);
    }
    let out = File::create(world.path(printed)).unwrap();
    let err = File::create(world.path("learner2.err")).unwrap();
    world.adopt("learner2", command.stdout(out).stderr(err));
}

/// A learner that keeps snapshots is killed while it writes them, gives them their names and
/// removes the third. It always has two that are whole, goes on from one of them, and comes to the
/// same state as one that was never killed.
#[test]
fn killed_at_any_system_call_of_a_snapshot_a_learner_goes_on_from_a_whole_one() {
    let mut world = World::beside_another();
    let Some(mut killer) = Killer::new("a kill at every call of a snapshot", &world) else {
        return;
    };
    let [data, snapshots] = ["data", "snapshots"].map(|name| world.path(name));
    let own = snapshots.join("learner-2");
    world.configure(&format!(
        "data {}\nsnapshots {}\nsnapshot_instances 256\nclient_window_values 64",
        data.display(),
        snapshots.display()
    ));
    world.start_all("acceptor", 3, &[]);
    world.start("proposer1", &[]);
    let out = File::create(world.path("learner1.out")).unwrap();
    world.launch("learner1", "learner 1 --apply digest", Stdio::null(), out.into());
    let stdin = world.feed_slowly(1, &["0", "0", "auto"]);
    let feeder = Feeder::new(stdin, short_line, Duration::from_millis(10));
    start_digesting(&mut world, "first.out", "paxos.conf", None);
    let has_two = || own.exists() && snapshots_in(&own).len() >= 2;
    assert!(happens(SOON, has_two), "{}", world.said("learner2"));
    world.kill("learner2");
    let mut printed = Vec::new();
    // Calls of the start count as well. A snapshot takes some calls of `openat`, five of `pwrite64`
    // and three of `fsync`.
    for (call, counted, chosen) in [
        ("openat", Some(own.clone()), &[2, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16][..]),
        ("pwrite64", None, &[1, 2, 3, 4, 5]),
        ("ftruncate", None, &[1, 2]),
        ("fsync", None, &[1, 5, 6, 7, 8]),
        ("fdatasync", None, &[1]),
        ("renameat", None, &[1, 2]),
        ("unlinkat", None, &[1, 2]),
        ("write", Some(world.path("results/learner2_decided_value")), &[1, 2]),
    ] {
        for nth in chosen.iter().copied() {
            let moment = Moment::new(call, counted.clone(), nth);
            let kill = Some((&killer, Some(&moment)));
            start_digesting(&mut world, "killed.out", "paxos.conf", kill);
            let end = world.end_of("learner2", SOON);
            assert_eq!(end.signal(), Some(9), "{moment:?}: {end}: {}", world.said("learner2"));
            killer.note(world.pid("learner2"), &moment);
            assert!(whole_snapshots(&own) >= 2, "{moment:?}");
            let out = format!("{}.out", printed.len());
            start_digesting(&mut world, &out, "paxos.conf", None);
            let goes_on = || !digests(&world, &out).is_empty();
            assert!(happens(SOON, goes_on), "{moment:?}: {}", world.said("learner2"));
            world.kill("learner2");
            printed.push(out);
        }
    }
    feeder.end();
    let all = || digests(&world, "learner1.out");
    let mut before = 0;
    for out in printed {
        let lines = digests(&world, &out);
        let last = lines.last().unwrap();
        assert!(happens(SOON, || all().contains(last)), "{out}: {last} is not what learner 1 has");
        let differs = lines.iter().find(|line| !all().contains(line));
        assert_eq!(differs, None, "{out}");
        // It has not begun anew.
        let first: u64 = lines[0].split(' ').next().unwrap().parse().unwrap();
        assert!(first >= before, "{out}: {first} after {before}");
        before = first;
    }
    let place = |place: &&str| {
        let (call, file) = place.split_once(' ').unwrap();
        format!("{call} snapshots/learner-2{file}")
    };
    let places = [
        "openat /snapshot-N.part",
        "pwrite64 /snapshot-N.part",
        "fsync /snapshot-N.part",
        "fdatasync /snapshot-N.part",
        "ftruncate /snapshot-N.part",
        "renameat /snapshot-N.part",
        "fsync ",
        "unlinkat /snapshot-N",
    ];
    killer.expect_all(&places.iter().map(place).collect());
}

/// A learner is killed while it fetches another's snapshot, which takes a few groups of datagrams.
/// It goes on with the file, and in the end has the same bytes.
#[test]
fn killed_at_any_system_call_of_a_transfer_a_learner_has_the_same_snapshot() {
    let mut world = World::beside_another();
    let Some(mut killer) = Killer::new("a kill at every call of a transfer", &world) else {
        return;
    };
    let [data, snapshots] = ["data", "snapshots"].map(|name| world.path(name));
    let own = snapshots.join("learner-2");
    let more = format!(
        "data {}\nsnapshots {}\nretain 16MiB\nsnapshot_instances 256\nvalue_bytes 4194304\n\
         client_window_values 64",
        data.display(),
        snapshots.display()
    );
    world.configure(&more);
    world.start_all("acceptor", 3, &[]);
    world.start("proposer1", &[]);
    let out = File::create(world.path("learner1.out")).unwrap();
    world.launch("learner1", "learner 1 --apply digest", Stdio::null(), out.into());
    let fed: String = (0..4500).map(long_line).collect();
    world.feed(1, fed.as_bytes(), &["0", "0", "auto"]);
    assert!(world.end_of("client1", 3 * SOON).success(), "{}", world.said("client1"));
    // A client dies in the middle of a value of very many parts. The snapshot names all of them, so
    // where datagrams are small it arrives in more than one group.
    let small = fs::read_to_string(world.conf()).unwrap() + "datagram_bytes 256\n";
    fs::write(world.path("small.conf"), small).unwrap();
    fs::write(world.path("fed"), "x".repeat(4 << 20) + "\n").unwrap();
    let mut command = Command::new(PAXOS);
    command.args(["--conf", "small.conf", "client", "2", "--first-instance", "auto"]);
    command.current_dir(world.path("")).stdin(File::open(world.path("fed")).unwrap());
    let err = File::create(world.path("client2.err")).unwrap();
    world.adopt("client2", command.stderr(err));
    let lent = snapshots.join("learner-1");
    let newest = || snapshots_in(&lent).into_iter().max();
    let bytes = || fs::read(lent.join(newest()?)).ok();
    let is_long = || bytes().is_some_and(|bytes| bytes.len() > 10_000);
    assert!(happens(SOON, is_long), "{}", world.said("client2"));
    world.kill("client2");
    // Until none is written any more.
    let mut before = None;
    while before != newest() {
        before = newest();
        thread::sleep(Duration::from_millis(500));
    }
    let (name, bytes) = (newest().unwrap(), bytes().unwrap());
    let fetched = own.join(name);
    let start = |world: &mut World, printed: &str, killer: Option<(&Killer, Option<&Moment>)>| {
        start_digesting(world, printed, "small.conf", killer);
    };
    let is_there = || fs::read(&fetched).is_ok_and(|there| there == bytes);
    // Once without a kill.
    start(&mut world, "whole.out", Some((&killer, None)));
    assert!(happens(SOON, is_there), "{}", world.said("learner2"));
    let pid = world.pid("learner2");
    world.kill("learner2");
    let its = |change: &Change| change.path.as_ref().is_some_and(|path| path.starts_with(&own));
    let mut changes = killer.changes(pid);
    changes.retain(its);
    for moment in &moments(&changes) {
        fs::remove_dir_all(&own).unwrap();
        start(&mut world, "killed.out", Some((&killer, Some(moment))));
        let end = world.end_of("learner2", SOON);
        assert_eq!(end.signal(), Some(9), "{moment:?}: {end}: {}", world.said("learner2"));
        killer.note(world.pid("learner2"), moment);
        start(&mut world, "again.out", None);
        assert!(happens(SOON, is_there), "{moment:?}: {}", world.said("learner2"));
        let names = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().file_name());
        let parts = names.filter(|name| Path::new(name).extension() == Some("fetched".as_ref()));
        let parts: Vec<_> = parts.collect();
        assert!(parts.is_empty(), "{moment:?}: {parts:?} are left");
        world.kill("learner2");
    }
    killer.expect_all(&killer.places(&changes));
    assert!(changes.iter().filter(|change| change.call == "pwrite64").count() >= 2, "{changes:?}");
    // Both go on from there in the same way.
    start_digesting(&mut world, "last.out", "paxos.conf", None);
    world.feed(3, values("v", 3000).as_bytes(), &["0", "0", "auto"]);
    assert!(world.end_of("client3", SOON).success(), "{}", world.said("client3"));
    let last = || digests(&world, "learner1.out").pop();
    let agree = || last().is_some() && digests(&world, "last.out").pop() == last();
    let said = || (last(), digests(&world, "last.out").pop(), world.said("learner2"));
    assert!(happens(SOON, agree), "{:?}", said());
}
