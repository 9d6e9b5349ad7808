//! Why a process, or an embedded node, cannot start.

use std::fmt;
use std::io;

use super::entropy::NoEntropy;
use crate::auth::key::KeyError;
use crate::config::{ConfigError, EndpointError};
use crate::net::multicast::NetError;
use crate::storage::error::LogError;

/// Why a node could not start, in one sentence with the place and the cure.
#[derive(Debug)]
pub struct StartError {
    kind: StartErrorKind,
    sentence: String,
    may_pass: bool,
}

/// What kept a node from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartErrorKind {
    /// The configuration cannot be followed.
    Configuration,
    /// The interface, an address or a port does not exist, or is in use.
    Network,
    /// The data of an acceptor, or the directory of results, cannot be used.
    Data,
    /// The operating system refuses a basic service: a thread, random numbers.
    System,
}

impl StartError {
    pub(crate) fn new(kind: StartErrorKind, what: impl fmt::Display) -> Self {
        StartError { kind, sentence: what.to_string(), may_pass: false }
    }

    /// An error that may go away without anybody's help, so that another try may succeed.
    pub(super) fn passing(kind: StartErrorKind, what: impl fmt::Display) -> Self {
        StartError { may_pass: true, ..StartError::new(kind, what) }
    }

    /// The same in other words.
    #[cfg(feature = "cli")]
    pub(super) fn reworded(self, sentence: String) -> Self {
        StartError { sentence, ..self }
    }

    fn told(kind: StartErrorKind, what: impl fmt::Display, may_pass: bool) -> Self {
        StartError { may_pass, ..StartError::new(kind, what) }
    }

    /// What kept it from starting.
    pub fn kind(&self) -> StartErrorKind {
        self.kind
    }

    /// Whether it may go away by itself, like an interface that is not up yet.
    pub fn may_pass(&self) -> bool {
        self.may_pass
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        StartError::new(StartErrorKind::Configuration, error)
    }
}

impl From<KeyError> for StartError {
    fn from(error: KeyError) -> Self {
        StartError::new(StartErrorKind::Configuration, error)
    }
}

impl From<EndpointError> for StartError {
    fn from(error: EndpointError) -> Self {
        let may_pass = error.may_pass();
        let kind = if may_pass { StartErrorKind::Network } else { StartErrorKind::Configuration };
        StartError::told(kind, error, may_pass)
    }
}

impl From<NetError> for StartError {
    fn from(error: NetError) -> Self {
        let may_pass = error.may_pass();
        StartError::told(StartErrorKind::Network, error, may_pass)
    }
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        let may_pass = error.may_pass();
        StartError::told(StartErrorKind::Data, error, may_pass)
    }
}

impl From<NoEntropy> for StartError {
    fn from(error: NoEntropy) -> Self {
        StartError::new(StartErrorKind::System, error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for StartError {}

/// The system gives no thread.
pub(crate) fn no_thread(error: io::Error) -> StartError {
    StartError::passing(StartErrorKind::System, format!("the system gives no thread: {error}"))
}
