//! Wakes the thread that sleeps until something is in a queue.
//!
//! The sleeper says that it listens and looks at the queue once more; then it parks. The other side
//! writes to the queue, and rings if anybody listens. Between the two steps of either side stands a
//! fence, so that one of them at least sees what the other did first: no event is slept over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, Thread};

use parking_lot::Mutex;

/// What the sleeper listens to.
#[derive(Debug, Default)]
pub struct Bell {
    is_awaited: AtomicBool,
    sleeper: Mutex<Option<Thread>>,
}

/// The end that rings. It also rings when it is dropped: the end of the last sender is an event.
#[derive(Clone, Debug)]
pub struct Ringer {
    bell: Arc<Bell>,
}

/// While it lives, the thread that made it may be woken.
#[derive(Debug)]
pub struct Listening<'a> {
    bell: &'a Bell,
}

impl Bell {
    /// From now on, the bell wakes this thread; there is never more than one.
    pub fn listen(&self) -> Listening<'_> {
        *self.sleeper.lock() = Some(thread::current());
        Listening { bell: self }
    }

    fn ring(&self) {
        fence(Ordering::SeqCst);
        // Mostly the loop is awake, and that costs nobody anything.
        if self.is_awaited.load(Ordering::Relaxed)
            && self.is_awaited.swap(false, Ordering::Relaxed)
            && let Some(sleeper) = &*self.sleeper.lock()
        {
            sleeper.unpark();
        }
    }
}

impl Listening<'_> {
    /// Before each look at the queue, after which the thread parks if that is empty.
    pub fn begin(&self) {
        self.bell.is_awaited.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.bell.is_awaited.store(false, Ordering::Relaxed);
    }
}

impl Ringer {
    /// Rings this bell.
    pub fn new(bell: Arc<Bell>) -> Self {
        Ringer { bell }
    }

    /// Something is in the queue: wakes the thread that listens, if one does.
    pub fn ring(&self) {
        self.bell.ring();
    }
}

impl Drop for Ringer {
    fn drop(&mut self) {
        self.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crossbeam_channel::unbounded;

    use super::*;

    #[test]
    fn nothing_is_slept_over() {
        const EVENTS: u32 = 20_000;
        let bell = Arc::new(Bell::default());
        let (sender, events) = unbounded();
        let ringer = Ringer::new(Arc::clone(&bell));
        let writer = thread::spawn(move || {
            for event in 0..EVENTS {
                sender.send(event).unwrap();
                ringer.ring();
                // At times the reader is asleep, and at times it is about to be.
                (0..event % 64).for_each(|_| std::hint::spin_loop());
                if event % 7 == 0 {
                    thread::yield_now();
                }
            }
        });
        let (mut taken, begun) = (0, Instant::now());
        while taken < EVENTS {
            let listening = bell.listen();
            listening.begin();
            if events.try_recv().is_ok() {
                taken += 1;
                continue;
            }
            let slept = Instant::now();
            thread::park_timeout(Duration::from_secs(5));
            let slept = slept.elapsed();
            assert!(slept < Duration::from_secs(4), "{taken} of {EVENTS} after {slept:?}");
        }
        writer.join().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
