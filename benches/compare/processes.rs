//! What the processes of a cluster have used and written, according to the system.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::Cluster;

/// The resources that a group of processes has used so far.
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

impl Cluster {
    /// Stops the processes whose names begin with `name`, until they are continued.
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

    /// Has a value decided by a client of its own, and waits for that.
    pub fn ask(&self, client: u32, first_instance: &str) {
        let mut command = self.command("client1");
        command.args(["client", &client.to_string(), "--lifetime", "60"]);
        command.args(["--first-instance", first_instance]).stdin(Stdio::piped());
        let mut client = command.spawn().expect("paxos starts");
        client.stdin.take().expect("a pipe").write_all(b"value\n").expect("it reads");
        // Its time shows one that does not finish.
        let _ = client.wait();
    }

    /// The last instance that a learner has written, 0 before the first.
    pub fn last_instance(&self, learner: u32) -> u64 {
        let Ok(file) = File::open(self.decided_file(learner)) else { return 0 };
        // A line of a short value is shorter, and the last may be on its way.
        let mut tail = [0; 256];
        let from = self.written(learner).saturating_sub(tail.len() as u64);
        let length = file.read_at(&mut tail, from).expect("it can be read");
        let text = String::from_utf8_lossy(&tail[..length]);
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let last = whole.rsplit('\n').next().unwrap_or_default();
        last.split('\t').next().and_then(|instance| instance.parse().ok()).unwrap_or(0)
    }

    /// The results file of a learner.
    pub fn decided_file(&self, learner: u32) -> PathBuf {
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

    /// The resources used by the processes whose names begin with `name`.
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
        self.memory_by("VmRSS")
    }

    /// The most that each process has had of memory, in bytes.
    pub fn memory_peaks(&self) -> Vec<(String, u64)> {
        self.memory_by("VmHWM")
    }

    fn memory_by(&self, key: &str) -> Vec<(String, u64)> {
        let of = |child: &Child| {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
            numbers(&status.unwrap_or_default(), key).next().unwrap_or(0) * 1024
        };
        self.processes.iter().map(|(name, child)| (name.clone(), of(child))).collect()
    }
}

/// The numbers of the lines of `status` whose key contains `key`.
fn numbers<'a>(status: &'a str, key: &'a str) -> impl Iterator<Item = u64> + 'a {
    status
        .lines()
        .filter(move |line| line.contains(key))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
}
