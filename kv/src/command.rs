//! All commands: their names, how many words they have, where their keys stand, and who carries
//! them out.

use crate::store::commands as store;
use crate::store::{Answer, Fault, Store, Words};

/// Which part carries a command out.
#[derive(Clone, Copy)]
pub enum Act {
    /// It looks at the state.
    Read(fn(&Store, &Words) -> Answer),
    /// It changes the state, so it stands in the log.
    Write(fn(&mut Store, &Words) -> Answer),
    /// It concerns the connection alone.
    Session(Session),
}

/// What a command does that concerns the connection alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // their names are those of the commands
pub enum Session {
    Auth,
    Client,
    Command,
    Discard,
    Echo,
    Exec,
    Hello,
    Info,
    Multi,
    Ping,
    Quit,
    ReadOnly,
    ReadWrite,
    Reset,
    Select,
    Unwatch,
    Watch,
}

/// What is known of a command.
#[derive(Clone, Copy)]
pub struct Command {
    /// Its name, in small letters.
    pub name: &'static str,
    /// How many words it has, its name included; at least this many, if it is negative.
    pub arity: i32,
    /// Where its keys stand: the first, the last, and the step. A negative last is counted from the
    /// end.
    pub keys: (i32, i32, i32),
    /// Which part carries it out.
    pub act: Act,
    /// The group that the documentation of Redis has it in.
    pub group: &'static str,
    /// What it does.
    pub summary: &'static str,
}

impl Command {
    /// The command of this name, in letters of any size.
    pub fn named(name: &[u8]) -> Option<&'static Command> {
        let by_name = |command: &Command| {
            let letters = name.iter().map(u8::to_ascii_lowercase);
            command.name.bytes().cmp(letters)
        };
        ALL.binary_search_by(by_name).ok().map(|place| &ALL[place])
    }

    /// Whether it changes the state.
    pub fn is_write(&self) -> bool {
        matches!(self.act, Act::Write(_))
    }

    /// Whether it looks at the state, and its answer is another one whenever time has passed, as
    /// long as anything expires.
    pub fn tells_time(&self) -> bool {
        matches!(self.name, "ttl" | "pttl")
    }
}

/// The command that these words are, or the error that Redis has for them.
pub fn find(words: &Words) -> Result<&'static Command, Fault> {
    let command = words.first().and_then(|name| Command::named(name));
    let Some(command) = command else { return Err(unknown(words)) };
    if !is_allowed(command.arity, words.len()) {
        return Err(Fault::wrong_count(command.name));
    }
    if let Some(word) = words.get(1) {
        check_subcommand(command.name, word, words.len())?;
    }
    Ok(command)
}

/// The commands that have subcommands, with how many words those have.
const SUBCOMMANDS: [(&str, &[(&str, i32)]); 2] = [
    ("client", &[("getname", 2), ("id", 2), ("info", 2), ("setinfo", 4), ("setname", 3)]),
    ("command", &[("count", 2), ("docs", -2), ("info", -2)]),
];

fn check_subcommand(name: &str, word: &[u8], words: usize) -> Result<(), Fault> {
    let Some((_, known)) = SUBCOMMANDS.iter().find(|(other, _)| *other == name) else {
        return Ok(());
    };
    let subcommand = known.iter().find(|(known, _)| word.eq_ignore_ascii_case(known.as_bytes()));
    let Some((subcommand, arity)) = subcommand else {
        let word = String::from_utf8_lossy(until_nul(&word[..word.len().min(128)]));
        let help = name.to_uppercase();
        return Err(Fault(one_line(&format!("ERR unknown subcommand '{word}'. Try {help} HELP."))));
    };
    if is_allowed(*arity, words) {
        return Ok(());
    }
    Err(Fault::wrong_count(&format!("{name}|{subcommand}")))
}

fn is_allowed(arity: i32, words: usize) -> bool {
    let words = i32::try_from(words).unwrap_or(i32::MAX);
    if arity < 0 { words >= -arity } else { words == arity }
}

/// The error for words that are no command. It shows 128 bytes of the name, and of the rest.
fn unknown(words: &Words) -> Fault {
    const SHOWN: usize = 128;
    let mut rest = Vec::new();
    for word in words.iter().skip(1) {
        if rest.len() >= SHOWN {
            break;
        }
        let shown = SHOWN - rest.len();
        rest.push(b'\'');
        rest.extend(until_nul(word).iter().take(shown));
        rest.extend_from_slice(b"' ");
    }
    let name = words.first().map_or(&[][..], |name| until_nul(name));
    let name = String::from_utf8_lossy(&name[..name.len().min(SHOWN)]);
    let rest = String::from_utf8_lossy(&rest);
    Fault(one_line(&format!("ERR unknown command '{name}', with args beginning with: {rest}")))
}

/// What C takes for the text.
pub fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// An error is one line.
pub fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// A row of the table.
macro_rules! command {
    ($name:literal, $arity:literal, $keys:expr, $act:expr, $group:literal, $summary:literal) => {
        Command {
            name: $name,
            arity: $arity,
            keys: $keys,
            act: $act,
            group: $group,
            summary: $summary,
        }
    };
}

const NONE: (i32, i32, i32) = (0, 0, 0);
const ONE: (i32, i32, i32) = (1, 1, 1);
const REST: (i32, i32, i32) = (1, -1, 1);
const PAIRS: (i32, i32, i32) = (1, -1, 2);
const TWO: (i32, i32, i32) = (1, 2, 1);

use Act::{Read, Session as Own, Write};

/// Every command, by name.
#[rustfmt::skip]
pub const ALL: [Command; 79] = [
    command!("append", 3, ONE, Write(store::append), "string",
        "Appends to a string, which is made if it is not there."),
    command!("auth", -2, NONE, Own(Session::Auth), "connection",
        "Authenticates the connection."),
    command!("client", -2, NONE, Own(Session::Client), "connection",
        "Names the connection, or tells about it."),
    command!("command", -1, NONE, Own(Session::Command), "server",
        "Tells about the commands."),
    command!("dbsize", 1, NONE, Read(store::dbsize), "server",
        "Counts the keys."),
    command!("decr", 2, ONE, Write(store::decr), "string",
        "Subtracts one from a number."),
    command!("decrby", 3, ONE, Write(store::decrby), "string",
        "Subtracts from a number."),
    command!("del", -2, REST, Write(store::del), "generic",
        "Removes keys."),
    command!("discard", 1, NONE, Own(Session::Discard), "transactions",
        "Ends a transaction without carrying it out."),
    command!("echo", 2, NONE, Own(Session::Echo), "connection",
        "Returns its word."),
    command!("exec", 1, NONE, Own(Session::Exec), "transactions",
        "Carries out a transaction."),
    command!("exists", -2, REST, Read(store::exists), "generic",
        "Counts those of the keys that are there."),
    command!("expire", -3, ONE, Write(store::expire), "generic",
        "Lets a key expire after seconds."),
    command!("expireat", -3, ONE, Write(store::expireat), "generic",
        "Lets a key expire at a second since 1970."),
    command!("flushall", -1, NONE, Write(store::flush), "server",
        "Removes all keys."),
    command!("flushdb", -1, NONE, Write(store::flush), "server",
        "Removes all keys."),
    command!("get", 2, ONE, Read(store::get), "string",
        "Returns a string."),
    command!("getdel", 2, ONE, Write(store::getdel), "string",
        "Returns a string and removes it."),
    command!("getex", -2, ONE, Write(store::getex), "string",
        "Returns a string and changes when it expires."),
    command!("getrange", 4, ONE, Read(store::getrange), "string",
        "Returns a part of a string."),
    command!("getset", 3, ONE, Write(store::getset), "string",
        "Sets a string and returns the one before."),
    command!("hdel", -3, ONE, Write(store::hdel), "hash",
        "Removes fields."),
    command!("hello", -1, NONE, Own(Session::Hello), "connection",
        "Chooses the version of the protocol."),
    command!("hexists", 3, ONE, Read(store::hexists), "hash",
        "Tells whether a field is there."),
    command!("hget", 3, ONE, Read(store::hget), "hash",
        "Returns a field."),
    command!("hgetall", 2, ONE, Read(store::hgetall), "hash",
        "Returns all fields and their values."),
    command!("hincrby", 4, ONE, Write(store::hincrby), "hash",
        "Adds to a number in a field."),
    command!("hkeys", 2, ONE, Read(store::hkeys), "hash",
        "Returns the names of all fields."),
    command!("hlen", 2, ONE, Read(store::hlen), "hash",
        "Counts the fields."),
    command!("hmget", -3, ONE, Read(store::hmget), "hash",
        "Returns fields."),
    command!("hset", -4, ONE, Write(store::hset), "hash",
        "Sets fields."),
    command!("hsetnx", 4, ONE, Write(store::hsetnx), "hash",
        "Sets a field that is not there."),
    command!("hvals", 2, ONE, Read(store::hvals), "hash",
        "Returns the values of all fields."),
    command!("incr", 2, ONE, Write(store::incr), "string",
        "Adds one to a number."),
    command!("incrby", 3, ONE, Write(store::incrby), "string",
        "Adds to a number."),
    command!("incrbyfloat", 3, ONE, Write(store::incrbyfloat), "string",
        "Adds to a number with a fraction."),
    command!("info", -1, NONE, Own(Session::Info), "server",
        "Tells about the server."),
    command!("keys", 2, NONE, Read(store::keys), "generic",
        "Returns the keys that fit a pattern."),
    command!("lindex", 3, ONE, Read(store::lindex), "list",
        "Returns an element of a list."),
    command!("llen", 2, ONE, Read(store::llen), "list",
        "Counts the elements of a list."),
    command!("lpop", -2, ONE, Write(store::lpop), "list",
        "Takes elements from the head of a list."),
    command!("lpush", -3, ONE, Write(store::lpush), "list",
        "Puts elements at the head of a list."),
    command!("lrange", 4, ONE, Read(store::lrange), "list",
        "Returns a range of a list."),
    command!("mget", -2, REST, Read(store::mget), "string",
        "Returns strings."),
    command!("mset", -3, PAIRS, Write(store::mset), "string",
        "Sets strings."),
    command!("msetnx", -3, PAIRS, Write(store::msetnx), "string",
        "Sets strings if none of the keys is there."),
    command!("multi", 1, NONE, Own(Session::Multi), "transactions",
        "Begins a transaction."),
    command!("persist", 2, ONE, Write(store::persist), "generic",
        "Lets a key never expire."),
    command!("pexpire", -3, ONE, Write(store::pexpire), "generic",
        "Lets a key expire after milliseconds."),
    command!("pexpireat", -3, ONE, Write(store::pexpireat), "generic",
        "Lets a key expire at a millisecond since 1970."),
    command!("ping", -1, NONE, Own(Session::Ping), "connection",
        "Answers."),
    command!("psetex", 4, ONE, Write(store::psetex), "string",
        "Sets a string for milliseconds."),
    command!("pttl", 2, ONE, Read(store::pttl), "generic",
        "Tells how many milliseconds a key has left."),
    command!("quit", -1, NONE, Own(Session::Quit), "connection",
        "Closes the connection."),
    command!("randomkey", 1, NONE, Read(store::randomkey), "generic",
        "Returns any key."),
    command!("readonly", 1, NONE, Own(Session::ReadOnly), "cluster",
        "Lets reads of this connection be answered by its replica alone."),
    command!("readwrite", 1, NONE, Own(Session::ReadWrite), "cluster",
        "Ends what READONLY began."),
    command!("rename", 3, TWO, Write(store::rename), "generic",
        "Renames a key."),
    command!("renamenx", 3, TWO, Write(store::renamenx), "generic",
        "Renames a key if the new name is free."),
    command!("reset", 1, NONE, Own(Session::Reset), "connection",
        "Makes a connection as it began."),
    command!("rpop", -2, ONE, Write(store::rpop), "list",
        "Takes elements from the tail of a list."),
    command!("rpush", -3, ONE, Write(store::rpush), "list",
        "Puts elements at the tail of a list."),
    command!("sadd", -3, ONE, Write(store::sadd), "set",
        "Adds members."),
    command!("scan", -2, NONE, Read(store::scan), "generic",
        "Goes through the keys."),
    command!("scard", 2, ONE, Read(store::scard), "set",
        "Counts the members."),
    command!("select", 2, NONE, Own(Session::Select), "connection",
        "Chooses the database; there is one."),
    command!("set", -3, ONE, Write(store::set), "string",
        "Sets a string."),
    command!("setex", 4, ONE, Write(store::setex), "string",
        "Sets a string for seconds."),
    command!("setnx", 3, ONE, Write(store::setnx), "string",
        "Sets a string that is not there."),
    command!("setrange", 4, ONE, Write(store::setrange), "string",
        "Overwrites a part of a string."),
    command!("sismember", 3, ONE, Read(store::sismember), "set",
        "Tells whether a member is there."),
    command!("smembers", 2, ONE, Read(store::smembers), "set",
        "Returns all members."),
    command!("srem", -3, ONE, Write(store::srem), "set",
        "Removes members."),
    command!("strlen", 2, ONE, Read(store::strlen), "string",
        "Tells how long a string is."),
    command!("ttl", 2, ONE, Read(store::ttl), "generic",
        "Tells how many seconds a key has left."),
    command!("type", 2, ONE, Read(store::kind), "generic",
        "Tells what a key holds."),
    command!("unlink", -2, REST, Write(store::del), "generic",
        "Removes keys."),
    command!("unwatch", 1, NONE, Own(Session::Unwatch), "transactions",
        "Forgets what is watched."),
    command!("watch", -2, REST, Own(Session::Watch), "transactions",
        "Lets the next transaction be carried out only if keys do not change."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_found_in_letters_of_any_size() {
        assert!(ALL.is_sorted_by(|one, other| one.name < other.name));
        for command in &ALL {
            let name = command.name.to_uppercase();
            assert_eq!(Command::named(name.as_bytes()).unwrap().name, command.name);
        }
        assert!(Command::named(b"gett").is_none() && Command::named(b"ge").is_none());
    }

    #[test]
    fn what_is_no_command_is_answered_as_redis_does() {
        let error = |words: &[&[u8]]| find(words).map(|command| command.name).unwrap_err().0;
        let unknown = "ERR unknown command 'Foo', with args beginning with: 'a' 'b c' ";
        assert_eq!(error(&[b"Foo", b"a", b"b c"]), unknown);
        let long = error(&[b"foo", &[b'x'; 300], b"y"]);
        // As redis-server 7.0.15 cuts it.
        assert_eq!(long.len(), 184, "{long}");
        assert_eq!(error(&[b"GET"]), "ERR wrong number of arguments for 'get' command");
    }
}
