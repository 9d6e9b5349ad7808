//! Snapshots: what was made of the log up to some place, on stable storage, so that the log below
//! is not needed any more.
//!
//! A snapshot has two parts. The library's says where it was taken and how delivery stands there
//! ([`Checkpoint`](crate::protocol::checkpoint::Checkpoint)); the application's is whatever bytes
//! it writes. `file` has their form, `shelf` the directory that they stand in, `keeper` the thread
//! that writes them while the application goes on, and `offline` what operators do with them.
//!
//! What is promised of each, and where that is:
//!
//! 1. It is whole or it is none. It is written under another name, synced, read back, and only then
//!    renamed (`shelf`).
//! 2. It is told to the cluster after that (`keeper`): nothing is removed on the word of a snapshot
//!    that a crash could take away.
//! 3. A damaged one is never taken for an empty one, nor for a whole one: all of it is checked
//!    before any of it is used (`file`), and if all are damaged nothing starts.
//! 4. Two are kept. If the newer one rots, the older one does, as long as the log reaches back to
//!    it; else another learner's.

pub mod file;
pub mod keeper;
#[cfg(feature = "cli")]
pub mod offline;
pub mod shelf;

/// What writes the state of an application, as it was when this was made.
pub type Frozen = Box<dyn FnOnce(&mut dyn std::io::Write) -> std::io::Result<()> + Send>;

#[cfg(test)]
mod tests;
