//! One thread that serves all connections.
//!
//! Each turn it takes from every connection the requests that have arrived: a flight, of which a
//! connection has one at a time, so its answers are in order. All flights of a turn that change
//! anything are proposed as one entry of the log. Flights that only read wait for that entry, or
//! for a barrier if there is none, and look at the store then: everything that was acknowledged
//! before they began is applied by that time. A flight with a write takes its reads into the log.
//!
//! Keys expire by the time of the log, which stands still while nobody writes. So reads that would
//! see a key whose time is over by the clock of this host put an entry into the log that moves the
//! time alone, and look behind that; so do reads that ask how much time is left. Whether the key is
//! gone then is for the log to say. A clock that is wrong costs entries, and no two replicas ever
//! disagree.

mod waiting;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use multi_paxos::{Cluster, Node, NodeError, Refused, Replica, Role, StartError};
use slab::Slab;

use self::waiting::{Awaited, Landed, Parts, Waiting, Waking};
use crate::bugs::{self, Bug};
use crate::clock;
use crate::connection::{Connection, READ_BYTES};
use crate::entry::{self, HEADER_BYTES, Reader};
use crate::figures::Figures;
use crate::machine::{self, Machine, Shared};
use crate::options::Serving;
use crate::reply::Reply;
use crate::session::{About, DISKS_FULL, Flight, Session};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// How many bytes the flights in one entry have, unless a single one has more.
const ENTRY_BYTES: usize = 256 << 10;
/// A flight takes no further request once its steps have this many bytes.
const FLIGHT_BYTES: usize = 64 << 10;
/// How long a flight waits for the cluster.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How often silent connections are checked.
const GLANCE: Duration = Duration::from_secs(1);
/// How long the end of the replica may take.
const END: Duration = Duration::from_secs(5);

const UNKNOWN: &str = "CLUSTERDOWN No majority of the acceptors has answered in time: a write \
                       may be carried out later, or may not; read before you write again";
const LOST: &str = "CLUSTERDOWN This process was late and cannot tell: a write may have been \
                    carried out, or may not; read before you write again";
const REFUSED: &str = "TRYAGAIN Nothing was done: no majority of the acceptors answers, or too \
                       much waits for it; try again";

/// Why a server could not start.
#[derive(Debug)]
pub enum ServeError {
    /// Its roles could not.
    Start(StartError),
    /// Its socket could not be opened.
    Listen(SocketAddr, io::Error),
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ServeError::Start(error) => error.fmt(f),
            ServeError::Listen(address, error) => write!(
                f,
                "cannot listen at {address}: {error}; end what listens there, or choose another \
                 --listen"
            ),
        }
    }
}

impl std::error::Error for ServeError {}

/// A process of the cluster, and the clients of it.
pub struct Server {
    poll: Poll,
    listener: TcpListener,
    connections: Slab<Connection>,
    replica: Replica<Machine>,
    store: Shared,
    about: About,
    figures: Arc<Figures>,
    origin: u64,
    idle: Option<Duration>,
    waking: Arc<Waking>,
    is_stopped: Arc<AtomicBool>,
    waiting: Waiting,
    /// Barriers of reads that came while disks were full, so that writes that wait for room do not
    /// hold them up.
    aside: Waiting,
    /// Flights that have not been proposed yet.
    fresh: Parts,
    looked: Instant,
    /// A connection was not taken, and nobody will say so again.
    may_accept: bool,
    /// A connection has gone while something of it was under way.
    has_lost: bool,
    /// The buffer for one read of a socket.
    piece: Vec<u8>,
}

/// Ends a server from outside.
#[derive(Clone)]
pub struct Stopper {
    waking: Arc<Waking>,
    is_stopped: Arc<AtomicBool>,
}

impl Stopper {
    /// Lets the server end.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.waking.now();
    }
}

impl Server {
    /// Starts the roles of this process, and opens its socket.
    ///
    /// # Errors
    ///
    /// When either cannot be.
    pub fn start(cluster: &Cluster, serving: Serving) -> Result<Server, ServeError> {
        let refuse = |error| ServeError::Listen(serving.listen, error);
        let poll = Poll::new().map_err(refuse)?;
        let mut listener = TcpListener::bind(serving.listen).map_err(refuse)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(refuse)?;
        let waking = Waking::new(mio::Waker::new(poll.registry(), WAKER).map_err(refuse)?);
        let listen = listener.local_addr().map_err(refuse)?;

        let store = Shared::default();
        let origin = serving.origin;
        let machine = Machine::new(Arc::clone(&store), origin);
        let figures = Figures::new(&store);
        let shown = Arc::clone(&figures);
        let cluster = cluster.clone().with_more_metrics(move || shown.text());
        let mut roles = vec![Role::Proposer];
        if serving.id <= cluster.acceptor_count() {
            roles.push(Role::Acceptor);
        }
        let replica = cluster.replica_with(serving.id, &roles, machine);
        // A flight always fits an entry: it takes its last command when it has less than this.
        let flight_bytes = FLIGHT_BYTES.min(cluster.value_bytes() / 4);
        let about = About {
            id: serving.id,
            cluster: cluster.to_string(),
            listen,
            clients_max: serving.clients_max,
            clients: 0,
            connections: 0,
            commands: 0,
            password: serving.password,
            longest: cluster.value_bytes().saturating_sub(HEADER_BYTES + flight_bytes),
            flight_bytes,
            reads_locally: serving.reads_locally,
            disks_are_full: false,
            started: Instant::now(),
            store: Arc::clone(&store),
        };
        Ok(Server {
            poll,
            listener,
            connections: Slab::new(),
            replica: replica.map_err(ServeError::Start)?,
            store,
            about,
            figures,
            origin,
            idle: serving.idle,
            waiting: Waiting::new(&waking),
            aside: Waiting::new(&waking),
            waking,
            is_stopped: Arc::default(),
            fresh: Vec::new(),
            looked: Instant::now(),
            may_accept: false,
            has_lost: false,
            piece: vec![0; READ_BYTES],
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.about.listen
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        let (waking, is_stopped) = (Arc::clone(&self.waking), Arc::clone(&self.is_stopped));
        Stopper { waking, is_stopped }
    }

    /// Serves until it is stopped, or cannot go on. `is_ready` is called once everything that was
    /// acknowledged before is there.
    ///
    /// # Errors
    ///
    /// Why it could not go on.
    pub fn run(mut self, is_ready: impl FnOnce(SocketAddr)) -> Result<(), NodeError> {
        let mut events = Events::with_capacity(1024);
        let mut is_ready = Some(is_ready);
        let mut first = self.replica.try_barrier().ok();
        while !self.is_stopped.load(Ordering::Relaxed) {
            if self.poll.poll(&mut events, self.within()).is_err() {
                continue;
            }
            let now = Instant::now();
            let mut busy: Vec<usize> = Vec::new();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(now, &mut busy),
                    WAKER => {}
                    Token(place) => {
                        if let Some(connection) = self.connections.get_mut(place) {
                            if event.is_readable() {
                                connection.is_readable();
                            }
                            busy.push(place);
                        }
                    }
                }
            }
            self.waking.is_awake();
            // With nothing under way, only a check shows that the node has ended.
            if !self.replica.node().is_some_and(Node::is_running) {
                break;
            }
            self.land(now, &mut busy);
            self.give_up(now, &mut busy);
            self.serve(now, busy);
            if let Some(ticket) = first.take_if(|ticket| ticket.is_known()) {
                drop(ticket);
                if let Some(is_ready) = is_ready.take() {
                    is_ready(self.about.listen);
                }
            }
            self.look_around(now, is_ready.is_none());
            self.figures.publish(&self.about);
        }
        let Server { replica, .. } = self;
        replica.stop(END).map(drop)
    }

    fn within(&self) -> Option<Duration> {
        let now = Instant::now();
        let deadline = self.waiting.deadline().into_iter().chain(self.aside.deadline()).min();
        let patience = deadline.map(|deadline| deadline.saturating_duration_since(now));
        Some(patience.unwrap_or(GLANCE).min(GLANCE))
    }

    fn accept(&mut self, now: Instant, busy: &mut Vec<usize>) {
        loop {
            let (mut stream, address) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    log::warn!(
                        "a connection is not taken: {error}; raise the limit of open files, or \
                         lower --maxclients"
                    );
                    self.may_accept = true;
                    return;
                }
            };
            self.about.connections += 1;
            if self.connections.len() >= self.about.clients_max {
                // Whether it is heard does not matter.
                let error = b"-ERR max number of clients reached\r\n";
                let _ = io::Write::write(&mut stream, error);
                continue;
            }
            let _ = stream.set_nodelay(true);
            let vacant = self.connections.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut stream, Token(vacant.key()), interest).is_err() {
                continue;
            }
            busy.push(vacant.key());
            let session = Session::new(self.about.connections, address, &self.about);
            let connection = vacant.insert(Connection::new(stream, session));
            connection.heard = now;
            self.about.clients = self.connections.len();
        }
    }

    /// Reads, proposes and answers, for connections with which something has happened.
    fn serve(&mut self, now: Instant, mut busy: Vec<usize>) {
        self.about.disks_are_full = self.replica.disks_are_full();
        while !busy.is_empty() {
            busy.sort_unstable();
            busy.dedup();
            let mut again = Vec::new();
            for place in busy {
                let Some(connection) = self.connections.get_mut(place) else { continue };
                let is_broken = connection.read(&mut self.piece, now, &self.about).is_err();
                if let Some(flight) = connection.depart(&mut self.about) {
                    connection.in_flight = true;
                    let part = (place, connection.session.id(), flight);
                    if part.2.is_told() {
                        self.answer(part, Vec::new());
                        again.push(place);
                    } else {
                        self.fresh.push(part);
                    }
                }
                let Some(connection) = self.connections.get_mut(place) else { continue };
                let was_full = connection.is_full();
                let is_over = connection.write();
                if is_broken || is_over {
                    self.close(place);
                } else if was_full && !connection.is_full() {
                    // Nothing else reminds of the requests that had to wait for this.
                    again.push(place);
                }
            }
            self.propose(now, &mut again);
            busy = again;
        }
        if std::mem::take(&mut self.has_lost) {
            let is_there = |place: usize, id| {
                self.connections.get(place).is_some_and(|other| other.session.id() == id)
            };
            self.waiting.let_go(is_there);
            self.aside.let_go(is_there);
        }
    }

    /// Lets flights take off.
    fn propose(&mut self, now: Instant, busy: &mut Vec<usize>) {
        if self.fresh.is_empty() {
            return;
        }
        let fresh = std::mem::take(&mut self.fresh);
        let (writes, reads): (Parts, Parts) = fresh.into_iter().partition(|part| part.2.is_write);
        let is_local = |part: &(usize, u64, Flight)| {
            let connection = self.connections.get(part.0);
            bugs::has(Bug::ReadsLocally)
                || connection.is_some_and(|connection| connection.session.reads_locally())
        };
        let (local, reads): (Parts, Parts) = reads.into_iter().partition(is_local);
        for part in local {
            busy.push(part.0);
            self.look(part);
        }
        let is_full = self.about.disks_are_full;
        let way = if is_full { &self.aside } else { &self.waiting };
        if way.is_stuck() {
            for part in writes.into_iter().chain(reads) {
                busy.push(part.0);
                self.refuse(part, REFUSED);
            }
            return;
        }
        let mut entry: Parts = Vec::new();
        let mut bytes = 0;
        let longest = ENTRY_BYTES.min(self.about.longest + self.about.flight_bytes);
        for part in writes {
            let more = part.2.steps.as_bytes().len();
            if !entry.is_empty() && bytes + more > longest {
                self.propose_entry(now, std::mem::take(&mut entry), Vec::new(), busy);
                bytes = 0;
            }
            bytes += more;
            entry.push(part);
        }
        let asked = clock::now();
        // Beside writes their entry is the faster barrier: acceptors answer questions behind their
        // syncs, and then have to be followed up to the entries that they have synced.
        let (behind, mut reads) =
            if entry.is_empty() { self.part_by_time(reads, asked) } else { (reads, Vec::new()) };
        if !entry.is_empty() || !behind.is_empty() {
            self.propose_entry(now, entry, behind, busy);
        }
        if !reads.is_empty() {
            match self.replica.try_barrier() {
                Ok(ticket) => {
                    let way = if is_full { &mut self.aside } else { &mut self.waiting };
                    way.push(Awaited::Passed(ticket, asked), Vec::new(), reads, now);
                }
                Err(_) => reads.drain(..).for_each(|part| {
                    busy.push(part.0);
                    self.refuse(part, REFUSED);
                }),
            }
        }
    }

    /// Splits reads into those that need a later time than the log has, if they came at `asked`,
    /// and the others.
    fn part_by_time(&self, reads: Parts, asked: u64) -> (Parts, Parts) {
        if bugs::has(Bug::ReadsWhatExpired) {
            return (Vec::new(), reads);
        }
        let store = self.store.lock();
        let (has_expired, is_behind) =
            (store.has_overdue(asked), store.expiring() > 0 && store.now() < asked);
        drop(store);
        reads.into_iter().partition(|part| has_expired || is_behind && part.2.tells_time)
    }

    fn propose_entry(&mut self, now: Instant, writes: Parts, reads: Parts, busy: &mut Vec<usize>) {
        let mut value = entry::begin(self.origin);
        for (_, _, flight) in &writes {
            value.extend_from_slice(flight.steps.as_bytes());
        }
        match self.replica.try_call(value) {
            Ok(ticket) if bugs::has(Bug::AnswersBeforeDecided) => {
                drop(ticket);
                for part in writes.into_iter().chain(reads) {
                    busy.push(part.0);
                    let mut copy = self.store.lock().clone();
                    let replies = machine::read(&mut copy, Reader::of(&part.2.steps));
                    self.answer(part, replies);
                }
            }
            Ok(ticket) => self.waiting.push(Awaited::Applied(ticket), writes, reads, now),
            Err(refused) => {
                let error = format!("ERR Nothing was done: {refused}");
                let error = match refused {
                    Refused::TooLong { .. } => error.as_str(),
                    Refused::DisksFull(_) => DISKS_FULL,
                    _ => REFUSED,
                };
                for part in writes.into_iter().chain(reads) {
                    busy.push(part.0);
                    self.refuse(part, error);
                }
            }
        }
    }

    /// Answers requests that the cluster has decided.
    fn land(&mut self, now: Instant, busy: &mut Vec<usize>) {
        while let Some(landed) = self.waiting.next().or_else(|| self.aside.next()) {
            let Landed { replies, asked, writes, reads } = landed;
            let Some(replies) = replies else {
                for part in writes.into_iter().chain(reads) {
                    busy.push(part.0);
                    self.refuse(part, LOST);
                }
                continue;
            };
            let mut replies = replies.into_iter();
            for part in writes {
                busy.push(part.0);
                let count = part.2.steps.len();
                let own = replies.by_ref().take(count).collect();
                self.answer(part, own);
            }
            // Keys of which this replica knew nothing may have come, and their time be over. Behind
            // an entry no time is needed: it got its time after the reads began.
            let (behind, reads) = match asked {
                Some(asked) => self.part_by_time(reads, asked),
                None => (Vec::new(), reads),
            };
            if !behind.is_empty() {
                self.propose_entry(now, Vec::new(), behind, busy);
            }
            for part in reads {
                busy.push(part.0);
                self.look(part);
            }
        }
    }

    /// Tells those that have waited for too long.
    fn give_up(&mut self, now: Instant, busy: &mut Vec<usize>) {
        for part in self.waiting.give_up(now).into_iter().chain(self.aside.give_up(now)) {
            busy.push(part.0);
            self.refuse(part, UNKNOWN);
        }
    }

    /// Answers a flight that only reads, by the state at hand.
    fn look(&mut self, part: (usize, u64, Flight)) {
        let replies = machine::read(&mut self.store.lock(), Reader::of(&part.2.steps));
        self.answer(part, replies);
    }

    fn refuse(&mut self, part: (usize, u64, Flight), error: &str) {
        let replies = vec![Reply::Error(error.to_owned()); part.2.steps.len()];
        self.answer(part, replies);
    }

    fn answer(&mut self, (place, id, flight): (usize, u64, Flight), replies: Vec<Reply>) {
        // The client may have gone meanwhile, and another one have its place.
        let connection = self.connections.get_mut(place);
        let Some(connection) = connection.filter(|connection| connection.session.id() == id) else {
            return;
        };
        connection.land(flight, replies, &mut self.about);
    }

    fn close(&mut self, place: usize) {
        if let Some(mut connection) = self.connections.try_remove(place) {
            let _ = self.poll.registry().deregister(&mut connection.stream);
            self.has_lost |= connection.in_flight;
        }
        self.about.clients = self.connections.len();
    }

    /// Does what nothing else reminds of.
    fn look_around(&mut self, now: Instant, is_ready: bool) {
        if now - self.looked < GLANCE {
            return;
        }
        self.looked = now;
        if is_ready {
            self.let_expire(now);
        }
        if std::mem::take(&mut self.may_accept) {
            let mut busy = Vec::new();
            self.accept(now, &mut busy);
            self.serve(now, busy);
        }
        let Some(idle) = self.idle else { return };
        let is_silent = |connection: &Connection| {
            !connection.in_flight && now.saturating_duration_since(connection.heard) > idle
        };
        let silent = self.connections.iter().filter(|(_, connection)| is_silent(connection));
        let silent: Vec<usize> = silent.map(|(place, _)| place).collect();
        silent.into_iter().for_each(|place| self.close(place));
    }

    /// Moves the time of a log that stands idle, if a key waits for that: it takes room, and reads
    /// by this replica alone see it. The first replica to notice does it for all.
    fn let_expire(&mut self, now: Instant) {
        let waits = self.store.lock().has_overdue(clock::now());
        if waits && self.waiting.is_empty() && !bugs::has(Bug::ReadsWhatExpired) {
            self.propose_entry(now, Vec::new(), Vec::new(), &mut Vec::new());
        }
    }
}
