//! A state machine that every replica feeds with the same commands in the same order.
//!
//! A replica is a learner and a client in one node, and a thread of its own that applies. A call is
//! a value of the replica's own session; when the learner delivers that session's number, here, the
//! thread applies it and hands the output to who called. Delivery is exactly once and in the
//! session's order (`protocol::decided_log`), so a call is applied once however often the client
//! had to ask.

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

/// What a cluster replicates.
pub trait StateMachine: Send + 'static {
    /// What a command gives to who called it. It stays in its process.
    type Output: Send + 'static;

    /// Applies the command that stands there in the log.
    ///
    /// It must be a function of the state and of what it is handed: no clock but the place's time,
    /// no random numbers, no order of a hash map, nothing of the host. An application's error is an
    /// output. A panic ends the node.
    fn apply(&mut self, place: &Place, command: &[u8]) -> Self::Output;

    /// A digest of the state, if there is one: replicas at the same position must have the same.
    fn digest(&self) -> Option<u64> {
        None
    }

    /// The state as it is now, as something that writes it: another thread calls that, while this
    /// machine goes on. Nothing is applied while it is made, so it should be quick.
    ///
    /// Without it there are no snapshots, and a replica that starts needs the log from its
    /// beginning.
    fn freeze(&self) -> Option<Frozen> {
        None
    }

    /// Puts the state that [`freeze`](StateMachine::freeze) wrote in the place of the state that
    /// is there: nothing of that may be left.
    ///
    /// # Errors
    ///
    /// When what it reads is no such state; the replica does not start then, or ends.
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
    /// What this replica has applied. It may be behind, and never goes back.
    Local,
    /// Everything that was decided before the read began. A majority of the acceptors is asked how
    /// far that may be, and the read waits until this replica has applied as much; no leader is
    /// needed, and no disk. Reads that come together share the question. Where it does not help, as
    /// while few acceptors answer, the read costs what a call costs: an empty value is proposed,
    /// and the read waits until it comes back.
    Linearizable,
}

/// Why nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// It was not there in time. Nothing of it waits any more.
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
    /// Tells what is left when it ends; closed without a word after a panic.
    ended: Receiver<Result<M, NodeError>>,
}

/// Where a replica begins.
pub(super) struct Start<M> {
    pub machine: M,
    /// What the machine has applied already.
    pub after: Position,
    pub keeper: Option<Keeper>,
}

/// What the thread has that applies.
struct Applying<M: StateMachine> {
    session: Session,
    desk: Arc<Desk<Call<M::Output>>>,
    feed: Arc<Feed>,
    reads: Arc<Reads<M, M::Output>>,
    applied: Arc<AtomicU64>,
    /// Who writes snapshots, if anybody does.
    keeper: Option<Keeper>,
    /// Those of the node: it ends with this thread.
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
        let Start { machine, after, keeper } = start;
        let applied = Arc::new(AtomicU64::new(after.0));
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
            // Nobody waits any more for a replica that was late.
            let _ = sender.send(end);
        };
        let thread = thread::Builder::new().name("apply".to_owned()).spawn(apply);
        let thread = thread.map_err(no_thread)?;
        let running = Some(Running { node, thread, ended });
        Ok(Replica { desk, feed, reads, applied, running })
    }

    /// Proposes a command, and waits while too many others wait for the cluster. The ticket tells
    /// the output, once this replica has applied the command.
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
    /// As above, and with [`Refused::Full`], which has the command, where the other would wait.
    pub fn try_call(&self, command: impl AsRef<[u8]>) -> Result<Ticket<M::Output>, Refused> {
        self.put(command.as_ref(), Patience::Tries)
    }

    /// Whether a command would be refused with [`Refused::DisksFull`] now.
    pub fn disks_are_full(&self) -> bool {
        self.desk.is_full()
    }

    fn put(&self, command: &[u8], patience: Patience) -> Result<Ticket<M::Output>, Refused> {
        if command.is_empty() {
            return Err(Refused::Empty);
        }
        let (ticket, teller) = ticket();
        self.desk.put(command, patience, Some(Call::Output(teller)))?;
        Ok(ticket)
    }

    /// Waits for everything that is decided by now, as a read with [`Consistency::Linearizable`]
    /// does, but not the caller: once this replica has applied it, the ticket tells up to where it
    /// has. One barrier serves all reads that wait for it.
    ///
    /// # Errors
    ///
    /// With [`Refused::Full`], whose value is empty, while thousands of others wait, and when the
    /// replica has ended. A barrier whose ticket is dropped does not wait any more.
    pub fn try_barrier(&self) -> Result<Ticket<Position>, Refused> {
        let (ticket, teller) = ticket();
        let waits = self.reads.push(Box::new(move |_, at| teller.decided(at)))?;
        Ok(ticket.waiting(waits))
    }

    /// Lets `look` see the state between two commands, and returns what it makes of it. Nothing is
    /// applied meanwhile, so it should be quick. It runs on the replica's thread; if it panics, the
    /// panic goes on in the thread that called this, and the replica as if nothing had been.
    ///
    /// # Errors
    ///
    /// When it was not there within `within`, while thousands of others wait, and when the replica
    /// has ended.
    pub fn read<R: Send + 'static>(
        &self,
        consistency: Consistency,
        within: Duration,
        look: impl FnOnce(&M) -> R + Send + 'static,
    ) -> Result<R, ReadError> {
        self.read_at(consistency, within, move |machine, _| look(machine))
    }

    /// The same; `look` hears the position of the last command that was applied. A copy of the
    /// state, with its position, is a snapshot: see
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
            Consistency::Local => self.reads.push_local(Box::new(look)),
            Consistency::Linearizable => self.reads.push(Box::new(look)),
        };
        let waits = waits.map_err(|refused| match refused {
            Refused::Full(_) => ReadError::Full,
            _ => ReadError::Ended,
        })?;
        if consistency == Consistency::Local {
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
    /// As [`Replica::read`] has them.
    pub fn digest(&self, within: Duration) -> Result<(Position, Option<u64>), ReadError> {
        self.read_at(Consistency::Local, within, |machine, at| (at, machine.digest()))
    }

    /// How far the log is applied here.
    pub fn applied(&self) -> Position {
        Position(self.applied.load(Ordering::Acquire))
    }

    /// What runs it; none while it is being stopped.
    pub fn node(&self) -> Option<&Node> {
        self.running.as_ref().map(|running| &running.node)
    }

    /// Ends it and gives the machine back, as far as it has come; waits for at most `within`. Calls
    /// that are not known to be applied are [`Fate::Unknown`].
    ///
    /// A snapshot that is being written is given up at its next write; one that is written, and
    /// being synced, becomes whole. Until then the next start of this replica finds its directory
    /// in use.
    ///
    /// # Errors
    ///
    /// As [`Node::stop`] has them: with [`NodeError::Late`] also when the machine or the disk of
    /// its snapshots is not done in time. Their threads are left alone then, end when they can, and
    /// leave no snapshot that is not whole.
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
                self.reads.serve_local(&machine, self.at());
            }
            self.reads.serve_local(&machine, self.at());
            if taken == Taken::Ended {
                return Ok(machine);
            }
        }
    }

    /// Keeps a snapshot of this place, if that is the time for it.
    fn keep(&self, machine: &M, checkpoint: &Arc<Checkpoint>) {
        let Some(keeper) = self.keeper.as_ref().filter(|keeper| keeper.is_free()) else { return };
        // A machine that was ahead of the log when it began has more in it.
        let has_no_more = self.at() < checkpoint.head.of.into();
        if let Some(frozen) = has_no_more.then(|| machine.freeze()).flatten() {
            keeper.keep(Arc::clone(checkpoint), frozen);
        }
    }

    /// Goes on from a snapshot that was fetched. What this replica has called and the snapshot has
    /// applied has no output here.
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
                // All that came before it is in the machine.
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
    /// The thread ends, perhaps by a panic of the machine: nobody may wait for it, and the node
    /// must not look alive.
    fn drop(&mut self) {
        self.inboxes.iter().for_each(InboxSender::stop);
        self.desk.close(Number(0), Closed::Stopped);
        self.reads.end();
    }
}
