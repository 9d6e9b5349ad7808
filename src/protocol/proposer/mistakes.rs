//! The proposer, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use super::{Phase, ProposerOptions};
use crate::bugs::{self, Bug};
use crate::protocol::actor::{Actor, Effects};
use crate::protocol::checkpoint::Limit;
use crate::protocol::message::{Heartbeat, Message, Standing};
use crate::protocol::parts::{Attempt, passes_on};
use crate::protocol::settings::Settings;
use crate::protocol::timer::Timer;
use crate::protocol::types::{Sender, Session, Time};
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

    /// See [`super::Proposer::limit`].
    pub fn limit(&mut self, now: Time, most: usize) {
        self.0.limit(now, most);
        self.forget_undecided(most);
    }

    /// See [`super::Proposer::trim`].
    pub fn trim(&mut self, now: Time) {
        self.0.trim(now);
        self.trim_undecided();
    }

    /// If it has written a checkpoint, it acts on that before it is decided.
    fn trim_undecided(&mut self) {
        let super::Proposer { phase: Phase::Leading(leadership), log, .. } = &mut self.0 else {
            return;
        };
        if let Some(keep) = leadership.take_undecided() {
            log.begin_at(keep);
        }
    }

    /// If there are more sessions than `most`, it acts on the limit before that is decided.
    fn forget_undecided(&mut self, most: usize) {
        let is_over = self.0.is_leading() && self.0.log.session_count() > most;
        if is_over && bugs::has(Bug::ForgetsUndecided) {
            self.0.log.limit_sessions(Limit { sessions: most as u64, is_sparing: false });
        }
    }

    /// If it leads, it takes `session` for finished.
    fn finish(&mut self, session: Session) {
        let super::Proposer { phase, log, settings, .. } = &mut self.0;
        if let Phase::Leading(leadership) = phase {
            leadership.finishing.note(session, log.next_number(session), log, settings);
        }
    }

    /// A leader takes what others have removed for something that it knows.
    fn lead_on(&mut self, from: Sender, message: &Message) {
        let super::Proposer { phase: Phase::Leading(_), log, .. } = &mut self.0 else { return };
        if let Message::Heartbeat(Heartbeat { announcement, progress, .. }) = message
            && bugs::has(Bug::LeadsOnBehind)
            && (announcement.standing, announcement.quorate) == (Standing::Leads, true)
        {
            // Then it is no news, and no reason to step down.
            log.note_forgotten(from.node, *progress);
        }
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
    passes_on!(on_start, on_input, on_calendar, on_stop, version, interest, figures);

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        let is_lost = matches!(message, Message::Fetch(_))
            && self.0.version_now(now) == Version::OLDEST
            && bugs::has(Bug::WaitsForFetchersInNewest);
        if is_lost {
            return;
        }
        if matches!(message, Message::Request(_)) && bugs::has(Bug::FinishesUnasked) {
            self.finish(Session { client: from.node.id, boot: from.boot });
        }
        self.lead_on(from, &message);
        self.0.on_message(now, from, message, fx);
        if bugs::has(Bug::DeafToDecideAcks) {
            self.learners.acknowledged = None;
        }
        self.reuse_ballots(fx);
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        self.0.on_turn_end(now, fx);
        self.trim_undecided();
        self.forget_undecided(self.0.settings.sessions * 5 / 4);
    }

    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects) {
        self.0.on_timer(now, timer, fx);
        self.reuse_ballots(fx);
    }
}
