//! The harness's interface to a consensus library.

use std::sync::Arc;

/// How many nodes there are; their ids start at 1.
pub const NODES: u64 = 3;

/// A proposal: a client's number (see [`number_of`]) and its value. Cheap to clone.
pub type Proposal = Arc<[u8]>;

/// The number of a proposal.
pub fn number_of(proposal: &[u8]) -> u64 {
    proposal.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A proposal of this number and value.
pub fn proposal(number: u64, value: &[u8]) -> Proposal {
    number.to_le_bytes().iter().chain(value).copied().collect()
}

/// A node of a consensus library.
pub trait Peer: Sized {
    /// The messages between nodes.
    type Message;

    /// Node `id`. At most `batch` values are proposed between two flushes.
    ///
    /// # Errors
    ///
    /// The library's error about its configuration.
    fn new(id: u64, batch: usize) -> Result<Self, String>;

    /// Called every [`crate::network::TICK`].
    fn tick(&mut self);

    /// Whether this node may be asked to propose.
    fn is_leader(&self) -> bool;

    /// How many entries are known to be decided here.
    fn decided(&self) -> u64;

    /// Proposes a value, or drops it.
    fn propose(&mut self, proposal: &Proposal);

    /// Takes a message in.
    fn step(&mut self, message: Self::Message);

    /// The messages to send, each with its receiver, and the numbers that are decided by now.
    fn flush(&mut self, messages: &mut Vec<(u64, Self::Message)>, decided: &mut Vec<u64>);

    /// Appends a message's bytes.
    fn encode(message: &Self::Message, bytes: &mut Vec<u8>) -> Result<(), String>;

    /// A message of these bytes.
    fn decode(bytes: &[u8]) -> Result<Self::Message, String>;
}
