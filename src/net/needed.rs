//! A socket in a group that a process needs only at times.
//!
//! A leader sends every value to the group of the acceptors and needs nothing that it hears there,
//! which is a copy of everything it sends. While that is so, its host leaves the group. The socket
//! is closed, rather than only the membership dropped, because a socket bound to a group without
//! being a member of it looks like a lost membership to anybody who examines the host.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use log::warn;

use super::interface::host_interfaces;
use super::multicast::{NetError, PATIENCE};
use super::readiness::Readiness;
use super::rejoin::{Recipe, Rejoining};
use super::{DatagramReceiver, Polled};
use crate::clock::Pace;

/// Says whether a group carries anything that is needed now.
pub type Need = Box<dyn Fn() -> bool + Send>;

/// A receiver that is in its group while it is needed.
pub struct Needed {
    need: Need,
    address: SocketAddr,
    recipe: Recipe,
    receiver: Option<Rejoining>,
    /// Names the socket before it is polled.
    readiness: Option<Arc<Readiness>>,
    /// How many datagrams were dropped at sockets that are closed by now.
    dropped: u64,
    try_pace: Pace,
}

impl Needed {
    /// Joins the multicast group `address`, and is in it while `need` says so.
    ///
    /// # Errors
    ///
    /// As [`Rejoining::join`]. When the group cannot be joined once more later, that is logged and
    /// tried again every second.
    pub fn join(address: SocketAddr, recipe: Recipe, need: Need) -> Result<Self, NetError> {
        let host = host_interfaces().unwrap_or_default();
        let receiver = Some(Rejoining::join(address, recipe.clone(), &host)?);
        let (readiness, try_pace) = (None, Pace::default());
        Ok(Needed { need, address, recipe, receiver, readiness, dropped: 0, try_pace })
    }

    /// The socket, while there is one.
    fn current(&mut self) -> Option<&mut Rejoining> {
        if !(self.need)() {
            self.dropped += self.receiver.take().map_or(0, |receiver| receiver.dropped());
        } else if self.receiver.is_none() {
            self.open();
        }
        self.receiver.as_mut()
    }

    fn open(&mut self) {
        if self.try_pace.allows(self.recipe.clock.now()).is_none() {
            return;
        }
        match self.recipe.join_anew(self.address) {
            Ok(mut receiver) => {
                if let Some(readiness) = &self.readiness {
                    receiver.wait_for(Arc::clone(readiness));
                }
                (self.receiver, self.try_pace) = (Some(receiver), Pace::default());
            }
            Err(what) => warn!("hears nothing of {}: {what}", self.address),
        }
    }
}

impl DatagramReceiver for Needed {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(receiver) = self.current() else {
            thread::sleep(PATIENCE);
            return Ok(None);
        };
        receiver.receive(buffer)
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.current().map_or(Ok(None), |receiver| receiver.try_receive(buffer))
    }

    fn source(&self) -> Option<SocketAddr> {
        self.receiver.as_ref().and_then(Rejoining::source)
    }

    fn dropped(&self) -> u64 {
        self.dropped + self.receiver.as_ref().map_or(0, Rejoining::dropped)
    }
}

impl Polled for Needed {
    fn wait_for(&mut self, readiness: Arc<Readiness>) {
        if let Some(receiver) = &mut self.receiver {
            receiver.wait_for(Arc::clone(&readiness));
        }
        self.readiness = Some(readiness);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::interface::{Interface, InterfaceChoice};
    use super::super::multicast::{MulticastSender, Options};
    use super::super::{DatagramSender, Group, Groups};
    use super::*;
    use crate::clock::Clock;
    use crate::protocol::types::Role;

    #[test]
    fn a_group_is_heard_while_it_is_needed() {
        let waiting = |receiver: &mut Needed| receiver.receive(&mut [0; 8]).unwrap();
        hear_while_needed(20_731, &mut |_| {}, waiting);
    }

    #[test]
    fn a_socket_is_named_before_it_is_polled_however_often_it_was_opened() {
        let readiness = Arc::new(Readiness::open().unwrap());
        let mut watch = |receiver: &mut Needed| receiver.wait_for(Arc::clone(&readiness));
        let polling = |receiver: &mut Needed| {
            assert_eq!(receiver.try_receive(&mut [0; 8]).unwrap(), None, "it was not named");
            readiness.look();
            receiver.try_receive(&mut [0; 8]).unwrap()
        };
        hear_while_needed(20_732, &mut watch, polling);
    }

    /// Prepares a receiver by `prepare`, and receives by `receive` while it is needed and is not.
    fn hear_while_needed(
        port: u16,
        prepare: &mut dyn FnMut(&mut Needed),
        receive: impl Fn(&mut Needed) -> Option<usize>,
    ) {
        let group = SocketAddr::from((Ipv4Addr::new(239, 255, 77, 3), port));
        let options = Options { interface: Interface::LOOPBACK, ttl: 0, buffer_bytes: 1 << 16 };
        let choice = InterfaceChoice::Name("lo".to_owned());
        let recipe = Recipe { choice, options, clock: Clock::start() };
        let groups = Groups {
            clients: Group::Multicast(group),
            proposers: Group::Multicast(group),
            acceptors: Group::Multicast(group),
            learners: Group::Multicast(group),
        };
        let sender = MulticastSender::open(&groups, options).unwrap();
        let is_needed = Arc::new(AtomicBool::new(true));
        let need = Arc::clone(&is_needed);
        let need: Need = Box::new(move || need.load(Ordering::Relaxed));
        let mut receiver = Needed::join(group, recipe, need).unwrap();
        prepare(&mut receiver);
        let mut hears = |is_needed_now: bool| {
            is_needed.store(is_needed_now, Ordering::Relaxed);
            // The change is noticed when the receiver is asked.
            let before = receiver.try_receive(&mut [0; 8]).unwrap();
            sender.send(Role::Acceptor, b"value".into()).unwrap();
            let received = [receive(&mut receiver), before];
            (received, receiver.source().is_some())
        };
        assert_eq!(hears(true), ([Some(5), None], true));
        assert_eq!(hears(false), ([None, None], false));
        assert_eq!(hears(true), ([Some(5), None], true), "and nothing of the time between");
        assert_eq!(hears(true), ([Some(5), None], true));
    }
}
