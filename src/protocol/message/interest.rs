//! Which kinds of message a role can use.

use super::{Kind, Role};

/// A set of kinds: those that a role can use right now. All others are dropped undecoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interest(u32);

impl Interest {
    /// The set of these kinds.
    pub const fn of(kinds: &[Kind]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < kinds.len() {
            bits |= 1 << kinds[index] as u32;
            index += 1;
        }
        Interest(bits)
    }

    /// What processes of `role` take from `group`, in any state.
    pub fn of_group(role: Role, group: Role) -> Self {
        let taken = Kind::ALL.into_iter().filter(|kind| kind.is_taken(role, group));
        taken.fold(Interest(0), Interest::with)
    }

    /// Whether a kind is in both sets.
    pub fn meets(self, other: Interest) -> bool {
        self.0 & other.0 != 0
    }

    /// The set and `kind`.
    pub const fn with(self, kind: Kind) -> Self {
        Interest(self.0 | 1 << kind as u32)
    }

    /// Whether `kind` is in the set.
    pub fn includes(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    /// The set as bits, one for each kind, so that threads can share it.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The set of these bits.
    pub fn from_bits(bits: u32) -> Self {
        Interest(bits)
    }
}
