//! How much of its window may a client send, when not all of it may leave?

use super::{Client, REACH_MIN, Requested, State};
use crate::protocol::types::{Counted, Time};

impl Client {
    /// The last value sent was not answered, although earlier ones were: the leader may have no
    /// room for it, and then there is no use in sending more than there is room for.
    pub(super) fn reach_less(&mut self) {
        let answered = self.answered.0.saturating_sub(self.front.0);
        let answered = usize::try_from(answered).unwrap_or(usize::MAX);
        let reach = (self.reach / 2).max(answered).max(REACH_MIN);
        self.reach = reach.min(self.settings.client_window);
    }

    /// How many bytes may leave of values that the leader lacks in front of one that it has
    /// answered; the value at position `first` of the window would leave first.
    ///
    /// Values that the leader holds behind a gap are not final before the gap is filled. They count
    /// as being in the network, and once the window is smaller than that, they would keep out the
    /// very values that they wait for. So for these only what is on its way counts, and not what is
    /// held or has been out for too long.
    pub(super) fn room_for_missed(&self, now: Time, first: usize) -> usize {
        if self.front.plus(first as u64) >= self.answered {
            return 0;
        }
        let timeout = self.timeout();
        let on_its_way = |asked: &Requested| match asked.state {
            State::Sent { at, .. } if now.since(at) < timeout => asked.piece.length(),
            State::Unsent { .. } | State::Sent { .. } | State::Received { .. } | State::Final => 0,
        };
        let on_their_way: usize = self.window.iter().map(on_its_way).sum();
        self.flow.window().saturating_sub(on_their_way)
    }
}
