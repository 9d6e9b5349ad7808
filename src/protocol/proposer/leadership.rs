//! What a proposer holds while it leads: requests, phase 1 per instance when asked for, phase 2.

mod requests;

use std::collections::BTreeMap;

use log::{debug, info};

use super::intake::{Notes, Queue};
use super::phase1::{Attempt, PageOutcome, Report};
use super::phase2::Phase2;
use crate::bugs::{self, Bug};
use crate::protocol::actor::{Effects, Ignored};
use crate::protocol::decided_log::{DecidedLog, Occurrence};
use crate::protocol::entries::{Entries, EntriesBuilder, EntryRef};
use crate::protocol::message::{Accepted, Message, Promise};
use crate::protocol::packing::merge;
use crate::protocol::quorum::Quorum;
use crate::protocol::retry::backoff;
use crate::protocol::segments::{Held, Page, Segments};
use crate::protocol::settings::Settings;
use crate::protocol::timer::Timer;
use crate::protocol::types::{
    AssignedBy, Ballot, Counted, Instance, Number, Origin, Role, Run, Session, Time,
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
    waiting: Segments<()>,
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
        unprepared: Segments<()>,
        /// Those of them for which phase 1 has not begun.
        fresh: Vec<Run<Instance>>,
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
        reports: BTreeMap<Instance, Report>,
    ) -> (Self, Vec<Page>) {
        let quorum = Quorum::majority_of(settings.acceptor_count);
        let preparation = if per_instance {
            Preparation::PerInstance {
                unprepared: Segments::new(),
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
            waiting: Segments::new(),
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
    fn inherit(&mut self, log: &DecidedLog, reports: BTreeMap<Instance, Report>) -> Vec<Page> {
        let mut decided = Vec::new();
        for (instance, report) in reports {
            self.top = self.top.max(instance.next());
            if report.entry.is_leader_assigned() {
                self.leader_assigned_end = self.leader_assigned_end.max(instance.next());
                self.inherited_end = self.inherited_end.max(instance.next());
            }
            if log.contains(instance) || bugs::has(Bug::SkipsReports) {
                continue;
            }
            if report.voters.is_won(self.quorum) || bugs::has(Bug::DecidesReports) {
                // A quorum accepted it in one ballot: that is what chosen means.
                decided.push(page_of(instance, report.entry.borrowed()));
            } else {
                self.waiting.insert(page_of(instance, report.entry.borrowed()), ());
            }
        }
        decided
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
    ) -> Vec<Page> {
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
    fn finish_attempt(&mut self, now: Time, attempt: Attempt, log: &DecidedLog) -> Vec<Page> {
        let (from, until) = attempt.bounds();
        let instances = Run::new(from, until.unwrap_or(from));
        let reports = attempt.into_reports();
        let Preparation::PerInstance { unprepared, .. } = &mut self.preparation else {
            unreachable!("only unprepared leaders finish attempts");
        };
        let mut mine = Vec::new();
        unprepared.take(instances, |page, ()| mine.push(page));
        let mut decided = Vec::new();
        for page in mine {
            for (place, (instance, mine)) in page.from.numbering(&page.entries).enumerate() {
                assert!(!log.contains(instance), "on_decided takes decided instances out");
                let Some(report) = reports.get(&instance) else {
                    let entries = page.entries.slice(place, place + 1);
                    self.phase2.propose(now, Page { from: instance, entries });
                    continue;
                };
                let safe = report.entry.borrowed();
                if safe != mine {
                    self.displace(instance, mine);
                }
                if safe.is_leader_assigned() {
                    self.leader_assigned_end = self.leader_assigned_end.max(instance.next());
                    self.inherited_end = self.inherited_end.max(instance.next());
                }
                if report.voters.is_won(self.quorum) {
                    decided.push(page_of(instance, safe));
                } else {
                    self.phase2.propose(now, page_of(instance, safe));
                }
            }
        }
        decided
    }

    /// `entry` cannot have `instance`: another one may be chosen there.
    fn displace(&mut self, instance: Instance, entry: EntryRef<'_>) {
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
    ) -> Vec<Page> {
        if accepted.ballot != self.ballot && !bugs::has(Bug::CountsOtherBallots) {
            fx.ignore(Ignored::StaleBallot);
            return Vec::new();
        }
        self.phase2.on_accepted(now, acceptor, accepted)
    }

    /// The instances of `page` are decided, here or elsewhere.
    pub fn on_decided(&mut self, page: &Page) {
        let run = page.run();
        self.top = self.top.max(run.until);
        let leader_assigned = page.entries.leader_assigned_len();
        if leader_assigned > 0 {
            let end = page.from.plus(leader_assigned as u64);
            self.leader_assigned_end = self.leader_assigned_end.max(end);
        }
        self.displace_others(page);
        for (_, part) in page.entries.runs() {
            if let Some((origin, numbers)) = part.numbers()
                && origin.assigned_by == AssignedBy::Client
            {
                self.notes.delivered(origin.session, numbers);
            }
        }
        // Mostly nobody else asked.
        if self.contenders.range(run.from..run.until).next().is_none() {
            return;
        }
        for (instance, winner) in page.from.numbering(&page.entries) {
            let winner = winner.origin().map(|origin| (origin.session, origin.number));
            for loser in self.contenders.remove(&instance).unwrap_or_default() {
                if winner != Some(loser) {
                    self.notes.lost(loser.0, loser.1);
                }
            }
        }
    }

    /// Gives up what was to be proposed for the instances of `page`, which are decided.
    fn displace_others(&mut self, page: &Page) {
        let run = page.run();
        let mut others = self.phase2.forget(run);
        self.waiting.take(run, |other, ()| others.push(other));
        if let Preparation::PerInstance { unprepared, .. } = &mut self.preparation {
            unprepared.take(run, |other, ()| others.push(other));
        }
        let place = |instance: Instance| (instance.0 - run.from.0) as usize;
        for other in others {
            let decided = page.entries.slice(place(other.from), place(other.run().until));
            for ((instance, entry), decided) in other.from.numbering(&other.entries).zip(&decided) {
                if decided != entry {
                    self.displace(instance, entry);
                }
            }
        }
    }

    /// Delivery has passed these numbers, of which the first is `origin`, from `instance` on.
    pub fn on_delivery(
        &mut self,
        instance: Instance,
        (origin, numbers): (Origin, Run<Number>),
        occurrence: Occurrence,
    ) {
        if origin.assigned_by == AssignedBy::Client {
            return;
        }
        let queue = self.queues.get_mut(&origin.session);
        match occurrence {
            Occurrence::Delivered => {
                if let Some(queue) = queue {
                    queue.on_delivered(numbers.until);
                }
                self.notes.delivered(origin.session, numbers);
            }
            Occurrence::Skipped => {
                if let Some(queue) = queue {
                    // Whatever comes after the last of them comes after all of them.
                    queue.on_skipped(instance.plus(numbers.len() - 1));
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
                let run = Run::new(instance, instance.next());
                let is_free = matches!(self.under_way_at(run), Held::Nothing(_));
                if is_free || bugs::has(Bug::ClosesHolesBlindly) {
                    self.waiting.insert(page_of(instance, EntryRef::Noop), ());
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

    /// How many of `entries` there is room for in flight: all, or none unless nothing is in flight.
    fn room_for(&self, entries: &Entries) -> usize {
        let (window, window_bytes) = (self.settings.leader_window, self.settings.window_bytes);
        let in_flight = match &self.preparation {
            Preparation::Done => self.phase2.len(),
            Preparation::PerInstance { unprepared, .. } => self.phase2.len() + unprepared.len(),
        };
        let has_room = in_flight + entries.len() <= window
            && self.phase2.bytes() + entries.bytes() <= window_bytes;
        match in_flight {
            _ if has_room => entries.len(),
            0 => entries.prefix(window, window_bytes).len().max(1),
            _ => 0,
        }
    }

    fn propose_waiting(&mut self, now: Time) {
        while let Some(page) = self.waiting.first_page() {
            let room = self.room_for(&page.entries);
            if room == 0 {
                return;
            }
            let (page, _) = page.split(room);
            self.waiting.take(page.run(), |_, ()| {});
            self.propose(now, page);
        }
    }

    /// Gives the sessions' values the instances above everything else, a page of each in turn.
    fn propose_queued(&mut self, now: Time, log: &DecidedLog) {
        let ahead = self.settings.instances_ahead.saturating_mul(2).saturating_sub(1);
        let limit = log.watermark().plus(ahead);
        let sessions: Vec<Session> = self.queues.keys().copied().collect();
        let mut progress = true;
        while progress {
            progress = false;
            for session in &sessions {
                let next = self.queues.get(session).and_then(Queue::next);
                let room = next.map_or(0, |entries| self.room_for(entries) as u64);
                let count = room.min(limit.0.saturating_sub(self.top.0)) as usize;
                if count == 0 {
                    continue;
                }
                let Some(queue) = self.queues.get_mut(session) else { continue };
                let Some(page) = queue.propose_next(count, self.top) else { continue };
                self.top = page.run().until;
                self.leader_assigned_end = self.top;
                self.propose(now, page);
                progress = true;
            }
        }
    }

    fn propose(&mut self, now: Time, page: Page) {
        match &mut self.preparation {
            Preparation::Done => self.phase2.propose(now, page),
            Preparation::PerInstance { unprepared, fresh, .. } => {
                fresh.push(page.run());
                unprepared.insert(page, ());
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
        for run in merge(std::mem::take(fresh)) {
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

/// A page of one entry.
fn page_of(from: Instance, entry: EntryRef<'_>) -> Page {
    let mut builder = EntriesBuilder::new();
    builder.push(entry);
    Page { from, entries: builder.finish() }
}
