//! Phase 2: which values are in flight under the leader's ballot, until a quorum has accepted them.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::hash::{Hash, Hasher};

use crate::protocol::actor::{Effects, Flight, Ignored};
use crate::protocol::flow::{OVERHEAD_BYTES, Ticket};
use crate::protocol::message::{Accept, Accepted, Message};
use crate::protocol::packing::{disjoint, merge, pages};
use crate::protocol::parts::{Flow, Quorum, Tally};
use crate::protocol::segments::{Held, Page, Segments};
use crate::protocol::settings::Settings;
use crate::protocol::types::{
    Ballot, ENTRY_BYTES_MAX, Few, Instance, RUN_BYTES_MAX, Role, Run, Time,
};

use super::telling::Names;

/// The instances proposed and not decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Phase2 {
    ballot: Ballot,
    quorum: Quorum,
    in_flight: Segments<InFlight>,
    /// Not sent yet, or to be sent again, as soon as there is room in the network.
    fresh: Vec<Run<Instance>>,
    again: Vec<Run<Instance>>,
    /// Lost several times: sent once more when nothing else waits.
    late: Vec<Run<Instance>>,
    /// An upper bound of the bytes of entries in these two.
    unsent_bytes: usize,
    /// What is in the network.
    flow: Flow<Run<Instance>>,
    /// Whether anything is ever sent again.
    sends_again: bool,
    /// Whether no new values are taken for now; Accepts say so.
    is_full: bool,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    accepted: Tally,
    /// When it was proposed.
    since: Time,
    /// How often it was sent again.
    retries: u32,
    /// The datagram it left in last.
    ticket: Ticket,
}

impl InFlight {
    /// Everything but the ticket, which says in what order things were sent, not what was sent.
    fn told(&self) -> (Tally, Time, u32) {
        (self.accepted, self.since, self.retries)
    }
}

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        self.told() == other.told()
    }
}

impl Eq for InFlight {}

impl Hash for InFlight {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.told().hash(state);
    }
}

impl Phase2 {
    /// Nothing in flight under `ballot`, which a quorum has promised or is being asked to promise.
    /// Lost Accepts are sent again if `sends_again`.
    pub fn new(ballot: Ballot, quorum: Quorum, sends_again: bool, settings: &Settings) -> Self {
        let flow = if sends_again { Flow::new(settings) } else { Flow::unbounded(settings) };
        Phase2 {
            ballot,
            quorum,
            in_flight: Segments::new(),
            fresh: Vec::new(),
            again: Vec::new(),
            late: Vec::new(),
            unsent_bytes: 0,
            flow,
            sends_again,
            is_full: false,
        }
    }

    /// Whether too few acceptors have room for more than what is in flight.
    pub fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// How many instances are in flight.
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether there is room for `bytes` more in the network, besides everything that waits for
    /// room.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.flow.has_room(bytes + OVERHEAD_BYTES, self.unsent_bytes)
    }

    /// How many bytes the network carries at a time.
    pub fn window(&self) -> usize {
        self.flow.window()
    }

    /// Something waits for room.
    pub fn note_full(&mut self) {
        self.flow.note_full();
    }

    /// How much of `run`, from its beginning, is in flight.
    pub fn at(&self, run: Run<Instance>) -> Held {
        self.in_flight.at(run)
    }

    /// Proposes the entries of `page`; they go out at the end of the turn.
    ///
    /// One ballot never proposes two entries for an instance: so an acceptance of (instance,
    /// ballot) stands for one entry, and so does the name of a decision.
    pub fn propose(&mut self, now: Time, page: Page) {
        let run = page.run();
        assert!(!self.in_flight.overlaps(run), "{run} is proposed once in a ballot");
        self.fresh.push(run);
        self.unsent_bytes += page.entries.bytes();
        let (accepted, ticket) = (Tally::default(), Ticket::default());
        let flight = InFlight { accepted, since: now, retries: 0, ticket };
        self.in_flight.insert(page, flight);
    }

    /// Counts what `acceptor` accepted in this ballot; returns what that chooses, in the order of
    /// the message's runs. A vote in another ballot is not a vote for what this one proposed.
    pub fn on_accepted(
        &mut self,
        now: Time,
        acceptor: u32,
        accepted: &Accepted,
        settings: &Settings,
        fx: &mut Effects,
    ) -> Few<Page> {
        let mut chosen = Few::new();
        if accepted.ballot != self.ballot {
            fx.ignore(Ignored::StaleBallot);
            return chosen;
        }
        for run in disjoint(&accepted.runs).as_ref() {
            // Iterates over what is in flight, not over the run: a forged run may be endless.
            let mut won = Few::new();
            self.in_flight.change(*run, |run, _, flight| {
                flight.accepted.vote(acceptor);
                if flight.accepted.is_won(self.quorum) {
                    won.push(run);
                    fx.flights.push(Flight { instances: run.len(), time: now.since(flight.since) });
                }
            });
            for run in won {
                self.take(Some(now), run, &mut chosen);
            }
        }
        if !chosen.is_empty() {
            self.find_lost(settings);
        }
        chosen
    }

    /// Takes `run` out of flight because it was decided by other means. Returns what was proposed.
    pub fn forget(&mut self, run: Run<Instance>) -> Few<Page> {
        let mut forgotten = Few::new();
        if self.in_flight.overlaps(run) {
            self.take(None, run, &mut forgotten);
        }
        forgotten
    }

    /// Takes `run` out of flight. If it was answered, a quorum did: a slow minority keeps nothing
    /// in the network.
    fn take(&mut self, answered: Option<Time>, run: Run<Instance>, taken: &mut Few<Page>) {
        let mut last = Ticket::default();
        let mut tickets = Few::new();
        self.in_flight.take(run, |page, flight| {
            if flight.ticket != last {
                last = flight.ticket;
                tickets.push(last);
            }
            taken.push(page);
        });
        for ticket in tickets {
            // Part of a datagram may be accepted, and the rest not: it had been sent before.
            let Some(datagram) = self.flow.what(ticket) else { continue };
            // Mostly there is no rest.
            let has_rest = self.in_flight.overlaps(datagram)
                && self.in_flight.spans(datagram).any(|(_, flight)| flight.ticket == ticket);
            if has_rest {
                continue;
            }
            match answered {
                Some(now) => self.flow.answer(now, ticket),
                None => self.flow.forget(ticket),
            }
        }
    }

    /// Queues what was overtaken, to be sent again.
    fn find_lost(&mut self, settings: &Settings) {
        let mut lost = Vec::new();
        self.flow.take_lost(settings, &mut lost);
        self.send_again(lost);
    }

    fn send_again(&mut self, lost: Vec<Run<Instance>>) {
        if self.sends_again {
            for run in lost {
                self.unsent_bytes +=
                    self.in_flight.pages(run).map(|(page, _)| page.entries.bytes()).sum::<usize>();
                self.again.push(run);
            }
        }
    }

    /// How many bytes of entries wait for room, now that some have left.
    fn count_unsent(&mut self) {
        let unsent = self.again.iter().chain(&self.fresh).chain(&self.late);
        let unsent = unsent.flat_map(|run| self.in_flight.pages(*run));
        self.unsent_bytes = unsent.map(|(page, _)| page.entries.bytes()).sum();
    }

    /// When the next answer is due.
    pub fn next_deadline(&self, settings: &Settings) -> Option<Time> {
        self.flow.deadline(settings)
    }

    /// Treats everything in flight as overdue.
    pub fn expedite(&mut self) {
        let lost = self.flow.take_all();
        self.send_again(lost);
    }

    /// Queues what was not answered in time, to be sent again.
    pub fn on_deadline(&mut self, now: Time, settings: &Settings) {
        let mut lost = Vec::new();
        self.flow.take_due(now, settings, &mut lost);
        self.send_again(lost);
        self.late.extend(self.flow.take_later(now));
    }

    /// Sends what there is room for, retransmissions first. `names` ride on the first Accept that
    /// has room for them.
    pub fn send(&mut self, now: Time, names: &mut Names, settings: &Settings, fx: &mut Effects) {
        if self.again.is_empty() && self.fresh.is_empty() && self.late.is_empty() {
            return;
        }
        self.unsent_bytes = 0;
        let again = std::mem::take(&mut self.again);
        self.again = self.send_runs(now, again, names, settings, fx);
        if self.again.is_empty() {
            let fresh = std::mem::take(&mut self.fresh);
            self.fresh = self.send_runs(now, fresh, names, settings, fx);
        }
        if self.again.is_empty() && self.fresh.is_empty() {
            let late = std::mem::take(&mut self.late);
            self.late = self.send_runs(now, late, names, settings, fx);
        }
        self.count_unsent();
    }

    /// Sends what there is room for of `runs`, and returns the rest, in the same memory.
    fn send_runs(
        &mut self,
        now: Time,
        mut runs: Vec<Run<Instance>>,
        names: &mut Names,
        settings: &Settings,
        fx: &mut Effects,
    ) -> Vec<Run<Instance>> {
        if runs.is_empty() {
            return runs;
        }
        let pieces = runs.len();
        runs = merge(runs);
        self.flow.wake(now);
        if let Some(page) = self.lone_page(&runs, settings) {
            runs.clear();
            self.send_page(now, page, false, names, settings, fx);
            return runs;
        }
        let (mut leaving, mut bytes, mut rest) = (Few::new(), 0, None);
        let held = runs.iter().flat_map(|run| self.in_flight.pages(*run)).map(|(page, _)| page);
        for page in pages(held, settings.entries_bytes()) {
            let more = page.entries.bytes() + OVERHEAD_BYTES;
            if !self.flow.has_room(more, bytes) {
                rest = Some(page.from);
                break;
            }
            bytes += more;
            leaving.push(page);
        }
        let is_joined = runs.len() < pieces;
        for page in leaving {
            self.send_page(now, page, is_joined, names, settings, fx);
        }
        let Some(rest) = rest else {
            runs.clear();
            return runs;
        };
        self.flow.note_full();
        runs.retain(|run| run.until > rest);
        runs.iter_mut().for_each(|run| run.from = run.from.max(rest));
        runs
    }

    /// The next datagram if it is one page that arrived together and leaves unchanged: the usual
    /// case when values come alone.
    fn lone_page(&self, runs: &[Run<Instance>], settings: &Settings) -> Option<Page> {
        let [run] = runs else { return None };
        let Held::Entries(page) = self.in_flight.at(*run) else { return None };
        let bytes = page.entries.bytes();
        let is_all = page.run() == *run && bytes <= settings.entries_bytes();
        (is_all && self.flow.has_room(bytes + OVERHEAD_BYTES, 0)).then_some(page)
    }

    fn send_page(
        &mut self,
        now: Time,
        page: Page,
        is_joined: bool,
        names: &mut Names,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let (run, ticket) = (page.run(), self.flow.next_ticket());
        let mut retries = 0;
        self.in_flight.change(run, |_, _, flight| {
            if flight.ticket != Ticket::default() {
                flight.retries = flight.retries.saturating_add(1);
            }
            flight.ticket = ticket;
            retries = retries.max(flight.retries);
        });
        self.flow.send(now, run, page.entries.bytes() + OVERHEAD_BYTES, retries);
        if is_joined {
            // The entries of one datagram are voted on as a whole.
            self.in_flight.join(run, settings.entries_bytes());
        }
        let Page { from, entries } = page;
        let rest = settings.page_bytes().saturating_sub(entries.bytes() + ENTRY_BYTES_MAX);
        let (watermark, mut chosen) = (names.until, Few::new());
        if names.runs.len() * RUN_BYTES_MAX <= rest {
            (chosen, names.is_due) = (std::mem::take(&mut names.runs), false);
        }
        let (ballot, full) = (self.ballot, self.is_full);
        let accept = Accept { ballot, watermark, chosen, full, from, entries };
        fx.sent_again += u64::from(retries > 0);
        fx.send(Role::Acceptor, Message::Accept(accept));
    }

    /// Checks that everything in flight is in the network, or about to be. For the simulator.
    pub fn check(&self) -> Result<(), String> {
        self.flow.check()?;
        if !self.sends_again {
            return Ok(());
        }
        let everything = Run::new(Instance::FIRST, Instance(u64::MAX));
        let mut unsent: Vec<_> =
            self.again.iter().chain(&self.fresh).chain(&self.late).copied().collect();
        unsent.extend(self.flow.later());
        let unsent = merge(unsent);
        for (span, flight) in self.in_flight.spans(everything) {
            let is_unsent =
                unsent.iter().any(|run| run.from <= span.from && span.until <= run.until);
            if !is_unsent && self.flow.what(flight.ticket).is_none() {
                return Err(format!("{span} is in flight, and neither out nor about to leave"));
            }
        }
        Ok(())
    }

    /// Since when the first instance in flight waits for a quorum. Answers to others prove nothing
    /// for it: its datagram may be too large for the path.
    pub fn stalled_since(&self) -> Option<Time> {
        let everything = Run::new(Instance::FIRST, Instance(u64::MAX));
        self.in_flight.pages(everything).next().map(|(_, flight)| flight.since)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::entries::steps;
    use crate::protocol::types::Entry;

    const BALLOT: Ballot = Ballot { round: 1, proposer: 1, boot: 1 };

    fn accepted(from: u64, until: u64) -> Accepted {
        let runs = [Run::new(Instance(from), Instance(until))].into();
        Accepted { ballot: BALLOT, runs }
    }

    fn noop(instance: u64) -> Page {
        Page { from: Instance(instance), entries: vec![Entry::Noop].into() }
    }

    fn in_flight(count: u64) -> Phase2 {
        let mut phase2 = Phase2::new(BALLOT, Quorum::majority_of(3), true, &Settings::default());
        (1..=count).for_each(|instance| phase2.propose(Time::ZERO, noop(instance)));
        phase2
    }

    fn hear(phase2: &mut Phase2, now: Time, acceptor: u32, accepted: &Accepted) -> Vec<Page> {
        let mut fx = Effects::new();
        phase2.on_accepted(now, acceptor, accepted, &Settings::default(), &mut fx).into_vec()
    }

    /// "Paxos Made Simple", 2.2: chosen when a majority of the acceptors accepted it.
    #[test]
    fn an_entry_is_chosen_by_a_majority_of_different_acceptors() {
        let mut phase2 = in_flight(3);
        assert_eq!(hear(&mut phase2, Time::ZERO, 1, &accepted(1, 3)), []);
        assert_eq!(hear(&mut phase2, Time::ZERO, 1, &accepted(1, 3)), []);
        let stale = Accepted { ballot: Ballot { boot: 2, ..BALLOT }, ..accepted(1, 3) };
        assert_eq!(hear(&mut phase2, Time::ZERO, 3, &stale), []);
        assert_eq!(hear(&mut phase2, Time::ZERO, 3, &accepted(2, u64::MAX)), [noop(2)]);
        assert_eq!(phase2.len(), 2);
    }

    /// The work for a forged datagram is bounded by what it carries, not by that times what is in
    /// flight.
    #[test]
    fn instances_that_are_named_again_cost_nothing() {
        let endless = || Run::new(Instance(1), Instance(u64::MAX));
        let singles = || (1..=1000).rev().map(|one| Run::new(Instance(one), Instance(one + 1)));
        for runs in [vec![endless(); 1000], singles().chain(singles()).collect()] {
            let mut phase2 = in_flight(1000);
            let accepted = Accepted { ballot: BALLOT, runs: runs.into() };
            let (chosen, steps) = steps::count(|| hear(&mut phase2, Time::ZERO, 1, &accepted));
            assert!(chosen.is_empty());
            assert!(steps <= 3000, "{steps} steps");
        }
    }

    #[test]
    fn only_what_is_overdue_is_sent_again() {
        let settings = Settings::default();
        let (mut phase2, mut fx) = (in_flight(2), Effects::new());
        phase2.send(Time::ZERO, &mut Names::default(), &settings, &mut fx);
        assert_eq!(fx.send.len(), 1);
        let deadline = Time::ZERO + settings.retry_accept;
        assert_eq!(phase2.next_deadline(&settings), Some(deadline));
        let look = |phase2: &mut Phase2, now, fx: &mut Effects| {
            phase2.on_deadline(now, &settings);
            phase2.send(now, &mut Names::default(), &settings, fx);
            fx.send.len()
        };
        assert_eq!(look(&mut phase2, Time::ZERO + settings.retry_accept / 2, &mut fx), 1);
        assert_eq!(look(&mut phase2, deadline, &mut fx), 2);
        assert_eq!(look(&mut phase2, deadline, &mut fx), 2, "it was sent a moment ago");
    }

    /// Where answers take half a millisecond, a lost one is not waited for long.
    #[test]
    fn the_wait_follows_the_answers() {
        let settings = Settings::default();
        let (mut phase2, mut fx) = (in_flight(2), Effects::new());
        phase2.send(Time::ZERO, &mut Names::default(), &settings, &mut fx);
        for acceptor in [1, 2] {
            hear(&mut phase2, Time(500), acceptor, &accepted(1, 3));
        }
        phase2.propose(Time(600), noop(3));
        phase2.send(Time(600), &mut Names::default(), &settings, &mut fx);
        assert_eq!(phase2.next_deadline(&settings), Some(Time(600) + Duration::from_micros(1500)));
    }
}
