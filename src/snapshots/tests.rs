//! Which snapshots are kept, and which are refused; `sim::drills::snapshots` has crashes and
//! damage.

use std::sync::Arc;
use std::{fs, io, thread};

use super::Frozen;
use super::file::{HEAD, Label, framed};
use super::keeper::{Keeper, Shop};
use super::shelf::{Shelf, ShelfError, name_of};
use super::tally::Tally;
use crate::clock::{Clock, Moment};
use crate::protocol::checkpoint::{Checkpoint, Head};
use crate::protocol::message::StateKind;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, LogTime};
use crate::sim::disk::SimDisk;
use crate::storage::directory::Directory;
use crate::storage::disk::Disk;

pub(super) fn label(of: u64) -> Label {
    let (of, first) = (Instance(of), Instance::FIRST);
    let (time, idle_below) = (LogTime::NONE, first);
    let head = Head { of, keep: of, trim: first, forget: first, idle_below, time };
    let (sessions, horizon) = (Vec::new(), Instance(0));
    let checkpoint = Checkpoint { head, name: 7, sessions, horizon, open: Vec::new() };
    Label { cluster: "here".to_owned(), kind: StateKind::Digest, checkpoint }
}

fn state(of: u64) -> Vec<u8> {
    (0..700_000).map(|place: u64| (place * of) as u8).collect()
}

fn put(disk: &SimDisk, of: u64) -> io::Result<()> {
    Shelf::new(disk.clone()).put(&label(of), |out| out.write_all(&state(of)))
}

fn newest(disk: &SimDisk) -> Option<u64> {
    let found = Shelf::new(disk.clone()).newest("here", StateKind::Digest).unwrap();
    found.map(|found| found.label.of().0)
}

#[test]
fn two_are_kept_and_what_was_left_half_way_goes() {
    let mut disk = SimDisk::default();
    disk.create(&format!("{}.part", name_of(Instance(5)))).unwrap();
    disk.create("lock").unwrap();
    for of in [10, 20, 30] {
        put(&disk, of).unwrap();
    }
    let names = [name_of(Instance(20)), name_of(Instance(30))];
    assert_eq!(disk.list().unwrap(), ["lock", &names[0], &names[1]]);
}

#[test]
fn what_is_of_others_is_refused() {
    let disk = SimDisk::default();
    put(&disk, 10).unwrap();
    let mut shelf = Shelf::new(disk);
    for (cluster, kind) in [("there", StateKind::Digest), ("here", StateKind::Replica)] {
        let refused = shelf.newest(cluster, kind);
        assert!(matches!(refused, Err(ShelfError::Foreign(_))), "{refused:?}");
    }
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let disk = SimDisk::default();
    put(&disk, 10).unwrap();
    disk.limit(Some(1_000_000));
    assert!(put(&disk, 20).is_err());
    assert_eq!(newest(&disk), Some(10));
    disk.limit(None);
    put(&disk, 20).unwrap();
    assert_eq!(newest(&disk), Some(20));
}

/// The program goes back a release, and the snapshots are those of the later one.
#[test]
fn those_of_a_later_release_are_not_taken_for_damaged() {
    let (disk, later) = (SimDisk::default(), name_of(Instance(20)));
    put(&disk, 20).unwrap();
    let alter = |form: u8| {
        disk.tamper(&later, |file| {
            let length = u32::from_le_bytes(file[9..13].try_into().unwrap()) as usize;
            file[21] = form;
            let head = framed(Instance(20), (HEAD, 0), &file[21..21 + length]).unwrap();
            file[8..21 + length].copy_from_slice(&head);
        });
    };
    let refused = || {
        let error = Shelf::new(disk.clone()).newest("here", StateKind::Digest).unwrap_err();
        (matches!(error, ShelfError::Later(_)), error.to_string())
    };
    alter(1);
    assert_eq!(newest(&disk), Some(20));
    alter(2);
    let (is_later, sentence) = refused();
    assert!(is_later && sentence.contains("its head has form 2"), "{sentence}");
    assert!(!sentence.contains("move"), "{sentence}");
    // A form that cannot be, and one that is damage: its checksum is wrong.
    alter(0);
    assert!(!refused().0);
    alter(1);
    disk.tamper(&later, |file| file[21] = 2);
    assert!(!refused().0);
    disk.tamper(&later, |file| file[7] = b'2');
    assert!(refused().0);
    // One that can be read is used, and the other is left.
    put(&disk, 10).unwrap();
    assert_eq!(newest(&disk), Some(10));
    assert!(disk.names().contains(&later));
}

/// For metrics: the thread that writes them says how often it could not, and what the newest is
/// like, written here or found at the start.
#[test]
fn failures_are_counted_and_the_newest_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let spawn = |tally: &Arc<Tally>| {
        let (shelf, cluster) =
            (Shelf::new(Directory::open(folder.path()).unwrap()), "here".to_owned());
        let shop = Shop { shelf, cluster, kind: StateKind::Digest };
        let (settings, clock) = (Settings::default(), Clock::start());
        Keeper::spawn(shop, settings, clock, Arc::clone(tally), |_| true).unwrap()
    };
    let tally = Arc::default();
    let keeper = spawn(&tally);
    let keep = |of, write: Frozen| {
        keeper.keep(Arc::new(label(of).checkpoint), write);
        while !keeper.is_free() {
            thread::yield_now();
        }
    };
    keep(10, Box::new(|_| Err(io::Error::other("a test"))));
    let facts = tally.facts();
    assert_eq!((facts.failures, facts.newest, facts.took), (1, None, None));
    keep(20, Box::new(|out| out.write_all(&state(20))));
    let facts = tally.facts();
    let newest = facts.newest.unwrap();
    let bytes = fs::metadata(folder.path().join(name_of(Instance(20)))).unwrap().len();
    assert_eq!((facts.failures, newest.bytes, facts.took.is_some()), (1, bytes, true));
    let age_ms = Moment::now().millis.abs_diff(newest.written_ms);
    assert!(age_ms < 600_000, "written {age_ms} ms ago");
    drop(keeper);

    let tally = Arc::default();
    let _keeper = spawn(&tally);
    while tally.facts().newest.is_none() {
        thread::yield_now();
    }
    assert_eq!(tally.facts().newest, Some(newest));
}
