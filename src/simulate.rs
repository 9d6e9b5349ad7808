//! `paxos simulate`: one scenario that is told, or thousands that are only judged.
//!
//! One seed draws everything: the cluster, its clients, the network and the faults. As soon as
//! anything else is asked for, the scenario is that and nothing more, and the seed only decides
//! which datagrams are lost.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use indicatif::{ProgressBar, ProgressStyle};

use crate::picture::{self, Caption, Wish};
use crate::protocol::types::Time;
use crate::sim::cluster::Plan;
use crate::sim::lasting::Lasting;
use crate::sim::record::Record;
use crate::sim::scenario::{Failure, Outcome, Ran, Scenario, many};
use crate::sim::script::Stage;
pub use crate::sim::trace::Detail;
use crate::sim::trace::{LEGEND, Trace};
use crate::stdio;
use crate::text;

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
    /// A transcript to be played instead.
    pub transcript: Option<PathBuf>,
    /// What is drawn of the run.
    pub pictures: Pictures,
}

/// Which pictures of a run are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pictures {
    /// The file of the diagram.
    pub svg: Option<PathBuf>,
    /// The file of the page.
    pub html: Option<PathBuf>,
    /// Their title; the scenario in words without one.
    pub title: Option<String>,
    /// What the diagram shows.
    pub wish: Wish,
    /// The command that draws them again.
    pub command: String,
}

impl Pictures {
    /// Whether there is any.
    pub fn are_wanted(&self) -> bool {
        self.svg.is_some() || self.html.is_some()
    }
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

/// Why nothing came of it, or not everything.
#[derive(Debug)]
pub enum Trouble {
    /// Standard output takes nothing.
    Output(io::Error),
    /// A file that cannot be written.
    File(PathBuf, io::Error),
    /// A transcript that cannot be read, in a sentence.
    Unreadable(String),
    /// A picture would begin behind the end of the run.
    Over {
        /// Where it would begin.
        from: Time,
        /// Where the run ends.
        end: Time,
    },
    /// A transcript that cannot be played.
    Transcript(PathBuf, String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Output(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Output(error) => write!(f, "standard output: {error}"),
            Trouble::File(path, error) => {
                write!(f, "{}: cannot write it: {error}", path.display())
            }
            Trouble::Unreadable(sentence) => f.write_str(sentence),
            Trouble::Over { from, end } => {
                let [from, end] = [from, end].map(|time| time.since(Time::ZERO));
                write!(
                    f,
                    "--from {from:?} lies behind the end of the run, {end:?}, and nothing is \
                     drawn; give it an earlier time"
                )
            }
            Trouble::Transcript(path, what) => write!(f, "{}: {what}", path.display()),
        }
    }
}

/// Runs what was asked for, and prints it to standard output. The last line is the hash.
///
/// # Errors
///
/// When standard output takes nothing, or a file cannot be read or written.
pub fn simulate(options: &SimulateOptions) -> Result<Verdict, Trouble> {
    match &options.transcript {
        Some(path) => play(path, &options.pictures),
        None if options.seeds == 1 => tell_one(options),
        None => Ok(judge_many(options)?),
    }
}

/// Plays a transcript, and prints it with what happens.
fn play(path: &Path, pictures: &Pictures) -> Result<Verdict, Trouble> {
    let text = text::read(path).map_err(Trouble::Unreadable)?;
    let (played, record) =
        Stage::recorded(&text).map_err(|what| Trouble::Transcript(path.to_owned(), what))?;
    let name = path.file_stem().map_or_else(String::new, |name| name.display().to_string());
    let caption = Caption {
        title: pictures.title.clone().unwrap_or_else(|| name.replace('_', " ")),
        command: pictures.command.clone(),
        result: "a transcript".to_owned(),
        ending: "The transcript ends.".to_owned(),
        hash: None,
    };
    draw(pictures, &record, &caption)?;
    stdio::stdout().write_all(played.as_bytes())?;
    Ok(Verdict::Good)
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

fn tell_one(options: &SimulateOptions) -> Result<Verdict, Trouble> {
    let play = Play::of(options, options.seed);
    // What cannot be written is better known before the run.
    let files = [&options.pictures.svg, &options.pictures.html];
    files.into_iter().flatten().try_for_each(|path| try_to_write(path))?;
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
    let record = options.pictures.are_wanted().then(Record::shared);
    let trace = match &record {
        Some(record) => trace.recorded(Rc::clone(record)),
        None => trace,
    };
    let Ran { hash, result } = play.run(trace);
    let line = summary(&result);
    writeln!(out, "{line}")?;
    let verdict = match &result {
        Ok(_) => Verdict::Good,
        Err(failure) => {
            if detail < Detail::Messages {
                writeln!(out, "{}", replay(options, options.seed))?;
            }
            verdict_of(failure)
        }
    };
    if let Some(record) = record {
        let title = options.pictures.title.clone().unwrap_or_else(|| in_short(&play));
        let ending = match verdict {
            Verdict::Good => "Every learner has everything, and every client knows.".to_owned(),
            Verdict::Unsafe | Verdict::Unfinished => format!("{line}."),
        };
        let command = options.pictures.command.clone();
        let caption = Caption { title, command, result: line, ending, hash: Some(hash) };
        draw(&options.pictures, &record.take(), &caption)?;
    }
    writeln!(out, "trace hash {hash:016x}")?;
    Ok(verdict)
}

/// How a run ended, in one line.
fn summary(result: &Result<Outcome, Failure>) -> String {
    match result {
        Ok(Outcome { chosen, sent, elections, finished }) => {
            let counts = [(*chosen as u64, "instance"), (*sent, "message")];
            let [chosen, sent] = counts.map(|(count, what)| many(count, what));
            let elections = many(u64::from(*elections), "election");
            format!("{chosen} decided by {finished}, {sent}, {elections}")
        }
        Err(failure) => failure.to_string(),
    }
}

/// The scenario in a few words.
fn in_short(play: &Play) -> String {
    let words = play.to_string();
    words.split(';').next().unwrap_or(&words).to_owned()
}

fn write(path: &Path, text: &str) -> Result<(), Trouble> {
    fs::write(path, text).map_err(|error| Trouble::File(path.to_owned(), error))
}

/// Opens a file as it will be written, and leaves in it what is there.
fn try_to_write(path: &Path) -> Result<(), Trouble> {
    let opened = File::options().append(true).create(true).open(path);
    opened.map(drop).map_err(|error| Trouble::File(path.to_owned(), error))
}

/// Removes a file that was only tried.
fn remove_if_empty(path: &Path) {
    let is_empty = |metadata: Metadata| metadata.is_file() && metadata.len() == 0;
    if fs::symlink_metadata(path).is_ok_and(is_empty) {
        // It says nothing, so it harms nobody if it stays.
        let _ = fs::remove_file(path);
    }
}

fn draw(pictures: &Pictures, record: &Record, caption: &Caption) -> Result<(), Trouble> {
    if let Some(from) = pictures.wish.from.filter(|from| *from > record.end) {
        [&pictures.svg, &pictures.html]
            .into_iter()
            .flatten()
            .for_each(|path| remove_if_empty(path));
        return Err(Trouble::Over { from, end: record.end });
    }
    if let Some(path) = &pictures.svg {
        write(path, &picture::picture(record, caption, &pictures.wish))?;
    }
    if let Some(path) = &pictures.html {
        write(path, &picture::page(record, caption))?;
    }
    Ok(())
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
    format!("see it: paxos simulate {lasting}--seed {seed} --trace (or --html run.html){rest}")
}
