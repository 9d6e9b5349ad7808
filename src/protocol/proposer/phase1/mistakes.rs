//! Phase 1 with deliberate bugs; see `protocol::parts`.

use std::ops::Deref;

use super::{PageOutcome, Report};
use crate::bugs::{self, Bug};
use crate::protocol::message::Promise;
use crate::protocol::parts::Quorum;
use crate::protocol::segments::Segments;
use crate::protocol::types::{Ballot, Instance, Run};

/// [`super::Attempt`], but for its mistakes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt(super::Attempt);

impl Deref for Attempt {
    type Target = super::Attempt;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Attempt {
    /// See [`super::Attempt::new`].
    pub fn new(ballot: Ballot, from: Instance, until: Option<Instance>) -> Self {
        Attempt(super::Attempt::new(ballot, from, until))
    }

    /// See [`super::Attempt::on_promise`].
    pub fn on_promise(&mut self, acceptor: u32, mut promise: Promise) -> PageOutcome {
        if bugs::has(Bug::CountsStalePromises) {
            promise.ballot = self.ballot;
        }
        if bugs::has(Bug::ForgetsLaterPages) {
            promise.next = None;
        }
        if bugs::has(Bug::KeepsAnyReport) {
            promise.accepted.retain(|accepted| !self.reports.overlaps(accepted.page.run()));
        }
        let (is_first, least) = (self.told.is_empty(), self.trimmed.min(promise.trimmed));
        let is_last = promise.next.is_none();
        let mut outcome = self.0.on_promise(acceptor, promise);
        let lacks_pages = matches!(outcome, PageOutcome::NextPage(_));
        if bugs::has(Bug::LastPageIsEnough) && lacks_pages && is_last {
            self.0.complete.vote(acceptor);
            outcome = PageOutcome::Complete;
        }
        if bugs::has(Bug::TakesLeastTrimmed) && !is_first && outcome != PageOutcome::NotAsked {
            self.0.trimmed = least;
        }
        outcome
    }

    /// See [`super::Attempt::is_won`].
    pub fn is_won(&self, quorum: Quorum) -> bool {
        self.0.is_won(quorum) || bugs::has(Bug::OnePromiseIsEnough)
    }

    /// See [`super::Attempt::into_reports`].
    pub fn into_reports(self) -> Segments<Report> {
        let mut reports = self.0.into_reports();
        let all = Run::new(Instance::FIRST, Instance(u64::MAX));
        if bugs::has(Bug::SkipsReports) {
            reports = Segments::new();
        }
        if bugs::has(Bug::DecidesReports) {
            reports.change(all, |_, _, report| {
                (1..=64).for_each(|acceptor| report.voters.vote(acceptor));
            });
        }
        reports
    }
}
