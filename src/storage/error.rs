//! Why an acceptor's log cannot be used: each reason is a sentence with the place and a cure.
//!
//! A cure must be safe to follow. An acceptor that votes without remembering its answers can make
//! two learners differ, so no message here tells anybody to go on without the last state.

use std::fmt;
use std::io;

use super::disk::is_full;
use super::identity::Identity;

/// What to do about a state that is not the last one.
const LAST_STATE: &str = "put back a copy that is byte for byte the last state of this acceptor \
                          and start it once with --adopt-copy, or leave it down";

/// Why a log cannot be used.
#[derive(Debug)]
pub enum LogError {
    /// The directory belongs to another acceptor or cluster.
    OtherOwner {
        /// The file that says so.
        path: String,
        /// Whose it is.
        found: Box<Identity>,
        /// Who wants it.
        mine: Box<Identity>,
    },
    /// The cluster had another number of acceptors when the directory was made.
    OtherCount {
        /// The file that says so.
        path: String,
        /// The number then.
        found: u32,
        /// The number now.
        configured: u32,
    },
    /// Another version of this program wrote it.
    OtherFormat {
        /// The file.
        path: String,
        /// What it says it is.
        found: String,
    },
    /// A file that must exist does not.
    Missing {
        /// The file.
        path: String,
    },
    /// There are records, but nothing says whose they are.
    Ownerless {
        /// The file that is missing.
        path: String,
        /// The file that is there.
        other: String,
    },
    /// A segment ends before what was stored in it.
    Short {
        /// The segment.
        path: String,
        /// Where it ends.
        bytes: u64,
        /// How long it must be at least.
        counted: u64,
    },
    /// A stored record is damaged.
    Damaged {
        /// The segment.
        path: String,
        /// Where the record begins.
        offset: u64,
    },
    /// A file that was written as a whole is damaged.
    Unreadable {
        /// The file.
        path: String,
    },
    /// The log holds more than it did when the manifest was written.
    Later {
        /// The segment that says more.
        path: String,
        /// The manifest.
        manifest: String,
    },
    /// A file or the directory is not the one that was written.
    Copied {
        /// The file, or the directory.
        path: String,
    },
    /// A copy should be adopted, but the directory is not a copy.
    NotCopied {
        /// The directory.
        path: String,
    },
    /// A record is undamaged, but of a kind that this version does not know.
    NotUnderstood {
        /// The segment.
        path: String,
        /// Where the record begins.
        offset: u64,
    },
    /// The system does not let the file be read.
    Read {
        /// The file.
        path: String,
        /// The system's error.
        error: io::Error,
    },
    /// The system does not let the file be written.
    Write {
        /// The file.
        path: String,
        /// The system's error.
        error: io::Error,
    },
}

impl LogError {
    /// Whether a user with more rights could read it.
    pub fn is_forbidden(&self) -> bool {
        let forbidden = io::ErrorKind::PermissionDenied;
        matches!(self, LogError::Read { error, .. } if error.kind() == forbidden)
    }

    /// Whether another try may succeed, as after a full disk.
    pub fn may_pass(&self) -> bool {
        matches!(self, LogError::Write { error, .. } if is_full(error))
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::OtherOwner { path, found, mine } => write!(
                f,
                "{path}: this is the data of acceptor {} of cluster {}, not of acceptor {} of \
                 cluster {}; give each acceptor its own directory",
                found.acceptor, found.cluster, mine.acceptor, mine.cluster
            ),
            LogError::OtherCount { path, found, configured } => write!(
                f,
                "{path}: this acceptor is one of {found}, and acceptor_count is {configured}: what \
                 a majority of {found} decided could be decided again; set acceptor_count to \
                 {found}"
            ),
            LogError::OtherFormat { path, found } => write!(
                f,
                "{path}: it is of the format `{found}`, which this version does not read; use the \
                 version of the program that wrote it"
            ),
            LogError::Missing { path } => write!(
                f,
                "{path} is missing, so this acceptor would contradict what it answered: \
                 {LAST_STATE}"
            ),
            LogError::Ownerless { path, other } => write!(
                f,
                "{path} is missing beside {other}, so nobody knows whose records these are: \
                 {LAST_STATE}"
            ),
            LogError::Short { path, bytes, counted } => write!(
                f,
                "{path} ends at byte {bytes}, and {counted} bytes were stored, so this acceptor \
                 would contradict what it answered: {LAST_STATE}"
            ),
            LogError::Damaged { path, offset } => write!(
                f,
                "{path}: the record at byte {offset} is damaged, and it was stored whole, so this \
                 acceptor would contradict what it answered: {LAST_STATE}"
            ),
            LogError::Unreadable { path } => write!(f, "{path} is damaged: {LAST_STATE}"),
            LogError::Later { path, manifest } => write!(
                f,
                "{path} holds more than {manifest} knows of, so that file is older than the last \
                 state: {LAST_STATE}"
            ),
            LogError::Copied { path } => write!(
                f,
                "{path} is a copy, and a copy may be older than the last state: if it is byte for \
                 byte the last state of this acceptor, and no other copy will ever run, start it \
                 once with --adopt-copy; otherwise leave it down"
            ),
            LogError::NotCopied { path } => write!(
                f,
                "{path} is not a copy, so there is nothing to adopt: start it without --adopt-copy"
            ),
            LogError::NotUnderstood { path, offset } => write!(
                f,
                "{path}: the record at byte {offset} is whole and not understood; use the version \
                 of the program that wrote it"
            ),
            LogError::Read { path, error } => {
                write!(
                    f,
                    "{path}: cannot read it: {error}; give this user permission, or mend the disk"
                )
            }
            LogError::Write { path, error } => {
                write!(
                    f,
                    "{path}: cannot write it: {error}; make room, or give this user permission"
                )
            }
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LogError::Read { error, .. } | LogError::Write { error, .. } => Some(error),
            LogError::OtherOwner { .. }
            | LogError::OtherCount { .. }
            | LogError::OtherFormat { .. }
            | LogError::Missing { .. }
            | LogError::Ownerless { .. }
            | LogError::Short { .. }
            | LogError::Damaged { .. }
            | LogError::Unreadable { .. }
            | LogError::Later { .. }
            | LogError::Copied { .. }
            | LogError::NotCopied { .. }
            | LogError::NotUnderstood { .. } => None,
        }
    }
}
