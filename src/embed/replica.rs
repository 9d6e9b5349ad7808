//! How a state machine is replicated: every replica applies the same commands in the same order.
//!
//! A replica is a learner and a client in one node, plus a thread that applies. A call is a value
//! of the replica's own session; when the learner here delivers that number, the thread applies it
//! and hands the output to the caller. Delivery is exactly once and in the session's order
//! (`protocol::decided_log`), so a call is applied once however often the client had to ask.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::desk::{Closed, Desk, Patience, Refused};
use super::feed::{Feed, Piece, Taken};
use super::node::{Node, NodeError};
use super::reads::{Passing, Reads};
use super::subscription::{Place, Position, each_value};
use super::ticket::{Fate, Teller, Ticket, ticket};
use crate::clock::Clock;
use crate::protocol::checkpoint::Checkpoint;
use crate::protocol::types::{Number, Origin, Session, Time};
use crate::runtime::inbox::InboxSender;
use crate::runtime::start_error::{StartError, no_thread};
use crate::snapshots::Frozen;
use crate::snapshots::keeper::Keeper;

/// The application that a cluster replicates.
pub trait StateMachine: Send + 'static {
    /// What a command returns to its caller. It stays in the caller's process.
    type Output: Send + 'static;

    /// Applies the command that stands at `place` in the log.
    ///
    /// It must be a function of the state and its arguments: no clock but the place's time, no
    /// random numbers, no order of a hash map, nothing of the host. An application's error is an
    /// output. A panic ends the node.
    fn apply(&mut self, place: &Place, command: &[u8]) -> Self::Output;

    /// A digest of the state, if there is one: replicas at the same position must have the same.
    fn digest(&self) -> Option<u64> {
        None
    }

    /// The state as it is now, in a form that another thread can write while this machine goes on.
    /// No command is applied during this call, so it should be quick.
    ///
    /// Without it there are no snapshots, and a replica that starts needs the log from its
    /// beginning.
    fn freeze(&self) -> Option<Frozen> {
        None
    }

    /// Replaces the state by the one that [`freeze`](StateMachine::freeze) wrote: nothing of the
    /// old one may be left.
    ///
    /// # Errors
    ///
    /// When the input is not such a state; then the replica does not start, or ends.
    fn restore(&mut self, _snapshot: &mut dyn Read) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this state machine cannot be restored; remove `snapshots` from the configuration",
        ))
    }
}

/// What waits for a call.
pub(super) enum Call<O> {
    Output(Teller<O>),
    /// A barrier: an empty value, which no machine sees. Reads up to this number wait for it.
    Passed(Passing),
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Consistency {
    /// The state that this replica has applied. It may lag, and never goes back.
    Local,
    /// The same, once this replica has applied everything up to this position: what another
    /// replica or a subscription has seen, or the position of an own command wherever that was
    /// applied. Nobody is asked, so a position that the log does not reach is waited for in vain.
    AtLeast(Position),
    /// Everything that was decided before the read began. A majority of the acceptors is asked how
    /// far that may be, and the read waits until this replica has applied that much; it needs no
    /// leader and no disk. Reads that come together share the question. Where that fails, as while
    /// few acceptors answer, the read costs as much as a call: an empty value is proposed, and the
    /// read waits until it comes back.
    Linearizable,
}

/// Why nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The state was not ready in time. Nothing of the read waits any more.
    TimedOut,
    /// Thousands of other reads wait already.
    Full,
    /// The replica has ended.
    Ended,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReadError::TimedOut => {
                "the replica has not answered in time: a majority of the acceptors may be down, or \
                 it has much to apply; read again"
            }
            ReadError::Full => {
                "too many reads wait for the replica already: a majority of the acceptors may be \
                 down, or it has much to apply; read again later"
            }
            ReadError::Ended => "the replica has ended: start another one",
        })
    }
}

impl std::error::Error for ReadError {}

/// One copy of the state, which follows the log and takes commands for it.
pub struct Replica<M: StateMachine> {
    desk: Arc<Desk<Call<M::Output>>>,
    feed: Arc<Feed>,
    reads: Arc<Reads<M, M::Output>>,
    applied: Arc<AtomicU64>,
    /// None once it has been stopped.
    running: Option<Running<M>>,
}

/// What ends with a replica.
struct Running<M> {
    node: Node,
    /// The thread that applies. It takes the one that writes snapshots with it.
    thread: JoinHandle<()>,
    /// Gives the machine back when the thread ends; closed without a message after a panic.
    ended: Receiver<Result<M, NodeError>>,
}

/// Where a replica begins.
pub(super) struct Start<M> {
    pub machine: M,
    /// What the machine has applied already.
    pub after: Position,
    pub keeper: Option<Keeper>,
    /// How far it has come, for all who look.
    pub applied: Arc<AtomicU64>,
}

/// The state of the thread that applies.
struct Applying<M: StateMachine> {
    session: Session,
    desk: Arc<Desk<Call<M::Output>>>,
    feed: Arc<Feed>,
    reads: Arc<Reads<M, M::Output>>,
    applied: Arc<AtomicU64>,
    /// The writer of snapshots, if they are kept.
    keeper: Option<Keeper>,
    /// The inboxes of the node, which ends with this thread.
    inboxes: Vec<InboxSender>,
}

impl<M: StateMachine> Replica<M> {
    pub(super) fn start(
        node: Node,
        desk: Arc<Desk<Call<M::Output>>>,
        feed: Arc<Feed>,
        reads: Arc<Reads<M, M::Output>>,
        start: Start<M>,
    ) -> Result<Self, StartError> {
        let Start { machine, after, keeper, applied } = start;
        applied.store(after.0, Ordering::Release);
        let applying = Applying {
            session: desk.session(),
            desk: Arc::clone(&desk),
            feed: Arc::clone(&feed),
            reads: Arc::clone(&reads),
            applied: Arc::clone(&applied),
            keeper,
            inboxes: node.inboxes(),
        };
        let (sender, ended) = bounded(1);
        let apply = move || {
            let end = applying.run(machine);
            // Nobody waits any more for a replica that did not end in time.
            let _ = sender.send(end);
        };
        let thread = thread::Builder::new().name("apply".to_owned()).spawn(apply);
        let thread = thread.map_err(no_thread)?;
        let running = Some(Running { node, thread, ended });
        Ok(Replica { desk, feed, reads, applied, running })
    }

    /// Proposes a command, and waits while too many others wait for the cluster. The ticket yields
    /// the output once this replica has applied the command.
    ///
    /// # Errors
    ///
    /// When the command is empty or too long, while the acceptors' disks are full, and when the
    /// replica has ended.
    pub fn call(&self, command: impl AsRef<[u8]>) -> Result<Ticket<M::Output>, Refused> {
        self.put(command.as_ref(), Patience::Waits)
    }

    /// The same, without waiting.
    ///
    /// # Errors
    ///
    /// As above, and with [`Refused::Full`], which returns the command, where
    /// [`call`](Replica::call) would wait.
    pub fn try_call(&self, command: impl AsRef<[u8]>) -> Result<Ticket<M::Output>, Refused> {
        self.put(command.as_ref(), Patience::Tries)
    }

    /// Whether a command would be refused with [`Refused::DisksFull`] now.
    pub fn disks_are_full(&self) -> bool {
        self.desk.is_full()
    }

    fn put(&self, command: &[u8], patience: Patience) -> Result<Ticket<M::Output>, Refused> {
        let (ticket, teller) = ticket();
        let put = match command {
            [] => Err(Refused::Empty),
            command => self.desk.put(command, patience, Some(Call::Output(teller))),
        };
        put.inspect_err(|refused| self.desk.count(refused)).map(|_| ticket)
    }

    /// Requests what a read with [`Consistency::Linearizable`] waits for, everything decided by
    /// now, without making the caller wait: once this replica has applied it, the ticket yields the
    /// position reached. One barrier serves all reads that wait for it.
    ///
    /// # Errors
    ///
    /// With [`Refused::Full`], whose value is empty, while thousands of others wait, and when the
    /// replica has ended. If its ticket is dropped, the barrier does not wait any more.
    pub fn try_barrier(&self) -> Result<Ticket<Position>, Refused> {
        let (ticket, teller) = ticket();
        let waits = self.reads.push(Box::new(move |_, at| teller.decided(at)))?;
        Ok(ticket.waiting(waits))
    }

    /// Lets `look` see the state between two commands, and returns its result. Nothing is applied
    /// meanwhile, so it should be quick. It runs on the replica's thread; if it panics, the panic
    /// continues in the calling thread, and the replica goes on as if nothing had happened.
    ///
    /// # Errors
    ///
    /// When the state was not ready within `within`, while thousands of others wait, and when the
    /// replica has ended.
    pub fn read<R: Send + 'static>(
        &self,
        consistency: Consistency,
        within: Duration,
        look: impl FnOnce(&M) -> R + Send + 'static,
    ) -> Result<R, ReadError> {
        self.read_at(consistency, within, move |machine, _| look(machine))
    }

    /// The same; `look` also gets the position of the last applied command. A copy of the state,
    /// with its position, is a snapshot: see
    /// [`Cluster::replica_after`](super::Cluster::replica_after).
    ///
    /// # Errors
    ///
    /// As above.
    pub fn read_at<R: Send + 'static>(
        &self,
        consistency: Consistency,
        within: Duration,
        look: impl FnOnce(&M, Position) -> R + Send + 'static,
    ) -> Result<R, ReadError> {
        let (ticket, teller) = ticket();
        let look = move |machine: &M, at: Position| {
            teller.decided(catch_unwind(AssertUnwindSafe(|| look(machine, at))));
        };
        let waits = match consistency {
            Consistency::Local => self.reads.push_local(None, Box::new(look)),
            Consistency::AtLeast(position) => self.reads.push_local(Some(position), Box::new(look)),
            Consistency::Linearizable => self.reads.push(Box::new(look)),
        };
        let waits = waits.map_err(|refused| match refused {
            Refused::Full(_) => ReadError::Full,
            _ => ReadError::Ended,
        })?;
        if consistency != Consistency::Linearizable {
            self.feed.nudge();
        }
        match wait_for(ticket.waiting(waits), within)? {
            Ok(seen) => Ok(seen),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// The digest of the state, and the position of the last command in it.
    ///
    /// # Errors
    ///
    /// Those of [`Replica::read`].
    pub fn digest(&self, within: Duration) -> Result<(Position, Option<u64>), ReadError> {
        self.read_at(Consistency::Local, within, |machine, at| (at, machine.digest()))
    }

    /// How far the log is applied here.
    pub fn applied(&self) -> Position {
        Position(self.applied.load(Ordering::Acquire))
    }

    /// The node that runs it; none while it is being stopped.
    pub fn node(&self) -> Option<&Node> {
        self.running.as_ref().map(|running| &running.node)
    }

    /// Ends it and returns the machine in its last state; waits for at most `within`. Calls that
    /// are not known to be applied are [`Fate::Unknown`].
    ///
    /// A snapshot that is being written is given up at its next write; one that is already being
    /// synced is completed. Until then the next start of this replica finds its directory in use.
    ///
    /// # Errors
    ///
    /// Those of [`Node::stop`]; [`NodeError::Late`] even if only the machine or the disk of its
    /// snapshots is not done in time. Their threads are then left alone, end when they can, and
    /// leave no incomplete snapshot.
    pub fn stop(mut self, within: Duration) -> Result<M, NodeError> {
        let Some(Running { node, thread, ended }) = self.running.take() else {
            return Err(NodeError::Late);
        };
        let clock = Clock::start();
        node.stop(within)?;
        let left = within.saturating_sub(clock.now().since(Time::ZERO));
        let end = match ended.recv_timeout(left) {
            Err(RecvTimeoutError::Timeout) => return Err(NodeError::Late),
            end => end.unwrap_or(Err(NodeError::Panicked)),
        };
        // It has nothing left to do.
        thread.join().map_err(|_| NodeError::Panicked)?;
        end
    }
}

impl<M: StateMachine> Drop for Replica<M> {
    fn drop(&mut self) {
        if let Some(Running { node, thread, .. }) = self.running.take() {
            drop(node);
            if thread.join().is_err() {
                log::error!("a state machine panicked, and its replica has ended");
            }
        }
    }
}

impl<M: StateMachine> fmt::Debug for Replica<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("applied", &self.applied()).finish_non_exhaustive()
    }
}

fn wait_for<T>(ticket: Ticket<T>, within: Duration) -> Result<T, ReadError> {
    match ticket.wait(within) {
        Ok(Fate::Decided(outcome)) => Ok(outcome),
        Ok(Fate::Unknown) => Err(ReadError::Ended),
        Err(_) => Err(ReadError::TimedOut),
    }
}

impl<M: StateMachine> Applying<M> {
    /// Gives the machine back at the end.
    fn run(self, mut machine: M) -> Result<M, NodeError> {
        let mut pieces = VecDeque::new();
        loop {
            let taken = self.feed.take(&mut pieces, None);
            for piece in pieces.drain(..) {
                if let Piece::Restored(checkpoint) = &piece {
                    if let Err(error) = self.restore(&mut machine, checkpoint) {
                        return Err(NodeError::Storage(format!(
                            "the snapshot that was fetched from another replica cannot be \
                             restored: {error}; all replicas of a cluster must run the same state \
                             machine"
                        )));
                    }
                } else {
                    self.apply(&mut machine, &piece);
                }
                self.reads.serve_local(&machine, self.at(), self.at());
            }
            // What comes behind the last command is none.
            let passed = self.feed.taken().map_or(0, |below| below.0.saturating_sub(1));
            self.reads.serve_local(&machine, self.at(), self.at().max(Position(passed)));
            if taken == Taken::Ended {
                return Ok(machine);
            }
        }
    }

    /// Writes a snapshot of this place, if one is due.
    fn keep(&self, machine: &M, checkpoint: &Arc<Checkpoint>) {
        let Some(keeper) = self.keeper.as_ref().filter(|keeper| keeper.is_free()) else { return };
        // A machine that was ahead of the log at its start holds more.
        let has_no_more = self.at() < checkpoint.head.of.into();
        if let Some(frozen) = has_no_more.then(|| machine.freeze()).flatten() {
            keeper.keep(Arc::clone(checkpoint), frozen);
        }
    }

    /// Goes on from a snapshot that was fetched. Calls of this replica that are already in the
    /// snapshot have no output here.
    fn restore(&self, machine: &mut M, checkpoint: &Checkpoint) -> io::Result<()> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        let of = checkpoint.head.of;
        keeper.read(of, |mut bytes| machine.restore(&mut bytes))?;
        let mut sessions = checkpoint.sessions.iter();
        let own = sessions.find(|(session, _)| *session == self.session);
        let position = Position(of.0.saturating_sub(1));
        self.applied.store(position.0, Ordering::Release);
        let passed = own.map(|(_, own)| self.desk.take_below(own.next));
        for (_, call) in passed.into_iter().flatten() {
            match call {
                // Everything before it is in the machine.
                Call::Passed(passing) => self.reads.serve(passing.served(), machine, position),
                Call::Output(teller) => drop(teller),
            }
        }
        Ok(())
    }

    fn at(&self) -> Position {
        Position(self.applied.load(Ordering::Relaxed))
    }

    fn apply(&self, machine: &mut M, piece: &Piece) {
        match piece {
            Piece::Checkpoint(checkpoint) => return self.keep(machine, checkpoint),
            Piece::Readable(last) => return self.reads.serve(*last, machine, self.at()),
            Piece::Values(..) | Piece::Long(_) | Piece::Restored(_) => {}
        }
        each_value(piece, |place, Origin { session, number, .. }, command| {
            let position = place.position;
            // A snapshot has it already.
            if position <= self.at() {
                return;
            }
            let call = if session == self.session { self.desk.take(number) } else { None };
            if command.is_empty() {
                self.applied.store(position.0, Ordering::Release);
                if let Some(Call::Passed(passing)) = call {
                    self.reads.serve(passing.served(), machine, position);
                }
                return;
            }
            let output = machine.apply(&place, command);
            self.applied.store(position.0, Ordering::Release);
            if let Some(Call::Output(teller)) = call {
                teller.decided(output);
            }
        });
    }
}

impl<M: StateMachine> Drop for Applying<M> {
    /// The thread ends, perhaps by a panic of the machine: nobody may go on waiting for it, and the
    /// node must not look alive.
    fn drop(&mut self) {
        self.inboxes.iter().for_each(InboxSender::stop);
        self.desk.close(Number(0), Closed::Stopped);
        self.reads.end();
    }
}
