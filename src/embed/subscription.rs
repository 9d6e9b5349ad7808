//! Reading decided entries, one after the other.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::feed::{Feed, Piece, Taken};
use super::node::{Node, NodeError};
use crate::clock::Clock;
use crate::protocol::entries::EntryRef;
use crate::protocol::types::{Counted, Instance, LogTime, Number, Origin, Session};

/// A position in the log, from 1. Not every position has an entry: a leader that takes over may
/// leave some empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where a command stands in the log, and the time there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The command's place, above that of the command before.
    pub position: Position,
    /// The time of the log there, to the millisecond: when the leader placed the command, by the
    /// clock of its host, but never earlier than the command before. It is the same wherever the
    /// command is applied. None while the log has no times because a version without them has
    /// written it.
    pub time: Option<SystemTime>,
}

impl Place {
    /// A place and a time, for tests of state machines.
    pub fn new(position: Position, time: Option<SystemTime>) -> Self {
        Place { position, time }
    }
}

/// A time of the log in the application's form; none where the log has none.
fn system_time(time: LogTime) -> Option<SystemTime> {
    (time != LogTime::NONE).then(|| SystemTime::UNIX_EPOCH + Duration::from_millis(time.0))
}

impl From<Instance> for Position {
    fn from(instance: Instance) -> Self {
        Position(instance.0)
    }
}

/// A decided value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Where it stands; above that of the entry before.
    pub position: Position,
    /// The session that proposed it.
    pub session: Session,
    /// Its number in that session, which the proposer's ticket yields.
    pub number: Number,
    /// When it was placed: see [`Place::time`].
    pub time: Option<SystemTime>,
    /// The value.
    pub value: Vec<u8>,
}

/// Why there is no next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoEntry {
    /// None came in time.
    TimedOut,
    /// The subscription's node has ended, and everything before that was read.
    Ended,
}

impl fmt::Display for NoEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoEntry::TimedOut => "no entry was delivered in time: wait again",
            NoEntry::Ended => "the node of this subscription has ended: subscribe again",
        })
    }
}

impl std::error::Error for NoEntry {}

/// All decided entries from the beginning of the log: a blocking iterator that gives each entry
/// once and in order. It ends when its node does.
///
/// It may be read as slowly as you like: neither the cluster nor the node waits. Unread entries
/// wait in the log of the node's learner, which keeps them in any case.
pub struct Subscription {
    node: Node,
    reader: Reader,
    clock: Clock,
}

/// The end of a feed that gives out entries.
struct Reader {
    feed: Arc<Feed>,
    pieces: VecDeque<Piece>,
    /// The values of the piece at hand, in order.
    entries: VecDeque<Entry>,
}

impl Subscription {
    pub(super) fn new(node: Node, feed: Arc<Feed>, clock: Clock) -> Self {
        Subscription { node, reader: Reader::new(feed), clock }
    }

    /// The next entry. Waits for it for at most `within`.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn next_timeout(&mut self, within: Duration) -> Result<Entry, NoEntry> {
        let start = self.clock.now();
        self.reader.next(|| Some(within.saturating_sub(self.clock.now().since(start))))
    }

    /// The next entry, if it is there already.
    ///
    /// # Errors
    ///
    /// [`NoEntry::TimedOut`] if it is not there yet, and [`NoEntry::Ended`].
    pub fn try_next(&mut self) -> Result<Entry, NoEntry> {
        self.reader.next(|| Some(Duration::ZERO))
    }

    /// A descriptor for `poll`, `epoll` and what is built on them: readable while
    /// [`try_next`](Subscription::try_next) has news, an entry or the end of the node. It may be
    /// readable although there is no entry yet, until `try_next` has said so. Do nothing with it
    /// but wait until it is readable.
    ///
    /// The first call creates it; a subscription that is not asked for one has none.
    ///
    /// # Errors
    ///
    /// When the process, or the host, has no descriptor left at the first call.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.reader.descriptor()
    }

    /// What runs it.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// As [`Node::stop`] has them.
    pub fn stop(self, within: Duration) -> Result<(), NodeError> {
        self.node.stop(within)
    }
}

impl Iterator for Subscription {
    type Item = Entry;

    /// Waits for the next entry; none once the node has ended.
    fn next(&mut self) -> Option<Entry> {
        self.reader.next(|| None).ok()
    }
}

impl Reader {
    fn new(feed: Arc<Feed>) -> Self {
        Reader { feed, pieces: VecDeque::new(), entries: VecDeque::new() }
    }

    /// The next entry. `left` says how much longer to wait for it, if there is a limit.
    fn next(&mut self, left: impl Fn() -> Option<Duration>) -> Result<Entry, NoEntry> {
        loop {
            self.unpack();
            if let Some(entry) = self.entries.pop_front() {
                self.unpack();
                if self.entries.is_empty() {
                    self.feed.is_used_up();
                }
                return Ok(entry);
            }
            let left = left();
            if self.feed.take(&mut self.pieces, left) == Taken::Ended {
                return Err(NoEntry::Ended);
            }
            if self.pieces.is_empty() && left == Some(Duration::ZERO) {
                return Err(NoEntry::TimedOut);
            }
        }
    }

    /// Puts the next entry at the front, if its piece was taken.
    fn unpack(&mut self) {
        while self.entries.is_empty() {
            let Some(piece) = self.pieces.pop_front() else { return };
            let entries = &mut self.entries;
            each_value(&piece, |place, origin, value| {
                let Place { position, time } = place;
                let Origin { session, number, .. } = origin;
                entries.push_back(Entry { position, session, number, time, value: value.to_vec() });
            });
        }
    }

    fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.feed.descriptor(!self.entries.is_empty() || !self.pieces.is_empty())
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Calls `take` with each value of `piece` in order, with its place and its name.
pub(super) fn each_value(piece: &Piece, mut take: impl FnMut(Place, Origin, &[u8])) {
    let place = |at: Instance, time| Place::new(at.into(), system_time(time));
    match piece {
        Piece::Long(value) => {
            let origin = value.origin;
            take(place(value.instance, origin.time), origin, value.to_value().as_bytes());
        }
        Piece::Values(page, time) => {
            let mut time = *time;
            for (at, entry) in page.from.numbering(&page.entries) {
                time = time.max(entry.time());
                if let EntryRef::Value { origin, value } = entry {
                    take(place(at, time), origin, value);
                }
            }
        }
        Piece::Checkpoint(_) | Piece::Readable(_) | Piece::Restored(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};
    use std::thread;

    use rustix::buffer::spare_capacity;
    use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

    use super::super::feed::Following;
    use super::super::feed::tests::{decide, idle, with_room};
    use super::*;
    use crate::protocol::segments::Page;
    use crate::protocol::types::{AssignedBy, Entry as LogEntry, Value};

    /// Longer than any test needs, if nothing is wrong.
    const LONG: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

    /// What a program keeps if it asks for the descriptor once.
    fn descriptor(reader: &Reader) -> OwnedFd {
        reader.descriptor().unwrap().try_clone_to_owned().unwrap()
    }

    fn is_readable(descriptor: &OwnedFd, within: Timespec) -> bool {
        let mut polled = [PollFd::new(descriptor, PollFlags::IN)];
        poll(&mut polled, Some(&within)).unwrap() == 1
    }

    fn is_readable_now(descriptor: &OwnedFd) -> bool {
        is_readable(descriptor, Timespec::default())
    }

    fn try_next(reader: &mut Reader) -> Result<u64, NoEntry> {
        reader.next(|| Some(Duration::ZERO)).map(|entry| entry.position.0)
    }

    #[test]
    fn a_descriptor_is_readable_while_there_is_something() {
        let (feed, mut following) = with_room(8);
        let mut reader = Reader::new(feed);
        let kept = descriptor(&reader);
        assert!(!is_readable_now(&kept));
        decide(&mut following, 1, 1);
        decide(&mut following, 2, 2);
        assert!(is_readable_now(&kept));
        assert_eq!(try_next(&mut reader), Ok(1));
        assert!(is_readable_now(&kept), "one more is there");
        assert_eq!(try_next(&mut reader), Ok(2));
        assert!(!is_readable_now(&kept), "that was the last");
        assert_eq!(try_next(&mut reader), Err(NoEntry::TimedOut));
        decide(&mut following, 3, 3);
        decide(&mut following, 4, 4);
        assert!(is_readable_now(&kept));
        assert_eq!(try_next(&mut reader), Ok(3));
        // It comes while the reader still has what it took before.
        decide(&mut following, 5, 5);
        assert_eq!(try_next(&mut reader), Ok(4));
        assert!(is_readable_now(&kept), "one more is there");
        assert_eq!(try_next(&mut reader), Ok(5));
        assert!(!is_readable_now(&kept));
        // A value that was decided before is no entry.
        decide(&mut following, 6, 5);
        assert_eq!(try_next(&mut reader), Err(NoEntry::TimedOut));
        assert!(!is_readable_now(&kept));
    }

    #[test]
    fn the_end_is_readable_for_ever() {
        let (feed, mut following) = with_room(8);
        let mut reader = Reader::new(feed);
        let kept = descriptor(&reader);
        decide(&mut following, 1, 1);
        assert_eq!(try_next(&mut reader), Ok(1));
        assert!(!is_readable_now(&kept));
        decide(&mut following, 2, 2);
        assert_eq!(try_next(&mut reader), Ok(2));
        drop(following);
        for _ in 0..2 {
            assert!(is_readable_now(&kept));
            assert_eq!(try_next(&mut reader), Err(NoEntry::Ended));
        }
    }

    #[test]
    fn a_descriptor_that_is_asked_for_late_knows_what_is_there() {
        let (feed, mut following) = with_room(8);
        let mut reader = Reader::new(feed);
        decide(&mut following, 1, 1);
        decide(&mut following, 2, 2);
        assert_eq!(try_next(&mut reader), Ok(1));
        let kept = descriptor(&reader);
        assert!(is_readable_now(&kept), "the second was taken with the first");
        assert_eq!(try_next(&mut reader), Ok(2));
        assert!(!is_readable_now(&kept));
        let (feed, mut following) = with_room(8);
        decide(&mut following, 1, 1);
        assert!(is_readable_now(&descriptor(&Reader::new(feed))), "it was not taken yet");
        let (feed, following) = with_room(8);
        drop(following);
        assert!(is_readable_now(&descriptor(&Reader::new(feed))), "it is the end");
    }

    #[test]
    fn a_descriptor_that_nobody_asks_for_is_not_made() {
        let (feed, mut following) = with_room(8);
        let mut reader = Reader::new(Arc::clone(&feed));
        decide(&mut following, 1, 1);
        assert_eq!(try_next(&mut reader), Ok(1));
        drop(following);
        assert_eq!(try_next(&mut reader), Err(NoEntry::Ended));
        assert!(!feed.has_descriptor());
    }

    /// Reads on, in order, while there is something, or up to `last`; returns whether it has come
    /// to the end.
    fn read_on(reader: &mut Reader, read: &mut u64, last: u64) -> bool {
        loop {
            match try_next(reader) {
                Ok(position) => {
                    assert_eq!(position, *read + 1);
                    *read = position;
                }
                Err(NoEntry::TimedOut) => return false,
                Err(NoEntry::Ended) => return true,
            }
            if *read == last {
                return false;
            }
        }
    }

    /// Decides `count` values, as fast as it can, for a reader that has room for four, and ends.
    fn produce(mut following: Following, count: u64) -> thread::JoinHandle<()> {
        thread::spawn(move || {
            for number in 1..=count {
                decide(&mut following, number, number);
            }
            while following.is_behind() {
                idle(&mut following);
                thread::yield_now();
            }
        })
    }

    /// One entry for each time it waits, and then all there are each time.
    #[test]
    fn who_polls_under_a_fast_producer_gets_everything() {
        const COUNT: u64 = 20_000;
        let (feed, following) = with_room(4);
        let mut reader = Reader::new(feed);
        let kept = descriptor(&reader);
        assert!(!is_readable_now(&kept));
        let producer = produce(following, COUNT);
        let (mut read, mut has_ended) = (0, false);
        while !has_ended {
            assert!(is_readable(&kept, LONG), "nothing after {read}");
            let last = if read < COUNT / 2 { read + 1 } else { u64::MAX };
            has_ended = read_on(&mut reader, &mut read, last);
        }
        assert_eq!(read, COUNT);
        producer.join().unwrap();
    }

    /// Waiting as mio does: told of changes alone, and reading until there is nothing.
    #[test]
    fn who_is_told_of_changes_alone_under_a_fast_producer_gets_everything() {
        const COUNT: u64 = 20_000;
        let (feed, following) = with_room(4);
        let mut reader = Reader::new(feed);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(0);
        epoll::add(epoll.as_fd(), reader.descriptor().unwrap(), data, flags).unwrap();
        let producer = produce(following, COUNT);
        let (mut read, mut has_ended) = (0, false);
        while !has_ended {
            let mut events: Vec<epoll::Event> = Vec::with_capacity(1);
            epoll::wait(&epoll, spare_capacity(&mut events), Some(&LONG)).unwrap();
            assert!(!events.is_empty(), "nothing after {read}");
            has_ended = read_on(&mut reader, &mut read, u64::MAX);
        }
        assert_eq!(read, COUNT);
        producer.join().unwrap();
    }

    /// An entry with an earlier time counts as having that of the log before it.
    #[test]
    fn times_never_go_back() {
        let entry = |client, time| {
            let session = Session { client, boot: 1 };
            let origin = Origin::new(session, Number::FIRST, AssignedBy::Leader);
            LogEntry::Value { origin: origin.timed(LogTime(time)), value: Value::new(b"v") }
        };
        let entries = vec![entry(1, 31), entry(2, 50), entry(3, 0), entry(4, 45)].into();
        let piece = Piece::Values(Page { from: Instance(5), entries }, LogTime(40));
        let mut told = Vec::new();
        each_value(&piece, |place, _, _| told.push((place.position.0, place.time)));
        let time = |millis| system_time(LogTime(millis));
        assert_eq!(told, [(5, time(40)), (6, time(50)), (7, time(50)), (8, time(50))]);
        assert_eq!(system_time(LogTime::NONE), None);
    }
}
