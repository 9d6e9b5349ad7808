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
    // Some are stopped, and some are dropped.
    if life.is_multiple_of(2) {
        nodes.into_iter().for_each(|node| node.stop(SOON).unwrap());
        client.stop(SOON).unwrap();
        assert_eq!(replica.stop(SOON).unwrap().0, life);
        subscription.stop(SOON).unwrap();
    }
}

#[test]
fn twenty_lives_leave_no_thread_and_no_descriptor() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("leaks-{}", std::process::id());
    let builder = Cluster::builder(&name).multicast("239.0.0.1".parse().unwrap(), 19_600);
    let clusters = ["own", "shared"].map(|threads| {
        let builder = builder.clone().data(folder.path()).set("metrics", "127.0.0.1:0");
        builder.set("role_threads", threads).build().unwrap()
    });
    let before = ["fd", "task"].map(count);
    for life in 1..=20 {
        // Each is stopped in some lives, and dropped in others.
        live(&clusters[usize::from(life % 4 < 2)], life);
        assert_eq!(count("fd"), before[0], "descriptors after life {life}");
        // The system may show a thread for a moment after it was joined.
        let deadline = Instant::now() + SOON;
        while count("task") != before[1] && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(count("task"), before[1], "threads after life {life}");
    }
}
