//! Joins the groups, sends probes for a while, and hears. The only part that opens sockets.
//!
//! It uses the sockets that roles use, so what works here works there. Traffic is bounded, and
//! without bursts that would overflow the buffer of a role: ten times a second a short probe to
//! each group and to each doctor heard, and a longer one to each group, and three times a second a
//! question to the acceptors.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use super::facts::{Facts, PLACES, Unsent, Why};
use super::hearing::{DOCTOR_ID, Hearing, bit};
use super::probe::Probe;
use crate::auth::key::KeyRing;
use crate::auth::seal::Seal;
use crate::clock::Clock;
use crate::config::Config;
use crate::net::interface::Interface;
use crate::net::multicast::{MulticastReceiver, MulticastSender, Options};
use crate::net::{DatagramReceiver, DatagramSender, Group, UDP_PAYLOAD_MAX};
use crate::protocol::message::{Message, Prepare};
use crate::protocol::types::{Ballot, Instance, NodeId, Role, Sender, Time};
use crate::wire::{self, Codec};

/// How often probes are sent.
const ROUND: Duration = Duration::from_millis(100);

/// How many rounds pass between two questions to the acceptors.
const QUESTION_EVERY: u64 = 3;

/// Lengths that are tried beside the configured one: what remains of common MTUs, in bytes.
const LENGTHS: [usize; 9] = [32_768, 8972, 4068, 1472, 1444, 1412, 1372, 1172, 972];

/// After a failure to receive, so that one that stays does not burn a core.
const PAUSE: Duration = Duration::from_millis(10);

/// A survey that is about to begin.
pub struct Survey<'a> {
    /// What is configured.
    pub config: &'a Config,
    /// The key, if the configuration names one.
    pub ring: Option<&'a KeyRing>,
    /// This doctor's number.
    pub doctor: u64,
    /// How long to send and hear.
    pub duration: Duration,
    /// Other interfaces of this host to listen on: an address of each.
    pub elsewhere: Vec<(IpAddr, Interface)>,
    /// The configured interface.
    pub interface: Interface,
    /// The time.
    pub clock: Clock,
}

/// Where a datagram came.
#[derive(Clone, Copy)]
enum Ear {
    /// On the group at this place.
    Group(u8),
    /// To this doctor alone.
    Answers,
    /// On a group, on another interface.
    Elsewhere(IpAddr),
}

/// The sockets: one for each group that could be joined, one to send, one for answers.
struct Sockets {
    groups: Vec<(u8, MulticastReceiver)>,
    elsewhere: Vec<(IpAddr, MulticastReceiver)>,
    sender: MulticastSender,
    answers: UdpSocket,
}

impl Survey<'_> {
    /// Sends and hears; notes in `facts` what went wrong on this host. None when nothing could be
    /// sent.
    pub fn run(&self, facts: &mut Facts) -> Option<Hearing> {
        let sockets = self.open(facts)?;
        let Survey { config, doctor, clock, .. } = self;
        let (doctor, clock) = (*doctor, *clock);
        let sender = Sender { node: NodeId::new(Role::Proposer, DOCTOR_ID), boot: doctor };
        let codec = Codec::new(
            &config.cluster,
            facts.settings.acceptor_count,
            sender,
            facts.settings.datagram_bytes,
        );
        let codec = if self.ring.is_some() { codec.sealed() } else { codec };
        let own = facts.settings.cluster.clone();
        let hearing = Mutex::new(Hearing::new(doctor, codec.clone(), &own, clock.now()));
        let is_over = AtomicBool::new(false);
        let outcome = thread::scope(|scope| {
            let groups = sockets.groups.iter();
            let groups = groups.map(|(place, socket)| (Ear::Group(*place), socket.handle()));
            let elsewhere = sockets.elsewhere.iter();
            let elsewhere = elsewhere.map(|(at, socket)| (Ear::Elsewhere(*at), socket.handle()));
            let answers = [(Ear::Answers, sockets.answers.try_clone())];
            let handles = groups.chain(elsewhere).chain(answers);
            let mut threads: Vec<ScopedJoinHandle<'_, ()>> = Vec::new();
            for (ear, handle) in handles {
                let (hearing, is_over) = (&hearing, &is_over);
                let spawned = handle.and_then(|socket| {
                    thread::Builder::new().spawn_scoped(scope, move || {
                        hear(&socket, is_over, |source, datagram| {
                            let (mut hearing, now) = (hearing.lock(), clock.now());
                            ear.take(&mut hearing, now, source, datagram);
                        });
                    })
                });
                match spawned {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        is_over.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
            self.probe(&sockets, &codec, &hearing, facts);
            is_over.store(true, Ordering::Relaxed);
            Ok(())
        });
        if let Err(error) = outcome {
            let what = format!("the system gives no thread: {error}");
            facts.failures.push((what, "look at its limits (`ulimit -u`)"));
        }
        facts.missed = sockets.groups.iter().map(|(_, receiver)| receiver.dropped()).sum();
        Some(hearing.into_inner())
    }

    /// Opens what can be opened.
    fn open(&self, facts: &mut Facts) -> Option<Sockets> {
        let config = self.config;
        let options = Options {
            interface: self.interface,
            ttl: config.ttl,
            buffer_bytes: config.socket_buffer_bytes,
        };
        let mut groups = Vec::new();
        let mut family = None;
        for (place, role) in (0..).zip(PLACES) {
            let Group::Multicast(group) = *config.groups.of(role) else { continue };
            family = family.or(Some(group.is_ipv4()));
            match MulticastReceiver::join(group, options) {
                Ok(receiver) => {
                    facts.joined |= bit(place);
                    facts.buffer_bytes = receiver.buffer_bytes().ok().or(facts.buffer_bytes);
                    groups.push((place, receiver));
                }
                Err(error) => facts.failures.push((error.what(), error.cure())),
            }
        }
        let mut elsewhere = Vec::new();
        for (address, interface) in &self.elsewhere {
            let options = Options { interface: *interface, ..options };
            for role in PLACES {
                let Group::Multicast(group) = *config.groups.of(role) else { continue };
                // One that carries no multicast is not the one to choose.
                if let Ok(receiver) = MulticastReceiver::join(group, options) {
                    elsewhere.push((*address, receiver));
                }
            }
        }
        let any: IpAddr = match family {
            Some(false) => Ipv6Addr::UNSPECIFIED.into(),
            Some(true) | None => Ipv4Addr::UNSPECIFIED.into(),
        };
        let answers = UdpSocket::bind((any, 0)).and_then(|socket| {
            // As long as a receiver waits.
            socket.set_read_timeout(Some(ROUND))?;
            Ok(socket)
        });
        let sender = MulticastSender::open(&config.groups, options);
        match (sender, answers) {
            (Ok(sender), Ok(answers)) => Some(Sockets { groups, elsewhere, sender, answers }),
            (sender, answers) => {
                facts.failures.extend(sender.err().map(|error| (error.what(), error.cure())));
                facts.failures.extend(answers.err().map(|error| {
                    (format!("cannot listen for answers: {error}"), "look at the system's limits")
                }));
                None
            }
        }
    }

    /// Sends rounds of probes until the time is over.
    fn probe(&self, sockets: &Sockets, codec: &Codec, hearing: &Mutex<Hearing>, facts: &mut Facts) {
        let mut question = question(codec);
        if let Some(ring) = self.ring {
            // Acceptors do not act on it, because this doctor has proven nothing to them: they ask
            // who it is, and that is an answer as well.
            let seal = Seal::new(ring, &self.config.cluster, self.doctor);
            seal.seal(Role::Acceptor, &mut question);
        }
        let start = self.clock.now();
        for round in 0.. {
            let (heard, addresses) = {
                let hearing = hearing.lock();
                (hearing.listed(round), hearing.answer_addresses())
            };
            let mut probe = Probe { heard, sequence: round, ..self.blank(sockets, facts) };
            for (place, role) in (0..).zip(PLACES) {
                // Probes to a list would reach roles, and no doctor.
                if facts.settings.multicast & bit(place) == 0 {
                    continue;
                }
                probe.group = Some(place);
                probe.padded = false;
                let mut send = |datagram: &[u8]| {
                    let sent = sockets.sender.send(role, datagram.into());
                    note(&mut facts.unsent[usize::from(place)], sent, datagram.len());
                };
                let short = probe.encode(0);
                send(&short);
                if let Some(bytes) = length(facts.settings.datagram_bytes, short.len(), round) {
                    probe.padded = true;
                    send(&probe.encode(bytes));
                }
                if role == Role::Acceptor && round.is_multiple_of(QUESTION_EVERY) {
                    send(&question);
                }
            }
            (probe.group, probe.padded) = (None, false);
            let answer = probe.encode(0);
            for address in addresses {
                // A doctor that has ended, or a host without a route: its own doctor says so.
                let _ = sockets.answers.send_to(&answer, address);
            }
            if self.clock.now() >= start + self.duration {
                return;
            }
            thread::sleep(ROUND);
        }
    }

    /// A probe that says who this doctor is, and nothing else.
    fn blank(&self, sockets: &Sockets, facts: &Facts) -> Probe {
        let settings = &facts.settings;
        Probe {
            doctor: self.doctor,
            host: host_name(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            wire_version: wire::VERSION,
            cluster: settings.cluster.clone(),
            groups: settings.groups_text(),
            ttl: settings.ttl,
            acceptor_count: settings.acceptor_count,
            datagram_bytes: settings.datagram_bytes,
            key: settings.key,
            answer_port: sockets.answers.local_addr().map_or(0, |address| address.port()),
            sequence: 0,
            group: None,
            padded: false,
            heard: Vec::new(),
        }
    }
}

/// The length to try in this round, above that of a bare probe: the configured one every other
/// time, and shorter ones in turn.
fn length(datagram_bytes: usize, bare: usize, round: u64) -> Option<usize> {
    let is_usable = |length: &&usize| **length < datagram_bytes && **length > bare;
    let shorter = || LENGTHS.iter().filter(is_usable);
    let count = shorter().count();
    if round.is_multiple_of(2) || count == 0 {
        return (datagram_bytes > bare).then_some(datagram_bytes);
    }
    shorter().nth((round / 2) as usize % count).copied()
}

/// A question that an acceptor answers and forgets: a Prepare of the ballot below all others, about
/// instances that nobody uses. An acceptor that has promised anything refuses it; any other
/// promises what every acceptor has promised from the start. Nothing is stored. Proposers drop the
/// answer, because nobody's ballot is that one.
pub fn question(codec: &Codec) -> Vec<u8> {
    let prepare = Prepare {
        ballot: Ballot::ZERO,
        from: Instance(u64::MAX - 2),
        until: Some(Instance(u64::MAX - 1)),
        acceptor: None,
    };
    let mut datagram = Vec::new();
    // It is far shorter than the shortest limit there can be.
    let _ = codec.encode(&Message::Prepare(prepare), &mut datagram);
    datagram
}

/// Notes that a datagram did not leave. Of several failures the one of the shortest stays: what
/// fails for all is worse than what fails for long ones.
fn note(unsent: &mut Option<Unsent>, sent: io::Result<()>, bytes: usize) {
    let Err(error) = sent else { return };
    /// Linux: a datagram is too long.
    const EMSGSIZE: i32 = 90;
    let why = match error.kind() {
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown => Why::NoRoute,
        io::ErrorKind::PermissionDenied => Why::Forbidden,
        // A full queue of the interface passes by itself.
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => return,
        _ if error.raw_os_error() == Some(EMSGSIZE) => Why::TooLong,
        _ => Why::Other,
    };
    if unsent.as_ref().is_none_or(|known| bytes < known.bytes) {
        *unsent = Some(Unsent { why, text: error.to_string(), bytes });
    }
}

impl Ear {
    /// A datagram came there.
    fn take(self, hearing: &mut Hearing, now: Time, source: SocketAddr, datagram: &[u8]) {
        match self {
            Ear::Group(place) => hearing.on_datagram(now, Some(place), source, datagram),
            Ear::Answers => hearing.on_datagram(now, None, source, datagram),
            Ear::Elsewhere(interface) => hearing.on_elsewhere(interface, source.ip(), datagram),
        }
    }
}

/// A thread: hands over the datagrams of one socket until the survey is over.
pub fn hear(socket: &UdpSocket, is_over: &AtomicBool, mut take: impl FnMut(SocketAddr, &[u8])) {
    let mut buffer = vec![0; UDP_PAYLOAD_MAX + 1];
    while !is_over.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer) {
            Ok((length, source)) => take(source, &buffer[..length]),
            Err(error) => {
                use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
                if !matches!(error.kind(), WouldBlock | TimedOut | Interrupted) {
                    thread::sleep(PAUSE);
                }
            }
        }
    }
}

/// The name of this host.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().take(64).collect();
    if name.is_empty() { "without a name".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::acceptor::Acceptor;
    use crate::protocol::actor::{Actor, Effects, Record};
    use crate::protocol::proposer::{Proposer, ProposerOptions};
    use crate::protocol::settings::Settings;

    fn codec(role: Role, id: u32) -> Codec {
        Codec::new("paxos", 3, Sender { node: NodeId::new(role, id), boot: 1 }, 1472)
    }

    /// What `acceptor` answers to the question, after a check that it is the same as before.
    fn ask(acceptor: &mut Acceptor) -> Vec<Message> {
        let codec = codec(Role::Proposer, DOCTOR_ID);
        let (sender, message) = codec.decode(&question(&codec)).unwrap();
        let (before, mut fx) = (acceptor.clone(), Effects::default());
        acceptor.on_message(Time::ZERO, sender, message, &mut fx);
        acceptor.on_turn_end(Time::ZERO, &mut fx);
        assert_eq!(*acceptor, before, "it is changed by the question");
        assert!(fx.persist.is_empty() && fx.halt.is_none());
        fx.send.into_iter().map(|(_, message)| message).collect()
    }

    #[test]
    fn an_acceptor_answers_the_question_and_is_the_same_as_before() {
        let mut acceptor = Acceptor::new(1, 5, Settings::default());
        let mut answers = ask(&mut acceptor);
        acceptor.restore(Record::Promised(Ballot { round: 3, proposer: 1, boot: 9 }));
        answers.extend(ask(&mut acceptor));
        assert!(matches!(&answers[..], [Message::Promise(_), Message::Nack(_)]), "{answers:?}");
        // And no proposer does anything about it, whether it stands by, campaigns or leads.
        let options =
            ProposerOptions { id: 1, boot: 1, no_timeouts: false, no_preexecution: false };
        let mut proposer = Proposer::new(options, Settings::default());
        let from = |id| Sender { node: NodeId::new(Role::Acceptor, id), boot: 5 };
        let hear = |proposer: &mut Proposer, answers: &[Message]| {
            for answer in answers {
                let mut fx = Effects::default();
                proposer.on_message(Time::ZERO, from(1), answer.clone(), &mut fx);
                assert!(fx.send.is_empty() && fx.persist.is_empty(), "{fx:?}");
            }
        };
        // It learns which incarnation the acceptor has, as from every other message.
        hear(&mut proposer, &answers);
        let before = proposer.clone();
        hear(&mut proposer, &answers);
        assert_eq!(proposer, before);
    }

    #[test]
    fn the_configured_length_is_tried_most_and_every_shorter_one_in_turn() {
        let of = |bytes, bare| (0..8).filter_map(|r| length(bytes, bare, r)).collect::<Vec<_>>();
        assert_eq!(of(1472, 400), [1472, 1444, 1472, 1412, 1472, 1372, 1472, 1172]);
        assert_eq!(of(1172, 1000), [1172; 8]);
        assert!(of(256, 400).is_empty());
        assert_eq!(of(65_507, 1200)[..4], [65_507, 32_768, 65_507, 8972]);
    }

    #[test]
    fn the_failure_of_the_shortest_datagram_stays() {
        let mut unsent = None;
        note(&mut unsent, Err(io::Error::from_raw_os_error(90)), 1472);
        assert_eq!(unsent.as_ref().map(|unsent| unsent.why), Some(Why::TooLong));
        note(&mut unsent, Err(io::Error::from_raw_os_error(101)), 400);
        note(&mut unsent, Err(io::Error::from_raw_os_error(1)), 1472);
        note(&mut unsent, Ok(()), 0);
        assert_eq!(unsent.map(|unsent| (unsent.why, unsent.bytes)), Some((Why::NoRoute, 400)));
    }
}
