//! How sockets survive changes of an interface or a switch.
//!
//! A group is joined on an interface once, and three things undo that without notice to the
//! process: the interface is deleted and created again (a container network, a VPN, a driver), it
//! gets another address, or a switch forgets the port of the member (a querier that comes late, or
//! reports that were suppressed because another host's had just been heard). So a receiver that
//! hears nothing checks whether the interface is still the one that was joined, and one that has
//! stopped hearing other hosts leaves its group for a moment and joins it anew, which makes the
//! host announce the group again. A sender whose datagrams do not leave opens its sockets anew.
//!
//! A host announces a group only when the first of its processes joins, so all of them must be out
//! of it at the same moment. They all stop hearing the other hosts at the same time, and they all
//! act at the same ticks of the host's clock.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use log::{info, warn};
use parking_lot::Mutex;

use super::datagrams::Datagrams;
use super::interface::{HostInterface, Interface, InterfaceChoice, host_interfaces};
use super::multicast::{MulticastReceiver, MulticastSender, NetError, Options, PrivateReceiver};
use super::readiness::Readiness;
use super::{AddressedSender, DatagramReceiver, DatagramSender, Groups, Polled};
use crate::clock::{self, Clock, Pace};
use crate::protocol::types::{NodeId, Role, Time};

/// After this long a silence the interface is checked.
const DOUBT: Duration = Duration::from_secs(1);

/// After this long a silence the group is joined anew at the next tick.
const SILENCE: Duration = Duration::from_secs(3);

/// The ticks of the host's clock at which groups are left.
const TICK: Duration = Duration::from_secs(4);

/// At least every sixty-fourth tick is used, however often it did not help. A host that has nobody
/// to hear but itself is then deaf for a moment every four minutes.
const TICKS_MAX: u32 = 6;

/// A process that notices a tick no later than this after it leaves its groups.
const NOTICED: Duration = Duration::from_millis(300);

/// How long after the tick all come back: in between, all processes of the host are out.
const AWAY: Duration = Duration::from_millis(500);

/// How the interface is named, and what else new sockets need.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What the configuration calls the interface.
    pub choice: InterfaceChoice,
    /// How sockets are set up; the interface is the one found last.
    pub options: Options,
    /// Paces the checks and the log lines.
    pub clock: Clock,
}

impl Recipe {
    /// The interface of `host` as the configuration chooses it now.
    fn find(&self, host: &[HostInterface]) -> Result<Interface, String> {
        self.choice.among(host).map(|(interface, _)| interface)
    }

    fn look(&self) -> Result<(Interface, Vec<HostInterface>), String> {
        let host = host_interfaces().map_err(|error| error.to_string())?;
        Ok((self.find(&host)?, host))
    }

    /// Joins `address`, a group that should be heard, on the present interface.
    pub(super) fn join_anew(&mut self, address: SocketAddr) -> Result<Rejoining, String> {
        let (interface, host) = self.look()?;
        self.options.interface = interface;
        let joined = Rejoining::join(address, self.clone(), &host);
        let mut receiver = joined.map_err(|error| error.to_string())?;
        receiver.others.heard(self.clock.now());
        Ok(receiver)
    }

    /// The loopback interface never changes, and no switch is behind it.
    fn is_fixed(&self) -> bool {
        self.options.interface.is_loopback()
    }
}

/// When to join anew. Pure.
#[derive(Clone, Copy, Debug)]
struct Silence {
    since: Time,
    /// Whether another host was ever heard: if not, none is missed.
    has_heard: bool,
    tries: u32,
    /// The tick that was used last.
    tick: u64,
}

impl Silence {
    fn new(now: Time) -> Self {
        Silence { since: now, has_heard: false, tries: 0, tick: 0 }
    }

    fn heard(&mut self, now: Time) {
        *self = Silence { since: now, has_heard: true, tries: 0, tick: self.tick };
    }

    fn lasts(&self, now: Time) -> Duration {
        now.since(self.since)
    }

    /// For how long to leave the group now, when the host's clock shows `host`: at ticks only, and
    /// at ever fewer of them, the same for all processes. All come back at the same moment.
    fn is_due(&mut self, now: Time, host: Duration) -> Option<Duration> {
        let tick = host.as_secs() / TICK.as_secs();
        let is_tick = tick.is_multiple_of(1 << self.tries.min(TICKS_MAX)) && tick != self.tick;
        let since_tick = host - Duration::from_secs(tick * TICK.as_secs());
        if !self.has_heard || self.lasts(now) < SILENCE || !is_tick || since_tick > NOTICED {
            return None;
        }
        self.tick = tick;
        self.tries += 1;
        Some(AWAY.saturating_sub(since_tick))
    }
}

/// A receiver that joins its group anew.
pub struct Rejoining {
    recipe: Recipe,
    address: SocketAddr,
    receiver: MulticastReceiver,
    /// Names the socket before it is polled.
    readiness: Option<Arc<Readiness>>,
    /// The addresses of this host.
    own: Vec<IpAddr>,
    /// Whether anything, and whether other hosts, were heard since the last look at the clock.
    heard: [bool; 2],
    anybody: Silence,
    others: Silence,
    /// The group stays left until then.
    left_until: Option<Time>,
    /// The interface was missing at the last check.
    is_gone: bool,
    look_pace: Pace,
    say_pace: Pace,
}

impl Rejoining {
    /// Joins the group `address`, or listens there alone if it is none, as
    /// [`MulticastReceiver::join`] does.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn join(
        address: SocketAddr,
        recipe: Recipe,
        host: &[HostInterface],
    ) -> Result<Self, NetError> {
        let receiver = MulticastReceiver::join(address, recipe.options)?.taking_together();
        let now = recipe.clock.now();
        Ok(Rejoining {
            recipe,
            address,
            receiver,
            readiness: None,
            own: addresses(host),
            heard: [false; 2],
            anybody: Silence::new(now),
            others: Silence::new(now),
            left_until: None,
            is_gone: false,
            look_pace: Pace::default(),
            say_pace: Pace::default(),
        })
    }

    fn take(&mut self, buffer: &mut [u8], polling: bool) -> io::Result<Option<usize>> {
        let received = match polling {
            true => self.receiver.try_receive(buffer),
            false => self.receiver.receive(buffer),
        };
        if let (Ok(Some(_)), Some(source)) = (&received, self.receiver.source()) {
            self.heard[0] = true;
            self.heard[1] = self.heard[1] || !self.own.contains(&source.ip());
        }
        if self.address.ip().is_multicast() && !self.recipe.is_fixed() {
            self.tend();
        }
        received
    }

    /// Looks at the clock, and does what is due.
    fn tend(&mut self) {
        let now = self.recipe.clock.now();
        let [anybody, others] = std::mem::take(&mut self.heard);
        if anybody {
            self.anybody.heard(now);
        }
        if others {
            self.others.heard(now);
        }
        if let Some(until) = self.left_until {
            if now >= until {
                self.left_until = None;
                self.come_back();
            }
            return;
        }
        if self.anybody.lasts(now) >= DOUBT && self.look_pace.allows(now).is_some() {
            self.look(now);
        }
        if self.recipe.options.ttl == 0 || self.others.lasts(now) < SILENCE {
            return;
        }
        if let Some(away) = self.others.is_due(now, clock::of_host()) {
            let seconds = self.others.lasts(now).as_secs();
            info!(
                target: "paxos::report",
                "no other host was heard on {} for {seconds} s: rejoins it", self.address
            );
            // A missing interface has forgotten the group by itself.
            let _ = self.receiver.leave();
            self.left_until = Some(now + away);
        }
    }

    fn come_back(&mut self) {
        if self.receiver.join_again().is_err() {
            // It is not the same interface any more.
            self.is_gone = true;
        }
    }

    /// Checks whether the interface is the one that was joined, and otherwise joins the present
    /// one.
    fn look(&mut self, now: Time) {
        let (interface, host) = match self.recipe.look() {
            Ok(found) => found,
            Err(what) => {
                self.is_gone = true;
                if let Some(more) = self.say_pace.allows(now) {
                    warn!("hears nothing: {what}; looked {more} times before");
                }
                return;
            }
        };
        if interface == self.recipe.options.interface && !self.is_gone {
            return;
        }
        let options = Options { interface, ..self.recipe.options };
        match MulticastReceiver::join(self.address, options) {
            Ok(receiver) => {
                (self.receiver, self.recipe.options) = (receiver.taking_together(), options);
                if let Some(readiness) = &self.readiness {
                    self.receiver.wait_for(readiness);
                }
                (self.own, self.is_gone) = (addresses(&host), false);
                warn!(
                    "the interface {} was recreated: rejoined {}",
                    self.recipe.choice, self.address
                );
            }
            Err(error) => {
                if let Some(more) = self.say_pace.allows(now) {
                    warn!("hears nothing: {error}; tried {more} times before");
                }
            }
        }
    }
}

impl DatagramReceiver for Rejoining {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.take(buffer, false)
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.take(buffer, true)
    }

    fn source(&self) -> Option<SocketAddr> {
        self.receiver.source()
    }

    fn dropped(&self) -> u64 {
        self.receiver.dropped()
    }
}

impl Polled for Rejoining {
    fn wait_for(&mut self, readiness: Arc<Readiness>) {
        self.receiver.wait_for(&readiness);
        self.readiness = Some(readiness);
    }
}

fn addresses(host: &[HostInterface]) -> Vec<IpAddr> {
    host.iter().flat_map(|one| one.addresses.iter().map(|(address, _)| *address)).collect()
}

/// A sender that opens its sockets anew when the interface refuses datagrams.
pub struct Reopening {
    groups: Groups,
    first_port: u16,
    state: Mutex<State>,
    /// How often the sockets were opened.
    opened: AtomicU32,
}

struct State {
    recipe: Recipe,
    sender: MulticastSender,
    pace: Pace,
}

/// Receives datagrams to this process alone, by the sockets it sends from, even after those were
/// opened anew.
pub struct Private {
    of: Arc<Reopening>,
    /// Which of its sockets this is.
    place: usize,
    /// How often sockets had been opened when this one was.
    opened: u32,
    receiver: PrivateReceiver,
    /// Names the socket before it is polled.
    readiness: Option<Arc<Readiness>>,
}

impl Private {
    /// The receivers of `of`: one for each IP version of a multicast group.
    pub fn all_of(of: &Arc<Reopening>) -> Vec<Private> {
        let opened = of.opened.load(Ordering::Acquire);
        let receivers = of.state.lock().sender.private().into_iter().enumerate();
        receivers
            .map(|(place, receiver)| {
                let of = Arc::clone(of);
                Private { of, place, opened, receiver, readiness: None }
            })
            .collect()
    }

    /// Switches to the new socket if there is one.
    fn follow(&mut self) {
        let opened = self.of.opened.load(Ordering::Acquire);
        if opened == self.opened {
            return;
        }
        self.opened = opened;
        if let Some(receiver) = self.of.state.lock().sender.private().into_iter().nth(self.place) {
            self.receiver = receiver;
            if let Some(readiness) = &self.readiness {
                self.receiver.wait_for(readiness);
            }
        }
    }
}

impl DatagramReceiver for Private {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.follow();
        self.receiver.receive(buffer)
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.follow();
        self.receiver.try_receive(buffer)
    }

    fn source(&self) -> Option<SocketAddr> {
        self.receiver.source()
    }

    fn dropped(&self) -> u64 {
        self.receiver.dropped()
    }
}

impl Polled for Private {
    fn wait_for(&mut self, readiness: Arc<Readiness>) {
        self.receiver.wait_for(&readiness);
        self.readiness = Some(readiness);
    }
}

impl Reopening {
    /// A sender to `groups`, as [`MulticastSender::open_from`].
    ///
    /// # Errors
    ///
    /// The same.
    pub fn open(groups: &Groups, recipe: Recipe, first_port: u16) -> Result<Self, NetError> {
        let sender = MulticastSender::open_from(groups, recipe.options, first_port)?;
        let state = Mutex::new(State { recipe, sender, pace: Pace::default() });
        Ok(Reopening { groups: groups.clone(), first_port, state, opened: AtomicU32::new(0) })
    }

    /// Sends by `by`, and once more by new sockets if the old ones are of no use any more.
    fn send_by(&self, by: impl Fn(&MulticastSender) -> io::Result<()>) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let sent = by(&state.sender);
        match &sent {
            Err(error) if is_of_interface(error) => {}
            _ => return sent,
        }
        let has_groups = self.groups.addresses().any(|address| address.ip().is_multicast());
        let now = state.recipe.clock.now();
        if !has_groups || state.recipe.is_fixed() || state.pace.allows(now).is_none() {
            return sent;
        }
        // The receiver reports why the interface is missing, and the caller that nothing leaves.
        let Ok((interface, _)) = state.recipe.look() else { return sent };
        let options = Options { interface, ..state.recipe.options };
        let opened = MulticastSender::open_from(&self.groups, options, self.first_port);
        let Ok(sender) = opened else { return sent };
        if interface != state.recipe.options.interface {
            warn!("the interface {} was recreated: sends through it again", state.recipe.choice);
        }
        (state.sender, state.recipe.options) = (sender, options);
        self.opened.fetch_add(1, Ordering::Release);
        by(&state.sender)
    }
}

impl AddressedSender for Reopening {
    fn send_at(
        &self,
        node: NodeId,
        address: SocketAddr,
        datagrams: Datagrams<'_>,
    ) -> io::Result<()> {
        // One unreachable address says nothing about the interface.
        self.state.lock().sender.send_at(node, address, datagrams)
    }
}

impl DatagramSender for Reopening {
    fn send(&self, role: Role, datagrams: Datagrams<'_>) -> io::Result<()> {
        self.send_by(|sender| sender.send(role, datagrams))
    }
}

/// Whether the socket may be bound to an interface or an address that no longer exists.
fn is_of_interface(error: &io::Error) -> bool {
    /// Linux: there is no such device.
    const ENODEV: i32 = 19;
    use io::ErrorKind::{
        AddrNotAvailable, HostUnreachable, InvalidInput, NetworkDown, NetworkUnreachable,
    };
    let kinds = [AddrNotAvailable, HostUnreachable, InvalidInput, NetworkDown, NetworkUnreachable];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(ENODEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which a process leaves its group if it hears nobody from second `from` on and
    /// checks `offset` milliseconds after every tenth of a second.
    fn leaves(from: u64, offset: u64, until: u64) -> Vec<u64> {
        let at = |millis: u64| Time::ZERO + Duration::from_millis(millis);
        let mut silence = Silence::new(at(0));
        silence.heard(at(from * 1000));
        let steps = (from * 1000 + offset..until * 1000).step_by(100);
        let due = steps.filter(|millis| {
            let away = silence.is_due(at(*millis), Duration::from_millis(*millis));
            assert!(away.is_none_or(|away| (millis % 4000) + away.as_millis() as u64 == 500));
            away.is_some()
        });
        due.map(|millis| millis / 1000).collect()
    }

    #[test]
    fn all_processes_of_a_host_leave_at_the_same_ticks_and_ever_less_often() {
        assert_eq!(leaves(0, 0, 800), [4, 8, 16, 32, 64, 128, 256, 512, 768]);
        for (from, offset) in [(0, 30), (0, 99), (1, 0), (1, 70)] {
            assert_eq!(leaves(from, offset, 300), leaves(0, 0, 300), "{from} {offset}");
        }
        // One that begins a tick later is with the others from its second try on.
        let later = leaves(3, 50, 300);
        assert_eq!(later[..1], [8]);
        assert!(later[1..].iter().all(|second| leaves(0, 0, 300).contains(second)), "{later:?}");
    }

    #[test]
    fn nobody_is_missed_who_was_never_heard_and_who_is_heard_again_is_not_missed() {
        let at = |seconds: u64| Time::ZERO + Duration::from_secs(seconds);
        let is_due = |silence: &mut Silence, second: u64| {
            silence.is_due(at(second), Duration::from_secs(second)).is_some()
        };
        let mut silence = Silence::new(at(0));
        assert!((0..100).all(|second| !is_due(&mut silence, second)));
        silence.heard(at(100));
        assert!(is_due(&mut silence, 104));
        silence.heard(at(107));
        assert!(!is_due(&mut silence, 108), "heard a second ago");
        assert!(is_due(&mut silence, 112), "and patient as at first");
        let late = Duration::from_millis(120_301);
        assert_eq!(silence.is_due(at(120), late), None, "the others come back before it");
    }

    #[test]
    fn an_interface_that_is_gone_is_told_from_a_full_link() {
        for code in [19, 22, 99, 100, 101, 113] {
            assert!(is_of_interface(&io::Error::from_raw_os_error(code)), "{code}");
        }
        for code in [1, 11, 90, 105, 111] {
            assert!(!is_of_interface(&io::Error::from_raw_os_error(code)), "{code}");
        }
    }
}
