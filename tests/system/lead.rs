//! `paxos lead`: leadership that is handed over, while values are being decided.

use std::process::Command;

use crate::world::{Network, PAXOS, SOON, World, happens, text, values};

/// How many values each client is fed.
const COUNT: usize = 3000;

fn paxos(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(PAXOS);
    command.arg("--conf").arg(world.conf()).args(arguments);
    let output = command.current_dir(world.path("")).output().unwrap();
    assert!(arguments[0] != "lead" || output.stdout.is_empty());
    (output.status.code(), text(&output.stderr))
}

fn leads(world: &World, proposer: &str) -> bool {
    let (status, said) = paxos(world, &["status", "--seconds", "0.5"]);
    status == Some(0) && said.starts_with(&format!("{proposer} leads "))
}

/// Hands leadership to and fro while two clients are served, and demands that nothing is lost.
fn hand_to_and_fro(mut world: World) {
    world.start_cluster(3, "0");
    assert!(happens(SOON, || leads(&world, "P1")));
    for id in 1..=2 {
        world.feed(id, values(&format!("v{id}"), COUNT).as_bytes(), &["0", "0", "auto"]);
    }
    for proposer in ["P2", "P3", "P3"] {
        let (status, said) = paxos(&world, &["lead", proposer]);
        assert_eq!(status, Some(0), "{proposer}: {said}");
        assert!(leads(&world, proposer), "{proposer}");
    }
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

#[test]
fn leadership_is_handed_over_and_nothing_is_lost() {
    hand_to_and_fro(World::over(Network::Multicast));
}

#[test]
fn with_a_key_only_a_holder_of_it_hands_over() {
    let world = World::over(Network::Multicast);
    let with_key = |world: &World, name: &str| {
        world.configure(&format!("key_file {}", world.path(name).display()));
    };
    world.make_key("own.key");
    with_key(&world, "own.key");
    hand_to_and_fro(world);
    let mut world = World::over(Network::Multicast);
    world.make_key("own.key");
    world.make_key("other.key");
    with_key(&world, "own.key");
    world.start_cluster(2, "0");
    assert!(happens(SOON, || leads(&world, "P1")));
    with_key(&world, "other.key");
    let (status, said) = paxos(&world, &["lead", "P2", "--seconds", "1"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("no proposer is heard"), "{said}");
    with_key(&world, "own.key");
    assert!(leads(&world, "P1"));
}

#[test]
fn what_cannot_lead_is_said_in_time() {
    let mut world = World::over(Network::Multicast);
    let lead = |world: &World, who: &str| paxos(world, &["lead", who, "--seconds", "0.7"]);
    let (status, said) = lead(&world, "P2");
    assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("no proposer is heard"), "{said}");
    world.start_cluster(2, "0");
    assert!(happens(SOON, || leads(&world, "P1")));
    let (status, said) = lead(&world, "P9");
    assert_eq!(status, Some(1));
    assert!(said.contains("it does not answer, and P1 leads"), "{said}");
    for wrong in
        [&["lead"][..], &["lead", "2"], &["lead", "A1"], &["lead", "P0"], &["lead", "P2", "x"]]
    {
        let (status, said) = paxos(&world, wrong);
        assert_eq!((status, said.lines().count()), (Some(2), 1), "{wrong:?}: {said}");
    }
    let lists = World::over(Network::Unicast);
    let (status, said) = lead(&lists, "P2");
    assert_eq!((status, said.contains("a list of members")), (Some(2), true), "{said}");
}
