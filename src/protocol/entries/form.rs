//! The form of entries on the wire and in logs, one entry at a time; `entries` shows it.

use super::{EntryRef, Unreadable};
use crate::protocol::types::{
    AssignedBy, ENTRY_BYTES_MAX, Instance, LogTime, Number, Origin, Part, Piece, Session, Value,
};

pub(super) const NOOP: u8 = 0;
const CLIENT_ASSIGNED: u8 = 1;
const LEADER_ASSIGNED: u8 = 2;
const NEXT: u8 = 3;
const FIRST_PART: u8 = 4;
const MIDDLE_PART: u8 = 5;
const LAST_PART: u8 = 6;
const NEXT_FIRST_PART: u8 = 7;
const NEXT_MIDDLE_PART: u8 = 8;
const NEXT_LAST_PART: u8 = 9;
const CHECKPOINT: u8 = 10;
const OPENING: u8 = 11;
const OPENING_FIRST_PART: u8 = 12;
const OPENING_MIDDLE_PART: u8 = 13;
const OPENING_LAST_PART: u8 = 14;
pub(super) const TIME: u8 = 15;

/// How many bytes a time takes.
const TIME_BYTES: usize = 6;

/// The bytes that announce a number of 2, 4 or 8 bytes. Smaller numbers stand for themselves.
const BYTES_2: u8 = 251;
const BYTES_4: u8 = 252;
const BYTES_8: u8 = 253;

/// How an entry is connected with the one before it.
#[derive(Clone, Copy)]
pub(super) struct Link {
    /// The time of the one before.
    pub time: LogTime,
    /// Whether the entry goes on with what the one before began: with no-ops, or with the next
    /// number of its session.
    pub follows: bool,
}

impl Link {
    /// That of an entry with nothing before it.
    pub const NONE: Link = Link { time: LogTime::NONE, follows: false };
}

/// Appends `entry`, which is connected with the one before it by `link`.
pub(super) fn put(entry: EntryRef<'_>, link: Link, buffer: &mut Vec<u8>) {
    let (origin, part, bytes) = match entry {
        EntryRef::Noop => return buffer.push(NOOP),
        EntryRef::Value { origin, value } => (origin, None, value),
        EntryRef::Part { origin, part, bytes } => (origin, Some(part), bytes),
        EntryRef::Checkpoint { piece, bytes } => return put_piece(piece, bytes, buffer),
    };
    buffer.reserve(bytes.len() + ENTRY_BYTES_MAX);
    let form = match part {
        None => NEXT,
        Some(Part::First { .. }) => FIRST_PART,
        Some(Part::Middle) => MIDDLE_PART,
        Some(Part::Last) => LAST_PART,
    };
    put_head(form, origin, link, buffer);
    if let Some(Part::First { value_bytes }) = part {
        put_number(value_bytes.into(), buffer);
    }
    put_number(bytes.len() as u64, buffer);
    buffer.extend_from_slice(bytes);
}

/// Appends entries that are in their form, the first of this `origin`, by which they are connected
/// with the entry before them. Only what the first says of its origin depends on that one, so
/// nothing else is read.
pub(super) fn put_all(entries: &[u8], origin: Option<Origin>, link: Link, buffer: &mut Vec<u8>) {
    buffer.reserve(entries.len() + ENTRY_BYTES_MAX);
    let Some(origin) = origin else { return buffer.extend_from_slice(entries) };
    let Some((form, rest)) = behind_head(entries) else {
        unreachable!("entries are read once before they are taken in")
    };
    put_head(form, origin, link, buffer);
    buffer.extend_from_slice(rest);
}

/// Appends the head of a value or a part, which stands before its bytes; `form` is its kind.
fn put_head(form: u8, origin: Origin, link: Link, buffer: &mut Vec<u8>) {
    if is_leaders(origin) && origin.time != link.time {
        buffer.push(TIME);
        buffer.extend_from_slice(&origin.time.0.to_le_bytes()[..TIME_BYTES]);
    }
    let (alone, next, opening) = match (form, origin.assigned_by) {
        (FIRST_PART | NEXT_FIRST_PART | OPENING_FIRST_PART, _) => {
            (FIRST_PART, NEXT_FIRST_PART, OPENING_FIRST_PART)
        }
        (MIDDLE_PART | NEXT_MIDDLE_PART | OPENING_MIDDLE_PART, _) => {
            (MIDDLE_PART, NEXT_MIDDLE_PART, OPENING_MIDDLE_PART)
        }
        (LAST_PART | NEXT_LAST_PART | OPENING_LAST_PART, _) => {
            (LAST_PART, NEXT_LAST_PART, OPENING_LAST_PART)
        }
        (_, AssignedBy::Client) => (CLIENT_ASSIGNED, NEXT, CLIENT_ASSIGNED),
        (_, AssignedBy::Leader) => (LEADER_ASSIGNED, NEXT, OPENING),
    };
    if link.follows {
        return buffer.push(next);
    }
    let is_stamped = origin.opened != Origin::UNSTAMPED;
    buffer.push(if is_stamped { opening } else { alone });
    put_number(origin.session.client.into(), buffer);
    put_number(origin.session.boot, buffer);
    put_number(if is_stamped { origin.opened.0 } else { origin.number.0 }, buffer);
}

/// The form of the first of `entries`, which is a value or a part, and what follows its head
/// ([`put_head`]).
fn behind_head(entries: &[u8]) -> Option<(u8, &[u8])> {
    let (mut form, mut rest) = entries.split_first()?;
    if *form == TIME {
        (form, rest) = rest.get(TIME_BYTES..)?.split_first()?;
    }
    if !matches!(*form, NEXT | NEXT_FIRST_PART | NEXT_MIDDLE_PART | NEXT_LAST_PART) {
        for _ in 0..3 {
            rest = rest.get(number_bytes(*rest.first()?)..)?;
        }
    }
    Some((*form, rest))
}

/// What follows the first of `entries`, which is a value or a part. Only lengths are read.
pub(super) fn behind(entries: &[u8]) -> Option<&[u8]> {
    let (form, mut rest) = behind_head(entries)?;
    if matches!(form, FIRST_PART | NEXT_FIRST_PART | OPENING_FIRST_PART) {
        rest = rest.get(number_bytes(*rest.first()?)..)?;
    }
    let (length, rest) = read_number(rest).ok()?;
    rest.get(usize::try_from(length).ok()?..)
}

/// Whether `origin` is that of the next value of the session of the entry before.
pub(super) fn is_next(before: Option<Origin>, origin: Origin) -> bool {
    let Some(before) = before else { return false };
    // Its time says nothing: of client-assigned values none has any.
    before.number.0.checked_add(1) == Some(origin.number.0)
        && before.session == origin.session
        && before.assigned_by == origin.assigned_by
        && origin.opened == Origin::UNSTAMPED
}

fn is_leaders(origin: Origin) -> bool {
    origin.assigned_by == AssignedBy::Leader
}

/// The time of an entry of this origin, which the next one shares unless it says another.
pub(super) fn time_of(before: Option<Origin>) -> LogTime {
    before.map_or(LogTime::NONE, |before| before.time)
}

fn put_piece(piece: Piece, bytes: &[u8], buffer: &mut Vec<u8>) {
    buffer.push(CHECKPOINT);
    for number in [piece.place.into(), piece.count.into(), piece.series, bytes.len() as u64] {
        put_number(number, buffer);
    }
    buffer.extend_from_slice(bytes);
}

fn read_piece(bytes: &[u8]) -> Result<(EntryRef<'_>, &[u8]), Unreadable> {
    let (place, rest) = read_number(bytes)?;
    let (count, rest) = read_number(rest)?;
    let (series, rest) = read_number(rest)?;
    let (length, rest) = read_number(rest)?;
    let length = usize::try_from(length).map_err(|_| Unreadable::Malformed)?;
    let (bytes, rest) = rest.split_at_checked(length).ok_or(Unreadable::Malformed)?;
    let narrow = |number| u32::try_from(number).map_err(|_| Unreadable::Impossible);
    let piece = Piece { place: narrow(place)?, count: narrow(count)?, series };
    if piece.place >= piece.count {
        return Err(Unreadable::Impossible);
    }
    Ok((EntryRef::Checkpoint { piece, bytes }, rest))
}

/// Appends a number.
pub(in crate::protocol) fn put_number(number: u64, buffer: &mut Vec<u8>) {
    if number < BYTES_2.into() {
        buffer.push(number as u8);
    } else if number <= u16::MAX.into() {
        buffer.push(BYTES_2);
        buffer.extend_from_slice(&(number as u16).to_le_bytes());
    } else if number <= u32::MAX.into() {
        buffer.push(BYTES_4);
        buffer.extend_from_slice(&(number as u32).to_le_bytes());
    } else {
        buffer.push(BYTES_8);
        buffer.extend_from_slice(&number.to_le_bytes());
    }
}

/// Reads an entry that follows one of origin `before`; returns it and what follows.
pub(super) fn read(
    bytes: &[u8],
    before: Option<Origin>,
) -> Result<(EntryRef<'_>, &[u8]), Unreadable> {
    #[cfg(test)]
    super::steps::take();
    let (mut form, mut rest) = bytes.split_first().ok_or(Unreadable::Malformed)?;
    let mut said = None;
    if *form == TIME {
        let (digits, behind) = rest.split_at_checked(TIME_BYTES).ok_or(Unreadable::Malformed)?;
        let mut time = [0; size_of::<u64>()];
        time[..TIME_BYTES].copy_from_slice(digits);
        said = Some(LogTime(u64::from_le_bytes(time)));
        (form, rest) = behind.split_first().ok_or(Unreadable::Malformed)?;
    }
    let (origin, rest) = match *form {
        NOOP | CHECKPOINT if said.is_some() => return Err(Unreadable::Impossible),
        NOOP => return Ok((EntryRef::Noop, rest)),
        CHECKPOINT => return read_piece(rest),
        NEXT | NEXT_FIRST_PART | NEXT_MIDDLE_PART | NEXT_LAST_PART => {
            (before.and_then(Origin::next).ok_or(Unreadable::Impossible)?, rest)
        }
        CLIENT_ASSIGNED => read_origin(AssignedBy::Client, rest)?,
        LEADER_ASSIGNED | FIRST_PART | MIDDLE_PART | LAST_PART => {
            read_origin(AssignedBy::Leader, rest)?
        }
        OPENING | OPENING_FIRST_PART | OPENING_MIDDLE_PART | OPENING_LAST_PART => {
            read_opening(rest)?
        }
        _ => return Err(Unreadable::Malformed),
    };
    if said.is_some() && !is_leaders(origin) {
        return Err(Unreadable::Impossible);
    }
    let origin = origin.timed(said.unwrap_or(time_of(before)));
    let (part, rest) = match *form {
        FIRST_PART | NEXT_FIRST_PART | OPENING_FIRST_PART => {
            let (value_bytes, rest) = read_number(rest)?;
            let value_bytes = u32::try_from(value_bytes).map_err(|_| Unreadable::Impossible)?;
            (Some(Part::First { value_bytes }), rest)
        }
        MIDDLE_PART | NEXT_MIDDLE_PART | OPENING_MIDDLE_PART => (Some(Part::Middle), rest),
        LAST_PART | NEXT_LAST_PART | OPENING_LAST_PART => (Some(Part::Last), rest),
        _ => (None, rest),
    };
    let (length, rest) = read_number(rest)?;
    let length = usize::try_from(length).map_err(|_| Unreadable::Malformed)?;
    let (bytes, rest) = rest.split_at_checked(length).ok_or(Unreadable::Malformed)?;
    let Some(part) = part else {
        return Ok((EntryRef::Value { origin, value: bytes }, rest));
    };
    if origin.assigned_by == AssignedBy::Client || !is_possible(part, bytes.len()) {
        return Err(Unreadable::Impossible);
    }
    Ok((EntryRef::Part { origin, part, bytes }, rest))
}

/// Whether a part may have this many bytes. Parts that this refuses are in no log, so every reader
/// can rely on the bound.
fn is_possible(part: Part, bytes: usize) -> bool {
    match part {
        Part::First { value_bytes } => {
            let value_bytes = value_bytes as usize;
            bytes >= Part::BYTES_MIN && bytes < value_bytes && value_bytes <= Value::BYTES_MAX
        }
        Part::Middle => bytes >= Part::BYTES_MIN,
        Part::Last => bytes > 0,
    }
}

fn read_origin(assigned_by: AssignedBy, bytes: &[u8]) -> Result<(Origin, &[u8]), Unreadable> {
    let (client, rest) = read_number(bytes)?;
    let client = u32::try_from(client).map_err(|_| Unreadable::Malformed)?;
    let (boot, rest) = read_number(rest)?;
    let (number, rest) = read_number(rest)?;
    let session = Session { client, boot };
    Ok((Origin::new(session, Number(number), assigned_by), rest))
}

/// The origin of the first value of a session, with its stamp.
fn read_opening(bytes: &[u8]) -> Result<(Origin, &[u8]), Unreadable> {
    let (unstamped, rest) = read_origin(AssignedBy::Leader, bytes)?;
    // The stamp stands in the place of the number.
    let opened = Instance(unstamped.number.0);
    if opened == Origin::UNSTAMPED {
        return Err(Unreadable::Impossible);
    }
    Ok((unstamped.at(Number::FIRST).stamped(opened), rest))
}

/// Reads a number; returns it and what follows.
pub(in crate::protocol) fn read_number(bytes: &[u8]) -> Result<(u64, &[u8]), Unreadable> {
    let (first, rest) = bytes.split_first().ok_or(Unreadable::Malformed)?;
    let read = match *first {
        BYTES_2 => {
            rest.split_first_chunk().map(|(it, rest)| (u16::from_le_bytes(*it).into(), rest))
        }
        BYTES_4 => {
            rest.split_first_chunk().map(|(it, rest)| (u32::from_le_bytes(*it).into(), rest))
        }
        BYTES_8 => rest.split_first_chunk().map(|(it, rest)| (u64::from_le_bytes(*it), rest)),
        number if number < BYTES_2 => Some((number.into(), rest)),
        _ => None,
    };
    read.ok_or(Unreadable::Malformed)
}

/// How many bytes a number takes that begins with this byte.
fn number_bytes(first: u8) -> usize {
    match first {
        BYTES_2 => 3,
        BYTES_4 => 5,
        BYTES_8 => 9,
        _ => 1,
    }
}
