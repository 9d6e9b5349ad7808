//! A node process: what arrives in a turn goes to the library, then everything leaves at once.

use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use crate::Asked;
use crate::network::{Arrived, Source, TICK, open};
use crate::peer::{NODES, Peer, proposal};
use crate::wire::{self, Datagram, MESSAGE_BYTES, Outbox, Pieces};

/// How much longer than the measurement a node lives if nobody ends it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs node `id` until its standard input ends, that is, until its parent ends.
///
/// It prints its port, and then expects those of all nodes in one line.
pub fn run<P: Peer>(asked: &Asked, id: u64) -> Result<(), String> {
    let failed = |error: io::Error| format!("node {id}: {error}");
    let socket = open().map_err(failed)?;
    println!("{}", socket.local_addr().map_err(failed)?.port());
    io::stdout().flush().map_err(failed)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(failed)?;
    let ports: Vec<u16> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if ports.len() as u64 != NODES {
        return Err(format!("node {id}: {line:?} is not a port for each of {NODES} nodes"));
    }
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        process::exit(0);
    });
    let mut source = Source::new(&socket, asked.receive, asked.busy_poll()).map_err(failed)?;
    let mut node = Node {
        peer: P::new(id, 1)?,
        socket,
        nodes: ports.into_iter().map(|port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).collect(),
        client: None,
        proposed_bytes: 0,
        outbox: Outbox::default(),
        pieces: Pieces::default(),
        messages: Vec::new(),
        decided: Vec::new(),
        reply: Vec::new(),
    };
    let (mut batch, mut next_tick) = (Vec::new(), Instant::now());
    let end = Instant::now() + asked.duration() + PATIENCE;
    loop {
        source.batch(&mut batch).map_err(failed)?;
        let now = Instant::now();
        if now > end {
            return Err(format!("node {id}: nobody has ended it in time"));
        }
        for arrived in &batch {
            node.on_datagram(arrived)?;
        }
        if now >= next_tick {
            next_tick = now + TICK;
            node.peer.tick();
        }
        node.flush()?;
    }
}

/// The state of the process.
struct Node<P: Peer> {
    peer: P,
    socket: UdpSocket,
    nodes: Vec<SocketAddrV4>,
    /// The one client, once it was heard.
    client: Option<SocketAddr>,
    /// What was proposed since the last flush.
    proposed_bytes: usize,
    outbox: Outbox,
    pieces: Pieces,
    messages: Vec<(u64, P::Message)>,
    decided: Vec<u64>,
    reply: Vec<u8>,
}

impl<P: Peer> Node<P> {
    fn on_datagram(&mut self, (bytes, sender): &Arrived) -> Result<(), String> {
        match wire::read(bytes) {
            Some(Datagram::Request { from, value_bytes, values }) if value_bytes > 0 => {
                self.client = Some(*sender);
                if self.peer.is_leader() {
                    for (number, value) in (from..).zip(values.chunks_exact(value_bytes)) {
                        self.propose(number, value)?;
                    }
                }
            }
            Some(Datagram::Probe) => {
                let state = wire::state(self.peer.is_leader(), self.peer.decided());
                send(&self.socket, *sender, &state);
            }
            Some(Datagram::Messages(messages)) => {
                for message in messages {
                    self.peer.step(P::decode(message)?);
                }
            }
            Some(Datagram::Piece { message, place, is_last, bytes }) => {
                if let Some(message) = self.pieces.add(*sender, (message, place, is_last), bytes) {
                    self.peer.step(P::decode(&message)?);
                }
            }
            other => return Err(format!("a node cannot read {other:?}")),
        }
        Ok(())
    }

    /// Proposes a value, and does not let a message outgrow a datagram.
    fn propose(&mut self, number: u64, value: &[u8]) -> Result<(), String> {
        if self.proposed_bytes > 0 && self.proposed_bytes + value.len() > MESSAGE_BYTES {
            self.flush()?;
        }
        // Beside its bytes a value has its number, its length, and what the library adds.
        self.proposed_bytes += value.len() + 16;
        self.peer.propose(&proposal(number, value));
        Ok(())
    }

    /// Sends decisions to the client, and the library's messages to the other nodes.
    fn flush(&mut self) -> Result<(), String> {
        self.proposed_bytes = 0;
        self.peer.flush(&mut self.messages, &mut self.decided);
        if let Some(client) = self.client
            && self.peer.is_leader()
            && !self.decided.is_empty()
        {
            wire::decided(&self.decided, &mut self.reply);
            send(&self.socket, client, &self.reply);
        }
        self.decided.clear();
        let Node { socket, nodes, outbox, .. } = self;
        let mut send = |receiver: u64, datagram: &[u8]| {
            if let Some(address) = nodes.get(receiver as usize - 1) {
                send(socket, (*address).into(), datagram);
            }
        };
        for (receiver, message) in self.messages.drain(..) {
            outbox.add(receiver, |bytes| P::encode(&message, bytes), &mut send)?;
        }
        outbox.flush(&mut send);
        Ok(())
    }
}

/// Sends, and says when that fails. A receiver that is not there yet, or not any more, is none of
/// the failures.
fn send(socket: &UdpSocket, receiver: SocketAddr, datagram: &[u8]) {
    if let Err(error) = socket.send_to(datagram, receiver)
        && error.kind() != io::ErrorKind::ConnectionRefused
    {
        eprintln!("peers: cannot send {} bytes: {error}", datagram.len());
    }
}
