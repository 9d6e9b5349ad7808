//! What a caller holds until the fate of its value is known. A thread can wait for it, or a task.
//!
//! There is no "failed". A value whose fate is unknown is still being requested, and a client that
//! has ended can only say that it does not know.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::contained::contain;
use super::front::Front;
use super::looks::Waits;
use super::then::then;
use crate::protocol::types::Number;

/// The fate of a proposed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate<T> {
    /// It is decided, once and for ever.
    Decided(T),
    /// The client ended, or the cluster ended its session, before the fate was known: the value may
    /// or may not be decided, and will not be proposed again.
    Unknown,
}

impl<T> Fate<T> {
    /// The outcome, if it is decided.
    pub fn decided(self) -> Option<T> {
        match self {
            Fate::Decided(outcome) => Some(outcome),
            Fate::Unknown => None,
        }
    }
}

/// A value under way. You can wait for it, poll it as a [`Future`] without any runtime, or drop it:
/// the value is proposed all the same.
///
/// A task is woken on a thread of the library, so its waker should be quick. If it panics it counts
/// as called: that is logged, and nobody else notices.
#[must_use = "a value may not be decided yet when its ticket is there"]
pub struct Ticket<T> {
    of: Of<T>,
}

/// Where its fate becomes known.
enum Of<T> {
    /// In a place of its own; and where somebody would look for its holder in vain. That is dropped
    /// last: the holder is not told.
    Slot(Held<T>, Option<Waits>),
    /// By how far the session is decided.
    Front(Mark<T>),
}

/// One value of a session.
struct Mark<T> {
    front: Arc<Front>,
    /// The last number of the value.
    number: Number,
    /// The outcome to return.
    outcome: fn(Number) -> T,
    holder: Holder,
}

/// What the holder of a ticket has done. As wide as the rest of it, because it is moved about right
/// after it is written: a processor waits for a byte that it reads back as part of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Holder {
    /// Nothing, or it has only looked.
    Holds,
    /// Whether a task is registered to be woken for it.
    IsEntered,
    /// It has the fate.
    IsTold,
}

impl<T> Mark<T> {
    #[inline]
    fn tell(&mut self, fate: Fate<Number>) -> Fate<T> {
        self.leave();
        self.holder = Holder::IsTold;
        match fate {
            Fate::Decided(number) => Fate::Decided((self.outcome)(number)),
            Fate::Unknown => Fate::Unknown,
        }
    }

    /// No task needs to be woken for it any more.
    #[inline]
    fn leave(&self) {
        if self.holder == Holder::IsEntered {
            self.front.leave(self.number);
        }
    }
}

impl<T> Drop for Mark<T> {
    #[inline]
    fn drop(&mut self) {
        self.leave();
    }
}

/// The fate of a value was not known in time. It is still being requested: wait again.
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
        // Whatever the ticket knows by now: it was not known in time. A program that ends with this
        // error prints this form of it.
        write!(f, "NotYet: {self}")
    }
}

impl<T> std::error::Error for NotYet<T> {}

/// The other end: tells the ticket's holder. If it is dropped first, the fate is unknown.
pub(super) struct Teller<T> {
    slot: Arc<Slot<T>>,
}

struct Slot<T> {
    state: Mutex<State<T>>,
    known: Condvar,
}

/// The ticket's end. When it is dropped, the slot is emptied and nobody is told.
struct Held<T>(Arc<Slot<T>>);

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        let left = std::mem::replace(&mut *self.0.state.lock(), State::Taken);
        // Without the lock: dropping a waker, or an outcome, may do anything.
        drop(left);
    }
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
    let of = Of::Slot(Held(Arc::clone(&slot)), None);
    (Ticket { of }, Teller { slot })
}

/// The ticket of the value whose last number this is.
#[inline]
pub(super) fn ticket_at(front: Arc<Front>, number: Number) -> Ticket<Number> {
    let outcome = |number| number;
    let of = Of::Front(Mark { front, number, outcome, holder: Holder::Holds });
    Ticket { of }
}

impl<T> Ticket<T> {
    /// The same, whose holder waits in a queue: it leaves that when the ticket is dropped.
    pub(super) fn waiting(mut self, waits: Waits) -> Self {
        match &mut self.of {
            Of::Slot(_, place) => *place = Some(waits),
            Of::Front(_) => unreachable!("no value waits for its look at a machine"),
        }
        self
    }

    /// Waits until the fate of the value is known, for at most `within`.
    ///
    /// # Errors
    ///
    /// The ticket itself if the fate is not known yet: the value is still being requested, and you
    /// can wait again.
    #[inline]
    pub fn wait(mut self, within: Duration) -> Result<Fate<T>, NotYet<T>> {
        let fate = match &mut self.of {
            Of::Slot(Held(slot), _) => slot.wait(within),
            Of::Front(mark) => mark.front.wait(mark.number, within).map(|fate| mark.tell(fate)),
        };
        // Not `ok_or`, which would move the ticket in any case.
        match fate {
            Some(fate) => Ok(fate),
            None => Err(NotYet(self)),
        }
    }

    /// Calls `tell` once the fate of the value is known, on the thread of the library that learns
    /// it; or before this returns, if it is known already. Roles wait for that thread, so it should
    /// be quick. If it panics, that is logged, and nobody else notices.
    ///
    /// It is called in any case, with [`Fate::Unknown`] at the latest when the node ends.
    pub fn then(self, tell: impl FnOnce(Fate<T>) + Send + 'static)
    where
        T: Send + 'static,
    {
        then(self, tell);
    }

    /// Whether [`Ticket::wait`] would return at once.
    #[inline]
    pub fn is_known(&self) -> bool {
        match &self.of {
            Of::Slot(Held(slot), _) => !matches!(*slot.state.lock(), State::Open(_)),
            Of::Front(mark) => mark.front.fate(mark.number).is_some(),
        }
    }
}

impl<T> Future for Ticket<T> {
    type Output = Fate<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Fate<T>> {
        const AGAIN: &str = "a ticket was polled again after it was ready";
        match &mut self.of {
            Of::Slot(Held(slot), _) => {
                let mut state = slot.state.lock();
                match std::mem::replace(&mut *state, State::Taken) {
                    State::Known(fate) => Poll::Ready(fate),
                    State::Open(_) => {
                        *state = State::Open(Some(context.waker().clone()));
                        Poll::Pending
                    }
                    State::Taken => panic!("{AGAIN}"),
                }
            }
            Of::Front(mark) => {
                assert!(mark.holder != Holder::IsTold, "{AGAIN}");
                let Some(fate) = mark.front.poll(mark.number, context.waker()) else {
                    mark.holder = Holder::IsEntered;
                    return Poll::Pending;
                };
                Poll::Ready(mark.tell(fate))
            }
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
    /// Waits for the fate for at most `within`.
    fn wait(&self, within: Duration) -> Option<Fate<T>> {
        let mut state = self.state.lock();
        let is_open = |state: &mut State<T>| matches!(state, State::Open(_));
        self.known.wait_while_for(&mut state, is_open, within);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Known(fate) => Some(fate),
            open => {
                *state = open;
                None
            }
        }
    }

    /// Stores the fate, unless one is there already.
    fn tell(&self, fate: Fate<T>) {
        let mut state = self.state.lock();
        let State::Open(waker) = &mut *state else { return };
        let waker = waker.take();
        *state = State::Known(fate);
        drop(state);
        self.known.notify_all();
        // No lock of this library is held here, and a panic of the waker goes no further.
        if let Some(waker) = waker {
            contain(|| waker.wake());
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
        let late = NotYet(ticket);
        let said = format!("{late:?}");
        assert!(
            said.starts_with("NotYet: it is not known yet") && !said.contains("is_known"),
            "{said}"
        );
        let NotYet(ticket) = late;
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

    /// A closure is told at once, or later, or when nobody can tell any more; and one that panics
    /// harms nobody but a caller that is told at once.
    #[test]
    fn a_closure_is_told_the_fate_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = |name: &'static str| {
            let told = Arc::clone(&told);
            move |fate: Fate<u64>| told.lock().push((name, fate))
        };
        let (known, teller) = ticket();
        teller.decided(1);
        known.then(tell("known"));
        let (later, of_later) = ticket();
        later.then(tell("later"));
        let (never, of_never) = ticket();
        never.then(tell("never"));
        let (unwell, of_unwell) = ticket::<u64>();
        unwell.then(|_| panic!("as the test asks"));
        assert_eq!(*told.lock(), [("known", Fate::Decided(1))]);
        of_unwell.decided(0);
        thread::spawn(move || of_later.decided(2)).join().unwrap();
        drop(of_never);
        let all = [("known", Fate::Decided(1)), ("later", Fate::Decided(2))];
        assert_eq!(*told.lock(), [&all[..], &[("never", Fate::Unknown)]].concat());
        assert_eq!(Arc::strong_count(&told), 1, "nothing is left of them");
    }

    #[test]
    fn a_closure_is_told_of_a_value_of_a_session() {
        let (front, told) = (Front::new(), Arc::new(Mutex::new(Vec::new())));
        for number in [1, 2] {
            let told = Arc::clone(&told);
            let ticket = ticket_at(Arc::clone(&front), Number(number));
            ticket.then(move |fate| told.lock().push(fate));
        }
        front.advance(Number(2));
        assert_eq!(*told.lock(), [Fate::Decided(Number(1))]);
        front.end(Number(2));
        assert_eq!(*told.lock(), [Fate::Decided(Number(1)), Fate::Unknown]);
        assert_eq!((Arc::strong_count(&told), Arc::strong_count(&front)), (1, 1));
    }

    #[test]
    fn a_ticket_that_is_dropped_wakes_nobody_and_leaves_nothing() {
        let count = Arc::new(Count(AtomicU32::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let (mut ticket, teller) = ticket();
        assert!(Pin::new(&mut ticket).poll(&mut Context::from_waker(&waker)).is_pending());
        drop((ticket, waker));
        assert_eq!(Arc::strong_count(&count), 1);
        teller.decided(Arc::clone(&count));
        assert_eq!((count.0.load(Ordering::Relaxed), Arc::strong_count(&count)), (0, 1));
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
