//! How reads of a replica's state wait until it has everything that was decided before.
//!
//! A read gets the number of the question that the learner asks the acceptors next
//! (`protocol::reads`): many share one. When it is answered, a mark goes to the thread that
//! applies, behind all values that the reads must see; there they are served. Reads that the
//! learner gives up go through the log: as an empty value of the replica's own session, which no
//! machine sees, and behind which they are served.
//!
//! Reads whose callers have gone are dropped. Reads of the state that is applied already, and those
//! that only wait for a place in the log, ask nobody: the thread that applies serves them.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::contained::contain;
use super::desk::{Closed, Desk, Patience, Refused};
use super::looks::{Look, Looks, Queue, Turn, Until, Waits};
use super::replica::Call;
use super::subscription::Position;
use crate::runtime::inbox::InboxSender;

/// The learner's view of the reads.
pub(super) trait Readers: Send + Sync {
    /// The number of the last read, if any are new to it.
    fn depart(&self) -> Option<u64>;

    /// Reads up to this number must go through the log.
    fn leave_to_log(&self, last: u64);

    /// Reads that waited for something that will not come are asked for anew.
    fn ask_anew(&self);
}

/// An empty value behind which reads wait. If it is dropped before they were served, they are asked
/// for anew: nobody else would remember them.
pub(super) struct Passing {
    last: u64,
    readers: Option<Weak<dyn Readers>>,
}

impl Passing {
    /// Everything before the value is applied. Returns the number of the last read.
    pub fn served(mut self) -> u64 {
        self.readers = None;
        self.last
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(readers) = self.readers.take().and_then(|readers| readers.upgrade()) {
            readers.ask_anew();
        }
    }
}

/// The reads of one replica.
pub(super) struct Reads<M, O> {
    me: Weak<Self>,
    state: Mutex<State<M>>,
    desk: Arc<Desk<Call<O>>>,
    /// The learner's inbox.
    inbox: InboxSender,
}

struct State<M> {
    /// Reads that wait for a question, by its number.
    asked: Looks<M>,
    /// Reads of the state as it is.
    local: Looks<M>,
    /// Reads that wait for a place in the log, by its position.
    placed: Looks<M>,
    /// The number of the next question.
    next: u64,
    /// Whether a read waits for it.
    is_wanted: bool,
    /// Why nothing is asked any more, if so.
    closed: Option<Closed>,
    /// Nothing is applied any more.
    has_ended: bool,
}

impl<M: Send + 'static, O: Send + 'static> Reads<M, O> {
    /// No reads yet, of a replica whose calls go to this desk.
    pub fn new(desk: Arc<Desk<Call<O>>>, inbox: InboxSender) -> Arc<Self> {
        let state = State {
            asked: Looks::new(),
            local: Looks::new(),
            placed: Looks::new(),
            next: 1,
            is_wanted: false,
            closed: None,
            has_ended: false,
        };
        let state = Mutex::new(state);
        Arc::new_cyclic(|me: &Weak<Self>| Reads { me: me.clone(), state, desk, inbox })
    }

    /// Lets `look` see the state once it has everything decided by now, if the caller still waits
    /// then.
    pub fn push(&self, look: Look<M>) -> Result<Waits, Refused> {
        let mut state = self.state.lock();
        match state.closed {
            Some(Closed::Stopped) => return Err(Refused::Closed),
            Some(Closed::Ended) => return Err(Refused::Ended),
            None => {}
        }
        let question = state.next;
        let pushed = state.asked.push(question, look);
        let was_wanted = std::mem::replace(&mut state.is_wanted, true);
        drop(state);
        // Without the lock: values owned by a closure may read the replica when they are dropped.
        let turn = pushed.map_err(|_| Refused::Full(Vec::new()))?;
        if !was_wanted {
            self.inbox.wake();
        }
        Ok(Waits::new(self.me.clone(), Until::Answer, turn))
    }

    /// Lets `look` see the state as it is when the thread that applies has time for it, or once
    /// everything up to `position` is applied. The caller must wake that thread.
    pub fn push_local(&self, position: Option<Position>, look: Look<M>) -> Result<Waits, Refused> {
        let mut state = self.state.lock();
        if state.has_ended {
            return Err(Refused::Closed);
        }
        let (until, pushed) = match position {
            None => (Until::Now, state.local.push(0, look)),
            Some(position) => (Until::Place, state.placed.push(position.0, look)),
        };
        drop(state);
        let turn = pushed.map_err(|_| Refused::Full(Vec::new()))?;
        Ok(Waits::new(self.me.clone(), until, turn))
    }

    /// Lets those look that wait for the answer to a question up to number `last`.
    pub fn serve(&self, last: u64, machine: &M, at: Position) {
        let looks = self.state.lock().asked.take(last);
        looks.for_each(|look| contain(|| look(machine, at)));
    }

    /// Lets those look that wait for no question. Everything up to `reached` is applied, the last
    /// command at `at`.
    pub fn serve_local(&self, machine: &M, at: Position, reached: Position) {
        let mut state = self.state.lock();
        let (local, placed) = (state.local.take_all(), state.placed.take(reached.0));
        drop(state);
        local.chain(placed).for_each(|look| contain(|| look(machine, at)));
    }

    /// Nothing that needs a question is served any more.
    fn close(&self, why: Closed) {
        let mut state = self.state.lock();
        state.closed.get_or_insert(why);
        let unread = state.asked.take_all();
        drop(state);
        // Without the lock: the code that is told may do anything.
        unread.for_each(|look| contain(|| drop(look)));
    }

    /// Nothing is applied, and so nothing served any more.
    pub fn end(&self) {
        self.close(Closed::Stopped);
        let mut state = self.state.lock();
        state.has_ended = true;
        let unread = state.local.take_all().chain(state.placed.take_all());
        drop(state);
        unread.for_each(|look| contain(|| drop(look)));
    }
}

impl<M: Send + 'static, O: Send + 'static> Queue for Reads<M, O> {
    fn leave(&self, until: Until, turn: Turn) {
        let mut state = self.state.lock();
        let look = match until {
            Until::Answer => state.asked.remove(turn),
            Until::Place => state.placed.remove(turn),
            Until::Now => state.local.remove(turn),
        };
        // A question that nobody waits for is not asked.
        state.is_wanted &= !state.asked.is_empty();
        drop(state);
        drop(look);
    }
}

impl<M: Send + 'static, O: Send + 'static> Readers for Reads<M, O> {
    fn depart(&self) -> Option<u64> {
        let mut state = self.state.lock();
        if !std::mem::take(&mut state.is_wanted) {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    fn leave_to_log(&self, last: u64) {
        if self.state.lock().asked.first().is_none_or(|first| first > last) {
            return; // Their callers have gone.
        }
        let passing = Passing { last, readers: Some(self.me.clone()) };
        match self.desk.put(&[], Patience::Tries, Some(Call::Passed(passing))) {
            // If it was refused, they are asked for anew.
            Ok(_) | Err(Refused::Full(_) | Refused::DisksFull(_)) => {}
            Err(refused) => self.close(match refused {
                Refused::Ended => Closed::Ended,
                _ => Closed::Stopped,
            }),
        }
    }

    fn ask_anew(&self) {
        let mut state = self.state.lock();
        // With the next turn of the learner, which comes soon: if woken now, it might only find
        // again that there is no room.
        state.is_wanted |= !state.asked.is_empty();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::desk::VALUES_MAX;
    use super::*;
    use crate::protocol::settings::Settings;
    use crate::protocol::types::{Number, Session};
    use crate::runtime::inbox::{Event, inbox};

    const SESSION: Session = Session { client: 1, boot: 1 };

    /// Reads share the next question; later ones wait for another.
    #[test]
    fn a_read_is_served_by_what_was_asked_after_it_came() {
        let (of_client, _client) = inbox(4);
        let (of_learner, mut learner) = inbox(4);
        let desk: Arc<Desk<Call<()>>> =
            Desk::new(SESSION, Settings::default(), of_client, Arc::default());
        let reads: Arc<Reads<(), ()>> = Reads::new(Arc::clone(&desk), of_learner);
        let seen = Arc::new(AtomicU64::new(0));
        let push = || {
            let seen = Arc::clone(&seen);
            reads.push(Box::new(move |(), at| {
                seen.fetch_add(at.0, Ordering::Relaxed);
            }))
        };
        let _shared = [push(), push()].map(Result::unwrap);
        assert_eq!(learner.poll(), Some(Event::Input(Vec::new())));
        assert_eq!((learner.poll(), reads.depart(), reads.depart()), (None, Some(1), None));
        let _later = push().unwrap();
        assert_eq!(reads.depart(), Some(2));
        reads.serve(1, &(), Position(5));
        assert_eq!(seen.load(Ordering::Relaxed), 10);
        // The third goes through the log, by the first value of the session.
        reads.leave_to_log(2);
        let Some(Call::Passed(passing)) = desk.take(Number(1)) else { panic!("none is there") };
        assert_eq!(passing.served(), 2);
        reads.serve(2, &(), Position(100));
        assert_eq!(seen.load(Ordering::Relaxed), 110);
        // The session ends before the value comes: they are asked for once more.
        let _last = push().unwrap();
        assert_eq!(reads.depart(), Some(3));
        reads.leave_to_log(3);
        assert_eq!(reads.depart(), None);
        desk.close(Number(0), Closed::Ended);
        assert_eq!(reads.depart(), Some(4));
        reads.leave_to_log(4);
        assert_eq!(push().err(), Some(Refused::Ended));
        // Reads that need no question go on, until nothing is applied any more.
        let local = || reads.push_local(None, Box::new(|(), _| ()));
        assert!(local().is_ok());
        reads.end();
        assert_eq!((local().err(), push().err()), (Some(Refused::Closed), Some(Refused::Ended)));
    }

    /// Places are waited for in their order, however the reads came.
    #[test]
    fn a_read_of_a_place_is_served_once_that_is_reached() {
        let ((of_client, _client), (of_learner, _learner)) = (inbox(4), inbox(4));
        let desk: Arc<Desk<Call<()>>> =
            Desk::new(SESSION, Settings::default(), of_client, Arc::default());
        let reads: Arc<Reads<(), ()>> = Reads::new(desk, of_learner);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let read = |place| {
            let seen = Arc::clone(&seen);
            let look = move |(): &(), at: Position| seen.lock().push((place, at.0));
            reads.push_local(Some(Position(place)), Box::new(look)).unwrap()
        };
        let _waiting = [read(9), read(5), read(u64::MAX), read(7)];
        drop(read(6));
        reads.serve_local(&(), Position(4), Position(4));
        // What lies between the last command and there is no command.
        reads.serve_local(&(), Position(4), Position(7));
        assert_eq!(*seen.lock(), [(5, 4), (7, 4)]);
        reads.serve_local(&(), Position(12), Position(12));
        assert_eq!(seen.lock().last(), Some(&(9, 12)));
        reads.end();
        assert_eq!(Arc::strong_count(&seen), 1, "the last is dropped");
        let late = reads.push_local(Some(Position(1)), Box::new(|(), _| ()));
        assert_eq!(late.err(), Some(Refused::Closed));
    }

    /// Callers wait for a moment, again and again, while nobody answers.
    #[test]
    fn nothing_is_kept_asked_or_proposed_for_callers_that_have_gone() {
        let (of_client, _client) = inbox(4);
        let (of_learner, _learner) = inbox(4);
        let desk: Arc<Desk<Call<()>>> =
            Desk::new(SESSION, Settings::default(), of_client, Arc::default());
        let reads: Arc<Reads<(), ()>> = Reads::new(Arc::clone(&desk), of_learner);
        let held = Arc::new(());
        let look = || {
            let held = Arc::clone(&held);
            Box::new(move |(): &(), _| drop(held))
        };
        for _ in 0..2 * VALUES_MAX {
            drop((reads.push(look()).unwrap(), reads.push_local(None, look()).unwrap()));
        }
        assert_eq!((Arc::strong_count(&held), reads.depart()), (1, None));
        // This one goes after it was asked for.
        let gone = reads.push(look()).unwrap();
        assert_eq!(reads.depart(), Some(1));
        drop(gone);
        reads.leave_to_log(1);
        assert!(desk.take(Number(1)).is_none());

        // Those that stay are bounded, and further ones are refused.
        let stay: Vec<_> = (0..VALUES_MAX).map(|_| reads.push(look()).unwrap()).collect();
        assert_eq!(reads.push(look()).err(), Some(Refused::Full(Vec::new())));
        let local = reads.push_local(None, look()).unwrap();
        assert_eq!((reads.depart(), reads.depart()), (Some(2), None));
        drop(stay);
        reads.ask_anew();
        assert_eq!((reads.depart(), Arc::strong_count(&held)), (None, 2));
        // A read that is served has nothing to leave any more.
        reads.serve_local(&(), Position(1), Position(1));
        assert_eq!(Arc::strong_count(&held), 1);
        drop(local);
    }
}
