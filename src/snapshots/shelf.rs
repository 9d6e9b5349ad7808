//! How one learner's snapshots are written and found in its directory.
//!
//! A snapshot is written as `NAME.part`, synced, read back and checked, and then renamed; so a name
//! without `.part` is that of a snapshot that was intact once. The two newest are kept.

use std::fmt;
use std::io::{self, Read, Write};

use log::warn;

use super::file::{Label, Later, Reader, Writer};
use super::tally::Newest;
use crate::bugs::{self, Bug};
use crate::protocol::checkpoint::Checkpoint;
use crate::protocol::message::{Chunk, Fetch, SnapshotName, StateKind};
use crate::protocol::settings::Settings;
use crate::protocol::transfer;
use crate::protocol::types::{Instance, Value};
use crate::storage::disk::{Disk, Files};

/// How many snapshots are kept.
const KEPT: usize = 2;

const PREFIX: &str = "snapshot-";
const PART: &str = ".part";
const FETCHED: &str = ".fetched";

/// For how many further snapshots one that others are fetching is kept.
const STAYS: u32 = 8;

/// Snapshots in a directory.
#[derive(Debug)]
pub struct Shelf<D> {
    disk: D,
    /// The snapshot that others have been fetching, and for how many more it stays.
    lent: Option<(SnapshotName, u32)>,
}

/// Why there is no snapshot to go on from although there are files.
#[derive(Debug)]
#[non_exhaustive]
pub enum ShelfError {
    /// The directory cannot be used.
    Disk(String, io::Error),
    /// No snapshot is intact.
    Damaged(String),
    /// They are of another cluster or application.
    Foreign(String),
    /// No snapshot is whole and of a form that is known, and the newest is of a later release.
    Later(String),
}

impl fmt::Display for ShelfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShelfError::Disk(path, error) => {
                write!(f, "{path}: snapshots cannot be kept there: {error}")
            }
            ShelfError::Damaged(what) | ShelfError::Foreign(what) | ShelfError::Later(what) => {
                f.write_str(what)
            }
        }
    }
}

impl std::error::Error for ShelfError {}

/// What is known of an intact snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name of its file.
    pub name: String,
    /// Its description of itself.
    pub label: Label,
    /// How many bytes the application's part has.
    pub bytes: u64,
    /// Their SHA-256.
    pub hash: [u8; 32],
}

/// How much of a snapshot that is being fetched is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// This many bytes of its file.
    Part(u64),
    /// All of it: it is among the snapshots.
    Whole(Checkpoint),
}

/// The name of the snapshot of `of`.
pub fn name_of(of: Instance) -> String {
    format!("{PREFIX}{:020}", of.0)
}

/// The instance that the file `name` is the snapshot of, if its name is that of one.
pub fn of_name(name: &str) -> Option<Instance> {
    let digits = name.strip_prefix(PREFIX)?;
    let is_plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_plain).map(Instance)
}

impl<D: Disk> Shelf<D> {
    /// The snapshots in this directory.
    pub fn new(disk: D) -> Self {
        Shelf { disk, lent: None }
    }

    /// The path that messages show for one of its files; the directory itself for an empty name.
    pub fn path_of(&self, name: &str) -> String {
        self.disk.path_of(name)
    }

    /// The names of the snapshots, the newest first.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn names(&mut self) -> io::Result<Vec<String>> {
        let mut names = self.disk.list()?;
        names.retain(|name| of_name(name).is_some());
        names.reverse();
        Ok(names)
    }

    /// What the file of the newest snapshot is like, if there are any. It is not read.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn look(&mut self) -> io::Result<Option<Newest>> {
        let Some(name) = self.names()?.into_iter().next() else { return Ok(None) };
        let (bytes, written_ms) =
            (self.disk.length(&name)?, self.disk.modified(&name)? / 1_000_000);
        Ok(Some(Newest { bytes, written_ms }))
    }

    /// Reads all of a snapshot, and says what it is.
    ///
    /// # Errors
    ///
    /// When it is not intact, with the reason.
    pub fn verify(&mut self, name: &str) -> io::Result<Found> {
        let reader = Reader::begin(&mut self.disk, name)?;
        let label = reader.label().clone();
        let (bytes, hash) = reader.finish()?;
        if of_name(name).is_some_and(|of| of != label.of()) {
            let what = format!("it is the snapshot of another place: {}", name_of(label.of()));
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Found { name: name.to_owned(), label, bytes, hash })
    }

    /// A reader of the application's bytes.
    ///
    /// # Errors
    ///
    /// When its head is damaged.
    pub fn read(&mut self, name: &str) -> io::Result<impl Read + '_> {
        Reader::begin(&mut self.disk, name)
    }

    /// The newest intact snapshot, if there are any snapshots. Its name is stable: the process that
    /// gave it may have died before that was so, and the cluster hears at once what this one goes
    /// on from.
    ///
    /// # Errors
    ///
    /// When none is whole, when it is of another cluster or another program, and when all that are
    /// whole are of a later release: then nothing must begin as if there were none.
    pub fn newest(&mut self, cluster: &str, kind: StateKind) -> Result<Option<Found>, ShelfError> {
        let names = self.names().map_err(|error| self.trouble(error))?;
        if !names.is_empty() {
            self.disk.sync_names().map_err(|error| self.trouble(error))?;
        }
        let mut damage = None;
        for name in names {
            match self.verify(&name) {
                Ok(found) => {
                    self.expect_own(&found, cluster, kind)?;
                    if let Some((path, error)) = damage {
                        warn!("{path}: {error}; an older snapshot is used");
                    }
                    return Ok(Some(found));
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    damage = damage.or(Some((self.path_of(&name), error)));
                }
                Err(error) => return Err(self.trouble(error)),
            }
        }
        match damage {
            None => Ok(None),
            Some((path, error)) if Later::of(&error).is_some() => Err(ShelfError::Later(format!(
                "{path}: {error}, and no other snapshot there can be read; run the release that \
                 wrote it here, or a later one"
            ))),
            Some((path, error)) => Err(ShelfError::Damaged(format!(
                "{path}: {error}, and no other snapshot there is whole; move the directory away, \
                 and the next start fetches one of another learner, if the log does not reach back"
            ))),
        }
    }

    fn expect_own(&self, found: &Found, cluster: &str, kind: StateKind) -> Result<(), ShelfError> {
        let path = self.path_of(&found.name);
        let label = &found.label;
        if label.cluster != cluster {
            return Err(ShelfError::Foreign(format!(
                "{path}: it is a snapshot of cluster {}, and this is {cluster}; give each cluster \
                 a directory of its own",
                label.cluster
            )));
        }
        if label.kind != kind {
            return Err(ShelfError::Foreign(format!(
                "{path}: it is the snapshot of a {}, and this is a {kind}; give each an id of its \
                 own",
                label.kind
            )));
        }
        Ok(())
    }

    fn trouble(&self, error: io::Error) -> ShelfError {
        ShelfError::Disk(self.path_of(""), error)
    }

    /// Adds a snapshot, whose application's part `write` writes. It is stable, and was read back,
    /// when this returns.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or is not read back as it was written. Older snapshots are still
    /// there.
    pub fn put(
        &mut self,
        label: &Label,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.put_aside(&name_of(label.of()), |disk, part| {
            let mut writer = Writer::begin(disk, part, label)?;
            write(&mut writer)?;
            writer.end()
        })
    }

    /// Adds a copy of the snapshot of `of`, which `pieces` hands out from its beginning to its end.
    /// It is stable, and was read back, when this returns.
    ///
    /// # Errors
    ///
    /// Those of [`Shelf::put`].
    pub fn put_copy(
        &mut self,
        of: Instance,
        pieces: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.put_aside(&name_of(of), |disk, part| {
            let mut length = 0;
            pieces(&mut |bytes| {
                length += bytes.len() as u64;
                disk.append(part, bytes)
            })?;
            Ok(length)
        })
    }

    /// Adds a file that `write` writes, and whose length it returns.
    fn put_aside(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut D, &str) -> io::Result<u64>,
    ) -> io::Result<()> {
        let part = format!("{name}{PART}");
        // Incomplete files take space that may be needed.
        self.remove_parts()?;
        let written = self.write_aside(&part, write);
        if let Err(error) = written {
            // It takes space that may be needed. The first error is the one that matters.
            let _ = self.disk.remove(&part);
            return Err(error);
        }
        self.finish(&part, name)
    }

    /// Gives an intact and stable file its name.
    fn finish(&mut self, part: &str, name: &str) -> io::Result<()> {
        self.disk.rename(part, name)?;
        self.disk.sync_names()?;
        self.lent = self.lent.take().and_then(|(lent, stays)| Some((lent, stays.checked_sub(1)?)));
        self.tidy(name)
    }

    fn write_aside(
        &mut self,
        part: &str,
        write: impl FnOnce(&mut D, &str) -> io::Result<u64>,
    ) -> io::Result<()> {
        self.disk.create(part)?;
        let length = write(&mut self.disk, part)?;
        if !bugs::has(Bug::RenamesBeforeSync) {
            self.disk.cut(part, length)?;
            self.disk.sync(part)?;
        }
        Reader::begin(&mut self.disk, part)?.finish().map(drop)
    }

    /// Removes everything older than the snapshots that are kept.
    fn tidy(&mut self, newest: &str) -> io::Result<()> {
        let names = self.names()?;
        let above = names.iter().take_while(|name| name.as_str() != newest).count();
        let lent = self.lent.map(|(lent, _)| name_of(lent.of));
        for name in &names[(above + KEPT).min(names.len())..] {
            if lent.as_ref() != Some(name) {
                self.disk.remove(name)?;
            }
        }
        // A partly fetched snapshot that is no newer is of no use.
        for name in self.disk.list()? {
            let of = name.strip_suffix(FETCHED).and_then(|name| name.rsplit_once('.'));
            if of.is_some_and(|(of, _)| of_name(of).is_some() && of <= newest) {
                self.disk.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Its files, for another thread that reads them.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn files(&self) -> io::Result<Box<dyn Files>> {
        self.disk.files()
    }

    /// The name that distinguishes the snapshot in this file from others.
    fn identify(&mut self, file: &str) -> io::Result<SnapshotName> {
        let label = Reader::begin(&mut self.disk, file)?.label().clone();
        let (Checkpoint { head, name: log, .. }, mut tail) = (label.checkpoint, [0; 8]);
        let bytes = self.disk.length(file)?;
        self.disk.read_at(file, bytes.saturating_sub(8), &mut tail)?;
        let tail = u64::from_le_bytes(tail);
        Ok(SnapshotName { log, of: head.of, keep: head.keep, bytes, tail })
    }

    /// The chunks that another learner requests, as far as they are here.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn lend(&mut self, fetch: &Fetch, settings: &Settings) -> io::Result<Vec<Chunk>> {
        let file = match fetch.snapshot {
            Some(name) => Some(name_of(name.of)),
            None => self.names()?.into_iter().next(),
        };
        let Some(file) = file else { return Ok(Vec::new()) };
        let lent = self.lent.filter(|(lent, _)| name_of(lent.of) == file);
        let name = match lent {
            Some((name, _)) => name,
            None => self.identify(&file)?,
        };
        if fetch.snapshot.is_some_and(|wanted| wanted != name) {
            return Ok(Vec::new());
        }
        // A learner that has only asked for the newest may fetch it from another one.
        if fetch.snapshot.is_some() {
            self.lent = Some((name, STAYS));
        }
        let mut chunks = Vec::new();
        for (offset, length) in transfer::chunks(fetch, name.bytes, settings) {
            let mut bytes = vec![0; length];
            if self.disk.read_at(&file, offset, &mut bytes)? == length {
                chunks.push(Chunk { snapshot: name, offset, bytes: Value::new(&bytes) });
            }
        }
        Ok(chunks)
    }

    /// Adds a piece of another learner's snapshot to a file of its own, unless the file has it
    /// already. Once all of it is there, and is the snapshot of `kind` in `cluster` that it was
    /// said to be, it joins the snapshots. Other partly fetched ones are removed.
    ///
    /// # Errors
    ///
    /// When it cannot be written. [`io::ErrorKind::InvalidData`] when all is there but it is not
    /// that snapshot: it is removed; and when it begins like one of a later release ([`Later`]).
    pub fn put_fetched(
        &mut self,
        name: &SnapshotName,
        (offset, bytes): (u64, &[u8]),
        (cluster, kind): (&str, StateKind),
    ) -> io::Result<Stored> {
        let file = name_of(name.of);
        let part = format!("{file}.{:016x}{FETCHED}", name.tail);
        // Not only once all of it is there, which may take an hour.
        if let Some(later) = Later::of_beginning(name.of, bytes).filter(|_| offset == 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, later));
        }
        let mut is_there = false;
        let all = self.disk.list()?;
        if all.contains(&file) && self.identify(&file).is_ok_and(|there| there == *name) {
            // It was added before, and the learner has not heard of it; its name may not be stable.
            if let Ok(found) = self.verify(&file) {
                self.disk.sync_names()?;
                return Ok(Stored::Whole(found.label.checkpoint));
            }
        }
        for other in all {
            is_there |= other == part;
            if other != part && other.ends_with(FETCHED) {
                self.disk.remove(&other)?;
            }
        }
        if !is_there {
            self.disk.create(&part)?;
        }
        let length = self.disk.length(&part)?;
        let end = offset.saturating_add(bytes.len() as u64);
        if end <= length || offset > length {
            if length < name.bytes {
                return Ok(Stored::Part(length));
            }
        } else {
            self.disk.write_at(&part, offset, bytes)?;
            if end < name.bytes {
                return Ok(Stored::Part(end));
            }
        }
        let whole = self.expect_whole(&part, name, cluster, kind);
        match whole {
            Ok(checkpoint) => {
                self.finish(&part, &file)?;
                Ok(Stored::Whole(checkpoint))
            }
            Err(error) => {
                // After other errors the disk may do better next time.
                if error.kind() == io::ErrorKind::InvalidData {
                    self.disk.remove(&part)?;
                }
                Err(error)
            }
        }
    }

    /// Checks that a fetched file is stable, intact, and what it was said to be.
    fn expect_whole(
        &mut self,
        part: &str,
        name: &SnapshotName,
        cluster: &str,
        kind: StateKind,
    ) -> io::Result<Checkpoint> {
        if !bugs::has(Bug::RenamesBeforeSync) {
            self.disk.cut(part, name.bytes)?;
            self.disk.sync(part)?;
        }
        let found = Found { name: name_of(name.of), ..self.verify(part)? };
        let is_it = self.identify(part)? == *name || bugs::has(Bug::BelievesTornSnapshot);
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        if !is_it {
            return Err(invalid("it is another snapshot than it was said to be".to_owned()));
        }
        self.expect_own(&found, cluster, kind).map_err(|error| invalid(error.to_string()))?;
        Ok(found.label.checkpoint)
    }

    fn remove_parts(&mut self) -> io::Result<()> {
        for name in self.disk.list()? {
            if name.strip_suffix(PART).and_then(of_name).is_some() {
                self.disk.remove(&name)?;
            }
        }
        Ok(())
    }
}
