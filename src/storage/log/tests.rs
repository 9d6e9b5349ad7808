//! Every byte of a small log, cut off and flipped; and disks that fail.

use super::*;
use crate::protocol::types::{AssignedBy, Ballot, Entry, Instance, Number, Origin, Session, Value};
use crate::rng::Rng;
use crate::sim::disk::SimDisk;
use crate::storage::disk::Folder;

fn identity() -> Identity {
    Identity { cluster: "test".to_owned(), acceptor: 2, incarnation: 77 }
}

fn records(flush: u64) -> Vec<Record> {
    let ballot = Ballot { round: flush, proposer: 1, boot: u64::MAX };
    let session = Session { client: 1, boot: 5 };
    let origin = Origin { session, number: Number(flush), assigned_by: AssignedBy::Leader };
    let value = Value::new(b"mpxf is the magic, too");
    let entries = vec![Entry::Noop, Entry::Value { origin, value }].into();
    let accepted = Record::Accepted { ballot, from: Instance(flush * 10), entries };
    vec![Record::Promised(ballot), accepted]
}

/// A disk with `flushes` frames, and the length of the log after each.
fn written(flushes: u64) -> (SimDisk, Vec<usize>) {
    let disk = SimDisk::new();
    let (mut log, _) = Log::open(disk.clone(), &identity()).unwrap();
    let before = disk.used();
    let mut lengths = vec![0];
    for flush in 1..=flushes {
        records(flush).iter().for_each(|record| log.append(record).unwrap());
        log.flush().unwrap();
        lengths.push(disk.used() - before);
    }
    (disk, lengths)
}

fn recover(disk: &SimDisk) -> Result<Recovered, LogError> {
    Log::open(disk.clone(), &identity()).map(|(_, recovered)| recovered)
}

fn expected(flushes: u64) -> Vec<Record> {
    (1..=flushes).flat_map(records).collect()
}

#[test]
fn what_was_flushed_comes_back_and_the_log_goes_on() {
    let (disk, _) = written(3);
    let mine = Identity { incarnation: 1, ..identity() };
    let (mut log, recovered) = Log::open(disk.clone(), &mine).unwrap();
    assert_eq!((recovered.records, recovered.incarnation), (expected(3), 77));
    records(4).iter().for_each(|record| log.append(record).unwrap());
    log.flush().unwrap();
    // What is not flushed is not there.
    log.append(&records(5)[0]).unwrap();
    assert_eq!(recover(&disk).unwrap().records, expected(4));
}

#[test]
fn a_log_cut_anywhere_gives_back_its_whole_frames() {
    let (_, lengths) = written(3);
    for length in 0..=lengths[3] {
        let (disk, _) = written(3);
        disk.tamper("log-00000001", |content| content.truncate(length));
        let whole = lengths.iter().filter(|end| **end <= length).count() - 1;
        let recovered = recover(&disk).unwrap();
        assert_eq!(recovered.records, expected(whole as u64), "cut at {length}");
        assert_eq!(recovered.cut_bytes as usize, length - lengths[whole]);
        // The torn end is gone for good.
        assert_eq!(recover(&disk).unwrap().cut_bytes, 0);
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let (_, lengths) = written(3);
    for bit in 0..lengths[3] * 8 {
        let (disk, _) = written(3);
        disk.tamper("log-00000001", |content| content[bit / 8] ^= 1 << (bit % 8));
        let is_last_frame = bit / 8 >= lengths[2];
        match recover(&disk) {
            // The last frame cannot be told from a torn one.
            Ok(recovered) => assert!(is_last_frame && recovered.records == expected(2), "{bit}"),
            Err(error) => {
                assert!(!is_last_frame, "{bit}: {error}");
                let frame = lengths.iter().rposition(|start| *start <= bit / 8).unwrap();
                let place = format!("disk/log-00000001: the record at byte {}", lengths[frame]);
                assert!(error.to_string().starts_with(&place), "{error}");
            }
        }
    }
}

#[test]
fn a_crash_at_any_moment_loses_nothing_that_was_flushed() {
    for seed in 0..200 {
        let (disk, _) = written(5);
        let (mut log, _) = Log::open(disk.clone(), &identity()).unwrap();
        // A frame that was written and never synced.
        disk.set_broken(true);
        records(6).iter().for_each(|record| log.append(record).unwrap());
        assert!(log.flush().is_err());
        disk.set_broken(false);
        disk.crash(&mut Rng::new(seed));
        let recovered = recover(&disk).unwrap().records;
        assert!(recovered == expected(5) || recovered == expected(6), "seed {seed}");
    }
}

#[test]
fn a_full_disk_is_an_error_and_what_was_flushed_stays() {
    let (disk, _) = written(2);
    let (mut log, _) = Log::open(disk.clone(), &identity()).unwrap();
    disk.limit(Some(disk.used() + 10));
    records(3).iter().for_each(|record| log.append(record).unwrap());
    assert_eq!(log.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.limit(None);
    assert_eq!(recover(&disk).unwrap().records, expected(2));
}

#[test]
fn a_log_of_several_segments_is_one_log() {
    let (disk, _) = written(1);
    let (mut log, _) = Log::open(disk.clone(), &identity()).unwrap();
    for flush in 2..=4 {
        log.segment_bytes = SEGMENT_BYTES;
        records(flush).iter().for_each(|record| log.append(record).unwrap());
        log.flush().unwrap();
    }
    assert_eq!(recover(&disk).unwrap().records, expected(4));
    // A torn frame that is not in the last segment was stable once.
    disk.tamper("log-00000002", |content| content.truncate(content.len() - 1));
    assert!(recover(&disk).unwrap_err().to_string().contains("log-00000002: the record at byte 0"));
}

#[test]
fn another_acceptors_data_is_refused() {
    let (disk, _) = written(1);
    for other in [
        Identity { acceptor: 3, ..identity() },
        Identity { cluster: "other".to_owned(), ..identity() },
    ] {
        let refused = Log::open(disk.clone(), &other).unwrap_err().to_string();
        assert!(refused.contains("acceptor 2 of cluster test"), "{refused}");
    }
    disk.tamper("identity", |content| content[30] ^= 1);
    assert!(recover(&disk).unwrap_err().to_string().contains("disk/identity is damaged"));
}

#[test]
fn a_folder_is_held_by_one_process_and_read_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acceptor-2");
    let held = Folder::open(path.clone()).unwrap();
    assert_eq!(Folder::open(path.clone()).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    let (mut log, _) = Log::open(held, &identity()).unwrap();
    records(1).iter().for_each(|record| log.append(record).unwrap());
    log.flush().unwrap();
    drop(log);
    let again = Folder::open(path.clone()).unwrap();
    assert_eq!(Log::open(again, &identity()).unwrap().1.records, expected(1));
    for name in ["identity", "log-00000001", "lock"] {
        let mode = std::fs::metadata(path.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn room_behind_the_end_is_not_torn_and_not_kept() {
    let (disk, lengths) = written(2);
    disk.tamper("log-00000001", |content| content.resize(content.len() + 4096, 0));
    let (mut log, recovered) = Log::open(disk.clone(), &identity()).unwrap();
    assert_eq!((recovered.records, recovered.cut_bytes), (expected(2), 0));
    records(3).iter().for_each(|record| log.append(record).unwrap());
    log.flush().unwrap();
    assert_eq!(recover(&disk).unwrap().records, expected(3));
    disk.tamper("log-00000001", |content| {
        content.truncate(lengths[2]);
        content.resize(content.len() + 100, 0);
        content.push(1);
    });
    assert_eq!(recover(&disk).unwrap().cut_bytes, 101, "a torn frame may begin with zeros");
}

#[test]
fn a_real_file_grows_by_zeros_and_its_end_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acceptor-2");
    let open = || Log::open(Folder::open(path.clone()).unwrap(), &identity()).unwrap();
    for flush in 1..=3 {
        let (mut log, recovered) = open();
        assert_eq!((recovered.records, recovered.cut_bytes), (expected(flush - 1), 0));
        records(flush).iter().for_each(|record| log.append(record).unwrap());
        log.flush().unwrap();
        assert!(std::fs::metadata(path.join("log-00000001")).unwrap().len() >= 1 << 18);
    }
}
