//! The ways to carry datagrams: lists of members, IPv6 groups, and both; and settings that cannot
//! work.

use std::fs;
use std::net::UdpSocket;

use crate::faults::{COUNT, strike};
use crate::hosts::Alone;
use crate::world::{Network, PAXOS, SOON, World, skip, text, values};

/// The leader dies while values are decided, and everything is delivered.
fn survive(mut world: World) {
    world.start_cluster(3, "0.05");
    let world = strike(world, |world| world.kill("proposer1"));
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

#[test]
fn lists_of_members_work_as_groups_do() {
    survive(World::over(Network::Unicast));
}

#[test]
fn groups_and_lists_of_either_ip_version_work_together() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return skip("lists with IPv6 members", "IPv6 is off here");
    }
    survive(World::over(Network::Mixed));
}

#[test]
fn ipv6_groups_work_on_the_loopback_interface() {
    let Some(alone) = Alone::new("IPv6 groups on the loopback interface") else { return };
    let mut world = World::over(Network::Ipv6);
    let words: Vec<&str> = alone.enter.iter().map(String::as_str).collect();
    for role in ["acceptor", "learner", "proposer", "client"] {
        (1..=3).for_each(|id| world.through(&format!("{role}{id}"), &words));
    }
    world.configure("interface lo");
    survive(world);
}

/// Runs a command that is refused with this status; returns the one line it says.
fn refused_with(status: i32, world: &World, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(PAXOS);
    let output = command.arg("--conf").arg(world.conf()).args(arguments).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(status), 1), "{said}");
    said
}

fn refused(world: &World, arguments: &[&str]) -> String {
    refused_with(2, world, arguments)
}

/// The status of what may pass by itself: supervisors try again.
const TRY_AGAIN: i32 = 75;

#[test]
fn a_process_that_is_no_member_is_refused() {
    let mut world = World::over(Network::Unicast);
    let said = refused(&world, &["learner", "5"]);
    assert!(said.contains("paxos.conf:4: learners lists 4 members, so there is no learner 5;"));
    let said = refused(&world, &["acceptor", "4"]);
    assert!(said.contains("there is no acceptor 4"), "{said}");
    let said = refused(&world, &["bench", "--clients", "2"]);
    assert!(said.contains("paxos.conf:1: clients lists 4 members, so there is no client 1001;"));
    assert!(said.contains("--first-id 1001 --clients 2 takes the ids 1001..1002"), "{said}");
    // Two processes with one id.
    world.start("proposer1", &[]);
    world.start("proposer2", &[]);
    world.start_all("acceptor", 3, &[]);
    world.start("learner1", &[]);
    world.feed(1, values("v", 10).as_bytes(), &[]);
    world.await_lines(&[1], 10, SOON);
    let said = refused_with(TRY_AGAIN, &world, &["proposer", "2"]);
    assert!(said.contains("cannot listen at 127.0.0.2:") && said.contains("only once"), "{said}");
}

#[test]
fn an_interface_that_is_not_there_is_refused_with_what_there_is() {
    let world = World::over(Network::Multicast);
    for (interface, status, expected) in [
        (
            "nowhere0",
            TRY_AGAIN,
            "paxos.conf:6: this host has no interface nowhere0; it has lo (127.0.0.1",
        ),
        (
            "203.0.113.0/24",
            TRY_AGAIN,
            "paxos.conf:6: this host has no interface 203.0.113.0/24; it has lo",
        ),
        ("0.0.0.0/33", 2, "paxos.conf:6: interface 0.0.0.0/33 is not a network"),
    ] {
        world.configure(&format!("interface {interface}"));
        let said = refused_with(status, &world, &["learner", "1"]);
        assert!(said.contains(expected), "{said}");
    }
}

/// The same interface by its address, its name and its network.
#[test]
fn an_interface_has_three_names() {
    let mut world = World::over(Network::Multicast);
    // A file of its own for each, which is not written again while somebody may read it.
    let names: [(&str, &[&str]); 2] = [
        ("interface lo", &["acceptor1", "acceptor2", "acceptor3"]),
        ("interface 127.0.0.0/8", &["learner1", "learner2"]),
    ];
    for (line, nodes) in names {
        world.configure(line);
        for node in nodes {
            fs::copy(world.conf(), world.path(&format!("paxos-{node}.conf"))).unwrap();
        }
    }
    world.configure("interface 127.0.0.1");
    world.start_cluster(1, "0");
    for id in 1..=2 {
        world.feed(id, values(&format!("v{id}"), 100).as_bytes(), &["0", "0", "auto"]);
    }
    world.await_lines(&[1, 2], 200, SOON);
    world.expect_all_delivered();
}
