//! Replays the corpora of the fuzz targets, so that a bug found once stays found, and tries simple
//! mutations of them.

// A test that cannot set itself up has failed.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use multi_paxos::fuzzing::{TARGETS, Target};

/// The files of a corpus.
fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Runs `target` over every file of its corpus, and returns how many there are.
fn replay(name: &str, target: Target) -> usize {
    let files = corpus(name);
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

/// How many inputs a target gets. `FUZZ_SECONDS` gives it as many as it takes in that time, others
/// than those with `FUZZ_SEED`.
const INPUTS: u64 = 300;

/// xorshift64*, seeded: the same inputs at every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// A part of `bytes`.
    fn part(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let from = self.below(bytes.len() + 1);
        from..from + self.below((bytes.len() - from).min(64) + 1)
    }
}

/// An input: one in eight is random, the others are files that were changed here and there.
fn mutated(files: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const BYTES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xff];
    if random.below(8) == 0 {
        return (0..random.below(400)).map(|_| random.next() as u8).collect();
    }
    let mut bytes = files[random.below(files.len())].clone();
    for _ in 0..=random.below(6) {
        let (place, part) = (random.below(bytes.len()), random.part(&bytes));
        match random.below(6) {
            0 if !bytes.is_empty() => bytes[place] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[place] = BYTES[random.below(BYTES.len())],
            2 => bytes.truncate(place),
            3 => drop(bytes.drain(part)),
            4 => {
                let copy = bytes[part].to_vec();
                bytes.splice(place..place, copy);
            }
            _ => {
                let other = &files[random.below(files.len())];
                let part = other[random.part(other)].to_vec();
                bytes.splice(place..place, part);
            }
        }
    }
    bytes
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn what_is_made_of_the_corpora_does_no_harm_either() {
    let seconds = variable("FUZZ_SECONDS").map(Duration::from_secs);
    for (name, target) in TARGETS {
        let files: Vec<Vec<u8>> = corpus(name).iter().map(|file| fs::read(file).unwrap()).collect();
        let mut random = Random(variable("FUZZ_SEED").unwrap_or(1).max(1));
        let (start, mut count) = (Instant::now(), 0);
        while seconds.map_or(count < INPUTS, |seconds| start.elapsed() < seconds) {
            let bytes = mutated(&files, &mut random);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&bytes))) {
                let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
                fs::write(&path, &bytes).unwrap();
                println!("{name}: input {count} is in {}; add it to the corpus", path.display());
                resume_unwind(panic);
            }
            count += 1;
        }
        println!("{name}: {count} inputs in {:?}", start.elapsed());
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
