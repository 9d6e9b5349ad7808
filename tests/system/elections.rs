//! Links that are cut for good, between separate hosts: a useful proposer leads, and a useful
//! leader is left alone. `sim::lasting` draws such cuts by the thousand.

use std::time::Duration;

use crate::faults::{COUNT, strike};
use crate::hosts::{ACCEPTORS, NAMES, Network};
use crate::world::{SOON, World, happens, skip};

/// How often a proposer has come to lead.
fn leaderships(world: &World) -> usize {
    let of = |id| world.said(&format!("proposer{id}")).matches("leads with").count();
    (1..=3).map(of).sum()
}

/// Lets `fault` strike a cluster of hosts; all is decided in spite of it. Returns how often leaders
/// have changed since.
fn changes_after(test: &str, fault: impl FnOnce(&Network)) -> Option<usize> {
    let network = Network::new(test)?;
    let mut before = 0;
    let mut world = strike(network.cluster(), |world| {
        before = leaderships(world);
        fault(&network);
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
    // They know it as well.
    for client in ["client1", "client2"] {
        assert!(world.end_of(client, SOON).success(), "{client} {}", world.said(client));
    }
    Some(leaderships(&world) - before)
}

fn others_than(name: &str) -> Vec<&'static str> {
    NAMES.into_iter().filter(|other| *other != name).collect()
}

#[test]
fn the_leader_hears_nobody() {
    let changes = changes_after("a leader that hears nobody", |network| {
        for name in others_than("proposer1") {
            network.cut(name, &["proposer1"]);
        }
    });
    assert!(changes.is_none_or(|changes| changes == 1), "{changes:?} changes of leader");
}

/// It is heard by all, and would campaign for ever if it did not ask first.
#[test]
fn a_standby_hears_nobody() {
    let changes = changes_after("a standby that hears nobody", |network| {
        for name in others_than("proposer2") {
            network.cut(name, &["proposer2"]);
        }
    });
    assert!(changes.is_none_or(|changes| changes == 0), "{changes:?} changes of leader");
}

/// Acceptors are the detour.
#[test]
fn no_proposer_hears_another_and_the_leader_is_deaf_to_acceptors() {
    let changes = changes_after("proposers that do not hear each other", |network| {
        for name in ["proposer1", "proposer2", "proposer3"] {
            let others = ["proposer1", "proposer2", "proposer3"].into_iter();
            network.cut(name, &others.filter(|other| *other != name).collect::<Vec<_>>());
        }
        ACCEPTORS.iter().for_each(|name| network.cut(name, &["proposer1"]));
    });
    assert!(changes.is_none_or(|changes| changes == 1), "{changes:?} changes of leader");
}

#[test]
fn a_client_does_not_hear_the_leader() {
    let changes = changes_after("a client that does not hear the leader", |network| {
        network.cut("proposer1", &["client1"]);
    });
    assert!(changes.is_none_or(|changes| changes == 1), "{changes:?} changes of leader");
}

/// They fetch from a standby, or get another leader, whichever is sooner.
#[test]
fn no_learner_hears_the_leader() {
    let changes = changes_after("learners that do not hear the leader", |network| {
        network.cut("proposer1", &["learner1", "learner2"]);
    });
    assert!(changes.is_none_or(|changes| changes <= 1), "{changes:?} changes of leader");
}

/// The other learner does, and passes on what it hears.
#[test]
fn the_leading_learner_does_not_hear_the_leader() {
    let changes = changes_after("a leading learner that does not hear the leader", |network| {
        network.cut("proposer1", &["learner1"]);
    });
    assert!(changes.is_none_or(|changes| changes == 0), "{changes:?} changes of leader");
}

/// A majority of three and a majority of one need not meet.
#[test]
fn processes_that_count_the_acceptors_differently_do_not_hear_each_other() {
    if crate::world::Network::asked() == crate::world::Network::Unicast {
        return skip("another acceptor_count", "a list says how many acceptors there are");
    }
    let mut world = World::new();
    world.start_cluster(2, "0");
    world.feed(1, b"a\nb\nc\n", &["0", "0", "auto"]);
    world.await_lines(&[1, 2], 3, SOON);
    // The same groups and the same cluster, and another idea of a majority.
    let mut other = world.neighbour();
    other.configure("acceptor_count 1\n");
    other.start("learner1", &[]);
    let sentence = "with acceptor_count 3, and here it is 1";
    assert!(happens(SOON, || other.said("learner1").contains(sentence)), "it says nothing");
    let sentence = "with acceptor_count 1, and here it is 3";
    assert!(happens(SOON, || world.said("learner1").contains(sentence)), "it says nothing");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(other.printed("learner1"), b"", "it heard others all the same");
}
