//! What does a round trip say about the window?
//!
//! Here the rule of `flow` is applied: once a round, to what was measured in it.

use std::time::Duration;

use super::losses::{LossKind, UNIT};
use super::{
    BASE_AGE, BASE_SOON, DRAIN, Flow, LEAST_DATAGRAMS, PATIENCE, START_DATAGRAMS, STUCK,
    STUCK_ROUNDS,
};
use crate::protocol::types::Time;

/// What happened in this round: from a transmission to the answer to something sent after it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// It ends with the answer to this ticket, or to a later one.
    pub(super) end: u64,
    pub(super) began: Time,
    pub(super) least: Option<Duration>,
    pub(super) answered_bytes: usize,
    /// The most that was out.
    pub(super) peak: usize,
    /// Something had to wait for room.
    pub(super) was_full: bool,
    /// Its measurements do not show the effect of the window.
    pub(super) is_odd: bool,
    /// The most that was answered at once.
    pub(super) bulk: usize,
}

/// Since when, and for how many rounds, the queue was too long although the window was small, and
/// how long it was at first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queue {
    pub(super) since: Option<(Time, Duration)>,
    pub(super) rounds: u32,
}

impl<T: Copy> Flow<T> {
    pub(super) fn measure(&mut self, now: Time, sent: Time, trip: Duration) {
        self.round_trip.measure(sent, now);
        self.base.put(now, trip);
        self.round.least = Some(self.round.least.map_or(trip, |least| least.min(trip)));
        if trip <= self.base.get().unwrap_or_default() + self.patience() / 4 {
            self.drains_at = now + BASE_AGE;
            self.end_drain(now);
        }
    }

    /// Opens the window again. The round in which the queues fill says nothing about them.
    fn end_drain(&mut self, now: Time) {
        if self.drains_until.take().is_some() {
            self.drains_at = now + BASE_AGE;
            self.begin_round(now, self.front + self.sends.len() as u64);
            self.round.is_odd = true;
        }
    }

    /// How long data may wait in queues.
    pub(super) fn patience(&self) -> Duration {
        PATIENCE.max(self.base.get().unwrap_or_default() / 8)
    }

    /// After a long silence the old window says little.
    pub(super) fn restart(&mut self) {
        self.window = self.window.min(START_DATAGRAMS / LEAST_DATAGRAMS * self.least);
        self.is_starting = true;
        self.round = Round::default();
    }

    pub(super) fn begin_round(&mut self, now: Time, end: u64) {
        self.round = Round { end, began: now, peak: self.in_network, ..Round::default() };
    }

    pub(super) fn end_round(&mut self, now: Time) {
        let round = self.round;
        self.begin_round(now, self.front + self.sends.len() as u64);
        if self.drains_until.is_some_and(|until| until <= now) {
            self.end_drain(now);
        }
        if round.is_odd || self.drains_until.is_some() {
            return;
        }
        let Some(least) = round.least else { return };
        let elapsed = now.since(round.began).max(least).as_micros().max(1) as u64;
        let rate = round.answered_bytes as u64 * 1_000_000 / elapsed;
        let base = self.base.get().unwrap_or(least);
        let queued = least.saturating_sub(base);
        // A window that has grown beyond the demand is still cut when the queue is too long.
        let is_used = round.was_full || queued > self.patience() && round.peak >= self.window / 2;
        if !is_used {
            self.drains_at = now + BASE_AGE;
            self.losses.begin();
            self.rate = self.rate.max(rate);
            return;
        }
        self.rate = if self.rate == 0 { rate } else { (self.rate * 3 + rate) / 4 };
        if !round.was_full {
            self.window = self.window.min(round.peak);
        }
        self.follow_losses(now, &round);
        if round.bulk >= round.peak / 3 {
            self.grow(&round);
        } else {
            self.follow_queue(now, least, queued, &round);
        }
        self.window = self.window.min(self.ceiling.unwrap_or(self.most)).max(self.least);
        self.look_for_base(now);
    }

    /// Bytes that are answered at once have waited for a disk or a processor that takes everything
    /// at a time, and not in a queue: with more out, more is answered.
    fn grow(&mut self, round: &Round) {
        self.window = (self.window + round.answered_bytes.min(self.window)).min(self.most);
        self.queue.since = None;
    }

    /// Round trips that grow mean less, answers in time mean more.
    fn follow_queue(&mut self, now: Time, least: Duration, queued: Duration, round: &Round) {
        let patience = self.patience();
        if self.allowance.is_none() && self.is_stuck(now, queued) {
            // The queue is not this sender's, or the path has become longer.
            self.base.reset(least);
            (self.is_starting, self.ceiling) = (true, None);
            return;
        }
        if self.is_starting && queued <= patience / 2 {
            return self.grow(round);
        }
        if std::mem::take(&mut self.is_starting) {
            // The first base may include another sender's queue.
            self.drains_at = now + BASE_SOON;
        }
        let took = least.as_micros().max(1) as u64;
        let base = (least - queued).as_micros() as u64;
        if let Some(allowance) = self.allowance {
            self.window = ((self.window as u64).saturating_mul(base) / took) as usize + allowance;
            self.window = self.window.min(self.most);
            return;
        }
        let allowed = base + patience.as_micros() as u64;
        // Plus a few datagrams: of two senders on a link, the one with less gains more.
        let window = ((self.window as u64).saturating_mul(allowed) / took) as usize;
        let window = window.saturating_add(self.least);
        self.window = window.min(self.window * 2).min(self.most);
    }

    /// Whether the window has been small for long, and the queue is as long as before.
    fn is_stuck(&mut self, now: Time, queued: Duration) -> bool {
        if queued <= self.patience() * 3 / 2 || self.window > self.least * 2 {
            self.queue.since = None;
            return false;
        }
        let (since, first) = *self.queue.since.get_or_insert((now, queued));
        self.queue.rounds = if since == now { 0 } else { self.queue.rounds + 1 };
        let is_long = self.queue.rounds >= STUCK_ROUNDS && now.since(since) >= STUCK;
        let is_stuck = is_long && queued > first * 4 / 5;
        if is_long {
            self.queue.since = None;
        }
        is_stuck
    }

    /// More loss than with less in the network means less.
    fn follow_losses(&mut self, now: Time, round: &Round) {
        match self.losses.judge(now) {
            LossKind::Unknown => {}
            LossKind::Usual => {
                if self.losses.good_rounds.is_multiple_of(8)
                    && let Some(ceiling) = &mut self.ceiling
                {
                    *ceiling += *ceiling / 8;
                    self.ceiling = self.ceiling.filter(|ceiling| *ceiling < self.most);
                }
            }
            LossKind::Excess { passed } => {
                let passed = (round.peak as u64 * passed / UNIT) as usize;
                self.ceiling =
                    Some(passed.clamp(round.peak / 2, round.peak / 8 * 7).max(self.least));
                self.is_starting = false;
            }
            LossKind::Unrelated => self.ceiling = None,
        }
    }

    /// If the base was not seen for long, round trips may include this sender's own queue: drains
    /// it for a moment.
    fn look_for_base(&mut self, now: Time) {
        if now >= self.drains_at {
            let trips = self.base.get().unwrap_or_default() * 2;
            self.drains_until = Some(now + DRAIN.max(trips));
        }
    }
}
