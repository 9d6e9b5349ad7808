//! What a process of the store tells its operator over HTTP.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use redis::cmd;

use crate::http::get;
use crate::world::{PAXOS_KV, SOON, World, happens};

/// Where the first process of a test serves; the others take the ports behind it.
const FIRST: &str = "127.0.0.1:9700";

/// Where a process says that its metrics are.
fn address_of(world: &World, id: u16) -> SocketAddr {
    let said = fs::read_to_string(world.path().join(format!("{id}.log"))).unwrap();
    let (_, rest) = said.split_once("metrics are at http://").unwrap_or_else(|| panic!("{said}"));
    rest.split_once("/metrics\n").unwrap().0.parse().unwrap()
}

#[test]
fn each_process_serves_its_roles_and_what_the_store_has_to_say() {
    let mut world = World::configured(&format!("metrics {FIRST}\n"), &[]);
    let mut connection = world.connect(1);
    let at = |id| address_of(&world, id);
    for id in 1..=3 {
        let ready = || get(at(id), "/readyz") == (200, "ready\n".to_owned());
        assert!(happens(SOON, ready), "{:?}", get(at(id), "/readyz"));
        assert_eq!(get(at(id), "/livez"), (200, "alive\n".to_owned()));
    }
    for key in ["a", "b", "c"] {
        cmd("SET").arg(key).arg(1).exec(&mut connection).unwrap();
    }
    cmd("EXPIRE").arg("c").arg(1000).exec(&mut connection).unwrap();
    let figures = |id| get(at(id), "/metrics").1;
    for line in ["paxos_kv_clients 1", "paxos_kv_keys 3", "paxos_kv_expiring_keys 1"] {
        assert!(happens(SOON, || figures(1).lines().any(|it| it == line)), "{}", figures(1));
    }
    // Every process holds the keys; the client is one process's.
    assert!(happens(SOON, || figures(2).contains("\npaxos_kv_keys 3\n")), "{}", figures(2));
    assert!(figures(2).contains("\npaxos_kv_clients 0\n"), "{}", figures(2));
    let counted = figures(1);
    for name in ["clients", "connections_total", "commands_total", "keys", "expiring_keys"] {
        let name = format!("paxos_kv_{name}");
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        assert!(counted.contains(&format!("\n# TYPE {name} {kind}\n{name} ")), "{counted}");
        assert!(include_str!("../../../docs/store.md").contains(&format!("| `{name}` | ")));
    }
    for role in ["P1", "A1", "L1", "C1"] {
        let series = format!("\npaxos_has_leader{{node=\"{role}\"}} 1\n");
        assert!(counted.contains(&series), "no {series} in {counted}");
    }
    let status = get(at(1), "/status.json").1;
    assert!(status.contains("\"ready\":true") && status.contains("\"node\":\"L1\""), "{status}");
    let page = get(at(1), "/").1;
    assert!(page.contains("<td>A1") && page.contains(": ready</h1>"), "{page}");
    // Alone it is alive, and not ready.
    world.kill(2);
    world.kill(3);
    let lonely = address_of(&world, 1);
    let is_told = || get(lonely, "/readyz").0 == 503;
    assert!(happens(SOON, is_told), "{:?}", get(lonely, "/readyz"));
    assert_eq!(get(lonely, "/livez").0, 200);
    world.signal(1, "-TERM");
    assert_eq!(world.wait(1), Some(0));
    assert!(TcpStream::connect(lonely).is_err());
}

#[test]
fn the_command_line_has_the_last_word() {
    let at = "127.0.0.1:9750";
    let world = World::new(&["--metrics", at]);
    let address = address_of(&world, 1);
    assert_eq!(address.port() / 50, 9750 / 50, "{address}");
    assert!(get(address, "/metrics").1.contains("paxos_kv_commands_total "));
    drop(world);
    let world = World::configured(&format!("metrics {at}\n"), &["--metrics", "off"]);
    let said = fs::read_to_string(world.path().join("1.log")).unwrap();
    assert!(!said.contains("metrics are at"), "{said}");
    let elsewhere = Command::new(PAXOS_KV)
        .args(["--conf", "paxos.conf", "--id", "4", "--listen", "0", "--metrics", "192.0.2.1:1"])
        .current_dir(world.path())
        .output()
        .unwrap();
    let said = String::from_utf8(elsewhere.stderr).unwrap();
    assert_eq!(elsewhere.status.code(), Some(75), "{said}");
    let expected = "paxos-kv: metrics 192.0.2.1:1 is at no address of this host; name one";
    assert!(said.lines().any(|line| line.starts_with(expected)), "{said}");
}
