//! A learner that lost everything, in a log that was trimmed, and gets another's snapshot by
//! itself.

use super::series::completes;
use super::{MS, Wrong, proposer};
use crate::protocol::actor::Effects;
use crate::protocol::message::{Assignment, Chunk, Fetch, Message, SnapshotName, StateKind};
use crate::protocol::parts::Fetching;
use crate::protocol::proposer::fetchers::PATIENCE;
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::transfer::Errand;
use crate::protocol::types::{Counted, Instance, NodeId, Role, Sender, Time, Value};
use crate::sim::cluster::{CLUSTER, Cluster, Plan, values};
use crate::sim::fault::Fault;
use crate::sim::network::Weather;
use crate::sim::record::PassageId;
use crate::wire::Codec;

fn learner(id: u32) -> NodeId {
    NodeId::new(Role::Learner, id)
}

/// Three keepers, a log that is trimmed again and again, and losses.
fn trimmed(seed: u64, loss: f64) -> Result<Cluster, String> {
    let settings = Settings {
        retain: Retain::Entries(40),
        keepers: vec![1, 2, 3],
        snapshot_instances: 50,
        ..Settings::default()
    };
    let weather = Weather { loss, ..Weather::default() };
    let mut cluster =
        Cluster::new(Plan { seed, learners: 3, settings, weather, ..Plan::default() });
    cluster.kill(learner(3));
    cluster.start_typist(1, Assignment::Leader, values(1, 500), MS);
    match completes(&mut cluster, 10_000 * MS) {
        Some(wrong) => Err(wrong),
        None if cluster.checker().trimmed() == Instance::FIRST => Err("it is not trimmed".into()),
        None => Ok(cluster),
    }
}

/// Everybody has everything, and no operator has brought a snapshot.
fn ends_well(cluster: &mut Cluster) -> Wrong {
    let client = 2 + cluster.imports();
    cluster.start_typist(client, Assignment::Leader, values(client, 100), MS);
    let wrong = completes(cluster, 20_000 * MS).or_else(|| cluster.checker().check_order().err());
    let (imports, fetched) = (cluster.imports(), cluster.fetched());
    let is_as_wanted = imports == 0 && fetched > 0;
    let by_hand = || format!("{fetched} snapshots were fetched, and {imports} brought by hand");
    wrong.or_else(|| (!is_as_wanted).then(by_hand))
}

/// One learner comes late and has nothing; the one that lends is killed in the middle, or not; or
/// it is killed itself, and comes back with half of it.
pub fn newcomers() -> Wrong {
    (1..=40).find_map(|seed: u64| {
        let loss = [0.0, 0.1, 0.3][seed as usize % 3];
        let mut cluster = match trimmed(seed, loss) {
            Ok(cluster) => cluster,
            Err(wrong) => return Some(format!("seed {seed}: {wrong}")),
        };
        cluster.start(learner(3));
        let wrong = cluster.run_for(MS * (seed as u32 * 3)).err();
        match seed % 4 {
            1 => cluster.kill(learner(1)),
            2 => cluster.kill(learner(2)),
            3 => {
                cluster.kill(learner(3));
                cluster.start(learner(3));
            }
            _ => {}
        }
        let wrong = wrong.or_else(|| ends_well(&mut cluster));
        wrong.map(|wrong| format!("seed {seed}: {wrong}"))
    })
}

/// A learner takes nothing that does not reach the log, nothing of another log, and no chunks of
/// two snapshots.
pub fn choices() -> Wrong {
    let (settings, now) = (Settings::default(), Time::ZERO);
    let name = |log, keep, tail| {
        let (keep, of) = (Instance(keep), Instance(keep).plus(9));
        SnapshotName { log, of, keep, bytes: 1500, tail }
    };
    let chunk = |snapshot, offset, length| Chunk {
        snapshot,
        offset,
        bytes: Value::new(&vec![snapshot.tail as u8; length]),
    };
    let mut fetching = Fetching::new(StateKind::Digest, Instance(100), 7);
    let mut fx = Effects::new();
    let mut hear = |from, chunk: Chunk| {
        fetching.on_chunk(now, learner(from), &chunk, &settings, &mut fx);
        let asked = fx.send.drain(..).find_map(|(_, message)| match message {
            Message::Fetch(fetch) => fetch.snapshot,
            _ => None,
        });
        let put = fx.errands.drain(..).find_map(|errand| match errand {
            Errand::Put { bytes, .. } => Some(bytes),
            Errand::Lend { .. } => None,
        });
        (asked, put)
    };
    for (what, useless) in [("a log", name(8, 100, 1)), ("a place", name(7, 99, 1))] {
        if hear(1, chunk(useless, 0, 1024)).0.is_some() {
            return Some(format!("fetches a snapshot of {what} that is of no use"));
        }
    }
    let (good, other) = (name(7, 100, 1), name(7, 100, 2));
    if hear(1, chunk(good, 0, 1024)).0 != Some(good) {
        return Some("does not fetch what is of use".to_owned());
    }
    if hear(2, chunk(other, 1024, 476)).1.is_some() {
        return Some("takes a chunk of another snapshot".to_owned());
    }
    if hear(2, chunk(good, 1024, 475)).1.is_some() || hear(2, chunk(good, 1023, 476)).1.is_some() {
        return Some("takes a chunk that is not whole, or in another place".to_owned());
    }
    match hear(2, chunk(good, 1024, 476)).1 {
        Some(bytes) if bytes == [1; 1500] => None,
        put => Some(format!("puts {:?} bytes", put.map(|bytes| bytes.len()))),
    }
}

/// A disk is slow, and storing a snapshot takes longer than the log reaches back: the log waits for
/// the learner that fetches one, and gets shorter again when it has caught up.
pub fn slow() -> Wrong {
    (1..=5).find_map(|seed| slow_with(seed, &[]).map(|wrong| format!("seed {seed}: {wrong}")))
}

/// The same while an acceptor is down, and a proposer besides. The version of the wire is the older
/// one then.
pub fn slow_without_all() -> Wrong {
    let (acceptor, standby) = (NodeId::new(Role::Acceptor, 3), proposer(1));
    [&[acceptor][..], &[acceptor, standby]].into_iter().find_map(|down| {
        let wrong = (1..=3).find_map(|seed| slow_with(seed, down));
        wrong.map(|wrong| format!("without {down:?}: {wrong}"))
    })
}

/// A disk is so slow that it is asked for everything twice: that it has all of a snapshot is heard
/// again when the learner has gone on from there.
pub fn stored_twice() -> Wrong {
    (1..=3).find_map(|seed| {
        let mut cluster = match trimmed(seed, 0.0) {
            Ok(cluster) => cluster,
            Err(wrong) => return Some(format!("seed {seed}: {wrong}")),
        };
        cluster.inject(&Fault::SlowDisk(learner(3), 1200 * MS));
        cluster.start(learner(3));
        cluster.start_typist(9, Assignment::Leader, values(9, 50), 100 * MS);
        let has_fetched = |cluster: &Cluster| cluster.fetched() > 0;
        let wrong = match cluster.run_until(cluster.now() + 6000 * MS, has_fetched) {
            Ok(true) => cluster.run_for(1200 * MS).err().or_else(|| ends_well(&mut cluster)),
            Ok(false) => Some("nothing is fetched".to_owned()),
            Err(violation) => Some(violation),
        };
        wrong.map(|wrong| format!("seed {seed}: {wrong}"))
    })
}

fn slow_with(seed: u64, down: &[NodeId]) -> Wrong {
    let settings = Settings {
        retain: Retain::Entries(200),
        hold_bytes: Some(1 << 20),
        keepers: vec![1, 2, 3],
        snapshot_instances: 300,
        ..Settings::default()
    };
    let mut cluster = Cluster::new(Plan { seed, learners: 3, settings, ..Plan::default() });
    cluster.kill(learner(3));
    down.iter().for_each(|node| cluster.kill(*node));
    cluster.start_typist(1, Assignment::Leader, values(1, 4000), 2 * MS);
    let wrong = cluster.run_for(1000 * MS).err();
    cluster.inject(&Fault::SlowDisk(learner(3), 700 * MS));
    cluster.start(learner(3));
    let has_fetched = |cluster: &Cluster| cluster.fetched() > 0;
    let wrong = wrong.or_else(|| match cluster.run_until(cluster.now() + 6000 * MS, has_fetched) {
        Ok(true) => None,
        Ok(false) => Some("a log that is trimmed leaves no time to fetch a snapshot".to_owned()),
        Err(violation) => Some(violation),
    });
    let before = cluster.checker().trimmed();
    let wrong = wrong.or_else(|| completes(&mut cluster, 10_000 * MS));
    let (after, fetched, imports) =
        (cluster.checker().trimmed(), cluster.fetched(), cluster.imports());
    let is_well = (fetched, imports) == (1, 0) && after.0 > before.0 + 200;
    let what = || format!("{fetched} fetched, {imports} imported, trimmed at {before}, {after}");
    wrong.or_else(|| (!is_well).then(what))
}

/// A learner that never finishes says again and again what it needs: the log is kept for it, but
/// not for ever.
pub fn patience() -> Wrong {
    const NEEDED: Instance = Instance(50);
    // However long it waits, it does not keep more than four times as much.
    let (retain, hold_bytes) = (Retain::Entries(230), Some(1 << 20));
    let settings = Settings { retain, hold_bytes, ..Settings::default() };
    let Settings { acceptor_count, datagram_bytes, .. } = settings;
    let mut cluster = Cluster::new(Plan { settings, ..Plan::default() });
    let codec =
        Codec::new(CLUSTER, acceptor_count, Sender { node: learner(9), boot: 1 }, datagram_bytes);
    let needing = Fetch::needing(StateKind::Digest, 0, NEEDED);
    let mut bytes = Vec::new();
    codec.encode(&Message::Fetch(needing), &mut bytes).expect("it is short");
    let waits = |cluster: &mut Cluster, client| {
        cluster.start_typist(client, Assignment::Leader, values(client, 300), MS);
        let wrong = (0..20).find_map(|_| {
            (1..=2).map(proposer).for_each(|id| {
                cluster.arrive(id, bytes.as_slice().into(), PassageId::default());
            });
            cluster.run_for(50 * MS).err()
        });
        wrong.or_else(|| completes(cluster, 5_000 * MS))
    };
    for client in 1..=3 {
        if let Some(wrong) = waits(&mut cluster, client) {
            return Some(wrong);
        }
        let trimmed = cluster.checker().trimmed();
        if (trimmed > NEEDED) != (client == 3) {
            return Some(format!("with {NEEDED} needed, the log is trimmed below {trimmed}"));
        }
        (1..=2).map(proposer).for_each(|id| {
            cluster.inject(&Fault::ClockJump(id, PATIENCE * 3 / 5));
        });
    }
    None
}
