//! How does a datagram get from one node to others, and what ends it on its way?
//!
//! Messages travel encoded, and each copy has a fate of its own, which the record keeps. `network`
//! decides which copies arrive, and when.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::Cluster;
use crate::protocol::message::{Kind, Message};
use crate::protocol::types::{NodeId, Sender, To};
use crate::sim::agenda::Event;
use crate::sim::network::Way;
use crate::sim::node::Node;
use crate::sim::record::{Fate, Passage, PassageId, Sent};
use crate::sim::trace::Detail;
use crate::wire::Codec;

/// How many old datagrams are kept, so that they can arrive again.
const PAST_DATAGRAMS: usize = 64;

impl Cluster {
    pub(super) fn send(&mut self, from: Sender, codec: &Codec, to: To, message: &Message) {
        let mut datagram = Vec::new();
        if let Err(error) = codec.encode(message, &mut datagram) {
            return self.note(Err(format!("{} cannot send {message}: {error}", from.node)));
        }
        self.trace.mix(self.now.0);
        self.trace.mix_bytes(&datagram);
        let node = from.node;
        let detail = Detail::of_kind(message.kind());
        let what = format_args!("{node} -> {to}: {message}");
        self.trace.tell(detail, self.now, what);
        self.trace.record(|record| {
            let (from, to, message) = (Some(node), Some(to), Some(message.clone()));
            let (time, bytes, copies) = (self.now, datagram.len(), Vec::new());
            record.sent(Sent { time, from, to, message, bytes, is_noise: false, copies });
        });
        let datagram: Rc<[u8]> = datagram.into();
        if self.past.len() < PAST_DATAGRAMS {
            self.past.push((to, Rc::clone(&datagram)));
        } else if self.rng.below(16) == 0 {
            let place = self.rng.below(PAST_DATAGRAMS as u64) as usize;
            self.past[place] = (to, Rc::clone(&datagram));
        }
        let Some(to) = self.network.way(node, to) else {
            if let To::Node(to) = to {
                let passage = Passage { to, fate: Fate::Cut, time: self.now };
                self.trace.record(|record| record.copied(passage));
            }
            return;
        };
        let leaves = self.network.pass(self.now, node, Way::Out, datagram.len());
        for to in reached(&self.nodes, to, message.kind()).filter(|to| *to != node) {
            let what = (message.kind(), datagram.len());
            let arrivals = match leaves {
                Some(leaves) => self.network.arrivals(leaves, (node, to), what),
                None => [Some(Err(Fate::QueueFull)), None],
            };
            for arrival in arrivals.into_iter().flatten() {
                let fate = arrival.err().unwrap_or(Fate::Underway);
                let passage = Passage { to, fate, time: self.now };
                let copy = self.trace.record(|record| record.copied(passage));
                match arrival {
                    Ok(time) => {
                        let datagram = Rc::clone(&datagram);
                        let event = if self.network.has_lines() {
                            Event::Enter { to, datagram, copy }
                        } else {
                            Event::Arrive { to, datagram, copy }
                        };
                        self.agenda.schedule(time, event);
                    }
                    Err(fate) => {
                        let what = format_args!("  {to} -/- {node} {message}: {fate}");
                        self.trace.tell(detail, self.now, what);
                    }
                }
            }
        }
    }

    pub(in crate::sim) fn arrive(&mut self, to: NodeId, datagram: Rc<[u8]>, copy: PassageId) {
        let received = match self.nodes.get_mut(&to) {
            Some(node) if node.is_up => node.receive(Rc::clone(&datagram), copy),
            Some(_) | None => Err(Fate::Dead),
        };
        match received {
            Ok(()) => {
                // Datagrams that arrive while a node works wait for its next turn.
                let work = Duration::from_micros(5 + self.rng.below(20));
                self.schedule_turn(to, self.now + work);
            }
            Err(fate) => self.end_copy(to, &datagram, copy, fate),
        }
    }

    /// A copy of a datagram ends without effect.
    pub(super) fn end_copy(&mut self, to: NodeId, datagram: &[u8], copy: PassageId, fate: Fate) {
        self.trace.record(|record| record.ended(self.now, copy, fate));
        // A datagram of no use is no loss.
        if fate != Fate::OfNoUse && self.trace.tells(Detail::Messages) {
            self.tell_loss(to, datagram, fate);
        }
    }

    /// Reports that a datagram arrived in vain.
    fn tell_loss(&mut self, to: NodeId, datagram: &[u8], fate: Fate) {
        let Some(node) = self.nodes.get(&to) else { return };
        let Ok((from, message)) = node.codec.decode(datagram) else { return };
        let detail = Detail::of_kind(message.kind());
        let what = format_args!("  {to} -/- {} {message}: {fate}", from.node);
        self.trace.tell(detail, self.now, what);
    }
}

/// The nodes that take a message of this kind when it is sent there.
fn reached(nodes: &BTreeMap<NodeId, Node>, to: To, kind: Kind) -> impl Iterator<Item = NodeId> {
    nodes.keys().copied().filter(move |node| kind.reaches(to, *node))
}
