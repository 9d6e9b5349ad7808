//! One thread for all roles of a process, where the configuration says so (`role_threads shared`).
//!
//! Roles with a thread each hand each other the processor for every message, and all of them
//! poll. Where a host has fewer processors than roles, one thread in which they take turns is
//! faster. In return no role goes on while another waits for its disk, so it is not the default.
//!
//! Each role keeps its loop, inbox, sockets and store. A turn is the same as in a thread of its
//! own, so nothing is answered before it is stored. While the thread polls, it asks the kernel for
//! the sockets of all roles at once (`net/readiness.rs`). The acceptor comes first, because all
//! others wait for its vote, and for nothing that the other roles do with the same value.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::busy_poll::BusyPoll;
use super::inbox::{Event, Inbox};
use super::role_loop::{Ended, Failure};
use crate::clock::Clock;
use crate::logging;
use crate::net::readiness::Readiness;
use crate::protocol::types::{NodeId, Role, Time};

/// A role loop as one of several of a thread.
pub trait Tenant: Send {
    /// Whose loop it is.
    fn node(&self) -> NodeId;

    /// Takes the first turn. Says when it was the last.
    fn begin(&mut self) -> Result<Option<Ended>, Failure>;

    /// Takes a turn. Says when it was the last.
    fn turn(&mut self, event: Option<Event>) -> Result<Option<Ended>, Failure>;

    /// Closes what is open, after the last turn.
    fn finish(&mut self);

    /// Where its events come from.
    fn inbox(&mut self) -> &mut Inbox;

    /// When a turn has something to do at the latest, even without an event.
    fn deadline(&self) -> Option<Time>;
}

/// A loop, and its notice, which is dropped after it.
struct Seat {
    tenant: Box<dyn Tenant>,
    notice: Notice,
}

/// Tells how a loop has ended, once it is gone: never, when it panicked.
struct Notice {
    ended: Sender<Result<Ended, Failure>>,
    end: Option<Result<Ended, Failure>>,
}

impl Drop for Notice {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            // Nobody waits any more when the process is ending anyway.
            let _ = self.ended.send(end);
        }
    }
}

impl Seat {
    /// Lets the loop take a turn by `step`, and says whether there will be another.
    fn goes_on(
        &mut self,
        step: impl FnOnce(&mut dyn Tenant) -> Result<Option<Ended>, Failure>,
    ) -> bool {
        logging::speak_as(self.tenant.node());
        self.notice.end = match step(&mut *self.tenant) {
            Ok(None) => None,
            Ok(Some(ended)) => {
                self.tenant.finish();
                Some(Ok(ended))
            }
            Err(failure) => Some(Err(failure)),
        };
        self.notice.end.is_none()
    }
}

/// A place in the thread that no role has taken yet.
#[derive(Clone)]
pub struct LoopPlace {
    seats: Sender<Seat>,
    /// Names the sockets of all loops there before they are polled, if they are.
    readiness: Option<Arc<Readiness>>,
    thread: Arc<JoinHandle<()>>,
}

impl LoopPlace {
    /// Starts a thread with `count` places. It runs nothing before each is taken or dropped.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread.
    pub fn of_thread(
        count: usize,
        clock: Clock,
        busy_poll: Duration,
    ) -> io::Result<Vec<LoopPlace>> {
        let (seats, taken) = bounded(count);
        let is_polled = !busy_poll.is_zero();
        let readiness = is_polled.then(Readiness::open).transpose()?.map(Arc::new);
        let named = readiness.clone();
        let run = move || {
            let mut seats: Vec<Seat> = taken.iter().collect();
            seats.sort_by_key(|seat| seat.tenant.node().role != Role::Acceptor);
            run(seats, clock, BusyPoll::new(busy_poll), named.as_deref());
        };
        let thread = thread::Builder::new().name("role-loops".to_owned()).spawn(run)?;
        let place = LoopPlace { seats, readiness, thread: Arc::new(thread) };
        Ok(vec![place; count])
    }

    /// Names the sockets of the loops there before they are polled, if they are.
    pub fn readiness(&self) -> Option<&Arc<Readiness>> {
        self.readiness.as_ref()
    }

    /// Lets `tenant` run there. How it ends is sent to `ended` once its loop is gone.
    pub fn take(
        self,
        tenant: Box<dyn Tenant>,
        ended: Sender<Result<Ended, Failure>>,
    ) -> Arc<JoinHandle<()>> {
        // There is room for one in each place, and the thread takes them all.
        let _ = self.seats.send(Seat { tenant, notice: Notice { ended, end: None } });
        self.thread
    }
}

/// Runs these loops until the last of them has ended.
fn run(mut seats: Vec<Seat>, clock: Clock, mut busy_poll: BusyPoll, readiness: Option<&Readiness>) {
    seats.retain_mut(|seat| seat.goes_on(|tenant| tenant.begin()));
    let (mut idle_since, mut has_polled) = (clock.now(), false);
    while !seats.is_empty() {
        let now = clock.now();
        if let Some(readiness) = readiness {
            readiness.look();
        }
        let window = busy_poll.window();
        if take_turns(&mut seats, now) {
            if std::mem::take(&mut has_polled) {
                busy_poll.found();
            }
            idle_since = clock.now();
        } else if now < idle_since + window {
            has_polled = true;
            thread::yield_now();
        } else {
            let event = wait(&mut seats, clock, !window.is_zero());
            has_polled = false;
            if event.is_some() {
                busy_poll.slept(clock.now().since(idle_since));
            }
            if window.is_zero() && !busy_poll.window().is_zero() {
                seats.iter_mut().for_each(|seat| seat.tenant.inbox().rest());
            }
            match event {
                Some((place, event)) => {
                    if !seats[place].goes_on(|tenant| tenant.turn(Some(event))) {
                        seats.remove(place);
                    }
                }
                // Those for which it is not time have a turn without work.
                None => seats.retain_mut(|seat| seat.goes_on(|tenant| tenant.turn(None))),
            }
            idle_since = clock.now();
        }
    }
}

/// Lets each loop that has something to do take a turn. Says whether there was one.
fn take_turns(seats: &mut Vec<Seat>, now: Time) -> bool {
    let mut took = false;
    seats.retain_mut(|seat| {
        let event = seat.tenant.inbox().poll();
        let is_due = || seat.tenant.deadline().is_some_and(|deadline| deadline <= now);
        if event.is_none() && !is_due() {
            return true;
        }
        took = true;
        seat.goes_on(|tenant| tenant.turn(event))
    });
    took
}

/// Waits until one of the loops has an event, and says which; none when a timer is due first.
fn wait(seats: &mut [Seat], clock: Clock, polls: bool) -> Option<(usize, Event)> {
    let deadline = seats.iter().filter_map(|seat| seat.tenant.deadline()).min();
    let inboxes: Vec<&Inbox> = seats.iter_mut().map(|seat| &*seat.tenant.inbox()).collect();
    let until = deadline.and_then(|deadline| clock.instant(deadline));
    Inbox::wait_for_any(&inboxes, until, polls)
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::Receiver;
    use parking_lot::Mutex;

    use super::super::inbox::{InboxSender, Offered, inbox};
    use super::*;
    use crate::protocol::types::Role;

    /// A loop that notes what it is given, and ends as its last datagram says.
    struct Noting {
        node: NodeId,
        inbox: Inbox,
        deadline: Option<Time>,
        noted: Arc<Mutex<Vec<String>>>,
        is_finished: Arc<Mutex<bool>>,
    }

    impl Noting {
        fn new(role: Role) -> (Self, InboxSender) {
            let (sender, inbox) = inbox(4);
            let (node, noted) = (NodeId::new(role, 1), Arc::default());
            let noting = Noting { node, inbox, deadline: None, noted, is_finished: Arc::default() };
            (noting, sender)
        }
    }

    impl Tenant for Noting {
        fn node(&self) -> NodeId {
            self.node
        }

        fn begin(&mut self) -> Result<Option<Ended>, Failure> {
            self.noted.lock().push("begun".to_owned());
            Ok(None)
        }

        fn turn(&mut self, event: Option<Event>) -> Result<Option<Ended>, Failure> {
            let word = match event {
                Some(Event::Datagram(datagram)) => String::from_utf8_lossy(&datagram).into_owned(),
                Some(Event::Input(_)) => "input".to_owned(),
                Some(Event::Stop) => return Ok(Some(Ended::Stopped)),
                None => "timer".to_owned(),
            };
            if self.deadline.take().is_some() && word == "timer" {
                self.noted.lock().push("due".to_owned());
                return Ok(None);
            }
            match word.as_str() {
                "fail" => return Err(Failure::Store(io::Error::other("a disk"))),
                "panic" => panic!("as it was told to"),
                _ => self.noted.lock().push(word),
            }
            Ok(None)
        }

        fn finish(&mut self) {
            *self.is_finished.lock() = true;
        }

        fn inbox(&mut self) -> &mut Inbox {
            &mut self.inbox
        }

        fn deadline(&self) -> Option<Time> {
            self.deadline
        }
    }

    type End = Receiver<Result<Ended, Failure>>;

    fn start(tenants: Vec<Noting>, busy_poll: Duration) -> (Vec<End>, JoinHandle<()>) {
        let places = LoopPlace::of_thread(tenants.len(), Clock::start(), busy_poll).unwrap();
        let mut thread = None;
        let ends = places.into_iter().zip(tenants).map(|(place, tenant)| {
            let (ended, end) = bounded(1);
            thread = Some(place.take(Box::new(tenant), ended));
            end
        });
        let ends = ends.collect();
        (ends, Arc::into_inner(thread.unwrap()).expect("only the last handle is left"))
    }

    const BUSY_POLLS: [Duration; 2] = [Duration::ZERO, Duration::from_micros(50)];

    #[test]
    fn each_hears_what_is_for_it_and_ends_alone() {
        for busy_poll in BUSY_POLLS {
            let (first, to_first) = Noting::new(Role::Acceptor);
            let (second, to_second) = Noting::new(Role::Learner);
            let noted = [Arc::clone(&first.noted), Arc::clone(&second.noted)];
            let finished = [Arc::clone(&first.is_finished), Arc::clone(&second.is_finished)];
            let (ends, thread) = start(vec![first, second], busy_poll);
            assert_eq!(to_first.offer(b"one"), Offered::Taken);
            to_first.stop();
            assert!(matches!(ends[0].recv(), Ok(Ok(Ended::Stopped))));
            assert!(ends[0].recv().is_err(), "its loop is gone");
            assert_eq!(to_first.offer(b"late"), Offered::Closed);
            assert_eq!(to_second.offer(b"two"), Offered::Taken);
            assert_eq!(to_second.offer(b"fail"), Offered::Taken);
            assert!(matches!(ends[1].recv(), Ok(Err(Failure::Store(_)))));
            thread.join().unwrap();
            assert_eq!(*noted[0].lock(), ["begun", "one"]);
            assert_eq!(*noted[1].lock(), ["begun", "two"]);
            assert_eq!(finished.map(|finished| *finished.lock()), [true, false]);
        }
    }

    #[test]
    fn a_timer_wakes_the_thread_of_all() {
        for busy_poll in BUSY_POLLS {
            let (mut first, to_first) = Noting::new(Role::Acceptor);
            let (second, to_second) = Noting::new(Role::Learner);
            first.deadline = Some(Clock::start().now() + Duration::from_millis(5));
            let noted = Arc::clone(&first.noted);
            let (_ends, thread) = start(vec![first, second], busy_poll);
            let is_due = || noted.lock().iter().any(|word| word == "due");
            let waited = (0..2000).any(|_| {
                thread::sleep(Duration::from_millis(1));
                is_due()
            });
            assert!(waited, "the timer of one is not seen");
            to_first.stop();
            to_second.stop();
            thread.join().unwrap();
        }
    }

    #[test]
    fn a_panic_of_one_is_the_end_of_all_and_is_seen() {
        let (first, to_first) = Noting::new(Role::Acceptor);
        let (second, _to_second) = Noting::new(Role::Learner);
        let (ends, thread) = start(vec![first, second], Duration::ZERO);
        assert_eq!(to_first.offer(b"panic"), Offered::Taken);
        assert!(ends.iter().all(|end| end.recv().is_err()), "closed without a word");
        assert!(thread.join().is_err());
    }

    #[test]
    fn a_place_that_is_given_up_is_not_waited_for() {
        let (tenant, inbox) = Noting::new(Role::Acceptor);
        let mut places = LoopPlace::of_thread(2, Clock::start(), Duration::ZERO).unwrap();
        let (ended, end) = bounded(1);
        let thread = places.remove(0).take(Box::new(tenant), ended);
        drop(places);
        inbox.stop();
        assert!(matches!(end.recv(), Ok(Ok(Ended::Stopped))));
        Arc::into_inner(thread).unwrap().join().unwrap();
    }
}
