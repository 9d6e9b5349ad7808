//! Requests out of the bytes of a connection.
//!
//! This module decides whether a request is complete and within the limits, with the errors of
//! Redis; then redis-protocol parses it. A line that does not begin with `*` is a request as people
//! type it.

use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

/// The most words of a request.
const WORDS_MAX: i64 = 1 << 20;
/// The longest line of lengths, and of a request as people type it.
const LINE_MAX: usize = 64 << 10;

/// A request: a command and its words.
pub type Request = Vec<Vec<u8>>;

/// How far the request at the head of the bytes is known to go, so that a long one is not looked
/// through again with every piece that arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes are looked through.
    looked: usize,
    /// How many words there are yet to come; none before their number is known.
    words: Option<i64>,
}

/// What the bytes hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A request, and how many bytes it takes. It may have no words, and wants no answer then.
    Request(Request, usize),
    /// More bytes are needed.
    Partial,
    /// There is no way to know where the next request begins: the error, after which the
    /// connection ends.
    Broken(String),
}

/// Reads the request at the head of `bytes`. No word of it may be longer than `longest`, nor the
/// request as a whole.
pub fn parse(bytes: &[u8], progress: &mut Progress, longest: usize) -> Parsed {
    if bytes.is_empty() {
        return Parsed::Partial;
    }
    let parsed = if bytes[0] == b'*' {
        whole(bytes, progress, longest).map(|end| end.map(|end| (taken_apart(&bytes[..end]), end)))
    } else {
        typed(bytes)
    };
    match parsed {
        Ok(None) => Parsed::Partial,
        Ok(Some((Some(request), end))) => {
            *progress = Progress::default();
            Parsed::Request(request, end)
        }
        Ok(Some((None, _))) => broken("unbalanced request"),
        Err(error) => error,
    }
}

fn broken(error: &str) -> Parsed {
    Parsed::Broken(format!("ERR Protocol error: {error}"))
}

/// Where the request ends, if it is complete.
fn whole(bytes: &[u8], progress: &mut Progress, longest: usize) -> Result<Option<usize>, Parsed> {
    let mut words = match progress.words {
        Some(words) => words,
        None => {
            let Some((line, end)) = line(bytes, 0, "too big mbulk count string")? else {
                return Ok(None);
            };
            let words = number(&line[1..]).filter(|words| *words <= WORDS_MAX);
            progress.looked = end;
            words.ok_or_else(|| broken("invalid multibulk length"))?
        }
    };
    while words > 0 {
        progress.words = Some(words);
        let from = progress.looked;
        let Some((head, end)) = line(bytes, from, "too big bulk count string")? else {
            return Ok(None);
        };
        if head.first() != Some(&b'$') {
            let got = head.first().copied().unwrap_or(b'\r') as char;
            return Err(broken(&format!("expected '$', got '{got}'")));
        }
        let length = number(&head[1..]).and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| end + length <= longest);
        let length = length.ok_or_else(|| broken("invalid bulk length"))?;
        if bytes.len() < end + length + 2 {
            return Ok(None);
        }
        progress.looked = end + length + 2;
        words -= 1;
    }
    progress.words = Some(words);
    Ok(Some(progress.looked))
}

/// The line that begins at `from`, without its end, and where the next one begins.
fn line<'a>(
    bytes: &'a [u8],
    from: usize,
    too_long: &str,
) -> Result<Option<(&'a [u8], usize)>, Parsed> {
    let rest = &bytes[from..];
    match rest.iter().take(LINE_MAX).position(|byte| *byte == b'\r') {
        Some(length) if rest.len() > length + 1 => Ok(Some((&rest[..length], from + length + 2))),
        None if rest.len() >= LINE_MAX => Err(broken(too_long)),
        Some(_) | None => Ok(None),
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}

/// The words of a request that is known to be complete.
fn taken_apart(bytes: &[u8]) -> Option<Request> {
    // A number of words below one is none, which the parser would not take.
    if bytes.get(1) == Some(&b'-') || bytes.get(1) == Some(&b'0') {
        return Some(Vec::new());
    }
    let Ok(Some((RangeFrame::Array(frames), _))) = decode_range(bytes) else { return None };
    let word = |frame: &RangeFrame| match frame {
        RangeFrame::BulkString((from, until)) => Some(bytes[*from..*until].to_vec()),
        _ => None,
    };
    frames.iter().map(word).collect()
}

/// A line of words between blanks, some of them perhaps in quotes.
fn typed(bytes: &[u8]) -> Result<Option<(Option<Request>, usize)>, Parsed> {
    let Some(end) = bytes.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else {
        let is_too_long = bytes.len() >= LINE_MAX;
        return if is_too_long { Err(broken("too big inline request")) } else { Ok(None) };
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let words = split(line).ok_or_else(|| broken("unbalanced quotes in request"))?;
    Ok(Some((Some(words), end + 1)))
}

/// Takes a line apart. None if a quote has no end, or no blank behind its end.
fn split(line: &[u8]) -> Option<Request> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        while let Some((first, after)) = rest.split_first() {
            if first.is_ascii_whitespace() {
                break;
            }
            rest = after;
            match first {
                b'"' => rest = double_quoted(rest, &mut word)?,
                b'\'' => rest = single_quoted(rest, &mut word)?,
                plain => {
                    word.push(*plain);
                    continue;
                }
            }
            if rest.first().is_some_and(|next| !next.is_ascii_whitespace()) {
                return None;
            }
        }
        words.push(word);
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).ok()?;
                word.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    plain => *plain,
                });
                rest = after;
            }
            [plain, after @ ..] => {
                word.push(*plain);
                rest = after;
            }
            [] => return None,
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [plain, after @ ..] => {
                word.push(*plain);
                rest = after;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 1 << 16;

    fn parsed(bytes: &[u8]) -> Parsed {
        parse(bytes, &mut Progress::default(), LONGEST)
    }

    fn words(words: &[&str]) -> Request {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_request_is_the_same_however_it_arrives() {
        let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nv\r\nv2\r\nPING\r\n";
        let first = Parsed::Request(words(&["SET", "k", "v\r\nv2"]), bytes.len() - 6);
        let mut progress = Progress::default();
        for end in 0..bytes.len() - 6 {
            assert_eq!(parse(&bytes[..end], &mut progress, LONGEST), Parsed::Partial, "{end}");
        }
        assert_eq!(parse(bytes, &mut progress, LONGEST), first);
        assert_eq!(progress, Progress::default());
        assert_eq!(parsed(bytes), first);
        assert_eq!(parsed(b"PING\r\n"), Parsed::Request(words(&["PING"]), 6));
        assert_eq!(parsed(b"*0\r\n"), Parsed::Request(Vec::new(), 4));
        assert_eq!(parsed(b"*-1\r\n"), Parsed::Request(Vec::new(), 5));
        assert_eq!(parsed(b"*1\r\n$0\r\n\r\n"), Parsed::Request(words(&[""]), 10));
    }

    #[test]
    fn a_typed_line_may_have_quotes() {
        let line = b"  set \"a b\\x41\\n\" 'it\\'s'  \n";
        assert_eq!(parsed(line), Parsed::Request(words(&["set", "a bA\n", "it's"]), line.len()));
        assert_eq!(parsed(b"\r\n"), Parsed::Request(Vec::new(), 2));
    }

    #[test]
    fn what_cannot_be_read_is_called_what_redis_calls_it() {
        for (bytes, error) in [
            (&b"*1\r\n:1\r\n"[..], "expected '$', got ':'"),
            (b"*x\r\n", "invalid multibulk length"),
            (b"*9999999\r\n", "invalid multibulk length"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$99999999999\r\n", "invalid bulk length"),
            (b"*1\r\n*1\r\n", "expected '$', got '*'"),
            (b"get \"a\n", "unbalanced quotes in request"),
            (b"get \"a\"b\n", "unbalanced quotes in request"),
        ] {
            let error = format!("ERR Protocol error: {error}");
            assert_eq!(parsed(bytes), Parsed::Broken(error), "{}", bytes.escape_ascii());
        }
        let long = vec![b'x'; LINE_MAX];
        let error = "ERR Protocol error: too big inline request".to_owned();
        assert_eq!(parsed(&long), Parsed::Broken(error));
    }
}
