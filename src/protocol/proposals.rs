//! What do learners and standby proposers keep of the Accepts that they hear, until a decision
//! names one? Entries that were proposed and are not known to be decided.
//!
//! A value crosses a link once, in its Accept. A decision is sent as a name: a ballot and
//! instances. Why the name is enough, even if datagrams are lost, repeated or overtaken:
//!
//!  1. A ballot belongs to one incarnation of one proposer (`Ballot`), and it proposes one entry an
//!     instance, however often it sends it (`proposer::phase2`, `Phase2::propose`). So a ballot and
//!     an instance name one entry, whichever datagram brought it.
//!  2. That proposer alone names entries by its ballot, and only instances that it knows to be
//!     decided. If it had proposed something else there than what is decided, it has stepped down
//!     when it learned so and names nothing any more (`Proposer::decide`). So when it names an
//!     instance, either it has proposed there what is decided, or it has not proposed there at all,
//!     and does not any more, for a leader proposes nothing where it knows the decision.
//!  3. Hence the entry that this very ballot proposed in a named instance is what is decided there.
//!     An entry of another ballot may be another one, and does not count: neither that of a lower
//!     round nor that of another incarnation of the same proposer.
//!
//! A process that hears a name and does not hold the entry knows that it misses it, and fetches it.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use super::decided_log::DecidedLog;
use super::message::Chosen;
use super::segments::{Page, Segments};
use super::settings::Settings;
use super::types::{Ballot, Few, Instance, Run};

/// The proposed entries that one process holds: in each instance at most one, that of the highest
/// ballot heard. Losing any of it is harmless; it only saves fetching.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposals {
    held: Segments<Ballot>,
    /// The highest ballot heard, and what it named last: a name may overtake its entry.
    named: Chosen,
}

impl Default for Proposals {
    fn default() -> Self {
        let named = Chosen { ballot: Ballot::ZERO, until: Instance::FIRST, runs: Few::new() };
        Proposals { held: Segments::new(), named }
    }
}

impl Proposals {
    /// How many instances have a proposed entry.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Keeps the entries of `page`, which were proposed in `ballot`, as far as `log` lacks them.
    pub fn hear(&mut self, ballot: Ballot, page: Page, log: &DecidedLog, settings: &Settings) {
        // The very last number fits in no run.
        let count = page.run().len() as usize;
        let (page, _) = page.split(count);
        if page.run().is_empty() {
            return;
        }
        if page.from >= log.end() && !self.held.overlaps(page.run()) {
            // Mostly it lies behind everything.
            self.held.insert(page, ballot);
        } else {
            for missing in log.missing(page.from, page.run().until, usize::MAX) {
                self.hold(ballot, page.part(missing));
            }
        }
        self.limit(ballot, settings);
    }

    /// Keeps `page`, except for instances that have an entry of the same or a higher ballot.
    fn hold(&mut self, ballot: Ballot, page: Page) {
        let mut from = page.from;
        let higher: Vec<Run<Instance>> = self
            .held
            .spans(page.run())
            .filter(|(_, held)| **held >= ballot)
            .map(|(span, _)| span)
            .chain([Run::new(page.run().until, page.run().until)])
            .collect();
        for span in higher {
            if from < span.from {
                self.held.insert(page.part(Run::new(from, span.from)), ballot);
            }
            from = span.until;
        }
    }

    /// Drops entries for which there is no room: first those of lower ballots, which are unlikely
    /// to be decided any more, then those of the highest instances. A dropped entry is fetched if
    /// it is decided.
    fn limit(&mut self, ballot: Ballot, settings: &Settings) {
        let (bytes_max, len_max) = (settings.window_bytes * 2, settings.leader_window * 2);
        let is_full = |held: &Segments<Ballot>| held.bytes() > bytes_max || held.len() > len_max;
        if !is_full(&self.held) {
            return;
        }
        let highest = self.named.ballot.max(ballot);
        let everything = Run::new(Instance::FIRST, Instance(u64::MAX));
        let lower = self.held.spans(everything).filter(|(_, held)| **held < highest);
        let lower: Vec<Run<Instance>> = lower.map(|(span, _)| span).collect();
        lower.into_iter().for_each(|span| self.forget(span));
        while is_full(&self.held) {
            let Some(last) = self.held.last_run() else { return };
            self.forget(last);
        }
    }

    /// Drops the instances of `run`, which are decided or given up.
    pub fn forget(&mut self, run: Run<Instance>) {
        if self.held.overlaps(run) {
            self.held.take(run, |_, _| {});
        }
    }

    /// The owner of its ballot has sent `chosen`, whose runs may overlap: returns the entries that
    /// this proves decided and `log` lacks.
    pub fn choose(&mut self, mut chosen: Chosen, log: &DecidedLog) -> Vec<Page> {
        if chosen.ballot == self.named.ballot {
            chosen.until = chosen.until.max(self.named.until);
            let known = self.named.runs.iter().filter(|run| run.until > chosen.until);
            let known: Few<Run<Instance>> = known.copied().collect();
            if chosen.runs.is_empty() {
                chosen.runs = known;
            }
        }
        let mut decided = Vec::new();
        self.take(chosen.ballot, Run::new(log.watermark(), chosen.until), &mut decided);
        chosen.runs.iter().for_each(|run| self.take(chosen.ballot, *run, &mut decided));
        if chosen.ballot >= self.named.ballot {
            self.named = chosen;
        }
        decided
    }

    /// Takes what `ballot` has proposed in `run`.
    fn take(&mut self, ballot: Ballot, run: Run<Instance>, taken: &mut Vec<Page>) {
        let spans = self.held.spans(run).filter(|(_, held)| is_named(ballot, **held));
        let spans: Vec<Run<Instance>> = spans.map(|(span, _)| span).collect();
        for span in spans {
            self.held.take(span, |page, _| taken.push(page));
        }
    }
}

/// Whether a decision that `ballot` names is an entry that was proposed in `proposed`.
///
/// Step 3 of the argument: a ballot proposes one entry an instance, so that names the value
/// exactly, and no other ballot does.
fn is_named(ballot: Ballot, proposed: Ballot) -> bool {
    ballot == proposed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::{AssignedBy, Counted, Entry, Number, Origin, Session, Value};

    const LOW: Ballot = Ballot { round: 1, proposer: 1, boot: 7 };
    const AGAIN: Ballot = Ballot { boot: 8, ..LOW };
    const HIGH: Ballot = Ballot { round: 2, proposer: 2, boot: 1 };

    /// Values that name the ballot they are proposed in.
    fn page(ballot: Ballot, from: u64, count: u64) -> Page {
        let entry = |instance: u64| {
            let session = Session { client: ballot.proposer, boot: ballot.boot };
            let assigned_by = AssignedBy::Client;
            let origin = Origin::new(session, Number(instance), assigned_by);
            Entry::Value { origin, value: Value::new(b"v") }
        };
        Page { from: Instance(from), entries: (from..from + count).map(entry).collect() }
    }

    struct Follower {
        proposals: Proposals,
        log: DecidedLog,
        settings: Settings,
    }

    impl Follower {
        fn new() -> Self {
            let (proposals, log) = (Proposals::default(), DecidedLog::new());
            Follower { proposals, log, settings: Settings::default() }
        }

        fn hear(&mut self, ballot: Ballot, from: u64, count: u64) {
            self.proposals.hear(ballot, page(ballot, from, count), &self.log, &self.settings);
        }

        /// What that decides, as ballots with instances.
        fn choose(&mut self, ballot: Ballot, until: u64, runs: &[(u64, u64)]) -> Vec<(u64, u64)> {
            let run = |run: &(u64, u64)| Run::new(Instance(run.0), Instance(run.1));
            let runs = runs.iter().map(run).collect();
            let chosen = Chosen { ballot, until: Instance(until), runs };
            let mut told = Vec::new();
            for decided in self.proposals.choose(chosen, &self.log) {
                for (instance, entry) in decided.from.numbering(&decided.entries) {
                    let boot = entry.origin().map_or(0, |origin| origin.session.boot);
                    told.push((instance.0, boot));
                }
                self.log.decide(decided, |_| {}).expect("it is new");
            }
            self.log.deliver(|_, _| {});
            told
        }
    }

    #[test]
    fn a_name_decides_what_its_own_ballot_has_proposed() {
        let mut follower = Follower::new();
        follower.hear(LOW, 1, 4);
        follower.hear(HIGH, 3, 1);
        assert_eq!(follower.choose(LOW, 2, &[]), [(1, 7)]);
        assert_eq!(follower.choose(HIGH, 3, &[(3, 9)]), [(3, 1)], "2 is held of a lower ballot");
        assert_eq!(follower.log.watermark(), Instance(2), "and is fetched");
        assert_eq!(follower.choose(LOW, 2, &[(2, 5)]), [(2, 7), (4, 7)]);
        assert!(follower.proposals.is_empty());
    }

    #[test]
    fn another_life_of_the_same_proposer_is_another_ballot() {
        let mut follower = Follower::new();
        follower.hear(LOW, 1, 1);
        assert_eq!(follower.choose(AGAIN, 2, &[]), []);
        follower.hear(AGAIN, 1, 1);
        assert_eq!(follower.choose(LOW, 2, &[]), [], "the higher ballot's entry is held");
        assert_eq!(follower.choose(AGAIN, 2, &[]), [(1, 8)]);
    }

    #[test]
    fn a_name_may_overtake_its_entry() {
        let mut follower = Follower::new();
        assert_eq!(follower.choose(LOW, 2, &[(4, 6)]), []);
        follower.hear(LOW, 1, 5);
        // Any later word of the same ballot will do.
        assert_eq!(follower.choose(LOW, 1, &[]), [(1, 7), (4, 7), (5, 7)]);
    }

    #[test]
    fn what_is_decided_is_not_held_and_the_rest_of_its_datagram_is() {
        let mut follower = Follower::new();
        follower.hear(LOW, 2, 2);
        follower.choose(LOW, 1, &[(2, 4)]);
        follower.hear(LOW, 1, 5);
        follower.hear(LOW, 1, 5);
        assert_eq!(follower.proposals.len(), 3);
        assert_eq!(follower.choose(LOW, 6, &[]), [(1, 7), (4, 7), (5, 7)]);
    }

    /// Only entries that find no room are dropped: lower ballots before higher instances.
    #[test]
    fn what_is_held_is_bounded() {
        let mut follower = Follower::new();
        follower.settings.window_bytes = page(LOW, 1, 10).entries.bytes();
        follower.settings.leader_window = 100;
        follower.hear(LOW, 31, 5);
        follower.hear(HIGH, 1, 10);
        follower.hear(HIGH, 21, 10);
        assert_eq!(follower.proposals.len(), 20);
        follower.hear(HIGH, 11, 10);
        assert_eq!(follower.choose(HIGH, 41, &[]).len(), 20);
        assert_eq!(follower.log.watermark(), Instance(21), "those behind are dropped");
        follower.settings.leader_window = 1;
        follower.hear(HIGH, 21, 1);
        follower.hear(HIGH, 22, 5);
        assert_eq!(follower.proposals.len(), 1);
    }

    /// A forged Accept may reach the highest instance number; nothing breaks there.
    #[test]
    fn proposals_at_the_end_of_the_numbers_are_survived() {
        let mut follower = Follower::new();
        for from in [u64::MAX - 1, u64::MAX, u64::MAX - 2] {
            let page = Page { from: Instance(from), entries: vec![Entry::Noop; 3].into() };
            follower.proposals.hear(LOW, page, &follower.log, &follower.settings);
        }
        assert_eq!(follower.choose(LOW, u64::MAX, &[(1, u64::MAX)]).len(), 2);
    }
}
