//! Random numbers from the operating system, for what must never repeat: boot numbers, and the
//! seeds of runs that were given none. Roles never come here; they are handed what they need.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

/// Where the numbers come from.
const SOURCE: &str = "/dev/urandom";

/// 64 random bits.
///
/// # Errors
///
/// When the operating system has no random numbers to give. A process must not start then: a boot
/// number that repeats would let a ballot repeat.
pub fn random_u64() -> Result<u64, NoEntropy> {
    read_u64(SOURCE)
}

/// Random bytes, good enough for a key.
///
/// # Errors
///
/// As above.
pub fn random_bytes<const COUNT: usize>() -> Result<[u8; COUNT], NoEntropy> {
    read(SOURCE)
}

fn read_u64(path: &'static str) -> Result<u64, NoEntropy> {
    read(path).map(u64::from_le_bytes)
}

fn read<const COUNT: usize>(path: &'static str) -> Result<[u8; COUNT], NoEntropy> {
    let mut bytes = [0; COUNT];
    File::open(path)
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| NoEntropy { path, error })?;
    Ok(bytes)
}

/// The operating system gave no random numbers.
#[derive(Debug)]
pub struct NoEntropy {
    path: &'static str,
    error: io::Error,
}

impl fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoEntropy { path, error } = self;
        write!(f, "{path}: {error}; boot numbers and keys come from there, so make it readable")
    }
}

impl std::error::Error for NoEntropy {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_repeat() {
        assert_ne!(random_u64().unwrap(), random_u64().unwrap());
    }

    #[test]
    fn a_source_that_is_not_there_is_named() {
        let sentence = read_u64("/nowhere/random").unwrap_err().to_string();
        assert!(sentence.starts_with("/nowhere/random: No such file"), "{sentence}");
        // A source that ends is no better.
        assert!(read_u64("/dev/null").is_err());
    }
}
