//! Standard input of any bytes, in pieces of any size.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| multi_paxos::fuzzing::input_lines(bytes));
