//! The bodies of the questions that reads ask acceptors, and of the answers.

use bincode::{BorrowDecode, Encode};

use super::{Body, instance, put};
use crate::protocol::message::{ReadReply, ReadRequest};
use crate::wire::Refusal;

#[derive(Encode, BorrowDecode)]
struct WireReadRequest {
    count: u64,
    again: bool,
}

#[derive(Encode, BorrowDecode)]
struct WireReadReply {
    boot: u64,
    count: u64,
    end: u64,
}

pub(super) fn encode_request(request: ReadRequest, buffer: &mut Vec<u8>) {
    let ReadRequest { count, again } = request;
    put(WireReadRequest { count, again }, buffer);
}

pub(super) fn encode_reply(reply: ReadReply, buffer: &mut Vec<u8>) {
    let ReadReply { boot, count, end } = reply;
    put(WireReadReply { boot, count, end: end.0 }, buffer);
}

pub(super) fn decode_request(body: &mut Body<'_>) -> Result<ReadRequest, Refusal> {
    let WireReadRequest { count, again } = body.take()?;
    Ok(ReadRequest { count, again })
}

pub(super) fn decode_reply(body: &mut Body<'_>) -> Result<ReadReply, Refusal> {
    let WireReadReply { boot, count, end } = body.take()?;
    Ok(ReadReply { boot, count, end: instance(end)? })
}
