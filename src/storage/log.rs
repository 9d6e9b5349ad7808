//! An acceptor's log: what it must never forget, on a disk.
//!
//! A directory holds an `identity`, a `manifest` and segments, `log-00000001` and so on. A segment
//! is a row of frames, each of which one flush made stable.
//!
//! The next frame is written only when the one before is stable. So after a crash the last frame
//! may be torn, and is cut: nothing in it was answered. Whatever else is missing or damaged was
//! stable once, and the acceptor must not start: see `recovery`. Behind the last frame there may be
//! room, in zeros, so that a sync need not make the file grow.

use std::io;

use super::AcceptorStore;
use super::disk::{Disk, Mark};
use super::error::LogError;
use super::frame::{HEADER_BYTES, Place, seal};
use super::identity::Identity;
use super::manifest::{End, MANIFEST, Manifest, Segment, Tallies};
use crate::bugs::{self, Bug};
use crate::protocol::actor::Record;
use crate::wire;

pub use super::recovery::{Opening, Recovered};

/// How a log is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The directory is a copy that the operator vouches for: it is the last state.
    pub adopt_copy: bool,
    /// A new segment begins when one is this long.
    pub segment_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions { adopt_copy: false, segment_bytes: 64 << 20 }
    }
}

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
    /// The frame that is being gathered, with room for its header.
    buffer: Vec<u8>,
    /// What is stored is unknown since a write or a sync failed.
    has_failed: bool,
}

/// The name of segment `number`.
pub(super) fn segment_name(number: u64) -> String {
    format!("log-{number:08}")
}

impl<D: Disk> Log<D> {
    /// Opens the log of `mine`, whose incarnation and token count only if the directory is new.
    /// What it holds is read, and given back, by [`Opening::recover`].
    ///
    /// # Errors
    ///
    /// When the directory is another's, or when something that must be there is not.
    pub fn open(disk: D, mine: &Identity, options: LogOptions) -> Result<Opening<D>, LogError> {
        Opening::begin(disk, mine, options)
    }

    /// A log whose last segment goes up to `end`, as `manifest` says. Counts the start.
    pub(super) fn start(
        mut disk: D,
        token: u64,
        options: LogOptions,
        mut manifest: Manifest,
        end: End,
    ) -> Result<Self, LogError> {
        manifest.is_ended = false;
        manifest.starts += 1;
        if let Some(last) = manifest.segments.last_mut() {
            last.end = end;
        }
        let path = disk.path_of(MANIFEST);
        let tallies = manifest.write(&mut disk).map_err(|error| LogError::Write { path, error })?;
        let segment = segment_name(manifest.segments.len() as u64);
        let buffer = vec![0; HEADER_BYTES];
        let has_failed = false;
        Ok(Log { disk, token, options, manifest, tallies, segment, end, buffer, has_failed })
    }

    /// Goes on in a new segment. The manifest names it before anything is written into it, and it
    /// exists before the manifest names it.
    fn begin_segment(&mut self) -> io::Result<()> {
        // Only the last segment may have room behind its end.
        self.disk.cut(&self.segment, self.end.bytes)?;
        let number = self.manifest.segments.len() as u64 + 1;
        let name = segment_name(number);
        let mark = create_segment(&mut self.disk, number)?;
        if let Some(last) = self.manifest.segments.last_mut() {
            last.end = self.end;
        }
        self.end.bytes = 0;
        self.manifest.segments.push(Segment { mark, end: self.end });
        self.tallies = self.manifest.write(&mut self.disk)?;
        self.segment = name;
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        if self.end.bytes >= self.options.segment_bytes {
            self.begin_segment()?;
        }
        let segment = self.manifest.segments.len() as u64;
        let place = Place { token: self.token, segment, offset: self.end.bytes };
        let number = self.end.frames + 1;
        seal(&mut self.buffer, place, number);
        let bytes = self.end.bytes + self.buffer.len() as u64;
        let end = End { bytes, frames: number };
        self.disk.append(&self.segment, &self.buffer)?;
        if bugs::has(Bug::NotesBeforeSync) {
            self.tallies.note(&mut self.disk, end)?;
        }
        if !bugs::has(Bug::AnswersBeforeSync) {
            self.disk.sync(&self.segment)?;
        }
        // After the sync: what is noted must be there, whatever happens next.
        self.tallies.note(&mut self.disk, end)?;
        self.end = end;
        self.buffer.truncate(HEADER_BYTES);
        Ok(())
    }
}

/// Creates segment `number`, for good.
pub(super) fn create_segment(disk: &mut impl Disk, number: u64) -> io::Result<Mark> {
    let name = segment_name(number);
    disk.create(&name)?;
    disk.sync(&name)?;
    if !bugs::has(Bug::LeavesNamesUnsynced) {
        disk.sync_names()?;
    }
    disk.mark(&name)
}

impl<D: Disk> AcceptorStore for Log<D> {
    fn append(&mut self, record: &Record) -> io::Result<()> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        wire::encode_record(record, &mut self.buffer);
        let length = (self.buffer.len() - start - 4) as u32;
        self.buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.len() == HEADER_BYTES {
            return Ok(());
        }
        let written = self.write();
        self.has_failed |= written.is_err();
        written
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
