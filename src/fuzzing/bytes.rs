//! Bytes as a source of choices: what a fuzzer changes, a test case changes with it.

/// What is left of the bytes. Past their end every choice is the first.
pub struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Bytes { rest: bytes }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// A number in `0..bound`.
    pub fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    /// Whether the next bit is set.
    pub fn chance(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// The next two bytes as a number.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number from 1: mostly small, now and then as large as they get.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..224 => 1 + u64::from(small % 32),
            224..240 => 1 + u64::from(self.short()),
            high @ 240..248 => 1 << (8 * u32::from(high % 8)),
            last => u64::MAX - u64::from(last % 8),
        }
    }

    /// The next `length` bytes, or as many as there are.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Everything that is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }
}
