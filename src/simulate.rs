//! `paxos simulate`: one scenario that is told, or thousands that are only judged.
//!
//! One seed draws everything: the cluster, its clients, the network and the faults. As soon as
//! anything else is asked for, the scenario is that and nothing more, and the seed only decides
//! which datagrams are lost.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use indicatif::{ProgressBar, ProgressStyle};

use crate::sim::cluster::Plan;
use crate::sim::lasting::Lasting;
use crate::sim::scenario::{Failure, Outcome, Ran, Scenario, many};
pub use crate::sim::trace::Detail;
use crate::sim::trace::{LEGEND, Trace};
use crate::stdio;

/// What to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulateOptions {
    /// The seed, or the first of several.
    pub seed: u64,
    /// How many seeds; one is told, more are only judged.
    pub seeds: u64,
    /// How much of it is told.
    pub detail: Detail,
    /// Faults stay, and what must hold in spite of them is judged.
    pub lasting: bool,
    /// A scenario of the user's own; none leaves everything to the seed.
    pub own: Option<Scenario>,
}

/// How it went, for the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Safe, and everything was decided.
    Good,
    /// A promise of safety is broken.
    Unsafe,
    /// Safe, but not everything was decided.
    Unfinished,
}

/// Runs what was asked for, and prints it to standard output. The last line is the hash.
///
/// # Errors
///
/// When standard output takes nothing.
pub fn simulate(options: &SimulateOptions) -> io::Result<Verdict> {
    if options.seeds == 1 { tell_one(options) } else { judge_many(options) }
}

/// What is played.
enum Play {
    /// Faults that end, or that the user wants.
    Scenario(Scenario),
    /// Faults that stay.
    Lasting(Lasting),
}

impl Play {
    /// That for one of the seeds.
    fn of(options: &SimulateOptions, seed: u64) -> Self {
        match &options.own {
            _ if options.lasting => Play::Lasting(Lasting::drawn(seed)),
            None => Play::Scenario(Scenario::drawn(seed)),
            Some(own) => {
                Play::Scenario(Scenario { plan: Plan { seed, ..own.plan.clone() }, ..own.clone() })
            }
        }
    }

    fn run(&self, trace: Trace) -> Ran {
        match self {
            Play::Scenario(scenario) => scenario.run(trace),
            Play::Lasting(lasting) => lasting.run(trace),
        }
    }
}

impl fmt::Display for Play {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Play::Scenario(scenario) => scenario.fmt(f),
            Play::Lasting(lasting) => lasting.fmt(f),
        }
    }
}

fn tell_one(options: &SimulateOptions) -> io::Result<Verdict> {
    let play = Play::of(options, options.seed);
    let mut out = stdio::stdout();
    writeln!(out, "{play}")?;
    let detail = options.detail;
    if detail >= Detail::Messages {
        writeln!(out, "{LEGEND}")?;
    }
    // A closed pipe ends the reading, not the run; its error shows at the last line.
    let trace = Trace::told(detail, |line| {
        let _ = writeln!(stdio::stdout(), "{line}");
    });
    let Ran { hash, result } = play.run(trace);
    let verdict = match result {
        Ok(Outcome { chosen, sent, elections, finished }) => {
            let counts = [(chosen as u64, "instance"), (sent, "message")];
            let [chosen, sent] = counts.map(|(count, what)| many(count, what));
            let elections = many(u64::from(elections), "election");
            writeln!(out, "{chosen} decided by {finished}, {sent}, {elections}")?;
            Verdict::Good
        }
        Err(failure) => {
            writeln!(out, "{failure}")?;
            if detail < Detail::Messages {
                writeln!(out, "{}", replay(options, options.seed))?;
            }
            verdict_of(&failure)
        }
    };
    writeln!(out, "trace hash {hash:016x}")?;
    Ok(verdict)
}

fn verdict_of(failure: &Failure) -> Verdict {
    match failure {
        Failure::Unsafe(_) => Verdict::Unsafe,
        Failure::Unfinished(_) => Verdict::Unfinished,
    }
}

/// What many seeds showed together.
#[derive(Debug, Default)]
struct Sum {
    chosen: u64,
    hash: u64,
    /// The failure of the lowest seed.
    failure: Option<(u64, Failure)>,
}

fn judge_many(options: &SimulateOptions) -> io::Result<Verdict> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let bar = ProgressBar::new(options.seeds);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta}")
    {
        bar.set_style(style);
    }
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let sum = Mutex::new(Sum::default());
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= options.seeds {
                break;
            }
            let seed = options.seed.wrapping_add(place);
            let Ran { hash, result } = Play::of(options, seed).run(Trace::silent());
            bar.inc(1);
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            // The same whatever the order in which seeds end.
            sum.hash = sum.hash.wrapping_add(hash.rotate_left(seed as u32 % 64));
            match result {
                Ok(outcome) => sum.chosen += outcome.chosen as u64,
                Err(failure) => {
                    failed.store(true, Ordering::Relaxed);
                    if sum.failure.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                        sum.failure = Some((seed, failure));
                    }
                }
            }
        }
    };
    thread::scope(|scope| {
        (0..cores).for_each(|_| {
            scope.spawn(work);
        });
    });
    bar.finish_and_clear();
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut out = stdio::stdout();
    if let Some((seed, failure)) = sum.failure {
        writeln!(out, "seed {seed}: {failure}")?;
        writeln!(out, "{}", replay(options, seed))?;
        writeln!(out, "trace hash {:016x}", sum.hash)?;
        return Ok(verdict_of(&failure));
    }
    let seconds = bar.elapsed().as_secs_f64();
    writeln!(
        out,
        "{} seeds, {} instances decided, nothing broken; {:.0} seeds a second",
        options.seeds,
        sum.chosen,
        options.seeds as f64 / seconds
    )?;
    writeln!(out, "trace hash {:016x}", sum.hash)?;
    Ok(Verdict::Good)
}

/// How to see a run again.
fn replay(options: &SimulateOptions, seed: u64) -> String {
    let rest = if options.own.is_some() { ", with the same options of the scenario" } else { "" };
    let lasting = if options.lasting { "--lasting " } else { "" };
    format!("see it: paxos simulate {lasting}--seed {seed} --trace{rest}")
}
