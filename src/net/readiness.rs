//! Which sockets may have a datagram: one system call for all that a thread polls.
//!
//! The roles of a node hear at six sockets. A thread that polls all of them for all roles would
//! spend most of its time asking one after the other. So the kernel is asked for all at once, and
//! a socket is read only after it was named, until it is empty.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fs::Timespec;

/// How many sockets one look names, at most. The others are named by the next.
const NAMED_MAX: usize = 16;

/// The sockets that a thread polls.
#[derive(Debug)]
pub struct Readiness {
    epoll: OwnedFd,
    /// A mark for each socket; one that nobody else holds may be used again.
    marks: Mutex<Vec<Arc<AtomicBool>>>,
}

impl Readiness {
    /// Of no socket yet.
    ///
    /// # Errors
    ///
    /// When the operating system gives no descriptor.
    pub fn open() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Readiness { epoll, marks: Mutex::default() })
    }

    /// Watches `socket` until it is closed. Where the operating system refuses, the mark says that
    /// it has to be asked each time.
    pub fn watch(&self, socket: &impl AsFd) -> Mark {
        let mut marks = self.marks.lock();
        let unused = marks.iter().position(|mark| Arc::strong_count(mark) == 1);
        let place = unused.unwrap_or(marks.len());
        let data = EventData::new_u64(place as u64);
        // Without EPOLLET: it is named at each look as long as it has a datagram.
        if epoll::add(&self.epoll, socket, data, EventFlags::IN).is_err() {
            return Mark::default();
        }
        if place == marks.len() {
            marks.push(Arc::default());
        }
        marks[place].store(false, Ordering::Relaxed);
        Mark(Some(Arc::clone(&marks[place])))
    }

    /// Names the sockets that have a datagram. Never waits.
    pub fn look(&self) {
        let mut room = [const { MaybeUninit::<Event>::uninit() }; NAMED_MAX];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A look that is interrupted names nobody; the next one does.
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut room, Some(&at_once)) else { return };
        if events.is_empty() {
            return;
        }
        let marks = self.marks.lock();
        for event in events {
            let place = usize::try_from(event.data.u64()).ok();
            if let Some(mark) = place.and_then(|place| marks.get(place)) {
                mark.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Whether a socket may have a datagram: always, unless it is watched.
#[derive(Debug, Default)]
pub struct Mark(Option<Arc<AtomicBool>>);

impl Mark {
    /// Whether it may: it was named, and was not found empty since.
    pub fn is_set(&self) -> bool {
        self.0.as_ref().is_none_or(|mark| mark.load(Ordering::Relaxed))
    }

    /// It was found empty.
    pub fn clear(&self) {
        if let Some(mark) = &self.0 {
            mark.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    fn send(to: &UdpSocket) {
        socket().send_to(b"datagram", to.local_addr().unwrap()).unwrap();
    }

    #[test]
    fn a_socket_is_named_until_it_is_empty() {
        let readiness = Readiness::open().unwrap();
        let [first, second] = [socket(), socket()];
        let marks = [readiness.watch(&first), readiness.watch(&second)];
        let named = || {
            readiness.look();
            [marks[0].is_set(), marks[1].is_set()]
        };
        assert_eq!(named(), [false, false]);
        send(&second);
        send(&second);
        assert_eq!(named(), [false, true]);
        second.recv(&mut [0; 8]).unwrap();
        marks[1].clear();
        assert_eq!(named(), [false, true], "there is another one");
        second.recv(&mut [0; 8]).unwrap();
        assert_eq!(named(), [false, true], "nobody has found it empty yet");
        marks[1].clear();
        assert_eq!(named(), [false, false]);
    }

    #[test]
    fn a_socket_that_takes_the_place_of_a_closed_one_is_named() {
        let readiness = Readiness::open().unwrap();
        for _ in 0..3 {
            let socket = socket();
            let mark = readiness.watch(&socket);
            assert!(!mark.is_set());
            send(&socket);
            readiness.look();
            assert!(mark.is_set());
        }
        assert_eq!(readiness.marks.lock().len(), 1);
    }

    #[test]
    fn a_socket_that_is_not_watched_may_always_have_a_datagram() {
        let mark = Mark::default();
        mark.clear();
        assert!(mark.is_set());
        let readiness = Readiness::open().unwrap();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(readiness.watch(&file).is_set(), "a file cannot be watched");
    }
}
