//! How the cost of things grows: one property after the other, from small to large.
//!
//! `bash/axes.sh` calls it. A property that is measured at one point says nothing of the others, so
//! each axis is measured at several, and every figure is set against that of the first point. With
//! `--against PROGRAM` another build of `paxos` is measured as well, in turn with this one.
//!
//! Options: `--only clients,loss` for some axes, `--rounds 3`, `--seconds 1` for a run, `--small 1`
//! for the few points of continuous integration, whose limits are demanded: status 1 beyond them.

#[allow(dead_code)]
#[path = "compare/cluster.rs"]
mod cluster;

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use self::cluster::{Cluster, Shape};

/// How something is measured at one point: `program` at `point`, for `seconds`.
type Measure = fn(program: &'static str, point: u64, seconds: &str) -> f64;

/// One property that grows.
struct Axis {
    name: &'static str,
    /// What is measured.
    figure: &'static str,
    /// Digits behind the point.
    digits: usize,
    points: &'static [u64],
    /// The points of a small run.
    small: &'static [u64],
    /// A small run fails when a figure is worse than that of its first point by more than this.
    limit: f64,
    /// Whether more is better.
    is_rate: bool,
    measure: Measure,
}

const AXES: &[Axis] = &[
    Axis {
        name: "clients",
        figure: "values/s, 4096 of each client in flight",
        digits: 0,
        points: &[1, 3, 6, 10, 40, 200],
        small: &[],
        limit: 0.0,
        is_rate: true,
        measure: |program, clients, seconds| load(program, clients, seconds).0,
    },
    Axis {
        name: "clients-leader",
        figure: "the leader's own processor a value, ns (the network's part is not in it)",
        digits: 0,
        points: &[1, 3, 6, 10, 40, 200],
        small: &[1, 10],
        limit: 8.0,
        is_rate: false,
        measure: |program, clients, seconds| load(program, clients, seconds).1,
    },
    Axis {
        name: "fed-clients",
        figure: "values/s, from the start of the clients to the end of the last",
        digits: 0,
        points: &[1, 3, 6, 10, 40, 200],
        small: &[1, 10],
        limit: 8.0,
        is_rate: true,
        measure: fed,
    },
    Axis {
        name: "sessions",
        figure: "one value in flight after so many sessions: p50, us",
        digits: 0,
        points: &[1, 1000, 10_000, 50_000],
        small: &[1, 4000],
        limit: 4.0,
        is_rate: false,
        measure: after_sessions,
    },
    Axis {
        name: "holes",
        figure: "a value above so many holes: ms",
        digits: 1,
        points: &[1, 10_000, 100_000, 1_000_000],
        small: &[1, 1_000_000],
        limit: 100.0,
        is_rate: false,
        measure: above_holes,
    },
    Axis {
        name: "log",
        figure: "a late learner, of one session: us a value",
        digits: 2,
        points: &[10_000, 100_000, 1_000_000],
        small: &[],
        limit: 0.0,
        is_rate: false,
        measure: |program, values, _| late_learner(program, 1, values),
    },
    Axis {
        name: "mixed-log",
        figure: "a late learner, of 100 sessions side by side: us a value",
        digits: 2,
        points: &[10_000, 100_000, 1_000_000],
        small: &[10_000, 100_000],
        limit: 4.0,
        is_rate: false,
        measure: |program, values, _| late_learner(program, 100, values),
    },
    Axis {
        name: "size",
        figure: "MB/s, 4096 values in flight",
        digits: 0,
        points: &[1, 64, 1024, 8192, 60_000],
        small: &[],
        limit: 0.0,
        is_rate: true,
        measure: |program, size, seconds| {
            let shape = Shape { program, ..Shape::PLAIN };
            let size = size.to_string();
            let options = ["--outstanding", "4096", "--size", &size, "--duration", seconds];
            figure(&Cluster::start(shape), &options, "megabytes_per_second")
        },
    },
    Axis {
        name: "acceptors",
        figure: RATE,
        digits: 0,
        points: &[1, 3, 5, 7, 9],
        small: &[],
        limit: 0.0,
        is_rate: true,
        measure: |program, acceptors, seconds| {
            rate(Shape { program, acceptors: acceptors as u32, ..Shape::PLAIN }, seconds)
        },
    },
    Axis {
        name: "proposers",
        figure: RATE,
        digits: 0,
        points: &[1, 2, 4, 9],
        small: &[],
        limit: 0.0,
        is_rate: true,
        measure: |program, proposers, seconds| {
            rate(Shape { program, proposers: proposers as u32, ..Shape::PLAIN }, seconds)
        },
    },
    Axis {
        name: "learners",
        figure: RATE,
        digits: 0,
        points: &[1, 2, 8, 32],
        small: &[],
        limit: 0.0,
        is_rate: true,
        measure: |program, learners, seconds| {
            rate(Shape { program, learners: learners as u32, ..Shape::PLAIN }, seconds)
        },
    },
    Axis {
        name: "loss",
        figure: "values/s, 4096 in flight, every process loses so many percent",
        digits: 0,
        points: &[0, 1, 10, 30, 50],
        small: &[],
        limit: 0.0,
        is_rate: true,
        measure: |program, percent, seconds| {
            let loss = String::leak(format!("{}", percent as f64 / 100.0));
            rate(Shape { program, loss, ..Shape::PLAIN }, seconds)
        },
    },
];

const RATE: &str = "values/s, 4096 of one client in flight";

/// One figure of a run of `paxos bench`.
fn figure(cluster: &Cluster, options: &[&str], name: &str) -> f64 {
    let measured = cluster.bench(options);
    measured[name].as_f64().unwrap_or_else(|| panic!("{name} is in {measured}"))
}

fn rate(shape: Shape, seconds: &str) -> f64 {
    let options = ["--outstanding", "4096", "--duration", seconds];
    figure(&Cluster::start(shape), &options, "values_per_second")
}

/// The rate with so many clients, and the nanoseconds of its own that the leader spends on a value.
fn load(program: &'static str, clients: u64, seconds: &str) -> (f64, f64) {
    let cluster = Cluster::start(Shape { program, ..Shape::PLAIN });
    let clients = clients.to_string();
    let options = ["--clients", &clients, "--outstanding", "4096", "--duration", seconds];
    let measured = cluster.bench(&options);
    let of = |name: &str| measured[name].as_f64().unwrap_or_else(|| panic!("{name} in {measured}"));
    // It works as long as it is asked, also before and after what is measured.
    let decided = cluster.decided(1).max(of("values") as u64) as f64;
    (of("values_per_second"), own_time(&cluster, "proposer") / decided * 1e9)
}

/// Client processes that are fed 80,000 values each, and no more than 3,200,000 in all.
fn fed(program: &'static str, clients: u64, _: &str) -> f64 {
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
            let mut client = cluster.command();
            client.args(["client", &id, "--first-instance", "auto", "--lifetime", "60"]);
            client.stdin(input).stdout(Stdio::null()).spawn().expect("paxos starts")
        })
        .collect();
    for mut client in clients {
        // One that does not finish in time is told by what is decided.
        let _ = client.wait();
    }
    let elapsed = begin.elapsed().as_secs_f64();
    thread::sleep(Duration::from_millis(300));
    cluster.decided(1) as f64 / elapsed
}

/// The median of one value at a time, after so many sessions were served.
fn after_sessions(program: &'static str, sessions: u64, seconds: &str) -> f64 {
    const AT_ONCE: u64 = 250;
    let cluster = Cluster::start(Shape { program, ..Shape::PLAIN });
    let mut served = 1;
    while served < sessions {
        let clients = AT_ONCE.min(sessions - served);
        let options =
            ["--clients", &clients.to_string(), "--outstanding", "1", "--first-id", "2000"];
        cluster.bench(&[&options[..], &["--duration", "0.02", "--warm-up", "0"]].concat());
        served += clients;
    }
    figure(&cluster, &["--outstanding", "1", "--duration", seconds], "p50_us")
}

/// Has `line` decided by a client of its own, and waits for that.
fn ask(cluster: &Cluster, id: &str, first_instance: &str) {
    let mut client = cluster.command();
    client.args(["client", id, "--first-instance", first_instance, "--lifetime", "60"]);
    let client = client.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut client = client.expect("paxos starts");
    client.stdin.take().expect("a pipe").write_all(b"value\n").expect("it reads");
    // One that does not finish is told by its time.
    let _ = client.wait();
}

/// How long a leader-assigned value takes when one of a client lies so far above all others.
fn above_holes(program: &'static str, holes: u64, _: &str) -> f64 {
    let cluster = Cluster::start(Shape { program, ..Shape::PLAIN });
    ask(&cluster, "1", &(holes + 1).to_string());
    let begin = Instant::now();
    ask(&cluster, "2", "auto");
    begin.elapsed().as_secs_f64() * 1e3
}

/// What a learner needs for each of so many values, of sessions that were served side by side,
/// when it starts after all of them are decided: microseconds of its processor.
fn late_learner(program: &'static str, sessions: u64, values: u64) -> f64 {
    let mut cluster = Cluster::start(Shape { program, ..Shape::PLAIN });
    let clients = sessions.to_string();
    // Few in flight, so that the sessions mix.
    let outstanding = if sessions == 1 { "4096" } else { "4" };
    while cluster.decided(1) < values {
        let options = ["--clients", &clients, "--outstanding", outstanding, "--duration", "0.2"];
        cluster.bench(&options);
    }
    let all = cluster.decided(1);
    cluster.spawn("learner", 2);
    let deadline = Instant::now() + Duration::from_secs(60);
    while cluster.decided(2) < all && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    own_time(&cluster, "learner2") / cluster.decided(2).max(1) as f64 * 1e6
}

/// The seconds of its own that a process has used. The system counts hundredths; none would be a
/// ratio to nothing.
fn own_time(cluster: &Cluster, name: &str) -> f64 {
    cluster.used_by(name).user.max(0.01)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// What was typed.
struct Options {
    only: Option<String>,
    rounds: u32,
    seconds: String,
    is_small: bool,
    against: Option<&'static str>,
}

fn options() -> Options {
    let mut options =
        Options { only: None, rounds: 3, seconds: "1".to_owned(), is_small: false, against: None };
    let mut words = env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_else(|| panic!("{word} takes a value"));
        match word.as_str() {
            "--only" => options.only = Some(value),
            "--rounds" => options.rounds = value.parse().expect("a number of rounds"),
            "--seconds" => options.seconds = value,
            "--small" => options.is_small = value == "1",
            "--against" => options.against = Some(String::leak(value)),
            _ => panic!("there is no option {word}"),
        }
    }
    options
}

fn main() -> ExitCode {
    let options = options();
    fs::create_dir_all("results/bench").expect("a directory");
    if let Some(other) = options.against {
        let runs = Command::new(other).arg("--version").stdout(Stdio::null()).status();
        assert!(runs.is_ok_and(|status| status.success()), "{other} is no paxos");
    }
    let mut too_much = Vec::new();
    for axis in AXES {
        let points = if options.is_small { axis.small } else { axis.points };
        let is_wanted =
            options.only.as_ref().is_none_or(|only| only.split(',').any(|name| name == axis.name));
        if points.is_empty() || !is_wanted {
            continue;
        }
        println!("\n{}: {}\n", axis.name, axis.figure);
        let against = if options.against.is_some() { " other | this to other |" } else { "" };
        println!("| {} | this | to the first |{against}", axis.name);
        println!("|---:|---:|---:|{}", if against.is_empty() { "" } else { "---:|---:|" });
        let mut first = None;
        for point in points {
            let (mut ours, mut others) = (Vec::new(), Vec::new());
            for _ in 0..options.rounds {
                ours.push((axis.measure)(Shape::PLAIN.program, *point, &options.seconds));
                others.extend(
                    options.against.map(|other| (axis.measure)(other, *point, &options.seconds)),
                );
            }
            let (ours, digits) = (median(ours), axis.digits);
            let base = *first.get_or_insert(ours);
            let mut line = format!("| {point} | {ours:.digits$} | {:.2} |", ours / base);
            if !others.is_empty() {
                let other = median(others);
                line += &format!(" {other:.digits$} | {:.2} |", ours / other);
            }
            println!("{line}");
            let worse = if axis.is_rate { base / ours } else { ours / base };
            if options.is_small && worse > axis.limit {
                too_much.push(format!(
                    "{} {point} is worse than {} by a factor of {worse:.1}; the limit is {}",
                    axis.name, points[0], axis.limit
                ));
            }
        }
    }
    for line in &too_much {
        eprintln!("axes: {line}");
    }
    if too_much.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
