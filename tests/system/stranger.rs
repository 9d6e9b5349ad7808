//! An attacker without the key, on the groups of a cluster with one: it records everything, and
//! replays it at line rate, intact, cut, changed, to other groups, and among forgeries of the
//! highest ballots, while values are decided and processes come and go.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use multi_paxos::auth::key::KeyRing;
use multi_paxos::auth::seal::{SEAL_BYTES, Seal};
use multi_paxos::protocol::message::{Message, Prepare};
use multi_paxos::protocol::types::{Ballot, Instance, NodeId, Role, Sender};
use multi_paxos::wire::Codec;
use socket2::{Domain, Socket, Type};

use crate::hostile::stranger;
use crate::world::{SOON, World, values};

/// How many values each of the two clients is fed.
const COUNT: usize = 100_000;
/// How much is recorded.
const RECORDED_MAX: usize = 20_000;
/// How long the flood lasts at most, even if the test fails.
const FLOOD_MAX: Duration = Duration::from_secs(60);
/// How much memory a process may gain in seconds of flood in which nothing is decided.
const GAIN_KIB_MAX: u64 = 2048;
/// The longest payload of UDP.
const LONGEST: usize = 65_507;

/// A datagram, and where it was heard: the place of its group.
type Recorded = (usize, Vec<u8>);

/// Runs `work` on a thread of its own until it is stopped, and gives what it found.
struct Running<T> {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Running<T> {
    fn start(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        Running { is_over, thread: thread::spawn(move || work(&over)) }
    }

    fn stop(self) -> T {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Records all datagrams to the groups.
fn record(groups: &[SocketAddr]) -> Running<Vec<Recorded>> {
    let listen = |group: &SocketAddr| {
        let SocketAddr::V4(group) = group else { panic!("{group} is not IPv4") };
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&(*group).into()).unwrap();
        socket.join_multicast_v4(group.ip(), &[127, 0, 0, 1].into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        UdpSocket::from(socket)
    };
    let sockets: Vec<UdpSocket> = groups.iter().map(listen).collect();
    Running::start(move |is_over| {
        let (mut recorded, mut buffer) = (Vec::new(), vec![0; LONGEST]);
        while !is_over.load(Ordering::Relaxed) {
            for (place, socket) in sockets.iter().enumerate() {
                while let Ok(length) = socket.recv(&mut buffer) {
                    // The newest of them in the end.
                    if recorded.len() >= RECORDED_MAX {
                        recorded.swap_remove(recorded.len() * 7919 % RECORDED_MAX);
                    }
                    recorded.push((place, buffer[..length].to_vec()));
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
        recorded
    })
}

/// A Prepare of the highest possible ballot, in three forms: unsealed, sealed with the attacker's
/// own key, and the same with the public id of the right key.
fn forgeries(cluster: &str, sample: &[u8]) -> [Vec<u8>; 3] {
    let node = NodeId::new(Role::Proposer, 1);
    let ballot = Ballot { round: u64::MAX, proposer: u32::MAX, boot: u64::MAX };
    let prepare = Prepare { ballot, from: Instance::FIRST, until: None, acceptor: None };
    let encoded = |codec: Codec| {
        let mut bytes = Vec::new();
        codec.encode(&Message::Prepare(prepare.clone()), &mut bytes).unwrap();
        bytes
    };
    let codec = Codec::new(cluster, 3, Sender { node, boot: 1 }, LONGEST);
    let text = format!("paxos-key-1 {}", "5".repeat(64));
    let seal = Seal::new(&KeyRing::parse("own", &text).unwrap(), cluster, 1);
    let mut sealed = encoded(codec.clone().sealed());
    let id = sealed.len();
    seal.seal(Role::Acceptor, &mut sealed);
    let mut dressed = sealed.clone();
    let sample_id = sample.len() - SEAL_BYTES;
    dressed[id..id + 4].copy_from_slice(&sample[sample_id..sample_id + 4]);
    [encoded(codec), sealed, dressed]
}

/// Sends at line rate. Gives how many datagrams, and how long it took.
fn flood(
    groups: Vec<SocketAddr>,
    recorded: Vec<Recorded>,
    forged: [Vec<u8>; 3],
) -> Running<(u64, Duration)> {
    Running::start(move |is_over| {
        let (socket, started) = (stranger(), Instant::now());
        let mut sent = 0;
        while !is_over.load(Ordering::Relaxed) && started.elapsed() < FLOOD_MAX {
            let number = sent as usize;
            let (place, bytes) = &recorded[number % recorded.len()];
            let mut bytes = bytes.clone();
            let mut place = *place;
            match number % 10 {
                0..=2 => {}
                3 => place = (place + 1) % 4,
                4 => {
                    let at = number % bytes.len();
                    bytes[at] ^= 1 << (number % 8);
                }
                5 => bytes.truncate(number % bytes.len()),
                6 if number % 640 == 6 => bytes.resize(LONGEST, 7),
                6 => bytes.resize(bytes.len() + 100, 7),
                other => bytes.clone_from(&forged[other - 7]),
            }
            // A full buffer is not the cluster's doing.
            let _ = socket.send_to(&bytes, groups[place]);
            sent += 1;
        }
        (sent, started.elapsed())
    })
}

/// How much memory a process has, in KiB.
fn memory_kib(world: &World, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", world.pid(name))).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Feeds client `id`, and waits until both learners have printed `lines`. Gives values a second.
fn decide(world: &mut World, id: u32, lines: usize) -> f64 {
    let started = Instant::now();
    world.feed(id, values(&format!("v{id}"), COUNT).as_bytes(), &["0", "0", "auto"]);
    world.await_lines(&[1, 2], lines, 2 * SOON);
    COUNT as f64 / started.elapsed().as_secs_f64()
}

#[test]
fn a_stranger_does_nothing_but_use_bandwidth() {
    let mut world = World::alone();
    if !world.path("paxos.key").exists() {
        world.make_key("paxos.key");
    }
    let key = world.path("paxos.key");
    let (cluster, data) = ("locked", world.path("data"));
    let (key, data) = (key.display(), data.display());
    world.configure(&format!("cluster {cluster}\nkey_file {key}\ndata {data}"));
    let nodes = ["acceptor1", "acceptor2", "acceptor3", "learner1", "learner2", "proposer1"];
    let nodes = [&nodes[..], &["proposer2"]].concat();

    // An earlier run of all processes, recorded; and the beginning of this one.
    let recorder = record(&world.addresses());
    world.start_cluster(2, "0");
    let quiet = decide(&mut world, 1, COUNT);
    for name in &nodes {
        world.kill(name);
    }
    world.start_cluster(2, "0");
    world.await_lines(&[1, 2], COUNT, SOON);
    let recorded = recorder.stop();
    assert!(recorded.len() > 200, "{} are recorded", recorded.len());

    let forged = forgeries(cluster, &recorded[0].1);
    let flood = flood(world.addresses(), recorded, forged);
    // Nothing is decided: memory stays as it is.
    thread::sleep(Duration::from_secs(1));
    let before: Vec<u64> = nodes.iter().map(|name| memory_kib(&world, name)).collect();
    thread::sleep(Duration::from_secs(2));
    for (name, before) in nodes.iter().zip(before) {
        let after = memory_kib(&world, name);
        assert!(after <= before + GAIN_KIB_MAX, "{name}: {before} KiB, then {after}");
    }
    // The leader, an acceptor and a learner are started again, and must find their way in.
    for name in ["proposer1", "acceptor2", "learner2"] {
        world.kill(name);
        world.start(name, &[]);
    }
    let flooded = decide(&mut world, 2, 2 * COUNT);
    let (sent, elapsed) = flood.stop();
    let rate = sent as f64 / elapsed.as_secs_f64();
    let _ = writeln!(
        std::io::stderr(),
        "stranger: {rate:.0} datagrams a second; {flooded:.0} values a second under them, \
         {quiet:.0} without"
    );
    world.expect_all_delivered();
    for name in ["acceptor1", "acceptor3", "proposer2"] {
        let said = world.said(name);
        for reason in ["forged", "replayed", "sealed with another key", "not sealed"] {
            assert!(said.contains(reason), "{name} does not speak of {reason}: {said}");
        }
        assert!(said.lines().count() < 300, "{name} says too much: {said}");
    }
}
