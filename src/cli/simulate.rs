//! The arguments of `paxos simulate`, but for the scenario and the pictures.

use std::path::PathBuf;

use clap::Args;

use super::picture::TypedPictures;
use super::scenario::TypedScenario;
use super::values::whole;
use crate::simulate::{Detail, SimulateOptions};

/// What to simulate, as typed.
#[derive(Args)]
pub struct TypedSimulate {
    /// The seed, or the first of several
    #[arg(long, default_value = "1", value_parser = whole(0..=u64::MAX))]
    seed: u64,
    /// How many seeds; one prints its story, more are only judged
    #[arg(long, value_name = "COUNT", default_value = "1",
        value_parser = whole::<u64>(1..=u64::MAX))]
    seeds: u64,
    /// Print messages, timers and deliveries, after a legend
    #[arg(long)]
    trace: bool,
    /// Print heartbeats and echoes as well; implies --trace
    #[arg(long)]
    heartbeats: bool,
    /// Draw faults that stay: links that are cut in one direction, slow disks
    #[arg(long)]
    lasting: bool,
    /// Play a transcript, such as those in src/protocol/testdata, and print what happens
    #[arg(long, value_name = "FILE",
        conflicts_with_all = ["seed", "seeds", "trace", "heartbeats", "lasting", "TypedScenario"])]
    transcript: Option<PathBuf>,
    #[command(flatten)]
    scenario: Box<TypedScenario>,
    #[command(flatten)]
    pictures: Box<TypedPictures>,
}

impl TypedSimulate {
    /// What is wanted; `command` is what was typed.
    ///
    /// # Errors
    ///
    /// Options that do not go together, in one sentence.
    pub fn understood(self, command: String) -> Result<SimulateOptions, String> {
        let Self { seed, seeds, trace, heartbeats, lasting, transcript, scenario, pictures } = self;
        let own = scenario.understood()?;
        if lasting && own.is_some() {
            return Err(
                "--lasting draws its scenario from the seed, and takes no option of a scenario"
                    .to_owned(),
            );
        }
        let detail = match (trace, heartbeats) {
            (_, true) => Detail::Everything,
            (true, false) => Detail::Messages,
            (false, false) => Detail::Story,
        };
        let pictures = pictures.understood(command)?;
        if seeds > 1 && pictures.are_wanted() {
            return Err("--svg and --html draw one run: leave out --seeds".to_owned());
        }
        Ok(SimulateOptions { seed, seeds, detail, lasting, own, transcript, pictures })
    }
}
