//! The judge of a world: what do its messages say, and is that allowed?

use super::*;
use crate::protocol::assembly::AssemblyLimits;
use crate::protocol::checkpoint::Checkpoint;
use crate::protocol::decided_log::LetsGo;
use crate::sim::series::{checkpoints, find_wrong_state};

/// What the messages of a world say.
#[derive(Default)]
pub(super) struct Seen {
    proposed: BTreeMap<(Instance, Ballot), BTreeSet<Entry>>,
    votes: BTreeMap<(Instance, Ballot), BTreeSet<u32>>,
    promises: BTreeMap<Ballot, BTreeSet<u32>>,
    /// Entries that some process says or believes to be decided.
    decided: BTreeSet<(Instance, Entry)>,
    /// What is named as decided.
    named: BTreeSet<(Instance, Ballot)>,
    /// Instances below which some process has removed everything as decided, or leaves it out.
    trimmed: BTreeSet<Instance>,
    /// Where promises say that a new leader may begin.
    begins: BTreeSet<Instance>,
    /// What delivery has made of the log, somewhere: where its sessions stand.
    delivered: Vec<Checkpoint>,
}

impl Seen {
    pub(super) fn in_world(world: &World) -> Self {
        let mut seen = Seen::default();
        let logs = world.proposers.iter().map(|proposer| proposer.log());
        let forgotten = world.acceptors.iter().map(|acceptor| acceptor.forgotten());
        seen.trimmed.extend(forgotten);
        for log in logs.chain([world.learner.log()]) {
            seen.trimmed.extend([log.trimmed(), log.first()]);
            if log.watermark() >= log.first() {
                seen.delivered.push(log.checkpoint(LetsGo::NONE));
            }
            for page in log.pages(Run::new(Instance::FIRST, log.end())) {
                let entries = page.entries.iter().map(EntryRef::to_entry);
                seen.decided.extend((page.from.0..).map(Instance).zip(entries));
            }
        }
        for envelope in &*world.network {
            let acceptor = envelope.from.node.id;
            match &envelope.message {
                Message::Accept(accept) => {
                    for (instance, entry) in (accept.from.0..).map(Instance).zip(&accept.entries) {
                        let entries = seen.proposed.entry((instance, accept.ballot)).or_default();
                        entries.insert(entry.to_entry());
                    }
                    seen.names(accept.ballot, accept.watermark, &accept.chosen);
                }
                Message::Chosen(chosen) => {
                    seen.names(chosen.ballot, chosen.until, &chosen.runs);
                }
                Message::Accepted(accepted) => {
                    for instance in accepted.runs.iter().flat_map(|run| run.iter()) {
                        seen.votes.entry((instance, accepted.ballot)).or_default().insert(acceptor);
                    }
                }
                Message::Promise(promise) => {
                    if promise.next.is_none() {
                        seen.promises.entry(promise.ballot).or_default().insert(acceptor);
                    }
                    seen.trimmed.insert(promise.trimmed);
                    seen.begins.insert(promise.trimmed);
                    for AcceptedPage { ballot, page } in &promise.accepted {
                        for instance in page.run().iter() {
                            seen.votes.entry((instance, *ballot)).or_default().insert(acceptor);
                        }
                    }
                }
                Message::Decide(decide) => {
                    let entries = decide.entries.iter().map(EntryRef::to_entry);
                    seen.decided.extend((decide.from.0..).map(Instance).zip(entries));
                }
                _ => {}
            }
        }
        seen
    }

    fn names(&mut self, ballot: Ballot, until: Instance, runs: &[Run<Instance>]) {
        let prefix = [Run::new(Instance::FIRST, until)];
        let named = prefix.iter().chain(runs).flat_map(Run::iter);
        self.named.extend(named.map(|instance| (instance, ballot)));
    }

    /// The first rule that is broken.
    pub(super) fn what_is_wrong(&self) -> Option<&'static str> {
        let chosen = self.chosen();
        let is_backed = |ballot: &Ballot| self.promises.get(ballot).is_some_and(is_majority);
        if chosen.values().any(|entries| entries.len() > 1) {
            return Some("two entries are chosen in one instance");
        }
        if self.proposed.values().any(|entries| entries.len() > 1) {
            return Some("two entries are proposed in one instance and ballot");
        }
        if !self.proposed.keys().all(|(_, ballot)| is_backed(ballot)) {
            return Some("something is proposed without a quorum of promises");
        }
        let mut proposed = self.proposed.iter();
        if proposed.any(|((instance, _), all)| all.iter().any(|one| !is_asked(*instance, one))) {
            return Some("something is proposed that nobody asked for");
        }
        let is_chosen = |(instance, entry): &(Instance, Entry)| {
            chosen.get(instance).is_some_and(|entries| entries.contains(entry))
        };
        // The name stands for what the same ballot has proposed there, if anything.
        let is_true = |named: &(Instance, Ballot)| {
            let proposed = self.proposed.get(named).into_iter().flatten();
            chosen
                .get(&named.0)
                .is_some_and(|chosen| proposed.clone().all(|one| chosen.contains(one)))
        };
        if !self.named.iter().all(is_true) {
            return Some("something is named as decided that is not chosen");
        }
        if !self.decided.iter().all(is_chosen) {
            return Some("something is said to be decided that is not chosen");
        }
        let removed = self.trimmed.last().map(|below| Run::new(Instance::FIRST, *below));
        if !removed.iter().flat_map(Run::iter).all(|instance| chosen.contains_key(&instance)) {
            return Some("something is removed or left out that is not chosen");
        }
        // One entry is chosen in each instance.
        let log = chosen.into_iter().filter_map(|(at, mut one)| Some((at, one.pop_first()?)));
        let log = log.collect();
        let written = checkpoints(&log).into_iter().map(|(_, checkpoint)| checkpoint);
        let written: Vec<Checkpoint> = written.collect();
        if !self.begins_at_some(&written) {
            return Some("a new leader may begin where no decided checkpoint says how");
        }
        if !self.is_delivered_as_from_the_first(&log, written) {
            return Some("the sessions are not those of all that was decided");
        }
        None
    }

    /// Whether a leader finds one of these checkpoints wherever it may begin, or begins with the
    /// first instance.
    fn begins_at_some(&self, written: &[Checkpoint]) -> bool {
        let is_replaced = |begin: &Instance| {
            *begin == Instance::FIRST || written.iter().any(|one| one.head.keep == *begin)
        };
        self.begins.iter().all(is_replaced)
    }

    /// Whether every process knows as much as one that has passed the log from the first instance
    /// on, and so does every checkpoint. Where there is none, every process passes everything.
    fn is_delivered_as_from_the_first(
        &self,
        log: &BTreeMap<Instance, Entry>,
        written: Vec<Checkpoint>,
    ) -> bool {
        if written.is_empty() {
            return true;
        }
        let all =
            written.into_iter().chain(self.delivered.iter().cloned()).map(|state| ((), state));
        find_wrong_state(log, AssemblyLimits::FORMAT, all.collect()).is_none()
    }

    /// What is chosen: one entry for each instance, if all is well.
    pub(super) fn chosen(&self) -> BTreeMap<Instance, BTreeSet<Entry>> {
        let mut chosen: BTreeMap<Instance, BTreeSet<Entry>> = BTreeMap::new();
        for ((instance, ballot), votes) in &self.votes {
            if is_majority(votes) {
                let entries = self.proposed.get(&(*instance, *ballot)).into_iter().flatten();
                chosen.entry(*instance).or_default().extend(entries.cloned());
            }
        }
        chosen
    }
}
