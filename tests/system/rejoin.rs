//! Interfaces and switches that forget who is a member of which group, while values are decided.

use std::thread;
use std::time::Duration;

use crate::faults::{COUNT, strike};
use crate::hosts::{ACCEPTORS, Network};
use crate::world::{Network as Carrier, SOON, happens, skip, succeeds};

/// As a container network, a VPN or a driver does it: the name and the address are the old ones.
#[test]
fn interfaces_are_deleted_and_made_again() {
    let test = "interfaces that are made again";
    let Some(network) = Network::new(test) else { return };
    let struck = ["acceptor1", "acceptor2", "proposer1", "learner1", "client1"];
    let world = strike(network.cluster(), |_| {
        for name in struck {
            network.in_hub(&format!("link del {name}\n"));
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
        struck.iter().for_each(|name| network.connect(name));
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
    if world.network == Carrier::Multicast {
        for name in struck {
            assert!(world.said(name).contains("was recreated"), "{name}: {}", world.said(name));
        }
    }
}

/// A bridge takes a group to its members' ports only, and forgets two of three acceptors. Others
/// run on the same hosts, in the same groups: none of them alone could make the host announce them.
#[test]
fn a_switch_forgets_who_is_a_member() {
    let test = "a switch that forgets";
    if Carrier::asked() == Carrier::Unicast {
        return skip(test, "lists of members need no switch that knows groups");
    }
    if !succeeds(&["bridge", "-V"]) {
        return skip(test, "there is no command `bridge` here");
    }
    let Some(mut network) = Network::new(test) else { return };
    network.house("learner1", "acceptor1");
    network.house("proposer2", "acceptor2");
    // It asks for members at once, and trusts what it heard a second later. By version 3 of IGMP
    // hosts answer even where another one does, and say within a second all that they say unasked.
    network.in_hub(
        "link set br0 type bridge mcast_snooping 1 mcast_query_response_interval 100\n\
         link set br0 type bridge mcast_igmp_version 3\n\
         link set br0 type bridge mcast_querier 1\n",
    );
    let world = strike(network.cluster(), |_| {
        // Until they have said it.
        thread::sleep(Duration::from_secs(3));
        for name in &ACCEPTORS[..2] {
            // It may never have known: a host is silent that hears another announce the group.
            let forget = format!("bridge mdb del dev br0 port {name} grp 239.0.0.1 || true");
            network.at_hub(&["sh", "-c", &forget]);
        }
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
    for (name, guest) in [("acceptor1", "learner1"), ("acceptor2", "proposer2")] {
        // The first process of the host to notice makes the others hear again.
        let said = || [name, guest].iter().any(|one| world.said(one).contains("rejoins it"));
        assert!(happens(SOON, said), "{name}: {}", world.said(name));
        let port = format!("port {name} grp 239.0.0.1");
        let is_known = || network.at_hub(&["bridge", "mdb", "show"]).contains(&port);
        assert!(happens(SOON, is_known), "{name} is not announced");
    }
}
