//! Datagrams that no process sends now: old ones, and garbage.

use std::rc::Rc;
use std::time::Duration;

use super::agenda::Event;
use super::cluster::{CLUSTER, Cluster};
use super::record::{Passage, Sent};
use crate::protocol::message::{Message, Prepare};
use crate::protocol::settings::Settings;
use crate::protocol::types::{Ballot, Instance, NodeId, Role, Sender};
use crate::wire::Codec;

impl Cluster {
    /// Lets old datagrams arrive once more, some time within the next second.
    pub(super) fn replay(&mut self, count: u32) {
        for _ in 0..count.min(self.past.len() as u32) {
            let place = self.rng.below(self.past.len() as u64) as usize;
            let (to, datagram) = self.past[place].clone();
            let time = self.now + self.rng.up_to(Duration::from_secs(1));
            self.trace.record(|record| record.sent(Sent::noise(time, datagram.len())));
            for to in self.nodes.keys().copied().filter(|node| to.reaches(*node)) {
                let copy = self.trace.record(|record| record.copied(Passage::begins(to, time)));
                let datagram = Rc::clone(&datagram);
                self.agenda.schedule(time, Event::Arrive { to, datagram, copy });
            }
        }
    }

    /// Sends a node bytes that no member of the cluster would send: random ones, an old datagram
    /// that lost its end or grew, or one of another cluster. A flipped bit is not among them: the
    /// checksum of UDP, and authentication where it is on, keep those away.
    pub(super) fn throw_garbage(&mut self, to: NodeId) {
        let place = self.rng.below(self.past.len().max(1) as u64) as usize;
        let mut bytes = match self.past.get(place) {
            Some((_, datagram)) => datagram.to_vec(),
            None => Vec::new(),
        };
        match self.rng.below(4) {
            0 => {
                let length = self.rng.below(bytes.len() as u64 + 1) as usize;
                bytes = (0..length).map(|_| self.rng.next_u64() as u8).collect();
            }
            1 => bytes.truncate(self.rng.below(bytes.len() as u64 + 1) as usize),
            2 => bytes.push(self.rng.next_u64() as u8),
            _ => {
                let sender = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
                let Settings { acceptor_count, datagram_bytes, .. } = self.plan.settings;
                // Or of this one, from a process that counts the acceptors differently.
                let (name, count) = match self.rng.below(2) {
                    0 => ("another", acceptor_count),
                    _ => (CLUSTER, acceptor_count + 2),
                };
                let other = Codec::new(name, count, sender, datagram_bytes);
                let ballot = Ballot { round: 1 << 20, proposer: 1, boot: 1 };
                let prepare = Prepare { ballot, from: Instance(1), until: None, acceptor: None };
                let _ = other.encode(&Message::Prepare(prepare), &mut bytes);
            }
        }
        let now = self.now;
        let copy = self.trace.record(|record| {
            record.sent(Sent::noise(now, bytes.len()));
            record.copied(Passage::begins(to, now))
        });
        self.arrive(to, bytes.into(), copy);
    }
}
