//! A learner that lost everything, in a log that was trimmed, and gets another's snapshot by
//! itself.

use super::series::completes;
use super::{MS, Wrong};
use crate::protocol::actor::Effects;
use crate::protocol::message::{Assignment, Chunk, Message, SnapshotName, StateKind};
use crate::protocol::parts::Fetching;
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::transfer::Errand;
use crate::protocol::types::{Counted, Instance, NodeId, Role, Time, Value};
use crate::sim::cluster::{Cluster, Plan, values};
use crate::sim::network::Weather;

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
    match hear(2, chunk(good, 1024, 476)).1 {
        Some(bytes) if bytes == [1; 1500] => None,
        put => Some(format!("puts {:?} bytes", put.map(|bytes| bytes.len()))),
    }
}
