//! More clients than the cluster remembers.

use std::fs::{self, File};
use std::io::{PipeWriter, Write};
use std::process::Stdio;

use crate::world::{SOON, World, happens, text};

const AUTO: &str = "--first-instance auto";

/// Client `id` asks for one line and hears that it is decided.
fn passes(world: &World, id: usize) {
    let line = format!("passing-{id}\n");
    let mut client = world
        .paxos(&format!("client 2 {AUTO}"))
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
    world.configure("sessions 16");
    world.start_cluster(2, "0");
    let said = |world: &World| fs::read_to_string(world.path("client1.err")).unwrap();
    let mut input = start(&mut world, "--session kept");
    input.write_all(b"first\n").unwrap();
    world.await_lines(&[1, 2], 1, SOON);
    (1..=40).for_each(|id| passes(&world, id));
    world.await_lines(&[1, 2], 41, SOON);
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
    // With nothing after what is known to be decided, all of its input is.
    let whole = world.path("whole");
    fs::write(&whole, "first\n").unwrap();
    let input = File::open(whole).unwrap();
    world.launch(
        "client1",
        &format!("client 1 {AUTO} --session kept"),
        input.into(),
        Stdio::null(),
    );
    assert!(world.end_of("client1", SOON).success(), "{}", said(&world));
    passes(&world, 41);
    world.await_lines(&[1, 2], 42, SOON);
    let printed = text(&world.printed("learner1"));
    assert_eq!(printed.matches("first").count(), 1, "{printed}");
    assert_eq!(printed, text(&world.printed("learner2")));
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
