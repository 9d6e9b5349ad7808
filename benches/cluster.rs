//! A running cluster in its steady state: how long a value takes, and how many are decided.
//!
//! Acceptors, proposer and learner are processes. One client, `paxos bench --laps`, keeps values in
//! flight from the first sample to the last, so session, sockets and window stay, and a sample is
//! the time from one decision to the n-th after it. With 1 value in flight that is the time of a
//! value.
//!
//! `CHECK=1 cargo bench --bench cluster -- 64_outstanding` prints behind each result what `paxos
//! bench` says of the same cluster right then.

#[path = "harness/cluster.rs"]
mod cluster;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main, measurement::WallTime,
};

use self::cluster::{Cluster, Shape, has_nodes};

/// How many values are in flight.
const LOADS: [(&str, u64); 3] =
    [("latency", 1), ("64_outstanding", 64), ("4096_outstanding", 4096)];
/// Bytes of a value.
const SIZES: [u64; 3] = [64, 1024, 65_536];
/// How many bytes the values in flight may have together. All processes keep decided values.
const IN_FLIGHT_BYTES: u64 = 8 << 20;
/// The clusters, by their names.
const SHAPES: [(&str, Shape); 8] = [
    ("multicast_3_memory", Shape::PLAIN),
    ("multicast_5_memory", Shape { acceptors: 5, ..Shape::PLAIN }),
    ("multicast_3_durable", Shape { conf: "DATA\n", ..Shape::PLAIN }),
    ("multicast_5_durable", Shape { conf: "DATA\n", acceptors: 5, ..Shape::PLAIN }),
    ("node_3_memory", Shape { nodes: 3, ..Shape::PLAIN }),
    ("node_5_memory", Shape { nodes: 5, ..Shape::PLAIN }),
    ("node_3_durable", Shape { conf: "DATA\n", nodes: 3, ..Shape::PLAIN }),
    ("node_5_durable", Shape { conf: "DATA\n", nodes: 5, ..Shape::PLAIN }),
];

/// A cluster under a load that goes on.
struct Steady {
    cluster: Cluster,
    load: Child,
    /// Where laps are requested; closed at the end.
    ask: Option<ChildStdin>,
    taken: BufReader<ChildStdout>,
    /// All laps together.
    decided: u64,
    took: Duration,
}

impl Steady {
    /// Starts both, and waits for the first decisions.
    ///
    /// # Errors
    ///
    /// What the load said when it could not be.
    fn start(shape: Shape, options: &[&str]) -> Result<Self, String> {
        let cluster = Cluster::start(shape);
        let mut load = cluster.command("client1");
        load.args(["bench", "--laps", "--warm-up", "0", "--duration", "86400"]).args(options);
        load.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut load = load.spawn().map_err(|error| error.to_string())?;
        let ask = load.stdin.take();
        let taken = BufReader::new(load.stdout.take().expect("a pipe"));
        let mut steady = Steady { cluster, load, ask, taken, decided: 0, took: Duration::ZERO };
        if steady.lap(1000).is_some() {
            (steady.decided, steady.took) = (0, Duration::ZERO);
            return Ok(steady);
        }
        let mut said = String::new();
        let stderr = steady.load.stderr.as_mut().expect("a pipe");
        stderr.read_to_string(&mut said).map_err(|error| error.to_string())?;
        Err(said.lines().last().unwrap_or("it said nothing").to_owned())
    }

    /// How long this many decisions take; none when the load has ended.
    fn lap(&mut self, decisions: u64) -> Option<Duration> {
        writeln!(self.ask.as_mut()?, "{decisions}").ok()?;
        let mut line = String::new();
        self.taken.read_line(&mut line).ok()?;
        let took = Duration::from_nanos(line.trim().parse().ok()?);
        self.decided += decisions;
        self.took += took;
        Some(took)
    }

    /// Ends the load, and sets the laps against what `paxos bench` says of the same cluster then.
    fn check(&mut self, options: &[&str]) {
        self.ask = None;
        self.load.wait().expect("it ends");
        let printed = self.cluster.bench(&[options, &["--duration", "2"]].concat());
        let rate = printed.map(|printed| printed["values_per_second"].as_f64());
        let rate = rate.ok().flatten().unwrap_or(f64::NAN);
        let laps = self.decided as f64 / self.took.as_secs_f64();
        println!(
            "paxos bench: {rate:.0} values/s, {:.1} us each; here {laps:.0}, {:.2} of it\n",
            1e6 / rate,
            laps / rate
        );
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        let _ = self.load.kill();
        let _ = self.load.wait();
    }
}

/// One cluster under one load, with its own processes, if it is asked for at all.
fn measure(
    group: &mut BenchmarkGroup<WallTime>,
    (name, shape): (&str, Shape),
    outstanding: u64,
    bytes: u64,
) {
    let options = ["--outstanding", &outstanding.to_string(), "--size", &bytes.to_string()];
    let mut steady = None;
    group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes });
    group.bench_function(BenchmarkId::new(name, bytes), |bencher| {
        let start =
            || Steady::start(shape, &options).unwrap_or_else(|said| panic!("{name}: {said}"));
        let steady = steady.get_or_insert_with(start);
        bencher.iter_custom(|decisions| steady.lap(decisions).expect("the load goes on"));
    });
    if let Some(mut steady) = steady.filter(|_| env::var_os("CHECK").is_some_and(|on| on == "1")) {
        steady.check(&options);
    }
}

/// The longest value that the program takes; by itself, what fits a datagram.
fn longest_value() -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let conf = folder.path().join("paxos.conf");
    let groups = ["clients", "proposers", "acceptors", "learners"];
    let lines =
        groups.iter().zip(5000..).map(|(group, port)| format!("{group} 239.0.0.1 {port}\n"));
    fs::write(&conf, lines.collect::<String>()).expect("a configuration");
    let mut command = Command::new(Shape::PLAIN.program);
    let output = command.arg("--conf").arg(conf).args(["config", "value_bytes"]).output();
    let printed = String::from_utf8(output.expect("paxos starts").stdout);
    printed.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(60_000)
}

fn bench(criterion: &mut Criterion) {
    // `cargo test --benches` looks whether it runs at all.
    let is_smoke =
        env::args().all(|word| word != "--bench") || env::args().any(|word| word == "--test");
    let (shapes, sizes) =
        if is_smoke { (&SHAPES[..1], &SIZES[..1]) } else { (&SHAPES[..], &SIZES[..]) };
    let (longest, has_nodes) = (longest_value(), has_nodes(Shape::PLAIN.program));
    for (load, outstanding) in LOADS {
        let mut group = criterion.benchmark_group(format!("cluster/{load}"));
        // Decided values stay in memory, so none of them runs for long.
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        for bytes in sizes.iter().filter(|bytes| outstanding * **bytes <= IN_FLIGHT_BYTES) {
            if *bytes > longest {
                println!("SKIPPED: {load} of {bytes} bytes: a value has {longest} at most");
                continue;
            }
            for shape in shapes.iter().filter(|(_, shape)| shape.nodes == 0 || has_nodes) {
                measure(&mut group, *shape, outstanding, *bytes);
            }
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
