//! What does it cost to set, move, cancel and expire a timer, by the number of timers set?
//!
//! The cost of one operation should not depend on the size of the group.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multi_paxos::protocol::types::Time;
use multi_paxos::rng::Rng;
use multi_paxos::runtime::timer_wheel::{TimerKey, TimerWheel};

const SIZES: [u32; 3] = [10, 1_000, 100_000];
/// Deadlines lie within this many microseconds, some beyond a turn of the wheel.
const SPAN: u64 = 2_000_000;

#[derive(Clone, Copy)]
struct Key(u32);

impl TimerKey for Key {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// A wheel with `size` timers at random deadlines.
fn filled(size: u32) -> TimerWheel<Key> {
    let mut rng = Rng::new(1);
    let mut wheel = TimerWheel::new(Time::ZERO);
    for key in 0..size {
        wheel.schedule(Key(key), Time(rng.below(SPAN)));
    }
    wheel
}

fn move_one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer_wheel/move");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let mut wheel = filled(size);
        let mut rng = Rng::new(2);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let key = Key(rng.below(u64::from(size)) as u32);
                wheel.schedule(black_box(key), Time(rng.below(SPAN)));
            });
        });
    }
}

fn cancel_and_set_one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer_wheel/cancel_and_set");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let mut wheel = filled(size);
        let mut rng = Rng::new(3);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let key = Key(rng.below(u64::from(size)) as u32);
                wheel.cancel(black_box(key));
                wheel.schedule(key, Time(rng.below(SPAN)));
            });
        });
    }
}

/// The question of every turn of a role loop, with nothing due.
fn look(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer_wheel/look");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let mut wheel = filled(size);
        wheel.expire(Time(SPAN / 2), usize::MAX).for_each(drop);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let due = wheel.expire(black_box(Time(SPAN / 2)), 1).count();
                (due, wheel.next_expiry())
            });
        });
    }
}

/// From the first timer to the last, a millisecond at a time.
fn expire_all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer_wheel/expire");
    for size in SIZES {
        group.throughput(Throughput::Elements(u64::from(size)));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            let expire = |wheel: &mut TimerWheel<Key>| {
                let mut fired = 0;
                for now in (0..=SPAN).step_by(1_000) {
                    fired += wheel.expire(Time(now), usize::MAX).count();
                }
                assert!(wheel.is_empty());
                fired
            };
            bencher.iter_batched_ref(|| filled(size), expire, BatchSize::LargeInput);
        });
    }
}

criterion_group!(benches, move_one, cancel_and_set_one, look, expire_all);
criterion_main!(benches);
