//! What happens when delivery passes a checkpoint, how the log is trimmed, and how a process takes
//! up a log whose beginning is gone.

use std::collections::BTreeSet;

use super::{DecidedLog, Occurrence};
use crate::protocol::checkpoint::{self, Checkpoint, Finished, Head, History, Limit, UnknownKind};
use crate::protocol::entries::EntryRef;
use crate::protocol::message::Progress;
use crate::protocol::parts::Sessions;
use crate::protocol::segments::Held;
use crate::protocol::types::{Counted, Instance, NodeId, Piece, Role, Run};

/// What a checkpoint lets go of below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetsGo {
    /// See [`Head::trim`].
    pub trim: Instance,
    /// See [`Head::forget`].
    pub forget: Instance,
    /// See [`Head::idle_below`].
    pub idle_below: Instance,
}

impl LetsGo {
    /// Nothing.
    pub const NONE: LetsGo =
        LetsGo { trim: Instance::FIRST, forget: Instance::FIRST, idle_below: Instance::FIRST };
}

impl DecidedLog {
    /// Whether the entry at `instance` ends something that must be understood, of a kind that this
    /// release does not know: delivery stops in front of it.
    pub(super) fn must_stop_at(&mut self, instance: Instance, piece: Piece) -> bool {
        self.stopped_by = self.unknown_at(instance, piece);
        self.stopped_by.is_some()
    }

    /// What ends at `instance`, if it must be understood and this release does not know its kind.
    fn unknown_at(&self, at: Instance, piece: Piece) -> Option<UnknownKind> {
        let run = checkpoint::whole(at, piece, |instance| self.get(instance))?;
        let Some(EntryRef::Checkpoint { bytes, .. }) = self.get(run.from) else { return None };
        let kind = checkpoint::unknown_kind(bytes);
        let kind = kind.filter(|kind| checkpoint::must_be_understood(*kind))?;
        self.bytes_of(run).map(|_| UnknownKind { kind, at })
    }

    /// Where delivery, or taking up the log, has stopped for good: at an entry that must be
    /// understood, of a kind that this release does not know. The process must end.
    pub fn stopped_by(&self) -> Option<UnknownKind> {
        self.stopped_by
    }

    /// A piece of a checkpoint is passed at `instance`. With the last one of a whole checkpoint the
    /// log is trimmed.
    pub(super) fn pass_piece(&mut self, instance: Instance, piece: Piece) -> Occurrence {
        if let Some(limit) = self.get(instance).and_then(Limit::of) {
            return self.pass_limit(limit);
        }
        if let Some(finished) = self.get(instance).and_then(Finished::read) {
            return self.pass_finished(finished);
        }
        if let Some(history) = self.get(instance).and_then(History::read) {
            // It stands behind what it is of.
            let is_possible = history.of <= instance;
            return if is_possible { Occurrence::History(history) } else { Occurrence::Noop };
        }
        let whole = checkpoint::whole(instance, piece, |instance| self.get(instance));
        // A checkpoint is of a place that was delivered before it.
        let checkpoint = whole.and_then(|run| self.content(run));
        let checkpoint = checkpoint.filter(|checkpoint| checkpoint.head.of <= instance);
        let Some(Checkpoint { head, .. }) = checkpoint else { return Occurrence::Noop };
        while let Some((session, first)) = self.assemblies.give_up_below(head.idle_below) {
            self.end_session(session, first);
        }
        // A process that took up the log later does not know the points from before.
        let is_point = |points: &BTreeSet<Instance>, point| {
            points.contains(&point) || points.first().is_none_or(|first| point < *first)
        };
        if is_point(&self.trim_points, head.trim) {
            self.trimmed = self.trimmed.max(head.trim);
        }
        if is_point(&self.trim_points, head.forget) {
            self.forgotten = self.forgotten.max(head.forget);
        }
        self.let_go();
        self.trim_points.insert(head.keep);
        Occurrence::Checkpoint(head)
    }

    /// From here on only as many sessions are remembered as `limit` says.
    fn pass_limit(&mut self, limit: Limit) -> Occurrence {
        Occurrence::Limit(self.limit_sessions(limit))
    }

    /// Forgets sessions as `limit` says, and says how many.
    pub(in crate::protocol) fn limit_sessions(&mut self, limit: Limit) -> u64 {
        let forgotten = self.sessions.forget(limit);
        for session in &forgotten {
            self.assemblies.drop_open(*session);
        }
        forgotten.len() as u64
    }

    /// These sessions end, where they have come as far as is said.
    fn pass_finished(&mut self, finished: Finished) -> Occurrence {
        for (session, next) in &finished.sessions {
            if self.sessions.get(*session).is_some_and(|position| position.next == *next) {
                self.end_session(*session, *next);
            }
        }
        Occurrence::Finished(finished)
    }

    /// Drops everything that need not be held any more.
    fn let_go(&mut self) {
        let first = self.trimmed.max(self.forgotten.min(self.pinned));
        self.begin_at(first);
    }

    /// Keeps entries from `instance` on because they are needed here, even if they may be
    /// forgotten.
    pub fn pin(&mut self, instance: Instance) {
        self.pinned = instance;
        self.let_go();
    }

    /// Entries below it need not be held, as checkpoints passed here say.
    pub fn forgotten(&self) -> Instance {
        self.forgotten.max(self.trimmed)
    }

    /// Nobody keeps entries below it, as checkpoints passed here say.
    pub fn trimmed(&self) -> Instance {
        self.trimmed
    }

    /// Drops everything below `first`, all of which is decided.
    pub(in crate::protocol) fn begin_at(&mut self, first: Instance) {
        if first <= self.first {
            return;
        }
        self.first = first;
        self.end = self.end.max(first);
        self.leader_assigned_end = self.leader_assigned_end.max(first);
        self.entries.take(Run::new(Instance::FIRST, first), |_, ()| {});
        self.pieces = self.pieces.split_off(&first);
        self.trim_points = self.trim_points.split_off(&first);
        if first > self.watermark {
            self.count_ahead();
        }
    }

    fn count_ahead(&mut self) {
        let above = self.entries.pages(Run::new(self.watermark, self.end.max(self.watermark)));
        self.ahead = above.map(|(page, ())| page.entries.bytes()).sum();
    }

    /// The state of delivery now, to be written into the log or into a snapshot.
    pub fn checkpoint(&self, lets_go: LetsGo) -> Checkpoint {
        let LetsGo { trim, forget, idle_below } = lets_go;
        let of = self.watermark;
        let open = self.assemblies.open_values();
        let lowest = open.iter().filter_map(|value| value.instances.first()).min();
        let keep = lowest.copied().unwrap_or(of);
        let sessions = self.sessions.positions().collect();
        let horizon = self.sessions.horizon();
        let head = Head { of, keep, trim, forget, idle_below, time: self.time };
        Checkpoint { head, name: self.name, sessions, horizon, open }
    }

    /// `source` holds `progress` and says that nobody keeps entries below some point: those that
    /// are not known here cannot be had. Returns whether that is news and the log must be taken up
    /// further on.
    ///
    /// A proposer has it from the log or from a quorum of acceptors. A learner is not believed: one
    /// left over from a cluster that is gone would make every new process wait for a log that does
    /// not exist. A leader knows everything that can be known here.
    pub fn note_trimmed(&mut self, source: NodeId, progress: Progress) -> bool {
        is_known(source, progress) && self.note_first(progress.trimmed)
    }

    /// The same for entries that `source` does not hold, though acceptors may: this process does
    /// not need them.
    pub fn note_forgotten(&mut self, source: NodeId, progress: Progress) -> bool {
        is_known(source, progress) && self.note_first(progress.first)
    }

    /// The same for an acceptor, which does not hold entries below `first`.
    pub fn note_first(&mut self, first: Instance) -> bool {
        let is_news = first > self.decided_below();
        if is_news {
            self.begin_at(first);
        }
        is_news
    }

    /// Whether delivery has passed a piece of a checkpoint but not its last one.
    pub fn is_within_checkpoint(&self) -> bool {
        let last = self.pieces.range(..self.watermark).next_back();
        last.is_some_and(|(at, piece)| at.next() == self.watermark && !piece.is_last())
    }

    /// Goes on from a snapshot, in a log of which nothing is known yet. The parts of values that
    /// were open then are not in the snapshot: they are learned first, from the kept part of the
    /// log. See [`DecidedLog::take_up`].
    pub fn restore(&mut self, checkpoint: Checkpoint) {
        self.begin_at(checkpoint.head.keep);
        self.name = checkpoint.name;
        self.restored = Some(checkpoint);
    }

    /// Takes the log up at the checkpoint of the kept part, or at a snapshot's, if the next entries
    /// in order cannot be had and everything the checkpoint needs is here. Returns where:
    /// everything below was delivered, by others or by an earlier process. Call
    /// [`DecidedLog::deliver`] afterwards.
    pub fn take_up(&mut self) -> Option<Instance> {
        // Where nothing was trimmed, delivery may have come that far by itself.
        let restored = self.restored.take().filter(|one| self.watermark < one.head.of);
        if let Some(restored) = restored {
            if self.has_parts_of(&restored) {
                let of = self.resume(restored);
                // Below it only these parts were learned.
                self.begin_at(of);
                return Some(of);
            }
            // If the parts are gone, only a checkpoint above can be taken up.
            self.restored = Some(restored).filter(|one| self.first <= one.head.keep);
        }
        if self.watermark >= self.first {
            return None;
        }
        let last = self.pieces.iter().filter(|(_, piece)| piece.is_last());
        let whole = last.filter_map(|(instance, piece)| {
            checkpoint::whole(*instance, *piece, |instance| self.get(instance))
        });
        // While the process may still go on from a snapshot, nothing below its place is of use.
        let beyond = self.restored.as_ref().map_or(self.watermark, |restored| restored.head.of);
        let mut usable = whole.filter_map(|run| {
            let head = checkpoint::head(self.get(run.from)?)?;
            let has_all = head.keep == self.first
                && head.of > beyond
                && head.of <= run.from
                && self.is_held(Run::new(head.keep, head.of));
            has_all.then(|| self.content(run)).flatten()
        });
        let found = usable.find(|checkpoint| self.has_parts_of(checkpoint));
        drop(usable);
        if found.is_none() {
            // The checkpoint that replaces the lost beginning may be the very entry that is not
            // understood.
            let mut last = self.pieces.range(beyond..).filter(|(_, piece)| piece.is_last());
            self.stopped_by = last.find_map(|(instance, piece)| self.unknown_at(*instance, *piece));
        }
        found.map(|checkpoint| self.resume(checkpoint))
    }

    /// Whether every instance of `run` has its entry here.
    fn is_held(&self, run: Run<Instance>) -> bool {
        self.entries.spans(run).map(|(span, ())| span.len()).sum::<u64>() == run.len()
    }

    /// The checkpoint of these pieces, if they are one.
    fn content(&self, run: Run<Instance>) -> Option<Checkpoint> {
        Checkpoint::decode(&self.bytes_of(run)?)
    }

    /// The content of these pieces, if they are of one series.
    fn bytes_of(&self, run: Run<Instance>) -> Option<Vec<u8>> {
        let (mut bytes, mut series) = (Vec::new(), None);
        for instance in run.iter() {
            match self.get(instance)? {
                EntryRef::Checkpoint { bytes: more, piece } => {
                    bytes.extend_from_slice(more);
                    series = Some(piece.series);
                }
                EntryRef::Noop | EntryRef::Value { .. } | EntryRef::Part { .. } => return None,
            }
        }
        (series == Some(checkpoint::series_of(&bytes))).then_some(bytes)
    }

    /// Whether the parts are here that `checkpoint` names.
    fn has_parts_of(&self, checkpoint: &Checkpoint) -> bool {
        // They are learned from the lowest on, so the highest ones tell at once that some are
        // missing. This is asked with every message, and there may be ten thousands of them.
        let mut instances = checkpoint.open.iter().flat_map(|value| &value.instances).rev();
        instances.all(|instance| {
            *instance < checkpoint.head.of
                && matches!(self.get(*instance), Some(EntryRef::Part { .. }))
        })
    }

    /// Replaces the state of delivery by `checkpoint`.
    fn resume(&mut self, checkpoint: Checkpoint) -> Instance {
        let Checkpoint { head, name, sessions, horizon, open } = checkpoint;
        self.name = name;
        self.sessions = Sessions::restored(sessions, horizon);
        let mut assemblies = self.assemblies.emptied();
        let mut parts: Vec<Instance> = open.into_iter().flat_map(|value| value.instances).collect();
        parts.sort_unstable();
        for instance in parts {
            if let Held::Entries(page) = self.entries.at(Run::new(instance, instance.next())) {
                assemblies.take(instance, page.entries);
            }
        }
        self.assemblies = assemblies;
        (self.watermark, self.time) = (head.of, head.time);
        self.count_ahead();
        self.begin_at(head.keep);
        self.trimmed = self.trimmed.max(head.trim);
        self.forgotten = self.forgotten.max(head.forget);
        self.trim_points = BTreeSet::from([head.keep]);
        self.watermark
    }
}

/// Whether `source` is believed about what is not kept. A process that has not passed its own
/// beginning knows it by hearsay only.
fn is_known(source: NodeId, progress: Progress) -> bool {
    source.role == Role::Proposer && progress.first <= progress.watermark
}

#[cfg(test)]
mod tests {
    use super::super::tests::{decide, delivered, entry};
    use super::*;
    use crate::protocol::entries::{Entries, steps};
    use crate::protocol::segments::Page;
    use crate::protocol::types::{AssignedBy, Entry, Number, Origin, Part, Session, Value};

    /// Two values of each of two sessions, a checkpoint of them, one more of each, and a checkpoint
    /// that trims the log at the first one.
    fn trimmed() -> DecidedLog {
        let mut log = DecidedLog::new();
        let auto = |client, number| entry(client, number, AssignedBy::Leader);
        let write = |log: &mut DecidedLog, trim| {
            let from = log.end();
            let lets_go = LetsGo { trim, forget: trim, ..LetsGo::NONE };
            let entries = log.checkpoint(lets_go).pieces(1000).into();
            log.decide(Page { from, entries }, |_| {}).expect("it is new");
            delivered(log);
        };
        let add = |log: &mut DecidedLog, number| {
            for client in [1, 2] {
                let at = log.end().0;
                decide(log, at, auto(client, number)).expect("it is new");
            }
            delivered(log);
        };
        add(&mut log, 1);
        add(&mut log, 2);
        write(&mut log, Instance::FIRST);
        add(&mut log, 3);
        assert_eq!(log.first(), Instance::FIRST);
        write(&mut log, Instance(5));
        log
    }

    #[test]
    fn a_log_is_trimmed_where_a_checkpoint_before_it_stands_for_what_is_lost() {
        let log = trimmed();
        let progress = log.progress();
        assert_eq!((progress.first, progress.watermark), (Instance(5), Instance(9)));
        assert_eq!(
            (progress.decided, log.pages(Run::new(Instance(1), Instance(9))).count()),
            (8, 4)
        );
        // Nobody trims where no checkpoint keeps the state.
        for trim in [4, 6, 9] {
            let mut log = trimmed();
            let trim = Instance(trim);
            let lets_go = LetsGo { trim, forget: trim, ..LetsGo::NONE };
            let entries = log.checkpoint(lets_go).pieces(1000).into();
            log.decide(Page { from: log.end(), entries }, |_| {}).expect("it is new");
            assert_eq!(delivered(&mut log).len(), 1);
            assert_eq!(log.first(), Instance(5), "not at {trim}");
        }
        // Entries below are neither taken in again nor contradicted.
        let mut log = trimmed();
        let noops = Page { from: Instance(1), entries: Entries::noops(4) };
        let mut news = Vec::new();
        assert_eq!((log.decide(noops, |page| news.push(page)), news), (Ok(()), vec![]));
    }

    #[test]
    fn whoever_knows_nothing_of_what_was_trimmed_takes_the_log_up_behind_it() {
        let whole = trimmed();
        let mut late = DecidedLog::new();
        late.note_first(Instance(5));
        assert_eq!(late.missing(Instance(1), Instance(9), 9), [Run::new(Instance(5), Instance(9))]);
        let pages: Vec<Page> = whole.pages(Run::new(Instance(5), Instance(9))).collect();
        for page in pages.into_iter().rev() {
            assert_eq!(late.take_up(), None);
            late.decide(page, |_| {}).expect("it is new");
            assert!(delivered(&mut late).is_empty());
        }
        assert_eq!(late.take_up(), Some(Instance(5)));
        let fates: Vec<u64> = delivered(&mut late)
            .into_iter()
            .filter_map(|(at, fate)| (fate == Occurrence::Delivered).then_some(at))
            .collect();
        assert_eq!(fates, [6, 7]);
        assert_eq!(late, whole);
    }

    #[test]
    fn a_checkpoint_brings_back_values_that_are_open_when_their_parts_are_there() {
        let session = Session { client: 1, boot: 0 };
        let part = |number, part, count: usize| {
            let origin = Origin::new(session, Number(number), AssignedBy::Leader);
            Entry::Part { origin, part, bytes: Value::new(&vec![b'p'; count]) }
        };
        let mut log = DecidedLog::new();
        let (first, last) = (part(2, Part::First { value_bytes: 41 }, 40), part(3, Part::Last, 1));
        for (at, entry) in (1..).zip([entry(1, 1, AssignedBy::Leader), first, Entry::Noop]) {
            decide(&mut log, at, entry).expect("it is new");
        }
        delivered(&mut log);
        let checkpoint = log.checkpoint(LetsGo::NONE);
        assert_eq!((checkpoint.head.of, checkpoint.head.keep), (Instance(4), Instance(2)));
        log.decide(Page { from: Instance(4), entries: checkpoint.pieces(1000).into() }, |_| {})
            .expect("it is new");
        let mut late = DecidedLog::new();
        late.note_first(Instance(2));
        for at in [4, 3, 2] {
            assert_eq!(late.take_up(), None, "without {at}");
            let page =
                log.pages(Run::new(Instance(at), Instance(at + 1))).next().expect("it is there");
            late.decide(page, |_| {}).expect("it is new");
        }
        assert_eq!(late.take_up(), Some(Instance(4)));
        decide(&mut late, 5, last.clone()).expect("it is new");
        let whole = |(at, fate)| matches!(fate, Occurrence::Completed(_)).then_some(at);
        assert_eq!(delivered(&mut late).into_iter().find_map(whole), Some(5));
        // A checkpoint written after the value was idle for long ends its session.
        for (idle_below, has_ended) in [(2, false), (3, true)] {
            let mut idle = log.clone();
            delivered(&mut idle);
            let lets_go = LetsGo { idle_below: Instance(idle_below), ..LetsGo::NONE };
            let entries = idle.checkpoint(lets_go).pieces(1000).into();
            idle.decide(Page { from: Instance(5), entries }, |_| {}).expect("it is new");
            delivered(&mut idle);
            let next = if has_ended { Number(2) } else { Number(3) };
            assert_eq!((idle.has_ended(session), idle.next_number(session)), (has_ended, next));
            decide(&mut idle, 6, last.clone()).expect("it is new");
            let fate = delivered(&mut idle).pop();
            assert_eq!(fate == Some((6, Occurrence::Ended)), has_ended, "{fate:?}");
        }
    }

    /// Found by killing a learner while it fetched a snapshot that named 10,000 parts: with each
    /// message it looked for all of them that it had.
    #[test]
    fn parts_that_a_snapshot_names_are_not_looked_for_again_with_each_message() {
        let session = Session { client: 1, boot: 0 };
        let cost = |count: u64| {
            let part = |number| {
                let origin = Origin::new(session, Number(number), AssignedBy::Leader);
                let part = if number == 1 {
                    Part::First { value_bytes: u32::MAX >> 8 }
                } else {
                    Part::Middle
                };
                Entry::Part { origin, part, bytes: Value::new(&[b'p'; Part::BYTES_MIN]) }
            };
            let run = |from: u64| Page {
                from: Instance(from),
                entries: (from..from + 50).map(part).collect(),
            };
            let mut whole = DecidedLog::new();
            let mut late = DecidedLog::new();
            let pages: Vec<Page> = (0..count / 50).map(|page| run(page * 50 + 1)).collect();
            for page in pages.clone() {
                whole.decide(page, |_| {}).expect("it is new");
            }
            delivered(&mut whole);
            let checkpoint = whole.checkpoint(LetsGo::NONE);
            assert_eq!(checkpoint.open[0].instances.len() as u64, count);
            let of = checkpoint.head.of;
            late.restore(checkpoint);
            let ((), steps) = steps::count(|| {
                for page in pages {
                    assert_eq!(late.take_up(), None);
                    late.decide(page, |_| {}).expect("it is new");
                }
                assert_eq!(late.take_up(), Some(of));
            });
            steps
        };
        let (short, long) = (cost(500), cost(5000));
        assert!(long <= short * 15, "{long} steps, and {short} for a tenth");
    }
}
