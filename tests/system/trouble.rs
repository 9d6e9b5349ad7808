//! Trouble that stays, of many kinds at once: the number of log lines stays bearable.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::world::{World, values};

/// How long the trouble lasts.
const LONG: Duration = Duration::from_secs(9);

/// From this second on the first bursts are over.
const LATER: u64 = 5;

/// The most lines of a process in a second of trouble that is no news.
const LINES_MAX: usize = 6;

/// Sends garbage of three kinds, for as long as the trouble lasts.
fn flood(addresses: &[SocketAddr]) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let start = Instant::now();
    let mut number = 0_u8;
    while start.elapsed() < LONG {
        for address in addresses {
            number = number.wrapping_add(1);
            let kinds: [&[u8]; 3] =
                [b"nothing that is known", b"mpxs\xff of another version", b"mpxs"];
            // That one cannot be sent is as good.
            let _ = socket.send_to(kinds[usize::from(number) % 3], address);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Two processes for each id, in every role; another cluster, and one with a key, on the groups; no
/// quorum; an acceptor that has forgotten; clients that get no answer; garbage.
#[test]
fn ten_kinds_of_trouble_are_not_repeated_without_end() {
    let mut world = World::alone();
    let mut others: Vec<World> = (0..3).map(|_| world.neighbour()).collect();
    let [twin, stranger, locked] = &mut others[..] else { unreachable!() };
    twin.configure("");
    stranger.configure("cluster stranger");
    locked.make_key("own.key");
    let key = locked.path("own.key");
    locked.configure(&format!("key_file {}", key.display()));
    let start = |world: &mut World, name: &str| {
        let mut command = world.node_command(name, &[]);
        let file =
            |kind: &str| std::fs::File::create(world.path(&format!("{name}.{kind}"))).unwrap();
        let (out, err) = (file("out"), file("err"));
        command.env("RUST_LOG", "info").stdin(Stdio::null()).stdout(out).stderr(err);
        world.adopt(name, &mut command);
    };
    let names = ["acceptor1", "proposer1", "proposer2", "learner1"];
    for other in [&mut world, twin, stranger, locked] {
        names.iter().for_each(|name| start(other, name));
    }
    for other in [&mut world, twin] {
        other.feed(1, values("v", 100).as_bytes(), &["0", "0", "auto"]);
    }
    let addresses = world.addresses();
    let flooding = thread::spawn(move || flood(&addresses));
    // It comes back without what it promised.
    for _ in 0..2 {
        thread::sleep(Duration::from_secs(1));
        world.kill("acceptor1");
        start(&mut world, "acceptor1");
    }
    flooding.join().unwrap();
    let mut worlds = vec![("own", &world)];
    worlds.extend(["twin", "stranger", "locked"].into_iter().zip(&others));
    let mut all = 0;
    for (whose, other) in worlds {
        for name in names.iter().chain(&["client1"]) {
            let said = other.said(name);
            let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
            for line in said.lines() {
                let second = line.split_whitespace().next().and_then(|word| word.parse().ok());
                *seconds.entry(second.map_or(0, |second: f64| second as u64)).or_default() += 1;
            }
            all += said.lines().count();
            let most = seconds.range(LATER..).map(|(_, count)| *count).max().unwrap_or(0);
            assert!(most <= LINES_MAX, "{whose} {name} says {most} lines a second:\n{said}");
            assert!(said.lines().count() <= 120, "{whose} {name}:\n{said}");
        }
    }
    // It was not for nothing.
    assert!(all > 40, "there was little trouble: {all} lines");
    assert!(world.said("learner1").contains("another process runs as L1"));
    assert!(world.said("proposer1").contains("another process runs as P1"));
}
