//! Running one process of the program: a role, or several with one id. It opens what they need,
//! runs them to the end, and reports.
//!
//! Every error of the configuration is found before a socket is opened.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use log::{error, info, warn};

use super::ending::{End, Ending, not_awaited};
use super::inbox::InboxSender;
use super::metrics::{self, Server, Shown};
use super::opening::{Opened, Part, RoleOptions, introduce};
use super::printer::{FileOutput, Printer};
use super::process::{self, Process};
use super::progress::{ClientProgress, WatchedClient};
use super::role_loop::{Ended, Failure};
use super::session::{Head, SessionFile};
use super::snapshots;
use super::start_error::{StartErrorKind, no_thread};
use super::stdin::{InputFailure, LineLimit, Stdin};
use crate::clock::Clock;
use crate::config::{self, Config, MetricsChoice};
use crate::logging;
use crate::protocol::actor::{Actor, Halt};
use crate::protocol::client::{Client, ClientTally};
use crate::protocol::learner::{Beginning, Learner};
use crate::protocol::message::Assignment;
use crate::protocol::message::StateKind;
use crate::protocol::settings::Settings;
use crate::protocol::types::{NodeId, Role};
use crate::results::form::{Form, Printed, Running};
use crate::results::output::{NoOutput, Output};
use crate::results::writer::ResultsWriter;
use crate::snapshots::shelf::Found;
use crate::stdio;

pub use super::start_error::StartError;

/// How long a blocked standard output is waited for at the end.
const LAST_PRINT: Duration = Duration::from_millis(200);

/// How to run a role.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeOptions {
    /// The configuration file, as typed.
    pub conf: String,
    /// The role and the id, from 1.
    pub node: NodeId,
    /// The probability that a received datagram is dropped, in [0, 1).
    pub loss: f64,
    /// How long to run; none means until killed.
    pub lifetime: Option<Duration>,
    /// The seed of loss and jitter; none means one from the operating system.
    pub seed: Option<u64>,
    /// Never retransmit an Accept or a Decide (proposers).
    pub no_timeouts: bool,
    /// Run phase 1 for each instance as values arrive (proposers).
    pub no_preexecution: bool,
    /// Who gives values their instances (clients).
    pub assignment: Assignment,
    /// The file with the session (clients); none means a new session.
    pub session: Option<PathBuf>,
    /// Where learners write.
    pub results: PathBuf,
    /// From which instance on learners write and print.
    pub beginning: Beginning,
    /// What learners print.
    pub printed: Printed,
    /// The data is a copy that the operator vouches for (acceptors).
    pub adopt_copy: bool,
    /// Where to serve metrics, if it differs from the configuration.
    pub metrics: Option<MetricsChoice>,
}

impl NodeOptions {
    /// `node` in the cluster of this configuration, with the default options.
    pub fn of(conf: String, node: NodeId) -> Self {
        NodeOptions {
            conf,
            node,
            loss: 0.0,
            lifetime: None,
            seed: None,
            no_timeouts: false,
            no_preexecution: false,
            assignment: Assignment::Leader,
            session: None,
            results: PathBuf::new(),
            beginning: Beginning::Oldest,
            printed: Printed::Values,
            adopt_copy: false,
            metrics: None,
        }
    }

    fn of_role(&self, holders: u32) -> RoleOptions {
        let NodeOptions { node, loss, seed, no_timeouts, no_preexecution, assignment, .. } = *self;
        RoleOptions {
            node,
            holders,
            loss,
            seed,
            no_timeouts,
            no_preexecution,
            assignment,
            adopt_copy: self.adopt_copy,
        }
    }
}

/// How a process ended; its exit status. If several roles end, the last of these variants counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Its work is done, or it was asked to end: 0.
    Well,
    /// It cannot go on, or a client's values are undecided: 1.
    Undone,
    /// It cannot go on, but can after a restart with the same options: 75.
    TryAgain,
    /// Standard input could not be used to its end: 2.
    BadInput,
    /// Its stored data is gone, so it must not be restarted unchanged: 2.
    Vanished,
}

/// Runs these roles in this process, to the end of the first of them; there is at least one.
///
/// Configuration errors of all of them are found before any of them does anything.
///
/// # Errors
///
/// When one of them cannot start; then none has.
pub fn run(roles: &[NodeOptions], clock: Clock) -> Result<Exit, StartError> {
    let holders = roles.iter().filter(|options| options.node.role != Role::Client).count() as u32;
    let ready = roles.iter().map(|options| Ready::new(options, holders, clock));
    let mut ready = ready.collect::<Result<Vec<_>, _>>()?;
    introduce(ready.iter_mut().map(|role| &mut role.opened.process))?;
    let _server = watch(&mut ready, &roles[0], clock)?;
    if let [_] = ready[..] {
        return ready.remove(0).run();
    }
    let inboxes: Vec<InboxSender> =
        ready.iter().map(|role| role.opened.process.inbox_sender.clone()).collect();
    let mut running = Vec::new();
    for role in ready {
        let (name, inboxes) = (role.opened.node.to_string(), inboxes.clone());
        let run_with_others = move || {
            let exit = role.run();
            // The rest of the node would look alive.
            inboxes.iter().for_each(InboxSender::stop);
            exit
        };
        running.push(thread::Builder::new().name(name).spawn(run_with_others).map_err(no_thread)?);
    }
    let mut worst = Exit::Well;
    for role in running {
        let failed = |_| StartError::new(StartErrorKind::System, "a role failed");
        let exit = role.join().map_err(failed)??;
        worst = worst.max(exit);
    }
    Ok(worst)
}

/// Serves the metrics of these roles, if that is asked for: one server for the whole process.
fn watch(
    roles: &mut [Ready],
    options: &NodeOptions,
    clock: Clock,
) -> Result<Option<Server>, StartError> {
    let Some(first) = roles.first() else { return Ok(None) };
    let place: &str = if options.metrics.is_some() { "--metrics" } else { &options.conf };
    let MetricsChoice::At(address) = options.metrics.unwrap_or(first.metrics) else {
        return Ok(None);
    };
    let listener = metrics::listen(address, Some(place))?;
    let cluster = first.cluster.clone();
    let roles = roles.iter_mut().map(|role| role.opened.process.watch()).collect();
    metrics::serve(listener, Shown { cluster, clock, roles, more: None }).map(Some)
}

/// A role that has everything it needs and has not started.
struct Ready {
    opened: Opened,
    cluster: String,
    metrics: MetricsChoice,
    ending: Ending,
    assignment: Assignment,
    /// A client's session, if it has a file.
    session: Option<Arc<SessionFile>>,
    /// A learner's file.
    writer: Option<ResultsWriter>,
    /// What a learner prints.
    form: Form,
}

impl Ready {
    fn new(options: &NodeOptions, holders: u32, clock: Clock) -> Result<Self, StartError> {
        let config = config::load(&options.conf)?;
        let (mut session, mut form) = (None, Form::new(options.printed));
        // Every run of a session sends under the session's boot number.
        let boot = |settings: &Settings, fresh| {
            session = open_session(options, &config, settings, fresh)?;
            Ok(session.as_ref().map_or(fresh, |session| session.boot()))
        };
        let mut opened = Opened::booting(&config, options.of_role(holders), clock, boot)?;
        opened.part = match opened.part {
            Part::Client(name, client) => {
                let mut client = *client;
                if let Some(session) = &session {
                    client = client.resumable().cutting_at(session.part_bytes());
                    client = session.opened().into_iter().fold(client, Client::opened_at);
                }
                Part::Client(name, Box::new(client))
            }
            Part::Learner(learner) => {
                let learner = learner.beginning(options.beginning);
                let (learner, kept) = match options.printed {
                    Printed::Digest => {
                        let settings = opened.settings.clone();
                        open_digests(&config, learner, (&mut opened.process, settings), clock)?
                    }
                    Printed::Values | Printed::Positions => (learner, form),
                };
                form = kept;
                Part::Learner(Box::new(learner))
            }
            part @ (Part::Proposer(_) | Part::Acceptor(_)) => part,
        };
        let mut ending = Ending::new(options, vec![opened.process.inbox_sender.clone()])?;
        ending.watch = opened.watch.take();
        let writer = match opened.node.role {
            Role::Learner => {
                let writer = ResultsWriter::create(&options.results, opened.node.id)
                    .map_err(|sentence| StartError::new(StartErrorKind::Data, sentence))?;
                ending.results = writer.presence();
                Some(writer)
            }
            Role::Client | Role::Proposer | Role::Acceptor => None,
        };
        let NodeOptions { assignment, .. } = *options;
        let Config { cluster, metrics, .. } = config;
        Ok(Ready { opened, cluster, metrics, ending, assignment, session, writer, form })
    }

    fn run(self) -> Result<Exit, StartError> {
        let Ready { opened, ending, assignment, session, writer, form, .. } = self;
        let Opened { node, part, process, settings, .. } = opened;
        logging::speak_as(node);
        match part {
            Part::Client(_, client) => {
                let limit = LineLimit::new(&settings, assignment.assigned_by());
                run_client(process, *client, Asks { assignment, limit, session }, ending)
            }
            Part::Proposer(proposer) => drive(process, *proposer, Box::new(NoOutput), ending),
            Part::Acceptor(acceptor) => drive(process, *acceptor, Box::new(NoOutput), ending),
            Part::Learner(learner) => run_learner(process, *learner, (writer, form), ending),
        }
    }
}

/// Runs `actor` until it ends, or until `ending` stops it.
pub(super) fn drive(
    process: Process,
    actor: impl Actor + Send + 'static,
    output: Box<dyn Output>,
    ending: Ending,
) -> Result<Exit, StartError> {
    let running = process.start(actor, output)?;
    Ok(attend(&running, &ending))
}

/// Waits until this loop has ended, and says how.
pub(super) fn attend(running: &process::Running, ending: &Ending) -> Exit {
    let end = ending.wait(&running.ended, &running.stats);
    running.stop_receiving();
    running.stats.log_summary();
    match end {
        End::Of(Ok(Ended::Finished | Ended::Stopped)) => Exit::Well,
        End::Of(Err(failure @ Failure::Halted(Halt::CutOff(_)))) => {
            error!("{failure}");
            Exit::TryAgain
        }
        End::Of(Err(failure @ Failure::Vanished(_))) => {
            error!("{failure}");
            Exit::Vanished
        }
        End::Of(Err(failure)) => {
            error!("{failure}");
            Exit::Undone
        }
        End::Unawaited => not_awaited(running.stats.doing.work()),
        End::Panicked => {
            error!("a thread of this process is gone; this is a bug in paxos; please report it");
            Exit::Undone
        }
    }
}

fn run_learner(
    process: Process,
    learner: Learner,
    (writer, form): (Option<ResultsWriter>, Form),
    ending: Ending,
) -> Result<Exit, StartError> {
    if let Some(file) = FileOutput::file_of(io::stdout()) {
        let output = FileOutput::new(file, form);
        return drive(process, learner, Box::new((writer, output)), ending);
    }
    let folder = writer.as_ref().map_or(Path::new("."), ResultsWriter::folder);
    // Of a terminal nothing says that it takes a few lines without waiting.
    let is_pipe = stdio::is_pipe(&stdio::stdout());
    let has_room = move |output: &_| is_pipe && stdio::has_room(output);
    let printing = Printer::spawn(stdio::stdout(), has_room, form, folder);
    let (printer, output) = printing.map_err(no_thread)?;
    let exit = drive(process, learner, Box::new((writer, output)), ending);
    // What was not printed is said there.
    let _ = printer.finish(LAST_PRINT);
    exit
}

/// A learner that goes on from its last snapshot of the digests, if the configuration says where
/// they are; and what it prints.
fn open_digests(
    config: &Config,
    learner: Learner,
    (process, settings): (&mut Process, Settings),
    clock: Clock,
) -> Result<(Learner, Form), StartError> {
    let Some(mut shop) = snapshots::open(config, learner.id(), StateKind::Digest)? else {
        return Ok((learner, Form::new(Printed::Digest)));
    };
    let (learner, running) = match snapshots::newest(&mut shop)? {
        Some(Found { name, label, .. }) => {
            let path = shop.shelf.path_of(&name);
            let resumed = shop.shelf.read(&name);
            let running = resumed.and_then(|mut bytes| Running::resumed(label.of(), &mut bytes));
            let running = running.map_err(|error| {
                StartError::new(StartErrorKind::Data, format!("{path}: {error}"))
            })?;
            (learner.restored(label.kind, label.checkpoint), running)
        }
        None => (learner.with_snapshots(StateKind::Digest), Running::default()),
    };
    let keeper = snapshots::keep(shop, process, settings, clock)?;
    Ok((learner, Form::digests(running.kept_by(keeper))))
}

/// The session of a client whose options name a file.
fn open_session(
    options: &NodeOptions,
    config: &Config,
    settings: &Settings,
    fresh: u64,
) -> Result<Option<Arc<SessionFile>>, StartError> {
    let Some(path) = &options.session else { return Ok(None) };
    let (cluster, client) = (config.cluster.clone(), options.node.id);
    let mine = Head { cluster, client, boot: fresh, part_bytes: settings.part_bytes() };
    Ok(Some(Arc::new(SessionFile::open(path, &mine)?)))
}

/// How a client asks, and in which session if that has a file.
struct Asks {
    assignment: Assignment,
    limit: LineLimit,
    session: Option<Arc<SessionFile>>,
}

fn run_client(
    mut process: Process,
    client: Client,
    asks: Asks,
    mut ending: Ending,
) -> Result<Exit, StartError> {
    let Asks { assignment, limit, session } = asks;
    let inbox = process.inbox_sender.clone();
    let (stdin, credits) = Stdin::spawn(stdio::stdin(), limit, inbox).map_err(no_thread)?;
    process.credits = Some(credits);
    let progress = ClientProgress::new();
    ending.progress = Some(progress.clone());
    ending.session = session.clone();
    let client = WatchedClient::new(client, progress.clone(), session.clone());
    let exit = drive(process, client, Box::new(NoOutput), ending)?;
    progress.finish();
    if let Some(mismatch) = session.as_ref().and_then(|session| session.mismatch()) {
        error!(target: "paxos::report", "{mismatch}");
        return Ok(Exit::BadInput);
    }
    if progress.is_forgotten() {
        return Ok(report_forgotten(progress.tally()));
    }
    Ok(report_client(progress.tally(), assignment, stdin.failure(), exit))
}

/// Logs what is known about the values of a client that the cluster has forgotten.
fn report_forgotten(ClientTally { asked, delivered, .. }: ClientTally) -> Exit {
    error!(
        target: "paxos::report",
        "the cluster has ended this session, because more other clients than `sessions` allows \
         were active since its last value; the first {delivered} of {asked} values are known to \
         be decided, and of the rest it is not known: find out from a learner which are, and start \
         the client again, in a new session, with the others"
    );
    Exit::Undone
}

/// Logs the fate of a client's values.
fn report_client(
    tally: ClientTally,
    assignment: Assignment,
    failure: Option<&InputFailure>,
    exit: Exit,
) -> Exit {
    let ClientTally { asked, delivered, lost, trimmed } = tally;
    info!(target: "paxos::report", "{delivered} of {asked} values are decided");
    if lost > 0 && assignment == Assignment::Leader {
        error!(
            target: "paxos::report",
            "the cluster has ended this session, because a long value of it was not continued for \
             long; the first {delivered} values are known to be decided, and no other is: start \
             the client again, in a new session, with those that follow"
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
    }
    if trimmed > 0 {
        error!(
            target: "paxos::report",
            "{trimmed} of {asked} values asked for instances that are removed from the log, and it \
             is not known whether they are decided: find out from a learner's file which are, and \
             start the client again with the others and FIRST_INSTANCE auto"
        );
    }
    if undecided > 0 || trimmed > 0 {
        return Exit::Undone;
    }
    if failure.is_some() { Exit::BadInput } else { exit }
}
