//! The least value that was measured recently.

use std::time::Duration;

use crate::protocol::types::Time;

/// The least value measured within a sliding span of time.
#[derive(Clone, Copy, Debug)]
pub struct Least {
    memory: Duration,
    current: Option<Duration>,
    previous: Option<Duration>,
    turned: Time,
}

impl Least {
    /// No value yet; a measured one counts for at least `memory`, and at most twice that.
    pub fn new(memory: Duration) -> Self {
        Least { memory, current: None, previous: None, turned: Time::ZERO }
    }

    /// `value` was measured.
    pub fn put(&mut self, now: Time, value: Duration) {
        if now.since(self.turned) > self.memory {
            self.turned = now;
            self.previous = self.current.take();
        }
        self.current = Some(self.current.map_or(value, |least| least.min(value)));
    }

    /// The least.
    pub fn get(&self) -> Option<Duration> {
        match (self.current, self.previous) {
            (Some(current), Some(previous)) => Some(current.min(previous)),
            (current, previous) => current.or(previous),
        }
    }

    /// Sets it to `value`, whatever was measured before.
    pub fn reset(&mut self, value: Duration) {
        (self.current, self.previous) = (Some(value), None);
    }
}
