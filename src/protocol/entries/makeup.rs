//! What is known of entries as a whole, so that most questions about them need no reading.

use super::form::time_of;
use super::{Entries, EntryRef, follows};
use crate::protocol::types::Origin;

/// What entries are made up of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Makeup {
    /// Whether all of them are no-ops, or all are one session's consecutive numbers.
    pub is_run: bool,
    /// Whether there may be parts of values among them.
    pub has_parts: bool,
    /// The same for pieces of checkpoints.
    pub has_checkpoints: bool,
    /// Whether their times may differ.
    pub times_differ: bool,
}

impl Default for Makeup {
    /// The makeup of no entries, or of no-ops alone.
    fn default() -> Self {
        Makeup { is_run: true, has_parts: false, has_checkpoints: false, times_differ: false }
    }
}

impl Makeup {
    /// Adds an entry behind one of origin `last`, or as the first.
    pub fn add(&mut self, is_first: bool, last: Option<Origin>, entry: EntryRef<'_>) {
        if !is_first {
            self.is_run &= follows(last, entry);
            self.times_differ |= time_of(last) != entry.time();
        }
        self.has_parts |= matches!(entry, EntryRef::Part { .. });
        self.has_checkpoints |= matches!(entry, EntryRef::Checkpoint { .. });
    }

    /// The same for one entry or more, which need not be read.
    pub fn join(&mut self, is_first: bool, last: Option<Origin>, entries: &Entries) {
        let more = entries.makeup;
        if !is_first {
            self.is_run &= entries.follow(last);
            self.times_differ |= time_of(last) != time_of(entries.origin);
        }
        self.is_run &= more.is_run;
        self.times_differ |= more.times_differ;
        self.has_parts |= more.has_parts;
        self.has_checkpoints |= more.has_checkpoints;
    }
}
