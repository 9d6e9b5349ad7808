//! Every timer there is.
//!
//! A role has at most one of each. Setting a timer that is set moves it.

/// A timer's name. "When to ..." completes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// When to send a heartbeat to its own group.
    Heartbeat,
    /// When to check whether the leader of its own group is still there.
    Election,
    /// When to ask for a promise again (proposer).
    RetryPrepare,
    /// When to send Accepts again that too few acceptors answered (proposer).
    RetryAccept,
    /// When to name decisions again that no learner acknowledged (proposer).
    RetryDecide,
    /// When to close holes below leader-assigned values (proposer).
    CloseHoles,
    /// When to acknowledge what was received and is not decided yet to clients (proposer).
    RequestAck,
    /// When to acknowledge what the learners hold to the proposers (leading learner).
    DecideAck,
    /// When to ask for decided values that are missing (learner, standby proposer).
    CatchUp,
    /// When to send requests again (client).
    RetryRequest,
    /// When to say that no leader serves this process (client, learner).
    Plea,
    /// When to ask once more where reads must wait, or to leave them to the log (learner).
    Read,
    /// When to ask for a snapshot again, or for the next piece of one (learner).
    Fetch,
}

impl Timer {
    /// Every timer.
    pub const ALL: [Timer; 13] = [
        Timer::Heartbeat,
        Timer::Election,
        Timer::RetryPrepare,
        Timer::RetryAccept,
        Timer::RetryDecide,
        Timer::CloseHoles,
        Timer::RequestAck,
        Timer::DecideAck,
        Timer::CatchUp,
        Timer::RetryRequest,
        Timer::Plea,
        Timer::Read,
        Timer::Fetch,
    ];
}
