//! The future events of a simulated world, in order of time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::rc::Rc;

use super::record::PassageId;
use crate::protocol::types::{NodeId, Time};

/// Something that happens at one moment.
#[derive(Debug)]
pub enum Event {
    /// A datagram reaches a node.
    Arrive {
        /// The node.
        to: NodeId,
        /// Its bytes.
        datagram: Rc<[u8]>,
        /// Which copy of it, in the record.
        copy: PassageId,
    },
    /// A datagram reaches the link of a node.
    Enter {
        /// The node.
        to: NodeId,
        /// Its bytes.
        datagram: Rc<[u8]>,
        /// Which copy of it, in the record.
        copy: PassageId,
    },
    /// A node's loop takes a turn.
    Turn {
        /// The node.
        node: NodeId,
    },
}

/// Events that are due; of two at one time the one that was scheduled first comes first.
#[derive(Debug, Default)]
pub struct Agenda {
    events: BinaryHeap<Scheduled>,
    sequence: u64,
}

#[derive(Debug)]
struct Scheduled {
    time: Time,
    sequence: u64,
    event: Event,
}

impl Agenda {
    /// Schedules an event.
    pub fn schedule(&mut self, time: Time, event: Event) {
        self.sequence += 1;
        self.events.push(Scheduled { time, sequence: self.sequence, event });
    }

    /// When the next event is due.
    pub fn next_time(&self) -> Option<Time> {
        self.events.peek().map(|next| next.time)
    }

    /// The next event.
    pub fn pop(&mut self) -> Option<(Time, Event)> {
        self.events.pop().map(|Scheduled { time, event, .. }| (time, event))
    }
}

impl Scheduled {
    fn key(&self) -> (Time, u64) {
        (self.time, self.sequence)
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    /// The earliest is the greatest, for the heap gives the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}
