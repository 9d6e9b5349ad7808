//! Three processes of the store in a directory of their own, and clients of them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redis::{Client, Connection};
use tempfile::TempDir;

use crate::hosts::{self, Hosts};

/// The binary under test.
pub const PAXOS_KV: &str = env!("CARGO_BIN_EXE_paxos-kv");

/// How long anything may take that should take a moment. Generous: the machine may be busy.
pub const SOON: Duration = Duration::from_secs(30);

/// The first of `EACH` free ports in a row: three of TCP, four of UDP behind them, and behind those
/// the ones that processes take for metrics, for which each tries several. Below the ports of the
/// other tests of this project.
pub fn free_ports() -> u16 {
    const EACH: u16 = 16;
    const PLACES: u16 = 150;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % u32::from(PLACES)) as u16;
    loop {
        let place = (start + TAKEN.fetch_add(1, Ordering::Relaxed)) % PLACES;
        let base = 7_500 + place * EACH;
        let is_udp = |port: &u16| (base + 3..base + 7).contains(port);
        let is_free = (base..base + EACH).all(|port| match is_udp(&port) {
            true => UdpSocket::bind(("127.0.0.1", port)).is_ok(),
            false => TcpListener::bind(("127.0.0.1", port)).is_ok(),
        });
        if is_free {
            return base;
        }
    }
}

/// A store. Its processes die with it.
pub struct World {
    folder: TempDir,
    /// Where the first process listens.
    pub base: u16,
    processes: [Option<Child>; 3],
    /// The further options of every process.
    more: Vec<String>,
    /// Where each of them runs, if not all here.
    pub hosts: Option<Hosts>,
}

/// The password of a store that has hosts.
const PASSWORD: &str = "open-sesame";

impl World {
    /// A store that serves. Its processes have these arguments as well.
    pub fn new(more: &[&str]) -> World {
        World::configured("", more)
    }

    /// The same, with these lines in its configuration.
    pub fn configured(lines: &str, more: &[&str]) -> World {
        World::placed(lines, more, None)
    }

    /// The same, each of its processes on a host with a disk for its acceptor.
    pub fn on_hosts(lines: &str, hosts: Hosts) -> World {
        let lines = format!("interface 10.79.0.0/24\nttl 1\n{lines}");
        World::placed(&lines, &["--requirepass-file", "password"], Some(hosts))
    }

    fn placed(lines: &str, more: &[&str], hosts: Option<Hosts>) -> World {
        let (folder, base) = (tempfile::tempdir().unwrap(), free_ports());
        let groups = ["clients", "proposers", "acceptors", "learners"].iter().zip(base + 3..);
        let groups: String =
            groups.map(|(role, port)| format!("{role} 239.0.0.1 {port}\n")).collect();
        let conf = format!("{groups}cluster kv-{}-{base}\ndata data\n{lines}", std::process::id());
        fs::write(folder.path().join("paxos.conf"), conf).unwrap();
        let more = more.iter().map(|word| word.to_string()).collect();
        fs::write(folder.path().join("password"), PASSWORD).unwrap();
        let mut world = World { folder, base, processes: [None, None, None], more, hosts };
        if world.hosts.is_some() {
            (1..=3).for_each(|id| hosts::mount(&world.disk(id)));
        }
        world.start_all();
        world
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts all of them, and waits until they serve.
    pub fn start_all(&mut self) {
        let mut waiting: Vec<_> = (1..=3).map(|id| self.spawn(id, &[])).collect();
        waiting.iter_mut().for_each(await_ready);
    }

    /// Starts one, and waits until it serves.
    pub fn start(&mut self, id: u16) {
        self.start_through(id, &[]);
    }

    /// The same, with words before its command that run it.
    pub fn start_through(&mut self, id: u16, through: &[&str]) {
        await_ready(&mut self.spawn(id, through));
    }

    fn spawn(&mut self, id: u16, through: &[&str]) -> BufReader<std::process::ChildStdout> {
        let path = self.path().join(format!("{id}.log"));
        let log = fs::File::options().append(true).create(true).open(path).unwrap();
        let mut words = self.hosts.as_ref().map_or(Vec::new(), |hosts| hosts.entry(id));
        words.extend(through.iter().map(|word| word.to_string()));
        words.push(PAXOS_KV.to_owned());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(["--conf", "paxos.conf", "--id", &id.to_string()])
            .args(["--listen", &self.address(id)])
            .args(&self.more)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        assert!(self.processes[usize::from(id) - 1].replace(child).is_none(), "{id} runs already");
        out
    }

    pub fn port(&self, id: u16) -> u16 {
        self.base + id - 1
    }

    /// Where a process listens.
    fn address(&self, id: u16) -> String {
        let host = if self.hosts.is_some() { hosts::address(id) } else { "127.0.0.1".to_owned() };
        format!("{host}:{}", self.port(id))
    }

    /// Where clients find a process.
    pub fn url(&self, id: u16) -> String {
        let password = self.hosts.as_ref().map_or(String::new(), |_| format!(":{PASSWORD}@"));
        format!("redis://{password}{}/", self.address(id))
    }

    /// Where the acceptor of a process keeps its log: a disk of its own, if there are hosts.
    pub fn disk(&self, id: u16) -> PathBuf {
        self.path().join(format!("data/acceptor-{id}"))
    }

    /// `kill -9`.
    pub fn kill(&mut self, id: u16) {
        if let Some(mut child) = self.processes[usize::from(id) - 1].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends a signal, as `-TERM`, to a process that runs.
    pub fn signal(&self, id: u16, signal: &str) {
        let child = self.processes[usize::from(id) - 1].as_ref().unwrap();
        let status = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end of a process. Returns its status.
    pub fn wait(&mut self, id: u16) -> Option<i32> {
        self.processes[usize::from(id) - 1].take().unwrap().wait().unwrap().code()
    }

    /// The status of a process, if it ends within `limit`.
    pub fn ends(&mut self, id: u16, limit: Duration) -> Option<i32> {
        let mut status = None;
        let child = self.processes[usize::from(id) - 1].as_mut().unwrap();
        happens(limit, || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| {
            self.processes[usize::from(id) - 1] = None;
            status.code()
        })
    }

    pub fn log(&self, id: u16) -> String {
        fs::read_to_string(self.path().join(format!("{id}.log"))).unwrap()
    }

    /// A connection of a client that people use.
    pub fn connect(&self, id: u16) -> Connection {
        let client = Client::open(self.url(id)).unwrap();
        let connection = client.get_connection_with_timeout(SOON).unwrap();
        connection.set_read_timeout(Some(SOON)).unwrap();
        connection
    }
}

impl Drop for World {
    fn drop(&mut self) {
        (1..=3).for_each(|id| self.kill(id));
        if thread::panicking() {
            (1..=3).for_each(|id| eprintln!("{id}: {}", self.log(id)));
        }
    }
}

fn await_ready(out: &mut impl BufRead) {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.starts_with("ready "), "{line:?}");
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
        thread::sleep(Duration::from_millis(10));
    }
}

/// Says aloud, past the test harness, which shows nothing of tests that pass, that a test could not
/// be done here. The file that PAXOS_TEST_SKIPPED names keeps it for the end of bash/ci.sh.
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIPPED: {test}: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(list) = std::env::var_os("PAXOS_TEST_SKIPPED") {
        let mut list = fs::File::options().append(true).create(true).open(list).unwrap();
        list.write_all(line.as_bytes()).unwrap();
    }
}
