//! The judge: it sees every message and every delivery, and knows nothing of the roles' state.
//!
//! It keeps its own record of who promised and accepted what. A violation is a sentence.

mod delivery;
mod reading;

use std::collections::{BTreeMap, BTreeSet};

use self::reading::Reading;
use super::record::Chosen;
use super::series::Reckoned;
use crate::protocol::assembly::AssemblyLimits;
use crate::protocol::checkpoint::Checkpoint;
use crate::protocol::message::{
    AcceptedPage, Assignment, Kind, Message, Recalled, Standing, Voted,
};
use crate::protocol::settings::Settings;
use crate::protocol::types::{
    AssignedBy, Ballot, Counted, Entry, Instance, LogTime, NodeId, Number, Origin, Part, Role, Run,
    Sender, Session, To, Value,
};

/// The acceptors that voted. The judge counts by itself: it shares no code with the roles it
/// judges.
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
    /// What that comes to, up to the first instance in which nothing is chosen.
    reckoned: Reckoned,
    /// The pieces of checkpoints that are chosen, and the checkpoints of which all are, each with
    /// the instance of its last piece.
    pieces: BTreeMap<Instance, Entry>,
    checkpoints: Vec<(Instance, Checkpoint)>,
    /// What each client was given, and at which instance it asks for its first value, if it does.
    typed: BTreeMap<Session, (Vec<Value>, Option<Instance>)>,
    /// What each client asks for under each number.
    asked: BTreeMap<(Session, Number), Entry>,
    /// How far each client has cut what it was given.
    cut: BTreeMap<Session, Cut>,
    /// Where each client has opened its session.
    opened: BTreeMap<Session, Instance>,
    /// The clients that have said that they are done, and the number above their last.
    finished: BTreeSet<(Session, Number)>,
    /// Forged sessions, which may ask for anything.
    forged: BTreeSet<Session>,
    limits: AssemblyLimits,
    /// Up to which instance each ballot has named what is decided, and which besides.
    named_until: BTreeMap<Ballot, Instance>,
    named: BTreeSet<(Ballot, Instance)>,
    /// What each run of each learner delivered, in order.
    delivered: BTreeMap<Sender, Vec<(Instance, Value)>>,
    /// The runs of learners that took up the log at a later place, and that place.
    begun: BTreeMap<Sender, Instance>,
    /// Below which instances learners that began with a snapshot need not keep the log.
    restored: BTreeSet<(NodeId, Instance)>,
    /// Places at which something was handed out, and the time that was told of what lies below.
    times: BTreeSet<(Instance, LogTime)>,
    /// Where each value is chosen.
    placed: BTreeMap<(Session, Number), Instance>,
    /// The order of delivery that the longest learner saw.
    order: Vec<(Instance, Value)>,
    /// The reads that learners serve.
    reading: Reading,
    /// How many messages of each kind were sent.
    sent: BTreeMap<Kind, u64>,
    /// What was chosen since the last call.
    news: Vec<Chosen>,
}

/// How far a client has come with what it was given.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    /// How many numbers it has used.
    numbers: u64,
    /// How many values it has asked for, and how many bytes of the next one.
    values: usize,
    bytes: usize,
}

/// What is wrong, in one sentence.
pub type Violation = String;

impl Checker {
    /// A judge of a cluster with these settings.
    pub fn new(settings: &Settings) -> Self {
        Checker {
            acceptor_count: settings.acceptor_count,
            limits: settings.assembly,
            reckoned: Reckoned::new(settings.assembly),
            pieces: BTreeMap::new(),
            checkpoints: Vec::new(),
            typed: BTreeMap::new(),
            cut: BTreeMap::new(),
            opened: BTreeMap::new(),
            finished: BTreeSet::new(),
            forged: BTreeSet::new(),
            prepared: BTreeSet::new(),
            proposed: BTreeMap::new(),
            promises: BTreeMap::new(),
            promised: BTreeMap::new(),
            chosen: BTreeMap::new(),
            named_until: BTreeMap::new(),
            named: BTreeSet::new(),
            asked: BTreeMap::new(),
            delivered: BTreeMap::new(),
            begun: BTreeMap::new(),
            restored: BTreeSet::new(),
            times: BTreeSet::new(),
            placed: BTreeMap::new(),
            order: Vec::new(),
            reading: Reading::default(),
            sent: BTreeMap::new(),
            news: Vec::new(),
        }
    }

    /// A client was given values; `first` is the instance it asks for with the first of them, if it
    /// does.
    pub fn on_input(&mut self, session: Session, values: Vec<Value>, first: Option<Instance>) {
        self.typed.entry(session).or_insert((Vec::new(), first)).0.extend(values);
    }

    /// From now on there are requests of `session`, which is no client.
    pub fn on_forged(&mut self, session: Session) {
        self.forged.insert(session);
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
        self.sent() - self.sent_of(&[Kind::Heartbeat, Kind::Echo, Kind::Durable])
    }

    /// How many ballots a proposer has asked promises for.
    pub fn ballots_of(&self, proposer: u32) -> usize {
        self.prepared.iter().filter(|ballot| ballot.proposer == proposer).count()
    }

    /// What is chosen, as the judge counted it.
    pub fn chosen(&self) -> &BTreeMap<Instance, Entry> {
        &self.chosen
    }

    /// What was chosen since this was last called.
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
                self.expect_trimmed(from, promise.trimmed)?;
                // It has accepted what it reports, whether or not it could say so before.
                for AcceptedPage { ballot, page } in &promise.accepted {
                    if page.from < promise.trimmed {
                        let (from_on, trimmed) = (page.from, promise.trimmed);
                        return Err(format!(
                            "{from} reports {from_on}, and trimmed below {trimmed}"
                        ));
                    }
                    for (instance, entry) in page.from.numbering(&page.entries) {
                        self.on_vote(from, instance, *ballot)?;
                        self.expect_proposed(from, instance, *ballot, &entry.to_entry())?;
                    }
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
                self.on_names(sender, accept.ballot, accept.watermark, &accept.chosen)?;
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
                    if told.is_forgotten {
                        self.expect_forgotten(from, told.session)?;
                    }
                }
            }
            Message::Request(request) => {
                let session = Session { client: from.id, boot: sender.boot };
                if request.is_last() {
                    self.on_last_request(session, request.from)?;
                }
                if request.assignment == Assignment::Leader && !request.entries.is_empty() {
                    self.on_opened(session, request.opened)?;
                }
                for (number, entry) in (request.from.0..).map(Number).zip(&request.entries) {
                    self.on_request(session, number, entry.to_entry())?;
                }
            }
            Message::Chosen(chosen) => {
                self.on_names(sender, chosen.ballot, chosen.until, &chosen.runs)?;
            }
            Message::Heartbeat(heartbeat) => {
                self.expect_trimmed(from, heartbeat.progress.first)?;
                let announcement = heartbeat.announcement;
                if from.role == Role::Proposer && announcement.standing == Standing::Leads {
                    let watermark = heartbeat.progress.watermark;
                    self.on_names(sender, announcement.ballot, watermark, &[])?;
                }
            }
            Message::Recalled(recalled) => self.on_recalled(from, recalled)?,
            Message::Recall(recall) => {
                if recall.known > self.reckoned.next() {
                    return Err(format!("{from} knows too much: {message}"));
                }
            }
            Message::DecideAck(_)
            | Message::Durable(_)
            | Message::CatchUpRequest(_)
            | Message::Disown(_)
            | Message::Echo(_)
            | Message::Plea(_)
            | Message::Offer(_)
            | Message::ReadRequest(_)
            | Message::ReadReply(_)
            | Message::Fetch(_)
            | Message::Chunk(_) => {}
        }
        Ok(())
    }

    /// A leader names what is decided: everything below `until`, and `runs`. A process that holds
    /// what it has proposed there under `ballot`, or will have, takes that for decided.
    fn on_names(
        &mut self,
        sender: Sender,
        ballot: Ballot,
        until: Instance,
        runs: &[Run<Instance>],
    ) -> Result<(), Violation> {
        expect_own(sender, ballot)?;
        let known = self.named_until.get(&ballot).copied().unwrap_or(Instance::FIRST);
        let prefix = [Run::new(known, until)];
        for instance in prefix.iter().chain(runs).flat_map(Run::iter) {
            self.expect_named(sender.node, instance, ballot)?;
            if instance >= until {
                self.named.insert((ballot, instance));
            }
        }
        self.named_until.insert(ballot, known.max(until));
        Ok(())
    }

    /// A client asks in a session that was opened at `opened`: there everything was decided before,
    /// and it is the same whenever it asks.
    fn on_opened(&mut self, session: Session, opened: Instance) -> Result<(), Violation> {
        if self.forged.contains(&session) {
            return Ok(());
        }
        let first = *self.opened.entry(session).or_insert(opened);
        let decided = self.reckoned.next();
        if first == opened && (Instance::FIRST..=decided).contains(&opened) {
            return Ok(());
        }
        Err(format!("{session} was opened at {first}, and at {opened} with all below {decided}"))
    }

    /// Checks that `session` is forgotten, and that nobody ever begins it.
    fn expect_forgotten(&self, from: NodeId, session: Session) -> Result<(), Violation> {
        let opened = self.opened.get(&session).map_or(0, |opened| opened.0);
        if !self.reckoned.remembers(session) && opened < self.reckoned.horizon {
            return Ok(());
        }
        Err(format!("{from} says {session} is forgotten; it is not"))
    }

    fn is_named(&self, instance: Instance, ballot: Ballot) -> bool {
        self.named_until.get(&ballot).is_some_and(|until| instance < *until)
            || self.named.contains(&(ballot, instance))
    }

    fn expect_named(
        &self,
        from: NodeId,
        instance: Instance,
        ballot: Ballot,
    ) -> Result<(), Violation> {
        let Some(chosen) = self.chosen.get(&instance) else {
            return Err(format!("{from} names {instance} in {ballot}; nothing is chosen"));
        };
        match self.proposed.get(&(instance, ballot)) {
            Some((proposed, _)) if proposed != chosen => Err(format!(
                "{from} names {instance} in {ballot}, which proposed {proposed}, not {chosen}"
            )),
            Some(_) | None => Ok(()),
        }
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
        let first = self.typed.get(&session).and_then(|(_, first)| *first);
        let is_lost = if let Some(first) = first {
            let winner = self.chosen.get(&Instance(first.0 + number.0 - 1)).map(Entry::origin);
            winner.is_some_and(|origin| {
                origin.is_none_or(|origin| (origin.session, origin.number) != (session, number))
            })
        } else {
            self.reckoned.ended.get(&session).is_some_and(|end| *end <= number.0)
        };
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
        if self.is_named(instance, ballot) {
            self.expect_named(from, instance, ballot)?;
        }
        let Some(origin) = entry.origin() else { return self.expect_finished(from, entry) };
        self.expect_asked(origin, entry, instance)
    }

    /// A client asks for something under a number: for what it was given, in parts that make it up,
    /// and for nothing else when it asks again.
    fn on_request(
        &mut self,
        session: Session,
        number: Number,
        entry: Entry,
    ) -> Result<(), Violation> {
        let key = (session, number);
        if let Some(asked) = self.asked.get(&key) {
            let is_same = *asked == entry;
            return if is_same { Ok(()) } else { Err(format!("{asked} is now {entry}")) };
        }
        if !self.forged.contains(&session) {
            let (typed, first) = self
                .typed
                .get(&session)
                .map_or((&[][..], None), |(values, first)| (values, *first));
            let cut = self.cut.entry(session).or_default();
            if first.is_some() {
                // A value that asks for an instance that is removed is given up, maybe before it
                // was ever sent. Each value has one number.
                cut.numbers = cut.numbers.max(number.0.saturating_sub(1));
                cut.values = cut.values.max(cut.numbers as usize);
            }
            let rest =
                typed.get(cut.values).map_or(&[][..], |value| &value.as_bytes()[cut.bytes..]);
            let is_begun = cut.bytes > 0;
            let is_sound = number.0 == cut.numbers + 1
                && cut.values < typed.len()
                && match &entry {
                    Entry::Noop | Entry::Checkpoint { .. } => false,
                    Entry::Value { value, .. } => !is_begun && value.as_bytes() == rest,
                    Entry::Part { part, bytes, .. } => {
                        let is_last = bytes.as_bytes().len() == rest.len();
                        rest.starts_with(bytes.as_bytes())
                            && is_last == (*part == Part::Last)
                            && match part {
                                Part::First { value_bytes } => {
                                    !is_begun && *value_bytes as usize == rest.len()
                                }
                                Part::Middle | Part::Last => is_begun,
                            }
                    }
                };
            if !is_sound {
                return Err(format!("{session} asks for {entry}, which it was not given there"));
            }
            cut.numbers += 1;
            match &entry {
                Entry::Part { part: Part::First { .. } | Part::Middle, bytes, .. } => {
                    cut.bytes += bytes.as_bytes().len();
                }
                Entry::Noop
                | Entry::Value { .. }
                | Entry::Part { .. }
                | Entry::Checkpoint { .. } => {
                    (cut.values, cut.bytes) = (cut.values + 1, 0);
                }
            }
        }
        self.asked.insert(key, entry);
        Ok(())
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
        if !is_majority(*votes, self.acceptor_count) {
            return Ok(());
        }
        if let Some(chosen) = self.chosen.get(&instance) {
            if chosen == entry {
                return Ok(());
            }
            return Err(format!("{instance} is chosen twice: {chosen} and {entry}"));
        }
        let voters = votes.ids().collect();
        self.news.push(Chosen { instance, ballot, by: from, voters });
        let entry = entry.clone();
        self.on_chosen(instance, entry);
        Ok(())
    }

    /// An acceptor tells its votes in old instances.
    fn on_recalled(&mut self, from: NodeId, recalled: &Recalled) -> Result<(), Violation> {
        let known = recalled.known;
        if known > self.reckoned.next() {
            return Err(format!("{from} says that all is decided below {known}, and it is not"));
        }
        for Voted { run, ballot } in &recalled.votes {
            run.iter().try_for_each(|instance| self.on_vote(from, instance, *ballot))?;
        }
        let ballot = recalled.votes.first().map_or(Ballot::ZERO, |voted| voted.ballot);
        for (instance, entry) in (recalled.from.0..).map(Instance).zip(&recalled.entries) {
            self.expect_proposed(from, instance, ballot, &entry.to_entry())?;
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
        entry: &Entry,
        instance: Instance,
    ) -> Result<(), Violation> {
        let first = self.typed.get(&origin.session).and_then(|(_, first)| *first);
        let is_placed = match origin.assigned_by {
            AssignedBy::Client => {
                first.map(|first| first.0 + origin.number.0 - 1) == Some(instance.0)
            }
            AssignedBy::Leader => first.is_none(),
        };
        let asked = self.asked.get(&(origin.session, origin.number));
        // Only the leader gives a time.
        let untimed = entry.borrowed().timed(LogTime::NONE).to_entry();
        if is_placed && asked == Some(&untimed) {
            Ok(())
        } else {
            Err(format!("nobody asked for {origin} at {instance}"))
        }
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
        Message::Fetch(fetch) => fetch.of.map(|of| NodeId::new(Role::Learner, of)) == Some(node),
        Message::Recalled(_) | Message::ReadReply(_) | Message::Chunk(_) => {
            node.role == Role::Learner
        }
        Message::Prepare(_)
        | Message::Accept(_)
        | Message::Decide(_)
        | Message::DecideAck(_)
        | Message::Durable(_)
        | Message::Heartbeat(_)
        | Message::Echo(_)
        | Message::Plea(_)
        | Message::Offer(_)
        | Message::Chosen(_)
        | Message::Recall(_)
        | Message::ReadRequest(_) => false,
    }
}

/// Checks that a ballot is used by the process that made it, in the same incarnation.
fn expect_own(sender: Sender, ballot: Ballot) -> Result<(), Violation> {
    if (ballot.proposer, ballot.boot) == (sender.node.id, sender.boot) {
        return Ok(());
    }
    Err(format!("{} uses {ballot}, which belongs to another life", sender.node))
}
