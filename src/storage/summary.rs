//! A digest of each complete segment in a file beside it, so that a start need not read old
//! segments.
//!
//! When a segment is complete, its contents and its part of the index of votes are written into
//! `index-00000001` and so on. A starting acceptor reads only the segments with votes that it must
//! have in memory; of the others it takes the summary. If one is missing or incomplete because of a
//! crash, it reads the segment, and writes the summary.
//!
//! So a summary is never needed, and never trusted further than it proves itself: by a checksum
//! over all of it, the token of the directory, the number of the segment, and where that ends. A
//! complete segment never changes, so a summary that was true stays true. Unread segments are not
//! checked: damage in them shows when a learner reads them back, or to `paxos log verify`, which
//! uses no summaries.
//!
//! ```text
//!   format 8 | token 8 | segment 8 | bytes 8 | frames 8
//!     | promised: round 8, proposer 8, boot 8 | trimmed 8 | forgotten 8 | votes: from 8, until 8
//!     | block: votes from 8, votes until 8, offset 8, end 8, frame 8 | ...
//!     | checksum 8
//! ```

use std::io;

use log::debug;

use super::contents::Contents;
use super::disk::{Disk, Files};
use super::index::Block;
use super::manifest::End;
use crate::bugs::{self, Bug};
use crate::protocol::types::{Ballot, Instance, Run};

/// The first number of the file: another number for another form.
const FORMAT: u64 = u64::from_le_bytes(*b"paxidx\x00\x01");

/// How many numbers precede the blocks, and how many each block has.
const HEAD: usize = 12;
const BLOCK: usize = 5;

/// No summary is longer, in bytes: a segment has some hundred blocks.
const BYTES_MAX: u64 = 1 << 24;

/// The summary of a complete segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The digest of its records.
    pub contents: Contents,
    /// Where its votes stand.
    pub blocks: Vec<Block>,
}

/// Which segment it is, and where that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The directory's secret.
    pub token: u64,
    /// The number of the segment.
    pub segment: u64,
    /// Its end.
    pub end: End,
}

/// The name of the summary of segment `number`.
pub fn summary_name(number: u64) -> String {
    format!("index-{number:08}")
}

/// The number of the segment whose summary has this name; none if it is no summary's.
pub fn summary_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("index-")?.parse().ok()?;
    (summary_name(number) == name).then_some(number)
}

impl Summary {
    /// Writes it, without a sync: if it is missing after a crash, the start reads the segment.
    pub fn write(&self, disk: &mut impl Disk, whose: Whose) {
        let name = summary_name(whose.segment);
        let written =
            disk.create(&name).and_then(|()| disk.write_at(&name, 0, &self.encode(whose)));
        if let Err(error) = written {
            debug!("cannot write {} ({error})", disk.path_of(&name));
        }
    }

    /// Reads it; none if it is missing, broken, or of another segment.
    pub fn read(files: &mut impl Files, whose: Whose) -> Option<Summary> {
        let name = summary_name(whose.segment);
        let length = files.length(&name).ok().filter(|length| *length <= BYTES_MAX)?;
        let mut bytes = vec![0; length as usize];
        let read = files.read_at(&name, 0, &mut bytes).ok()?;
        Summary::decode(bytes.get(..read)?, whose)
    }

    fn encode(&self, whose: Whose) -> Vec<u8> {
        let Whose { token, segment, end } = whose;
        let Contents { promised, trimmed, forgotten, votes } = self.contents;
        let Ballot { round, proposer, boot } = promised;
        // No vote is for instance 0.
        let (from, until) = votes.map_or((0, 0), |votes| (votes.from.0, votes.until.0));
        let head: [u64; HEAD] = [
            FORMAT,
            token,
            segment,
            end.bytes,
            end.frames,
            round,
            proposer.into(),
            boot,
            trimmed.0,
            forgotten.0,
            from,
            until,
        ];
        let blocks = self.blocks.iter().flat_map(|block| {
            let Block { votes, offset, end, frame } = *block;
            [votes.from.0, votes.until.0, offset, end, frame]
        });
        let mut bytes: Vec<u8> =
            head.into_iter().chain(blocks).flat_map(u64::to_le_bytes).collect();
        let checksum = u64::from(crc32fast::hash(&bytes));
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], whose: Whose) -> Option<Summary> {
        let (content, checksum) = bytes.split_last_chunk()?;
        let is_whole = u64::from_le_bytes(*checksum) == u64::from(crc32fast::hash(content));
        if !is_whole && !bugs::has(Bug::TrustsBrokenSummaries) {
            return None;
        }
        let (numbers, rest) = content.as_chunks();
        let numbers: Vec<u64> = numbers.iter().map(|number| u64::from_le_bytes(*number)).collect();
        let (head, blocks) = numbers.split_first_chunk::<HEAD>()?;
        let [format, token, segment, bytes, frames, round, proposer, boot, ..] = *head;
        let [.., trimmed, forgotten, from, until] = *head;
        let is_of = Whose { token, segment, end: End { bytes, frames } } == whose;
        let (blocks, behind) = blocks.as_chunks::<BLOCK>();
        if format != FORMAT || !is_of || !rest.is_empty() || !behind.is_empty() {
            return None;
        }
        let run = |from: u64, until: u64| Run::new(Instance(from), Instance(until));
        let promised = Ballot { round, proposer: proposer.try_into().ok()?, boot };
        let votes = (from < until).then(|| run(from, until));
        let (trimmed, forgotten) = (Instance(trimmed), Instance(forgotten));
        let block = |numbers: &[u64; BLOCK]| {
            let [from, until, offset, end, frame] = *numbers;
            Block { votes: run(from, until), offset, end, frame }
        };
        let contents = Contents { promised, trimmed, forgotten, votes };
        Some(Summary { contents, blocks: blocks.iter().map(block).collect() })
    }
}

/// Removes the summary of a segment that was removed. One that stays does no harm.
pub fn remove_summary(disk: &mut impl Disk, number: u64) {
    let name = summary_name(number);
    match disk.remove(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            debug!("cannot remove {} ({error})", disk.path_of(&name));
        }
        Ok(()) | Err(_) => {}
    }
}
