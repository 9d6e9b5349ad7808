//! The arguments of `paxos bench`.

use std::time::Duration;

use clap::Args;

use super::values::{first_instance, ratio, seconds, whole};
use super::{BenchOptions, NodeOptions, Usage};
use crate::protocol::message::Assignment;
use crate::protocol::types::{NodeId, Role};
use crate::runtime::load::{ALL_WITHIN, LoadOptions};

/// What to measure, as typed.
#[derive(Args)]
pub struct TypedBench {
    /// How many clients
    #[arg(long, value_name = "COUNT", default_value = "1",
        value_parser = whole::<u32>(1..=10_000))]
    clients: u32,
    /// The id of the first of them; no other client should have it
    #[arg(long, value_name = "ID", default_value = "1001",
        value_parser = whole::<u32>(1..=1_000_000_000))]
    first_id: u32,
    /// Bytes of a value; up to value_bytes in the configuration
    #[arg(long, value_name = "BYTES", default_value = "64",
        value_parser = whole::<u32>(0..=67_108_864))]
    size: u32,
    /// Values that each client keeps in flight
    #[arg(long, value_name = "COUNT", default_value = "1",
        value_parser = whole::<u32>(1..=1_000_000))]
    outstanding: u32,
    /// Values in a client's datagram at most; 0: as many as fit
    #[arg(long, value_name = "COUNT", default_value = "0",
        value_parser = whole::<u32>(0..=65_535))]
    values_per_datagram: u32,
    /// The instance that the first value of each client asks for, or `auto`: the leader chooses
    #[arg(long, value_name = "N|auto", default_value = "auto", value_parser = first_instance)]
    first_instance: Assignment,
    /// Drop each received datagram with this probability, in [0, 1)
    #[arg(long, value_name = "RATIO", default_value = "0", value_parser = ratio)]
    loss: f64,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    duration: Duration,
    /// How long to run before that
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    warm_up: Duration,
    /// For each number on standard input, print how many nanoseconds that many decisions took
    ///
    /// The load goes on between them, and ends with the input.
    #[arg(long, conflicts_with = "clients")]
    laps: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl TypedBench {
    /// The options, for the cluster of this configuration.
    ///
    /// # Errors
    ///
    /// Without a configuration.
    pub fn understood(self, conf: Option<String>) -> Result<BenchOptions, Usage> {
        let conf = conf.ok_or_else(|| Usage::Wrong("paxos: bench needs --conf PATH".to_owned()))?;
        let load = LoadOptions {
            value_bytes: self.size as usize,
            outstanding: self.outstanding as usize,
            values_per_datagram: self.values_per_datagram as usize,
            warm_up: self.warm_up,
            duration: self.duration,
        };
        let node = NodeOptions {
            assignment: self.first_instance,
            loss: self.loss,
            // A value that is not decided this long after the end will not be.
            lifetime: Some(ALL_WITHIN + self.warm_up + self.duration + Duration::from_secs(10)),
            ..NodeOptions::of(conf, NodeId::new(Role::Client, self.first_id))
        };
        let TypedBench { clients, laps, json, .. } = self;
        Ok(BenchOptions { node, clients, load, laps, json })
    }
}
