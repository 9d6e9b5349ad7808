//! How roles run in this process, from their start to the end of their last thread.
//!
//! No signal is handled, nothing is read or printed, and the process is never ended: the reason why
//! a node ended is returned. A separate thread supervises the others, so that they end together:
//! the rest of a node would look alive.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Select;
use parking_lot::{Condvar, Mutex};

use super::metrics::Server;
use super::subscription::Position;
use crate::protocol::actor::{Actor, Halt};
use crate::protocol::types::{NodeId, Role};
use crate::results::output::NoOutput;
use crate::runtime::gauges::Gauges;
use crate::runtime::inbox::InboxSender;
use crate::runtime::opening::introduce;
use crate::runtime::process::{Process, Running};
use crate::runtime::role_loop::Failure;
use crate::runtime::start_error::{StartError, no_thread};
use crate::storage::watch::Watch;

/// How often to check that an acceptor's data is still there.
const GLANCE: Duration = Duration::from_millis(300);

/// Roles that run in this process. Dropping it stops them and waits for their threads.
pub struct Node {
    names: Vec<NodeId>,
    metrics: Option<SocketAddr>,
    inboxes: Vec<InboxSender>,
    gauges: Vec<Arc<Gauges>>,
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
}

/// What a node knows of its cluster. It looks ten times a second at most, and once a second at
/// least, so this may be a little old; of a node that has ended it is what it knew last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The id of the proposer that leads, as far as the node knows one that a majority of the
    /// acceptors answers. While there is none, nothing is decided.
    pub leader: Option<u32>,
    /// Everything up to this position is decided, and known to the node's learner or proposer. 0 if
    /// nothing is, and in a node that has neither.
    pub decided: Position,
}

/// Why a node has ended, or has not.
#[derive(Debug)]
#[non_exhaustive]
pub enum NodeError {
    /// An acceptor's records cannot be stored. Everything that it has answered is stored.
    Storage(String),
    /// The acceptor came back without what it had promised, or its data was taken away, or the
    /// state of a machine or a snapshot is from before the cluster lost its data: the node must not
    /// be restarted unchanged.
    Forgotten(String),
    /// Entries were removed from the log before a subscription or replica had them, because it was
    /// away or slow for longer than `retain` allows, or is new.
    Trimmed(String),
    /// A later release has written something into the log that must be understood, or the only
    /// snapshot to go on from, and this one does not know it: the program must be built with the
    /// later one.
    Outdated(String),
    /// A thread of the node panicked, in this library or in a state machine.
    Panicked,
    /// It was told to end, and has not done so in time. Its threads end when they can.
    Late,
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeError::Storage(sentence)
            | NodeError::Forgotten(sentence)
            | NodeError::Trimmed(sentence)
            | NodeError::Outdated(sentence) => f.write_str(sentence),
            NodeError::Panicked => f.write_str(
                "a thread of the node panicked, and the node has ended: start it again, and report \
                 what the thread said",
            ),
            NodeError::Late => f.write_str(
                "the node was told to end and is not done yet, as when a disk hangs: nothing that \
                 it answered is lost",
            ),
        }
    }
}

impl std::error::Error for NodeError {}

impl From<Failure> for NodeError {
    fn from(failure: Failure) -> Self {
        let sentence = failure.to_string();
        match failure {
            Failure::Store(_) | Failure::Output(_) => NodeError::Storage(sentence),
            Failure::Halted(Halt::Trimmed(first) | Halt::CutOff(first)) => {
                NodeError::Trimmed(format!(
                    "the log begins at instance {first}: what lies below has been removed, as \
                     `retain` says, before this process had it; start a replica with a line \
                     `snapshots`, to fetch one of another replica, or after a copy of its state"
                ))
            }
            Failure::Halted(Halt::NoSnapshot(_)) => NodeError::Trimmed(sentence),
            Failure::Halted(Halt::Unknown(_) | Halt::LaterSnapshot { .. }) => {
                NodeError::Outdated(sentence)
            }
            Failure::Halted(Halt::Forgotten | Halt::Foreign | Halt::Ahead(_))
            | Failure::Vanished(_) => NodeError::Forgotten(sentence),
        }
    }
}

#[derive(Default)]
struct Shared {
    end: Mutex<End>,
    has_ended: Condvar,
}

#[derive(Default)]
enum End {
    #[default]
    Running,
    Ended(Result<(), NodeError>),
    /// The reason was already reported.
    Told,
}

/// A role that is ready to run.
pub(super) struct Ready {
    name: NodeId,
    pub process: Process,
    watch: Option<Watch>,
    start: Box<dyn FnOnce(Process) -> Result<Running, StartError>>,
}

impl Ready {
    pub fn new(
        name: NodeId,
        process: Process,
        watch: Option<Watch>,
        actor: impl Actor + Send + 'static,
    ) -> Self {
        let start = Box::new(|process: Process| process.start(actor, Box::new(NoOutput)));
        Ready { name, process, watch, start }
    }
}

impl Node {
    /// Starts these roles; `server` serves their figures.
    pub(super) fn start(mut roles: Vec<Ready>, server: Option<Server>) -> Result<Node, StartError> {
        introduce(roles.iter_mut().map(|role| &mut role.process))?;
        let names: Vec<NodeId> = roles.iter().map(|role| role.name).collect();
        let gauges = roles.iter_mut().map(|role| role.process.publish()).collect();
        let metrics = server.as_ref().map(Server::address);
        let (running, watches) = (Vec::new(), Vec::new());
        let mut keeping = Keeping { running, heard: None, watches, server };
        for role in roles {
            // Roles that run already end when the others are dropped.
            keeping.running.push((role.start)(role.process)?);
            keeping.watches.extend(role.watch);
        }
        let inboxes = keeping.running.iter().map(|running| running.inbox.clone()).collect();
        let shared = Arc::new(Shared::default());
        let of_keeper = Arc::clone(&shared);
        let keep = move || {
            // So the threads are joined before their end is known, in every case.
            let mut keeping = keeping;
            let end = keeping.wait();
            // What ended first may have done so because another could not go on.
            let end = end.and(keeping.join());
            *of_keeper.end.lock() = End::Ended(end);
            of_keeper.has_ended.notify_all();
        };
        let keeper = thread::Builder::new().name("node".to_owned()).spawn(keep);
        let keeper = Some(keeper.map_err(no_thread)?);
        Ok(Node { names, metrics, inboxes, gauges, shared, keeper })
    }

    /// The roles that run, as `A1` for acceptor 1.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.names.iter().map(NodeId::to_string)
    }

    /// Where it serves its metrics, if `metrics` is set, and the library has its feature of that
    /// name.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// What it knows of its cluster.
    pub fn status(&self) -> Status {
        let figures: Vec<_> = self.gauges.iter().map(|gauges| gauges.figures()).collect();
        // A client that wants nothing does not notice that its leader is gone.
        let is_client = |name: &NodeId| name.role == Role::Client;
        let is_alone = self.names.iter().all(is_client);
        let hear = self.names.iter().zip(&figures).filter(|(name, _)| is_alone || !is_client(name));
        // The highest ballot is that of the last leader.
        let leader = hear.filter_map(|(_, figures)| figures.leader).max();
        let progress = figures.iter().filter_map(|figures| figures.progress);
        let below = progress.map(|progress| progress.watermark.0).max();
        Status {
            leader: leader.map(|ballot| ballot.proposer),
            decided: Position(below.unwrap_or(0).saturating_sub(1)),
        }
    }

    /// Whether it is still running. A node ends when it is stopped, or when it cannot go on; when
    /// one role ends, the others end as well.
    pub fn is_running(&self) -> bool {
        matches!(*self.shared.end.lock(), End::Running)
    }

    /// Waits for its end, for at most `within`. Returns whether it has ended.
    pub fn wait(&self, within: Duration) -> bool {
        let mut end = self.shared.end.lock();
        let is_running = |end: &mut End| matches!(end, End::Running);
        !self.shared.has_ended.wait_while_for(&mut end, is_running, within).timed_out()
    }

    /// Ends it, and waits until its threads have ended and its sockets and files are closed, for at
    /// most `within`; a tenth of a second is usual.
    ///
    /// # Errors
    ///
    /// When it could not go on before it was stopped, or has not ended in time. In the second case
    /// its threads are left alone.
    pub fn stop(mut self, within: Duration) -> Result<(), NodeError> {
        self.ask_to_end();
        if !self.wait(within) {
            self.keeper = None;
            return Err(NodeError::Late);
        }
        self.join();
        match std::mem::replace(&mut *self.shared.end.lock(), End::Told) {
            End::Ended(end) => end,
            End::Running | End::Told => Err(NodeError::Panicked),
        }
    }

    pub(super) fn inboxes(&self) -> Vec<InboxSender> {
        self.inboxes.clone()
    }

    pub(super) fn ask_to_end(&self) {
        self.inboxes.iter().for_each(InboxSender::stop);
    }

    fn join(&mut self) {
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            log::error!("the thread of a node failed; this is a bug in paxos; please report it");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.keeper.is_some() {
            self.ask_to_end();
            self.join();
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("names", &self.names).finish_non_exhaustive()
    }
}

/// What the thread of a node supervises. When it is dropped, all of it ends.
struct Keeping {
    running: Vec<Running>,
    /// How this one of them has ended is known.
    heard: Option<usize>,
    watches: Vec<Watch>,
    server: Option<Server>,
}

impl Keeping {
    /// Waits until one of the roles has ended, or must.
    fn wait(&mut self) -> Result<(), NodeError> {
        let mut select = Select::new();
        for running in &self.running {
            select.recv(&running.ended);
        }
        loop {
            let ready = if self.watches.is_empty() {
                Ok(select.ready())
            } else {
                select.ready_timeout(GLANCE)
            };
            let Ok(place) = ready else {
                for watch in &self.watches {
                    watch.look().map_err(Failure::Vanished)?;
                }
                continue;
            };
            self.heard = Some(place);
            return end_of(&self.running[place]);
        }
    }

    /// Ends all of it. Returns why a role could not go on, if that was not known.
    fn join(&mut self) -> Result<(), NodeError> {
        // All of them first: each takes a moment.
        for running in &self.running {
            running.inbox.stop();
            running.stop_receiving();
        }
        let mut end = Ok(());
        for (place, running) in self.running.drain(..).enumerate() {
            if self.heard != Some(place) {
                end = end.and(end_of(&running));
            }
            running.join();
        }
        // Until then it says which role is not done.
        self.server = None;
        end
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        // Where nobody asks, it was logged.
        let _ = self.join();
    }
}

/// Waits until a role has ended, and returns how.
fn end_of(running: &Running) -> Result<(), NodeError> {
    match running.ended.recv() {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(failure)) => {
            log::error!("{failure}");
            Err(failure.into())
        }
        Err(_) => Err(NodeError::Panicked),
    }
}
