//! The client, which also starts and ends the nodes. It measures as `paxos bench` does.

use std::collections::VecDeque;
use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Asked;
use crate::network::{Arrived, Source, open};
use crate::peer::NODES;
use crate::report::{Measured, histogram};
use crate::wire::{self, Datagram};

/// How long nothing is measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long nodes may take to agree on a leader.
const ELECTION: Duration = Duration::from_secs(10);
/// How long nodes may take afterwards until all know the same.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Between two questions for the leader.
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
/// After how long without an answer everything in flight is sent again: a library repeats no
/// message of its own before it hears more.
const RETRY: Duration = Duration::from_millis(200);
/// After how long without an answer the run has failed.
const STUCK: Duration = Duration::from_secs(5);

/// The node processes; they die with this one.
struct Nodes {
    children: Vec<Child>,
    addresses: Vec<SocketAddr>,
}

impl Nodes {
    /// Starts the nodes, and gives each the addresses of the others.
    fn start() -> io::Result<Self> {
        let this = env::current_exe()?;
        let mut nodes = Nodes { children: Vec::new(), addresses: Vec::new() };
        for id in 1..=NODES {
            let child = Command::new(&this)
                .args(env::args_os().skip(1))
                .args(["--node", &id.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            nodes.children.push(child);
        }
        let mut ports = String::new();
        for child in &mut nodes.children {
            let output = child.stdout.take().ok_or_else(|| io::Error::other("a node is mute"))?;
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line)?;
            let port = line.trim().parse().map_err(io::Error::other)?;
            nodes.addresses.push((Ipv4Addr::LOCALHOST, port).into());
            ports += &format!("{port} ");
        }
        ports.push('\n');
        for child in &mut nodes.children {
            let input = child.stdin.as_mut().ok_or_else(|| io::Error::other("a node is deaf"))?;
            input.write_all(ports.as_bytes())?;
        }
        Ok(nodes)
    }

    /// Asks the nodes for their states until `is_enough` holds for them.
    fn ask(
        &self,
        socket: &UdpSocket,
        source: &mut Source,
        patience: Duration,
        is_enough: impl Fn(&[State]) -> bool,
    ) -> io::Result<Vec<State>> {
        let mut states = vec![State::default(); self.addresses.len()];
        let (start, mut batch) = (Instant::now(), Vec::new());
        let mut next = start;
        while start.elapsed() < patience && !is_enough(&states) {
            if Instant::now() >= next {
                next = Instant::now() + PROBE_INTERVAL;
                for address in &self.addresses {
                    socket.send_to(&wire::probe(), address)?;
                }
            }
            source.batch(&mut batch)?;
            for (datagram, sender) in &batch {
                let node = self.addresses.iter().position(|address| address == sender);
                if let (Some(node), Some(Datagram::State { is_leader, decided })) =
                    (node, wire::read(datagram))
                {
                    states[node] = State { is_leader, decided };
                }
            }
        }
        Ok(states)
    }
}

/// A node's report of its state.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    is_leader: bool,
    decided: u64,
}

/// How many entries the slowest node is behind the fastest.
fn behind(states: &[State]) -> u64 {
    let decided = || states.iter().map(|state| state.decided);
    decided().max().unwrap_or(0) - decided().min().unwrap_or(0)
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The values in flight, and the results of the others.
struct Load<'a> {
    asked: &'a Asked,
    socket: UdpSocket,
    leader: SocketAddr,
    value: Vec<u8>,
    buffer: Vec<u8>,
    /// The first number that is not known to be decided.
    front: u64,
    /// From `front` on: when each was submitted; none once it is known to be decided.
    in_flight: VecDeque<Option<Instant>>,
    /// How many of these are not.
    open: u64,
    begin: Instant,
    end: Instant,
    last: Instant,
    latency: Histogram<u64>,
    resent: u64,
}

impl Load<'_> {
    fn send(&mut self, from: u64, values: u64) -> Result<(), String> {
        wire::request(from, values, &self.value, &mut self.buffer);
        let sent = self.socket.send_to(&self.buffer, self.leader);
        sent.map(|_| ()).map_err(|error| format!("cannot send to the leader: {error}"))
    }

    /// Submits as much as may be in flight.
    fn submit(&mut self, now: Instant, most: u64) -> Result<(), String> {
        while self.open < self.asked.outstanding {
            let values = most.min(self.asked.outstanding - self.open);
            self.send(self.front + self.in_flight.len() as u64, values)?;
            self.in_flight.extend((0..values).map(|_| Some(now)));
            self.open += values;
        }
        Ok(())
    }

    /// Sends unanswered values again.
    fn submit_again(&mut self) -> Result<(), String> {
        for place in 0..self.in_flight.len() {
            if self.in_flight[place].is_some() {
                self.resent += 1;
                self.send(self.front + place as u64, 1)?;
            }
        }
        Ok(())
    }

    fn on_datagram(&mut self, now: Instant, (datagram, _): &Arrived) -> Result<(), String> {
        match wire::read(datagram) {
            Some(Datagram::Decided(runs)) => {
                for (from, until) in runs {
                    (from..until).for_each(|number| self.on_decided(now, number));
                }
                Ok(())
            }
            // Answers to questions from before.
            Some(Datagram::State { .. }) => Ok(()),
            other => Err(format!("a client cannot read {other:?}")),
        }
    }

    fn on_decided(&mut self, now: Instant, number: u64) {
        // Before the front: decided twice, after it was sent twice.
        let Some(place) = number.checked_sub(self.front) else { return };
        let Some(submitted) = self.in_flight.get_mut(place as usize).and_then(Option::take) else {
            return;
        };
        self.open -= 1;
        if submitted >= self.begin && submitted < self.end {
            self.latency.saturating_record((now - submitted).as_micros() as u64);
            self.last = now;
        }
        while self.in_flight.front() == Some(&None) {
            self.in_flight.pop_front();
            self.front += 1;
        }
    }

    fn run(&mut self, source: &mut Source) -> Result<(), String> {
        let fitting = wire::values_that_fit(self.value.len());
        let asked = self.asked.values_per_datagram;
        let most = if asked == 0 { fitting } else { asked.min(fitting) };
        let (mut batch, mut heard, mut retry) = (Vec::new(), Instant::now(), RETRY);
        loop {
            let now = Instant::now();
            if now < self.end {
                self.submit(now, most)?;
            } else if self.open == 0 {
                return Ok(());
            }
            source.batch(&mut batch).map_err(|error| format!("cannot receive: {error}"))?;
            let now = Instant::now();
            if !batch.is_empty() {
                (heard, retry) = (now, RETRY);
            }
            for arrived in &batch {
                self.on_datagram(now, arrived)?;
            }
            if now - heard > STUCK {
                return Err(format!("no answer from the leader for {} s", STUCK.as_secs()));
            }
            if now - heard > retry {
                retry += RETRY;
                self.submit_again()?;
            }
        }
    }

    fn report(self, behind: u64) -> String {
        let receive = format!("{:?}", self.asked.receive).to_lowercase();
        let more = serde_json::json!({
            "peer": self.asked.name(), "receive": receive,
            "values_per_datagram": self.asked.values_per_datagram, "resent": self.resent,
            "behind": behind,
        });
        let measured = Measured {
            outstanding: self.asked.outstanding,
            value_bytes: self.value.len(),
            seconds: (self.last - self.begin).as_secs_f64(),
            latency: self.latency,
        };
        measured.report(more)
    }
}

/// Starts nodes, measures them, ends them, and gives the result as a JSON object.
pub fn measure(asked: &Asked) -> Result<String, String> {
    let failed = |error: io::Error| format!("cannot start: {error}");
    let nodes = Nodes::start().map_err(failed)?;
    let socket = open().map_err(failed)?;
    let mut source = Source::new(&socket, asked.receive, asked.busy_poll()).map_err(failed)?;
    let asking = |error: io::Error| format!("cannot ask the nodes: {error}");
    let has_leader = |states: &[State]| states.iter().any(|state| state.is_leader);
    let states = nodes.ask(&socket, &mut source, ELECTION, has_leader).map_err(asking)?;
    let leader = states.iter().position(|state| state.is_leader);
    let leader = leader.ok_or_else(|| format!("no leader after {} s", ELECTION.as_secs()))?;
    let leader = nodes.addresses[leader];
    let begin = Instant::now() + WARM_UP;
    let mut load = Load {
        asked,
        socket,
        leader,
        value: vec![b'v'; asked.size as usize],
        buffer: Vec::new(),
        front: 1,
        in_flight: VecDeque::new(),
        open: 0,
        begin,
        end: begin + asked.duration(),
        last: begin,
        latency: histogram()?,
        resent: 0,
    };
    load.run(&mut source)?;
    // A node that does not keep up leaves the others less to do: a result to be doubted.
    let are_level = |states: &[State]| states[0].decided > 0 && behind(states) == 0;
    let states = nodes.ask(&load.socket, &mut source, CATCH_UP, are_level).map_err(asking)?;
    drop(nodes);
    Ok(load.report(behind(&states)))
}
