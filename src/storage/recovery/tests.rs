//! Processes that are killed at every step, and operators who remove something.

use std::fs;
use std::io;
use std::path::Path;

use super::*;
use crate::rng::Rng;
use crate::sim::disk::SimDisk;
use crate::storage::AcceptorStore;
use crate::storage::directory::Directory;
use crate::storage::disk::Files;
use crate::storage::log::tests::{expected, identity, open, open_with, refused, store, written};

/// So small that a log of a few flushes has several segments.
const SMALL: LogOptions = LogOptions { segment_bytes: 200, ..LogOptions::DEFAULT };

/// After how many flushes a run ends.
const FLUSHES: u64 = 7;

/// One run of an acceptor: a first start, a few flushes over several segments, and an orderly end.
/// Returns how many flushes it could answer.
fn live<D: Disk>(disk: D) -> u64 {
    let Ok((mut log, ..)) = open_with(disk, &identity(), SMALL) else { return 0 };
    let answered = (1..=FLUSHES).find(|flush| store(&mut log, *flush).is_err());
    let answered = answered.map_or(FLUSHES, |failed| failed - 1);
    // A process that was really killed does not get this far; here every call only fails.
    let _ = log.close();
    answered
}

/// Checks that everything answered is there, nothing is left over, and the log goes on.
fn expect_all<D: Disk>(open_disk: impl Fn() -> D, answered: u64, when: &str) {
    let opened = open_with(open_disk(), &identity(), SMALL);
    let (mut log, found, _) = opened.unwrap_or_else(|error| panic!("{when}: {error}"));
    let is_all = found == expected(answered) || found == expected(answered + 1);
    assert!(is_all, "{when}: {} records after {answered} flushes", found.len());
    store(&mut log, 9).unwrap();
    log.close().unwrap();
    drop(log);
    let mut disk = open_disk();
    let is_left_over = |name: &String| name.ends_with(".new");
    assert!(!disk.list().unwrap().iter().any(is_left_over), "{when}");
    assert_eq!(open_with(disk, &identity(), SMALL).unwrap().1.len(), found.len() + 2, "{when}");
}

#[test]
fn killed_at_any_step_it_starts_again_with_all_it_answered() {
    let whole = SimDisk::new();
    assert_eq!(live(whole.clone()), FLUSHES);
    assert!(whole.names().contains(&"log-00000003".to_owned()), "{:?}", whole.names());
    let steps = whole.steps();
    assert!(steps > 50, "{steps} steps");
    for step in 0..=steps {
        // Only the process is killed; or the machine with it, which may lose unsynced data.
        for seed in 0..=20 {
            let disk = SimDisk::new();
            disk.kill_after(Some(step));
            let answered = live(disk.clone());
            disk.kill_after(None);
            if seed > 0 {
                disk.crash(&mut Rng::new(seed));
            }
            expect_all(|| disk.clone(), answered, &format!("step {step}, seed {seed}"));
        }
    }
}

/// Killed once more while it starts again.
#[test]
fn killed_at_any_step_of_a_later_start_it_starts_again_as_well() {
    for first in (0..60).step_by(3) {
        for second in 0..30 {
            let disk = SimDisk::new();
            disk.kill_after(Some(first));
            let answered = live(disk.clone());
            disk.crash(&mut Rng::new(first * 31 + second));
            disk.kill_after(Some(second));
            let _ = open_with(disk.clone(), &identity(), SMALL);
            disk.crash(&mut Rng::new(first * 37 + second));
            expect_all(|| disk.clone(), answered, &format!("steps {first} and {second}"));
        }
    }
}

/// The power fails right after a start that follows a kill. What that start has found it may have
/// told others, even if the life before had neither synced nor answered it.
#[test]
fn what_a_start_has_found_survives_a_power_failure_after_it() {
    let whole = SimDisk::new();
    live(whole.clone());
    let mut unanswered = 0;
    for step in 0..=whole.steps() {
        for seed in 1..=10 {
            let disk = SimDisk::new();
            disk.kill_after(Some(step));
            let answered = live(disk.clone());
            disk.kill_after(None);
            let (log, found, _) = open_with(disk.clone(), &identity(), SMALL).unwrap();
            drop(log);
            unanswered += u32::from(found.len() > expected(answered).len());
            disk.crash(&mut Rng::new(step * 31 + seed));
            let (_, again, _) = open_with(disk, &identity(), SMALL).unwrap();
            assert!(again.starts_with(&found), "step {step}, seed {seed}: {} records", again.len());
        }
    }
    assert!(unanswered > 20, "{unanswered} times it found what was not answered");
}

#[test]
fn in_a_real_directory_killed_at_any_step_it_starts_again() {
    for step in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/acceptor-2");
        let open_directory = || Directory::open(&path).unwrap();
        let mut fused = Fused::new(open_directory(), step);
        let answered = live(&mut fused);
        let is_over = fused.is_left();
        drop(fused);
        expect_all(open_directory, answered, &format!("step {step}"));
        if is_over {
            assert!(step > 50, "{step} steps");
            return;
        }
    }
}

/// A directory whose process is killed before a step.
pub struct Fused {
    disk: Directory,
    left: u64,
    /// Whether files may be removed.
    pub may_remove: bool,
}

impl Fused {
    /// A directory whose process has `left` steps to live.
    pub fn new(disk: Directory, left: u64) -> Self {
        Fused { disk, left, may_remove: true }
    }

    /// Whether the process was not killed yet.
    pub fn is_left(&self) -> bool {
        self.left > 0
    }

    fn step(&mut self) -> io::Result<&mut Directory> {
        if self.left == 0 {
            return Err(io::Error::other("the process is killed"));
        }
        self.left -= 1;
        Ok(&mut self.disk)
    }
}

impl Files for &mut Fused {
    fn length(&mut self, name: &str) -> io::Result<u64> {
        self.disk.length(name)
    }
    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.read_at(name, offset, buffer)
    }
}

impl Disk for &mut Fused {
    fn files(&self) -> io::Result<Box<dyn Files>> {
        self.disk.files()
    }
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn mark(&mut self, name: &str) -> io::Result<Mark> {
        self.disk.mark(name)
    }
    fn modified(&mut self, name: &str) -> io::Result<u64> {
        self.disk.modified(name)
    }
    fn own_mark(&mut self) -> io::Result<Mark> {
        self.disk.own_mark()
    }
    fn create(&mut self, name: &str) -> io::Result<()> {
        self.step()?.create(name)
    }
    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.step()?.append(name, content)
    }
    fn write_at(&mut self, name: &str, offset: u64, content: &[u8]) -> io::Result<()> {
        self.step()?.write_at(name, offset, content)
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.step()?.sync(name)
    }
    fn cut(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.step()?.cut(name, length)
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.step()?.rename(from, to)
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        if !self.may_remove {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        self.step()?.remove(name)
    }
    fn sync_names(&mut self) -> io::Result<()> {
        self.step()?.sync_names()
    }
    fn path_of(&self, name: &str) -> String {
        self.disk.path_of(name)
    }
}

/// Files in the directory that are not the acceptor's do no harm.
#[test]
fn what_others_left_in_the_directory_is_left_alone() {
    let others = ["log-00000001.bak", "log-2", "log-00000002.new", "log-", "core", "log-0000000x"];
    let (disk, _) = written(3);
    others.iter().for_each(|name| disk.plant(name, b"something"));
    // A segment that was created but never written to.
    disk.plant("log-00000002", b"");
    assert_eq!(open(disk.clone()).unwrap().1, expected(3));
    assert!(others.iter().all(|name| disk.content(name) == b"something"));
    assert!(!disk.names().contains(&"log-00000002".to_owned()));
}

/// A disk with several segments, whose acceptor ended in good order or was killed.
fn lived(is_ended: bool) -> SimDisk {
    let disk = SimDisk::new();
    let (mut log, ..) = open_with(disk.clone(), &identity(), SMALL).unwrap();
    (1..=FLUSHES).for_each(|flush| store(&mut log, flush).unwrap());
    if is_ended {
        log.close().unwrap();
    }
    disk
}

#[test]
fn whatever_takes_something_away_is_refused() {
    for is_ended in [false, true] {
        let mut names = lived(is_ended).names();
        names.retain(|name| !name.starts_with("index-"));
        assert!(names.len() >= 5, "{names:?}");
        for name in &names {
            // It is removed.
            let disk = lived(is_ended);
            disk.take_away(name);
            expect_refusal(&disk, &format!("{name} is gone"));
            // It is emptied, and cut at every place.
            let length = lived(is_ended).content(name).len();
            let text = if name == "manifest" { length - 1024 } else { length };
            let last = lived(is_ended).content(name)[..text].iter().rposition(|byte| *byte != 0);
            for cut in 0..last.unwrap_or(0) {
                let disk = lived(is_ended);
                disk.tamper(name, |content| content.truncate(cut));
                expect_refusal(&disk, &format!("{name} is cut at {cut}"));
            }
            // The state of a flush ago is put back, in the same file.
            let disk = SimDisk::new();
            let (mut log, ..) = open_with(disk.clone(), &identity(), SMALL).unwrap();
            (1..FLUSHES).for_each(|flush| store(&mut log, flush).unwrap());
            let before = disk.content(name);
            store(&mut log, FLUSHES).unwrap();
            if name.starts_with("log-") && before != disk.content(name) {
                disk.tamper(name, |content| *content = before);
                expect_refusal(&disk, &format!("{name} is a flush old"));
            }
        }
        // All segments at once, as a clean-up does.
        let disk = lived(is_ended);
        names.iter().filter(|name| name.starts_with("log-")).for_each(|name| disk.take_away(name));
        expect_refusal(&disk, "no segment is there");
        // The identity with others: what is left was written by some acceptor.
        disk.take_away("identity");
        expect_refusal(&disk, "the manifest alone is there");
        let disk = lived(is_ended);
        ["identity", "manifest"].into_iter().for_each(|name| disk.take_away(name));
        expect_refusal(&disk, "segments alone are there");
    }
}

/// Nobody can vouch for the manifest of an earlier state, or of another acceptor: the other files
/// are not those that it names.
#[test]
fn a_manifest_that_is_not_the_last_one_is_never_adopted() {
    let expect_refusal = |disk: &SimDisk, words: &str| {
        refused(disk);
        let adopting = LogOptions { adopt_copy: true, ..SMALL };
        let adopted = open_with(disk.clone(), &identity(), adopting).map(|_| ());
        let sentence = adopted.expect_err("it is adopted").to_string();
        assert!(sentence.contains(words), "{sentence}");
    };
    let disk = lived(true);
    let ended = disk.content("manifest");
    // The last segment goes on, and no new one begins.
    let (mut log, ..) = open_with(disk.clone(), &identity(), LogOptions::DEFAULT).unwrap();
    store(&mut log, FLUSHES + 1).unwrap();
    drop(log);
    disk.tamper("manifest", |content| *content = ended);
    expect_refusal(&disk, "holds more than");
    let (disk, other) = (lived(true), SimDisk::new());
    let stranger = Identity { incarnation: identity().incarnation + 1, ..identity() };
    let (mut log, ..) = open_with(other.clone(), &stranger, SMALL).unwrap();
    (1..=FLUSHES).for_each(|flush| store(&mut log, flush).unwrap());
    log.close().unwrap();
    disk.tamper("manifest", |content| *content = other.content("manifest"));
    expect_refusal(&disk, "manifest is damaged");
}

pub fn expect_refusal(disk: &SimDisk, what: &str) {
    let before: Vec<_> = disk.names().into_iter().map(|name| disk.content(&name)).collect();
    let Err(error) = open_with(disk.clone(), &identity(), SMALL) else {
        panic!("{what}: it starts")
    };
    let sentence = error.to_string();
    assert!(sentence.starts_with("disk/"), "{what}: {sentence}");
    assert!(sentence.contains("or leave it down"), "{what}: {sentence}");
    // Vouching for it does not help: what is missing is missing.
    let adopting = LogOptions { adopt_copy: true, ..SMALL };
    assert!(open_with(disk.clone(), &identity(), adopting).is_err(), "{what}: it is adopted");
    let after: Vec<_> = disk.names().into_iter().map(|name| disk.content(&name)).collect();
    assert!(before == after, "{what}: something was touched");
}

#[test]
fn no_sentence_advises_what_is_not_safe() {
    let path = || "data/acceptor-1/log-00000001".to_owned();
    let other = Identity { acceptor: 3, ..identity() };
    let error = || io::Error::from(io::ErrorKind::PermissionDenied);
    let all = [
        LogError::OtherOwner { path: path(), found: other.into(), mine: identity().into() },
        LogError::OtherCount { path: path(), found: 3, configured: 5 },
        LogError::OtherFormat { path: path(), found: "1".to_owned() },
        LogError::Missing { path: path() },
        LogError::Ownerless { path: path(), other: path() },
        LogError::Short { path: path(), bytes: 1, counted: 2 },
        LogError::Damaged { path: path(), offset: 1 },
        LogError::Unreadable { path: path() },
        LogError::Later { path: path(), manifest: path() },
        LogError::Copied { path: path() },
        LogError::NotCopied { path: path() },
        LogError::NotUnderstood { path: path(), offset: 1 },
        LogError::Read { path: path(), error: error() },
        LogError::Write { path: path(), error: error() },
    ];
    // None of these errors goes away by itself.
    assert!(!all.iter().any(LogError::may_pass));
    for sentence in all.map(|error| error.to_string()) {
        for word in ["restore", "retire", "new id", "backup", "back-up", "empty directory", "\n"] {
            assert!(!sentence.contains(word), "{word}: {sentence}");
        }
        assert!(sentence.contains(&path()), "{sentence}");
    }
}

/// Every backup is refused, complete or partial, old or new, until somebody vouches for it; then it
/// is adopted once, if it holds everything that it claims.
#[test]
fn copies_are_refused_until_they_are_adopted_and_that_is_whole_or_did_not_happen() {
    let adopting = LogOptions { adopt_copy: true, ..SMALL };
    let backup = lived(true).copy();
    let sentence = refused(&backup);
    assert!(sentence.starts_with("disk is a copy") && sentence.contains("--adopt-copy"));
    // In place of the last state, some of the files or all of them.
    for wanted in ["", "manifest", "log-", "log-00000001"] {
        let disk = lived(false);
        let backup = disk.copy();
        let (mut log, ..) = open_with(disk.clone(), &identity(), SMALL).unwrap();
        store(&mut log, FLUSHES + 1).unwrap();
        disk.put_back(&backup, |name| name.starts_with(wanted));
        let sentence = refused(&disk);
        let is_known = sentence.contains("is a copy") || sentence.contains("holds more than");
        assert!(is_known, "{wanted}: {sentence}");
    }
    for step in 0.. {
        let disk = lived(true).copy();
        disk.kill_after(Some(step));
        let is_adopted = open_with(disk.clone(), &identity(), adopting).is_ok();
        disk.crash(&mut Rng::new(step));
        let plain = open_with(disk.clone(), &identity(), SMALL);
        if is_adopted {
            assert_eq!(plain.unwrap().1, expected(FLUSHES));
            let again = open_with(disk, &identity(), adopting).map(|(_, found, _)| found);
            assert!(again.unwrap_err().to_string().contains("start it without --adopt-copy"));
            return;
        }
        if plain.is_err() {
            // It did not happen, so it can be done again.
            let (_, found, recovered) = open_with(disk, &identity(), adopting).unwrap();
            assert!(found == expected(FLUSHES) && recovered.is_adopted, "step {step}");
        }
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn link_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::hard_link(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_copied_directory_is_refused_and_a_moved_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let open_at = |name: &str| open(Directory::open(&path(name)).unwrap());
    let (mut log, ..) = open_at("data/first").unwrap();
    (1..=3).for_each(|flush| store(&mut log, flush).unwrap());
    drop(log);
    copy_files(&path("data/first"), &path("data/copied"));
    link_files(&path("data/first"), &path("data/linked"));
    // Moved, with its parent, which is moved as well.
    fs::rename(path("data/first"), path("data/second")).unwrap();
    fs::rename(path("data"), path("moved")).unwrap();
    assert_eq!(open_at("moved/second").unwrap().1, expected(3));
    for name in ["moved/copied", "moved/linked"] {
        let sentence = open_at(name).map(|(_, found, _)| found).unwrap_err().to_string();
        assert!(sentence.contains("is a copy"), "{sentence}");
    }
    // One file of it was copied over, under the same name, by way of another file or in place.
    for name in ["log-00000001", "manifest"] {
        fs::copy(path("moved/second").join(name), path("kept")).unwrap();
        fs::rename(path("kept"), path("moved/second").join(name)).unwrap();
        let sentence = open_at("moved/second").map(|(_, found, _)| found).unwrap_err().to_string();
        assert!(sentence.contains(&format!("{name} is a copy")), "{sentence}");
        let adopting = LogOptions { adopt_copy: true, ..LogOptions::default() };
        let directory = Directory::open(&path("moved/second")).unwrap();
        assert_eq!(open_with(directory, &identity(), adopting).unwrap().1, expected(3));
    }
    // The same bytes, written over what is there, in a file that is never written again.
    let whole = fs::read(path("moved/second/identity")).unwrap();
    fs::write(path("moved/second/identity"), whole).unwrap();
    let sentence = open_at("moved/second").map(|(_, found, _)| found).unwrap_err().to_string();
    assert!(sentence.contains("identity is a copy"), "{sentence}");
    let adopting = LogOptions { adopt_copy: true, ..LogOptions::default() };
    let directory = Directory::open(&path("moved/second")).unwrap();
    assert_eq!(open_with(directory, &identity(), adopting).unwrap().1, expected(3));
    // The manifest of an earlier start, written over the present one in place.
    let earlier = fs::read(path("moved/second/manifest")).unwrap();
    drop(open_at("moved/second").unwrap());
    fs::write(path("moved/second/manifest"), earlier).unwrap();
    let sentence = open_at("moved/second").map(|(_, found, _)| found).unwrap_err().to_string();
    assert!(sentence.contains("manifest is a copy"), "{sentence}");
}

#[test]
fn another_acceptor_cluster_or_count_is_refused_with_both() {
    let others = [
        (Identity { acceptor: 3, ..identity() }, ["of acceptor 2 of", "not of acceptor 3 of"]),
        (
            Identity { cluster: "other".to_owned(), ..identity() },
            ["of cluster test", "of cluster other"],
        ),
        (Identity { acceptor_count: 5, ..identity() }, ["one of 3", "acceptor_count is 5"]),
        (Identity { acceptor_count: 1, ..identity() }, ["one of 3", "acceptor_count is 1"]),
    ];
    let (disk, _) = written(1);
    for (other, words) in others {
        for options in [SMALL, LogOptions { adopt_copy: true, ..SMALL }] {
            let refused = Log::open(disk.clone(), &other, options).unwrap_err().to_string();
            assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
        }
    }
    assert_eq!(open(disk.clone()).unwrap().1, expected(1));
    disk.tamper("identity", |content| content[30] ^= 1);
    assert!(refused(&disk).contains("disk/identity is damaged"));
    disk.tamper("identity", |content| *content = b"multi-paxos acceptor log 1\n".to_vec());
    assert!(refused(&disk).contains("format `multi-paxos acceptor log 1`"), "{}", refused(&disk));
}
