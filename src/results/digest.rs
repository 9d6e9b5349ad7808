//! A hash over values and their positions: equal hashes, equal values in equal places.
//!
//! Each value is hashed with the hash of all before it, so that the state of a digest is 32 bytes,
//! and goes on from any place at which it was written down.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// How many bytes a digest has.
pub const DIGEST_BYTES: usize = 32;

/// The hash of a sequence of values. Prints as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; DIGEST_BYTES]);

impl Digest {
    /// Adds a value of `bytes` bytes, in these pieces: the digest becomes SHA-256 over the digest
    /// so far, the position and the length as 8 bytes each with the highest first, and the value.
    pub fn add<'a>(
        &mut self,
        position: u64,
        bytes: usize,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(position.to_be_bytes());
        hash.update((bytes as u64).to_be_bytes());
        pieces.into_iter().for_each(|piece| hash.update(piece));
        self.0 = hash.finalize().into();
    }

    /// Its state, from which it goes on.
    pub fn to_bytes(self) -> [u8; DIGEST_BYTES] {
        self.0
    }

    /// The digest that prints as `text`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 2 * DIGEST_BYTES {
            return None;
        }
        let value = |digit: u8| char::from(digit).to_digit(16);
        let mut digest = Digest::default();
        for (byte, pair) in digest.0.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (value(pair[0])? << 4 | value(pair[1])?) as u8;
        }
        Some(digest)
    }
}

impl From<[u8; DIGEST_BYTES]> for Digest {
    fn from(bytes: [u8; DIGEST_BYTES]) -> Self {
        Digest(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(u64, &[u8])]) -> Digest {
        let mut digest = Digest::default();
        for (position, value) in values {
            digest.add(*position, value.len(), [*value]);
        }
        digest
    }

    /// Computed by Python's hashlib, as docs/resuming.md says how.
    #[test]
    fn a_digest_is_what_others_compute() {
        let digest = of(&[(1, b"a"), (3, b"")]);
        assert_eq!(
            digest.to_string(),
            "f1fccfbf0dbd59fb0f1e811e484b0140e78802bb44dd80ab994bee56c903449a"
        );
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("ab"), None);
        assert_eq!(Digest::parse(&"x".repeat(64)), None);
    }

    #[test]
    fn values_their_places_and_their_bounds_all_count() {
        let digests = [
            of(&[(1, b"a"), (2, b"b")]),
            of(&[(1, b"a"), (3, b"b")]),
            of(&[(1, b"ab"), (2, b"")]),
            of(&[(1, b"b"), (2, b"a")]),
            of(&[(1, b"a")]),
            of(&[]),
        ];
        for (place, digest) in digests.iter().enumerate() {
            assert!(!digests[..place].contains(digest), "{place}");
        }
        // However it is cut.
        let mut cut = Digest::default();
        cut.add(1, 2, [&b"a"[..], b"", b"b"]);
        assert_eq!(cut, of(&[(1, b"ab")]));
    }
}
