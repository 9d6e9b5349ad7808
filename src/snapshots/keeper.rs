//! The thread that writes snapshots, while the application goes on.
//!
//! One is written at a time, and at most a fifth of the time is spent on it: an application that is
//! asked again while it is not free goes without that one. What fails is said, and tried again at
//! the next place; nothing is removed from the log meanwhile.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use log::{debug, error};

use super::Frozen;
use super::file::{Kind, Label};
use super::shelf::Shelf;
use crate::clock::Clock;
use crate::protocol::checkpoint::{Checkpoint, Head};
use crate::storage::directory::Directory;

/// After a snapshot so many times as long as it took are left to others.
const PAUSES: u32 = 4;

/// How long it waits before it tells again what was not heard.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// Whose snapshots are kept, and where.
#[derive(Debug)]
pub struct Shop {
    /// The directory.
    pub shelf: Shelf<Directory>,
    /// The name of the cluster.
    pub cluster: String,
    /// Whose state it is.
    pub kind: Kind,
}

/// Writes snapshots, one at a time, in a thread of its own. Dropped, it gives up what it is
/// writing.
#[derive(Debug)]
pub struct Keeper {
    jobs: Option<Sender<Job>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_busy: AtomicBool,
    is_stopped: AtomicBool,
}

struct Job {
    checkpoint: Arc<Checkpoint>,
    frozen: Frozen,
}

impl Keeper {
    /// Starts the thread. It calls `kept` for each snapshot that is on stable storage, again and
    /// again until that returns true.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread.
    pub fn spawn(
        shop: Shop,
        clock: Clock,
        kept: impl FnMut(Head) -> bool + Send + 'static,
    ) -> io::Result<Keeper> {
        let (sender, jobs) = bounded(1);
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let work = move || work(shop, &jobs, &of_thread, clock, kept);
        let thread = thread::Builder::new().name("snapshots".to_owned()).spawn(work)?;
        Ok(Keeper { jobs: Some(sender), shared, thread: Some(thread) })
    }

    /// Whether it would take one now. Ask before the application is frozen.
    pub fn is_free(&self) -> bool {
        !self.shared.is_busy.load(Ordering::Acquire)
    }

    /// Writes the snapshot of this place, if it is free.
    pub fn keep(&self, checkpoint: Arc<Checkpoint>, frozen: Frozen) {
        if self.shared.is_busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let sent = self.jobs.as_ref().map(|jobs| jobs.try_send(Job { checkpoint, frozen }));
        if let Some(Err(TrySendError::Disconnected(_))) = sent {
            error!("the thread that writes snapshots has ended; this is a mistake in the program");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread that writes snapshots failed; this is a mistake in the program");
        }
    }
}

fn work(
    mut shop: Shop,
    jobs: &Receiver<Job>,
    shared: &Shared,
    clock: Clock,
    mut kept: impl FnMut(Head) -> bool,
) {
    for Job { checkpoint, frozen } in jobs {
        // Also when what was frozen panics: then it is said at the next one.
        let _free = Free(shared);
        let start = clock.now();
        let head = checkpoint.head;
        match shop.write(&checkpoint, frozen, shared) {
            Ok(()) => {
                debug!("keeps a snapshot of what lies below instance {}", head.of);
                // Whoever ends may be waiting for this thread, and hears nothing any more.
                while !kept(head) && !shared.is_stopped.load(Ordering::Acquire) {
                    thread::sleep(BETWEEN_TRIES);
                }
            }
            Err(_) if shared.is_stopped.load(Ordering::Acquire) => return,
            Err(error) => {
                let path = shop.shelf.path_of("");
                error!(
                    "{path}: no snapshot is kept: {error}; the log is not removed meanwhile, and \
                     the next one is tried"
                );
            }
        }
        let took = clock.now().since(start);
        // While it is busy nothing is sent, so only the end of the other side wakes it.
        if jobs.recv_timeout(took * PAUSES).is_err_and(|error| error.is_disconnected()) {
            return;
        }
    }
}

/// Dropped, it lets the next snapshot come.
struct Free<'a>(&'a Shared);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}

impl Shop {
    fn write(
        &mut self,
        checkpoint: &Checkpoint,
        frozen: Frozen,
        shared: &Shared,
    ) -> io::Result<()> {
        let (cluster, kind) = (self.cluster.clone(), self.kind);
        let label = Label { cluster, kind, checkpoint: checkpoint.clone() };
        self.shelf.put(&label, |out| frozen(&mut Stoppable { out, shared }))
    }
}

/// Writes until it is stopped.
struct Stoppable<'a> {
    out: &'a mut dyn Write,
    shared: &'a Shared,
}

impl Write for Stoppable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.shared.is_stopped.load(Ordering::Acquire) {
            return Err(io::Error::other("it was stopped"));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
