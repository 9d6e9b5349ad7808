//! Sends to groups and to single processes, and learns the addresses of these from what it
//! receives.
//!
//! `addresses` has the rules. Their cost is an occasional knock to the processes sent to, and a
//! look at the source of some datagrams.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use log::warn;
use parking_lot::Mutex;

use super::addresses::{Addresses, Belief, News};
use super::entropy;
use super::stats::Stats;
use crate::clock::{Clock, Pace};
use crate::net::datagrams::Datagrams;
use crate::net::{AddressedSender, DatagramReceiver, DatagramSender, Group, Groups};
use crate::protocol::types::{NodeId, Role, Sender};
use crate::wire::{Codec, Envelope};

/// The first byte of a knock: a question, or the answer to one.
const ASKS: u8 = 0;
const ANSWERS: u8 = 1;

/// How many datagrams of one process pass before its source is checked again.
const LOOK_EVERY: u32 = 64;

/// How many sources are remembered besides the shared table.
const SEEN: usize = 64;

/// How many knocks one look at a socket passes over, at most.
const KNOCKS_MAX: usize = 64;

/// Sends for one process, whose receivers report the sources they hear.
pub struct Post {
    network: Arc<dyn AddressedSender + Sync>,
    codec: Arc<Codec>,
    groups: Groups,
    addresses: Mutex<Addresses>,
    /// The knock being built, reused.
    knock: Mutex<Vec<u8>>,
    contest_pace: Mutex<Pace>,
    stats: Arc<Stats>,
    clock: Clock,
}

impl Post {
    /// Sends by `network`, which seals if there is a key; no address is known yet.
    pub fn new(
        network: Arc<dyn AddressedSender + Sync>,
        codec: Arc<Codec>,
        groups: Groups,
        belief: Belief,
        stats: Arc<Stats>,
        clock: Clock,
    ) -> Self {
        let (addresses, knock) = (Mutex::new(Addresses::new(belief)), Mutex::new(Vec::new()));
        let contest_pace = Mutex::default();
        Post { network, codec, groups, addresses, knock, contest_pace, stats, clock }
    }

    /// The address of `node`, if it is known. Knocks there if that is due.
    fn find(&self, node: NodeId) -> Option<SocketAddr> {
        if let Group::Unicast(_) = self.groups.of(node.role) {
            return self.groups.of(node.role).member(node.id);
        }
        // A number that nobody can guess; without one, no address is asked.
        let random = || entropy::random_u64().unwrap_or(0);
        let found = self.addresses.lock().whereabouts(self.clock.now(), node, random);
        if let Some((address, token)) = found.knock.filter(|(_, token)| *token != 0) {
            self.knock(node, address, ASKS, token);
        }
        found.address
    }

    fn knock(&self, node: NodeId, address: SocketAddr, what: u8, token: u64) {
        let mut knock = self.knock.lock();
        self.codec.begin_knock(&mut knock);
        knock.push(what);
        knock.extend_from_slice(&token.to_le_bytes());
        match self.network.send_at(node, address, (&*knock).into()) {
            Ok(()) => self.stats.sent.increment(),
            // As good as lost.
            Err(_) => self.stats.send_errors.increment(),
        }
    }

    /// A datagram of `from` came from `source`.
    fn heard(&self, from: Sender, source: SocketAddr) -> News {
        let now = self.clock.now();
        let news = self.addresses.lock().heard(now, from, source);
        if news == News::Contested && self.contest_pace.lock().allows(now).is_some() {
            warn!(
                "{} is heard from two addresses in turns: give each process its own id; until \
                 then it is sent to by its group",
                from.node
            );
        }
        news
    }

    /// A knock of `from` came from `source`.
    fn on_knock(&self, from: Sender, source: SocketAddr, body: &[u8]) {
        let Some((&[what], token)) = body.split_first_chunk::<1>() else { return };
        let Ok(token) = token.try_into().map(u64::from_le_bytes) else { return };
        match what {
            ASKS => self.knock(from.node, source, ANSWERS, token),
            ANSWERS => self.addresses.lock().answered(self.clock.now(), from, token),
            _ => {}
        }
    }
}

impl DatagramSender for Post {
    fn send(&self, role: Role, datagrams: Datagrams<'_>) -> io::Result<()> {
        self.network.send(role, datagrams)
    }

    fn send_to(&self, node: NodeId, datagrams: Datagrams<'_>) -> io::Result<()> {
        let sent = self.find(node).map(|address| self.network.send_at(node, address, datagrams));
        match sent {
            Some(Ok(())) => Ok(()),
            // A process without an address is reached through its group.
            Some(Err(_)) | None => self.network.send(node.role, datagrams),
        }
    }

    fn knows(&self, node: NodeId) -> bool {
        self.find(node).is_some()
    }
}

/// A receiver that reports sources to the post, and keeps knocks to itself.
pub struct Attentive<R> {
    network: R,
    post: Arc<Post>,
    /// Datagrams to a list of members leave by a socket at which nobody listens.
    is_listed: bool,
    /// The sources checked recently, by process, and how many datagrams came since.
    seen: Vec<Option<(Sender, SocketAddr, u32)>>,
}

impl<R: DatagramReceiver> Attentive<R> {
    /// Listens to what `network` receives, which is opened if it was sealed. If `is_listed`, at an
    /// address of a list of members, sources say nothing about their owners' addresses.
    pub fn new(network: R, post: Arc<Post>, is_listed: bool) -> Self {
        Attentive { network, post, is_listed, seen: vec![None; SEEN] }
    }

    /// The next datagram that is no knock. Bounded work.
    fn next(
        &mut self,
        buffer: &mut [u8],
        receive: impl Fn(&mut R, &mut [u8]) -> io::Result<Option<usize>>,
    ) -> io::Result<Option<usize>> {
        for _ in 0..KNOCKS_MAX {
            let Some(length) = receive(&mut self.network, buffer)? else { break };
            let source = self.network.source();
            match (self.post.codec.envelope(&buffer[..length]), source) {
                (Ok(Envelope::Knock(from)), Some(source)) => {
                    if !self.post.codec.is_own(from) {
                        let body = Codec::bare_body(&buffer[..length]);
                        self.post.on_knock(from, source, body);
                    }
                    self.post.stats.received.increment();
                    self.post.stats.knocks.increment();
                }
                (Ok(Envelope::Message(header)), Some(source)) => {
                    self.note(header.sender, source);
                    return Ok(Some(length));
                }
                (Ok(Envelope::Hello(_)) | Err(_), _) | (_, None) => return Ok(Some(length)),
            }
        }
        Ok(None)
    }

    /// Reports to the post, unless it did so a moment ago.
    fn note(&mut self, from: Sender, source: SocketAddr) {
        if self.is_listed || self.post.codec.is_own(from) {
            return;
        }
        let place = (from.node.id as usize * Role::ALL.len() + from.node.role as usize) % SEEN;
        if let Some((same, known, since)) = &mut self.seen[place]
            && (*same, *known) == (from, source)
            && *since < LOOK_EVERY
        {
            *since += 1;
            return;
        }
        let news = self.post.heard(from, source);
        self.seen[place] = (news != News::TooEarly).then_some((from, source, 0));
    }
}

impl<R: DatagramReceiver> DatagramReceiver for Attentive<R> {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.next(buffer, R::receive)
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.next(buffer, R::try_receive)
    }

    fn source(&self) -> Option<SocketAddr> {
        self.network.source()
    }

    fn dropped(&self) -> u64 {
        self.network.dropped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::{Message, Nack};
    use crate::protocol::types::Ballot;

    /// Records what is sent to single processes.
    #[derive(Default)]
    struct Sent(Mutex<Vec<SocketAddr>>);

    impl DatagramSender for Sent {
        fn send(&self, _role: Role, _datagrams: Datagrams<'_>) -> io::Result<()> {
            Ok(())
        }
    }

    impl AddressedSender for Sent {
        fn send_at(&self, _: NodeId, address: SocketAddr, _: Datagrams<'_>) -> io::Result<()> {
            self.0.lock().push(address);
            Ok(())
        }
    }

    /// Gives one datagram, from one source, for ever.
    struct From(Vec<u8>, SocketAddr);

    impl DatagramReceiver for From {
        fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
            buffer[..self.0.len()].copy_from_slice(&self.0);
            Ok(Some(self.0.len()))
        }

        fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
            self.receive(buffer)
        }

        fn source(&self) -> Option<SocketAddr> {
            Some(self.1)
        }

        fn dropped(&self) -> u64 {
            0
        }
    }

    #[test]
    fn where_a_sender_is_is_not_learned_at_the_address_of_a_list() {
        let sender = |role, id| Sender { node: NodeId::new(role, id), boot: id.into() };
        let group = Group::Multicast(SocketAddr::from(([239, 0, 0, 1], 5000)));
        let source = SocketAddr::from(([10, 0, 0, 9], 4711));
        let knocked = |is_listed: bool| {
            let network = Arc::new(Sent::default());
            let (me, peer) = (sender(Role::Proposer, 1), sender(Role::Acceptor, 2));
            let codec = |of| Codec::new("test", 3, of, 1400);
            let groups = Groups {
                clients: group.clone(),
                proposers: group.clone(),
                acceptors: group.clone(),
                learners: group.clone(),
            };
            let post = Arc::new(Post::new(
                Arc::clone(&network) as Arc<dyn AddressedSender + Sync>,
                Arc::new(codec(me)),
                groups,
                Belief::Any,
                Arc::default(),
                Clock::start(),
            ));
            let mut datagram = Vec::new();
            let nack = Nack { rejected: Ballot::ZERO, promised: Ballot::ZERO };
            codec(peer).encode(&Message::Nack(nack), &mut datagram).unwrap();
            let heard = From(datagram, source);
            let mut attentive = Attentive::new(heard, Arc::clone(&post), is_listed);
            assert!(attentive.receive(&mut [0; 1400]).unwrap().is_some());
            post.send_to(peer.node, b"answer".into()).unwrap();
            network.0.lock().clone()
        };
        assert_eq!(knocked(false), [source]);
        assert_eq!(knocked(true), []);
    }
}
