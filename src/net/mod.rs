//! Datagrams, and nothing but datagrams: this module knows no message.

pub mod lossy;
pub mod memory;
pub mod multicast;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use crate::protocol::types::Role;

/// The longest payload that UDP over IPv4 carries, in bytes.
pub const UDP_PAYLOAD_MAX: usize = 65507;

/// IPv4 and UDP headers, in bytes.
const IP_UDP_HEADER_BYTES: usize = 28;

/// The multicast group of each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// The clients' group.
    pub clients: SocketAddrV4,
    /// The proposers' group.
    pub proposers: SocketAddrV4,
    /// The acceptors' group.
    pub acceptors: SocketAddrV4,
    /// The learners' group.
    pub learners: SocketAddrV4,
}

impl Groups {
    /// The group of `role`.
    pub fn of(&self, role: Role) -> SocketAddrV4 {
        match role {
            Role::Client => self.clients,
            Role::Proposer => self.proposers,
            Role::Acceptor => self.acceptors,
            Role::Learner => self.learners,
        }
    }
}

/// Sends datagrams to groups.
pub trait DatagramSender: Send {
    /// Sends `datagram` to the group of `role`. An error means that it did not leave; the protocol
    /// treats it as lost.
    fn send(&self, role: Role, datagram: &[u8]) -> io::Result<()>;
}

/// Receives the datagrams of one group.
pub trait DatagramReceiver: Send {
    /// Waits for a datagram and returns its length; none when nothing came within about 100 ms,
    /// so that the caller can look around. A datagram longer than `buffer` is cut.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>>;

    /// The same for a datagram that is there already; none when there is none. Never waits.
    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>>;

    /// How many datagrams were dropped so far because nobody fetched them in time.
    fn dropped(&self) -> u64;
}

impl<R: DatagramReceiver + ?Sized> DatagramReceiver for Box<R> {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        (**self).receive(buffer)
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        (**self).try_receive(buffer)
    }

    fn dropped(&self) -> u64 {
        (**self).dropped()
    }
}

/// The MTU of the interface that carries `address`, in bytes, where the system tells it.
pub fn interface_mtu(address: Ipv4Addr) -> Option<usize> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    let interface =
        interfaces.into_iter().find(|interface| interface.ip() == IpAddr::V4(address))?;
    let mtu = std::fs::read_to_string(format!("/sys/class/net/{}/mtu", interface.name)).ok()?;
    mtu.trim().parse().ok()
}

/// The largest UDP payload that goes over an interface of this MTU in one IP packet.
pub fn payload_of_mtu(mtu: usize) -> usize {
    mtu.saturating_sub(IP_UDP_HEADER_BYTES).min(UDP_PAYLOAD_MAX)
}
