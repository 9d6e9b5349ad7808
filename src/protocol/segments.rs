//! A map from instances to entries, held in segments: consecutive instances that arrived together.
//!
//! The entries of one datagram are kept, voted on, decided and removed as a whole. A segment that
//! cannot be treated as a whole is cut first. Neither equality nor the hash of a map depends on how
//! it is cut. Iteration is in instance order.

mod ordered;

use std::hash::{Hash, Hasher};

use self::ordered::Ordered;
use super::entries::{Entries, EntriesBuilder, EntryRef};
use super::types::{Counted, ENTRY_BYTES_MAX, Instance, Piece, Run};

/// Once this many instances are complete, their segments are joined if they are small.
const BLOCK_INSTANCES: u64 = 64;

/// A block in fewer segments than this is left as it is: they are not small.
const BLOCK_SEGMENTS_MIN: usize = 8;

/// Blocks of small segments are joined into segments of at most this many bytes.
const BLOCK_BYTES: usize = 1 << 14;

// A block of lone values has enough segments to be joined.
const _: () = assert!(BLOCK_SEGMENTS_MIN as u64 <= BLOCK_INSTANCES);

/// Entries of consecutive instances: what one Accept, Decide or CatchUpReply carries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Page {
    /// The instance of the first entry.
    pub from: Instance,
    /// The entries.
    pub entries: Entries,
}

impl Page {
    /// The instances.
    pub fn run(&self) -> Run<Instance> {
        Run::new(self.from, self.from.plus(self.entries.len() as u64))
    }

    /// The instance above the last leader-assigned one; the first of all instances if there is
    /// none.
    pub fn leader_assigned_end(&self) -> Instance {
        match self.entries.leader_assigned_len() {
            0 => Instance::FIRST,
            count => self.from.plus(count as u64),
        }
    }

    /// The pieces of checkpoints among them.
    pub fn pieces(&self) -> impl Iterator<Item = (Instance, Piece)> {
        self.from.numbering(&self.entries).filter_map(|(instance, entry)| match entry {
            EntryRef::Checkpoint { piece, .. } => Some((instance, piece)),
            EntryRef::Noop | EntryRef::Value { .. } | EntryRef::Part { .. } => None,
        })
    }

    /// The first `count` entries, and those behind them.
    pub fn split(self, count: usize) -> (Page, Option<Page>) {
        if count >= self.entries.len() {
            return (self, None);
        }
        let behind = self.entries.slice(count, self.entries.len());
        let head = Page { from: self.from, entries: self.entries.slice(0, count) };
        let tail = Page { from: self.from.plus(count as u64), entries: behind };
        (head, Some(tail))
    }

    /// The part of it at `instance` or above.
    pub fn from_on(self, instance: Instance) -> Option<Page> {
        let below = instance.0.saturating_sub(self.from.0);
        match usize::try_from(below).unwrap_or(usize::MAX) {
            0 => Some(self),
            below => self.split(below).1,
        }
    }

    /// The part of it that lies in `run`, which begins and ends within it.
    pub fn part(&self, run: Run<Instance>) -> Page {
        let place = |instance: Instance| (instance.0 - self.from.0) as usize;
        Page { from: run.from, entries: self.entries.slice(place(run.from), place(run.until)) }
    }
}

/// The beginning of a run of instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// These entries, of one segment.
    Entries(Page),
    /// Nothing, up to this instance.
    Nothing(Instance),
}

/// A map from [`Instance`] to an entry, with a `T` for each segment.
#[derive(Clone, Debug)]
pub struct Segments<T> {
    segments: Ordered<Segment<T>>,
    /// How many instances have an entry.
    len: usize,
    /// How many bytes the entries take.
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Segment<T> {
    entries: Entries,
    tag: T,
}

impl<T> Segment<T> {
    fn run(&self, from: Instance) -> Run<Instance> {
        Run::new(from, from.plus(self.entries.len() as u64))
    }

    /// The entries of `run`, which lies within the segment that begins at `from`.
    fn part(&self, from: Instance, run: Run<Instance>) -> Page {
        let whole = Page { from, entries: self.entries.clone() };
        if whole.run() == run { whole } else { whole.part(run) }
    }
}

impl<T> Default for Segments<T> {
    fn default() -> Self {
        Segments { segments: Ordered::default(), len: 0, bytes: 0 }
    }
}

impl<T: PartialEq> PartialEq for Segments<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for Segments<T> {}

impl<T: Hash> Hash for Segments<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        self.iter().for_each(|held| held.hash(state));
    }
}

impl<T> Segments<T> {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many instances have an entry.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many bytes the entries take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The lowest instance that has an entry.
    pub fn first(&self) -> Option<Instance> {
        self.segments.first().map(|(from, _)| from)
    }

    /// The instances of the last segment.
    pub fn last_run(&self) -> Option<Run<Instance>> {
        self.segments.last().map(|(from, segment)| segment.run(from))
    }

    /// The first segment's entries.
    pub fn first_page(&self) -> Option<Page> {
        let (from, segment) = self.segments.first()?;
        Some(Page { from, entries: segment.entries.clone() })
    }

    /// Whether `instance` has an entry.
    pub fn contains(&self, instance: Instance) -> bool {
        self.covering(instance).is_some()
    }

    /// The entry of `instance`, and the tag of its segment.
    pub fn get(&self, instance: Instance) -> Option<(EntryRef<'_>, &T)> {
        let (from, segment) = self.covering(instance)?;
        let entry = segment.entries.get((instance.0 - from.0) as usize)?;
        Some((entry, &segment.tag))
    }

    /// Every instance that has an entry, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Instance, EntryRef<'_>, &T)> {
        self.segments.iter().flat_map(|(from, segment)| {
            let numbered = from.numbering(&segment.entries);
            numbered.map(|(instance, entry)| (instance, entry, &segment.tag))
        })
    }

    /// The instances of `run` that have an entry, as runs in order, a run for each segment. An
    /// inverted run is empty.
    pub fn spans(&self, run: Run<Instance>) -> impl Iterator<Item = (Run<Instance>, &T)> {
        self.within(run).map(move |(span, _, segment)| (span, &segment.tag))
    }

    /// The entries of `run`, in order, a page for each segment.
    pub fn pages(&self, run: Run<Instance>) -> impl Iterator<Item = (Page, &T)> {
        self.within(run).map(|(span, from, segment)| (segment.part(from, span), &segment.tag))
    }

    /// The beginning of `run`, which must not be empty.
    pub fn at(&self, run: Run<Instance>) -> Held {
        let Some((from, segment)) = self.covering(run.from) else {
            let next = self.segments.range(run).next();
            return Held::Nothing(next.map_or(run.until, |(from, _)| from));
        };
        let until = segment.run(from).until.min(run.until);
        Held::Entries(segment.part(from, Run::new(run.from, until)))
    }

    /// The segment that `instance` belongs to, and where it begins.
    fn covering(&self, instance: Instance) -> Option<(Instance, &Segment<T>)> {
        let (from, segment) = self.segments.up_to(instance)?;
        segment.run(from).contains(instance).then_some((from, segment))
    }

    /// The segments that have a part in `run`: that part, and where the segment begins.
    fn within(
        &self,
        run: Run<Instance>,
    ) -> impl Iterator<Item = (Run<Instance>, Instance, &Segment<T>)> {
        // Mostly the first segment is the only one.
        let first = self.covering(run.from).filter(|_| !run.is_empty());
        let behind = first.map_or(run.from, |(from, segment)| segment.run(from).until);
        let others = (behind < run.until).then(|| self.segments.range(Run::new(behind, run.until)));
        first.into_iter().chain(others.into_iter().flatten()).map(move |(from, segment)| {
            let whole = segment.run(from);
            let span = Run::new(whole.from.max(run.from), whole.until.min(run.until));
            (span, from, segment)
        })
    }

    /// Whether any instance of `run` has an entry.
    pub fn overlaps(&self, run: Run<Instance>) -> bool {
        // Mostly the run lies behind everything.
        let is_behind = self.last_run().is_none_or(|last| last.until <= run.from);
        !is_behind && self.within(run).next().is_some()
    }
}

impl<T: Clone + PartialEq> Segments<T> {
    /// Inserts the entries of `page`, replacing those that were there.
    pub fn insert(&mut self, page: Page, tag: T) {
        let Page { from, entries } = page;
        assert!(!entries.is_empty(), "a page has entries");
        let run = Run::new(from, from.plus(entries.len() as u64));
        if self.overlaps(run) {
            self.take(run, |_, _| {});
        }
        self.len += entries.len();
        self.bytes += entries.bytes();
        self.segments.insert(from, Segment { entries, tag });
    }

    /// The same for entries that are kept for long: small segments are joined now and then.
    pub fn keep(&mut self, page: Page, tag: T) {
        let run = page.run();
        self.insert(page, tag);
        let (before, behind) = (run.from.0 / BLOCK_INSTANCES, run.until.0 / BLOCK_INSTANCES);
        if before == behind {
            return;
        }
        let end = Instance(behind * BLOCK_INSTANCES);
        let block = Run::new(Instance(end.0 - BLOCK_INSTANCES), end);
        if self.segments.range(block).count() >= BLOCK_SEGMENTS_MIN {
            self.join(block, BLOCK_BYTES);
        }
    }

    /// Removes the entries of `run`, and calls `taken` with each page.
    pub fn take(&mut self, run: Run<Instance>, mut taken: impl FnMut(Page, T)) {
        if run.is_empty() || self.is_empty() {
            return;
        }
        // Mostly it is one segment.
        let is_it = |segment: &Segment<T>| segment.run(run.from) == run;
        if let Some(Segment { entries, tag }) = self.segments.take_recent(run.from, is_it) {
            self.len -= entries.len();
            self.bytes -= entries.bytes();
            return taken(Page { from: run.from, entries }, tag);
        }
        self.cut(run.from);
        self.cut(run.until);
        let (len, bytes) = (&mut self.len, &mut self.bytes);
        self.segments.take(run, |from, Segment { entries, tag }| {
            *len -= entries.len();
            *bytes -= entries.bytes();
            taken(Page { from, entries }, tag);
        });
    }

    /// Calls `change` with the page and the tag of each segment of `run`.
    pub fn change(
        &mut self,
        run: Run<Instance>,
        mut change: impl FnMut(Run<Instance>, &Entries, &mut T),
    ) {
        if run.is_empty() || self.is_empty() {
            return;
        }
        // Mostly it is one segment.
        if let Some(segment) = self.segments.recent_mut(run.from)
            && segment.run(run.from) == run
        {
            #[cfg(test)]
            super::entries::steps::take();
            return change(run, &segment.entries, &mut segment.tag);
        }
        self.cut(run.from);
        self.cut(run.until);
        for (from, segment) in self.segments.range_mut(run) {
            #[cfg(test)]
            super::entries::steps::take();
            change(segment.run(from), &segment.entries, &mut segment.tag);
        }
    }

    /// Makes a segment begin at `instance`, if one has it.
    fn cut(&mut self, instance: Instance) {
        // Mostly it lies behind everything, or where the first segment begins.
        let is_behind = self.last_run().is_none_or(|last| last.until <= instance);
        if is_behind || self.first() >= Some(instance) {
            return;
        }
        let Some((from, segment)) = self.segments.below_mut(instance) else { return };
        if !segment.run(from).contains(instance) {
            return;
        }
        let place = (instance.0 - from.0) as usize;
        let (entries, tag) =
            (segment.entries.slice(place, segment.entries.len()), segment.tag.clone());
        segment.entries = segment.entries.slice(0, place);
        self.segments.insert(instance, Segment { entries, tag });
    }

    /// Joins neighbours with equal tags that begin in `run` into segments of at most `bytes_max`.
    pub fn join(&mut self, run: Run<Instance>, bytes_max: usize) {
        let mut from = run.from;
        while from < run.until {
            let mut segments = self.segments.range(Run::new(from, run.until));
            let Some((first, head)) = segments.next() else { return };
            let mut joined = head.run(first);
            let mut bytes = head.entries.bytes();
            for (next, segment) in segments {
                let more = segment.entries.bytes();
                if next != joined.until || segment.tag != head.tag || bytes + more > bytes_max {
                    break;
                }
                bytes += more;
                joined.until = segment.run(next).until;
            }
            from = joined.until;
            if joined.until != head.run(first).until {
                self.replace_by_one(joined, bytes);
            }
        }
    }

    /// Joins the segments of `run`, which are whole and adjacent and have `bytes` together.
    fn replace_by_one(&mut self, run: Run<Instance>, bytes: usize) {
        let mut builder = EntriesBuilder::with_capacity(bytes + ENTRY_BYTES_MAX);
        let mut kept = None;
        self.segments.take(run, |_, Segment { entries, tag }| {
            builder.extend(&entries);
            kept.get_or_insert(tag);
        });
        let Some(tag) = kept else { return };
        let entries = builder.finish();
        self.bytes = self.bytes - bytes + entries.bytes();
        self.segments.insert(run.from, Segment { entries, tag });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::types::{AssignedBy, Entry, Number, Origin, Session, Value};

    fn page(from: u64, count: u64) -> Page {
        let session = Session { client: 1, boot: 7 };
        let entry = |number| {
            let origin = Origin::new(session, Number(number), AssignedBy::Client);
            Entry::Value { origin, value: Value::new(&number.to_le_bytes()[..3]) }
        };
        Page { from: Instance(from), entries: (from..from + count).map(entry).collect() }
    }

    /// The map as the model has it: a page's entries name their instances, so the tag is enough.
    fn held(map: &Segments<u8>) -> Vec<(u64, u8)> {
        let entry = |(instance, entry, tag): (Instance, EntryRef<'_>, &u8)| {
            assert_eq!(entry.origin().map(|origin| origin.number.0), Some(instance.0));
            (instance.0, *tag)
        };
        map.iter().map(entry).collect()
    }

    proptest! {
        /// After any operations it answers as an ordered map of single instances does.
        #[test]
        fn it_behaves_like_an_ordered_map(
            steps in prop::collection::vec((0..5u8, 1..200u64, 1..30u64, 0..2u8), 0..80),
        ) {
            let mut model: BTreeMap<u64, u8> = BTreeMap::new();
            let mut map: Segments<u8> = Segments::new();
            for (action, from, count, tag) in steps {
                let (until, run) = (from + count, Run::new(Instance(from), Instance(from + count)));
                let expected: Vec<u64> = model.range(from..until).map(|(key, _)| *key).collect();
                let spans = map.spans(run).flat_map(|(span, _)| span.iter());
                prop_assert!(spans.map(|instance| instance.0).eq(expected.iter().copied()));
                let pages = map.pages(run).flat_map(|(page, _)| page.run().iter());
                prop_assert!(pages.map(|instance| instance.0).eq(expected.iter().copied()));
                prop_assert_eq!(map.overlaps(run), !expected.is_empty());
                match map.at(run) {
                    Held::Entries(page) => prop_assert_eq!(page.from.0, expected[0]),
                    Held::Nothing(end) => {
                        prop_assert_eq!(end.0, expected.first().copied().unwrap_or(until));
                    }
                }
                match action {
                    0 => map.insert(page(from, count), tag),
                    1 => map.keep(page(from, count), tag),
                    2 => {
                        let mut taken = Vec::new();
                        map.take(run, |page, _| taken.extend(page.run().iter().map(|one| one.0)));
                        prop_assert_eq!(taken, expected);
                    }
                    3 => map.change(run, |_, _, held| *held = tag),
                    _ => map.join(run, 64),
                }
                match action {
                    0 | 1 => model.extend((from..until).map(|key| (key, tag))),
                    2 => model.retain(|key, _| !(from..until).contains(key)),
                    3 => model.range_mut(from..until).for_each(|(_, held)| *held = tag),
                    _ => {}
                }
                prop_assert_eq!(held(&map), model.clone().into_iter().collect::<Vec<_>>());
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.first().map(|first| first.0), model.keys().next().copied());
                prop_assert_eq!(map.contains(run.from), model.contains_key(&from));
                prop_assert_eq!(map.get(run.from).map(|(_, tag)| *tag), model.get(&from).copied());
            }
            // How it is cut cannot be seen.
            let mut single = Segments::new();
            model.iter().for_each(|(key, tag)| single.insert(page(*key, 1), *tag));
            prop_assert_eq!(&map, &single);
            let hash = |map: &Segments<u8>| {
                let mut state = std::hash::DefaultHasher::new();
                map.hash(&mut state);
                state.finish()
            };
            prop_assert_eq!(hash(&map), hash(&single));
        }
    }

    #[test]
    fn single_entries_that_are_kept_are_joined_by_the_block() {
        let mut map = Segments::new();
        (1..=1000).for_each(|instance| map.keep(page(instance, 1), ()));
        assert_eq!(map.segments.iter().count(), 1000 / 64 + 1000 % 64 + 1);
    }

    #[test]
    fn an_inverted_run_is_empty() {
        let mut map = Segments::new();
        map.insert(page(5, 1), ());
        let inverted = Run { from: Instance(9), until: Instance(3) };
        assert_eq!(map.spans(inverted).count(), 0);
        map.take(inverted, |_, _| panic!("nothing is there"));
    }
}
