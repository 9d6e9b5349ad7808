//! A map from instances to anything, for keys that are mostly dense and may be anywhere.
//!
//! Pages of 256 slots stand in a row that grows at both ends: neighbours cost an index. A page that
//! is far from the row, such as that of a lone instance, hangs in an ordered map beside it.
//! Iteration is in instance order.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};

use super::types::{Instance, Run};

const PAGE_SLOTS: usize = 256;

/// The row grows over at most so many unused pages to take in another.
const REACH: u64 = 64;

/// A map from [`Instance`] to `T`.
#[derive(Clone, Debug)]
pub struct InstanceMap<T> {
    /// Neighbouring pages, from the one with number `first` on. The outermost are used.
    row: VecDeque<Page<T>>,
    /// Zero when the row is empty.
    first: u64,
    /// The other pages. None of their numbers is in the row; all of them are used.
    far: BTreeMap<u64, Page<T>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Page<T> {
    /// `PAGE_SLOTS` of them, or none at all in an unused page.
    slots: Vec<Option<T>>,
    used: usize,
}

impl<T> Page<T> {
    const fn unused() -> Self {
        Page { slots: Vec::new(), used: 0 }
    }

    fn first(&self) -> Option<usize> {
        self.slots.iter().position(Option::is_some)
    }

    fn last(&self) -> Option<usize> {
        self.slots.iter().rposition(Option::is_some)
    }
}

impl<T> Default for InstanceMap<T> {
    fn default() -> Self {
        InstanceMap { row: VecDeque::new(), first: 0, far: BTreeMap::new(), len: 0 }
    }
}

/// Maps are equal when they hold the same, wherever their pages are.
impl<T: PartialEq> PartialEq for InstanceMap<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for InstanceMap<T> {}

impl<T: Hash> Hash for InstanceMap<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        self.iter().for_each(|held| held.hash(state));
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
        let (number, slot) = place(instance);
        self.page(number)?.slots.get(slot)?.as_ref()
    }

    /// The value of `instance`, to be changed.
    pub fn get_mut(&mut self, instance: Instance) -> Option<&mut T> {
        let (number, slot) = place(instance);
        self.page_mut(number)?.slots.get_mut(slot)?.as_mut()
    }

    /// Whether `instance` has a value.
    pub fn contains(&self, instance: Instance) -> bool {
        self.get(instance).is_some()
    }

    /// Gives `instance` a value and returns the one it had.
    pub fn insert(&mut self, instance: Instance, value: T) -> Option<T> {
        let (number, slot) = place(instance);
        let page = self.page_or_new(number);
        if page.slots.is_empty() {
            page.slots.resize_with(PAGE_SLOTS, || None);
        }
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
        let page = self.page_mut(number)?;
        let value = page.slots.get_mut(slot)?.take()?;
        page.used -= 1;
        if page.used == 0 {
            *page = Page::unused();
            self.far.remove(&number);
            self.trim();
        }
        self.len -= 1;
        Some(value)
    }

    /// Takes the lowest instance away, with its value.
    pub fn pop_first(&mut self) -> Option<(Instance, T)> {
        let first = self.first()?;
        self.remove(first).map(|value| (first, value))
    }

    /// The lowest instance that has a value.
    pub fn first(&self) -> Option<Instance> {
        let far = self.far.first_key_value().map(|(number, page)| (*number, page));
        let row = self.row.front().map(|page| (self.first, page));
        let (number, page) = far.into_iter().chain(row).min_by_key(|(number, _)| *number)?;
        page.first().map(|slot| instance_at(number, slot))
    }

    /// The highest instance that has a value.
    pub fn last(&self) -> Option<Instance> {
        let far = self.far.last_key_value().map(|(number, page)| (*number, page));
        let row = self.row.back().map(|page| (self.row_end() - 1, page));
        let (number, page) = far.into_iter().chain(row).max_by_key(|(number, _)| *number)?;
        page.last().map(|slot| instance_at(number, slot))
    }

    /// Every instance with its value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Instance, &T)> {
        self.range(Run { from: Instance(0), until: Instance(u64::MAX) })
    }

    /// The instances of `run` that have a value, in order. An inverted run is empty.
    pub fn range(&self, run: Run<Instance>) -> impl Iterator<Item = (Instance, &T)> {
        let until = run.until.0.max(run.from.0);
        let (first_page, first_slot) = place(run.from);
        let last_page = place(Instance(until)).0;
        self.pages(first_page, last_page)
            .flat_map(move |(number, page)| {
                let skipped = if number == first_page { first_slot } else { 0 };
                page.slots.iter().enumerate().skip(skipped).filter_map(move |(slot, value)| {
                    value.as_ref().map(|value| (instance_at(number, slot), value))
                })
            })
            .take_while(move |(instance, _)| instance.0 < until)
    }

    // Pages.

    /// Past the last page of the row.
    fn row_end(&self) -> u64 {
        self.first + self.row.len() as u64
    }

    fn page(&self, number: u64) -> Option<&Page<T>> {
        match number.checked_sub(self.first).and_then(|place| self.row.get(place as usize)) {
            None if self.far.is_empty() => None,
            None => self.far.get(&number),
            page => page,
        }
    }

    fn page_mut(&mut self, number: u64) -> Option<&mut Page<T>> {
        match number.checked_sub(self.first).and_then(|place| self.row.get_mut(place as usize)) {
            None if self.far.is_empty() => None,
            None => self.far.get_mut(&number),
            page => page,
        }
    }

    /// The page, which comes into being if there is none.
    fn page_or_new(&mut self, number: u64) -> &mut Page<T> {
        if self.row.is_empty() {
            self.first = number;
        }
        let end = self.row_end();
        if number >= end && number - end < REACH {
            for added in end..=number {
                let page = self.far.remove(&added).unwrap_or(Page::unused());
                self.row.push_back(page);
            }
        } else if number < self.first && self.first - number <= REACH {
            for added in (number..self.first).rev() {
                let page = self.far.remove(&added).unwrap_or(Page::unused());
                self.row.push_front(page);
            }
            self.first = number;
        } else if number < self.first || number >= end {
            return self.far.entry(number).or_insert(Page::unused());
        }
        &mut self.row[(number - self.first) as usize]
    }

    /// Takes unused pages off both ends of the row.
    fn trim(&mut self) {
        while self.row.back().is_some_and(|page| page.used == 0) {
            self.row.pop_back();
        }
        while self.row.front().is_some_and(|page| page.used == 0) {
            self.row.pop_front();
            self.first += 1;
        }
        if self.row.is_empty() {
            self.first = 0;
        }
    }

    /// The pages with the numbers `from..=until`, in order.
    fn pages(&self, from: u64, until: u64) -> impl Iterator<Item = (u64, &Page<T>)> {
        let (first, end) = (self.first, self.row_end());
        let far = |from: u64, until: u64| {
            let pages = (from <= until).then(|| self.far.range(from..=until));
            pages.into_iter().flatten().map(|(number, page)| (*number, page))
        };
        let below = first.checked_sub(1).map(|last| far(from, until.min(last)));
        let above = far(from.max(end), until);
        let inside = from.clamp(first, end)..until.saturating_add(1).clamp(first, end);
        let places =
            (inside.start - first) as usize..(inside.end.max(inside.start) - first) as usize;
        let row = (inside.start..).zip(self.row.range(places));
        below.into_iter().flatten().chain(row).chain(above)
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
                (0..3u8, prop_oneof![
                    0..600u64,
                    15_000..70_000u64,
                    Just(u64::MAX - 1)
                ]),
                0..200,
            ),
            from in 0..20_000u64,
            len in 0..60_000u64,
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

    /// Found by random tests: without a row, what is far away came twice.
    #[test]
    fn what_is_far_away_stays_when_the_row_is_gone() {
        let mut map = InstanceMap::new();
        map.insert(Instance(1 << 40), "row");
        map.insert(Instance(5), "far");
        map.remove(Instance(1 << 40));
        assert_eq!(map.iter().collect::<Vec<_>>(), [(Instance(5), &"far")]);
    }

    #[test]
    fn an_inverted_run_is_empty() {
        let mut map = InstanceMap::new();
        map.insert(Instance(5), ());
        assert_eq!(map.range(Run { from: Instance(9), until: Instance(3) }).count(), 0);
    }
}
