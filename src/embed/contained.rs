//! Running a caller's code on a thread that others depend on: wakers, and closures that look at a
//! machine. A panic of one of them affects its caller alone.
//!
//! The panic hook has reported it by then, like any panic. A program that is built to abort on
//! panics ends there, as it does everywhere.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `of_caller` to its end, or to its panic. It is consumed in either case, so only its own
/// state can be left half changed.
pub(super) fn contain(of_caller: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(of_caller)) {
        // Dropping it could panic again.
        std::mem::forget(payload);
        log::error!(
            "a waker or a closure that this program gave the library panicked: only the task or \
             the caller that it belongs to is affected"
        );
    }
}
