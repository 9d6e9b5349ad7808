//! Closures that wait to look at a machine, until they have, or until their callers have gone.
//!
//! A caller holds a [`Waits`]. When that is dropped, as when the caller has waited for long enough,
//! the closure leaves the queue: nothing is kept, asked or proposed for callers that have gone.

use std::collections::BTreeMap;
use std::sync::Weak;

use super::desk::VALUES_MAX;
use super::subscription::Position;

/// Something to do with the machine between two commands.
pub(super) type Look<M> = Box<dyn FnOnce(&M, Position) + Send>;

/// What looks wait for, each kind in a queue of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The answer to a question.
    Answer,
    /// A place in the log.
    Place,
    /// Nothing.
    Now,
}

/// The number of the question or place that a look waits for, and how many came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    number: u64,
    count: u64,
}

/// Closures in the order of their numbers, up to a limit.
pub(super) struct Looks<M> {
    waiting: BTreeMap<Turn, Look<M>>,
    count: u64,
}

impl<M> Looks<M> {
    /// None.
    pub fn new() -> Self {
        Looks { waiting: BTreeMap::new(), count: 0 }
    }

    /// Takes one more in, or gives it back if there are too many.
    pub fn push(&mut self, number: u64, look: Look<M>) -> Result<Turn, Look<M>> {
        if self.waiting.len() >= VALUES_MAX {
            return Err(look);
        }
        self.count += 1;
        let turn = Turn { number, count: self.count };
        self.waiting.insert(turn, look);
        Ok(turn)
    }

    /// Takes those that wait for a number up to `last`.
    pub fn take(&mut self, last: u64) -> impl Iterator<Item = Look<M>> + use<M> {
        let later = self.waiting.split_off(&Turn { number: last + 1, count: 0 });
        std::mem::replace(&mut self.waiting, later).into_values()
    }

    /// Takes all of them.
    pub fn take_all(&mut self) -> impl Iterator<Item = Look<M>> + use<M> {
        std::mem::take(&mut self.waiting).into_values()
    }

    /// Takes out the one with this turn, if it still waits.
    pub fn remove(&mut self, turn: Turn) -> Option<Look<M>> {
        self.waiting.remove(&turn)
    }

    /// The first number that one waits for.
    pub fn first(&self) -> Option<u64> {
        self.waiting.keys().next().map(|turn| turn.number)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Where looks wait.
pub(super) trait Queue: Send + Sync {
    /// The caller that waits for this turn has gone.
    fn leave(&self, until: Until, turn: Turn);
}

/// What a caller holds as long as it waits for its look.
pub(super) struct Waits {
    queue: Weak<dyn Queue>,
    until: Until,
    turn: Turn,
}

impl Waits {
    /// For this turn in a queue.
    pub fn new(queue: Weak<dyn Queue>, until: Until, turn: Turn) -> Self {
        Waits { queue, until, turn }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.leave(self.until, self.turn);
        }
    }
}
