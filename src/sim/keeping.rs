//! Learners that keep snapshots: what is written while they go on, what a restart finds, and the
//! operator who gives one to a learner that was left behind.

use std::sync::Arc;
use std::time::Duration;

use super::checker::Violation;
use super::cluster::{CLUSTER, Cluster};
use super::disk::SimDisk;
use super::node::AnyRole;
use super::trace::Detail;
use crate::protocol::checkpoint::{Checkpoint, Head};
use crate::protocol::learner::Beginning;
use crate::protocol::message::StateKind;
use crate::protocol::parts::Learner;
use crate::protocol::types::{Instance, NodeId, Role, Sender, Time};
use crate::snapshots::keeper::Shop;
use crate::snapshots::shelf::Shelf;

/// How long a snapshot takes to be stable, at most.
const SLOWEST: Duration = Duration::from_millis(30);

/// How long the application's part of a snapshot is, at most: some need two groups of chunks.
const CONTENT_BYTES: u64 = 90_000;

/// The snapshots on a host's disk.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// What the best snapshot ever stored there replaces.
    ever: Instance,
}

impl Default for Kept {
    fn default() -> Self {
        Kept { ever: Instance::FIRST }
    }
}

impl Kept {
    /// One more is stable.
    pub fn note(&mut self, head: Head) {
        self.ever = self.ever.max(head.keep);
    }
}

/// The application's part of the snapshot of `of`.
pub fn content(of: Instance) -> Vec<u8> {
    let length = of.0.wrapping_mul(7919) % CONTENT_BYTES;
    (0..length).map(|place| (place.wrapping_mul(of.0) >> 3) as u8).collect()
}

/// The snapshots on this disk.
pub(super) fn shop(disk: SimDisk) -> Shop<SimDisk> {
    let (shelf, cluster) = (Shelf::new(disk), CLUSTER.to_owned());
    Shop { shelf, cluster, kind: StateKind::Digest }
}

/// The newest intact snapshot on this disk, if there is one.
pub(super) fn newest(disk: SimDisk) -> Option<Checkpoint> {
    let Shop { mut shelf, cluster, kind } = shop(disk);
    shelf.newest(&cluster, kind).ok().flatten().map(|found| found.label.checkpoint)
}

impl Cluster {
    /// A learner at its start, with what its host has kept from earlier runs.
    pub(super) fn learner(
        &mut self,
        sender: Sender,
        local: Time,
    ) -> (Learner, Option<Shop<SimDisk>>) {
        let Sender { node: id, boot } = sender;
        let learner = Learner::new(id.id, boot, self.plan.settings.clone(), local);
        if !self.plan.settings.keepers.contains(&id.id) {
            return (learner, None);
        }
        let disk = self.hosts.entry(id).or_default().disk.clone();
        let shop = shop(disk.clone());
        // A learner that applies the values needs all of them.
        let learner = learner.beginning(Beginning::At(Instance::FIRST));
        let Some(checkpoint) = newest(disk) else {
            return (learner.with_snapshots(shop.kind), Some(shop));
        };
        let Head { of, keep, .. } = checkpoint.head;
        let story = format_args!("{id} goes on at {of}, and needs what lies at {keep} or above");
        self.trace.tell(Detail::Story, self.now, story);
        let verdict = self.checker_mut().on_restored(sender, checkpoint.head);
        self.note(verdict);
        (learner.restored(shop.kind, checkpoint), Some(shop))
    }

    /// Learner `id` could keep a snapshot of this place: it begins to, unless it is at another.
    pub(super) fn keep(&mut self, id: NodeId, checkpoint: &Arc<Checkpoint>) {
        let stable = self.now + self.rng.up_to(SLOWEST);
        if let Some(node) = self.nodes.get_mut(&id)
            && node.writing.is_none()
        {
            node.writing = Some((stable, Arc::clone(checkpoint)));
        }
    }

    /// Entries that learner `id` needs were removed, and it could not fetch another's snapshot: its
    /// operator gives it the newest one, if that helps.
    pub(super) fn import(&mut self, id: NodeId) {
        let Some(AnyRole::Learner(learner)) = self.nodes.get(&id).map(|node| &node.role) else {
            return;
        };
        let first = learner.log().first();
        let newest = self.hosts.values().filter_map(|host| newest(host.disk.clone()));
        let newest = newest.max_by_key(|checkpoint| checkpoint.head.of);
        let Some(checkpoint) = newest.filter(|newest| newest.head.keep >= first) else {
            return self.note(Err(format!(
                "{id} finds the log trimmed below {first}, and nobody has a snapshot of that"
            )));
        };
        let host = self.hosts.entry(id).or_default();
        let head = checkpoint.head;
        let put = shop(host.disk.clone()).put(&checkpoint, |out| out.write_all(&content(head.of)));
        match put {
            Ok(()) => host.kept.note(head),
            Err(error) => return self.note(Err(format!("{id} cannot import: {error}"))),
        }
        self.imports += 1;
        self.start(id);
    }

    /// How often an operator has brought a snapshot.
    pub fn imports(&self) -> u32 {
        self.imports
    }

    /// How often a learner has fetched a snapshot.
    pub fn fetched(&self) -> u32 {
        self.fetched
    }

    /// Checks that enough keepers have, or had, a snapshot that replaces everything that is
    /// removed.
    pub(super) fn expect_copies(&self) -> Result<(), Violation> {
        let settings = &self.plan.settings;
        let keepers = &settings.keepers;
        if keepers.is_empty() {
            return Ok(());
        }
        let needed = settings.snapshot_copies.unwrap_or(keepers.len() / 2 + 1);
        let trim = self.checker().trimmed();
        let has = |id: &&u32| {
            let host = self.hosts.get(&NodeId::new(Role::Learner, **id));
            host.is_some_and(|host| host.kept.ever >= trim)
        };
        let copies = keepers.iter().filter(has).count();
        if trim == Instance::FIRST || copies >= needed {
            return Ok(());
        }
        Err(format!(
            "the log is trimmed below {trim}, and {copies} keepers have a snapshot, not {needed}"
        ))
    }
}
