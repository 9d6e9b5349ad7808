//! The only reader of the monotonic clock. Everybody else is told what time it is.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::protocol::types::Time;

/// Microseconds since the process started. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now, at [`Time::ZERO`].
    pub fn start() -> Self {
        Clock { start: Instant::now() }
    }

    /// The time. Never earlier than it was before.
    pub fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// The same moment for a system call that waits; none when it is too far off to be told.
    pub fn instant(&self, time: Time) -> Option<Instant> {
        self.start.checked_add(Duration::from_micros(time.0))
    }
}

/// The time since this host started, which all of its processes read alike: for what they do at the
/// same moment without a word between them.
pub fn of_host() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), 0)
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Lets one thing through every second and counts the rest: for what would flood a log.
#[derive(Debug, Default)]
pub struct Pace {
    next: Option<Time>,
    held_back: u64,
}

impl Pace {
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Whether it may be said now; if so, how often it was not said since the last time.
    pub fn allows(&mut self, now: Time) -> Option<u64> {
        if self.next.is_some_and(|next| now < next) {
            self.held_back += 1;
            return None;
        }
        self.next = Some(now + Self::INTERVAL);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_and_its_instant_agree() {
        let clock = Clock::start();
        let now = clock.now();
        let instant = clock.instant(now).unwrap();
        assert!(instant <= Instant::now());
        assert_eq!(clock.instant(Time(now.0 + 7)).unwrap() - instant, Duration::from_micros(7));
    }

    #[test]
    fn a_flood_is_let_through_once_a_second_and_counted() {
        let mut pace = Pace::default();
        assert_eq!(pace.allows(Time(5)), Some(0));
        assert_eq!(pace.allows(Time(6)), None);
        assert_eq!(pace.allows(Time(1_000_004)), None);
        assert_eq!(pace.allows(Time(1_000_005)), Some(2));
        assert_eq!(pace.allows(Time(9_000_000)), Some(0));
    }
}
