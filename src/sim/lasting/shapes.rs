//! What can be broken for good: the shapes that are known to break elections, and random ones.

use std::time::Duration;

use crate::protocol::types::{NodeId, Role};
use crate::rng::Rng;
use crate::sim::fault::Fault;

/// Datagrams that carry a value are longer than this, and those of elections are not.
pub const NARROW_BYTES: usize = 420;

/// How many processes there are of each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// How many proposers.
    pub proposers: u32,
    /// How many acceptors.
    pub acceptors: u32,
    /// How many learners.
    pub learners: u32,
    /// How many clients.
    pub clients: u32,
}

impl Cast {
    /// The proposers.
    pub fn proposers(self) -> impl Iterator<Item = NodeId> + Clone {
        (1..=self.proposers).map(|id| NodeId::new(Role::Proposer, id))
    }

    /// The acceptors.
    pub fn acceptors(self) -> impl Iterator<Item = NodeId> + Clone {
        (1..=self.acceptors).map(|id| NodeId::new(Role::Acceptor, id))
    }

    /// The learners.
    pub fn learners(self) -> impl Iterator<Item = NodeId> + Clone {
        (1..=self.learners).map(|id| NodeId::new(Role::Learner, id))
    }

    /// The clients.
    pub fn clients(self) -> impl Iterator<Item = NodeId> + Clone {
        (1..=self.clients).map(|id| NodeId::new(Role::Client, id))
    }

    fn everyone(self) -> Vec<NodeId> {
        let peers = self.proposers().chain(self.acceptors());
        peers.chain(self.learners()).chain(self.clients()).collect()
    }

    /// Every directed link between two different nodes for which `is_cut` says so.
    pub fn links(self, mut is_cut: impl FnMut(NodeId, NodeId) -> bool) -> Vec<(NodeId, NodeId)> {
        let everyone = self.everyone();
        let pairs = everyone.iter().flat_map(|from| everyone.iter().map(|to| (*from, *to)));
        pairs.filter(|(from, to)| from != to && is_cut(*from, *to)).collect()
    }
}

/// What is broken, and in which order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pattern {
    /// Its name.
    pub name: &'static str,
    /// Faults from the start.
    pub before: Vec<Fault>,
    /// Faults at the cut.
    pub faults: Vec<Fault>,
    /// Faults that follow, each after this long; the last ones stay.
    pub then: Vec<(Duration, Vec<Fault>)>,
    /// Whether it treats all proposers alike, so that none has a reason to replace another.
    pub is_fair: bool,
    /// How much longer deciding may take than without the faults.
    pub patience: Duration,
}

impl Pattern {
    /// A random one, for a cluster in which `leader` leads.
    pub fn drawn(rng: &mut Rng, cast: Cast, leader: NodeId) -> Self {
        match rng.below(10) {
            0..=2 => {
                let centre =
                    NodeId::new(Role::Proposer, 1 + rng.below(cast.proposers.into()) as u32);
                star("a star", rng, cast, centre)
            }
            3 => star("a star around the leader", rng, cast, leader),
            4..=6 => named(rng, cast, leader),
            7 => {
                let chance = [0.1, 0.2, 0.4, 0.6][rng.below(4) as usize];
                let apart = rng.chance(0.3);
                let among = |from: NodeId, to: NodeId| {
                    from.role == Role::Proposer && to.role == Role::Proposer
                };
                let cuts = cast.links(|from, to| apart && among(from, to) || rng.chance(chance));
                once("some links", cuts)
            }
            8 => flapping(rng, cast, leader),
            _ if rng.chance(0.5) => slow_disks(rng, cast),
            _ => slow_star(rng, cast),
        }
    }
}

fn once(name: &'static str, pairs: Vec<(NodeId, NodeId)>) -> Pattern {
    Pattern { name, faults: vec![Fault::Cut { shape: name, pairs }], ..Pattern::default() }
}

/// Keeps the links that make `centre` the centre of a star, and cuts others at random.
fn star(name: &'static str, rng: &mut Rng, cast: Cast, centre: NodeId) -> Pattern {
    let chance = [0.1, 0.3, 0.5, 0.7, 0.9, 1.0][rng.below(6) as usize];
    let mut acceptors: Vec<NodeId> = cast.acceptors().collect();
    let needed = cast.acceptors as usize / 2 + 1;
    while acceptors.len() > needed {
        acceptors.swap_remove(rng.below(acceptors.len() as u64) as usize);
    }
    let is_of_star = |other: NodeId| match other.role {
        Role::Acceptor => acceptors.contains(&other),
        Role::Learner | Role::Client => true,
        Role::Proposer => false,
    };
    once(
        name,
        cast.links(|from, to| {
            let is_kept = from == centre && is_of_star(to) || to == centre && is_of_star(from);
            !is_kept && rng.chance(chance)
        }),
    )
}

/// A shape known from practice. `leader` leads; `next` is another proposer.
fn named(rng: &mut Rng, cast: Cast, leader: NodeId) -> Pattern {
    let next = cast.proposers().find(|id| *id != leader).unwrap_or(leader);
    let is = |node: NodeId, role: Role| node.role == role;
    let (client, learner) = (NodeId::new(Role::Client, 1), NodeId::new(Role::Learner, 1));
    let minority = (cast.acceptors - 1) / 2;
    let between = |from: NodeId, to: NodeId, one: Role, other: Role| {
        is(from, one) && is(to, other) || is(from, other) && is(to, one)
    };
    let of_proposer = |from: NodeId, to: NodeId, one: NodeId, role: Role| {
        from == one && is(to, role) || to == one && is(from, role)
    };
    match rng.below(27) {
        0 => once("a deaf leader", cast.links(|_, to| to == leader)),
        1 => once("a dumb leader", cast.links(|from, _| from == leader)),
        2 => once(
            "a leader deaf to acceptors",
            cast.links(|from, to| is(from, Role::Acceptor) && to == leader),
        ),
        3 => once(
            "a leader unheard by acceptors",
            cast.links(|from, to| from == leader && is(to, Role::Acceptor)),
        ),
        4 => once(
            "a leader that hears a minority",
            cast.links(|from, to| is(from, Role::Acceptor) && from.id > minority && to == leader),
        ),
        5 => once(
            "a leader heard by a minority",
            cast.links(|from, to| is(to, Role::Acceptor) && to.id > minority && from == leader),
        ),
        6 => once("a deaf standby", cast.links(|_, to| to == next)),
        7 => once("a dumb standby", cast.links(|from, _| from == next)),
        8 => once(
            "a standby deaf to acceptors",
            cast.links(|from, to| is(from, Role::Acceptor) && to == next),
        ),
        9 => once(
            "a leader deaf to proposers",
            cast.links(|from, to| is(from, Role::Proposer) && to == leader),
        ),
        10 => once(
            "no proposer hears another",
            cast.links(|from, to| between(from, to, Role::Proposer, Role::Proposer)),
        ),
        11 => once(
            "a chain of proposers",
            cast.links(|from, to| {
                between(from, to, Role::Proposer, Role::Proposer) && from.id.abs_diff(to.id) > 1
            }),
        ),
        12 => once(
            "one proposer has acceptors",
            cast.links(|from, to| {
                between(from, to, Role::Proposer, Role::Acceptor) && from != next && to != next
            }),
        ),
        13 => once(
            "others have one acceptor",
            cast.links(|from, to| {
                let first = NodeId::new(Role::Acceptor, 1);
                between(from, to, Role::Proposer, Role::Acceptor)
                    && ![from, to].contains(&next)
                    && ![from, to].contains(&first)
            }),
        ),
        14 => once(
            "a client not heard by the leader",
            cast.links(|from, to| from == client && to == leader),
        ),
        15 => once(
            "a client that does not hear the leader",
            cast.links(|from, to| from == leader && to == client),
        ),
        16 => once(
            "clients that reach one standby",
            cast.links(|from, to| {
                between(from, to, Role::Client, Role::Proposer) && from != next && to != next
            }),
        ),
        17 => once(
            "the leading learner does not hear the leader",
            cast.links(|from, to| from == leader && to == learner),
        ),
        18 => once(
            "no learner hears the leader",
            cast.links(|from, to| from == leader && is(to, Role::Learner)),
        ),
        19 => once(
            "learners that reach one standby",
            cast.links(|from, to| {
                between(from, to, Role::Learner, Role::Proposer) && from != next && to != next
            }),
        ),
        20 => once(
            "a leader that hears no learner",
            cast.links(|from, to| is(from, Role::Learner) && to == leader),
        ),
        21 => once(
            "learners that hear no learner",
            cast.links(|from, to| between(from, to, Role::Learner, Role::Learner)),
        ),
        22 => once(
            "a deaf leader, and proposers that do not hear each other",
            cast.links(|from, to| {
                to == leader || between(from, to, Role::Proposer, Role::Proposer)
            }),
        ),
        23 => once(
            "a deaf leader that its clients hear",
            cast.links(|from, to| to == leader && !is(from, Role::Client)),
        ),
        24 => once(
            "a leader without acceptors, and a standby without learners",
            cast.links(|from, to| {
                of_proposer(from, to, leader, Role::Acceptor)
                    || of_proposer(from, to, next, Role::Learner)
            }),
        ),
        25 => once(
            "a leader without a client, and a standby without learners",
            cast.links(|from, to| {
                from == leader && to == client || of_proposer(from, to, next, Role::Learner)
            }),
        ),
        _ => narrow(cast, leader),
    }
}

/// Between the leader and the acceptors only short datagrams get through: they hear each other, but
/// nothing is decided.
fn narrow(cast: Cast, leader: NodeId) -> Pattern {
    let pairs = cast.links(|from, to| {
        from == leader && to.role == Role::Acceptor || to == leader && from.role == Role::Acceptor
    });
    let fault = Fault::Narrow { bytes: NARROW_BYTES, pairs };
    // It takes a while to distinguish that from loss, and the clients must have typed something.
    let patience = Duration::from_secs(15);
    Pattern { name: "a narrow leader", faults: vec![fault], patience, ..Pattern::default() }
}

/// Two patterns take turns, and one of them stays.
fn flapping(rng: &mut Rng, cast: Cast, leader: NodeId) -> Pattern {
    let period = Duration::from_millis([200, 500, 1000, 4000][rng.below(4) as usize]);
    let centre = NodeId::new(Role::Proposer, 1 + rng.below(cast.proposers.into()) as u32);
    let one = star("it flaps to a star", rng, cast, centre).faults;
    let other = match rng.below(3) {
        0 => vec![Fault::Cut { shape: "it flaps to darkness", pairs: cast.links(|_, _| true) }],
        1 => vec![Fault::Cut { shape: "it flaps", pairs: cast.links(|_, to| to == leader) }],
        _ => named(rng, cast, leader).faults,
    };
    let with_healing = |faults: &[Fault]| {
        std::iter::once(Fault::Heal).chain(faults.iter().cloned()).collect::<Vec<_>>()
    };
    let rounds = (Duration::from_secs(4).as_millis() / period.as_millis()).max(1);
    let turns = (0..rounds).flat_map(|_| [&other, &one]);
    let then = turns.map(|faults| (period, with_healing(faults))).collect();
    Pattern { name: "flapping", faults: one.clone(), then, ..Pattern::default() }
}

/// A star whose acceptors have slow disks.
fn slow_star(rng: &mut Rng, cast: Cast) -> Pattern {
    let centre = NodeId::new(Role::Proposer, 1 + rng.below(cast.proposers.into()) as u32);
    let mut pattern = star("a star of slow disks", rng, cast, centre);
    // All of them alike: a proposer that hears faster ones than the leader may rightly replace it.
    let takes = Duration::from_millis([100, 300, 700, 1200, 3000][rng.below(5) as usize]);
    pattern.faults.extend(cast.acceptors().map(|id| Fault::SlowDisk(id, takes)));
    // A leader may have to be found by several changes, each of which takes syncs.
    pattern.patience = takes * 32;
    pattern
}

/// Every sync takes long, and always has; for one acceptor or for all.
fn slow_disks(rng: &mut Rng, cast: Cast) -> Pattern {
    let longest = [100, 300, 1200, 5000][rng.below(4) as usize];
    let takes = |rng: &mut Rng| {
        let least = if rng.chance(0.5) { longest } else { longest / 4 };
        Duration::from_millis(least + rng.below(longest - least + 1))
    };
    let slow: Vec<Fault> = cast.acceptors().map(|id| Fault::SlowDisk(id, takes(rng))).collect();
    // A value waits for a promise, an accept and the work ahead of it, each one or two syncs long.
    let patience = Duration::from_millis(longest) * 8;
    Pattern { name: "slow disks", faults: slow, is_fair: true, patience, ..Pattern::default() }
}
