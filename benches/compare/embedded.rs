//! What the face of the library costs: the same work by `multi_paxos::Client` in this process and
//! by `paxos bench`, and by a `Replica` in this process and by `paxos learner`.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use multi_paxos::{Client, Fate, Number, Place, Position, Refused, Replica, StateMachine, Ticket};
use serde_json::{Value as Json, json};

use crate::cluster::{Cluster, Shape};
use crate::rows::RATE;

/// How many values are in flight, and the names of the figures: rates of a thread, of a task and of
/// `paxos bench`, and the medians of their times.
const OUTSTANDING: [(usize, [&str; 6]); 3] = [
    (1, ["client_1", "task_1", "bench_1", "client_us_1", "task_us_1", "bench_us_1"]),
    (64, ["client_64", "task_64", "bench_64", "client_us_64", "task_us_64", "bench_us_64"]),
    (
        4096,
        [
            "client_4096",
            "task_4096",
            "bench_4096",
            "client_us_4096",
            "task_us_4096",
            "bench_us_4096",
        ],
    ),
];
/// What both do before they measure.
const WARM_UP: Duration = Duration::from_millis(300);
/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(20);
/// Ids that nothing else in these clusters has.
const CLIENT: u32 = 1;
const REPLICA: u32 = 7;

/// Rates of a client in this process, by a thread that waits and by a task of the client, and of
/// `paxos bench`, on one running cluster. Each of them goes twice, in the order A B C C B A, and
/// the next round begins with B: what drifts is the same for all.
pub fn propose(seconds: &str, round: u32) -> Result<Json, String> {
    let cluster = Cluster::start(Shape::PLAIN);
    let library = library(&cluster)?;
    let client = library.client(CLIENT).map_err(|error| error.to_string())?;
    let length = Duration::from_secs_f64(seconds.parse().unwrap_or(1.0));
    let mut figures = json!({});
    for (outstanding, names) in OUTSTANDING {
        let mut told = [0.0; 6];
        let first = (round % 3) as usize;
        let there = [first, (first + 1) % 3, (first + 2) % 3];
        for side in there.into_iter().chain(there.into_iter().rev()) {
            let (rate, middle) = match side {
                0 => drive(&client, outstanding, length)?,
                1 => drive_task(&client, outstanding, length)?,
                _ => bench(&cluster, outstanding, seconds)?,
            };
            told[side] += rate / 2.0;
            told[3 + side] += middle / 2.0;
        }
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

/// A client's load while it runs: as many values of 64 bytes as may be in flight.
struct Load {
    client: Client,
    outstanding: usize,
    open: VecDeque<(Instant, Ticket<Number>)>,
    micros: Vec<u64>,
    begin: Instant,
    end: Instant,
    last: Instant,
}

impl Load {
    fn new(client: &Client, outstanding: usize, length: Duration) -> Self {
        let begin = Instant::now() + WARM_UP;
        let (client, end, last) = (client.clone(), begin + length, begin);
        let (open, micros) = (VecDeque::with_capacity(outstanding), Vec::new());
        Load { client, outstanding, open, micros, begin, end, last }
    }

    /// Proposes what may be in flight, until the time is over.
    fn fill(&mut self) -> Result<(), String> {
        let now = Instant::now();
        while now < self.end && self.open.len() < self.outstanding {
            match self.client.try_propose([b'v'; 64]) {
                Ok(ticket) => self.open.push_back((now, ticket)),
                Err(Refused::Full(_)) if !self.open.is_empty() => break,
                Err(refused) => return Err(refused.to_string()),
            }
        }
        Ok(())
    }

    /// The next ticket; after the first of a turn only if it is known.
    fn next(&mut self, is_first: bool) -> Option<(Instant, Ticket<Number>)> {
        let (_, ticket) = self.open.front()?;
        if is_first || ticket.is_known() { self.open.pop_front() } else { None }
    }

    /// Counts as `paxos bench` does.
    fn settle(
        &mut self,
        submitted: Instant,
        now: Instant,
        fate: Fate<Number>,
    ) -> Result<(), String> {
        fate.decided().ok_or("the client's session has ended")?;
        if submitted >= self.begin && submitted < self.end {
            self.micros.push((now - submitted).as_micros() as u64);
            self.last = now;
        }
        Ok(())
    }

    /// Values a second, and the median of their times in microseconds.
    fn figures(mut self) -> (f64, f64) {
        let elapsed = (self.last - self.begin).as_secs_f64().max(1e-9);
        let rate = self.micros.len() as f64 / elapsed;
        self.micros.sort_unstable();
        let middle = self.micros.get(self.micros.len() / 2).copied().unwrap_or(0);
        (rate, middle as f64)
    }
}

/// The same by a thread that waits for the oldest ticket, and takes what else is known by then.
fn drive(client: &Client, outstanding: usize, length: Duration) -> Result<(f64, f64), String> {
    let mut load = Load::new(client, outstanding, length);
    loop {
        load.fill()?;
        let Some((submitted, ticket)) = load.next(true) else { return Ok(load.figures()) };
        let fate = ticket.wait(LONG).map_err(|late| late.to_string())?;
        let now = Instant::now();
        load.settle(submitted, now, fate)?;
        while let Some((submitted, ticket)) = load.next(false) {
            load.settle(submitted, now, ticket.wait(LONG).map_err(|late| late.to_string())?)?;
        }
    }
}

/// The same by a task of the client.
fn drive_task(client: &Client, outstanding: usize, length: Duration) -> Result<(f64, f64), String> {
    async fn run(mut load: Load) -> Result<(f64, f64), String> {
        loop {
            load.fill()?;
            let Some((submitted, ticket)) = load.next(true) else { return Ok(load.figures()) };
            let fate = ticket.await;
            let now = Instant::now();
            load.settle(submitted, now, fate)?;
            while let Some((submitted, ticket)) = load.next(false) {
                let fate = ticket.await;
                load.settle(submitted, now, fate)?;
            }
        }
    }
    let load = Load::new(client, outstanding, length);
    let (tell, told) = std::sync::mpsc::channel();
    client.spawn(async move {
        // Nobody hears it if the time was over before.
        let _ = tell.send(run(load).await);
    });
    told.recv_timeout(LONG).map_err(|_| "the task has not ended".to_owned())?
}

/// Counts what it is told.
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
    // What has stood still for so long has everything.
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
