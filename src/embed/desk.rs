//! Where values wait for the client role, and callers for the fate of their values.
//!
//! A value gets its number here, in the order of the callers: the role numbers what it is handed in
//! the same order, so both agree without a word. The waiting values are bounded, in number and in
//! bytes. A caller that proposes more waits, or is refused.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::front::Front;
use crate::protocol::actor::{Actor, Effects, Input};
use crate::protocol::client::Client;
use crate::protocol::cutting::parts_of;
use crate::protocol::figures::Figures;
use crate::protocol::message::{Interest, Message, RequestAck};
use crate::protocol::settings::Settings;
use crate::protocol::timer::Timer;
use crate::protocol::types::{AssignedBy, Counted, Number, Role, Sender, Session, Time, Value};
use crate::protocol::versions::Version;
use crate::runtime::inbox::InboxSender;
use crate::runtime::stats::{Stats, TurnedAway};

/// How many values wait for the role, at most.
pub(super) const VALUES_MAX: usize = 4096;
/// How many bytes of them; one value may wait in any case.
const BYTES_MAX: usize = 4 << 20;
/// As many bytes of them share a piece of memory, unless one value is longer. Small pieces are used
/// again while they are in the caches; large ones are pages that come from the system and go back.
const MEMORY_BYTES: usize = 8 << 10;

/// Why a value was not proposed. It never will be: nothing of it has left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Too much waits already. Returns the value, for another try.
    Full(Vec<u8>),
    /// The disks of so many acceptors are full that the cluster takes no new values. Returns the
    /// value, for a try once they have room: when old entries are removed, as `retain` says, or
    /// when an operator makes room. Values under way stay so, and reads go on.
    DisksFull(Vec<u8>),
    /// It is longer than a value can be.
    TooLong {
        /// How many bytes it has.
        bytes: usize,
        /// How many it can have.
        limit: usize,
    },
    /// It is empty. A replica uses empty values for itself.
    Empty,
    /// The client has been stopped.
    Closed,
    /// The cluster has ended the session: so many other clients were active since its last value
    /// that it is not remembered any more (`sessions` in the configuration), or a long value of it
    /// was not continued. A fate that a ticket calls unknown stays unknown.
    Ended,
}

impl Refused {
    fn reason(&self) -> TurnedAway {
        match self {
            Refused::Full(_) => TurnedAway::Full,
            Refused::DisksFull(_) => TurnedAway::DisksFull,
            Refused::TooLong { .. } => TurnedAway::TooLong,
            Refused::Empty => TurnedAway::Empty,
            Refused::Closed => TurnedAway::Closed,
            Refused::Ended => TurnedAway::Ended,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Full(_) => f.write_str(
                "too many values wait for the cluster already: propose it again later, or use the \
                 call that waits",
            ),
            Refused::DisksFull(_) => f.write_str(
                "the disks of too many acceptors are full, and the cluster takes no new values: \
                 make room for their data, or raise disk_bytes, and propose it again",
            ),
            Refused::TooLong { bytes, limit } => write!(
                f,
                "a value of {bytes} bytes is longer than {limit}, the most that a value can have: \
                 cut it, or raise value_bytes in every configuration"
            ),
            Refused::Empty => f.write_str(
                "a replica takes no empty value, which it uses for itself: give the command a byte",
            ),
            Refused::Ended => f.write_str(
                "the cluster has ended this client's session: start another client, which is a \
                 session of its own",
            ),
            Refused::Closed => f.write_str(
                "this client has ended: start another one, which is a session of its own",
            ),
        }
    }
}

impl std::error::Error for Refused {}

/// Where the callers of one session put their values; `W` waits for a value's fate, where its
/// ticket does not watch the session's front.
pub(super) struct Desk<W> {
    session: Session,
    settings: Settings,
    inbox: InboxSender,
    state: Mutex<State<W>>,
    /// There is room, or never will be.
    room: Condvar,
    /// How far the session is decided, as the leader says.
    front: Arc<Front>,
    stats: Arc<Stats>,
}

struct State<W> {
    /// Values that the role has not seen yet.
    waiting: Batch,
    /// How many values, seen by the role or not, it has no room for yet, and how many bytes they
    /// have.
    load: Load,
    /// The number of the next value, or of its first part.
    next: Number,
    /// The waiters, by the last number of each value.
    open: VecDeque<(Number, W)>,
    /// The leader takes no new values now.
    is_full: bool,
    /// Why no value is taken any more.
    closed: Option<Closed>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    values: usize,
    bytes: usize,
}

impl Load {
    fn add(&mut self, bytes: usize) {
        self.values += 1;
        self.bytes += bytes;
    }

    fn less(self, other: Load) -> Load {
        Load { values: self.values - other.values, bytes: self.bytes - other.bytes }
    }

    fn has_room(self, bytes: usize) -> bool {
        let fits = self.bytes.saturating_add(bytes) <= BYTES_MAX;
        self.values == 0 || self.values < VALUES_MAX && fits
    }
}

/// Values, one behind the other in one piece of memory.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// The end of each of them.
    ends: Vec<usize>,
}

impl Batch {
    fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }

    /// Empties it, and keeps its memory for the next, unless it is more than usual.
    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(BYTES_MAX);
        self.ends.clear();
    }
}

/// Why a desk takes no value any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The client was stopped, or its role has ended.
    Stopped,
    /// The cluster has ended the session.
    Ended,
}

/// Whether to wait for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    Waits,
    Tries,
}

impl<W> Desk<W> {
    pub fn new(
        session: Session,
        settings: Settings,
        inbox: InboxSender,
        stats: Arc<Stats>,
    ) -> Arc<Self> {
        let (waiting, load, open) = (Batch::default(), Load::default(), VecDeque::new());
        let (next, is_full, closed) = (Number::FIRST, false, None);
        let state = Mutex::new(State { waiting, load, next, open, is_full, closed });
        let (room, front) = (Condvar::new(), Front::new());
        Arc::new(Desk { session, settings, inbox, state, room, front, stats })
    }

    pub fn session(&self) -> Session {
        self.session
    }

    /// How far the session is decided.
    #[inline]
    pub fn front(&self) -> &Arc<Front> {
        &self.front
    }

    /// Hands a value in, and returns its last number. `waiter` will be told its fate.
    pub fn put(
        &self,
        value: &[u8],
        patience: Patience,
        waiter: Option<W>,
    ) -> Result<Number, Refused> {
        let (bytes, limit) = (value.len(), self.settings.value_bytes(AssignedBy::Leader));
        if bytes > limit {
            return Err(Refused::TooLong { bytes, limit });
        }
        let mut state = self.state.lock();
        let lacks_room = |state: &mut State<W>| {
            state.closed.is_none() && !state.is_full && !state.load.has_room(bytes)
        };
        match patience {
            Patience::Waits => self.room.wait_while(&mut state, lacks_room),
            Patience::Tries => {}
        }
        match state.closed {
            Some(Closed::Stopped) => return Err(Refused::Closed),
            Some(Closed::Ended) => return Err(Refused::Ended),
            None => {}
        }
        if state.is_full {
            return Err(Refused::DisksFull(value.to_vec()));
        }
        if !state.load.has_room(bytes) {
            return Err(Refused::Full(value.to_vec()));
        }
        let last = state.next.plus(parts_of(bytes, self.settings.part_bytes()) - 1);
        state.next = last.next();
        state.open.extend(waiter.map(|waiter| (last, waiter)));
        // Otherwise the role knows that there is something, or waits for room of its own.
        let is_first = state.load == Load::default();
        state.load.add(bytes);
        state.waiting.push(value);
        drop(state);
        if is_first {
            self.inbox.wake();
        }
        Ok(last)
    }

    /// Counts a value of the program that was refused.
    #[cold]
    pub fn count(&self, refused: &Refused) {
        self.stats.turned_away.increment(refused.reason());
    }

    /// Whether the leader takes no new values.
    pub fn is_full(&self) -> bool {
        self.state.lock().is_full
    }

    /// The leader takes no new values, or takes them again.
    fn set_full(&self, is_full: bool) {
        self.state.lock().is_full = is_full;
        if is_full {
            // Callers that wait for room need not wait for full disks.
            self.room.notify_all();
        }
    }

    /// The role has found room for `found` since it last asked. If it wants more, and there is
    /// more, it gets all of it in exchange for `batch`, which is empty.
    fn take_in(&self, found: Load, batch: Option<&mut Batch>) {
        let mut state = self.state.lock();
        // A closed desk has no load any more.
        if state.closed.is_none() {
            state.load = state.load.less(found);
        }
        if let Some(batch) = batch {
            std::mem::swap(&mut state.waiting, batch);
        }
        drop(state);
        if found.values > 0 {
            self.room.notify_all();
        }
    }

    /// Takes the waiters for values that end below `until`: they are decided, since a session's
    /// values are delivered in order.
    pub fn take_below(&self, until: Number) -> Vec<(Number, W)> {
        let mut state = self.state.lock();
        let count = state.open.partition_point(|(last, _)| *last < until);
        state.open.drain(..count).collect()
    }

    /// Takes the waiter for the value whose last number this is.
    pub fn take(&self, number: Number) -> Option<W> {
        let mut state = self.state.lock();
        let place = state.open.binary_search_by_key(&number, |(last, _)| *last).ok()?;
        state.open.remove(place).map(|(_, waiter)| waiter)
    }

    /// The session has ended at `number`, for the reason that came first: no value is taken any
    /// more, and the fate of values that end there or behind is unknown.
    pub fn close(&self, number: Number, why: Closed) {
        let mut state = self.state.lock();
        state.closed.get_or_insert(why);
        (state.waiting, state.load) = (Batch::default(), Load::default());
        let count = state.open.partition_point(|(last, _)| *last < number);
        let unknown = state.open.split_off(count);
        drop(state);
        self.room.notify_all();
        self.front.end(number);
        // Without the lock: the code that is told may do anything.
        drop(unknown);
    }
}

/// The client role, which takes its values from a desk.
pub(super) struct Asking<W> {
    client: Client,
    desk: Arc<Desk<W>>,
    taken: Taken,
    /// Whether the desk was told that the leader takes no new values.
    told_full: bool,
}

/// Values that the role has seen but has no room for yet.
#[derive(Default)]
struct Taken {
    batch: Batch,
    /// How many of its values the client has, and where the next begins.
    passed: usize,
    from: usize,
    /// This range of its bytes is in `memory`.
    copied: Range<usize>,
    memory: Value,
}

impl Taken {
    fn is_empty(&self) -> bool {
        self.passed == self.batch.ends.len()
    }

    /// Takes everything that waits at the desk.
    fn refill<W>(&mut self, desk: &Desk<W>, found: Load) {
        self.batch.clear();
        desk.take_in(found, Some(&mut self.batch));
        (self.passed, self.from, self.copied) = (0, 0, 0..0);
        if !self.memory.as_bytes().is_empty() {
            self.memory = Value::default();
        }
    }

    /// The next value, as a range of memory that it may share.
    fn next(&mut self) -> Option<(&Value, Range<usize>)> {
        let until = *self.batch.ends.get(self.passed)?;
        if until > self.copied.end {
            self.copy();
        }
        self.passed += 1;
        let from = std::mem::replace(&mut self.from, until);
        let begin = self.copied.start;
        Some((&self.memory, from - begin..until - begin))
    }

    /// Makes memory for the next values.
    fn copy(&mut self) {
        let (from, later) = (self.from, &self.batch.ends[self.passed..]);
        let more = later.partition_point(|end| *end <= from + MEMORY_BYTES).max(1);
        self.copied = from..later[more - 1];
        self.memory = Value::new(&self.batch.bytes[self.copied.clone()]);
    }
}

impl<W> Asking<W> {
    pub fn new(client: Client, desk: Arc<Desk<W>>) -> Self {
        Asking { client, desk, taken: Taken::default(), told_full: false }
    }

    /// Gives the client as many values as it has room for.
    fn feed(&mut self, now: Time) {
        let Asking { client, desk, taken, .. } = self;
        let mut found = Load::default();
        loop {
            if taken.is_empty() {
                taken.refill(desk, std::mem::take(&mut found));
            }
            if client.input_room() == 0 {
                break;
            }
            let Some((memory, range)) = taken.next() else { return };
            found.add(range.len());
            client.on_value(now, memory, range);
        }
        if found.values > 0 {
            desk.take_in(found, None);
        }
    }

    fn on_ack(&self, ack: &RequestAck) {
        for told in ack.told.iter().filter(|told| told.session == self.desk.session) {
            if let Some(until) = told.delivered.iter().map(|run| run.until).max() {
                self.desk.front.advance(until);
            }
            if let Some(from) = told.lost.iter().map(|run| run.from).min() {
                self.desk.close(from, Closed::Ended);
            }
            if told.is_forgotten {
                self.desk.close(Number(0), Closed::Ended);
            }
        }
    }
}

impl<W> Drop for Asking<W> {
    /// The role has ended, for whatever reason.
    fn drop(&mut self) {
        self.desk.close(Number(0), Closed::Stopped);
    }
}

impl<W: Send> Actor for Asking<W> {
    fn on_start(&mut self, now: Time, fx: &mut Effects) {
        self.client.on_start(now, fx);
    }

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        if let Message::RequestAck(ack) = &message
            && from.node.role == Role::Proposer
        {
            self.on_ack(ack);
        }
        self.client.on_message(now, from, message, fx);
    }

    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects) {
        self.client.on_timer(now, timer, fx);
    }

    fn on_input(&mut self, _now: Time, _input: Input, _fx: &mut Effects) {
        unreachable!("its values come from the desk");
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        let is_full = self.client.is_full();
        if std::mem::replace(&mut self.told_full, is_full) != is_full {
            self.desk.set_full(is_full);
        }
        self.feed(now);
        self.client.on_turn_end(now, fx);
    }

    fn on_stop(&mut self, now: Time, fx: &mut Effects) {
        self.client.on_stop(now, fx);
    }

    fn version(&self, now: Time) -> Version {
        self.client.version(now)
    }

    fn interest(&self) -> Interest {
        self.client.interest()
    }

    fn figures(&self, now: Time) -> Figures {
        Figures::of_client(&self.client, now)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::super::ticket::{Fate, NotYet, Ticket, ticket_at};
    use super::*;
    use crate::protocol::entries::{Entries, EntryRef};
    use crate::protocol::message::{Assignment, Told};
    use crate::protocol::types::Few;
    use crate::protocol::types::{Instance, NodeId, Run};
    use crate::runtime::inbox::{Inbox, inbox};

    const SESSION: Session = Session { client: 1, boot: 1 };

    type Told3 = (Asking<Infallible>, Arc<Desk<Infallible>>, Inbox);

    fn asking(settings: Settings) -> Told3 {
        let (sender, inbox) = inbox(16);
        let desk = Desk::new(SESSION, settings.clone(), sender, Arc::default());
        let client = Client::new(SESSION, Assignment::Leader, settings).opened_at(Instance(1));
        (Asking::new(client, Arc::clone(&desk)), desk, inbox)
    }

    fn put(desk: &Desk<Infallible>, value: &[u8]) -> Ticket<Number> {
        let number = desk.put(value, Patience::Tries, None).unwrap();
        ticket_at(Arc::clone(desk.front()), number)
    }

    /// A turn with an acknowledgement; returns the numbers that are sent.
    fn turn(asking: &mut Asking<Infallible>, told: Told) -> Vec<u64> {
        requests(asking, told).into_iter().map(|(from, _)| from.0).collect()
    }

    /// The same; returns what is asked for, and from which number on.
    fn requests(asking: &mut Asking<Infallible>, told: Told) -> Vec<(Number, Entries)> {
        let mut fx = Effects::new();
        let leader = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
        let ack = RequestAck {
            quorate: true,
            full: false,
            grant: 1 << 20,
            decided_below: Instance(1),
            told: vec![told],
        };
        asking.on_message(Time::ZERO, leader, Message::RequestAck(ack), &mut fx);
        asking.on_turn_end(Time::ZERO, &mut fx);
        let request = |message: &Message| match message {
            Message::Request(request) => (request.from, request.entries.clone()),
            other => panic!("{other}"),
        };
        fx.send.iter().map(|(_, message)| request(message)).collect()
    }

    fn told() -> Told {
        Told::new(SESSION, true)
    }

    fn fate(ticket: Ticket<Number>) -> Option<Fate<Number>> {
        ticket.wait(std::time::Duration::ZERO).ok()
    }

    #[test]
    fn values_are_numbered_as_the_role_numbers_them_and_told_by_their_last_part() {
        let (mut asking, desk, mut inbox) = asking(Settings::default());
        let tickets = [put(&desk, b"a"), put(&desk, &[b'l'; 3000]), put(&desk, b"b")];
        assert!(inbox.poll().is_some() && inbox.poll().is_none(), "woken once");
        assert_eq!(turn(&mut asking, told()), [1, 2, 3, 4], "one, and three parts, and one");
        let run = |from, until| Few::from([Run::new(Number(from), Number(until))]);
        turn(&mut asking, Told { delivered: run(1, 4), ..told() });
        let [first, long, last] = tickets;
        assert_eq!(fate(first), Some(Fate::Decided(Number(1))));
        let NotYet(long) = long.wait(std::time::Duration::ZERO).unwrap_err();
        turn(&mut asking, Told { delivered: run(4, 6), ..told() });
        assert_eq!(fate(long), Some(Fate::Decided(Number(4))));
        assert_eq!(fate(last), Some(Fate::Decided(Number(5))));
    }

    /// Values share memory by the piece, and each is asked for with its own bytes.
    #[test]
    fn values_that_share_memory_keep_their_bytes() {
        let (mut asking, desk, _inbox) = asking(Settings::default());
        let mut bytes = (0..=250_u8).cycle();
        let (mut put_in, mut asked_for) = (Vec::new(), Vec::new());
        let mut until = Number::FIRST;
        let lengths = [0, 1, 64, MEMORY_BYTES - 64, 0, 100, MEMORY_BYTES, 5, MEMORY_BYTES + 1, 0];
        for round in 0..40 {
            for length in lengths.into_iter().filter(|_| round < 10).skip(round) {
                let value: Vec<u8> = bytes.by_ref().take(length).collect();
                put_in.extend_from_slice(&value);
                drop(put(&desk, &value));
            }
            let delivered = Few::from([Run::new(Number::FIRST, until)]);
            for (from, entries) in requests(&mut asking, Told { delivered, ..told() }) {
                assert_eq!(from, until, "nothing is asked for twice here");
                until = from.plus(entries.len() as u64);
                for entry in &entries {
                    match entry {
                        EntryRef::Value { value: bytes, .. } | EntryRef::Part { bytes, .. } => {
                            asked_for.extend_from_slice(bytes);
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        assert!(put_in.len() > 8 * MEMORY_BYTES);
        assert!(put_in == asked_for);
    }

    #[test]
    fn a_full_desk_gives_the_value_back() {
        let (mut asking, desk, _inbox) = asking(Settings::default());
        let tickets: Vec<_> = (0..VALUES_MAX).map(|_| put(&desk, b"v")).collect();
        let refused = desk.put(b"more", Patience::Tries, None);
        assert_eq!(refused, Err(Refused::Full(b"more".to_vec())));
        turn(&mut asking, told());
        put(&desk, b"more").is_known();
        drop(tickets);
        let long = vec![0; Settings::default().value_bytes + 1];
        let refused = desk.put(&long, Patience::Waits, None);
        assert_eq!(refused, Err(Refused::TooLong { bytes: (1 << 20) + 1, limit: 1 << 20 }));
    }

    #[test]
    fn what_an_ended_session_did_not_deliver_is_unknown() {
        let (mut asking, desk, _inbox) = asking(Settings::default());
        let tickets = [put(&desk, b"a"), put(&desk, b"b")];
        turn(&mut asking, told());
        let run = |from, until| Few::from([Run::new(Number(from), Number(until))]);
        turn(&mut asking, Told { delivered: run(1, 2), lost: run(2, 3), ..told() });
        let [first, second] = tickets;
        assert_eq!(fate(first), Some(Fate::Decided(Number(1))));
        assert_eq!(fate(second), Some(Fate::Unknown));
        let refused = desk.put(b"c", Patience::Waits, None);
        assert_eq!(refused, Err(Refused::Ended));
    }

    #[test]
    fn what_a_forgotten_session_does_not_know_is_unknown() {
        let (mut asking, desk, _inbox) = asking(Settings::default());
        let [first, second] = [put(&desk, b"a"), put(&desk, b"b")];
        let told = Told { is_forgotten: true, ..told() };
        let delivered = [Run::new(Number(1), Number(2))].into();
        turn(&mut asking, Told { delivered, ..told.clone() });
        assert_eq!(fate(first), Some(Fate::Decided(Number(1))));
        assert_eq!(fate(second), Some(Fate::Unknown));
        drop(asking);
        let refused = desk.put(b"c", Patience::Waits, None);
        assert_eq!(refused, Err(Refused::Ended));
    }

    #[test]
    fn a_role_that_ends_leaves_nobody_waiting() {
        let (asking, desk, _inbox) = asking(Settings::default());
        let open = put(&desk, b"a");
        let full: Vec<_> = (1..VALUES_MAX).map(|_| put(&desk, b"v")).collect();
        let waiting = std::thread::spawn(move || desk.put(b"w", Patience::Waits, None));
        drop(asking);
        assert_eq!(waiting.join().unwrap(), Err(Refused::Closed));
        assert_eq!(fate(open), Some(Fate::Unknown));
        drop(full);
    }

    /// Values taken before the disks were full stay under way; a caller that would wait is told at
    /// once.
    #[test]
    fn while_disks_are_full_nothing_new_is_taken() {
        let (mut asking, desk, _inbox) = asking(Settings::default());
        let under_way = put(&desk, b"before");
        let say = |asking: &mut Asking<Infallible>, full| {
            let (quorate, grant, decided_below) = (true, 1 << 20, Instance(1));
            let told = vec![Told::new(SESSION, true)];
            let ack = RequestAck { quorate, full, grant, decided_below, told };
            let leader = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
            let mut fx = Effects::new();
            asking.on_message(Time::ZERO, leader, Message::RequestAck(ack), &mut fx);
            asking.on_turn_end(Time::ZERO, &mut fx);
        };
        say(&mut asking, true);
        for patience in [Patience::Tries, Patience::Waits] {
            let refused = desk.put(b"new", patience, None);
            assert_eq!(refused, Err(Refused::DisksFull(b"new".to_vec())));
        }
        assert!(desk.is_full() && !under_way.is_known());
        say(&mut asking, false);
        let _later = put(&desk, b"new");
        assert!(!desk.is_full() && !under_way.is_known());
    }
}
