//! Logs of which little is in memory and all is on disks: learners that need everything, and votes
//! that were not for what was decided.

use std::collections::BTreeMap;
use std::time::Duration;

use super::series::{DATAGRAM_BYTES, completes};
use super::trimming::{acceptor, hears_wrong_numbers, tell, types};
use super::{MS, Wrong, cut, proposer};
use crate::protocol::actor::Record;
use crate::protocol::message::{Assignment, Kind};
use crate::protocol::recall::Reading;
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{Ballot, Counted, Entry, Instance, NodeId, Role, Run};
use crate::rng::Rng;
use crate::sim::cluster::{Cluster, Plan, values};
use crate::sim::disk::SimDisk;
use crate::sim::fault::Fault;
use crate::storage::AcceptorStore;
use crate::storage::identity::Identity;
use crate::storage::log::{Log, LogOptions};

/// How many bytes memories hold, about, and how many values there are.
const HELD: u64 = 4000;
const VALUES: u64 = 400;

fn learner(id: u32) -> NodeId {
    NodeId::new(Role::Learner, id)
}

/// About how many bytes a new leader reads, where memories hold everything.
const TAKEN_UP: u64 = 2000;

/// A cluster with a leader whose memory is small.
fn cluster(seed: u64) -> Cluster {
    cluster_that_holds(seed, Some(HELD))
}

/// A cluster with a leader, whose memories hold about this many bytes, or everything if it has no
/// disks.
fn cluster_that_holds(seed: u64, bytes: Option<u64>) -> Cluster {
    let settings = Settings {
        datagram_bytes: DATAGRAM_BYTES,
        window_bytes: 8 * DATAGRAM_BYTES,
        catch_up_bytes: 8 * DATAGRAM_BYTES,
        client_window: 8,
        retain: Retain::All,
        hold_bytes: bytes,
        take_up_bytes: TAKEN_UP,
        ..Settings::default()
    };
    let plan = Plan { seed, proposers: 3, settings, segment_bytes: 20_000, ..Plan::default() };
    let mut cluster = Cluster::new(plan);
    cluster.run_for(1000 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    cluster
}

/// Learners that begin anew get everything, though nobody has it in memory: while others decide,
/// and when all processes are new.
pub fn late_learners() -> Wrong {
    (1..=5).find_map(|seed| late_learners_with(seed).map(|wrong| format!("seed {seed}: {wrong}")))
}

fn late_learners_with(seed: u64) -> Wrong {
    let mut cluster = cluster(seed);
    types(&mut cluster, 1, VALUES);
    if let Some(wrong) = completes(&mut cluster, 10_000 * MS) {
        return Some(wrong);
    }
    types(&mut cluster, 2, VALUES);
    cluster.kill(learner(2));
    cluster.start(learner(2));
    let wrong = completes(&mut cluster, 10_000 * MS);
    let wrong = wrong.or_else(|| cluster.run_for(200 * MS).err()).or_else(|| is_complete(&cluster));
    let everyone = [acceptor(1), acceptor(2), acceptor(3), learner(1), learner(2)];
    let everyone = everyone.into_iter().chain((1..=3).map(proposer));
    let wrong = wrong.or_else(|| {
        // A value in this drill takes 40 bytes or more.
        let most = HELD * 2 / 40;
        let fat = everyone.clone().find(|id| cluster.kept(*id) > most);
        fat.map(|id| format!("{id} holds {} entries", cluster.kept(id)))
    });
    if wrong.is_some() {
        return wrong;
    }
    everyone.clone().for_each(|id| cluster.kill(id));
    everyone.for_each(|id| cluster.start(id));
    types(&mut cluster, 3, 20);
    completes(&mut cluster, 20_000 * MS)
        .or_else(|| is_complete(&cluster))
        .or_else(|| cluster.checker().check_order().err())
}

/// Where all proposers and learners are new, the next leader reads the end of the log alone, though
/// the acceptors hold all of it in memory, and the learners get everything.
pub fn new_leaders() -> Wrong {
    (1..=5).find_map(|seed| new_leaders_with(seed).map(|wrong| format!("seed {seed}: {wrong}")))
}

fn new_leaders_with(seed: u64) -> Wrong {
    let mut cluster = cluster_that_holds(seed, Some(1 << 20));
    types(&mut cluster, 1, VALUES);
    let mut wrong = completes(&mut cluster, 10_000 * MS);
    let newcomers = [learner(1), learner(2), proposer(1), proposer(2), proposer(3)];
    for with_acceptors in [false, true] {
        let acceptors = (1..=3).map(acceptor).filter(|_| with_acceptors);
        let all: Vec<NodeId> = newcomers.into_iter().chain(acceptors).collect();
        all.iter().for_each(|id| cluster.kill(*id));
        all.iter().for_each(|id| cluster.start(*id));
        let (begun, leads) = (cluster.now(), |cluster: &Cluster| cluster.leader().is_some());
        wrong = wrong.or_else(|| cluster.run_until(begun + 2000 * MS, leads).err());
        // The one that died is echoed for a while, and datagrams are small: two at a time come from
        // each acceptor.
        let took = cluster.now().since(begun);
        let is_late = took > Settings::default().leader_timeout * 5;
        wrong = wrong.or_else(|| is_late.then(|| format!("nobody leads for {took:?}")));
        // The log has more than as many entries as there are values.
        let most = VALUES / 2;
        let fat = (1..=3).map(proposer).find(|id| cluster.kept(*id) > most);
        wrong = wrong.or_else(|| fat.map(|id| format!("{id} holds {}", cluster.kept(id))));
        types(&mut cluster, 3 + u32::from(with_acceptors), 100);
        wrong = wrong.or_else(|| completes(&mut cluster, 10_000 * MS));
        // That it has begun there is no reason for others to forget what lies below.
        let thin = (1..=3).map(acceptor).find(|id| cluster.kept(*id) < VALUES);
        wrong = wrong.or_else(|| thin.map(|id| format!("{id} holds {}", cluster.kept(id))));
    }
    wrong.or_else(|| cluster.checker().check_order().err())
}

/// A leader that dies and is soon started again has nothing in memory. One that has followed it
/// takes over, whether acceptors have disks or not.
pub fn leaders_come_back() -> Wrong {
    [None, Some(1 << 20)].into_iter().find_map(|held| {
        [0, 50, 100].into_iter().find_map(|after| {
            let wrong = comes_back(held, after * MS);
            wrong.map(|wrong| format!("{held:?}, after {after} ms: {wrong}"))
        })
    })
}

fn comes_back(held: Option<u64>, after: Duration) -> Wrong {
    let mut cluster = cluster_that_holds(1, held);
    types(&mut cluster, 1, VALUES);
    let mut wrong = completes(&mut cluster, 10_000 * MS);
    cluster.kill(proposer(1));
    let died = cluster.now();
    wrong = wrong.or_else(|| cluster.run_for(after).err());
    cluster.start(proposer(1));
    let leads = |cluster: &Cluster| cluster.leader().is_some();
    wrong = wrong.or_else(|| cluster.run_until(died + 2000 * MS, leads).err());
    let (leader, took) = (cluster.leader(), cluster.now().since(died));
    let is_wrong = leader == Some(proposer(1)) && after > Duration::ZERO || took > 500 * MS;
    wrong.or_else(|| is_wrong.then(|| format!("{leader:?} leads after {took:?}")))
}

/// The leader dies again and again, so now and then within a checkpoint. The next one takes up the
/// log at one that is decided.
pub fn half_a_checkpoint() -> Wrong {
    (1..=5).find_map(|seed| halves_with(seed).map(|wrong| format!("seed {seed}: {wrong}")))
}

fn halves_with(seed: u64) -> Wrong {
    let mut cluster = cluster_that_holds(seed, Some(1 << 20));
    types(&mut cluster, 1, VALUES);
    types(&mut cluster, 2, VALUES);
    let mut wrong = None;
    for round in 0..8 {
        wrong = wrong.or_else(|| cluster.run_for(MS * (30 + 7 * seed as u32 + round)).err());
        (1..=3).map(proposer).for_each(|id| cluster.kill(id));
        (1..=3).map(proposer).for_each(|id| cluster.start(id));
        wrong = wrong.or_else(|| cluster.run_for(300 * MS).err());
    }
    wrong.or_else(|| completes(&mut cluster, 20_000 * MS))
}

/// Whether a learner that began late has everything, and has read some of it back.
fn is_complete(cluster: &Cluster) -> Wrong {
    let (count, recalled) =
        (cluster.delivered(2).len(), cluster.checker().sent_of(&[Kind::Recalled]));
    if count < 2 * VALUES as usize {
        return Some(format!("the late learner delivered {count} values"));
    }
    (recalled < 20).then(|| format!("only {recalled} datagrams were read back"))
}

/// Acceptor 3 alone has voted for the proposal of a dead leader, and the others vote for something
/// else there. Learners that read old votes back must not take that vote for the decision: neither
/// when the decision is made, nor before, while a false heartbeat says that everything there is
/// decided.
pub fn lonely_votes() -> Wrong {
    (1..=4).find_map(|seed| lonely_votes_with(seed).map(|wrong| format!("seed {seed}: {wrong}")))
}

fn lonely_votes_with(seed: u64) -> Wrong {
    let mut cluster = cluster(seed);
    types(&mut cluster, 1, 20);
    if let Some(wrong) = completes(&mut cluster, 10_000 * MS) {
        return Some(wrong);
    }
    let Some(leader) = cluster.leader() else { return Some("nobody leads".to_owned()) };
    // What it proposes reaches acceptor 3 alone.
    cut(&mut cluster, |from, to| {
        let others = |id: NodeId| id.role == Role::Acceptor && id != acceptor(3);
        from == leader && (others(to) || to.role == Role::Learner || to.role == Role::Proposer)
    });
    cluster.start_client(2, Assignment::Leader, values(2, 8));
    let mut wrong = cluster.run_for(40 * MS).err();
    cluster.kill(leader);
    cluster.kill(NodeId::new(Role::Client, 2));
    cluster.inject(&Fault::Heal);
    // Nobody leads yet, and the votes are what there is: a learner is told that all is decided.
    for first in [200, 201, 202] {
        tell(&mut cluster, &[learner(1), learner(2)], (Instance::FIRST, Instance(first)));
        wrong = wrong.or_else(|| cluster.run_for(10 * MS).err());
    }
    cut(&mut cluster, |from, to| from == acceptor(3) || to == acceptor(3));
    types(&mut cluster, 3, VALUES);
    wrong = wrong.or_else(|| cluster.run_for(3000 * MS).err());
    cluster.heal();
    wrong = wrong.or_else(|| completes(&mut cluster, 10_000 * MS));
    wrong = wrong.or_else(|| cluster.run_for(200 * MS).err());
    for down in 1..=2 {
        // Now acceptor 3 and one of the others are all there is, and the learner is new.
        cluster.kill(acceptor(down));
        cluster.kill(learner(2));
        cluster.start(learner(2));
        wrong = wrong.or_else(|| completes(&mut cluster, 10_000 * MS));
        cluster.start(acceptor(down));
        wrong = wrong.or_else(|| cluster.run_for(100 * MS).err());
    }
    wrong.or_else(|| cluster.checker().check_order().err())
}

/// A heartbeat with wrong numbers tells the acceptors that they may forget: they do not.
pub fn hearsay() -> Wrong {
    hears_wrong_numbers(cluster(1))
}

/// A reading from a disk that is written, fails and is cleared meanwhile returns all votes, or
/// fails.
pub fn read_back() -> Wrong {
    let read = (1..=100).try_fold(0, |read, seed| match read_back_from(seed) {
        Ok(more) => Ok(read + more),
        Err(wrong) => Err(format!("seed {seed}: {wrong}")),
    });
    match read {
        Ok(read) if read < 2000 => Some(format!("only {read} readings succeeded")),
        Ok(_) => None,
        Err(wrong) => Some(wrong),
    }
}

fn read_back_from(seed: u64) -> Result<u64, String> {
    let (disk, mut rng) = (SimDisk::new(), Rng::new(seed));
    let cluster = "drill".to_owned();
    let (incarnation, token) = (7, 0x7172_6973_746f_7265);
    let mine = Identity { cluster, acceptor: 1, acceptor_count: 3, incarnation, token };
    let options = LogOptions { segment_bytes: 200 << rng.below(5), ..LogOptions::DEFAULT };
    let open = || Log::open(disk.clone(), &mine, options).and_then(|found| found.recover(|_| {}));
    let (mut log, _) = open().map_err(|error| error.to_string())?;
    let failed = |error: std::io::Error| error.to_string();
    let mut reader = log.vote_reader().map_err(failed)?.ok_or("nothing can be read")?;
    let mut votes: BTreeMap<Instance, Ballot> = BTreeMap::new();
    let (mut round, mut next, mut trimmed, mut succeeded) = (1, 1, Instance::FIRST, 0);
    for _ in 0..60 {
        round += u64::from(rng.chance(0.2));
        next += rng.below(8);
        let (from, count) = (next.saturating_sub(rng.below(10)).max(1), 1 + rng.below(5));
        next = next.max(from + count);
        let (ballot, from) = (Ballot { round, proposer: 1, boot: 1 }, Instance(from));
        if from >= trimmed {
            let entries = vec![Entry::Noop; count as usize].into();
            log.append(&Record::Accepted { ballot, from, entries }).map_err(failed)?;
            votes.extend((0..count).map(|place| (from.plus(place), ballot)));
        }
        if rng.chance(0.1) {
            trimmed = trimmed.max(Instance(1 + rng.below(next)));
            log.append(&Record::Trimmed(trimmed)).map_err(failed)?;
        }
        log.flush().and_then(|()| log.reclaim()).map_err(failed)?;
        if rng.chance(0.05) {
            (log, _) = open().map_err(|error| error.to_string())?;
            reader = log.vote_reader().map_err(failed)?.ok_or("nothing can be read")?;
        }
        disk.set_broken(rng.chance(0.1));
        let run = Run::new(Instance(1 + rng.below(next)), Instance(next + rng.below(5)));
        let (asker, known) = (learner(1), run.until);
        let (again, has_entries) = (false, true);
        let reading = Reading { asker, again, run, known, trimmed, has_entries };
        if let Ok(found) = reader.read(&reading, 1 + rng.below(500)) {
            succeeded += 1;
            let told = found.votes.iter().map(|(instance, _, ballot)| (instance, *ballot));
            let told: Vec<(Instance, Ballot)> = told.collect();
            let within = votes.range(found.run.from..found.run.until);
            let all: Vec<(Instance, Ballot)> = within.map(|(at, ballot)| (*at, *ballot)).collect();
            if told != all {
                return Err(format!("{told:?} is read of {}, and not {all:?}", found.run));
            }
        }
        disk.set_broken(false);
    }
    Ok(succeeded)
}

/// A learner whose acceptors are cut off one after the other gets everything in the end.
pub fn one_after_the_other() -> Wrong {
    let mut cluster = cluster(3);
    types(&mut cluster, 1, VALUES);
    if let Some(wrong) = completes(&mut cluster, 10_000 * MS) {
        return Some(wrong);
    }
    cluster.kill(learner(2));
    cluster.start(learner(2));
    let mut wrong = None;
    for id in [1, 2, 3, 1, 2, 3] {
        cut(&mut cluster, |from, to| from == acceptor(id) || to == acceptor(id));
        wrong = wrong.or_else(|| cluster.run_for(Duration::from_millis(40)).err());
        cluster.inject(&Fault::Heal);
    }
    wrong.or_else(|| completes(&mut cluster, 5_000 * MS))
}
