//! What a leader writes into the log itself: checkpoints, histories, limits, and which sessions
//! have finished.

use super::Leadership;
use crate::protocol::checkpoint::{Checkpoint, Finished, History, Limit};
use crate::protocol::decided_log::DecidedLog;
use crate::protocol::packing::pages;
use crate::protocol::segments::{Held, Page};
use crate::protocol::settings::Retain;
use crate::protocol::types::{Entry, Instance, Run};

/// In how many places holes are looked for, at most, before a checkpoint is written.
const HOLES_LOOKED_AT: usize = 256;

impl Leadership {
    /// Whether a checkpoint may be written: the session table is complete, and the last one is
    /// decided.
    pub fn may_write(&self, log: &DecidedLog) -> bool {
        log.watermark() >= self.inherited_end.max(self.written_end)
    }

    /// Whether nothing may be written because clients may still ask for instances below: where
    /// everything is retained, those stay open for them.
    pub fn keeps_open(&self, log: &DecidedLog) -> bool {
        self.settings.retain == Retain::All && self.has_holes(log)
    }

    /// Whether clients may still ask for instances below the pending ones. A checkpoint would close
    /// those.
    fn has_holes(&self, log: &DecidedLog) -> bool {
        let missing = log.missing(log.decided_below(), self.top, HOLES_LOOKED_AT);
        let is_open = |run: &Run<Instance>| {
            let mut from = run.from;
            while from < run.until {
                match self.under_way_at(Run::new(from, run.until)) {
                    Held::Entries(page) => from = page.run().until,
                    Held::Nothing(_) => return true,
                }
            }
            false
        };
        missing.len() == HOLES_LOOKED_AT || missing.iter().any(is_open)
    }

    /// Proposes `checkpoint` above everything else, a datagram's worth at a time: a longer page
    /// would have to wait until nothing else is in flight. Behind it comes `history`, if any, as
    /// far as a datagram holds it.
    pub fn write(&mut self, checkpoint: &Checkpoint, history: History) {
        let most = self.settings.part_bytes();
        let mut entries = checkpoint.pieces(most);
        entries.extend(history.within(most).as_ref().map(History::entry));
        self.write_pieces(entries);
    }

    /// Proposes which sessions have finished, and behind it a limit, which heeds it.
    pub fn write_remembered(&mut self, finished: Option<Finished>, limit: Option<Limit>) {
        let finished = finished.as_ref().map(Finished::entry);
        self.write_pieces(finished.into_iter().chain(limit.map(Limit::entry)).collect());
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
