//! Where the log may be trimmed, as its leader has measured it.
//!
//! A log is trimmed at a checkpoint that lies far enough back. Where acceptors have disks it is no
//! longer in memory then, so a proposer that was started again never passes it. So a checkpoint
//! repeats at which earlier ones the log may be trimmed, and how far back they lie: a leader that
//! has read one checkpoint knows all of them.
//!
//! All points in it are decided checkpoints, by induction: whoever writes one has passed the
//! checkpoint itself, or one that repeats it. How far back they lie is what one leader has
//! measured, and no function of the log: only the choice of the next `trim` may depend on it, which
//! is one leader's, and decided then.

use super::{Instance, LogTime, take};
use crate::protocol::entries::put_number;

/// What a checkpoint repeats of earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    /// When it was written, in the time of the log: no earlier than the time of any entry that its
    /// writer had placed. Ages are as they were then.
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

/// How far back a place of the log lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Distance {
    /// Its age in milliseconds, at least: it may be older than anybody could tell.
    pub age_ms: u64,
    /// How many bytes of entries were passed since, about.
    pub bytes: u64,
    /// How many entries that are no pieces of checkpoints were passed since, about.
    pub values: u64,
}

impl History {
    /// How many points it has at most. So many take less than a datagram.
    pub const POINTS_MAX: usize = 32;

    /// Appends it as bytes.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let mut put = |number| put_number(number, bytes);
        put(self.written.0);
        put(self.points.len() as u64);
        let mut before = Instance(0);
        for point in &self.points {
            let TrimPoint { of, keep, back: Distance { age_ms, bytes, values } } = *point;
            put(of.0.saturating_sub(before.0));
            put(of.0.saturating_sub(keep.0));
            [age_ms, bytes, values].into_iter().for_each(&mut put);
            before = of;
        }
    }

    /// Reads one, of points before the checkpoint of `end`; nothing if it is none, or impossible.
    pub(super) fn decode(bytes: &mut &[u8], end: Instance) -> Option<History> {
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
        Some(History { written, points: points.collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::settings::Settings;

    /// As long as it gets, of a log of 2^40 entries and 64 TiB that is a hundred years old.
    fn longest() -> History {
        let point = |place: u64| TrimPoint {
            of: Instance((1 << 40) + (place << 31)),
            keep: Instance((1 << 40) + (place << 31) - 70_000),
            back: Distance { age_ms: 3_155_760_000_000, bytes: 1 << 46, values: 1 << 40 },
        };
        let points = (0..History::POINTS_MAX as u64).map(point).collect();
        History { written: LogTime(1_800_000_000_000), points }
    }

    fn bytes_of(history: &History) -> Vec<u8> {
        let mut bytes = Vec::new();
        history.encode(&mut bytes);
        bytes
    }

    fn read(bytes: &[u8], end: u64) -> Option<History> {
        let mut rest = bytes;
        History::decode(&mut rest, Instance(end)).filter(|_| rest.is_empty())
    }

    #[test]
    fn what_is_written_is_read_and_fits_a_datagram() {
        let longest = longest();
        let bytes = bytes_of(&longest);
        assert_eq!(read(&bytes, u64::MAX), Some(longest));
        let room = Settings::default().part_bytes();
        assert!(bytes.len() + 90 < room, "{} of {room} bytes", bytes.len());
        let nothing = History::default();
        assert_eq!(read(&bytes_of(&nothing), 1), Some(nothing));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let whole = longest();
        let bytes = bytes_of(&whole);
        assert!((0..bytes.len()).all(|end| read(&bytes[..end], u64::MAX).is_none()));
        let last = whole.points[31].of.0;
        assert_eq!(read(&bytes, last), None, "it repeats itself");
        assert_eq!(read(&bytes, last + 1), Some(whole.clone()));
        let changed = |change: fn(&mut History)| {
            let mut other = whole.clone();
            change(&mut other);
            read(&bytes_of(&other), u64::MAX)
        };
        assert_eq!(changed(|other| other.points.push(other.points[31])), None);
        assert_eq!(changed(|other| other.points[1] = other.points[0]), None);
        assert_eq!(changed(|other| other.points[0].keep = Instance(0)), None);
        assert_eq!(changed(|other| other.written = LogTime(1 << 48)), None);
    }
}
