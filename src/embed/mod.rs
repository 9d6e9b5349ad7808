//! What other programs build on: a cluster in their own process, values into its log and entries
//! out of it, and state machines that follow it.
//!
//! [`Cluster`] says which cluster it is, [`Node`] runs roles of it, [`Client`] proposes,
//! [`Subscription`] reads, and [`Replica`] does both for a [`StateMachine`]. All of it is blocking
//! threads, as in the program `paxos`; a [`Ticket`] is a `Future` as well, for those who have
//! tasks. The roles are those of the program: nothing of the protocol is here.
//!
//! A library takes nothing that is the program's: no signal, no logger (it speaks through the crate
//! `log`), no standard input or output, no variable of the environment, and no end of the process.
//! Values get their place in the log from the leader alone, so each is delivered exactly once.

mod client;
mod cluster;
pub mod conformance;
mod contained;
mod descriptor;
mod desk;
mod feed;
mod front;
mod looks;
mod node;
mod reads;
mod replica;
mod subscription;
mod ticket;

pub use self::client::Client;
pub use self::cluster::{Cluster, ClusterBuilder};
pub use self::desk::Refused;
pub use self::node::{Node, NodeError};
pub use self::replica::{Consistency, ReadError, Replica, StateMachine};
pub use self::subscription::{Entry, NoEntry, Place, Position, Subscription};
pub use self::ticket::{Fate, NotYet, Ticket};
pub use crate::config::ConfigError;
pub use crate::protocol::types::{Number, Role, Session};
pub use crate::runtime::start_error::{StartError, StartErrorKind};
pub use crate::snapshots::Frozen;
