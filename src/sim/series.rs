//! What must be delivered, as the judge reckons it from what is chosen.
//!
//! It is slow and simple, holds copies of everything, and shares no code with the roles: the rules
//! of `protocol::assembly` once more, one entry after the other.

use std::collections::BTreeMap;

use crate::protocol::assembly::AssemblyLimits;
use crate::protocol::types::{AssignedBy, Entry, Instance, Number, Part, Session, Value};

/// What a log comes to.
#[derive(Clone, Debug, Default)]
pub struct Reckoned {
    /// Every value that must be delivered, in order, with its instance and the last number of it.
    pub delivered: Vec<(Instance, Session, Number, Value)>,
    /// The sessions that have ended, and the first number of each that is never delivered.
    pub ended: BTreeMap<Session, u64>,
}

/// One session's standing.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// How many numbers were passed.
    passed: u64,
    has_ended: bool,
    open: Option<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    first: u64,
    announced: usize,
    bytes: Vec<u8>,
    at: Instance,
}

/// What `chosen` comes to, up to the first instance that it does not hold.
pub fn reckon(chosen: &BTreeMap<Instance, Entry>, limits: AssemblyLimits) -> Reckoned {
    let mut reckoned = Reckoned::default();
    let mut sessions: BTreeMap<Session, Standing> = BTreeMap::new();
    for (place, (instance, entry)) in (1..).zip(chosen) {
        if instance.0 != place {
            break;
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
        let mut standing = sessions.remove(&session).unwrap_or_default();
        if standing.has_ended || number.0 != standing.passed + 1 {
            sessions.insert(session, standing);
            continue;
        }
        standing.passed += 1;
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
                standing.open = Some(Open { first, announced, bytes, at: *instance });
                is_possible
            }
            (Entry::Part { part: Part::Middle, bytes, .. }, Some(mut open)) => {
                open.bytes.extend_from_slice(bytes.as_bytes());
                open.at = *instance;
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
            reckoned.ended.insert(session, end_at);
        }
        sessions.insert(session, standing);
    }
    reckoned
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
    let age = |standing: &Standing| standing.open.as_ref().map(|open| open.at);
    let open = sessions.iter_mut().filter(|(_, standing)| standing.open.is_some());
    let Some((session, standing)) = open.min_by_key(|(_, standing)| age(standing)) else { return };
    if let Some(open) = standing.open.take() {
        standing.has_ended = true;
        reckoned.ended.insert(*session, open.first);
    }
}
