//! The present state of a role in numbers, for status and metrics. No decision of a role depends on
//! them, and taking them changes nothing.

use std::time::Duration;

use super::client::{Client, ClientTally};
use super::message::Progress;
use super::types::{Ballot, Instance, Time};
use super::versions::Version;

/// A client that waits, and that no leader has answered for this long, has none that serves it.
const UNSERVED_MAX: Duration = Duration::from_secs(2);

/// One look at a role. Fields that a role does not have are left at none, false, zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Whether it leads its group: the proposers, or the learners.
    pub leads: bool,
    /// The ballot with which it leads or campaigns; of an acceptor, the one that it has promised.
    pub ballot: Option<Ballot>,
    /// The ballot of the leader that a quorum of the acceptors answers, if this role knows one: it
    /// leads itself, or has heard of that proposer lately.
    pub leader: Option<Ballot>,
    /// When it sent the latest announcement that a quorum of the acceptors has repeated
    /// (proposers).
    pub quorum_heard: Option<Time>,
    /// What it holds of the log (proposers and learners).
    pub progress: Option<Progress>,
    /// How many decided instances this role lacks that others were heard to hold.
    pub missing: u64,
    /// How many instances that a leader has proposed, or values that a client has requested, are
    /// not decided yet.
    pub in_flight: u64,
    /// Whether an acceptor's disk is full; of a leader, whether too few acceptors have room.
    pub full: bool,
    /// In how many instances an acceptor has accepted something.
    pub accepted: Option<u64>,
    /// Below which instance an acceptor may remove its votes.
    pub trimmed: Option<Instance>,
    /// How an acceptor's log fills its disk, if it has one. The driver knows.
    pub disk: Option<DiskUse>,
    /// Entries below it are not needed here any more, because a snapshot of this learner replaces
    /// them; none if it keeps no snapshots.
    pub durable: Option<Instance>,
    /// The learners for which a leader keeps more of the log than it was asked to.
    pub holders: Vec<Holder>,
    /// How many sessions of clients are remembered (proposers and learners).
    pub sessions: Option<u64>,
    /// The version of the wire format in which its messages are sent at the moment.
    pub version: Option<Version>,
    /// What became of a client's values.
    pub tally: Option<ClientTally>,
}

/// How a log fills its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// How many bytes the log has.
    pub log_bytes: u64,
    /// How many more there is room for; none if nobody knows.
    pub left: Option<Left>,
    /// When the oldest part of it was begun, in milliseconds since 1970; none if nobody knows.
    pub since_ms: Option<u64>,
}

/// How much room is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// In bytes.
    pub bytes: u64,
    /// With fewer than this the disk counts as full: they are a reserve.
    pub reserve: u64,
}

/// A learner for which a leader keeps more of the log than it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The learner's id.
    pub learner: u32,
    /// What it needs the log for.
    pub reason: HoldReason,
}

/// Why the log is kept for a learner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// It is a keeper, and has no snapshot that replaces enough of the log.
    NoSnapshot,
    /// It fetches another learner's snapshot, and then what follows it in the log.
    Fetches,
}

impl Figures {
    /// A look at a client.
    pub fn of_client(client: &Client, now: Time) -> Self {
        let is_served = |since| now.since(since) <= UNSERVED_MAX;
        let leader = Some(client.leader()).filter(|leader| *leader > Ballot::ZERO);
        let leader = leader.filter(|_| client.unserved_since().is_none_or(is_served));
        let tally = client.tally();
        Figures { leader, in_flight: tally.undecided(), tally: Some(tally), ..Figures::default() }
    }
}
