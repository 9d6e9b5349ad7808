//! What learners ask acceptors before they let others read (`reads` has the argument).

use super::Instance;

/// Learner to acceptors: where does the part of the log end that you have accepted? A read waits
/// for it. `reads` has the argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadRequest {
    /// How many of them the sender has sent since its start: only the answer to the last one
    /// counts.
    pub count: u64,
    /// As [`CatchUpRequest::again`](super::CatchUpRequest::again).
    pub again: bool,
}

/// Acceptor to the learner that asked: what it has accepted, and stored, ends here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadReply {
    /// The boot number of the learner that asked.
    pub boot: u64,
    /// As [`ReadRequest::count`].
    pub count: u64,
    /// Above everything that the acceptor has accepted. While its data survive, it never shrinks.
    pub end: Instance,
}
