//! The arguments of `paxos status`.

use std::time::Duration;

use clap::Args;

use super::values::look_seconds;
use crate::status::StatusOptions;

/// How to look at a cluster, as typed.
#[derive(Args)]
pub struct TypedStatus {
    /// Look again and again, until interrupted
    #[arg(long)]
    watch: bool,
    /// Print one JSON object for each look
    #[arg(long)]
    json: bool,
    /// End with status 3 where a quorum is left, and an acceptor is silent or its disk full
    #[arg(long)]
    strict: bool,
    /// How long each look takes; by default about a second, longer where heartbeats are rare
    #[arg(long, value_name = "SECONDS", value_parser = look_seconds)]
    seconds: Option<Duration>,
}

impl TypedStatus {
    /// The options, for the cluster of this configuration.
    pub fn understood(self, conf: String) -> StatusOptions {
        let TypedStatus { watch, json, strict, seconds } = self;
        StatusOptions { conf, watch, json, strict, duration: seconds }
    }
}
