//! When can a snapshot of a learner's state be taken, and who hears that one is stored?
//!
//! A snapshot is of one place in the log: the application's state after all values below it, and
//! the state of delivery there ([`Checkpoint`](crate::protocol::checkpoint::Checkpoint)). The
//! learner says where one could be taken. The application takes it there or not, and reports when
//! it is on stable storage. Then the learner tells the proposers, repeatedly, for they trim the log
//! only below what enough learners keep (`proposer/keepers.rs`).

use crate::protocol::actor::Effects;
use crate::protocol::checkpoint::Head;
use crate::protocol::message::{Durable, Message, StateKind};
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, Role, Time};

/// Where snapshots can be taken, and which one is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshots {
    /// Which application's state they hold.
    pub kind: StateKind,
    /// The last place where one could be taken.
    last: Instance,
    /// With what is stored here, entries below it are not needed any more.
    durable: Instance,
    /// What the proposers were told last, and when.
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
    /// Whether it covers what must be said now. What is needed shrinks from turn to turn.
    fn includes(&self, durable: Instance, needs: Option<Instance>) -> bool {
        let includes_needs = match (self.needs, needs) {
            (Some(told), Some(needs)) => told <= needs,
            (told, needs) => told == needs,
        };
        self.durable == durable && includes_needs
    }
}

impl Snapshots {
    /// For a learner that has no snapshot yet.
    pub fn new(kind: StateKind) -> Self {
        Snapshots { kind, last: Instance::FIRST, durable: Instance::FIRST, told: None }
    }

    /// For a learner that has gone on from one.
    pub fn of(kind: StateKind, head: Head) -> Self {
        Snapshots { last: head.of, durable: head.keep, ..Self::new(kind) }
    }

    /// Whether one can be taken at `watermark`: wherever the log has a checkpoint, for that is how
    /// often something can be removed, and in any case after a number of instances.
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
        // The parts of values that were open then are needed as well.
        self.durable = self.durable.max(head.keep);
    }

    /// Tells the proposers which snapshot is stored of the log of this name, and which part of the
    /// log is needed: at once when it is news, and repeatedly.
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
        // That nothing is stored is sent as well: an earlier process may have had more.
        if self.told.is_some_and(is_known) {
            return;
        }
        self.told = Some(Said { when: now, durable, needs });
        fx.send(Role::Proposer, Message::Durable(Durable { below: durable, name, needs }));
    }
}
