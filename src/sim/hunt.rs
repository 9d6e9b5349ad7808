//! Switches every deliberate bug on in turn, and demands that something notices.

use std::iter;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use parking_lot::Mutex;

use super::model::{self, Checked, Scope};
use super::scenario::{Failure, Outcome, run_seed};
use super::{drills, lasting};
use crate::bugs::{ALL, Bug, switch_to};

/// How many seeds and states a bug may take to be seen.
const SEEDS: u64 = 2_000;
const LASTING_SEEDS: u64 = 100;
const STATES: usize = 100_000;

/// How many seeds are tried before anything else that takes long: they find most of what seeds
/// find.
const FIRST_SEEDS: u64 = 50;

/// What went wrong, even if it was an assertion.
fn wrong(run: impl FnOnce() -> Option<String>) -> Option<String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Some(format!("assertion: {}", text.unwrap_or_default()))
    })
}

/// Runs the drills until one complains.
fn drills() -> Option<String> {
    drills::ALL
        .into_iter()
        .find_map(|(name, drill)| wrong(drill).map(|why| format!("drill, {name}: {why}")))
}

/// Runs the simulator with these seeds until it complains.
fn seeds(
    kind: &str,
    mut seeds: RangeInclusive<u64>,
    run: impl Fn(u64) -> Result<Outcome, Failure>,
) -> Option<String> {
    seeds.find_map(|seed| {
        let why = wrong(|| run(seed).err().map(|failure| failure.to_string()));
        why.map(|why| format!("{kind} {seed}: {why}"))
    })
}

/// Walks through a scope of the model until something is wrong.
fn walk(scope: Scope) -> Option<String> {
    let mut states = 0;
    let what = wrong(|| {
        let Checked { states: visited, wrong } = model::wander(scope, STATES);
        states = visited;
        wrong
    });
    what.map(|what| format!("{states} states: {}", what.lines().next().unwrap_or_default()))
}

/// Walks through all scopes until something is wrong in one.
fn walks() -> Option<String> {
    model::SMALL.into_iter().chain(model::WIDE).find_map(walk)
}

/// Looks for the bug that is switched on, and returns what it has seen.
type Hunter = fn() -> Option<String>;

/// The ways to look for a bug, each with the name under which it reports: the cheapest come first.
const HUNTERS: [(&str, Hunter); 5] = [
    ("simulator", drills),
    ("simulator", || seeds("seed", 1..=FIRST_SEEDS, run_seed)),
    ("simulator", || seeds("lasting seed", 1..=LASTING_SEEDS, lasting::run_seed)),
    ("model", walks),
    ("simulator", || seeds("seed", FIRST_SEEDS + 1..=SEEDS, run_seed)),
];

/// Switches one bug on, and returns whether anything sees it. Prints what does: the first of all,
/// or, with `full`, the first of the simulator and of the model.
fn is_caught(bug: Bug, full: bool) -> bool {
    let mut told = Vec::new();
    switch_to(Some(bug));
    for (who, hunter) in HUNTERS {
        let is_done =
            if full { told.iter().any(|(other, _)| *other == who) } else { !told.is_empty() };
        if !is_done {
            told.extend(hunter().map(|what| (who, what)));
        }
    }
    switch_to(None);
    let first_line =
        |what: &str| what.lines().next().unwrap_or_default().chars().take(120).collect::<String>();
    let lines = told.iter().map(|(who, what)| format!("\n    {who}: {}", first_line(what)));
    // In one piece, for other bugs are reported at the same time.
    println!("{bug:?}{}", lines.collect::<String>());
    !told.is_empty()
}

/// Lets all processors take these items one after the other, and returns what their work finds. A
/// switch is local to a thread, so each processor hunts a different bug.
fn on_all_processors<T, R: Send>(
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    work: impl Fn(T) -> Option<R> + Sync,
) -> Vec<R> {
    let items = Mutex::new(items.into_iter());
    let next = || items.lock().next();
    let run = || iter::from_fn(next).filter_map(&work).collect::<Vec<_>>();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no hunter panics")).collect()
    })
}

/// Every bug is caught, by the simulator or by the model. With `FULL=1` both look for each,
/// otherwise the first to see it ends the search; `BUG=<name>` tries that one alone.
#[test]
fn every_deliberate_bug_is_caught() {
    let (only, full) = (std::env::var("BUG").ok(), std::env::var_os("FULL").is_some());
    let is_meant = |bug: &Bug| only.as_ref().is_none_or(|only| *only == format!("{bug:?}"));
    std::panic::set_hook(Box::new(|_| ()));
    let bugs = ALL.into_iter().filter(is_meant);
    let survivors = on_all_processors(bugs, |bug| (!is_caught(bug, full)).then_some(bug));
    let _ = std::panic::take_hook();
    assert!(survivors.is_empty(), "nothing sees {survivors:?}");
}

/// Without a bug nothing complains, or the test above would show nothing.
#[test]
fn without_a_bug_nothing_complains() {
    let complaints = on_all_processors(drills::ALL, |(_, drill)| drill());
    assert_eq!(complaints, [""; 0]);
    // The widest scopes take longest, so they come first.
    let scopes = model::SMALL.into_iter().chain(model::WIDE).rev();
    assert_eq!(on_all_processors(scopes, walk), [""; 0]);
}
