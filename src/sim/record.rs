//! What happened in a run, for pictures of it: every datagram with the fate of each copy, and what
//! the processes and the judge said and believed, in order of time.
//!
//! Nothing here is seen by the run: neither its random numbers nor its hash depend on it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::fault::Fault;
use crate::protocol::client::ClientTally;
use crate::protocol::message::{Message, Progress, Standing};
use crate::protocol::types::{Ballot, Instance, NodeId, Run, Time, To};

/// More datagrams than this are not recorded; [`Record::is_cut_short`] then says so.
pub const MESSAGES_MAX: usize = 200_000;

/// What a run left behind.
#[derive(Debug)]
pub struct Record {
    /// Everything but the datagrams, in order of time.
    pub events: Vec<Event>,
    /// The datagrams, in the order in which they were sent.
    pub messages: Vec<Sent>,
    /// Whether the run was too long to record completely.
    pub is_cut_short: bool,
    /// When the run ended.
    pub end: Time,
    /// What each process believed last.
    beliefs: BTreeMap<NodeId, Belief>,
}

/// A record that the simulated world fills and its owner reads afterwards.
pub type SharedRecord = Rc<RefCell<Record>>;

/// Something that happened at one moment.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub time: Time,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum What {
    /// A process starts.
    Starts(NodeId),
    /// A process is dead.
    Dies(NodeId),
    /// A process sleeps, and wakes at that time.
    Sleeps(NodeId, Time),
    /// A fault happens.
    Fault(Fault),
    /// Everything works again.
    Heals,
    /// A proposer leads from now on, with this ballot.
    Leads(NodeId, Ballot),
    /// A proposer stops leading.
    Yields(NodeId),
    /// The vote of `by` completes a majority: only the judge knows it.
    Chosen(Chosen),
    /// A learner has learned what these instances hold.
    Learns(NodeId, Run<Instance>),
    /// A learner has handed out the values of these instances, in order.
    Delivers(NodeId, Run<Instance>),
    /// What a process believes from now on.
    Believes(NodeId, Belief),
    /// A promise of safety is broken.
    Violation(String),
}

/// One instance that a majority has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The instance.
    pub instance: Instance,
    /// The ballot of the majority.
    pub ballot: Ballot,
    /// Whose vote made it a majority.
    pub by: NodeId,
    /// The acceptors that have accepted it in this ballot.
    pub voters: Vec<u32>,
}

/// A datagram that was sent, and its fate.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When.
    pub time: Time,
    /// The sender, even of an old datagram; none for garbage that nobody can read.
    pub from: Option<NodeId>,
    /// To whom it is addressed, if a process sent it.
    pub to: Option<To>,
    /// The message, if it can be read.
    pub message: Option<Message>,
    /// Its length in bytes.
    pub bytes: usize,
    /// Whether it is old or garbage, not sent by a process now.
    pub is_noise: bool,
    /// One for each receiver, and a second one where the network repeats it.
    pub copies: Vec<Passage>,
}

impl Sent {
    /// A message that a process sends on a stage, where messages have no bytes.
    pub fn by(time: Time, from: NodeId, to: To, message: &Message) -> Self {
        let (from, to, message) = (Some(from), Some(to), Some(message.clone()));
        Sent { time, from, to, message, bytes: 0, is_noise: false, copies: Vec::new() }
    }

    /// Bytes that no process sends now.
    pub fn noise(time: Time, bytes: usize) -> Self {
        let (from, to, message) = (None, None, None);
        Sent { time, from, to, message, bytes, is_noise: true, copies: Vec::new() }
    }
}

/// The way of one copy of a datagram to one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// To whom.
    pub to: NodeId,
    /// What became of it.
    pub fate: Fate,
    /// When; for a lost copy, when it was sent.
    pub time: Time,
}

impl Passage {
    /// It leaves.
    pub fn begins(to: NodeId, time: Time) -> Self {
        Passage { to, fate: Fate::Underway, time }
    }
}

/// The fate of one copy of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is still on its way, or waits in an inbox.
    Underway,
    /// Its receiver has read it.
    Read,
    /// Lost by chance.
    Lost,
    /// The queue of a link was full.
    QueueFull,
    /// The link from its sender to its receiver is cut.
    Cut,
    /// It is longer than the link carries.
    TooLong,
    /// Nothing of its kind gets through.
    Filtered,
    /// It arrived, but its receiver could not use it at that time.
    OfNoUse,
    /// It arrived, and the inbox was full.
    InboxFull,
    /// Its receiver is dead.
    Dead,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fate::Underway => "not read before the end",
            Fate::Read => "read",
            Fate::Lost => "lost",
            Fate::QueueFull => "the queue of a link is full",
            Fate::Cut => "cut off",
            Fate::TooLong => "too long for this link",
            Fate::Filtered => "its kind is filtered",
            Fate::OfNoUse => "of no use here",
            Fate::InboxFull => "the inbox is full",
            Fate::Dead => "the receiver is dead",
        })
    }
}

/// What a process believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belief {
    /// A proposer.
    Proposer {
        /// What it is; leading or campaigning, `ballot` is its own.
        standing: Standing,
        /// Its ballot, or that of the leader it follows.
        ballot: Ballot,
        /// What it knows to be decided.
        progress: Progress,
    },
    /// An acceptor.
    Acceptor {
        /// The ballot it promised.
        promised: Ballot,
    },
    /// A learner.
    Learner {
        /// Whether it leads the learners.
        leads: bool,
        /// What it knows to be decided.
        progress: Progress,
    },
    /// A client.
    Client {
        /// The ballot of the leader it takes for the present one.
        leader: Ballot,
        /// The fates of its values.
        tally: ClientTally,
    },
}

/// Which copy a datagram on its way is. Without a record it is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassageId(Option<(u32, u32)>);

impl Default for Record {
    /// Nothing has happened.
    fn default() -> Self {
        Record {
            events: Vec::new(),
            messages: Vec::new(),
            is_cut_short: false,
            end: Time::ZERO,
            beliefs: BTreeMap::new(),
        }
    }
}

impl Record {
    /// An empty one, to be shared with a world.
    pub fn shared() -> SharedRecord {
        SharedRecord::default()
    }

    /// Something happened.
    pub fn happened(&mut self, time: Time, what: What) {
        self.end = self.end.max(time);
        if !self.is_cut_short {
            self.events.push(Event { time, what });
        }
    }

    /// A datagram was sent. Its copies follow.
    pub fn sent(&mut self, sent: Sent) {
        self.end = self.end.max(sent.time);
        self.is_cut_short |= self.messages.len() >= MESSAGES_MAX;
        if !self.is_cut_short {
            self.messages.push(sent);
        }
    }

    /// A copy of the datagram that was sent last.
    pub fn copied(&mut self, copy: Passage) -> PassageId {
        if self.is_cut_short {
            return PassageId::default();
        }
        let number = self.messages.len() as u32;
        let Some(sent) = self.messages.last_mut() else { return PassageId::default() };
        sent.copies.push(copy);
        PassageId(Some((number - 1, sent.copies.len() as u32 - 1)))
    }

    /// A copy has met its fate.
    pub fn ended(&mut self, time: Time, copy: PassageId, fate: Fate) {
        self.end = self.end.max(time);
        let PassageId(Some((number, place))) = copy else { return };
        let sent = self.messages.get_mut(number as usize);
        if let Some(copy) = sent.and_then(|sent| sent.copies.get_mut(place as usize)) {
            (copy.fate, copy.time) = (fate, time);
        }
    }

    /// A copy was read, and said this.
    pub fn read(&mut self, time: Time, copy: PassageId, from: NodeId, message: &Message) {
        self.ended(time, copy, Fate::Read);
        let PassageId(Some((number, _))) = copy else { return };
        if let Some(sent) = self.messages.get_mut(number as usize)
            && sent.message.is_none()
        {
            (sent.from, sent.message) = (Some(from), Some(message.clone()));
        }
    }

    /// What a process believes now, if that is news.
    pub fn believes(&mut self, time: Time, node: NodeId, belief: Belief) {
        if self.beliefs.get(&node) != Some(&belief) {
            self.beliefs.insert(node, belief.clone());
            self.happened(time, What::Believes(node, belief));
        }
    }

    /// What a process believes after a turn on a stage; a proposer's changes of office follow from
    /// it.
    pub fn watched(&mut self, time: Time, node: NodeId, belief: &Belief) {
        let leads = |belief: Option<&Belief>| match belief {
            Some(Belief::Proposer { standing: Standing::Leads, ballot, .. }) => Some(*ballot),
            _ => None,
        };
        let (before, after) = (leads(self.beliefs.get(&node)), leads(Some(belief)));
        self.believes(time, node, belief.clone());
        if before.is_some() && after.is_none() {
            self.happened(time, What::Yields(node));
        }
        if let (None, Some(ballot)) = (before, after) {
            self.happened(time, What::Leads(node, ballot));
        }
    }

    /// Every process that was ever there: clients, proposers, acceptors, learners.
    pub fn nodes(&self) -> Vec<NodeId> {
        let started = self.events.iter().filter_map(|event| match event.what {
            What::Starts(node) => Some(node),
            _ => None,
        });
        let mut nodes: Vec<NodeId> = started.collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
}

#[cfg(test)]
mod tests;
