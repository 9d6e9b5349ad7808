//! Faults that stay: links cut in one direction, links that carry only short datagrams, and slow
//! disks, for ever.
//!
//! A seed draws a cluster, a pattern of cuts and when they come. What must hold is computed from
//! the cuts alone, by a judge that knows no role's state. A proposer is the *centre of a star* when
//! it, a majority of the acceptors, every learner and every client hear each other, even if all
//! other links are cut. Then:
//!
//!  1. While there is a star, everything is decided and known to every learner within 15 s of the
//!     cut, and soon once a leader is found.
//!  2. A leader that is the centre of a star is never displaced.
//!  3. Once every process has needed a leader twice, the leader never changes again.
//!  4. With heavy loss, contrary to the second and third, leaders may change, for a leader that is
//!     gone cannot be distinguished from an unlucky one; but everything is decided all the same.
//!  5. Without a star leaders may change, but not all the time; and a proposer without a majority
//!     that it hears and that hears it raises no ballot.

pub mod shapes;

use std::fmt;
use std::time::Duration;

use self::shapes::{Cast, Pattern};
use super::cluster::{Cluster, Plan, long_values};
use super::fault::Fault;
use super::network::Weather;
use super::scenario::{Failure, Outcome, Ran, many};
use super::trace::{Detail, Trace};
use crate::protocol::message::Assignment;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, NodeId, Role, Time};
use crate::rng::Rng;

/// How long everything may take from the cut on, or from the last value on.
pub const FOUND: Duration = Duration::from_secs(15);

/// How long nothing more may happen after that.
const STEADY: Duration = Duration::from_secs(5);

/// How often the leader may change, where it may, in an otherwise steady cluster.
const CHANGES_MAX: u32 = 8;

/// Up to this loss bad luck is not mistaken for a leader that is gone or useless.
const CALM_LOSS: f64 = 0.1;

/// How long after a cut a proposer may still believe that it hears a majority.
const BELIEF: Duration = Duration::from_millis(700);

/// The pause between two values of a client.
const PAUSE: Duration = Duration::from_millis(200);

/// A cluster, and what is broken for good.
#[derive(Clone, Debug, PartialEq)]
pub struct Lasting {
    /// The cluster. Its proposers start with the one that leads first.
    pub plan: Plan,
    /// The processes of each role.
    pub cast: Cast,
    /// Who leads when it begins.
    pub first: NodeId,
    /// When it begins.
    pub cut_at: Time,
    /// When clients start to type.
    pub typing: Time,
    /// Whether the clients leave the instances to the leader.
    pub assignment: Assignment,
    /// What is broken.
    pub pattern: Pattern,
}

impl Lasting {
    /// What `seed` draws.
    pub fn drawn(seed: u64) -> Self {
        // So that the clusters differ from those the same seeds draw for faults that heal.
        let mut rng = Rng::new(seed ^ 0x6c61_7374);
        let cast = Cast {
            proposers: 2 + rng.below(5) as u32,
            acceptors: [1, 2, 3, 3, 3, 4, 5, 5, 7][rng.below(9) as usize],
            learners: 1 + rng.below(4) as u32,
            clients: 1 + rng.below(3) as u32,
        };
        let first = NodeId::new(Role::Proposer, 1 + rng.below(u64::from(cast.proposers)) as u32);
        let loss = [0.0, 0.0, 0.1, 0.3][rng.below(4) as usize];
        let cut_at = Time::ZERO + Duration::from_secs(2) + rng.up_to(Duration::from_secs(1));
        let silent = Duration::from_secs([0, 0, 5][rng.below(3) as usize]);
        let assignment = if rng.chance(0.5) {
            Assignment::Leader
        } else {
            Assignment::Client { first: Instance(1) }
        };
        let pattern = Pattern::drawn(&mut rng, cast, first);
        // Disks are slow for all proposers alike; losses are not.
        let loss = if pattern.is_fair { 0.0 } else { loss };
        let plan = Plan {
            seed,
            proposers: 0,
            learners: cast.learners,
            settings: Settings { acceptor_count: cast.acceptors, ..Settings::default() },
            weather: Weather { loss, delay_max: Duration::from_millis(1), ..Weather::default() },
            ..Plan::default()
        };
        Lasting { plan, cast, first, cut_at, typing: cut_at + silent, assignment, pattern }
    }

    /// Runs it.
    pub fn run(&self, trace: Trace) -> Ran {
        let mut cluster = Cluster::traced(self.plan.clone(), trace);
        let result = self.play(&mut cluster);
        Ran { hash: cluster.trace().hash(), result }
    }

    fn play(&self, cluster: &mut Cluster) -> Result<Outcome, Failure> {
        cluster.start(self.first);
        self.pattern.before.iter().for_each(|fault| cluster.inject(fault));
        let others = self.cast.proposers().filter(|id| *id != self.first);
        cluster.run_for(Duration::from_millis(500))?;
        others.for_each(|id| cluster.start(id));
        self.type_values(cluster, 5, cluster.now());
        cluster.run_until(self.cut_at, |_| false)?;
        self.pattern.faults.iter().for_each(|fault| cluster.inject(fault));
        for (length, faults) in &self.pattern.then {
            cluster.run_for(*length)?;
            faults.iter().for_each(|fault| cluster.inject(fault));
        }
        if !self.pattern.then.is_empty() {
            // Pleas that were sent while links flapped count for a moment.
            cluster.run_for(BELIEF)?;
        }
        let begun = cluster.now();
        let led = cluster.leader().filter(|id| self.is_star(cluster, *id));
        let elections = cluster.elections();
        let has_star = self.cast.proposers().any(|id| self.is_star(cluster, id));
        self.tell(cluster, led, has_star);

        cluster.run_until((begun + BELIEF).max(self.typing), |_| false)?;
        let prepared = self.cast.proposers().map(|id| cluster.checker().ballots_of(id.id));
        let prepared: Vec<usize> = prepared.collect();
        let values = 15;
        self.type_values(cluster, values, cluster.now());
        let typed = cluster.now() + PAUSE * values as u32;
        let patience = FOUND.max(self.pattern.patience);
        if has_star {
            self.expect_all(cluster, typed.max(begun) + patience, "after the cut")?;
        }
        cluster.run_until(begun + FOUND, |_| false)?;
        // Once more: some process may not have needed a leader so far.
        self.type_values(cluster, values, cluster.now());
        let typed = cluster.now() + PAUSE * values as u32;
        if has_star {
            self.expect_all(cluster, typed + patience, "later on")?;
        }
        cluster.run_until(typed, |_| false)?;
        let settled = cluster.elections();
        self.type_values(cluster, values, cluster.now());
        let typed = cluster.now() + PAUSE * values as u32;
        if has_star {
            // A leader is found, and no link loses more than a third.
            let soon = Duration::from_secs(if self.plan.weather.loss > 0.0 { 10 } else { 1 });
            self.expect_all(cluster, typed + soon.max(self.pattern.patience), "at last")?;
        }
        cluster.run_until(typed + STEADY, |_| false)?;

        let is_calm = self.plan.weather.loss <= CALM_LOSS;
        let changes = cluster.elections() - elections;
        if let Some(led) = led.filter(|_| changes > 0 && is_calm) {
            let what = format!("{led} was displaced, which reaches all: {changes} elections");
            return Err(Failure::Unfinished(what));
        }
        let late = cluster.elections() - settled;
        if late > if has_star && is_calm { 0 } else { CHANGES_MAX } {
            let what = format!("leaders go on changing, {late} times: {}", cluster.describe());
            return Err(Failure::Unfinished(what));
        }
        for (id, before) in self.cast.proposers().zip(prepared) {
            let after = cluster.checker().ballots_of(id.id);
            if after > before && !self.hears_majority(cluster, id) {
                let what = format!("{id} hears no majority and raised {} ballots", after - before);
                return Err(Failure::Unfinished(what));
            }
        }
        Ok(Outcome {
            chosen: cluster.checker().chosen().len(),
            sent: cluster.checker().sent(),
            elections: cluster.elections(),
            finished: cluster.now(),
        })
    }

    fn tell(&self, cluster: &mut Cluster, led: Option<NodeId>, has_star: bool) {
        let star = match led {
            Some(led) => format!("{led} leads, and reaches all"),
            None if has_star => "some proposer reaches all".to_owned(),
            None => "no proposer reaches all".to_owned(),
        };
        cluster.tell(Detail::Story, format_args!("{star}"));
    }

    fn type_values(&self, cluster: &mut Cluster, count: u64, from: Time) {
        let first = cluster.checker().chosen().len() as u64;
        for client in 1..=self.cast.clients {
            // A client that runs again is a new session; it may ask for the instances of others.
            let assignment = match self.assignment {
                Assignment::Leader => Assignment::Leader,
                Assignment::Client { .. } => Assignment::Client { first: Instance(first + 1) },
            };
            let values = long_values(client, count, from);
            cluster.start_typist(client, assignment, values, PAUSE);
        }
    }

    fn expect_all(&self, cluster: &mut Cluster, by: Time, when: &str) -> Result<(), Failure> {
        let done = |cluster: &Cluster| cluster.clients_finished() && cluster.learners_complete();
        if cluster.run_until(by, done)? {
            return Ok(());
        }
        let what = cluster.describe();
        Err(Failure::Unfinished(format!("{when}, by {}: {what}", cluster.now())))
    }

    /// Whether this proposer and enough of all others hear each other.
    fn is_star(&self, cluster: &Cluster, centre: NodeId) -> bool {
        let reaches = |id: &NodeId| cluster.network.is_two_way(centre, *id);
        self.hears_majority(cluster, centre)
            && self.cast.learners().all(|id| reaches(&id))
            && self.cast.clients().all(|id| reaches(&id))
    }

    fn hears_majority(&self, cluster: &Cluster, proposer: NodeId) -> bool {
        let heard = self.cast.acceptors().filter(|id| cluster.network.is_two_way(proposer, *id));
        heard.count() as u32 * 2 > self.cast.acceptors
    }
}

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cast { proposers, acceptors, learners, clients } = self.cast;
        write!(
            f,
            "seed {}: {}, {}, {}, {}; loss {:.0} %; {} leads first; at {} for good: {}",
            self.plan.seed,
            many(u64::from(acceptors), "acceptor"),
            many(u64::from(proposers), "proposer"),
            many(u64::from(learners), "learner"),
            many(u64::from(clients), "client"),
            self.plan.weather.loss * 100.0,
            self.first,
            self.cut_at,
            self.pattern.name,
        )
    }
}

/// Runs what `seed` draws, without a trace.
pub fn run_seed(seed: u64) -> Result<Outcome, Failure> {
    Lasting::drawn(seed).run(Trace::silent()).result
}

/// A fault that lets nothing through, of these links.
pub fn cut(shape: &'static str, pairs: Vec<(NodeId, NodeId)>) -> Fault {
    Fault::Cut { shape, pairs }
}

#[cfg(test)]
mod tests;
