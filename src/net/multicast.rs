//! Sockets for groups, multicast or lists of members, over IPv4 and IPv6: the only user of socket2.
//!
//! A receiver is bound to its group's address and port, with `IP_MULTICAST_ALL` off: without both,
//! Linux also hands it the datagrams of every other group on the host that shares the port. A
//! member of a list is bound to its own address and port, and shares them with nobody.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fmt, fs};

use log::warn;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, getsockopt, sendmsg, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::datagrams::Datagrams;
use super::interface::Interface;
use super::reader::{Reader, take_together};
use super::readiness::Readiness;
use super::{AddressedSender, DatagramReceiver, DatagramSender, Groups, drops};
use crate::protocol::types::{NodeId, Role};

/// How long a receiver waits before it lets its caller do other work.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// How long a sender waits for room in the socket's buffer: a burst on a slow link needs a moment,
/// and datagrams that a stuck link does not take are lost, as on any other.
const SEND_PATIENCE: Duration = Duration::from_millis(10);

/// Linux: do not wait.
const MSG_DONTWAIT: i32 = 0x40;

/// How sockets are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The interface that multicast leaves and is joined on; lists of members do without.
    pub interface: Interface,
    /// How many networks a multicast datagram may cross: 0 stays on this host, 1 on this network.
    pub ttl: u32,
    /// How many bytes of receive buffer to request.
    pub buffer_bytes: usize,
}

/// Why a socket could not be set up.
#[derive(Debug)]
pub struct NetError {
    what: String,
    cure: &'static str,
    source: io::Error,
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NetError { what, cure, source } = self;
        write!(f, "{what}: {source}; {cure}")
    }
}

impl std::error::Error for NetError {}

impl NetError {
    /// What is wrong, without the cure.
    pub fn what(&self) -> String {
        format!("{}: {}", self.what, self.source)
    }

    /// Whether it may go away by itself: the interface or its address may come up, or the program
    /// that has the port may end.
    pub fn may_pass(&self) -> bool {
        /// Linux: there is no such device; too many open files, here and on the host; no buffers.
        const CODES: [i32; 4] = [19, 24, 23, 105];
        use io::ErrorKind::{
            AddrInUse, AddrNotAvailable, HostUnreachable, NetworkDown, NetworkUnreachable,
            OutOfMemory,
        };
        let kinds = [
            AddrInUse,
            AddrNotAvailable,
            HostUnreachable,
            NetworkDown,
            NetworkUnreachable,
            OutOfMemory,
        ];
        self.cure == CURE_FAMILY
            || kinds.contains(&self.source.kind())
            || self.source.raw_os_error().is_some_and(|code| CODES.contains(&code))
    }

    /// What to do about it.
    pub fn cure(&self) -> &'static str {
        self.cure
    }
}

/// Makes an error of a failed step.
fn failed(what: impl fmt::Display, cure: &'static str) -> impl FnOnce(io::Error) -> NetError {
    let what = what.to_string();
    move |source| NetError { what, cure, source }
}

/// The cures, one for each kind of step.
const CURE_SOCKET: &str = "the system refuses sockets; look at its limits";
const CURE_INTERFACE: &str =
    "set `interface` in the configuration to an interface of this host (see `ip address`)";
const CURE_BIND: &str =
    "choose another port in the configuration, or end the program that holds this one";

const CURE_PRIVATE: &str = "choose another `unicast_port`, or leave it out, and see to it that \
                            `interface` has this address";
const CURE_MEMBER: &str = "the member at place N of a list is the process with id N: start it on \
                           the host that has this address, and only once";
const CURE_V6_ROUTE: &str = "set `interface` to one that has a route for IPv6 groups; the loopback \
                             interface has one for ff01:: after `ip -6 route add local ff01::/16 \
                             dev lo`";
const CURE_FAMILY: &str = "set `interface` to one with an IPv4 address, or use IPv6 groups";

/// Receives datagrams to one group, or to one member of a list.
pub struct MulticastReceiver {
    socket: UdpSocket,
    /// Where it listens.
    address: SocketAddr,
    /// Where its group was joined.
    interface: Interface,
    /// The kernel's number for the socket, to look up its drops.
    inode: Option<u64>,
    reader: Reader,
}

impl MulticastReceiver {
    /// Joins the group `address`, or, where that is no multicast address, listens there alone.
    pub fn join(address: SocketAddr, options: Options) -> Result<Self, NetError> {
        let socket = open(address)?;
        if address.ip().is_multicast() {
            join_group(&socket, scoped(address, options.interface), options.interface)?;
        } else {
            socket
                .bind(&address.into())
                .map_err(failed(format!("cannot listen at {address}"), CURE_MEMBER))?;
        }
        let joining = || format!("cannot join {address} on {}", options.interface);
        socket.set_read_timeout(Some(PATIENCE)).map_err(failed(joining(), CURE_SOCKET))?;
        ask_for_buffer(&socket, options.buffer_bytes);
        let (inode, socket, interface) = (inode_of(&socket), socket.into(), options.interface);
        Ok(MulticastReceiver { socket, address, interface, inode, reader: Reader::new() })
    }

    /// How many bytes of receive buffer the kernel gave.
    pub fn buffer_bytes(&self) -> io::Result<usize> {
        // Linux reports twice what it gives to payload and bookkeeping together.
        SockRef::from(&self.socket).recv_buffer_size().map(|bytes| bytes / 2)
    }

    /// Lets the kernel hand over several datagrams as one piece, which this cuts. Nobody else may
    /// read the socket by another handle then.
    pub fn taking_together(self) -> Self {
        take_together(&self.socket);
        self
    }

    /// From now on polls only after `readiness` has named the socket.
    pub fn wait_for(&mut self, readiness: &Readiness) {
        self.reader.wait_for(readiness, &self.socket);
    }

    /// Another handle on the socket, for code that must know where a datagram comes from.
    pub fn handle(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    /// Leaves the group until [`Self::join_again`]. Nothing is received meanwhile.
    pub fn leave(&self) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        match (self.address.ip(), self.interface.v4) {
            (IpAddr::V4(group), Some(own)) => socket.leave_multicast_v4(&group, &own),
            (IpAddr::V4(_), None) => Ok(()),
            (IpAddr::V6(group), _) => socket.leave_multicast_v6(&group, self.interface.index),
        }
    }

    /// Joins the group that was left.
    pub fn join_again(&self) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        match (self.address.ip(), self.interface.v4) {
            (IpAddr::V4(group), Some(own)) => socket.join_multicast_v4(&group, &own),
            (IpAddr::V4(_), None) => Ok(()),
            (IpAddr::V6(group), _) => socket.join_multicast_v6(&group, self.interface.index),
        }
    }
}

impl DatagramReceiver for MulticastReceiver {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.reader.read(&self.socket, buffer, false)
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.reader.read(&self.socket, buffer, true)
    }

    fn source(&self) -> Option<SocketAddr> {
        self.reader.source()
    }

    fn dropped(&self) -> u64 {
        self.inode.map_or(0, drops::of)
    }
}

/// A process's own socket: everything is sent from it, and datagrams to this process alone arrive
/// there. The others learn its address from the source of its datagrams.
pub struct PrivateReceiver {
    socket: Arc<Socket>,
    inode: Option<u64>,
    reader: Reader,
}

impl PrivateReceiver {
    fn new(socket: Arc<Socket>) -> Self {
        let inode = inode_of(&socket);
        take_together(&*socket);
        PrivateReceiver { socket, inode, reader: Reader::new() }
    }

    /// From now on polls only after `readiness` has named the socket.
    pub fn wait_for(&mut self, readiness: &Readiness) {
        self.reader.wait_for(readiness, &*self.socket);
    }
}

impl DatagramReceiver for PrivateReceiver {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.reader.read(&*self.socket, buffer, false)
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.reader.read(&*self.socket, buffer, true)
    }

    fn source(&self) -> Option<SocketAddr> {
        self.reader.source()
    }

    fn dropped(&self) -> u64 {
        self.inode.map_or(0, drops::of)
    }
}

/// Binds to `group` and joins it.
fn join_group(socket: &Socket, group: SocketAddr, interface: Interface) -> Result<(), NetError> {
    // Several processes of one host share a group.
    socket.set_reuse_address(true).map_err(failed(format!("cannot share {group}"), CURE_SOCKET))?;
    socket.bind(&group.into()).map_err(failed(format!("cannot bind to {group}"), CURE_BIND))?;
    let joining = || format!("cannot join {group} on {interface}");
    match group.ip() {
        IpAddr::V4(address) => {
            let own = interface.v4.ok_or_else(|| no_v4(joining()))?;
            socket.join_multicast_v4(&address, &own).map_err(failed(joining(), CURE_INTERFACE))?;
            socket.set_multicast_all_v4(false)
        }
        IpAddr::V6(address) => {
            socket
                .join_multicast_v6(&address, interface.index)
                .map_err(failed(joining(), CURE_INTERFACE))?;
            socket.set_multicast_all_v6(false)
        }
    }
    .map_err(failed(joining(), CURE_SOCKET))
}

/// The error of IPv4 on an interface that has no address for it.
fn no_v4(what: String) -> NetError {
    let source = io::Error::other("the interface has no IPv4 address");
    NetError { what, cure: CURE_FAMILY, source }
}

/// `group` with the number of the interface, without which IPv6 cannot tell networks apart.
fn scoped(group: SocketAddr, interface: Interface) -> SocketAddr {
    match group {
        SocketAddr::V6(mut group) if group.ip().is_multicast() => {
            group.set_scope_id(interface.index);
            group.into()
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => group,
    }
}

/// Sends to all groups, and to single processes.
pub struct MulticastSender {
    /// Where a datagram to each role goes, and by which socket it leaves.
    targets: [Vec<(Arc<Outlet>, SockAddr)>; 4],
    sockets: Sockets,
}

/// A socket to send by.
struct Outlet {
    socket: Arc<Socket>,
    /// The last datagram found no room in time: the next does not wait at all, so that a stuck
    /// link costs the caller one wait, not one for each datagram.
    is_stuck: AtomicBool,
    /// The kernel, or the interface, cannot cut a piece into datagrams.
    cuts_nothing: AtomicBool,
}

impl Outlet {
    fn new(socket: Socket) -> Arc<Self> {
        // Linux before 4.18 would not refuse a piece: it would send it as one datagram.
        let cuts = getsockopt(&socket, sockopt::UdpGsoSegment).is_ok();
        Arc::new(Outlet {
            socket: Arc::new(socket),
            is_stuck: AtomicBool::new(false),
            cuts_nothing: AtomicBool::new(!cuts),
        })
    }

    fn send_to(&self, datagrams: Datagrams<'_>, address: &SockAddr) -> io::Result<()> {
        if datagrams.count() > 1 && !self.cuts_nothing.load(Ordering::Relaxed) {
            let sent = self.send_together(datagrams, address);
            let code = sent.as_ref().err().and_then(io::Error::raw_os_error);
            match code.map(Errno::from_raw) {
                // The interface cannot compute checksums.
                Some(Errno::EIO | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT) => {
                    self.cuts_nothing.store(true, Ordering::Relaxed);
                }
                // The path to this destination carries only shorter packets.
                Some(Errno::EINVAL | Errno::EMSGSIZE) => {}
                _ => return sent,
            }
        }
        let mut outcome = Ok(());
        for datagram in datagrams.iter() {
            let send = |flags| self.socket.send_to_with_flags(datagram, address, flags);
            outcome = outcome.and(self.unless_stuck(|flags| send(flags).map(|_| ())));
        }
        outcome
    }

    /// Sends as one piece, which is cut later.
    fn send_together(&self, datagrams: Datagrams<'_>, address: &SockAddr) -> io::Result<()> {
        let each = u16::try_from(datagrams.each()).map_err(io::Error::other)?;
        let address = address.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        let address = SockaddrStorage::from(address);
        self.unless_stuck(|flags| {
            let flags = MsgFlags::from_bits_truncate(flags);
            let (parts, each) =
                ([IoSlice::new(datagrams.bytes())], [ControlMessage::UdpGsoSegments(&each)]);
            sendmsg(self.socket.as_raw_fd(), &parts, &each, flags, Some(&address))?;
            Ok(())
        })
    }

    /// Calls `send` with the flags for a link that is stuck or is not.
    fn unless_stuck(&self, send: impl FnOnce(i32) -> io::Result<()>) -> io::Result<()> {
        let is_stuck = self.is_stuck.load(Ordering::Relaxed);
        let sent = send(if is_stuck { MSG_DONTWAIT } else { 0 });
        let is_full = sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if is_full != is_stuck {
            self.is_stuck.store(is_full, Ordering::Relaxed);
        }
        sent
    }
}

impl MulticastSender {
    /// A sender to `groups`; multicast leaves on the interface of `options`.
    pub fn open(groups: &Groups, options: Options) -> Result<Self, NetError> {
        Self::open_from(groups, options, 0)
    }

    /// The same; this process's own socket gets the first free port from `first_port` on, or any if
    /// that is 0.
    pub fn open_from(groups: &Groups, options: Options, first_port: u16) -> Result<Self, NetError> {
        let mut sockets = Sockets::default();
        let mut targets = [const { Vec::new() }; 4];
        for role in [Role::Client, Role::Proposer, Role::Acceptor, Role::Learner] {
            for address in groups.destinations(role) {
                let address = scoped(address, options.interface);
                let socket = sockets.by(address, options, first_port)?;
                if address.is_ipv6() && address.ip().is_multicast() {
                    find_route(address, options)?;
                }
                targets[place(role)].push((socket, address.into()));
            }
        }
        Ok(MulticastSender { targets, sockets })
    }

    /// Receivers of datagrams to this process alone: one for each IP version of a multicast group.
    pub fn private(&self) -> Vec<PrivateReceiver> {
        let sockets = self.sockets.private.iter().flatten();
        sockets.map(|outlet| PrivateReceiver::new(Arc::clone(&outlet.socket))).collect()
    }
}

impl DatagramSender for MulticastSender {
    fn send(&self, role: Role, datagrams: Datagrams<'_>) -> io::Result<()> {
        let mut outcome = Ok(());
        for (outlet, address) in &self.targets[place(role)] {
            // One unreachable member must not keep datagrams from the others.
            outcome = outcome.and(outlet.send_to(datagrams, address));
        }
        outcome
    }
}

impl AddressedSender for MulticastSender {
    fn send_at(
        &self,
        _node: NodeId,
        address: SocketAddr,
        datagrams: Datagrams<'_>,
    ) -> io::Result<()> {
        let family = usize::from(address.is_ipv6());
        let listed = self.sockets.plain.get(&address);
        let outlet = listed.or(self.sockets.private[family].as_ref());
        let outlet = outlet.ok_or(io::ErrorKind::Unsupported)?;
        outlet.send_to(datagrams, &address.into())
    }
}

/// The sockets that a process sends from.
#[derive(Default)]
struct Sockets {
    /// Its own, one for each IP version of a multicast group, for multicast and for the addresses
    /// it has learned; it is heard there as well.
    private: [Option<Arc<Outlet>>; 2],
    /// For lists of members, where all addresses are known: the system has a route to each, which
    /// need not begin at the interface of the groups. One for each address: datagrams to a host
    /// that is gone wait in the socket until the system knows that, and would hold up those to the
    /// others.
    plain: BTreeMap<SocketAddr, Arc<Outlet>>,
}

impl Sockets {
    /// The socket by which datagrams leave for `address`.
    fn by(
        &mut self,
        address: SocketAddr,
        options: Options,
        first_port: u16,
    ) -> Result<Arc<Outlet>, NetError> {
        let family = usize::from(address.is_ipv6());
        if !address.ip().is_multicast() {
            let outlet = match self.plain.entry(address) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(Outlet::new(open_to_send(address)?)),
            };
            return Ok(Arc::clone(outlet));
        }
        if let Some(outlet) = &self.private[family] {
            return Ok(Arc::clone(outlet));
        }
        let socket = open_to_send(address)?;
        set_multicast(&socket, address, options)?;
        bind_private(&socket, address, options, first_port)?;
        Ok(Arc::clone(self.private[family].insert(Outlet::new(socket))))
    }
}

/// How many ports are tried from `unicast_port` on.
const PORTS_TRIED: u16 = 256;

/// Gives the socket an address of this process's own on the interface of the groups: a free port,
/// or the first free one from `first_port` on.
fn bind_private(
    socket: &Socket,
    group: SocketAddr,
    options: Options,
    first_port: u16,
) -> Result<(), NetError> {
    let own: IpAddr = match (group.ip(), options.interface.v4) {
        (IpAddr::V4(_), Some(own)) => own.into(),
        (IpAddr::V4(_), None) => Ipv4Addr::UNSPECIFIED.into(),
        // The system chooses an address of the interface, by the group's scope.
        (IpAddr::V6(_), _) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let last_port = if first_port == 0 { 0 } else { first_port.saturating_add(PORTS_TRIED - 1) };
    let mut bound = Ok(());
    for port in first_port..=last_port {
        bound = socket.bind(&SocketAddr::new(own, port).into());
        if !bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            break;
        }
    }
    let what = format!("cannot listen at {own}, ports {first_port} to {last_port}");
    bound.map_err(failed(what, CURE_PRIVATE))?;
    socket
        .set_read_timeout(Some(PATIENCE))
        .map_err(failed("cannot bound the time of receiving", CURE_SOCKET))?;
    ask_for_buffer(socket, options.buffer_bytes);
    Ok(())
}

/// The index of a role in tables of all four.
fn place(role: Role) -> usize {
    match role {
        Role::Client => 0,
        Role::Proposer => 1,
        Role::Acceptor => 2,
        Role::Learner => 3,
    }
}

/// A socket that sends to addresses of the same IP version as `address`.
fn open_to_send(address: SocketAddr) -> Result<Socket, NetError> {
    let socket = open(address)?;
    // The send buffer keeps the system's default, which is small. So a sender waits for a slow
    // link. With a large buffer it never would: datagrams that do not fit the link's own queue
    // would be dropped on this host although sending succeeds.
    socket
        .set_write_timeout(Some(SEND_PATIENCE))
        .map_err(failed("cannot bound the time of sending", CURE_SOCKET))?;
    Ok(socket)
}

/// Sets how multicast of the IP version of `address` leaves, as `options` say.
fn set_multicast(socket: &Socket, address: SocketAddr, options: Options) -> Result<(), NetError> {
    let Options { interface, ttl, .. } = options;
    let sending = || format!("cannot send multicast on {interface}");
    // Processes of one host hear each other only if multicast is looped back.
    if address.is_ipv4() {
        let own = interface.v4.ok_or_else(|| no_v4(sending()))?;
        socket.set_multicast_if_v4(&own).map_err(failed(sending(), CURE_INTERFACE))?;
        socket.set_multicast_ttl_v4(ttl).map_err(failed(sending(), CURE_SOCKET))?;
        socket.set_multicast_loop_v4(true).map_err(failed(sending(), CURE_SOCKET))
    } else {
        socket.set_multicast_if_v6(interface.index).map_err(failed(sending(), CURE_INTERFACE))?;
        socket.set_multicast_hops_v6(ttl).map_err(failed(sending(), CURE_SOCKET))?;
        socket.set_multicast_loop_v6(true).map_err(failed(sending(), CURE_SOCKET))
    }
}

/// Checks that there is a route for an IPv6 group. Without one every datagram would be refused, and
/// Linux gives the loopback interface none by itself. Connecting sends nothing.
fn find_route(group: SocketAddr, options: Options) -> Result<(), NetError> {
    let socket = open(group)?;
    set_multicast(&socket, group, options)?;
    let sending = format!("cannot send to the IPv6 group {group}");
    socket.connect(&group.into()).map_err(failed(sending, CURE_V6_ROUTE))
}

fn open(address: SocketAddr) -> Result<Socket, NetError> {
    let what = if address.is_ipv4() { "cannot open a UDP socket" } else { CANNOT_OPEN_V6 };
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
        .map_err(failed(what, CURE_SOCKET))?;
    if address.is_ipv6() {
        // IPv4 has sockets of its own.
        socket.set_only_v6(true).map_err(failed(what, CURE_SOCKET))?;
    }
    Ok(socket)
}

const CANNOT_OPEN_V6: &str = "cannot open a UDP socket for IPv6";

/// Requests a receive buffer, reads back its size, and logs a warning when it is smaller.
fn ask_for_buffer(socket: &Socket, bytes: usize) {
    let asked = socket.set_recv_buffer_size(bytes).and_then(|()| socket.recv_buffer_size());
    match asked {
        // Linux reports twice the requested size.
        Ok(given) if given / 2 < bytes => warn!(
            "the kernel gave a receive buffer of {} bytes where {bytes} were asked for; \
             raise net.core.rmem_max, or lower `socket_buffer_bytes`",
            given / 2
        ),
        Ok(_) => {}
        Err(error) => warn!("the receive buffer stays as it is: {error}"),
    }
}

/// The inode of the socket, as the tables in /proc/net print it.
fn inode_of(socket: &Socket) -> Option<u64> {
    let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
    let link = link.to_str()?;
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Group, UDP_PAYLOAD_MAX};
    use std::io::Write;
    use std::net::{Ipv4Addr, SocketAddrV6, UdpSocket};

    const OPTIONS: Options =
        Options { interface: Interface::LOOPBACK, ttl: 0, buffer_bytes: 1 << 18 };

    /// A port that no socket of this host holds at the moment.
    fn free_port() -> u16 {
        UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn group(last: u8, port: u16) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::new(239, 255, 77, last).into(), port)
    }

    /// Groups with clients at `to`, and nobody else.
    fn groups(to: Group) -> Groups {
        let nobody = || Group::Unicast(Vec::new());
        Groups { clients: to, proposers: nobody(), acceptors: nobody(), learners: nobody() }
    }

    fn sender(to: SocketAddr) -> MulticastSender {
        MulticastSender::open(&groups(Group::Multicast(to)), OPTIONS).unwrap()
    }

    fn received(receiver: &mut MulticastReceiver) -> Option<Vec<u8>> {
        let mut buffer = vec![0; UDP_PAYLOAD_MAX + 1];
        receiver.receive(&mut buffer).unwrap().map(|length| buffer[..length].to_vec())
    }

    #[test]
    fn every_member_of_a_group_receives_also_the_longest_datagram() {
        let group = group(1, free_port());
        let mut members = [0; 2].map(|_| MulticastReceiver::join(group, OPTIONS).unwrap());
        for datagram in [vec![], vec![7; 100], vec![9; UDP_PAYLOAD_MAX]] {
            sender(group).send(Role::Client, (&datagram).into()).unwrap();
            for member in &mut members {
                assert_eq!(received(member), Some(datagram.clone()));
                assert_eq!(member.try_receive(&mut [0; 8]).unwrap(), None);
            }
        }
        assert!(members[0].buffer_bytes().unwrap() >= 1 << 18);
    }

    /// Everything that a receiver with room for `room` bytes gets.
    fn all_received(receiver: &mut MulticastReceiver, room: usize) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; room];
        let mut all = Vec::new();
        while let Some(length) = receiver.receive(&mut buffer).unwrap() {
            assert!(receiver.source().is_some());
            all.push(buffer[..length].to_vec());
        }
        all
    }

    #[test]
    fn datagrams_that_leave_together_arrive_one_by_one() {
        let group = group(8, free_port());
        let join = || MulticastReceiver::join(group, OPTIONS).unwrap();
        let (mut members, mut plain) = ([0; 2].map(|_| join().taking_together()), join());
        let sender = sender(group);
        for lengths in [vec![100; 64], vec![100, 100, 1], vec![1400; 11], vec![9], vec![7, 7]] {
            let each = lengths[0];
            let numbered = (0..).zip(&lengths).map(|(place, length)| vec![place; *length]);
            let numbered: Vec<Vec<u8>> = numbered.collect();
            let bytes = numbered.concat();
            sender.send(Role::Client, Datagrams::new(&bytes, each)).unwrap();
            assert_eq!(all_received(&mut members[0], UDP_PAYLOAD_MAX + 1), numbered);
            assert_eq!(all_received(&mut members[1], 1400), numbered, "with less room");
            assert_eq!(all_received(&mut plain, UDP_PAYLOAD_MAX), numbered, "cut by the kernel");
        }
        let is_one_piece =
            |outlet: &(Arc<Outlet>, SockAddr)| !outlet.0.cuts_nothing.load(Ordering::Relaxed);
        assert!(sender.targets[place(Role::Client)].iter().all(is_one_piece));
        // Datagrams longer than the room are cut, and no others with them.
        sender.send(Role::Client, Datagrams::new(&[5; 300], 100)).unwrap();
        assert_eq!(all_received(&mut members[1], 30), vec![vec![5; 30]; 3]);
    }

    #[test]
    fn what_cannot_leave_together_leaves_alone() {
        let group = group(9, free_port());
        let mut member = MulticastReceiver::join(group, OPTIONS).unwrap();
        let sender = sender(group);
        // More than any kernel cuts: it refuses.
        let bytes: Vec<u8> = (0..200).collect();
        for _ in 0..2 {
            sender.send(Role::Client, Datagrams::new(&bytes, 1)).unwrap();
            let expected: Vec<Vec<u8>> = bytes.iter().map(|byte| vec![*byte]).collect();
            assert_eq!(all_received(&mut member, UDP_PAYLOAD_MAX), expected);
            assert!(!sender.targets[0][0].0.cuts_nothing.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn groups_that_share_an_address_or_a_port_stay_apart() {
        let (first, second) = (free_port(), free_port());
        let groups = [group(2, first), group(2, second), group(3, first)];
        let mut members = groups.map(|group| MulticastReceiver::join(group, OPTIONS).unwrap());
        for (index, group) in groups.into_iter().enumerate() {
            sender(group).send(Role::Client, (&[index as u8]).into()).unwrap();
        }
        for (index, member) in members.iter_mut().enumerate() {
            assert_eq!(received(member), Some(vec![index as u8]));
            assert_eq!(received(member), None);
        }
    }

    #[test]
    fn what_overflows_the_buffer_is_counted() {
        let group = group(4, free_port());
        let small = Options { buffer_bytes: 4096, ..OPTIONS };
        let mut member = MulticastReceiver::join(group, small).unwrap();
        let sender = sender(group);
        (0..100).for_each(|_| sender.send(Role::Client, (&[0; 1000]).into()).unwrap());
        let mut fetched = 0;
        while received(&mut member).is_some() {
            fetched += 1;
        }
        assert!(fetched < 100);
        assert!(soon(|| member.dropped() == 100 - fetched), "{} and {fetched}", member.dropped());
    }

    #[test]
    fn an_interface_of_another_host_is_refused_with_the_cure() {
        let elsewhere = Interface { v4: Some(Ipv4Addr::new(203, 0, 113, 9)), index: 0 };
        let options = Options { interface: elsewhere, ..OPTIONS };
        let refused = MulticastReceiver::join(group(5, free_port()), options).err();
        let sentence = refused.map(|error| error.to_string()).unwrap_or_default();
        assert!(sentence.contains("203.0.113.9") && sentence.contains("`interface`"), "{sentence}");
    }

    #[test]
    fn every_member_of_a_list_receives_over_ipv4_and_ipv6() {
        let mut addresses: Vec<SocketAddr> =
            (1..=3).map(|last| SocketAddr::new([127, 0, 0, last].into(), free_port())).collect();
        match UdpSocket::bind("[::1]:0") {
            Ok(free) => addresses.push(free.local_addr().unwrap()),
            Err(error) => skip(&format!("an IPv6 member: {error}")),
        }
        let join = |address: &SocketAddr| MulticastReceiver::join(*address, OPTIONS).unwrap();
        let mut members: Vec<MulticastReceiver> = addresses.iter().map(join).collect();
        let group = groups(Group::Unicast(addresses.clone()));
        let sender = MulticastSender::open(&group, OPTIONS).unwrap();
        for datagram in [vec![], vec![7; 100], vec![9; UDP_PAYLOAD_MAX]] {
            sender.send(Role::Client, (&datagram).into()).unwrap();
            for member in &mut members {
                assert_eq!(received(member), Some(datagram.clone()));
            }
        }
        // Nobody is there, and that is no error.
        sender.send(Role::Learner, b"one".into()).unwrap();
    }

    #[test]
    fn a_member_that_cannot_be_reached_keeps_nothing_from_the_others() {
        let free = || SocketAddr::new(Ipv4Addr::LOCALHOST.into(), free_port());
        // A socket may not send to a broadcast address until it is allowed to.
        let refused = "255.255.255.255:9".parse().unwrap();
        let (gone, there) = (free(), free());
        let mut member = MulticastReceiver::join(there, OPTIONS).unwrap();
        let group = groups(Group::Unicast(vec![gone, refused, there]));
        let sender = MulticastSender::open(&group, OPTIONS).unwrap();
        for round in 0..3 {
            sender.send(Role::Client, (&[round]).into()).unwrap_err();
            assert_eq!(received(&mut member), Some(vec![round]));
        }
    }

    #[test]
    fn a_member_shares_its_address_with_nobody() {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), free_port());
        let _first = MulticastReceiver::join(address, OPTIONS).unwrap();
        let elsewhere = "203.0.113.9:5000".parse().unwrap();
        for address in [address, elsewhere] {
            let refused = MulticastReceiver::join(address, OPTIONS).err();
            let sentence = refused.map(|error| error.to_string()).unwrap_or_default();
            let place = format!("cannot listen at {address}");
            assert!(sentence.contains(&place) && sentence.contains("id N"), "{sentence}");
        }
    }

    /// The kernel's tables are read now and then.
    fn soon(mut event: impl FnMut() -> bool) -> bool {
        (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            event()
        })
    }

    /// Prints, past the test harness, what could not be tested.
    fn skip(what: &str) {
        let _ = writeln!(io::stderr(), "SKIPPED: {what}");
        if let Some(list) = std::env::var_os("PAXOS_TEST_SKIPPED") {
            let list = std::fs::File::options().append(true).create(true).open(list);
            writeln!(list.unwrap(), "SKIPPED: {what}").unwrap();
        }
    }

    #[test]
    fn ipv6_groups_work_like_ipv4_groups() {
        let port = free_port();
        let group = |last: u16| {
            let address = [0xff01, 0, 0, 0, 0, 0, 0x7878, last].into();
            SocketAddr::V6(SocketAddrV6::new(address, port, 0, 0))
        };
        let groups = |last| groups(Group::Multicast(group(last)));
        let sender = match MulticastSender::open(&groups(1), OPTIONS) {
            Ok(sender) => sender,
            Err(error) => {
                assert!(error.to_string().contains("IPv6"), "{error}");
                return skip(&format!("IPv6 multicast on the loopback interface: {error}"));
            }
        };
        let mut members = [1, 1, 2].map(|last| {
            let small = Options { buffer_bytes: 4096, ..OPTIONS };
            MulticastReceiver::join(group(last), small).unwrap()
        });
        sender.send(Role::Client, b"one".into()).unwrap();
        let heard = members.each_mut().map(received);
        assert_eq!(heard, [Some(b"one".to_vec()), Some(b"one".to_vec()), None]);
        (0..100).for_each(|_| sender.send(Role::Client, (&[0; 1000]).into()).unwrap());
        assert!(soon(|| members[0].dropped() > 0), "drops are found in the table of IPv6");
    }

    #[test]
    fn an_interface_without_ipv4_is_refused_for_ipv4_groups() {
        let options = Options { interface: Interface { v4: None, index: 1 }, ..OPTIONS };
        let group = group(6, free_port());
        let joined = MulticastReceiver::join(group, options).err().unwrap().to_string();
        let sent = MulticastSender::open(&groups(Group::Multicast(group)), options).err();
        for sentence in [joined, sent.unwrap().to_string()] {
            assert!(sentence.contains("no IPv4 address; set `interface`"), "{sentence}");
        }
    }
}
