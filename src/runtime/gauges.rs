//! What a role loop publishes for metrics and status, besides its counters ([`Stats`]).
//!
//! A loop that nobody watches has no gauges and pays nothing. One that is watched reads the clock
//! once more per turn, counts how long its turns and syncs take, and copies the role's figures ten
//! times a second. It never waits for a reader: a copy that would have to wait is left out.
//!
//! [`Stats`]: super::stats::Stats

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::stats::Counter;
use crate::clock::Clock;
use crate::protocol::figures::Figures;
use crate::protocol::types::{Ballot, Time};

/// How often the role's figures are copied, at most.
const INTERVAL: Duration = Duration::from_millis(100);

/// A loop that is watched turns at least this often, so that silence means something.
pub const IDLE_MAX: Duration = Duration::from_secs(1);

/// What one loop publishes.
#[derive(Debug)]
pub struct Gauges {
    clock: Clock,
    figures: Mutex<Figures>,
    /// When to copy the figures next, in microseconds.
    due: AtomicU64,
    /// The leader in the last copy that had one.
    leader: Mutex<Option<Ballot>>,
    /// When the last turn ended, in microseconds.
    turned: AtomicU64,
    /// Since when the store is at work, in microseconds; 0 when it is not.
    storing: AtomicU64,
    /// How often the leader changed.
    pub leader_changes: Counter,
    /// How long turns take, from the end of the wait.
    pub turns: Durations,
    /// How long the store takes to make a turn's records stable.
    pub syncs: Durations,
    /// How long instances are in flight at a leader: from their proposal until a quorum's answer.
    pub flights: Durations,
    /// How long the output of a learner takes to take in what a turn delivers.
    pub deliveries: Durations,
}

impl Gauges {
    /// Nothing yet; the loop counts as having turned now.
    pub fn new(clock: Clock) -> Self {
        Gauges {
            clock,
            figures: Mutex::default(),
            due: AtomicU64::new(0),
            leader: Mutex::default(),
            turned: AtomicU64::new(clock.now().0),
            storing: AtomicU64::new(0),
            leader_changes: Counter::default(),
            turns: Durations::default(),
            syncs: Durations::default(),
            flights: Durations::default(),
            deliveries: Durations::default(),
        }
    }

    /// A turn that began at `start` is over; `figures` takes the role's.
    pub fn turned(&self, start: Time, figures: impl FnOnce(Time) -> Figures) {
        let now = self.clock.now();
        self.turned.store(now.0, Ordering::Relaxed);
        self.turns.add(now.since(start));
        if now.0 < self.due.load(Ordering::Relaxed) {
            return;
        }
        // A reader is copying a few words; the next turn is soon enough.
        let Some(mut published) = self.figures.try_lock() else { return };
        self.due.store((now + INTERVAL).0, Ordering::Relaxed);
        *published = figures(now);
        let leader = published.leader;
        drop(published);
        self.note_leader(leader);
    }

    /// Does `work`, which makes records stable, and counts how long it takes.
    pub fn timing_sync<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = self.clock.now();
        self.storing.store(start.0.max(1), Ordering::Relaxed);
        let done = work();
        self.storing.store(0, Ordering::Relaxed);
        self.syncs.add(self.clock.now().since(start));
        done
    }

    /// Does `work`, which hands over what a turn delivers, and counts how long it takes.
    pub fn timing_delivery<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = self.clock.now();
        let done = work();
        self.deliveries.add(self.clock.now().since(start));
        done
    }

    fn note_leader(&self, leader: Option<Ballot>) {
        if leader.is_none() {
            return;
        }
        let before = std::mem::replace(&mut *self.leader.lock(), leader);
        if before.is_some() && before != leader {
            self.leader_changes.increment();
        }
    }

    /// Sets when the last turn ended, and since when the store is at work; zero if it is not.
    #[cfg(test)]
    pub fn pretend(&self, turned: Time, storing: Time) {
        self.turned.store(turned.0, Ordering::Relaxed);
        self.storing.store(storing.0, Ordering::Relaxed);
    }

    /// The figures that were copied last.
    pub fn figures(&self) -> Figures {
        self.figures.lock().clone()
    }

    /// How long ago the last turn ended.
    pub fn idle(&self) -> Duration {
        self.clock.now().since(Time(self.turned.load(Ordering::Relaxed)))
    }

    /// How long the store has been at work without a pause.
    pub fn storing(&self) -> Duration {
        match self.storing.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.clock.now().since(Time(since)),
        }
    }
}

/// How long something took, by bucket. One thread adds.
#[derive(Debug, Default)]
pub struct Durations {
    counts: [AtomicU64; Durations::BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// A copy of [`Durations`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Buckets {
    /// How many took no longer than each bound, and how many there are in all.
    pub up_to: [u64; Durations::BOUNDS.len() + 1],
    /// How long they took together, in seconds.
    pub seconds: f64,
}

impl Durations {
    /// The upper bounds of the buckets, in microseconds.
    pub const BOUNDS: [u64; 12] =
        [10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000];

    /// One more.
    pub fn add(&self, took: Duration) {
        self.add_all(took, 1);
    }

    /// `count` more that took equally long.
    pub fn add_all(&self, took: Duration, count: u64) {
        let micros = took.as_micros() as u64;
        let place = Self::BOUNDS.partition_point(|bound| *bound < micros);
        self.counts[place].fetch_add(count, Ordering::Relaxed);
        self.micros.fetch_add(micros.saturating_mul(count), Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn counted(&self) -> Buckets {
        let mut up_to = [0; Self::BOUNDS.len() + 1];
        let mut sum = 0;
        for (total, count) in up_to.iter_mut().zip(&self.counts) {
            sum += count.load(Ordering::Relaxed);
            *total = sum;
        }
        Buckets { up_to, seconds: self.micros.load(Ordering::Relaxed) as f64 / 1e6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ballot(round: u64) -> Option<Ballot> {
        Some(Ballot { round, proposer: 1, boot: 1 })
    }

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let durations = Durations::default();
        for micros in [0, 10, 11, 3_000_000, 3_000_001] {
            durations.add(Duration::from_micros(micros));
        }
        durations.add_all(Duration::from_micros(20), 4);
        let Buckets { up_to, seconds } = durations.counted();
        assert_eq!(up_to, [2, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 9]);
        assert!((seconds - 6.000_102).abs() < 1e-9, "{seconds}");
    }

    #[test]
    fn figures_are_copied_now_and_then_and_never_waited_for() {
        let gauges = Gauges::new(Clock::start());
        let mut taken = 0;
        let mut turn = |in_flight| {
            gauges.turned(Time::ZERO, |_| {
                taken += 1;
                Figures { in_flight, ..Figures::default() }
            });
        };
        let reader = gauges.figures.lock();
        turn(1);
        drop(reader);
        assert_eq!(gauges.figures().in_flight, 0, "a reader was in the way");
        turn(2);
        turn(3);
        assert_eq!((gauges.figures().in_flight, taken), (2, 1), "the last was too early");
        assert_eq!(gauges.turns.counted().up_to[12], 3);
    }

    #[test]
    fn a_change_of_leader_is_one_from_a_leader_to_another() {
        let gauges = Gauges::new(Clock::start());
        for leader in [None, ballot(1), None, ballot(1), ballot(2), None, ballot(3)] {
            gauges.note_leader(leader);
        }
        assert_eq!(gauges.leader_changes.count(), 2);
    }

    #[test]
    fn a_store_that_is_at_work_is_seen() {
        let gauges = Gauges::new(Clock::start());
        assert_eq!(gauges.storing(), Duration::ZERO);
        gauges.timing_sync(|| {
            while gauges.storing().is_zero() {
                std::thread::yield_now();
            }
        });
        assert_eq!((gauges.storing(), gauges.syncs.counted().up_to[12]), (Duration::ZERO, 1));
    }
}
