//! The one bounded queue into the role loop.
//!
//! A full inbox never makes a receive thread wait: the socket would fill up behind it, and the
//! kernel would drop datagrams uncounted. So they are dropped here, and counted.
//!
//! If a loop polled the queue while the receive thread polls the socket, each datagram would cross
//! two threads that take turns on a core. So a loop that polls before it sleeps looks at the
//! sockets itself while the receive threads pause ([`Direct`]); each thread watches its socket
//! while the loop sleeps. A loop that does not poll is fed by the threads alone.
//!
//! A loop that polls at times and sleeps now is woken by a [`Bell`] and not by the channel, whose
//! own wait spins and yields several times before it sleeps. The loop has polled for long enough by
//! then; and where a thousand loops share a processor, those yields were about a third of all their
//! time.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded};

use super::bell::{Bell, Ringer};
use crate::clock;
use crate::protocol::actor::Input;

/// How many consecutive datagrams are taken from one socket, or events from the queue, at most,
/// while others may have some.
const STREAK_MAX: u32 = 16;

/// An event for a role loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A datagram of interest from another process, not decoded yet.
    Datagram(Datagram),
    /// What one read of standard input gave. Costs the credit it was read against.
    Input(Vec<Input>),
    /// The process must end. Only wakes the loop, see [`Inbox::is_stopped`].
    Stop,
}

/// The bytes of one datagram.
#[derive(Clone)]
pub struct Datagram {
    room: Box<[u8]>,
    length: usize,
}

impl Datagram {
    /// Room for the longest datagram: one that is cut off would be misread.
    const ROOM_BYTES: usize = 1 << 16;

    /// Empty, with room for any datagram.
    pub fn with_room() -> Self {
        Datagram { room: vec![0; Self::ROOM_BYTES].into(), length: 0 }
    }

    /// Lets `receive` write a datagram into the room and say how long it is, if there is one.
    pub fn fill<E>(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> Result<Option<usize>, E>,
    ) -> Result<bool, E> {
        let length = receive(&mut self.room)?;
        self.length = length.unwrap_or(0);
        Ok(length.is_some())
    }
}

impl Deref for Datagram {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.room[..self.length]
    }
}

impl From<&[u8]> for Datagram {
    fn from(bytes: &[u8]) -> Self {
        Datagram { room: bytes.into(), length: bytes.len() }
    }
}

impl PartialEq for Datagram {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Datagram {}

impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A queue of at most `capacity` events: its two ends.
pub fn inbox(capacity: usize) -> (InboxSender, Inbox) {
    assert!(capacity > 0, "an inbox without room would never take anything");
    let (sender, receiver) = bounded(capacity);
    let stopped = Arc::new(AtomicBool::new(false));
    let stopped_too = Arc::clone(&stopped);
    let bell = Arc::new(Bell::default());
    let ringer = Ringer::new(Arc::clone(&bell));
    let inbox = Inbox {
        events: receiver,
        bell,
        sockets: Vec::new(),
        first: 0,
        streak: 0,
        queued: 0,
        spare: None,
        stopped: stopped_too,
    };
    (InboxSender { events: sender, stopped, ringer }, inbox)
}

/// The end that is written to; each thread has a copy.
#[derive(Clone, Debug)]
pub struct InboxSender {
    events: Sender<Event>,
    stopped: Arc<AtomicBool>,
    /// Below the channel: the loop must see that the last sender is gone when this rings.
    ringer: Ringer,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is in the inbox.
    Taken,
    /// There was no room; it is gone.
    Full,
    /// The role loop has ended.
    Closed,
}

impl InboxSender {
    /// Puts a datagram into the inbox, or drops it. Never waits.
    pub fn offer(&self, datagram: &[u8]) -> Offered {
        // Under load it is dropped before its bytes are copied.
        if self.events.is_full() {
            return Offered::Full;
        }
        self.try_send(Event::Datagram(datagram.into()))
    }

    /// Puts an input into the inbox, if there is room at the moment. Never waits.
    pub fn try_input(&self, input: Input) -> Offered {
        self.try_send(Event::Input(vec![input]))
    }

    fn try_send(&self, event: Event) -> Offered {
        let sent = self.events.try_send(event);
        self.ringer.ring();
        match sent {
            Ok(()) => Offered::Taken,
            Err(TrySendError::Full(_)) => Offered::Full,
            Err(TrySendError::Disconnected(_)) => Offered::Closed,
        }
    }

    /// Puts values into the inbox, and waits while there is no room. Returns false when the role
    /// loop has ended. An inbox never holds more input than there are credits.
    pub fn input(&self, batch: Vec<Input>) -> bool {
        let sent = self.events.send(Event::Input(batch)).is_ok();
        self.ringer.ring();
        sent
    }

    /// Makes the role loop take a turn, if it sleeps. Never waits: a loop whose inbox is full takes
    /// one anyway.
    pub fn wake(&self) {
        let _ = self.try_send(Event::Input(Vec::new()));
    }

    /// Ends the role loop, even before events that are queued already. Never waits.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // A loop whose inbox is full is awake, and one that has ended needs no waking.
        let _ = self.try_send(Event::Stop);
    }
}

/// The socket behind a receive thread, as seen by a loop that reads it itself.
pub trait Direct: fmt::Debug + Send + Sync {
    /// Puts a datagram of interest that has arrived into `datagram`. Never waits. False when there
    /// is none, and while the thread has the socket.
    fn look(&self, datagram: &mut Datagram) -> bool;

    /// The loop is about to sleep: the thread must watch the socket, until it has handed over a
    /// datagram or, if `always`, from now on.
    fn watch(&self, always: bool);

    /// The loop is awake: the thread pauses once it has handed over the datagram it waits for.
    fn rest(&self);
}

/// The end the role loop reads.
#[derive(Debug)]
pub struct Inbox {
    events: Receiver<Event>,
    /// Rung after each event.
    bell: Arc<Bell>,
    /// The sockets that the loop reads itself; the first is tried first.
    sockets: Vec<Arc<dyn Direct>>,
    first: usize,
    /// How many consecutive datagrams the first has given.
    streak: u32,
    /// How many consecutive events the queue has given.
    queued: u32,
    /// Room for the next datagram, so that none needs memory of its own.
    spare: Option<Datagram>,
    stopped: Arc<AtomicBool>,
}

impl Inbox {
    /// Lets the loop look at a socket itself, besides those it looks at already.
    pub fn look_at(&mut self, direct: Arc<dyn Direct>) {
        self.sockets.push(direct);
        self.spare = Some(Datagram::with_room());
    }

    /// Takes back a datagram that is not needed any more.
    pub fn recycle(&mut self, datagram: Datagram) {
        // Datagrams from the queue have no spare room.
        if datagram.room.len() == Datagram::ROOM_BYTES {
            self.spare = Some(datagram);
        }
    }

    /// The next event, if there is one. A queue that is never empty, as where another role hands
    /// over a flood at its socket, does not keep the loop from the sockets.
    pub fn poll(&mut self) -> Option<Event> {
        if self.queued < STREAK_MAX
            && let Ok(event) = self.events.try_recv()
        {
            self.queued += 1;
            return Some(event);
        }
        self.queued = 0;
        let found = self.look().map(Event::Datagram);
        // A disconnected channel is reported by the next `wait`.
        found.or_else(|| self.events.try_recv().ok())
    }

    fn look(&mut self) -> Option<Datagram> {
        if self.sockets.is_empty() {
            return None;
        }
        let mut datagram = self.spare.take().unwrap_or_else(Datagram::with_room);
        for turned in 0..self.sockets.len() {
            let place = (self.first + turned) % self.sockets.len();
            if self.sockets[place].look(&mut datagram) {
                self.found_at(place);
                return Some(datagram);
            }
        }
        self.spare = Some(datagram);
        None
    }

    /// The socket that gave a datagram is tried first next time, for an empty one costs a system
    /// call; but not for ever, or a flood at one would keep the loop from the others.
    fn found_at(&mut self, place: usize) {
        self.streak = if place == self.first { self.streak + 1 } else { 1 };
        self.first = place;
        if self.streak >= STREAK_MAX {
            (self.first, self.streak) = ((place + 1) % self.sockets.len(), 0);
        }
    }

    /// Waits for the next event until `deadline`; for ever if that is none. The loop then `polls`
    /// again, or leaves the sockets to their threads.
    ///
    /// Once every sender is gone nobody is left to send even [`Event::Stop`], so the answer is
    /// [`Event::Stop`] then.
    pub fn wait(&self, deadline: Option<Instant>, polls: bool) -> Option<Event> {
        if self.sockets.is_empty() {
            return self.wait_at_channel(deadline);
        }
        Self::wait_for_any(&[self], deadline, polls).map(|(_, event)| event)
    }

    /// Of a loop that never polls. The channel looks for some microseconds before it sleeps, which
    /// spares a part of the sleeps.
    fn wait_at_channel(&self, deadline: Option<Instant>) -> Option<Event> {
        let Some(deadline) = deadline else {
            return Some(self.events.recv().unwrap_or(Event::Stop));
        };
        match self.events.recv_deadline(deadline) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Event::Stop),
        }
    }

    /// The next event of any of these, and the place of its inbox among them, waited for until
    /// `deadline`; for ever when there is none. As with [`Inbox::wait`], an inbox that nobody can
    /// write to any more gives [`Event::Stop`].
    pub fn wait_for_any(
        inboxes: &[&Inbox],
        deadline: Option<Instant>,
        polls: bool,
    ) -> Option<(usize, Event)> {
        let sockets = || inboxes.iter().flat_map(|inbox| &inbox.sockets);
        sockets().for_each(|socket| socket.watch(!polls));
        let event = Self::sleep(inboxes, deadline);
        if polls {
            inboxes.iter().for_each(|inbox| inbox.rest());
        }
        event
    }

    /// The loop polls: it reads the sockets itself as soon as their threads have handed over what
    /// they wait for.
    pub fn rest(&self) {
        self.sockets.iter().for_each(|socket| socket.rest());
    }

    fn sleep(inboxes: &[&Inbox], deadline: Option<Instant>) -> Option<(usize, Event)> {
        let listening: Vec<_> = inboxes.iter().map(|inbox| inbox.bell.listen()).collect();
        loop {
            listening.iter().for_each(|listening| listening.begin());
            let next = inboxes.iter().enumerate().find_map(|(place, inbox)| {
                match inbox.events.try_recv() {
                    Ok(event) => Some((place, event)),
                    Err(TryRecvError::Disconnected) => Some((place, Event::Stop)),
                    Err(TryRecvError::Empty) => None,
                }
            });
            if next.is_some() {
                return next;
            }
            match deadline.map(clock::until) {
                None => thread::park(),
                Some(left) if left.is_zero() => return None,
                Some(left) => thread::park_timeout(left),
            }
        }
    }

    /// Whether the process must end, even if [`Event::Stop`] still waits behind other events.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_full_inbox_drops_datagrams_and_can_still_be_stopped() {
        let (sender, mut inbox) = inbox(2);
        assert_eq!(sender.offer(b"one"), Offered::Taken);
        assert_eq!(sender.offer(b"two"), Offered::Taken);
        assert_eq!(sender.offer(b"three"), Offered::Full);
        assert!(!inbox.is_stopped());
        sender.stop();
        assert!(inbox.is_stopped());
        assert_eq!(inbox.poll(), Some(Event::Datagram(b"one"[..].into())));
        assert_eq!(inbox.poll(), Some(Event::Datagram(b"two"[..].into())));
        assert_eq!(inbox.poll(), None);
    }

    /// A socket that is always full.
    #[derive(Debug)]
    struct Flooded(u8);

    impl Direct for Flooded {
        fn look(&self, datagram: &mut Datagram) -> bool {
            datagram.room[0] = self.0;
            datagram.length = 1;
            true
        }
        fn watch(&self, _always: bool) {}
        fn rest(&self) {}
    }

    #[test]
    fn a_flood_at_one_socket_does_not_keep_the_loop_from_another() {
        let (_sender, mut inbox) = inbox(2);
        (1..=3).for_each(|name| inbox.look_at(Arc::new(Flooded(name))));
        let mut counts = [0; 4];
        for _ in 0..3 * STREAK_MAX {
            let Some(Event::Datagram(datagram)) = inbox.poll() else { panic!("there is more") };
            counts[usize::from(datagram[0])] += 1;
            inbox.recycle(datagram);
        }
        assert_eq!(counts, [0, STREAK_MAX, STREAK_MAX, STREAK_MAX]);
    }

    #[test]
    fn a_queue_that_is_always_full_does_not_keep_the_loop_from_a_socket() {
        let (sender, mut inbox) = inbox(1);
        inbox.look_at(Arc::new(Flooded(1)));
        let mut counts = [0; 2];
        for _ in 0..=STREAK_MAX {
            let _ = sender.offer(&[0]);
            let Some(Event::Datagram(datagram)) = inbox.poll() else { panic!("there is more") };
            counts[usize::from(datagram[0])] += 1;
            inbox.recycle(datagram);
        }
        assert_eq!(counts, [STREAK_MAX, 1]);
    }

    #[test]
    fn several_are_waited_for_together() {
        let ((first, first_inbox), (second, second_inbox)) = (inbox(2), inbox(2));
        let both = [&first_inbox, &second_inbox];
        assert_eq!(second.offer(b"two"), Offered::Taken);
        let two = Event::Datagram(b"two"[..].into());
        assert_eq!(Inbox::wait_for_any(&both, None, true), Some((1, two)));
        let soon = Some(Instant::now() + Duration::from_millis(5));
        assert_eq!(Inbox::wait_for_any(&both, soon, true), None);
        drop(first);
        assert_eq!(Inbox::wait_for_any(&both, None, true), Some((0, Event::Stop)));
    }

    #[test]
    fn each_end_notices_when_the_other_is_gone() {
        let (sender, inbox_end) = inbox(2);
        drop(inbox_end);
        assert_eq!(sender.offer(b"one"), Offered::Closed);
        assert!(!sender.input(vec![Input::End]));

        let (sender, inbox_end) = inbox(2);
        drop(sender);
        assert_eq!(inbox_end.wait(None, true), Some(Event::Stop));
    }
}
