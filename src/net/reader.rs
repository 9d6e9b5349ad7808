//! How a socket is read, datagram by datagram, even where the kernel hands over several as one
//! piece.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};

use super::UDP_PAYLOAD_MAX;
use super::readiness::{Mark, Readiness};

/// Lets the kernel hand over several datagrams of one source as one piece. A kernel without this
/// hands over one at a time, as before.
pub fn take_together(socket: &impl AsFd) {
    let _ = setsockopt(socket, sockopt::UdpGroSegment, &true);
}

/// What was read from a socket.
#[derive(Debug)]
pub struct Reader {
    /// The last piece beyond its first datagram, and how far it was handed on.
    piece: Vec<u8>,
    from: usize,
    /// How long the datagrams of the piece are; the last may be shorter.
    each: usize,
    source: Option<SocketAddr>,
    /// Room for the kernel's note about a piece: how long each datagram is.
    notes: Vec<u8>,
    /// Whether there may be anything to read, when the socket is polled.
    mark: Mark,
}

impl Reader {
    /// Nothing is read yet.
    pub fn new() -> Self {
        let (notes, mark) = (cmsg_space!(i32), Mark::default());
        Reader { piece: Vec::new(), from: 0, each: 0, source: None, notes, mark }
    }

    /// From now on polls `socket`, the one it reads, only after `readiness` has named it.
    pub fn wait_for(&mut self, readiness: &Readiness, socket: &impl AsFd) {
        self.mark = readiness.watch(socket);
    }

    /// The source of the last datagram.
    pub fn source(&self) -> Option<SocketAddr> {
        self.source
    }

    /// The next datagram of `socket`: its length. None when there is none: none by now when
    /// `polling`, otherwise none within the socket's time-out. One that is longer than `buffer` is
    /// cut.
    pub fn read(
        &mut self,
        socket: &impl AsRawFd,
        buffer: &mut [u8],
        polling: bool,
    ) -> io::Result<Option<usize>> {
        if self.from < self.piece.len() {
            return Ok(Some(self.next_of_piece(buffer)));
        }
        if polling && !self.mark.is_set() {
            return Ok(None);
        }
        if buffer.len() < UDP_PAYLOAD_MAX {
            // A piece may be longer than any of its datagrams.
            self.piece.resize(UDP_PAYLOAD_MAX, 0);
            let mut piece = std::mem::take(&mut self.piece);
            let received = self.receive(socket, &mut piece, polling);
            self.piece = piece;
            self.from = 0;
            self.piece.truncate(*received.as_ref().ok().and_then(Option::as_ref).unwrap_or(&0));
            return Ok(received?.map(|_| self.next_of_piece(buffer)));
        }
        let Some(length) = self.receive(socket, buffer, polling)? else { return Ok(None) };
        if length > self.each {
            self.piece.clear();
            self.piece.extend_from_slice(&buffer[self.each..length]);
            self.from = 0;
        }
        Ok(Some(length.min(self.each)))
    }

    /// Hands on one datagram of the piece at hand.
    fn next_of_piece(&mut self, buffer: &mut [u8]) -> usize {
        let until = self.piece.len().min(self.from + self.each);
        let datagram = &self.piece[self.from..until];
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        self.from = until;
        length
    }

    /// Reads one piece, and notes how long its datagrams are.
    fn receive(
        &mut self,
        socket: &impl AsRawFd,
        buffer: &mut [u8],
        polling: bool,
    ) -> io::Result<Option<usize>> {
        // Not O_NONBLOCK: a socket that is read and written by two threads would not wait to send.
        let flags = if polling { MsgFlags::MSG_DONTWAIT } else { MsgFlags::empty() };
        let mut parts = [IoSliceMut::new(buffer)];
        let notes = Some(&mut self.notes[..]);
        let received = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, notes, flags);
        let received = match received {
            Ok(received) => received,
            Err(Errno::EAGAIN) => {
                self.mark.clear();
                return Ok(None);
            }
            Err(Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let each = received.cmsgs()?.find_map(|note| match note {
            ControlMessageOwned::UdpGroSegments(each) => usize::try_from(each).ok(),
            _ => None,
        });
        self.each = each.filter(|each| *each > 0).unwrap_or(received.bytes);
        let source = received.address.as_ref().and_then(socket_address);
        self.source = Some(source.ok_or_else(|| io::Error::other("a datagram without a source"))?);
        Ok(Some(received.bytes))
    }
}

/// An address as the standard library has it.
fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::from(*address));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::from(*address)))
}
