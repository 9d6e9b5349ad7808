//! How long should a loop poll before it sleeps?
//!
//! Waking a sleeper costs tens of microseconds, so a loop that sleeps a moment too early makes its
//! peers wait longer, and then they fall asleep as well: a cluster would be fast or slow by chance.
//! So the loop polls longer as long as that would have avoided the sleep, as halt polling of
//! virtual machines does, and not at all after polling in vain several times in a row. Polling in
//! vain takes the processor from others: where a thousand clients of a host wait for their turns,
//! those that poll keep the leader from its work. It knows no event and reads no clock.

use std::time::Duration;

/// The longest window, as a multiple of the usual one.
const LONGEST: u32 = 8;

/// After this many sleeps in a row that even the longest window would not have avoided, it does not
/// poll.
const VAIN: u32 = 8;

/// How long to poll, learned from the lengths of the waits.
#[derive(Clone, Copy, Debug)]
pub struct BusyPoll {
    usual: Duration,
    window: Duration,
    /// Sleeps in a row that were too long to be avoided.
    vain: u32,
}

impl BusyPoll {
    /// Polls for `usual` at first, and never for more than eight times as long. Zero never polls.
    pub fn new(usual: Duration) -> Self {
        BusyPoll { usual, window: usual, vain: 0 }
    }

    /// How long to poll before going to sleep.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// Polling has avoided a sleep.
    pub fn found(&mut self) {
        self.vain = 0;
    }

    /// Polling ended in a sleep; `waited` is the time from its start to the next event.
    pub fn slept(&mut self, waited: Duration) {
        let longest = self.usual * LONGEST;
        if waited <= longest {
            (self.window, self.vain) = ((self.window * 2).clamp(self.usual, longest), 0);
            return;
        }
        self.vain = (self.vain + 1).min(VAIN);
        self.window = if self.vain < VAIN { self.usual } else { Duration::ZERO };
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
    fn it_does_not_poll_once_that_was_often_in_vain() {
        let mut poll = BusyPoll::new(50 * US);
        let sleep = |poll: &mut BusyPoll| (1..VAIN).for_each(|_| poll.slept(20_000 * US));
        sleep(&mut poll);
        assert_eq!(poll.window(), 50 * US);
        poll.found();
        sleep(&mut poll);
        assert_eq!(poll.window(), 50 * US);
        poll.slept(401 * US);
        assert!(poll.window().is_zero());
        poll.slept(400 * US);
        assert_eq!(poll.window(), 50 * US, "it would have been enough");
    }

    #[test]
    fn zero_stays_zero() {
        let mut poll = BusyPoll::new(Duration::ZERO);
        poll.slept(Duration::ZERO);
        assert!(poll.window().is_zero());
    }
}
