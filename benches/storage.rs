//! An acceptor's log on this machine's disk: what a turn costs before it may answer, and how long a
//! restart takes.
//!
//! `fdatasync` dominates; the same bytes appended and synced without any log are the floor.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::time::Duration;

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

/// Bytes of a value.
const SIZES: [u64; 3] = [64, 1024, 8192];
/// How many values a turn stores.
const COUNTS: [u64; 3] = [1, 64, 1000];
/// How many instances a restart finds.
const INSTANCES: [u64; 2] = [10_000, 100_000];

/// One accepted value of this many bytes.
fn record(instance: u64, bytes: u64) -> Record {
    let session = Session { client: 1, boot: 7 };
    let origin = Origin::new(session, Number(instance), AssignedBy::Leader);
    Record::Accepted {
        ballot: Ballot { round: 1, proposer: 1, boot: 9 },
        from: Instance(instance),
        entries: Entries::numbered(origin, [&vec![b'x'; bytes as usize][..]]),
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

/// Records of values, one flush.
fn turn(criterion: &mut Criterion) {
    for bytes in SIZES {
        let mut group = criterion.benchmark_group(format!("storage/turn/{bytes}_bytes"));
        group.sample_size(50).measurement_time(Duration::from_secs(2));
        for count in COUNTS {
            let records: Vec<Record> = (1..=count).map(|n| record(n, bytes)).collect();
            let bytes = count * bytes;
            group.throughput(Throughput::ElementsAndBytes { elements: count, bytes });
            let folder = TempDir::new().expect("a folder");
            let mut log = open(&folder);
            group.bench_function(BenchmarkId::new("log", count), |bencher| {
                bencher.iter(|| {
                    records.iter().for_each(|record| log.append(record).expect("room"));
                    log.flush().expect("a disk that syncs");
                });
            });
            let mut written = Vec::new();
            records.iter().for_each(|record| wire::encode_record(record, &mut written));
            let mut file = File::create(folder.path().join("floor")).expect("a file");
            group.bench_function(BenchmarkId::new("floor", count), |bencher| {
                bencher.iter(|| {
                    file.write_all(&written).expect("room");
                    file.sync_data().expect("a disk that syncs");
                });
            });
        }
        group.finish();
    }
}

/// A restart with this many instances, in turns of 64.
fn recovery(criterion: &mut Criterion) {
    const BYTES: u64 = 64;
    let mut group = criterion.benchmark_group("storage/recovery");
    group.sample_size(10);
    for instances in INSTANCES {
        let folder = TempDir::new().expect("a folder");
        let mut log = open(&folder);
        for instance in 1..=instances {
            log.append(&record(instance, BYTES)).expect("room");
            if instance % 64 == 0 {
                log.flush().expect("a disk that syncs");
            }
        }
        log.flush().expect("a disk that syncs");
        drop(log);
        let bytes = instances * BYTES;
        group.throughput(Throughput::ElementsAndBytes { elements: instances, bytes });
        group.bench_function(BenchmarkId::from_parameter(instances), |bencher| {
            bencher.iter_batched(|| (), |()| open(&folder), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, turn, recovery);
criterion_main!(benches);
