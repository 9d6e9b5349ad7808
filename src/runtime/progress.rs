//! A client's progress: a bar on a terminal, an occasional line elsewhere; and at the end, how long
//! its values took.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use log::info;
use parking_lot::Mutex;

use super::session::{SessionFile, Track};
use crate::protocol::actor::{Actor, Effects, Input};
use crate::protocol::client::{Client, ClientTally};
use crate::protocol::figures::Figures;
use crate::protocol::message::{Interest, Message};
use crate::protocol::timer::Timer;
use crate::protocol::types::{Sender, Time};
use crate::protocol::versions::Version;

/// The time between two lines where there is no terminal.
const REPORT: Duration = Duration::from_secs(2);

/// What the role loop tells the thread that shows progress.
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
    trimmed: AtomicU64,
    is_forgotten: AtomicBool,
    /// When the last line was logged, in seconds.
    reported: AtomicU64,
    /// How long the values took whose fate is known, in microseconds.
    took: Mutex<Option<Histogram<u64>>>,
}

/// How long the histogram reaches, in microseconds: an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// The percentiles that are reported.
const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];

/// When the values whose fate is not known were submitted, in their order.
///
/// An answer is always attributed to the oldest. Answers come in the order of the values except
/// after losses, so the sum over all values is exact, and the time of each nearly so.
#[derive(Debug, Default)]
struct Waiting {
    since: VecDeque<Time>,
}

impl Waiting {
    /// The fate of this many is known: records how long they took.
    fn settle(&mut self, now: Time, count: u64, took: &mut Histogram<u64>) {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.since.len());
        for since in self.since.drain(..count) {
            took.saturating_record(now.since(since).as_micros().max(1) as u64);
        }
    }
}

/// `values took: p50 1.2 ms, ..., longest 20.0 ms`; `paxos report` reads it.
fn describe(took: &Histogram<u64>) -> String {
    let millis = |micros: u64| format!("{}.{:03} ms", micros / 1000, micros % 1000);
    let mut text = "values took: ".to_owned();
    for percentile in PERCENTILES {
        text += &format!("p{percentile} {}, ", millis(took.value_at_percentile(percentile)));
    }
    text + &format!("longest {}", millis(took.max()))
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

    /// The fates of the values so far.
    pub fn tally(&self) -> ClientTally {
        ClientTally {
            asked: self.shared.asked.load(Ordering::Relaxed),
            delivered: self.shared.delivered.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
            trimmed: self.shared.trimmed.load(Ordering::Relaxed),
        }
    }

    /// Whether the cluster has forgotten the session.
    pub fn is_forgotten(&self) -> bool {
        self.shared.is_forgotten.load(Ordering::Relaxed)
    }

    fn publish(&self, tally: ClientTally) {
        self.shared.asked.store(tally.asked, Ordering::Relaxed);
        self.shared.delivered.store(tally.delivered, Ordering::Relaxed);
        self.shared.lost.store(tally.lost, Ordering::Relaxed);
        self.shared.trimmed.store(tally.trimmed, Ordering::Relaxed);
    }

    /// Shows progress, `lived` after the start.
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
            let ClientTally { asked, delivered, lost, .. } = tally;
            info!(target: "paxos::report", "{delivered} of {asked} decided, {lost} lost so far");
        }
    }

    /// Removes the bar, and says how long the values took.
    pub fn finish(&self) {
        if let Some(took) = self.shared.took.lock().as_ref().filter(|took| !took.is_empty()) {
            info!("{}", describe(took));
        }
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
pub struct WatchedClient {
    client: Client,
    progress: ClientProgress,
    waiting: Waiting,
    /// The input, for a session that may be resumed.
    track: Option<Track>,
    session: Option<Arc<SessionFile>>,
    /// The input is not what it was, or the session cannot be stored: nothing more is requested,
    /// and nothing waited for.
    is_refused: bool,
    /// There is no more input.
    is_whole: bool,
}

impl WatchedClient {
    /// `client`, publishing to `progress`. If its session has a file, its input is followed.
    pub fn new(
        client: Client,
        progress: ClientProgress,
        session: Option<Arc<SessionFile>>,
    ) -> Self {
        let track = session.as_ref().map(|session| session.track());
        // It cannot fail with these bounds; without it a client says less, but works.
        *progress.shared.took.lock() = Histogram::new_with_max(LONGEST_MICROS, 2).ok();
        WatchedClient {
            client,
            progress,
            waiting: Waiting::default(),
            track,
            session,
            is_refused: false,
            is_whole: false,
        }
    }

    /// Whether all there is to ask for is known to be decided, in this run or an earlier one of the
    /// session. Then it does not matter that the cluster has forgotten it.
    fn is_done(&self) -> bool {
        let is_decided = self.client.tally().undecided() == 0
            || self.track.as_ref().is_some_and(Track::is_decided);
        self.is_whole && is_decided
    }

    /// What is known of the values. A client that is told that it is forgotten hears no more of
    /// them, even of those that an earlier run knew to be decided.
    fn tally(&self) -> ClientTally {
        let mut tally = self.client.tally();
        if self.client.is_forgotten() && self.is_done() {
            tally.delivered += tally.undecided();
        }
        tally
    }

    /// Stores where the session was opened, before anything of the turn is sent.
    fn store_opening(&mut self, fx: &mut Effects) {
        let (Some(session), Some(opened)) = (&self.session, self.client.opened()) else { return };
        if !session.open_at(opened) {
            fx.send.clear();
            self.is_refused = true;
        }
    }
}

impl Actor for WatchedClient {
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
                Input::Kept(_) | Input::Read(_) | Input::Done(_) => true,
            };
            if !is_same {
                self.is_refused = true;
                return;
            }
        }
        match &input {
            Input::Value(_) => self.waiting.since.push_back(now),
            Input::End => self.is_whole = true,
            Input::Kept(_) | Input::Read(_) | Input::Done(_) => {}
        }
        self.client.on_input(now, input, fx);
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        self.client.on_turn_end(now, fx);
        self.store_opening(fx);
        let (tally, before) = (self.tally(), self.progress.tally());
        let of = |it: ClientTally| it.delivered + it.lost + it.trimmed;
        let settled = of(tally) - of(before);
        if settled > 0
            && let Some(took) = self.progress.shared.took.lock().as_mut()
        {
            self.waiting.settle(now, settled, took);
        }
        self.progress.publish(tally);
        let is_forgotten = self.client.is_forgotten() && !self.is_done();
        self.progress.shared.is_forgotten.store(is_forgotten, Ordering::Relaxed);
        if let Some(track) = &mut self.track {
            track.on_decided(self.client.front());
        }
    }

    fn on_stop(&mut self, now: Time, fx: &mut Effects) {
        self.client.on_stop(now, fx);
    }

    fn version(&self, now: Time) -> Version {
        self.client.version(now)
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
        Figures::of_client(&self.client, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_from_when_they_are_given_until_their_fate_is_known() {
        let mut took = Histogram::new_with_max(LONGEST_MICROS, 2).unwrap();
        let mut waiting = Waiting { since: (0..100).map(|value| Time(value * 10)).collect() };
        waiting.settle(Time(1000), 98, &mut took);
        waiting.settle(Time(50_000), 5, &mut took);
        assert_eq!((took.len(), waiting.since.len()), (100, 0));
        let text = describe(&took);
        assert!(text.starts_with("values took: p50 0.5"), "{text}");
        assert!(text.ends_with(" longest 49.151 ms"), "{text}");
    }
}
