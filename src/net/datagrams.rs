//! Several datagrams that leave, or arrive, in one system call.
//!
//! A system call for each datagram, and a path through the kernel for each, is most of the cost of
//! a small value. Linux takes a run of datagrams to one destination as one piece of bytes and cuts
//! it as late as possible (`UDP_SEGMENT`), with some cards in the card; on one host it arrives
//! uncut at sockets that can take it so (`UDP_GRO`). On the wire nothing changes.

/// The most datagrams that leave together; older kernels cut no more than 64.
const COUNT_MAX: usize = 64;

/// The most bytes that leave together. A link may forward such a piece as a whole, so it must not
/// take long: 16 KiB take 1.3 ms at 100 Mbit/s.
const BYTES_MAX: usize = 16 << 10;

/// One or more datagrams for one destination: all of one length, except that the last may be
/// shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagrams<'a> {
    bytes: &'a [u8],
    each: usize,
}

impl<'a> Datagrams<'a> {
    /// `bytes`, cut after every `each` bytes.
    ///
    /// # Panics
    ///
    /// If `each` is 0 and there are bytes.
    pub fn new(bytes: &'a [u8], each: usize) -> Self {
        assert!(each > 0 || bytes.is_empty(), "datagrams without a length");
        Datagrams { bytes, each }
    }

    /// All of them, one behind the other.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The length of each in bytes, except that the last may be shorter.
    pub fn each(&self) -> usize {
        self.each
    }

    /// How many there are, at least one, which may be empty.
    pub fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.each.max(1)).max(1)
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Datagrams { bytes, each } = *self;
        (0..self.count()).map(move |place| {
            let from = place * each;
            &bytes[from..bytes.len().min(from + each)]
        })
    }
}

impl<'a> From<&'a [u8]> for Datagrams<'a> {
    fn from(datagram: &'a [u8]) -> Self {
        Datagrams { bytes: datagram, each: datagram.len() }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Datagrams<'a> {
    fn from(datagram: &'a [u8; N]) -> Self {
        Self::from(&datagram[..])
    }
}

impl<'a> From<&'a Vec<u8>> for Datagrams<'a> {
    fn from(datagram: &'a Vec<u8>) -> Self {
        Self::from(&datagram[..])
    }
}

/// Gathers datagrams that leave together.
#[derive(Debug, Default)]
pub struct Train {
    bytes: Vec<u8>,
    each: usize,
    count: usize,
}

impl Train {
    /// Whether nothing is gathered.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a datagram of this many bytes can go with the others.
    pub fn takes(&self, length: usize) -> bool {
        if self.is_empty() {
            return true;
        }
        let bytes = self.bytes.len() + length;
        let fits = self.count < COUNT_MAX && bytes <= BYTES_MAX;
        let ends_with_a_shorter_one = self.bytes.len() < self.count * self.each;
        fits && !ends_with_a_shorter_one && (1..=self.each).contains(&length)
    }

    /// Adds a datagram, which it [`takes`](Self::takes). Afterwards the contents of `datagram` are
    /// unspecified.
    pub fn add(&mut self, datagram: &mut Vec<u8>) {
        debug_assert!(self.takes(datagram.len()), "a datagram that cannot go with the others");
        if self.is_empty() {
            // Most are alone, and need not be copied.
            std::mem::swap(&mut self.bytes, datagram);
            self.each = self.bytes.len();
        } else {
            self.bytes.extend_from_slice(datagram);
        }
        self.count += 1;
    }

    /// The gathered datagrams.
    pub fn datagrams(&self) -> Datagrams<'_> {
        Datagrams::new(&self.bytes, self.each)
    }

    /// Drops the gathered datagrams, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.each, self.count) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds datagrams of these lengths as long as they are taken; returns the lengths gathered.
    fn gathered(lengths: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut train = Train::default();
        for (place, length) in lengths.into_iter().enumerate() {
            if !train.takes(length) {
                break;
            }
            train.add(&mut vec![place as u8; length]);
        }
        let datagrams = train.datagrams();
        for (place, datagram) in datagrams.iter().enumerate() {
            assert!(datagram.iter().all(|byte| *byte == place as u8));
        }
        datagrams.iter().map(<[u8]>::len).collect()
    }

    #[test]
    fn only_the_last_of_a_train_may_be_shorter() {
        assert_eq!(gathered([30, 30, 30]), [30, 30, 30]);
        assert_eq!(gathered([30, 30, 20, 20]), [30, 30, 20]);
        assert_eq!(gathered([30, 31]), [30], "the first tells the length");
        assert_eq!(gathered([30, 0]), [30], "an empty one would not be seen");
        assert_eq!(gathered([0, 0]), [0]);
        assert_eq!(gathered(std::iter::repeat_n(8, 100)).len(), COUNT_MAX);
        assert_eq!(gathered(std::iter::repeat_n(5000, 100)), [5000; 3]);
        assert_eq!(gathered([60_000, 1]), [60_000], "a long one goes alone");
    }

    #[test]
    fn a_train_is_used_again() {
        let mut train = Train::default();
        train.add(&mut vec![1; 5]);
        train.add(&mut vec![2; 3]);
        train.clear();
        assert!(train.is_empty() && train.takes(9));
        train.add(&mut vec![3; 9]);
        assert_eq!(train.datagrams(), Datagrams::from(&[3; 9]));
        assert_eq!(train.datagrams().count(), 1);
        assert_eq!(Datagrams::from(&[]).iter().collect::<Vec<_>>(), [&[0u8; 0]]);
    }
}
