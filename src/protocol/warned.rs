//! Warnings that are repeated while their reason lasts, and taken back once.

use std::time::Duration;

use super::types::Time;

/// Whether somebody was warned of something, and whether that was taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Warned {
    /// The last time.
    at: Option<Time>,
    is_over: bool,
}

impl Warned {
    /// The reason lasts. Says whether to warn now: at once, and again after each `pause`.
    pub fn is_due(&mut self, now: Time, pause: Duration) -> bool {
        if self.at.is_some_and(|at| now.since(at) < pause) {
            return false;
        }
        *self = Warned { at: Some(now), is_over: false };
        true
    }

    /// The reason is gone. Says whether to tell that, which is so once after each warning.
    pub fn is_news(&mut self) -> bool {
        self.at.is_some() && !std::mem::replace(&mut self.is_over, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_repeated_after_a_pause_and_taken_back_once() {
        let (mut warned, pause) = (Warned::default(), Duration::from_micros(60));
        assert!(!warned.is_news(), "nothing was said");
        let due = [0, 59, 60, 100].map(|at| warned.is_due(Time(at), pause));
        assert_eq!(due, [true, false, true, false]);
        assert_eq!([warned.is_news(), warned.is_news()], [true, false]);
        // A reason that comes and goes is no more often told than one that lasts.
        assert_eq!([warned.is_due(Time(110), pause), warned.is_news()], [false, false]);
        assert_eq!([warned.is_due(Time(120), pause), warned.is_news()], [true, true]);
    }
}
