//! Phase 1 with deliberate bugs; see `protocol::parts`.

use std::collections::BTreeMap;
use std::ops::Deref;

use super::{PageOutcome, Report};
use crate::bugs::{self, Bug};
use crate::protocol::message::Promise;
use crate::protocol::parts::Quorum;
use crate::protocol::types::{Ballot, Instance};

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
            promise.accepted.retain(|accepted| !self.reports.contains_key(&accepted.instance));
        }
        let (is_first, least) = (self.pages.is_empty(), self.trimmed.min(promise.trimmed));
        let outcome = self.0.on_promise(acceptor, promise);
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
    pub fn into_reports(self) -> BTreeMap<Instance, Report> {
        let mut reports = self.0.into_reports();
        if bugs::has(Bug::SkipsReports) {
            reports.clear();
        }
        if bugs::has(Bug::DecidesReports) {
            let voters = reports.values_mut().map(|report| &mut report.voters);
            voters.for_each(|voters| (1..=64).for_each(|acceptor| voters.vote(acceptor)));
        }
        reports
    }
}
