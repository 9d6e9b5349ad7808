//! A process: opens what a role needs, starts its threads, waits for its end, and reports.
//!
//! Everything that can be wrong with the configuration is found before a socket is opened.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use log::{error, info, warn};
use parking_lot::Mutex;

use super::ending::{End, Ending, not_awaited};
use super::entropy;
use super::gate::{self, Gate, Keeper, SealingSender};
use super::inbox::{InboxSender, inbox};
use super::load::{Load, LoadOptions, Measured};
use super::printer::{FileOutput, Printer};
use super::progress::{ClientProgress, Counted};
use super::receiver::{Receiver, Reception};
use super::role_loop::{Ended, Failure, RoleLoop, Surroundings};
use super::stats::Stats;
use super::stdin::{Credits, InputFailure, Stdin};
use crate::auth::key::KeyRing;
use crate::auth::seal::Seal;
use crate::clock::Clock;
use crate::config::{self, Config, Place, PlaceError};
use crate::net::interface::{HostInterface, host_interfaces};
use crate::net::lossy::Lossy;
use crate::net::multicast::{NetError, Options};
use crate::net::rejoin::{Recipe, Rejoining, Reopening};
use crate::net::{DatagramReceiver, DatagramSender, Groups};
use crate::protocol::acceptor::Acceptor;
use crate::protocol::actor::Actor;
use crate::protocol::client::{Client, ClientTally};
use crate::protocol::learner::Learner;
use crate::protocol::message::Assignment;
use crate::protocol::proposer::{Proposer, ProposerOptions};
use crate::protocol::settings::Settings;
use crate::protocol::types::{NodeId, Role, Sender, Session};
use crate::results::output::{NoOutput, Output};
use crate::results::writer::ResultsWriter;
use crate::stdio;
use crate::storage::AcceptorStore;
use crate::storage::directory::Directory;
use crate::storage::error::LogError;
use crate::storage::identity::Identity;
use crate::storage::log::{Log, LogOptions, Recovered};
use crate::storage::memory::MemoryStore;
use crate::storage::watch::Watch;
use crate::wire::Codec;

/// How long a blocked standard output is waited for at the end.
const LAST_PRINT: Duration = Duration::from_millis(200);

/// How to run a role.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeOptions {
    /// The configuration file, as typed.
    pub conf: String,
    /// The role and the id, from 1.
    pub node: NodeId,
    /// How likely each received datagram is dropped, in [0, 1).
    pub loss: f64,
    /// How long to run; none means until killed.
    pub lifetime: Option<Duration>,
    /// The seed of loss and jitter; none means one from the operating system.
    pub seed: Option<u64>,
    /// Never send an Accept or a Decide twice (proposers).
    pub no_timeouts: bool,
    /// Run phase 1 for each instance as values arrive (proposers).
    pub no_preexecution: bool,
    /// Who gives values their instances (clients).
    pub assignment: Assignment,
    /// Where learners write.
    pub results: PathBuf,
    /// The data is a copy that the operator vouches for (acceptors).
    pub adopt_copy: bool,
}

/// Why a process could not start, in one sentence.
#[derive(Debug)]
pub struct StartError {
    sentence: String,
    may_pass: bool,
}

impl StartError {
    pub(super) fn new(what: impl fmt::Display) -> Self {
        StartError { sentence: what.to_string(), may_pass: false }
    }

    /// What another try may find mended, without a person.
    fn passing(what: impl fmt::Display) -> Self {
        StartError { may_pass: true, ..StartError::new(what) }
    }

    /// Whether it may pass by itself, as an interface that is not there yet.
    pub fn may_pass(&self) -> bool {
        self.may_pass
    }
}

impl From<PlaceError> for StartError {
    fn from(error: PlaceError) -> Self {
        StartError { may_pass: error.may_pass(), ..StartError::new(error) }
    }
}

impl From<NetError> for StartError {
    fn from(error: NetError) -> Self {
        StartError { may_pass: error.may_pass(), ..StartError::new(error) }
    }
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        StartError { may_pass: error.may_pass(), ..StartError::new(error) }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for StartError {}

/// How a process ended; its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Its work is done, or it was asked to end: 0.
    Well,
    /// It cannot go on, or, of a client, values are undecided: 1.
    Undone,
    /// Standard input could not be used to its end: 2.
    BadInput,
    /// What it stored is not there any more, so it must not be started again as it is: 2.
    Vanished,
}

/// Runs the process that `options` describe, to its end.
pub fn run(options: &NodeOptions, clock: Clock) -> Result<Exit, StartError> {
    let config = config::load(&options.conf).map_err(StartError::new)?;
    let id = options.node.id;
    if options.node.role == Role::Acceptor && id > config.acceptor_count() {
        return Err(StartError::new(format!(
            "{}: there is no acceptor {id}; acceptor_count is {}",
            options.conf,
            config.acceptor_count()
        )));
    }
    let place = config.place(options.node, &own_interfaces())?;
    let settings = config.settings(place.mtu).map_err(StartError::new)?;
    let fresh = entropy::random_u64().map_err(StartError::new)?;
    let seed = options.seed.map_or_else(entropy::random_u64, Ok).map_err(StartError::new)?;
    let memory = match options.node.role {
        Role::Acceptor => Memory::open(&config, &settings, options, fresh)?,
        Role::Client | Role::Proposer | Role::Learner => Memory::none(fresh),
    };
    let boot = memory.boot;
    let sender = Sender { node: options.node, boot };
    let process = Process::open(&config, &settings, place, sender, (options.loss, seed), clock)?;
    let mut ending = Ending::new(options, process.inbox_sender.clone())?;
    match options.node.role {
        Role::Acceptor => {
            ending.watch = memory.watch;
            let acceptor = memory.acceptor.unwrap_or_else(|| Acceptor::new(id, boot, settings));
            info!("has promised {}", acceptor.promised());
            let process = Process { store: memory.store, ..process };
            process.run(acceptor, Box::new(NoOutput), ending)
        }
        Role::Proposer => {
            let NodeOptions { no_timeouts, no_preexecution, .. } = *options;
            let options = ProposerOptions { id, boot, no_timeouts, no_preexecution };
            let proposer = Proposer::new(options, settings);
            process.run(proposer, Box::new(NoOutput), ending)
        }
        Role::Learner => {
            let results = &options.results;
            let writer = ResultsWriter::create(results, id).map_err(StartError::new)?;
            ending.results = writer.presence();
            let learner = Learner::new(id, boot, settings, clock.now());
            if let Some(output) = FileOutput::of(io::stdout()) {
                return process.run(learner, Box::new((writer, output)), ending);
            }
            let (printer, output) = Printer::spawn(stdio::stdout()).map_err(no_thread)?;
            let exit = process.run(learner, Box::new((writer, output)), ending);
            if !printer.finish(LAST_PRINT) {
                warn!("standard output takes nothing; what it did not take is in the results file");
            }
            exit
        }
        Role::Client => run_client(process, options, &settings, sender, ending),
    }
}

fn run_client(
    mut process: Process,
    options: &NodeOptions,
    settings: &Settings,
    sender: Sender,
    mut ending: Ending,
) -> Result<Exit, StartError> {
    let session = Session { client: sender.node.id, boot: sender.boot };
    let client = Client::new(session, options.assignment, settings.clone());
    let inbox = process.inbox_sender.clone();
    let (stdin, credits) =
        Stdin::spawn(stdio::stdin(), settings.value_bytes, inbox).map_err(no_thread)?;
    process.credits = Some(credits);
    let progress = ClientProgress::new();
    ending.progress = Some(progress.clone());
    let exit = process.run(Counted::new(client, progress.clone()), Box::new(NoOutput), ending)?;
    progress.finish();
    Ok(report_client(progress.tally(), stdin.failure(), exit))
}

/// Runs `clients` measuring clients at once, from the options' id on, and adds up what they saw.
pub fn measure(
    options: &NodeOptions,
    clients: u32,
    load: LoadOptions,
    clock: Clock,
) -> Result<(Measured, Exit), StartError> {
    let config = config::load(&options.conf).map_err(StartError::new)?;
    let first = options.node.id;
    let places = bench_places(&config, first, clients)?;
    let mtu = places.iter().filter_map(|(_, place)| place.mtu).min();
    let settings = config.settings(mtu).map_err(StartError::new)?;
    if load.value_bytes > settings.value_bytes {
        return Err(StartError::new(format!(
            "a value of {} bytes does not fit a datagram; {} is the longest",
            load.value_bytes, settings.value_bytes
        )));
    }
    let mut running = Vec::new();
    for (id, place) in places {
        let boot = entropy::random_u64().map_err(StartError::new)?;
        let sender = Sender { node: NodeId::new(Role::Client, id), boot };
        let process =
            Process::open(&config, &settings, place, sender, (options.loss, boot), clock)?;
        let ending = Ending::new(options, process.inbox_sender.clone())?;
        let session = Session { client: id, boot };
        let client = Client::new(session, options.assignment, settings.clone());
        let report = Arc::new(Mutex::new(Measured::new()));
        let actor = Load::new(session, client, load, Arc::clone(&report));
        let thread = thread::Builder::new()
            .name(format!("client-{id}"))
            .spawn(move || process.run(actor, Box::new(NoOutput), ending))
            .map_err(no_thread)?;
        running.push((thread, report));
    }
    let (mut sum, mut exit) = (Measured::new(), Exit::Well);
    for (thread, report) in running {
        let ended = thread.join().map_err(|_| StartError::new("a client failed"))??;
        exit = if ended == Exit::Well { exit } else { ended };
        sum.add(&report.lock());
    }
    Ok((sum, exit))
}

/// Where each of so many measuring clients is, from id `first` on.
fn bench_places(
    config: &Config,
    first: u32,
    clients: u32,
) -> Result<Vec<(u32, Place)>, StartError> {
    let host = own_interfaces();
    let place = |id| {
        let place = config.place(NodeId::new(Role::Client, id), &host).map_err(|error| {
            let may_pass = error.may_pass();
            let sentence = format!(
                "{error} (--first-id {first} --clients {clients} takes the ids {first}..{})",
                first + clients - 1
            );
            StartError { sentence, may_pass }
        });
        Ok((id, place?))
    };
    (first..first + clients).map(place).collect()
}

/// The interfaces of this host; none where the system does not tell them.
fn own_interfaces() -> Vec<HostInterface> {
    host_interfaces().unwrap_or_else(|error| {
        warn!("the system does not tell its interfaces: {error}");
        Vec::new()
    })
}

/// Says what became of a client's values.
fn report_client(tally: ClientTally, failure: Option<&InputFailure>, exit: Exit) -> Exit {
    let ClientTally { asked, delivered, lost } = tally;
    info!(target: "paxos::report", "{delivered} of {asked} values are decided");
    if lost > 0 {
        warn!(
            target: "paxos::report",
            "{lost} of {asked} values lost their instance: a value of another client, or of an \
             earlier run of this one, is decided there"
        );
    }
    if let Some(failure) = failure {
        error!(target: "paxos::report", "{failure}");
    }
    let undecided = tally.undecided();
    if undecided > 0 {
        error!(
            target: "paxos::report",
            "{undecided} of {asked} values are not known to be decided"
        );
        return Exit::Undone;
    }
    if failure.is_some() { Exit::BadInput } else { exit }
}

/// Says once that there is no key.
fn say_open() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        info!(
            target: "paxos::report",
            "the group is open: whoever reaches it can take part; `key_file` would lock it"
        );
    });
}

pub(super) fn no_thread(error: io::Error) -> StartError {
    StartError::passing(format!("the system gives no thread: {error}"))
}

/// What a process brings from an earlier life.
struct Memory {
    /// Its boot number. An acceptor with data keeps its incarnation instead.
    boot: u64,
    /// An acceptor with data, and with what it stored.
    acceptor: Option<Acceptor>,
    store: Box<dyn AcceptorStore>,
    /// Whether what it stores is still there.
    watch: Option<Watch>,
}

impl Memory {
    /// Nothing.
    fn none(boot: u64) -> Self {
        Memory { boot, acceptor: None, store: Box::new(MemoryStore), watch: None }
    }

    /// What the acceptor has stored, if the configuration says where.
    fn open(
        config: &Config,
        settings: &Settings,
        options: &NodeOptions,
        fresh: u64,
    ) -> Result<Self, StartError> {
        let id = options.node.id;
        let Some(data) = &config.data else {
            if options.adopt_copy {
                let conf = &options.conf;
                let what = format!("{conf} has no `data`, so there is no copy to adopt");
                return Err(StartError::new(what));
            }
            return Ok(Memory::none(fresh));
        };
        let path = data.join(format!("acceptor-{id}"));
        let directory = Directory::open(&path).map_err(|error| {
            let path = path.display();
            if error.kind() == io::ErrorKind::ResourceBusy {
                // It may be ending.
                StartError::passing(format!(
                    "{path} is in use: another process runs as acceptor {id}"
                ))
            } else {
                StartError::new(format!("{path}: cannot keep data there: {error}"))
            }
        })?;
        let watch = directory.watch();
        let identity = Identity {
            cluster: config.cluster.clone(),
            acceptor: id,
            acceptor_count: config.acceptor_count(),
            incarnation: fresh,
            token: entropy::random_u64().map_err(StartError::new)?,
        };
        let how = LogOptions { adopt_copy: options.adopt_copy, ..LogOptions::default() };
        let opening = Log::open(directory, &identity, how)?;
        let boot = opening.incarnation();
        let mut acceptor = Acceptor::new(id, boot, settings.clone());
        let (log, recovered) = opening.recover(|record| acceptor.restore(record))?;
        let Recovered { records, cut_bytes, is_adopted } = recovered;
        info!("{records} records are in {}", path.display());
        if is_adopted {
            let path = path.display();
            warn!("adopted the copy {path}; no other copy of it may ever be started");
        }
        if cut_bytes > 0 {
            warn!("cut {cut_bytes} bytes of a torn record, which was never answered");
        }
        let (acceptor, watch) = (Some(acceptor), Some(watch));
        Ok(Memory { boot, acceptor, store: Box::new(log), watch })
    }
}

/// The sockets and threads of a process, before its role runs.
struct Process {
    inbox: super::inbox::Inbox,
    inbox_sender: InboxSender,
    codec: Arc<Codec>,
    network: Box<dyn DatagramSender>,
    lock: Option<Lock>,
    interest: Arc<AtomicU32>,
    stats: Arc<Stats>,
    clock: Clock,
    busy_poll: Duration,
    credits: Option<Credits>,
    store: Box<dyn AcceptorStore>,
    listening: Vec<Listening>,
    loss: (f64, u64),
}

/// A socket that a process hears others at.
struct Listening {
    socket: Rejoining,
    /// The groups whose datagrams arrive there.
    groups: Vec<Role>,
}

impl Listening {
    /// All of a process: one at `place`, and one for each other group that its role hears.
    fn open(
        groups: &Groups,
        role: Role,
        place: Place,
        recipe: &Recipe,
    ) -> Result<Vec<Self>, NetError> {
        let host = own_interfaces();
        let own = (groups.arriving_at_own(role), place.listen);
        let joined_too = groups.joined_too(role).map(|(group, address)| (vec![group], address));
        let listen = |(groups, address)| {
            Rejoining::join(address, recipe.clone(), &host)
                .map(|socket| Listening { socket, groups })
        };
        std::iter::once(own).chain(joined_too).map(listen).collect()
    }
}

/// What a process with a key has beside the others.
struct Lock {
    me: Sender,
    seal: Arc<Seal>,
    speaker: Box<dyn DatagramSender>,
    datagram_bytes: usize,
}

impl Lock {
    /// Who keeps the gates of all sockets.
    fn keeper(self, reception: &Reception) -> Arc<Keeper> {
        let Lock { me, seal, speaker, datagram_bytes } = self;
        let Reception { codec, interest, stats, clock, .. } = reception.clone();
        let around = gate::Surroundings { codec, me, seal, datagram_bytes, interest, stats, clock };
        Keeper::new(around, speaker)
    }
}

impl Process {
    fn open(
        config: &Config,
        settings: &Settings,
        place: Place,
        sender: Sender,
        loss: (f64, u64),
        clock: Clock,
    ) -> Result<Self, StartError> {
        let role = sender.node.role;
        let options = Options {
            interface: place.interface,
            ttl: config.ttl,
            buffer_bytes: config.socket_buffer_bytes,
        };
        let codec =
            Codec::new(&config.cluster, settings.acceptor_count, sender, settings.datagram_bytes);
        let seal = match &config.key_file {
            Some(path) => {
                let ring = KeyRing::read(path).map_err(StartError::new)?;
                let session = entropy::random_u64().map_err(StartError::new)?;
                Some(Arc::new(Seal::new(&ring, &config.cluster, session)))
            }
            None => None,
        };
        let recipe = Recipe { choice: config.interface.clone(), options, clock };
        let open_sender =
            || Reopening::open(&config.groups, recipe.clone()).map_err(StartError::from);
        let (codec, network, lock) = match seal {
            Some(seal) => {
                let sealing = || -> Result<_, StartError> {
                    Ok(SealingSender::new(open_sender()?, Arc::clone(&seal)))
                };
                let network: Box<dyn DatagramSender> = Box::new(sealing()?);
                let (speaker, datagram_bytes) = (Box::new(sealing()?), settings.datagram_bytes);
                let seal = Arc::clone(&seal);
                let lock = Lock { me: sender, seal, speaker, datagram_bytes };
                (codec.sealed(), network, Some(lock))
            }
            None => (codec, Box::new(open_sender()?) as Box<dyn DatagramSender>, None),
        };
        let listening = Listening::open(&config.groups, role, place, &recipe)?;
        let (inbox_sender, inbox) = inbox(config.inbox_datagrams);
        Ok(Process {
            inbox,
            inbox_sender,
            codec: Arc::new(codec),
            network,
            lock,
            interest: Arc::new(AtomicU32::new(0)),
            stats: Arc::new(Stats::default()),
            clock,
            busy_poll: config.busy_poll,
            credits: None,
            store: Box::new(MemoryStore),
            listening,
            loss,
        })
    }

    /// Runs `actor` until its end.
    fn run(
        self,
        actor: impl Actor + Send + 'static,
        output: Box<dyn Output>,
        ending: Ending,
    ) -> Result<Exit, StartError> {
        let reception = Reception {
            codec: Arc::clone(&self.codec),
            interest: Arc::clone(&self.interest),
            inbox: self.inbox_sender,
            stats: Arc::clone(&self.stats),
            clock: self.clock,
        };
        let surroundings = Surroundings {
            inbox: self.inbox,
            codec: self.codec,
            network: self.network,
            store: self.store,
            output,
            credits: self.credits,
            interest: self.interest,
            stats: Arc::clone(&self.stats),
            clock: self.clock,
            busy_poll: self.busy_poll,
        };
        let mut role_loop = RoleLoop::new(actor, surroundings);
        let keeper = self.lock.map(|lock| lock.keeper(&reception));
        if keeper.is_none() {
            say_open();
        }
        let mut receivers = Vec::new();
        for (place, Listening { socket, groups }) in (0..).zip(self.listening) {
            let ((ratio, seed), group) = (self.loss, groups[0]);
            let lossy = Lossy::new(socket, ratio, seed ^ place, Arc::clone(&self.stats.loss));
            let network: Box<dyn DatagramReceiver> = match &keeper {
                Some(keeper) => Box::new(Gate::new(lossy, groups, Arc::clone(keeper))),
                None => Box::new(lossy),
            };
            receivers.push(if self.busy_poll.is_zero() {
                Receiver::spawn(group, network, reception.clone()).map_err(no_thread)?
            } else {
                let spawned = Receiver::spawn_resting(group, network, reception.clone());
                let (receiver, direct) = spawned.map_err(no_thread)?;
                role_loop.look_at(direct);
                receiver
            });
        }
        drop(reception);
        let (ended_sender, ended) = bounded(1);
        thread::Builder::new()
            .name("role-loop".to_owned())
            .spawn(move || {
                let (_, end) = role_loop.run();
                // Nobody waits any more when the process is ending anyway.
                let _ = ended_sender.send(end);
            })
            .map_err(no_thread)?;
        let end = ending.wait(&ended);
        receivers.iter().for_each(Receiver::stop);
        self.stats.log_summary();
        Ok(match end {
            End::Of(Ok(Ended::Finished | Ended::Stopped)) => Exit::Well,
            End::Of(Err(failure @ Failure::Vanished(_))) => {
                error!("{failure}");
                Exit::Vanished
            }
            End::Of(Err(failure)) => {
                error!("{failure}");
                Exit::Undone
            }
            End::Unawaited => not_awaited(self.stats.doing.work()),
            End::Panicked => {
                error!("a thread of this process is gone; this is a mistake in the program");
                Exit::Undone
            }
        })
    }
}
