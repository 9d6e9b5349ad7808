//! Opening everything that a role needs before it runs, in this program or in one that embeds the
//! library.
//!
//! Every error of the configuration is found before a socket is opened.

use log::info;

use super::entropy;
use super::inheritance::Inheritance;
use super::neighbours::Neighbour;
use super::process::{Process, own_interfaces};
use super::start_error::{StartError, StartErrorKind};
use crate::clock::Clock;
use crate::config::Config;
use crate::net::lossy::Losing;
use crate::protocol::acceptor::Acceptor;
use crate::protocol::client::Client;
use crate::protocol::learner::Learner;
use crate::protocol::message::Assignment;
use crate::protocol::proposer::{Proposer, ProposerOptions};
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{Ballot, NodeId, Role, Sender, Session};
use crate::storage::watch::Watch;

/// How a role runs, besides what the configuration says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RoleOptions {
    pub node: NodeId,
    /// How many roles of its process hold the log, itself among them; a client holds none of it.
    pub holders: u32,
    /// The probability that a received datagram is dropped, in [0, 1), and the seed that decides
    /// which.
    pub loss: f64,
    pub seed: Option<u64>,
    /// Never retransmit an Accept or a Decide (proposers).
    pub no_timeouts: bool,
    /// Run phase 1 for each instance as values arrive (proposers).
    pub no_preexecution: bool,
    /// Who gives values their instances (clients).
    pub assignment: Assignment,
    /// The data is a copy that the operator vouches for (acceptors).
    pub adopt_copy: bool,
}

impl RoleOptions {
    /// `node` with the usual options: nothing is lost on purpose, and nothing is left out.
    pub fn of(node: NodeId) -> Self {
        RoleOptions {
            node,
            holders: 1,
            loss: 0.0,
            seed: None,
            no_timeouts: false,
            no_preexecution: false,
            assignment: Assignment::Leader,
            adopt_copy: false,
        }
    }
}

/// A role that has everything it needs and has not started.
pub(crate) struct Opened {
    pub node: NodeId,
    pub part: Part,
    pub process: Process,
    /// Watches whether an acceptor's data is still there.
    pub watch: Option<Watch>,
    pub settings: Settings,
}

/// What the process will do.
pub(crate) enum Part {
    Client(Session, Box<Client>),
    Proposer(Box<Proposer>),
    Acceptor(Box<Acceptor>),
    Learner(Box<Learner>),
}

impl Opened {
    /// Opens what `options.node` needs.
    pub fn new(config: &Config, options: RoleOptions, clock: Clock) -> Result<Self, StartError> {
        Self::booting(config, options, clock, |_, fresh| Ok(fresh))
    }

    /// The same, with the boot number that `boot` makes from the settings and a fresh one. An
    /// acceptor uses the one of its data instead.
    pub fn booting(
        config: &Config,
        options: RoleOptions,
        clock: Clock,
        boot: impl FnOnce(&Settings, u64) -> Result<u64, StartError>,
    ) -> Result<Self, StartError> {
        let RoleOptions { node, loss, no_timeouts, no_preexecution, .. } = options;
        if node.role == Role::Acceptor && node.id > config.acceptor_count() {
            let sentence = format!(
                "{}: there is no acceptor {}; acceptor_count is {}",
                config.path(),
                node.id,
                config.acceptor_count()
            );
            return Err(StartError::new(StartErrorKind::Configuration, sentence));
        }
        config.check_disk()?;
        let asks_for_instances = matches!(options.assignment, Assignment::Client { .. });
        if node.role == Role::Client && asks_for_instances && config.retain() != Retain::All {
            let sentence = format!(
                "{}: with `retain` nobody can tell who has won an instance that is removed; leave \
                 the instances to the leader (FIRST_INSTANCE auto), or set `retain all`",
                config.path()
            );
            return Err(StartError::new(StartErrorKind::Configuration, sentence));
        }
        let place = config.endpoint(node, &own_interfaces())?;
        let settings = config.settings_among(options.holders, place.mtu)?;
        let fresh = entropy::random_u64()?;
        let seed = options.seed.map_or_else(entropy::random_u64, Ok)?;
        let inheritance = match node.role {
            Role::Acceptor => Inheritance::open(config, &settings, options, fresh)?,
            Role::Client | Role::Proposer | Role::Learner => {
                Inheritance::none(boot(&settings, fresh)?)
            }
        };
        let (id, boot) = (node.id, inheritance.boot);
        let sender = Sender { node, boot };
        let loss = Losing { ratio: loss, seed };
        let mut process = Process::open(config, &settings, place, sender, loss, clock)?;
        let of_role = settings.clone();
        let part = match node.role {
            Role::Client => {
                let session = Session { client: id, boot };
                let client = Client::new(session, options.assignment, of_role);
                Part::Client(session, Box::new(client))
            }
            Role::Proposer => {
                let options = ProposerOptions { id, boot, no_timeouts, no_preexecution };
                Part::Proposer(Box::new(Proposer::new(options, of_role)))
            }
            Role::Acceptor => {
                let acceptor =
                    inheritance.acceptor.unwrap_or_else(|| Acceptor::new(id, boot, of_role));
                match acceptor.promised() {
                    Ballot::ZERO => info!("has promised nothing yet"),
                    promised => info!("has promised {promised}"),
                }
                say_forgetful(config, &settings);
                Part::Acceptor(Box::new(acceptor))
            }
            Role::Learner => Part::Learner(Box::new(Learner::new(id, boot, of_role, clock.now()))),
        };
        process.store = inheritance.store;
        Ok(Opened { node, part, process, watch: inheritance.watch, settings })
    }
}

/// Says that nothing is stored, if that is so.
fn say_forgetful(config: &Config, settings: &Settings) {
    if config.data.is_some() {
        return;
    }
    let kept = match (config.retain(), settings.retain) {
        (Retain::All, Retain::Bytes(bytes)) => format!("the newest {} MiB of the log", bytes >> 20),
        _ => "what `retain` says".to_owned(),
    };
    info!(
        target: "paxos::report",
        "stores nothing, for the configuration has no line `data`: {kept} is in memory, and a \
         restart forgets it"
    );
}

/// Makes the roles of one process known to each other, and gives them a thread together if the
/// configuration says so.
///
/// # Errors
///
/// When the operating system gives no thread.
pub(crate) fn introduce<'a>(
    processes: impl IntoIterator<Item = &'a mut Process>,
) -> Result<(), StartError> {
    let mut processes: Vec<&mut Process> = processes.into_iter().collect();
    let all: Vec<Neighbour> = processes.iter().map(|process| process.as_neighbour()).collect();
    for (place, process) in processes.iter_mut().enumerate() {
        let mut others = all.clone();
        others.remove(place);
        process.meet(others);
    }
    let places = Process::places(&processes)?;
    if !places.is_empty() {
        Process::hear_together(&mut processes);
    }
    processes.into_iter().zip(places).for_each(|(process, place)| process.run_at(place));
    Ok(())
}
