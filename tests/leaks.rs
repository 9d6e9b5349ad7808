//! A node that is stopped leaves nothing behind in the process. Alone in its binary, because it
//! counts the threads and the descriptors of the whole process.

// A test that cannot set itself up has failed.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use multi_paxos::{Cluster, Consistency, Node, Place, Role, StateMachine};

const SOON: Duration = Duration::from_secs(20);

struct Count(u64);

impl StateMachine for Count {
    type Output = u64;

    fn apply(&mut self, _place: &Place, _command: &[u8]) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// How many entries a directory of this process has.
fn count(folder: &str) -> usize {
    fs::read_dir(Path::new("/proc/self").join(folder)).unwrap().count()
}

/// How many bytes of memory this process has.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// A complete durable cluster in this process, from its start to its end. It finds its log again.
fn live(cluster: &Cluster, life: u64) {
    let roles = [Role::Proposer, Role::Acceptor, Role::Learner];
    let start = |id| cluster.node(id, &roles).unwrap();
    let nodes: Vec<Node> = (1..=3).map(start).collect();
    let replica = cluster.replica(4, Count(0)).unwrap();
    let client = cluster.client(1).unwrap();
    let mut subscription = cluster.subscribe(5).unwrap();
    assert_eq!(client.propose("value").unwrap().wait(SOON).unwrap().decided().unwrap().0, 1);
    let count = replica.read(Consistency::Linearizable, SOON, |machine| machine.0).unwrap();
    assert_eq!(count, life);
    assert_eq!(subscription.next_timeout(SOON).unwrap().value, b"value");
    // Some are stopped, and some are dropped; all at once, for each takes a moment.
    let mut ends: Vec<Box<dyn FnOnce() + Send>> = vec![
        Box::new(|| client.stop(SOON).unwrap()),
        Box::new(|| subscription.stop(SOON).unwrap()),
        Box::new(|| assert_eq!(replica.stop(SOON).unwrap().0, life)),
    ];
    for node in nodes {
        ends.push(Box::new(|| node.stop(SOON).unwrap()));
    }
    thread::scope(|scope| {
        for end in ends {
            scope.spawn(|| if life.is_multiple_of(2) { end() } else { drop(end) });
        }
    });
}

/// By then allocators and caches have what they keep.
const WARM: u64 = 20;
/// The log and its sessions grow with every life, by much less than a kilobyte, and allocators do
/// not give back every page.
const MORE_BYTES: u64 = 4 << 20;

#[test]
fn a_hundred_lives_leave_no_thread_no_descriptor_and_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("leaks-{}", std::process::id());
    let builder = Cluster::builder(&name).multicast("239.0.0.1".parse().unwrap(), 19_600);
    let clusters = ["own", "shared"].map(|threads| {
        let builder = builder.clone().data(folder.path()).set("metrics", "127.0.0.1:0");
        builder.set("role_threads", threads).build().unwrap()
    });
    let before = ["fd", "task"].map(count);
    let (mut warm, start) = (0, Instant::now());
    for life in 1..=100 {
        // Each is stopped in some lives, and dropped in others.
        live(&clusters[usize::from(life % 4 < 2)], life);
        assert_eq!(count("fd"), before[0], "descriptors after life {life}");
        // The system may show a thread for a moment after it was joined.
        let deadline = Instant::now() + SOON;
        while count("task") != before[1] && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(count("task"), before[1], "threads after life {life}");
        if life == WARM {
            warm = resident();
        }
    }
    let (end, each) = (resident(), start.elapsed() / 100);
    println!("{warm} bytes after {WARM} lives, {end} after all; {each:?} for each");
    assert!(end < warm + MORE_BYTES, "{warm} bytes after {WARM} lives, {end} after all");
}
