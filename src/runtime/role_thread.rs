//! Whether this thread runs a role.
//!
//! Code of a program may run there, as a waker or a task. Whatever waits for a role there would
//! wait for itself, so nothing does.

use std::cell::Cell;

thread_local! {
    static RUNS_ROLE: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread runs a role.
pub fn enter() {
    RUNS_ROLE.set(true);
}

/// Whether this thread runs a role.
pub fn is_here() -> bool {
    RUNS_ROLE.get()
}
