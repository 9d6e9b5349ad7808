//! One client's socket, with the input read from it and the output still to write.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;

use crate::reply::{OUTPUT_BYTES_MAX, Reply};
use crate::request::{Parsed, Progress, parse};
use crate::session::{About, Flight, Next, Session};

/// How much is read from a socket at a time.
pub const READ_BYTES: usize = 64 << 10;
/// While this much output waits, no further request is taken.
const OUTPUT_BYTES: usize = 1 << 20;
/// The longest request of a client that has not said the password.
const STRANGERS_BYTES: usize = 16 << 10;

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    /// Its socket.
    pub stream: TcpStream,
    /// The state of its session.
    pub session: Session,
    /// Whether something of it is under way.
    pub in_flight: bool,
    /// When it was last heard.
    pub heard: Instant,
    input: Vec<u8>,
    /// How much of it is taken.
    taken: usize,
    progress: Progress,
    output: Vec<u8>,
    written: usize,
    /// There may be more to read; sockets say so once.
    may_read: bool,
    /// Nothing more comes, or is wanted: it closes once everything is answered.
    is_ending: bool,
    /// More would have to be written than may wait.
    has_too_much: bool,
}

impl Connection {
    /// A connection that has just come.
    pub fn new(stream: TcpStream, session: Session) -> Connection {
        Connection {
            stream,
            session,
            in_flight: false,
            heard: Instant::now(),
            input: Vec::new(),
            taken: 0,
            progress: Progress::default(),
            output: Vec::new(),
            written: 0,
            may_read: true,
            is_ending: false,
            has_too_much: false,
        }
    }

    /// There is something to read.
    pub fn is_readable(&mut self) {
        self.may_read = true;
    }

    /// Reads the input, as far as there is room for it. `piece` is the buffer for one read.
    pub fn read(&mut self, piece: &mut [u8], now: Instant, about: &About) -> io::Result<()> {
        let most = self.longest(about).max(READ_BYTES);
        while self.may_read && !self.is_ending && self.input.len() - self.taken < most {
            match self.stream.read(piece) {
                Ok(0) => self.is_ending = true,
                // A short read means that nothing is left: later input is signalled.
                Ok(count) => {
                    self.heard = now;
                    self.may_read = count == piece.len();
                    if self.taken == self.input.len() || self.taken >= READ_BYTES {
                        self.input.drain(..self.taken);
                        self.taken = 0;
                        // A silent connection costs little, no matter what it has sent.
                        self.input.shrink_to(READ_BYTES);
                    }
                    self.input.extend_from_slice(&piece[..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.may_read = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn longest(&self, about: &About) -> usize {
        if self.session.is_authenticated() { 2 * about.longest } else { STRANGERS_BYTES }
    }

    /// The requests that are there, if there are any and nothing is under way.
    pub fn depart(&mut self, about: &mut About) -> Option<Flight> {
        if self.in_flight || self.has_too_much || self.is_full() {
            return None;
        }
        let mut flight = Flight::default();
        while !flight.is_complete(about.flight_bytes, OUTPUT_BYTES) {
            let longest = self.longest(about);
            match parse(&self.input[self.taken..], &mut self.progress, longest) {
                Parsed::Partial => break,
                Parsed::Request(request, bytes) => {
                    self.taken += bytes;
                    match self.session.take(request, about, &mut flight) {
                        Next::Request => {}
                        Next::Wait => break,
                        Next::Close => {
                            self.end();
                            break;
                        }
                    }
                }
                Parsed::Broken(error) => {
                    flight.tell(Default::default(), &Reply::Error(error));
                    self.end();
                    break;
                }
            }
        }
        if flight.is_empty() { None } else { Some(flight) }
    }

    /// Whether too much output waits for a further request to be taken.
    pub fn is_full(&self) -> bool {
        self.output.len() - self.written >= OUTPUT_BYTES
    }

    /// Stops reading from it.
    fn end(&mut self) {
        self.is_ending = true;
        (self.input, self.taken) = (Vec::new(), 0);
    }

    /// Writes the answers of the flight that was under way.
    pub fn land(&mut self, flight: Flight, replies: Vec<Reply>, about: &mut About) {
        self.in_flight = false;
        if !self.session.land(flight, replies, about, &mut self.output) {
            log::warn!(
                "a client is closed: it has asked for more than {} MiB at once; it may ask for \
                 less at a time",
                OUTPUT_BYTES_MAX >> 20
            );
            self.has_too_much = true;
        }
    }

    /// Sends the output, as far as the socket takes it. Returns whether the connection is over.
    pub fn write(&mut self) -> bool {
        if self.has_too_much {
            return true;
        }
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return true,
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.output.len() - self.written > OUTPUT_BYTES_MAX;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        self.output.clear();
        self.output.shrink_to(OUTPUT_BYTES);
        self.written = 0;
        self.is_ending && !self.in_flight && !self.has_request()
    }

    /// Whether what was read has not been taken, and is more than the head of a request.
    fn has_request(&self) -> bool {
        let rest = &self.input[self.taken..];
        let mut progress = self.progress;
        !matches!(parse(rest, &mut progress, usize::MAX / 4), Parsed::Partial)
    }
}
