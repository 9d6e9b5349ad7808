//! A short soak: a durable cluster under random faults, with the script that also does long ones.

use std::process::Command;

use crate::world::{PAXOS, World, script, text};

/// The same faults in the same order each time.
const SEED: &str = "5";

#[test]
fn fifteen_seconds_of_faults() {
    let _slot = World::new();
    let folder = tempfile::tempdir().unwrap();
    let run = Command::new(script("soak.sh"))
        .args(["15", SEED])
        .current_dir(folder.path())
        .env("PAXOS_BIN", PAXOS)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let said = format!("{}{}", text(&run.stdout), text(&run.stderr));
    assert_eq!(run.status.code(), Some(0), "{said}");
    for words in [
        "learner1 is killed",
        "proposer3 is killed",
        " is paused",
        "Integrity: True\nAgreement: True\nTermination: True (100%)\n",
    ] {
        assert!(said.contains(words), "not a word of `{words}`: {said}");
    }
}
