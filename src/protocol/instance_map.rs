//! A map from instances to anything, for keys that are mostly dense and may be anywhere.
//!
//! Pages of 256 slots hang in an ordered map of pages: neighbours cost an index, a lone instance
//! far away costs one page, and iteration is in instance order.

use std::collections::BTreeMap;

use super::types::{Instance, Run};

const PAGE_SLOTS: usize = 256;

/// A map from [`Instance`] to `T`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InstanceMap<T> {
    pages: BTreeMap<u64, Page<T>>,
    len: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Page<T> {
    /// `PAGE_SLOTS` of them. A page without a used slot is removed.
    slots: Vec<Option<T>>,
    used: usize,
}

impl<T> Default for InstanceMap<T> {
    fn default() -> Self {
        InstanceMap { pages: BTreeMap::new(), len: 0 }
    }
}

impl<T> InstanceMap<T> {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many instances have a value.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of `instance`.
    pub fn get(&self, instance: Instance) -> Option<&T> {
        let (page, slot) = place(instance);
        self.pages.get(&page)?.slots[slot].as_ref()
    }

    /// The value of `instance`, to be changed.
    pub fn get_mut(&mut self, instance: Instance) -> Option<&mut T> {
        let (page, slot) = place(instance);
        self.pages.get_mut(&page)?.slots[slot].as_mut()
    }

    /// Whether `instance` has a value.
    pub fn contains(&self, instance: Instance) -> bool {
        self.get(instance).is_some()
    }

    /// Gives `instance` a value and returns the one it had.
    pub fn insert(&mut self, instance: Instance, value: T) -> Option<T> {
        let (page, slot) = place(instance);
        let page = self.pages.entry(page).or_insert_with(|| Page {
            slots: std::iter::repeat_with(|| None).take(PAGE_SLOTS).collect(),
            used: 0,
        });
        let before = page.slots[slot].replace(value);
        if before.is_none() {
            page.used += 1;
            self.len += 1;
        }
        before
    }

    /// Takes the value of `instance` away.
    pub fn remove(&mut self, instance: Instance) -> Option<T> {
        let (number, slot) = place(instance);
        let page = self.pages.get_mut(&number)?;
        let value = page.slots[slot].take()?;
        page.used -= 1;
        self.len -= 1;
        if page.used == 0 {
            self.pages.remove(&number);
        }
        Some(value)
    }

    /// Takes the lowest instance away, with its value.
    pub fn pop_first(&mut self) -> Option<(Instance, T)> {
        let first = self.first()?;
        self.remove(first).map(|value| (first, value))
    }

    /// The lowest instance that has a value.
    pub fn first(&self) -> Option<Instance> {
        let (page, content) = self.pages.first_key_value()?;
        content.slots.iter().position(Option::is_some).map(|slot| instance_at(*page, slot))
    }

    /// The highest instance that has a value.
    pub fn last(&self) -> Option<Instance> {
        let (page, content) = self.pages.last_key_value()?;
        content.slots.iter().rposition(Option::is_some).map(|slot| instance_at(*page, slot))
    }

    /// Every instance with its value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Instance, &T)> {
        self.range(Run { from: Instance(0), until: Instance(u64::MAX) })
    }

    /// The instances of `run` that have a value, in order. An inverted run is empty.
    pub fn range(&self, run: Run<Instance>) -> impl Iterator<Item = (Instance, &T)> {
        let until = run.until.0.max(run.from.0);
        let (first_page, first_slot) = place(run.from);
        let (last_page, _) = place(Instance(until));
        self.pages
            .range(first_page..=last_page)
            .flat_map(move |(page, content)| {
                let skipped = if *page == first_page { first_slot } else { 0 };
                content.slots.iter().enumerate().skip(skipped).filter_map(|(slot, value)| {
                    value.as_ref().map(|value| (instance_at(*page, slot), value))
                })
            })
            .take_while(move |(instance, _)| instance.0 < until)
    }
}

fn place(instance: Instance) -> (u64, usize) {
    (instance.0 / PAGE_SLOTS as u64, (instance.0 % PAGE_SLOTS as u64) as usize)
}

fn instance_at(page: u64, slot: usize) -> Instance {
    Instance(page * PAGE_SLOTS as u64 + slot as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is done to it, it answers as an ordered map does.
        #[test]
        fn it_behaves_like_an_ordered_map(
            steps in prop::collection::vec(
                (0..3u8, prop_oneof![0..600u64, Just(u64::MAX - 1)]),
                0..200,
            ),
            from in 0..700u64,
            len in 0..700u64,
        ) {
            let mut model = BTreeMap::new();
            let mut map = InstanceMap::new();
            for (order, (action, key)) in steps.into_iter().enumerate() {
                let instance = Instance(key);
                match action {
                    0 | 1 => prop_assert_eq!(
                        map.insert(instance, order),
                        model.insert(instance, order)
                    ),
                    _ => prop_assert_eq!(map.remove(instance), model.remove(&instance)),
                }
                prop_assert_eq!(map.get(instance), model.get(&instance));
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.first(), model.keys().next().copied());
                prop_assert_eq!(map.last(), model.keys().next_back().copied());
            }
            let run = Run { from: Instance(from), until: Instance(from + len) };
            let ranged: Vec<_> =
                map.range(run).map(|(instance, value)| (instance, *value)).collect();
            let expected: Vec<_> =
                model.range(run.from..run.until).map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(ranged, expected);
            prop_assert_eq!(map.iter().count(), model.len());
        }
    }

    #[test]
    fn an_inverted_run_is_empty() {
        let mut map = InstanceMap::new();
        map.insert(Instance(5), ());
        assert_eq!(map.range(Run { from: Instance(9), until: Instance(3) }).count(), 0);
    }
}
