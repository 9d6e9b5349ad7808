//! Tests with real processes of the store, in one binary, because each takes long to link.

// A test that cannot set itself up has failed.
#![allow(clippy::unwrap_used)]

mod differential;
mod hosts;
#[path = "../../../tests/http/mod.rs"]
mod http;
mod judge;
mod metrics;
mod search;
mod store;
mod truth;
mod world;

use paxos_kv::entry;
