//! Log lines for people, on standard error, and how their number stays bearable.
//!
//! Nothing waits for a reader (`queue`), no line is repeated without end (`paced`), and a thread
//! that panics ends the process with a message, instead of leaving it half alive (`program`). All
//! of this belongs to the binary: the library logs through the crate `log` alone, and leaves the
//! logger to the program that uses it.

#[cfg(feature = "cli")]
pub mod paced;
#[cfg(feature = "cli")]
mod program;
#[cfg(feature = "cli")]
pub mod queue;
mod speaker;

#[cfg(feature = "cli")]
pub use self::program::{abort_on_panic, finish, say, start};
pub use self::speaker::speak_as;
