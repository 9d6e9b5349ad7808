//! Whether the acceptors have room for new values.
//!
//! An acceptor says in its echoes when its disk is full (`acceptor::room`). While fewer of those
//! that are heard than a majority have room, a leader takes no new values and tells the clients. It
//! goes on with values that are under way, and with what it writes itself: so the log below the
//! next checkpoint becomes decided, and trimming it makes room. Then the echoes say so.
//!
//! A new leader knows nothing of full disks, and may have more to propose again than any reserve
//! holds: the votes of one acceptor, while the others of its quorum were full for long. That cannot
//! use up the room that checkpoints need:
//!
//! 1. Until it has heard an echo, its Accepts do not say that nothing new is taken, and acceptors
//!    whose disks are full vote for no value in them.
//! 2. After that they vote from their reserve, and check it in every turn while it is short. The
//!    last quarter is for checkpoints and no-ops alone, whatever a leader says.
//! 3. What it proposes again leaves in slices: no more than the window, in bytes, is in flight, and
//!    what is not voted for stays in flight. So between two checks no more than that is stored, and
//!    the reserve is four windows or more, or a quarter of a small disk, whose last bytes may be
//!    passed: a write that finds no room is harmless (`storage::log`).
//!
//! Values that find no room wait: nothing is lost, and only the operator can help, as when one
//! leader has used up the reserve.

use std::collections::BTreeSet;

use log::{info, warn};

use super::{Phase, Proposer};
use crate::protocol::types::Time;

/// How many disks are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fullness {
    /// None.
    None,
    /// Some, but a majority of the acceptors has room.
    Few,
    /// Enough that nothing new is taken.
    Most,
}

/// Which acceptors said last that their disks are full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rooms {
    full: BTreeSet<u32>,
}

impl Rooms {
    /// An acceptor says whether its disk is full.
    pub fn note(&mut self, acceptor: u32, full: bool) {
        if full {
            self.full.insert(acceptor);
        } else {
            self.full.remove(&acceptor);
        }
    }

    /// How many of these have room.
    fn count(&self, acceptors: impl Iterator<Item = u32>) -> usize {
        acceptors.filter(|acceptor| !self.full.contains(acceptor)).count()
    }
}

impl Proposer {
    /// Whether full disks are why nothing new can be decided. Without a quorum they are not.
    pub(super) fn is_full(&self, now: Time) -> bool {
        // Usually no disk is full, and there is nothing to count.
        if self.rooms.full.is_empty() || !self.election.is_quorate() {
            return false;
        }
        let with_room = self.rooms.count(self.election.vouching_now(now));
        with_room < self.quorum.needed() as usize
    }

    /// How many disks are full, of those acceptors that are heard.
    pub(super) fn fullness(&self, now: Time) -> Fullness {
        let is_full = |acceptor| self.rooms.full.contains(&acceptor);
        if self.leads_full() {
            Fullness::Most
        } else if self.rooms.full.is_empty() {
            // The usual case, and this is asked in every turn.
            Fullness::None
        } else if self.election.vouching_now(now).any(is_full) {
            Fullness::Few
        } else {
            Fullness::None
        }
    }

    /// Decides whether new values are taken.
    pub(super) fn look_for_room(&mut self, now: Time) {
        let is_full = self.is_full(now);
        let Phase::Leading(leadership) = &mut self.phase else { return };
        if leadership.set_full(is_full) {
            if is_full {
                warn!(
                    "takes no new values: the disks of too many acceptors are full; it goes on \
                     once the log is removed, as `retain` says, or they have more room"
                );
            } else {
                info!(target: "paxos::report", "takes new values again");
            }
        }
    }

    /// Whether it leads and takes no new values.
    pub(super) fn leads_full(&self) -> bool {
        match &self.phase {
            Phase::Leading(leadership) => leadership.is_full(),
            Phase::Standby | Phase::Campaign { .. } => false,
        }
    }
}
