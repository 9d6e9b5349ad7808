//! The acceptor with deliberate bugs; see `protocol::parts`.

use std::mem;
use std::ops::Deref;

use crate::bugs::{self, Bug};
use crate::protocol::actor::{Actor, Effects, Ignored, Record, Room};
use crate::protocol::message::{Accept, Heartbeat, Message, Prepare, Progress};
use crate::protocol::parts::passes_on;
use crate::protocol::recall::Reading;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Ballot, Counted, Few, Instance, NodeId, Role, Sender, Time, To};

/// [`super::Acceptor`], but for its mistakes, and the instance above all votes that it has cast
/// since it was started, if that matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acceptor(super::Acceptor, Instance);

impl Deref for Acceptor {
    type Target = super::Acceptor;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Acceptor {
    /// See [`super::Acceptor::new`].
    pub fn new(id: u32, incarnation: u64, settings: Settings) -> Self {
        Acceptor(super::Acceptor::new(id, incarnation, settings), Instance::FIRST)
    }

    /// See [`super::Acceptor::restore`].
    pub fn restore(&mut self, record: Record) {
        let is_lost = match record {
            Record::Promised(_) => bugs::has(Bug::ForgetsPromises),
            Record::Accepted { .. } => bugs::has(Bug::ForgetsVotes),
            Record::Trimmed(_) => bugs::has(Bug::ForgetsTrimming),
            Record::Forgotten(_) => false,
        };
        if !is_lost {
            self.0.restore(record);
        }
    }

    fn on_prepare(&mut self, prepare: Prepare, fx: &mut Effects) {
        let (sent, mut late) = (fx.send.len(), Few::new());
        if bugs::has(Bug::AnswersUnderNextBallot) {
            late = mem::take(&mut self.0.unanswered);
        }
        let is_let_in = bugs::has(Bug::AnswersBelowPromise);
        self.handle(prepare.ballot, is_let_in, fx, |acceptor, fx| acceptor.on_prepare(prepare, fx));
        self.0.unanswered.extend(late);
        for (_, message) in &mut fx.send[sent..] {
            let Message::Promise(promise) = message else { continue };
            if bugs::has(Bug::ReportsTrimmedAsEmpty) {
                promise.trimmed = Instance::FIRST;
            }
            if bugs::has(Bug::BeginsAtHalfACheckpoint) && self.0.settings.hold_bytes.is_some() {
                promise.trimmed = promise.trimmed.max(self.0.said_of(|head| Some(head.keep)));
            }
            if bugs::has(Bug::ReportsOneInstance) {
                promise.accepted.truncate(1);
                promise.next = None;
            }
        }
    }

    fn on_accept(&mut self, accept: Accept, fx: &mut Effects) {
        if bugs::has(Bug::RefusesControlOnFullDisks) && self.room > Room::Ample {
            return fx.ignore(Ignored::DiskFull);
        }
        let (promised, unanswered) = (self.promised, self.unanswered.len());
        let until = accept.from.plus(accept.entries.len() as u64);
        let is_let_in = bugs::has(Bug::AnswersBelowPromise)
            || bugs::has(Bug::VotesForTrimmed) && until <= self.forgotten;
        self.handle(accept.ballot, is_let_in, fx, |acceptor, fx| {
            let forgotten = acceptor.forgotten;
            if bugs::has(Bug::AcceptsTrimmed) {
                acceptor.forgotten = Instance::FIRST;
            }
            acceptor.on_accept(accept, fx);
            acceptor.forgotten = forgotten;
        });
        if bugs::has(Bug::ForgetsHighestVote) {
            let ends = self.unanswered.iter().map(|run| run.until);
            self.1 = ends.fold(self.1, Instance::max);
        }
        if bugs::has(Bug::AcceptKeepsPromise) && self.promised > promised {
            self.0.answer_accepts(fx);
            self.0.promised = promised;
        }
        if bugs::has(Bug::AnswersAcceptsOnce) && fx.persist.is_empty() {
            self.0.unanswered.truncate(unanswered);
        }
    }

    /// Handles a question in this ballot, which may be let in though a higher one is promised.
    fn handle(
        &mut self,
        ballot: Ballot,
        is_let_in: bool,
        fx: &mut Effects,
        handler: impl FnOnce(&mut super::Acceptor, &mut Effects),
    ) {
        let promised = self.promised;
        if ballot >= promised || !is_let_in {
            return handler(&mut self.0, fx);
        }
        self.0.answer_accepts(fx);
        self.0.promised = ballot;
        handler(&mut self.0, fx);
        self.0.answer_accepts(fx);
        self.0.promised = promised;
    }

    /// A learner asks for votes that are on the disk.
    fn read_less(&self, readings: &mut [Reading]) {
        if bugs::has(Bug::RecallsOnlyForgotten) {
            readings.iter_mut().for_each(|reading| reading.known = self.0.forgotten);
        }
    }

    /// A reader was answered.
    fn correct(&self, replies: &mut [(To, Message)]) {
        for (_, message) in replies {
            if let Message::ReadReply(reply) = message
                && bugs::has(Bug::ForgetsHighestVote)
            {
                reply.end = self.1;
            }
        }
    }

    /// A heartbeat with this progress was heard.
    fn believe(&mut self, progress: Progress, fx: &mut Effects) {
        let Progress { trimmed, first, watermark, .. } = progress;
        if first > watermark {
            return;
        }
        if bugs::has(Bug::TrimsOnHearsay) && trimmed > self.trimmed {
            self.0.trimmed = trimmed;
            self.0.forget(trimmed);
            fx.persist.push(Record::Trimmed(trimmed));
        }
        let may_forget = self.settings.hold_bytes.is_some();
        if bugs::has(Bug::ForgetsOnHearsay) && may_forget && first > self.forgotten {
            self.0.forget(first);
            fx.persist.push(Record::Forgotten(first));
        }
    }
}

/// Sends the answers of a turn elsewhere.
fn misdirect(fx: &mut Effects) {
    for (to, message) in &mut fx.send {
        let ballot = match message {
            Message::Promise(promise) => promise.ballot,
            Message::Accepted(accepted) => accepted.ballot,
            Message::Nack(nack) => nack.rejected,
            _ => continue,
        };
        match to {
            To::Group(_) if bugs::has(Bug::NeverAsksTheGroup) && ballot > Ballot::ZERO => {
                *to = To::Node(NodeId::new(Role::Proposer, ballot.proposer));
            }
            To::Node(owner) if bugs::has(Bug::AnswersTheWrong) => owner.id += 1,
            To::Group(_) | To::Node(_) => {}
        }
    }
}

impl Actor for Acceptor {
    passes_on!(on_start, on_timer, on_input, on_room, version, interest, figures);

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        match message {
            Message::Prepare(prepare) => self.on_prepare(prepare, fx),
            Message::Accept(accept) => self.on_accept(accept, fx),
            Message::Heartbeat(Heartbeat { progress, .. }) => {
                self.0.on_message(now, from, message, fx);
                self.believe(progress, fx);
            }
            Message::Recall(_) => {
                self.0.on_message(now, from, message, fx);
                self.read_less(&mut fx.read);
            }
            Message::ReadRequest(_) => {
                let sent = fx.send.len();
                self.0.on_message(now, from, message, fx);
                self.correct(&mut fx.send[sent..]);
            }
            _ => self.0.on_message(now, from, message, fx),
        }
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        self.0.on_turn_end(now, fx);
        misdirect(fx);
    }
}
