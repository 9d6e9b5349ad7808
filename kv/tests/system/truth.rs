//! Is the store linearizable while its processes are killed and stopped?
//!
//! KV_SECONDS=<n> looks for so long instead of a few seconds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use multi_paxos::Cluster;

use crate::judge;
use crate::world::World;

#[test]
fn it_is_linearizable_whatever_dies() {
    let seconds = std::env::var("KV_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    // So that whoever is started again goes on from a snapshot.
    let mut world = World::configured("snapshot_instances 256\n", &[]);
    let cluster = Cluster::from_file(world.path().join("paxos.conf")).unwrap();
    let mut log = cluster.subscribe(4).unwrap();
    let ports = [1, 2, 3].map(|id| world.port(id));
    let is_over = AtomicBool::new(false);
    let mut faults = 0;
    let history = thread::scope(|scope| {
        let load = scope.spawn(|| judge::load(ports, &is_over));
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < deadline {
            thread::sleep(Duration::from_millis(400));
            let id = 1 + faults % 3;
            match (faults / 3) % 3 {
                0 => {
                    world.kill(id);
                    thread::sleep(Duration::from_millis(200));
                    world.start(id);
                }
                1 => {
                    world.signal(id, "-STOP");
                    thread::sleep(Duration::from_millis(500));
                    world.signal(id, "-CONT");
                }
                // All of them: whatever was acknowledged comes back from the disks.
                _ => {
                    (1..=3).for_each(|id| world.kill(id));
                    world.start_all();
                }
            }
            faults += 1;
        }
        is_over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    let lists = judge::lists(world.port(1));
    let unknown = history.iter().filter(|operation| operation.ended.is_none()).count();
    let judged = judge::judge(&history, &judge::registers(&mut log, world.port(1)), &lists);
    let count = judged.unwrap_or_else(|why| panic!("after {faults} faults: {why}"));
    // It takes time for the square of their number.
    let searched = if count <= 10_000 { crate::search::search(&history) } else { Ok(0) };
    let searched = searched.unwrap_or_else(|why| panic!("after {faults} faults: {why}"));
    println!("{searched} of the operations were judged by a search as well");
    println!(
        "{count} operations, {unknown} of unknown outcome, and {faults} faults: nothing wrong"
    );
    assert!(count > 200 && faults > 1, "{count} operations and {faults} faults");
}
