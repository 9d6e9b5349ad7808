//! The learner: it takes decisions in, hands values out, and helps others that missed some.
//!
//! Learners elect a leader of their own by heartbeats. Only the leading learner acknowledges to
//! the proposers, so ten learners cause no more traffic than one. Any learner may be asked to help
//! another catch up (`catch_up`).
//!
//! A learner takes in all of the log, even when it hands out only a later part: which occurrence of
//! a leader-assigned value is delivered depends on everything before it.

mod fetching;
mod holding;
#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;
mod snapshots;

use std::sync::Arc;

use log::{error, info, warn};

use self::snapshots::Snapshots;
use super::actor::{Actor, Delivery, Effects, Halt, Ignored, Input};
use super::catch_up::{self, Answer};
use super::decided_log::{Contradiction, LetsGo, Occurrence};
use super::figures::Figures;
use super::leading_learner::{LeadingLearner, NextStep};
use super::message::{
    Accept, Announcement, CatchUpReply, CatchUpRequest, Chosen, Decide, DecideAck, Heartbeat,
    Interest, Kind, Message, Progress, Recalled, Standing, StateKind,
};
use super::parts::{CatchUp, DecidedLog, Fetching, Proposals, Reads};
use super::pleading::Pleading;
use super::segments::Page;
use super::settings::Settings;
use super::timer::Timer;
use super::types::{
    AssignedBy, Ballot, Counted, Few, Instance, LogTime, NodeId, Origin, Role, Run, Sender, Time,
};
use super::versions::{Followed, Version};

/// From which instance on a learner hands values out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Beginning {
    /// The oldest one that is kept.
    Oldest,
    /// This one. The learner ends if it is not kept any more.
    At(Instance),
    /// The first that neither the leader nor this learner had delivered when the learner first
    /// heard a leader with a quorum.
    Now,
}

/// One learner's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Learner {
    id: u32,
    boot: u64,
    settings: Settings,
    /// Nothing below it is handed out, and nothing at all while it is not known.
    begins: Option<Instance>,
    /// It may begin later, as long as nothing was delivered.
    begins_anywhere: bool,
    /// Something that it had yet to hand out was trimmed: it ends with this turn.
    is_cut_off: bool,
    /// It went on from a snapshot, and no leader has named this log yet: the snapshot may be from
    /// before the cluster lost its data, and until that is ruled out nobody may read its state.
    may_be_foreign: bool,
    /// Everything below it is in the application's own state, which says so; none once it is known
    /// that as much was decided.
    holds: Option<Instance>,
    election: LeadingLearner,
    leads: bool,
    log: DecidedLog,
    /// What may be decided already.
    proposals: Proposals,
    catch_up: CatchUp,
    /// Whether the proposers are owed a report of how much is held here.
    owes_ack: bool,
    ack_armed: bool,
    /// The quorate leader that this learner hears itself, and when it did last.
    follows: Option<(Ballot, Time)>,
    /// In which version of the wire format the leader sends.
    followed: Followed,
    /// When such a leader was heard last, by this learner or by another that it hears.
    informed: Time,
    /// When a decision was last learned, or when there was nothing to learn.
    gained: Time,
    pleading: Pleading,
    /// None if no snapshots are taken.
    snapshots: Option<Snapshots>,
    /// The reads that wait.
    reads: Reads,
    /// The snapshot that it needs to go on.
    fetching: Option<Fetching>,
    /// It has fetched one, and has not caught up with the others yet.
    follows_up: bool,
}

impl Learner {
    /// Learner `id` with boot number `boot`, which knows nothing yet.
    pub fn new(id: u32, boot: u64, settings: Settings, now: Time) -> Self {
        let listen = settings.heartbeat_interval * 2;
        Learner {
            id,
            boot,
            election: LeadingLearner::new(id, settings.leader_timeout, listen, now),
            leads: false,
            log: DecidedLog::with_limits(settings.assembly),
            proposals: Proposals::default(),
            catch_up: CatchUp::of_learner(id),
            owes_ack: false,
            ack_armed: false,
            follows: None,
            followed: Followed::default(),
            informed: now,
            gained: now,
            pleading: Pleading::default(),
            settings,
            begins: Some(Instance::FIRST),
            begins_anywhere: true,
            is_cut_off: false,
            may_be_foreign: false,
            holds: None,
            snapshots: None,
            reads: Reads::new(boot),
            fetching: None,
            follows_up: false,
        }
    }

    /// The same, handing out what lies at `beginning` or above.
    #[must_use]
    pub fn beginning(self, beginning: Beginning) -> Self {
        let (begins, begins_anywhere) = match beginning {
            Beginning::Oldest => (Some(Instance::FIRST), true),
            Beginning::At(instance) => (Some(instance), false),
            Beginning::Now => (None, false),
        };
        Learner { begins, begins_anywhere, ..self }
    }

    /// The same for an application that takes snapshots of its state.
    #[must_use]
    pub fn with_snapshots(self, kind: StateKind) -> Self {
        Learner { snapshots: Some(Snapshots::new(kind)), ..self }
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What it knows to be decided.
    pub fn log(&self) -> &DecidedLog {
        &self.log
    }

    /// Whether it is fetching a snapshot that it needs to go on. That will include what it has
    /// handed out.
    pub fn is_fetching(&self) -> bool {
        self.fetching.is_some()
    }

    /// Whether it is the leading learner.
    pub fn is_leading(&self) -> bool {
        self.leads
    }

    /// Takes in decided entries. Returns whether any was new.
    fn learn(&mut self, now: Time, page: Page, fx: &mut Effects) -> bool {
        if self.is_cut_off || !self.has_room(&page) {
            return false;
        }
        let mut has_gained = false;
        let outcome = self.log.decide(page, |page| {
            self.proposals.forget(page.run());
            record(&page, self.begins, fx);
            has_gained = true;
        });
        if let Err(Contradiction(instance)) = outcome {
            error!("instance {instance} is decided, and was claimed to hold another value");
            fx.ignore(Ignored::Contradiction);
        }
        self.deliver(fx);
        if has_gained {
            self.gained = now;
        }
        has_gained
    }

    /// Whether `page` may be taken in. A learner that lacks much of the log would hold everything
    /// decided meanwhile: once that is too much, it takes in only what comes next in order, and
    /// fetches the rest when its turn comes.
    fn has_room(&self, page: &Page) -> bool {
        let is_full =
            self.settings.hold_bytes.is_some_and(|bytes| self.log.ahead() as u64 > bytes / 2);
        // One that waits to take up the log needs everything held anywhere, to find the place.
        let waits = self.log.watermark() < self.log.first();
        !is_full || waits || page.from <= self.log.decided_below()
    }

    /// `source` holds `progress`.
    fn on_progress(&mut self, now: Time, source: NodeId, progress: Progress, fx: &mut Effects) {
        if self.log.note_trimmed(source, progress) {
            self.deliver(fx);
        }
        self.catch_up.on_progress(now, source, progress);
    }

    /// Hands out what can be handed out in order. If the next entries were trimmed, goes on behind
    /// them.
    fn deliver(&mut self, fx: &mut Effects) {
        if self.is_cut_off {
            return;
        }
        self.hand_out(fx);
        let is_fresh = self.log.watermark() == Instance::FIRST;
        let Some(instance) = self.log.take_up() else { return };
        if is_fresh && self.begins_anywhere {
            let what = "everything below is removed";
            info!(target: "paxos::report", "begins with instance {instance}: {what}");
            self.begins = Some(instance);
        }
        if self.begins.is_some_and(|begins| begins < instance) {
            return self.be_cut_off(instance, fx);
        }
        fx.deliver.push(Delivery::Begins(instance));
        self.hand_out(fx);
    }

    fn hand_out(&mut self, fx: &mut Effects) {
        let (before, begins) = (self.log.watermark(), self.begins);
        let (mut passed, mut time, mut bytes) = (None, self.log.time(), 0);
        self.log.deliver(|page, occurrence| {
            let mut before = time;
            time = time.max(page.entries.last_time());
            bytes += page.entries.bytes();
            match occurrence {
                Occurrence::Delivered => {
                    let origin = page.entries.origin();
                    let below = begins.map_or(0, |begins| begins.0.saturating_sub(page.from.0));
                    if (1..page.entries.len() as u64).contains(&below) {
                        before = before.max(page.entries.slice(0, below as usize).last_time());
                    }
                    let Some(page) = from_on(begins, page) else { return };
                    if origin.is_some_and(|origin| origin.assigned_by == AssignedBy::Leader) {
                        fx.deliver.push(Delivery::Decided(page.clone()));
                    }
                    fx.deliver.push(Delivery::Delivered(page, before));
                }
                Occurrence::Completed(mut value) => {
                    value.origin = value.origin.timed(time);
                    if begins.is_some_and(|begins| value.instance >= begins) {
                        fx.deliver.push(Delivery::Assembled(value));
                    }
                }
                Occurrence::Held
                | Occurrence::Skipped
                | Occurrence::Ended
                | Occurrence::Noop
                | Occurrence::Finished(_) => {}
                Occurrence::Limit(count) => fx.sessions_forgotten += count,
                Occurrence::Checkpoint(_) => passed = passed.max(Some(LogTime::NONE)),
                Occurrence::History(history) => passed = passed.max(Some(history.written)),
            }
        });
        if self.log.watermark() > before {
            fx.deliver.push(Delivery::Passed(self.log.watermark()));
        }
        if let Some(snapshots) = &mut self.snapshots
            && snapshots.are_due(&self.log, bytes, passed, &self.settings)
        {
            let checkpoint = self.log.checkpoint(LetsGo::NONE);
            fx.deliver.push(Delivery::Checkpoint(Arc::new(checkpoint)));
        }
    }

    /// Hands values out from `instance` on, which is not below the watermark. Records the
    /// client-assigned values decided above it, which were not recorded yet.
    fn begin_at(&mut self, instance: Instance, fx: &mut Effects) {
        assert!(self.begins.is_none() && instance >= self.log.watermark(), "it begins once");
        info!(target: "paxos::report", "begins with instance {instance}");
        self.begins = Some(instance);
        if instance < self.log.end() {
            let known = self.log.pages(Run::new(instance, self.log.end()));
            known.for_each(|page| record(&page, self.begins, fx));
        }
    }

    /// A leader proposes something. It may be decided already, and the message says what else is.
    fn on_accept(&mut self, now: Time, from: Sender, accept: Accept, fx: &mut Effects) {
        let Accept { ballot, watermark: until, chosen: runs, from: first, entries, .. } = accept;
        if !ballot.belongs_to(from) {
            return fx.ignore(Ignored::Malformed);
        }
        self.proposals.hear(ballot, Page { from: first, entries }, &self.log, &self.settings);
        self.on_chosen(now, from, Chosen { ballot, until, runs }, fx);
    }

    /// A leader names what is decided. Nobody but its owner names anything by a ballot.
    fn on_chosen(&mut self, now: Time, from: Sender, chosen: Chosen, fx: &mut Effects) {
        if !chosen.ballot.belongs_to(from) {
            return fx.ignore(Ignored::Malformed);
        }
        if let Some(fetching) = &mut self.fetching {
            return fetching.on_decide();
        }
        for page in self.catch_up.on_chosen(chosen, &mut self.proposals, &self.log) {
            self.owes_ack |= self.learn(now, page, fx);
        }
    }

    fn on_decide(&mut self, now: Time, decide: Decide, fx: &mut Effects) {
        self.catch_up.on_decide();
        self.learn(now, Page { from: decide.from, entries: decide.entries }, fx);
        // Even if nothing was new: the leader would not ask if it had heard the last answer.
        self.owes_ack = true;
    }

    fn on_heartbeat(&mut self, now: Time, from: Sender, heartbeat: Heartbeat, fx: &mut Effects) {
        let (sender, from) = (from, from.node);
        self.on_progress(now, from, heartbeat.progress, fx);
        let Announcement { standing, quorate, ballot, .. } = heartbeat.announcement;
        if from.role == Role::Proposer {
            self.followed.hear(now, &heartbeat, &self.settings);
            if standing == Standing::Leads {
                let (until, runs) = (heartbeat.progress.watermark, Few::new());
                self.on_chosen(now, sender, Chosen { ballot, until, runs }, fx);
            }
            if quorate && standing == Standing::Leads {
                self.expect_same_log(heartbeat.progress, fx);
                (self.follows, self.informed) = (Some((ballot, now)), now);
                if self.begins.is_none() {
                    let told = heartbeat.progress.watermark;
                    self.begin_at(told.max(self.log.watermark()), fx);
                }
            }
            // A leader that knows less than its learners must hear of it.
            self.owes_ack |= heartbeat.progress.decided < self.log.progress().decided;
            return;
        }
        if ballot != Ballot::ZERO {
            self.informed = now;
        }
        self.election.on_heartbeat(now, from.id, standing);
        if self.leads && standing == Standing::Leads && from.id < self.id {
            info!("is replaced: {from} leads the learners");
            self.leads = false;
            fx.cancel_timer(Timer::DecideAck);
            self.ack_armed = false;
        }
    }

    fn on_catch_up_request(&mut self, asker: NodeId, request: &CatchUpRequest, fx: &mut Effects) {
        if !catch_up::is_asked(request, NodeId::new(Role::Learner, self.id), self.leads) {
            return fx.ignore(Ignored::NotLeading);
        }
        catch_up::answer(&self.log, request, asker, &self.settings, fx);
    }

    /// An acceptor has read votes from its disk.
    fn on_recalled(&mut self, now: Time, from: NodeId, recalled: Recalled, fx: &mut Effects) {
        if !(1..=self.settings.acceptor_count).contains(&from.id) {
            return fx.ignore(Ignored::ImpossibleSender);
        }
        if self.log.note_first(recalled.trimmed) {
            self.deliver(fx);
        }
        let (decided, last) = self.catch_up.on_recalled(from.id, recalled, &self.settings);
        let mut gained = false;
        for page in decided {
            gained |= self.learn(now, page, fx);
        }
        self.owes_ack |= gained;
        let answer = Answer { gained, last };
        self.catch_up.on_reply(now, &self.log, from, answer, &self.settings, fx);
    }

    /// Keeps this learner's log from `instance` on, even if it may be forgotten.
    pub fn pin(&mut self, instance: Instance) {
        self.log.pin(instance);
    }

    fn on_catch_up_reply(
        &mut self,
        now: Time,
        from: NodeId,
        reply: CatchUpReply,
        fx: &mut Effects,
    ) {
        let gained = self.learn(now, Page { from: reply.from, entries: reply.entries }, fx);
        self.owes_ack |= gained;
        let answer = Answer { gained, last: reply.last };
        self.catch_up.on_reply(now, &self.log, from, answer, &self.settings, fx);
    }

    /// The quorate leader that this learner has heard lately.
    fn leader(&self, now: Time) -> Option<Ballot> {
        let is_fresh = |when: Time| now.since(when) < self.settings.leader_timeout;
        self.follows.filter(|(_, when)| is_fresh(*when)).map(|(ballot, _)| ballot)
    }

    fn send_heartbeat(&self, now: Time, fx: &mut Effects) {
        let standing = if self.leads { Standing::Leads } else { Standing::Stands };
        let ballot = self.leader(now).unwrap_or(Ballot::ZERO);
        let (stamp, reads) = (now, self.settings.versions);
        let announcement = Announcement { standing, quorate: false, ballot, stamp, reads };
        let heartbeat = Heartbeat::new(self.version(now), announcement, self.log.progress());
        let heartbeat = heartbeat.remembering(self.log.session_count());
        fx.send(Role::Learner, Message::Heartbeat(heartbeat));
        fx.set_timer(Timer::Heartbeat, now + self.settings.heartbeat_interval);
    }

    fn on_election(&mut self, now: Time, fx: &mut Effects) {
        fx.set_timer(Timer::Election, now + self.settings.heartbeat_interval);
        if self.leads {
            return self.election.rest(now);
        }
        if self.election.check(now) == NextStep::Lead {
            // Two leading learners do no harm, so there is nobody to ask.
            info!("leads the learners");
            self.leads = true;
            self.owes_ack = true;
            self.send_heartbeat(now, fx);
        }
    }
}

/// Hands out the client-assigned values of `page`, which are decided, for the results file.
fn record(page: &Page, begins: Option<Instance>, fx: &mut Effects) {
    for (place, entries) in page.entries.runs() {
        let is_client_assigned = |origin: Origin| origin.assigned_by == AssignedBy::Client;
        if entries.origin().is_some_and(is_client_assigned) {
            let from = page.from.plus(place as u64);
            let page = from_on(begins, Page { from, entries });
            fx.deliver.extend(page.map(Delivery::Decided));
        }
    }
}

/// The part of `page` at `begins` or above; none while that is not known.
fn from_on(begins: Option<Instance>, page: Page) -> Option<Page> {
    page.from_on(begins?)
}

impl Learner {
    /// Since when no leader serves this learner: neither it nor any learner it hears has heard a
    /// leader, or it lacks something and cannot get it.
    fn need(&mut self, now: Time) -> Option<Time> {
        if self.fetching.is_some() {
            // It is busy with something that no leader can help with.
            self.gained = now;
        }
        if !self.catch_up.lacks(now, &self.log, &self.settings) {
            self.gained = now;
        }
        Some(self.informed.min(self.gained)).filter(|since| *since < now)
    }
}

impl Actor for Learner {
    fn on_start(&mut self, now: Time, fx: &mut Effects) {
        self.send_heartbeat(now, fx);
        self.question_holding();
        fx.set_timer(Timer::Election, now + self.settings.heartbeat_interval);
    }

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        let NodeId { role, id } = from.node;
        if let (Role::Acceptor, Message::Recalled(recalled)) = (role, &message) {
            return self.on_recalled(now, from.node, recalled.clone(), fx);
        }
        if let (Role::Acceptor, Message::ReadReply(reply)) = (role, &message) {
            return self.reads.on_reply(now, from, reply, &self.settings, fx);
        }
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
            Message::Accept(accept) if role == Role::Proposer => {
                self.on_accept(now, from, accept, fx);
            }
            Message::Chosen(chosen) if role == Role::Proposer => {
                // Even if nothing is new: the leader would not ask if it had heard the answer.
                self.owes_ack = true;
                self.on_chosen(now, from, chosen, fx);
            }
            Message::Decide(decide) if role == Role::Proposer => self.on_decide(now, decide, fx),
            Message::Heartbeat(heartbeat) => self.on_heartbeat(now, from, heartbeat, fx),
            Message::CatchUpRequest(request) => self.on_catch_up_request(from.node, &request, fx),
            Message::CatchUpReply(reply) => self.on_catch_up_reply(now, from.node, reply, fx),
            Message::Fetch(fetch) if role == Role::Learner => self.on_fetch(from.node, fetch, fx),
            Message::Chunk(chunk) if role == Role::Learner => {
                self.on_chunk(now, from.node, &chunk, fx);
            }
            Message::Offer(offer) if role == Role::Proposer => {
                if offer.to.contains(&self.id) {
                    self.pleading.on_offer(now, id, offer.callers);
                    self.on_progress(now, from.node, offer.progress, fx);
                }
            }
            Message::Accept(_)
            | Message::Chosen(_)
            | Message::Decide(_)
            | Message::Offer(_)
            | Message::Fetch(_)
            | Message::Chunk(_) => fx.ignore(Ignored::ImpossibleSender),
            Message::Request(_)
            | Message::RequestAck(_)
            | Message::Prepare(_)
            | Message::Promise(_)
            | Message::Accepted(_)
            | Message::Nack(_)
            | Message::DecideAck(_)
            | Message::Durable(_)
            | Message::Disown(_)
            | Message::Echo(_)
            | Message::Plea(_)
            | Message::Recall(_)
            | Message::Recalled(_)
            | Message::ReadRequest(_)
            | Message::ReadReply(_) => fx.ignore(Ignored::Misdirected),
        }
    }

    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects) {
        match timer {
            Timer::Heartbeat => {
                self.send_heartbeat(now, fx);
                self.report_snapshots(now, fx);
                self.question_holding();
            }
            Timer::Election => self.on_election(now, fx),
            Timer::Fetch => self.on_fetch_timer(now, fx),
            // There is nothing to catch up with before the snapshot is here.
            Timer::CatchUp if self.fetching.is_some() => {}
            Timer::CatchUp => {
                // The leading learner asks the leader, which has everything.
                let first = if self.leads {
                    self.follows.map(|(ballot, _)| NodeId::new(Role::Proposer, ballot.proposer))
                } else {
                    self.election.leader().map(|id| NodeId::new(Role::Learner, id))
                };
                self.catch_up.on_timer(now, &self.log, first, &self.settings, fx);
            }
            Timer::Read => self.reads.on_timer(),
            Timer::Plea => self.pleading.on_timer(now, &self.settings, fx),
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

    fn on_input(&mut self, now: Time, input: Input, fx: &mut Effects) {
        match input {
            Input::Kept(head) => {
                if let Some(snapshots) = &mut self.snapshots {
                    snapshots.on_kept(head);
                }
                self.report_snapshots(now, fx);
            }
            Input::Read(last) => self.reads.on_read(last),
            Input::Done(outcome) => self.on_done(now, outcome, fx),
            Input::Value(_) | Input::End => unreachable!("a learner gets no values"),
        }
    }

    fn input_room(&self) -> usize {
        1 // Of what it is handed nothing waits.
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        if let Some(unknown) = self.log.stopped_by() {
            fx.halt = Some(Halt::Unknown(unknown));
        }
        match &mut self.fetching {
            Some(fetching) => {
                fetching.on_turn_end(now, self.log.first(), &self.settings, fx);
                self.report_snapshots(now, fx);
            }
            None => self.catch_up.on_turn_end(now, &self.log, &self.settings, fx),
        }
        if self.owes_ack && self.leads && !self.ack_armed {
            self.ack_armed = true;
            fx.set_timer(Timer::DecideAck, now + self.settings.decide_ack_delay);
        }
        self.owes_ack = false;
        let need = self.need(now);
        self.pleading.on_turn_end(now, need, &self.settings, fx);
        let handed_out = if self.is_cut_off || self.may_be_foreign {
            // The part below was not handed out, or may be of another log.
            Instance::FIRST
        } else {
            self.log.watermark()
        };
        self.reads.on_turn_end(now, handed_out, &self.settings, fx);
        self.check_holding(fx);
    }

    fn version(&self, now: Time) -> Version {
        self.followed.version(now, &self.settings)
    }

    fn interest(&self) -> Interest {
        let interest = Interest::of(&[
            Kind::Accept,
            Kind::Chosen,
            Kind::Decide,
            Kind::Heartbeat,
            Kind::CatchUpRequest,
            Kind::CatchUpReply,
            Kind::Recalled,
            Kind::ReadReply,
            Kind::Offer,
        ]);
        if self.snapshots.is_none() {
            return interest;
        }
        interest.with(Kind::Fetch).with(Kind::Chunk)
    }

    fn figures(&self, now: Time) -> Figures {
        Figures {
            leads: self.leads,
            leader: self.leader(now),
            missing: self.catch_up.lag(&self.log),
            durable: self.snapshots.as_ref().map(Snapshots::durable),
            ..self.log.figures()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::{Entry, LogTime, Number, Part, Session, Value};

    fn entry(text: &str, number: u64, assigned_by: AssignedBy) -> Entry {
        let session = Session { client: 1, boot: 1 };
        let origin = Origin::new(session, Number(number), assigned_by);
        Entry::Value { origin, value: Value::new(text.as_bytes()) }
    }

    fn decide(learner: &mut Learner, from: u64, entries: Vec<Entry>) -> Vec<String> {
        let (from, entries) = (Instance(from), entries.into());
        hear(learner, Message::Decide(Decide { ballot: Ballot::ZERO, from, entries }))
    }

    /// A learner left over from a cluster that is gone is no reason to drop a log that has only
    /// begun.
    #[test]
    fn that_the_log_is_trimmed_is_not_believed_of_a_learner() {
        let progress = Progress {
            trimmed: Instance(9),
            first: Instance(9),
            watermark: Instance(12),
            decided: 11,
            end: Instance(12),
            name: 1,
        };
        for (role, first) in [(Role::Learner, Instance::FIRST), (Role::Proposer, Instance(9))] {
            let mut learner = Learner::new(1, 1, Settings::default(), Time::ZERO);
            let announcement = Announcement::new(Standing::Leads, Ballot::ZERO);
            let heartbeat = Heartbeat::new(Version::OLDEST, announcement, progress);
            let sender = Sender { node: NodeId::new(role, 2), boot: 1 };
            let message = Message::Heartbeat(heartbeat);
            learner.on_message(Time::ZERO, sender, message, &mut Effects::new());
            assert_eq!(learner.log().first(), first, "{role}");
        }
    }

    /// Entries that were skipped, or came before a learner began, count for the time of what
    /// follows.
    #[test]
    fn what_is_handed_out_comes_with_the_time_of_the_log_before_it() {
        let entry = |client, time| {
            let session = Session { client, boot: 1 };
            let origin = Origin::new(session, Number(1), AssignedBy::Leader);
            Entry::Value { origin: origin.timed(LogTime(time)), value: Value::new(b"v") }
        };
        let times = |from: u64| {
            let learner = Learner::new(1, 1, Settings::default(), Time::ZERO);
            let mut learner = learner.beginning(Beginning::At(Instance(from)));
            let entries = vec![entry(1, 40), entry(2, 31), entry(1, 60), entry(3, 35)].into();
            let ballot = Ballot { round: 1, proposer: 1, boot: 1 };
            let decide = Decide { ballot, from: Instance::FIRST, entries };
            let mut fx = Effects::new();
            let sender = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
            learner.on_message(Time::ZERO, sender, Message::Decide(decide), &mut fx);
            let told = fx.deliver.iter().filter_map(|delivery| match delivery {
                Delivery::Delivered(page, time) => Some((page.from.0, time.0)),
                _ => None,
            });
            told.collect::<Vec<_>>()
        };
        assert_eq!(times(1), [(1, 0), (2, 40), (4, 60)]);
        assert_eq!(times(2), [(2, 40), (4, 60)]);
    }

    /// What a learner hands out when it hears this from a proposer.
    fn hear(learner: &mut Learner, message: Message) -> Vec<String> {
        let mut fx = Effects::new();
        let sender = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
        learner.on_message(Time::ZERO, sender, message, &mut fx);
        let told = |delivery: &Delivery| {
            let (verb, page) = match delivery {
                Delivery::Decided(page) => ("file", page),
                Delivery::Delivered(page, _) => ("out", page),
                Delivery::Assembled(value) => {
                    return vec![format!("both {} {}", value.instance, value.to_value())];
                }
                Delivery::Passed(_)
                | Delivery::Begins(_)
                | Delivery::Readable(_)
                | Delivery::Unreadable(_) => return vec![],
                Delivery::Checkpoint(checkpoint) | Delivery::Restored(checkpoint) => {
                    return vec![format!("place {}", checkpoint.head.of)];
                }
            };
            let numbered = page.from.numbering(page.entries.values());
            let line = |(instance, value)| format!("{verb} {instance} {}", Value::new(value));
            numbered.map(line).collect::<Vec<_>>()
        };
        fx.deliver.iter().flat_map(told).collect()
    }

    fn learner() -> Learner {
        Learner::new(1, 1, Settings::default(), Time::ZERO)
    }

    /// A forged Decide may reach the highest instance number; nothing breaks there.
    #[test]
    fn entries_at_the_end_of_the_numbers_are_survived() {
        let mut learner = learner();
        for from in [u64::MAX - 1, u64::MAX, u64::MAX - 2] {
            decide(&mut learner, from, vec![Entry::Noop; 3]);
        }
        let mut fx = Effects::new();
        learner.on_turn_end(Time::ZERO, &mut fx);
        learner.on_timer(Time(1_000_000), Timer::CatchUp, &mut fx);
        assert_eq!(learner.log().watermark(), Instance::FIRST);
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

    #[test]
    fn a_value_in_parts_is_handed_out_once_at_the_instance_of_its_last_part() {
        let mut learner = learner();
        let session = Session { client: 1, boot: 1 };
        let part = |number, part, letter: u8, count| {
            let assigned_by = AssignedBy::Leader;
            let origin = Origin::new(session, Number(number), assigned_by);
            Entry::Part { origin, part, bytes: Value::new(&vec![letter; count]) }
        };
        let first = part(1, Part::First { value_bytes: 65 }, b'f', 32);
        let (middle, last) = (part(2, Part::Middle, b'm', 32), part(3, Part::Last, b'l', 1));
        assert!(decide(&mut learner, 2, vec![first, middle.clone(), middle]).is_empty());
        let whole = ["f".repeat(32), "m".repeat(32), "l".to_owned()].concat();
        let told = format!("both 5 {}", Value::new(whole.as_bytes()));
        assert!(decide(&mut learner, 5, vec![last.clone(), last]).is_empty());
        assert_eq!(decide(&mut learner, 1, vec![Entry::Noop]), [told]);
    }

    /// Which occurrence of a value counts depends also on entries that are not handed out.
    #[test]
    fn what_lies_below_the_beginning_is_taken_in_and_not_handed_out() {
        let auto = |text, number| entry(text, number, AssignedBy::Leader);
        let mut learner = learner().beginning(Beginning::At(Instance(3)));
        let entries = vec![auto("a", 1), auto("b", 2), auto("b", 2), auto("c", 3)];
        assert_eq!(decide(&mut learner, 1, entries), ["file 4 \"c\"", "out 4 \"c\""]);
        let mine = |text, number| entry(text, number, AssignedBy::Client);
        let mut learner = self::learner().beginning(Beginning::At(Instance(3)));
        let entries = vec![mine("b", 2), mine("c", 3)];
        assert_eq!(decide(&mut learner, 2, entries), ["file 3 \"c\""]);
        assert_eq!(decide(&mut learner, 1, vec![mine("a", 1)]), ["out 3 \"c\""]);
    }

    /// The output of a resumed learner continues that of another one, wherever that ended.
    #[test]
    fn every_beginning_gives_the_rest() {
        let session = Session { client: 1, boot: 1 };
        let part = |number, part, count: usize| {
            let assigned_by = AssignedBy::Leader;
            let origin = Origin::new(session, Number(number), assigned_by);
            Entry::Part { origin, part, bytes: Value::new(&vec![b'p'; count]) }
        };
        let entries = [
            entry("a", 1, AssignedBy::Leader),
            part(2, Part::First { value_bytes: 40 }, 32),
            entry("c", 3, AssignedBy::Client),
            Entry::Noop,
            part(3, Part::Last, 8),
            entry("a", 1, AssignedBy::Leader),
            entry("d", 4, AssignedBy::Leader),
        ];
        let all = decide(&mut learner(), 1, entries.to_vec());
        assert_eq!(all.len(), 7, "{all:?}");
        let instance = |line: &String| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
        for begins in 1..=8 {
            let mut resumed = learner().beginning(Beginning::At(Instance(begins)));
            let rest: Vec<String> =
                all.iter().filter(|line| instance(line) >= begins).cloned().collect();
            assert_eq!(decide(&mut resumed, 1, entries.to_vec()), rest, "from {begins}");
        }
    }

    fn leads(watermark: u64, quorate: bool) -> Message {
        let ballot = Ballot { round: 1, proposer: 1, boot: 1 };
        let announcement = Announcement::new(Standing::Leads, ballot);
        let announcement = Announcement { quorate, ..announcement };
        let progress = Progress::until(Instance(watermark));
        Message::Heartbeat(Heartbeat::new(Version::OLDEST, announcement, progress))
    }

    #[test]
    fn now_is_what_the_first_leader_with_a_quorum_has_not_delivered() {
        let mine = |text, number| entry(text, number, AssignedBy::Client);
        let mut learner = learner().beginning(Beginning::Now);
        assert!(decide(&mut learner, 1, vec![mine("a", 1)]).is_empty());
        assert!(hear(&mut learner, leads(9, false)).is_empty());
        // Recorded by others when it was decided; printed by all once 2 is there.
        assert!(decide(&mut learner, 3, vec![mine("c", 3), mine("d", 4)]).is_empty());
        assert_eq!(hear(&mut learner, leads(4, true)), ["file 4 \"d\""]);
        assert_eq!(decide(&mut learner, 2, vec![mine("b", 2)]), ["out 4 \"d\""]);
        let told = ["file 5 \"e\"", "out 5 \"e\""];
        assert_eq!(decide(&mut learner, 5, vec![mine("e", 5)]), told);
        // A leader that lags does not bring back what was already delivered here.
        let mut learner = self::learner().beginning(Beginning::Now);
        assert!(decide(&mut learner, 1, vec![mine("a", 1), mine("b", 2)]).is_empty());
        assert!(hear(&mut learner, leads(2, true)).is_empty());
        assert_eq!(decide(&mut learner, 3, vec![mine("c", 3)]).len(), 2);
    }

    /// A claim that contradicts what is decided changes nothing.
    #[test]
    fn what_is_decided_stays() {
        let mut learner = learner();
        decide(&mut learner, 1, vec![entry("a", 1, AssignedBy::Client)]);
        assert!(decide(&mut learner, 1, vec![entry("b", 1, AssignedBy::Client)]).is_empty());
    }
}
