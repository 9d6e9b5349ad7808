//! Who waits to read a replica's state, until that has everything that was decided before.
//!
//! A read gets the number of the question that the learner asks the acceptors next
//! (`protocol::reads`): many share one. When the answer allows it, a mark goes to the thread that
//! applies, behind all values that the reads must see; there they are served. Reads that the
//! learner gives up go through the log: an empty value of the replica's own session, which no
//! machine sees, and behind which they are served.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::contained::contain;
use super::desk::{Closed, Desk, Patience, Refused, VALUES_MAX};
use super::replica::{Call, Look};
use super::subscription::Position;
use crate::runtime::inbox::InboxSender;

/// What the learner has to do with them.
pub(super) trait Readers: Send + Sync {
    /// The number of the last read, if there are any that it was not told of.
    fn depart(&self) -> Option<u64>;

    /// Reads up to this number must go through the log.
    fn leave_to_log(&self, last: u64);

    /// Reads that were left to something that will not come are asked for anew.
    fn ask_anew(&self);
}

/// An empty value behind which reads wait. Dropped before they were served, they are asked for
/// anew: nobody else would remember them.
pub(super) struct Passing {
    last: u64,
    readers: Option<Weak<dyn Readers>>,
}

impl Passing {
    /// Everything before the value is there. Returns the number of the last read.
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
    me: Weak<dyn Readers>,
    state: Mutex<State<M>>,
    desk: Arc<Desk<Call<O>>>,
    /// The learner's.
    inbox: InboxSender,
}

struct State<M> {
    /// By the number of their question.
    waiting: VecDeque<(u64, Look<M>)>,
    /// The number of the next question.
    next: u64,
    /// Something waits for it.
    is_wanted: bool,
    closed: Option<Closed>,
}

impl<M: Send + 'static, O: Send + 'static> Reads<M, O> {
    /// None yet, of a replica whose calls are put on this desk.
    pub fn new(desk: Arc<Desk<Call<O>>>, inbox: InboxSender) -> Arc<Self> {
        let state = State { waiting: VecDeque::new(), next: 1, is_wanted: false, closed: None };
        let state = Mutex::new(state);
        Arc::new_cyclic(|me: &Weak<Self>| Reads { me: me.clone(), state, desk, inbox })
    }

    /// Lets `look` see the state once it has everything that is decided by now.
    pub fn push(&self, look: Look<M>) -> Result<(), Refused> {
        let mut state = self.state.lock();
        match state.closed {
            Some(Closed::Stopped) => return Err(Refused::Closed),
            Some(Closed::Ended) => return Err(Refused::Ended),
            None if state.waiting.len() >= VALUES_MAX => return Err(Refused::Full(Vec::new())),
            None => {}
        }
        let number = state.next;
        state.waiting.push_back((number, look));
        let was_wanted = std::mem::replace(&mut state.is_wanted, true);
        drop(state);
        if !was_wanted {
            self.inbox.wake();
        }
        Ok(())
    }

    /// Lets those look that wait for the answer to a question up to number `last`.
    pub fn serve(&self, last: u64, machine: &M, at: Position) {
        for (_, look) in self.take(last) {
            contain(|| look(machine, at));
        }
    }

    fn take(&self, last: u64) -> VecDeque<(u64, Look<M>)> {
        let mut state = self.state.lock();
        let count = state.waiting.partition_point(|(number, _)| *number <= last);
        let later = state.waiting.split_off(count);
        std::mem::replace(&mut state.waiting, later)
    }

    /// Nothing is served any more.
    pub fn close(&self, why: Closed) {
        let mut state = self.state.lock();
        state.closed.get_or_insert(why);
        let unread = std::mem::take(&mut state.waiting);
        drop(state);
        // Without the lock: who is told may do anything.
        unread.into_iter().for_each(|look| contain(|| drop(look)));
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
        let passing = Passing { last, readers: Some(self.me.clone()) };
        match self.desk.put(&[], Patience::Tries, Some(Call::Passed(passing))) {
            // Of what is refused they are asked for anew.
            Ok(_) | Err(Refused::Full(_) | Refused::DisksFull(_)) => {}
            Err(refused) => self.close(match refused {
                Refused::Ended => Closed::Ended,
                _ => Closed::Stopped,
            }),
        }
    }

    fn ask_anew(&self) {
        let mut state = self.state.lock();
        // With the next turn of the learner, which comes soon: woken, it might only find once more
        // that there is no room.
        state.is_wanted |= !state.waiting.is_empty();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::protocol::settings::Settings;
    use crate::protocol::types::{Number, Session};
    use crate::runtime::inbox::{Event, inbox};

    const SESSION: Session = Session { client: 1, boot: 1 };

    /// Reads share the question that is asked next; those that come later wait for another.
    #[test]
    fn a_read_is_served_by_what_was_asked_after_it_came() {
        let (of_client, _client) = inbox(4);
        let (of_learner, mut learner) = inbox(4);
        let desk: Arc<Desk<Call<()>>> = Desk::new(SESSION, Settings::default(), of_client);
        let reads: Arc<Reads<(), ()>> = Reads::new(Arc::clone(&desk), of_learner);
        let seen = Arc::new(AtomicU64::new(0));
        let push = || {
            let seen = Arc::clone(&seen);
            reads.push(Box::new(move |(), at| {
                seen.fetch_add(at.0, Ordering::Relaxed);
            }))
        };
        assert_eq!((push(), push()), (Ok(()), Ok(())));
        assert_eq!(learner.poll(), Some(Event::Input(Vec::new())));
        assert_eq!((learner.poll(), reads.depart(), reads.depart()), (None, Some(1), None));
        assert_eq!((push(), reads.depart()), (Ok(()), Some(2)));
        reads.serve(1, &(), Position(5));
        assert_eq!(seen.load(Ordering::Relaxed), 10);
        // The third goes through the log, by the first value of the session.
        reads.leave_to_log(2);
        let Some(Call::Passed(passing)) = desk.take(Number(1)) else { panic!("none is there") };
        assert_eq!(passing.served(), 2);
        reads.serve(2, &(), Position(100));
        assert_eq!(seen.load(Ordering::Relaxed), 110);
        // The session ends before the value comes: they are asked for once more.
        assert_eq!((push(), reads.depart()), (Ok(()), Some(3)));
        reads.leave_to_log(3);
        assert_eq!(reads.depart(), None);
        desk.close(Number(0), Closed::Ended);
        assert_eq!(reads.depart(), Some(4));
        reads.leave_to_log(4);
        assert_eq!(push(), Err(Refused::Ended));
    }
}
