//! The arguments of `paxos lead`.

use std::time::Duration;

use clap::Args;

use super::values::look_seconds;
use super::{LeadOptions, NodeOptions};
use crate::doctor::DOCTOR_ID;
use crate::protocol::types::{NodeId, Role};

/// Which proposer leads next, as typed.
#[derive(Args)]
pub struct TypedLead {
    /// The proposer, such as P2
    #[arg(value_name = "PROPOSER", value_parser = proposer)]
    proposer: u32,
    /// How long to try
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = look_seconds)]
    seconds: Duration,
}

impl TypedLead {
    /// The options, for the cluster of this configuration.
    pub fn understood(self, conf: String) -> LeadOptions {
        let TypedLead { proposer, seconds } = self;
        let node = NodeId::new(Role::Client, DOCTOR_ID);
        let node = NodeOptions { lifetime: Some(seconds), ..NodeOptions::of(conf, node) };
        LeadOptions { node, proposer, within: seconds }
    }
}

fn proposer(text: &str) -> Result<u32, String> {
    match text.parse::<NodeId>() {
        Ok(node) if node.role == Role::Proposer => Ok(node.id),
        Ok(_) | Err(_) => Err("not a proposer, as P2".to_owned()),
    }
}
