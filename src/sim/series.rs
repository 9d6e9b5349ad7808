//! What must be delivered? The judge computes it from the chosen entries.
//!
//! It is slow and simple, holds copies of everything, and shares no code with the roles but the
//! form of a checkpoint: it applies the rules of `protocol::assembly` and `protocol::sessions`
//! again, one entry after the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::assembly::AssemblyLimits;
use crate::protocol::checkpoint::{Checkpoint, Limit};
use crate::protocol::sessions::Position;
use crate::protocol::types::{AssignedBy, Entry, Instance, LogTime, Number, Part, Session, Value};

/// What must be delivered of a log.
#[derive(Clone, Debug, Default)]
pub struct Reckoned {
    /// Every value that must be delivered, in order, with its instance and the last number of it.
    pub delivered: Vec<(Instance, Session, Number, Value)>,
    /// The sessions that have ended, and the first number of each that is never delivered.
    pub ended: BTreeMap<Session, u64>,
    /// The sessions that are remembered at the end, and the stamp below which no other begins.
    pub remembered: BTreeSet<Session>,
    pub horizon: u64,
}

/// One session's standing.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// How many numbers were passed.
    passed: u64,
    has_ended: bool,
    /// The first number that is never delivered, once it has ended.
    ends_at: u64,
    open: Option<Open>,
    /// Where its last number was delivered, and where it was opened.
    last: u64,
    opened: u64,
}

impl Standing {
    fn next(&self) -> u64 {
        if self.has_ended { self.ends_at } else { self.passed + 1 }
    }
}

#[derive(Clone, Debug)]
struct Open {
    first: u64,
    announced: usize,
    bytes: Vec<u8>,
    /// The instances of its parts.
    at: Vec<Instance>,
}

impl Open {
    fn last(&self) -> Option<Instance> {
        self.at.last().copied()
    }
}

/// The whole checkpoints of `chosen`, each with the instance of its last piece.
pub fn checkpoints(chosen: &BTreeMap<Instance, Entry>) -> Vec<(Instance, Checkpoint)> {
    let mut found = Vec::new();
    let mut bytes = Vec::new();
    let (mut next, mut whole) = (None, (0, 0));
    for (instance, entry) in chosen {
        let Entry::Checkpoint { piece, bytes: more } = entry else {
            next = None;
            continue;
        };
        if piece.place == 0 {
            (next, whole) = (Some((*instance, 0)), (piece.count, piece.series));
            bytes.clear();
        }
        if next != Some((*instance, piece.place)) || (piece.count, piece.series) != whole {
            next = None;
            continue;
        }
        bytes.extend_from_slice(more.as_bytes());
        next = Some((Instance(instance.0 + 1), piece.place + 1));
        if piece.place + 1 == piece.count {
            found.extend(Checkpoint::decode(&bytes).map(|checkpoint| (*instance, checkpoint)));
            next = None;
        }
    }
    found
}

/// Checks that every checkpoint holds the state of the log below it, and trims nothing that an
/// earlier one needs.
pub fn check_checkpoints(
    chosen: &BTreeMap<Instance, Entry>,
    limits: AssemblyLimits,
) -> Result<(), String> {
    let mut keeps = vec![Instance(1)];
    for (last, checkpoint) in checkpoints(chosen) {
        let head = checkpoint.head;
        let below: BTreeMap<_, _> =
            chosen.range(..head.of).map(|(at, entry)| (*at, entry.clone())).collect();
        let (reckoned, sessions) = walk(&below, limits);
        let expected: Vec<_> = sessions
            .iter()
            .map(|(session, standing)| {
                let (next, has_ended) = (Number(standing.next()), standing.has_ended);
                let (last, opened) = (Instance(standing.last), Instance(standing.opened));
                (*session, Position { next, has_ended, last, opened })
            })
            .collect();
        let open = sessions.values().filter_map(|standing| standing.open.as_ref());
        let open: Vec<Vec<Instance>> = open.map(|open| open.at.clone()).collect();
        let said: Vec<_> = checkpoint.open.iter().map(|value| value.instances.clone()).collect();
        let keep = open.iter().filter_map(|at| at.first()).min().map_or(head.of, |at| *at);
        let name =
            below.values().find_map(|entry| entry.origin()).map(|origin| origin.session.boot);
        let is_named = checkpoint.name == name.unwrap_or(0);
        let times = below.values().filter_map(Entry::origin).map(|origin| origin.time.0);
        let is_timed = head.time.0 == times.max().unwrap_or(0);
        let has_all = checkpoint.sessions == expected && checkpoint.horizon.0 == reckoned.horizon;
        if !has_all || !is_named || !is_timed || said != open || head.keep != keep {
            return Err(format!("the checkpoint at {last} is not what the log comes to: {head:?}"));
        }
        if !keeps.contains(&head.trim) {
            return Err(format!("the checkpoint at {last} trims at {}, for no reason", head.trim));
        }
        keeps.push(head.keep);
    }
    Ok(())
}

/// Checks that every value and part placed by a leader has a time, and that values were handed out
/// with the time of the log before them: `told` has instances, each with the time that was reported
/// for the log below.
pub fn check_times(
    chosen: &BTreeMap<Instance, Entry>,
    told: &BTreeSet<(Instance, LogTime)>,
) -> Result<(), String> {
    let (mut told, mut time) = (told.iter().peekable(), LogTime::NONE);
    for (instance, entry) in chosen {
        while let Some((at, said)) = told.next_if(|(at, _)| at <= instance) {
            expect_time(*at, *said, time)?;
        }
        let Some(origin) = entry.origin() else { continue };
        if (origin.assigned_by == AssignedBy::Leader) != (origin.time > LogTime::NONE) {
            return Err(format!("instance {instance} has the time {:?}: {entry}", origin.time));
        }
        time = time.max(origin.time);
    }
    told.try_for_each(|(at, said)| expect_time(*at, *said, time))
}

fn expect_time(at: Instance, said: LogTime, expected: LogTime) -> Result<(), String> {
    if said == expected {
        return Ok(());
    }
    Err(format!("below {at} the time of the log is {}, and {} was told", expected.0, said.0))
}

/// What `chosen` comes to, up to the first instance that it does not hold.
pub fn reckon(chosen: &BTreeMap<Instance, Entry>, limits: AssemblyLimits) -> Reckoned {
    walk(chosen, limits).0
}

/// The same, and where the sessions stand then.
fn walk(
    chosen: &BTreeMap<Instance, Entry>,
    limits: AssemblyLimits,
) -> (Reckoned, BTreeMap<Session, Standing>) {
    let ends: BTreeMap<Instance, Instance> = checkpoints(chosen)
        .into_iter()
        .map(|(last, checkpoint)| (last, checkpoint.head.idle_below))
        .collect();
    let mut reckoned = Reckoned::default();
    let mut sessions: BTreeMap<Session, Standing> = BTreeMap::new();
    for (place, (instance, entry)) in (1..).zip(chosen) {
        if instance.0 != place {
            break;
        }
        if let Some(idle_below) = ends.get(instance) {
            give_up_below(&mut sessions, *idle_below, &mut reckoned);
        }
        if let Some(limit) = Limit::of(entry.borrowed()) {
            forget(&mut sessions, limit.sessions, &mut reckoned);
        }
        let Some(origin) = entry.origin() else { continue };
        let (session, number) = (origin.session, origin.number);
        let mut hand_out = |value: Value| {
            reckoned.delivered.push((*instance, session, number, value));
        };
        if origin.assigned_by == AssignedBy::Client {
            if let Entry::Value { value, .. } = entry {
                hand_out(value.clone());
            }
            continue;
        }
        let begins = number.0 == 1 && origin.opened.0 >= reckoned.horizon;
        let begun = Standing { opened: origin.opened.0.min(instance.0), ..Standing::default() };
        let known = sessions.remove(&session);
        let Some(mut standing) = known.or(begins.then_some(begun)) else { continue };
        if standing.has_ended || number.0 != standing.passed + 1 {
            sessions.insert(session, standing);
            continue;
        }
        standing.passed += 1;
        standing.last = instance.0;
        let open = standing.open.take();
        let end_at = open.as_ref().map_or(number.0, |open| open.first);
        let is_sound = match (entry, open) {
            (Entry::Value { value, .. }, None) => {
                hand_out(value.clone());
                true
            }
            (Entry::Part { part: Part::First { value_bytes }, bytes, .. }, None) => {
                let announced = *value_bytes as usize;
                let is_possible = announced <= limits.bytes && limits.count > 0;
                while is_possible && !has_room(&sessions, announced, limits) {
                    give_up_oldest(&mut sessions, &mut reckoned);
                }
                let (first, bytes) = (number.0, bytes.as_bytes().to_vec());
                standing.open = Some(Open { first, announced, bytes, at: vec![*instance] });
                is_possible
            }
            (Entry::Part { part: Part::Middle, bytes, .. }, Some(mut open)) => {
                open.bytes.extend_from_slice(bytes.as_bytes());
                open.at.push(*instance);
                let is_sound = open.bytes.len() < open.announced;
                standing.open = Some(open);
                is_sound
            }
            (Entry::Part { part: Part::Last, bytes, .. }, Some(mut open)) => {
                open.bytes.extend_from_slice(bytes.as_bytes());
                let is_sound = open.bytes.len() == open.announced;
                if is_sound {
                    hand_out(Value::new(&open.bytes));
                }
                is_sound
            }
            _ => false,
        };
        if !is_sound {
            standing.has_ended = true;
            standing.open = None;
            standing.ends_at = end_at;
            reckoned.ended.insert(session, end_at);
        }
        sessions.insert(session, standing);
    }
    reckoned.remembered = sessions.keys().copied().collect();
    (reckoned, sessions)
}

/// Keeps `count` sessions: those that had something delivered last.
fn forget(sessions: &mut BTreeMap<Session, Standing>, count: u64, reckoned: &mut Reckoned) {
    while sessions.len() as u64 > count {
        let oldest = sessions.iter().min_by_key(|(_, standing)| standing.last);
        let Some((session, opened)) = oldest.map(|(one, standing)| (*one, standing.opened)) else {
            return;
        };
        sessions.remove(&session);
        reckoned.horizon = reckoned.horizon.max(opened + 1);
    }
}

/// The open values whose last part lies below `instance` are given up.
fn give_up_below(
    sessions: &mut BTreeMap<Session, Standing>,
    instance: Instance,
    reckoned: &mut Reckoned,
) {
    for (session, standing) in sessions {
        if standing.open.as_ref().is_some_and(|open| open.last() < Some(instance)) {
            give_up(*session, standing, reckoned);
        }
    }
}

fn give_up(session: Session, standing: &mut Standing, reckoned: &mut Reckoned) {
    if let Some(open) = standing.open.take() {
        standing.has_ended = true;
        standing.ends_at = open.first;
        reckoned.ended.insert(session, open.first);
    }
}

fn has_room(
    sessions: &BTreeMap<Session, Standing>,
    announced: usize,
    limits: AssemblyLimits,
) -> bool {
    let open = sessions.values().filter_map(|standing| standing.open.as_ref());
    let (count, bytes) =
        open.fold((1, announced), |(count, bytes), open| (count + 1, bytes + open.announced));
    count <= limits.count && bytes <= limits.bytes
}

/// The open value whose last part lies lowest is given up.
fn give_up_oldest(sessions: &mut BTreeMap<Session, Standing>, reckoned: &mut Reckoned) {
    let age = |standing: &Standing| standing.open.as_ref().and_then(Open::last);
    let open = sessions.iter_mut().filter(|(_, standing)| standing.open.is_some());
    let Some((session, standing)) = open.min_by_key(|(_, standing)| age(standing)) else { return };
    give_up(*session, standing, reckoned);
}
