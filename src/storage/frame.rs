//! Frames: the records of one flush, with a checksum over them and over where they stand.
//!
//! ```text
//!   frame:  token 8 | payload bytes 4 | number 8 | checksum 4 | payload
//!   payload: record bytes 4 | record ...
//! ```
//!
//! The token is a secret of the directory that is never sent. So nothing that a client puts into a
//! value can look like a frame, and neither does a frame that is read at another place than its
//! own.

use std::io;

use super::disk::Files;
use crate::bugs::{self, Bug};

/// How long a frame's header is.
pub const HEADER_BYTES: usize = 24;

/// How much is read at once.
const WINDOW_BYTES: usize = 1 << 18;

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePlace {
    /// The directory's secret.
    pub token: u64,
    /// The number of the segment, from 1.
    pub segment: u64,
    /// Where in the segment the frame begins.
    pub offset: u64,
}

/// Fills in the header of a frame.
pub fn seal(frame: &mut [u8], place: FramePlace, number: u64) {
    let length = (frame.len() - HEADER_BYTES) as u32;
    frame[..8].copy_from_slice(&place.token.to_le_bytes());
    frame[8..12].copy_from_slice(&length.to_le_bytes());
    frame[12..20].copy_from_slice(&number.to_le_bytes());
    let checksum = checksum(place, &frame[..20], &frame[HEADER_BYTES..]);
    frame[20..24].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(place: FramePlace, header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.segment.to_le_bytes());
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

/// The header of a frame.
struct Header {
    token: u64,
    length: u32,
    number: u64,
    checksum: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (token, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (checksum, _) = rest.split_first_chunk()?;
        Some(Header {
            token: u64::from_le_bytes(*token),
            length: u32::from_le_bytes(*length),
            number: u64::from_le_bytes(*number),
            checksum: u32::from_le_bytes(*checksum),
        })
    }
}

/// One segment, read from its beginning through a window of bounded size.
#[derive(Debug)]
pub struct Reader<'a, D> {
    disk: &'a mut D,
    name: &'a str,
    place: FramePlace,
    /// How long the file is.
    length: u64,
    window: Vec<u8>,
    /// Where the window begins.
    window_at: u64,
}

impl<'a, D: Files> Reader<'a, D> {
    /// A reader that stands at the beginning of the segment `name`.
    pub fn open(disk: &'a mut D, name: &'a str, token: u64, segment: u64) -> io::Result<Self> {
        let length = disk.length(name)?;
        let place = FramePlace { token, segment, offset: 0 };
        Ok(Reader { disk, name, place, length, window: Vec::new(), window_at: 0 })
    }

    /// The same, standing at `offset`, where a frame begins.
    pub fn at(mut self, offset: u64) -> Self {
        self.place.offset = offset;
        self
    }

    /// Where it stands: behind the last whole frame.
    pub fn offset(&self) -> u64 {
        self.place.offset
    }

    /// How much of the file is behind it.
    pub fn behind(&self) -> u64 {
        self.length - self.place.offset
    }

    /// The payload of frame `number`, if a whole one stands at the reader's position; then the
    /// reader moves behind it.
    pub fn next(&mut self, number: u64) -> io::Result<Option<&[u8]>> {
        let place = self.place;
        let Some((found, length)) = self.frame_at(place)? else { return Ok(None) };
        if found != number {
            return Ok(None);
        }
        self.place.offset += (HEADER_BYTES + length) as u64;
        let start = (place.offset - self.window_at) as usize + HEADER_BYTES;
        Ok(Some(&self.window[start..start + length]))
    }

    /// The number and the payload's length of the frame at `place`, if a whole one stands there;
    /// its payload is then in the window.
    fn frame_at(&mut self, place: FramePlace) -> io::Result<Option<(u64, usize)>> {
        let Some(header) = self.bytes(place.offset, HEADER_BYTES)?.and_then(Header::read) else {
            return Ok(None);
        };
        let length = header.length as usize;
        if header.token != place.token {
            return Ok(None);
        }
        let Some(frame) = self.bytes(place.offset, HEADER_BYTES + length)? else { return Ok(None) };
        let is_whole = checksum(place, &frame[..20], &frame[HEADER_BYTES..]) == header.checksum;
        let is_taken = is_whole || bugs::has(Bug::TrustsTornFrames);
        Ok(is_taken.then_some((header.number, length)))
    }

    /// Whether only zeros follow the reader.
    pub fn has_room_alone(&mut self) -> io::Result<bool> {
        let mut offset = self.place.offset;
        while offset < self.length {
            let count = (self.length - offset).min(WINDOW_BYTES as u64) as usize;
            match self.bytes(offset, count)? {
                Some(bytes) if bytes.iter().all(|byte| *byte == 0) => offset += count as u64,
                Some(_) | None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Whether a whole frame with `number` or a later one begins anywhere behind the reader.
    pub fn has_frame_behind(&mut self, number: u64) -> io::Result<bool> {
        let mark = self.place.token.to_le_bytes();
        let mut offset = self.place.offset;
        while offset + HEADER_BYTES as u64 <= self.length {
            let count = (self.length - offset).min(WINDOW_BYTES as u64) as usize;
            let Some(bytes) = self.bytes(offset, count)? else { return Ok(false) };
            let Some(found) = bytes.windows(mark.len()).position(|word| word == mark) else {
                // The mark may lie across the end of the window.
                offset += (count - mark.len() + 1) as u64;
                continue;
            };
            let place = FramePlace { offset: offset + found as u64, ..self.place };
            let frame = self.frame_at(place)?;
            if frame.is_some_and(|(found, _)| found >= number) {
                return Ok(true);
            }
            offset = place.offset + 1;
        }
        Ok(false)
    }

    /// The bytes at `offset`, if the file is that long.
    fn bytes(&mut self, offset: u64, count: usize) -> io::Result<Option<&[u8]>> {
        if count as u64 > self.length.saturating_sub(offset) {
            return Ok(None);
        }
        let end = self.window_at + self.window.len() as u64;
        if offset < self.window_at || offset + count as u64 > end {
            let wanted = (self.length - offset).min(count.max(WINDOW_BYTES) as u64) as usize;
            self.window.resize(wanted, 0);
            let read = self.disk.read_at(self.name, offset, &mut self.window)?;
            self.window.truncate(read);
            self.window_at = offset;
        }
        let start = (offset - self.window_at) as usize;
        Ok(self.window.get(start..start + count))
    }
}
