//! An acceptor's log: how its promises and votes are kept on a disk, and why none is ever lost.
//!
//! A directory holds an `identity`, a `manifest`, segments (`log-00000001` and so on), and
//! summaries of all segments but the last (`summary`). A segment is a sequence of frames, each made
//! stable by one flush.
//!
//! The next frame is written only when the one before is stable. So after a crash the last frame
//! may be torn, and is cut: nothing in it was answered. Anything else that is missing or damaged
//! was stable once, and the acceptor must not start: see `recovery`. Behind the last frame there
//! may be preallocated space, in zeros, so that a sync need not make the file grow.
//!
//! Segments are removed from the front, never the last one, when nobody needs them any more:
//!
//! 1. A segment holds votes, promises, trim points, and points below which votes are not in memory.
//!    A vote below the trim point is not needed, and of the others only the highest of each kind
//!    is.
//! 2. Every segment holds, once a frame in it is stable, the highest of these up to there: its
//!    first frame repeats them. So does the first frame that this version adds to a segment of an
//!    earlier version, which repeated nothing.
//! 3. So a segment may go when all its votes lie below the trim point that the last segment holds,
//!    and that segment repeats the rest (`Contents::stand_for`). Only stable records are
//!    compared, not those that are gathered for the next flush.
//! 4. First a manifest that no longer names it is made stable, then its file is removed. A process
//!    that is killed in between leaves a file that the next start removes, since the manifest says
//!    that it may. Whether the removal itself is stable does not matter.
//!
//! A disk may be full before anybody notices (`room`), since other programs write as well. A frame
//! that finds no room is kept, and written again later:
//!
//! 1. Only a write can fail for lack of room alone. A sync that fails is never tried again
//!    (`disk::of_sync`), so it is always known what is stable.
//! 2. The part of the frame that was written is cut off, and the cut is stable, before anything
//!    else is written. So the log is as it was before.
//! 3. A step of several writes, such as a new segment or the removal of one, takes effect in memory
//!    when its last write, a manifest, has replaced the one before; repeating it does the same.
//! 4. Until the frame is stable nothing is answered: the role's state includes it, so any answer
//!    could depend on it.

use std::io;
use std::ops::Range;

use log::warn;

use super::AcceptorStore;
use super::contents::Contents;
use super::disk::{Disk, Mark, Space, is_full, of_sync};
use super::error::LogError;
use super::frame::{FramePlace, HEADER_BYTES, seal};
use super::identity::Identity;
use super::index::{StoredFrame, VoteIndex, VoteReader};
use super::manifest::{End, MANIFEST, Manifest, Removed, Segment, Tallies};
use super::room::{Budget, Quota};
use super::summary::{Summary, Whose, remove_summary};
use crate::bugs::{self, Bug};
use crate::protocol::actor::{Record, Room};
use crate::protocol::figures::{DiskUse, Left};
use crate::protocol::types::Instance;
use crate::wire;

pub use super::recovery::{Opening, Recovered};

/// How a log is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The directory is a copy that the operator vouches for as the last state.
    pub adopt_copy: bool,
    /// A new segment begins when the last is this long.
    pub segment_bytes: u64,
    /// How much it may take.
    pub quota: Quota,
    /// Whether every record is read at the start, even those covered by summaries.
    pub reads_all: bool,
}

impl LogOptions {
    /// The default options.
    pub const DEFAULT: LogOptions = LogOptions {
        adopt_copy: false,
        segment_bytes: 64 << 20,
        quota: Quota::NONE,
        reads_all: false,
    };
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions::DEFAULT
    }
}

/// While the disk is full, at least one flush in this many tries to write.
const FULL_PAUSE_MAX: u32 = 64;

/// How many segments are removed at once, at most. A trim point moves past one segment or two at a
/// time, unless nothing was trimmed for long, and then the others can wait for later turns.
const REMOVED_AT_ONCE: usize = 2;

/// A log that is written to.
#[derive(Debug)]
pub struct Log<D> {
    disk: D,
    token: u64,
    options: LogOptions,
    manifest: Manifest,
    tallies: Tallies,
    /// The name of the segment that is written to, ...
    segment: String,
    /// ... and how far it goes.
    end: End,
    /// How many bytes the segments before it have.
    before: u64,
    budget: Budget,
    /// The stable contents of each segment, ...
    contents: Vec<Contents>,
    /// ... the contents of the frame that is being gathered, ...
    gathered: Contents,
    /// ... and the sum of all these and of the removed segments.
    whole: Contents,
    /// Where the stable votes stand.
    index: VoteIndex,
    /// The frame that is being gathered, with room for its header.
    buffer: Vec<u8>,
    /// The last frame is stable, and the tallies do not say so.
    is_unnoted: bool,
    /// Set while there is no room for the frame that is being gathered.
    lack: Option<Lack>,
    /// A write or a sync has failed, so it is unknown what is stored.
    has_failed: bool,
}

/// The attempts to write while there is no room.
#[derive(Clone, Copy, Debug)]
struct Lack {
    /// It tries again after this many flushes, ...
    pause: u32,
    /// ... and this many of them have passed.
    passed: u32,
}

/// The name of segment `number`.
pub(super) fn segment_name(number: u64) -> String {
    format!("log-{number:08}")
}

impl<D: Disk> Log<D> {
    /// Opens the log of `mine`, whose incarnation and token count only if the directory is new.
    /// [`Opening::recover`] reads its records.
    ///
    /// # Errors
    ///
    /// When the directory is another's, or when something is missing.
    pub fn open(disk: D, mine: &Identity, options: LogOptions) -> Result<Opening<D>, LogError> {
        Opening::begin(disk, mine, options)
    }

    /// A log whose last segment goes up to `end`, and whose segments have `contents`. Counts the
    /// start.
    pub(super) fn start(
        mut disk: D,
        token: u64,
        options: LogOptions,
        mut manifest: Manifest,
        end: End,
        contents: Vec<Contents>,
        index: VoteIndex,
    ) -> Result<Self, LogError> {
        manifest.is_ended = false;
        manifest.starts += 1;
        if let Some(last) = manifest.segments.last_mut() {
            last.end = end;
        }
        let path = disk.path_of(MANIFEST);
        let tallies = manifest.write(&mut disk).map_err(|error| LogError::Write { path, error })?;
        let mut whole = Contents::NONE;
        contents.iter().for_each(|one| whole.add(*one));
        // Of segments removed by an earlier process nothing is known but that they were.
        index.forget_below(*manifest.numbers().start(), whole.trimmed);
        let before = bytes_before_last(&manifest);
        let budget = Budget::new(options.quota);
        Ok(Log {
            disk,
            token,
            options,
            tallies,
            segment: segment_name(manifest.last_number()),
            manifest,
            end,
            before,
            budget,
            contents,
            gathered: Contents::NONE,
            whole,
            index,
            buffer: vec![0; HEADER_BYTES],
            is_unnoted: false,
            lack: None,
            has_failed: false,
        })
    }

    /// Goes on in a new segment. The manifest names it before anything is written into it, and it
    /// exists before the manifest names it.
    fn begin_segment(&mut self) -> io::Result<()> {
        // Only the last segment may have room behind its end.
        of_sync(self.disk.cut(&self.segment, self.end.bytes))?;
        self.summarise();
        let number = self.manifest.last_number() + 1;
        let mark = create_segment(&mut self.disk, number)?;
        let (mut manifest, begun) = (self.manifest.clone(), End { bytes: 0, ..self.end });
        if let Some(last) = manifest.segments.last_mut() {
            last.end = self.end;
        }
        manifest.segments.push(Segment { mark, end: begun });
        self.tallies = manifest.write(&mut self.disk)?;
        (self.manifest, self.end, self.segment) = (manifest, begun, segment_name(number));
        self.before = bytes_before_last(&self.manifest);
        self.contents.push(Contents::NONE);
        Ok(())
    }

    /// The last segment is complete, and stable.
    fn summarise(&mut self) {
        let segment = self.manifest.last_number();
        let blocks = self.index.blocks_of(segment);
        let contents = self.contents.last().copied().unwrap_or(Contents::NONE);
        let whose = Whose { token: self.token, segment, end: self.end };
        Summary { contents, blocks }.write(&mut self.disk, whose);
    }

    /// Adds a record to the frame that is being gathered.
    fn gather(&mut self, record: &Record) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        wire::encode_record(record, &mut self.buffer);
        let length = (self.buffer.len() - start - 4) as u32;
        self.buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.gathered.note(record);
        self.whole.note(record);
    }

    /// Repeats in the frame what the segment would otherwise lack: see the head of this file.
    fn repeat(&mut self) {
        let mut held = self.gathered;
        self.contents.last().into_iter().for_each(|last| held.add(*last));
        let Contents { promised, trimmed, forgotten, .. } = self.whole;
        if held.promised < promised && !bugs::has(Bug::DropsPromiseWithSegment) {
            self.gather(&Record::Promised(promised));
        }
        if held.trimmed < trimmed {
            self.gather(&Record::Trimmed(trimmed));
        }
        if held.forgotten < forgotten {
            self.gather(&Record::Forgotten(forgotten));
        }
    }

    /// Writes the frame that was gathered, and makes it stable.
    fn write(&mut self) -> io::Result<()> {
        if self.is_unnoted {
            self.note()?;
        }
        if self.buffer.len() == HEADER_BYTES {
            return Ok(());
        }
        if self.end.bytes >= self.options.segment_bytes {
            self.begin_segment()?;
        }
        self.repeat();
        let segment = self.manifest.last_number();
        let place = FramePlace { token: self.token, segment, offset: self.end.bytes };
        let number = self.end.frames + 1;
        seal(&mut self.buffer, place, number);
        let bytes = self.end.bytes + self.buffer.len() as u64;
        let end = End { bytes, frames: number };
        self.disk.append(&self.segment, &self.buffer)?;
        if bugs::has(Bug::NotesBeforeSync) {
            self.tallies.note(&mut self.disk, end)?;
        }
        if !bugs::has(Bug::AnswersBeforeSync) {
            of_sync(self.disk.sync(&self.segment))?;
        }
        let (offset, frame) = (place.offset, number);
        let votes = self.gathered.votes;
        self.index.note(StoredFrame { segment, offset, end: end.bytes, frame, votes });
        self.end = end;
        self.buffer.truncate(HEADER_BYTES);
        let gathered = std::mem::replace(&mut self.gathered, Contents::NONE);
        self.contents.last_mut().into_iter().for_each(|last| last.add(gathered));
        // After the sync: whatever is noted must be stable already.
        self.is_unnoted = true;
        self.note()
    }

    /// Notes how far the log is stable.
    fn note(&mut self) -> io::Result<()> {
        self.tallies.note(&mut self.disk, self.end)?;
        self.is_unnoted = false;
        Ok(())
    }

    /// A frame has found no room: restores the log to what it was before.
    fn take_back(&mut self) -> io::Result<()> {
        if !bugs::has(Bug::LeavesTornFrames) {
            of_sync(self.disk.cut(&self.segment, self.end.bytes))?;
        }
        match &mut self.lack {
            Some(lack) => *lack = Lack { pause: FULL_PAUSE_MAX.min(lack.pause * 2), passed: 0 },
            lack @ None => {
                *lack = Some(Lack { pause: 1, passed: 0 });
                warn!(
                    "{} has no room for what this acceptor votes: it answers nothing until there \
                     is; make room",
                    self.disk.path_of("")
                );
            }
        }
        Ok(())
    }

    /// Whether it is time to try another write.
    fn may_fit(&mut self) -> bool {
        let Some(lack) = &mut self.lack else { return true };
        lack.passed += 1;
        let bytes = self.buffer.len() as u64;
        // Where the free space is not known, only writing shows it.
        let has_room = |space: Option<Space>| space.is_none_or(|space| space.free > bytes);
        lack.passed >= lack.pause && self.disk.space().map_or(true, has_room)
    }

    /// How many segments at the front nobody needs any more, up to the number that is removed at
    /// once.
    fn count_needless(&self) -> usize {
        let Some((last, before)) = self.contents.split_last() else { return 0 };
        before.iter().take(REMOVED_AT_ONCE).take_while(|one| last.stand_for(one)).count()
    }

    /// Removes the first `count` segments.
    fn remove_segments(&mut self, count: usize) -> io::Result<()> {
        let first = *self.manifest.numbers().start();
        let numbers = first..first + count as u64;
        if bugs::has(Bug::TrimsBeforeSync) {
            self.remove_files(numbers.clone());
        }
        let mut manifest = self.manifest.clone();
        let frames = manifest.segments.drain(..count).next_back().map(|last| last.end.frames);
        let frames = frames.unwrap_or(manifest.removed.frames);
        manifest.removed = Removed { segments: numbers.end - 1, frames };
        // The tallies start over, so the text must say how far the log is stable.
        if let Some(last) = manifest.segments.last_mut() {
            last.end = self.end;
        }
        self.tallies = manifest.write(&mut self.disk)?;
        self.manifest = manifest;
        self.contents.drain(..count);
        self.before = bytes_before_last(&self.manifest);
        // The gathered records may not be stable.
        let trimmed = self.contents.last().map_or(Instance::FIRST, |last| last.trimmed);
        self.index.forget_below(numbers.end, trimmed);
        self.remove_files(numbers);
        Ok(())
    }

    /// Removes the files of segments that the manifest does not name.
    fn remove_files(&mut self, numbers: Range<u64>) {
        numbers.for_each(|number| remove_needless(&mut self.disk, number));
    }
}

/// How many bytes all segments but the last have.
fn bytes_before_last(manifest: &Manifest) -> u64 {
    let before = manifest.segments.split_last().map_or(&[][..], |(_, before)| before);
    before.iter().map(|segment| segment.end.bytes).sum()
}

/// Removes the file of segment `number`, which the manifest names as removed. A file that stays
/// takes space but does no harm, so the acceptor goes on: a majority may depend on it.
pub(super) fn remove_needless(disk: &mut impl Disk, number: u64) {
    remove_summary(disk, number);
    let name = segment_name(number);
    match disk.remove(&name) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let path = disk.path_of(&name);
            warn!("cannot remove {path} ({error}); the next start tries again");
        }
    }
}

/// Creates segment `number`, for good.
pub(super) fn create_segment(disk: &mut impl Disk, number: u64) -> io::Result<Mark> {
    let name = segment_name(number);
    disk.create(&name)?;
    of_sync(disk.sync(&name))?;
    if !bugs::has(Bug::LeavesNamesUnsynced) {
        of_sync(disk.sync_names())?;
    }
    disk.mark(&name)
}

impl<D: Disk> AcceptorStore for Log<D> {
    fn append(&mut self, record: &Record) -> io::Result<()> {
        self.gather(record);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.has_failed {
            return Err(io::Error::other("an earlier write or sync failed"));
        }
        if self.buffer.len() == HEADER_BYTES && !self.is_unnoted {
            return Ok(());
        }
        if !self.may_fit() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = match self.write() {
            Err(error) if is_full(&error) => self.take_back().and(Err(error)),
            written => written,
        };
        match &written {
            Ok(()) => {
                if self.lack.take().is_some() {
                    self.budget.forget();
                }
            }
            Err(error) => self.has_failed = !is_full(error),
        }
        if bugs::has(Bug::AnswersWithoutRoom) && !self.has_failed {
            return Ok(());
        }
        written
    }

    fn reclaim(&mut self) -> io::Result<()> {
        let count = self.count_needless();
        if count == 0 || self.has_failed {
            return Ok(());
        }
        match self.remove_segments(count) {
            // Removing makes room, but needs a little first: it is tried again in the next turn.
            Err(error) if is_full(&error) => Ok(()),
            removed => {
                self.has_failed |= removed.is_err();
                removed
            }
        }
    }

    fn room(&mut self) -> Room {
        if self.lack.is_some() {
            return Room::Exhausted;
        }
        self.budget.look(&mut self.disk, self.before + self.end.bytes)
    }

    fn disk_use(&self) -> Option<DiskUse> {
        let log_bytes = self.before + self.end.bytes;
        let left = self.budget.left(log_bytes);
        // Whatever was free at the last look, the last write has found none.
        let left =
            left.map(|left| if self.lack.is_some() { Left { bytes: 0, ..left } } else { left });
        let birth = self.manifest.segments.first().map(|oldest| oldest.mark.birth);
        let since_ms = birth.filter(|birth| *birth > 0).map(|birth| birth / 1_000_000);
        Some(DiskUse { log_bytes, left, since_ms })
    }

    fn vote_reader(&self) -> io::Result<Option<VoteReader>> {
        let files = self.disk.files()?;
        Ok(Some(VoteReader::new(self.index.clone(), files, self.token)))
    }

    fn close(&mut self) -> io::Result<()> {
        if self.has_failed {
            return Ok(());
        }
        self.manifest.is_ended = true;
        if let Some(last) = self.manifest.segments.last_mut() {
            last.end = self.end;
        }
        self.manifest.write(&mut self.disk).map(drop)
    }
}

#[cfg(test)]
pub(super) mod tests;
