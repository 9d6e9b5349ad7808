//! The clock of this host, which is asked here alone: the state follows the time in the log.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time in milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
