//! What a caller gives to be run on a thread that others rest on: wakers, and closures that look at
//! a machine. A panic of one of them is its caller's alone.
//!
//! The panic hook has told of it by then, as of any panic. In a program that is built to abort on
//! panics the process ends there, as it does everywhere.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `of_caller` to its end, or to its panic. Nothing of it is left in either case, so nobody
/// can see a state that it left half way, but its own.
pub(super) fn contain(of_caller: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(of_caller)) {
        // To drop it could panic anew.
        std::mem::forget(payload);
        log::error!(
            "a waker or a closure that this program gave the library panicked: only who gave it is \
             affected"
        );
    }
}
