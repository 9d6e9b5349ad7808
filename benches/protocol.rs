//! The pure roles alone, see benches/protocol/pure.rs.

#[path = "protocol/pure.rs"]
mod pure;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multi_paxos::protocol::types::Value;

use crate::pure::{Core, VALUES};

fn bench(criterion: &mut Criterion) {
    let core = Core::new();
    let mut group = criterion.benchmark_group("protocol");
    group.throughput(Throughput::Elements(VALUES));
    group.sample_size(20);
    for (batch, bytes) in [(1, 64), (64, 64), (64, 1024)] {
        let value = Value::new(&vec![7; bytes]);
        group.bench_function(BenchmarkId::new(format!("{bytes} B"), batch), |bencher| {
            bencher.iter_batched(
                || core.clone(),
                |mut core| {
                    core.decide(batch, &value);
                    core
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
