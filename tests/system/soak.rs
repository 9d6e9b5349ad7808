//! Short soaks: a durable cluster under random faults, with the script that also does long ones.

use std::process::Command;

use crate::world::{PAXOS, World, script, text};

/// The same faults in the same order each time.
const SEED: &str = "5";

/// Runs the script for `seconds` seconds. Returns its output, once all checks hold.
fn soak(seconds: &str, limits: &str) -> String {
    let _slot = World::new();
    let folder = tempfile::tempdir().unwrap();
    let run = Command::new(script("soak.sh"))
        .args([seconds, SEED])
        .current_dir(folder.path())
        .env("PAXOS_BIN", PAXOS)
        .env("TMPDIR", folder.path())
        .env("LIMITS", limits)
        .output()
        .unwrap();
    let said = format!("{}{}", text(&run.stdout), text(&run.stderr));
    assert_eq!(run.status.code(), Some(0), "{said}");
    for words in ["learner1 is killed", "proposer3 is killed", " is paused"] {
        assert!(said.contains(words), "not a word of `{words}`: {said}");
    }
    said
}

#[test]
fn fifteen_seconds_of_faults() {
    let said = soak("15", "0");
    let verdict = "Integrity: True\nAgreement: True\nTermination: True (100%)\n";
    assert!(said.contains(verdict), "{said}");
}

#[test]
fn a_minute_of_kills_while_most_of_the_log_is_removed() {
    let said = soak("60", "1");
    assert!(said.contains("earlier lives of learners: "), "{said}");
}
