//! Putting entries together, one by one or batch by batch.

use super::form::{Link, put, put_all, time_of};
use super::makeup::Makeup;
use super::{Entries, EntryRef, follows};
use crate::protocol::types::{ENTRY_BYTES_MAX, Origin, Part};

/// Puts entries together. It can be used again, and reuses its memory.
#[derive(Clone, Debug, Default)]
pub struct EntriesBuilder {
    bytes: Vec<u8>,
    count: u32,
    /// The origins of the first and of the last entry.
    first: Option<Origin>,
    pub(super) last: Option<Origin>,
    makeup: Makeup,
}

impl EntriesBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with memory for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        EntriesBuilder { bytes: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes they would take with one more entry, the next of the last one's session.
    pub fn bytes_with(&self, entry: EntryRef<'_>) -> usize {
        let number_bytes = |number| match number {
            0..=250 => 1,
            251..=0xffff => 3,
            _ => 5,
        };
        let sized = |bytes: &[u8]| number_bytes(bytes.len()) + bytes.len();
        let more = match entry {
            EntryRef::Noop => 0,
            EntryRef::Value { value, .. } => sized(value),
            EntryRef::Part { part: Part::First { value_bytes }, bytes, .. } => {
                number_bytes(value_bytes as usize) + sized(bytes)
            }
            EntryRef::Part { bytes, .. } => sized(bytes),
            EntryRef::Checkpoint { bytes, .. } => ENTRY_BYTES_MAX + bytes.len(),
        };
        self.bytes.len() + 1 + more
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: EntryRef<'_>) {
        let link = Link { time: time_of(self.last), follows: follows(self.last, entry) };
        self.makeup.add(self.count == 0, link, entry);
        put(entry, link, &mut self.bytes);
        self.last = entry.origin();
        if self.count == 0 {
            self.first = self.last;
        }
        self.count += 1;
    }

    /// Adds entries, without reading them.
    pub fn extend(&mut self, entries: &Entries) {
        if entries.is_empty() {
            return;
        }
        let is_first = self.count == 0;
        let follows = !is_first && entries.follow(self.last);
        let link = Link { time: time_of(self.last), follows };
        put_all(entries.as_bytes(), entries.origin, link, &mut self.bytes);
        self.makeup.join(is_first, link, entries);
        if is_first {
            self.first = entries.origin;
        }
        self.count += entries.count;
        self.last = entries.last_origin();
    }

    /// Everything that was added since the last time.
    pub fn finish(&mut self) -> Entries {
        assert!(self.bytes.len() <= u32::MAX as usize, "the caller fills datagrams");
        let (shared, until) = (self.bytes.as_slice().into(), self.bytes.len() as u32);
        let EntriesBuilder { count, makeup, first: origin, .. } = *self;
        let entries = Entries { shared, from: 0, until, count, makeup, origin };
        self.bytes.clear();
        (self.count, self.first, self.last) = (0, None, None);
        self.makeup = Makeup::default();
        entries
    }
}
