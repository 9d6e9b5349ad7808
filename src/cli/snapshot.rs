//! The arguments of `paxos snapshot`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::snapshots::offline::SnapshotCommand;

/// What to do with snapshots, as typed.
#[derive(Subcommand)]
pub enum TypedSnapshot {
    /// List a learner's snapshots, the newest first: name, bytes, position, kind, cluster
    List {
        /// The directory, such as snapshots/learner-1
        #[arg(value_name = "DIR")]
        path: PathBuf,
    },
    /// Read all of a learner's snapshots, or of one file, and say whether they are whole
    ///
    /// Status 0: all are. 1: one is damaged; a line names the place. 2: there is none.
    Verify {
        /// The directory, such as snapshots/learner-1, or a file
        #[arg(value_name = "DIR|FILE")]
        path: PathBuf,
    },
    /// Copy the newest snapshot that is whole to a file
    ///
    /// The learner may be running.
    Export {
        /// The directory, such as snapshots/learner-1
        #[arg(value_name = "DIR")]
        path: PathBuf,
        /// The file, which must not exist
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Add an exported file to a learner's snapshots: the next start goes on from it
    ///
    /// The learner must not be running, and have no newer snapshot. The cluster must still have the
    /// log above it.
    Import {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The directory, such as snapshots/learner-2
        #[arg(value_name = "DIR")]
        path: PathBuf,
    },
}

impl TypedSnapshot {
    /// What is wanted.
    pub fn understood(self) -> SnapshotCommand {
        match self {
            TypedSnapshot::List { path } => SnapshotCommand::List { path },
            TypedSnapshot::Verify { path } => SnapshotCommand::Verify { path },
            TypedSnapshot::Export { path, file } => SnapshotCommand::Export { path, file },
            TypedSnapshot::Import { file, path } => SnapshotCommand::Import { file, path },
        }
    }
}
