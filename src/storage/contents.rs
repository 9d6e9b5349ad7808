//! What does a segment hold that decides whether it may be removed?

use super::index::span;
use crate::bugs::{self, Bug};
use crate::protocol::actor::Record;
use crate::protocol::types::{Ballot, Counted, Instance, Run};

/// A summary of the records of one segment, or of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The highest ballot that they promise; accepting implies promising.
    pub promised: Ballot,
    /// The highest trim point.
    pub trimmed: Instance,
    /// The highest point below which votes need not be in memory.
    pub forgotten: Instance,
    /// The instances from the lowest to the highest in which something is accepted.
    pub votes: Option<Run<Instance>>,
}

impl Contents {
    /// No record at all.
    pub const NONE: Contents = Contents {
        promised: Ballot::ZERO,
        trimmed: Instance::FIRST,
        forgotten: Instance::FIRST,
        votes: None,
    };

    /// Takes in one more record.
    pub fn note(&mut self, record: &Record) {
        match record {
            Record::Promised(ballot) => self.promised = self.promised.max(*ballot),
            Record::Accepted { ballot, from, entries } => {
                self.promised = self.promised.max(*ballot);
                let until = from.plus(entries.len() as u64);
                self.add_votes((*from < until).then(|| Run::new(*from, until)));
            }
            Record::Trimmed(below) => self.trimmed = self.trimmed.max(*below),
            Record::Forgotten(below) => self.forgotten = self.forgotten.max(*below),
        }
    }

    /// Records that replace everything but the votes.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let Contents { promised, trimmed, forgotten, .. } = *self;
        let promised = (promised > Ballot::ZERO).then_some(Record::Promised(promised));
        let trimmed = (trimmed > Instance::FIRST).then_some(Record::Trimmed(trimmed));
        let forgotten = (forgotten > Instance::FIRST).then_some(Record::Forgotten(forgotten));
        [promised, trimmed, forgotten].into_iter().flatten()
    }

    /// Takes in the records of `other`.
    pub fn add(&mut self, other: Contents) {
        self.promised = self.promised.max(other.promised);
        self.trimmed = self.trimmed.max(other.trimmed);
        self.forgotten = self.forgotten.max(other.forgotten);
        self.add_votes(other.votes);
    }

    fn add_votes(&mut self, others: Option<Run<Instance>>) {
        self.votes = match (self.votes, others) {
            (Some(votes), Some(others)) => Some(span(votes, others)),
            (votes, others) => votes.or(others),
        };
    }

    /// Whether nothing is lost by removing the records of `other` while these are kept: these
    /// repeat the promise and the points, and all votes of the others lie below the trim point.
    pub fn stand_for(&self, other: &Contents) -> bool {
        let repeats_promise =
            self.promised >= other.promised || bugs::has(Bug::DropsPromiseWithSegment);
        let repeats_points = self.trimmed >= other.trimmed && self.forgotten >= other.forgotten;
        repeats_promise
            && repeats_points
            && other.votes.is_none_or(|votes| votes.until <= self.trimmed)
    }
}
