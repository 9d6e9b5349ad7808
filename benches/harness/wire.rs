//! A network of hosts whose links have a given rate: a network namespace for each process, a bridge
//! between them, and a token bucket at both ends of every link.
//!
//! The bridge sends a group's datagrams only to its members, as a switch with IGMP snooping and a
//! querier does. Namespaces have no names: each is held by a process that ends with this one, and
//! everything in it is gone then, however that comes about. Nothing leaves them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The links of every host.
#[derive(Clone, Copy, PartialEq)]
pub struct Links {
    /// What each carries, in either direction, in megabits a second.
    pub megabits: u32,
    /// How many percent of the datagrams that reach a host are lost there, at random.
    pub loss_percent: u32,
}

/// How namespaces are made and entered: as root, or as anybody in a user namespace.
#[derive(Clone, Copy)]
pub struct Means {
    make: &'static [&'static str],
    enter: &'static [&'static str],
}

const MEANS: [Means; 2] = [
    Means { make: &["unshare", "--net"], enter: &["--net"] },
    Means {
        make: &["unshare", "--map-root-user", "--net"],
        enter: &["--user", "--preserve-credentials", "--net"],
    },
];

/// The commands that must work in a namespace.
const NEEDED: &str = "ip link add br0 type bridge && nft list ruleset && \
                      tc qdisc add dev br0 root tbf rate 1mbit burst 64k latency 20ms";

/// How long the bridge waits until it believes that it knows every member, in hundredths of a
/// second.
const QUERY_RESPONSE: u32 = 50;

/// A process that holds a namespace until this one ends: it waits for the end of what we say.
struct Holder(Child);

impl Holder {
    /// Holds what `words` make, and is apart from each of `others`.
    fn start(words: &[String], others: &[u32]) -> Self {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let holder = Holder(command.spawn().expect("unshare starts"));
        let space = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
        let taken: Vec<_> = others.iter().map(u32::to_string).chain(["self".to_owned()]).collect();
        let deadline = Instant::now() + Duration::from_secs(5);
        // It shares our namespace until it has made its own.
        loop {
            let own = space(&holder.id().to_string());
            if own.is_some() && taken.iter().all(|process| space(process) != own) {
                return holder;
            }
            assert!(Instant::now() < deadline, "{words:?} makes no namespace");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The hosts and what is between them.
pub struct Wire {
    means: Means,
    hub: Holder,
    hosts: BTreeMap<String, Holder>,
    /// The names of the hosts, in the order of their addresses.
    pub names: Vec<String>,
}

/// The network that the hosts are in.
pub const NETWORK: &str = "10.77.0.0/24";

/// How this user may make such a network here, if at all.
pub fn means() -> Option<Means> {
    MEANS.into_iter().find(|means| {
        let words = [means.make, &["sh", "-c", NEEDED]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Wire {
    /// Makes a host for each of `names`.
    pub fn new(names: Vec<String>, links: Links) -> Self {
        let means = means().expect("namespaces with bridges, tbf and nftables are allowed");
        let hub = Holder::start(&owned(means.make), &[]);
        let mut wire = Wire { means, hub, hosts: BTreeMap::new(), names };
        wire.in_hub(
            &["ip", "-batch", "-"],
            &format!(
                "link set lo up\n\
                 link add br0 type bridge mcast_snooping 1 mcast_igmp_version 3 \
                 mcast_query_response_interval {QUERY_RESPONSE}\n\
                 address add 10.77.0.254/24 dev br0\n\
                 link set br0 up\n\
                 link set br0 type bridge mcast_query_use_ifaddr 1\n\
                 link set br0 type bridge mcast_querier 1\n"
            ),
        );
        for place in 0..wire.names.len() {
            wire.add_host(place, links);
        }
        // Before that the bridge takes everything everywhere.
        thread::sleep(Duration::from_millis(u64::from(QUERY_RESPONSE) * 10));
        wire
    }

    fn add_host(&mut self, place: usize, links: Links) {
        let name = self.names[place].clone();
        let words = [self.entry(&self.hub), owned(&["unshare", "--net"])].concat();
        let host = Holder::start(&words, &[self.hub.id()]);
        let pid = host.id();
        self.in_hub(
            &["ip", "-batch", "-"],
            &format!(
                "link add {name} type veth peer name eth0 netns {pid}\n\
                 link set {name} master br0 up\n"
            ),
        );
        let address = format!("10.77.0.{}", place + 1);
        self.hosts.insert(name.clone(), host);
        self.on(
            &name,
            &["ip", "-batch", "-"],
            &format!("link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\n"),
        );
        let shape = |device: &str| {
            let rate = links.megabits;
            format!("qdisc add dev {device} root tbf rate {rate}mbit burst 64k latency 20ms\n")
        };
        self.on(&name, &["tc", "-batch", "-"], &shape("eth0"));
        self.in_hub(&["tc", "-batch", "-"], &shape(&name));
        if links.loss_percent > 0 {
            let lose = format!("iif eth0 numgen random mod 100 < {} drop", links.loss_percent);
            let chain = "type filter hook input priority 0;";
            let rules = format!("table ip wire {{ chain input {{ {chain} {lose}; }}; }}\n");
            self.on(&name, &["nft", "-f", "-"], &rules);
        }
    }

    /// The words before a command that is to run on a host.
    pub fn enter(&self, name: &str) -> Vec<String> {
        self.entry(&self.hosts[name])
    }

    /// Runs a command on a host, and demands that it succeeds. Returns what it prints.
    pub fn on(&self, name: &str, words: &[&str], stdin: &str) -> String {
        self.run(&self.hosts[name], words, stdin)
    }

    fn entry(&self, holder: &Holder) -> Vec<String> {
        let mut words = owned(&["nsenter", "--target"]);
        words.push(holder.id().to_string());
        words.extend(owned(self.means.enter));
        words
    }

    /// Runs a command in the bridge's namespace, and demands that it succeeds. Returns what it
    /// prints.
    pub fn in_hub(&self, words: &[&str], stdin: &str) -> String {
        self.run(&self.hub, words, stdin)
    }

    fn run(&self, holder: &Holder, words: &[&str], stdin: &str) -> String {
        let enter = self.entry(holder);
        let mut command = Command::new(&enter[0]);
        command.args(&enter[1..]).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("nsenter starts");
        let mut pipe = child.stdin.take().expect("a pipe");
        // One that fails at once reads nothing, and says why.
        let _ = pipe.write_all(stdin.as_bytes());
        drop(pipe);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}\n{stdin}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// The lines of a configuration: a group of its own for each role, on this network.
pub fn groups(base: u32) -> String {
    let mut lines = String::new();
    for (place, group) in (1..).zip(["clients", "proposers", "acceptors", "learners"]) {
        let _ = writeln!(lines, "{group} 239.77.0.{place} {}", base + place);
    }
    lines + &format!("interface {NETWORK}\nttl 1\n")
}
