//! The store alone.

use super::*;
use crate::command::{self, Act};

/// Carries out a command as a person would type it, and shows the answer.
fn run(store: &mut Store, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let answer = command::find(&words).and_then(|command| match command.act {
        Act::Read(read) => read(store, &words),
        Act::Write(write) => write(store, &words),
        Act::Session(_) => panic!("{line} is not for the store"),
    });
    let mut out = Vec::new();
    answer.unwrap_or_else(|fault| Reply::Error(fault.0)).write(Default::default(), &mut out);
    String::from_utf8(out).unwrap().replace("\r\n", " ").trim_end().to_owned()
}

/// Carries out lines, each with its answer.
fn script(lines: &[(&str, &str)]) {
    let mut store = Store::default();
    store.advance(1_000_000);
    for (line, answer) in lines {
        assert_eq!(run(&mut store, line), *answer, "{line}");
    }
}

#[test]
fn strings_are_set_on_conditions_and_expire() {
    script(&[
        ("SET k v", "+OK"),
        ("SET k w NX", "$-1"),
        ("SET k w XX GET", "$1 v"),
        ("SET k x EX 10", "+OK"),
        ("PTTL k", ":10000"),
        ("SET k y KEEPTTL", "+OK"),
        ("TTL k", ":10"),
        ("APPEND k z", ":2"),
        ("TTL k", ":10"),
        ("SET k z", "+OK"),
        ("TTL k", ":-1"),
        ("SET k z EX 10 KEEPTTL", "-ERR syntax error"),
        ("SET k z EX 10 PX 10", "-ERR syntax error"),
        ("SET k z EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET k z NX XX", "-ERR syntax error"),
        ("GETEX k PX 5", "$1 z"),
        ("PTTL k", ":5"),
        ("GETEX k PERSIST", "$1 z"),
        ("TTL k", ":-1"),
        ("GETDEL k", "$1 z"),
        ("TTL k", ":-2"),
        ("SETRANGE k 3 ab", ":5"),
        ("STRLEN k", ":5"),
        ("GETRANGE k -2 -1", "$2 ab"),
        ("MSETNX a 1 k 2", ":0"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
        ("EXISTS a", ":0"),
    ]);
}

#[test]
fn numbers_are_counted_and_never_overflow() {
    script(&[
        ("INCR n", ":1"),
        ("DECRBY n -9223372036854775808", "-ERR decrement would overflow"),
        ("INCRBY n 9223372036854775807", "-ERR increment or decrement would overflow"),
        ("INCRBYFLOAT n 0.5", "$3 1.5"),
        ("INCR n", "-ERR value is not an integer or out of range"),
        ("HINCRBY h f 3", ":3"),
        ("HSET h g x", ":1"),
        ("HINCRBY h g 1", "-ERR hash value is not an integer"),
        ("INCR h", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ]);
}

#[test]
fn what_is_empty_is_not_there() {
    script(&[
        ("RPUSH l a b c", ":3"),
        ("LPUSH l z", ":4"),
        ("LRANGE l 0 -1", "*4 $1 z $1 a $1 b $1 c"),
        ("LRANGE l 1 1", "*1 $1 a"),
        ("LPOP l", "$1 z"),
        ("RPOP l 9", "*3 $1 c $1 b $1 a"),
        ("TYPE l", "+none"),
        ("LPOP l 1", "*-1"),
        ("LPOP l", "$-1"),
        ("SADD s a b a", ":2"),
        ("SREM s a b", ":2"),
        ("EXISTS s", ":0"),
        ("HSET h f 1 g 2", ":2"),
        ("HDEL h f g x", ":2"),
        ("DBSIZE", ":0"),
    ]);
}

#[test]
fn a_key_expires_by_the_time_of_the_log_alone() {
    let mut store = Store::default();
    store.advance(1000);
    assert_eq!(run(&mut store, "SET k v PX 100"), "+OK");
    assert_eq!(run(&mut store, "SET forever v"), "+OK");
    store.advance(1100);
    // Time never goes back.
    store.advance(500);
    assert_eq!(run(&mut store, "PTTL k"), ":0");
    let version = store.version(b"k");
    assert!(!store.has_overdue(1100) && store.has_overdue(1101), "by a clock that is ahead");
    store.advance(1101);
    assert!(!store.has_overdue(u64::MAX), "it is gone");
    assert_eq!(run(&mut store, "GET k"), "$-1");
    assert!(store.version(b"k") > version, "who watches it is told");
    assert_eq!((store.len(), store.expiring()), (1, 0));
    assert_eq!(run(&mut store, "EXPIRE forever 10 GT"), ":0");
    assert_eq!(run(&mut store, "EXPIRE forever 10 LT"), ":1");
    assert_eq!(run(&mut store, "EXPIRE forever 5 NX"), ":0");
    assert_eq!(run(&mut store, "RENAME forever k"), "+OK");
    assert_eq!(run(&mut store, "TTL k"), ":10");
    assert_eq!(run(&mut store, "EXPIRE k -1"), ":1");
    assert_eq!((store.len(), store.expiring()), (0, 0));
}

#[test]
fn a_version_changes_with_the_key_and_only_then() {
    let mut store = Store::default();
    let mut before = store.version(b"k");
    for line in ["SET k 1", "INCR k", "EXPIRE k 9", "PERSIST k", "DEL k", "RPUSH k a", "FLUSHALL"] {
        run(&mut store, line);
        let after = store.version(b"k");
        assert_ne!(after, before, "{line}");
        before = after;
    }
    for line in ["GET k", "DEL k", "SET other 1", "LPOP k", "HDEL k f", "SET k v XX", "PERSIST k"] {
        run(&mut store, line);
        assert_eq!(store.version(b"k"), before, "{line}");
    }
}

/// Every key that is there all the time comes at least once, no matter what is removed meanwhile.
#[test]
fn a_scan_misses_nothing_that_stays() {
    let mut store = Store::default();
    for number in 0..100 {
        run(&mut store, &format!("SET key{number} v"));
    }
    let (mut cursor, mut found) = ("0".to_owned(), BTreeSet::new());
    for round in 0.. {
        let told = run(&mut store, &format!("SCAN {cursor} COUNT 7"));
        let words: Vec<&str> = told.split(' ').collect();
        cursor = words[2].to_owned();
        found.extend(words[3..].iter().filter(|word| word.starts_with('k')).map(|w| w.to_string()));
        run(&mut store, &format!("DEL key{}", 2 * round + 1));
        if cursor == "0" {
            break;
        }
    }
    for number in (0..100).step_by(2) {
        assert!(found.contains(&format!("key{number}")), "{number}");
    }
    assert_eq!(run(&mut store, "SCAN x"), "-ERR invalid cursor");
}

#[test]
fn stores_with_the_same_commands_have_the_same_digest() {
    let mut stores = [Store::default(), Store::default()];
    let lines = ["SET a 1", "HSET h a 1 b 2 c 3", "HDEL h a", "SADD s 3 1 2", "SREM s 3", "DEL a"];
    for line in lines {
        stores.iter_mut().for_each(|store| drop(run(store, line)));
    }
    assert_eq!(stores[0].digest(), stores[1].digest());
    run(&mut stores[0], "RPUSH l x");
    assert_ne!(stores[0].digest(), stores[1].digest());
}

#[test]
fn a_store_that_was_written_goes_on_as_the_one_that_wrote_it() {
    let mut store = Store::default();
    store.advance(1_700_000_000_000);
    let lines = [
        "SET a 1",
        "SET b \u{e9} PX 50",
        "HSET h f 1 g 2 i 3",
        "HDEL h f",
        "RPUSH l x y z",
        "SADD s 1 2 3",
        "SREM s 1",
        "DEL a",
        "PEXPIRE h 1000",
        "SET empty \"\"",
    ];
    lines.iter().for_each(|line| drop(run(&mut store, line)));
    let mut bytes = Vec::new();
    store.write(&mut bytes).unwrap();
    let mut restored = Store::default();
    run(&mut restored, "SET gone v");
    restored.restore(&mut bytes.as_slice()).unwrap();
    for now in [0, 1_700_000_000_051, 1_700_000_001_001] {
        assert_eq!(restored.digest(), store.digest());
        assert_eq!(restored.expiring(), store.expiring());
        for other in [&mut store, &mut restored] {
            run(other, "INCR a");
            run(other, "DEL empty");
            other.advance(now);
        }
        let told = ["KEYS *", "HGETALL h", "SMEMBERS s", "SCAN 0", "PTTL h"]
            .map(|line| (run(&mut store, line), run(&mut restored, line)));
        assert!(told.iter().all(|(one, other)| one == other), "{told:?}");
    }
    // Only a complete state is accepted, and a refused one changes nothing.
    let before = restored.digest();
    for end in 0..bytes.len() {
        let refused = restored.restore(&mut &bytes[..end]).unwrap_err().to_string();
        assert!(refused.starts_with("this is not the state of a store: "), "{end}: {refused}");
    }
    bytes.push(0);
    assert!(restored.restore(&mut bytes.as_slice()).is_err());
    bytes[0] = 3;
    let refused = restored.restore(&mut bytes.as_slice()).unwrap_err().to_string();
    assert!(refused.contains("form is number 3"), "{refused}");
    assert_eq!(restored.digest(), before);
    // The form of an earlier version has the same bytes, and that version refuses this one's.
    bytes.pop();
    bytes[0] = 1;
    restored.restore(&mut bytes.as_slice()).unwrap();
    let mut again = Vec::new();
    restored.write(&mut again).unwrap();
    assert_eq!(again[0], 2);
    assert_eq!(again[1..], bytes[1..]);
}
