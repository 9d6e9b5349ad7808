//! What is decided, as far as one process knows, and in which order it is delivered.
//!
//! Learners and proposers hold one each. A decided entry never changes. Delivery is in instance
//! order without a gap, and a leader-assigned value is delivered exactly once and in its client's
//! order: number n of a session only right after n - 1; every other occurrence is skipped. This is
//! a function of the log alone, so every process that holds the same prefix delivers the same.

use std::collections::BTreeMap;

use super::instance_map::InstanceMap;
use super::message::Progress;
use super::types::{AssignedBy, Counted, Entry, Instance, Number, Run, Session};
use crate::bugs::{self, Bug};

/// The decided entries and the position of delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DecidedLog {
    entries: InstanceMap<Entry>,
    /// Every instance below it is decided and was delivered or skipped.
    watermark: Instance,
    /// Above every decided instance.
    end: Instance,
    /// Above every decided leader-assigned value.
    leader_assigned_end: Instance,
    /// For each session with leader-assigned values, the number to be delivered next.
    sessions: BTreeMap<Session, Number>,
}

/// What became of a decision that was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It was not known before.
    New,
    /// It was known.
    Known,
    /// The instance is known to hold something else. What is known stays.
    Contradiction,
}

/// One step of delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// The entry's value is delivered here.
    Delivered,
    /// The entry is a leader-assigned value out of its order, or one that was delivered before.
    Skipped,
    /// The entry is a no-op.
    Noop,
}

impl DecidedLog {
    /// Nothing decided.
    pub fn new() -> Self {
        DecidedLog {
            entries: InstanceMap::new(),
            watermark: Instance::FIRST,
            end: Instance::FIRST,
            leader_assigned_end: Instance::FIRST,
            sessions: BTreeMap::new(),
        }
    }

    /// Takes a decision in. Call [`DecidedLog::deliver_next`] until it has no more afterwards.
    pub fn decide(&mut self, instance: Instance, entry: Entry) -> Decision {
        assert!(instance >= Instance::FIRST, "instances count from 1");
        if let Some(known) = self.entries.get(instance) {
            return if *known == entry { Decision::Known } else { Decision::Contradiction };
        }
        assert!(instance >= self.watermark, "below the watermark everything is decided");
        self.end = self.end.max(instance.next());
        if entry.is_leader_assigned() {
            self.leader_assigned_end = self.leader_assigned_end.max(instance.next());
        }
        self.entries.insert(instance, entry);
        Decision::New
    }

    /// Moves delivery one instance on, unless that instance is not decided yet.
    pub fn deliver_next(&mut self) -> Option<(Instance, &Entry, Occurrence)> {
        let mut instance = self.watermark;
        if bugs::has(Bug::DeliversOverGaps) {
            instance = self.entries.range(Run::new(instance, self.end)).next()?.0;
        }
        let entry = self.entries.get(instance)?;
        self.watermark = instance.next();
        let occurrence = match entry.origin() {
            None => Occurrence::Noop,
            Some(origin) if origin.assigned_by == AssignedBy::Client => Occurrence::Delivered,
            Some(origin) => {
                let next = self.sessions.entry(origin.session).or_insert(Number::FIRST);
                if origin.number == *next || bugs::has(Bug::DeliversTwice) {
                    *next = next.next();
                    Occurrence::Delivered
                } else {
                    Occurrence::Skipped
                }
            }
        };
        Some((instance, entry, occurrence))
    }

    /// What `instance` holds, once decided.
    pub fn get(&self, instance: Instance) -> Option<&Entry> {
        self.entries.get(instance)
    }

    /// The decided entries of `run`, in order.
    pub fn range(&self, run: Run<Instance>) -> impl Iterator<Item = (Instance, &Entry)> {
        self.entries.range(run)
    }

    /// Every instance below it is decided.
    pub fn watermark(&self) -> Instance {
        self.watermark
    }

    /// Above every decided instance.
    pub fn end(&self) -> Instance {
        self.end
    }

    /// Above every decided leader-assigned value.
    pub fn leader_assigned_end(&self) -> Instance {
        self.leader_assigned_end
    }

    /// The number of `session` to be delivered next.
    pub fn next_number(&self, session: Session) -> Number {
        self.sessions.get(&session).copied().unwrap_or(Number::FIRST)
    }

    /// How much is held here.
    pub fn progress(&self) -> Progress {
        Progress { watermark: self.watermark, decided: self.entries.len() as u64, end: self.end }
    }

    /// Up to `limit` runs of undecided instances from `from` and below `until`, in order.
    pub fn missing(&self, from: Instance, until: Instance, limit: usize) -> Vec<Run<Instance>> {
        let mut holes = Vec::new();
        let mut from = from.max(self.watermark);
        let decided = self.entries.range(Run::new(from, until));
        for (instance, _) in decided {
            if holes.len() == limit {
                return holes;
            }
            if from < instance {
                holes.push(Run::new(from, instance));
            }
            from = instance.next();
        }
        if from < until && holes.len() < limit {
            holes.push(Run::new(from, until));
        }
        holes
    }
}

impl Default for DecidedLog {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::{Origin, Value};

    fn entry(client: u32, number: u64, assigned_by: AssignedBy) -> Entry {
        let session = Session { client, boot: 0 };
        let origin = Origin { session, number: Number(number), assigned_by };
        Entry::Value { origin, value: Value::new(b"v") }
    }

    fn delivered(log: &mut DecidedLog) -> Vec<(u64, Occurrence)> {
        std::iter::from_fn(|| log.deliver_next().map(|(instance, _, what)| (instance.0, what)))
            .collect()
    }

    /// "Paxos Made Simple", 2.1: only a single value is chosen; what is decided stays.
    #[test]
    fn a_decided_entry_never_changes() {
        let mut log = DecidedLog::new();
        let first = entry(1, 1, AssignedBy::Client);
        assert_eq!(log.decide(Instance(1), first.clone()), Decision::New);
        assert_eq!(log.decide(Instance(1), first.clone()), Decision::Known);
        assert_eq!(log.decide(Instance(1), Entry::Noop), Decision::Contradiction);
        assert_eq!(log.get(Instance(1)), Some(&first));
    }

    #[test]
    fn delivery_waits_for_holes() {
        let mut log = DecidedLog::new();
        log.decide(Instance(2), entry(1, 2, AssignedBy::Client));
        assert_eq!(delivered(&mut log), []);
        log.decide(Instance(1), Entry::Noop);
        assert_eq!(delivered(&mut log), [(1, Occurrence::Noop), (2, Occurrence::Delivered)]);
    }

    #[test]
    fn leader_assigned_values_are_delivered_once_and_in_their_order() {
        let mut log = DecidedLog::new();
        for (instance, number) in [(1, 1), (2, 3), (3, 1), (4, 2), (5, 3)] {
            log.decide(Instance(instance), entry(7, number, AssignedBy::Leader));
        }
        use Occurrence::{Delivered, Skipped};
        assert_eq!(
            delivered(&mut log),
            [(1, Delivered), (2, Skipped), (3, Skipped), (4, Delivered), (5, Delivered)]
        );
        assert_eq!(log.next_number(Session { client: 7, boot: 0 }), Number(4));
    }

    #[test]
    fn what_is_missing_is_named_in_runs() {
        let mut log = DecidedLog::new();
        for instance in [1, 4, 5, 9] {
            log.decide(Instance(instance), Entry::Noop);
        }
        delivered(&mut log);
        let named = |runs: Vec<Run<Instance>>| runs.iter().map(Run::to_string).collect::<Vec<_>>();
        assert_eq!(named(log.missing(Instance(1), Instance(12), 9)), ["2..4", "6..9", "10..12"]);
        assert_eq!(named(log.missing(Instance(1), Instance(12), 1)), ["2..4"]);
        assert_eq!(named(log.missing(Instance(1), Instance(3), 9)), ["2..3"]);
        assert_eq!(named(log.missing(Instance(4), Instance(12), 9)), ["6..9", "10..12"]);
    }
}
