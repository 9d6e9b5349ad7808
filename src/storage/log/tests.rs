//! Every byte of a small log, cut off and flipped; planted frames; and disks that fail.

use super::*;
use crate::protocol::types::{AssignedBy, Ballot, Entry, Instance, Number, Origin, Session, Value};
use crate::rng::Rng;
use crate::sim::disk::SimDisk;
use crate::storage::directory::Directory;

const LOG: &str = "log-00000001";

pub fn identity() -> Identity {
    Identity {
        cluster: "test".to_owned(),
        acceptor: 2,
        acceptor_count: 3,
        incarnation: 77,
        token: 0x5eed_0f7e_57a1_1ce5,
    }
}

pub fn records(flush: u64) -> Vec<Record> {
    let ballot = Ballot { round: flush, proposer: 1, boot: u64::MAX };
    let session = Session { client: 1, boot: 5 };
    let origin = Origin::new(session, Number(flush), AssignedBy::Leader);
    let value = Value::new(b"a value of some bytes");
    let entries = vec![Entry::Noop, Entry::Value { origin, value }].into();
    let accepted = Record::Accepted { ballot, from: Instance(flush * 10), entries };
    vec![Record::Promised(ballot), accepted]
}

pub fn expected(flushes: u64) -> Vec<Record> {
    (1..=flushes).flat_map(records).collect()
}

/// Opens a log and returns what it holds.
pub fn open_with<D: Disk>(
    disk: D,
    mine: &Identity,
    options: LogOptions,
) -> Result<(Log<D>, Vec<Record>, Recovered), LogError> {
    let mut records = Vec::new();
    let opening = Log::open(disk, mine, options)?;
    let (log, recovered) = opening.recover(|record| records.push(record))?;
    // A summary replaces unread records by records of its own.
    assert!(recovered.summarised > 0 || recovered.records == records.len() as u64);
    Ok((log, records, recovered))
}

pub fn open<D: Disk>(disk: D) -> Result<(Log<D>, Vec<Record>, Recovered), LogError> {
    open_with(disk, &identity(), LogOptions::default())
}

/// Stores the records of flush number `flush`.
pub fn store<D: Disk>(log: &mut Log<D>, flush: u64) -> io::Result<()> {
    records(flush).iter().try_for_each(|record| log.append(record))?;
    log.flush()
}

/// A disk with `flushes` frames, and the length of the log after each.
pub fn written(flushes: u64) -> (SimDisk, Vec<usize>) {
    let disk = SimDisk::new();
    let (mut log, ..) = open(disk.clone()).unwrap();
    let mut lengths = vec![0];
    for flush in 1..=flushes {
        store(&mut log, flush).unwrap();
        lengths.push(disk.content(LOG).len());
    }
    (disk, lengths)
}

/// As `written`, after a power failure that lost every tally.
pub fn written_untold(flushes: u64) -> (SimDisk, Vec<usize>) {
    let (disk, lengths) = written(flushes);
    disk.tamper(MANIFEST, |content| {
        let start = content.len() - 1024;
        content[start..].fill(0);
    });
    (disk, lengths)
}

pub fn refused(disk: &SimDisk) -> String {
    open(disk.clone()).map(|(_, records, _)| records).unwrap_err().to_string()
}

#[test]
fn what_was_flushed_comes_back_and_the_log_goes_on() {
    let (disk, _) = written(3);
    let mine = Identity { incarnation: 1, token: 1, ..identity() };
    let opening = Log::open(disk.clone(), &mine, LogOptions::default()).unwrap();
    assert_eq!(opening.incarnation(), 77);
    let mut found = Vec::new();
    let (mut log, _) = opening.recover(|record| found.push(record)).unwrap();
    assert_eq!(found, expected(3));
    store(&mut log, 4).unwrap();
    // Unflushed records are not there.
    log.append(&records(5)[0]).unwrap();
    assert_eq!(open(disk).unwrap().1, expected(4));
}

#[test]
fn a_log_cut_anywhere_gives_back_its_whole_frames_or_is_refused() {
    let (_, lengths) = written(3);
    for length in 0..=lengths[3] {
        let (disk, _) = written_untold(3);
        disk.tamper(LOG, |content| content.truncate(length));
        let whole = lengths.iter().filter(|end| **end <= length).count() - 1;
        let (_, found, recovered) = open(disk.clone()).unwrap();
        assert_eq!(found, expected(whole as u64), "cut at {length}");
        assert_eq!(recovered.cut_bytes as usize, length - lengths[whole]);
        // The torn end is gone for good.
        assert_eq!(open(disk).unwrap().2.cut_bytes, 0);

        // Only the process was killed, not the machine: it is known how far the log was stable.
        let (disk, _) = written(3);
        disk.tamper(LOG, |content| content.truncate(length));
        if length < lengths[3] {
            let sentence = refused(&disk);
            assert!(sentence.starts_with("disk/log-00000001"), "{sentence}");
        } else {
            assert_eq!(open(disk).unwrap().1, expected(3));
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let (_, lengths) = written(3);
    for bit in 0..lengths[3] * 8 {
        let flip = |disk: &SimDisk| disk.tamper(LOG, |log| log[bit / 8] ^= 1 << (bit % 8));
        let (disk, _) = written(3);
        flip(&disk);
        let frame = lengths.iter().rposition(|start| *start <= bit / 8).unwrap();
        let place = format!("disk/log-00000001: the record at byte {}", lengths[frame]);
        assert!(refused(&disk).starts_with(&place), "{}", refused(&disk));
        // Without a tally, the last frame cannot be distinguished from a torn one.
        let (disk, _) = written_untold(3);
        flip(&disk);
        match open(disk) {
            Ok((_, found, _)) => assert!(frame == 2 && found == expected(2), "{bit}"),
            Err(error) => {
                assert!(frame < 2, "{bit}: {error}");
                assert!(error.to_string().starts_with(&place), "{error}");
            }
        }
    }
}

/// A value that is made to look like a frame of any number, or like a copy of a written frame,
/// inside a frame torn by a power failure.
#[test]
fn a_planted_frame_does_not_make_a_torn_log_look_damaged() {
    let (_, lengths) = written(3);
    let (disk, _) = written(3);
    let copy = disk.content(LOG)[lengths[1]..lengths[2]].to_vec();
    let place = FramePlace { token: 0, segment: 1, offset: 0 };
    let guess = |token: u64, offset: u64, number: u64| {
        let mut frame = vec![0; HEADER_BYTES];
        seal(&mut frame, FramePlace { token, offset, ..place }, number);
        frame
    };
    let end = lengths[3] as u64;
    let own = identity();
    // Nobody knows the token: it is neither the incarnation, which is sent, nor zero.
    for token in [0, 1, own.incarnation, u64::MAX, u64::from_le_bytes(*b"mpxfmpxf")] {
        for number in [4, 5, 1 << 63] {
            expect_torn(&guess(token, end + 30, number));
        }
    }
    // Even an attacker that knows it must know where the frame will stand.
    expect_torn(&guess(own.token, end + 31, 5));
    expect_torn(&copy);

    // A real frame next to it.
    let (disk, _) = written_untold(3);
    disk.tamper(LOG, |log| {
        log.extend([1; 30]);
        log.extend(guess(own.token, end + 30, 5));
    });
    assert!(refused(&disk).contains("the record at byte"), "{}", refused(&disk));
}

/// `planted` stands 30 bytes behind the beginning of a torn frame, which is cut.
fn expect_torn(planted: &[u8]) {
    for (disk, _) in [written(3), written_untold(3)] {
        disk.tamper(LOG, |log| {
            log.extend([1; 30]);
            log.extend(planted);
            log.extend(b"rest");
        });
        let (_, found, recovered) = open(disk).unwrap();
        assert_eq!(found, expected(3));
        assert_eq!(recovered.cut_bytes as usize, 34 + planted.len());
    }
}

#[test]
fn a_crash_at_any_moment_loses_nothing_that_was_flushed() {
    for seed in 0..200 {
        let (disk, _) = written(5);
        let (mut log, ..) = open(disk.clone()).unwrap();
        // A frame that was written and never synced.
        disk.set_broken(true);
        assert!(store(&mut log, 6).is_err());
        disk.set_broken(false);
        disk.crash(&mut Rng::new(seed));
        let (_, found, _) = open(disk).unwrap();
        assert!(found == expected(5) || found == expected(6), "seed {seed}");
    }
}

#[test]
fn a_full_disk_is_an_error_and_what_was_flushed_stays() {
    let (disk, lengths) = written(2);
    let (mut log, ..) = open(disk.clone()).unwrap();
    disk.limit(Some(disk.used() + 10));
    assert_eq!(store(&mut log, 3).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.content(LOG).len(), lengths[2], "the log is as it was");
    assert!(is_full(&log.close().unwrap_err()), "there is no room to say that it ends in order");
    let error = open(disk.clone()).map(|(_, found, _)| found).unwrap_err();
    assert!(error.may_pass() && error.to_string().contains("make room"), "{error}");
    disk.limit(None);
    assert_eq!(open(disk).unwrap().1, expected(2));
}

/// A frame that finds no room is kept, in a new segment or not, and stored once there is room.
#[test]
fn what_found_no_room_is_stored_once_there_is() {
    for segment_bytes in [1, 1 << 20] {
        let options = LogOptions { segment_bytes, ..LogOptions::default() };
        let disk = SimDisk::new();
        let (mut log, ..) = open_with(disk.clone(), &identity(), options).unwrap();
        store(&mut log, 1).unwrap();
        for room in [0, 10, 60] {
            disk.limit(Some(disk.used() + room));
            let lacks = |written: io::Result<()>| is_full(&written.unwrap_err());
            assert!(lacks(if room == 0 { store(&mut log, 2) } else { log.flush() }));
            assert!((0..9).all(|_| lacks(log.flush())) && log.room() == Room::Exhausted);
        }
        let taken = |log: &Log<SimDisk>| log.disk_use().unwrap().log_bytes;
        let before = taken(&log);
        disk.limit(None);
        assert!((0..FULL_PAUSE_MAX).any(|_| log.flush().is_ok()));
        assert_eq!(log.room(), Room::Ample);
        assert!(taken(&log) > before, "what has no room is not counted");
        store(&mut log, 3).unwrap();
        disk.crash(&mut Rng::new(1));
        assert_eq!(open_with(disk, &identity(), options).unwrap().1, expected(3));
    }
}

/// The last look at the disk may have found room that is gone.
#[test]
fn nothing_is_left_while_a_frame_finds_no_room() {
    let disk = SimDisk::new();
    let (mut log, ..) = open(disk.clone()).unwrap();
    disk.limit(Some(disk.used() + 100_000));
    log.room();
    let left = |log: &Log<SimDisk>| log.disk_use().unwrap().left.unwrap();
    assert_eq!(left(&log).bytes, 100_000);
    disk.limit(Some(disk.used()));
    assert!(is_full(&store(&mut log, 1).unwrap_err()));
    assert_eq!((left(&log).bytes, log.room()), (0, Room::Exhausted));
}

/// After any failed sync the log does not go on: the system may have dropped what it had to write.
#[test]
fn a_sync_that_fails_for_want_of_room_is_never_tried_again() {
    let (disk, _) = written(2);
    let (mut log, ..) = open(disk.clone()).unwrap();
    disk.set_broken(true);
    assert!(!is_full(&store(&mut log, 3).unwrap_err()));
    disk.set_broken(false);
    assert!(!is_full(&log.flush().unwrap_err()) && log.room() == Room::Ample);
}

#[test]
fn a_log_of_several_segments_is_one_log() {
    let options = LogOptions { segment_bytes: 1, ..LogOptions::default() };
    let disk = SimDisk::new();
    for flush in 1..=4 {
        let (mut log, found, _) = open_with(disk.clone(), &identity(), options).unwrap();
        assert_eq!(found, expected(flush - 1));
        store(&mut log, flush).unwrap();
        if flush % 2 == 0 {
            log.close().unwrap();
        }
    }
    assert_eq!(disk.names().iter().filter(|name| name.starts_with("log-")).count(), 4);
    // A torn frame in an earlier segment was stable once.
    disk.tamper("log-00000002", |content| content.truncate(content.len() - 1));
    assert!(refused(&disk).contains("log-00000002: the record at byte 0"), "{}", refused(&disk));
}

/// However long the log is, each read is bounded.
#[test]
fn frames_across_the_reader_s_window_come_back() {
    let disk = SimDisk::new();
    let (mut log, ..) = open(disk.clone()).unwrap();
    let mut all = Vec::new();
    for flush in 1..=40_u64 {
        let session = Session { client: 1, boot: 5 };
        let origin = Origin::new(session, Number(flush), AssignedBy::Leader);
        let value = Value::new(&vec![flush as u8; 977 * flush as usize]);
        let entries = vec![Entry::Value { origin, value }].into();
        let ballot = Ballot { round: flush, proposer: 1, boot: 1 };
        all.push(Record::Accepted { ballot, from: Instance(flush), entries });
        log.append(&all[all.len() - 1]).unwrap();
        log.flush().unwrap();
    }
    assert!(disk.content(LOG).len() > 3 * (1 << 18));
    assert!(open(disk.clone()).unwrap().1 == all);
    // A damaged one is found across windows as well.
    disk.tamper(MANIFEST, |content| {
        let start = content.len() - 1024;
        content[start..].fill(0);
    });
    disk.tamper(LOG, |content| content[200_000] ^= 1);
    assert!(refused(&disk).contains("is damaged"), "{}", refused(&disk));
}

#[test]
fn a_directory_is_held_by_one_process_and_read_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/acceptor-2");
    let held = Directory::open(&path).unwrap();
    assert_eq!(Directory::open(&path).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    let (mut log, ..) = open(held).unwrap();
    store(&mut log, 1).unwrap();
    drop(log);
    assert_eq!(open(Directory::open(&path).unwrap()).unwrap().1, expected(1));
    for name in ["identity", "manifest", "log-00000001", "lock"] {
        let mode = std::fs::metadata(path.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn room_behind_the_end_is_not_torn_and_not_kept() {
    let (disk, lengths) = written(2);
    disk.tamper(LOG, |content| content.resize(content.len() + 4096, 0));
    let (mut log, found, recovered) = open(disk.clone()).unwrap();
    assert_eq!((found, recovered.cut_bytes), (expected(2), 0));
    store(&mut log, 3).unwrap();
    assert_eq!(open(disk.clone()).unwrap().1, expected(3));
    let (disk, _) = written(2);
    disk.tamper(LOG, |content| {
        content.truncate(lengths[2]);
        content.resize(content.len() + 100, 0);
        content.push(1);
    });
    assert_eq!(open(disk).unwrap().2.cut_bytes, 101, "a torn frame may begin with zeros");
}

#[test]
fn a_real_file_grows_by_zeros_and_its_end_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acceptor-2");
    for flush in 1..=3 {
        let (mut log, found, recovered) = open(Directory::open(&path).unwrap()).unwrap();
        assert_eq!((found, recovered.cut_bytes), (expected(flush - 1), 0));
        store(&mut log, flush).unwrap();
        assert!(std::fs::metadata(path.join(LOG)).unwrap().len() >= 1 << 18);
    }
}
