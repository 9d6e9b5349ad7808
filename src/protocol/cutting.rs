//! A client's values, cut into the parts in which they travel.

use std::ops::Range;

use super::entries::EntryRef;
use super::types::{Origin, Part, Value};

/// What one number of a session requests: a value, or part of one. It shares the value's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Piece {
    memory: Value,
    from: usize,
    until: usize,
    /// Which part it is; none for a complete value.
    part: Option<Part>,
}

impl Piece {
    fn of(memory: &Value, range: Range<usize>, part: Option<Part>) -> Self {
        Piece { memory: memory.clone(), from: range.start, until: range.end, part }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.memory.as_bytes()[self.from..self.until]
    }

    /// Whether nothing of the value follows.
    pub fn is_end(&self) -> bool {
        matches!(self.part, None | Some(Part::Last))
    }

    /// Whether more of the value follows, and nothing of it came before.
    pub fn is_first(&self) -> bool {
        matches!(self.part, Some(Part::First { .. }))
    }

    /// Its entry.
    pub fn entry(&self, origin: Origin) -> EntryRef<'_> {
        match self.part {
            None => EntryRef::Value { origin, value: self.bytes() },
            Some(part) => EntryRef::Part { origin, part, bytes: self.bytes() },
        }
    }
}

/// A value, some of which may be cut off already.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cutting {
    /// The memory that holds it, from `from` to `until`; other values may stand beside it.
    memory: Value,
    from: usize,
    until: usize,
    /// How much is cut off.
    done: usize,
    /// A longer value is cut into parts of this many bytes.
    part_bytes: usize,
}

impl Cutting {
    /// All of `value`, which is cut if it is longer than `part_bytes`.
    pub fn new(value: Value, part_bytes: usize) -> Self {
        let until = value.as_bytes().len();
        Self::of(&value, 0..until, part_bytes)
    }

    /// The same for a value that is this range of `memory`, which it shares.
    pub fn of(memory: &Value, range: Range<usize>, part_bytes: usize) -> Self {
        let Range { start: from, end: until } = range;
        assert!(from <= until && until <= memory.as_bytes().len(), "a value lies in its memory");
        let part_bytes = part_bytes.max(Part::BYTES_MIN);
        Cutting { memory: memory.clone(), from, until, done: 0, part_bytes }
    }

    /// The next piece, and whether it was the last one.
    pub fn cut(&mut self) -> (Piece, bool) {
        let all = self.until - self.from;
        let until = all.min(self.done.saturating_add(self.part_bytes));
        let part = if all <= self.part_bytes {
            None
        } else if self.done == 0 {
            // It fits: no value is longer than Value::BYTES_MAX.
            Some(Part::First { value_bytes: all as u32 })
        } else if until < all {
            Some(Part::Middle)
        } else {
            Some(Part::Last)
        };
        let place = self.from + self.done..self.from + until;
        let piece = Piece::of(&self.memory, place, part);
        self.done = until;
        (piece, until == all)
    }
}

/// In how many parts a value of `value_bytes` travels, if longer ones are cut at `part_bytes`.
pub fn parts_of(value_bytes: usize, part_bytes: usize) -> u64 {
    let part_bytes = part_bytes.max(Part::BYTES_MIN);
    value_bytes.div_ceil(part_bytes).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::settings::Settings;
    use crate::protocol::types::{AssignedBy, Number, Session};

    fn pieces(length: usize) -> Vec<Piece> {
        let bytes: Vec<u8> = (0..length).map(|place| place as u8).collect();
        let mut cutting = Cutting::new(Value::new(&bytes), 100);
        let mut pieces = Vec::new();
        loop {
            let (piece, is_last) = cutting.cut();
            assert_eq!(is_last, piece.is_end());
            pieces.push(piece);
            if is_last {
                let joined: Vec<u8> = pieces.iter().flat_map(Piece::bytes).copied().collect();
                assert_eq!(joined, bytes);
                return pieces;
            }
        }
    }

    #[test]
    fn values_are_cut_where_they_must_be() {
        let settings = Settings { datagram_bytes: 260, ..Settings::default() };
        assert_eq!(settings.part_bytes(), 100);
        for (length, lengths) in [
            (0, &[0][..]),
            (100, &[100]),
            (101, &[100, 1]),
            (200, &[100, 100]),
            (250, &[100, 100, 50]),
        ] {
            let pieces = pieces(length);
            assert_eq!(pieces.iter().map(|one| one.bytes().len()).collect::<Vec<_>>(), lengths);
            assert_eq!(parts_of(length, settings.part_bytes()), lengths.len() as u64);
        }
        let session = Session { client: 1, boot: 1 };
        let origin = Origin::new(session, Number(1), AssignedBy::Leader);
        let shown: Vec<String> =
            pieces(201).iter().map(|one| one.entry(origin).to_entry().to_string()).collect();
        for (shown, expected) in
            shown.iter().zip(["first part of 201 bytes: ", "next part: ", "last part: "])
        {
            assert!(shown.contains(expected), "{shown}");
        }
    }
}
