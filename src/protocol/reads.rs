//! How far must a read wait, to see everything that was decided before it began? The answer needs
//! no leader, no clock, and no decision of its own (Charapko, Ailijiang and Demirbas, "Linearizable
//! Quorum Reads in Paxos", `HotStorage` 2019).
//!
//! A learner asks each acceptor where the part of the log ends that it has accepted, and waits
//! until it has handed out everything below the answers of a majority:
//!
//! 1. What was decided when the read began had been accepted, and stored, by a majority before.
//! 2. The question leaves after the read began. Two majorities share an acceptor, and its answer
//!    lies above everything it had accepted: its end never goes back, even if its log is trimmed or
//!    it is restarted. One that lost its data is not counted.
//! 3. So the highest answer of a majority lies above everything that was decided when the read
//!    began. That holds for any majority: of several, the lowest such answer will do.
//! 4. Everything the read sees there is decided, so it lies below the answers to every later
//!    question, and no later read sees less.
//!
//! A read that comes while a question is under way waits for the next one, or 2 would not hold.
//! Each try has a count of its own, and only answers to the last one count. An answer that suffices
//! for a later question suffices for earlier reads as well.
//!
//! Entries that only a minority has accepted, those of a dead leader, may be decided late or never.
//! Nor do learners hand out entries above holes between client-assigned instances. So a read is
//! given up after a while, and for a while no other question is asked: reads must then go through
//! the log, each by an entry that is decided after it began.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use log::debug;

use super::actor::{Delivery, Effects, Ignored};
use super::message::{Message, ReadReply, ReadRequest};
use super::parts::Quorum;
use super::retry::RoundTrip;
use super::settings::Settings;
use super::timer::Timer;
use super::types::{Instance, Role, Sender, Time};

/// How many answers may wait for the log to reach them: further ones take the place of the last.
const PLACED_MAX: usize = 64;

/// The reads of one learner that are not served yet. Their numbers grow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reads {
    boot: u64,
    /// How many questions were asked.
    count: u64,
    /// The last read, if no question was asked since it came.
    waiting: Option<u64>,
    /// The last question, until the reads it was asked for are served.
    question: Option<Question>,
    /// The results of earlier questions, in their order, which is also that of their instances.
    placed: VecDeque<Placed>,
    /// What was heard of each acceptor.
    lives: BTreeMap<u32, Life>,
    round_trip: RoundTrip,
    /// Nothing is asked until then, for it would be in vain.
    rests_until: Time,
    /// What the timer is set to.
    armed: Option<Time>,
}

/// A question that was asked for the reads up to number `last`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    last: u64,
    asked: Time,
    /// How often it was asked before.
    tries: u32,
    /// The answers to the last try.
    ends: BTreeMap<u32, Instance>,
    /// When a majority had answered.
    answered: Option<Time>,
}

/// The reads up to number `last` wait for everything below `barrier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Placed {
    last: u64,
    barrier: Instance,
    /// For how long.
    since: Time,
}

/// What was heard from an acceptor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Life {
    incarnation: u64,
    /// The highest end that it has reported.
    end: Instance,
}

impl Reads {
    /// No reads yet, of a learner with boot number `boot`.
    pub fn new(boot: u64) -> Self {
        Reads {
            boot,
            count: 0,
            waiting: None,
            question: None,
            placed: VecDeque::new(),
            lives: BTreeMap::new(),
            round_trip: RoundTrip::default(),
            rests_until: Time::ZERO,
            armed: None,
        }
    }

    /// All reads up to number `last` have come.
    pub fn on_read(&mut self, last: u64) {
        self.waiting = self.waiting.max(Some(last));
    }

    /// An acceptor says where the part of the log ends that it has accepted.
    pub fn on_reply(
        &mut self,
        now: Time,
        from: Sender,
        reply: &ReadReply,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let acceptor = from.node.id;
        let quorum = Quorum::majority_of(settings.acceptor_count);
        if !quorum.includes(acceptor) {
            return fx.ignore(Ignored::ImpossibleSender);
        }
        let is_last = (reply.boot, reply.count) == (self.boot, self.count);
        if !is_last {
            return; // Of an earlier try, or for another learner.
        }
        let Some(question) = &mut self.question else { return };
        if question.ends.contains_key(&acceptor) {
            return;
        }
        if !admit(&mut self.lives, from, reply.end) {
            return fx.ignore(Ignored::OtherIncarnation);
        }
        question.ends.insert(acceptor, reply.end);
        if question.answered.is_none() && question.placed(quorum).is_some() {
            question.answered = Some(now);
            match question.tries {
                0 => self.round_trip.measure(question.asked, now),
                _ => self.round_trip.answer(),
            }
        }
    }

    /// Asks, serves or gives up reads, as is due. Everything below `watermark` was handed out.
    pub fn on_turn_end(
        &mut self,
        now: Time,
        watermark: Instance,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let quorum = Quorum::majority_of(settings.acceptor_count);
        self.serve(watermark, quorum, fx);
        self.give_up(now, settings, fx);
        if self.needs_question(now, settings) {
            self.ask(now, quorum, fx);
        }
        let deadline = self.deadline(settings);
        if self.armed != deadline {
            self.armed = deadline;
            match deadline {
                Some(deadline) => fx.set_timer(Timer::Read, deadline),
                None => fx.cancel_timer(Timer::Read),
            }
        }
    }

    /// The timer is due. The work is done at the end of the turn.
    pub fn on_timer(&mut self) {
        self.armed = None;
    }

    fn serve(&mut self, watermark: Instance, quorum: Quorum, fx: &mut Effects) {
        let newest = self.question.as_ref().and_then(|question| question.placed(quorum));
        let all = self.placed.iter().copied().chain(newest);
        let reached = all.filter(|placed| placed.barrier <= watermark);
        let Some(last) = reached.map(|placed| placed.last).max() else { return };
        fx.deliver.push(Delivery::Readable(last));
        self.forget(last);
    }

    /// Reads up to number `last` wait for nothing any more.
    fn forget(&mut self, last: u64) {
        self.placed.retain(|placed| placed.last > last);
        self.question.take_if(|question| question.last <= last);
        self.waiting.take_if(|waiting| *waiting <= last);
    }

    /// Leaves to the log the reads that have waited for too long; for a while after that, all
    /// reads.
    fn give_up(&mut self, now: Time, settings: &Settings, fx: &mut Effects) {
        let patience = self.patience(settings);
        let placed = self.placed.iter().rev().find(|placed| now >= placed.since + patience);
        let question = self.question.as_ref().filter(|question| match question.answered {
            Some(answered) => now >= answered + patience,
            None => question.tries > 0 && now >= question.asked + self.timeout(settings),
        });
        let over = placed.map(|placed| placed.last).max(question.map(|question| question.last));
        if over.is_some() {
            self.rests_until = now + settings.progress_timeout;
        }
        let waiting = self.waiting.filter(|_| now < self.rests_until);
        let Some(last) = over.max(waiting) else { return };
        fx.deliver.push(Delivery::Unreadable(last));
        self.forget(last);
    }

    /// How long the log may take to reach the answer.
    fn patience(&self, settings: &Settings) -> Duration {
        settings.hole_delay + self.timeout(settings) * 2
    }

    fn timeout(&self, settings: &Settings) -> Duration {
        let (first, most) = (settings.retry_catch_up, settings.retry_max);
        self.round_trip.timeout(first, first, most)
    }

    /// Whether to ask: reads wait and the last question is answered, or it was not answered in
    /// time.
    fn needs_question(&mut self, now: Time, settings: &Settings) -> bool {
        let timeout = self.timeout(settings);
        match &self.question {
            Some(question) if question.answered.is_none() => {
                let is_late = now >= question.asked + timeout;
                if is_late {
                    self.round_trip.miss(now, timeout);
                }
                is_late
            }
            Some(_) | None => self.waiting.is_some(),
        }
    }

    /// Asks for all waiting reads. A question that was not answered is asked anew, and covers them
    /// as well.
    fn ask(&mut self, now: Time, quorum: Quorum, fx: &mut Effects) {
        let (mut last, mut tries) = (self.waiting.take(), 0);
        if let Some(before) = self.question.take() {
            if let Some(placed) = before.placed(quorum) {
                self.place(placed);
            } else {
                (last, tries) = (last.max(Some(before.last)), before.tries + 1);
            }
        }
        let Some(last) = last else { return };
        self.count += 1;
        let (ends, answered) = (BTreeMap::new(), None);
        self.question = Some(Question { last, asked: now, tries, ends, answered });
        let (count, again) = (self.count, tries > 0);
        fx.send(Role::Acceptor, Message::ReadRequest(ReadRequest { count, again }));
        fx.sent_again += u64::from(again);
    }

    /// Adds reads that wait for the log. Earlier ones that wait for as much, or more, join them.
    fn place(&mut self, mut placed: Placed) {
        while let Some(before) = self.placed.back()
            && (before.barrier >= placed.barrier || self.placed.len() >= PLACED_MAX)
        {
            placed.since = before.since;
            self.placed.pop_back();
        }
        self.placed.push_back(placed);
    }

    /// When to act if nothing else happens.
    fn deadline(&self, settings: &Settings) -> Option<Time> {
        let (patience, timeout) = (self.patience(settings), self.timeout(settings));
        let placed = self.placed.front().map(|placed| placed.since + patience);
        let question = self.question.as_ref().map(|question| match question.answered {
            Some(answered) => answered + patience,
            None => question.asked + timeout,
        });
        placed.into_iter().chain(question).min()
    }
}

impl Question {
    /// The lowest place that a majority allows.
    fn placed(&self, quorum: Quorum) -> Option<Placed> {
        let mut ends: Vec<Instance> = self.ends.values().copied().collect();
        ends.sort_unstable();
        let barrier = *ends.get(quorum.needed() as usize - 1)?;
        Some(Placed { last: self.last, barrier, since: self.answered.unwrap_or(self.asked) })
    }
}

/// Whether this acceptor is the one heard first under its id, and still has everything it has
/// reported. As in `proposer/incarnations.rs`, this is a guard and no proof.
fn admit(lives: &mut BTreeMap<u32, Life>, from: Sender, end: Instance) -> bool {
    let (incarnation, acceptor) = (from.boot, from.node.id);
    let life = lives.entry(acceptor).or_insert(Life { incarnation, end });
    let is_whole = life.incarnation == incarnation && life.end <= end;
    if !is_whole {
        debug!("acceptor {acceptor} lost what it had accepted: reads do not count its answers");
        return false;
    }
    life.end = end;
    true
}
