//! A client that measures: it keeps values in flight and takes the time of each.
//!
//! Values are placed by the leader, so those of one client are decided in the order in which they
//! were submitted, and the oldest one in flight is always the next to be decided.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::protocol::actor::{Actor, Effects, Input};
use crate::protocol::client::Client;
use crate::protocol::message::{Interest, Message, Request};
use crate::protocol::timer::Timer;
use crate::protocol::types::{Counted, Role, Sender, Time, Value};

/// How long the histogram reaches, in microseconds: a minute.
const LONGEST_MICROS: u64 = 60_000_000;

/// What load one client makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// How many bytes a value has.
    pub value_bytes: usize,
    /// How many values are in flight.
    pub outstanding: usize,
    /// How many values a datagram may carry; 0 means as many as fit.
    pub values_per_datagram: usize,
    /// How long nothing is measured, while the cluster finds its leader and its pace.
    pub warm_up: Duration,
    /// How long it is measured then.
    pub duration: Duration,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How long each value took from being submitted until it was known to be decided, in
    /// microseconds.
    pub latency: Histogram<u64>,
    /// From the first submission that counted to the last decision.
    pub elapsed: Duration,
}

impl Measured {
    /// Nothing yet.
    pub fn new() -> Self {
        let latency = Histogram::new_with_max(LONGEST_MICROS, 3).unwrap_or_else(|error| {
            unreachable!("three digits up to a minute are a histogram: {error}")
        });
        Measured { latency, elapsed: Duration::ZERO }
    }

    /// Adds what another client measured at the same time.
    pub fn add(&mut self, other: &Measured) {
        // Both have the same bounds.
        let _ = self.latency.add(&other.latency);
        self.elapsed = self.elapsed.max(other.elapsed);
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
    client: Client,
    options: LoadOptions,
    value: Value,
    /// When each value in flight was submitted.
    in_flight: VecDeque<Time>,
    decided: u64,
    /// The first submission.
    start: Option<Time>,
    measured: Measured,
    report: Arc<Mutex<Measured>>,
}

impl Load {
    /// Load through `client`, whose values the leader places. The result is in `report` at the end.
    pub fn new(client: Client, options: LoadOptions, report: Arc<Mutex<Measured>>) -> Self {
        let value = Value::new(&vec![b'v'; options.value_bytes]);
        let (in_flight, measured) = (VecDeque::new(), Measured::new());
        Load { client, options, value, in_flight, decided: 0, start: None, measured, report }
    }

    /// When measuring begins and ends.
    fn bounds(&self) -> Option<(Time, Time)> {
        let begin = self.start? + self.options.warm_up;
        Some((begin, begin + self.options.duration))
    }

    /// Takes the time of what was decided in this turn.
    fn settle(&mut self, now: Time) {
        let delivered = self.client.tally().delivered;
        let Some((begin, end)) = self.bounds() else { return };
        for _ in self.decided..delivered {
            let Some(submitted) = self.in_flight.pop_front() else { break };
            if submitted >= begin && submitted < end {
                let micros = now.since(submitted).as_micros() as u64;
                self.measured.latency.saturating_record(micros);
                self.measured.elapsed = now.since(begin);
            }
        }
        self.decided = delivered;
    }

    /// Submits as much as may be in flight.
    fn submit(&mut self, now: Time, fx: &mut Effects) {
        let start = *self.start.get_or_insert(now);
        let end = start + self.options.warm_up + self.options.duration;
        while now < end
            && self.in_flight.len() < self.options.outstanding
            && self.client.input_room() > 0
        {
            self.client.on_input(now, Input::Value(self.value.clone()), fx);
            self.in_flight.push_back(now);
        }
    }
}

/// Cuts requests into datagrams of at most `most` values.
fn split(fx: &mut Effects, most: usize) {
    let sent = std::mem::take(&mut fx.send);
    for (group, message) in sent {
        let Message::Request(Request { assignment, from, front, values }) = message else {
            fx.send.push((group, message));
            continue;
        };
        for (place, values) in values.chunks(most).enumerate() {
            let from = from.plus((place * most) as u64);
            let request = Request { assignment, from, front, values: values.to_vec() };
            fx.send.push((Role::Proposer, Message::Request(request)));
        }
    }
}

impl Actor for Load {
    fn on_start(&mut self, now: Time, fx: &mut Effects) {
        self.client.on_start(now, fx);
        self.submit(now, fx);
    }

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        self.client.on_message(now, from, message, fx);
    }

    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects) {
        self.client.on_timer(now, timer, fx);
    }

    fn on_input(&mut self, _now: Time, _input: Input, _fx: &mut Effects) {
        unreachable!("its input is its own");
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        self.settle(now);
        self.submit(now, fx);
        self.client.on_turn_end(now, fx);
        if self.options.values_per_datagram > 0 {
            split(fx, self.options.values_per_datagram);
        }
        if self.is_finished() {
            std::mem::swap(&mut *self.report.lock(), &mut self.measured);
        }
    }

    fn interest(&self) -> Interest {
        self.client.interest()
    }

    /// Finished when nothing is in flight: something always is, until the time is over.
    fn is_finished(&self) -> bool {
        self.in_flight.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::{Assignment, RequestAck};
    use crate::protocol::settings::Settings;
    use crate::protocol::types::{NodeId, Number, Run, Session};

    const SESSION: Session = Session { client: 1, boot: 1 };

    fn acknowledge(load: &mut Load, micros: u64, until: u64) -> Vec<(u64, usize)> {
        let mut fx = Effects::new();
        let delivered = vec![Run::new(Number(1), Number(until))];
        let (received, lost) = (Vec::new(), Vec::new());
        let ack = RequestAck { session: SESSION, received, delivered, lost };
        let leader = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
        load.on_message(Time(micros), leader, Message::RequestAck(ack), &mut fx);
        load.on_turn_end(Time(micros), &mut fx);
        fx.send
            .iter()
            .map(|(_, message)| match message {
                Message::Request(request) => (request.from.0, request.values.len()),
                other => panic!("{other}"),
            })
            .collect()
    }

    #[test]
    fn it_keeps_values_in_flight_and_takes_their_time_after_the_warm_up() {
        let options = LoadOptions {
            value_bytes: 8,
            outstanding: 3,
            values_per_datagram: 2,
            warm_up: Duration::from_micros(100),
            duration: Duration::from_micros(100),
        };
        let report = Arc::new(Mutex::new(Measured::new()));
        let client = Client::new(SESSION, Assignment::Leader, Settings::default());
        let mut load = Load::new(client, options, Arc::clone(&report));
        let mut fx = Effects::new();
        load.on_start(Time(0), &mut fx);
        load.on_turn_end(Time(0), &mut fx);
        assert_eq!(fx.send.len(), 2, "three values, two a datagram");
        assert_eq!(acknowledge(&mut load, 110, 3), [(4, 2)]);
        assert_eq!(acknowledge(&mut load, 150, 4), [(6, 1)]);
        // Numbers 4 and 5 were submitted at 110, 6 at 150; the time for new ones is over.
        assert!(acknowledge(&mut load, 250, 7).is_empty());
        assert!(load.is_finished());
        let report = report.lock();
        assert_eq!((report.latency.len(), report.latency.max()), (3, 140));
        assert_eq!(report.elapsed, Duration::from_micros(150));
    }
}
