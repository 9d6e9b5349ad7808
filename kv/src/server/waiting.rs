//! What is under way in the cluster, and which connections wait for it.
//!
//! Requests are answered in order, so only the first is watched: the library answers calls in
//! order, and barriers about when it answers the calls before them.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use multi_paxos::{Fate, Position, Ticket};

use super::PATIENCE;
use crate::reply::Reply;
use crate::session::Flight;

/// Flights, with the places of their connections and a number that distinguishes these from later
/// ones there.
pub type Parts = Vec<(usize, u64, Flight)>;

/// A request to the cluster.
pub enum Awaited {
    /// To apply an entry, whose answers come back.
    Applied(Ticket<Vec<Reply>>),
    /// A barrier, and when it was requested by the clock of this host, in milliseconds since 1970.
    Passed(Ticket<Position>, u64),
}

/// An answer of the cluster.
pub struct Landed {
    /// The answers to the steps of the writes, one after the other; none if nobody can tell: the
    /// replica has gone on from another one's snapshot, which may have applied them, or has ended.
    pub replies: Option<Vec<Reply>>,
    /// When a barrier was requested.
    pub asked: Option<u64>,
    /// The flights in the entry.
    pub writes: Parts,
    /// The flights that waited for it.
    pub reads: Parts,
}

struct Pending {
    awaited: Awaited,
    writes: Parts,
    reads: Parts,
    deadline: Instant,
    is_given_up: bool,
}

/// All of it, in order.
pub struct Waiting {
    pending: VecDeque<Pending>,
    waker: Waker,
}

impl Waiting {
    /// Nothing is under way; what lands wakes this up.
    pub fn new(waking: &Arc<Waking>) -> Waiting {
        let waker = Waker::from(Arc::clone(waking));
        Waiting { pending: VecDeque::new(), waker }
    }

    /// Something is under way from now on.
    pub fn push(&mut self, awaited: Awaited, writes: Parts, reads: Parts, now: Instant) {
        let deadline = now + PATIENCE;
        self.pending.push_back(Pending { awaited, writes, reads, deadline, is_given_up: false });
        // The first must be polled, or nobody is woken by it.
        if self.pending.len() == 1 {
            self.waking_first();
        }
    }

    fn waking_first(&mut self) {
        self.waker.wake_by_ref();
    }

    /// What has landed next, if anything has. Otherwise the waker is called when something does.
    pub fn next(&mut self) -> Option<Landed> {
        let mut context = Context::from_waker(&self.waker);
        let first = self.pending.front_mut()?;
        let (fate, asked) = match &mut first.awaited {
            Awaited::Applied(ticket) => match Pin::new(ticket).poll(&mut context) {
                Poll::Ready(fate) => (fate, None),
                Poll::Pending => return None,
            },
            Awaited::Passed(ticket, asked) => match Pin::new(ticket).poll(&mut context) {
                Poll::Ready(Fate::Decided(_)) => (Fate::Decided(Vec::new()), Some(*asked)),
                Poll::Ready(Fate::Unknown) => (Fate::Unknown, None),
                Poll::Pending => return None,
            },
        };
        let replies = fate.decided();
        let Pending { writes, reads, .. } = self.pending.pop_front()?;
        Some(Landed { replies, asked, writes, reads })
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether the first has been given up and is still under way: no majority answers.
    pub fn is_stuck(&self) -> bool {
        self.pending.front().is_some_and(|first| first.is_given_up)
    }

    /// When to give up the next flights.
    pub fn deadline(&self) -> Option<Instant> {
        let next = self.pending.partition_point(|pending| pending.is_given_up);
        self.pending.get(next).map(|pending| pending.deadline)
    }

    /// Forgets reads whose connections have gone, and barriers that nobody waits for.
    pub fn let_go(&mut self, is_there: impl Fn(usize, u64) -> bool) {
        for pending in &mut self.pending {
            pending.reads.retain(|(place, id, _)| is_there(*place, *id));
        }
        self.sweep();
    }

    /// Drops barriers that nobody waits for, except the first, if it has been given up: it shows
    /// when a majority answers again.
    fn sweep(&mut self) {
        let is_first_needed = self.is_stuck();
        let mut place = 0;
        self.pending.retain(|pending| {
            place += 1;
            let is_barrier = matches!(pending.awaited, Awaited::Passed(..));
            !is_barrier || !pending.reads.is_empty() || place == 1 && is_first_needed
        });
        // Another one may be the first now, and nobody has polled it yet.
        self.waking_first();
    }

    /// The flights that have waited for too long.
    pub fn give_up(&mut self, now: Instant) -> Parts {
        let mut parts = Vec::new();
        let next = self.pending.partition_point(|pending| pending.is_given_up);
        for pending in self.pending.range_mut(next..) {
            if pending.deadline > now {
                break;
            }
            pending.is_given_up = true;
            parts.append(&mut pending.writes);
            parts.append(&mut pending.reads);
        }
        if !parts.is_empty() {
            self.sweep();
        }
        parts
    }
}

/// Wakes the server, once until it has looked.
pub struct Waking {
    waker: mio::Waker,
    is_woken: AtomicBool,
}

impl Waking {
    /// With what wakes its poll.
    pub fn new(waker: mio::Waker) -> Arc<Waking> {
        Arc::new(Waking { waker, is_woken: AtomicBool::new(false) })
    }

    /// Wakes it.
    pub fn now(&self) {
        // Without it the server would look a second later.
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            let _ = self.waker.wake();
        }
    }

    /// The server looks: anything that comes from now on wakes it again.
    pub fn is_awake(&self) {
        self.is_woken.store(false, Ordering::Release);
    }
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.now();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.now();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use multi_paxos::{Cluster, Refused};

    use super::*;
    use crate::machine::{Machine, Shared};

    /// Clients come, read and go while no majority answers: only the reads of connected clients are
    /// kept.
    #[test]
    fn reads_of_clients_that_have_gone_are_not_kept() {
        let name = format!("waiting-{}", std::process::id());
        let group = "239.0.0.1".parse().unwrap();
        let cluster = Cluster::builder(&name).multicast(group, 19_690).build().unwrap();
        let replica = cluster.replica(1, Machine::new(Shared::default(), 1)).unwrap();
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let mut waiting = Waiting::new(&Waking::new(waker));
        let now = Instant::now();
        let come = |waiting: &mut Waiting, client: u64| {
            let barrier = Awaited::Passed(replica.try_barrier()?, 0);
            waiting.push(barrier, Vec::new(), vec![(0, client, Flight::default())], now);
            Ok::<_, Refused>(())
        };
        for client in 0..10_000 {
            come(&mut waiting, client).unwrap();
            waiting.let_go(|_, id| id == 0);
        }
        assert!(waiting.pending.len() == 1 && !waiting.is_stuck());
        // Those that are there are told, and the first goes on asking.
        (1..10).for_each(|client| come(&mut waiting, client).unwrap());
        assert_eq!(waiting.give_up(now + 2 * PATIENCE).len(), 10);
        assert!(waiting.pending.len() == 1 && waiting.is_stuck());
        waiting.let_go(|_, _| false);
        assert!(waiting.is_stuck());
        replica.stop(Duration::from_secs(20)).unwrap();
    }
}
