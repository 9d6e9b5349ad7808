//! A network of several hosts: each process has a network namespace, an interface and an address of
//! its own, and a bridge between them. Then the network fails: loss, cuts in one direction or both.
//!
//! Namespaces have no names. Each is held by a process that sleeps, and is gone with it, so nothing
//! is left behind however a test ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::faults::{COUNT, strike};
use crate::world::{Network as Carrier, SOON, World, happens, skip, succeeds, text};

/// All processes that have a host.
pub const NAMES: [&str; 10] = [
    "acceptor1",
    "acceptor2",
    "acceptor3",
    "proposer1",
    "proposer2",
    "proposer3",
    "learner1",
    "learner2",
    "client1",
    "client2",
];

/// How long a namespace is held at most, in seconds, should nobody end it.
const HELD: &str = "120";

/// How to make a namespace: as root, or as anybody in a user namespace.
#[derive(Clone, Copy)]
struct Means {
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

/// The network: a namespace with a bridge, and one for each host.
pub struct Network {
    means: Means,
    hub: Child,
    hosts: BTreeMap<&'static str, Child>,
    /// Processes that run on the host of another.
    guests: BTreeMap<&'static str, &'static str>,
}

/// The address of a host.
pub fn address(name: &str) -> String {
    let place = NAMES.iter().position(|other| *other == name).unwrap();
    format!("10.77.0.{}", place + 1)
}

/// Starts a process that holds a namespace.
fn hold(words: &[&str]) -> Child {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["sleep", HELD]).stdin(Stdio::null()).spawn().unwrap()
}

impl Network {
    /// Makes the network with everybody, or says aloud why it cannot be.
    pub fn new(test: &str) -> Option<Network> {
        Network::with(test, &NAMES)
    }

    /// The same with a few hosts.
    pub fn with(test: &str, names: &[&'static str]) -> Option<Network> {
        let test_of_means = |means: &&Means| {
            let ip = "ip link add br0 type bridge && nft list ruleset";
            succeeds(&[means.make, &["sh", "-c", ip]].concat())
        };
        let Some(means) = MEANS.iter().find(test_of_means).copied() else {
            skip(test, "no network namespace with a bridge and nftables is allowed here");
            return None;
        };
        let hub = hold(means.make);
        let (hosts, guests) = (BTreeMap::new(), BTreeMap::new());
        let mut network = Network { means, hub, hosts, guests };
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let is_apart = |pid: u32| {
            // It is the same until the holder has made its own.
            fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|of| of != own)
        };
        assert!(happens(SOON, || is_apart(network.hub.id())));
        let hub_id = fs::read_link(format!("/proc/{}/ns/net", network.hub.id())).unwrap();
        // No snooping: the bridge takes every datagram to every host, as a hub does.
        let wires = "link set lo up\nlink add br0 type bridge mcast_snooping 0\n\
                     link set br0 up\n";
        for &name in names {
            let enter = network.entry(network.hub.id());
            let words: Vec<&str> = enter.iter().map(String::as_str).collect();
            let host = hold(&[&words[..], &["unshare", "--net"]].concat());
            let pid = host.id();
            network.hosts.insert(name, host);
            let namespace = format!("/proc/{pid}/ns/net");
            assert!(happens(SOON, || {
                is_apart(pid) && fs::read_link(&namespace).is_ok_and(|of| of != hub_id)
            }));
        }
        network.in_hub(wires);
        names.iter().for_each(|name| network.connect(name));
        Some(network)
    }

    /// Gives a host its interface.
    pub fn connect(&self, name: &str) {
        let pid = self.hosts[name].id();
        self.in_hub(&format!(
            "link add {name} type veth peer name eth0 netns {pid}\nlink set {name} master br0 up\n"
        ));
        let address = address(name);
        let words = format!(
            "link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\n\
             route add 10.77.1.0/24 dev eth0\n"
        );
        self.run(pid, &["ip", "-batch", "-"], &words);
    }

    /// From now on `guest` runs on the host of another.
    pub fn house(&mut self, guest: &'static str, host: &'static str) {
        self.guests.insert(guest, host);
    }

    /// Runs a command in the bridge's namespace, and demands that it succeeds. Returns what it
    /// prints.
    pub fn at_hub(&self, words: &[&str]) -> String {
        self.run(self.hub.id(), words, "")
    }

    /// The words that enter a namespace.
    fn entry(&self, pid: u32) -> Vec<String> {
        let words = ["nsenter", "--target"].into_iter().map(str::to_owned);
        words
            .chain([pid.to_string()])
            .chain(self.means.enter.iter().map(|w| (*w).to_owned()))
            .collect()
    }

    /// The words that enter the namespace of a host.
    pub fn entry_of(&self, name: &str) -> Vec<String> {
        self.entry(self.hosts[name].id())
    }

    /// Runs a command on a host, and demands that it succeeds.
    pub fn on(&self, name: &str, words: &[&str]) {
        self.run(self.hosts[name].id(), words, "");
    }

    /// Runs a command in a namespace, and demands that it succeeds. Returns what it prints.
    fn run(&self, pid: u32, words: &[&str], stdin: &str) -> String {
        let enter = self.entry(pid);
        let mut child = Command::new(&enter[0])
            .args(&enter[1..])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{words:?}: {}\n{stdin}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Commands of `ip` where the bridge is.
    pub fn in_hub(&self, lines: &str) {
        self.run(self.hub.id(), &["ip", "-batch", "-"], lines);
    }

    /// Gives every host a second interface, on a bridge of its own, with the default route.
    /// Datagrams to a group without an interface go there, and are counted.
    fn add_default_routes(&self) {
        let mut wires = "link add br1 type bridge mcast_snooping 0\nlink set br1 up\n".to_owned();
        for name in NAMES {
            let pid = self.hosts[name].id();
            writeln!(wires, "link add {name}-up type veth peer name eth1 netns {pid}").unwrap();
            writeln!(wires, "link set {name}-up master br1 up").unwrap();
        }
        self.in_hub(&wires);
        for name in NAMES {
            let pid = self.hosts[name].id();
            let second = address(name).replace("10.77.", "10.78.");
            let words = format!(
                "address add {second}/24 dev eth1\nlink set eth1 up\n\
                 route add default via 10.78.0.254 dev eth1\n"
            );
            self.run(pid, &["ip", "-batch", "-"], &words);
            self.run(
                pid,
                &["nft", "-f", "-"],
                "table ip test { chain output { type filter hook output priority 0; \
                 oif eth0 ip daddr 239.0.0.0/8 counter; \
                 oif eth1 ip daddr 239.0.0.0/8 counter; }; }\n",
            );
        }
    }

    /// How many packets each counter of `name` has counted, in the order of its rules.
    fn counted(&self, name: &str) -> Vec<u64> {
        let rules = self.run(self.hosts[name].id(), &["nft", "list", "ruleset"], "");
        let counters = rules.split("counter packets ").skip(1);
        counters.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect()
    }

    /// Adds a rule for what `name` receives.
    pub fn filter(&self, name: &str, rule: &str) {
        let rules = format!(
            "table ip test {{ chain input {{ type filter hook input priority 0; {rule}; }}; }}\n"
        );
        self.run(self.hosts[name].id(), &["nft", "-f", "-"], &rules);
    }

    /// From now on nothing that `from` says reaches any of `to`.
    pub fn cut(&self, from: &str, to: &[&str]) {
        for name in to {
            self.filter(name, &format!("ip saddr {} drop", address(from)));
        }
    }

    /// A cluster on this network: every process on a host of its own, all with the same file.
    pub fn cluster(&self) -> World {
        let world = World::new();
        if world.network == Carrier::Unicast {
            // Members that have no host here are away.
            let lists = world.list_lines(|role, id| {
                let name = format!("{role}{id}");
                if NAMES.contains(&&*name) { address(&name) } else { format!("10.77.1.{id}") }
            });
            self.cluster_with(world, &lists)
        } else {
            let groups = world.group_lines();
            self.cluster_with(world, &format!("{groups}interface 10.77.0.0/24\nttl 1\n"))
        }
    }

    /// As `cluster`, with these lines in the file.
    fn cluster_with(&self, mut world: World, lines: &str) -> World {
        fs::write(world.conf(), format!("{lines}cluster hosts\n")).unwrap();
        for name in NAMES {
            let host = self.guests.get(name).unwrap_or(&name);
            let mut enter = self.entry(self.hosts[*host].id());
            if name.starts_with("proposer") {
                // So that it says when it comes to lead.
                enter.extend(["env", "RUST_LOG=info"].map(str::to_owned));
            }
            world.through(name, &enter.iter().map(String::as_str).collect::<Vec<_>>());
        }
        world.start_cluster(3, "0");
        world
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in self.hosts.values_mut().chain([&mut self.hub]) {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A cluster on a network that `fault` strikes when a quarter is delivered. All is delivered.
fn survive(test: &str, fault: impl FnOnce(&Network, &mut World)) {
    let Some(network) = Network::new(test) else { return };
    let world = strike(network.cluster(), |world| fault(&network, world));
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

pub const ACCEPTORS: [&str; 3] = ["acceptor1", "acceptor2", "acceptor3"];

/// IPv6 groups of a site, on an interface by its name; the leader dies on the way.
#[test]
fn hosts_meet_in_ipv6_groups() {
    let test = "IPv6 groups between hosts";
    let Some(network) = Network::new(test) else { return };
    if !fs::exists("/proc/net/if_inet6").unwrap_or(false) {
        return skip(test, "IPv6 is off here");
    }
    for (place, name) in NAMES.iter().enumerate() {
        // Without the second in which the system asks whether another host has the address.
        let words = format!("address add fd77::{:x}/64 dev eth0 nodad\n", place + 1);
        network.run(network.hosts[name].id(), &["ip", "-batch", "-"], &words);
    }
    let world = World::over(Carrier::Ipv6);
    let groups = world.group_lines().replace("ff01::", "ff05::");
    let lines = format!("{groups}interface eth0\nttl 1\n");
    let world = strike(network.cluster_with(world, &lines), |world| world.kill("proposer1"));
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

/// A namespace with nothing but a loopback interface that has a route for IPv6 groups.
pub struct Alone {
    holder: Child,
    /// The words that enter it.
    pub enter: Vec<String>,
}

impl Alone {
    /// Makes the namespace, or says aloud why it cannot be.
    pub fn new(test: &str) -> Option<Alone> {
        let route = "ip link set lo up && ip -6 route add local ff01::/16 dev lo";
        let script = format!("{route} && exec sleep {HELD}");
        let is_allowed = |means: &&Means| succeeds(&[means.make, &["sh", "-c", route]].concat());
        let Some(means) = MEANS.iter().find(is_allowed) else {
            skip(test, "no network namespace with a route for IPv6 groups is allowed here");
            return None;
        };
        let words = [means.make, &["sh", "-c", &script]].concat();
        let holder = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).spawn().unwrap();
        let pid = holder.id().to_string();
        let enter = [&["nsenter", "--target", &pid], means.enter].concat();
        let enter: Vec<String> = enter.into_iter().map(str::to_owned).collect();
        let alone = Alone { holder, enter };
        let words: Vec<&str> = alone.enter.iter().map(String::as_str).collect();
        let look = "ip -6 route show table local | grep -q ff01::";
        assert!(happens(SOON, || succeeds(&[&words[..], &["sh", "-c", look]].concat())));
        Some(alone)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn every_host_loses_a_fifth() {
    let Some(network) = Network::new("loss on every host") else { return };
    for name in NAMES {
        network.filter(name, "numgen random mod 100 < 20 counter drop");
    }
    let world = strike(network.cluster(), |_| {});
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    // It was not for nothing.
    for name in NAMES {
        assert!(network.counted(name)[0] > 0, "{name} lost nothing");
    }
    world.expect_all_delivered();
}

/// The interface of the configuration counts, and not the default route.
#[test]
fn the_default_route_is_another_network() {
    let test = "two interfaces on every host";
    if Carrier::asked() == Carrier::Unicast {
        return skip(test, "lists of members need no interface");
    }
    let Some(network) = Network::new(test) else { return };
    network.add_default_routes();
    let route =
        network.run(network.hosts["client1"].id(), &["ip", "route", "get", "239.0.0.1"], "");
    assert!(route.contains("dev eth1"), "the trap is not set: {route}");
    let world = strike(network.cluster(), |_| {});
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    for name in NAMES {
        let counted = network.counted(name);
        assert!(counted[0] > 0 && counted[1] == 0, "{name} sent over eth0 and eth1: {counted:?}");
    }
    world.expect_all_delivered();
}

/// Values fed after the cut can only be decided by another leader, because the cut stays.
#[test]
fn the_leader_is_not_heard_by_acceptors() {
    survive("a cut from the leader to the acceptors", |network, _| {
        network.cut("proposer1", &ACCEPTORS);
    });
}

#[test]
fn the_leader_does_not_hear_acceptors() {
    survive("a cut from the acceptors to the leader", |network, _| {
        ACCEPTORS.iter().for_each(|name| network.cut(name, &["proposer1"]));
    });
}

/// Two proposers hear one acceptor, which is no quorum; they lead in turn until the third does.
#[test]
fn one_proposer_alone_hears_a_quorum() {
    survive("one proposer that hears a quorum", |network, _| {
        for name in ["acceptor2", "acceptor3"] {
            network.cut(name, &["proposer1", "proposer2"]);
        }
    });
}

#[test]
fn an_acceptor_is_cut_off_and_comes_back() {
    survive("an acceptor that is cut off", |network, world| {
        network.in_hub("link set acceptor3 down\n");
        let before = world.lines(1);
        world.await_lines(&[1], before + 100, SOON);
        network.in_hub("link set acceptor3 up\n");
        // It counts again: with another away, nothing is decided without it.
        world.kill("acceptor1");
    });
}

#[test]
fn the_leader_is_cut_off_and_comes_back() {
    survive("a leader that is cut off", |network, world| {
        replace_the_leader(network, world);
        network.in_hub("link set proposer1 up\n");
        // It hears which one leads now. A moment later that is gone, and so is the next one.
        thread::sleep(Duration::from_secs(1));
        world.kill("proposer2");
        world.kill("proposer3");
    });
}

/// Cuts proposer 1 off, until another has decided something.
fn replace_the_leader(network: &Network, world: &World) {
    network.in_hub("link set proposer1 down\n");
    let before = world.lines(1);
    world.await_lines(&[1], before + 200, SOON);
}

/// As above, but the leaders in between are dead when the first leader is connected again.
#[test]
fn the_leader_comes_back_when_its_successors_are_dead() {
    survive("a leader that comes back alone", |network, world| {
        replace_the_leader(network, world);
        world.kill("proposer2");
        world.kill("proposer3");
        network.in_hub("link set proposer1 up\n");
    });
}

#[test]
fn the_leader_sleeps_on_its_host() {
    survive("a leader that sleeps", |_, world| {
        world.signal("proposer1", "-STOP");
        let before = world.lines(1);
        world.await_lines(&[1], before + 200, SOON);
        thread::sleep(Duration::from_secs(3));
        world.signal("proposer1", "-CONT");
    });
}

#[test]
fn an_acceptor_sleeps_on_its_host() {
    survive("an acceptor that sleeps", |_, world| {
        world.signal("acceptor2", "-STOP");
        let before = world.lines(1);
        world.await_lines(&[1], before + 200, SOON);
        thread::sleep(Duration::from_secs(3));
        world.signal("acceptor2", "-CONT");
        // It counts again.
        world.kill("acceptor1");
    });
}
