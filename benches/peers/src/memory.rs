//! Three nodes in one thread, without sockets or encoding; and ours, to compare.

use std::time::{Duration, Instant};

use multi_paxos::protocol::types::Value;

use crate::Asked;
use crate::peer::{NODES, Peer, Proposal, proposal};
use crate::pure::{Core, VALUES, requests};

/// How many ticks it may take until there is a leader.
const ELECTION_TICKS: u64 = 1000;

/// The nodes, and the messages on their way between them.
struct Cluster<P: Peer> {
    peers: Vec<P>,
    messages: Vec<(u64, P::Message)>,
    decided: Vec<u64>,
    /// How many values the first node, which leads, knows to be decided.
    count: u64,
}

impl<P: Peer> Cluster<P> {
    /// A cluster whose first node leads.
    fn new(batch: u64) -> Result<Self, String> {
        let peers: Result<Vec<P>, String> =
            (1..=NODES).map(|id| P::new(id, batch as usize)).collect();
        let (messages, decided) = (Vec::new(), Vec::new());
        let mut cluster = Cluster { peers: peers?, messages, decided, count: 0 };
        for _ in 0..ELECTION_TICKS {
            if cluster.peers[0].is_leader() {
                return Ok(cluster);
            }
            cluster.peers.iter_mut().for_each(P::tick);
            cluster.settle();
        }
        Err("the first node does not become leader".to_owned())
    }

    /// Delivers messages both ways until there are no more.
    fn settle(&mut self) {
        loop {
            let Cluster { peers, messages, decided, count } = self;
            for (place, peer) in peers.iter_mut().enumerate() {
                peer.flush(messages, decided);
                if place == 0 {
                    *count += decided.len() as u64;
                }
                decided.clear();
            }
            if messages.is_empty() {
                return;
            }
            for (receiver, message) in messages.drain(..) {
                if let Some(peer) = peers.get_mut(receiver as usize - 1) {
                    peer.step(message);
                }
            }
        }
    }

    /// Decides [`VALUES`] values that come `batch` at once.
    fn decide(&mut self, batch: u64, value: &Proposal) {
        for _ in 0..VALUES / batch {
            (0..batch).for_each(|_| self.peers[0].propose(value));
            self.settle();
        }
    }
}

/// Measures fresh clusters one after the other, each but for its beginning and its end.
pub fn measure<P: Peer>(asked: &Asked) -> Result<String, String> {
    let value = proposal(1, &vec![7; asked.size as usize]);
    let (end, mut taken, mut clusters) = (Instant::now() + asked.duration(), Duration::ZERO, 0);
    while Instant::now() < end {
        let mut cluster = Cluster::<P>::new(asked.batch)?;
        let start = Instant::now();
        cluster.decide(asked.batch, &value);
        taken += start.elapsed();
        if cluster.count != VALUES {
            return Err(format!("{} of {VALUES} values are decided", cluster.count));
        }
        clusters += 1;
    }
    Ok(report(asked, clusters, taken))
}

/// Measures our roles in the same way.
pub fn measure_ours(asked: &Asked) -> String {
    let (fresh, value) = (Core::new(), Value::new(&vec![7; asked.size as usize]));
    let (end, mut taken, mut clusters) = (Instant::now() + asked.duration(), Duration::ZERO, 0);
    while Instant::now() < end {
        let (mut core, asks) = (fresh.clone(), requests(asked.batch, &value));
        let start = Instant::now();
        core.decide(asks);
        taken += start.elapsed();
        clusters += 1;
    }
    report(asked, clusters, taken)
}

fn report(asked: &Asked, clusters: u64, taken: Duration) -> String {
    let (values, seconds) = (clusters * VALUES, taken.as_secs_f64());
    let object = serde_json::json!({
        "peer": asked.name(), "batch": asked.batch, "value_bytes": asked.size, "values": values,
        "seconds": seconds, "values_per_second": values as f64 / seconds.max(1e-9),
    });
    object.to_string()
}
