//! Commands on keys of any type.

// The functions have the names of the commands, which command.rs describes.
#![allow(missing_docs)]

use std::hash::{BuildHasher, RandomState};

use super::glob::fits;
use super::numbers::{integer, whole};
use super::{Answer, Fault, Store, Words};
use crate::reply::Reply;

pub fn del(store: &mut Store, words: &Words) -> Answer {
    let removed = words[1..].iter().filter(|key| store.remove(key).is_some()).count();
    Ok(Reply::count(removed))
}

pub fn exists(store: &Store, words: &Words) -> Answer {
    Ok(Reply::count(words[1..].iter().filter(|key| store.has(key)).count()))
}

pub fn kind(store: &Store, words: &Words) -> Answer {
    let kind = store.keys.get(words[1]).map_or("none", |entry| entry.value.kind());
    Ok(Reply::Simple(kind))
}

pub fn keys(store: &Store, words: &Words) -> Answer {
    let all = store.keys.keys().filter(|key| fits(words[1], key));
    Ok(Reply::Array(all.map(|key| Reply::bulk(key)).collect()))
}

/// The cursor is how many keys are left, from the last to the first: a key that is removed changes
/// places with the last one, which moves it to where it is yet to come, or comes once more.
pub fn scan(store: &Store, words: &Words) -> Answer {
    let cursor = std::str::from_utf8(words[1]).ok().filter(|text| !text.starts_with('+'));
    let Some(cursor) = cursor.and_then(|text| text.parse::<usize>().ok()) else {
        return Err("invalid cursor".into());
    };
    let (mut pattern, mut kind, mut count) = (None, None, 10);
    for option in words[2..].chunks(2) {
        match (&option[0].to_ascii_lowercase()[..], option.get(1)) {
            (b"match", Some(text)) => pattern = Some(text),
            (b"type", Some(text)) => kind = Some(text.to_ascii_lowercase()),
            (b"count", Some(text)) => {
                let number = whole(text)?;
                if number < 1 {
                    return Err("syntax error".into());
                }
                count = number as usize;
            }
            _ => return Err("syntax error".into()),
        }
    }
    let until = if cursor == 0 { store.keys.len() } else { cursor.min(store.keys.len()) };
    let from = until.saturating_sub(count);
    let found = (from..until).rev().filter_map(|place| store.keys.get_index(place));
    let found = found.filter(|(key, entry)| {
        pattern.is_none_or(|pattern| fits(pattern, key))
            && kind.as_ref().is_none_or(|kind| kind == entry.value.kind().as_bytes())
    });
    let found = found.map(|(key, _)| Reply::bulk(key)).collect();
    Ok(Reply::Array(vec![Reply::bulk(from.to_string().as_bytes()), Reply::Array(found)]))
}

pub fn dbsize(store: &Store, _: &Words) -> Answer {
    Ok(Reply::count(store.keys.len()))
}

/// It is no function of the state, and need not be one: a read changes nothing.
pub fn randomkey(store: &Store, _: &Words) -> Answer {
    let random = RandomState::new().hash_one(store.changes) as usize;
    let place = random.checked_rem(store.keys.len()).unwrap_or(0);
    Ok(Reply::bulk_or_null(store.keys.get_index(place).map(|(key, _)| &key[..])))
}

pub fn rename(store: &mut Store, words: &Words) -> Answer {
    move_key(store, words[1], words[2])?;
    Ok(Reply::OK)
}

pub fn renamenx(store: &mut Store, words: &Words) -> Answer {
    let is_free = !store.has(words[2]);
    if is_free || !store.has(words[1]) {
        move_key(store, words[1], words[2])?;
    }
    Ok(Reply::truth(is_free))
}

fn move_key(store: &mut Store, from: &[u8], to: &[u8]) -> Result<(), Fault> {
    if from == to && store.has(from) {
        return Ok(());
    }
    let entry = store.remove(from).ok_or_else(|| Fault::from("no such key"))?;
    store.put(to, entry.value);
    store.expire(to, entry.expires);
    Ok(())
}

pub fn flush(store: &mut Store, words: &Words) -> Answer {
    let is_known = match words[1..] {
        [] => true,
        [word] => ["sync", "async"].iter().any(|mode| word.eq_ignore_ascii_case(mode.as_bytes())),
        _ => false,
    };
    if !is_known {
        return Err("syntax error".into());
    }
    store.clear();
    Ok(Reply::OK)
}

pub fn expire(store: &mut Store, words: &Words) -> Answer {
    expire_at(store, words, (1000, true), "expire")
}

pub fn pexpire(store: &mut Store, words: &Words) -> Answer {
    expire_at(store, words, (1, true), "pexpire")
}

pub fn expireat(store: &mut Store, words: &Words) -> Answer {
    expire_at(store, words, (1000, false), "expireat")
}

pub fn pexpireat(store: &mut Store, words: &Words) -> Answer {
    expire_at(store, words, (1, false), "pexpireat")
}

/// When the expiry is set at all.
#[derive(Default)]
struct Only {
    without: bool,
    with: bool,
    later: bool,
    earlier: bool,
}

impl Only {
    fn read(words: &Words) -> Result<Only, Fault> {
        let mut only = Only::default();
        for word in words {
            match &word.to_ascii_lowercase()[..] {
                b"nx" => only.without = true,
                b"xx" => only.with = true,
                b"gt" => only.later = true,
                b"lt" => only.earlier = true,
                _ => {
                    let word = String::from_utf8_lossy(word);
                    return Err(Fault(format!("ERR Unsupported option {word}")));
                }
            }
        }
        if only.without && (only.with || only.later || only.earlier) {
            let sentence = "NX and XX, GT or LT options at the same time are not compatible";
            return Err(sentence.into());
        }
        if only.later && only.earlier {
            return Err("GT and LT options at the same time are not compatible".into());
        }
        Ok(only)
    }

    fn allows(&self, before: Option<u64>, when: i64) -> bool {
        // Without an expiry a key lives for ever.
        let is_later = before.is_some_and(|before| when > before as i64);
        let is_earlier = before.is_none_or(|before| when < before as i64);
        (!self.without || before.is_none())
            && (!self.with || before.is_some())
            && (!self.later || is_later)
            && (!self.earlier || is_earlier)
    }
}

fn expire_at(
    store: &mut Store,
    words: &Words,
    (scale, is_from_now): (i64, bool),
    command: &str,
) -> Answer {
    let only = Only::read(&words[3..])?;
    let invalid = || Fault(format!("ERR invalid expire time in '{command}' command"));
    let base = if is_from_now { store.now as i64 } else { 0 };
    let when = whole(words[2])?.checked_mul(scale).and_then(|time| time.checked_add(base));
    let when = when.ok_or_else(invalid)?;
    let Some(entry) = store.keys.get(words[1]) else { return Ok(Reply::Integer(0)) };
    if !only.allows(entry.expires, when) {
        return Ok(Reply::Integer(0));
    }
    match u64::try_from(when) {
        Ok(when) if when > store.now => store.expire(words[1], Some(when)),
        _ => drop(store.remove(words[1])),
    }
    Ok(Reply::Integer(1))
}

pub fn ttl(store: &Store, words: &Words) -> Answer {
    Ok(Reply::Integer(left(store, words[1]).map_or_else(|none| none, |left| (left + 500) / 1000)))
}

pub fn pttl(store: &Store, words: &Words) -> Answer {
    Ok(Reply::Integer(left(store, words[1]).unwrap_or_else(|none| none)))
}

/// How many milliseconds are left, or the number that says that there is no end, or no key.
fn left(store: &Store, key: &[u8]) -> Result<i64, i64> {
    let entry = store.keys.get(key).ok_or(-2)?;
    let when = entry.expires.ok_or(-1)?;
    Ok(when.saturating_sub(store.now) as i64)
}

pub fn persist(store: &mut Store, words: &Words) -> Answer {
    let expires = store.keys.get(words[1]).is_some_and(|entry| entry.expires.is_some());
    store.expire(words[1], None);
    Ok(Reply::truth(expires))
}

/// The place in a list or a string that a command names: from the end, if it is negative.
pub(super) fn place(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(length as i64)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < length)
}

/// Whether SELECT may choose a database.
pub fn database(text: &[u8]) -> Result<bool, Fault> {
    whole(text).map(|_| integer(text) == Some(0))
}
