//! The clock of this host, which is asked here alone: the state follows the time of the log.
//!
//! It only says when a read may need a later time than the log has.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time in milliseconds since 1970.
pub fn now() -> u64 {
    millis(SystemTime::now())
}

/// A time in milliseconds since 1970; 0 if it was before.
pub fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
