//! What a doctor knows about its own host, once it has looked. Plain data.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::hearing::bit;
use super::probe::printable;
use crate::config::Config;
use crate::net::Group;
use crate::protocol::types::{NodeId, Role};

/// Where a role's group stands in everything that has a place for each.
pub const PLACES: [Role; 4] = Role::ALL;

/// What a doctor knows about its own host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Only this host was examined.
    pub is_local: bool,
    /// What the configuration says.
    pub settings: Settled,
    /// Every address of this host.
    pub addresses: Vec<(String, IpAddr)>,
    /// The interface that is configured, if this host has it.
    pub interface: Option<InterfaceFacts>,
    /// Why there is no such interface; empty when there is.
    pub no_interface: String,
    /// The receive buffer that the kernel gave, in bytes, where a group was joined.
    pub buffer_bytes: Option<usize>,
    /// Errors of sockets, each with its cure.
    pub failures: Vec<(String, &'static str)>,
    /// The groups that were joined, a bit each.
    pub joined: u8,
    /// How sending to each group went wrong, if it did.
    pub unsent: [Option<Unsent>; 4],
    /// Folders that cannot be written, and why.
    pub folders: Vec<FolderFacts>,
    /// Sockets of this host on the groups' ports that the kernel dropped datagrams of.
    pub drops: Vec<Drops>,
    /// Members of lists at which no process takes datagrams.
    pub absent: Vec<Absent>,
    /// Groups to which more processes of this host listen than are members.
    pub deaf: Vec<Deaf>,
    /// Bridges of this host that ask for members in a way that makes hosts keep silent.
    pub bridges: Vec<String>,
    /// How many datagrams this doctor did not fetch in time itself.
    pub missed: u64,
}

/// The configuration, as far as doctors need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The interface: its address, or what the file calls it.
    pub interface: String,
    /// The groups, by place, as text.
    pub groups: [String; 4],
    /// The groups that are multicast, a bit each; the others are lists of members.
    pub multicast: u8,
    /// The ports of all of them.
    pub ports: Vec<u16>,
    /// How many bytes of a packet its headers take.
    pub header_bytes: usize,
    /// The cluster's name.
    pub cluster: String,
    /// How many networks a datagram may cross.
    pub ttl: u32,
    /// How many acceptors there are.
    pub acceptor_count: u32,
    /// The largest datagram, in bytes.
    pub datagram_bytes: usize,
    /// The receive buffer that is requested, in bytes.
    pub buffer_bytes: usize,
    /// The fingerprint of the key; none without a key.
    pub key: Option<u64>,
}

/// An interface, as the system describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceFacts {
    /// Its name.
    pub name: String,
    /// The longest packet, in bytes, where the system says it.
    pub mtu: Option<usize>,
    /// It never leaves this host.
    pub is_loopback: bool,
    /// It is switched on.
    pub is_up: bool,
    /// It has a link.
    pub has_link: bool,
    /// It takes multicast.
    pub has_multicast: bool,
    /// Packets whose answer would leave elsewhere are dropped.
    pub is_strict: bool,
}

/// A datagram did not leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent {
    /// What kind of failure it was.
    pub why: Why,
    /// What the system said.
    pub text: String,
    /// The length of the datagram, in bytes.
    pub bytes: usize,
}

/// Why a datagram did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No route, or the interface is down.
    NoRoute,
    /// A firewall of this host.
    Forbidden,
    /// Too long for the system.
    TooLong,
    /// Something else.
    Other,
}

/// A folder that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderFacts {
    /// Where it is.
    pub path: String,
    /// Who needs it.
    pub role: Role,
    /// What the system said.
    pub error: String,
}

/// A member of a list at which no process takes datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Its role and id.
    pub node: NodeId,
    /// Its address in the list.
    pub address: SocketAddr,
    /// Whether its host was reached, and has refused.
    pub is_refused: bool,
    /// What the system said.
    pub error: String,
}

impl Absent {
    /// `node` is not there, as `error` says.
    pub fn new(node: NodeId, address: SocketAddr, error: &io::Error) -> Self {
        let is_refused = error.kind() == io::ErrorKind::ConnectionRefused;
        Absent { node, address, is_refused, error: error.to_string() }
    }
}

/// A group to which processes listen that are no members of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deaf {
    /// The group's address.
    pub group: Ipv4Addr,
    /// How many sockets are bound to it.
    pub bound: usize,
    /// How many of them, at most, are members on an interface that is there.
    pub members: usize,
}

/// What the kernel dropped at a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops {
    /// The socket's port.
    pub port: u16,
    /// How many there were by the end.
    pub count: u64,
    /// How many of them came while the doctor looked.
    pub more: u64,
}

impl Settled {
    /// The settings of `config`, without the key. `datagram_bytes` is the datagram size on this
    /// host's interface.
    pub fn new(config: &Config, datagram_bytes: usize) -> Self {
        let groups = PLACES.map(|role| config.groups.of(role));
        let multicast = (0..).zip(groups);
        let multicast = multicast.filter(|(_, group)| matches!(group, Group::Multicast(_)));
        let mut ports: Vec<u16> = config.groups.addresses().map(|at| at.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        Settled {
            interface: config.interface.to_string(),
            groups: groups.map(|group| {
                let texts: Vec<String> =
                    group.addresses().iter().map(ToString::to_string).collect();
                texts.join(" ")
            }),
            multicast: multicast.fold(0, |bits, (place, _)| bits | bit(place)),
            ports,
            header_bytes: config.groups.header_bytes(),
            cluster: printable(&config.cluster),
            ttl: config.ttl,
            acceptor_count: config.acceptor_count(),
            datagram_bytes,
            buffer_bytes: config.socket_buffer_bytes,
            key: None,
        }
    }

    /// All groups in one text, as probes carry it.
    pub fn groups_text(&self) -> String {
        printable(&self.groups.join(" "))
    }
}

impl Facts {
    /// Whether `address` is this host's.
    pub fn is_own(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.iter().any(|(_, own)| *own == address)
    }

    /// Whether the configured interface never leaves this host.
    pub fn is_loopback(&self) -> bool {
        self.interface.as_ref().is_some_and(|interface| interface.is_loopback)
    }
}
