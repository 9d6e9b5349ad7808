//! A log of which only the end is kept: how much memory it takes, what a late process gets, and
//! what it hears about the rest.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::world::{Network, SOON, World, happens, text};

/// How long a few hundred thousand values may take on a busy machine.
const LATER: Duration = Duration::from_secs(60);

/// So that a learner that gets no processor for a moment is not late by all that is kept.
const GENTLY: &str = "client_window_values 64";

/// How many MiB of memory `name` took at most.
fn peak_mib(world: &World, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", world.pid(name))).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// `count` values of `bytes` each, about.
fn long_values(count: usize, bytes: usize) -> String {
    (0..count).fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "{line} {}", "x".repeat(bytes - 8));
        all
    })
}

fn feed(world: &mut World, client: u32, fed: &str) {
    let name = format!("client{client}");
    let file = format!("fed{client}");
    fs::write(world.path(&file), fed).unwrap();
    let stdin = File::open(world.path(&file)).unwrap();
    let words = format!("client {client} --first-instance auto");
    world.launch(&name, &words, stdin.into(), Stdio::null());
    assert!(world.end_of(&name, LATER).success(), "{}", world.complaints(&name));
}

/// The lines of what `name` printed.
fn printed(world: &World, name: &str) -> Vec<String> {
    text(&world.printed(name)).lines().map(str::to_owned).collect()
}

fn launch_printing(world: &mut World, name: &str, words: &str) {
    let out = File::create(world.path(&format!("{name}.out"))).unwrap();
    world.launch(name, words, Stdio::null(), out.into());
}

/// 90 MB go through processes of which none may take more than 64 MiB of memory.
#[test]
fn memory_is_bounded_whatever_went_through() {
    let mut world = World::alone();
    world.configure(&format!("memory_bytes 64MiB\n{GENTLY}"));
    world.start_all("acceptor", 3, &[]);
    world.start("learner1", &[]);
    world.start_all("proposer", 2, &[]);
    feed(&mut world, 1, &long_values(90_000, 1000));
    world.await_lines(&[1], 90_000, SOON);
    for name in ["acceptor1", "acceptor2", "acceptor3", "learner1", "proposer1", "proposer2"] {
        let peak = peak_mib(&world, name);
        assert!(peak < 64, "{name} took {peak} MiB");
    }
}

/// Acceptors remove what is trimmed from their disks, and come back with the rest of it. Segments
/// are of 4 MiB.
#[test]
fn disks_are_bounded_and_everything_comes_back_after_kill_9() {
    const COUNT: usize = 60_000;
    let mut world = World::alone();
    let data = world.path("data").display().to_string();
    world.configure(&format!("data {data}\nretain 16MiB\ndisk_bytes 64MiB\n{GENTLY}"));
    let start = |world: &mut World| {
        world.start_all("acceptor", 3, &[]);
        world.start("proposer1", &[]);
    };
    start(&mut world);
    world.start("learner1", &[]);
    feed(&mut world, 1, &long_values(COUNT, 1000));
    world.await_lines(&[1], COUNT, SOON);
    for acceptor in 1..=3 {
        // Half as much again as is kept, two segments, and the room ahead of the last one's end.
        let mib = disk_mib(&world, acceptor);
        assert!(mib < 16 + 8 + 2 * 4 + 4, "acceptor {acceptor} has {mib} MiB on its disk");
    }
    for name in ["acceptor1", "acceptor2", "acceptor3", "proposer1", "learner1"] {
        world.kill(name);
    }
    start(&mut world);
    launch_printing(&mut world, "learner2", "learner 2 --positions");
    feed(&mut world, 2, "after all\n");
    let all_is_there = |world: &World| {
        let printed = printed(world, "learner2");
        printed.len() > 10_000 && printed.last().is_some_and(|line| line.ends_with("\tafter all"))
    };
    assert!(happens(SOON, || all_is_there(&world)), "{}", world.complaints("learner2"));
}

/// How many MiB the log of an acceptor takes.
fn disk_mib(world: &World, acceptor: u32) -> u64 {
    let files = fs::read_dir(world.path(&format!("data/acceptor-{acceptor}"))).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>() >> 20
}

/// Values in rounds, and the death of all proposers after each.
struct Rounds {
    retain: &'static str,
    count: usize,
    /// How long a value is.
    bytes: usize,
    /// How many MiB of values come in a round, and how long they take to come.
    mib: usize,
    lasts: Duration,
    /// How many MiB may be on a disk in the end.
    most: u64,
}

/// Disks keep what `retain` says, and no more than `most` MiB. Segments are of 8 MiB. Memories hold
/// 32 MiB at most, which is less than is kept, so where the log is trimmed lies on disks alone.
fn expect_bounded_disks(mut world: World, rounds: &Rounds) {
    const SLICES: usize = 32;
    let Rounds { retain, count, bytes, mib, lasts, most } = *rounds;
    let data = world.path("data").display().to_string();
    let limits = "memory_bytes 64MiB\ndisk_bytes 128MiB";
    world.configure(&format!("data {data}\nretain {retain}\n{limits}\n{GENTLY}"));
    world.start_all("acceptor", 3, &[]);
    world.start_all("proposer", 2, &[]);
    world.start("learner1", &[]);
    let mut stdin = world.feed_slowly(1, &["0", "0", "auto"]);
    let lines = (mib << 20) / bytes / SLICES;
    let slice = long_values(lines, bytes);
    for round in 1..=count {
        for _ in 0..SLICES {
            stdin.write_all(slice.as_bytes()).unwrap();
            thread::sleep(lasts / SLICES as u32);
        }
        world.await_lines(&[1], round * SLICES * lines, LATER);
        for name in ["proposer1", "proposer2"] {
            world.kill(name);
            world.start(name, &[]);
        }
    }
    let all = (count * mib) as u64;
    assert!(all > most, "else nothing is shown");
    let disks = |world: &World| [1, 2, 3].map(|id| disk_mib(world, id));
    // The last checkpoints come with the last values, and acceptors hear of them by heartbeats.
    let are_bounded = || disks(&world).into_iter().all(|mib| mib < most);
    assert!(happens(SOON, are_bounded), "{:?} MiB of {all}", disks(&world));
}

#[test]
fn disks_are_bounded_though_no_leader_passes_as_many_bytes_as_are_kept() {
    let (retain, most) = ("36MiB", 36 + 18 + 2 * 8 + 12);
    let rounds = Rounds { retain, count: 9, bytes: 1024, mib: 12, lasts: Duration::ZERO, most };
    expect_bounded_disks(World::beside_another(), &rounds);
}

/// 65,536 values of 600 bytes are 38 MiB.
#[test]
fn disks_are_bounded_though_no_leader_passes_as_many_entries_as_are_kept() {
    let (retain, most) = ("65536", 38 + 19 + 2 * 8 + 12);
    let rounds = Rounds { retain, count: 10, bytes: 600, mib: 12, lasts: Duration::ZERO, most };
    expect_bounded_disks(World::beside_another(), &rounds);
}

/// A leader runs for four seconds, and decided values are kept for ten. Mostly this waits.
#[test]
fn what_is_old_is_removed_though_no_leader_becomes_so_old() {
    let (retain, lasts, most) = ("10s", Duration::from_secs(3), 6 * 8 + 3 * 8);
    let rounds = Rounds { retain, count: 10, bytes: 1024, mib: 8, lasts, most };
    expect_bounded_disks(World::over(Network::Multicast), &rounds);
}

#[test]
fn late_processes_take_up_the_log_where_it_begins() {
    const COUNT: usize = 200_000;
    let mut world = World::alone();
    world.configure(&format!("retain 65536\n{GENTLY}"));
    world.start_all("acceptor", 3, &[]);
    world.start("learner1", &[]);
    world.start_all("proposer", 2, &[]);
    let values: String = (1..=COUNT).map(|line| format!("v-{line}\n")).collect();
    feed(&mut world, 1, &values);
    world.await_lines(&[1], COUNT, SOON);

    // A learner that asks for removed entries is told so; one that takes what is kept gets all of
    // it.
    world.launch("learner2", "learner 2 --from 1", Stdio::null(), Stdio::null());
    assert_eq!(world.end_of("learner2", SOON).code(), Some(1));
    let said = world.complaints("learner2");
    assert!(
        said.contains("the log begins at instance") && said.contains("--from oldest"),
        "{said}"
    );
    world.launch("learner2", "learner 2 --apply digest", Stdio::null(), Stdio::null());
    assert_eq!(world.end_of("learner2", SOON).code(), Some(1));
    launch_printing(&mut world, "learner3", "learner 3 --positions");
    let last = format!("v-{COUNT}");
    assert!(happens(SOON, || printed(&world, "learner3")
        .last()
        .is_some_and(|line| line.ends_with(&last))));
    let kept = printed(&world, "learner3");
    assert!((65_000..120_000).contains(&kept.len()), "{} are kept", kept.len());
    let all = text(&world.decided(1));
    assert!(all.ends_with(&(kept.join("\n") + "\n")), "they are the last of all");

    // The leaders are new as well, and so is the client.
    world.kill("proposer1");
    world.kill("proposer2");
    world.start("proposer3", &[]);
    feed(&mut world, 2, "after\nthat\n");
    world.await_lines(&[1], COUNT + 2, SOON);
    assert!(happens(SOON, || printed(&world, "learner3").ends_with(&["after", "that"].map(
        |value| {
            let all = text(&world.decided(1));
            all.lines()
                .find(|line| line.ends_with(&format!("\t{value}")))
                .unwrap_or_default()
                .to_owned()
        }
    ))));
}

/// Memory is short, and the instances that a client asks for are not held any more: it says that
/// nobody can tell, and does not wait for ever.
#[test]
fn a_client_that_asks_for_what_is_removed_is_told_so() {
    let mut world = World::alone();
    world.configure(&format!("memory_bytes 64MiB\n{GENTLY}"));
    world.start_all("acceptor", 3, &[]);
    world.start("learner1", &[]);
    world.start_all("proposer", 2, &[]);
    feed(&mut world, 1, &long_values(60_000, 1000));
    fs::write(world.path("fed2"), "a\nb\nc\n").unwrap();
    let stdin = File::open(world.path("fed2")).unwrap();
    world.launch("client2", "client 2 --first-instance 5", stdin.into(), Stdio::null());
    assert_eq!(world.end_of("client2", SOON).code(), Some(1));
    let said = world.complaints("client2");
    let cured = "3 of 3 values asked for instances that are removed";
    assert!(said.contains(cured) && said.contains("FIRST_INSTANCE auto"), "{said}");
    assert!(said.contains("asks for instance 5, and everything below"), "{said}");
}

#[test]
fn a_client_does_not_ask_for_instances_that_nobody_may_know() {
    let world = World::new();
    world.configure("retain 7d");
    let output = world.paxos("client 1").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("FIRST_INSTANCE auto"), "{}", text(&output.stderr));
}
