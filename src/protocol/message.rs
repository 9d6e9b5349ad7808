//! The messages, and how they follow each other.
//!
//! A message goes to an entire group, and members that have no use for it drop it; or, where it
//! concerns one process alone, to that one ([`To`]). A repeated question goes to the group, and so
//! does its answer, so that nothing depends on knowing anybody's address. Any message may be lost,
//! repeated, delayed or overtaken: no handler relies on order, and every answer can be asked for
//! again. Messages carry runs of instances, so that one datagram can do the work of a thousand.
//!
//! To one process go: Request (the leader), RequestAck, Promise, Accepted and Nack (the owner of
//! the ballot), CatchUpRequest, CatchUpReply, Recalled, ReadReply, Fetch, Chunk and Disown.
//! DecideAck does not, for standbys learn from it what a leader that died told nobody else.
//! ARCHITECTURE.md has a table of it.
//!
//! Taking over (phase 1, once for the whole log; "Paxos Made Simple", section 3):
//!
//! ```text
//!   P1                 A1    A2    A3
//!   |---- Prepare ----->|---->|---->|      ballot, from
//!   |<--- Promise ------|     |     |      a page of what was accepted, and where the next begins
//!   |<--- Promise ------------|     |
//!   |---- Prepare ----->|                  the next page, from one acceptor
//!   |<--- Promise ------|                  the last page: A1's promise is complete
//! ```
//!
//! Deciding (phase 2). A value crosses a link once, in its Accept; a decision is a name, the ballot
//! and the instances, and rides on the next Accept when one leaves in the same turn:
//!
//! ```text
//!   C1        P1              A1  A2  A3        L1  L2        P2
//!   | Request |               |   |   |         |   |         |
//!   |-------->|--- Accept --->|-->|-->|-------->|-->|-------->|  entries; what was decided before
//!   |         |<-- Accepted --|   |   |         |   |         |
//!   |         |<-- Accepted ------|   |         |   |         |
//!   |         |--- Chosen --------------------->|-->|         |  when no Accept leaves
//!   |<--------| RequestAck                      |   |         |
//!   |         |<-- DecideAck (the leading learner, now and then)
//! ```
//!
//! Entries that were not decided by the leader's own Accepts have no such name, and are sent with
//! their values, by Decide.
//!
//! Opening a session (`sessions`), before the first value is requested:
//!
//! ```text
//!   C1 --- Request (no values) ---> P1 --- RequestAck (everything below this is decided) ---> C1
//! ```
//!
//! Done with it, after the last value is decided:
//!
//! ```text
//!   C1 --- Request (no values, and where the session was opened) ---> P1
//! ```
//!
//! Refusing, and catching up:
//!
//! ```text
//!   P1 --- Prepare or Accept --> A1 --- Nack (a higher ballot was promised) --> P1
//!   A2, which lost its data --- Promise or Accepted --> P1 --- Disown --> A2, which ends
//!   L2 --- CatchUpRequest --> the leading learner, or the leader --- CatchUpReply ... --> L2
//!   L1 --- Durable (what a snapshot of it stands for) --> proposers, who may remove that
//!   L3 --- Fetch (none; it needs the log from there on) --> proposers, who keep that for a while
//!   L2 --- Recall --> A1, A2, A3 --- Recalled (their votes, from their disks) ... --> L2
//!   L2 --- ReadRequest --> A1, A2, A3 --- ReadReply (where what they accepted ends) --> L2
//!   L3 --- Fetch --> L1, L2 --- Chunk (of the newest snapshot) --> L3, which begins behind the log
//!   L3 --- Fetch (64 more) --> L1 --- Chunk ... --> L3
//!   leader --- Heartbeat (what is decided so far) --> proposers, learners, clients
//! ```
//!
//! Choosing who leads (`election` has the rules):
//!
//! ```text
//!   P1, P2 --- Heartbeat (a stamp) ---> A1, A2, A3
//!   A1 --- Echo (whom it heard, with their stamps, and what it promised) ---> P1, P2
//!   C1 --- Plea (nobody serves me; these answer) ---> P1, P2
//!   P2 --- Offer (I hear you) ---> C1
//! ```

mod display;
mod interest;
mod phase1;
mod reading;
mod recalling;
mod snapshot;

pub use self::interest::Interest;
pub use self::phase1::{AcceptedPage, Prepare, Promise};
pub use self::reading::{ReadReply, ReadRequest};
pub use self::recalling::{Recall, Recalled, Voted};
pub use self::snapshot::{Chunk, Durable, Fetch, LaterForm, Needed, SnapshotName, StateKind};

use super::entries::Entries;
use super::types::{
    AssignedBy, Ballot, Counted, Few, Instance, NodeId, Number, Origin, RUN_BYTES_MAX, Role, Run,
    Session, TOLD_BYTES_MAX, Time, To, Value,
};
use super::versions::{Version, Versions};

/// Everything that travels. One variant for each struct below.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // Each struct has its own.
pub enum Message {
    Request(Request),
    RequestAck(RequestAck),
    Prepare(Prepare),
    Promise(Promise),
    Accept(Accept),
    Accepted(Accepted),
    Nack(Nack),
    Decide(Decide),
    DecideAck(DecideAck),
    Heartbeat(Heartbeat),
    CatchUpRequest(CatchUpRequest),
    CatchUpReply(CatchUpReply),
    Disown(Disown),
    Echo(Echo),
    Plea(Plea),
    Offer(Offer),
    Chosen(Chosen),
    Durable(Durable),
    Recall(Recall),
    Recalled(Recalled),
    ReadRequest(ReadRequest),
    ReadReply(ReadReply),
    Fetch(Fetch),
    Chunk(Chunk),
}

/// Client to proposers: decide these values. The session is the sender's. Without values it asks
/// where the log is, before the session is opened, or says that nothing more is requested
/// (`sessions`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// Who gives the values their instances.
    pub assignment: Assignment,
    /// The number of the first value; the others follow it. Without values: of the next one.
    pub from: Number,
    /// The first number whose fate the client does not know, at most `from`. A leader that lacks a
    /// number below it has missed something that another leader decided.
    pub front: Number,
    /// Where the log was when the session was opened; [`Origin::UNSTAMPED`] if it was not opened
    /// yet, or asks for instances.
    pub opened: Instance,
    /// The values in the form of entries: consecutive numbers of the session, from `from`, with its
    /// way of assignment.
    pub entries: Entries,
}

impl Request {
    /// Whether the client has what it wanted, and requests nothing from [`Request::from`] on. It
    /// says so once, and is not answered.
    pub fn is_last(&self) -> bool {
        self.entries.is_empty()
            && self.assignment == Assignment::Leader
            && self.opened != Origin::UNSTAMPED
    }
}

/// How a client wants its values placed; the same for its entire session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assignment {
    /// Value number n asks for instance `first + n - 1`.
    Client {
        /// The instance of value number 1.
        first: Instance,
    },
    /// The leader chooses.
    Leader,
}

impl Assignment {
    /// The same without the first instance.
    pub fn assigned_by(self) -> AssignedBy {
        match self {
            Assignment::Client { .. } => AssignedBy::Client,
            Assignment::Leader => AssignedBy::Leader,
        }
    }
}

/// Leader to a client: what became of its values. Sent to all clients for a client that has asked
/// again and again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestAck {
    /// Whether the leader is quorate. An answer from one that is not tells how values fared, but
    /// not that anybody serves these clients.
    pub quorate: bool,
    /// Whether the leader takes no new values: too few acceptors have room on their disks
    /// ([`Echo::full`]). Values received before stay received.
    pub full: bool,
    /// About how many bytes of each of these sessions may wait for a decision.
    pub grant: u32,
    /// Everything below it is decided: where a session may be opened.
    pub decided_below: Instance,
    /// The answer to each session.
    pub told: Vec<Told>,
}

/// What became of the values of one session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Told {
    /// The client's session.
    pub session: Session,
    /// Whether a request of the session came since the last answer. If not, this answers a plea,
    /// and a link that carries pleas need not carry requests.
    pub requested: bool,
    /// Nothing is known of the session any more, and nothing more of it is ever delivered. Final.
    pub is_forgotten: bool,
    /// Values the leader holds. It may die with them, so this only paces retries.
    pub received: Few<Run<Number>>,
    /// Values that are decided in their instance, or delivered. Final.
    pub delivered: Few<Run<Number>>,
    /// Values whose instance holds something else, or whose session has ended before they were
    /// delivered. Final.
    pub lost: Few<Run<Number>>,
}

impl Told {
    /// Nothing but that the session was heard, by a request or not.
    pub fn new(session: Session, requested: bool) -> Self {
        let (received, delivered, lost) = (Few::new(), Few::new(), Few::new());
        Told { session, requested, is_forgotten: false, received, delivered, lost }
    }

    /// How many bytes it takes in a datagram, at most.
    pub fn wire_bytes_max(&self) -> usize {
        let runs = self.received.len() + self.delivered.len() + self.lost.len();
        TOLD_BYTES_MAX + runs * RUN_BYTES_MAX
    }
}

/// Phase 2a, leader to acceptors: accept these entries. Learners and standby proposers hear it, and
/// hold the entries until they are named (see [`Chosen`]).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Accept {
    /// The leader's ballot.
    pub ballot: Ballot,
    /// The leader's watermark: as [`Chosen::until`].
    pub watermark: Instance,
    /// As [`Chosen::runs`].
    pub chosen: Few<Run<Instance>>,
    /// Whether the leader takes no new values, as [`RequestAck::full`]. Then clients' values in
    /// here were under way before, and an acceptor whose disk is full takes them from its reserve:
    /// a checkpoint above them, which makes room, is of use once they are decided.
    pub full: bool,
    /// The instance of the first entry; the others follow it.
    pub from: Instance,
    /// The entries.
    pub entries: Entries,
}

/// Phase 2b, acceptor to proposers: accepted and stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Accepted {
    /// The ballot of the entries.
    pub ballot: Ballot,
    /// Their instances.
    pub runs: Few<Run<Instance>>,
}

/// Acceptor to proposers: refused, because a higher ballot was promised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nack {
    /// The ballot that was refused.
    pub rejected: Ballot,
    /// The ballot that stands.
    pub promised: Ballot,
}

/// Leader to learners: what is decided, by name. Every Accept says the same, and a leader's
/// heartbeats say it of the prefix alone.
///
/// The name of a decision is the ballot and the instance: a process that holds the entry which this
/// very ballot proposed there holds what is decided. Any other process knows only that something is
/// decided. `proposals` has the argument.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chosen {
    /// The leader's ballot.
    pub ballot: Ballot,
    /// Everything below it is decided.
    pub until: Instance,
    /// Runs above it that were decided recently.
    pub runs: Few<Run<Instance>>,
}

/// Leader to learners and to standby proposers: these entries are decided, though not by the
/// leader's own Accepts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decide {
    /// The leader's ballot.
    pub ballot: Ballot,
    /// The instance of the first entry; the others follow it.
    pub from: Instance,
    /// The entries.
    pub entries: Entries,
}

/// Leading learner to proposers: how far the learners are. It stops the re-sending of Chosen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecideAck {
    /// What the learner holds.
    pub progress: Progress,
}

/// How much of the log a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Progress {
    /// The lowest instance whose entry any process keeps; the entries below were trimmed.
    pub trimmed: Instance,
    /// The lowest instance whose entry the sender holds. Entries from `trimmed` up to this one are
    /// on the acceptors' disks.
    pub first: Instance,
    /// Every instance below it is decided.
    pub watermark: Instance,
    /// How many instances are decided, including those above the watermark and those that were
    /// trimmed. A process that counts fewer misses some.
    pub decided: u64,
    /// Above every decided instance.
    pub end: Instance,
    /// What distinguishes the log from the one that the cluster had before its acceptors lost their
    /// data: the boot number of the first session that has a value in it. 0 while that is not
    /// known.
    pub name: u64,
}

impl Progress {
    /// The progress of a process that holds all of a log without a name that ends before `end`,
    /// where nothing else is decided.
    pub fn until(end: Instance) -> Self {
        let (first, decided) = (Instance::FIRST, end.0.saturating_sub(1));
        Progress { trimmed: first, first, watermark: end, decided, end, name: 0 }
    }
}

/// Alive: a proposer to the acceptors, a learner to the learners; a proposer that campaigns or
/// leads to the other proposers as well, and a leader to learners and clients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Heartbeat {
    /// In which version of the wire format it is sent. A leader's says in which one all others
    /// send from now on.
    pub version: Version,
    /// What the sender announces of itself.
    pub announcement: Announcement,
    /// Whether acceptors should echo it at once.
    pub asks: bool,
    /// Of a leader: as [`RequestAck::full`]. Clients that ask for nothing hear when it ends.
    pub full: bool,
    /// What the sender holds, so that the loss of the last value is noticed.
    pub progress: Progress,
    /// How many sessions of clients it remembers, for `status` and metrics. Version 8 has no field
    /// for it.
    pub sessions: Option<u32>,
}

impl Heartbeat {
    /// A heartbeat that asks for no echo and says nothing of sessions.
    pub fn new(version: Version, announcement: Announcement, progress: Progress) -> Self {
        let (asks, full, sessions) = (false, false, None);
        Heartbeat { version, announcement, asks, full, progress, sessions }
    }

    /// The same of a process that remembers this many sessions, where the version has a field.
    pub fn remembering(self, sessions: usize) -> Self {
        let count = u32::try_from(sessions).unwrap_or(u32::MAX);
        let sessions = (self.version > Version::OLDEST).then_some(count);
        Heartbeat { sessions, ..self }
    }
}

/// What a process says of itself. A proposer's is repeated by the acceptors that hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Announcement {
    /// Its standing in its group.
    pub standing: Standing,
    /// Of a proposer: whether it hears its own stamps from a majority of the acceptors.
    pub quorate: bool,
    /// The ballot of a proposer that leads or campaigns. Of a learner: that of the quorate leader
    /// that it hears itself. Else [`Ballot::ZERO`].
    pub ballot: Ballot,
    /// When it was sent, by the sender's clock. It means nothing to others, but it grows.
    pub stamp: Time,
    /// Which versions of the wire format it reads.
    pub reads: Versions,
}

impl Announcement {
    /// The announcement of a process of this release that hears no quorum and has no clock.
    pub fn new(standing: Standing, ballot: Ballot) -> Self {
        let (quorate, stamp, reads) = (false, Time::ZERO, Versions::ALL);
        Announcement { standing, quorate, ballot, stamp, reads }
    }
}

/// Acceptor to proposers: which of them it heard recently, and what they announced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Echo {
    /// The ballot it promised.
    pub promised: Ballot,
    /// In how many instances it has accepted something. While its data survive, neither this nor
    /// its promise ever shrinks.
    pub accepted: u64,
    /// Whether its disk is full: it votes for clients' values only where the leader says that it
    /// takes no new ones ([`Accept::full`]), and goes on voting for what the leader writes itself.
    pub full: bool,
    /// Which versions of the wire format it reads.
    pub reads: Versions,
    /// The last announcement of each proposer.
    pub heard: Vec<Heard>,
}

/// The last announcement that an acceptor heard of one proposer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Heard {
    /// The proposer.
    pub proposer: u32,
    /// Its boot number.
    pub boot: u64,
    /// The announcement.
    pub announcement: Announcement,
}

impl Heard {
    /// How many bytes one takes in a datagram, at most.
    pub const BYTES_MAX: usize = 5 + 9 + (1 + 2) + 1 + (9 + 5 + 9) + 9;
}

/// Client or learner to proposers: no leader serves this process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plea {
    /// For how long it has pleaded without being served, in microseconds.
    pub pleaded_us: u64,
    /// The proposers that it hears, and that hear it: they answered earlier pleas.
    pub offered: Vec<u32>,
    /// Which versions of the wire format it reads.
    pub reads: Versions,
}

/// Proposer to the group of the processes that plead: their pleas were heard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offer {
    /// The members of the group that pleaded since the last offer.
    pub to: Vec<u32>,
    /// How many processes plead at present: the more there are, the less often each pleads.
    pub callers: u32,
    /// What the proposer holds: a learner may fetch it.
    pub progress: Progress,
}

impl Offer {
    /// How many bytes one of `to` takes in a datagram, at most.
    pub const CALLER_BYTES_MAX: usize = 5;
}

/// What a member of a group is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Leads.
    Leads,
    /// Gathers promises, and asks the others to let it.
    Campaigns,
    /// Stands by to lead.
    Stands,
    /// Stepped down a moment ago, and would rather not lead.
    Abstains,
}

/// Learner or proposer to the learners or to the proposers: send what is decided here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CatchUpRequest {
    /// Which process is asked; none means the leader.
    pub of: Option<NodeId>,
    /// Whether an earlier request went unanswered: then the answer goes to the group, for the
    /// sender's own address may not work.
    pub again: bool,
    /// What the sender misses, in order.
    pub missing: Vec<Run<Instance>>,
}

/// Learner or proposer to the process that asked: decided entries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CatchUpReply {
    /// The instance of the first entry; the others follow it.
    pub from: Instance,
    /// The entries.
    pub entries: Entries,
    /// Whether this is the last datagram of the answer; what is still missing must be asked for.
    pub last: bool,
}

/// Proposer to acceptors: the acceptor of this id had another incarnation before. It has lost what
/// it promised, so its votes do not count, and it must end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Disown {
    /// The acceptor.
    pub acceptor: u32,
    /// The incarnation that is refused, as the acceptor itself said it.
    pub incarnation: u64,
}

/// The kind of a message, as it stands in a datagram's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // As the messages.
pub enum Kind {
    Request,
    RequestAck,
    Prepare,
    Promise,
    Accept,
    Accepted,
    Nack,
    Decide,
    DecideAck,
    Heartbeat,
    CatchUpRequest,
    CatchUpReply,
    Disown,
    Echo,
    Plea,
    Offer,
    Chosen,
    Durable,
    Recall,
    Recalled,
    ReadRequest,
    ReadReply,
    Fetch,
    Chunk,
}

impl Kind {
    /// Every kind, in the order of their numbers on the wire.
    pub const ALL: [Kind; 24] = [
        Kind::Request,
        Kind::RequestAck,
        Kind::Prepare,
        Kind::Promise,
        Kind::Accept,
        Kind::Accepted,
        Kind::Nack,
        Kind::Decide,
        Kind::DecideAck,
        Kind::Heartbeat,
        Kind::CatchUpRequest,
        Kind::CatchUpReply,
        Kind::Disown,
        Kind::Echo,
        Kind::Plea,
        Kind::Offer,
        Kind::Chosen,
        Kind::Durable,
        Kind::Recall,
        Kind::Recalled,
        Kind::ReadRequest,
        Kind::ReadReply,
        Kind::Fetch,
        Kind::Chunk,
    ];

    /// Whether processes of `role` take it from `group`: everything from their own, and only the
    /// values from the acceptors'. Acceptors have an interest in whatever others take from there,
    /// for in a process with several roles they may hear it for all.
    pub fn is_taken(self, role: Role, group: Role) -> bool {
        role == group || (group == Role::Acceptor && self == Kind::Accept)
    }

    /// Whether `node` takes it when it is sent there.
    pub fn reaches(self, to: To, node: NodeId) -> bool {
        let is_taken = match to {
            To::Group(group) => self.is_taken(node.role, group),
            To::Node(_) => true,
        };
        to.reaches(node) && is_taken
    }

    /// Whether processes of `role` send it.
    pub fn is_sent_by(self, role: Role) -> bool {
        match self {
            Kind::Request => role == Role::Client,
            Kind::RequestAck
            | Kind::Prepare
            | Kind::Accept
            | Kind::Decide
            | Kind::Disown
            | Kind::Offer
            | Kind::Chosen => role == Role::Proposer,
            Kind::Promise
            | Kind::Accepted
            | Kind::Nack
            | Kind::Echo
            | Kind::Recalled
            | Kind::ReadReply => role == Role::Acceptor,
            Kind::Plea => matches!(role, Role::Client | Role::Learner),
            Kind::DecideAck
            | Kind::Durable
            | Kind::Recall
            | Kind::ReadRequest
            | Kind::Fetch
            | Kind::Chunk => role == Role::Learner,
            Kind::Heartbeat | Kind::CatchUpRequest | Kind::CatchUpReply => {
                matches!(role, Role::Proposer | Role::Learner)
            }
        }
    }
}

impl Message {
    /// The message's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Message::Request(_) => Kind::Request,
            Message::RequestAck(_) => Kind::RequestAck,
            Message::Prepare(_) => Kind::Prepare,
            Message::Promise(_) => Kind::Promise,
            Message::Accept(_) => Kind::Accept,
            Message::Accepted(_) => Kind::Accepted,
            Message::Nack(_) => Kind::Nack,
            Message::Decide(_) => Kind::Decide,
            Message::DecideAck(_) => Kind::DecideAck,
            Message::Heartbeat(_) => Kind::Heartbeat,
            Message::CatchUpRequest(_) => Kind::CatchUpRequest,
            Message::CatchUpReply(_) => Kind::CatchUpReply,
            Message::Disown(_) => Kind::Disown,
            Message::Echo(_) => Kind::Echo,
            Message::Plea(_) => Kind::Plea,
            Message::Offer(_) => Kind::Offer,
            Message::Chosen(_) => Kind::Chosen,
            Message::Durable(_) => Kind::Durable,
            Message::Recall(_) => Kind::Recall,
            Message::Recalled(_) => Kind::Recalled,
            Message::ReadRequest(_) => Kind::ReadRequest,
            Message::ReadReply(_) => Kind::ReadReply,
            Message::Fetch(_) => Kind::Fetch,
            Message::Chunk(_) => Kind::Chunk,
        }
    }
}
