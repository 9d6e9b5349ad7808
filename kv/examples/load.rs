//! A load for the store and for etcd alike: connections that each set or get one key after the
//! other, and wait for the answer.
//!
//! `load store|etcd set|get ADDRESS[,ADDRESS...] CONNECTIONS BYTES SECONDS` prints the rate, and
//! the median and the 99th percentile of the latency. Connections are spread over the addresses.
//! etcd is spoken to as its own clients do, by gRPC over HTTP/2; of both there is no more here than
//! a load needs. Reads are linearizable, of keys that `set` has written.
//!
//! One thread serves all connections, as that of `redis-benchmark` does: on a host that the load
//! shares with the servers, what it takes is missing there.

// A load that cannot be made has failed.
#![allow(clippy::unwrap_used)]

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// How many keys there are.
const KEYS: usize = 1000;
/// How much is read from a socket at a time.
const PIECE_BYTES: usize = 64 << 10;

/// What is asked of a store.
#[derive(Clone, Copy)]
enum Act {
    Set,
    Get,
}

/// How a store of some kind is spoken to.
trait Protocol {
    /// Asks for `act` with this key. `value` is the value of all keys.
    fn ask(&mut self, act: Act, key: &str, value: &[u8], out: &mut Vec<u8>);

    /// Takes what has come of the answer from the front of `input`, and checks it. Says whether it
    /// was all of it.
    fn hear(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> bool;
}

/// The protocol of Redis.
#[derive(Default)]
struct Redis {
    /// How the answer begins.
    head: Vec<u8>,
    /// How long it is.
    bytes: usize,
}

impl Protocol for Redis {
    fn ask(&mut self, act: Act, key: &str, value: &[u8], out: &mut Vec<u8>) {
        let (words, head, more): (&[&[u8]], _, _) = match act {
            Act::Set => (&[b"SET", key.as_bytes(), value], "+OK\r\n".to_owned(), 0),
            Act::Get => {
                let head = format!("${}\r\n", value.len());
                (&[b"GET", key.as_bytes()], head, value.len() + 2)
            }
        };
        (self.head, self.bytes) = (head.into_bytes(), 0);
        self.bytes = self.head.len() + more;
        write!(out, "*{}\r\n", words.len()).unwrap();
        for word in words {
            write!(out, "${}\r\n", word.len()).unwrap();
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn hear(&mut self, input: &mut Vec<u8>, _out: &mut Vec<u8>) -> bool {
        let there = input.len().min(self.head.len());
        assert!(input[..there] == self.head[..there], "{}", String::from_utf8_lossy(input));
        let is_whole = input.len() >= self.bytes;
        if is_whole {
            input.drain(..self.bytes);
        }
        is_whole
    }
}

/// gRPC.
struct Etcd {
    /// The number of the next request's stream.
    next: u32,
    /// What has come of the answer, and how long it is at least.
    answer: Vec<u8>,
    least: usize,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

fn put_frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A field of a message: its number, and bytes.
fn put_field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

impl Etcd {
    /// Greets the server.
    fn new(out: &mut Vec<u8>) -> Etcd {
        out.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        put_frame(SETTINGS, 0, 0, &[], out);
        Etcd { next: 1, answer: Vec::new(), least: 0 }
    }

    fn call(&mut self, method: &str, message: &[u8], out: &mut Vec<u8>) {
        let stream = self.next;
        self.next += 2;
        self.answer.clear();
        // POST, http, :path, :authority, content-type, te.
        let mut headers = vec![0x83, 0x86, 0x04, method.len() as u8];
        headers.extend_from_slice(method.as_bytes());
        headers
            .extend_from_slice(b"\x01\x04etcd\x0f\x10\x10application/grpc\x00\x02te\x08trailers");
        let mut data = vec![0];
        data.extend_from_slice(&(message.len() as u32).to_be_bytes());
        data.extend_from_slice(message);
        put_frame(HEADERS, END_HEADERS, stream, &headers, out);
        put_frame(DATA, END_STREAM, stream, &data, out);
    }
}

impl Protocol for Etcd {
    fn ask(&mut self, act: Act, key: &str, value: &[u8], out: &mut Vec<u8>) {
        let mut message = Vec::new();
        put_field(1, key.as_bytes(), &mut message);
        match act {
            Act::Set => {
                put_field(2, value, &mut message);
                self.call("/etcdserverpb.KV/Put", &message, out);
                self.least = 0;
            }
            Act::Get => {
                self.call("/etcdserverpb.KV/Range", &message, out);
                self.least = value.len();
            }
        }
    }

    fn hear(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
        while let Some((head, rest)) = input.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let (kind, flags) = (head[3], head[4]);
            let Some(payload) = rest.get(..length as usize) else { break };
            match kind {
                DATA if length > 0 => {
                    self.answer.extend_from_slice(payload);
                    put_frame(WINDOW_UPDATE, 0, 0, &length.to_be_bytes(), out);
                }
                SETTINGS if flags & ACK == 0 => put_frame(SETTINGS, ACK, 0, &[], out),
                PING if flags & ACK == 0 => put_frame(PING, ACK, 0, payload, out),
                _ => {}
            }
            input.drain(..9 + length as usize);
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                // An error comes without a message, and a key that is missing without a value.
                assert!(self.answer.len() > 5 + self.least, "a request has failed");
                return true;
            }
        }
        false
    }
}

struct Connection {
    stream: TcpStream,
    protocol: Box<dyn Protocol>,
    input: Vec<u8>,
    output: Vec<u8>,
    asked: Instant,
}

impl Connection {
    fn new(kind: &str, address: &str) -> Connection {
        let stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut output = Vec::new();
        let protocol: Box<dyn Protocol> = match kind {
            "store" => Box::new(Redis::default()),
            _ => Box::new(Etcd::new(&mut output)),
        };
        let (stream, input, asked) = (TcpStream::from_std(stream), Vec::new(), Instant::now());
        Connection { stream, protocol, input, output, asked }
    }

    fn ask(&mut self, act: Act, key: &str, value: &[u8]) {
        self.asked = Instant::now();
        self.protocol.ask(act, key, value, &mut self.output);
        self.write();
    }

    /// Writes as much as the socket takes.
    fn write(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads what has come, and says whether the answer is whole.
    fn hear(&mut self, piece: &mut [u8]) -> bool {
        loop {
            match self.stream.read(piece) {
                Ok(0) => panic!("the server has closed a connection"),
                Ok(count) => {
                    self.input.extend_from_slice(&piece[..count]);
                    // A short read means that nothing is left.
                    if count < piece.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let is_whole = self.protocol.hear(&mut self.input, &mut self.output);
        // What else the protocol has to say goes with the next request, or now if there is none.
        if !is_whole {
            self.write();
        }
        is_whole
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let [kind, act, addresses, connections, bytes, seconds] = &words[..] else {
        eprintln!("usage: load store|etcd set|get ADDRESS[,...] CONNECTIONS BYTES SECONDS");
        return ExitCode::from(2);
    };
    let [count, bytes, seconds] =
        [connections, bytes, seconds].map(|text| text.parse::<usize>().unwrap());
    let act = if act == "set" { Act::Set } else { Act::Get };
    let value = vec![b'v'; bytes];
    let addresses: Vec<&str> = addresses.split(',').collect();
    let mut poll = Poll::new().unwrap();
    let mut connections: Vec<Connection> =
        (0..count).map(|place| Connection::new(kind, addresses[place % addresses.len()])).collect();
    let mut next = 0;
    let mut key = move || {
        next += 1;
        format!("key:{:06}", (next - 1) % KEYS)
    };
    let start = Instant::now();
    for (place, connection) in connections.iter_mut().enumerate() {
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut connection.stream, Token(place), interest).unwrap();
        connection.ask(act, &key(), &value);
    }
    let (mut latencies, mut under_way) = (Vec::new(), count);
    let (mut events, mut piece) = (Events::with_capacity(1024), vec![0; PIECE_BYTES]);
    while under_way > 0 {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled.unwrap(),
        }
        for event in &events {
            let connection = &mut connections[event.token().0];
            if event.is_writable() {
                connection.write();
            }
            if !event.is_readable() || !connection.hear(&mut piece) {
                continue;
            }
            latencies.push(connection.asked.elapsed());
            if start.elapsed() < Duration::from_secs(seconds as u64) {
                connection.ask(act, &key(), &value);
            } else {
                under_way -= 1;
            }
        }
    }
    let rate = latencies.len() as f64 / start.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!("{rate:.0},{:.3},{:.3}", at(50), at(99));
    ExitCode::SUCCESS
}
