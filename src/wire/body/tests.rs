//! Round trips, bounds, and every way a datagram can be broken.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::fuzzing::CLUSTER;
use crate::protocol::entries::EntryRef;
use crate::protocol::message::{
    AcceptedPage, CatchUpReply, CatchUpRequest, Chunk, Durable, Fetch, Prepare, Promise, ReadReply,
    ReadRequest, Recall, Recalled, RequestAck, SnapshotName, StateKind, Told, Voted,
};
use crate::protocol::types::Few;
use crate::wire::*;

use crate::protocol::segments::Page;
use crate::protocol::settings::Settings;
use crate::protocol::types::{
    AssignedBy, ENTRY_BYTES_MAX, Entry, LogTime, MESSAGE_BYTES_MAX, NodeId, Part, RUN_BYTES_MAX,
    Role, Sender, Value,
};

/// The largest numbers everywhere, so that sizes are upper bounds.
const BIG: Ballot = Ballot { round: u64::MAX, proposer: u32::MAX, boot: u64::MAX };
const SNAPSHOT: SnapshotName = SnapshotName {
    log: u64::MAX,
    of: Instance(u64::MAX),
    keep: Instance(u64::MAX),
    bytes: u64::MAX,
    tail: u64::MAX,
};
const SESSION: Session = Session { client: u32::MAX, boot: u64::MAX };

fn value(assigned_by: AssignedBy, number: u64, bytes: &[u8]) -> Entry {
    let origin = Origin::new(SESSION, Number(number), assigned_by);
    Entry::Value { origin, value: Value::new(bytes) }
}

fn entries() -> Entries {
    let entries = vec![
        value(AssignedBy::Client, u64::MAX - 9, b"a\0\xff"),
        value(AssignedBy::Client, u64::MAX - 8, b""),
        Entry::Noop,
        value(AssignedBy::Leader, u64::MAX - 1, b"c\r"),
        value(AssignedBy::Leader, 1, b"d"),
        part(2, Part::First { value_bytes: 100 }),
        part(3, Part::Middle),
        part(9, Part::Last),
    ];
    entries.into()
}

fn part(number: u64, part: Part) -> Entry {
    let assigned_by = AssignedBy::Leader;
    let origin = Origin::new(SESSION, Number(number), assigned_by).timed(LogTime::MAX);
    Entry::Part { origin, part, bytes: Value::new(&[b'p'; 40]) }
}

fn requested(values: &[&[u8]]) -> Entries {
    let assigned_by = AssignedBy::Client;
    let origin = Origin::new(SESSION, Number(1 << 62), assigned_by);
    Entries::numbered(origin, values.iter().copied())
}

fn runs<T: Counted>() -> Few<Run<T>> {
    let (first, last) = (T::new(1), T::new(u64::MAX));
    vec![Run::new(first, T::new(2)), Run::new(T::new(u64::MAX - 1), last)].into()
}

fn progress() -> Progress {
    let last = Instance(u64::MAX);
    let (trimmed, decided) = (Instance(1), u64::MAX);
    Progress { trimmed, first: last, watermark: last, decided, end: last, name: u64::MAX }
}

fn announcement() -> Announcement {
    let (standing, quorate, stamp) = (Standing::Abstains, true, Time(u64::MAX));
    Announcement { standing, quorate, ballot: BIG, stamp, reads: Versions::ALL }
}

/// A sample of each kind. A new kind does not compile without one.
fn sample(kind: Kind) -> Message {
    let from = Instance(u64::MAX - 100);
    let until = Some(Instance(u64::MAX));
    match kind {
        Kind::Request => Message::Request(Request {
            assignment: Assignment::Client { first: Instance(1 << 62) },
            from: Number(1 << 62),
            front: Number(1),
            opened: Instance(u64::MAX),
            entries: requested(&[b"a", b"", &[0, 255, 13]]),
        }),
        Kind::RequestAck => {
            let (session, received, delivered, lost) = (SESSION, runs(), runs(), runs());
            let (requested, is_forgotten) = (true, true);
            let told = Told { session, requested, is_forgotten, received, delivered, lost };
            let (grant, decided_below) = (u32::MAX, Instance(u64::MAX));
            let told = vec![told; 2];
            let (quorate, full) = (true, true);
            Message::RequestAck(RequestAck { quorate, full, grant, decided_below, told })
        }
        Kind::Prepare => Message::Prepare(Prepare { ballot: BIG, from, until, acceptor: Some(64) }),
        Kind::Promise => {
            let page = || Page { from, entries: entries() };
            let accepted = [page(), page()].map(|page| AcceptedPage { ballot: BIG, page }).into();
            Message::Promise(Promise {
                ballot: BIG,
                from,
                until,
                trimmed: from,
                accepted,
                next: until,
                is_followed: true,
            })
        }
        Kind::Accept => {
            let (watermark, chosen, full) = (Instance(u64::MAX), runs(), true);
            let entries = entries();
            Message::Accept(Accept { ballot: BIG, watermark, chosen, full, from, entries })
        }
        Kind::Accepted => Message::Accepted(Accepted { ballot: BIG, runs: runs() }),
        Kind::Nack => Message::Nack(Nack { rejected: BIG, promised: BIG }),
        Kind::Decide => Message::Decide(Decide { ballot: BIG, from, entries: entries() }),
        Kind::DecideAck => Message::DecideAck(DecideAck { progress: progress() }),
        Kind::Durable => Message::Durable(Durable { below: from, name: u64::MAX }),
        Kind::Heartbeat => {
            let heartbeat = Heartbeat::new(Version::OLDEST, announcement(), progress());
            Message::Heartbeat(Heartbeat { asks: true, full: true, ..heartbeat })
        }
        Kind::Echo => {
            let (proposer, boot, reads) = (u32::MAX, u64::MAX, Versions::ALL);
            let heard = vec![Heard { proposer, boot, announcement: announcement() }; 2];
            Message::Echo(Echo { promised: BIG, accepted: u64::MAX, full: true, reads, heard })
        }
        Kind::Plea => {
            let (offered, reads) = (vec![1, u32::MAX], Versions::ALL);
            Message::Plea(Plea { pleaded_us: u64::MAX, offered, reads })
        }
        Kind::Offer => {
            let (to, callers) = (vec![1, u32::MAX], u32::MAX);
            Message::Offer(Offer { to, callers, progress: progress() })
        }
        Kind::CatchUpRequest => {
            let of = Some(NodeId::new(Role::Proposer, u32::MAX));
            Message::CatchUpRequest(CatchUpRequest { of, again: true, missing: runs().into_vec() })
        }
        Kind::Disown => Message::Disown(Disown { acceptor: u32::MAX, incarnation: u64::MAX }),
        Kind::CatchUpReply => {
            Message::CatchUpReply(CatchUpReply { from, entries: entries(), last: true })
        }
        Kind::Chosen => {
            let until = Instance(u64::MAX);
            Message::Chosen(Chosen { ballot: BIG, until, runs: runs() })
        }
        Kind::Recall => {
            let run = Run::new(from, Instance(u64::MAX));
            Message::Recall(Recall { of: u32::MAX, again: true, known: from, run })
        }
        Kind::Fetch => Message::Fetch(Fetch {
            of: Some(u32::MAX),
            again: true,
            kind: StateKind::Replica,
            snapshot: Some(SNAPSHOT),
            chunk_bytes: u32::MAX,
            first: u64::MAX,
            wanted: u64::MAX,
        }),
        Kind::Chunk => {
            let bytes = Value::new(b"c\0\xff");
            Message::Chunk(Chunk { snapshot: SNAPSHOT, offset: u64::MAX, bytes })
        }
        Kind::Recalled => {
            let run = Run::new(from, Instance(u64::MAX));
            Message::Recalled(Recalled {
                known: Instance(u64::MAX),
                trimmed: Instance(u64::MAX),
                run,
                votes: vec![Voted { run, ballot: BIG }; 2],
                from: from.plus(1),
                entries: entries(),
                last: true,
            })
        }
        Kind::ReadRequest => Message::ReadRequest(ReadRequest { count: u64::MAX, again: true }),
        Kind::ReadReply => {
            let (boot, count, end) = (u64::MAX, u64::MAX, Instance(u64::MAX));
            Message::ReadReply(ReadReply { boot, count, end })
        }
    }
}

fn codec_of(kind: Kind) -> Codec {
    let role = Role::ALL.into_iter().find(|role| kind.is_sent_by(*role)).unwrap();
    let sender = Sender { node: NodeId::new(role, u32::MAX), boot: u64::MAX };
    Codec::new("test", 3, sender, 65507)
}

fn datagram(kind: Kind) -> Vec<u8> {
    datagram_in(Version::OLDEST, &sample(kind))
}

fn datagram_in(version: Version, message: &Message) -> Vec<u8> {
    let (codec, mut buffer) = (codec_of(message.kind()), Vec::new());
    codec.speak(version);
    codec.encode(message, &mut buffer).unwrap();
    buffer
}

/// A sample of each kind in each version.
fn samples() -> impl Iterator<Item = (Version, Message)> {
    [Version::OLDEST, Version::NEWEST].into_iter().flat_map(|spoken| {
        Kind::ALL.into_iter().map(move |kind| {
            let mut message = sample(kind);
            if let Message::Heartbeat(heartbeat) = message {
                let heartbeat = Heartbeat { version: spoken, ..heartbeat };
                message = Message::Heartbeat(heartbeat.remembering(usize::MAX));
            }
            (spoken, message)
        })
    })
}

#[test]
fn every_kind_makes_the_round_trip_in_every_version() {
    for (version, message) in samples() {
        let (kind, codec) = (message.kind(), codec_of(message.kind()));
        let datagram = datagram_in(version, &message);
        let header = codec.header(&datagram).unwrap();
        assert_eq!((header.kind, header.version), (kind, version));
        assert_eq!(codec.decode(&datagram), Ok((codec.sender, message)));
        assert!(codec.is_own(header.sender));
        // The previous release reads only its own version.
        let old = codec.reading(Versions::BEFORE).decode(&datagram);
        assert_eq!(old.is_err(), version > Version::OLDEST);
        assert!(old.is_ok() || old == Err(Refusal::OtherVersion));
    }
}

/// The fuzzer begins with a datagram of each kind in this release's version, and of each kind that
/// had another form in the previous one. `REWRITE=1` writes them.
#[test]
fn the_corpus_has_every_kind_in_every_form() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/wire_decode");
    let bodies: BTreeMap<(Kind, Version), Vec<u8>> = samples()
        .map(|(version, message)| {
            let body = datagram_in(version, &message).split_off(HEADER_BYTES);
            ((message.kind(), version), body)
        })
        .collect();
    let mut expected = BTreeMap::new();
    for (version, message) in samples() {
        let kind = message.kind();
        let [own, newest] = [version, Version::NEWEST].map(|version| &bodies[&(kind, version)]);
        if version < Version::NEWEST && own == newest {
            continue;
        }
        let codec = Codec::new(CLUSTER, 3, codec_of(kind).sender, 65507);
        codec.speak(version);
        let mut datagram = Vec::new();
        codec.encode(&message, &mut datagram).unwrap();
        expected.insert(format!("v{version}-{kind:?}").to_lowercase(), datagram);
    }
    assert!(expected.len() > Kind::ALL.len() + 2, "heartbeats, echoes and pleas have two forms");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
    let of_version = |name: &str| name.strip_prefix('v').is_some_and(|it| it.as_bytes()[0] < b':');
    let mut found = BTreeMap::new();
    for file in files {
        let name = file.file_name().into_string().unwrap();
        if of_version(&name) {
            found.insert(name, fs::read(file.path()).unwrap());
        }
    }
    if std::env::var_os("REWRITE").is_some() {
        found.keys().for_each(|name| fs::remove_file(folder.join(name)).unwrap());
        expected.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
        return;
    }
    let names = |all: &BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected), "REWRITE=1 writes them");
    assert!(found == expected, "the forms have changed; REWRITE=1 writes them");
}

/// The forms of version 8 as the previous release declares them, where they were derived.
#[test]
fn the_release_before_reads_what_says_that_its_sender_reads_more() {
    #[derive(BorrowDecode, Debug, PartialEq)]
    enum OldStanding {
        _Leads,
        _Campaigns,
        _Stands,
        Abstains,
    }
    #[derive(BorrowDecode)]
    struct OldAnnouncement {
        standing: OldStanding,
        quorate: bool,
        ballot: WireBallot,
        stamp: u64,
    }
    #[derive(BorrowDecode)]
    struct OldHeartbeat {
        announcement: OldAnnouncement,
        asks: bool,
        full: bool,
        progress: WireProgress,
    }
    #[derive(BorrowDecode)]
    struct OldEcho {
        promised: WireBallot,
        accepted: u64,
        full: bool,
        heard: u32,
    }
    for reads in [Versions::ALL, Versions::BEFORE] {
        let said = Announcement { reads, ..announcement() };
        let (asks, full, progress, version) = (true, false, progress(), Version::OLDEST);
        let heartbeat = Heartbeat { asks, ..Heartbeat::new(version, said, progress) };
        let datagram = datagram_in(version, &Message::Heartbeat(heartbeat));
        let mut body = Body::new(&datagram[HEADER_BYTES..]);
        let old: OldHeartbeat = body.take().unwrap();
        assert!(body.rest.is_empty() && old.asks && !old.full && old.announcement.quorate);
        assert_eq!(old.announcement.standing, OldStanding::Abstains);
        assert_eq!(ballot(old.announcement.ballot), BIG);
        assert_eq!(old.announcement.stamp, said.stamp.0);
        assert_eq!(super::progress(old.progress), Ok(progress));
        let heard = vec![Heard { proposer: 1, boot: 1, announcement: said }; 2];
        let echo = Echo { promised: BIG, accepted: 7, full, reads, heard };
        let datagram = datagram_in(version, &Message::Echo(echo));
        let mut body = Body::new(&datagram[HEADER_BYTES..]);
        let old: OldEcho = body.take().unwrap();
        assert_eq!((old.accepted, old.full, old.heard), (7, full, 2));
        assert_eq!(ballot(old.promised), BIG);
        for _ in 0..2 {
            let (proposer, boot, said): (u32, u64, OldAnnouncement) = body.take().unwrap();
            assert_eq!((proposer, boot, said.standing), (1, 1, OldStanding::Abstains));
        }
        assert!(body.rest.is_empty());
        let plea = Message::Plea(Plea { pleaded_us: 3, offered: vec![7], reads });
        let datagram = datagram_in(version, &plea);
        let mut body = Body::new(&datagram[HEADER_BYTES..]);
        assert_eq!(body.take::<(u64, u32, u32)>().ok(), Some((3, 1, 7)));
    }
}

/// Datagrams with the same form in every version are read in any version: a release says hello
/// before it knows who listens.
#[test]
fn hellos_and_knocks_are_read_in_every_version() {
    let codec = codec_of(Kind::Nack).sealed();
    let mut datagram = Vec::new();
    for is_knock in [false, true] {
        if is_knock {
            codec.begin_knock(&mut datagram)
        } else {
            codec.begin_hello(&mut datagram)
        }
        assert_eq!(datagram[4], Version::OLDEST.0 | SEALED);
        for version in [1, 8, 9, 10, 127] {
            datagram[4] = version | SEALED;
            let envelope = codec.envelope(&datagram);
            let is_read = matches!(envelope, Ok(Envelope::Hello(_)) if !is_knock)
                || matches!(envelope, Ok(Envelope::Knock(_)) if is_knock);
            assert!(is_read, "{version}: {envelope:?}");
            datagram[4] = version;
            assert_eq!(codec.envelope(&datagram), Err(Refusal::Unsealed));
        }
    }
}

#[test]
fn kinds_and_roles_stand_in_the_header_by_their_place() {
    assert!(Kind::ALL.iter().enumerate().all(|(place, kind)| *kind as usize == place));
    assert!(Role::ALL.iter().enumerate().all(|(place, role)| *role as usize == place));
}

#[test]
fn a_truncated_datagram_is_refused() {
    for (version, message) in samples() {
        let (kind, datagram) = (message.kind(), datagram_in(version, &message));
        for length in 0..datagram.len() {
            assert!(
                codec_of(kind).decode(&datagram[..length]).is_err(),
                "{kind:?} cut at {length}"
            );
        }
    }
}

#[test]
fn trailing_bytes_are_refused() {
    for (version, message) in samples() {
        let (kind, mut datagram) = (message.kind(), datagram_in(version, &message));
        datagram.push(0);
        assert_eq!(codec_of(kind).decode(&datagram), Err(Refusal::TrailingBytes), "{kind:?}");
    }
}

#[test]
fn no_flipped_bit_panics() {
    for (version, message) in samples() {
        let (kind, datagram) = (message.kind(), datagram_in(version, &message));
        for bit in 0..datagram.len() * 8 {
            let mut broken = datagram.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            let _ = codec_of(kind).decode(&broken);
        }
    }
}

#[test]
fn each_refusal_has_its_reason() {
    let codec = codec_of(Kind::Prepare);
    let good = datagram(Kind::Prepare);
    let with = |place: usize, byte: u8| {
        let mut datagram = good.clone();
        datagram[place] = byte;
        codec.decode(&datagram)
    };
    assert_eq!(codec.decode(&good[..HEADER_BYTES - 1]), Err(Refusal::TooShort));
    assert_eq!(with(0, b'x'), Err(Refusal::Foreign));
    assert_eq!(with(3, b'd'), Err(Refusal::Probe));
    assert_eq!(with(4, VERSION + 1), Err(Refusal::OtherVersion));
    assert_eq!(with(4, Version::OLDEST.0 - 1), Err(Refusal::OtherVersion));
    assert_eq!(with(4, Version::OLDEST.0 | SEALED), Err(Refusal::Sealed));
    assert_eq!(with(5, Kind::ALL.len() as u8), Err(Refusal::UnknownKind));
    assert_eq!(with(5, Kind::Promise as u8), Err(Refusal::WrongRole));
    assert_eq!(with(6, 4), Err(Refusal::UnknownSender));
    assert_eq!(with(HEADER_BYTES, 255), Err(Refusal::BadBody));
    let other = Codec::new("other", 3, codec.sender, 65507);
    assert_eq!(other.decode(&good), Err(Refusal::OtherCluster));
    let other = Codec::new("test", 5, codec.sender, 65507);
    let refusal = Refusal::OtherAcceptorCount { theirs: 3, ours: 5 };
    assert_eq!(other.decode(&good), Err(refusal));
    let sentence = "from a process with acceptor_count 3, and here it is 5";
    assert_eq!(refusal.to_string(), sentence);
    let mut anonymous = good.clone();
    anonymous[7..11].fill(0);
    assert_eq!(codec.decode(&anonymous), Err(Refusal::UnknownSender));
    let from_nowhere = Prepare { ballot: BIG, from: Instance(0), until: None, acceptor: None };
    let mut buffer = Vec::new();
    codec.encode(&Message::Prepare(from_nowhere), &mut buffer).unwrap();
    assert_eq!(codec.decode(&buffer), Err(Refusal::Impossible));
}

/// A dozen bytes that claim four billion entries are refused before memory is allocated for them.
#[test]
fn a_claimed_length_takes_no_memory() {
    let codec = codec_of(Kind::Decide);
    let mut datagram = datagram(Kind::Decide);
    datagram.truncate(HEADER_BYTES);
    put(DecideHead { ballot: wire_ballot(BIG), from: 1, entries: u32::MAX }, &mut datagram);
    assert_eq!(codec.decode(&datagram), Err(Refusal::BadBody));
    // A value that claims to be longer than what follows.
    datagram.truncate(HEADER_BYTES);
    put(DecideHead { ballot: wire_ballot(BIG), from: 1, entries: 1 }, &mut datagram);
    datagram.extend_from_slice(&[1, 1, 1, 1, 253, 255, 255, 255, 255, 255, 255, 255, 127]);
    assert_eq!(codec.decode(&datagram), Err(Refusal::BadBody));
}

#[test]
fn what_does_not_fit_is_refused_by_the_sender() {
    let codec = Codec::new("test", 3, codec_of(Kind::Request).sender, 64);
    let (assignment, from, front) = (Assignment::Leader, Number(1), Number(1));
    let (opened, entries) = (Instance(1), requested(&[&[0; 64]]));
    let request = Request { assignment, from, front, opened, entries };
    let mut buffer = Vec::new();
    let refused = codec.encode(&Message::Request(request), &mut buffer);
    assert!(refused.is_err_and(|TooLong { bytes, limit }| bytes > limit));
}

/// Nothing has the highest number: no run in an answer could name it.
#[test]
fn the_last_number_is_only_an_end() {
    let from = Instance(1);
    for numbers in [&[u64::MAX][..], &[u64::MAX - 1, u64::MAX]] {
        let entry = |number: &u64| value(AssignedBy::Client, *number, b"v");
        let entries = numbers.iter().map(entry).collect();
        let mut bytes = Vec::new();
        let (decide, version) = (Decide { ballot: BIG, from, entries }, Version::NEWEST);
        encode(&Message::Decide(decide), version, &mut bytes);
        let sender = codec_of(Kind::Decide).sender;
        assert_eq!(decode(sender, Kind::Decide, version, &bytes), Err(Refusal::Impossible));
    }
}

/// The protocol packs datagrams by these bounds.
#[test]
fn the_bounds_of_the_protocol_hold() {
    let bytes = |entry: &Entry| {
        let mut buffer = Vec::new();
        entry.borrowed().write(&mut buffer);
        buffer.len()
    };
    for entry in entries().iter().map(EntryRef::to_entry) {
        assert!(bytes(&entry) <= entry.wire_bytes_max(), "{entry}");
    }
    let long = value(AssignedBy::Client, u64::MAX - 1, &[7; 65000]);
    assert!(bytes(&long) <= 65000 + ENTRY_BYTES_MAX);
    let run = WireRun { from: u64::MAX, length: u64::MAX };
    assert!(bincode::encode_to_vec(run, CONFIG).unwrap().len() <= RUN_BYTES_MAX);
    for (version, message) in samples() {
        let (kind, bytes) = (message.kind(), datagram_in(version, &message).len());
        let items: usize = match message {
            Message::Request(request) => request.entries.bytes(),
            Message::RequestAck(ack) => ack.told.iter().map(Told::wire_bytes_max).sum(),
            Message::Accepted(_) | Message::CatchUpRequest(_) | Message::Chosen(_) => {
                2 * RUN_BYTES_MAX
            }
            Message::Promise(promise) => promise
                .accepted
                .iter()
                .map(|accepted| accepted.page.entries.bytes() + AcceptedPage::BYTES_MAX)
                .sum(),
            Message::Accept(Accept { chosen, entries, .. }) => {
                chosen.len() * RUN_BYTES_MAX + entries.bytes() + ENTRY_BYTES_MAX
            }
            Message::Decide(Decide { entries, .. })
            | Message::CatchUpReply(CatchUpReply { entries, .. }) => {
                entries.bytes() + ENTRY_BYTES_MAX
            }
            Message::Prepare(_)
            | Message::Nack(_)
            | Message::DecideAck(_)
            | Message::Durable(_)
            | Message::Disown(_)
            | Message::Fetch(_)
            | Message::Recall(_)
            | Message::ReadRequest(_)
            | Message::ReadReply(_) => 0,
            // Datagrams are not filled up with heartbeats, so the number of sessions needs no room.
            Message::Heartbeat(heartbeat) => heartbeat.sessions.map_or(0, |_| 5),
            Message::Chunk(Chunk { bytes, .. }) => bytes.as_bytes().len(),
            Message::Recalled(Recalled { votes, entries, .. }) => {
                votes.len() * Voted::BYTES_MAX + entries.bytes() + ENTRY_BYTES_MAX
            }
            Message::Echo(echo) => echo.heard.len() * Heard::BYTES_MAX,
            Message::Plea(plea) => plea.offered.len() * 5,
            Message::Offer(offer) => offer.to.len() * Offer::CALLER_BYTES_MAX,
        };
        assert!(bytes <= MESSAGE_BYTES_MAX + items, "{kind:?} in version {version}");
    }
}

#[test]
fn the_longest_value_fits_a_datagram() {
    for datagram_bytes in [256, 1472, 65507] {
        let bytes = vec![1; Settings::value_bytes_for(datagram_bytes)];
        let entries: Entries = vec![value(AssignedBy::Leader, u64::MAX - 1, &bytes)].into();
        let codec = Codec::new("test", 3, codec_of(Kind::Accept).sender, datagram_bytes);
        let (watermark, from) = (Instance(u64::MAX), Instance(u64::MAX - 1));
        let page = Page { from, entries: entries.clone() };
        let (chosen, full) = (Few::new(), false);
        let accept = Accept { ballot: BIG, watermark, chosen, full, from, entries };
        assert_eq!(codec.encode(&Message::Accept(accept), &mut Vec::new()), Ok(()));
        let (until, accepted) = (Some(from.next()), vec![AcceptedPage { ballot: BIG, page }]);
        let (ballot, trimmed, next, is_followed) = (BIG, from, until, true);
        let promise = Promise { ballot, from, until, trimmed, accepted, next, is_followed };
        assert_eq!(codec.encode(&Message::Promise(promise), &mut Vec::new()), Ok(()));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        body in prop::collection::vec(any::<u8>(), 0..2000),
        kind in 0..Kind::ALL.len(),
    ) {
        let kind = Kind::ALL[kind];
        let mut datagram = datagram(kind);
        datagram.truncate(HEADER_BYTES);
        datagram.extend_from_slice(&body);
        let _ = codec_of(kind).decode(&datagram);
        let _ = codec_of(kind).decode(&body);
    }

    #[test]
    fn arbitrary_entries_make_the_round_trip(
        from in 1..u64::MAX / 2,
        drawn in prop::collection::vec(
            (0..3u8, 0..3u32, 1..4u64, 0..4usize, prop::collection::vec(any::<u8>(), 0..40)),
            1..60,
        ),
    ) {
        let entries: Entries = drawn
            .into_iter()
            .map(|(kind, client, number, time, bytes)| {
                let assigned_by = if kind == 1 { AssignedBy::Client } else { AssignedBy::Leader };
                let session = Session { client, boot: 7 };
                let origin = Origin::new(session, Number(number), assigned_by);
                let time = [LogTime::NONE, LogTime(1), LogTime(1 << 40), LogTime::MAX][time];
                let (origin, value) = (origin.timed(time), Value::new(&bytes));
                if kind == 0 { Entry::Noop } else { Entry::Value { origin, value } }
            })
            .collect();
        let message = Message::Decide(Decide { ballot: BIG, from: Instance(from), entries });
        let codec = codec_of(Kind::Decide);
        let mut buffer = Vec::new();
        codec.encode(&message, &mut buffer).unwrap();
        prop_assert_eq!(codec.decode(&buffer), Ok((codec.sender, message)));
    }
}
