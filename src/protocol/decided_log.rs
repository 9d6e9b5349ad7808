//! What is decided, as far as one process knows, and in what order is it delivered?
//!
//! Learners and proposers hold one each. A decided entry never changes. Delivery is in instance
//! order without a gap, and a leader-assigned value is delivered exactly once and in its client's
//! order: number n of a session only right after n - 1; every other occurrence is skipped. Values
//! that came in parts are put together (`assembly`), and as many sessions are remembered as the log
//! says (`sessions`). All this is a function of the log alone, so every process that holds the same
//! prefix delivers the same.
//!
//! A log can be trimmed: entries below [`DecidedLog::first`] are not kept. A process that never had
//! them takes the log up at a checkpoint, which stands in the log (`trimming`).

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;
mod trimming;

pub use trimming::LetsGo;

use std::collections::{BTreeMap, BTreeSet};

use super::assembly::{Assembled, AssemblyLimits, Taken};
use super::checkpoint::{Checkpoint, Finished, Head, History, UnknownKind};
use super::entries::{Entries, EntryRef};
use super::figures::Figures;
use super::message::Progress;
use super::parts::{Assemblies, Sessions};
use super::segments::{Held, Page, Segments};
use super::sessions::Position;
use super::types::{
    AssignedBy, Counted, Instance, LogTime, Number, Origin, Part, Piece, Run, Session,
};

/// The decided entries and the position of delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DecidedLog {
    entries: Segments<()>,
    /// Entries below it are decided, and not held here. It lies above the watermark only while this
    /// process has yet to take up the log there.
    first: Instance,
    /// Nobody keeps entries below it, as checkpoints passed here say.
    trimmed: Instance,
    /// Entries below it need not be held here, as such checkpoints say; those from `pinned` on are
    /// held all the same.
    forgotten: Instance,
    pinned: Instance,
    /// Every instance below it is decided and was delivered or skipped.
    watermark: Instance,
    /// Above every decided instance.
    end: Instance,
    /// Above every decided leader-assigned value.
    leader_assigned_end: Instance,
    /// About how many bytes of entries lie above the watermark.
    ahead: usize,
    /// Where each session with leader-assigned values stands.
    sessions: Sessions,
    assemblies: Assemblies,
    /// The pieces of checkpoints among the entries.
    pieces: BTreeMap<Instance, Piece>,
    /// Where the log may be trimmed: what the checkpoints that were passed keep.
    trim_points: BTreeSet<Instance>,
    /// The highest time of what was delivered or skipped: that of the log at the watermark.
    time: LogTime,
    /// What distinguishes this log from the one the cluster had before it lost its data: the boot
    /// number of the first session that has a value in it. 0 until that is known.
    name: u64,
    /// A snapshot's checkpoint, while parts of values that were open then are still missing.
    restored: Option<Checkpoint>,
    /// An entry that delivery must not pass.
    stopped_by: Option<UnknownKind>,
}

/// An instance is known to hold something other than was claimed. The known entry stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction(pub Instance);

/// What delivery makes of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// The values are delivered here.
    Delivered,
    /// A part in its place, of a value that is not complete yet.
    Held,
    /// The last part of a value, which is delivered here.
    Completed(Assembled),
    /// They are leader-assigned values out of order, delivered before, or of a forgotten session.
    Skipped,
    /// They are of a session that has ended: they are never delivered.
    Ended,
    /// They are no-ops, or say nothing alone.
    Noop,
    /// The last piece of a checkpoint.
    Checkpoint(Head),
    /// Where the log may be trimmed, according to the leader that wrote the checkpoint before it.
    History(History),
    /// A limit of how many sessions are remembered, by which this many were forgotten.
    Limit(u64),
    /// Sessions that request nothing more; those of which it is true have ended.
    Finished(Finished),
}

impl DecidedLog {
    /// Nothing decided.
    pub fn new() -> Self {
        Self::with_limits(AssemblyLimits::FORMAT)
    }

    /// The same with other limits for values in parts, on which all processes must agree.
    pub fn with_limits(limits: AssemblyLimits) -> Self {
        DecidedLog {
            entries: Segments::new(),
            first: Instance::FIRST,
            trimmed: Instance::FIRST,
            forgotten: Instance::FIRST,
            pinned: Instance(u64::MAX),
            watermark: Instance::FIRST,
            end: Instance::FIRST,
            leader_assigned_end: Instance::FIRST,
            ahead: 0,
            sessions: Sessions::new(),
            assemblies: Assemblies::new(limits),
            pieces: BTreeMap::new(),
            trim_points: BTreeSet::from([Instance::FIRST]),
            time: LogTime::NONE,
            name: 0,
            restored: None,
            stopped_by: None,
        }
    }

    /// Takes decisions in, and hands out those that were not known before. Call
    /// [`DecidedLog::deliver`] afterwards.
    ///
    /// # Errors
    ///
    /// The first instance that is known to hold something else; all others are taken in.
    pub fn decide(&mut self, page: Page, mut news: impl FnMut(Page)) -> Result<(), Contradiction> {
        assert!(page.from >= Instance::FIRST, "instances count from 1");
        // Trimmed entries were known, or are not needed any more.
        let Some(page) = page.from_on(self.first) else { return Ok(()) };
        let run = page.run();
        if run.is_empty() {
            return Ok(());
        }
        if !self.entries.overlaps(run) {
            news(self.add(page));
            return Ok(());
        }
        let mut outcome = Ok(());
        // Cut from the front, so that a page is looked through once, however much of it is known.
        let mut rest = Some(page);
        // The very last number fits in no run.
        while let Some(page) = rest.filter(|page| !page.run().is_empty()) {
            let held = self.entries.at(page.run());
            let until = match &held {
                Held::Entries(known) => known.run().until,
                Held::Nothing(until) => *until,
            };
            let count = until.0 - page.from.0;
            let (page, behind) = page.split(count as usize);
            match held {
                Held::Entries(known) => {
                    let mut pairs = known.entries.iter().zip(&page.entries);
                    let differs = pairs.position(|(one, other)| one != other);
                    if let Some(place) = differs.filter(|_| outcome.is_ok()) {
                        outcome = Err(Contradiction(page.from.plus(place as u64)));
                    }
                }
                Held::Nothing(_) => news(self.add(page)),
            }
            rest = behind;
        }
        outcome
    }

    /// Takes in what was not known, and returns it.
    fn add(&mut self, page: Page) -> Page {
        assert!(page.from >= self.watermark, "below the watermark everything is decided");
        self.end = self.end.max(page.run().until);
        self.leader_assigned_end = self.leader_assigned_end.max(page.leader_assigned_end());
        if page.entries.has_checkpoints() {
            self.pieces.extend(page.pieces());
        }
        self.ahead += page.entries.bytes();
        self.entries.keep(page.clone(), ());
        page
    }

    /// Moves delivery on as far as everything is decided, and understood here
    /// ([`DecidedLog::stopped_by`]). Calls `passed` for everything that it passes, in parts whose
    /// entries share one fate: no-ops, or consecutive numbers of a session. Parts of values are
    /// handed out one by one.
    pub fn deliver(&mut self, mut passed: impl FnMut(Page, Occurrence)) {
        while let Some(page) = self.next_page() {
            for (place, entries) in page.entries.runs() {
                if self.name == 0 {
                    self.name = entries.origin().map_or(0, |origin| origin.session.boot);
                }
                self.time = self.time.max(entries.last_time());
                let mut rest = Some(Page { from: page.from.plus(place as u64), entries });
                while let Some(run) = rest {
                    let Some((count, occurrence)) = self.fate(&run) else { return };
                    let (part, behind) = run.split(count);
                    self.watermark = part.run().until;
                    self.ahead = self.ahead.saturating_sub(part.entries.bytes());
                    passed(part, occurrence);
                    rest = behind;
                }
            }
        }
    }

    /// The decided entries at the watermark, as far as one segment goes.
    fn next_page(&mut self) -> Option<Page> {
        if self.watermark >= self.end {
            // A cut page has another length than its pieces together, so the sum may drift.
            self.ahead = 0;
            return None;
        }
        match self.entries.at(Run::new(self.watermark, self.end)) {
            Held::Entries(page) => Some(page),
            Held::Nothing(_) => None,
        }
    }

    /// How many of the entries, which are no-ops alone or one session's consecutive numbers, share
    /// the fate of the first, and that fate; none if delivery must not pass it.
    fn fate(&mut self, page: &Page) -> Option<(usize, Occurrence)> {
        let entries = &page.entries;
        let Some((origin, numbers)) = entries.numbers() else {
            let Some(EntryRef::Checkpoint { piece, .. }) = entries.first() else {
                return Some((entries.len(), Occurrence::Noop));
            };
            let must_stop = self.must_stop_at(page.from, piece);
            return (!must_stop).then(|| (1, self.pass_piece(page.from, piece)));
        };
        Some(self.fate_of_numbers(page, origin, numbers))
    }

    /// The same of one session's consecutive numbers.
    fn fate_of_numbers(
        &mut self,
        page: &Page,
        origin: Origin,
        numbers: Run<Number>,
    ) -> (usize, Occurrence) {
        let entries = &page.entries;
        if origin.assigned_by == AssignedBy::Client {
            return (entries.len(), Occurrence::Delivered);
        }
        let Some(position) = self.sessions.begin(page.from, origin) else {
            return (entries.len(), Occurrence::Skipped);
        };
        let Position { next, has_ended, .. } = *position;
        if numbers.from < next {
            // They were delivered before; the next one may be among those that follow.
            return ((next.0 - numbers.from.0).min(numbers.len()) as usize, Occurrence::Skipped);
        }
        if has_ended {
            return (entries.len(), Occurrence::Ended);
        }
        if numbers.from > next {
            return (entries.len(), Occurrence::Skipped);
        }
        match values_before_parts(entries) {
            0 => self.take_part(page.from, origin, entries.slice(0, 1)),
            // Between the parts of a value the session has nothing else.
            _ if self.assemblies.is_open(origin.session) => self.end_session(origin.session, next),
            count => {
                position.next = next.plus(count as u64);
                position.last = page.from.plus(count as u64 - 1);
                (count, Occurrence::Delivered)
            }
        }
    }

    /// Everything of `session` below `next` is delivered, the last of it at `last`.
    fn move_on(&mut self, session: Session, next: Number, last: Instance) {
        if let Some(position) = self.sessions.get_mut(session) {
            position.next = position.next.max(next);
            position.last = last;
        }
    }

    /// The part of origin `origin`, which is the next of its session, is passed at `instance`.
    fn take_part(
        &mut self,
        instance: Instance,
        origin: Origin,
        entries: Entries,
    ) -> (usize, Occurrence) {
        let session = origin.session;
        if let Some(EntryRef::Part { part: Part::First { value_bytes }, .. }) = entries.first() {
            if self.assemblies.is_open(session) {
                return self.end_session(session, origin.number);
            }
            while let Some((other, first)) = self.assemblies.make_room(value_bytes as usize) {
                self.end_session(other, first);
            }
        }
        let occurrence = match self.assemblies.take(instance, entries) {
            Taken::Broken => return self.end_session(session, origin.number),
            Taken::Held => Occurrence::Held,
            Taken::Whole(value) => Occurrence::Completed(value),
        };
        self.move_on(session, origin.number.next(), instance);
        (1, occurrence)
    }

    /// Ends `session`: at the first part of its open value, or at `number` if there is none.
    fn end_session(&mut self, session: Session, number: Number) -> (usize, Occurrence) {
        let next = self.assemblies.drop_open(session).unwrap_or(number);
        if let Some(position) = self.sessions.get_mut(session) {
            (position.next, position.has_ended) = (next, true);
        }
        (1, Occurrence::Ended)
    }

    /// What `instance` holds, once decided.
    pub fn get(&self, instance: Instance) -> Option<EntryRef<'_>> {
        self.entries.get(instance).map(|(entry, ())| entry)
    }

    /// Whether `instance` is decided.
    pub fn contains(&self, instance: Instance) -> bool {
        self.entries.contains(instance)
    }

    /// How much of `run`, which is not empty, is decided from its beginning on.
    pub fn at(&self, run: Run<Instance>) -> Held {
        self.entries.at(run)
    }

    /// The decided entries of `run`, in order.
    pub fn pages(&self, run: Run<Instance>) -> impl Iterator<Item = Page> {
        self.entries.pages(run).map(|(page, ())| page)
    }

    /// Every instance below it is decided.
    pub fn watermark(&self) -> Instance {
        self.watermark
    }

    /// The time of the log at the watermark: the highest that an entry below says.
    pub fn time(&self) -> LogTime {
        self.time
    }

    /// Above every decided instance.
    pub fn end(&self) -> Instance {
        self.end
    }

    /// Above every decided leader-assigned value.
    pub fn leader_assigned_end(&self) -> Instance {
        self.leader_assigned_end
    }

    /// The number of `session` to deliver next. When it has ended: the first that is never
    /// delivered.
    pub fn next_number(&self, session: Session) -> Number {
        self.sessions.get(session).map_or(Number::FIRST, |position| position.next)
    }

    /// Whether `session` has ended: nothing more of it is ever delivered.
    pub fn has_ended(&self, session: Session) -> bool {
        self.sessions.get(session).is_some_and(|position| position.has_ended)
    }

    /// Whether nothing is known of `session`, opened at `opened`, and nothing more of it is ever
    /// delivered.
    pub fn has_forgotten(&self, session: Session, opened: Instance) -> bool {
        self.sessions.has_forgotten(session, opened)
    }

    /// How many sessions are remembered.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The figures of the log, for status and metrics.
    pub fn figures(&self) -> Figures {
        let (progress, sessions) = (Some(self.progress()), Some(self.session_count() as u64));
        Figures { progress, sessions, ..Figures::default() }
    }

    /// The values of which parts are missing.
    pub fn assemblies(&self) -> &Assemblies {
        &self.assemblies
    }

    /// About how many bytes of entries are held above the watermark.
    pub fn ahead(&self) -> usize {
        self.ahead
    }

    /// The lowest instance whose entry is held.
    pub fn first(&self) -> Instance {
        self.first
    }

    /// Every instance below it is decided, whether its entry was known here or not.
    pub fn decided_below(&self) -> Instance {
        self.watermark.max(self.first)
    }

    /// How much is held here.
    pub fn progress(&self) -> Progress {
        let decided = self.first.0 - 1 + self.entries.len() as u64;
        let (first, watermark, end) = (self.first, self.watermark, self.end);
        let (trimmed, name) = (self.trimmed.min(first), self.name);
        Progress { trimmed, first, watermark, decided, end, name }
    }

    /// Whether anything of `run` is not decided.
    pub fn lacks(&self, run: Run<Instance>) -> bool {
        run.until > self.decided_below() && !self.missing(run.from, run.until, 1).is_empty()
    }

    /// Up to `limit` runs of decided instances from `from` on, in order.
    pub fn decided(&self, from: Instance, limit: usize) -> Vec<Run<Instance>> {
        let mut runs: Vec<Run<Instance>> = Vec::new();
        for (decided, ()) in self.entries.spans(Run::new(from, self.end)) {
            let is_full = runs.len() == limit;
            match runs.last_mut() {
                Some(last) if last.until == decided.from => last.until = decided.until,
                Some(_) | None if is_full => break,
                Some(_) | None => runs.push(decided),
            }
        }
        runs
    }

    /// Up to `limit` runs of undecided instances from `from` and below `until`, in order.
    pub fn missing(&self, from: Instance, until: Instance, limit: usize) -> Vec<Run<Instance>> {
        let mut holes = Vec::new();
        let mut from = from.max(self.decided_below());
        for (decided, ()) in self.entries.spans(Run::new(from, until)) {
            if holes.len() == limit {
                return holes;
            }
            if from < decided.from {
                holes.push(Run::new(from, decided.from));
            }
            from = decided.until;
        }
        if from < until && holes.len() < limit {
            holes.push(Run::new(from, until));
        }
        holes
    }
}

/// How many whole values stand at the beginning of `entries`.
fn values_before_parts(entries: &Entries) -> usize {
    if !entries.has_parts() {
        return entries.len();
    }
    entries.iter().take_while(|entry| !matches!(entry, EntryRef::Part { .. })).count()
}

impl Default for DecidedLog {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::entries::steps;
    use crate::protocol::types::{Entry, Origin, Value};

    pub(super) fn entry(client: u32, number: u64, assigned_by: AssignedBy) -> Entry {
        let session = Session { client, boot: 0 };
        let origin = Origin::new(session, Number(number), assigned_by);
        Entry::Value { origin, value: Value::new(b"v") }
    }

    pub(super) fn decide(
        log: &mut DecidedLog,
        from: u64,
        entry: Entry,
    ) -> Result<(), Contradiction> {
        let page = Page { from: Instance(from), entries: vec![entry].into() };
        log.decide(page, |_| {})
    }

    pub(super) fn delivered(log: &mut DecidedLog) -> Vec<(u64, Occurrence)> {
        let mut delivered = Vec::new();
        log.deliver(|page, what| {
            delivered.extend(page.run().iter().map(|instance| (instance.0, what.clone())));
        });
        delivered
    }

    /// "Paxos Made Simple", 2.1: only a single value is chosen; what is decided stays.
    #[test]
    fn a_decided_entry_never_changes() {
        let mut log = DecidedLog::new();
        let first = entry(1, 1, AssignedBy::Client);
        assert_eq!(decide(&mut log, 1, first.clone()), Ok(()));
        assert_eq!(decide(&mut log, 1, first.clone()), Ok(()));
        assert_eq!(decide(&mut log, 1, Entry::Noop), Err(Contradiction(Instance(1))));
        assert_eq!(log.get(Instance(1)), Some(first.borrowed()));
    }

    #[test]
    fn what_is_known_in_part_is_new_in_part() {
        let mut log = DecidedLog::new();
        let mine = |number| entry(1, number, AssignedBy::Client);
        assert_eq!(decide(&mut log, 2, mine(2)), Ok(()));
        assert_eq!(decide(&mut log, 4, Entry::Noop), Ok(()));
        let mut news = Vec::new();
        let page = Page { from: Instance(1), entries: (1..=5).map(mine).collect() };
        assert_eq!(log.decide(page, |page| news.push(page)), Err(Contradiction(Instance(4))));
        assert_eq!(news.iter().map(|page| page.from.0).collect::<Vec<_>>(), [1, 3, 5]);
        assert_eq!(log.get(Instance(4)), Some(EntryRef::Noop));
        assert_eq!(log.progress().decided, 5);
    }

    #[test]
    fn delivery_waits_for_holes() {
        let mut log = DecidedLog::new();
        decide(&mut log, 2, entry(1, 2, AssignedBy::Client)).expect("it is new");
        assert_eq!(delivered(&mut log), []);
        decide(&mut log, 1, Entry::Noop).expect("it is new");
        assert_eq!(delivered(&mut log), [(1, Occurrence::Noop), (2, Occurrence::Delivered)]);
    }

    #[test]
    fn leader_assigned_values_are_delivered_once_and_in_their_order() {
        let mut log = DecidedLog::new();
        for (instance, number) in [(1, 1), (2, 3), (3, 1), (4, 2), (5, 3)] {
            decide(&mut log, instance, entry(7, number, AssignedBy::Leader)).expect("it is new");
        }
        use Occurrence::{Delivered, Skipped};
        assert_eq!(
            delivered(&mut log),
            [(1, Delivered), (2, Skipped), (3, Skipped), (4, Delivered), (5, Delivered)]
        );
        assert_eq!(log.next_number(Session { client: 7, boot: 0 }), Number(4));
    }

    /// Part of a run may have been delivered before; its effect on the session is the same as
    /// number by number.
    #[test]
    fn a_run_is_cut_where_its_fate_changes() {
        let run = |from, until| (from..until).map(|number| entry(7, number, AssignedBy::Leader));
        let entries = run(3, 5).chain(run(1, 3)).chain(run(1, 6)).collect();
        let mut log = DecidedLog::new();
        assert_eq!(log.decide(Page { from: Instance(1), entries }, |_| {}), Ok(()));
        let mut steps = Vec::new();
        log.deliver(|page, what| steps.push((page.run().to_string(), what)));
        let expected = [("1..3", false), ("3..5", true), ("5..7", false), ("7..10", true)];
        let expected = expected.map(|(run, is_delivered)| {
            let what = if is_delivered { Occurrence::Delivered } else { Occurrence::Skipped };
            (run.to_owned(), what)
        });
        assert_eq!(steps, expected);
    }

    #[test]
    fn what_is_missing_is_named_in_runs() {
        let mut log = DecidedLog::new();
        for instance in [1, 4, 5, 9] {
            decide(&mut log, instance, Entry::Noop).expect("it is new");
        }
        delivered(&mut log);
        let named = |runs: Vec<Run<Instance>>| runs.iter().map(Run::to_string).collect::<Vec<_>>();
        assert_eq!(named(log.missing(Instance(1), Instance(12), 9)), ["2..4", "6..9", "10..12"]);
        assert_eq!(named(log.missing(Instance(1), Instance(12), 1)), ["2..4"]);
        assert_eq!(named(log.missing(Instance(1), Instance(3), 9)), ["2..3"]);
        assert_eq!(named(log.missing(Instance(4), Instance(12), 9)), ["6..9", "10..12"]);
    }

    /// `count` values of as many sessions.
    fn mixed(count: u32) -> Page {
        let entries = (1..=count).map(|client| entry(client, 1, AssignedBy::Leader)).collect();
        Page { from: Instance::FIRST, entries }
    }

    /// Found by measuring: values of many sessions were delivered in quadratic time, because each
    /// was looked for from the beginning of what it had come with.
    #[test]
    fn delivery_costs_the_same_for_each_value() {
        let cost = |count| {
            let (page, mut log) = (mixed(count), DecidedLog::new());
            let ((), steps) = steps::count(|| {
                log.decide(page.clone(), |_| {}).expect("it is new");
                log.deliver(|_, _| {});
            });
            assert_eq!(log.watermark(), page.run().until);
            steps
        };
        let (short, long) = (cost(500), cost(5000));
        assert!(short < 500 * 5, "{short} steps");
        assert!(long <= short * 11, "{long} steps, and {short} for a tenth");
    }

    /// The same where much of a page is known, here every second instance.
    #[test]
    fn a_page_is_looked_through_once_however_much_of_it_is_known() {
        let cost = |count: u32| {
            let (page, mut log) = (mixed(count), DecidedLog::new());
            for (instance, entry) in page.from.numbering(&page.entries).step_by(2) {
                decide(&mut log, instance.0, entry.to_entry()).expect("it is new");
            }
            let mut news = Vec::new();
            let (outcome, steps) = steps::count(|| log.decide(page, |page| news.push(page)));
            assert_eq!((outcome, news.len()), (Ok(()), count as usize / 2));
            steps
        };
        let (short, long) = (cost(500), cost(5000));
        assert!(short < 500 * 16, "{short} steps");
        assert!(long <= short * 11, "{long} steps, and {short} for a tenth");
    }
}
