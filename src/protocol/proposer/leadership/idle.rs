//! Which values in parts have been abandoned by their clients.

use crate::protocol::types::Instance;

/// A value in parts that was not continued for this many heartbeat intervals, or up to twice as
/// many, may have to yield: its client is dead or asleep.
const IDLE_TICKS: u32 = 250;

/// From which instance on something has happened of late. It counts turns of a timer rather than
/// time: a leader that slept has not seen that others were idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Idle {
    ticks: u32,
    /// The watermark when they were counted from zero the last two times.
    marks: [Instance; 2],
}

impl Idle {
    /// Another interval has passed, and delivery is at `watermark`. Returns whether the set of idle
    /// values may have changed.
    pub fn tick(&mut self, watermark: Instance) -> bool {
        self.ticks += 1;
        let is_over = self.ticks == IDLE_TICKS;
        if is_over {
            *self = Idle { ticks: 0, marks: [self.marks[1], watermark] };
        }
        is_over
    }

    /// A value last touched below this instance is idle.
    pub fn below(self) -> Instance {
        self.marks[0]
    }
}

impl Default for Idle {
    fn default() -> Self {
        Idle { ticks: 0, marks: [Instance::FIRST; 2] }
    }
}
