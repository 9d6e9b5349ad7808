//! How much a leader has room for: in the network, for what waits, and on the acceptors' disks.

use super::Leadership;
use crate::protocol::entries::Entries;

/// How many windows of values may wait for a decision, besides those on the way.
const GRANT_WINDOWS: usize = 2;

impl Leadership {
    /// Stops taking new values, or starts again. Returns whether that is a change.
    pub fn set_full(&mut self, is_full: bool) -> bool {
        if is_full && !self.is_full {
            // Acceptors whose disks are full vote for it once they hear that it is the last.
            self.phase2.expedite();
        }
        self.phase2.set_full(is_full);
        self.notes.set_full(is_full);
        std::mem::replace(&mut self.is_full, is_full) != is_full
    }

    /// Whether nothing new is taken.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// How many bytes a session may have waiting for a decision: its share of twice what the
    /// network carries at a time, so that there is always something to send when there is room.
    pub(super) fn grant(&self) -> usize {
        self.phase2.window() * GRANT_WINDOWS / self.queues.sessions().max(1)
    }

    /// How many of `entries` there is room for in flight: all, or none unless nothing is in flight.
    pub(super) fn room_for(&self, entries: &Entries) -> usize {
        let (window, window_bytes) = (self.settings.leader_window, self.settings.window_bytes);
        let in_flight = self.under_way();
        let has_room = in_flight + entries.len() <= window && self.phase2.has_room(entries.bytes());
        match in_flight {
            _ if has_room => entries.len(),
            0 => entries.prefix(window, window_bytes).len().max(1),
            _ => 0,
        }
    }

    /// Checks that everything that must be sent has left or will leave. For the simulator.
    pub fn check(&self) -> Result<(), String> {
        let is_waited_for = self.no_timeouts || self.timers.retry_accept.is_some();
        if self.phase2.next_deadline(&self.settings).is_some() && !is_waited_for {
            return Err("something is out, and no timer is set".to_owned());
        }
        self.phase2.check()
    }
}
