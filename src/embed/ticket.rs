//! What a caller holds until the fate of its value is known: waited for by a thread, or by a task.
//!
//! There is no "failed". A value whose fate is not known is still being asked for, and a client
//! that has ended can only say that it does not know.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// What became of a proposed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate<T> {
    /// It is decided, once and for ever.
    Decided(T),
    /// The client ended, or the cluster ended its session, before it was known: the value is
    /// decided or is not, and will not be proposed again.
    Unknown,
}

impl<T> Fate<T> {
    /// What came of it, if it is decided.
    pub fn decided(self) -> Option<T> {
        match self {
            Fate::Decided(outcome) => Some(outcome),
            Fate::Unknown => None,
        }
    }
}

/// A value under way. It can be waited for, polled as a [`Future`] without any runtime, or dropped:
/// the value is proposed all the same.
#[must_use = "a value may not be decided yet when its ticket is there"]
pub struct Ticket<T> {
    slot: Arc<Slot<T>>,
}

/// The fate of a value was not known in time. It is still being asked for: wait again.
pub struct NotYet<T>(pub Ticket<T>);

impl<T> fmt::Display for NotYet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "it is not known yet whether the value is decided: wait again, and look whether a \
             majority of the acceptors and a proposer run",
        )
    }
}

impl<T> fmt::Debug for NotYet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NotYet").field(&self.0).finish()
    }
}

impl<T> std::error::Error for NotYet<T> {}

/// The other end: tells the ticket's holder. Dropped without a word, the fate is unknown.
pub(super) struct Teller<T> {
    slot: Arc<Slot<T>>,
}

struct Slot<T> {
    state: Mutex<State<T>>,
    known: Condvar,
}

enum State<T> {
    Open(Option<Waker>),
    Known(Fate<T>),
    /// The holder has it.
    Taken,
}

/// A ticket and its teller.
pub(super) fn ticket<T>() -> (Ticket<T>, Teller<T>) {
    let slot = Arc::new(Slot { state: Mutex::new(State::Open(None)), known: Condvar::new() });
    (Ticket { slot: Arc::clone(&slot) }, Teller { slot })
}

impl<T> Ticket<T> {
    /// Waits until the fate of the value is known, for at most `within`.
    ///
    /// # Errors
    ///
    /// With the ticket itself, when it is not known yet: the value is still being asked for, and
    /// can be waited for again.
    pub fn wait(self, within: Duration) -> Result<Fate<T>, NotYet<T>> {
        let mut state = self.slot.state.lock();
        let is_open = |state: &mut State<T>| matches!(state, State::Open(_));
        self.slot.known.wait_while_for(&mut state, is_open, within);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Known(fate) => Ok(fate),
            open => {
                *state = open;
                drop(state);
                Err(NotYet(self))
            }
        }
    }

    /// Whether [`Ticket::wait`] would return at once.
    pub fn is_known(&self) -> bool {
        !matches!(*self.slot.state.lock(), State::Open(_))
    }
}

impl<T> Future for Ticket<T> {
    type Output = Fate<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Fate<T>> {
        let mut state = self.slot.state.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Known(fate) => Poll::Ready(fate),
            State::Open(_) => {
                *state = State::Open(Some(context.waker().clone()));
                Poll::Pending
            }
            State::Taken => panic!("a ticket was polled again after it was ready"),
        }
    }
}

impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("is_known", &self.is_known()).finish()
    }
}

impl<T> Teller<T> {
    /// The value is decided.
    pub fn decided(self, outcome: T) {
        self.slot.tell(Fate::Decided(outcome));
    }
}

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        self.slot.tell(Fate::Unknown);
    }
}

impl<T> Slot<T> {
    /// Tells the first word there is.
    fn tell(&self, fate: Fate<T>) {
        let mut state = self.state.lock();
        let State::Open(waker) = &mut *state else { return };
        let waker = waker.take();
        *state = State::Known(fate);
        drop(state);
        self.known.notify_all();
        // Whatever it does, no lock of this library is held.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn a_ticket_that_is_not_known_yet_can_be_waited_for_again() {
        let (ticket, teller) = ticket();
        let NotYet(ticket) = ticket.wait(Duration::from_millis(1)).unwrap_err();
        assert!(!ticket.is_known());
        let thread = thread::spawn(move || ticket.wait(LONG));
        teller.decided(7);
        assert_eq!(thread.join().unwrap().unwrap(), Fate::Decided(7));
    }

    #[test]
    fn nobody_who_tells_means_unknown_and_never_for_ever() {
        let (ticket, teller) = ticket::<u64>();
        drop(teller);
        assert_eq!(ticket.wait(LONG).unwrap(), Fate::Unknown);
        let (ticket, teller) = super::ticket();
        teller.decided(1);
        assert_eq!(ticket.wait(Duration::ZERO).unwrap().decided(), Some(1));
    }

    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_is_woken_once_it_is_known() {
        let count = Arc::new(Count(AtomicU32::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        let (mut ticket, teller) = ticket();
        assert!(Pin::new(&mut ticket).poll(&mut context).is_pending());
        assert!(Pin::new(&mut ticket).poll(&mut context).is_pending());
        teller.decided(3);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(Pin::new(&mut ticket).poll(&mut context), Poll::Ready(Fate::Decided(3)));
    }
}
