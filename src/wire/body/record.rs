//! The records of an acceptor's log, in the same forms as on the wire.

use bincode::{BorrowDecode, Encode};

use super::{Body, WireBallot, ballot, count, instance, put, wire_ballot};
use crate::protocol::actor::Record;
use crate::wire::Refusal;

/// What precedes a record.
#[derive(Encode, BorrowDecode)]
enum RecordHead {
    Promised { ballot: WireBallot },
    Accepted { ballot: WireBallot, from: u64, entries: u32 },
    Trimmed { below: u64 },
    Forgotten { below: u64 },
}

/// Appends a record of an acceptor's log.
pub(in crate::wire) fn encode_record(record: &Record, buffer: &mut Vec<u8>) {
    match record {
        Record::Promised(ballot) => {
            put(RecordHead::Promised { ballot: wire_ballot(*ballot) }, buffer);
        }
        Record::Accepted { ballot, from, entries } => {
            let (ballot, from) = (wire_ballot(*ballot), from.0);
            put(RecordHead::Accepted { ballot, from, entries: count(entries.len()) }, buffer);
            entries.write(buffer);
        }
        Record::Trimmed(below) => put(RecordHead::Trimmed { below: below.0 }, buffer),
        Record::Forgotten(below) => put(RecordHead::Forgotten { below: below.0 }, buffer),
    }
}

/// Reads a record of an acceptor's log.
pub(in crate::wire) fn decode_record(bytes: &[u8]) -> Result<Record, Refusal> {
    let mut body = Body::new(bytes);
    let record = match body.take()? {
        RecordHead::Promised { ballot: promised } => Record::Promised(ballot(promised)),
        RecordHead::Accepted { ballot: accepted, from, entries } => {
            let entries = body.entries(from, entries)?;
            Record::Accepted { ballot: ballot(accepted), from: instance(from)?, entries }
        }
        RecordHead::Trimmed { below } => Record::Trimmed(instance(below)?),
        RecordHead::Forgotten { below } => Record::Forgotten(instance(below)?),
    };
    if body.rest.is_empty() { Ok(record) } else { Err(Refusal::TrailingBytes) }
}
