//! Reception from one group: drops early what nobody needs, and queues the rest.
//!
//! A thread waits for datagrams and feeds the inbox. While a role loop polls, the thread pauses and
//! the loop reads the socket itself, so that no datagram has to cross two threads: the holder of
//! the lock has the socket.
//!
//! It looks at headers only. It never decodes a body, touches the role, or waits for the role
//! loop, and no datagram and no error of the network can end it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use parking_lot::Mutex;

use super::inbox::{Datagram, Direct, InboxSender, Offered};
use super::neighbours::Neighbours;
use super::stats::Stats;
use crate::clock::{Clock, Pace};
use crate::net::DatagramReceiver;
use crate::protocol::message::{Interest, Kind};
use crate::protocol::types::To;
use crate::wire::{Codec, Header, Refusal};

/// The pause after a failure, so that a lasting one does not burn a core.
const PAUSE: Duration = Duration::from_millis(10);
/// How many datagrams may pass before the kernel's drops are considered again. The check costs a
/// system call or more, and happens at most once a second.
const LOOK_EVERY: u32 = 256;

/// How many datagrams of no interest one call skips, at most.
const PASSED_OVER_MAX: usize = 64;

/// A thread that receives.
#[derive(Debug)]
pub struct Receiver {
    thread: JoinHandle<()>,
    duty: Arc<Duty>,
}

/// What all receive threads of a process share.
#[derive(Clone)]
pub struct Reception {
    /// Reads headers, and knows who this process is.
    pub codec: Arc<Codec>,
    /// [`Interest::bits`] of the role, as the role loop publishes it.
    pub interest: Arc<AtomicU32>,
    /// Where datagrams go.
    pub inbox: InboxSender,
    /// Roles of this process that hear their part of a group by this role's socket, having none of
    /// their own in it.
    pub guests: Neighbours,
    /// Counts.
    pub stats: Arc<Stats>,
    /// Paces what is logged.
    pub clock: Clock,
}

impl Receiver {
    /// Starts to receive datagrams to `at`, a group or this process alone.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread.
    pub fn spawn(
        at: impl Into<To>,
        network: impl DatagramReceiver + 'static,
        reception: Reception,
    ) -> io::Result<Receiver> {
        Self::start(at.into(), network, reception, true).map(|(receiver, _)| receiver)
    }

    /// The same for a loop that polls: the thread pauses until the loop sleeps.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread.
    pub fn spawn_resting(
        at: impl Into<To>,
        network: impl DatagramReceiver + 'static,
        reception: Reception,
    ) -> io::Result<(Receiver, Arc<dyn Direct>)> {
        let (receiver, reading) = Self::start(at.into(), network, reception, false)?;
        let (duty, thread) = (Arc::clone(&receiver.duty), receiver.thread.thread().clone());
        Ok((receiver, Arc::new(Shared { reading, duty, thread })))
    }

    fn start<N: DatagramReceiver + 'static>(
        at: To,
        network: N,
        reception: Reception,
        always: bool,
    ) -> io::Result<(Receiver, Arc<Mutex<Reading<N>>>)> {
        let duty = Arc::new(Duty::new(always));
        let reading = Arc::new(Mutex::new(Reading::new(at, network, reception)));
        let (of_thread, on) = (Arc::clone(&reading), Arc::clone(&duty));
        let thread = thread::Builder::new()
            .name(format!("receive-{at}"))
            .spawn(move || run(&of_thread, &on))?;
        Ok((Receiver { thread, duty }, reading))
    }

    /// Asks the thread to end, and does not wait for it.
    pub fn stop(&self) {
        self.duty.is_over.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }

    /// Waits until the thread has ended: a wait of the network, about 100 ms, after it was asked.
    pub fn join(self) {
        self.stop();
        if self.thread.join().is_err() {
            log::error!("a receive thread failed; this is a bug in paxos; please report it");
        }
    }
}

/// The state of the thread's work.
#[derive(Debug)]
struct Duty {
    /// It watches the socket all the time: the loop does not read it, or does not poll at present.
    always: AtomicBool,
    /// It must watch the socket until something has arrived.
    is_wanted: AtomicBool,
    /// It must end.
    is_over: AtomicBool,
}

impl Duty {
    fn new(always: bool) -> Self {
        let (is_wanted, is_over) = (AtomicBool::new(always), AtomicBool::new(false));
        Duty { always: AtomicBool::new(always), is_wanted, is_over }
    }

    fn is_wanted(&self) -> bool {
        self.always.load(Ordering::Relaxed) || self.is_wanted.load(Ordering::Acquire)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// The thread: waits for datagrams whenever it is wanted.
fn run<N: DatagramReceiver>(reading: &Mutex<Reading<N>>, duty: &Duty) {
    while !duty.is_over() {
        if !duty.is_wanted() {
            thread::park();
            continue;
        }
        let mut reading = reading.lock();
        while duty.is_wanted() && !duty.is_over() {
            if reading.wait(duty) == Offered::Closed {
                return;
            }
        }
    }
    reading.lock().look_for_drops();
}

/// The loop's handle of a thread that pauses while the loop polls.
struct Shared<N> {
    reading: Arc<Mutex<Reading<N>>>,
    duty: Arc<Duty>,
    thread: Thread,
}

impl<N: DatagramReceiver> Direct for Shared<N> {
    fn look(&self, datagram: &mut Datagram) -> bool {
        self.reading.try_lock().is_some_and(|mut reading| reading.look(datagram))
    }

    fn watch(&self, always: bool) {
        // A thread that watches all the time need not be woken.
        if !self.duty.always.swap(always, Ordering::Relaxed) || !always {
            self.duty.is_wanted.store(true, Ordering::Release);
            self.thread.unpark();
        }
    }

    fn rest(&self) {
        self.duty.always.store(false, Ordering::Relaxed);
        self.duty.is_wanted.store(false, Ordering::Release);
    }
}

impl<N> fmt::Debug for Shared<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("duty", &self.duty).finish_non_exhaustive()
    }
}

/// The state of reception: the socket and everything around it.
struct Reading<N> {
    at: To,
    network: N,
    reception: Reception,
    /// The thread's buffer; a loop that reads brings its own.
    buffer: Option<Datagram>,
    since_look: u32,
    /// How many of the kernel's drops were counted already.
    kernel_dropped: u64,
    look_pace: Pace,
    error_pace: Pace,
    refusal_pace: Pace,
}

impl<N: DatagramReceiver> Reading<N> {
    fn new(at: To, network: N, reception: Reception) -> Self {
        Reading {
            at,
            network,
            reception,
            buffer: None,
            since_look: 0,
            kernel_dropped: 0,
            look_pace: Pace::default(),
            error_pace: Pace::default(),
            refusal_pace: Pace::default(),
        }
    }

    /// Waits for one datagram and puts it into the inbox.
    fn wait(&mut self, duty: &Duty) -> Offered {
        let mut buffer = self.buffer.take().unwrap_or_else(Datagram::with_room);
        let received = buffer.fill(|room| self.network.receive(room));
        self.consider_looking(!matches!(received, Ok(true)));
        if received.is_err() {
            // Here and not in the loop, which has timers to serve.
            thread::sleep(PAUSE);
        }
        let offered = if self.has_received(received) && self.is_wanted(&buffer) {
            // Before the loop wakes: it may need the thread again right afterwards.
            duty.is_wanted.store(false, Ordering::Release);
            self.reception.inbox.offer(&buffer)
        } else {
            Offered::Taken
        };
        if offered == Offered::Full {
            self.reception.stats.inbox_full.increment();
        }
        self.buffer = Some(buffer);
        offered
    }

    /// The next datagram of interest that has arrived. Bounded work: a flood of datagrams that
    /// nobody needs must not keep the loop from its timers.
    fn look(&mut self, datagram: &mut Datagram) -> bool {
        for _ in 0..PASSED_OVER_MAX {
            let received = datagram.fill(|room| self.network.try_receive(room));
            self.consider_looking(false);
            if !self.has_received(received) {
                return false;
            }
            if self.is_wanted(datagram) {
                return true;
            }
        }
        false
    }

    /// Whether there is a datagram.
    fn has_received(&mut self, received: io::Result<bool>) -> bool {
        match received {
            Ok(received) => received,
            Err(error) => {
                self.on_error(&error);
                false
            }
        }
    }

    /// Counts a datagram, and checks for drops now and then; more often at `leisure`.
    fn consider_looking(&mut self, leisure: bool) {
        self.since_look += 1;
        if self.since_look >= LOOK_EVERY || leisure {
            self.since_look = 0;
            if self.look_pace.allows(self.reception.clock.now()).is_some() {
                self.look_for_drops();
            }
        }
    }

    /// Whether the datagram is for the role; counts it. Hands it to guests that need it.
    fn is_wanted(&mut self, datagram: &[u8]) -> bool {
        let Reception { stats, guests, .. } = &self.reception;
        stats.received.increment();
        let triage = self.judge(datagram);
        if let Triage::Wanted(kind) | Triage::Uninteresting(kind) = triage {
            guests.hand_on(self.at, kind, datagram);
        }
        match triage {
            Triage::Wanted(_) => return true,
            Triage::Own => stats.own.increment(),
            Triage::Uninteresting(_) => stats.uninteresting.increment(),
            Triage::Refused(reason) => {
                stats.refused.increment(reason);
                log::debug!("{}: refused a datagram: {reason}", self.at);
                // Logged once: it is no error, but the operator may not know of it.
                if reason == Refusal::OtherCluster && stats.refused.count(reason) == 1 {
                    log::info!(
                        target: "paxos::report",
                        "another cluster uses the group of the {}; its datagrams are dropped, and \
                         cost time: give one of the two other ports",
                        self.at
                    );
                }
                // An error in the configuration that keeps everything from working.
                let is_mistake = matches!(
                    reason,
                    Refusal::Sealed | Refusal::OtherAcceptorCount { .. } | Refusal::OtherVersion
                );
                if is_mistake
                    && let Some(more) = self.refusal_pace.allows(self.reception.clock.now())
                {
                    log::warn!("{}: refused a datagram, {reason}; {more} more before", self.at);
                }
            }
        }
        false
    }

    /// Judges a datagram by its header.
    fn judge(&self, datagram: &[u8]) -> Triage {
        let Reception { codec, interest, .. } = &self.reception;
        let interest = Interest::from_bits(interest.load(Ordering::Relaxed));
        match codec.header(datagram) {
            Err(reason) => Triage::Refused(reason),
            Ok(Header { sender, .. }) if codec.is_own(sender) => Triage::Own,
            Ok(Header { kind, .. }) => {
                let is_taken = kind.is_taken(codec.sender().node.role, self.at.group());
                if is_taken && interest.includes(kind) {
                    Triage::Wanted(kind)
                } else {
                    Triage::Uninteresting(kind)
                }
            }
        }
    }

    fn on_error(&mut self, error: &io::Error) {
        self.reception.stats.receive_errors.increment();
        if let Some(more) = self.error_pace.allows(self.reception.clock.now()) {
            log::warn!("cannot receive at {} ({error}); {more} more before", self.at);
        }
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
            "the kernel has dropped {dropped} datagrams to {} by now: the machine is too slow or \
             the socket buffer too small",
            self.at
        );
    }
}

/// The verdict on a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Triage {
    Wanted(Kind),
    Own,
    Uninteresting(Kind),
    Refused(Refusal),
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::inbox::{Event, inbox};
    use super::super::neighbours::Neighbour;
    use super::*;
    use crate::net::DatagramSender;
    use crate::net::memory::MemoryNetwork;
    use crate::protocol::entries::Entries;
    use crate::protocol::message::{Accept, Kind, Message, Nack};
    use crate::protocol::types::{Ballot, Few, Instance, NodeId, Role, Sender};

    const OWN: Sender = Sender { node: NodeId { role: Role::Acceptor, id: 1 }, boot: 7 };
    const DATAGRAM_BYTES: usize = 1472;

    /// A network that gives these datagrams, then stops the thread.
    struct Network {
        datagrams: VecDeque<io::Result<Vec<u8>>>,
        duty: Arc<Duty>,
    }

    impl DatagramReceiver for Network {
        fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
            let Some(datagram) = self.datagrams.pop_front() else {
                self.duty.is_over.store(true, Ordering::Relaxed);
                return Ok(None);
            };
            let datagram = datagram?;
            buffer[..datagram.len()].copy_from_slice(&datagram);
            Ok(Some(datagram.len()))
        }

        fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
            self.receive(buffer)
        }

        fn dropped(&self) -> u64 {
            5
        }
    }

    fn datagram_from(sender: Sender) -> Vec<u8> {
        let nack = Nack { rejected: Ballot::ZERO, promised: Ballot::ZERO };
        encoded(sender, &Message::Nack(nack))
    }

    fn encoded(sender: Sender, message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        let codec = Codec::new("test", 3, sender, DATAGRAM_BYTES);
        codec.encode(message, &mut bytes).unwrap();
        bytes
    }

    /// Runs the thread's code to its end over these, with room for two events.
    fn receive(
        datagrams: Vec<io::Result<Vec<u8>>>,
        interest: Interest,
    ) -> (Vec<Event>, Arc<Stats>) {
        let (sender, mut inbox) = inbox(2);
        let stats = Arc::new(Stats::default());
        let reception = Reception {
            codec: Arc::new(Codec::new("test", 3, OWN, DATAGRAM_BYTES)),
            interest: Arc::new(AtomicU32::new(interest.bits())),
            inbox: sender,
            guests: Neighbours::default(),
            stats: Arc::clone(&stats),
            clock: Clock::start(),
        };
        let duty = Arc::new(Duty::new(true));
        let network = Network { datagrams: datagrams.into(), duty: Arc::clone(&duty) };
        run(&Mutex::new(Reading::new(Role::Acceptor.into(), network, reception)), &duty);
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
        assert_eq!(events, [Event::Datagram(other_boot[..].into())]);
        assert_eq!(stats.received.count(), 4);
        assert_eq!(stats.own.count(), 1);
        assert_eq!(stats.refused.counts().iter().map(|(_, count)| count).sum::<u64>(), 2);
        assert_eq!(stats.kernel_dropped.count(), 5);

        let (events, stats) = receive(vec![Ok(other_boot)], Interest::of(&[Kind::Accept]));
        assert_eq!(events, []);
        assert_eq!(stats.uninteresting.count(), 1);
    }

    /// Another role of the process has no socket of its own in the group.
    #[test]
    fn guests_get_what_they_take_from_the_group_and_nothing_else() {
        let ((sender, _inbox), (to_guest, mut heard)) = (inbox(4), inbox(4));
        let learner = Sender { node: NodeId::new(Role::Learner, 1), boot: 7 };
        let guest = Neighbour {
            sender: learner,
            inbox: to_guest,
            interest: Arc::new(AtomicU32::new(Interest::of(&[Kind::Accept, Kind::Nack]).bits())),
            stats: Arc::new(Stats::default()),
        };
        let of_guest = Arc::clone(&guest.stats);
        let mut codec = Codec::new("test", 3, OWN, DATAGRAM_BYTES);
        codec.share_process([learner]);
        let reception = Reception {
            codec: Arc::new(codec),
            // The acceptor itself needs none of it.
            interest: Arc::new(AtomicU32::new(0)),
            inbox: sender,
            guests: Neighbours::new(vec![guest]),
            stats: Arc::new(Stats::default()),
            clock: Clock::start(),
        };
        let leader = Sender { node: NodeId::new(Role::Proposer, 2), boot: 8 };
        let accept = |sender| {
            let accept = Accept {
                ballot: Ballot::ZERO,
                watermark: Instance::FIRST,
                chosen: Few::default(),
                full: false,
                from: Instance::FIRST,
                entries: Entries::from_iter([]),
            };
            encoded(sender, &Message::Accept(accept))
        };
        // Those of this process have come already, without a socket.
        let datagrams = [accept(OWN), accept(learner), datagram_from(leader), accept(leader)];
        let duty = Arc::new(Duty::new(true));
        let datagrams = datagrams.into_iter().map(Ok).collect();
        let network = Network { datagrams, duty: Arc::clone(&duty) };
        run(&Mutex::new(Reading::new(Role::Acceptor.into(), network, reception)), &duty);
        let heard: Vec<Event> = std::iter::from_fn(|| heard.poll()).collect();
        assert_eq!(heard, [Event::Datagram(accept(leader)[..].into())]);
        assert_eq!((of_guest.received.count(), of_guest.neighbours.count()), (1, 0));
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
            codec: Arc::new(Codec::new("test", 3, OWN, DATAGRAM_BYTES)),
            interest: Arc::new(AtomicU32::new(0)),
            inbox: sender,
            guests: Neighbours::default(),
            stats: Arc::new(Stats::default()),
            clock: Clock::start(),
        };
        let network = |duty| Network { datagrams: VecDeque::new(), duty };
        let idle = || network(Arc::new(Duty::new(true)));
        Receiver::spawn(Role::Acceptor, idle(), reception.clone()).unwrap().join();
        let (resting, _) = Receiver::spawn_resting(Role::Acceptor, idle(), reception).unwrap();
        resting.join();
    }

    /// While the loop is awake it finds datagrams itself; while it sleeps the thread brings them.
    #[test]
    fn a_loop_that_polls_takes_turns_with_the_thread() {
        let (sender, mut inbox) = inbox(2);
        let reception = Reception {
            codec: Arc::new(Codec::new("test", 3, OWN, DATAGRAM_BYTES)),
            interest: Arc::new(AtomicU32::new(Interest::of(&[Kind::Nack]).bits())),
            inbox: sender,
            guests: Neighbours::default(),
            stats: Arc::new(Stats::default()),
            clock: Clock::start(),
        };
        let network = MemoryNetwork::new();
        let member = network.join(Role::Acceptor, 100);
        let (receiver, direct) =
            Receiver::spawn_resting(Role::Acceptor, member, reception).unwrap();
        inbox.look_at(direct);
        let datagram = datagram_from(Sender { boot: 8, ..OWN });
        let event = Some(Event::Datagram(datagram[..].into()));
        assert_eq!(inbox.poll(), None);
        network.send(Role::Acceptor, (&datagram_from(OWN)).into()).unwrap();
        network.send(Role::Acceptor, (&datagram).into()).unwrap();
        assert_eq!(inbox.poll(), event, "what is of no interest is passed over");
        (0..PASSED_OVER_MAX)
            .for_each(|_| network.send(Role::Acceptor, (&datagram_from(OWN)).into()).unwrap());
        network.send(Role::Acceptor, (&datagram).into()).unwrap();
        assert_eq!(inbox.poll(), None, "but not for ever");
        assert_eq!(inbox.poll(), event);
        for _ in 0..100 {
            network.send(Role::Acceptor, (&datagram).into()).unwrap();
            assert_eq!(inbox.wait(None, true), event);
        }
        // A loop that does not poll leaves the socket to the thread, and takes it back later.
        for polls in [false, false, true, true, false, true] {
            if polls {
                inbox.rest();
            }
            for _ in 0..10 {
                network.send(Role::Acceptor, (&datagram).into()).unwrap();
                assert_eq!(inbox.wait(None, polls), event);
            }
        }
        receiver.join();
    }
}
