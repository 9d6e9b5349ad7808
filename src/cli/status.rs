//! The arguments of `paxos status`.

use std::time::Duration;

use clap::Args;

use crate::status::StatusOptions;

/// How to look at a cluster, as typed.
#[derive(Args)]
pub struct TypedStatus {
    /// Look again and again, until it is ended
    #[arg(long)]
    watch: bool,
    /// Print one JSON object for each look
    #[arg(long)]
    json: bool,
    /// How long each look takes; by default about a second, longer where heartbeats are rare
    #[arg(long, value_name = "SECONDS", value_parser = look_seconds)]
    seconds: Option<Duration>,
}

impl TypedStatus {
    /// The options, for the cluster of this configuration.
    pub fn understood(self, conf: String) -> StatusOptions {
        let TypedStatus { watch, json, seconds } = self;
        StatusOptions { conf, watch, json, duration: seconds }
    }
}

/// Seconds that suffice to hear somebody, and do not last for ever.
fn look_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.2..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) | Err(_) => Err("not a number of seconds from 0.2 to 3600".to_owned()),
    }
}
