//! Phase 2: what is in flight under the leader's ballot, until a quorum has accepted it.

use std::time::Duration;

use crate::bugs::{self, Bug};
use crate::protocol::actor::Effects;
use crate::protocol::message::{Accept, Accepted, Message};
use crate::protocol::packing::{disjoint, merge, pages};
use crate::protocol::quorum::{Quorum, Tally};
use crate::protocol::retry::{Deadlines, RoundTrip, stretch};
use crate::protocol::segments::{Held, Page, Segments};
use crate::protocol::settings::Settings;
use crate::protocol::types::{Ballot, Instance, Role, Run, Time};

/// How many datagrams a leader sends again at a time while it hears no quorum.
const KNOCK_DATAGRAMS: usize = 8;

/// The instances proposed and not decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Phase2 {
    ballot: Ballot,
    quorum: Quorum,
    in_flight: Segments<InFlight>,
    /// Proposed in this turn and not sent yet.
    fresh: Vec<Run<Instance>>,
    round_trip: RoundTrip,
    deadlines: Deadlines<Instance>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct InFlight {
    accepted: Tally,
    /// When it was sent first.
    sent: Time,
    /// How often it was sent again.
    retries: u32,
}

impl Phase2 {
    /// Nothing in flight under `ballot`, which a quorum has promised or is being asked to.
    pub fn new(ballot: Ballot, quorum: Quorum) -> Self {
        Phase2 {
            ballot,
            quorum,
            in_flight: Segments::new(),
            fresh: Vec::new(),
            round_trip: RoundTrip::default(),
            deadlines: Deadlines::default(),
        }
    }

    /// How many instances are in flight.
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// How many bytes of entries are in flight.
    pub fn bytes(&self) -> usize {
        self.in_flight.bytes()
    }

    /// What of `run` is in flight, at its beginning.
    pub fn at(&self, run: Run<Instance>) -> Held {
        self.in_flight.at(run)
    }

    /// Proposes the entries of `page`; they go out at the end of the turn.
    ///
    /// One ballot never proposes two entries for an instance: that is what makes an acceptance of
    /// (instance, ballot) speak for one entry.
    pub fn propose(&mut self, now: Time, page: Page) {
        let run = page.run();
        assert!(!self.in_flight.overlaps(run), "{run} is proposed once in a ballot");
        self.fresh.push(run);
        let flight = InFlight { accepted: Tally::default(), sent: now, retries: 0 };
        self.in_flight.insert(page, flight);
    }

    /// Counts what `acceptor` accepted in this ballot; returns what is chosen by that, in order
    /// of the message's runs.
    pub fn on_accepted(&mut self, now: Time, acceptor: u32, accepted: &Accepted) -> Vec<Page> {
        assert_eq!(accepted.ballot, self.ballot, "the caller drops other ballots");
        let mut chosen: Vec<Page> = Vec::new();
        for run in disjoint(&accepted.runs).as_ref() {
            // Over what is in flight, not over the run: a forged run may be endless.
            let mut won = Vec::new();
            self.in_flight.change(*run, |run, _, flight| {
                flight.accepted.vote(acceptor);
                if flight.accepted.is_won(self.quorum) || bugs::has(Bug::OneVoteIsEnough) {
                    won.push(run);
                }
            });
            for run in won {
                self.in_flight.take(run, |page, flight| {
                    if flight.retries == 0 && chosen.is_empty() {
                        self.round_trip.measure(flight.sent, now);
                    }
                    chosen.push(page);
                });
            }
        }
        if !chosen.is_empty() {
            self.rest();
        }
        chosen
    }

    /// Takes `run` out of flight: it is decided by other means. Returns what was proposed.
    pub fn forget(&mut self, run: Run<Instance>) -> Vec<Page> {
        let mut forgotten = Vec::new();
        if self.in_flight.overlaps(run) {
            self.in_flight.take(run, |page, _| forgotten.push(page));
            self.rest();
        }
        forgotten
    }

    /// Sends what was proposed in this turn.
    pub fn send_fresh(
        &mut self,
        now: Time,
        watermark: Instance,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        if self.fresh.is_empty() {
            return;
        }
        let pieces = self.fresh.len();
        let fresh = merge(std::mem::take(&mut self.fresh));
        if fresh.len() < pieces {
            // What goes out in one datagram is voted on as a whole.
            fresh.iter().for_each(|run| self.in_flight.join(*run, settings.entries_bytes()));
        }
        self.send_accepts(&fresh, watermark, settings, fx);
        let timeout = self.timeout(settings);
        self.deadlines.add(now + timeout, fresh);
    }

    fn timeout(&self, settings: &Settings) -> Duration {
        self.round_trip.timeout(settings.retry_accept, settings.retry_least, settings.retry_max)
    }

    /// When something should be answered.
    pub fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first()
    }

    /// Whatever is in flight is overdue.
    pub fn expedite(&mut self, now: Time) {
        let everything = Run::new(Instance::FIRST, Instance(u64::MAX));
        let held: Vec<_> = self.in_flight.pages(everything).map(|(page, _)| page.run()).collect();
        self.deadlines.clear();
        self.deadlines.add(now, held);
    }

    /// Sends again what was not answered in time: at most `window_bytes` of it, and without a
    /// quorum a few datagrams, as rarely as anything is sent again.
    pub fn retry(
        &mut self,
        now: Time,
        watermark: Instance,
        quorate: bool,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        if bugs::has(Bug::NeverRetriesAccepts) {
            return self.deadlines.clear();
        }
        let (timeout, bytes_max) = if quorate {
            (self.timeout(settings), settings.window_bytes)
        } else {
            (settings.retry_max, settings.entries_bytes() * KNOCK_DATAGRAMS)
        };
        let (mut due, mut bytes) = (Vec::new(), 0);
        for overdue in self.deadlines.take_due(now) {
            self.in_flight.change(overdue, |run, entries, flight| {
                if bytes == 0 || bytes < bytes_max {
                    bytes += entries.bytes();
                    flight.retries = flight.retries.saturating_add(1);
                    due.push(run);
                }
                let wait = stretch(timeout, flight.retries, settings.retry_max);
                self.deadlines.add(now + wait, [run]);
            });
        }
        if !due.is_empty() {
            self.round_trip.miss(now, timeout);
        }
        self.send_accepts(&merge(due), watermark, settings, fx);
    }

    /// Since when the first instance in flight waits for a quorum. That others are answered
    /// meanwhile is no comfort: it may be too long for the way.
    pub fn stalled_since(&self) -> Option<Time> {
        let everything = Run::new(Instance::FIRST, Instance(u64::MAX));
        self.in_flight.pages(everything).next().map(|(_, flight)| flight.sent)
    }

    /// Something was taken out of flight: with nothing left, nothing is waited for.
    fn rest(&mut self) {
        if self.in_flight.is_empty() {
            self.deadlines.clear();
        }
    }

    fn send_accepts(
        &self,
        runs: &[Run<Instance>],
        watermark: Instance,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let held = runs.iter().flat_map(|run| self.in_flight.pages(*run)).map(|(page, _)| page);
        for Page { from, entries } in pages(held, settings.entries_bytes()) {
            let accept = Accept { ballot: self.ballot, watermark, from, entries };
            fx.send(Role::Acceptor, Message::Accept(accept));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::entries::steps;
    use crate::protocol::types::Entry;

    const BALLOT: Ballot = Ballot { round: 1, proposer: 1, boot: 1 };

    fn accepted(from: u64, until: u64) -> Accepted {
        let runs = vec![Run::new(Instance(from), Instance(until))];
        Accepted { ballot: BALLOT, runs }
    }

    fn noop(instance: u64) -> Page {
        Page { from: Instance(instance), entries: vec![Entry::Noop].into() }
    }

    fn in_flight(count: u64) -> Phase2 {
        let mut phase2 = Phase2::new(BALLOT, Quorum::majority_of(3));
        (1..=count).for_each(|instance| phase2.propose(Time::ZERO, noop(instance)));
        phase2
    }

    /// "Paxos Made Simple", 2.2: chosen when a majority of the acceptors accepted it.
    #[test]
    fn an_entry_is_chosen_by_a_majority_of_different_acceptors() {
        let mut phase2 = in_flight(3);
        assert_eq!(phase2.on_accepted(Time::ZERO, 1, &accepted(1, 3)), []);
        assert_eq!(phase2.on_accepted(Time::ZERO, 1, &accepted(1, 3)), []);
        let chosen = phase2.on_accepted(Time::ZERO, 3, &accepted(2, u64::MAX));
        assert_eq!(chosen, [noop(2)]);
        assert_eq!(phase2.len(), 2);
    }

    /// A forged datagram is bounded by what it carries: not by that times what is in flight.
    #[test]
    fn instances_that_are_named_again_cost_nothing() {
        let endless = || Run::new(Instance(1), Instance(u64::MAX));
        let singles = || (1..=1000).rev().map(|one| Run::new(Instance(one), Instance(one + 1)));
        for runs in [vec![endless(); 1000], singles().chain(singles()).collect()] {
            let mut phase2 = in_flight(1000);
            let accepted = Accepted { ballot: BALLOT, runs };
            let (chosen, steps) = steps::count(|| phase2.on_accepted(Time::ZERO, 1, &accepted));
            assert!(chosen.is_empty());
            assert!(steps <= 3000, "{steps} steps");
        }
    }

    #[test]
    fn only_what_is_overdue_is_sent_again() {
        let settings = Settings::default();
        let (mut phase2, mut fx) = (in_flight(2), Effects::new());
        phase2.send_fresh(Time::ZERO, Instance(1), &settings, &mut fx);
        assert_eq!(fx.send.len(), 1);
        let deadline = Time::ZERO + settings.retry_accept;
        assert_eq!(phase2.next_deadline(), Some(deadline));
        phase2.retry(Time::ZERO + settings.retry_accept / 2, Instance(1), true, &settings, &mut fx);
        assert_eq!(fx.send.len(), 1);
        phase2.retry(deadline, Instance(1), true, &settings, &mut fx);
        assert_eq!(fx.send.len(), 2);
        phase2.retry(deadline, Instance(1), true, &settings, &mut fx);
        assert_eq!(fx.send.len(), 2, "it was sent a moment ago");
    }

    /// What is lost where answers take half a millisecond is not waited for long.
    #[test]
    fn the_wait_follows_the_answers() {
        let settings = Settings::default();
        let (mut phase2, mut fx) = (in_flight(2), Effects::new());
        phase2.send_fresh(Time::ZERO, Instance(1), &settings, &mut fx);
        for acceptor in [1, 2] {
            phase2.on_accepted(Time(500), acceptor, &accepted(1, 2));
        }
        phase2.propose(Time(600), noop(3));
        phase2.send_fresh(Time(600), Instance(2), &settings, &mut fx);
        assert_eq!(phase2.next_deadline(), Some(Time(600) + Duration::from_micros(1500)));
    }
}
