//! The judge: sees every message and every delivery, and knows nothing of the roles' state.
//!
//! It keeps its own record of who promised and accepted what. A violation is a sentence.

use std::collections::{BTreeMap, BTreeSet};

use super::record::Chosen;
use crate::protocol::actor::Delivery;
use crate::protocol::message::{AcceptedEntry, Kind, Message};
use crate::protocol::types::{
    AssignedBy, Ballot, Entry, Instance, NodeId, Number, Origin, Role, Run, Sender, Session, To,
    Value,
};

/// Who voted. The judge counts for itself: it shares no code with those it judges.
#[derive(Clone, Copy, Debug, Default)]
struct Voters(u64);

impl Voters {
    fn add(&mut self, acceptor: u32) {
        self.0 |= 1_u64.checked_shl(acceptor).unwrap_or(0);
    }

    fn has(self, acceptor: u32) -> bool {
        self.0 & 1_u64.checked_shl(acceptor).unwrap_or(0) != 0
    }

    fn ids(self) -> impl Iterator<Item = u32> {
        (0..64).filter(move |id| self.has(*id))
    }
}

/// What has been seen so far.
#[derive(Clone, Debug)]
pub struct Checker {
    acceptor_count: u32,
    /// What each ballot proposed in each instance.
    proposed: BTreeMap<(Instance, Ballot), (Entry, Voters)>,
    /// The ballots that promises were asked for.
    prepared: BTreeSet<Ballot>,
    promises: BTreeMap<Ballot, Voters>,
    /// The highest ballot each acceptor answered.
    promised: BTreeMap<u32, Ballot>,
    chosen: BTreeMap<Instance, Entry>,
    asked: BTreeMap<(Session, Number), (Value, Option<Instance>)>,
    /// What each life of each learner delivered, in order.
    delivered: BTreeMap<Sender, Vec<(Instance, Value)>>,
    /// Where each value is chosen.
    placed: BTreeMap<(Session, Number), Instance>,
    /// The order of delivery that the longest learner saw.
    order: Vec<(Instance, Value)>,
    /// How many messages of each kind were sent.
    sent: BTreeMap<Kind, u64>,
    /// What became chosen since somebody asked.
    news: Vec<Chosen>,
}

/// What is wrong, in one sentence.
pub type Violation = String;

impl Checker {
    /// A judge of a cluster with `acceptor_count` acceptors.
    pub fn new(acceptor_count: u32) -> Self {
        Checker {
            acceptor_count,
            prepared: BTreeSet::new(),
            proposed: BTreeMap::new(),
            promises: BTreeMap::new(),
            promised: BTreeMap::new(),
            chosen: BTreeMap::new(),
            asked: BTreeMap::new(),
            delivered: BTreeMap::new(),
            placed: BTreeMap::new(),
            order: Vec::new(),
            sent: BTreeMap::new(),
            news: Vec::new(),
        }
    }

    /// A client was given a value; `asked` is the instance it will ask for, if it does.
    pub fn on_input(
        &mut self,
        session: Session,
        number: Number,
        value: Value,
        asked: Option<Instance>,
    ) {
        self.asked.insert((session, number), (value, asked));
    }

    /// How many messages were sent.
    pub fn sent(&self) -> u64 {
        self.sent.values().sum()
    }

    /// How many messages of these kinds were sent.
    pub fn sent_of(&self, kinds: &[Kind]) -> u64 {
        kinds.iter().filter_map(|kind| self.sent.get(kind)).sum()
    }

    /// How many messages were sent that are not heartbeats.
    pub fn sent_but_heartbeats(&self) -> u64 {
        self.sent() - self.sent_of(&[Kind::Heartbeat, Kind::Echo])
    }

    /// How many ballots a proposer has asked promises for.
    pub fn ballots_of(&self, proposer: u32) -> usize {
        self.prepared.iter().filter(|ballot| ballot.proposer == proposer).count()
    }

    /// What is chosen, as the judge counted it.
    pub fn chosen(&self) -> &BTreeMap<Instance, Entry> {
        &self.chosen
    }

    /// What became chosen since this was asked last.
    pub fn take_news(&mut self) -> Vec<Chosen> {
        std::mem::take(&mut self.news)
    }

    /// A node sent a message.
    pub fn on_send(&mut self, sender: Sender, to: To, message: &Message) -> Result<(), Violation> {
        if let To::Node(node) = to
            && !concerns(node, message)
        {
            return Err(format!("{} sends to {node} alone: {message}", sender.node));
        }
        *self.sent.entry(message.kind()).or_default() += 1;
        let from = sender.node;
        match message {
            Message::Prepare(prepare) => {
                expect_own(sender, prepare.ballot)?;
                self.prepared.insert(prepare.ballot);
            }
            Message::Promise(promise) => {
                self.answer(from, promise.ballot)?;
                if !self.prepared.contains(&promise.ballot) {
                    return Err(format!(
                        "{from} promises {}, which nobody asked for",
                        promise.ballot
                    ));
                }
                // What it reports it has accepted, whether it could say so before or not.
                for AcceptedEntry { instance, ballot, entry } in &promise.accepted {
                    self.on_vote(from, *instance, *ballot)?;
                    self.expect_proposed(from, *instance, *ballot, entry)?;
                }
                if promise.next.is_none() {
                    self.promises.entry(promise.ballot).or_default().add(from.id);
                }
            }
            Message::Accept(accept) => {
                expect_own(sender, accept.ballot)?;
                let promises = self.promises.get(&accept.ballot).copied().unwrap_or_default();
                if !is_majority(promises, self.acceptor_count) {
                    return Err(format!("{from} proposes in {} without a quorum", accept.ballot));
                }
                for (instance, entry) in (accept.from.0..).map(Instance).zip(&accept.entries) {
                    self.on_proposal(from, instance, accept.ballot, &entry.to_entry())?;
                }
            }
            Message::Accepted(accepted) => {
                self.answer(from, accepted.ballot)?;
                for instance in accepted.runs.iter().flat_map(|run| run.iter()) {
                    self.on_vote(from, instance, accepted.ballot)?;
                }
            }
            Message::Decide(decide) => {
                for (instance, entry) in (decide.from.0..).map(Instance).zip(&decide.entries) {
                    self.expect_chosen(from, instance, &entry.to_entry())?;
                }
            }
            Message::CatchUpReply(reply) => {
                for (instance, entry) in (reply.from.0..).map(Instance).zip(&reply.entries) {
                    self.expect_chosen(from, instance, &entry.to_entry())?;
                }
            }
            Message::Nack(nack) => {
                if nack.rejected >= nack.promised {
                    return Err(format!("{from} refused {} for nothing", nack.rejected));
                }
            }
            Message::RequestAck(ack) => {
                for told in &ack.told {
                    for number in told.delivered.iter().flat_map(Run::iter) {
                        if !self.placed.contains_key(&(told.session, number)) {
                            let what = format!("{from} says {number} is decided; it is not chosen");
                            return Err(what);
                        }
                    }
                    for number in told.lost.iter().flat_map(Run::iter) {
                        self.expect_lost(from, told.session, number)?;
                    }
                }
            }
            Message::Request(_)
            | Message::DecideAck(_)
            | Message::Heartbeat(_)
            | Message::CatchUpRequest(_)
            | Message::Disown(_)
            | Message::Echo(_)
            | Message::Plea(_)
            | Message::Offer(_) => {}
        }
        Ok(())
    }

    /// An acceptor came back, having promised `promised` and accepted each instance in the ballot
    /// that `accepted` tells: no less than others ever heard of it.
    pub fn on_restart(
        &self,
        id: NodeId,
        promised: Ballot,
        accepted: impl Fn(Instance) -> Option<Ballot>,
    ) -> Result<(), Violation> {
        if let Some(answered) = self.promised.get(&id.id).filter(|answered| **answered > promised) {
            return Err(format!("{id} answered {answered} and came back with {promised}"));
        }
        let votes = self.proposed.iter().filter(|(_, (_, voters))| voters.has(id.id));
        for ((instance, ballot), _) in votes {
            if accepted(*instance).is_none_or(|kept| kept < *ballot) {
                return Err(format!("{id} accepted {instance} in {ballot} and came back without"));
            }
        }
        Ok(())
    }

    /// The instance that value `number` asked for holds something else.
    fn expect_lost(&self, from: NodeId, session: Session, number: Number) -> Result<(), Violation> {
        let asked = self.asked.get(&(session, number)).and_then(|(_, asked)| *asked);
        let winner = asked.and_then(|asked| self.chosen.get(&asked)).map(Entry::origin);
        let is_lost = winner.is_some_and(|origin| {
            origin.is_none_or(|origin| (origin.session, origin.number) != (session, number))
        });
        if is_lost { Ok(()) } else { Err(format!("{from} says {number} has lost; it has not")) }
    }

    /// An acceptor answers a ballot: its promises never go back.
    fn answer(&mut self, from: NodeId, ballot: Ballot) -> Result<(), Violation> {
        let promised = self.promised.entry(from.id).or_insert(Ballot::ZERO);
        if ballot < *promised {
            return Err(format!("{from} answers {ballot} after {promised}"));
        }
        *promised = ballot;
        Ok(())
    }

    fn on_proposal(
        &mut self,
        from: NodeId,
        instance: Instance,
        ballot: Ballot,
        entry: &Entry,
    ) -> Result<(), Violation> {
        let (first, _) = self
            .proposed
            .entry((instance, ballot))
            .or_insert_with(|| (entry.clone(), Voters::default()));
        if first != entry {
            return Err(format!("{from} proposes {first} and {entry} at {instance} in {ballot}"));
        }
        let Entry::Value { origin, value } = entry else { return Ok(()) };
        self.expect_asked(*origin, value, instance)
    }

    fn on_vote(
        &mut self,
        from: NodeId,
        instance: Instance,
        ballot: Ballot,
    ) -> Result<(), Violation> {
        let Some((entry, votes)) = self.proposed.get_mut(&(instance, ballot)) else {
            return Err(format!("{from} accepted {instance} in {ballot}; nobody proposed it"));
        };
        votes.add(from.id);
        if is_majority(*votes, self.acceptor_count) {
            if !self.chosen.contains_key(&instance) {
                let voters = votes.ids().collect();
                self.news.push(Chosen { instance, ballot, by: from, voters });
            }
            let chosen = self.chosen.entry(instance).or_insert_with(|| entry.clone());
            if chosen != entry {
                return Err(format!("{instance} is chosen twice: {chosen} and {entry}"));
            }
            if let Some(origin) = entry.origin() {
                self.placed.entry((origin.session, origin.number)).or_insert(instance);
            }
        }
        Ok(())
    }

    /// What an acceptor reports is what was proposed.
    fn expect_proposed(
        &self,
        from: NodeId,
        instance: Instance,
        ballot: Ballot,
        entry: &Entry,
    ) -> Result<(), Violation> {
        match self.proposed.get(&(instance, ballot)) {
            Some((proposed, _)) if proposed == entry => Ok(()),
            Some(_) | None => Err(format!("{from} reports {entry} at {instance} in {ballot}")),
        }
    }

    fn expect_asked(
        &self,
        origin: Origin,
        value: &Value,
        instance: Instance,
    ) -> Result<(), Violation> {
        let key = (origin.session, origin.number);
        let is_asked = self.asked.get(&key).is_some_and(|(asked, place)| {
            let is_placed = match origin.assigned_by {
                AssignedBy::Client => *place == Some(instance),
                AssignedBy::Leader => place.is_none(),
            };
            asked == value && is_placed
        });
        if is_asked { Ok(()) } else { Err(format!("nobody asked for {origin} at {instance}")) }
    }

    fn expect_chosen(
        &self,
        from: NodeId,
        instance: Instance,
        entry: &Entry,
    ) -> Result<(), Violation> {
        match self.chosen.get(&instance) {
            Some(chosen) if chosen == entry => Ok(()),
            Some(chosen) => Err(format!("{from} says {instance} is {entry}, not {chosen}")),
            None => Err(format!("{from} says {instance} is {entry}; nothing is chosen")),
        }
    }

    /// A learner handed out a value.
    pub fn on_deliver(&mut self, from: Sender, delivery: &Delivery) -> Result<(), Violation> {
        let (Delivery::Decided(page) | Delivery::Delivered(page)) = delivery;
        for (instance, entry) in (page.from.0..).map(Instance).zip(&page.entries) {
            let Entry::Value { value, .. } = entry.to_entry() else {
                return Err(format!("{} gives out the no-op of {instance}", from.node));
            };
            match self.chosen.get(&instance) {
                Some(Entry::Value { value: chosen, .. }) if *chosen == value => {}
                Some(_) | None => {
                    return Err(format!("{} gives {value} for {instance}; not chosen", from.node));
                }
            }
            if let Delivery::Delivered(_) = delivery {
                self.on_delivered(from, instance, value)?;
            }
        }
        Ok(())
    }

    /// A learner prints a value.
    fn on_delivered(
        &mut self,
        from: Sender,
        instance: Instance,
        value: Value,
    ) -> Result<(), Violation> {
        let mine = self.delivered.entry(from).or_default();
        let position = mine.len();
        mine.push((instance, value.clone()));
        match self.order.get(position) {
            None => self.order.push((instance, value)),
            Some((first, other)) if (*first, other) == (instance, &value) => {}
            Some((first, other)) => {
                return Err(format!(
                    "{} delivers {value} of {instance} where others delivered {other} of {first}",
                    from.node
                ));
            }
        }
        Ok(())
    }

    /// What `learner` delivered in its life `boot`.
    pub fn delivered(&self, learner: Sender) -> &[(Instance, Value)] {
        self.delivered.get(&learner).map_or(&[], Vec::as_slice)
    }

    /// Every leader-assigned value that was delivered was delivered once, in its client's order.
    pub fn check_order(&self) -> Result<(), Violation> {
        let mut numbers: BTreeMap<Session, u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (instance, _) in &self.order {
            let Some(origin) = self.chosen.get(instance).and_then(Entry::origin) else { continue };
            if !seen.insert((origin.session, origin.number)) {
                return Err(format!("{origin} is delivered twice"));
            }
            if origin.assigned_by == AssignedBy::Leader {
                let last = numbers.entry(origin.session).or_insert(0);
                if origin.number.0 != *last + 1 {
                    return Err(format!("{origin} is delivered right after #{last}"));
                }
                *last = origin.number.0;
            }
        }
        Ok(())
    }
}

fn is_majority(voters: Voters, acceptor_count: u32) -> bool {
    voters.0.count_ones() * 2 > acceptor_count
}

/// Whether a message is one that `node` alone may be sent.
fn concerns(node: NodeId, message: &Message) -> bool {
    let owns = |ballot: Ballot| node == NodeId::new(Role::Proposer, ballot.proposer);
    match message {
        Message::Request(_) => node.role == Role::Proposer,
        Message::RequestAck(ack) => {
            ack.told.iter().all(|told| node == NodeId::new(Role::Client, told.session.client))
        }
        Message::Promise(promise) => owns(promise.ballot),
        Message::Accepted(accepted) => owns(accepted.ballot),
        Message::Nack(nack) => owns(nack.rejected),
        Message::Disown(disown) => node == NodeId::new(Role::Acceptor, disown.acceptor),
        Message::CatchUpRequest(request) => request.of == Some(node),
        Message::CatchUpReply(_) => matches!(node.role, Role::Proposer | Role::Learner),
        Message::Prepare(_)
        | Message::Accept(_)
        | Message::Decide(_)
        | Message::DecideAck(_)
        | Message::Heartbeat(_)
        | Message::Echo(_)
        | Message::Plea(_)
        | Message::Offer(_) => false,
    }
}

/// A ballot is used by the process that made it, in the life in which it made it.
fn expect_own(sender: Sender, ballot: Ballot) -> Result<(), Violation> {
    if (ballot.proposer, ballot.boot) == (sender.node.id, sender.boot) {
        return Ok(());
    }
    Err(format!("{} uses {ballot}, which belongs to another life", sender.node))
}
