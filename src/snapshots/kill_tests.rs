//! A process that is killed, and a power failure, at every step: of fetching a snapshot from
//! another learner, of writing one, and of removing the third.

use std::io::{self, Read};

use super::shelf::{Shelf, ShelfError, Stored, name_of, of_name};
use super::tests::label;
use crate::protocol::message::{Fetch, SnapshotName, StateKind};
use crate::protocol::settings::Settings;
use crate::protocol::types::Instance;
use crate::rng::Rng;
use crate::sim::disk::SimDisk;

/// How many bytes arrive at a time.
const GROUP_BYTES: usize = 1 << 13;

/// The snapshots of a life from its beginning to its end: two are there, the third is fetched, and
/// the fourth is written.
const OLDER: [u64; 2] = [10, 20];
const FETCHED: u64 = 30;
const WRITTEN: u64 = 40;

/// It arrives in five groups.
fn state(of: u64) -> Vec<u8> {
    (0..40_000).map(|place: u64| (place * of) as u8).collect()
}

fn put(shelf: &mut Shelf<SimDisk>, of: u64) -> io::Result<()> {
    shelf.put(&label(of), |out| out.write_all(&state(of)))
}

/// The snapshot that another learner lends.
struct Lent {
    name: SnapshotName,
    bytes: Vec<u8>,
}

impl Lent {
    fn new() -> Self {
        let disk = SimDisk::new();
        let mut shelf = Shelf::new(disk.clone());
        put(&mut shelf, FETCHED).unwrap();
        let fetch = Fetch { chunk_bytes: 1, ..Fetch::needing(StateKind::Digest, 0, Instance(0)) };
        let newest = Fetch { snapshot: None, ..fetch };
        let chunks = shelf.lend(&newest, &Settings::default()).unwrap();
        Lent { name: chunks[0].snapshot, bytes: disk.content(&name_of(Instance(FETCHED))) }
    }

    /// Fetches it as the role does: one group after the other, from where the file ends; a file
    /// that is spoiled is removed, and begun anew.
    fn fetch(&self, shelf: &mut Shelf<SimDisk>, told: &mut Told) -> io::Result<()> {
        let mut offset = 0;
        loop {
            let end = self.bytes.len().min(offset + GROUP_BYTES);
            let group = (offset as u64, &self.bytes[offset..end]);
            match shelf.put_fetched(&self.name, group, ("here", StateKind::Digest)) {
                Ok(Stored::Part(stored)) => {
                    assert!(stored > offset as u64, "it does not get any further");
                    told.first = told.first.or(Some(stored));
                    told.stored = stored;
                    offset = stored as usize / GROUP_BYTES * GROUP_BYTES;
                }
                Ok(Stored::Whole(checkpoint)) => {
                    assert_eq!(checkpoint, label(FETCHED).checkpoint);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    told.spoiled += 1;
                    assert_eq!(told.spoiled, 1, "it was fetched anew: {error}");
                    offset = 0;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What the role of one life was told.
#[derive(Debug, Default)]
struct Told {
    /// How many bytes of the fetched file were stored, after the first group and after the last.
    first: Option<u64>,
    stored: u64,
    /// How often what was fetched was no snapshot.
    spoiled: u32,
    /// Which snapshot was kept last, if one was.
    kept: Option<u64>,
}

/// Goes on from what is on the disk to the end, or until a step fails.
fn live(disk: &SimDisk, lent: &Lent) -> Told {
    let mut told = Told::default();
    // The rest of the life is a process that does not notice.
    let _ = steps(disk, lent, &mut told);
    told
}

fn steps(disk: &SimDisk, lent: &Lent, told: &mut Told) -> io::Result<()> {
    let mut shelf = Shelf::new(disk.clone());
    let newest = match shelf.newest("here", StateKind::Digest) {
        Ok(newest) => newest.expect("two were there").label.of().0,
        Err(ShelfError::Disk(_, error)) => return Err(error),
        Err(error) => panic!("{error}"),
    };
    // The cluster hears at once what the learner goes on from.
    told.kept = Some(newest);
    if newest < FETCHED {
        lent.fetch(&mut shelf, told)?;
        told.kept = Some(FETCHED);
    }
    if newest < WRITTEN {
        put(&mut shelf, WRITTEN)?;
        told.kept = Some(WRITTEN);
    }
    Ok(())
}

fn with_older() -> SimDisk {
    let disk = SimDisk::new();
    let mut shelf = Shelf::new(disk.clone());
    OLDER.into_iter().for_each(|of| put(&mut shelf, of).unwrap());
    disk
}

/// Demands that every snapshot is whole, and that the newest that was kept is there, with the one
/// before it.
fn expect_whole_ones(disk: &SimDisk, kept: u64, when: &str) {
    let mut shelf = Shelf::new(disk.clone());
    let names = shelf.names().unwrap();
    for name in &names {
        let of = of_name(name).unwrap().0;
        let found = shelf.verify(name).unwrap_or_else(|error| panic!("{when}: {name}: {error}"));
        let mut bytes = Vec::new();
        shelf.read(name).unwrap().read_to_end(&mut bytes).unwrap();
        assert!(found.label == label(of) && bytes == state(of), "{when}: {name} is another one");
    }
    let found: Vec<u64> = names.iter().map(|name| of_name(name).unwrap().0).collect();
    let are_two = found.len() >= 2 && found[0] >= kept && found[1] == found[0] - 10;
    assert!(are_two, "{when}: {found:?} are there, and {kept} was kept");
}

/// Demands that a last life fetches what is missing, byte for byte, and leaves nothing over.
fn expect_rest(disk: &SimDisk, lent: &Lent, when: &str) -> Told {
    let told = live(disk, lent);
    expect_whole_ones(disk, WRITTEN, when);
    assert!(disk.content(&name_of(Instance(FETCHED))) == lent.bytes, "{when}: other bytes");
    put(&mut Shelf::new(disk.clone()), WRITTEN + 10).unwrap();
    let last = [WRITTEN, WRITTEN + 10].map(|of| name_of(Instance(of)));
    assert_eq!(disk.names(), last, "{when}: something is left over");
    told
}

/// Where in a life its steps end: after those of the fetch, and after all.
fn counted(lent: &Lent) -> (u64, u64) {
    let disk = with_older();
    let begin = disk.steps();
    lent.fetch(&mut Shelf::new(disk.clone()), &mut Told::default()).unwrap();
    let fetched = disk.steps() - begin;
    assert_eq!(live(&disk, lent).kept, Some(WRITTEN));
    (fetched, disk.steps() - begin)
}

#[test]
fn killed_at_any_step_it_has_whole_snapshots_and_goes_on_where_it_was() {
    let lent = Lent::new();
    let (fetching, all) = counted(&lent);
    assert!(fetching >= 11 && all >= fetching + 10, "{fetching} of {all} steps");
    let mut resumed = 0;
    for step in 0..=all {
        // Only the process is killed; or the machine with it, which may lose unsynced data.
        for seed in 0..=6 {
            let when = format!("step {step}, seed {seed}");
            let disk = with_older();
            disk.kill_after(Some(step));
            let told = live(&disk, &lent);
            disk.kill_after(None);
            if seed > 0 {
                disk.crash(&mut Rng::new(step * 31 + seed));
            }
            expect_whole_ones(&disk, told.kept.unwrap_or(OLDER[1]), &when);
            let rest = expect_rest(&disk, &lent, &when);
            if seed == 0 {
                assert_eq!(rest.spoiled, 0, "{when}: what was written is still there");
                // The file of a fetch that came to its end may have joined the snapshots.
                let goes_on = rest.first.is_none_or(|first| first >= told.stored);
                assert!(goes_on, "{when}: {} bytes were stored, and {rest:?}", told.stored);
                resumed += u64::from(rest.first.is_some_and(|first| first > GROUP_BYTES as u64));
            }
        }
    }
    assert!(resumed >= 3, "it has gone on in the middle {resumed} times");
}

/// Killed once more while it goes on; the second time, at the latest, the power fails as well. What
/// the cluster was told to be kept is still there, even if the first life had not made it stable.
#[test]
fn killed_at_any_step_of_two_lives_it_has_what_it_told_the_cluster() {
    let lent = Lent::new();
    let (_, all) = counted(&lent);
    for first in 0..all {
        for second in (0..all).step_by(2) {
            let when = format!("steps {first} and {second}");
            let disk = with_older();
            let mut kept = OLDER[1];
            for (step, has_power) in [(first, second % 4 == 0), (second, false)] {
                disk.kill_after(Some(step));
                kept = kept.max(live(&disk, &lent).kept.unwrap_or(0));
                disk.kill_after(None);
                if !has_power {
                    disk.crash(&mut Rng::new(first * 37 + second));
                }
                expect_whole_ones(&disk, kept, &when);
            }
            expect_rest(&disk, &lent, &when);
        }
    }
}
