//! Random numbers from the operating system, for numbers that must never repeat: boot numbers, and
//! the seeds of runs that were given none. Roles never call this; they are handed what they need.
//!
//! The kernel is asked by getrandom(2), which waits until its pool is seeded. A file such as
//! /dev/urandom does not: two copies of one machine image that boot at the same time could read
//! the same number there, and a ballot would repeat.

use std::fmt;

/// 64 random bits.
///
/// # Errors
///
/// When the operating system has no random numbers to give. A process must not start then: a boot
/// number that repeats would let a ballot repeat.
pub fn random_u64() -> Result<u64, NoEntropy> {
    random_bytes().map(u64::from_le_bytes)
}

/// Random bytes, good enough for a key.
///
/// # Errors
///
/// As above.
pub fn random_bytes<const COUNT: usize>() -> Result<[u8; COUNT], NoEntropy> {
    let mut bytes = [0; COUNT];
    getrandom::fill(&mut bytes).map_err(NoEntropy)?;
    Ok(bytes)
}

/// The operating system gave no random numbers.
#[derive(Debug)]
pub struct NoEntropy(getrandom::Error);

impl fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoEntropy(error) = self;
        write!(
            f,
            "the system gives no random numbers ({error}), of which boot numbers and keys are \
             made: allow the system call getrandom and start again"
        )
    }
}

impl std::error::Error for NoEntropy {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_do_not_repeat() {
        let numbers: BTreeSet<u64> = (0..1000).map(|_| random_u64().unwrap()).collect();
        assert_eq!(numbers.len(), 1000);
        assert_ne!(random_bytes::<32>().unwrap(), [0; 32]);
    }

    #[test]
    fn a_refusal_is_one_sentence_with_its_reason_and_a_cure() {
        let sentence = NoEntropy(getrandom::Error::UNSUPPORTED).to_string();
        assert!(sentence.contains("no random numbers (") && !sentence.contains('\n'), "{sentence}");
        assert!(sentence.contains("allow the system call getrandom"), "{sentence}");
    }
}
