//! Ours, side by side with the limit of the machine and with other systems, in one run.
//!
//! `bash/bench.sh` calls it. In every round each run happens once, one after the other; what counts
//! are the medians of the ratios within a round, for the machine's speed drifts. It prints a table,
//! and leaves every figure, the table and charts in `results/bench`.
//!
//! Options: `--rounds 5`, `--seconds 1` for a run, `--only T1,T2` for some rows, `--limit PATH` and
//! `--libraries`, `--libpaxos` and `--etcd PATH` for the programs that it compares with, `--long 1`
//! for a log of 10^7 instances.

mod charts;
// The axes use more of it.
#[allow(dead_code)]
mod cluster;
mod figures;

use std::env;
use std::fs;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use self::charts::{Chart, Line};
use self::cluster::{Cluster, Shape, measured};
use self::figures::{Aim, Figures, Row};

/// Where everything is left.
const FOLDER: &str = "results/bench";
const RATE: &str = "values_per_second";
const DURABLE: Shape = Shape { conf: "DATA\n", ..Shape::PLAIN };
const BLOCKING: Shape = Shape { conf: "busy_poll_us 0\n", ..Shape::PLAIN };
/// How many values are in flight where a chart shows what that does.
const SWEEP: [&str; 7] = ["1", "4", "16", "64", "256", "1024", "4096"];
/// What is lost, in percent, where the throughput is set against loss.
const LOSSES: [(&str, f64, &str); 5] = [
    ("x0", 0.0, "0"),
    ("x1", 1.0, "0.01"),
    ("x5", 5.0, "0.05"),
    ("x10", 10.0, "0.1"),
    ("x30", 30.0, "0.3"),
];

const fn row(
    id: &'static str,
    work: &'static str,
    ours: figures::Figure,
    against: &'static [figures::Figure],
    aim: Aim,
    unit: &'static str,
) -> Row {
    Row { id, work, ours, against, aim, unit }
}

/// The table.
const ROWS: &[Row] = &[
    row(
        "L1",
        "1 outstanding, 64 B, p50",
        ("l1", "p50_us"),
        &[("l1_limit", "p50_us")],
        Aim::AtMost(1.25),
        "us",
    ),
    row("L1", "... p99", ("l1", "p99_us"), &[("l1_limit", "p99_us")], Aim::AtMost(1.5), "us"),
    row(
        "L1b",
        "... p50 without polling",
        ("l1b", "p50_us"),
        &[("l1b_limit", "p50_us")],
        Aim::AtMost(1.25),
        "us",
    ),
    row(
        "L2",
        "... p50 against libpaxos",
        ("l1", "p50_us"),
        &[("l2_libpaxos", "p50_us")],
        Aim::AtMost(0.4),
        "us",
    ),
    row(
        "L3",
        "... p50 against OmniPaxos",
        ("l1", "p50_us"),
        &[("l1_omnipaxos", "p50_us")],
        Aim::Told,
        "us",
    ),
    row(
        "L5",
        "a line from standard input to standard output, p50",
        ("l5", "p50_us"),
        &[("l1b_limit", "p50_us")],
        Aim::AtMost(2.0),
        "us",
    ),
    row(
        "T1",
        "64 outstanding, 64 B, one value a datagram",
        ("t1", RATE),
        &[("t1_limit", RATE)],
        Aim::AtLeast(0.75),
        "/s",
    ),
    row(
        "T2",
        "4096 outstanding, packed; limit: 256, 16 a datagram",
        ("t2", RATE),
        &[("t2_limit", RATE)],
        Aim::AtLeast(0.4),
        "/s",
    ),
    row(
        "T3",
        "T1 against OmniPaxos",
        ("t1", RATE),
        &[("t1_omnipaxos", RATE)],
        Aim::AtLeast(0.55),
        "/s",
    ),
    row("T4", "T1 against raft", ("t1", RATE), &[("t1_raft", RATE)], Aim::Told, "/s"),
    row("T5", "T1 against libpaxos", ("t1", RATE), &[("t5_libpaxos", RATE)], Aim::Told, "/s"),
    row("T5", "... packed, as TCP does", ("t5", RATE), &[("t5_libpaxos", RATE)], Aim::Told, "/s"),
    row("T6", "T1 against etcd in memory", ("t1", RATE), &[("t6_etcd", RATE)], Aim::Told, "/s"),
    row(
        "S1",
        "eleven processes, 2 x 500,000 lines of 6 B to both files",
        ("s1", RATE),
        &[],
        Aim::AtLeast(300_000.0),
        "/s",
    ),
    row(
        "V1",
        "64 outstanding, 1 KiB",
        ("v1", RATE),
        &[("v1_limit", RATE)],
        Aim::AtLeast(0.6),
        "/s",
    ),
    row(
        "V1",
        "... limit that keeps the values",
        ("v1", RATE),
        &[("v1_keeping", RATE)],
        Aim::Told,
        "/s",
    ),
    row(
        "V8",
        "32 outstanding, 8 KiB",
        ("v8", RATE),
        &[("v8_limit", RATE)],
        Aim::AtLeast(0.6),
        "/s",
    ),
    row(
        "V8",
        "... limit that keeps the values",
        ("v8", RATE),
        &[("v8_keeping", RATE)],
        Aim::Told,
        "/s",
    ),
    row("K1", "T1 with a key, against T1", ("k1", RATE), &[("t1", RATE)], Aim::AtLeast(0.85), "/s"),
    row(
        "D1",
        "durable, 1 outstanding, p50, against L1 and a sync of three",
        ("d1", "p50_us"),
        &[("l1", "p50_us"), ("disk", "p50_us")],
        Aim::AtMost(1.3),
        "us",
    ),
    row(
        "D2",
        "durable, 64 outstanding, against T1",
        ("d2", RATE),
        &[("t1", RATE)],
        Aim::AtLeast(0.5),
        "/s",
    ),
    row("D3", "D2 against etcd", ("d2", RATE), &[("d3_etcd", RATE)], Aim::Told, "/s"),
    row("D4", "D1 against etcd", ("d1", "p50_us"), &[("d4_etcd", "p50_us")], Aim::Told, "us"),
    row(
        "P1",
        "protocol alone, batches of 1, against OmniPaxos",
        ("p1", RATE),
        &[("p1_omnipaxos", RATE)],
        Aim::AtLeast(1.0),
        "/s",
    ),
    row(
        "P64",
        "protocol alone, batches of 64, against OmniPaxos",
        ("p64", RATE),
        &[("p64_omnipaxos", RATE)],
        Aim::AtLeast(1.0),
        "/s",
    ),
    row(
        "X1",
        "T1, client-assigned, 1 % lost everywhere",
        ("x1", RATE),
        &[("x0", RATE)],
        Aim::AtLeast(0.8),
        "/s",
    ),
    row("X5", "... 5 %", ("x5", RATE), &[("x0", RATE)], Aim::AtLeast(0.5), "/s"),
    row("X10", "... 10 %", ("x10", RATE), &[("x0", RATE)], Aim::AtLeast(0.3), "/s"),
    row("X30", "... 30 %", ("x30", RATE), &[("x0", RATE)], Aim::AtLeast(0.1), "/s"),
    row(
        "F1",
        "leader killed under load: gap, against leader_timeout_ms",
        ("f1", "gap_ms"),
        &[("f1", "timeout_ms")],
        Aim::AtMost(1.5),
        "ms",
    ),
    row(
        "C1",
        "late learner fetches 10^6 values under load, against T1",
        ("c1", RATE),
        &[("t1", RATE)],
        Aim::AtLeast(2.0),
        "/s",
    ),
    row(
        "C1",
        "... deciding meanwhile, against before",
        ("c1", "during"),
        &[("c1", "before")],
        Aim::AtLeast(0.8),
        "/s",
    ),
    row(
        "C1",
        "... against afterwards, with one learner more than before",
        ("c1", "during"),
        &[("c1", "after")],
        Aim::Told,
        "/s",
    ),
    row(
        "G1",
        "cost of a value at 10^6 instances, against 10^4",
        ("g1", "cost_1000000"),
        &[("g1", "cost_10000")],
        Aim::AtMost(1.1),
        "us",
    ),
    row(
        "G1",
        "... at 10^7",
        ("g1", "cost_10000000"),
        &[("g1", "cost_10000")],
        Aim::AtMost(1.1),
        "us",
    ),
    row(
        "G1",
        "... without the system's own part",
        ("g1", "user_10000000"),
        &[("g1", "user_10000")],
        Aim::Told,
        "us",
    ),
];

/// What was asked for.
struct Asked {
    rounds: u32,
    seconds: String,
    only: Vec<String>,
    limit: Option<String>,
    libraries: Option<String>,
    libpaxos: Option<String>,
    etcd: Option<String>,
    long: bool,
}

impl Asked {
    fn parse() -> Option<Self> {
        let mut asked = Asked {
            rounds: 5,
            seconds: "1".to_owned(),
            only: Vec::new(),
            limit: None,
            libraries: None,
            libpaxos: None,
            etcd: None,
            long: false,
        };
        let mut words = env::args().skip(1).filter(|word| word != "--bench").peekable();
        words.peek()?;
        while let Some(word) = words.next() {
            let value = words.next()?;
            match word.as_str() {
                "--rounds" => asked.rounds = value.parse().ok()?,
                "--seconds" => asked.seconds = value,
                "--only" => asked.only = value.split(',').map(str::to_owned).collect(),
                "--limit" => asked.limit = Some(value),
                "--libraries" => asked.libraries = Some(value),
                "--libpaxos" => asked.libpaxos = Some(value),
                "--etcd" => asked.etcd = Some(value),
                "--long" => asked.long = value == "1",
                _ => return None,
            }
        }
        Some(asked)
    }

    /// Whether any row that needs this run is wanted.
    fn wants(&self, run: &str) -> bool {
        let is_wanted = |row: &Row| self.only.is_empty() || self.only.iter().any(|id| id == row.id);
        let needs =
            |row: &Row| row.ours.0 == run || row.against.iter().any(|(against, _)| *against == run);
        ROWS.iter().any(|row| is_wanted(row) && needs(row))
    }
}

/// The measuring itself: runs what is wanted, once a round.
struct Harness {
    asked: Asked,
    round: u32,
    figures: Figures,
}

impl Harness {
    fn run(&mut self, name: &str, run: impl FnOnce(&Asked) -> Option<Json>) {
        if !self.asked.wants(name) {
            return;
        }
        eprint!("\rround {} of {}: {name:14}", self.round, self.asked.rounds);
        if let Some(printed) = run(&self.asked) {
            self.figures.add(name, self.round, printed);
        }
    }

    fn ours(&mut self, name: &str, shape: Shape, options: &[&str]) {
        self.run(name, |asked| Some(bench(shape, options, &asked.seconds)));
    }

    fn limit(&mut self, name: &str, options: &[&str]) {
        self.run(name, |asked| other(asked.limit.as_ref()?, options, &asked.seconds));
    }

    fn library(&mut self, name: &str, options: &[&str]) {
        self.run(name, |asked| other(asked.libraries.as_ref()?, options, &asked.seconds));
    }

    fn libpaxos(&mut self, name: &str, outstanding: &str) {
        let options = ["--outstanding", outstanding];
        self.run(name, |asked| other(asked.libpaxos.as_ref()?, &options, &asked.seconds));
    }

    fn etcd(&mut self, name: &str, outstanding: &str, data: &str) {
        let options = ["--outstanding", outstanding, "--data", data];
        self.run(name, |asked| other(asked.etcd.as_ref()?, &options, &asked.seconds));
    }

    fn round(&mut self) {
        let single = ["--outstanding", "64", "--values-per-datagram", "1"];
        self.limit("l1_limit", &["--outstanding", "1"]);
        self.ours("l1", Shape::PLAIN, &["--outstanding", "1"]);
        self.libpaxos("l2_libpaxos", "1");
        self.library("l1_omnipaxos", &["omnipaxos", "--outstanding", "1"]);
        self.limit("l1b_limit", &["--outstanding", "1", "--busy-poll-us", "0"]);
        self.ours("l1b", BLOCKING, &["--outstanding", "1"]);
        self.run("l5", |asked| Some(talk(&asked.seconds)));
        self.limit("t1_limit", &single);
        self.ours("t1", Shape::PLAIN, &single);
        self.ours("k1", Shape { conf: "KEY", ..Shape::PLAIN }, &single);
        self.library("t1_omnipaxos", &[&["omnipaxos"], &single[..]].concat());
        self.library("t1_raft", &[&["raft"], &single[..]].concat());
        self.libpaxos("t5_libpaxos", "64");
        self.ours("t5", Shape::PLAIN, &["--outstanding", "64"]);
        self.etcd("t6_etcd", "64", "/dev/shm");
        self.limit("t2_limit", &["--outstanding", "256", "--values-per-datagram", "16"]);
        self.ours("t2", Shape::PLAIN, &["--outstanding", "4096"]);
        for (name, outstanding, size) in [("v1", "64", "1024"), ("v8", "32", "8192")] {
            let load = ["--outstanding", outstanding, "--size", size];
            self.limit(&format!("{name}_limit"), &load);
            self.limit(&format!("{name}_keeping"), &[&load[..], &["--keep", "1"]].concat());
            self.ours(name, Shape::PLAIN, &load);
        }
        self.limit("disk", &["--disk", FOLDER]);
        self.ours("d1", DURABLE, &["--outstanding", "1"]);
        self.ours("d2", DURABLE, &single);
        self.etcd("d3_etcd", "64", FOLDER);
        self.etcd("d4_etcd", "1", FOLDER);
        for (name, batch) in [("p1", "1"), ("p64", "64")] {
            self.library(&format!("{name}_omnipaxos"), &["memory-omnipaxos", "--batch", batch]);
            self.library(name, &["memory-ours", "--batch", batch]);
        }
        for (name, _, loss) in LOSSES {
            let assigned = [&single[..], &["--first-instance", "1"]].concat();
            self.ours(name, Shape { loss, ..Shape::PLAIN }, &assigned);
        }
        self.run("f1", |_| Some(fail_over()));
        self.run("s1", |_| Some(feed()));
        self.run("c1", |_| Some(catch_up()));
    }

    /// What a chart shows beside the table: each once.
    fn sweep(&mut self) {
        for outstanding in SWEEP {
            let load = ["--outstanding", outstanding];
            let seconds = &self.asked.seconds;
            let ours = bench(Shape::PLAIN, &load, seconds);
            self.figures.add(&format!("sweep_{outstanding}"), 0, ours);
            let limit = self.asked.limit.as_ref().and_then(|limit| other(limit, &load, seconds));
            if let Some(limit) = limit {
                self.figures.add(&format!("sweep_limit_{outstanding}"), 0, limit);
            }
        }
    }

    fn draw(&self) -> Result<(), String> {
        let folder = Path::new(FOLDER);
        let at = |run: String, key: &'static str| {
            let found = self.figures.median(&run, key);
            found.map(|median| median.middle)
        };
        let sweep = |prefix: &str| {
            let point = |outstanding: &&str| {
                let run = format!("{prefix}{outstanding}");
                Some((at(run.clone(), RATE)?, at(run, "p50_us")?))
            };
            SWEEP.iter().filter_map(point).collect()
        };
        let lines = [
            Line { name: "paxos".to_owned(), points: sweep("sweep_") },
            Line { name: "limit of the machine".to_owned(), points: sweep("sweep_limit_") },
        ];
        let axes = ("values a second", "microseconds, median");
        let title = "Latency against throughput, 1 to 4096 values outstanding";
        let latency = Chart { title, axes, logarithmic: (true, true) };
        latency.draw(&folder.join("latency.svg"), &lines)?;

        let losses = LOSSES
            .iter()
            .filter_map(|(run, percent, _)| Some((*percent, at((*run).to_owned(), RATE)?)));
        let lines = [Line { name: "64 outstanding".to_owned(), points: losses.collect() }];
        let axes = ("percent of datagrams lost at every process", "values a second");
        let loss = Chart { title: "Throughput against loss", axes, logarithmic: (false, false) };
        loss.draw(&folder.join("loss.svg"), &lines)?;

        let costs = GROWTH
            .iter()
            .filter_map(|(length, key)| Some((*length as f64, at("g1".to_owned(), key)?)));
        let lines = [Line { name: "five processes together".to_owned(), points: costs.collect() }];
        let axes = ("instances in the log", "microseconds of processor a value");
        let title = "Cost of a value against the length of the log";
        let growth = Chart { title, axes, logarithmic: (true, false) };
        growth.draw(&folder.join("growth.svg"), &lines)
    }
}

/// One load on a fresh cluster; adds what the cluster used for a value.
fn bench(shape: Shape, options: &[&str], seconds: &str) -> Json {
    let cluster = Cluster::start(shape);
    let before = cluster.used();
    let mut printed = cluster.bench(&[options, &["--duration", seconds]].concat());
    let (after, decided) = (cluster.used(), cluster.decided(1).max(1) as f64);
    printed["cpu_us_per_value"] = json!((after.cpu - before.cpu) * 1e6 / decided);
    let switches = after.switches.saturating_sub(before.switches);
    printed["switches_per_value"] = json!(switches as f64 / decided);
    printed
}

/// Another program, which prints one JSON object; none when it cannot do this.
fn other(program: &str, options: &[&str], seconds: &str) -> Option<Json> {
    let output = Command::new(program).args(options).args(["--seconds", seconds]).output().ok()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let object = printed.lines().find_map(|line| serde_json::from_str(line).ok());
    if object.is_none() {
        eprintln!("\n{program} {options:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    object
}

/// The time from a line of standard input to the same line on a learner's standard output.
fn talk(seconds: &str) -> Json {
    let mut cluster = Cluster::start(Shape::PLAIN);
    let (mut client, mut stdin, mut stdout) = cluster.talk();
    thread::sleep(Duration::from_millis(400));
    let length = Duration::from_secs_f64(seconds.parse().unwrap_or(1.0));
    let (mut micros, mut line) = (Vec::new(), String::new());
    let start = Instant::now();
    while start.elapsed() < length {
        let said = format!("{:063}\n", micros.len());
        let submitted = Instant::now();
        stdin.write_all(said.as_bytes()).expect("the client reads");
        line.clear();
        stdout.read_line(&mut line).expect("the learner prints");
        assert_eq!(line, said, "what was said is printed");
        micros.push(submitted.elapsed().as_micros() as u64);
    }
    drop(stdin);
    assert!(client.wait().expect("it ends").success());
    micros.sort_unstable();
    let at = |share: usize| micros[(micros.len() - 1) * share / 100];
    json!({"values": micros.len(), "p50_us": at(50), "p99_us": at(99)})
}

/// How long nothing is decided when the leader is killed under load.
fn fail_over() -> Json {
    let mut cluster = Cluster::start(Shape { proposers: 3, ..Shape::PLAIN });
    let load = cluster.load(&["--outstanding", "64", "--duration", "1.5", "--warm-up", "0.3"]);
    thread::sleep(Duration::from_millis(900));
    cluster.kill("proposer1");
    let gap = measured(load)["longest_gap_us"].as_f64().unwrap_or(f64::NAN);
    json!({"gap_ms": gap / 1000.0, "timeout_ms": 150.0})
}

/// The whole run of `run.sh`, as fast as it goes.
fn feed() -> Json {
    const EACH: usize = 500_000;
    let cluster = Cluster::start(Shape { proposers: 4, learners: 2, ..Shape::PLAIN });
    let empty = cluster.memory();
    let seconds = cluster.feed(EACH);
    let values = (2 * EACH) as f64;
    let grown = cluster.memory().into_iter().zip(empty);
    let memory: Vec<_> = grown
        .map(|((name, after), (_, before))| {
            json!([name, after.saturating_sub(before) as f64 / values])
        })
        .collect();
    json!({RATE: values / seconds, "seconds": seconds, "bytes_per_instance": memory})
}

/// A learner that starts when there are a million values, while others are decided.
fn catch_up() -> Json {
    const VALUES: u64 = 1_000_000;
    /// Of a line of its file: seven digits, a tab, 64 bytes and the end.
    const LINE_BYTES: f64 = 73.0;
    let mut cluster = Cluster::start(Shape::PLAIN);
    while cluster.decided(1) < VALUES {
        cluster.bench(&["--outstanding", "4096", "--duration", "0.5", "--warm-up", "0"]);
    }
    let load = ["--outstanding", "64", "--values-per-datagram", "1", "--duration", "60"];
    let mut load = cluster.load(&load);
    thread::sleep(Duration::from_millis(300));
    let (start, written) = (Instant::now(), cluster.written(1));
    thread::sleep(Duration::from_secs(1));
    let values_per_second = |cluster: &Cluster, start: Instant, written| {
        (cluster.written(1) - written) as f64 / LINE_BYTES / start.elapsed().as_secs_f64()
    };
    let before = values_per_second(&cluster, start, written);
    let (start, wanted) = (Instant::now(), cluster.written(1));
    cluster.spawn("learner", 2);
    while cluster.written(2) < wanted {
        assert!(start.elapsed() < Duration::from_secs(50), "the late learner gets everything");
        thread::sleep(Duration::from_millis(1));
    }
    let seconds = start.elapsed().as_secs_f64();
    let during = values_per_second(&cluster, start, wanted);
    let (start, written) = (Instant::now(), cluster.written(1));
    thread::sleep(Duration::from_secs(1));
    let after = values_per_second(&cluster, start, written);
    load.kill().and_then(|()| load.wait()).expect("it can be killed");
    let rate = wanted as f64 / LINE_BYTES / seconds;
    json!({
        RATE: rate, "seconds": seconds, "before": before, "during": during, "after": after,
    })
}

/// The lengths of the log at which a value's cost is told.
const GROWTH: [(u64, &str); 4] = [
    (10_000, "cost_10000"),
    (100_000, "cost_100000"),
    (1_000_000, "cost_1000000"),
    (10_000_000, "cost_10000000"),
];

/// What a value costs, in microseconds of processor of all processes, as the log grows.
fn grow(longest: u64) -> Json {
    let cluster = Cluster::start(Shape::PLAIN);
    let load = |seconds| {
        let window = ["--outstanding", "256", "--values-per-datagram", "16", "--warm-up", "0"];
        cluster.bench(&[&window[..], &["--duration", seconds]].concat());
    };
    let mut costs = json!({});
    for (length, key) in GROWTH.into_iter().filter(|(length, _)| *length <= longest) {
        while cluster.decided(1) < length {
            load(if length > 1_000_000 { "1" } else { "0.05" });
        }
        let (before, decided) = (cluster.used(), cluster.decided(1));
        load("0.5");
        let (after, values) = (cluster.used(), cluster.decided(1) - decided);
        let cost = |seconds: f64| json!(seconds * 1e6 / values.max(1) as f64);
        costs[key] = cost(after.cpu - before.cpu);
        costs[format!("user_{length}")] = cost(after.user - before.user);
    }
    let instances = cluster.decided(1).max(1) as f64;
    let memory: Vec<_> = cluster
        .memory()
        .iter()
        .map(|(name, bytes)| json!([name, *bytes as f64 / instances]))
        .collect();
    costs["bytes_per_instance"] = json!(memory);
    costs
}

fn main() {
    // `cargo test` and a plain `cargo bench` start it without a word; there is nothing to do then.
    let Some(asked) = Asked::parse() else {
        println!("compare: bash/bench.sh runs it; its head tells the options");
        return;
    };
    fs::create_dir_all(FOLDER).expect("a folder for the results");
    let (rounds, long, all) = (asked.rounds, asked.long, asked.only.is_empty());
    let mut harness = Harness { asked, round: 0, figures: Figures::default() };
    for round in 1..=rounds {
        harness.round = round;
        harness.round();
        harness.run("g1", |_| Some(grow(if long { 10_000_000 } else { 1_000_000 })));
    }
    if all {
        harness.sweep();
    }
    eprintln!();
    let table = harness.figures.table(ROWS);
    print!("{table}");
    let folder = Path::new(FOLDER);
    fs::write(folder.join("table.md"), &table).expect("room for the table");
    fs::write(folder.join("runs.jsonl"), harness.figures.lines()).expect("room for the runs");
    if let Err(error) = harness.draw() {
        eprintln!("the charts cannot be drawn: {error}");
    }
}
