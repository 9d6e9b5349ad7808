//! The only reader of the host's clocks. Everybody else is told what time it is.

use std::fmt;
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

    /// A clock that started this long ago.
    #[cfg(test)]
    pub fn started_ago(ago: Duration) -> Self {
        Clock { start: Instant::now().checked_sub(ago).unwrap() }
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

/// How long it is until `moment`; nothing once that has passed.
pub fn until(moment: Instant) -> Duration {
    moment.saturating_duration_since(Instant::now())
}

/// The time since this host started, which all of its processes read alike: for what they do at the
/// same moment without a word between them.
pub fn of_host() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), 0)
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// A moment of the calendar, in UTC, for people who compare the logs of several hosts, and for the
/// times of entries. It jumps when somebody sets the clock, so nothing else goes by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub millis: u64,
}

const DAY_MS: u64 = 86_400_000;

/// Days of 400 years, after which the calendar repeats itself.
const CYCLE_DAYS: u64 = 146_097;

/// Days from 1 March of the year 0 to 1 January 1970.
const DAYS_TO_1970: u64 = 719_468;

impl Moment {
    /// The present one.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Realtime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Moment { millis: seconds * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000 }
    }

    /// Reads what [`Display`](fmt::Display) writes; nothing if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |from: usize, until: usize| text.get(from..until)?.parse::<u64>().ok();
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute) = (number(11, 13)?, number(14, 16)?);
        let (second, milli) = (number(17, 19)?, number(20, 23)?);
        // Years that begin in March have their leap day at the end.
        let (year, month) =
            if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
        let of_year = (153 * month + 2) / 5 + day.checked_sub(1)?;
        let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year;
        let of_day = ((hour * 60 + minute) * 60 + second) * 1000 + milli;
        let millis = days.checked_sub(DAYS_TO_1970)? * DAY_MS + of_day;
        let moment = Moment { millis };
        (moment.to_string() == text).then_some(moment)
    }
}

/// As RFC 3339 has it: `2026-11-26T12:53:14.026Z`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, of_day) = (self.millis / DAY_MS + DAYS_TO_1970, self.millis % DAY_MS);
        let (cycle, of_cycle) = (days / CYCLE_DAYS, days % CYCLE_DAYS);
        let leaps = of_cycle / 1460 + of_cycle / 146_096 - of_cycle / 36_524;
        let year = (of_cycle - leaps) / 365;
        let of_year = of_cycle - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let (year, month) = (cycle * 400 + year, month);
        let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
        let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
        let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
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
    fn a_moment_of_the_calendar_is_what_date_says() {
        // date -u -d @SECONDS
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_251_199_000, "2024-02-29T23:59:59.000Z"),
            (1_798_761_599_026, "2026-12-31T23:59:59.026Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let moment = Moment { millis };
            assert_eq!((moment.to_string().as_str(), Moment::parse(text)), (text, Some(moment)));
        }
        for day in 0..200_000 {
            let moment = Moment { millis: day * DAY_MS };
            assert_eq!(Moment::parse(&moment.to_string()), Some(moment));
        }
        for wrong in ["", "0000-01-01T00:00:00.000Z", "2026-13-01T00:00:00.000Z", "2026-02-30T00"] {
            assert_eq!(Moment::parse(wrong), None);
        }
        assert!(Moment::now() > Moment { millis: 1_700_000_000_000 });
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
