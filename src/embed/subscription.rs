//! Entries out of the log, one after the other.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::feed::{Feed, Piece, Taken};
use super::node::{Node, NodeError};
use crate::clock::Clock;
use crate::protocol::entries::{Entries, EntryRef};
use crate::protocol::types::{Counted, Instance, Number, Session};

/// A place in the log, from 1. Not every place has an entry: a leader that takes over may leave
/// some empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl From<Instance> for Position {
    fn from(instance: Instance) -> Self {
        Position(instance.0)
    }
}

/// A decided value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Where it stands; above that of the entry before.
    pub position: Position,
    /// The session that proposed it.
    pub session: Session,
    /// Its number there: that of the proposer's ticket.
    pub number: Number,
    /// The value.
    pub value: Vec<u8>,
}

/// Why there is no next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoEntry {
    /// None came in time.
    TimedOut,
    /// The subscription's node has ended, and everything before that was read.
    Ended,
}

impl fmt::Display for NoEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoEntry::TimedOut => "no entry was delivered in time: wait again",
            NoEntry::Ended => "the node of this subscription has ended: subscribe again",
        })
    }
}

impl std::error::Error for NoEntry {}

/// All that is decided, from the beginning of the log: a blocking iterator, each entry once and in
/// order. It ends when its node does.
///
/// It may be read as slowly as one likes: the cluster does not wait, and neither does the node.
/// What is not read yet waits as the log of the node's learner, which keeps it in any case.
pub struct Subscription {
    node: Node,
    feed: Arc<Feed>,
    pieces: VecDeque<Piece>,
    /// The values of the piece at hand, in order.
    entries: VecDeque<Entry>,
    clock: Clock,
}

impl Subscription {
    pub(super) fn new(node: Node, feed: Arc<Feed>, clock: Clock) -> Self {
        Subscription { node, feed, pieces: VecDeque::new(), entries: VecDeque::new(), clock }
    }

    /// The next entry, waited for until it is there, or until `within` is over.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn next_timeout(&mut self, within: Duration) -> Result<Entry, NoEntry> {
        let start = self.clock.now();
        loop {
            if let Some(entry) = self.at_hand() {
                return Ok(entry);
            }
            let left = within.saturating_sub(self.clock.now().since(start));
            if self.feed.take(&mut self.pieces, Some(left)) == Taken::Ended {
                return Err(NoEntry::Ended);
            }
            if self.pieces.is_empty() && left.is_zero() {
                return Err(NoEntry::TimedOut);
            }
        }
    }

    fn at_hand(&mut self) -> Option<Entry> {
        while self.entries.is_empty() {
            let entries = &mut self.entries;
            each_value(&self.pieces.pop_front()?, |at, session, number, value| {
                let (position, value) = (at.into(), value.to_vec());
                entries.push_back(Entry { position, session, number, value });
            });
        }
        self.entries.pop_front()
    }

    /// What runs it.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// As [`Node::stop`] has them.
    pub fn stop(self, within: Duration) -> Result<(), NodeError> {
        self.node.stop(within)
    }
}

impl Iterator for Subscription {
    type Item = Entry;

    /// Waits for the next entry; none once the node has ended.
    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.at_hand() {
                return Some(entry);
            }
            if self.feed.take(&mut self.pieces, None) == Taken::Ended {
                return None;
            }
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Hands each value of `piece` to `take`, in order, with its name.
pub(super) fn each_value(piece: &Piece, mut take: impl FnMut(Instance, Session, Number, &[u8])) {
    match piece {
        Piece::Long(value) => {
            let origin = value.origin;
            let bytes = value.to_value();
            take(value.instance, origin.session, origin.number, bytes.as_bytes());
        }
        Piece::Values(page) => each_entry(page.from, &page.entries, take),
        Piece::Checkpoint(_) | Piece::Readable(_) | Piece::Restored(_) => {}
    }
}

fn each_entry(
    from: Instance,
    entries: &Entries,
    mut take: impl FnMut(Instance, Session, Number, &[u8]),
) {
    for (at, entry) in from.numbering(entries) {
        if let EntryRef::Value { origin, value } = entry {
            take(at, origin.session, origin.number, value);
        }
    }
}
