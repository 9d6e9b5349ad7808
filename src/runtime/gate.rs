//! The gate between a process that has a key and the network: it seals outgoing datagrams, and lets
//! in only those that are sealed, new, and from a session that has proven to be alive. `auth` has
//! the rules.
//!
//! Wraps the sender and the receiver, so that neither the role loop nor reception knows of it. A
//! datagram that nobody needs is dropped before its tag is computed; one without a good tag is
//! dropped before anything of it is kept. Each call takes a bounded number of datagrams, so a flood
//! cannot hold the caller.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::stats::Stats;
use crate::auth::door::{Door, Heard, talks};
use crate::auth::hello::Hello;
use crate::auth::seal::{Broken, Opened, SEAL_BYTES, Seal};
use crate::clock::{Clock, Pace};
use crate::net::datagrams::Datagrams;
use crate::net::{AddressedSender, DatagramReceiver, DatagramSender};
use crate::protocol::message::{Interest, Kind};
use crate::protocol::types::{NodeId, Role, Sender, Time, To};
use crate::wire::{Codec, Envelope, Refusal};

/// How many datagrams are turned away in one call, at most.
const TURNED_AWAY_MAX: u32 = 64;
/// How long to wait before retrying a hello that the rate limit held back.
const QUIET: Duration = Duration::from_millis(1);
/// The longest hello: one that every network carries.
const HELLO_BYTES_MAX: usize = 1200;

/// Seals every datagram that is sent.
pub struct SealingSender<N> {
    network: N,
    seal: Arc<Seal>,
    /// The sealed copies, reused. Their copying is a hundredth of the tags' cost.
    buffer: Mutex<Sealed>,
}

/// Datagrams with their seals, and room for one of them.
#[derive(Debug, Default)]
struct Sealed {
    all: Vec<u8>,
    one: Vec<u8>,
}

impl<N: DatagramSender> SealingSender<N> {
    /// Sends through `network` with the seal of this process.
    pub fn new(network: N, seal: Arc<Seal>) -> Self {
        SealingSender { network, seal, buffer: Mutex::default() }
    }

    /// Seals each of `datagrams` for `to`, and gives them all to `send`.
    fn sealed<T>(
        &self,
        to: impl Into<To> + Copy,
        datagrams: Datagrams<'_>,
        send: impl FnOnce(Datagrams<'_>) -> T,
    ) -> T {
        let Sealed { all, one } = &mut *self.buffer.lock();
        all.clear();
        for datagram in datagrams.iter() {
            one.clear();
            one.extend_from_slice(datagram);
            self.seal.seal(to, one);
            all.extend_from_slice(one);
        }
        // Every seal is as long as any other.
        send(Datagrams::new(all, datagrams.each() + SEAL_BYTES))
    }
}

impl<N: DatagramSender> DatagramSender for SealingSender<N> {
    fn send(&self, role: Role, datagrams: Datagrams<'_>) -> io::Result<()> {
        self.sealed(role, datagrams, |sealed| self.network.send(role, sealed))
    }
}

impl<N: AddressedSender> AddressedSender for SealingSender<N> {
    fn send_at(
        &self,
        node: NodeId,
        address: SocketAddr,
        datagrams: Datagrams<'_>,
    ) -> io::Result<()> {
        self.sealed(node, datagrams, |sealed| self.network.send_at(node, address, sealed))
    }
}

/// Everything around a gate.
pub struct GateParts {
    /// Reads headers, and knows who this process is.
    pub codec: Arc<Codec>,
    /// This process.
    pub me: Sender,
    /// Its seal.
    pub seal: Arc<Seal>,
    /// The longest datagram without its seal.
    pub datagram_bytes: usize,
    /// [`Interest::bits`] of the role.
    pub interest: Arc<AtomicU32>,
    /// Counts.
    pub stats: Arc<Stats>,
    /// The time.
    pub clock: Clock,
}

/// What the gates of a process share (there is one for each socket): a peer introduced at one of
/// them is known at all, and no datagram is accepted at two of them.
pub struct Keeper {
    around: GateParts,
    watch: Mutex<Watch>,
}

/// A keeper's knowledge of its peers.
struct Watch {
    speaker: Box<dyn DatagramSender>,
    door: Door,
    has_announced: bool,
    /// No hello leaves before then.
    quiet_until: Time,
    /// The hello being built, reused.
    hello: Vec<u8>,
    paces: BTreeMap<Refusal, Pace>,
}

/// Receives what may come in at one socket.
pub struct Gate<R> {
    network: R,
    /// Messages to these arrive here.
    addressees: Vec<To>,
    keeper: Arc<Keeper>,
}

/// The verdict on a datagram.
enum Triage {
    /// It comes in without its seal, which leaves this many bytes of it.
    Message(usize),
    /// It was for the gate itself.
    Hello,
    Own,
    Uninteresting,
    Refused(Refusal),
}

impl Keeper {
    /// The keeper of a process that knows no peer yet. It asks, and answers questions, by
    /// `speaker`, which seals.
    pub fn new(around: GateParts, speaker: Box<dyn DatagramSender>) -> Arc<Self> {
        let watch = Watch {
            speaker,
            door: Door::new(around.me.node, around.seal.session()),
            has_announced: false,
            quiet_until: Time::ZERO,
            hello: Vec::new(),
            paces: BTreeMap::new(),
        };
        Arc::new(Keeper { around, watch: Mutex::new(watch) })
    }

    /// Judges a datagram to one of `addressees`, the cheap checks first. Nothing is kept before the
    /// tag was verified.
    fn judge(&self, addressees: &[To], datagram: &[u8]) -> Triage {
        let GateParts { codec, me, seal, interest, clock, .. } = &self.around;
        let envelope = match codec.envelope(datagram) {
            Ok(envelope) => envelope,
            Err(reason) => return Triage::Refused(reason),
        };
        let (from, kind) = match envelope {
            Envelope::Message(header) => (header.sender, Some(header.kind)),
            Envelope::Hello(sender) | Envelope::Knock(sender) => (sender, None),
        };
        let is_hello = matches!(envelope, Envelope::Hello(_));
        if codec.is_own(from) {
            return Triage::Own;
        }
        let interest = Interest::from_bits(interest.load(Ordering::Relaxed));
        let is_taken = |kind: Kind| kind.is_taken(me.node.role, addressees[0].group());
        if kind.is_some_and(|kind| !interest.includes(kind) || !is_taken(kind)) {
            return Triage::Uninteresting;
        }
        let opened = match open_for(seal, addressees, datagram) {
            Ok(opened) => opened,
            Err(Broken::TooShort) => return Triage::Refused(Refusal::TooShort),
            Err(Broken::OtherKey) => return Triage::Refused(Refusal::OtherKey),
            Err(Broken::Forged) => return Triage::Refused(Refusal::Forged),
        };
        let (now, content) = (clock.now(), &datagram[..opened.content_bytes]);
        let Watch { door, .. } = &mut *self.watch.lock();
        let heard = if !is_hello {
            door.on_message(now, from.node, opened)
        } else {
            let Some(hello) = Hello::decode(Codec::bare_body(content)) else {
                return Triage::Refused(Refusal::BadBody);
            };
            let knew = door.known();
            let heard = door.on_hello(now, from.node, opened, &hello, seal.last_sequence());
            if door.known() > knew {
                log::debug!("{} has proven to be alive to {}", from.node, me.node);
            }
            heard
        };
        match (is_hello, heard) {
            (_, Heard::Replayed) => Triage::Refused(Refusal::Replayed),
            (false, Heard::Unproven) => Triage::Refused(Refusal::Unproven),
            (false, Heard::Taken) => Triage::Message(content.len()),
            // A question or an answer needs no earlier proof: it is part of the handshake itself.
            (true, Heard::Taken | Heard::Unproven) => Triage::Hello,
        }
    }

    /// Announces this process to everybody that may talk to it, so that they ask it before it sends
    /// anything that matters. Once; if that is lost, they ask later.
    fn announce(&self) {
        let mut watch = self.watch.lock();
        if std::mem::replace(&mut watch.has_announced, true) {
            return;
        }
        for group in Role::ALL {
            if talks(self.around.me.node.role, group) {
                watch.say(&self.around, group, &Hello::default());
            }
        }
    }

    /// Sends questions and answers, if any are due.
    fn speak(&self) {
        let watch = &mut *self.watch.lock();
        if !watch.door.has_to_say() {
            return;
        }
        let now = self.around.clock.now();
        if now < watch.quiet_until {
            return;
        }
        let bytes = self.around.datagram_bytes.min(HELLO_BYTES_MAX);
        let bytes = bytes.saturating_sub(crate::wire::HEADER_BYTES);
        while let Some((group, hello)) = watch.door.next_hello(now, bytes) {
            watch.say(&self.around, group, &hello);
        }
        if watch.door.has_to_say() {
            watch.quiet_until = now + QUIET;
        }
    }

    /// Counts a refused datagram, and logs it at a bounded rate.
    fn refuse(&self, addressees: &[To], reason: Refusal) {
        let GateParts { stats, clock, .. } = &self.around;
        stats.refused.increment(reason);
        let level = match reason {
            Refusal::OtherKey
            | Refusal::Forged
            | Refusal::Replayed
            | Refusal::Unsealed
            | Refusal::Sealed
            | Refusal::OtherVersion
            | Refusal::OtherAcceptorCount { .. } => log::Level::Warn,
            // A process that has just started, or a recording of one that is gone.
            Refusal::Unproven => log::Level::Info,
            _ => log::Level::Debug,
        };
        let mut watch = self.watch.lock();
        if let Some(more) = watch.paces.entry(reason).or_default().allows(clock.now()) {
            let to = addressees.first().map(To::to_string).unwrap_or_default();
            log::log!(level, "{to}: refused a datagram, {reason}; {more} more before");
        }
    }
}

/// Verifies the tag, which covers the addressee of the datagram.
fn open_for(seal: &Seal, addressees: &[To], datagram: &[u8]) -> Result<Opened, Broken> {
    let mut outcome = Err(Broken::Forged);
    for to in addressees {
        outcome = seal.open(*to, datagram);
        if !matches!(outcome, Err(Broken::Forged)) {
            break;
        }
    }
    outcome
}

impl Watch {
    fn say(&mut self, around: &GateParts, group: Role, hello: &Hello) {
        around.codec.begin_hello(&mut self.hello);
        hello.encode(&mut self.hello);
        match self.speaker.send(group, (&self.hello).into()) {
            Ok(()) => around.stats.sent.increment(),
            // As good as lost.
            Err(_) => around.stats.send_errors.increment(),
        }
    }
}

impl<R: DatagramReceiver> Gate<R> {
    /// A gate in front of `network`, where messages to these addressees arrive.
    pub fn new(network: R, addressees: Vec<To>, keeper: Arc<Keeper>) -> Self {
        Gate { network, addressees, keeper }
    }

    /// Takes datagrams from the network by `receive` until one may come in.
    fn next(
        &mut self,
        buffer: &mut [u8],
        receive: impl Fn(&mut R, &mut [u8]) -> io::Result<Option<usize>>,
    ) -> io::Result<Option<usize>> {
        let Gate { network, addressees, keeper } = self;
        keeper.announce();
        for _ in 0..TURNED_AWAY_MAX {
            let Some(length) = receive(network, buffer)? else { break };
            let verdict = keeper.judge(addressees, &buffer[..length]);
            keeper.speak();
            let stats = &keeper.around.stats;
            match verdict {
                // The recipient counts it.
                Triage::Message(bytes) => return Ok(Some(bytes)),
                Triage::Hello => stats.hellos.increment(),
                Triage::Own => stats.own.increment(),
                Triage::Uninteresting => stats.uninteresting.increment(),
                Triage::Refused(reason) => keeper.refuse(addressees, reason),
            }
            keeper.around.stats.received.increment();
        }
        keeper.speak();
        Ok(None)
    }
}

impl<R: DatagramReceiver> DatagramReceiver for Gate<R> {
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
mod tests;
