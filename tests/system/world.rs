//! A cluster of real processes in a directory of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The binary under test.
pub const PAXOS: &str = env!("CARGO_BIN_EXE_paxos");

/// How long anything may take that should take a moment. Generous: the machine may be busy.
pub const SOON: Duration = Duration::from_secs(20);

/// How many clusters run at a time, if that many tests run; more would only measure the machine.
const WORLDS_MAX: usize = 4;

/// Where clusters have their ports: below 32768, where the kernel begins to give ports to senders.
/// The scenarios of bash/test_runs have those from 20000 to 31999.
const PORTS: std::ops::Range<u16> = 10_000..19_000;

/// How many ports this process has taken.
static PORTS_TAKEN: AtomicU16 = AtomicU16::new(0);

static WORLDS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// What carries the datagrams of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// IPv4 groups on the loopback interface.
    Multicast,
    /// IPv6 groups on the loopback interface, which has no route for them by itself.
    Ipv6,
    /// Lists of members, each with a loopback address of its own.
    Unicast,
    /// A group, and lists with members of either IP version.
    Mixed,
}

impl Network {
    /// What PAXOS_TEST_NETWORK says: `unicast`, or nothing and everything is multicast.
    pub fn asked() -> Network {
        match std::env::var("PAXOS_TEST_NETWORK").as_deref() {
            Ok("unicast") => Network::Unicast,
            Ok("multicast") | Err(_) => Network::Multicast,
            Ok(other) => panic!("PAXOS_TEST_NETWORK={other} is neither unicast nor multicast"),
        }
    }
}

/// The word for the group of each role, and how many members a list has.
const GROUPS: [(&str, u8); 4] =
    [("clients", 4), ("proposers", 4), ("acceptors", 3), ("learners", 4)];

/// One cluster. Its processes die with it.
pub struct World {
    /// What carries its datagrams.
    pub network: Network,
    folder: TempDir,
    ports: [u16; 4],
    nodes: BTreeMap<String, Child>,
    /// The programs that nodes start through.
    programs: BTreeMap<String, Vec<String>>,
    /// How many clusters it counts for.
    weight: usize,
}

/// The path of a script of the project.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bash").join(name)
}

/// Waits until `event` has happened, for at most `limit`. Returns whether it has.
pub fn happens(limit: Duration, mut event: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if event() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether this run of the suite gives every world a key.
pub fn has_keys() -> bool {
    std::env::var_os("PAXOS_TEST_KEY").is_some_and(|value| value == "1")
}

/// `count` different values, one a line.
pub fn values(name: &str, count: usize) -> String {
    (1..=count).map(|line| format!("{name}-{line}\n")).collect()
}

/// A sentence's worth of text from bytes.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Four ports of their own. Each process begins elsewhere, because others may run tests as well,
/// and skips ports that are in use.
fn free_ports() -> [u16; 4] {
    let start = (std::process::id() % 1000) as u16 * 9;
    [0; 4].map(|_| {
        loop {
            let taken = PORTS_TAKEN.fetch_add(1, Ordering::Relaxed);
            let port = PORTS.start + (start + taken) % PORTS.len() as u16;
            if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    })
}

/// Says aloud, past the test harness, which shows nothing of tests that pass, that a test could not
/// be done here. The file that PAXOS_TEST_SKIPPED names keeps it for the end of bash/ci.sh.
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIPPED: {test}: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(list) = std::env::var_os("PAXOS_TEST_SKIPPED") {
        let mut list = File::options().append(true).create(true).open(list).unwrap();
        list.write_all(line.as_bytes()).unwrap();
    }
}

/// Whether a command exists, is allowed, and succeeds.
pub fn succeeds(words: &[&str]) -> bool {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl World {
    /// An empty directory with a configuration.
    pub fn new() -> Self {
        Self::over(Network::asked())
    }

    /// As `new`, over this network.
    pub fn over(network: Network) -> Self {
        Self::weighing(network, 1)
    }

    /// Over multicast, while no other cluster runs: for what takes all of the machine.
    pub fn alone() -> Self {
        Self::weighing(Network::Multicast, WORLDS_MAX)
    }

    /// Over multicast, while at most one other cluster like it runs: for what waits for its disk as
    /// much as for processors.
    pub fn beside_another() -> Self {
        Self::weighing(Network::Multicast, WORLDS_MAX / 2)
    }

    fn weighing(network: Network, weight: usize) -> Self {
        let mut running = WORLDS.0.lock().unwrap();
        while *running + weight > WORLDS_MAX {
            running = WORLDS.1.wait(running).unwrap();
        }
        *running += weight;
        drop(running);
        let folder = tempfile::tempdir().unwrap();
        let world = World {
            network,
            folder,
            ports: free_ports(),
            nodes: BTreeMap::new(),
            programs: BTreeMap::new(),
            weight,
        };
        world.configure("");
        world
    }

    /// As `new`; acceptors keep their data in the world's directory.
    pub fn durable() -> Self {
        let world = Self::new();
        world.configure(&format!("data {}", world.path("data").display()));
        world
    }

    /// Writes the configuration, with `more` settings.
    pub fn configure(&self, more: &str) {
        let cluster = self.ports[0];
        let own =
            if more.contains("cluster ") { String::new() } else { format!("cluster c{cluster}\n") };
        let more = [more, &self.key_line(more)].join("\n");
        let more = more.trim();
        let text = format!("{}{own}{more}\n", self.group_lines());
        fs::write(self.conf(), text).unwrap();
        fs::create_dir_all(self.path("results")).unwrap();
    }

    /// With `PAXOS_TEST_KEY=1` every world has a key of its own, unless `more` names one.
    fn key_line(&self, more: &str) -> String {
        if !has_keys() || more.contains("key_file ") {
            return String::new();
        }
        let path = self.path("paxos.key");
        if !path.exists() {
            self.make_key("paxos.key");
        }
        format!("key_file {}", path.display())
    }

    /// Makes a key file in the world's directory.
    pub fn make_key(&self, name: &str) {
        assert!(Command::new(PAXOS).arg("keygen").arg(self.path(name)).status().unwrap().success());
    }

    /// The lines of the groups.
    pub fn group_lines(&self) -> String {
        let group = |address: &str| -> String {
            let lines = GROUPS.iter().zip(self.ports);
            lines.map(|((name, _), port)| format!("{name} {address} {port}\n")).collect()
        };
        match self.network {
            Network::Multicast => group("239.0.0.1"),
            Network::Ipv6 => group("ff01::7878"),
            Network::Unicast => self.list_lines(|_, id| format!("127.0.0.{id}")),
            Network::Mixed => {
                let lists = self.list_lines(|_, id| match id {
                    2 => "[::1]".to_owned(),
                    _ => format!("127.0.0.{id}"),
                });
                let (_, lists) = lists.split_once('\n').unwrap();
                format!("clients 239.0.0.1 {}\n{lists}", self.ports[0])
            }
        }
    }

    /// The lines of groups that are lists, given the address of each role and id.
    pub fn list_lines(&self, address: impl Fn(&str, u8) -> String) -> String {
        let line = |((name, count), port): (&(&str, u8), u16)| {
            let role = name.trim_end_matches('s');
            let members = (1..=*count).map(|id| format!(" {}:{port}", address(role, id)));
            format!("{name} unicast{}\n", members.collect::<String>())
        };
        GROUPS.iter().zip(self.ports).map(line).collect()
    }

    /// Every address that something is sent to.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let conf = multi_paxos::config::load(self.conf().to_str().unwrap()).unwrap();
        conf.groups.addresses().collect()
    }

    /// A world on the same groups, in a directory of its own.
    pub fn neighbour(&self) -> World {
        let folder = tempfile::tempdir().unwrap();
        *WORLDS.0.lock().unwrap() += 1;
        let network = self.network;
        World {
            network,
            folder,
            ports: self.ports,
            nodes: BTreeMap::new(),
            programs: BTreeMap::new(),
            weight: 1,
        }
    }

    /// A path in the world's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration's path.
    pub fn conf(&self) -> PathBuf {
        self.path("paxos.conf")
    }

    /// A command that runs a script in the world's directory.
    pub fn command(&self, script_name: &str) -> Command {
        let mut command = Command::new(script(script_name));
        self.settle(&mut command);
        command
    }

    /// Lets a command run in the world's directory, with the binary under test.
    fn settle(&self, command: &mut Command) {
        command.current_dir(self.folder.path()).env("PAXOS_BIN", PAXOS).env_remove("RUST_LOG");
    }

    /// A command that runs the binary in the world's directory, without a script.
    pub fn paxos(&self, words: &str) -> Command {
        let mut command = Command::new(PAXOS);
        command.arg("--conf").arg(self.conf()).args(words.split_whitespace());
        command.current_dir(self.path("")).env_remove("RUST_LOG");
        command
    }

    /// Starts `name` like this, with its standard error in a file.
    pub fn launch(&mut self, name: &str, words: &str, stdin: Stdio, stdout: Stdio) {
        let mut command = self.paxos(words);
        let err = File::create(self.path(&format!("{name}.err"))).unwrap();
        self.adopt(name, command.stdin(stdin).stdout(stdout).stderr(err));
    }

    /// Starts `name` (as `proposer1`) with these arguments after the configuration.
    pub fn start(&mut self, name: &str, arguments: &[&str]) {
        self.start_with(name, arguments, Stdio::null());
    }

    /// Starts `name` with `stdin`; standard output and error go to files.
    pub fn start_with(&mut self, name: &str, arguments: &[&str], stdin: Stdio) {
        let out = File::create(self.path(&format!("{name}.out"))).unwrap();
        self.start_piped(name, arguments, stdin, out.into());
    }

    /// Starts `name` with `stdin` and `stdout`; standard error goes to a file.
    pub fn start_piped(&mut self, name: &str, arguments: &[&str], stdin: Stdio, stdout: Stdio) {
        let mut command = self.node_command(name, arguments);
        let err = File::create(self.path(&format!("{name}.err"))).unwrap();
        self.adopt(name, command.stdin(stdin).stdout(stdout).stderr(err));
    }

    /// Starts `name` by a command of its own, as [`Self::node_command`] gives it.
    pub fn adopt(&mut self, name: &str, command: &mut Command) {
        self.nodes.insert(name.to_owned(), command.spawn().unwrap());
    }

    /// Lets `name` start through a program that becomes it, as `nice` does. No words: no program.
    pub fn through(&mut self, name: &str, program: &[&str]) {
        let program = program.iter().map(|word| (*word).to_owned()).collect();
        self.programs.insert(name.to_owned(), program);
    }

    /// The configuration of a node: `paxos-<name>.conf` if it is there.
    fn conf_of(&self, name: &str) -> PathBuf {
        let own = self.path(&format!("paxos-{name}.conf"));
        if own.exists() { own } else { self.conf() }
    }

    /// The command that starts `name`.
    pub fn node_command(&self, name: &str, arguments: &[&str]) -> Command {
        let digit = name.find(|letter: char| letter.is_ascii_digit()).unwrap();
        let (role, id) = name.split_at(digit);
        let path = script(&format!("{role}.sh"));
        let program = self.programs.get(name).into_iter().flatten().map(OsStr::new);
        let words: Vec<&OsStr> = program.chain([path.as_os_str()]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(id).arg(self.conf_of(name)).args(arguments);
        self.settle(&mut command);
        command
    }

    /// Starts `count` nodes of `role`, all with these arguments.
    pub fn start_all(&mut self, role: &str, count: usize, arguments: &[&str]) {
        for id in 1..=count {
            self.start(&format!("{role}{id}"), arguments);
        }
    }

    /// Three acceptors, two learners and `proposers` proposers with this loss.
    pub fn start_cluster(&mut self, proposers: usize, loss: &str) {
        self.start_all("acceptor", 3, &[loss]);
        self.start_all("learner", 2, &[loss]);
        self.start_all("proposer", proposers, &[loss]);
    }

    /// Feeds client `id` with `fed`, and starts it.
    pub fn feed(&mut self, id: u32, fed: &[u8], arguments: &[&str]) {
        let path = self.path(&format!("results/propose{id}.txt"));
        fs::write(&path, fed).unwrap();
        let stdin = File::open(path).unwrap();
        self.start_with(&format!("client{id}"), arguments, stdin.into());
    }

    /// Starts client `id` with a pipe for its standard input, which is returned. Lines written to
    /// it must be added to the client's file by `note_fed`.
    pub fn feed_slowly(&mut self, id: u32, arguments: &[&str]) -> std::process::ChildStdin {
        let name = format!("client{id}");
        self.start_with(&name, arguments, Stdio::piped());
        self.nodes.get_mut(&name).unwrap().stdin.take().unwrap()
    }

    /// Writes what client `id` is fed into its file.
    pub fn note_fed(&self, id: u32, fed: &str) {
        fs::write(self.path(&format!("results/propose{id}.txt")), fed).unwrap();
    }

    /// The process of a node.
    pub fn pid(&self, name: &str) -> u32 {
        self.nodes[name].id()
    }

    /// Sends a signal, as `-STOP`.
    pub fn signal(&self, name: &str, signal: &str) {
        let pid = self.pid(name).to_string();
        assert!(Command::new("kill").arg(signal).arg(pid).status().unwrap().success());
    }

    /// Kills a node, as a crash would.
    pub fn kill(&mut self, name: &str) {
        let mut child = self.nodes.remove(name).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for a node's end.
    pub fn end_of(&mut self, name: &str, limit: Duration) -> ExitStatus {
        let child = self.nodes.get_mut(name).unwrap();
        let mut status = None;
        let ended = happens(limit, || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "{name} does not end; it said: {}", self.said(name));
        status.unwrap()
    }

    /// What a node wrote to standard output.
    pub fn printed(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(&format!("{name}.out"))).unwrap_or_default()
    }

    /// What a node wrote to standard error.
    pub fn said(&self, name: &str) -> String {
        text(&fs::read(self.path(&format!("{name}.err"))).unwrap_or_default())
    }

    /// The same without lines that are no complaints: that there is no key, and that it leads.
    pub fn complaints(&self, name: &str) -> String {
        let said = self.said(name);
        let usual = ["the group is open", "INFO  leads with "];
        said.lines().filter(|line| !usual.iter().any(|part| line.contains(part))).collect()
    }

    /// What is in a learner's results file.
    pub fn decided(&self, learner: u32) -> Vec<u8> {
        let path = self.path(&format!("results/learner{learner}_decided_value"));
        fs::read(path).unwrap_or_default()
    }

    /// How many lines a learner has printed.
    pub fn lines(&self, learner: u32) -> usize {
        self.printed(&format!("learner{learner}")).iter().filter(|byte| **byte == b'\n').count()
    }

    /// Waits until each of these learners has printed `count` lines.
    pub fn await_lines(&self, learners: &[u32], count: usize, limit: Duration) {
        let done = happens(limit, || learners.iter().all(|id| self.lines(*id) >= count));
        let have: Vec<usize> = learners.iter().map(|id| self.lines(*id)).collect();
        assert!(done, "learners have {have:?} of {count} lines after {limit:?}");
    }

    /// The checker's verdict on two learners.
    pub fn check(&self, arguments: &[&str]) -> Output {
        self.command("check_results.sh").args(arguments).output().unwrap()
    }

    /// Demands verdict 0.
    pub fn expect_verdict(&self, arguments: &[&str]) {
        let output = self.check(arguments);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{said}");
        let expected = "Integrity: True\nAgreement: True\nTermination: True (100%)\n";
        assert_eq!(text(&output.stdout), expected);
    }

    /// Demands that two learners printed the same, which is all of what both clients were fed, and
    /// that the checker agrees.
    pub fn expect_all_delivered(&self) {
        assert_eq!(self.printed("learner1"), self.printed("learner2"));
        let sorted = |bytes: &[u8]| {
            let mut lines: Vec<Vec<u8>> =
                bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            lines.sort_unstable();
            lines
        };
        let mut fed = fs::read(self.path("results/propose1.txt")).unwrap();
        fed.extend(fs::read(self.path("results/propose2.txt")).unwrap());
        assert!(sorted(&fed) == sorted(&self.printed("learner1")), "every value exactly once");
        self.expect_verdict(&["2", "2", "false", "auto", "auto"]);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.nodes.values_mut() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            for name in self.nodes.keys() {
                let _ = writeln!(std::io::stderr(), "{name}: {}", self.said(name));
            }
        }
        if let Ok(mut running) = WORLDS.0.lock() {
            *running -= self.weight;
        }
        WORLDS.1.notify_all();
    }
}
