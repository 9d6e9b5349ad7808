//! The settings of the protocol: intervals, time-outs and limits, each with its default.
//!
//! Defaults suit a LAN, where an answer takes well under a millisecond.

use std::time::Duration;

use super::assembly::AssemblyLimits;
use super::types::{AssignedBy, ENTRY_BYTES_MAX, MESSAGE_BYTES_MAX};
use super::versions::Versions;

/// How much of the log is kept at least. Older entries are removed by all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retain {
    /// All of it.
    All,
    /// This many entries.
    Entries(u64),
    /// This many bytes of entries, in the form in which they travel.
    Bytes(u64),
    /// Everything decided during this time.
    Age(Duration),
}

/// Settings of the protocol; all processes of a cluster should agree on them.
///
/// A cluster is safe even when they do not agree: safety depends on `acceptor_count` alone, so
/// every datagram carries its sender's count, and others are not heard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How many acceptors there are, 1 to 64. A quorum is a majority of them.
    pub acceptor_count: u32,
    /// The time between two heartbeats. Proposers that stand by leave out two of three.
    pub heartbeat_interval: Duration,
    /// A leader that was not heard for this long is replaced.
    pub leader_timeout: Duration,
    /// A client or learner that no leader serves for this long, and for two of `retry_max`, calls
    /// for another. A leader that hears a quorum steps down when none of its requests is answered
    /// for this long, and for eight of `retry_max`.
    pub progress_timeout: Duration,
    /// The wait before an unanswered Prepare is sent again. Doubles up to `retry_max`, as all
    /// retries do.
    pub retry_prepare: Duration,
    /// The wait before an unanswered Accept is sent again, until round trips are measured.
    pub retry_accept: Duration,
    /// The wait before an unacknowledged decision is named again.
    pub retry_decide: Duration,
    /// The wait before a client sends a request again, until round trips are measured.
    pub retry_request: Duration,
    /// The shortest wait for an answer where round trips are measured.
    pub retry_least: Duration,
    /// The wait before a learner requests missing entries again.
    pub retry_catch_up: Duration,
    /// The longest wait between two tries.
    pub retry_max: Duration,
    /// How long a hole is given to fill by itself before it is requested.
    pub catch_up_delay: Duration,
    /// How long a hole below a leader-assigned value is left open.
    pub hole_delay: Duration,
    /// How long a leader may wait before it tells a client what it received.
    pub request_ack_delay: Duration,
    /// How long the leading learner may wait before it tells the proposers what it holds.
    pub decide_ack_delay: Duration,
    /// The largest datagram, in bytes of UDP payload.
    pub datagram_bytes: usize,
    /// The longest value, in bytes. A leader-assigned value that does not fit a datagram travels in
    /// parts. See [`Settings::value_bytes`].
    pub value_bytes: usize,
    /// How many values a client keeps in flight.
    pub client_window: usize,
    /// How many instances a leader keeps in flight.
    pub leader_window: usize,
    /// How many bytes of values a client, or a leader, keeps in flight at most: less where the
    /// network carries less.
    pub window_bytes: usize,
    /// How many requested values a leader holds that are not in flight yet.
    pub request_queue: usize,
    /// How far above the watermark a client may ask for an instance.
    pub instances_ahead: u64,
    /// How many bytes answer one catch-up request.
    pub catch_up_bytes: usize,
    /// How many values that travel in parts may be under way: part of the log's form; smaller only
    /// in the simulator.
    pub assembly: AssemblyLimits,
    /// How many bytes of the log every process holds in memory at least, where acceptors keep what
    /// `retain` says on their disks. Without such disks everything that is kept is in memory.
    pub hold_bytes: Option<u64>,
    /// With `hold_bytes`: about how many bytes of the log a new leader reads at most before it
    /// takes requests. Checkpoints lie half as far apart, or less.
    pub take_up_bytes: u64,
    /// How much of the log is kept. Clients should ask for instances only where all of it is kept:
    /// nobody knows any more who won a trimmed instance, so they get no answer.
    pub retain: Retain,
    /// Learners whose snapshots must replace removed entries: nothing is removed unless at least
    /// `snapshot_copies` of them have it in a snapshot. If the list is empty, no snapshot is
    /// needed.
    pub keepers: Vec<u32>,
    /// How many of the keepers must have a snapshot; `None` means a majority.
    pub snapshot_copies: Option<usize>,
    /// After how many instances a learner that takes snapshots takes one, if the log has no
    /// checkpoint before.
    pub snapshot_instances: u64,
    /// How many sessions are remembered, 1 or more: when there are a quarter more than that, the
    /// excess is forgotten.
    pub sessions: usize,
    /// Which versions of the wire format this process reads, and may send in.
    pub versions: Versions,
}

impl Settings {
    /// How many bytes of entries fit into one datagram.
    pub fn page_bytes(&self) -> usize {
        self.datagram_bytes.saturating_sub(MESSAGE_BYTES_MAX)
    }

    /// The same for a page that may be cut from another: its first entry may take more bytes than
    /// it did there.
    pub fn entries_bytes(&self) -> usize {
        self.page_bytes().saturating_sub(ENTRY_BYTES_MAX)
    }

    /// How many pages of a promise come at a time: a quarter of a catch-up reply, for all acceptors
    /// answer together.
    pub fn promise_pages(&self) -> usize {
        (self.catch_up_bytes / 4 / self.datagram_bytes).max(1)
    }

    /// How long a plea, and the offers that it names, count: three tries of either.
    pub fn offer_memory(&self) -> Duration {
        self.leader_timeout.max(self.retry_max) * 3
    }

    /// The longest value that a client may request. A client-assigned value must fit a datagram.
    pub fn value_bytes(&self, assigned_by: AssignedBy) -> usize {
        match assigned_by {
            AssignedBy::Leader => self.value_bytes,
            AssignedBy::Client => self.value_bytes.min(self.part_bytes()),
        }
    }

    /// A value longer than this travels in parts of this many bytes.
    pub fn part_bytes(&self) -> usize {
        Self::value_bytes_for(self.datagram_bytes)
    }

    /// The longest value that fits into a datagram of `datagram_bytes`.
    pub fn value_bytes_for(datagram_bytes: usize) -> usize {
        datagram_bytes.saturating_sub(MESSAGE_BYTES_MAX + ENTRY_BYTES_MAX)
    }
}

impl Default for Settings {
    fn default() -> Self {
        let datagram_bytes = 1472;
        Settings {
            acceptor_count: 3,
            heartbeat_interval: Duration::from_millis(20),
            leader_timeout: Duration::from_millis(150),
            progress_timeout: Duration::from_millis(1000),
            retry_prepare: Duration::from_millis(20),
            retry_accept: Duration::from_millis(20),
            retry_decide: Duration::from_millis(50),
            retry_request: Duration::from_millis(50),
            retry_least: Duration::from_millis(1),
            retry_catch_up: Duration::from_millis(20),
            retry_max: Duration::from_millis(500),
            catch_up_delay: Duration::from_millis(5),
            hole_delay: Duration::from_millis(10),
            request_ack_delay: Duration::from_millis(10),
            decide_ack_delay: Duration::from_millis(10),
            datagram_bytes,
            value_bytes: 1 << 20,
            client_window: 4096,
            leader_window: 16384,
            window_bytes: 1 << 20,
            request_queue: 65536,
            instances_ahead: 1 << 20,
            catch_up_bytes: 1 << 18,
            assembly: AssemblyLimits::FORMAT,
            hold_bytes: None,
            take_up_bytes: 4 << 20,
            retain: Retain::All,
            keepers: Vec::new(),
            snapshot_copies: None,
            snapshot_instances: 65_536,
            sessions: 4096,
            versions: Versions::ALL,
        }
    }
}
