//! What other programs may hand down or take away: descriptors that do not block, readers that do
//! not read, files that are no files, directories that vanish.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::world::{Network, PAXOS, SOON, World, happens, skip, succeeds, text, values};

/// A descriptor for a child that does not block, and its other end.
fn non_blocking() -> (Stdio, UnixStream) {
    let (child, own) = UnixStream::pair().unwrap();
    child.set_nonblocking(true).unwrap();
    (OwnedFd::from(child).into(), own)
}

/// Ends a process by SIGTERM; returns its status and how long it took.
fn terminate(world: &mut World, name: &str) -> (Option<i32>, Duration) {
    let start = Instant::now();
    world.signal(name, "-TERM");
    let status = world.end_of(name, SOON);
    (status.code(), start.elapsed())
}

/// A second, with a margin for a busy machine.
const A_SECOND: Duration = Duration::from_millis(1900);

/// As ssh, node.js and others leave a terminal.
#[test]
fn descriptors_that_do_not_block_are_waited_for() {
    let mut world = World::new();
    world.start_all("acceptor", 3, &[]);
    world.start("proposer1", &[]);
    world.start("learner2", &[]);
    let (stdout, mut reader) = non_blocking();
    world.start_piped("learner1", &[], Stdio::null(), stdout);
    let (stdin, mut writer) = non_blocking();
    world.start_with("client1", &["0", "0", "auto"], stdin);
    let fed = values("a-value-of-some-length-that-fills-the-pipe", 20_000);
    let (half, rest) = fed.as_bytes().split_at(fed.len() / 2);
    writer.write_all(half).unwrap();
    world.await_lines(&[2], 5_000, SOON);
    writer.write_all(rest).unwrap();
    drop(writer);
    assert_eq!(world.end_of("client1", SOON).code(), Some(0), "{}", world.said("client1"));
    world.await_lines(&[2], 20_000, SOON);
    // Nobody has read a byte so far, and the pipe is full.
    let mut printed = vec![0; fed.len()];
    reader.read_exact(&mut printed).unwrap();
    assert!(printed == fed.as_bytes(), "every value, in order, whole");
    assert_eq!(world.complaints("learner1"), "");
}

#[test]
fn generated_values_wait_for_a_descriptor_that_does_not_block() {
    let (stdout, mut reader) = non_blocking();
    let mut command = Command::new(PAXOS);
    let mut child = command.args(["generate", "50000"]).stdout(stdout).spawn().unwrap();
    drop(command);
    thread::sleep(Duration::from_millis(100));
    let mut generated = Vec::new();
    reader.read_to_end(&mut generated).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(generated.iter().filter(|byte| **byte == b'\n').count(), 50_000);
}

/// Everything is said, in every detail, to pipes that nobody reads; the cluster works all the same.
#[test]
fn nobody_waits_for_who_does_not_read_standard_error() {
    let mut world = World::new();
    let mut readers = Vec::new();
    let silent = ["acceptor1", "acceptor2", "acceptor3", "proposer1", "learner1"];
    for name in silent {
        let (reader, writer) = std::io::pipe().unwrap();
        readers.push(reader);
        let mut command = world.node_command(name, &[]);
        let out = fs::File::create(world.path(&format!("{name}.out"))).unwrap();
        command.env("RUST_LOG", "trace").stdin(Stdio::null()).stdout(out).stderr(writer);
        world.adopt(name, &mut command);
    }
    world.start("learner2", &[]);
    for id in 1..=2 {
        world.feed(id, values(&format!("v{id}"), 2_000).as_bytes(), &["0", "0", "auto"]);
    }
    world.await_lines(&[1, 2], 4_000, SOON);
    world.expect_all_delivered();
    for name in silent {
        let (status, elapsed) = terminate(&mut world, name);
        assert_eq!(status, Some(0), "{name}");
        assert!(elapsed < A_SECOND, "{name} took {elapsed:?}");
    }
}

/// A reader who takes a little now and then, and one who takes nothing.
#[test]
fn a_slow_reader_of_values_does_not_hold_the_end_up() {
    let mut world = World::new();
    world.start_all("acceptor", 3, &[]);
    world.start("proposer1", &[]);
    world.start("learner2", &[]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    world.start_piped("learner1", &[], Stdio::null(), writer.into());
    let value = "x".repeat(1000);
    let fed: String = (0..4000).map(|number| format!("{number} {value}\n")).collect();
    world.feed(1, fed.as_bytes(), &["0", "0", "auto"]);
    world.await_lines(&[2], 4000, SOON);
    let slow = thread::spawn(move || {
        let mut some = [0; 65_536];
        while reader.read(&mut some).is_ok_and(|count| count > 0) {
            thread::sleep(Duration::from_millis(150));
        }
    });
    let (_, elapsed) = terminate(&mut world, "learner1");
    assert!(elapsed < A_SECOND, "it took {elapsed:?}");
    slow.join().unwrap();
}

/// A sync that takes three seconds when SIGTERM comes is a slow disk, and no mistake.
#[test]
fn a_slow_sync_at_the_end_is_called_what_it_is() {
    let strace = ["strace", "-D", "-f", "-qq", "-o"];
    if !succeeds(&[&strace[..], &["/dev/null", "true"]].concat()) {
        return skip("a slow sync", "there is no strace, or it is not allowed");
    }
    let mut world = World::durable();
    let trace = world.path("trace");
    let inject = [
        &trace.display().to_string(),
        "-e",
        "trace=fdatasync,sendto",
        "-e",
        "inject=fdatasync:delay_enter=3000000:when=2+",
    ];
    world.through("acceptor1", &[&strace[..], &inject[..]].concat());
    let mut command = world.node_command("acceptor1", &[]);
    let err = fs::File::create(world.path("acceptor1.err")).unwrap();
    command.env("RUST_LOG", "info").stdin(Stdio::null()).stderr(err);
    world.adopt("acceptor1", &mut command);
    assert!(happens(SOON, || world.said("acceptor1").contains("has promised")));
    for name in ["acceptor2", "acceptor3", "learner1", "learner2", "proposer1"] {
        world.start(name, &[]);
    }
    // It promises, which is its first sync; the next thing is the second. A promise that were
    // synced together with the first values would leave no second one.
    let traced = || fs::read_to_string(&trace).unwrap_or_default();
    assert!(happens(SOON, || traced().contains("fdatasync(")), "{}", traced());
    world.feed(1, values("v", 1000).as_bytes(), &["0", "0", "auto"]);
    world.await_lines(&[1, 2], 1000, SOON);
    thread::sleep(Duration::from_millis(300));
    world.signal("acceptor1", "-TERM");
    let status = world.end_of("acceptor1", SOON);
    let said = world.said("acceptor1");
    assert!(!said.contains("mistake"), "{said}");
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("while the disk was storing"), "{said}");
}

#[test]
fn a_second_learner_does_not_touch_the_file_of_the_first() {
    // With lists of members the second one has no address before it has a file.
    let mut world = World::over(Network::Multicast);
    world.start_cluster(1, "0");
    world.feed(1, values("v", 100).as_bytes(), &["0", "0", "auto"]);
    world.await_lines(&[1, 2], 100, SOON);
    let before = world.decided(1);
    let output = world.node_command("learner1", &[]).stdin(Stdio::null()).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("another process writes it as learner 1"), "{said}");
    assert_eq!(world.decided(1), before);
    world.feed(2, values("w", 100).as_bytes(), &["0", "0", "auto"]);
    world.await_lines(&[1, 2], 200, SOON);
    world.expect_verdict(&["2", "2", "false", "auto", "auto"]);
}

#[test]
fn results_that_are_removed_are_missed() {
    let mut world = World::new();
    world.start_cluster(1, "0");
    world.feed(1, values("v", 10).as_bytes(), &["0", "0", "auto"]);
    world.await_lines(&[1, 2], 10, SOON);
    fs::remove_file(world.path("results/learner1_decided_value")).unwrap();
    let is_missed = || world.said("learner1").contains("was removed or replaced");
    assert!(happens(SOON, is_missed), "{}", world.said("learner1"));
    assert_eq!(world.complaints("learner2"), "");
    fs::remove_dir_all(world.path("results")).unwrap();
    assert!(happens(SOON, || world.said("learner2").contains("was removed or replaced")));
    // They go on all the same.
    fs::create_dir(world.path("results")).unwrap();
    world.feed(2, values("w", 10).as_bytes(), &["0", "0", "auto"]);
    world.await_lines(&[1, 2], 20, SOON);
}

/// A pipe would be opened, and waited for without end.
#[test]
fn a_pipe_is_no_results_file_and_no_key() {
    let world = World::new();
    let pipe = world.path("results/learner1_decided_value");
    if !succeeds(&["mkfifo", pipe.to_str().unwrap()]) {
        return skip("a named pipe", "there is no mkfifo, or it is not allowed");
    }
    let refused = |mut command: Command| {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains("must be a regular file"), "{said}");
    };
    refused(world.node_command("learner1", &[]));
    let mut check = world.command("check_results.sh");
    world.note_fed(1, "v\n");
    check.args(["1", "1"]);
    refused(check);
    let key = world.path("pipe.key");
    assert!(succeeds(&["mkfifo", key.to_str().unwrap()]));
    fs::remove_file(pipe).unwrap();
    world.configure(&format!("key_file {}", key.display()));
    refused(world.node_command("learner1", &[]));
}
