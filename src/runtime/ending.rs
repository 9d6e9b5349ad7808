//! How a process ends: by itself, at its lifetime, or by a signal, and then within a second.

use std::cell::Cell;
use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver as Channel, RecvTimeoutError, bounded};
use log::{error, info, warn};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use super::doing::Work;
use super::inbox::InboxSender;
use super::node::{Exit, NodeOptions};
use super::progress::ClientProgress;
use super::role_loop::{Ended, Failure};
use super::session::SessionFile;
use super::start_error::{StartError, StartErrorKind, no_thread};
use super::stats::Stats;
use crate::clock::Clock;
use crate::protocol::types::Time;
use crate::results::files::Presence;
use crate::storage::watch::Watch;

/// How long the role loop may take to end at its lifetime.
const LAST_TURN: Duration = Duration::from_secs(2);

/// The same after a signal.
const HURRIED_TURN: Duration = Duration::from_millis(600);

/// When a process that got a signal is gone, no matter what it waits for.
const GONE: Duration = Duration::from_millis(950);

/// How often progress is shown.
const GLANCE: Duration = Duration::from_millis(100);

/// An acceptor's data is checked once in this many glances.
const WATCH_EVERY: u32 = 3;

/// The results file is checked once in this many glances.
const LOOK_EVERY: u32 = 10;

/// Logs what a loop was doing when the wait for it was given up. Work that is cut off was never
/// answered for, so ending in the middle of it is a crash like any other, and harmless.
pub(super) fn not_awaited(work: Work) -> Exit {
    match work {
        Work::Storing => {
            warn!(
                "ended while the disk was storing; what it did not finish was never answered, so \
                 nothing is lost, and the acceptor may be started again"
            );
            Exit::Well
        }
        Work::Writing => {
            error!(
                "ended while the results directory took nothing: the last values are not written; \
                 start the learner again, and it writes its file anew"
            );
            Exit::Undone
        }
        Work::Turn => {
            warn!("ended in the middle of a long turn; nothing that it answered is lost");
            Exit::Well
        }
    }
}

/// How the role loop ended.
pub(super) enum End {
    /// By itself, or because it was asked to.
    Of(Result<Ended, Failure>),
    /// It was asked to end, and did not in time.
    Unawaited,
    /// Its thread is gone without a message.
    Panicked,
}

/// What ends a process: its lifetime, a signal, or its own end.
pub(super) struct Ending {
    lifetime: Option<Duration>,
    signals: Channel<i32>,
    /// Of the loops that must end.
    inboxes: Vec<InboxSender>,
    /// What shows how far a client is.
    pub progress: Option<ClientProgress>,
    /// A client's session, if it has a file.
    pub session: Option<Arc<SessionFile>>,
    /// A learner's file, which somebody may remove.
    pub results: Option<Presence>,
    /// Whether an acceptor's data is still there.
    pub watch: Option<Watch>,
    /// SIGUSR1 came and asks for the counters in the log.
    is_asked: Arc<AtomicBool>,
    clock: Clock,
    /// The loops were asked to end, and are waited for until then.
    until: Cell<Option<Time>>,
}

impl Ending {
    /// Listens for signals from now on, for the loops of these inboxes.
    pub fn new(options: &NodeOptions, inboxes: Vec<InboxSender>) -> Result<Self, StartError> {
        let cannot = |error: io::Error| {
            let sentence = format!("cannot listen for signals: {error}");
            StartError::new(StartErrorKind::System, sentence)
        };
        let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(cannot)?;
        let is_asked = Arc::new(AtomicBool::new(false));
        flag::register(SIGUSR1, Arc::clone(&is_asked)).map_err(cannot)?;
        let (sender, received) = bounded(1);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let Some(signal) = signals.forever().next() else { return };
                // There is room for one.
                let _ = sender.try_send(signal);
                // A process that must end does not wait for a stopped terminal, or for a reader
                // that reads only a little now and then.
                thread::sleep(GONE);
                process::exit(1);
            })
            .map_err(no_thread)?;
        let (lifetime, clock) = (options.lifetime, Clock::start());
        let (progress, session, results, watch) = (None, None, None, None);
        let signals = received;
        Ok(Ending {
            lifetime,
            signals,
            inboxes,
            progress,
            session,
            results,
            watch,
            is_asked,
            clock,
            until: Cell::new(None),
        })
    }

    /// Waits for the end of one loop.
    pub fn wait(&self, ended: &Channel<Result<Ended, Failure>>, stats: &Stats) -> End {
        let end = self.wait_for(ended, stats);
        if let Some(session) = &self.session {
            session.note();
        }
        end
    }

    fn wait_for(&self, ended: &Channel<Result<Ended, Failure>>, stats: &Stats) -> End {
        let mut looks = 0_u32;
        loop {
            if let Some(until) = self.until.get() {
                return match ended.recv_timeout(until.since(self.clock.now())) {
                    Ok(end) => End::Of(end),
                    Err(RecvTimeoutError::Timeout) => End::Unawaited,
                    Err(RecvTimeoutError::Disconnected) => End::Panicked,
                };
            }
            match ended.recv_timeout(GLANCE) {
                Ok(end) => return End::Of(end),
                Err(RecvTimeoutError::Disconnected) => return End::Panicked,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.is_asked.swap(false, Ordering::Relaxed) {
                info!(target: "paxos::report", "counted so far: {stats}");
            }
            let lived = self.clock.now().since(Time::ZERO);
            if let Some(progress) = &self.progress {
                progress.show(lived);
            }
            if let Some(session) = &self.session {
                session.note();
            }
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOK_EVERY)
                && let Some(results) = &self.results
                && results.is_gone()
            {
                warn!(
                    "{results} was removed or replaced: decided values are written nowhere; start \
                     the learner again, and it writes its file anew"
                );
            }
            if looks.is_multiple_of(WATCH_EVERY)
                && let Some(Err(vanished)) = self.watch.as_ref().map(Watch::look)
            {
                self.inboxes.iter().for_each(InboxSender::stop);
                // It must not go on, whether it ends in time or not.
                let _ = ended.recv_timeout(LAST_TURN);
                return End::Of(Err(Failure::Vanished(vanished)));
            }
            let is_signalled = self.signals.try_recv().is_ok();
            if is_signalled || self.lifetime.is_some_and(|lifetime| lived >= lifetime) {
                self.inboxes.iter().for_each(InboxSender::stop);
                let patience = if is_signalled { HURRIED_TURN } else { LAST_TURN };
                self.until.set(Some(self.clock.now() + patience));
            }
        }
    }
}
