//! The sessions that delivery knows, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use super::Position;
use crate::bugs::{self, Bug};
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

    /// See [`super::Sessions::forget_all_but`].
    pub fn forget_all_but(&mut self, count: usize) -> Vec<Session> {
        self.turn_round();
        let forgotten = self.0.forget_all_but(count);
        self.turn_round();
        forgotten
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
