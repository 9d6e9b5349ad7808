//! Kills a process at its system calls, one call after the other: `strace` kills it as it enters
//! the call, so that all before it is done, and the call is not.
//!
//! `strace` counts the calls of each kind in each thread, and kills at the first that comes to the
//! wanted number. So each kind has runs of its own, and where possible each file: `-P` counts only
//! calls that concern it. A place is a kind of call and a kind of file; a test says which places it
//! must have been killed at, and fails if it missed one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::world::{SOON, World, happens, skip, succeeds};

/// The calls that change files, or what others know.
const CALLS: &str = "mkdir,mkdirat,openat,write,writev,pwrite64,pwritev,fsync,fdatasync,ftruncate,\
                     fallocate,rename,renameat,renameat2,unlink,unlinkat,sendto,sendmsg,sendmmsg";

/// How many calls of one kind on one file are each killed at; of further ones, every seventh.
const EACH: usize = 4;
const STRIDE: usize = 7;

/// Where a process is killed: as it enters this call of its kind, counted from 1 in the thread that
/// is the first to come there. With a path only calls that concern it count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub call: String,
    pub path: Option<PathBuf>,
    pub nth: usize,
}

impl Moment {
    /// A moment.
    pub fn new(call: &str, path: Option<PathBuf>, nth: usize) -> Self {
        Moment { call: call.to_owned(), path, nth }
    }
}

/// A call that changes a file, or sends something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    thread: u32,
    pub call: String,
    /// None for what is sent.
    pub path: Option<PathBuf>,
}

impl Change {
    /// Parses a line of a trace, if it is about something in this directory.
    fn parse(line: &str, within: &Path) -> Option<Change> {
        let (thread, line) = line.split_once(' ')?;
        let thread = thread.parse().ok()?;
        let (call, arguments) = line.trim_start().split_once('(')?;
        let is_call = CALLS.split(',').any(|known| known == call);
        let descriptor = || Some(arguments.split_once('<')?.1.split_once('>')?.0);
        let name = || Some(arguments.split_once('"')?.1.split_once('"')?.0);
        let path = match call {
            "sendto" | "sendmsg" | "sendmmsg" => {
                // Not what the kernel is asked for its interfaces.
                let change = Change { thread, call: call.to_owned(), path: None };
                return arguments.contains("_port=").then_some(change);
            }
            "openat" if !arguments.contains("O_CREAT") => return None,
            "openat" | "renameat" | "renameat2" | "unlinkat" | "mkdirat" => {
                Path::new(descriptor()?).join(name()?)
            }
            "mkdir" | "rename" | "unlink" => within.join(name()?),
            _ => PathBuf::from(descriptor()?),
        };
        // Its standard streams are its reader's.
        let is_stream = path.extension().is_some_and(|end| end == "err" || end == "out");
        let is_its = is_call && path.starts_with(within) && !is_stream;
        is_its.then(|| Change { thread, call: call.to_owned(), path: Some(path) })
    }

    /// The kind of call and the kind of file: its name in its directory, with an `N` for what
    /// counts.
    fn place(&self, within: &Path) -> String {
        let Some(path) = &self.path else { return format!("{} to the network", self.call) };
        let path = path.strip_prefix(within).unwrap_or(path).display().to_string();
        let words = path.split_inclusive(['.', '-', '/']);
        let word = |word: &str| {
            let (word, end) = match word.char_indices().next_back() {
                Some((last, end @ ('.' | '-' | '/'))) => (&word[..last], Some(end)),
                _ => (word, None),
            };
            let counts = word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
            let word = if counts { "N" } else { word };
            word.chars().chain(end).collect::<String>()
        };
        format!("{} {}", self.call, words.map(word).collect::<String>())
    }
}

/// What runs under `strace`, and where it was killed so far.
pub struct Killer {
    /// The world's directory.
    within: PathBuf,
    /// At which places it was killed, and how often.
    pub killed: BTreeMap<String, usize>,
}

impl Killer {
    /// None, said aloud, where there is no `strace`.
    pub fn new(test: &str, world: &World) -> Option<Killer> {
        if !succeeds(&["strace", "-D", "-f", "-q", "-o", "/dev/null", "true"]) {
            skip(test, "there is no strace, or it is not allowed");
            return None;
        }
        Some(Killer { within: world.path(""), killed: BTreeMap::new() })
    }

    fn trace(&self) -> PathBuf {
        self.within.join("trace")
    }

    /// The same command under `strace`.
    pub fn wrap(&self, command: &Command, moment: Option<&Moment>) -> Command {
        let mut traced = Command::new("strace");
        traced.args(["-D", "-f", "-q", "-y", "-e", &format!("trace={CALLS}")]);
        traced.arg("-o").arg(self.trace());
        if let Some(Moment { call, path, nth }) = moment {
            traced.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
            if let Some(path) = path {
                // By descriptor, and by a name that is looked up in its directory.
                traced.arg("-P").arg(path).arg("-P").arg(path.file_name().unwrap());
            }
        }
        traced.arg(command.get_program()).args(command.get_args());
        traced.current_dir(&self.within).env_remove("RUST_LOG");
        // What is left of the run before would be taken for this one's.
        let _ = fs::remove_file(self.trace());
        traced
    }

    /// Whether the present run was killed.
    pub fn has_killed(&self) -> bool {
        fs::read_to_string(self.trace()).is_ok_and(|trace| trace.contains("+++ killed by SIGKILL"))
    }

    /// What the run of this process changed, in order, once all of it is written.
    pub fn changes(&self, pid: u32) -> Vec<Change> {
        let trace = || fs::read_to_string(self.trace()).unwrap_or_default();
        // Its threads end before it.
        let is_end = |line: &str| {
            let mut words = line.split_whitespace();
            words.next() == Some(&pid.to_string()) && words.next() == Some("+++")
        };
        assert!(happens(SOON, || trace().lines().any(is_end)), "strace does not end");
        trace().lines().filter_map(|line| Change::parse(line, &self.within)).collect()
    }

    /// Notes where this process was killed.
    pub fn note(&mut self, pid: u32, moment: &Moment) {
        self.changes(pid);
        let trace = fs::read_to_string(self.trace()).unwrap();
        let call = format!(" {}(", moment.call);
        let entered = trace.lines().rfind(|line| line.contains(&call));
        // None for a call that only reads.
        if let Some(change) = entered.and_then(|line| Change::parse(line, &self.within)) {
            *self.killed.entry(change.place(&self.within)).or_default() += 1;
        }
    }

    /// Demands that it was killed at each of these places.
    pub fn expect_all(&self, places: &BTreeSet<String>) {
        let missed: Vec<_> = places.iter().filter(|at| !self.killed.contains_key(*at)).collect();
        assert!(missed.is_empty(), "not killed at {missed:?}, but at {:?}", self.killed);
    }

    /// The places of these changes.
    pub fn places(&self, changes: &[Change]) -> BTreeSet<String> {
        changes.iter().map(|change| change.place(&self.within)).collect()
    }
}

/// Where to kill a run that does the same again: at the first calls of each kind on each file, and
/// at some of the others, each time other ones.
pub fn moments(changes: &[Change]) -> Vec<Moment> {
    let mut counts: BTreeMap<&Change, usize> = BTreeMap::new();
    changes.iter().for_each(|change| *counts.entry(change).or_default() += 1);
    let offset = std::process::id() as usize % STRIDE;
    let is_chosen = |nth: usize| nth <= EACH || nth % STRIDE == offset;
    let moment = |change: &Change, nth| Moment::new(&change.call, change.path.clone(), nth);
    let of_one = |(change, count): (&Change, usize)| {
        let change = change.clone();
        (1..=count).filter(move |nth| is_chosen(*nth)).map(move |nth| moment(&change, nth))
    };
    // If several threads do the same, it is killed in the first that comes so far.
    let all: BTreeSet<Moment> = counts.into_iter().flat_map(of_one).collect();
    all.into_iter().collect()
}

/// Runs a command to its end. Returns its number as well.
pub fn run(command: &mut Command) -> (u32, Output) {
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    (child.id(), child.wait_with_output().unwrap())
}

pub fn is_killed(output: &Output) -> bool {
    output.status.signal() == Some(9)
}
