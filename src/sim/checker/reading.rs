//! What must a read see? Everything that was chosen before it began.

use std::collections::{BTreeMap, VecDeque};

use super::{Checker, Violation};
use crate::protocol::types::{Counted, Instance, NodeId, Sender};

/// The reads of all learners.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The open reads of each run of each learner: the number, and the instance above everything
    /// chosen when it began.
    open: BTreeMap<Sender, VecDeque<(u64, Instance)>>,
    /// The instance below which each has handed everything out.
    passed: BTreeMap<Sender, Instance>,
    /// How many were served, and how many left to the log.
    served: usize,
    left: usize,
}

impl Checker {
    /// Read number `number` of `learner` begins.
    pub fn on_read(&mut self, learner: Sender, number: u64) {
        let chosen = self.chosen.last_key_value();
        let floor = chosen.map_or(Instance::FIRST, |(instance, _)| instance.next());
        self.reading.open.entry(learner).or_default().push_back((number, floor));
    }

    /// `learner` has handed out everything below `instance`.
    pub(super) fn on_passed(&mut self, learner: Sender, instance: Instance) {
        self.reading.passed.insert(learner, instance);
    }

    /// `learner` serves its reads up to number `last`.
    pub(super) fn on_readable(&mut self, learner: Sender, last: u64) -> Result<(), Violation> {
        let passed = self.reading.passed.get(&learner).copied().unwrap_or(Instance::FIRST);
        let ended = self.end_reads(learner, last);
        self.reading.served += ended.len();
        match ended.into_iter().find(|(_, floor)| *floor > passed) {
            None => Ok(()),
            Some((number, floor)) => Err(format!(
                "{} serves read {number} at {passed}, and everything below {floor} was chosen \
                 before it began",
                learner.node
            )),
        }
    }

    /// `learner` leaves its reads up to number `last` to the log.
    pub(super) fn on_unreadable(&mut self, learner: Sender, last: u64) {
        self.reading.left += self.end_reads(learner, last).len();
    }

    fn end_reads(&mut self, learner: Sender, last: u64) -> Vec<(u64, Instance)> {
        let open = self.reading.open.entry(learner).or_default();
        let count = open.partition_point(|(number, _)| *number <= last);
        open.drain(..count).collect()
    }

    /// How many reads were served, and how many left to the log.
    pub fn reads(&self) -> (usize, usize) {
        (self.reading.served, self.reading.left)
    }

    /// A learner among these that has begun a read and neither served it nor left it to the log.
    pub fn find_unread(&self, mut learners: impl Iterator<Item = Sender>) -> Option<NodeId> {
        let is_open =
            |learner: &Sender| self.reading.open.get(learner).is_some_and(|open| !open.is_empty());
        learners.find(is_open).map(|learner| learner.node)
    }
}
