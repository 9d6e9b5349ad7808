//! Laps: how long a given number of decisions takes while a load goes on.
//!
//! A measuring program asks for one sample after the other on standard input, and the load never
//! pauses in between: all samples share its session, sockets and window.

use std::io::{self, BufRead, Write};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use log::error;

use crate::protocol::types::Time;

/// The load's end.
#[derive(Debug)]
pub struct Laps {
    /// How many decisions the next lap has. Disconnected when there will be no more laps.
    asked: Receiver<u64>,
    /// How long each lap took.
    took: Sender<Duration>,
    running: Option<Lap>,
    is_over: bool,
}

/// A lap from one decision to another.
#[derive(Debug)]
struct Lap {
    decisions: u64,
    start: Time,
    decided: u64,
}

impl Laps {
    /// Laps, and the other ends: for the requested decisions, and for the times they took.
    pub fn new() -> (Self, Sender<u64>, Receiver<Duration>) {
        let ((ask, asked), (took, taken)) = (bounded(1), bounded(1));
        (Laps { asked, took, running: None, is_over: false }, ask, taken)
    }

    /// Reads a number of decisions from each line of `input`, and writes the nanoseconds that they
    /// took as a line of `output`. The end of the input, and a line that is no number from 1, end
    /// the load.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn spawn(
        input: impl BufRead + Send + 'static,
        mut output: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let (laps, ask, taken) = Laps::new();
        let serve = move || {
            for line in input.lines() {
                let asked = line.ok().and_then(|line| line.trim().parse().ok());
                let Some(decisions) = asked.filter(|decisions| *decisions > 0) else {
                    error!("a lap is a number of decisions, from 1, on a line of its own");
                    return;
                };
                let took = ask.send(decisions).ok().and_then(|()| taken.recv().ok());
                // The load has ended, or nobody reads.
                let Some(took) = took else { return };
                let written = writeln!(output, "{}", took.as_nanos()).and_then(|()| output.flush());
                if written.is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("laps".to_owned()).spawn(serve)?;
        Ok(laps)
    }

    /// `values` values were decided together. A lap that ends within such a turn gets a share of
    /// the time, in proportion to its decisions. No lap takes zero time.
    pub fn on_decided(&mut self, now: Time, values: u64) {
        if let Some(lap) = &mut self.running {
            lap.decided += values;
            if lap.decided < lap.decisions || now == lap.start {
                return;
            }
            let nanos = now.since(lap.start).as_nanos() * u128::from(lap.decisions);
            let took = (nanos / u128::from(lap.decided)).try_into().unwrap_or(u64::MAX);
            // If nobody waits for it, nobody will ask again.
            self.is_over |= self.took.try_send(Duration::from_nanos(took)).is_err();
            self.running = None;
        }
        match self.asked.try_recv() {
            Ok(decisions) => self.running = Some(Lap { decisions, start: now, decided: 0 }),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.is_over = true,
        }
    }

    /// Whether there will be no more laps.
    pub fn are_over(&self) -> bool {
        self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lap_goes_from_decision_to_decision() {
        let (mut laps, ask, taken) = Laps::new();
        laps.on_decided(Time(10), 5);
        ask.send(4).unwrap();
        laps.on_decided(Time(100), 7);
        laps.on_decided(Time(130), 3);
        assert!(taken.is_empty(), "the turn in which it began is not part of it");
        laps.on_decided(Time(150), 2);
        // Five decisions took 50 us, and it has four.
        assert_eq!(taken.try_recv(), Ok(Duration::from_micros(40)));
        assert!(!laps.are_over());
        drop(ask);
        laps.on_decided(Time(160), 1);
        assert!(laps.are_over());
    }

    #[test]
    fn a_lap_takes_time() {
        let (mut laps, ask, taken) = Laps::new();
        ask.send(1).unwrap();
        laps.on_decided(Time(10), 1);
        laps.on_decided(Time(10), 1);
        assert!(taken.is_empty(), "two acknowledgements of one turn");
        laps.on_decided(Time(20), 2);
        // Three decisions took 10 us, and it has one.
        assert_eq!(taken.try_recv(), Ok(Duration::from_nanos(3_333)));
    }

    #[test]
    fn lines_are_asked_and_answered_one_by_one() {
        let (reader, writer) = io::pipe().unwrap();
        let mut laps = Laps::spawn(&b"2\n3\nlots\n4\n"[..], writer).unwrap();
        let mut now = 0;
        while !laps.are_over() {
            now += 10;
            laps.on_decided(Time(now), 1);
        }
        let lines: Vec<String> = io::BufReader::new(reader).lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["20000", "30000"]);
    }
}
