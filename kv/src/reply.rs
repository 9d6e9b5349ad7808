//! The answers to clients, and how they are written in either version of the protocol.

/// An answer, before it is known in which version of the protocol it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A word of the server, as `OK`.
    Simple(&'static str),
    /// An error: a code, a blank and a sentence. It has no line breaks.
    Error(String),
    /// A number.
    Integer(i64),
    /// Any bytes.
    Bulk(Vec<u8>),
    /// A text for people.
    Text(String),
    /// There is no such value.
    Null,
    /// There is no such list, which the older version writes in a form of its own.
    NullArray,
    /// Several answers.
    Array(Vec<Reply>),
    /// Answers without an order.
    Set(Vec<Reply>),
    /// Answers by name. The older version writes them one after the other.
    Map(Vec<(Reply, Reply)>),
    /// An answer that is left out, because those to what came with it have more bytes than may wait
    /// for a client: its connection is closed.
    TooMuch,
}

/// A connection with more unread output is closed, so answers that are made together need not be
/// longer.
pub const OUTPUT_BYTES_MAX: usize = 256 << 20;

/// Where several clients' answers are made together, one this short is always given: whoever asks
/// for little shall not be closed because another has asked for too much.
const SHORT_BYTES: usize = 1 << 10;

/// About how many bytes an answer has beside its text.
const HEAD_BYTES: usize = 12;

/// The room for answers that are made together.
#[derive(Debug)]
pub struct Room(usize);

impl Default for Room {
    fn default() -> Room {
        Room(OUTPUT_BYTES_MAX)
    }
}

impl Room {
    /// The answer, if it is short or there is room for it.
    pub fn take(&mut self, reply: Reply) -> Reply {
        let bytes = reply.bytes();
        match self.0.checked_sub(bytes) {
            Some(rest) => {
                self.0 = rest;
                reply
            }
            None if bytes <= SHORT_BYTES => reply,
            None => Reply::TooMuch,
        }
    }
}

/// The versions of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What a connection begins with.
    #[default]
    Resp2,
    /// What `HELLO 3` asks for.
    Resp3,
}

impl Reply {
    /// `+OK`.
    pub const OK: Reply = Reply::Simple("OK");

    /// An error of the usual kind.
    pub fn error(sentence: impl AsRef<str>) -> Reply {
        Reply::Error(format!("ERR {}", sentence.as_ref()))
    }

    /// A bulk of `bytes`, or null.
    pub fn bulk_or_null(bytes: Option<&[u8]>) -> Reply {
        bytes.map_or(Reply::Null, Reply::bulk)
    }

    /// A copy of these bytes.
    pub fn bulk(bytes: &[u8]) -> Reply {
        Reply::Bulk(bytes.to_vec())
    }

    /// 1 or 0.
    pub fn truth(holds: bool) -> Reply {
        Reply::Integer(i64::from(holds))
    }

    /// These answers in one, unless they have too many bytes together.
    pub fn array(replies: impl Iterator<Item = Reply>) -> Reply {
        let mut room = Room::default();
        let mut all = Vec::new();
        for reply in replies {
            match room.take(reply) {
                Reply::TooMuch => return Reply::TooMuch,
                reply => all.push(reply),
            }
        }
        Reply::Array(all)
    }

    /// About how many bytes it has when it is written.
    fn bytes(&self) -> usize {
        let own = match self {
            Reply::Error(text) | Reply::Text(text) => text.len(),
            Reply::Bulk(bytes) => bytes.len(),
            Reply::Array(replies) | Reply::Set(replies) => replies.iter().map(Reply::bytes).sum(),
            Reply::Map(pairs) => pairs.iter().map(|(name, of)| name.bytes() + of.bytes()).sum(),
            Reply::Simple(_)
            | Reply::Integer(_)
            | Reply::Null
            | Reply::NullArray
            | Reply::TooMuch => 0,
        };
        HEAD_BYTES + own
    }

    /// A count of things in memory.
    pub fn count(count: usize) -> Reply {
        Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Writes it behind what `out` has.
    pub fn write(&self, protocol: Protocol, out: &mut Vec<u8>) {
        let is_new = protocol == Protocol::Resp3;
        match self {
            Reply::Simple(word) => line(b'+', word.as_bytes(), out),
            Reply::Error(sentence) => line(b'-', sentence.as_bytes(), out),
            Reply::Integer(number) => line(b':', number.to_string().as_bytes(), out),
            Reply::Bulk(bytes) => bulk(b'$', b"", bytes, out),
            Reply::Text(text) if is_new => bulk(b'=', b"txt:", text.as_bytes(), out),
            Reply::Text(text) => bulk(b'$', b"", text.as_bytes(), out),
            // Nobody reads any more.
            Reply::TooMuch => {}
            Reply::Null | Reply::NullArray if is_new => out.extend_from_slice(b"_\r\n"),
            Reply::Null => out.extend_from_slice(b"$-1\r\n"),
            Reply::NullArray => out.extend_from_slice(b"*-1\r\n"),
            Reply::Array(replies) => all(b'*', replies, protocol, out),
            Reply::Set(replies) => all(if is_new { b'~' } else { b'*' }, replies, protocol, out),
            Reply::Map(pairs) => {
                let (mark, count) =
                    if is_new { (b'%', pairs.len()) } else { (b'*', 2 * pairs.len()) };
                line(mark, count.to_string().as_bytes(), out);
                for (name, reply) in pairs {
                    name.write(protocol, out);
                    reply.write(protocol, out);
                }
            }
        }
    }
}

fn all(mark: u8, replies: &[Reply], protocol: Protocol, out: &mut Vec<u8>) {
    line(mark, replies.len().to_string().as_bytes(), out);
    for reply in replies {
        reply.write(protocol, out);
    }
}

fn line(mark: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(mark);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn bulk(mark: u8, before: &[u8], bytes: &[u8], out: &mut Vec<u8>) {
    line(mark, (before.len() + bytes.len()).to_string().as_bytes(), out);
    out.extend_from_slice(before);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply, protocol: Protocol) -> String {
        let mut out = Vec::new();
        reply.write(protocol, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_version_has_its_own_forms() {
        let map = Reply::Map(vec![(Reply::bulk(b"a"), Reply::Null)]);
        let set = Reply::Set(vec![Reply::Integer(-7), Reply::NullArray]);
        let text = Reply::Text("ab".to_owned());
        let all = Reply::Array(vec![map, set, text, Reply::OK, Reply::error("no")]);
        let old =
            "*5\r\n*2\r\n$1\r\na\r\n$-1\r\n*2\r\n:-7\r\n*-1\r\n$2\r\nab\r\n+OK\r\n-ERR no\r\n";
        let new =
            "*5\r\n%1\r\n$1\r\na\r\n_\r\n~2\r\n:-7\r\n_\r\n=6\r\ntxt:ab\r\n+OK\r\n-ERR no\r\n";
        assert_eq!(written(&all, Protocol::Resp2), old);
        assert_eq!(written(&all, Protocol::Resp3), new);
    }
}
