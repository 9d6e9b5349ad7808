//! The protocol: pure functions of (state, now, event) to effects.
//!
//! No sockets, clocks, threads, files or environment, no randomness but the generator a role is
//! given, and no iteration over a hash map: the same events in the same order give the same
//! effects. So the code that runs in production is the code the simulator and the model checker
//! run.

pub mod acceptor;
pub mod actor;
pub mod assembly;
pub mod catch_up;
pub mod checkpoint;
pub mod client;
pub mod cutting;
pub mod decided_log;
pub mod election;
pub mod entries;
pub mod figures;
pub mod flow;
pub mod gathering;
mod leading_learner;
pub mod learner;
pub mod message;
pub mod packing;
pub(crate) mod parts;
mod pleading;
pub mod proposals;
pub mod proposer;
pub mod quorum;
mod reads;
pub mod recall;
pub mod retry;
pub mod segments;
pub mod sessions;
pub mod settings;
pub mod timer;
pub mod transfer;
pub mod types;
pub mod versions;
mod warned;
