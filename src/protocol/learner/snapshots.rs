//! When a learner's state is to be kept, and who hears that it is.
//!
//! A snapshot is of one place in the log: what was made of all values below it, and the state of
//! delivery there ([`Checkpoint`](crate::protocol::checkpoint::Checkpoint)). The learner says where
//! one could be taken. Whoever applies the values takes it there or lets it be, and tells when it
//! is on stable storage. Then the learner tells the proposers, again and again, for they let go of
//! the log only below what enough learners keep (`proposer/keepers.rs`).

use crate::protocol::actor::Effects;
use crate::protocol::checkpoint::Head;
use crate::protocol::message::{Durable, Message, StateKind};
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, Role, Time};

/// Where snapshots can be taken, and what is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshots {
    /// Whose state they have.
    pub kind: StateKind,
    /// Where one could be taken last.
    last: Instance,
    /// What lies below it is not needed any more, with what is kept here.
    durable: Instance,
    /// When that was told last, and what.
    told: Option<Said>,
}

/// What was told, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Said {
    when: Time,
    durable: Instance,
    needs: Option<Instance>,
}

impl Said {
    /// Whether it does for what is to be told now. What is needed becomes less from turn to turn.
    fn includes(&self, durable: Instance, needs: Option<Instance>) -> bool {
        let includes_needs = match (self.needs, needs) {
            (Some(told), Some(needs)) => told <= needs,
            (told, needs) => told == needs,
        };
        self.durable == durable && includes_needs
    }
}

impl Snapshots {
    /// Those of a learner that has none yet.
    pub fn new(kind: StateKind) -> Self {
        Snapshots { kind, last: Instance::FIRST, durable: Instance::FIRST, told: None }
    }

    /// Those of a learner that has gone on at one.
    pub fn of(kind: StateKind, head: Head) -> Self {
        Snapshots { last: head.of, durable: head.keep, ..Self::new(kind) }
    }

    /// Whether one can be taken at `watermark`: wherever the log has a checkpoint, for that is how
    /// often something can be removed, and after so many instances in any case.
    pub fn are_due(
        &mut self,
        watermark: Instance,
        has_passed_checkpoint: bool,
        settings: &Settings,
    ) -> bool {
        let passed = watermark.0.saturating_sub(self.last.0);
        let are_due = passed >= settings.snapshot_instances || has_passed_checkpoint && passed > 0;
        if are_due {
            self.last = watermark;
        }
        are_due
    }

    /// A snapshot is on stable storage.
    pub fn on_kept(&mut self, head: Head) {
        // The parts of values that were open then are needed besides.
        self.durable = self.durable.max(head.keep);
    }

    /// Tells the proposers what is kept of the log of this name, and what of it is needed: at once
    /// when it is news, and now and then.
    pub fn report(
        &mut self,
        now: Time,
        name: u64,
        needs: Option<Instance>,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let durable = self.durable;
        let is_known = |said: Said| {
            said.includes(durable, needs) && now.since(said.when) < settings.leader_timeout
        };
        // That nothing is kept is told as well: more may have been, in an earlier life.
        if self.told.is_some_and(is_known) {
            return;
        }
        self.told = Some(Said { when: now, durable, needs });
        fx.send(Role::Proposer, Message::Durable(Durable { below: durable, name, needs }));
    }
}
