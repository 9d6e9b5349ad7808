//! The form of a snapshot as bytes.
//!
//! ```text
//!   file:   magic 8 | frame ...
//!   frame:  kind 1 | payload bytes 4 | number 4 | checksum 4 | payload
//! ```
//!
//! The first frame is the head: the format's number, the kind of the application's state, and the
//! state of delivery. The application's bytes follow in frames of at most 256 KiB, and the last
//! frame has their number and their SHA-256. The checksum of a frame also covers the place of the
//! snapshot in the log, so a frame of another snapshot is not taken for one of this.

use std::error::Error;
use std::fmt;
use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use super::shelf::of_name;
use crate::bugs::{self, Bug};
use crate::protocol::checkpoint::{Checkpoint, unknown_kind};
use crate::protocol::message::{LaterForm, StateKind};
use crate::protocol::types::Instance;
use crate::storage::disk::{Disk, Files};

/// The first bytes of every snapshot. The last one is the number of the form of frames.
const MAGIC: [u8; 8] = *b"mpxsnap1";

/// The number of the head's form.
const FORMAT: u8 = 1;

const FRAME_HEADER_BYTES: usize = 13;

/// The most bytes of a frame other than the head.
const CHUNK_BYTES: usize = 1 << 18;

/// The most bytes of a head: a table of some ten million sessions.
const HEAD_BYTES_MAX: usize = 1 << 28;

pub(crate) const HEAD: u8 = 1;
const CHUNK: u8 = 2;
const END: u8 = 3;

/// It is a snapshot of a later release, which this one cannot read: no damage, and nothing to throw
/// away. The payload of the [`io::Error`] that [`Reader`] returns then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Later(pub LaterForm);

impl Later {
    /// Whether that is why a snapshot cannot be read.
    pub fn of(error: &io::Error) -> Option<Later> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// Whether the file of the snapshot of `of`, which begins like this, is one, as far as its
    /// beginning says: of a part of a head that is known nothing can be told, nor of a damaged one.
    pub fn of_beginning(of: Instance, bytes: &[u8]) -> Option<Later> {
        let (magic, rest) = bytes.split_first_chunk()?;
        if let Err(error) = expect_magic(magic) {
            return Later::of(&error);
        }
        let (header, rest) = rest.split_first_chunk()?;
        let (mut head, length, _) = Frame::headed(*header);
        head.payload = rest.get(..length)?.to_vec();
        head.check(of, MAGIC.len() as u64).ok()?;
        Later::of(&Label::decode(&head.payload).err()?)
    }
}

impl fmt::Display for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is of a later release: {}, which this program does not know", self.0)
    }
}

impl Error for Later {}

fn later(form: LaterForm) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Later(form))
}

/// What every snapshot that can be read begins with.
fn expect_magic(found: &[u8; MAGIC.len()]) -> io::Result<()> {
    let ([mark @ .., number], [expected @ .., known]) = (found, &MAGIC);
    if mark != expected || number < known {
        return Err(damaged("it does not begin like a snapshot"));
    }
    if number == known { Ok(()) } else { Err(later(LaterForm::File(*number))) }
}

/// A snapshot's description of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The name of the cluster.
    pub cluster: String,
    /// Which application's state it holds.
    pub kind: StateKind,
    /// The state of delivery.
    pub checkpoint: Checkpoint,
}

impl Label {
    fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            StateKind::Digest => 1,
            StateKind::Replica => 2,
        };
        let mut bytes = vec![FORMAT, kind];
        bytes.extend_from_slice(&(self.cluster.len() as u32).to_le_bytes());
        bytes.extend_from_slice(self.cluster.as_bytes());
        bytes.extend_from_slice(&self.checkpoint.encode());
        bytes
    }

    fn decode(bytes: &[u8]) -> io::Result<Label> {
        let broken = || damaged("its head cannot be read");
        if let Some(form) = bytes.first().filter(|form| **form > FORMAT) {
            return Err(later(LaterForm::Head(*form)));
        }
        let [FORMAT, kind, rest @ ..] = bytes else { return Err(broken()) };
        let kind = match kind {
            1 => StateKind::Digest,
            2 => StateKind::Replica,
            _ => return Err(broken()),
        };
        let (length, rest) = rest.split_first_chunk().ok_or_else(broken)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (cluster, rest) = rest.split_at_checked(length).ok_or_else(broken)?;
        let cluster = String::from_utf8(cluster.to_vec()).map_err(|_| broken())?;
        if let Some(kind) = unknown_kind(rest) {
            return Err(later(LaterForm::Delivery(kind)));
        }
        let checkpoint = Checkpoint::decode(rest).ok_or_else(broken)?;
        Ok(Label { cluster, kind, checkpoint })
    }

    /// Everything below it is in the snapshot.
    pub fn of(&self) -> Instance {
        self.checkpoint.head.of
    }
}

fn checksum(of: Instance, header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&of.0.to_le_bytes());
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

/// The frame with this payload, of this kind and number, in the snapshot of `of`.
pub(crate) fn framed(
    of: Instance,
    (kind, number): (u8, u32),
    payload: &[u8],
) -> io::Result<Vec<u8>> {
    let length = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
    frame.push(kind);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&number.to_le_bytes());
    let checksum = checksum(of, &frame, payload);
    frame.extend_from_slice(&checksum.to_le_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Writes a snapshot to an empty file. The application's bytes are written to it as to any
/// [`Write`].
#[derive(Debug)]
pub struct Writer<'a, D> {
    disk: &'a mut D,
    name: &'a str,
    of: Instance,
    /// The bytes of the frame under way.
    chunk: Vec<u8>,
    /// The number of that frame.
    number: u32,
    /// Over the application's bytes.
    hash: Sha256,
    bytes: u64,
    /// How long the file is.
    length: u64,
}

impl<'a, D: Disk> Writer<'a, D> {
    /// Begins with the head.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn begin(disk: &'a mut D, name: &'a str, label: &Label) -> io::Result<Self> {
        disk.append(name, &MAGIC)?;
        let (of, chunk) = (label.of(), Vec::with_capacity(CHUNK_BYTES));
        let (hash, length) = (Sha256::new(), MAGIC.len() as u64);
        let mut writer = Writer { disk, name, of, chunk, number: 0, hash, bytes: 0, length };
        writer.put(HEAD, &label.encode())?;
        Ok(writer)
    }

    fn put(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let frame = framed(self.of, (kind, self.number), payload)?;
        self.number = self.number.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        self.length += frame.len() as u64;
        self.disk.append(self.name, &frame)
    }

    fn put_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        self.hash.update(&chunk);
        self.bytes += chunk.len() as u64;
        self.put(CHUNK, &chunk)?;
        self.chunk = chunk;
        self.chunk.clear();
        Ok(())
    }

    /// Writes what is left, and the end. Returns how long the file is. Nothing is stable yet.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn end(mut self) -> io::Result<u64> {
        self.put_chunk()?;
        let mut end = self.bytes.to_le_bytes().to_vec();
        end.extend_from_slice(&self.hash.clone().finalize());
        self.put(END, &end)?;
        Ok(self.length)
    }
}

impl<D: Disk> Write for Writer<'_, D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES - self.chunk.len();
        let taken = bytes.len().min(room);
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK_BYTES {
            self.put_chunk()?;
        }
        Ok(taken)
    }

    /// Nothing waits for it: a snapshot counts only once all of it is written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A frame as it was read.
struct Frame {
    kind: u8,
    payload: Vec<u8>,
    /// The header without the checksum, and the checksum.
    header: [u8; 9],
    found: u32,
}

impl Frame {
    /// The frame at `offset`, which must have this number. Its checksum is not verified yet.
    fn read(disk: &mut impl Files, name: &str, offset: u64, expected: u32) -> io::Result<Self> {
        let torn = || damaged(&format!("the frame at byte {offset} is not whole"));
        let mut bytes = [0; FRAME_HEADER_BYTES];
        if disk.read_at(name, offset, &mut bytes)? < bytes.len() {
            return Err(torn());
        }
        let (mut frame, length, number) = Frame::headed(bytes);
        let most = if frame.kind == HEAD { HEAD_BYTES_MAX } else { CHUNK_BYTES };
        let begin = offset + bytes.len() as u64;
        // So that a claimed length that is not there takes no memory.
        let behind = disk.length(name)?.saturating_sub(begin);
        if number != expected || length > most || length as u64 > behind {
            return Err(torn());
        }
        frame.payload.resize(length, 0);
        if disk.read_at(name, begin, &mut frame.payload)? < length {
            return Err(torn());
        }
        Ok(frame)
    }

    /// The frame with this header, without its payload, which has this length, and its number.
    fn headed(header: [u8; FRAME_HEADER_BYTES]) -> (Self, usize, u32) {
        let [kind, l0, l1, l2, l3, n0, n1, n2, n3, c0, c1, c2, c3] = header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let header = [kind, l0, l1, l2, l3, n0, n1, n2, n3];
        let found = u32::from_le_bytes([c0, c1, c2, c3]);
        let frame = Frame { kind, payload: Vec::new(), header, found };
        (frame, length, u32::from_le_bytes([n0, n1, n2, n3]))
    }

    fn bytes(&self) -> u64 {
        (FRAME_HEADER_BYTES + self.payload.len()) as u64
    }

    fn check(&self, of: Instance, offset: u64) -> io::Result<()> {
        let is_whole = self.found == checksum(of, &self.header, &self.payload);
        if is_whole || bugs::has(Bug::BelievesTornSnapshot) {
            return Ok(());
        }
        Err(damaged(&format!("the checksum of the frame at byte {offset} is wrong")))
    }
}

/// Reads a snapshot, and its application's bytes as any [`Read`]. Every frame is checked before
/// anything of it is handed out.
#[derive(Debug)]
pub struct Reader<'a, D> {
    disk: &'a mut D,
    name: String,
    label: Label,
    offset: u64,
    number: u32,
    chunk: Vec<u8>,
    /// How much of the chunk was handed out.
    taken: usize,
    hash: Sha256,
    bytes: u64,
    /// The hash in the last frame, once it was read.
    end: Option<[u8; 32]>,
}

impl<'a, D: Files> Reader<'a, D> {
    /// Reads the head.
    ///
    /// # Errors
    ///
    /// When it is not a snapshot, with the reason as the error's text; and those of the disk.
    pub fn begin(disk: &'a mut D, name: &str) -> io::Result<Self> {
        let mut magic = [0; MAGIC.len()];
        // A file shorter than that fails here.
        disk.read_at(name, 0, &mut magic)?;
        expect_magic(&magic)?;
        let offset = magic.len() as u64;
        let head = Frame::read(disk, name, offset, 0)?;
        if head.kind != HEAD {
            return Err(damaged("it has no head"));
        }
        let label = match Label::decode(&head.payload) {
            Ok(label) => label,
            Err(error) => {
                // A damaged one is not taken for one of a later release.
                if let Some(of) = name.split('.').next().and_then(of_name) {
                    head.check(of, offset)?;
                }
                return Err(error);
            }
        };
        head.check(label.of(), offset)?;
        Ok(Reader {
            disk,
            name: name.to_owned(),
            label,
            offset: offset + head.bytes(),
            number: 1,
            chunk: Vec::new(),
            taken: 0,
            hash: Sha256::new(),
            bytes: 0,
            end: None,
        })
    }

    /// Its description of itself.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// Goes on to the next chunk. Returns false at the end, which has been verified then.
    fn advance(&mut self) -> io::Result<bool> {
        if self.end.is_some() {
            return Ok(false);
        }
        let frame = Frame::read(self.disk, &self.name, self.offset, self.number)?;
        frame.check(self.label.of(), self.offset)?;
        self.offset += frame.bytes();
        self.number += 1;
        let payload = frame.payload;
        match frame.kind {
            CHUNK => {
                self.hash.update(&payload);
                self.bytes += payload.len() as u64;
                (self.chunk, self.taken) = (payload, 0);
                Ok(true)
            }
            END => {
                let hash: [u8; 32] = self.hash.clone().finalize().into();
                let mut expected = self.bytes.to_le_bytes().to_vec();
                expected.extend_from_slice(&hash);
                if payload != expected && !bugs::has(Bug::BelievesTornSnapshot) {
                    return Err(damaged("what is in it is not what its end says"));
                }
                if self.disk.length(&self.name)? != self.offset {
                    return Err(damaged("something stands behind its end"));
                }
                self.end = Some(hash);
                Ok(false)
            }
            _ => Err(damaged("it has a frame of an unknown kind")),
        }
    }

    /// Reads the rest. Returns how many bytes the application's part has, and their SHA-256.
    ///
    /// # Errors
    ///
    /// When it is damaged anywhere.
    pub fn finish(mut self) -> io::Result<(u64, [u8; 32])> {
        while self.advance()? {}
        Ok((self.bytes, self.end.unwrap_or_default()))
    }
}

impl<D: Files> Read for Reader<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.chunk.len() {
            if buffer.is_empty() || !self.advance()? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.chunk.len() - self.taken);
        buffer[..count].copy_from_slice(&self.chunk[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
