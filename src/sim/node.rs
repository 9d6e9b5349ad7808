//! One simulated process: a role, its stored data, its inbox, its timers, and its clock.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::disk::SimDisk;
use super::fault::Boundary;
use super::habits::Operated;
use super::keeping::{Kept, content};
use super::record::{Belief, Fate, PassageId};
use super::trace::{Detail, Trace};
use crate::protocol::actor::{Actor, Effects, Input};
use crate::protocol::checkpoint::{Checkpoint, Head};
use crate::protocol::parts::{Acceptor, Client, Learner, Proposer};
use crate::protocol::recall::{self, Reading};
use crate::protocol::settings::Settings;
use crate::protocol::timer::Timer;
use crate::protocol::transfer::{Errand, Outcome};
use crate::protocol::types::{LogTime, Sender, Time, Value};
use crate::rng::Rng;
use crate::snapshots::keeper::Shop;
use crate::storage::AcceptorStore;
use crate::storage::disk::is_full;
use crate::storage::log::Log;
use crate::wire::Codec;

/// How many datagrams wait for a node, at most: about what a default socket buffer holds.
const INBOX_DATAGRAMS: usize = 166;

/// How many events one turn takes.
const TURN_EVENTS: usize = 256;

/// A role of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyRole {
    /// A client.
    Client(Box<Client>),
    /// A proposer.
    Proposer(Box<Proposer>),
    /// An acceptor.
    Acceptor(Box<Acceptor>),
    /// A learner.
    Learner(Box<Learner>),
}

impl AnyRole {
    /// What all roles have in common.
    pub fn actor(&mut self) -> &mut dyn Actor {
        match self {
            AnyRole::Client(client) => client.as_mut(),
            AnyRole::Proposer(proposer) => proposer.as_mut(),
            AnyRole::Acceptor(acceptor) => acceptor.as_mut(),
            AnyRole::Learner(learner) => learner.as_mut(),
        }
    }
}

impl AnyRole {
    /// What it believes at this time of its clock, for the record.
    pub fn belief(&self, local: Time) -> Belief {
        match self {
            AnyRole::Client(client) => {
                Belief::Client { leader: client.leader(), tally: client.tally() }
            }
            AnyRole::Proposer(proposer) => Belief::Proposer {
                standing: proposer.standing(local),
                ballot: proposer.ballot(),
                progress: proposer.log().progress(),
            },
            AnyRole::Acceptor(acceptor) => Belief::Acceptor { promised: acceptor.promised() },
            AnyRole::Learner(learner) => {
                let (leads, progress) = (learner.is_leading(), learner.log().progress());
                Belief::Learner { leads, progress }
            }
        }
    }
}

/// A monotonic clock that may run fast or slow, and jump ahead; and the host's calendar.
#[derive(Clone, Copy, Debug)]
pub struct HostClock {
    set_at: Time,
    shown: Time,
    permille: u64,
    /// What the calendar says.
    pub calendar: Calendar,
}

/// What the calendar of a host says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calendar {
    /// Hosts differ by seconds, and their clocks are set back and ahead now and then.
    #[default]
    Careless,
    /// Ahead of the true time by this much.
    Ahead(Duration),
}

impl Default for HostClock {
    fn default() -> Self {
        let calendar = Calendar::default();
        HostClock { set_at: Time::ZERO, shown: Time::ZERO, permille: 1000, calendar }
    }
}

impl HostClock {
    /// What it shows.
    pub fn shows(&self, now: Time) -> Time {
        Time(self.shown.0 + (now.0 - self.set_at.0) * self.permille / 1000)
    }

    /// When it will show `local`.
    pub fn when(&self, local: Time) -> Time {
        let ahead = local.0.saturating_sub(self.shown.0);
        Time(self.set_at.0 + (ahead * 1000).div_ceil(self.permille))
    }

    /// From now on it runs at this many thousandths of its true speed.
    pub fn set_rate(&mut self, now: Time, permille: u64) {
        let (shown, permille) = (self.shows(now), permille.max(1));
        *self = HostClock { set_at: now, shown, permille, ..*self };
    }

    /// It jumps ahead.
    pub fn jump(&mut self, now: Time, length: Duration) {
        let shown = self.shows(now) + length;
        *self = HostClock { set_at: now, shown, ..*self };
    }
}

impl Calendar {
    /// The time that a process reads.
    fn shows(self, sender: Sender, now: Time) -> LogTime {
        const START: u64 = 1_800_000_000_000;
        const APART: u64 = 5_000;
        let truth = START + now.0 / 1000;
        LogTime(match self {
            Calendar::Careless => truth + Rng::new(sender.boot ^ (now.0 >> 18)).below(APART),
            Calendar::Ahead(much) => truth + much.as_millis() as u64,
        })
    }
}

/// What outlives a process: its host's disk and clock, and what operators did to it.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The disk.
    pub disk: SimDisk,
    /// The clock.
    pub clock: HostClock,
    /// What operators have done to it.
    pub operated: Operated,
    /// How long a sync of an acceptor's disk takes, and an errand at a learner's.
    pub sync: Duration,
    /// The snapshots of a learner there.
    pub kept: Kept,
}

/// How often a learner gets reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOften {
    /// How many times.
    pub count: u64,
    /// How long after each other.
    pub pause: Duration,
}

impl ReadOften {
    /// The remaining reads once the faults have ended: soon it must be quiet.
    pub fn a_few_more(self) -> Self {
        let (count, pause) = (self.count.min(5), self.pause.min(Duration::from_millis(20)));
        ReadOften { count, pause }
    }
}

/// One process.
#[derive(Debug)]
pub struct Node {
    /// Who it is.
    pub sender: Sender,
    /// Its role.
    pub role: AnyRole,
    /// Its datagrams.
    pub codec: Codec,
    /// An acceptor's log.
    pub log: Option<Log<SimDisk>>,
    /// Readings of the log that are under way, and when each is done.
    pub readings: VecDeque<(Time, Reading)>,
    /// Standard input of a client, and when each value is typed.
    pub input: VecDeque<(Time, Value)>,
    /// Whether a client's input ends behind that.
    pub input_ends: bool,
    /// The reads that a learner still gets.
    pub reads: Option<ReadOften>,
    /// How many reads have begun, and when the next does.
    begun: (u64, Time),
    /// Whether it is running.
    pub is_up: bool,
    /// Where it will die.
    pub doom: Option<Boundary>,
    /// It sleeps until then.
    pub paused_until: Time,
    /// It waits for its disk, and sends afterwards.
    pub is_syncing: bool,
    /// When its next turn is, if it has one coming.
    pub turn: Option<Time>,
    /// The effects of its last turn.
    pub fx: Effects,
    /// A snapshot that a learner is writing, and when it will be stable.
    pub writing: Option<(Time, Arc<Checkpoint>)>,
    /// The files of a learner's snapshots.
    pub shop: Option<Shop<SimDisk>>,
    /// The errands on them, and when each is done.
    pub errands: VecDeque<(Time, Errand)>,
    /// The head of a snapshot that has become stable.
    stable: Option<Head>,
    /// By its own clock.
    timers: BTreeMap<Timer, Time>,
    inbox: VecDeque<(Rc<[u8]>, PassageId)>,
}

impl Node {
    /// A process that has just started.
    pub fn new(sender: Sender, role: AnyRole, codec: Codec, now: Time) -> Self {
        Node {
            sender,
            role,
            codec,
            log: None,
            readings: VecDeque::new(),
            input: VecDeque::new(),
            input_ends: false,
            reads: None,
            begun: (0, now),
            is_up: true,
            doom: None,
            paused_until: now,
            is_syncing: false,
            turn: None,
            fx: Effects::new(),
            writing: None,
            shop: None,
            errands: VecDeque::new(),
            stable: None,
            timers: BTreeMap::new(),
            inbox: VecDeque::new(),
        }
    }

    /// A datagram reaches its socket, and waits in the inbox then.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn receive(&mut self, datagram: Rc<[u8]>, copy: PassageId) -> Result<(), Fate> {
        let header = self.codec.header(&datagram).map_err(|_| Fate::OfNoUse)?;
        let is_of_use = self.role.actor().interest().includes(header.kind);
        if self.codec.is_own(header.sender) || !is_of_use {
            return Err(Fate::OfNoUse);
        }
        if self.inbox.len() >= INBOX_DATAGRAMS {
            return Err(Fate::InboxFull);
        }
        self.inbox.push_back((datagram, copy));
        Ok(())
    }

    /// What waits in its inbox.
    pub fn waiting(&self) -> impl Iterator<Item = PassageId> {
        self.inbox.iter().map(|(_, copy)| *copy)
    }

    /// One turn of its loop: inbox, input, timers, end. The effects wait in `fx`.
    pub fn run_turn(
        &mut self,
        now: Time,
        clock: &HostClock,
        settings: &Settings,
        trace: &mut Trace,
    ) {
        let me = self.sender.node;
        let local = clock.shows(now);
        let actor = self.role.actor();
        for _ in 0..TURN_EVENTS {
            let Some((datagram, copy)) = self.inbox.pop_front() else { break };
            let Ok((from, message)) = self.codec.decode(&datagram) else { continue };
            let detail = Detail::of_kind(message.kind());
            trace.tell(detail, now, format_args!("  {me} <- {} {message}", from.node));
            trace.record(|record| record.read(now, copy, from.node, &message));
            actor.on_message(local, from, message, &mut self.fx);
        }
        while actor.input_room() > 0 {
            if self.input.front().is_none_or(|(typed, _)| *typed > now) {
                break;
            }
            let Some((_, value)) = self.input.pop_front() else { break };
            actor.on_input(local, Input::Value(value), &mut self.fx);
        }
        if self.input.is_empty() && std::mem::take(&mut self.input_ends) {
            actor.on_input(local, Input::End, &mut self.fx);
        }
        if let Some(shop) = &mut self.shop {
            if let Some((_, checkpoint)) = self.writing.take_if(|(stable, _)| *stable <= now) {
                let head = checkpoint.head;
                if shop.put(&checkpoint, |out| out.write_all(&content(head.of))).is_ok() {
                    actor.on_input(local, Input::Kept(head), &mut self.fx);
                    self.stable = Some(head);
                }
            }
            while self.errands.front().is_some_and(|(done, _)| *done <= now) {
                let errand = self.errands.pop_front().map(|(_, errand)| shop.run(errand, settings));
                let Some(Ok(Some(outcome))) = errand else { continue };
                if let Outcome::Fetched { checkpoint, .. } = &outcome {
                    self.stable = Some(checkpoint.head);
                }
                actor.on_input(local, Input::Done(outcome), &mut self.fx);
            }
        }
        let due = self.timers.iter().filter(|(_, time)| **time <= local);
        for timer in due.map(|(timer, _)| *timer).collect::<Vec<_>>() {
            self.timers.remove(&timer);
            trace.tell(Detail::of_timer(timer), now, format_args!("  {me} {timer:?} is due"));
            trace.mix(timer as u64);
            actor.on_timer(local, timer, &mut self.fx);
        }
        actor.on_calendar(clock.calendar.shows(self.sender, now));
        if let Some(log) = &mut self.log {
            actor.on_room(log.room());
        }
        actor.on_turn_end(local, &mut self.fx);
        self.codec.speak(actor.version(local));
    }

    /// Begins the next read, if it is due, and returns its number.
    pub fn begin_read(&mut self, now: Time, clock: &HostClock) -> Option<u64> {
        let due = self.next_read().is_some_and(|time| time <= now);
        let reads = self.reads.as_mut().filter(|_| due)?;
        reads.count -= 1;
        self.begun = (self.begun.0 + 1, now + reads.pause);
        let number = self.begun.0;
        self.role.actor().on_input(clock.shows(now), Input::Read(number), &mut self.fx);
        Some(number)
    }

    fn next_read(&self) -> Option<Time> {
        self.reads.filter(|reads| reads.count > 0).map(|_| self.begun.1)
    }

    /// Readings that are done by now are answered with the next turn. One that fails is not
    /// answered.
    pub fn end_readings(&mut self, now: Time, settings: &Settings) {
        let Some(log) = &self.log else { return self.readings.clear() };
        let Ok(Some(mut reader)) = log.vote_reader() else { return };
        while self.readings.front().is_some_and(|(done, _)| *done <= now) {
            let Some((_, reading)) = self.readings.pop_front() else { return };
            if let Ok(found) = reader.read(&reading, recall::bytes_read(settings)) {
                recall::answer(&reading, &found, settings, &mut self.fx);
            }
        }
    }

    /// Stores the records of the last turn, and frees disk space where it can.
    pub fn store(&mut self) -> std::io::Result<()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        self.fx.persist.iter().try_for_each(|record| log.append(record))?;
        match log.flush() {
            // Nothing is answered, as if all of it had been lost.
            Err(error) if is_full(&error) => self.fx.send.clear(),
            flushed => flushed?,
        }
        log.reclaim()
    }

    /// The head of the snapshot that has become stable since this was asked last, if one has.
    pub fn take_stable(&mut self) -> Option<Head> {
        self.stable.take()
    }

    /// Sets and cancels timers as the last turn wants.
    pub fn set_timers(&mut self) {
        for (timer, deadline) in self.fx.timers.drain(..) {
            match deadline {
                Some(deadline) => self.timers.insert(timer, deadline),
                None => self.timers.remove(&timer),
            };
        }
    }

    /// When it has something to do next, if nothing else arrives.
    pub fn next_turn(&mut self, now: Time, clock: &HostClock) -> Option<Time> {
        if !self.inbox.is_empty() {
            return Some(now + Duration::from_micros(5));
        }
        let timer = self.timers.values().min().map(|local| clock.when(*local));
        let has_room = self.role.actor().input_room() > 0;
        let typed = self.input.front().filter(|_| has_room).map(|(typed, _)| *typed);
        let stable = self.writing.as_ref().map(|(stable, _)| *stable);
        let read = self.readings.front().map(|(done, _)| *done);
        let begins = self.next_read();
        let errand = self.errands.front().map(|(done, _)| *done);
        let next = timer.into_iter().chain(typed).chain(stable).chain(read);
        let next = next.chain(begins).chain(errand).min();
        next.map(|next| next.max(now))
    }
}
