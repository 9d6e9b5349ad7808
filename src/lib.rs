//! Multi-Paxos over UDP/IP multicast: processes agree on one ordered log of values while datagrams
//! are lost, repeated and reordered and processes crash, pause and come back.
//!
//! ```text
//!             Request              Accept               (3 of them; a majority is enough)
//!   client ------------> leader ------+-----> acceptors
//!      ^                 |    ^       |          |
//!      |   RequestAck    |    |     Accepted     |
//!      +-----------------+    +------------------+
//!                        |            | values
//!                        |  Chosen    v
//!                        +------------> learners ------> results file, standard output
//! ```
//!
//! # Build on it
//!
//! A state machine that is replicated: each command is applied by every replica, in the same order
//! and exactly once. Here all nodes are in one process; usually each id is a host.
//!
//! ```
//! use std::time::Duration;
//!
//! use multi_paxos::{Cluster, Consistency, Place, Role, StateMachine};
//!
//! struct Counter(u64);
//!
//! impl StateMachine for Counter {
//!     type Output = u64;
//!     fn apply(&mut self, _place: &Place, command: &[u8]) -> u64 {
//!         self.0 += command.len() as u64;
//!         self.0
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let soon = Duration::from_secs(20);
//!     let name = format!("front-page-{}", std::process::id());
//!     let cluster = Cluster::builder(&name).multicast("239.0.0.1".parse()?, 19_100).build()?;
//!     let nodes = (1..=3).map(|id| cluster.node(id, &[Role::Acceptor, Role::Proposer]));
//!     let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
//!
//!     let one = cluster.replica(1, Counter(0))?;
//!     let two = cluster.replica(2, Counter(0))?;
//!     let count = one.call("three")?.wait(soon)?.decided();
//!     assert_eq!(count, Some(5));
//!     let count = two.read(Consistency::Linearizable, soon, |counter| counter.0)?;
//!     assert_eq!(count, 5);
//!     for node in nodes {
//!         node.stop(soon)?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! [`Client`] and [`Subscription`] are for programs that keep their state elsewhere, and
//! `docs/library.md` has what to know about each. Modules that are not shown are the program's own,
//! and those of its benches and fuzz targets: unlike the names of this page, which `tests/api.txt`
//! lists, they may change with any version.
//!
//! # How it is made
//!
//! A role is a function of events to effects (`protocol`); threads, sockets and files are the
//! business of `runtime`, `net` and `storage`. `ARCHITECTURE.md` tells in which order to read
//! the modules, which invariants there are, and where a change goes.

#[doc(hidden)]
pub mod auth;
#[doc(hidden)]
pub mod bugs;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod clock;
#[doc(hidden)]
pub mod config;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod doctor;
#[doc(hidden)]
pub mod embed;
#[doc(hidden)]
pub mod fuzzing;
#[doc(hidden)]
pub mod logging;
#[doc(hidden)]
pub mod net;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod picture;
#[doc(hidden)]
pub mod protocol;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod report;
#[doc(hidden)]
pub mod results;
#[doc(hidden)]
pub mod rng;
#[doc(hidden)]
pub mod runtime;
#[doc(hidden)]
pub mod sim;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod simulate;
#[doc(hidden)]
pub mod snapshots;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod status;
#[doc(hidden)]
pub mod stdio;
#[doc(hidden)]
pub mod storage;
mod text;
#[doc(hidden)]
pub mod wire;

#[doc(inline)]
pub use self::embed::*;
#[doc(inline)]
pub use self::logging::write_log_line;

/// The program in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
