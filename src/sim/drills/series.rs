//! Values in parts, in situations that are rarely drawn: clients that die half way, leaders that
//! die at every few parts, and series that no client would send.

use std::time::Duration;

use super::{MS, Wrong, finishes};
use crate::protocol::assembly::AssemblyLimits;
use crate::protocol::entries::Entries;
use crate::protocol::message::{Assignment, Message, Request};
use crate::protocol::settings::Settings;
use crate::protocol::types::{
    AssignedBy, Entry, NodeId, Number, Origin, Part, Role, Sender, Session, To, Value,
};
use crate::sim::cluster::{CLUSTER, Cluster, Plan, mixed_values, values};
use crate::sim::record::PassageId;
use crate::wire::Codec;

/// Datagrams of so many bytes, and values that take 30 of them.
const DATAGRAM_BYTES: usize = 512;
const LONG_BYTES: usize = 30 * (DATAGRAM_BYTES - 160) - 7;

/// A cluster with a leader, in which so many values in parts may be open.
fn cluster(seed: u64, count: usize) -> Cluster {
    let assembly = AssemblyLimits { count, bytes: LONG_BYTES * count };
    let datagram_bytes = DATAGRAM_BYTES;
    let window_bytes = 8 * DATAGRAM_BYTES;
    let settings = Settings { datagram_bytes, window_bytes, assembly, ..Settings::default() };
    let mut cluster = Cluster::new(Plan { seed, proposers: 3, settings, ..Plan::default() });
    cluster.run_for(1000 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    cluster
}

/// Everything is decided, known and whole, soon.
fn completes(cluster: &mut Cluster, limit: Duration) -> Wrong {
    finishes(cluster, limit).or_else(|| cluster.check_complete().err())
}

/// `count` long values of a client.
fn types(cluster: &mut Cluster, client: u32, count: u64) {
    let values = mixed_values(client, count, (1, LONG_BYTES));
    cluster.start_typist(client, Assignment::Leader, values, MS);
}

/// Runs until so many instances are chosen.
fn decides(cluster: &mut Cluster, count: usize) -> Wrong {
    let has = |cluster: &Cluster| cluster.checker().chosen().len() >= count;
    match cluster
        .run_until(cluster.now() + 2000 * MS, |cluster| cluster.checker().chosen().len() >= count)
    {
        Ok(_) if has(cluster) => None,
        Ok(_) => Some(format!("not {count} instances: {}", cluster.describe())),
        Err(violation) => Some(violation),
    }
}

/// Two clients' long values come whole, at whichever part the leader dies.
pub fn leaders() -> Wrong {
    (0..14).find_map(|place| {
        let mut cluster = cluster(place, 8);
        types(&mut cluster, 1, 2);
        types(&mut cluster, 2, 2);
        let wrong = decides(&mut cluster, 1 + place as usize * 8);
        cluster.leader().into_iter().for_each(|leader| cluster.kill(leader));
        let wrong = wrong.or_else(|| completes(&mut cluster, 3000 * MS));
        wrong.map(|wrong| format!("killed after {place}: {wrong}"))
    })
}

/// Clients that die half way hold nobody up for long, though no more values may be open than they
/// have begun; those whose clients only wait are not given up.
pub fn halves() -> Wrong {
    let mut cluster = cluster(1, 4);
    for client in [1, 2] {
        types(&mut cluster, client, 1);
        let count = cluster.checker().chosen().len() + 10;
        let wrong = decides(&mut cluster, count);
        if wrong.is_some() {
            return wrong;
        }
        cluster.kill(NodeId::new(Role::Client, client));
    }
    for client in 3..=9 {
        types(&mut cluster, client, 3);
    }
    cluster.start_typist(10, Assignment::Leader, values(10, 100), 10 * MS);
    let short = |cluster: &Cluster| cluster.tally(10).is_some_and(|tally| tally.delivered == 100);
    match cluster.run_until(cluster.now() + 1500 * MS, short) {
        Ok(true) => {}
        Ok(false) => return Some("short values wait for long ones".to_owned()),
        Err(violation) => return Some(violation),
    }
    let wrong = completes(&mut cluster, 20_000 * MS);
    wrong.or_else(|| {
        let lost = (3..=9).filter_map(|client| cluster.tally(client)).map(|tally| tally.lost);
        let lost: u64 = lost.sum();
        (lost > 0).then(|| format!("{lost} values of clients that live are given up"))
    })
}

/// Requests of a client that does not exist arrive at every proposer.
fn forge(cluster: &mut Cluster, session: Session, from: u64, entries: Entries) {
    cluster.checker_mut().on_forged(session);
    let node = NodeId::new(Role::Client, session.client);
    let sender = Sender { node, boot: session.boot };
    let Settings { acceptor_count, datagram_bytes, .. } = cluster.plan.settings;
    let codec = Codec::new(CLUSTER, acceptor_count, sender, datagram_bytes);
    let (assignment, from) = (Assignment::Leader, Number(from));
    let request = Message::Request(Request { assignment, from, front: from, entries });
    let verdict = cluster.checker_mut().on_send(sender, To::Group(Role::Proposer), &request);
    cluster.note(verdict);
    let mut bytes = Vec::new();
    codec.encode(&request, &mut bytes).expect("it is short");
    for id in 1..=cluster.plan.proposers {
        let to = NodeId::new(Role::Proposer, id);
        cluster.arrive(to, bytes.as_slice().into(), PassageId::default());
    }
}

/// Series that contradict themselves are delivered by nobody, and disturb nobody.
pub fn forged() -> Wrong {
    let first = |value_bytes| Some(Part::First { value_bytes });
    let (middle, last) = (Some(Part::Middle), Some(Part::Last));
    let series = [
        // Longer and shorter than announced, without a beginning, without an end, cut off.
        vec![(first(80), 40), (last, 41), (None, 5)],
        vec![(first(80), 40), (middle, 40), (last, 40)],
        vec![(first(80), 40), (last, 39), (None, 5)],
        vec![(None, 5), (middle, 40), (last, 40), (None, 5)],
        vec![(first(80), 40), (None, 40), (last, 40)],
        vec![(first(80), 40), (first(80), 40), (last, 40)],
        vec![(first(80), 40)],
        vec![(first(1 << 26), 40), (last, 40)],
    ];
    let mut cluster = cluster(1, 3);
    types(&mut cluster, 1, 5);
    for (client, parts) in (101..).zip(series) {
        let session = Session { client, boot: 1 };
        let entry = |(number, (part, length)): (u64, (Option<Part>, usize))| {
            let assigned_by = AssignedBy::Leader;
            let origin = Origin { session, number: Number(number), assigned_by };
            let bytes = Value::new(&vec![b'x'; length]);
            match part {
                None => Entry::Value { origin, value: bytes },
                Some(part) => Entry::Part { origin, part, bytes },
            }
        };
        // In one request, and one by one.
        let entries: Vec<Entry> = (1..).zip(parts).map(entry).collect();
        if client % 2 == 0 {
            forge(&mut cluster, session, 1, entries.into());
        } else {
            for (number, entry) in (1..).zip(entries) {
                forge(&mut cluster, session, number, vec![entry].into());
            }
        }
        if let Err(violation) = cluster.run_for(20 * MS) {
            return Some(violation);
        }
    }
    completes(&mut cluster, 15_000 * MS)
}
