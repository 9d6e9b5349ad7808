//! Closing the holes that dead leaders left below leader-assigned values, with no-ops.

use log::debug;

use super::Leadership;
use crate::protocol::decided_log::DecidedLog;
use crate::protocol::entries::Entries;
use crate::protocol::segments::{Held, Page};
use crate::protocol::types::{Instance, Run};

/// How many gaps between decided or pending runs one turn examines for holes to close: bounded work
/// for one event.
const HOLES_MAX: usize = 16384;

/// How many holes are closed by one page: few enough that it finds room in flight soon.
const NOOPS_MAX: u64 = 1024;

impl Leadership {
    /// The holes below leader-assigned values have been open for a while: they are closed from the
    /// end of this turn on.
    pub fn on_close_holes(&mut self, log: &DecidedLog) {
        self.timers.close_holes = false;
        // Everything pending at the last look is decided by now, or still pending.
        let from = if self.closing.is_empty() { log.decided_below() } else { self.closing.from };
        self.closing = Run::new(from, self.closing.until.max(self.holes_until));
    }

    /// Closes holes in order, as whole runs: about a window of instances at a time, and no more
    /// until those are in flight.
    pub(super) fn close_holes(&mut self, log: &DecidedLog) {
        let is_waiting = |first: Instance| first < self.closing.from;
        if self.closing.is_empty() || self.waiting.first().is_some_and(is_waiting) {
            return;
        }
        let window = self.settings.leader_window as u64;
        let (first, mut closed, mut looks) = (self.closing.from, 0, 0);
        self.closing.from = first.max(log.decided_below());
        while closed < window && looks < HOLES_MAX {
            let holes = log.missing(self.closing.from, self.closing.until, 1);
            let Some(hole) = holes.first() else {
                self.closing.from = self.closing.until;
                break;
            };
            self.closing.from = match self.under_way_at(*hole) {
                Held::Entries(page) => page.run().until,
                Held::Nothing(until) => {
                    let count = Run::new(hole.from, until).len().min(NOOPS_MAX);
                    closed += count;
                    self.close(hole.from, count)
                }
            };
            looks += 1;
        }
        if closed > 0 {
            debug!("closes {closed} holes from {first} on");
        }
    }

    /// Has no-ops proposed for `count` instances from `from` on; returns the one behind them.
    fn close(&mut self, from: Instance, count: u64) -> Instance {
        let page = Page { from, entries: Entries::noops(count as u32) };
        let until = page.run().until;
        self.waiting.insert(page, ());
        until
    }
}
