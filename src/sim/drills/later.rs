//! What only a later release knows: control entries of new kinds, and snapshots of new forms.

use super::Wrong;
use crate::protocol::actor::{Actor, Delivery, Effects, Halt};
use crate::protocol::checkpoint::{UnknownKind, series_of};
use crate::protocol::message::{
    Announcement, Chunk, Decide, Heartbeat, LaterForm, Message, Progress, SnapshotName, Standing,
    StateKind,
};
use crate::protocol::parts::{Fetching, Learner, Proposer};
use crate::protocol::proposer::ProposerOptions;
use crate::protocol::settings::Settings;
use crate::protocol::transfer::Outcome;
use crate::protocol::types::{
    AssignedBy, Ballot, Counted, Entry, Instance, NodeId, Number, Origin, Piece, Role, Sender,
    Session, Time, Value,
};
use crate::protocol::versions::Version;
use crate::sim::disk::SimDisk;
use crate::snapshots::file;
use crate::snapshots::keeper::Shop;
use crate::snapshots::shelf::Shelf;

/// Must be understood, and advice: the last and the first of their ranges.
const NEEDED: u8 = 127;
const ADVICE: u8 = 128;

/// Where it stands.
const FIRST: Instance = Instance(3);

fn value(number: u64) -> Entry {
    let session = Session { client: 1, boot: 1 };
    let origin = Origin::new(session, Number(number), AssignedBy::Leader);
    Entry::Value { origin, value: Value::new(b"v") }
}

/// The pieces of a control entry of this kind.
fn control(kind: u8, count: u32) -> Vec<Entry> {
    let content: Vec<u8> = [0, kind].into_iter().chain(0..4 * count as u8).collect();
    let series = series_of(&content);
    let chunks = content.chunks(content.len().div_ceil(count as usize));
    let piece = |(place, bytes)| {
        let piece = Piece { place, count, series };
        Entry::Checkpoint { piece, bytes: Value::new(bytes) }
    };
    (0..count).zip(chunks).map(piece).collect()
}

fn leader() -> Sender {
    Sender { node: NodeId::new(Role::Proposer, 2), boot: 1 }
}

/// Lets a role learn these entries from `from` on, and returns its effects.
fn learns(actor: &mut impl Actor, from: Instance, entries: Vec<Entry>) -> (Option<Halt>, usize) {
    let mut fx = Effects::new();
    let decide = Decide { ballot: Ballot::ZERO, from, entries: entries.into() };
    actor.on_message(Time::ZERO, leader(), Message::Decide(decide), &mut fx);
    actor.on_turn_end(Time::ZERO, &mut fx);
    let delivered = fx.deliver.iter().map(|delivery| match delivery {
        Delivery::Delivered(page, _) => page.entries.len(),
        _ => 0,
    });
    (fx.halt, delivered.sum())
}

fn learner() -> Learner {
    Learner::new(1, 1, Settings::default(), Time::ZERO)
}

fn proposer() -> Proposer {
    let (no_timeouts, no_preexecution) = (false, false);
    let options = ProposerOptions { id: 1, boot: 1, no_timeouts, no_preexecution };
    Proposer::new(options, Settings::default())
}

/// A learner and a proposer stop in front of an entry that must be understood, once it is complete
/// and next in order, and pass all others.
pub fn kinds() -> Wrong {
    let half = |mut pieces: Vec<Entry>| {
        pieces.pop();
        pieces.push(Entry::Noop);
        pieces
    };
    [
        ("what must be understood", control(NEEDED, 1), Some(FIRST)),
        ("the same in pieces", control(NEEDED, 3), Some(FIRST.plus(2))),
        ("the same without its end", half(control(NEEDED, 3)), None),
        ("advice", control(ADVICE, 1), None),
        ("advice in pieces", control(ADVICE, 2), None),
    ]
    .into_iter()
    .find_map(|(what, control, stops)| {
        let halt = stops.map(|at| Halt::Unknown(UnknownKind { kind: NEEDED.into(), at }));
        let expected = (halt, if stops.is_some() { 2 } else { 3 });
        let entries: Vec<Entry> =
            [value(1), value(2)].into_iter().chain(control).chain([value(3)]).collect();
        let learned = learns(&mut learner(), Instance::FIRST, entries.clone());
        let proposed = learns(&mut proposer(), Instance::FIRST, entries.clone());
        // An entry that is not next in order yet stops nobody.
        let (mut late, rest) = (learner(), entries[2..].to_vec());
        let early = learns(&mut late, FIRST, rest);
        let then = learns(&mut late, Instance::FIRST, entries[..2].to_vec());
        let is_right =
            learned == expected && proposed == (halt, 0) && early == (None, 0) && then == expected;
        (!is_right).then(|| format!("{what}: {learned:?}, {proposed:?}, {early:?}, {then:?}"))
    })
}

/// The log begins behind a checkpoint that only a later release can read: a newcomer does not wait
/// for one that it knows.
pub fn beginnings() -> Wrong {
    let mut late = learner();
    let announcement = Announcement::new(Standing::Leads, Ballot::ZERO);
    let announcement = Announcement { quorate: true, ..announcement };
    let until = Progress::until(FIRST.plus(1));
    let progress = Progress { trimmed: FIRST, first: FIRST, name: 1, ..until };
    let heartbeat = Heartbeat::new(Version::OLDEST, announcement, progress);
    let mut fx = Effects::new();
    late.on_message(Time::ZERO, leader(), Message::Heartbeat(heartbeat), &mut fx);
    late.on_turn_end(Time::ZERO, &mut fx);
    let halt = Some(Halt::Unknown(UnknownKind { kind: NEEDED.into(), at: FIRST }));
    let learned = learns(&mut late, FIRST, control(NEEDED, 1));
    (fx.halt.is_some() || learned != (halt, 0)).then(|| format!("{:?}, {learned:?}", fx.halt))
}

/// A learner that is offered snapshots of a later release alone says which they are when it ends;
/// and it does not fetch all of one to find that out, nor ask the same learner again.
pub fn snapshots() -> Wrong {
    let is_file = |form: u8| [b"mpxsnap".as_slice(), &[form]].concat();
    let framed =
        |payload: &[u8]| file::framed(FIRST, (file::HEAD, 0), payload).expect("it is short");
    let head = |payload: &[u8]| [is_file(b'1'), framed(payload)].concat();
    let mut damaged = head(&[2]);
    damaged.last_mut().into_iter().for_each(|byte| *byte = 3);
    let delivery = head(&[1, 1, 4, 0, 0, 0, b'h', b'e', b'r', b'e', 0, NEEDED]);
    let forms = [
        (is_file(b'2'), Some(LaterForm::File(b'2'))),
        (head(&[2]), Some(LaterForm::Head(2))),
        (delivery, Some(LaterForm::Delivery(NEEDED.into()))),
        // What is damaged is none of them.
        (head(&[0]), None),
        (damaged, None),
        (is_file(b'0'), None),
    ];
    forms.into_iter().find_map(|(beginning, form)| {
        let said = offered(&beginning);
        let no_snapshot = Halt::NoSnapshot(FIRST);
        let halt =
            form.map_or(no_snapshot, |form| Halt::LaterSnapshot { first: FIRST, of: 7, form });
        // A damaged file is fetched to its end.
        let groups = if form.is_some() { 1 } else { 4 };
        (said != (halt, groups)).then(|| format!("{form:?}: {said:?}"))
    })
}

/// What a learner that needs a snapshot says at its end to which learner 7 offers a file that
/// begins like this, and how many groups of chunks it has put on its disk.
fn offered(beginning: &[u8]) -> (Halt, usize) {
    const CHUNK: usize = 1024;
    let (settings, mut fx) = (Settings::default(), Effects::new());
    let (cluster, kind) = ("here".to_owned(), StateKind::Digest);
    let mut shop = Shop { shelf: Shelf::new(SimDisk::new()), cluster, kind };
    let bytes = 128 * CHUNK as u64;
    let snapshot = SnapshotName { log: 1, of: FIRST, keep: FIRST, bytes, tail: 0 };
    let mut file = beginning.to_vec();
    file.resize(bytes as usize, 0);
    let mut fetching = Fetching::new(kind, FIRST, 1);
    let (mut now, mut groups) = (Time::ZERO, 0);
    fetching.on_turn_end(now, FIRST, &settings, &mut fx);
    loop {
        now = now + settings.retry_max;
        let asked: Vec<_> = fx.send.drain(..).collect();
        for (_, message) in asked {
            let Message::Fetch(fetch) = message else { continue };
            let chunks = (0..64).filter(|place| fetch.wanted >> place & 1 == 1);
            for chunk in chunks.map(|place| fetch.first + place) {
                let at = chunk as usize * CHUNK;
                let bytes = Value::new(&file[at..at + CHUNK]);
                let chunk = Chunk { snapshot, offset: at as u64, bytes };
                let lender = NodeId::new(Role::Learner, 7);
                fetching.on_chunk(now, lender, &chunk, &settings, &mut fx);
            }
        }
        for errand in std::mem::take(&mut fx.errands) {
            groups += 1;
            match shop.run(errand, &settings).expect("the disk is whole") {
                Some(Outcome::Stored { snapshot, bytes }) => {
                    fetching.on_stored(now, (snapshot, bytes), &settings, &mut fx);
                }
                Some(Outcome::Spoiled(snapshot)) => {
                    fetching.on_spoiled(now, snapshot, &settings, &mut fx);
                }
                Some(Outcome::Later(snapshot, form)) => {
                    fetching.on_later(now, (snapshot, form), &settings, &mut fx);
                }
                other => unreachable!("it is no snapshot: {other:?}"),
            }
        }
        if fx.send.is_empty() && fetching.on_timer(now, &settings, &mut fx) {
            return (fetching.in_vain(FIRST), groups);
        }
    }
}
