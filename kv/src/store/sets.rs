//! Sets.

// The functions have the names of the commands, which command.rs describes.
#![allow(missing_docs)]

use super::{Answer, Fault, Members, Store, Words};
use crate::reply::Reply;

impl Store {
    fn set(&self, key: &[u8]) -> Result<Option<&Members>, Fault> {
        Store::get(self, key)
    }
}

pub fn sadd(store: &mut Store, words: &Words) -> Answer {
    store.edit_or_insert(words[1], |members: &mut Members| {
        let new = words[2..].iter().filter(|member| members.insert((**member).into())).count();
        Ok((Reply::count(new), new > 0))
    })
}

pub fn srem(store: &mut Store, words: &Words) -> Answer {
    let removed = store.edit(words[1], |members: &mut Members| {
        let removed = words[2..].iter().filter(|member| members.swap_remove(**member)).count();
        Ok((removed, removed > 0))
    });
    Ok(Reply::count(removed?.unwrap_or(0)))
}

pub fn smembers(store: &Store, words: &Words) -> Answer {
    let members = store.set(words[1])?.into_iter().flatten();
    Ok(Reply::Set(members.map(|member| Reply::bulk(member)).collect()))
}

pub fn sismember(store: &Store, words: &Words) -> Answer {
    Ok(Reply::truth(store.set(words[1])?.is_some_and(|members| members.contains(words[2]))))
}

pub fn scard(store: &Store, words: &Words) -> Answer {
    Ok(Reply::count(store.set(words[1])?.map_or(0, Members::len)))
}
