//! The handshake: which sessions have proven to be alive, and which questions and answers to send.
//! The rules of `auth`, pure.
//!
//! Everything that comes here carries a good tag. It may still be a recording, so nothing of it is
//! believed before its session is admitted, and nothing in here grows without a bound. The rate of
//! hellos is bounded as well: an attacker who replays recordings must not make a cluster send
//! nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::hello::{Answer, Hello};
use super::seal::Opened;
use super::window::Window;
use crate::protocol::types::{NodeId, Role, Time};

/// How many sessions are known at a time; the one that was silent for longest is forgotten first.
pub const SESSIONS_MAX: usize = 1024;
/// How many nodes are being asked at a time.
const ASKED_MAX: usize = 1024;
/// How many answers may wait to be sent.
const ANSWERS_MAX: usize = 256;
/// How soon a node that sends without having proven itself is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// The same for a node of which another session is known: most likely this is a recording.
const ASK_KNOWN_AGAIN: Duration = Duration::from_millis(100);
/// How often a hello leaves for a group, in the long run, ...
const HELLO_INTERVAL: Duration = Duration::from_millis(5);
/// ... and how many may leave at once.
const HELLO_BURST: u32 = 8;

/// The state of the handshakes with the other processes.
#[derive(Debug)]
pub struct Door {
    me: NodeId,
    session: u64,
    known: BTreeMap<(NodeId, u64), Known>,
    /// Counts the datagrams taken: a clock for finding the longest silence.
    taken: u64,
    /// Only answers to questions after this one count: all forgotten sessions were forgotten before
    /// it.
    asked_after: u64,
    /// When each node was asked last.
    asked: BTreeMap<NodeId, Time>,
    /// The nodes to ask.
    asks: BTreeSet<NodeId>,
    /// The nodes and sessions that asked, each with the sequence number of its last question.
    answers: BTreeMap<(NodeId, u64), u64>,
    budgets: BTreeMap<Role, Budget>,
}

/// A session that was admitted.
#[derive(Debug)]
struct Known {
    window: Window,
    /// [`Door::taken`] when it was last heard.
    heard: u64,
}

/// The fate of a datagram with a good tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is new, and from an admitted session.
    Taken,
    /// It was taken before, or is too old to tell.
    Replayed,
    /// Its session has not proven to be alive.
    Unproven,
}

/// Whether processes of these two roles ever send to each other.
pub fn talks(one: Role, other: Role) -> bool {
    match (one, other) {
        (Role::Proposer, _) | (_, Role::Proposer) | (Role::Learner, Role::Learner) => true,
        (Role::Client | Role::Acceptor | Role::Learner, Role::Client | Role::Acceptor)
        | (Role::Client | Role::Acceptor, Role::Learner) => false,
    }
}

impl Door {
    /// The door of process `me` with this `session`; it knows no peer.
    pub fn new(me: NodeId, session: u64) -> Self {
        Door {
            me,
            session,
            known: BTreeMap::new(),
            taken: 0,
            asked_after: 0,
            asked: BTreeMap::new(),
            asks: BTreeSet::new(),
            answers: BTreeMap::new(),
            budgets: BTreeMap::new(),
        }
    }

    /// A message of `from`.
    pub fn on_message(&mut self, now: Time, from: NodeId, opened: Opened) -> Heard {
        let Opened { session, sequence, .. } = opened;
        let heard = self.take(from, session, sequence);
        if heard == Heard::Unproven {
            self.ask(now, from);
        }
        heard
    }

    /// A hello of `from`. `sealed` is the sequence number of the last datagram that this process
    /// has sealed.
    pub fn on_hello(
        &mut self,
        now: Time,
        from: NodeId,
        opened: Opened,
        hello: &Hello,
        sealed: u64,
    ) -> Heard {
        let Opened { session, sequence, .. } = opened;
        let mut heard = self.take(from, session, sequence);
        if heard == Heard::Replayed {
            return heard;
        }
        let proves = |answer: &Answer| {
            answer.to == self.me
                && answer.session == self.session
                && answer.sequence > self.asked_after
                && answer.sequence <= sealed
        };
        if heard == Heard::Unproven && hello.answers.iter().any(proves) {
            self.admit(from, session, sequence, sealed);
            heard = Heard::Taken;
        }
        if hello.asks.contains(&self.me) {
            self.note_question(from, session, sequence, heard == Heard::Taken);
        }
        if heard == Heard::Unproven && talks(self.me.role, from.role) {
            self.ask(now, from);
        }
        heard
    }

    /// The next hello, in at most `bytes` of a body, and the group it goes to; none when there is
    /// nothing to say, or when the rate is used up. Call it until it returns none.
    pub fn next_hello(&mut self, now: Time, bytes: usize) -> Option<(Role, Hello)> {
        if !self.has_to_say() {
            return None;
        }
        Role::ALL.into_iter().find_map(|role| {
            let answers = self.answers.keys().filter(|(node, _)| node.role == role).count();
            let asks = self.asks.iter().filter(|node| node.role == role).count();
            if answers + asks == 0 || !self.budget(role).allows(now) {
                return None;
            }
            let (most_answers, most_asks) = Hello::room(bytes, answers);
            let mut hello = Hello::default();
            self.answers.retain(|&(to, session), &mut sequence| {
                let is_said = to.role == role && hello.answers.len() < most_answers;
                if is_said {
                    hello.answers.push(Answer { to, session, sequence });
                }
                !is_said
            });
            self.asks.retain(|node| {
                let is_said = node.role == role && hello.asks.len() < most_asks;
                if is_said {
                    hello.asks.push(*node);
                }
                !is_said
            });
            Some((role, hello))
        })
    }

    /// Whether any question or answer waits.
    pub fn has_to_say(&self) -> bool {
        !self.asks.is_empty() || !self.answers.is_empty()
    }

    /// How many sessions are known.
    pub fn known(&self) -> usize {
        self.known.len()
    }

    fn take(&mut self, from: NodeId, session: u64, sequence: u64) -> Heard {
        let Some(known) = self.known.get_mut(&(from, session)) else { return Heard::Unproven };
        if !known.window.take(sequence) {
            return Heard::Replayed;
        }
        self.taken += 1;
        known.heard = self.taken;
        Heard::Taken
    }

    /// Admits a session, which has sealed `sequence` datagrams by now.
    fn admit(&mut self, from: NodeId, session: u64, sequence: u64, sealed: u64) {
        if self.known.len() >= SESSIONS_MAX {
            let silent = self.known.iter().min_by_key(|(_, known)| known.heard);
            if let Some(key) = silent.map(|(key, _)| *key) {
                self.known.remove(&key);
                // An earlier answer of it would admit it together with datagrams that were taken
                // already.
                self.asked_after = sealed;
            }
        }
        self.taken += 1;
        let known = Known { window: Window::above(sequence), heard: self.taken };
        let before = self.known.insert((from, session), known);
        assert!(before.is_none(), "a session is admitted once");
        self.asks.remove(&from);
        self.asked.remove(&from);
    }

    fn budget(&mut self, group: Role) -> &mut Budget {
        self.budgets.entry(group).or_insert(Budget { paid: Time::ZERO })
    }

    /// Asks a node to prove itself, unless it was asked a moment ago.
    fn ask(&mut self, now: Time, node: NodeId) {
        let is_known = self.known.range((node, 0)..=(node, u64::MAX)).next().is_some();
        let patience = if is_known { ASK_KNOWN_AGAIN } else { ASK_AGAIN };
        if self.asked.get(&node).is_some_and(|asked| now.since(*asked) < patience) {
            return;
        }
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_first();
        }
        if self.asks.len() >= ASKED_MAX {
            self.asks.pop_first();
        }
        self.asked.insert(node, now);
        self.asks.insert(node);
    }

    /// A process asks this one to prove itself. An unknown asker may be one of many recordings, and
    /// these must not crowd out the question of a known one.
    fn note_question(&mut self, from: NodeId, session: u64, sequence: u64, is_known: bool) {
        let key = (from, session);
        if self.answers.len() >= ANSWERS_MAX && !self.answers.contains_key(&key) {
            if !is_known {
                return;
            }
            self.answers.pop_first();
        }
        let last = self.answers.entry(key).or_insert(sequence);
        *last = sequence.max(*last);
    }
}

/// Allows a burst, and then one in an interval.
#[derive(Debug)]
struct Budget {
    /// When everything that was allowed is paid for.
    paid: Time,
}

impl Budget {
    fn allows(&mut self, now: Time) -> bool {
        let paid = self.paid.max(now);
        if paid.since(now) >= HELLO_INTERVAL * HELLO_BURST {
            return false;
        }
        self.paid = paid + HELLO_INTERVAL;
        true
    }
}

#[cfg(test)]
mod tests;
