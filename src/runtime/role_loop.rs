//! The one thread that runs a role.
//!
//! A turn waits for the inbox or the next timer, hands every waiting event to the role, and then
//! applies the effects of the whole turn in one order: persist, one flush, send, timers, deliver.
//! So everything is stored before it is answered, and events that gathered during the last turn
//! share one flush and few datagrams. Every turn does a bounded amount of work.
//!
//! The loop knows no protocol. Only the wait, the store and the output may block.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::busy_poll::BusyPoll;
use super::doing::Work;
use super::gauges::{Gauges, IDLE_MAX};
use super::inbox::{Direct, Event, Inbox};
use super::neighbours::{Neighbours, Reach};
use super::readings::Readings;
use super::shared_thread::Tenant;
use super::stats::Stats;
use super::stdin::Credits;
use super::timer_wheel::TimerWheel;
use crate::clock::{Clock, Moment, Pace};
use crate::net::DatagramSender;
use crate::net::datagrams::Train;
use crate::protocol::actor::{Actor, Effects, Halt, Ignored, Input, Room};
use crate::protocol::checkpoint::UnknownKind;
use crate::protocol::figures::Figures;
use crate::protocol::gathering::gather_acks;
use crate::protocol::message::{Kind, Message};
use crate::protocol::timer::Timer;
use crate::protocol::types::{LogTime, MESSAGE_BYTES_MAX, NodeId, Role, Time, To};
use crate::results::output::Output;
use crate::snapshots::keeper::Errands;
use crate::storage::AcceptorStore;
use crate::storage::disk::is_full;
use crate::storage::watch::Vanished;
use crate::wire::Codec;

/// The most events of one turn.
const EVENTS_PER_TURN: usize = 256;
/// The most timers of one turn; the others fire in the next.
const TIMERS_PER_TURN: usize = 64;

/// Everything around a role loop.
pub struct Surroundings {
    /// Where events come from.
    pub inbox: Inbox,
    /// The other roles of this process.
    pub neighbours: Neighbours,
    /// Datagrams to messages and back.
    pub codec: Arc<Codec>,
    /// Where datagrams go.
    pub network: Box<dyn DatagramSender>,
    /// An acceptor's store.
    pub store: Box<dyn AcceptorStore>,
    /// Reads the store, beside the loop; none if nothing is stored.
    pub readings: Option<Readings>,
    /// Works on a learner's snapshots; none if it keeps none.
    pub errands: Option<Errands>,
    /// Where values go.
    pub output: Box<dyn Output>,
    /// Credits for a client's standard input.
    pub credits: Option<Credits>,
    /// Where the role's interest is published for the receive threads.
    pub interest: Arc<AtomicU32>,
    /// Counts.
    pub stats: Arc<Stats>,
    /// Figures for metrics and status; none when nobody watches.
    pub gauges: Option<Arc<Gauges>>,
    /// The time.
    pub clock: Clock,
    /// How long to poll for events before going to sleep, usually. Trades a core for the latency of
    /// a wake-up.
    pub busy_poll: Duration,
}

/// Why a role loop ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The role's work is done.
    Finished,
    /// It was asked to stop.
    Stopped,
}

/// Why a role loop could not go on.
#[derive(Debug)]
pub enum Failure {
    /// The store failed.
    Store(io::Error),
    /// The output failed.
    Output(io::Error),
    /// The role itself must not go on.
    Halted(Halt),
    /// The stored data was taken away. Noticed outside the loop, which would go on without it.
    Vanished(Vanished),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Store(error) => write!(
                f,
                "the acceptor's records cannot be stored ({error}); it stops, because it must not \
                 answer what it might forget: look at the disk of the data directory, and start it \
                 again if that is whole"
            ),
            Failure::Output(error) => write!(
                f,
                "the decided values cannot be written ({error}): make room for the results \
                 directory and start the learner again"
            ),
            Failure::Halted(Halt::Forgotten) => f.write_str(
                "this acceptor came back without what it had promised, and must not vote: give it \
                 its data back, exactly the files that it had last, or leave it down",
            ),
            Failure::Halted(Halt::Trimmed(first)) => write!(
                f,
                "the log begins at instance {first}: this learner has not handed out all values \
                 below, and they have been removed, as `retain` says; start it with \
                 `--from oldest` to go on with what is kept, or with `--apply digest` and a line \
                 `snapshots`, to fetch a snapshot"
            ),
            Failure::Halted(Halt::NoSnapshot(first)) => write!(
                f,
                "the log begins at instance {first}, and no learner has a snapshot that reaches \
                 it: start one that has, and then this one again, or import its snapshot here \
                 (`paxos snapshot export` and `import`)"
            ),
            Failure::Halted(Halt::LaterSnapshot { first, of, form }) => write!(
                f,
                "the log begins at instance {first}, and no learner has a snapshot that reaches it \
                 and that this release can read: that of L{of} is of a later release ({form}); \
                 run the release of L{of} here"
            ),
            Failure::Halted(Halt::Foreign) => f.write_str(
                "the snapshot that this learner went on from is of an earlier life of the cluster, \
                 before its acceptors were given new data: if that was a mistake give them back \
                 theirs, else move the snapshots away, and start it again",
            ),
            Failure::Halted(Halt::Ahead(holds)) => write!(
                f,
                "the state that this replica begins with has everything below instance {holds}, \
                 and so much was never decided here: it is of another cluster, or from before this \
                 one lost its data; give the acceptors theirs back, or begin with an empty state"
            ),
            Failure::Halted(Halt::Unknown(UnknownKind { kind, at })) => write!(
                f,
                "instance {at} holds a control entry of kind {kind}, which this release does not \
                 know and must not pass: run the release that wrote it here, or a later one"
            ),
            Failure::Halted(Halt::CutOff(first)) => write!(
                f,
                "this learner was late by more than is kept, and the values that it needs next \
                 have been removed, as `retain` says; started again, it begins with instance \
                 {first}"
            ),
            Failure::Vanished(vanished) => vanished.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

/// A role and everything around it.
pub struct RoleLoop<A> {
    actor: A,
    around: Surroundings,
    wheel: TimerWheel<Timer>,
    fx: Effects,
    /// Values for which the role had no room yet; at most what two credits bring.
    input: VecDeque<Input>,
    /// Records are not stored yet because the disk is full: nothing is sent until they are.
    owes: bool,
    /// The datagram being built, reused.
    datagram: Vec<u8>,
    /// Datagrams that leave together, and their destination.
    train: Train,
    bound_for: To,
    send_pace: Pace,
    busy_poll: BusyPoll,
    /// When the last turn began.
    turned: Time,
    is_stopped: bool,
}

impl<A: Actor> RoleLoop<A> {
    /// A loop that has not started. Publishes the role's interest already, so that receive threads
    /// may start before the loop does.
    pub fn new(actor: A, around: Surroundings) -> Self {
        let role_loop = RoleLoop {
            wheel: TimerWheel::new(around.clock.now()),
            busy_poll: BusyPoll::new(around.busy_poll),
            actor,
            around,
            fx: Effects::new(),
            input: VecDeque::new(),
            owes: false,
            datagram: Vec::new(),
            train: Train::default(),
            bound_for: Role::Client.into(),
            send_pace: Pace::default(),
            turned: Time::ZERO,
            is_stopped: false,
        };
        role_loop.publish_interest();
        role_loop
    }

    /// Lets the loop look at a socket itself while it polls; call it for each socket.
    pub fn look_at(&mut self, direct: Arc<dyn Direct>) {
        self.around.inbox.look_at(direct);
    }

    /// Runs the role until its work is done, it is stopped, or it cannot go on. Returns the role
    /// for a last report. The effects of a turn that has begun are applied unless there is a
    /// failure.
    pub fn run(mut self) -> (A, Result<Ended, Failure>) {
        let ended = self.run_turns();
        if ended.is_ok() {
            self.finish();
        }
        (self.actor, ended)
    }

    /// Hands over the rest of the output, and closes what is stored, after a good end.
    fn finish(&mut self) {
        self.around.output.finish();
        if let Err(error) = self.around.store.close() {
            log::debug!("cannot note that it ends in order: {error}");
        }
    }

    fn run_turns(&mut self) -> Result<Ended, Failure> {
        let mut end = self.begin()?;
        loop {
            if let Some(ended) = end {
                return Ok(ended);
            }
            let event = self.wait();
            end = self.turn(event)?;
        }
    }

    /// The first turn. Says when it was the last.
    fn begin(&mut self) -> Result<Option<Ended>, Failure> {
        let now = self.around.clock.now();
        self.actor.on_start(now, &mut self.fx);
        self.conclude(now)
    }

    /// One turn, with what has gathered behind `event` and the timers that are due. Says when it
    /// was the last.
    fn turn(&mut self, event: Option<Event>) -> Result<Option<Ended>, Failure> {
        let now = self.around.clock.now();
        self.drain(now, event);
        self.feed(now);
        // After the messages: a process that was paused hears what waited for it before it
        // concludes that nobody has spoken.
        self.expire(now);
        self.conclude(now)
    }

    fn conclude(&mut self, now: Time) -> Result<Option<Ended>, Failure> {
        self.turned = now;
        self.end_turn(now)?;
        if let Some(gauges) = &self.around.gauges {
            gauges.turned(now, |now| Figures {
                version: Some(self.around.codec.version()),
                disk: self.around.store.disk_use(),
                ..self.actor.figures(now)
            });
        }
        if self.actor.is_finished() {
            return Ok(Some(Ended::Finished));
        }
        if self.is_stopped || self.around.inbox.is_stopped() {
            self.actor.on_stop(now, &mut self.fx);
            self.end_turn(now)?;
            return Ok(Some(Ended::Stopped));
        }
        Ok(None)
    }

    /// Whether there is something to do that no event tells of.
    fn has_input(&self) -> bool {
        !self.input.is_empty() && self.actor.input_room() > 0
    }

    /// When there is something to do at the latest; never, without one.
    fn deadline(&self) -> Option<Time> {
        let deadline = self.wheel.next_expiry();
        if self.around.gauges.is_none() {
            return deadline;
        }
        let latest = self.turned + IDLE_MAX;
        Some(deadline.map_or(latest, |deadline| deadline.min(latest)))
    }

    /// Waits for an event or for the next timer.
    fn wait(&mut self) -> Option<Event> {
        if let Some(event) = self.around.inbox.poll() {
            return Some(event);
        }
        if self.has_input() {
            return None;
        }
        let deadline = self.deadline();
        let Surroundings { inbox, clock, .. } = &mut self.around;
        let window = self.busy_poll.window();
        let start = clock.now();
        while !window.is_zero() {
            let now = clock.now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                // A timer is due: no need to wake the thread that watches the socket for a sleeping
                // loop.
                return None;
            }
            if now >= start + window {
                break;
            }
            thread::yield_now();
            if let Some(event) = inbox.poll() {
                self.busy_poll.found();
                return Some(event);
            }
        }
        let until = deadline.and_then(|deadline| clock.instant(deadline));
        let event = inbox.wait(until, !window.is_zero())?;
        self.busy_poll.slept(clock.now().since(start));
        if window.is_zero() && !self.busy_poll.window().is_zero() {
            inbox.rest();
        }
        Some(event)
    }

    /// Hands the role the events in the inbox.
    fn drain(&mut self, now: Time, first: Option<Event>) {
        let mut next = first;
        for taken in 1..=EVENTS_PER_TURN {
            match next {
                None => return,
                Some(Event::Datagram(datagram)) => {
                    self.on_datagram(now, &datagram);
                    self.around.inbox.recycle(datagram);
                }
                Some(Event::Input(batch)) => {
                    self.input.extend(batch);
                    if let Some(credits) = &mut self.around.credits {
                        credits.spent();
                    }
                }
                Some(Event::Stop) => {
                    self.is_stopped = true;
                    return;
                }
            }
            // Events beyond the bound stay where they are.
            next = if taken < EVENTS_PER_TURN { self.around.inbox.poll() } else { None };
        }
    }

    fn on_datagram(&mut self, now: Time, datagram: &[u8]) {
        let (from, message) = match self.around.codec.decode(datagram) {
            Ok(decoded) => decoded,
            Err(reason) => {
                self.around.stats.refused.increment(reason);
                log::debug!("refused a datagram: {reason}");
                return;
            }
        };
        log::trace!("from {}: {message}", from.node);
        let kind = message.kind();
        self.actor.on_message(now, from, message, &mut self.fx);
        for reason in self.fx.ignored.drain(..) {
            self.around.stats.ignored.increment(reason);
            log::debug!("ignored {kind:?} from {}: {reason:?}", from.node);
            if (kind, reason) == (Kind::Accept, Ignored::TooFarAhead) {
                // With different files nothing is decided, and no other message says why.
                log::warn!(
                    "{} proposes further ahead than this acceptor follows: give every host the \
                     same `instances_ahead`",
                    from.node
                );
            }
        }
    }

    /// Hands the role values from standard input, as far as it has room.
    fn feed(&mut self, now: Time) {
        while self.actor.input_room() > 0 {
            let Some(input) = self.input.pop_front() else { return };
            self.actor.on_input(now, input, &mut self.fx);
        }
    }

    /// Fires due timers, except those that this turn has cancelled or moved.
    fn expire(&mut self, now: Time) {
        self.apply_timers();
        for _ in 0..TIMERS_PER_TURN {
            // One at a time, because a timer may cancel another that is due as well.
            let Some(timer) = self.wheel.expire(now, 1).next() else { return };
            log::trace!("timer {timer:?}");
            self.actor.on_timer(now, timer, &mut self.fx);
            self.apply_timers();
        }
    }

    /// Applies the effects of the whole turn, in their fixed order, and makes ready for the next.
    fn end_turn(&mut self, now: Time) -> Result<(), Failure> {
        self.actor.on_calendar(LogTime(Moment::now().millis));
        let room = self.around.store.room();
        self.actor.on_room(room);
        self.actor.on_turn_end(now, &mut self.fx);
        // 1. Records are stored before anything can be known outside.
        let has_stored = !self.fx.persist.is_empty();
        if has_stored || self.owes {
            match self.persist() {
                // Any answer may depend on what is not stored, so it is as if the whole turn had
                // been lost.
                Err(error) if is_full(&error) => {
                    self.fx.send.clear();
                    self.owes = true;
                }
                stored => {
                    stored.map_err(Failure::Store)?;
                    self.owes = false;
                }
            }
        }
        for reading in self.fx.read.drain(..) {
            if let Some(readings) = &self.around.readings {
                readings.begin(reading);
            }
        }
        for errand in self.fx.errands.drain(..) {
            if let Some(errands) = &self.around.errands {
                errands.run(errand);
            }
        }
        // 2. Only then are messages sent. The interest in answers is published first: an answer can
        //    be here before the next line runs.
        self.publish_interest();
        self.around.codec.speak(self.actor.version(now));
        let mut messages = std::mem::take(&mut self.fx.send);
        let page_bytes = self.around.codec.datagram_bytes().saturating_sub(MESSAGE_BYTES_MAX);
        gather_acks(&mut messages, page_bytes, |node| self.around.network.knows(node));
        for (to, message) in messages.drain(..) {
            self.send(now, to, &message);
        }
        self.depart(now);
        self.fx.send = messages;
        let stats = &self.around.stats;
        stats.sent_again.add(std::mem::take(&mut self.fx.sent_again));
        stats.sessions_forgotten.add(std::mem::take(&mut self.fx.sessions_forgotten));
        if let Some(gauges) = &self.around.gauges {
            let flights = &self.fx.flights;
            flights.iter().for_each(|flight| gauges.flights.add_all(flight.time, flight.instances));
        }
        self.fx.flights.clear();
        // 3. Timers.
        self.apply_timers();
        // 4. Values that are delivered are known to be decided, so they can come last.
        if !self.fx.deliver.is_empty() {
            self.deliver().map_err(Failure::Output)?;
        }
        for reason in self.fx.ignored.drain(..) {
            self.around.stats.ignored.increment(reason);
            log::debug!("ignored: {reason:?}");
        }
        if let Some(halt) = self.fx.halt.take() {
            return Err(Failure::Halted(halt));
        }
        debug_assert!(self.fx.is_empty(), "every effect of a turn is applied in that turn");
        // 5. Disk space is freed when nobody waits for this turn any more, a piece in each turn:
        //    even in turns that store nothing, if that is because the disk is full.
        if has_stored || room > Room::Ample {
            self.around.store.reclaim().map_err(Failure::Store)?;
        }
        self.give_credits();
        Ok(())
    }

    fn persist(&mut self) -> io::Result<()> {
        self.around.stats.doing.begin(Work::Storing);
        for record in self.fx.persist.drain(..) {
            self.around.store.append(&record)?;
        }
        let Surroundings { store, gauges, .. } = &mut self.around;
        let flushed = match gauges {
            Some(gauges) => gauges.timing_sync(|| store.flush()),
            None => store.flush(),
        };
        self.around.stats.doing.begin(Work::Turn);
        flushed
    }

    /// Puts a message on the train, which departs first if it has another destination or is full.
    fn send(&mut self, now: Time, to: To, message: &Message) {
        let Surroundings { codec, neighbours, stats, .. } = &self.around;
        log::trace!("to {to}: {message}");
        if let Err(error) = codec.encode(message, &mut self.datagram) {
            stats.too_long.increment();
            if self.send_pace.allows(now).is_some() {
                let kind = message.kind();
                log::error!(
                    "{kind:?} cannot be sent: {error}; this is a bug in paxos; please report it"
                );
            }
            return;
        }
        if neighbours.tell(to, message.kind(), &self.datagram) == Reach::All {
            return;
        }
        if to != self.bound_for || !self.train.takes(self.datagram.len()) {
            self.depart(now);
        }
        self.bound_for = to;
        self.train.add(&mut self.datagram);
    }

    /// Sends what is on the train. A datagram that cannot be sent counts as lost: the roles can
    /// handle that.
    fn depart(&mut self, now: Time) {
        if self.train.is_empty() {
            return;
        }
        let Surroundings { network, stats, .. } = &self.around;
        let (to, datagrams) = (self.bound_for, self.train.datagrams());
        match network.send_either(to, datagrams) {
            Ok(()) => stats.sent.add(datagrams.count() as u64),
            Err(error) => {
                stats.send_errors.add(datagrams.count() as u64);
                if let Some(more) = self.send_pace.allows(now) {
                    log::warn!("cannot send to {to} ({error}); {more} more before");
                }
            }
        }
        self.train.clear();
    }

    /// Sets, moves and cancels timers. This may happen before the end of a turn: it has no effect
    /// outside, and a cancelled timer must not fire.
    fn apply_timers(&mut self) {
        for (timer, deadline) in self.fx.timers.drain(..) {
            match deadline {
                Some(deadline) => self.wheel.schedule(timer, deadline),
                None => self.wheel.cancel(timer),
            }
        }
    }

    fn deliver(&mut self) -> io::Result<()> {
        self.around.stats.doing.begin(Work::Writing);
        let Surroundings { output, gauges, .. } = &mut self.around;
        let deliveries = self.fx.deliver.drain(..);
        let work = || {
            deliveries.for_each(|delivery| output.deliver(&delivery));
            output.flush()
        };
        let flushed = match gauges {
            Some(gauges) => gauges.timing_delivery(work),
            None => work(),
        };
        self.around.stats.doing.begin(Work::Turn);
        flushed
    }

    fn publish_interest(&self) {
        // A moment's delay is harmless: the interest saves work and decides nothing.
        self.around.interest.store(self.actor.interest().bits(), Ordering::Relaxed);
    }

    /// Lets standard input go on once the role has taken everything and has room.
    fn give_credits(&mut self) {
        let Some(credits) = &mut self.around.credits else { return };
        if self.input.is_empty() && self.actor.input_room() > 0 {
            credits.give();
        }
    }
}

impl<A: Actor + Send> Tenant for RoleLoop<A> {
    fn node(&self) -> NodeId {
        self.around.codec.sender().node
    }

    fn begin(&mut self) -> Result<Option<Ended>, Failure> {
        RoleLoop::begin(self)
    }

    fn turn(&mut self, event: Option<Event>) -> Result<Option<Ended>, Failure> {
        RoleLoop::turn(self, event)
    }

    fn finish(&mut self) {
        RoleLoop::finish(self);
    }

    fn inbox(&mut self) -> &mut Inbox {
        &mut self.around.inbox
    }

    fn deadline(&self) -> Option<Time> {
        if self.has_input() { Some(self.turned) } else { RoleLoop::deadline(self) }
    }
}

#[cfg(test)]
mod tests;
