//! What a leader does with a client's request: which values it takes in, and what it answers for
//! the others.

use super::{Leadership, Preparation};
use crate::protocol::actor::{Effects, Ignored};
use crate::protocol::decided_log::DecidedLog;
use crate::protocol::entries::Entries;
use crate::protocol::message::{Assignment, Request};
use crate::protocol::proposer::intake::{Begun, Fate, Mine};
use crate::protocol::segments::{Held, Page};
use crate::protocol::types::{Counted, Instance, Number, Origin, Run, Session};

impl Leadership {
    /// Owes the client an answer: that a leader is there, and whether its request was heard.
    pub fn owe_ack(&mut self, session: Session, requested: bool) {
        self.notes.owe(session, requested);
    }

    /// The same for a client that has heard of no leader for long.
    pub fn owe_ack_widely(&mut self, session: Session) {
        self.notes.owe_widely(session);
    }

    /// A client asks for values.
    pub fn on_request(
        &mut self,
        session: Session,
        request: Request,
        log: &DecidedLog,
        fx: &mut Effects,
    ) {
        if request.entries.is_empty() {
            return self.notes.greeted(session);
        }
        let assigned_by = request.assignment.assigned_by();
        let expected = Origin::new(session, request.from, assigned_by).stamped(request.opened);
        let Some((_, numbers)) =
            request.entries.numbers().filter(|(origin, _)| *origin == expected)
        else {
            return fx.ignore(Ignored::Malformed);
        };
        self.notes.requested(session, numbers);
        match request.assignment {
            Assignment::Client { first } => {
                let from = first.plus(numbers.from.0 - 1);
                self.ask_for(Page { from, entries: request.entries }, expected, log, fx);
            }
            Assignment::Leader => {
                self.enqueue((session, request.opened), &request.entries, log, fx);
            }
        }
    }

    /// A client asks for the instances of `page`, whose first entry has this `origin`.
    fn ask_for(&mut self, page: Page, origin: Origin, log: &DecidedLog, fx: &mut Effects) {
        let asked = page.run();
        // The decision of a trimmed instance is not known any more, so neither is the winner.
        if asked.from < log.first() {
            fx.ignore(Ignored::Trimmed);
        }
        let Some(page) = page.from_on(log.first()) else { return };
        let end = log.decided_below().plus(self.settings.instances_ahead).min(asked.until);
        if end < asked.until {
            fx.ignore(Ignored::TooFarAhead);
        }
        let number = |instance: Instance| origin.number.plus(instance.0 - asked.from.0);
        // Cut from the front, so that a request is looked through once, however it is cut.
        let mut rest = Some(page);
        while let Some(page) = rest.take().filter(|page| page.from < end) {
            // What is decided, what is under way, and what is free, in turn.
            let from = page.from;
            let run = Run::new(from, end);
            let free_until = match log.at(run) {
                Held::Entries(decided) => {
                    self.tell_decided(&decided, |instance| Origin {
                        number: number(instance),
                        ..origin
                    });
                    (_, rest) = page.split(decided.entries.len());
                    continue;
                }
                Held::Nothing(until) => until,
            };
            match self.under_way_at(Run::new(from, free_until)) {
                Held::Entries(other) => {
                    for (instance, entry) in from.numbering(&other.entries) {
                        let mine = Origin { number: number(instance), ..origin };
                        if entry.origin() != Some(mine) {
                            self.contend(instance, mine.session, mine.number);
                        }
                    }
                    let numbers = Run::new(number(from), number(other.run().until));
                    self.notes.received(origin.session, numbers, Some(from));
                    (_, rest) = page.split(other.entries.len());
                }
                Held::Nothing(_)
                    if self.is_full || self.waiting.len() >= self.settings.request_queue =>
                {
                    return fx.ignore(Ignored::QueueFull);
                }
                Held::Nothing(until) => {
                    let numbers = Run::new(number(from), number(until));
                    self.notes.received(origin.session, numbers, Some(from));
                    self.top = self.top.max(until);
                    let (free, behind) = page.split((until.0 - from.0) as usize);
                    self.waiting.insert(free, ());
                    rest = behind;
                }
            }
        }
    }

    /// Tells a client that asked for decided instances, with a value of origin `mine` for each, who
    /// has won.
    fn tell_decided(&mut self, decided: &Page, mine: impl Fn(Instance) -> Origin) {
        for (instance, entry) in decided.from.numbering(&decided.entries) {
            let Origin { session, number, .. } = mine(instance);
            if entry.origin() == Some(mine(instance)) {
                self.notes.delivered(session, Run::new(number, number.next()));
            } else {
                self.notes.lost(session, Run::new(number, number.next()));
            }
        }
    }

    /// A client leaves the instances to the leader.
    fn enqueue(
        &mut self,
        (session, opened): (Session, Instance),
        entries: &Entries,
        log: &DecidedLog,
        fx: &mut Effects,
    ) {
        let front = log.next_number(session);
        if log.has_forgotten(session, opened) {
            self.queues.forget(session);
            return self.notes.forgotten(session);
        }
        if log.has_ended(session) {
            self.queues.forget(session);
            return self.tell_ended(session, front, entries);
        }
        let room =
            if entries.has_parts() { self.room_for_parts(session, log) } else { Begun::default() };
        let (notes, mine) = (&mut self.notes, Mine { session, opened, front });
        self.queues.push(mine, entries, room, &self.settings, |numbers, fate| match fate {
            Fate::Received => notes.received(session, numbers, None),
            Fate::Delivered => notes.delivered(session, numbers),
            Fate::Refused => fx.ignore(Ignored::QueueFull),
        });
    }

    /// Nothing of `session` from `end` on is delivered any more.
    fn tell_ended(&mut self, session: Session, end: Number, entries: &Entries) {
        let Some((_, numbers)) = entries.numbers() else { return };
        let delivered = Run::new(numbers.from, numbers.until.min(end));
        let lost = Run::new(numbers.from.max(end), numbers.until);
        if !delivered.is_empty() {
            self.notes.delivered(session, delivered);
        }
        if !lost.is_empty() {
            self.notes.lost(session, lost);
        }
    }

    /// Takes in values that arrived before one that had been lost, and that is here now.
    pub(super) fn join_early(&mut self, log: &DecidedLog) {
        while log.watermark() >= self.inherited_end
            && let Some(session) = self.queues.joining()
        {
            let room = self.room_for_parts(session, log);
            self.queues.join(session, room);
        }
    }

    /// What other sessions leave for values of `session` that travel in parts. Open values that
    /// were not continued for long do not count, starting with the one that delivery would give up
    /// first.
    fn room_for_parts(&self, session: Session, log: &DecidedLog) -> Begun {
        if log.watermark() < self.inherited_end {
            // It is not known yet what earlier leaders have let in.
            return Begun::default();
        }
        let (assemblies, admitted) = (log.assemblies(), self.settings.assembly.admitted());
        let (count, bytes) = assemblies.held();
        let mut open = Begun { count, bytes };
        let is_idle = |(other, _): &(Session, usize)| !self.queues.has(*other) && *other != session;
        let idle = assemblies.idle_below(self.idle.below()).take_while(is_idle);
        for bytes in idle.map(|(_, bytes)| bytes).chain(assemblies.announced_by(session)) {
            open = open.less(Begun { count: 1, bytes });
        }
        let admitted = Begun { count: admitted.count, bytes: admitted.bytes };
        admitted.less(open).less(self.queues.begun_by_others(session))
    }

    /// Drops the waiting values of sessions of which nothing is delivered any more, and tells those
    /// sessions whose position nobody knows any more.
    pub fn forget_ended(&mut self, log: &DecidedLog) {
        let over = self.queues.forget_if(|session, opened| {
            log.has_ended(session) || log.has_forgotten(session, opened)
        });
        for session in over.into_iter().filter(|session| !log.has_ended(*session)) {
            self.notes.forgotten(session);
        }
    }

    /// One interval between two heartbeats has passed.
    pub fn on_heartbeat_interval(&mut self, log: &DecidedLog) {
        if self.idle.tick(log.watermark()) {
            // Another's value may have ended a session of which nothing is under way.
            self.forget_ended(log);
        }
    }

    /// How much of `run`, from its beginning, is proposed or about to be proposed.
    pub(super) fn under_way_at(&self, run: Run<Instance>) -> Held {
        let unprepared = match &self.preparation {
            Preparation::Done => None,
            Preparation::PerInstance { unprepared, .. } => Some(unprepared.at(run)),
        };
        let mut end = run.until;
        for held in [self.phase2.at(run), self.waiting.at(run)].into_iter().chain(unprepared) {
            match held {
                Held::Entries(_) => return held,
                Held::Nothing(until) => end = end.min(until),
            }
        }
        Held::Nothing(end)
    }

    /// Remembers another session that asked for `instance`, to tell it who won. When there are too
    /// many, a client hears it when it asks again.
    pub(super) fn contend(&mut self, instance: Instance, session: Session, number: Number) {
        if self.contenders.len() < self.settings.request_queue {
            self.contenders.insert((instance, session, number));
        }
    }

    /// The instances of `page` are decided: tells those who asked for them and lost.
    pub(super) fn tell_contenders(&mut self, page: &Page) {
        if self.contenders.is_empty() {
            return; // Mostly nobody else asked.
        }
        let first_at = |instance| (instance, Session { client: 0, boot: 0 }, Number(0));
        let range = first_at(page.from)..first_at(page.run().until);
        let mut decided = page.from.numbering(&page.entries);
        let mut at = decided.next();
        while let Some(contender) = self.contenders.range(range.clone()).next().copied() {
            self.contenders.remove(&contender);
            let (instance, session, number) = contender;
            while at.is_some_and(|(decided, _)| decided < instance) {
                at = decided.next();
            }
            let winner = at.and_then(|(_, entry)| entry.origin());
            if winner.map(|origin| (origin.session, origin.number)) != Some((session, number)) {
                self.notes.lost(session, Run::new(number, number.next()));
            }
        }
    }
}
