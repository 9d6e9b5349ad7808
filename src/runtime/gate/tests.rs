//! Processes behind gates on a network in memory, and a stranger on the same network.

use super::*;
use crate::auth::key::KeyRing;
use crate::net::memory::{MemoryNetwork, MemoryReceiver};
use crate::protocol::message::{Message, Nack};
use crate::protocol::types::{Ballot, NodeId};

const KEY: &str = "paxos-key-1 1111111111111111111111111111111111111111111111111111111111111111";
const OTHER: &str = "paxos-key-1 2222222222222222222222222222222222222222222222222222222222222222";
const DATAGRAM_BYTES: usize = 1472;

/// A process behind a gate.
struct Process {
    gate: Gate<MemoryReceiver>,
    sender: SealingSender<MemoryNetwork>,
    codec: Arc<Codec>,
    stats: Arc<Stats>,
}

fn seal(key: &str, session: u64) -> Arc<Seal> {
    Arc::new(Seal::new(&KeyRing::parse("key", key).unwrap(), "test", session))
}

impl Process {
    fn start(network: &MemoryNetwork, role: Role, session: u64) -> Self {
        // An acceptor keeps its number across restarts, so it is not the session.
        let me = Sender { node: NodeId::new(role, 1), boot: 5 };
        let codec = Arc::new(Codec::new("test", 3, me, DATAGRAM_BYTES).sealed());
        let (seal, stats) = (seal(KEY, session), Arc::new(Stats::default()));
        let sender = || SealingSender::new(network.clone(), Arc::clone(&seal));
        let around = GateParts {
            codec: Arc::clone(&codec),
            me,
            seal: Arc::clone(&seal),
            datagram_bytes: DATAGRAM_BYTES,
            interest: Arc::new(AtomicU32::new(u32::MAX)),
            stats: Arc::clone(&stats),
            clock: Clock::start(),
        };
        let gate = Gate::new(
            network.join(role, 1000),
            vec![To::Group(role)],
            Keeper::new(around, Box::new(sender())),
        );
        Process { gate, sender: sender(), codec, stats }
    }

    fn datagram(&self) -> Vec<u8> {
        let mut datagram = Vec::new();
        self.codec.encode(&nack(), &mut datagram).unwrap();
        datagram
    }

    /// Everything that comes in, until nothing is left.
    fn received(&mut self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 1 << 16];
        std::iter::from_fn(|| {
            let length = self.gate.try_receive(&mut buffer).unwrap()?;
            Some(buffer[..length].to_vec())
        })
        .collect()
    }

    fn refused(&self, reason: Refusal) -> u64 {
        self.stats.refused.count(reason)
    }
}

fn nack() -> Message {
    Message::Nack(Nack { rejected: Ballot::ZERO, promised: Ballot::ZERO })
}

/// An acceptor and a proposer that have been introduced.
fn introduced(network: &MemoryNetwork) -> (Process, Process) {
    let mut pair =
        (Process::start(network, Role::Acceptor, 1), Process::start(network, Role::Proposer, 2));
    introduce(&mut pair.0, &mut pair.1);
    pair
}

fn introduce(one: &mut Process, other: &mut Process) {
    for _ in 0..4 {
        assert!(one.received().is_empty() && other.received().is_empty());
    }
}

#[test]
fn members_hear_each_other_once_they_were_introduced() {
    let network = MemoryNetwork::new();
    let (acceptor, mut proposer) = introduced(&network);
    let datagram = acceptor.datagram();
    acceptor.sender.send(Role::Proposer, (&datagram).into()).unwrap();
    let received = proposer.received();
    assert_eq!(received, [datagram], "the seal is gone");
    let sender = Sender { node: NodeId::new(Role::Acceptor, 1), boot: 5 };
    assert_eq!(proposer.codec.decode(&received[0]), Ok((sender, nack())));
    assert!(proposer.stats.hellos.count() > 0);
    assert_eq!(proposer.stats.refused.counts(), []);
}

/// The stranger can listen and send on the network.
#[test]
fn a_stranger_gets_nothing_in() {
    let network = MemoryNetwork::new();
    let (acceptor, mut proposer) = introduced(&network);
    let mut ear = network.join(Role::Proposer, 10);
    let datagram = acceptor.datagram();
    acceptor.sender.send(Role::Proposer, (&datagram).into()).unwrap();
    let mut buffer = vec![0; 1 << 16];
    let length = ear.try_receive(&mut buffer).unwrap().unwrap();
    let recorded = buffer[..length].to_vec();
    assert_eq!(proposer.received().len(), 1);

    let play = |bytes: &[u8]| network.send(Role::Proposer, bytes.into()).unwrap();
    play(&recorded);
    let mut flipped = recorded.clone();
    flipped[30] ^= 1;
    play(&flipped);
    play(&recorded[..length - 1]);
    play(&recorded[..10]);
    play(&[&recorded[..], &[0; 1000]].concat());
    // Without a key, with another key, and to a group it was not meant for.
    let mut open = Vec::new();
    Codec::new("test", 3, Sender { node: NodeId::new(Role::Acceptor, 1), boot: 5 }, 1472)
        .encode(&nack(), &mut open)
        .unwrap();
    play(&open);
    let mut with_other_key = datagram.clone();
    seal(OTHER, 1).seal(Role::Proposer, &mut with_other_key);
    play(&with_other_key);
    acceptor.sender.send(Role::Learner, (&datagram).into()).unwrap();
    let mut to_learners = datagram;
    seal(KEY, 1).seal(Role::Learner, &mut to_learners);
    play(&to_learners);

    assert_eq!(proposer.received(), Vec::<Vec<u8>>::new());
    let counts = [
        (Refusal::TooShort, 1),
        (Refusal::Unsealed, 1),
        // Cut and lengthened ones end in bytes that are no key's id.
        (Refusal::OtherKey, 3),
        (Refusal::Forged, 2),
        (Refusal::Replayed, 1),
    ];
    assert_eq!(proposer.stats.refused.counts(), counts);
}

#[test]
fn a_recording_is_refused_when_everything_was_restarted() {
    let network = MemoryNetwork::new();
    let mut ear = network.join(Role::Proposer, 100);
    let (acceptor, mut proposer) = introduced(&network);
    acceptor.sender.send(Role::Proposer, (&acceptor.datagram()).into()).unwrap();
    assert_eq!(proposer.received().len(), 1);
    drop((acceptor, proposer));
    let mut acceptor = Process::start(&network, Role::Acceptor, 3);
    let mut proposer = Process::start(&network, Role::Proposer, 4);
    let mut buffer = vec![0; 1 << 16];
    while let Some(length) = ear.try_receive(&mut buffer).unwrap() {
        network.send(Role::Proposer, (&buffer[..length]).into()).unwrap();
        introduce(&mut acceptor, &mut proposer);
        if proposer.refused(Refusal::Unproven) + proposer.refused(Refusal::Replayed) > 0 {
            break;
        }
    }
    assert!(proposer.refused(Refusal::Unproven) > 0, "{}", proposer.stats);
    acceptor.sender.send(Role::Proposer, (&acceptor.datagram()).into()).unwrap();
    assert_eq!(proposer.received().len(), 1);
}

/// The caller has other things to do than to look at a flood.
#[test]
fn a_look_is_bounded_and_what_lies_behind_a_flood_is_found() {
    let network = MemoryNetwork::new();
    let (acceptor, mut proposer) = introduced(&network);
    for _ in 0..2 * TURNED_AWAY_MAX {
        network.send(Role::Proposer, (&proposer.datagram()[..20]).into()).unwrap();
    }
    acceptor.sender.send(Role::Proposer, (&acceptor.datagram()).into()).unwrap();
    let before = proposer.stats.received.count();
    let mut buffer = vec![0; 1 << 16];
    for look in 1..=2 {
        assert_eq!(proposer.gate.try_receive(&mut buffer).unwrap(), None);
        let looked_at = proposer.stats.received.count() - before;
        assert_eq!(looked_at, u64::from(look * TURNED_AWAY_MAX));
    }
    assert!(proposer.gate.try_receive(&mut buffer).unwrap().is_some());
}
