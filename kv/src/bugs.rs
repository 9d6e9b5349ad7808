//! Deliberate bugs, to prove that the tests can see.
//!
//! Each is a classic mistake of a replicated store, one line at the place where it would be made.
//! They exist in the library's own tests alone: everywhere else [`has`] is the constant `false`.

/// A mistake somebody has made before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A write is answered when it is proposed, by the state at hand.
    AnswersBeforeDecided,
    /// A read is answered by the state at hand.
    ReadsLocally,
    /// An entry is applied twice.
    AppliesTwice,
    /// Keys expire by the clock of each host.
    ExpiresByLocalClock,
    /// Entries that say a time of their own go by the log's.
    MisreadsOldEntries,
    /// A key whose time is over is read as long as nobody writes.
    ReadsWhatExpired,
    /// Transactions do not look at what was watched.
    IgnoresWatched,
    /// A snapshot is of the state when it is written, not when it was requested.
    FreezesLate,
    /// A restored state is added to the present one.
    RestoreMerges,
    /// A restored state is stored, and answers are those of the state before.
    AnswersFromBeforeSnapshot,
}

/// Whether this bug is switched on.
#[cfg(not(test))]
#[inline(always)]
pub const fn has(_bug: Bug) -> bool {
    false
}

/// Waits as long as a test holds the machine of this origin back.
#[cfg(not(test))]
#[inline(always)]
pub const fn wait(_origin: u64) {}

#[cfg(test)]
pub use self::switch::{GATE, SLOW, has, wait, with};

#[cfg(test)]
mod switch {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use parking_lot::{Mutex, RwLock};

    use super::Bug;

    /// The present bug, from 1; 0 is none.
    static PRESENT: AtomicUsize = AtomicUsize::new(0);
    /// Tests that count on the code as it is run beside each other, and never beside a bug.
    static TURN: RwLock<()> = RwLock::new(());

    /// The origin of the machine that a test can hold back, ...
    pub const SLOW: u64 = 3;
    /// ... by holding this.
    pub static GATE: Mutex<()> = Mutex::new(());

    /// Waits as long as a test holds the machine of this origin back.
    pub fn wait(origin: u64) {
        if origin == SLOW {
            drop(GATE.lock());
        }
    }

    /// Whether this bug is switched on.
    pub fn has(bug: Bug) -> bool {
        PRESENT.load(Ordering::Relaxed) == bug as usize + 1
    }

    /// Does something with this bug in the code, or with none.
    pub fn with<R>(bug: Option<Bug>, act: impl FnOnce() -> R) -> R {
        let Some(bug) = bug else {
            let _turn = TURN.read();
            return act();
        };
        let _turn = TURN.write();
        PRESENT.store(bug as usize + 1, Ordering::Relaxed);
        let result = act();
        PRESENT.store(0, Ordering::Relaxed);
        result
    }
}
