//! The bodies of catch-up requests, and of the answers.

use bincode::{BorrowDecode, Encode};

use super::{Body, WireBallot, WireNode, WireRun, ballot, count, id, instance, node, put, run};
use super::{wire_ballot, wire_node, wire_run};
use crate::protocol::message::{
    CatchUpReply, CatchUpRequest, Chunk, Durable, Fetch, Recall, Recalled, SnapshotName, StateKind,
    Voted,
};
use crate::protocol::types::{Instance, Run, Value};
use crate::wire::Refusal;

#[derive(Encode, BorrowDecode)]
struct CatchUpRequestHead {
    of: Option<WireNode>,
    again: bool,
    missing: u32,
}

#[derive(Encode, BorrowDecode)]
struct CatchUpReplyHead {
    from: u64,
    last: bool,
    entries: u32,
}

#[derive(Encode, BorrowDecode)]
struct RecallHead {
    of: u32,
    again: bool,
    known: u64,
    run: WireRun,
}

#[derive(Encode, BorrowDecode)]
struct RecalledHead {
    known: u64,
    trimmed: u64,
    run: WireRun,
    last: bool,
    votes: u32,
    /// How far the first entry lies above the beginning of the run.
    above: u64,
    entries: u32,
}

#[derive(Encode, BorrowDecode)]
struct WireSnapshot {
    log: u64,
    of: u64,
    keep: u64,
    bytes: u64,
    tail: u64,
}

#[derive(Encode, BorrowDecode)]
struct FetchHead {
    of: Option<u32>,
    again: bool,
    is_replica: bool,
    snapshot: Option<WireSnapshot>,
    chunk_bytes: u32,
    first: u64,
    wanted: u64,
}

#[derive(Encode, BorrowDecode)]
struct ChunkHead {
    snapshot: WireSnapshot,
    offset: u64,
    bytes: u32,
}

#[derive(Encode, BorrowDecode)]
struct WireVoted {
    run: WireRun,
    ballot: WireBallot,
}

pub(super) fn encode_request(request: &CatchUpRequest, buffer: &mut Vec<u8>) {
    let CatchUpRequest { of, again, missing } = request;
    let (of, again) = (of.map(wire_node), *again);
    put(CatchUpRequestHead { of, again, missing: count(missing.len()) }, buffer);
    missing.iter().for_each(|run| put(wire_run(run), buffer));
}

pub(super) fn encode_reply(reply: &CatchUpReply, buffer: &mut Vec<u8>) {
    let CatchUpReply { from, entries, last } = reply;
    let (from, last, count) = (from.0, *last, count(entries.len()));
    put(CatchUpReplyHead { from, last, entries: count }, buffer);
    entries.write(buffer);
}

pub(super) fn encode_recall(recall: &Recall, buffer: &mut Vec<u8>) {
    let Recall { of, again, known, run } = recall;
    let (of, again, known, run) = (*of, *again, known.0, wire_run(run));
    put(RecallHead { of, again, known, run }, buffer);
}

pub(super) fn encode_recalled(recalled: &Recalled, buffer: &mut Vec<u8>) {
    let Recalled { known, trimmed, run, votes, from, entries, last } = recalled;
    let head = RecalledHead {
        known: known.0,
        trimmed: trimmed.0,
        run: wire_run(run),
        last: *last,
        votes: count(votes.len()),
        above: from.0.saturating_sub(run.from.0),
        entries: count(entries.len()),
    };
    put(head, buffer);
    for Voted { run, ballot } in votes {
        put(WireVoted { run: wire_run(run), ballot: wire_ballot(*ballot) }, buffer);
    }
    entries.write(buffer);
}

pub(super) fn encode_fetch(fetch: &Fetch, buffer: &mut Vec<u8>) {
    let Fetch { of, again, kind, snapshot, chunk_bytes, first, wanted } = *fetch;
    let (is_replica, snapshot) = (kind == StateKind::Replica, snapshot.map(wire_snapshot));
    put(FetchHead { of, again, is_replica, snapshot, chunk_bytes, first, wanted }, buffer);
}

pub(super) fn encode_chunk(chunk: &Chunk, buffer: &mut Vec<u8>) {
    let Chunk { snapshot, offset, bytes } = chunk;
    let (snapshot, bytes) = (wire_snapshot(*snapshot), bytes.as_bytes());
    put(ChunkHead { snapshot, offset: *offset, bytes: count(bytes.len()) }, buffer);
    buffer.extend_from_slice(bytes);
}

fn wire_snapshot(SnapshotName { log, of, keep, bytes, tail }: SnapshotName) -> WireSnapshot {
    WireSnapshot { log, of: of.0, keep: keep.0, bytes, tail }
}

fn snapshot(told: WireSnapshot) -> Result<SnapshotName, Refusal> {
    let WireSnapshot { log, of, keep, bytes, tail } = told;
    Ok(SnapshotName { log, of: instance(of)?, keep: instance(keep)?, bytes, tail })
}

pub(super) fn encode_durable(durable: &Durable, buffer: &mut Vec<u8>) {
    let Durable { below, name } = *durable;
    put((below.0, name), buffer);
}

pub(super) fn decode_durable(body: &mut Body<'_>) -> Result<Durable, Refusal> {
    let (below, name) = body.take()?;
    Ok(Durable { below: instance(below)?, name })
}

pub(super) fn decode_fetch(body: &mut Body<'_>) -> Result<Fetch, Refusal> {
    let head: FetchHead = body.take()?;
    Ok(Fetch {
        of: head.of.map(id).transpose()?,
        again: head.again,
        kind: if head.is_replica { StateKind::Replica } else { StateKind::Digest },
        snapshot: head.snapshot.map(snapshot).transpose()?,
        chunk_bytes: head.chunk_bytes,
        first: head.first,
        wanted: head.wanted,
    })
}

pub(super) fn decode_chunk(body: &mut Body<'_>) -> Result<Chunk, Refusal> {
    let head: ChunkHead = body.take()?;
    Ok(Chunk {
        snapshot: snapshot(head.snapshot)?,
        offset: head.offset,
        bytes: Value::new(body.bytes(head.bytes)?),
    })
}

pub(super) fn decode_request(body: &mut Body<'_>) -> Result<CatchUpRequest, Refusal> {
    let head: CatchUpRequestHead = body.take()?;
    let of = head.of.map(node).transpose()?;
    let missing = body.runs(head.missing)?.into_vec();
    Ok(CatchUpRequest { of, again: head.again, missing })
}

pub(super) fn decode_reply(body: &mut Body<'_>) -> Result<CatchUpReply, Refusal> {
    let head: CatchUpReplyHead = body.take()?;
    let entries = body.entries(head.from, head.entries)?;
    Ok(CatchUpReply { from: instance(head.from)?, entries, last: head.last })
}

pub(super) fn decode_recall(body: &mut Body<'_>) -> Result<Recall, Refusal> {
    let RecallHead { of, again, known, run: asked } = body.take()?;
    Ok(Recall { of: id(of)?, again, known: instance(known)?, run: run(asked)? })
}

pub(super) fn decode_recalled(body: &mut Body<'_>) -> Result<Recalled, Refusal> {
    let head: RecalledHead = body.take()?;
    let told: Run<Instance> = run(head.run)?;
    let votes = body.list(head.votes, |body| {
        let WireVoted { run: voted, ballot: of } = body.take()?;
        Ok(Voted { run: run(voted)?, ballot: ballot(of) })
    })?;
    let from = told.from.0.checked_add(head.above).ok_or(Refusal::Impossible)?;
    Ok(Recalled {
        known: instance(head.known)?,
        trimmed: instance(head.trimmed)?,
        run: told,
        votes,
        from: instance(from)?,
        entries: body.entries(from, head.entries)?,
        last: head.last,
    })
}
