//! How much may a sender keep in the network? As many bytes as are answered in good time.
//!
//! # The rule
//!
//! Once a round trip the window becomes
//!
//! ```text
//!   window x (base + PATIENCE) / (least round trip of the round) + LEAST     at most twice itself
//! ```
//!
//! where `base` is the least round trip of the last ten seconds. Data beyond what the path carries
//! waits in its queues and makes round trips longer, so the window settles where about `PATIENCE`
//! of data waits: enough that the path is never idle, little enough that heartbeats and other
//! senders are not held up. The added constant makes senders on one link equal. While nothing waits
//! for room, the window is left as it is. A receiver may say how much may wait (`Flow::allow`):
//! then that is the added part, and the other is `window x base / round trip`.
//!
//! * **The start**: `START_DATAGRAMS`, and twice as many after each round, until half of
//!   `PATIENCE` is used.
//! * **Answers in bulk**: when a third of the window is answered at once, it did not wait in a
//!   queue, but for a disk or a processor that takes everything at a time. With more in the network
//!   more is answered, so the window grows.
//! * **Loss** alone is no sign of a full queue: some networks lose one in a hundred under any load.
//!   Only more loss than with less in the network (`losses`) sets a ceiling, at the amount that got
//!   through; it is raised by an eighth after every eight good rounds. Three consecutive ceilings
//!   that changed nothing are removed: the window was not the cause.
//! * **Lost datagrams leave the count at once**: when one sent three datagrams later is answered,
//!   or nothing comes within a time-out. So losses never keep the window shut.
//! * **Never less than `LEAST_DATAGRAMS`**, and with nothing in the network one datagram always
//!   has room, however long: there is always something to measure.
//! * **A base that is no longer true**: when the window has been small for a second and round trips
//!   stay long, the path has become longer, or another sender fills its queue. Then the measured
//!   round trip becomes the new base.
//! * **A base that was never seen**: behind a standing queue of its own a sender cannot measure it.
//!   When no round trip came near it for five seconds, the window is nearly shut for a moment.
//! * **Silence** halves the window at each time-out, down to twice the least, and starts over.
//!
//! # Who answers
//!
//! The sender defines what an answer is. For a leader it is a *quorum* of votes, so a minority of
//! slow acceptors changes nothing: neither round trips, nor losses, nor what is in the network. For
//! a client it is a value's fate, so values that wait at the leader count like those on the way.
//!
//! # What others do
//!
//! * Aeron bounds what is sent by the smallest window of its receivers, or of tagged ones: that
//!   protects receivers, not the network. As there, only receivers that are waited for limit the
//!   sender here. Its option for the network, CUBIC, takes each loss for a full queue.
//! * pgmcc (OpenPGM) runs a TCP window against the worst receiver. For a leader that would be the
//!   slowest acceptor, which it need not wait for. Adopted: answers as the clock, three later ones
//!   as the sign of a loss.
//! * LEDBAT keeps its queue constant, as this does, and halves at each loss. Adopted (from
//!   LEDBAT++): a short pause now and then to see the base, which otherwise drifts up with the
//!   sender's own queue.
//! * BBR multiplies the highest rate seen by the base. Answers that come in batches (one vote for a
//!   turn, a sync of a disk) make it over-estimate rates, and it must probe in phases; dividing the
//!   window by the round trip needs neither. Like this, it ignores losses below a share.
//! * FAST TCP has this rule for large windows: no phases, no rate, and fair because of the added
//!   constant.
//!
//! It was tried over virtual links first (`flow/tests.rs`): 10 Mbit/s to 1 Gbit/s, round trips of
//! 0.2 to 200 ms, queues of 25 to 312 kB, losses of up to a tenth, rates and paths that change,
//! slow acceptors, slow disks, reordering, two leaders on one link. `sim/links.rs` has it in the
//! roles.

mod least;
mod losses;
#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;
mod rounds;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use self::least::Least;
use self::losses::Losses;
use self::rounds::{Queue, Round};
use super::retry::{RoundTrip, stretch};
use super::settings::Settings;
use super::types::Time;

/// How much time of data may wait in queues: well above a scheduler's slice, well below what the
/// queue of a link holds. On long paths an eighth of the path, for they jitter more.
const PATIENCE: Duration = Duration::from_millis(4);

/// What is in the network at the start, and after a second of silence.
const START_DATAGRAMS: usize = 16;

/// The least window: one datagram that is lost, and three that reveal it.
const LEAST_DATAGRAMS: usize = 4;

/// An unanswered datagram counts as lost once one sent this many later is answered (RFC 9002,
/// 6.1.1).
const OVERTAKEN: u64 = 3;

// A lost datagram is noticed even in the least window, and a start is no slower than that.
const _: () = assert!(LEAST_DATAGRAMS as u64 > OVERTAKEN && START_DATAGRAMS >= LEAST_DATAGRAMS);

/// How often a lost item is sent again at once.
const SOON: u32 = 3;

/// After how long a pause a sender starts over.
const IDLE: Duration = Duration::from_secs(1);

/// How long the least round trip is believed. Memory is one to two times as long.
const BASE_MEMORY: Duration = Duration::from_secs(10);

/// For how many rounds in a row, and how long, a queue stays although the window is small before
/// the base is doubted: for longer than another sender of this kind takes to see its own
/// (`BASE_SOON`).
const STUCK_ROUNDS: u32 = 6;
const STUCK: Duration = Duration::from_secs(1);

/// How long without a round trip near the base before the queue is drained, and how soon after the
/// start.
const BASE_AGE: Duration = Duration::from_secs(5);
const BASE_SOON: Duration = Duration::from_millis(300);

// A base is measured anew before it is forgotten, and a sender looks for its own queue before
// another doubts its base because of it.
const _: () = assert!(BASE_AGE.as_millis() < BASE_MEMORY.as_millis());
const _: () = assert!(BASE_SOON.as_millis() < STUCK.as_millis());

/// How long the window is nearly shut to measure the base, at most; or two round trips.
const DRAIN: Duration = Duration::from_millis(10);

/// What a datagram takes on the wire besides its entries: header, message, UDP, IP and Ethernet.
pub const OVERHEAD_BYTES: usize = 100;

/// Names one transmission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What a sender has in the network, and how much it may have there. `T` names what was sent.
#[derive(Clone, Debug)]
pub struct Flow<T> {
    least: usize,
    most: usize,
    /// Transmissions from the oldest that is out; none for those that are not out any more.
    sends: VecDeque<Option<Sent<T>>>,
    /// The ticket of the front of `sends`.
    front: u64,
    /// How many bytes are out.
    in_network: usize,
    /// Items that were lost repeatedly, and when to send them once more.
    later: BTreeMap<Time, Vec<T>>,
    round_trip: RoundTrip,
    /// The newest answered transmission and when it was sent; and when anything was last answered.
    newest: (u64, Time),
    heard: Time,
    /// Silence is accounted for until then.
    silent_until: Time,
    allowance: Option<usize>,
    /// How many bytes were answered at the last moment of an answer.
    bulk: usize,
    window: usize,
    is_starting: bool,
    ceiling: Option<usize>,
    base: Least,
    /// When to look for the base, and until when the window is shut for that.
    drains_at: Time,
    drains_until: Option<Time>,
    queue: Queue,
    losses: Losses,
    round: Round,
    /// By how much time an answer may be overtaken.
    reordering: Duration,
    /// Bytes a second, of rounds in which something waited for room.
    rate: u64,
}

/// A datagram that is out.
#[derive(Clone, Copy, Debug)]
struct Sent<T> {
    what: T,
    at: Time,
    bytes: usize,
    retries: u32,
}

impl<T> PartialEq for Flow<T> {
    /// Measurements are not part of the owner's state: they decide when something is sent, never
    /// what.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Flow<T> {}

impl<T> Hash for Flow<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl<T: Copy> Flow<T> {
    /// Nothing is out.
    pub fn new(settings: &Settings) -> Self {
        let datagram = settings.datagram_bytes + OVERHEAD_BYTES;
        let least = LEAST_DATAGRAMS * datagram;
        Flow {
            least,
            most: settings.window_bytes.max(least),
            sends: VecDeque::new(),
            front: 1,
            in_network: 0,
            later: BTreeMap::new(),
            round_trip: RoundTrip::default(),
            newest: (0, Time::ZERO),
            heard: Time::ZERO,
            silent_until: Time::ZERO,
            allowance: None,
            bulk: 0,
            window: START_DATAGRAMS * datagram,
            is_starting: true,
            ceiling: None,
            base: Least::new(BASE_MEMORY),
            drains_at: Time::ZERO + BASE_AGE,
            drains_until: None,
            queue: Queue::default(),
            losses: Losses::default(),
            round: Round::default(),
            reordering: Duration::ZERO,
            rate: 0,
        }
    }

    /// For a sender that never retransmits: losses must not shut its window.
    pub fn unbounded(settings: &Settings) -> Self {
        let mut flow = Self::new(settings);
        (flow.least, flow.most) = (usize::MAX / 4, usize::MAX / 4);
        flow
    }

    /// The ticket of what is sent next.
    pub fn next_ticket(&self) -> Ticket {
        Ticket(self.front + self.sends.len() as u64)
    }

    /// What left with `ticket`, if it is out.
    pub fn what(&self, ticket: Ticket) -> Option<T> {
        self.get(ticket).map(|sent| sent.what)
    }

    /// Items that were lost often and wait to be sent again.
    pub fn later(&self) -> impl Iterator<Item = T> {
        self.later.values().flatten().copied()
    }

    /// How many bytes are out: sent, not answered, and not considered lost.
    pub fn in_network(&self) -> usize {
        self.in_network
    }

    /// How many bytes may be out.
    pub fn window(&self) -> usize {
        let most = self.most.min(self.ceiling.unwrap_or(usize::MAX));
        let window = if self.drains_until.is_some() { 0 } else { self.window };
        window.min(most).max(self.least)
    }

    /// Bytes answered per second while the window was in use; 0 before that.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// How many more bytes may leave now; a larger datagram may leave only when nothing is out.
    pub fn room(&self) -> usize {
        self.window().saturating_sub(self.in_network)
    }

    /// Whether `bytes` may leave now, besides `more` that are about to.
    pub fn has_room(&self, bytes: usize, more: usize) -> bool {
        let out = self.in_network + more;
        out == 0 || out + bytes <= self.window()
    }

    /// Something is about to leave: after a silence the window starts anew, before anybody asks how
    /// much may leave together.
    pub fn wake(&mut self, now: Time) {
        if self.in_network == 0 && now.since(self.heard) > IDLE {
            self.restart();
        }
    }

    /// Something could not leave, because there was no room.
    pub fn note_full(&mut self) {
        self.round.was_full = true;
    }

    /// `what` of `bytes` leaves now; it was sent `retries` times before.
    pub fn send(&mut self, now: Time, what: T, bytes: usize, retries: u32) -> Ticket {
        debug_assert!(self.has_room(bytes, 0), "nothing is sent that there is no room for");
        self.send_anyway(now, what, bytes, retries)
    }

    /// The same even without room: something that is out cannot be answered before this has
    /// arrived.
    pub fn send_anyway(&mut self, now: Time, what: T, bytes: usize, retries: u32) -> Ticket {
        self.wake(now);
        let Ticket(ticket) = self.next_ticket();
        if self.round.end == 0 {
            self.begin_round(now, ticket);
        }
        self.sends.push_back(Some(Sent { what, at: now, bytes, retries }));
        self.in_network += bytes;
        self.round.peak = self.round.peak.max(self.in_network);
        Ticket(ticket)
    }

    /// `ticket` is answered.
    pub fn answer(&mut self, now: Time, ticket: Ticket) {
        let Some(sent) = self.take(ticket) else { return };
        self.bulk = if now > self.heard { sent.bytes } else { self.bulk + sent.bytes };
        self.heard = now;
        self.round.bulk = self.round.bulk.max(self.bulk);
        self.round.answered_bytes += sent.bytes;
        self.losses.answered += 1;
        let trip = now.since(sent.at);
        if sent.retries == 0 {
            self.measure(now, sent.at, trip);
        } else if trip < self.base.get().unwrap_or_default() * 3 / 4 {
            // This answers a transmission that was taken for lost.
            self.reordering = (self.reordering * 2).max(trip).min(self.patience());
        }
        if sent.retries == 0 && ticket.0 > self.newest.0 {
            self.newest = (ticket.0, sent.at);
        }
        if ticket.0 >= self.round.end {
            self.end_round(now);
        }
    }

    /// The transmission `ticket` is not waited for any more.
    pub fn forget(&mut self, ticket: Ticket) {
        self.take(ticket);
    }

    /// Moves into `lost` what the answers show to be lost: it is not out any more, and must be sent
    /// again.
    pub fn take_lost(&mut self, settings: &Settings, lost: &mut Vec<T>) {
        let (newest, at) = self.newest;
        while self.front + OVERTAKEN <= newest
            && let Some(front) = self.sends.front()
        {
            match *front {
                Some(sent) if sent.at + self.reordering > at => return,
                Some(sent) => {
                    self.losses.lost += 1;
                    self.lose(Ticket(self.front), sent, settings, lost);
                }
                None => {
                    self.sends.pop_front();
                    self.front += 1;
                }
            }
        }
    }

    /// When to act unless something is answered before.
    pub fn deadline(&self, settings: &Settings) -> Option<Time> {
        let silence = || {
            self.sends
                .front()
                .copied()
                .flatten()
                .map(|oldest| oldest.at.max(self.heard) + self.timeout(settings))
        };
        let later = self.later.first_key_value().map(|(deadline, _)| *deadline);
        let silence = silence();
        match (silence, later) {
            (Some(silence), Some(later)) => Some(silence.min(later)),
            (silence, later) => silence.or(later),
        }
    }

    /// Items that were lost often and may be sent once more: after everything else, or with little
    /// room they would keep everything else out.
    pub fn take_later(&mut self, now: Time) -> Vec<T> {
        let mut due = Vec::new();
        while let Some(entry) = self.later.first_entry().filter(|entry| *entry.key() <= now) {
            due.extend(entry.remove());
        }
        due
    }

    /// The deadline has come: what should have been answered by now is lost, and must be sent
    /// again.
    pub fn take_due(&mut self, now: Time, settings: &Settings, lost: &mut Vec<T>) {
        let timeout = self.timeout(settings);
        if self.heard + timeout > now {
            return;
        }
        let mut is_silent = false;
        while let Some(Some(sent)) = self.sends.front().copied()
            && sent.at + timeout <= now
        {
            is_silent = true;
            self.lose(Ticket(self.front), sent, settings, lost);
        }
        if is_silent {
            self.round_trip.miss(now, timeout);
            self.on_silence(now, timeout);
        }
    }

    /// Nothing was answered for a time-out.
    pub fn on_silence(&mut self, now: Time, timeout: Duration) {
        if now >= self.silent_until {
            self.silent_until = now + timeout;
            // This little floods no path, and answers may only be slow, as from a disk that takes
            // seconds.
            let enough = self.window.min(self.least * 2);
            self.window = (self.window / 2).max(enough);
            self.is_starting = true;
        }
    }

    /// The receiver says that `bytes` may wait, at any place. Without this, as much as arrives in
    /// `PATIENCE`.
    pub fn allow(&mut self, bytes: usize) {
        self.allowance = Some(bytes.max(self.least / LEAST_DATAGRAMS));
    }

    /// Counts everything that is out as lost, when there is reason to believe that it will not be
    /// answered.
    pub fn take_all(&mut self) -> Vec<T> {
        self.front += self.sends.len() as u64;
        let all = self.sends.drain(..).flatten().map(|sent| sent.what).collect();
        self.in_network = 0;
        all
    }

    /// How long an answer may take.
    pub fn timeout(&self, settings: &Settings) -> Duration {
        self.round_trip.timeout(settings.retry_accept, settings.retry_least, settings.retry_max)
    }

    /// Checks the counts against what is out. For the simulator.
    pub fn check(&self) -> Result<(), String> {
        let out: usize = self.sends.iter().flatten().map(|sent| sent.bytes).sum();
        let window = self.window();
        if out != self.in_network {
            return Err(format!("{out} bytes are out and {} are counted", self.in_network));
        }
        if window < self.least {
            return Err(format!("a window of {window} bytes is less than {}", self.least));
        }
        Ok(())
    }

    fn get(&self, ticket: Ticket) -> Option<Sent<T>> {
        let place = usize::try_from(ticket.0.checked_sub(self.front)?).ok()?;
        *self.sends.get(place)?
    }

    /// Takes `ticket` out of the network, if it is there.
    fn take(&mut self, ticket: Ticket) -> Option<Sent<T>> {
        let place = usize::try_from(ticket.0.checked_sub(self.front)?).ok()?;
        let sent = self.sends.get_mut(place)?.take()?;
        self.in_network -= sent.bytes;
        while let Some(None) = self.sends.front() {
            self.sends.pop_front();
            self.front += 1;
        }
        Some(sent)
    }

    /// `sent` is lost. A datagram that is lost every time may be too long for the path: it is sent
    /// less and less often, so that it does not burden the rest.
    fn lose(&mut self, ticket: Ticket, sent: Sent<T>, settings: &Settings, lost: &mut Vec<T>) {
        self.take(ticket);
        if sent.retries < SOON {
            return lost.push(sent.what);
        }
        let wait = stretch(self.timeout(settings), sent.retries, settings.retry_max);
        self.later.entry(sent.at + wait).or_default().push(sent.what);
    }
}
