//! What does the interface of the library cost? The same work is done by `multi_paxos::Client` in
//! this process and by `paxos bench`, and by a `Replica` in this process and by `paxos learner`.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use multi_paxos::{Client, Number, Place, Position, Refused, Replica, StateMachine, Ticket};
use serde_json::{Value as Json, json};

use crate::cluster::{Cluster, Shape};
use crate::rows::RATE;

/// How many values are in flight, and the names of the figures.
const OUTSTANDING: [(usize, [&str; 4]); 3] = [
    (1, ["client_1", "bench_1", "client_p50_us_1", "bench_p50_us_1"]),
    (64, ["client_64", "bench_64", "client_p50_us_64", "bench_p50_us_64"]),
    (4096, ["client_4096", "bench_4096", "client_p50_us_4096", "bench_p50_us_4096"]),
];
/// How long both run before they measure.
const WARM_UP: Duration = Duration::from_millis(300);
/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(20);
/// Ids that nothing else in these clusters has.
const CLIENT: u32 = 1;
const REPLICA: u32 = 7;

/// Rates of a client in this process and of `paxos bench`, on one running cluster. Each of them
/// goes twice, in the order A B B A, and in odd rounds B A A B: what drifts is the same for both.
pub fn propose(seconds: &str, round: u32) -> Result<Json, String> {
    let cluster = Cluster::start(Shape::PLAIN);
    let library = library(&cluster)?;
    let client = library.client(CLIENT).map_err(|error| error.to_string())?;
    let length = Duration::from_secs_f64(seconds.parse().unwrap_or(1.0));
    let mut figures = json!({});
    for (outstanding, names) in OUTSTANDING {
        let (mut rates, mut middles) = ([0.0; 2], [0.0; 2]);
        let first = (round % 2) as usize;
        for side in [first, 1 - first, 1 - first, first] {
            let (rate, middle) = match side {
                0 => drive(&client, outstanding, length)?,
                _ => bench(&cluster, outstanding, seconds)?,
            };
            rates[side] += rate / 2.0;
            middles[side] += middle / 2.0;
        }
        let told = [rates[0], rates[1], middles[0], middles[1]];
        names.iter().zip(told).for_each(|(name, figure)| figures[name] = json!(figure));
    }
    client.stop(LONG).map_err(|error| error.to_string())?;
    Ok(figures)
}

/// The library's view of the cluster, as other processes have it.
fn library(cluster: &Cluster) -> Result<multi_paxos::Cluster, String> {
    // The command is what writes the configuration.
    drop(cluster.command("client1"));
    let path: PathBuf = cluster.folder.path().join("client1.conf");
    multi_paxos::Cluster::from_file(path).map_err(|error| error.to_string())
}

/// Values a second, and the median of their times in microseconds, by `paxos bench`.
fn bench(cluster: &Cluster, outstanding: usize, seconds: &str) -> Result<(f64, f64), String> {
    let (outstanding, warm_up) = (outstanding.to_string(), WARM_UP.as_secs_f64().to_string());
    let options = ["--outstanding", &outstanding, "--duration", seconds, "--warm-up", &warm_up];
    let printed = cluster.bench(&options)?;
    let figure = |name: &str| printed[name].as_f64().ok_or(format!("it tells no {name}"));
    Ok((figure(RATE)?, figure("p50_us")?))
}

/// The same by a client of the library, as a program would use it: it proposes as many values of 64
/// bytes as may be in flight, waits for the oldest, and takes what else is known by then.
fn drive(client: &Client, outstanding: usize, length: Duration) -> Result<(f64, f64), String> {
    let mut open: VecDeque<(Instant, Ticket<Number>)> = VecDeque::with_capacity(outstanding);
    let (mut micros, start) = (Vec::new(), Instant::now());
    let (begin, end) = (start + WARM_UP, start + WARM_UP + length);
    let mut last = begin;
    let mut is_over = false;
    while !is_over || !open.is_empty() {
        let mut now = Instant::now();
        is_over = now >= end;
        while !is_over && open.len() < outstanding {
            // Neither waits here: there is room for all.
            let ticket = match client.try_propose([b'v'; 64]) {
                Err(Refused::Full(value)) => client.propose(value),
                taken => taken,
            };
            open.push_back((now, ticket.map_err(|refused| refused.to_string())?));
        }
        let mut has_waited = false;
        while open.front().is_some_and(|(_, ticket)| !has_waited || ticket.is_known()) {
            let Some((submitted, ticket)) = open.pop_front() else { break };
            if ticket.wait(LONG).map_err(|late| late.to_string())?.decided().is_none() {
                return Err("the client's session has ended".to_owned());
            }
            if !has_waited {
                now = Instant::now();
            }
            has_waited = true;
            // As `paxos bench` counts.
            if submitted >= begin && submitted < end {
                micros.push((now - submitted).as_micros() as u64);
                last = now;
            }
        }
    }
    let rate = micros.len() as f64 / (last - begin).as_secs_f64().max(1e-9);
    micros.sort_unstable();
    let middle = micros.get(micros.len() / 2).copied().unwrap_or(0);
    Ok((rate, middle as f64))
}

/// Counts its commands.
#[derive(Default)]
struct Counter(u64);

impl StateMachine for Counter {
    type Output = u64;

    fn apply(&mut self, _place: &Place, _command: &[u8]) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// The rate of `paxos bench` where one replica in this process follows, and where one learner does;
/// and the rate at which those have all of it. Each has a cluster of its own.
pub fn follow(options: &[&str], seconds: &str, round: u32) -> Result<Json, String> {
    let mut figures = json!({});
    let first = round.is_multiple_of(2);
    for is_replica in [first, !first] {
        let (rate, applied) =
            if is_replica { replica(options, seconds)? } else { learner(options, seconds)? };
        let names = if is_replica { ["replica", "applied"] } else { ["learner", "written"] };
        figures[names[0]] = json!(rate);
        figures[names[1]] = json!(applied);
    }
    Ok(figures)
}

/// Runs a load until `reached` has stood still, and returns the load's rate and that at which
/// `reached` has grown since the load began.
fn followed(
    cluster: &Cluster,
    options: &[&str],
    seconds: &str,
    reached: impl Fn() -> u64,
) -> Result<(f64, f64), String> {
    let (start, before) = (Instant::now(), reached());
    let printed = cluster.bench(&[options, &["--duration", seconds]].concat())?;
    let (mut last, mut seen) = (Instant::now(), reached());
    let ended = last;
    // A learner that has stood still for this long has everything.
    while last.elapsed() < Duration::from_millis(300) {
        let now = reached();
        if now > seen {
            (last, seen) = (Instant::now(), now);
        }
        thread::sleep(Duration::from_millis(1));
    }
    let rate = printed[RATE].as_f64().ok_or("it tells no rate")?;
    let elapsed = last.max(ended) - start;
    Ok((rate, (seen - before) as f64 / elapsed.as_secs_f64()))
}

fn replica(options: &[&str], seconds: &str) -> Result<(f64, f64), String> {
    let cluster = Cluster::start(Shape { learners: 0, ..Shape::PLAIN });
    let library = library(&cluster)?;
    let replica: Replica<Counter> =
        library.replica(REPLICA, Counter::default()).map_err(|error| error.to_string())?;
    // As long as a process has to begin.
    thread::sleep(Duration::from_millis(400));
    let told = followed(&cluster, options, seconds, || {
        let Position(position) = replica.applied();
        position
    })?;
    let counter = replica.stop(LONG).map_err(|error| error.to_string())?;
    if counter.0 == 0 {
        return Err("the replica has applied nothing".to_owned());
    }
    Ok(told)
}

fn learner(options: &[&str], seconds: &str) -> Result<(f64, f64), String> {
    let cluster = Cluster::start(Shape::PLAIN);
    thread::sleep(Duration::from_millis(400));
    followed(&cluster, options, seconds, || cluster.last_instance(1))
}
