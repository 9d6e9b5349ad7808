//! The gate between a process that has a key and the network: seals what goes out, and lets in
//! only what is sealed, new, and from a session that has proven to be alive. `auth` has the rules.
//!
//! Wraps the sender and the receiver, so that neither the role loop nor reception knows of it.
//! What nobody needs is dropped before its tag is computed; what has no good tag is dropped before
//! anything of it is kept. No look at the network takes more than a bounded number of datagrams,
//! so a flood cannot hold the caller.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::stats::Stats;
use crate::auth::door::{Door, Heard, talks};
use crate::auth::hello::Hello;
use crate::auth::seal::{Broken, SEAL_BYTES, Seal};
use crate::clock::{Clock, Pace};
use crate::net::{DatagramReceiver, DatagramSender};
use crate::protocol::message::Interest;
use crate::protocol::types::{Role, Sender, Time};
use crate::wire::{Codec, Envelope, Refusal};

/// How many datagrams are turned away in one look, at most.
const TURNED_AWAY_MAX: u32 = 64;
/// Before it is tried again to say what too much was said for.
const QUIET: Duration = Duration::from_millis(1);
/// The longest hello: one that every network carries.
const HELLO_BYTES_MAX: usize = 1200;

/// Seals whatever is sent.
pub struct SealingSender<N> {
    network: N,
    seal: Arc<Seal>,
    /// The sealed copy, reused. Its copying is a hundredth of the tag's cost.
    buffer: Mutex<Vec<u8>>,
}

impl<N: DatagramSender> SealingSender<N> {
    /// Sends through `network` with the seal of this process.
    pub fn new(network: N, seal: Arc<Seal>) -> Self {
        SealingSender { network, seal, buffer: Mutex::new(Vec::new()) }
    }
}

impl<N: DatagramSender> DatagramSender for SealingSender<N> {
    fn send(&self, role: Role, datagram: &[u8]) -> io::Result<()> {
        let mut buffer = self.buffer.lock();
        buffer.clear();
        buffer.reserve(datagram.len() + SEAL_BYTES);
        buffer.extend_from_slice(datagram);
        self.seal.seal(role, &mut buffer);
        self.network.send(role, &buffer)
    }
}

/// What a gate works with.
pub struct Surroundings {
    /// Reads headers, and knows who this process is.
    pub codec: Arc<Codec>,
    /// This process.
    pub me: Sender,
    /// Its seal.
    pub seal: Arc<Seal>,
    /// Where to ask, and to answer who asks; it seals.
    pub speaker: Box<dyn DatagramSender>,
    /// The longest datagram without its seal.
    pub datagram_bytes: usize,
    /// [`Interest::bits`] of the role.
    pub interest: Arc<AtomicU32>,
    /// Counts.
    pub stats: Arc<Stats>,
    /// The time.
    pub clock: Clock,
}

/// Receives what may come in.
pub struct Gate<R> {
    network: R,
    around: Surroundings,
    door: Door,
    has_announced: bool,
    /// Enough was said until then.
    quiet_until: Time,
    /// The hello being built, reused.
    hello: Vec<u8>,
    paces: BTreeMap<Refusal, Pace>,
}

/// What is to become of a datagram.
enum Verdict {
    /// It comes in without its seal, which leaves so many bytes.
    Message(usize),
    /// It was for the gate itself.
    Hello,
    Own,
    Uninteresting,
    Refused(Refusal),
}

impl<R: DatagramReceiver> Gate<R> {
    /// A gate before `network`, which hears the group of this process's role.
    pub fn new(network: R, around: Surroundings) -> Self {
        let door = Door::new(around.me.node, around.seal.session());
        let (hello, paces) = (Vec::new(), BTreeMap::new());
        Gate { network, around, door, has_announced: false, quiet_until: Time::ZERO, hello, paces }
    }

    /// Takes from the network by `receive` until something may come in.
    fn next(
        &mut self,
        buffer: &mut [u8],
        receive: impl Fn(&mut R, &mut [u8]) -> io::Result<Option<usize>>,
    ) -> io::Result<Option<usize>> {
        if !self.has_announced {
            self.has_announced = true;
            self.announce();
        }
        for _ in 0..TURNED_AWAY_MAX {
            let Some(length) = receive(&mut self.network, buffer)? else { break };
            let verdict = self.judge(&buffer[..length]);
            self.speak();
            let stats = &self.around.stats;
            match verdict {
                // It is counted by who gets it.
                Verdict::Message(bytes) => return Ok(Some(bytes)),
                Verdict::Hello => stats.hellos.increment(),
                Verdict::Own => stats.own.increment(),
                Verdict::Uninteresting => stats.uninteresting.increment(),
                Verdict::Refused(reason) => self.refuse(reason),
            }
            self.around.stats.received.increment();
        }
        self.speak();
        Ok(None)
    }

    /// Judges a datagram, the cheap checks first. Nothing is kept before the tag was found good.
    fn judge(&mut self, datagram: &[u8]) -> Verdict {
        let Surroundings { codec, me, seal, interest, clock, .. } = &self.around;
        let envelope = match codec.envelope(datagram) {
            Ok(envelope) => envelope,
            Err(reason) => return Verdict::Refused(reason),
        };
        let (from, kind) = match envelope {
            Envelope::Message(header) => (header.sender, Some(header.kind)),
            Envelope::Hello(sender) => (sender, None),
        };
        if codec.is_own(from) {
            return Verdict::Own;
        }
        let interest = Interest::from_bits(interest.load(Ordering::Relaxed));
        if kind.is_some_and(|kind| !interest.includes(kind)) {
            return Verdict::Uninteresting;
        }
        let opened = match seal.open(me.node.role, datagram) {
            Ok(opened) => opened,
            Err(Broken::TooShort) => return Verdict::Refused(Refusal::TooShort),
            Err(Broken::OtherKey) => return Verdict::Refused(Refusal::OtherKey),
            Err(Broken::Forged) => return Verdict::Refused(Refusal::Forged),
        };
        let (now, content) = (clock.now(), &datagram[..opened.content_bytes]);
        let heard = if kind.is_some() {
            self.door.on_message(now, from.node, opened)
        } else {
            let Some(hello) = Hello::decode(Codec::hello_body(content)) else {
                return Verdict::Refused(Refusal::BadBody);
            };
            let knew = self.door.known();
            let heard = self.door.on_hello(now, from.node, opened, &hello, seal.last_sequence());
            if self.door.known() > knew {
                log::debug!("{} has proven to be alive", from.node);
            }
            heard
        };
        match (kind, heard) {
            (_, Heard::Replayed) => Verdict::Refused(Refusal::Replayed),
            (Some(_), Heard::Unproven) => Verdict::Refused(Refusal::Unproven),
            (Some(_), Heard::Taken) => Verdict::Message(content.len()),
            // Who asks or answers needs no proof: the answer is all there is to it.
            (None, Heard::Taken | Heard::Unproven) => Verdict::Hello,
        }
    }

    /// Tells everybody who may talk to this process that it is there, so that they ask it before
    /// it says anything that matters. If this is lost, they ask later.
    fn announce(&mut self) {
        for group in Role::ALL {
            if talks(self.around.me.node.role, group) {
                self.say(group, &Hello::default());
            }
        }
    }

    /// Asks and answers, as far as there is something to say.
    fn speak(&mut self) {
        if !self.door.has_to_say() {
            return;
        }
        let now = self.around.clock.now();
        if now < self.quiet_until {
            return;
        }
        let bytes = self.around.datagram_bytes.min(HELLO_BYTES_MAX);
        let bytes = bytes.saturating_sub(crate::wire::HEADER_BYTES);
        while let Some((group, hello)) = self.door.next_hello(now, bytes) {
            self.say(group, &hello);
        }
        if self.door.has_to_say() {
            self.quiet_until = now + QUIET;
        }
    }

    fn say(&mut self, group: Role, hello: &Hello) {
        let Surroundings { codec, speaker, stats, .. } = &self.around;
        codec.begin_hello(&mut self.hello);
        hello.encode(&mut self.hello);
        match speaker.send(group, &self.hello) {
            Ok(()) => stats.sent.increment(),
            // As good as lost.
            Err(_) => stats.send_errors.increment(),
        }
    }

    /// Counts what was refused, and says so at a bounded rate.
    fn refuse(&mut self, reason: Refusal) {
        let Surroundings { stats, clock, me, .. } = &self.around;
        stats.refused.increment(reason);
        let level = match reason {
            Refusal::OtherKey
            | Refusal::Forged
            | Refusal::Replayed
            | Refusal::Unsealed
            | Refusal::Sealed
            | Refusal::OtherAcceptorCount { .. } => log::Level::Warn,
            // A process that has just started, or the recording of one that is gone.
            Refusal::Unproven => log::Level::Info,
            _ => log::Level::Debug,
        };
        if let Some(more) = self.paces.entry(reason).or_default().allows(clock.now()) {
            let group = me.node.role;
            log::log!(level, "{group}s: refused a datagram, {reason}; {more} more before");
        }
    }
}

impl<R: DatagramReceiver> DatagramReceiver for Gate<R> {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.next(buffer, R::receive)
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.next(buffer, R::try_receive)
    }

    fn dropped(&self) -> u64 {
        self.network.dropped()
    }
}

#[cfg(test)]
mod tests;
