//! Phase 1: gathering promises, and choosing what may be proposed.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::BTreeMap;

use crate::protocol::message::{AcceptedEntry, Prepare, Promise};
use crate::protocol::parts::{Quorum, Tally};
use crate::protocol::types::{Ballot, Entry, Instance};

/// One Prepare and the promises that answer it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    ballot: Ballot,
    from: Instance,
    until: Option<Instance>,
    /// Where the next page of each acceptor begins; none once its promise is complete.
    pages: BTreeMap<u32, Option<Instance>>,
    complete: Tally,
    /// What the acceptors have trimmed: everything below is decided.
    trimmed: Instance,
    reports: BTreeMap<Instance, Report>,
}

/// What the acceptors have accepted in one instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// The highest ballot in which any of them accepted.
    pub ballot: Ballot,
    /// What they accepted in it.
    pub entry: Entry,
    /// Which of them reported that ballot.
    pub voters: Tally,
}

/// What a promise did to the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOutcome {
    /// It is no answer to what was asked.
    NotAsked,
    /// The acceptor has more to tell; ask for the page that begins here.
    NextPage(Instance),
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
            pages: BTreeMap::new(),
            complete: Tally::default(),
            trimmed: Instance::FIRST,
            reports: BTreeMap::new(),
        }
    }

    /// The Prepare for all acceptors.
    pub fn prepare(&self) -> Prepare {
        Prepare { ballot: self.ballot, from: self.from, until: self.until, acceptor: None }
    }

    /// The Prepare for the page of `acceptor` that begins at `from`.
    pub fn prepare_page(&self, acceptor: u32, from: Instance) -> Prepare {
        Prepare { ballot: self.ballot, from, until: self.until, acceptor: Some(acceptor) }
    }

    /// The Prepares that are still unanswered.
    pub fn unanswered(&self, quorum: Quorum) -> Vec<Prepare> {
        let mut prepares = Vec::new();
        if quorum.acceptors().any(|acceptor| !self.pages.contains_key(&acceptor)) {
            prepares.push(self.prepare());
        }
        for (acceptor, page) in &self.pages {
            prepares.extend(page.map(|from| self.prepare_page(*acceptor, from)));
        }
        prepares
    }

    /// The first instance and the end of what is asked about.
    pub fn bounds(&self) -> (Instance, Option<Instance>) {
        (self.from, self.until)
    }

    /// Takes in a page of `acceptor`'s promise.
    ///
    /// It counts only for this attempt's ballot and instances, and only the page that was asked
    /// for: an older promise does not cover what was accepted since.
    pub fn on_promise(&mut self, acceptor: u32, promise: Promise) -> PageOutcome {
        let expected = self.pages.get(&acceptor).copied().unwrap_or(Some(self.from));
        let is_asked = promise.ballot == self.ballot
            && promise.until == self.until
            && expected == Some(promise.from)
            && promise.next.is_none_or(|next| {
                next > promise.from && self.until.is_none_or(|until| next < until)
            });
        if !is_asked {
            return PageOutcome::NotAsked;
        }
        // Of several the highest counts: what one acceptor has trimmed is decided, and the others
        // may not have voted there.
        self.trimmed = self.trimmed.max(promise.trimmed);
        for accepted in promise.accepted {
            self.report(acceptor, accepted);
        }
        self.pages.insert(acceptor, promise.next);
        match promise.next {
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
    /// An acceptor that has trimmed an instance reports nothing there, and step 4 would be wrong.
    /// So nothing is proposed below [`Attempt::trimmed`]. At or above it the steps hold: no member
    /// of the quorum has trimmed there.
    ///
    /// Reports of acceptors beyond the quorum, and of incomplete promises, only raise b'.
    fn report(&mut self, acceptor: u32, accepted: AcceptedEntry) {
        let AcceptedEntry { instance, ballot, entry } = accepted;
        match self.reports.get_mut(&instance) {
            Some(report) if report.ballot > ballot => {}
            Some(report) if report.ballot == ballot => report.voters.vote(acceptor),
            _ => {
                let mut voters = Tally::default();
                voters.vote(acceptor);
                self.reports.insert(instance, Report { ballot, entry, voters });
            }
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

    /// Everything below it is decided, and was trimmed by an acceptor.
    pub fn trimmed(&self) -> Instance {
        self.trimmed
    }

    /// The reports, once the attempt is won.
    pub fn into_reports(self) -> BTreeMap<Instance, Report> {
        self.reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::{AssignedBy, Number, Origin, Session, Value};

    const BALLOT: Ballot = Ballot { round: 9, proposer: 1, boot: 1 };

    fn entry(text: &str) -> Entry {
        let session = Session { client: 1, boot: 1 };
        let origin = Origin::new(session, Number(1), AssignedBy::Client);
        Entry::Value { origin, value: Value::new(text.as_bytes()) }
    }

    fn promise(ballot: Ballot, accepted: &[(u64, u64, &str)], next: Option<u64>) -> Promise {
        let accepted = accepted
            .iter()
            .map(|(instance, round, text)| AcceptedEntry {
                instance: Instance(*instance),
                ballot: Ballot { round: *round, ..BALLOT },
                entry: entry(text),
            })
            .collect();
        let (from, trimmed, next) = (Instance(1), Instance(1), next.map(Instance));
        Promise { ballot, from, until: None, trimmed, accepted, next }
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
        assert_eq!(reports.get(&Instance(1)).map(|report| &report.entry), Some(&entry("new")));
        // Two acceptors in one ballot are a quorum: the entry is chosen already.
        let quorum = Quorum::majority_of(3);
        assert!(reports.get(&Instance(2)).is_some_and(|report| report.voters.is_won(quorum)));
        assert!(reports.get(&Instance(1)).is_some_and(|report| !report.voters.is_won(quorum)));
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
    fn a_promise_counts_only_when_its_last_page_is_there() {
        let mut attempt = attempt();
        let first = promise(BALLOT, &[(1, 1, "a")], Some(2));
        assert_eq!(attempt.on_promise(1, first.clone()), PageOutcome::NextPage(Instance(2)));
        // The first page again is no answer to the question for the second.
        assert_eq!(attempt.on_promise(1, first), PageOutcome::NotAsked);
        assert_eq!(attempt.promised().count(), 0);
        let last = Promise { from: Instance(2), ..promise(BALLOT, &[(2, 1, "b")], None) };
        assert_eq!(attempt.on_promise(1, last), PageOutcome::Complete);
        assert_eq!(attempt.promised().count(), 1);
    }
}
