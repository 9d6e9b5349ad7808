//! What is said to a person, on standard error, and how it stays bearable.
//!
//! Nothing waits for who reads it (`queue`), no line is repeated without end (`paced`), and a
//! thread that panics ends the process with a sentence, instead of leaving it half alive
//! (`program`). All of that is the binary's: the library speaks through the crate `log` alone, and
//! leaves the logger to the program that uses it.

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
