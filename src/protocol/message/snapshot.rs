//! Messages that announce snapshots, and that move one from one learner to another
//! (`protocol::transfer` has the rules).

use std::fmt;

use crate::protocol::types::{Instance, Value};

/// Which application's state a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateKind {
    /// That of `paxos learner --apply digest`.
    Digest,
    /// That of a state machine of a program's own.
    Replica,
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StateKind::Digest => "digest",
            StateKind::Replica => "replica",
        })
    }
}

/// Which form a snapshot of a later release has, that this one cannot read. The numbers are those
/// of `snapshots::file`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaterForm {
    /// The file begins with another number.
    File(u8),
    /// Its head is of a form of this number.
    Head(u8),
    /// Its state of delivery is a control entry of this kind.
    Delivery(u64),
}

impl fmt::Display for LaterForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LaterForm::File(number) => write!(f, "its file has form {}", number.escape_ascii()),
            LaterForm::Head(number) => write!(f, "its head has form {number}"),
            LaterForm::Delivery(kind) => write!(f, "its state of delivery is of kind {kind}"),
        }
    }
}

/// Which snapshot: two of the same name have the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotName {
    /// Of which log it is: [`Progress::name`](super::Progress::name).
    pub log: u64,
    /// Everything below it is in the snapshot.
    pub of: Instance,
    /// The lowest instance that is needed to go on from it.
    pub keep: Instance,
    /// How long its file is.
    pub bytes: u64,
    /// The last bytes of its file, which are part of a hash of the state.
    pub tail: u64,
}

/// Learner to learners: send me these pieces of a snapshot's file, or the first of the newest one
/// that you have. `transfer` has the rules.
///
/// Learner to proposers: I fetch one, and need the log from its `keep` on; no pieces are wanted
/// ([`Fetch::needing`]). Proposers of the release before drop this undecoded, in either version of
/// the wire, and do not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fetch {
    /// The learner that is asked; none means all.
    pub of: Option<u32>,
    /// As [`CatchUpRequest::again`](super::CatchUpRequest::again).
    pub again: bool,
    /// Which application's state the asker can use.
    pub kind: StateKind,
    /// The snapshot; none asks for the newest.
    pub snapshot: Option<SnapshotName>,
    /// How long a chunk is, but for the last.
    pub chunk_bytes: u32,
    /// The number of the first chunk that `wanted` is about.
    pub first: u64,
    /// A bit for each of 64 chunks, the lowest for `first`.
    pub wanted: u64,
}

impl Fetch {
    /// What a learner tells the proposers that needs what lies from `keep` on in the log of this
    /// name; 0 if it knows none.
    pub fn needing(kind: StateKind, log: u64, keep: Instance) -> Fetch {
        let snapshot = Some(SnapshotName { log, of: keep, keep, bytes: 0, tail: 0 });
        Fetch { of: None, again: false, kind, snapshot, chunk_bytes: 0, first: 0, wanted: 0 }
    }

    /// Of which log its sender needs something, and from where on, if this says so.
    pub fn needs(&self) -> Option<Needed> {
        let snapshot = self.snapshot.filter(|_| self.wanted == 0)?;
        Some(Needed { log: snapshot.log, from: snapshot.keep })
    }
}

/// What a learner needs of a log, until it has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The name of the log, or 0 if the learner knows none: the present one.
    pub log: u64,
    /// It needs what lies from here on.
    pub from: Instance,
}

/// Learner to the one that asked: a piece of a snapshot's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chunk {
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// Where in the file it stands.
    pub offset: u64,
    /// The bytes.
    pub bytes: Value,
}

/// Learner to proposers: this learner has a snapshot, on stable storage, that stands for everything
/// below an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Durable {
    /// Entries below it are not needed to go on from that snapshot.
    pub below: Instance,
    /// Of which log it is: [`Progress::name`](super::Progress::name).
    pub name: u64,
}
