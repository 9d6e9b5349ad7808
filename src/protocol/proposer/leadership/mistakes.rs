//! What a proposer holds while it leads, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use crate::bugs::{self, Bug};
use crate::protocol::actor::Effects;
use crate::protocol::checkpoint::{Checkpoint, History};
use crate::protocol::decided_log::DecidedLog;
use crate::protocol::entries::Entries;
use crate::protocol::proposer::phase1::Report;
use crate::protocol::proposer::telling::Names;
use crate::protocol::segments::{Page, Segments};
use crate::protocol::types::{Ballot, Instance, Time};

/// [`super::Leadership`], but for its mistakes, and where the log may begin by a checkpoint that it
/// has just written, if that matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leadership(super::Leadership, Option<Instance>);

impl Deref for Leadership {
    type Target = super::Leadership;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Leadership {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Leadership {
    /// See [`super::Leadership::new`].
    pub fn new(
        now: Time,
        ballot: Ballot,
        how: super::Manner,
        log: &DecidedLog,
        reports: Segments<Report>,
    ) -> (Self, Vec<Page>) {
        let (leadership, chosen) = super::Leadership::new(now, ballot, how, log, reports);
        (Leadership(leadership, None), chosen)
    }

    /// See [`super::Leadership::on_decided`].
    pub fn on_decided(&mut self, page: &Page) -> bool {
        self.0.on_decided(page) && !bugs::has(Bug::LeadsAgainstDecisions)
    }

    /// See [`super::Leadership::on_close_holes`].
    pub fn on_close_holes(&mut self, log: &DecidedLog) {
        let closing = self.closing;
        self.0.on_close_holes(log);
        if bugs::has(Bug::LeavesHoles) {
            self.closing = closing;
        }
    }

    /// See [`super::Leadership::write`].
    pub fn write(&mut self, checkpoint: &Checkpoint, history: History) {
        self.0.write(checkpoint, history);
        self.1 = Some(checkpoint.head.keep).filter(|_| bugs::has(Bug::TrimsUndecided));
    }

    /// Where the log is trimmed though nobody but this leader has seen the checkpoint.
    pub fn take_undecided(&mut self) -> Option<Instance> {
        self.1.take()
    }

    /// See [`super::Leadership::on_turn_end`].
    pub fn on_turn_end(
        &mut self,
        now: Time,
        log: &DecidedLog,
        quorate: bool,
        names: &mut Names,
        fx: &mut Effects,
    ) {
        if bugs::has(Bug::ClosesHolesBlindly) {
            self.close_blindly(log);
        }
        let is_full = self.is_full;
        self.is_full &= !bugs::has(Bug::IgnoresFullDisks);
        self.0.on_turn_end(now, log, quorate, names, fx);
        self.is_full = is_full;
    }

    /// Closes every undecided instance, even if something is pending there.
    fn close_blindly(&mut self, log: &DecidedLog) {
        for hole in log.missing(self.closing.from, self.closing.until, usize::MAX) {
            let entries = Entries::noops(hole.len() as u32);
            self.waiting.insert(Page { from: hole.from, entries }, ());
            self.closing.from = hole.until;
        }
    }
}
