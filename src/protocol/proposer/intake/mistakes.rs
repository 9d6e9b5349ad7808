//! What clients have left to the leader to place, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use crate::bugs::{self, Bug};
use crate::protocol::segments::Page;
use crate::protocol::types::{Instance, Number, Session};

/// [`super::Queues`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Queues(super::Queues);

impl Deref for Queues {
    type Target = super::Queues;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Queues {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Queues {
    /// See [`super::Queues::propose_next`].
    pub fn propose_next(&mut self, count: usize, instance: Instance) -> Option<Page> {
        let session = self.ready.front().copied();
        let page = self.0.propose_next(count, instance);
        if bugs::has(Bug::ForgetsTurns) {
            self.ready.retain(|ready| Some(*ready) != session);
        }
        page
    }

    /// See [`super::Queues::on_skipped`].
    pub fn on_skipped(&mut self, session: Session, instance: Instance) {
        if !bugs::has(Bug::ForgetsSkipped) {
            self.0.on_skipped(session, instance);
        }
    }

    /// See [`super::Queues::propose_again_from`].
    pub fn propose_again_from(&mut self, session: Session, number: Number) {
        if !bugs::has(Bug::ForgetsSkipped) {
            self.0.propose_again_from(session, number);
        }
    }
}
