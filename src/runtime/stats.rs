//! Counters of one process: what was received, sent and dropped, and why.
//!
//! Shared by its threads. They record what happened and decide nothing: no code may branch on them.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::doing::Doing;
use crate::protocol::actor::Ignored;
use crate::snapshots::tally::Tally;
use crate::wire::Refusal;

/// Everything that is counted. One for the process, in an [`Arc`].
#[derive(Debug, Default)]
pub struct Stats {
    /// Datagrams that a receive thread got. Those lost on purpose never come that far.
    pub received: Counter,
    /// Datagrams that another role of the same process handed over, without a socket.
    pub neighbours: Counter,
    /// Datagrams this process sent to a group it is in, and got back.
    pub own: Counter,
    /// Datagrams that the role could not use at the time, dropped undecoded.
    pub uninteresting: Counter,
    /// Datagrams of the gate's handshake.
    pub hellos: Counter,
    /// Datagrams that asked whether an address is this process's, and the answers.
    pub knocks: Counter,
    /// Datagrams dropped because the role loop did not keep up.
    pub inbox_full: Counter,
    /// Datagrams the kernel dropped because a receive thread did not keep up.
    pub kernel_dropped: Counter,
    /// Datagrams dropped on purpose. In an [`Arc`] of its own, for the code that simulates the
    /// loss.
    pub loss: Arc<AtomicU64>,
    /// Times that receiving failed.
    pub receive_errors: Counter,
    /// Datagrams sent.
    pub sent: Counter,
    /// Messages that were sent again because no answer had come: requests, Prepares, Accepts, and
    /// catch-up requests.
    pub sent_again: Counter,
    /// Datagrams that could not be sent.
    pub send_errors: Counter,
    /// Messages that did not fit a datagram. Always a bug in this program.
    pub too_long: Counter,
    /// Datagrams that were not understood, by reason.
    pub refused: Reasons<Refusal>,
    /// Messages that were not acted on, by reason.
    pub ignored: Reasons<Ignored>,
    /// Values that the library did not take from its program, by reason.
    pub turned_away: Reasons<TurnedAway>,
    /// Sessions of clients that a learner has forgotten, because the log has a limit of them.
    pub sessions_forgotten: Counter,
    /// What the role loop is doing; not a count, but as harmless.
    pub doing: Doing,
    /// The last position that a replica has applied, if there is one.
    pub applied: OnceLock<Arc<AtomicU64>>,
    /// A learner's snapshots, if it keeps any.
    pub snapshots: OnceLock<Arc<Tally>>,
}

/// Why the library turned a value away, of which nothing has left then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TurnedAway {
    /// Too much waits already.
    Full,
    /// The disks of too many acceptors are full.
    DisksFull,
    /// It is longer than a value can be.
    TooLong,
    /// It is empty, and a replica's.
    Empty,
    /// The cluster has ended the session.
    Ended,
    /// The client was stopped.
    Closed,
}

impl TurnedAway {
    /// All of them.
    pub const ALL: [TurnedAway; 6] = [
        TurnedAway::Full,
        TurnedAway::DisksFull,
        TurnedAway::TooLong,
        TurnedAway::Empty,
        TurnedAway::Ended,
        TurnedAway::Closed,
    ];
}

impl Stats {
    /// Logs all of it in one line, at the end.
    pub fn log_summary(&self) {
        log::info!("{self}");
    }
}

/// Counters that are zero are left out, except those of received and sent datagrams.
impl Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "received {}, sent {}", self.received.count(), self.sent.count())?;
        let rest = [
            (self.sent_again.count(), "sent again"),
            (self.neighbours.count(), "from this process"),
            (self.own.count(), "own"),
            (self.uninteresting.count(), "of no interest"),
            (self.hellos.count(), "of handshakes"),
            (self.knocks.count(), "about addresses"),
            (self.loss.load(Ordering::Relaxed), "lost on purpose"),
            (self.kernel_dropped.count(), "dropped by the kernel"),
            (self.inbox_full.count(), "dropped at a full inbox"),
            (self.receive_errors.count(), "failures to receive"),
            (self.send_errors.count(), "failures to send"),
            (self.too_long.count(), "too long to send"),
            (self.sessions_forgotten.count(), "sessions forgotten"),
        ];
        for (count, what) in rest.into_iter().filter(|&(count, _)| count > 0) {
            write!(f, ", {count} {what}")?;
        }
        for (reason, count) in self.refused.counts() {
            write!(f, ", {count} refused ({reason})")?;
        }
        for (reason, count) in self.ignored.counts() {
            write!(f, ", {count} ignored ({reason:?})")?;
        }
        for (reason, count) in self.turned_away.counts() {
            write!(f, ", {count} values turned away ({reason:?})")?;
        }
        Ok(())
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// That many more.
    pub fn add(&self, count: u64) {
        // No memory is ordered by a counter.
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A count for each reason. Behind a lock, because these events are rare.
#[derive(Debug)]
pub struct Reasons<R>(Mutex<BTreeMap<R, u64>>);

impl<R> Default for Reasons<R> {
    fn default() -> Self {
        Reasons(Mutex::new(BTreeMap::new()))
    }
}

impl<R: Copy + Ord> Reasons<R> {
    /// One more for this reason.
    pub fn increment(&self, reason: R) {
        *self.0.lock().entry(reason).or_insert(0) += 1;
    }

    /// The count of this reason.
    pub fn count(&self, reason: R) -> u64 {
        self.0.lock().get(&reason).copied().unwrap_or(0)
    }

    /// Each reason that came up, with its count.
    pub fn counts(&self) -> Vec<(R, u64)> {
        self.0.lock().iter().map(|(&reason, &count)| (reason, count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_what_happened_and_nothing_else() {
        let stats = Stats::default();
        assert_eq!(stats.to_string(), "received 0, sent 0");
        stats.received.add(12);
        stats.sent_again.add(4);
        stats.inbox_full.increment();
        stats.ignored.increment(Ignored::StaleBallot);
        stats.ignored.increment(Ignored::StaleBallot);
        stats.loss.fetch_add(3, Ordering::Relaxed);
        assert_eq!(
            stats.to_string(),
            "received 12, sent 0, 4 sent again, 3 lost on purpose, 1 dropped at a full inbox, \
             2 ignored (StaleBallot)"
        );
        assert_eq!(stats.ignored.count(Ignored::StaleBallot), 2);
        assert_eq!(stats.ignored.count(Ignored::QueueFull), 0);
    }
}
