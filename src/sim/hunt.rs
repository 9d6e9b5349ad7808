//! Switches every deliberate bug on in turn, and demands that something notices.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::model::{self, Checked};
use super::scenario::{Failure, Outcome, run_seed};
use super::{drills, lasting};
use crate::bugs::{ALL, switch_to};

/// How many seeds and states a bug may take to be seen.
const SEEDS: u64 = 2_000;
const LASTING_SEEDS: u64 = 100;
const STATES: usize = 100_000;

/// What went wrong, also when it was an assertion.
fn wrong(run: impl FnOnce() -> Option<String>) -> Option<String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Some(format!("assertion: {}", text.unwrap_or_default()))
    })
}

/// Runs the simulator until it complains: the drills, faults that end, and faults that stay.
fn simulator() -> Option<String> {
    let seen = |what: String, result: Option<String>| result.map(|why| format!("{what}: {why}"));
    let drill = drills::ALL
        .into_iter()
        .find_map(|(name, drill)| seen(format!("drill, {name}"), wrong(drill)));
    let judge = |result: Result<Outcome, Failure>| result.err().map(|failure| failure.to_string());
    drill
        .or_else(|| {
            (1..=LASTING_SEEDS).find_map(|seed| {
                seen(format!("lasting seed {seed}"), wrong(|| judge(lasting::run_seed(seed))))
            })
        })
        .or_else(|| {
            (1..=SEEDS)
                .find_map(|seed| seen(format!("seed {seed}"), wrong(|| judge(run_seed(seed)))))
        })
}

/// Runs the model checker's walks until they complain.
fn walks() -> Option<String> {
    model::SMALL.into_iter().chain(model::WIDE).find_map(|scope| {
        let mut states = 0;
        let what = wrong(|| {
            let Checked { states: visited, wrong } = model::wander(scope, STATES);
            states = visited;
            wrong
        });
        what.map(|what| format!("{states} states: {}", what.lines().next().unwrap_or_default()))
    })
}

/// Every bug is caught, by the simulator or by the model. With `FULL=1` both look for each, else
/// the model only for what the simulator does not see; `BUG=<name>` switches on that one alone.
#[test]
fn every_deliberate_bug_is_caught() {
    let (only, full) = (std::env::var("BUG").ok(), std::env::var_os("FULL").is_some());
    std::panic::set_hook(Box::new(|_| ()));
    let mut survivors = Vec::new();
    for bug in ALL {
        if only.as_ref().is_some_and(|only| *only != format!("{bug:?}")) {
            continue;
        }
        switch_to(Some(bug));
        let simulator = simulator();
        let model = if simulator.is_none() || full { walks() } else { None };
        switch_to(None);
        if simulator.is_none() && model.is_none() {
            survivors.push(bug);
        }
        println!("{bug:?}");
        for (who, what) in [("simulator", simulator), ("model", model)] {
            if let Some(what) = what {
                let line: String =
                    what.lines().next().unwrap_or_default().chars().take(120).collect();
                println!("    {who}: {line}");
            }
        }
    }
    let _ = std::panic::take_hook();
    assert!(survivors.is_empty(), "nothing sees {survivors:?}");
}

/// Without a bug nothing complains, or the test above would show nothing.
#[test]
fn without_a_bug_nothing_complains() {
    let drill = drills::ALL.into_iter().find_map(|(_, drill)| drill());
    assert_eq!((drill, walks()), (None, None));
}
