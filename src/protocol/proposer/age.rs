//! How far back a point of the log lies: how old it is, and how much was delivered since.
//!
//! The age is the larger of what two clocks say:
//!
//! 1. The monotonic clock says how long this proposer has known the point. It starts from zero when
//!    the proposer is restarted.
//! 2. The time of the log says how long ago the point was written, and says the same to every
//!    reader. Leaders write it from their calendars, and a calendar may be years ahead. So each
//!    step of that time counts for at most a hundredth of the retained span: a calendar that jumps
//!    makes everything older by that much and no more. If nothing is decided for longer than that,
//!    the age comes out too low.
//!
//! The age that an earlier leader has measured is the base of both (`checkpoint::History`). So some
//! time may be counted twice where calendars differ. The time of the log stands still under a
//! leader whose calendar is behind it, and only clocks count then. If a proposer is started again,
//! which takes that for its base, and then a leader whose calendar is ahead takes over, the time of
//! the log makes up for it in one step. That counts as any step: never more than the calendars
//! differ, and never more than a hundredth of what is retained for each such change of leader. A
//! proposer that runs on counts nothing twice.

use std::time::Duration;

use crate::protocol::checkpoint::Distance;
use crate::protocol::entries::Entries;
use crate::protocol::settings::Retain;
use crate::protocol::types::{LogTime, Time};

/// A step of the log's time counts for at most the retained span divided by this.
const STEPS: u32 = 100;

/// The longest step that counts where retention is not given as a time.
const STEP: Duration = Duration::from_secs(60);

/// What a proposer has delivered since it took up the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Passed {
    /// How many bytes of entries.
    bytes: u64,
    /// How many entries, not counting pieces of checkpoints.
    values: u64,
    /// How far the time of the log has moved, in milliseconds, as far as it counts.
    moved_ms: u64,
    /// The time of the log; none while it is not known.
    time: LogTime,
}

impl Passed {
    /// Nothing passed yet, at a point where the time of the log is `time`.
    pub fn beginning(time: LogTime) -> Self {
        Passed { time, ..Passed::default() }
    }

    /// Counts `entries`, which are all pieces of checkpoints (`are_pieces`) or none of them is.
    pub fn pass(&mut self, entries: &Entries, are_pieces: bool, retain: Retain) {
        self.bytes += entries.bytes() as u64;
        self.values += if are_pieces { 0 } else { entries.len() as u64 };
        entries.each_time(|time| self.move_on(time, retain));
    }

    /// Moves the time of the log on to `time`, unless it is later already.
    pub fn move_on(&mut self, time: LogTime, retain: Retain) {
        let step = time.0.saturating_sub(self.time.0);
        if self.time != LogTime::NONE {
            self.moved_ms += step.min(longest_step(retain));
        }
        self.time = self.time.max(time);
    }

    /// The same, but no more entries than `earlier`.
    pub fn with_entries_of(self, earlier: Passed) -> Passed {
        Passed { bytes: earlier.bytes, values: earlier.values, ..self }
    }
}

/// How many milliseconds of a step of the log's time count.
fn longest_step(retain: Retain) -> u64 {
    let step = match retain {
        Retain::Age(age) => age / STEPS,
        Retain::All | Retain::Entries(_) | Retain::Bytes(_) => STEP,
    };
    (step.as_millis() as u64).max(1)
}

/// A point of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// How far back it lay when it became known here.
    base: Distance,
    /// What was passed then, and when it was.
    at: Passed,
    known: Time,
}

impl Point {
    /// A point that lay `base` back when `at` had been passed.
    pub fn new(now: Time, base: Distance, at: Passed) -> Self {
        Point { base, at, known: now }
    }

    /// How far back it lies once `passed` has been passed.
    pub fn back(&self, now: Time, passed: &Passed) -> Distance {
        let Distance { age_ms, bytes, values } = self.base;
        let here_ms = now.since(self.known).as_millis() as u64;
        let moved_ms = passed.moved_ms.saturating_sub(self.at.moved_ms);
        Distance {
            age_ms: age_ms.saturating_add(here_ms.max(moved_ms)),
            bytes: bytes.saturating_add(passed.bytes.saturating_sub(self.at.bytes)),
            values: values.saturating_add(passed.values.saturating_sub(self.at.values)),
        }
    }

    /// Another process has measured its age, which may be higher than it seems here.
    pub fn is_as_old_as(&mut self, age_ms: u64, now: Time, passed: &Passed) {
        let seems_ms = self.back(now, passed).age_ms;
        let more_ms = age_ms.saturating_sub(seems_ms);
        self.base.age_ms = self.base.age_ms.saturating_add(more_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETAIN: Retain = Retain::Age(Duration::from_secs(100));

    fn second(second: u64) -> Time {
        Time(second * 1_000_000)
    }

    fn age(point: &Point, now: u64, passed: &Passed) -> u64 {
        point.back(second(now), passed).age_ms
    }

    #[test]
    fn the_clock_that_says_more_counts() {
        let mut passed = Passed::beginning(LogTime(50_000));
        let point = Point::new(second(7), Distance { age_ms: 3000, bytes: 5, values: 1 }, passed);
        assert_eq!(age(&point, 7, &passed), 3000);
        // The log is read in no time, in the steps that a day makes.
        (1..=20).for_each(|step| passed.move_on(LogTime(50_000 + 800 * step), RETAIN));
        assert_eq!(age(&point, 7, &passed), 19_000);
        assert_eq!(age(&point, 17, &passed), 19_000);
        assert_eq!(age(&point, 47, &passed), 43_000);
        let back = point.back(second(47), &passed);
        assert_eq!((back.bytes, back.values), (5, 1));
    }

    #[test]
    fn a_calendar_that_jumps_makes_nothing_old() {
        let mut passed = Passed::beginning(LogTime::NONE);
        passed.move_on(LogTime(1 << 40), RETAIN);
        let point = Point::new(second(0), Distance::default(), passed);
        assert_eq!(age(&point, 0, &passed), 0, "before that there was no time");
        passed.move_on(LogTime(1 << 41), RETAIN);
        assert_eq!(age(&point, 0, &passed), 1000);
        // An earlier time changes nothing.
        passed.move_on(LogTime(1 << 40), RETAIN);
        passed.move_on(LogTime(1 << 41), RETAIN);
        assert_eq!(age(&point, 0, &passed), 1000);
        passed.move_on(LogTime::MAX, Retain::Entries(9));
        assert_eq!(age(&point, 0, &passed), 61_000);
    }

    /// Leaders alternate whose calendars are `apart_ms` from each other, and are started again each
    /// time. Returns how much older a place seems than it is after `rounds` of 10 s.
    fn counted_twice(apart_ms: u64, rounds: u64) -> u64 {
        let mut time = LogTime(1);
        let mut age_ms = 0;
        let new = |age_ms, time| {
            let passed = Passed::beginning(time);
            (Point::new(second(0), Distance { age_ms, ..Distance::default() }, passed), passed)
        };
        for _ in 0..rounds {
            // Its calendar is behind, so the time of the log moves only at the end of this.
            let (point, mut passed) = new(age_ms, time);
            time = LogTime(time.0 + 10_000_u64.saturating_sub(apart_ms));
            (1..=100).for_each(|_| passed.move_on(LogTime(passed.time.0 + 100).min(time), RETAIN));
            age_ms = age(&point, 10, &passed);
            // The next one's is ahead, and says at once how late it is.
            let (point, mut passed) = new(age_ms, time);
            time = LogTime(time.0 + apart_ms.min(10_000));
            passed.move_on(time, RETAIN);
            age_ms = age(&point, 0, &passed);
        }
        age_ms - rounds * 10_000
    }

    #[test]
    fn leaders_that_alternate_count_little_twice() {
        assert_eq!(counted_twice(0, 10), 0);
        assert_eq!(counted_twice(300, 10), 3000, "as much as they differ");
        assert_eq!(counted_twice(1 << 40, 10), 10_000, "a hundredth of what is retained");
    }

    #[test]
    fn a_proposer_that_runs_on_counts_nothing_twice() {
        let mut passed = Passed::beginning(LogTime(1));
        let point = Point::new(second(0), Distance::default(), passed);
        for round in 1..=100 {
            // It stood still for 10 s, and then made up for that.
            passed.move_on(LogTime(1 + round * 10_000), Retain::Age(Duration::from_secs(10_000)));
            assert_eq!(age(&point, 10 * round, &passed), 10_000 * round);
        }
    }

    #[test]
    fn what_another_has_measured_counts_if_it_is_more() {
        let mut passed = Passed::beginning(LogTime(1));
        let mut point = Point::new(second(0), Distance::default(), passed);
        point.is_as_old_as(5000, second(9), &passed);
        assert_eq!(age(&point, 9, &passed), 9000);
        point.is_as_old_as(30_000, second(9), &passed);
        assert_eq!(age(&point, 9, &passed), 30_000);
        passed.move_on(LogTime(501), RETAIN);
        assert_eq!(age(&point, 9, &passed), 30_000, "the time here is ahead of that");
        assert_eq!(age(&point, 10, &passed), 31_000);
    }
}
