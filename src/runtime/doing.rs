//! What the role loop is doing at the moment: for the message about a loop that does not end.

use std::sync::atomic::{AtomicU8, Ordering};

/// One thing at a time. Written by the loop, read by the thread that waits for its end.
#[derive(Debug, Default)]
pub struct Doing(AtomicU8);

/// The kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It waits, runs the role, or sends.
    Turn,
    /// The store takes records.
    Storing,
    /// The output takes values.
    Writing,
}

impl Doing {
    /// The loop begins this.
    pub fn begin(&self, work: Work) {
        let number = match work {
            Work::Turn => 0,
            Work::Storing => 1,
            Work::Writing => 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }

    /// What it began last.
    pub fn work(&self) -> Work {
        match self.0.load(Ordering::Relaxed) {
            1 => Work::Storing,
            2 => Work::Writing,
            _ => Work::Turn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_last_is_told() {
        let doing = Doing::default();
        assert_eq!(doing.work(), Work::Turn);
        for work in [Work::Storing, Work::Writing, Work::Turn] {
            doing.begin(work);
            assert_eq!(doing.work(), work);
        }
    }
}
