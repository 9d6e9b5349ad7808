//! A limit of the configuration that follows from others, with the reason as an assertion.

use crate::auth::seal::SEAL_BYTES;
use crate::protocol::types::{ENTRY_BYTES_MAX, MESSAGE_BYTES_MAX, RUN_BYTES_MAX, TOLD_BYTES_MAX};

/// The smallest `datagram_bytes`.
pub const DATAGRAM_BYTES_MIN: usize = 256;

/// What the smallest datagram has room for, besides its seal and the fields of its message.
const ROOM: usize = DATAGRAM_BYTES_MIN - SEAL_BYTES - MESSAGE_BYTES_MAX;

// An entry of at least one byte.
const _: () = assert!(ROOM > ENTRY_BYTES_MAX);
// The answer to one session, with a run of each kind.
const _: () = assert!(ROOM >= TOLD_BYTES_MAX + 3 * RUN_BYTES_MAX);
