//! Lists.

// The functions have the names of the commands, which command.rs describes.
#![allow(missing_docs)]

use super::keys::place;
use super::numbers::{integer, whole};
use super::{Answer, Fault, List, Store, Words};
use crate::reply::Reply;

impl Store {
    fn list(&self, key: &[u8]) -> Result<Option<&List>, Fault> {
        Store::get(self, key)
    }
}

pub fn lpush(store: &mut Store, words: &Words) -> Answer {
    push(store, words, List::push_front)
}

pub fn rpush(store: &mut Store, words: &Words) -> Answer {
    push(store, words, List::push_back)
}

fn push(store: &mut Store, words: &Words, put: fn(&mut List, Vec<u8>)) -> Answer {
    store.edit_or_insert(words[1], |list: &mut List| {
        words[2..].iter().for_each(|element| put(list, element.to_vec()));
        Ok((Reply::count(list.len()), true))
    })
}

pub fn lpop(store: &mut Store, words: &Words) -> Answer {
    pop(store, words, List::pop_front, "lpop")
}

pub fn rpop(store: &mut Store, words: &Words) -> Answer {
    pop(store, words, List::pop_back, "rpop")
}

fn pop(
    store: &mut Store,
    words: &Words,
    take: fn(&mut List) -> Option<Vec<u8>>,
    name: &str,
) -> Answer {
    let count = match words[2..] {
        [] => None,
        [text] => {
            let count = integer(text).and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or_else(|| Fault::from("value is out of range, must be positive"))?)
        }
        _ => return Err(Fault::wrong_count(name)),
    };
    let popped = store.edit(words[1], |list: &mut List| {
        let count = count.unwrap_or(1).min(list.len());
        let popped: Vec<Reply> = (0..count).filter_map(|_| take(list).map(Reply::Bulk)).collect();
        Ok((popped, count > 0))
    })?;
    Ok(match (popped, count) {
        (None, None) => Reply::Null,
        (None, Some(_)) => Reply::NullArray,
        (Some(popped), Some(_)) => Reply::Array(popped),
        (Some(popped), None) => popped.into_iter().next().unwrap_or(Reply::Null),
    })
}

pub fn llen(store: &Store, words: &Words) -> Answer {
    Ok(Reply::count(store.list(words[1])?.map_or(0, List::len)))
}

pub fn lrange(store: &Store, words: &Words) -> Answer {
    let (start, end) = (whole(words[2])?, whole(words[3])?);
    let Some(list) = store.list(words[1])? else { return Ok(Reply::Array(Vec::new())) };
    let length = list.len() as i64;
    let from_end = |place: i64| if place < 0 { place.saturating_add(length) } else { place };
    let (start, end) = (from_end(start).max(0), from_end(end).min(length - 1));
    if start > end {
        return Ok(Reply::Array(Vec::new()));
    }
    let range = list.range(start as usize..=end as usize);
    Ok(Reply::Array(range.map(|element| Reply::bulk(element)).collect()))
}

pub fn lindex(store: &Store, words: &Words) -> Answer {
    let Some(list) = store.list(words[1])? else { return Ok(Reply::Null) };
    let element = place(whole(words[2])?, list.len()).and_then(|place| list.get(place));
    Ok(Reply::bulk_or_null(element.map(Vec::as_slice)))
}
