//! Multi-Paxos over UDP/IP multicast.

pub mod net;
pub mod protocol;
pub mod rng;
pub mod sim;
pub mod wire;
