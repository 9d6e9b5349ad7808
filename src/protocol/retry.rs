//! When to try again: exponential back-off, and a time-out that follows the round trips.

use std::time::Duration;

use super::types::Time;

/// The wait after `tries` tries in a row without an answer: `first` doubled each time, at most
/// `longest`.
pub fn backoff(first: Duration, tries: u32, longest: Duration) -> Duration {
    let factor = 1u32 << tries.min(16);
    first.saturating_mul(factor).min(longest).max(first)
}

/// Smoothed round-trip times, so that load is not taken for loss (RFC 6298, section 2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RoundTrip {
    smoothed: Duration,
    variation: Duration,
}

impl RoundTrip {
    /// Takes a measurement into account. Only of what was sent once: the answer to something sent
    /// twice tells nothing (Karn's rule, RFC 6298 section 3).
    pub fn measure(&mut self, sent: Time, answered: Time) {
        let sample = answered.since(sent);
        if self.smoothed.is_zero() {
            self.smoothed = sample;
            self.variation = sample / 2;
            return;
        }
        let error = sample.abs_diff(self.smoothed);
        self.variation = (self.variation * 3 + error) / 4;
        self.smoothed = (self.smoothed * 7 + sample) / 8;
    }

    /// How long an answer may take before it is missed: at least `least`, and at most `most`, for
    /// the longest samples are those of a process that slept.
    pub fn timeout(&self, least: Duration, most: Duration) -> Duration {
        (self.smoothed + self.variation * 4).min(most).max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<_> = (0..5).map(|tries| backoff(20 * MS, tries, 100 * MS)).collect();
        assert_eq!(waits, [20 * MS, 40 * MS, 80 * MS, 100 * MS, 100 * MS]);
        assert_eq!(backoff(MS, u32::MAX, 1000 * MS), 1000 * MS);
    }

    #[test]
    fn the_timeout_follows_slow_answers() {
        let mut round_trip = RoundTrip::default();
        let timeout = |round_trip: &RoundTrip| round_trip.timeout(20 * MS, 500 * MS);
        assert_eq!(timeout(&round_trip), 20 * MS);
        for _ in 0..20 {
            round_trip.measure(Time::ZERO, Time::ZERO + 60 * MS);
        }
        assert!(timeout(&round_trip) >= 60 * MS);
        assert!(timeout(&round_trip) < 100 * MS);
    }

    /// Found by the simulator: a leader that had slept for half an hour did not retry for another.
    #[test]
    fn a_sleep_is_not_taken_for_a_slow_network() {
        let mut round_trip = RoundTrip::default();
        round_trip.measure(Time::ZERO, Time::ZERO + Duration::from_secs(1800));
        assert_eq!(round_trip.timeout(20 * MS, 500 * MS), 500 * MS);
    }
}
