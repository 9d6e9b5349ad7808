//! How does a proposer become the leader, and how does it cease to be?
//!
//! When it should is decided by `election`, and what a promise says by `phase1`.

use log::{debug, info};

use super::leadership::Manner;
use super::phase1::PageOutcome;
use super::telling::Learners;
use super::{Phase, Proposer, ProposerOptions};
use crate::protocol::actor::{Effects, Ignored};
use crate::protocol::message::{Message, Nack, Promise};
use crate::protocol::parts::{Attempt, Leadership, News, Proposals};
use crate::protocol::retry::backoff;
use crate::protocol::timer::Timer;
use crate::protocol::types::{Ballot, Role, Time};

impl Proposer {
    /// Takes a ballot above everything heard of, and asks for promises.
    pub(super) fn campaign(&mut self, now: Time, fx: &mut Effects) {
        assert!(matches!(self.phase, Phase::Standby), "only a standby campaigns");
        self.hear_ballot(self.election.highest_ballot());
        self.round = self.round.saturating_add(1);
        let (proposer, boot) = (self.options.id, self.options.boot);
        let ballot = Ballot { round: self.round, proposer, boot };
        self.catch_up.stop(fx);
        info!("campaigns with {ballot} from {}", self.log.decided_below());
        let attempt = Attempt::new(ballot, self.log.decided_below(), None);
        fx.send(Role::Acceptor, Message::Prepare(attempt.prepare()));
        fx.set_timer(Timer::RetryPrepare, now + self.settings.retry_prepare);
        self.phase = Phase::Campaign { ballot, attempt, since: now, tries: 0 };
        self.election.set_office(now, true);
    }

    /// Stops leading, and forgets everything that only a leader needs. Clients ask the next one.
    /// Decisions that were not sent yet are known to others by then, or they find out.
    pub(super) fn step_down(&mut self, now: Time, fx: &mut Effects) {
        self.phase = Phase::Standby;
        self.news = News::default();
        self.learners = Learners::default();
        self.election.set_office(now, false);
        for timer in [
            Timer::RetryPrepare,
            Timer::RetryAccept,
            Timer::RetryDecide,
            Timer::CloseHoles,
            Timer::RequestAck,
        ] {
            fx.cancel_timer(timer);
        }
    }

    /// Campaigns now, even if this proposer or another one leads. For the model checker.
    pub fn take_over(&mut self, now: Time, fx: &mut Effects) {
        self.step_down(now, fx);
        self.campaign(now, fx);
    }

    pub(super) fn own_ballot(&self) -> Option<Ballot> {
        match &self.phase {
            Phase::Standby => None,
            Phase::Campaign { ballot, .. } => Some(*ballot),
            Phase::Leading(leadership) => Some(leadership.ballot()),
        }
    }

    pub(super) fn on_promise(
        &mut self,
        now: Time,
        acceptor: u32,
        promise: Promise,
        fx: &mut Effects,
    ) {
        match &mut self.phase {
            Phase::Standby => fx.ignore(Ignored::NotLeading),
            Phase::Leading(leadership) => {
                let decided = leadership.on_promise(now, acceptor, promise, &self.log, fx);
                self.on_found(now, decided, fx);
            }
            Phase::Campaign { attempt, tries, since, .. } => {
                match attempt.on_promise(acceptor, promise) {
                    PageOutcome::NotAsked => fx.ignore(Ignored::NotAsked),
                    PageOutcome::IsFollowed => {
                        (*tries, *since) = (0, now);
                        fx.set_timer(Timer::RetryPrepare, now + self.settings.retry_prepare);
                    }
                    PageOutcome::NextPage(next) => {
                        (*tries, *since) = (0, now);
                        let prepare = attempt.prepare_page(acceptor, next);
                        fx.send(Role::Acceptor, Message::Prepare(prepare));
                        fx.set_timer(Timer::RetryPrepare, now + self.settings.retry_prepare);
                    }
                    PageOutcome::Complete => {
                        if attempt.is_won(self.quorum) {
                            self.win_campaign(now, fx);
                        }
                    }
                }
            }
        }
    }

    /// A quorum has promised: starts to lead, beginning with what earlier leaders left behind.
    fn win_campaign(&mut self, now: Time, fx: &mut Effects) {
        let Phase::Campaign { ballot, attempt, .. } =
            std::mem::replace(&mut self.phase, Phase::Standby)
        else {
            unreachable!("only a campaign is won");
        };
        fx.cancel_timer(Timer::RetryPrepare);
        let promised = attempt.promised();
        info!("has promises of {} of {}", promised.count(), self.settings.acceptor_count);
        let ProposerOptions { no_timeouts, no_preexecution: per_instance, .. } = self.options;
        let how = Manner { settings: self.settings.clone(), no_timeouts, per_instance };
        self.log.note_first(attempt.trimmed());
        let (leadership, chosen) =
            Leadership::new(now, ballot, how, &self.log, attempt.into_reports());
        leadership.announce();
        self.followed = ballot;
        self.phase = Phase::Leading(Box::new(leadership));
        self.proposals = Proposals::default();
        self.learners = Learners { due: self.log.progress().decided, ..Learners::default() };
        self.on_found(now, chosen, fx);
    }

    /// One acceptor has promised a higher ballot. That alone is no reason to give up: the others
    /// may still be a quorum.
    pub(super) fn on_nack(&mut self, now: Time, acceptor: u32, nack: Nack, fx: &mut Effects) {
        if self.own_ballot() != Some(nack.rejected) || nack.promised <= nack.rejected {
            return fx.ignore(Ignored::StaleBallot);
        }
        if !self.hear_ballot(nack.promised) {
            return fx.ignore(Ignored::TooFarAhead);
        }
        debug!("{} is refused: {} is promised", nack.rejected, nack.promised);
        self.election.on_promised(acceptor, nack.promised);
        self.check_election(now, fx);
    }

    pub(super) fn on_retry_prepare(&mut self, now: Time, fx: &mut Effects) {
        match &mut self.phase {
            Phase::Standby => {}
            Phase::Leading(leadership) => leadership.on_retry_prepare(now, fx),
            Phase::Campaign { attempt, tries, .. } => {
                for prepare in attempt.unanswered(self.quorum) {
                    fx.sent_again += 1;
                    fx.send(Role::Acceptor, Message::Prepare(prepare));
                }
                *tries = tries.saturating_add(1);
                let wait = backoff(self.settings.retry_prepare, *tries, self.settings.retry_max);
                fx.set_timer(Timer::RetryPrepare, now + wait);
            }
        }
    }
}
