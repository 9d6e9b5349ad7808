//! Checkpoints: what must a process know to take up the log at a later instance than the first?
//!
//! A trimmed log needs something in the place of the removed entries. Entries are delivered by a
//! rule that looks back: number n of a session right after n - 1, and a value in parts at its last
//! part. So a process that begins in the middle must know where each session stands, and which
//! parts of values are open. A leader writes that into the log itself, as entries:
//!
//! 1. A checkpoint *of* instance p holds the state of delivery below p. It is a function of the log
//!    below p, whichever leader writes it, and it is decided like any entry: a quorum of the
//!    acceptors holds it, a new leader finds it in phase 1, and others fetch it.
//! 2. It stands in consecutive instances above p, a piece in each. If a piece is missing because
//!    the leader died, or belongs to another checkpoint, the rest is no checkpoint, and nobody
//!    takes it for one.
//! 3. Parts of open values are not copied. The checkpoint names their instances, and `keep` is the
//!    lowest of them, or p. So everything below `keep` can be removed once the checkpoint is
//!    decided, and a process that holds everything from `keep` on can take up the log at p.
//! 4. A checkpoint also says below which instance the log is trimmed (`trim`): at the `keep` of an
//!    earlier one, which every process has passed that passes this one. So trimming is a decision,
//!    and the same for all; the acceptors, which deliver nothing, hear it from processes that have
//!    passed it.
//! 5. In the same way it says below which instance the log may be *forgotten* (`forget`): from all
//!    memories, while the acceptors' disks keep it down to `trim`. A proposer takes up the log
//!    there as if it were trimmed there; a learner that wants more reads it back (`recall`). Since
//!    the log says it, all processes hold the same, and the leader's `memory_bytes` counts.
//! 6. It holds the sessions that are remembered, and the horizon below which no other begins
//!    (`sessions`).
//! 7. It ends the sessions of values in parts that were not continued since `idle_below`: their
//!    clients have died half way, and their parts would hold `keep` back for ever.
//! 8. Behind it stands where the log may be trimmed (`history`), for leaders that come later. That
//!    alone is no function of the log, and only a leader's next choice of `trim` depends on it.
//!
//! Other systems would call this a snapshot of the library's own state; it holds nothing of the
//! application's state.
//!
//! A [`Limit`] stands in the log in the same way, as a checkpoint of one piece, and says how many
//! sessions are remembered; [`Finished`] says which of them want nothing more. They are not part of
//! a checkpoint, which has tens of bytes for each session: where many clients come and go, limits
//! are frequent, and checkpoints need not be.
//!
//! `kinds` says what a process does that meets a kind it does not know.

mod history;
mod kinds;
mod remembered;

pub use self::history::{Distance, History, TrimPoint};
pub use self::kinds::{UnknownKind, kind_name, must_be_understood, unknown_kind};
pub use self::remembered::{Finished, Limit};

use super::entries::{EntryRef, put_number, read_number};
use super::sessions::Position;
use super::types::{Entry, Instance, LogTime, Number, Origin, Piece, Run, Session, Value};

/// The least length of a piece, in bytes, unless it is the last one: so the first holds the
/// [`Head`].
const PIECE_BYTES_MIN: usize = 64;

/// The content begins with this mark, so that it is not taken for that of an earlier version, which
/// begins with an instance. The kind comes next (see `kinds` for new ones). An untimed checkpoint
/// was written when entries had no times.
const MARK: u64 = 0;
const UNTIMED: u64 = 1;
const LIMIT: u64 = 2;
const CHECKPOINT: u64 = 3;
const HISTORY: u64 = 4;
const FINISHED: u64 = 5;
const SPARING_LIMIT: u64 = 6;

/// What a checkpoint says about the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// It is the state of delivery when everything below this instance was delivered.
    pub of: Instance,
    /// The lowest instance of an entry that is needed to take up the log at `of`.
    pub keep: Instance,
    /// Everything below it is trimmed by this checkpoint.
    pub trim: Instance,
    /// Everything below it may be forgotten: it is on the acceptors' disks, down to `trim`.
    pub forget: Instance,
    /// Values in parts whose last part lies below it are given up.
    pub idle_below: Instance,
    /// The time of the log at `of`: the highest that an entry below says.
    pub time: LogTime,
}

/// A value of which parts are missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenValue {
    /// Its session.
    pub session: Session,
    /// The instances of the parts that were passed, in order.
    pub instances: Vec<Instance>,
}

/// A checkpoint's content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// What it says of the log.
    pub head: Head,
    /// The name of the log, which distinguishes it from the one the cluster had before it lost its
    /// data; 0 while it has none.
    pub name: u64,
    /// Every session that is remembered, in order.
    pub sessions: Vec<(Session, Position)>,
    /// A session that is not among them and was opened below it never begins.
    pub horizon: Instance,
    /// The values that are open, in the order of their sessions.
    pub open: Vec<OpenValue>,
}

impl Checkpoint {
    /// The checkpoint in entries of at most `piece_bytes` each, or of the shortest piece if that is
    /// longer.
    pub fn pieces(&self, piece_bytes: usize) -> Vec<Entry> {
        let bytes = self.encode();
        let chunks: Vec<&[u8]> = bytes.chunks(piece_bytes.max(PIECE_BYTES_MIN)).collect();
        let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        let series = series_of(&bytes);
        let piece = |(place, chunk): (u32, &&[u8])| Entry::Checkpoint {
            piece: Piece { place, count, series },
            bytes: Value::new(chunk),
        };
        (0..count).zip(&chunks).map(piece).collect()
    }

    /// The content as bytes, which [`Checkpoint::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let Head { of, keep, trim, forget, idle_below, time } = self.head;
        let mut bytes = Vec::new();
        let mut put = |number| put_number(number, &mut bytes);
        [MARK, CHECKPOINT].into_iter().for_each(&mut put);
        [of, keep, trim, forget, idle_below].iter().for_each(|instance| put(instance.0));
        put(time.0);
        put(self.name);
        put(self.horizon.0);
        put(self.sessions.len() as u64);
        for (session, position) in &self.sessions {
            put(session.client.into());
            put(session.boot);
            put(position.next.0);
            put(position.has_ended.into());
            put(position.last.0);
            put(position.opened.0);
        }
        put(self.open.len() as u64);
        for value in &self.open {
            put(value.session.client.into());
            put(value.session.boot);
            put(value.instances.len() as u64);
            let mut before = keep;
            for instance in &value.instances {
                put(instance.0.saturating_sub(before.0));
                before = *instance;
            }
        }
        bytes
    }

    /// Reads the content; none if it is not one. It takes no more memory than a small multiple of
    /// the bytes.
    pub fn decode(mut bytes: &[u8]) -> Option<Checkpoint> {
        let bytes = &mut bytes;
        let (head, kind) = read_head(bytes)?;
        let stamp = |bytes: &mut &[u8]| match kind {
            Some(_) => take(bytes).map(Instance),
            None => Some(Origin::UNSTAMPED),
        };
        let name = if kind.is_some() { take(bytes)? } else { 0 };
        let horizon = stamp(bytes)?;
        let sessions = (0..take(bytes)?).map(|_| {
            let session = read_session(bytes)?;
            let next = Number(take(bytes)?);
            let has_ended = match take(bytes)? {
                0 => false,
                1 => true,
                _ => return None,
            };
            let (last, opened) = (stamp(bytes)?, stamp(bytes)?);
            Some((session, Position { next, has_ended, last, opened }))
        });
        let sessions = sessions.collect::<Option<_>>()?;
        let open = (0..take(bytes)?).map(|_| {
            let session = read_session(bytes)?;
            let mut before = head.keep;
            let instances = (0..take(bytes)?).map(|_| {
                before = Instance(before.0.checked_add(take(bytes)?)?);
                Some(before)
            });
            Some(OpenValue { session, instances: instances.collect::<Option<_>>()? })
        });
        let open = open.collect::<Option<_>>()?;
        bytes.is_empty().then_some(Checkpoint { head, name, sessions, horizon, open })
    }
}

/// The entry that has this content in one piece.
fn single(bytes: &[u8]) -> Entry {
    let piece = Piece { place: 0, count: 1, series: series_of(bytes) };
    Entry::Checkpoint { piece, bytes: Value::new(bytes) }
}

/// The content of an entry in one piece, behind its kind; none if it is of another kind.
fn alone(entry: EntryRef<'_>, kind: u64) -> Option<&[u8]> {
    let EntryRef::Checkpoint { piece: Piece { place: 0, count: 1, series }, mut bytes } = entry
    else {
        return None;
    };
    let is_itself = series == series_of(bytes);
    let is_it = take(&mut bytes) == Some(MARK) && take(&mut bytes) == Some(kind);
    (is_itself && is_it).then_some(bytes)
}

/// The hash that names a checkpoint with this content (FNV-1a, 64 bits).
pub fn series_of(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// What a checkpoint says of the log whose first piece is `entry`; none if it is not one, or is
/// impossible.
pub fn head(entry: EntryRef<'_>) -> Option<Head> {
    match entry {
        EntryRef::Checkpoint { piece: Piece { place: 0, .. }, bytes } => {
            read_head(&mut &*bytes).map(|(head, _)| head)
        }
        EntryRef::Checkpoint { .. }
        | EntryRef::Noop
        | EntryRef::Value { .. }
        | EntryRef::Part { .. } => None,
    }
}

/// Reads a head and the kind of its checkpoint: the content of an earlier version has no kind, no
/// point to forget below, no name and no horizon.
fn read_head(bytes: &mut &[u8]) -> Option<(Head, Option<u64>)> {
    let mut first = take(bytes)?;
    let mut kind = None;
    if first == MARK {
        let is_checkpoint = |kind: &u64| [UNTIMED, CHECKPOINT].contains(kind);
        kind = Some(take(bytes).filter(is_checkpoint)?);
        first = take(bytes)?;
    }
    let mut instance = || take(bytes).map(Instance);
    let (of, keep, trim) = (Instance(first), instance()?, instance()?);
    let forget = if kind.is_some() { instance()? } else { trim };
    let idle_below = instance()?;
    let is_timed = kind.is_some_and(|kind| kind != UNTIMED);
    let time = if is_timed { LogTime(take(bytes)?) } else { LogTime::NONE };
    let head = Head { of, keep, trim, forget, idle_below, time };
    let is_possible = Instance::FIRST <= head.trim
        && head.trim <= head.forget
        && Instance::FIRST <= head.keep
        && head.keep.max(head.forget).max(head.idle_below) <= head.of
        && head.of < Instance(u64::MAX)
        && head.time <= LogTime::MAX;
    is_possible.then_some((head, kind))
}

fn read_session(bytes: &mut &[u8]) -> Option<Session> {
    let client = u32::try_from(take(bytes)?).ok()?;
    Some(Session { client, boot: take(bytes)? })
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = read_number(bytes).ok()?;
    *bytes = rest;
    Some(number)
}

/// The run of the checkpoint whose last piece `piece` is at `last`, if it is complete as far as
/// `get` knows: its pieces are in their places, and of one series.
pub fn whole<'a>(
    last: Instance,
    piece: Piece,
    get: impl Fn(Instance) -> Option<EntryRef<'a>>,
) -> Option<Run<Instance>> {
    let first = last.0.checked_sub(piece.place.into()).map(Instance)?;
    let run = Run::new(first, Instance(last.0.checked_add(1)?));
    let is_piece = |(place, instance): (u32, Instance)| match get(instance) {
        Some(EntryRef::Checkpoint { piece: other, .. }) => other == Piece { place, ..piece },
        Some(EntryRef::Noop | EntryRef::Value { .. } | EntryRef::Part { .. }) | None => false,
    };
    (piece.is_last() && (0..piece.count).zip(run.iter()).all(is_piece)).then_some(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let session = |client| Session { client, boot: u64::MAX - 1 };
        let position = |next, has_ended| Position {
            next: Number(next),
            has_ended,
            last: Instance(300 * next),
            opened: Instance(250 * next),
        };
        Checkpoint {
            head: Head {
                of: Instance(900),
                keep: Instance(700),
                trim: Instance(600),
                forget: Instance(620),
                idle_below: Instance(650),
                time: LogTime(1_800_000_000_000),
            },
            name: 9,
            sessions: (1..9).map(|one| (session(one), position(one.into(), one == 2))).collect(),
            horizon: Instance(251),
            open: vec![OpenValue {
                session: session(1),
                instances: vec![Instance(700), Instance(701), Instance(899)],
            }],
        }
    }

    #[test]
    fn what_is_written_is_read_whatever_the_length_of_the_pieces() {
        for (piece_bytes, count) in [(0, 3), (64, 3), (100, 2), (1000, 1)] {
            let pieces = checkpoint().pieces(piece_bytes);
            assert_eq!(pieces.len(), count, "{piece_bytes}");
            let bytes: Vec<u8> = pieces
                .iter()
                .flat_map(|piece| match piece {
                    Entry::Checkpoint { bytes, .. } => bytes.as_bytes().to_vec(),
                    other => panic!("{other} is no piece"),
                })
                .collect();
            assert_eq!(Checkpoint::decode(&bytes), Some(checkpoint()));
            assert_eq!(head(pieces[0].borrowed()), Some(checkpoint().head));
            assert!(pieces[1..].iter().all(|piece| head(piece.borrowed()).is_none()));
        }
    }

    #[test]
    fn what_is_cut_or_changed_is_refused_or_is_something_else() {
        let bytes = checkpoint().encode();
        assert!((0..bytes.len()).all(|end| Checkpoint::decode(&bytes[..end]).is_none()));
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[place] ^= 1 << bit;
                assert_ne!(Checkpoint::decode(&other), Some(checkpoint()));
            }
        }
        // A checkpoint of an earlier version: no mark, no name, no horizon, no stamps.
        let mut before = Vec::new();
        [900, 700, 600, 650, 1, 7, 5, 3, 0, 0]
            .iter()
            .for_each(|number| put_number(*number, &mut before));
        let (last, opened) = (Origin::UNSTAMPED, Origin::UNSTAMPED);
        let position = Position { next: Number(3), has_ended: false, last, opened };
        let expected = Checkpoint {
            head: Head { forget: Instance(600), time: LogTime::NONE, ..checkpoint().head },
            name: 0,
            sessions: vec![(Session { client: 7, boot: 5 }, position)],
            horizon: Origin::UNSTAMPED,
            open: vec![],
        };
        assert_eq!(Checkpoint::decode(&before), Some(expected));
        // A checkpoint of the previous version: no time.
        let timed = checkpoint().encode();
        let time = timed.windows(9).position(|bytes| bytes[0] == 253 && bytes[7] == 0);
        let time = time.expect("it is a large number");
        let mut untimed = [&timed[..time], &timed[time + 9..]].concat();
        untimed[1] = UNTIMED as u8;
        let expected =
            Checkpoint { head: Head { time: LogTime::NONE, ..checkpoint().head }, ..checkpoint() };
        assert_eq!(Checkpoint::decode(&untimed), Some(expected));
        // Lengths that are claimed but not there take no memory.
        let mut claims = Vec::new();
        [MARK, CHECKPOINT, 9, 9, 1, 1, 1, 2, 7, u64::MAX]
            .iter()
            .for_each(|number| put_number(*number, &mut claims));
        assert_eq!(Checkpoint::decode(&claims), None);
    }

    #[test]
    fn a_limit_is_a_piece_and_no_checkpoint() {
        let limit = Limit { sessions: 4096, is_sparing: false };
        let entry = limit.entry();
        assert_eq!(Limit::of(entry.borrowed()), Some(limit));
        assert_eq!(head(entry.borrowed()), None);
        let Entry::Checkpoint { piece, bytes } = &entry else { panic!("{entry} is no piece") };
        assert_eq!(Checkpoint::decode(bytes.as_bytes()), None);
        let of = |piece, bytes| Limit::of(EntryRef::Checkpoint { piece, bytes });
        assert_eq!(of(Piece { count: 2, ..*piece }, bytes.as_bytes()), None);
        assert_eq!(of(Piece { series: 1, ..*piece }, bytes.as_bytes()), None);
        assert_eq!(of(*piece, &bytes.as_bytes()[..2]), None);
        let pieces = checkpoint().pieces(1000);
        assert_eq!(Limit::of(pieces[0].borrowed()), None);
    }

    #[test]
    fn a_checkpoint_with_a_foreign_piece_is_not_whole() {
        let of = |series, place, count| EntryRef::Checkpoint {
            piece: Piece { place, count, series },
            bytes: b"",
        };
        let piece = |place, count| of(7, place, count);
        let whole_at = |entries: &[EntryRef<'static>]| {
            let last = Instance(4 + entries.len() as u64);
            let get =
                |instance: Instance| entries.get((instance.0 as usize).checked_sub(5)?).copied();
            let EntryRef::Checkpoint { piece, .. } = *entries.last()? else { return None };
            whole(last, piece, get)
        };
        let run = Run::new(Instance(5), Instance(7));
        assert_eq!(whole_at(&[piece(0, 2), piece(1, 2)]), Some(run));
        assert_eq!(whole_at(&[piece(0, 1)]), Some(Run::new(Instance(5), Instance(6))));
        for entries in [
            &[piece(0, 2)][..],
            &[piece(1, 2)],
            &[EntryRef::Noop, piece(1, 2)],
            &[piece(0, 3), piece(1, 2)],
            &[of(8, 0, 2), piece(1, 2)],
            &[piece(0, 2), piece(0, 2), EntryRef::Noop, piece(1, 2)],
        ] {
            assert_eq!(whole_at(entries), None, "{entries:?}");
        }
    }
}
