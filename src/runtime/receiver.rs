//! The thread that receives from one group: drops early what nobody needs, and queues the rest.
//!
//! It looks at headers only. It never decodes a body, touches the role, or waits for the role
//! loop, and no datagram and no error of the network can end it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::inbox::{InboxSender, Offered};
use super::stats::Stats;
use crate::clock::{Clock, Pace};
use crate::net::DatagramReceiver;
use crate::protocol::message::Interest;
use crate::protocol::types::Role;
use crate::wire::{Codec, Header, Refusal};

/// Room for every datagram there can be: one that is cut off would be misread.
const BUFFER_BYTES: usize = 1 << 16;
/// After a failure, so that one that stays does not burn a core.
const PAUSE: Duration = Duration::from_millis(10);
/// How many datagrams may pass before it is time to think of what the kernel dropped. The look
/// itself costs a system call or more, and happens once a second at most.
const LOOK_EVERY: u32 = 256;

/// A thread that receives.
#[derive(Debug)]
pub struct Receiver {
    thread: JoinHandle<()>,
    stopping: Arc<AtomicBool>,
}

/// What all receive threads of a process have in common.
#[derive(Clone)]
pub struct Reception {
    /// Reads headers, and knows who this process is.
    pub codec: Arc<Codec>,
    /// [`Interest::bits`] of the role, as the role loop publishes it.
    pub interest: Arc<AtomicU32>,
    /// Where datagrams go.
    pub inbox: InboxSender,
    /// Counts.
    pub stats: Arc<Stats>,
    /// Paces what is logged.
    pub clock: Clock,
}

impl Receiver {
    /// Starts to receive what is sent to the group of `group`.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread.
    pub fn spawn(
        group: Role,
        network: impl DatagramReceiver + 'static,
        reception: Reception,
    ) -> io::Result<Receiver> {
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let mut reading = Reading {
            group,
            network,
            reception,
            kernel_dropped: 0,
            look_pace: Pace::default(),
            error_pace: Pace::default(),
        };
        let thread = thread::Builder::new()
            .name(format!("receive-{group}s"))
            .spawn(move || reading.run(&stop))?;
        Ok(Receiver { thread, stopping })
    }

    /// Asks the thread to end, and does not wait for it.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Waits until the thread has ended: a wait of the network, about 100 ms, after it was asked.
    pub fn join(self) {
        self.stop();
        if self.thread.join().is_err() {
            log::error!("a receive thread failed; this is a mistake in the program");
        }
    }
}

/// The state of the thread.
struct Reading<N> {
    group: Role,
    network: N,
    reception: Reception,
    /// What was counted already.
    kernel_dropped: u64,
    look_pace: Pace,
    error_pace: Pace,
}

impl<N: DatagramReceiver> Reading<N> {
    fn run(&mut self, stop: &AtomicBool) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut since_look = 0;
        while !stop.load(Ordering::Relaxed) {
            let received = self.network.receive(&mut buffer);
            since_look += 1;
            if since_look >= LOOK_EVERY || !matches!(received, Ok(Some(_))) {
                since_look = 0;
                if self.look_pace.allows(self.reception.clock.now()).is_some() {
                    self.look_for_drops();
                }
            }
            match received {
                Ok(Some(length)) => {
                    if self.on_datagram(&buffer[..length]) == Offered::Closed {
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => self.on_error(&error),
            }
        }
        self.look_for_drops();
    }

    fn on_datagram(&self, datagram: &[u8]) -> Offered {
        let Reception { inbox, stats, .. } = &self.reception;
        stats.received.increment();
        match self.judge(datagram) {
            Verdict::Wanted => {
                let offered = inbox.offer(datagram);
                if offered == Offered::Full {
                    stats.inbox_full.increment();
                }
                return offered;
            }
            Verdict::Own => stats.own.increment(),
            Verdict::Uninteresting => stats.uninteresting.increment(),
            Verdict::Refused(reason) => {
                stats.refused.increment(reason);
                log::debug!("{}s: refused a datagram: {reason}", self.group);
            }
        }
        Offered::Taken
    }

    /// Judges a datagram by its header.
    fn judge(&self, datagram: &[u8]) -> Verdict {
        let Reception { codec, interest, .. } = &self.reception;
        let interest = Interest::from_bits(interest.load(Ordering::Relaxed));
        match codec.header(datagram) {
            Err(reason) => Verdict::Refused(reason),
            Ok(Header { sender, .. }) if codec.is_own(sender) => Verdict::Own,
            Ok(Header { kind, .. }) if !interest.includes(kind) => Verdict::Uninteresting,
            Ok(_) => Verdict::Wanted,
        }
    }

    fn on_error(&mut self, error: &io::Error) {
        self.reception.stats.receive_errors.increment();
        if let Some(more) = self.error_pace.allows(self.reception.clock.now()) {
            log::warn!("cannot receive from the {}s ({error}); {more} more before", self.group);
        }
        thread::sleep(PAUSE);
    }

    fn look_for_drops(&mut self) {
        let dropped = self.network.dropped();
        let more = dropped.saturating_sub(self.kernel_dropped);
        if more == 0 {
            return;
        }
        self.kernel_dropped = dropped;
        self.reception.stats.kernel_dropped.add(more);
        log::warn!(
            "the kernel has dropped {dropped} datagrams to the {}s by now: the machine is too \
             slow or the socket buffer too small",
            self.group
        );
    }
}

/// What is to become of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Wanted,
    Own,
    Uninteresting,
    Refused(Refusal),
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::inbox::{Event, inbox};
    use super::*;
    use crate::protocol::message::{Kind, Message, Nack};
    use crate::protocol::types::{Ballot, NodeId, Sender};

    const OWN: Sender = Sender { node: NodeId { role: Role::Acceptor, id: 1 }, boot: 7 };
    const DATAGRAM_BYTES: usize = 1472;

    /// Gives these, then stops the thread that asks.
    struct Network {
        datagrams: VecDeque<io::Result<Vec<u8>>>,
        done: Arc<AtomicBool>,
    }

    impl DatagramReceiver for Network {
        fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
            let Some(datagram) = self.datagrams.pop_front() else {
                self.done.store(true, Ordering::Relaxed);
                return Ok(None);
            };
            let datagram = datagram?;
            buffer[..datagram.len()].copy_from_slice(&datagram);
            Ok(Some(datagram.len()))
        }

        fn dropped(&self) -> u64 {
            5
        }
    }

    fn datagram_from(sender: Sender) -> Vec<u8> {
        let nack = Nack { rejected: Ballot::ZERO, promised: Ballot::ZERO };
        let mut bytes = Vec::new();
        let codec = Codec::new("test", sender, DATAGRAM_BYTES);
        codec.encode(&Message::Nack(nack), &mut bytes).unwrap();
        bytes
    }

    /// Runs the thread's code to its end over these, with room for two events.
    fn receive(
        datagrams: Vec<io::Result<Vec<u8>>>,
        interest: Interest,
    ) -> (Vec<Event>, Arc<Stats>) {
        let (sender, inbox) = inbox(2);
        let stats = Arc::new(Stats::default());
        let reception = Reception {
            codec: Arc::new(Codec::new("test", OWN, DATAGRAM_BYTES)),
            interest: Arc::new(AtomicU32::new(interest.bits())),
            inbox: sender,
            stats: Arc::clone(&stats),
            clock: Clock::start(),
        };
        let done = Arc::new(AtomicBool::new(false));
        let network = Network { datagrams: datagrams.into(), done: Arc::clone(&done) };
        let mut reading = Reading {
            group: Role::Acceptor,
            network,
            reception,
            kernel_dropped: 0,
            look_pace: Pace::default(),
            error_pace: Pace::default(),
        };
        reading.run(&done);
        (std::iter::from_fn(|| inbox.poll()).collect(), stats)
    }

    #[test]
    fn what_nobody_needs_is_dropped_undecoded_and_counted() {
        let other_boot = datagram_from(Sender { boot: 8, ..OWN });
        let datagrams = vec![
            Ok(datagram_from(OWN)),
            Ok(other_boot.clone()),
            Ok(b"not one of ours".to_vec()),
            Ok(Vec::new()),
        ];
        let (events, stats) = receive(datagrams, Interest::of(&[Kind::Nack]));
        assert_eq!(events, [Event::Datagram(other_boot.clone().into())]);
        assert_eq!(stats.received.count(), 4);
        assert_eq!(stats.own.count(), 1);
        assert_eq!(stats.refused.counts().iter().map(|(_, count)| count).sum::<u64>(), 2);
        assert_eq!(stats.kernel_dropped.count(), 5);

        let (events, stats) = receive(vec![Ok(other_boot)], Interest::of(&[Kind::Accept]));
        assert_eq!(events, []);
        assert_eq!(stats.uninteresting.count(), 1);
    }

    #[test]
    fn a_full_inbox_is_counted_and_errors_are_survived() {
        let datagram = || Ok(datagram_from(Sender { boot: 8, ..OWN }));
        let datagrams =
            vec![datagram(), Err(io::Error::other("no network")), datagram(), datagram()];
        let (events, stats) = receive(datagrams, Interest::of(&[Kind::Nack]));
        assert_eq!(events.len(), 2);
        assert_eq!(stats.inbox_full.count(), 1);
        assert_eq!(stats.receive_errors.count(), 1);
        assert_eq!(stats.received.count(), 3);
    }

    #[test]
    fn the_thread_ends_when_it_is_asked_to() {
        let (sender, _inbox) = inbox(2);
        let reception = Reception {
            codec: Arc::new(Codec::new("test", OWN, DATAGRAM_BYTES)),
            interest: Arc::new(AtomicU32::new(0)),
            inbox: sender,
            stats: Arc::new(Stats::default()),
            clock: Clock::start(),
        };
        let network =
            Network { datagrams: VecDeque::new(), done: Arc::new(AtomicBool::new(false)) };
        let receiver = Receiver::spawn(Role::Acceptor, network, reception).unwrap();
        receiver.join();
    }
}
