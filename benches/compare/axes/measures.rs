//! The measurements: each function measures one point of an axis.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::cluster::{Cluster, Shape};

/// Runs `paxos bench`, which must measure something.
fn bench(cluster: &Cluster, options: &[&str]) -> Json {
    cluster.bench(options).unwrap_or_else(|said| panic!("paxos bench {options:?}: {said}"))
}

/// One figure of a run of `paxos bench`.
fn figure(cluster: &Cluster, options: &[&str], name: &str) -> f64 {
    let measured = bench(cluster, options);
    measured[name].as_f64().unwrap_or_else(|| panic!("{name} is in {measured}"))
}

/// How many values a cluster of this shape decides a second, 4096 of one client in flight.
pub fn rate(shape: Shape, seconds: &str) -> f64 {
    let options = ["--outstanding", "4096", "--duration", seconds];
    figure(&Cluster::start(shape), &options, "values_per_second")
}

/// Megabytes a second, with values of `size` bytes.
pub fn megabytes(program: &'static str, size: u64, seconds: &str) -> f64 {
    let cluster = Cluster::start(Shape { program, ..Shape::PLAIN });
    let size = size.to_string();
    let options = ["--outstanding", "4096", "--size", &size, "--duration", seconds];
    figure(&cluster, &options, "megabytes_per_second")
}

/// The median of one value at a time, in microseconds.
fn one_at_a_time(cluster: &Cluster, seconds: &str) -> f64 {
    figure(cluster, &["--outstanding", "1", "--duration", seconds], "p50_us")
}

/// A cluster whose round trips take `micros` microseconds longer than here, and how long to measure
/// it: some round trips.
fn far_away(program: &'static str, micros: u64, seconds: &str) -> (Cluster, String) {
    let round_trip = Some(Duration::from_micros(micros));
    let cluster = Cluster::start(Shape { program, round_trip, ..Shape::PLAIN });
    let least = micros as f64 / 1e6 * 12.0;
    (cluster, seconds.parse::<f64>().unwrap_or(1.0).max(least).to_string())
}

/// The median of one value at a time, in round trips of `micros` microseconds.
pub fn in_round_trips(program: &'static str, micros: u64, seconds: &str) -> f64 {
    let (cluster, seconds) = far_away(program, micros, seconds);
    one_at_a_time(&cluster, &seconds) / micros as f64
}

/// Values a second, 4096 in flight, with round trips of `micros` microseconds.
pub fn far_rate(program: &'static str, micros: u64, seconds: &str) -> f64 {
    let (cluster, seconds) = far_away(program, micros, seconds);
    let options = ["--outstanding", "4096", "--duration", &seconds];
    figure(&cluster, &options, "values_per_second")
}

/// Values a second when everything shares `count` processors.
pub fn on_processors(program: &'static str, count: u64, seconds: &str) -> f64 {
    let processors = Some(&*String::leak(format!("0-{}", count - 1)));
    rate(Shape { program, processors, ..Shape::PLAIN }, seconds)
}

/// Threads that never wait, and end with this.
struct Spinning {
    is_over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Spinning {
    fn start(count: u64) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let spin = |is_over: Arc<AtomicBool>| {
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        };
        let threads = (0..count).map(|_| thread::spawn(spin(is_over.clone()))).collect();
        Spinning { is_over, threads }
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Values a second beside `threads` threads that never wait.
pub fn busy_rate(program: &'static str, threads: u64, seconds: &str) -> f64 {
    let _spinning = Spinning::start(threads);
    rate(Shape { program, ..Shape::PLAIN }, seconds)
}

/// The median of one value at a time beside `threads` threads that never wait, in microseconds.
pub fn busy_wait(program: &'static str, threads: u64, seconds: &str) -> f64 {
    let _spinning = Spinning::start(threads);
    one_at_a_time(&Cluster::start(Shape { program, ..Shape::PLAIN }), seconds)
}

/// How many milliseconds it takes until everything is decided after the processes whose names begin
/// with `who` were stopped for `seconds` seconds, with values requested before, meanwhile and
/// afterwards.
pub fn after_pause(program: &'static str, who: &str, seconds: u64) -> f64 {
    const EACH: u64 = 1000;
    /// As long as everybody's answer is awaited; nothing that ends takes as long.
    const LONGEST: Duration = Duration::from_secs(60);
    let cluster = Cluster::start(Shape { program, proposers: 2, ..Shape::PLAIN });
    let mut client = cluster.command("client1");
    client.args(["client", "1", "--first-instance", "auto"]);
    let client = client.stdin(Stdio::piped()).spawn();
    let mut client = client.expect("paxos starts");
    let mut stdin = client.stdin.take().expect("a pipe");
    let lines = "value\n".repeat(EACH as usize);
    let mut ask = || stdin.write_all(lines.as_bytes()).expect("it reads");
    let decided = |values| {
        let begin = Instant::now();
        while cluster.decided(1) < values && begin.elapsed() < LONGEST {
            thread::sleep(Duration::from_millis(1));
        }
        begin.elapsed()
    };
    ask();
    decided(EACH);
    if seconds > 0 {
        cluster.pause(who);
        ask();
        thread::sleep(Duration::from_secs(seconds));
        assert!(!who.is_empty() || cluster.decided(1) == EACH, "everybody sleeps");
        cluster.go_on(who);
    } else {
        ask();
    }
    ask();
    let elapsed = decided(3 * EACH);
    drop(stdin);
    let _ = client.kill().and_then(|()| client.wait());
    // Shorter times cannot be measured, and zero would have no ratio.
    elapsed.as_secs_f64().max(0.01) * 1e3
}

/// The rate with `clients` clients, and the processor time that the leader spends on a value, in
/// nanoseconds.
pub fn load(program: &'static str, clients: u64, seconds: &str) -> (f64, f64) {
    let cluster = Cluster::start(Shape { program, ..Shape::PLAIN });
    let clients = clients.to_string();
    let options = ["--clients", &clients, "--outstanding", "4096", "--duration", seconds];
    let measured = bench(&cluster, &options);
    let of = |name: &str| measured[name].as_f64().unwrap_or_else(|| panic!("{name} in {measured}"));
    // It works as long as there are requests, even before and after the measurement.
    let decided = cluster.decided(1).max(of("values") as u64) as f64;
    (of("values_per_second"), own_time(&cluster, "proposer") / decided * 1e9)
}

/// Client processes that are fed 80,000 values each, and no more than 3,200,000 in all.
pub fn fed(program: &'static str, clients: u64, _: &str) -> f64 {
    let cluster = Cluster::start(Shape { program, ..Shape::PLAIN });
    let each = (3_200_000 / clients).min(80_000);
    let lines: String = (0..each).map(|line| format!("value {line:08}\n")).collect();
    let input = tempfile::NamedTempFile::new().expect("a file");
    fs::write(input.path(), lines).expect("room");
    let begin = Instant::now();
    let clients: Vec<_> = (1..=clients)
        .map(|id| {
            let input = fs::File::open(input.path()).expect("it is there");
            let id = id.to_string();
            let mut client = cluster.command("client1");
            client.args(["client", &id, "--first-instance", "auto", "--lifetime", "60"]);
            client.stdin(input).spawn().expect("paxos starts")
        })
        .collect();
    for mut client in clients {
        // The decisions show one that does not finish in time.
        let _ = client.wait();
    }
    let elapsed = begin.elapsed().as_secs_f64();
    thread::sleep(Duration::from_millis(300));
    cluster.decided(1) as f64 / elapsed
}

/// The median of one value at a time, after `sessions` sessions were served.
pub fn after_sessions(program: &'static str, sessions: u64, seconds: &str) -> f64 {
    const AT_ONCE: u64 = 1000;
    let cluster = Cluster::start(Shape { program, ..Shape::PLAIN });
    let mut served = 1;
    while served < sessions {
        let clients = AT_ONCE.min(sessions - served);
        let options =
            ["--clients", &clients.to_string(), "--outstanding", "1", "--first-id", "2000"];
        bench(&cluster, &[&options[..], &["--duration", "0.02", "--warm-up", "0"]].concat());
        served += clients;
    }
    one_at_a_time(&cluster, seconds)
}

/// How long a leader-assigned value takes when a client-assigned one lies `holes` above all others.
pub fn above_holes(program: &'static str, holes: u64, _: &str) -> f64 {
    let cluster = Cluster::start(Shape { program, ..Shape::PLAIN });
    cluster.ask(1, &(holes + 1).to_string());
    let begin = Instant::now();
    cluster.ask(2, "auto");
    begin.elapsed().as_secs_f64() * 1e3
}

/// How much memory a cluster may use before it gets a late learner, which needs a fifth more.
const MEMORY: u64 = 8 << 30;

/// How many microseconds of processor time, including its start, a learner needs for each of
/// `values` values of `sessions` concurrent sessions when it starts after all of them are decided.
pub fn late_learner(program: &'static str, sessions: u64, values: u64) -> f64 {
    let mut cluster = Cluster::start(Shape { program, ..Shape::PLAIN });
    let clients = sessions.to_string();
    // Few in flight, so that the sessions mix.
    let outstanding = if sessions == 1 { "4096" } else { "4" };
    // No more than were asked for by much.
    let duration =
        (values as f64 / if sessions == 1 { 4e6 } else { 1e6 }).clamp(0.002, 1.0).to_string();
    while cluster.decided(1) < values {
        let options = ["--clients", &clients, "--outstanding", outstanding];
        bench(&cluster, &[&options[..], &["--duration", &duration, "--warm-up", "0"]].concat());
        let memory = cluster.memory().iter().map(|(_, bytes)| bytes).sum::<u64>();
        if memory > MEMORY {
            println!("{values} values do not fit; measured at {}:", cluster.decided(1));
            break;
        }
    }
    let all = cluster.decided(1);
    cluster.spawn("learner", 2);
    let deadline = Instant::now() + Duration::from_secs(60);
    while cluster.decided(2) < all && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    cluster.used_by("learner2").scheduled / cluster.decided(2).max(1) as f64 * 1e6
}

/// The seconds of its own that a process has used. The system counts hundredths; none would be a
/// ratio to nothing.
fn own_time(cluster: &Cluster, name: &str) -> f64 {
    cluster.used_by(name).user.max(0.01)
}
