//! A cluster of real processes, on loopback or on shaped links, in a folder of its own.
//!
//! Every process is a child of this one and ends with it, however that ends.

#[path = "relay.rs"]
mod relay;
#[path = "wire.rs"]
pub mod wire;

use std::ffi::OsStr;
use std::fs;
use std::net::UdpSocket;
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value as Json;
use tempfile::TempDir;

use self::relay::Relay;
use self::wire::{Links, Wire};

/// The binary under test, built by cargo for this bench.
const PAXOS: &str = env!("CARGO_BIN_EXE_paxos");

/// Where the folders of clusters are made.
pub const FOLDER: &str = "results/bench";

/// The groups, in the order of their ports, and the role of each.
const GROUPS: [(&str, &str); 4] = [
    ("clients", "client"),
    ("proposers", "proposer"),
    ("acceptors", "acceptor"),
    ("learners", "learner"),
];

/// How many members a list has at most. A cluster has as many ports for each group.
const MEMBERS: u32 = 4;

/// How many hosts are there for clients, where processes have hosts.
const CLIENT_HOSTS: u32 = 2;

/// What to start.
#[derive(Clone, Copy)]
pub struct Shape {
    /// More lines of the configuration; `DATA` stands for the folder of durable data, `KEY`
    /// for a key file.
    pub conf: &'static str,
    /// The program to run.
    pub program: &'static str,
    /// How many hosts run all roles in one process each; then there are no other processes.
    pub nodes: u32,
    /// How many acceptors.
    pub acceptors: u32,
    /// How many proposers.
    pub proposers: u32,
    /// How many learners.
    pub learners: u32,
    /// The share of received datagrams that each process drops.
    pub loss: &'static str,
    /// The round trip that a relay adds: with lists of members and one client. Without it groups
    /// are multicast.
    pub round_trip: Option<Duration>,
    /// The processors that everything runs on, as `taskset --cpu-list` takes them; otherwise all.
    pub processors: Option<&'static str>,
    /// Every process has a host of its own, on such links; otherwise all are on loopback.
    pub links: Option<Links>,
}

/// Whether a program can run all roles of a host in one process.
pub fn has_nodes(program: &str) -> bool {
    let mut command = Command::new(program);
    command.args(["node", "--help"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Shape {
    /// In memory, a proposer, a learner, no loss.
    pub const PLAIN: Shape = Shape {
        conf: "",
        program: PAXOS,
        nodes: 0,
        acceptors: 3,
        proposers: 1,
        learners: 1,
        loss: "0",
        round_trip: None,
        processors: None,
        links: None,
    };

    /// How many members the list of each group has.
    fn members(&self) -> [u32; 4] {
        [1, self.proposers, self.acceptors, self.learners]
    }

    /// The processes of the cluster, in the order in which they start.
    fn processes(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let nodes = self.nodes;
        // With nodes, no role has a process of its own.
        let of_role = |count| if nodes > 0 { 0 } else { count };
        [
            ("node", nodes),
            ("acceptor", of_role(self.acceptors)),
            ("learner", of_role(self.learners)),
            ("proposer", of_role(self.proposers)),
        ]
        .into_iter()
        .flat_map(|(role, count)| (1..=count).map(move |id| (role, id)))
    }

    /// The names of the hosts, where processes have hosts.
    fn hosts(&self) -> Vec<String> {
        let clients = (1..=CLIENT_HOSTS).map(|id| ("client", id));
        self.processes().chain(clients).map(|(role, id)| format!("{role}{id}")).collect()
    }
}

/// The ports of the members of the groups, when the cluster's first one is `base`.
fn ports(base: u32, shape: &Shape) -> [Vec<u32>; 4] {
    let mut place = 0;
    shape.members().map(|count| {
        assert!(count <= MEMBERS, "{count} members, and there are ports for {MEMBERS}");
        place += 1;
        let first = base + (place - 1) * MEMBERS;
        (first..first + count).collect()
    })
}

/// What carries the datagrams of a cluster.
pub enum Network {
    /// The loopback interface.
    Loopback,
    /// The same, through a relay.
    Relay(Relay),
    /// Hosts with links.
    Wire(Wire),
}

impl Network {
    fn of(shape: &Shape, base: u32) -> Self {
        if let Some(links) = shape.links {
            return Network::Wire(Wire::new(shape.hosts(), links));
        }
        let Some(round_trip) = shape.round_trip else { return Network::Loopback };
        Network::Relay(Relay::start(ports(base, shape).into_iter().flatten(), round_trip / 2))
    }
}

/// A running cluster.
pub struct Cluster {
    /// Where it runs.
    pub folder: TempDir,
    /// What was started.
    pub shape: Shape,
    /// What carries its datagrams.
    pub network: Network,
    /// Its processes, by their names.
    pub processes: Vec<(String, Child)>,
    /// The first port of the groups.
    base: u32,
    /// The settings besides the groups.
    conf: String,
}

impl Cluster {
    /// Starts it, and gives it the time to find a leader.
    pub fn start(shape: Shape) -> Self {
        fs::create_dir_all(FOLDER).expect("a folder for the results");
        let folder = tempfile::tempdir_in(FOLDER).expect("a folder");
        // Ports in a row below the range from which sockets without a port get theirs.
        let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let base = 10_000 + u32::from(port.expect("a port").port()) % 1250 * 4 * MEMBERS;
        let data = folder.path().join("data");
        let acceptors = if shape.nodes > 0 { shape.nodes } else { shape.acceptors };
        let mut conf = format!("cluster bench-{base}\nacceptor_count {acceptors}\n");
        let key = folder.path().join("paxos.key");
        let made = Command::new(shape.program).arg("keygen").arg(&key).status();
        assert!(made.is_ok_and(|status| status.success()), "a key file");
        conf += &shape
            .conf
            .replace("DATA", &format!("data {}", data.display()))
            .replace("KEY", &format!("key_file {}", key.display()));
        let network = Network::of(&shape, base);
        let mut cluster = Cluster { folder, shape, network, processes: Vec::new(), base, conf };
        for (role, id) in shape.processes() {
            cluster.spawn(role, id);
        }
        thread::sleep(Duration::from_millis(400));
        // A campaign takes some round trips.
        thread::sleep(shape.round_trip.unwrap_or_default() * 5);
        cluster
    }

    /// The groups, as the process `own` sees them.
    fn groups(&self, own: &str) -> String {
        let relay = match &self.network {
            Network::Relay(relay) => relay,
            Network::Wire(_) => return wire::groups(self.base),
            Network::Loopback => {
                let groups = (self.base..).zip(GROUPS);
                return groups
                    .map(|(port, (group, _))| format!("{group} 239.0.0.1 {port}\n"))
                    .collect();
            }
        };
        let mut lines = String::new();
        for (members, (group, role)) in ports(self.base, &self.shape).iter().zip(GROUPS) {
            lines += &format!("{group} unicast");
            for (id, port) in (1..).zip(members) {
                let is_own = format!("{role}{id}") == own;
                let port = if is_own { *port } else { relay.of(*port).into() };
                lines += &format!(" 127.0.0.1:{port}");
            }
            lines += "\n";
        }
        lines
    }

    /// The program with the cluster's configuration, for the process `own`; the caller adds the
    /// other arguments. A client, a load or anything else outside the cluster is `client1`, which
    /// names its host and, through a relay, the member that it must be.
    pub fn command(&self, own: &str) -> Command {
        let conf = format!("{own}.conf");
        let path = self.folder.path().join(&conf);
        // Others may be reading it.
        if !path.exists() {
            fs::write(path, self.groups(own) + &self.conf).expect("a configuration");
        }
        let mut words = match &self.network {
            Network::Wire(wire) => wire.enter(own),
            Network::Loopback | Network::Relay(_) => Vec::new(),
        };
        if let Some(processors) = self.shape.processors {
            words.extend(["taskset", "--cpu-list", processors].map(str::to_owned));
        }
        words.push(self.shape.program.to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(self.folder.path()).args(["--conf", &conf]);
        command.env("PAXOS_PARENT", process::id().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts one more process.
    pub fn spawn(&mut self, role: &str, id: u32) {
        let name = format!("{role}{id}");
        let mut command = self.command(&name);
        command.args([role, &id.to_string(), "--loss", self.shape.loss]);
        self.processes.push((name, command.spawn().expect("paxos starts")));
    }

    /// Starts `paxos bench` in the background.
    pub fn load(&self, options: &[impl AsRef<OsStr>]) -> Child {
        self.load_of("client1", options)
    }

    /// The same on the host of another client.
    pub fn load_of(&self, client: &str, options: &[impl AsRef<OsStr>]) -> Child {
        let mut command = self.command(client);
        command.args(["bench", "--json", "--loss", self.shape.loss]).args(options);
        if let Network::Relay(_) = self.network {
            command.args(["--first-id", "1"]);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("paxos starts")
    }

    /// Runs `paxos bench` to its end.
    ///
    /// # Errors
    ///
    /// Its output when it measured nothing.
    pub fn bench(&self, options: &[impl AsRef<OsStr>]) -> Result<Json, String> {
        measured(self.load(options))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (_, child) in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for a load to end, and reads what it printed.
///
/// # Errors
///
/// Its output when it measured nothing.
pub fn measured(load: Child) -> Result<Json, String> {
    let output = load.wait_with_output().map_err(|error| error.to_string())?;
    let printed = serde_json::from_slice::<Json>(&output.stdout).ok();
    printed.filter(|printed| printed["values"] != 0).ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        said.lines().last().unwrap_or("it said nothing").to_owned()
    })
}
