//! Acceptors whose disks are full: nothing new is taken, no process dies, and the cluster goes on
//! by itself.

use std::time::Duration;

use super::series::completes;
use super::trimming::acceptor;
use super::{MS, Wrong};
use crate::protocol::actor::Actor;
use crate::protocol::message::Assignment;
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{NodeId, Role};
use crate::sim::cluster::{Cluster, Plan, mixed_values};
use crate::sim::fault::Fault;
use crate::sim::node::AnyRole;
use crate::storage::room::Quota;

/// How many bytes a log may take, in segments of this many.
const LIMIT: u64 = 64 << 10;
const SEGMENT: u64 = 4 << 10;

/// How long values are, of which a client types one every millisecond.
const VALUE: usize = 200;

fn cluster(seed: u64, limit: Option<u64>, settings: Settings) -> Cluster {
    let quota = Quota { limit, reserve: LIMIT / 4 };
    let settings = Settings { window_bytes: 4 << 10, client_window: 16, ..settings };
    let plan = Plan { seed, settings, segment_bytes: SEGMENT, quota, ..Plan::default() };
    let mut cluster = Cluster::new(plan);
    cluster.run_for(1000 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    cluster
}

fn types(cluster: &mut Cluster, client: u32, count: u64) {
    let values = mixed_values(client, count, (1, VALUE));
    cluster.start_typist(client, Assignment::Leader, values, MS);
}

/// Runs until client 1 hears that nothing new is taken, or is taken again.
fn hears(cluster: &mut Cluster, is_full: bool, within: Duration) -> Wrong {
    let has_heard = |cluster: &Cluster| cluster.hears_full(1) == is_full;
    match cluster.run_until(cluster.now() + within, has_heard) {
        Ok(true) => None,
        Ok(false) => {
            let what = if is_full { "it is full" } else { "there is room" };
            Some(format!("no client hears that {what}: {}", cluster.describe()))
        }
        Err(violation) => Some(violation),
    }
}

/// Nothing more is decided than was under way, and no acceptor dies of it.
fn refuses(cluster: &mut Cluster, for_long: Duration) -> Wrong {
    let wrong = cluster.run_for(100 * MS).err();
    let delivered = |cluster: &Cluster| cluster.tally(1).map(|tally| tally.delivered);
    let before = delivered(cluster);
    let wrong = wrong.or_else(|| cluster.run_for(for_long).err());
    wrong.or_else(|| {
        let after = delivered(cluster);
        (after != before).then(|| format!("{after:?} are decided after {before:?}: it was full"))
    })
}

fn lives(cluster: &Cluster) -> Wrong {
    let dead = (1..=3).map(acceptor).find(|id| !cluster.is_up(*id));
    dead.map(|id| format!("{id} is dead"))
}

/// More is asked for than the disks hold of the last two seconds: clients are told, and once what
/// is older is removed it goes on, again and again.
pub fn ages() -> Wrong {
    (1..=3).find_map(|seed| {
        let retain = Retain::Age(Duration::from_secs(2));
        let settings = Settings { retain, ..Settings::default() };
        let mut cluster = cluster(seed, Some(LIMIT), settings);
        types(&mut cluster, 1, 1000);
        let wrong = hears(&mut cluster, true, 1000 * MS);
        let wrong = wrong.or_else(|| refuses(&mut cluster, 500 * MS));
        let wrong = wrong.or_else(|| hears(&mut cluster, false, 3000 * MS));
        let wrong = wrong.or_else(|| completes(&mut cluster, 30_000 * MS));
        let wrong = wrong.or_else(|| lives(&cluster));
        wrong.map(|wrong| format!("seed {seed}: {wrong}"))
    })
}

/// The log is held back by a keeper that is away, until the disks are full. When it is back and has
/// its snapshots, room is made though nothing new comes, even under another leader.
pub fn held_back() -> Wrong {
    (1..=3).find_map(|seed| {
        let settings = Settings {
            retain: Retain::Entries(40),
            keepers: vec![1, 2],
            snapshot_copies: Some(2),
            snapshot_instances: 20,
            ..Settings::default()
        };
        let mut cluster = cluster(seed, Some(LIMIT), settings);
        let keeper = NodeId::new(Role::Learner, 2);
        cluster.kill(keeper);
        types(&mut cluster, 1, 600);
        let wrong = hears(&mut cluster, true, 2000 * MS);
        let wrong = wrong.or_else(|| refuses(&mut cluster, 5000 * MS));
        if seed > 1 {
            let leader = cluster.leader();
            leader.into_iter().for_each(|leader| cluster.kill(leader));
        }
        let wrong = wrong.or_else(|| cluster.run_for(1000 * MS).err());
        cluster.start(keeper);
        let wrong = wrong.or_else(|| hears(&mut cluster, false, 5000 * MS));
        let wrong = wrong.or_else(|| completes(&mut cluster, 30_000 * MS));
        let wrong = wrong.or_else(|| lives(&cluster));
        wrong.map(|wrong| format!("seed {seed}: {wrong}"))
    })
}

/// One disk of three is full, and all is retained: the others go on, and that acceptor lives. With
/// one of the others dead nothing new is taken, what is under way is decided with it, and once
/// there is room it goes on.
pub fn one_of_three() -> Wrong {
    let mut cluster = cluster(1, None, Settings::default());
    let room = 20_000;
    cluster.inject(&Fault::FillDisk(acceptor(3), room));
    types(&mut cluster, 1, 500);
    let wrong = cluster.run_for(1000 * MS).err().or_else(|| lives(&cluster));
    let wrong = wrong.or_else(|| cluster.hears_full(1).then(|| "two have room".to_owned()));
    let wrong = wrong.or_else(|| {
        let most = cluster.kept(acceptor(1));
        let kept = cluster.kept(acceptor(3));
        (kept >= most).then(|| format!("A3 has {kept} votes of {most}, and a full disk"))
    });
    let wrong = wrong.or_else(|| completes(&mut cluster, 5000 * MS));
    types(&mut cluster, 1, 500);
    let wrong = wrong.or_else(|| cluster.run_for(100 * MS).err());
    cluster.kill(acceptor(2));
    let wrong = wrong.or_else(|| hears(&mut cluster, true, 2000 * MS));
    let wrong = wrong.or_else(|| refuses(&mut cluster, 5000 * MS));
    let in_flight = cluster.in_flight();
    let wrong = wrong.or_else(|| {
        (in_flight > 0).then(|| format!("{in_flight} instances are under way and not decided"))
    });
    cluster.hosts.entry(acceptor(3)).or_default().disk.limit(None);
    let wrong = wrong.or_else(|| completes(&mut cluster, 5000 * MS));
    wrong.or_else(|| (!cluster.is_up(acceptor(3))).then(|| "A3 is dead".to_owned()))
}

impl Cluster {
    /// Whether a client has heard that nothing new is taken.
    fn hears_full(&self, client: u32) -> bool {
        let node = self.nodes.get(&NodeId::new(Role::Client, client));
        node.is_some_and(|node| match &node.role {
            AnyRole::Client(client) => client.is_full(),
            AnyRole::Proposer(_) | AnyRole::Acceptor(_) | AnyRole::Learner(_) => false,
        })
    }

    /// How many instances the leader has proposed that are not decided.
    fn in_flight(&self) -> u64 {
        let Some(node) = self.leader().and_then(|leader| self.nodes.get(&leader)) else { return 0 };
        match &node.role {
            AnyRole::Proposer(proposer) => proposer.figures(self.now()).in_flight,
            AnyRole::Client(_) | AnyRole::Acceptor(_) | AnyRole::Learner(_) => 0,
        }
    }
}
