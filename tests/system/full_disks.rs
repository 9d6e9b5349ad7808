//! Disks that are full: by the limit for acceptors, and by the size of the disk.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;

use multi_paxos::{Cluster, Refused};

use crate::http::get;
use crate::metrics::{FIRST, address_of, found, value};
use crate::world::{SOON, World, happens, text};

/// How long some tens of megabytes may take on a busy machine.
const LATER: Duration = Duration::from_secs(120);

/// How many values, of how many bytes, and how many of them fit the acceptors' limit.
const COUNT: usize = 9_000;
const BYTES: usize = 8_000;
const FITTING: usize = 7_000;

fn decided(world: &World) -> usize {
    world.lines(1)
}

/// The log is held back by a keeper that does not run, until the acceptors have no room. No process
/// dies: clients are told and wait, and the library refuses. When the keeper runs, space is freed,
/// and everything goes on.
#[test]
fn what_keepers_hold_back_fills_disks_and_they_clear_by_themselves() {
    let mut world = World::alone();
    let [data, snapshots] = ["data", "snapshots"].map(|name| world.path(name));
    world.configure(&format!(
        "data {}\ndisk_bytes 64MiB\nretain 16MiB\nsnapshots {}\nkeepers 2\nsnapshot_instances \
         1000\nclient_window_values 64\nmetrics {FIRST}",
        data.display(),
        snapshots.display()
    ));
    world.start_all("acceptor", 3, &[]);
    world.start_all("proposer", 2, &[]);
    world.start("learner1", &[]);
    let metrics = |world: &World, name: &str| get(address_of(world, name), "/metrics").1;
    let free = |world: &World| {
        let metrics = metrics(world, "acceptor1");
        let of_disk = |name| value(&metrics, &format!("paxos_{name}_bytes{{node=\"A1\"}}"));
        (of_disk("log"), of_disk("disk_free") - of_disk("disk_reserve"))
    };
    assert!(happens(SOON, || free(&world).1 > f64::from(47 << 20)), "{:?}", free(&world));
    let fed = (0..COUNT).fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "{line:06} {}", "x".repeat(BYTES - 7));
        all
    });
    fs::write(world.path("fed"), fed).unwrap();
    let stdin = File::open(world.path("fed")).unwrap();
    world.launch("client1", "client 1 --first-instance auto", stdin.into(), Stdio::null());
    let warned = |world: &World| world.said("client1").contains("the leader takes no new values");
    assert!(happens(LATER, || warned(&world)), "{}", world.said("client1"));

    let before = decided(&world);
    assert!(before < FITTING, "{before} values of {BYTES} bytes were decided");
    let cluster = Cluster::from_file(world.conf()).unwrap();
    let client = cluster.client(7).unwrap();
    assert!(happens(SOON, || client.disks_are_full()), "the library does not hear of it");
    let refused = client.try_propose(b"more").unwrap_err();
    assert_eq!(refused, Refused::DisksFull(b"more".to_vec()));
    assert_eq!(client.propose(b"more").unwrap_err(), refused);
    let of_client = get(client.node().metrics().unwrap(), "/metrics").1;
    let refusals = "paxos_refused_total{node=\"C7\",reason=\"disks_full\"}";
    assert!((value(&of_client, refusals) - 2.0).abs() < 0.1, "{of_client}");
    let full = free(&world);
    assert!(full.0 > f64::from(40 << 20) && full.1 < 0.0, "{full:?}");
    let is_held = |world: &World| {
        let series = |id| {
            let labels = "learner=\"L2\",reason=\"no_snapshot\"";
            format!("paxos_trim_held_by{{node=\"P{id}\",{labels}}}")
        };
        (1..=2).any(|id| found(&metrics(world, &format!("proposer{id}")), &series(id)).is_some())
    };
    assert!(happens(SOON, || is_held(&world)), "{}", metrics(&world, "proposer1"));
    let status = world.paxos("status").output().unwrap();
    let (lines, sentences) = (text(&status.stdout), text(&status.stderr));
    assert!(lines.contains("A1  disk full") && sentences.contains("no new values are taken"));
    assert!(status.status.success(), "{sentences}");
    let doctor = world.paxos("doctor --seconds 2").output().unwrap();
    let said = text(&doctor.stdout);
    assert!(said.contains("sick: full disks: A1, A2, A3; 0 acceptors have room"), "{said}");
    assert_eq!(doctor.status.code(), Some(1), "{said}");
    let late = decided(&world);
    assert!(late < FITTING, "{late} values were decided, and {before} before that");
    for id in 1..=3 {
        let said = world.said(&format!("acceptor{id}"));
        assert!(said.contains("the disk is full: this acceptor votes for no new values"), "{said}");
        let files = fs::read_dir(data.join(format!("acceptor-{id}"))).unwrap();
        let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < 64 << 20, "acceptor {id} takes {bytes} bytes");
    }

    let out = File::create(world.path("digests")).unwrap();
    world.launch("learner2", "learner 2 --apply digest", Stdio::null(), out.into());
    assert!(world.end_of("client1", LATER).success(), "{}", world.complaints("client1"));
    world.await_lines(&[1], COUNT, SOON);
    let ticket = client.propose(b"more").unwrap();
    assert!(ticket.wait(SOON).unwrap().decided().is_some());
    let trimmed = "paxos_position{node=\"A1\",kind=\"trimmed\"}";
    // The keeper may still be named: its snapshot is older than what `retain` would remove.
    let has_gone = |world: &World| {
        value(&metrics(world, "acceptor1"), trimmed) > 0.0 && free(world).1 > full.1
    };
    assert!(happens(LATER, || has_gone(&world)), "{}", metrics(&world, "acceptor1"));
    let keeper = metrics(&world, "learner2");
    let durable = value(&keeper, "paxos_position{node=\"L2\",kind=\"durable\"}");
    assert!(durable >= value(&metrics(&world, "acceptor1"), trimmed), "{keeper}");
    for (name, most) in [("bytes", 1e6), ("age_seconds", 600.0), ("write_seconds", 60.0)] {
        let series = format!("paxos_snapshot_{name}{{node=\"L2\"}}");
        assert!((0.0..most).contains(&value(&keeper, &series)), "{keeper}");
    }
    assert!(value(&keeper, "paxos_snapshot_failures_total{node=\"L2\"}") < 0.1, "{keeper}");
    // All have lived through it.
    for id in 1..=3 {
        let name = format!("acceptor{id}");
        world.signal(&name, "-TERM");
        assert!(world.end_of(&name, SOON).success(), "{}", world.said(&name));
    }
}
