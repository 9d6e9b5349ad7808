//! How an acceptor comes back: everything it may have answered is there, or it does not start.
//!
//! 1. Without an `identity` nothing was ever answered, so any other files, if they are empty, are
//!    left over from a start that was killed, and are created anew. Records without an identity are
//!    refused.
//! 2. With an `identity`, everything that the `manifest` names must be there, and must be the very
//!    files that were written: a copy has another inode or another birth time, and may be older.
//!    The manifest says how many segments were removed because nobody needs them: one that is still
//!    there is left over from a process that was killed before it could remove the file, or was not
//!    allowed to.
//! 3. Every segment must hold all whole frames up to where the manifest, or one of its tallies,
//!    says that it was stable. A segment whose votes are all forgotten is not read if it has a
//!    summary (`summary`).
//! 4. Frames that follow in the last segment were not counted, which does not prove that they were
//!    not answered: the tallies are not synced. If whole frames follow a broken one, the broken one
//!    was stable before they were written, so the log is refused. Otherwise the broken one is torn,
//!    was not answered, and is cut.
//!
//! If the last frame before a power failure rots before the next start, it is taken for a torn one:
//! nothing else that was synced mentions it.

use std::collections::BTreeMap;

use super::contents::Contents;
use super::disk::{Disk, Mark};
use super::error::LogError;
use super::frame::Reader;
use super::identity::{IDENTITY, IDENTITY_NEW, Identity};
use super::index::{StoredFrame, VoteIndex};
use super::log::{Log, LogOptions, create_segment, remove_needless, segment_name};
use super::manifest::{End, Fixed, MANIFEST, MANIFEST_NEW, Manifest, Removed, Segment};
use super::summary::{Summary, Whose, remove_summary, summary_number};
use crate::bugs::{self, Bug};
use crate::protocol::actor::Record;
use crate::protocol::types::{Instance, Run};
use crate::wire;

/// A log whose files are all there, but whose records were not read yet.
#[derive(Debug)]
pub struct Opening<D> {
    disk: D,
    identity: Identity,
    options: LogOptions,
    manifest: Manifest,
    /// The copy that is adopted, if it is one.
    copied: Option<String>,
    /// Files left behind by a process that was killed.
    leftovers: Vec<String>,
    /// The segments that are still there although the manifest names them as removed.
    needless: Vec<u64>,
}

/// What was found in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// How many records were read.
    pub records: u64,
    /// How many segments were not read, because all their votes are forgotten.
    pub summarised: u64,
    /// How many bytes of a torn frame were cut.
    pub cut_bytes: u64,
    /// Whether a copy was adopted.
    pub is_adopted: bool,
}

impl<D: Disk> Opening<D> {
    pub(super) fn begin(
        mut disk: D,
        mine: &Identity,
        options: LogOptions,
    ) -> Result<Self, LogError> {
        let path = disk.path_of("");
        let names = disk.list().map_err(|error| LogError::Read { path, error })?;
        let has = |name: &str| names.iter().any(|one| one == name);
        let numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
        if !has(IDENTITY) {
            expect_nothing(&mut disk, &numbers, has(MANIFEST))?;
            let manifest = begin_directory(&mut disk, mine)?;
            let (identity, copied) = (mine.clone(), None);
            let (leftovers, needless) = (Vec::new(), Vec::new());
            return Ok(Opening { disk, identity, options, manifest, copied, leftovers, needless });
        }
        let identity = Identity::read(&mut disk, mine)?;
        if !has(MANIFEST) {
            return Err(LogError::Missing { path: disk.path_of(MANIFEST) });
        }
        let manifest = Manifest::read(&mut disk)?;
        if manifest.incarnation != identity.incarnation {
            return Err(LogError::Unreadable { path: disk.path_of(MANIFEST) });
        }
        let counted = manifest.numbers();
        if let Some(number) = counted.clone().find(|number| !numbers.contains(number)) {
            return Err(LogError::Missing { path: disk.path_of(&segment_name(number)) });
        }
        let (mut leftovers, mut needless) = (Vec::new(), Vec::new());
        for number in numbers.into_iter().filter(|number| !counted.contains(number)) {
            if number < *counted.start() {
                needless.push(number);
            } else {
                leftovers.push(uncounted(&mut disk, number)?);
            }
        }
        let unfinished = [IDENTITY_NEW, MANIFEST_NEW].into_iter().filter(|name| has(name));
        leftovers.extend(unfinished.map(str::to_owned));
        let is_taken = options.adopt_copy || bugs::has(Bug::UsesCopies);
        match find_copy(&mut disk, &manifest)? {
            Some(path) if !is_taken => Err(LogError::Copied { path }),
            None if options.adopt_copy => Err(LogError::NotCopied { path: disk.path_of("") }),
            copied => {
                Ok(Opening { disk, identity, options, manifest, copied, leftovers, needless })
            }
        }
    }

    /// The acceptor's incarnation.
    pub fn incarnation(&self) -> u64 {
        self.identity.incarnation
    }

    /// Calls `restore` with every stored record in order, and makes the log ready to go on. A copy
    /// is adopted if this succeeds, and not at all otherwise.
    ///
    /// # Errors
    ///
    /// When something that was stored is missing.
    pub fn recover(
        mut self,
        mut restore: impl FnMut(Record),
    ) -> Result<(Log<D>, Recovered), LogError> {
        let mut recovered = Recovered { is_adopted: self.copied.is_some(), ..Recovered::default() };
        let mut end = End { bytes: 0, frames: self.manifest.removed.frames };
        let (mut contents, index) = (Vec::new(), VoteIndex::default());
        let (mut summaries, mut lacking) = (self.read_summaries(), Vec::new());
        for number in self.manifest.numbers() {
            if let Some(summary) = summaries.remove(&number) {
                let Summary { contents: found, blocks } = summary;
                found.records().for_each(&mut restore);
                index.restore(number, blocks);
                contents.push(found);
                end = self.counted(number);
                recovered.summarised += 1;
                continue;
            }
            let mut found = Contents::NONE;
            let mut take = |frame: StoredFrame, records: Vec<Record>| {
                let mut of_frame = Contents::NONE;
                records.iter().for_each(|record| of_frame.note(record));
                found.add(of_frame);
                index.note(StoredFrame { votes: of_frame.votes, ..frame });
                records.into_iter().for_each(&mut restore);
            };
            end = self.recover_segment(number, end.frames, &mut recovered, &mut take)?;
            contents.push(found);
            lacking.extend((number < self.manifest.last_number()).then_some((number, found, end)));
        }
        for number in std::mem::take(&mut self.needless) {
            remove_needless(&mut self.disk, number);
        }
        for number in self.ownerless_summaries() {
            remove_summary(&mut self.disk, number);
        }
        for name in std::mem::take(&mut self.leftovers) {
            let path = self.disk.path_of(&name);
            self.disk.remove(&name).map_err(|error| LogError::Write { path, error })?;
        }
        for (segment, contents, end) in lacking {
            let whose = Whose { token: self.identity.token, segment, end };
            let blocks = index.blocks_of(segment);
            if Summary::read(&mut self.disk, whose).is_none() {
                Summary { contents, blocks }.write(&mut self.disk, whose);
            }
        }
        self.renew_marks()?;
        let Opening { disk, identity, options, manifest, .. } = self;
        let log = Log::start(disk, identity.token, options, manifest, end, contents, index)?;
        Ok((log, recovered))
    }

    /// The summaries of the segments that need not be read: all their votes lie below the point
    /// that the others say is forgotten, as far as that is known before anything is read.
    fn read_summaries(&mut self) -> BTreeMap<u64, Summary> {
        // A copy that an operator vouches for is checked completely, once.
        if self.options.reads_all || self.copied.is_some() {
            return BTreeMap::new();
        }
        let mut summaries = BTreeMap::new();
        for number in *self.manifest.numbers().start()..self.manifest.last_number() {
            let whose =
                Whose { token: self.identity.token, segment: number, end: self.counted(number) };
            // A segment that is shorter than it was is not the one the summary describes.
            let is_there = self.disk.length(&segment_name(number));
            if is_there.is_ok_and(|length| length >= whose.end.bytes) {
                let summary = Summary::read(&mut self.disk, whose);
                summaries.extend(summary.map(|summary| (number, summary)));
            }
        }
        let mut known = Contents::NONE;
        summaries.values().for_each(|summary| known.add(summary.contents));
        let past = known.forgotten.max(known.trimmed);
        let is_past =
            |votes: Run<Instance>| votes.until <= past || bugs::has(Bug::SkipsNeededSegments);
        summaries.retain(|_, summary| summary.contents.votes.is_none_or(is_past));
        summaries
    }

    /// Summaries of segments that are gone, left over from a process that was killed.
    fn ownerless_summaries(&mut self) -> Vec<u64> {
        let names = self.disk.list().unwrap_or_default();
        let numbers = names.iter().filter_map(|name| summary_number(name));
        numbers.filter(|number| !self.manifest.numbers().contains(number)).collect()
    }

    /// Where a segment ends, as the manifest has it.
    fn counted(&self, number: u64) -> End {
        let place = (number - self.manifest.numbers().start()) as usize;
        self.manifest.segments[place].end
    }

    /// Reads one segment, which begins after frame `frames`; cuts a torn end off the last one.
    /// Returns its end.
    fn recover_segment(
        &mut self,
        number: u64,
        frames: u64,
        recovered: &mut Recovered,
        take: &mut impl FnMut(StoredFrame, Vec<Record>),
    ) -> Result<End, LogError> {
        let name = segment_name(number);
        let path = self.disk.path_of(&name);
        let unreadable = |error| LogError::Read { path: path.clone(), error };
        let counted = self.counted(number);
        let is_last = number == self.manifest.last_number();
        let token = self.identity.token;
        let mut reader = Reader::open(&mut self.disk, &name, token, number).map_err(unreadable)?;
        let mut end = End { bytes: 0, frames };
        while is_last || end.bytes < counted.bytes {
            let next = reader.next(end.frames + 1).map_err(unreadable)?;
            let Some(payload) = next else { break };
            let mut records = Vec::new();
            if read_records(payload, |record| records.push(record)).is_none() {
                return Err(LogError::NotUnderstood { path, offset: end.bytes });
            }
            recovered.records += records.len() as u64;
            let (offset, frame) = (end.bytes, end.frames + 1);
            end = End { bytes: reader.offset(), frames: frame };
            take(
                StoredFrame { segment: number, offset, end: end.bytes, frame, votes: None },
                records,
            );
        }
        let is_short = end < counted && !bugs::has(Bug::AcceptsShorterLogs);
        if !is_last || is_short {
            return if end == counted {
                Ok(end)
            } else {
                Err(lost(&mut reader, path, end, counted))
            };
        }
        // The last segment, with at least the counted frames.
        let is_ended = self.manifest.is_ended;
        let has_room_alone = reader.has_room_alone().map_err(unreadable)?;
        if is_ended && (end > counted || !has_room_alone) {
            return Err(LogError::Later { path, manifest: self.disk.path_of(MANIFEST) });
        }
        if !has_room_alone {
            if reader.has_frame_behind(end.frames + 1).map_err(unreadable)? {
                return Err(LogError::Damaged { path, offset: end.bytes });
            }
            recovered.cut_bytes = reader.behind();
        }
        let cut = self.disk.cut(&name, end.bytes);
        cut.map_err(|error| LogError::Write { path, error })?;
        Ok(end)
    }

    /// From now on the present files count as written by the acceptor itself. Those of a first
    /// start, and of an adopted copy, are not in the manifest yet.
    fn renew_marks(&mut self) -> Result<(), LogError> {
        let marks = marks(&mut self.disk, &self.manifest)?;
        self.manifest.directory = marks.directory;
        self.manifest.identity = Some(marks.identity);
        for (segment, mark) in self.manifest.segments.iter_mut().zip(marks.segments) {
            segment.mark = mark;
        }
        Ok(())
    }
}

/// Why a segment does not go as far as it was counted.
fn lost<D: Disk>(reader: &mut Reader<'_, D>, path: String, end: End, counted: End) -> LogError {
    match reader.has_room_alone() {
        Ok(true) => LogError::Short { path, bytes: end.bytes, counted: counted.bytes },
        Ok(false) => LogError::Damaged { path, offset: end.bytes },
        Err(error) => LogError::Read { path, error },
    }
}

/// The number of a segment by its name; none if it is no segment's.
fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("log-")?.parse().ok()?;
    (number > 0 && segment_name(number) == name).then_some(number)
}

/// Without an identity there must be no records.
fn expect_nothing(
    disk: &mut impl Disk,
    numbers: &[u64],
    has_manifest: bool,
) -> Result<(), LogError> {
    let ownerless = |disk: &mut dyn Disk, name: &str| {
        let (path, other) = (disk.path_of(IDENTITY), disk.path_of(name));
        LogError::Ownerless { path, other }
    };
    for number in numbers {
        let name = segment_name(*number);
        let path = disk.path_of(&name);
        let length = disk.length(&name).map_err(|error| LogError::Read { path, error })?;
        if *number > 1 || length > 0 {
            return Err(ownerless(disk, &name));
        }
    }
    // A manifest that was never complete is left over as well.
    match has_manifest.then(|| Manifest::read(disk)) {
        Some(Ok(manifest)) if manifest.starts > 0 => Err(ownerless(disk, MANIFEST)),
        Some(Err(error @ (LogError::Read { .. } | LogError::OtherFormat { .. }))) => Err(error),
        Some(Ok(_) | Err(_)) | None => Ok(()),
    }
}

/// Creates a new directory's files, replacing leftovers. The identity comes last: it says that the
/// others are there.
fn begin_directory(disk: &mut impl Disk, mine: &Identity) -> Result<Manifest, LogError> {
    let path = disk.path_of("");
    let mut make = || {
        let mark = create_segment(disk, 1)?;
        let directory = disk.own_mark()?;
        let mut manifest = Manifest {
            incarnation: mine.incarnation,
            starts: 0,
            is_ended: false,
            directory,
            own: directory,
            identity: None,
            removed: Removed::default(),
            segments: vec![Segment { mark, end: End::default() }],
        };
        manifest.write(disk)?;
        mine.create(disk)?;
        Ok(manifest)
    };
    make().map_err(|error| LogError::Write { path, error })
}

/// A segment that the manifest does not know is left over from a process that was killed before it
/// could write into it; if it is not empty, the manifest is not the last one.
fn uncounted(disk: &mut impl Disk, number: u64) -> Result<String, LogError> {
    let name = segment_name(number);
    let path = disk.path_of(&name);
    match disk.length(&name) {
        Ok(0) => Ok(name),
        Ok(_) => Err(LogError::Later { path, manifest: disk.path_of(MANIFEST) }),
        Err(error) => Err(LogError::Read { path, error }),
    }
}

/// The marks of the present files.
struct Marks {
    directory: Mark,
    manifest: Mark,
    identity: Fixed,
    segments: Vec<Mark>,
}

fn marks(disk: &mut impl Disk, manifest: &Manifest) -> Result<Marks, LogError> {
    let path = disk.path_of("");
    let mut read = || {
        let segments = manifest.numbers().map(|number| disk.mark(&segment_name(number)));
        let segments = segments.collect::<std::io::Result<_>>()?;
        let (mark, modified) = (disk.mark(IDENTITY)?, disk.modified(IDENTITY)?);
        let identity = Fixed { mark, modified };
        let (directory, manifest) = (disk.own_mark()?, disk.mark(MANIFEST)?);
        Ok(Marks { directory, manifest, identity, segments })
    };
    read().map_err(|error| LogError::Read { path, error })
}

/// A file that is not the one that was written, if there is any.
fn find_copy(disk: &mut impl Disk, manifest: &Manifest) -> Result<Option<String>, LogError> {
    let marks = marks(disk, manifest)?;
    if marks.directory != manifest.directory {
        return Ok(Some(disk.path_of("")));
    }
    if marks.manifest != manifest.own {
        return Ok(Some(disk.path_of(MANIFEST)));
    }
    if manifest.identity.is_some_and(|identity| identity != marks.identity) {
        return Ok(Some(disk.path_of(IDENTITY)));
    }
    let pairs = manifest.segments.iter().zip(&marks.segments);
    let other = manifest.numbers().zip(pairs).find(|(_, (segment, mark))| segment.mark != **mark);
    Ok(other.map(|(number, _)| disk.path_of(&segment_name(number))))
}

/// Calls `take` with the records of a payload. Returns none if they are not understood.
pub(super) fn read_records(mut payload: &[u8], mut take: impl FnMut(Record)) -> Option<()> {
    while !payload.is_empty() {
        let (length, rest) = payload.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        take(wire::decode_record(bytes).ok()?);
        payload = rest;
    }
    Some(())
}

#[cfg(test)]
mod summary_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trimming_tests;
