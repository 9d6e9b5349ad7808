//! Putting entries together, one by one or batch by batch.

use super::form::{put, put_all, time_of};
use super::{Entries, EntryRef, follows};
use crate::protocol::types::{ENTRY_BYTES_MAX, Origin, Part};

/// Puts entries together. It can be used again, and keeps its memory for that.
#[derive(Clone, Debug, Default)]
pub struct EntriesBuilder {
    bytes: Vec<u8>,
    count: u32,
    /// The origins of the first and of the last entry.
    first: Option<Origin>,
    pub(super) last: Option<Origin>,
    /// Whether not all of them are no-ops, or one session's consecutive numbers.
    is_mixed: bool,
    has_parts: bool,
    has_checkpoints: bool,
    times_differ: bool,
}

impl EntriesBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
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
        self.is_mixed |= self.count > 0 && !follows(self.last, entry);
        self.has_parts |= matches!(entry, EntryRef::Part { .. });
        self.has_checkpoints |= matches!(entry, EntryRef::Checkpoint { .. });
        self.times_differ |= self.count > 0 && time_of(self.last) != time_of(entry.origin());
        put(entry, self.last, &mut self.bytes);
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
        let (origin, has_some) = (entries.origin, self.count > 0);
        put_all(entries.as_bytes(), origin, self.last, &mut self.bytes);
        self.is_mixed |= !entries.is_run || (has_some && !entries.follow(self.last));
        self.times_differ |=
            entries.times_differ || (has_some && time_of(self.last) != time_of(origin));
        self.has_parts |= entries.has_parts;
        self.has_checkpoints |= entries.has_checkpoints;
        if !has_some {
            self.first = origin;
        }
        self.count += entries.count;
        self.last = entries.last_origin();
    }

    /// Everything that was added since the last time.
    pub fn finish(&mut self) -> Entries {
        assert!(self.bytes.len() <= u32::MAX as usize, "the caller fills datagrams");
        let until = self.bytes.len() as u32;
        let (shared, is_run) = (self.bytes.as_slice().into(), !self.is_mixed);
        let EntriesBuilder {
            count, has_parts, has_checkpoints, times_differ, first: origin, ..
        } = *self;
        let from = 0;
        let entries = Entries {
            shared,
            from,
            until,
            count,
            is_run,
            has_parts,
            has_checkpoints,
            times_differ,
            origin,
        };
        self.bytes.clear();
        (self.count, self.first, self.last) = (0, None, None);
        (self.is_mixed, self.has_parts) = (false, false);
        (self.has_checkpoints, self.times_differ) = (false, false);
        entries
    }
}
