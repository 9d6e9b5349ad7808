//! A client's values, cut into the parts in which they travel.

use std::ops::Range;

use super::entries::EntryRef;
use super::types::{Origin, Part, Value};

/// What one number of a session asks for: a value, or part of one, as a range of the memory that
/// has its bytes. It does not hold that memory: counting each value in it costs more than the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    from: usize,
    until: usize,
    /// Which part it is; none for a complete value.
    part: Option<Part>,
}

impl Piece {
    /// A whole value, which is this range of `memory`.
    pub fn whole(memory: &Value, range: Range<usize>) -> Self {
        let Range { start: from, end: until } = range;
        assert!(from <= until && until <= memory.as_bytes().len(), "a value lies in its memory");
        Piece { from, until, part: None }
    }

    /// How many bytes it has.
    pub fn length(&self) -> usize {
        self.until - self.from
    }

    /// Its bytes, where it was cut from `memory`.
    pub fn bytes<'a>(&self, memory: &'a Value) -> &'a [u8] {
        &memory.as_bytes()[self.from..self.until]
    }

    /// Whether nothing of the value follows.
    pub fn is_end(&self) -> bool {
        matches!(self.part, None | Some(Part::Last))
    }

    /// Whether more of the value follows, and nothing of it came before.
    pub fn is_first(&self) -> bool {
        matches!(self.part, Some(Part::First { .. }))
    }

    /// Its entry, where it was cut from `memory`.
    pub fn entry<'a>(&self, memory: &'a Value, origin: Origin) -> EntryRef<'a> {
        match self.part {
            None => EntryRef::Value { origin, value: self.bytes(memory) },
            Some(part) => EntryRef::Part { origin, part, bytes: self.bytes(memory) },
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

    /// Where the bytes of its pieces are.
    pub fn memory(&self) -> &Value {
        &self.memory
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
        let piece = Piece { from: self.from + self.done, until: self.from + until, part };
        self.done = until;
        (piece, until == all)
    }
}

/// In how many parts a value of `value_bytes` travels, if longer ones are cut at `part_bytes`.
pub fn parts_of(value_bytes: usize, part_bytes: usize) -> u64 {
    let part_bytes = part_bytes.max(Part::BYTES_MIN);
    if value_bytes <= part_bytes {
        // Nearly every value, and a division takes its time.
        return 1;
    }
    value_bytes.div_ceil(part_bytes) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::settings::Settings;
    use crate::protocol::types::{AssignedBy, Number, Session};

    fn value(length: usize) -> Value {
        let bytes: Vec<u8> = (0..length).map(|place| place as u8).collect();
        Value::new(&bytes)
    }

    fn pieces(value: &Value) -> Vec<Piece> {
        let mut cutting = Cutting::new(value.clone(), 100);
        let mut pieces = Vec::new();
        loop {
            let (piece, is_last) = cutting.cut();
            assert_eq!(is_last, piece.is_end());
            pieces.push(piece);
            if is_last {
                let joined = pieces.iter().flat_map(|one| one.bytes(value)).copied();
                assert_eq!(joined.collect::<Vec<u8>>(), value.as_bytes());
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
            let pieces = pieces(&value(length));
            assert_eq!(pieces.iter().map(Piece::length).collect::<Vec<_>>(), lengths);
            assert_eq!(parts_of(length, settings.part_bytes()), lengths.len() as u64);
        }
        let session = Session { client: 1, boot: 1 };
        let origin = Origin::new(session, Number(1), AssignedBy::Leader);
        let value = value(201);
        let shown = |one: &Piece| one.entry(&value, origin).to_entry().to_string();
        let shown: Vec<String> = pieces(&value).iter().map(shown).collect();
        for (shown, expected) in
            shown.iter().zip(["first part of 201 bytes: ", "next part: ", "last part: "])
        {
            assert!(shown.contains(expected), "{shown}");
        }
    }
}
