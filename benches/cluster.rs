//! A whole cluster in one process: real role loops and receive threads, over the in-memory network
//! and over multicast sockets on loopback.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multi_paxos::clock::Clock;
use multi_paxos::net::interface::Interface;
use multi_paxos::net::memory::MemoryNetwork;
use multi_paxos::net::multicast::{MulticastReceiver, MulticastSender, Options};
use multi_paxos::net::{DatagramReceiver, DatagramSender, Group, Groups};
use multi_paxos::protocol::acceptor::Acceptor;
use multi_paxos::protocol::actor::Actor;
use multi_paxos::protocol::client::Client;
use multi_paxos::protocol::learner::Learner;
use multi_paxos::protocol::message::Assignment;
use multi_paxos::protocol::proposer::{Proposer, ProposerOptions};
use multi_paxos::protocol::settings::Settings;
use multi_paxos::protocol::types::{NodeId, Role, Sender, Session};
use multi_paxos::results::output::NoOutput;
use multi_paxos::runtime::entropy;
use multi_paxos::runtime::inbox::{InboxSender, inbox};
use multi_paxos::runtime::neighbours::Neighbours;
use multi_paxos::runtime::receiver::{Receiver, Reception};
use multi_paxos::runtime::role_loop::{RoleLoop, Surroundings};
use multi_paxos::runtime::stats::Stats;
use multi_paxos::runtime::stdin::Stdin;
use multi_paxos::storage::memory::MemoryStore;
use multi_paxos::wire::Codec;

const POLL: Duration = Duration::from_micros(50);

/// What carries datagrams.
#[derive(Clone)]
enum Net {
    Memory(MemoryNetwork),
    Multicast(Box<Groups>),
}

impl Net {
    fn multicast() -> Self {
        let sockets = [0; 4].map(|_| UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        let [clients, proposers, acceptors, learners] = sockets.map(|socket| {
            let port = socket.local_addr().expect("a bound socket").port();
            Group::Multicast(SocketAddr::new([239, 0, 0, 1].into(), port))
        });
        Net::Multicast(Box::new(Groups { clients, proposers, acceptors, learners }))
    }

    fn options() -> Options {
        Options { interface: Interface::LOOPBACK, ttl: 0, buffer_bytes: 4 << 20 }
    }

    fn sender(&self) -> Box<dyn DatagramSender> {
        match self {
            Net::Memory(network) => Box::new(network.clone()),
            Net::Multicast(groups) => {
                Box::new(MulticastSender::open(groups, Self::options()).expect("a socket"))
            }
        }
    }

    fn receiver(&self, role: Role) -> Box<dyn DatagramReceiver> {
        match self {
            Net::Memory(network) => Box::new(network.join(role, 4096)),
            Net::Multicast(groups) => {
                let group = groups.of(role).member(1).expect("a group");
                let socket = MulticastReceiver::join(group, Self::options());
                Box::new(socket.expect("a socket"))
            }
        }
    }
}

/// A node whose loop is about to run.
struct Node {
    sender: Sender,
    around: Surroundings,
    inbox: InboxSender,
    receiver: Receiver,
}

impl Node {
    fn new(net: &Net, role: Role, id: u32) -> Self {
        let boot = entropy::random_u64().expect("random numbers");
        let sender = Sender { node: NodeId::new(role, id), boot };
        let codec = Arc::new(Codec::new("bench", 3, sender, 65507));
        let (sending, mut receiving) = inbox(4096);
        let (interest, stats) = (Arc::new(AtomicU32::new(0)), Arc::new(Stats::default()));
        let reception = Reception {
            codec: Arc::clone(&codec),
            interest: Arc::clone(&interest),
            inbox: sending.clone(),
            stats: Arc::clone(&stats),
            clock: Clock::start(),
        };
        let spawned = Receiver::spawn_resting(role, net.receiver(role), reception);
        let (receiver, direct) = spawned.expect("a thread");
        receiving.look_at(direct);
        let around = Surroundings {
            neighbours: Neighbours::default(),
            inbox: receiving,
            codec,
            network: net.sender(),
            store: Box::new(MemoryStore),
            output: Box::new(NoOutput),
            credits: None,
            interest,
            stats,
            clock: Clock::start(),
            busy_poll: POLL,
        };
        Node { sender, around, inbox: sending, receiver }
    }

    fn spawn(self, actor: impl Actor + Send + 'static) -> (InboxSender, Receiver) {
        let role_loop = RoleLoop::new(actor, self.around);
        thread::spawn(move || role_loop.run().1.expect("the loop goes on"));
        (self.inbox, self.receiver)
    }
}

fn settings() -> Settings {
    Settings { datagram_bytes: 65507, ..Settings::default() }
}

/// Three acceptors, a learner and a proposer.
fn start_cluster(net: &Net) -> Vec<(InboxSender, Receiver)> {
    let mut running = Vec::new();
    for id in 1..=3 {
        let node = Node::new(net, Role::Acceptor, id);
        let boot = node.sender.boot;
        running.push(node.spawn(Acceptor::new(id, boot, settings())));
    }
    let node = Node::new(net, Role::Learner, 1);
    let (boot, now) = (node.sender.boot, node.around.clock.now());
    running.push(node.spawn(Learner::new(1, boot, settings(), now)));
    let node = Node::new(net, Role::Proposer, 1);
    let boot = node.sender.boot;
    let (no_timeouts, no_preexecution) = (false, false);
    let options = ProposerOptions { id: 1, boot, no_timeouts, no_preexecution };
    running.push(node.spawn(Proposer::new(options, settings())));
    running
}

/// A new client session decides `lines`, from its first request to its last acknowledgement.
fn decide(net: &Net, lines: &[u8]) {
    let mut node = Node::new(net, Role::Client, 1);
    let session = Session { client: 1, boot: node.sender.boot };
    let input = io::Cursor::new(lines.to_vec());
    let (_stdin, credits) = Stdin::spawn(input, 1000, node.inbox.clone()).expect("a thread");
    node.around.credits = Some(credits);
    let client = Client::new(session, Assignment::Leader, settings());
    let (client, ended) = RoleLoop::new(client, node.around).run();
    ended.expect("the loop goes on");
    assert_eq!(client.tally().undecided(), 0);
    node.receiver.stop();
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cluster");
    group.sample_size(10);
    for (name, net) in
        [("memory", Net::Memory(MemoryNetwork::new())), ("multicast", Net::multicast())]
    {
        let running = start_cluster(&net);
        decide(&net, b"warm\n");
        for count in [1u64, 10_000] {
            let lines = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
                .repeat(count as usize);
            group.throughput(Throughput::Elements(count));
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| decide(&net, &lines));
            });
        }
        for (inbox, receiver) in running {
            inbox.stop();
            receiver.join();
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
