//! Reading old votes back from the acceptors' disks.

use crate::protocol::entries::Entries;
use crate::protocol::types::{Ballot, Instance, RUN_BYTES_MAX, Run};

/// Learner to acceptors: how did you vote in these old instances? No process holds them in memory
/// any more. `recall` has the argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recall {
    /// The acceptor that sends entries; the others send ballots alone.
    pub of: u32,
    /// As [`CatchUpRequest::again`](super::CatchUpRequest::again).
    pub again: bool,
    /// Everything below it is decided: some acceptor has said so.
    pub known: Instance,
    /// The instances.
    pub run: Run<Instance>,
}

/// Acceptor to the learner that asked: its last votes in some of the instances.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recalled {
    /// Everything below it is decided, and was when this acceptor looked.
    pub known: Instance,
    /// The acceptor has removed its votes below it.
    pub trimmed: Instance,
    /// The instances that the answer covers: where it reports no vote, the acceptor has none.
    pub run: Run<Instance>,
    /// The votes.
    pub votes: Vec<Voted>,
    /// The instance of the first entry; the others follow it.
    pub from: Instance,
    /// The entries that the first of the votes were for, or none.
    pub entries: Entries,
    /// Whether this is the last datagram of the answer.
    pub last: bool,
}

/// One acceptor's last votes in consecutive instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voted {
    /// The instances.
    pub run: Run<Instance>,
    /// The ballot of the votes.
    pub ballot: Ballot,
}

impl Voted {
    /// How many bytes one takes in a datagram, at most.
    pub const BYTES_MAX: usize = RUN_BYTES_MAX + 9 + 5 + 9;
}
