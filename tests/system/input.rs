//! What may a client's standard input contain?

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use multi_paxos::auth::seal::SEAL_BYTES;

use crate::world::{SOON, World, happens, has_keys, values};

/// Any bytes but newline are a value, exactly, and an unterminated last line counts.
#[test]
fn odd_lines_arrive_byte_for_byte() {
    let fed = b"plain\r\nwith\0nul\n\xff\xfe\n\n  blanks \t\nsame\nsame\n\nno newline";
    for mode in ["1", "auto"] {
        let mut world = World::new();
        world.start_cluster(1, "0");
        world.feed(1, fed, &["0", "0", mode]);
        world.await_lines(&[1, 2], 9, SOON);
        let mut expected = fed.to_vec();
        expected.push(b'\n');
        assert_eq!(world.printed("learner1"), expected);
        assert_eq!(world.end_of("client1", SOON).code(), Some(0));
        world.expect_verdict(&["2", "1", "false", mode]);
    }
}

#[test]
fn no_input_at_all_is_done_at_once() {
    let mut world = World::new();
    world.feed(1, b"", &[]);
    assert_eq!(world.end_of("client1", SOON).code(), Some(0));
}

#[test]
fn a_line_over_the_limit_ends_the_input_and_is_named() {
    let mut world = World::new();
    world.configure("value_bytes 100");
    world.start_cluster(1, "0");
    let fed = format!("first\n{}\n{}\nnever\n", "x".repeat(100), "y".repeat(101));
    world.feed(1, fed.as_bytes(), &["0", "0", "auto"]);
    assert_eq!(world.end_of("client1", SOON).code(), Some(2));
    assert!(world.said("client1").contains("line 3"), "{}", world.said("client1"));
    world.await_lines(&[1], 2, SOON);
    assert_eq!(world.lines(1), 2);
}

#[test]
fn the_longest_value_of_the_default_configuration_is_decided() {
    let mut world = World::new();
    world.start_cluster(2, "0");
    let fed = "z".repeat(if has_keys() { 65_347 - SEAL_BYTES } else { 65_347 });
    world.feed(1, fed.as_bytes(), &["0", "0", "auto"]);
    world.await_lines(&[1, 2], 1, SOON);
    assert_eq!(world.end_of("client1", SOON).code(), Some(0));
    world.expect_verdict(&["2", "1", "false", "auto"]);
}

/// A line is handed over when it is there, not when more comes.
#[test]
fn each_line_is_decided_while_the_input_stays_open() {
    let mut world = World::new();
    world.start_cluster(1, "0");
    let mut stdin = world.feed_slowly(1, &["0", "0", "auto"]);
    for line in 1..=3 {
        stdin.write_all(format!("line {line}\n").as_bytes()).unwrap();
        world.await_lines(&[1, 2], line, SOON);
    }
    drop(stdin);
    assert_eq!(world.end_of("client1", SOON).code(), Some(0));
}

/// Input that never ends waits in its pipe while nothing is decided.
#[test]
fn memory_stays_bounded_while_nothing_is_decided() {
    let mut world = World::new();
    let mut stdin = world.feed_slowly(1, &[]);
    let feeder = std::thread::spawn(move || {
        let line = [b'x'; 100].iter().chain(b"\n").copied().collect::<Vec<u8>>().repeat(100);
        // 200 MB, or until the client is gone.
        (0..20_000).take_while(|_| stdin.write_all(&line).is_ok()).count()
    });
    let memory = |world: &World| -> u64 {
        let status = format!("/proc/{}/status", world.pid("client1"));
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("VmRSS 0");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let grew = happens(Duration::from_secs(3), || memory(&world) > 100_000);
    assert!(!grew, "{} kB", memory(&world));
    world.kill("client1");
    assert!(feeder.join().unwrap() < 1000, "most of the input was never read");
}

/// Nobody reads what learner 1 prints; it learns on, and so does everybody else.
#[test]
fn a_blocked_standard_output_blocks_nothing() {
    let mut world = World::new();
    world.start_all("acceptor", 3, &[]);
    world.start_piped("learner1", &[], Stdio::null(), Stdio::piped());
    world.start("learner2", &[]);
    world.start("proposer1", &[]);
    world.feed(1, values("a value of some length", 20_000).as_bytes(), &["0", "0", "auto"]);
    world.await_lines(&[2], 20_000, SOON);
    let complete = happens(SOON, || world.decided(1) == world.decided(2));
    assert!(complete, "the results file is written all the same");
    world.signal("learner1", "-TERM");
    assert_eq!(world.end_of("learner1", SOON).code(), Some(0));
}
