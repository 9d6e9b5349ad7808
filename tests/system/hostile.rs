//! Datagrams that nobody should send, and neighbours on the same groups.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use multi_paxos::rng::Rng;
use socket2::SockRef;

use crate::world::{Network, SOON, World, skip, values};

/// A socket that reaches the groups of this host.
pub fn stranger() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    socket.set_multicast_ttl_v4(0).unwrap();
    socket
}

#[test]
fn garbage_of_every_length_on_every_group_changes_nothing() {
    let mut world = World::new();
    world.start_cluster(2, "0");
    let (socket, mut rng) = (stranger(), Rng::new(7));
    let mut throw = |length: usize| {
        let mut garbage: Vec<u8> = (0..length).map(|_| rng.next_u64() as u8).collect();
        // Half of it begins like a datagram of ours.
        if rng.chance(0.5) && length > 8 {
            garbage[..5].copy_from_slice(b"mpxs\x01");
            garbage[5] = rng.below(14) as u8;
            garbage[6] = rng.below(5) as u8;
        }
        for group in world.addresses() {
            socket.send_to(&garbage, group).unwrap();
        }
    };
    (0..200).chain([1472, 9000, 65_506, 65_507]).for_each(&mut throw);
    for id in 1..=2 {
        world.feed(id, values(&format!("v{id}"), 1000).as_bytes(), &["0", "0", "auto"]);
    }
    let (socket, groups) = (stranger(), world.addresses());
    let thrower = thread::spawn(move || {
        for length in (0..65_508).step_by(331) {
            for group in &groups {
                socket.send_to(&vec![length as u8; length], group).unwrap();
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    world.await_lines(&[1, 2], 2000, SOON);
    thrower.join().unwrap();
    world.expect_all_delivered();
}

#[test]
fn two_clusters_share_groups_and_ports_and_never_mix() {
    let first = World::new();
    if first.network == Network::Unicast {
        // A member shares its address with nobody, so there is nothing to mix.
        return skip("two clusters on the same groups", "lists of members are not shared");
    }
    let second = first.neighbour();
    let mut worlds = [first, second];
    for (index, world) in worlds.iter_mut().enumerate() {
        world.configure(&format!("cluster number{index}"));
        world.start_cluster(2, "0");
        for id in 1..=2 {
            let fed = values(&format!("w{index}v{id}"), 500);
            world.feed(id, fed.as_bytes(), &["0", "0", "auto"]);
        }
    }
    for world in &worlds {
        world.await_lines(&[1, 2], 1000, SOON);
        world.expect_all_delivered();
    }
}
