//! The configuration file: text to groups and settings.
//!
//! Parsing is pure; [`load`] alone reads a file. Every error is one sentence that names the place
//! and the cure. `KEYS` is the one list of settings: the parser, the hints and the test over the
//! shipped file all go by it.

mod error;
mod groups;
mod limits;
mod metrics;
mod nearest;
mod retain;
mod show;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::error::ConfigError;
use self::groups::{GROUPS, clash, name_of, parse_group};
use self::limits::DATAGRAM_BYTES_MIN;
pub use self::metrics::MetricsChoice;
use self::nearest::unknown;
use self::retain::{parse_disk, parse_keepers, parse_memory, parse_retain};
use crate::auth::seal::SEAL_BYTES;
use crate::net::interface::{HostInterface, Interface, InterfaceChoice, mtu_of};
use crate::net::{Group, Groups, UDP_PAYLOAD_MAX, payload_of_mtu};
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{NodeId, Role, Value};
use crate::protocol::versions::Version;
use crate::text::{self, lines};

/// What a configuration file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The group of each role.
    pub groups: Groups,
    /// Datagrams of other clusters on the same groups are dropped.
    pub cluster: String,
    /// The interface for multicast.
    pub interface: InterfaceChoice,
    /// How many networks a multicast datagram may cross.
    pub ttl: u32,
    /// How many bytes of receive buffer to request.
    pub socket_buffer_bytes: usize,
    /// The first port that is tried for the socket of a process's own; 0 means any.
    pub unicast_port: u16,
    /// How long threads poll before they block.
    pub busy_poll: Duration,
    /// Whether the roles of a node share one thread.
    pub shares_thread: bool,
    /// Where acceptors keep their data; without it they are not durable.
    pub data: Option<PathBuf>,
    /// How many bytes an acceptor's log may take there; without it as many as there are.
    pub disk_bytes: Option<u64>,
    /// Where learners that apply the values keep snapshots; without it they keep none.
    pub snapshots: Option<PathBuf>,
    /// About how many bytes of memory a process may take. Without `data` memory is all there is,
    /// and the log is limited to half of it.
    pub memory_bytes: u64,
    /// The file with the cluster's key; without it anybody may take part.
    pub key_file: Option<PathBuf>,
    /// How many datagrams wait for the role loop, at most.
    pub inbox_datagrams: usize,
    /// Where processes serve their metrics.
    pub metrics: MetricsChoice,
    /// The largest datagram, if the file says so; else the interface's MTU decides.
    datagram_bytes: Option<usize>,
    settings: Settings,
    path: String,
    /// The line of each key that is given.
    lines: BTreeMap<String, usize>,
    /// What each key that is given is set to, numbers in their plain form.
    said: BTreeMap<String, String>,
}

/// Where a process is on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens: its group's multicast address, or its own.
    pub listen: SocketAddr,
    /// The interface for multicast.
    pub interface: Interface,
    /// The MTU that its datagrams should fit, in bytes, where the system says it.
    pub mtu: Option<usize>,
}

/// Why a process cannot listen on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointError {
    sentence: String,
    may_pass: bool,
}

impl EndpointError {
    /// Whether it may pass by itself: an interface or its address may come a moment later.
    pub fn may_pass(&self) -> bool {
        self.may_pass
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for EndpointError {}

/// One setting.
struct Key {
    name: &'static str,
    form: Form,
}

/// What a setting's value looks like, and where it goes.
enum Form {
    /// A whole number within bounds.
    Number(RangeInclusive<u64>, fn(&mut Config, u64)),
    /// A number of milliseconds.
    Millis(fn(&mut Config) -> &mut Duration),
    /// An interface's name, address or network.
    Interface(fn(&mut Config, InterfaceChoice)),
    /// An address and a port to listen at, or nothing.
    Metrics(fn(&mut Config, MetricsChoice)),
    /// A word.
    Word(fn(&mut Config, &str)),
    /// A word with a form of its own.
    Own(fn(&mut Config, &str) -> Result<(), String>),
    /// Words, one at least.
    List(fn(&mut Config, &[&str]) -> Result<(), String>),
}

const fn number(name: &'static str, range: RangeInclusive<u64>, set: fn(&mut Config, u64)) -> Key {
    Key { name, form: Form::Number(range, set) }
}

const fn millis(name: &'static str, field: fn(&mut Config) -> &mut Duration) -> Key {
    Key { name, form: Form::Millis(field) }
}

const HOUR_MS: u64 = 3_600_000;

/// Every setting there is, in the order of the shipped file.
const KEYS: [Key; 43] = [
    number("acceptor_count", 1..=64, |config, count| {
        config.settings.acceptor_count = count as u32;
    }),
    Key { name: "interface", form: Form::Interface(|config, choice| config.interface = choice) },
    number("ttl", 0..=255, |config, ttl| config.ttl = ttl as u32),
    Key { name: "cluster", form: Form::Word(|config, name| config.cluster = name.to_owned()) },
    Key { name: "data", form: Form::Word(|config, folder| config.data = Some(folder.into())) },
    Key { name: "disk_bytes", form: Form::Own(parse_disk) },
    Key {
        name: "retain",
        form: Form::Own(|config, word| {
            config.settings.retain = parse_retain(word)?;
            Ok(())
        }),
    },
    Key {
        name: "memory_bytes",
        form: Form::Own(|config, word| {
            config.memory_bytes = parse_memory(word)?;
            Ok(())
        }),
    },
    Key {
        name: "snapshots",
        form: Form::Word(|config, path| config.snapshots = Some(path.into())),
    },
    Key {
        name: "keepers",
        form: Form::List(|config, words| {
            config.settings.keepers = parse_keepers(words)?;
            Ok(())
        }),
    },
    number("snapshot_copies", 1..=64, |config, count| {
        config.settings.snapshot_copies = Some(count as usize);
    }),
    number("snapshot_instances", 256..=1 << 40, |config, count| {
        config.settings.snapshot_instances = count;
    }),
    number("sessions", 16..=1 << 20, |config, count| config.settings.sessions = count as usize),
    number("wire_version", 8..=9, |config, version| {
        config.settings.versions.newest = Version(version as u8);
    }),
    millis("heartbeat_interval_ms", |config| &mut config.settings.heartbeat_interval),
    millis("leader_timeout_ms", |config| &mut config.settings.leader_timeout),
    millis("progress_timeout_ms", |config| &mut config.settings.progress_timeout),
    millis("retry_prepare_ms", |config| &mut config.settings.retry_prepare),
    millis("retry_accept_ms", |config| &mut config.settings.retry_accept),
    millis("retry_decide_ms", |config| &mut config.settings.retry_decide),
    millis("retry_request_ms", |config| &mut config.settings.retry_request),
    millis("retry_least_ms", |config| &mut config.settings.retry_least),
    millis("retry_catch_up_ms", |config| &mut config.settings.retry_catch_up),
    millis("retry_max_ms", |config| &mut config.settings.retry_max),
    millis("catch_up_delay_ms", |config| &mut config.settings.catch_up_delay),
    millis("hole_delay_ms", |config| &mut config.settings.hole_delay),
    millis("request_ack_delay_ms", |config| &mut config.settings.request_ack_delay),
    millis("decide_ack_delay_ms", |config| &mut config.settings.decide_ack_delay),
    number(
        "datagram_bytes",
        DATAGRAM_BYTES_MIN as u64..=UDP_PAYLOAD_MAX as u64,
        |config, bytes| {
            config.datagram_bytes = Some(bytes as usize);
        },
    ),
    number("value_bytes", 1..=Value::BYTES_MAX as u64, |config, bytes| {
        config.settings.value_bytes = bytes as usize;
    }),
    number("socket_buffer_bytes", 4096..=1 << 30, |config, bytes| {
        config.socket_buffer_bytes = bytes as usize;
    }),
    number("unicast_port", 0..=65_000, |config, port| config.unicast_port = port as u16),
    number("busy_poll_us", 0..=1_000_000, |config, micros| {
        config.busy_poll = Duration::from_micros(micros);
    }),
    Key {
        name: "role_threads",
        form: Form::Own(|config, word| {
            config.shares_thread = match word {
                "own" => false,
                "shared" => true,
                _ => return Err(format!("role_threads {word:?} is neither `own` nor `shared`")),
            };
            Ok(())
        }),
    },
    number("inbox_datagrams", 16..=1 << 20, |config, count| {
        config.inbox_datagrams = count as usize;
    }),
    number("client_window_values", 1..=1 << 20, |config, count| {
        config.settings.client_window = count as usize;
    }),
    number("leader_window_instances", 1..=1 << 20, |config, count| {
        config.settings.leader_window = count as usize;
    }),
    number("window_bytes", 1024..=1 << 30, |config, bytes| {
        config.settings.window_bytes = bytes as usize;
    }),
    number("request_queue_values", 1..=1 << 24, |config, count| {
        config.settings.request_queue = count as usize;
    }),
    number("instances_ahead", 1024..=1 << 40, |config, count| {
        config.settings.instances_ahead = count;
    }),
    number("catch_up_bytes", 1024..=1 << 24, |config, bytes| {
        config.settings.catch_up_bytes = bytes as usize;
    }),
    Key { name: "key_file", form: Form::Word(|config, file| config.key_file = Some(file.into())) },
    Key { name: "metrics", form: Form::Metrics(|config, choice| config.metrics = choice) },
];

/// The variable of the environment that names the cluster where the file does not: so a run of
/// bash/run.sh is a cluster of its own.
pub const CLUSTER_VARIABLE: &str = "PAXOS_CLUSTER";

/// Reads the file at `path`, and nothing else.
pub fn read(path: &str) -> Result<Config, ConfigError> {
    parse(path, &text_of(path)?)
}

fn text_of(path: &str) -> Result<String, ConfigError> {
    text::read(Path::new(path)).map_err(ConfigError::Unreadable)
}

/// Reads the file at `path`. The environment may name the cluster that it leaves without a name.
pub fn load(path: &str) -> Result<Config, ConfigError> {
    let text = text_of(path)?;
    let cluster = std::env::var(CLUSTER_VARIABLE).unwrap_or_default();
    if cluster.contains(|letter: char| letter.is_whitespace()) {
        return Err(ConfigError::Value(format!(
            "{CLUSTER_VARIABLE}={cluster:?} is not one word; a cluster's name has no blanks"
        )));
    }
    parse_as(path, &text, Some(cluster.as_str()).filter(|name| !name.is_empty()))
}

/// Understands `text`; `path` is what errors call it.
pub fn parse(path: &str, text: &str) -> Result<Config, ConfigError> {
    parse_as(path, text, None)
}

/// As [`parse`]; `cluster` is the cluster's name if the text has none.
pub fn parse_as(path: &str, text: &str, cluster: Option<&str>) -> Result<Config, ConfigError> {
    let mut parser = Parser { config: Config::new(path), groups: BTreeMap::new() };
    for (number, words) in lines(text) {
        let Some((key, values)) = words.split_first() else { continue };
        if let Some(first) = parser.config.lines.insert((*key).to_owned(), number) {
            return Err(ConfigError::Repeated(format!(
                "{path}:{number}: {key} is given again; it stands on line {first} already"
            )));
        }
        parser.line(&format!("{path}:{number}"), key, values)?;
    }
    if let Some(name) = cluster
        && !parser.config.said.contains_key("cluster")
    {
        parser.config.cluster = name.to_owned();
        parser.config.said.insert("cluster".to_owned(), name.to_owned());
    }
    parser.finish()
}

/// The configuration of these settings, each a key and what would stand behind it on its line;
/// `path` is what errors call it.
pub fn assemble<'a>(
    path: &str,
    settings: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Config, ConfigError> {
    let mut parser = Parser { config: Config::new(path), groups: BTreeMap::new() };
    for (key, value) in settings {
        let words: Vec<&str> = value.split_whitespace().collect();
        parser.line(path, key, &words)?;
    }
    parser.finish()
}

/// What has been understood so far.
struct Parser {
    config: Config,
    groups: BTreeMap<Role, Group>,
}

impl Parser {
    /// Takes in a line, or a setting in code, that stands at `place`.
    fn line(&mut self, place: &str, key: &str, values: &[&str]) -> Result<(), ConfigError> {
        let wrong = |what: String| ConfigError::Value(format!("{place}: {what}"));
        if let Some((role, _, _)) = GROUPS.iter().find(|(_, name, _)| *name == key) {
            let group = parse_group(key, values).map_err(wrong)?;
            if let Some(shared) = clash(&self.groups, &group) {
                return Err(ConfigError::Conflict(format!("{place}: {shared}")));
            }
            self.groups.insert(*role, group);
            self.config.said.insert(key.to_owned(), values.join(" "));
            return Ok(());
        }
        let Some(known) = KEYS.iter().find(|known| known.name == key) else {
            return Err(ConfigError::UnknownKey(format!("{place}: {}", unknown(key))));
        };
        self.setting(known, values).map_err(wrong)
    }

    fn setting(&mut self, known: &Key, values: &[&str]) -> Result<(), String> {
        let key = known.name;
        if let Form::List(set) = known.form {
            set(&mut self.config, values)?;
            self.config.said.insert(key.to_owned(), values.join(" "));
            return Ok(());
        }
        let [value] = values else {
            return Err(format!("{key} takes one value, and {} are given", values.len()));
        };
        self.set(known, value)
    }

    fn set(&mut self, key: &Key, value: &str) -> Result<(), String> {
        let name = key.name;
        let config = &mut self.config;
        let mut said = value.to_owned();
        match &key.form {
            Form::Number(range, set) => {
                let number = parse_number(name, value, range)?;
                said = number.to_string();
                set(config, number);
            }
            Form::Millis(field) => {
                let millis = parse_number(name, value, &(1..=HOUR_MS))?;
                said = millis.to_string();
                *field(config) = Duration::from_millis(millis);
            }
            Form::Interface(set) => set(config, value.parse()?),
            Form::Metrics(set) => set(config, value.parse()?),
            Form::Word(set) => set(config, value),
            Form::Own(set) => set(config, value)?,
            Form::List(set) => set(config, &[value])?,
        }
        config.said.insert(name.to_owned(), said);
        Ok(())
    }

    fn finish(mut self) -> Result<Config, ConfigError> {
        let mut config = self.config;
        for (role, name, address) in GROUPS {
            let Some(group) = self.groups.remove(&role) else {
                let path = &config.path;
                return Err(ConfigError::NoGroup(format!(
                    "{path}: there is no line for the {name}; add one, such as `{name} {address}`"
                )));
            };
            match role {
                Role::Client => config.groups.clients = group,
                Role::Proposer => config.groups.proposers = group,
                Role::Acceptor => config.groups.acceptors = group,
                Role::Learner => config.groups.learners = group,
            }
        }
        if let Group::Unicast(members) = &config.groups.acceptors
            && members.len() != config.acceptor_count() as usize
        {
            let (listed, count) = (members.len(), config.acceptor_count());
            return Err(config.wrong(
                "acceptors",
                &format!(
                    "acceptors lists {listed} members, and acceptor_count is {count}; list all of \
                     them, or set acceptor_count to {listed}"
                ),
            ));
        }
        // On a network there may be others, who left out the name as well.
        let is_multicast = config.groups.addresses().any(|address| address.ip().is_multicast());
        if config.ttl > 0 && is_multicast && !config.said.contains_key("cluster") {
            let what = format!(
                "with ttl {} datagrams reach other hosts, and those of any other cluster without a \
                 name are taken for this one's; add a line `cluster NAME`, the same on every host",
                config.ttl
            );
            return Err(config.wrong("ttl", &what));
        }
        let Settings { heartbeat_interval, leader_timeout, retry_least, retry_max, .. } =
            config.settings;
        if retry_least > retry_max {
            return Err(config.wrong(
                if config.lines.contains_key("retry_least_ms") {
                    "retry_least_ms"
                } else {
                    "retry_max_ms"
                },
                &format!(
                    "retry_least_ms {} is above retry_max_ms {}, and the shortest wait for an \
                     answer cannot be above the longest; lower the one or raise the other",
                    retry_least.as_millis(),
                    retry_max.as_millis()
                ),
            ));
        }
        if let Some((key, what)) = config.wrong_limit() {
            return Err(config.wrong(key, &what));
        }
        if leader_timeout < heartbeat_interval * 3 {
            let keys = ["leader_timeout_ms", "heartbeat_interval_ms"];
            let is_given = |key: &&str| config.lines.contains_key(*key);
            return Err(config.wrong(
                keys.into_iter().find(is_given).unwrap_or_default(),
                &format!(
                    "leader_timeout_ms {} is below three heartbeats of heartbeat_interval_ms {}, \
                     and every lost heartbeat would cost a leader; raise the one, or lower the \
                     other",
                    leader_timeout.as_millis(),
                    heartbeat_interval.as_millis()
                ),
            ));
        }
        Ok(config)
    }
}

impl Config {
    /// The defaults, without groups.
    fn new(path: &str) -> Self {
        let nowhere = || Group::Unicast(Vec::new());
        Config {
            groups: Groups {
                clients: nowhere(),
                proposers: nowhere(),
                acceptors: nowhere(),
                learners: nowhere(),
            },
            cluster: "paxos".to_owned(),
            interface: InterfaceChoice::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ttl: 0,
            socket_buffer_bytes: 4 << 20,
            unicast_port: 0,
            busy_poll: Duration::from_micros(50),
            shares_thread: false,
            data: None,
            disk_bytes: None,
            snapshots: None,
            memory_bytes: 256 << 20,
            key_file: None,
            inbox_datagrams: 1024,
            metrics: MetricsChoice::Off,
            datagram_bytes: None,
            settings: Settings::default(),
            path: path.to_owned(),
            lines: BTreeMap::new(),
            said: BTreeMap::new(),
        }
    }

    /// A sentence about `key`, with its line if it is given.
    fn placed(&self, key: &str, what: &str) -> String {
        let path = &self.path;
        match self.lines.get(key) {
            Some(line) => format!("{path}:{line}: {what}"),
            None => format!("{path}: {what}"),
        }
    }

    /// The error that `key` does not go with the others.
    fn wrong(&self, key: &str, what: &str) -> ConfigError {
        ConfigError::Conflict(self.placed(key, what))
    }

    /// The error for an interface that cannot be found among those of `host`.
    fn not_there(&self, host: &[HostInterface], what: &str) -> EndpointError {
        let may_pass = self.interface.is_missing(host);
        EndpointError { sentence: self.placed("interface", what), may_pass }
    }

    /// The path of its file, for errors.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How many acceptors the cluster has.
    pub fn acceptor_count(&self) -> u32 {
        self.settings.acceptor_count
    }

    /// How many bytes a value to which the leader gives the instance has, at most.
    pub fn value_bytes(&self) -> usize {
        self.settings.value_bytes
    }

    /// Where `node` is on the network, if the interfaces of its host are these. They may be empty:
    /// the system did not list them.
    ///
    /// # Errors
    ///
    /// When the list of its group has no member for its id, and when the interface is not there.
    pub fn endpoint(
        &self,
        node: NodeId,
        host: &[HostInterface],
    ) -> Result<Endpoint, EndpointError> {
        let group = self.groups.of(node.role);
        let Some(listen) = group.member(node.id) else {
            let (name, count) = (name_of(node.role), group.addresses().len());
            let what = format!(
                "{name} lists {count} members, so there is no {} {}; add its IP:PORT, or use an id \
                 in 1..{count}",
                node.role, node.id
            );
            return Err(EndpointError { sentence: self.placed(name, &what), may_pass: false });
        };
        let own_mtu = if listen.ip().is_multicast() { None } else { mtu_of(listen.ip(), host) };
        // Lists of members need no interface: the system knows the way to each.
        let multicast = self.groups.addresses().filter(|address| address.ip().is_multicast());
        let mut multicast = multicast.peekable();
        if multicast.peek().is_none() {
            // One that is named must be there all the same, or a mistake would pass in silence.
            if self.lines.contains_key("interface") {
                self.interface.among(host).map_err(|what| self.not_there(host, &what))?;
            }
            return Ok(Endpoint { listen, interface: Interface::LOOPBACK, mtu: own_mtu });
        }
        let (interface, mtu) =
            self.interface.among(host).map_err(|what| self.not_there(host, &what))?;
        if interface.v4.is_none() && multicast.any(|group| group.is_ipv4()) {
            let what = format!(
                "interface {} has no IPv4 address, which IPv4 groups need; name another, or use \
                 IPv6 groups, as ff02::7878",
                self.interface
            );
            // It may be asking for one at this moment.
            let sentence = self.placed("interface", &what);
            return Err(EndpointError { sentence, may_pass: true });
        }
        let mtu = [mtu, own_mtu].into_iter().flatten().min();
        Ok(Endpoint { listen, interface, mtu })
    }

    /// The protocol's settings on an interface of this MTU; none is taken for Ethernet's. For a
    /// role that has its process to itself.
    pub fn settings(&self, mtu: Option<usize>) -> Result<Settings, ConfigError> {
        self.settings_among(1, mtu)
    }

    /// The same for one of `roles` roles of a process that hold the log. Each of them holds a copy
    /// of its own, so they share what `memory_bytes` allows the process.
    pub fn settings_among(&self, roles: u32, mtu: Option<usize>) -> Result<Settings, ConfigError> {
        const ETHERNET_MTU: usize = 1500;
        let headers = self.groups.header_bytes();
        let carried = payload_of_mtu(mtu.unwrap_or(ETHERNET_MTU), headers);
        let datagram_bytes = self.datagram_bytes.unwrap_or(carried);
        // The protocol gets what the seal leaves.
        let seal_bytes = if self.key_file.is_some() { SEAL_BYTES } else { 0 };
        let datagram_bytes = datagram_bytes.saturating_sub(seal_bytes);
        let memory_bytes = self.memory_bytes / u64::from(roles.max(1));
        let retain = match self.settings.retain {
            Retain::All if self.data.is_none() => Retain::Bytes(memory_bytes / 2),
            retain => retain,
        };
        let hold_bytes = self.data.as_ref().map(|_| memory_bytes / 3);
        Ok(Settings { datagram_bytes, retain, hold_bytes, ..self.settings.clone() })
    }

    /// Whether learners are named whose snapshots count.
    pub fn has_keepers(&self) -> bool {
        !self.settings.keepers.is_empty()
    }

    /// How much of the log is kept, as the file says it.
    pub fn retain(&self) -> Retain {
        self.settings.retain
    }
}

fn parse_number(name: &str, value: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let (least, most) = (range.start(), range.end());
    // Digits alone: a sign or a fraction is nothing that scripts would read in the same way.
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse::<u64>() {
        Ok(number) if is_plain && range.contains(&number) => Ok(number),
        Ok(_) if !is_plain => {
            Err(format!("{name} {value} is not a whole number in {least}..{most}"))
        }
        Ok(_) => Err(format!("{name} {value} is not in {least}..{most}")),
        Err(_) => Err(format!("{name} {value} is not a whole number in {least}..{most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::AssignedBy;

    const FOUR: &str = "clients 239.0.0.1 5000\nproposers 239.0.0.1 6000\n\
                        acceptors 239.0.0.1 7000\nlearners 239.0.0.1 8000\n";
    const SHIPPED: &str = include_str!("../conf/paxos.conf");
    const SHIPPED_UNICAST: &str = include_str!("../conf/unicast.conf");

    fn error(text: &str) -> String {
        parse("paxos.conf", text).map(|_| "accepted".to_owned()).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn the_four_groups_are_enough() {
        let config = parse("paxos.conf", FOUR).unwrap();
        let learners = "239.0.0.1:8000".parse().unwrap();
        assert_eq!(config.groups.of(Role::Learner), &Group::Multicast(learners));
        assert_eq!(config.acceptor_count(), 3);
    }

    #[test]
    fn tabs_comments_and_crlf_are_fine() {
        let text = "# head\r\n\r\nclients\t239.0.0.1 \t5000 # tail\r\nproposers 239.0.0.1 6000\r\n\
                    acceptors 239.0.0.1 7000\r\nlearners 239.0.0.1 8000\r\nacceptor_count 5\r\n";
        assert_eq!(parse("paxos.conf", text).unwrap().acceptor_count(), 5);
    }

    #[test]
    fn errors_name_the_place_and_the_cure() {
        let cases = [
            ("clients 239.0.0.1 70000", "paxos.conf:1: port 70000 is not in 1..65535"),
            ("clients 10.0.0.1 5000", "clients unicast IP:PORT"),
            ("clients 239.0.0.1", "takes an address and a port"),
            ("clients 239.0.0.256 5000", "paxos.conf:1: 239.0.0.256 is not an IP address"),
            (
                "clients unicast 0.0.0.0:5000",
                "paxos.conf:1: member 0.0.0.0:5000 is not the address",
            ),
            (
                "clients unicast 10.0.0.1:1\nlearners unicast 10.0.0.1:1",
                "paxos.conf:2: 10.0.0.1:1 is a member of the clients already",
            ),
            (
                "acceptor_cuont 3",
                "paxos.conf:1: unknown key acceptor_cuont; did you mean acceptor_count?",
            ),
            ("ttl 1\nttl 1", "paxos.conf:2: ttl is given again; it stands on line 1"),
            ("ttl", "ttl takes one value, and 0 are given"),
            ("ttl 256", "ttl 256 is not in 0..255"),
            ("ttl -1", "ttl -1 is not a whole number in 0..255"),
            ("ttl +1", "ttl +1 is not a whole number in 0..255"),
            ("ttl 1#", "ttl 1# is not a whole number in 0..255"),
            ("acceptor_count 65", "acceptor_count 65 is not in 1..64"),
            ("retry_accept_ms 0", "retry_accept_ms 0 is not in 1..3600000"),
            ("interface 10.0.0.0/33", "paxos.conf:1: interface 10.0.0.0/33 is not a network"),
            ("interface 239.0.0.1", "is a group"),
            ("metrics 9187", "paxos.conf:1: metrics 9187 is neither IP:PORT"),
            ("key_file one two", "key_file takes one value, and 2 are given"),
            ("", "paxos.conf: there is no line for the clients"),
            (
                "clients 239.0.0.1 5000\nlearners 239.0.0.1 5000",
                "paxos.conf:2: 239.0.0.1:5000 is the group of the clients already",
            ),
        ];
        for (text, expected) in cases {
            let error = error(text);
            assert!(error.contains(expected) && !error.contains('\n'), "{text:?}: {error}");
        }
        let upside_down = format!("{FOUR}retry_max_ms 100\nretry_least_ms 101\n");
        let told = error(&upside_down);
        assert!(told.contains(":6: retry_least_ms 101 is above retry_max_ms 100"), "{told}");
        for (more, line) in [
            ("leader_timeout_ms 50", ":5"),
            ("heartbeat_interval_ms 1000", ":5"),
            ("heartbeat_interval_ms 1000\nleader_timeout_ms 2999", ":6"),
        ] {
            let told = error(&format!("{FOUR}{more}"));
            let expected = format!("paxos.conf{line}: leader_timeout_ms");
            assert!(told.starts_with(&expected) && told.contains("three heartbeats"), "{told}");
        }
    }

    #[test]
    fn what_is_wrong_can_be_matched_on() {
        use ConfigError::{Conflict, NoGroup, Repeated, UnknownKey, Unreadable, Value};
        let of = |text: &str| parse("paxos.conf", &format!("{FOUR}{text}")).unwrap_err();
        assert!(matches!(of("acceptor_cuont 3"), UnknownKey(_)));
        assert!(matches!(of("ttl 0\nttl 0"), Repeated(_)));
        assert!(matches!(of("ttl 256"), Value(_)));
        assert!(matches!(of("keepers 1"), Conflict(_)));
        assert!(matches!(parse("paxos.conf", "").unwrap_err(), NoGroup(_)));
        assert!(matches!(read("/nowhere/paxos.conf").unwrap_err(), Unreadable(_)));
        let code = assemble("code", [("ttl", "x")].into_iter()).unwrap_err();
        assert_eq!(code, Value("code: ttl x is not a whole number in 0..255".to_owned()));
    }

    #[test]
    fn a_byte_order_mark_at_the_head_is_no_part_of_the_first_line() {
        let marked = format!("\u{feff}{FOUR}acceptor_count 5");
        assert_eq!(parse("paxos.conf", &marked).unwrap().acceptor_count(), 5);
        assert!(error(&format!("\u{feff}{SHIPPED}")) == "accepted");
    }

    #[test]
    fn two_names_that_differ_behind_a_hash_are_two_names() {
        let name = |line: &str| parse("paxos.conf", &format!("{FOUR}{line}")).unwrap().cluster;
        assert_eq!(name("cluster team#1"), "team#1");
        assert_ne!(name("cluster team#1"), name("cluster team#2"));
        assert_eq!(name("cluster team #1"), name("cluster team #2"));
    }

    #[test]
    fn a_cluster_that_leaves_its_host_has_a_name() {
        let refused = error(&format!("{FOUR}ttl 1"));
        assert!(refused.starts_with("paxos.conf:5: with ttl 1 datagrams reach"), "{refused}");
        assert!(refused.contains("add a line `cluster NAME`") && !refused.contains('\n'));
        for text in ["ttl 0", "ttl 1\ncluster ours", "cluster ours\nttl 255"] {
            assert_eq!(error(&format!("{FOUR}{text}")), "accepted", "{text}");
        }
        // A list of members reaches nobody else.
        let listed = format!("{LISTS}ttl 1");
        assert_eq!(error(&listed), "accepted");
        let mixed = format!("clients 239.0.0.1 1\n{}ttl 2\n", LISTS.split_once('\n').unwrap().1);
        assert!(error(&mixed).starts_with("paxos.conf:5: with ttl 2"));
    }

    #[test]
    fn the_shipped_file_shows_every_setting_with_its_default() {
        let shipped = parse("conf/paxos.conf", SHIPPED).unwrap();
        for key in &KEYS {
            // It has no default but none; the shipped file says it aloud.
            if key.name == "data" {
                continue;
            }
            let commented = SHIPPED.lines().find_map(|line| {
                let line = line.strip_prefix("# ")?;
                line.strip_prefix(key.name)?.starts_with(' ').then_some(line)
            });
            let line = commented.unwrap_or_else(|| panic!("{} is not shown", key.name));
            // Places, and who uses them, are examples.
            if ["key_file", "snapshots", "keepers", "snapshot_copies"].contains(&key.name) {
                continue;
            }
            // Saying the default aloud changes nothing.
            let text = format!("{FOUR}data data\n{line}");
            let mut said = parse("conf/paxos.conf", &text).unwrap();
            said.path.clone_from(&shipped.path);
            let (shipped, said) = (shipped.settings(Some(65536)), said.settings(Some(65536)));
            assert_eq!(said, shipped, "{line}");
        }
        let uncommented: Vec<_> =
            SHIPPED.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        assert_eq!(uncommented.len(), 5, "{uncommented:?}");
        assert_eq!(shipped.data, Some("data".into()));
    }

    #[test]
    fn the_mtu_decides_how_long_datagrams_are_and_values_are_as_long_as_is_said() {
        let config = parse("paxos.conf", FOUR).unwrap();
        assert_eq!(config.settings(Some(1500)).unwrap().datagram_bytes, 1472);
        assert_eq!(config.settings(None).unwrap().datagram_bytes, 1472);
        assert_eq!(config.settings(Some(65536)).unwrap().datagram_bytes, UDP_PAYLOAD_MAX);
        let of = |more: &str, mtu, by| {
            let config = parse("paxos.conf", &format!("{FOUR}{more}"))?;
            Ok::<_, ConfigError>(config.settings(Some(mtu))?.value_bytes(by))
        };
        use AssignedBy::{Client, Leader};
        assert_eq!(of("", 1500, Leader), Ok(1 << 20));
        assert_eq!((of("", 1500, Client), of("", 65536, Client)), (Ok(1312), Ok(65347)));
        for (bytes, client) in [(2000, 1312), (67_108_864, 1312), (9, 9)] {
            let more = format!("value_bytes {bytes}");
            assert_eq!((of(&more, 1500, Leader), of(&more, 1500, Client)), (Ok(bytes), Ok(client)));
        }
        let refused = of("value_bytes 67108865", 1500, Leader).unwrap_err().to_string();
        assert!(refused.contains("value_bytes 67108865 is not in 1..67108864"), "{refused}");
    }

    const LISTS: &str = "clients unicast 127.0.0.1:1 127.0.0.1:2\n\
                         proposers unicast 127.0.0.1:3 10.1.0.1:3\n\
                         acceptors unicast 10.1.0.1:4 10.1.0.2:4 10.1.0.3:4\n\
                         learners unicast 10.1.0.1:5\n";

    fn host() -> [HostInterface; 3] {
        let interface = |name: &str, index, mtu, address: &str, bits| HostInterface {
            name: name.to_owned(),
            index,
            mtu: Some(mtu),
            addresses: vec![(address.parse().unwrap(), bits)],
        };
        [
            interface("lo", 1, 65536, "127.0.0.1", 8),
            interface("eth0", 2, 9000, "10.1.0.1", 16),
            interface("six", 3, 1400, "fd00::1", 64),
        ]
    }

    #[test]
    fn a_process_is_the_member_of_its_id() {
        let config = parse("paxos.conf", LISTS).unwrap();
        let place = |role, id| config.endpoint(NodeId::new(role, id), &host());
        let listen = |role, id| place(role, id).unwrap().listen.to_string();
        assert_eq!(listen(Role::Client, 2), "127.0.0.1:2");
        assert_eq!(listen(Role::Acceptor, 1), "10.1.0.1:4");
        for (role, id, expected) in [
            (
                Role::Client,
                3,
                "paxos.conf:1: clients lists 2 members, so there is no client 3; add its IP:PORT, \
                 or use an id in 1..2",
            ),
            (
                Role::Acceptor,
                4,
                "paxos.conf:3: acceptors lists 3 members, so there is no acceptor 4; add its \
                 IP:PORT, or use an id in 1..3",
            ),
        ] {
            assert_eq!(place(role, id).unwrap_err().to_string(), expected);
        }
        let many = format!("{LISTS}acceptor_count 5");
        assert!(error(&many).starts_with("paxos.conf:3: acceptors lists 3 members, and acceptor"));
    }

    #[test]
    fn the_shipped_lists_are_those_of_the_script() {
        let config = parse("conf/unicast.conf", SHIPPED_UNICAST).unwrap();
        for (role, count) in Role::ALL.into_iter().zip([2, 4, 3, 2]) {
            let group = config.groups.of(role);
            assert!(matches!(group, Group::Unicast(_)) && group.addresses().len() == count);
        }
    }

    #[test]
    fn the_mtu_is_that_of_every_interface_in_use() {
        let mtu = |text: &str, role, id| {
            let config = parse("paxos.conf", text).unwrap();
            config.endpoint(NodeId::new(role, id), &host()).unwrap().mtu
        };
        // A list: the interface with the member's own address, whatever `interface` says.
        let listed = format!("{LISTS}interface six");
        assert_eq!(mtu(&listed, Role::Client, 1), Some(65536));
        assert_eq!(mtu(&listed, Role::Acceptor, 1), Some(9000));
        assert_eq!(mtu(&listed, Role::Acceptor, 2), None);
        // Multicast: that of `interface`. Both: the smaller one.
        assert_eq!(mtu(FOUR, Role::Client, 1), Some(65536));
        assert_eq!(mtu(&format!("{FOUR}interface eth0"), Role::Client, 1), Some(9000));
        let mixed = format!(
            "clients 239.0.0.1 1\n{}interface 10.1.0.0/16\n",
            LISTS.split_once('\n').unwrap().1
        );
        assert_eq!(mtu(&mixed, Role::Proposer, 1), Some(9000));
        assert_eq!(mtu(&mixed, Role::Client, 1), Some(9000));
    }

    #[test]
    fn the_interface_is_looked_for_before_anything_opens() {
        let refused = |text: &str| {
            let config = parse("paxos.conf", text).unwrap();
            config.endpoint(NodeId::new(Role::Client, 1), &host()).unwrap_err().to_string()
        };
        assert!(refused(&format!("{LISTS}interface eth7")).contains("no interface eth7; it has"));
        let error = refused(&format!("{FOUR}interface eth7"));
        assert!(error.starts_with("paxos.conf:5: this host has no interface eth7; it has lo"));
        let error = refused(&format!("{FOUR}interface six"));
        assert!(error.starts_with("paxos.conf:5: interface six has no IPv4 address"), "{error}");
        let groups = FOUR.replace("239.0.0.1", "ff02::7878");
        let config = parse("paxos.conf", &format!("{groups}interface six")).unwrap();
        let place = config.endpoint(NodeId::new(Role::Client, 1), &host()).unwrap();
        assert_eq!((place.interface.index, place.mtu), (3, Some(1400)));
        assert_eq!(config.settings(place.mtu).unwrap().datagram_bytes, 1352);
    }

    #[test]
    fn the_seal_takes_its_part_of_a_datagram() {
        let settings = |more: &str, mtu| {
            parse("paxos.conf", &format!("{FOUR}{more}")).unwrap().settings(Some(mtu))
        };
        for mtu in [300, 1500, 65536] {
            let (open, sealed) =
                (settings("", mtu).unwrap(), settings("key_file key", mtu).unwrap());
            assert_eq!(open.datagram_bytes, sealed.datagram_bytes + SEAL_BYTES);
            assert_eq!(open.part_bytes(), sealed.part_bytes() + SEAL_BYTES);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_one_sentence() {
        for (path, expected) in [
            ("/nowhere/paxos.conf", "/nowhere/paxos.conf: cannot read it"),
            ("/dev/zero", "/dev/zero: it is a pipe, a device"),
            ("/", "/: it is a directory"),
        ] {
            let error = load(path).unwrap_err().to_string();
            assert!(error.starts_with(expected) && !error.contains('\n'), "{error}");
        }
    }
}
