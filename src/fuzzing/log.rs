//! An acceptor's folder after something happened to it.

use super::bytes::Bytes;
use crate::protocol::acceptor::Acceptor;
use crate::protocol::actor::Record;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Ballot, Counted, Entry, Instance};
use crate::sim::disk::SimDisk;
use crate::storage::AcceptorStore;
use crate::storage::error::LogError;
use crate::storage::frame::{FramePlace, HEADER_BYTES, seal};
use crate::storage::identity::Identity;
use crate::storage::log::{Log, LogOptions};
use crate::wire::encode_record;

/// The secret of the directory.
const TOKEN: u64 = 0x1234_5678_9abc_def0;

/// Opening never panics, no matter what the first segment holds. A log that opens can go on: a
/// record appended to it comes back after exactly those that were there before, and trimming it
/// leaves exactly what is needed.
pub fn log_recovery(bytes: &[u8]) {
    let mine = Identity {
        cluster: "fuzz".to_owned(),
        acceptor: 2,
        acceptor_count: 3,
        incarnation: 7,
        token: TOKEN,
    };
    let disk = SimDisk::new();
    // The identity and the manifest, which are not under test here.
    assert!(open(&disk, &mine).is_ok());
    let content = segment(bytes);
    disk.tamper("log-00000001", |file| file.clone_from(&content));
    let Ok((mut log, mut records)) = open(&disk, &mine) else { return };
    let ballot = Ballot { round: 9, proposer: 1, boot: 1 };
    let entries = vec![Entry::Noop; 3].into();
    let record = Record::Accepted { ballot, from: Instance(1), entries };
    assert!(log.append(&record).is_ok() && log.flush().is_ok());
    let Ok((_, after)) = open(&disk, &mine) else { panic!("it opened a moment ago") };
    records.push(record);
    assert_eq!(after, records);
    trim(&disk, &mine, &records);
}

/// Once the log of these records is trimmed, the acceptor is the one that it was, without its votes
/// below the trim point.
fn trim(disk: &SimDisk, mine: &Identity, records: &[Record]) {
    let mut before = acceptor(records);
    let trimmed = Record::Trimmed(before.trimmed().plus(3));
    before.restore(trimmed.clone());
    let options = LogOptions { segment_bytes: 1, ..LogOptions::default() };
    let opening = Log::open(disk.clone(), mine, options);
    let Ok((mut log, _)) = opening.and_then(|opening| opening.recover(drop)) else {
        panic!("it opened a moment ago")
    };
    assert!(log.append(&trimmed).is_ok() && log.flush().is_ok() && log.reclaim().is_ok());
    let Ok((_, records)) = open(disk, mine) else { panic!("it is the same log") };
    let mut after = acceptor(&records);
    // Votes below the trim point, if there are any behind it, go with it.
    after.restore(trimmed);
    assert!(after.remembers_as(&before), "{after:?} was {before:?}");
}

/// The acceptor that these records make.
fn acceptor(records: &[Record]) -> Acceptor {
    let mut acceptor = Acceptor::new(2, 7, Settings::default());
    records.iter().for_each(|record| acceptor.restore(record.clone()));
    acceptor
}

fn open(disk: &SimDisk, mine: &Identity) -> Result<(Log<SimDisk>, Vec<Record>), LogError> {
    let mut records = Vec::new();
    let opening = Log::open(disk.clone(), mine, LogOptions::default())?;
    let (log, _) = opening.recover(|record| records.push(record))?;
    Ok((log, records))
}

/// The segment that `bytes` describe: steps that each add something to it.
fn segment(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = Bytes::new(bytes);
    let mut content: Vec<u8> = Vec::new();
    let mut frame = 1_u64;
    while !bytes.is_empty() {
        let step = bytes.below(8);
        let length = usize::from(bytes.byte());
        let place = FramePlace { token: TOKEN, segment: 1, offset: content.len() as u64 };
        let mut added = match step {
            // Any bytes.
            0 => bytes.take(length).to_vec(),
            // A whole frame of any bytes; of records; and the latter torn.
            1 => sealed(place, frame, bytes.take(length)),
            2 | 3 => sealed(place, frame, &records(&mut bytes, length)),
            4 => {
                let mut torn = sealed(place, frame, &records(&mut bytes, 1));
                torn.truncate(length);
                torn
            }
            // A frame of any number; one of another place; and room.
            5 => sealed(place, bytes.number(), &records(&mut bytes, 1)),
            6 => {
                let elsewhere = FramePlace { offset: bytes.number(), ..place };
                sealed(elsewhere, frame, &records(&mut bytes, 1))
            }
            7 => vec![0; length],
            _ => unreachable!("there are eight steps"),
        };
        frame += u64::from((1..=3).contains(&step));
        content.append(&mut added);
    }
    content
}

fn sealed(place: FramePlace, number: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; HEADER_BYTES];
    frame.extend_from_slice(payload);
    seal(&mut frame, place, number);
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
        } else if bytes.chance() {
            Record::Trimmed(Instance(bytes.number()))
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
