//! What a leader writes into the log itself: checkpoints, histories and limits.

use super::Leadership;
use crate::protocol::checkpoint::{Checkpoint, History, Limit};
use crate::protocol::decided_log::DecidedLog;
use crate::protocol::packing::pages;
use crate::protocol::segments::Page;
use crate::protocol::types::Entry;

impl Leadership {
    /// Whether a checkpoint may be written: the session table is complete, and the last one is
    /// decided.
    pub fn may_write(&self, log: &DecidedLog) -> bool {
        log.watermark() >= self.inherited_end.max(self.written_end)
    }

    /// Proposes `checkpoint` above everything else, a datagram's worth at a time: a longer page
    /// would have to wait until nothing else is in flight. Behind it comes `history`, if any, as
    /// far as a datagram holds it.
    pub fn write(&mut self, checkpoint: &Checkpoint, history: Option<History>) {
        let most = self.settings.part_bytes();
        let mut entries = checkpoint.pieces(most);
        let history = history.and_then(|history| history.within(most));
        entries.extend(history.as_ref().map(History::entry));
        self.write_pieces(entries);
    }

    /// Proposes a limit.
    pub fn write_limit(&mut self, limit: Limit) {
        self.write_pieces(vec![limit.entry()]);
    }

    fn write_pieces(&mut self, entries: Vec<Entry>) {
        let whole = Page { from: self.top, entries: entries.into() };
        self.top = whole.run().until;
        self.leader_assigned_end = self.top;
        self.written_end = self.top;
        let most = self.settings.entries_bytes();
        pages([whole], most).for_each(|page| self.waiting.insert(page, ()));
    }
}
