//! A role loop around a toy role. Store, network, output and role write into one log, so that a
//! test reads what happened in the order in which it happened.

use std::io::Read;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

use super::super::inbox::{InboxSender, inbox};
use super::super::printer::Printer;
use super::super::stdin::{LineLimit, Stdin};
use super::*;
use crate::net::datagrams::Datagrams;
use crate::protocol::actor::{Delivery, Ignored, Record};
use crate::protocol::entries::Entries;
use crate::protocol::message::{CatchUpRequest, Interest, Kind, Nack};
use crate::protocol::segments::Page;
use crate::protocol::types::{
    AssignedBy, Ballot, Instance, LogTime, NodeId, Number, Origin, Role, Run, Sender, Session,
    Value,
};
use crate::protocol::versions::Version;
use crate::results::form::{Form, Printed};
use crate::results::output::NoOutput;

/// How long a test waits, at most, for something that must happen.
const PATIENCE: Duration = Duration::from_secs(10);
const DATAGRAM_BYTES: usize = 1472;
const OWN: Sender = Sender { node: NodeId { role: Role::Proposer, id: 1 }, boot: 7 };
const PEER: Sender = Sender { node: NodeId { role: Role::Acceptor, id: 1 }, boot: 8 };

type Log = mpsc::Sender<String>;
/// How the role reacts to an event.
type React = Box<dyn FnMut(&str, Time, &mut Effects) + Send>;

/// Notes every event. The message with number 99 finishes its work.
struct Toy {
    log: Log,
    react: React,
    room: Arc<AtomicUsize>,
    is_finished: bool,
    had_event: bool,
}

impl Toy {
    fn note(&mut self, now: Time, event: &str, fx: &mut Effects) {
        self.had_event = true;
        let _ = self.log.send(event.to_owned());
        (self.react)(event, now, fx);
    }
}

impl Actor for Toy {
    fn on_start(&mut self, now: Time, fx: &mut Effects) {
        self.note(now, "start", fx);
    }

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        assert_eq!(from, PEER);
        let Message::Nack(Nack { promised, .. }) = message else { panic!("{message}") };
        self.is_finished |= promised.round == 99;
        self.note(now, &format!("message {}", promised.round), fx);
    }

    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects) {
        self.note(now, &format!("timer {timer:?}"), fx);
    }

    fn on_input(&mut self, now: Time, input: Input, fx: &mut Effects) {
        assert!(self.room.load(Ordering::SeqCst) > 0, "input without room");
        self.room.fetch_sub(1, Ordering::SeqCst);
        let event = match input {
            Input::Value(value) => format!("input {value}"),
            Input::End => "input ends".to_owned(),
            Input::Kept(head) => format!("kept {}", head.of),
            Input::Read(last) => format!("read {last}"),
            Input::Done(outcome) => format!("done {outcome:?}"),
        };
        self.note(now, &event, fx);
    }

    fn on_turn_end(&mut self, _now: Time, _fx: &mut Effects) {
        if std::mem::take(&mut self.had_event) {
            let _ = self.log.send("turn ends".to_owned());
        }
    }

    fn version(&self, _now: Time) -> Version {
        Version::OLDEST
    }

    fn interest(&self) -> Interest {
        Interest::of(&[Kind::Nack])
    }

    fn input_room(&self) -> usize {
        self.room.load(Ordering::SeqCst)
    }

    fn is_finished(&self) -> bool {
        self.is_finished
    }
}

/// Everything around the toy: records what it is given, and fails when told to.
#[derive(Clone)]
struct World {
    log: Log,
    failing: &'static str,
}

impl World {
    fn note(&self, event: &str) -> io::Result<()> {
        let _ = self.log.send(event.to_owned());
        if event == self.failing { Err(io::Error::other("disk full")) } else { Ok(()) }
    }
}

impl AcceptorStore for World {
    fn append(&mut self, record: &Record) -> io::Result<()> {
        let Record::Promised(ballot) = record else { panic!("{record:?}") };
        self.note(&format!("append {ballot}"))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.note("store flush")
    }

    fn reclaim(&mut self) -> io::Result<()> {
        self.note("store reclaim")
    }

    fn close(&mut self) -> io::Result<()> {
        self.note("store close")
    }
}

impl DatagramSender for World {
    fn send(&self, group: Role, datagrams: Datagrams<'_>) -> io::Result<()> {
        self.note(&format!("send {} to {group}s", datagrams.count()))
    }
}

impl Output for World {
    fn deliver(&mut self, delivery: &Delivery) {
        let Delivery::Delivered(page, _) = delivery else { panic!("{delivery:?}") };
        for value in page.entries.values() {
            let _ = self.log.send(format!("deliver {}", Value::new(value)));
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.note("output flush")
    }
}

/// A loop that was not started yet.
struct Setup {
    role_loop: RoleLoop<Toy>,
    running: Handles,
}

/// A test's handles of a loop.
struct Handles {
    inbox: InboxSender,
    events: Receiver<String>,
    stats: Arc<Stats>,
    interest: Arc<AtomicU32>,
    room: Arc<AtomicUsize>,
}

struct Running {
    handles: Handles,
    ended: Receiver<(Toy, Result<Ended, Failure>)>,
}

fn setup(
    failing: &'static str,
    react: impl FnMut(&str, Time, &mut Effects) + Send + 'static,
) -> Setup {
    let (log, events) = mpsc::channel();
    let (sender, inbox) = inbox(1000);
    let world = World { log: log.clone(), failing };
    let room = Arc::new(AtomicUsize::new(0));
    let (stats, interest) = (Arc::new(Stats::default()), Arc::new(AtomicU32::new(0)));
    let toy = Toy {
        log,
        react: Box::new(react),
        room: Arc::clone(&room),
        is_finished: false,
        had_event: false,
    };
    let around = Surroundings {
        neighbours: Neighbours::default(),
        inbox,
        codec: Arc::new(Codec::new("test", 3, OWN, DATAGRAM_BYTES)),
        network: Box::new(world.clone()),
        readings: None,
        errands: None,
        store: Box::new(world.clone()),
        output: Box::new(world),
        credits: None,
        interest: Arc::clone(&interest),
        stats: Arc::clone(&stats),
        gauges: None,
        clock: Clock::start(),
        busy_poll: Duration::ZERO,
    };
    let running = Handles { inbox: sender, events, stats, interest, room };
    Setup { role_loop: RoleLoop::new(toy, around), running }
}

impl Setup {
    fn start(self) -> Running {
        let (end, ended) = mpsc::channel();
        thread::spawn(move || end.send(self.role_loop.run()));
        Running { handles: self.running, ended }
    }
}

impl Handles {
    fn message(&self, number: u64) {
        let promised = Ballot { round: number, proposer: 1, boot: 0 };
        let message = Message::Nack(Nack { rejected: Ballot::ZERO, promised });
        let mut datagram = Vec::new();
        Codec::new("test", 3, PEER, DATAGRAM_BYTES).encode(&message, &mut datagram).unwrap();
        self.inbox.offer(&datagram);
    }

    /// Waits until `event` is in the log, and returns what came before it.
    fn wait_for(&self, event: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(seen) if seen == event => return before,
                Ok(seen) => before.push(seen),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {event:?} after {before:?}")
                }
            }
        }
    }
}

impl Running {
    /// The rest of the log, and how the loop ended.
    fn end(self) -> (Vec<String>, Result<Ended, Failure>) {
        let (toy, ended) = self.ended.recv_timeout(PATIENCE).unwrap();
        drop(toy);
        let mut events: Vec<String> = self.handles.events.iter().collect();
        // The store hears of an orderly end, last of all, and of no other.
        assert_eq!(events.pop_if(|event| *event == "store close").is_some(), ended.is_ok());
        assert!(!events.iter().any(|event| event == "store close"));
        (events, ended)
    }
}

fn promise(round: u64) -> Record {
    Record::Promised(Ballot { round, proposer: 1, boot: 0 })
}

fn nack() -> Message {
    Message::Nack(Nack { rejected: Ballot::ZERO, promised: Ballot::ZERO })
}

fn delivery(value: &[u8]) -> Delivery {
    let session = Session { client: 1, boot: 1 };
    let origin = Origin::new(session, Number::FIRST, AssignedBy::Client);
    let entries = Entries::numbered(origin, [value]);
    Delivery::Delivered(Page { from: Instance::FIRST, entries }, LogTime::NONE)
}

/// Does everything at once, in an order of its own.
fn do_everything(event: &str, _now: Time, fx: &mut Effects) {
    if let Some(number) = event.strip_prefix("message ") {
        fx.deliver.push(delivery(number.as_bytes()));
        fx.send(Role::Proposer, nack());
        fx.persist.push(promise(number.parse().unwrap()));
        fx.ignore(Ignored::StaleBallot);
    }
}

#[test]
fn the_effects_of_a_turn_are_stored_then_sent_then_delivered() {
    let setup = setup("", do_everything);
    setup.running.message(1);
    setup.running.message(99);
    let stats = Arc::clone(&setup.running.stats);
    let (log, ended) = setup.start().end();
    let expected = "start, turn ends, message 1, message 99, turn ends, \
                    append 1.P1, append 99.P1, store flush, \
                    send 2 to proposers, \
                    deliver \"1\", deliver \"99\", output flush, store reclaim";
    assert_eq!(log.join(", "), expected);
    assert_eq!(ended.unwrap(), Ended::Finished);
    assert_eq!(stats.sent.count(), 2);
    assert_eq!(stats.ignored.count(Ignored::StaleBallot), 2);
}

#[test]
fn what_could_not_be_stored_is_never_answered() {
    for failing in ["append 1.P1", "store flush"] {
        let setup = setup(failing, do_everything);
        setup.running.message(1);
        let (log, ended) = setup.start().end();
        assert_eq!(log.last().unwrap(), failing);
        let sentence = ended.unwrap_err().to_string();
        assert!(sentence.contains("cannot be stored (disk full)"), "{sentence}");
    }
}

#[test]
fn an_output_that_fails_ends_the_process() {
    let setup = setup("output flush", do_everything);
    setup.running.message(1);
    let (_, ended) = setup.start().end();
    let sentence = ended.unwrap_err().to_string();
    assert!(sentence.contains("cannot be written (disk full)"), "{sentence}");
}

#[test]
fn a_network_that_fails_and_messages_that_do_not_fit_are_counted() {
    let setup = setup("send 1 to proposers", |event, _, fx| {
        if event == "message 99" {
            let run = |at: u64| Run::new(Instance(at * 1_000_000), Instance(at * 1_000_000 + 1));
            let missing = (1..1000).map(run).collect();
            fx.send(
                Role::Learner,
                Message::CatchUpRequest(CatchUpRequest { of: None, again: false, missing }),
            );
            fx.send(Role::Proposer, nack());
            fx.send(Role::Learner, nack());
        }
    });
    setup.running.inbox.offer(b"not one of ours");
    setup.running.message(99);
    let stats = Arc::clone(&setup.running.stats);
    let (log, ended) = setup.start().end();
    assert_eq!(log[log.len() - 2..], ["send 1 to proposers", "send 1 to learners"]);
    assert_eq!(ended.unwrap(), Ended::Finished);
    assert_eq!(stats.too_long.count(), 1);
    assert_eq!(stats.send_errors.count(), 1);
    assert_eq!(stats.sent.count(), 1);
    assert_eq!(stats.refused.counts().len(), 1);
}

#[test]
fn timers_fire_when_they_are_due_and_wake_the_loop_up() {
    let mut deadline = Time::ZERO;
    let setup = setup("", move |event, now, fx| match event {
        "start" => {
            deadline = now + Duration::from_millis(200);
            fx.set_timer(Timer::Heartbeat, now);
            fx.set_timer(Timer::Election, deadline);
        }
        "timer Election" => assert!(now >= deadline, "early"),
        _ => {}
    });
    let running = setup.start();
    assert_eq!(
        running.handles.wait_for("timer Election"),
        ["start", "turn ends", "timer Heartbeat", "turn ends"]
    );
    running.handles.inbox.stop();
    assert_eq!(running.end().1.unwrap(), Ended::Stopped);
}

/// A process that was paused past its time-out first hears what has waited for it.
#[test]
fn a_timer_that_a_waiting_message_cancels_does_not_fire() {
    let setup = setup("", |event, now, fx| match event {
        "start" => {
            fx.set_timer(Timer::Heartbeat, now);
            fx.set_timer(Timer::Election, now);
            fx.set_timer(Timer::RetryAccept, now);
        }
        "message 99" => fx.cancel_timer(Timer::Heartbeat),
        "timer Election" => fx.cancel_timer(Timer::RetryAccept),
        _ => {}
    });
    setup.running.message(99);
    let (log, _) = setup.start().end();
    assert_eq!(log, ["start", "turn ends", "message 99", "timer Election", "turn ends"]);
}

#[test]
fn a_timer_that_always_sets_itself_again_stops_nobody_else() {
    let setup = setup("", |event, now, fx| {
        if event == "start" || event == "timer Heartbeat" {
            fx.set_timer(Timer::Heartbeat, now);
        }
    });
    let running = setup.start();
    running.handles.wait_for("timer Heartbeat");
    running.handles.message(99);
    assert_eq!(running.end().1.unwrap(), Ended::Finished);
}

#[test]
fn stop_ends_the_loop_at_once_also_with_a_full_inbox_and_while_polling() {
    let mut idle = setup("", |_, _, _| {});
    idle.role_loop.around.busy_poll = PATIENCE;
    let running = idle.start();
    running.handles.wait_for("turn ends");
    running.handles.inbox.stop();
    assert_eq!(running.end().1.unwrap(), Ended::Stopped);

    let flooded = setup("", |_, _, _| {});
    for number in 0..2000 {
        flooded.running.message(number % 90);
    }
    flooded.running.inbox.stop();
    let (log, ended) = flooded.start().end();
    assert_eq!(ended.unwrap(), Ended::Stopped);
    assert_eq!(log, ["start", "turn ends"]);
}

#[test]
fn a_turn_takes_a_bounded_number_of_events_and_loses_none() {
    let setup = setup("", |_, _, _| {});
    for _ in 0..600 {
        setup.running.message(1);
    }
    setup.running.message(99);
    let (log, _) = setup.start().end();
    let turns: Vec<_> = log.split(|event| event == "turn ends").map(<[String]>::len).collect();
    assert_eq!(turns, [1, 256, 256, 89, 0]);
}

#[test]
fn the_interest_is_there_before_the_loop_starts() {
    let setup = setup("", |_, _, _| {});
    let bits = setup.running.interest.load(Ordering::Relaxed);
    assert_eq!(bits, Interest::of(&[Kind::Nack]).bits());
}

/// An input without end that says when it is read.
struct Endless(mpsc::Sender<()>);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let _ = self.0.send(());
        buffer.fill(b'\n');
        Ok(buffer.len())
    }
}

#[test]
fn a_slow_role_bounds_what_is_read() {
    let mut setup = setup("", |_, _, _| {});
    setup.running.room.store(3, Ordering::SeqCst);
    let (reading, reads) = mpsc::channel();
    let inbox = setup.running.inbox.clone();
    let limit = LineLimit { bytes: 100, auto_bytes: None };
    let (_stdin, credits) = Stdin::spawn(Endless(reading), limit, inbox).unwrap();
    setup.role_loop.around.credits = Some(credits);
    let running = setup.start();
    let handles = &running.handles;
    handles.wait_for("input \"\"");
    // Many turns later it was read once: 64 KiB of empty lines are more than two batches.
    for _ in 0..1000 {
        handles.message(1);
        let seen = handles.wait_for("message 1");
        assert!(seen.iter().all(|event| event == "input \"\"" || event == "turn ends"));
    }
    assert_eq!(reads.try_iter().count(), 1);
    // Once there is room it goes on, and the next read comes.
    handles.room.store(1 << 17, Ordering::SeqCst);
    handles.message(2);
    reads.recv_timeout(PATIENCE).unwrap();
    handles.inbox.stop();
    assert_eq!(running.end().1.unwrap(), Ended::Stopped);
}

#[test]
fn input_arrives_in_order_and_its_end_last() {
    let mut setup = setup("", |_, _, _| {});
    setup.running.room.store(100, Ordering::SeqCst);
    let inbox = setup.running.inbox.clone();
    let limit = LineLimit { bytes: 100, auto_bytes: None };
    let (stdin, credits) = Stdin::spawn(&b"a\nb\nc"[..], limit, inbox).unwrap();
    setup.role_loop.around.credits = Some(credits);
    let running = setup.start();
    let mut log = running.handles.wait_for("input ends");
    log.retain(|event| event != "turn ends");
    assert_eq!(log, ["start", "input \"a\"", "input \"b\"", "input \"c\""]);
    assert!(stdin.failure().is_none());
    running.handles.message(99);
    assert_eq!(running.end().1.unwrap(), Ended::Finished);
}

/// A standard output that nobody ever reads.
struct Blocked(mpsc::Receiver<()>);

impl io::Write for Blocked {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_blocked_standard_output_does_not_block_the_loop() {
    let mut setup = setup("", do_everything);
    let (_unblock, blocked) = mpsc::channel();
    let folder = tempfile::tempdir().unwrap();
    let form = Form::new(Printed::Values);
    let (printer, output) =
        Printer::spawn(Blocked(blocked), |_| false, form, folder.path()).unwrap();
    setup.role_loop.around.output = Box::new((NoOutput, output));
    let running = setup.start();
    for _ in 0..100 {
        running.handles.message(1);
        running.handles.wait_for("send 1 to proposers");
    }
    running.handles.message(99);
    assert_eq!(running.end().1.unwrap(), Ended::Finished);
    assert!(!printer.finish(Duration::from_millis(1)));
}
