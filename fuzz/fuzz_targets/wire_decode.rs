//! Datagrams of any bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| multi_paxos::fuzzing::wire_decode(bytes));
