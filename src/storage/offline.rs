//! `paxos log`: what is in an acceptor's directory? Asked while no acceptor runs on it.
//!
//! The directory is read by the very code that reads it at a start (`recovery`), on a disk that
//! forgets writes (`archive`). So the answer to "would it start?" is that of a real start, and
//! nothing changes.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::directory::LOCK;
use super::error::LogError;
use super::identity::{IDENTITY, Identity};
use super::log::{Log, LogOptions, Recovered};
use crate::clock::Moment;
use crate::protocol::actor::Record;
use crate::protocol::checkpoint::kind_name;
use crate::protocol::entries::EntryRef;
use crate::protocol::types::{Ballot, Instance, LogTime, Piece};

/// What to do with a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogCommand {
    /// Say whether an acceptor would start on it.
    Verify {
        /// The directory.
        path: PathBuf,
    },
    /// List its records.
    Show {
        /// The directory.
        path: PathBuf,
        /// Only these instances, the last one included.
        instances: Option<(u64, u64)>,
    },
}

/// Why there is no good answer.
#[derive(Debug)]
pub enum OfflineError {
    /// The acceptor would not start.
    Broken(String),
    /// The directory cannot be read.
    Unusable(String),
    /// The lines cannot be written.
    Output(io::Error),
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OfflineError::Broken(what) | OfflineError::Unusable(what) => f.write_str(what),
            OfflineError::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl std::error::Error for OfflineError {}

/// What a log holds.
#[derive(Debug, Default)]
struct Contents {
    promised: Option<Ballot>,
    /// Votes; those for one instance in several ballots count separately.
    votes: u64,
    highest: Option<Instance>,
    trimmed: Option<Instance>,
}

impl Contents {
    fn take(&mut self, record: &Record) {
        match record {
            Record::Promised(ballot) => self.promised = self.promised.max(Some(*ballot)),
            Record::Accepted { ballot, from, entries } => {
                self.promised = self.promised.max(Some(*ballot));
                self.votes = self.votes.saturating_add(entries.len() as u64);
                let last = from.0.saturating_add((entries.len() as u64).saturating_sub(1));
                self.highest = self.highest.max(Some(Instance(last)));
            }
            Record::Trimmed(below) => self.trimmed = self.trimmed.max(Some(*below)),
            // All of it is here.
            Record::Forgotten(_) => {}
        }
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} votes", self.votes)?;
        if let Some(highest) = self.highest {
            write!(f, " up to instance {highest}")?;
        }
        match self.promised {
            Some(ballot) => write!(f, ", promised {ballot}")?,
            None => write!(f, ", nothing promised")?,
        }
        self.trimmed.map_or(Ok(()), |below| write!(f, ", trimmed below instance {below}"))
    }
}

/// Whether an acceptor would start on this directory, in a sentence.
///
/// # Errors
///
/// When it would not, or when that cannot be determined.
pub fn verify(path: &Path) -> Result<String, OfflineError> {
    let mut contents = Contents::default();
    let read = read(path, false, |record| {
        contents.take(&record);
        Ok(())
    });
    let (identity, recovered) = match read {
        Ok(read) => read,
        Err(Trouble::Log(LogError::Copied { path: copied })) => {
            return Err(OfflineError::Broken(of_copy(path, copied)));
        }
        Err(trouble) => return Err(trouble.into()),
    };
    let Some(Identity { cluster, acceptor, .. }) = identity else {
        let path = path.display();
        return Ok(format!(
            "{path}: nothing is stored there; an acceptor would start without any vote"
        ));
    };
    let Recovered { records, cut_bytes, .. } = recovered;
    let torn = match cut_bytes {
        0 => String::new(),
        bytes => format!("; it would cut {bytes} bytes of a torn record, which was never answered"),
    };
    let path = path.display();
    Ok(format!(
        "{path}: acceptor {acceptor} of cluster {cluster} would start: {records} records, \
         {contents}{torn}"
    ))
}

/// The sentence about a copy: an acceptor would not start on it, but it may be intact.
fn of_copy(path: &Path, copied: String) -> String {
    let mut contents = Contents::default();
    let read = read(path, true, |record| {
        contents.take(&record);
        Ok(())
    });
    let copy = LogError::Copied { path: copied };
    match read {
        Ok((_, Recovered { records, .. })) => {
            format!("{copy}; it is whole: {records} records, {contents}")
        }
        Err(Trouble::Log(error)) => format!("{copy}; and {error}"),
        Err(Trouble::Busy(what)) => what,
        Err(Trouble::Output(error)) => error.to_string(),
    }
}

/// Writes a line for each promise and each vote: instance, ballot, kind, session and number, and
/// bytes, with tabs between them. Of a damaged log it writes what precedes the damage.
///
/// # Errors
///
/// When the log is damaged, or cannot be read, or the lines cannot be written.
pub fn show(
    path: &Path,
    instances: Option<(u64, u64)>,
    out: &mut impl Write,
) -> Result<(), OfflineError> {
    let mut control = Control::default();
    let mut list = |record| list(&record, instances, &mut control, out);
    match read(path, false, &mut list) {
        // Nothing was listed yet, and the contents of a copy can be shown.
        Err(Trouble::Log(LogError::Copied { .. })) => read(path, true, &mut list)?,
        other => other?,
    };
    Ok(out.flush().map_err(Trouble::Output)?)
}

/// The control entry whose pieces were read last. Its first piece alone says of which kind it is.
#[derive(Default)]
struct Control {
    series: u64,
    kind: Option<Cow<'static, str>>,
}

impl Control {
    /// What a piece of a control entry is called.
    fn name(&mut self, piece: Piece, bytes: &[u8]) -> Cow<'static, str> {
        if piece.place == 0 {
            (self.series, self.kind) = (piece.series, Some(kind_name(bytes)));
        }
        let kind = self.kind.clone().filter(|_| self.series == piece.series);
        // Without its first piece: only checkpoints are so long that they have more than one.
        kind.unwrap_or("checkpoint".into())
    }
}

fn list(
    record: &Record,
    wanted: Option<(u64, u64)>,
    control: &mut Control,
    out: &mut impl Write,
) -> io::Result<()> {
    match record {
        Record::Promised(ballot) if wanted.is_none() => {
            writeln!(out, "-\t{ballot}\tpromise\t-\t0\t-")
        }
        Record::Trimmed(below) if wanted.is_none() => writeln!(out, "{below}\t-\ttrimmed\t-\t0\t-"),
        Record::Forgotten(below) if wanted.is_none() => {
            writeln!(out, "{below}\t-\tforgotten\t-\t0\t-")
        }
        Record::Promised(_) | Record::Trimmed(_) | Record::Forgotten(_) => Ok(()),
        Record::Accepted { ballot, from, entries } => {
            for (instance, entry) in (from.0..).zip(entries.iter()) {
                // Every piece, for one that is not wanted may say of which kind the next one is.
                let (kind, bytes) = match entry {
                    EntryRef::Noop => (Cow::Borrowed("no-op"), 0),
                    EntryRef::Value { value, .. } => ("value".into(), value.len()),
                    EntryRef::Part { bytes, .. } => ("part".into(), bytes.len()),
                    EntryRef::Checkpoint { piece, bytes } => {
                        (control.name(piece, bytes), bytes.len())
                    }
                };
                if wanted.is_some_and(|(first, last)| instance < first || last < instance) {
                    continue;
                }
                let origin = entry.origin().map_or_else(
                    || "-".to_owned(),
                    |origin| {
                        format!("{}.{:016x}{}", origin.session, origin.session.boot, origin.number)
                    },
                );
                let time = match entry.time() {
                    LogTime::NONE => "-".to_owned(),
                    LogTime(millis) => Moment { millis }.to_string(),
                };
                writeln!(out, "{instance}\t{ballot}\t{kind}\t{origin}\t{bytes}\t{time}")?;
            }
            Ok(())
        }
    }
}

/// Why reading ended early.
enum Trouble {
    Log(LogError),
    /// The directory cannot be read, or not now.
    Busy(String),
    Output(io::Error),
}

impl From<Trouble> for OfflineError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Log(error) if error.is_forbidden() => {
                OfflineError::Unusable(error.to_string())
            }
            Trouble::Log(error) => OfflineError::Broken(error.to_string()),
            Trouble::Busy(what) => OfflineError::Unusable(what),
            Trouble::Output(error) => OfflineError::Output(error),
        }
    }
}

/// Calls `take` with every record of the directory, until one is not taken. Returns whose directory
/// it is, if there is anything, and what a start would have found.
fn read(
    path: &Path,
    adopt_copy: bool,
    mut take: impl FnMut(Record) -> io::Result<()>,
) -> Result<(Option<Identity>, Recovered), Trouble> {
    refuse_others(path)?;
    let mut archive = Archive::new(path);
    let identity = if path.join(IDENTITY).symlink_metadata().is_ok() {
        Some(Identity::read_any(&mut archive).map_err(Trouble::Log)?)
    } else {
        None
    };
    let nobody = Identity {
        cluster: String::new(),
        acceptor: 0,
        acceptor_count: 0,
        incarnation: 0,
        token: 0,
    };
    let options = LogOptions { adopt_copy, reads_all: true, ..LogOptions::default() };
    let mine = identity.as_ref().unwrap_or(&nobody);
    let (mut taken, mut answer) = (Ok(()), None);
    let opening = Log::open(archive, mine, options);
    let recovered = opening.and_then(|opening| {
        let restore = |record| {
            if taken.is_ok() {
                taken = take(record);
            }
        };
        let (_, recovered) = opening.recover(restore)?;
        answer = Some(recovered);
        Ok(())
    });
    taken.map_err(Trouble::Output)?;
    // An acceptor that started meanwhile has changed what was read.
    refuse_others(path)?;
    recovered.map_err(Trouble::Log)?;
    Ok((identity, answer.unwrap_or_default()))
}

/// Refuses a directory that is no acceptor's, or that an acceptor uses.
fn refuse_others(path: &Path) -> Result<(), Trouble> {
    let shown = path.display();
    let busy = |what: String| Err(Trouble::Busy(what));
    let names = match fs::read_dir(path) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.file_name())),
        Err(error) => return busy(format!("{shown}: cannot read it: {error}")),
    };
    let names: Vec<String> = names.filter_map(|name| Some(name.to_str()?.to_owned())).collect();
    let mut acceptors: Vec<&String> =
        names.iter().filter(|name| name.starts_with("acceptor-")).collect();
    acceptors.sort();
    if let Some(first) = acceptors.first() {
        return busy(format!(
            "{shown} holds the directories of acceptors; name one of them, as {}",
            path.join(first).display()
        ));
    }
    // A log without its identity is damaged; other files are not ours.
    let is_known = |name: &String| {
        name.starts_with(IDENTITY) || name.starts_with("manifest") || name.starts_with("log-")
    };
    if !names.is_empty() && !names.iter().any(|name| is_known(name) || name == LOCK) {
        return busy(format!("{shown} is not the directory of an acceptor"));
    }
    // Without a lock file nobody uses it. Opening a pipe could wait for ever.
    let lock = path.join(LOCK);
    if !fs::symlink_metadata(&lock).is_ok_and(|lock| lock.is_file()) {
        return Ok(());
    }
    match File::open(&lock).map(|lock| lock.try_lock_shared()) {
        Ok(Err(TryLockError::WouldBlock)) => {
            busy(format!("{shown} is in use by an acceptor; end it first"))
        }
        Ok(Ok(()) | Err(TryLockError::Error(_))) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
