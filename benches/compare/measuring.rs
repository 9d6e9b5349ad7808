//! The measuring itself: every run that is wanted, once a round.

use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::cluster::wire::Links;
use crate::cluster::{FOLDER, Shape, has_nodes};
use crate::figures::{Figures, OTHER, Row};
use crate::rows::ROWS;
use crate::{embedded, links, works};

const DURABLE: Shape = Shape { conf: "DATA\n", ..Shape::PLAIN };
const BLOCKING: Shape = Shape { conf: "busy_poll_us 0\n", ..Shape::PLAIN };
/// One thread for the roles of a node.
const SHARED: &str = "role_threads shared\n";
const SHARED_DURABLE: &str = "DATA\nrole_threads shared\n";
const KEYED: Shape = Shape { conf: "KEY\n", ..Shape::PLAIN };
/// The loss, in percent, for the chart of throughput against loss.
pub const LOSSES: [(&str, f64, &str); 5] = [
    ("x0", 0.0, "0"),
    ("x1", 1.0, "0.01"),
    ("x5", 5.0, "0.05"),
    ("x10", 10.0, "0.1"),
    ("x30", 30.0, "0.3"),
];
/// How many values are in flight where a chart shows what that does.
pub const SWEEP: [&str; 7] = ["1", "4", "16", "64", "256", "1024", "4096"];

/// What was asked for.
pub struct Asked {
    /// The command that was typed, if given.
    pub command: String,
    /// How often each figure is measured.
    pub rounds: u32,
    seconds: String,
    only: Vec<String>,
    limit: Option<String>,
    libraries: Option<String>,
    libpaxos: Option<String>,
    etcd: Option<String>,
    /// Another build of `paxos`.
    pub against: Option<&'static str>,
    /// Whether rows that need network namespaces are demanded, or left out; otherwise they are
    /// measured where they can be.
    wire: Option<bool>,
    long: bool,
}

impl Asked {
    /// Reads the command line; none when it is empty or cannot be followed.
    pub fn parse(words: impl Iterator<Item = String>) -> Option<Self> {
        let mut asked = Asked {
            command: "cargo bench --bench compare".to_owned(),
            rounds: 5,
            seconds: "1".to_owned(),
            only: Vec::new(),
            limit: None,
            libraries: None,
            libpaxos: None,
            etcd: None,
            against: None,
            wire: None,
            long: false,
        };
        let mut words = words.peekable();
        words.peek()?;
        while let Some(word) = words.next() {
            let value = words.next()?;
            match word.as_str() {
                "--command" => asked.command = value,
                "--rounds" => asked.rounds = value.parse().ok()?,
                "--seconds" => asked.seconds = value,
                "--only" => asked.only = value.split(',').map(str::to_owned).collect(),
                "--limit" => asked.limit = Some(value),
                "--libraries" => asked.libraries = Some(value),
                "--libpaxos" => asked.libpaxos = Some(value),
                "--etcd" => asked.etcd = Some(value),
                "--against" => asked.against = Some(String::leak(value)),
                "--wire" => asked.wire = Some(value == "1"),
                "--long" => asked.long = value == "1",
                _ => return None,
            }
        }
        Some(asked)
    }

    /// Whether it can be done.
    ///
    /// # Errors
    ///
    /// Why not, in one sentence.
    pub fn check(&self) -> Result<(), String> {
        if let Some(unknown) = self.only.iter().find(|id| ROWS.iter().all(|row| row.id != **id)) {
            let mut known: Vec<&str> = ROWS.iter().map(|row| row.id).collect();
            known.dedup();
            return Err(format!("there is no row {unknown}; the rows are {}", known.join(",")));
        }
        if let Some(other) = self.against {
            let runs = Command::new(other).arg("--version").stdout(Stdio::null()).status();
            if !runs.is_ok_and(|status| status.success()) {
                return Err(format!("AGAINST={other} is no paxos"));
            }
        }
        if self.wire == Some(true) && !links::are_allowed() {
            return Err(format!("WIRE=1 demands {NAMESPACES}"));
        }
        Ok(())
    }

    /// Whether any row that needs this run is wanted.
    fn wants(&self, run: &str) -> bool {
        let is_wanted = |row: &Row| self.only.is_empty() || self.only.iter().any(|id| id == row.id);
        let is_judged = |row: &&Row| {
            let against = row.against.iter().any(|(against, _)| *against == run);
            row.ours.0 == run || against && self.against.is_none()
        };
        ROWS.iter().filter(is_judged).any(is_wanted)
    }
}

/// The requirement of some rows.
const NAMESPACES: &str = "network namespaces with bridges, tbf and nftables; run it as root";

/// The runs that need them.
const WIRE_RUNS: [&str; 8] = ["n1", "n1_nodes", "n2", "n3", "n4", "n5", "n_v64", "n_v1024"];

/// Runs the measurements.
pub struct Measuring {
    /// What was asked for.
    pub asked: Asked,
    /// The measurements so far.
    pub figures: Figures,
    round: u32,
    /// What could not be measured was told already.
    told: Vec<String>,
}

impl Measuring {
    /// Nothing is measured yet.
    pub fn new(asked: Asked) -> Self {
        Measuring { asked, figures: Figures::default(), round: 0, told: Vec::new() }
    }

    /// Runs all rounds, and the extra measurements for the charts.
    pub fn run(&mut self) {
        let has_wire = self.asked.wire != Some(false) && links::are_allowed();
        if !has_wire && WIRE_RUNS.iter().any(|run| self.asked.wants(run)) {
            let why = if links::are_allowed() { "WIRE=0" } else { NAMESPACES };
            eprintln!("SKIPPED: the rows of hosts with links of their own: {why}");
        }
        for round in 1..=self.asked.rounds {
            self.round = round;
            self.alone();
            self.in_load();
            self.in_process();
            self.in_trouble();
            if has_wire {
                self.on_links();
            }
        }
        if self.asked.only.is_empty() && self.asked.against.is_none() {
            self.sweep();
        }
        eprintln!();
    }

    /// Keeps what `run` printed, or says once why there is nothing.
    fn add(&mut self, name: &str, printed: Result<Json, String>) {
        match printed {
            Ok(printed) => self.figures.add(name, self.round, printed),
            Err(said) if !self.told.iter().any(|told| told == name) => {
                eprintln!("\rSKIPPED: {name}: {said}");
                self.told.push(name.to_owned());
            }
            Err(_) => {}
        }
    }

    /// Whether a run is wanted; if so, says that it begins.
    fn begins(&self, name: &str) -> bool {
        let wanted = self.asked.wants(name);
        if wanted {
            eprint!("\rround {} of {}: {name:14}", self.round, self.asked.rounds);
        }
        wanted
    }

    /// A run of ours; of another build as well, when there is one, now before and now after ours.
    fn ours(&mut self, name: &str, run: impl Fn(&'static str, &str) -> Result<Json, String>) {
        if !self.begins(name) {
            return;
        }
        let mut builds = vec![(name.to_owned(), Shape::PLAIN.program)];
        builds.extend(self.asked.against.map(|other| (format!("{name}{OTHER}"), other)));
        if self.round.is_multiple_of(2) {
            builds.reverse();
        }
        for (name, program) in builds {
            let printed = run(program, &self.asked.seconds);
            self.add(&name, printed);
        }
    }

    /// A load of ours on a fresh cluster.
    fn load(&mut self, name: &str, shape: Shape, options: &[&str]) {
        let run =
            |program, seconds: &str| works::bench(Shape { program, ..shape }, options, seconds);
        self.ours(name, run);
    }

    /// A load of ours on three processes that have all roles.
    fn nodes(&mut self, name: &str, conf: &'static str, options: &[&str]) {
        self.ours(name, |program, seconds| {
            has_nodes_or_says(program)?;
            works::bench(Shape { program, nodes: 3, conf, ..Shape::PLAIN }, options, seconds)
        });
    }

    /// Another program, if there is one.
    fn other(&mut self, name: &str, program: fn(&Asked) -> Option<&String>, options: &[&str]) {
        let Some(path) = program(&self.asked).cloned().filter(|_| self.begins(name)) else {
            return;
        };
        let printed = other(&path, options, &self.asked.seconds);
        self.add(name, printed);
    }

    fn limit(&mut self, name: &str, options: &[&str]) {
        self.other(name, |asked| asked.limit.as_ref(), options);
    }

    fn library(&mut self, name: &str, options: &[&str]) {
        self.other(name, |asked| asked.libraries.as_ref(), options);
    }

    fn libpaxos(&mut self, name: &str, outstanding: &str) {
        self.other(name, |asked| asked.libpaxos.as_ref(), &["--outstanding", outstanding]);
    }

    fn etcd(&mut self, name: &str, outstanding: &str, data: &str) {
        let options = ["--outstanding", outstanding, "--data", data];
        self.other(name, |asked| asked.etcd.as_ref(), &options);
    }

    /// One value at a time, and small ones in flight.
    fn alone(&mut self) {
        let single = SINGLE;
        self.limit("l1_limit", &["--outstanding", "1"]);
        self.load("l1", Shape::PLAIN, &["--outstanding", "1"]);
        self.libpaxos("l2_libpaxos", "1");
        self.library("l1_omnipaxos", &["omnipaxos", "--outstanding", "1"]);
        self.nodes("h1", "", &["--outstanding", "1"]);
        self.nodes("h1_shared", SHARED, &["--outstanding", "1"]);
        self.limit("l1b_limit", &["--outstanding", "1", "--busy-poll-us", "0"]);
        self.load("l1b", BLOCKING, &["--outstanding", "1"]);
        self.ours("l5", |program, seconds| Ok(works::talk(program, seconds)));
        self.limit("t1_limit", &single);
        self.load("t1", Shape::PLAIN, &single);
        self.load("k1", KEYED, &single);
        self.library("t1_omnipaxos", &[&["omnipaxos"], &single[..]].concat());
        self.library("t1_raft", &[&["raft"], &single[..]].concat());
        self.nodes("h3", "", &single);
        self.nodes("h3_shared", SHARED, &single);
        self.libpaxos("t5_libpaxos", "64");
        self.load("t5", Shape::PLAIN, &["--outstanding", "64"]);
        self.etcd("t6_etcd", "64", "/dev/shm");
    }

    /// Large values, many values, many clients, and a disk.
    fn in_load(&mut self) {
        self.limit("t2_limit", &["--outstanding", "256", "--values-per-datagram", "16"]);
        self.load("t2", Shape::PLAIN, &["--outstanding", "4096"]);
        self.ours("m1", works::crowd);
        for (name, outstanding, size) in [("v1", "64", "1024"), ("v8", "32", "8192")] {
            let load = ["--outstanding", outstanding, "--size", size];
            self.limit(&format!("{name}_limit"), &load);
            self.limit(&format!("{name}_keeping"), &[&load[..], &["--keep", "1"]].concat());
            self.load(name, Shape::PLAIN, &load);
        }
        // The limit knows nothing longer than a datagram: as many bytes in flight, in few of them.
        for (name, size, (parts, part)) in
            [("v64", "65536", ("8", "32768")), ("v1024", "1048576", ("68", "61681"))]
        {
            let parts = ["--outstanding", parts, "--size", part, "--keep", "1"];
            self.limit(&format!("{name}_keeping"), &parts);
            self.load(name, Shape::PLAIN, &["--outstanding", "4", "--size", size]);
        }
        self.limit("disk", &["--disk", FOLDER]);
        self.load("d1", DURABLE, &["--outstanding", "1"]);
        self.nodes("h1_durable", DURABLE.conf, &["--outstanding", "1"]);
        self.nodes("h1_durable_shared", SHARED_DURABLE, &["--outstanding", "1"]);
        self.load("d2", DURABLE, &SINGLE);
        self.etcd("d3_etcd", "64", FOLDER);
        self.etcd("d4_etcd", "1", FOLDER);
        for (name, batch) in [("p1", "1"), ("p64", "64")] {
            self.library(&format!("{name}_omnipaxos"), &["memory-omnipaxos", "--batch", batch]);
            self.library(name, &["memory-ours", "--batch", batch]);
        }
    }

    /// The library in this process, which is of one build.
    fn in_process(&mut self) {
        if self.asked.against.is_some() {
            return;
        }
        let (seconds, round) = (self.asked.seconds.clone(), self.round);
        if self.begins("e1") {
            let printed = embedded::propose(&seconds, round);
            self.add("e1", printed);
        }
        for (name, load) in [("e2", &SINGLE[..]), ("e2_packed", &["--outstanding", "4096"])] {
            if self.begins(name) {
                let printed = embedded::follow(load, &seconds, round);
                self.add(name, printed);
            }
        }
    }

    /// With loss, without a leader, late, and long.
    fn in_trouble(&mut self) {
        for (name, _, loss) in LOSSES {
            let assigned = [&SINGLE[..], &["--first-instance", "1"]].concat();
            self.load(name, Shape { loss, ..Shape::PLAIN }, &assigned);
        }
        self.ours("f1", |program, _| works::fail_over(program));
        self.ours("s1", |program, _| Ok(works::feed(program)));
        self.ours("c1", |program, _| works::catch_up(program));
        let longest = if self.asked.long { 10_000_000 } else { 1_000_000 };
        self.ours("g1", |program, _| works::grow(program, longest));
    }

    /// A host for every process, on links that carry little.
    fn on_links(&mut self) {
        for (name, bytes, outstanding, loss_percent) in [
            ("n1", "1024", "64", 0),
            ("n2", "64", "1024", 0),
            ("n3", "1024", "1024", 0),
            ("n5", "1024", "64", 2),
        ] {
            let links = Links { loss_percent, ..links::FAST_ETHERNET };
            let load = links::Load { bytes, outstanding };
            self.ours(name, |program, seconds| links::shares(program, links, load, seconds));
        }
        let load = links::Load { bytes: "1024", outstanding: "64" };
        self.ours("n1_nodes", |program, seconds| {
            has_nodes_or_says(program)?;
            let shape = Shape { program, nodes: 3, ..Shape::PLAIN };
            links::share(shape, links::FAST_ETHERNET, load, seconds)
        });
        self.ours("n4", links::fairness);
        for (name, bytes) in [("n_v64", "65536"), ("n_v1024", "1048576")] {
            let load = links::Load { bytes, outstanding: "4" };
            let links = links::FAST_ETHERNET;
            let run = |program, seconds: &str| {
                links::share(links::roles_apart(program, 1), links, load, seconds)
            };
            self.ours(name, run);
        }
    }

    /// Measurements for the charts that are not in the table: each once.
    fn sweep(&mut self) {
        self.round = 0;
        for outstanding in SWEEP {
            let load = ["--outstanding", outstanding];
            let seconds = self.asked.seconds.clone();
            let ours = works::bench(Shape::PLAIN, &load, &seconds);
            self.add(&format!("sweep_{outstanding}"), ours);
            if let Some(limit) = self.asked.limit.clone() {
                let printed = other(&limit, &load, &seconds);
                self.add(&format!("sweep_limit_{outstanding}"), printed);
            }
        }
    }
}

/// Whether there are rows of nodes with this program.
fn has_nodes_or_says(program: &str) -> Result<(), String> {
    has_nodes(program).then_some(()).ok_or_else(|| format!("{program} has no command `node`"))
}

/// 64 values in flight, each in a datagram of its own.
const SINGLE: [&str; 4] = ["--outstanding", "64", "--values-per-datagram", "1"];

/// Another program, which prints one JSON object, or why it cannot.
fn other(program: &str, options: &[&str], seconds: &str) -> Result<Json, String> {
    let output = Command::new(program).args(options).args(["--seconds", seconds]).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let object = printed.lines().find_map(|line| serde_json::from_str(line).ok());
    object.ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("{program} {options:?}: {}", said.lines().last().unwrap_or("it said nothing"))
    })
}
