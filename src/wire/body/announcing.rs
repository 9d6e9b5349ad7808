//! How a process says which versions it reads, in every version, and how many sessions it
//! remembers. Nothing else differs between versions 8 and 9.
//!
//! Sessions are a number at the end of a heartbeat, in version 9 alone. The versions read are
//! encoded with a number that is always small.
//!
//! * **Version 9** appends two bytes to the number: the oldest and the newest version.
//! * **Version 8** has no field for it, and its readers refuse what has more fields. But they take
//!   a number in any of bincode's lengths. So a process that reads version 9 as well writes the
//!   number in three bytes where one would do. A process that reads only version 8 sees the number;
//!   the others see that the sender reads more.

use super::{Body, Refusal, put};
use crate::protocol::versions::{Version, Versions};

/// The longest number that bincode writes as one byte.
const ONE_BYTE_MAX: u32 = 250;
/// The byte before a number of two bytes.
const TWO_BYTES_FOLLOW: u8 = 251;

/// Appends `number`, and the versions that the sender reads.
pub(super) fn put_reading(number: u32, reads: Versions, version: Version, buffer: &mut Vec<u8>) {
    if version > Version::OLDEST {
        put(number, buffer);
        buffer.extend([reads.oldest.0, reads.newest.0]);
    } else if reads.newest > Version::OLDEST && number <= ONE_BYTE_MAX {
        buffer.extend([TWO_BYTES_FOLLOW, number as u8, 0]);
    } else {
        put(number, buffer);
    }
}

/// Appends how many sessions the sender of a heartbeat remembers, where there is a field for it.
pub(super) fn put_sessions(sessions: Option<u32>, version: Version, buffer: &mut Vec<u8>) {
    if version > Version::OLDEST {
        put(sessions.unwrap_or(0), buffer);
    }
}

/// Takes that off the front of the rest of a heartbeat of this version.
pub(super) fn take_sessions(body: &mut Body<'_>, version: Version) -> Result<Option<u32>, Refusal> {
    if version > Version::OLDEST { body.take().map(Some) } else { Ok(None) }
}

/// Takes a number, and the versions that are read, off the front of a body of this version.
pub(super) fn take_reading(
    body: &mut Body<'_>,
    version: Version,
) -> Result<(u32, Versions), Refusal> {
    let is_long = body.rest.first() == Some(&TWO_BYTES_FOLLOW);
    let number: u32 = body.take()?;
    if version > Version::OLDEST {
        let &[oldest, newest] = body.bytes(2)? else { return Err(Refusal::BadBody) };
        let reads = Versions { oldest: Version(oldest), newest: Version(newest) };
        return if oldest <= newest { Ok((number, reads)) } else { Err(Refusal::Impossible) };
    }
    let knows_more = is_long && number <= ONE_BYTE_MAX;
    Ok((number, if knows_more { Versions::ALL } else { Versions::BEFORE }))
}
