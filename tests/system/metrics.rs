//! What processes report over HTTP, if `metrics` is configured.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::http::get;
use crate::pictures::browsed;
use crate::upgrades::NEWER;
use crate::world::{PAXOS, SOON, World, happens, skip, succeeds, text, values};

/// Where the first process serves; the others, and other tests, take the ports behind it.
pub const FIRST: &str = "127.0.0.1:19187";

/// How many values each client is fed.
const COUNT: usize = 500;

/// Where `name` says that its metrics are, once it has.
pub fn address_of(world: &World, name: &str) -> SocketAddr {
    let address = || {
        let said = world.said(name);
        let (_, rest) = said.split_once("metrics are at http://")?;
        rest.split_once("/metrics\n")?.0.parse().ok()
    };
    assert!(happens(SOON, || address().is_some()), "{name}: {}", world.said(name));
    address().unwrap()
}

/// The value of a series.
pub fn value(metrics: &str, series: &str) -> f64 {
    found(metrics, series).unwrap_or_else(|| panic!("no {series} in {metrics}"))
}

/// The same, if there is such a series.
pub fn found(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

const NAMES: [&str; 7] =
    ["acceptor1", "acceptor2", "acceptor3", "learner1", "learner2", "proposer1", "proposer2"];

/// A cluster whose processes all serve, and where.
fn serving() -> (World, Vec<SocketAddr>) {
    let mut world = World::durable();
    world.configure(&format!("data {}\nmetrics {FIRST}", world.path("data").display()));
    world.start_cluster(2, "0");
    let addresses: Vec<SocketAddr> = NAMES.iter().map(|name| address_of(&world, name)).collect();
    (world, addresses)
}

fn all_ready(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|address| get(*address, "/readyz") == (200, "ready\n".to_owned()))
}

#[test]
fn every_process_of_a_cluster_is_ready_and_tells_its_figures() {
    let (mut world, addresses) = serving();
    assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), NAMES.len(), "a port each");
    for id in 1..=2 {
        world.feed(id, values(&format!("v{id}"), COUNT).as_bytes(), &["0", "0", "auto"]);
    }
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    assert!(happens(SOON, || all_ready(&addresses)));
    let metrics = |place: usize| get(addresses[place], "/metrics").1;
    // Figures are copied ten times a second.
    let learned = || value(&metrics(3), "paxos_position{node=\"L1\",kind=\"decided\"}");
    assert!(happens(SOON, || learned() >= (2 * COUNT) as f64), "{}", metrics(3));
    let leads = |place: usize, node: &str| {
        value(&metrics(place), &format!("paxos_leads{{node=\"{node}\"}}")) as u32
    };
    assert!(happens(SOON, || leads(5, "P1") + leads(6, "P2") == 1));
    // All are of this release, so none sends in the older version for long.
    let is_new = |line: &str| {
        line.starts_with("paxos_wire_version{") && line.ends_with(&format!(" {NEWER}"))
    };
    let are_new = || (0..NAMES.len()).all(|place| metrics(place).lines().any(is_new));
    assert!(happens(SOON, are_new), "{}", metrics(5));
    let acceptor = metrics(0);
    assert!(value(&acceptor, "paxos_datagrams_total{node=\"A1\",direction=\"in\"}") > 0.0);
    assert!(value(&acceptor, "paxos_sync_seconds_count{node=\"A1\"}") > 0.0);
    assert!(value(&acceptor, "paxos_accepted_total{node=\"A1\"}") > 0.0);
    assert!(value(&acceptor, "paxos_log_bytes{node=\"A1\"}") > (4 * COUNT) as f64);
    assert!(value(&acceptor, "paxos_disk_free_bytes{node=\"A1\"}") > 0.0);
    let oldest = found(&acceptor, "paxos_log_oldest_seconds{node=\"A1\"}");
    assert!(oldest.is_none_or(|seconds| (0.0..600.0).contains(&seconds)), "{acceptor}");
    for (address, name) in addresses.iter().zip(NAMES) {
        assert_eq!(get(*address, "/livez"), (200, "alive\n".to_owned()), "{name}");
        let (status, json) = get(*address, "/status.json");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((status, &json["ready"]), (200, &true.into()), "{name}: {json}");
        assert!(get(*address, "/").1.contains("</html>"));
    }
    world.expect_all_delivered();
}

#[test]
fn without_a_quorum_processes_are_alive_and_not_ready() {
    let (mut world, addresses) = serving();
    assert!(happens(SOON, || all_ready(&addresses)));
    world.kill("acceptor2");
    world.kill("acceptor3");
    for place in [0, 3, 4, 5, 6] {
        let address = addresses[place];
        let reason = "leader that a quorum of the acceptors answers";
        let is_told = || {
            let (status, reasons) = get(address, "/readyz");
            status == 503 && (reasons.contains(reason) || reasons.contains("leads, and no quorum"))
        };
        assert!(happens(SOON, is_told), "{}: {:?}", NAMES[place], get(address, "/readyz"));
        assert_eq!(get(address, "/livez").0, 200);
    }
    // It passes by itself.
    world.start("acceptor2", &[]);
    let others = [&addresses[..1], &addresses[3..]].concat();
    assert!(happens(SOON, || all_ready(&others)));
}

#[test]
fn a_node_shows_its_three_roles_at_one_port() {
    let mut world = World::new();
    world.configure(&format!("metrics {FIRST}"));
    for id in 1..=3 {
        world.start(&format!("node{id}"), &[]);
    }
    let address = address_of(&world, "node2");
    assert!(happens(SOON, || get(address, "/readyz").0 == 200), "{:?}", get(address, "/readyz"));
    let metrics = get(address, "/metrics").1;
    for node in ["P2", "A2", "L2"] {
        assert!(
            (value(&metrics, &format!("paxos_has_leader{{node=\"{node}\"}}")) - 1.0).abs() < 0.1
        );
    }
    assert_eq!(world.said("node2").matches("metrics are at").count(), 1);
    let Some(page) = browsed(&format!("http://{address}/")) else { return };
    assert!(page.contains("<title>P2, A2, L2 ready</title>"), "{page}");
    for node in ["P2", "A2", "L2"] {
        let rows = page.matches(&format!("<tr><td>{node}</td>")).count();
        assert_eq!(rows, 1, "{page}");
    }
}

/// A client that connects and sends nothing, or nonsense, or too much, disturbs nobody.
#[test]
fn bad_clients_are_let_go_and_the_role_goes_on() {
    let (world, addresses) = serving();
    assert!(happens(SOON, || all_ready(&addresses)));
    let silent: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(addresses[5]).unwrap()).collect();
    let mut noisy = TcpStream::connect(addresses[6]).unwrap();
    noisy.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    // It may be closed at any moment.
    let _ = (0..1000).try_for_each(|_| noisy.write_all(&[b'x'; 4096]));
    assert!(all_ready(&addresses));
    drop(silent);
    assert!(!world.said("proposer1").contains("mistake"), "{}", world.said("proposer1"));
}

#[test]
fn where_nothing_can_be_served_nothing_starts() {
    let world = World::new();
    let run = |words: &[&str]| {
        let mut command = Command::new(PAXOS);
        command.arg("--conf").arg(world.conf()).args(words).current_dir(world.path(""));
        let output = command.env_remove("RUST_LOG").output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let (status, said) = run(&["learner", "1", "--metrics", "192.0.2.1:9187"]);
    // It may be an address that the host is about to get.
    assert_eq!((status, said.lines().count()), (Some(75), 1), "{said}");
    assert!(said.starts_with("--metrics: metrics 192.0.2.1:9187 is at no address of"), "{said}");
    let (status, said) = run(&["learner", "1", "--metrics", "here"]);
    assert_eq!((status, said.lines().count()), (Some(2), 1), "{said}");
    world.configure("metrics localhost:9187");
    let (status, said) = run(&["learner", "1"]);
    assert_eq!((status, said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("paxos.conf:") && said.contains("is neither IP:PORT"), "{said}");
    // What the file says is off where the command line says so.
    world.configure(&format!("metrics {FIRST}"));
    let (status, said) = run(&["learner", "1", "--metrics", "off", "--lifetime", "0.3"]);
    assert!(status == Some(0) && !said.contains("metrics are at"), "{said}");
}

/// Its metrics are compared in tests/alarms.rs.
#[test]
fn the_dashboard_can_be_imported_and_each_panel_says_what_to_do() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/grafana.json");
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 12 && dashboard["schemaVersion"].is_number());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["description"].as_str().unwrap().len() > 20, "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(targets.iter().all(|it| it["expr"].as_str().unwrap().contains("$job")), "{title}");
        let [x, y, w] = ["x", "y", "w"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!((x..x + w).all(|column| column < 24 && taken.insert((column, y))), "{title}");
    }
}

/// The objections of promtool, Prometheus's own checker, to `input`; empty if there are none.
fn promtool_objects(words: &[&str], input: &str) -> String {
    let mut checker = Command::new("promtool");
    checker.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checker = checker.spawn().unwrap();
    checker.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = checker.wait_with_output().unwrap();
    // It succeeds in spite of what it calls a lint.
    match text(&output.stderr) {
        said if said.is_empty() && !output.status.success() => text(&output.stdout),
        said => said,
    }
}

/// Whether promtool is installed; where it is not, `test` is skipped aloud.
fn promtool_is_here(test: &str) -> bool {
    let is_here = succeeds(&["promtool", "--version"]);
    if !is_here {
        skip(test, "there is no promtool (Debian's package prometheus has it)");
    }
    is_here
}

#[test]
fn prometheus_finds_no_fault_in_the_metrics_of_any_process() {
    if !promtool_is_here("prometheus_finds_no_fault_in_the_metrics_of_any_process") {
        return;
    }
    let (mut world, addresses) = serving();
    world.feed(1, values("v", COUNT).as_bytes(), &["0", "0", "auto"]);
    world.await_lines(&[1, 2], COUNT, SOON);
    for (address, name) in addresses.iter().zip(NAMES) {
        let metrics = get(*address, "/metrics").1;
        assert_eq!(promtool_objects(&["check", "metrics"], &metrics), "", "{name}: {metrics}");
    }
    assert_ne!(promtool_objects(&["check", "metrics"], "paxos_no_help 1\n"), "");
}

/// What they say of disks that fill, and of disks that only seem to.
#[test]
fn the_alerts_about_disks_say_what_they_should() {
    if !promtool_is_here("the_alerts_about_disks_say_what_they_should") {
        return;
    }
    let test = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/alerts_test.yml");
    let output = Command::new("promtool").args(["test", "rules", test]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Rules are checked as they are, and the queries of the dashboard as if they were rules.
#[test]
fn prometheus_can_read_the_alerts_and_every_query_of_the_dashboard() {
    if !promtool_is_here("prometheus_can_read_the_alerts_and_every_query_of_the_dashboard") {
        return;
    }
    let ops = concat!(env!("CARGO_MANIFEST_DIR"), "/ops");
    let check = ["check", "rules", "--lint-fatal", "/dev/stdin"];
    let alerts = std::fs::read_to_string(format!("{ops}/alerts.yml")).unwrap();
    assert_eq!(promtool_objects(&check, &alerts), "");
    let dashboard = std::fs::read_to_string(format!("{ops}/grafana.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    let targets = dashboard["panels"].as_array().unwrap().iter().map(|panel| &panel["targets"]);
    for (place, target) in targets.flat_map(|targets| targets.as_array().unwrap()).enumerate() {
        let query = target["expr"].as_str().unwrap();
        // As Grafana does with its variables.
        let query = query.replace("$job", "paxos").replace("$__rate_interval", "1m");
        rules += &format!("  - record: query:{place}\n    expr: {query:?}\n");
    }
    assert_eq!(promtool_objects(&check, &rules), "");
    assert_ne!(promtool_objects(&check, &rules.replace("(", "((")), "");
}
