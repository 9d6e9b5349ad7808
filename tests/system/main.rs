//! Whole-system tests: real processes, started through the scripts, over real multicast, judged by
//! the files they leave. The loopback interface carries it, or, in `hosts`, a network of their own.
//! With PAXOS_TEST_NETWORK=unicast in the environment all groups are lists of members.
//!
//! Every test has a directory, ports and a cluster name of its own. Tests wait for events, with a
//! deadline, and never for a fixed time.

// A test that cannot set itself up has failed.
#![allow(clippy::unwrap_used)]

mod doctor;
mod documentation;
mod durability;
mod elections;
mod faults;
mod files;
mod full_disks;
mod hostile;
mod hosts;
#[path = "../http/mod.rs"]
mod http;
mod input;
mod killer;
mod kills;
mod lead;
mod lock;
mod log;
mod memory;
mod metrics;
mod nodes;
#[path = "../pages/mod.rs"]
mod pages;
mod pictures;
mod rejoin;
mod resuming;
mod scripts;
mod sessions;
mod shell;
mod snapshots;
mod soak;
mod status;
mod stranger;
mod timing;
mod transport;
mod trimming;
mod trouble;
mod upgrades;
mod usage;
mod world;
