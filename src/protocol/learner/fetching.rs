//! How a learner that was cut off fetches another learner's snapshot, and how the other one serves
//! it. `protocol/transfer.rs` has the rules.

use std::sync::Arc;

use log::info;

use super::Learner;
use super::snapshots::Snapshots;
use crate::protocol::actor::{Delivery, Effects, Halt, Ignored};
use crate::protocol::checkpoint::Checkpoint;
use crate::protocol::message::{Chunk, Fetch, Progress};
use crate::protocol::parts::{CatchUp, DecidedLog, Fetching, Proposals};
use crate::protocol::timer::Timer;
use crate::protocol::transfer::{self, Errand, Outcome};
use crate::protocol::types::{Instance, NodeId, Time};

impl Learner {
    /// Entries below `instance` were removed before they were handed out. A learner that keeps
    /// snapshots fetches one, and takes in nothing meanwhile; any other ends.
    pub(super) fn be_cut_off(&mut self, instance: Instance, fx: &mut Effects) {
        self.is_cut_off = true;
        match &self.snapshots {
            Some(snapshots) => {
                // What the application has by itself must not be replaced by less.
                let first = self.log.first().max(self.begins.unwrap_or(Instance::FIRST));
                let name = self.log.progress().name;
                self.fetching = Some(Fetching::new(snapshots.kind, first, name));
                fx.cancel_timer(Timer::CatchUp);
            }
            None if self.begins_anywhere => fx.halt = Some(Halt::CutOff(instance)),
            None => fx.halt = Some(Halt::Trimmed(instance)),
        }
    }

    /// Another learner wants a snapshot.
    pub(super) fn on_fetch(&mut self, asker: NodeId, fetch: Fetch, fx: &mut Effects) {
        let has_same_kind = self.snapshots.as_ref().is_some_and(|own| own.kind == fetch.kind);
        if !has_same_kind || fetch.of.is_some_and(|of| of != self.id) {
            return fx.ignore(Ignored::NotAsked);
        }
        fx.errands.push(Errand::Lend { asker, fetch });
    }

    pub(super) fn on_chunk(&mut self, now: Time, from: NodeId, chunk: &Chunk, fx: &mut Effects) {
        match &mut self.fetching {
            Some(fetching) => fetching.on_chunk(now, from, chunk, &self.settings, fx),
            None => fx.ignore(Ignored::NotAsked),
        }
    }

    pub(super) fn on_fetch_timer(&mut self, now: Time, fx: &mut Effects) {
        let Some(fetching) = &mut self.fetching else { return };
        if fetching.on_timer(now, &self.settings, fx) {
            fx.halt = Some(fetching.in_vain(self.log.first()));
        }
    }

    /// The disk has finished an operation.
    pub(super) fn on_done(&mut self, now: Time, outcome: Outcome, fx: &mut Effects) {
        match (outcome, &mut self.fetching) {
            (Outcome::Lent { asker, again, chunks }, _) => {
                transfer::lend(asker, again, chunks, fx);
            }
            (Outcome::Stored { snapshot, bytes }, Some(fetching)) => {
                fetching.on_stored(now, (snapshot, bytes), &self.settings, fx);
            }
            (Outcome::Spoiled(snapshot), Some(fetching)) => {
                fetching.on_spoiled(now, snapshot, &self.settings, fx);
            }
            (Outcome::Later(snapshot, form), Some(fetching)) => {
                fetching.on_later(now, (snapshot, form), &self.settings, fx);
            }
            (Outcome::Fetched { snapshot, checkpoint }, Some(fetching)) => {
                if fetching.is_at_end_of(&snapshot) {
                    self.go_on_from(now, checkpoint, fx);
                }
            }
            // It has gone on by itself.
            (
                Outcome::Stored { .. }
                | Outcome::Spoiled(_)
                | Outcome::Later(..)
                | Outcome::Fetched { .. },
                None,
            ) => {}
        }
    }

    /// Goes on from a snapshot that is stored here, in a log of which nothing is known.
    pub(super) fn go_on_from(&mut self, now: Time, checkpoint: Arc<Checkpoint>, fx: &mut Effects) {
        let Some(Snapshots { kind, .. }) = self.snapshots else { return };
        let head = checkpoint.head;
        info!(target: "paxos::report", "goes on with instance {} from a snapshot", head.of);
        fx.cancel_timer(Timer::Fetch);
        fx.cancel_timer(Timer::CatchUp);
        (self.fetching, self.is_cut_off, self.may_be_foreign) = (None, false, true);
        self.holds = None;
        self.follows_up = true;
        (self.begins, self.begins_anywhere) = (Some(head.of), false);
        self.snapshots = Some(Snapshots::of(kind, head));
        self.log = DecidedLog::with_limits(self.settings.assembly);
        self.proposals = Proposals::default();
        self.catch_up = CatchUp::of_learner(self.id);
        self.log.restore(Checkpoint::clone(&checkpoint));
        fx.deliver.push(Delivery::Restored(checkpoint));
        self.deliver(fx);
        self.gained = now;
        self.report_snapshots(now, fx);
    }

    /// A leader holds `progress`. Nothing may be added to a snapshot of another log.
    pub(super) fn expect_same_log(&mut self, progress: Progress, fx: &mut Effects) {
        let (own, other) = (self.log.progress().name, progress.name);
        self.may_be_foreign &= own == 0 || own != other;
        let is_other = own != 0 && other != 0 && own != other;
        if is_other && self.snapshots.is_some() {
            self.is_cut_off = true;
            fx.halt = Some(Halt::Foreign);
        }
    }

    /// From which instance on the log must be kept for it to go on from the snapshot that it
    /// fetches or has fetched.
    fn needs(&mut self) -> Option<Instance> {
        if let Some(fetching) = &self.fetching {
            return Some(fetching.needs());
        }
        // No leader has named the log since: how much others hold is not known yet.
        self.follows_up =
            self.follows_up && (self.may_be_foreign || self.catch_up.lag(&self.log) > 0);
        self.follows_up.then(|| self.log.decided_below())
    }

    /// Tells the proposers what is stored here, and what is needed, when that is due.
    pub(super) fn report_snapshots(&mut self, now: Time, fx: &mut Effects) {
        let (name, needs) = (self.log.progress().name, self.needs());
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.report(now, name, needs, &self.settings, fx);
        }
    }
}
