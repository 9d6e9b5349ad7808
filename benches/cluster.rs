//! A running cluster in its steady state: how long a value takes, and how many are decided.
//!
//! Acceptors, proposer and learner are processes. One client, `paxos bench --laps`, keeps values in
//! flight from the first sample to the last, so session, sockets and window stay, and a sample is
//! the time from one decision to the n-th after it. With 1 value in flight that is the time of a
//! value.
//!
//! `CHECK=1 cargo bench --bench cluster -- 64_outstanding` compares laps with what `paxos bench`
//! says of the same cluster, behind each result.

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
/// How often laps are compared with `paxos bench`, if they are.
const CHECKS: usize = 5;
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

/// A load that goes on until it is dropped.
struct Load {
    bench: Child,
    /// Where laps are asked for.
    ask: ChildStdin,
    taken: BufReader<ChildStdout>,
}

impl Load {
    /// Starts one, and waits for its first decisions.
    ///
    /// # Errors
    ///
    /// What the load said when it could not be.
    fn start(cluster: &Cluster, options: &[&str]) -> Result<Self, String> {
        let mut command = cluster.command("client1");
        command.args(["bench", "--laps", "--warm-up", "0", "--duration", "86400"]).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut bench = command.spawn().map_err(|error| error.to_string())?;
        let ask = bench.stdin.take().expect("a pipe");
        let taken = BufReader::new(bench.stdout.take().expect("a pipe"));
        let mut load = Load { bench, ask, taken };
        if load.lap(1000).is_some() {
            return Ok(load);
        }
        let mut said = String::new();
        let stderr = load.bench.stderr.as_mut().expect("a pipe");
        stderr.read_to_string(&mut said).map_err(|error| error.to_string())?;
        Err(said.lines().last().unwrap_or("it said nothing").to_owned())
    }

    /// How long this many decisions take; none when the load has ended.
    fn lap(&mut self, decisions: u64) -> Option<Duration> {
        writeln!(self.ask, "{decisions}").ok()?;
        let mut line = String::new();
        self.taken.read_line(&mut line).ok()?;
        Some(Duration::from_nanos(line.trim().parse().ok()?))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.bench.kill();
        let _ = self.bench.wait();
    }
}

/// Sets laps against what `paxos bench` says of the same cluster, in turn, for a second each.
fn check(cluster: &Cluster, options: &[&str]) -> Result<(), String> {
    let mut ratios = Vec::new();
    for _ in 0..CHECKS {
        let printed = cluster.bench(&[options, &["--duration", "1"]].concat())?;
        let rate = printed["values_per_second"].as_f64().ok_or("it printed no rate")?;
        let mut load = Load::start(cluster, options)?;
        // As `paxos bench` does by default.
        load.lap((rate / 2.0) as u64 + 1);
        let decisions = rate as u64 + 1;
        let took = load.lap(decisions).ok_or("the load has ended")?;
        ratios.push(decisions as f64 / took.as_secs_f64() / rate);
    }
    ratios.sort_by(f64::total_cmp);
    let [least, .., most] = ratios[..] else { unreachable!("there are several") };
    println!(
        "laps against `paxos bench`: {:.2} [{least:.2}-{most:.2}] of its rate\n",
        ratios[CHECKS / 2]
    );
    Ok(())
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
        let (_, load) = steady.get_or_insert_with(|| {
            let cluster = Cluster::start(shape);
            let load = Load::start(&cluster, &options);
            (cluster, load.unwrap_or_else(|said| panic!("{name}: {said}")))
        });
        bencher.iter_custom(|decisions| load.lap(decisions).expect("the load goes on"));
    });
    let Some((cluster, load)) = steady else { return };
    drop(load);
    if env::var_os("CHECK").is_some_and(|on| on == "1") {
        check(&cluster, &options).unwrap_or_else(|said| panic!("{name}: {said}"));
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
