//! Whose snapshots must replace entries before they are removed from the log?
//!
//! Where `keepers` are named, the log is only removed below what `snapshot_copies` of them have on
//! stable storage, in snapshots of their own. So a replica that starts with nothing finds a
//! snapshot to start from on that many disks, even if all processes died. A learner that is not
//! named never holds the log back, and not all that are named are waited for: a dead one would fill
//! every disk.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::{BTreeMap, VecDeque};

use crate::protocol::message::Durable;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, Sender};

/// How many earlier incarnations of a learner are remembered: as many as may still have datagrams
/// under way.
const LIVES: usize = 8;

/// What the keepers are known to have stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Keepers {
    kept: BTreeMap<u32, Kept>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kept {
    /// In which incarnation the learner said so. In a later one it may have lost its disk.
    boot: u64,
    /// Its snapshot replaces everything below this instance.
    below: Instance,
    /// In the log of this name.
    name: u64,
    /// Its earlier incarnations.
    earlier: VecDeque<u64>,
}

impl Keepers {
    /// A learner reports that its snapshot replaces everything below `below`.
    pub fn on_durable(&mut self, from: Sender, durable: &Durable, settings: &Settings) {
        let Durable { below, name } = *durable;
        let Sender { node, boot } = from;
        if !settings.keepers.contains(&node.id) {
            return;
        }
        let kept = self.kept.entry(node.id).or_insert_with(|| Kept {
            boot,
            below: Instance::FIRST,
            name,
            earlier: VecDeque::new(),
        });
        if kept.boot == boot && kept.name == name {
            kept.below = kept.below.max(below);
        } else if kept.boot == boot {
            (kept.below, kept.name) = (below, name);
        } else if !kept.earlier.contains(&boot) {
            kept.earlier.push_front(kept.boot);
            kept.earlier.truncate(LIVES);
            (kept.boot, kept.below, kept.name) = (boot, below, name);
        }
    }

    /// Below which instance the log of this name may be removed, as far as the keepers are
    /// concerned. Snapshots of the cluster before it lost its data replace nothing of it.
    pub fn limit(&self, name: u64, settings: &Settings) -> Instance {
        let keepers = &settings.keepers;
        if keepers.is_empty() {
            return Instance(u64::MAX);
        }
        let copies = settings.snapshot_copies.unwrap_or(keepers.len() / 2 + 1);
        let mut below: Vec<Instance> = keepers.iter().map(|id| self.below(*id, name)).collect();
        below.sort_unstable_by(|one, other| other.cmp(one));
        below.get(copies.saturating_sub(1)).copied().unwrap_or(Instance::FIRST)
    }

    /// Below which instance this keeper's snapshot replaces the log of this name.
    fn below(&self, id: u32, name: u64) -> Instance {
        let kept = self.kept.get(&id).filter(|kept| kept.name == name);
        kept.map_or(Instance::FIRST, |kept| kept.below)
    }

    /// The keepers whose snapshots replace less of the log of this name than lies below `below`, if
    /// it is kept for them.
    pub fn holding(&self, name: u64, below: Instance, settings: &Settings) -> Vec<u32> {
        if self.limit(name, settings) >= below {
            return Vec::new();
        }
        let lacks = |id: &u32| self.below(*id, name) < below;
        settings.keepers.iter().copied().filter(lacks).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::{NodeId, Role};

    const NAME: u64 = 5;

    fn told(keepers: &mut Keepers, id: u32, boot: u64, below: u64, settings: &Settings) -> u64 {
        let from = Sender { node: NodeId::new(Role::Learner, id), boot };
        let durable = Durable { below: Instance(below), name: NAME };
        keepers.on_durable(from, &durable, settings);
        keepers.limit(NAME, settings).0
    }

    fn settings(keepers: &[u32], snapshot_copies: Option<usize>) -> Settings {
        Settings { keepers: keepers.to_vec(), snapshot_copies, ..Settings::default() }
    }

    #[test]
    fn enough_keepers_must_have_what_is_removed() {
        let (mut keepers, majority) = (Keepers::default(), settings(&[1, 2, 3], None));
        assert_eq!(keepers.limit(NAME, &majority), Instance::FIRST);
        assert_eq!(told(&mut keepers, 1, 1, 50, &majority), 1);
        // Reported twice, it is still one copy; and learner 9 is no keeper.
        assert_eq!(told(&mut keepers, 1, 1, 60, &majority), 1);
        assert_eq!(told(&mut keepers, 9, 1, 90, &majority), 1);
        assert_eq!(told(&mut keepers, 3, 1, 40, &majority), 40);
        assert_eq!(told(&mut keepers, 2, 1, 70, &majority), 60);
        for (copies, limit) in [(1, 70), (2, 60), (3, 40), (4, 1)] {
            let settings = settings(&[1, 2, 3], Some(copies));
            assert_eq!(keepers.limit(NAME, &settings), Instance(limit), "{copies}");
        }
        assert_eq!(keepers.limit(NAME, &settings(&[], None)), Instance(u64::MAX));
        // Of these, one more snapshot would do.
        let holding = |below| keepers.holding(NAME, Instance(below), &majority);
        assert_eq!((holding(60), holding(61), holding(71)), (vec![], vec![1, 3], vec![1, 2, 3]));
        assert_eq!(keepers.holding(NAME, Instance(9), &settings(&[], None)), Vec::<u32>::new());
    }

    #[test]
    fn a_keeper_that_lost_its_disk_does_not_count_and_late_datagrams_change_nothing() {
        let (mut keepers, settings) = (Keepers::default(), settings(&[1, 2], Some(1)));
        assert_eq!(told(&mut keepers, 1, 7, 50, &settings), 50);
        assert_eq!(told(&mut keepers, 1, 7, 40, &settings), 50);
        assert_eq!(told(&mut keepers, 1, 8, 1, &settings), 1);
        assert_eq!(told(&mut keepers, 1, 7, 60, &settings), 1);
        assert_eq!(told(&mut keepers, 1, 8, 20, &settings), 20);
        // A snapshot of another log replaces nothing of this one.
        assert_eq!(keepers.limit(NAME + 1, &settings), Instance::FIRST);
    }
}
