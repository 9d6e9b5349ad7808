//! The options of a learner on the command line.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::{NodeOptions, Usage};
use crate::protocol::learner::Beginning;
use crate::protocol::types::Instance;
use crate::results::form::Printed;
use crate::results::taken::last_taken;

#[derive(Args)]
pub(super) struct TypedLearner {
    /// Where the learner's file goes
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// Write and print only what lies at this instance or above; `oldest` is everything, `now` what
    /// is delivered after the start
    #[arg(long, value_name = "N|oldest|now", default_value = "oldest", value_parser = beginning)]
    from: Beginning,
    /// Print `<instance><TAB><value>` a line
    #[arg(long, conflicts_with = "apply")]
    positions: bool,
    /// Begin behind the last value that was taken: its position stands at the start of this file's
    /// last line. The file may be the output itself. While it is missing or empty, `--from` counts
    #[arg(long, value_name = "FILE", requires = "positions")]
    resume: Option<PathBuf>,
    /// `digest`: print a hash of all values every 1,000 instances and at the end, not the values
    #[arg(long, value_name = "WHAT", value_parser = PossibleValuesParser::new(["digest"]))]
    apply: Option<String>,
}

impl TypedLearner {
    /// The options with what a learner's say.
    pub fn of(&self, options: NodeOptions) -> Result<NodeOptions, Usage> {
        let (results, mut beginning) = (self.results.clone(), self.from);
        if let Some(file) = &self.resume {
            let taken = last_taken(file).map_err(|why| Usage::Wrong(format!("paxos: {why}")))?;
            beginning =
                taken.map_or(beginning, |taken| Beginning::At(Instance(taken.0.saturating_add(1))));
        }
        let printed = match (self.positions, &self.apply) {
            (_, Some(_)) if beginning != Beginning::Oldest => {
                return Err(Usage::Wrong(
                    "paxos: --apply digest needs all values; leave --from away".to_owned(),
                ));
            }
            (_, Some(_)) => {
                beginning = Beginning::At(Instance::FIRST);
                Printed::Digest
            }
            (true, None) => Printed::Positions,
            (false, None) => Printed::Values,
        };
        Ok(NodeOptions { results, beginning, printed, ..options })
    }
}

fn beginning(text: &str) -> Result<Beginning, String> {
    match (text, text.parse::<u64>()) {
        ("oldest", _) => Ok(Beginning::Oldest),
        ("now", _) => Ok(Beginning::Now),
        (_, Ok(instance)) if instance >= 1 => Ok(Beginning::At(Instance(instance))),
        (_, Ok(_) | Err(_)) => Err("neither an instance, 1 or more, nor `oldest` or `now`".into()),
    }
}
