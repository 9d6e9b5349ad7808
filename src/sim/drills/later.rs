//! Control entries of kinds that only a later release knows.

use super::Wrong;
use crate::protocol::actor::{Actor, Delivery, Effects, Halt};
use crate::protocol::checkpoint::{UnknownKind, series_of};
use crate::protocol::message::{Announcement, Decide, Heartbeat, Message, Progress, Standing};
use crate::protocol::parts::{Learner, Proposer};
use crate::protocol::proposer::ProposerOptions;
use crate::protocol::settings::Settings;
use crate::protocol::types::{
    AssignedBy, Ballot, Counted, Entry, Instance, NodeId, Number, Origin, Piece, Role, Sender,
    Session, Time, Value,
};
use crate::protocol::versions::Version;

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
