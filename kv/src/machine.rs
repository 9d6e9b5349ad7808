//! The state machine that the log feeds: it applies entries to the store.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::Arc;

use multi_paxos::{Frozen, Place, StateMachine};
use parking_lot::Mutex;

use crate::bugs::{self, Bug};
use crate::clock;
use crate::command::{self, Act};
use crate::entry::{Entry, Reader, Step};
use crate::reply::{Reply, Room};
use crate::store::{Store, Words};

/// The store of this process: the replica's thread changes it, and the server's reads it.
pub type Shared = Arc<Mutex<Store>>;

/// The store behind a replica.
pub struct Machine {
    store: Shared,
    /// Identifies this run of this process in the entries that it proposes. Nobody else waits for
    /// the answers to them.
    origin: u64,
}

impl Machine {
    /// A machine that changes this store.
    pub fn new(store: Shared, origin: u64) -> Machine {
        Machine { store, origin }
    }
}

impl StateMachine for Machine {
    /// The answer to each step, if it is for this process.
    type Output = Vec<Reply>;

    fn apply(&mut self, place: &Place, value: &[u8]) -> Vec<Reply> {
        let Some(mut entry) = Entry::read(value) else {
            log::warn!(
                "an entry of the log is none of paxos-kv, or of a newer one: let no other program \
                 propose to this cluster, and give all processes one version"
            );
            return Vec::new();
        };
        bugs::wait(self.origin);
        let mut store = self.store.lock();
        store.advance(time_of(&entry, place));
        let is_own = entry.origin == self.origin;
        let (mut replies, mut room) = (Vec::new(), Room::default());
        if bugs::has(Bug::AppliesTwice) {
            let mut again = entry.steps.clone();
            while let Some(step) = again.step() {
                carry_out_unheard(&mut store, &step);
            }
        }
        while let Some(step) = entry.steps.step() {
            if is_own {
                replies.push(carry_out(&mut store, &step, &mut room));
            } else {
                carry_out_unheard(&mut store, &step);
            }
        }
        replies
    }

    fn digest(&self) -> Option<u64> {
        Some(self.store.lock().digest())
    }

    /// A copy, so that the store goes on while it is written.
    fn freeze(&self) -> Option<Frozen> {
        if bugs::has(Bug::FreezesLate) {
            let store = Arc::clone(&self.store);
            return Some(Box::new(move |out| store.lock().write(out)));
        }
        let store = self.store.lock().clone();
        Some(Box::new(move |out| {
            let mut out = BufWriter::new(out);
            store.write(&mut out)?;
            out.flush()
        }))
    }

    fn restore(&mut self, snapshot: &mut dyn Read) -> io::Result<()> {
        self.store.lock().restore(&mut BufReader::new(snapshot))
    }
}

/// When an entry's commands are carried out, in milliseconds since 1970: a function of the log. 0,
/// which moves no time, where the log has none: only a value that a client placed itself can stand
/// there, for the entries of the version that wrote such logs say their own.
fn time_of(entry: &Entry<'_>, place: &Place) -> u64 {
    if bugs::has(Bug::ExpiresByLocalClock) {
        return clock::now();
    }
    let of_log = place.time.map_or(0, clock::millis);
    entry.time.filter(|_| !bugs::has(Bug::MisreadsOldEntries)).unwrap_or(of_log)
}

/// Reads: the answers to steps that change nothing. Behind one that is too much there are none, for
/// the connection is closed.
pub fn read(store: &mut Store, mut steps: Reader<'_>) -> Vec<Reply> {
    let (mut replies, mut room) = (Vec::new(), Room::default());
    while replies.last() != Some(&Reply::TooMuch)
        && let Some(step) = steps.step()
    {
        replies.push(carry_out(store, &step, &mut room));
    }
    replies
}

/// The whole of a transaction is carried out, even if its answer is too much.
fn carry_out(store: &mut Store, step: &Step<'_>, room: &mut Room) -> Reply {
    match step {
        Step::Command(words) => room.take(answer(store, words)),
        Step::Transaction { watched, commands } if holds(store, watched) => {
            let mut own = Room::default();
            let mut replies = Vec::new();
            for words in commands {
                if replies.last() == Some(&Reply::TooMuch) {
                    change(store, words);
                } else {
                    replies.push(own.take(answer(store, words)));
                }
            }
            match replies.last() {
                Some(Reply::TooMuch) => Reply::TooMuch,
                _ => room.take(Reply::Array(replies)),
            }
        }
        Step::Transaction { .. } => Reply::NullArray,
    }
}

/// The same where nobody waits for the answer, so that reads are left out.
fn carry_out_unheard(store: &mut Store, step: &Step<'_>) {
    match step {
        Step::Command(words) => change(store, words),
        Step::Transaction { watched, commands } if holds(store, watched) => {
            commands.iter().for_each(|words| change(store, words));
        }
        Step::Transaction { .. } => {}
    }
}

fn holds(store: &Store, watched: &[(&[u8], u64)]) -> bool {
    bugs::has(Bug::IgnoresWatched)
        || watched.iter().all(|(key, version)| store.version(key) == *version)
}

fn answer(store: &mut Store, words: &Words) -> Reply {
    let answer = command::find(words).and_then(|command| match command.act {
        Act::Read(read) => read(store, words),
        Act::Write(write) => write(store, words),
        // WATCH asks for versions; no other of these is asked of the store.
        Act::Session(_) => {
            let versions = words[1..].iter().map(|key| Reply::Integer(store.version(key) as i64));
            Ok(Reply::Array(versions.collect()))
        }
    });
    answer.unwrap_or_else(|fault| Reply::Error(fault.0))
}

fn change(store: &mut Store, words: &Words) {
    if let Ok(command) = command::find(words)
        && let Act::Write(write) = command.act
    {
        // Its error is for its client, and is the same everywhere.
        let _ = write(store, words);
    }
}
