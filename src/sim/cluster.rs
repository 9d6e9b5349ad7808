//! A whole cluster in one thread, on virtual time, from one seed.
//!
//! The roles are the ones that run in production. Effects are applied in the same order as by the
//! role loop, messages travel encoded, inboxes are bounded, and acceptors keep the same log as in
//! production, on a simulated disk. The same seed gives the same run.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::agenda::{Agenda, Event};
use super::checker::{Checker, Violation};
use super::disk::SimDisk;
use super::fault::{Boundary, Fault};
use super::network::{Network, Way, Weather};
use super::node::{AnyRole, Host, Node, ReadOften};
use super::record::{Fate, Passage, PassageId, Sent, What};
use super::trace::{Detail, Trace};
use crate::protocol::actor::{Actor, Delivery, Halt};
use crate::protocol::client::ClientTally;
use crate::protocol::message::{Assignment, Kind, Message};
use crate::protocol::parts::{Acceptor, Client, Proposer};
use crate::protocol::proposer::ProposerOptions;
use crate::protocol::settings::Settings;
use crate::protocol::types::{
    Counted, Instance, NodeId, Role, Run, Sender, Session, Time, To, Value,
};
#[cfg(test)]
use crate::protocol::versions::Version;
use crate::protocol::versions::Versions;
use crate::rng::Rng;
use crate::storage::error::LogError;
use crate::storage::identity::Identity;
use crate::storage::log::{Log, LogOptions};
use crate::storage::room::Quota;
use crate::wire::Codec;

/// The name of every simulated cluster.
pub(super) const CLUSTER: &str = "sim";

/// How many old datagrams are kept, so that they can arrive again.
const PAST_DATAGRAMS: usize = 64;

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

    /// Starts a node, or starts it again: an acceptor with what its disk holds, the others afresh.
    pub fn start(&mut self, id: NodeId) {
        let mut boot = self.rng.next_u64();
        self.choose_release(id, boot);
        let host = self.hosts.entry(id).or_default().clone();
        let settings = self.plan.settings.clone();
        let local = host.clock.shows(self.now);
        let (mut log, mut shop) = (None, None);
        let role = match id.role {
            Role::Acceptor => {
                let acceptor_count = settings.acceptor_count;
                let (cluster, token) = (CLUSTER.to_owned(), boot.rotate_left(17));
                let (acceptor, incarnation) = (id.id, boot);
                let mine = Identity { cluster, acceptor, acceptor_count, incarnation, token };
                match open_log(&host, &mine, &self.plan) {
                    Ok((acceptor, opened)) => {
                        self.hosts.entry(id).and_modify(|host| host.operated.started());
                        (log, boot) = (Some(opened), acceptor.incarnation());
                        let accepted = |instance| {
                            let is_trimmed = instance < acceptor.forgotten();
                            let vote = acceptor.accepted_in(instance);
                            if is_trimmed { Some(acceptor.promised()) } else { vote }
                        };
                        let verdict = self.checker.on_restart(id, acceptor.promised(), accepted);
                        self.note(verdict);
                        AnyRole::Acceptor(Box::new(acceptor))
                    }
                    // A full disk, or one that does not sync: it stays dead.
                    Err(error @ LogError::Write { .. }) => {
                        let story = format_args!("{id} cannot start: {error}");
                        return self.trace.tell(Detail::Story, self.now, story);
                    }
                    Err(error) if host.operated.is_tampered() => {
                        let story = format_args!("{id} is refused: {error}");
                        return self.trace.tell(Detail::Story, self.now, story);
                    }
                    Err(error) => return self.note(Err(format!("{id} cannot start: {error}"))),
                }
            }
            Role::Learner => {
                let (learner, kept) = self.learner(Sender { node: id, boot }, local);
                shop = kept;
                AnyRole::Learner(Box::new(learner))
            }
            Role::Proposer => {
                let options = ProposerOptions {
                    id: id.id,
                    boot,
                    no_timeouts: self.plan.no_timeouts,
                    no_preexecution: self.plan.no_preexecution,
                };
                AnyRole::Proposer(Box::new(Proposer::new(options, settings)))
            }
            Role::Client => panic!("clients start with their values, by start_client"),
        };
        let mut node = self.process(Sender { node: id, boot }, role);
        (node.log, node.shop) = (log, shop);
        node.reads = self.plan.reads.filter(|_| id.role == Role::Learner);
        self.enter(node);
    }

    /// Starts client `id` with these values on its standard input.
    pub fn start_client(&mut self, id: u32, assignment: Assignment, values: Vec<Value>) {
        self.start_typist(id, assignment, values, Duration::ZERO);
    }

    /// Starts client `id`, which keeps `outstanding` of these values in flight.
    pub fn start_bounded(&mut self, id: u32, outstanding: usize, values: Vec<Value>) {
        let usual = std::mem::replace(&mut self.plan.settings.client_window, outstanding);
        self.start_client(id, Assignment::Leader, values);
        self.plan.settings.client_window = usual;
    }

    /// Starts client `id`, into which a value is typed after each `pause`.
    pub fn start_typist(
        &mut self,
        id: u32,
        assignment: Assignment,
        values: Vec<Value>,
        pause: Duration,
    ) {
        let node = NodeId::new(Role::Client, id);
        let boot = self.rng.next_u64();
        self.choose_release(node, boot);
        self.hosts.entry(node).or_default();
        let session = Session { client: id, boot };
        let mut typed = self.now;
        let client = Client::new(session, assignment, self.plan.settings.clone());
        let mut client = self.process(Sender { node, boot }, AnyRole::Client(Box::new(client)));
        let first = match assignment {
            Assignment::Client { first } => Some(first),
            Assignment::Leader => None,
        };
        self.checker.on_input(session, values.clone(), first);
        for value in values {
            client.input.push_back((typed, value));
            typed = typed + pause;
        }
        self.enter(client);
    }

    /// Chooses the release of the process that starts next.
    fn choose_release(&mut self, id: NodeId, boot: u64) {
        let is_old = Rng::new(boot ^ 0x6f6c_6465).below(100) < self.plan.old_percent;
        let drawn = if is_old { Versions::BEFORE } else { Versions::ALL };
        self.plan.settings.versions = self.installed.get(&id).copied().unwrap_or(drawn);
        if self.plan.settings.versions == Versions::BEFORE {
            self.tell(Detail::Story, format_args!("{id} is of the last release"));
        }
    }

    pub(super) fn process(&self, sender: Sender, role: AnyRole) -> Node {
        let Settings { acceptor_count, datagram_bytes, .. } = self.plan.settings;
        let codec = Codec::new(CLUSTER, acceptor_count, sender, datagram_bytes);
        let codec = codec.reading(self.plan.settings.versions);
        Node::new(sender, role, codec, self.now)
    }

    /// A process enters the world.
    pub(super) fn enter(&mut self, mut node: Node) {
        let id = node.sender.node;
        let local = self.hosts.entry(id).or_default().clock.shows(self.now);
        node.role.actor().on_start(local, &mut node.fx);
        self.trace.mix(node.sender.boot);
        self.trace.tell(Detail::Story, self.now, format_args!("{id} starts"));
        self.happened(What::Starts(id));
        self.nodes.insert(id, node);
        self.has_moved = true;
        self.schedule_turn(id, self.now);
    }

    /// Kills a node. What it synced stays.
    pub fn kill(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id).filter(|node| node.is_up) {
            node.is_up = false;
            self.has_moved = true;
            if let Some(host) = self.hosts.get_mut(&id) {
                host.disk.crash(&mut self.rng);
                host.operated.lost_power = true;
            }
            self.trace.tell(Detail::Story, self.now, format_args!("{id} is dead"));
            let (now, unread) = (self.now, node.waiting().collect::<Vec<_>>());
            self.trace.record(|record| {
                unread.iter().for_each(|copy| record.ended(now, *copy, Fate::Dead));
            });
            self.happened(What::Dies(id));
        }
    }

    /// Removes an acceptor's data.
    pub fn wipe(&mut self, id: NodeId) {
        self.hosts.remove(&id);
    }

    /// The version of the wire format in which a node sends, if it is alive.
    #[cfg(test)]
    pub fn version(&self, id: NodeId) -> Option<Version> {
        self.nodes.get(&id).filter(|node| node.is_up).map(|node| node.codec.version())
    }

    /// Whether a node is running.
    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.is_up)
    }

    /// Lets a node sleep; what arrives waits in its inbox.
    pub fn pause(&mut self, id: NodeId, length: Duration) {
        let until = self.now + length;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.paused_until = node.paused_until.max(until);
            self.schedule_turn(id, until);
            self.happened(What::Sleeps(id, until));
        }
    }

    /// Lets a proposer campaign now, even if it or another one leads.
    #[cfg(test)]
    pub fn campaign(&mut self, id: u32) {
        let (id, now) = (NodeId::new(Role::Proposer, id), self.now);
        let Some(local) = self.hosts.get(&id).map(|host| host.clock.shows(now)) else { return };
        if let Some(node) = self.nodes.get_mut(&id)
            && let AnyRole::Proposer(proposer) = &mut node.role
        {
            proposer.take_over(local, &mut node.fx);
            self.schedule_turn(id, now);
        }
    }

    /// Lets a fault happen now.
    pub fn inject(&mut self, fault: &Fault) {
        self.trace.tell(Detail::Story, self.now, format_args!("fault: {fault}"));
        self.trace.record(|record| record.happened(self.now, What::Fault(fault.clone())));
        match fault {
            Fault::Kill(id) => self.kill(*id),
            Fault::KillAt(id, boundary) => {
                if let Some(node) = self.nodes.get_mut(id) {
                    node.doom = Some(*boundary);
                }
            }
            Fault::Restart(id) => {
                self.kill(*id);
                self.start(*id);
            }
            Fault::Pause(id, length) => self.pause(*id, *length),
            Fault::KillLeader => self.leader().into_iter().for_each(|leader| self.kill(leader)),
            Fault::PauseLeader(length) => {
                self.leader().into_iter().for_each(|leader| self.pause(leader, *length));
            }
            Fault::Cut { pairs, .. } => {
                pairs.iter().for_each(|(from, to)| self.network.cut(*from, *to));
            }
            Fault::Narrow { bytes, pairs } => {
                pairs.iter().for_each(|(from, to)| self.network.narrow(*from, *to, *bytes));
            }
            Fault::SlowDisk(id, length) => self.hosts.entry(*id).or_default().sync = *length,
            Fault::Filter(kind) => self.network.filter(*kind),
            Fault::Misplace(pairs) => {
                pairs.iter().for_each(|(from, to)| self.network.misplace(*from, *to));
            }
            Fault::Forget(node) => self.network.forget(*node),
            Fault::Heal => self.network.heal(),
            Fault::FillDisk(id, bytes) => {
                let disk = &self.hosts.entry(*id).or_default().disk;
                disk.limit(Some(disk.used() + bytes));
            }
            Fault::BreakDisk(id) => self.hosts.entry(*id).or_default().disk.set_broken(true),
            Fault::Operate(id, habit) => self.operate(*id, *habit),
            Fault::ClockRate(id, permille) => {
                let now = self.now;
                self.hosts.entry(*id).or_default().clock.set_rate(now, *permille);
                self.schedule_turn(*id, now);
            }
            Fault::ClockJump(id, length) => {
                let now = self.now;
                self.hosts.entry(*id).or_default().clock.jump(now, *length);
                self.schedule_turn(*id, now);
            }
            Fault::Replay(count) => self.replay(*count),
            Fault::Garbage(id) => (0..8).for_each(|_| self.throw_garbage(*id)),
        }
    }

    /// Makes everything work again: the network, the disks, the clocks, and processes that slept.
    /// Acceptors, learners and proposers that died start again; clients stay dead.
    pub fn heal(&mut self) {
        self.network.heal();
        self.network.weather = Weather::default();
        let now = self.now;
        for host in self.hosts.values_mut() {
            host.disk.limit(None);
            host.disk.set_broken(false);
            host.clock.set_rate(now, 1000);
            host.sync = Duration::ZERO;
        }
        self.put_back_last_states();
        self.plan.reads = self.plan.reads.map(ReadOften::a_few_more);
        let everyone: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in everyone {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.doom = None;
                node.reads = node.reads.map(ReadOften::a_few_more);
                node.paused_until = now;
            }
            if self.is_up(id) {
                self.schedule_turn(id, now);
            } else if id.role != Role::Client {
                self.start(id);
            }
        }
        self.trace.tell(Detail::Story, now, format_args!("all faults end"));
        self.happened(What::Heals);
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
            // Values typed after its session has ended are never requested.
            AnyRole::Client(client) => {
                let has_input = !node.input.is_empty() && !client.is_finished();
                let is_known = client.tally().undecided() == 0 || client.is_forgotten();
                !has_input && is_known
            }
            AnyRole::Proposer(_) | AnyRole::Acceptor(_) | AnyRole::Learner(_) => true,
        })
    }

    /// The fates of the values of client `id`.
    pub fn tally(&self, id: u32) -> Option<ClientTally> {
        match &self.nodes.get(&NodeId::new(Role::Client, id))?.role {
            AnyRole::Client(client) => Some(client.tally()),
            AnyRole::Proposer(_) | AnyRole::Acceptor(_) | AnyRole::Learner(_) => None,
        }
    }

    /// The values that learner `id` has delivered since its last start.
    pub fn delivered(&self, id: u32) -> Vec<Value> {
        let Some(node) = self.nodes.get(&NodeId::new(Role::Learner, id)) else { return Vec::new() };
        self.checker.delivered(node.sender).iter().map(|(_, value)| value.clone()).collect()
    }

    /// Whether all learners that are up hold everything that is chosen.
    pub fn learners_complete(&self) -> bool {
        let chosen = self.checker.chosen().len() as u64;
        self.nodes.values().filter(|node| node.is_up).all(|node| match &node.role {
            AnyRole::Learner(learner) => {
                let log = learner.log();
                log.progress().decided == chosen && log.watermark() >= log.first()
            }
            AnyRole::Proposer(_) | AnyRole::Acceptor(_) | AnyRole::Client(_) => true,
        })
    }

    /// Checks that everything that must be delivered is, once clients are finished and learners
    /// complete.
    pub fn check_complete(&self) -> Result<(), Violation> {
        let up = self.nodes.values().filter(|node| node.is_up);
        let clients = up.clone().filter_map(|node| match &node.role {
            AnyRole::Client(client) => {
                let Sender { node, boot } = node.sender;
                let session = Session { client: node.id, boot };
                Some((session, client.tally(), client.is_forgotten()))
            }
            AnyRole::Proposer(_) | AnyRole::Acceptor(_) | AnyRole::Learner(_) => None,
        });
        let learners = up.filter(|node| node.sender.node.role == Role::Learner);
        self.checker.check_complete(learners.map(|node| node.sender), clients)
    }

    /// A running learner with a read that it neither serves nor leaves to the log.
    pub fn find_unread(&self) -> Option<NodeId> {
        self.checker
            .find_unread(self.nodes.values().filter(|node| node.is_up).map(|node| node.sender))
    }

    /// Who leads and what is missing, for reports.
    pub fn describe(&self) -> String {
        let mut parts = vec![format!("{} instances are chosen", self.checker.chosen().len())];
        for (id, node) in &self.nodes {
            parts.push(match &node.role {
                _ if !node.is_up => format!("{id} is dead"),
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

    pub(super) fn arrive(&mut self, to: NodeId, datagram: Rc<[u8]>, copy: PassageId) {
        let received = match self.nodes.get_mut(&to) {
            Some(node) if node.is_up => node.receive(Rc::clone(&datagram), copy),
            Some(_) | None => Err(Fate::Dead),
        };
        match received {
            Ok(()) => {
                // Datagrams that arrive while a node works wait for its next turn.
                let work = Duration::from_micros(5 + self.rng.below(20));
                self.schedule_turn(to, self.now + work);
            }
            Err(fate) => self.end_copy(to, &datagram, copy, fate),
        }
    }

    /// A copy of a datagram ends without effect.
    fn end_copy(&mut self, to: NodeId, datagram: &[u8], copy: PassageId, fate: Fate) {
        self.trace.record(|record| record.ended(self.now, copy, fate));
        // A datagram of no use is no loss.
        if fate != Fate::OfNoUse && self.trace.tells(Detail::Messages) {
            self.tell_loss(to, datagram, fate);
        }
    }

    /// Reports that a datagram arrived in vain.
    fn tell_loss(&mut self, to: NodeId, datagram: &[u8], fate: Fate) {
        let Some(node) = self.nodes.get(&to) else { return };
        let Ok((from, message)) = node.codec.decode(datagram) else { return };
        let detail = Detail::of_kind(message.kind());
        let what = format_args!("  {to} -/- {} {message}: {fate}", from.node);
        self.trace.tell(detail, self.now, what);
    }

    fn schedule_turn(&mut self, id: NodeId, time: Time) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let time = time.max(node.paused_until);
        if node.turn.is_none_or(|turn| turn > time || turn < self.now) {
            node.turn = Some(time);
            self.agenda.schedule(time, Event::Turn { node: id });
        }
    }

    /// One turn of the loop of `id`, and its effects.
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
        if std::mem::take(&mut node.is_syncing) {
            return self.say(id);
        }
        let Some(host) = self.hosts.get(&id) else { return };
        let led = leads(&node.role);
        let clock = host.clock;
        node.end_readings(now, &self.plan.settings);
        if let Some(number) = node.begin_read(now, &clock) {
            self.checker.on_read(node.sender, number);
        }
        node.run_turn(now, &clock, &self.plan.settings, &mut self.trace);
        if let Some((host, head)) = self.hosts.get_mut(&id).zip(node.take_stable()) {
            host.kept.note(head);
        }
        let leads = leads(&node.role);
        if leads != led {
            self.elections += u32::from(leads);
            let what = if leads { "leads" } else { "leads no more" };
            let chosen = self.checker.chosen().len();
            let story = format_args!("{id} {what}; {chosen} instances are decided so far");
            self.trace.tell(Detail::Story, now, story);
        }
        self.trace.record(|record| {
            record.believes(now, id, node.role.belief(clock.shows(now)));
            if led && !leads {
                record.happened(now, What::Yields(id));
            }
            if let (AnyRole::Proposer(proposer), true) = (&node.role, leads && !led) {
                record.happened(now, What::Leads(id, proposer.ballot()));
            }
        });
        self.apply(id);
    }

    /// Store, send, timers, deliver: the role loop's order. It may end anywhere.
    fn apply(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let doom = node.doom.filter(|doom| match doom {
            Boundary::BeforeStore | Boundary::BeforeSync | Boundary::MidStore => {
                !node.fx.persist.is_empty()
            }
            Boundary::BeforeSend | Boundary::MidSend => !node.fx.send.is_empty(),
        });
        if doom == Some(Boundary::BeforeStore) {
            return self.kill(id);
        }
        if let (Some(Boundary::BeforeSync), Some(host)) = (doom, self.hosts.get(&id)) {
            host.disk.set_broken(true);
        }
        if let (Some(Boundary::MidStore), Some(host)) = (doom, self.hosts.get(&id)) {
            host.disk.kill_after(Some(self.rng.below(8)));
        }
        let stored = node.store();
        if let (Some(Boundary::BeforeSync), Some(host)) = (doom, self.hosts.get(&id)) {
            host.disk.set_broken(false);
        }
        if let Err(error) = stored {
            self.trace.tell(Detail::Story, self.now, format_args!("{id} cannot store: {error}"));
            return self.kill(id);
        }
        if matches!(doom, Some(Boundary::BeforeSend | Boundary::MidStore)) {
            return self.kill(id);
        }
        let sync = self.hosts.get(&id).map_or(Duration::ZERO, |host| host.sync);
        if node.fx.persist.is_empty() || sync.is_zero() {
            return self.say(id);
        }
        node.is_syncing = true;
        self.pause(id, sync);
    }

    /// Sends a turn's messages, once its records are stored, and applies the rest of its effects.
    fn say(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let dies = node.doom == Some(Boundary::MidSend) && !node.fx.send.is_empty();
        let (sender, codec) = (node.sender, node.codec.clone());
        let messages = std::mem::take(&mut node.fx.send);
        let count = if dies { messages.len() / 2 } else { messages.len() };
        for (to, message) in messages.into_iter().take(count) {
            let verdict = self.checker.on_send(sender, to, &message);
            let news = self.checker.take_news();
            if news.iter().any(|new| self.checker.is_checkpoint(new.instance)) {
                let verdict = self.expect_copies();
                self.note(verdict);
            }
            news.into_iter().for_each(|new| self.happened(What::Chosen(new)));
            self.note(verdict);
            self.send(sender, &codec, to, &message);
        }
        if dies {
            return self.kill(id);
        }
        self.finish(id);
    }

    /// Timers and deliveries, the end of a turn.
    fn finish(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(host) = self.hosts.get(&id) else { return };
        node.set_timers();
        let (sender, halt) = (node.sender, node.fx.halt);
        let checked = match &node.role {
            AnyRole::Proposer(proposer) => proposer.check(),
            AnyRole::Acceptor(_) | AnyRole::Learner(_) | AnyRole::Client(_) => Ok(()),
        };
        for reading in node.fx.read.drain(..) {
            let done = self.now + Duration::from_micros(50 + self.rng.below(3000));
            let done = node.readings.back().map_or(done, |(last, _)| done.max(*last));
            node.readings.push_back((done, reading));
        }
        for errand in node.fx.errands.drain(..) {
            let done = self.now + host.sync + Duration::from_micros(50 + self.rng.below(1000));
            let done = node.errands.back().map_or(done, |(last, _)| done.max(*last));
            node.errands.push_back((done, errand));
        }
        let next = node.next_turn(self.now, &host.clock);
        self.has_moved |= matches!(sender.node.role, Role::Client | Role::Learner);
        let deliveries = std::mem::take(&mut node.fx.deliver);
        node.fx.clear();
        for delivery in deliveries {
            let what = match &delivery {
                Delivery::Decided(page) => What::Learns(id, page.run()),
                Delivery::Delivered(page, _) => What::Delivers(id, page.run()),
                Delivery::Assembled(value) => {
                    What::Delivers(id, Run::new(value.instance, value.instance.next()))
                }
                // They hand nothing out.
                Delivery::Passed(_) | Delivery::Readable(_) | Delivery::Unreadable(_) => {
                    if let Delivery::Readable(last) | Delivery::Unreadable(last) = delivery {
                        self.trace.mix(last);
                        let what = format_args!("  {id} {delivery:?}");
                        self.trace.tell(Detail::Messages, self.now, what);
                    }
                    let verdict = self.checker.on_deliver(sender, &delivery);
                    self.note(verdict);
                    continue;
                }
                Delivery::Checkpoint(checkpoint) => {
                    self.keep(id, checkpoint);
                    continue;
                }
                Delivery::Restored(checkpoint) => {
                    self.fetched += 1;
                    let story = format_args!("{id} goes on at {}", checkpoint.head.of);
                    self.trace.tell(Detail::Story, self.now, story);
                    let verdict = self.checker.on_deliver(sender, &delivery);
                    self.note(verdict);
                    continue;
                }
                Delivery::Begins(instance) => {
                    let story = format_args!("{id} begins at {instance}");
                    self.trace.tell(Detail::Story, self.now, story);
                    let verdict = self.checker.on_deliver(sender, &delivery);
                    self.note(verdict);
                    continue;
                }
            };
            if let What::Learns(_, run) | What::Delivers(_, run) = &what {
                run.iter().for_each(|instance| self.trace.mix(instance.0));
            }
            self.trace.tell(Detail::Messages, self.now, format_args!("  {id} {delivery:?}"));
            self.happened(what);
            let verdict = self.checker.on_deliver(sender, &delivery);
            self.note(verdict);
        }
        self.note(checked.map_err(|what| format!("{id}: {what}")));
        if let Some(halt) = halt {
            self.trace.tell(Detail::Story, self.now, format_args!("{id} ends: {halt:?}"));
            self.kill(id);
            match halt {
                // Its operator restarts it, with what is kept.
                Halt::CutOff(_) => self.start(id),
                Halt::Trimmed(_) | Halt::NoSnapshot(_) | Halt::LaterSnapshot { .. } => {
                    self.import(id);
                }
                Halt::Forgotten | Halt::Foreign | Halt::Unknown(_) => {}
            }
            return;
        }
        if let Some(next) = next {
            self.schedule_turn(id, next);
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

    fn send(&mut self, from: Sender, codec: &Codec, to: To, message: &Message) {
        let mut datagram = Vec::new();
        if let Err(error) = codec.encode(message, &mut datagram) {
            return self.note(Err(format!("{} cannot send {message}: {error}", from.node)));
        }
        self.trace.mix(self.now.0);
        self.trace.mix_bytes(&datagram);
        let node = from.node;
        let detail = Detail::of_kind(message.kind());
        let what = format_args!("{node} -> {to}: {message}");
        self.trace.tell(detail, self.now, what);
        self.trace.record(|record| {
            let (from, to, message) = (Some(node), Some(to), Some(message.clone()));
            let (time, bytes, copies) = (self.now, datagram.len(), Vec::new());
            record.sent(Sent { time, from, to, message, bytes, is_noise: false, copies });
        });
        let datagram: Rc<[u8]> = datagram.into();
        if self.past.len() < PAST_DATAGRAMS {
            self.past.push((to, Rc::clone(&datagram)));
        } else if self.rng.below(16) == 0 {
            let place = self.rng.below(PAST_DATAGRAMS as u64) as usize;
            self.past[place] = (to, Rc::clone(&datagram));
        }
        let Some(to) = self.network.way(node, to) else {
            if let To::Node(to) = to {
                let passage = Passage { to, fate: Fate::Cut, time: self.now };
                self.trace.record(|record| record.copied(passage));
            }
            return;
        };
        let leaves = self.network.pass(self.now, node, Way::Out, datagram.len());
        for to in reached(&self.nodes, to, message.kind()).filter(|to| *to != node) {
            let what = (message.kind(), datagram.len());
            let arrivals = match leaves {
                Some(leaves) => self.network.arrivals(leaves, (node, to), what),
                None => [Some(Err(Fate::QueueFull)), None],
            };
            for arrival in arrivals.into_iter().flatten() {
                let fate = arrival.err().unwrap_or(Fate::Underway);
                let passage = Passage { to, fate, time: self.now };
                let copy = self.trace.record(|record| record.copied(passage));
                match arrival {
                    Ok(time) => {
                        let datagram = Rc::clone(&datagram);
                        let event = if self.network.has_lines() {
                            Event::Enter { to, datagram, copy }
                        } else {
                            Event::Arrive { to, datagram, copy }
                        };
                        self.agenda.schedule(time, event);
                    }
                    Err(fate) => {
                        let what = format_args!("  {to} -/- {node} {message}: {fate}");
                        self.trace.tell(detail, self.now, what);
                    }
                }
            }
        }
    }
}

/// An acceptor with what its disk holds.
fn open_log(
    host: &Host,
    mine: &Identity,
    plan: &Plan,
) -> Result<(Acceptor, Log<SimDisk>), LogError> {
    let adopt_copy = host.operated.adopts_copy;
    let Plan { segment_bytes, quota, .. } = *plan;
    let options = LogOptions { adopt_copy, segment_bytes, quota, reads_all: false };
    let opening = Log::open(host.disk.clone(), mine, options)?;
    let mut acceptor = Acceptor::new(mine.acceptor, opening.incarnation(), plan.settings.clone());
    let (log, _) = opening.recover(|record| acceptor.restore(record))?;
    Ok((acceptor, log))
}

/// The nodes that take a message of this kind when it is sent there.
pub(super) fn reached(
    nodes: &BTreeMap<NodeId, Node>,
    to: To,
    kind: Kind,
) -> impl Iterator<Item = NodeId> {
    nodes.keys().copied().filter(move |node| kind.reaches(to, *node))
}

fn leads(role: &AnyRole) -> bool {
    matches!(role, AnyRole::Proposer(proposer) if proposer.is_leading())
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
