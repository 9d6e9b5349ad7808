//! Drills with processes of this release and of the one before it, which neither reads nor sends
//! the newer version of the wire format.

use super::forgotten::all_pass;
use super::{MS, Wrong, finishes, led, proposer, types};
use crate::protocol::checkpoint::{Finished, Limit};
use crate::protocol::settings::Settings;
use crate::protocol::types::{Entry, NodeId, Role};
use crate::protocol::versions::{Version, Versions};
use crate::sim::cluster::{Cluster, Plan};

fn acceptor(id: u32) -> NodeId {
    NodeId::new(Role::Acceptor, id)
}

fn learner(id: u32) -> NodeId {
    NodeId::new(Role::Learner, id)
}

/// Installs a release and starts a process of it.
fn install(cluster: &mut Cluster, node: NodeId, release: Versions) {
    cluster.installed.insert(node, release);
    cluster.kill(node);
    cluster.start(node);
}

/// Complains unless the leader sends in `version` before long.
fn comes_to(cluster: &mut Cluster, version: Version) -> Wrong {
    let limit = cluster.now() + 4000 * MS;
    let is_so = |cluster: &Cluster| cluster.leader().and_then(|id| cluster.version(id));
    match cluster.run_until(limit, |cluster| is_so(cluster) == Some(version)) {
        Ok(true) => None,
        Ok(false) => Some(format!("the leader does not come to send in version {version}")),
        Err(violation) => Some(violation),
    }
}

/// Complains if a leader sends in another version than `version` for a while.
fn stays_at(cluster: &mut Cluster, version: Version) -> Wrong {
    (0..40).find_map(|_| {
        let wrong = cluster.run_for(50 * MS).err();
        let other = cluster.leader().and_then(|leader| cluster.version(leader));
        let other = other.filter(|other| *other != version);
        wrong.or_else(|| other.map(|other| format!("the leader sends in version {other} again")))
    })
}

/// A cluster of the last release is upgraded one process after the other, under load, and the newer
/// version is used once that is over.
pub fn upgraded() -> Wrong {
    let plan = Plan { seed: 1, proposers: 3, old_percent: 100, ..Plan::default() };
    let mut cluster = Cluster::new(plan);
    types(&mut cluster, 200);
    let order = [learner(1), learner(2), acceptor(1), acceptor(2), acceptor(3)];
    let order = order.into_iter().chain([3, 2, 1].map(proposer));
    for node in order {
        if let Err(violation) = cluster.run_for(500 * MS) {
            return Some(violation);
        }
        let version = cluster.leader().and_then(|leader| cluster.version(leader));
        if version.is_some_and(|version| version > Version::OLDEST) {
            return Some(format!("the newer version is spoken before {node} is upgraded"));
        }
        install(&mut cluster, node, Versions::ALL);
    }
    // The one that types is of the last release still, and has opened its session before.
    finishes(&mut cluster, 20_000 * MS)
}

/// While a member is of the release before, nothing that it does not know is written into the log.
pub fn new_kinds_wait() -> Wrong {
    let settings = Settings { sessions: 8, ..Settings::default() };
    let plan = Plan { proposers: 2, settings, inputs_end: true, ..Plan::default() };
    let mut cluster = Cluster::new(plan);
    cluster.installed.insert(acceptor(3), Versions::BEFORE);
    install(&mut cluster, acceptor(3), Versions::BEFORE);
    let is_new = |entry: &Entry| {
        let is_sparing = Limit::of(entry.borrowed()).is_some_and(|limit| limit.is_sparing);
        is_sparing || Finished::read(entry.borrowed()).is_some()
    };
    let limits = |cluster: &Cluster, is_right: &dyn Fn(&Entry) -> bool| {
        cluster.checker().chosen().values().filter(|entry| is_right(entry)).count()
    };
    let is_limit = |entry: &Entry| Limit::of(entry.borrowed()).is_some();
    let wrong = cluster.run_for(1000 * MS).err().or_else(|| all_pass(&mut cluster, 1..=40));
    let (before, new) = (limits(&cluster, &is_limit), limits(&cluster, &is_new));
    if wrong.is_some() || before == 0 || new > 0 {
        let what = || format!("{before} limits are written, and {new} entries of new kinds");
        return wrong.or_else(|| Some(what()));
    }
    install(&mut cluster, acceptor(3), Versions::ALL);
    let wrong = comes_to(&mut cluster, Version::NEWEST);
    let wrong = wrong.or_else(|| cluster.run_for(6000 * MS).err());
    let wrong = wrong.or_else(|| all_pass(&mut cluster, 41..=80));
    let (all, new) = (limits(&cluster, &is_limit), limits(&cluster, &is_new));
    let is_right = all > before && new > all - before;
    let what = || format!("{} limits since, and {new} entries of new kinds", all - before);
    wrong.or_else(|| (!is_right).then(what))
}

/// Two of three acceptors are restarted in the previous release: a downgrade.
pub fn acceptors_go_back() -> Wrong {
    let mut cluster = led(1);
    if let Some(wrong) = comes_to(&mut cluster, Version::NEWEST) {
        return Some(wrong);
    }
    install(&mut cluster, acceptor(1), Versions::BEFORE);
    install(&mut cluster, acceptor(2), Versions::BEFORE);
    types(&mut cluster, 10);
    let wrong = finishes(&mut cluster, 5000 * MS);
    let wrong = wrong.or_else(|| comes_to(&mut cluster, Version::OLDEST));
    wrong.or_else(|| stays_at(&mut cluster, Version::OLDEST))
}

/// A standby proposer goes back, and then the leader dies.
pub fn standby_goes_back() -> Wrong {
    let mut cluster = led(1);
    if let Some(wrong) = comes_to(&mut cluster, Version::NEWEST) {
        return Some(wrong);
    }
    cluster.kill(proposer(3));
    install(&mut cluster, proposer(2), Versions::BEFORE);
    if let Some(wrong) = comes_to(&mut cluster, Version::OLDEST) {
        return Some(wrong);
    }
    cluster.kill(proposer(1));
    types(&mut cluster, 10);
    finishes(&mut cluster, 5000 * MS)
}

/// A client and the learners were left out when the others were upgraded.
pub fn left_behind() -> Wrong {
    let mut cluster = led(1);
    if let Some(wrong) = comes_to(&mut cluster, Version::NEWEST) {
        return Some(wrong);
    }
    [1, 2].into_iter().for_each(|id| install(&mut cluster, learner(id), Versions::BEFORE));
    cluster.installed.insert(super::client(), Versions::BEFORE);
    types(&mut cluster, 10);
    finishes(&mut cluster, 8000 * MS)
}
