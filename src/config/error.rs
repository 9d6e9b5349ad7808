//! What is wrong with a configuration, as a type that programs can match on.

use std::fmt;

/// What is wrong with a configuration. Each has one sentence, with the place and the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read, or is no text.
    Unreadable(String),
    /// There is no such key. A later release may have it.
    UnknownKey(String),
    /// A key is given twice.
    Repeated(String),
    /// A key cannot have this value.
    Value(String),
    /// A group has no address.
    NoGroup(String),
    /// Settings exclude each other, or one needs another that is not given.
    Conflict(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable(sentence)
            | ConfigError::UnknownKey(sentence)
            | ConfigError::Repeated(sentence)
            | ConfigError::Value(sentence)
            | ConfigError::NoGroup(sentence)
            | ConfigError::Conflict(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for ConfigError {}
