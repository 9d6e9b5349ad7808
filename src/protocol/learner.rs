//! The learner: takes decisions in, hands values out, and helps others who missed some.
//!
//! Learners elect a leader of their own by heartbeats. Only the leading learner acknowledges to
//! the proposers and answers catch-up, so ten learners are no louder than one.

use log::{error, info, warn};

use super::actor::{Actor, Delivery, Effects, Ignored, Input};
use super::catch_up::{self, CatchUp};
use super::decided_log::{DecidedLog, Decision, Occurrence};
use super::election::{Election, Verdict};
use super::message::{
    CatchUpReply, CatchUpRequest, Decide, DecideAck, Heartbeat, Interest, Kind, Message, Standing,
};
use super::settings::Settings;
use super::timer::Timer;
use super::types::{AssignedBy, Ballot, Counted, Entry, Instance, NodeId, Role, Sender, Time};

/// One learner's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Learner {
    id: u32,
    boot: u64,
    settings: Settings,
    election: Election,
    leads: bool,
    log: DecidedLog,
    catch_up: CatchUp,
    /// Whether the proposers are to be told how much is held here.
    owes_ack: bool,
    ack_armed: bool,
}

impl Learner {
    /// Learner `id` in its life `boot`, which knows nothing yet.
    pub fn new(id: u32, boot: u64, settings: Settings, now: Time) -> Self {
        let listen = settings.heartbeat_interval * 2;
        Learner {
            id,
            boot,
            election: Election::new(id, settings.leader_timeout, listen, now),
            settings,
            leads: false,
            log: DecidedLog::new(),
            catch_up: CatchUp::default(),
            owes_ack: false,
            ack_armed: false,
        }
    }

    /// What it knows to be decided.
    pub fn log(&self) -> &DecidedLog {
        &self.log
    }

    /// Whether it is the leading learner.
    pub fn is_leading(&self) -> bool {
        self.leads
    }

    /// Takes in decided entries. Returns whether any was new.
    fn learn(&mut self, from: Instance, entries: Vec<Entry>, fx: &mut Effects) -> bool {
        let mut gained = false;
        for (instance, entry) in from.numbering(entries) {
            gained |= self.decide(instance, entry, fx);
        }
        self.deliver(fx);
        gained
    }

    fn decide(&mut self, instance: Instance, entry: Entry, fx: &mut Effects) -> bool {
        let client_assigned = match &entry {
            Entry::Value { origin, value } if origin.assigned_by == AssignedBy::Client => {
                Some(value.clone())
            }
            Entry::Value { .. } | Entry::Noop => None,
        };
        match self.log.decide(instance, entry) {
            Decision::Known => false,
            Decision::Contradiction => {
                error!("instance {instance} is decided, and was claimed to hold another value");
                fx.ignore(Ignored::Contradiction);
                false
            }
            Decision::New => {
                if let Some(value) = client_assigned {
                    fx.deliver.push(Delivery::Decided { instance, value });
                }
                true
            }
        }
    }

    /// Hands out what can be handed out in order.
    fn deliver(&mut self, fx: &mut Effects) {
        while let Some((instance, entry, occurrence)) = self.log.deliver_next() {
            let Entry::Value { origin, value } = entry else { continue };
            if occurrence != Occurrence::Delivered {
                continue;
            }
            if origin.assigned_by == AssignedBy::Leader {
                fx.deliver.push(Delivery::Decided { instance, value: value.clone() });
            }
            fx.deliver.push(Delivery::Delivered { instance, value: value.clone() });
        }
    }

    fn on_decide(&mut self, decide: Decide, fx: &mut Effects) {
        self.catch_up.on_decide();
        self.learn(decide.from, decide.entries, fx);
        // Also when nothing was new: the leader would not ask if it had heard the last answer.
        self.owes_ack = true;
    }

    fn on_heartbeat(&mut self, now: Time, from: NodeId, heartbeat: Heartbeat, fx: &mut Effects) {
        self.catch_up.on_progress(heartbeat.progress);
        if from.role == Role::Proposer {
            // A leader that knows less than its learners must hear of it.
            self.owes_ack |= heartbeat.progress.decided < self.log.progress().decided;
            return;
        }
        self.election.on_heartbeat(now, from.id, heartbeat.standing);
        if self.leads && heartbeat.standing == Standing::Leads && from.id < self.id {
            info!("is replaced: {from} leads the learners");
            self.leads = false;
            fx.cancel_timer(Timer::DecideAck);
            self.ack_armed = false;
        }
    }

    fn on_catch_up_request(&mut self, asker: Role, request: &CatchUpRequest, fx: &mut Effects) {
        if !self.leads {
            return fx.ignore(Ignored::NotLeading);
        }
        catch_up::answer(&self.log, request, asker, &self.settings, fx);
    }

    fn on_catch_up_reply(&mut self, now: Time, role: Role, reply: CatchUpReply, fx: &mut Effects) {
        let gained = self.learn(reply.from, reply.entries, fx);
        self.owes_ack |= gained;
        let answer = (gained, reply.last);
        self.catch_up.on_reply(now, &self.log, role, answer, &self.settings, fx);
    }

    fn send_heartbeat(&self, now: Time, fx: &mut Effects) {
        let standing = if self.leads { Standing::Leads } else { Standing::Stands };
        let (ballot, progress) = (Ballot::ZERO, self.log.progress());
        fx.send(Role::Learner, Message::Heartbeat(Heartbeat { standing, ballot, progress }));
        fx.set_timer(Timer::Heartbeat, now + self.settings.heartbeat_interval);
    }

    fn on_election(&mut self, now: Time, fx: &mut Effects) {
        fx.set_timer(Timer::Election, now + self.settings.heartbeat_interval);
        if self.leads {
            return self.election.rest(now);
        }
        if self.election.check(now, true) == Verdict::Campaign {
            // Two leading learners do no harm, so there is nobody to ask.
            info!("leads the learners");
            self.leads = true;
            self.owes_ack = true;
            self.send_heartbeat(now, fx);
        }
    }
}

impl Actor for Learner {
    fn on_start(&mut self, now: Time, fx: &mut Effects) {
        self.send_heartbeat(now, fx);
        fx.set_timer(Timer::Election, now + self.settings.heartbeat_interval);
    }

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        let NodeId { role, id } = from.node;
        if role != Role::Proposer && role != Role::Learner {
            return fx.ignore(Ignored::ImpossibleSender);
        }
        if role == Role::Learner && id == self.id {
            if from.boot != self.boot {
                warn!("another process runs as L{id}: give each its own id");
                fx.ignore(Ignored::SameId);
            }
            return;
        }
        match message {
            Message::Decide(decide) if role == Role::Proposer => self.on_decide(decide, fx),
            Message::Heartbeat(heartbeat) => self.on_heartbeat(now, from.node, heartbeat, fx),
            Message::CatchUpRequest(request) => self.on_catch_up_request(role, &request, fx),
            Message::CatchUpReply(reply) => self.on_catch_up_reply(now, role, reply, fx),
            Message::Decide(_) => fx.ignore(Ignored::ImpossibleSender),
            Message::Request(_)
            | Message::RequestAck(_)
            | Message::Prepare(_)
            | Message::Promise(_)
            | Message::Accept(_)
            | Message::Accepted(_)
            | Message::Nack(_)
            | Message::DecideAck(_)
            | Message::Disown(_) => fx.ignore(Ignored::Misdirected),
        }
    }

    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects) {
        match timer {
            Timer::Heartbeat => self.send_heartbeat(now, fx),
            Timer::Election => self.on_election(now, fx),
            Timer::CatchUp => {
                // Who leads has nobody among the learners to ask.
                let sources = match self.election.leader() {
                    Some(_) if !self.leads => [Role::Learner, Role::Proposer],
                    Some(_) | None => [Role::Proposer, Role::Proposer],
                };
                self.catch_up.on_timer(now, &self.log, sources, &self.settings, fx);
            }
            Timer::DecideAck => {
                self.ack_armed = false;
                let progress = self.log.progress();
                fx.send(Role::Proposer, Message::DecideAck(DecideAck { progress }));
            }
            Timer::RetryPrepare
            | Timer::RetryAccept
            | Timer::RetryDecide
            | Timer::CloseHoles
            | Timer::RequestAck
            | Timer::RetryRequest => unreachable!("a learner does not set {timer:?}"),
        }
    }

    fn on_input(&mut self, _now: Time, _input: Input, _fx: &mut Effects) {
        unreachable!("a learner has no input room");
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        self.catch_up.on_turn_end(now, &self.log, &self.settings, fx);
        if self.owes_ack && self.leads && !self.ack_armed {
            self.ack_armed = true;
            fx.set_timer(Timer::DecideAck, now + self.settings.decide_ack_delay);
        }
        self.owes_ack = false;
    }

    fn interest(&self) -> Interest {
        const ALL: Interest = Interest::of(&[
            Kind::Decide,
            Kind::Heartbeat,
            Kind::CatchUpRequest,
            Kind::CatchUpReply,
        ]);
        const FOLLOWING: Interest =
            Interest::of(&[Kind::Decide, Kind::Heartbeat, Kind::CatchUpReply]);
        if self.leads { ALL } else { FOLLOWING }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::{Number, Origin, Session, Value};

    fn entry(text: &str, number: u64, assigned_by: AssignedBy) -> Entry {
        let session = Session { client: 1, boot: 1 };
        let origin = Origin { session, number: Number(number), assigned_by };
        Entry::Value { origin, value: Value::new(text.as_bytes()) }
    }

    fn decide(learner: &mut Learner, from: u64, entries: Vec<Entry>) -> Vec<String> {
        let mut fx = Effects::new();
        let sender = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
        let decide = Decide { ballot: Ballot::ZERO, from: Instance(from), entries };
        learner.on_message(Time::ZERO, sender, Message::Decide(decide), &mut fx);
        fx.deliver
            .iter()
            .map(|delivery| match delivery {
                Delivery::Decided { instance, value } => format!("file {instance} {value}"),
                Delivery::Delivered { instance, value } => format!("out {instance} {value}"),
            })
            .collect()
    }

    fn learner() -> Learner {
        Learner::new(1, 1, Settings::default(), Time::ZERO)
    }

    #[test]
    fn client_assigned_values_are_recorded_when_decided_and_printed_in_order() {
        let mut learner = learner();
        let first = entry("a", 1, AssignedBy::Client);
        let second = entry("b", 2, AssignedBy::Client);
        assert_eq!(decide(&mut learner, 2, vec![second]), ["file 2 \"b\""]);
        assert_eq!(
            decide(&mut learner, 1, vec![first]),
            ["file 1 \"a\"", "out 1 \"a\"", "out 2 \"b\""]
        );
    }

    #[test]
    fn leader_assigned_values_are_recorded_when_delivered_and_only_once() {
        let mut learner = learner();
        let value = entry("a", 1, AssignedBy::Leader);
        assert!(decide(&mut learner, 3, vec![value.clone()]).is_empty());
        assert_eq!(
            decide(&mut learner, 1, vec![Entry::Noop, value]),
            ["file 2 \"a\"", "out 2 \"a\""]
        );
    }

    /// A claim that contradicts what is decided changes nothing.
    #[test]
    fn what_is_decided_stays() {
        let mut learner = learner();
        decide(&mut learner, 1, vec![entry("a", 1, AssignedBy::Client)]);
        assert!(decide(&mut learner, 1, vec![entry("b", 1, AssignedBy::Client)]).is_empty());
    }
}
