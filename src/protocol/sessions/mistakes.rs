//! The sessions that delivery knows, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use super::Position;
use crate::bugs::{self, Bug};
use crate::protocol::checkpoint::Limit;
use crate::protocol::types::{Instance, Origin, Session};

/// [`super::Sessions`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sessions(super::Sessions);

impl Deref for Sessions {
    type Target = super::Sessions;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Sessions {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Sessions {
    /// See [`super::Sessions::new`].
    pub fn new() -> Self {
        Self::default()
    }

    /// See [`super::Sessions::restored`].
    pub fn restored(positions: Vec<(Session, Position)>, horizon: Instance) -> Self {
        Sessions(super::Sessions::restored(positions, horizon))
    }

    /// See [`super::Sessions::begin`].
    pub fn begin(&mut self, instance: Instance, mut origin: Origin) -> Option<&mut Position> {
        if bugs::has(Bug::BeginsForgotten) {
            origin.opened = origin.opened.max(self.horizon);
        }
        self.0.begin(instance, origin)
    }

    /// See [`super::Sessions::forget`].
    pub fn forget(&mut self, mut limit: Limit) -> Vec<Session> {
        limit.is_sparing &= !bugs::has(Bug::SparesNobody);
        self.turn_round();
        self.move_finished(u64::wrapping_sub);
        let forgotten = self.0.forget(limit);
        self.move_finished(u64::wrapping_add);
        self.turn_round();
        forgotten
    }

    /// Moves what is not finished far away from what is.
    fn move_finished(&mut self, by: impl Fn(u64, u64) -> u64) {
        if bugs::has(Bug::ForgetsAnyFinished) {
            let others = self.positions.values_mut().filter(|position| !position.has_ended);
            others.for_each(|position| position.last.0 = by(position.last.0, 1 << 63));
        }
    }

    /// Reverses the order in which sessions were last active.
    fn turn_round(&mut self) {
        if bugs::has(Bug::ForgetsNewest) {
            for position in self.positions.values_mut() {
                position.last = Instance(u64::MAX - position.last.0);
            }
        }
    }
}
