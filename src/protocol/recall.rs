//! Reading back entries that only the acceptors' disks hold, and why the result is what was
//! decided.
//!
//! Proposers and learners forget the old part of the log, and so do the memories of the acceptors.
//! What is left of it is votes on disks. A learner that lacks an old instance asks the acceptors
//! for their last votes there, and infers what is decided:
//!
//! 1. It is *known* that every instance below some point is decided: an acceptor says so which has
//!    accepted a checkpoint that says so, and has heard of a process that passed it, or a history
//!    that names a later checkpoint (`Acceptor::known`). So let v be chosen in instance i, below
//!    that point, and b the lowest ballot in which it was.
//! 2. A quorum had voted for v in b when that became known, and none of these votes is ever lost.
//!    Nothing but v is proposed in i in a ballot above b ("Paxos Made Simple", 2.2, P2b).
//! 3. An acceptor that is asked afterwards answers with the vote of the highest ballot that it has
//!    stored for i, or that it has none. If it is of that quorum, the vote is of b or a higher
//!    ballot, and for v.
//! 4. Any quorum of answers has one of these acceptors. So the vote of the highest ballot among the
//!    answers of a quorum is of b or above, and for v.
//!
//! This is phase 1 without a promise: that i is decided already takes its place. It does not rest
//! on any acceptor knowing which of its votes were for what was decided, and works with any quorum.
//!
//! [`Recall::known`] ensures the "afterwards" of step 3. An answer counts only below the point that
//! its acceptor knew, or that the question told it: so the instance was decided when the answer was
//! given. An older answer has a lower point, and does not count.
//!
//! A ballot proposes one entry an instance, so a ballot alone stands for the entry. Only one
//! acceptor, which the question names, sends entries; the others send ballots.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::BTreeMap;

use super::actor::Effects;
use super::message::{Message, Recall, Recalled, Voted};
use super::packing::{merge, pages};
use super::parts::{Quorum, Tally};
use super::segments::{Page, Segments};
use super::settings::Settings;
use super::types::{Ballot, Instance, NodeId, Role, Run, To};

/// How many runs of votes are remembered of one acceptor's answer, at most.
const VOTES_MAX: usize = 1 << 14;

/// What an acceptor must read from its disk, and for which learner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reading {
    /// Who asked.
    pub asker: NodeId,
    /// Whether the answer goes to all learners.
    pub again: bool,
    /// The instances.
    pub run: Run<Instance>,
    /// Everything below it is decided.
    pub known: Instance,
    /// The acceptor has removed its votes below it.
    pub trimmed: Instance,
    /// Whether entries are wanted, or ballots alone.
    pub has_entries: bool,
}

/// What an acceptor has read: its last votes in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The instances: what was asked for, or the beginning of it.
    pub run: Run<Instance>,
    /// The votes; gaps mean that it has none there.
    pub votes: Segments<Ballot>,
}

/// How much of the log is read to answer one question, in bytes.
pub fn bytes_read(settings: &Settings) -> u64 {
    (settings.catch_up_bytes * 2) as u64
}

/// Answers `reading` with what was found: about as much as in any other catch-up reply.
pub fn answer(reading: &Reading, found: &Found, settings: &Settings, fx: &mut Effects) {
    let Reading { asker, again, known, trimmed, has_entries, .. } = *reading;
    let to = if again { To::Group(Role::Learner) } else { To::Node(asker) };
    let (mut pages, is_whole) =
        if has_entries { with_entries(found, settings) } else { (ballots(found, settings), true) };
    if pages.is_empty() {
        pages.push((Vec::new(), None));
    }
    let (mut from, count) = (found.run.from, pages.len());
    for (place, (votes, page)) in pages.into_iter().enumerate() {
        let last = place + 1 == count;
        let voted = votes.last().map_or(from, |voted| voted.run.until);
        let until = if last && is_whole { found.run.until } else { voted };
        let run = Run::new(from, until);
        let page = page.unwrap_or(Page { from, entries: Vec::new().into() });
        let (first, entries) = (page.from, page.entries);
        let recalled = Recalled { known, trimmed, run, votes, from: first, entries, last };
        fx.send(to, Message::Recalled(recalled));
        from = until;
    }
}

/// What one datagram of an answer holds.
type Part = (Vec<Voted>, Option<Page>);

/// The votes with their entries, a page of one ballot for each datagram, and whether these are all.
fn with_entries(found: &Found, settings: &Settings) -> (Vec<Part>, bool) {
    let mut ballots: Vec<(Ballot, Vec<Page>)> = Vec::new();
    for (page, ballot) in found.votes.pages(found.run) {
        match ballots.last_mut() {
            Some((last, pages)) if last == ballot => pages.push(page),
            Some(_) | None => ballots.push((*ballot, vec![page])),
        }
    }
    let room = settings.entries_bytes().saturating_sub(Voted::BYTES_MAX);
    let all = ballots.into_iter().flat_map(|(ballot, held)| {
        pages(held, room).map(move |page| (Voted { run: page.run(), ballot }, page))
    });
    let (mut parts, mut bytes) = (Vec::new(), 0);
    for (voted, page) in all {
        // The first page always goes, however long it is.
        if bytes >= settings.catch_up_bytes {
            return (parts, false);
        }
        bytes += page.entries.bytes();
        parts.push((vec![voted], Some(page)));
    }
    (parts, true)
}

/// The votes without their entries, as many as a datagram carries in each.
fn ballots(found: &Found, settings: &Settings) -> Vec<Part> {
    let mut votes = Vec::new();
    found.votes.spans(found.run).for_each(|(run, ballot)| {
        add(&mut votes, Voted { run, ballot: *ballot });
    });
    let most = (settings.entries_bytes() / Voted::BYTES_MAX).max(1);
    votes.chunks(most).map(|votes| (votes.to_vec(), None)).collect()
}

/// Adds `voted` behind `votes`, which are in order.
fn add(votes: &mut Vec<Voted>, voted: Voted) {
    match votes.last_mut() {
        Some(last) if last.ballot == voted.ballot && last.run.until == voted.run.from => {
            last.run.until = voted.run.until;
        }
        Some(_) | None => votes.push(voted),
    }
}

/// What a learner has heard from acceptors about old instances.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recalls {
    /// Everything below it is decided: some acceptor said so.
    known: Instance,
    /// The entries that answered the last question, and the ballots in which they were accepted.
    entries: Segments<Ballot>,
    answers: BTreeMap<u32, Answer>,
    /// The last datagram of the acceptor that sends entries has arrived.
    is_last: bool,
}

/// One acceptor's votes, as far as it has reported them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Answer {
    /// The instances that its report covers.
    told: Vec<Run<Instance>>,
    /// Its votes there.
    votes: Vec<Voted>,
}

impl Answer {
    /// Its vote at `instance`, if it has one; none if its report does not cover it.
    fn at(&self, instance: Instance) -> Option<Option<Ballot>> {
        let is_told = self.told.iter().any(|run| run.contains(instance));
        let votes = self.votes.iter().filter(|voted| voted.run.contains(instance));
        is_told.then(|| votes.map(|voted| voted.ballot).max())
    }
}

impl Default for Recalls {
    fn default() -> Self {
        Recalls {
            known: Instance::FIRST,
            entries: Segments::new(),
            answers: BTreeMap::new(),
            is_last: false,
        }
    }
}

impl Recalls {
    /// Asks for `run`. The acceptor that sends entries changes with each try.
    pub fn ask(
        &mut self,
        me: NodeId,
        tries: u32,
        run: Run<Instance>,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        *self = Recalls { known: self.known, ..Recalls::default() };
        // Learners that start together ask different acceptors. One that comes here only every
        // second try reaches all of them as well.
        let count = settings.acceptor_count;
        let of = me.id.wrapping_add(tries).wrapping_add(tries / count) % count + 1;
        let again = tries > 0;
        fx.send(Role::Acceptor, Message::Recall(Recall { of, again, known: self.known, run }));
    }

    /// An answer of `acceptor`. Returns the entries that this proves decided, and whether the
    /// answer is complete.
    pub fn on_recalled(
        &mut self,
        acceptor: u32,
        recalled: Recalled,
        settings: &Settings,
    ) -> (Vec<Page>, bool) {
        let Recalled { known, run, votes, from, entries, last, .. } = recalled;
        self.known = self.known.max(known);
        let told = Run::new(run.from, run.until.min(known));
        if told.is_empty() {
            return (Vec::new(), false);
        }
        let answer = self.answers.entry(acceptor).or_default();
        if answer.votes.len() + votes.len() > VOTES_MAX || answer.told.len() >= VOTES_MAX {
            return (Vec::new(), false);
        }
        answer.told.push(told);
        answer.told = merge(std::mem::take(&mut answer.told));
        let has_entries = !entries.is_empty();
        let ballot = votes.first().map(|voted| voted.ballot);
        votes.into_iter().for_each(|voted| add(&mut answer.votes, voted));
        if let (true, Some(ballot)) = (has_entries, ballot) {
            self.hold(Page { from, entries }, ballot, told, settings);
        }
        self.is_last |= has_entries && last;
        let decided = self.conclude(Quorum::majority_of(settings.acceptor_count));
        (decided, self.is_last && self.entries.is_empty())
    }

    /// Holds the entries of `page` that lie in `told`, until enough acceptors have answered.
    fn hold(&mut self, page: Page, ballot: Ballot, told: Run<Instance>, settings: &Settings) {
        let within = page.run();
        let within = Run::new(within.from.max(told.from), within.until.min(told.until));
        let has_room = self.entries.bytes() < settings.catch_up_bytes * 2;
        let mut held = self.entries.spans(within);
        if !within.is_empty() && has_room && held.all(|(_, other)| *other <= ballot) {
            drop(held);
            self.entries.insert(page.part(within), ballot);
        }
    }

    /// Takes out the decided entries: where a quorum has answered, the highest of its votes.
    fn conclude(&mut self, quorum: Quorum) -> Vec<Page> {
        let everything = Run::new(Instance::FIRST, Instance(u64::MAX));
        let mut decided = Vec::new();
        for (span, ballot) in self.entries.spans(everything) {
            // Between two of these nothing changes.
            let told = self.answers.values().flat_map(|answer| &answer.told);
            let voted = self.answers.values().flat_map(|answer| &answer.votes);
            let runs = told.copied().chain(voted.map(|voted| voted.run));
            let mut cuts: Vec<Instance> = runs
                .flat_map(|run| [run.from, run.until])
                .filter(|cut| span.contains(*cut))
                .chain([span.from, span.until])
                .collect();
            cuts.sort_unstable();
            cuts.dedup();
            for cut in cuts.windows(2) {
                let (mut tally, mut highest) = (Tally::default(), None);
                for (acceptor, answer) in &self.answers {
                    if let Some(vote) = answer.at(cut[0]) {
                        tally.vote(*acceptor);
                        highest = highest.max(vote);
                    }
                }
                if tally.is_won(quorum) && highest == Some(*ballot) {
                    decided.push(Run::new(cut[0], cut[1]));
                }
            }
        }
        let mut pages = Vec::new();
        merge(decided).into_iter().for_each(|run| {
            self.entries.take(run, |page, _| pages.push(page));
        });
        pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::{AssignedBy, Counted, Entry, Number, Origin, Session, Value};

    fn ballot(round: u64) -> Ballot {
        Ballot { round, proposer: 1, boot: 1 }
    }

    fn settings() -> Settings {
        Settings { datagram_bytes: 512, catch_up_bytes: 4000, ..Settings::default() }
    }

    /// Votes in these runs, in ballots of these rounds, for values that name their ballots.
    fn found(run: (u64, u64), votes: &[(u64, u64, u64)]) -> Found {
        let mut segments = Segments::new();
        for (from, until, round) in votes {
            let entry = |instance| {
                let session = Session { client: 1, boot: *round };
                let assigned_by = AssignedBy::Client;
                let origin = Origin::new(session, Number(instance), assigned_by);
                Entry::Value { origin, value: Value::new(&[b'v'; 60]) }
            };
            let page =
                Page { from: Instance(*from), entries: (*from..*until).map(entry).collect() };
            segments.insert(page, ballot(*round));
        }
        Found { run: Run::new(Instance(run.0), Instance(run.1)), votes: segments }
    }

    fn told(found: &Found, known: u64, has_entries: bool) -> Vec<Recalled> {
        let (asker, run) = (NodeId::new(Role::Learner, 1), found.run);
        let (known, trimmed) = (Instance(known), Instance::FIRST);
        let reading = Reading { asker, again: false, run, known, trimmed, has_entries };
        let mut fx = Effects::new();
        answer(&reading, found, &settings(), &mut fx);
        let recalled = fx.send.into_iter().map(|(to, message)| match message {
            Message::Recalled(recalled) if to == To::Node(asker) => recalled,
            other => panic!("{other} to {to}"),
        });
        recalled.collect()
    }

    /// What a learner concludes from these answers of acceptors 1, 2 and so on: runs, each with the
    /// round of its ballot.
    fn concluded(answers: &[Vec<Recalled>]) -> Vec<(u64, u64, u64)> {
        let (mut recalls, mut decided) = (Recalls::default(), Vec::new());
        for (acceptor, answer) in (1..).zip(answers) {
            for recalled in answer {
                for page in recalls.on_recalled(acceptor, recalled.clone(), &settings()).0 {
                    for (instance, entry) in page.from.numbering(&page.entries) {
                        let round = entry.origin().map_or(0, |origin| origin.session.boot);
                        decided.push((instance.0, instance.0 + 1, round));
                    }
                }
            }
        }
        decided.sort_unstable();
        decided.dedup();
        let joins =
            |one: &(u64, u64, u64), other: &(u64, u64, u64)| one.1 == other.0 && one.2 == other.2;
        let groups = decided.chunk_by(joins);
        groups.map(|group| (group[0].0, group[group.len() - 1].1, group[0].2)).collect()
    }

    #[test]
    fn an_answer_says_of_every_instance_what_the_vote_is_or_that_there_is_none() {
        for votes in [&[][..], &[(3, 9, 1)], &[(3, 9, 1), (9, 30, 2), (35, 36, 2)]] {
            let found = found((2, 40), votes);
            for has_entries in [false, true] {
                let told = told(&found, 40, has_entries);
                let mut next = Instance(2);
                for recalled in &told {
                    assert_eq!(recalled.run.from, next);
                    next = recalled.run.until;
                    assert_eq!(recalled.entries.is_empty(), !has_entries || votes.is_empty());
                }
                assert_eq!(next, Instance(40));
                assert!(told.iter().rev().skip(1).all(|recalled| !recalled.last));
                assert!(told.last().is_some_and(|recalled| recalled.last));
                let all = told.iter().flat_map(|recalled| &recalled.votes);
                let len: u64 = all.map(|voted| voted.run.len()).sum();
                assert_eq!(len, found.votes.len() as u64);
            }
        }
        // A long answer ends early, and says how far it goes.
        let told = told(&found((1, 1000), &[(1, 1000, 1)]), 1000, true);
        assert!(told.last().is_some_and(|last| last.last && last.run.until < Instance(100)));
    }

    /// "Paxos Made Simple", 2.2, P2c, of what is decided: the vote of the highest ballot of a
    /// quorum.
    #[test]
    fn the_highest_vote_of_a_quorum_is_what_was_decided() {
        let one = |known| told(&found((1, 20), &[(1, 10, 1), (10, 20, 2)]), known, true);
        let other = |known| told(&found((1, 20), &[(1, 5, 1), (5, 10, 3)]), known, false);
        assert_eq!(concluded(&[one(20)]), [], "one is no quorum");
        assert_eq!(concluded(&[one(20), vec![]]), []);
        let expected = [(1, 5, 1), (10, 20, 2)];
        assert_eq!(concluded(&[one(20), other(20)]), expected, "a later vote was for 5 to 10");
        assert_eq!(concluded(&[other(20), one(20)]), expected);
        // An answer from before it was known that everything is decided does not count.
        assert_eq!(concluded(&[one(20), other(3)]), [(1, 3, 1)]);
        assert_eq!(concluded(&[one(3), other(20)]), [(1, 3, 1)]);
        // An acceptor counts once, however often it answers.
        assert_eq!(concluded(&[[one(20), one(20)].concat()]), []);
    }
}
