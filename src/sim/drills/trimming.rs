//! Logs of which little is kept: leaders and learners that know nothing of the rest.

use std::rc::Rc;

use super::series::{DATAGRAM_BYTES, completes};
use super::{CAST, MS, Wrong, cut, proposer};
use crate::protocol::client::ClientTally;
use crate::protocol::message::{Announcement, Assignment, Heartbeat, Message, Progress, Standing};
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{Ballot, Instance, NodeId, Role, Sender, Time, To};
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

/// How much a leader proposes that nobody hears.
const PROPOSED: u64 = 8;

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

/// A proposer is cut off while it knows the beginning of a long value, takes up the log where that
/// is complete, and leads: it knows of nothing that is open, and the client's session goes on.
pub fn late_leader() -> Wrong {
    (1..=5).find_map(|seed| late_leader_with(seed).map(|wrong| format!("seed {seed}: {wrong}")))
}

fn late_leader_with(seed: u64) -> Wrong {
    let (mut cluster, late) = (cluster(seed), proposer(3));
    let open = |cluster: &Cluster| cluster.open_values(late) > 0;
    // Values of so many parts that they are not all on their way at once. The client types on when
    // the late one leads.
    let (count, parts) = (150, 24);
    let slow = mixed_values(1, count, (LONG.0, parts * DATAGRAM_BYTES));
    cluster.start_typist(1, Assignment::Leader, slow, 20 * MS);
    let mut wrong = match cluster.run_until(cluster.now() + 1000 * MS, open) {
        Ok(true) => None,
        Ok(false) => Some(format!("{late} never knows a part without the next")),
        Err(violation) => Some(violation),
    };
    cut(&mut cluster, |from, to| from == late || to == late);
    types(&mut cluster, 2, VALUES);
    wrong = wrong.or_else(|| cluster.run_for(1000 * MS).err());
    let begins = cluster.begins_at(proposer(1));
    if wrong.is_none() && (!open(&cluster) || begins <= cluster.watermark(late)) {
        return Some(format!("{late} has missed nothing that is removed below {begins}"));
    }
    cluster.heal();
    wrong = wrong.or_else(|| cluster.run_for(300 * MS).err());
    if wrong.is_none() && cluster.begins_at(late) < begins {
        return Some(format!("{late} does not take up the log at a checkpoint"));
    }
    [1, 2].map(proposer).into_iter().for_each(|id| cluster.kill(id));
    wrong = wrong.or_else(|| completes(&mut cluster, 10_000 * MS));
    let told = cluster.tally(1).unwrap_or_default().delivered;
    wrong.or_else(|| (told != count).then(|| format!("{told} values are delivered")))
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

/// A leader is cut off, and has proposed what nobody hears. Then it hears of its successor, which
/// has trimmed the log above that, when that one does not lead any more: its own ballot is over all
/// the same, and it does not say that what it has proposed is decided.
pub fn old_news() -> Wrong {
    (1..=5).find_map(|seed| old_news_with(seed).map(|wrong| format!("seed {seed}: {wrong}")))
}

fn old_news_with(seed: u64) -> Wrong {
    let (mut cluster, old) = (cluster(seed), proposer(1));
    types(&mut cluster, 1, 20);
    let mut wrong = completes(&mut cluster, 10_000 * MS);
    cut(&mut cluster, |from, to| {
        from == old && to.role != Role::Client || to == old && from.role != Role::Client
    });
    cluster.start_client(2, Assignment::Leader, values(2, PROPOSED));
    wrong = wrong.or_else(|| cluster.run_for(40 * MS).err());
    cluster.kill(NodeId::new(Role::Client, 2));
    types(&mut cluster, 3, VALUES);
    wrong = wrong.or_else(|| cluster.run_for(2000 * MS).err());
    let (Some(sender), Some(missed)) = (cluster.sender(proposer(2)), cluster.missed_by(old)) else {
        return wrong.or_else(|| Some(format!("{old} does not lead, or P2 does not")));
    };
    // The later word comes first.
    let now = cluster.now();
    let standing = Announcement { stamp: now, ..Announcement::new(Standing::Stands, Ballot::ZERO) };
    let leading = Announcement::new(Standing::Leads, missed.0);
    let leading = Announcement { quorate: true, stamp: Time(now.0 - 1), ..leading };
    for announcement in [standing, leading] {
        let heartbeat = Heartbeat::new(Version::NEWEST, announcement, missed.1);
        cluster.hear(sender, &[old], Message::Heartbeat(heartbeat));
    }
    wrong = wrong.or_else(|| cluster.run_for(100 * MS).err());
    cluster.heal();
    wrong.or_else(|| completes(&mut cluster, 10_000 * MS))
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
    let announcement = Announcement::new(Standing::Stands, Ballot::ZERO);
    let progress = Progress { trimmed, first, ..Progress::until(first) };
    let heartbeat = Heartbeat::new(Version::OLDEST, announcement, progress);
    cluster.hear(sender, nodes, Message::Heartbeat(heartbeat));
}

impl Cluster {
    /// A message of `sender` arrives at these nodes.
    fn hear(&mut self, sender: Sender, nodes: &[NodeId], message: Message) {
        let Settings { acceptor_count, datagram_bytes, .. } = self.plan.settings;
        let codec = Codec::new(CLUSTER, acceptor_count, sender, datagram_bytes);
        let mut bytes = Vec::new();
        codec.encode(&message, &mut bytes).expect("it is short");
        for id in nodes {
            self.arrive(*id, bytes.as_slice().into(), PassageId::default());
        }
    }

    fn sender(&self, id: NodeId) -> Option<Sender> {
        self.nodes.get(&id).map(|node| node.sender)
    }

    /// The ballot of proposer 2, and what it holds, if it leads, while `old` does as well and has
    /// missed what is removed.
    fn missed_by(&self, old: NodeId) -> Option<(Ballot, Progress)> {
        let role = |id| self.nodes.get(&id).map(|node| &node.role);
        let (Some(AnyRole::Proposer(new)), Some(AnyRole::Proposer(old))) =
            (role(proposer(2)), role(old))
        else {
            return None;
        };
        let leads = new.is_leading() && old.is_leading();
        let proposed = Instance(old.log().end().0 + PROPOSED);
        let has_missed = new.log().first() > proposed;
        (leads && has_missed).then(|| (new.ballot(), new.log().progress()))
    }

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

    /// How many values in parts a proposer knows to be open.
    fn open_values(&self, id: NodeId) -> usize {
        match self.nodes.get(&id).map(|node| &node.role) {
            Some(AnyRole::Proposer(proposer)) => proposer.log().assemblies().held().0,
            _ => 0,
        }
    }

    /// Up to where delivery has come at a proposer.
    fn watermark(&self, id: NodeId) -> Instance {
        match self.nodes.get(&id).map(|node| &node.role) {
            Some(AnyRole::Proposer(proposer)) => proposer.log().watermark(),
            _ => Instance::FIRST,
        }
    }

    /// Below which instance an acceptor has trimmed.
    pub(super) fn trimmed(&self, id: NodeId) -> Instance {
        match self.nodes.get(&id).map(|node| &node.role) {
            Some(AnyRole::Acceptor(acceptor)) => acceptor.trimmed(),
            _ => Instance::FIRST,
        }
    }
}
