//! The nouns of the protocol: nodes, instances, ballots, values.
//!
//! Plain data with a derived total order and a short printed form. Nothing here acts.

use std::fmt;
use std::ops::Add;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::entries::EntryRef;

/// A list that mostly holds one item, as votes, acknowledgements and turns do when values come
/// alone. Only a second item takes memory of its own.
pub type Few<T> = SmallVec<[T; 1]>;

/// What a process does. Each role has a multicast group of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Asks for values to be decided.
    Client,
    /// Runs the ballots; one proposer leads at a time.
    Proposer,
    /// Votes on values, and remembers its votes.
    Acceptor,
    /// Learns what was decided and hands it out in order.
    Learner,
}

impl Role {
    /// Every role, in the order of the configuration file.
    pub const ALL: [Role; 4] = [Role::Client, Role::Proposer, Role::Acceptor, Role::Learner];

    /// The role as a word of the command line: `client`, `proposer`, ...
    pub fn name(self) -> &'static str {
        match self {
            Role::Client => "client",
            Role::Proposer => "proposer",
            Role::Acceptor => "acceptor",
            Role::Learner => "learner",
        }
    }
}

impl Role {
    /// The groups that a process of this role listens to, its own first. A message to a group
    /// reaches every process whose role hears it, wherever its members are: the runtime opens a
    /// socket for each group heard, and the simulator delivers by the same table.
    pub const fn hears(self) -> &'static [Role] {
        match self {
            Role::Client => &[Role::Client],
            Role::Proposer => &[Role::Proposer, Role::Acceptor],
            Role::Acceptor => &[Role::Acceptor],
            Role::Learner => &[Role::Learner, Role::Acceptor],
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One process: a role and an id that is unique within the role, from 1. Prints as `P1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// What the process does.
    pub role: Role,
    /// Its number within the role, from 1.
    pub id: u32,
}

impl NodeId {
    /// The node `id` of `role`.
    pub fn new(role: Role, id: u32) -> Self {
        NodeId { role, id }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.role {
            Role::Client => 'C',
            Role::Proposer => 'P',
            Role::Acceptor => 'A',
            Role::Learner => 'L',
        };
        write!(f, "{letter}{}", self.id)
    }
}

impl FromStr for NodeId {
    type Err = String;

    /// Reads `P1` and the like.
    fn from_str(word: &str) -> Result<Self, String> {
        let refusal = || format!("{word} is not a node such as P1, A2, L1 or C1");
        let letter = word.chars().next().ok_or_else(refusal)?;
        let role = match letter {
            'C' => Role::Client,
            'P' => Role::Proposer,
            'A' => Role::Acceptor,
            'L' => Role::Learner,
            _ => return Err(refusal()),
        };
        match word[letter.len_utf8()..].parse() {
            Ok(id) if id >= 1 => Ok(NodeId { role, id }),
            Ok(_) | Err(_) => Err(refusal()),
        }
    }
}

/// The destination of a message: a group, or one process.
///
/// A role decides when an answer goes to one process, and when it is repeated to everybody. Only
/// the runtime knows addresses; a process whose address it lacks is reached by its group, so a
/// wrong or missing address costs one retry and never the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum To {
    /// Every process that hears the group of this role.
    Group(Role),
    /// One process.
    Node(NodeId),
}

impl To {
    /// The group that reaches the addressee in any case.
    pub fn group(self) -> Role {
        match self {
            To::Group(group) => group,
            To::Node(node) => node.role,
        }
    }

    /// Whether this reaches `node`.
    pub fn reaches(self, node: NodeId) -> bool {
        match self {
            To::Group(group) => node.role.hears().contains(&group),
            To::Node(to) => to == node,
        }
    }
}

impl From<Role> for To {
    fn from(group: Role) -> Self {
        To::Group(group)
    }
}

impl From<NodeId> for To {
    fn from(node: NodeId) -> Self {
        To::Node(node)
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            To::Group(group) => write!(f, "{group}s"),
            To::Node(node) => node.fmt(f),
        }
    }
}

/// The sender of a message: the node, and which incarnation of it.
///
/// `boot` is drawn from the operating system at every start, so two processes with one id, or a
/// process and its restart, can be distinguished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sender {
    /// The node.
    pub node: NodeId,
    /// Its boot number.
    pub boot: u64,
}

/// One position of the log, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(pub u64);

impl Instance {
    /// The first position of every log.
    pub const FIRST: Instance = Instance(1);
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The number of a line within a client's session, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u64);

impl Number {
    /// The first line of every session.
    pub const FIRST: Number = Number(1);
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Something that is counted: [`Instance`] and [`Number`], so that both can stand in a [`Run`].
pub trait Counted: Copy + Ord + fmt::Display {
    /// The plain number.
    fn get(self) -> u64;
    /// From the plain number.
    fn new(number: u64) -> Self;
    /// The one after, or the same at the end of the numbers.
    #[must_use]
    fn next(self) -> Self {
        self.plus(1)
    }
    /// The one `count` further, or the last number there is.
    #[must_use]
    fn plus(self, count: u64) -> Self {
        Self::new(self.get().saturating_add(count))
    }
    /// Each of `items` with its number: the first has this one, and the others follow it. A run
    /// may end at the last number there is, where an open range would step too far.
    fn numbering<I: IntoIterator>(self, items: I) -> impl Iterator<Item = (Self, I::Item)> {
        (0..).zip(items).map(move |(offset, item)| (self.plus(offset), item))
    }
}

impl Counted for Instance {
    fn get(self) -> u64 {
        self.0
    }
    fn new(number: u64) -> Self {
        Instance(number)
    }
}

impl Counted for Number {
    fn get(self) -> u64 {
        self.0
    }
    fn new(number: u64) -> Self {
        Number(number)
    }
}

/// Consecutive instances or numbers: `from` included, `until` not. Prints as `1..4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run<T> {
    /// The first one.
    pub from: T,
    /// The first one that no longer belongs to the run.
    pub until: T,
}

impl<T: Counted> Run<T> {
    /// The run `from..until`; empty when `until <= from`.
    pub fn new(from: T, until: T) -> Self {
        Run { from, until }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.until.get().saturating_sub(self.from.get())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `item` is one of them.
    pub fn contains(&self, item: T) -> bool {
        self.from <= item && item < self.until
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<T> {
        (self.from.get()..self.until.get()).map(T::new)
    }
}

impl<T: Counted> fmt::Display for Run<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.from, self.until)
    }
}

/// An attempt's number, in a total order. Prints as `3.P1`.
///
/// Two proposers never share a ballot because it carries the proposer, and two incarnations of one
/// proposer never share one because it carries the boot number ("Paxos Made Simple", section 2.4:
/// proposers choose their numbers from disjoint sets). So a ballot is never used again, not even by
/// a proposer that crashed and came back without a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// Raised above every round heard of, for each new attempt.
    pub round: u64,
    /// The proposer that owns the ballot.
    pub proposer: u32,
    /// The owner's boot number.
    pub boot: u64,
}

impl Ballot {
    /// Below every ballot that is ever used.
    pub const ZERO: Ballot = Ballot { round: 0, proposer: 0, boot: 0 };

    /// Whether `sender` is the one process that may use it: its proposer, in the incarnation that
    /// made it.
    pub fn belongs_to(self, sender: Sender) -> bool {
        let owner = NodeId { role: Role::Proposer, id: self.proposer };
        sender == Sender { node: owner, boot: self.boot }
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.P{}", self.round, self.proposer)
    }
}

/// One run of one client process. A client that is restarted is a new session, unless it resumes
/// its old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    /// The client's id.
    pub client: u32,
    /// The client's boot number.
    pub boot: u64,
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "C{}", self.client)
    }
}

/// The bytes of one line. Opaque: any byte string, even an empty one. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    bytes: Arc<[u8]>,
}

impl Value {
    /// A value of these bytes, at most [`Value::BYTES_MAX`].
    pub fn new(bytes: &[u8]) -> Self {
        assert!(bytes.len() <= Self::BYTES_MAX);
        Value { bytes: bytes.into() }
    }

    /// No value is longer than this, in bytes: 64 MiB. Every process of every cluster relies on it,
    /// so it is part of the form of entries and not a setting.
    pub const BYTES_MAX: usize = 1 << 26;

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 24;
        let bytes = self.as_bytes();
        let shown = &bytes[..bytes.len().min(SHOWN)];
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if bytes.len() > SHOWN {
            write!(f, "...({} bytes)", bytes.len())?;
        }
        Ok(())
    }
}

/// Who gives a value its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AssignedBy {
    /// The client asked for this very instance. Another client may ask for the same; one wins.
    Client,
    /// The leader chose an instance above all others. The value is delivered exactly once.
    Leader,
}

/// Where a value comes from. It travels with the value, so every leader can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The client's session.
    pub session: Session,
    /// The line of the session.
    pub number: Number,
    /// Who chose the instance.
    pub assigned_by: AssignedBy,
    /// In the first leader-assigned value of a session: where the log was when the session was
    /// opened (`sessions`). Else [`Origin::UNSTAMPED`].
    pub opened: Instance,
    /// When the leader gave a leader-assigned value its instance. [`LogTime::NONE`] before that,
    /// and in a client-assigned one.
    pub time: LogTime,
}

/// The time that an entry carries: milliseconds since 1970, as the leader's calendar had it. The
/// time of the log is the highest up to an instance (`decided_log`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogTime(pub u64);

impl LogTime {
    /// No time: that of entries to which no leader has given one.
    pub const NONE: LogTime = LogTime(0);
    /// The last one that an entry can have, in some 8,900 years.
    pub const MAX: LogTime = LogTime((1 << 48) - 1);
}

impl Origin {
    /// No stamp: that of all values but the first of a session. Below every stamp.
    pub const UNSTAMPED: Instance = Instance(0);

    /// The origin of a value without a stamp.
    pub fn new(session: Session, number: Number, assigned_by: AssignedBy) -> Self {
        Origin { session, number, assigned_by, opened: Self::UNSTAMPED, time: LogTime::NONE }
    }

    /// The same with this time, if the leader chose the instance.
    #[must_use]
    pub fn timed(self, time: LogTime) -> Self {
        let is_leaders = self.assigned_by == AssignedBy::Leader;
        Origin { time: if is_leaders { time } else { LogTime::NONE }, ..self }
    }

    /// The same with the stamp of its session, if it is its first value.
    #[must_use]
    pub fn stamped(self, opened: Instance) -> Self {
        let is_first = self.number == Number::FIRST && self.assigned_by == AssignedBy::Leader;
        Origin { opened: if is_first { opened } else { Self::UNSTAMPED }, ..self }
    }

    /// The origin of another value of the session, with the same time and without a stamp.
    #[must_use]
    pub fn at(self, number: Number) -> Self {
        Origin { number, opened: Self::UNSTAMPED, ..self }
    }

    /// The origin of the session's next value; none after the last number there is.
    pub fn next(self) -> Option<Origin> {
        Some(self.at(Number(self.number.0.checked_add(1)?)))
    }

    /// The origin of the session's value before; none before number 0.
    pub fn before(self) -> Option<Origin> {
        Some(self.at(Number(self.number.0.checked_sub(1)?)))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.assigned_by == AssignedBy::Leader { "*" } else { "" };
        write!(f, "{}{}{mark}", self.session, self.number)
    }
}

/// Which part of a value an entry holds. A leader-assigned value that is longer than a datagram
/// travels as a series: the parts are consecutive numbers of its session, each an entry of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The first one; more follow.
    First {
        /// How long the whole value is, at most [`Value::BYTES_MAX`].
        value_bytes: u32,
    },
    /// One in between; more follow.
    Middle,
    /// The last one.
    Last,
}

impl Part {
    /// The least length, in bytes, of a part that others follow, so that the longest value has a
    /// bounded number of parts.
    pub const BYTES_MIN: usize = 32;
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::First { value_bytes } => write!(f, "first part of {value_bytes} bytes"),
            Part::Middle => f.write_str("next part"),
            Part::Last => f.write_str("last part"),
        }
    }
}

/// The entry of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// Nothing: a leader closed a hole below a leader-assigned value.
    Noop,
    /// A client's value.
    Value {
        /// Where it comes from.
        origin: Origin,
        /// The bytes.
        value: Value,
    },
    /// Part of a leader-assigned value.
    Part {
        /// Where the value comes from, with the number of this part.
        origin: Origin,
        /// Which part it is.
        part: Part,
        /// Its bytes.
        bytes: Value,
    },
    /// A piece of a checkpoint, which a leader wrote: see `checkpoint`.
    Checkpoint {
        /// Which piece it is, and of how many.
        piece: Piece,
        /// Its bytes.
        bytes: Value,
    },
}

/// Which piece of a checkpoint an entry holds. The pieces stand in consecutive instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Piece {
    /// Its place, from 0.
    pub place: u32,
    /// How many pieces there are.
    pub count: u32,
    /// A hash of the entire checkpoint, which distinguishes it from others. After two leaders have
    /// died while they wrote, pieces of both may stand side by side.
    pub series: u64,
}

impl Piece {
    /// Whether it is the last one.
    pub fn is_last(self) -> bool {
        self.place.saturating_add(1) == self.count
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "checkpoint {} of {}", self.place.saturating_add(1), self.count)
    }
}

impl Entry {
    /// Where the entry comes from, if a client asked for it.
    pub fn origin(&self) -> Option<Origin> {
        match self {
            Entry::Noop | Entry::Checkpoint { .. } => None,
            Entry::Value { origin, .. } | Entry::Part { origin, .. } => Some(*origin),
        }
    }

    /// Whether the leader chose the instance.
    pub fn is_leader_assigned(&self) -> bool {
        self.borrowed().is_leader_assigned()
    }

    /// The same, borrowed.
    pub fn borrowed(&self) -> EntryRef<'_> {
        match self {
            Entry::Noop => EntryRef::Noop,
            Entry::Value { origin, value } => {
                EntryRef::Value { origin: *origin, value: value.as_bytes() }
            }
            Entry::Part { origin, part, bytes } => {
                EntryRef::Part { origin: *origin, part: *part, bytes: bytes.as_bytes() }
            }
            Entry::Checkpoint { piece, bytes } => {
                EntryRef::Checkpoint { piece: *piece, bytes: bytes.as_bytes() }
            }
        }
    }

    /// An upper bound of the entry's bytes in a datagram.
    pub fn wire_bytes_max(&self) -> usize {
        match self {
            Entry::Noop => 1,
            Entry::Value { value: bytes, .. }
            | Entry::Part { bytes, .. }
            | Entry::Checkpoint { bytes, .. } => ENTRY_BYTES_MAX + bytes.as_bytes().len(),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Noop => f.write_str("no-op"),
            Entry::Value { origin, value } => write!(f, "{origin} {value}"),
            Entry::Part { origin, part, bytes } => write!(f, "{origin} {part}: {bytes}"),
            Entry::Checkpoint { piece, bytes } => {
                write!(f, "{piece} ({} bytes)", bytes.as_bytes().len())
            }
        }
    }
}

/// No entry takes more bytes in a datagram than its value plus this; tested in `entries`.
pub const ENTRY_BYTES_MAX: usize = 39;

/// Everything in a datagram but its entries, values and runs fits this; tested in `wire`.
pub const MESSAGE_BYTES_MAX: usize = 121;

/// No [`Run`] takes more bytes in a datagram than this; tested in `wire`.
pub const RUN_BYTES_MAX: usize = 18;

/// The same for the answer to one session, besides its runs.
pub const TOLD_BYTES_MAX: usize = 5 + 9 + 1 + 1 + 3 * 5;

/// A moment, in microseconds since a start that the runtime chose. Never the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The start.
    pub const ZERO: Time = Time(0);

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, duration: Duration) -> Time {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}ms", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Paxos Made Simple", 2.4: ballots of different proposers, and of different incarnations of
    /// one proposer, differ and are ordered.
    #[test]
    fn ballots_order_by_round_first_and_never_tie() {
        let low = Ballot { round: 1, proposer: 9, boot: 9 };
        let high = Ballot { round: 2, proposer: 1, boot: 0 };
        assert!(low < high);
        assert_ne!(Ballot { boot: 1, ..high }, Ballot { boot: 2, ..high });
        assert!(Ballot::ZERO < low);
    }

    #[test]
    fn names_print_short() {
        assert_eq!(NodeId::new(Role::Proposer, 1).to_string(), "P1");
        assert_eq!("P1".parse(), Ok(NodeId::new(Role::Proposer, 1)));
        assert!(
            ["", "P", "P0", "X1", "P-1", "1"].iter().all(|word| word.parse::<NodeId>().is_err())
        );
        assert_eq!(Ballot { round: 3, proposer: 1, boot: 77 }.to_string(), "3.P1");
        assert_eq!(Value::new(b"a\tb").to_string(), "\"a\\tb\"");
    }
}
