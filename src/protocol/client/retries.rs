//! When does a client repeat requests that were not answered?

use std::time::Duration;

use super::{Client, State};
use crate::protocol::retry::stretch;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Counted, Run, Time};

impl Client {
    pub(super) fn timeout(&self) -> Duration {
        let Settings { retry_request, retry_least, retry_max, .. } = self.settings;
        self.round_trip.timeout(retry_request, retry_least, retry_max)
    }

    /// How long to wait for an answer: values that the leader has are less urgent.
    pub(super) fn patience(&self, state: State) -> Duration {
        let (timeout, retry_max) = (self.timeout(), self.settings.retry_max);
        match state {
            State::Sent { retries, .. } => stretch(timeout, retries, retry_max),
            State::Received { retries, .. } => stretch(timeout * 4, retries, retry_max),
            State::Unsent { .. } | State::Final => Duration::ZERO,
        }
    }

    /// When something must be sent again, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Time> {
        let asks = self.opening.opened().is_none();
        let opening = self.opening.deadline(self.timeout(), self.settings.retry_max);
        [self.deadlines.first(), opening.filter(|_| asks)].into_iter().flatten().min()
    }

    /// Repeats requests that were not answered in time.
    pub(super) fn on_retry_request(&mut self, now: Time) {
        self.armed = None;
        let (mut has_missed, mut lacks_room, mut is_silent) = (false, false, false);
        for due in self.deadlines.take_due(now) {
            for position in self.positions(due) {
                let number = self.front.plus(position as u64);
                let state = self.window[position].state;
                let (State::Sent { at, retries } | State::Received { at, retries }) = state else {
                    continue;
                };
                // It may have been sent again, or received, since the deadline was set.
                let deadline = at + self.patience(state);
                if deadline > now {
                    self.deadlines.add(deadline, [Run::new(number, number.next())]);
                    continue;
                }
                // The leader says soon what it has received. If it has answered earlier values but
                // not this one, it has no room for it, or the value was lost: that says nothing
                // about how long answers take.
                let is_late = now.since(at) > self.settings.request_ack_delay * 2;
                if self.window[position].piece.is_first() && matches!(state, State::Sent { .. }) {
                    // There may be more long values under way than the leader lets in.
                    is_silent |= Some(at) > self.heard;
                    self.held_up = self.held_up.map_or(Some(number), |held| Some(held.min(number)));
                    self.send_again(position, retries.saturating_add(1));
                } else if is_late && number >= self.answered && Some(at) <= self.heard {
                    lacks_room = true;
                    self.send_again(position, retries.max(1));
                } else {
                    has_missed = true;
                    is_silent |= matches!(state, State::Sent { .. });
                    self.send_again(position, retries.saturating_add(1));
                }
            }
        }
        let timeout = self.timeout();
        if is_silent {
            self.flow.on_silence(now, timeout);
        }
        if has_missed {
            self.round_trip.miss(now, timeout);
        }
        if lacks_room {
            self.reach_less();
        }
    }
}
