//! Where the bytes of a client's values are, for as long as they may be asked for again.
//!
//! Values that came together lie in one piece of memory. It is held once for all of them, and goes
//! when the front of the window has passed the last of them. So values that are final behind one
//! that is not, which happens with client-assigned instances alone, keep their memory until then:
//! at most a datagram for each value of the window.

use std::collections::VecDeque;

use super::{Client, Requested, State};
use crate::protocol::cutting::Piece;
use crate::protocol::flow::Ticket;
use crate::protocol::types::{Counted, Number, Value};

impl Client {
    /// Takes as much of the last value into the window as there is room for.
    pub(super) fn fill_window(&mut self) {
        while self.window_has_room()
            && let Some(rest) = &mut self.rest
        {
            let (piece, is_last) = rest.cut();
            let memory = rest.memory().clone();
            if is_last {
                self.rest = None;
            }
            self.ask(piece, &memory);
        }
    }

    pub(super) fn window_has_room(&self) -> bool {
        self.window.len() < self.settings.client_window
            && (self.bytes == 0 || self.bytes < self.settings.window_bytes)
    }

    /// Puts what was cut from `memory` into the window.
    pub(super) fn ask(&mut self, piece: Piece, memory: &Value) {
        self.bytes += piece.length();
        let (state, ticket) = (State::Unsent { retries: 0 }, Ticket::default());
        self.window.push_back(Requested { piece, state, ticket });
        self.memories.add(self.front.plus(self.window.len() as u64), memory);
    }
}

/// Pieces of memory, in the order of the numbers of what lies in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memories {
    held: VecDeque<Memory>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Memory {
    /// What is below it, and not in an earlier one, lies here.
    until: Number,
    bytes: Value,
}

impl Memories {
    /// The number in front of `until`, which follows the last one, is of something in `memory`.
    pub fn add(&mut self, until: Number, memory: &Value) {
        match self.held.back_mut() {
            Some(last) if are_same(&last.bytes, memory) => last.until = until,
            _ => self.held.push_back(Memory { until, bytes: memory.clone() }),
        }
    }

    /// Nothing below `front` is asked for any more.
    pub fn pass(&mut self, front: Number) {
        while self.held.front().is_some_and(|memory| memory.until <= front) {
            self.held.pop_front();
        }
    }

    /// Nothing from `end` on is asked for any more.
    pub fn cut(&mut self, end: Number) {
        let whole = self.held.partition_point(|memory| memory.until < end);
        self.held.truncate(whole + 1);
        if let Some(last) = self.held.back_mut() {
            last.until = last.until.min(end);
        }
    }

    /// For a look at some of them, in the order of their numbers, from `first` on.
    pub fn in_order<'a>(&'a self, first: Number) -> impl FnMut(Number) -> &'a Value {
        let mut place = self.held.partition_point(|memory| memory.until <= first);
        move |number| {
            while self.held[place].until <= number {
                place += 1;
            }
            &self.held[place].bytes
        }
    }
}

/// Whether both are one piece of memory: a look at where it is, and none at the bytes.
fn are_same(one: &Value, other: &Value) -> bool {
    std::ptr::eq(one.as_bytes(), other.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_held_once_and_as_long_as_something_in_it_is_asked_for() {
        let [first, second] = [b"abc", b"def"].map(|bytes| Value::new(bytes));
        let held = |memories: &Memories| memories.held.len();
        let mut memories = Memories::default();
        (2..=4).for_each(|until| memories.add(Number(until), &first));
        (5..=6).for_each(|until| memories.add(Number(until), &second));
        assert_eq!(held(&memories), 2);
        let mut memory_of = memories.in_order(Number(1));
        for (number, memory) in [(1, &first), (3, &first), (4, &second), (5, &second)] {
            assert!(are_same(memory_of(Number(number)), memory), "{number}");
        }
        drop(memory_of);
        assert!(are_same(memories.in_order(Number(4))(Number(4)), &second));
        let mut ended = memories.clone();
        ended.cut(Number(4));
        assert_eq!(held(&ended), 1);
        ended.pass(Number(4));
        assert_eq!(held(&ended), 0);
        let mut ended = memories.clone();
        ended.cut(Number(5));
        assert_eq!((held(&ended), ended.held[1].until), (2, Number(5)));
        memories.pass(Number(3));
        assert_eq!(held(&memories), 2);
        memories.pass(Number(4));
        assert_eq!(held(&memories), 1);
        // The same bytes in another place are not the same memory.
        memories.add(Number(7), &Value::new(b"def"));
        assert_eq!(held(&memories), 2);
    }
}
