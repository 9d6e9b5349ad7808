//! How much a client sends of what it keeps, when not all of it may leave.

use super::{Asked, Client, REACH_MIN, State};
use crate::protocol::types::{Counted, Time};

impl Client {
    /// The last of what was sent was not answered, although what was sent before it was: there may
    /// be no room for it at the leader, and then there is no use in sending more than there is room
    /// for.
    pub(super) fn reach_less(&mut self) {
        let answered = self.answered.0.saturating_sub(self.front.0);
        let answered = usize::try_from(answered).unwrap_or(usize::MAX);
        let reach = (self.reach / 2).max(answered).max(REACH_MIN);
        self.reach = reach.min(self.settings.client_window);
    }

    /// How many bytes may leave of what the leader lacks before something that it has answered; the
    /// value at `first` of the window is the first that would leave.
    ///
    /// What the leader holds behind a gap is not final before the gap is filled. It counts as being
    /// in the network, and when the window has become less than that it would keep out the very
    /// values that it waits for. So for these only what is on its way counts, and not what is held
    /// or has been out for too long.
    pub(super) fn room_for_missed(&self, now: Time, first: usize) -> usize {
        if self.front.plus(first as u64) >= self.answered {
            return 0;
        }
        let timeout = self.timeout();
        let on_its_way = |asked: &Asked| match asked.state {
            State::Sent { at, .. } if now.since(at) < timeout => asked.piece.bytes().len(),
            State::Unsent { .. } | State::Sent { .. } | State::Received { .. } | State::Final => 0,
        };
        let on_their_way: usize = self.window.iter().map(on_its_way).sum();
        self.flow.window().saturating_sub(on_their_way)
    }
}
