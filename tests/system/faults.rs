//! Processes die, sleep and come back while values are decided.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::world::{SOON, World, happens, values};

/// How many values each of the two clients is fed.
pub const COUNT: usize = 2000;

/// A cluster in which both clients are fed over a second or two; `fault` strikes when a quarter is
/// delivered.
fn survive(fault: impl FnOnce(&mut World)) -> World {
    let mut world = World::new();
    world.start_cluster(4, "0");
    strike(world, fault)
}

/// Feeds both clients of a cluster that runs; `fault` strikes when a quarter is delivered, and the
/// last quarter is fed only after it, however long it takes.
pub fn strike(mut world: World, fault: impl FnOnce(&mut World)) -> World {
    let is_over = Arc::new(AtomicBool::new(false));
    let feeders: Vec<_> = (1..=2)
        .map(|id| {
            let fed = values(&format!("v{id}"), COUNT);
            world.note_fed(id, &fed);
            let mut stdin = world.feed_slowly(id, &["0", "0", "auto"]);
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                // Parts of no particular length, so that lines arrive torn as well.
                for (number, part) in fed.as_bytes().chunks(997).enumerate() {
                    if number * 997 > fed.len() * 3 / 4 {
                        happens(2 * SOON, || is_over.load(Ordering::Relaxed));
                    }
                    stdin.write_all(part).unwrap();
                    thread::sleep(Duration::from_millis(50));
                }
            })
        })
        .collect();
    world.await_lines(&[2], COUNT / 2, SOON);
    fault(&mut world);
    is_over.store(true, Ordering::Relaxed);
    feeders.into_iter().for_each(|feeder| feeder.join().unwrap());
    world
}

#[test]
fn the_leader_is_killed() {
    let world = survive(|world| world.kill("proposer1"));
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

#[test]
fn two_leaders_are_killed_one_after_the_other() {
    let world = survive(|world| {
        world.kill("proposer1");
        let before = world.lines(2);
        world.await_lines(&[2], before + 100, SOON);
        world.kill("proposer2");
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

#[test]
fn the_leader_sleeps_for_three_seconds() {
    let world = survive(|world| {
        world.signal("proposer1", "-STOP");
        thread::sleep(Duration::from_secs(3));
        world.signal("proposer1", "-CONT");
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

#[test]
fn the_leader_dies_and_comes_back_at_once() {
    let world = survive(|world| {
        world.kill("proposer1");
        world.start("proposer1", &[]);
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

#[test]
fn an_acceptor_is_killed() {
    let world = survive(|world| world.kill("acceptor2"));
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

#[test]
fn the_leading_learner_is_killed_and_the_other_misses_nothing() {
    let mut world = survive(|world| world.kill("learner1"));
    world.await_lines(&[2], 2 * COUNT, SOON);
    // It comes back, starts its file over, and fetches everything.
    world.start("learner1", &[]);
    world.await_lines(&[1], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

/// Every proposer and every learner is new; only the acceptors remember.
#[test]
fn acceptors_alone_keep_what_was_decided() {
    let mut world = survive(|_| {});
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    let before = world.printed("learner1");
    for id in 1..=4 {
        world.kill(&format!("proposer{id}"));
    }
    world.kill("learner1");
    world.kill("learner2");
    world.start_all("learner", 2, &[]);
    world.start_all("proposer", 2, &[]);
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    assert_eq!(world.printed("learner1"), before);
    world.expect_all_delivered();
}

/// kill -9 tears at most the last line of the file.
#[test]
fn a_killed_learner_leaves_whole_lines() {
    let mut world = survive(|world| {
        // The other one may be ahead.
        world.await_lines(&[1], COUNT / 4, SOON);
        world.kill("learner1");
    });
    let file = world.decided(1);
    let lines: Vec<&[u8]> = file.split(|byte| *byte == b'\n').collect();
    let whole = &lines[..lines.len() - 1];
    assert!(whole.len() >= COUNT / 4, "{} lines", whole.len());
    assert!(whole.iter().all(|line| line.contains(&b'\t')));
    world.await_lines(&[2], 2 * COUNT, SOON);
    let verdict = world.check(&["2", "2", "false", "auto", "auto"]);
    assert_eq!(verdict.status.code(), Some(3));
    world.kill("learner2");
}
