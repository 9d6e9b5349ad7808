//! `paxos log`: an acceptor's directory, examined while no process uses it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::world::{PAXOS, SOON, World, text, values};

/// How many values the cluster decides.
const COUNT: usize = 200;

fn log(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(PAXOS).arg("log").args(arguments).output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Everything about a directory that may not change.
fn listing(path: &Path) -> Vec<(String, Vec<u8>, u64, i64)> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries
        .map(|path| {
            let (data, content) = (fs::metadata(&path).unwrap(), fs::read(&path).unwrap());
            (path.display().to_string(), content, data.ino(), data.mtime_nsec())
        })
        .collect();
    all.sort();
    all
}

/// A cluster that has decided some values and ended, or was killed.
fn after_a_run(is_killed: bool) -> World {
    let mut world = World::durable();
    world.start_cluster(1, "0");
    world.feed(1, values("v", COUNT).as_bytes(), &["0", "0", "auto"]);
    world.await_lines(&[1, 2], COUNT, SOON);
    world.end_of("client1", SOON);
    for name in ["proposer1", "acceptor1", "acceptor2", "acceptor3"] {
        if is_killed {
            world.kill(name);
        } else {
            world.signal(name, "-TERM");
            world.end_of(name, SOON);
        }
    }
    world
}

#[test]
fn a_log_is_verified_and_shown_and_stays_as_it_is() {
    for is_killed in [false, true] {
        let world = after_a_run(is_killed);
        let path = world.path("data/acceptor-1");
        let (folder, before) = (path.to_str().unwrap(), listing(&path));
        let (status, printed, said) = log(&["verify", folder]);
        assert_eq!((status, printed.as_str()), (Some(0), ""), "{said}");
        assert!(said.contains(": acceptor 1 of cluster "), "{said}");
        assert!(said.contains(" would start: ") && said.contains(", promised 1.P1"), "{said}");
        let (status, printed, said) = log(&["show", folder]);
        assert_eq!((status, said.as_str()), (Some(0), ""));
        assert_eq!(printed.lines().next(), Some("-\t1.P1\tpromise\t-\t0\t-"));
        let votes: Vec<&str> =
            printed.lines().filter(|line| line.contains("\tvalue\tC1.")).collect();
        assert!(votes.len() >= COUNT, "{printed}");
        let (status, some, _) = log(&["show", folder, "--instances", "3..5"]);
        let instances: Vec<&str> = some.lines().map(|line| &line[..2]).collect();
        assert_eq!((status, instances), (Some(0), vec!["3\t", "4\t", "5\t"]));
        assert_eq!(listing(&path), before, "nothing changes");
    }
}

#[test]
fn what_a_start_would_refuse_is_refused_with_its_sentence() {
    let mut world = after_a_run(true);
    let path = world.path("data/acceptor-1");
    let folder = path.to_str().unwrap();
    // A copy, which may be older.
    let copy = world.path("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let (status, _, said) = log(&["verify", copy.to_str().unwrap()]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(" is a copy") && said.contains("; it is whole: "), "{said}");
    let (status, printed, _) = log(&["show", copy.to_str().unwrap()]);
    assert_eq!((status, printed), (Some(0), log(&["show", folder]).1));
    // A byte of the first record of a copy.
    let mut bytes = fs::read(copy.join("log-00000001")).unwrap();
    bytes[30] ^= 1;
    fs::write(copy.join("log-00000001"), &bytes).unwrap();
    let (status, _, said) = log(&["verify", copy.to_str().unwrap()]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("log-00000001: the record at byte 0 is damaged"), "{said}");
    // A byte in the middle of the original: `show` lists what precedes it.
    let whole = log(&["show", folder]).1;
    let mut bytes = fs::read(path.join("log-00000001")).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2] ^= 1;
    fs::write(path.join("log-00000001"), &bytes).unwrap();
    let (status, printed, said) = log(&["show", folder]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(" is damaged, and it was stored whole"), "{said}");
    assert!(whole.starts_with(&printed) && printed.len() < whole.len() && !printed.is_empty());
    // The acceptor itself says the same at a start.
    let (_, _, verified) = log(&["verify", folder]);
    world.start("acceptor1", &[]);
    world.end_of("acceptor1", SOON);
    assert!(world.said("acceptor1").contains(verified.trim()), "{verified}");
}

#[test]
fn what_is_no_log_is_said_in_one_line() {
    let mut world = World::durable();
    world.start_all("acceptor", 1, &[]);
    let path = world.path("data/acceptor-1");
    assert!(crate::world::happens(SOON, || path.join("identity").exists()));
    let refused = |path: &Path, words: &str| {
        for command in ["verify", "show"] {
            let (status, printed, said) = log(&[command, path.to_str().unwrap()]);
            assert_eq!((status, printed.as_str()), (Some(2), ""), "{said}");
            assert!(said.contains(words) && said.lines().count() == 1, "{said}");
        }
    };
    refused(&path, "is in use by an acceptor");
    refused(&world.path("data"), "acceptor-1");
    refused(&world.path("nowhere"), "cannot read it");
    fs::write(world.path("results/x"), "x").unwrap();
    refused(&world.path("results"), "is not the directory of an acceptor");
    for wrong in [&["log"][..], &["log", "verify"], &["log", "show", "x", "--instances", "5..3"]] {
        let output = Command::new(PAXOS).args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{wrong:?}");
    }
    let (status, _, said) = log(&["verify", world.path("empty").to_str().unwrap()]);
    assert_eq!(status, Some(2), "{said}");
    fs::create_dir(world.path("empty")).unwrap();
    let (status, _, said) = log(&["verify", world.path("empty").to_str().unwrap()]);
    assert_eq!((status, said.contains("nothing is stored there")), (Some(0), true), "{said}");
}
