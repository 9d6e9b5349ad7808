//! How values longer than a datagram are put together from their parts.
//!
//! Such a value is a series: consecutive numbers of one session, the first of which says how long
//! the value is. Delivery hands over each number of a session once and in order, so parts need no
//! order of their own. The fate of a series is a function of the log alone, and every process that
//! holds the same prefix agrees on it:
//!
//! 1. A first part opens a value. The parts that follow in its session continue it, and the last
//!    one completes it: it is delivered as a whole, at the instance of its last part.
//! 2. A series that contradicts itself ends its session: another value before the last part, a part
//!    without a first one, more or fewer bytes than were announced.
//! 3. Open values are bounded, in number and in bytes announced. When one more would exceed that,
//!    the value whose last part lies lowest in the log is given up, and its session ends: usually
//!    its client died half way.
//!
//! Nothing more is delivered of a session that has ended. So a client's values are delivered
//! without a gap, and any later leader can tell which were: those below the number at which it
//! ended.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::checkpoint::OpenValue;
use super::entries::{Entries, EntryRef};
use super::types::{Instance, Number, Origin, Part, Session, Value};

/// How much may be open. All processes must agree on it, so only the simulator can set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AssemblyLimits {
    /// How many values.
    pub count: usize,
    /// How many bytes they may announce together.
    pub bytes: usize,
}

impl AssemblyLimits {
    /// The limits of every process of every cluster: room for four of the longest values.
    pub const FORMAT: AssemblyLimits = AssemblyLimits { count: 4096, bytes: 4 * Value::BYTES_MAX };

    /// How much a leader admits: less than there is room for, so that values of silent clients are
    /// given up, and not those that others are sending meanwhile.
    #[must_use]
    pub fn admitted(self) -> AssemblyLimits {
        AssemblyLimits { count: self.count.div_ceil(2), bytes: self.bytes / 2 }
    }

    /// Whether this much is within the limits.
    pub fn allow(self, count: usize, bytes: usize) -> bool {
        count <= self.count && bytes <= self.bytes
    }
}

impl Default for AssemblyLimits {
    fn default() -> Self {
        Self::FORMAT
    }
}

/// A value that came in parts and is complete. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// The instance of the last part: that of the value.
    pub instance: Instance,
    /// Where it comes from, with the number of its last part.
    pub origin: Origin,
    parts: Arc<Vec<Entries>>,
    bytes: usize,
}

impl Assembled {
    /// How many bytes it has.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its bytes, in the pieces in which they came.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().flat_map(|entries| {
            entries.iter().filter_map(|entry| match entry {
                EntryRef::Part { bytes, .. } => Some(bytes),
                EntryRef::Noop | EntryRef::Value { .. } | EntryRef::Checkpoint { .. } => None,
            })
        })
    }

    /// A copy in one piece.
    pub fn to_value(&self) -> Value {
        let mut bytes = Vec::with_capacity(self.bytes);
        self.pieces().for_each(|piece| bytes.extend_from_slice(piece));
        Value::new(&bytes)
    }
}

/// The values that are open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Assemblies {
    limits: AssemblyLimits,
    open: BTreeMap<Session, Open>,
    /// The sessions that have one, by the instance of the last part that came.
    order: BTreeMap<Instance, Session>,
    /// How many bytes are announced.
    announced: usize,
}

/// A value of which parts are missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open {
    /// The number of the first part.
    first: Number,
    /// How long the value will be, and how much of it is here.
    value_bytes: usize,
    bytes: usize,
    parts: Vec<Entries>,
    /// The instances of the parts that came.
    instances: Vec<Instance>,
}

impl Open {
    /// The instance of the last part that came.
    fn last(&self) -> Instance {
        self.instances.last().copied().unwrap_or(Instance::FIRST)
    }
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is kept; more must follow.
    Held,
    /// It was the last one.
    Whole(Assembled),
    /// It does not belong there: its session ends.
    Broken,
}

impl Assemblies {
    /// Nothing open.
    pub fn new(limits: AssemblyLimits) -> Self {
        Assemblies { limits, ..Self::default() }
    }

    /// How many values are open, and how many bytes they announce.
    pub fn held(&self) -> (usize, usize) {
        (self.open.len(), self.announced)
    }

    /// Whether a value of `session` is open.
    pub fn is_open(&self, session: Session) -> bool {
        !self.open.is_empty() && self.open.contains_key(&session)
    }

    /// How many bytes the open value of `session` announces, if there is one.
    pub fn announced_by(&self, session: Session) -> Option<usize> {
        self.open.get(&session).map(|open| open.value_bytes)
    }

    /// The open values whose last part lies below `instance`, from the lowest on: the session of
    /// each, and how many bytes it announces.
    pub fn idle_below(&self, instance: Instance) -> impl Iterator<Item = (Session, usize)> {
        let idle = self.order.range(..instance);
        idle.map(|(_, session)| (*session, self.open.get(session).map_or(0, |one| one.value_bytes)))
    }

    /// Gives up a value whose last part lies below `instance`, if there is one. Call it until it
    /// returns none.
    pub fn give_up_below(&mut self, instance: Instance) -> Option<(Session, Number)> {
        let (last, session) = self.order.first_key_value()?;
        let session = (*last < instance).then_some(*session)?;
        Some((session, self.drop_open(session)?))
    }

    /// The values that are open, with the instances of their parts.
    pub fn open_values(&self) -> Vec<OpenValue> {
        let open = self.open.iter();
        open.map(|(session, open)| OpenValue {
            session: *session,
            instances: open.instances.clone(),
        })
        .collect()
    }

    /// The same limits, and nothing open.
    #[must_use]
    pub fn emptied(&self) -> Assemblies {
        Assemblies::new(self.limits)
    }

    /// Gives up the open value of `session`, if there is one. Returns the number of its first part.
    pub fn drop_open(&mut self, session: Session) -> Option<Number> {
        let open = self.open.remove(&session)?;
        self.order.remove(&open.last());
        self.announced -= open.value_bytes;
        Some(open.first)
    }

    /// Makes room for a value that announces `value_bytes`: if there is none, gives up the one that
    /// was continued longest ago. Call it until it returns none.
    pub fn make_room(&mut self, value_bytes: usize) -> Option<(Session, Number)> {
        let has_room = self.limits.allow(self.open.len() + 1, self.announced + value_bytes);
        if has_room || !self.limits.allow(1, value_bytes) {
            return None;
        }
        let session = *self.order.first_key_value()?.1;
        Some((session, self.drop_open(session)?))
    }

    /// Takes in a part, the only entry of `entries`, which is next in its session and stands at
    /// `instance`. There must be room for it.
    pub fn take(&mut self, instance: Instance, entries: Entries) -> Taken {
        let Some(EntryRef::Part { origin, part, bytes }) = entries.first() else {
            unreachable!("the caller hands over parts, one at a time")
        };
        let (session, length) = (origin.session, bytes.len());
        if let Part::First { value_bytes } = part {
            return self.begin(instance, origin, value_bytes as usize, length, entries);
        }
        let Some(open) = self.open.get_mut(&session) else { return Taken::Broken };
        open.bytes += length;
        let is_last = part == Part::Last;
        let fits =
            if is_last { open.bytes == open.value_bytes } else { open.bytes < open.value_bytes };
        if !fits {
            return Taken::Broken;
        }
        open.parts.push(entries.compact());
        self.order.remove(&open.last());
        open.instances.push(instance);
        if !is_last {
            self.order.insert(instance, session);
            return Taken::Held;
        }
        self.announced -= open.value_bytes;
        let Some(open) = self.open.remove(&session) else { return Taken::Broken };
        let parts = Arc::new(open.parts);
        Taken::Whole(Assembled { instance, origin, parts, bytes: open.bytes })
    }

    fn begin(
        &mut self,
        instance: Instance,
        origin: Origin,
        value_bytes: usize,
        bytes: usize,
        entries: Entries,
    ) -> Taken {
        let session = origin.session;
        let has_room = self.limits.allow(self.open.len() + 1, self.announced + value_bytes);
        if self.open.contains_key(&session) || !has_room {
            return Taken::Broken;
        }
        self.announced += value_bytes;
        self.order.insert(instance, session);
        let (first, instances) = (origin.number, vec![instance]);
        let parts = vec![entries.compact()];
        self.open.insert(session, Open { first, value_bytes, bytes, parts, instances });
        Taken::Held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::decided_log::{DecidedLog, Occurrence};
    use crate::protocol::segments::Page;
    use crate::protocol::types::{AssignedBy, Counted, Entry};

    const LIMITS: AssemblyLimits = AssemblyLimits { count: 3, bytes: 400 };

    fn session(client: u32) -> Session {
        Session { client, boot: 1 }
    }

    fn origin(client: u32, number: u64) -> Origin {
        let assigned_by = AssignedBy::Leader;
        Origin::new(session(client), Number(number), assigned_by)
    }

    fn whole(client: u32, number: u64) -> Entry {
        Entry::Value { origin: origin(client, number), value: Value::new(b"whole") }
    }

    fn part(client: u32, number: u64, part: Part, bytes: usize) -> Entry {
        let bytes = Value::new(&vec![b'0' + number as u8; bytes]);
        Entry::Part { origin: origin(client, number), part, bytes }
    }

    fn first(client: u32, number: u64, value_bytes: u32) -> Entry {
        part(client, number, Part::First { value_bytes }, 40)
    }

    /// What becomes of these entries, one after the other: `.` nothing, `v` values, `h` part of
    /// one,
    /// `w` a whole one, `s` skipped, `e` ended.
    fn fates(log: &mut DecidedLog, entries: &[Entry]) -> String {
        let page = Page { from: log.end(), entries: entries.iter().cloned().collect() };
        log.decide(page, |_| {}).expect("it is new");
        let mut fates = String::new();
        log.deliver(|page, what| {
            let letter = match what {
                Occurrence::Delivered => "v",
                Occurrence::Held => "h",
                Occurrence::Completed(value) => {
                    assert_eq!(value.instance, page.from);
                    assert_eq!(value.to_value().as_bytes().len(), value.bytes());
                    "w"
                }
                Occurrence::Skipped => "s",
                Occurrence::Ended => "e",
                Occurrence::Noop => ".",
                Occurrence::Checkpoint(_)
                | Occurrence::History(_)
                | Occurrence::Limit(_)
                | Occurrence::Finished(_) => "c",
            };
            fates += &letter.repeat(page.entries.len());
        });
        fates
    }

    fn log() -> DecidedLog {
        DecidedLog::with_limits(LIMITS)
    }

    #[test]
    fn parts_between_those_of_others_and_their_repetitions_make_one_value() {
        let (middle, last) = (part(1, 3, Part::Middle, 32), part(1, 4, Part::Last, 9));
        let entries = [
            whole(1, 1),
            last.clone(),
            first(1, 2, 81),
            whole(2, 1),
            first(2, 2, 41),
            first(1, 2, 81),
            middle.clone(),
            Entry::Noop,
            middle.clone(),
            part(2, 3, Part::Last, 1),
            whole(1, 5),
            last.clone(),
            last,
            middle,
            whole(1, 5),
        ];
        let mut log = log();
        assert_eq!(fates(&mut log, &entries), "vshvhsh.swswssv");
        assert_eq!(log.assemblies().held(), (0, 0));
        assert_eq!(log.next_number(session(1)), Number(6));
        // The same however the page is cut.
        let mut single = self::log();
        let each: String =
            entries.iter().map(|one| fates(&mut single, std::slice::from_ref(one))).collect();
        assert_eq!((each.as_str(), single == log), ("vshvhsh.swswssv", true));
    }

    #[test]
    fn a_series_that_contradicts_itself_ends_its_session() {
        let last = |number, bytes| part(1, number, Part::Last, bytes);
        let middle = |number, bytes| part(1, number, Part::Middle, bytes);
        for (entries, expected, end) in [
            // Too long, too short, and complete before its last part.
            (vec![first(1, 1, 50), last(2, 11), whole(1, 3)], "hee", 1),
            (vec![whole(1, 1), first(1, 2, 50), last(3, 9), whole(1, 4)], "vhee", 2),
            (vec![first(1, 1, 80), middle(2, 40), last(3, 1)], "hee", 1),
            // Something else before its last part.
            (vec![first(1, 1, 50), whole(1, 2), last(2, 10)], "hee", 1),
            (vec![first(1, 1, 50), first(1, 2, 50), last(3, 10)], "hee", 1),
            // No first part.
            (vec![whole(1, 1), last(2, 5), whole(1, 2), whole(1, 3), whole(1, 1)], "veees", 2),
            (vec![middle(1, 40), last(2, 5)], "ee", 1),
            // Announced to be longer than everything that may be open.
            (vec![first(1, 1, 401), middle(2, 40)], "ee", 1),
        ] {
            let mut log = log();
            assert_eq!(fates(&mut log, &entries), expected, "{entries:?}");
            assert!(log.has_ended(session(1)));
            assert_eq!(log.next_number(session(1)), Number(end), "{entries:?}");
            assert_eq!(log.assemblies().held(), (0, 0));
            // Others do not suffer.
            assert_eq!(fates(&mut log, &[whole(2, 1)]), "v");
        }
    }

    #[test]
    fn the_value_that_was_continued_longest_ago_makes_room() {
        // Too many, and too many bytes.
        for (bytes, more) in [(100, 100), (120, 160)] {
            let mut log = log();
            let entries = [first(1, 1, bytes), first(2, 1, bytes), first(3, 1, bytes)];
            assert_eq!(fates(&mut log, &entries), "hhh");
            assert_eq!(log.assemblies().idle_below(Instance(2)).count(), 1);
            let entries = [part(1, 2, Part::Middle, 32), first(4, 1, more)];
            assert_eq!(fates(&mut log, &entries), "hh");
            assert!(log.has_ended(session(2)) && !log.has_ended(session(3)));
            assert_eq!(fates(&mut log, &[part(2, 2, Part::Last, 10), whole(2, 3)]), "ee");
            assert_eq!(fates(&mut log, &[part(4, 2, Part::Last, more as usize - 40)]), "w");
        }
    }

    /// A part keeps no more memory than a small multiple of its own, however large its datagram
    /// was.
    #[test]
    fn a_small_part_of_a_large_datagram_keeps_only_itself() {
        let long = Entry::Value { origin: origin(2, 1), value: Value::new(&[0; 60_000]) };
        let entries: Entries = vec![long, first(1, 1, 400)].into();
        let small = entries.slice(1, 2).compact();
        assert_eq!(small, vec![first(1, 1, 400)].into());
        assert_eq!(small.numbers().map(|(_, run)| run.from.next()), Some(Number(2)));
    }
}
