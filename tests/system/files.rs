//! Statuses, signals, argument vectors, and the scenarios that ship.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::world::{PAXOS, SOON, World, happens, script, text, values};

#[test]
fn processes_end_well_when_they_are_asked_to() {
    for signal in ["-TERM", "-INT"] {
        let mut world = World::new();
        world.start_cluster(1, "0");
        world.feed(1, values("v", 10).as_bytes(), &[]);
        world.await_lines(&[1, 2], 10, SOON);
        for name in ["acceptor1", "proposer1", "learner1"] {
            world.signal(name, signal);
            assert_eq!(world.end_of(name, SOON).code(), Some(0), "{name} {signal}");
        }
    }
}

#[test]
fn a_client_with_undecided_values_says_how_many_and_ends_with_1() {
    let mut world = World::new();
    world.feed(1, values("v", 7).as_bytes(), &["0", "0.5"]);
    world.feed(2, values("v", 5).as_bytes(), &[]);
    assert_eq!(world.end_of("client1", SOON).code(), Some(1));
    assert!(world.said("client1").contains("7 of 7 values are not known"), "at its lifetime");
    world.signal("client2", "-TERM");
    assert_eq!(world.end_of("client2", SOON).code(), Some(1));
    assert!(world.said("client2").contains("5 of 5 values are not known"), "when it is ended");
}

/// Two clients ask for the same instances: one wins each, and the other learns how many it lost.
#[test]
fn a_client_that_lost_instances_is_told_so() {
    let mut world = World::new();
    world.start_cluster(2, "0");
    world.feed(1, values("v1", 50).as_bytes(), &[]);
    assert_eq!(world.end_of("client1", SOON).code(), Some(0));
    world.feed(2, values("v2", 60).as_bytes(), &[]);
    assert_eq!(world.end_of("client2", SOON).code(), Some(0));
    assert!(world.said("client2").contains("50 of 60 values lost"), "{}", world.said("client2"));
    world.await_lines(&[1, 2], 60, SOON);
    world.expect_verdict(&["2", "2"]);
}

#[test]
fn a_lifetime_ends_a_process() {
    let mut world = World::new();
    let started = Instant::now();
    for name in ["acceptor1", "proposer1", "learner1"] {
        world.start(name, &["0", "0.5"]);
    }
    for name in ["acceptor1", "proposer1", "learner1"] {
        assert_eq!(world.end_of(name, SOON).code(), Some(0));
    }
    assert!(started.elapsed() >= Duration::from_millis(500));
}

/// Harnesses find processes by the configuration's path, the role and the id, in this order.
#[test]
fn the_argument_vector_names_configuration_role_and_id() {
    let mut world = World::new();
    world.start("proposer3", &["0.1", "60", "1", "1"]);
    let expected = format!("{}\0proposer\x003\0", world.conf().display());
    let path = format!("/proc/{}/cmdline", world.pid("proposer3"));
    let mut vector = String::new();
    let is_found = happens(SOON, || {
        vector = text(&fs::read(&path).unwrap());
        vector.contains(&expected)
    });
    assert!(is_found, "{vector:?}");
}

/// The results file is started over, and results/ is created when it is missing.
#[test]
fn a_learner_begins_its_file_anew() {
    let mut world = World::new();
    fs::remove_dir_all(world.path("results")).unwrap();
    world.start("learner1", &[]);
    let file = world.path("results/learner1_decided_value");
    assert!(happens(SOON, || file.exists()));
    world.kill("learner1");
    fs::write(&file, "1\told\n").unwrap();
    world.start("learner1", &[]);
    assert!(happens(SOON, || world.decided(1).is_empty()));
}

/// Every scenario of bash/test_runs ends as its head says.
#[test]
fn the_scenarios_end_as_they_say() {
    let _slot = World::new();
    let scenarios: Vec<PathBuf> = fs::read_dir(script("test_runs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("lib.sh"))
        .collect();
    assert!(scenarios.len() >= 20, "{} scenarios", scenarios.len());
    // Mostly they wait, so some run side by side; they have directories and ports of their own.
    for side_by_side in scenarios.chunks(4) {
        thread::scope(|scope| {
            for path in side_by_side {
                scope.spawn(|| play(path));
            }
        });
    }
}

/// Runs one scenario.
fn play(path: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let allowed: &[i32] = match name.as_str() {
        "two_acceptors_killed.sh" => &[3],
        name if name.contains("no_timeouts") => &[0, 3],
        _ => &[0],
    };
    let run = Command::new(path)
        .current_dir(folder.path())
        .env("PAXOS_BIN", PAXOS)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let said = format!("{}{}", text(&run.stdout), text(&run.stderr));
    assert!(allowed.contains(&run.status.code().unwrap_or(-1)), "{name}: {said}");
    assert!(said.contains("Integrity: True\nAgreement: True\n"), "{name}: {said}");
}
