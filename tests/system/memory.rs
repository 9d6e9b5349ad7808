//! A log that is complete on disks but of which memories hold little: how much each process uses,
//! and what a late learner gets.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::process::Stdio;
use std::time::Duration;

use crate::world::{SOON, World, happens};

/// How long reading all of it back may take on a busy machine.
const LATER: Duration = Duration::from_secs(180);

/// How much memory a process may take with `memory_bytes 64MiB`, in MiB: the part of the log it
/// holds, and its basic needs.
const MOST_MIB: u64 = 80;

const COUNT: usize = 110_000;
const BYTES: usize = 1000;

const ALL: [&str; 7] =
    ["acceptor1", "acceptor2", "acceptor3", "learner1", "learner2", "proposer1", "proposer2"];

fn start(world: &mut World) {
    world.start_all("acceptor", 3, &[]);
    world.start("learner1", &[]);
    world.start_all("proposer", 2, &[]);
}

fn launch_printing(world: &mut World, name: &str, words: &str, out: &str) {
    let out = File::create(world.path(out)).unwrap();
    world.launch(name, words, Stdio::null(), out.into());
}

fn feed(world: &mut World, client: u32, fed: &str) {
    let (name, file) = (format!("client{client}"), format!("fed{client}"));
    fs::write(world.path(&file), fed).unwrap();
    let stdin = File::open(world.path(&file)).unwrap();
    let words = format!("client {client} --first-instance auto");
    world.launch(&name, &words, stdin.into(), Stdio::null());
    assert!(world.end_of(&name, LATER).success(), "{}", world.complaints(&name));
}

fn lines() -> String {
    (0..COUNT).fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "{line} {}", "x".repeat(BYTES - 8));
        all
    })
}

/// Waits until learner 2 has printed exactly `expected` to the file `out`.
fn await_everything(world: &World, out: &str, expected: &str) {
    let length = || fs::metadata(world.path(out)).map_or(0, |file| file.len());
    let is_there = happens(LATER, || length() >= expected.len() as u64);
    let said = world.complaints("learner2");
    assert!(is_there, "{} of {} bytes are printed: {said}", length(), expected.len());
    let printed = fs::read(world.path(out)).unwrap();
    assert!(printed == expected.as_bytes(), "what is printed is not what was fed");
}

/// How many MiB of memory each process took at most.
fn expect_little_memory(world: &World, names: &[&str], when: &str) {
    let peaks = names.iter().map(|name| {
        let status = fs::read_to_string(format!("/proc/{}/status", world.pid(name))).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        (*name, peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024)
    });
    let peaks: Vec<(&str, u64)> = peaks.collect();
    println!("{when}: {peaks:?}");
    for (name, peak) in peaks {
        assert!(peak < MOST_MIB, "{when}, {name} took {peak} MiB");
    }
}

/// 110 MB go through processes of which none may take 80 MiB, and all of it is printed by
/// learners that are late: while the others run, and after all of them were killed.
#[test]
fn everything_is_kept_and_memory_is_bounded() {
    let mut world = World::alone();
    let data = world.path("data").display().to_string();
    world.configure(&format!("data {data}\nmemory_bytes 64MiB\nclient_window_values 64"));
    start(&mut world);
    let mut fed = lines();
    feed(&mut world, 1, &fed);
    world.await_lines(&[1], COUNT, SOON);
    launch_printing(&mut world, "learner2", "learner 2", "first.out");
    await_everything(&world, "first.out", &fed);
    expect_little_memory(&world, &ALL, "before");
    ALL.iter().for_each(|name| world.kill(name));
    start(&mut world);
    feed(&mut world, 2, "after all\n");
    fed += "after all\n";
    launch_printing(&mut world, "learner2", "learner 2", "second.out");
    await_everything(&world, "second.out", &fed);
    expect_little_memory(&world, &ALL, "after all were killed");
}

/// The same through nodes, whose three roles share what the setting allows their process.
#[test]
fn the_roles_of_a_node_share_its_memory() {
    const NODES: [&str; 3] = ["node1", "node2", "node3"];
    for more in ["", "data"] {
        let mut world = World::alone();
        let data = match more {
            "" => String::new(),
            more => format!("data {}\nretain 16MiB\n", world.path(more).display()),
        };
        world.configure(&format!("{data}memory_bytes 64MiB\nclient_window_values 64"));
        NODES.iter().for_each(|name| world.start(name, &[]));
        feed(&mut world, 1, &lines());
        let expected = COUNT * (BYTES - 1);
        let are_done = || (1..=3).all(|id| world.decided(id).len() >= expected);
        assert!(happens(SOON, are_done), "their learners have not delivered everything");
        expect_little_memory(&world, &NODES, more);
    }
}

/// Nobody reads what a learner prints while 110 MB are decided, of which the log keeps little; then
/// somebody does, and gets all of it.
#[test]
fn a_reader_that_does_not_read_costs_no_memory() {
    let mut world = World::alone();
    let data = world.path("data").display().to_string();
    world.configure(&format!("data {data}\nmemory_bytes 64MiB\nretain 16MiB"));
    world.start_all("acceptor", 3, &[]);
    let (mut reader, writer) = io::pipe().unwrap();
    world.launch("learner1", "learner 1", Stdio::null(), writer.into());
    world.start_all("proposer", 2, &[]);
    let fed = lines();
    feed(&mut world, 1, &fed);
    let written = || fs::read(world.path("results/learner1_decided_value")).unwrap_or_default();
    let lines = || written().iter().filter(|byte| **byte == b'\n').count();
    assert!(happens(LATER, || lines() == COUNT), "{} lines are written", lines());
    expect_little_memory(&world, &["learner1"], "unread");
    let mut printed = vec![0; fed.len()];
    reader.read_exact(&mut printed).unwrap();
    assert!(printed == fed.as_bytes(), "what is printed is not what was fed");
    expect_little_memory(&world, &["learner1"], "read");
}
