//! The body of a leader's acknowledgement to clients.

use bincode::{BorrowDecode, Encode};

use super::{Body, count, instance, put, wire_run};
use crate::protocol::message::{RequestAck, Told};
use crate::protocol::types::Session;
use crate::wire::Refusal;

#[derive(Encode, BorrowDecode)]
struct RequestAckHead {
    quorate: bool,
    full: bool,
    grant: u32,
    decided_below: u64,
    told: u32,
}

#[derive(Encode, BorrowDecode)]
struct ToldHead {
    client: u32,
    boot: u64,
    requested: bool,
    is_forgotten: bool,
    received: u32,
    delivered: u32,
    lost: u32,
}

pub(super) fn encode(ack: &RequestAck, buffer: &mut Vec<u8>) {
    let RequestAck { quorate, full, grant, decided_below, told } = ack;
    let head = RequestAckHead {
        quorate: *quorate,
        full: *full,
        grant: *grant,
        decided_below: decided_below.0,
        told: count(told.len()),
    };
    put(head, buffer);
    for Told { session, requested, is_forgotten, received, delivered, lost } in told {
        let head = ToldHead {
            client: session.client,
            boot: session.boot,
            requested: *requested,
            is_forgotten: *is_forgotten,
            received: count(received.len()),
            delivered: count(delivered.len()),
            lost: count(lost.len()),
        };
        put(head, buffer);
        let runs = [received, delivered, lost].into_iter().flatten();
        runs.for_each(|run| put(wire_run(run), buffer));
    }
}

pub(super) fn decode(body: &mut Body<'_>) -> Result<RequestAck, Refusal> {
    let RequestAckHead { quorate, full, grant, decided_below, told } = body.take()?;
    let told = body.list(told, |body| {
        let head: ToldHead = body.take()?;
        let session = Session { client: head.client, boot: head.boot };
        let (requested, is_forgotten) = (head.requested, head.is_forgotten);
        let received = body.runs(head.received)?;
        let (delivered, lost) = (body.runs(head.delivered)?, body.runs(head.lost)?);
        Ok(Told { session, requested, is_forgotten, received, delivered, lost })
    })?;
    let decided_below = instance(decided_below)?;
    Ok(RequestAck { quorate, full, grant, decided_below, told })
}
