//! Entries of consecutive instances, in the same bytes in which they travel.
//!
//! A batch of values is encoded once, where it is put together. From then on, code that keeps,
//! sends or stores it shares or copies its bytes as a whole: nothing is built for a single entry.
//! Only this module knows the form of an entry on the wire and in an acceptor's log.
//!
//! ```text
//!   no-op:            0
//!   client-assigned:  1 | client | boot | number | value bytes | value
//!   leader-assigned:  2 | client | boot | number | value bytes | value
//!   the next number of the session of the entry before:  3 | value bytes | value
//!   part of a leader-assigned value:
//!     the first:  4 | client | boot | number | bytes of the whole value | bytes | part
//!     in between: 5 | client | boot | number | bytes | part
//!     the last:   6 | client | boot | number | bytes | part
//!   the same as the next number:  7 | bytes of the whole value | bytes | part
//!                                 8 | bytes | part,  9 | bytes | part
//!   piece of a checkpoint:  10 | place | count | series | bytes | piece
//!   the same as 2, 4, 5 and 6 for number 1 of a session that says where the log was when it was
//!   opened, in the place of the number:
//!     11 | client | boot | opened | value bytes | value
//!     12 | client | boot | opened | bytes of the whole value | bytes | part
//!     13 | client | boot | opened | bytes | part,  14 | client | boot | opened | bytes | part
//!   a time, which stands before one of the others:  15 | milliseconds since 1970
//! ```
//!
//! Every value and part that a leader has placed has a time. It is written, in six bytes, where it
//! differs from that of the entry before. All other entries have no time.
//!
//! Numbers below 251 are one byte; larger ones are 251, 252 or 253 and 2, 4 or 8 bytes, the least
//! significant first. Reading never panics, whatever the bytes. A process refuses a form that it
//! does not know, in a datagram as in a log: entries outlive releases, and their meaning must not
//! be guessed.

mod builder;
mod form;
mod makeup;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub use self::builder::EntriesBuilder;
use self::form::{Link, NOOP, TIME, behind, is_next, put, put_all, read, time_of};
pub(super) use self::form::{put_number, read_number};
use self::makeup::Makeup;
use super::types::{
    AssignedBy, Counted, ENTRY_BYTES_MAX, Entry, LogTime, Number, Origin, Part, Piece, Run, Value,
};

/// Consecutive entries. Cheap to clone; parts of them share their memory.
///
/// In return a part keeps all of that memory alive, so long-lived ones hold entries that arrived
/// together. Two are equal when they hold the same entries, even if their bytes differ.
#[derive(Clone)]
pub struct Entries {
    shared: Arc<[u8]>,
    from: u32,
    until: u32,
    count: u32,
    makeup: Makeup,
    /// The origin of the first entry, whose bytes may refer to an entry that is not here.
    origin: Option<Origin>,
}

/// An entry that belongs to somebody else; see [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryRef<'a> {
    /// Nothing.
    Noop,
    /// A client's value.
    Value {
        /// Where it comes from.
        origin: Origin,
        /// The bytes.
        value: &'a [u8],
    },
    /// Part of a leader-assigned value.
    Part {
        /// Where the value comes from, with the number of this part.
        origin: Origin,
        /// Which part it is.
        part: Part,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A piece of a checkpoint.
    Checkpoint {
        /// Which piece it is, and of how many.
        piece: Piece,
        /// Its bytes.
        bytes: &'a [u8],
    },
}

/// Why bytes cannot be read as entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// They do not have the form.
    Malformed,
    /// Their numbers cannot be.
    Impossible,
}

impl EntryRef<'_> {
    /// Where the entry comes from, if a client asked for it.
    pub fn origin(self) -> Option<Origin> {
        match self {
            EntryRef::Noop | EntryRef::Checkpoint { .. } => None,
            EntryRef::Value { origin, .. } | EntryRef::Part { origin, .. } => Some(origin),
        }
    }

    /// Whether the leader chose the instance.
    pub fn is_leader_assigned(self) -> bool {
        if matches!(self, EntryRef::Checkpoint { .. }) {
            return true;
        }
        self.origin().is_some_and(|origin| origin.assigned_by == AssignedBy::Leader)
    }

    /// When a leader placed it, if one did.
    pub fn time(self) -> LogTime {
        time_of(self.origin())
    }

    /// The same with this time, if a leader placed it.
    #[must_use]
    pub fn timed(mut self, time: LogTime) -> Self {
        if let EntryRef::Value { origin, .. } | EntryRef::Part { origin, .. } = &mut self {
            *origin = origin.timed(time);
        }
        self
    }

    /// Appends the entry in its form, without reference to an entry before it.
    pub fn write(self, buffer: &mut Vec<u8>) {
        put(self, Link::NONE, buffer);
    }

    /// The same with a copy of the bytes.
    pub fn to_entry(self) -> Entry {
        match self {
            EntryRef::Noop => Entry::Noop,
            EntryRef::Value { origin, value } => Entry::Value { origin, value: Value::new(value) },
            EntryRef::Part { origin, part, bytes } => {
                Entry::Part { origin, part, bytes: Value::new(bytes) }
            }
            EntryRef::Checkpoint { piece, bytes } => {
                Entry::Checkpoint { piece, bytes: Value::new(bytes) }
            }
        }
    }
}

impl fmt::Display for EntryRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_entry(), f)
    }
}

impl Entries {
    /// These values of one session, with the numbers from that of `first` on.
    pub fn numbered<'a>(first: Origin, values: impl IntoIterator<Item = &'a [u8]>) -> Entries {
        let mut builder = EntriesBuilder::new();
        for (number, value) in first.number.numbering(values) {
            let origin = if number == first.number { first } else { first.at(number) };
            builder.push(EntryRef::Value { origin, value });
        }
        builder.finish()
    }

    /// This many no-ops.
    pub fn noops(count: u32) -> Entries {
        let (shared, makeup) = (vec![NOOP; count as usize].into(), Makeup::default());
        Entries { shared, from: 0, until: count, count, makeup, origin: None }
    }

    /// The `count` entries at the beginning of `bytes`, in memory of their own, and what follows.
    pub fn read(bytes: &[u8], count: u32) -> Result<(Entries, &[u8]), Unreadable> {
        Self::read_after(bytes, count, None)
    }

    /// The same for entries that follow one of origin `before`.
    pub fn read_after(
        bytes: &[u8],
        count: u32,
        mut before: Option<Origin>,
    ) -> Result<(Entries, &[u8]), Unreadable> {
        let (mut rest, mut origin, mut makeup) = (bytes, None, Makeup::default());
        for place in 0..count {
            let (entry, behind) = read(rest, before)?;
            // A time is written only where it differs, so entries that look untimed are untimed.
            if rest.first() == Some(&TIME) && entry.time() == time_of(before) {
                return Err(Unreadable::Impossible);
            }
            // The last number there is can only be an end: no run would hold it.
            let is_held = |origin: Origin| (1..u64::MAX).contains(&origin.number.0);
            if !entry.origin().is_none_or(is_held) {
                return Err(Unreadable::Impossible);
            }
            if place == 0 {
                origin = entry.origin();
            }
            let link = Link { time: time_of(before), follows: follows(before, entry) };
            makeup.add(place == 0, link, entry);
            (rest, before) = (behind, entry.origin());
        }
        let own = &bytes[..bytes.len() - rest.len()];
        let until = u32::try_from(own.len()).map_err(|_| Unreadable::Malformed)?;
        Ok((Entries { shared: own.into(), from: 0, until, count, makeup, origin }, rest))
    }

    /// Appends the entries in their form.
    pub fn write(&self, buffer: &mut Vec<u8>) {
        // The reader does not know the entry before it.
        self.write_after(None, buffer);
    }

    /// The same for a reader that knows the origin `before` of the entry in front.
    pub fn write_after(&self, before: Option<Origin>, buffer: &mut Vec<u8>) {
        // The origin of an empty slice is that of the entry behind it.
        if !self.is_empty() {
            let follows = self.origin.is_some_and(|origin| is_next(before, origin));
            let link = Link { time: time_of(before), follows };
            put_all(self.as_bytes(), self.origin, link, buffer);
        }
    }

    /// All of them in their form; the first may refer to an entry that is not here.
    fn as_bytes(&self) -> &[u8] {
        &self.shared[self.from as usize..self.until as usize]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes they take. [`Entries::write`] may take `ENTRY_BYTES_MAX` more.
    pub fn bytes(&self) -> usize {
        (self.until - self.from) as usize
    }

    /// Each of them, in order.
    pub fn iter(&self) -> Iter<'_> {
        let before = self.origin.map(|first| {
            // The first refers to an entry before it only if there is one.
            first.at(Number(first.number.0.saturating_sub(1)))
        });
        let is_run = before.is_some() && self.makeup.is_run && !self.makeup.times_differ;
        Iter { rest: self.as_bytes(), left: self.count, before, is_run }
    }

    /// The whole values among them, in order.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().filter_map(|entry| match entry {
            EntryRef::Noop | EntryRef::Part { .. } | EntryRef::Checkpoint { .. } => None,
            EntryRef::Value { value, .. } => Some(value),
        })
    }

    /// The first of them.
    pub fn first(&self) -> Option<EntryRef<'_>> {
        self.iter().next()
    }

    /// Whether there may be parts of values among them. False is certain.
    pub fn has_parts(&self) -> bool {
        self.makeup.has_parts
    }

    /// Whether there may be pieces of checkpoints among them. False is certain.
    pub fn has_checkpoints(&self) -> bool {
        self.makeup.has_checkpoints
    }

    /// Whether there may be values among them at instances that clients asked for. False is
    /// certain.
    pub fn has_client_assigned(&self) -> bool {
        self.makeup.has_client_assigned
    }

    /// Calls `told` with the time of each of them in order, or once if all have the same.
    pub fn each_time(&self, mut told: impl FnMut(LogTime)) {
        if self.makeup.times_differ {
            return self.iter().for_each(|entry| told(entry.time()));
        }
        told(time_of(self.origin));
    }

    /// The highest time among them.
    pub fn last_time(&self) -> LogTime {
        let mut last = LogTime::NONE;
        self.each_time(|time| last = last.max(time));
        last
    }

    /// Whether any of them has a time.
    pub fn are_timed(&self) -> bool {
        self.makeup.times_differ || time_of(self.origin) != LogTime::NONE
    }

    /// The same with this time on all of them; they have none so far.
    #[must_use]
    pub fn timed(mut self, time: LogTime) -> Entries {
        assert!(!self.are_timed(), "a leader gives times to what clients have asked for");
        // None of the others says another time.
        self.origin = self.origin.map(|origin| origin.timed(time));
        self
    }

    /// The same without the memory of the batch they came in, if that is much more than theirs.
    #[must_use]
    pub fn compact(self) -> Entries {
        if self.shared.len() <= 2 * self.bytes() + ENTRY_BYTES_MAX {
            return self;
        }
        let mut builder = EntriesBuilder::new();
        builder.extend(&self);
        builder.finish()
    }

    /// The entry at `place`, from 0.
    pub fn get(&self, place: usize) -> Option<EntryRef<'_>> {
        let mut entries = self.iter();
        entries.pass(place);
        entries.next()
    }

    /// Where the first of them comes from, unless it is a no-op.
    pub fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// The first origin and the run of numbers, if they are consecutive numbers of one session.
    pub fn numbers(&self) -> Option<(Origin, Run<Number>)> {
        let origin = self.origin.filter(|_| self.makeup.is_run)?;
        Some((origin, Run::new(origin.number, origin.number.plus(self.count.into()))))
    }

    /// How many there are up to and including the last leader-assigned one.
    pub fn leader_assigned_len(&self) -> usize {
        let is_leader_assigned = |(_, entry): &(usize, EntryRef<'_>)| entry.is_leader_assigned();
        if self.makeup.is_run && !self.makeup.has_checkpoints {
            let is_leaders = |origin: Origin| origin.assigned_by == AssignedBy::Leader;
            return if self.origin.is_some_and(is_leaders) { self.len() } else { 0 };
        }
        (1..).zip(self.iter()).filter(is_leader_assigned).last().map_or(0, |(count, _)| count)
    }

    /// Those from place `from` up to `until`.
    pub fn slice(&self, from: usize, until: usize) -> Entries {
        assert!(from <= until && until <= self.len(), "{from}..{until} of {}", self.len());
        if until - from == self.len() {
            return self.clone();
        }
        let mut entries = self.iter();
        entries.pass(from);
        let start = self.until - entries.rest.len() as u32;
        let origin = entries.clone().next().and_then(EntryRef::origin);
        let end = if until == self.len() {
            self.until
        } else {
            entries.pass(until - from);
            self.until - entries.rest.len() as u32
        };
        let count = (until - from) as u32;
        let shared = Arc::clone(&self.shared);
        let (from, until) = (start, end);
        let mut slice = Entries { shared, from, until, count, origin, ..*self };
        slice.makeup.is_run |= count == 1 || slice.run_len() == slice.len();
        slice
    }

    /// The first of them, at most `count` and at most `bytes` of them.
    pub fn prefix(&self, count: usize, bytes: usize) -> Entries {
        if self.len() <= count && self.bytes() <= bytes {
            return self.clone();
        }
        let mut entries = self.iter();
        let (all, mut fitting) = (entries.rest.len(), 0);
        while fitting < count && entries.next().is_some() && all - entries.rest.len() <= bytes {
            fitting += 1;
        }
        self.slice(0, fitting)
    }

    /// The same for the last.
    fn last_origin(&self) -> Option<Origin> {
        if self.makeup.is_run && !self.makeup.times_differ {
            return self.origin.map(|first| first.at(first.number.plus(u64::from(self.count) - 1)));
        }
        self.iter().last().and_then(EntryRef::origin)
    }

    /// Whether the first of them continues the run that one of origin `before` began.
    fn follow(&self, before: Option<Origin>) -> bool {
        match self.origin {
            Some(origin) => is_next(before, origin),
            None => self.first().is_some_and(|first| follows(before, first)),
        }
    }

    /// How many of them, from the first on, are all no-ops or consecutive numbers of one session.
    fn run_len(&self) -> usize {
        if self.makeup.is_run {
            return self.len();
        }
        let mut entries = self.iter();
        let Some(first) = entries.next() else { return 0 };
        let mut before = first.origin();
        1 + entries
            .take_while(|entry| {
                let follows = follows(before, *entry);
                before = entry.origin();
                follows
            })
            .count()
    }

    /// Splits them into the longest parts that are all no-ops or consecutive numbers of one
    /// session, each with the place at which it begins. The entries are read once for all parts.
    pub fn runs(&self) -> impl Iterator<Item = (usize, Entries)> {
        let (mut entries, mut place) = (self.iter(), 0);
        std::iter::from_fn(move || {
            if self.makeup.is_run {
                let is_first = std::mem::replace(&mut place, self.len()) < self.len();
                return is_first.then(|| (0, self.clone()));
            }
            let offset = |entries: &Iter<'_>| self.until - entries.rest.len() as u32;
            let (begin, from) = (place, offset(&entries));
            let origin = entries.next()?.origin();
            let mut before = origin;
            place += 1;
            let mut ahead = entries.clone();
            while let Some(entry) = ahead.next()
                && follows(before, entry)
            {
                before = entry.origin();
                place += 1;
                entries = ahead.clone();
            }
            let (until, count) = (offset(&entries), (place - begin) as u32);
            let (shared, makeup) =
                (Arc::clone(&self.shared), Makeup { is_run: true, ..self.makeup });
            let run = Entries { shared, from, until, count, makeup, origin };
            Some((begin, run))
        })
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = EntryRef<'a>;
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(entries: Vec<Entry>) -> Self {
        entries.into_iter().collect()
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut builder = EntriesBuilder::new();
        entries.into_iter().for_each(|entry| builder.push(entry.borrowed()));
        builder.finish()
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        let is_same = Arc::ptr_eq(&self.shared, &other.shared)
            && (self.from, self.until, self.origin) == (other.from, other.until, other.origin);
        self.count == other.count && (is_same || self.iter().eq(other.iter()))
    }
}

impl Eq for Entries {}

impl PartialOrd for Entries {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entries {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl Hash for Entries {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.count.hash(state);
        self.iter().for_each(|entry| entry.hash(state));
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|entry| entry.to_string())).finish()
    }
}

/// The entries of [`Entries`], one after the other.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a [u8],
    left: u32,
    before: Option<Origin>,
    /// Whether they are one session's consecutive numbers, and of one time.
    is_run: bool,
}

impl Iter<'_> {
    /// Goes on behind the next `count` entries, or behind all.
    fn pass(&mut self, count: usize) {
        let count = count.min(self.left as usize);
        let Some(before) = self.before.filter(|_| self.is_run) else {
            return self.by_ref().take(count).for_each(|_| {});
        };
        // What they say is known, so nothing but their lengths is read.
        for _ in 0..count {
            let Some(rest) = behind(self.rest) else {
                unreachable!("entries are read once before they are taken in")
            };
            self.rest = rest;
        }
        self.left -= count as u32;
        self.before = Some(before.at(before.number.plus(count as u64)));
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = EntryRef<'a>;

    fn next(&mut self) -> Option<EntryRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        let Ok((entry, rest)) = read(self.rest, self.before) else {
            unreachable!("entries are read once before they are taken in")
        };
        (self.rest, self.before) = (rest, entry.origin());
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

/// Whether `entry` continues the run that one of origin `before` began: no-ops, or a session's
/// numbers. A piece of a checkpoint always begins a run.
fn follows(before: Option<Origin>, entry: EntryRef<'_>) -> bool {
    match (before, entry.origin()) {
        (None, None) => !matches!(entry, EntryRef::Checkpoint { .. }),
        (Some(before), Some(origin)) => is_next(Some(before), origin),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// Counts entries read and segments examined: a measure of cost for tests that is the same on every
/// machine.
#[cfg(test)]
pub mod steps {
    use std::cell::Cell;

    thread_local! {
        static TAKEN: Cell<u64> = const { Cell::new(0) };
    }

    /// Counts one step.
    pub fn take() {
        TAKEN.set(TAKEN.get() + 1);
    }

    /// What `work` returns, and how many steps it takes.
    pub fn count<T>(work: impl FnOnce() -> T) -> (T, u64) {
        let before = TAKEN.get();
        let result = work();
        (result, TAKEN.get() - before)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::types::Session;

    fn value(client: u32, number: u64, assigned_by: AssignedBy, bytes: &[u8]) -> Entry {
        let session = Session { client, boot: 7 };
        let origin = Origin::new(session, Number(number), assigned_by);
        Entry::Value { origin, value: Value::new(bytes) }
    }

    fn written(entries: &Entries) -> Vec<u8> {
        let mut bytes = Vec::new();
        entries.write(&mut bytes);
        bytes
    }

    fn owned(entries: &Entries) -> Vec<Entry> {
        entries.iter().map(EntryRef::to_entry).collect()
    }

    /// Logs on disks and other processes hold these bytes; a change takes new versions.
    #[test]
    fn the_form_is_this() {
        use AssignedBy::{Client, Leader};
        let session = Session { client: 300, boot: 1 << 40 };
        let origin = Origin::new(session, Number(70_000), Leader);
        let large = Entry::Value { origin, value: Value::new(b"") };
        let entries: Entries =
            vec![value(2, 9, Client, b"ab"), value(2, 10, Client, b"c"), Entry::Noop, large].into();
        let expected = [
            &[1, 2, 7, 9, 2, b'a', b'b', 3, 1, b'c', 0, 2, 251, 44, 1][..],
            &[253, 0, 0, 0, 0, 0, 1, 0, 0, 252, 112, 17, 1, 0, 0],
        ];
        assert_eq!(written(&entries), expected.concat());
    }

    #[test]
    fn the_form_of_times_is_this() {
        let timed = |entry: Entry, time| match entry {
            Entry::Value { origin, value } => {
                Entry::Value { origin: origin.timed(LogTime(time)), value }
            }
            other => other,
        };
        let leaders = |number| value(2, number, AssignedBy::Leader, b"v");
        let entries: Entries = vec![
            timed(leaders(1), 0x0102_0304_0506),
            timed(leaders(2), 0x0102_0304_0506),
            timed(value(3, 1, AssignedBy::Leader, b"w"), 0x0102_0304_0506),
            timed(value(3, 2, AssignedBy::Leader, b"w"), 0x0102_0304_0507),
            value(3, 9, AssignedBy::Client, b"w"),
            timed(leaders(3), 0x0102_0304_0507),
            Entry::Noop,
            leaders(4),
        ]
        .into();
        let expected = [
            &[15, 6, 5, 4, 3, 2, 1, 2, 2, 7, 1, 1, b'v', 3, 1, b'v', 2, 3, 7, 1, 1, b'w'][..],
            &[15, 7, 5, 4, 3, 2, 1, 3, 1, b'w', 1, 3, 7, 9, 1, b'w'],
            &[15, 7, 5, 4, 3, 2, 1, 2, 2, 7, 3, 1, b'v', 0, 2, 2, 7, 4, 1, b'v'],
        ];
        assert_eq!(written(&entries), expected.concat());
        assert!(entries.are_timed() && !Entries::from(vec![leaders(4)]).are_timed());
        // Entries without a time get one, without a copy.
        let asked: Entries = vec![leaders(1), leaders(2)].into();
        assert_eq!(asked.clone().timed(LogTime(0x0102_0304_0506)), entries.slice(0, 2));
        assert_eq!(
            asked.clone().timed(LogTime(9)).slice(1, 2),
            asked.slice(1, 2).timed(LogTime(9))
        );
        // Only entries that a leader has placed have a time.
        let read = |bytes: &[u8]| Entries::read(bytes, 1).map(|(all, _)| all.len());
        let time = [15, 1, 0, 0, 0, 0, 0];
        for other in [&[0][..], &[1, 1, 1, 1, 0], &[10, 0, 1, 0, 0]] {
            assert_eq!(read(other), Ok(1));
            assert_eq!(read(&[&time, other].concat()), Err(Unreadable::Impossible));
        }
        assert_eq!(read(&[&time, &time[..]].concat()), Err(Unreadable::Malformed));
        // A time is written only where it differs, so no client can hide one in its request.
        let none = [15, 0, 0, 0, 0, 0, 0];
        let (first, next) = (&[2, 2, 7, 1, 0][..], &[3, 0][..]);
        assert_eq!(read(&[&none, first].concat()), Err(Unreadable::Impossible));
        let hidden = [first, &none, next].concat();
        assert_eq!(Entries::read(&hidden, 2).err(), Some(Unreadable::Impossible));
        let said = Entries::read(&[first, &time, next].concat(), 2).map(|(all, _)| all);
        assert!(said.is_ok_and(|said| said.are_timed()));
        assert_eq!(read(&time[..6]), Err(Unreadable::Malformed));
    }

    fn part(number: u64, part: Part, bytes: &[u8]) -> Entry {
        let session = Session { client: 1, boot: 7 };
        let origin = Origin::new(session, Number(number), AssignedBy::Leader);
        Entry::Part { origin, part, bytes: Value::new(bytes) }
    }

    #[test]
    fn the_form_of_parts_is_this() {
        let first = Part::First { value_bytes: 300 };
        let long = [b'x'; 32];
        let entries: Entries = vec![
            part(1, first, &long),
            part(2, Part::Middle, &long),
            part(3, Part::Last, b"z"),
            part(4, first, &long),
            part(7, Part::Middle, &long),
            part(9, Part::Last, b"z"),
        ]
        .into();
        let expected = [
            &[4, 1, 7, 1, 251, 44, 1, 32][..],
            &long,
            &[8, 32],
            &long,
            &[9, 1, b'z', 7, 251, 44, 1, 32],
            &long,
            &[5, 1, 7, 7, 32],
            &long,
            &[6, 1, 7, 9, 1, b'z'],
        ];
        assert_eq!(written(&entries), expected.concat());
        assert!(entries.has_parts() && entries.slice(1, 2).has_parts());
        assert_eq!(owned(&entries.slice(3, 4).compact()), [part(4, first, &long)]);
        // Refused: a part that is too short, longer than its value or than any value, or of a
        // client-assigned value, and a number that has no entry before it.
        let read = |bytes: &[&[u8]]| Entries::read(&bytes.concat(), 1).map(|(all, _)| all.len());
        assert_eq!(read(&[&[4, 1, 7, 1, 33, 32], &long]), Ok(1));
        assert_eq!(read(&[&[4, 1, 7, 1, 32, 32], &long]), Err(Unreadable::Impossible));
        assert_eq!(read(&[&[4, 1, 7, 1, 252, 1, 0, 0, 4, 32], &long]), Err(Unreadable::Impossible));
        assert_eq!(read(&[&[5, 1, 7, 1, 31], &long[1..]]), Err(Unreadable::Impossible));
        assert_eq!(read(&[&[6, 1, 7, 1, 0]]), Err(Unreadable::Impossible));
        assert_eq!(read(&[&[8, 32], &long]), Err(Unreadable::Impossible));
        let of_client = [&[1, 1, 7, 1, 0, 9, 1, b'z'][..]].concat();
        assert_eq!(Entries::read(&of_client, 2).err(), Some(Unreadable::Impossible));
    }

    #[test]
    fn no_entry_costs_more_than_is_said() {
        let session = Session { client: u32::MAX, boot: u64::MAX };
        let assigned_by = AssignedBy::Leader;
        let origin = Origin::new(session, Number(u64::MAX - 1), assigned_by).timed(LogTime::MAX);
        let value_bytes = Value::BYTES_MAX as u32;
        for part in [Part::First { value_bytes }, Part::Middle, Part::Last] {
            let entry = EntryRef::Part { origin, part, bytes: &[0; 65_507] };
            let mut bytes = Vec::new();
            entry.write(&mut bytes);
            assert!(bytes.len() <= ENTRY_BYTES_MAX + 65_507, "{}", bytes.len());
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let read = |bytes: &[u8]| Entries::read(bytes, 1).map(|(entries, _)| entries.len());
        assert_eq!(read(&[]), Err(Unreadable::Malformed));
        assert_eq!(read(&[10]), Err(Unreadable::Malformed));
        assert_eq!(read(&[3, 0]), Err(Unreadable::Impossible), "next to nothing");
        assert_eq!(read(&[1, 1, 1, 0, 0]), Err(Unreadable::Impossible), "number 0");
        assert_eq!(read(&[1, 1, 1, 254, 0]), Err(Unreadable::Malformed));
        assert_eq!(read(&[2, 1, 1, 1, 2, 0]), Err(Unreadable::Malformed), "cut short");
        assert_eq!(read(&[2, 1, 1, 1, 1, 0]), Ok(1));
    }

    #[test]
    fn a_part_of_a_session_knows_its_numbers() {
        let entries: Entries =
            (1..=9).map(|number| value(1, number, AssignedBy::Leader, b"v")).collect();
        let part = entries.slice(3, 6);
        let mut builder = EntriesBuilder::new();
        builder.extend(&part);
        for length in [0, 250, 251, 70_000] {
            let value = vec![7; length];
            let first = Part::First { value_bytes: 300 };
            for part in [None, Some(first), Some(Part::Middle), Some(Part::Last)] {
                let origin = builder.last.and_then(Origin::next).expect("there is a next");
                let entry = match part {
                    None => EntryRef::Value { origin, value: &value },
                    Some(part) => EntryRef::Part { origin, part, bytes: &value },
                };
                let expected = builder.bytes_with(entry);
                builder.push(entry);
                assert_eq!(builder.bytes(), expected);
            }
        }
        let (_, numbers) = part.numbers().expect("one session's numbers");
        assert_eq!(numbers, Run::new(Number(4), Number(7)));
        assert_eq!(part.bytes(), 9);
        assert_eq!(owned(&part), owned(&entries)[3..6]);
        let mut builder = EntriesBuilder::new();
        builder.extend(&entries.slice(0, 3));
        builder.extend(&part);
        assert_eq!(builder.finish(), entries.slice(0, 6));
    }

    fn drawn() -> impl Strategy<Value = Vec<Entry>> {
        let one = (0..7u8, 1..3u32, 1..5u64, prop::collection::vec(any::<u8>(), 0..4), 0..4u64);
        prop::collection::vec(one, 0..40).prop_map(|drawn| {
            let mut entries: Vec<Entry> = Vec::new();
            for (kind, client, number, bytes, time) in drawn {
                let next = entries.last().and_then(Entry::origin).and_then(Origin::next);
                let entry = match (kind, next) {
                    (0, _) => Entry::Noop,
                    (1, Some(origin)) => Entry::Value { origin, value: Value::new(&bytes) },
                    (2, _) => value(client, number, AssignedBy::Client, &bytes),
                    (4, Some(Origin { number, assigned_by: AssignedBy::Leader, .. })) => {
                        part(number.0, Part::First { value_bytes: 99 }, &[7; 40])
                    }
                    (5, _) => part(number, Part::Middle, &[8; 32]),
                    (6, _) => part(number, Part::Last, &[9]),
                    _ => value(client, number, AssignedBy::Leader, &bytes),
                };
                // Some have the time of the entry before, if that has one.
                entries.push(match entry {
                    Entry::Value { origin, value } if time > 0 => {
                        Entry::Value { origin: origin.timed(LogTime(time - 1)), value }
                    }
                    Entry::Part { origin, part, bytes } if time > 0 => {
                        Entry::Part { origin: origin.timed(LogTime(time - 1)), part, bytes }
                    }
                    entry => entry,
                });
            }
            entries
        })
    }

    proptest! {
        /// Cutting and joining never changes the entries.
        #[test]
        fn they_behave_like_a_list(list in drawn(), cuts in (0..=40usize, 0..=40usize)) {
            let entries: Entries = list.clone().into();
            prop_assert_eq!(owned(&entries), list.clone());
            let from = cuts.0.min(list.len());
            let until = cuts.1.clamp(from, list.len());
            let part = entries.slice(from, until);
            prop_assert_eq!(owned(&part), list[from..until].to_vec());
            prop_assert_eq!(&part, &Entries::from(list[from..until].to_vec()));
            let bytes = written(&part);
            prop_assert!(bytes.len() <= part.bytes() + ENTRY_BYTES_MAX);
            let (again, rest) = Entries::read(&bytes, part.count).expect("it was written");
            prop_assert!(rest.is_empty());
            prop_assert_eq!(&again, &part);
            prop_assert_eq!(again.makeup.is_run, part.makeup.is_run);
            let mut builder = EntriesBuilder::new();
            for (from, until) in [(0, from), (from, until), (until, list.len())] {
                builder.extend(&entries.slice(from, until));
            }
            let whole = builder.finish();
            prop_assert_eq!(&whole, &entries);
            prop_assert_eq!(whole.makeup.is_run, entries.makeup.is_run);
            prop_assert_eq!(written(&whole), written(&entries));
        }

        #[test]
        fn runs_are_whole_and_as_long_as_they_can_be(list in drawn()) {
            let entries: Entries = list.clone().into();
            let mut end = 0;
            let mut last: Option<Entry> = None;
            for (place, run) in entries.runs() {
                prop_assert_eq!(place, end);
                let held = owned(&run);
                prop_assert_eq!(&held[..], &list[place..place + run.len()]);
                for pair in held.windows(2) {
                    prop_assert!(follows(pair[0].origin(), pair[1].borrowed()));
                }
                if let Some(last) = last {
                    prop_assert!(!follows(last.origin(), held[0].borrowed()));
                }
                last = held.last().cloned();
                end += run.len();
            }
            prop_assert_eq!(end, list.len());
            let assigned = list.iter().rposition(Entry::is_leader_assigned);
            prop_assert_eq!(entries.leader_assigned_len(), assigned.map_or(0, |place| place + 1));
        }

        #[test]
        fn a_prefix_keeps_its_limits(list in drawn(), count in 0..40usize, bytes in 0..200usize) {
            let entries: Entries = list.clone().into();
            let prefix = entries.prefix(count, bytes);
            prop_assert!(prefix.len() <= count && prefix.bytes() <= bytes);
            prop_assert_eq!(owned(&prefix), list[..prefix.len()].to_vec());
            let is_all = prefix.len() == list.len();
            prop_assert!(is_all || prefix.len() == count
                || entries.slice(0, prefix.len() + 1).bytes() > bytes);
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            count in 0..50u32,
        ) {
            if let Ok((entries, rest)) = Entries::read(&bytes, count) {
                prop_assert_eq!(entries.len(), count as usize);
                prop_assert_eq!(entries.iter().count(), count as usize);
                prop_assert_eq!(entries.bytes() + rest.len(), bytes.len());
            }
        }
    }
}
