//! The sockets and threads of one role, from before it runs to its end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver as Channel, bounded};
use log::{info, warn};

use super::addresses::Belief;
use super::entropy;
use super::gate::{self, Gate, Keeper, SealingSender};
use super::gauges::Gauges;
use super::inbox::{Inbox, InboxSender, inbox};
#[cfg(feature = "metrics")]
use super::metrics::Watched;
use super::neighbours::{Neighbour, Neighbours};
use super::post::{Attentive, Post};
use super::readings::{self, Desk};
use super::receiver::{Receiver, Reception};
use super::role_loop::{Ended, Failure, RoleLoop, Surroundings};
use super::shared_thread::LoopPlace;
use super::start_error::{StartError, StartErrorKind, no_thread};
use super::stats::Stats;
use super::stdin::Credits;
use crate::auth::key::KeyRing;
use crate::auth::seal::Seal;
use crate::clock::Clock;
use crate::config::{Config, Endpoint};
use crate::logging;
use crate::net::interface::{HostInterface, Interface, host_interfaces};
use crate::net::lossy::{Losing, Lossy};
use crate::net::multicast::Options;
use crate::net::needed::Needed;
use crate::net::rejoin::{Private, Recipe, Rejoining, Reopening};
use crate::net::{AddressedSender, DatagramReceiver, Group, Groups, Polled};
use crate::protocol::actor::Actor;
use crate::protocol::message::Interest;
use crate::protocol::settings::Settings;
use crate::protocol::types::{NodeId, Role, Sender, To};
use crate::results::output::Output;
use crate::snapshots::keeper::Errands;
use crate::storage::AcceptorStore;
use crate::storage::memory::MemoryStore;
use crate::wire::Codec;

/// The sockets and threads of a process, before its role runs.
pub(crate) struct Process {
    inbox: Inbox,
    pub inbox_sender: InboxSender,
    neighbours: Neighbours,
    /// Where its loop runs, if not in a thread of its own.
    place: Option<LoopPlace>,
    codec: Codec,
    network: Arc<dyn AddressedSender + Sync>,
    groups: Groups,
    belief: Belief,
    authentication: Option<Authentication>,
    interest: Arc<AtomicU32>,
    stats: Arc<Stats>,
    gauges: Option<Arc<Gauges>>,
    clock: Clock,
    busy_poll: Duration,
    /// Whether its loop is to share a thread with those of the other roles of a process.
    shares_thread: bool,
    /// Credits for a client's standard input.
    pub credits: Option<Credits>,
    /// An acceptor's store.
    pub store: Box<dyn AcceptorStore>,
    /// Works on a learner's snapshots, if it keeps any.
    pub errands: Option<Errands>,
    settings: Settings,
    listening: Vec<Listening>,
    /// Roles of this process that hear its group by its socket.
    guests: Neighbours,
    /// Whether only processes of this host reach it.
    is_within_host: bool,
    loss: Losing,
}

/// A socket at which a process hears others.
struct Listening {
    socket: Box<dyn Polled>,
    /// Messages to these arrive there.
    addressees: Vec<To>,
    /// Whether the address is that of a member of a list.
    is_listed: bool,
}

impl Listening {
    /// Opens all sockets of a process: one at `place`, one for each other group that its role
    /// hears, and one of its own if its role has no list of members.
    fn open(
        groups: &Groups,
        node: NodeId,
        place: Endpoint,
        recipe: &Recipe,
        sender: &Arc<Reopening>,
        interest: &Arc<AtomicU32>,
    ) -> Result<Vec<Self>, StartError> {
        let host = own_interfaces();
        let mut at_place: Vec<To> =
            groups.arriving_at_own(node.role).into_iter().map(To::Group).collect();
        let is_listed = matches!(groups.of(node.role), Group::Unicast(_));
        if is_listed {
            at_place.push(To::Node(node));
        }
        let socket = Box::new(Rejoining::join(place.listen, recipe.clone(), &host)?);
        let mut listening = vec![Listening { socket, addressees: at_place, is_listed }];
        for (group, address) in groups.joined_too(node.role) {
            let (of_group, interest) = (Interest::of_group(node.role, group), Arc::clone(interest));
            let is_needed = move || {
                let interest = Interest::from_bits(interest.load(Ordering::Relaxed));
                interest.meets(of_group)
            };
            let socket = Box::new(Needed::join(address, recipe.clone(), Box::new(is_needed))?);
            let addressees = vec![To::Group(group)];
            listening.push(Listening { socket, addressees, is_listed: false });
        }
        if !is_listed {
            listening.extend(Private::all_of(sender).into_iter().map(|socket| Listening {
                socket: Box::new(socket),
                addressees: vec![To::Node(node)],
                is_listed: false,
            }));
        }
        Ok(listening)
    }
}

/// Which addresses a process may believe.
fn belief(has_key: bool, interface: Interface) -> Belief {
    if has_key {
        return Belief::Any;
    }
    let here = own_interfaces().into_iter().filter(|one| {
        one.index == interface.index
            || interface.v4.is_some_and(|own| one.addresses.iter().any(|(ip, _)| *ip == own))
    });
    Belief::Near(here.flat_map(|one| one.addresses).collect())
}

/// What a process has only if there is a key.
struct Authentication {
    me: Sender,
    seal: Arc<Seal>,
    speaker: Arc<SealingSender<Arc<Reopening>>>,
    datagram_bytes: usize,
}

impl Authentication {
    /// The keeper that the gates of all sockets share.
    fn keeper(self, reception: &Reception) -> Arc<Keeper> {
        let Authentication { me, seal, speaker, datagram_bytes } = self;
        let Reception { codec, interest, stats, clock, .. } = reception.clone();
        let around = gate::GateParts { codec, me, seal, datagram_bytes, interest, stats, clock };
        Keeper::new(around, Box::new(speaker))
    }
}

impl Process {
    pub fn open(
        config: &Config,
        settings: &Settings,
        place: Endpoint,
        me: Sender,
        loss: Losing,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let options = Options {
            interface: place.interface,
            ttl: config.ttl,
            buffer_bytes: config.socket_buffer_bytes,
        };
        let codec =
            Codec::new(&config.cluster, settings.acceptor_count, me, settings.datagram_bytes)
                .reading(settings.versions);
        let seal = match &config.key_file {
            Some(path) => {
                let ring = KeyRing::read(path)?;
                let session = entropy::random_u64()?;
                Some(Arc::new(Seal::new(&ring, &config.cluster, session)))
            }
            None => None,
        };
        let recipe = Recipe { choice: config.interface.clone(), options, clock };
        let opened = Reopening::open(&config.groups, recipe.clone(), config.unicast_port)?;
        let opened = Arc::new(opened);
        let interest = Arc::new(AtomicU32::new(0));
        let listening =
            Listening::open(&config.groups, me.node, place, &recipe, &opened, &interest)?;
        let belief = belief(seal.is_some(), place.interface);
        let codec = if seal.is_some() { codec.sealed() } else { codec };
        let (network, authentication): (Arc<dyn AddressedSender + Sync>, _) = match seal {
            Some(seal) => {
                let sealing = Arc::new(SealingSender::new(opened, Arc::clone(&seal)));
                let (speaker, datagram_bytes) = (Arc::clone(&sealing), settings.datagram_bytes);
                let authentication = Authentication { me, seal, speaker, datagram_bytes };
                (sealing, Some(authentication))
            }
            None => (opened, None),
        };
        let (inbox_sender, inbox) = inbox(config.inbox_datagrams);
        Ok(Process {
            inbox,
            inbox_sender,
            neighbours: Neighbours::default(),
            place: None,
            codec,
            network,
            groups: config.groups.clone(),
            belief,
            authentication,
            interest,
            stats: Arc::new(Stats::default()),
            gauges: None,
            clock,
            busy_poll: config.busy_poll,
            shares_thread: config.shares_thread,
            credits: None,
            store: Box::new(MemoryStore),
            errands: None,
            settings: settings.clone(),
            listening,
            guests: Neighbours::default(),
            is_within_host: is_within_host(&config.groups, place.interface),
            loss,
        })
    }

    /// What its role and its threads count.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// What another role of this process needs to talk to this one.
    pub fn as_neighbour(&self) -> Neighbour {
        Neighbour {
            sender: self.codec.sender(),
            inbox: self.inbox_sender.clone(),
            interest: Arc::clone(&self.interest),
            stats: Arc::clone(&self.stats),
        }
    }

    /// Makes its role publish its figures from now on, and returns where.
    pub fn publish(&mut self) -> Arc<Gauges> {
        let gauges = self.gauges.get_or_insert_with(|| Arc::new(Gauges::new(self.clock)));
        Arc::clone(gauges)
    }

    /// The same for the server of metrics.
    #[cfg(feature = "metrics")]
    pub fn watch(&mut self) -> Watched {
        let gauges = self.publish();
        Watched { node: self.codec.sender().node, stats: Arc::clone(&self.stats), gauges }
    }

    /// Introduces the other roles of the same process.
    pub fn meet(&mut self, others: Vec<Neighbour>) {
        self.codec.share_process(others.iter().map(|other| other.sender));
        self.neighbours = Neighbours::new(others);
    }

    /// Lets these, whose loops share a thread, share sockets as well: a group that several hear is
    /// heard once, by the role that it belongs to. With a thread each, none should wait for the
    /// loop of another.
    pub fn hear_together(processes: &mut [&mut Self]) {
        for host in 0..processes.len() {
            let group = processes[host].codec.sender().node.role;
            let others = processes.iter_mut();
            let guests =
                others.filter_map(|other| other.leaves(group).then(|| other.as_neighbour()));
            processes[host].guests = Neighbours::new(guests.collect());
        }
    }

    /// Closes the socket at which it hears the group of another role. Says whether there was one.
    fn leaves(&mut self, group: Role) -> bool {
        let before = self.listening.len();
        let is_own = self.codec.sender().node.role == group;
        self.listening.retain(|socket| is_own || socket.addressees != [To::Group(group)]);
        self.listening.len() < before
    }

    /// The places in one thread for these loops, if that is where they are to run.
    pub fn places(processes: &[&mut Self]) -> Result<Vec<LoopPlace>, StartError> {
        match processes {
            [first, _, ..] if first.shares_thread => {
                let (clock, busy_poll) = (first.clock, first.busy_poll);
                LoopPlace::of_thread(processes.len(), clock, busy_poll).map_err(no_thread)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Its loop will run there.
    pub fn run_at(&mut self, place: LoopPlace) {
        if let Some(readiness) = place.readiness() {
            for listening in &mut self.listening {
                listening.socket.wait_for(Arc::clone(readiness));
            }
        }
        self.place = Some(place);
    }

    /// Starts to run `actor`.
    pub fn start(
        self,
        actor: impl Actor + Send + 'static,
        output: Box<dyn Output>,
    ) -> Result<Running, StartError> {
        let codec = Arc::new(self.codec);
        let node = codec.sender().node;
        let reception = Reception {
            codec: Arc::clone(&codec),
            interest: Arc::clone(&self.interest),
            inbox: self.inbox_sender.clone(),
            guests: self.guests,
            stats: Arc::clone(&self.stats),
            clock: self.clock,
        };
        let post = Arc::new(Post::new(
            self.network,
            Arc::clone(&codec),
            self.groups,
            self.belief,
            Arc::clone(&self.stats),
            self.clock,
        ));
        let reader = self.store.vote_reader().map_err(|error| {
            let what = format!("{node}: its files cannot be opened to be read back ({error})");
            StartError::new(StartErrorKind::Data, what)
        })?;
        let (readings, reading) = match reader {
            Some(reader) => {
                let desk = Desk {
                    reader,
                    settings: self.settings,
                    neighbours: self.neighbours.clone(),
                    codec: Arc::clone(&codec),
                    network: Box::new(Arc::clone(&post)),
                    stats: Arc::clone(&self.stats),
                    clock: self.clock,
                };
                let (readings, thread) = readings::spawn(desk).map_err(no_thread)?;
                (Some(readings), Some(thread))
            }
            None => (None, None),
        };
        let surroundings = Surroundings {
            inbox: self.inbox,
            neighbours: self.neighbours,
            codec,
            network: Box::new(Arc::clone(&post)),
            store: self.store,
            readings,
            errands: self.errands,
            output,
            credits: self.credits,
            interest: self.interest,
            stats: Arc::clone(&self.stats),
            gauges: self.gauges,
            clock: self.clock,
            busy_poll: self.busy_poll,
        };
        let mut role_loop = RoleLoop::new(actor, surroundings);
        let keeper = self.authentication.map(|authentication| authentication.keeper(&reception));
        if keeper.is_none() {
            say_open(self.is_within_host);
        }
        let mut receivers = Vec::new();
        let receive = || -> Result<(), StartError> {
            for (place, Listening { socket, addressees, is_listed }) in (0..).zip(self.listening) {
                let first = addressees[0];
                let losing = Losing { seed: self.loss.seed ^ place, ..self.loss };
                let lossy = Lossy::new(socket, losing, Arc::clone(&self.stats.loss));
                let post = Arc::clone(&post);
                let network: Box<dyn DatagramReceiver> = match &keeper {
                    Some(keeper) => {
                        let gate = Gate::new(lossy, addressees, Arc::clone(keeper));
                        Box::new(Attentive::new(gate, post, is_listed))
                    }
                    None => Box::new(Attentive::new(lossy, post, is_listed)),
                };
                receivers.push(if self.busy_poll.is_zero() {
                    Receiver::spawn(first, network, reception.clone()).map_err(no_thread)?
                } else {
                    let spawned = Receiver::spawn_resting(first, network, reception.clone());
                    let (receiver, direct) = spawned.map_err(no_thread)?;
                    role_loop.look_at(direct);
                    receiver
                });
            }
            Ok(())
        };
        let received = receive();
        drop(reception);
        let (ended_sender, ended) = bounded(1);
        let started = received.and_then(|()| {
            if let Some(place) = self.place {
                return Ok(LoopThread::Shared(place.take(Box::new(role_loop), ended_sender)));
            }
            let run = move || {
                logging::speak_as(node);
                let (_, end) = role_loop.run();
                // When the process is ending anyway, nobody waits any more.
                let _ = ended_sender.send(end);
            };
            let thread = thread::Builder::new().name("role-loop".to_owned()).spawn(run);
            thread.map(LoopThread::Own).map_err(no_thread)
        });
        match started {
            Ok(thread) => {
                let (inbox, stats) = (self.inbox_sender, self.stats);
                Ok(Running { inbox, ended, stats, thread, reading, receivers })
            }
            Err(error) => {
                receivers.into_iter().for_each(Receiver::join);
                Err(error)
            }
        }
    }
}

/// The thread of a role loop.
enum LoopThread {
    Own(JoinHandle<()>),
    /// Other roles of the process have it as well.
    Shared(Arc<JoinHandle<()>>),
}

/// A running role.
pub(crate) struct Running {
    pub inbox: InboxSender,
    /// Says how the role loop has ended; closed without a message if its thread is gone.
    pub ended: Channel<Result<Ended, Failure>>,
    pub stats: Arc<Stats>,
    thread: LoopThread,
    /// Reads an acceptor's votes back.
    reading: Option<JoinHandle<()>>,
    receivers: Vec<Receiver>,
}

impl Running {
    /// Asks the threads that receive to end, and waits for nothing.
    pub fn stop_receiving(&self) {
        self.receivers.iter().for_each(Receiver::stop);
    }

    /// Ends all threads, and waits until they have ended. Their sockets are closed then.
    pub fn join(self) {
        self.inbox.stop();
        self.stop_receiving();
        let thread = match self.thread {
            LoopThread::Own(thread) => Some(thread),
            LoopThread::Shared(thread) => {
                // Closed behind the end of its loop. The thread ends with the last one.
                while self.ended.recv().is_ok() {}
                Arc::into_inner(thread)
            }
        };
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("a role loop failed; this is a bug in paxos; please report it");
        }
        // It ends with the role loop.
        if self.reading.is_some_and(|reading| reading.join().is_err()) {
            log::error!(
                "the thread that reads votes back failed; this is a bug in paxos; please report it"
            );
        }
        self.receivers.into_iter().for_each(Receiver::join);
        self.stats.log_summary();
    }
}

/// The interfaces of this host; none where the system does not list them.
pub(super) fn own_interfaces() -> Vec<HostInterface> {
    host_interfaces().unwrap_or_else(|error| {
        warn!("the system does not list its interfaces: {error}");
        Vec::new()
    })
}

/// Whether no other host reaches these groups, whose multicast uses this interface.
fn is_within_host(groups: &Groups, interface: Interface) -> bool {
    groups.addresses().all(|address| match address.ip() {
        group if group.is_multicast() => interface.is_loopback(),
        member => member.is_loopback(),
    })
}

/// Logs once that there is no key: by default where other hosts can take part, else only at level
/// `info`.
fn say_open(is_within_host: bool) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        if is_within_host {
            return info!("the group is open: any process of this host can take part");
        }
        info!(
            target: "paxos::report",
            "the group is open: any host that reaches it can take part; set `key_file` to forbid it"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_group_is_within_a_host_by_its_interface_or_its_members() {
        let groups = |role: &str| {
            let names = ["clients", "proposers", "acceptors", "learners"];
            let line = |(port, name): (u16, &str)| {
                let address = if name == role { "192.0.2.7" } else { "127.0.0.1" };
                format!("{name} unicast {address}:{port}\n")
            };
            let lines: String = (5000..).zip(names).map(line).collect();
            config::parse("c", &format!("acceptor_count 1\n{lines}")).unwrap().groups
        };
        assert!(is_within_host(&groups(""), Interface::LOOPBACK));
        assert!(!is_within_host(&groups("acceptors"), Interface::LOOPBACK));
        let shipped = include_str!("../../conf/paxos.conf");
        let multicast = config::parse("c", shipped).unwrap().groups;
        assert!(is_within_host(&multicast, Interface::LOOPBACK));
        let other = Interface { v4: Some([192, 0, 2, 1].into()), index: 2 };
        assert!(!is_within_host(&multicast, other));
    }

    /// Two roles hear the group of the acceptors beside these. Where there is no acceptor to hear
    /// it for them, they go on doing so.
    #[test]
    fn roles_that_share_a_thread_hear_each_group_once() {
        let groups = (19_700..).zip(["clients", "proposers", "acceptors", "learners"]);
        let lines: String =
            groups.map(|(port, name)| format!("{name} 239.0.0.1 {port}\n")).collect();
        let config = config::parse("c", &lines).unwrap();
        let open = |role| {
            let node = NodeId::new(role, 1);
            let place = config.endpoint(node, &own_interfaces()).unwrap();
            let settings = config.settings(place.mtu).unwrap();
            let sender = Sender { node, boot: 7 };
            Process::open(
                &config,
                &settings,
                place,
                sender,
                Losing { ratio: 0.0, seed: 1 },
                Clock::start(),
            )
            .unwrap()
        };
        let heard = |processes: &[Process]| -> Vec<usize> {
            let of_acceptors =
                |socket: &&Listening| socket.addressees == [To::Group(Role::Acceptor)];
            let count = |process: &Process| process.listening.iter().filter(of_acceptors).count();
            processes.iter().map(count).collect()
        };
        let hear_together = |roles: &[Role]| {
            let mut processes: Vec<Process> = roles.iter().map(|role| open(*role)).collect();
            let before = heard(&processes);
            Process::hear_together(&mut processes.iter_mut().collect::<Vec<_>>());
            (before, heard(&processes))
        };
        let all = [Role::Proposer, Role::Acceptor, Role::Learner, Role::Client];
        assert_eq!(hear_together(&all), (vec![1, 1, 1, 0], vec![0, 1, 0, 0]));
        let some = [Role::Proposer, Role::Learner];
        assert_eq!(hear_together(&some), (vec![1, 1], vec![1, 1]));
    }
}
