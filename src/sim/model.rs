//! The shipped proposers and acceptors under a model checker: every order of every message.
//!
//! The network is a set that never shrinks, so messages are lost (never delivered), repeated and
//! overtaken in every way there is. Time stands still: time-outs are steps of their own. A proposer
//! may campaign, and any process may crash and come back (an acceptor even between storing and
//! answering), as often as the scope allows. Heartbeats are left out, and Decides are judged but
//! not delivered.
//!
//! If the scope says so, a learner and standby proposers hear what is proposed and what is named,
//! and any chosen entry may be told to any proposer, as by a learner that answers it: even to a
//! leader that proposes something else there.
//!
//! Where the log is trimmed, the world begins with a leader that has decided values and a
//! checkpoint. Every leader is asked for the leader-assigned values of one client, so that it needs
//! the session table, which in the end only the checkpoint holds; acceptors hear from any proposer
//! how far the log is trimmed. Leaders may have all sessions forgotten but one, and are asked for
//! values of forgotten sessions again.

mod scopes;
mod search;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::scopes::{LARGE, SMALL, Scope, WIDE};
pub use self::search::{Checked, check, wander};
use self::seen::Seen;
use stateright::{Model, Property};

use crate::protocol::actor::{Actor, Effects};
use crate::protocol::entries::{Entries, EntryRef};
use crate::protocol::message::{
    Accepted, AcceptedPage, Announcement, Assignment, CatchUpReply, Heartbeat, Kind, Message,
    Progress, Promise, Request, Standing,
};
use crate::protocol::parts::{Acceptor, Learner, Proposer};
use crate::protocol::proposer::ProposerOptions;
use crate::protocol::settings::Settings;
use crate::protocol::timer::Timer;
use crate::protocol::types::{
    AssignedBy, Ballot, Entry, Instance, NodeId, Number, Origin, Role, Run, Sender, Session, Time,
    To, Value,
};
use crate::protocol::versions::Version;

const ACCEPTORS: u32 = 3;
const NOW: Time = Time::ZERO;

/// The name of what [`World::has_leader_that_begins_above`] finds.
const BEGINS_ABOVE: &str = "a leader begins above what is in memory";

/// The model of one scope.
#[derive(Clone, Debug)]
pub struct Paxos {
    scope: Scope,
    settings: Settings,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Envelope {
    from: Sender,
    group: Role,
    message: Message,
}

/// One state of the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    proposers: Vec<Arc<Proposer>>,
    acceptors: Vec<Arc<Acceptor>>,
    /// Follows what is proposed and named, if the scope has it.
    learner: Arc<Learner>,
    /// What each acceptor would be if it crashed now and came back.
    stored: Vec<Arc<Acceptor>>,
    /// Shared by the worlds in which nothing else was said.
    network: Arc<BTreeSet<Arc<Envelope>>>,
    campaigns: [u8; 2],
    boots: [u64; 2],
    /// Whether the leader has set its timer to close holes.
    closes_holes: [bool; 2],
    /// How many values were requested from the leader since it leads.
    asked: [u64; 2],
    crashes: u8,
    trims: u8,
    limits: u8,
    /// The violation that the messages of this world prove.
    wrong: Option<&'static str>,
}

/// What may happen next.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// A message arrives.
    Deliver(Delivery),
    /// Two answers of acceptors, or one of them twice, reach a proposer in one turn.
    Gather(Delivery, Delivery),
    /// A message arrives at an acceptor, which stores, crashes, and comes back.
    DeliverAndCrash(Delivery),
    /// A proposer's time-out lets it campaign.
    Campaign(usize),
    /// A client asks a leader for its next value; the first is asked for as soon as it leads.
    Ask(usize),
    /// A proposer is told what is chosen in an instance.
    Tell(usize, Instance),
    /// A leader's timer to close holes is due.
    CloseHoles(usize),
    /// A leader writes a checkpoint that trims the log.
    Trim(usize),
    /// A leader has all sessions forgotten but one.
    Limit(usize),
    /// An acceptor hears of a proposer how far the log is trimmed.
    Hear { acceptor: usize, proposer: usize },
    /// A proposer crashes and comes back.
    CrashProposer(usize),
}

/// A message on its way to one node.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    to: NodeId,
    envelope: Arc<Envelope>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delivery = |Delivery { to, envelope }: &Delivery| {
            format!("{} -> {to} {}", envelope.from.node, envelope.message)
        };
        match self {
            Step::Deliver(one) => write!(f, "{}", delivery(one)),
            Step::Gather(one, other) => write!(f, "{} and {}", delivery(one), delivery(other)),
            Step::DeliverAndCrash(one) => write!(f, "{}, which crashes then", delivery(one)),
            Step::Campaign(place) => write!(f, "P{} campaigns", place + 1),
            Step::Ask(place) => write!(f, "P{} is asked for another value", place + 1),
            Step::Tell(place, instance) => write!(f, "P{} is told {instance}", place + 1),
            Step::CloseHoles(place) => write!(f, "P{} closes holes", place + 1),
            Step::Trim(place) => write!(f, "P{} writes a checkpoint", place + 1),
            Step::Limit(place) => write!(f, "P{} has sessions forgotten", place + 1),
            Step::Hear { acceptor, proposer } => {
                write!(f, "A{} hears P{}'s heartbeat", acceptor + 1, proposer + 1)
            }
            Step::CrashProposer(place) => write!(f, "P{} crashes", place + 1),
        }
    }
}

impl World {
    /// Whether some leader has taken up the log above what acceptors hold in memory: at a
    /// checkpoint that a history names. So their promises have left out what they could report.
    fn has_leader_that_begins_above(&self) -> bool {
        let forgotten = self.acceptors.iter().map(|acceptor| acceptor.forgotten()).max();
        self.proposers.iter().filter(|proposer| proposer.is_leading()).any(|leader| {
            let Progress { first, watermark, .. } = leader.log().progress();
            forgotten < Some(first) && leader.log().forgotten() < first && first < watermark
        })
    }
}

impl Paxos {
    /// The model of `scope`.
    pub fn new(scope: Scope) -> Self {
        let settings = Settings {
            acceptor_count: ACCEPTORS,
            // A proposer that is asked to campaign does, and nobody steps down: time stands still.
            heartbeat_interval: Duration::ZERO,
            leader_timeout: Duration::ZERO,
            progress_timeout: Duration::from_secs(1 << 30),
            hold_bytes: scope.holds.then_some(1 << 20),
            ..Settings::default()
        };
        Paxos { scope, settings }
    }

    fn proposer(&self, place: usize, boot: u64) -> Proposer {
        let options = ProposerOptions {
            id: place as u32 + 1,
            boot,
            no_timeouts: false,
            no_preexecution: self.scope.no_preexecution,
        };
        Proposer::new(options, self.settings.clone())
    }

    /// One turn of a proposer.
    fn proposer_turn(
        &self,
        world: &mut World,
        place: usize,
        event: impl FnOnce(&mut Proposer, &mut Effects),
    ) {
        let mut proposer = Proposer::clone(&world.proposers[place]);
        let mut fx = Effects::new();
        let led = proposer.is_leading();
        event(&mut proposer, &mut fx);
        if proposer.is_leading() != led {
            world.asked[place] = 0;
        }
        if proposer.is_leading() && !led {
            self.ask(&mut proposer, place, &mut world.asked[place], &mut fx);
        }
        proposer.on_turn_end(NOW, &mut fx);
        for (timer, deadline) in &fx.timers {
            if *timer == Timer::CloseHoles {
                world.closes_holes[place] = deadline.is_some();
            }
        }
        world.proposers[place] = Arc::new(proposer);
        let node = NodeId::new(Role::Proposer, place as u32 + 1);
        send(world, Sender { node, boot: world.boots[place] }, fx);
    }

    /// Whether any process could use an acceptor's answer. Useless answers are left out, or there
    /// would be ten times as many worlds that do not differ in anything that matters.
    fn is_of_use(&self, world: &World, answer: &Message) -> bool {
        let place = |ballot: Ballot| ballot.proposer as usize - 1;
        match answer {
            // A proposer that may not campaign again need not be told to give up.
            Message::Nack(nack) => {
                let owner = place(nack.rejected);
                world.campaigns[owner] < self.scope.campaigns[owner]
            }
            // A leader with a quorum's promises cannot use more of them.
            Message::Promise(promise) => {
                self.scope.no_preexecution || !world.proposers[place(promise.ballot)].is_leading()
            }
            _ => true,
        }
    }

    /// Every pair of answers that could let a proposer go on: two are a quorum.
    ///
    /// Answers are taken in pairs only, and only when the pair has an effect. Nothing is lost by
    /// that: an answer has no visible effect until a quorum is complete, and a network that never
    /// forgets still has the first answer when the second is there.
    fn gatherings(&self, world: &World, steps: &mut Vec<Step>) {
        for place in 0..2 {
            let interest = world.proposers[place].interest();
            let answers: Vec<&Arc<Envelope>> = world
                .network
                .iter()
                .filter(|one| is_answer_to(place, one) && interest.includes(one.message.kind()))
                .collect();
            let to = NodeId::new(Role::Proposer, place as u32 + 1);
            for (first, one) in answers.iter().enumerate() {
                let delivery =
                    |envelope: &Arc<Envelope>| Delivery { to, envelope: Arc::clone(envelope) };
                let pairs = answers[first..].iter();
                steps.extend(pairs.map(|other| Step::Gather(delivery(one), delivery(other))));
            }
        }
    }

    /// One turn of the learner. Its messages do not matter here.
    fn learner_turn(&self, world: &mut World, Envelope { from, message, .. }: &Envelope) {
        let mut learner = Learner::clone(&world.learner);
        let mut fx = Effects::new();
        learner.on_message(NOW, *from, message.clone(), &mut fx);
        learner.on_turn_end(NOW, &mut fx);
        world.learner = Arc::new(learner);
    }

    /// Whether a message is taken by a process that only follows.
    fn is_followed(&self, world: &World, to: NodeId, kind: Kind) -> bool {
        let is_overheard = kind == Kind::Accept && to.role == Role::Proposer;
        let interest = match to.role {
            Role::Proposer => world.proposers[to.id as usize - 1].interest(),
            Role::Learner => world.learner.interest(),
            _ => world.acceptors[to.id as usize - 1].interest(),
        };
        interest.includes(kind) && (self.scope.follows || !is_overheard)
    }

    /// Every proposer may be told any chosen entry that it does not know.
    fn tellings(&self, world: &World, steps: &mut Vec<Step>) {
        for instance in Seen::in_world(world).chosen().into_keys() {
            let lacks = |place: &usize| !world.proposers[*place].log().contains(instance);
            steps.extend((0..2).filter(lacks).map(|place| Step::Tell(place, instance)));
        }
    }

    /// A client asks the leader for its next value. Every proposer has a client of its own, so that
    /// leaders differ in what they would propose. Where the log is trimmed, the second proposer is
    /// asked for the first one's values behind its own; where sessions are forgotten, the first one
    /// for the second one's.
    fn ask(&self, proposer: &mut Proposer, place: usize, asked: &mut u64, fx: &mut Effects) {
        *asked += 1;
        let own = place as u32 + 1;
        let is_sharing = if place > 0 { self.scope.trims > 0 } else { self.scope.limits > 0 };
        let (id, number) =
            if is_sharing && *asked > 1 { (3 - own, *asked - 1) } else { (own, *asked) };
        let (assigned_by, assignment) = match self.scope.trims {
            0 => (AssignedBy::Client, Assignment::Client { first: Instance(1) }),
            _ => (AssignedBy::Leader, Assignment::Leader),
        };
        // The second client comes when the first one's first value is decided.
        let opened = if self.scope.trims > 0 { Instance(id.into()) } else { Origin::UNSTAMPED };
        let origin = Origin::new(Session { client: id, boot: 1 }, Number(number), assigned_by);
        let (origin, asked) = (origin.stamped(opened), value(id, number));
        let request = Request {
            assignment,
            from: Number(number),
            front: Number(1),
            opened,
            entries: Entries::numbered(origin, [asked.as_bytes()]),
        };
        let from = Sender { node: NodeId::new(Role::Client, id), boot: 1 };
        proposer.on_message(NOW, from, Message::Request(request), fx);
    }

    /// The world after the first proposer has decided two values with two acceptors, and a
    /// checkpoint between them.
    fn with_checkpoint(&self, mut world: World) -> World {
        for step in [Step::Campaign(0), Step::Trim(0), Step::Ask(0)] {
            world = self.next_state(&world, step).expect("it has an effect");
            while let Some(next) = self.settle(&world) {
                world = next;
            }
        }
        World { trims: 0, ..world }
    }

    /// Delivers the messages between the first proposer and two acceptors, as far as they have any
    /// effect.
    fn settle(&self, world: &World) -> Option<World> {
        let is_among = |to: NodeId| match to.role {
            Role::Acceptor => to.id < ACCEPTORS,
            role => role == Role::Proposer && to.id == 1,
        };
        let mut steps = Vec::new();
        self.actions(world, &mut steps);
        steps.retain(
            |step| matches!(step, Step::Deliver(one) | Step::Gather(one, _) if is_among(one.to)),
        );
        steps.into_iter().find_map(|step| self.next_state(world, step))
    }

    /// One turn of an acceptor. It stores before it answers, and may crash in between.
    fn acceptor_turn(&self, world: &mut World, delivery: &Delivery, crashes: bool) {
        let place = delivery.to.id as usize - 1;
        let Envelope { from, message, .. } = &*delivery.envelope;
        let mut acceptor = Acceptor::clone(&world.acceptors[place]);
        let mut fx = Effects::new();
        acceptor.on_message(NOW, *from, message.clone(), &mut fx);
        acceptor.on_turn_end(NOW, &mut fx);
        if !fx.persist.is_empty() {
            let mut stored = Acceptor::clone(&world.stored[place]);
            fx.persist.drain(..).for_each(|record| stored.restore(record));
            world.stored[place] = Arc::new(stored);
        }
        if crashes {
            world.acceptors[place] = Arc::clone(&world.stored[place]);
        } else {
            world.acceptors[place] = Arc::new(acceptor);
            fx.send.retain(|(_, message)| self.is_of_use(world, message));
            send(world, Sender { node: delivery.to, boot: 1 }, fx);
        }
    }
}

/// Whether it is an answer that a proposer gathers.
fn is_answer(envelope: &Envelope) -> bool {
    matches!(envelope.message.kind(), Kind::Promise | Kind::Accepted)
}

/// Whether it answers a ballot of this proposer, the present one or an earlier.
fn is_answer_to(place: usize, envelope: &Envelope) -> bool {
    match &envelope.message {
        Message::Promise(Promise { ballot, .. }) | Message::Accepted(Accepted { ballot, .. }) => {
            ballot.proposer as usize == place + 1
        }
        _ => false,
    }
}

/// Everybody in the world.
fn nodes(scope: Scope) -> impl Iterator<Item = NodeId> {
    let learners = scope.follows.then_some(NodeId::new(Role::Learner, 1));
    let proposers = (1..=2).map(|id| NodeId::new(Role::Proposer, id));
    let acceptors = (1..=ACCEPTORS).map(|id| NodeId::new(Role::Acceptor, id));
    proposers.chain(acceptors).chain(learners)
}

fn send(world: &mut World, from: Sender, fx: Effects) {
    for (to, message) in fx.send {
        // An address may be unknown, and then the group hears the message: every process of it may.
        let group = to.group();
        let is_left_out = matches!(message.kind(), Kind::Heartbeat | Kind::RequestAck | Kind::Echo);
        let envelope = Arc::new(Envelope { from, group, message });
        if !is_left_out && !world.network.contains(&envelope) {
            Arc::make_mut(&mut world.network).insert(envelope);
        }
    }
}

impl Model for Paxos {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let proposers = (0..2).map(|place| Arc::new(self.proposer(place, 1))).collect();
        let acceptors: Vec<_> = (1..=ACCEPTORS)
            .map(|id| Arc::new(Acceptor::new(id, 1, self.settings.clone())))
            .collect();
        let world = World {
            proposers,
            learner: Arc::new(Learner::new(1, 1, self.settings.clone(), NOW)),
            stored: acceptors.clone(),
            acceptors,
            network: Arc::new(BTreeSet::new()),
            campaigns: [0; 2],
            boots: [1; 2],
            closes_holes: [false; 2],
            asked: [0; 2],
            crashes: 0,
            trims: 0,
            limits: 0,
            wrong: None,
        };
        vec![if self.scope.trims > 0 { self.with_checkpoint(world) } else { world }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let may_crash = world.crashes < self.scope.crashes;
        for envelope in &*world.network {
            let kind = envelope.message.kind();
            let nodes =
                nodes(self.scope).filter(|node| kind.reaches(To::Group(envelope.group), *node));
            for to in nodes {
                let is_gathered = is_answer(envelope) && to.role == Role::Proposer;
                if to == envelope.from.node || is_gathered || !self.is_followed(world, to, kind) {
                    continue;
                }
                let delivery = Delivery { to, envelope: Arc::clone(envelope) };
                if may_crash && to.role == Role::Acceptor {
                    steps.push(Step::DeliverAndCrash(delivery.clone()));
                }
                steps.push(Step::Deliver(delivery));
            }
        }
        self.gatherings(world, steps);
        if self.scope.follows || self.scope.trims > 0 {
            self.tellings(world, steps);
        }
        for place in 0..2 {
            let Progress { trimmed, first, .. } = world.proposers[place].log().progress();
            let hears = |acceptor: &usize| {
                let acceptor = &world.acceptors[*acceptor];
                acceptor.trimmed() < trimmed || self.scope.holds && acceptor.forgotten() < first
            };
            let hearings = (0..world.acceptors.len()).filter(hears);
            steps.extend(hearings.map(|acceptor| Step::Hear { acceptor, proposer: place }));
            if world.trims < self.scope.trims && world.proposers[place].is_leading() {
                steps.push(Step::Trim(place));
            }
            if world.limits < self.scope.limits && world.proposers[place].is_leading() {
                steps.push(Step::Limit(place));
            }
            if world.campaigns[place] < self.scope.campaigns[place] {
                steps.push(Step::Campaign(place));
            }
            if (1..self.scope.instances).contains(&world.asked[place]) {
                steps.push(Step::Ask(place));
            }
            if world.closes_holes[place] {
                steps.push(Step::CloseHoles(place));
            }
            if may_crash && world.campaigns[place] > 0 {
                steps.push(Step::CrashProposer(place));
            }
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        match step {
            Step::Deliver(Delivery { to, envelope }) if to.role == Role::Proposer => {
                let Envelope { from, message, .. } = &*envelope;
                self.proposer_turn(&mut next, to.id as usize - 1, |proposer, fx| {
                    proposer.on_message(NOW, *from, message.clone(), fx);
                });
            }
            Step::Gather(Delivery { to, envelope }, other) => {
                let place = to.id as usize - 1;
                self.proposer_turn(&mut next, place, |proposer, fx| {
                    for one in [envelope, other.envelope] {
                        proposer.on_message(NOW, one.from, one.message.clone(), fx);
                    }
                });
                let has_shown = next.network.len() > world.network.len()
                    || next.proposers[place].is_leading() != world.proposers[place].is_leading();
                if !has_shown {
                    return None;
                }
            }
            Step::Deliver(Delivery { to, envelope }) if to.role == Role::Learner => {
                self.learner_turn(&mut next, &envelope);
            }
            Step::Deliver(delivery) => self.acceptor_turn(&mut next, &delivery, false),
            Step::Tell(place, from) => {
                let entries = Seen::in_world(world).chosen().remove(&from).unwrap_or_default();
                let entries = entries.into_iter().take(1).collect();
                let reply = Message::CatchUpReply(CatchUpReply { from, entries, last: true });
                let learner = Sender { node: NodeId::new(Role::Learner, 1), boot: 1 };
                self.proposer_turn(&mut next, place, |proposer, fx| {
                    proposer.on_message(NOW, learner, reply, fx);
                });
            }
            Step::Trim(place) => {
                self.proposer_turn(&mut next, place, |proposer, _| proposer.trim(NOW));
                if next == *world {
                    return None;
                }
                next.trims += 1;
            }
            Step::Limit(place) => {
                self.proposer_turn(&mut next, place, |proposer, _| proposer.limit(NOW, 1));
                if next == *world {
                    return None;
                }
                next.limits += 1;
            }
            Step::Hear { acceptor, proposer: place } => {
                let node = NodeId::new(Role::Proposer, place as u32 + 1);
                let from = Sender { node, boot: world.boots[place] };
                let group = Role::Acceptor;
                let message = heartbeat(&world.proposers[place]);
                let to = NodeId::new(Role::Acceptor, acceptor as u32 + 1);
                let envelope = Arc::new(Envelope { from, group, message });
                self.acceptor_turn(&mut next, &Delivery { to, envelope }, false);
            }
            Step::DeliverAndCrash(delivery) => {
                next.crashes += 1;
                self.acceptor_turn(&mut next, &delivery, true);
                if next.acceptors == world.acceptors {
                    return None; // It stored nothing, so it did not matter.
                }
            }
            Step::Campaign(place) => {
                self.proposer_turn(&mut next, place, |proposer, fx| {
                    proposer.take_over(NOW, fx);
                });
                next.campaigns[place] += 1;
            }
            Step::Ask(place) => {
                let mut asked = next.asked[place];
                self.proposer_turn(&mut next, place, |proposer, fx| {
                    self.ask(proposer, place, &mut asked, fx);
                });
                next.asked[place] = asked;
            }
            Step::CloseHoles(place) => {
                next.closes_holes[place] = false;
                self.proposer_turn(&mut next, place, |proposer, fx| {
                    proposer.on_timer(NOW, Timer::CloseHoles, fx);
                });
            }
            Step::CrashProposer(place) => {
                next.crashes += 1;
                next.boots[place] += 1;
                next.closes_holes[place] = false;
                next.asked[place] = 0;
                next.proposers[place] = Arc::new(self.proposer(place, next.boots[place]));
            }
        }
        let follows = self.scope.follows || self.scope.trims > 0;
        if next.network.len() > world.network.len() || follows {
            next.wrong = Seen::in_world(&next).what_is_wrong();
        }
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing is wrong", |_, world: &World| world.wrong.is_none()),
            Property::sometimes("something is decided", |_, world: &World| {
                let says = |kind| matches!(kind, Kind::Chosen | Kind::Decide);
                world.network.iter().any(|one| says(one.message.kind()))
            }),
            Property::sometimes(BEGINS_ABOVE, |_, world: &World| {
                world.has_leader_that_begins_above()
            }),
        ]
    }
}

/// The value that client `id` asks for in an instance.
fn value(id: u32, instance: u64) -> Value {
    Value::new(format!("c{id}-{instance}").as_bytes())
}

/// Whether a client asked for this entry in this instance, or it is not a client's.
fn is_asked(instance: Instance, entry: &Entry) -> bool {
    let Entry::Value { value: proposed, origin } = entry else { return true };
    let number = match origin.assigned_by {
        AssignedBy::Client => instance.0,
        AssignedBy::Leader => origin.number.0,
    };
    *proposed == value(origin.session.client, number)
}

/// A proposer's heartbeat to the acceptors, with its progress.
fn heartbeat(proposer: &Proposer) -> Message {
    let announcement = Announcement::new(Standing::Stands, Ballot::ZERO);
    let progress = proposer.log().progress();
    Message::Heartbeat(Heartbeat::new(Version::NEWEST, announcement, progress))
}

/// The judge counts by itself: it shares no code with the roles it judges.
fn is_majority(voters: &BTreeSet<u32>) -> bool {
    voters.len() * 2 > ACCEPTORS as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(scope: Scope, check: impl Fn(Scope) -> Checked) {
        let start = std::time::Instant::now();
        let Checked { states, wrong, begins_above } = check(scope);
        if let Some(wrong) = wrong {
            panic!("{scope:?}, after {states} states: {wrong}");
        }
        assert!(begins_above || !scope.holds, "{scope:?}, in {states} states: none {BEGINS_ABOVE}");
        println!("{states} states in {:?}: {scope:?}", start.elapsed());
    }

    #[test]
    fn small_scopes_hold() {
        SMALL.into_iter().for_each(|scope| holds(scope, check));
    }

    #[test]
    fn random_walks_through_wide_scopes_find_nothing() {
        WIDE.into_iter().for_each(|scope| holds(scope, |scope| wander(scope, 100_000)));
    }

    /// Walks through a trimmed log reach the states where these bugs matter.
    #[test]
    #[cfg(feature = "bugs")]
    fn walks_see_what_is_wrong_with_trimming() {
        use super::scopes::{FORGETFUL, HELD, TRIMMED};
        use crate::bugs::{Bug, switch_to};
        let bugs = [
            (Bug::CheckpointLacksSessions, TRIMMED),
            (Bug::ReportsTrimmedAsEmpty, TRIMMED),
            (Bug::TakesLeastTrimmed, TRIMMED),
            (Bug::CheckpointLacksHorizon, FORGETFUL),
            (Bug::ForgetsNewest, FORGETFUL),
            (Bug::ForgetsUndecided, FORGETFUL),
            (Bug::BeginsAtHalfACheckpoint, HELD),
            (Bug::TakesLeastTrimmed, HELD),
        ];
        for (bug, scope) in bugs {
            switch_to(Some(bug));
            let Checked { states, wrong, .. } = wander(scope, 100_000);
            switch_to(None);
            assert!(wrong.is_some(), "nothing is seen of {bug:?} in {states} states");
        }
    }

    #[test]
    #[ignore = "takes minutes and gigabytes"]
    fn large_scopes_hold() {
        LARGE.into_iter().for_each(|scope| holds(scope, check));
    }
}
