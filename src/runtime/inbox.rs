//! The one bounded queue into the role loop.
//!
//! A full inbox never makes a receive thread wait: the socket would fill up behind it, and then
//! the kernel would drop what nobody counts. Everything is dropped here or nowhere, and counted.
//!
//! A loop that polls before it sleeps would poll the queue while the receive thread polls the
//! socket, and each datagram would cross two threads that take turns on a core. So such a loop
//! looks at the socket itself while the receive thread rests ([`Direct`]); the thread watches the
//! socket while the loop sleeps. A loop that never polls is fed by the thread alone.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use crate::protocol::actor::Input;

/// What a role loop can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A datagram of interest from another process, not decoded yet.
    Datagram(Box<[u8]>),
    /// What one look at standard input gave. Costs the credit it was read against.
    Input(Vec<Input>),
    /// The process is to end. Only wakes the loop up, see [`Inbox::is_stopped`].
    Stop,
}

/// A queue of at most `capacity` events: its two ends.
pub fn inbox(capacity: usize) -> (InboxSender, Inbox) {
    assert!(capacity > 0, "an inbox without room would never take anything");
    let (sender, receiver) = bounded(capacity);
    let stopped = Arc::new(AtomicBool::new(false));
    let inbox = Inbox { events: receiver, direct: None, stopped: Arc::clone(&stopped) };
    (InboxSender { events: sender, stopped }, inbox)
}

/// The end that is written to; each thread has a copy.
#[derive(Clone, Debug)]
pub struct InboxSender {
    events: Sender<Event>,
    stopped: Arc<AtomicBool>,
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
        match self.events.try_send(Event::Datagram(datagram.into())) {
            Ok(()) => Offered::Taken,
            Err(TrySendError::Full(_)) => Offered::Full,
            Err(TrySendError::Disconnected(_)) => Offered::Closed,
        }
    }

    /// Puts values into the inbox, and waits while there is no room. Gives false when the role
    /// loop has ended. There is no more input in an inbox than there are credits.
    pub fn input(&self, batch: Vec<Input>) -> bool {
        self.events.send(Event::Input(batch)).is_ok()
    }

    /// Ends the role loop, whatever is queued before it. Never waits.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // No need to wake up a loop whose inbox is full, and none that has ended.
        let _ = self.events.try_send(Event::Stop);
    }
}

/// The socket behind a receive thread, as a loop sees it that looks for itself.
pub trait Direct: fmt::Debug + Send + Sync {
    /// A datagram of interest that has arrived. Never waits; none also while the thread has the
    /// socket.
    fn look(&self) -> Option<Box<[u8]>>;

    /// The loop is about to sleep: the thread is to watch the socket.
    fn watch(&self);

    /// The loop is awake: the thread is to rest once it has handed over what it waits for.
    fn rest(&self);
}

/// The end the role loop reads.
#[derive(Debug)]
pub struct Inbox {
    events: Receiver<Event>,
    direct: Option<Arc<dyn Direct>>,
    stopped: Arc<AtomicBool>,
}

impl Inbox {
    /// Lets the loop look at the socket itself.
    pub fn look_at(&mut self, direct: Arc<dyn Direct>) {
        self.direct = Some(direct);
    }

    /// The next event, if there is one.
    pub fn poll(&self) -> Option<Event> {
        // That nobody is left to say anything is for the next wait to find out.
        let queued = self.events.try_recv().ok();
        queued.or_else(|| self.direct.as_ref()?.look().map(Event::Datagram))
    }

    /// The next event, waited for until `deadline`; for ever when there is none.
    ///
    /// Once every sender is gone there is nobody left to say anything, not even [`Event::Stop`]:
    /// the answer is [`Event::Stop`] then.
    pub fn wait(&self, deadline: Option<Instant>) -> Option<Event> {
        let Some(direct) = &self.direct else { return self.sleep(deadline) };
        direct.watch();
        let event = self.sleep(deadline);
        direct.rest();
        event
    }

    fn sleep(&self, deadline: Option<Instant>) -> Option<Event> {
        let Some(deadline) = deadline else {
            return Some(self.events.recv().unwrap_or(Event::Stop));
        };
        match self.events.recv_deadline(deadline) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Event::Stop),
        }
    }

    /// Whether the process is to end, also when [`Event::Stop`] still waits behind other events.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_drops_datagrams_and_can_still_be_stopped() {
        let (sender, inbox) = inbox(2);
        assert_eq!(sender.offer(b"one"), Offered::Taken);
        assert_eq!(sender.offer(b"two"), Offered::Taken);
        assert_eq!(sender.offer(b"three"), Offered::Full);
        assert!(!inbox.is_stopped());
        sender.stop();
        assert!(inbox.is_stopped());
        assert_eq!(inbox.poll(), Some(Event::Datagram(Box::from(*b"one"))));
        assert_eq!(inbox.poll(), Some(Event::Datagram(Box::from(*b"two"))));
        assert_eq!(inbox.poll(), None);
    }

    #[test]
    fn each_end_notices_when_the_other_is_gone() {
        let (sender, inbox_end) = inbox(2);
        drop(inbox_end);
        assert_eq!(sender.offer(b"one"), Offered::Closed);
        assert!(!sender.input(vec![Input::End]));

        let (sender, inbox_end) = inbox(2);
        drop(sender);
        assert_eq!(inbox_end.wait(None), Some(Event::Stop));
    }
}
