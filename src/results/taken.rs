//! How far the reader of a learner's output has come, according to a file.
//!
//! The last line of the file begins with the position of the last value that was taken. So it is
//! either the output itself, if that goes to a file, or whatever the reader stores besides what it
//! made of the value. A value becomes one taken as its line becomes whole: that is why a file that
//! ends inside a line is refused, and not guessed at.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use crate::protocol::types::Instance;

/// How much is read at once, from the end of the file to its beginning.
const BLOCK: usize = 64 * 1024;

/// The position of the last value that was taken; none if the file is missing or empty.
///
/// # Errors
///
/// When the file cannot be read, ends inside a line, or its last line begins with no position.
pub fn last_taken(path: &Path) -> Result<Option<Instance>, String> {
    let shown = path.display();
    let cannot = |error| format!("{shown}: {error}; leave --resume away to begin at --from");
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let length = file.seek(SeekFrom::End(0)).map_err(cannot)?;
    if length == 0 {
        return Ok(None);
    }
    let mut last = [0];
    read_at(&mut file, length - 1, &mut last).map_err(cannot)?;
    if last != *b"\n" {
        let whole = line_start(&mut file, length).map_err(cannot)?;
        return Err(format!(
            "{shown}: its last line is not whole; if it is the learner's output, cut it with \
             `truncate -s {whole} '{shown}'`, and if it is a position, write a newline behind it"
        ));
    }
    let start = line_start(&mut file, length - 1).map_err(cannot)?;
    let mut head = [0; 32];
    let count = (length - start).min(head.len() as u64) as usize;
    read_at(&mut file, start, &mut head[..count]).map_err(cannot)?;
    position(&head[..count]).map(Some).ok_or_else(|| {
        format!(
            "{shown}: its last line begins with no position, as each line of --positions does; \
             leave --resume away, or name the file that has them"
        )
    })
}

/// The number at the start of a line, before a tab or the line's end.
fn position(line: &[u8]) -> Option<Instance> {
    let end = line.iter().position(|byte| matches!(byte, b'\t' | b'\n'))?;
    let number = str::from_utf8(&line[..end]).ok()?;
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| is_plain).map(Instance)
}

/// Where the line begins that ends at `end`: behind the last newline before that.
fn line_start(file: &mut File, end: u64) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut end = end;
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let block = &mut block[..(end - start) as usize];
        read_at(file, start, block)?;
        if let Some(place) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn read_at(file: &mut File, place: u64, bytes: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn of(bytes: &[u8]) -> Result<Option<Instance>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::write(&path, bytes).unwrap();
        let answer = last_taken(&path);
        answer.map_err(|why| why.replace(&path.display().to_string(), "taken"))
    }

    #[test]
    fn the_last_whole_line_counts() {
        assert_eq!(of(b""), Ok(None));
        assert_eq!(of(b"7\n"), Ok(Some(Instance(7))));
        assert_eq!(of(b"0\n"), Ok(Some(Instance(0))));
        assert_eq!(of(b"1\tone\n4\t9 and\tmore\n"), Ok(Some(Instance(4))));
        let long = [b"3\tx\n12\t".to_vec(), vec![b'y'; 3 * BLOCK + 5], b"\n".to_vec()].concat();
        assert_eq!(of(&long), Ok(Some(Instance(12))));
        // The newline before the line is the last byte of a block.
        for more in [BLOCK - 4, BLOCK - 3, BLOCK - 2] {
            let line = [b"3\tx\n5\t".to_vec(), vec![b'y'; more], b"\n".to_vec()].concat();
            assert_eq!(of(&line), Ok(Some(Instance(5))));
        }
        assert_eq!(last_taken(Path::new("/nowhere/at/all")), Ok(None));
    }

    #[test]
    fn what_is_no_position_is_refused_with_a_cure() {
        assert!(of(b"1\tone\n2\tt").unwrap_err().contains("`truncate -s 6 'taken'`"));
        assert!(of(b"15").unwrap_err().contains("write a newline behind it"));
        for line in ["one\n", "\n", "+1\tx\n", "-1\n", "1 one\n", "99999999999999999999\tx\n"] {
            assert!(of(line.as_bytes()).unwrap_err().contains("begins with no position"), "{line}");
        }
        assert!(last_taken(Path::new("/")).unwrap_err().contains("leave --resume away"));
    }
}
