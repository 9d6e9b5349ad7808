//! How far a session's values are decided, and how callers wait for one of them.
//!
//! A session's values are delivered in its order. So one number says which of them are decided, and
//! a ticket needs no memory of its own: it compares its number with this one, without a lock. Only
//! threads and tasks that really wait are recorded, and one look tells the role whether to wake any
//! of them.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::Mutex;

use super::contained::contain;
use super::ticket::Fate;
use crate::clock::Clock;
use crate::protocol::types::{Number, Time};

/// Nobody, or never.
const NONE: u64 = u64::MAX;

/// How far a session is decided, and the threads and tasks that wait for it.
///
/// # Why no wake-up is lost
///
/// 1. The role writes `decided` or `ended`, and then reads `least`.
/// 2. A waiter writes `least`, and then reads `decided` and `ended`.
/// 3. These are sequentially consistent, so one of the two sees what the other has written: the
///    waiter finds the fate and does not sleep, or the role finds the waiter.
/// 4. `least` is written under the lock that guards `waiting`, so a role that finds it low finds
///    the entry.
/// 5. A thread that is woken before it sleeps does not sleep: `unpark` is remembered.
pub(super) struct Front {
    /// Values that end below it are decided.
    decided: AtomicU64,
    /// The fate of undecided values that end here or above stays unknown.
    ended: AtomicU64,
    /// The least number that is waited for.
    least: AtomicU64,
    /// By the last number of the value. A number has one ticket, and so one waiter.
    waiting: Mutex<BTreeMap<Number, Waiting>>,
}

/// What waits for a value.
enum Waiting {
    Thread(Thread),
    Task(Waker),
}

impl Waiting {
    fn wake(self) {
        match self {
            Waiting::Thread(thread) => thread.unpark(),
            // The others are woken no matter what this one does.
            Waiting::Task(waker) => contain(|| waker.wake()),
        }
    }
}

impl Front {
    /// For a session of which nothing is decided.
    pub fn new() -> Arc<Self> {
        Arc::new(Front {
            decided: AtomicU64::new(Number::FIRST.0),
            ended: AtomicU64::new(NONE),
            least: AtomicU64::new(NONE),
            waiting: Mutex::new(BTreeMap::new()),
        })
    }

    /// The fate of the value whose last number this is, if it is known.
    #[inline]
    pub fn fate(&self, number: Number) -> Option<Fate<Number>> {
        let is_decided = || self.decided.load(Ordering::SeqCst) > number.0;
        if is_decided() {
            return Some(Fate::Decided(number));
        }
        if self.ended.load(Ordering::SeqCst) > number.0 {
            return None;
        }
        // It may have been decided between the two looks, and ended afterwards.
        Some(if is_decided() { Fate::Decided(number) } else { Fate::Unknown })
    }

    /// Values that end below `until` are decided.
    pub fn advance(&self, until: Number) {
        if self.decided.fetch_max(until.0, Ordering::SeqCst) < until.0 {
            while self.least.load(Ordering::SeqCst) < until.0 && self.wake(..until) {}
        }
    }

    /// The fate of undecided values that end at `from` or above is unknown.
    pub fn end(&self, from: Number) {
        if self.ended.fetch_min(from.0, Ordering::SeqCst) > from.0 {
            // Waiters below go on waiting: their fate is still to come, and a thread enters only
            // once.
            while self.wake(from..) {}
        }
    }

    /// Wakes the first waiter for one of these numbers; false if there is none.
    fn wake(&self, numbers: impl RangeBounds<Number>) -> bool {
        let mut waiting = self.waiting.lock();
        let first = waiting.range(numbers).next().map(|(number, _)| *number);
        let first = first.and_then(|number| waiting.remove(&number));
        self.note_least(&waiting);
        drop(waiting);
        // Without the lock: a waker may do anything.
        first.map(Waiting::wake).is_some()
    }

    fn note_least(&self, waiting: &BTreeMap<Number, Waiting>) {
        let least = waiting.keys().next().map_or(NONE, |number| number.0);
        self.least.store(least, Ordering::SeqCst);
    }

    /// Records the waiter for a value, and returns the one before.
    fn enter(&self, number: Number, who: Waiting) -> Option<Waiting> {
        let mut waiting = self.waiting.lock();
        let before = waiting.insert(number, who);
        self.note_least(&waiting);
        before
    }

    /// Removes the waiter for this value.
    pub fn leave(&self, number: Number) {
        let mut waiting = self.waiting.lock();
        let before = waiting.remove(&number);
        self.note_least(&waiting);
        drop(waiting);
        // Dropping a waker may do anything as well.
        drop(before);
    }

    /// Waits until the fate of a value is known, for at most `within`.
    #[inline]
    pub fn wait(&self, number: Number, within: Duration) -> Option<Fate<Number>> {
        let fate = self.fate(number);
        if fate.is_some() || within.is_zero() { fate } else { self.sleep(number, within) }
    }

    fn sleep(&self, number: Number, within: Duration) -> Option<Fate<Number>> {
        let clock = Clock::start();
        let before = self.enter(number, Waiting::Thread(thread::current()));
        let fate = loop {
            if let Some(fate) = self.fate(number) {
                break Some(fate);
            }
            // It may wake up for no reason, or for one that concerns another waiter.
            match within.saturating_sub(clock.now().since(Time::ZERO)) {
                Duration::ZERO => break None,
                left => thread::park_timeout(left),
            }
        };
        match before {
            // A task that polled it before must still be woken.
            Some(Waiting::Task(waker)) if fate.is_none() => self.poll(number, &waker),
            _ => {
                self.leave(number);
                fate
            }
        }
    }

    /// The fate of a value; while it is not known the task is woken once it is.
    pub fn poll(&self, number: Number, waker: &Waker) -> Option<Fate<Number>> {
        if let Some(fate) = self.fate(number) {
            return Some(fate);
        }
        // Dropped without the lock.
        let _before = self.enter(number, Waiting::Task(waker.clone()));
        // It may have become known meanwhile, and no wake-up would follow.
        let fate = self.fate(number);
        if fate.is_some() {
            self.leave(number);
        }
        fate
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::AtomicU32;
    use std::task::{Context, Poll, Wake};
    use std::time::Instant;

    use super::super::ticket::{Ticket, ticket_at};
    use super::*;
    use crate::protocol::types::Counted;

    const LONG: Duration = Duration::from_secs(300);
    /// A waiter that lost its wake-up sleeps for `LONG`.
    const SOON: Duration = Duration::from_secs(150);

    /// Counts how often it is woken, and does something else then.
    struct Task {
        count: AtomicU32,
        then: Box<dyn Fn() + Send + Sync>,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.count.fetch_add(1, Ordering::Relaxed);
            (self.then)();
        }
    }

    fn task(then: impl Fn() + Send + Sync + 'static) -> (Arc<Task>, Waker) {
        let task = Arc::new(Task { count: AtomicU32::new(0), then: Box::new(then) });
        (Arc::clone(&task), Waker::from(task))
    }

    fn poll(ticket: &mut Ticket<Number>, waker: &Waker) -> Poll<Fate<Number>> {
        Pin::new(ticket).poll(&mut Context::from_waker(waker))
    }

    impl Front {
        fn is_empty(&self) -> bool {
            self.waiting.lock().is_empty() && self.least.load(Ordering::SeqCst) == NONE
        }
    }

    #[test]
    fn what_is_decided_stays_so_and_the_rest_of_an_ended_session_is_unknown() {
        let front = Front::new();
        let fates = || [1, 2, 3].map(|number| front.fate(Number(number)));
        assert_eq!(fates(), [None; 3]);
        front.advance(Number(2));
        front.advance(Number(1));
        let first = Some(Fate::Decided(Number(1)));
        assert_eq!(fates(), [first, None, None]);
        front.end(Number(3));
        assert_eq!(fates(), [first, None, Some(Fate::Unknown)]);
        front.end(Number(0));
        assert_eq!(fates(), [first, Some(Fate::Unknown), Some(Fate::Unknown)]);
    }

    /// The teller and the waiter meet in all the ways that four thousand tries find.
    #[test]
    fn no_wake_up_is_lost() {
        let front = Front::new();
        let begun = Instant::now();
        const COUNT: u64 = 4_000;
        let asked = Arc::new(AtomicU64::new(0));
        let waiter = {
            let (front, asked) = (Arc::clone(&front), Arc::clone(&asked));
            thread::spawn(move || {
                for number in 1..=COUNT {
                    asked.store(number, Ordering::Release);
                    let fate = front.wait(Number(number), LONG);
                    assert_eq!(fate, Some(Fate::Decided(Number(number))));
                }
            })
        };
        for number in 1..=COUNT {
            while asked.load(Ordering::Acquire) < number {
                thread::yield_now();
            }
            // Before and after the other thread goes to sleep.
            (0..number % 64).for_each(|_| std::hint::spin_loop());
            front.advance(Number(number + 1));
        }
        waiter.join().unwrap();
        assert!(begun.elapsed() < SOON, "somebody slept although the fate was known");
        assert!(front.is_empty());
    }

    /// The same for a task: news between its two looks is seen by the second.
    #[test]
    fn no_task_is_left_asleep() {
        let front = Front::new();
        const COUNT: u64 = 2_000;
        let asked = Arc::new(AtomicU64::new(0));
        let teller = {
            let (front, asked) = (Arc::clone(&front), Arc::clone(&asked));
            thread::spawn(move || {
                for number in 1..=COUNT {
                    while asked.load(Ordering::Acquire) < number {
                        thread::yield_now();
                    }
                    (0..number % 64).for_each(|_| std::hint::spin_loop());
                    front.advance(Number(number + 1));
                }
            })
        };
        for number in 1..=COUNT {
            let (counted, waker) = task(|| {});
            let mut ticket = ticket_at(Arc::clone(&front), Number(number));
            asked.store(number, Ordering::Release);
            if poll(&mut ticket, &waker).is_ready() {
                continue;
            }
            let begun = Instant::now();
            while counted.count.load(Ordering::Acquire) == 0 {
                assert!(begun.elapsed() < SOON, "nobody wakes the task up");
                thread::yield_now();
            }
            assert_eq!(poll(&mut ticket, &waker), Poll::Ready(Fate::Decided(Number(number))));
        }
        teller.join().unwrap();
    }

    /// A session may end right after a value was decided.
    /// A thread enters once, so an end that concerns other values must leave its entry in place.
    #[test]
    fn who_waits_for_less_than_what_has_ended_is_not_forgotten() {
        let front = Front::new();
        let waits = Arc::clone(&front);
        let waiter = thread::spawn(move || waits.wait(Number(2), Duration::from_secs(60)));
        while front.least.load(Ordering::SeqCst) == NONE {
            thread::yield_now();
        }
        front.end(Number(4));
        assert_eq!(front.least.load(Ordering::SeqCst), 2);
        front.advance(Number(4));
        assert_eq!(waiter.join().unwrap(), Some(Fate::Decided(Number(2))));
    }

    #[test]
    fn what_was_decided_before_the_end_is_never_unknown() {
        for turn in 0..2_000 {
            let front = Front::new();
            let told = Arc::clone(&front);
            let is_there = Arc::new(AtomicU32::new(0));
            let looks = Arc::clone(&is_there);
            let teller = thread::spawn(move || {
                while looks.load(Ordering::Acquire) == 0 {
                    thread::yield_now();
                }
                (0..turn % 64).for_each(|_| std::hint::spin_loop());
                told.advance(Number(2));
                told.end(Number(0));
            });
            is_there.store(1, Ordering::Release);
            let fate = loop {
                if let Some(fate) = front.fate(Number(1)) {
                    break fate;
                }
            };
            assert_eq!(fate, Fate::Decided(Number(1)));
            teller.join().unwrap();
        }
    }

    #[test]
    fn a_ticket_that_is_dropped_leaves_nothing_behind() {
        let front = Front::new();
        let (counted, waker) = task(|| {});
        let mut ticket = ticket_at(Arc::clone(&front), Number(1));
        assert!(poll(&mut ticket, &waker).is_pending());
        drop((ticket, waker));
        assert!(front.is_empty());
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    #[test]
    fn a_thousand_waiters_are_woken_when_theirs_is_known_and_not_before() {
        let front = Front::new();
        let begun = Instant::now();
        let wait = |number| {
            let front = Arc::clone(&front);
            let wait = move || front.wait(Number(number), LONG);
            thread::Builder::new().stack_size(1 << 16).spawn(wait).unwrap()
        };
        // In no order of theirs.
        let waiters: Vec<_> = (0..1000).map(|place| place * 7 % 1000 + 1).map(wait).collect();
        while front.waiting.lock().len() < 1000 {
            thread::yield_now();
        }
        (0..=500).for_each(|until| front.advance(Number(until + 1)));
        while front.waiting.lock().len() > 500 {
            thread::yield_now();
        }
        assert_eq!(front.least.load(Ordering::SeqCst), 501, "nobody else was woken");
        front.end(Number(0));
        for (waiter, number) in waiters.into_iter().zip((0..1000).map(|place| place * 7 % 1000 + 1))
        {
            let expected =
                if number <= 500 { Fate::Decided(Number(number)) } else { Fate::Unknown };
            assert_eq!(waiter.join().unwrap(), Some(expected));
        }
        assert!(begun.elapsed() < SOON && front.is_empty());
    }

    #[test]
    fn a_ticket_can_be_dropped_while_it_is_answered() {
        let front = Front::new();
        let (counted, waker) = task(|| {});
        const COUNT: u64 = 10_000;
        let told = Arc::clone(&front);
        let teller = thread::spawn(move || {
            (1..=COUNT + 1).for_each(|until| told.advance(Number(until)));
        });
        let mut pending = 0;
        for number in 1..=COUNT {
            let mut ticket = ticket_at(Arc::clone(&front), Number(number));
            pending += u32::from(poll(&mut ticket, &waker).is_pending());
            drop(ticket);
        }
        teller.join().unwrap();
        assert!(counted.count.load(Ordering::Relaxed) <= pending);
        assert!(front.is_empty(), "a caller that is gone waits for nothing");
        drop(waker);
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    /// A waker may panic if its task's runtime has gone, or has a bug.
    #[test]
    fn a_waker_that_panics_takes_no_wake_up_from_others() {
        let front = Front::new();
        let (counted, calm) = task(|| {});
        let (panicked, panics) = task(|| panic!("as the test asks"));
        let mut tickets = [1, 2, 3, 4].map(|number| ticket_at(Arc::clone(&front), Number(number)));
        for (ticket, waker) in tickets.iter_mut().zip([&panics, &calm, &panics, &calm]) {
            assert!(poll(ticket, waker).is_pending());
        }
        front.advance(Number(3));
        let counts = || [&panicked, &counted].map(|task| task.count.load(Ordering::Relaxed));
        assert_eq!((counts(), front.least.load(Ordering::SeqCst)), ([1, 1], 3));
        front.end(Number(0));
        assert_eq!(counts(), [2, 2]);
        let fates = tickets.map(|mut ticket| poll(&mut ticket, &calm));
        let told = [1, 2].map(|number| Fate::Decided(Number(number)));
        assert_eq!(fates[..2], told.map(Poll::Ready));
        assert_eq!(fates[2..], [Poll::Ready(Fate::Unknown); 2]);
    }

    #[test]
    fn a_task_may_do_anything_when_it_is_woken() {
        let front = Front::new();
        let other = parking_lot::Mutex::new(None);
        let mut second = ticket_at(Arc::clone(&front), Number(2));
        assert!(poll(&mut second, &task(|| {}).1).is_pending());
        *other.lock() = Some(second);
        let on_wake = Arc::clone(&front);
        let (counted, waker) = task(move || {
            // It looks, polls and drops, all of which need the lock.
            drop(other.lock().take());
            on_wake.enter(Number(9), Waiting::Task(Waker::noop().clone()));
            on_wake.leave(Number(9));
        });
        let mut ticket = ticket_at(Arc::clone(&front), Number(1));
        assert!(poll(&mut ticket, &waker).is_pending());
        front.advance(Number(2).next());
        assert_eq!(counted.count.load(Ordering::Relaxed), 1);
        assert_eq!(poll(&mut ticket, &waker), Poll::Ready(Fate::Decided(Number(1))));
        assert!(front.is_empty());
    }

    #[test]
    fn a_thread_that_waits_in_vain_leaves_nothing_and_takes_nothing() {
        let front = Front::new();
        let short = Duration::from_millis(1);
        assert_eq!(front.wait(Number(1), short), None);
        assert!(front.is_empty());
        // A task polled it first: it must be woken afterwards as before.
        let (counted, waker) = task(|| {});
        let mut ticket = ticket_at(Arc::clone(&front), Number(1));
        assert!(poll(&mut ticket, &waker).is_pending());
        let Err(super::super::ticket::NotYet(mut ticket)) = ticket.wait(short) else {
            panic!("nothing is decided");
        };
        front.advance(Number(2));
        assert_eq!(counted.count.load(Ordering::Relaxed), 1);
        assert_eq!(poll(&mut ticket, &waker), Poll::Ready(Fate::Decided(Number(1))));
    }
}
