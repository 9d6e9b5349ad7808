//! Nodes: a proposer, an acceptor and a learner in one process (`bash/node.sh`).

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::world::{SOON, World, happens, values};

/// How many values each of the two clients is fed.
const COUNT: usize = 1000;

fn start_nodes(world: &mut World, loss: &str) {
    for id in 1..=3 {
        world.start(&format!("node{id}"), &[loss]);
    }
}

/// A durable world in which the roles of a node share a thread.
fn sharing_durable() -> World {
    let world = World::new();
    world.configure(&format!("data {}\nrole_threads shared", world.path("data").display()));
    world
}

/// Waits until each node's learner has delivered `count` values, according to its file.
fn await_delivered(world: &World, count: usize) {
    let lines = |id| world.decided(id).iter().filter(|byte| **byte == b'\n').count();
    let done = happens(SOON, || (1..=3).all(|id| lines(id) >= count));
    assert!(done, "{:?} of {count}", [lines(1), lines(2), lines(3)]);
}

#[test]
fn three_nodes_decide_what_two_clients_ask_for_under_loss() {
    decide_under_loss(World::new());
}

#[test]
fn nodes_whose_roles_share_a_thread_decide_the_same() {
    let world = World::new();
    world.configure("role_threads shared");
    decide_under_loss(world);
}

fn decide_under_loss(mut world: World) {
    start_nodes(&mut world, "0.1");
    for id in 1..=2 {
        let fed = values(&format!("v{id}"), COUNT);
        world.feed(id, fed.as_bytes(), &["0.1", "0", "auto"]);
    }
    await_delivered(&world, 2 * COUNT);
    let printed = world.printed("node1");
    assert!(!printed.is_empty(), "values go to standard output");
    for id in 2..=3 {
        assert!(happens(SOON, || world.printed(&format!("node{id}")) == world.printed("node1")));
    }
    world.expect_verdict(&["3", "2", "false", "auto", "auto"]);
}

#[test]
fn a_node_that_is_killed_comes_back_with_all_that_it_promised() {
    come_back(World::durable());
}

#[test]
fn so_does_one_whose_roles_share_a_thread() {
    come_back(sharing_durable());
}

fn come_back(mut world: World) {
    start_nodes(&mut world, "0");
    world.feed(1, values("v1", COUNT).as_bytes(), &["0", "0", "auto"]);
    await_delivered(&world, COUNT);
    // Its proposer leads, its acceptor votes, and its learner is who others fetch from.
    world.kill("node1");
    world.feed(2, values("v2", COUNT).as_bytes(), &["0", "0", "auto"]);
    assert!(world.end_of("client2", SOON).success());
    world.start("node1", &[]);
    // One of the others is gone now, so it takes the vote of the one that came back.
    await_delivered(&world, 2 * COUNT);
    world.kill("node2");
    let third = values("v3", COUNT);
    world.feed(3, third.as_bytes(), &["0", "0", "auto"]);
    assert!(world.end_of("client3", SOON).success());
    assert!(!world.complaints("node1").contains("mistake"), "{}", world.said("node1"));
}

#[test]
fn a_node_ends_at_a_signal_and_as_a_whole() {
    end_as_a_whole(World::durable());
}

#[test]
fn a_node_with_one_thread_ends_at_a_signal_and_as_a_whole() {
    end_as_a_whole(sharing_durable());
}

fn end_as_a_whole(mut world: World) {
    start_nodes(&mut world, "0");
    world.feed(1, values("v1", 10).as_bytes(), &["0", "0", "auto"]);
    await_delivered(&world, 10);
    world.signal("node1", "-TERM");
    assert!(world.end_of("node1", Duration::from_secs(5)).success());
    // A failure that ends one of its roles ends all of them.
    fs::remove_dir_all(world.path("data/acceptor-2")).unwrap();
    assert_eq!(world.end_of("node2", SOON).code(), Some(2), "{}", world.said("node2"));
}

#[test]
fn a_node_is_refused_before_it_does_anything() {
    let mut world = World::new();
    world.start_with("node4", &[], Stdio::null());
    assert_eq!(world.end_of("node4", SOON).code(), Some(2));
    assert!(world.said("node4").contains("there is no acceptor 4; acceptor_count is 3"));
    assert!(!world.path("results/learner4_decided_value").exists());
}
