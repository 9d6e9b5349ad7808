//! What learners ask acceptors before they let others read (`reads` has the argument).

use super::Instance;

/// Learner to acceptors: where does that end what you have accepted? Somebody wants to read what is
/// decided. `reads` has the argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadRequest {
    /// How many of them the sender has sent in its life: only the answer to the last one counts.
    pub count: u64,
    /// As [`CatchUpRequest::again`](super::CatchUpRequest::again).
    pub again: bool,
}

/// Acceptor to who asked: what it has accepted, and stored, ends here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadReply {
    /// The life of the learner that asked.
    pub boot: u64,
    /// As [`ReadRequest::count`].
    pub count: u64,
    /// Above everything that the acceptor has accepted. While its data lives it never shrinks.
    pub end: Instance,
}
