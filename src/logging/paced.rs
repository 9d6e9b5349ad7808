//! The pace of log lines: a line of one kind comes a few times at once, and then ever less often.
//!
//! A kind is the place in the sources that logs it. An error that happens with every heartbeat
//! would otherwise fill a disk in a night, and hide all other lines. No other mechanism is needed:
//! code that logs need not think of it. Lines that are held back are counted in the next line of
//! their kind. Levels below `info` were requested explicitly, and are not paced.

use std::collections::BTreeMap;
use std::time::Duration;

use log::{Level, Log, Metadata, Record};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::protocol::types::Time;

/// How many lines of a kind come at once.
const BURST: u32 = 5;

/// The pause after the last of them, and the longest; each is twice the one before.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(64);

/// A logger that says less.
pub struct Paced<L> {
    inner: L,
    clock: Clock,
    /// Bounded: there are as many as there are places that log.
    kinds: Mutex<BTreeMap<(&'static str, u32), Kind>>,
}

/// What is known about one kind of line.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// Lines of the burst that were said.
    said: u32,
    /// The pause that follows the next line.
    pause: Duration,
    /// The end of the pause.
    next: Time,
    held_back: u64,
}

impl Default for Kind {
    fn default() -> Self {
        Kind { said: 0, pause: PAUSE, next: Time::ZERO, held_back: 0 }
    }
}

impl Kind {
    /// Whether a line may be said now; if so, how many were held back before it.
    fn allows(&mut self, now: Time) -> Option<u64> {
        // After a silence as long as its longest pause, the kind counts as new again.
        if now >= self.next + self.pause {
            (self.said, self.pause) = (0, PAUSE);
        }
        if self.said >= BURST {
            if now < self.next {
                self.held_back += 1;
                return None;
            }
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        self.said = self.said.saturating_add(1);
        self.next = now + self.pause;
        Some(std::mem::take(&mut self.held_back))
    }
}

impl<L> Paced<L> {
    /// `inner`, said at this pace.
    pub fn new(inner: L, clock: Clock) -> Self {
        Paced { inner, clock, kinds: Mutex::new(BTreeMap::new()) }
    }
}

impl<L: Log> Log for Paced<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let place = record.file_static().zip(record.line());
        let Some(place) = place.filter(|_| record.level() <= Level::Info) else {
            return self.inner.log(record);
        };
        if !self.inner.enabled(record.metadata()) {
            return;
        }
        let allowed = self.kinds.lock().entry(place).or_default().allows(self.clock.now());
        match allowed {
            None => {}
            Some(0) => self.inner.log(record),
            Some(held_back) => self.inner.log(
                &Record::builder()
                    .metadata(record.metadata().clone())
                    .file_static(record.file_static())
                    .line(record.line())
                    .module_path_static(record.module_path_static())
                    .args(format_args!("{} ({held_back} lines like this held back)", record.args()))
                    .build(),
            ),
        }
    }

    fn flush(&self) {
        self.inner.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The seconds, from 0 to 1000, in which a line is said that comes `rate` times a second.
    fn said(rate: u64) -> (Vec<u64>, u64) {
        let mut kind = Kind::default();
        let mut held_back = 0;
        let moments =
            (0..1000 * rate).map(|n| Time::ZERO + Duration::from_micros(n * 1_000_000 / rate));
        let said = moments.filter(|now| {
            let allowed = kind.allows(*now);
            held_back += allowed.unwrap_or(0);
            allowed.is_some()
        });
        (said.map(|now| now.0 / 1_000_000).collect(), held_back + kind.held_back)
    }

    #[test]
    fn a_line_without_end_comes_ever_less_often_and_is_counted() {
        let (seconds, held_back) = said(50);
        assert_eq!(seconds[..12], [0, 0, 0, 0, 0, 1, 3, 7, 15, 31, 63, 127]);
        assert!(seconds[12..].windows(2).all(|pair| (64..=65).contains(&(pair[1] - pair[0]))));
        assert_eq!(seconds.len() as u64 + held_back, 50_000);
    }

    #[test]
    fn a_few_lines_and_seldom_ones_come_as_they_are() {
        let mut kind = Kind::default();
        for minute in 0..100 {
            for second in 0..5 {
                let now = Time::ZERO + Duration::from_secs(60 * minute + second);
                assert_eq!(kind.allows(now), Some(0), "{minute}:{second}");
            }
        }
    }

    struct Kept(Arc<Mutex<Vec<String>>>);

    impl Log for Kept {
        fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &Record<'_>) {
            self.0.lock().push(record.args().to_string());
        }
        fn flush(&self) {}
    }

    #[test]
    fn kinds_do_not_hold_each_other_back_and_details_come_all() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let logger = Paced::new(Kept(Arc::clone(&kept)), Clock::start());
        let say = |line: u32, level: Level| {
            let mut record = Record::builder();
            record.file_static(Some("file.rs")).line(Some(line)).level(level);
            logger.log(&record.args(format_args!("line {line}")).build());
        };
        for _ in 0..20 {
            say(1, Level::Warn);
            say(2, Level::Error);
            say(3, Level::Debug);
        }
        let count = |line: &str| kept.lock().iter().filter(|said| *said == line).count();
        assert_eq!([count("line 1"), count("line 2"), count("line 3")], [5, 5, 20]);
    }
}
