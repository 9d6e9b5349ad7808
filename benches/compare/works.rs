//! The loads that a cluster is given in one run, each with one program, and the figures taken.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::cluster::{Cluster, Shape, measured};
use crate::rows::RATE;

/// One load on a fresh cluster; adds what the cluster used for a value.
pub fn bench(shape: Shape, options: &[&str], seconds: &str) -> Result<Json, String> {
    let cluster = Cluster::start(shape);
    let before = cluster.used_by("");
    let mut printed = cluster.bench(&[options, &["--duration", seconds]].concat())?;
    let (after, decided) = (cluster.used_by(""), cluster.decided(1).max(1) as f64);
    printed["cpu_us_per_value"] = json!((after.cpu - before.cpu) * 1e6 / decided);
    let switches = after.switches.saturating_sub(before.switches);
    printed["switches_per_value"] = json!(switches as f64 / decided);
    Ok(printed)
}

/// The time from a line of standard input to the same line on a learner's standard output.
pub fn talk(program: &'static str, seconds: &str) -> Json {
    let mut cluster = Cluster::start(Shape { program, ..Shape::PLAIN });
    let (mut client, mut stdin, mut stdout) = talking(&mut cluster);
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

/// A client and the learner that prints, to talk through.
fn talking(cluster: &mut Cluster) -> (Child, ChildStdin, BufReader<ChildStdout>) {
    let mut learner = cluster.command("client1");
    learner.args(["learner", "9"]).stdout(Stdio::piped());
    let mut learner = learner.spawn().expect("paxos starts");
    let printed = BufReader::new(learner.stdout.take().expect("a pipe"));
    cluster.processes.push(("learner9".to_owned(), learner));
    let mut client = cluster.command("client1");
    client.args(["client", "1", "--first-instance", "auto"]).stdin(Stdio::piped());
    let mut client = client.spawn().expect("paxos starts");
    let stdin = client.stdin.take().expect("a pipe");
    (client, stdin, printed)
}

/// How long nothing is decided when the leader is killed under load.
pub fn fail_over(program: &'static str) -> Result<Json, String> {
    let mut cluster = Cluster::start(Shape { program, proposers: 3, ..Shape::PLAIN });
    let load = cluster.load(&["--outstanding", "64", "--duration", "1.5", "--warm-up", "0.3"]);
    thread::sleep(Duration::from_millis(900));
    cluster.kill("proposer1");
    let gap = measured(load)?["longest_gap_us"].as_f64().unwrap_or(f64::NAN);
    Ok(json!({"gap_ms": gap / 1000.0, "timeout_ms": 150.0}))
}

/// The whole run of `run.sh`, as fast as it goes.
pub fn feed(program: &'static str) -> Json {
    const EACH: usize = 500_000;
    let cluster = Cluster::start(Shape { program, proposers: 4, learners: 2, ..Shape::PLAIN });
    let empty = cluster.memory();
    let seconds = fed(&cluster, EACH);
    let values = (2 * EACH) as f64;
    let grown = cluster.memory().into_iter().zip(empty);
    let memory: Vec<_> = grown
        .map(|((name, after), (_, before))| {
            json!([name, after.saturating_sub(before) as f64 / values])
        })
        .collect();
    json!({RATE: values / seconds, "seconds": seconds, "bytes_per_instance": memory})
}

/// Two clients decide `each` values of six bytes through standard input; until both learners' files
/// hold all of them. Returns the seconds it took.
fn fed(cluster: &Cluster, each: usize) -> f64 {
    let results = cluster.folder.path().join("results");
    for client in 1..=2 {
        let mut file = File::create(results.join(format!("propose{client}.txt"))).expect("a file");
        let lines: String = (0..each).map(|line| format!("{:06}\n", line % 1_000_000)).collect();
        file.write_all(lines.as_bytes()).expect("room");
    }
    let start = Instant::now();
    let clients: Vec<Child> = (1..=2)
        .map(|client| {
            let fed = File::open(results.join(format!("propose{client}.txt")));
            let mut command = cluster.command("client1");
            command.args(["client", &client.to_string(), "--first-instance", "auto"]);
            command.stdin(fed.expect("a file")).spawn().expect("paxos starts")
        })
        .collect();
    for mut client in clients {
        assert!(client.wait().expect("it ends").success(), "everything is decided");
    }
    let mut watch = cluster.command("client1");
    watch.args(["watch", "2", "2", "auto", "auto", "--timeout", "60"]);
    assert!(watch.status().expect("it ends").success(), "the learners have everything");
    start.elapsed().as_secs_f64()
}

/// A learner that starts when there are a million values, while others are decided.
pub fn catch_up(program: &'static str) -> Result<Json, String> {
    const VALUES: u64 = 1_000_000;
    /// Of a line of its file: seven digits, a tab, 64 bytes and the end.
    const LINE_BYTES: f64 = 73.0;
    let mut cluster = Cluster::start(Shape { program, ..Shape::PLAIN });
    while cluster.decided(1) < VALUES {
        cluster.bench(&["--outstanding", "4096", "--duration", "0.5", "--warm-up", "0"])?;
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
    while cluster.written(2) < wanted && start.elapsed() < Duration::from_secs(50) {
        thread::sleep(Duration::from_millis(1));
    }
    if cluster.written(2) < wanted {
        load.kill().and_then(|()| load.wait()).expect("it can be killed");
        // Without a disk, what it lacks may be removed before it has come so far.
        return Err("the late learner has not got everything after 50 s".to_owned());
    }
    let seconds = start.elapsed().as_secs_f64();
    let during = values_per_second(&cluster, start, wanted);
    let (start, written) = (Instant::now(), cluster.written(1));
    thread::sleep(Duration::from_secs(1));
    let after = values_per_second(&cluster, start, written);
    load.kill().and_then(|()| load.wait()).expect("it can be killed");
    let rate = wanted as f64 / LINE_BYTES / seconds;
    Ok(json!({
        RATE: rate, "seconds": seconds, "before": before, "during": during, "after": after,
    }))
}

/// The lengths of the log at which a value's cost is reported.
pub const GROWTH: [(u64, &str); 4] = [
    (10_000, "cost_10000"),
    (100_000, "cost_100000"),
    (1_000_000, "cost_1000000"),
    (10_000_000, "cost_10000000"),
];

/// What a value costs, in microseconds of processor of all processes, as the log grows.
pub fn grow(program: &'static str, longest: u64) -> Result<Json, String> {
    let cluster = Cluster::start(Shape { program, ..Shape::PLAIN });
    let load = |seconds| {
        let window = ["--outstanding", "256", "--values-per-datagram", "16", "--warm-up", "0"];
        cluster.bench(&[&window[..], &["--duration", seconds]].concat())
    };
    let mut costs = json!({});
    for (length, key) in GROWTH.into_iter().filter(|(length, _)| *length <= longest) {
        while cluster.decided(1) < length {
            load(if length > 1_000_000 { "1" } else { "0.05" })?;
        }
        let (before, decided) = (cluster.used_by(""), cluster.decided(1));
        load("0.5")?;
        let (after, values) = (cluster.used_by(""), cluster.decided(1) - decided);
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
    Ok(costs)
}

/// How many clients there are at once, each with one value outstanding.
const MANY: [u32; 4] = [1, 16, 128, 1024];

/// The rate with more and more clients, against the best of fewer.
pub fn crowd(program: &'static str, seconds: &str) -> Result<Json, String> {
    let (mut sum, mut best) = (json!({}), f64::NAN);
    for clients in MANY {
        let load = ["--clients", &clients.to_string(), "--outstanding", "1"];
        let printed = bench(Shape { program, ..Shape::PLAIN }, &load, seconds)?;
        let rate = printed[RATE].as_f64().unwrap_or(f64::NAN);
        sum[format!("rate_{clients}")] = json!(rate);
        sum[format!("p99_us_{clients}")] = printed["p99_us"].clone();
        sum[format!("best_before_{clients}")] = json!(best);
        best = best.max(rate);
    }
    Ok(sum)
}
