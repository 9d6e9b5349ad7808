//! What does it cost to encode, decode, seal and open a datagram?

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multi_paxos::auth::key::KeyRing;
use multi_paxos::auth::seal::Seal;
use multi_paxos::protocol::entries::Entries;
use multi_paxos::protocol::message::{Accept, Accepted, Message};
use multi_paxos::protocol::types::{
    AssignedBy, Ballot, Instance, NodeId, Number, Origin, Role, Run, Sender, Session,
};
use multi_paxos::wire::Codec;

const BALLOT: Ballot = Ballot { round: 3, proposer: 1, boot: 0x0123_4567_89ab_cdef };

fn accept(count: u64, bytes: usize) -> Message {
    let session = Session { client: 1, boot: 0xfedc_ba98_7654_3210 };
    let origin = Origin::new(session, Number(1), AssignedBy::Leader);
    let value = vec![7; bytes];
    let entries = Entries::numbered(origin, (0..count).map(|_| value.as_slice()));
    let (watermark, from, chosen) = (Instance(1_000_000), Instance(1_000_000), Vec::new());
    Message::Accept(Accept {
        ballot: BALLOT,
        watermark,
        chosen: chosen.into(),
        full: false,
        from,
        entries,
    })
}

/// Bytes of a value.
const SIZES: [usize; 3] = [64, 1024, 8192];
/// What a datagram has room for.
const DATAGRAM_BYTES: usize = 65_507;

/// Encodes and decodes one message, which is about this many values of this many bytes.
fn both_ways(criterion: &mut Criterion, name: &str, role: Role, message: &Message, values: u64) {
    let sender = Sender { node: NodeId::new(role, 1), boot: 7 };
    let codec = Codec::new("bench", 3, sender, DATAGRAM_BYTES);
    let mut datagram = Vec::new();
    codec.encode(message, &mut datagram).expect("the sample fits a datagram");
    let bytes = datagram.len() as u64;
    let mut group = criterion.benchmark_group("wire");
    group.throughput(Throughput::ElementsAndBytes { elements: values, bytes });
    group.bench_function(BenchmarkId::new("encode", name), |bencher| {
        let mut buffer = Vec::new();
        bencher.iter(|| codec.encode(black_box(message), &mut buffer));
    });
    group.bench_function(BenchmarkId::new("decode", name), |bencher| {
        bencher.iter(|| codec.decode(black_box(&datagram)));
    });
    group.finish();
}

/// One value, and as many as fit a datagram, of each size.
fn accepts(criterion: &mut Criterion) {
    for bytes in SIZES {
        for values in [1, (DATAGRAM_BYTES - 200) / (bytes + 4)] {
            let (name, values) = (format!("accept {values} x {bytes} B"), values as u64);
            both_ways(criterion, &name, Role::Proposer, &accept(values, bytes), values);
        }
    }
}

/// A vote for all values of a turn.
fn votes(criterion: &mut Criterion) {
    for values in [1, 64, 4096] {
        let run = Run::new(Instance(1_000_000), Instance(1_000_000 + values));
        let accepted = Message::Accepted(Accepted { ballot: BALLOT, runs: vec![run].into() });
        let name = format!("accepted {values}");
        both_ways(criterion, &name, Role::Acceptor, &accepted, values);
    }
}

/// What a key costs a datagram, at each end.
fn seals(criterion: &mut Criterion) {
    let ring = KeyRing::parse("bench", &format!("paxos-key-1 {}", "7".repeat(64)));
    let seal = Seal::new(&ring.expect("the key is well-formed"), "bench", 7);
    let mut group = criterion.benchmark_group("seal");
    for bytes in [64, 1024, 8192, 60_000] {
        let content = vec![7; bytes];
        let mut sealed = content.clone();
        seal.seal(Role::Acceptor, &mut sealed);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("seal", bytes), |bencher| {
            let mut buffer = Vec::new();
            bencher.iter(|| {
                buffer.clear();
                buffer.extend_from_slice(black_box(&content));
                seal.seal(Role::Acceptor, &mut buffer)
            });
        });
        group.bench_function(BenchmarkId::new("open", bytes), |bencher| {
            bencher.iter(|| seal.open(Role::Acceptor, black_box(&sealed)));
        });
    }
    group.finish();
}

criterion_group!(benches, accepts, votes, seals);
criterion_main!(benches);
