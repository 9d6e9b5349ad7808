//! A map in the order of instances that is fast at its end.
//!
//! New entries nearly always go to the end, and lookups, changes and removals are nearly always
//! near the end. So the last entries stand in a ring, where each of these is one step, and those
//! before them in a tree, where nothing is slow.

use std::collections::{BTreeMap, VecDeque};

use crate::protocol::types::{Instance, Run};

/// How many entries the ring holds at most: two blocks of single values.
const RECENT_MAX: usize = 128;

/// A map from [`Instance`] to a `V`.
#[derive(Clone, Debug)]
pub struct Ordered<V> {
    /// All of it below the first of `recent`.
    older: BTreeMap<Instance, V>,
    /// In order.
    recent: VecDeque<(Instance, V)>,
}

impl<V> Default for Ordered<V> {
    fn default() -> Self {
        Ordered { older: BTreeMap::new(), recent: VecDeque::new() }
    }
}

impl<V> Ordered<V> {
    /// The lowest instance, and what it has.
    pub fn first(&self) -> Option<(Instance, &V)> {
        self.older.first_key_value().map(of_tree).or_else(|| self.recent.front().map(of_ring))
    }

    /// The highest instance, and what it has.
    pub fn last(&self) -> Option<(Instance, &V)> {
        let last = self.recent.back().map(of_ring);
        last.or_else(|| self.older.last_key_value().map(of_tree))
    }

    /// The highest at or below `instance`, and what it has.
    pub fn up_to(&self, instance: Instance) -> Option<(Instance, &V)> {
        let place = self.place(instance);
        let at = self.recent.get(place).filter(|(at, _)| *at == instance);
        let found = at.or_else(|| self.recent.get(place.checked_sub(1)?)).map(of_ring);
        found.or_else(|| self.older.range(..=instance).next_back().map(of_tree))
    }

    /// The highest below `instance`, and what it has.
    pub fn below_mut(&mut self, instance: Instance) -> Option<(Instance, &mut V)> {
        match self.place(instance).checked_sub(1).and_then(|place| self.recent.get_mut(place)) {
            Some((at, value)) => Some((*at, value)),
            None => self.older.range_mut(..instance).next_back().map(|(at, value)| (*at, value)),
        }
    }

    /// The value of `instance`, mutable, if it stands in the ring.
    pub fn recent_mut(&mut self, instance: Instance) -> Option<&mut V> {
        let place = self.place(instance);
        let (at, value) = self.recent.get_mut(place)?;
        (*at == instance).then_some(value)
    }

    /// Removes and returns the same if `is_it` holds for it.
    pub fn take_recent(&mut self, instance: Instance, is_it: impl FnOnce(&V) -> bool) -> Option<V> {
        let place = self.place(instance);
        let (at, value) = self.recent.get(place)?;
        let is_it = *at == instance && is_it(value);
        let (_, value) = is_it.then(|| self.recent.remove(place))??;
        Some(value)
    }

    /// All of it, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Instance, &V)> {
        self.older.iter().map(of_tree).chain(self.recent.iter().map(of_ring))
    }

    /// What lies in `run`, in order.
    pub fn range(&self, run: Run<Instance>) -> impl Iterator<Item = (Instance, &V)> {
        let older = self.reaches_older(run).then(|| self.older.range(run.from..run.until));
        let older = older.into_iter().flatten().map(of_tree);
        older.chain(self.recent.range(self.places(run)).map(of_ring))
    }

    /// The same, mutable.
    pub fn range_mut(&mut self, run: Run<Instance>) -> impl Iterator<Item = (Instance, &mut V)> {
        let (places, reaches_older) = (self.places(run), self.reaches_older(run));
        let older = reaches_older.then(|| self.older.range_mut(run.from..run.until));
        let older = older.into_iter().flatten().map(|(at, value)| (*at, value));
        older.chain(self.recent.range_mut(places).map(|(at, value)| (*at, value)))
    }

    /// Inserts `value` at `instance`, which has none so far.
    pub fn insert(&mut self, instance: Instance, value: V) {
        if self.last().is_none_or(|(last, _)| last < instance) {
            self.recent.push_back((instance, value));
        } else if self.recent.front().is_some_and(|(first, _)| *first < instance) {
            let place = self.place(instance);
            assert!(self.recent.get(place).is_none_or(|(at, _)| *at != instance));
            self.recent.insert(place, (instance, value));
        } else {
            self.older.insert(instance, value);
        }
        if self.recent.len() > RECENT_MAX
            && let Some((at, value)) = self.recent.pop_front()
        {
            self.older.insert(at, value);
        }
    }

    /// Removes what lies in `run`, in order.
    pub fn take(&mut self, run: Run<Instance>, mut taken: impl FnMut(Instance, V)) {
        if self.reaches_older(run) {
            while let Some(at) = self.older.range(run.from..run.until).next().map(|(at, _)| *at)
                && let Some(value) = self.older.remove(&at)
            {
                taken(at, value);
            }
        }
        self.recent.drain(self.places(run)).for_each(|(at, value)| taken(at, value));
    }

    /// How many of the ring lie below `instance`.
    fn place(&self, instance: Instance) -> usize {
        match (self.recent.front(), self.recent.back()) {
            (Some((first, _)), _) if instance <= *first => 0,
            (_, Some((last, _))) if *last <= instance => {
                self.recent.len() - usize::from(*last == instance)
            }
            _ => self.recent.partition_point(|(at, _)| *at < instance),
        }
    }

    /// Where in the ring `run` lies.
    fn places(&self, run: Run<Instance>) -> std::ops::Range<usize> {
        let from = self.place(run.from);
        from..self.place(run.until).max(from)
    }

    /// Whether something of `run` may lie below the ring.
    fn reaches_older(&self, run: Run<Instance>) -> bool {
        let is_below = self.recent.front().is_none_or(|(first, _)| run.from < *first);
        is_below && run.from < run.until && !self.older.is_empty()
    }
}

fn of_tree<'a, V>((at, value): (&Instance, &'a V)) -> (Instance, &'a V) {
    (*at, value)
}

fn of_ring<V>((at, value): &(Instance, V)) -> (Instance, &V) {
    (*at, value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It answers as a tree alone does, however much of it stands in the ring.
        #[test]
        fn it_behaves_like_a_tree(
            rising in 0..400u64,
            steps in prop::collection::vec((0..4u8, 0..500u64, 0..200u64), 0..80),
        ) {
            let mut map: Ordered<u64> = Ordered::default();
            let mut tree: BTreeMap<Instance, u64> = BTreeMap::new();
            (0..rising).for_each(|at| {
                map.insert(Instance(at), at);
                tree.insert(Instance(at), at);
            });
            for (action, from, count) in steps {
                let run = Run::new(Instance(from), Instance(from + count));
                match action {
                    0 if !tree.contains_key(&run.from) => {
                        map.insert(run.from, count);
                        tree.insert(run.from, count);
                    }
                    1 => {
                        let mut taken = Vec::new();
                        map.take(run, |at, value| taken.push((at, value)));
                        let mut rest = tree.split_off(&run.from);
                        tree.extend(rest.split_off(&run.until));
                        prop_assert_eq!(taken, rest.into_iter().collect::<Vec<_>>());
                    }
                    2 => {
                        map.range_mut(run).for_each(|(_, value)| *value += 1);
                        tree.range_mut(run.from..run.until).for_each(|(_, value)| *value += 1);
                    }
                    _ => {
                        let below = map.below_mut(run.until).map(|(at, value)| (at, &*value));
                        prop_assert_eq!(below, tree.range(..run.until).next_back().map(of_tree));
                    }
                }
                prop_assert!(map.iter().eq(tree.iter().map(of_tree)));
                prop_assert!(map.range(run).eq(tree.range(run.from..run.until).map(of_tree)));
                let expected = tree.range(..=run.from).next_back().map(of_tree);
                prop_assert_eq!(map.up_to(run.from), expected);
                prop_assert_eq!(map.first(), tree.first_key_value().map(of_tree));
                prop_assert_eq!(map.last(), tree.last_key_value().map(of_tree));
                prop_assert!(map.recent.len() <= RECENT_MAX);
            }
        }
    }
}
