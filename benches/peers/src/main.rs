//! Measures other consensus libraries under the load of `paxos bench`, over UDP on loopback.
//!
//! Three node processes and one client, which also starts and ends the nodes. What a node does with
//! its socket is `node.rs`, the same for every library; what a library is to it is `peer.rs`.
//! README.md says what is compared with what, and what was done to be fair.

mod client;
mod memory;
mod network;
mod node;
mod omnipaxos_peer;
mod peer;
#[path = "../../protocol/pure.rs"]
mod pure;
#[cfg(feature = "raft")]
mod raft_peer;
mod report;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::network::Receive;
use crate::omnipaxos_peer::OmniPaxosPeer;
use crate::pure::VALUES;
#[cfg(feature = "raft")]
use crate::raft_peer::RaftPeer;

/// The libraries that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Library {
    Omnipaxos,
    #[cfg(feature = "raft")]
    Raft,
    /// Our own roles in one thread without sockets.
    MemoryOurs,
    /// OmniPaxos in one thread without sockets.
    MemoryOmnipaxos,
    /// Raft in one thread without sockets.
    #[cfg(feature = "raft")]
    MemoryRaft,
}

/// Measures a consensus library, and prints one JSON object like that of `paxos bench --json`.
#[derive(Clone, Debug, Parser)]
struct Asked {
    library: Library,
    /// How many values are in flight.
    #[arg(long, default_value_t = 1)]
    outstanding: u64,
    /// How many bytes a value has.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=32_768))]
    size: u32,
    /// How long it is measured, after a warm-up of 0.5 s.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How many values a client's datagram may carry; 0 means as many as fit.
    #[arg(long, default_value_t = 1)]
    values_per_datagram: u64,
    /// How long a process polls before it blocks; 0 blocks at once.
    #[arg(long, default_value_t = 50)]
    busy_poll_us: u64,
    /// Who owns the socket.
    #[arg(long, value_enum, default_value_t = Receive::Inline)]
    receive: Receive,
    /// In memory: how many values are proposed at once.
    #[arg(long, default_value_t = 1, value_parser = batch)]
    batch: u64,
    /// Be this node; only for the processes that this program starts.
    #[arg(long, hide = true)]
    node: Option<u64>,
}

impl Asked {
    /// How long a process polls.
    fn busy_poll(&self) -> Duration {
        Duration::from_micros(self.busy_poll_us)
    }

    /// How long it is measured. More than an hour is nobody's wish.
    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.01, 3600.0))
    }

    /// The library as the user types it.
    fn name(&self) -> String {
        let value = self.library.to_possible_value();
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// Reads how many values are proposed at once.
fn batch(text: &str) -> Result<u64, String> {
    let batch = text.parse().ok().filter(|batch| *batch > 0 && VALUES.is_multiple_of(*batch));
    batch.ok_or_else(|| format!("{text:?} is not a divisor of {VALUES}"))
}

fn run(asked: &Asked) -> Result<Option<String>, String> {
    match (asked.library, asked.node) {
        (Library::MemoryOurs, _) => Ok(Some(memory::measure_ours(asked))),
        (Library::MemoryOmnipaxos, _) => memory::measure::<OmniPaxosPeer>(asked).map(Some),
        #[cfg(feature = "raft")]
        (Library::MemoryRaft, _) => memory::measure::<RaftPeer>(asked).map(Some),
        (_, None) => client::measure(asked).map(Some),
        (Library::Omnipaxos, Some(id)) => node::run::<OmniPaxosPeer>(asked, id).map(|()| None),
        #[cfg(feature = "raft")]
        (Library::Raft, Some(id)) => node::run::<RaftPeer>(asked, id).map(|()| None),
    }
}

fn main() -> ExitCode {
    match run(&Asked::parse()) {
        Ok(result) => {
            result.into_iter().for_each(|line| println!("{line}"));
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("peers: {reason}");
            ExitCode::FAILURE
        }
    }
}
