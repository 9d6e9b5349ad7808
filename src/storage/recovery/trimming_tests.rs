//! Logs that are trimmed: killed at every step, tampered with, and written by an earlier version.

use super::tests::{Fused, expect_refusal};
use super::*;
use crate::protocol::acceptor::Acceptor;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Ballot, Entry, Instance};
use crate::rng::Rng;
use crate::sim::disk::SimDisk;
use crate::storage::AcceptorStore;
use crate::storage::directory::Directory;
use crate::storage::frame::{FramePlace, HEADER_BYTES, seal};
use crate::storage::log::tests::{identity, open_with, refused};

/// A segment takes a frame or two.
const TINY: LogOptions = LogOptions { segment_bytes: 60, ..LogOptions::DEFAULT };

/// How many turns a run has.
const TURNS: u64 = 10;

fn ballot(round: u64) -> Ballot {
    Ballot { round, proposer: 1, boot: 1 }
}

fn votes(from: u64) -> Record {
    let entries = vec![Entry::Noop; 2].into();
    Record::Accepted { ballot: ballot(1), from: Instance(from), entries }
}

/// What a turn stores. The second promises a ballot that no vote repeats; of the others every other
/// one votes, and those in between trim all votes but the last two.
fn turn(turn: u64) -> Record {
    match turn {
        2 => Record::Promised(ballot(100)),
        _ if turn % 2 == 1 => votes(turn * 10),
        _ => Record::Trimmed(Instance(turn * 10 - 10)),
    }
}

fn take_turn<D: Disk>(log: &mut Log<D>, number: u64) -> std::io::Result<()> {
    log.append(&turn(number))?;
    log.flush()
}

/// The acceptor that results from these records.
fn acceptor(records: impl IntoIterator<Item = Record>) -> Acceptor {
    let mut acceptor = Acceptor::new(2, 77, Settings::default());
    records.into_iter().for_each(|record| acceptor.restore(record));
    acceptor
}

fn open<D: Disk>(disk: D) -> Result<(Log<D>, Acceptor), LogError> {
    open_with(disk, &identity(), TINY).map(|(log, found, _)| (log, acceptor(found)))
}

/// One run of an acceptor: a first start, turns, and an orderly end. Returns how many turns it
/// could answer.
fn live<D: Disk>(disk: D) -> u64 {
    let Ok((mut log, _)) = open(disk) else { return 0 };
    let answered = (1..=TURNS).find_map(|turn| {
        let stored = take_turn(&mut log, turn).is_ok();
        let goes_on = stored && log.reclaim().is_ok();
        (!goes_on).then_some(if stored { turn } else { turn - 1 })
    });
    let _ = log.close();
    answered.unwrap_or(TURNS)
}

/// The numbers of the segments that are there.
fn numbers(disk: &mut impl Disk) -> Vec<u64> {
    disk.list().unwrap().iter().filter_map(|name| segment_number(name)).collect()
}

/// Checks that the acceptor comes back which answered this many turns, that nothing is left over,
/// and that it goes on.
fn expect_all<D: Disk>(open_disk: impl Fn() -> D, answered: u64, when: &str) {
    let (log, found) = open(open_disk()).unwrap_or_else(|error| panic!("{when}: {error}"));
    drop(log);
    let is_after = |turns| found.remembers_as(&acceptor((1..=turns).map(turn)));
    assert!(is_after(answered) || is_after(answered + 1), "{when}, {answered}: {found:?}");
    let mut disk = open_disk();
    let named = Manifest::read(&mut disk).unwrap().numbers();
    assert_eq!(numbers(&mut disk), named.collect::<Vec<_>>(), "{when}");
    drop(disk);
    let (mut log, _) = open(open_disk()).unwrap();
    let below = Instance(1000 + answered);
    log.append(&Record::Trimmed(below)).unwrap();
    log.flush().unwrap();
    (0..TURNS).for_each(|_| log.reclaim().unwrap());
    drop(log);
    assert_eq!(numbers(&mut open_disk()).len(), 1, "{when}: only the last one is needed");
    let (_, after) = open(open_disk()).unwrap();
    assert_eq!(after.trimmed(), below, "{when}");
    assert_eq!(after.promised(), found.promised(), "{when}");
}

#[test]
fn killed_at_any_step_of_a_removal_it_starts_again_with_all_it_needs() {
    let mut whole = SimDisk::new();
    assert_eq!(live(whole.clone()), TURNS);
    let left = numbers(&mut whole);
    assert!(left[0] > 3 && left.len() <= 4, "{left:?}");
    let steps = whole.steps();
    for step in 0..=steps {
        // Only the process is killed; or the machine with it, which may lose unsynced data.
        for seed in 0..=6 {
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

/// Killed once more while it starts again, and removes what is left over.
#[test]
fn killed_at_any_step_of_a_start_after_a_removal_it_starts_again_as_well() {
    for first in (40..140).step_by(3) {
        for second in 0..16 {
            let disk = SimDisk::new();
            disk.kill_after(Some(first));
            let answered = live(disk.clone());
            disk.crash(&mut Rng::new(first * 31 + second));
            disk.kill_after(Some(second));
            let _ = open(disk.clone());
            disk.crash(&mut Rng::new(first * 37 + second));
            expect_all(|| disk.clone(), answered, &format!("steps {first} and {second}"));
        }
    }
}

/// Real disks are slow, so not at every step.
#[test]
fn in_a_real_directory_killed_at_steps_of_a_removal_it_starts_again() {
    for step in (5..).step_by(13) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/acceptor-2");
        let open_directory = || Directory::open(&path).unwrap();
        let mut fused = Fused::new(open_directory(), step);
        let answered = live(&mut fused);
        let is_over = fused.is_left();
        drop(fused);
        expect_all(open_directory, answered, &format!("step {step}"));
        if is_over {
            return;
        }
    }
}

/// A disk whose log has this many segments of one frame: votes for 10, 20 and so on.
fn voted(segments: u64) -> (SimDisk, Log<SimDisk>) {
    let disk = SimDisk::new();
    let options = LogOptions { segment_bytes: 1, ..TINY };
    let (mut log, ..) = open_with(disk.clone(), &identity(), options).unwrap();
    for segment in 1..=segments {
        log.append(&votes(segment * 10)).unwrap();
        log.flush().unwrap();
    }
    (disk, log)
}

#[test]
fn a_segment_goes_when_all_of_it_lies_below_a_stable_trim_point_and_few_go_at_once() {
    let (mut disk, mut log) = voted(6);
    log.reclaim().unwrap();
    assert_eq!(numbers(&mut disk), [1, 2, 3, 4, 5, 6], "nothing was trimmed");
    // The fifth segment has a vote for 51.
    log.append(&Record::Trimmed(Instance(51))).unwrap();
    log.reclaim().unwrap();
    assert_eq!(numbers(&mut disk), [1, 2, 3, 4, 5, 6], "it is not stable");
    log.flush().unwrap();
    assert_eq!(numbers(&mut disk), [1, 2, 3, 4, 5, 6, 7], "answers wait for a flush");
    for left in [vec![3, 4, 5, 6, 7], vec![5, 6, 7], vec![5, 6, 7]] {
        log.reclaim().unwrap();
        assert_eq!(numbers(&mut disk), left);
    }
    log.append(&Record::Trimmed(Instance(100))).unwrap();
    log.flush().unwrap();
    for left in [vec![7, 8], vec![8]] {
        log.reclaim().unwrap();
        assert_eq!(numbers(&mut disk), left, "the last one stays");
    }
    drop(log);
    let (mut log, found) = open(disk.clone()).unwrap();
    assert_eq!((found.trimmed(), found.promised()), (Instance(100), ballot(1)));
    // Frames are counted on, over what was removed.
    assert_eq!(Manifest::read(&mut disk).unwrap().removed, Removed { segments: 7, frames: 7 });
    log.append(&votes(100)).unwrap();
    log.flush().unwrap();
    assert_eq!(Manifest::read(&mut disk).unwrap().segments.last().unwrap().end.frames, 9);
}

/// A log of an earlier version: its last segment does not repeat what was promised.
#[test]
fn a_log_that_repeats_nothing_loses_no_promise() {
    let (mut disk, mut log) = voted(1);
    log.append(&Record::Promised(ballot(100))).unwrap();
    log.flush().unwrap();
    log.append(&votes(20)).unwrap();
    log.flush().unwrap();
    drop(log);
    let mut frame = vec![0; HEADER_BYTES];
    let mut record = Vec::new();
    wire::encode_record(&Record::Trimmed(Instance(30)), &mut record);
    frame.extend((record.len() as u32).to_le_bytes());
    frame.append(&mut record);
    let place = FramePlace { token: identity().token, segment: 3, offset: 0 };
    seal(&mut frame, place, 3);
    disk.tamper("log-00000003", |content| *content = frame);
    disk.tamper(MANIFEST, |content| {
        let tallies = content.len() - 1024;
        content[tallies..].fill(0);
    });
    let (mut log, ..) = open_with(disk.clone(), &identity(), LogOptions::default()).unwrap();
    log.reclaim().unwrap();
    assert_eq!(numbers(&mut disk), [1, 2, 3], "the last one does not repeat the promise");
    log.append(&votes(30)).unwrap();
    log.flush().unwrap();
    log.reclaim().unwrap();
    assert_eq!(numbers(&mut disk), [3], "it does now");
    drop(log);
    let (_, found) = open(disk).unwrap();
    assert_eq!((found.trimmed(), found.promised()), (Instance(30), ballot(100)));
    assert_eq!(found.accepted_in(Instance(31)), Some(ballot(1)));
}

/// A disk whose first segments were removed.
fn trimmed() -> SimDisk {
    let (disk, mut log) = voted(6);
    log.append(&Record::Trimmed(Instance(40))).unwrap();
    log.flush().unwrap();
    (0..3).for_each(|_| log.reclaim().unwrap());
    disk
}

#[test]
fn segments_that_are_left_over_go_and_segments_that_are_missing_are_missed() {
    assert_eq!(numbers(&mut trimmed()), [4, 5, 6, 7]);
    for number in 4..=7 {
        let disk = trimmed();
        disk.take_away(&segment_name(number));
        expect_refusal(&disk, &format!("segment {number} is gone"));
        let disk = trimmed();
        disk.tamper(&segment_name(number), |content| content.truncate(content.len() - 1));
        expect_refusal(&disk, &format!("segment {number} is short"));
    }
    // Those below the first were due for removal, whatever is in them.
    let mut disk = trimmed();
    disk.plant("log-00000002", b"anything");
    disk.plant("log-00000003", b"");
    let (_, found) = open(disk.clone()).unwrap();
    assert_eq!(numbers(&mut disk), [4, 5, 6, 7]);
    assert_eq!((found.trimmed(), found.accepted_in(Instance(40))), (Instance(40), Some(ballot(1))));
    // One above the last was not.
    disk.plant("log-00000009", b"anything");
    expect_refusal(&disk, "a later segment");
}

/// The manifest of another directory, and an older one of the same, say nothing about this one.
#[test]
fn nothing_is_removed_on_the_word_of_a_copy() {
    let mut copy = trimmed().copy();
    copy.plant("log-00000002", b"anything");
    assert!(refused(&copy).contains("is a copy"), "{}", refused(&copy));
    assert_eq!(numbers(&mut copy), [2, 4, 5, 6, 7]);
    // A complete disk, with the manifest of a copy of it that was trimmed.
    let (mut whole, log) = voted(7);
    drop(log);
    whole.put_back(&trimmed(), |name| name == MANIFEST);
    assert!(refused(&whole).contains("is a copy"), "{}", refused(&whole));
    assert_eq!(numbers(&mut whole), [1, 2, 3, 4, 5, 6, 7]);
    // An earlier state of the directory, with everything that was removed since.
    let (mut disk, mut log) = voted(6);
    let backup = disk.copy();
    log.append(&Record::Trimmed(Instance(40))).unwrap();
    log.flush().unwrap();
    log.reclaim().unwrap();
    disk.put_back(&backup, |_| true);
    assert!(refused(&disk).contains("is a copy") || refused(&disk).contains("holds more than"));
    assert_eq!(numbers(&mut disk), [1, 2, 3, 4, 5, 6, 7]);
    // A copy that somebody vouches for is adopted, without the leftovers.
    let adopting = LogOptions { adopt_copy: true, ..TINY };
    let (_, found, _) = open_with(copy.clone(), &identity(), adopting).unwrap();
    assert_eq!(acceptor(found).trimmed(), Instance(40));
    assert_eq!(numbers(&mut copy), [4, 5, 6, 7]);
}

#[test]
fn manifests_of_other_formats_are_read_or_refused_by_name() {
    let (disk, log) = voted(2);
    drop(log);
    let text = |disk: &SimDisk| String::from_utf8_lossy(&disk.content(MANIFEST)).into_owned();
    assert!(text(&disk).starts_with("multi-paxos acceptor manifest 2\n"), "{}", text(&disk));
    let disk = trimmed();
    assert!(text(&disk).starts_with("multi-paxos acceptor manifest 3\n"), "{}", text(&disk));
    assert!(text(&disk).contains("\nremoved 3 3\n"), "{}", text(&disk));
    for (from, to, what) in [
        ("manifest 3", "manifest 4", "is of the format `multi-paxos acceptor manifest 4`, which"),
        ("manifest 3", "manifest 2", "is damaged"),
        ("removed 3", "removed 2", "is damaged"),
        ("removed 3 3\n", "", "is damaged"),
    ] {
        let disk = trimmed();
        disk.tamper(MANIFEST, |content| {
            let text = String::from_utf8_lossy(content).replacen(from, to, 1);
            *content = text.into_bytes();
        });
        assert!(refused(&disk).contains(what), "{to}: {}", refused(&disk));
    }
}

/// It takes space but does no harm; the acceptor may be needed.
#[test]
fn a_segment_that_cannot_be_removed_ends_nobody_and_goes_once_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acceptor-2");
    let mut fused = Fused::new(Directory::open(&path).unwrap(), u64::MAX);
    fused.may_remove = false;
    assert_eq!(live(&mut fused), TURNS);
    let left = numbers(&mut &mut fused);
    assert_eq!(left[0], 1, "{left:?}");
    // A start that cannot remove it either logs a warning and goes on.
    let found = open(&mut fused).map(|(_, found)| found).unwrap();
    assert!(found.remembers_as(&acceptor((1..=TURNS).map(turn))), "{found:?}");
    assert_eq!(numbers(&mut &mut fused), left);
    fused.may_remove = true;
    let found = open(&mut fused).map(|(_, found)| found).unwrap();
    assert!(found.remembers_as(&acceptor((1..=TURNS).map(turn))), "{found:?}");
    let left = numbers(&mut &mut fused);
    assert!(left[0] > 3, "{left:?}");
}
