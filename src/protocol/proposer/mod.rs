//! The proposer: it stands by, campaigns, or leads.
//!
//! Read it in this order: `phase1` (what may be proposed), `phase2` (what is in flight),
//! `intake` (what clients asked for), `notes` (what they are told), `leadership` (all of it, while
//! leading), `telling` (which process hears which decisions), `standing` (what it announces to the
//! others), `campaigning` and `following` (how it becomes the leader, and what it takes from
//! another), and this file: which part handles which message.

mod age;
mod campaigning;
mod claims;
pub(crate) mod fetchers;
mod following;
pub(super) mod incarnations;
pub(super) mod intake;
pub(super) mod keepers;
mod lack;
pub(super) mod leadership;
pub(super) mod members;
#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;
pub(super) mod notes;
pub(super) mod phase1;
pub(super) mod phase2;
mod remembering;
pub(super) mod retention;
mod room;
mod standing;
pub(super) mod telling;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use log::info;

use self::claims::Claims;
use self::lack::Lack;
use self::room::Rooms;
use self::standing::Said;
use self::telling::Learners;
use super::acceptor::ROUND_JUMP_MAX;
use super::actor::{Actor, Effects, Halt, Ignored, Input};
use super::decided_log::{Contradiction, Occurrence};
use super::figures::Figures;
use super::message::{
    Accepted, Announcement, Assignment, Chosen, Echo, Heartbeat, Interest, Kind, Message, Progress,
    Request, Standing,
};
use super::parts::{
    Attempt, CatchUp, DecidedLog, Election, Incarnations, Leadership, Members, News, Proposals,
    Quorum, Retention,
};
use super::segments::Page;
use super::settings::Settings;
use super::timer::Timer;
use super::types::{Ballot, Few, Instance, LogTime, NodeId, Role, Run, Sender, Session, Time};
use super::versions::{Followed, Version};

/// What a proposer is started with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProposerOptions {
    /// Its id, from 1.
    pub id: u32,
    /// Its boot number, from the operating system.
    pub boot: u64,
    /// Never retransmit an Accept or a Decide.
    pub no_timeouts: bool,
    /// Run phase 1 for each instance as values arrive, not once for the whole log.
    pub no_preexecution: bool,
}

/// One proposer's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposer {
    options: ProposerOptions,
    settings: Settings,
    quorum: Quorum,
    election: Election,
    /// What it announced last, and how many heartbeats ago that changed.
    announced: Option<Said>,
    said: u32,
    phase: Phase,
    /// The highest round heard of.
    round: u64,
    /// The ballot of the leader that it follows.
    followed: Ballot,
    /// In which version of the wire format that leader sends.
    version: Followed,
    /// What the others read.
    members: Members,
    /// It abstains from leading until then.
    abstains_until: Time,
    log: DecidedLog,
    /// What the host's calendar said last.
    calendar: LogTime,
    retention: Retention,
    /// What other leaders propose, while this proposer does not lead.
    proposals: Proposals,
    catch_up: CatchUp,
    learners: Learners,
    incarnations: Incarnations,
    /// Which acceptors have room.
    rooms: Rooms,
    /// The majority that it waits for.
    lack: Lack,
    claims: Claims,
    /// Who pleaded since the last offers.
    pleaded: BTreeSet<NodeId>,
    /// What this leader decided in this turn, sent at its end.
    news: News,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Standby,
    Campaign {
        ballot: Ballot,
        attempt: Attempt,
        /// When an acceptor answered last.
        since: Time,
        tries: u32,
    },
    Leading(Box<Leadership>),
}

impl Proposer {
    /// A proposer at its start.
    pub fn new(options: ProposerOptions, settings: Settings) -> Self {
        Proposer {
            election: Election::new(options.id, options.boot, &settings),
            announced: None,
            said: 0,
            quorum: Quorum::majority_of(settings.acceptor_count),
            options,
            phase: Phase::Standby,
            round: 0,
            followed: Ballot::ZERO,
            version: Followed::default(),
            members: Members::default(),
            abstains_until: Time::ZERO,
            log: DecidedLog::with_limits(settings.assembly),
            calendar: LogTime::NONE,
            retention: Retention::default(),
            proposals: Proposals::default(),
            catch_up: CatchUp::default(),
            learners: Learners::default(),
            incarnations: Incarnations::default(),
            rooms: Rooms::default(),
            lack: Lack::default(),
            claims: Claims::default(),
            pleaded: BTreeSet::new(),
            news: News::default(),
            settings,
        }
    }

    /// Whether it leads.
    pub fn is_leading(&self) -> bool {
        matches!(self.phase, Phase::Leading(_))
    }

    /// What it knows to be decided.
    pub fn log(&self) -> &DecidedLog {
        &self.log
    }

    // Messages of other proposers.

    fn on_heartbeat(&mut self, now: Time, from: Sender, heartbeat: Heartbeat, fx: &mut Effects) {
        let (id, announcement) = (from.node.id, heartbeat.announcement);
        let ballot = announcement.ballot;
        let is_own = ballot == Ballot::ZERO || ballot.proposer == id;
        if !is_own || !self.hear_ballot(ballot) {
            return fx.ignore(Ignored::Malformed);
        }
        self.election.on_word(now, id, from.boot, announcement);
        let is_ahead = heartbeat.progress.watermark > self.log.decided_below();
        self.election.on_progress(id, from.boot, is_ahead);
        self.version.hear(now, &heartbeat, &self.settings);
        if announcement.standing == Standing::Leads {
            let (until, runs) = (heartbeat.progress.watermark, Few::new());
            self.on_named(now, from, Chosen { ballot, until, runs }, fx);
            if ballot < self.followed {
                // It does not know yet that it was replaced.
                fx.ignore(Ignored::StaleBallot);
            } else if announcement.quorate {
                self.followed = ballot;
                self.on_progress(now, from.node, heartbeat.progress, fx);
            }
        }
        self.check_election(now, fx);
    }

    /// Takes in decisions, and hands out those that are new.
    ///
    /// A leader that has proposed something else in one of these instances steps down in this turn,
    /// and says nothing more under its ballot b: its watermark would pass the instance, and vouch
    /// for what it had proposed there (`proposals` relies on this). It could not go on anyway: the
    /// other entry was chosen in a higher ballot, which a quorum has promised.
    fn decide(&mut self, now: Time, page: Page, mut news: impl FnMut(Page), fx: &mut Effects) {
        let mut lost = None;
        let outcome = self.log.decide(page, |page| {
            match &mut self.phase {
                Phase::Leading(leadership) => {
                    lost = lost.or(leadership.on_decided(&page).then_some(leadership.ballot()));
                }
                Phase::Standby | Phase::Campaign { .. } => self.proposals.forget(page.run()),
            }
            news(page);
        });
        if let Err(Contradiction(instance)) = outcome {
            log::error!("instance {instance} is decided, and was claimed to hold another value");
            fx.ignore(Ignored::Contradiction);
        }
        if let Some(ballot) = lost {
            info!("is replaced: {ballot} lost an instance to another ballot");
            self.step_down(now, fx);
        }
    }

    /// Moves delivery on, so that the session table is that of the whole decided prefix.
    fn deliver(&mut self, now: Time) {
        self.pass(now);
        if let Some(instance) = self.log.take_up() {
            info!("takes up the log at instance {instance}: everything below is removed");
            self.retention.begin(instance, self.log.time());
            self.pass(now);
        }
    }

    fn pass(&mut self, now: Time) {
        use Occurrence::{Checkpoint, Finished, Limit};
        let mut may_have_ended = false;
        self.log.deliver(|page, occurrence| {
            self.retention.on_passed(now, &page, &occurrence, &self.settings);
            may_have_ended |= matches!(occurrence, Checkpoint(_) | Limit(_) | Finished(_));
            if let (Phase::Leading(leadership), Some(numbers)) =
                (&mut self.phase, page.entries.numbers())
            {
                leadership.on_delivery(page.from, numbers, occurrence);
            }
        });
        self.retention.let_go(now, &self.log, &self.settings);
        if let (Phase::Leading(leadership), true) = (&mut self.phase, may_have_ended) {
            leadership.forget_ended(&self.log);
        }
    }

    // Messages of clients, acceptors and learners.

    fn on_request(&mut self, now: Time, from: Sender, request: Request, fx: &mut Effects) {
        if request.is_last() && !self.may_spare(now) {
            // Nothing could be written of it now, and later nobody waits for it.
            return;
        }
        let Phase::Leading(leadership) = &mut self.phase else {
            return fx.ignore(Ignored::NotLeading);
        };
        let session = Session { client: from.node.id, boot: from.boot };
        if request.is_last() {
            return leadership.finishing.note(session, request.from, &self.log, &self.settings);
        }
        leadership.owe_ack(session, true);
        if self.log.watermark() < self.log.first() {
            // It is not known yet where the session stands.
            return fx.ignore(Ignored::QueueFull);
        }
        // With nothing open, everything delivered before this leadership began is delivered here.
        let has_missed = request.assignment == Assignment::Leader
            && leadership.open() == 0
            && request.front > self.log.next_number(session)
            && !self.log.has_ended(session)
            && !self.log.has_forgotten(session, request.opened);
        if has_missed {
            return self.note_claim(now, from);
        }
        leadership.on_request(session, request, &self.log, fx);
    }

    fn on_accepted(&mut self, now: Time, acceptor: u32, accepted: &Accepted, fx: &mut Effects) {
        let Phase::Leading(leadership) = &mut self.phase else {
            return fx.ignore(Ignored::NotLeading);
        };
        let chosen = leadership.on_accepted(now, acceptor, accepted, fx);
        if chosen.is_empty() {
            return;
        }
        let mut decided: Few<Run<Instance>> = Few::new();
        for page in chosen {
            self.decide(now, page, |page| decided.push(page.run()), fx);
        }
        self.news.named.extend(decided);
        self.deliver(now);
    }

    /// Phase 1 has found that a quorum had accepted these in an earlier ballot. This leader never
    /// proposes them, so they have no name and are sent with their values.
    fn on_found(&mut self, now: Time, found: Vec<Page>, fx: &mut Effects) {
        let mut decided = std::mem::take(&mut self.news.found);
        for page in found {
            self.decide(now, page, |page| decided.push(page), fx);
        }
        self.news.found = decided;
        self.deliver(now);
    }

    /// An acceptor repeats which proposers it hears.
    fn on_echo(&mut self, now: Time, acceptor: u32, mut echo: Echo, fx: &mut Effects) {
        echo.heard.retain(|heard| {
            let Announcement { ballot, .. } = heard.announcement;
            let is_own = ballot == Ballot::ZERO || ballot.proposer == heard.proposer;
            is_own && self.hear_ballot(ballot)
        });
        if !self.hear_ballot(echo.promised) {
            return fx.ignore(Ignored::TooFarAhead);
        }
        self.rooms.note(acceptor, echo.full);
        self.members.on_echo(now, acceptor, echo.reads);
        if self.election.on_echo(now, acceptor, &echo) {
            self.note_double(fx);
        }
        self.check_election(now, fx);
    }

    /// The learners say what they hold.
    fn on_decide_ack(&mut self, now: Time, from: Sender, progress: Progress, fx: &mut Effects) {
        let Phase::Leading(leadership) = &self.phase else {
            // They may hold what a dead leader told nobody else.
            self.on_progress(now, from.node, progress, fx);
            return;
        };
        if progress.decided > self.log.progress().decided + leadership.open() as u64 {
            self.note_claim(now, from);
            return fx.ignore(Ignored::Malformed);
        }
        self.learners.acknowledged = Some(progress);
    }

    // Timers.

    fn on_election(&mut self, now: Time, fx: &mut Effects) {
        fx.set_timer(Timer::Election, now + self.settings.heartbeat_interval);
        self.send_offers(now, fx);
        if let Phase::Leading(leadership) = &mut self.phase {
            leadership.on_heartbeat_interval(&self.log);
        }
        self.check_progress(now, fx);
        self.check_election(now, fx);
    }

    /// Whether `from` may have sent a message of this kind to the proposers.
    fn is_possible(&self, from: Sender, kind: Kind) -> bool {
        let NodeId { role, id } = from.node;
        kind.is_sent_by(role)
            && (role != Role::Acceptor || self.quorum.includes(id))
            && (kind != Kind::Heartbeat || role == Role::Proposer)
    }
}

impl Actor for Proposer {
    fn on_start(&mut self, now: Time, fx: &mut Effects) {
        self.announce(now, true, fx);
        fx.set_timer(Timer::Election, now + self.settings.heartbeat_interval);
    }

    /// A leader that ends says so, and the next one need not wait for a time-out.
    fn on_stop(&mut self, now: Time, fx: &mut Effects) {
        if self.is_leading() {
            self.step_down(now, fx);
            self.abstains_until = Time(u64::MAX);
            self.announce(now, false, fx);
        }
    }

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        let NodeId { role, id } = from.node;
        if !self.is_possible(from, message.kind()) {
            return fx.ignore(Ignored::ImpossibleSender);
        }
        if role == Role::Proposer && id == self.options.id {
            if from.boot != self.options.boot {
                self.note_double(fx);
            }
            return;
        }
        if let Message::Echo(echo) = &message {
            // Before the acceptor is judged: it may have come back with everything it had.
            let me = (self.options.id, self.options.boot);
            let mine = echo.heard.iter().find(|heard| (heard.proposer, heard.boot) == me);
            let stamp = mine.map(|heard| heard.announcement.stamp);
            self.incarnations.on_echo(self.election.last_stamp(), from, stamp, echo);
        }
        if role == Role::Acceptor && !self.incarnations.admit(now, from, fx) {
            return;
        }
        match message {
            Message::Request(request) => self.on_request(now, from, request, fx),
            Message::Promise(promise) => self.on_promise(now, id, promise, fx),
            Message::Accepted(accepted) => self.on_accepted(now, id, &accepted, fx),
            Message::Nack(nack) => self.on_nack(now, id, nack, fx),
            Message::Echo(echo) => self.on_echo(now, id, echo, fx),
            Message::Plea(plea) => self.on_plea(now, from, plea, fx),
            Message::Accept(accept) => self.on_accept(now, from, accept, fx),
            Message::Decide(decide) => self.on_decide(now, from, decide, fx),
            Message::DecideAck(ack) => self.on_decide_ack(now, from, ack.progress, fx),
            Message::Heartbeat(heartbeat) => self.on_heartbeat(now, from, heartbeat, fx),
            Message::CatchUpRequest(request) => {
                self.on_catch_up_request(from.node, &request, fx);
            }
            Message::CatchUpReply(reply) => self.on_catch_up_reply(now, from.node, reply, fx),
            Message::Durable(durable) => {
                self.retention.on_durable(from, &durable, &self.settings);
            }
            Message::Fetch(fetch) => match fetch.needs() {
                Some(needed) => self.retention.on_need(now, from, needed, &self.settings),
                None => fx.ignore(Ignored::Misdirected),
            },
            Message::RequestAck(_)
            | Message::Prepare(_)
            | Message::Chosen(_)
            | Message::Disown(_)
            | Message::Offer(_)
            | Message::Recall(_)
            | Message::Recalled(_)
            | Message::ReadRequest(_)
            | Message::ReadReply(_)
            | Message::Chunk(_) => {
                fx.ignore(Ignored::Misdirected);
            }
        }
    }

    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects) {
        match (timer, &mut self.phase) {
            (Timer::Heartbeat, _) => {
                self.tell_lack(now);
                self.announce(now, false, fx);
            }
            (Timer::Election, _) => self.on_election(now, fx),
            (Timer::RetryPrepare, _) => self.on_retry_prepare(now, fx),
            (Timer::RetryDecide, _) => self.on_retry_decide(now, fx),
            (Timer::CatchUp, Phase::Standby) => {
                // Learners first: the leader's link carries every value already.
                self.catch_up.on_timer(now, &self.log, None, &self.settings, fx);
            }
            (Timer::RetryAccept, Phase::Leading(leadership)) => leadership.on_retry_accept(now),
            (Timer::CloseHoles, Phase::Leading(leadership)) => leadership.on_close_holes(&self.log),
            (Timer::RequestAck, Phase::Leading(leadership)) => {
                leadership.on_request_ack(now, &self.log, self.election.is_quorate(), fx);
            }
            // Set by a leader that stepped down in the turn in which the timer was due.
            (
                Timer::CatchUp | Timer::RetryAccept | Timer::CloseHoles | Timer::RequestAck,
                Phase::Standby | Phase::Campaign { .. } | Phase::Leading(_),
            ) => {}
            (
                Timer::DecideAck | Timer::RetryRequest | Timer::Plea | Timer::Read | Timer::Fetch,
                _,
            ) => {
                unreachable!("a proposer does not set {timer:?}")
            }
        }
    }

    fn on_input(&mut self, _now: Time, _input: Input, _fx: &mut Effects) {
        unreachable!("a proposer has no input room");
    }

    fn on_calendar(&mut self, time: LogTime) {
        self.calendar = time.clamp(LogTime(1), LogTime::MAX);
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        if let Some(unknown) = self.log.stopped_by() {
            fx.halt = Some(Halt::Unknown(unknown));
            return self.on_stop(now, fx);
        }
        if let Phase::Leading(leadership) = &mut self.phase {
            leadership.times.on_calendar(self.calendar, self.log.time());
        }
        self.look_for_room(now);
        self.write_checkpoint(now);
        self.write_remembered(now);
        match &mut self.phase {
            Phase::Leading(leadership) => {
                self.news.name(&self.log);
                let quorate = self.election.is_quorate();
                leadership.on_turn_end(now, &self.log, quorate, &mut self.news.names, fx);
                self.tell(now, fx);
            }
            Phase::Campaign { .. } => {}
            Phase::Standby => {
                self.catch_up.on_turn_end(now, &self.log, &self.settings, fx);
            }
        }
        self.announce_changes(now, fx);
    }

    fn version(&self, now: Time) -> Version {
        self.version_now(now)
    }

    fn interest(&self) -> Interest {
        const ALWAYS: Interest = Interest::of(&[
            Kind::Heartbeat,
            Kind::Echo,
            Kind::Plea,
            Kind::Decide,
            Kind::CatchUpRequest,
            Kind::Durable,
            Kind::Fetch,
        ]);
        const FOLLOWING: Interest = ALWAYS.with(Kind::CatchUpReply).with(Kind::Accept);
        const STANDBY: Interest = FOLLOWING.with(Kind::DecideAck);
        const CAMPAIGN: Interest = FOLLOWING.with(Kind::Promise).with(Kind::Nack);
        const LEADING: Interest =
            ALWAYS.with(Kind::Request).with(Kind::Accepted).with(Kind::Nack).with(Kind::DecideAck);
        const LEADING_UNPREPARED: Interest = LEADING.with(Kind::Promise);
        match &self.phase {
            Phase::Standby => STANDBY,
            Phase::Campaign { .. } => CAMPAIGN,
            // With a quorum of promises, the rest are not needed.
            Phase::Leading(_) if !self.options.no_preexecution => LEADING,
            Phase::Leading(_) => LEADING_UNPREPARED,
        }
    }

    fn figures(&self, now: Time) -> Figures {
        self.look_at(now)
    }
}
