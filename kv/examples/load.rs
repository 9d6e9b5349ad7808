//! A load for the store and for etcd alike: connections that each set or get one key after the
//! other, and wait for the answer.
//!
//! `load store|etcd set|get ADDRESS[,ADDRESS...] CONNECTIONS BYTES SECONDS` prints the rate, and
//! the median and the 99th percentile of the latency. Connections are spread over the addresses.
//! etcd is spoken to as its own clients do, by gRPC over HTTP/2; of both there is no more here than
//! a load needs. Reads are linearizable, of keys that `set` has written.

// A load that cannot be made has failed.
#![allow(clippy::unwrap_used)]

use std::env;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many keys there are.
const KEYS: u64 = 1000;

/// A connection to a store of some kind.
trait Store: Send {
    /// Sets a key. The answer is awaited, and checked.
    fn set(&mut self, key: &str, value: &[u8]);
    /// Reads a key. The same, and the value must be as long as this.
    fn get(&mut self, key: &str, bytes: usize);
}

/// By the protocol of Redis.
struct Redis(BufReader<TcpStream>);

impl Redis {
    fn send(&mut self, words: &[&[u8]]) {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&request).unwrap();
    }

    fn expect(&mut self, answer: &[u8]) {
        let mut read = vec![0; answer.len()];
        self.0.read_exact(&mut read).unwrap();
        assert!(read.starts_with(answer), "{}", String::from_utf8_lossy(&read));
    }
}

impl Store for Redis {
    fn set(&mut self, key: &str, value: &[u8]) {
        self.send(&[b"SET", key.as_bytes(), value]);
        self.expect(b"+OK\r\n");
    }

    fn get(&mut self, key: &str, bytes: usize) {
        self.send(&[b"GET", key.as_bytes()]);
        self.expect(format!("${bytes}\r\n").as_bytes());
        self.0.read_exact(&mut vec![0; bytes + 2]).unwrap();
    }
}

/// By gRPC.
struct Etcd {
    stream: BufReader<TcpStream>,
    /// The number of the next request's stream.
    next: u32,
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
    fn new(stream: TcpStream) -> Etcd {
        let mut etcd = Etcd { stream: BufReader::new(stream), next: 1 };
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        put_frame(SETTINGS, 0, 0, &[], &mut out);
        etcd.stream.get_mut().write_all(&out).unwrap();
        etcd
    }

    /// Calls a method, and returns its answer: the message alone.
    fn call(&mut self, method: &str, message: &[u8]) -> Vec<u8> {
        let stream = self.next;
        self.next += 2;
        // POST, http, :path, :authority, content-type, te.
        let mut headers = vec![0x83, 0x86, 0x04, method.len() as u8];
        headers.extend_from_slice(method.as_bytes());
        headers
            .extend_from_slice(b"\x01\x04etcd\x0f\x10\x10application/grpc\x00\x02te\x08trailers");
        let mut data = vec![0];
        data.extend_from_slice(&(message.len() as u32).to_be_bytes());
        data.extend_from_slice(message);
        let mut out = Vec::new();
        put_frame(HEADERS, END_HEADERS, stream, &headers, &mut out);
        put_frame(DATA, END_STREAM, stream, &data, &mut out);
        self.stream.get_mut().write_all(&out).unwrap();
        let mut answer = Vec::new();
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).unwrap();
            let (kind, flags) = (head[3], head[4]);
            let mut out = Vec::new();
            match kind {
                DATA if length > 0 => {
                    answer.extend_from_slice(&payload);
                    put_frame(WINDOW_UPDATE, 0, 0, &length.to_be_bytes(), &mut out);
                }
                SETTINGS if flags & ACK == 0 => put_frame(SETTINGS, ACK, 0, &[], &mut out),
                PING if flags & ACK == 0 => put_frame(PING, ACK, 0, &payload, &mut out),
                _ => {}
            }
            if !out.is_empty() {
                self.stream.get_mut().write_all(&out).unwrap();
            }
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                // An error comes without a message.
                assert!(answer.len() > 5, "{method} has failed");
                return answer.split_off(5);
            }
        }
    }
}

impl Store for Etcd {
    fn set(&mut self, key: &str, value: &[u8]) {
        let mut message = Vec::new();
        put_field(1, key.as_bytes(), &mut message);
        put_field(2, value, &mut message);
        self.call("/etcdserverpb.KV/Put", &message);
    }

    fn get(&mut self, key: &str, bytes: usize) {
        let mut message = Vec::new();
        put_field(1, key.as_bytes(), &mut message);
        let answer = self.call("/etcdserverpb.KV/Range", &message);
        assert!(answer.len() > bytes, "{key} is not there");
    }
}

fn connect(kind: &str, address: &str) -> Box<dyn Store> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    match kind {
        "store" => Box::new(Redis(BufReader::new(stream))),
        _ => Box::new(Etcd::new(stream)),
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let [kind, act, addresses, connections, bytes, seconds] = &words[..] else {
        eprintln!("usage: load store|etcd set|get ADDRESS[,...] CONNECTIONS BYTES SECONDS");
        return ExitCode::from(2);
    };
    let [connections, bytes, seconds] =
        [connections, bytes, seconds].map(|text| text.parse::<usize>().unwrap());
    let addresses: Vec<&str> = addresses.split(',').collect();
    let (value, next) = (vec![b'v'; bytes], AtomicU64::new(0));
    let start = Instant::now();
    let until = Duration::from_secs(seconds as u64);
    let mut latencies: Vec<Duration> = thread::scope(|scope| {
        let work = |number: usize| {
            let mut store = connect(kind, addresses[number % addresses.len()]);
            let (value, next) = (&value, &next);
            scope.spawn(move || {
                let mut latencies = Vec::new();
                while start.elapsed() < until {
                    let key = format!("key:{:06}", next.fetch_add(1, Ordering::Relaxed) % KEYS);
                    let began = Instant::now();
                    match act.as_str() {
                        "set" => store.set(&key, value),
                        _ => store.get(&key, bytes),
                    }
                    latencies.push(began.elapsed());
                }
                latencies
            })
        };
        let threads: Vec<_> = (0..connections).map(work).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let rate = latencies.len() as f64 / start.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!("{rate:.0},{:.3},{:.3}", at(50), at(99));
    ExitCode::SUCCESS
}
