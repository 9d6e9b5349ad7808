//! An acceptor's log on this machine's disk: what a turn costs before it may answer, and how long a
//! restart takes.
//!
//! `fdatasync` dominates; the same bytes appended and synced without any log are the floor.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multi_paxos::protocol::actor::Record;
use multi_paxos::protocol::entries::Entries;
use multi_paxos::protocol::types::{AssignedBy, Ballot, Instance, Number, Origin, Session};
use multi_paxos::storage::AcceptorStore;
use multi_paxos::storage::directory::Directory;
use multi_paxos::storage::identity::Identity;
use multi_paxos::storage::log::{Log, LogOptions};
use multi_paxos::wire;
use tempfile::TempDir;

/// One accepted value of 64 bytes.
fn record(instance: u64) -> Record {
    let session = Session { client: 1, boot: 7 };
    let origin = Origin { session, number: Number(instance), assigned_by: AssignedBy::Leader };
    Record::Accepted {
        ballot: Ballot { round: 1, proposer: 1, boot: 9 },
        from: Instance(instance),
        entries: Entries::numbered(origin, [&[b'x'; 64][..]]),
    }
}

fn open(folder: &TempDir) -> Log<Directory> {
    let identity = Identity {
        cluster: "bench".to_owned(),
        acceptor: 1,
        acceptor_count: 3,
        incarnation: 1,
        token: 2,
    };
    let disk = Directory::open(&folder.path().join("log")).expect("a directory of our own");
    let opening = Log::open(disk, &identity, LogOptions::default()).expect("a log of our own");
    opening.recover(|record| drop(black_box(record))).expect("a whole log").0
}

/// `count` records, one flush.
fn turn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("storage/turn");
    group.sample_size(50);
    for count in [1_u64, 64, 1000] {
        let records: Vec<Record> = (1..=count).map(record).collect();
        group.throughput(Throughput::Elements(count));
        let folder = TempDir::new().expect("a folder");
        let mut log = open(&folder);
        group.bench_function(BenchmarkId::new("log", count), |bencher| {
            bencher.iter(|| {
                records.iter().for_each(|record| log.append(record).expect("room"));
                log.flush().expect("a disk that syncs");
            });
        });
        let mut bytes = Vec::new();
        records.iter().for_each(|record| wire::encode_record(record, &mut bytes));
        let mut file = File::create(folder.path().join("floor")).expect("a file");
        group.bench_function(BenchmarkId::new("floor", count), |bencher| {
            bencher.iter(|| {
                file.write_all(&bytes).expect("room");
                file.sync_data().expect("a disk that syncs");
            });
        });
    }
    group.finish();
}

/// A restart with 100,000 instances in turns of 64.
fn recovery(criterion: &mut Criterion) {
    const INSTANCES: u64 = 100_000;
    let folder = TempDir::new().expect("a folder");
    let mut log = open(&folder);
    for instance in 1..=INSTANCES {
        log.append(&record(instance)).expect("room");
        if instance % 64 == 0 {
            log.flush().expect("a disk that syncs");
        }
    }
    log.flush().expect("a disk that syncs");
    drop(log);
    let mut group = criterion.benchmark_group("storage/recovery");
    group.sample_size(10).throughput(Throughput::Elements(INSTANCES));
    group.bench_function("100000", |bencher| {
        bencher.iter_batched(|| (), |()| open(&folder), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, turn, recovery);
criterion_main!(benches);
