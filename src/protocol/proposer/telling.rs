//! Telling learners and standbys what is decided, until a learner says that it holds it.

use super::Proposer;
use crate::protocol::actor::Effects;
use crate::protocol::message::{Decide, Message, Progress};
use crate::protocol::packing::pages;
use crate::protocol::retry::backoff;
use crate::protocol::timer::Timer;
use crate::protocol::types::{Ballot, Instance, Role, Run, Time};

/// What the leader knows of the learners: when to send Decides again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Learners {
    /// What the leading learner said last.
    pub acknowledged: Option<Progress>,
    /// How much was decided when it was looked at last: it should be acknowledged by now.
    pub due: u64,
    /// Looks in a row at which nothing had moved.
    pub tries: u32,
    /// Whether the timer is set.
    pub armed: bool,
}

impl Proposer {
    /// Sends Decides again from where the learners are, unless they have moved since the last
    /// look. It backs off, for there may be no learner.
    pub(super) fn on_retry_decide(&mut self, now: Time, fx: &mut Effects) {
        self.learners.armed = false;
        let Some(ballot) = self.own_ballot().filter(|_| self.is_leading()) else { return };
        let decided = self.log.progress().decided;
        let acknowledged = self.learners.acknowledged.map_or(0, |progress| progress.decided);
        if acknowledged >= decided {
            self.learners.tries = 0;
            return;
        }
        if acknowledged >= self.learners.due {
            self.learners.tries = 0;
        } else {
            self.learners.tries = self.learners.tries.saturating_add(1);
            let from = self.learners.acknowledged.map_or(Instance::FIRST, |held| held.watermark);
            let held = self.log.pages(Run::new(from, self.log.end()));
            // A little of it: a learner that lacks more catches up by itself.
            for page in pages(held, self.settings.entries_bytes()).take(2) {
                let decide = Decide { ballot, from: page.from, entries: page.entries };
                fx.send(Role::Learner, Message::Decide(decide));
            }
        }
        self.learners.due = decided;
        self.arm_retry_decide(now, fx);
    }

    fn arm_retry_decide(&mut self, now: Time, fx: &mut Effects) {
        let wait =
            backoff(self.settings.retry_decide, self.learners.tries, self.settings.retry_max);
        self.learners.armed = true;
        fx.set_timer(Timer::RetryDecide, now + wait);
    }

    /// Tells learners and standbys what was decided in this turn.
    pub(super) fn send_decides(&mut self, now: Time, ballot: Ballot, fx: &mut Effects) {
        if self.decided_now.is_empty() {
            return;
        }
        let mut decided = std::mem::take(&mut self.decided_now);
        decided.sort_unstable_by_key(|page| page.from);
        let has_standbys = self.election.has_company(now);
        for page in pages(decided.drain(..), self.settings.entries_bytes()) {
            let decide = Decide { ballot, from: page.from, entries: page.entries };
            if has_standbys {
                fx.send(Role::Proposer, Message::Decide(decide.clone()));
            }
            fx.send(Role::Learner, Message::Decide(decide));
        }
        self.decided_now = decided;
        if !self.options.no_timeouts && !self.learners.armed {
            self.learners.due = self.log.progress().decided;
            self.arm_retry_decide(now, fx);
        }
    }
}
