//! What a segment holds, as far as it decides whether the segment may go.

use crate::bugs::{self, Bug};
use crate::protocol::actor::Record;
use crate::protocol::types::{Ballot, Counted, Instance};

/// What the records of one segment come to, or those of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The highest ballot that they promise. Accepting promises, too.
    pub promised: Ballot,
    /// The highest trim point.
    pub trimmed: Instance,
    /// The highest instance in which something is accepted.
    pub highest: Option<Instance>,
}

impl Contents {
    /// No record at all.
    pub const NONE: Contents =
        Contents { promised: Ballot::ZERO, trimmed: Instance::FIRST, highest: None };

    /// Takes in one more record.
    pub fn note(&mut self, record: &Record) {
        match record {
            Record::Promised(ballot) => self.promised = self.promised.max(*ballot),
            Record::Accepted { ballot, from, entries } => {
                self.promised = self.promised.max(*ballot);
                let last = (entries.len() as u64).checked_sub(1).map(|more| from.plus(more));
                self.highest = self.highest.max(last);
            }
            Record::Trimmed(below) => self.trimmed = self.trimmed.max(*below),
        }
    }

    /// Takes in the records of `other`.
    pub fn add(&mut self, other: Contents) {
        self.promised = self.promised.max(other.promised);
        self.trimmed = self.trimmed.max(other.trimmed);
        self.highest = self.highest.max(other.highest);
    }

    /// Whether nothing is lost with the records of `other`, as long as these are kept: these repeat
    /// the promise and the trim point, and all votes of the others lie below the trim point.
    pub fn stand_for(&self, other: &Contents) -> bool {
        let repeats_promise =
            self.promised >= other.promised || bugs::has(Bug::DropsPromiseWithSegment);
        repeats_promise && self.trimmed >= other.trimmed && other.highest < Some(self.trimmed)
    }
}
