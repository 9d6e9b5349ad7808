//! How many entries each learner had, and when: written while a run is watched, read for its
//! report.
//!
//! ```text
//!   # What learners had while this run was watched: milliseconds, and entries of each learner.
//!   start 2026-11-26T12:53:14.026Z
//!   needed 4000
//!   20 0 0
//!   40 1313 1204
//! ```
//!
//! A line comes when something has changed, and the longer a run takes the more seldom: a day of it
//! has some five thousand.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::clock::Moment;
use crate::protocol::types::Time;

/// Between two lines at the beginning; later, this share of the time that has passed.
const INTERVAL: Duration = Duration::from_millis(20);
const SHARE: u32 = 500;

/// The file while it is written.
#[derive(Debug)]
pub struct TimelineWriter {
    file: File,
    next: Time,
    written: Vec<u64>,
}

impl TimelineWriter {
    /// Begins the file of a run whose learners will have `needed` entries each.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn create(path: &Path, needed: u64) -> io::Result<Self> {
        let mut file = File::create(path)?;
        writeln!(
            file,
            "# What learners had while this run was watched: milliseconds, and entries of each \
             learner.\nstart {}\nneeded {needed}",
            Moment::now()
        )?;
        Ok(TimelineWriter { file, next: Time::ZERO, written: Vec::new() })
    }

    /// Records how many entries each learner has at `now`, counted from the beginning of the file.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn note(&mut self, now: Time, counts: Vec<u64>, is_last: bool) -> io::Result<()> {
        if !is_last && (now < self.next || counts == self.written) {
            return Ok(());
        }
        let passed = now.since(Time::ZERO);
        self.next = now + INTERVAL.max(passed / SHARE);
        let line: String = counts.iter().map(|count| format!(" {count}")).collect();
        self.written = counts;
        writeln!(self.file, "{}{line}", passed.as_millis())
    }
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// When the watch began.
    pub start: Moment,
    /// How many entries each learner should have in the end.
    pub needed: u64,
    /// Milliseconds since then, and how many entries each learner had.
    pub samples: Vec<(u64, Vec<u64>)>,
}

impl Timeline {
    /// Reads it. Lines that are not understood are left out; without a beginning there is nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let start = Moment::parse(value("start ")?)?;
        let needed = value("needed ")?.parse().ok()?;
        let sample = |line: &str| -> Option<(u64, Vec<u64>)> {
            let mut numbers = line.split(' ').map(str::parse::<u64>);
            let millis = numbers.next()?.ok()?;
            Some((millis, numbers.collect::<Result<_, _>>().ok()?))
        };
        let samples: Vec<_> = text.lines().filter_map(sample).collect();
        Some(Timeline { start, needed, samples })
    }

    /// When every learner had everything, in milliseconds; nothing if that was not seen.
    pub fn complete_after(&self) -> Option<u64> {
        let is_complete = |counts: &[u64]| counts.iter().all(|count| *count >= self.needed);
        self.samples.iter().find(|(_, counts)| is_complete(counts)).map(|(millis, _)| *millis)
    }

    /// When the last line was written, in milliseconds.
    pub fn end(&self) -> u64 {
        self.samples.last().map_or(0, |(millis, _)| *millis)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_timeline_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("timeline.txt");
        let mut writer = TimelineWriter::create(&path, 5).unwrap();
        let ms = |ms| Time::ZERO + Duration::from_millis(ms);
        for (at, count) in [(0, 0), (10, 1), (30, 1), (40, 2), (10_000, 3), (10_015, 4)] {
            writer.note(ms(at), vec![count, 0], false).unwrap();
        }
        writer.note(ms(10_016), vec![5, 5], true).unwrap();
        let timeline = Timeline::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        let counts: Vec<(u64, u64)> =
            timeline.samples.iter().map(|(at, counts)| (*at, counts[0])).collect();
        // Changes within an interval are seen at its end, and unchanged counts are not written.
        assert_eq!(counts, [(0, 0), (30, 1), (10_000, 3), (10_016, 5)]);
        assert_eq!((timeline.needed, timeline.complete_after()), (5, Some(10_016)));
        assert_eq!(Timeline::parse("needed 5\n0 0\n"), None);
    }

    #[test]
    fn a_day_has_a_few_thousand_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("timeline.txt");
        let mut writer = TimelineWriter::create(&path, 5).unwrap();
        for second in 0..86_400 {
            writer.note(Time::ZERO + Duration::from_secs(second), vec![second], false).unwrap();
        }
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!((2000..6000).contains(&lines), "{lines}");
    }
}
