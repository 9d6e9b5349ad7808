//! Telling a closure the fate of a value, for callers that neither wait nor have tasks.
//!
//! The closure is a task of its own, which is polled when it is woken: so it runs on the thread
//! that learns the fate. A ticket and the place where its fate becomes known hold each other
//! meanwhile; that ends with the fate, which comes at the latest when the node ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

use super::ticket::{Fate, Ticket};

/// A ticket and the closure that waits for it, until the fate is known.
struct Then<T, F>(Mutex<Option<(Ticket<T>, F)>>);

/// Calls `tell` with the fate of the value once it is known: at once if it is.
pub(super) fn then<T, F>(ticket: Ticket<T>, tell: F)
where
    T: Send + 'static,
    F: FnOnce(Fate<T>) + Send + 'static,
{
    Arc::new(Then(Mutex::new(Some((ticket, tell))))).wake();
}

impl<T, F> Wake for Then<T, F>
where
    T: Send + 'static,
    F: FnOnce(Fate<T>) + Send + 'static,
{
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut waiting = self.0.lock();
        let Some((ticket, _)) = waiting.as_mut() else { return };
        let Poll::Ready(fate) = Pin::new(ticket).poll(&mut Context::from_waker(&waker)) else {
            return;
        };
        let told = waiting.take();
        drop(waiting);
        // Without the lock: the closure may do anything.
        if let Some((_, tell)) = told {
            tell(fate);
        }
    }
}
