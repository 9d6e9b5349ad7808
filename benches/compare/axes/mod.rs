//! How the cost of things grows: one property after the other, from small to large.
//!
//! `bash/axes.sh` calls it. A property that is measured at one point says nothing of the others, so
//! each axis is measured at several, and every figure is set against that of the first point. With
//! `--against PROGRAM` another build of `paxos` is measured as well, in turn with this one.
//!
//! Options: `--only clients,loss` for some axes, `--rounds 3`, `--seconds 1` for a run, `--small 1`
//! for the few points of continuous integration, whose limits are demanded: status 1 beyond them;
//! `--long 1` for the points that take a minute and gigabytes as well.

mod measures;

use std::process::{Command, ExitCode, Stdio};

use self::measures::{
    above_holes, after_pause, after_sessions, busy_rate, busy_wait, far_rate, fed, in_round_trips,
    late_learner, load, megabytes, on_processors, rate,
};
use crate::cluster::Shape;

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
    /// The points behind them that take long.
    long: &'static [u64],
    /// The points of a small run.
    small: &'static [u64],
    /// A small run fails when a figure is worse than that of its first point by more than this.
    limit: f64,
    /// Whether more is better.
    is_rate: bool,
    /// How much of the first point's rate every other one shall have.
    aim: f64,
    measure: Measure,
}

/// How often a small run measures an axis before a figure beyond its limit counts: another program
/// may have had the processors meanwhile.
const TRIES: u32 = 3;

/// The defaults of an axis, for all but the name, the points and the measure.
const PLAIN: Axis = Axis {
    name: "",
    figure: "values/s, 4096 of one client in flight",
    digits: 0,
    points: &[],
    long: &[],
    small: &[],
    limit: 0.0,
    is_rate: true,
    aim: 0.0,
    measure: |_, _, _| 0.0,
};

const AXES: &[Axis] = &[
    Axis {
        name: "clients",
        figure: "values/s, 4096 of each client in flight",
        points: &[1, 3, 6, 10, 40, 200],
        long: &[1000],
        aim: 0.8,
        measure: |program, clients, seconds| load(program, clients, seconds).0,
        ..PLAIN
    },
    Axis {
        name: "clients-leader",
        figure: "the leader's own processor a value, ns (the network's part is not in it)",
        points: &[1, 3, 6, 10, 40, 200],
        small: &[1, 10],
        limit: 8.0,
        is_rate: false,
        measure: |program, clients, seconds| load(program, clients, seconds).1,
        ..PLAIN
    },
    Axis {
        name: "fed-clients",
        figure: "values/s, from the start of the clients to the end of the last",
        points: &[1, 3, 6, 10, 40, 200],
        long: &[1000],
        small: &[1, 10],
        limit: 8.0,
        aim: 0.8,
        measure: fed,
        ..PLAIN
    },
    Axis {
        name: "sessions",
        figure: "one value in flight after N sessions: p50, us",
        points: &[1, 1000, 10_000],
        long: &[100_000],
        small: &[1, 4000],
        limit: 4.0,
        is_rate: false,
        measure: after_sessions,
        ..PLAIN
    },
    Axis {
        name: "holes",
        figure: "a value above N holes: ms",
        digits: 1,
        points: &[1, 10_000, 100_000, 1_000_000],
        small: &[1, 1_000_000],
        limit: 100.0,
        is_rate: false,
        measure: above_holes,
        ..PLAIN
    },
    Axis {
        name: "log",
        figure: "a late learner, of one session: us a value",
        digits: 2,
        points: &[10_000, 100_000, 1_000_000],
        long: &[10_000_000],
        is_rate: false,
        measure: |program, values, _| late_learner(program, 1, values),
        ..PLAIN
    },
    Axis {
        name: "mixed-log",
        figure: "a late learner, of 100 sessions side by side: us a value",
        digits: 2,
        points: &[10_000, 100_000, 1_000_000],
        small: &[10_000, 200_000],
        limit: 4.0,
        is_rate: false,
        measure: |program, values, _| late_learner(program, 100, values),
        ..PLAIN
    },
    Axis {
        name: "size",
        figure: "MB/s, 4096 values in flight",
        points: &[1, 64, 1024, 8192, 60_000],
        measure: megabytes,
        ..PLAIN
    },
    Axis {
        name: "acceptors",
        points: &[1, 3, 5, 7, 9],
        measure: |program, acceptors, seconds| {
            rate(Shape { program, acceptors: acceptors as u32, ..Shape::PLAIN }, seconds)
        },
        ..PLAIN
    },
    Axis {
        name: "proposers",
        points: &[1, 2, 4, 9],
        measure: |program, proposers, seconds| {
            rate(Shape { program, proposers: proposers as u32, ..Shape::PLAIN }, seconds)
        },
        ..PLAIN
    },
    Axis {
        name: "learners",
        points: &[1, 2, 8, 32],
        measure: |program, learners, seconds| {
            rate(Shape { program, learners: learners as u32, ..Shape::PLAIN }, seconds)
        },
        ..PLAIN
    },
    Axis {
        name: "loss",
        figure: "values/s, 4096 in flight, every process loses N percent",
        points: &[0, 1, 10, 30, 50],
        measure: |program, percent, seconds| {
            let loss = String::leak(format!("{}", percent as f64 / 100.0));
            rate(Shape { program, loss, ..Shape::PLAIN }, seconds)
        },
        ..PLAIN
    },
    Axis {
        name: "round-trip",
        figure: "one value in flight, a relay makes a round trip N us: p50, in round trips",
        digits: 1,
        points: &[50, 1000, 10_000, 200_000],
        small: &[1000, 50_000],
        limit: 2.0,
        is_rate: false,
        measure: in_round_trips,
        ..PLAIN
    },
    Axis {
        name: "round-trip-rate",
        figure: "values/s, 4096 in flight, a relay makes a round trip N us",
        points: &[50, 1000, 10_000, 200_000],
        measure: far_rate,
        ..PLAIN
    },
    Axis {
        name: "processors",
        figure: "values/s, 4096 in flight, everything on N processors",
        points: &[2, 1],
        measure: on_processors,
        ..PLAIN
    },
    Axis {
        name: "busy",
        figure: "values/s, 4096 in flight, beside N threads that never wait",
        points: &[0, 2, 8],
        measure: busy_rate,
        ..PLAIN
    },
    Axis {
        name: "busy-wait",
        figure: "one value in flight, beside N threads that never wait: p50, us",
        points: &[0, 2, 8],
        is_rate: false,
        measure: busy_wait,
        ..PLAIN
    },
    Axis {
        name: "pause-leader",
        figure: "the leader of two sleeps N s: ms until all is decided then (10: or less)",
        points: &[0, 2],
        long: &[60],
        is_rate: false,
        measure: |program, pause, _| after_pause(program, "proposer1", pause),
        ..PLAIN
    },
    Axis {
        name: "pause-all",
        figure: "all but the client sleep N s: ms until all is decided then (10: or less)",
        points: &[0, 2],
        long: &[60],
        small: &[0, 1],
        limit: 100.0,
        is_rate: false,
        measure: |program, pause, _| after_pause(program, "", pause),
        ..PLAIN
    },
];

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The command line's options.
struct Options {
    only: Option<String>,
    rounds: u32,
    seconds: String,
    is_small: bool,
    is_long: bool,
    against: Option<&'static str>,
}

fn options(mut words: impl Iterator<Item = String>) -> Options {
    let mut options = Options {
        only: None,
        rounds: 3,
        seconds: "1".to_owned(),
        is_small: false,
        is_long: false,
        against: None,
    };
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_else(|| panic!("{word} takes a value"));
        match word.as_str() {
            "--only" => options.only = Some(value),
            "--rounds" => options.rounds = value.parse().expect("a number of rounds"),
            "--seconds" => options.seconds = value,
            "--small" => options.is_small = value == "1",
            "--long" => options.is_long = value == "1",
            "--against" => options.against = Some(String::leak(value)),
            _ => panic!("there is no option {word}"),
        }
    }
    options
}

/// Measures an axis at some points, and prints a table. Returns the points beyond the limit.
fn table(axis: &Axis, points: &[u64], options: &Options) -> Vec<String> {
    println!("\n{}: {}\n", axis.name, axis.figure);
    let against = if options.against.is_some() { " other | this to other |" } else { "" };
    println!("| {} | this | to the first |{against}", axis.name);
    println!("|---:|---:|---:|{}", if against.is_empty() { "" } else { "---:|---:|" });
    let (mut first, mut beyond) = (None, Vec::new());
    for point in points {
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            ours.push((axis.measure)(Shape::PLAIN.program, *point, &options.seconds));
            others.extend(
                options.against.map(|other| (axis.measure)(other, *point, &options.seconds)),
            );
        }
        let (all, digits) = (&mut ours, axis.digits);
        let ours = median(all);
        let base = *first.get_or_insert(ours);
        let mut line = format!("| {point} | {ours:.digits$}");
        if let [least, .., most] = all[..] {
            line += &format!(" [{least:.digits$}-{most:.digits$}]");
        }
        line += &format!(" | {:.2}", ours / base);
        if ours / base < axis.aim {
            line += &format!(", below {}", axis.aim);
        }
        line += " |";
        if !others.is_empty() {
            let other = median(&mut others);
            line += &format!(" {other:.digits$} | {:.2} |", ours / other);
        }
        println!("{line}");
        let worse = if axis.is_rate { base / ours } else { ours / base };
        if options.is_small && worse > axis.limit {
            beyond.push(format!(
                "{} {point} is worse than {} by a factor of {worse:.1}; the limit is {}",
                axis.name, points[0], axis.limit
            ));
        }
    }
    beyond
}

/// Measures the axes that the words ask for, and prints a table of each.
pub fn run(words: impl Iterator<Item = String>) -> ExitCode {
    let options = options(words);
    if let Some(other) = options.against {
        let runs = Command::new(other).arg("--version").stdout(Stdio::null()).status();
        assert!(runs.is_ok_and(|status| status.success()), "{other} is no paxos");
    }
    let mut too_much = Vec::new();
    for axis in AXES {
        let points = match options {
            Options { is_small: true, .. } => axis.small.to_vec(),
            Options { is_long: true, .. } => [axis.points, axis.long].concat(),
            Options { .. } => axis.points.to_vec(),
        };
        let is_wanted =
            options.only.as_ref().is_none_or(|only| only.split(',').any(|name| name == axis.name));
        if points.is_empty() || !is_wanted {
            continue;
        }
        let mut beyond = table(axis, &points, &options);
        for _ in 1..TRIES {
            if !beyond.is_empty() {
                beyond = table(axis, &points, &options);
            }
        }
        too_much.extend(beyond);
    }
    for line in &too_much {
        eprintln!("axes: {line}");
    }
    if too_much.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
