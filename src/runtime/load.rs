//! A client that measures: it keeps values in flight and times each of them.
//!
//! It reads the same acknowledgements as the client that it wraps.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::laps::Laps;
use crate::protocol::actor::{Actor, Effects, Input};
use crate::protocol::client::Client;
use crate::protocol::message::{Interest, Message, Request, Told};
use crate::protocol::timer::Timer;
use crate::protocol::types::{Counted, Sender, Session, Time, Value};
use crate::protocol::versions::Version;

/// A client that is not served within this time does not keep the others from measuring.
pub const ALL_WITHIN: Duration = Duration::from_secs(10);

/// How long the histogram reaches, in microseconds: a minute.
const LONGEST_MICROS: u64 = 60_000_000;

/// The load that one client makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// How many bytes a value has.
    pub value_bytes: usize,
    /// How many values are in flight.
    pub outstanding: usize,
    /// How many values a datagram may carry; 0 means as many as fit.
    pub values_per_datagram: usize,
    /// How long nothing is measured, while the cluster elects its leader and finds its pace.
    pub warm_up: Duration,
    /// How long to measure after that.
    pub duration: Duration,
}

/// When clients that measure at once begin: as soon as each of them has been served. A thousand
/// take seconds to open their sockets. What the first of them would measure meanwhile is the load
/// of a few, and so is what the last would measure in the end.
#[derive(Debug)]
pub struct Together {
    unserved: AtomicU32,
    begun: OnceLock<Time>,
}

impl Together {
    /// They begin once this many have been served.
    pub fn new(clients: u32) -> Self {
        Together { unserved: AtomicU32::new(clients), begun: OnceLock::new() }
    }

    /// One more of them has been served.
    fn served(&self, now: Time) {
        if self.unserved.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.begin(now);
        }
    }

    /// They begin now, unless they have begun.
    fn begin(&self, now: Time) {
        self.begun.get_or_init(|| now);
    }
}

/// The measurements.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How long each value took from being submitted until it was known to be decided, in
    /// microseconds.
    pub latency: Histogram<u64>,
    /// From the begin of measuring to the last decision that counts.
    pub elapsed: Duration,
    /// The longest time between two acknowledgements, while there was something to acknowledge.
    pub longest_gap: Duration,
}

impl Measured {
    /// Nothing yet.
    pub fn new() -> Self {
        let latency = Histogram::new_with_max(LONGEST_MICROS, 3).unwrap_or_else(|error| {
            unreachable!("three digits up to a minute are a histogram: {error}")
        });
        Measured { latency, elapsed: Duration::ZERO, longest_gap: Duration::ZERO }
    }

    /// Adds what another client measured at the same time.
    pub fn add(&mut self, other: &Measured) {
        // Both have the same bounds.
        let _ = self.latency.add(&other.latency);
        self.elapsed = self.elapsed.max(other.elapsed);
        self.longest_gap = self.longest_gap.max(other.longest_gap);
    }

    /// Values a second.
    pub fn rate(&self) -> f64 {
        self.latency.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

impl Default for Measured {
    fn default() -> Self {
        Self::new()
    }
}

/// A client and its load.
pub struct Load {
    session: Session,
    client: Client,
    options: LoadOptions,
    value: Value,
    /// How many numbers of the session a value takes: one, or more if it travels in parts.
    parts: u64,
    /// When each value in flight was submitted, from the one counted `front` on; none once it is
    /// decided. They are counted from 1, as numbers are when a value takes one.
    in_flight: VecDeque<Option<Time>>,
    front: u64,
    /// How many values are in flight.
    outstanding: usize,
    /// The first submission.
    start: Option<Time>,
    together: Arc<Together>,
    /// When something was last decided.
    heard: Option<Time>,
    measured: Measured,
    report: Arc<Mutex<Measured>>,
    laps: Option<Laps>,
}

impl Load {
    /// Load through `client`, which has this `session` and measures `together` with others. The
    /// result is in `report` at the end.
    pub fn new(
        session: Session,
        client: Client,
        options: LoadOptions,
        together: Arc<Together>,
        report: Arc<Mutex<Measured>>,
    ) -> Self {
        Load {
            session,
            options,
            value: Value::new(&vec![b'v'; options.value_bytes]),
            parts: client.parts_of(options.value_bytes),
            client,
            in_flight: VecDeque::new(),
            front: 1,
            outstanding: 0,
            start: None,
            together,
            heard: None,
            measured: Measured::new(),
            report,
            laps: None,
        }
    }

    /// The same, but it times laps as well, and ends when they are over.
    pub fn with_laps(self, laps: Option<Laps>) -> Self {
        Load { laps, ..self }
    }

    /// When measuring begins and ends.
    fn bounds(&self) -> Option<(Time, Time)> {
        let begin = *self.together.begun.get()? + self.options.warm_up;
        Some((begin, begin + self.options.duration))
    }

    /// Times the values that are acknowledged for the first time.
    fn settle(&mut self, now: Time, told: &Told) {
        if told.session != self.session {
            return;
        }
        let bounds = self.bounds();
        let before = self.outstanding;
        for run in told.delivered.iter().chain(&told.lost) {
            // A value is decided with its last number.
            let until = (run.until.0 - 1) / self.parts + 1;
            let until = until.min(self.front + self.in_flight.len() as u64);
            for count in run.from.0.div_ceil(self.parts).max(self.front)..until {
                let place = (count - self.front) as usize;
                let Some(submitted) = self.in_flight[place].take() else { continue };
                self.outstanding -= 1;
                if let Some((begin, end)) = bounds
                    && (begin..end).contains(&submitted)
                {
                    let micros = now.since(submitted).as_micros() as u64;
                    self.measured.latency.saturating_record(micros);
                    self.measured.elapsed = now.since(begin);
                }
            }
        }
        while self.in_flight.front().is_some_and(Option::is_none) {
            self.in_flight.pop_front();
            self.front += 1;
        }
        if self.outstanding < before {
            if let Some(laps) = &mut self.laps {
                laps.on_decided(now, (before - self.outstanding) as u64);
            }
            if self.heard.is_none() {
                self.together.served(now);
            }
            let heard = self.heard.replace(now).unwrap_or(now);
            if let Some((begin, end)) = bounds
                && now < end
            {
                let gap = now.since(heard.max(begin));
                self.measured.longest_gap = self.measured.longest_gap.max(gap);
            }
        }
    }

    fn hand_over(&mut self) {
        let measured = std::mem::take(&mut self.measured);
        self.report.lock().add(&measured);
    }

    /// Submits as many values as may be in flight.
    fn submit(&mut self, now: Time, fx: &mut Effects) {
        let start = *self.start.get_or_insert(now);
        if now >= start + ALL_WITHIN {
            self.together.begin(now);
        }
        let is_late = self.bounds().is_some_and(|(_, end)| now >= end);
        let is_over = is_late || self.laps.as_ref().is_some_and(Laps::are_over);
        while !is_over
            && self.outstanding < self.options.outstanding
            && self.client.input_room() > 0
        {
            self.client.on_input(now, Input::Value(self.value.clone()), fx);
            self.in_flight.push_back(Some(now));
            self.outstanding += 1;
        }
    }
}

/// Cuts requests into datagrams of at most `most` values.
fn split(fx: &mut Effects, most: usize) {
    let sent = std::mem::take(&mut fx.send);
    for (to, message) in sent {
        let Message::Request(Request { assignment, from, front, opened, entries }) = message else {
            fx.send.push((to, message));
            continue;
        };
        if entries.is_empty() {
            // A request without values asks where the log is, or is the last one.
            let request = Request { assignment, from, front, opened, entries };
            fx.send.push((to, Message::Request(request)));
            continue;
        }
        for place in (0..entries.len()).step_by(most) {
            let (from, until) = (from.plus(place as u64), entries.len().min(place + most));
            let entries = entries.slice(place, until);
            let request = Request { assignment, from, front, opened, entries };
            fx.send.push((to, Message::Request(request)));
        }
    }
}

impl Actor for Load {
    fn on_start(&mut self, now: Time, fx: &mut Effects) {
        self.client.on_start(now, fx);
        self.submit(now, fx);
    }

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        if let Message::RequestAck(ack) = &message {
            ack.told.iter().for_each(|told| self.settle(now, told));
        }
        self.client.on_message(now, from, message, fx);
    }

    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects) {
        self.client.on_timer(now, timer, fx);
    }

    fn on_input(&mut self, _now: Time, _input: Input, _fx: &mut Effects) {
        unreachable!("its input is its own");
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        self.submit(now, fx);
        if self.is_finished() {
            self.client.on_stop(now, fx);
        }
        self.client.on_turn_end(now, fx);
        if self.options.values_per_datagram > 0 {
            split(fx, self.options.values_per_datagram);
        }
        if self.is_finished() {
            self.hand_over();
        }
    }

    /// Values are in flight that will not be decided any more. Those that were decided count.
    fn on_stop(&mut self, now: Time, fx: &mut Effects) {
        self.client.on_stop(now, fx);
        self.hand_over();
    }

    fn version(&self, now: Time) -> Version {
        self.client.version(now)
    }

    fn interest(&self) -> Interest {
        self.client.interest()
    }

    /// Finished when nothing is in flight, which happens only once the time is over. With more
    /// clients than remembered sessions, the fate of values in flight may never be known.
    fn is_finished(&self) -> bool {
        self.outstanding == 0 || self.client.is_forgotten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::Assignment;
    use crate::protocol::message::RequestAck;
    use crate::protocol::settings::Settings;
    use crate::protocol::types::{Instance, NodeId, Number, Role, Run};

    const SESSION: Session = Session { client: 1, boot: 1 };

    fn acknowledge(load: &mut Load, micros: u64, from: u64, until: u64) -> Vec<(u64, usize)> {
        let mut fx = Effects::new();
        let delivered = [Run::new(Number(from), Number(until))].into();
        let told = vec![Told { delivered, ..Told::new(SESSION, true) }];
        let (quorate, full, grant, decided_below) = (true, false, 1 << 20, Instance(1));
        let ack = RequestAck { quorate, full, grant, decided_below, told };
        let leader = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
        load.on_message(Time(micros), leader, Message::RequestAck(ack), &mut fx);
        load.on_turn_end(Time(micros), &mut fx);
        fx.send
            .iter()
            .map(|(_, message)| match message {
                Message::Request(request) => (request.from.0, request.entries.len()),
                other => panic!("{other}"),
            })
            .collect()
    }

    fn load(report: &Arc<Mutex<Measured>>, assignment: Assignment) -> Load {
        let options = LoadOptions {
            value_bytes: 8,
            outstanding: 3,
            values_per_datagram: 2,
            warm_up: Duration::from_micros(100),
            duration: Duration::from_micros(100),
        };
        let client = Client::new(SESSION, assignment, Settings::default()).opened_at(Instance(1));
        let together = Arc::new(Together::new(1));
        together.begin(Time(0));
        let mut load = Load::new(SESSION, client, options, together, Arc::clone(report));
        let mut fx = Effects::new();
        load.on_start(Time(0), &mut fx);
        load.on_turn_end(Time(0), &mut fx);
        assert_eq!(fx.send.len(), 2, "three values, two a datagram");
        load
    }

    #[test]
    fn it_keeps_values_in_flight_and_takes_their_time_after_the_warm_up() {
        let report = Arc::new(Mutex::new(Measured::new()));
        let mut load = load(&report, Assignment::Leader);
        assert_eq!(acknowledge(&mut load, 110, 1, 3), [(4, 2)]);
        assert_eq!(acknowledge(&mut load, 150, 1, 4), [(6, 1)]);
        // Numbers 4 and 5 were submitted at 110, 6 at 150; the time for new ones is over.
        assert_eq!(acknowledge(&mut load, 250, 1, 7), [(7, 0)], "it takes leave");
        assert!(load.is_finished());
        let report = report.lock();
        assert_eq!((report.latency.len(), report.latency.max()), (3, 140));
        assert_eq!(report.elapsed, Duration::from_micros(150));
        assert_eq!(report.longest_gap, Duration::from_micros(40));
    }

    #[test]
    fn a_value_in_parts_is_decided_with_the_last_of_them() {
        let report = Arc::new(Mutex::new(Measured::new()));
        let options = LoadOptions {
            value_bytes: 3000,
            outstanding: 2,
            values_per_datagram: 0,
            warm_up: Duration::ZERO,
            duration: Duration::from_micros(100),
        };
        let client =
            Client::new(SESSION, Assignment::Leader, Settings::default()).opened_at(Instance(1));
        let together = Arc::new(Together::new(1));
        together.begin(Time(0));
        let mut load = Load::new(SESSION, client, options, together, Arc::clone(&report));
        let mut fx = Effects::new();
        load.on_start(Time(0), &mut fx);
        load.on_turn_end(Time(0), &mut fx);
        assert_eq!(fx.send.len(), 6, "two values of three parts");
        assert!(acknowledge(&mut load, 10, 1, 3).is_empty());
        assert_eq!(acknowledge(&mut load, 20, 3, 5).len(), 3, "the first is whole");
        assert_eq!(acknowledge(&mut load, 200, 1, 10), [(10, 0)], "it takes leave");
        assert!(load.is_finished());
        let report = report.lock();
        assert_eq!((report.latency.len(), report.latency.min()), (3, 20));
    }

    #[test]
    fn what_is_decided_before_all_are_served_does_not_count() {
        let report = Arc::new(Mutex::new(Measured::new()));
        let mut load = load(&report, Assignment::Leader);
        load.together = Arc::new(Together::new(2));
        assert_eq!(acknowledge(&mut load, 500, 1, 4).len(), 2, "it goes on");
        load.together.served(Time(600));
        assert_eq!(acknowledge(&mut load, 710, 1, 7).len(), 2, "it has begun");
        assert_eq!(acknowledge(&mut load, 810, 1, 10), [(10, 0)], "it takes leave");
        assert!(load.is_finished());
        let report = report.lock();
        assert_eq!((report.latency.len(), report.latency.max()), (3, 100));
        assert_eq!(report.elapsed, Duration::from_micros(110));
    }

    #[test]
    fn a_client_that_is_never_served_does_not_keep_others_from_beginning() {
        let report = Arc::new(Mutex::new(Measured::new()));
        let mut load = load(&report, Assignment::Leader);
        load.together = Arc::new(Together::new(2));
        let late = ALL_WITHIN.as_micros() as u64;
        assert_eq!(acknowledge(&mut load, late, 1, 4).len(), 2);
        assert_eq!(load.together.begun.get(), Some(&Time(late)));
    }

    #[test]
    fn values_may_be_decided_in_any_order() {
        let report = Arc::new(Mutex::new(Measured::new()));
        let mut load = load(&report, Assignment::Client { first: Instance(1) });
        assert_eq!(acknowledge(&mut load, 110, 3, 4), [(4, 1)]);
        assert_eq!(acknowledge(&mut load, 120, 1, 2), [(5, 1)]);
        assert!(acknowledge(&mut load, 220, 1, 6).is_empty());
        assert!(load.is_finished());
        assert_eq!(report.lock().latency.len(), 2);
    }
}
