//! Snapshots on a disk that is killed after each step, and that corrupts its content.

use std::io::{self, Read};

use super::series::{DATAGRAM_BYTES, completes};
use super::{MS, Wrong};
use crate::protocol::actor::{Actor, Delivery, Effects, Halt, Input};
use crate::protocol::checkpoint::{Checkpoint, Head};
use crate::protocol::decided_log::LetsGo;
use crate::protocol::message::StateKind;
use crate::protocol::message::{
    Announcement, Assignment, Decide, Durable, Heartbeat, Message, Progress, ReadReply, Standing,
};
use crate::protocol::parts::{DecidedLog, Learner};
use crate::protocol::segments::Page;
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{
    AssignedBy, Ballot, Counted, Entry, Instance, LogTime, NodeId, Number, Origin, Role, Sender,
    Session, Time, Value,
};
use crate::protocol::versions::Version;
use crate::rng::Rng;
use crate::sim::cluster::{CLUSTER, Cluster, Plan, mixed_values, values};
use crate::sim::disk::SimDisk;
use crate::sim::fault::Fault;
use crate::sim::record::PassageId;
use crate::snapshots::file::Label;
use crate::snapshots::shelf::{Shelf, name_of};
use crate::storage::disk::{Disk, Files};
use crate::wire::Codec;

fn label(of: u64) -> Label {
    let (of, first) = (Instance(of), Instance::FIRST);
    let (time, idle_below) = (LogTime::NONE, first);
    let head = Head { of, keep: of, trim: first, forget: first, idle_below, time };
    let (sessions, horizon) = (Vec::new(), Instance(0));
    let checkpoint = Checkpoint { head, name: 7, sessions, horizon, open: Vec::new() };
    Label { cluster: "here".to_owned(), kind: StateKind::Digest, checkpoint }
}

fn state(of: u64) -> Vec<u8> {
    (0..700_000).map(|place: u64| (place * of) as u8).collect()
}

fn put(disk: &SimDisk, of: u64) -> io::Result<()> {
    Shelf::new(disk.clone()).put(&label(of), |out| out.write_all(&state(of)))
}

/// The place of the newest intact snapshot, with the state that it should have.
fn newest(disk: &SimDisk) -> Result<Option<u64>, String> {
    let mut shelf = Shelf::new(disk.clone());
    let found = shelf.newest("here", StateKind::Digest).map_err(|error| error.to_string())?;
    let Some(found) = found else { return Ok(None) };
    let of = found.label.of().0;
    let mut bytes = Vec::new();
    let read = shelf.read(&found.name).and_then(|mut reader| reader.read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if found.label != label(of) || bytes != state(of) {
        return Err(format!("the snapshot of {of} has another state"));
    }
    Ok(Some(of))
}

/// The process is killed, or the power fails, after each step of writing a third snapshot.
pub fn crashes() -> Wrong {
    for with_power in [true, false] {
        for steps in 0.. {
            let disk = SimDisk::default();
            for of in [10, 20] {
                if let Err(error) = put(&disk, of) {
                    return Some(error.to_string());
                }
            }
            disk.kill_after(Some(steps));
            let is_told = put(&disk, 30).is_ok();
            if with_power {
                disk.crash(&mut Rng::new(steps));
            } else {
                disk.kill_after(None);
            }
            match newest(&disk) {
                Ok(Some(30)) => {}
                Ok(Some(20)) if !is_told => {}
                other => return Some(format!("step {steps}, {is_told}: {other:?} is there")),
            }
            // The next one is written all the same.
            if put(&disk, 40).is_err() || newest(&disk) != Ok(Some(40)) {
                return Some(format!("step {steps}: nothing can be written afterwards"));
            }
            if is_told {
                break;
            }
        }
    }
    None
}

/// A bit of the newer snapshot changes: the older one is used, and if that is damaged as well,
/// none.
pub fn changes() -> Wrong {
    let mut rng = Rng::new(7);
    for round in 0..40 {
        let mut disk = SimDisk::default();
        for of in [10, 20] {
            put(&disk, of).ok()?;
        }
        for (of, left) in [(20, Some(10)), (10, None)] {
            let name = name_of(Instance(of));
            let length = disk.length(&name).ok()?;
            // The head, the frames' headers, and anything.
            let at = if round < 30 { round * 3 } else { rng.below(length) };
            let mut byte = [0];
            disk.read_at(&name, at, &mut byte).ok()?;
            disk.write_at(&name, at, &[byte[0] ^ 1 << rng.below(8)]).ok()?;
            match (newest(&disk), left) {
                (Ok(found), Some(_)) if found == left => {}
                (Err(_), None) => {}
                (other, _) => return Some(format!("byte {at} of {of} changed: {other:?}")),
            }
        }
    }
    None
}

/// A learner goes on from a snapshot of this log, and ends when it hears that it is of another one.
/// Before it hears either, it serves no reads.
pub fn earlier_life() -> Wrong {
    let ballot = Ballot { round: 1, proposer: 1, boot: 1 };
    let leader = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
    [(0, None), (7, None), (8, Some(Halt::Foreign))].into_iter().find_map(|(name, expected)| {
        let checkpoint = label(30).checkpoint;
        let learner = Learner::new(1, 1, Settings::default(), Time::ZERO);
        let mut learner = learner.restored(StateKind::Digest, checkpoint);
        let announcement = Announcement::new(Standing::Leads, ballot);
        let announcement = Announcement { quorate: true, ..announcement };
        let progress = Progress { name, ..Progress::until(Instance::FIRST) };
        let heartbeat = Heartbeat::new(Version::OLDEST, announcement, progress);
        let mut fx = Effects::new();
        learner.on_input(Time::ZERO, Input::Read(1), &mut fx);
        learner.on_turn_end(Time::ZERO, &mut fx);
        for acceptor in [1, 2] {
            let from = Sender { node: NodeId::new(Role::Acceptor, acceptor), boot: 7 };
            let reply = ReadReply { boot: 1, count: 1, end: Instance(3) };
            learner.on_message(Time::ZERO, from, Message::ReadReply(reply), &mut fx);
        }
        learner.on_turn_end(Time::ZERO, &mut fx);
        let can_read = |fx: &Effects| fx.deliver.contains(&Delivery::Readable(1));
        if can_read(&fx) {
            return Some("what may be of another log is read".to_owned());
        }
        learner.on_message(Time::ZERO, leader, Message::Heartbeat(heartbeat), &mut fx);
        learner.on_turn_end(Time::ZERO, &mut fx);
        if can_read(&fx) != (name == 7) {
            return Some(format!("reads while the log is named {name}"));
        }
        (fx.halt != expected).then(|| format!("{:?} for a log named {name}", fx.halt))
    })
}

/// A learner is started again and again, and goes on from snapshots that were taken while long
/// values were open: it delivers them as well.
pub fn between_parts() -> Wrong {
    (1..=5).find_map(|seed| between_parts_with(seed).map(|wrong| format!("seed {seed}: {wrong}")))
}

fn between_parts_with(seed: u64) -> Wrong {
    const VALUES: u64 = 150;
    let settings = Settings {
        datagram_bytes: DATAGRAM_BYTES,
        window_bytes: 8 * DATAGRAM_BYTES,
        retain: Retain::Entries(200),
        keepers: vec![1, 2],
        snapshot_instances: 7,
        ..Settings::default()
    };
    let mut cluster = Cluster::new(Plan { seed, settings, ..Plan::default() });
    for client in [1, 2] {
        let values = mixed_values(client, VALUES, (2, 3000));
        cluster.start_typist(client, Assignment::Leader, values, 3 * MS);
    }
    let learner = NodeId::new(Role::Learner, 2);
    for round in 0..8 {
        if let Err(violation) = cluster.run_for(MS * (40 + 3 * seed as u32 + round)) {
            return Some(violation);
        }
        cluster.kill(learner);
        cluster.start(learner);
    }
    let wrong = completes(&mut cluster, 10_000 * MS);
    // No value was given up that its client was still sending.
    let told = [1, 2].map(|client| cluster.tally(client).unwrap_or_default().delivered);
    wrong.or_else(|| (told != [VALUES; 2]).then(|| format!("{told:?} values are delivered")))
}

/// One of three keepers is there, and is started again: nothing is removed. With a second one it
/// is. The third comes when the entries it needs are gone, and goes on from a snapshot of another
/// one.
pub fn copies() -> Wrong {
    let settings = Settings {
        retain: Retain::Entries(40),
        keepers: vec![1, 2, 3],
        snapshot_instances: 50,
        ..Settings::default()
    };
    let mut cluster = Cluster::new(Plan { learners: 3, settings, ..Plan::default() });
    let learner = |id| NodeId::new(Role::Learner, id);
    [2, 3].map(learner).into_iter().for_each(|id| cluster.kill(id));
    let run = |cluster: &mut Cluster, client| {
        cluster.start_typist(client, Assignment::Leader, values(client, 300), MS);
        completes(cluster, 5_000 * MS)
    };
    // Started again, it is still one copy.
    let again = |cluster: &mut Cluster| {
        cluster.inject(&Fault::Restart(learner(1)));
        run(cluster, 4)
    };
    let wrong = run(&mut cluster, 1).or_else(|| again(&mut cluster)).or_else(|| {
        let trim = cluster.checker().trimmed();
        (trim > Instance::FIRST).then(|| format!("one copy is enough to trim below {trim}"))
    });
    cluster.start(learner(2));
    wrong
        .or_else(|| run(&mut cluster, 2))
        .or_else(|| {
            let is_held = cluster.checker().trimmed() == Instance::FIRST;
            is_held.then(|| "two copies of three are not enough".to_owned())
        })
        .or_else(|| {
            cluster.start(learner(3));
            run(&mut cluster, 3)
        })
        .or_else(|| cluster.checker().check_order().err())
}

/// A learner that went on from a snapshot of another log reports that: it is no reason to remove
/// anything of this one.
pub fn foreign_copies() -> Wrong {
    let settings =
        Settings { retain: Retain::Entries(40), keepers: vec![9], ..Settings::default() };
    let Settings { acceptor_count, datagram_bytes, .. } = settings;
    let mut cluster = Cluster::new(Plan { settings, ..Plan::default() });
    let sender = Sender { node: NodeId::new(Role::Learner, 9), boot: 1 };
    let codec = Codec::new(CLUSTER, acceptor_count, sender, datagram_bytes);
    let durable = Message::Durable(Durable { below: Instance(1 << 30), name: 7 });
    let mut bytes = Vec::new();
    codec.encode(&durable, &mut bytes).expect("it is short");
    for id in 1..=2 {
        let proposer = NodeId::new(Role::Proposer, id);
        cluster.arrive(proposer, bytes.as_slice().into(), PassageId::default());
    }
    cluster.start_typist(1, Assignment::Leader, values(1, 300), MS);
    completes(&mut cluster, 5_000 * MS).or_else(|| {
        let trim = cluster.checker().trimmed();
        (trim > Instance::FIRST).then(|| format!("the log is trimmed below {trim}"))
    })
}

/// Half of a checkpoint was passed: there no snapshot is taken. Behind it there is.
pub fn halves() -> Wrong {
    let session = |client| Session { client, boot: 1 };
    let value = |client| {
        let (number, assigned_by) = (Number::FIRST, AssignedBy::Leader);
        let origin = Origin::new(session(client), number, assigned_by);
        Entry::Value { origin, value: Value::new(b"v") }
    };
    let mut log = DecidedLog::new();
    let values: Vec<Entry> = (1..=60).map(value).collect();
    let first = Page { from: Instance::FIRST, entries: values.clone().into() };
    log.decide(first, |_| {}).expect("it is new");
    log.deliver(|_, _| ());
    let pieces = log.checkpoint(LetsGo::NONE).pieces(0);
    assert!(pieces.len() > 2, "it has a middle");

    let settings = Settings { snapshot_instances: 1, ..Settings::default() };
    let mut learner = Learner::new(1, 1, settings, Time::ZERO).with_snapshots(StateKind::Digest);
    let sender = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
    let end = Instance(61 + pieces.len() as u64);
    let mut taken = Vec::new();
    for (from, entry) in Instance::FIRST.numbering(values.into_iter().chain(pieces)) {
        let mut fx = Effects::new();
        let decide = Decide { ballot: Ballot::ZERO, from, entries: vec![entry].into() };
        learner.on_message(Time::ZERO, sender, Message::Decide(decide), &mut fx);
        taken.extend(fx.deliver.iter().filter_map(|delivery| match delivery {
            Delivery::Checkpoint(checkpoint) => Some(checkpoint.head.of),
            _ => None,
        }));
    }
    let expected: Vec<Instance> = (2..=61).map(Instance).chain([end]).collect();
    (taken != expected).then(|| format!("snapshots are taken at {taken:?}"))
}
