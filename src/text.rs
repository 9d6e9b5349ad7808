//! Lines of the files that people write: the configuration and the key.
//!
//! One rule for both of what is a comment and of what editors put at a file's head, so that a
//! person need not remember which file is read how.

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
