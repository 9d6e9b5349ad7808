//! Learners that keep snapshots: what is written while they go on, what a restart finds, and the
//! operator who gives one to a learner that was left behind.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::checker::Violation;
use super::cluster::Cluster;
use super::node::AnyRole;
use super::trace::Detail;
use crate::protocol::checkpoint::{Checkpoint, Head};
use crate::protocol::learner::Learner;
use crate::protocol::types::{Instance, NodeId, Role, Sender, Time};

/// How long a snapshot takes to be stable, at most.
const SLOWEST: Duration = Duration::from_millis(30);

/// The snapshots on a host's disk.
#[derive(Clone, Debug)]
pub struct Shelf {
    /// The two newest, in the order of their places.
    kept: VecDeque<Arc<Checkpoint>>,
    /// What the best that was ever there stands for.
    ever: Instance,
}

impl Default for Shelf {
    fn default() -> Self {
        Shelf { kept: VecDeque::new(), ever: Instance::FIRST }
    }
}

impl Shelf {
    /// One more is stable.
    pub fn put(&mut self, checkpoint: Arc<Checkpoint>) {
        self.ever = self.ever.max(checkpoint.head.keep);
        self.kept.push_back(checkpoint);
        if self.kept.len() > 2 {
            self.kept.pop_front();
        }
    }
}

impl Cluster {
    /// A learner as it starts, with what its host has kept of its earlier life.
    pub(super) fn learner(&mut self, sender: Sender, local: Time) -> Learner {
        let Sender { node: id, boot } = sender;
        let learner = Learner::new(id.id, boot, self.plan.settings.clone(), local);
        if !self.plan.settings.keepers.contains(&id.id) {
            return learner;
        }
        let kept = self.hosts.get(&id).and_then(|host| host.shelf.kept.back().cloned());
        let Some(checkpoint) = kept else { return learner.with_snapshots() };
        let Head { of, keep, .. } = checkpoint.head;
        let story = format_args!("{id} goes on at {of}, and needs what lies at {keep} or above");
        self.trace.tell(Detail::Story, self.now, story);
        let verdict = self.checker_mut().on_restored(sender, checkpoint.head);
        self.note(verdict);
        learner.restored(Arc::unwrap_or_clone(checkpoint))
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

    /// What learner `id` needs was removed: its operator gives it the newest snapshot that another
    /// one has, as far as that helps.
    pub(super) fn import(&mut self, id: NodeId) {
        let Some(AnyRole::Learner(learner)) = self.nodes.get(&id).map(|node| &node.role) else {
            return;
        };
        let first = learner.log().first();
        let newest = self.hosts.values().filter_map(|host| host.shelf.kept.back());
        let newest = newest.max_by_key(|checkpoint| checkpoint.head.of).cloned();
        let Some(checkpoint) = newest.filter(|newest| newest.head.keep >= first) else {
            return self.note(Err(format!(
                "{id} finds the log trimmed below {first}, and nobody has a snapshot of that"
            )));
        };
        self.hosts.entry(id).or_default().shelf.put(checkpoint);
        self.start(id);
    }

    /// How many keepers have, or had, a snapshot that stands for everything below each of these
    /// places: enough for what is removed.
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
            host.is_some_and(|host| host.shelf.ever >= trim)
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
