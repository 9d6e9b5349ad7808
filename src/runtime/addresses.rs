//! The addresses of the other processes: the source of each one's datagrams. Pure.
//!
//! Neither agreement nor its progress depends on this. A role that is not answered by a process
//! asks its group, so a wrong address costs a retry; the rules below make that rare, and give a
//! forger no more than the group gives.
//!
//! 1. An address is a claim until it has answered: a *knock* is sent there with a random number
//!    that is sent nowhere else, and a process that answers with that number can be reached there.
//!    Until then, and where a firewall drops the knock, the group is used. So nobody can make this
//!    process send anything but knocks to a third party; except for what is said to a client that
//!    was not known before, which goes to its claim until a few knocks have not been answered. That
//!    is a few small datagrams for one, on a network that rule 2 or the key believes. Said to the
//!    group it would wake every client for each that has just begun, and of a thousand that begin
//!    at once none would get any further.
//! 2. Without a key, only addresses of the interface's own networks are believed.
//! 3. An address changes once a second, at most, and the new one must answer first. Until then the
//!    group is used for a process that was restarted: its old address may be dead. An address that
//!    comes back after it was replaced has two owners (one id in two processes, or a forger): then
//!    the group is used until there was no such change for a while.
//! 4. An address that answered a while ago is asked again while it is used.
//!
//! Memory is bounded: processes not heard from for longest are forgotten first.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::net::interface::is_within;
use crate::protocol::types::{NodeId, Role, Sender, Time};

/// How many processes are known at least; twice as many at most.
const KNOWN: usize = 4096;

/// The least time between two changes of an address.
const CHANGE_AFTER: Duration = Duration::from_secs(1);

/// An address that comes back within this time has two owners, and is not used for as long.
const CONTESTED: Duration = Duration::from_secs(10);

/// An address that has answered is used for this long, ...
const PROVEN: Duration = Duration::from_secs(6);
/// ... and asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// The first wait for an answer; each further one is twice as long, up to the longest. A client
/// that was not known is sent to before it has answered, until the longest is reached after more
/// than a second.
const PATIENCE: Duration = Duration::from_millis(10);
const LONGEST_PATIENCE: Duration = Duration::from_secs(1);

/// Which addresses are believed to be those of members.
#[derive(Clone, Debug)]
pub enum Belief {
    /// Any: its sender holds the key.
    Any,
    /// Those in one of these networks, each an address and the length of its prefix in bits.
    Near(Vec<(IpAddr, u8)>),
}

impl Belief {
    fn believes(&self, address: IpAddr) -> bool {
        match self {
            Belief::Any => true,
            Belief::Near(networks) => {
                networks.iter().any(|(network, length)| is_within(address, *network, *length))
            }
        }
    }
}

/// The known addresses of other processes.
#[derive(Debug)]
pub struct Addresses {
    belief: Belief,
    recent: BTreeMap<NodeId, Known>,
    /// Processes heard from before those in the newer map; they are forgotten next.
    older: BTreeMap<NodeId, Known>,
}

/// What is known of one process.
#[derive(Clone, Debug)]
struct Known {
    claim: Claim,
    since: Time,
    /// The address before, and when it was replaced.
    before: Option<(Claim, Time)>,
    /// It has two owners, and is not used until then.
    contested: Option<Time>,
    /// When it answered last.
    answered: Option<Time>,
    knock: Option<Knock>,
    /// It is the first claim of the process that is known, so there is nobody else to ask.
    is_first: bool,
}

impl Known {
    fn new(now: Time, claim: Claim) -> Self {
        let (before, contested, answered, knock) = (None, None, None, None);
        Known { claim, since: now, before, contested, answered, knock, is_first: false }
    }
}

/// A process's claim to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    boot: u64,
    address: SocketAddr,
}

/// A question that was not answered yet.
#[derive(Clone, Copy, Debug)]
struct Knock {
    token: u64,
    again: Time,
    patience: Duration,
}

/// Where a process is, and the knock to send there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Where to send; `None` means to its group.
    pub address: Option<SocketAddr>,
    /// A knock that is due now: its address and its number.
    pub knock: Option<(SocketAddr, u64)>,
}

/// What a received datagram has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    None,
    /// Two processes, or a process and a forger, use one id in turns.
    Contested,
    /// The address has changed too soon after the last time.
    TooEarly,
}

impl Addresses {
    /// No address is known yet.
    pub fn new(belief: Belief) -> Self {
        Addresses { belief, recent: BTreeMap::new(), older: BTreeMap::new() }
    }

    /// A datagram of `from` came from `address`.
    pub fn heard(&mut self, now: Time, from: Sender, address: SocketAddr) -> News {
        if !self.belief.believes(address.ip()) {
            return News::None;
        }
        let claim = Claim { boot: from.boot, address };
        let Some(known) = self.recall(from.node) else {
            self.note(now, from.node, claim);
            return News::None;
        };
        if known.claim == claim {
            return News::None;
        }
        if now.since(known.since) < CHANGE_AFTER {
            known.is_first &= known.claim.boot == from.boot;
            known.answered = known.answered.filter(|_| known.claim.boot == from.boot);
            return News::TooEarly;
        }
        let returns =
            known.before.is_some_and(|(old, when)| old == claim && now.since(when) < CONTESTED);
        let was_contested = known.contested.is_some_and(|until| now < until);
        let contested = if returns { Some(now + CONTESTED) } else { known.contested };
        let before = Some((known.claim, now));
        *known = Known { before, contested, is_first: false, ..Known::new(now, claim) };
        if returns && !was_contested { News::Contested } else { News::None }
    }

    /// Where `node` is, with a knock if it must prove its address; its number comes from `random`.
    pub fn whereabouts(
        &mut self,
        now: Time,
        node: NodeId,
        random: impl FnOnce() -> u64,
    ) -> Whereabouts {
        let Some(known) = self.recall(node) else { return Whereabouts::default() };
        if known.contested.is_some_and(|until| now < until) {
            return Whereabouts::default();
        }
        let age = known.answered.map(|answered| now.since(answered));
        let is_proven = age.is_some_and(|age| age < PROVEN);
        let is_early = node.role == Role::Client
            && known.is_first
            && known.answered.is_none()
            && known.knock.is_none_or(|knock| knock.patience < LONGEST_PATIENCE);
        let address = (is_proven || is_early).then_some(known.claim.address);
        let is_due = match known.knock {
            Some(knock) => now >= knock.again,
            None => age.is_none_or(|age| age >= ASK_AGAIN),
        };
        if !is_due {
            return Whereabouts { address, knock: None };
        }
        let (token, patience) = known.knock.map_or_else(
            || (random(), PATIENCE),
            |knock| (knock.token, (knock.patience * 2).min(LONGEST_PATIENCE)),
        );
        known.knock = Some(Knock { token, again: now + patience, patience });
        Whereabouts { address, knock: Some((known.claim.address, token)) }
    }

    /// `from` has answered a knock with this number.
    pub fn answered(&mut self, now: Time, from: Sender, token: u64) {
        let Some(known) = self.recall(from.node) else { return };
        let is_asked = known.knock.is_some_and(|knock| knock.token == token);
        if is_asked && known.claim.boot == from.boot {
            (known.answered, known.knock) = (Some(now), None);
        }
    }

    /// What is known of `node`, which is sent to or heard from just now.
    fn recall(&mut self, node: NodeId) -> Option<&mut Known> {
        if let Some(known) = self.older.remove(&node) {
            self.make_room();
            self.recent.insert(node, known);
        }
        self.recent.get_mut(&node)
    }

    fn note(&mut self, now: Time, node: NodeId, claim: Claim) {
        self.make_room();
        let known = Known { is_first: true, ..Known::new(now, claim) };
        self.recent.insert(node, known);
    }

    fn make_room(&mut self) {
        if self.recent.len() >= KNOWN {
            self.older = std::mem::take(&mut self.recent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32) -> NodeId {
        NodeId::new(Role::Proposer, id)
    }

    fn sender(boot: u64) -> Sender {
        Sender { node: node(1), boot }
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn millis(millis: u64) -> Time {
        Time(millis * 1000)
    }

    fn near() -> Addresses {
        Addresses::new(Belief::Near(vec![([10, 0, 0, 9].into(), 24)]))
    }

    /// The address that is used for the process, if it answers every knock.
    fn found(addresses: &mut Addresses, now: Time, boot: u64) -> Option<SocketAddr> {
        let whereabouts = addresses.whereabouts(now, node(1), || now.0 + 1);
        if let Some((_, token)) = whereabouts.knock {
            addresses.answered(now, sender(boot), token);
        }
        addresses.whereabouts(now, node(1), || 0).address
    }

    #[test]
    fn an_address_is_used_once_it_has_answered_and_as_long_as_it_does() {
        let mut addresses = near();
        assert_eq!(addresses.whereabouts(millis(0), node(1), || 7), Whereabouts::default());
        addresses.heard(millis(0), sender(1), at(1));
        let asked = Whereabouts { address: None, knock: Some((at(1), 7)) };
        assert_eq!(addresses.whereabouts(millis(0), node(1), || 7), asked);
        assert_eq!(addresses.whereabouts(millis(1), node(1), || 8), Whereabouts::default());
        assert_eq!(addresses.whereabouts(millis(11), node(1), || 8), asked, "the same question");
        addresses.answered(millis(12), sender(1), 8);
        assert_eq!(
            addresses.whereabouts(millis(12), node(1), || 9).address,
            None,
            "a wrong number"
        );
        addresses.answered(millis(12), sender(2), 7);
        assert_eq!(addresses.whereabouts(millis(12), node(1), || 9).address, None, "another life");
        addresses.answered(millis(13), sender(1), 7);
        let known = Whereabouts { address: Some(at(1)), knock: None };
        assert_eq!(addresses.whereabouts(millis(14), node(1), || 9), known);
        // The address is asked again while it is used, and given up when it does not answer.
        let again = Whereabouts { address: Some(at(1)), knock: Some((at(1), 9)) };
        assert_eq!(addresses.whereabouts(millis(2_500), node(1), || 9), again);
        assert_eq!(addresses.whereabouts(millis(6_100), node(1), || 10).address, None);
    }

    #[test]
    fn far_addresses_are_believed_of_those_alone_who_hold_the_key() {
        let far = SocketAddr::from(([10, 0, 1, 1], 1));
        for (mut addresses, expected) in [(near(), None), (Addresses::new(Belief::Any), Some(far))]
        {
            addresses.heard(millis(0), sender(1), far);
            assert_eq!(found(&mut addresses, millis(0), 1), expected);
        }
    }

    #[test]
    fn a_process_that_is_started_again_is_found_again_after_a_second_at_most() {
        let mut addresses = near();
        addresses.heard(millis(0), sender(1), at(1));
        assert_eq!(found(&mut addresses, millis(0), 1), Some(at(1)));
        assert_eq!(addresses.heard(millis(500), sender(1), at(3)), News::TooEarly);
        assert_eq!(addresses.whereabouts(millis(500), node(1), || 5).address, Some(at(1)));
        assert_eq!(addresses.heard(millis(600), sender(2), at(2)), News::TooEarly);
        let whereabouts = addresses.whereabouts(millis(600), node(1), || 5);
        assert_eq!(whereabouts, Whereabouts { address: None, knock: Some((at(1), 5)) });
        addresses.heard(millis(1_000), sender(2), at(2));
        assert_eq!(addresses.whereabouts(millis(1_000), node(1), || 5).address, None);
        assert_eq!(found(&mut addresses, millis(1_020), 2), Some(at(2)));
    }

    #[test]
    fn a_client_that_was_not_known_is_sent_to_until_it_has_not_answered_for_a_while() {
        let mut addresses = near();
        let client = NodeId::new(Role::Client, 7);
        let claim = |addresses: &mut Addresses, now, boot| {
            for node in [client, node(1)] {
                addresses.heard(millis(now), Sender { node, boot }, at(boot as u16));
            }
        };
        let used = |addresses: &mut Addresses, node, now| {
            addresses.whereabouts(millis(now), node, || 1).address
        };
        claim(&mut addresses, 0, 1);
        // However long after the claim it is used for the first time.
        assert_eq!(used(&mut addresses, client, 9_000), Some(at(1)));
        assert_eq!(used(&mut addresses, node(1), 9_000), None);
        let last = (9_000..20_000).take_while(|now| used(&mut addresses, client, *now).is_some());
        let last = last.last().unwrap_or(0);
        assert!((10_000..11_000).contains(&last), "{last}");
        // The port of one that was restarted is dead, and its new one must prove itself.
        let mut addresses = near();
        claim(&mut addresses, 0, 1);
        assert_eq!(used(&mut addresses, client, 10), Some(at(1)));
        claim(&mut addresses, 300, 2);
        assert_eq!(used(&mut addresses, client, 310), None);
        claim(&mut addresses, 1_300, 2);
        assert_eq!(used(&mut addresses, client, 1_310), None);
        addresses.answered(millis(1_320), Sender { node: client, boot: 2 }, 1);
        assert_eq!(used(&mut addresses, client, 1_330), Some(at(2)));
    }

    #[test]
    fn an_id_in_two_places_is_sent_for_by_its_group() {
        let mut addresses = near();
        let mut news = Vec::new();
        for turn in 0..20 {
            let boot = 1 + turn % 2;
            let now = millis(turn * 1_000);
            news.push(addresses.heard(now, sender(boot), at(boot as u16)));
            assert_eq!(found(&mut addresses, now, boot).is_some(), turn < 2, "turn {turn}");
        }
        assert_eq!(news.iter().filter(|news| **news == News::Contested).count(), 1, "{news:?}");
        // One of them is gone.
        let later = millis(40_000);
        assert_eq!(found(&mut addresses, later, 2), Some(at(2)));
    }

    #[test]
    fn a_crowd_of_made_up_processes_does_not_fill_the_memory() {
        let mut addresses = near();
        for id in 1..=50_000 {
            addresses.heard(millis(0), Sender { node: node(id), boot: 1 }, at(1));
            // A process that is sent to is remembered.
            addresses.whereabouts(millis(0), node(1), || 1);
        }
        assert!(addresses.recent.len() + addresses.older.len() <= 2 * KNOWN);
        assert!(addresses.recall(node(1)).is_some());
    }
}
