//! What must be delivered? The judge computes it from the chosen entries.
//!
//! It is slow and simple, holds copies of everything, and shares no code with the roles but the
//! form of a checkpoint: it applies the rules of `protocol::assembly` and `protocol::sessions`
//! again, one entry after the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::assembly::AssemblyLimits;
use crate::protocol::checkpoint::{Checkpoint, Finished, Limit};
use crate::protocol::sessions::Position;
use crate::protocol::types::{AssignedBy, Entry, Instance, LogTime, Number, Part, Session, Value};

/// What must be delivered of a log, up to the first instance that was not taken.
#[derive(Clone, Debug)]
pub struct Reckoned {
    limits: AssemblyLimits,
    /// The instance that is taken next.
    next: Instance,
    /// Every value that must be delivered, in order, with its instance and the last number of it.
    pub delivered: Vec<(Instance, Session, Number, Value)>,
    /// The sessions that have ended, and the first number of each that is never delivered.
    pub ended: BTreeMap<Session, u64>,
    /// The sessions that are remembered, and the stamp below which no other begins.
    sessions: BTreeMap<Session, Standing>,
    pub horizon: u64,
    pieces: Pieces,
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

impl Reckoned {
    /// Of a log of which nothing was taken yet.
    pub fn new(limits: AssemblyLimits) -> Self {
        Reckoned {
            limits,
            next: Instance(1),
            delivered: Vec::new(),
            ended: BTreeMap::new(),
            sessions: BTreeMap::new(),
            horizon: 0,
            pieces: Pieces::default(),
        }
    }

    /// The instance that is taken next: all below were.
    pub fn next(&self) -> Instance {
        self.next
    }

    /// Whether `session` is remembered.
    pub fn remembers(&self, session: Session) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Takes the next entry. One that is not the next is left alone.
    pub fn take(&mut self, instance: Instance, entry: &Entry) {
        if instance != self.next {
            return;
        }
        self.next = Instance(instance.0 + 1);
        if let Some(checkpoint) = self.pieces.read(instance, entry) {
            self.give_up_below(checkpoint.head.idle_below);
        }
        if let Some(limit) = Limit::of(entry.borrowed()) {
            self.forget(limit);
        }
        if let Some(finished) = Finished::read(entry.borrowed()) {
            finished.sessions.iter().for_each(|(session, next)| self.finish(*session, next.0));
        }
        let Some(origin) = entry.origin() else { return };
        let (session, number) = (origin.session, origin.number);
        if origin.assigned_by == AssignedBy::Client {
            if let Entry::Value { value, .. } = entry {
                self.delivered.push((instance, session, number, value.clone()));
            }
            return;
        }
        let begins = number.0 == 1 && origin.opened.0 >= self.horizon;
        let begun = Standing { opened: origin.opened.0.min(instance.0), ..Standing::default() };
        let known = self.sessions.remove(&session);
        let Some(mut standing) = known.or(begins.then_some(begun)) else { return };
        if standing.has_ended || number.0 != standing.passed + 1 {
            self.sessions.insert(session, standing);
            return;
        }
        standing.passed += 1;
        standing.last = instance.0;
        let open = standing.open.take();
        let end_at = open.as_ref().map_or(number.0, |open| open.first);
        let is_sound = match (entry, open) {
            (Entry::Value { value, .. }, None) => {
                self.delivered.push((instance, session, number, value.clone()));
                true
            }
            (Entry::Part { part: Part::First { value_bytes }, bytes, .. }, None) => {
                let announced = *value_bytes as usize;
                let is_possible = announced <= self.limits.bytes && self.limits.count > 0;
                while is_possible && !self.has_room(announced) {
                    self.give_up_oldest();
                }
                let (first, bytes) = (number.0, bytes.as_bytes().to_vec());
                standing.open = Some(Open { first, announced, bytes, at: vec![instance] });
                is_possible
            }
            (Entry::Part { part: Part::Middle, bytes, .. }, Some(mut open)) => {
                open.bytes.extend_from_slice(bytes.as_bytes());
                open.at.push(instance);
                let is_sound = open.bytes.len() < open.announced;
                standing.open = Some(open);
                is_sound
            }
            (Entry::Part { part: Part::Last, bytes, .. }, Some(mut open)) => {
                open.bytes.extend_from_slice(bytes.as_bytes());
                let is_sound = open.bytes.len() == open.announced;
                if is_sound {
                    self.delivered.push((instance, session, number, Value::new(&open.bytes)));
                }
                is_sound
            }
            _ => false,
        };
        if !is_sound {
            standing.has_ended = true;
            standing.open = None;
            standing.ends_at = end_at;
            self.ended.insert(session, end_at);
        }
        self.sessions.insert(session, standing);
    }

    /// Keeps as many sessions as `limit` says: those that had something delivered last. A sparing
    /// limit first takes those that have ended, but none of the newest, half as many as stay.
    fn forget(&mut self, limit: Limit) {
        let mut older = Vec::new();
        if limit.is_sparing {
            older.extend(self.sessions.iter().map(|(session, standing)| (standing.last, *session)));
            older.sort();
            older.truncate(older.len().saturating_sub(limit.sessions as usize / 2));
            older.retain(|(_, session)| self.sessions[session].has_ended);
            older.reverse();
        }
        while self.sessions.len() as u64 > limit.sessions {
            let by_age = || self.sessions.iter().min_by_key(|(_, standing)| standing.last);
            let next = older.pop().map(|(_, session)| session);
            let Some(session) = next.or_else(|| by_age().map(|(session, _)| *session)) else {
                return;
            };
            if let Some(standing) = self.sessions.remove(&session) {
                self.horizon = self.horizon.max(standing.opened + 1);
            }
        }
    }

    /// Nothing more of `session` is requested, if all numbers below `next` were passed.
    fn finish(&mut self, session: Session, next: u64) {
        let Some(standing) = self.sessions.get_mut(&session) else { return };
        if standing.has_ended || standing.next() != next {
            return;
        }
        standing.ends_at = standing.open.take().map_or(next, |open| open.first);
        standing.has_ended = true;
        self.ended.insert(session, standing.ends_at);
    }

    fn open(&self) -> impl Iterator<Item = &Open> {
        self.sessions.values().filter_map(|standing| standing.open.as_ref())
    }

    fn has_room(&self, announced: usize) -> bool {
        let sum = |(count, bytes), open: &Open| (count + 1, bytes + open.announced);
        let (count, bytes) = self.open().fold((1, announced), sum);
        count <= self.limits.count && bytes <= self.limits.bytes
    }

    /// The open values whose last part lies below `instance` are given up.
    fn give_up_below(&mut self, instance: Instance) {
        for (session, standing) in &mut self.sessions {
            if standing.open.as_ref().is_some_and(|open| open.last() < Some(instance)) {
                give_up(*session, standing, &mut self.ended);
            }
        }
    }

    /// The open value whose last part lies lowest is given up.
    fn give_up_oldest(&mut self) {
        let age = |standing: &Standing| standing.open.as_ref().and_then(Open::last);
        let open = self.sessions.iter_mut().filter(|(_, standing)| standing.open.is_some());
        let oldest = open.min_by_key(|(_, standing)| age(standing));
        if let Some((session, standing)) = oldest {
            give_up(*session, standing, &mut self.ended);
        }
    }

    /// Whether a checkpoint says where sessions stand, and which values are open.
    fn is_held_by(&self, checkpoint: &Checkpoint) -> bool {
        let position = |(session, standing): (&Session, &Standing)| {
            let (next, has_ended) = (Number(standing.next()), standing.has_ended);
            let (last, opened) = (Instance(standing.last), Instance(standing.opened));
            (*session, Position { next, has_ended, last, opened })
        };
        let open = checkpoint.open.iter().map(|value| &value.instances);
        let keep = self.open().filter_map(|open| open.at.first()).min();
        checkpoint.sessions.iter().copied().eq(self.sessions.iter().map(position))
            && checkpoint.horizon.0 == self.horizon
            && open.eq(self.open().map(|open| &open.at))
            && checkpoint.head.keep == *keep.unwrap_or(&checkpoint.head.of)
    }
}

fn give_up(session: Session, standing: &mut Standing, ended: &mut BTreeMap<Session, u64>) {
    if let Some(open) = standing.open.take() {
        standing.has_ended = true;
        standing.ends_at = open.first;
        ended.insert(session, open.first);
    }
}

/// The pieces of a checkpoint that were read last, if they follow each other.
#[derive(Clone, Debug, Default)]
struct Pieces {
    bytes: Vec<u8>,
    /// The instance and the place of the piece that must come next.
    next: Option<(Instance, u32)>,
    /// How many there are, and which checkpoint they are of.
    whole: (u32, u64),
}

impl Pieces {
    /// Reads the next entry, and returns the checkpoint that it makes whole.
    fn read(&mut self, instance: Instance, entry: &Entry) -> Option<Checkpoint> {
        let next = self.next.take();
        let Entry::Checkpoint { piece, bytes } = entry else { return None };
        if piece.place == 0 {
            self.whole = (piece.count, piece.series);
            self.bytes.clear();
        } else if next != Some((instance, piece.place)) || (piece.count, piece.series) != self.whole
        {
            return None;
        }
        self.bytes.extend_from_slice(bytes.as_bytes());
        if piece.place + 1 == piece.count {
            return Checkpoint::decode(&self.bytes);
        }
        self.next = Some((Instance(instance.0 + 1), piece.place + 1));
        None
    }
}

/// The whole checkpoints of `chosen`, each with the instance of its last piece. Other entries than
/// their pieces need not be there.
pub fn checkpoints(chosen: &BTreeMap<Instance, Entry>) -> Vec<(Instance, Checkpoint)> {
    let mut pieces = Pieces::default();
    chosen.iter().filter_map(|(at, entry)| Some((*at, pieces.read(*at, entry)?))).collect()
}

/// Checks that every checkpoint holds the state of the log below it, and trims nothing that an
/// earlier one needs.
pub fn check_checkpoints(
    chosen: &BTreeMap<Instance, Entry>,
    limits: AssemblyLimits,
) -> Result<(), String> {
    let mut keeps = vec![Instance(1)];
    let mut states = Vec::new();
    for (last, checkpoint) in checkpoints(chosen) {
        let head = checkpoint.head;
        if !keeps.contains(&head.trim) {
            return Err(format!("the checkpoint at {last} trims at {}, for no reason", head.trim));
        }
        keeps.push(head.keep);
        states.push((last, checkpoint));
    }
    let wrong = find_wrong_state(chosen, limits, states);
    wrong.map_or(Ok(()), |(last, Checkpoint { head, .. })| {
        Err(format!("the checkpoint at {last} is not what the log comes to: {head:?}"))
    })
}

/// The first of these states, each with its name, that is not what the log comes to below its
/// place.
pub fn find_wrong_state<N>(
    chosen: &BTreeMap<Instance, Entry>,
    limits: AssemblyLimits,
    mut states: Vec<(N, Checkpoint)>,
) -> Option<(N, Checkpoint)> {
    states.sort_by_key(|(_, state)| state.head.of);
    let (mut below, mut name, mut time) = (Reckoned::new(limits), None, LogTime::NONE);
    let mut entries = chosen.iter().peekable();
    states.into_iter().find(|(_, state)| {
        while let Some((instance, entry)) =
            entries.next_if(|(instance, _)| **instance < state.head.of)
        {
            below.take(*instance, entry);
            let Some(origin) = entry.origin() else { continue };
            name = name.or(Some(origin.session.boot));
            time = time.max(origin.time);
        }
        let is_named = state.name == name.unwrap_or(0);
        let is_right = below.next() == state.head.of && below.is_held_by(state);
        !is_right || !is_named || state.head.time != time
    })
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
