//! The `paxos` binary.

fn main() {}
