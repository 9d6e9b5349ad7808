//! Sockets for IP multicast: the only user of socket2.
//!
//! A receiver is bound to its group's address and port, with `IP_MULTICAST_ALL` off: without both,
//! Linux also hands it the datagrams of every other group on the host that shares the port.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;
use std::{fmt, fs};

use log::warn;
use socket2::{Domain, Protocol, Socket, Type};

use super::{DatagramReceiver, DatagramSender, Groups};
use crate::protocol::types::Role;

/// How long a receiver waits before it lets its caller look around.
const PATIENCE: Duration = Duration::from_millis(100);

/// How sockets are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The address of the interface that multicast leaves and is joined on.
    pub interface: Ipv4Addr,
    /// How many networks a datagram may cross: 0 stays on this host, 1 on this network.
    pub ttl: u32,
    /// How many bytes of socket buffer are asked for, each way.
    pub buffer_bytes: usize,
}

/// Why a socket could not be had.
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

/// The cures, one a kind of step.
const CURE_SOCKET: &str = "the system refuses sockets; look at its limits";
const CURE_INTERFACE: &str =
    "set `interface` in the configuration to an IPv4 address of this host (see `ip address`)";
const CURE_BIND: &str =
    "choose another port in the configuration, or end the program that holds this one";

/// Receives what is sent to one group.
pub struct MulticastReceiver {
    socket: Socket,
    /// Whether the socket is set not to block.
    is_polling: bool,
    /// The kernel's number for the socket, to find its line in /proc/net/udp.
    inode: Option<String>,
}

impl MulticastReceiver {
    /// Joins `group`.
    pub fn join(group: SocketAddrV4, options: Options) -> Result<Self, NetError> {
        let socket = open()?;
        // Several processes of a host share a group.
        socket
            .set_reuse_address(true)
            .map_err(failed(format!("cannot share {group}"), CURE_SOCKET))?;
        socket.bind(&group.into()).map_err(failed(format!("cannot bind to {group}"), CURE_BIND))?;
        let joining = || format!("cannot join {group} on {}", options.interface);
        socket
            .join_multicast_v4(group.ip(), &options.interface)
            .map_err(failed(joining(), CURE_INTERFACE))?;
        socket.set_multicast_all_v4(false).map_err(failed(joining(), CURE_SOCKET))?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(failed(joining(), CURE_SOCKET))?;
        ask_for_buffer(&socket, options.buffer_bytes);
        let inode = inode_of(&socket);
        Ok(MulticastReceiver { socket, is_polling: false, inode })
    }

    /// How many bytes of receive buffer the kernel gave.
    pub fn buffer_bytes(&self) -> io::Result<usize> {
        // Linux reports twice what it gives to payload and bookkeeping together.
        self.socket.recv_buffer_size().map(|bytes| bytes / 2)
    }

    /// Another handle on the socket, for who must know where a datagram comes from.
    pub fn handle(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone().map(UdpSocket::from)
    }

    fn set_polling(&mut self, polling: bool) -> io::Result<()> {
        if self.is_polling != polling {
            self.socket.set_nonblocking(polling)?;
            self.is_polling = polling;
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        match self.socket.read(buffer) {
            Err(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) => Ok(None),
            other => other.map(Some),
        }
    }
}

impl DatagramReceiver for MulticastReceiver {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.set_polling(false)?;
        self.read(buffer)
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.set_polling(true)?;
        self.read(buffer)
    }

    fn dropped(&self) -> u64 {
        let Some(inode) = &self.inode else { return 0 };
        let table = fs::read_to_string("/proc/net/udp").unwrap_or_default();
        // The tenth column is the inode, the last one counts drops.
        let line = table.lines().find(|line| line.split_whitespace().nth(9) == Some(inode));
        line.and_then(|line| line.split_whitespace().last()?.parse().ok()).unwrap_or(0)
    }
}

/// Sends to all groups.
pub struct MulticastSender {
    socket: Socket,
    groups: Groups,
}

impl MulticastSender {
    /// A sender on the interface of `options`.
    pub fn open(groups: Groups, options: Options) -> Result<Self, NetError> {
        let socket = open()?;
        let sending = || format!("cannot send multicast on {}", options.interface);
        socket
            .set_multicast_if_v4(&options.interface)
            .map_err(failed(sending(), CURE_INTERFACE))?;
        socket.set_multicast_ttl_v4(options.ttl).map_err(failed(sending(), CURE_SOCKET))?;
        // Processes of one host hear each other only if what is sent comes back.
        socket.set_multicast_loop_v4(true).map_err(failed(sending(), CURE_SOCKET))?;
        if let Err(error) = socket.set_send_buffer_size(options.buffer_bytes) {
            warn!("the send buffer stays as it is: {error}");
        }
        Ok(MulticastSender { socket, groups })
    }
}

impl DatagramSender for MulticastSender {
    fn send(&self, role: Role, datagram: &[u8]) -> io::Result<()> {
        self.socket.send_to(datagram, &self.groups.of(role).into()).map(|_| ())
    }
}

fn open() -> Result<Socket, NetError> {
    Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
        .map_err(failed("cannot open a UDP socket", CURE_SOCKET))
}

/// Asks for a receive buffer, reads back what was given, and says so when it is less.
fn ask_for_buffer(socket: &Socket, bytes: usize) {
    let asked = socket.set_recv_buffer_size(bytes).and_then(|()| socket.recv_buffer_size());
    match asked {
        // Linux reports twice what it was asked for.
        Ok(given) if given / 2 < bytes => warn!(
            "the kernel gave a receive buffer of {} bytes where {bytes} were asked for; \
             raise net.core.rmem_max, or lower `socket_buffer_bytes`",
            given / 2
        ),
        Ok(_) => {}
        Err(error) => warn!("the receive buffer stays as it is: {error}"),
    }
}

/// The inode of the socket, as /proc/net/udp prints it.
fn inode_of(socket: &Socket) -> Option<String> {
    let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
    let link = link.to_str()?;
    link.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{UDP_PAYLOAD_MAX, interface_mtu, payload_of_mtu};

    const OPTIONS: Options =
        Options { interface: Ipv4Addr::LOCALHOST, ttl: 0, buffer_bytes: 1 << 18 };

    /// A port that no socket of this host holds at the moment.
    fn free_port() -> u16 {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn group(last: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(239, 255, 77, last), port)
    }

    fn sender(to: SocketAddrV4) -> MulticastSender {
        let groups = Groups { clients: to, proposers: to, acceptors: to, learners: to };
        MulticastSender::open(groups, OPTIONS).unwrap()
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
            sender(group).send(Role::Client, &datagram).unwrap();
            for member in &mut members {
                assert_eq!(received(member), Some(datagram.clone()));
                assert_eq!(member.try_receive(&mut [0; 8]).unwrap(), None);
            }
        }
        assert!(members[0].buffer_bytes().unwrap() >= 1 << 18);
    }

    #[test]
    fn groups_that_share_an_address_or_a_port_stay_apart() {
        let (first, second) = (free_port(), free_port());
        let groups = [group(2, first), group(2, second), group(3, first)];
        let mut members = groups.map(|group| MulticastReceiver::join(group, OPTIONS).unwrap());
        for (index, group) in groups.into_iter().enumerate() {
            sender(group).send(Role::Client, &[index as u8]).unwrap();
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
        (0..100).for_each(|_| sender.send(Role::Client, &[0; 1000]).unwrap());
        let mut fetched = 0;
        while received(&mut member).is_some() {
            fetched += 1;
        }
        assert!(fetched < 100);
        assert_eq!(member.dropped(), 100 - fetched);
    }

    #[test]
    fn an_interface_of_another_host_is_refused_with_the_cure() {
        let options = Options { interface: Ipv4Addr::new(203, 0, 113, 9), ..OPTIONS };
        let refused = MulticastReceiver::join(group(5, free_port()), options).err();
        let sentence = refused.map(|error| error.to_string()).unwrap_or_default();
        assert!(sentence.contains("203.0.113.9") && sentence.contains("`interface`"), "{sentence}");
    }

    #[test]
    fn the_loopback_interface_has_an_mtu() {
        let mtu = interface_mtu(Ipv4Addr::LOCALHOST).unwrap();
        assert!(payload_of_mtu(mtu) >= 1200);
        assert_eq!(payload_of_mtu(1500), 1472);
        assert_eq!(payload_of_mtu(usize::MAX), UDP_PAYLOAD_MAX);
    }
}
