//! How far a client is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use log::info;

use super::session::Track;
use crate::protocol::actor::{Actor, Effects, Input};
use crate::protocol::client::{Client, ClientTally};
use crate::protocol::figures::Figures;
use crate::protocol::message::{Interest, Message};
use crate::protocol::timer::Timer;
use crate::protocol::types::{Ballot, Sender, Time};

/// Between two lines where there is no terminal.
const REPORT: Duration = Duration::from_secs(2);

/// A client of whose values none was decided for this long knows no leader that is of use to it.
const UNSERVED_MAX: Duration = Duration::from_secs(2);

/// What the role loop tells the thread that shows it.
#[derive(Clone)]
pub struct ClientProgress {
    shared: Arc<Shared>,
    bar: Option<ProgressBar>,
}

#[derive(Default)]
struct Shared {
    asked: AtomicU64,
    delivered: AtomicU64,
    lost: AtomicU64,
    /// When the last line was logged, in seconds.
    reported: AtomicU64,
}

impl ClientProgress {
    /// Nothing yet.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            let style = ProgressStyle::with_template("{spinner} {pos} decided, {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            bar.set_style(style);
            bar
        });
        ClientProgress { shared: Arc::new(Shared::default()), bar }
    }

    /// What became of the values so far.
    pub fn tally(&self) -> ClientTally {
        ClientTally {
            asked: self.shared.asked.load(Ordering::Relaxed),
            delivered: self.shared.delivered.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
        }
    }

    fn publish(&self, tally: ClientTally) {
        self.shared.asked.store(tally.asked, Ordering::Relaxed);
        self.shared.delivered.store(tally.delivered, Ordering::Relaxed);
        self.shared.lost.store(tally.lost, Ordering::Relaxed);
    }

    /// Shows it, `lived` after the start.
    pub fn show(&self, lived: Duration) {
        let tally = self.tally();
        if let Some(bar) = &self.bar {
            bar.set_position(tally.delivered);
            bar.set_message(format!("{} lost, {} in flight", tally.lost, tally.undecided()));
            return;
        }
        let last = Duration::from_secs(self.shared.reported.load(Ordering::Relaxed));
        if lived >= last + REPORT {
            self.shared.reported.store(lived.as_secs(), Ordering::Relaxed);
            let ClientTally { asked, delivered, lost } = tally;
            info!(target: "paxos::report", "{delivered} of {asked} decided, {lost} lost so far");
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Default for ClientProgress {
    fn default() -> Self {
        Self::new()
    }
}

/// A client whose tally is published at the end of each turn.
pub struct Counted {
    client: Client,
    progress: ClientProgress,
    /// When something was decided last, or nothing was waited for.
    moved: Time,
    /// Of a session that may be resumed.
    track: Option<Track>,
    /// The input is not what it was: nothing more is asked for, and nothing waited for.
    is_refused: bool,
}

impl Counted {
    /// `client`, publishing to `progress`; `track` follows its input if its session may be resumed.
    pub fn new(client: Client, progress: ClientProgress, track: Option<Track>) -> Self {
        Counted { client, progress, moved: Time::ZERO, track, is_refused: false }
    }
}

impl Actor for Counted {
    fn on_start(&mut self, now: Time, fx: &mut Effects) {
        self.client.on_start(now, fx);
    }

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        self.client.on_message(now, from, message, fx);
    }

    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects) {
        self.client.on_timer(now, timer, fx);
    }

    fn on_input(&mut self, now: Time, input: Input, fx: &mut Effects) {
        if let Some(track) = &mut self.track {
            let is_same = match &input {
                Input::Value(value) => {
                    track.on_value(value, self.client.parts_of(value.as_bytes().len()))
                }
                Input::End => track.on_end(),
                Input::Kept(_) => true,
            };
            if !is_same {
                self.is_refused = true;
                return;
            }
        }
        self.client.on_input(now, input, fx);
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        self.client.on_turn_end(now, fx);
        let (tally, before) = (self.client.tally(), self.progress.tally());
        if tally.undecided() == 0 || tally.delivered + tally.lost > before.delivered + before.lost {
            self.moved = now;
        }
        self.progress.publish(tally);
        if let Some(track) = &mut self.track {
            track.on_decided(self.client.front());
        }
    }

    fn interest(&self) -> Interest {
        self.client.interest()
    }

    fn input_room(&self) -> usize {
        if self.is_refused { 0 } else { self.client.input_room() }
    }

    fn is_finished(&self) -> bool {
        self.is_refused || self.client.is_finished()
    }

    fn figures(&self, now: Time) -> Figures {
        let is_served = now.since(self.moved) <= UNSERVED_MAX;
        let tally = self.client.tally();
        Figures {
            leader: Some(self.client.leader()).filter(|it| is_served && *it > Ballot::ZERO),
            in_flight: tally.undecided(),
            tally: Some(tally),
            ..Figures::default()
        }
    }
}
