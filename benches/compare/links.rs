//! Clusters whose processes have a host each, on shaped links: how much of the line is values.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::cluster::wire::{self, Links, Wire};
use crate::cluster::{Cluster, Network, Shape, measured};

/// Four proposers, as in `bash/run.sh`.
const MANY: u32 = 4;

/// How many seconds each measurement takes at least, and how long nothing is measured before it:
/// flow control needs some round trips.
const LEAST_SECONDS: f64 = 2.0;
const WARM_UP: &str = "1";

/// 100 Mbit/s, and nothing is lost.
pub const FAST_ETHERNET: Links = Links { megabits: 100, loss_percent: 0 };

/// The rate of a link, in bytes a second.
fn bytes_per_second(links: Links) -> f64 {
    f64::from(links.megabits) * 1e6 / 8.0
}

/// Whether this user may make such networks here.
pub fn are_allowed() -> bool {
    wire::means().is_some()
}

/// Values of some length, some number of them outstanding.
#[derive(Clone, Copy)]
pub struct Load {
    /// Of a value.
    pub bytes: &'static str,
    /// Of the client.
    pub outstanding: &'static str,
}

impl Load {
    /// The options of `paxos bench`, for at least `seconds` seconds.
    fn options(self, seconds: &str) -> Vec<String> {
        let seconds = seconds.parse().unwrap_or(LEAST_SECONDS).max(LEAST_SECONDS).to_string();
        let Load { bytes, outstanding } = self;
        let words =
            ["--size", bytes, "--outstanding", outstanding, "--warm-up", WARM_UP, "--duration"];
        words.into_iter().map(str::to_owned).chain([seconds]).collect()
    }
}

/// A process for each role of a cluster with two learners.
pub fn roles_apart(program: &'static str, proposers: u32) -> Shape {
    Shape { program, proposers, learners: 2, ..Shape::PLAIN }
}

/// How one load uses its links with one proposer, and with four: then the names end in `_4`.
pub fn shares(
    program: &'static str,
    links: Links,
    load: Load,
    seconds: &str,
) -> Result<Json, String> {
    let mut one = share(roles_apart(program, 1), links, load, seconds)?;
    let Json::Object(four) = share(roles_apart(program, MANY), links, load, seconds)? else {
        unreachable!("it is an object")
    };
    for (key, value) in four {
        one[format!("{key}_4")] = value;
    }
    Ok(one)
}

/// How one load uses its links: its `share` of the line rate, its latency by Little's law, and the
/// bytes that each link carried for a value.
pub fn share(shape: Shape, links: Links, load: Load, seconds: &str) -> Result<Json, String> {
    let cluster = Cluster::start(Shape { links: Some(links), ..shape });
    let Network::Wire(wire) = &cluster.network else { unreachable!("it was asked for") };
    let (before, decided) = (passed(wire), cluster.decided(1));
    let mut printed = cluster.bench(&load.options(seconds))?;
    let (after, decided) = (passed(wire), cluster.decided(1) - decided);
    let of = |key: &str| printed[key].as_f64().unwrap_or(f64::NAN);
    let (rate, value, in_flight) = (of("values_per_second"), of("value_bytes"), of("outstanding"));
    printed["share"] = json!(rate * value / bytes_per_second(links));
    // Little's law: the number in flight divided by the rate is the latency.
    printed["little_us"] = json!(in_flight / rate * 1e6);
    printed["bytes_per_value"] = carried(&before, &after, decided);
    Ok(printed)
}

/// Two clients on two hosts, one of which keeps ten times as much in flight: the modest one's
/// share, relative to half of what both get.
pub fn fairness(program: &'static str, seconds: &str) -> Result<Json, String> {
    let links = FAST_ETHERNET;
    let cluster = Cluster::start(Shape { links: Some(links), ..roles_apart(program, 1) });
    let load = |outstanding| Load { bytes: "1024", outstanding }.options(seconds);
    let mut much = load("640");
    much.extend(["--first-id", "2001"].map(str::to_owned));
    let Network::Wire(wire) = &cluster.network else { unreachable!("it was asked for") };
    let (before, decided) = (passed(wire), cluster.decided(1));
    let greedy = cluster.load_of("client2", &much);
    let modest = cluster.load(&load("64"));
    let (modest, greedy) = (measured(modest), measured(greedy));
    let (modest, greedy) = (modest?, greedy?);
    let rate = |printed: &Json| printed["values_per_second"].as_f64().unwrap_or(f64::NAN);
    let both = rate(&modest) + rate(&greedy);
    let carried = carried(&before, &passed(wire), cluster.decided(1) - decided);
    Ok(json!({
        "of_its_half": rate(&modest) / (both / 2.0),
        "share": both * 1024.0 / bytes_per_second(links),
        "modest": modest, "greedy": greedy, "bytes_per_value": carried,
    }))
}

/// How many bytes have passed the links of a host so far, and how many found no room in a queue.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    /// From the host.
    out: u64,
    /// To the host.
    into: u64,
    /// Datagrams that the queues of its link dropped, in either direction.
    dropped: u64,
}

impl Passed {
    /// The difference to `before`: bytes for each of `values` values, and drops.
    fn since(self, before: Passed, values: u64) -> Json {
        let of = |now: u64, then: u64| (now - then) as f64 / values.max(1) as f64;
        json!({
            "out": of(self.out, before.out), "in": of(self.into, before.into),
            "dropped": self.dropped - before.dropped,
        })
    }
}

/// What each link carried between these two, for each of `values` values.
fn carried(
    before: &BTreeMap<String, Passed>,
    after: &BTreeMap<String, Passed>,
    values: u64,
) -> Json {
    let of_host = |(host, passed): (&String, &Passed)| {
        let before = before.get(host).copied().unwrap_or_default();
        (host.clone(), passed.since(before, values))
    };
    after.iter().map(of_host).collect()
}

/// The counters of each host's link.
fn passed(wire: &Wire) -> BTreeMap<String, Passed> {
    let listed = wire.in_hub(&["ip", "-json", "-stats", "link", "show", "master", "br0"], "");
    let ports: Vec<Json> = serde_json::from_str(&listed).expect("ip prints JSON");
    let at_hub = wire.in_hub(&["tc", "-json", "-stats", "qdisc"], "");
    let of = |name: &String| {
        let port = ports.iter().find(|port| port["ifname"] == **name).expect("its port");
        let bytes = |direction: &str| port["stats64"][direction]["bytes"].as_u64().unwrap_or(0);
        let own = wire.on(name, &["tc", "-json", "-stats", "qdisc"], "");
        let dropped = dropped(&own, "eth0") + dropped(&at_hub, name);
        // The port of the bridge receives what the host sends.
        (name.clone(), Passed { out: bytes("rx"), into: bytes("tx"), dropped })
    };
    wire.names.iter().map(of).collect()
}

/// How many datagrams the queue of a device has dropped, from the output of `tc`.
fn dropped(printed: &str, device: &str) -> u64 {
    let queues: Vec<Json> = serde_json::from_str(printed).expect("tc prints JSON");
    let of_device = queues.iter().filter(|queue| queue["dev"] == device);
    of_device.filter_map(|queue| queue["drops"].as_u64()).sum()
}
