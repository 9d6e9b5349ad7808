//! What an operator should know of one learner's snapshots, for metrics and status.
//!
//! The thread that works on them notes it, and nothing depends on it.

use std::time::Duration;

use parking_lot::Mutex;

/// What is known, for the threads that note and show it.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Facts>);

/// What is known at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The newest snapshot, if there is one.
    pub newest: Option<Newest>,
    /// How long the last one took that was written here, if one was.
    pub took: Option<Duration>,
    /// How often one could not be stored, whether taken here or fetched from another learner.
    pub failures: u64,
}

/// The newest snapshot of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// How many bytes its file has.
    pub bytes: u64,
    /// When the file was written, in milliseconds since 1970.
    pub written_ms: u64,
}

impl Tally {
    /// What is known now.
    pub fn facts(&self) -> Facts {
        *self.0.lock()
    }

    /// This is the newest one now.
    pub fn on_newest(&self, newest: Option<Newest>) {
        self.0.lock().newest = newest;
    }

    /// One was written here.
    pub fn on_written(&self, took: Duration) {
        self.0.lock().took = Some(took);
    }

    /// One could not be stored.
    pub fn on_failure(&self) {
        self.0.lock().failures += 1;
    }
}
