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
//! A role is a function of events to effects ([`protocol`]); threads, sockets and files are the
//! business of [`runtime`], [`net`] and [`storage`]. `ARCHITECTURE.md` tells in which order to read
//! the modules, which invariants there are, and where a change goes.

pub mod auth;
pub mod bugs;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod config;
#[cfg(feature = "cli")]
pub mod doctor;
#[doc(hidden)]
pub mod fuzzing;
pub mod logging;
pub mod net;
#[cfg(feature = "cli")]
pub mod picture;
pub mod protocol;
pub mod results;
pub mod rng;
pub mod runtime;
pub mod sim;
#[cfg(feature = "cli")]
pub mod simulate;
pub mod stdio;
pub mod storage;
mod text;
pub mod wire;
