//! An acceptor's log: what it must never forget, on a disk.
//!
//! A folder holds an `identity` and segments, `log-00000001` and so on. A segment is a row of
//! frames; a frame is what one flush made stable, with a checksum over all of it:
//!
//! ```text
//!   frame:  magic 4 | payload bytes 4 | number 8 | checksum 4 | payload
//!   payload: record bytes 4 | record ...
//! ```
//!
//! The next frame is written only when the one before is stable. So after a crash the last frame
//! may be torn, and is cut: nothing in it was answered. A broken frame with a whole one after it
//! was stable once: the disk has lost what was promised, and the acceptor must not start. Behind
//! the last frame there may be room, in zeros, so that a sync need not make the file grow.
//!
//! A last frame that was stable and rotted afterwards looks like a torn one. No log of one copy can
//! tell the two apart.

use std::fmt;
use std::io;

use super::AcceptorStore;
use super::disk::Disk;
use crate::bugs::{self, Bug};
use crate::protocol::actor::Record;
use crate::wire;

/// A new segment begins when one is this long.
const SEGMENT_BYTES: u64 = 64 << 20;

/// The longest frame, so that a broken length cannot ask for gigabytes.
const FRAME_BYTES_MAX: usize = 1 << 30;

const MAGIC: [u8; 4] = *b"mpxf";
const HEADER_BYTES: usize = 20;
const IDENTITY: &str = "identity";
const FORMAT: &str = "multi-paxos acceptor log 1";

/// Whose log it is. A folder belongs to one acceptor of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The acceptor's id.
    pub acceptor: u32,
    /// The number of this life of the acceptor: the same for as long as its data lives.
    pub incarnation: u64,
}

/// Why a log cannot be used, in one sentence with the file and the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogError(String);

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LogError {}

/// A log that is written to.
#[derive(Debug)]
pub struct Log<D> {
    disk: D,
    /// The number of the segment that is written to.
    segment: u64,
    segment_bytes: u64,
    /// The number of the next frame.
    frame: u64,
    /// The frame that is being gathered, with room for its header.
    buffer: Vec<u8>,
}

/// What was found on the disk.
#[derive(Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The acceptor's incarnation.
    pub incarnation: u64,
    /// Everything it stored, in order.
    pub records: Vec<Record>,
    /// How many bytes of a torn frame were cut.
    pub cut_bytes: u64,
}

fn segment_name(number: u64) -> String {
    format!("log-{number:08}")
}

impl<D: Disk> Log<D> {
    /// Opens the log of `mine`, whose incarnation counts only if the folder is new.
    ///
    /// # Errors
    ///
    /// When the folder is another's, when it cannot be read, or when it has lost something.
    pub fn open(mut disk: D, mine: &Identity) -> Result<(Self, Recovered), LogError> {
        let names = disk.list().map_err(|error| unreadable(&disk.path_of(""), &error))?;
        let segments: Vec<&String> = names.iter().filter(|name| name.starts_with("log-")).collect();
        let identity = if names.iter().any(|name| name == IDENTITY) {
            read_identity(&disk, mine)?
        } else if let Some(segment) = segments.first() {
            return Err(LogError(format!(
                "{} has no {IDENTITY} beside it, so nobody knows whose it is; put the file back, \
                 or give the acceptor an empty directory and a new id",
                disk.path_of(segment)
            )));
        } else {
            let text = write_identity(mine);
            let path = disk.path_of(IDENTITY);
            disk.create(IDENTITY, text.as_bytes()).map_err(|error| unwritable(&path, &error))?;
            mine.clone()
        };
        let mut log =
            Log { disk, segment: 0, segment_bytes: 0, frame: 1, buffer: vec![0; HEADER_BYTES] };
        let mut recovered =
            Recovered { incarnation: identity.incarnation, records: Vec::new(), cut_bytes: 0 };
        for (place, name) in (1..).zip(&segments) {
            if **name != segment_name(place) {
                let missing = log.disk.path_of(&segment_name(place));
                return Err(LogError(format!(
                    "{missing} is missing; restore it, or retire this acceptor"
                )));
            }
            let is_last = place == segments.len() as u64;
            log.recover_segment(place, is_last, &mut recovered)?;
        }
        if log.segment == 0 {
            log.begin_segment(1).map_err(|error| unwritable(&segment_name(1), &error))?;
        }
        Ok((log, recovered))
    }

    /// Reads one segment; cuts what is torn at the end of the last one.
    fn recover_segment(
        &mut self,
        number: u64,
        is_last: bool,
        recovered: &mut Recovered,
    ) -> Result<(), LogError> {
        let name = segment_name(number);
        let path = self.disk.path_of(&name);
        let bytes = self.disk.read(&name).map_err(|error| unreadable(&path, &error))?;
        let mut offset = 0;
        while offset < bytes.len() {
            let Some(payload) = read_frame(&bytes[offset..], self.frame) else {
                let has_later = has_frame_after(&bytes[offset + 1..], self.frame);
                if !is_last || has_later {
                    return Err(LogError(format!(
                        "{path}: the record at byte {offset} is damaged, and whole ones follow \
                         it: the disk has lost what this acceptor promised; restore the file, or \
                         retire this acceptor"
                    )));
                }
                let has_room_alone = bytes[offset..].iter().all(|byte| *byte == 0);
                recovered.cut_bytes =
                    if has_room_alone { 0 } else { (bytes.len() - offset) as u64 };
                self.disk.cut(&name, offset as u64).map_err(|error| unwritable(&path, &error))?;
                break;
            };
            if !read_records(payload, &mut recovered.records) {
                return Err(LogError(format!(
                    "{path}: the record at byte {offset} is whole and not understood; use the \
                     version of the program that wrote it"
                )));
            }
            offset += HEADER_BYTES + payload.len();
            self.frame += 1;
        }
        self.segment = number;
        self.segment_bytes = offset as u64;
        Ok(())
    }

    fn begin_segment(&mut self, number: u64) -> io::Result<()> {
        if self.segment > 0 {
            // Only the last segment may have room behind its end.
            self.disk.cut(&segment_name(self.segment), self.segment_bytes)?;
        }
        self.disk.create(&segment_name(number), &[])?;
        self.segment = number;
        self.segment_bytes = 0;
        Ok(())
    }
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
        if self.segment_bytes >= SEGMENT_BYTES {
            self.begin_segment(self.segment + 1)?;
        }
        seal(&mut self.buffer, self.frame);
        let name = segment_name(self.segment);
        self.disk.append(&name, &self.buffer)?;
        if !bugs::has(Bug::AnswersBeforeSync) {
            self.disk.sync(&name)?;
        }
        self.segment_bytes += self.buffer.len() as u64;
        self.frame += 1;
        self.buffer.truncate(HEADER_BYTES);
        Ok(())
    }
}

/// Fills in the header of a frame.
pub(crate) fn seal(frame: &mut [u8], number: u64) {
    let length = (frame.len() - HEADER_BYTES) as u32;
    frame[..4].copy_from_slice(&MAGIC);
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    frame[8..16].copy_from_slice(&number.to_le_bytes());
    let checksum = checksum(&frame[..16], &frame[HEADER_BYTES..]);
    frame[16..20].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc32fast::hash(header) ^ crc32fast::hash(payload).rotate_left(1)
}

/// The payload of frame `number`, if it stands whole at the beginning of `bytes`.
fn read_frame(bytes: &[u8], number: u64) -> Option<&[u8]> {
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?))
    };
    let found = u64::from_le_bytes(header.get(8..16)?.try_into().ok()?);
    let length = word(4)? as usize;
    if header[..4] != MAGIC || found != number || length > FRAME_BYTES_MAX {
        return None;
    }
    let payload = rest.get(..length)?;
    let is_whole = checksum(&header[..16], payload) == word(16)?;
    (is_whole || bugs::has(Bug::TrustsTornFrames)).then_some(payload)
}

/// Whether a whole frame of a later number begins anywhere in `bytes`.
fn has_frame_after(bytes: &[u8], number: u64) -> bool {
    let starts = bytes.windows(MAGIC.len()).enumerate().filter(|(_, word)| *word == MAGIC);
    starts.into_iter().any(|(start, _)| {
        let frame = &bytes[start..];
        let found = frame.get(8..16).and_then(|word| word.try_into().ok()).map(u64::from_le_bytes);
        found.is_some_and(|found| found >= number && read_frame(frame, found).is_some())
    })
}

/// Reads the records of a payload. Returns whether all of them were understood.
fn read_records(mut payload: &[u8], records: &mut Vec<Record>) -> bool {
    while !payload.is_empty() {
        let Some((length, rest)) = payload.split_first_chunk() else { return false };
        let length = u32::from_le_bytes(*length) as usize;
        let Some((bytes, rest)) = rest.split_at_checked(length) else { return false };
        let Ok(record) = wire::decode_record(bytes) else { return false };
        records.push(record);
        payload = rest;
    }
    true
}

fn write_identity(identity: &Identity) -> String {
    let Identity { cluster, acceptor, incarnation } = identity;
    let text = format!(
        "{FORMAT}\ncluster {cluster}\nacceptor {acceptor}\nincarnation {incarnation:016x}\n"
    );
    let check = crc32fast::hash(text.as_bytes());
    format!("{text}checksum {check:08x}\n")
}

/// Reads the identity, and demands that it is that of `mine`, whatever the incarnation.
fn read_identity(disk: &impl Disk, mine: &Identity) -> Result<Identity, LogError> {
    let path = disk.path_of(IDENTITY);
    let bytes = disk.read(IDENTITY).map_err(|error| unreadable(&path, &error))?;
    let text = String::from_utf8_lossy(&bytes);
    let incarnation = text
        .lines()
        .find_map(|line| line.strip_prefix("incarnation "))
        .and_then(|number| u64::from_str_radix(number, 16).ok());
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let found = (value("cluster "), value("acceptor ").and_then(|id| id.parse::<u32>().ok()));
    let (Some(incarnation), (Some(cluster), Some(acceptor))) = (incarnation, found) else {
        return Err(LogError(format!("{path} is damaged; restore it, or retire this acceptor")));
    };
    let identity = Identity { cluster: cluster.to_owned(), acceptor, incarnation };
    if write_identity(&identity) != text {
        return Err(LogError(format!("{path} is damaged; restore it, or retire this acceptor")));
    }
    if identity.cluster != mine.cluster || identity.acceptor != mine.acceptor {
        return Err(LogError(format!(
            "{path}: this is the data of acceptor {} of cluster {}, not of acceptor {} of cluster \
             {}; give each acceptor its own directory",
            identity.acceptor, identity.cluster, mine.acceptor, mine.cluster
        )));
    }
    Ok(identity)
}

fn unreadable(path: &str, error: &io::Error) -> LogError {
    LogError(format!("{path}: cannot read it: {error}"))
}

fn unwritable(path: &str, error: &io::Error) -> LogError {
    LogError(format!("{path}: cannot write it: {error}; make room, or allow it"))
}

#[cfg(test)]
mod tests;
