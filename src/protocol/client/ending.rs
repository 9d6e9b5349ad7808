//! How a client ends: when it knows the fate of all its requests, or before.

use log::warn;

use super::memories::Memories;
use super::{Client, State};
use crate::protocol::actor::{Actor, Effects};
use crate::protocol::entries::Entries;
use crate::protocol::message::{Assignment, Message, Request};
use crate::protocol::types::{Counted, Number, Run};

impl Client {
    /// The same for a session that another process may go on with, so that the cluster must not
    /// take it for finished.
    #[must_use]
    pub fn resumable(self) -> Self {
        Client { takes_leave: false, ..self }
    }

    /// Whether the cluster has forgotten the session: any fate unknown by now stays unknown.
    pub fn is_forgotten(&self) -> bool {
        self.is_forgotten
    }

    /// Tells the leader once that nothing more is requested, so that the session does not take the
    /// place of others (`sessions`). Nothing depends on it, so there is no answer.
    pub(super) fn take_leave(&mut self, fx: &mut Effects) {
        let Some(opened) = self.opening.opened() else { return };
        if !self.takes_leave || !self.is_finished() || self.is_forgotten || self.tally.lost > 0 {
            return;
        }
        self.takes_leave = false;
        let (assignment, entries) = (self.assignment, Entries::noops(0));
        let (from, front) = (self.front, self.front);
        let request = Request { assignment, from, front, opened, entries };
        fx.send(self.leader_or_all(), Message::Request(request));
    }

    /// The session ends: no value of it from `number` on is delivered, and no other is requested.
    pub(super) fn end_session(&mut self, number: Number) {
        let from = self.positions(Run::new(number, number)).start;
        for asked in self.window.drain(from..) {
            if asked.state != State::Final {
                self.bytes -= asked.piece.length();
                self.flow.forget(asked.ticket);
                self.tally.lost += u64::from(asked.piece.is_end());
            }
        }
        self.memories.cut(self.front.plus(from as u64));
        self.tally.lost += u64::from(self.rest.take().is_some());
        (self.ended, self.held_up) = (true, None);
    }

    /// Nothing more of the session is delivered, and nobody knows how much was: any fate unknown by
    /// now stays unknown.
    pub(super) fn give_up(&mut self) {
        let last = self.window.iter().rposition(|asked| asked.state == State::Final);
        for (place, asked) in self.window.drain(..).enumerate() {
            self.flow.forget(asked.ticket);
            // A session's values are delivered in their order.
            let is_news = asked.state != State::Final && Some(place) < last;
            self.tally.delivered += u64::from(is_news && asked.piece.is_end());
        }
        (self.rest, self.bytes, self.memories) = (None, 0, Memories::default());
        (self.ended, self.held_up, self.is_forgotten) = (true, None, true);
    }

    /// A leader with a quorum holds nothing below `begins`, where everything is decided: it cannot
    /// tell who won these instances, and does not answer requests for them. The values may be
    /// decided, so they are not lost. Instances above are still requested.
    ///
    /// Another leader may hold more of the log, but it is not waited for: nobody knows whether
    /// there is one, and it stays true that nobody could tell the fate of these values.
    pub(super) fn give_up_trimmed(&mut self) {
        let first = self.begins;
        let Assignment::Client { first: begin } = self.assignment else { return };
        let end = Number::FIRST.plus(first.0.saturating_sub(begin.0)).max(self.front);
        let before = self.tally.trimmed;
        for asked in self.window.range_mut(..self.positions(Run::new(self.front, end)).end) {
            if asked.state == State::Final {
                continue;
            }
            self.bytes -= asked.piece.length();
            self.flow.forget(std::mem::take(&mut asked.ticket));
            asked.state = State::Final;
            self.tally.trimmed += 1;
        }
        if before == 0 && self.tally.trimmed > 0 {
            let instance = begin.plus(self.front.0 - 1);
            warn!(
                "asks for instance {instance}, and everything below {first} is removed: \
                 nobody can tell whether values that ask for instances below that were decided"
            );
        }
        self.pass_final();
    }
}
