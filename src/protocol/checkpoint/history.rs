//! Where may the log be trimmed, according to the measurements of its leaders?
//!
//! A log is trimmed at a checkpoint that lies far enough back. Where acceptors have disks it is no
//! longer in memory by then, so a restarted proposer never passes it. So behind each checkpoint its
//! leader writes at which earlier ones the log may be trimmed, and how far back they lie: a leader
//! that has read one history knows all of them. A new leader begins at the newest of them, even
//! where the acceptors hold more in memory: so what it must read does not follow that.
//!
//! All points in it are decided checkpoints, by induction: the writer has passed the checkpoint
//! itself, or a history that has it. How far back they lie is one leader's measurement, and no
//! function of the log: only the choice of the next `trim` may depend on it, which is one leader's
//! choice, and is then decided. So it is an entry of its own, and not part of the checkpoint: a
//! process of an earlier version ignores it, and does everything that the checkpoint says.

use super::{HISTORY, Instance, LogTime, MARK, alone, single, take};
use crate::protocol::entries::{EntryRef, put_number};
use crate::protocol::types::Entry;

/// At which earlier checkpoints the log may be trimmed. It stands behind a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct History {
    /// The instance that this checkpoint is of.
    pub of: Instance,
    /// When it was written, in the time of the log: no earlier than any entry that its writer had
    /// placed. Ages are as of that moment.
    pub written: LogTime,
    /// Some of the earlier checkpoints, in order: at most [`History::POINTS_MAX`].
    pub points: Vec<TrimPoint>,
}

/// A checkpoint at which the log may be trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrimPoint {
    /// See `Head::of`.
    pub of: Instance,
    /// See `Head::keep`.
    pub keep: Instance,
    /// How far back it lies.
    pub back: Distance,
}

/// How far back a point of the log lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Distance {
    /// A lower bound of its age, in milliseconds.
    pub age_ms: u64,
    /// About how many bytes of entries were passed since.
    pub bytes: u64,
    /// About how many entries other than pieces of checkpoints were passed since.
    pub values: u64,
}

impl History {
    /// How many points it has at most. They take less than a datagram.
    pub const POINTS_MAX: usize = 32;

    /// The same with the newest point and every second of the others, or fewer, if it is longer
    /// than `most` bytes; none if even one point is too many.
    pub fn within(mut self, most: usize) -> Option<History> {
        while self.encode().len() > most {
            let newest = self.points.pop()?;
            if self.points.is_empty() {
                return None;
            }
            // The oldest stays as long as any other of them does.
            let mut is_left = self.points.len() == 1;
            self.points.retain(|_| {
                is_left = !is_left;
                is_left
            });
            self.points.push(newest);
        }
        Some(self)
    }

    /// Where a new leader may take up the log: at the newest of the checkpoints. It is decided, and
    /// so is everything below it.
    pub fn begin(&self) -> Instance {
        self.points.last().map_or(Instance::FIRST, |point| point.keep)
    }

    /// The history as an entry.
    pub fn entry(&self) -> Entry {
        single(&self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |number| put_number(number, &mut bytes);
        [MARK, HISTORY, self.of.0, self.written.0].into_iter().for_each(&mut put);
        put(self.points.len() as u64);
        let mut before = Instance(0);
        for point in &self.points {
            let TrimPoint { of, keep, back: Distance { age_ms, bytes, values } } = *point;
            put(of.0.saturating_sub(before.0));
            put(of.0.saturating_sub(keep.0));
            [age_ms, bytes, values].into_iter().for_each(&mut put);
            before = of;
        }
        bytes
    }

    /// The history that `entry` is, if it is one, and possible.
    pub fn read(entry: EntryRef<'_>) -> Option<History> {
        let mut bytes = alone(entry, HISTORY)?;
        let bytes = &mut bytes;
        let end = Instance(take(bytes)?);
        let written = Some(LogTime(take(bytes)?)).filter(|time| *time <= LogTime::MAX)?;
        let count = take(bytes).filter(|count| *count <= Self::POINTS_MAX as u64)?;
        let mut before = Instance(0);
        let points = (0..count).map(|_| {
            let of = Instance(before.0.checked_add(take(bytes)?)?);
            let keep = Instance(of.0.checked_sub(take(bytes)?)?);
            let (age_ms, passed, values) = (take(bytes)?, take(bytes)?, take(bytes)?);
            let is_possible = before < of && of < end && Instance::FIRST <= keep;
            before = of;
            let back = Distance { age_ms, bytes: passed, values };
            is_possible.then_some(TrimPoint { of, keep, back })
        });
        let points = points.collect::<Option<_>>()?;
        bytes.is_empty().then_some(History { of: end, written, points })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::settings::Settings;

    /// The longest possible history: of a log of 2^40 entries and 64 TiB that is a hundred years
    /// old.
    fn longest() -> History {
        let point = |place: u64| TrimPoint {
            of: Instance((1 << 40) + (place << 31)),
            keep: Instance((1 << 40) + (place << 31) - 70_000),
            back: Distance { age_ms: 3_155_760_000_000, bytes: 1 << 46, values: 1 << 40 },
        };
        let points = (0..History::POINTS_MAX as u64).map(point).collect();
        let of = Instance(1 << 41);
        History { of, written: LogTime(1_800_000_000_000), points }
    }

    fn bytes_of(history: &History) -> Vec<u8> {
        let Entry::Checkpoint { bytes, .. } = history.entry() else { panic!("another entry") };
        bytes.as_bytes().to_vec()
    }

    fn read(bytes: &[u8]) -> Option<History> {
        History::read(single(bytes).borrowed())
    }

    #[test]
    fn what_is_written_is_read_and_fits_a_datagram() {
        let longest = longest();
        let bytes = bytes_of(&longest);
        assert_eq!(History::read(longest.entry().borrowed()), Some(longest));
        let room = Settings::default().part_bytes();
        assert!(bytes.len() + 90 < room, "{} of {room} bytes", bytes.len());
        let nothing = History { of: Instance(1), written: LogTime::NONE, points: Vec::new() };
        assert_eq!(read(&bytes_of(&nothing)), Some(nothing));
    }

    #[test]
    fn where_datagrams_are_short_fewer_points_are_repeated() {
        let whole = longest();
        assert_eq!(whole.clone().within(1300), Some(whole.clone()));
        let most = 200;
        let short = whole.clone().within(most).expect("some fit");
        assert!(short.encode().len() <= most && short.points.len() > 2, "{short:?}");
        assert_eq!(short.points[0], whole.points[0], "the oldest is among them");
        for most in (100..1300).step_by(10) {
            let short = whole.clone().within(most).expect("one fits");
            assert_eq!(short.begin(), whole.begin(), "the newest is among {most} bytes");
        }
        assert_eq!(whole.within(20), None);
    }

    /// Versions without histories read it as neither.
    #[test]
    fn it_is_neither_a_checkpoint_nor_a_limit() {
        let entry = longest().entry();
        assert_eq!(super::super::head(entry.borrowed()), None);
        assert_eq!(super::super::Limit::of(entry.borrowed()), None);
        assert_eq!(super::super::Checkpoint::decode(&bytes_of(&longest())), None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let whole = longest();
        let bytes = bytes_of(&whole);
        assert!((0..bytes.len()).all(|end| read(&bytes[..end]).is_none()));
        assert_eq!(read(&[bytes, vec![0]].concat()), None);
        let changed = |change: fn(&mut History)| {
            let mut other = whole.clone();
            change(&mut other);
            read(&bytes_of(&other))
        };
        assert!(changed(|other| other.of = Instance(other.points[31].of.0 + 1)).is_some());
        assert_eq!(changed(|other| other.of = other.points[31].of), None, "it repeats itself");
        assert_eq!(changed(|other| other.points.push(other.points[31])), None);
        assert_eq!(changed(|other| other.points[1] = other.points[0]), None);
        assert_eq!(changed(|other| other.points[0].keep = Instance(0)), None);
        assert_eq!(changed(|other| other.written = LogTime(1 << 48)), None);
    }
}
