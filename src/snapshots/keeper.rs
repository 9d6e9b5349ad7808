//! The thread that writes snapshots, while the application goes on.
//!
//! One is written at a time, and at most a fifth of the time is spent on it: a place that comes up
//! while the thread is not free is skipped. A failure is logged, and the next place is tried;
//! meanwhile nothing is removed from the log.
//!
//! Between two snapshots it does the errands of the role (`protocol::transfer`): it reads what
//! other learners request, and writes what arrives of theirs. Errands that it has no time for are
//! requested again.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use log::{debug, error, warn};
use parking_lot::Mutex;

use super::Frozen;
use super::file::{Label, Later, Reader};
use super::shelf::{Shelf, Stored, name_of};
use super::tally::Tally;
use crate::clock::Clock;
use crate::protocol::actor::Input;
use crate::protocol::checkpoint::Checkpoint;
use crate::protocol::message::StateKind;
use crate::protocol::settings::Settings;
use crate::protocol::transfer::{Errand, Outcome};
use crate::protocol::types::{Instance, Time};
use crate::storage::directory::Directory;
use crate::storage::disk::{Disk, Files};

/// The pause after a snapshot, as a multiple of the time it took.
const PAUSES: u32 = 4;

/// How long it waits before it repeats a report that was not taken.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// How many jobs wait for it, at most.
const JOBS_MAX: usize = 16;

/// Which snapshots are kept, and where.
#[derive(Debug)]
pub struct Shop<D> {
    /// The directory.
    pub shelf: Shelf<D>,
    /// The name of the cluster.
    pub cluster: String,
    /// Which application's state they hold.
    pub kind: StateKind,
}

/// Writes snapshots, one at a time, in a thread of its own. When dropped, it gives up the one it is
/// writing.
pub struct Keeper {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
    /// The stored snapshots, for reading beside the thread.
    files: Mutex<Box<dyn Files>>,
    thread: Option<JoinHandle<()>>,
}

/// Hands the role's errands to the thread.
#[derive(Clone, Debug)]
pub struct Errands {
    jobs: Sender<Job>,
}

impl Errands {
    /// Queues an errand, unless too many jobs wait.
    pub fn run(&self, errand: Errand) {
        if self.jobs.try_send(Job::Errand(errand)).is_err() {
            debug!("an errand is not done: the thread that writes snapshots has too much to do");
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    is_busy: AtomicBool,
    is_stopped: AtomicBool,
}

enum Job {
    /// Write a snapshot.
    Write(Arc<Checkpoint>, Frozen),
    /// Do this for the role.
    Errand(Errand),
    /// End.
    Stop,
}

impl Keeper {
    /// Starts the thread. It reports to the role by `tell`: that a snapshot is on stable storage,
    /// repeatedly until that returns true; and the outcomes of errands, once. `tally` is for
    /// operators.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread, or no handle of the directory.
    pub fn spawn(
        shop: Shop<Directory>,
        settings: Settings,
        clock: Clock,
        tally: Arc<Tally>,
        tell: impl FnMut(Input) -> bool + Send + 'static,
    ) -> io::Result<Keeper> {
        let (sender, jobs) = bounded(JOBS_MAX);
        let shared = Arc::new(Shared::default());
        let files = Mutex::new(shop.shelf.files()?);
        let tell = Box::new(tell);
        let work = Work { shop, shared: Arc::clone(&shared), settings, clock, tally, tell };
        let run = move || work.run(&jobs);
        let thread = thread::Builder::new().name("snapshots".to_owned()).spawn(run)?;
        Ok(Keeper { jobs: sender, shared, files, thread: Some(thread) })
    }

    /// A handle for the role's errands.
    pub fn errands(&self) -> Errands {
        Errands { jobs: self.jobs.clone() }
    }

    /// Lets `restore` read the application's bytes of the snapshot of `of`.
    ///
    /// # Errors
    ///
    /// Those of `restore` and of the disk.
    pub fn read<R>(
        &self,
        of: Instance,
        restore: impl FnOnce(&mut dyn Read) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut files = self.files.lock();
        restore(&mut Reader::begin(&mut *files, &name_of(of))?)
    }

    /// Whether it would take a snapshot now. Ask before freezing the application.
    pub fn is_free(&self) -> bool {
        !self.shared.is_busy.load(Ordering::Acquire)
    }

    /// Writes the snapshot of this place, if it is free.
    pub fn keep(&self, checkpoint: Arc<Checkpoint>, frozen: Frozen) {
        if self.shared.is_busy.swap(true, Ordering::AcqRel) {
            return;
        }
        match self.jobs.try_send(Job::Write(checkpoint, frozen)) {
            Ok(()) => {}
            // The next one will do.
            Err(TrySendError::Full(_)) => self.shared.is_busy.store(false, Ordering::Release),
            Err(TrySendError::Disconnected(_)) => error!(
                "the thread that writes snapshots has ended; this is a bug in paxos; please report \
                 it"
            ),
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        // It fails once the thread has ended.
        let _ = self.jobs.send(Job::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!(
                "the thread that writes snapshots failed; this is a bug in paxos; please report it"
            );
        }
    }
}

/// Everything the thread works with.
struct Work<T> {
    shop: Shop<Directory>,
    shared: Arc<Shared>,
    settings: Settings,
    clock: Clock,
    tally: Arc<Tally>,
    tell: Box<T>,
}

impl<T: FnMut(Input) -> bool> Work<T> {
    fn run(mut self, jobs: &Receiver<Job>) {
        self.look();
        // No snapshot is written until then.
        let mut rest: Option<(Time, Free)> = None;
        loop {
            let job = match &rest {
                None => jobs.recv().ok(),
                Some((until, _)) => match jobs.recv_timeout(until.since(self.clock.now())) {
                    Err(RecvTimeoutError::Timeout) => {
                        rest = None;
                        continue;
                    }
                    job => job.ok(),
                },
            };
            match job {
                None | Some(Job::Stop) => return,
                // Jobs that waited before that are not done any more.
                Some(_) if self.shared.is_stopped.load(Ordering::Acquire) => return,
                Some(Job::Write(checkpoint, frozen)) => {
                    // Dropped even if the frozen state panics while it writes: the next job reports
                    // that.
                    let free = Free(Arc::clone(&self.shared));
                    let start = self.clock.now();
                    self.write(&checkpoint, frozen);
                    let end = self.clock.now();
                    rest = Some((end + end.since(start) * PAUSES, free));
                }
                // An outcome that is not taken is requested again.
                Some(Job::Errand(errand)) => match self.shop.run(errand, &self.settings) {
                    Ok(Some(outcome)) => {
                        if matches!(outcome, Outcome::Fetched { .. }) {
                            self.look();
                        }
                        (self.tell)(Input::Done(outcome));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        self.tally.on_failure();
                        let path = self.shop.shelf.path_of("");
                        error!("{path}: the snapshot of another learner is not kept: {error}");
                    }
                },
            }
        }
    }

    /// Notes what the newest snapshot is like.
    fn look(&mut self) {
        match self.shop.shelf.look() {
            Ok(newest) => self.tally.on_newest(newest),
            Err(error) => debug!("cannot look at the newest snapshot: {error}"),
        }
    }

    fn write(&mut self, checkpoint: &Checkpoint, frozen: Frozen) {
        let head = checkpoint.head;
        let (shared, start) = (&self.shared, self.clock.now());
        match self.shop.put(checkpoint, |out| frozen(&mut Stoppable { out, shared })) {
            Ok(()) => {
                self.tally.on_written(self.clock.now().since(start));
                self.look();
                debug!("keeps a snapshot of what lies below instance {}", head.of);
                // A role that ends may be waiting for this thread, and takes nothing any more.
                while !(self.tell)(Input::Kept(head))
                    && !self.shared.is_stopped.load(Ordering::Acquire)
                {
                    thread::sleep(BETWEEN_TRIES);
                }
            }
            Err(_) if self.shared.is_stopped.load(Ordering::Acquire) => {}
            Err(error) => {
                self.tally.on_failure();
                let path = self.shop.shelf.path_of("");
                error!(
                    "{path}: no snapshot is kept: {error}; the log is not removed meanwhile, and \
                     the next one is tried"
                );
            }
        }
    }
}

/// When dropped, it allows the next snapshot.
struct Free(Arc<Shared>);

impl Drop for Free {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}

impl<D: Disk> Shop<D> {
    /// Does an errand. Returns none if it had no outcome.
    ///
    /// # Errors
    ///
    /// When a fetched piece cannot be written.
    pub fn run(&mut self, errand: Errand, settings: &Settings) -> io::Result<Option<Outcome>> {
        Ok(match errand {
            Errand::Lend { asker, fetch } => match self.shelf.lend(&fetch, settings) {
                Ok(chunks) => {
                    let again = fetch.again;
                    (!chunks.is_empty()).then_some(Outcome::Lent { asker, again, chunks })
                }
                Err(error) => {
                    debug!("{asker} gets nothing of a snapshot: {error}");
                    None
                }
            },
            Errand::Put { snapshot, offset, bytes } => {
                let own = (self.cluster.as_str(), self.kind);
                match self.shelf.put_fetched(&snapshot, (offset, &bytes), own) {
                    Ok(Stored::Part(bytes)) => Some(Outcome::Stored { snapshot, bytes }),
                    Ok(Stored::Whole(checkpoint)) => {
                        let checkpoint = Arc::new(checkpoint);
                        Some(Outcome::Fetched { snapshot, checkpoint })
                    }
                    Err(error) => match Later::of(&error) {
                        Some(Later(form)) => Some(Outcome::Later(snapshot, form)),
                        None if error.kind() == io::ErrorKind::InvalidData => {
                            warn!("the fetched file is no snapshot to go on from: {error}");
                            Some(Outcome::Spoiled(snapshot))
                        }
                        None => return Err(error),
                    },
                }
            }
        })
    }

    /// Adds the snapshot of this place, whose application's part `write` writes.
    ///
    /// # Errors
    ///
    /// Those of [`Shelf::put`].
    pub fn put(
        &mut self,
        checkpoint: &Checkpoint,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let (cluster, kind) = (self.cluster.clone(), self.kind);
        self.shelf.put(&Label { cluster, kind, checkpoint: checkpoint.clone() }, write)
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
