//! The pure roles alone, see benches/protocol/pure.rs.

#[path = "protocol/pure.rs"]
mod pure;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multi_paxos::protocol::types::Value;

use crate::pure::{Core, VALUES, requests};

/// Bytes of a value.
const SIZES: [u64; 3] = [64, 1024, 8192];
/// How many values come together.
const BATCHES: [u64; 4] = [1, 8, 64, 512];
/// What a client's request has room for.
const REQUEST_BYTES: u64 = 65_000;

fn bench(criterion: &mut Criterion) {
    let core = Core::new();
    for bytes in SIZES {
        let value = Value::new(&vec![7; bytes as usize]);
        let mut group = criterion.benchmark_group(format!("protocol/{bytes}_bytes"));
        let throughput = Throughput::ElementsAndBytes { elements: VALUES, bytes: VALUES * bytes };
        group.throughput(throughput).sample_size(20);
        for batch in BATCHES.into_iter().filter(|batch| batch * (bytes + 4) <= REQUEST_BYTES) {
            group.bench_function(BenchmarkId::new("batches_of", batch), |bencher| {
                bencher.iter_batched(
                    || (core.clone(), requests(batch, &value)),
                    |(mut core, requests)| {
                        core.decide(requests);
                        core
                    },
                    BatchSize::LargeInput,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
