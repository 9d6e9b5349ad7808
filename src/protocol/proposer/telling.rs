//! Which process is told which decisions: learners and standbys, until a learner acknowledges them.
//!
//! Decisions made by this leader's own Accepts are sent as names, for the values have been heard;
//! all others are sent with their values. Names ride on an Accept of the same turn if there is one,
//! and never wait for one.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use super::Proposer;
use crate::protocol::actor::Effects;
use crate::protocol::decided_log::DecidedLog;
use crate::protocol::message::{Chosen, Decide, Message, Progress};
use crate::protocol::packing::{merge, pages, rest, runs_per_page};
use crate::protocol::retry::backoff;
use crate::protocol::segments::Page;
use crate::protocol::timer::Timer;
use crate::protocol::types::{Ballot, Few, Instance, Role, Run, Time};

/// How many runs above the watermark are named again with the next ones, since names may be lost.
const RUNS_REPEATED: usize = 8;

/// What the leader knows of the learners: when to name decisions again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Learners {
    /// What the leading learner said last.
    pub acknowledged: Option<Progress>,
    /// How many instances were decided at the last look; they should be acknowledged by now.
    pub due: u64,
    /// Consecutive looks at which nothing had moved.
    pub tries: u32,
    /// Whether the timer is set.
    pub armed: bool,
}

/// What was decided in this turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct News {
    /// Decided by this leader's own Accepts: sent as names.
    pub named: Vec<Run<Instance>>,
    /// Decided by Accepts of earlier leaders, as phase 1 found: sent with their values.
    pub found: Vec<Page>,
    /// The names to send now.
    pub names: Names,
    /// The runs named last above the watermark.
    recent: Vec<Run<Instance>>,
    /// Whether anything was decided in this turn.
    is_news: bool,
}

/// Names of decisions, on their way out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Names {
    /// Everything below it is decided: the watermark.
    pub until: Instance,
    /// What else is decided.
    pub runs: Few<Run<Instance>>,
    /// Whether it is news that was not sent yet.
    pub is_due: bool,
}

impl Default for Names {
    fn default() -> Self {
        Names { until: Instance::FIRST, runs: Few::new(), is_due: false }
    }
}

impl News {
    /// Puts the names of this turn together, once everything it decides is known.
    pub fn name(&mut self, log: &DecidedLog) {
        self.names.until = log.decided_below();
        self.names.is_due = !self.named.is_empty();
        self.is_news = self.names.is_due || !self.found.is_empty();
        if self.names.is_due {
            self.recent.append(&mut self.named);
            self.recent = merge(std::mem::take(&mut self.recent));
        }
        self.recent.retain(|run| run.until > log.watermark());
        self.names.runs.clear();
        if self.recent.is_empty() {
            return; // Mostly the watermark says it all.
        }
        self.names.runs.extend(self.recent.iter().copied());
        let most = self.recent.len().saturating_sub(RUNS_REPEATED);
        self.recent.drain(..most);
    }
}

impl Proposer {
    /// Sends the names again unless the learners have moved since the last look. It backs off, for
    /// there may be no learner.
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
            let limit = runs_per_page(self.settings.page_bytes());
            let (until, runs) = (
                self.log.decided_below(),
                self.log.decided(self.log.decided_below(), limit).into(),
            );
            fx.send(Role::Learner, Message::Chosen(Chosen { ballot, until, runs }));
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

    /// Sends the decisions of this turn that no Accept has carried.
    ///
    /// Standbys get names from Accepts and heartbeats alone: nobody waits for them.
    pub(super) fn tell(&mut self, now: Time, fx: &mut Effects) {
        let Some(ballot) = self.own_ballot().filter(|_| self.is_leading()) else { return };
        if self.news.names.is_due {
            let until = self.news.names.until;
            let limit = runs_per_page(self.settings.page_bytes());
            let mut runs = std::mem::take(&mut self.news.names.runs);
            while self.news.names.is_due {
                let rest = rest(&mut runs, limit);
                self.news.names.is_due = !rest.is_empty();
                fx.send(Role::Learner, Message::Chosen(Chosen { ballot, until, runs }));
                runs = rest;
            }
        }
        self.send_found(now, ballot, fx);
        let is_news = std::mem::take(&mut self.news.is_news);
        if is_news && !self.options.no_timeouts && !self.learners.armed {
            self.learners.due = self.log.progress().decided;
            self.arm_retry_decide(now, fx);
        }
    }

    /// Sends decided values that have no name. If there are more than one catch-up reply holds, the
    /// others learn of the rest from the watermark, and fetch it.
    fn send_found(&mut self, now: Time, ballot: Ballot, fx: &mut Effects) {
        let mut found = std::mem::take(&mut self.news.found);
        found.sort_unstable_by_key(|page| page.from);
        let has_standbys = self.election.has_company(now);
        let mut bytes = 0;
        for page in pages(found, self.settings.entries_bytes()) {
            bytes += page.entries.bytes();
            if bytes > self.settings.catch_up_bytes {
                return;
            }
            let decide = Decide { ballot, from: page.from, entries: page.entries };
            if has_standbys {
                fx.send(Role::Proposer, Message::Decide(decide.clone()));
            }
            fx.send(Role::Learner, Message::Decide(decide));
        }
    }
}
