//! The answers are those of Redis: random commands go to the store and to a real `redis-server`,
//! and every reply must be the same, byte for byte, but for the order where Redis has none.
//!
//! KV_SEED=<n> tries that seed alone; KV_SEEDS=<n> that many of them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::world::{SOON, World, free_ports, happens, skip};

/// A redis-server of this test's own. It dies with it.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start() -> Option<Redis> {
        let port = free_ports();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--databases", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let redis = Redis { child, port };
        assert!(happens(SOON, || TcpStream::connect(("127.0.0.1", port)).is_ok()));
        Some(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A reply, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    line: String,
    bulk: Option<String>,
    all: Vec<Told>,
}

impl Told {
    fn read(from: &mut impl BufRead) -> Told {
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line).unwrap();
        let line = line.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("{line:?}"));
        let line = String::from_utf8_lossy(line).into_owned();
        let count = line[1..].parse::<i64>().unwrap_or(0);
        let (mut bulk, mut all) = (None, Vec::new());
        match line.as_bytes()[0] {
            b'$' | b'=' if count >= 0 => {
                let mut bytes = vec![0; count as usize + 2];
                from.read_exact(&mut bytes).unwrap();
                bulk = Some(bytes.escape_ascii().to_string());
            }
            b'*' | b'~' => all = (0..count).map(|_| Told::read(from)).collect(),
            b'%' => all = (0..2 * count).map(|_| Told::read(from)).collect(),
            _ => {}
        }
        Told { line, bulk, all }
    }

    /// Without the order that Redis does not promise, and without what differs from server to
    /// server.
    fn in_one_form(mut self, name: &str) -> Told {
        match name {
            "keys" | "smembers" | "hkeys" | "hvals" => self.all.sort(),
            "scan" => self.all.iter_mut().for_each(|part| part.all.sort()),
            "hgetall" => {
                let mut pairs: Vec<Vec<Told>> = self.all.chunks(2).map(<[_]>::to_vec).collect();
                pairs.sort();
                self.all = pairs.concat();
            }
            "hello" => {
                for pair in self.all.chunks_mut(2) {
                    let name = pair[0].bulk.as_deref().and_then(|name| name.strip_suffix("\\r\\n"));
                    if matches!(name, Some("id" | "version")) {
                        (pair[1].line, pair[1].bulk) = (String::new(), None);
                    }
                }
            }
            "randomkey" => self.bulk = self.bulk.map(|_| String::new()),
            _ => {}
        }
        if name == "randomkey" && self.bulk.is_some() {
            self.line.clear();
        }
        self
    }

    /// Whether two numbers are those of clocks that were read one after the other; or of keys, of
    /// which Redis counts some that have expired until it removes them.
    fn is_about(&self, redis: &Told, name: &str) -> bool {
        let number = |told: &Told| told.line.strip_prefix(':')?.parse::<i64>().ok();
        let pair = number(self).zip(number(redis));
        pair.is_some_and(|(own, redis)| match name {
            "ttl" => own >= 0 && redis >= 0 && (own - redis).abs() <= 2,
            "pttl" => own >= 0 && redis >= 0 && (own - redis).abs() <= 3000,
            "dbsize" => own <= redis,
            _ => false,
        })
    }
}

struct Line(BufReader<TcpStream>);

impl Line {
    fn new(port: u16) -> Line {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_nodelay(true).unwrap();
        Line(BufReader::new(stream))
    }

    fn ask(&mut self, requests: &[Vec<String>]) -> Vec<Told> {
        let mut bytes = Vec::new();
        for words in requests {
            write!(bytes, "*{}\r\n", words.len()).unwrap();
            words.iter().for_each(|word| write!(bytes, "${}\r\n{word}\r\n", word.len()).unwrap());
        }
        self.0.get_mut().write_all(&bytes).unwrap();
        let told =
            |words: &Vec<String>| Told::read(&mut self.0).in_one_form(&words[0].to_lowercase());
        requests.iter().map(told).collect()
    }
}

/// What commands look like. A word in capitals stands for one that is drawn, a word behind `?` may
/// be missing, and one of several between `|` is taken.
#[rustfmt::skip]
const FORMS: &[&str] = &[
    "ping ?V", "echo V", "select 0|1|x", "client getname", "client setname a|b", "client nothing",
    "unwatch", "discard", "exec", "nonsense V K",
    "hello ?2|3|4|x", "hello 2|3 setname a|b", "reset", "flushall|flushdb ?async|sync|foo",
    "command nothing V",
    "get K", "set K V", "set K V", "set K V ?nx|xx ?get ?keepttl", "set K V ?ex|px|exat|pxat ?T",
    "getex K ?ex|px|persist ?T", "getdel K", "getset K V", "setnx K V", "setex K T V",
    "psetex K T V", "mget K K ?K", "mset K V K V", "mset K V ?K", "msetnx K V K V", "append K V",
    "strlen K", "getrange K N N", "setrange K N V", "incr K", "decr K", "incrby K N", "decrby K N",
    "incrbyfloat K F", "incrbyfloat K F",
    "del K ?K", "unlink K", "exists K K", "type K", "keys P", "scan 0|x ?match ?P ?count ?100|0",
    "scan 0 count 100 type string|hash|list|set|foo", "dbsize", "randomkey", "rename K K",
    "renamenx K K", "expire K T ?nx|xx|gt|lt|foo ?xx|gt|lt", "pexpire K T", "expireat K T",
    "pexpireat K T", "ttl K", "pttl K", "persist K",
    "hset K E V ?E ?V", "hget K E", "hmget K E ?E", "hgetall K", "hdel K E ?E", "hexists K E",
    "hlen K", "hkeys K", "hvals K", "hincrby K E N", "hsetnx K E V",
    "lpush K V ?V", "rpush K V ?V", "lpop K ?N", "rpop K ?N", "llen K", "lrange K N N",
    "lindex K N", "sadd K V ?V", "srem K V ?V", "smembers K", "sismember K V", "scard K",
];

/// Commands whose replies have no order, or are equal in part alone, so that they cannot stand in a
/// transaction here.
#[rustfmt::skip]
const UNORDERED: [&str; 11] = [
    "keys", "scan", "randomkey", "hgetall", "hkeys", "hvals", "smembers", "ttl", "pttl", "hello",
    "dbsize",
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn one<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn word(&mut self, form: &str) -> String {
        let one = match form {
            "K" => return format!("key{}", self.below(7)),
            "V" => self.one(&["a", "b", "", "10", "-3", "3.25", "long \r\n value", "é", "0", "x"]),
            "E" => self.one(&["f", "g", "h", ""]),
            "N" => self.one(&[
                "0",
                "1",
                "2",
                "3",
                "-1",
                "-2",
                "-100",
                "100",
                "x",
                "9223372036854775807",
                "-9223372036854775808",
                "1.0",
                "",
            ]),
            "F" => self.one(&[
                "1",
                "0.1",
                "-2.5",
                "1e3",
                "3.0e-3",
                "1000.1",
                "x",
                "",
                "1e400",
                "123456.789",
                "-0.00001",
                " 1",
                ".5",
                "5.",
            ]),
            "T" => self.one(&[
                "1000",
                "2000000",
                "0",
                "-1",
                "x",
                "4102444800",
                "4102444800000",
                "9223372036854775807",
                "9223372036854775",
            ]),
            "P" => self.one(&["*", "key?", "key[0-3]", "k*[^2]", "\\key1", "key1", "[", "nothing"]),
            words => {
                let words: Vec<&str> = words.split('|').collect();
                self.one(&words)
            }
        };
        one.to_owned()
    }

    fn command(&mut self) -> Vec<String> {
        let form = self.one(FORMS);
        let mut words = Vec::new();
        for part in form.split(' ') {
            match part.strip_prefix('?') {
                Some(part) if self.below(2) == 0 => words.push(self.word(part)),
                Some(_) => {}
                None => words.push(self.word(part)),
            }
        }
        match self.below(40) {
            0 if words.len() > 1 => drop(words.pop()),
            1 => words.push("more".to_owned()),
            2 => words[0].make_ascii_uppercase(),
            _ => {}
        }
        words
    }

    /// Commands that are sent in one piece.
    fn commands(&mut self) -> Vec<Vec<String>> {
        let count = 1 + self.below(25);
        let mut commands: Vec<_> = (0..count).map(|_| self.command()).collect();
        if self.below(4) == 0 {
            commands.retain(|words| !UNORDERED.contains(&&*words[0].to_lowercase()));
            commands.insert(0, vec!["multi".to_owned()]);
            commands.push(vec![self.one(&["exec", "exec", "exec", "discard"]).to_owned()]);
        }
        commands
    }
}

#[test]
fn every_reply_is_that_of_redis() {
    let Some(redis) = Redis::start() else {
        return skip("every_reply_is_that_of_redis", "there is no redis-server");
    };
    let world = World::new(&[]);
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("KV_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("KV_SEEDS").unwrap_or(12),
    };
    for seed in seeds {
        compare(seed, &world, &redis);
    }
}

fn compare(seed: u64, world: &World, redis: &Redis) {
    let mut random = Random(seed);
    // Two connections each, so that one changes what the other watches.
    let mut lines = [1, 2].map(|id| [Line::new(world.port(id)), Line::new(redis.port)]);
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<String>>();
    for pair in &mut lines {
        let hello = ["hello 2", "hello 3"].map(words);
        pair.iter_mut().for_each(|line| drop(line.ask(&hello[seed as usize % 2..][..1])));
    }
    lines[0].iter_mut().for_each(|line| drop(line.ask(&[words("flushall")])));
    for round in 0..60 {
        let place = random.below(2);
        let commands = match random.below(8) {
            0 => vec![vec!["watch".to_owned(), random.word("K")]],
            _ => random.commands(),
        };
        let [own, theirs] = lines[place].each_mut().map(|line| line.ask(&commands));
        for ((words, own), theirs) in commands.iter().zip(&own).zip(&theirs) {
            let is_same = own == theirs || own.is_about(theirs, &words[0].to_lowercase());
            assert!(
                is_same,
                "KV_SEED={seed}, round {round}: {words:?}\nthe store: {own:?}\nredis:     \
                 {theirs:?}\nin {commands:?}"
            );
        }
    }
}
