//! A program's task that the client's own thread runs.
//!
//! A thread that waits for a ticket has to be woken, and its next values wake the client's thread
//! in turn: two changes of threads for each answer. A task is polled by whoever wakes it, here and
//! now, and tickets are answered by the client's thread, in the middle of a turn. What the task
//! proposes then leaves at the end of that turn, as if it were a part of the role.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

use parking_lot::Mutex;

/// A task, and who polls it.
pub(super) struct Task {
    /// None once it is done.
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    /// How often it was woken since it was left in peace.
    calls: AtomicU64,
}

impl Task {
    /// Polls it for the first time.
    pub fn start(future: impl Future<Output = ()> + Send + 'static) {
        let future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(future);
        Arc::new(Task { future: Mutex::new(Some(future)), calls: AtomicU64::new(0) }).wake();
    }

    fn poll(self: &Arc<Self>) {
        let mut future = self.future.lock();
        let Some(running) = &mut *future else { return };
        let waker = Waker::from(Arc::clone(self));
        if running.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            let done = future.take();
            drop(future);
            // Without the lock: what it holds may wake somebody when it goes.
            drop(done);
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    /// The first of all who come polls until nobody has come meanwhile, so two threads never poll
    /// it at once, and whoever comes second need not wait.
    fn wake_by_ref(self: &Arc<Self>) {
        if self.calls.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        let mut answered = 1;
        loop {
            self.poll();
            let left =
                self.calls.compare_exchange(answered, 0, Ordering::AcqRel, Ordering::Acquire);
            match left {
                Ok(_) => return,
                Err(calls) => answered = calls,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::mpsc;
    use std::task::Poll;
    use std::thread;
    use std::time::Duration;

    use super::super::desk::{Closed, Desk, Patience, Refused};
    use super::super::front::Front;
    use super::super::ticket::{Fate, ticket_at};
    use super::*;
    use crate::protocol::settings::Settings;
    use crate::protocol::types::{Counted, Number, Session};
    use crate::runtime::inbox::inbox;
    use crate::runtime::role_thread;

    const LONG: Duration = Duration::from_secs(60);

    /// A task hears of each of its values on the thread that tells, and proposes the next there.
    #[test]
    fn a_task_goes_on_where_its_ticket_is_answered() {
        let (front, (told, heard)) = (Front::new(), mpsc::channel());
        let of_task = Arc::clone(&front);
        Task::start(async move {
            for number in 1.. {
                let fate = ticket_at(Arc::clone(&of_task), Number(number)).await;
                told.send((fate, thread::current().id())).unwrap();
                if fate == Fate::Unknown {
                    return;
                }
            }
        });
        assert!(heard.try_recv().is_err());
        front.advance(Number(3));
        front.end(Number(0));
        let here = thread::current().id();
        let all: Vec<_> = heard.iter().collect();
        let [one, two] = [1, 2].map(|number| (Fate::Decided(Number(number)), here));
        assert_eq!(all, [one, two, (Fate::Unknown, here)], "and then it is gone");
    }

    /// Notices if two threads are in it at once, and counts how often it was polled.
    struct Alone {
        inside: Mutex<()>,
        polled: Arc<AtomicU64>,
        last: Arc<Mutex<Option<Waker>>>,
        until: u64,
    }

    impl Future for Alone {
        type Output = ();

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            let _inside = self.inside.try_lock().expect("two threads poll one task");
            let polled = self.polled.fetch_add(1, Ordering::SeqCst) + 1;
            *self.last.lock() = Some(context.waker().clone());
            thread::yield_now();
            if polled >= self.until { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    /// What wakes a task while it runs, and be it itself, has it polled once more, and not inside.
    #[test]
    fn a_task_that_is_woken_while_it_runs_is_polled_again() {
        let polled = Arc::new(AtomicU64::new(0));
        let of_task = Arc::clone(&polled);
        Task::start(std::future::poll_fn(move |context| {
            if of_task.fetch_add(1, Ordering::SeqCst) < 2 {
                context.waker().wake_by_ref();
                context.waker().wake_by_ref();
                assert!(of_task.load(Ordering::SeqCst) <= 2, "it is not polled from within");
                return Poll::Pending;
            }
            Poll::Ready(())
        }));
        assert_eq!(polled.load(Ordering::SeqCst), 3);
        assert_eq!(Arc::strong_count(&polled), 1, "it is gone");
    }

    #[test]
    fn many_who_wake_a_task_poll_it_one_after_the_other_and_none_in_vain() {
        let (polled, last) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(None)));
        let inside = Mutex::new(());
        let alone =
            Alone { inside, polled: Arc::clone(&polled), last: Arc::clone(&last), until: u64::MAX };
        Task::start(alone);
        let waker: Waker = last.lock().clone().unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (waker, polled) = (waker.clone(), Arc::clone(&polled));
                thread::spawn(move || {
                    for _ in 0..200 {
                        let before = polled.load(Ordering::SeqCst);
                        waker.wake_by_ref();
                        // Somebody begins to poll it, if nobody has since.
                        while polled.load(Ordering::SeqCst) == before {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(polled.load(Ordering::SeqCst) > 200);
    }

    /// A role's thread that waited for room, or for an answer, would wait for itself.
    #[test]
    fn nothing_waits_on_the_thread_of_a_role() {
        let (sender, _inbox) = inbox(16);
        let session = Session { client: 1, boot: 1 };
        let desk: Arc<Desk<Infallible>> = Desk::new(session, Settings::default(), sender);
        let role = {
            let desk = Arc::clone(&desk);
            thread::spawn(move || {
                role_thread::enter();
                let mut last = Number(0);
                let refused = loop {
                    match desk.put(b"v", Patience::Waits, None) {
                        Ok(number) => last = number,
                        Err(refused) => break refused,
                    }
                };
                let ticket = ticket_at(Arc::clone(desk.front()), last);
                (refused, ticket.wait(LONG).is_err(), last)
            })
        };
        let begun = std::time::Instant::now();
        assert_eq!(role.join().unwrap(), (Refused::Full(b"v".to_vec()), true, Number(4096)));
        assert!(begun.elapsed() < LONG);
        desk.close(Number(0).next(), Closed::Stopped);
    }
}
