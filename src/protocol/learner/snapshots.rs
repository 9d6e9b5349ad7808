//! When can a snapshot of a learner's state be taken, and who hears that one is stored?
//!
//! A snapshot is of one place in the log: the application's state after all values below it, and
//! the state of delivery there ([`Checkpoint`](crate::protocol::checkpoint::Checkpoint)). The
//! learner says where one could be taken. The application takes it there or not, and reports when
//! it is on stable storage. Then the learner tells the proposers, repeatedly, for they trim the log
//! only below what enough learners keep (`proposer/keepers.rs`).

use crate::protocol::actor::Effects;
use crate::protocol::checkpoint::Head;
use crate::protocol::message::{Durable, Fetch, Message, StateKind};
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
    /// When it was told last from where on the log is needed; nothing if it is not.
    needed: Option<Said>,
}

/// What was told, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Said {
    when: Time,
    what: Instance,
}

impl Said {
    /// Whether it must be told again.
    fn is_old(self, now: Time, settings: &Settings) -> bool {
        now.since(self.when) >= settings.leader_timeout
    }
}

impl Snapshots {
    /// For a learner that has no snapshot yet.
    pub fn new(kind: StateKind) -> Self {
        let first = Instance::FIRST;
        Snapshots { kind, last: first, durable: first, told: None, needed: None }
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

    /// Tells the proposers what is kept of the log of this name, and what of it is needed: at once
    /// when it is news, and now and then. That nothing is needed any more they know once they have
    /// heard nothing for a while.
    pub fn report(
        &mut self,
        now: Time,
        name: u64,
        needs: Option<Instance>,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let is_new = |said: Said, includes: bool| !includes || said.is_old(now, settings);
        let below = self.durable;
        // That nothing is stored is sent as well: an earlier process may have had more.
        if self.told.is_none_or(|said| is_new(said, said.what == below)) {
            self.told = Some(Said { when: now, what: below });
            fx.send(Role::Proposer, Message::Durable(Durable { below, name }));
        }
        let Some(from) = needs else {
            self.needed = None;
            return;
        };
        // What is needed becomes less from turn to turn.
        if self.needed.is_none_or(|said| is_new(said, said.what <= from)) {
            self.needed = Some(Said { when: now, what: from });
            fx.send(Role::Proposer, Message::Fetch(Fetch::needing(self.kind, name, from)));
        }
    }
}
