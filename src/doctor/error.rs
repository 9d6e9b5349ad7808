//! Why nobody can look at a cluster.

use std::fmt;
use std::io;

use crate::auth::key::KeyError;
use crate::config::ConfigError;
use crate::net::multicast::NetError;

/// Why neither a doctor nor `paxos status` can look. Each is one sentence with the cure.
#[derive(Debug)]
pub enum LookError {
    /// The configuration cannot be used.
    Config(ConfigError),
    /// The key cannot be used.
    Key(KeyError),
    /// The groups cannot be heard.
    Network(NetError),
    /// The interface of the configuration at this path is not there.
    Interface(String, String),
    /// The proposers of the configuration at this path are a list of members.
    Listed(String),
    /// The system gives no thread.
    Thread(io::Error),
}

impl fmt::Display for LookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LookError::Config(error) => error.fmt(f),
            LookError::Key(error) => error.fmt(f),
            LookError::Network(error) => error.fmt(f),
            LookError::Interface(path, what) => write!(f, "{path}: {what}"),
            LookError::Listed(path) => write!(
                f,
                "{path}: the proposers are a list of members, and what is sent to those nobody \
                 else hears; look at each process instead, by `metrics`"
            ),
            LookError::Thread(error) => write!(f, "the system gives no thread: {error}"),
        }
    }
}

impl std::error::Error for LookError {}

impl From<ConfigError> for LookError {
    fn from(error: ConfigError) -> Self {
        LookError::Config(error)
    }
}

impl From<KeyError> for LookError {
    fn from(error: KeyError) -> Self {
        LookError::Key(error)
    }
}

impl From<NetError> for LookError {
    fn from(error: NetError) -> Self {
        LookError::Network(error)
    }
}
