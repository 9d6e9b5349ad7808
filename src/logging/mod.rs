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

use std::fmt::Display;
use std::io::{self, Write};

use crate::clock::Moment;

#[cfg(feature = "cli")]
pub use self::program::{abort_on_panic, finish, say, start};
pub use self::speaker::speak_as;

/// Writes a log line in the form that `paxos` has: when, for whom, how bad, what. The thread of a
/// role speaks for that role; any other thread speaks for `name`, such as `N1`. For the logger of a
/// program that embeds nodes: `level` and `said` are those of a record of the crate `log`.
///
/// # Errors
///
/// As `out` has them.
pub fn write_log_line(
    out: &mut dyn Write,
    name: &str,
    level: &dyn Display,
    said: &dyn Display,
) -> io::Result<()> {
    let moment = Moment::now();
    match speaker::speaker() {
        Some(node) => write!(out, "{moment} {node}")?,
        None => write!(out, "{moment} {name}")?,
    }
    writeln!(out, " {level:5} {said}")
}
