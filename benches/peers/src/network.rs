//! A UDP socket on loopback, and the two ways in which a loop is fed from it.
//!
//! A thread receives and feeds a channel, as in `paxos` without polling; or the loop itself does,
//! as in `paxos` while it polls. Both poll for a bounded time, then block.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use crossbeam_channel::{Receiver, bounded};
use socket2::SockRef;

/// How often a library gets its tick, and the longest wait.
pub const TICK: Duration = Duration::from_millis(10);
/// As in `paxos`.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
const INBOX: usize = 16_384;
/// How many datagrams a turn takes at most.
const DATAGRAMS_PER_TURN: usize = 1024;
/// How long the receive thread waits at most. Nobody waits for the thread.
const PATIENCE: Duration = Duration::from_millis(100);

/// Who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Receive {
    /// A thread that feeds a channel to the loop.
    Channel,
    /// The loop.
    Inline,
}

/// A datagram and its sender.
pub type Arrived = (Box<[u8]>, SocketAddr);

/// A socket with room for many datagrams.
pub fn open() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    SockRef::from(&socket).set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    Ok(socket)
}

/// Received datagrams, in batches.
pub enum Source {
    Channel(Receiver<Arrived>, Duration),
    Inline(Polling),
}

impl Source {
    /// Receives from `socket`.
    pub fn new(socket: &UdpSocket, receive: Receive, busy_poll: Duration) -> io::Result<Self> {
        let socket = socket.try_clone()?;
        if receive == Receive::Inline {
            return Polling::new(socket, busy_poll, TICK).map(Source::Inline);
        }
        let mut polling = Polling::new(socket, busy_poll, PATIENCE)?;
        let (sender, receiver) = bounded(INBOX);
        thread::Builder::new().name("receive".to_owned()).spawn(move || {
            loop {
                match polling.receive() {
                    Ok(None) => {}
                    Ok(Some(arrived)) => {
                        if sender.send(arrived).is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        eprintln!("peers: cannot receive: {error}");
                        return;
                    }
                }
            }
        })?;
        Ok(Source::Channel(receiver, busy_poll))
    }

    /// Waits for a datagram, and takes those that have gathered behind it. Empty after [`TICK`].
    pub fn batch(&mut self, batch: &mut Vec<Arrived>) -> io::Result<()> {
        batch.clear();
        match self {
            Source::Channel(receiver, busy_poll) => {
                if !busy_poll.is_zero() {
                    let give_up = Instant::now() + *busy_poll;
                    while receiver.is_empty() && Instant::now() < give_up {
                        thread::yield_now();
                    }
                }
                batch.extend(receiver.recv_timeout(TICK));
                batch.extend(receiver.try_iter().take(DATAGRAMS_PER_TURN - 1));
            }
            Source::Inline(polling) => {
                batch.extend(polling.receive()?);
                while !batch.is_empty() && batch.len() < DATAGRAMS_PER_TURN {
                    match polling.look()? {
                        Some(arrived) => batch.push(arrived),
                        None => break,
                    }
                }
            }
        }
        Ok(())
    }
}

/// Polls for a bounded time after the last datagram, then blocks.
pub struct Polling {
    socket: UdpSocket,
    buffer: Vec<u8>,
    busy_poll: Duration,
    last: Instant,
    is_blocking: bool,
}

impl Polling {
    fn new(socket: UdpSocket, busy_poll: Duration, patience: Duration) -> io::Result<Self> {
        socket.set_read_timeout(Some(patience))?;
        let (buffer, last) = (vec![0; 1 << 16], Instant::now());
        Ok(Polling { socket, buffer, busy_poll, last, is_blocking: true })
    }

    /// The next datagram, if it comes in time.
    fn receive(&mut self) -> io::Result<Option<Arrived>> {
        while !self.busy_poll.is_zero() {
            if let Some(arrived) = self.look()? {
                self.last = Instant::now();
                return Ok(Some(arrived));
            }
            if self.last.elapsed() >= self.busy_poll {
                break;
            }
            thread::yield_now();
        }
        self.set_blocking(true)?;
        let arrived = self.read()?;
        if arrived.is_some() && !self.busy_poll.is_zero() {
            self.last = Instant::now();
        }
        Ok(arrived)
    }

    /// The next datagram, if it is there.
    fn look(&mut self) -> io::Result<Option<Arrived>> {
        self.set_blocking(false)?;
        self.read()
    }

    fn set_blocking(&mut self, blocking: bool) -> io::Result<()> {
        if self.is_blocking != blocking {
            // Every handle of the socket changes with this one; a full send buffer, the only thing
            // a sender could wait for, does not come about on loopback.
            self.socket.set_nonblocking(!blocking)?;
            self.is_blocking = blocking;
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<Option<Arrived>> {
        match self.socket.recv_from(&mut self.buffer) {
            Ok((length, sender)) => Ok(Some((self.buffer[..length].into(), sender))),
            Err(error) => match error.kind() {
                // A process to which this socket has sent is gone.
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut
                | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            },
        }
    }
}
