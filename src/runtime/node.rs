//! What runs in one process: a role, or several with one id. Opens what they need, runs them to
//! the end, and reports.
//!
//! Everything that can be wrong with the configuration is found before a socket is opened.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use log::{error, info, warn};

use super::ending::Ending;
use super::entropy;
use super::inbox::InboxSender;
use super::memory::Memory;
use super::neighbours::Neighbour;
use super::printer::{FileOutput, Printer};
use super::process::{Process, own_interfaces};
use super::progress::{ClientProgress, Counted};
use super::stdin::{InputFailure, LineLimit, Stdin};
use crate::clock::Clock;
use crate::config::{self, PlaceError};
use crate::logging;
use crate::net::multicast::NetError;
use crate::protocol::acceptor::Acceptor;
use crate::protocol::client::{Client, ClientTally};
use crate::protocol::learner::Learner;
use crate::protocol::message::Assignment;
use crate::protocol::proposer::{Proposer, ProposerOptions};
use crate::protocol::types::{NodeId, Role, Sender, Session};
use crate::results::output::NoOutput;
use crate::results::writer::ResultsWriter;
use crate::stdio;
use crate::storage::error::LogError;

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

    /// Why nothing can be opened at a place, in other words.
    pub(super) fn of_place(sentence: String, may_pass: bool) -> Self {
        StartError { sentence, may_pass }
    }

    /// What another try may find mended, without a person.
    pub(super) fn passing(what: impl fmt::Display) -> Self {
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

/// How a process ended; its exit status. What ends several roles of a process is the last of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// Runs these roles in this process, to the end of the first of them; there is at least one.
///
/// Everything that can be wrong with any of them is found before one of them does anything.
///
/// # Errors
///
/// When one of them cannot start; then none has.
pub fn run(roles: &[NodeOptions], clock: Clock) -> Result<Exit, StartError> {
    let ready = roles.iter().map(|options| Ready::new(options, clock));
    let mut ready = ready.collect::<Result<Vec<_>, _>>()?;
    introduce(&mut ready);
    if let [_] = ready[..] {
        return ready.remove(0).run();
    }
    let inboxes: Vec<InboxSender> =
        ready.iter().map(|role| role.process.inbox_sender.clone()).collect();
    let mut running = Vec::new();
    for role in ready {
        let (name, inboxes) = (role.node.to_string(), inboxes.clone());
        let run_with_others = move || {
            let exit = role.run();
            // What is left of a node would look alive.
            inboxes.iter().for_each(InboxSender::stop);
            exit
        };
        running.push(thread::Builder::new().name(name).spawn(run_with_others).map_err(no_thread)?);
    }
    let mut worst = Exit::Well;
    for role in running {
        let exit = role.join().map_err(|_| StartError::new("a role failed"))??;
        worst = worst.max(exit);
    }
    Ok(worst)
}

/// Makes the roles of one process known to each other.
fn introduce(roles: &mut [Ready]) {
    let all: Vec<Neighbour> = roles.iter().map(|role| role.process.as_neighbour()).collect();
    for (place, role) in roles.iter_mut().enumerate() {
        let mut others = all.clone();
        others.remove(place);
        role.process.meet(others);
    }
}

/// A role that has all that it needs, and has not begun.
struct Ready {
    node: NodeId,
    part: Part,
    process: Process,
    ending: Ending,
}

/// What it will do.
enum Part {
    Client(Box<Client>, (Assignment, LineLimit)),
    Proposer(Box<Proposer>),
    Acceptor(Box<Acceptor>),
    Learner(Box<Learner>, ResultsWriter),
}

impl Ready {
    fn new(options: &NodeOptions, clock: Clock) -> Result<Self, StartError> {
        let config = config::load(&options.conf).map_err(StartError::new)?;
        let NodeOptions { node, loss, no_timeouts, no_preexecution, .. } = *options;
        if node.role == Role::Acceptor && node.id > config.acceptor_count() {
            return Err(StartError::new(format!(
                "{}: there is no acceptor {}; acceptor_count is {}",
                options.conf,
                node.id,
                config.acceptor_count()
            )));
        }
        let place = config.place(node, &own_interfaces())?;
        let settings = config.settings(place.mtu).map_err(StartError::new)?;
        let fresh = entropy::random_u64().map_err(StartError::new)?;
        let seed = options.seed.map_or_else(entropy::random_u64, Ok).map_err(StartError::new)?;
        let memory = match node.role {
            Role::Acceptor => Memory::open(&config, &settings, options, fresh)?,
            Role::Client | Role::Proposer | Role::Learner => Memory::none(fresh),
        };
        let (id, boot) = (node.id, memory.boot);
        let sender = Sender { node, boot };
        let mut process = Process::open(&config, &settings, place, sender, (loss, seed), clock)?;
        let mut ending = Ending::new(options, process.inbox_sender.clone())?;
        let part = match node.role {
            Role::Client => {
                let session = Session { client: id, boot };
                let assignment = options.assignment;
                let limit = LineLimit::new(&settings, assignment.assigned_by());
                let client = Client::new(session, assignment, settings);
                Part::Client(Box::new(client), (assignment, limit))
            }
            Role::Proposer => {
                let options = ProposerOptions { id, boot, no_timeouts, no_preexecution };
                Part::Proposer(Box::new(Proposer::new(options, settings)))
            }
            Role::Acceptor => {
                ending.watch = memory.watch;
                let acceptor = memory.acceptor.unwrap_or_else(|| Acceptor::new(id, boot, settings));
                info!("has promised {}", acceptor.promised());
                Part::Acceptor(Box::new(acceptor))
            }
            Role::Learner => {
                let writer =
                    ResultsWriter::create(&options.results, id).map_err(StartError::new)?;
                ending.results = writer.presence();
                Part::Learner(Box::new(Learner::new(id, boot, settings, clock.now())), writer)
            }
        };
        process.store = memory.store;
        Ok(Ready { node, part, process, ending })
    }

    fn run(self) -> Result<Exit, StartError> {
        let Ready { node, part, process, ending } = self;
        logging::speak_as(node);
        match part {
            Part::Client(client, asks) => run_client(process, *client, asks, ending),
            Part::Proposer(proposer) => process.run(*proposer, Box::new(NoOutput), ending),
            Part::Acceptor(acceptor) => process.run(*acceptor, Box::new(NoOutput), ending),
            Part::Learner(learner, writer) => run_learner(process, *learner, writer, ending),
        }
    }
}

fn run_learner(
    process: Process,
    learner: Learner,
    writer: ResultsWriter,
    ending: Ending,
) -> Result<Exit, StartError> {
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

fn run_client(
    mut process: Process,
    client: Client,
    (assignment, limit): (Assignment, LineLimit),
    mut ending: Ending,
) -> Result<Exit, StartError> {
    let inbox = process.inbox_sender.clone();
    let (stdin, credits) = Stdin::spawn(stdio::stdin(), limit, inbox).map_err(no_thread)?;
    process.credits = Some(credits);
    let progress = ClientProgress::new();
    ending.progress = Some(progress.clone());
    let exit = process.run(Counted::new(client, progress.clone()), Box::new(NoOutput), ending)?;
    progress.finish();
    Ok(report_client(progress.tally(), assignment, stdin.failure(), exit))
}

/// Says what became of a client's values.
fn report_client(
    tally: ClientTally,
    assignment: Assignment,
    failure: Option<&InputFailure>,
    exit: Exit,
) -> Exit {
    let ClientTally { asked, delivered, lost } = tally;
    info!(target: "paxos::report", "{delivered} of {asked} values are decided");
    if lost > 0 && assignment == Assignment::Leader {
        error!(
            target: "paxos::report",
            "the cluster has ended this session, because a long value of it was not continued for \
             long; the first {delivered} values are known to be decided, and no other is: start \
             the client again with those that follow"
        );
        return Exit::Undone;
    }
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

pub(super) fn no_thread(error: io::Error) -> StartError {
    StartError::passing(format!("the system gives no thread: {error}"))
}
