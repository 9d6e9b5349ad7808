//! Standard input that comes in pieces.

use std::io::{self, Read};

use super::bytes::Bytes;
use crate::protocol::actor::Input;
use crate::runtime::stdin::{InputFailure, LineLimit, Lines};

/// An input whose reads give as many bytes as `sizes` says, over and over. Size 0 is an
/// interrupted read, and 255 one that fails for good.
struct Pieces<'a> {
    data: Bytes<'a>,
    sizes: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    read: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.sizes.next().copied().unwrap_or(64) {
            0 => Err(io::ErrorKind::Interrupted.into()),
            255 => Err(io::Error::other("the disk is gone")),
            size => {
                let piece = self.data.take(usize::from(size).min(buffer.len()));
                buffer[..piece.len()].copy_from_slice(piece);
                self.read += piece.len();
                Ok(piece.len())
            }
        }
    }
}

/// The bytes: the longest value, how many read sizes, those, and the input. However it is cut,
/// each line is exactly one value, up to the first that is too long or cannot be read.
pub fn input_lines(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let value_bytes = usize::from(bytes.byte());
    let count = usize::from(bytes.below(16));
    let sizes = bytes.take(count);
    if !sizes.is_empty() && sizes.iter().all(|size| *size == 0) {
        return; // It would be interrupted for ever.
    }
    let text = bytes.rest();
    let pieces = Pieces { data: Bytes::new(text), sizes: sizes.iter().cycle(), read: 0 };
    let limit = LineLimit { bytes: value_bytes, auto_bytes: None };
    let mut lines = Lines::new(pieces, limit);
    let mut values = Vec::new();
    let failure = loop {
        let mut batch = Vec::new();
        let more = lines.read_batch(&mut batch);
        assert!(!matches!(more, Ok(true)) || !batch.is_empty(), "a batch without a value");
        for input in batch {
            let Input::Value(value) = input else { panic!("the end is for the thread to say") };
            values.push(value);
        }
        match more {
            Ok(true) => {}
            Ok(false) => break None,
            Err(failure) => break Some(failure),
        }
    };
    // What it should have returned, given what it read.
    let read = &text[..lines.input().read];
    let mut expected: Vec<&[u8]> = read.split(|byte| *byte == b'\n').collect();
    let too_long = expected.iter().position(|line| line.len() > value_bytes);
    match failure {
        None => {
            assert!(too_long.is_none() && read == text, "what cannot be used goes unnoticed");
            // Nothing after the last newline is no line.
            expected.pop_if(|line| line.is_empty());
        }
        Some(InputFailure::TooLong { line, limit, .. }) => {
            assert_eq!(limit, value_bytes);
            assert_eq!(too_long.map(|index| index as u64 + 1), Some(line));
            expected.truncate(too_long.unwrap_or_default());
        }
        Some(InputFailure::Read { line, .. }) => {
            assert!(sizes.contains(&255) && too_long.is_none());
            assert_eq!(line, expected.len() as u64);
            expected.pop();
        }
    }
    assert!(values.iter().map(|value| value.as_bytes()).eq(expected));
}
