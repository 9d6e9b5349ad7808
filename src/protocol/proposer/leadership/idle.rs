//! Which values in parts their clients have left alone.

use crate::protocol::types::Instance;

/// A value in parts that was not continued for so many intervals between heartbeats, or up to twice
/// as many, may have to give way: its client is dead or asleep.
const IDLE_TICKS: u32 = 250;

/// Since where in the log nothing has happened for long. It counts turns of a timer and no time: a
/// leader that slept has not seen others be idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Idle {
    ticks: u32,
    /// The watermark when they were counted from zero the last two times.
    marks: [Instance; 2],
}

impl Idle {
    /// Another interval has passed, and delivery is at `watermark`. Returns whether other values
    /// may be idle than before.
    pub fn tick(&mut self, watermark: Instance) -> bool {
        self.ticks += 1;
        let is_over = self.ticks == IDLE_TICKS;
        if is_over {
            *self = Idle { ticks: 0, marks: [self.marks[1], watermark] };
        }
        is_over
    }

    /// What was not touched since below this instance is idle.
    pub fn below(self) -> Instance {
        self.marks[0]
    }
}

impl Default for Idle {
    fn default() -> Self {
        Idle { ticks: 0, marks: [Instance::FIRST; 2] }
    }
}
