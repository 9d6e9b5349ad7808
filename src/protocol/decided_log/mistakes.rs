//! The decided log with deliberate bugs; see `protocol::parts`.

use std::mem;
use std::ops::{Deref, DerefMut};

use super::{LetsGo, Occurrence};
use crate::bugs::{self, Bug};
use crate::protocol::assembly::AssemblyLimits;
use crate::protocol::checkpoint::Checkpoint;
use crate::protocol::entries::EntryRef;
use crate::protocol::parts::Sessions;
use crate::protocol::segments::Page;
use crate::protocol::types::{Counted, Instance, LogTime, Number, Origin, Run};

/// [`super::DecidedLog`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DecidedLog(super::DecidedLog);

impl Deref for DecidedLog {
    type Target = super::DecidedLog;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for DecidedLog {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl DecidedLog {
    /// See [`super::DecidedLog::new`].
    pub fn new() -> Self {
        Self::default()
    }

    /// See [`super::DecidedLog::with_limits`].
    pub fn with_limits(limits: AssemblyLimits) -> Self {
        DecidedLog(super::DecidedLog::with_limits(limits))
    }

    /// See [`super::DecidedLog::deliver`].
    pub fn deliver(&mut self, mut passed: impl FnMut(Page, Occurrence)) {
        let mut passed = |page, occurrence| match occurrence {
            Occurrence::Skipped if bugs::has(Bug::DeliversTwice) => {
                passed(page, Occurrence::Delivered);
            }
            _ => passed(page, occurrence),
        };
        if bugs::has(Bug::TakesPartsTwice) || bugs::has(Bug::TakesPartsOutOfOrder) {
            self.deliver_parts(&mut passed);
        }
        self.0.deliver(&mut passed);
        while bugs::has(Bug::SkipsUnknownKinds)
            && let Some(unknown) = self.0.stopped_by.take()
        {
            self.0.watermark = unknown.at.next();
            self.0.deliver(&mut passed);
        }
        while bugs::has(Bug::DeliversOverGaps) && self.skip_gap() {
            self.0.deliver(&mut passed);
        }
    }

    /// Moves delivery on up to the last part that is here, and accepts in its place each part that
    /// is not the next of its session.
    fn deliver_parts(&mut self, passed: &mut impl FnMut(Page, Occurrence)) {
        let decided = self.entries.pages(Run::new(self.watermark, self.end));
        let entries = decided.flat_map(|(page, ())| {
            let origin_of = |(instance, entry): (Instance, EntryRef<'_>)| match entry {
                EntryRef::Part { origin, .. } => Some((instance, origin)),
                EntryRef::Noop | EntryRef::Value { .. } | EntryRef::Checkpoint { .. } => None,
            };
            page.from.numbering(&page.entries).filter_map(origin_of).collect::<Vec<_>>()
        });
        let parts: Vec<(Instance, Origin)> = entries.collect();
        for (instance, origin) in parts {
            self.deliver_until(instance, passed);
            if self.watermark != instance {
                return;
            }
            let next = self.let_in(origin);
            self.deliver_until(instance.next(), passed);
            if let Some(position) = self.sessions.get_mut(origin.session)
                && !position.has_ended
            {
                position.next = next.map_or(position.next, |next| next.max(position.next));
            }
        }
    }

    /// Moves delivery on, and no further than this.
    fn deliver_until(&mut self, until: Instance, passed: &mut impl FnMut(Page, Occurrence)) {
        let end = mem::replace(&mut self.end, until);
        self.0.deliver(passed);
        self.end = end;
    }

    /// Makes the part of this origin the next one of its session. Returns the number that was next.
    fn let_in(&mut self, origin: Origin) -> Option<Number> {
        let position = self.sessions.get_mut(origin.session)?;
        let next = position.next;
        let is_again = origin.number < next;
        let bug = if is_again { Bug::TakesPartsTwice } else { Bug::TakesPartsOutOfOrder };
        if bugs::has(bug) {
            position.next = origin.number;
        }
        Some(next)
    }

    /// Skips the missing instances at the watermark. Returns whether there are any, and anything
    /// lies behind them: delivery can also stop at an entry that is here.
    fn skip_gap(&mut self) -> bool {
        let above = Run::new(self.watermark, self.end);
        let next = self.entries.spans(above).next().map(|(span, ())| span.from);
        let behind = next.unwrap_or(self.watermark);
        mem::replace(&mut self.watermark, behind) != behind
    }

    /// See [`super::DecidedLog::checkpoint`].
    pub fn checkpoint(&self, lets_go: LetsGo) -> Checkpoint {
        let mut checkpoint = self.0.checkpoint(lets_go);
        if bugs::has(Bug::CheckpointLacksSessions) {
            checkpoint.sessions.clear();
        }
        if bugs::has(Bug::CheckpointLacksParts) {
            checkpoint.open.clear();
            checkpoint.head.keep = checkpoint.head.of;
        }
        if bugs::has(Bug::CheckpointLacksHorizon) {
            checkpoint.horizon = Origin::UNSTAMPED;
        }
        if bugs::has(Bug::CheckpointLacksTime) {
            checkpoint.head.time = LogTime::NONE;
        }
        if bugs::has(Bug::CheckpointLacksName) {
            checkpoint.name = 0;
        }
        checkpoint
    }

    /// See [`super::DecidedLog::restore`].
    pub fn restore(&mut self, mut checkpoint: Checkpoint) {
        if bugs::has(Bug::RestoresWithoutParts) {
            checkpoint.open.clear();
        }
        self.0.restore(checkpoint);
    }

    /// See [`super::DecidedLog::take_up`].
    pub fn take_up(&mut self) -> Option<Instance> {
        let known: Vec<_> = self.sessions.positions().collect();
        let of = self.0.take_up()?;
        if bugs::has(Bug::MergesSessions) {
            // Where both know a session, the checkpoint knows more.
            let all = known.into_iter().chain(self.sessions.positions()).collect();
            self.sessions = Sessions::restored(all, self.sessions.horizon());
        }
        Some(of)
    }

    /// See [`super::DecidedLog::is_within_checkpoint`].
    pub fn is_within_checkpoint(&self) -> bool {
        self.0.is_within_checkpoint() && !bugs::has(Bug::SnapshotsWithinCheckpoints)
    }
}
