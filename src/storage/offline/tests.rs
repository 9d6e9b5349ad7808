//! Logs written by the store itself, intact and damaged at random.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::protocol::checkpoint::Limit;
use crate::protocol::entries::EntriesBuilder;
use crate::protocol::types::{AssignedBy, Entry, Number, Origin, Session, Value};
use crate::rng::Rng;
use crate::storage::AcceptorStore;
use crate::storage::directory::Directory;

fn ballot(round: u64) -> Ballot {
    Ballot { round, proposer: 2, boot: 7 }
}

fn vote(round: u64, from: u64, values: &[&str]) -> Record {
    let mut entries = EntriesBuilder::new();
    entries.push(EntryRef::Noop);
    for (number, value) in (from..).zip(values) {
        let session = Session { client: 3, boot: 0xbeef };
        let origin = Origin::new(session, Number(number), AssignedBy::Leader);
        entries.push(EntryRef::Value { origin, value: value.as_bytes() });
    }
    Record::Accepted { ballot: ballot(round), from: Instance(from), entries: entries.finish() }
}

/// A log of a few records, in segments so small that there are several.
fn written(is_ended: bool) -> TempDir {
    let votes = (1..8).map(|round| vote(round, round * 10, &["a", "", "ccc"])).collect();
    written_with(is_ended, votes)
}

/// The same of these votes.
fn written_with(is_ended: bool, votes: Vec<Record>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity {
        cluster: "team".to_owned(),
        acceptor: 2,
        acceptor_count: 3,
        incarnation: 5,
        token: 0x1234_5678_9abc_def0,
    };
    let options = LogOptions { segment_bytes: 200, ..LogOptions::default() };
    let directory = Directory::open(folder.path()).unwrap();
    let (mut log, _) = Log::open(directory, &identity, options).unwrap().recover(|_| ()).unwrap();
    log.append(&Record::Promised(ballot(1))).unwrap();
    log.flush().unwrap();
    for vote in votes {
        log.append(&vote).unwrap();
        log.flush().unwrap();
    }
    if is_ended {
        log.close().unwrap();
    }
    folder
}

fn shown(path: &Path, instances: Option<(u64, u64)>) -> (String, Result<(), OfflineError>) {
    let mut out = Vec::new();
    let result = show(path, instances, &mut out);
    (String::from_utf8(out).unwrap(), result)
}

fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        names.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn a_whole_log_is_told_in_a_sentence_and_in_lines() {
    for is_ended in [false, true] {
        let folder = written(is_ended);
        let before = contents(folder.path());
        assert!(before.len() >= 5, "several segments: {}", before.len());
        let path = folder.path().display();
        assert_eq!(
            verify(folder.path()).unwrap(),
            format!(
                "{path}: acceptor 2 of cluster team would start: 8 records, 28 votes up to \
                 instance 73, promised 7.P2"
            )
        );
        let (lines, result) = shown(folder.path(), None);
        result.unwrap();
        assert_eq!(lines.lines().count(), 29);
        assert!(
            lines.starts_with("-\t1.P2\tpromise\t-\t0\t-\n10\t1.P2\tno-op\t-\t0\t-\n"),
            "{lines}"
        );
        let (lines, _) = shown(folder.path(), Some((12, 20)));
        let expected = "12\t1.P2\tvalue\tC3.000000000000beef#11\t0\t-\n\
                        13\t1.P2\tvalue\tC3.000000000000beef#12\t3\t-\n\
                        20\t2.P2\tno-op\t-\t0\t-\n";
        assert_eq!(lines, expected);
        assert_eq!(contents(folder.path()), before);
    }
}

/// For any damage there is an answer, and not a byte changes.
#[test]
fn a_damaged_log_is_told_and_left_as_it_is() {
    let whole = written(false);
    let files = contents(whole.path());
    let random = &mut Rng::new(11);
    let (mut broken, mut fine) = (0, 0);
    for _ in 0..600 {
        let (path, bytes) = &files[random.below(files.len() as u64) as usize];
        let mut damaged = bytes.clone();
        match random.below(4) {
            0 => damaged.truncate(random.below(bytes.len() as u64 + 1) as usize),
            1 => damaged.extend((0..random.below(300)).map(|_| random.next_u64() as u8)),
            _ if bytes.is_empty() => continue,
            _ => {
                let place = random.below(bytes.len() as u64) as usize;
                damaged[place] ^= 1 << random.below(8);
            }
        }
        fs::write(path, &damaged).unwrap();
        let before = contents(whole.path());
        match verify(whole.path()) {
            Ok(_) => fine += 1,
            Err(OfflineError::Broken(what)) => {
                broken += 1;
                assert!(!what.is_empty() && !what.contains('\n'), "{what}");
            }
            Err(other) => panic!("{path}: {other}"),
        }
        let (_, result) = shown(whole.path(), None);
        assert!(matches!(result, Ok(()) | Err(OfflineError::Broken(_))), "{result:?}");
        assert_eq!(contents(whole.path()), before);
        fs::write(path, bytes).unwrap();
    }
    assert!(broken > 200 && fine > 5, "{broken} {fine}");
}

#[test]
fn a_log_without_its_identity_or_its_segment_is_broken() {
    for (name, words) in [("identity", " is missing beside "), ("log-00000001", " is missing")] {
        let folder = written(true);
        fs::remove_file(folder.path().join(name)).unwrap();
        let Err(OfflineError::Broken(what)) = verify(folder.path()) else { panic!("{name}") };
        assert!(what.contains(words), "{what}");
    }
}

/// Entries of a later release are listed under the number of their kind, and an acceptor keeps
/// them.
#[test]
fn control_entries_of_unknown_kinds_are_listed_by_their_number() {
    let piece = |place, content: &[u8]| Entry::Checkpoint {
        piece: Piece { place, count: 2, series: 9 },
        bytes: Value::new(content),
    };
    let limit = Limit { sessions: 9, is_sparing: true }.entry();
    let entries = vec![limit, piece(0, &[0, 77, 1]), piece(1, b"rest"), Entry::Noop];
    let (ballot, from) = (ballot(1), Instance(5));
    let votes = vec![Record::Accepted { ballot, from, entries: entries.into() }];
    let folder = written_with(true, votes);
    verify(folder.path()).unwrap();
    let expected = "5\t1.P2\tlimit\t-\t3\t-\n\
                    6\t1.P2\tcontrol-77\t-\t3\t-\n\
                    7\t1.P2\tcontrol-77\t-\t4\t-\n\
                    8\t1.P2\tno-op\t-\t0\t-\n";
    let (lines, result) = shown(folder.path(), Some((5, 8)));
    result.unwrap();
    assert_eq!(lines, expected);
    let (lines, _) = shown(folder.path(), Some((7, 8)));
    assert_eq!(
        Some(lines.as_str()),
        expected.split_once("7\t1").map(|(head, _)| &expected[head.len()..])
    );
}
