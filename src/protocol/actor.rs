//! The interface between a role and its driver: events in, effects out.
//!
//! A role never waits, reads a clock, opens a file or sends: it fills [`Effects`]. The driver (the
//! runtime, the simulator, a model checker) hands it every event of a turn, then calls
//! [`Actor::on_turn_end`] once, then applies the effects of the whole turn in one order: persist,
//! flush, send, timers, deliver. So everything is stored before it is answered.

use std::sync::Arc;
use std::time::Duration;

use super::assembly::Assembled;
use super::checkpoint::{Checkpoint, Head, UnknownKind};
use super::entries::Entries;
use super::figures::Figures;
use super::message::{Interest, LaterForm, Message};
use super::recall::Reading;
use super::segments::Page;
use super::timer::Timer;
use super::transfer::{Errand, Outcome};
use super::types::{Ballot, Instance, LogTime, Sender, Time, To, Value};
use super::versions::Version;

/// A role of the protocol. Handlers must not do more than bounded work for one event.
pub trait Actor {
    /// Called once, before every other event.
    fn on_start(&mut self, now: Time, fx: &mut Effects);

    /// A message arrived; its header said it is from `from`.
    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects);

    /// A timer that was set is due.
    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects);

    /// Standard input or the disk has something. Called for clients and learners only, and only
    /// while [`Actor::input_room`] is above zero.
    fn on_input(&mut self, now: Time, input: Input, fx: &mut Effects);

    /// The host's calendar. Called before [`Actor::on_turn_end`], in every turn. It may go back,
    /// and be wrong: it is passed on to applications, and nothing else relies on it.
    fn on_calendar(&mut self, _time: LogTime) {}

    /// How much room the disk has for records. Called before [`Actor::on_turn_end`], in every turn;
    /// only acceptors have such a disk.
    fn on_room(&mut self, _room: Room) {}

    /// Every event of the turn was handed over: what has gathered leaves now, as runs.
    fn on_turn_end(&mut self, now: Time, fx: &mut Effects);

    /// The process is about to end in good order after this turn: says what others should know.
    fn on_stop(&mut self, _now: Time, _fx: &mut Effects) {}

    /// Which kinds of message the role can use right now.
    fn interest(&self) -> Interest;

    /// The version of the wire format in which the role sends at present.
    fn version(&self, now: Time) -> Version;

    /// How many more values the role has room for.
    fn input_room(&self) -> usize {
        0
    }

    /// The role's present figures, for status and metrics.
    fn figures(&self, _now: Time) -> Figures {
        Figures::default()
    }

    /// Whether the role's work is done and the process may end.
    fn is_finished(&self) -> bool {
        false
    }
}

/// Input from outside the network: from standard input for a client, from the disk for a learner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A client's next value.
    Value(Value),
    /// A client gets no more values.
    End,
    /// A snapshot is on stable storage that was taken at this checkpoint's place, and read back.
    Kept(Head),
    /// A learner's reads up to this number, which grows, must see everything that was decided
    /// before they began.
    Read(u64),
    /// The outcome of a learner's errand.
    Done(Outcome),
}

/// What a role wants done. The lists are applied in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Records that must be on stable storage before anything in `send` leaves.
    pub persist: Vec<Record>,
    /// Votes to read from the disk and then answer with (`recall::answer`). Nothing waits for it,
    /// and the driver may skip it.
    pub read: Vec<Reading>,
    /// Work on a learner's snapshots. Nothing waits for it, and the driver may skip it; the outcome
    /// is an [`Input::Done`].
    pub errands: Vec<Errand>,
    /// Messages, each to a group or to one process, in order.
    pub send: Vec<(To, Message)>,
    /// Timers to set (with their deadline) or to cancel. The last word on a timer counts.
    pub timers: Vec<(Timer, Option<Time>)>,
    /// Values for the application.
    pub deliver: Vec<Delivery>,
    /// Why events were not acted on. For counters and logs only.
    pub ignored: Vec<Ignored>,
    /// How many of the messages in `send` repeat a question that was not answered. For counters
    /// only.
    pub sent_again: u64,
    /// How many sessions of clients a learner has forgotten in this turn. For counters only.
    pub sessions_forgotten: u64,
    /// Instances that a quorum has accepted in this turn, by how long they were in flight. For
    /// metrics only.
    pub flights: Vec<Flight>,
    /// The process must end at the end of this turn, and must not be restarted unchanged.
    pub halt: Option<Halt>,
}

impl Effects {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `message` to a group, named by its role, or to one process.
    pub fn send(&mut self, to: impl Into<To>, message: Message) {
        self.send.push((to.into(), message));
    }

    /// Sets `timer`, or moves it when it is set already.
    pub fn set_timer(&mut self, timer: Timer, deadline: Time) {
        self.timers.push((timer, Some(deadline)));
    }

    /// Cancels `timer`; nothing happens when it is not set.
    pub fn cancel_timer(&mut self, timer: Timer) {
        self.timers.push((timer, None));
    }

    /// Says that the event at hand is not acted on.
    pub fn ignore(&mut self, reason: Ignored) {
        self.ignored.push(reason);
    }

    /// Forgets everything, and keeps the memory for the next turn.
    pub fn clear(&mut self) {
        self.persist.clear();
        self.read.clear();
        self.errands.clear();
        self.send.clear();
        self.timers.clear();
        self.deliver.clear();
        self.ignored.clear();
        self.sent_again = 0;
        self.sessions_forgotten = 0;
        self.flights.clear();
        self.halt = None;
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.persist.is_empty()
            && self.read.is_empty()
            && self.errands.is_empty()
            && self.send.is_empty()
            && self.timers.is_empty()
            && self.deliver.is_empty()
            && self.ignored.is_empty()
            && self.sent_again == 0
            && self.sessions_forgotten == 0
            && self.flights.is_empty()
            && self.halt.is_none()
    }
}

/// Instances that were in flight for equally long: from their proposal until a quorum's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// How many they are.
    pub instances: u64,
    /// How long they were in flight.
    pub time: Duration,
}

/// A record that an acceptor must never forget.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Record {
    /// No ballot below this one will be answered.
    Promised(Ballot),
    /// These entries were accepted in this ballot, which is thereby promised.
    Accepted {
        /// The ballot.
        ballot: Ballot,
        /// The instance of the first entry; the others follow it.
        from: Instance,
        /// The entries.
        entries: Entries,
    },
    /// Everything below this instance is decided, and votes there may be removed: the entries that
    /// replace them are stored, and decided, from this instance on.
    Trimmed(Instance),
    /// The same, except that the votes there stay on the disk and only leave memory.
    Forgotten(Instance),
}

/// How much room an acceptor's disk has, from enough to none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Room {
    /// Enough.
    #[default]
    Ample,
    /// A reserve, for values that were under way when the leader heard of it, so that everything
    /// below the next checkpoint is decided, ...
    Short,
    /// The last of the reserve, for entries that make room: checkpoints, limits and no-ops.
    Scarce,
    /// None. Storing may fail now, and then the acceptor would have to end.
    Exhausted,
}

/// Values on their way out of a learner. Entries here hold complete values only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// For the results file: client-assigned values when decided, leader-assigned ones when
    /// delivered.
    Decided(Page),
    /// For standard output: every value in instance order, without a gap. The time is that of the
    /// log before them; an entry with an earlier time counts as having that one.
    Delivered(Page, LogTime),
    /// For both: a leader-assigned value that came in parts. Its origin has the time of the log.
    Assembled(Assembled),
    /// Everything below this instance is decided, and was handed out if it had to be.
    Passed(Instance),
    /// Entries below this instance were trimmed before they were learned, and are not handed out.
    Begins(Instance),
    /// The state of delivery for a snapshot at this point: everything below was handed out, and
    /// nothing above.
    Checkpoint(Arc<Checkpoint>),
    /// Everything that was decided before the reads up to this number began was handed out.
    Readable(u64),
    /// For the reads up to this number that will not become known: they must go through the log.
    Unreadable(u64),
    /// The learner goes on from the snapshot of this place, which it has fetched and stored. It
    /// replaces everything below, including what was handed out before.
    Restored(Arc<Checkpoint>),
}

/// Why a role must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Halt {
    /// An acceptor came back under its id without what it had promised.
    Forgotten,
    /// Entries below this instance, which a learner had to hand out, were trimmed before it learned
    /// them.
    Trimmed(Instance),
    /// The same for a learner that keeps snapshots, when no other learner has one to go on from.
    NoSnapshot(Instance),
    /// The same, when another has one, and a later release has written it.
    LaterSnapshot {
        /// Where the log begins.
        first: Instance,
        /// The learner that has it.
        of: u32,
        /// What of it this release does not know.
        form: LaterForm,
    },
    /// The same for a learner that hands out whatever is kept: it was late, and a restart continues
    /// here.
    CutOff(Instance),
    /// A learner went on from a snapshot of another log, from before the cluster lost its data.
    Foreign,
    /// The state that a learner's application has kept by itself has everything below this
    /// instance, and so much was never decided.
    Ahead(Instance),
    /// A later release has written something into the log that must be understood, and this one
    /// does not know it: a learner would deliver something else, a proposer assign by other rules.
    Unknown(UnknownKind),
}

/// Why an event was not acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ignored {
    /// The message is of a kind this role never acts on.
    Misdirected,
    /// It is of another ballot than the current one.
    StaleBallot,
    /// It answers nothing that is being asked now.
    NotAsked,
    /// Its sender cannot have sent this: wrong role, or an id out of range.
    ImpossibleSender,
    /// Only the leader acts on it.
    NotLeading,
    /// A queue is full; the sender will try again.
    QueueFull,
    /// The disk is full; the sender will try again.
    DiskFull,
    /// Instance zero, a run that ends before it begins, or a message that contradicts itself.
    Malformed,
    /// The instance is too far ahead of everything decided.
    TooFarAhead,
    /// The requested instance was trimmed.
    Trimmed,
    /// Another process uses this node's id.
    SameId,
    /// Its sender is an acceptor that has lost what it promised in an earlier incarnation.
    OtherIncarnation,
    /// A decided instance was claimed to hold something else. Some process is broken or hostile.
    Contradiction,
}
