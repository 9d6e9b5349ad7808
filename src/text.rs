//! Lines of the files that people write: the configuration and the key.
//!
//! One rule for both of what is a comment and of what editors put at a file's head, so that a
//! person need not remember which file is read how.

use std::fmt::Display;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::Path;

/// Of such a file no more than this is read: a file without an end, or a wrong one, is no reason to
/// run out of memory.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

/// The whole text of the file at `path`.
///
/// # Errors
///
/// A sentence that begins with the path, when the file cannot be read, is not a regular one, is
/// longer than [`FILE_BYTES_MAX`], or is not UTF-8: then with the first line that is not.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let name = path.display();
    let unreadable = |error| format!("{name}: cannot read it: {error}");
    // Opening a pipe would wait for its writer. An opened file is checked again below.
    fs::metadata(path)
        .map_err(unreadable)
        .and_then(|metadata| must_be_regular(&name, &metadata))?;
    let file = File::open(path).map_err(unreadable)?;
    must_be_regular(&name, &file.metadata().map_err(unreadable)?)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "{name}: it is longer than {FILE_BYTES_MAX} bytes, the most that is read of such a \
             file; name the right one"
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        format!("{name}:{line}: this line is not UTF-8 text; write it in UTF-8")
    })
}

fn must_be_regular(name: &impl Display, metadata: &Metadata) -> Result<(), String> {
    if metadata.is_file() {
        return Ok(());
    }
    let what = if metadata.is_dir() { "a directory" } else { "a pipe, a device or a socket" };
    Err(format!("{name}: it is {what}, and not a regular file; name a file"))
}

/// What some editors put at the head of a file: a byte order mark, which says nothing in UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The lines of `text` with their numbers, each cut into words, without blank lines and comments.
///
/// `#` starts a comment at the start of a line or after a blank. Within a word it is a part of the
/// word: a name that was cut there in silence would be another's.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let numbered = (1..).zip(text.lines());
    numbered.map(|(number, line)| (number, words(line))).filter(|(_, words)| !words.is_empty())
}

/// The words of a line, up to the one that starts a comment.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().take_while(|word| !word.starts_with('#')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_or_is_no_text_is_refused_in_a_sentence() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let refused = |path: &Path| read(path).unwrap_err();
        assert!(refused(Path::new("/dev/zero")).contains("/dev/zero: it is a pipe, a device or"));
        assert!(refused(place.path()).contains("it is a directory"));
        assert!(refused(&path("none")).contains("none: cannot read it: "));
        let pipe = path("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        // Nobody writes to it, ever.
        assert!(refused(&pipe).contains("it is a pipe"));
        // It takes no room on the disk, and would in memory.
        let long = path("long");
        File::create(&long).unwrap().set_len(2 << 30).unwrap();
        assert!(refused(&long).contains("longer than 1048576 bytes"));
        File::options().write(true).open(&long).unwrap().set_len(FILE_BYTES_MAX).unwrap();
        assert_eq!(read(&long).unwrap().len(), 1 << 20);
        let latin = path("latin");
        fs::write(&latin, b"ttl 0\r\n# so\n# \xe9t\xe9\n").unwrap();
        let said = format!("{}:3: this line is not UTF-8 text", latin.display());
        assert!(refused(&latin).starts_with(&said), "{}", refused(&latin));
    }

    #[test]
    fn a_comment_starts_at_a_line_or_after_a_blank() {
        for (line, expected) in [
            ("cluster team#2", &["cluster", "team#2"][..]),
            ("cluster team #2", &["cluster", "team"]),
            ("cluster team\t#2", &["cluster", "team"]),
            ("cluster team# 2", &["cluster", "team#", "2"]),
            ("data /srv/c#/x # and so on", &["data", "/srv/c#/x"]),
            ("# cluster team", &[]),
            ("#cluster team", &[]),
            ("  # cluster", &[]),
            ("ttl 1 ##", &["ttl", "1"]),
        ] {
            assert_eq!(words(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_counts_at_the_head_alone() {
        let mark = BYTE_ORDER_MARK;
        let read: Vec<_> = lines(&format!("{mark}ttl 0\r\n\r\n{mark}ttl 1\n"))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|(number, words)| (number, words.join(" ")))
            .collect();
        assert_eq!(read, [(1, "ttl 0".to_owned()), (3, format!("{mark}ttl 1"))]);
        assert!(lines(&format!("{mark}# a comment\n")).next().is_none());
    }
}
