//! What a proposer holds while it leads: requests, phase 1 per instance when asked for, phase 2.

use std::collections::BTreeMap;

use log::{debug, info};

use super::intake::{Fate, Notes, Queue};
use super::phase1::{Attempt, PageOutcome, Report};
use super::phase2::Phase2;
use crate::bugs::{self, Bug};
use crate::protocol::actor::{Effects, Ignored};
use crate::protocol::decided_log::{DecidedLog, Occurrence};
use crate::protocol::instance_map::InstanceMap;
use crate::protocol::message::{Accepted, Assignment, Message, Promise, Request};
use crate::protocol::quorum::Quorum;
use crate::protocol::retry::backoff;
use crate::protocol::settings::Settings;
use crate::protocol::timer::Timer;
use crate::protocol::types::{
    AssignedBy, Ballot, Counted, Entry, Instance, Number, Origin, Role, Run, Session, Time, Value,
};

/// How many holes are closed in one go: bounded work for one event.
const HOLES_MAX: usize = 16384;

/// How many instances one Prepare asks about when phase 1 runs per instance: few enough that a
/// promise seldom needs a second page.
const ATTEMPT_INSTANCES: u64 = 64;

/// A leader's state; it dies with the leadership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leadership {
    ballot: Ballot,
    quorum: Quorum,
    settings: Settings,
    no_timeouts: bool,
    /// How instances come to be proposed.
    preparation: Preparation,
    phase2: Phase2,
    /// Entries whose instance is known and that wait for room in flight.
    waiting: InstanceMap<Entry>,
    /// Leader-assigned values that wait for an instance.
    queues: BTreeMap<Session, Queue>,
    /// Who else asked for an instance that is under way.
    contenders: BTreeMap<Instance, Vec<(Session, Number)>>,
    notes: Notes,
    /// Above every instance proposed, reported or asked for.
    top: Instance,
    /// Above every leader-assigned value, also those under way. Holes below are closed.
    leader_assigned_end: Instance,
    /// Above the leader-assigned values that earlier leaders left behind: until they are
    /// delivered, the session table is not complete and nothing new is assigned.
    inherited_end: Instance,
    /// Holes below it have been open for a while.
    holes_until: Instance,
    timers: Armed,
}

/// Which timers are set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Armed {
    retry_accept: Option<Time>,
    close_holes: bool,
    request_ack: bool,
}

/// Where phase 1 stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Preparation {
    /// It was executed for the whole rest of the log when the leader took over.
    Done,
    /// It is executed for each run of instances as values arrive for them, as a study of what
    /// pre-execution saves.
    PerInstance {
        /// Entries that wait for phase 1.
        unprepared: InstanceMap<Entry>,
        /// Those of them for which phase 1 has not begun.
        fresh: Vec<Instance>,
        /// The attempts under way; no two of them share an instance.
        attempts: Vec<Attempt>,
        /// Prepares in a row without an answer.
        tries: u32,
        /// When a quorum answered last.
        progressed: Time,
    },
}

impl Leadership {
    /// A leader under `ballot`, for which phase 1 brought up `reports` from `log`'s watermark on.
    /// Returns it, and what turned out to be chosen already.
    ///
    /// With `per_instance`, phase 1 runs again for each instance as values arrive.
    pub fn new(
        now: Time,
        ballot: Ballot,
        (settings, no_timeouts, per_instance): (Settings, bool, bool),
        log: &DecidedLog,
        reports: InstanceMap<Report>,
    ) -> (Self, Vec<(Instance, Entry)>) {
        let quorum = Quorum::majority_of(settings.acceptor_count);
        let preparation = if per_instance {
            Preparation::PerInstance {
                unprepared: InstanceMap::new(),
                fresh: Vec::new(),
                attempts: Vec::new(),
                tries: 0,
                progressed: now,
            }
        } else {
            Preparation::Done
        };
        let mut leadership = Leadership {
            ballot,
            quorum,
            settings,
            no_timeouts,
            preparation,
            phase2: Phase2::new(ballot, quorum, now),
            waiting: InstanceMap::new(),
            queues: BTreeMap::new(),
            contenders: BTreeMap::new(),
            notes: Notes::default(),
            top: log.end(),
            leader_assigned_end: log.leader_assigned_end(),
            inherited_end: log.leader_assigned_end(),
            holes_until: Instance::FIRST,
            timers: Armed::default(),
        };
        let chosen = leadership.inherit(log, reports);
        (leadership, chosen)
    }

    /// The ballot.
    pub fn ballot(&self) -> Ballot {
        self.ballot
    }

    /// Proposes again what phase 1 brought up; returns what turned out to be chosen already.
    fn inherit(
        &mut self,
        log: &DecidedLog,
        reports: InstanceMap<Report>,
    ) -> Vec<(Instance, Entry)> {
        let mut decided = Vec::new();
        for (instance, report) in reports.iter() {
            self.top = self.top.max(instance.next());
            if report.entry.is_leader_assigned() {
                self.leader_assigned_end = self.leader_assigned_end.max(instance.next());
                self.inherited_end = self.inherited_end.max(instance.next());
            }
            if log.get(instance).is_some() || bugs::has(Bug::SkipsReports) {
                continue;
            }
            if report.voters.is_won(self.quorum) || bugs::has(Bug::DecidesReports) {
                // A quorum accepted it in one ballot: that is what chosen means.
                decided.push((instance, report.entry.clone()));
            } else {
                self.waiting.insert(instance, report.entry.clone());
            }
        }
        decided
    }

    // Requests.

    /// A client asks for values.
    pub fn on_request(
        &mut self,
        session: Session,
        request: Request,
        log: &DecidedLog,
        fx: &mut Effects,
    ) {
        let until = request.from.plus(request.values.len() as u64);
        self.notes.requested(session, Run::new(request.from, until));
        let numbered = request.from.numbering(request.values);
        match request.assignment {
            Assignment::Client { first } => {
                for (number, value) in numbered {
                    let instance = first.plus(number.0 - 1);
                    self.ask_for(session, number, instance, value, log, fx);
                }
            }
            Assignment::Leader => self.enqueue(session, numbered, log, fx),
        }
    }

    /// A client asks for an instance.
    fn ask_for(
        &mut self,
        session: Session,
        number: Number,
        instance: Instance,
        value: Value,
        log: &DecidedLog,
        fx: &mut Effects,
    ) {
        let origin = Origin { session, number, assigned_by: AssignedBy::Client };
        if let Some(decided) = log.get(instance) {
            if decided.origin() == Some(origin) || bugs::has(Bug::TellsLosersTheyWon) {
                self.notes.delivered(session, number);
            } else {
                self.notes.lost(session, number);
            }
            return;
        }
        if instance >= log.watermark().plus(self.settings.instances_ahead) {
            return fx.ignore(Ignored::TooFarAhead);
        }
        if let Some(under_way) = self.under_way(instance) {
            if under_way.origin() != Some(origin) {
                self.contend(instance, session, number);
            }
        } else if self.waiting.len() >= self.settings.request_queue {
            return fx.ignore(Ignored::QueueFull);
        } else {
            self.top = self.top.max(instance.next());
            self.waiting.insert(instance, Entry::Value { origin, value });
        }
        self.notes.received(session, number, Some(instance));
    }

    /// A client leaves the instances to the leader.
    fn enqueue(
        &mut self,
        session: Session,
        numbered: impl Iterator<Item = (Number, Value)>,
        log: &DecidedLog,
        fx: &mut Effects,
    ) {
        let new = || Queue::new(session, log.next_number(session));
        let queue = self.queues.entry(session).or_insert_with(new);
        for (number, value) in numbered {
            match queue.push(number, value, self.settings.request_queue) {
                Fate::Received if bugs::has(Bug::AcksTooEarly) => {
                    self.notes.delivered(session, number);
                }
                Fate::Received => self.notes.received(session, number, None),
                Fate::Delivered => self.notes.delivered(session, number),
                Fate::Refused => fx.ignore(Ignored::QueueFull),
            }
        }
    }

    /// What is proposed, or about to be proposed, for `instance`.
    fn under_way(&self, instance: Instance) -> Option<&Entry> {
        let unprepared = match &self.preparation {
            Preparation::Done => None,
            Preparation::PerInstance { unprepared, .. } => unprepared.get(instance),
        };
        self.phase2.get(instance).or_else(|| self.waiting.get(instance)).or(unprepared)
    }

    /// Remembers who else asked for `instance`, to tell them who won.
    fn contend(&mut self, instance: Instance, session: Session, number: Number) {
        let contenders = self.contenders.entry(instance).or_default();
        if !contenders.contains(&(session, number)) {
            contenders.push((session, number));
        }
    }

    // Phase 1, per instance.

    /// An acceptor promised, for an attempt of this leadership.
    pub fn on_promise(
        &mut self,
        now: Time,
        acceptor: u32,
        promise: Promise,
        log: &DecidedLog,
        fx: &mut Effects,
    ) -> Vec<(Instance, Entry)> {
        let Preparation::PerInstance { attempts, tries, progressed, .. } = &mut self.preparation
        else {
            // Phase 1 is won; what the slowest acceptors say is not needed any more.
            fx.ignore(Ignored::NotAsked);
            return Vec::new();
        };
        let (from, until) = (promise.from, promise.until);
        let found = attempts.iter().position(|attempt| {
            let (first, end) = attempt.bounds();
            first <= from && end == until
        });
        let Some(index) = found else {
            fx.ignore(Ignored::NotAsked);
            return Vec::new();
        };
        match attempts[index].on_promise(acceptor, promise) {
            PageOutcome::NotAsked => fx.ignore(Ignored::NotAsked),
            PageOutcome::NextPage(next) => {
                (*tries, *progressed) = (0, now);
                let prepare = attempts[index].prepare_page(acceptor, next);
                fx.send(Role::Acceptor, Message::Prepare(prepare));
                fx.set_timer(Timer::RetryPrepare, now + self.settings.retry_prepare);
            }
            PageOutcome::Complete if attempts[index].is_won(self.quorum) => {
                (*tries, *progressed) = (0, now);
                let attempt = attempts.swap_remove(index);
                return self.finish_attempt(now, attempt, log);
            }
            PageOutcome::Complete => {}
        }
        Vec::new()
    }

    /// Phase 1 is won for some instances: proposes what is safe there.
    fn finish_attempt(
        &mut self,
        now: Time,
        attempt: Attempt,
        log: &DecidedLog,
    ) -> Vec<(Instance, Entry)> {
        let (from, until) = attempt.bounds();
        let instances = Run::new(from, until.unwrap_or(from));
        let reports = attempt.into_reports();
        let mut decided = Vec::new();
        for instance in instances.iter() {
            let Preparation::PerInstance { unprepared, .. } = &mut self.preparation else {
                unreachable!("only unprepared leaders finish attempts");
            };
            let Some(mine) = unprepared.remove(instance) else { continue };
            assert!(log.get(instance).is_none(), "on_decided takes decided instances out");
            let Some(report) = reports.get(instance) else {
                self.phase2.propose(now, instance, mine);
                continue;
            };
            if report.entry != mine {
                self.displace(instance, &mine);
            }
            if report.entry.is_leader_assigned() {
                self.leader_assigned_end = self.leader_assigned_end.max(instance.next());
                self.inherited_end = self.inherited_end.max(instance.next());
            }
            if report.voters.is_won(self.quorum) {
                decided.push((instance, report.entry.clone()));
            } else {
                self.phase2.propose(now, instance, report.entry.clone());
            }
        }
        decided
    }

    /// `entry` cannot have `instance`: another one may be chosen there.
    fn displace(&mut self, instance: Instance, entry: &Entry) {
        let Some(origin) = entry.origin() else { return };
        match origin.assigned_by {
            AssignedBy::Client => self.contend(instance, origin.session, origin.number),
            AssignedBy::Leader => {
                if let Some(queue) = self.queues.get_mut(&origin.session) {
                    queue.propose_again_from(origin.number);
                }
            }
        }
    }

    /// Asks again for promises that are missing.
    pub fn on_retry_prepare(&mut self, now: Time, fx: &mut Effects) {
        let Preparation::PerInstance { attempts, tries, .. } = &mut self.preparation else {
            return;
        };
        if attempts.is_empty() {
            return;
        }
        for attempt in attempts.iter() {
            for prepare in attempt.unanswered(self.quorum) {
                fx.send(Role::Acceptor, Message::Prepare(prepare));
            }
        }
        *tries = tries.saturating_add(1);
        let wait = backoff(self.settings.retry_prepare, *tries, self.settings.retry_max);
        fx.set_timer(Timer::RetryPrepare, now + wait);
    }

    // Phase 2.

    /// An acceptor accepted; returns what is chosen by that.
    pub fn on_accepted(
        &mut self,
        now: Time,
        acceptor: u32,
        accepted: &Accepted,
        fx: &mut Effects,
    ) -> Vec<(Instance, Entry)> {
        if accepted.ballot != self.ballot && !bugs::has(Bug::CountsOtherBallots) {
            fx.ignore(Ignored::StaleBallot);
            return Vec::new();
        }
        self.phase2.on_accepted(now, acceptor, accepted)
    }

    /// `instance` is decided, here or elsewhere.
    pub fn on_decided(&mut self, instance: Instance, entry: &Entry) {
        self.top = self.top.max(instance.next());
        if entry.is_leader_assigned() {
            self.leader_assigned_end = self.leader_assigned_end.max(instance.next());
        }
        let unprepared = match &mut self.preparation {
            Preparation::Done => None,
            Preparation::PerInstance { unprepared, .. } => unprepared.remove(instance),
        };
        let proposed = [self.phase2.forget(instance), self.waiting.remove(instance), unprepared];
        for other in proposed.iter().flatten().filter(|proposed| *proposed != entry) {
            self.displace(instance, other);
        }
        let winner = entry.origin();
        if let Some(origin) = winner.filter(|origin| origin.assigned_by == AssignedBy::Client) {
            self.notes.delivered(origin.session, origin.number);
        }
        for (session, number) in self.contenders.remove(&instance).unwrap_or_default() {
            let is_winner =
                winner.is_some_and(|origin| origin.session == session && origin.number == number);
            if !is_winner {
                self.notes.lost(session, number);
            }
        }
    }

    /// Delivery reached `instance`.
    pub fn on_delivery(&mut self, instance: Instance, origin: Origin, occurrence: Occurrence) {
        if origin.assigned_by == AssignedBy::Client {
            return;
        }
        let queue = self.queues.get_mut(&origin.session);
        match occurrence {
            Occurrence::Delivered => {
                if let Some(queue) = queue {
                    queue.on_delivered(origin.number);
                }
                self.notes.delivered(origin.session, origin.number);
            }
            Occurrence::Skipped => {
                if let Some(queue) = queue {
                    queue.on_skipped(instance);
                }
            }
            Occurrence::Noop => unreachable!("a no-op has no origin"),
        }
    }

    /// Sends again what acceptors have not answered.
    pub fn on_retry_accept(&mut self, now: Time, log: &DecidedLog, fx: &mut Effects) {
        assert!(!self.no_timeouts, "without time-outs nothing is sent again");
        self.timers.retry_accept = None;
        self.phase2.retry(now, log.watermark(), &self.settings, fx);
    }

    /// How many instances this leader has something for that is not decided.
    pub fn open(&self) -> usize {
        let unprepared = match &self.preparation {
            Preparation::Done => 0,
            Preparation::PerInstance { unprepared, .. } => unprepared.len(),
        };
        self.phase2.len() + self.waiting.len() + unprepared
    }

    /// Since when nothing has moved although something should.
    pub fn stalled_since(&self) -> Option<Time> {
        let phase1 = match &self.preparation {
            Preparation::PerInstance { attempts, progressed, .. } if !attempts.is_empty() => {
                Some(*progressed)
            }
            Preparation::PerInstance { .. } | Preparation::Done => None,
        };
        let phase2 = self.phase2.stalled_since().filter(|_| !self.no_timeouts);
        phase1.or(phase2)
    }

    // Holes.

    /// Closes the holes below leader-assigned values that have been open for a while.
    pub fn on_close_holes(&mut self, log: &DecidedLog) {
        self.timers.close_holes = false;
        if bugs::has(Bug::LeavesHoles) {
            return;
        }
        let mut closed = 0;
        for hole in log.missing(Instance::FIRST, self.holes_until, HOLES_MAX) {
            for instance in hole.iter() {
                if self.under_way(instance).is_none() || bugs::has(Bug::ClosesHolesBlindly) {
                    self.waiting.insert(instance, Entry::Noop);
                    closed += 1;
                }
                if closed >= HOLES_MAX {
                    return;
                }
            }
        }
        if closed > 0 {
            debug!("closes {closed} holes below {}", self.holes_until);
        }
    }

    // The end of a turn.

    /// Tells clients what was received, for the timer.
    pub fn on_request_ack(&mut self, log: &DecidedLog, fx: &mut Effects) {
        self.timers.request_ack = false;
        self.notes.send_received(log, &self.settings, fx);
    }

    /// Proposes what there is room for, sends it, and tells the clients what is final.
    pub fn on_turn_end(&mut self, now: Time, log: &DecidedLog, fx: &mut Effects) {
        self.propose_waiting(now);
        if log.watermark() >= self.inherited_end {
            self.propose_queued(now, log);
        }
        self.begin_attempts(now, fx);
        self.phase2.send_fresh(now, log.watermark(), &self.settings, fx);
        self.notes.send_final(log, &self.settings, fx);
        self.arm_timers(now, log, fx);
    }

    fn has_room(&self, entry: &Entry) -> bool {
        let (instances, bytes) = match &self.preparation {
            Preparation::Done => (self.phase2.len(), self.phase2.bytes()),
            Preparation::PerInstance { unprepared, .. } => {
                (self.phase2.len() + unprepared.len(), self.phase2.bytes())
            }
        };
        instances == 0
            || (instances < self.settings.leader_window
                && bytes + entry.wire_bytes_max() <= self.settings.window_bytes)
    }

    fn propose_waiting(&mut self, now: Time) {
        while let Some(first) = self.waiting.first() {
            if !self.waiting.get(first).is_some_and(|entry| self.has_room(entry)) {
                return;
            }
            if let Some(entry) = self.waiting.remove(first) {
                self.propose(now, first, entry);
            }
        }
    }

    /// Gives the sessions' values the instances above everything else, a page of each in turn.
    fn propose_queued(&mut self, now: Time, log: &DecidedLog) {
        const PAGE: usize = 256;
        let ahead = self.settings.instances_ahead.saturating_mul(2).saturating_sub(1);
        let limit = log.watermark().plus(ahead);
        let sessions: Vec<Session> = self.queues.keys().copied().collect();
        let mut progress = true;
        while progress {
            progress = false;
            for session in &sessions {
                for _ in 0..PAGE {
                    let next = self.queues.get(session).and_then(Queue::next);
                    let Some(entry) = next.filter(|entry| self.has_room(entry)) else { break };
                    if self.top >= limit {
                        return;
                    }
                    let instance = self.top;
                    self.top = instance.next();
                    self.leader_assigned_end = self.top;
                    if let Some(queue) = self.queues.get_mut(session) {
                        queue.propose_next(instance);
                    }
                    self.propose(now, instance, entry);
                    progress = true;
                }
            }
        }
    }

    fn propose(&mut self, now: Time, instance: Instance, entry: Entry) {
        match &mut self.preparation {
            Preparation::Done => self.phase2.propose(now, instance, entry),
            Preparation::PerInstance { unprepared, fresh, .. } => {
                unprepared.insert(instance, entry);
                fresh.push(instance);
            }
        }
    }

    /// Begins phase 1 for the instances that got a value in this turn, a Prepare for each run.
    fn begin_attempts(&mut self, now: Time, fx: &mut Effects) {
        let Preparation::PerInstance { fresh, attempts, tries, progressed, .. } =
            &mut self.preparation
        else {
            return;
        };
        if fresh.is_empty() {
            return;
        }
        if attempts.is_empty() {
            (*tries, *progressed) = (0, now);
            fx.set_timer(Timer::RetryPrepare, now + self.settings.retry_prepare);
        }
        fresh.sort_unstable();
        for run in Run::gather(fresh.drain(..)) {
            let mut from = run.from;
            while from < run.until {
                let until = from.plus(ATTEMPT_INSTANCES).min(run.until);
                let attempt = Attempt::new(self.ballot, from, Some(until));
                fx.send(Role::Acceptor, Message::Prepare(attempt.prepare()));
                attempts.push(attempt);
                from = until;
            }
        }
    }

    fn arm_timers(&mut self, now: Time, log: &DecidedLog, fx: &mut Effects) {
        let deadline = self.phase2.next_deadline().filter(|_| !self.no_timeouts);
        if let Some(deadline) = deadline.map(|deadline| deadline.max(now))
            && self.timers.retry_accept.is_none_or(|armed| deadline < armed)
        {
            self.timers.retry_accept = Some(deadline);
            fx.set_timer(Timer::RetryAccept, deadline);
        }
        if !self.timers.request_ack && !self.notes.is_empty() {
            self.timers.request_ack = true;
            fx.set_timer(Timer::RequestAck, now + self.settings.request_ack_delay);
        }
        if !self.timers.close_holes && log.watermark() < self.leader_assigned_end {
            self.timers.close_holes = true;
            self.holes_until = self.leader_assigned_end;
            fx.set_timer(Timer::CloseHoles, now + self.settings.hole_delay);
        }
    }

    /// Says in the log what this leader took over.
    pub fn announce(&self) {
        info!(
            "leads with {}; takes over {} undecided instances below {}",
            self.ballot,
            self.waiting.len(),
            self.top
        );
    }
}
