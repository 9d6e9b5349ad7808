//! Every test run judges a few seeds; more are for those who have changed an election.

use super::*;

/// How many seeds every test run judges; `SEEDS` and `FIRST` choose others.
fn seeds() -> std::ops::Range<u64> {
    let number = |name, usual| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let first = number("FIRST", 1);
    first..first + number("SEEDS", 60)
}

#[test]
fn faults_that_stay_are_lived_with() {
    for seed in seeds() {
        if let Err(failure) = run_seed(seed) {
            panic!("{}: {failure}", Lasting::drawn(seed));
        }
    }
}
