//! The proposer, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use super::{Phase, ProposerOptions};
use crate::bugs::{self, Bug};
use crate::protocol::actor::{Actor, Effects};
use crate::protocol::message::Message;
use crate::protocol::parts::{Attempt, passes_on};
use crate::protocol::settings::Settings;
use crate::protocol::timer::Timer;
use crate::protocol::types::{Sender, Time};
use crate::protocol::versions::Version;

/// [`super::Proposer`], but for its mistakes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposer(super::Proposer);

impl Deref for Proposer {
    type Target = super::Proposer;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Proposer {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Proposer {
    /// See [`super::Proposer::new`].
    pub fn new(options: ProposerOptions, settings: Settings) -> Self {
        Proposer(super::Proposer::new(options, settings))
    }

    /// See [`super::Proposer::take_over`].
    pub fn take_over(&mut self, now: Time, fx: &mut Effects) {
        self.0.take_over(now, fx);
        self.reuse_ballots(fx);
    }

    /// If a campaign has begun, its ballot is that of an earlier incarnation.
    fn reuse_ballots(&mut self, fx: &mut Effects) {
        let Phase::Campaign { ballot, attempt, .. } = &mut self.0.phase else { return };
        if ballot.boot == 0 || !bugs::has(Bug::ReusesBallots) {
            return;
        }
        let (from, until) = attempt.bounds();
        for (_, message) in &mut fx.send {
            if let Message::Prepare(prepare) = message
                && prepare.ballot == *ballot
            {
                prepare.ballot.boot = 0;
            }
        }
        ballot.boot = 0;
        *attempt = Attempt::new(*ballot, from, until);
    }
}

impl Actor for Proposer {
    passes_on!(on_start, on_input, on_calendar, on_turn_end, on_stop, version, interest, figures);

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        let is_lost = matches!(message, Message::Fetch(_))
            && self.0.version_now(now) == Version::OLDEST
            && bugs::has(Bug::WaitsForFetchersInNewest);
        if is_lost {
            return;
        }
        self.0.on_message(now, from, message, fx);
        if bugs::has(Bug::DeafToDecideAcks) {
            self.learners.acknowledged = None;
        }
        self.reuse_ballots(fx);
    }

    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects) {
        self.0.on_timer(now, timer, fx);
        self.reuse_ballots(fx);
    }
}
