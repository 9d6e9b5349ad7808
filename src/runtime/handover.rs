//! Asking a proposer to lead: `paxos lead`.
//!
//! It needs no message of its own. A plea names the proposers that serve the process that pleads,
//! and one of those takes over (`protocol::election`); this process names only one. So agreement
//! does not depend on it, with a key it is authenticated like every process, and a leader that was
//! only just elected is left alone for a moment.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::ending::Ending;
use super::entropy;
use super::node::{NodeOptions, drive};
use super::process::{Process, own_interfaces};
use super::start_error::{StartError, StartErrorKind};
use crate::clock::Clock;
use crate::config;
use crate::net::Group;
use crate::net::lossy::Losing;
use crate::protocol::actor::{Actor, Effects, Input};
use crate::protocol::message::{Interest, Kind, Message, Plea, Standing};
use crate::protocol::timer::Timer;
use crate::protocol::types::{Ballot, NodeId, Role, Sender, Time};
use crate::protocol::versions::{Version, Versions};
use crate::results::output::NoOutput;

/// How often it asks.
const PAUSE: Duration = Duration::from_millis(100);

/// How long it claims to have pleaded: longer than any leader is left alone.
const ASKED: u64 = u64::MAX;

/// What was heard from the proposers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The quorate leader with the highest ballot.
    pub leader: Option<Ballot>,
    /// Whether the proposer that was asked has answered.
    pub has_answered: bool,
}

impl Outcome {
    /// Whether this proposer leads.
    pub fn is_led_by(&self, proposer: u32) -> bool {
        self.leader.is_some_and(|ballot| ballot.proposer == proposer)
    }

    /// Why `proposer` does not lead, in a sentence.
    pub fn sentence(&self, proposer: u32, within: Duration) -> String {
        let within = within.as_secs_f64();
        match (self.leader, self.has_answered) {
            (None, false) => format!(
                "P{proposer} does not lead after {within} s: no proposer is heard that leads with \
                 a quorum; `paxos status` says who runs, and `paxos doctor` whether the network is \
                 why"
            ),
            (Some(ballot), false) => format!(
                "P{proposer} does not lead after {within} s: it does not answer, and P{} leads; \
                 `paxos status` says who runs",
                ballot.proposer
            ),
            (None, true) => format!(
                "P{proposer} does not lead after {within} s: it answers, and nobody leads; are a \
                 majority of the acceptors there?"
            ),
            (Some(ballot), true) => format!(
                "P{proposer} does not lead after {within} s: it answers, and P{} still leads; a \
                 majority of the acceptors may not answer P{proposer}, or leaders have changed \
                 often in the last minute: try again",
                ballot.proposer
            ),
        }
    }
}

/// Asks `proposer` to lead, until it does or the lifetime in the options is over.
///
/// # Errors
///
/// When the configuration cannot be used, or the groups cannot be joined.
pub fn hand_over(
    options: &NodeOptions,
    proposer: u32,
    clock: Clock,
) -> Result<Outcome, StartError> {
    let config = config::load(&options.conf)?;
    if let Group::Unicast(_) = config.groups.clients {
        let sentence = format!(
            "{}: the clients are a list of members, and this process is none of them; end the \
             leader instead, and the proposer with the smallest id takes over",
            options.conf
        );
        return Err(StartError::new(StartErrorKind::Configuration, sentence));
    }
    let place = config.endpoint(options.node, &own_interfaces())?;
    let settings = config.settings(place.mtu)?;
    let boot = entropy::random_u64()?;
    let sender = Sender { node: options.node, boot };
    let losing = Losing { ratio: options.loss, seed: boot };
    let process = Process::open(&config, &settings, place, sender, losing, clock)?;
    let ending = Ending::new(options, vec![process.inbox_sender.clone()])?;
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let caller = Caller { proposer, me: options.node, outcome: Arc::clone(&outcome) };
    drive(process, caller, Box::new(NoOutput), ending)?;
    let outcome = *outcome.lock();
    Ok(outcome)
}

/// A client that has no values and pleads for one proposer.
struct Caller {
    proposer: u32,
    me: NodeId,
    outcome: Arc<Mutex<Outcome>>,
}

impl Caller {
    fn ask(&self, now: Time, fx: &mut Effects) {
        let plea = Plea { pleaded_us: ASKED, offered: vec![self.proposer], reads: Versions::ALL };
        fx.send(Role::Proposer, Message::Plea(plea));
        fx.set_timer(Timer::Plea, now + PAUSE);
    }
}

impl Actor for Caller {
    fn on_start(&mut self, now: Time, fx: &mut Effects) {
        self.ask(now, fx);
    }

    /// A version that everybody reads.
    fn version(&self, _now: Time) -> Version {
        Version::OLDEST
    }

    fn on_message(&mut self, _now: Time, from: Sender, message: Message, _fx: &mut Effects) {
        let mut outcome = self.outcome.lock();
        if let Message::Heartbeat(heartbeat) = &message
            && from.node.role == Role::Proposer
        {
            let said = heartbeat.announcement;
            if said.standing == Standing::Leads && said.quorate {
                outcome.leader = outcome.leader.max(Some(said.ballot));
            }
        }
        if let Message::Offer(offer) = &message
            && offer.to.contains(&self.me.id)
        {
            outcome.has_answered |= from.node == NodeId::new(Role::Proposer, self.proposer);
        }
    }

    fn on_timer(&mut self, now: Time, _timer: Timer, fx: &mut Effects) {
        self.ask(now, fx);
    }

    fn on_input(&mut self, _now: Time, _input: Input, _fx: &mut Effects) {}

    fn on_turn_end(&mut self, _now: Time, _fx: &mut Effects) {}

    fn interest(&self) -> Interest {
        Interest::of(&[Kind::Heartbeat, Kind::Offer])
    }

    fn is_finished(&self) -> bool {
        self.outcome.lock().is_led_by(self.proposer)
    }
}
