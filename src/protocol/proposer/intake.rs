//! Which values wait for an instance: those that clients left to the leader to place and that are
//! not in flight yet.
//!
//! The cost of a turn depends on what it proposes, not on everything ever requested: sessions with
//! something to propose stand in a ring, and a session of which nothing is held is forgotten.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};

use crate::protocol::entries::{Entries, EntryRef};
use crate::protocol::segments::Page;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Counted, Instance, Number, Origin, Part, Run, Session};

/// How many bytes the values of all sessions may take, and how many those that arrived ahead of a
/// missing one. More are refused, and requested again.
const BYTES_MAX: usize = 1 << 28;
const EARLY_BYTES_MAX: usize = 1 << 26;

// Early values leave room for those that they wait for.
const _: () = assert!(2 * EARLY_BYTES_MAX <= BYTES_MAX);

/// What an early value is charged on top of its bytes, so that many small ones are bounded as well.
const EARLY_BYTES: usize = 256;

/// The leader-assigned values of every session that has any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Queues {
    queues: BySession,
    /// The sessions with values to propose, each once, in the order of their turns.
    ready: VecDeque<Session>,
    /// What the queues hold, together.
    held: Bytes,
    /// The values in parts of which they hold the beginning.
    begun: Begun,
    /// How many of them have values without a gap.
    busy: usize,
    /// The sessions whose early values have come to their turn, and begin with a value in parts:
    /// whether there is room for it is not known yet.
    joining: BTreeSet<Session>,
}

/// The queue of every session. That which was emptied last stays until another one is, for a lone
/// value fills and empties one; it tells nothing of what is held.
#[derive(Clone, Debug, Default)]
struct BySession {
    queues: BTreeMap<Session, Box<Queue>>,
    emptied: Option<Session>,
}

impl BySession {
    /// Those that are not empty.
    fn held(&self) -> impl Iterator<Item = (&Session, &Queue)> {
        let all = self.queues.iter().map(|(session, queue)| (session, &**queue));
        all.filter(|(_, queue)| !queue.is_empty())
    }

    fn get(&self, session: Session) -> Option<&Queue> {
        self.queues.get(&session).map(|queue| &**queue)
    }

    /// The queue of `session` is empty.
    fn note_empty(&mut self, session: Session) {
        let before = self.emptied.replace(session).filter(|before| *before != session);
        if let Some(before) = before
            && self.get(before).is_some_and(Queue::is_empty)
        {
            self.queues.remove(&before);
        }
    }
}

impl PartialEq for BySession {
    fn eq(&self, other: &Self) -> bool {
        self.held().eq(other.held())
    }
}

impl Eq for BySession {}

impl Hash for BySession {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.held().for_each(|held| held.hash(state));
    }
}

/// Values that travel in parts and whose first part is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Begun {
    /// How many.
    pub count: usize,
    /// How many bytes they announce.
    pub bytes: usize,
}

impl Begun {
    /// Those that begin among `entries`.
    fn among(entries: &Entries) -> Begun {
        let mut begun = Begun::default();
        if entries.has_parts() {
            entries.iter().filter_map(announced).for_each(|bytes| begun.add(bytes));
        }
        begun
    }

    fn add(&mut self, bytes: usize) {
        (self.count, self.bytes) = (self.count + 1, self.bytes + bytes);
    }

    /// What is left after subtracting `other`.
    #[must_use]
    pub fn less(self, other: Begun) -> Begun {
        let count = self.count.saturating_sub(other.count);
        Begun { count, bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

/// The length of the value that begins with this entry, if more parts follow.
fn announced(entry: EntryRef<'_>) -> Option<usize> {
    match entry {
        EntryRef::Part { part: Part::First { value_bytes }, .. } => Some(value_bytes as usize),
        EntryRef::Noop
        | EntryRef::Value { .. }
        | EntryRef::Part { .. }
        | EntryRef::Checkpoint { .. } => None,
    }
}

/// How many of `entries`, from the first on, there is room for, where `room` is what other sessions
/// leave. A session has one open value at a time, so its values need no room beside each other.
fn let_in(entries: &Entries, room: Begun) -> usize {
    if !entries.has_parts() {
        return entries.len();
    }
    let is_let_in = |entry: &EntryRef<'_>| {
        announced(*entry).is_none_or(|bytes| room.count > 0 && bytes <= room.bytes)
    };
    entries.iter().take_while(is_let_in).count()
}

/// How many bytes values take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Bytes {
    /// Those without a gap.
    in_order: usize,
    /// Those behind a gap.
    early: usize,
}

/// The leader-assigned values of one session, from the first that is not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Queue {
    /// Where the log was when the session was opened.
    opened: Instance,
    /// The next of the session to be delivered.
    front: Number,
    /// Values that are proposed, from the front on, and where.
    proposed: VecDeque<Page>,
    /// The values behind them, which wait for their instances.
    waiting: VecDeque<Entries>,
    /// How many values are in `proposed` and `waiting`.
    held: usize,
    /// Values that came before one that is still missing; no two hold the same.
    early: BTreeMap<Number, Entries>,
    bytes: Bytes,
    /// The values in parts that begin in `proposed` and `waiting`.
    begun: Begun,
    /// Whether the ring has the session.
    is_ready: bool,
}

/// How much of a session's values may be held.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// How far above the first undelivered one.
    values: usize,
    /// At this many bytes there is no room left.
    bytes: Bytes,
    /// What other sessions leave for values in parts.
    room: Begun,
}

/// A session, as its request and the log describe it.
#[derive(Clone, Copy, Debug)]
pub struct Mine {
    /// Whose values they are.
    pub session: Session,
    /// Where the log was when it was opened.
    pub opened: Instance,
    /// The next number of it to be delivered.
    pub front: Number,
}

/// What the leader did with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It holds it.
    Received,
    /// It was delivered before.
    Delivered,
    /// There is no room; the client will ask again.
    Refused,
}

impl Queues {
    /// The values in parts that are held, from their first part on, of all sessions but `session`.
    pub fn begun_by_others(&self, session: Session) -> Begun {
        let own = self.queues.get(session).map_or(Begun::default(), |queue| queue.begun);
        self.begun.less(own)
    }

    /// Whether any value of `session` is held without a gap in front of it.
    pub fn has(&self, session: Session) -> bool {
        self.queues.get(session).is_some_and(|queue| queue.held > 0)
    }

    /// Takes in consecutive values of a session, of which those below its front are delivered, and
    /// reports the fate of each. `room` is what other sessions leave for values in parts.
    pub fn push(
        &mut self,
        Mine { session, opened, front }: Mine,
        entries: &Entries,
        room: Begun,
        settings: &Settings,
        tell: impl FnMut(Run<Number>, Fate),
    ) {
        // An honest client keeps no more than this in flight.
        let most = settings.window_bytes.saturating_mul(2);
        let below = |max: usize, all: usize| if all < max { most } else { 0 };
        let bytes = Bytes {
            in_order: below(BYTES_MAX, self.held.in_order),
            early: below(EARLY_BYTES_MAX, self.held.early),
        };
        let limits = Limits { values: settings.request_queue, bytes, room };
        let queue = self.queues.queues.entry(session).or_default();
        if queue.is_empty() {
            (queue.opened, queue.front) = (opened, front);
        }
        self.change(session, |queue| queue.push(entries, limits, tell));
    }

    /// A session whose early values have come to their turn, and may need room.
    pub fn joining(&self) -> Option<Session> {
        self.joining.first().copied()
    }

    /// Takes in such values of `session`, where others leave `room` for values in parts. Without
    /// room they wait until the client asks again.
    pub fn join(&mut self, session: Session, room: Begun) {
        self.change(session, |queue| queue.join_early(room));
        self.joining.remove(&session);
    }

    /// How many sessions have something that can be delivered but was not yet. A session that waits
    /// for a missing value may belong to a client that is gone, and takes no room from the others.
    pub fn sessions(&self) -> usize {
        self.busy
    }

    /// The values to propose next, of the session whose turn it is: no more than arrived together.
    pub fn next(&mut self) -> Option<&Entries> {
        // Another leader's decision may have taken away what a session had.
        while let Some(session) = self.ready.front().copied()
            && self.queues.get(session).is_none_or(|queue| queue.waiting.is_empty())
        {
            self.ready.pop_front();
            self.change(session, |queue| queue.is_ready = false);
        }
        self.queues.get(*self.ready.front()?)?.waiting.front()
    }

    /// The first `count` values of [`Queues::next`] are proposed from `instance` on. Returns them;
    /// then it is the next session's turn.
    pub fn propose_next(&mut self, count: usize, instance: Instance) -> Option<Page> {
        let session = self.ready.pop_front()?;
        let mut page = None;
        self.change(session, |queue| {
            page = queue.propose_next(count, instance);
            queue.is_ready = false;
        });
        page
    }

    /// Everything of `session` below `until` is delivered.
    pub fn on_delivered(&mut self, session: Session, until: Number) {
        self.change(session, |queue| queue.on_delivered(until));
    }

    /// Nothing of `session` is delivered any more.
    pub fn forget(&mut self, session: Session) {
        let Some(queue) = self.queues.queues.remove(&session) else { return };
        self.held.in_order -= queue.bytes.in_order;
        self.held.early -= queue.bytes.early;
        self.begun = self.begun.less(queue.begun);
        self.busy -= usize::from(queue.held > 0);
        self.joining.remove(&session);
        if queue.is_ready {
            self.ready.retain(|ready| *ready != session);
        }
    }

    /// The same for every session for which `is_over` holds. Returns those of which something was
    /// held.
    pub fn forget_if(&mut self, is_over: impl Fn(Session, Instance) -> bool) -> Vec<Session> {
        let queues = self.queues.held();
        let over = queues.filter(|(session, queue)| is_over(**session, queue.opened));
        let over: Vec<Session> = over.map(|(session, _)| *session).collect();
        over.iter().for_each(|session| self.forget(*session));
        over
    }

    /// A later value of `session` was skipped at `instance`. Unless its front is still under way
    /// to a later instance, everything has to be proposed again.
    pub fn on_skipped(&mut self, session: Session, instance: Instance) {
        self.change(session, |queue| queue.on_skipped(instance));
    }

    /// Value `number` of `session` and what follows it must be proposed (again).
    pub fn propose_again_from(&mut self, session: Session, number: Number) {
        self.change(session, |queue| queue.propose_again_from(number));
    }

    /// Changes the queue of `session`, if there is one; a session with something to propose gets
    /// its turn, and one of which nothing is held is forgotten.
    fn change(&mut self, session: Session, change: impl FnOnce(&mut Queue)) {
        let Some(queue) = self.queues.queues.get_mut(&session) else { return };
        let (before, begun, was_busy) = (queue.bytes, queue.begun, queue.held > 0);
        change(queue);
        self.busy = self.busy + usize::from(queue.held > 0) - usize::from(was_busy);
        self.begun = self.begun.less(begun);
        self.begun.count += queue.begun.count;
        self.begun.bytes += queue.begun.bytes;
        self.held.in_order = self.held.in_order - before.in_order + queue.bytes.in_order;
        self.held.early = self.held.early - before.early + queue.bytes.early;
        if !queue.waiting.is_empty() && !queue.is_ready {
            queue.is_ready = true;
            self.ready.push_back(session);
        }
        if queue.is_joining() {
            self.joining.insert(session);
        }
        if queue.is_empty() {
            self.queues.note_empty(session);
        }
    }
}

impl Default for Queue {
    /// An empty queue of no session.
    fn default() -> Self {
        Queue {
            opened: Origin::UNSTAMPED,
            front: Number::FIRST,
            proposed: VecDeque::new(),
            waiting: VecDeque::new(),
            held: 0,
            early: BTreeMap::new(),
            bytes: Bytes::default(),
            begun: Begun::default(),
            is_ready: false,
        }
    }
}

impl Queue {
    /// Whether nothing of the session is held, and the ring does not have it.
    fn is_empty(&self) -> bool {
        self.held == 0 && self.early.is_empty() && !self.is_ready
    }

    /// The number behind the values that are held without a gap.
    fn end(&self) -> Number {
        self.front.plus(self.held as u64)
    }

    /// Takes in consecutive values of the session, and tells what becomes of which.
    ///
    /// The limit counts from the front, not the values present: otherwise early ones could take the
    /// place of the one that they all wait for.
    fn push(&mut self, entries: &Entries, limits: Limits, mut tell: impl FnMut(Run<Number>, Fate)) {
        let Some((_, numbers)) = entries.numbers() else { return };
        let end = self.end();
        let mut part = |from: Number, until: Number, fate| {
            let part = Run::new(from.max(numbers.from), until.min(numbers.until));
            if !part.is_empty() {
                tell(part, fate);
            }
            part
        };
        part(Number::FIRST, self.front, Fate::Delivered);
        part(self.front, end, Fate::Received);
        let first = end.max(numbers.from);
        let has_room = if first > end {
            self.bytes.early < limits.bytes.early
        } else {
            self.bytes.in_order < limits.bytes.in_order
        };
        let mut until = if has_room { self.front.plus(limits.values as u64) } else { first };
        let place = |number: Number| (number.0 - numbers.from.0) as usize;
        if first <= end && first < numbers.until {
            let fresh = entries.slice(place(first), entries.len());
            until = until.min(first.plus(let_in(&fresh, limits.room) as u64));
        }
        let taken = part(first, until, Fate::Received);
        part(taken.until.max(first), numbers.until, Fate::Refused);
        if taken.is_empty() {
            return;
        }
        let taken = entries.slice(place(taken.from), place(taken.until));
        if first > end {
            self.keep_early(first, taken);
        } else {
            self.append(taken);
            self.join_early(limits.room);
        }
    }

    fn append(&mut self, entries: Entries) {
        self.held += entries.len();
        self.bytes.in_order += entries.bytes();
        let Begun { count, bytes } = Begun::among(&entries);
        (self.begun.count, self.begun.bytes) = (self.begun.count + count, self.begun.bytes + bytes);
        self.waiting.push_back(entries);
    }

    /// Keeps those of `entries`, which begin with number `from`, that are not kept yet.
    fn keep_early(&mut self, mut from: Number, mut entries: Entries) {
        let end_of =
            |(from, entries): (&Number, &Entries)| (*from, from.plus(entries.len() as u64));
        let mut known = self.early.range(..=from).next_back().map(end_of);
        while !entries.is_empty() {
            if let Some((_, end)) = known
                && end > from
            {
                let passed = ((end.0 - from.0) as usize).min(entries.len());
                entries = entries.slice(passed, entries.len());
                from = end;
            }
            known = self.early.range(from..).next().map(end_of);
            let free = known.map_or(u64::MAX, |(next, _)| next.0 - from.0);
            let count = usize::try_from(free).unwrap_or(usize::MAX).min(entries.len());
            if count > 0 {
                let kept = entries.slice(0, count);
                self.bytes.early += kept.bytes() + EARLY_BYTES;
                self.early.insert(from, kept);
                entries = entries.slice(count, entries.len());
                from = from.plus(count as u64);
            }
        }
    }

    /// The first `count` waiting values are proposed from `instance` on. Returns them.
    fn propose_next(&mut self, count: usize, instance: Instance) -> Option<Page> {
        let next = Page { from: instance, entries: self.waiting.pop_front()? };
        let (proposed, rest) = next.split(count);
        if let Some(rest) = rest {
            self.waiting.push_front(rest.entries);
        }
        self.proposed.push_back(proposed.clone());
        Some(proposed)
    }

    fn on_delivered(&mut self, until: Number) {
        while self.front < until {
            let count = usize::try_from(until.0 - self.front.0).unwrap_or(usize::MAX);
            let passed = if let Some(page) = self.proposed.pop_front() {
                let (passed, rest) = page.split(count);
                rest.into_iter().for_each(|rest| self.proposed.push_front(rest));
                passed.entries
            } else if let Some(entries) = self.waiting.pop_front() {
                let passed = entries.slice(0, count.min(entries.len()));
                if passed.len() < entries.len() {
                    self.waiting.push_front(entries.slice(passed.len(), entries.len()));
                }
                passed
            } else {
                self.front = until;
                break;
            };
            self.held -= passed.len();
            self.bytes.in_order -= passed.bytes();
            self.begun = self.begun.less(Begun::among(&passed));
            self.front = self.front.plus(passed.len() as u64);
        }
        // Whether another value in parts may begin is decided at the end of the turn.
        self.join_early(Begun::default());
    }

    fn on_skipped(&mut self, instance: Instance) {
        let is_under_way = self.proposed.front().is_some_and(|front| front.from > instance);
        if !is_under_way {
            self.propose_again_from(self.front);
        }
    }

    fn propose_again_from(&mut self, number: Number) {
        let proposed: usize = self.proposed.iter().map(|page| page.entries.len()).sum();
        let mut behind = self.front.plus(proposed as u64);
        while behind > number
            && let Some(page) = self.proposed.pop_back()
        {
            let from = Number(behind.0 - page.entries.len() as u64);
            let kept = number.0.saturating_sub(from.0) as usize;
            if kept > 0 {
                let (kept, again) = page.split(kept);
                self.proposed.push_back(kept);
                again.into_iter().for_each(|again| self.waiting.push_front(again.entries));
            } else {
                self.waiting.push_front(page.entries);
            }
            behind = from;
        }
    }

    /// Whether the turn of early values has come.
    fn is_joining(&self) -> bool {
        self.early.first_key_value().is_some_and(|(from, _)| *from <= self.end())
    }

    /// Takes in early values whose turn has come, if there is `room` for them.
    fn join_early(&mut self, room: Begun) {
        while let Some((from, _)) = self.early.first_key_value()
            && *from <= self.end()
            && let Some((from, entries)) = self.early.pop_first()
        {
            self.bytes.early -= entries.bytes() + EARLY_BYTES;
            let known = ((self.end().0 - from.0) as usize).min(entries.len());
            let fresh = entries.slice(known, entries.len());
            let count = let_in(&fresh, room);
            if count > 0 {
                self.append(fresh.slice(0, count));
            }
            if count < fresh.len() {
                let rest = fresh.slice(count, fresh.len());
                self.bytes.early += rest.bytes() + EARLY_BYTES;
                self.early.insert(self.end(), rest);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::{AssignedBy, Entry, Origin, Value};

    const SESSION: Session = Session { client: 1, boot: 1 };

    const LIMITS: Limits = {
        let bytes = Bytes { in_order: 1 << 20, early: 1 << 20 };
        Limits { values: 100, bytes, room: Begun { count: 2, bytes: 100 } }
    };

    fn values(from: u64, until: u64) -> Entries {
        let entry = |number| {
            let assigned_by = AssignedBy::Leader;
            let origin = Origin::new(SESSION, Number(number), assigned_by);
            Entry::Value { origin, value: Value::new(b"v") }
        };
        (from..until).map(entry).collect()
    }

    fn push(queue: &mut Queue, from: u64, until: u64) -> Vec<(String, Fate)> {
        let mut fates = Vec::new();
        let tell = |run: Run<Number>, fate| fates.push((run.to_string(), fate));
        queue.push(&values(from, until), LIMITS, tell);
        fates
    }

    fn queue(numbers: impl IntoIterator<Item = u64>) -> Queue {
        let mut queue = Queue::default();
        for number in numbers {
            push(&mut queue, number, number + 1);
        }
        queue
    }

    fn propose_all(queue: &mut Queue, from: u64) -> Vec<u64> {
        let mut instance = Instance(from);
        let mut numbers = Vec::new();
        while let Some(count) = queue.waiting.front().map(Entries::len) {
            let page = queue.propose_next(count, instance).expect("there is a next");
            instance = page.run().until;
            numbers.extend(page.entries.iter().filter_map(EntryRef::origin).map(|o| o.number.0));
        }
        numbers
    }

    /// Values of which each takes two numbers, and announces 40 bytes.
    fn in_parts(from: u64, until: u64) -> Entries {
        let entry = |number| {
            let assigned_by = AssignedBy::Leader;
            let origin = Origin::new(SESSION, Number(number), assigned_by);
            let (part, length) = match number % 2 {
                1 => (Part::First { value_bytes: 40 }, 32),
                _ => (Part::Last, 8),
            };
            Entry::Part { origin, part, bytes: Value::new(&vec![b'p'; length]) }
        };
        (from..until).map(entry).collect()
    }

    /// A value in parts came before one that was lost, and was told to be here: its client does not
    /// ask for it again soon. So when the lost one comes, in whatever way, it is let in.
    #[test]
    fn values_in_parts_wait_only_for_what_was_lost() {
        let mine = Mine { session: SESSION, opened: Instance(1), front: Number(1) };
        let room = Begun { count: 1, bytes: 40 };
        let settings = Settings::default();
        let early = || {
            let mut queues = Queues::default();
            queues.push(mine, &in_parts(3, 5), Begun::default(), &settings, |_, _| {});
            assert_eq!((queues.joining(), queues.next()), (None, None));
            queues
        };
        let next = |queues: &mut Queues| queues.next().map(|next| (next.len(), next.has_parts()));
        let mut asked = early();
        asked.push(mine, &values(1, 3), Begun::default(), &settings, |_, _| {});
        let mut decided = early();
        decided.on_delivered(SESSION, Number(3));
        for (mut queues, before) in [(asked, 1), (decided, 0)] {
            assert_eq!(queues.joining(), Some(SESSION));
            queues.join(SESSION, Begun::default());
            assert_eq!(queues.joining(), None, "without room its client asks again");
            queues.change(SESSION, |_| {});
            assert_eq!(queues.joining(), Some(SESSION));
            queues.join(SESSION, room);
            assert_eq!((queues.joining(), queues.begun), (None, room));
            for _ in 0..before {
                assert_eq!(next(&mut queues), Some((2, false)));
                queues.propose_next(2, Instance(1));
            }
            assert_eq!(next(&mut queues), Some((2, true)));
        }
    }

    /// No more values in parts begin than there is room for, wherever they wait; what has begun
    /// goes on.
    #[test]
    fn values_in_parts_begin_while_there_is_room() {
        let mut queue = Queue::default();
        let push = |queue: &mut Queue, from, until, count, bytes| {
            let limits = Limits { room: Begun { count, bytes }, ..LIMITS };
            let mut fates = String::new();
            queue.push(&in_parts(from, until), limits, |run, fate| {
                fates += &format!("{run} {fate:?} ");
            });
            fates
        };
        assert_eq!(push(&mut queue, 1, 3, 1, 40), "#1..#3 Received ");
        assert_eq!(push(&mut queue, 3, 8, 0, 100), "#3..#8 Refused ");
        assert_eq!(push(&mut queue, 3, 8, 1, 39), "#3..#8 Refused ");
        assert_eq!(queue.begun, Begun { count: 1, bytes: 40 });
        assert_eq!(
            push(&mut queue, 4, 8, 0, 0),
            "#4..#8 Received ",
            "early ones have begun nothing"
        );
        assert_eq!(queue.begun.count, 1);
        // The one before them comes, and there is room: for one after the other.
        assert_eq!(push(&mut queue, 3, 4, 1, 40), "#3..#4 Received ");
        assert_eq!((queue.begun.count, queue.end(), queue.bytes.early), (4, Number(8), 0));
        // An early value waits for room, and is still here when its client asks again.
        assert_eq!(push(&mut queue, 9, 11, 1, 40), "#9..#11 Received ");
        assert_eq!(push(&mut queue, 8, 9, 0, 0), "#8..#9 Received ");
        assert_eq!((queue.end(), queue.early.len()), (Number(9), 1));
        assert_eq!(push(&mut queue, 9, 10, 1, 40), "#9..#10 Received ");
        assert_eq!((queue.end(), queue.bytes.early, queue.begun.count), (Number(11), 0, 5));
        propose_all(&mut queue, 1);
        queue.on_delivered(Number(4));
        assert_eq!(queue.begun, Begun { count: 3, bytes: 120 });
        queue.on_delivered(Number(20));
        assert_eq!((queue.begun, queue.bytes), (Begun::default(), Bytes::default()));
    }

    #[test]
    fn values_are_proposed_in_the_order_of_the_session() {
        let mut queue = queue([2, 4, 1]);
        assert_eq!(propose_all(&mut queue, 10), [1, 2]);
        push(&mut queue, 3, 4);
        assert_eq!(propose_all(&mut queue, 12), [3, 4]);
    }

    #[test]
    fn what_was_skipped_is_proposed_again_once() {
        let mut queue = queue(1..=3);
        propose_all(&mut queue, 10);
        // Number 1 did not get instance 10: 2 and 3 are skipped at 11 and 12.
        queue.on_skipped(Instance(11));
        assert_eq!(propose_all(&mut queue, 13), [1, 2, 3]);
        queue.on_skipped(Instance(12));
        assert!(propose_all(&mut queue, 16).is_empty());
    }

    #[test]
    fn what_came_together_is_cut_where_it_must_be() {
        let mut queue = Queue::default();
        push(&mut queue, 1, 7);
        assert_eq!(
            queue.propose_next(4, Instance(10)).map(|page| page.entries),
            Some(values(1, 5))
        );
        queue.on_delivered(Number(3));
        assert_eq!((queue.held, queue.waiting.front()), (4, Some(&values(5, 7))));
        queue.propose_again_from(Number(4));
        assert_eq!(propose_all(&mut queue, 20), [4, 5, 6]);
        // Decisions of another leader are delivered, whether they were proposed here or not.
        push(&mut queue, 7, 9);
        push(&mut queue, 10, 14);
        queue.on_delivered(Number(12));
        assert_eq!(propose_all(&mut queue, 30), [12, 13]);
    }

    #[test]
    fn a_value_is_told_apart_by_what_became_of_it() {
        let mut queue = queue(1..=2);
        propose_all(&mut queue, 10);
        queue.on_delivered(Number(2));
        let told = |run: &str, fate| (run.to_owned(), fate);
        assert_eq!(
            push(&mut queue, 1, 5),
            [
                told("#1..#2", Fate::Delivered),
                told("#2..#3", Fate::Received),
                told("#3..#5", Fate::Received)
            ]
        );
        assert_eq!(push(&mut queue, 900, 902), [told("#900..#902", Fate::Refused)]);
        assert_eq!((queue.front, queue.held), (Number(2), 3));
        let (most, rest) = (told("#5..#102", Fate::Received), told("#102..#110", Fate::Refused));
        assert_eq!(push(&mut queue, 5, 110), [most, rest]);
    }

    fn session(client: u32) -> Session {
        Session { client, boot: 1 }
    }

    fn push_all(queues: &mut Queues, session: Session, from: u64, until: u64) -> Vec<Fate> {
        let (mut fates, settings) = (Vec::new(), Settings::default());
        let entries = values(from, until);
        let mine = Mine { session, opened: Instance(1), front: Number::FIRST };
        let room = Begun::default();
        queues.push(mine, &entries, room, &settings, |_, fate| fates.push(fate));
        fates
    }

    /// Found by measuring: a leader looked at every session that it had ever served, every turn.
    #[test]
    fn a_session_that_is_served_leaves_nothing_behind() {
        let mut queues = Queues::default();
        for client in 1..=1000 {
            push_all(&mut queues, session(client), 1, 2);
            assert!(queues.next().is_some());
            assert!(queues.propose_next(1, Instance(client.into())).is_some());
            assert_eq!(queues.next(), None);
            queues.on_delivered(session(client), Number(2));
        }
        assert_eq!((queues.queues.queues.len(), queues), (1, Queues::default()));
    }

    #[test]
    fn a_session_that_waits_for_a_value_in_between_has_no_share() {
        let mut queues = Queues::default();
        push_all(&mut queues, session(1), 2, 4);
        assert_eq!(queues.sessions(), 0);
        push_all(&mut queues, session(2), 1, 3);
        assert_eq!(queues.sessions(), 1);
        push_all(&mut queues, session(1), 1, 2);
        assert_eq!(queues.sessions(), 2);
    }

    /// When a session ends, nothing of it stays, whether it was in order or early.
    #[test]
    fn a_session_that_ends_leaves_nothing_behind() {
        let mut queues = Queues::default();
        push_all(&mut queues, session(1), 1, 4);
        push_all(&mut queues, session(2), 1, 4);
        assert!(queues.propose_next(2, Instance(1)).is_some());
        push_all(&mut queues, session(3), 5, 9);
        queues.forget(session(1));
        assert_eq!(queues.sessions(), 1);
        assert_eq!(queues.forget_if(|one, _| one != session(1)), [session(2), session(3)]);
        assert_eq!(queues, Queues::default());
    }

    /// Nobody's values keep those of others waiting, and none is forgotten.
    #[test]
    fn sessions_take_turns() {
        let mut queues = Queues::default();
        for (client, until) in [(1, 4), (2, 2), (3, 3)] {
            for number in 1..until {
                push_all(&mut queues, session(client), number, number + 1);
            }
        }
        let mut turns = Vec::new();
        while queues.next().is_some() {
            turns.push(queues.ready[0].client);
            queues.propose_next(1, Instance(turns.len() as u64));
        }
        assert_eq!(turns, [1, 2, 3, 1, 3, 1]);
        // Values that must be proposed again are.
        queues.on_skipped(session(3), Instance(9));
        assert_eq!(queues.propose_next(9, Instance(10)).map(|page| page.entries.len()), Some(1));
        // Values that another leader decided meanwhile are not proposed.
        queues.on_delivered(session(3), Number(3));
        assert_eq!(queues.next(), None);
        assert!(queues.ready.is_empty());
        assert_eq!(
            queues.queues.held().map(|(session, _)| session.client).collect::<Vec<_>>(),
            [1, 2]
        );
    }

    /// Found by lowering the limit: values that came before one that was lost took its place, and
    /// it was refused for ever.
    #[test]
    fn early_values_do_not_keep_out_the_one_they_wait_for() {
        let mut queue = Queue::default();
        push(&mut queue, 2, 101);
        assert_eq!(push(&mut queue, 101, 102), [("#101..#102".to_owned(), Fate::Refused)]);
        assert_eq!(push(&mut queue, 1, 2), [("#1..#2".to_owned(), Fate::Received)]);
        assert_eq!((queue.held, queue.early.len()), (100, 0));
        // Neither do their bytes.
        let mut queue = Queue::default();
        let bytes = Bytes { in_order: 1, early: 1 };
        let mut push = |number| {
            let mut told = None;
            let one = values(number, number + 1);
            queue.push(&one, Limits { bytes, ..LIMITS }, |_, fate| told = Some(fate));
            told
        };
        assert_eq!(push(3), Some(Fate::Received));
        assert_eq!(push(4), Some(Fate::Refused));
        assert_eq!(push(1), Some(Fate::Received));
        assert_eq!(push(2), Some(Fate::Refused));
        queue.on_delivered(Number(2));
        assert_eq!((queue.bytes.in_order, queue.held), (0, 0));
    }

    /// Early values are held once and counted once, in whatever pieces they arrive.
    #[test]
    fn early_values_are_held_once() {
        let mut rng = crate::rng::Rng::new(7);
        for _ in 0..200 {
            let mut queue = Queue::default();
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..20 {
                let from = 2 + rng.below(80);
                let until = from + 1 + rng.below(15);
                push(&mut queue, from, until);
                seen.extend(from..until);
            }
            let held: Vec<u64> = queue
                .early
                .iter()
                .flat_map(|(from, entries)| from.numbering(entries).map(|(number, _)| number.0))
                .collect();
            assert_eq!(held, seen.iter().copied().collect::<Vec<_>>());
            push(&mut queue, 1, 101);
            assert_eq!((queue.held, queue.bytes.early), (100, 0));
            let numbers = propose_all(&mut queue, 1);
            assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
            queue.on_delivered(Number(101));
            assert_eq!(queue.bytes, Bytes::default());
        }
    }
}
