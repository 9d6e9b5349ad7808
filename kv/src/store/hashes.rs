//! Hashes.

// The functions have the names of the commands, which command.rs describes.
#![allow(missing_docs)]

use super::numbers::whole;
use super::{Answer, Fault, Hashed, Store, Words};
use crate::reply::Reply;

impl Store {
    fn hashed(&self, key: &[u8]) -> Result<Option<&Hashed>, Fault> {
        Store::get(self, key)
    }

    fn field(&self, key: &[u8], field: &[u8]) -> Result<Option<&[u8]>, Fault> {
        Ok(self.hashed(key)?.and_then(|fields| fields.get(field)).map(Vec::as_slice))
    }

    fn fields<R>(&self, key: &[u8], of: impl Fn(&[u8], &[u8]) -> R) -> Result<Vec<R>, Fault> {
        let fields = self.hashed(key)?.into_iter().flatten();
        Ok(fields.map(|(field, value)| of(field, value)).collect())
    }
}

pub fn hget(store: &Store, words: &Words) -> Answer {
    Ok(Reply::bulk_or_null(store.field(words[1], words[2])?))
}

pub fn hmget(store: &Store, words: &Words) -> Answer {
    let fields = store.hashed(words[1])?;
    let value = |field: &&[u8]| {
        Reply::bulk_or_null(fields.and_then(|fields| fields.get(*field)).map(Vec::as_slice))
    };
    Ok(Reply::array(words[2..].iter().map(value)))
}

pub fn hgetall(store: &Store, words: &Words) -> Answer {
    let pair = |field: &[u8], value: &[u8]| (Reply::bulk(field), Reply::bulk(value));
    Ok(Reply::Map(store.fields(words[1], pair)?))
}

pub fn hkeys(store: &Store, words: &Words) -> Answer {
    Ok(Reply::Array(store.fields(words[1], |field, _| Reply::bulk(field))?))
}

pub fn hvals(store: &Store, words: &Words) -> Answer {
    Ok(Reply::Array(store.fields(words[1], |_, value| Reply::bulk(value))?))
}

pub fn hlen(store: &Store, words: &Words) -> Answer {
    Ok(Reply::count(store.hashed(words[1])?.map_or(0, Hashed::len)))
}

pub fn hexists(store: &Store, words: &Words) -> Answer {
    Ok(Reply::truth(store.field(words[1], words[2])?.is_some()))
}

pub fn hset(store: &mut Store, words: &Words) -> Answer {
    if !words.len().is_multiple_of(2) {
        return Err(Fault::wrong_count("hset"));
    }
    store.edit_or_insert(words[1], |fields: &mut Hashed| {
        let new = words[2..]
            .chunks(2)
            .filter(|pair| fields.insert(pair[0].into(), pair[1].to_vec()).is_none());
        Ok((Reply::count(new.count()), true))
    })
}

pub fn hsetnx(store: &mut Store, words: &Words) -> Answer {
    store.edit_or_insert(words[1], |fields: &mut Hashed| {
        let is_new = !fields.contains_key(words[2]);
        if is_new {
            fields.insert(words[2].into(), words[3].to_vec());
        }
        Ok((Reply::truth(is_new), is_new))
    })
}

pub fn hdel(store: &mut Store, words: &Words) -> Answer {
    let removed = store.edit(words[1], |fields: &mut Hashed| {
        let removed = words[2..].iter().filter(|field| fields.swap_remove(**field).is_some());
        let removed = removed.count();
        Ok((removed, removed > 0))
    });
    Ok(Reply::count(removed?.unwrap_or(0)))
}

pub fn hincrby(store: &mut Store, words: &Words) -> Answer {
    let by = whole(words[3])?;
    store.edit_or_insert(words[1], |fields: &mut Hashed| {
        let old = match fields.get(words[2]) {
            Some(text) => whole(text).map_err(|_| Fault::from("hash value is not an integer"))?,
            None => 0,
        };
        let overflows = || Fault::from("increment or decrement would overflow");
        let sum = old.checked_add(by).ok_or_else(overflows)?;
        fields.insert(words[2].into(), sum.to_string().into_bytes());
        Ok((Reply::Integer(sum), true))
    })
}
