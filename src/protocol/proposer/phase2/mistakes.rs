//! Phase 2 with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use crate::bugs::{self, Bug};
use crate::protocol::actor::Effects;
use crate::protocol::message::Accepted;
use crate::protocol::parts::Quorum;
use crate::protocol::proposer::telling::Names;
use crate::protocol::segments::Page;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Ballot, Few, Time};

/// [`super::Phase2`], but for its mistakes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Phase2(super::Phase2);

impl Deref for Phase2 {
    type Target = super::Phase2;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Phase2 {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// A quorum of this many.
fn quorum_of(needed: u32) -> Quorum {
    Quorum::majority_of(2 * needed - 1)
}

impl Phase2 {
    /// See [`super::Phase2::new`].
    pub fn new(ballot: Ballot, quorum: Quorum, sends_again: bool, settings: &Settings) -> Self {
        let quorum = if bugs::has(Bug::OneVoteIsEnough) {
            quorum_of(1)
        } else if bugs::has(Bug::WaitsForSlowMinority) {
            quorum_of(quorum.acceptors().count() as u32)
        } else {
            quorum
        };
        Phase2(super::Phase2::new(ballot, quorum, sends_again, settings))
    }

    /// See [`super::Phase2::on_accepted`].
    pub fn on_accepted(
        &mut self,
        now: Time,
        acceptor: u32,
        accepted: &Accepted,
        settings: &Settings,
        fx: &mut Effects,
    ) -> Few<Page> {
        let mut accepted = accepted.clone();
        if bugs::has(Bug::CountsOtherBallots) {
            accepted.ballot = self.ballot;
        }
        self.0.on_accepted(now, acceptor, &accepted, settings, fx)
    }

    /// See [`super::Phase2::send`].
    pub fn send(&mut self, now: Time, names: &mut Names, settings: &Settings, fx: &mut Effects) {
        if bugs::has(Bug::NeverRetriesAccepts) {
            self.again.clear();
            self.late.clear();
            self.count_unsent();
        }
        if bugs::has(Bug::NamesBeforeQuorum) {
            names.runs.extend(self.0.fresh.iter().copied());
        }
        let mut settings = settings.clone();
        if bugs::has(Bug::OverfillsDatagrams) {
            settings.datagram_bytes *= 2;
        }
        self.0.send(now, names, &settings, fx);
    }
}
