//! A network that is far away: a relay in front of every process, which holds datagrams back.
//!
//! Processes know each other, in lists of members, by the addresses of the relay alone.

use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// How much may wait in a socket, as a process of the cluster asks for.
const SOCKET_BYTES: usize = 4 << 20;

/// How often a thread looks whether it is over.
const PATIENCE: Duration = Duration::from_millis(50);

/// A datagram, and when it arrives.
type Due = (Instant, Vec<u8>);

/// The relay of a cluster.
pub struct Relay {
    /// Where the relay of each member listens, by the member's own port.
    ports: BTreeMap<u32, u16>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Delays datagrams to each of the `members`, ports of 127.0.0.1, by `delay`.
    pub fn start(members: impl Iterator<Item = u32>, delay: Duration) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut relay = Relay { ports: BTreeMap::new(), is_over, threads: Vec::new() };
        for member in members {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
            SockRef::from(&socket).set_recv_buffer_size(SOCKET_BYTES).expect("a buffer");
            relay.ports.insert(member, socket.local_addr().expect("a port").port());
            let (sender, due) = mpsc::channel();
            let is_over = relay.is_over.clone();
            relay.threads.push(thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                while !is_over.load(Ordering::Relaxed) {
                    let Ok(length) = socket.recv(&mut buffer) else { continue };
                    if sender.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
                        return;
                    }
                }
            }));
            relay.threads.push(thread::spawn(move || deliver(&due, member)));
        }
        relay
    }

    /// The port by which others reach the member that listens at `port`.
    pub fn of(&self, port: u32) -> u16 {
        self.ports[&port]
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Sends what is due to the member, until nothing more can come.
fn deliver(due: &Receiver<Due>, member: u32) {
    // The system lets sleepers sleep 50 us longer, which would be twice the shortest delay.
    if let Ok(own) = fs::read_link("/proc/thread-self")
        && let Some(thread) = own.file_name()
    {
        let _ = fs::write(format!("/proc/{}/timerslack_ns", thread.to_string_lossy()), "1");
    }
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for (at, datagram) in due {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        // A member that is not there loses it, as on any network.
        let _ = socket.send_to(&datagram, ("127.0.0.1", member as u16));
    }
}
