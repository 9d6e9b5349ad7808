//! A rolling upgrade under load, with kills, and the way back, as docs/upgrades.md says.
//!
//! The release before is played by this binary, held at the older version (`wire_version 8`), or it
//! is the binary that PAXOS_BEFORE names: `bash/upgrade.sh` sets that.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::faults::{COUNT, strike};
use crate::world::{Network, PAXOS, SOON, World, happens, skip};

/// The version of the previous release, and of this one.
const OLDER: u64 = 8;
pub const NEWER: u64 = 9;

/// Where the release before comes from.
#[derive(Clone)]
enum Before {
    /// This binary, restricted to the older version.
    Held,
    /// A binary of that release.
    Binary(PathBuf),
}

impl Before {
    /// From now on `name` starts as the release before.
    fn install(&self, world: &mut World, name: &str) {
        match self {
            Before::Held => {
                let conf = fs::read_to_string(world.conf()).unwrap() + "wire_version 8\n";
                fs::write(world.path(&format!("paxos-{name}.conf")), conf).unwrap();
            }
            Before::Binary(binary) => {
                let binary = format!("PAXOS_BIN={}", binary.display());
                world.through(name, &["env", &binary]);
            }
        }
    }

    /// From now on `name` starts as this release.
    fn replace(&self, world: &mut World, name: &str) {
        match self {
            Before::Held => fs::remove_file(world.path(&format!("paxos-{name}.conf"))).unwrap(),
            Before::Binary(_) => world.through(name, &[]),
        }
    }
}

fn status(world: &World) -> Option<Value> {
    let mut command = Command::new(PAXOS);
    command.arg("--conf").arg(world.conf()).args(["status", "--json"]);
    let output = command.current_dir(world.path("")).output().unwrap();
    serde_json::from_slice(&output.stdout).ok()
}

/// The version in which the leader sends, if there is one that a quorum answers.
fn version(world: &World) -> Option<u64> {
    let status = status(world)?;
    status["healthy"].as_bool().filter(|is_healthy| *is_healthy)?;
    status["wire"].as_u64()
}

/// The same, as soon as there is such a leader.
fn version_soon(world: &World) -> Option<u64> {
    let mut spoken = None;
    happens(SOON, || {
        spoken = version(world);
        spoken.is_some()
    });
    spoken
}

/// Whether a node is heard, and says that it reads `newest` and nothing newer.
fn is_there(world: &World, node: &str, newest: u64) -> bool {
    let Some(status) = status(world) else { return false };
    let mut nodes = status["processes"].as_array().into_iter().flatten();
    let is_it = |one: &Value| {
        let said = (&one["reads"][1], &one["state"]);
        one["node"] == node && said.0.as_u64() == Some(newest) && said.1 != "silent"
    };
    status["healthy"] == true && nodes.any(is_it)
}

/// `acceptor1` as the status writes it: `A1`.
fn short(name: &str) -> String {
    let digit = name.find(|letter: char| letter.is_ascii_digit()).unwrap();
    format!("{}{}", name[..1].to_uppercase(), &name[digit..])
}

/// Kills a node, restarts it from the installed release, and waits until it is heard.
fn start_again(world: &mut World, name: &str, newest: u64) {
    world.kill(name);
    world.start(name, &["0"]);
    let node = short(name);
    assert!(happens(SOON, || is_there(world, &node, newest)), "{name}: {}", world.said(name));
}

/// The order of an upgrade; the way back is the other way round.
const ORDER: [&str; 8] = [
    "learner1",
    "learner2",
    "acceptor1",
    "acceptor2",
    "acceptor3",
    "proposer3",
    "proposer2",
    "proposer1",
];

/// A cluster of the release before, on a network where the status can listen.
fn cluster_of(before: &Before) -> World {
    let mut world = World::over(Network::Multicast);
    world.configure(&format!("data {}", world.path("data").display()));
    ORDER.iter().for_each(|name| before.install(&mut world, name));
    world.start_cluster(3, "0");
    assert!(happens(SOON, || version(&world) == Some(OLDER)));
    world
}

/// An acceptor that has `wire_version 8` in its configuration while there is a way back.
const HELD: &str = "acceptor1";

/// Upgrades and holds, goes back, and upgrades for good.
fn there_and_back_and_there(before: &Before) {
    let world = strike(cluster_of(before), |world| {
        for name in ORDER {
            before.replace(world, name);
            if name == HELD {
                Before::Held.install(world, name);
            }
            start_again(world, name, if name == HELD { OLDER } else { NEWER });
            assert_eq!(version_soon(world), Some(OLDER), "after {name}");
        }
        for name in ORDER.iter().rev() {
            if *name == HELD {
                Before::Held.replace(world, name);
            }
            before.install(world, name);
            start_again(world, name, OLDER);
            assert_eq!(version_soon(world), Some(OLDER), "back to {name}");
        }
        for (place, name) in ORDER.iter().enumerate() {
            before.replace(world, name);
            start_again(world, name, NEWER);
            if place + 1 < ORDER.len() {
                assert_eq!(version_soon(world), Some(OLDER), "after {name}");
            }
        }
        assert!(happens(SOON, || version(world) == Some(NEWER)), "nobody speaks the newer version");
        // A silent acceptor may come back as another release, so it is spoken to in the older.
        world.kill("acceptor2");
        assert!(happens(SOON, || version(world) == Some(OLDER)), "the silent are not spoken to");
        world.start("acceptor2", &["0"]);
        assert!(happens(SOON, || version(world) == Some(NEWER)), "an acceptor came back");
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

/// Learners of the release before were forgotten: they call, and are served.
fn left_behind(before: &Before) {
    let world = strike(cluster_of(before), |world| {
        for name in &ORDER[2..] {
            before.replace(world, name);
            start_again(world, name, NEWER);
        }
        // It is tried, and taken back.
        std::thread::sleep(Duration::from_secs(3));
        assert!(happens(SOON, || version(world) == Some(OLDER)), "the learners are cut off");
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

/// The binary of the release before, if there is one.
fn binary(test: &str) -> Option<Before> {
    let path = std::env::var_os("PAXOS_BEFORE").map(PathBuf::from);
    if path.is_none() {
        skip(test, "PAXOS_BEFORE names no binary of the release before; see bash/upgrade.sh");
    }
    path.map(Before::Binary)
}

#[test]
fn a_cluster_is_upgraded_under_load_and_goes_back() {
    there_and_back_and_there(&Before::Held);
}

#[test]
fn learners_that_were_left_behind_are_served() {
    left_behind(&Before::Held);
}

#[test]
fn the_binary_of_the_release_before_is_upgraded_under_load_and_comes_back() {
    if let Some(before) = binary("an upgrade from the release before") {
        there_and_back_and_there(&before);
    }
}

#[test]
fn learners_of_the_binary_before_that_were_left_behind_are_served() {
    if let Some(before) = binary("learners of the release before") {
        left_behind(&before);
    }
}
