//! A cluster of real processes on loopback, in a folder of its own, and what it costs.
//!
//! Every process is a child of this one and ends with it.

#[path = "relay.rs"]
mod relay;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tempfile::TempDir;

use self::relay::Relay;

/// The binary under test, built by cargo for this bench.
const PAXOS: &str = env!("CARGO_BIN_EXE_paxos");

/// The groups, in the order of their ports, and the role of each.
const GROUPS: [(&str, &str); 4] = [
    ("clients", "client"),
    ("proposers", "proposer"),
    ("acceptors", "acceptor"),
    ("learners", "learner"),
];

/// How many members a list has at most. A cluster has as many ports for each group.
const MEMBERS: u32 = 4;

/// What to start.
#[derive(Clone, Copy)]
pub struct Shape {
    /// More lines of the configuration; `DATA` stands for the folder of durable data, `KEY`
    /// for a key file.
    pub conf: &'static str,
    /// The program to run.
    pub program: &'static str,
    /// How many acceptors.
    pub acceptors: u32,
    /// How many proposers.
    pub proposers: u32,
    /// How many learners.
    pub learners: u32,
    /// What each process loses of what it receives.
    pub loss: &'static str,
    /// What a relay makes of the time to another process and back: lists of members, with one
    /// client. Otherwise groups are multicast.
    pub round_trip: Option<Duration>,
    /// The processors that everything runs on, as `taskset --cpu-list` takes them; otherwise all.
    pub processors: Option<&'static str>,
}

impl Shape {
    /// In memory, a proposer, a learner, no loss.
    pub const PLAIN: Shape = Shape {
        conf: "",
        program: PAXOS,
        acceptors: 3,
        proposers: 1,
        learners: 1,
        loss: "0",
        round_trip: None,
        processors: None,
    };

    /// How many members the list of each group has.
    fn members(&self) -> [u32; 4] {
        [1, self.proposers, self.acceptors, self.learners]
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

/// What a group of processes has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Seconds of processor time, of all processes.
    pub cpu: f64,
    /// Those of them that the system did not spend for the processes: on memory, say.
    pub user: f64,
    /// Seconds of processor time, of the threads that live, as the scheduler counts them: not in
    /// hundredths.
    pub scheduled: f64,
    /// Context switches, of all threads of all processes.
    pub switches: u64,
}

/// A running cluster.
pub struct Cluster {
    folder: TempDir,
    shape: Shape,
    processes: Vec<(String, Child)>,
    /// The first port of the groups.
    base: u32,
    relay: Option<Relay>,
    /// The settings besides the groups.
    conf: String,
}

impl Cluster {
    /// Starts it, and gives it the time to find a leader.
    pub fn start(shape: Shape) -> Self {
        let folder = tempfile::tempdir_in("results/bench").expect("a folder");
        // Ports in a row below the range from which sockets without a port get theirs.
        let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let base = 10_000 + u32::from(port.expect("a port").port()) % 1250 * 4 * MEMBERS;
        let relay = shape.round_trip.map(|round_trip| {
            Relay::start(ports(base, &shape).into_iter().flatten(), round_trip / 2)
        });
        let data = folder.path().join("data");
        let mut conf = format!("cluster bench-{base}\nacceptor_count {}\n", shape.acceptors);
        let key = folder.path().join("paxos.key");
        let made = Command::new(shape.program).arg("keygen").arg(&key).status();
        assert!(made.is_ok_and(|status| status.success()), "a key file");
        conf += &shape
            .conf
            .replace("DATA", &format!("data {}", data.display()))
            .replace("KEY", &format!("key_file {}", key.display()));
        let mut cluster = Cluster { folder, shape, processes: Vec::new(), base, relay, conf };
        for id in 1..=shape.acceptors {
            cluster.spawn("acceptor", id);
        }
        for id in 1..=shape.learners {
            cluster.spawn("learner", id);
        }
        for id in 1..=shape.proposers {
            cluster.spawn("proposer", id);
        }
        thread::sleep(Duration::from_millis(400));
        // A campaign takes some round trips.
        thread::sleep(shape.round_trip.unwrap_or_default() * 5);
        cluster
    }

    /// The groups, as the process `own` sees them.
    fn groups(&self, own: &str) -> String {
        let Some(relay) = &self.relay else {
            let groups = (self.base..).zip(GROUPS);
            return groups
                .map(|(port, (group, _))| format!("{group} 239.0.0.1 {port}\n"))
                .collect();
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

    /// The program with the cluster's configuration, for a client, a load or whoever else is none
    /// of the cluster's; the rest of its arguments is to be added. Through a relay it is client 1.
    pub fn command(&self) -> Command {
        self.command_of("client1")
    }

    /// As [`Self::command`], for the process `own`.
    fn command_of(&self, own: &str) -> Command {
        let conf = format!("{own}.conf");
        let path = self.folder.path().join(&conf);
        // Others may be reading it.
        if !path.exists() {
            fs::write(path, self.groups(own) + &self.conf).expect("a configuration");
        }
        let mut command = match self.shape.processors {
            None => Command::new(self.shape.program),
            Some(processors) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", processors, self.shape.program]);
                command
            }
        };
        command.current_dir(self.folder.path()).args(["--conf", &conf]);
        command.stderr(Stdio::null());
        command
    }

    /// Starts one more process.
    pub fn spawn(&mut self, role: &str, id: u32) {
        let name = format!("{role}{id}");
        let mut command = self.command_of(&name);
        command.args([role, &id.to_string(), "--loss", self.shape.loss]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        self.processes.push((name, child.expect("paxos starts")));
    }

    /// Stops the processes whose names begin like this, until they are told to go on.
    pub fn pause(&self, name: &str) {
        self.signal(name, Signal::STOP);
    }

    /// Lets them go on.
    pub fn go_on(&self, name: &str) {
        self.signal(name, Signal::CONT);
    }

    fn signal(&self, name: &str, signal: Signal) {
        for (_, child) in self.processes.iter().filter(|(own, _)| own.starts_with(name)) {
            kill_process(Pid::from_child(child), signal).expect("it runs");
        }
    }

    /// Kills one process at once.
    pub fn kill(&mut self, name: &str) {
        let found = self.processes.iter().position(|(own, _)| own == name);
        let (_, mut child) = self.processes.swap_remove(found.expect("it runs"));
        child.kill().and_then(|()| child.wait()).expect("it can be killed");
    }

    /// Starts `paxos bench` in the background.
    pub fn load(&self, options: &[&str]) -> Child {
        let mut command = self.command();
        command.args(["bench", "--json", "--loss", self.shape.loss]).args(options);
        if self.relay.is_some() {
            command.args(["--first-id", "1"]);
        }
        command.stdout(Stdio::piped()).spawn().expect("paxos starts")
    }

    /// Runs `paxos bench` to its end.
    pub fn bench(&self, options: &[&str]) -> Json {
        measured(self.load(options))
    }

    /// A client and the learner that prints, to talk through.
    pub fn talk(&mut self) -> (Child, ChildStdin, BufReader<ChildStdout>) {
        let mut learner = self.command();
        learner.args(["learner", "9"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut learner = learner.spawn().expect("paxos starts");
        let printed = BufReader::new(learner.stdout.take().expect("a pipe"));
        self.processes.push(("learner9".to_owned(), learner));
        let mut client = self.command();
        client.args(["client", "1", "--first-instance", "auto"]);
        let mut client =
            client.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("paxos starts");
        let stdin = client.stdin.take().expect("a pipe");
        (client, stdin, printed)
    }

    /// Two clients decide `each` values of six bytes through standard input; until both learners'
    /// files hold all of them. Returns the seconds it took.
    pub fn feed(&self, each: usize) -> f64 {
        let results = self.folder.path().join("results");
        for client in 1..=2 {
            let mut file =
                File::create(results.join(format!("propose{client}.txt"))).expect("a file");
            let lines: String =
                (0..each).map(|line| format!("{:06}\n", line % 1_000_000)).collect();
            file.write_all(lines.as_bytes()).expect("room");
        }
        let start = Instant::now();
        let clients: Vec<Child> = (1..=2)
            .map(|client| {
                let fed = File::open(results.join(format!("propose{client}.txt")));
                let mut command = self.command();
                command.args(["client", &client.to_string(), "--first-instance", "auto"]);
                command.stdin(fed.expect("a file")).stdout(Stdio::null());
                command.spawn().expect("paxos starts")
            })
            .collect();
        for mut client in clients {
            assert!(client.wait().expect("it ends").success(), "everything is decided");
        }
        let mut watch = self.command();
        watch.args(["watch", "2", "2", "auto", "auto", "--timeout", "60"]).stdout(Stdio::null());
        assert!(watch.status().expect("it ends").success(), "the learners have everything");
        start.elapsed().as_secs_f64()
    }

    fn decided_file(&self, learner: u32) -> PathBuf {
        self.folder.path().join(format!("results/learner{learner}_decided_value"))
    }

    /// How many values a learner has written.
    pub fn decided(&self, learner: u32) -> u64 {
        let Ok(file) = File::open(self.decided_file(learner)) else { return 0 };
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut lines = 0;
        loop {
            let chunk = reader.fill_buf().expect("it can be read");
            if chunk.is_empty() {
                return lines;
            }
            lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
            let length = chunk.len();
            reader.consume(length);
        }
    }

    /// How long a learner's file is, in bytes.
    pub fn written(&self, learner: u32) -> u64 {
        fs::metadata(self.decided_file(learner)).map_or(0, |file| file.len())
    }

    /// What all processes have used.
    pub fn used(&self) -> Used {
        self.used_by("")
    }

    /// What the processes whose names begin like this have used.
    pub fn used_by(&self, name: &str) -> Used {
        let mut used = Used::default();
        for (_, child) in self.processes.iter().filter(|(own, _)| own.starts_with(name)) {
            let folder = format!("/proc/{}", child.id());
            let stat = fs::read_to_string(format!("{folder}/stat")).unwrap_or_default();
            let fields: Vec<&str> = stat.split_whitespace().collect();
            let ticks = |field: usize| fields.get(field).and_then(|text| text.parse().ok());
            let (user, system) = (ticks(13).unwrap_or(0.0), ticks(14).unwrap_or(0.0));
            used.cpu += (user + system) / 100.0;
            used.user += user / 100.0;
            for thread in fs::read_dir(format!("{folder}/task")).into_iter().flatten().flatten() {
                let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
                let scheduled =
                    fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
                let nanos = scheduled.split_whitespace().next().and_then(|text| text.parse().ok());
                used.scheduled += nanos.unwrap_or(0.0) / 1e9;
                used.switches += numbers(&status, "ctxt_switches").sum::<u64>();
            }
        }
        used
    }

    /// The memory of each process, in bytes.
    pub fn memory(&self) -> Vec<(String, u64)> {
        let of = |child: &Child| {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
            numbers(&status.unwrap_or_default(), "VmRSS").next().unwrap_or(0) * 1024
        };
        self.processes.iter().map(|(name, child)| (name.clone(), of(child))).collect()
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

/// The numbers of the lines of `status` whose key contains `key`.
fn numbers<'a>(status: &'a str, key: &'a str) -> impl Iterator<Item = u64> + 'a {
    status
        .lines()
        .filter(move |line| line.contains(key))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
}

/// Waits for a load to end, and reads what it printed.
pub fn measured(load: Child) -> Json {
    let output = load.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("a load printed no JSON ({error}): {}", String::from_utf8_lossy(&output.stdout))
    })
}
