//! Random values, to feed clients with.

use std::io::{self, BufWriter, Write};

use crate::rng::Rng;

/// Writes `count` values from `seed`, one a line: 16 hexadecimal digits, so that equal values are
/// unlikely in any run.
pub fn generate(count: u64, seed: u64, output: impl Write) -> io::Result<()> {
    let mut rng = Rng::new(seed);
    let mut output = BufWriter::new(output);
    for _ in 0..count {
        writeln!(output, "{:016x}", rng.next_u64())?;
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ_and_follow_from_the_seed() {
        let lines = |seed| {
            let mut text = Vec::new();
            generate(1000, seed, &mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        let distinct: std::collections::BTreeSet<String> =
            lines(1).lines().map(str::to_owned).collect();
        assert_eq!(distinct.len(), 1000);
        assert_eq!(lines(1), lines(1));
        assert_ne!(lines(1), lines(2));
    }
}
