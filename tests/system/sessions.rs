//! More clients than the cluster remembers.

use std::fs::{self, File};
use std::io::{PipeWriter, Write};
use std::process::Stdio;
use std::time::Duration;

use crate::http::get;
use crate::metrics::{FIRST, address_of, value};
use crate::world::{SOON, World, happens, text};

const AUTO: &str = "--first-instance auto";

/// A client asks for one line, hears that it is decided, and is done.
fn passes(world: &World, id: usize) {
    passes_with(world, id, "");
}

/// The same, but its session is kept in a file, so that it is not done.
fn passes_kept(world: &World, id: usize) {
    passes_with(world, id, &format!("--session kept-{id}"));
}

fn passes_with(world: &World, id: usize, more: &str) {
    let line = format!("passing-{id}\n");
    let mut client = world
        .paxos(&format!("client 2 {AUTO} {more}"))
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    assert!(client.wait().unwrap().success(), "client {id}");
}

/// Starts client 1 with these words more, and returns the other end of its standard input.
fn start(world: &mut World, more: &str) -> PipeWriter {
    let (reader, writer) = std::io::pipe().unwrap();
    world.launch("client1", &format!("client 1 {AUTO} {more}"), reader.into(), Stdio::null());
    writer
}

/// A client sends something, is idle while more clients come and go than are remembered, and goes
/// on: it hears that it is forgotten. So does one that resumes its session from a file; and its
/// decided values are not decided again.
#[test]
fn a_client_that_was_idle_for_too_long_is_told_so() {
    let mut world = World::new();
    world.configure(&format!("sessions 16\nmetrics {FIRST}"));
    world.start_cluster(2, "0");
    let said = |world: &World| fs::read_to_string(world.path("client1.err")).unwrap();
    let evicted = |world: &World| {
        let metrics = get(address_of(world, "learner1"), "/metrics").1;
        value(&metrics, "paxos_sessions_evicted_total{node=\"L1\"}")
    };
    assert!(evicted(&world) < 0.1, "none is forgotten yet");
    let mut input = start(&mut world, "--session kept");
    input.write_all(b"first\n").unwrap();
    world.await_lines(&[1, 2], 1, SOON);
    (1..=40).for_each(|id| passes_kept(&world, id));
    world.await_lines(&[1, 2], 41, SOON);
    assert!(happens(SOON, || evicted(&world) >= 20.0), "{} of 41, 16 stay", evicted(&world));
    input.write_all(b"second\nthird\n").unwrap();
    let ends = "the cluster has ended this session, because more other clients";
    assert!(happens(SOON, || said(&world).contains(ends)), "{}", said(&world));
    assert_eq!(world.end_of("client1", SOON).code(), Some(1));
    let known = "the first 1 of 3 values are known to be decided";
    assert!(said(&world).contains(known), "{}", said(&world));
    assert!(!said(&world).contains("fail"), "{}", said(&world));
    drop(input);
    // Its first line would be another value now, if the session began anew.
    let mut input = start(&mut world, "--session kept");
    input.write_all(b"first\n").unwrap();
    assert_eq!(world.end_of("client1", SOON).code(), Some(1));
    assert!(said(&world).contains(ends), "{}", said(&world));
    // With nothing after what is known to be decided, all of its input is, unless it hears that the
    // session has ended before it has read where its input does.
    let whole = world.path("whole");
    fs::write(&whole, "first\n").unwrap();
    let is_done = (0..10).any(|_| {
        let input = File::open(&whole).unwrap();
        let command = format!("client 1 {AUTO} --session kept");
        world.launch("client1", &command, input.into(), Stdio::null());
        world.end_of("client1", SOON).success()
    });
    assert!(is_done, "{}", said(&world));
    passes(&world, 41);
    world.await_lines(&[1, 2], 42, SOON);
    let printed = text(&world.printed("learner1"));
    assert_eq!(printed.matches("first").count(), 1, "{printed}");
    assert_eq!(printed, text(&world.printed("learner2")));
}

/// However many come, are done and go: they take nobody's place.
#[test]
fn a_client_that_is_idle_outlasts_those_that_are_done() {
    let mut world = World::new();
    world.configure("sessions 16");
    world.start_cluster(2, "0");
    let mut input = start(&mut world, "");
    input.write_all(b"first\n").unwrap();
    world.await_lines(&[1, 2], 1, SOON);
    // Until no process of the release before would still call for a leader.
    std::thread::sleep(Duration::from_secs(6));
    (1..=60).for_each(|id| passes(&world, id));
    input.write_all(b"second\n").unwrap();
    drop(input);
    assert!(world.end_of("client1", SOON).success(), "{}", world.said("client1"));
    world.await_lines(&[1, 2], 62, SOON);
}

/// One that has said nothing yet, for however long, has nothing to lose.
#[test]
fn a_client_that_begins_late_is_served() {
    let mut world = World::new();
    world.configure("sessions 16\nprogress_timeout_ms 100");
    world.start_cluster(1, "0");
    let mut input = start(&mut world, "");
    (1..=40).for_each(|id| passes(&world, id));
    input.write_all(b"late\n").unwrap();
    drop(input);
    assert!(world.end_of("client1", SOON).success(), "{}", world.said("client1"));
    world.await_lines(&[1, 2], 41, SOON);
}
