//! What harnesses assume about time, case by case.

use std::time::{Duration, Instant};

use crate::world::{SOON, World, values};

/// Five seconds after the clients start, everything is there.
const FIVE_SECONDS: Duration = Duration::from_secs(5);

/// Two clients leave `count` values each to the leader; both learners print all of them in time.
fn deliver_in_time(count: usize, loss: &str) {
    let mut world = World::new();
    world.start_cluster(4, loss);
    let started = Instant::now();
    for id in 1..=2 {
        world.feed(id, values(&format!("v{id}"), count).as_bytes(), &[loss, "0", "auto"]);
    }
    world.await_lines(&[1, 2], 2 * count, FIVE_SECONDS.saturating_sub(started.elapsed()));
    world.expect_all_delivered();
    for client in ["client1", "client2"] {
        assert_eq!(world.end_of(client, SOON).code(), Some(0));
    }
}

#[test]
fn two_clients_with_100_values() {
    deliver_in_time(100, "0");
}

#[test]
fn two_clients_with_1000_values() {
    deliver_in_time(1000, "0");
}

#[test]
fn two_clients_with_10000_values() {
    deliver_in_time(10_000, "0");
}

#[test]
fn two_clients_with_1000_values_at_ten_percent_loss() {
    deliver_in_time(1000, "0.1");
}

#[test]
fn client_assigned_instances_are_decided_at_any_loss() {
    for loss in ["0", "0.1", "0.3"] {
        let mut world = World::new();
        world.start_cluster(4, loss);
        for id in 1..=2 {
            world.feed(id, values(&format!("v{id}"), 1000).as_bytes(), &[loss]);
        }
        world.await_lines(&[1, 2], 1000, SOON);
        world.expect_verdict(&["2", "2"]);
        assert_eq!(world.printed("learner1"), world.printed("learner2"));
    }
}

/// Acceptors, a second later learners, a second later proposers, and the clients before any of
/// them: a process that misses others keeps asking.
#[test]
fn groups_may_come_one_after_the_other_and_clients_first() {
    let mut world = World::new();
    let pause = || std::thread::sleep(Duration::from_secs(1));
    for id in 1..=2 {
        world.feed(id, values(&format!("v{id}"), 1000).as_bytes(), &["0", "0", "auto"]);
    }
    world.start_all("acceptor", 3, &[]);
    pause();
    world.start_all("learner", 2, &[]);
    pause();
    world.start_all("proposer", 4, &[]);
    world.await_lines(&[1, 2], 2000, FIVE_SECONDS);
    world.expect_all_delivered();
}

/// Everybody else waits for the acceptors, which come last.
#[test]
fn acceptors_may_come_last() {
    let mut world = World::new();
    world.start_all("learner", 2, &[]);
    world.start_all("proposer", 4, &[]);
    for id in 1..=2 {
        world.feed(id, values(&format!("v{id}"), 100).as_bytes(), &["0", "0", "auto"]);
    }
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(world.lines(1), 0);
    world.start_all("acceptor", 3, &[]);
    world.await_lines(&[1, 2], 200, FIVE_SECONDS);
    world.expect_all_delivered();
}

#[test]
fn a_second_learner_holds_everything_within_two_seconds() {
    let mut world = World::new();
    world.start_all("acceptor", 3, &[]);
    world.start("learner1", &[]);
    world.start_all("proposer", 4, &[]);
    for id in 1..=2 {
        world.feed(id, values(&format!("v{id}"), 1000).as_bytes(), &["0", "0", "auto"]);
    }
    world.await_lines(&[1], 2000, SOON);
    world.start("learner2", &[]);
    world.await_lines(&[2], 2000, Duration::from_secs(2));
    world.expect_all_delivered();
}

#[test]
fn a_fresh_learner_fetches_100000_values_in_seconds() {
    let mut world = World::new();
    world.start_all("acceptor", 3, &[]);
    world.start("learner1", &[]);
    world.start("proposer1", &[]);
    world.feed(1, values("v", 100_000).as_bytes(), &["0", "0", "auto"]);
    world.await_lines(&[1], 100_000, SOON);
    world.start("learner2", &["0.1"]);
    world.await_lines(&[2], 100_000, FIVE_SECONDS);
    assert_eq!(world.printed("learner1"), world.printed("learner2"));
}

/// One acceptor of three decides nothing; two decide everything.
#[test]
fn a_quorum_decides_and_less_does_not() {
    let mut world = World::new();
    world.start("acceptor1", &[]);
    world.start_all("learner", 2, &[]);
    world.start_all("proposer", 4, &[]);
    for id in 1..=2 {
        world.feed(id, values(&format!("v{id}"), 100).as_bytes(), &[]);
    }
    std::thread::sleep(Duration::from_secs(2));
    for learner in 1..=2 {
        assert!(world.decided(learner).is_empty());
        assert!(world.printed(&format!("learner{learner}")).is_empty());
    }
    world.start("acceptor2", &[]);
    world.await_lines(&[1, 2], 100, SOON);
    world.expect_verdict(&["2", "2"]);
}

#[test]
fn without_pre_execution_and_without_time_outs_a_clean_run_is_complete() {
    for flags in [["0", "1"], ["1", "0"], ["1", "1"]] {
        let mut world = World::new();
        world.start_all("acceptor", 3, &[]);
        world.start_all("learner", 2, &[]);
        world.start_all("proposer", 4, &["0", "0", flags[0], flags[1]]);
        for id in 1..=2 {
            world.feed(id, values(&format!("v{id}"), 1000).as_bytes(), &[]);
        }
        world.await_lines(&[1, 2], 1000, SOON);
        world.expect_verdict(&["2", "2"]);
    }
}
