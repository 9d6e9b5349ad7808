//! The diagnoses of `paxos doctor`: every fault is caused, on separate hosts, and the sentence is
//! read.

use std::fs;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::hosts::{Network, address};
use crate::world::{Network as Carrier, PAXOS, SOON, World, happens, skip, succeeds, text, values};

/// Two hosts, by names that the network knows.
const NORTH: &str = "acceptor1";
const SOUTH: &str = "acceptor2";

/// How long doctors look, in seconds: long enough for what needs several rounds to be certain.
const SECONDS: &str = "2";

/// Two hosts, a folder with a configuration for each, and the roles that run there.
struct Clinic {
    network: Network,
    folder: TempDir,
    roles: Vec<Child>,
}

/// A doctor's output, and its exit status.
struct Said {
    text: String,
    status: Option<i32>,
}

impl Clinic {
    /// Two healthy hosts; none, said aloud, where there can be none.
    fn open(test: &str) -> Option<Clinic> {
        let network = Network::with(test, &[NORTH, SOUTH])?;
        let clinic = Clinic { network, folder: tempfile::tempdir().unwrap(), roles: Vec::new() };
        clinic.configure(NORTH, "");
        clinic.configure(SOUTH, "");
        let mut mount = clinic.program(NORTH, "true");
        if !mount.status().is_ok_and(|status| status.success()) {
            skip(test, "a namespace may not have a /sys of its own here");
            return None;
        }
        Some(clinic)
    }

    /// Writes the configuration of `name`: the settings in `more`, and the usual ones that they
    /// leave out.
    fn configure(&self, name: &str, more: &str) {
        let own = format!("interface {}", address(name));
        let usual = [
            "clients 239.0.0.1 5000",
            "proposers 239.0.0.1 6000",
            "acceptors 239.0.0.1 7000",
            "learners 239.0.0.1 8000",
            &own,
            "ttl 1",
            "cluster clinic",
            // Less than every kernel gives.
            "socket_buffer_bytes 65536",
        ];
        let key = |line: &str| line.split(' ').next().map(str::to_owned);
        let left = usual.iter().filter(|line| more.lines().all(|other| key(other) != key(line)));
        let text: String = left.map(|line| format!("{line}\n")).collect();
        fs::write(self.folder.path().join(name), format!("{text}{more}\n")).unwrap();
    }

    /// A command on a host, which sees the interfaces of that host in /sys.
    fn program(&self, name: &str, program: &str) -> Command {
        let enter = self.network.entry_of(name);
        let mut command = Command::new(&enter[0]);
        let mount = "mount -t sysfs sysfs /sys && exec \"$@\"";
        command.args(&enter[1..]).args(["unshare", "--mount", "sh", "-c", mount, "sh", program]);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// A command of the program under test on a host.
    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = self.program(name, PAXOS);
        command.args(["--conf", name]).args(arguments);
        command
    }

    /// Starts a role on a host.
    fn start(&mut self, name: &str, role: &str, id: &str) {
        let mut command = self.command(name, &[role, id]);
        // A learner's file is its own, as on hosts that share nothing.
        if role == "learner" {
            command.args(["--results", &format!("results-{name}")]);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.roles.push(child);
    }

    /// Doctors on these hosts at the same time.
    fn examine(&self, names: &[&str], arguments: &[&str]) -> Vec<Said> {
        let start = |name: &&str| {
            let mut command = self.command(name, &["doctor", "--seconds", SECONDS]);
            command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let started: Vec<Child> = names.iter().map(start).collect();
        let said = |child: Child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
            Said { text: text(&output.stdout), status: output.status.code() }
        };
        started.into_iter().map(said).collect()
    }

    /// Doctors on both hosts.
    fn examine_both(&self) -> [Said; 2] {
        self.examine(&[NORTH, SOUTH], &[]).try_into().unwrap_or_else(|_| unreachable!())
    }
}

impl Drop for Clinic {
    fn drop(&mut self) {
        for child in &mut self.roles {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Said {
    /// Demands a line that says all of `parts`, and the verdict `sick`.
    fn is_sick(&self, parts: &[&str]) {
        self.has("sick: ", parts);
        assert_eq!(self.status, Some(1), "{}", self.text);
        assert!(self.text.ends_with("\nsick\n"), "{}", self.text);
    }

    /// Demands a line that begins with `start` and says all of `parts`.
    fn has(&self, start: &str, parts: &[&str]) {
        let is_it = |line: &str| line.starts_with(start) && parts.iter().all(|p| line.contains(p));
        assert!(self.text.lines().any(is_it), "no line says {parts:?}:\n{}", self.text);
    }

    /// Demands that nothing but these many lines are sick.
    fn has_sick_lines(&self, count: usize) {
        let sick = self.text.lines().filter(|line| line.starts_with("sick: ")).count();
        assert_eq!(sick, count, "{}", self.text);
    }

    /// Demands the verdict `healthy`.
    fn is_healthy(&self) {
        assert_eq!(self.status, Some(0), "{}", self.text);
        assert!(self.text.ends_with("\nhealthy\n"), "{}", self.text);
    }
}

#[test]
fn two_healthy_hosts_are_healthy() {
    let Some(mut clinic) = Clinic::open("two healthy hosts") else { return };
    for (name, role, id) in [
        (NORTH, "acceptor", "1"),
        (SOUTH, "acceptor", "2"),
        (SOUTH, "acceptor", "3"),
        (NORTH, "proposer", "1"),
        (SOUTH, "learner", "1"),
    ] {
        clinic.start(name, role, id);
    }
    for (said, other) in clinic.examine_both().iter().zip([SOUTH, NORTH]) {
        said.is_healthy();
        said.has("fine: ", &[&address(other), "on every group, even datagrams of 1472 bytes"]);
        let north = format!("P1, A1 at {}", address(NORTH));
        let south = format!("A2, A3, L1 at {}", address(SOUTH));
        said.has("fine: these run", &[&north, &south]);
    }
    let said = clinic.examine(&[NORTH, SOUTH], &["--expect", "2", "--json"]);
    for said in said {
        let report: serde_json::Value = serde_json::from_str(&said.text).unwrap();
        assert_eq!((said.status, &report["verdict"]), (Some(0), &"healthy".into()), "{report}");
    }
}

#[test]
fn an_interface_of_nobody() {
    let Some(clinic) = Clinic::open("a wrong interface") else { return };
    clinic.configure(NORTH, "interface 10.99.0.1");
    let [said] = &clinic.examine(&[NORTH], &["--local"])[..] else { unreachable!() };
    said.is_sick(&["this host has no interface 10.99.0.1", "10.77.0.1 (eth0)"]);
    said.has_sick_lines(1);
}

#[test]
fn an_interface_that_is_down() {
    let Some(clinic) = Clinic::open("an interface that is down") else { return };
    clinic.network.on(NORTH, &["ip", "link", "set", "eth0", "down"]);
    let [said] = &clinic.examine(&[NORTH], &["--local"])[..] else { unreachable!() };
    said.is_sick(&["interface eth0 (10.77.0.1) is down", "`ip link set eth0 up`"]);
    said.is_sick(&["there is no route to any group through 10.77.0.1"]);
}

#[test]
fn an_interface_without_multicast() {
    let Some(clinic) = Clinic::open("an interface without multicast") else { return };
    clinic.network.on(NORTH, &["ip", "link", "set", "eth0", "multicast", "off"]);
    let [said] = &clinic.examine(&[NORTH], &["--local"])[..] else { unreachable!() };
    said.is_sick(&["eth0 (10.77.0.1) does not carry multicast", "`ip link set eth0 multicast on`"]);
}

#[test]
fn an_interface_on_which_nobody_is() {
    let Some(clinic) = Clinic::open("the wrong one of two interfaces") else { return };
    let wires = "link add eth1 type veth peer name eth2\nlink set eth2 up\nlink set eth1 up\n\
                 address add 10.88.0.1/24 dev eth1\n";
    fs::write(clinic.folder.path().join("wires"), wires).unwrap();
    let file = clinic.folder.path().join("wires");
    clinic.network.on(NORTH, &["ip", "-batch", file.to_str().unwrap()]);
    clinic.configure(NORTH, "interface 10.88.0.1");
    let said = clinic.examine(&[NORTH, SOUTH], &["--all-interfaces"]);
    let where_it_is = "10.77.0.2 is heard on eth0 (10.77.0.1), and not on the interface";
    said[0].is_sick(&[where_it_is, "10.88.0.1; cure: set `interface` to 10.77.0.1"]);
    said[0].is_sick(&["nothing is heard from any other host"]);
    // The other host has one interface, and hears nobody there.
    said[1].is_sick(&["nothing is heard from any other host", "`--all-interfaces`"]);
    said[1].has_sick_lines(1);
}

#[test]
fn multicast_that_passes_one_way() {
    let Some(clinic) = Clinic::open("multicast that passes one way") else { return };
    clinic.network.filter(NORTH, "ip saddr 10.77.0.2 ip daddr 224.0.0.0/4 drop");
    let [north, south] = clinic.examine_both();
    north.is_sick(&["nothing is heard from host", "10.77.0.2", "though it hears us (one way)"]);
    north.is_sick(&["allow UDP to ports 5000, 6000, 7000, 8000 from 10.77.0.2", "IGMP querier"]);
    north.has_sick_lines(1);
    south.is_sick(&["10.77.0.1 does not hear us, though we hear it (one way)"]);
    south.has_sick_lines(1);
}

#[test]
fn a_host_that_is_cut_off_one_way() {
    let Some(clinic) = Clinic::open("a cut one way") else { return };
    clinic.network.filter(NORTH, "ip saddr 10.77.0.2 drop");
    let [north, south] = clinic.examine_both();
    north.is_sick(&["nothing is heard from any other host", "start `paxos doctor`"]);
    south.is_sick(&["10.77.0.1 does not hear us, though we hear it (one way)"]);
}

#[test]
fn one_port_that_is_closed() {
    let Some(clinic) = Clinic::open("a closed port") else { return };
    clinic.network.filter(NORTH, "ip saddr 10.77.0.2 udp dport 7000 drop");
    let [north, south] = clinic.examine_both();
    let group = "to the group of the acceptors (239.0.0.1:7000)";
    north.is_sick(&["10.77.0.2 is not heard when it sends", group]);
    south.is_sick(&["10.77.0.1 does not hear us when we send", group]);
}

#[test]
fn firewalls_of_this_host() {
    let Some(clinic) = Clinic::open("firewalls") else { return };
    clinic.network.filter(NORTH, "udp dport { 7000, 8000 } drop");
    let output = "table ip out { chain output { type filter hook output priority 0; \
                  udp dport 5000-8000 drop; }; }";
    clinic.network.on(SOUTH, &["nft", output]);
    let said = clinic.examine(&[NORTH, SOUTH], &["--local"]);
    said[0].is_sick(&[
        "what this host itself sends to the groups of the acceptors (239.0.0.1:7000) and the \
         learners (239.0.0.1:8000) does not come back",
        "input rules",
    ]);
    said[1].is_sick(&["a firewall of this host forbids sending to any group", "output rules"]);
}

#[test]
fn a_ttl_of_zero_between_hosts() {
    let Some(clinic) = Clinic::open("TTL 0") else { return };
    clinic.configure(NORTH, "ttl 0");
    let [north, south] = clinic.examine_both();
    north
        .is_sick(&["the TTL is 0, so no datagram leaves this host through eth0", "set `ttl` to 1"]);
    north.has_sick_lines(1);
    south.is_sick(&["10.77.0.1 sends with TTL 0", "set `ttl` to 1 there"]);
    south.has_sick_lines(1);
}

#[test]
fn datagrams_over_the_mtu() {
    let Some(clinic) = Clinic::open("a smaller MTU") else { return };
    clinic.network.on(SOUTH, &["ip", "link", "set", "eth0", "mtu", "1280"]);
    let [north, south] = clinic.examine_both();
    // 1172 is the longest of the lengths tried that 1280 carries.
    north.is_sick(&["datagrams of 1472 bytes do not arrive at host", "10.77.0.2; of 1172 they do"]);
    south.is_sick(&["datagrams of 1472 bytes from host", "10.77.0.1 do not arrive; of 1172"]);
    south.is_sick(&["set `datagram_bytes` to 1172 on every host"]);
    // It can be told to send longer ones, in pieces.
    clinic.configure(SOUTH, "datagram_bytes 1472");
    let [said] = &clinic.examine(&[SOUTH], &["--local"])[..] else { unreachable!() };
    said.has("note: ", &["of 1472 bytes go over eth0 in pieces", "`datagram_bytes` to 1252"]);
}

#[test]
fn a_buffer_that_the_kernel_clamps() {
    let world = World::over(Carrier::Multicast);
    // More than any kernel gives by default; a kernel that may give more gives this.
    world.configure("socket_buffer_bytes 1073741824");
    let mut command = Command::new(PAXOS);
    command.arg("--conf").arg(world.conf()).args(["doctor", "--local"]);
    let output = command.current_dir(world.path("")).output().unwrap();
    let said = Said { text: text(&output.stdout), status: output.status.code() };
    said.is_sick(&["the kernel gives sockets a receive buffer of ", "1073741824 are configured"]);
    said.is_sick(&["`sysctl -w net.core.rmem_max=1073741824`"]);
}

#[test]
fn a_port_and_a_directory_that_somebody_else_has() {
    let world = World::over(Carrier::Multicast);
    // No other socket may share it. A process of another test may have it at the moment.
    let port = world.addresses()[2].port();
    let mut holder = None;
    let is_held = || {
        holder = UdpSocket::bind(("0.0.0.0", port)).ok();
        holder.is_some()
    };
    assert!(happens(SOON, is_held), "port {port} stays in use");
    fs::write(world.path("data"), "no folder").unwrap();
    world.configure("socket_buffer_bytes 65536\ndata data");
    let mut command = Command::new(PAXOS);
    command.arg("--conf").arg(world.conf()).args(["doctor", "--local"]);
    let output = command.current_dir(world.path("")).output().unwrap();
    let said = Said { text: text(&output.stdout), status: output.status.code() };
    said.is_sick(&["cannot bind to 239.0.0.1", "in use", "choose another port"]);
    said.is_sick(&["acceptors started here cannot write to data: not a directory"]);
}

#[test]
fn two_processes_with_one_id() {
    let Some(mut clinic) = Clinic::open("one id twice") else { return };
    clinic.start(NORTH, "learner", "3");
    clinic.start(SOUTH, "learner", "3");
    // Acceptors are silent unless they are asked.
    clinic.start(NORTH, "acceptor", "2");
    clinic.start(SOUTH, "acceptor", "2");
    let [said] = &clinic.examine(&[NORTH], &[])[..] else { unreachable!() };
    for node in ["L3", "A2"] {
        let what = format!("two processes run as {node} at a time: at 10.77.0.");
        said.is_sick(&[&what, "10.77.0.1:", "10.77.0.2:", "end one of them"]);
    }
}

#[test]
fn another_cluster_on_the_groups() {
    let Some(mut clinic) = Clinic::open("another cluster") else { return };
    clinic.configure(SOUTH, "cluster number2");
    clinic.start(SOUTH, "learner", "1");
    let [north, south] = clinic.examine_both();
    north.is_sick(&["another cluster `number2` uses the groups of `clinic`", "from 10.77.0.2"]);
    south.is_sick(&["another cluster `clinic` uses the groups of `number2`", "from 10.77.0.1"]);
    let [north] = &clinic.examine(&[NORTH], &[])[..] else { unreachable!() };
    north
        .is_sick(&["another cluster uses the groups of `clinic`", "the learners (239.0.0.1:8000)"]);
}

#[test]
fn another_version_and_a_stranger() {
    let Some(clinic) = Clinic::open("another version") else { return };
    clinic.network.on(SOUTH, &["ip", "route", "add", "224.0.0.0/4", "dev", "eth0"]);
    // A header of version 7, and something that is none.
    let send = "for i in 1 2 3 4 5 6 7 8 9 10; do \
                printf 'mpxs\\x07%023d' 0 >/dev/udp/239.0.0.1/6000; \
                printf 'M-SEARCH * HTTP/1.1' >/dev/udp/239.0.0.1/5000; sleep 0.15; done";
    let said = thread::scope(|scope| {
        let doctor = scope.spawn(|| clinic.examine(&[NORTH], &[]));
        clinic.network.on(SOUTH, &["bash", "-c", send]);
        doctor.join().unwrap()
    });
    said[0].is_sick(&[
        "from 10.77.0.2",
        "of version 7 where this is version",
        "one release at a time",
    ]);
    said[0].has("note: ", &["from 10.77.0.2 to the group of the clients", "not of this program"]);
}

#[test]
fn hosts_that_are_configured_otherwise() {
    let Some(clinic) = Clinic::open("other configurations") else { return };
    clinic.configure(SOUTH, "acceptor_count 5");
    let [north, south] = clinic.examine_both();
    north.is_sick(&["10.77.0.2 is configured otherwise: acceptor_count 5 there, and 3 here"]);
    south.is_sick(&["10.77.0.1 is configured otherwise: acceptor_count 3 there, and 5 here"]);
    clinic.configure(SOUTH, "clients 239.0.0.1 5001");
    let [north, _] = clinic.examine_both();
    north.is_sick(&["10.77.0.2 is configured otherwise: groups", "239.0.0.1:5001"]);
    north.has_sick_lines(1);
}

/// With one key doctors hear each other and the roles; with two, or with none on one host, they say
/// so of doctors and of roles.
#[test]
fn hosts_that_have_not_the_same_key() {
    let Some(mut clinic) = Clinic::open("keys") else { return };
    for name in ["one.key", "two.key"] {
        let mut keygen = Command::new(PAXOS);
        let status = keygen.current_dir(clinic.folder.path()).args(["keygen", name]).status();
        assert!(status.unwrap().success());
    }
    clinic.configure(NORTH, "key_file one.key\nacceptor_count 1");
    clinic.configure(SOUTH, "key_file one.key\nacceptor_count 1");
    clinic.start(NORTH, "acceptor", "1");
    clinic.start(SOUTH, "proposer", "1");
    for said in clinic.examine_both() {
        said.is_healthy();
        said.has("fine: these run", &["A1 at", "P1 at"]);
    }
    clinic.configure(SOUTH, "key_file two.key\nacceptor_count 1");
    let [north, south] = clinic.examine_both();
    north.is_sick(&["10.77.0.2 has another key than this one", "give every host the same"]);
    south.is_sick(&["10.77.0.1 has another key than this one"]);
    clinic.configure(SOUTH, "acceptor_count 1");
    let [north, south] = clinic.examine_both();
    north.is_sick(&["10.77.0.2 has no key, and this one has"]);
    south.is_sick(&["10.77.0.1 has a key, and this one has not"]);
    south.is_sick(&["datagrams from 10.77.0.2", "are sealed with a key, and there is none here"]);
}

#[test]
fn too_few_acceptors_and_too_few_hosts() {
    let Some(mut clinic) = Clinic::open("too few acceptors") else { return };
    clinic.start(NORTH, "proposer", "1");
    clinic.start(SOUTH, "acceptor", "1");
    let [said] = &clinic.examine(&[NORTH], &["--expect", "3"])[..] else { unreachable!() };
    said.is_sick(&["1 of 3 acceptors are heard where 2 are needed", "start the others"]);
    said.is_sick(&["2 of 3 hosts are here", "heard: 10.77.0.2", "`--seconds 60`"]);
    // A quorum, and nobody to spare.
    clinic.start(NORTH, "acceptor", "2");
    let [said] = &clinic.examine(&[NORTH], &[])[..] else { unreachable!() };
    said.has("degraded: 2 of 3 acceptors are heard where 2 are needed", &["0 more may fail"]);
    assert!(said.text.ends_with("\ndegraded\n") && said.status == Some(1), "{}", said.text);
    clinic.start(SOUTH, "acceptor", "3");
    let [said] = &clinic.examine(&[NORTH], &[])[..] else { unreachable!() };
    assert!(said.text.ends_with("\nhealthy\n") && said.status == Some(0), "{}", said.text);
}

/// A process that sleeps while its interface is made again; once it is awake it joins anew.
#[test]
fn a_process_that_lost_its_membership() {
    let Some(mut clinic) = Clinic::open("a lost membership") else { return };
    clinic.start(NORTH, "learner", "1");
    let examine = |clinic: &Clinic| clinic.examine(&[NORTH], &["--local"]).remove(0).text;
    let sign = "processes of this host listen to 239.0.0.1, and 0 are members";
    let group = clinic.folder.path().join("results-acceptor1/learner1_decided_value");
    assert!(happens(SOON, || group.exists()), "it runs once its file is there");
    assert!(!examine(&clinic).contains(sign));
    let pid = clinic.roles[0].id().to_string();
    assert!(succeeds(&["kill", "-STOP", &pid]));
    clinic.network.in_hub(&format!("link del {NORTH}\n"));
    clinic.network.connect(NORTH);
    let said = examine(&clinic);
    assert!(said.contains(sign), "{said}");
    assert!(succeeds(&["kill", "-CONT", &pid]));
    assert!(happens(SOON, || !examine(&clinic).contains(sign)), "it does not join anew");
}

#[test]
fn a_bridge_that_asks_by_igmpv2() {
    let Some(clinic) = Clinic::open("a bridge that asks") else { return };
    let bridge = ["ip", "link", "add", "br7", "type", "bridge", "mcast_querier", "1"];
    clinic.network.on(NORTH, &[&bridge[..], &["mcast_snooping", "1"]].concat());
    let examine = || clinic.examine(&[NORTH], &["--local"]).remove(0);
    let said = examine();
    said.has("note: bridge br7 takes groups to members only", &["mcast_igmp_version 3"]);
    assert_eq!(said.status, Some(0), "{}", said.text);
    let cure = ["ip", "link", "set", "br7", "type", "bridge", "mcast_igmp_version", "3"];
    clinic.network.on(NORTH, &cure);
    assert!(!examine().text.contains("br7"));
}

#[test]
fn a_cluster_at_work_is_not_disturbed() {
    let mut world = World::over(Carrier::Multicast);
    world.configure(&format!("data {}", world.path("data").display()));
    world.start_cluster(2, "0");
    for id in 1..=2 {
        world.feed(id, values(&format!("v{id}"), 1000).as_bytes(), &["0", "0", "auto"]);
    }
    let conf = world.conf();
    let doctor = || {
        let mut command = Command::new(PAXOS);
        command.arg("--conf").arg(&conf).args(["doctor", "--seconds", SECONDS]);
        let output = command.current_dir(world.path("")).output().unwrap();
        Said { text: text(&output.stdout), status: output.status.code() }
    };
    let said = thread::scope(|scope| {
        let doctors = [scope.spawn(doctor), scope.spawn(doctor)];
        doctors.map(|doctor| doctor.join().unwrap())
    });
    for said in said {
        said.has("fine: ", &["P1, P2, A1, A2, A3, L1, L2 at 127.0.0.1"]);
    }
    world.await_lines(&[1, 2], 2000, SOON);
    world.expect_all_delivered();
    // An acceptor that is asked stores nothing.
    let stored = || {
        let files = fs::read_dir(world.path("data/acceptor-1")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    let before = stored();
    doctor().has("fine: ", &["A1, A2, A3"]);
    assert_eq!(stored(), before);
}

#[test]
fn members_of_lists_are_asked_for() {
    let mut world = World::over(Carrier::Unicast);
    let examine = |world: &World| {
        let mut command = Command::new(PAXOS);
        command.arg("--conf").arg(world.conf()).args(["doctor", "--seconds", SECONDS]);
        let output = command.current_dir(world.path("")).output().unwrap();
        Said { text: text(&output.stdout), status: output.status.code() }
    };
    let said = examine(&world);
    said.is_healthy();
    said.has("note: ", &["the clients, proposers, acceptors, learners are lists of members"]);
    said.has("note: no process takes datagrams of ", &["A1 at 127.", "A2 at 127.", "L1 at 127."]);
    world.start_all("acceptor", 2, &[]);
    let mut said = examine(&world);
    happens(SOON, || {
        said = examine(&world);
        !said.text.contains("A1 at") && !said.text.contains("A2 at")
    });
    said.has("degraded: no process takes datagrams of ", &["A3 at 127."]);
    assert!(!said.text.contains("A1 at") && !said.text.contains("A2 at"), "{}", said.text);
    assert_eq!(said.status, Some(1), "{}", said.text);
}

#[test]
fn two_hosts_meet_in_ipv6_groups() {
    let test = "doctors in IPv6 groups";
    let Some(clinic) = Clinic::open(test) else { return };
    if !fs::exists("/proc/net/if_inet6").unwrap_or(false) {
        return skip(test, "IPv6 is off here");
    }
    let groups = "clients ff05::7 5000\nproposers ff05::7 6000\nacceptors ff05::7 7000\n\
                  learners ff05::7 8000\ninterface eth0";
    for (name, own) in [(NORTH, "fd77::1/64"), (SOUTH, "fd77::2/64")] {
        clinic.network.on(name, &["ip", "address", "add", own, "dev", "eth0", "nodad"]);
        clinic.configure(name, groups);
    }
    for (said, other) in clinic.examine_both().iter().zip(["fd77::2", "fd77::1"]) {
        said.is_healthy();
        said.has("fine: host", &[other, "on every group, even datagrams of 1452 bytes"]);
    }
}

#[test]
fn loss_is_told_and_no_sickness() {
    let Some(clinic) = Clinic::open("loss") else { return };
    clinic.network.filter(NORTH, "ip saddr 10.77.0.2 numgen random mod 100 < 40 drop");
    let [north, _] = clinic.examine_both();
    north.is_healthy();
    north.has("note: ", &[" % of what host ", "10.77.0.2 sends are lost"]);
}

#[test]
fn a_process_that_does_not_fetch_its_datagrams() {
    let Some(mut clinic) = Clinic::open("a process that sleeps") else { return };
    clinic.configure(NORTH, "socket_buffer_bytes 4096");
    clinic.start(NORTH, "learner", "1");
    // It must have its socket; its heartbeats show that.
    let pid = clinic.roles[0].id().to_string();
    thread::sleep(Duration::from_millis(300));
    assert!(Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
    clinic.configure(NORTH, "");
    let [said] = &clinic.examine(&[NORTH], &[])[..] else { unreachable!() };
    said.is_sick(&["the kernel dropped", "at port 8000", "just now", "`socket_buffer_bytes`"]);
}
