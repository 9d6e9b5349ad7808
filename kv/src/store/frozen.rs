//! The store as bytes, for snapshots: everything that a command could tell, and in the same order.
//!
//! ```text
//! store  := version (1 byte), time, changes, removed mark ..., keys, key ...
//! key    := word, version, 0 | 1 expiry, type (1 byte), value
//! value  := word  |  count, word ...  |  count, (word, word) ...
//! word   := length, bytes                                  numbers are 8 bytes, the lowest first
//! ```
//!
//! Version 1 has the same bytes. The program that wrote it knows no entries without a time of their
//! own and would skip them, so it must not go on from a store in which such entries are applied.

use std::io::{self, Read, Write};

use super::{Entry, Hashed, List, MARKS, Members, Store, Value};
use crate::bugs::{self, Bug};

/// The form that this program writes.
const VERSION: u8 = 2;
/// The form of an earlier version, which is read.
const EARLIER: u8 = 1;

/// The longest word, in bytes: longer than any value of the log.
const WORD_BYTES_MAX: u64 = 1 << 32;

const TEXT: u8 = 1;
const HASHED: u8 = 2;
const LIST: u8 = 3;
const MEMBERS: u8 = 4;

impl Store {
    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// As `out` has them.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&[VERSION])?;
        put_number(self.now, out)?;
        put_number(self.changes, out)?;
        self.removed.iter().try_for_each(|mark| put_number(*mark, out))?;
        put_number(self.keys.len() as u64, out)?;
        for (key, Entry { value, expires, version }) in &self.keys {
            put_word(key, out)?;
            put_number(*version, out)?;
            out.write_all(&[u8::from(expires.is_some())])?;
            expires.iter().try_for_each(|when| put_number(*when, out))?;
            write_value(value, out)?;
        }
        Ok(())
    }

    /// Becomes the store that [`Store::write`] wrote: nothing of its old content is left.
    ///
    /// # Errors
    ///
    /// When it was written by nobody, or not to its end; then nothing has changed.
    pub fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let restored = Store::read(from)?;
        if bugs::has(Bug::RestoreMerges) {
            self.keys.extend(restored.keys);
        } else if !bugs::has(Bug::AnswersFromBeforeSnapshot) {
            *self = restored;
        }
        Ok(())
    }

    fn read(from: &mut dyn Read) -> io::Result<Store> {
        let version = byte(from)?;
        if version != VERSION && version != EARLIER {
            return Err(wrong(&format!(
                "its form is number {version}, and this program knows {EARLIER} and {VERSION}; use \
                 a newer one"
            )));
        }
        let mut store = Store { now: number(from)?, changes: number(from)?, ..Store::default() };
        store.removed = (0..MARKS).map(|_| number(from)).collect::<io::Result<_>>()?;
        for _ in 0..number(from)? {
            let (key, version) = (word(from)?.into_boxed_slice(), number(from)?);
            let expires = match byte(from)? {
                0 => None,
                1 => Some(number(from)?),
                _ => return Err(wrong("a key has an expiry of no known form")),
            };
            let value = read_value(from)?;
            if let Some(when) = expires {
                store.expiries.insert((when, key.clone()));
            }
            if store.keys.insert(key, Entry { value, expires, version }).is_some() {
                return Err(wrong("a key stands there twice"));
            }
        }
        match from.read(&mut [0])? {
            0 => Ok(store),
            _ => Err(wrong("something stands behind the last key")),
        }
    }
}

fn write_value(value: &Value, out: &mut dyn Write) -> io::Result<()> {
    let mut begin = |kind, count: usize| {
        out.write_all(&[kind])?;
        put_number(count as u64, out)
    };
    match value {
        Value::Text(text) => {
            begin(TEXT, text.len())?;
            out.write_all(text)
        }
        Value::Hashed(fields) => {
            begin(HASHED, fields.len())?;
            fields.iter().try_for_each(|(field, text)| {
                put_word(field, out)?;
                put_word(text, out)
            })
        }
        Value::List(elements) => {
            begin(LIST, elements.len())?;
            elements.iter().try_for_each(|element| put_word(element, out))
        }
        Value::Members(members) => {
            begin(MEMBERS, members.len())?;
            members.iter().try_for_each(|member| put_word(member, out))
        }
    }
}

fn read_value(from: &mut dyn Read) -> io::Result<Value> {
    let kind = byte(from)?;
    if kind == TEXT {
        return word(from).map(Value::Text);
    }
    let count = number(from)?;
    Ok(match kind {
        HASHED => {
            let mut field = || Ok((word(from)?.into_boxed_slice(), word(from)?));
            Value::Hashed((0..count).map(|_| field()).collect::<io::Result<Hashed>>()?)
        }
        LIST => Value::List((0..count).map(|_| word(from)).collect::<io::Result<List>>()?),
        MEMBERS => {
            let mut member = || word(from).map(Vec::into_boxed_slice);
            Value::Members((0..count).map(|_| member()).collect::<io::Result<Members>>()?)
        }
        _ => return Err(wrong("a value is of no known type")),
    })
}

fn put_number(number: u64, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&number.to_le_bytes())
}

fn put_word(word: &[u8], out: &mut dyn Write) -> io::Result<()> {
    put_number(word.len() as u64, out)?;
    out.write_all(word)
}

fn byte(from: &mut dyn Read) -> io::Result<u8> {
    Ok(bytes::<1>(from)?[0])
}

fn number(from: &mut dyn Read) -> io::Result<u64> {
    bytes(from).map(u64::from_le_bytes)
}

fn bytes<const COUNT: usize>(from: &mut dyn Read) -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    match from.read_exact(&mut bytes) {
        // The system's own words for it would say nothing of a store.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(wrong("it ends too early"))
        }
        Err(error) => Err(error),
        Ok(()) => Ok(bytes),
    }
}

/// It takes no more memory than there are bytes to read.
fn word(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let length = number(from)?;
    let mut word = Vec::new();
    if length > WORD_BYTES_MAX || from.take(length).read_to_end(&mut word)? as u64 != length {
        return Err(wrong("it ends in a word"));
    }
    Ok(word)
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this is not the state of a store: {what}"))
}
