//! What a simulated run leaves behind: a hash of everything, and lines for those who read along.

use std::fmt;

use crate::protocol::types::Time;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Nothing.
    Silence,
    /// Faults, leaders, starts and ends.
    Story,
    /// Also every message, timer and delivery.
    Everything,
}

/// The trace of one run. The same seed gives the same hash.
pub struct Trace {
    hash: u64,
    detail: Detail,
    line: Box<dyn FnMut(&str)>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({:016x})", self.hash)
    }
}

impl Trace {
    /// A trace that nobody reads.
    pub fn silent() -> Self {
        Self::told(Detail::Silence, |_| ())
    }

    /// A trace that hands its lines to `line`.
    pub fn told(detail: Detail, line: impl FnMut(&str) + 'static) -> Self {
        Trace { hash: 0, detail, line: Box::new(line) }
    }

    /// The hash of everything that happened so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Adds a number to the hash.
    pub fn mix(&mut self, number: u64) {
        // Multiply and rotate: quick, and spread well enough to tell two runs apart.
        self.hash = (self.hash.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// Adds bytes to the hash.
    pub fn mix_bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        let last = rest.iter().fold(rest.len() as u64, |last, byte| last << 8 | u64::from(*byte));
        self.mix(last);
    }

    /// Tells something, if anybody wants so much detail. It does not touch the hash.
    pub fn tell(&mut self, detail: Detail, now: Time, what: fmt::Arguments<'_>) {
        if detail <= self.detail {
            let seconds = now.0 as f64 / 1e6;
            (self.line)(&format!("{seconds:11.6}  {what}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_its_place_count() {
        let hash = |bytes: &[u8]| {
            let mut trace = Trace::silent();
            trace.mix_bytes(bytes);
            trace.hash()
        };
        let all = [b"".as_slice(), b"a", b"b", b"ab", b"ba", b"\0", b"01234567", b"012345670"];
        for (place, one) in all.iter().enumerate() {
            assert!(all[..place].iter().all(|other| hash(one) != hash(other)), "{one:?}");
        }
    }
}
