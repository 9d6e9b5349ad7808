//! Messages made of bytes: plausible enough to get past the first check of a role.

use super::bytes::Bytes;
use crate::protocol::checkpoint::{
    Checkpoint, Distance, Finished, Head, History, Limit, OpenValue, TrimPoint,
};
use crate::protocol::entries::Entries;
use crate::protocol::message::{
    Accept, Accepted, AcceptedPage, Announcement, Assignment, CatchUpReply, CatchUpRequest, Chosen,
    Chunk, Decide, DecideAck, Disown, Durable, Echo, Fetch, Heard, Heartbeat, Kind, Message, Nack,
    Offer, Plea, Prepare, Progress, Promise, ReadReply, ReadRequest, Recall, Recalled, Request,
    RequestAck, SnapshotName, Standing, StateKind, Told, Voted,
};
use crate::protocol::segments::Page;
use crate::protocol::sessions::Position;
use crate::protocol::types::{
    AssignedBy, Ballot, Counted, Entry, Few, Instance, LogTime, NodeId, Number, Origin, Part,
    Piece, Role, Run, Sender, Session, Time, Value,
};
use crate::protocol::versions::{Version, Versions};

/// The last messages of a role, so that answers to them can be made.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The last Prepare.
    pub prepare: Option<Prepare>,
    /// The last Accept.
    pub accept: Option<Accept>,
}

impl Said {
    /// The role says `message`.
    pub fn note(&mut self, message: &Message) {
        match message {
            Message::Prepare(prepare) => self.prepare = Some(prepare.clone()),
            Message::Accept(accept) => self.accept = Some(accept.clone()),
            _ => {}
        }
    }

    fn ballot(&self) -> Option<Ballot> {
        let accepting = self.accept.as_ref().map(|accept| accept.ballot);
        accepting.max(self.prepare.as_ref().map(|prepare| prepare.ballot))
    }

    /// What an acceptor that holds nothing answers: to the Accept, or to the Prepare.
    pub fn answer(&self, to_accept: bool) -> Option<Message> {
        if to_accept {
            let Accept { ballot, from, entries, .. } = self.accept.clone()?;
            let runs = [Run::new(from, from.plus(entries.len() as u64))].into();
            return Some(Message::Accepted(Accepted { ballot, runs }));
        }
        let Prepare { ballot, from, until, .. } = self.prepare.clone()?;
        let (trimmed, accepted, next) = (Instance::FIRST, Vec::new(), None);
        let is_followed = false;
        Some(Message::Promise(Promise {
            ballot,
            from,
            until,
            trimmed,
            accepted,
            next,
            is_followed,
        }))
    }
}

/// A process that may send messages of this kind, with one of two boot numbers.
pub fn sender(bytes: &mut Bytes<'_>, kind: Kind) -> Sender {
    let role = match kind {
        Kind::Request => Role::Client,
        Kind::RequestAck
        | Kind::Prepare
        | Kind::Accept
        | Kind::Decide
        | Kind::Disown
        | Kind::Offer
        | Kind::Chosen => Role::Proposer,
        Kind::Promise
        | Kind::Accepted
        | Kind::Nack
        | Kind::Echo
        | Kind::Recalled
        | Kind::ReadReply => Role::Acceptor,
        Kind::DecideAck
        | Kind::Durable
        | Kind::Recall
        | Kind::ReadRequest
        | Kind::Fetch
        | Kind::Chunk => Role::Learner,
        Kind::Plea => {
            if bytes.chance() {
                Role::Client
            } else {
                Role::Learner
            }
        }
        Kind::Heartbeat | Kind::CatchUpRequest | Kind::CatchUpReply => {
            if bytes.chance() {
                Role::Proposer
            } else {
                Role::Learner
            }
        }
    };
    let choice = bytes.byte();
    let id = 1 + u32::from(choice % 4);
    Sender { node: NodeId::new(role, id), boot: 1 + u64::from(choice >= 240) }
}

/// A message of this kind from `sender`. It may be one that does not decode.
pub fn message(bytes: &mut Bytes<'_>, sender: Sender, kind: Kind, said: &Said) -> Message {
    match kind {
        Kind::Request => {
            let assignment = match bytes.byte() {
                0..128 => Assignment::Leader,
                _ => Assignment::Client { first: instance(bytes) },
            };
            let from = Number(bytes.number());
            let front = if from.0.is_multiple_of(2) { Number::FIRST } else { from };
            let values: Vec<Value> = (0..bytes.below(6)).map(|_| value(bytes)).collect();
            let session = Session { client: sender.node.id, boot: sender.boot };
            let opened = stamp(bytes);
            let origin = Origin::new(session, from, assignment.assigned_by()).stamped(opened);
            let entries = Entries::numbered(origin, values.iter().map(Value::as_bytes));
            Message::Request(Request { assignment, from, front, opened, entries })
        }
        Kind::RequestAck => {
            let told = |bytes: &mut Bytes<'_>| Told {
                session: session(bytes),
                requested: bytes.chance(),
                is_forgotten: bytes.byte() >= 224,
                received: runs(bytes),
                delivered: runs(bytes),
                lost: runs(bytes),
            };
            let (quorate, count) = (bytes.chance(), bytes.below(4));
            let told = (0..count).map(|_| told(bytes)).collect();
            let (grant, decided_below) = (bytes.number() as u32, instance(bytes));
            // Taken from the grant, so that inputs found earlier keep their meaning.
            let full = grant % 8 == 7;
            Message::RequestAck(RequestAck { quorate, full, grant, decided_below, told })
        }
        Kind::Prepare => Message::Prepare(Prepare {
            ballot: ballot(bytes, said),
            from: instance(bytes),
            until: bytes.chance().then(|| instance(bytes)),
            acceptor: bytes.chance().then(|| u32::from(bytes.below(4))),
        }),
        Kind::Promise => {
            let asked = said.prepare.clone().filter(|_| bytes.byte() < 192);
            let from = asked.as_ref().map_or_else(|| instance(bytes), |asked| asked.from);
            let until = asked.map_or_else(|| None, |asked| asked.until);
            let accepted = |bytes: &mut Bytes<'_>| AcceptedPage {
                page: Page { from: instance(bytes), entries: vec![entry(bytes)].into() },
                ballot: ballot(bytes, said),
            };
            Message::Promise(Promise {
                ballot: ballot(bytes, said),
                from,
                until,
                trimmed: if bytes.byte() < 32 { instance(bytes) } else { Instance::FIRST },
                accepted: (0..bytes.below(6)).map(|_| accepted(bytes)).collect(),
                next: (bytes.byte() >= 192).then(|| instance(bytes)),
                is_followed: bytes.byte() >= 192,
            })
        }
        Kind::Accept => {
            let (ballot, watermark) = (ballot(bytes, said), instance(bytes));
            let (chosen, from, entries) = (runs(bytes), instance(bytes), entries(bytes));
            let full = watermark.0 % 4 == 3;
            Message::Accept(Accept { ballot, watermark, chosen, full, from, entries })
        }
        Kind::Accepted => {
            Message::Accepted(Accepted { ballot: ballot(bytes, said), runs: runs(bytes) })
        }
        Kind::Nack => Message::Nack(Nack {
            rejected: ballot(bytes, said),
            promised: ballot(bytes, &Said::default()),
        }),
        Kind::Decide => Message::Decide(Decide {
            ballot: ballot(bytes, said),
            from: instance(bytes),
            entries: entries(bytes),
        }),
        Kind::DecideAck => Message::DecideAck(DecideAck { progress: progress(bytes) }),
        Kind::Durable => {
            let (name, below) = (u64::from(bytes.chance()), instance(bytes));
            Message::Durable(Durable { below, name })
        }
        Kind::Heartbeat => {
            let (announcement, asks) = (announcement(bytes), bytes.chance());
            let progress = progress(bytes);
            let full = announcement.stamp.0 % 4 == 3;
            let version = [Version::OLDEST, Version::NEWEST][announcement.stamp.0 as usize % 2];
            let sessions = progress.decided as usize % 8192;
            let heartbeat = Heartbeat::new(version, announcement, progress).remembering(sessions);
            Message::Heartbeat(Heartbeat { asks, full, ..heartbeat })
        }
        Kind::Echo => {
            let (promised, accepted) = (ballot(bytes, said), bytes.number());
            let heard = (0..bytes.below(5)).map(|_| heard(bytes)).collect();
            let (full, reads) = (accepted % 4 == 3, reads(accepted));
            Message::Echo(Echo { promised, accepted, full, reads, heard })
        }
        Kind::Plea => {
            let offered = (0..bytes.below(4)).map(|_| 1 + u32::from(bytes.below(4))).collect();
            let pleaded_us = bytes.number();
            Message::Plea(Plea { pleaded_us, offered, reads: reads(pleaded_us) })
        }
        Kind::Offer => {
            let to = (0..bytes.below(4)).map(|_| 1 + u32::from(bytes.below(2))).collect();
            let callers = u32::from(bytes.below(255));
            Message::Offer(Offer { to, callers, progress: progress(bytes) })
        }
        Kind::CatchUpRequest => {
            let node = |bytes: &mut Bytes<'_>| {
                let role = if bytes.chance() { Role::Proposer } else { Role::Learner };
                NodeId::new(role, 1 + u32::from(bytes.below(2)))
            };
            let of = bytes.chance().then(|| node(bytes));
            let again = bytes.chance();
            Message::CatchUpRequest(CatchUpRequest { of, again, missing: runs(bytes).into_vec() })
        }
        Kind::CatchUpReply => Message::CatchUpReply(CatchUpReply {
            from: instance(bytes),
            entries: entries(bytes),
            last: bytes.chance(),
        }),
        Kind::Disown => Message::Disown(Disown {
            acceptor: u32::from(bytes.below(4)),
            incarnation: bytes.number(),
        }),
        Kind::Chosen => Message::Chosen(Chosen {
            ballot: ballot(bytes, said),
            until: instance(bytes),
            runs: runs(bytes),
        }),
        Kind::Fetch => Message::Fetch(Fetch {
            of: bytes.chance().then(|| 1 + u32::from(bytes.below(2))),
            again: bytes.chance(),
            kind: if bytes.chance() { StateKind::Digest } else { StateKind::Replica },
            snapshot: bytes.chance().then(|| snapshot(bytes)),
            chunk_bytes: u32::from(bytes.below(255)),
            first: bytes.number(),
            wanted: bytes.number(),
        }),
        Kind::Chunk => {
            let (snapshot, offset) = (snapshot(bytes), bytes.number());
            let length = usize::from(bytes.below(64));
            Message::Chunk(Chunk { snapshot, offset, bytes: Value::new(&vec![7; length]) })
        }
        Kind::Recall => Message::Recall(Recall {
            of: 1 + u32::from(bytes.below(3)),
            again: bytes.chance(),
            known: instance(bytes),
            run: run(bytes),
        }),
        Kind::Recalled => {
            let voted = |bytes: &mut Bytes<'_>| Voted {
                run: run(bytes),
                ballot: Ballot { round: 1 + u64::from(bytes.below(4)), proposer: 1, boot: 1 },
            };
            let (known, run) = (instance(bytes), run(bytes));
            Message::Recalled(Recalled {
                known,
                trimmed: if bytes.byte() < 32 { instance(bytes) } else { Instance::FIRST },
                run,
                votes: (0..bytes.below(4)).map(|_| voted(bytes)).collect(),
                from: run.from.plus(u64::from(bytes.below(3))),
                entries: entries(bytes),
                last: bytes.chance(),
            })
        }
        Kind::ReadRequest => Message::ReadRequest(ReadRequest {
            count: u64::from(bytes.below(4)),
            again: bytes.chance(),
        }),
        Kind::ReadReply => Message::ReadReply(ReadReply {
            boot: 1,
            count: u64::from(bytes.below(4)),
            end: instance(bytes),
        }),
    }
}

fn snapshot(bytes: &mut Bytes<'_>) -> SnapshotName {
    let of = instance(bytes);
    let (log, tail) = (u64::from(bytes.chance()), u64::from(bytes.below(2)));
    SnapshotName { log, of, keep: of, bytes: bytes.number(), tail }
}

fn instance(bytes: &mut Bytes<'_>) -> Instance {
    Instance(bytes.number())
}

/// Mostly the ballot that the role uses itself, if it does.
fn ballot(bytes: &mut Bytes<'_>, said: &Said) -> Ballot {
    match (bytes.byte(), said.ballot()) {
        (0..192, Some(ballot)) => ballot,
        (choice, _) => {
            let proposer = 1 + u32::from(choice % 4);
            Ballot { round: bytes.number(), proposer, boot: 1 }
        }
    }
}

/// Mostly what this release reads; `number` is of something else.
fn reads(number: u64) -> Versions {
    if number % 8 == 5 { Versions::BEFORE } else { Versions::ALL }
}

fn announcement(bytes: &mut Bytes<'_>) -> Announcement {
    let standing = match bytes.below(4) {
        0 => Standing::Leads,
        1 => Standing::Campaigns,
        2 => Standing::Stands,
        _ => Standing::Abstains,
    };
    let (quorate, ballot) = (bytes.chance(), ballot(bytes, &Said::default()));
    let stamp = Time(bytes.number());
    Announcement { standing, quorate, ballot, stamp, reads: reads(stamp.0) }
}

/// Mostly of a proposer that may be the one under test, with its boot number.
fn heard(bytes: &mut Bytes<'_>) -> Heard {
    let choice = bytes.byte();
    Heard {
        proposer: 1 + u32::from(choice % 4),
        boot: if choice < 192 { super::roles::BOOT } else { 1 },
        announcement: announcement(bytes),
    }
}

fn progress(bytes: &mut Bytes<'_>) -> Progress {
    let (watermark, decided, end) = (instance(bytes), bytes.number() - 1, instance(bytes));
    let first = Instance::FIRST.max(instance(bytes));
    let trimmed = if bytes.chance() { first } else { Instance::FIRST };
    let name = u64::from(bytes.chance());
    Progress { trimmed, first, watermark, decided, end, name }
}

/// Where a session was opened: mostly low, or nowhere.
fn stamp(bytes: &mut Bytes<'_>) -> Instance {
    match bytes.byte() {
        0..64 => Origin::UNSTAMPED,
        low @ 64..240 => Instance(u64::from(low) - 63),
        _ => instance(bytes),
    }
}

fn session(bytes: &mut Bytes<'_>) -> Session {
    let choice = bytes.byte();
    Session { client: 1 + u32::from(choice % 2), boot: 1 + u64::from(choice >= 240) }
}

/// The time of an entry: mostly none, otherwise one of a few.
fn time(bytes: &mut Bytes<'_>) -> LogTime {
    match bytes.byte() {
        0..192 => LogTime::NONE,
        low @ 192..248 => LogTime(1_800_000_000_000 + u64::from(low % 8) * 600_000),
        _ => LogTime(bytes.number() % LogTime::MAX.0),
    }
}

/// A value: mostly short, now and then the longest that fits, or longer.
fn value(bytes: &mut Bytes<'_>) -> Value {
    match bytes.byte() {
        short @ 0..240 => Value::new(bytes.take(usize::from(short % 8))),
        long => Value::new(&vec![b'v'; usize::from(long - 239) * 96]),
    }
}

fn entry(bytes: &mut Bytes<'_>) -> Entry {
    let (assigned_by, is_part) = match bytes.below(4) {
        0 => return Entry::Noop,
        1 => (AssignedBy::Client, false),
        2 => (AssignedBy::Leader, false),
        _ => (AssignedBy::Leader, true),
    };
    let origin = Origin::new(session(bytes), Number(bytes.number()), assigned_by);
    let origin = origin.stamped(stamp(bytes)).timed(time(bytes));
    if is_part { part(origin, bytes) } else { Entry::Value { origin, value: value(bytes) } }
}

/// Part of a value: mostly of one of a few lengths, so that some series are whole.
fn part(origin: Origin, bytes: &mut Bytes<'_>) -> Entry {
    let of = |byte, length: usize| Value::new(&vec![byte; length]);
    let choice = bytes.byte();
    if choice >= 248 {
        return checkpoint(bytes);
    }
    let (part, bytes) = match choice {
        0..96 => {
            let value_bytes = [40, 72, 96, 1 << 26][usize::from(choice) % 4];
            (Part::First { value_bytes }, of(b'f', Part::BYTES_MIN))
        }
        96..160 => (Part::Middle, of(b'm', Part::BYTES_MIN)),
        _ => (Part::Last, of(b'l', 8 * (1 + usize::from(choice % 5)))),
    };
    Entry::Part { origin, part, bytes }
}

/// A piece of a checkpoint: the whole of one that may be possible, or a piece of nothing.
fn checkpoint(bytes: &mut Bytes<'_>) -> Entry {
    if bytes.chance() {
        let mut below = |most: Instance| Instance(1 + bytes.number() % most.0);
        let of = below(Instance(1 << 40));
        let (trim, forget) = (below(of), below(of));
        let (trim, forget) = (trim.min(forget), trim.max(forget));
        let (keep, idle_below, last) = (below(of), below(of), below(of));
        let time = LogTime(bytes.number() % LogTime::MAX.0);
        let head = Head { of, keep, trim, forget, idle_below, time };
        let (next, has_ended) = (Number(bytes.number()), bytes.chance());
        let opened = stamp(bytes);
        let position = Position { next, has_ended, last, opened };
        let open = OpenValue { session: session(bytes), instances: vec![head.keep] };
        let open = if bytes.chance() { vec![open] } else { Vec::new() };
        let sessions = vec![(session(bytes), position)];
        let (name, horizon) = (1, stamp(bytes));
        if bytes.chance() {
            return history(bytes, of).entry();
        }
        let whole = Checkpoint { head, name, sessions, horizon, open };
        let whole = whole.pieces(Value::BYTES_MAX);
        return whole.into_iter().next().unwrap_or(Entry::Noop);
    }
    if bytes.byte() < 128 {
        return remembered(bytes);
    }
    let count = 1 + u32::from(bytes.below(3));
    let piece = Piece { place: u32::from(bytes.below(3)) % count, count, series: 1 };
    Entry::Checkpoint { piece, bytes: value(bytes) }
}

/// How many sessions are remembered, or which ones have finished.
fn remembered(bytes: &mut Bytes<'_>) -> Entry {
    if bytes.chance() {
        let count = bytes.below(4);
        let sessions = (0..count).map(|_| (session(bytes), Number(bytes.number()))).collect();
        return Finished { sessions }.entry();
    }
    Limit { sessions: bytes.below(4).into(), is_sparing: bytes.chance() }.entry()
}

/// Where the log may be trimmed below a checkpoint of `of`.
fn history(bytes: &mut Bytes<'_>, of: Instance) -> History {
    let written = LogTime(bytes.number() % LogTime::MAX.0);
    let mut points: Vec<TrimPoint> = Vec::new();
    for _ in 0..bytes.below(4) {
        let before = points.last().map_or(0, |point| point.of.0);
        let point = Instance(before + 1 + bytes.number() % of.0);
        if point < of {
            let keep = Instance(1 + bytes.number() % point.0);
            let (age_ms, passed, values) = (bytes.number(), bytes.number(), bytes.number());
            let back = Distance { age_ms, bytes: passed, values };
            points.push(TrimPoint { of: point, keep, back });
        }
    }
    History { of, written, points }
}

fn entries(bytes: &mut Bytes<'_>) -> Entries {
    (0..bytes.below(6)).map(|_| entry(bytes)).collect()
}

fn run<T: Counted>(bytes: &mut Bytes<'_>) -> Run<T> {
    let from = T::new(bytes.number());
    Run::new(from, from.plus(bytes.number()))
}

fn runs<T: Counted>(bytes: &mut Bytes<'_>) -> Few<Run<T>> {
    (0..bytes.below(5)).map(|_| run(bytes)).collect()
}

/// The length of the longest value in `message`.
pub fn longest_value(message: &Message) -> usize {
    let of = |entries: &Entries| entries.values().map(<[u8]>::len).max().unwrap_or(0);
    match message {
        Message::Request(Request { entries, .. })
        | Message::Accept(Accept { entries, .. })
        | Message::Decide(Decide { entries, .. })
        | Message::CatchUpReply(CatchUpReply { entries, .. })
        | Message::Recalled(Recalled { entries, .. }) => of(entries),
        Message::Promise(Promise { accepted, .. }) => {
            accepted.iter().map(|accepted| of(&accepted.page.entries)).max().unwrap_or(0)
        }
        _ => 0,
    }
}
