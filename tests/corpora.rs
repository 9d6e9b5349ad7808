//! Replays the corpora of the fuzz targets, so that what a fuzzer found once stays found.

// A test that cannot set itself up has failed.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use multi_paxos::fuzzing::{TARGETS, Target};

/// Runs `target` over every file of its corpus, and returns how many there are.
fn replay(name: &str, target: Target) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        // Of the last of these lines is the file that fails; passing tests keep it to themselves.
        println!("{}", file.display());
        target(&fs::read(file).unwrap());
    }
    files.len()
}

#[test]
fn every_file_of_every_corpus_still_passes() {
    for (name, target) in TARGETS {
        let count = replay(name, target);
        assert!(count > 0, "{name} has no corpus");
        println!("{name}: {count} files");
    }
}

/// A corpus without a target, or a target without an entry in the table, would run nowhere.
#[test]
fn corpora_and_targets_are_those_of_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut table: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    table.sort();
    for folder in ["corpus", "fuzz_targets"] {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(|entry| stem(entry.unwrap().path())).collect();
        names.sort();
        assert_eq!(names, table, "{folder}");
    }
}
