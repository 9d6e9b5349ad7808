//! The state that every replica holds: keys, their values and their expiry.
//!
//! It is a pure function of the commands and of the time of the log: no clock, no sockets, no
//! threads. [`Store::advance`] moves the time and removes what has expired, so that no present key
//! has expired by the time of the log.

mod frozen;
mod glob;
mod hashes;
mod keys;
mod lists;
mod numbers;
mod sets;
mod strings;
mod value;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use indexmap::IndexMap;

pub use self::value::{Hashed, List, Members, Text, Value};
use crate::reply::Reply;

/// The words of a command, with its name.
pub type Words<'a> = [&'a [u8]];

/// The result of a command.
pub type Answer = Result<Reply, Fault>;

/// A key, as it is kept.
type Key = Box<[u8]>;

/// Why a command was not carried out: the error that its client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl From<&str> for Fault {
    fn from(sentence: &str) -> Self {
        Fault(format!("ERR {sentence}"))
    }
}

impl Fault {
    /// The key holds a value of another type.
    pub fn wrong_type() -> Fault {
        Fault("WRONGTYPE Operation against a key holding the wrong kind of value".to_owned())
    }

    /// The command has too many words, or too few.
    pub fn wrong_count(name: &str) -> Fault {
        Fault(format!("ERR wrong number of arguments for '{name}' command"))
    }
}

/// How many marks there are of keys that were removed.
const MARKS: usize = 4096;

/// All keys of a replica.
#[derive(Clone, Debug)]
pub struct Store {
    /// Their order is that of the log's commands, so it is the same on every replica.
    keys: IndexMap<Key, Entry>,
    /// When keys expire, the earliest first.
    expiries: BTreeSet<(u64, Key)>,
    /// The time of the log, in milliseconds since 1970.
    now: u64,
    /// How many changes there were: the version of the last one.
    changes: u64,
    /// When a key was removed last, by a hash of the key: the version of all that are not there.
    removed: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Value,
    expires: Option<u64>,
    /// That of the last change, for WATCH.
    version: u64,
}

impl Default for Store {
    fn default() -> Self {
        let (keys, expiries) = (IndexMap::new(), BTreeSet::new());
        Store { keys, expiries, now: 0, changes: 0, removed: vec![0; MARKS] }
    }
}

impl Store {
    /// Moves the time, which never goes back, and removes the keys that have expired.
    pub fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
        while let Some((when, key)) = self.expiries.first()
            && *when < self.now
        {
            let key = key.clone();
            self.remove(&key);
        }
    }

    /// The time of the log, in milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys expire some day.
    pub fn expiring(&self) -> usize {
        self.expiries.len()
    }

    /// Whether there is a key that has expired by this clock, although the log has not come that
    /// far.
    pub fn has_overdue(&self, now: u64) -> bool {
        self.expiries.first().is_some_and(|(when, _)| *when < now)
    }

    /// A number that changes whenever the key does. While there is no such key, it may change as
    /// well.
    pub fn version(&self, key: &[u8]) -> u64 {
        self.keys.get(key).map_or_else(|| self.removed[mark_of(key)], |entry| entry.version)
    }

    /// A digest of everything in it.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.now, self.changes).hash(&mut hasher);
        for (key, entry) in &self.keys {
            (key, entry.expires, entry.version).hash(&mut hasher);
            entry.value.hash(&mut hasher);
        }
        hasher.finish()
    }

    fn get<V: value::Kind>(&self, key: &[u8]) -> Result<Option<&V>, Fault> {
        let Some(entry) = self.keys.get(key) else { return Ok(None) };
        V::of(&entry.value).map(Some).ok_or_else(Fault::wrong_type)
    }

    /// Lets `change` change the value at a key, which is made if it is not there; one that is empty
    /// afterwards is removed. `change` says as well whether it changed anything.
    fn edit_or_insert<V: value::Kind, R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut V) -> Result<(R, bool), Fault>,
    ) -> Result<R, Fault> {
        if let Some(entry) = self.keys.get_mut(key) {
            let value = V::of_mut(&mut entry.value).ok_or_else(Fault::wrong_type)?;
            let (result, has_changed) = change(value)?;
            let is_empty = value.is_empty();
            if has_changed {
                self.changes += 1;
                entry.version = self.changes;
            }
            if is_empty {
                self.remove(key);
            }
            return Ok(result);
        }
        let mut value = V::default();
        let (result, has_changed) = change(&mut value)?;
        if has_changed && !value.is_empty() {
            self.put(key, value.into());
        }
        Ok(result)
    }

    /// The same for a value that is there; else there is nothing to change.
    fn edit<V: value::Kind, R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut V) -> Result<(R, bool), Fault>,
    ) -> Result<Option<R>, Fault> {
        if !self.has(key) {
            return Ok(None);
        }
        self.edit_or_insert(key, change).map(Some)
    }

    fn has(&self, key: &[u8]) -> bool {
        self.keys.contains_key(key)
    }

    /// Puts a value in the place of any other. It does not expire.
    fn put(&mut self, key: &[u8], value: Value) {
        self.expire(key, None);
        self.put_for_as_long(key, value);
    }

    /// The same; it expires when the other would have.
    fn put_for_as_long(&mut self, key: &[u8], value: Value) {
        self.changes += 1;
        let version = self.changes;
        if let Some(entry) = self.keys.get_mut(key) {
            (entry.value, entry.version) = (value, version);
        } else {
            self.keys.insert(key.into(), Entry { value, expires: None, version });
        }
    }

    fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let (key, entry) = self.keys.swap_remove_full(key).map(|(_, key, entry)| (key, entry))?;
        self.changes += 1;
        self.removed[mark_of(&key)] = self.changes;
        if let Some(when) = entry.expires {
            self.expiries.remove(&(when, key));
        }
        Some(entry)
    }

    /// Says when a key expires. At once, if that has passed.
    fn expire(&mut self, key: &[u8], when: Option<u64>) {
        let Some(entry) = self.keys.get_mut(key) else { return };
        if entry.expires == when {
            return;
        }
        self.changes += 1;
        entry.version = self.changes;
        if let Some(before) = std::mem::replace(&mut entry.expires, when) {
            self.expiries.remove(&(before, key.into()));
        }
        if let Some(when) = when {
            self.expiries.insert((when, key.into()));
            self.advance(self.now);
        }
    }

    fn clear(&mut self) {
        self.changes += 1;
        for (key, _) in self.keys.drain(..) {
            self.removed[mark_of(&key)] = self.changes;
        }
        self.expiries.clear();
    }
}

/// Which mark stands for a key that is not there: by FNV-1a, which is the same everywhere.
fn mark_of(key: &[u8]) -> usize {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    (key.iter().fold(0xcbf2_9ce4_8422_2325, step) % MARKS as u64) as usize
}

/// What is the same for every type, by name: how commands reach the store.
pub mod commands {
    pub use super::hashes::*;
    pub use super::keys::*;
    pub use super::lists::*;
    pub use super::sets::*;
    pub use super::strings::*;
}

#[cfg(test)]
mod tests;
