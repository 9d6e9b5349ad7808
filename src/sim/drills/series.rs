//! Values in parts, in situations that are rarely drawn: clients that die half way, leaders that
//! die at every few parts, and series that no client would send.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{MS, Wrong, finishes};
use crate::protocol::assembly::AssemblyLimits;
use crate::protocol::decided_log::Occurrence;
use crate::protocol::entries::{Entries, EntryRef};
use crate::protocol::message::{Assignment, Message, Request};
use crate::protocol::parts::DecidedLog;
use crate::protocol::segments::Page;
use crate::protocol::settings::Settings;
use crate::protocol::types::{
    AssignedBy, Entry, Instance, NodeId, Number, Origin, Part, Role, Sender, Session, To, Value,
};
use crate::rng::Rng;
use crate::sim::cluster::{CLUSTER, Cluster, Plan, mixed_values, values};
use crate::sim::record::PassageId;
use crate::sim::series::Reckoned;
use crate::wire::Codec;

/// The size of datagrams, and of values that take 30 of them.
pub(super) const DATAGRAM_BYTES: usize = 512;
const LONG_BYTES: usize = 30 * (DATAGRAM_BYTES - 160) - 7;

/// A cluster with a leader, in which this many values in parts may be open.
pub(super) fn cluster(seed: u64, count: usize) -> Cluster {
    let assembly = AssemblyLimits { count, bytes: LONG_BYTES * count };
    let datagram_bytes = DATAGRAM_BYTES;
    let window_bytes = 8 * DATAGRAM_BYTES;
    let settings = Settings { datagram_bytes, window_bytes, assembly, ..Settings::default() };
    let mut cluster = Cluster::new(Plan { seed, proposers: 3, settings, ..Plan::default() });
    cluster.run_for(1000 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    cluster
}

/// Everything is decided, known and whole, soon.
pub(super) fn completes(cluster: &mut Cluster, limit: Duration) -> Wrong {
    finishes(cluster, limit).or_else(|| cluster.check_complete().err())
}

/// `count` long values of a client.
fn types(cluster: &mut Cluster, client: u32, count: u64) {
    let values = mixed_values(client, count, (1, LONG_BYTES));
    cluster.start_typist(client, Assignment::Leader, values, MS);
}

/// Runs until this many instances are chosen.
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
    let (assignment, from, opened) = (Assignment::Leader, Number(from), Origin::UNSTAMPED);
    let request = Message::Request(Request { assignment, from, front: from, opened, entries });
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
        // In one request, and one by one.
        let numbered = (1..).zip(parts);
        let entries: Vec<Entry> =
            numbered.map(|(number, part)| entry(session, number, part)).collect();
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

/// Of any log delivery makes what the judge reckons: parts in their order and out of it, twice, of
/// several sessions side by side, and of series that contradict themselves.
pub fn logs() -> Wrong {
    (0..300).find_map(|seed| {
        let limits = AssemblyLimits { count: 2, bytes: 300 };
        let chosen: BTreeMap<_, _> = (1..).map(Instance).zip(any_log(seed)).collect();
        let (mut log, mut delivered) = (DecidedLog::with_limits(limits), Vec::new());
        for (from, entry) in &chosen {
            let page = Page { from: *from, entries: vec![entry.clone()].into() };
            log.decide(page, |_| {}).expect("each instance is decided once");
            log.deliver(|page, occurrence| match (occurrence, page.entries.first()) {
                (Occurrence::Delivered, Some(EntryRef::Value { origin, value })) => {
                    delivered.push((page.from, origin.session, origin.number, Value::new(value)));
                }
                (Occurrence::Completed(whole), _) => {
                    let Origin { session, number, .. } = whole.origin;
                    delivered.push((whole.instance, session, number, whole.to_value()));
                }
                _ => {}
            });
        }
        let mut reckoned = Reckoned::new(limits);
        chosen.iter().for_each(|(instance, entry)| reckoned.take(*instance, entry));
        let differ = reckoned.delivered != delivered
            || reckoned.ended.iter().any(|(session, end)| {
                !log.has_ended(*session) || log.next_number(*session) != Number(*end)
            });
        differ.then(|| format!("log {seed} is delivered otherwise than it must be"))
    })
}

/// A log of three sessions, whose values come whole and in parts. Mostly the next number of a
/// session follows, sometimes an earlier or a later one, and some series announce what they are
/// not.
fn any_log(seed: u64) -> Vec<Entry> {
    let mut rng = Rng::new(seed);
    let sessions: Vec<Vec<Entry>> = (1..=3).map(|client| any_session(&mut rng, client)).collect();
    let mut next = [0; 3];
    let mut log = Vec::new();
    for _ in 0..120 {
        let place = rng.below(3) as usize;
        let number = match rng.below(10) {
            0 | 1 => rng.below(next[place] as u64 + 1) as usize,
            2 => next[place] + 1,
            _ => next[place],
        };
        log.extend(sessions[place].get(number).cloned());
        next[place] += usize::from(number == next[place]);
    }
    log
}

/// What a client asks for, number by number; now and then one that no client would be.
fn any_session(rng: &mut Rng, client: u32) -> Vec<Entry> {
    let mut parts: Vec<(Option<Part>, usize)> = Vec::new();
    while parts.len() < 40 {
        let between = rng.below(4) as usize;
        let lengths: Vec<usize> = (0..between + 2).map(|_| 32 + rng.below(9) as usize).collect();
        // A little more or less than follows, or more than there is ever room for.
        let lie = if rng.chance(0.1) { [0, 1, 2, 500][rng.below(4) as usize] } else { 1 };
        let value_bytes = (lengths.iter().sum::<usize>() + lie - 1) as u32;
        if rng.chance(0.5) {
            parts.push((None, 5));
            continue;
        }
        parts.push((Some(Part::First { value_bytes }), lengths[0]));
        parts.extend(lengths[1..=between].iter().map(|length| (Some(Part::Middle), *length)));
        // Some values are never complete, and others come next.
        if !rng.chance(0.1) {
            parts.push((Some(Part::Last), lengths[between + 1]));
        }
    }
    let session = Session { client, boot: 1 };
    (1..).zip(parts).map(|(number, part)| entry(session, number, part)).collect()
}

/// A leader-assigned value, or a part of one, of this many bytes.
fn entry(session: Session, number: u64, (part, length): (Option<Part>, usize)) -> Entry {
    let origin = Origin::new(session, Number(number), AssignedBy::Leader);
    let bytes = Value::new(&vec![b'a' + (number % 26) as u8; length]);
    match part {
        None => Entry::Value { origin, value: bytes },
        Some(part) => Entry::Part { origin, part, bytes },
    }
}
