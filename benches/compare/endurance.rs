//! Many values through a cluster that keeps the last of them: does anything grow with the log?
//!
//! `bash/endurance.sh` calls it. Two clients are fed values of ten bytes as fast as they take them;
//! four proposers, three acceptors with data and two learners decide and write them. Once a second
//! it looks at the memory of each process, at the disk of each acceptor and at how far the log is.
//! Then every value must stand in both learners' files, once, in its client's order and at the same
//! place. At last processes are killed and started again, and the time is taken until they do their
//! work.
//!
//! Options: `--values 1000000`. Status 1: a value is missing or out of order, the learners differ,
//! or a process took more memory or disk than its settings allow.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{ChildStdin, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::charts::{Chart, Line};
use crate::cluster::{Cluster, FOLDER, Shape};

/// How many bytes of the log are kept, and the line that says so.
const RETAINED: u64 = 1 << 30;
const SHAPE: Shape =
    Shape { conf: "DATA\nretain 1GiB\n", proposers: 4, learners: 2, ..Shape::PLAIN };
const CLIENTS: u64 = 2;

/// How much memory a process may use: `memory_bytes`, plus what does not count towards it.
const MEMORY_MAX: u64 = 384 << 20;
/// How much an acceptor may have on disk: half as much again as is kept, and two segments.
const DISK_MAX: u64 = RETAINED * 3 / 2 + (2 << 26);

/// How long it takes, at most, until everybody knows an instance.
const SOON: Duration = Duration::from_secs(60);

/// The observations at one moment.
struct Sample {
    seconds: f64,
    instances: u64,
    memory: Vec<(String, u64)>,
    /// The most that each process has had of memory.
    peaks: Vec<(String, u64)>,
    disk: [u64; 3],
}

impl Sample {
    fn take(cluster: &Cluster, begin: Instant) -> Self {
        let disk = [1, 2, 3].map(|id| {
            let folder = cluster.folder.path().join(format!("data/acceptor-{id}"));
            let files = fs::read_dir(folder).into_iter().flatten().flatten();
            // A segment may be removed meanwhile.
            files.map(|file| file.metadata().map_or(0, |metadata| metadata.len())).sum()
        });
        Sample {
            seconds: begin.elapsed().as_secs_f64(),
            instances: cluster.last_instance(1),
            memory: cluster.memory(),
            peaks: cluster.memory_peaks(),
            disk,
        }
    }
}

/// The value with this number of a client: ten bytes.
fn value(client: u64, number: u64) -> u64 {
    client * 1_000_000_000 + number
}

/// Writes a client's values as fast as they are taken.
fn feed(stdin: ChildStdin, client: u64, values: u64) {
    let mut stdin = BufWriter::with_capacity(1 << 16, stdin);
    for number in 0..values {
        if writeln!(stdin, "{}", value(client, number)).is_err() {
            return; // The client has ended, and says why.
        }
    }
}

/// Gets all values decided. Returns a sample for each second, or what went wrong.
fn load(cluster: &mut Cluster, values: u64) -> Result<Vec<Sample>, String> {
    let begin = Instant::now();
    let mut feeders = Vec::new();
    for client in 1..=CLIENTS {
        let name = format!("client{client}");
        let mut command = cluster.command(&name);
        command.args(["client", &client.to_string(), "--first-instance", "auto"]);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("paxos starts");
        let stdin = child.stdin.take().expect("a pipe");
        cluster.processes.push((name, child));
        feeders.push(thread::spawn(move || feed(stdin, client, values / CLIENTS)));
    }
    let mut samples = vec![Sample::take(cluster, begin)];
    let mut unfinished = CLIENTS as usize;
    while unfinished > 0 {
        thread::sleep(Duration::from_secs(1));
        samples.push(Sample::take(cluster, begin));
        unfinished = 0;
        for (name, child) in &mut cluster.processes {
            match child.try_wait().expect("it is a child") {
                Some(status) if status.success() && name.starts_with("client") => {}
                Some(status) => return Err(format!("{name} has ended: {status}")),
                None => unfinished += usize::from(name.starts_with("client")),
            }
        }
    }
    feeders.into_iter().for_each(|feeder| feeder.join().expect("it does not panic"));
    cluster.processes.retain(|(name, _)| !name.starts_with("client"));
    let is_told = || cluster.written(1) == cluster.written(2) && cluster.last_instance(1) > 0;
    let deadline = Instant::now() + SOON;
    while !is_told() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    Ok(samples)
}

/// Reads both learners' files: every value once, in its client's order, and the same in both.
fn judge(cluster: &Cluster, values: u64) -> Result<(), String> {
    let open = |learner| {
        let file = File::open(cluster.decided_file(learner)).expect("a learner has written");
        BufReader::with_capacity(1 << 20, file)
    };
    let (mut ours, mut theirs) = (open(1), open(2));
    let (mut our, mut their) = (String::new(), String::new());
    let mut next = [0; CLIENTS as usize];
    let mut before = 0;
    loop {
        our.clear();
        their.clear();
        ours.read_line(&mut our).map_err(|error| error.to_string())?;
        theirs.read_line(&mut their).map_err(|error| error.to_string())?;
        if our != their {
            return Err(format!("learner 1 has {our:?} where learner 2 has {their:?}"));
        }
        let Some((instance, value)) = our.trim_end().split_once('\t') else { break };
        let parsed = instance.parse::<u64>().ok().zip(value.parse::<u64>().ok());
        let Some((instance, value)) = parsed else { return Err(format!("{our:?} is no line")) };
        let client = (value / 1_000_000_000) as usize - 1;
        if instance <= before || next.get(client) != Some(&(value % 1_000_000_000)) {
            return Err(format!("{our:?} comes behind {before}, and next are {next:?}"));
        }
        before = instance;
        next[client] += 1;
    }
    let each = values / CLIENTS;
    if next.iter().any(|count| *count != each) {
        return Err(format!("{next:?} values of {each} each are in the learners' files"));
    }
    Ok(())
}

/// The time until a value is decided.
fn next_decision(cluster: &Cluster) -> Duration {
    let begin = Instant::now();
    cluster.ask(3, "auto");
    begin.elapsed()
}

/// Kills processes and restarts them. Prints how long their work is interrupted.
fn restarts(cluster: &mut Cluster) {
    println!("\n| what | seconds |\n|---|---:|");
    let tell = |what: &str, time: Duration| println!("| {what} | {:.2} |", time.as_secs_f64());
    tell("a value of a new client is decided", next_decision(cluster));
    cluster.kill("proposer1");
    tell("the same after the leader was killed", next_decision(cluster));
    cluster.spawn("proposer", 1);
    cluster.pause("acceptor3");
    cluster.kill("acceptor1");
    cluster.spawn("acceptor", 1);
    tell(
        "after an acceptor was killed that a quorum needs, and started again",
        next_decision(cluster),
    );
    cluster.go_on("acceptor3");
    let end = cluster.last_instance(1);
    cluster.kill("learner2");
    // Its file of before would say that it is there already.
    fs::remove_file(cluster.decided_file(2)).expect("it has written");
    let begin = Instant::now();
    cluster.spawn("learner", 2);
    while cluster.last_instance(2) < end && begin.elapsed() < SOON * 10 {
        thread::sleep(Duration::from_millis(10));
    }
    let values = cluster.decided(2);
    tell(
        &format!("a learner was killed, and has written the {values} kept values anew"),
        begin.elapsed(),
    );
    let names: Vec<String> = cluster.processes.iter().map(|(name, _)| name.clone()).collect();
    names.iter().for_each(|name| cluster.kill(name));
    for name in &names {
        let (role, id) = name.split_at(name.len() - 1);
        cluster.spawn(role, id.parse().expect("an id"));
    }
    tell("after everything was killed at once, and started again", next_decision(cluster));
    let largest = cluster.memory_peaks().into_iter().max_by_key(|(_, bytes)| *bytes);
    let (name, bytes) = largest.expect("processes run");
    println!("\nmost memory meanwhile: {name}, {} MiB", bytes >> 20);
}

/// The rate and the memory over time.
fn draw(samples: &[Sample]) -> Result<(), String> {
    let folder = Path::new(FOLDER);
    // Steps of a fiftieth of the run: each second of its own would show how this host is shared.
    let step = (samples.len() / 50).max(1);
    let marks: Vec<&Sample> = samples.iter().step_by(step).collect();
    let points = marks.windows(2).map(|pair| {
        let seconds = pair[1].seconds - pair[0].seconds;
        (pair[1].seconds, (pair[1].instances - pair[0].instances) as f64 / seconds)
    });
    let title = "Instances decided a second, while the log grows";
    let axes = ("seconds", "instances a second");
    let lines = [Line { name: "eleven processes".to_owned(), points: points.collect() }];
    Chart { title, axes, logarithmic: (false, false) }
        .draw(&folder.join("endurance.svg"), &lines)?;
    let most = |sample: &Sample, role: &str| {
        let of_role = sample.memory.iter().filter(|(name, _)| name.starts_with(role));
        of_role.map(|(_, bytes)| *bytes).max().unwrap_or(0) as f64 / f64::from(1 << 20)
    };
    let lines = ["acceptor", "proposer", "learner", "client"].map(|role| Line {
        name: role.to_owned(),
        points: marks.iter().map(|sample| (sample.seconds, most(sample, role))).collect(),
    });
    let title = "Memory of the largest process of each role";
    let chart = Chart { title, axes: ("seconds", "MiB"), logarithmic: (false, false) };
    chart.draw(&folder.join("endurance-memory.svg"), &lines)
}

/// Prints the peaks. Returns those beyond their limits.
fn peaks(samples: &[Sample]) -> Vec<String> {
    let mut beyond = Vec::new();
    let mib = |bytes: u64| bytes >> 20;
    println!("\n| process | memory at most, MiB | disk at most, MiB |\n|---|---:|---:|");
    let mut names: Vec<&String> =
        samples.iter().flat_map(|sample| &sample.peaks).map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    for name in names {
        let memories = samples.iter().flat_map(|sample| &sample.peaks);
        let memory = memories.filter(|(own, _)| own == name).map(|(_, bytes)| *bytes).max();
        let memory = memory.unwrap_or(0);
        let place = name.strip_prefix("acceptor").and_then(|id| id.parse::<usize>().ok());
        let disk = place.and_then(|id| samples.iter().map(|sample| sample.disk[id - 1]).max());
        let told = disk.map_or(String::new(), |bytes| mib(bytes).to_string());
        println!("| {name} | {} | {told} |", mib(memory));
        if memory > MEMORY_MAX {
            beyond.push(format!("{name} took {} MiB of memory", mib(memory)));
        }
        if let Some(disk) = disk.filter(|disk| *disk > DISK_MAX) {
            beyond.push(format!("{name} had {} MiB on disk", mib(disk)));
        }
    }
    beyond
}

/// Runs as the words say.
pub fn run(mut words: impl Iterator<Item = String>) -> ExitCode {
    let mut values = 1_000_000;
    while let Some(word) = words.next() {
        match (word.as_str(), words.next().and_then(|value| value.parse::<u64>().ok())) {
            ("--values", Some(given)) => values = given / CLIENTS * CLIENTS,
            _ => panic!("there is no option {word}, or it takes a number"),
        }
    }
    let mut cluster = Cluster::start(SHAPE);
    let samples = match load(&mut cluster, values) {
        Ok(samples) => samples,
        Err(why) => return refuse(&[why]),
    };
    let Some(last) = samples.last() else { return refuse(&["nothing was seen".to_owned()]) };
    let rate = last.instances as f64 / last.seconds;
    println!(
        "{values} values of 10 bytes, {} instances, {:.0} s, {rate:.0} a second",
        last.instances, last.seconds
    );
    let mut wrong = peaks(&samples);
    wrong.extend(judge(&cluster, values).err());
    restarts(&mut cluster);
    wrong.extend(draw(&samples).err());
    if wrong.is_empty() {
        println!("\nboth learners have every value once, in the order of its client");
        return ExitCode::SUCCESS;
    }
    refuse(&wrong)
}

fn refuse(wrong: &[String]) -> ExitCode {
    wrong.iter().for_each(|line| eprintln!("endurance: {line}"));
    ExitCode::FAILURE
}
