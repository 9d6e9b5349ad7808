//! When to try again: exponential back-off, and a time-out that follows the round trips.

use std::collections::BTreeMap;
use std::time::Duration;

use super::types::{Counted, Run, Time};

/// The wait after `tries` consecutive tries without an answer: `first`, doubled each time, at most
/// `longest`.
pub fn backoff(first: Duration, tries: u32, longest: Duration) -> Duration {
    let factor = 1u32 << tries.min(16);
    first.saturating_mul(factor).min(longest).max(first)
}

/// This many consecutive answers to retransmissions make time-outs shorter again.
const UNMEASURED_MAX: u32 = 4;

/// Smoothed round-trip times, so that losses are retransmitted soon and load is not taken for loss
/// (RFC 6298, section 2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoundTrip {
    smoothed: Duration,
    variation: Duration,
    /// Time-outs since an answer was measured.
    tries: u32,
    /// Answers since then that could not be measured.
    unmeasured: u32,
    /// Misses before this moment belong to the same time-out.
    counted_until: Time,
}

impl Default for RoundTrip {
    /// Nothing was measured.
    fn default() -> Self {
        let (smoothed, variation) = (Duration::ZERO, Duration::ZERO);
        RoundTrip { smoothed, variation, tries: 0, unmeasured: 0, counted_until: Time::ZERO }
    }
}

impl RoundTrip {
    /// Takes a measurement of something sent once: the answer to a retransmission measures nothing
    /// (Karn's rule, RFC 6298 section 3).
    pub fn measure(&mut self, sent: Time, answered: Time) {
        let sample = answered.since(sent);
        (self.tries, self.unmeasured) = (0, 0);
        if self.smoothed.is_zero() {
            self.smoothed = sample;
            self.variation = sample / 2;
            return;
        }
        let error = sample.abs_diff(self.smoothed);
        self.variation = (self.variation * 3 + error) / 4;
        self.smoothed = (self.smoothed * 7 + sample) / 8;
    }

    /// Something was not answered within `timeout`. The next time-outs are longer until an answer
    /// can be measured again (RFC 6298, 5.5), or a network slower than the time-out would never be
    /// measured.
    pub fn miss(&mut self, now: Time, timeout: Duration) {
        if now >= self.counted_until {
            self.tries = self.tries.saturating_add(1);
            self.counted_until = now + timeout;
        }
    }

    /// A retransmission is answered. When that happens repeatedly although the time-outs are long,
    /// the misses were not late but lost, or refused.
    pub fn answer(&mut self) {
        self.unmeasured += 1;
        if self.unmeasured >= UNMEASURED_MAX {
            (self.tries, self.unmeasured) = (self.tries / 2, 0);
        }
    }

    /// How long an answer may take before it counts as missed: `first` until there is a
    /// measurement, then at least `least` and at most `most`, for the longest samples come from a
    /// process that slept.
    pub fn timeout(&self, first: Duration, least: Duration, most: Duration) -> Duration {
        let usual = if self.smoothed.is_zero() {
            first
        } else {
            (self.smoothed + self.variation * 4).max(least)
        };
        backoff(usual.min(most), self.tries, most)
    }
}

/// The wait for something retransmitted `retries` times, given a time-out: longer each time, so
/// that one item that nobody can answer does not burden the rest.
pub fn stretch(timeout: Duration, retries: u32, longest: Duration) -> Duration {
    timeout.saturating_mul(retries.saturating_add(1)).min(longest.max(timeout))
}

/// Deadlines for the answers to runs that were sent together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Deadlines<T> {
    due: BTreeMap<Time, Vec<Run<T>>>,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Deadlines { due: BTreeMap::new() }
    }
}

impl<T: Counted> Deadlines<T> {
    /// These runs should be answered by `deadline`.
    pub fn add(&mut self, deadline: Time, runs: impl IntoIterator<Item = Run<T>>) {
        let runs = runs.into_iter().filter(|run| !run.is_empty());
        self.due.entry(deadline).or_default().extend(runs);
    }

    /// The next deadline.
    pub fn first(&self) -> Option<Time> {
        self.due.first_key_value().map(|(deadline, _)| *deadline)
    }

    /// Everything that should be answered by now, the longest overdue first.
    pub fn take_due(&mut self, now: Time) -> impl Iterator<Item = Run<T>> + use<T> {
        let later = self.due.split_off(&(now + Duration::from_micros(1)));
        let due = std::mem::replace(&mut self.due, later);
        due.into_values().flatten()
    }

    /// Clears all deadlines.
    pub fn clear(&mut self) {
        self.due.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::Instance;

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
        let timeout = |round_trip: &RoundTrip| round_trip.timeout(20 * MS, MS, 500 * MS);
        assert_eq!(timeout(&round_trip), 20 * MS);
        round_trip.miss(Time::ZERO, 20 * MS);
        round_trip.miss(Time::ZERO + 19 * MS, 20 * MS);
        assert_eq!(timeout(&round_trip), 40 * MS, "nothing was measured yet");
        round_trip.measure(Time::ZERO, Time::ZERO + MS / 10);
        assert_eq!(timeout(&round_trip), MS);
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
        assert_eq!(round_trip.timeout(20 * MS, MS, 500 * MS), 500 * MS);
    }

    #[test]
    fn what_is_due_comes_in_the_order_of_its_deadlines() {
        let mut deadlines = Deadlines::default();
        let run = |from, until| Run::new(Instance(from), Instance(until));
        deadlines.add(Time(20), [run(5, 7)]);
        deadlines.add(Time(10), [run(9, 9), run(1, 3)]);
        deadlines.add(Time(21), [run(8, 9)]);
        assert_eq!(deadlines.first(), Some(Time(10)));
        let due: Vec<_> = deadlines.take_due(Time(20)).collect();
        assert_eq!(due, [run(1, 3), run(5, 7)]);
        assert_eq!(deadlines.first(), Some(Time(21)));
    }
}
