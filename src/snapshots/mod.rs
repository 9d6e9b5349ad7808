//! Snapshots: the application's state at some place of the log, on stable storage, so that the log
//! below is not needed any more.
//!
//! A snapshot has two parts. The library's says where it was taken and how delivery stands there
//! ([`Checkpoint`](crate::protocol::checkpoint::Checkpoint)); the application's is whatever bytes
//! it writes. `file` has their form, `shelf` the directory that holds them, `keeper` the thread
//! that writes them while the application goes on, `tally` what metrics show of them, and `offline`
//! the commands for operators.
//!
//! The promises, and where they are kept:
//!
//! 1. A snapshot is complete or does not exist. It is written under another name, synced, read
//!    back, and only then renamed (`shelf`).
//! 2. The cluster hears of it after that (`keeper`): nothing is removed because of a snapshot that
//!    a crash could take away.
//! 3. A damaged one is never taken for an empty or an intact one: all of it is verified before any
//!    of it is used (`file`), and if all are damaged nothing starts.
//! 4. Two are kept. If the newer one rots, the older one will do, as long as the log reaches back
//!    to it; otherwise another learner's.

pub mod file;
pub mod keeper;
#[cfg(feature = "cli")]
pub mod offline;
pub mod shelf;
pub mod tally;

/// What writes the state of an application, as it was when this was made.
pub type Frozen = Box<dyn FnOnce(&mut dyn std::io::Write) -> std::io::Result<()> + Send>;

#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod tests;
