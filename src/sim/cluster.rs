//! A whole cluster in one thread, on virtual time, from one seed.
//!
//! The roles are the ones that run in production. Effects are applied in the same order as by the
//! role loop, messages travel encoded, inboxes are bounded, and acceptors keep the same log as in
//! production, on a simulated disk. The same seed gives the same run.

mod faults;
mod questions;
mod starting;
mod travel;
mod turns;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::agenda::{Agenda, Event};
use super::checker::{Checker, Violation};
use super::network::{Network, Way, Weather};
use super::node::{Host, Node, ReadOften};
use super::record::{Fate, What};
use super::trace::{Detail, Trace};
use crate::protocol::message::Assignment;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, NodeId, Role, Time, To, Value};
use crate::protocol::versions::Versions;
use crate::rng::Rng;
use crate::storage::room::Quota;

/// The name of every simulated cluster.
pub(super) const CLUSTER: &str = "sim";

/// What a simulated cluster is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Everything random comes from it.
    pub seed: u64,
    /// How many proposers start.
    pub proposers: u32,
    /// How many learners start.
    pub learners: u32,
    /// The protocol's settings, with the number of acceptors.
    pub settings: Settings,
    /// How bad the network is.
    pub weather: Weather,
    /// Leaders never retransmit an Accept or a Decide.
    pub no_timeouts: bool,
    /// Leaders run phase 1 for each instance.
    pub no_preexecution: bool,
    /// The log of an acceptor goes on in a new segment after this many bytes.
    pub segment_bytes: u64,
    /// How much the log of an acceptor may take.
    pub quota: Quota,
    /// The reads of each run of a learner, if any.
    pub reads: Option<ReadOften>,
    /// How many of a hundred processes are of the previous release: drawn at each start, so that a
    /// restart may be an upgrade or a downgrade.
    pub old_percent: u64,
    /// Whether the input of clients ends, rather than that more might be typed.
    pub inputs_end: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            seed: 1,
            proposers: 2,
            learners: 2,
            settings: Settings::default(),
            weather: Weather::default(),
            no_timeouts: false,
            no_preexecution: false,
            segment_bytes: 8 << 10,
            quota: Quota::NONE,
            reads: None,
            old_percent: 0,
            inputs_end: false,
        }
    }
}

/// The world.
#[derive(Debug)]
pub struct Cluster {
    pub(super) plan: Plan,
    pub(super) now: Time,
    pub(super) hosts: BTreeMap<NodeId, Host>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) agenda: Agenda,
    /// The network; tests cut and heal it.
    pub network: Network,
    checker: Checker,
    pub(super) trace: Trace,
    pub(super) rng: Rng,
    /// Datagrams that were sent, and to whom.
    pub(super) past: Vec<(To, Rc<[u8]>)>,
    elections: u32,
    /// How often an operator has brought a snapshot.
    pub(super) imports: u32,
    /// The release that operators have installed, where it is not drawn.
    pub(super) installed: BTreeMap<NodeId, Versions>,
    /// How often a learner has fetched a snapshot.
    pub(super) fetched: u32,
    /// A client or a learner has done something, or a process has died or started.
    pub(super) has_moved: bool,
    violation: Option<Violation>,
}

impl Cluster {
    /// Acceptors, learners and proposers, all just started; clients come when they are given
    /// values.
    pub fn new(plan: Plan) -> Self {
        Self::traced(plan, Trace::silent())
    }

    /// The same, with a trace.
    pub fn traced(plan: Plan, trace: Trace) -> Self {
        let mut cluster = Cluster {
            now: Time::ZERO,
            hosts: BTreeMap::new(),
            nodes: BTreeMap::new(),
            agenda: Agenda::default(),
            network: Network::new(plan.weather.clone(), plan.seed ^ 0x6e65_7477),
            checker: Checker::new(&plan.settings),
            trace,
            rng: Rng::new(plan.seed),
            past: Vec::new(),
            elections: 0,
            imports: 0,
            installed: BTreeMap::new(),
            fetched: 0,
            has_moved: false,
            violation: None,
            plan,
        };
        for id in 1..=cluster.plan.settings.acceptor_count {
            cluster.start(NodeId::new(Role::Acceptor, id));
        }
        for id in 1..=cluster.plan.learners {
            cluster.start(NodeId::new(Role::Learner, id));
        }
        for id in 1..=cluster.plan.proposers {
            cluster.start(NodeId::new(Role::Proposer, id));
        }
        cluster
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// How often a proposer became the leader.
    pub fn elections(&self) -> u32 {
        self.elections
    }

    /// The trace.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Writes to the trace.
    pub fn tell(&mut self, detail: Detail, what: std::fmt::Arguments<'_>) {
        self.trace.tell(detail, self.now, what);
    }

    /// Keeps what happens now in the record, if there is one.
    fn happened(&mut self, what: What) {
        self.trace.record(|record| record.happened(self.now, what));
    }

    /// The judge.
    pub fn checker(&self) -> &Checker {
        &self.checker
    }

    /// The same, mutable.
    pub(super) fn checker_mut(&mut self) -> &mut Checker {
        &mut self.checker
    }

    /// Runs for `length`.
    pub fn run_for(&mut self, length: Duration) -> Result<(), Violation> {
        let until = self.now + length;
        self.run_until(until, |_| false).map(|_| ())
    }

    /// Runs until `done`, or up to `deadline`. Returns whether it was done in time.
    pub fn run_until(
        &mut self,
        deadline: Time,
        done: impl Fn(&Cluster) -> bool,
    ) -> Result<bool, Violation> {
        let mut is_done = done(self);
        self.has_moved = false;
        while !is_done {
            match self.agenda.next_time() {
                Some(time) if time <= deadline => self.step(),
                Some(_) | None => {
                    self.now = deadline;
                    break;
                }
            }
            if let Some(violation) = &self.violation {
                return Err(format!("{}: {violation}", self.now));
            }
            if std::mem::take(&mut self.has_moved) {
                is_done = done(self);
            }
        }
        is_done = is_done || done(self);
        self.checker.check_order()?;
        Ok(is_done)
    }

    fn step(&mut self) {
        let Some((time, event)) = self.agenda.pop() else { return };
        assert!(time >= self.now, "time does not go back");
        self.now = time;
        match event {
            Event::Arrive { to, datagram, copy } => self.arrive(to, datagram, copy),
            Event::Enter { to, datagram, copy } => {
                match self.network.pass(time, to, Way::In, datagram.len()) {
                    Some(time) => self.agenda.schedule(time, Event::Arrive { to, datagram, copy }),
                    None => self.end_copy(to, &datagram, copy, Fate::QueueFull),
                }
            }
            Event::Turn { node } => self.turn(node),
        }
    }

    pub(super) fn note(&mut self, verdict: Result<(), Violation>) {
        if let Err(violation) = verdict
            && self.violation.is_none()
        {
            self.happened(What::Violation(violation.clone()));
            self.violation = Some(violation);
        }
    }
}

/// `count` values that name their client.
pub fn values(client: u32, count: u64) -> Vec<Value> {
    (1..=count).map(|line| Value::new(format!("c{client}-{line}").as_bytes())).collect()
}

/// `count` values that name their client; one in `every` has `bytes` bytes.
pub fn mixed_values(client: u32, count: u64, (every, bytes): (u64, usize)) -> Vec<Value> {
    let value = |line: u64| {
        let mut text = format!("c{client}-{line}");
        if line.is_multiple_of(every) {
            // No two pieces of it are alike.
            while text.len() < bytes {
                text += &format!(" {client}.{line}.{}", text.len());
            }
            text.truncate(bytes);
        }
        Value::new(text.as_bytes())
    };
    (1..=count).map(value).collect()
}

/// `count` values that name their client and `when` they were typed, too long for a narrow link.
pub fn long_values(client: u32, count: u64, when: Time) -> Vec<Value> {
    let value = |line| format!("c{client}-{line} typed from {when} on {:>500}", '.');
    (1..=count).map(|line| Value::new(value(line).as_bytes())).collect()
}

/// Client-assigned instances from `first` on.
pub fn from_instance(first: u64) -> Assignment {
    Assignment::Client { first: Instance(first) }
}
