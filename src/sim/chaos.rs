//! Random faults from one seed: first anything may happen, then everything heals and must finish.
//!
//! While faults last, only safety is asked for. Afterwards every value of every client that is
//! still there must be decided, every learner must hold everything, within bounded time.

use std::time::Duration;

use super::checker::Violation;
use super::cluster::{Cluster, Plan, from_instance, values};
use super::network::Weather;
use crate::protocol::message::{Assignment, Kind};
use crate::protocol::settings::Settings;
use crate::protocol::types::{NodeId, Role};
use crate::rng::Rng;

/// How long everything may take once the faults are over.
const LIVENESS: Duration = Duration::from_secs(60);

/// What one seed showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many instances were chosen.
    pub chosen: usize,
    /// How many messages were sent.
    pub sent: u64,
}

/// The members of a cluster, drawn from a seed.
struct Cast {
    acceptors: u32,
    proposers: u32,
    learners: u32,
    clients: u32,
}

/// Runs the chaos of `seed`.
pub fn run(seed: u64) -> Result<Outcome, Violation> {
    let mut rng = Rng::new(seed);
    let cast = Cast {
        acceptors: 1 + rng.below(7) as u32,
        proposers: 1 + rng.below(5) as u32,
        learners: 1 + rng.below(4) as u32,
        clients: 1 + rng.below(6) as u32,
    };
    let mut cluster = Cluster::new(plan(seed, &cast, &mut rng));
    for id in 1..=cast.clients {
        let assignment = if rng.chance(0.5) {
            Assignment::Leader
        } else {
            from_instance(1 + rng.below(3) * rng.below(60))
        };
        cluster.start_client(id, assignment, values(id, 1 + rng.below(300)));
    }
    for _ in 0..rng.below(30) {
        cluster.run_for(rng.up_to(Duration::from_millis(300)))?;
        fault(&mut cluster, &cast, &mut rng);
    }
    heal(&mut cluster, &cast);
    let deadline = cluster.now() + LIVENESS;
    let done = |cluster: &Cluster| cluster.clients_finished() && cluster.learners_complete();
    if !cluster.run_until(deadline, done)? {
        let what = cluster.describe();
        return Err(format!(
            "seed {seed}: not finished {LIVENESS:?} after the faults ended; {what}"
        ));
    }
    let chosen = cluster.checker().chosen().len();
    Ok(Outcome { chosen, sent: cluster.checker().sent() })
}

fn plan(seed: u64, cast: &Cast, rng: &mut Rng) -> Plan {
    let settings = Settings {
        acceptor_count: cast.acceptors,
        datagram_bytes: [256, 512, 1472, 65507][rng.below(4) as usize],
        client_window: 1 + rng.below(400) as usize,
        leader_window: 1 + rng.below(400) as usize,
        ..Settings::default()
    };
    let delay_max = [100, 2_000, 20_000, 60_000][rng.below(4) as usize];
    let weather = Weather {
        loss: 0.5 * rng.below(100) as f64 / 100.0 * rng.below(2) as f64,
        duplication: 0.3 * rng.below(2) as f64,
        delay_min: Duration::from_micros(20),
        delay_max: Duration::from_micros(delay_max),
    };
    Plan {
        seed,
        proposers: cast.proposers,
        learners: cast.learners,
        settings,
        weather,
        no_timeouts: false,
        no_preexecution: rng.chance(0.3),
    }
}

/// One random fault, or the end of one.
fn fault(cluster: &mut Cluster, cast: &Cast, rng: &mut Rng) {
    let victim = member(cast, rng);
    match rng.below(10) {
        0..=2 => cluster.kill(victim),
        3..=5 => {
            if victim.role != Role::Client {
                cluster.kill(victim);
                cluster.start(victim);
            }
        }
        6 => cluster.pause(victim, rng.up_to(Duration::from_secs(5))),
        7 => {
            for _ in 0..1 + rng.below(8) {
                cluster.network.cut(member(cast, rng), member(cast, rng));
            }
        }
        8 => cluster.network.filter(Kind::ALL[rng.below(12) as usize]),
        _ => cluster.network.heal(),
    }
}

fn member(cast: &Cast, rng: &mut Rng) -> NodeId {
    let (role, count) = match rng.below(8) {
        0..=2 => (Role::Acceptor, cast.acceptors),
        3..=5 => (Role::Proposer, cast.proposers),
        6 => (Role::Learner, cast.learners),
        _ => (Role::Client, cast.clients),
    };
    NodeId::new(role, 1 + rng.below(u64::from(count)) as u32)
}

/// Everything works again, but for clients that died.
fn heal(cluster: &mut Cluster, cast: &Cast) {
    cluster.network.heal();
    cluster.network.weather = Weather::default();
    let members = [
        (Role::Acceptor, cast.acceptors),
        (Role::Learner, cast.learners),
        (Role::Proposer, cast.proposers),
    ];
    for (role, count) in members {
        for id in (1..=count).map(|id| NodeId::new(role, id)) {
            if !cluster.is_up(id) {
                cluster.start(id);
            }
        }
    }
}
