//! An acceptor's folder after something happened to it.

use super::bytes::Bytes;
use crate::protocol::actor::Record;
use crate::protocol::types::{Ballot, Entry, Instance};
use crate::sim::disk::SimDisk;
use crate::storage::AcceptorStore;
use crate::storage::disk::Disk;
use crate::storage::log::{Identity, Log, Recovered, seal};
use crate::wire::encode_record;

/// A frame's header, filled in by `seal`.
const HEADER_BYTES: usize = 20;

/// Whatever the segments hold, opening never panics. What opens goes on: a record that is appended
/// then comes back after exactly those that were there before.
pub fn log_recovery(bytes: &[u8]) {
    let mine = Identity { cluster: "fuzz".to_owned(), acceptor: 2, incarnation: 7 };
    let mut disk = SimDisk::new();
    // A fresh log writes the identity, which is not what is tried here.
    assert!(Log::open(disk.clone(), &mine).is_ok());
    for (name, content) in segments(bytes) {
        assert!(disk.create(&name, &content).is_ok());
    }
    let Ok((mut log, before)) = Log::open(disk.clone(), &mine) else { return };
    let ballot = Ballot { round: 9, proposer: 1, boot: 1 };
    let entries = vec![Entry::Noop; 3].into();
    let record = Record::Accepted { ballot, from: Instance(1), entries };
    assert!(log.append(&record).is_ok() && log.flush().is_ok());
    let Ok((_, after)) = Log::open(disk, &mine) else { panic!("it opened a moment ago") };
    let Recovered { incarnation, mut records, .. } = before;
    records.push(record);
    assert_eq!(after, Recovered { incarnation, records, cut_bytes: 0 });
}

/// The segments that `bytes` describe: steps that each add something to the last of them.
fn segments(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut bytes = Bytes::new(bytes);
    let (mut segment, mut frame) = (1_u64, 1_u64);
    let mut segments = vec![(name(segment), Vec::new())];
    while !bytes.is_empty() {
        let step = bytes.below(8);
        let length = usize::from(bytes.byte());
        let mut added = Vec::new();
        match step {
            // Any bytes.
            0 => added.extend_from_slice(bytes.take(length)),
            // A whole frame of any bytes; of records; and the latter torn.
            1 => added = sealed(frame, bytes.take(length)),
            2 | 3 => added = sealed(frame, &records(&mut bytes, length)),
            4 => {
                added = sealed(frame, &records(&mut bytes, 1));
                added.truncate(length);
            }
            // A frame of any number.
            5 => added = sealed(bytes.number(), &records(&mut bytes, 1)),
            // The next segment, or one that does not follow.
            6 | 7 => {
                segment += if step == 6 { 1 } else { 2 };
                segments.push((name(segment), Vec::new()));
            }
            _ => unreachable!("there are eight steps"),
        }
        frame += u64::from((1..=3).contains(&step));
        if let Some((_, content)) = segments.last_mut() {
            content.append(&mut added);
        }
    }
    segments
}

fn name(segment: u64) -> String {
    format!("log-{segment:08}")
}

fn sealed(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; HEADER_BYTES];
    frame.extend_from_slice(payload);
    seal(&mut frame, number);
    frame
}

/// The payload of a frame of a few records.
fn records(bytes: &mut Bytes<'_>, count: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    for _ in 0..count % 4 {
        let ballot = Ballot { round: bytes.number(), proposer: 1, boot: bytes.number() };
        let record = if bytes.chance() {
            let entries = vec![Entry::Noop; usize::from(bytes.below(4))].into();
            Record::Accepted { ballot, from: Instance(bytes.number()), entries }
        } else {
            Record::Promised(ballot)
        };
        let mut encoded = Vec::new();
        encode_record(&record, &mut encoded);
        payload.extend_from_slice(&(encoded.len() as u32).to_le_bytes());
        payload.append(&mut encoded);
    }
    payload
}
