//! How the roles of one process talk to each other, when it runs several.
//!
//! Each role has a loop, an inbox and sockets of its own, as if it were alone. A message from one
//! to another goes straight from its loop into the other's inbox, as the bytes of the datagram: no
//! socket, no system call, no seal, and no loss. A message to a group goes to the network as well,
//! for the other members, and comes back from there to this host, where the roles of the same
//! process drop it unread ([`Codec::is_own`]).
//!
//! It is sent together with everything else of the turn, after the store: a vote that never leaves
//! the process still waits for its disk.
//!
//! [`Codec::is_own`]: crate::wire::Codec::is_own

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::inbox::{InboxSender, Offered};
use super::stats::{Counter, Stats};
use crate::protocol::message::{Interest, Kind};
use crate::protocol::types::{Sender, To};

/// Another role of this process.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// Who it is.
    pub sender: Sender,
    /// Its inbox.
    pub inbox: InboxSender,
    /// [`Interest::bits`] of the role.
    pub interest: Arc<AtomicU32>,
    /// Its counts.
    pub stats: Arc<Stats>,
}

/// All others of this process.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    others: Vec<Neighbour>,
}

/// Which addressees a message has reached without the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    All,
    /// Those in this process; there may be others.
    Own,
}

impl Neighbours {
    /// These.
    pub fn new(others: Vec<Neighbour>) -> Self {
        Neighbours { others }
    }

    /// Puts `datagram` into the inboxes of the roles here that `to` reaches. Never waits: where
    /// there is no room it is dropped and counted, as at a socket.
    pub fn tell(&self, to: To, kind: Kind, datagram: &[u8]) -> Reach {
        self.give(to, kind, datagram, |stats| &stats.neighbours)
    }

    /// The same with a datagram that came from the network, by a socket that they share.
    pub fn hand_on(&self, to: To, kind: Kind, datagram: &[u8]) {
        self.give(to, kind, datagram, |stats| &stats.received);
    }

    fn give(
        &self,
        to: To,
        kind: Kind,
        datagram: &[u8],
        counter: impl Fn(&Stats) -> &Counter,
    ) -> Reach {
        let mut reach = Reach::Own;
        for other in self.others.iter().filter(|other| kind.reaches(to, other.sender.node)) {
            if to == To::Node(other.sender.node) {
                reach = Reach::All;
            }
            let interest = Interest::from_bits(other.interest.load(Ordering::Relaxed));
            if !interest.includes(kind) {
                continue;
            }
            counter(&other.stats).increment();
            if other.inbox.offer(datagram) == Offered::Full {
                other.stats.inbox_full.increment();
            }
        }
        reach
    }
}

#[cfg(test)]
mod tests {
    use super::super::inbox::{Event, Inbox, inbox};
    use super::*;
    use crate::protocol::types::{NodeId, Role};

    fn neighbour(role: Role, interest: &[Kind]) -> (Neighbour, Inbox) {
        let (sender, inbox) = inbox(1);
        let neighbour = Neighbour {
            sender: Sender { node: NodeId::new(role, 1), boot: 7 },
            inbox: sender,
            interest: Arc::new(AtomicU32::new(Interest::of(interest).bits())),
            stats: Arc::new(Stats::default()),
        };
        (neighbour, inbox)
    }

    #[test]
    fn what_is_for_a_neighbour_alone_does_not_leave_the_process() {
        let (acceptor, mut heard) = neighbour(Role::Acceptor, &[Kind::Accept]);
        let stats = Arc::clone(&acceptor.stats);
        let (learner, mut unheard) = neighbour(Role::Learner, &[Kind::Decide]);
        let neighbours = Neighbours::new(vec![acceptor, learner]);
        let own = To::Node(NodeId::new(Role::Acceptor, 1));
        assert_eq!(neighbours.tell(own, Kind::Accept, b"one"), Reach::All);
        assert_eq!(heard.poll(), Some(Event::Datagram(b"one"[..].into())));
        let other = To::Node(NodeId::new(Role::Acceptor, 2));
        assert_eq!(neighbours.tell(other, Kind::Accept, b"two"), Reach::Own);
        assert_eq!(neighbours.tell(To::Group(Role::Acceptor), Kind::Nack, b"three"), Reach::Own);
        assert_eq!((heard.poll(), unheard.poll()), (None, None));
        // A group has other members as well.
        assert_eq!(neighbours.tell(To::Group(Role::Acceptor), Kind::Accept, b"four"), Reach::Own);
        assert_eq!(neighbours.tell(To::Group(Role::Acceptor), Kind::Accept, b"five"), Reach::Own);
        assert_eq!(heard.poll(), Some(Event::Datagram(b"four"[..].into())));
        assert_eq!((heard.poll(), stats.inbox_full.count()), (None, 1));
    }
}
