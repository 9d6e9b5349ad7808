//! Who gave the values of a run their instances? The run records it beside its results.
//!
//! Results alone do not say it, and results of leader-assigned values would not pass as those of
//! clients that chose their instances. `bash/run.sh` writes `run.txt`, a line `client ID MODE
//! CHECKSUM BYTES` for each client: its first instance or `auto`, and the `cksum` of its input. So
//! a record of other inputs than the present ones is ignored.

use std::path::Path;

use super::files::{Content, Unusable};
use crate::protocol::message::Assignment;
use crate::protocol::types::Instance;
use crate::text::lines;

/// The record's name.
pub const RUN_FILE: &str = "run.txt";

/// How client `id` had its instances assigned when it was fed `fed`, if `folder` has a record of
/// it.
///
/// # Errors
///
/// When the record cannot be read or understood.
pub fn recorded(folder: &Path, id: u32, fed: &[u8]) -> Result<Option<Assignment>, Unusable> {
    if !folder.join(RUN_FILE).exists() {
        return Ok(None);
    }
    let content = Content::read(folder, RUN_FILE)?;
    let text = String::from_utf8_lossy(&content.bytes);
    for (number, words) in lines(&text) {
        let [client, assignment, sum, bytes] = parse(&words).ok_or_else(|| {
            let path = content.path.display();
            Unusable(format!(
                "{path}:{number}: this is not a line of a run's record; remove the file, and say \
                 the first instance of each client instead"
            ))
        })?;
        if (client, sum, bytes) == (u64::from(id), cksum(fed), fed.len() as u64) {
            return Ok(Some(match assignment {
                0 => Assignment::Leader,
                first => Assignment::Client { first: Instance(first) },
            }));
        }
    }
    Ok(None)
}

/// The numbers of a line: the client, its first instance or 0 for `auto`, checksum and bytes.
fn parse(words: &[&str]) -> Option<[u64; 4]> {
    let ["client", client, first, sum, bytes] = words else { return None };
    let first = match *first {
        "auto" => 0,
        first => first.parse().ok().filter(|first| *first > 0)?,
    };
    Some([client.parse().ok()?, first, sum.parse().ok()?, bytes.parse().ok()?])
}

/// The checksum of POSIX's `cksum`, which every system has a command for.
fn cksum(bytes: &[u8]) -> u64 {
    let length = (bytes.len() as u64).to_le_bytes();
    let used = length.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let sum = bytes.iter().chain(&length[..used]).fold(0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            if sum >> 31 == 1 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 }
        })
    });
    u64::from(!sum)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_command() {
        // printf '' | cksum, and so on.
        assert_eq!(cksum(b""), 4_294_967_295);
        assert_eq!(cksum(b"123456789"), 930_766_865);
        assert_eq!(cksum(&[b'x'; 300]), 3_786_917_833);
    }

    #[test]
    fn a_record_counts_for_the_values_that_it_was_made_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert_eq!(recorded(path, 1, b"a\n"), Ok(None));
        let line = |id: u32, mode: &str, fed: &[u8]| {
            format!("client {id} {mode} {} {}\n", cksum(fed), fed.len())
        };
        let text = format!("# a run\n{}{}", line(1, "auto", b"a\n"), line(2, "7", b"b\n"));
        fs::write(path.join(RUN_FILE), &text).unwrap();
        assert_eq!(recorded(path, 1, b"a\n"), Ok(Some(Assignment::Leader)));
        let from_7 = Assignment::Client { first: Instance(7) };
        assert_eq!(recorded(path, 2, b"b\n"), Ok(Some(from_7)));
        // Other values, another client, a client that the run had not.
        for (id, fed) in [(1, &b"c\n"[..]), (2, b"a\n"), (3, b"a\n"), (1, b"a\na\n")] {
            assert_eq!(recorded(path, id, fed), Ok(None));
        }
        for bad in ["client 1 maybe 1 1", "client 1 0 1 1", "client 1 auto 1", "run 1 auto 1 1"] {
            fs::write(path.join(RUN_FILE), format!("# a run\n{bad}\n")).unwrap();
            let error = recorded(path, 1, b"a\n").unwrap_err().0;
            assert!(error.contains("run.txt:2: this is not a line of a run's record"), "{error}");
        }
    }
}
