//! Roles that are told anything.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| multi_paxos::fuzzing::role_events(bytes));
