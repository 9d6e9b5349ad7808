//! How a client's session ends before all that it asked for is decided.

use super::{Client, State};
use crate::protocol::types::{Number, Run};

impl Client {
    /// The session ends: no value of it from `number` on is delivered, and no other is asked for.
    pub(super) fn end_session(&mut self, number: Number) {
        let from = self.positions(Run::new(number, number)).start;
        for asked in self.window.drain(from..) {
            if asked.state != State::Final {
                self.bytes -= asked.piece.bytes().len();
                self.flow.forget(asked.ticket);
                self.tally.lost += u64::from(asked.piece.is_end());
            }
        }
        self.tally.lost += u64::from(self.rest.take().is_some());
        (self.ended, self.held_up) = (true, None);
    }

    /// Nothing more of the session is delivered, and nobody knows how much was: what is not known
    /// to be decided never will be.
    pub(super) fn give_up(&mut self) {
        let last = self.window.iter().rposition(|asked| asked.state == State::Final);
        for (place, asked) in self.window.drain(..).enumerate() {
            self.flow.forget(asked.ticket);
            // A session's values are delivered in their order.
            let is_news = asked.state != State::Final && Some(place) < last;
            self.tally.delivered += u64::from(is_news && asked.piece.is_end());
        }
        (self.rest, self.bytes) = (None, 0);
        (self.ended, self.held_up, self.is_forgotten) = (true, None, true);
    }
}
