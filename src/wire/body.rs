//! The bodies of datagrams: private mirrors of the messages, which bincode encodes and decodes.
//!
//! The messages themselves know nothing of bincode. Entries have a form of their own
//! (`protocol::entries`), and are copied unchanged.

mod acknowledging;
mod announcing;
mod fetching;
mod phase1;
mod reading;
mod record;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{BorrowDecode, Encode};

use self::announcing::{put_reading, put_sessions, take_reading, take_sessions};
pub(super) use self::record::{decode_record, encode_record};
use super::Refusal;
use crate::protocol::entries::{Entries, Unreadable};
use crate::protocol::message::{
    Accept, Accepted, Announcement, Assignment, Chosen, Decide, DecideAck, Disown, Echo, Heard,
    Heartbeat, Kind, Message, Nack, Offer, Plea, Progress, Request, Standing,
};
use crate::protocol::types::{
    Ballot, Counted, Few, Instance, NodeId, Number, Origin, Role, Run, Sender, Session, Time,
};
use crate::protocol::versions::Version;

/// No single structure is larger than a datagram, whatever its length fields claim.
const CONFIG: Configuration<LittleEndian, Varint, Limit<65536>> =
    bincode::config::standard().with_limit::<65536>();

// The mirrors: what bincode sees of the messages.

#[derive(Encode, BorrowDecode)]
struct WireBallot {
    round: u64,
    proposer: u32,
    boot: u64,
}

#[derive(Encode, BorrowDecode)]
struct WireRun {
    from: u64,
    length: u64,
}

#[derive(Encode, BorrowDecode)]
struct RequestHead {
    first: Option<u64>,
    from: u64,
    values: u32,
    /// How far the client's front lies below `from`.
    behind: u64,
    opened: u64,
}

#[derive(Encode, BorrowDecode)]
struct AcceptHead {
    ballot: WireBallot,
    watermark: u64,
    chosen: u32,
    full: bool,
    from: u64,
    entries: u32,
}

#[derive(Encode, BorrowDecode)]
struct ChosenHead {
    ballot: WireBallot,
    until: u64,
    runs: u32,
}

#[derive(Encode, BorrowDecode)]
struct AcceptedHead {
    ballot: WireBallot,
    runs: u32,
}

#[derive(Encode, BorrowDecode)]
struct NackHead {
    rejected: WireBallot,
    promised: WireBallot,
}

#[derive(Encode, BorrowDecode)]
struct DecideHead {
    ballot: WireBallot,
    from: u64,
    entries: u32,
}

#[derive(Encode, BorrowDecode)]
struct WireProgress {
    /// How many instances lie between the trim point and `first`.
    recalled: u64,
    first: u64,
    watermark: u64,
    decided: u64,
    end: u64,
    name: u64,
}

/// What follows its standing in an announcement.
#[derive(Encode, BorrowDecode)]
struct WireAnnouncement {
    quorate: bool,
    ballot: WireBallot,
    stamp: u64,
}

/// What follows the announcement in a heartbeat.
#[derive(Encode, BorrowDecode)]
struct HeartbeatTail {
    asks: bool,
    full: bool,
    progress: WireProgress,
}

/// What precedes the number of proposers in an echo.
#[derive(Encode, BorrowDecode)]
struct EchoHead {
    promised: WireBallot,
    accepted: u64,
    full: bool,
}

#[derive(Encode, BorrowDecode)]
struct WireNode {
    role: u8,
    id: u32,
}

#[derive(Encode, BorrowDecode)]
struct OfferHead {
    to: u32,
    callers: u32,
    progress: WireProgress,
}

#[derive(Encode, BorrowDecode)]
struct DisownHead {
    acceptor: u32,
    incarnation: u64,
}

// To the wire.

/// Appends one structure.
fn put(item: impl Encode, buffer: &mut Vec<u8>) {
    // Writing to memory does not fail, and none of the mirrors refuses to be encoded.
    let written = bincode::encode_into_std_write(item, buffer, CONFIG);
    debug_assert!(written.is_ok(), "{written:?}");
}

/// Appends the body of `message` in the form of `version`.
pub(super) fn encode(message: &Message, version: Version, buffer: &mut Vec<u8>) {
    match message {
        Message::Request(request) => {
            let first = match request.assignment {
                Assignment::Client { first } => Some(first.0),
                Assignment::Leader => None,
            };
            let (from, opened) = (request.from.0, request.opened.0);
            let (values, behind) = (count(request.entries.len()), from - request.front.0.min(from));
            put(RequestHead { first, from, values, behind, opened }, buffer);
            // The reader knows the session and the first number.
            request.entries.write_after(request.entries.origin().and_then(Origin::before), buffer);
        }
        Message::RequestAck(ack) => acknowledging::encode(ack, buffer),
        Message::Prepare(prepare) => phase1::encode_prepare(prepare, buffer),
        Message::Promise(promise) => phase1::encode_promise(promise, buffer),
        Message::Accept(accept) => {
            let head = AcceptHead {
                ballot: wire_ballot(accept.ballot),
                watermark: accept.watermark.0,
                chosen: count(accept.chosen.len()),
                full: accept.full,
                from: accept.from.0,
                entries: count(accept.entries.len()),
            };
            put(head, buffer);
            accept.chosen.iter().for_each(|run| put(wire_run(run), buffer));
            accept.entries.write(buffer);
        }
        Message::Accepted(Accepted { ballot, runs }) => {
            put(AcceptedHead { ballot: wire_ballot(*ballot), runs: count(runs.len()) }, buffer);
            runs.iter().for_each(|run| put(wire_run(run), buffer));
        }
        Message::Nack(Nack { rejected, promised }) => {
            let (rejected, promised) = (wire_ballot(*rejected), wire_ballot(*promised));
            put(NackHead { rejected, promised }, buffer);
        }
        Message::Decide(Decide { ballot, from, entries }) => {
            let ballot = wire_ballot(*ballot);
            put(DecideHead { ballot, from: from.0, entries: count(entries.len()) }, buffer);
            entries.write(buffer);
        }
        Message::DecideAck(DecideAck { progress }) => put(wire_progress(*progress), buffer),
        Message::Durable(durable) => fetching::encode_durable(durable, buffer),
        // Its version is that of the datagram.
        Message::Heartbeat(heartbeat) => {
            let Heartbeat { version: _, announcement, asks, full, progress, sessions } = heartbeat;
            put_announcement(*announcement, version, buffer);
            let progress = wire_progress(*progress);
            put(HeartbeatTail { asks: *asks, full: *full, progress }, buffer);
            put_sessions(*sessions, version, buffer);
        }
        Message::Echo(Echo { promised, accepted, full, reads, heard }) => {
            let (promised, accepted, full) = (wire_ballot(*promised), *accepted, *full);
            put(EchoHead { promised, accepted, full }, buffer);
            put_reading(count(heard.len()), *reads, version, buffer);
            for Heard { proposer, boot, announcement } in heard {
                put((*proposer, *boot), buffer);
                put_announcement(*announcement, version, buffer);
            }
        }
        Message::Plea(Plea { pleaded_us, offered, reads }) => {
            put(*pleaded_us, buffer);
            put_reading(count(offered.len()), *reads, version, buffer);
            offered.iter().for_each(|proposer| put(proposer, buffer));
        }
        Message::Offer(Offer { to, callers, progress }) => {
            let (callers, progress) = (*callers, wire_progress(*progress));
            put(OfferHead { to: count(to.len()), callers, progress }, buffer);
            to.iter().for_each(|caller| put(caller, buffer));
        }
        Message::CatchUpRequest(request) => fetching::encode_request(request, buffer),
        Message::CatchUpReply(reply) => fetching::encode_reply(reply, buffer),
        Message::Recall(recall) => fetching::encode_recall(recall, buffer),
        Message::Recalled(recalled) => fetching::encode_recalled(recalled, buffer),
        Message::ReadRequest(request) => reading::encode_request(*request, buffer),
        Message::ReadReply(reply) => reading::encode_reply(*reply, buffer),
        Message::Fetch(fetch) => fetching::encode_fetch(fetch, buffer),
        Message::Chunk(chunk) => fetching::encode_chunk(chunk, buffer),
        Message::Disown(Disown { acceptor, incarnation }) => {
            let (acceptor, incarnation) = (*acceptor, *incarnation);
            put(DisownHead { acceptor, incarnation }, buffer);
        }
        Message::Chosen(Chosen { ballot, until, runs }) => {
            let (ballot, until) = (wire_ballot(*ballot), until.0);
            put(ChosenHead { ballot, until, runs: count(runs.len()) }, buffer);
            runs.iter().for_each(|run| put(wire_run(run), buffer));
        }
    }
}

/// The length of a list. No list of 2^32 items fits a datagram, which is checked afterwards.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn wire_ballot(ballot: Ballot) -> WireBallot {
    WireBallot { round: ballot.round, proposer: ballot.proposer, boot: ballot.boot }
}

fn wire_progress(progress: Progress) -> WireProgress {
    let Progress { trimmed, first, watermark, decided, end, name } = progress;
    let (recalled, first) = (first.0.saturating_sub(trimmed.0), first.0);
    WireProgress { recalled, first, watermark: watermark.0, decided, end: end.0, name }
}

fn wire_node(node: NodeId) -> WireNode {
    WireNode { role: node.role as u8, id: node.id }
}

/// Standings, in the order of their numbers.
const STANDINGS: [Standing; 4] =
    [Standing::Leads, Standing::Campaigns, Standing::Stands, Standing::Abstains];

fn put_announcement(announcement: Announcement, version: Version, buffer: &mut Vec<u8>) {
    let Announcement { standing, quorate, ballot, stamp, reads } = announcement;
    put_reading(standing as u32, reads, version, buffer);
    put(WireAnnouncement { quorate, ballot: wire_ballot(ballot), stamp: stamp.0 }, buffer);
}

fn wire_run<T: Counted>(run: &Run<T>) -> WireRun {
    WireRun { from: run.from.get(), length: run.len() }
}

// From the wire.

/// The rest of a body.
struct Body<'a> {
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Body { rest }
    }

    /// Takes one structure off the front.
    fn take<T: BorrowDecode<'a, ()>>(&mut self) -> Result<T, Refusal> {
        let (item, used) =
            bincode::borrow_decode_from_slice(self.rest, CONFIG).map_err(|_| Refusal::BadBody)?;
        self.rest = self.rest.get(used..).ok_or(Refusal::BadBody)?;
        Ok(item)
    }

    /// Takes `count` items off the front. Memory is allocated for what is there, not for what is
    /// claimed: every item takes at least a byte.
    fn list<T>(
        &mut self,
        count: u32,
        mut item: impl FnMut(&mut Self) -> Result<T, Refusal>,
    ) -> Result<Vec<T>, Refusal> {
        let count = usize::try_from(count).map_err(|_| Refusal::BadBody)?;
        if count > self.rest.len() {
            return Err(Refusal::BadBody);
        }
        let mut items = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn runs<T: Counted>(&mut self, count: u32) -> Result<Few<Run<T>>, Refusal> {
        (0..count).map(|_| run(self.take()?)).collect()
    }

    /// The entries of a page that begins at `from`.
    fn entries(&mut self, from: u64, count: u32) -> Result<Entries, Refusal> {
        instance(from)?;
        from.checked_add(u64::from(count)).ok_or(Refusal::Impossible)?;
        self.entries_after(None, count)
    }

    /// Entries that follow one of origin `before`.
    fn entries_after(&mut self, before: Option<Origin>, count: u32) -> Result<Entries, Refusal> {
        let read = Entries::read_after(self.rest, count, before);
        let (entries, rest) = read.map_err(|why| match why {
            Unreadable::Malformed => Refusal::BadBody,
            Unreadable::Impossible => Refusal::Impossible,
        })?;
        self.rest = rest;
        Ok(entries)
    }

    /// This many bytes.
    fn bytes(&mut self, count: u32) -> Result<&'a [u8], Refusal> {
        let count = usize::try_from(count).map_err(|_| Refusal::BadBody)?;
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(Refusal::BadBody)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// Reads the body of a message of this kind and version from `sender`.
pub(super) fn decode(
    sender: Sender,
    kind: Kind,
    version: Version,
    bytes: &[u8],
) -> Result<Message, Refusal> {
    let mut body = Body::new(bytes);
    let message = match kind {
        Kind::Request => {
            let head: RequestHead = body.take()?;
            let assignment = match head.first {
                Some(first) => Assignment::Client { first: instance(first)? },
                None => Assignment::Leader,
            };
            let last = head.from.checked_add(u64::from(head.values)).ok_or(Refusal::Impossible)?;
            head.first.unwrap_or(0).checked_add(last).ok_or(Refusal::Impossible)?;
            let from = number(head.from)?;
            let front = number(head.from.saturating_sub(head.behind))?;
            let session = Session { client: sender.node.id, boot: sender.boot };
            let opened = Instance(head.opened);
            let origin = Origin::new(session, from, assignment.assigned_by()).stamped(opened);
            let entries = body.entries_after(origin.before(), head.values)?;
            let is_own = entries.numbers().map(|(first, _)| first) == Some(origin);
            if !entries.is_empty() && (!is_own || entries.are_timed()) {
                return Err(Refusal::Impossible);
            }
            Message::Request(Request { assignment, from, front, opened, entries })
        }
        Kind::RequestAck => Message::RequestAck(acknowledging::decode(&mut body)?),
        Kind::Prepare => Message::Prepare(phase1::decode_prepare(&mut body)?),
        Kind::Promise => Message::Promise(phase1::decode_promise(&mut body)?),
        Kind::Accept => {
            let head: AcceptHead = body.take()?;
            Message::Accept(Accept {
                ballot: ballot(head.ballot),
                watermark: instance(head.watermark)?,
                chosen: body.runs(head.chosen)?,
                full: head.full,
                from: instance(head.from)?,
                entries: body.entries(head.from, head.entries)?,
            })
        }
        Kind::Accepted => {
            let head: AcceptedHead = body.take()?;
            let runs = body.runs(head.runs)?;
            Message::Accepted(Accepted { ballot: ballot(head.ballot), runs })
        }
        Kind::Nack => {
            let NackHead { rejected, promised } = body.take()?;
            let (rejected, promised) = (ballot(rejected), ballot(promised));
            Message::Nack(Nack { rejected, promised })
        }
        Kind::Decide => {
            let head: DecideHead = body.take()?;
            let entries = body.entries(head.from, head.entries)?;
            let from = instance(head.from)?;
            Message::Decide(Decide { ballot: ballot(head.ballot), from, entries })
        }
        Kind::DecideAck => Message::DecideAck(DecideAck { progress: progress(body.take()?)? }),
        Kind::Durable => Message::Durable(fetching::decode_durable(&mut body)?),
        Kind::Heartbeat => {
            let announcement = announcement(&mut body, version)?;
            let HeartbeatTail { asks, full, progress: held } = body.take()?;
            let (progress, sessions) = (progress(held)?, take_sessions(&mut body, version)?);
            let heartbeat = Heartbeat::new(version, announcement, progress);
            Message::Heartbeat(Heartbeat { asks, full, sessions, ..heartbeat })
        }
        Kind::Echo => {
            let EchoHead { promised, accepted, full } = body.take()?;
            let (heard, reads) = take_reading(&mut body, version)?;
            let heard = body.list(heard, |body| {
                let (proposer, boot) = body.take()?;
                let announcement = announcement(body, version)?;
                Ok(Heard { proposer: id(proposer)?, boot, announcement })
            })?;
            Message::Echo(Echo { promised: ballot(promised), accepted, full, reads, heard })
        }
        Kind::Plea => {
            let pleaded_us = body.take()?;
            let (offered, reads) = take_reading(&mut body, version)?;
            let offered = body.list(offered, |body| id(body.take()?))?;
            Message::Plea(Plea { pleaded_us, offered, reads })
        }
        Kind::Offer => {
            let OfferHead { to, callers, progress: held } = body.take()?;
            let to = body.list(to, |body| id(body.take()?))?;
            Message::Offer(Offer { to, callers, progress: progress(held)? })
        }
        Kind::CatchUpRequest => Message::CatchUpRequest(fetching::decode_request(&mut body)?),
        Kind::CatchUpReply => Message::CatchUpReply(fetching::decode_reply(&mut body)?),
        Kind::Recall => Message::Recall(fetching::decode_recall(&mut body)?),
        Kind::Recalled => Message::Recalled(fetching::decode_recalled(&mut body)?),
        Kind::ReadRequest => Message::ReadRequest(reading::decode_request(&mut body)?),
        Kind::ReadReply => Message::ReadReply(reading::decode_reply(&mut body)?),
        Kind::Fetch => Message::Fetch(fetching::decode_fetch(&mut body)?),
        Kind::Chunk => Message::Chunk(fetching::decode_chunk(&mut body)?),
        Kind::Disown => {
            let DisownHead { acceptor, incarnation } = body.take()?;
            Message::Disown(Disown { acceptor, incarnation })
        }
        Kind::Chosen => {
            let head: ChosenHead = body.take()?;
            let (ballot, until) = (ballot(head.ballot), instance(head.until)?);
            Message::Chosen(Chosen { ballot, until, runs: body.runs(head.runs)? })
        }
    };
    if body.rest.is_empty() { Ok(message) } else { Err(Refusal::TrailingBytes) }
}

fn instance(number: u64) -> Result<Instance, Refusal> {
    if number == 0 { Err(Refusal::Impossible) } else { Ok(Instance(number)) }
}

fn number(number: u64) -> Result<Number, Refusal> {
    if number == 0 { Err(Refusal::Impossible) } else { Ok(Number(number)) }
}

/// The instance or number of something. The last one can only be an end: no run would hold it.
fn holding<T: Counted>(number: u64) -> Result<T, Refusal> {
    if number == 0 || number == u64::MAX { Err(Refusal::Impossible) } else { Ok(T::new(number)) }
}

/// The end of what begins at `from`.
fn until(from: u64, until: Option<u64>) -> Result<Option<Instance>, Refusal> {
    match until {
        Some(until) if until <= from => Err(Refusal::Impossible),
        Some(until) => Ok(Some(Instance(until))),
        None => Ok(None),
    }
}

/// A run that is not empty.
fn run<T: Counted>(WireRun { from, length }: WireRun) -> Result<Run<T>, Refusal> {
    let until = from.checked_add(length).ok_or(Refusal::Impossible)?;
    if from == 0 || length == 0 {
        return Err(Refusal::Impossible);
    }
    Ok(Run::new(T::new(from), T::new(until)))
}

fn ballot(ballot: WireBallot) -> Ballot {
    Ballot { round: ballot.round, proposer: ballot.proposer, boot: ballot.boot }
}

fn id(id: u32) -> Result<u32, Refusal> {
    if id == 0 { Err(Refusal::Impossible) } else { Ok(id) }
}

fn node(WireNode { role, id: number }: WireNode) -> Result<NodeId, Refusal> {
    let role = *Role::ALL.get(usize::from(role)).ok_or(Refusal::Impossible)?;
    Ok(NodeId { role, id: id(number)? })
}

fn announcement(body: &mut Body<'_>, version: Version) -> Result<Announcement, Refusal> {
    let (standing, reads) = take_reading(body, version)?;
    let standing = *STANDINGS.get(standing as usize).ok_or(Refusal::BadBody)?;
    let said: WireAnnouncement = body.take()?;
    let (quorate, ballot, stamp) = (said.quorate, ballot(said.ballot), Time(said.stamp));
    Ok(Announcement { standing, quorate, ballot, stamp, reads })
}

fn progress(progress: WireProgress) -> Result<Progress, Refusal> {
    let WireProgress { recalled, first, watermark, decided, end, name } = progress;
    let trimmed = instance(first.checked_sub(recalled).ok_or(Refusal::Impossible)?)?;
    let (first, watermark, end) = (instance(first)?, instance(watermark)?, instance(end)?);
    Ok(Progress { trimmed, first, watermark, decided, end, name })
}

#[cfg(test)]
mod tests;
