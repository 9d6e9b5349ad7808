//! A network inside one process, for tests and benches: the same traits, no sockets.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use parking_lot::RwLock;

use super::datagrams::Datagrams;
use super::{DatagramReceiver, DatagramSender};
use crate::protocol::types::Role;

const PATIENCE: Duration = Duration::from_millis(100);

/// The hub that every member is connected to.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    members: Arc<RwLock<Vec<Member>>>,
}

struct Member {
    role: Role,
    queue: Sender<Box<[u8]>>,
    dropped: Arc<AtomicU64>,
}

/// One member's end.
pub struct MemoryReceiver {
    queue: Receiver<Box<[u8]>>,
    dropped: Arc<AtomicU64>,
}

impl MemoryNetwork {
    /// A network without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Joins the group of `role`; up to `capacity` datagrams wait for the member, further ones are
    /// dropped.
    pub fn join(&self, role: Role, capacity: usize) -> MemoryReceiver {
        let (sender, queue) = bounded(capacity);
        let dropped = Arc::new(AtomicU64::new(0));
        self.members.write().push(Member { role, queue: sender, dropped: dropped.clone() });
        MemoryReceiver { queue, dropped }
    }
}

impl DatagramSender for MemoryNetwork {
    fn send(&self, role: Role, datagrams: Datagrams<'_>) -> io::Result<()> {
        for member in self.members.read().iter().filter(|member| member.role == role) {
            for datagram in datagrams.iter() {
                if let Err(TrySendError::Full(_)) = member.queue.try_send(datagram.into()) {
                    member.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }
}

impl DatagramReceiver for MemoryReceiver {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.queue.recv_timeout(PATIENCE) {
            Ok(datagram) => Ok(Some(copy(&datagram, buffer))),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(None),
        }
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(self.queue.try_recv().ok().map(|datagram| copy(&datagram, buffer)))
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Copies as much as there is room for, as a socket does.
fn copy(datagram: &[u8], buffer: &mut [u8]) -> usize {
    let length = datagram.len().min(buffer.len());
    buffer[..length].copy_from_slice(&datagram[..length]);
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_of_the_group_hears_it_and_a_full_queue_drops() {
        let network = MemoryNetwork::new();
        let mut members = [network.join(Role::Learner, 1), network.join(Role::Learner, 1)];
        let mut other = network.join(Role::Acceptor, 1);
        network.send(Role::Learner, b"one".into()).unwrap();
        network.send(Role::Learner, b"two".into()).unwrap();
        let mut buffer = [0; 8];
        for member in &mut members {
            assert_eq!(member.receive(&mut buffer).unwrap(), Some(3));
            assert_eq!((&buffer[..3], member.dropped()), (&b"one"[..], 1));
        }
        assert_eq!(other.receive(&mut buffer).unwrap(), None);
        assert_eq!(members[0].try_receive(&mut buffer).unwrap(), None);
    }
}
