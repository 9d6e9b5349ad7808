//! Which time a leader gives to the values it places.
//!
//! The time of the log never goes back, because an entry that says an earlier time counts as having
//! the time of the log before it (`decided_log`). A leader sees to it that this is seldom needed:
//! it gives no time lower than one that was delivered, or than its own last one, whatever the
//! host's clock says. It cannot always avoid it: an entry that one acceptor alone has accepted may
//! be proposed again above values that other leaders have placed since, and an entry that may be
//! chosen must not be changed.

use log::warn;

use crate::protocol::types::LogTime;

/// A calendar this far behind the log is a reason to check the hosts' clocks.
const FAR_BEHIND_MS: u64 = 3_600_000;

/// What the host's calendar says, and the time that was given last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Times {
    calendar: LogTime,
    last: LogTime,
    /// Whether it was logged that the calendar is far behind.
    warned: bool,
}

impl Times {
    /// The host's calendar says `calendar`; the time of the log is `delivered`.
    pub fn on_calendar(&mut self, calendar: LogTime, delivered: LogTime) {
        self.calendar = calendar;
        let behind_ms = delivered.0.saturating_sub(calendar.0);
        if behind_ms > FAR_BEHIND_MS && !self.warned {
            self.warned = true;
            let hours = behind_ms / 3_600_000;
            warn!(
                "the calendar of this host is {hours} h behind the time of the log: set the clocks \
                 of all hosts of proposers right; until it has caught up that time stands still, \
                 and a `retain` in days counts only while this proposer runs"
            );
        }
    }

    /// The time for values placed now; `delivered` is the time of the log as far as it is
    /// delivered.
    pub fn next(&mut self, delivered: LogTime) -> LogTime {
        self.last = self.last.max(delivered).max(self.calendar);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_never_go_back() {
        let mut times = Times::default();
        let mut next = |calendar, delivered| {
            times.on_calendar(LogTime(calendar), LogTime(delivered));
            times.next(LogTime(delivered)).0
        };
        assert_eq!(next(5, 3), 5, "the calendar's");
        assert_eq!(next(4, 3), 5, "it was set back");
        assert_eq!(next(4, 9), 9, "another leader's was ahead");
        assert_eq!(next(8, 5), 9);
        assert_eq!(next(10, 9), 10);
    }

    #[test]
    fn a_calendar_that_is_far_behind_is_noticed() {
        let warns = |behind: u64| {
            let mut times = Times::default();
            times.on_calendar(LogTime(9), LogTime(9 + behind));
            times.warned
        };
        assert!(!warns(0) && !warns(3_600_000) && warns(3_600_001));
    }
}
