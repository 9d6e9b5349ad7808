//! How decided values get from the learner to its reader: a bounded queue, and behind it the
//! learner's own log.
//!
//! The role loop never waits for the reader. Values that find no room in the queue are remembered
//! as runs of instances, and fetched from the log, which keeps them anyway, once the reader has
//! made room. So a reader that stands still costs a queue and a few numbers, however long it does
//! so.
//!
//! A value that came in parts is remembered itself, for it shares its bytes with the log. That
//! costs little only while the log has them: when the log is trimmed beyond remembered values, the
//! reader has missed them, and following ends at once.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::descriptor::Descriptor;
use super::reads::Readers;
use crate::protocol::actor::{Actor, Delivery, Effects, Halt, Input};
use crate::protocol::assembly::Assembled;
use crate::protocol::checkpoint::Checkpoint;
use crate::protocol::figures::Figures;
use crate::protocol::learner::Learner;
use crate::protocol::message::{Interest, Message};
use crate::protocol::segments::Page;
use crate::protocol::timer::Timer;
use crate::protocol::types::{Instance, LogTime, Run, Sender, Time};
use crate::protocol::versions::Version;
use crate::runtime::inbox::InboxSender;

/// How many pieces wait for the reader, at most; each shares its bytes with the learner's log.
const PIECES_MAX: usize = 1024;

/// What one step of the log delivers.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// Whole values only, and the time of the log before them.
    Values(Page, LogTime),
    /// A value that came in parts.
    Long(Assembled),
    /// Everything below this place came before, and nothing above it: a snapshot could be taken.
    Checkpoint(Arc<Checkpoint>),
    /// Everything that reads up to this number must see came before.
    Readable(u64),
    /// The reader must go on from the snapshot of this place, which includes everything that came
    /// before.
    Restored(Arc<Checkpoint>),
}

/// Deliveries on their way to the one reader.
pub(super) struct Feed {
    state: Mutex<State>,
    /// Something is there, or nothing more will be.
    arrived: Condvar,
    /// Readable while `state` says that it is raised.
    descriptor: Descriptor,
    inbox: InboxSender,
    room: usize,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Piece>,
    /// The learner has deliveries that found no room.
    is_behind: bool,
    is_nudged: bool,
    has_ended: bool,
    /// The descriptor says that the reader can go on, with new pieces or with those it took before.
    is_raised: bool,
    /// Everything that the log has below it came before, and is among the pieces or was taken.
    passed: Option<Instance>,
    /// The same when pieces were taken last.
    taken: Option<Instance>,
}

/// The result of taking pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// There may be pieces, and more may follow.
    More,
    /// Nothing will follow.
    Ended,
}

impl Feed {
    pub fn new(inbox: InboxSender) -> Arc<Self> {
        Self::with_room(inbox, PIECES_MAX)
    }

    fn with_room(inbox: InboxSender, room: usize) -> Arc<Self> {
        let (state, arrived) = (Mutex::default(), Condvar::new());
        Arc::new(Feed { state, arrived, descriptor: Descriptor::default(), inbox, room })
    }

    /// Moves the pieces that are here to `pieces`. Waits while there are none: for at most
    /// `within`, if that is given, and not beyond a nudge.
    pub fn take(&self, pieces: &mut VecDeque<Piece>, within: Option<Duration>) -> Taken {
        let mut state = self.state.lock();
        let is_idle =
            |state: &mut State| state.pieces.is_empty() && !state.is_nudged && !state.has_ended;
        match within {
            Some(within) => {
                self.arrived.wait_while_for(&mut state, is_idle, within);
            }
            None => self.arrived.wait_while(&mut state, is_idle),
        }
        state.is_nudged = false;
        state.taken = state.passed;
        let taken =
            if state.pieces.is_empty() && state.has_ended { Taken::Ended } else { Taken::More };
        pieces.append(&mut state.pieces);
        if pieces.is_empty() {
            self.lower(&mut state);
        }
        let is_behind = state.is_behind;
        drop(state);
        if is_behind {
            self.inbox.wake();
        }
        taken
    }

    /// Everything that the log has below it was taken.
    pub fn taken(&self) -> Option<Instance> {
        self.state.lock().taken
    }

    /// Makes a waiting reader return, even if there is nothing.
    pub fn nudge(&self) {
        self.state.lock().is_nudged = true;
        self.arrived.notify_one();
    }

    /// A descriptor that is readable from when pieces arrive until the reader has used them up, and
    /// for ever once nothing more will come. `has_some`: the reader has not used up what it took.
    ///
    /// # Errors
    ///
    /// When the first call finds that no descriptor is left.
    pub fn descriptor(&self, has_some: bool) -> io::Result<BorrowedFd<'_>> {
        let mut state = self.state.lock();
        let descriptor = self.descriptor.get()?;
        if has_some || state.has_ended || !state.pieces.is_empty() {
            self.raise(&mut state);
        }
        Ok(descriptor)
    }

    /// The reader has used up what it took.
    pub fn is_used_up(&self) {
        if self.descriptor.exists() {
            self.lower(&mut self.state.lock());
        }
    }

    fn raise(&self, state: &mut State) {
        if self.descriptor.exists() && !std::mem::replace(&mut state.is_raised, true) {
            self.descriptor.raise();
        }
    }

    /// Lowers the descriptor, unless there are pieces here.
    fn lower(&self, state: &mut State) {
        let is_over = state.pieces.is_empty() && !state.has_ended;
        if is_over && std::mem::take(&mut state.is_raised) {
            self.descriptor.lower();
        }
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.has_ended = true;
        self.raise(&mut state);
        drop(state);
        self.arrived.notify_one();
    }
}

/// Deliveries that have not found room yet.
enum Behind {
    /// With the time of the log before them.
    Values(Run<Instance>, LogTime),
    Long(Assembled),
    Checkpoint(Arc<Checkpoint>),
    Readable(u64),
    Restored(Arc<Checkpoint>),
}

impl Behind {
    /// Its instance, if that matters.
    fn instance(&self) -> Option<Instance> {
        match self {
            Behind::Values(run, _) => Some(run.from),
            Behind::Long(value) => Some(value.instance),
            Behind::Checkpoint(checkpoint) | Behind::Restored(checkpoint) => {
                Some(checkpoint.head.of)
            }
            Behind::Readable(_) => None,
        }
    }
}

/// The learner role, which hands its deliveries to a feed.
pub(super) struct Following {
    learner: Learner,
    feed: Arc<Feed>,
    behind: VecDeque<Behind>,
    /// One of them is a checkpoint.
    has_checkpoint: bool,
    /// The feed knows that the log is passed up to here.
    passed: Option<Instance>,
    /// The readers of the state that it feeds.
    readers: Option<Arc<dyn Readers>>,
}

impl Following {
    pub fn new(learner: Learner, feed: Arc<Feed>) -> Self {
        let (behind, passed) = (VecDeque::new(), None);
        Following { learner, feed, behind, has_checkpoint: false, passed, readers: None }
    }

    /// The same for these readers.
    #[must_use]
    pub fn with_readers(mut self, readers: Option<Arc<dyn Readers>>) -> Self {
        self.readers = readers;
        self
    }

    /// Notes a delivery, in order.
    fn note(&mut self, delivery: Delivery) {
        let (run, time) = match delivery {
            // For files, which are written out of order, and for digests.
            Delivery::Decided(_) | Delivery::Passed(_) | Delivery::Begins(_) => return,
            Delivery::Unreadable(last) => {
                return self.readers.iter().for_each(|readers| readers.leave_to_log(last));
            }
            Delivery::Readable(last) => {
                match self.behind.back_mut() {
                    Some(Behind::Readable(before)) => *before = last,
                    Some(_) | None => self.behind.push_back(Behind::Readable(last)),
                }
                return;
            }
            // A late reader needs only one such place ahead of it.
            Delivery::Checkpoint(_) if self.has_checkpoint => return,
            Delivery::Checkpoint(checkpoint) => {
                self.has_checkpoint = true;
                return self.behind.push_back(Behind::Checkpoint(checkpoint));
            }
            Delivery::Restored(checkpoint) => {
                self.forget();
                return self.behind.push_front(Behind::Restored(checkpoint));
            }
            Delivery::Assembled(value) => return self.behind.push_back(Behind::Long(value)),
            Delivery::Delivered(page, time) => (page.run(), time),
        };
        match self.behind.back_mut() {
            // Nothing was skipped in between, so the time follows from these values.
            Some(Behind::Values(last, _)) if last.until == run.from => last.until = run.until,
            Some(_) | None => self.behind.push_back(Behind::Values(run, time)),
        }
    }

    /// The reader will get a snapshot that has everything, or nothing at all. Reads wait for the
    /// snapshot.
    fn forget(&mut self) {
        let mut state = self.feed.state.lock();
        let of_pieces = state.pieces.drain(..).filter_map(|piece| match piece {
            Piece::Readable(last) => Some(last),
            _ => None,
        });
        let of_behind = self.behind.drain(..).filter_map(|behind| match behind {
            Behind::Readable(last) => Some(last),
            _ => None,
        });
        let readable = of_pieces.chain(of_behind).max();
        state.is_behind = false;
        self.behind.extend(readable.map(Behind::Readable));
        self.has_checkpoint = false;
    }

    /// Makes the learner hold what must still be handed over, though others may forget it. Later
    /// deliveries are not forgotten before this is called again.
    fn pin(&mut self) {
        let first = self.behind.iter().find_map(Behind::instance);
        self.learner.pin(first.unwrap_or_else(|| self.learner.log().watermark()));
    }

    /// Hands over as many deliveries as there is room for.
    ///
    /// # Errors
    ///
    /// When the log was trimmed before the reader had room for its values, even if it has room now.
    /// The rest of the log begins at this instance.
    fn hand_over(&mut self) -> Result<(), Instance> {
        let passed = Some(self.learner.log().watermark());
        if self.behind.is_empty() && self.passed == passed {
            return Ok(());
        }
        let mut state = self.feed.state.lock();
        let (before, first) = (state.pieces.len(), self.learner.log().first());
        while state.pieces.len() < self.feed.room {
            let (piece, is_over) = match self.behind.front_mut() {
                None => break,
                Some(Behind::Long(value)) => (Piece::Long(value.clone()), true),
                Some(Behind::Checkpoint(checkpoint)) => {
                    self.has_checkpoint = false;
                    (Piece::Checkpoint(Arc::clone(checkpoint)), true)
                }
                Some(Behind::Readable(last)) => (Piece::Readable(*last), true),
                Some(Behind::Restored(checkpoint)) => {
                    (Piece::Restored(Arc::clone(checkpoint)), true)
                }
                Some(Behind::Values(run, time)) => {
                    if run.from < first {
                        break;
                    }
                    let Some(page) = self.learner.log().pages(*run).next() else {
                        unreachable!("what was delivered is in the log")
                    };
                    let before = *time;
                    *time = before.max(page.entries.last_time());
                    run.from = page.run().until;
                    (Piece::Values(page, before), run.is_empty())
                }
            };
            if is_over {
                self.behind.pop_front();
            }
            state.pieces.push_back(piece);
        }
        state.is_behind = !self.behind.is_empty();
        if !state.is_behind {
            (self.passed, state.passed) = (passed, passed);
        }
        if state.pieces.len() > before {
            self.feed.raise(&mut state);
            drop(state);
            self.feed.arrived.notify_one();
        } else if !state.is_behind {
            // Nothing for the reader, but that it is further.
            state.is_nudged = true;
            drop(state);
            self.feed.arrived.notify_one();
        }
        let next = self.behind.iter().find_map(Behind::instance);
        let is_gone = next.is_some_and(|next| next < first);
        if is_gone { Err(first) } else { Ok(()) }
    }
}

impl Drop for Following {
    /// The role has ended, for whatever reason.
    fn drop(&mut self) {
        self.feed.end();
    }
}

impl Actor for Following {
    fn on_start(&mut self, now: Time, fx: &mut Effects) {
        self.learner.on_start(now, fx);
    }

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        self.learner.on_message(now, from, message, fx);
    }

    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects) {
        self.learner.on_timer(now, timer, fx);
    }

    fn on_input(&mut self, now: Time, input: Input, fx: &mut Effects) {
        self.learner.on_input(now, input, fx);
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        if let Some(last) = self.readers.as_ref().and_then(|readers| readers.depart()) {
            self.learner.on_input(now, Input::Read(last), fx);
        }
        self.learner.on_turn_end(now, fx);
        for delivery in fx.deliver.drain(..) {
            self.note(delivery);
        }
        if self.learner.is_fetching() {
            self.forget();
        } else if let Err(first) = self.hand_over() {
            fx.halt.get_or_insert(Halt::Trimmed(first));
        }
        self.pin();
    }

    fn on_stop(&mut self, now: Time, fx: &mut Effects) {
        self.learner.on_stop(now, fx);
    }

    fn version(&self, now: Time) -> Version {
        self.learner.version(now)
    }

    fn interest(&self) -> Interest {
        self.learner.interest()
    }

    fn input_room(&self) -> usize {
        self.learner.input_room()
    }

    fn figures(&self, now: Time) -> Figures {
        self.learner.figures(now)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;
    use crate::protocol::checkpoint::Head;
    use crate::protocol::decided_log::{DecidedLog, LetsGo};
    use crate::protocol::entries::Entries;
    use crate::protocol::learner::Beginning;
    use crate::protocol::message::{
        Announcement, Chunk, Decide, Heartbeat, Progress, ReadReply, SnapshotName, Standing,
        StateKind,
    };
    use crate::protocol::settings::Settings;
    use crate::protocol::transfer::{Errand, Outcome};
    use crate::protocol::types::{
        AssignedBy, Ballot, Entry, NodeId, Number, Origin, Part, Role, Session, Value,
    };
    use crate::runtime::inbox::{Event, inbox};

    fn origin(number: u64) -> Origin {
        let (session, assigned_by) = (Session { client: 1, boot: 1 }, AssignedBy::Leader);
        Origin::new(session, Number(number), assigned_by)
    }

    /// A feed with this much room, and the role that fills it.
    pub(in super::super) fn with_room(room: usize) -> (Arc<Feed>, Following) {
        let feed = Feed::with_room(inbox(16).0, room);
        let learner = Learner::new(1, 1, Settings::default(), Time::ZERO);
        let following = Following::new(learner, Arc::clone(&feed));
        (feed, following)
    }

    /// A turn in which `instance` is decided: the value with this number, which has its bytes.
    pub(in super::super) fn decide(following: &mut Following, instance: u64, number: u64) {
        let value = number.to_le_bytes();
        let entries = Entries::numbered(origin(number), [&value[..]]);
        assert_eq!(take_in(following, instance, entries), None);
    }

    impl Feed {
        pub fn has_descriptor(&self) -> bool {
            self.descriptor.exists()
        }
    }

    impl Following {
        pub fn is_behind(&self) -> bool {
            !self.behind.is_empty()
        }
    }

    /// A turn in which nothing comes.
    pub(in super::super) fn idle(following: &mut Following) {
        following.on_turn_end(Time::ZERO, &mut Effects::new());
    }

    /// A turn in which `entries` are decided from `instance` on.
    fn take_in(following: &mut Following, instance: u64, entries: Entries) -> Option<Halt> {
        let leader = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
        let (ballot, from) = (Ballot { round: 1, proposer: 1, boot: 1 }, Instance(instance));
        let message = Message::Decide(Decide { ballot, from, entries });
        let mut fx = Effects::new();
        following.on_message(Time::ZERO, leader, message, &mut fx);
        following.on_turn_end(Time::ZERO, &mut fx);
        assert!(fx.deliver.is_empty());
        fx.halt
    }

    fn values(pieces: &mut VecDeque<Piece>) -> Vec<(u64, u64)> {
        let value = |piece: Piece| match piece {
            Piece::Values(page, _) => {
                let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
                let each = (page.from.0..).zip(page.entries.values());
                each.map(|(instance, bytes)| (instance, number(bytes))).collect::<Vec<_>>()
            }
            Piece::Long(_) | Piece::Checkpoint(_) | Piece::Restored(_) | Piece::Readable(_) => {
                panic!("none is there")
            }
        };
        pieces.drain(..).flat_map(value).collect()
    }

    /// A reader stands still for a thousand values, some of them decided twice; then it gets each
    /// once and in order, and the queue never held more than there is room for.
    #[test]
    fn a_slow_reader_gets_everything_and_the_queue_stays_small() {
        const ROOM: usize = 4;
        let (sender, mut inbox) = inbox(16);
        let feed = Feed::with_room(sender, ROOM);
        let learner = Learner::new(1, 1, Settings::default(), Time::ZERO);
        let mut following = Following::new(learner, Arc::clone(&feed));
        let (mut instance, mut expected) = (0, Vec::new());
        for number in 1..=1000 {
            instance += 1;
            decide(&mut following, instance, number);
            expected.push((instance, number));
            if number % 10 == 0 {
                instance += 1;
                decide(&mut following, instance, number);
            }
            assert!(feed.state.lock().pieces.len() <= ROOM);
        }
        assert!(following.behind.len() <= 101, "runs are remembered, and not values");
        let (mut pieces, mut read) = (VecDeque::new(), Vec::new());
        while read.len() < expected.len() {
            assert_eq!(feed.take(&mut pieces, Some(Duration::ZERO)), Taken::More);
            assert!(!pieces.is_empty() && pieces.len() <= ROOM);
            read.extend(values(&mut pieces));
            if !following.behind.is_empty() {
                assert_eq!(inbox.poll(), Some(Event::Input(Vec::new())), "the loop is woken");
            }
            following.on_turn_end(Time::ZERO, &mut Effects::new());
        }
        assert_eq!(read, expected);
        assert_eq!(inbox.poll(), None);
    }

    /// Values that came in parts are remembered with their bytes, so only as long as the log has
    /// them, even if the reader makes room.
    #[test]
    fn what_a_reader_that_stands_still_has_not_taken_is_kept_no_longer_than_the_log() {
        let (sender, _inbox) = inbox(16);
        let learner = Learner::new(1, 1, Settings::default(), Time::ZERO);
        let mut following = Following::new(learner, Feed::with_room(sender, 1));
        decide(&mut following, 1, 1);
        for instance in [2, 4] {
            let (first, last) = (Part::First { value_bytes: 41 }, Part::Last);
            let parts = [(instance, first, 40), (instance + 1, last, 1)];
            let entries = parts.map(|(number, part, length)| Entry::Part {
                origin: origin(number),
                part,
                bytes: Value::new(&vec![b'p'; length]),
            });
            assert_eq!(take_in(&mut following, instance, entries.to_vec().into()), None);
        }
        assert_eq!(following.behind.len(), 2, "there was room for one value alone");
        let mut checkpoint = |at, trim| {
            let log = following.learner.log();
            let trim = Instance(trim);
            let lets_go = LetsGo { trim, forget: trim, ..LetsGo::NONE };
            let pieces = log.checkpoint(lets_go).pieces(1000);
            take_in(&mut following, at, pieces.into())
        };
        assert_eq!(checkpoint(6, 1), None);
        assert_eq!(checkpoint(7, 6), Some(Halt::Trimmed(Instance(6))));
    }

    /// A reader with one read.
    #[derive(Default)]
    struct One {
        has_left: AtomicBool,
        left_to_log: AtomicU64,
    }

    impl Readers for One {
        fn depart(&self) -> Option<u64> {
            (!self.has_left.swap(true, Ordering::Relaxed)).then_some(1)
        }

        fn leave_to_log(&self, last: u64) {
            self.left_to_log.store(last, Ordering::Relaxed);
        }

        fn ask_anew(&self) {}
    }

    /// Two acceptors of three have accepted two values when it begins: one is decided, and handed
    /// out, later.
    #[test]
    fn a_read_comes_behind_all_values_that_it_must_see() {
        let (sender, _inbox) = inbox(16);
        let (feed, one) = (Feed::new(sender), Arc::new(One::default()));
        let learner = Learner::new(1, 1, Settings::default(), Time::ZERO);
        let readers: Arc<dyn Readers> = Arc::<One>::clone(&one);
        let mut following = Following::new(learner, Arc::clone(&feed)).with_readers(Some(readers));
        decide(&mut following, 1, 1);
        let mut fx = Effects::new();
        for acceptor in [1, 2] {
            let from = Sender { node: NodeId::new(Role::Acceptor, acceptor), boot: 7 };
            let reply = ReadReply { boot: 1, count: 1, end: Instance(3) };
            following.on_message(Time::ZERO, from, Message::ReadReply(reply), &mut fx);
        }
        following.on_turn_end(Time::ZERO, &mut fx);
        decide(&mut following, 2, 2);
        let mut pieces = VecDeque::new();
        assert_eq!(feed.take(&mut pieces, None), Taken::More);
        assert!(matches!(pieces.pop_back(), Some(Piece::Readable(1))));
        assert_eq!(values(&mut pieces), [(1, 1), (2, 2)]);
        assert_eq!(one.left_to_log.load(Ordering::Relaxed), 0);
    }

    /// A learner that lags by more than is kept fetches a snapshot. Its reader goes on from that,
    /// and skips what it had not taken.
    #[test]
    fn a_reader_that_is_late_goes_on_from_the_snapshot_that_is_fetched() {
        let (sender, _inbox) = inbox(16);
        let feed = Feed::with_room(sender, 2);
        let learner = Learner::new(1, 1, Settings::default(), Time::ZERO);
        let learner = learner.beginning(Beginning::At(Instance::FIRST));
        let learner = learner.with_snapshots(StateKind::Replica);
        let mut following = Following::new(learner, Arc::clone(&feed));
        decide(&mut following, 1, 1);
        decide(&mut following, 2, 2);
        following.note(Delivery::Readable(1));
        // The others are far ahead, and the log begins where they have written a checkpoint.
        let mut log = DecidedLog::new();
        let entries: Entries = vec![Entry::Noop; 100].into();
        log.decide(Page { from: Instance::FIRST, entries }, |_| {}).unwrap();
        log.deliver(|_, _| ());
        let checkpoint = log.checkpoint(LetsGo::NONE);
        let SnapshotName { of, .. } = name_of(&checkpoint);
        let trimmed = Progress { trimmed: of, first: of, ..log.progress() };
        let ballot = Ballot { round: 1, proposer: 1, boot: 1 };
        let announcement = Announcement::new(Standing::Leads, ballot);
        let announcement = Announcement { quorate: true, ..announcement };
        let heartbeat = Heartbeat::new(Version::OLDEST, announcement, trimmed);
        let heartbeat = Message::Heartbeat(heartbeat);
        let hear = |following: &mut Following, role, message| {
            let mut fx = Effects::new();
            let sender = Sender { node: NodeId::new(role, 2), boot: 2 };
            following.on_message(Time::ZERO, sender, message, &mut fx);
            following.on_turn_end(Time::ZERO, &mut fx);
            fx
        };
        hear(&mut following, Role::Proposer, heartbeat);
        assert_eq!(take_in(&mut following, of.0, checkpoint.pieces(1000).into()), None);
        assert!(following.learner.is_fetching());
        assert!(matches!(following.behind.make_contiguous(), [Behind::Readable(1)]));
        let snapshot = name_of(&checkpoint);
        let chunk = Chunk { snapshot, offset: 0, bytes: Value::new(b"all") };
        let fx = hear(&mut following, Role::Learner, Message::Chunk(chunk));
        assert!(matches!(fx.errands.as_slice(), [Errand::Put { .. }]), "{fx:?}");
        let checkpoint = Arc::new(checkpoint);
        let outcome = Outcome::Fetched { snapshot, checkpoint: Arc::clone(&checkpoint) };
        let mut fx = Effects::new();
        following.on_input(Time::ZERO, Input::Done(outcome), &mut fx);
        following.on_turn_end(Time::ZERO, &mut fx);
        let mut pieces = VecDeque::new();
        feed.take(&mut pieces, Some(Duration::ZERO));
        let only = pieces.make_contiguous();
        let is_right =
            matches!(only, [Piece::Restored(one), Piece::Readable(1)] if *one == checkpoint);
        assert!(is_right, "{only:?}");
        let pieces_of = checkpoint.pieces(1000);
        let next = of.0 + pieces_of.len() as u64;
        assert_eq!(take_in(&mut following, of.0, pieces_of.into()), None);
        decide(&mut following, next, 1);
        pieces.clear();
        feed.take(&mut pieces, Some(Duration::ZERO));
        let snapshot = pieces.pop_front();
        assert!(matches!(snapshot, Some(Piece::Checkpoint(_))), "one could be taken: {snapshot:?}");
        assert_eq!(values(&mut pieces), [(next, 1)]);
    }

    fn name_of(checkpoint: &Checkpoint) -> SnapshotName {
        let Head { of, keep, .. } = checkpoint.head;
        SnapshotName { log: checkpoint.name, of, keep, bytes: 3, tail: 1 }
    }

    /// A reader that waits for a place is told of what is no value, and of values only with them.
    #[test]
    fn the_reader_knows_how_far_the_log_is_passed() {
        let (feed, mut following) = with_room(1);
        let mut pieces = VecDeque::new();
        decide(&mut following, 1, 1);
        assert_eq!(feed.taken(), None, "it has taken nothing yet");
        feed.take(&mut pieces, None);
        assert_eq!(feed.taken(), Some(Instance(2)));
        assert_eq!(take_in(&mut following, 2, Entries::noops(3)), None);
        assert_eq!(feed.take(&mut pieces, None), Taken::More, "it does not wait");
        assert_eq!((pieces.len(), feed.taken()), (1, Some(Instance(5))));
        // The second value finds no room.
        decide(&mut following, 5, 2);
        assert_eq!(take_in(&mut following, 6, Entries::noops(1)), None);
        decide(&mut following, 7, 3);
        feed.take(&mut pieces, None);
        assert_eq!((pieces.len(), feed.taken()), (2, Some(Instance(7))));
        idle(&mut following);
        feed.take(&mut pieces, None);
        assert_eq!((pieces.len(), feed.taken()), (3, Some(Instance(8))));
    }

    #[test]
    fn the_reader_hears_of_the_end_after_everything_else() {
        let (sender, _inbox) = inbox(16);
        let feed = Feed::new(sender);
        let learner = Learner::new(1, 1, Settings::default(), Time::ZERO);
        let mut following = Following::new(learner, Arc::clone(&feed));
        decide(&mut following, 1, 1);
        drop(following);
        let mut pieces = VecDeque::new();
        assert_eq!(feed.take(&mut pieces, None), Taken::More);
        assert_eq!(values(&mut pieces), [(1, 1)]);
        assert_eq!(feed.take(&mut pieces, None), Taken::Ended);
    }
}
