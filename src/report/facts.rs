//! What do the files of a run say? Pure, except for reading them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{ReportOptions, TIMELINE_FILE};
use crate::clock::Moment;
use crate::protocol::message::Assignment;
use crate::results::check::{self, Verdict};
use crate::results::files::{Content, Unusable, propose_file};
use crate::results::timeline::Timeline;

/// More of a log is not read: a report is read by a person.
const LOG_BYTES_MAX: usize = 4 << 20;

/// Everything on the page.
#[derive(Debug)]
pub struct Facts {
    /// The command that ran the cluster.
    pub command: Option<String>,
    /// The task of each client.
    pub clients: Vec<Client>,
    /// The verdict, or why there is none.
    pub verdict: Result<Verdict, Unusable>,
    /// How many entries learners had, and when.
    pub timeline: Option<Timeline>,
    /// The processes that have said something, by their names.
    pub processes: Vec<Process>,
}

/// The task of a client.
#[derive(Debug, PartialEq, Eq)]
pub struct Client {
    /// How many values it was fed.
    pub values: usize,
    /// Who assigned their instances.
    pub assignment: Assignment,
}

/// The log of a process.
#[derive(Debug, PartialEq, Eq)]
pub struct Process {
    /// Its name, as `P1`.
    pub name: String,
    /// Its lines, in order.
    pub lines: Vec<Line>,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub moment: Moment,
    /// How bad.
    pub level: String,
    /// What.
    pub text: String,
}

/// A time in which a proposer led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Since when.
    pub from: Moment,
    /// Until when.
    pub until: Moment,
    /// With which ballot.
    pub ballot: String,
    /// Whether it logged that this ended. If not, it was killed, and led until then.
    pub is_ended: bool,
}

/// The final counters of a process.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams that came from the network.
    pub received: u64,
    /// Datagrams that it sent.
    pub sent: u64,
    /// Messages that it sent again because no answer came.
    pub again: u64,
    /// Datagrams dropped on purpose: the loss set for the run.
    pub on_purpose: u64,
    /// Datagrams lost on this host: the kernel's queue or the inbox was full.
    pub overflowed: u64,
    /// Datagrams not understood, or not authenticated.
    pub refused: u64,
}

impl Facts {
    /// Reads the files that are there. Those that are missing are left out of the page.
    pub fn gather(options: &ReportOptions) -> Self {
        let check = &options.check;
        let read = |id| Content::read(&check.results, &propose_file(id));
        let fed: Result<Vec<Content>, Unusable> =
            (1..=check.clients.len() as u32).map(read).collect();
        let clients = fed.and_then(|fed| {
            let assignments = check.assignments(&fed)?.into_iter();
            let client = |(assignment, fed): (Assignment, &Content)| Client {
                values: fed.all_lines().len(),
                assignment,
            };
            Ok(assignments.zip(&fed).map(client).collect())
        });
        let timeline = fs::read_to_string(check.results.join(TIMELINE_FILE)).ok();
        Facts {
            command: options.command.clone(),
            clients: clients.unwrap_or_default(),
            verdict: check::check(check),
            timeline: timeline.as_deref().and_then(Timeline::parse),
            processes: processes(&logs(&check.results)),
        }
    }

    /// When a process led. One that was killed led until another did, at most.
    pub fn terms(&self, process: &Process) -> Vec<Term> {
        let others = || self.processes.iter().flat_map(Process::terms);
        let last = self.span().map(|(_, end)| end);
        let mut terms = process.terms();
        for term in terms.iter_mut().filter(|term| !term.is_ended) {
            let next = others().map(|other| other.from).filter(|from| *from > term.from).min();
            term.until = next.or(last).unwrap_or(term.until).max(term.until);
        }
        terms
    }

    /// When the first and the last thing happened that is known.
    pub fn span(&self) -> Option<(Moment, Moment)> {
        let lines = self.processes.iter().flat_map(|process| &process.lines);
        let watched = self.timeline.iter().flat_map(|timeline| {
            let end = Moment { millis: timeline.start.millis.saturating_add(timeline.end()) };
            [timeline.start, end]
        });
        let moments: Vec<Moment> = lines.map(|line| line.moment).chain(watched).collect();
        Some((*moments.iter().min()?, *moments.iter().max()?))
    }
}

impl Process {
    /// Its final counters, if it logged them.
    pub fn counts(&self) -> Option<Counts> {
        let line = self.lines.iter().rev().find(|line| line.text.starts_with("received "))?;
        let mut counts = Counts::default();
        for part in line.text.split(", ") {
            let number = part.split(' ').find_map(|word| word.parse::<u64>().ok()).unwrap_or(0);
            match part {
                _ if part.starts_with("received ") => counts.received = number,
                _ if part.starts_with("sent ") => counts.sent = number,
                _ if part.ends_with(" sent again") => counts.again = number,
                _ if part.ends_with(" lost on purpose") => counts.on_purpose = number,
                _ if part.ends_with(" dropped by the kernel")
                    || part.ends_with(" dropped at a full inbox") =>
                {
                    counts.overflowed = counts.overflowed.saturating_add(number);
                }
                _ if part.contains(" refused (") => {
                    counts.refused = counts.refused.saturating_add(number);
                }
                _ => {}
            }
        }
        Some(counts)
    }

    /// How long a client's values took, if it came to say so: names and lengths, in its words.
    pub fn took(&self) -> Option<Vec<(&str, &str)>> {
        let line = self.lines.iter().rev().find_map(|line| line.text.strip_prefix("values took: "));
        line?.split(", ").map(|part| part.split_once(' ')).collect()
    }

    /// When it led, with which ballots.
    pub fn terms(&self) -> Vec<Term> {
        let mut terms: Vec<Term> = Vec::new();
        for line in &self.lines {
            let ends = ["is replaced: ", "gives up ", "steps down: ", "received "];
            if let Some(rest) = line.text.strip_prefix("leads with ") {
                let ballot = rest.split(';').next().unwrap_or_default().to_owned();
                let (from, until) = (line.moment, line.moment);
                terms.push(Term { from, until, ballot, is_ended: false });
            } else if let Some(term) = terms.last_mut().filter(|term| !term.is_ended) {
                term.until = line.moment;
                term.is_ended = ends.iter().any(|end| line.text.starts_with(end));
            }
        }
        terms
    }
}

/// The texts of the logs in a directory, in the order of their names.
fn logs(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "log"));
    paths.sort();
    let read = |path| {
        let mut bytes = fs::read(path).ok()?;
        bytes.truncate(LOG_BYTES_MAX);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    paths.iter().filter_map(read).collect()
}

/// The processes by their log lines: the roles of a node have names of their own.
fn processes(logs: &[String]) -> Vec<Process> {
    let mut said: BTreeMap<(usize, u32, String), Vec<Line>> = BTreeMap::new();
    for (name, line) in logs.iter().flat_map(|text| text.lines()).filter_map(parse) {
        let rank = "PALCN".find(&name[..1]).unwrap_or(usize::MAX);
        let id = name[1..].parse().unwrap_or(u32::MAX);
        said.entry((rank, id, name.to_owned())).or_default().push(line);
    }
    said.into_iter().map(|((_, _, name), lines)| Process { name, lines }).collect()
}

/// `2026-11-26T12:53:14.026Z P1 INFO  leads with ...`: who, and the rest.
fn parse(line: &str) -> Option<(&str, Line)> {
    let (moment, rest) = line.split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    let (level, text) = rest.split_once(' ')?;
    let is_name = name.starts_with(['P', 'A', 'L', 'C', 'N']) && name.len() > 1;
    let moment = Moment::parse(moment).filter(|_| is_name)?;
    let (level, text) = (level.to_owned(), text.trim_start().to_owned());
    Some((name, Line { moment, level, text }))
}
