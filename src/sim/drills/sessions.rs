//! Clients that are killed and resume their session.

use std::time::Duration;

use super::series::{DATAGRAM_BYTES, cluster, completes};
use super::{MS, Wrong, client};
use crate::protocol::message::Assignment;
use crate::protocol::parts::Client;
use crate::protocol::settings::Settings;
use crate::protocol::types::{NodeId, Role, Session, Value};
use crate::rng::Rng;
use crate::sim::cluster::{Cluster, mixed_values};
use crate::sim::node::AnyRole;

/// The first run of the client has smaller datagrams than later ones.
const FIRST_DATAGRAM_BYTES: usize = 400;

/// How often it is killed, and how much it asks for: short values and some in five parts.
const KILLS: u32 = 6;
const VALUES: u64 = 200;
const LONG: (u64, usize) = (10, 1100);

/// However often a client is killed and resumes its session, and its leader with it, every value is
/// delivered once and in order; long ones are cut as in the first run.
pub fn resumed() -> Wrong {
    (1..=20).find_map(|seed| resumed_with(seed).map(|wrong| format!("seed {seed}: {wrong}")))
}

fn resumed_with(seed: u64) -> Wrong {
    let (mut cluster, mut rng) = (cluster(seed, 8), Rng::new(seed));
    let values = mixed_values(1, VALUES, LONG);
    cluster.plan.settings.datagram_bytes = FIRST_DATAGRAM_BYTES;
    let part_bytes = cluster.plan.settings.part_bytes();
    cluster.start_client(1, Assignment::Leader, values.clone());
    cluster.plan.settings.datagram_bytes = DATAGRAM_BYTES;
    for kill in 1..=KILLS {
        let lives = Duration::from_micros(rng.below(30_000));
        if let Err(violation) = cluster.run_for(lives) {
            return Some(violation);
        }
        if kill % 3 == 0 {
            // The next leader knows the session from the log alone.
            cluster.leader().into_iter().for_each(|leader| {
                cluster.kill(leader);
                cluster.start(leader);
            });
        }
        cluster.kill(client());
        let dead = cluster.run_for(MS * rng.below(5) as u32);
        if let Err(violation) = dead {
            return Some(violation);
        }
        cluster.resume_client(part_bytes, values.clone());
    }
    let wrong = completes(&mut cluster, 5000 * MS);
    wrong.or_else(|| {
        let learners = 1..=cluster.plan.learners;
        let mut other = learners.filter(|id| cluster.delivered(*id) != values);
        other.next().map(|id| format!("learner {id} did not deliver the values as they were typed"))
    })
}

impl Cluster {
    /// Client 1, which is dead, takes up its session again, with the same values on its standard
    /// input.
    fn resume_client(&mut self, part_bytes: usize, values: Vec<Value>) {
        let Some(sender) = self.nodes.get(&client()).map(|node| node.sender) else { return };
        let NodeId { role: Role::Client, id } = sender.node else { return };
        let session = Session { client: id, boot: sender.boot };
        let settings: Settings = self.plan.settings.clone();
        let fresh = Client::new(session, Assignment::Leader, settings).cutting_at(part_bytes);
        let opened = match self.nodes.get(&client()).map(|node| &node.role) {
            Some(AnyRole::Client(before)) => before.opened(),
            _ => None,
        };
        // What it has opened is stored before it asks for anything.
        let role = opened.into_iter().fold(fresh, Client::opened_at);
        let mut node = self.process(sender, AnyRole::Client(Box::new(role)));
        node.input.extend(values.into_iter().map(|value| (self.now, value)));
        self.enter(node);
    }
}
