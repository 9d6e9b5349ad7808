//! A session and a store, without a socket and without a log.

use std::sync::Arc;

use super::*;
use crate::entry::Reader;
use crate::machine;

/// A connection to a store of its own.
struct Line {
    session: Session,
    about: About,
}

impl Line {
    fn new(password: Option<&str>) -> Line {
        let address = SocketAddr::from(([127, 0, 0, 1], 7001));
        let about = About {
            id: 1,
            cluster: "kv".to_owned(),
            listen: address,
            clients_max: 10,
            clients: 1,
            connections: 1,
            commands: 0,
            password: password.map(|password| password.as_bytes().to_vec()),
            longest: 10_000,
            flight_bytes: 1000,
            reads_locally: false,
            disks_are_full: false,
            started: Instant::now(),
            store: Shared::default(),
        };
        Line { session: Session::new(1, address, &about), about }
    }

    /// Another connection to the same store.
    fn other(&self) -> Line {
        let mut line = Line::new(None);
        line.about.store = Arc::clone(&self.about.store);
        line
    }

    /// What several requests that come together are answered.
    fn ask(&mut self, lines: &[&str]) -> String {
        let (mut flight, mut out) = (Flight::default(), Vec::new());
        for line in lines {
            let request = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            let next = self.session.take(request, &mut self.about, &mut flight);
            assert!(next == Next::Wait || !line.starts_with("WATCH"), "{line}");
            if next == Next::Wait {
                assert!(self.land(std::mem::take(&mut flight), &mut out));
            }
        }
        assert!(self.land(flight, &mut out));
        String::from_utf8(out).unwrap().replace("\r\n", " ").trim_end().to_owned()
    }

    fn land(&mut self, flight: Flight, out: &mut Vec<u8>) -> bool {
        let replies = machine::read(&mut self.about.store.lock(), Reader::of(&flight.steps));
        self.session.land(flight, replies, &mut self.about, out)
    }

    /// Whether the connection goes on after these requests, and how many answers it was given.
    fn goes_on(&mut self, lines: impl Iterator<Item = String>) -> (bool, usize) {
        let (mut flight, mut out) = (Flight::default(), Vec::new());
        for line in lines {
            let request = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            self.session.take(request, &mut self.about, &mut flight);
        }
        let goes_on = self.land(flight, &mut out);
        (goes_on, out.iter().filter(|byte| **byte == b'\n').count() / 2)
    }

    fn script(&mut self, lines: &[(&str, &str)]) {
        for (line, answer) in lines {
            assert_eq!(self.ask(&[line]), *answer, "{line}");
        }
    }
}

#[test]
fn answers_are_in_the_order_of_the_requests() {
    let mut line = Line::new(None);
    let told = line.ask(&["PING", "SET k 1", "ECHO a", "HELLO 3", "GET none", "nonsense"]);
    let hello = told.find("%7").unwrap();
    assert_eq!(&told[..hello], "+PONG +OK $1 a ");
    assert!(told.ends_with("*0 _ -ERR unknown command 'nonsense', with args beginning with:"));
    assert_eq!(line.about.commands, 6);
}

/// However short the requests are that come together, their answers are made up to a limit only.
#[test]
fn answers_that_are_made_together_are_bounded() {
    let mut line = Line::new(None);
    line.script(&[("SETRANGE k 33554431 v", ":33554432"), ("HSET h f v", ":1")]);
    line.about.longest = 100_000;
    let many = |word: &str, what: &str| format!("{word}{}", what.repeat(900));
    let asked = |count: usize| std::iter::repeat_n("GET k".to_owned(), count);
    // An answer takes a little more than its value.
    assert_eq!(line.goes_on(asked(7)), (true, 7));
    assert_eq!(line.goes_on(asked(3_000)), (false, 7));
    let transaction = |count| {
        let count = asked(count).chain(["INCR n".to_owned(), "EXEC".to_owned()]);
        ["MULTI".to_owned()].into_iter().chain(count)
    };
    assert!(line.goes_on(transaction(7)).0);
    assert!(!line.goes_on(transaction(900)).0);
    assert_eq!(line.ask(&["GET n"]), "$1 2", "it is carried out all the same");
    assert!(!line.goes_on([many("MGET", " k")].into_iter()).0);
    assert!(line.goes_on([many("HMGET h", " f")].into_iter()).0);
    let watched = asked(9).chain(["WATCH k".to_owned()]);
    assert!(!line.goes_on(watched).0, "nothing behind it is done");
    // Short answers are given behind long ones: they may be another client's.
    let mut room = crate::reply::Room::default();
    let long = Reply::bulk(&vec![0; crate::reply::OUTPUT_BYTES_MAX / 2]);
    assert_eq!(room.take(long.clone()), long);
    assert_eq!(room.take(long), Reply::TooMuch);
    assert_eq!(room.take(Reply::OK), Reply::OK);
}

#[test]
fn a_transaction_is_carried_out_as_a_whole() {
    let mut line = Line::new(None);
    let told = line.ask(&["MULTI", "SET k 1", "PING", "INCR k", "EXEC", "GET k"]);
    assert_eq!(told, "+OK +QUEUED +QUEUED +QUEUED *3 +OK +PONG :2 $1 2");
    // What comes behind it in the same piece does not overtake it.
    let requests = ["MULTI", "CLIENT GETNAME", "EXEC", "CLIENT SETNAME me", "CLIENT GETNAME"];
    assert_eq!(line.ask(&requests), "+OK +QUEUED *1 $-1 +OK $2 me");
    line.script(&[
        ("MULTI", "+OK"),
        ("MULTI", "-ERR MULTI calls can not be nested"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("INCR k", "+QUEUED"),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("GET k", "$1 2"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("DISCARD", "-ERR DISCARD without MULTI"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
    ]);
}

#[test]
fn a_transaction_fails_if_a_key_has_changed_that_was_watched() {
    crate::bugs::with(None, transactions_fail_if_a_key_has_changed);
}

fn transactions_fail_if_a_key_has_changed() {
    let mut line = Line::new(None);
    let mut other = line.other();
    for (change, expected) in [("SET k 2", "*-1"), ("SET j 2", "*1 +OK"), ("DEL k", "*-1")] {
        line.script(&[("WATCH k", "+OK"), ("WATCH k", "+OK"), ("MULTI", "+OK")]);
        assert_eq!(line.ask(&["SET k 3"]), "+QUEUED");
        other.ask(&[change]);
        assert_eq!(line.ask(&["EXEC"]), expected, "{change}");
    }
    line.script(&[("WATCH k", "+OK"), ("UNWATCH", "+OK"), ("MULTI", "+OK")]);
    other.ask(&["SET k 9"]);
    line.script(&[("EXEC", "*0")]);
}

/// As Redis does it when it cannot write to its disk, even within transactions.
#[test]
fn while_disks_are_full_writes_are_refused_and_reads_go_on() {
    let mut line = Line::new(None);
    line.script(&[("SET k 1", "+OK"), ("MULTI", "+OK"), ("INCR k", "+QUEUED")]);
    line.about.disks_are_full = true;
    let refused = format!("-{DISKS_FULL}");
    let aborted = format!("-EXECABORT Transaction discarded because of: {DISKS_FULL}");
    assert_eq!(line.ask(&["EXEC"]), aborted);
    assert_eq!(line.ask(&["SET k 2", "GET k", "DEL k"]), format!("{refused} $1 1 {refused}"));
    line.script(&[
        ("MULTI", "+OK"),
        ("GET k", "+QUEUED"),
        ("EXEC", "*1 $1 1"),
        ("MULTI", "+OK"),
        ("INCR k", &refused),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
    ]);
    line.about.disks_are_full = false;
    line.script(&[("INCR k", ":2")]);
}

#[test]
fn a_stranger_can_only_say_the_password() {
    let mut line = Line::new(Some("secret"));
    line.script(&[
        ("GET k", "-NOAUTH Authentication required."),
        ("MULTI", "-NOAUTH Authentication required."),
        ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH other secret", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH secret", "+OK"),
        ("GET k", "$-1"),
        ("RESET", "+RESET"),
        ("GET k", "-NOAUTH Authentication required."),
    ]);
    assert!(line.ask(&["HELLO 3"]).starts_with("-NOAUTH HELLO must be called"));
    assert!(line.ask(&["HELLO 3 AUTH default secret SETNAME me"]).starts_with("%7"));
    assert_eq!(line.ask(&["CLIENT GETNAME"]), "$2 me");
}

#[test]
fn what_is_too_long_for_the_log_is_refused_by_a_sentence() {
    let mut line = Line::new(None);
    let long = format!("SET k {}", "x".repeat(10_000));
    assert!(line.ask(&[&long]).starts_with("-ERR the command has about"));
    let half = format!("SET k {}", "x".repeat(6000));
    let told = line.ask(&["MULTI", &half, &half, "EXEC"]);
    assert!(told.contains("+QUEUED -ERR the command has about") && told.contains("-EXECABORT"));
}
