//! A test over the sources: what belongs where, and what belongs nowhere.

// A test that cannot set itself up has failed.
#![allow(clippy::unwrap_used)]

mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use sources::without_tests;

/// A source file: its path from the project's root, and its text.
struct Source {
    path: String,
    text: String,
}

/// The files below `folder` whose name ends in `ending`.
fn sources(folder: &str, ending: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                // Packages of their own build beside their sources.
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.to_string_lossy().ends_with(ending) {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no {ending} files");
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn rust() -> Vec<Source> {
    ["src", "tests", "benches", "fuzz/fuzz_targets", "kv/src", "kv/tests"]
        .into_iter()
        .flat_map(|folder| sources(folder, ".rs"))
        .collect()
}

fn scripts() -> Vec<Source> {
    ["bash", "docker", "systemd", "kv"]
        .into_iter()
        .flat_map(|folder| sources(folder, ".sh"))
        .collect()
}

/// The sources of the library and the program, without tests.
static CODE: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let is_code = |source: &Source| !source.path.ends_with("tests.rs");
    let code = |source: Source| Source { text: without_tests(&source.text), ..source };
    sources("src", ".rs").into_iter().filter(is_code).map(code).collect()
});

/// Demands that nothing but `allowed` mentions `word`.
fn only(word: &str, allowed: &[&str]) {
    for source in &*CODE {
        let is_allowed = allowed.iter().any(|path| source.path.starts_with(path));
        let mentions = source.text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains(word)
        });
        assert!(is_allowed || !mentions, "{} uses {word}; see ARCHITECTURE.md", source.path);
    }
}

#[test]
fn every_file_says_what_it_is() {
    for source in rust() {
        assert!(source.text.starts_with("//! "), "{} does not begin with `//!`", source.path);
    }
}

#[test]
fn files_and_lines_are_short_enough_to_read() {
    for source in rust() {
        let lines = without_tests(&source.text).lines().count();
        assert!(lines <= 650, "{} has {lines} lines; does it still do one thing?", source.path);
        for (number, line) in (1..).zip(source.text.lines()) {
            assert!(line.chars().count() <= 100, "{}:{number} is too long", source.path);
        }
    }
}

#[test]
fn nothing_is_left_unfinished() {
    // Put together, or this file would find itself.
    let marks = ["todo", "unimplemented", "dbg"].map(|mark| format!("{mark}!("));
    let notes =
        ["FIX", "TO"].map(|start| format!("{start}{}", if start == "TO" { "DO" } else { "ME" }));
    for source in rust().into_iter().chain(scripts()) {
        for mark in marks.iter().chain(&notes) {
            assert!(!source.text.contains(mark), "{} contains {mark}", source.path);
        }
    }
}

#[test]
fn the_protocol_is_pure() {
    for source in sources("src/protocol", ".rs") {
        let code = without_tests(&source.text);
        for word in [
            "std::net",
            "std::fs",
            "std::io",
            "std::thread",
            "std::env",
            "std::sync::Mutex",
            "Instant::",
            "SystemTime",
            "HashMap",
            "HashSet",
            "crate::net",
            "crate::runtime",
            "crate::wire",
            "crate::storage",
            "crate::results",
            "crate::config",
            "crate::cli",
            "crate::clock",
            "crate::sim",
        ] {
            assert!(!code.contains(word), "{} uses {word}", source.path);
        }
    }
}

/// The protocol is printed as it runs; its mistakes stand beside it (`protocol::parts`).
#[test]
fn the_algorithm_mentions_no_bugs() {
    let is_apart = |source: &Source| source.path.ends_with("/mistakes.rs");
    for source in sources("src/protocol", ".rs") {
        let has_bugs = source.text.contains("bugs::");
        assert_eq!(has_bugs, is_apart(&source), "{}", source.path);
    }
}

/// Pictures are drawn from a record of what happened, or drawing could change what happens.
#[test]
fn pictures_know_no_role() {
    for source in sources("src/picture", ".rs") {
        for role in
            ["proposer::", "acceptor::", "learner::", "client::", "sim::node", "sim::cluster"]
        {
            let code = without_tests(&source.text);
            assert!(!code.contains(role), "{} uses {role}", source.path);
        }
    }
}

#[test]
fn a_page_is_short_enough_to_read() {
    for (name, most) in [("page.js", 800), ("page.css", 200)] {
        let lines = sources("src/picture", name).remove(0).text.lines().count();
        assert!(lines <= most, "{name} has {lines} lines");
    }
}

#[test]
fn each_edge_has_one_place() {
    only("bincode", &["src/wire"]);
    only("hmac::", &["src/auth/seal.rs"]);
    only(
        "sha2::",
        &[
            "src/auth/seal.rs",
            "src/picture/page.rs",
            "src/results/digest.rs",
            "src/snapshots/file.rs",
        ],
    );
    let system = [
        "src/auth/key.rs",
        "src/clock.rs",
        "src/embed/descriptor.rs",
        "src/net/multicast.rs",
        "src/net/readiness.rs",
        "src/runtime/metrics/http.rs",
        "src/runtime/parent.rs",
        "src/runtime/spool.rs",
        "src/stdio.rs",
        "src/storage/directory.rs",
    ];
    only("rustix::", &system);
    only("socket2", &["src/net/multicast.rs"]);
    only("env_logger", &["src/logging"]);
    only("(io::stdin()", &["src/stdio.rs"]);
    only("getrandom::", &["src/runtime/entropy.rs"]);
    only("/dev/urandom", &[]);
    only("Instant::now", &["src/clock.rs"]);
    only("SystemTime::now", &[]);
    only("unsafe", &[]);
    only("httparse", &["src/runtime/metrics/http.rs"]);
    only("TcpListener", &["src/runtime/metrics/"]);
    let drivers = ["src/runtime", "src/cli.rs", "src/cli/", "src/embed", "src/fuzzing"];
    only("crate::runtime", &drivers);
    only("crate::embed", &["src/embed"]);
    // A program that builds on the library keeps its process to itself.
    only("signal_hook", &["src/runtime/ending.rs"]);
    only("process::exit", &["src/runtime/ending.rs"]);
    let environment = ["src/config.rs", "src/main.rs", "src/runtime/parent.rs", "src/sim/hunt.rs"];
    only("std::env", &environment);
    only("crate::simulate", &["src/cli.rs", "src/cli/"]);
    only("crate::doctor", &["src/cli.rs", "src/cli/", "src/status/"]);
    only("crate::status", &["src/cli.rs", "src/cli/"]);
    only("crate::cli", &[]);
    let sim = ["src/sim/", "src/simulate.rs", "src/cli/scenario.rs", "src/fuzzing", "src/picture/"];
    only("crate::sim::", &sim);
    let pictures = ["src/simulate.rs", "src/cli/picture.rs", "src/picture/", "src/report/"];
    only("crate::picture", &pictures);
    only("crate::fuzzing", &["src/fuzzing"]);
    only("HashMap", &["src/results"]);
}

/// The store is a user of the library like any other: it takes the names at the root, which are the
/// public face.
#[test]
fn the_store_has_no_private_entrance() {
    for source in sources("kv/src", ".rs") {
        for part in source.text.split("multi_paxos::").skip(1) {
            let is_of_the_root =
                part.starts_with(|letter: char| "{ABCDEFGHIJKLMNOPQRSTUVWXYZ".contains(letter));
            assert!(
                is_of_the_root,
                "{} uses multi_paxos::{}",
                source.path,
                &part[..20.min(part.len())]
            );
        }
    }
}

/// Its state follows the log alone.
#[test]
fn the_store_is_pure() {
    for source in sources("kv/src/store", ".rs") {
        for word in [
            "std::net",
            "std::fs",
            "std::thread",
            "SystemTime",
            "Instant",
            "crate::clock",
            "HashMap",
        ] {
            assert!(!without_tests(&source.text).contains(word), "{} uses {word}", source.path);
        }
    }
}

/// Nothing else sees to it: a thread that panics would leave its process half alive.
#[test]
fn a_panic_ends_the_process() {
    let main = sources("src", "main.rs").remove(0).text;
    assert!(main.contains("logging::abort_on_panic();"), "src/main.rs does not abort on a panic");
}

#[test]
fn scripts_stop_at_the_first_error() {
    for source in scripts() {
        assert!(source.text.starts_with("#!/usr/bin/env bash\n#"), "{}", source.path);
        let is_sourced = source.path.ends_with("lib.sh");
        assert!(is_sourced || source.text.contains("set -euo pipefail"), "{}", source.path);
    }
}
