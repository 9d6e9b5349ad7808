//! Multi-Paxos over UDP/IP multicast.

pub mod protocol;
pub mod rng;
pub mod sim;
pub mod wire;
