//! What is known of entries as a whole, so that most questions about them need no reading.

use super::form::{Link, time_of};
use super::{Entries, EntryRef};
use crate::protocol::types::AssignedBy;

/// What entries are made up of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Makeup {
    /// Whether all of them are no-ops, or all are one session's consecutive numbers.
    pub is_run: bool,
    /// Whether there may be parts of values among them.
    pub has_parts: bool,
    /// The same for pieces of checkpoints.
    pub has_checkpoints: bool,
    /// Whether there may be values among them at instances that their clients asked for.
    pub has_client_assigned: bool,
    /// Whether their times may differ.
    pub times_differ: bool,
}

impl Default for Makeup {
    /// The makeup of no entries, or of no-ops alone.
    fn default() -> Self {
        Makeup {
            is_run: true,
            has_parts: false,
            has_checkpoints: false,
            has_client_assigned: false,
            times_differ: false,
        }
    }
}

impl Makeup {
    /// An entry is added that is connected with the last one by `link`, or is the first.
    pub fn add(&mut self, is_first: bool, link: Link, entry: EntryRef<'_>) {
        if !is_first {
            self.is_run &= link.follows;
            self.times_differ |= link.time != entry.time();
        }
        self.has_parts |= matches!(entry, EntryRef::Part { .. });
        self.has_checkpoints |= matches!(entry, EntryRef::Checkpoint { .. });
        self.has_client_assigned |= matches!(
            entry,
            EntryRef::Value { origin, .. } if origin.assigned_by == AssignedBy::Client
        );
    }

    /// The same for one entry or more, which need not be read.
    pub fn join(&mut self, is_first: bool, link: Link, entries: &Entries) {
        let more = entries.makeup;
        if !is_first {
            self.is_run &= link.follows;
            self.times_differ |= link.time != time_of(entries.origin);
        }
        self.is_run &= more.is_run;
        self.times_differ |= more.times_differ;
        self.has_parts |= more.has_parts;
        self.has_checkpoints |= more.has_checkpoints;
        self.has_client_assigned |= more.has_client_assigned;
    }
}
