//! The bodies of phase 1: Prepare and Promise.

use bincode::{BorrowDecode, Encode};

use super::{Body, WireBallot, ballot, count, holding, instance, put, until, wire_ballot};
use crate::protocol::message::{AcceptedPage, Prepare, Promise};
use crate::protocol::segments::Page;
use crate::protocol::types::Instance;
use crate::wire::Refusal;

#[derive(Encode, BorrowDecode)]
struct PrepareHead {
    ballot: WireBallot,
    from: u64,
    until: Option<u64>,
    acceptor: Option<u32>,
}

#[derive(Encode, BorrowDecode)]
struct PromiseHead {
    ballot: WireBallot,
    from: u64,
    until: Option<u64>,
    next: Option<u64>,
    is_followed: bool,
    trimmed: u64,
    accepted: u32,
}

#[derive(Encode, BorrowDecode)]
struct AcceptedPageHead {
    ballot: WireBallot,
    from: u64,
    entries: u32,
}

pub(super) fn encode_prepare(prepare: &Prepare, buffer: &mut Vec<u8>) {
    let Prepare { ballot, from, until, acceptor } = prepare;
    let (ballot, from, until) = (wire_ballot(*ballot), from.0, until.map(|until| until.0));
    put(PrepareHead { ballot, from, until, acceptor: *acceptor }, buffer);
}

pub(super) fn encode_promise(promise: &Promise, buffer: &mut Vec<u8>) {
    let head = PromiseHead {
        ballot: wire_ballot(promise.ballot),
        from: promise.from.0,
        until: promise.until.map(|until| until.0),
        next: promise.next.map(|next| next.0),
        is_followed: promise.is_followed,
        trimmed: promise.trimmed.0,
        accepted: count(promise.accepted.len()),
    };
    put(head, buffer);
    for AcceptedPage { ballot, page: Page { from, entries } } in &promise.accepted {
        let (ballot, from) = (wire_ballot(*ballot), from.0);
        put(AcceptedPageHead { ballot, from, entries: count(entries.len()) }, buffer);
        entries.write(buffer);
    }
}

pub(super) fn decode_prepare(body: &mut Body<'_>) -> Result<Prepare, Refusal> {
    let head: PrepareHead = body.take()?;
    Ok(Prepare {
        ballot: ballot(head.ballot),
        from: instance(head.from)?,
        until: until(head.from, head.until)?,
        acceptor: head.acceptor,
    })
}

pub(super) fn decode_promise(body: &mut Body<'_>) -> Result<Promise, Refusal> {
    let head: PromiseHead = body.take()?;
    let accepted = body.list(head.accepted, |body| {
        let AcceptedPageHead { ballot: accepted, from, entries } = body.take()?;
        let (ballot, from): (_, Instance) = (ballot(accepted), holding(from)?);
        let entries = body.entries(from.0, entries)?;
        if entries.is_empty() {
            return Err(Refusal::Impossible);
        }
        Ok(AcceptedPage { ballot, page: Page { from, entries } })
    })?;
    Ok(Promise {
        ballot: ballot(head.ballot),
        from: instance(head.from)?,
        until: until(head.from, head.until)?,
        trimmed: instance(head.trimmed)?,
        accepted,
        next: until(head.from, head.next)?,
        is_followed: head.is_followed,
    })
}
