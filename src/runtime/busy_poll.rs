//! How long should a loop poll before it sleeps?
//!
//! Waking a sleeper costs tens of microseconds, so a loop that sleeps a moment too early makes its
//! peers wait longer, and then they fall asleep as well: a cluster would be fast or slow by chance.
//! So the loop polls longer as long as that would have avoided the sleep, as halt polling of
//! virtual machines does. It knows no event and reads no clock.

use std::time::Duration;

/// The longest window, as a multiple of the usual one.
const LONGEST: u32 = 8;

/// How long to poll, learned from the lengths of the waits.
#[derive(Clone, Copy, Debug)]
pub struct BusyPoll {
    usual: Duration,
    window: Duration,
}

impl BusyPoll {
    /// Polls for `usual` at first, and never for more than eight times as long. Zero never polls.
    pub fn new(usual: Duration) -> Self {
        BusyPoll { usual, window: usual }
    }

    /// How long to poll before going to sleep.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// Polling ended in a sleep; `waited` is the time from its start to the next event.
    pub fn slept(&mut self, waited: Duration) {
        let longest = self.usual * LONGEST;
        self.window = if waited <= longest { (self.window * 2).min(longest) } else { self.usual };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn it_polls_longer_while_that_would_have_been_enough() {
        let mut poll = BusyPoll::new(50 * US);
        let mut after = |waited| {
            poll.slept(waited * US);
            poll.window().as_micros()
        };
        assert_eq!([after(60), after(150), after(390), after(390)], [100, 200, 400, 400]);
        assert_eq!(after(401), 50);
        assert_eq!(after(20_000), 50);
    }

    #[test]
    fn zero_stays_zero() {
        let mut poll = BusyPoll::new(Duration::ZERO);
        poll.slept(Duration::ZERO);
        assert!(poll.window().is_zero());
    }
}
