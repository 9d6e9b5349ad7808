//! An acceptor's log of any bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| multi_paxos::fuzzing::log_recovery(bytes));
