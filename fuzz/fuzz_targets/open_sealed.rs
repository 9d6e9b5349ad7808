//! Sealed datagrams and hellos of any bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| multi_paxos::fuzzing::open_sealed(bytes));
