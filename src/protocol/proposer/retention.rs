//! When does a leader write a checkpoint, and how much of the log does it trim?
//!
//! A checkpoint is written whenever a quarter of the retained amount was delivered since the last
//! one. The log is trimmed at the newest checkpoint that leaves the retained amount. So between one
//! and one and a half times that amount is kept, and a little more while a checkpoint is under way.
//! In the same way processes drop from memory what lies beyond `hold_bytes`, where the acceptors'
//! disks keep the retained amount. There checkpoints lie at most half of `take_up_bytes` apart: a
//! new leader reads only what lies above the last but one (`History::begin`). Not where values in
//! memory are at instances that clients asked for: only a leader that has read one can say who won.
//!
//! Where keepers are named, it is trimmed only where their snapshots allow it (`keepers`). Where a
//! learner fetches a snapshot, the log waits for it, unless disks are full (`fetchers`).
//!
//! A restarted proposer does not see checkpoints that are only on disks. So behind each checkpoint
//! stands where the log may be trimmed below it, and how far back that lies
//! (`checkpoint::History`); `age` computes how old it is by now. Ages that are not certain are
//! counted low, except that a calendar that jumps may add a hundredth of the retained span.
//!
//! It also writes a limit when there are too many sessions (`sessions`).

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::BTreeMap;
use std::time::Duration;

use log::{debug, warn};

use super::age::{Passed, Point};
use super::room::Fullness;
use super::{Phase, Proposer, fetchers};
use crate::protocol::checkpoint::{Distance, Head, History, TrimPoint};
use crate::protocol::decided_log::{DecidedLog, LetsGo, Occurrence};
use crate::protocol::figures::{HoldReason, Holder};
use crate::protocol::message::{Durable, Needed};
use crate::protocol::parts::{Fetchers, Keepers};
use crate::protocol::segments::Page;
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{Instance, LogTime, Sender, Time};

/// The part of the retained amount between two checkpoints: one in this many.
const CHECKPOINTS: u64 = 4;

/// The least part of the retained amount between two checkpoints that a later one repeats: one in
/// this many.
const REPEATED: u64 = 2 * CHECKPOINTS;

/// A checkpoint is written only after this many times the bytes of the last one: with many sessions
/// checkpoints are long, and must not make up most of the log.
const BYTES_BETWEEN: u64 = 8;

/// The same for a checkpoint that only lets a new leader read less.
const BYTES_BETWEEN_NEAR: u64 = 32;

/// How many places within memory a checkpoint repeats at most: an eighth of it apart, over a
/// quarter more than that.
const NEAR_MAX: usize = 11;

/// How long the keepers may hold the log back before that is logged, and before it is logged again.
const HELD_BACK: Duration = Duration::from_secs(60);

/// What a proposer has passed, and where it may trim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Retention {
    /// The checkpoints that it knows, by the instance they are of.
    marks: BTreeMap<Instance, Mark>,
    passed: Passed,
    /// It took up the log at the checkpoint of this instance, if it did not begin with the first.
    begun: Option<Instance>,
    /// How many entries other than pieces were passed since the last checkpoint at which something
    /// may be removed or forgotten.
    fresh: u64,
    fresh_bytes: u64,
    /// The first of them.
    fresh_since: Option<Point>,
    /// How many bytes of them were passed since the last checkpoint of any kind.
    near_bytes: u64,
    /// The end of the last client-assigned values that were passed.
    assigned_until: Option<Instance>,
    /// How many bytes of pieces were passed since the last checkpoint, and how many that one had.
    piece_bytes: u64,
    checkpoint_bytes: u64,
    keepers: Keepers,
    fetchers: Fetchers,
    /// When it was last logged that they hold the log back.
    warned: Option<Time>,
}

/// A checkpoint that was passed, here or by an earlier leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Mark {
    /// See [`Head::keep`].
    keep: Instance,
    point: Point,
}

/// How far back something lies, and how much of the log lies above.
#[derive(Clone, Copy)]
struct Back {
    distance: Distance,
    instances: u64,
}

impl Back {
    /// The distance in the unit of `retain`.
    fn of(self, retain: Retain) -> u64 {
        match retain {
            Retain::All | Retain::Bytes(_) => self.distance.bytes,
            Retain::Entries(_) => self.instances,
            Retain::Age(_) => self.distance.age_ms,
        }
    }
}

/// How much is retained, in the unit of `retain`; none if everything is.
fn amount(retain: Retain) -> Option<u64> {
    match retain {
        Retain::All => None,
        Retain::Entries(count) => Some(count),
        Retain::Bytes(bytes) => Some(bytes),
        Retain::Age(age) => Some(age.as_millis() as u64),
    }
}

impl Retention {
    /// Takes the log up at the checkpoint of `of`, where its time is `time`. The needs and
    /// holdings of learners stay: they come from the learners, not from the log.
    pub fn begin(&mut self, of: Instance, time: LogTime) {
        let Retention { keepers, fetchers, .. } = std::mem::take(self);
        let (begun, passed) = (Some(of), Passed::beginning(time));
        *self = Retention { begun, passed, keepers, fetchers, ..Retention::default() };
    }

    /// Delivery has passed `page`.
    pub fn on_passed(
        &mut self,
        now: Time,
        page: &Page,
        occurrence: &Occurrence,
        settings: &Settings,
    ) {
        let bytes = page.entries.bytes() as u64;
        let are_pieces = page.entries.has_checkpoints() && page.entries.len() == 1;
        self.passed.pass(&page.entries, are_pieces, settings.retain);
        if are_pieces {
            let begins = page.pieces().any(|(_, piece)| piece.place == 0);
            // Pieces counted before belong to a checkpoint whose leader died.
            self.piece_bytes = if begins { bytes } else { self.piece_bytes + bytes };
        } else {
            let here = || Point::new(now, Distance::default(), self.passed);
            self.fresh_since.get_or_insert_with(here);
            self.fresh += page.entries.len() as u64;
            self.fresh_bytes += bytes;
            self.near_bytes += bytes;
            if page.entries.has_client_assigned() {
                self.assigned_until = Some(page.run().until);
            }
        }
        match occurrence {
            Occurrence::Checkpoint(head) => {
                let at = self.passed_at(head.of);
                let itself = TrimPoint { of: head.of, keep: head.keep, back: Distance::default() };
                self.recall(now, itself, at);
                if settings.hold_bytes.is_none() || self.lets_go_is_due(now, settings) {
                    (self.fresh, self.fresh_bytes, self.fresh_since) = (0, 0, None);
                }
                self.checkpoint_bytes = std::mem::take(&mut self.piece_bytes);
                self.near_bytes = 0;
            }
            Occurrence::History(history) => {
                self.passed.move_on(history.written, settings.retain);
                let at = self.passed_at(history.of);
                history.points.iter().for_each(|point| self.recall(now, *point, at));
                self.checkpoint_bytes += std::mem::take(&mut self.piece_bytes);
            }
            _ => {}
        }
    }

    /// What was passed when the checkpoint of `of` was written: entries between `of` and its pieces
    /// lie above it.
    fn passed_at(&self, of: Instance) -> Passed {
        let is_first = self.begun == Some(of);
        let began = if is_first { Passed::default() } else { self.passed };
        self.passed.with_entries_of(began)
    }

    /// The log may be trimmed at `point`, which says how far back it lay when `at` was passed.
    fn recall(&mut self, now: Time, point: TrimPoint, at: Passed) {
        let TrimPoint { of, keep, back } = point;
        let new = Mark { keep, point: Point::new(now, back, at) };
        let mark = self.marks.entry(of).or_insert(new);
        mark.point.is_as_old_as(back.age_ms, now, &self.passed);
    }

    /// Drops useless checkpoints: of those at or below the trimmed part only the last is of use,
    /// and of the others a few are enough.
    pub fn let_go(&mut self, now: Time, log: &DecidedLog, settings: &Settings) {
        let trimmed = log.trimmed();
        while self.marks.values().nth(1).is_some_and(|mark| mark.keep <= trimmed) {
            self.marks.pop_first();
        }
        if self.marks.len() > 2 * History::POINTS_MAX {
            let some = self.spaced(now, log, settings);
            self.marks.retain(|of, _| some.iter().any(|point| point.of == *of));
        }
    }

    /// How far back a checkpoint lies.
    fn back(&self, now: Time, log: &DecidedLog, of: Instance, mark: &Mark) -> Back {
        let distance = mark.point.back(now, &self.passed);
        Back { distance, instances: log.watermark().0.saturating_sub(of.0) }
    }

    /// The checkpoints that the next one repeats: the oldest useful one, others that lie far enough
    /// apart, and the newest, at which a new leader begins.
    fn spaced(&self, now: Time, log: &DecidedLog, settings: &Settings) -> Vec<TrimPoint> {
        let Settings { retain, hold_bytes, .. } = *settings;
        let of_use = self.marks.iter().filter(|(_, mark)| mark.keep > log.trimmed());
        let all = of_use.map(|(of, mark)| {
            let back = self.back(now, log, *of, mark);
            (TrimPoint { of: *of, keep: mark.keep, back: back.distance }, back.of(retain))
        });
        let all: Vec<(TrimPoint, u64)> = all.collect();
        let farthest = all.first().map_or(0, |(_, back)| *back);
        // This keeps their number within the limit.
        let least = farthest.div_ceil((History::POINTS_MAX - NEAR_MAX) as u64 - 2).max(1);
        let apart = amount(retain).map_or(0, |amount| amount / REPEATED).max(least);
        let mut points: Vec<TrimPoint> = Vec::new();
        let mut last = u64::MAX;
        // Of what is in memory more of them, or a new leader would know none at which to forget.
        let hold = hold_bytes.unwrap_or(0);
        let (near, near_apart) = (hold + hold / 4, (hold / REPEATED).max(1));
        let mut last_near = u64::MAX;
        let newest = all.last().map(|(point, _)| *point);
        for (point, back) in all {
            let bytes = point.back.bytes;
            let is_apart = last.saturating_sub(back) >= apart;
            let is_near = bytes < near && last_near.saturating_sub(bytes) >= near_apart;
            if is_apart || is_near {
                points.push(point);
            }
            last = if is_apart { back } else { last };
            last_near = if is_near { bytes } else { last_near };
        }
        points.extend(newest.filter(|newest| points.last() != Some(newest)));
        points
    }

    /// The history behind a checkpoint that is written now, when the time of the log is `time`.
    fn history(&self, now: Time, time: LogTime, log: &DecidedLog, settings: &Settings) -> History {
        History { of: log.watermark(), written: time, points: self.spaced(now, log, settings) }
    }

    /// A learner tells what its snapshot stands for.
    pub fn on_durable(&mut self, from: Sender, durable: &Durable, settings: &Settings) {
        self.keepers.on_durable(from, durable, settings);
    }

    /// A learner tells from where on it needs the log of this name.
    pub fn on_need(&mut self, now: Time, from: Sender, needed: Needed, settings: &Settings) {
        self.fetchers.on_need(now, from, needed, settings);
    }

    /// The checkpoint to write, if one is due. Where disks are full, one is due as soon as it trims
    /// any values: no new values come that would make it due.
    pub fn due(
        &mut self,
        now: Time,
        log: &DecidedLog,
        settings: &Settings,
        fullness: Fullness,
    ) -> Option<LetsGo> {
        if self.is_due(now, log, settings) {
            return Some(self.lets_go(now, log, settings, fullness));
        }
        if fullness != Fullness::Most {
            return None;
        }
        let lets_go = self.lets_go(now, log, settings, fullness);
        (lets_go.trim > log.trimmed() && self.has_values_below(lets_go.trim, log))
            .then_some(lets_go)
    }

    /// Whether a checkpoint that trims the log below `trim` removes any values, as far as is known
    /// here. One that trimmed no more than the one before would be followed by endless others.
    fn has_values_below(&self, trim: Instance, log: &DecidedLog) -> bool {
        let values = |mark: &Mark| mark.point.back(Time::ZERO, &self.passed).values;
        let last = |below: Instance| {
            let marks = self.marks.values().take_while(|mark| mark.keep <= below);
            marks.last().map(values)
        };
        match (last(log.trimmed()), last(trim)) {
            (Some(before), Some(then)) => then < before,
            // It is not known what the last one trimmed.
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    /// Whether enough was passed for a checkpoint.
    fn is_due(&self, now: Time, log: &DecidedLog, settings: &Settings) -> bool {
        // Not where values in memory are at instances that clients asked for: a new leader reads
        // all of that.
        let is_far = settings.hold_bytes.is_some()
            && self.assigned_until.is_none_or(|until| until <= log.forgotten())
            && self.near_bytes >= (settings.take_up_bytes / 2).max(1)
            && self.near_bytes >= BYTES_BETWEEN_NEAR * self.checkpoint_bytes;
        is_far || self.lets_go_is_due(now, settings)
    }

    /// Whether enough was passed for one at which something may be removed or forgotten.
    fn lets_go_is_due(&self, now: Time, settings: &Settings) -> bool {
        let (retain, hold) = (settings.retain, settings.hold_bytes);
        let is_old = |age: Duration| {
            let since = self.fresh_since.map(|first| first.back(now, &self.passed).age_ms);
            since
                .is_some_and(|since_ms| Duration::from_millis(since_ms) >= age / CHECKPOINTS as u32)
        };
        let is_due = match retain {
            Retain::All => false,
            Retain::Entries(count) => self.fresh >= (count / CHECKPOINTS).max(1),
            Retain::Bytes(bytes) => self.fresh_bytes >= (bytes / CHECKPOINTS).max(1),
            Retain::Age(age) => is_old(age),
        };
        let is_much = hold.is_some_and(|bytes| self.fresh_bytes >= (bytes / CHECKPOINTS).max(1));
        let is_long = self.fresh_bytes < BYTES_BETWEEN * self.checkpoint_bytes;
        (is_due || is_much) && self.fresh > 0 && !is_long
    }

    /// Whether a checkpoint lies as far back as `retain` says, so many times over.
    fn lies_beyond(
        &self,
        now: Time,
        log: &DecidedLog,
        (of, mark): (&Instance, &Mark),
        (retain, times): (Retain, u64),
    ) -> bool {
        let back = self.back(now, log, *of, mark).of(retain);
        amount(retain).is_some_and(|amount| back >= amount.saturating_mul(times))
    }

    /// The learners for which more is kept than `retain` says.
    fn holders(
        &self,
        now: Time,
        log: &DecidedLog,
        settings: &Settings,
        fullness: Fullness,
    ) -> Vec<Holder> {
        let (retain, name) = (settings.retain, log.progress().name);
        let is_old = |mark: &(&Instance, &Mark)| self.lies_beyond(now, log, *mark, (retain, 1));
        let old = self.marks.iter().rev().find(is_old);
        let Some(old) = old.filter(|(_, mark)| mark.keep > log.trimmed()) else {
            return Vec::new();
        };
        let below = old.1.keep;
        let waits = settings.hold_bytes.is_some()
            && fullness == Fullness::None
            && !self.lies_beyond(now, log, old, (retain, fetchers::KEPT));
        let fetchers = waits.then(|| self.fetchers.holding(now, name, below, settings));
        let keepers = self.keepers.holding(name, below, settings).into_iter();
        let keepers = keepers.map(|learner| Holder { learner, reason: HoldReason::NoSnapshot });
        let fetchers = fetchers.into_iter().flatten();
        let fetchers = fetchers.map(|learner| Holder { learner, reason: HoldReason::Fetches });
        keepers.chain(fetchers).collect()
    }

    /// What a checkpoint says that is written now.
    fn lets_go(
        &mut self,
        now: Time,
        log: &DecidedLog,
        settings: &Settings,
        fullness: Fullness,
    ) -> LetsGo {
        let (retain, hold) = (settings.retain, settings.hold_bytes);
        let name = log.progress().name;
        let kept = self.keepers.limit(name, settings);
        // Memory is bounded, and so are full disks: neither waits for a learner.
        let waits = hold.is_some() && fullness == Fullness::None;
        let needed = waits.then(|| self.fetchers.limit(now, name, settings));
        let needed = needed.unwrap_or(Instance(u64::MAX));
        let back = |(of, mark): (&Instance, &Mark)| self.back(now, log, *of, mark);
        let is_old = |mark: &(&Instance, &Mark)| self.lies_beyond(now, log, *mark, (retain, 1));
        // However much a learner needs, disks are sized for the retained amount.
        let is_wanted = |mark: (&Instance, &Mark)| {
            mark.1.keep > needed && !self.lies_beyond(now, log, mark, (retain, fetchers::KEPT))
        };
        let is_beyond = |mark: &(&Instance, &Mark)| {
            hold.is_some_and(|bytes| back(*mark).distance.bytes >= bytes)
        };
        // A point below an old one is older still, whatever is known of it.
        let old = self.marks.iter().rev().find(is_old);
        let below = old.map(|(of, _)| self.marks.range(..=*of).rev());
        let trims =
            below.and_then(|mut marks| marks.find(|mark| mark.1.keep <= kept && !is_wanted(*mark)));
        let forgets = self.marks.iter().rev().find(is_beyond);
        let is_long = |mark: &(&Instance, &Mark)| {
            let is_held_back = mark.1.keep > kept;
            is_held_back && Duration::from_millis(back(*mark).distance.age_ms) > HELD_BACK
        };
        let held_back = old.filter(is_long).map(|(_, mark)| mark.keep);
        let of = |mark: Option<(&Instance, &Mark)>| mark.map_or(Instance::FIRST, |(of, _)| *of);
        let keep =
            |mark: Option<(&Instance, &Mark)>| mark.map_or(Instance::FIRST, |(_, mark)| mark.keep);
        let trim = keep(trims).max(log.trimmed());
        let forget = keep(forgets).max(log.forgotten()).max(trim);
        // An open value keeps the log from being trimmed and forgotten, unless nobody has continued
        // it for as long as anything is retained or held.
        let lets_go = LetsGo { trim, forget, idle_below: of(trims).max(of(forgets)) };
        if let Some(below) = held_back
            && self.warned.is_none_or(|when| now.since(when) > HELD_BACK)
        {
            self.warned = Some(now);
            warn!(
                "the log is kept below {below}, beyond what `retain` says: too few of the keepers \
                 have a snapshot that stands for it"
            );
        }
        lets_go
    }
}

impl Proposer {
    /// What a checkpoint says that is written now, if this proposer leads and one is due.
    fn due_checkpoint(&mut self, now: Time) -> Option<LetsGo> {
        let Phase::Leading(leadership) = &self.phase else { return None };
        if !self.election.is_quorate() || !leadership.may_write(&self.log) {
            return None;
        }
        let fullness = self.fullness(now);
        let lets_go = self.retention.due(now, &self.log, &self.settings, fullness)?;
        (!leadership.keeps_open(&self.log)).then_some(lets_go)
    }

    /// The learners for which more is kept than `retain` says; none if it does not lead.
    pub(super) fn holders(&self, now: Time) -> Vec<Holder> {
        if !self.is_leading() {
            return Vec::new();
        }
        self.retention.holders(now, &self.log, &self.settings, self.fullness(now))
    }

    /// Writes a checkpoint, if it leads and one is due.
    pub(super) fn write_checkpoint(&mut self, now: Time) {
        if let Some(lets_go) = self.due_checkpoint(now) {
            self.write_what_lets_go(now, lets_go);
        }
    }

    /// Writes a checkpoint now that trims the log at the newest one that was passed, whatever
    /// `retain` says, if it leads and may write one. Where memories hold only the newest part, they
    /// forget the log there, and it is trimmed at the one before. For the model checker.
    pub fn trim(&mut self, now: Time) {
        let Phase::Leading(leadership) = &self.phase else { return };
        if leadership.may_write(&self.log) {
            let marks = || self.retention.marks.values().rev().map(|mark| mark.keep);
            let forget = marks().next().unwrap_or(Instance::FIRST);
            let before = marks().nth(1).unwrap_or(Instance::FIRST).max(self.log.trimmed());
            let trim = if self.settings.hold_bytes.is_some() { before } else { forget };
            self.write_what_lets_go(now, LetsGo { trim, forget, ..LetsGo::NONE });
        }
    }

    fn write_what_lets_go(&mut self, now: Time, lets_go: LetsGo) {
        let Phase::Leading(leadership) = &mut self.phase else { return };
        let time = leadership.times.next(self.log.time());
        let history = self.retention.history(now, time, &self.log, &self.settings);
        let checkpoint = self.log.checkpoint(lets_go);
        let Head { of, trim, forget, .. } = checkpoint.head;
        debug!("writes a checkpoint of {of}: trims below {trim}, forgets below {forget}");
        leadership.write(&checkpoint, history);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::entries::Entries;
    use crate::protocol::types::{
        AssignedBy, Counted, Entry, NodeId, Number, Origin, Role, Session, Value,
    };

    fn decide(log: &mut DecidedLog, retention: &mut Retention, now: Time, entries: Vec<Entry>) {
        let page = Page { from: log.end(), entries: entries.into() };
        log.decide(page, |_| {}).expect("it is new");
        let retain = Retain::Age(Duration::from_secs(100));
        log.deliver(|page, occurrence| {
            retention.on_passed(now, &page, &occurrence, &keeping(retain));
        });
        retention.let_go(now, log, &keeping(retain));
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
        let lets_go = retention.due(now, log, &keeping(retain), Fullness::None)?;
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

    /// However much is retained and held, a new leader reads little, and the marks are few.
    #[test]
    fn where_memories_hold_much_checkpoints_lie_near_and_histories_name_the_last() {
        let (mut log, mut retention) = (DecidedLog::new(), Retention::default());
        let (hold_bytes, take_up_bytes) = (Some(1 << 20), 20_000);
        let settings = Settings { hold_bytes, take_up_bytes, ..keeping(Retain::All) };
        let pass = |log: &mut DecidedLog, retention: &mut Retention, entries: Vec<Entry>| {
            let page = Page { from: log.end(), entries: entries.into() };
            log.decide(page, |_| {}).expect("it is new");
            log.deliver(|page, occurrence| {
                retention.on_passed(Time::ZERO, &page, &occurrence, &settings);
            });
            retention.let_go(Time::ZERO, log, &settings);
        };
        let mut written: Vec<Instance> = Vec::new();
        for _ in 0..2000 {
            let session = Session { client: 1, boot: 1 };
            let origin = Origin::new(session, log.next_number(session), AssignedBy::Leader);
            let value = Entry::Value { origin, value: Value::new(&[b'v'; 1000]) };
            pass(&mut log, &mut retention, vec![value]);
            let due = retention.due(Time::ZERO, &log, &settings, Fullness::None);
            let Some(lets_go) = due else { continue };
            let history = retention.history(Time::ZERO, LogTime::NONE, &log, &settings);
            let last = written.last().copied().unwrap_or(Instance::FIRST);
            assert_eq!(history.begin(), last);
            assert!(history.points.len() <= History::POINTS_MAX);
            let checkpoint = log.checkpoint(lets_go);
            written.push(checkpoint.head.keep);
            pass(&mut log, &mut retention, checkpoint.pieces(1000));
            assert!(retention.marks.len() <= 2 * History::POINTS_MAX + 1);
        }
        assert!((190..=200).contains(&written.len()), "{} checkpoints", written.len());
        let held = log.watermark().0 - log.first().0;
        assert!((1000..1300).contains(&held), "{held} entries are held");
        // A leader that knows only the last history finds a place at which to forget.
        let points = retention.history(Time::ZERO, LogTime::NONE, &log, &settings).points;
        let is_wanted = |bytes: u64| ((1 << 20)..(5 << 18) + 20_000).contains(&bytes);
        assert!(points.iter().any(|point| is_wanted(point.back.bytes)));
        // Somebody may ask for an instance, and who won it.
        let origin = Origin::new(Session { client: 2, boot: 1 }, Number(1), AssignedBy::Client);
        let value = Entry::Value { origin, value: Value::new(&[b'v'; 100_000]) };
        pass(&mut log, &mut retention, vec![value]);
        assert_eq!(retention.due(Time::ZERO, &log, &settings, Fullness::None), None);
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
        // While nothing is passed, nothing is written, however long that lasts.
        pass(&mut log, &mut retention, 1, second(500), retain);
        assert_eq!(retention.due(second(9000), &log, &keeping(retain), Fullness::None), None);
    }

    /// The remains of a checkpoint whose leader died half way do not lengthen the next one.
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

    /// Nothing new comes while disks are full: old entries are trimmed all the same, and a
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
            let Some(lets_go) = retention.due(now, &log, &settings, Fullness::Most) else {
                continue;
            };
            let pieces = log.checkpoint(lets_go).pieces(1000);
            decide(&mut log, &mut retention, now, pieces);
            written += 1;
        }
        assert!(log.watermark().0 - log.trimmed().0 < 9, "{:?}", log.progress());
        assert!((2..=4).contains(&written), "{written} were written");
    }

    /// Nothing waits for a learner that fetches a snapshot where that would cost somebody else what
    /// is bounded.
    #[test]
    fn full_disks_and_memories_do_not_wait_for_learners_that_fetch() {
        let (mut log, mut retention) = (DecidedLog::new(), Retention::default());
        let (retain, now) = (Retain::Entries(100), Time::ZERO);
        let from = Sender { node: NodeId::new(Role::Learner, 1), boot: 1 };
        let needed = Needed { log: 0, from: Instance::FIRST };
        for _ in 0..10 {
            pass(&mut log, &mut retention, 25, now, Retain::All);
            let pieces = log.checkpoint(LetsGo::NONE).pieces(1000);
            decide(&mut log, &mut retention, now, pieces);
        }
        let held = Some(1 << 20);
        for (hold_bytes, fullness, waits) in [
            (held, Fullness::None, true),
            (held, Fullness::Few, false),
            (held, Fullness::Most, false),
            (None, Fullness::None, false),
        ] {
            let settings = Settings { hold_bytes, ..keeping(retain) };
            retention.on_need(now, from, needed, &settings);
            let LetsGo { trim, .. } = retention.lets_go(now, &log, &settings, fullness);
            assert_eq!(trim == Instance::FIRST, waits, "{hold_bytes:?}, {fullness:?}: {trim}");
            let fetches = Holder { learner: 1, reason: HoldReason::Fetches };
            let holders = retention.holders(now, &log, &settings, fullness);
            assert_eq!(holders, if waits { vec![fetches] } else { Vec::new() });
        }
        // Nor beyond a multiple of the retained amount.
        let settings = Settings { hold_bytes: held, ..keeping(Retain::Entries(50)) };
        let LetsGo { trim, .. } = retention.lets_go(now, &log, &settings, Fullness::None);
        let kept = log.watermark().0 - trim.0;
        assert!((200..240).contains(&kept), "{kept} are kept");
        // The same holds for one that took up the log since.
        let settings = Settings { hold_bytes: Some(1 << 20), ..keeping(retain) };
        let marks = retention.marks.clone();
        retention.begin(Instance(1), LogTime::NONE);
        retention.marks = marks;
        assert_eq!(retention.lets_go(now, &log, &settings, Fullness::None).trim, Instance::FIRST);
    }

    /// The word of keepers counts under the next leader as well: a standby hears it as the leader
    /// does, and keeps it when it takes up a log whose beginning is gone. A proposer that has heard
    /// nothing yet trims nothing.
    #[test]
    fn a_new_leader_trims_nothing_that_keepers_have_not_told_it_of() {
        let (mut log, mut retention) = (DecidedLog::new(), Retention::default());
        let now = Time::ZERO;
        for _ in 0..10 {
            pass(&mut log, &mut retention, 25, now, Retain::All);
            let pieces = log.checkpoint(LetsGo::NONE).pieces(1000);
            decide(&mut log, &mut retention, now, pieces);
        }
        let settings = Settings { keepers: vec![1, 2, 3], ..keeping(Retain::Entries(1)) };
        let keeps: Vec<Instance> = retention.marks.values().map(|mark| mark.keep).collect();
        let name = log.progress().name;
        let trim = |retention: &mut Retention| {
            retention.lets_go(now, &log, &settings, Fullness::None).trim
        };
        let tell = |retention: &mut Retention, id, boot, below| {
            let from = Sender { node: NodeId::new(Role::Learner, id), boot };
            let durable = Durable { below, name };
            retention.on_durable(from, &durable, &settings);
        };
        // A standby hears two of three, and takes up the log anew.
        let marks = retention.marks.clone();
        let take_up = |retention: &mut Retention| {
            retention.begin(keeps[0], LogTime::NONE);
            retention.marks = marks.clone();
        };
        assert_eq!(trim(&mut retention), Instance::FIRST, "nobody has told it anything");
        tell(&mut retention, 1, 1, keeps[7]);
        take_up(&mut retention);
        assert_eq!(trim(&mut retention), Instance::FIRST, "one of three has");
        tell(&mut retention, 2, 1, keeps[4]);
        take_up(&mut retention);
        assert_eq!(trim(&mut retention), keeps[4]);
        // What it says of the third while nothing is trimmed yet.
        let holders = |retention: &Retention| {
            let holders = retention.holders(now, &log, &settings, Fullness::None);
            holders.iter().map(|holder| holder.learner).collect::<Vec<_>>()
        };
        assert_eq!(holders(&retention), [1, 2, 3], "none reaches the newest that is old");
        // A late message, or one from an earlier incarnation, is no reason to trim more; and a
        // keeper that lost its disk takes back what it said.
        tell(&mut retention, 2, 1, keeps[2]);
        assert_eq!(trim(&mut retention), keeps[4]);
        tell(&mut retention, 2, 2, Instance::FIRST);
        tell(&mut retention, 2, 1, keeps[6]);
        take_up(&mut retention);
        assert_eq!(trim(&mut retention), Instance::FIRST);
        tell(&mut retention, 3, 1, keeps[5]);
        assert_eq!(trim(&mut retention), keeps[5]);
    }

    /// What a proposer knows that has read the log from this checkpoint on, with what it repeats.
    fn restarted(log: &DecidedLog, history: History) -> Retention {
        let mut late = Retention::default();
        let Head { of, keep, .. } = log.checkpoint(LetsGo::NONE).head;
        late.begin(of, LogTime::NONE);
        let itself = TrimPoint { of, keep, back: Distance::default() };
        let all = history.points.into_iter().chain([itself]);
        all.for_each(|point| late.recall(Time::ZERO, point, Passed::default()));
        late
    }

    #[test]
    fn a_leader_that_has_read_one_checkpoint_trims_as_the_one_before() {
        let second = |round: u64| Time(round * 1_000_000);
        let age = Retain::Age(Duration::from_secs(100));
        let less = Retain::Age(Duration::from_secs(60));
        for (retain, less) in [
            (Retain::Entries(100), Retain::Entries(60)),
            (Retain::Bytes(10_000), Retain::Bytes(6000)),
            (age, less),
        ] {
            let (mut log, mut retention) = (DecidedLog::new(), Retention::default());
            for round in 0..190 {
                pass(&mut log, &mut retention, 1, second(round), retain);
            }
            let (now, settings) = (second(190), keeping(less));
            let history = retention.history(now, LogTime::NONE, &log, &settings);
            assert!(history.points.len() > 3, "{history:?}");
            let expected = retention.lets_go(now, &log, &settings, Fullness::None);
            assert!(expected.trim > log.trimmed(), "{retain:?}: {expected:?}");
            let mut late = restarted(&log, history.clone());
            assert_eq!(
                late.lets_go(Time::ZERO, &log, &settings, Fullness::None),
                expected,
                "{retain:?}"
            );
            // One that reads a checkpoint without history knows nothing below.
            let mut late = restarted(&log, History { points: Vec::new(), ..history.clone() });
            assert_eq!(
                late.lets_go(Time::ZERO, &log, &settings, Fullness::None).trim,
                log.trimmed()
            );
        }
    }

    /// Ages go on where the leader before has left off, and never from nothing.
    #[test]
    fn what_is_older_by_another_measure_is_so_old() {
        let second = |round: u64| Time(round * 1_000_000);
        let settings = keeping(Retain::Age(Duration::from_secs(100)));
        let (mut log, mut retention) = (DecidedLog::new(), Retention::default());
        for round in 0..60 {
            pass(&mut log, &mut retention, 1, second(round), settings.retain);
        }
        let history = retention.history(second(60), LogTime::NONE, &log, &settings);
        let mut late = restarted(&log, history);
        let first = late.marks.values().next().map(|mark| mark.keep).expect("there is one");
        let trims = |late: &mut Retention, now| {
            late.lets_go(second(now), &log, &settings, Fullness::None).trim
        };
        // The first checkpoint was passed after 25 s, so it was 35 s old.
        assert_eq!(trims(&mut late, 60), Instance::FIRST);
        assert_eq!(trims(&mut late, 66), first);
    }

    #[test]
    fn however_many_there_are_a_few_are_repeated_far_and_near() {
        let second = |round: u64| Time(round * 1_000_000);
        for retain in [Retain::All, Retain::Age(Duration::from_secs(40))] {
            let mut log = DecidedLog::new();
            let mut retention = Retention::default();
            // No keeper has anything, so nothing is trimmed.
            let settings = Settings { keepers: vec![1], hold_bytes: Some(400), ..keeping(retain) };
            for round in 0..2000 {
                let (session, from) = (Session { client: 1, boot: 1 }, log.end());
                let number = log.next_number(session);
                let origin = Origin::new(session, number, AssignedBy::Leader);
                let value = Entry::Value { origin, value: Value::new(&[b'v'; 100]) };
                let page = Page { from, entries: vec![value].into() };
                log.decide(page, |_| {}).expect("it is new");
                log.deliver(|page, occurrence| {
                    retention.on_passed(second(round), &page, &occurrence, &settings);
                });
                let now = second(round);
                if let Some(lets_go) = retention.due(now, &log, &settings, Fullness::None) {
                    let history = retention.history(now, LogTime::NONE, &log, &settings);
                    let points = &history.points;
                    assert!(points.len() <= History::POINTS_MAX, "{} points", points.len());
                    assert!(points.first().is_none_or(|first| first.of < Instance(40)));
                    // The newest one left out lies no further from the end than a fraction of the
                    // whole.
                    let end = log.watermark().0;
                    let last = points.last().map_or(end, |last| last.of.0);
                    assert!(end - last < 40 + end / 8, "{last} of {end}");
                    let mut entries = log.checkpoint(lets_go).pieces(1000);
                    entries.push(history.entry());
                    let page = Page { from: log.end(), entries: entries.into() };
                    log.decide(page, |_| {}).expect("it is new");
                    log.deliver(|page, occurrence| {
                        retention.on_passed(now, &page, &occurrence, &settings);
                    });
                }
                retention.let_go(now, &log, &settings);
            }
            let count = retention.marks.len();
            assert!((16..=2 * History::POINTS_MAX).contains(&count), "{count} are known");
            assert_eq!(log.trimmed(), Instance::FIRST);
            assert!(log.forgotten() > Instance(1000));
        }
    }

    #[test]
    fn long_checkpoints_are_rare() {
        let mut retention =
            Retention { fresh: 9, fresh_bytes: 799, checkpoint_bytes: 100, ..Retention::default() };
        let log = DecidedLog::new();
        assert_eq!(
            retention.due(Time::ZERO, &log, &keeping(Retain::Entries(4)), Fullness::None),
            None
        );
        retention.fresh_bytes += 1;
        assert!(
            retention.due(Time::ZERO, &log, &keeping(Retain::Entries(4)), Fullness::None).is_some()
        );
        assert_eq!(retention.due(Time::ZERO, &log, &keeping(Retain::All), Fullness::None), None);
    }
}
