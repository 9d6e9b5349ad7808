//! Is the store linearizable while processes, links and disks fail?
//!
//! KV_SECONDS=<n> looks for n seconds instead of a few.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use multi_paxos::Cluster;

use crate::hosts::{self, Hosts, Place};
use crate::judge;
use crate::world::{World, skip};

const TEST: &str = "truth::it_is_linearizable_whatever_fails";

/// Runs a process with a slow disk: every third sync takes 30 ms more.
const SLOW_DISK: [&str; 11] = [
    "strace",
    "-D",
    "-f",
    "--seccomp-bpf",
    "-qq",
    "-o",
    "/dev/null",
    "-e",
    "trace=fdatasync",
    "-e",
    "inject=fdatasync:delay_exit=30000:when=1+3",
];

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// A process is killed, and started again.
    Kill,
    /// A process stands still.
    Pause,
    /// Nothing gets from one process to another.
    CutOneWay,
    /// Nothing goes between two processes.
    CutBothWays,
    /// Nothing goes between a process and the others; clients reach it.
    Isolate,
    /// A process is killed while the other two do not hear each other.
    KillAndCut,
    /// All are killed: everything acknowledged comes back from the disks.
    KillAll,
    /// A process is killed, and goes on with a disk that syncs slowly.
    SlowDisk,
    /// A disk has no space left: its acceptor votes for nothing, or its process ends.
    FullDisk,
}

const ALL: [Fault; 9] = [
    Fault::Kill,
    Fault::CutOneWay,
    Fault::Isolate,
    Fault::FullDisk,
    Fault::Pause,
    Fault::SlowDisk,
    Fault::CutBothWays,
    Fault::KillAll,
    Fault::KillAndCut,
];

/// The faults so far, and whether they had an effect.
#[derive(Default)]
struct Faults {
    counts: BTreeMap<Fault, u32>,
    packets: u64,
    /// How often a process noticed that its disk was full, and ended of it.
    full: u32,
    ends: u32,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u32 = self.counts.values().sum();
        let Faults { counts, packets, full, ends } = self;
        write!(
            f,
            "{total} faults {counts:?}, {packets} packets stopped, {full} full disks noticed, \
             {ends} ends for lack of space"
        )
    }
}

impl Faults {
    /// Lets something go wrong, and mends it. `turn` counts from 0.
    fn strike(&mut self, world: &mut World, fault: Fault, turn: u64) {
        let id = 1 + (turn % 3) as u16;
        let [next, last] = [1 + id % 3, 1 + (id + 1) % 3];
        // Some last for longer than a flight waits for the cluster.
        let within = if turn % 32 == 31 { 7000 } else { 300 + 300 * (turn / 3 % 4) };
        let within = Duration::from_millis(within);
        match fault {
            Fault::Kill => {
                world.kill(id);
                thread::sleep(within);
                world.start(id);
            }
            Fault::Pause => {
                world.signal(id, "-STOP");
                thread::sleep(within);
                world.signal(id, "-CONT");
            }
            Fault::KillAll => {
                (1..=3).for_each(|id| world.kill(id));
                world.start_all();
            }
            Fault::SlowDisk => {
                world.kill(id);
                world.start_through(id, &SLOW_DISK);
            }
            Fault::FullDisk => {
                let sentence = "the disk is full: this acceptor";
                let told = |world: &World| world.log(id).matches(sentence).count();
                let before = told(world);
                hosts::fill(&world.disk(id));
                // An acceptor has written zeros ahead, and there is room in them for a while. If it
                // looks before they are used up it lives.
                let mut status = None;
                let is_felt = (0..40).any(|_| {
                    write_much(&world.url(next));
                    status = world.ends(id, Duration::from_millis(50));
                    status.is_some() || told(world) > before
                });
                self.full += u32::from(is_felt);
                hosts::make_room(&world.disk(id));
                if let Some(status) = status {
                    assert_eq!(status, 1, "{}", world.log(id));
                    self.ends += 1;
                    world.start(id);
                }
            }
            Fault::CutOneWay | Fault::CutBothWays | Fault::Isolate | Fault::KillAndCut => {
                let links: &[(u16, u16)] = match fault {
                    Fault::CutOneWay => &[(id, next)],
                    Fault::Isolate => &[(id, next), (next, id), (id, last), (last, id)],
                    _ => &[(id, next), (next, id)],
                };
                let Some(hosts) = &world.hosts else { return };
                links.iter().for_each(|(from, to)| hosts.cut(*from, *to));
                if fault == Fault::KillAndCut {
                    world.kill(last);
                }
                thread::sleep(within);
                self.packets += world.hosts.as_ref().map_or(0, Hosts::heal);
                if fault == Fault::KillAndCut {
                    world.start(last);
                }
            }
        }
        *self.counts.entry(fault).or_default() += 1;
    }
}

/// Ends the load, even if a fault cannot be caused.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Has the log grow by 100 KB, if it can. No judge looks at hashes.
fn write_much(url: &str) {
    let write = || {
        let client = redis::Client::open(url)?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(1))?;
        connection.set_read_timeout(Some(Duration::from_secs(1)))?;
        let value = vec![b'v'; 100_000];
        redis::cmd("HSET").arg("much").arg("field").arg(value).query::<()>(&mut connection)
    };
    // It does not matter which of them comes through.
    let _: Result<(), redis::RedisError> = write();
}

/// The faults that can be made here.
fn possible(has_hosts: bool) -> Vec<Fault> {
    let traced = Command::new(SLOW_DISK[0]).args(&SLOW_DISK[1..]).arg("true").output();
    let has_strace = traced.is_ok_and(|output| output.status.success());
    if !has_strace {
        skip("slow disks of the store", "there is no strace, or it is not allowed");
    }
    let is_possible = |fault: &Fault| match fault {
        Fault::Kill | Fault::Pause | Fault::KillAll => true,
        Fault::SlowDisk => has_strace,
        Fault::CutOneWay | Fault::CutBothWays | Fault::Isolate | Fault::KillAndCut => has_hosts,
        Fault::FullDisk => has_hosts,
    };
    ALL.into_iter().filter(is_possible).collect()
}

#[test]
fn it_is_linearizable_whatever_fails() {
    let has_hosts = match hosts::inside(TEST) {
        Place::HasRun(has_passed) => return assert!(has_passed, "see above"),
        Place::Inside => true,
        Place::Outside => {
            let why = "no namespaces with a bridge, nftables and mounts are allowed here";
            skip("links and disks of the store", why);
            false
        }
    };
    let seconds = std::env::var("KV_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds = seconds.unwrap_or(12);
    // So that a process that is started again goes on from a snapshot.
    let lines = "snapshot_instances 256\n";
    let mut world = match has_hosts {
        true => World::on_hosts(lines, Hosts::new(seconds + 600)),
        false => World::configured(lines, &[]),
    };
    let cluster = Cluster::from_file(world.path().join("paxos.conf")).unwrap();
    let mut log = cluster.subscribe(4).unwrap();
    let urls = [1, 2, 3].map(|id| world.url(id));
    let is_over = AtomicBool::new(false);
    // A long run keeps millions of operations in memory until they are judged.
    let pause = Duration::from_millis(if seconds > 300 { 5 } else { 0 });
    let (possible, mut faults) = (possible(has_hosts), Faults::default());
    let history = thread::scope(|scope| {
        let load = scope.spawn(|| judge::load(&urls, pause, &is_over));
        let ending = Ending(&is_over);
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let (mut turn, count) = (0, possible.len() as u64);
        while Instant::now() < deadline {
            thread::sleep(Duration::from_millis(400));
            // The fault and its place have no common period.
            let fault = possible[(turn % count) as usize];
            faults.strike(&mut world, fault, turn + turn / count);
            turn += 1;
        }
        drop(ending);
        load.join().unwrap()
    });
    let lists = judge::lists(&urls[0]);
    let unknown = history.iter().filter(|operation| operation.ended.is_none()).count();
    let judged = judge::judge(&history, &judge::registers(&mut log, &urls[0]), &lists);
    let count = judged.unwrap_or_else(|why| panic!("after {faults}: {why}"));
    let searched = crate::search::search(&history);
    let searched = searched.unwrap_or_else(|why| panic!("after {faults}: {why}"));
    println!("{searched} of the operations were judged by a search as well");
    println!("{count} operations, {unknown} of unknown outcome, and {faults}: nothing wrong");
    assert!(count > 200 && faults.counts.len() > 1, "{count} operations and {faults}");
    let has_cut = faults.counts.keys().any(|fault| *fault == Fault::Isolate);
    assert!(!has_cut || faults.packets > 0, "cuts stop nothing");
    let has_filled = faults.counts.contains_key(&Fault::FullDisk);
    assert!(!has_filled || faults.full > 0, "no disk was full");
}
