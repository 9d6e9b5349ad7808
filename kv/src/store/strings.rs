//! Strings.

// The functions have the names of the commands, which command.rs describes.
#![allow(missing_docs)]

use super::numbers::{Float, whole};
use super::{Answer, Fault, Store, Text, Value, Words};
use crate::reply::Reply;

/// The longest string, in bytes.
const LONGEST: usize = 512 << 20;

/// A number of seconds or milliseconds, from now or from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct When<'a> {
    text: &'a [u8],
    is_seconds: bool,
    is_from_now: bool,
}

impl When<'_> {
    /// The time in milliseconds since 1970. It must not be before that.
    fn read(self, now: u64, command: &str) -> Result<u64, Fault> {
        let invalid = || Fault(format!("ERR invalid expire time in '{command}' command"));
        let number = whole(self.text)?;
        if number <= 0 {
            return Err(invalid());
        }
        let scale = if self.is_seconds { 1000 } else { 1 };
        let base = if self.is_from_now { now as i64 } else { 0 };
        let time = number.checked_mul(scale).and_then(|time| time.checked_add(base));
        time.map(|time| time as u64).ok_or_else(invalid)
    }
}

/// What stands behind the value of SET and the key of GETEX.
#[derive(Default)]
struct Options<'a> {
    only_new: bool,
    only_old: bool,
    gets: bool,
    keeps: bool,
    persists: bool,
    when: Option<When<'a>>,
}

impl<'a> Options<'a> {
    fn read(words: &[&'a [u8]], is_set: bool) -> Result<Options<'a>, Fault> {
        let mut options = Options::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let word = word.to_ascii_lowercase();
            let has_when = options.when.map(|when| (when.is_seconds, when.is_from_now));
            match &word[..] {
                b"nx" if is_set && !options.only_old => options.only_new = true,
                b"xx" if is_set && !options.only_new => options.only_old = true,
                b"get" if is_set => options.gets = true,
                b"keepttl" if is_set && has_when.is_none() => options.keeps = true,
                b"persist" if !is_set && has_when.is_none() => options.persists = true,
                b"ex" | b"px" | b"exat" | b"pxat" if !options.keeps && !options.persists => {
                    let (is_seconds, is_from_now) = (word[0] == b'e', word.len() == 2);
                    let is_other = has_when.is_some_and(|has| has != (is_seconds, is_from_now));
                    let Some(text) = rest.next().filter(|_| !is_other) else {
                        return Err("syntax error".into());
                    };
                    options.when = Some(When { text, is_seconds, is_from_now });
                }
                _ => return Err("syntax error".into()),
            }
        }
        Ok(options)
    }
}

impl Store {
    fn text(&self, key: &[u8]) -> Result<Option<&Text>, Fault> {
        Store::get(self, key)
    }

    fn old(&self, key: &[u8]) -> Answer {
        Ok(Reply::bulk_or_null(self.text(key)?.map(Vec::as_slice)))
    }

    fn put_text(&mut self, key: &[u8], text: &[u8]) {
        self.put(key, Value::Text(text.to_vec()));
    }
}

pub fn get(store: &Store, words: &Words) -> Answer {
    store.old(words[1])
}

pub fn mget(store: &Store, words: &Words) -> Answer {
    let value = |key: &&[u8]| store.old(key).unwrap_or(Reply::Null);
    Ok(Reply::array(words[1..].iter().map(value)))
}

pub fn strlen(store: &Store, words: &Words) -> Answer {
    Ok(Reply::count(store.text(words[1])?.map_or(0, Vec::len)))
}

pub fn getrange(store: &Store, words: &Words) -> Answer {
    let (start, end) = (whole(words[2])?, whole(words[3])?);
    let Some(text) = store.text(words[1])? else { return Ok(Reply::bulk(b"")) };
    let length = text.len() as i64;
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::bulk(b""));
    }
    let from_end = |place: i64| if place < 0 { (place + length).max(0) } else { place };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    if start > end || length == 0 {
        return Ok(Reply::bulk(b""));
    }
    Ok(Reply::bulk(&text[start as usize..=end as usize]))
}

pub fn set(store: &mut Store, words: &Words) -> Answer {
    let (key, text) = (words[1], words[2]);
    let options = Options::read(&words[3..], true)?;
    let when = options.when.map(|when| when.read(store.now, "set")).transpose()?;
    let old = if options.gets { Some(store.old(key)?) } else { None };
    let is_there = store.has(key);
    if options.only_new && is_there || options.only_old && !is_there {
        return Ok(old.unwrap_or(Reply::Null));
    }
    if options.keeps {
        store.put_for_as_long(key, Value::Text(text.to_vec()));
    } else {
        store.put_text(key, text);
    }
    if when.is_some() {
        store.expire(key, when);
    }
    Ok(old.unwrap_or(Reply::OK))
}

pub fn setnx(store: &mut Store, words: &Words) -> Answer {
    let is_new = !store.has(words[1]);
    if is_new {
        store.put_text(words[1], words[2]);
    }
    Ok(Reply::truth(is_new))
}

pub fn setex(store: &mut Store, words: &Words) -> Answer {
    set_for(store, words, true, "setex")
}

pub fn psetex(store: &mut Store, words: &Words) -> Answer {
    set_for(store, words, false, "psetex")
}

fn set_for(store: &mut Store, words: &Words, is_seconds: bool, command: &str) -> Answer {
    let when = When { text: words[2], is_seconds, is_from_now: true };
    let when = when.read(store.now, command)?;
    store.put_text(words[1], words[3]);
    store.expire(words[1], Some(when));
    Ok(Reply::OK)
}

pub fn getset(store: &mut Store, words: &Words) -> Answer {
    let old = store.old(words[1])?;
    store.put_text(words[1], words[2]);
    Ok(old)
}

pub fn getdel(store: &mut Store, words: &Words) -> Answer {
    let old = store.old(words[1])?;
    store.remove(words[1]);
    Ok(old)
}

pub fn getex(store: &mut Store, words: &Words) -> Answer {
    let options = Options::read(&words[2..], false)?;
    let old = store.old(words[1])?;
    if old == Reply::Null {
        return Ok(old);
    }
    if let Some(when) = options.when {
        let when = when.read(store.now, "getex")?;
        if when <= store.now {
            store.remove(words[1]);
        } else {
            store.expire(words[1], Some(when));
        }
    } else if options.persists {
        store.expire(words[1], None);
    }
    Ok(old)
}

pub fn mset(store: &mut Store, words: &Words) -> Answer {
    if words.len().is_multiple_of(2) {
        return Err(Fault::wrong_count("mset"));
    }
    words[1..].chunks(2).for_each(|pair| store.put_text(pair[0], pair[1]));
    Ok(Reply::OK)
}

pub fn msetnx(store: &mut Store, words: &Words) -> Answer {
    if words.len().is_multiple_of(2) {
        return Err(Fault::wrong_count("msetnx"));
    }
    let is_new = words[1..].chunks(2).all(|pair| !store.has(pair[0]));
    if is_new {
        words[1..].chunks(2).for_each(|pair| store.put_text(pair[0], pair[1]));
    }
    Ok(Reply::truth(is_new))
}

pub fn append(store: &mut Store, words: &Words) -> Answer {
    let more = words[2];
    let is_there = store.has(words[1]);
    store.edit_or_insert(words[1], |text: &mut Text| {
        if text.len() + more.len() > LONGEST {
            return Err(too_long());
        }
        text.extend_from_slice(more);
        // An empty one is made even so; one that is there is touched by nothing.
        Ok((Reply::count(text.len()), !more.is_empty() || !is_there))
    })
}

pub fn setrange(store: &mut Store, words: &Words) -> Answer {
    let (offset, part) = (whole(words[2])?, words[3]);
    let Ok(offset) = usize::try_from(offset) else { return Err("offset is out of range".into()) };
    if part.is_empty() {
        return strlen(store, words);
    }
    store.edit_or_insert(words[1], |text: &mut Text| {
        let end = offset.saturating_add(part.len());
        if end > LONGEST {
            return Err(too_long());
        }
        text.resize(text.len().max(end), 0);
        text[offset..end].copy_from_slice(part);
        Ok((Reply::count(text.len()), true))
    })
}

fn too_long() -> Fault {
    "string exceeds maximum allowed size (proto-max-bulk-len)".into()
}

pub fn incr(store: &mut Store, words: &Words) -> Answer {
    add(store, words[1], 1)
}

pub fn decr(store: &mut Store, words: &Words) -> Answer {
    add(store, words[1], -1)
}

pub fn incrby(store: &mut Store, words: &Words) -> Answer {
    add(store, words[1], whole(words[2])?)
}

pub fn decrby(store: &mut Store, words: &Words) -> Answer {
    let by = whole(words[2])?.checked_neg();
    add(store, words[1], by.ok_or_else(|| Fault::from("decrement would overflow"))?)
}

fn add(store: &mut Store, key: &[u8], by: i64) -> Answer {
    let old = match store.text(key)? {
        Some(text) => whole(text)?,
        None => 0,
    };
    let overflows = || Fault::from("increment or decrement would overflow");
    let sum = old.checked_add(by).ok_or_else(overflows)?;
    store.put_for_as_long(key, Value::Text(sum.to_string().into_bytes()));
    Ok(Reply::Integer(sum))
}

pub fn incrbyfloat(store: &mut Store, words: &Words) -> Answer {
    let read =
        |text: &[u8]| Float::read(text).ok_or_else(|| Fault::from("value is not a valid float"));
    let old = match store.text(words[1])? {
        Some(text) => read(text)?,
        None => read(b"0")?,
    };
    let by = read(words[2])?;
    let too_large = || Fault::from("increment would produce NaN or Infinity");
    let sum = old.plus(&by).ok_or_else(too_large)?.write().into_bytes();
    store.put_for_as_long(words[1], Value::Text(sum.clone()));
    Ok(Reply::Bulk(sum))
}
