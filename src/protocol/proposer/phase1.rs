//! Phase 1: which entry is safe to propose? Gathering promises, and choosing from what they report.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::BTreeMap;

use crate::protocol::message::{AcceptedPage, Prepare, Promise};
use crate::protocol::packing::merge;
use crate::protocol::parts::{Quorum, Tally};
use crate::protocol::segments::{Held, Segments};
use crate::protocol::types::{Ballot, Instance, Run};

/// One Prepare and the promises that answer it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    ballot: Ballot,
    from: Instance,
    until: Option<Instance>,
    /// The instances that each acceptor's pages cover, in order.
    told: BTreeMap<u32, Vec<Run<Instance>>>,
    complete: Tally,
    /// Acceptors report nothing below it: everything there is decided.
    trimmed: Instance,
    /// What was accepted in the highest ballot reported, and by which acceptors.
    reports: Segments<Report>,
}

/// In which ballot the acceptors have accepted an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// The highest ballot in which any of them accepted in that instance.
    pub ballot: Ballot,
    /// Which of them reported that ballot.
    pub voters: Tally,
}

/// What a promise did to the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOutcome {
    /// It does not answer this attempt, or repeats a page.
    NotAsked,
    /// The acceptor has more pages; ask for those from here on.
    NextPage(Instance),
    /// The acceptor has more pages, and sends them without being asked.
    IsFollowed,
    /// The acceptor's promise is complete.
    Complete,
}

impl Attempt {
    /// An attempt for the instances from `from` up to `until`, or to the end of the log.
    pub fn new(ballot: Ballot, from: Instance, until: Option<Instance>) -> Self {
        Attempt {
            ballot,
            from,
            until,
            told: BTreeMap::new(),
            complete: Tally::default(),
            trimmed: Instance::FIRST,
            reports: Segments::new(),
        }
    }

    /// The Prepare for all acceptors.
    pub fn prepare(&self) -> Prepare {
        Prepare { ballot: self.ballot, from: self.from, until: self.until, acceptor: None }
    }

    /// The Prepare for the pages of `acceptor` from `from` on.
    pub fn prepare_page(&self, acceptor: u32, from: Instance) -> Prepare {
        Prepare { ballot: self.ballot, from, until: self.until, acceptor: Some(acceptor) }
    }

    /// The Prepares that are still unanswered.
    pub fn unanswered(&self, quorum: Quorum) -> Vec<Prepare> {
        let mut prepares = Vec::new();
        if quorum.acceptors().any(|acceptor| !self.told.contains_key(&acceptor)) {
            prepares.push(self.prepare());
        }
        for (acceptor, told) in &self.told {
            let missing = self.first_missing(told);
            prepares.extend(missing.map(|from| self.prepare_page(*acceptor, from)));
        }
        prepares
    }

    /// The first instance and the end of what is asked about.
    pub fn bounds(&self) -> (Instance, Option<Instance>) {
        (self.from, self.until)
    }

    /// The first instance that these pages of one acceptor do not cover.
    fn first_missing(&self, told: &[Run<Instance>]) -> Option<Instance> {
        let first = told.first().filter(|run| run.from == self.from);
        let missing = first.map_or(self.from, |run| run.until);
        (missing < self.end()).then_some(missing)
    }

    fn end(&self) -> Instance {
        self.until.unwrap_or(Instance(u64::MAX))
    }

    /// Takes in a page of `acceptor`'s promise.
    ///
    /// It counts only for this attempt's ballot and instances: an older promise does not cover what
    /// was accepted since. Pages may come in any order. An acceptor that has promised the ballot
    /// accepts nothing below it any more, and nothing in it before the attempt is won; so each page
    /// stays true for its instances from the moment it was sent, and all pages together are one
    /// promise.
    pub fn on_promise(&mut self, acceptor: u32, promise: Promise) -> PageOutcome {
        let until = promise.next.unwrap_or(self.end());
        let is_asked = promise.ballot == self.ballot
            && promise.until == self.until
            && (self.from <= promise.from && promise.from < until && until <= self.end());
        let page = Run::new(promise.from, until);
        if !is_asked {
            return PageOutcome::NotAsked;
        }
        let told = self.told.entry(acceptor).or_default();
        if told.iter().any(|run| run.from <= page.from && page.until <= run.until) {
            return PageOutcome::NotAsked;
        }
        told.push(page);
        *told = merge(std::mem::take(told));
        // The highest counts: what one acceptor leaves out is decided, and the others may not have
        // voted there.
        self.trimmed = self.trimmed.max(promise.trimmed);
        for accepted in promise.accepted {
            self.report(acceptor, accepted);
        }
        match self.first_missing(&self.told[&acceptor]) {
            Some(_) if promise.is_followed => PageOutcome::IsFollowed,
            Some(next) => PageOutcome::NextPage(next),
            None => {
                self.complete.vote(acceptor);
                PageOutcome::Complete
            }
        }
    }

    /// Keeps the entry of the highest ballot, and who reported it.
    ///
    /// Why that entry is safe to propose ("Paxos Made Simple", 2.2, P2c):
    ///  1. A quorum has promised this attempt's ballot b, so nothing more can be chosen below b
    ///     without one of them, and none of them accepts below b any more.
    ///  2. Let b' be the highest ballot that any of them reports for the instance. Nothing was or
    ///     will be chosen between b' and b, because no member of the quorum accepted there.
    ///  3. By induction, whatever was chosen at or below b' is what b' proposed: the report.
    ///  4. Without any report nothing was chosen below b, and any entry is safe.
    ///
    /// An acceptor leaves out instances that it has trimmed, or that a new leader need not read
    /// (`checkpoint::History`), and step 4 would be wrong there. So nothing is proposed below
    /// [`Attempt::trimmed`]. At or above it the steps hold: no member of the quorum leaves any out.
    ///
    /// Reports of acceptors beyond the quorum, and of incomplete promises, only raise b'.
    fn report(&mut self, acceptor: u32, accepted: AcceptedPage) {
        let AcceptedPage { ballot, page } = accepted;
        let mut voters = Tally::default();
        voters.vote(acceptor);
        let report = Report { ballot, voters };
        let mut rest = Some(page);
        while let Some(whole) = rest {
            // Up to the end of one segment, or of the gap between two.
            let until = match self.reports.at(whole.run()) {
                Held::Entries(known) => known.run().until,
                Held::Nothing(until) => until,
            };
            let count = until.0 - whole.from.0;
            let (page, behind) = whole.split(count as usize);
            let run = page.run();
            let known = self.reports.get(run.from).map(|(_, known)| known.ballot);
            if known == Some(ballot) {
                self.reports.change(run, |_, _, report| report.voters.vote(acceptor));
            } else if known < Some(ballot) {
                self.reports.insert(page, report);
            }
            rest = behind;
        }
    }

    /// Whether a quorum's promises are complete.
    pub fn is_won(&self, quorum: Quorum) -> bool {
        self.complete.is_won(quorum)
    }

    /// Whose promises are complete.
    pub fn promised(&self) -> Tally {
        self.complete
    }

    /// Everything below it is decided, and was left out by an acceptor.
    pub fn trimmed(&self) -> Instance {
        self.trimmed
    }

    /// The reports, once the attempt is won.
    pub fn into_reports(self) -> Segments<Report> {
        self.reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::segments::Page;
    use crate::protocol::types::{AssignedBy, Entry, Number, Origin, Session, Value};

    const BALLOT: Ballot = Ballot { round: 9, proposer: 1, boot: 1 };

    fn entry(text: &str) -> Entry {
        let session = Session { client: 1, boot: 1 };
        let origin = Origin::new(session, Number(1), AssignedBy::Client);
        Entry::Value { origin, value: Value::new(text.as_bytes()) }
    }

    fn promise(ballot: Ballot, accepted: &[(u64, u64, &str)], next: Option<u64>) -> Promise {
        let accepted = accepted
            .iter()
            .map(|(instance, round, text)| AcceptedPage {
                ballot: Ballot { round: *round, ..BALLOT },
                page: Page { from: Instance(*instance), entries: vec![entry(text)].into() },
            })
            .collect();
        let (from, trimmed, next) = (Instance(1), Instance(1), next.map(Instance));
        Promise { ballot, from, until: None, trimmed, accepted, next, is_followed: false }
    }

    fn attempt() -> Attempt {
        Attempt::new(BALLOT, Instance(1), None)
    }

    /// "Paxos Made Simple", 2.2, P2c: the value of the highest-numbered proposal among those the
    /// quorum has accepted.
    #[test]
    fn the_entry_of_the_highest_ballot_is_the_safe_one() {
        let mut attempt = attempt();
        attempt.on_promise(1, promise(BALLOT, &[(1, 3, "old"), (2, 4, "x")], None));
        attempt.on_promise(2, promise(BALLOT, &[(1, 5, "new"), (2, 4, "x")], None));
        attempt.on_promise(3, promise(BALLOT, &[(1, 2, "older")], None));
        let reports = attempt.into_reports();
        let chosen = reports.get(Instance(1)).map(|(entry, _)| entry.to_entry());
        assert_eq!(chosen, Some(entry("new")));
        // Two acceptors in one ballot are a quorum: the entry is chosen already.
        let quorum = Quorum::majority_of(3);
        assert!(reports.get(Instance(2)).is_some_and(|(_, report)| report.voters.is_won(quorum)));
        assert!(reports.get(Instance(1)).is_some_and(|(_, report)| !report.voters.is_won(quorum)));
    }

    #[test]
    fn a_promise_counts_once_per_acceptor_and_only_for_the_current_ballot() {
        let quorum = Quorum::majority_of(3);
        let mut attempt = attempt();
        assert_eq!(attempt.on_promise(1, promise(BALLOT, &[], None)), PageOutcome::Complete);
        assert_eq!(attempt.on_promise(1, promise(BALLOT, &[], None)), PageOutcome::NotAsked);
        let stale = Ballot { round: 8, ..BALLOT };
        assert_eq!(attempt.on_promise(2, promise(stale, &[], None)), PageOutcome::NotAsked);
        assert!(!attempt.is_won(quorum));
        attempt.on_promise(2, promise(BALLOT, &[], None));
        assert!(attempt.is_won(quorum));
    }

    #[test]
    fn a_promise_counts_only_when_all_its_pages_are_there_in_any_order() {
        let mut attempt = attempt();
        let page = |from: u64, next: Option<u64>, is_followed| Promise {
            from: Instance(from),
            is_followed,
            ..promise(BALLOT, &[(from, 1, "a")], next)
        };
        assert_eq!(
            attempt.on_promise(1, page(2, Some(3), false)),
            PageOutcome::NextPage(Instance(1))
        );
        assert_eq!(attempt.on_promise(1, page(2, Some(3), false)), PageOutcome::NotAsked);
        assert_eq!(attempt.on_promise(1, page(4, None, false)), PageOutcome::NextPage(Instance(1)));
        assert_eq!(attempt.on_promise(1, page(1, Some(2), true)), PageOutcome::IsFollowed);
        let asked = attempt.unanswered(Quorum::majority_of(1));
        assert_eq!(asked, [attempt.prepare_page(1, Instance(3))]);
        assert_eq!(attempt.promised().count(), 0);
        assert_eq!(attempt.on_promise(1, page(3, Some(4), true)), PageOutcome::Complete);
        assert_eq!(attempt.on_promise(1, page(3, Some(4), true)), PageOutcome::NotAsked);
        assert_eq!(attempt.promised().count(), 1);
        assert_eq!(attempt.into_reports().len(), 4);
    }

    /// A leader that asks for each instance alone has several attempts in one ballot. A promise for
    /// another range says nothing of the end of this one.
    #[test]
    fn a_promise_for_other_instances_does_not_count() {
        let (from, until) = (Instance(3), Some(Instance(6)));
        let mut attempt = Attempt::new(BALLOT, from, until);
        let asked = Promise { from, until, ..promise(BALLOT, &[], None) };
        let others = [
            Promise { until: Some(Instance(5)), ..asked.clone() },
            Promise { until: None, ..asked.clone() },
            Promise { from: Instance(2), ..asked.clone() },
            Promise { from: Instance(6), ..asked.clone() },
            Promise { next: Some(Instance(7)), ..asked.clone() },
        ];
        for other in others {
            assert_eq!(attempt.on_promise(1, other.clone()), PageOutcome::NotAsked, "{other:?}");
        }
        assert_eq!(attempt.on_promise(1, asked), PageOutcome::Complete);
    }

    /// An acceptor may trim between two of its pages, which come in any order.
    #[test]
    fn every_page_may_say_what_is_trimmed() {
        let mut attempt = attempt();
        let page = |from: u64, next: Option<u64>, trimmed: u64| Promise {
            from: Instance(from),
            trimmed: Instance(trimmed),
            ..promise(BALLOT, &[(from.max(trimmed), 1, "a")], next)
        };
        attempt.on_promise(1, page(9, None, 1));
        assert_eq!(attempt.on_promise(1, page(1, Some(9), 7)), PageOutcome::Complete);
        assert_eq!(attempt.trimmed(), Instance(7));
    }

    /// Acceptors cut their pages where they like: every instance has the report of the highest
    /// ballot, and all that reported it.
    #[test]
    fn pages_that_overlap_are_merged_instance_by_instance() {
        let mut attempt = attempt();
        let pages = |acceptor, pages: &[(u64, u64, u64)]| {
            let accepted = pages.iter().map(|(from, until, round)| AcceptedPage {
                ballot: Ballot { round: *round, ..BALLOT },
                page: Page {
                    from: Instance(*from),
                    entries: (*from..*until).map(|_| entry(&round.to_string())).collect(),
                },
            });
            (acceptor, Promise { accepted: accepted.collect(), ..promise(BALLOT, &[], None) })
        };
        let promises = [
            pages(1, &[(1, 6, 3), (8, 12, 5)]),
            pages(2, &[(3, 10, 4), (10, 11, 5)]),
            pages(3, &[(2, 4, 3), (5, 7, 4)]),
        ];
        for (acceptor, promise) in promises {
            assert_eq!(attempt.on_promise(acceptor, promise), PageOutcome::Complete);
        }
        let found: Vec<_> = attempt
            .into_reports()
            .iter()
            .map(|(instance, found, report)| {
                assert_eq!(found.to_entry(), entry(&report.ballot.round.to_string()));
                let voters = (1..=3).filter(|acceptor| report.voters.includes(*acceptor));
                (instance.0, report.ballot.round, voters.collect::<Vec<u32>>())
            })
            .collect();
        let expected = [
            (1, 3, vec![1]),
            (2, 3, vec![1, 3]),
            (3, 4, vec![2]),
            (4, 4, vec![2]),
            (5, 4, vec![2, 3]),
            (6, 4, vec![2, 3]),
            (7, 4, vec![2]),
            (8, 5, vec![1]),
            (9, 5, vec![1]),
            (10, 5, vec![1, 2]),
            (11, 5, vec![1]),
        ];
        assert_eq!(found, expected);
    }
}
