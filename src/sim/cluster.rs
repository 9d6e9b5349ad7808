//! A whole cluster in one thread, on virtual time, from one seed.
//!
//! The roles are the ones that run in production. Effects are applied in the same order as by the
//! role loop, messages travel encoded, and inboxes are bounded. The same seed gives the same run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use super::checker::{Checker, Violation};
use super::network::{Network, Weather};
use crate::protocol::acceptor::Acceptor;
use crate::protocol::actor::{Actor, Effects, Input, Record};
use crate::protocol::client::Client;
use crate::protocol::learner::Learner;
use crate::protocol::message::{Assignment, Message};
use crate::protocol::proposer::{Proposer, ProposerOptions};
use crate::protocol::settings::Settings;
use crate::protocol::timer::Timer;
use crate::protocol::types::{
    Counted, Instance, NodeId, Number, Role, Sender, Session, Time, Value,
};
use crate::rng::Rng;

/// How many datagrams wait for a node, at most: about what a default socket buffer holds.
const INBOX_DATAGRAMS: usize = 166;

/// How many events one turn takes.
const TURN_EVENTS: usize = 64;

/// What a simulated cluster is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything random comes from it.
    pub seed: u64,
    /// How many proposers, acceptors (by `settings`) and learners start.
    pub proposers: u32,
    /// How many learners start.
    pub learners: u32,
    /// The protocol's settings.
    pub settings: Settings,
    /// How bad the network is.
    pub weather: Weather,
    /// Leaders never send an Accept or a Decide twice.
    pub no_timeouts: bool,
    /// Leaders run phase 1 for each instance.
    pub no_preexecution: bool,
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
        }
    }
}

/// A role of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AnyRole {
    Client(Client),
    Proposer(Box<Proposer>),
    Acceptor(Acceptor),
    Learner(Box<Learner>),
}

impl AnyRole {
    fn actor(&mut self) -> &mut dyn Actor {
        match self {
            AnyRole::Client(client) => client,
            AnyRole::Proposer(proposer) => proposer.as_mut(),
            AnyRole::Acceptor(acceptor) => acceptor,
            AnyRole::Learner(learner) => learner.as_mut(),
        }
    }
}

/// One process.
#[derive(Debug)]
struct Node {
    sender: Sender,
    role: AnyRole,
    timers: BTreeMap<Timer, Time>,
    inbox: VecDeque<(Sender, Message)>,
    /// Standard input, of a client.
    input: VecDeque<Value>,
    /// What an acceptor stored.
    disk: Vec<Record>,
    is_up: bool,
    paused_until: Time,
    /// When its next turn is, if it has one coming.
    turn: Option<Time>,
    fx: Effects,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive { to: NodeId, from: Sender, message: Message },
    Turn { node: NodeId },
}

/// The world.
pub struct Cluster {
    plan: Plan,
    now: Time,
    nodes: BTreeMap<NodeId, Node>,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    sequence: u64,
    /// The network; tests cut and heal it.
    pub network: Network,
    checker: Checker,
    rng: Rng,
    violation: Option<Violation>,
}

impl Cluster {
    /// Acceptors, learners and proposers, all just started; clients come when they are given
    /// values.
    pub fn new(plan: Plan) -> Self {
        let mut cluster = Cluster {
            now: Time::ZERO,
            nodes: BTreeMap::new(),
            events: BinaryHeap::new(),
            sequence: 0,
            network: Network::new(plan.weather.clone(), plan.seed ^ 0x6e65_7477),
            checker: Checker::new(plan.settings.acceptor_count),
            rng: Rng::new(plan.seed),
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

    /// Starts a node, or starts it again: an acceptor with what it stored, the others afresh.
    pub fn start(&mut self, id: NodeId) {
        let boot = self.rng.next_u64();
        let disk = self.nodes.remove(&id).map(|node| node.disk).unwrap_or_default();
        let settings = self.plan.settings.clone();
        let role = match id.role {
            Role::Acceptor => {
                let mut acceptor = Acceptor::new(id.id, settings);
                disk.iter().for_each(|record| acceptor.restore(record.clone()));
                AnyRole::Acceptor(acceptor)
            }
            Role::Learner => {
                AnyRole::Learner(Box::new(Learner::new(id.id, boot, settings, self.now)))
            }
            Role::Proposer => {
                let options = ProposerOptions {
                    id: id.id,
                    boot,
                    no_timeouts: self.plan.no_timeouts,
                    no_preexecution: self.plan.no_preexecution,
                    seed: boot,
                };
                AnyRole::Proposer(Box::new(Proposer::new(options, settings, self.now)))
            }
            Role::Client => panic!("clients start with their values, by start_client"),
        };
        self.insert(Sender { node: id, boot }, role, disk, VecDeque::new());
    }

    /// Starts client `id` with these values on its standard input.
    pub fn start_client(&mut self, id: u32, assignment: Assignment, values: Vec<Value>) {
        let node = NodeId::new(Role::Client, id);
        let boot = self.rng.next_u64();
        let session = Session { client: id, boot };
        for (number, value) in (1..).map(Number).zip(&values) {
            let asked = match assignment {
                Assignment::Client { first } => Some(first.plus(number.0 - 1)),
                Assignment::Leader => None,
            };
            self.checker.on_input(session, number, value.clone(), asked);
        }
        let client = Client::new(session, assignment, self.plan.settings.clone());
        self.insert(Sender { node, boot }, AnyRole::Client(client), Vec::new(), values.into());
    }

    fn insert(&mut self, sender: Sender, role: AnyRole, disk: Vec<Record>, input: VecDeque<Value>) {
        let mut node = Node {
            sender,
            role,
            timers: BTreeMap::new(),
            inbox: VecDeque::new(),
            input,
            disk,
            is_up: true,
            paused_until: self.now,
            turn: None,
            fx: Effects::new(),
        };
        node.role.actor().on_start(self.now, &mut node.fx);
        self.nodes.insert(sender.node, node);
        self.schedule_turn(sender.node, self.now);
    }

    /// Kills a node. What it stored stays.
    pub fn kill(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.is_up = false;
        }
    }

    /// Whether a node is there and was not killed.
    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.is_up)
    }

    /// Lets a node sleep; what arrives waits in its inbox.
    pub fn pause(&mut self, id: NodeId, length: Duration) {
        let until = self.now + length;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.paused_until = until;
            self.schedule_turn(id, until);
        }
    }

    /// The proposer that leads, if exactly one does.
    pub fn leader(&self) -> Option<NodeId> {
        let mut leaders = self.nodes.iter().filter(|(_, node)| match &node.role {
            AnyRole::Proposer(proposer) => node.is_up && proposer.is_leading(),
            AnyRole::Client(_) | AnyRole::Acceptor(_) | AnyRole::Learner(_) => false,
        });
        let first = leaders.next().map(|(id, _)| *id);
        if leaders.next().is_some() { None } else { first }
    }

    /// Whether every client that is up knows the fate of all its values.
    pub fn clients_finished(&self) -> bool {
        self.nodes.values().filter(|node| node.is_up).all(|node| match &node.role {
            AnyRole::Client(client) => node.input.is_empty() && client.tally().undecided() == 0,
            AnyRole::Proposer(_) | AnyRole::Acceptor(_) | AnyRole::Learner(_) => true,
        })
    }

    /// What became of the values of client `id`.
    pub fn tally(&self, id: u32) -> Option<crate::protocol::client::ClientTally> {
        match &self.nodes.get(&NodeId::new(Role::Client, id))?.role {
            AnyRole::Client(client) => Some(client.tally()),
            AnyRole::Proposer(_) | AnyRole::Acceptor(_) | AnyRole::Learner(_) => None,
        }
    }

    /// The values that learner `id` has delivered in its present life.
    pub fn delivered(&self, id: u32) -> Vec<Value> {
        let Some(node) = self.nodes.get(&NodeId::new(Role::Learner, id)) else { return Vec::new() };
        self.checker.delivered(node.sender).iter().map(|(_, value)| value.clone()).collect()
    }

    /// Whether all learners that are up hold everything that is chosen.
    pub fn learners_complete(&self) -> bool {
        let chosen = self.checker.chosen().len() as u64;
        self.nodes.values().filter(|node| node.is_up).all(|node| match &node.role {
            AnyRole::Learner(learner) => learner.log().progress().decided == chosen,
            AnyRole::Proposer(_) | AnyRole::Acceptor(_) | AnyRole::Client(_) => true,
        })
    }

    /// Who leads and what is missing, for reports.
    pub fn describe(&self) -> String {
        let mut parts = vec![
            format!("no_preexecution {}", self.plan.no_preexecution),
            format!("chosen {}", self.checker.chosen().len()),
        ];
        for (id, node) in self.nodes.iter().filter(|(_, node)| node.is_up) {
            parts.push(match &node.role {
                AnyRole::Client(client) => format!("{id} {:?}", client.tally()),
                AnyRole::Proposer(proposer) if proposer.is_leading() => {
                    format!("{id} leads, {}", proposer.log().progress())
                }
                AnyRole::Proposer(proposer) => format!("{id} {}", proposer.log().progress()),
                AnyRole::Learner(learner) => format!("{id} {}", learner.log().progress()),
                AnyRole::Acceptor(acceptor) => format!("{id} promised {}", acceptor.promised()),
            });
        }
        parts.join("; ")
    }

    /// The judge.
    pub fn checker(&self) -> &Checker {
        &self.checker
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
        while !done(self) {
            match self.events.peek() {
                Some(Reverse((time, _, _))) if *time <= deadline => self.step(),
                Some(_) | None => {
                    self.now = deadline;
                    return Ok(done(self));
                }
            }
            if let Some(violation) = &self.violation {
                return Err(format!("seed {}, at {}: {violation}", self.plan.seed, self.now));
            }
        }
        self.checker.check_order().map_err(|what| format!("seed {}: {what}", self.plan.seed))?;
        Ok(true)
    }

    fn step(&mut self) {
        let Some(Reverse((time, _, event))) = self.events.pop() else { return };
        assert!(time >= self.now, "time does not go back");
        self.now = time;
        match event {
            Event::Arrive { to, from, message } => self.arrive(to, from, message),
            Event::Turn { node } => self.turn(node),
        }
    }

    fn arrive(&mut self, to: NodeId, from: Sender, message: Message) {
        let Some(node) = self.nodes.get_mut(&to).filter(|node| node.is_up) else { return };
        let is_of_use = node.role.actor().interest().includes(message.kind());
        if !is_of_use || node.inbox.len() >= INBOX_DATAGRAMS {
            return;
        }
        node.inbox.push_back((from, message));
        // What arrives while a node works waits, and makes up its next turn.
        let work = Duration::from_micros(5 + self.rng.below(20));
        self.schedule_turn(to, self.now + work);
    }

    fn schedule(&mut self, time: Time, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((time, self.sequence, event)));
    }

    fn schedule_turn(&mut self, id: NodeId, time: Time) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let time = time.max(node.paused_until);
        if node.turn.is_none_or(|turn| turn > time || turn < self.now) {
            node.turn = Some(time);
            self.schedule(time, Event::Turn { node: id });
        }
    }

    /// One turn of the loop of `id`: inbox, input, timers, end; then the effects.
    fn turn(&mut self, id: NodeId) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if !node.is_up || node.turn != Some(now) {
            return; // Killed, or moved to another time.
        }
        node.turn = None;
        if now < node.paused_until {
            let later = node.paused_until;
            return self.schedule_turn(id, later);
        }
        let actor = node.role.actor();
        for _ in 0..TURN_EVENTS {
            let Some((from, message)) = node.inbox.pop_front() else { break };
            actor.on_message(now, from, message, &mut node.fx);
        }
        while actor.input_room() > 0 {
            let Some(value) = node.input.pop_front() else { break };
            actor.on_input(now, Input::Value(value), &mut node.fx);
        }
        let due: Vec<Timer> =
            node.timers.iter().filter(|(_, time)| **time <= now).map(|(timer, _)| *timer).collect();
        for timer in due {
            node.timers.remove(&timer);
            actor.on_timer(now, timer, &mut node.fx);
        }
        actor.on_turn_end(now, &mut node.fx);
        self.apply(id);
    }

    /// Persist, send, timers, deliver.
    fn apply(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let mut fx = std::mem::take(&mut node.fx);
        let sender = node.sender;
        node.disk.append(&mut fx.persist);
        for (timer, deadline) in fx.timers.drain(..) {
            match deadline {
                Some(deadline) => node.timers.insert(timer, deadline),
                None => node.timers.remove(&timer),
            };
        }
        let has_more = !node.inbox.is_empty();
        let next_timer = node.timers.values().min().copied();
        for (group, message) in fx.send.drain(..) {
            let verdict = self.checker.on_send(id, &message);
            self.note(verdict);
            self.send(sender, group, message);
        }
        for delivery in fx.deliver.drain(..) {
            let verdict = self.checker.on_deliver(sender, &delivery);
            self.note(verdict);
        }
        if has_more {
            self.schedule_turn(id, self.now + Duration::from_micros(5));
        } else if let Some(next) = next_timer {
            self.schedule_turn(id, next);
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.fx = fx;
            node.fx.clear();
        }
    }

    fn note(&mut self, verdict: Result<(), Violation>) {
        if let Err(violation) = verdict
            && self.violation.is_none()
        {
            self.violation = Some(violation);
        }
    }

    fn send(&mut self, from: Sender, group: Role, message: Message) {
        let members: Vec<NodeId> =
            self.nodes.keys().filter(|id| id.role == group && **id != from.node).copied().collect();
        for to in members {
            for time in self.network.arrivals(self.now, from.node, to, message.kind()) {
                self.schedule(time, Event::Arrive { to, from, message: message.clone() });
            }
        }
    }
}

/// `count` values that name their client.
pub fn values(client: u32, count: u64) -> Vec<Value> {
    (1..=count).map(|line| Value::new(format!("c{client}-{line}").as_bytes())).collect()
}

/// Client-assigned instances from `first` on.
pub fn from_instance(first: u64) -> Assignment {
    Assignment::Client { first: Instance(first) }
}
