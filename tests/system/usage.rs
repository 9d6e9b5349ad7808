//! Everything that can be typed wrong: one line on standard error, and status 2.

use std::fs;
use std::process::Command;

use crate::world::{PAXOS, SOON, World, happens, script, text};

/// Demands one line on standard error, nothing on standard output, and status 2.
fn expect_refusal(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{command:?}: {said}");
    assert!(output.stdout.is_empty(), "{command:?}: {}", text(&output.stdout));
    said
}

#[test]
fn the_scripts_refuse_what_they_cannot_follow() {
    let world = World::new();
    let conf = world.conf();
    let conf = conf.to_str().unwrap();
    let home = env!("CARGO_MANIFEST_DIR");
    let wrong: &[(&str, &[&str])] = &[
        ("acceptor.sh", &[]),
        ("acceptor.sh", &["1"]),
        ("acceptor.sh", &["0", conf]),
        ("acceptor.sh", &["4", conf]),
        ("acceptor.sh", &["one", conf]),
        ("acceptor.sh", &["1", "/nowhere/paxos.conf"]),
        ("acceptor.sh", &["1", conf, "1"]),
        ("acceptor.sh", &["1", conf, "-0.1"]),
        ("acceptor.sh", &["1", conf, "NaN"]),
        ("acceptor.sh", &["1", conf, "lots"]),
        ("acceptor.sh", &["1", conf, "0", "-1"]),
        ("acceptor.sh", &["1", conf, "0", "1", "1"]),
        ("learner.sh", &["1", conf, "0", "1", "1"]),
        ("learner.sh", &["-1", conf]),
        ("proposer.sh", &["1", conf, "0", "0", "2"]),
        ("proposer.sh", &["1", conf, "0", "0", "0", "yes"]),
        ("proposer.sh", &["1", conf, "0", "0", "0", "0", "0"]),
        ("client.sh", &["1", conf, "0", "0", "0"]),
        ("client.sh", &["1", conf, "0", "0", "-5"]),
        ("client.sh", &["1", conf, "0", "0", "later"]),
        ("client.sh", &["1", conf, "0", "0", "1", "1"]),
        ("generate.sh", &[]),
        ("generate.sh", &["-1"]),
        ("generate.sh", &["1", "2"]),
        ("check_results.sh", &["2"]),
        ("check_results.sh", &["0", "2"]),
        ("check_results.sh", &["2", "2", "perhaps"]),
        ("check_results.sh", &["2", "2", "true", "1"]),
        ("check_results.sh", &["2", "2"]),
        ("run.sh", &[]),
        ("run.sh", &[home]),
        ("run.sh", &["/nowhere", "10"]),
        ("run.sh", &[home, "ten"]),
        ("run.sh", &[home, "10", "x"]),
        ("run.sh", &[home, "10", "10", "1.5"]),
        ("run.sh", &[home, "10", "10", "0", "2"]),
        ("run.sh", &[home, "10", "10", "0", "0", "0", "0"]),
        ("copy_results_from_containers.sh", &["2"]),
        ("copy_results_from_containers.sh", &["2", "two"]),
    ];
    for (name, arguments) in wrong {
        expect_refusal(world.command(name).args(*arguments));
    }
}

/// Before anything is built or measured.
#[test]
fn the_scripts_that_measure_refuse_what_they_cannot_follow() {
    let world = World::new();
    fs::write(world.conf().with_file_name("no-program"), "").unwrap();
    for (name, arguments, variable, value) in [
        ("bench.sh", &["0"][..], "ONLY", "T1"),
        ("bench.sh", &["1", "1.5"], "ONLY", "T1"),
        ("bench.sh", &["1", "1", "1"], "ONLY", "T1"),
        ("bench.sh", &[], "WIRE", "yes"),
        ("bench.sh", &[], "AGAINST", "/nowhere/paxos"),
        ("bench.sh", &[], "AGAINST", "no-program"),
        ("axes.sh", &["many"], "ONLY", "loss"),
        ("axes.sh", &["1", "-1"], "ONLY", "loss"),
        ("axes.sh", &[], "AGAINST", "no-program"),
        ("endurance.sh", &["0"], "PROFILE", "ci"),
        ("soak.sh", &["5"], "LIMITS", "few"),
        ("upgrade.sh", &[], "PROFILE", "ci"),
        ("upgrade.sh", &["/nowhere/paxos"], "PROFILE", "ci"),
    ] {
        let said = expect_refusal(world.command(name).args(arguments).env(variable, value));
        assert!(said.starts_with(&format!("{name}: ")) || said.starts_with("usage: "), "{said}");
    }
}

#[test]
fn the_binary_refuses_what_it_cannot_follow() {
    for arguments in [
        &[][..],
        &["dance"],
        &["acceptor", "1"],
        &["--conf"],
        &["watch", "1"],
        &["simulate", "--loss", "2"],
    ] {
        let said = expect_refusal(Command::new(PAXOS).args(arguments));
        assert!(said.starts_with("paxos: "), "{said}");
    }
    for (arguments, words) in [
        (&["client", "1", "--los", "0"][..], "see `paxos client --help`"),
        (&["--los"], "see `paxos --help`"),
        (&["simulate", "--kill", "A4@1s"], "there is no A4"),
        (&["simulate", "--restart", "A4@1s"], "there is no A4, and acceptors cannot be added"),
        (&["log"], "missing command; `paxos log --help` lists them"),
        (&["log", "show", "--nothing"], "see `paxos log show --help`"),
        (&["simulate", "--isolate", "P3@1s", "--kill", "A1@1s"], "there is no P3"),
    ] {
        let said = expect_refusal(Command::new(PAXOS).args(arguments));
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn the_configuration_may_be_named_behind_the_command() {
    let world = World::new();
    let config = |arguments: &[&str]| {
        let mut command = Command::new(PAXOS);
        text(&command.args(arguments).current_dir(world.path("")).output().unwrap().stdout)
    };
    let conf = world.conf();
    let conf = conf.to_str().unwrap();
    let printed = config(&["config", "acceptor_count", "--conf", conf]);
    assert_eq!(printed, config(&["--conf", conf, "config", "acceptor_count"]));
    assert_eq!(printed, "3\n");
}

#[test]
fn a_bad_configuration_is_refused_with_its_line() {
    let world = World::new();
    let good = fs::read_to_string(world.conf()).unwrap();
    for (line, expected) in [
        ("clients 239.0.0.1 1", "paxos.conf:7: clients is given again; it stands on line 1"),
        (
            "acceptor_cuont 3",
            "paxos.conf:7: unknown key acceptor_cuont; did you mean acceptor_count?",
        ),
        ("interface 203.0.113.900", "203.0.113.900"),
    ] {
        fs::write(world.conf(), format!("{good}{line}\n")).unwrap();
        let said = expect_refusal(world.command("learner.sh").arg("1").arg(world.conf()));
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn without_a_binary_the_scripts_say_how_to_build_one() {
    let world = World::new();
    let said = expect_refusal(world.command("generate.sh").arg("1").env("PAXOS_BIN", "/nowhere"));
    assert!(said.contains("/nowhere"), "{said}");
}

#[test]
fn help_is_printed_and_no_error() {
    for arguments in [&["--help"][..], &["client", "--help"], &["help", "client"], &["--version"]] {
        let output = Command::new(PAXOS).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn scripts_have_help_as_well() {
    for (name, usage) in [
        ("client.sh", "usage: client.sh ID CONF [LOSS] [LIFETIME] [FIRST_INSTANCE]\n"),
        ("run.sh", "usage: run.sh PROJECT_DIR VALUES [LIFETIME]"),
        ("test_runs/leader_killed.sh", "Goal: "),
        ("../kv/run.sh", "usage: [METRICS=1] run.sh [BASE_PORT]\n"),
    ] {
        let output = Command::new(script(name)).arg("--help").output().unwrap();
        assert_eq!(
            (output.status.code(), text(&output.stderr)),
            (Some(0), String::new()),
            "{name}"
        );
        let said = text(&output.stdout);
        assert!(said.contains(usage) && !said.contains("refuse_unless"), "{name}: {said}");
    }
}

#[test]
fn generated_values_are_as_many_as_asked_for() {
    let output = Command::new(script("generate.sh")).arg("500").env("PAXOS_BIN", PAXOS).output();
    let printed = text(&output.unwrap().stdout);
    let distinct: std::collections::BTreeSet<&str> = printed.lines().collect();
    assert_eq!((printed.lines().count(), distinct.len()), (500, 500));
}

#[test]
fn the_command_line_documents_itself() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().to_str().unwrap();
    let output = Command::new(PAXOS).args(["man", pages]).output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
    for (page, words) in [("paxos.1", "agree on one ordered log"), ("paxos-lead.1", "PROPOSER")] {
        let page = fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(page.contains(words), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(PAXOS).args(["completions", shell]).output().unwrap();
        let script = text(&output.stdout);
        assert!(output.status.success() && script.contains("acceptor"), "{shell}: {script}");
    }
    // The completions of bash behind `paxos st`.
    let output = Command::new(PAXOS).args(["completions", "bash"]).output().unwrap();
    let asked = "\nCOMP_WORDS=(paxos st) COMP_CWORD=1; _paxos paxos st paxos; echo ${COMPREPLY[*]}";
    let script = text(&output.stdout) + asked;
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(text(&output.stdout), "status\n", "{}", text(&output.stderr));
    for wrong in [&["completions"][..], &["completions", "sh"], &["man"], &["man", "/nowhere"]] {
        let output = Command::new(PAXOS).args(wrong).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    }
}

#[test]
fn a_signal_asks_what_was_counted() {
    let mut world = World::new();
    world.start("node1", &[]);
    world.start("node2", &[]);
    assert!(happens(SOON, || world.said("node1").contains("leads with")));
    let asked = || {
        world.signal("node1", "-USR1");
        let said = world.said("node1");
        ["P1", "A1", "L1"]
            .iter()
            .all(|role| said.contains(&format!("{role} INFO  counted so far: received ")))
    };
    assert!(happens(SOON, asked), "{}", world.said("node1"));
}

/// Runs `paxos simulate`; returns its status and what it printed.
fn simulate(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(PAXOS).arg("simulate").args(arguments).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    (output.status.code(), text(&output.stdout))
}

#[test]
fn a_simulation_tells_its_story_and_ends_with_a_hash() {
    let asked = ["--seed", "7", "--loss", "0.3", "--kill-leader", "2s"];
    let (status, told) = simulate(&asked);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("fault: the leader is killed") && told.contains("P2 leads"), "{told}");
    let last = told.lines().last().unwrap_or_default();
    assert!(last.starts_with("trace hash ") && last.len() == 27, "{last}");
    assert_eq!(simulate(&asked).1, told, "the same seed, another run");
    assert_ne!(simulate(&["--seed", "8", "--loss", "0.3"]).1.lines().last(), Some(last));
}

#[test]
fn a_simulation_that_cannot_finish_says_so() {
    let asked = ["--kill", "A1@1s", "--kill", "A2@1s"];
    let (status, told) = simulate(&asked);
    assert_eq!(status, Some(3), "{told}");
    assert!(told.contains("not finished: ") && told.contains("see it: paxos simulate --seed 1"));
    assert!(told.lines().last().is_some_and(|line| line.starts_with("trace hash ")));
    let (status, told) = simulate(&["--seeds", "3", "--kill", "A1@1s", "--kill", "A2@1s"]);
    assert_eq!((status, told.lines().count()), (Some(3), 3), "{told}");
}

#[test]
fn many_seeds_are_judged() {
    let (status, told) = simulate(&["--seeds", "20"]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.starts_with("20 seeds, ") && told.contains("nothing broken"), "{told}");
}
