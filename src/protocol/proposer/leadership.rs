//! What does a proposer hold while it leads? Requests, phase 1 per instance if so configured, and
//! phase 2.

mod holes;
mod idle;
#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;
mod requests;
mod room;
mod times;
mod writing;

use std::collections::BTreeSet;

use log::info;

use self::idle::Idle;
use self::times::Times;
use super::phase1::{PageOutcome, Report};
use super::remembering::Finishing;
use super::telling::Names;
use crate::protocol::actor::{Effects, Ignored};
use crate::protocol::decided_log::{DecidedLog, Occurrence};
use crate::protocol::entries::{EntriesBuilder, EntryRef};
use crate::protocol::message::{Accepted, Message, Promise};
use crate::protocol::packing::merge;
use crate::protocol::parts::{Attempt, Notes, Phase2, Queues, Quorum};
use crate::protocol::retry::backoff;
use crate::protocol::segments::{Page, Segments};
use crate::protocol::settings::Settings;
use crate::protocol::timer::Timer;
use crate::protocol::types::{
    AssignedBy, Ballot, Counted, Few, Instance, Number, Origin, Role, Run, Session, Time,
};

/// How many instances one Prepare asks about when phase 1 runs per instance: few enough that a
/// promise seldom needs a second page.
const ATTEMPT_INSTANCES: u64 = 64;

/// How to lead.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The protocol's settings.
    pub settings: Settings,
    /// Never retransmit an Accept or a Decide.
    pub no_timeouts: bool,
    /// Run phase 1 again for each instance as values arrive.
    pub per_instance: bool,
}

/// A leader's state; it dies with the leadership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leadership {
    ballot: Ballot,
    quorum: Quorum,
    settings: Settings,
    no_timeouts: bool,
    /// How instances are prepared before anything is proposed in them.
    preparation: Preparation,
    phase2: Phase2,
    /// Entries whose instance is known and that wait for room in flight.
    waiting: Segments<()>,
    /// Leader-assigned values that wait for an instance.
    queues: Queues,
    /// What is proposed first in the next turn.
    first: Supply,
    /// Who else asked for an instance that is under way.
    contenders: BTreeSet<(Instance, Session, Number)>,
    notes: Notes,
    /// Above every instance proposed, reported or asked for.
    top: Instance,
    /// Above every leader-assigned value, pending ones included. Holes below are closed.
    leader_assigned_end: Instance,
    /// Above the leader-assigned values that earlier leaders left behind: until they are
    /// delivered, the session table is not complete and nothing new is assigned.
    inherited_end: Instance,
    /// Which time it gives to the values it places.
    pub(super) times: Times,
    /// Above the last checkpoint that this leader wrote.
    written_end: Instance,
    /// Which clients are done.
    pub(super) finishing: Finishing,
    /// Holes below it are left open until the timer comes.
    holes_until: Instance,
    /// Where holes have been open for a while and are not closed yet.
    closing: Run<Instance>,
    timers: Armed,
    idle: Idle,
    /// Too few acceptors have room: nothing new is taken.
    is_full: bool,
}

/// Where what is proposed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Supply {
    /// Entries whose instance is known: `waiting`.
    Placed,
    /// Values that get their instance now: `queues`.
    Queued,
}

impl Supply {
    fn other(self) -> Self {
        match self {
            Supply::Placed => Supply::Queued,
            Supply::Queued => Supply::Placed,
        }
    }
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
    /// It was executed for the entire rest of the log when the leader took over.
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
        /// Consecutive Prepares without an answer.
        tries: u32,
        /// When a quorum answered last.
        progressed: Time,
    },
}

impl Leadership {
    /// A leader under `ballot`, for which phase 1 brought up `reports` from `log`'s watermark on.
    /// Returns it, and what turned out to be chosen already.
    pub fn new(
        now: Time,
        ballot: Ballot,
        Manner { settings, no_timeouts, per_instance }: Manner,
        log: &DecidedLog,
        reports: Segments<Report>,
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
        let phase2 = Phase2::new(ballot, quorum, !no_timeouts, &settings);
        let mut leadership = Leadership {
            ballot,
            quorum,
            settings,
            no_timeouts,
            preparation,
            phase2,
            waiting: Segments::new(),
            queues: Queues::default(),
            first: Supply::Placed,
            contenders: BTreeSet::new(),
            notes: Notes::default(),
            top: log.end(),
            leader_assigned_end: log.leader_assigned_end(),
            inherited_end: log.leader_assigned_end(),
            times: Times::default(),
            written_end: Instance::FIRST,
            finishing: Finishing::default(),
            holes_until: Instance::FIRST,
            closing: Run::new(Instance::FIRST, Instance::FIRST),
            timers: Armed::default(),
            idle: Idle::default(),
            is_full: false,
        };
        let chosen = leadership.inherit(log, reports);
        (leadership, chosen)
    }

    /// The ballot.
    pub fn ballot(&self) -> Ballot {
        self.ballot
    }

    /// Proposes again what phase 1 brought up; returns what turned out to be chosen already.
    fn inherit(&mut self, log: &DecidedLog, reports: Segments<Report>) -> Vec<Page> {
        let mut decided = Vec::new();
        for (page, report) in reports.pages(Run::new(log.decided_below(), Instance(u64::MAX))) {
            self.note_found(&page);
            if report.voters.is_won(self.quorum) {
                // A quorum accepted it in one ballot: that is what chosen means.
                decided.push(page);
                continue;
            }
            let run = page.run();
            for undecided in log.missing(run.from, run.until, usize::MAX) {
                self.waiting.insert(page.part(undecided), ());
            }
        }
        decided
    }

    /// Phase 1 brought up `page`.
    fn note_found(&mut self, page: &Page) {
        self.top = self.top.max(page.run().until);
        let end = page.leader_assigned_end();
        self.leader_assigned_end = self.leader_assigned_end.max(end);
        self.inherited_end = self.inherited_end.max(end);
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
            PageOutcome::IsFollowed => {
                (*tries, *progressed) = (0, now);
                fx.set_timer(Timer::RetryPrepare, now + self.settings.retry_prepare);
            }
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
                let Some((safe, report)) = reports.get(instance) else {
                    let entries = page.entries.slice(place, place + 1);
                    self.phase2.propose(now, Page { from: instance, entries });
                    continue;
                };
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

    /// `entry` cannot have `instance`, for another one may be chosen there.
    fn displace(&mut self, instance: Instance, entry: EntryRef<'_>) {
        let Some(origin) = entry.origin() else { return };
        match origin.assigned_by {
            AssignedBy::Client => self.contend(instance, origin.session, origin.number),
            AssignedBy::Leader => {
                self.queues.propose_again_from(origin.session, origin.number);
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
                fx.sent_again += 1;
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
    ) -> Few<Page> {
        self.phase2.on_accepted(now, acceptor, accepted, &self.settings, fx)
    }

    /// The instances of `page` are decided, here or elsewhere. Returns whether this leader has
    /// proposed something else in one of them.
    pub fn on_decided(&mut self, page: &Page) -> bool {
        let run = page.run();
        self.top = self.top.max(run.until);
        self.leader_assigned_end = self.leader_assigned_end.max(page.leader_assigned_end());
        let has_lost = self.displace_others(page);
        for (_, part) in page.entries.runs() {
            if let Some((origin, numbers)) = part.numbers()
                && origin.assigned_by == AssignedBy::Client
            {
                self.notes.delivered(origin.session, numbers);
            }
        }
        self.tell_contenders(page);
        has_lost
    }

    /// Gives up everything meant for the instances of `page`, which are decided. Returns whether
    /// this leader had proposed something else than is decided.
    fn displace_others(&mut self, page: &Page) -> bool {
        let run = page.run();
        let mut others = self.phase2.forget(run);
        let has_lost = others.iter().any(|proposed| {
            let place = (proposed.from.0 - page.from.0) as usize;
            let decided = page.entries.slice(place, place + proposed.entries.len());
            proposed.entries != decided
        });
        self.waiting.take(run, |other, ()| others.push(other));
        if let Preparation::PerInstance { unprepared, .. } = &mut self.preparation {
            unprepared.take(run, |other, ()| others.push(other));
        }
        if others.is_empty() {
            return false; // Mostly it is this leader's own, which was taken out of flight.
        }
        // In order, so that the page is looked through once.
        others.sort_unstable_by_key(|other| other.from);
        let mut decided = page.from.numbering(&page.entries);
        for other in others {
            for (instance, entry) in other.from.numbering(&other.entries) {
                let same = decided.by_ref().find(|(decided, _)| *decided == instance);
                if same.is_some_and(|(_, decided)| decided != entry) {
                    self.displace(instance, entry);
                }
            }
        }
        has_lost
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
        match occurrence {
            // Parts are settled one by one; the client knows which one completes its value.
            Occurrence::Delivered | Occurrence::Held | Occurrence::Completed(_) => {
                self.queues.on_delivered(origin.session, numbers.until);
                self.notes.delivered(origin.session, numbers);
            }
            Occurrence::Skipped => {
                // Entries after the last of them come after all of them.
                self.queues.on_skipped(origin.session, instance.plus(numbers.len() - 1));
            }
            Occurrence::Ended => {
                self.queues.forget(origin.session);
                self.notes.lost(origin.session, numbers);
            }
            Occurrence::Noop
            | Occurrence::Checkpoint(_)
            | Occurrence::History(_)
            | Occurrence::Limit(_)
            | Occurrence::Finished(_) => {
                unreachable!("no client asked for it")
            }
        }
    }

    /// Queues what acceptors have not answered, to be sent again at the end of the turn.
    pub fn on_retry_accept(&mut self, now: Time) {
        assert!(!self.no_timeouts, "without time-outs nothing is sent again");
        self.timers.retry_accept = None;
        self.phase2.on_deadline(now, &self.settings);
    }

    /// A quorum is heard again: what waited for it may leave now.
    pub fn on_quorate(&mut self) {
        self.phase2.expedite();
    }

    /// For how many undecided instances this leader has something.
    pub fn open(&self) -> usize {
        self.under_way() + self.waiting.len()
    }

    /// Since when nothing has moved although something is pending.
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

    // The end of a turn.

    /// Tells clients what was received, for the timer.
    pub fn on_request_ack(&mut self, now: Time, log: &DecidedLog, quorate: bool, fx: &mut Effects) {
        self.timers.request_ack = false;
        self.notes.set_quorate(quorate);
        self.notes.send_received(now, log, &self.settings, fx);
    }

    /// Proposes what there is room for, sends it with the names of what is decided, and tells the
    /// clients what is final.
    pub fn on_turn_end(
        &mut self,
        now: Time,
        log: &DecidedLog,
        quorate: bool,
        names: &mut Names,
        fx: &mut Effects,
    ) {
        let grant = self.grant();
        self.notes.set_quorate(quorate);
        self.notes.set_grant(grant);
        self.close_holes(log);
        self.join_early(log);
        self.propose_all(now, log);
        self.begin_attempts(now, fx);
        self.phase2.send(now, names, &self.settings, fx);
        self.notes.send_final(now, log, &self.settings, fx);
        self.arm_timers(now, log, fx);
    }

    /// Proposes entries whose instance is known. Returns whether there was no room for some of it.
    fn propose_waiting(&mut self, now: Time) -> bool {
        while let Some(page) = self.waiting.first_page() {
            let room = self.room_for(&page.entries);
            if room == 0 {
                return true;
            }
            let (page, _) = page.split(room);
            self.waiting.take(page.run(), |_, ()| {});
            self.propose(now, page);
        }
        false
    }

    /// Gives the sessions' values the instances above everything else, a page of each in turn.
    /// Returns whether there was no room for some of them.
    fn propose_queued(&mut self, now: Time, log: &DecidedLog) -> bool {
        if self.is_full || log.watermark() < self.inherited_end {
            return false;
        }
        let ahead = self.settings.instances_ahead.saturating_mul(2).saturating_sub(1);
        let limit = log.decided_below().plus(ahead);
        while let Some(entries) = self.queues.next().cloned() {
            let room = self.room_for(&entries) as u64;
            if room == 0 {
                return true;
            }
            let count = room.min(limit.0.saturating_sub(self.top.0)) as usize;
            if count == 0 {
                return false;
            }
            let Some(mut page) = self.queues.propose_next(count, self.top) else { return false };
            page.entries = page.entries.timed(self.times.next(log.time()));
            self.top = page.run().until;
            self.leader_assigned_end = self.top;
            self.propose(now, page);
        }
        false
    }

    /// Proposes what there is room for. A source that found no room goes first in the next turn:
    /// otherwise a large page of one would never leave beside small pages of the other. A source
    /// that had some room, but not enough, goes second.
    fn propose_all(&mut self, now: Time, log: &DecidedLog) {
        let first = self.first;
        self.first = Supply::Placed;
        for supply in [first, first.other()] {
            let before = self.under_way();
            let found_no_room = match supply {
                Supply::Placed => self.propose_waiting(now),
                Supply::Queued => self.propose_queued(now, log),
            };
            if found_no_room {
                self.phase2.note_full();
                self.first = if self.under_way() > before { supply.other() } else { supply };
                return;
            }
        }
    }

    /// How many instances are proposed and not decided.
    fn under_way(&self) -> usize {
        match &self.preparation {
            Preparation::Done => self.phase2.len(),
            Preparation::PerInstance { unprepared, .. } => self.phase2.len() + unprepared.len(),
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
        let deadline = self.phase2.next_deadline(&self.settings).filter(|_| !self.no_timeouts);
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

    /// Logs what this leader took over.
    pub fn announce(&self) {
        info!(
            target: "paxos::report",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::checkpoint::{Checkpoint, Head, History};
    use crate::protocol::message::{Assignment, Request};
    use crate::protocol::sessions::Position;
    use crate::protocol::types::{Entry, LogTime, Value};

    /// However much is in flight and however long a checkpoint is, as much of it leaves as there is
    /// room for.
    #[test]
    fn a_checkpoint_longer_than_the_window_is_proposed_piece_by_piece() {
        let (log, settings) = (DecidedLog::new(), Settings::default());
        let ballot = Ballot { round: 1, proposer: 1, boot: 1 };
        let how = Manner { settings, no_timeouts: false, per_instance: false };
        let (mut leadership, _) = Leadership::new(Time::ZERO, ballot, how, &log, Segments::new());
        let turn = |leadership: &mut Leadership| {
            let mut fx = Effects::new();
            leadership.on_turn_end(Time::ZERO, &log, true, &mut Names::default(), &mut fx);
            let accepts = fx.send.iter().filter(|(_, sent)| matches!(sent, Message::Accept(_)));
            accepts.count()
        };
        let session = |client| Session { client, boot: u64::MAX };
        let (number, assigned_by) = (Number::FIRST, AssignedBy::Leader);
        let opened = Instance(1);
        let origin = Origin::new(session(1), number, assigned_by).stamped(opened);
        let entries = vec![Entry::Value { origin, value: Value::new(b"v") }].into();
        let (assignment, front) = (Assignment::Leader, number);
        let request = Request { assignment, front, from: number, opened, entries };
        leadership.on_request(session(1), request, &DecidedLog::new(), &mut Effects::new());
        assert_eq!(turn(&mut leadership), 1);
        let (of, keep) = (Instance(9), Instance(9));
        let (trim, idle_below) = (Instance::FIRST, Instance::FIRST);
        let (next, last) = (Number(9), Instance(8));
        let position = Position { next, has_ended: false, last, opened };
        let checkpoint = Checkpoint {
            head: Head { of, keep, trim, forget: trim, idle_below, time: LogTime::NONE },
            name: 1,
            sessions: (1..9999).map(|client| (session(client), position)).collect(),
            horizon: opened,
            open: Vec::new(),
        };
        let history = History { of, written: LogTime::NONE, points: Vec::new() };
        leadership.write(&checkpoint, history);
        let (sent, waiting) = (turn(&mut leadership), leadership.waiting.len());
        assert!(sent > 4 && waiting > 4, "{sent} left and {waiting} wait");
    }
}
