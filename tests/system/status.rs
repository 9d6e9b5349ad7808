//! The output of `paxos status` for a cluster, with and without a quorum.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::world::{Network, PAXOS, SOON, World, happens, text, values};

/// Its output, and its exit status.
struct Said {
    lines: Vec<String>,
    sentence: String,
    status: Option<i32>,
}

fn look(world: &World, arguments: &[&str]) -> Said {
    let mut command = Command::new(PAXOS);
    command.arg("--conf").arg(world.conf()).arg("status").args(arguments);
    let output = command.current_dir(world.path("")).output().unwrap();
    Said {
        lines: text(&output.stdout).lines().map(str::to_owned).collect(),
        sentence: text(&output.stderr),
        status: output.status.code(),
    }
}

impl Said {
    /// The line of a process, its pieces with one blank between them.
    fn of(&self, node: &str) -> String {
        let words = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = self.lines.iter().map(words).find(|line| line.starts_with(&format!("{node} ")));
        line.unwrap_or_else(|| panic!("{node} is not among {:?}", self.lines))
    }

    fn names(&self) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line.split(' ').next()).collect()
    }
}

#[test]
fn a_cluster_at_work_has_a_line_for_each_process() {
    let mut world = World::over(Network::Multicast);
    world.configure(&format!("data {}", world.path("data").display()));
    world.start_cluster(2, "0");
    for id in 1..=2 {
        world.feed(id, values(&format!("v{id}"), 500).as_bytes(), &["0", "0", "auto"]);
    }
    world.await_lines(&[1, 2], 1000, SOON);
    assert!(happens(SOON, || look(&world, &[]).status == Some(0)));
    let said = look(&world, &[]);
    assert_eq!(said.names(), ["P1", "P2", "A1", "A2", "A3", "L1", "L2"], "{}", said.sentence);
    assert!(said.sentence.contains("3 of 3 acceptors answer it"), "{}", said.sentence);
    let leads = ["P1", "P2"].iter().filter(|node| said.of(node).contains(" leads ")).count();
    assert_eq!(leads, 1, "{:?}", said.lines);
    for node in ["P1", "P2", "L1", "L2"] {
        assert!(said.of(node).contains(" lag 0 "), "{}", said.of(node));
    }
    for node in ["A1", "A2", "A3"] {
        assert!(said.of(node).contains(" accepted 1"), "{}", said.of(node));
    }
    assert_eq!(look(&world, &["--strict"]).status, Some(0));
    let json = look(&world, &["--json"]);
    assert_eq!((json.status, json.lines.len(), json.sentence.as_str()), (Some(0), 1, ""));
    let json: serde_json::Value = serde_json::from_str(&json.lines[0]).unwrap();
    assert_eq!((&json["healthy"], &json["leader"]["answered_by"]), (&true.into(), &3.into()));
    assert_eq!(json["processes"].as_array().unwrap().len(), 7);
    // Nobody was disturbed.
    world.expect_all_delivered();
    for name in ["acceptor1", "proposer1", "learner1"] {
        assert!(world.complaints(name).is_empty(), "{}", world.said(name));
    }
}

#[test]
fn without_a_quorum_the_status_is_1() {
    let mut world = World::over(Network::Multicast);
    // An acceptor must come back with its promise.
    world.configure(&format!("data {}", world.path("data").display()));
    let said = look(&world, &["--seconds", "0.3"]);
    assert_eq!((said.status, said.lines.len()), (Some(1), 0));
    assert!(said.sentence.contains("is heard; `paxos doctor`"), "{}", said.sentence);
    world.start_all("acceptor", 3, &[]);
    // Acceptors alone speak when they are asked.
    let all_there = || look(&world, &[]).names() == ["A1", "A2", "A3"];
    assert!(happens(SOON, all_there));
    let said = look(&world, &[]);
    assert_eq!(said.status, Some(1), "{}", said.sentence);
    assert!(said.sentence.contains("nobody leads"), "{}", said.sentence);
    world.start_all("proposer", 2, &[]);
    assert!(happens(SOON, || look(&world, &[]).status == Some(0)));
    // One of three acceptors may fail, and not two.
    world.kill("acceptor1");
    assert!(happens(SOON, || look(&world, &[]).sentence.contains("2 of 3 acceptors answer it")));
    assert_eq!(look(&world, &[]).status, Some(0));
    assert_eq!(look(&world, &["--strict"]).status, Some(3));
    world.kill("acceptor2");
    assert!(happens(SOON, || look(&world, &["--strict"]).status == Some(1)));
    assert!(happens(SOON, || look(&world, &[]).status == Some(1)));
    world.start("acceptor2", &[]);
    assert!(happens(SOON, || look(&world, &[]).status == Some(0)));
}

#[test]
fn with_a_key_only_who_has_it_is_told() {
    let mut world = World::over(Network::Multicast);
    world.make_key("own.key");
    world.configure(&format!("key_file {}", world.path("own.key").display()));
    world.start_cluster(2, "0");
    assert!(happens(SOON, || look(&world, &[]).status == Some(0)));
    let said = look(&world, &[]);
    assert_eq!(said.names(), ["P1", "P2", "A1", "A2", "A3", "L1", "L2"], "{}", said.sentence);
    world.configure("");
    if !crate::world::has_keys() {
        let said = look(&world, &[]);
        assert_eq!((said.status, said.lines.len()), (Some(1), 0), "{:?}", said.lines);
        assert!(said.sentence.contains("sealed with a key, and there is none here"));
    }
}

#[test]
fn watching_goes_on_until_nobody_reads() {
    let mut world = World::over(Network::Multicast);
    world.start_cluster(1, "0");
    let mut command = Command::new(PAXOS);
    command.arg("--conf").arg(world.conf()).args(["status", "--watch", "--seconds", "0.3"]);
    let mut watching = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut blocks = 0;
    {
        use std::io::{BufRead, BufReader};
        let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
        for line in lines.map(Result::unwrap) {
            assert!(!line.contains('\u{1b}'), "it is no terminal: {line:?}");
            blocks += usize::from(line.is_empty());
            if blocks == 3 {
                break;
            }
        }
    }
    assert_eq!(blocks, 3);
    // The pipe is closed.
    let mut status = None;
    assert!(happens(Duration::from_secs(10), || {
        status = watching.try_wait().unwrap();
        status.is_some()
    }));
    assert_eq!(status.unwrap().code(), Some(0));
}

#[test]
fn what_cannot_be_heard_is_refused() {
    let world = World::over(Network::Unicast);
    let said = look(&world, &[]);
    assert_eq!((said.status, said.sentence.lines().count()), (Some(2), 1), "{}", said.sentence);
    assert!(said.sentence.contains("the proposers are a list of members"), "{}", said.sentence);
    assert_eq!(look(&world, &["--loudly"]).status, Some(2));
}
