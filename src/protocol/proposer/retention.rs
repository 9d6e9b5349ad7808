//! When a leader writes a checkpoint, and how far it lets go of the log.
//!
//! A checkpoint is written whenever a quarter of what is retained was passed since the last one.
//! The log is trimmed at the newest checkpoint that leaves as much as is to be retained. So between
//! one and one and a half times as much is kept, and a little more while a checkpoint is under way.
//! In the same way memories forget what is beyond `hold_bytes`, where the disks of acceptors keep
//! what is retained.
//!
//! Where keepers are named, it is trimmed only where their snapshots allow it (`keepers`).
//!
//! Only checkpoints that were passed here count, and their age counts from then: a proposer that
//! was started again trims later, and never earlier.
//!
//! It also writes a limit when there are too many sessions (`sessions`).

use std::collections::VecDeque;
use std::time::Duration;

use log::{debug, warn};

use super::{Phase, Proposer};
use crate::bugs::{self, Bug};
use crate::protocol::checkpoint::{Head, Limit};
use crate::protocol::decided_log::{DecidedLog, LetsGo, Occurrence};
use crate::protocol::message::Durable;
use crate::protocol::parts::Keepers;
use crate::protocol::segments::Page;
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{Instance, Sender, Time};

/// Of what is retained, so much is passed between two checkpoints.
const CHECKPOINTS: u64 = 4;

/// A checkpoint is written once so many times as many bytes were passed as the last one had: where
/// there are many sessions, checkpoints are long, and must not be most of the log.
const BYTES_BETWEEN: u64 = 8;

/// How long the keepers may hold the log back before that is said, and before it is said again.
const HELD_BACK: Duration = Duration::from_secs(60);

/// What a proposer has passed, and where it may trim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Retention {
    /// The checkpoints that were passed, in order.
    marks: VecDeque<Mark>,
    /// How many bytes of entries were passed.
    bytes: u64,
    /// How many entries that are no pieces were passed.
    values: u64,
    /// How many entries that are no pieces were passed since the last checkpoint, and their bytes.
    fresh: u64,
    fresh_bytes: u64,
    /// When the first of them was passed.
    fresh_since: Time,
    /// How many bytes of pieces were passed since the last checkpoint, and of how many it was.
    piece_bytes: u64,
    checkpoint_bytes: u64,
    keepers: Keepers,
    /// When it was said last that they hold the log back.
    warned: Option<Time>,
}

/// A checkpoint that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Mark {
    head: Head,
    /// How many bytes had been passed then.
    bytes: u64,
    /// How many entries that are no pieces.
    values: u64,
    when: Time,
}

impl Retention {
    /// Delivery has passed `page`.
    pub fn on_passed(&mut self, now: Time, page: &Page, occurrence: &Occurrence) {
        let bytes = page.entries.bytes() as u64;
        self.bytes += bytes;
        if page.entries.has_checkpoints() && page.entries.len() == 1 {
            let begins = page.pieces().any(|(_, piece)| piece.place == 0);
            // What was counted before is left of a checkpoint whose leader died.
            self.piece_bytes = if begins { bytes } else { self.piece_bytes + bytes };
        } else {
            if self.fresh == 0 {
                self.fresh_since = now;
            }
            self.values += page.entries.len() as u64;
            self.fresh += page.entries.len() as u64;
            self.fresh_bytes += bytes;
        }
        if let Occurrence::Checkpoint(head) = occurrence {
            let (bytes, values) = (self.bytes, self.values);
            self.marks.push_back(Mark { head: *head, bytes, values, when: now });
            self.checkpoint_bytes = std::mem::take(&mut self.piece_bytes);
            (self.fresh, self.fresh_bytes) = (0, 0);
        }
    }

    /// Of the checkpoints that keep what lies below `first` the last alone is of use.
    pub fn let_go(&mut self, first: Instance) {
        while self.marks.get(1).is_some_and(|mark| mark.head.keep <= first) {
            self.marks.pop_front();
        }
    }

    /// A learner has a snapshot.
    pub fn on_durable(&mut self, from: Sender, durable: &Durable, settings: &Settings) {
        self.keepers.on_durable(from, durable, settings);
    }

    /// Whether a checkpoint is due, and what it shall say. Where disks are full, one is due as soon
    /// as it trims any values: no others come that would make it due.
    pub fn due(
        &mut self,
        now: Time,
        log: &DecidedLog,
        settings: &Settings,
        is_full: bool,
    ) -> Option<LetsGo> {
        if self.is_due(now, settings) {
            return Some(self.lets_go(now, log, settings));
        }
        if !is_full || bugs::has(Bug::WaitsForMoreOnFullDisks) {
            return None;
        }
        let lets_go = self.lets_go(now, log, settings);
        // A checkpoint that trimmed no more than the one before would be followed by others.
        let below = |point| {
            let marks = self.marks.iter().take_while(|mark| mark.head.keep <= point);
            marks.last().map_or(0, |mark| mark.values)
        };
        (below(lets_go.trim) > below(log.trimmed())).then_some(lets_go)
    }

    /// Whether so much was passed that a checkpoint is due.
    fn is_due(&self, now: Time, settings: &Settings) -> bool {
        let (retain, hold) = (settings.retain, settings.hold_bytes);
        let is_due = match retain {
            Retain::All => false,
            Retain::Entries(count) => self.fresh >= (count / CHECKPOINTS).max(1),
            Retain::Bytes(bytes) => self.fresh_bytes >= (bytes / CHECKPOINTS).max(1),
            Retain::Age(age) => now.since(self.fresh_since) >= age / CHECKPOINTS as u32,
        };
        let is_much = hold.is_some_and(|bytes| self.fresh_bytes >= (bytes / CHECKPOINTS).max(1));
        let is_long = self.fresh_bytes < BYTES_BETWEEN * self.checkpoint_bytes;
        (is_due || is_much) && self.fresh > 0 && !is_long
    }

    /// What a checkpoint says that is written now.
    fn lets_go(&mut self, now: Time, log: &DecidedLog, settings: &Settings) -> LetsGo {
        let (retain, hold) = (settings.retain, settings.hold_bytes);
        let is_old = |mark: &Mark| match retain {
            Retain::All => false,
            Retain::Entries(count) => log.watermark().0 - mark.head.of.0 >= count,
            Retain::Bytes(bytes) => self.bytes - mark.bytes >= bytes,
            Retain::Age(age) => now.since(mark.when) >= age,
        };
        let is_beyond = |mark: &Mark| hold.is_some_and(|bytes| self.bytes - mark.bytes >= bytes);
        // What is open keeps the log from being trimmed and forgotten, unless nobody has continued
        // it for as long as anything is retained, or held.
        let limit = self.keepers.limit(log.progress().name, settings);
        let mut old = self.marks.iter().take_while(|mark| is_old(mark)).peekable();
        let mut trims = None;
        while let Some(mark) = old.next_if(|mark| mark.head.keep <= limit) {
            trims = Some(mark);
        }
        let forgets = self.marks.iter().take_while(|mark| is_beyond(mark)).last();
        let held_back = old.last().filter(|mark| now.since(mark.when) > HELD_BACK);
        if let Some(mark) = held_back
            && self.warned.is_none_or(|when| now.since(when) > HELD_BACK)
        {
            self.warned = Some(now);
            let below = mark.head.keep;
            warn!(
                "the log is kept below {below}, beyond what `retain` says: too few of the keepers \
                 have a snapshot that stands for it"
            );
        }
        let keep = |mark: Option<&Mark>| mark.map_or(Instance::FIRST, |mark| mark.head.keep);
        let of = |mark: Option<&Mark>| mark.map_or(Instance::FIRST, |mark| mark.head.of);
        let trim = keep(trims).max(log.trimmed());
        let forget = keep(forgets).max(log.forgotten()).max(trim);
        LetsGo { trim, forget, idle_below: of(trims).max(of(forgets)) }
    }
}

impl Proposer {
    /// Writes a checkpoint, if it leads and one is due.
    pub(super) fn write_checkpoint(&mut self, now: Time) {
        let Phase::Leading(leadership) = &mut self.phase else { return };
        if !self.election.is_quorate() || !leadership.may_write(&self.log) {
            return;
        }
        let due = self.retention.due(now, &self.log, &self.settings, leadership.is_full());
        let Some(lets_go) = due else { return };
        // Where all is retained, an instance stays open for the client that may ask for it.
        if self.settings.retain == Retain::All && leadership.has_holes(&self.log) {
            return;
        }
        let checkpoint = self.log.checkpoint(lets_go);
        let Head { of, trim, forget, .. } = checkpoint.head;
        debug!("writes a checkpoint of {of}: trims below {trim}, forgets below {forget}");
        leadership.write(&checkpoint);
        if bugs::has(Bug::TrimsUndecided) {
            self.log.begin_at(checkpoint.head.keep);
        }
    }
}

impl Proposer {
    /// Writes how many sessions are remembered, if it leads and there are a quarter more than that.
    pub(super) fn write_limit(&mut self) {
        let Phase::Leading(leadership) = &mut self.phase else { return };
        let (count, most) = (self.log.session_count(), self.settings.sessions);
        if count <= most + most / 4
            || !self.election.is_quorate()
            || !leadership.may_write(&self.log)
        {
            return;
        }
        debug!("has {most} of {count} sessions remembered");
        leadership.write_limit(Limit { sessions: most as u64 });
        if bugs::has(Bug::ForgetsUndecided) {
            self.log.limit_sessions(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::entries::Entries;
    use crate::protocol::types::{AssignedBy, Counted, Entry, Number, Origin, Session, Value};

    fn decide(log: &mut DecidedLog, retention: &mut Retention, now: Time, entries: Vec<Entry>) {
        let page = Page { from: log.end(), entries: entries.into() };
        log.decide(page, &mut Vec::new()).expect("it is new");
        log.deliver(|page, occurrence| retention.on_passed(now, &page, &occurrence));
        retention.let_go(log.first());
    }

    fn keeping(retain: Retain) -> Settings {
        Settings { retain, ..Settings::default() }
    }

    /// Passes `count` values, and then writes and passes a checkpoint if one is due. Returns where
    /// that trims the log.
    fn pass(
        log: &mut DecidedLog,
        retention: &mut Retention,
        count: u64,
        now: Time,
        retain: Retain,
    ) -> Option<u64> {
        let session = Session { client: 1, boot: 1 };
        let first = log.next_number(session);
        let values = (0..count).map(|offset| {
            let (number, assigned_by) = (first.plus(offset), AssignedBy::Leader);
            let origin = Origin::new(session, number, assigned_by);
            Entry::Value { origin, value: Value::new(&[b'v'; 100]) }
        });
        decide(log, retention, now, values.collect());
        assert_eq!(log.next_number(session), Number(first.0 + count));
        let lets_go = retention.due(now, log, &keeping(retain), false)?;
        let pieces = log.checkpoint(lets_go).pieces(1000);
        decide(log, retention, now, pieces);
        Some(log.first().0)
    }

    #[test]
    fn so_many_entries_are_kept_and_half_as_many_more() {
        let (mut log, mut retention) = (DecidedLog::new(), Retention::default());
        let retain = Retain::Entries(100);
        let mut written = 0;
        for round in 0..200 {
            written += u64::from(pass(&mut log, &mut retention, 5, Time::ZERO, retain).is_some());
            let kept = log.watermark().0 - log.first().0;
            assert!(kept <= 150, "{kept} are kept");
            assert!(round < 40 || kept >= 100, "{kept} are kept");
        }
        assert_eq!(written, 40);
        assert_eq!(log.progress().decided, log.watermark().0 - 1);
        assert!(retention.marks.len() <= 7);
    }

    #[test]
    fn bytes_and_age_count_from_when_a_checkpoint_was_passed() {
        let (mut log, mut retention) = (DecidedLog::new(), Retention::default());
        let rounds = (0..100).map(|_| {
            pass(&mut log, &mut retention, 10, Time::ZERO, Retain::Bytes(10_000));
            (log.watermark().0 - log.first().0) * 103
        });
        let kept: Vec<u64> = rounds.collect();
        assert!(kept[50..].iter().all(|bytes| (9_000..16_000).contains(bytes)), "{kept:?}");

        let (mut log, mut retention) = (DecidedLog::new(), Retention::default());
        let retain = Retain::Age(Duration::from_secs(100));
        let second = |round: u64| Time(round * 1_000_000);
        let kept: Vec<u64> = (0..400)
            .map(|round| {
                pass(&mut log, &mut retention, 1, second(round), retain);
                log.watermark().0 - log.first().0
            })
            .collect();
        assert!(kept[300..].iter().all(|kept| (100..160).contains(kept)), "{kept:?}");
        // Nothing is passed: nothing is written, however long that lasts.
        pass(&mut log, &mut retention, 1, second(500), retain);
        assert_eq!(retention.due(second(9000), &log, &keeping(retain), false), None);
    }

    /// What is left of a checkpoint whose leader died half way makes the next no longer.
    #[test]
    fn pieces_of_a_checkpoint_that_was_not_finished_do_not_count() {
        let (mut log, mut retention) = (DecidedLog::new(), Retention::default());
        let session = |client| Session { client, boot: 1 };
        let opening = (1..=50).map(|client| {
            let assigned_by = AssignedBy::Leader;
            let origin = Origin::new(session(client), Number(1), assigned_by);
            Entry::Value { origin, value: Value::new(b"v") }
        });
        decide(&mut log, &mut retention, Time::ZERO, opening.collect());
        let pieces = log.checkpoint(LetsGo::NONE).pieces(64);
        assert!(pieces.len() > 2);
        decide(&mut log, &mut retention, Time::ZERO, pieces[..2].to_vec());
        decide(&mut log, &mut retention, Time::ZERO, pieces.clone());
        let bytes = Entries::from(pieces).bytes();
        assert!(retention.checkpoint_bytes < bytes as u64 + 64, "{retention:?} of {bytes}");
    }

    /// Nothing new comes while disks are full: what has become old is trimmed all the same, and a
    /// checkpoint is no reason for another one.
    #[test]
    fn while_disks_are_full_a_checkpoint_is_due_when_it_trims_values() {
        let (mut log, mut retention) = (DecidedLog::new(), Retention::default());
        let second = |round: u64| Time(round * 1_000_000);
        let settings = keeping(Retain::Age(Duration::from_secs(100)));
        for round in 0..30 {
            pass(&mut log, &mut retention, 1, second(round), settings.retain);
        }
        let mut written = 0;
        for round in 30..2000 {
            let now = second(round);
            let Some(lets_go) = retention.due(now, &log, &settings, true) else { continue };
            let pieces = log.checkpoint(lets_go).pieces(1000);
            decide(&mut log, &mut retention, now, pieces);
            written += 1;
        }
        assert!(log.watermark().0 - log.trimmed().0 < 9, "{:?}", log.progress());
        assert!((2..=4).contains(&written), "{written} were written");
    }

    #[test]
    fn long_checkpoints_are_rare() {
        let mut retention =
            Retention { fresh: 9, fresh_bytes: 799, checkpoint_bytes: 100, ..Retention::default() };
        let log = DecidedLog::new();
        assert_eq!(retention.due(Time::ZERO, &log, &keeping(Retain::Entries(4)), false), None);
        retention.fresh_bytes += 1;
        assert!(retention.due(Time::ZERO, &log, &keeping(Retain::Entries(4)), false).is_some());
        assert_eq!(retention.due(Time::ZERO, &log, &keeping(Retain::All), false), None);
    }
}
