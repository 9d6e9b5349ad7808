//! Logs of which little is kept: leaders and learners that know nothing of the rest.

use std::rc::Rc;

use super::series::{DATAGRAM_BYTES, completes};
use super::{CAST, MS, Wrong, cut, proposer};
use crate::protocol::client::ClientTally;
use crate::protocol::message::{Announcement, Assignment, Heartbeat, Message, Progress, Standing};
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{Ballot, Instance, NodeId, Role, Sender, To};
use crate::protocol::versions::Version;
use crate::sim::cluster::{CLUSTER, Cluster, Plan, from_instance, mixed_values, values};
use crate::sim::fault::Fault;
use crate::sim::node::AnyRole;
use crate::sim::record::PassageId;
use crate::wire::Codec;

/// How many entries are kept, of how many values; one in this many is a long one, in three parts.
const KEPT: u64 = 40;
const VALUES: u64 = 300;
const LONG: (u64, usize) = (7, 800);

/// A cluster with a leader that keeps little.
fn cluster(seed: u64) -> Cluster {
    let settings = Settings {
        datagram_bytes: DATAGRAM_BYTES,
        window_bytes: 8 * DATAGRAM_BYTES,
        client_window: 8,
        retain: Retain::Entries(KEPT),
        ..Settings::default()
    };
    let mut cluster = Cluster::new(Plan { seed, proposers: 3, settings, ..Plan::default() });
    cluster.run_for(1000 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    cluster
}

/// A client types `count` values, some of them long.
pub(super) fn types(cluster: &mut Cluster, client: u32, count: u64) {
    let values = mixed_values(client, count, LONG);
    cluster.start_typist(client, Assignment::Leader, values, MS);
}

pub(super) fn acceptor(id: u32) -> NodeId {
    NodeId::new(Role::Acceptor, id)
}

/// All proposers and a learner restart again and again, even in the middle of long values, and
/// learn what they must from the kept part of the log, which stays small.
pub fn newcomers() -> Wrong {
    (1..=10).find_map(|seed| newcomers_with(seed).map(|wrong| format!("seed {seed}: {wrong}")))
}

fn newcomers_with(seed: u64) -> Wrong {
    let mut cluster = cluster(seed);
    types(&mut cluster, 1, VALUES);
    types(&mut cluster, 2, VALUES);
    for round in 0..6 {
        if let Err(violation) = cluster.run_for(MS * (30 + 7 * seed as u32 + round)) {
            return Some(violation);
        }
        for id in (1..=3).map(proposer).chain([NodeId::new(Role::Learner, 2)]) {
            cluster.kill(id);
            cluster.start(id);
        }
    }
    let wrong =
        completes(&mut cluster, 10_000 * MS).or_else(|| cluster.checker().check_order().err());
    // Acceptors hear of it by the next heartbeats.
    let wrong = wrong.or_else(|| cluster.run_for(200 * MS).err());
    wrong.or_else(|| {
        let most = KEPT * 3;
        let kept = |id: &NodeId| cluster.kept(*id) > most;
        let mut fat = [acceptor(1), proposer(1), NodeId::new(Role::Learner, 1)].into_iter();
        fat.find(kept).map(|id| format!("{id} keeps {} entries", cluster.kept(id)))
    })
}

/// A client asks for instances of which some are removed, some are decided and kept, and some are
/// free: it hears that it lost the second, wins the last, and gives up the first, whose winner
/// nobody knows.
pub fn asks_for_removed() -> Wrong {
    (1..=5)
        .find_map(|seed| asks_for_removed_with(seed).map(|wrong| format!("seed {seed}: {wrong}")))
}

fn asks_for_removed_with(seed: u64) -> Wrong {
    const REMOVED: u64 = 10;
    let mut cluster = cluster(seed);
    cluster.start_client(1, from_instance(1), values(1, REMOVED));
    let wrong = completes(&mut cluster, 1000 * MS);
    types(&mut cluster, 2, VALUES);
    let wrong = wrong.or_else(|| completes(&mut cluster, 10_000 * MS));
    if wrong.is_some() {
        return wrong;
    }
    let count = cluster.checker().chosen().len() as u64 + 1;
    cluster.start_client(3, from_instance(REMOVED), values(3, count));
    let is_over = |cluster: &Cluster| cluster.clients_finished();
    match cluster.run_until(cluster.now() + 5000 * MS, is_over) {
        Ok(true) => {}
        Ok(false) => return Some(format!("client 3 waits: {}", cluster.describe())),
        Err(violation) => return Some(violation),
    }
    let ClientTally { asked, delivered, lost, trimmed } = cluster.tally(3).unwrap_or_default();
    let is_right = asked == count
        && delivered > 0
        && trimmed > 0
        && (1..=KEPT * 2).contains(&lost)
        && delivered + lost + trimmed == asked;
    let told = format!("{delivered} of {asked} decided, {lost} lost, {trimmed} removed");
    (!is_right).then_some(told)
}

/// A new leader hears of two acceptors, of which one was cut off for so long that it neither voted
/// for what the other has trimmed, nor has trimmed it.
pub fn uneven() -> Wrong {
    (1..=5).find_map(|seed| uneven_with(seed).map(|wrong| format!("seed {seed}: {wrong}")))
}

fn uneven_with(seed: u64) -> Wrong {
    let mut cluster = cluster(seed);
    let is_late = |id: NodeId| id == acceptor(3);
    cut(&mut cluster, |from, to| is_late(from) || is_late(to));
    types(&mut cluster, 1, VALUES);
    if let Err(violation) = cluster.run_for(1500 * MS) {
        return Some(violation);
    }
    cluster.heal();
    cluster.kill(acceptor(1));
    for id in (1..=3).map(proposer) {
        cluster.kill(id);
    }
    // Learners would tell the new leader what it should hear of the acceptors.
    for id in CAST.learners() {
        cluster.kill(id);
    }
    cluster.start(proposer(3));
    if let Err(violation) = cluster.run_for(1000 * MS) {
        return Some(violation);
    }
    CAST.learners().for_each(|id| cluster.start(id));
    types(&mut cluster, 2, 20);
    completes(&mut cluster, 10_000 * MS).or_else(|| cluster.checker().check_order().err())
}

/// An acceptor that was away learns from any proposer that it may forget, and comes back without
/// what it forgot.
pub fn returns() -> Wrong {
    let mut cluster = cluster(1);
    types(&mut cluster, 1, VALUES);
    for _ in 0..10 {
        if let Err(violation) = cluster.run_for(100 * MS) {
            return Some(violation);
        }
        for id in (1..=3).map(acceptor) {
            cluster.kill(id);
            cluster.start(id);
        }
    }
    let wrong = completes(&mut cluster, 10_000 * MS);
    wrong.or_else(|| {
        let trimmed = cluster.trimmed(acceptor(1));
        (trimmed == Instance::FIRST).then(|| "nothing was trimmed".to_owned())
    })
}

/// Accepts arrive again when the acceptors have trimmed what they are for: under the same leader,
/// and under the next. They are not stored again, and the ballot of the first gets no more votes.
pub fn late_accepts() -> Wrong {
    let mut cluster = cluster(1);
    types(&mut cluster, 1, VALUES);
    let begun = cluster.run_for(30 * MS).err();
    let mut late = cluster.past.clone();
    late.retain(|(to, _)| *to == To::Group(Role::Acceptor));
    let wrong = begun.or_else(|| completes(&mut cluster, 10_000 * MS));
    // Acceptors hear of it by the next heartbeats.
    let mut wrong = wrong.or_else(|| cluster.run_for(200 * MS).err());
    if late.is_empty() || cluster.trimmed(acceptor(1)) == Instance::FIRST {
        return wrong.or_else(|| Some(format!("{} come late", late.len())));
    }
    for _ in 0..2 {
        for (datagram, id) in late.iter().flat_map(|(_, one)| (1..=3).map(move |id| (one, id))) {
            cluster.arrive(acceptor(id), Rc::clone(datagram), PassageId::default());
        }
        wrong = wrong.or_else(|| cluster.run_for(10 * MS).err());
        for id in (1..=3).map(proposer) {
            cluster.inject(&Fault::Restart(id));
        }
        wrong = wrong.or_else(|| cluster.run_for(500 * MS).err());
    }
    types(&mut cluster, 2, 20);
    wrong.or_else(|| completes(&mut cluster, 10_000 * MS))
}

/// A heartbeat whose numbers are wrong tells the acceptors that a log is trimmed of which they hold
/// no checkpoint: they forget nothing.
pub fn hearsay() -> Wrong {
    hears_wrong_numbers(cluster(1))
}

/// Everything is decided and known although the acceptors are told that what lies below an instance
/// is not needed: below one that is decided, and below one that nobody has proposed in yet.
pub(super) fn hears_wrong_numbers(mut cluster: Cluster) -> Wrong {
    types(&mut cluster, 1, 20);
    let mut wrong = cluster.run_for(500 * MS).err();
    for first in [2, 10, 1 << 40] {
        let first = Instance(first);
        tell(&mut cluster, &[acceptor(1), acceptor(2), acceptor(3)], (first, first));
        wrong = wrong.or_else(|| cluster.run_for(100 * MS).err());
        (1..=3).map(proposer).for_each(|id| {
            cluster.kill(id);
            cluster.start(id);
        });
    }
    types(&mut cluster, 2, 20);
    wrong.or_else(|| completes(&mut cluster, 10_000 * MS))
}

/// A heartbeat of a proposer that says what is trimmed, and from where on it holds the log, reaches
/// these.
pub(super) fn tell(
    cluster: &mut Cluster,
    nodes: &[NodeId],
    (trimmed, first): (Instance, Instance),
) {
    let sender = Sender { node: proposer(9), boot: 1 };
    let Settings { acceptor_count, datagram_bytes, .. } = cluster.plan.settings;
    let codec = Codec::new(CLUSTER, acceptor_count, sender, datagram_bytes);
    let announcement = Announcement::new(Standing::Stands, Ballot::ZERO);
    let progress = Progress { trimmed, first, ..Progress::until(first) };
    let heartbeat = Heartbeat::new(Version::OLDEST, announcement, progress);
    let heartbeat = Message::Heartbeat(heartbeat);
    let mut bytes = Vec::new();
    codec.encode(&heartbeat, &mut bytes).expect("it is short");
    for id in nodes {
        cluster.arrive(*id, bytes.as_slice().into(), PassageId::default());
    }
}

impl Cluster {
    /// How many entries a node keeps.
    pub(super) fn kept(&self, id: NodeId) -> u64 {
        let of_log = |progress: Progress| progress.decided - (progress.first.0 - 1);
        self.nodes.get(&id).map_or(0, |node| match &node.role {
            AnyRole::Proposer(proposer) => of_log(proposer.log().progress()),
            AnyRole::Learner(learner) => of_log(learner.log().progress()),
            AnyRole::Acceptor(acceptor) => acceptor.kept() as u64,
            AnyRole::Client(_) => 0,
        })
    }

    /// Below which instance an acceptor has trimmed.
    pub(super) fn trimmed(&self, id: NodeId) -> Instance {
        match self.nodes.get(&id).map(|node| &node.role) {
            Some(AnyRole::Acceptor(acceptor)) => acceptor.trimmed(),
            _ => Instance::FIRST,
        }
    }
}
