//! What must be in an acceptor's directory, and how far was its log stable?
//!
//! A new manifest replaces the old one at every start, for every new segment, before segments are
//! removed, and at an orderly end; each time everything it names is stable first. So it is never
//! ahead of the log, and only the end of the last segment may be ahead of it.
//!
//! ```text
//!   multi-paxos acceptor manifest 3
//!   incarnation 00c0ffee00c0ffee
//!   starts 3                            how often the acceptor was started
//!   ended no                            whether it ended in order
//!   directory 1234 1764115200000000000  inode and birth: a copy has others
//!   manifest 1236 1764115201000000000
//!   identity 1237 1764115200000000000 1764115200000000000   the same, and when it was written
//!   removed 4 2342                      segments that were removed, and how many frames they held
//!   log 1235 1764115200000000000 67108990 4711   the same, bytes and frames: of all segments but
//!   log 1239 1764115209000000000 0 4711          the last for good, of the last at least
//!   checksum 89abcdef
//! ```
//!
//! The first `log` is the segment after the removed ones. As long as none was removed, there is no
//! such line, and the format is 2: an earlier version reads it.
//!
//! Behind the text, in sectors of their own, stand two tallies, written alternately after every
//! sync of the log and never synced: how far the log was stable then. They outlive the process. A
//! power failure may lose them, and then the text counts.

use std::io;
use std::ops::RangeInclusive;

use super::disk::{Disk, Mark, of_sync};
use super::error::LogError;
use super::identity::{read_text, with_checksum};
use crate::bugs::{self, Bug};

/// Its name.
pub const MANIFEST: &str = "manifest";

/// Its name until it is complete.
pub const MANIFEST_NEW: &str = "manifest.new";

/// The beginning of the first line, ...
const FORMAT: &str = "multi-paxos acceptor manifest ";

/// ... and what follows while no segment was removed, and afterwards.
const WHOLE: u32 = 2;
const SHORTENED: u32 = 3;

/// The unit that a disk writes completely or not at all.
const SECTOR_BYTES: u64 = 512;
const BLOCK_BYTES: u64 = 4096;

/// How far a segment goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// How many bytes its frames take.
    pub bytes: u64,
    /// How many frames there are up to here, including those of earlier segments.
    pub frames: u64,
}

/// A segment that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What distinguishes it from its copies.
    pub mark: Mark,
    /// Its end; for the last segment a lower bound of it.
    pub end: End,
}

/// The segments that were removed: the first ones, whose records nobody needs any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many there were.
    pub segments: u64,
    /// How many frames they held.
    pub frames: u64,
}

/// A file that is never written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// What distinguishes it from its copies.
    pub mark: Mark,
    /// When it was written. If a copy is written over it, the mark stays but the time changes.
    pub modified: u64,
}

/// The manifest: what must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The acceptor's incarnation.
    pub incarnation: u64,
    /// How often the acceptor was started.
    pub starts: u64,
    /// Whether it ended in good order, so that the end of the last segment is exact.
    pub is_ended: bool,
    /// The directory.
    pub directory: Mark,
    /// The manifest itself; filled in when it is written.
    pub own: Mark,
    /// The identity, which is written once; nothing until the first start is complete.
    pub identity: Option<Fixed>,
    /// The segments that were removed.
    pub removed: Removed,
    /// The segments after those, in order.
    pub segments: Vec<Segment>,
}

impl Manifest {
    /// The numbers of the segments.
    pub fn numbers(&self) -> RangeInclusive<u64> {
        self.removed.segments + 1..=self.last_number()
    }

    /// The number of the last segment.
    pub fn last_number(&self) -> u64 {
        self.removed.segments + self.segments.len() as u64
    }

    /// Replaces the manifest before it. Returns where its tallies are.
    pub fn write(&mut self, disk: &mut impl Disk) -> io::Result<Tallies> {
        disk.create(MANIFEST_NEW)?;
        self.own = disk.mark(MANIFEST_NEW)?;
        let mut content = self.text().into_bytes();
        let start = (content.len() as u64).next_multiple_of(BLOCK_BYTES);
        // The space for the tallies is there from the beginning, so that writing them changes only
        // their own bytes.
        content.resize((start + 2 * SECTOR_BYTES) as usize, 0);
        disk.write_at(MANIFEST_NEW, 0, &content)?;
        if !bugs::has(Bug::TrustsCaches) {
            of_sync(disk.sync(MANIFEST_NEW))?;
        }
        disk.rename(MANIFEST_NEW, MANIFEST)?;
        if !bugs::has(Bug::LeavesNamesUnsynced) {
            of_sync(disk.sync_names())?;
        }
        Ok(Tallies { start, segment: self.last_number(), key: self.key(), next: 0 })
    }

    /// Reads it, including its tallies. Its segments may be longer than it says.
    pub fn read(disk: &mut impl Disk) -> Result<Self, LogError> {
        let path = disk.path_of(MANIFEST);
        let text = read_text(disk, MANIFEST)?;
        let format = text.lines().next().unwrap_or_default();
        let version = format.strip_prefix(FORMAT).and_then(|version| version.parse::<u32>().ok());
        if version.is_some_and(|version| version != WHOLE && version != SHORTENED) {
            return Err(LogError::OtherFormat { path, found: format.to_owned() });
        }
        // Up to the checksum's line, behind which the tallies are.
        let check = text.find("\nchecksum ").map(|place| place + "\nchecksum 12345678\n".len());
        let parsed = check.and_then(|end| text.get(..end)).and_then(Manifest::parse);
        let Some(mut manifest) = parsed else { return Err(LogError::Unreadable { path }) };
        let tallies = manifest.read_tallies(disk);
        let tallies = tallies.map_err(|error| LogError::Read { path, error })?;
        if let Some(last) = manifest.segments.last_mut() {
            last.end = tallies.into_iter().flatten().fold(last.end, End::max);
        }
        Ok(manifest)
    }

    fn read_tallies(&self, disk: &mut impl Disk) -> io::Result<[Option<End>; 2]> {
        let start = (self.text().len() as u64).next_multiple_of(BLOCK_BYTES);
        let segment = self.last_number();
        let mut ends = [None; 2];
        for (place, end) in (0..).zip(&mut ends) {
            let mut tally = [0; TALLY_BYTES];
            let read = disk.read_at(MANIFEST, start + place * SECTOR_BYTES, &mut tally)?;
            let bytes = u64_at(&tally, 0);
            let found = End { bytes, frames: u64_at(&tally, 8) };
            let is_whole = read == TALLY_BYTES && tally == encode_tally(self.key(), segment, found);
            *end = is_whole.then_some(found);
        }
        Ok(ends)
    }

    /// A key that distinguishes its tallies from those of every other manifest.
    fn key(&self) -> u64 {
        self.incarnation ^ self.starts.rotate_left(32) ^ self.own.inode.rotate_left(48)
    }

    fn text(&self) -> String {
        let Manifest { incarnation, starts, is_ended, directory, own, identity, .. } = self;
        let Manifest { removed, segments, .. } = self;
        let ended = if *is_ended { "yes" } else { "no" };
        let version = if removed.segments == 0 { WHOLE } else { SHORTENED };
        let mut text = format!(
            "{FORMAT}{version}\nincarnation {incarnation:016x}\nstarts {starts}\nended {ended}\n\
             directory {directory}\nmanifest {own}\n"
        );
        if let Some(Fixed { mark, modified }) = identity {
            text += &format!("identity {mark} {modified}\n");
        }
        if removed.segments > 0 {
            text += &format!("removed {} {}\n", removed.segments, removed.frames);
        }
        for Segment { mark, end: End { bytes, frames } } in segments {
            text += &format!("log {mark} {bytes} {frames}\n");
        }
        with_checksum(text)
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let marked = |words: &str| -> Option<Mark> {
            let (inode, birth) = words.split_once(' ')?;
            Some(Mark { inode: inode.parse().ok()?, birth: birth.parse().ok()? })
        };
        let fixed = |words: &str| -> Option<Fixed> {
            let (mark, modified) = words.rsplit_once(' ')?;
            Some(Fixed { mark: marked(mark)?, modified: modified.parse().ok()? })
        };
        let removed = |words: &str| -> Option<Removed> {
            let (segments, frames) = words.split_once(' ')?;
            Some(Removed { segments: segments.parse().ok()?, frames: frames.parse().ok()? })
        };
        let segment = |words: &str| -> Option<Segment> {
            let (rest, frames) = words.rsplit_once(' ')?;
            let (mark, bytes) = rest.rsplit_once(' ')?;
            let end = End { bytes: bytes.parse().ok()?, frames: frames.parse().ok()? };
            Some(Segment { mark: marked(mark)?, end })
        };
        let logs = text.lines().filter_map(|line| line.strip_prefix("log "));
        let manifest = Manifest {
            incarnation: u64::from_str_radix(value("incarnation ")?, 16).ok()?,
            starts: value("starts ")?.parse().ok()?,
            is_ended: value("ended ")? == "yes",
            directory: marked(value("directory ")?)?,
            own: marked(value("manifest ")?)?,
            identity: value("identity ").and_then(fixed),
            removed: value("removed ").and_then(removed).unwrap_or_default(),
            segments: logs.map(segment).collect::<Option<_>>()?,
        };
        // Anything but exactly what was written is damaged.
        let is_whole = manifest.text() == text && !manifest.segments.is_empty();
        is_whole.then_some(manifest)
    }
}

/// Where the tallies of the present manifest are, and which is written next.
#[derive(Clone, Copy, Debug)]
pub struct Tallies {
    start: u64,
    segment: u64,
    key: u64,
    next: u64,
}

impl Tallies {
    /// Notes that the last segment is stable up to `end`.
    pub fn note(&mut self, disk: &mut impl Disk, end: End) -> io::Result<()> {
        let tally = encode_tally(self.key, self.segment, end);
        let place = self.start + self.next * SECTOR_BYTES;
        disk.write_at(MANIFEST, place, &tally)?;
        // A failed one is written again in its place: the other one is intact.
        self.next = 1 - self.next;
        Ok(())
    }
}

const TALLY_BYTES: usize = 20;

fn encode_tally(key: u64, segment: u64, end: End) -> [u8; TALLY_BYTES] {
    let mut tally = [0; TALLY_BYTES];
    tally[..8].copy_from_slice(&end.bytes.to_le_bytes());
    tally[8..16].copy_from_slice(&end.frames.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    [key, segment, end.bytes, end.frames]
        .iter()
        .for_each(|word| hasher.update(&word.to_le_bytes()));
    tally[16..].copy_from_slice(&hasher.finalize().to_le_bytes());
    tally
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes[offset..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}
