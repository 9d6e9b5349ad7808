//! Switches every deliberate bug on in turn, and demands that something notices.
//!
//! `testdata/caught.txt` says what was the first to see each bug the last time, and that is tried
//! first: a search through everything takes a hundred times as long. Where it does not see the bug
//! any more, or the file does not know the bug, everything is tried as before. `REWRITE=1` writes
//! the file anew. A wrong line costs time, and hides nothing.

use std::cell::Cell;
use std::io::Write as _;
use std::iter;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::Duration;
use std::{fmt, fs, io, process, thread};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::drills::{self, Drill};
use super::lasting;
use super::model::{self, Checked, Scope};
use super::scenario::{Failure, Outcome, run_seed};
use crate::bugs::{ALL, Bug, switch_to};
use crate::clock::Clock;
use crate::protocol::types::Time;

/// How many seeds and states a bug may take to be seen.
const SEEDS: u64 = 2_000;
const LASTING_SEEDS: u64 = 100;
const STATES: usize = 100_000;

/// How many seeds are tried before anything else that takes long: they find most of what seeds
/// find.
const FIRST_SEEDS: u64 = 50;

/// What saw each bug the last time, a line a bug: its name, and what [`Finder`] says of itself.
const CAUGHT: &str = "src/sim/testdata/caught.txt";

/// What can see a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finder {
    Drill(&'static str),
    Seed(u64),
    LastingSeed(u64),
    /// Random walks through this one of the model's scopes.
    Scope(usize),
}

impl fmt::Display for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finder::Drill(name) => write!(f, "drill {name}"),
            Finder::Seed(seed) => write!(f, "seed {seed}"),
            Finder::LastingSeed(seed) => write!(f, "lasting seed {seed}"),
            Finder::Scope(scope) => write!(f, "scope {scope}"),
        }
    }
}

impl Finder {
    /// The finder that says this of itself, if it is there any more.
    fn named(text: &str) -> Option<Finder> {
        let number = |text: &str| text.parse().ok();
        if let Some(name) = text.strip_prefix("drill ") {
            return drill(name).map(|(name, _)| Finder::Drill(name));
        }
        if let Some(seed) = text.strip_prefix("seed ") {
            return number(seed).map(Finder::Seed);
        }
        if let Some(seed) = text.strip_prefix("lasting seed ") {
            return number(seed).map(Finder::LastingSeed);
        }
        let scope = text.strip_prefix("scope ").and_then(|scope| scope.parse().ok());
        scope.filter(|scope| *scope < scopes().count()).map(Finder::Scope)
    }

    /// Whether it belongs to the model.
    fn is_of_model(self) -> bool {
        matches!(self, Finder::Scope(_))
    }

    /// Looks for the bug that is switched on, and returns what is wrong.
    fn look(self) -> Option<String> {
        match self {
            Finder::Drill(name) => drill(name).and_then(|(_, drill)| wrong(drill)),
            Finder::Seed(seed) => wrong(|| complaint(run_seed(seed))),
            Finder::LastingSeed(seed) => wrong(|| complaint(lasting::run_seed(seed))),
            Finder::Scope(scope) => scopes().nth(scope).and_then(walk),
        }
    }
}

fn drill(name: &str) -> Option<Drill> {
    drills::ALL.into_iter().find(|(other, _)| *other == name)
}

fn scopes() -> impl DoubleEndedIterator<Item = Scope> {
    model::SMALL.into_iter().chain(model::WIDE)
}

fn complaint(run: Result<Outcome, Failure>) -> Option<String> {
    run.err().map(|failure| failure.to_string())
}

/// What saw this bug the last time.
fn remembered(bug: Bug) -> Option<Finder> {
    static LINES: OnceLock<String> = OnceLock::new();
    let lines = LINES.get_or_init(|| match std::env::var_os("REWRITE") {
        Some(_) => String::new(),
        None => fs::read_to_string(CAUGHT).unwrap_or_default(),
    });
    let line = |line: &'static str| line.strip_prefix(&format!("{bug:?} "));
    lines.lines().find_map(line).and_then(Finder::named)
}

/// How long, in real time, one look for a bug may take on processors that others use first.
/// A bug that makes a loop endless would otherwise keep the hunt waiting, and not be named.
const PATIENCE: Duration = Duration::from_secs(1_800);

thread_local! {
    /// Whether a panic is what is hunted for.
    static IS_HUNTING: Cell<bool> = const { Cell::new(false) };
}

/// Lets nobody see the panics that deliberate bugs cause.
fn silence() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !IS_HUNTING.get() {
            loud(panic);
        }
    }));
}

/// What went wrong, even if it was an assertion.
fn wrong(run: impl FnOnce() -> Option<String>) -> Option<String> {
    IS_HUNTING.set(true);
    let found = caught(run);
    IS_HUNTING.set(false);
    found
}

fn caught(run: impl FnOnce() -> Option<String>) -> Option<String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Some(format!("assertion: {}", text.unwrap_or_default()))
    })
}

/// The drills, those first that take least time. Without a bug none of them complains.
fn drills_by_cost() -> &'static [Drill] {
    static ORDERED: OnceLock<Vec<Drill>> = OnceLock::new();
    ORDERED.get_or_init(|| {
        let timed = on_all_processors(drills::ALL, |(name, drill)| {
            let clock = Clock::start();
            assert_eq!(drill(), None, "{name}");
            Some((clock.now(), (name, drill)))
        });
        let mut timed: Vec<(Time, Drill)> = timed;
        timed.sort_by_key(|(cost, _)| *cost);
        timed.into_iter().map(|(_, drill)| drill).collect()
    })
}

/// Walks through a scope of the model until something is wrong.
fn walk(scope: Scope) -> Option<String> {
    let mut states = 0;
    let what = wrong(|| {
        let Checked { states: visited, wrong, .. } = model::wander(scope, STATES);
        states = visited;
        wrong
    });
    what.map(|what| format!("{states} states: {}", what.lines().next().unwrap_or_default()))
}

/// Everything that may see a bug, the cheapest first.
fn finders() -> impl Iterator<Item = Finder> {
    let drills = drills_by_cost().iter().map(|(name, _)| Finder::Drill(name));
    drills
        .chain((1..=FIRST_SEEDS).map(Finder::Seed))
        .chain((1..=LASTING_SEEDS).map(Finder::LastingSeed))
        .chain((0..scopes().count()).map(Finder::Scope))
        .chain((FIRST_SEEDS + 1..=SEEDS).map(Finder::Seed))
}

/// Ends the process and names the bug, unless what it returns is dropped in time.
fn lose_patience_with(bug: Bug, finder: Finder) -> Sender<()> {
    let (search, ended) = bounded(0);
    thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            // Not by a macro, whose output the test would keep for itself.
            let line = format!("{finder} has not ended after {PATIENCE:?} with {bug:?}\n");
            let _ = io::stderr().write_all(line.as_bytes());
            process::abort();
        }
    });
    search
}

/// Switches one bug on, and returns what sees it: the first of all, or, with `full`, the first of
/// the simulator and of the model. Prints what they say.
fn hunt(bug: Bug, full: bool) -> Vec<Finder> {
    let mut told: Vec<(Finder, String)> = Vec::new();
    switch_to(Some(bug));
    // One after the other is made, for the drills are ordered only if they are needed.
    let all = remembered(bug).into_iter().chain(iter::once(()).flat_map(|()| finders()));
    for finder in all {
        let is_enough =
            |(other, _): &(Finder, String)| !full || other.is_of_model() == finder.is_of_model();
        if !told.iter().any(is_enough) {
            let _search = lose_patience_with(bug, finder);
            told.extend(finder.look().map(|what| (finder, what)));
        }
        if told.len() == if full { 2 } else { 1 } {
            break;
        }
    }
    switch_to(None);
    let first_line =
        |what: &str| what.lines().next().unwrap_or_default().chars().take(120).collect::<String>();
    let line = |(finder, what): &(Finder, String)| format!("\n    {finder}: {}", first_line(what));
    // In one piece, for other bugs are reported at the same time.
    println!("{bug:?}{}", told.iter().map(line).collect::<String>());
    told.into_iter().map(|(finder, _)| finder).collect()
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
    silence();
    let bugs = ALL.into_iter().filter(is_meant).enumerate();
    let mut caught: Vec<(usize, Bug, Vec<Finder>)> =
        on_all_processors(bugs, |(place, bug)| Some((place, bug, hunt(bug, full))));
    assert!(!caught.is_empty(), "there is no bug {only:?}");
    caught.sort_by_key(|(place, ..)| *place);
    let first = |(_, bug, finders): &(usize, Bug, Vec<Finder>)| {
        finders.first().map(|finder| format!("{bug:?} {finder}\n"))
    };
    if std::env::var_os("REWRITE").is_some() && only.is_none() {
        fs::write(CAUGHT, caught.iter().filter_map(first).collect::<String>()).unwrap();
    }
    caught.retain(|(.., finders)| finders.is_empty());
    let survivors: Vec<Bug> = caught.into_iter().map(|(_, bug, _)| bug).collect();
    assert!(survivors.is_empty(), "nothing sees {survivors:?}");
}

/// Without a bug nothing complains, or the test above would show nothing.
#[test]
fn without_a_bug_nothing_complains() {
    drills_by_cost();
    // The widest scopes take longest, so they come first.
    assert_eq!(on_all_processors(scopes().rev(), walk), [""; 0]);
}
