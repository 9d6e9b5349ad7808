//! Where do the votes of a log stand, and how are they read back while the log is written?
//!
//! An acceptor drops old votes from its memory and keeps them on its disk. A learner that asks for
//! them is answered from here: a separate thread reads, so that no vote waits for it.
//!
//! The index is short: one block for each quarter of a MiB of the log, with the lowest and the
//! highest instance of its votes. That is 40 bytes, or a seven thousandth of the log. Votes are
//! stored nearly in the order of their instances, so few blocks concern any run of them.
//!
//! A reading of a run returns all votes in it that were stable when the reading began: all blocks
//! that concern the run are read, and a block that is unreadable or damaged makes the entire
//! reading fail. Half an answer would be a lie, for an answer also says where there was no vote
//! (`protocol::recall`).

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::Files;
use super::frame::Reader;
use super::log::segment_name;
use super::recovery::read_records;
use crate::bugs::{self, Bug};
use crate::protocol::actor::Record;
use crate::protocol::recall::{Found, Reading};
use crate::protocol::segments::{Page, Segments};
use crate::protocol::types::{Instance, Run};

/// How many bytes of the log one entry of the index covers, unless a frame is longer.
const BLOCK_BYTES: u64 = 1 << 18;

/// A reading ends at the end of a block, of the first this many at most.
const ENDS_MAX: usize = 32;

/// Consecutive frames of the log that hold votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The instances from their lowest to their highest vote.
    pub votes: Run<Instance>,
    /// Where the first frame begins, and the last one ends.
    pub offset: u64,
    /// See `offset`.
    pub end: u64,
    /// The number of the first frame.
    pub frame: u64,
}

/// The blocks of one segment.
#[derive(Clone, Debug)]
struct SegmentIndex {
    segment: u64,
    blocks: Vec<Block>,
}

/// One frame that is stable.
#[derive(Clone, Copy, Debug)]
pub struct StoredFrame {
    /// The number of its segment.
    pub segment: u64,
    /// Where it begins and ends there.
    pub offset: u64,
    /// See `offset`.
    pub end: u64,
    /// Its number.
    pub frame: u64,
    /// The instances from the lowest to the highest vote in it, if it has any.
    pub votes: Option<Run<Instance>>,
}

/// The index: the log writes it, and readers look things up in it.
#[derive(Clone, Debug, Default)]
pub struct VoteIndex {
    index: Arc<Mutex<Index>>,
}

#[derive(Clone, Debug)]
struct Index {
    /// In order. A reader copies the list, and waits for nobody.
    segments: Vec<Arc<SegmentIndex>>,
    /// Votes below it were removed, and nothing is known of them.
    trimmed: Instance,
}

impl Default for Index {
    fn default() -> Self {
        Index { segments: Vec::new(), trimmed: Instance::FIRST }
    }
}

impl VoteIndex {
    /// A frame is stable.
    pub fn note(&self, frame: StoredFrame) {
        let StoredFrame { segment, offset, end, frame, votes } = frame;
        let segments = &mut self.index.lock().segments;
        if segments.last().is_none_or(|last| last.segment != segment) {
            segments.push(Arc::new(SegmentIndex { segment, blocks: Vec::new() }));
        }
        let Some(last) = segments.last_mut() else { return };
        let blocks = &mut Arc::make_mut(last).blocks;
        match (blocks.last_mut(), votes) {
            (Some(block), _) if block.end == offset && end - block.offset <= BLOCK_BYTES => {
                block.end = end;
                block.votes = votes.map_or(block.votes, |votes| span(block.votes, votes));
            }
            (_, Some(votes)) => blocks.push(Block { votes, offset, end, frame }),
            (_, None) => {}
        }
    }

    /// Adds the blocks of the next segment, as its summary has them.
    pub fn restore(&self, segment: u64, blocks: Vec<Block>) {
        self.index.lock().segments.push(Arc::new(SegmentIndex { segment, blocks }));
    }

    /// The blocks of a segment.
    pub fn blocks_of(&self, segment: u64) -> Vec<Block> {
        let index = self.index.lock();
        let found = index.segments.iter().rev().find(|one| one.segment == segment);
        found.map_or_else(Vec::new, |found| found.blocks.clone())
    }

    /// The segments below this one, which have votes below `trimmed` only, are about to be removed.
    pub fn forget_below(&self, segment: u64, trimmed: Instance) {
        let mut index = self.index.lock();
        index.segments.retain(|one| one.segment >= segment);
        index.trimmed = index.trimmed.max(trimmed);
    }

    /// All blocks that may have votes for `run`, in the order of the log, with their segments; none
    /// if some were removed.
    fn blocks(&self, run: Run<Instance>) -> Option<Vec<(u64, Block)>> {
        let Index { segments, trimmed } = self.index.lock().clone();
        if run.from < trimmed && !bugs::has(Bug::ReadsRemovedAsEmpty) {
            return None;
        }
        let blocks = segments
            .iter()
            .flat_map(|segment| segment.blocks.iter().map(|block| (segment.segment, *block)));
        let is_wanted =
            |block: &Block| block.votes.from < run.until && run.from < block.votes.until;
        Some(blocks.filter(|(_, block)| is_wanted(block)).collect())
    }
}

/// The smallest run that has both.
pub fn span(one: Run<Instance>, other: Run<Instance>) -> Run<Instance> {
    Run::new(one.from.min(other.from), one.until.max(other.until))
}

/// Reads votes back.
pub struct VoteReader {
    index: VoteIndex,
    files: Box<dyn Files>,
    token: u64,
}

impl VoteReader {
    pub(super) fn new(index: VoteIndex, files: Box<dyn Files>, token: u64) -> Self {
        VoteReader { index, files, token }
    }

    /// The last votes in the run of `reading`, or in the beginning of it that covers about `bytes`
    /// of the log.
    ///
    /// # Errors
    ///
    /// When something cannot be read, or is not what was written. Then the answer is unknown.
    pub fn read(&mut self, reading: &Reading, bytes: u64) -> io::Result<Found> {
        let Some(mut blocks) = self.index.blocks(reading.run) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it was removed meanwhile"));
        };
        let until = reach(&blocks, reading.run, bytes);
        let run = Run::new(reading.run.from, until);
        blocks.retain(|(_, block)| block.votes.from < until);
        let mut votes = Segments::new();
        for (segment, block) in blocks {
            let read = self.read_block(segment, block, |record| {
                let Record::Accepted { ballot, from, entries } = record else { return };
                let page = Page { from, entries };
                let within = Run::new(from.max(run.from), page.run().until.min(run.until));
                // Later votes are of higher ballots, for lower ones are not answered.
                if within.from < within.until {
                    votes.insert(page.part(within), ballot);
                }
            });
            if !bugs::has(Bug::SkipsUnreadable) {
                read?;
            }
        }
        Ok(Found { run, votes })
    }

    fn read_block(
        &mut self,
        segment: u64,
        block: Block,
        mut take: impl FnMut(Record),
    ) -> io::Result<()> {
        let name = segment_name(segment);
        let reader = Reader::open(&mut self.files, &name, self.token, segment)?;
        let (mut reader, mut frame) = (reader.at(block.offset), block.frame);
        let damaged = |what: &str| {
            let sentence = format!("{name} is {what} behind byte {}", block.offset);
            io::Error::new(io::ErrorKind::InvalidData, sentence)
        };
        while reader.offset() < block.end {
            let payload = reader.next(frame)?.ok_or_else(|| damaged("damaged"))?;
            read_records(payload, &mut take).ok_or_else(|| damaged("not understood"))?;
            frame += 1;
        }
        Ok(())
    }
}

/// How far a reading of `run` goes, so that about `bytes` are read, but one block at least.
fn reach(blocks: &[(u64, Block)], run: Run<Instance>, bytes: u64) -> Instance {
    let mut ends: Vec<Instance> = blocks.iter().map(|(_, block)| block.votes.until).collect();
    if ends.len() <= 1 {
        return run.until;
    }
    if ends.len() > ENDS_MAX {
        ends.select_nth_unstable(ENDS_MAX);
        ends.truncate(ENDS_MAX);
    } else {
        ends.push(run.until);
    }
    ends.sort_unstable();
    let cost = |until: Instance| -> u64 {
        let read = blocks.iter().filter(|(_, block)| block.votes.from < until);
        read.map(|(_, block)| block.end - block.offset).sum()
    };
    let mut reached = ends[0];
    for end in ends {
        if cost(end) > bytes {
            break;
        }
        reached = end;
    }
    reached.min(run.until)
}

#[cfg(test)]
mod tests {
    use super::super::AcceptorStore;
    use super::super::identity::Identity;
    use super::super::log::{Log, LogOptions};
    use super::*;
    use crate::protocol::types::{
        AssignedBy, Ballot, Entry, NodeId, Number, Origin, Role, Session, Value,
    };
    use crate::sim::disk::SimDisk;

    fn open(disk: &SimDisk, segment_bytes: u64) -> Log<SimDisk> {
        let cluster = "test".to_owned();
        let (incarnation, token) = (7, 0x7172_6973_746f_7265);
        let mine = Identity { cluster, acceptor: 1, acceptor_count: 3, incarnation, token };
        let options = LogOptions { segment_bytes, ..LogOptions::DEFAULT };
        let opening = Log::open(disk.clone(), &mine, options).unwrap();
        opening.recover(|_| {}).unwrap().0
    }

    fn entry(instance: u64, round: u64, bytes: usize) -> Entry {
        let session = Session { client: 1, boot: round };
        let origin = Origin::new(session, Number(instance), AssignedBy::Client);
        Entry::Value { origin, value: Value::new(&vec![b'v'; bytes]) }
    }

    /// Votes for `count` instances from `from` on, in ballot `round`.
    fn vote(log: &mut Log<SimDisk>, round: u64, from: u64, count: u64, bytes: usize) {
        let entries = (from..from + count).map(|instance| entry(instance, round, bytes)).collect();
        let ballot = Ballot { round, proposer: 1, boot: 1 };
        log.append(&Record::Accepted { ballot, from: Instance(from), entries }).unwrap();
        log.flush().unwrap();
    }

    fn reading(from: u64, until: u64) -> Reading {
        Reading {
            asker: NodeId::new(Role::Learner, 1),
            again: false,
            run: Run::new(Instance(from), Instance(until)),
            known: Instance(until),
            trimmed: Instance::FIRST,
            has_entries: true,
        }
    }

    /// Reads a run: returns how far the reading went, and the round of each instance's vote.
    fn read(reader: &mut VoteReader, from: u64, until: u64) -> (u64, Vec<(u64, u64)>) {
        let found = reader.read(&reading(from, until), BLOCK_BYTES * 2).unwrap();
        let votes = found.votes.iter().map(|(instance, vote, ballot)| {
            assert_eq!(vote.to_entry().origin().unwrap().session.boot, ballot.round);
            (instance.0, ballot.round)
        });
        (found.run.until.0, votes.collect())
    }

    #[test]
    fn the_last_vote_is_read_wherever_it_stands() {
        let disk = SimDisk::new();
        let mut log = open(&disk, 2000);
        for from in 0..20 {
            vote(&mut log, 1, 1 + 10 * from, 8, 30);
        }
        vote(&mut log, 3, 15, 4, 30);
        let mut reader = log.vote_reader().unwrap().unwrap();
        let (until, votes) = read(&mut reader, 13, 23);
        assert_eq!(until, 23);
        let expected: Vec<(u64, u64)> =
            [(13, 1), (14, 1), (15, 3), (16, 3), (17, 3), (18, 3), (21, 1), (22, 1)].into();
        assert_eq!(votes, expected);
        // A log that is opened again has the same index, and goes on in it.
        drop(log);
        let mut log = open(&disk, 2000);
        vote(&mut log, 4, 21, 1, 30);
        let mut reader = log.vote_reader().unwrap().unwrap();
        assert_eq!(read(&mut reader, 17, 22), (22, vec![(17, 3), (18, 3), (21, 4)]));
        // Removed segments are no damage, and nothing is found there.
        log.append(&Record::Trimmed(Instance(120))).unwrap();
        log.flush().unwrap();
        (0..100).for_each(|_| log.reclaim().unwrap());
        assert!(disk.names().len() < 10, "{:?}", disk.names());
        assert!(reader.read(&reading(17, 300), BLOCK_BYTES).is_err());
        assert!((120..198).filter(|at| at % 10 != 9 && at % 10 != 0).all(|at| {
            let (_, votes) = read(&mut reader, at, at + 1);
            votes == [(at, 1)]
        }));
    }

    #[test]
    fn a_reading_is_bounded_and_goes_on_where_it_ended() {
        let disk = SimDisk::new();
        let mut log = open(&disk, 1 << 20);
        for from in 0..500 {
            vote(&mut log, 1, 1 + 10 * from, 10, 1000);
        }
        let mut reader = log.vote_reader().unwrap().unwrap();
        let (mut from, mut readings) = (1, 0);
        while from < 5001 {
            let (until, votes) = read(&mut reader, from, 5001);
            assert!(until > from && votes.len() as u64 == until - from);
            assert!(votes.len() <= 1100, "{} votes at once", votes.len());
            (from, readings) = (until, readings + 1);
        }
        assert!((5..40).contains(&readings), "{readings} readings");
    }

    #[test]
    fn what_cannot_be_read_is_no_answer() {
        let disk = SimDisk::new();
        let mut log = open(&disk, 1 << 20);
        (0..3).for_each(|from| vote(&mut log, 1, 1 + from, 1, 100));
        let mut reader = log.vote_reader().unwrap().unwrap();
        disk.set_broken(true);
        assert!(reader.read(&reading(1, 4), 1000).is_err());
        disk.set_broken(false);
        let length = disk.content("log-00000001").len();
        disk.tamper("log-00000001", |content| content[length - 40] ^= 1);
        let error = reader.read(&reading(1, 4), 1000).unwrap_err();
        assert_eq!(error.to_string(), "log-00000001 is damaged behind byte 0");
    }
}
