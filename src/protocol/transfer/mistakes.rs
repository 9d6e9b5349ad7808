//! A learner that fetches a snapshot, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use crate::bugs::{self, Bug};
use crate::protocol::actor::{Effects, Halt};
use crate::protocol::message::{Chunk, StateKind};
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, NodeId, Time};

/// [`super::Fetching`], but for its mistakes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fetching(super::Fetching);

impl Deref for Fetching {
    type Target = super::Fetching;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Fetching {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Fetching {
    /// See [`super::Fetching::new`].
    pub fn new(kind: StateKind, first: Instance, log: u64) -> Self {
        let log = if bugs::has(Bug::FetchesOtherLog) { 0 } else { log };
        Fetching(super::Fetching::new(kind, begin(first), log))
    }

    /// See [`super::Fetching::on_turn_end`].
    pub fn on_turn_end(
        &mut self,
        now: Time,
        first: Instance,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        self.0.on_turn_end(now, begin(first), settings, fx);
    }

    /// See [`super::Fetching::in_vain`].
    pub fn in_vain(&self, first: Instance) -> Halt {
        if bugs::has(Bug::HidesLaterSnapshots) {
            return Halt::NoSnapshot(first);
        }
        self.0.in_vain(first)
    }

    /// See [`super::Fetching::on_chunk`].
    pub fn on_chunk(
        &mut self,
        now: Time,
        from: NodeId,
        chunk: &Chunk,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let mut chunk = chunk.clone();
        if let Some(source) = &self.source
            && bugs::has(Bug::MixesSnapshots)
        {
            chunk.snapshot = source.name;
        }
        self.0.on_chunk(now, from, &chunk, settings, fx);
    }
}

/// Where it believes that a log begins which begins at `first`.
fn begin(first: Instance) -> Instance {
    if bugs::has(Bug::FetchesWhatIsTrimmed) { Instance::FIRST } else { first }
}
