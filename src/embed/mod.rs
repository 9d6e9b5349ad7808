//! The library interface for other programs: a cluster in their own process, values proposed to it,
//! entries read from its log, and state machines that follow it.
//!
//! [`Cluster`] says which cluster it is, [`Node`] runs roles of it, [`Client`] proposes,
//! [`Subscription`] reads, and [`Replica`] does both for a [`StateMachine`]. Everything runs on
//! blocking threads, as in the program `paxos`; a [`Ticket`] is a `Future` as well, for
//! asynchronous code. The roles are those of the program: nothing of the protocol is here.
//!
//! A library leaves alone what belongs to the program: it handles no signal, installs no logger (it
//! logs through the crate `log`), uses no standard input or output and no variable of the
//! environment, and never ends the process. Only the leader places values in the log, so each is
//! delivered exactly once.

mod client;
mod cluster;
pub mod conformance;
mod contained;
mod descriptor;
mod desk;
mod feed;
mod front;
mod looks;
mod metrics;
mod node;
mod reads;
mod replica;
mod subscription;
mod then;
mod ticket;

pub use self::client::Client;
pub use self::cluster::{Cluster, ClusterBuilder};
pub use self::desk::Refused;
pub use self::node::{Node, NodeError, Status};
pub use self::replica::{Consistency, ReadError, Replica, StateMachine};
pub use self::subscription::{Entry, NoEntry, Place, Position, Subscription};
pub use self::ticket::{Fate, NotYet, Ticket};
pub use crate::config::ConfigError;
pub use crate::protocol::types::{Number, Role, Session};
pub use crate::runtime::start_error::{StartError, StartErrorKind};
pub use crate::snapshots::Frozen;
