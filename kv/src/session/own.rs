//! The commands that concern the connection alone.

use std::hash::{BuildHasher, RandomState};

use super::{About, Session};
use crate::command::{self, Act, Command, Session as Own, one_line};
use crate::reply::{Protocol, Reply};
use crate::store::{Answer, Fault, commands as store};

/// The version of Redis whose answers are given.
const REDIS_VERSION: &str = "7.0.15";

impl Session {
    /// The answer to a command of this kind. Those that begin and end transactions are not here.
    pub(super) fn own(&mut self, own: Own, words: &[&[u8]], about: &mut About) -> Reply {
        let answer = match own {
            Own::Auth => self.auth(words, about),
            Own::Client => self.client(words),
            Own::Command => command(words),
            Own::Echo => Ok(Reply::bulk(words[1])),
            Own::Hello => self.hello(words, about),
            Own::Info => Ok(Reply::Text(info(&words[1..], about))),
            Own::Ping => ping(words),
            Own::ReadOnly | Own::ReadWrite => {
                self.reads_locally = own == Own::ReadOnly || about.reads_locally;
                Ok(Reply::OK)
            }
            Own::Select => select(words),
            Own::Unwatch => {
                self.watched.clear();
                Ok(Reply::OK)
            }
            Own::Discard | Own::Exec | Own::Multi | Own::Quit | Own::Reset | Own::Watch => {
                unreachable!("they are told by the session itself")
            }
        };
        answer.unwrap_or_else(|fault| Reply::Error(fault.0))
    }

    fn auth(&mut self, words: &[&[u8]], about: &About) -> Answer {
        let (user, given) = match words {
            [_, given] => (&b"default"[..], *given),
            [_, user, given] => (*user, *given),
            _ => return Err("syntax error".into()),
        };
        if about.password.is_none() && words.len() == 2 {
            let sentence = "AUTH <password> called without any password configured for the default \
                            user. Are you sure your configuration is correct?";
            return Err(sentence.into());
        }
        self.authenticate(user, given, about)?;
        Ok(Reply::OK)
    }

    fn authenticate(&mut self, user: &[u8], given: &[u8], about: &About) -> Result<(), Fault> {
        let is_right = match &about.password {
            Some(password) => are_equal(password, given),
            None => true,
        };
        if user == b"default" && is_right {
            self.is_authenticated = true;
            return Ok(());
        }
        let sentence = "WRONGPASS invalid username-password pair or user is disabled.";
        Err(Fault(sentence.to_owned()))
    }

    fn hello(&mut self, words: &[&[u8]], about: &About) -> Answer {
        let mut protocol = self.protocol;
        if let Some(text) = words.get(1) {
            protocol = match std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()) {
                Some(2_i64) => Protocol::Resp2,
                Some(3) => Protocol::Resp3,
                Some(_) => return Err(Fault("NOPROTO unsupported protocol version".to_owned())),
                None => return Err("Protocol version is not an integer or out of range".into()),
            };
        }
        // As Redis does, one after the other: what stands before a mistake has happened.
        let mut rest = &words[words.len().min(2)..];
        while let [option, more @ ..] = rest {
            rest = match (&option.to_ascii_lowercase()[..], more) {
                (b"auth", [user, given, more @ ..]) => {
                    self.authenticate(user, given, about)?;
                    more
                }
                (b"setname", [name, more @ ..]) => {
                    self.set_name(name)?;
                    more
                }
                _ => {
                    let option = one_line(&String::from_utf8_lossy(option));
                    return Err(Fault(format!("ERR Syntax error in HELLO option '{option}'")));
                }
            };
        }
        if !self.is_authenticated {
            let sentence = "NOAUTH HELLO must be called with the client already authenticated, \
                            otherwise the HELLO <proto> AUTH <user> <pass> option can be used to \
                            authenticate the client and select the RESP protocol version at the \
                            same time";
            return Err(Fault(sentence.to_owned()));
        }
        self.protocol = protocol;
        let number = if protocol == Protocol::Resp3 { 3 } else { 2 };
        let pair = |name: &str, reply| (Reply::bulk(name.as_bytes()), reply);
        Ok(Reply::Map(vec![
            pair("server", Reply::bulk(b"redis")),
            pair("version", Reply::bulk(REDIS_VERSION.as_bytes())),
            pair("proto", Reply::Integer(number)),
            pair("id", Reply::Integer(self.id as i64)),
            pair("mode", Reply::bulk(b"standalone")),
            pair("role", Reply::bulk(b"master")),
            pair("modules", Reply::Array(Vec::new())),
        ]))
    }

    fn set_name(&mut self, name: &[u8]) -> Result<(), Fault> {
        if !name.iter().all(u8::is_ascii_graphic) {
            let sentence = "Client names cannot contain spaces, newlines or special characters.";
            return Err(sentence.into());
        }
        self.name = name.to_vec();
        Ok(())
    }

    fn client(&mut self, words: &[&[u8]]) -> Answer {
        let subcommand = words[1].to_ascii_lowercase();
        match (&subcommand[..], &words[2..]) {
            (b"id", []) => Ok(Reply::Integer(self.id as i64)),
            (b"info", []) => Ok(Reply::Text(self.line())),
            (b"getname", []) if self.name.is_empty() => Ok(Reply::Null),
            (b"getname", []) => Ok(Reply::bulk(&self.name)),
            (b"setname", [name]) => self.set_name(name).map(|()| Reply::OK),
            (b"setinfo", [attribute, value]) => self.set_info(attribute, value),
            _ => unreachable!("the table of commands has no other"),
        }
    }

    fn set_info(&mut self, attribute: &[u8], value: &[u8]) -> Answer {
        let shown = one_line(&String::from_utf8_lossy(attribute));
        let place = match &attribute.to_ascii_lowercase()[..] {
            b"lib-name" => 0,
            b"lib-ver" => 1,
            _ => return Err(Fault(format!("ERR Unrecognized option '{shown}'"))),
        };
        if !value.iter().all(u8::is_ascii_graphic) {
            let sentence = "cannot contain spaces, newlines or special characters.";
            return Err(Fault(format!("ERR {shown} {sentence}")));
        }
        self.library[place] = value.to_vec();
        Ok(Reply::OK)
    }

    fn line(&self) -> String {
        let queued = self.transaction.as_ref().map_or(-1, |open| open.items.len() as i64);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!(
            "id={} addr={} name={} age={} db=0 sub=0 multi={queued} watch={} cmd={} user=default \
             lib-name={} lib-ver={} resp={}\n",
            self.id,
            self.address,
            text(&self.name),
            self.since.elapsed().as_secs(),
            self.watched.len(),
            self.last,
            text(&self.library[0]),
            text(&self.library[1]),
            if self.protocol == Protocol::Resp3 { 3 } else { 2 },
        )
    }
}

/// Takes the same time for any difference: both are hashed with a secret key.
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    let keys = [RandomState::new(), RandomState::new()];
    keys.iter().all(|key| key.hash_one(one) == key.hash_one(other))
}

fn ping(words: &[&[u8]]) -> Answer {
    match words {
        [_] => Ok(Reply::Simple("PONG")),
        [_, word] => Ok(Reply::bulk(word)),
        _ => Err(Fault::wrong_count("ping")),
    }
}

fn select(words: &[&[u8]]) -> Answer {
    if store::database(words[1])? { Ok(Reply::OK) } else { Err("DB index is out of range".into()) }
}

fn command(words: &[&[u8]]) -> Answer {
    let Some(subcommand) = words.get(1) else {
        return Ok(Reply::Array(command::ALL.iter().map(described).collect()));
    };
    match (&subcommand.to_ascii_lowercase()[..], &words[2..]) {
        (b"count", []) => Ok(Reply::count(command::ALL.len())),
        (b"info", []) => Ok(Reply::Array(command::ALL.iter().map(described).collect())),
        (b"info", names) => {
            let one = |name: &&[u8]| Command::named(name).map_or(Reply::NullArray, described);
            Ok(Reply::Array(names.iter().map(one).collect()))
        }
        (b"docs", []) => Ok(Reply::Map(command::ALL.iter().map(documented).collect())),
        (b"docs", names) => {
            let known = names.iter().filter_map(|name| Command::named(name));
            Ok(Reply::Map(known.map(documented).collect()))
        }
        _ => unreachable!("the table of commands has no other"),
    }
}

fn described(command: &Command) -> Reply {
    let flag = match command.act {
        Act::Read(_) => "readonly",
        Act::Write(_) => "write",
        Act::Session(_) => "fast",
    };
    let number = |number: i32| Reply::Integer(i64::from(number));
    let (first, last, step) = command.keys;
    Reply::Array(vec![
        Reply::bulk(command.name.as_bytes()),
        number(command.arity),
        Reply::Set(vec![Reply::Simple(flag)]),
        number(first),
        number(last),
        number(step),
        Reply::Set(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

fn documented(command: &Command) -> (Reply, Reply) {
    let [summary, group] = ["summary", "group"].map(|name| Reply::bulk(name.as_bytes()));
    let summary = (summary, Reply::bulk(command.summary.as_bytes()));
    let group = (group, Reply::bulk(command.group.as_bytes()));
    (Reply::bulk(command.name.as_bytes()), Reply::Map(vec![summary, group]))
}

fn info(sections: &[&[u8]], about: &About) -> String {
    let (keys, expires) = {
        let store = about.store.lock();
        (store.len(), store.expiring())
    };
    let keyspace = if keys == 0 {
        String::new()
    } else {
        format!("db0:keys={keys},expires={expires},avg_ttl=0\r\n")
    };
    let all = [
        (
            "server",
            format!(
                "# Server\r\nredis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\n\
                 paxos_kv_version:{}\r\npaxos_cluster:{}\r\npaxos_id:{}\r\nprocess_id:{}\r\n\
                 tcp_port:{}\r\nuptime_in_seconds:{}\r\n",
                env!("CARGO_PKG_VERSION"),
                about.cluster,
                about.id,
                std::process::id(),
                about.listen.port(),
                about.started.elapsed().as_secs(),
            ),
        ),
        (
            "clients",
            format!(
                "# Clients\r\nconnected_clients:{}\r\nmaxclients:{}\r\n",
                about.clients, about.clients_max
            ),
        ),
        (
            "stats",
            format!(
                "# Stats\r\ntotal_connections_received:{}\r\ntotal_commands_processed:{}\r\n",
                about.connections, about.commands
            ),
        ),
        ("replication", "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n".to_owned()),
        ("keyspace", format!("# Keyspace\r\n{keyspace}")),
    ];
    let is_asked = |name: &str| {
        let is = |word: &&[u8]| {
            let everything = ["all", "default", "everything", name];
            everything.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
        };
        sections.is_empty() || sections.iter().any(is)
    };
    let asked = all.into_iter().filter(|(name, _)| is_asked(name)).map(|(_, text)| text);
    asked.collect::<Vec<_>>().join("\r\n")
}
