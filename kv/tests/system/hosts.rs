//! Three hosts in one: each process of the store has a network and a disk of its own, so that links
//! can be cut and disks filled up.
//!
//! The test runs again in namespaces of its own, where it may do anything. A bridge connects it
//! with the three hosts. Namespaces have no names: each is held by a process, and gone with that.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::world::{SOON, happens};

/// How to make namespaces: as root, or as anybody.
const MEANS: [&[&str]; 2] =
    [&["unshare", "--net", "--mount"], &["unshare", "--map-root-user", "--net", "--mount"]];

/// The command that must work in them.
const NEEDED: &str =
    "ip link add br0 type bridge && nft list ruleset && mount -t tmpfs needed /mnt";

/// Set for the test when it runs where it can do all that.
const INSIDE: &str = "KV_TEST_INSIDE";

/// The space of a disk, before it is used up.
const DISK: &str = "1g";

/// Where a test is that wants hosts.
pub enum Place {
    /// In namespaces of its own.
    Inside,
    /// It has run there, and this is whether it has passed.
    HasRun(bool),
    /// There can be none here.
    Outside,
}

/// Runs the test of this name where there can be hosts, unless it is there.
pub fn inside(test: &str) -> Place {
    if std::env::var_os(INSIDE).is_some() {
        return Place::Inside;
    }
    let is_allowed = |means: &&&[&str]| {
        let needed = Command::new(means[0]).args(&means[1..]).args(["sh", "-c", NEEDED]).output();
        needed.is_ok_and(|output| output.status.success())
    };
    let Some(means) = MEANS.iter().find(is_allowed) else { return Place::Outside };
    let status = Command::new(means[0])
        .args(&means[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "yes")
        .status();
    Place::HasRun(status.unwrap().success())
}

/// The three hosts.
pub struct Hosts {
    holders: Vec<Child>,
}

impl Hosts {
    /// Connects them with this process. They last for at most `seconds` seconds.
    pub fn new(seconds: u64) -> Hosts {
        let lines = format!(
            "link set lo up\nlink add br0 type bridge mcast_snooping 0\n\
             address add {}/24 dev br0\nlink set br0 up\n",
            address(100)
        );
        run(&["ip", "-batch", "-"], &lines);
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let mut hosts = Hosts { holders: Vec::new() };
        for id in 1..=3 {
            let hold = ["--net", "sleep", &seconds.to_string()];
            let holder = Command::new("unshare").args(hold).stdin(Stdio::null()).spawn().unwrap();
            let pid = holder.id();
            hosts.holders.push(holder);
            let namespace = format!("/proc/{pid}/ns/net");
            // It is the same until the holder has made its own.
            assert!(happens(SOON, || fs::read_link(&namespace).is_ok_and(|of| of != own)));
            let lines = format!(
                "link add host{id} type veth peer name eth0 netns {pid}\n\
                 link set host{id} master br0 up\n"
            );
            run(&["ip", "-batch", "-"], &lines);
            let lines = format!(
                "link set lo up\naddress add {}/24 dev eth0\nlink set eth0 up\n",
                address(id)
            );
            hosts.on(id, &["ip", "-batch", "-"], &lines);
        }
        hosts
    }

    /// The words that enter a host.
    pub fn entry(&self, id: u16) -> Vec<String> {
        let pid = self.holders[usize::from(id) - 1].id().to_string();
        ["nsenter", "--target", &pid, "--net"].map(str::to_owned).to_vec()
    }

    fn on(&self, id: u16, words: &[&str], input: &str) -> Output {
        let entry = self.entry(id);
        let entry: Vec<&str> = entry.iter().map(String::as_str).collect();
        run(&[&entry, words].concat(), input)
    }

    /// From now on nothing that `from` says reaches `to`.
    pub fn cut(&self, from: u16, to: u16) {
        let rules = format!(
            "table ip cut {{ chain input {{ type filter hook input priority 0; \
             ip saddr {} counter drop; }}; }}\n",
            address(from)
        );
        self.on(to, &["nft", "-f", "-"], &rules);
    }

    /// Mends all cuts. Returns how many packets they have stopped.
    pub fn heal(&self) -> u64 {
        let heal = |id| {
            let rules = self.on(id, &["nft", "list", "ruleset"], "");
            self.on(id, &["nft", "flush", "ruleset"], "");
            let rules = String::from_utf8(rules.stdout).unwrap();
            let counted = rules.split("counter packets ").skip(1);
            counted.map(|rest| rest.split(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
        };
        (1..=3).map(heal).sum()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// The address of a host.
pub fn address(id: u16) -> String {
    format!("10.79.0.{id}")
}

/// Has `folder` be a disk of its own.
pub fn mount(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let folder = folder.display().to_string();
    run(&["mount", "-t", "tmpfs", "-o", &format!("size={DISK},mode=700"), "disk", &folder], "");
}

/// Leaves no more space on this disk than is used.
pub fn fill(folder: &Path) {
    let folder = folder.display().to_string();
    let used = run(&["df", "--block-size=4096", "--output=used", &folder], "");
    let used = String::from_utf8(used.stdout).unwrap();
    let pages: u64 = used.lines().last().unwrap().trim().parse().unwrap();
    // It goes on writing meanwhile, and a disk cannot be smaller than what is on it.
    let is_full = (0..8).any(|more| {
        let size = format!("remount,size={}", (pages + 16 * more).max(1) * 4096);
        let remount = Command::new("mount").args(["-o", &size, &folder]).output();
        remount.unwrap().status.success()
    });
    assert!(is_full, "the disk at {folder} cannot be filled up");
}

/// Makes room on it again.
pub fn make_room(folder: &Path) {
    let size = format!("remount,size={DISK}");
    run(&["mount", "-o", &size, &folder.display().to_string()], "");
}

/// Runs a command that reads `input`, and demands that it succeeds.
fn run(words: &[&str], input: &str) -> Output {
    let mut child = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}\n{input}");
    output
}
