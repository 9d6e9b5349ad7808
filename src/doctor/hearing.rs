//! What a doctor hears: datagrams in, knowledge about other hosts out. Pure.
//!
//! Probes of other doctors say the most. Running roles know nothing of doctors; the headers of
//! their usual datagrams show who they are, and acceptors' echoes whether their disks are full.
//! Everything here is bounded, no matter what is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::probe::{Heard, LISTED_MAX, NoProbe, Probe};
use crate::auth::seal::SEAL_BYTES;
use crate::protocol::message::{Kind, Message};
use crate::protocol::types::{NodeId, Role, Time};
use crate::protocol::versions::{Version, Versions};
use crate::wire::{Codec, Envelope, Refusal};

/// The id under which doctors ask acceptors; no proposer has it.
pub const DOCTOR_ID: u32 = u32::MAX;

/// How long two doctors must have had to hear each other before silence means something.
const SETTLED: Duration = Duration::from_millis(500);

/// How many probes that could have named this doctor must have come by then.
const REPORTS_MIN: u32 = 16;

/// How long two processes must have been heard in turn before they are two at a time: the second
/// does not merely replace the first.
const OVERLAP: Duration = Duration::from_millis(200);

/// How many doctors, nodes, runs of a node, and foreign senders are kept.
const PEERS_MAX: usize = 256;
const NODES_MAX: usize = 1024;
const LIVES_MAX: usize = 4;
const STRANGERS_MAX: usize = 64;

/// Everything that was heard so far.
#[derive(Debug)]
pub struct Hearing {
    /// This doctor's number.
    own: u64,
    codec: Codec,
    cluster: String,
    started: Time,
    /// The groups, by place, on which this doctor has heard itself.
    pub own_groups: u8,
    /// The other doctors of this cluster, by number.
    pub peers: BTreeMap<u64, Peer>,
    nodes: BTreeMap<NodeId, Vec<Life>>,
    /// Senders that are not of this cluster: the reason and the address, and what is known about
    /// each.
    pub strangers: BTreeMap<(Stranger, IpAddr), Trace>,
    /// Members of this cluster that are heard on another interface than the configured one: the
    /// interface's address, and theirs.
    pub elsewhere: BTreeMap<IpAddr, BTreeSet<IpAddr>>,
}

/// Another doctor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its host's address.
    pub address: IpAddr,
    /// The same as the system has it, with the number of the interface where IPv6 needs that.
    source: SocketAddr,
    /// What it said last.
    pub probe: Probe,
    first: Time,
    last: Time,
    /// The groups on which it was heard, a bit each.
    pub groups: u8,
    /// Its longest datagram that arrived on a group, in bytes.
    pub longest: usize,
    rounds: Option<Rounds>,
    /// Answers to this doctor alone.
    pub answers: u64,
    /// The groups on which it has heard this doctor.
    pub hears_us: u8,
    /// This doctor's longest datagram that it has heard, in bytes.
    pub longest_of_us: usize,
    /// Probes that could have named this doctor.
    reports: u32,
}

/// The rounds of a doctor that were heard on one group: the one that was heard first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rounds {
    group: u8,
    heard: u64,
    first: u64,
    last: u64,
}

/// One process that ran as a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    boot: u64,
    source: SocketAddr,
    first: Time,
    last: Time,
    /// Which versions of the datagrams it says that it reads.
    reads: Option<Versions>,
    /// Of an acceptor: whether its last echo said that its disk is full.
    is_full: bool,
}

/// Why something is not of this cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stranger {
    /// Of another cluster.
    OtherCluster,
    /// Of another version of the protocol.
    OtherVersion,
    /// With a key where this host has none, or the other way round.
    OtherKey,
    /// Of this cluster, with another number of acceptors.
    OtherAcceptorCount,
    /// Not of this program, or damaged.
    Foreign,
}

/// What is known about a foreign sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Datagrams.
    pub count: u64,
    /// The groups they were sent to.
    pub groups: u8,
    /// The cluster's name, the version, or what is wrong, if it was said.
    pub name: Option<String>,
}

impl Hearing {
    /// The hearing of doctor `own`, which begins to send at `started`.
    pub fn new(own: u64, codec: Codec, cluster: &str, started: Time) -> Self {
        Hearing {
            own,
            codec,
            cluster: cluster.to_owned(),
            started,
            own_groups: 0,
            peers: BTreeMap::new(),
            nodes: BTreeMap::new(),
            strangers: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
        }
    }

    /// A datagram came on the interface with this address, which is not the configured one.
    pub fn on_elsewhere(&mut self, interface: IpAddr, source: IpAddr, datagram: &[u8]) {
        let is_probe = Probe::decode(datagram)
            .is_ok_and(|probe| probe.cluster == self.cluster && probe.doctor != self.own);
        if is_probe || self.codec.envelope(datagram).is_ok() {
            let hosts = self.elsewhere.entry(interface).or_default();
            if hosts.len() < PEERS_MAX {
                hosts.insert(source);
            }
        }
    }

    /// A datagram came on the group at this place, or, without one, to this doctor alone.
    pub fn on_datagram(
        &mut self,
        now: Time,
        group: Option<u8>,
        source: SocketAddr,
        datagram: &[u8],
    ) {
        let bit = group.map_or(0, bit);
        match Probe::decode(datagram) {
            Ok(probe) if probe.cluster != self.cluster => {
                let name = Some(probe.cluster);
                self.on_stranger(Stranger::OtherCluster, source, bit, name);
            }
            Ok(probe) if probe.doctor == self.own => self.own_groups |= bit,
            Ok(probe) => self.on_probe(now, group, source, probe, datagram.len()),
            Err(NoProbe::OtherVersion(_)) => {
                self.on_stranger(Stranger::OtherVersion, source, bit, None);
            }
            Err(NoProbe::Malformed) => self.on_stranger(Stranger::Foreign, source, bit, None),
            // Only other doctors send to this doctor alone.
            Err(NoProbe::Other) if group.is_none() => {}
            Err(NoProbe::Other) => self.on_message(now, source, bit, datagram),
        }
    }

    fn on_probe(
        &mut self,
        now: Time,
        group: Option<u8>,
        source: SocketAddr,
        probe: Probe,
        bytes: usize,
    ) {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&probe.doctor) {
            return;
        }
        let peer = self.peers.entry(probe.doctor).or_insert_with(|| Peer {
            address: source.ip(),
            source,
            probe: probe.clone(),
            first: now,
            last: now,
            groups: 0,
            longest: 0,
            rounds: None,
            answers: 0,
            hears_us: 0,
            longest_of_us: 0,
            reports: 0,
        });
        peer.last = now;
        match group {
            None => peer.answers += 1,
            Some(group) => {
                peer.longest = peer.longest.max(bytes);
                peer.groups |= bit(group);
                if !probe.padded {
                    peer.on_round(group, probe.sequence);
                }
            }
        }
        // Before that, it may not have had the time to hear this doctor.
        if now >= self.started.max(peer.first) + SETTLED {
            peer.reports = peer.reports.saturating_add(1);
        }
        if let Some(heard) = probe.heard.iter().find(|heard| heard.doctor == self.own) {
            peer.hears_us |= heard.groups;
            peer.longest_of_us = peer.longest_of_us.max(heard.longest);
        }
        peer.probe = probe;
    }

    /// Something that may be of the protocol.
    fn on_message(&mut self, now: Time, source: SocketAddr, bit: u8, datagram: &[u8]) {
        let (sender, kind) = match self.codec.envelope(datagram) {
            Ok(Envelope::Message(header)) => (header.sender, Some(header.kind)),
            Ok(Envelope::Hello(sender) | Envelope::Knock(sender)) => (sender, None),
            Err(reason @ (Refusal::Sealed | Refusal::Unsealed)) => {
                let name = Some(reason.to_string());
                return self.on_stranger(Stranger::OtherKey, source, bit, name);
            }
            Err(reason @ Refusal::OtherAcceptorCount { .. }) => {
                let name = Some(reason.to_string());
                return self.on_stranger(Stranger::OtherAcceptorCount, source, bit, name);
            }
            Err(Refusal::OtherCluster) => {
                return self.on_stranger(Stranger::OtherCluster, source, bit, None);
            }
            Err(Refusal::OtherVersion) => {
                // The byte after the mark.
                let version = datagram.get(4).map(u8::to_string);
                return self.on_stranger(Stranger::OtherVersion, source, bit, version);
            }
            Err(_) => return self.on_stranger(Stranger::Foreign, source, bit, None),
        };
        let is_new = !self.nodes.contains_key(&sender.node);
        if sender.node.id == DOCTOR_ID || is_new && self.nodes.len() >= NODES_MAX {
            return;
        }
        let says = matches!(kind, Some(Kind::Heartbeat | Kind::Echo));
        let said = says.then(|| self.said(datagram)).flatten();
        let (reads, full) = match said {
            Some(Message::Heartbeat(heartbeat)) => (Some(heartbeat.announcement.reads), None),
            Some(Message::Echo(echo)) => (Some(echo.reads), Some(echo.full)),
            _ => (None, None),
        };
        let lives = self.nodes.entry(sender.node).or_default();
        let is_it = |life: &&mut Life| life.boot == sender.boot && life.source == source;
        if let Some(life) = lives.iter_mut().find(is_it) {
            (life.last, life.reads) = (now, reads.or(life.reads));
            life.is_full = full.unwrap_or(life.is_full);
        } else if lives.len() < LIVES_MAX {
            let (boot, is_full) = (sender.boot, full.unwrap_or(false));
            lives.push(Life { boot, source, first: now, last: now, reads, is_full });
        }
    }

    /// The message, if it is a heartbeat or an echo. The seal is skipped and not verified: nobody
    /// acts on what a doctor hears.
    fn said(&self, datagram: &[u8]) -> Option<Message> {
        let seal = if self.codec.is_sealed() { SEAL_BYTES } else { 0 };
        let content = datagram.get(..datagram.len().checked_sub(seal)?)?;
        self.codec.decode(content).ok().map(|(_, message)| message)
    }

    /// The nodes whose last run that announced a version is of the previous release.
    pub fn old(&self) -> Vec<NodeId> {
        let reads = |lives: &[Life]| {
            let said = lives.iter().filter_map(|life| Some((life.last, life.reads?)));
            said.max_by_key(|(last, _)| *last).map(|(_, reads)| reads.newest)
        };
        let is_old = |lives: &[Life]| reads(lives).is_some_and(|newest| newest < Version::NEWEST);
        self.nodes.iter().filter(|(_, lives)| is_old(lives)).map(|(node, _)| *node).collect()
    }

    fn on_stranger(&mut self, why: Stranger, from: SocketAddr, bit: u8, name: Option<String>) {
        let key = (why, from.ip());
        if self.strangers.len() >= STRANGERS_MAX && !self.strangers.contains_key(&key) {
            return;
        }
        let trace = self.strangers.entry(key).or_default();
        trace.count += 1;
        trace.groups |= bit;
        trace.name = name.or(trace.name.take());
    }

    /// Some of the doctors that were heard on groups; other ones in every round, if there are many.
    pub fn listed(&self, round: u64) -> Vec<Heard> {
        let all: Vec<Heard> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.groups != 0)
            .map(|(doctor, peer)| Heard {
                doctor: *doctor,
                groups: peer.groups,
                longest: peer.longest,
            })
            .collect();
        let pages = all.len().div_ceil(LISTED_MAX).max(1);
        let page = round as usize % pages;
        all.into_iter().skip(page * LISTED_MAX).take(LISTED_MAX).collect()
    }

    /// Where each doctor takes answers.
    pub fn answer_addresses(&self) -> Vec<SocketAddr> {
        let peers = self.peers.values();
        let answer = |peer: &Peer| {
            let mut address = peer.source;
            address.set_port(peer.probe.answer_port);
            address
        };
        peers.map(answer).collect()
    }

    /// The nodes of this cluster that run, each with the addresses of its processes.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, Vec<SocketAddr>)> {
        self.nodes
            .iter()
            .map(|(node, lives)| (*node, lives.iter().map(|life| life.source).collect()))
    }

    /// The addresses that this cluster's doctors and nodes have.
    pub fn hosts(&self) -> BTreeSet<IpAddr> {
        let nodes = self.nodes.values().flatten().map(|life| life.source.ip());
        self.peers.values().map(|peer| peer.address).chain(nodes).collect()
    }

    /// The ids of a role that run.
    pub fn running(&self, role: Role) -> usize {
        self.nodes.keys().filter(|node| node.role == role).count()
    }

    /// The ids of this role that are heard.
    pub fn ids(&self, role: Role) -> impl Iterator<Item = u32> {
        self.nodes.keys().filter(move |node| node.role == role).map(|node| node.id)
    }

    /// The acceptors of which the process that was heard last says that its disk is full.
    pub fn full_disks(&self) -> impl Iterator<Item = NodeId> {
        let last = |lives: &[Life]| lives.iter().max_by_key(|life| life.last).copied();
        let full =
            self.nodes.iter().filter(move |(_, lives)| last(lives).is_some_and(|it| it.is_full));
        full.map(|(node, _)| *node)
    }

    /// The nodes that two processes run as at a time, with their addresses.
    pub fn duplicates(&self) -> Vec<(NodeId, SocketAddr, SocketAddr)> {
        let twins = |lives: &[Life]| {
            lives.iter().enumerate().find_map(|(place, life)| {
                let twin = lives[place + 1..].iter().find(|other| life.is_beside(other))?;
                Some((life.source, twin.source))
            })
        };
        self.nodes
            .iter()
            .filter_map(|(node, lives)| twins(lives).map(|(one, other)| (*node, one, other)))
            .collect()
    }
}

/// The bit of the group at a place.
pub fn bit(place: u8) -> u8 {
    1 << (place % 8)
}

impl Life {
    /// Whether both ran for a while at the same time. Equal boot numbers at two addresses are also
    /// two processes, which share the data of one of them; but one process has an address for each
    /// version of IP, and more than one port.
    fn is_beside(&self, other: &Life) -> bool {
        let is_other = self.boot != other.boot
            || self.source.is_ipv4() == other.source.is_ipv4()
                && self.source.ip() != other.source.ip();
        let (from, until) = (self.first.max(other.first), self.last.min(other.last));
        is_other && until >= from + OVERLAP
    }
}

impl Peer {
    /// Whether it was heard for long enough to conclude anything from silence.
    pub fn is_settled(&self) -> bool {
        self.last >= self.first + SETTLED
    }

    /// Whether it has reported its peers often enough to believe that the list is complete.
    pub fn has_reported(&self) -> bool {
        self.reports >= REPORTS_MIN
    }

    fn on_round(&mut self, group: u8, sequence: u64) {
        let begun = Rounds { group, heard: 0, first: sequence, last: sequence };
        let rounds = self.rounds.get_or_insert(begun);
        if rounds.group == group {
            rounds.heard += 1;
            rounds.last = sequence;
        }
    }

    /// Whether it was heard for long enough to have tried every length.
    pub fn has_tried_lengths(&self) -> bool {
        self.last >= self.first + 2 * SETTLED
    }

    /// Which share of its probes was lost, in percent; none when too few were sent to tell.
    pub fn lost_percent(&self) -> Option<u64> {
        let Rounds { heard, first, last, .. } = self.rounds?;
        let sent = last.checked_sub(first)?.checked_add(1)?;
        (sent >= 10)
            .then(|| 100 * u128::from(sent.saturating_sub(heard)) / u128::from(sent))
            .map(|percent| percent as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::probe::tests::probe;
    use super::*;
    use crate::protocol::message::{Announcement, Heartbeat, Progress, Standing};
    use crate::protocol::types::{Ballot, Instance, Sender};

    const OWN: u64 = 77;

    fn codec(cluster: &str, id: u32, boot: u64) -> Codec {
        let node = NodeId::new(Role::Proposer, id);
        Codec::new(cluster, 3, Sender { node, boot }, 1472)
    }

    fn hearing() -> Hearing {
        Hearing::new(OWN, codec("paxos", DOCTOR_ID, OWN), "paxos", Time::ZERO)
    }

    fn source(last: u8) -> SocketAddr {
        format!("10.0.0.{last}:4000").parse().unwrap()
    }

    fn heartbeat(cluster: &str, id: u32, boot: u64) -> Vec<u8> {
        said(cluster, id, boot, Versions::ALL)
    }

    /// A heartbeat of a proposer that reads these.
    fn said(cluster: &str, id: u32, boot: u64, reads: Versions) -> Vec<u8> {
        let announcement = Announcement::new(Standing::Stands, Ballot::ZERO);
        let announcement = Announcement { reads, ..announcement };
        let progress = Progress::until(Instance::FIRST);
        let heartbeat = Heartbeat::new(Version::OLDEST, announcement, progress);
        let mut datagram = Vec::new();
        codec(cluster, id, boot).encode(&Message::Heartbeat(heartbeat), &mut datagram).unwrap();
        datagram
    }

    fn millis(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    /// Hears datagrams of `(milliseconds, place, source, bytes)`.
    fn hear(datagrams: &[(u64, u8, u8, Vec<u8>)]) -> Hearing {
        let mut hearing = hearing();
        for (at, place, from, bytes) in datagrams {
            hearing.on_datagram(millis(*at), Some(*place), source(*from), bytes);
        }
        hearing
    }

    #[test]
    fn the_release_of_the_last_life_counts() {
        let (new, old) = (heartbeat("paxos", 1, 1), said("paxos", 1, 2, Versions::BEFORE));
        assert_eq!(hear(&[(0, 1, 1, new.clone())]).old(), []);
        let node = NodeId::new(Role::Proposer, 1);
        assert_eq!(hear(&[(0, 1, 1, new.clone()), (9, 1, 1, old.clone())]).old(), [node]);
        assert_eq!(hear(&[(0, 1, 1, old), (9, 1, 1, new)]).old(), []);
    }

    #[test]
    fn a_restart_is_no_duplicate_and_two_at_a_time_are() {
        let (old, new) = (heartbeat("paxos", 1, 1), heartbeat("paxos", 1, 2));
        let restart = [(0, 1, 1, old.clone()), (300, 1, 1, old.clone()), (600, 1, 1, new.clone())];
        assert_eq!(hear(&restart).duplicates(), []);
        let both = [restart.as_slice(), &[(900, 1, 1, old.clone())]].concat();
        assert_eq!(hear(&both).duplicates(), [], "one datagram of each is no proof");
        let both = [both.as_slice(), &[(901, 1, 1, new)]].concat();
        let node = NodeId::new(Role::Proposer, 1);
        assert_eq!(hear(&both).duplicates(), [(node, source(1), source(1))]);
        // The same boot on two hosts: one runs with a copy of the other's data.
        let copies: Vec<_> = (0..6).map(|n| (n * 100, 1, 1 + (n % 2) as u8, old.clone())).collect();
        assert_eq!(hear(&copies).duplicates(), [(node, source(1), source(2))]);
        assert_eq!(hear(&copies).running(Role::Proposer), 1);
    }

    #[test]
    fn strangers_are_told_apart() {
        let mut other_version = heartbeat("paxos", 1, 1);
        other_version[4] = 10;
        let mut other_count = heartbeat("paxos", 1, 1);
        other_count[27] = 5;
        let heard = hear(&[
            (0, 0, 1, heartbeat("other", 1, 1)),
            (1, 1, 1, Probe { cluster: "other".to_owned(), ..probe() }.encode(0)),
            (2, 2, 2, other_version),
            (3, 3, 3, b"M-SEARCH * HTTP/1.1".to_vec()),
            (4, 3, 3, Vec::new()),
            (5, 1, 4, other_count),
        ]);
        let told: Vec<_> = heard
            .strangers
            .iter()
            .map(|((why, from), trace)| (*why, *from, trace.count, trace.groups, &trace.name))
            .collect();
        let (other, ten) = (Some("other".to_owned()), Some("10".to_owned()));
        let five = Some("from a process with acceptor_count 5, and here it is 3".to_owned());
        assert_eq!(
            told,
            [
                (Stranger::OtherCluster, source(1).ip(), 2, 0b0011, &other),
                (Stranger::OtherVersion, source(2).ip(), 1, 0b0100, &ten),
                (Stranger::OtherAcceptorCount, source(4).ip(), 1, 0b0010, &five),
                (Stranger::Foreign, source(3).ip(), 2, 0b1000, &None),
            ]
        );
        assert!(heard.peers.is_empty() && heard.nodes().next().is_none());
    }

    #[test]
    fn a_peer_is_known_by_what_arrives_and_by_whom_it_hears() {
        let named = Heard { doctor: OWN, groups: 0b0101, longest: 1000 };
        let mut hearing = hearing();
        for round in 0..20 {
            let heard = if round < 3 { vec![] } else { vec![named] };
            let probe = Probe { sequence: round, heard, ..probe() };
            if round != 5 {
                let bytes = probe.encode(0);
                hearing.on_datagram(millis(100 * round), Some(2), source(2), &bytes);
            }
            let padded = Probe { padded: true, ..probe }.encode(1200);
            hearing.on_datagram(millis(100 * round), Some(3), source(2), &padded);
        }
        hearing.on_datagram(millis(2000), None, source(2), &probe().encode(0));
        let peer = &hearing.peers[&u64::MAX];
        assert_eq!((peer.groups, peer.longest, peer.answers), (0b1100, 1200, 1));
        assert_eq!((peer.hears_us, peer.longest_of_us), (0b0101, 1000));
        assert_eq!(peer.lost_percent(), Some(5));
        assert!(peer.is_settled() && peer.has_reported());
        assert_eq!(hearing.listed(3), [Heard { doctor: u64::MAX, groups: 0b1100, longest: 1200 }]);
        assert_eq!(hearing.answer_addresses(), ["10.0.0.2:40000".parse().unwrap()]);
        // Itself.
        hearing.on_datagram(
            millis(0),
            Some(1),
            source(1),
            &Probe { doctor: OWN, ..probe() }.encode(0),
        );
        assert_eq!((hearing.own_groups, hearing.peers.len()), (0b10, 1));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_heard_and_forgotten(
            bytes in proptest::collection::vec(0_u8.., 0..200),
            mark in 0_usize..3,
        ) {
            let start: &[u8] = [b"".as_slice(), b"mpxd\x01", b"mpxs\x01"][mark];
            let datagram = [start, bytes.as_slice()].concat();
            let mut hearing = hearing();
            hearing.on_datagram(Time::ZERO, Some(0), source(1), &datagram);
            hearing.on_datagram(Time::ZERO, None, source(1), &datagram);
            proptest::prop_assert!(hearing.peers.is_empty());
        }
    }

    #[test]
    fn a_flood_of_names_is_bounded_and_every_doctor_is_listed_in_turn() {
        let mut hearing = hearing();
        for number in 1000..3000 {
            let doctor = Probe { doctor: number, ..probe() }.encode(0);
            hearing.on_datagram(Time::ZERO, Some(0), source(1), &doctor);
            let role = heartbeat("paxos", number as u32, 1);
            hearing.on_datagram(Time::ZERO, Some(0), source(1), &role);
            let again = heartbeat("paxos", 1000, number);
            hearing.on_datagram(Time::ZERO, Some(0), source(1), &again);
            let from = SocketAddr::from(([10, 1, (number / 250) as u8, (number % 250) as u8], 1));
            hearing.on_datagram(Time::ZERO, Some(0), from, b"garbage");
        }
        assert_eq!((hearing.peers.len(), hearing.nodes.len()), (PEERS_MAX, NODES_MAX));
        assert_eq!(hearing.strangers.len(), STRANGERS_MAX);
        assert!(hearing.nodes.values().all(|lives| lives.len() <= LIVES_MAX));
        let pages = PEERS_MAX.div_ceil(LISTED_MAX) as u64;
        let listed = (0..pages).flat_map(|round| hearing.listed(round)).count();
        assert_eq!(listed, PEERS_MAX);
    }
}
