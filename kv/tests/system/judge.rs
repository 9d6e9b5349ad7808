//! Is the store linearizable? A load of real connections, and a judge of their answers.
//!
//! The judge needs no search, because the order is known: that of registers from the log, which it
//! reads for itself, that of counters from the numbers that INCR returns, that of lists from the
//! list. An operation has a rank in that order, and one that began after another had ended must
//! not have a lower one. Unique values make every rank certain, and outcomes that no client knows
//! stay unknown. Leases, keys that live for a moment, are judged by the clock: all processes and
//! clients have the one of this host.

// The library's own tests share it.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use multi_paxos::Subscription;
use redis::{Client, Connection, RedisError, Value, cmd};

/// How many registers, counters and lists there are at a time.
const KEYS: u64 = 3;
/// After how many operations new keys are used, so that lists stay short, and so do searches.
const AGE: u64 = 3000;
/// A lease to look at is chosen among this many, so that some of them have expired.
const LEASES: u64 = 8;
/// How exact the times of leases are: the log has milliseconds, and a clock is slewed.
const SLACK: Duration = Duration::from_millis(5);

/// An operation of a client, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Set a register to a value that nobody else sets.
    Set(String, String),
    /// Read a register.
    Get(String, Option<String>),
    /// Set a register that had not changed since it was read: WATCH, GET, MULTI, SET, EXEC.
    Swap { key: String, before: Option<String>, after: String, is_done: bool },
    /// Counted, and was told the sum.
    Incr(String, i64),
    /// Appended an element that nobody else appends, and was told the length.
    Push(String, String, i64),
    /// Read a list.
    Range(String, Vec<String>),
    /// Set a key that nobody else sets, for this many milliseconds.
    Lease(String, u64),
    /// Looked whether it is there.
    Look(String, bool),
}

/// An operation. What was told does not count if its end is not known.
#[derive(Clone, Debug)]
pub struct Operation {
    pub act: Act,
    pub began: Duration,
    pub ended: Option<Duration>,
}

/// Everything that clients did.
pub type History = Vec<Operation>;

/// Lets six clients work until `is_over`, two at each of these addresses, which are URLs. One that
/// loses its connection takes another. After each operation they rest for `pause`.
pub fn load(urls: &[String; 3], pause: Duration, is_over: &AtomicBool) -> History {
    let start = Instant::now();
    let unique = AtomicU64::new(1);
    let leases = [const { AtomicU64::new(0) }; LEASES as usize];
    thread::scope(|scope| {
        let work = |number: usize| {
            let (unique, leases, history) = (&unique, &leases, Vec::new());
            let worker = Worker { urls, number, start, unique, leases, history };
            scope.spawn(move || worker.work(pause, is_over))
        };
        let threads: Vec<_> = (0..6).map(work).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

struct Worker<'a> {
    urls: &'a [String; 3],
    number: usize,
    start: Instant,
    unique: &'a AtomicU64,
    /// The numbers of the last leases.
    leases: &'a [AtomicU64; LEASES as usize],
    history: History,
}

impl Worker<'_> {
    fn work(mut self, pause: Duration, is_over: &AtomicBool) -> History {
        let mut draws = 0;
        while !is_over.load(Ordering::Relaxed) {
            let Some(mut connection) = self.connect() else { continue };
            // Values are unique, even behind an operation whose outcome nobody knows.
            while !is_over.load(Ordering::Relaxed) {
                draws += 1;
                if self.step(&mut connection, draws).is_err() {
                    break;
                }
                thread::sleep(pause);
            }
        }
        self.history
    }

    fn connect(&mut self) -> Option<Connection> {
        let client = Client::open(self.urls[self.number % 3].as_str()).unwrap();
        let wait = Duration::from_secs(8);
        let Ok(connection) = client.get_connection_with_timeout(wait) else {
            // It is down. Another one may not be.
            self.number += 1;
            thread::sleep(Duration::from_millis(5));
            return None;
        };
        connection.set_read_timeout(Some(wait)).unwrap();
        Some(connection)
    }

    fn step(&mut self, connection: &mut Connection, draw: u64) -> Result<(), RedisError> {
        let unique = self.unique.fetch_add(1, Ordering::Relaxed);
        let key = format!("{}-{}", (unique ^ draw) % KEYS, unique / AGE);
        let value = format!("v{unique}");
        let (register, counter, list) =
            (format!("register{key}"), format!("counter{key}"), format!("list{key}"));
        match draw % 10 {
            0 | 1 => {
                let act = Act::Set(register.clone(), value.clone());
                self.note(act.clone(), || {
                    cmd("SET").arg(&register).arg(&value).query::<()>(connection)?;
                    Ok(act)
                })
            }
            2..=4 => self.note(Act::Get(register.clone(), None), || {
                Ok(Act::Get(register.clone(), cmd("GET").arg(&register).query(connection)?))
            }),
            5 => self.note(Act::Incr(counter.clone(), 0), || {
                Ok(Act::Incr(counter.clone(), cmd("INCR").arg(&counter).query(connection)?))
            }),
            6 if (draw / 10).is_multiple_of(5) => {
                self.note(Act::Range(list.clone(), Vec::new()), || {
                    let all = cmd("LRANGE").arg(&list).arg(0).arg(-1).query(connection)?;
                    Ok(Act::Range(list.clone(), all))
                })
            }
            6 => self.note(Act::Push(list.clone(), value.clone(), 0), || {
                let length = cmd("RPUSH").arg(&list).arg(&value).query(connection)?;
                Ok(Act::Push(list.clone(), value, length))
            }),
            7 => {
                let (lease, millis) = (format!("lease{unique}"), 10 + unique % 50);
                self.leases[(unique % LEASES) as usize].store(unique, Ordering::Relaxed);
                let act = Act::Lease(lease.clone(), millis);
                self.note(act.clone(), || {
                    cmd("PSETEX").arg(&lease).arg(millis).arg("v").query::<()>(connection)?;
                    Ok(act)
                })
            }
            8 => {
                let number = self.leases[(unique % LEASES) as usize].load(Ordering::Relaxed);
                let lease = format!("lease{number}");
                self.note(Act::Look(lease.clone(), false), || {
                    let is_there = cmd("EXISTS").arg(&lease).query(connection)?;
                    Ok(Act::Look(lease, is_there))
                })
            }
            _ => {
                cmd("WATCH").arg(&register).query::<()>(connection)?;
                let before: Option<String> = cmd("GET").arg(&register).query(connection)?;
                cmd("MULTI").query::<()>(connection)?;
                cmd("SET").arg(&register).arg(&value).query::<()>(connection)?;
                let swap = |is_done| Act::Swap {
                    key: register.clone(),
                    before: before.clone(),
                    after: value.clone(),
                    is_done,
                };
                self.note(swap(true), || {
                    let told: Value = cmd("EXEC").query(connection)?;
                    Ok(swap(told != Value::Nil))
                })
            }
        }
    }

    /// Notes an operation, with what it told, or without an end if it told nothing.
    fn note(
        &mut self,
        unknown: Act,
        act: impl FnOnce() -> Result<Act, RedisError>,
    ) -> Result<(), RedisError> {
        let began = self.start.elapsed();
        match act() {
            Ok(act) => {
                let ended = Some(self.start.elapsed());
                self.history.push(Operation { act, began, ended });
                Ok(())
            }
            // Nothing was done, as this error promises.
            Err(error) if error.code() == Some("TRYAGAIN") => {
                thread::sleep(Duration::from_millis(20));
                Err(error)
            }
            Err(error) => {
                self.history.push(Operation { act: unknown, began, ended: None });
                Err(error)
            }
        }
    }
}

/// The values that stand in the log for each register, in the order of the log, read by a learner
/// of the judge's own, up to a value that is set for this at `url`.
pub fn registers(log: &mut Subscription, url: &str) -> BTreeMap<String, Vec<String>> {
    use crate::entry::{Entry, Step};
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut registers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let note = |registers: &mut BTreeMap<String, Vec<String>>, words: &[&[u8]]| {
        if words.first().is_some_and(|name| name.eq_ignore_ascii_case(b"set")) {
            registers.entry(text(words[1])).or_default().push(text(words[2]));
        }
    };
    let end = ask(url, &["SET", "end", "end"]);
    assert_eq!(end, Value::Okay);
    while !registers.contains_key("end") {
        let value = log.next_timeout(Duration::from_secs(30)).unwrap().value;
        let Some(mut entry) = Entry::read(&value) else { continue };
        while let Some(step) = entry.steps.step() {
            match step {
                Step::Command(words) => note(&mut registers, &words),
                Step::Transaction { commands, .. } => {
                    commands.iter().for_each(|words| note(&mut registers, words));
                }
            }
        }
    }
    registers
}

/// The answer of the store at `url` to a command.
pub fn ask(url: &str, words: &[&str]) -> Value {
    let client = Client::open(url).unwrap();
    let mut connection = client.get_connection().unwrap();
    cmd(words[0]).arg(&words[1..]).query(&mut connection).unwrap()
}

/// An operation in the order of its key.
struct Ranked<'a> {
    rank: usize,
    /// It made its rank, and did not only see it.
    is_write: bool,
    operation: &'a Operation,
}

/// Judges a history. Returns how many operations were judged, or what is wrong.
pub fn judge(
    history: &History,
    registers: &BTreeMap<String, Vec<String>>,
    lists: &BTreeMap<String, Vec<String>>,
) -> Result<usize, String> {
    let mut ranked: BTreeMap<&str, Vec<Ranked<'_>>> = BTreeMap::new();
    let swaps = refused_and_done(history);
    let mut orders: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for (key, values) in registers {
        let is_there = |value: &&String| !swaps.refused.contains(value.as_str());
        let values: Vec<&str> = values.iter().filter(is_there).map(String::as_str).collect();
        // Swaps whose outcome is not known are there if somebody has seen them.
        let values: Vec<&str> =
            values.into_iter().filter(|value| !swaps.unseen.contains(value)).collect();
        orders.insert(key, order_of(key, &values)?);
        check_swaps(key, &values, history)?;
    }
    for (key, elements) in lists {
        let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
        orders.insert(key, order_of(key, &elements)?);
    }
    let rank_of = |key: &str, value: &str| orders.get(key).and_then(|order| order.get(value));
    let mut counts: BTreeMap<&str, (BTreeSet<i64>, i64)> = BTreeMap::new();
    for operation in history {
        let is_known = operation.ended.is_some();
        let missing = |what: &str| Err(format!("{what} is not there: {operation:?}"));
        let (key, rank, is_write) = match &operation.act {
            Act::Swap { is_done: false, .. } | Act::Lease(..) | Act::Look(..) => continue,
            Act::Set(key, value) | Act::Swap { key, after: value, .. } => {
                match rank_of(key, value) {
                    Some(rank) => (key, *rank, true),
                    None if is_known => return missing("an acknowledged write"),
                    None => continue,
                }
            }
            Act::Get(..) | Act::Range(..) if !is_known => continue,
            Act::Get(key, None) => (key, 0, false),
            Act::Get(key, Some(value)) => match rank_of(key, value) {
                Some(rank) => (key, *rank, false),
                None => return missing("what was read"),
            },
            Act::Incr(key, _) if !is_known => {
                counts.entry(key).or_default().1 += 1;
                continue;
            }
            Act::Incr(key, sum) => {
                if !counts.entry(key).or_default().0.insert(*sum) {
                    return Err(format!("{key} was counted to {sum} twice: {operation:?}"));
                }
                (key, usize::try_from(*sum).unwrap_or(0), true)
            }
            Act::Push(key, element, length) => match rank_of(key, element) {
                Some(rank) if !is_known || *rank as i64 == *length => (key, *rank, true),
                Some(_) => return Err(format!("it stands elsewhere: {operation:?}")),
                None if is_known => return missing("an acknowledged element"),
                None => continue,
            },
            Act::Range(key, elements) => {
                let whole = lists.get(key).map_or(&[][..], Vec::as_slice);
                if !whole.starts_with(elements) {
                    return Err(format!("it is no beginning of {key}: {operation:?}"));
                }
                (key, elements.len(), false)
            }
        };
        ranked.entry(key).or_default().push(Ranked { rank, is_write, operation });
    }
    for (key, (sums, unknown)) in counts {
        let last = sums.last().copied().unwrap_or(0);
        if last > sums.len() as i64 + unknown {
            let known = sums.len();
            return Err(format!("{key} is {last} after {known} and {unknown} unknown counts"));
        }
    }
    let judged: usize = ranked.values().map(Vec::len).sum();
    ranked.into_iter().try_for_each(|(key, operations)| in_time(key, operations))?;
    Ok(judged + judge_leases(history)?)
}

/// A look at a lease of which it is known that it was set, and when that was asked for and told.
struct Look<'a> {
    key: &'a str,
    is_there: bool,
    began: Duration,
    ended: Duration,
    set: Duration,
    told: Duration,
    length: Duration,
    operation: &'a Operation,
}

/// A lease is there from its beginning to its end, by the clock, and never afterwards. Returns how
/// many looks were judged.
fn judge_leases(history: &History) -> Result<usize, String> {
    let mut leases = BTreeMap::new();
    for operation in history {
        if let (Act::Lease(key, millis), Some(told)) = (&operation.act, operation.ended) {
            let length = Duration::from_millis(*millis);
            leases.insert(key.as_str(), (operation.began, told, length));
        }
    }
    let looks = history.iter().filter_map(|operation| {
        let Operation { act: Act::Look(key, is_there), began, ended: Some(ended) } = operation
        else {
            return None;
        };
        let (set, told, length) = *leases.get(key.as_str())?;
        let (is_there, began, ended) = (*is_there, *began, *ended);
        Some(Look { key, is_there, began, ended, set, told, length, operation })
    });
    let looks: Vec<Look<'_>> = looks.collect();
    // When a client first knew that it was over.
    let mut over: BTreeMap<&str, Duration> = BTreeMap::new();
    for look in &looks {
        let Look { set, told, length, .. } = *look;
        let wrong = |what: &str| Err(format!("a lease from {set:?} {what}: {:?}", look.operation));
        if look.is_there && look.ended < set {
            return wrong("is there before that");
        }
        if look.is_there && look.began > told + length + SLACK {
            return wrong("is still there");
        }
        if !look.is_there && look.began > told {
            if look.ended + SLACK < set + length {
                return wrong("is gone too early");
            }
            let first = over.entry(look.key).or_insert(look.ended);
            *first = look.ended.min(*first);
        }
    }
    for look in &looks {
        if look.is_there && over.get(look.key).is_some_and(|over| *over < look.began) {
            return Err(format!("a lease from {:?} is back: {:?}", look.set, look.operation));
        }
    }
    Ok(looks.len())
}

/// The values of swaps that were not carried out, and of those of which nobody knows whether.
struct Swaps<'a> {
    refused: BTreeSet<&'a str>,
    unseen: BTreeSet<&'a str>,
}

fn refused_and_done(history: &History) -> Swaps<'_> {
    let mut seen = BTreeSet::new();
    for operation in history {
        match &operation.act {
            Act::Get(_, Some(value)) | Act::Swap { before: Some(value), .. } => {
                seen.insert(value.as_str());
            }
            _ => {}
        }
    }
    let (mut refused, mut unseen) = (BTreeSet::new(), BTreeSet::new());
    for operation in history {
        let Act::Swap { after, is_done, .. } = &operation.act else { continue };
        if !is_done {
            refused.insert(after.as_str());
        } else if operation.ended.is_none() && !seen.contains(after.as_str()) {
            unseen.insert(after.as_str());
        }
    }
    Swaps { refused, unseen }
}

/// The rank of each value, from 1. None stands there twice.
fn order_of<'a>(key: &str, values: &[&'a str]) -> Result<BTreeMap<&'a str, usize>, String> {
    let order: BTreeMap<&str, usize> = values.iter().copied().zip(1..).collect();
    if order.len() < values.len() {
        return Err(format!("a value stands in {key} twice"));
    }
    Ok(order)
}

/// A swap stands right behind what it has seen.
fn check_swaps(key: &str, values: &[&str], history: &History) -> Result<(), String> {
    let behind: BTreeMap<&str, Option<&str>> = (values.iter().enumerate())
        .map(|(place, value)| (*value, place.checked_sub(1).map(|before| values[before])))
        .collect();
    for operation in history {
        if let Act::Swap { key: other, before, after, is_done: true } = &operation.act
            && other == key
            && let Some(found) = behind.get(after.as_str())
            && *found != before.as_deref()
        {
            return Err(format!("{found:?} came before it: {operation:?}"));
        }
    }
    Ok(())
}

/// An operation that began after another had ended has no lower rank, and a higher one if it is a
/// write.
fn in_time(key: &str, mut operations: Vec<Ranked<'_>>) -> Result<(), String> {
    let mut ends: Vec<(Duration, usize)> = operations
        .iter()
        .filter_map(|ranked| Some((ranked.operation.ended?, ranked.rank)))
        .collect();
    ends.sort_unstable();
    operations.sort_by_key(|ranked| ranked.operation.began);
    let mut ends = ends.into_iter().peekable();
    let mut highest = 0;
    for ranked in operations {
        while let Some((_, rank)) = ends.next_if(|(ended, _)| *ended < ranked.operation.began) {
            highest = highest.max(rank);
        }
        let least = if ranked.is_write { highest + 1 } else { highest };
        if ranked.rank < least {
            return Err(format!(
                "{key} was at {highest} before this began, which has {}: {:?}",
                ranked.rank, ranked.operation
            ));
        }
    }
    Ok(())
}

/// The lists, as they are in the end.
pub fn lists(url: &str) -> BTreeMap<String, Vec<String>> {
    let texts = |words: &[&str]| redis::from_redis_value(ask(url, words)).unwrap();
    let names: Vec<String> = texts(&["KEYS", "list*"]);
    let list = |name: String| {
        let all = texts(&["LRANGE", &name, "0", "-1"]);
        (name, all)
    };
    names.into_iter().map(list).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A lease of 100 ms that is set between 10 and 20, and looks at it.
    fn judged(looks: &[(u64, u64, bool)]) -> Result<usize, String> {
        let operation = |act, began, ended| Operation { act, began: at(began), ended };
        let mut history = vec![operation(Act::Lease("l".to_owned(), 100), 10, Some(at(20)))];
        for (began, ended, is_there) in looks {
            let act = Act::Look("l".to_owned(), *is_there);
            history.push(operation(act, *began, Some(at(*ended))));
        }
        // One of which nobody knows whether it was set.
        history.push(operation(Act::Lease("m".to_owned(), 100), 10, None));
        history.push(operation(Act::Look("m".to_owned(), true), 500, Some(at(510))));
        judge(&history, &BTreeMap::new(), &BTreeMap::new())
    }

    #[test]
    fn a_lease_has_its_time() {
        let right = [(0, 5, false), (15, 16, true), (30, 40, true), (118, 119, true)];
        assert_eq!(judged(&right), Ok(4));
        assert_eq!(judged(&[(110, 115, false), (126, 130, false)]), Ok(2));
        for (wrong, looks) in [
            ("is there before that", &[(0, 5, true)][..]),
            ("is still there", &[(126, 130, true)]),
            ("is gone too early", &[(30, 40, false)]),
            ("is back", &[(106, 110, false), (111, 115, true)]),
        ] {
            let why = judged(looks).unwrap_err();
            assert!(why.contains(wrong), "{wrong}: {why}");
        }
    }
}
