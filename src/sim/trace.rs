//! What a simulated run leaves behind: a hash of everything, and lines for a reader.

use std::fmt;

use super::record::{Record, SharedRecord};
use crate::protocol::message::Kind;
use crate::protocol::timer::Timer;
use crate::protocol::types::Time;

/// How much of a run is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Nothing.
    Silence,
    /// Faults, leaders, starts and ends.
    Story,
    /// Also messages, timers and deliveries, without those of an idle cluster.
    Messages,
    /// Also heartbeats, echoes, and the timers behind them.
    Everything,
}

impl Detail {
    /// From which detail on messages of a kind are printed.
    pub fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::Heartbeat | Kind::Echo | Kind::Durable => Detail::Everything,
            _ => Detail::Messages,
        }
    }

    /// From which detail on a timer is printed.
    pub fn of_timer(timer: Timer) -> Self {
        match timer {
            Timer::Heartbeat | Timer::Election => Detail::Everything,
            _ => Detail::Messages,
        }
    }
}

/// What the lines of a trace mean.
pub const LEGEND: &str = "\
legend: seconds since the start; P proposer, A acceptor, L learner, C client
  P1 -> acceptors: M    P1 sends message M to a group
  A1 <- P1 M            A1 reads it, in a turn of its loop
  A1 -/- P1 M: lost     A1 never does, and why
  P1 RetryAccept is due a timer of P1 goes off
  1.P1                  ballot: round 1 of P1
  2 C1#3* \"x\"           instance 2 holds value number 3 of C1 (*: the leader chose the instance)
  4..6                  instances 4 and 5; #4..#6 are the numbers of a client's values
  watermark 1 decided 0 everything below instance 1 is decided, 0 instances in all
  RequestAck delivered  what the leader knows to be decided; a learner may not have it yet";

/// The trace of one run. The same seed gives the same hash.
pub struct Trace {
    hash: u64,
    detail: Detail,
    line: Box<dyn FnMut(&str)>,
    record: Option<SharedRecord>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({:016x})", self.hash)
    }
}

impl Trace {
    /// A trace that nobody reads.
    pub fn silent() -> Self {
        Self::told(Detail::Silence, |_| ())
    }

    /// A trace that hands its lines to `line`.
    pub fn told(detail: Detail, line: impl FnMut(&str) + 'static) -> Self {
        Trace { hash: 0, detail, line: Box::new(line), record: None }
    }

    /// The same, and what happens is kept in `record`.
    pub fn recorded(self, record: SharedRecord) -> Self {
        Trace { record: Some(record), ..self }
    }

    /// Lets `note` write into the record, if there is one. It does not touch the hash.
    pub fn record<T: Default>(&self, note: impl FnOnce(&mut Record) -> T) -> T {
        self.record.as_ref().map(|record| note(&mut record.borrow_mut())).unwrap_or_default()
    }

    /// The hash of everything that happened so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Adds a number to the hash.
    pub fn mix(&mut self, number: u64) {
        // Multiply and rotate: fast, and spread well enough to distinguish two runs.
        self.hash = (self.hash.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// Adds bytes to the hash.
    pub fn mix_bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        let last = rest.iter().fold(rest.len() as u64, |last, byte| last << 8 | u64::from(*byte));
        self.mix(last);
    }

    /// Whether this much detail is wanted.
    pub fn tells(&self, detail: Detail) -> bool {
        detail <= self.detail
    }

    /// Prints something, if this much detail is wanted. It does not touch the hash.
    pub fn tell(&mut self, detail: Detail, now: Time, what: fmt::Arguments<'_>) {
        if self.tells(detail) {
            let seconds = now.0 as f64 / 1e6;
            (self.line)(&format!("{seconds:11.6}  {what}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_its_place_count() {
        let hash = |bytes: &[u8]| {
            let mut trace = Trace::silent();
            trace.mix_bytes(bytes);
            trace.hash()
        };
        let all = [b"".as_slice(), b"a", b"b", b"ab", b"ba", b"\0", b"01234567", b"012345670"];
        for (place, one) in all.iter().enumerate() {
            assert!(all[..place].iter().all(|other| hash(one) != hash(other)), "{one:?}");
        }
    }
}
