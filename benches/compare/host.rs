//! The description of the host and the program for a page of figures.

use std::fs;
use std::process::Command;
use std::thread;

use multi_paxos::clock::Moment;
use multi_paxos::report::bench::{Measured, Row};

use crate::measuring::Asked;

/// These figures, with the options and this host.
pub fn measured(asked: &Asked, rows: Vec<Row>) -> Measured {
    let (command, rounds) = (asked.command.clone(), asked.rounds);
    let (machine, commit, when) = (machine(), commit(), Moment::now().to_string());
    Measured { command, machine, commit, when, rounds, rows }
}

/// `AMD EPYC 7763, 2 processors, 8 GiB, Linux 6.1.0`.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let of = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    let model = of(&read("/proc/cpuinfo"), "model name");
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let memory = of(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
    let system = read("/proc/sys/kernel/osrelease");
    format!(
        "{model}, {processors} processors, {} GiB, Linux {}",
        kib.div_ceil(1 << 20),
        system.trim()
    )
}

/// The commit of the sources, and whether they are changed since.
fn commit() -> String {
    let describe = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
    let output = Command::new("git").args(describe).output();
    let said = output.ok().filter(|output| output.status.success());
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.unwrap_or_else(|| "unknown: the sources are not in a git repository".to_owned())
}
