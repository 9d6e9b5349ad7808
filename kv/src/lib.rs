//! A replicated key-value store that speaks the Redis protocol.
//!
//! It is a user of `multi_paxos` with no private entrance: a [`machine::Machine`] behind a
//! `Replica`, and a [`server::Server`] in front of it. The binary `paxos-kv` is all of it; the
//! library is there for the tests.
//!
//! Reading order: [`store`] (the state), [`command`] (the table), [`entry`] (the form in the log),
//! [`machine`] (applies it), [`request`] and [`reply`] (the protocol), [`session`] (the state of a
//! connection), [`server`] (which connection waits for what).

pub mod bugs;
pub mod clock;
pub mod command;
mod connection;
pub mod entry;
mod figures;
#[cfg(test)]
mod hunt;
#[cfg(test)]
#[path = "../tests/system/judge.rs"]
mod judge;
pub mod machine;
pub mod options;
pub mod reply;
pub mod request;
pub mod server;
pub mod session;
pub mod store;
