//! Whole-system tests: real processes, started through the scripts, over real multicast on the
//! loopback interface, and judged by the files they leave.
//!
//! Every test has a directory, ports and a cluster name of its own. Tests wait for events, with a
//! deadline, and never for a fixed time.

// A test that cannot set itself up has failed.
#![allow(clippy::unwrap_used)]

mod faults;
mod files;
mod hostile;
mod input;
mod timing;
mod usage;
mod world;
