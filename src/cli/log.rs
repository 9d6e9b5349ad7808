//! The arguments of `paxos log`.

use std::path::PathBuf;

use clap::Subcommand;

use super::picture::instances;
use crate::storage::offline::LogCommand;

/// What to do with an acceptor's directory, as typed.
#[derive(Subcommand)]
pub enum TypedLog {
    /// Say in a sentence whether an acceptor would start there, and what it would find
    ///
    /// Status 0: it would. 1: it would not; the sentence names the place and the cure. 2: this is
    /// not the directory of an acceptor, or an acceptor runs in it.
    Verify {
        /// The directory, such as data/acceptor-1
        #[arg(value_name = "DIR")]
        path: PathBuf,
    },
    /// List the records: instance, ballot, kind, session and number, bytes, time, with tabs between
    ///
    /// Like `verify` it refuses a directory in which an acceptor runs, and the statuses are the
    /// same. Of a damaged log, it lists what precedes the damage.
    Show {
        /// The directory, such as data/acceptor-1
        #[arg(value_name = "DIR")]
        path: PathBuf,
        /// List votes for these instances alone, as in 7 or 2..5
        #[arg(long, value_name = "N[..M]", value_parser = instances)]
        instances: Option<(u64, u64)>,
    },
}

impl TypedLog {
    /// What is wanted.
    pub fn understood(self) -> LogCommand {
        match self {
            TypedLog::Verify { path } => LogCommand::Verify { path },
            TypedLog::Show { path, instances } => LogCommand::Show { path, instances },
        }
    }
}
