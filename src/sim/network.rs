//! The simulated network: datagrams are lost, repeated, delayed and cut off, by one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::record::Fate;
use crate::protocol::message::Kind;
use crate::protocol::types::{NodeId, Time, To};
use crate::rng::Rng;

/// How bad the network is.
#[derive(Clone, Debug, PartialEq)]
pub struct Weather {
    /// The probability that a datagram is lost, for each receiver separately.
    pub loss: f64,
    /// The probability that it arrives twice.
    pub duplication: f64,
    /// The shortest delay.
    pub delay_min: Duration,
    /// The longest delay; datagrams overtake each other within the two.
    pub delay_max: Duration,
    /// What the link of each process carries; without it, anything at once.
    pub line: Option<Line>,
}

/// What a link carries, each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// How many bytes a second.
    pub rate: u64,
    /// How many bytes wait for it, at most; further datagrams are dropped.
    pub queue: u64,
}

/// Which way on a process's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From the process.
    Out,
    /// To it.
    In,
}

/// What a datagram takes on a link beside its bytes: UDP, IP and Ethernet.
const FRAME_BYTES: u64 = 42;

impl Default for Weather {
    fn default() -> Self {
        Weather {
            loss: 0.0,
            duplication: 0.0,
            delay_min: Duration::from_micros(20),
            delay_max: Duration::from_micros(60),
            line: None,
        }
    }
}

/// The network between the nodes of one cluster.
#[derive(Clone, Debug)]
pub struct Network {
    /// How bad it is now.
    pub weather: Weather,
    /// Nothing gets from the first to the second.
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// From the first to the second no longer datagram gets through.
    narrow: BTreeMap<(NodeId, NodeId), usize>,
    /// Kinds that do not get through at all.
    filtered: BTreeSet<Kind>,
    /// The first has a wrong address of the second.
    misplaced: BTreeSet<(NodeId, NodeId)>,
    /// These know no addresses.
    forgetful: BTreeSet<NodeId>,
    /// Links that differ from those of the others.
    lines: BTreeMap<NodeId, Line>,
    /// When each way of a link has carried all that waits for it, in nanoseconds.
    busy: BTreeMap<(NodeId, Way), u64>,
    rng: Rng,
}

impl Network {
    /// A network that draws from `seed`.
    pub fn new(weather: Weather, seed: u64) -> Self {
        let (cuts, narrow, filtered) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
        let (misplaced, forgetful) = (BTreeSet::new(), BTreeSet::new());
        let (lines, busy, rng) = (BTreeMap::new(), BTreeMap::new(), Rng::new(seed));
        Network { weather, cuts, narrow, filtered, misplaced, forgetful, lines, busy, rng }
    }

    /// Gives `node` a link of its own.
    pub fn set_line(&mut self, node: NodeId, line: Line) {
        self.lines.insert(node, line);
    }

    /// Whether datagrams wait for links.
    pub fn has_lines(&self) -> bool {
        self.weather.line.is_some() || !self.lines.is_empty()
    }

    /// When a datagram of `bytes` bytes that reaches the link of `node` now has passed it; none
    /// when the queue is full.
    pub fn pass(&mut self, now: Time, node: NodeId, way: Way, bytes: usize) -> Option<Time> {
        const SECOND: u64 = 1_000_000_000;
        let Some(line) = self.lines.get(&node).copied().or(self.weather.line) else {
            return Some(now);
        };
        let (now, bytes) = (now.0 * 1000, bytes as u64 + FRAME_BYTES);
        let busy = self.busy.entry((node, way)).or_default();
        let waiting = busy.saturating_sub(now) * line.rate / SECOND;
        if waiting + bytes > line.queue {
            return None;
        }
        *busy = now.max(*busy) + bytes * SECOND / line.rate;
        Some(Time(busy.div_ceil(1000)))
    }

    /// Lets nothing through from `from` to `to`; the other direction stays as it is.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    /// Lets nothing longer than `bytes` through from `from` to `to`.
    pub fn narrow(&mut self, from: NodeId, to: NodeId, bytes: usize) {
        self.narrow.insert((from, to), bytes);
    }

    /// Whether two nodes hear each other, at whatever length.
    pub fn is_two_way(&self, one: NodeId, other: NodeId) -> bool {
        [(one, other), (other, one)]
            .iter()
            .all(|link| !self.cuts.contains(link) && !self.narrow.contains_key(link))
    }

    /// Lets no message of `kind` through.
    pub fn filter(&mut self, kind: Kind) {
        self.filtered.insert(kind);
    }

    /// From now on direct messages from `from` to `to` go elsewhere.
    pub fn misplace(&mut self, from: NodeId, to: NodeId) {
        self.misplaced.insert((from, to));
    }

    /// `node` forgets all addresses.
    pub fn forget(&mut self, node: NodeId) {
        self.forgetful.insert(node);
    }

    /// Where a message from `from` to `to` really goes; none means nowhere.
    pub fn way(&self, from: NodeId, to: To) -> Option<To> {
        match to {
            To::Group(_) => Some(to),
            To::Node(_) if self.forgetful.contains(&from) => Some(To::Group(to.group())),
            To::Node(node) if self.misplaced.contains(&(from, node)) => None,
            To::Node(_) => Some(to),
        }
    }

    /// Ends every cut and filter; addresses are known and right.
    pub fn heal(&mut self) {
        self.misplaced.clear();
        self.forgetful.clear();
        self.cuts.clear();
        self.narrow.clear();
        self.filtered.clear();
        self.lines.clear();
    }

    /// When each copy of a datagram that leaves now arrives, or why it does not. There is one copy,
    /// or two.
    pub fn arrivals(
        &mut self,
        now: Time,
        (from, to): (NodeId, NodeId),
        (kind, bytes): (Kind, usize),
    ) -> [Option<Result<Time, Fate>>; 2] {
        let is_too_long = self.narrow.get(&(from, to)).is_some_and(|most| bytes > *most);
        if self.cuts.contains(&(from, to)) {
            return [Some(Err(Fate::Cut)), None];
        }
        if is_too_long {
            return [Some(Err(Fate::TooLong)), None];
        }
        if self.filtered.contains(&kind) {
            return [Some(Err(Fate::Filtered)), None];
        }
        let is_twice = self.rng.chance(self.weather.duplication);
        let first = self.arrival(now);
        [Some(first), is_twice.then(|| self.arrival(now))]
    }

    fn arrival(&mut self, now: Time) -> Result<Time, Fate> {
        let spread = self.weather.delay_max.saturating_sub(self.weather.delay_min);
        if self.rng.chance(self.weather.loss) {
            return Err(Fate::Lost);
        }
        Ok(now + self.weather.delay_min + self.rng.up_to(spread))
    }
}
