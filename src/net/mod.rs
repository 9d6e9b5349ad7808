//! Datagrams, and nothing but datagrams: this module knows no message.

pub mod datagrams;
mod drops;
pub mod interface;
pub mod lossy;
pub mod memory;
pub mod multicast;
pub mod needed;
mod reader;
pub mod readiness;
pub mod rejoin;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::slice;
use std::sync::Arc;

use crate::protocol::types::{NodeId, Role, To};
use datagrams::Datagrams;
use readiness::Readiness;

/// The longest payload that UDP over IPv4 carries, in bytes.
pub const UDP_PAYLOAD_MAX: usize = 65507;

/// IPv4 and UDP headers, in bytes.
const IPV4_UDP_HEADER_BYTES: usize = 28;

/// IPv6 and UDP headers, in bytes.
const IPV6_UDP_HEADER_BYTES: usize = 48;

/// Where the processes of a role are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// All of them listen to one multicast address.
    Multicast(SocketAddr),
    /// Each has an address of its own: the first is that of id 1, and so on.
    Unicast(Vec<SocketAddr>),
}

impl Group {
    /// Where the process with this id listens; none if the list has no such member.
    pub fn member(&self, id: u32) -> Option<SocketAddr> {
        match self {
            Group::Multicast(group) => Some(*group),
            Group::Unicast(members) => {
                let place = usize::try_from(id).ok()?.checked_sub(1)?;
                members.get(place).copied()
            }
        }
    }

    /// Where a datagram to the group is sent, address by address.
    pub fn addresses(&self) -> &[SocketAddr] {
        match self {
            Group::Multicast(group) => slice::from_ref(group),
            Group::Unicast(members) => members,
        }
    }
}

/// The group of each role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// The clients' group.
    pub clients: Group,
    /// The proposers' group.
    pub proposers: Group,
    /// The acceptors' group.
    pub acceptors: Group,
    /// The learners' group.
    pub learners: Group,
}

impl Groups {
    /// The group of `role`.
    pub fn of(&self, role: Role) -> &Group {
        match role {
            Role::Client => &self.clients,
            Role::Proposer => &self.proposers,
            Role::Acceptor => &self.acceptors,
            Role::Learner => &self.learners,
        }
    }

    /// Where a datagram to the group of `role` is sent, address by address, each once. Processes
    /// that hear a multicast group have joined it; nobody can join a list of members, so other
    /// roles that hear it get a copy at their own addresses.
    pub fn destinations(&self, role: Role) -> Vec<SocketAddr> {
        let mut destinations = self.of(role).addresses().to_vec();
        if let Group::Unicast(_) = self.of(role) {
            let hearers = Role::ALL.into_iter().filter(|other| other.hears().contains(&role));
            destinations.extend(hearers.flat_map(|other| self.of(other).addresses()));
        }
        let mut seen = BTreeSet::new();
        destinations.retain(|address| seen.insert(*address));
        destinations
    }

    /// The multicast groups that a process of `role` joins besides its own.
    pub fn joined_too(&self, role: Role) -> impl Iterator<Item = (Role, SocketAddr)> {
        let others = role.hears().iter().filter(move |other| **other != role);
        others.filter_map(|other| match self.of(*other) {
            Group::Multicast(address) => Some((*other, *address)),
            Group::Unicast(_) => None,
        })
    }

    /// The groups whose datagrams arrive at the socket where a process of `role` hears its own: its
    /// own group, and those of the other groups it hears that are lists.
    pub fn arriving_at_own(&self, role: Role) -> Vec<Role> {
        let is_list = |other: &Role| matches!(self.of(*other), Group::Unicast(_));
        let heard = role.hears().iter().copied();
        heard.filter(|other| *other == role || is_list(other)).collect()
    }

    /// Every address that datagrams are sent to.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let groups = [&self.clients, &self.proposers, &self.acceptors, &self.learners];
        groups.into_iter().flat_map(|group| group.addresses().iter().copied())
    }

    /// How many bytes of a packet the IP and UDP headers take, for the largest of them in use.
    pub fn header_bytes(&self) -> usize {
        let has_v6 = self.addresses().any(|address| address.is_ipv6());
        if has_v6 { IPV6_UDP_HEADER_BYTES } else { IPV4_UDP_HEADER_BYTES }
    }
}

/// Sends datagrams to groups.
pub trait DatagramSender: Send {
    /// Sends `datagrams` to the group of `role`. An error means that not all of them left, or,
    /// where the group is a list, not to all of its members; the protocol treats them as lost.
    fn send(&self, role: Role, datagrams: Datagrams<'_>) -> io::Result<()>;

    /// Sends `datagrams` to one process at its known address, or else to its group. Errors as
    /// above.
    fn send_to(&self, node: NodeId, datagrams: Datagrams<'_>) -> io::Result<()> {
        self.send(node.role, datagrams)
    }

    /// Sends `datagrams` to a group or to one process. Errors as above.
    fn send_either(&self, to: To, datagrams: Datagrams<'_>) -> io::Result<()> {
        match to {
            To::Group(group) => self.send(group, datagrams),
            To::Node(node) => self.send_to(node, datagrams),
        }
    }

    /// Whether datagrams to `node` go to it alone.
    fn knows(&self, _node: NodeId) -> bool {
        false
    }
}

/// Sends to groups, and to single processes at their addresses.
pub trait AddressedSender: DatagramSender {
    /// Sends `datagrams` to `node`, which is at `address`.
    fn send_at(
        &self,
        node: NodeId,
        address: SocketAddr,
        datagrams: Datagrams<'_>,
    ) -> io::Result<()>;
}

impl<S: DatagramSender + Sync + ?Sized> DatagramSender for Arc<S> {
    fn send(&self, role: Role, datagrams: Datagrams<'_>) -> io::Result<()> {
        (**self).send(role, datagrams)
    }

    fn send_to(&self, node: NodeId, datagrams: Datagrams<'_>) -> io::Result<()> {
        (**self).send_to(node, datagrams)
    }

    fn knows(&self, node: NodeId) -> bool {
        (**self).knows(node)
    }
}

impl<S: AddressedSender + Sync + ?Sized> AddressedSender for Arc<S> {
    fn send_at(
        &self,
        node: NodeId,
        address: SocketAddr,
        datagrams: Datagrams<'_>,
    ) -> io::Result<()> {
        (**self).send_at(node, address, datagrams)
    }
}

/// Receives the datagrams of one group, or those sent to this process alone.
pub trait DatagramReceiver: Send {
    /// Waits for a datagram and returns its length; none when nothing came within about 100 ms,
    /// so that the caller can do other work. A datagram longer than `buffer` is cut.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>>;

    /// The same for a datagram that has arrived already; none when there is none. Never waits.
    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>>;

    /// The source of the datagram that was received last; none where that is not known.
    fn source(&self) -> Option<SocketAddr> {
        None
    }

    /// How many datagrams were dropped so far because nobody fetched them in time.
    fn dropped(&self) -> u64;
}

/// A receiver with a socket, even if it is not always the same one.
pub trait Polled: DatagramReceiver {
    /// Asks the socket for datagrams that have arrived only after `readiness` has named it, and so
    /// every socket that takes its place.
    fn wait_for(&mut self, readiness: Arc<Readiness>);
}

impl<R: DatagramReceiver + ?Sized> DatagramReceiver for Box<R> {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        (**self).receive(buffer)
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        (**self).try_receive(buffer)
    }

    fn source(&self) -> Option<SocketAddr> {
        (**self).source()
    }

    fn dropped(&self) -> u64 {
        (**self).dropped()
    }
}

/// The largest UDP payload that fits one IP packet with this many bytes of headers on an interface
/// of this MTU.
pub fn payload_of_mtu(mtu: usize, header_bytes: usize) -> usize {
    mtu.saturating_sub(header_bytes).min(UDP_PAYLOAD_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mtu_carries_headers_and_payload() {
        let groups = |last: &str| {
            let multicast = Group::Multicast("239.0.0.1:5000".parse().unwrap());
            Groups {
                clients: multicast.clone(),
                proposers: multicast.clone(),
                acceptors: multicast,
                learners: Group::Unicast(vec![last.parse().unwrap()]),
            }
        };
        let (four, six) = (groups("127.0.0.1:1"), groups("[::1]:1"));
        assert_eq!(payload_of_mtu(1500, four.header_bytes()), 1472);
        assert_eq!(payload_of_mtu(1500, six.header_bytes()), 1452);
        assert_eq!(payload_of_mtu(65536, four.header_bytes()), UDP_PAYLOAD_MAX);
        assert_eq!(payload_of_mtu(65536, six.header_bytes()), 65488);
        assert_eq!(payload_of_mtu(usize::MAX, 28), UDP_PAYLOAD_MAX);
        assert_eq!(payload_of_mtu(0, 28), 0);
    }

    #[test]
    fn members_of_a_list_have_the_ids_from_1() {
        let [first, second] = ["10.0.0.1:1", "10.0.0.2:1"].map(|text| text.parse().unwrap());
        let group = Group::Unicast(vec![first, second]);
        assert_eq!((group.member(1), group.member(2)), (Some(first), Some(second)));
        assert_eq!((group.member(0), group.member(3), group.member(u32::MAX)), (None, None, None));
        let group = Group::Multicast(first);
        assert_eq!(group.member(7), Some(first));
    }
}
