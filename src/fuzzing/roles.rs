//! The roles, with any input in any order.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bytes::Bytes;
use super::judge::Judge;
use super::messages::{Said, longest_value, message, sender};
use super::wire::CLUSTER;
use crate::protocol::acceptor::Acceptor;
use crate::protocol::actor::{Actor, Effects, Input};
use crate::protocol::assembly::AssemblyLimits;
use crate::protocol::client::Client;
use crate::protocol::learner::{Beginning, Learner};
use crate::protocol::message::{Assignment, Interest, Kind, Message, StateKind};
use crate::protocol::proposer::{Proposer, ProposerOptions};
use crate::protocol::settings::Settings;
use crate::protocol::timer::Timer;
use crate::protocol::types::{
    AssignedBy, Ballot, Instance, LogTime, NodeId, Role, Sender, Session, Time, Value,
};
use crate::protocol::versions::Version;
use crate::wire::Codec;

/// More events than this find nothing new, and take long.
const EVENTS_MAX: usize = 400;

/// The boot number of the role.
pub(super) const BOOT: u64 = 1;

/// The role under test.
enum Subject {
    Client(Box<Client>),
    Proposer(Box<Proposer>),
    Acceptor(Box<Acceptor>),
    Learner(Box<Learner>),
}

impl Subject {
    fn actor(&mut self) -> &mut dyn Actor {
        match self {
            Subject::Client(client) => client.as_mut(),
            Subject::Proposer(proposer) => proposer.as_mut(),
            Subject::Acceptor(acceptor) => acceptor.as_mut(),
            Subject::Learner(learner) => learner.as_mut(),
        }
    }
}

/// One role and its driver.
struct World {
    subject: Subject,
    me: Sender,
    settings: Settings,
    now: Time,
    fx: Effects,
    timers: BTreeMap<Timer, Time>,
    /// As it was at the end of the last turn; none lets everything through, as happens while the
    /// interest changes.
    interest: Option<Interest>,
    said: Said,
    promised: Ballot,
    judge: Judge,
    /// How many reads a learner was asked for.
    reads: u64,
    ended: bool,
}

/// A learner that needs all of the log, or a snapshot.
fn keeper(learner: Learner) -> Learner {
    learner.beginning(Beginning::At(Instance::FIRST)).with_snapshots(StateKind::Digest)
}

/// The bytes: a role with its options, then events. No role panics on any message that decodes;
/// everything it sends fits a datagram and decodes; and it never does what it must never do (see
/// `judge`).
pub fn role_events(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let mut world = World::new(&mut bytes);
    let now = world.now;
    world.subject.actor().on_start(now, &mut world.fx);
    world.end_turn();
    for _ in 0..EVENTS_MAX {
        if bytes.is_empty() || world.ended {
            break;
        }
        world.step(&mut bytes);
        world.check();
    }
    if !world.ended {
        world.end_turn();
    }
    world.check_restart();
}

impl World {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let options = bytes.byte();
        let datagram_bytes = [256, 512, 1472, 1472][usize::from(bytes.below(4))];
        let settings = Settings {
            datagram_bytes,
            value_bytes: 3 * Settings::value_bytes_for(datagram_bytes),
            assembly: AssemblyLimits { count: 3, bytes: 150 },
            client_window: 8,
            leader_window: 8,
            window_bytes: 1024,
            request_queue: 16,
            instances_ahead: 1024,
            catch_up_bytes: 1024,
            hold_bytes: Some(4000),
            take_up_bytes: 2000,
            ..Settings::default()
        };
        let now = Time(1_000_000);
        let (role, id) = (Role::ALL[usize::from(options % 4)], 1 + u32::from(options >> 2 & 1));
        let me = Sender { node: NodeId::new(role, id), boot: BOOT };
        let bits = [3, 4, 5].map(|bit| options >> bit & 1 == 1);
        let [is_strict, no_timeouts, no_preexecution] = bits;
        let own = settings.clone();
        let subject = match role {
            Role::Client => {
                let session = Session { client: id, boot: BOOT };
                let assignment = if no_timeouts {
                    Assignment::Client { first: Instance(1 + u64::from(bytes.short())) }
                } else {
                    Assignment::Leader
                };
                Subject::Client(Box::new(Client::new(session, assignment, own)))
            }
            Role::Proposer => {
                let options = ProposerOptions { id, boot: BOOT, no_timeouts, no_preexecution };
                Subject::Proposer(Box::new(Proposer::new(options, own)))
            }
            Role::Acceptor => Subject::Acceptor(Box::new(Acceptor::new(id, BOOT, own))),
            Role::Learner => {
                let learner = Learner::new(id, BOOT, own, now);
                let keeps = id.is_multiple_of(2);
                let learner = if keeps { keeper(learner) } else { learner };
                Subject::Learner(Box::new(learner))
            }
        };
        World {
            subject,
            me,
            now,
            fx: Effects::new(),
            timers: BTreeMap::new(),
            interest: is_strict.then(|| Interest::of(&[])),
            said: Said::default(),
            promised: Ballot::ZERO,
            judge: Judge::new(me, Codec::new(CLUSTER, settings.acceptor_count, me, datagram_bytes)),
            reads: 0,
            ended: false,
            settings,
        }
    }

    /// One event.
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.below(16) {
            0..6 => {
                let kind = Kind::ALL[usize::from(bytes.byte()) % Kind::ALL.len()];
                let from = sender(bytes, kind);
                let message = message(bytes, from, kind, &self.said);
                self.hear(from, &message);
            }
            6..8 => self.hear_raw(bytes),
            8 | 9 => {
                let choice = bytes.byte();
                let acceptor = NodeId::new(Role::Acceptor, 1 + u32::from(choice % 4));
                if let Some(answer) = self.said.answer(choice >= 128) {
                    self.hear(Sender { node: acceptor, boot: 1 }, &answer);
                }
            }
            10 | 11 => self.pass(Duration::from_millis(u64::from(bytes.byte()))),
            12 => self.pass(Duration::from_millis(u64::from(bytes.short()))),
            13 => self.read_input(bytes),
            _ => self.end_turn(),
        }
    }

    /// The codec of a process that sends: every second one in the version of the release before.
    fn codec_of(&self, from: Sender) -> Codec {
        let Settings { acceptor_count, datagram_bytes, .. } = self.settings;
        let codec = Codec::new(CLUSTER, acceptor_count, from, datagram_bytes);
        codec.speak([Version::OLDEST, Version::NEWEST][from.node.id as usize % 2]);
        codec
    }

    /// A message, as it comes off the wire.
    fn hear(&mut self, from: Sender, message: &Message) {
        let codec = self.codec_of(from);
        let mut datagram = Vec::new();
        if codec.encode(message, &mut datagram).is_ok() {
            self.arrive(&codec, &datagram);
        }
    }

    /// A datagram of any body behind a header that is right.
    fn hear_raw(&mut self, bytes: &mut Bytes<'_>) {
        let kind = Kind::ALL[usize::from(bytes.byte()) % Kind::ALL.len()];
        let from = sender(bytes, kind);
        let codec = self.codec_of(from);
        let sample = message(&mut Bytes::new(&[]), from, kind, &Said::default());
        let mut datagram = Vec::new();
        if codec.encode(&sample, &mut datagram).is_ok() {
            let length = usize::from(bytes.byte());
            datagram.truncate(crate::wire::HEADER_BYTES);
            datagram.extend_from_slice(bytes.take(length));
            self.arrive(&codec, &datagram);
        }
    }

    fn arrive(&mut self, codec: &Codec, datagram: &[u8]) {
        let Ok((from, message)) = codec.decode(datagram) else { return };
        if self.interest.is_some_and(|interest| !interest.includes(message.kind())) {
            return;
        }
        self.judge.was_told_too_much |= longest_value(&message) > self.settings.part_bytes();
        self.subject.actor().on_message(self.now, from, message, &mut self.fx);
    }

    /// Time passes, and timers fire that are due, as in the role loop.
    fn pass(&mut self, length: Duration) {
        self.now = self.now + length;
        self.apply_timers();
        for _ in 0..Timer::ALL.len() {
            let due = self.timers.iter().find(|(_, deadline)| **deadline <= self.now);
            let Some(timer) = due.map(|(timer, _)| *timer) else { return };
            self.timers.remove(&timer);
            self.subject.actor().on_timer(self.now, timer, &mut self.fx);
            self.apply_timers();
        }
    }

    fn read_input(&mut self, bytes: &mut Bytes<'_>) {
        let choice = bytes.byte();
        if self.subject.actor().input_room() == 0 {
            return;
        }
        if let Subject::Learner(learner) = &mut self.subject {
            self.reads += 1;
            return learner.on_input(self.now, Input::Read(self.reads), &mut self.fx);
        }
        let input = match choice {
            0..240 => Input::Value(Value::new(bytes.take(usize::from(choice % 8)))),
            240..250 => {
                let assigned_by = match &self.subject {
                    Subject::Client(client) if client.parts_of(usize::MAX) == 1 => {
                        AssignedBy::Client
                    }
                    _ => AssignedBy::Leader,
                };
                Input::Value(Value::new(&vec![b'v'; self.settings.value_bytes(assigned_by)]))
            }
            _ => Input::End,
        };
        self.subject.actor().on_input(self.now, input, &mut self.fx);
    }

    fn apply_timers(&mut self) {
        for (timer, deadline) in self.fx.timers.drain(..) {
            match deadline {
                Some(deadline) => self.timers.insert(timer, deadline),
                None => self.timers.remove(&timer),
            };
        }
    }

    fn end_turn(&mut self) {
        let actor = self.subject.actor();
        actor.on_calendar(LogTime(1_800_000_000_000 + self.now.0 / 1000));
        actor.on_turn_end(self.now, &mut self.fx);
        self.ended = actor.is_finished() || self.fx.halt.is_some();
        self.interest = self.interest.map(|_| actor.interest());
        self.judge.speak(actor.version(self.now));
        self.judge.end_turn(&self.fx, self.now);
        for (_, message) in &self.fx.send {
            self.said.note(message);
        }
        self.apply_timers();
        self.fx.clear();
    }

    /// What must hold after each event.
    fn check(&mut self) {
        match &self.subject {
            Subject::Client(client) => {
                let tally = client.tally();
                assert!(tally.delivered + tally.lost <= tally.asked, "{tally:?}");
                assert!(client.input_room() <= self.settings.client_window);
            }
            Subject::Acceptor(acceptor) => {
                let promised = acceptor.promised();
                assert!(promised >= self.promised, "{promised} after {}", self.promised);
                self.promised = promised;
            }
            Subject::Proposer(_) | Subject::Learner(_) => {}
        }
    }

    /// An acceptor that comes back with its stored records has the same state as before.
    fn check_restart(&self) {
        let Subject::Acceptor(acceptor) = &self.subject else { return };
        let mut again = Acceptor::new(self.me.node.id, BOOT, self.settings.clone());
        self.judge.stored.iter().for_each(|record| again.restore(record.clone()));
        assert!(again.remembers_as(acceptor), "{again:?} after {acceptor:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A role, then an event for each kind of message, and the end of the turn.
    fn told_every_kind(role: u8) -> Vec<u8> {
        let mut told = vec![role, 2];
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            // What a message is made of: small numbers, of which each kind takes what it needs.
            let choice = |at: usize| 1 + ((at * 7 + place * 3) % 5) as u8;
            let choices: Vec<u8> = (0..200).map(choice).collect();
            let mut bytes = Bytes::new(&choices);
            let from = sender(&mut bytes, kind);
            let _ = message(&mut bytes, from, kind, &Said::default());
            told.extend([0, place as u8]);
            told.extend(&choices[..choices.len() - bytes.rest().len()]);
            told.push(15);
        }
        told
    }

    /// The fuzzer begins with every kind of message to each role. `REWRITE=1` writes the files
    /// anew, as after a new kind.
    #[test]
    fn the_corpus_tells_each_role_every_kind() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/role_events");
        for (place, role) in (0..).zip(Role::ALL) {
            let (path, told) = (folder.join(format!("{role}-every-kind")), told_every_kind(place));
            role_events(&told);
            if std::env::var_os("REWRITE").is_some() {
                fs::write(&path, &told).unwrap();
            }
            assert!(fs::read(&path).ok() == Some(told), "{path:?}: REWRITE=1 writes it");
        }
    }
}
