//! The library embedded in a process: complete clusters over the loopback interface, without
//! processes of their own.

// A test that cannot set itself up has failed.
#![allow(clippy::unwrap_used)]

#[path = "../examples/counter.rs"]
#[allow(dead_code)]
mod counter;
mod http;
#[path = "../examples/log.rs"]
#[allow(dead_code)]
mod log;
mod positions;

use std::future::Future;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use multi_paxos::{
    Cluster, ClusterBuilder, Consistency, Fate, Frozen, NoEntry, Node, NodeError, Place, Position,
    ReadError, Refused, Replica, Role, StartErrorKind, StateMachine, Ticket,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const SOON: Duration = Duration::from_secs(20);

/// A cluster that nobody else is in.
fn cluster() -> Cluster {
    named(|builder| builder)
}

fn named(more: impl FnOnce(ClusterBuilder) -> ClusterBuilder) -> Cluster {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("library-{}-{count}", std::process::id());
    let port = 19_400 + count * 4;
    let builder = Cluster::builder(&name).multicast("239.0.0.1".parse().unwrap(), port);
    more(builder).build().unwrap()
}

/// The same, with one more setting.
fn cluster_with(key: &str, value: &str) -> Cluster {
    named(|builder| builder.set(key, value))
}

fn nodes(cluster: &Cluster) -> Vec<Node> {
    let start = |id| cluster.node(id, &[Role::Acceptor, Role::Proposer]).unwrap();
    (1..=3).map(start).collect()
}

/// Keeps every command; panics at one.
#[derive(Clone, Default)]
struct History(Vec<(Place, Vec<u8>)>);

impl StateMachine for History {
    type Output = (Position, usize);

    fn apply(&mut self, place: &Place, command: &[u8]) -> (Position, usize) {
        assert!(command != b"panic", "as the test asks");
        self.0.push((*place, command.to_vec()));
        (place.position, self.0.len())
    }

    fn digest(&self) -> Option<u64> {
        let bytes = self.0.iter().flat_map(|(_, command)| command.iter());
        Some(bytes.fold(self.0.len() as u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte)))
    }
}

#[test]
fn the_example_of_a_counter_counts_alike_on_every_replica() {
    assert_eq!(counter::count(&[1, 20, -300]).unwrap(), [-279; 3]);
}

#[test]
fn the_example_of_a_log_reads_what_it_wrote() {
    let lines = log::follow(5).unwrap();
    let values: Vec<_> = lines.iter().map(|line| line.split_once(": ").unwrap().1).collect();
    assert_eq!(values, ["value 1", "value 2", "value 3", "value 4", "value 5"]);
}

/// Two clients, short values and long ones, and two readers, of which one begins late and stands
/// still for longer than its queue is.
#[test]
fn every_reader_gets_every_value_once_and_in_the_same_order() {
    const COUNT: usize = 3000;
    let cluster = cluster();
    let _nodes = nodes(&cluster);
    let slow = cluster.subscribe(1).unwrap();
    let propose = |id: u32| {
        let client = cluster.client(id).unwrap();
        thread::spawn(move || {
            let value = |number: usize| match number % 1000 {
                0 => vec![b'l'; 100_000],
                _ => format!("{id} {number}").into_bytes(),
            };
            let tickets: Vec<_> =
                (1..=COUNT).map(|number| client.propose(value(number)).unwrap()).collect();
            let numbers: Vec<_> = tickets
                .into_iter()
                .map(|ticket| ticket.wait(SOON).unwrap().decided().unwrap())
                .collect();
            (client.session(), numbers)
        })
    };
    let proposed = [1, 2].map(propose).map(|thread| thread.join().unwrap());
    let read = |subscription: multi_paxos::Subscription| -> Vec<_> {
        subscription.take(2 * COUNT).collect()
    };
    let entries = read(slow);
    assert!(entries == read(cluster.subscribe(2).unwrap()));
    assert!(entries.is_sorted_by_key(|entry| entry.position));
    for (session, numbers) in proposed {
        let of_session = entries.iter().filter(|entry| entry.session == session);
        assert!(of_session.map(|entry| entry.number).eq(numbers), "each once, in its order");
    }
    assert_eq!(entries.iter().filter(|entry| entry.value.len() == 100_000).count(), 6);
}

/// Two subscriptions, one thread, and no waiting but for both at once.
#[test]
fn subscriptions_can_be_waited_for_with_poll() {
    const COUNT: usize = 1000;
    let cluster = cluster();
    let _nodes = nodes(&cluster);
    let mut subscriptions = [1, 2].map(|id| cluster.subscribe(id).unwrap());
    let client = cluster.client(1).unwrap();
    let proposing = thread::spawn(move || {
        let tickets: Vec<_> = (0..COUNT).map(|_| client.propose("value").unwrap()).collect();
        tickets.into_iter().all(|ticket| ticket.wait(SOON).unwrap().decided().is_some())
    });
    let mut read = [0, 0];
    while read != [COUNT; 2] {
        let descriptors = subscriptions.each_ref().map(|one| one.descriptor().unwrap());
        let mut polled = descriptors.each_ref().map(|one| PollFd::new(one, PollFlags::IN));
        let within = Timespec { tv_sec: 20, tv_nsec: 0 };
        assert!(poll(&mut polled, Some(&within)).unwrap() > 0, "nothing after {read:?}");
        let is_ready = polled.map(|one| !one.revents().is_empty());
        for place in (0..2).filter(|place| is_ready[*place]) {
            match subscriptions[place].try_next() {
                Ok(_) => read[place] += 1,
                Err(error) => assert_eq!(error, NoEntry::TimedOut),
            }
        }
    }
    assert!(proposing.join().unwrap());
}

/// A sum that can be kept, and says how often it was applied.
#[derive(Default)]
struct Sum {
    sum: u64,
    applied: u64,
}

impl StateMachine for Sum {
    type Output = u64;

    fn apply(&mut self, _place: &Place, command: &[u8]) -> u64 {
        self.applied += 1;
        self.sum = self.sum.wrapping_mul(31) + command.len() as u64;
        self.sum
    }

    fn freeze(&self) -> Option<Frozen> {
        let sum = self.sum;
        Some(Box::new(move |out| out.write_all(&sum.to_le_bytes())))
    }

    fn restore(&mut self, snapshot: &mut dyn Read) -> io::Result<()> {
        let mut bytes = [0; 8];
        snapshot.read_exact(&mut bytes)?;
        self.sum = u64::from_le_bytes(bytes);
        Ok(())
    }
}

/// A replica is stopped, and goes on from what it has kept; another one, which has stored nothing,
/// applies everything, and reaches the same state. A snapshot that cannot be restored stops the
/// start.
#[test]
fn a_replica_goes_on_from_its_snapshot() {
    const COUNT: u64 = 3_000;
    let folder = tempfile::tempdir().unwrap();
    let plain = cluster_with("snapshot_instances", "300");
    let cluster = plain.clone().with_snapshots(folder.path());
    assert_eq!((plain.snapshots(), cluster.snapshots()), (None, Some(folder.path())));
    let _nodes = nodes(&cluster);
    let replica = cluster.replica(1, Sum::default()).unwrap();
    let mut last = 0;
    for number in 0..COUNT {
        let long = if number % 500 == 7 { 100_000 } else { 10 };
        let ticket = replica.call(vec![b'c'; long]).unwrap();
        if number % 100 == 99 {
            last = ticket.wait(SOON).unwrap().decided().unwrap();
        }
    }
    let kept = || {
        let names = std::fs::read_dir(folder.path().join("learner-1")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("snapshot-") && !name.ends_with(".part")).count()
    };
    assert!(kept() > 0);
    assert_eq!(replica.stop(SOON).unwrap().sum, last);

    let read = |replica: &Replica<Sum>| {
        let sum = |machine: &Sum| (machine.sum, machine.applied);
        replica.read(Consistency::Linearizable, SOON, sum).unwrap()
    };
    let replica = cluster.replica(1, Sum::default()).unwrap();
    let (sum, applied) = read(&replica);
    assert!(sum == last && applied < COUNT, "{applied} were applied again");
    let whole = plain.replica(2, Sum::default()).unwrap();
    assert_eq!(read(&whole), (last, COUNT));
    // It goes on, and keeps what follows.
    let called = |replica: &Replica<Sum>| replica.call("more").unwrap().wait(SOON).unwrap();
    assert_eq!(called(&replica).decided(), Some(last.wrapping_mul(31) + 4));
    let busy = cluster.replica(1, Sum::default()).unwrap_err();
    assert!(busy.may_pass() && busy.to_string().contains("is in use"), "{busy}");
    replica.stop(SOON).unwrap();

    let refused = cluster.replica(1, History::default()).unwrap_err();
    assert_eq!(refused.kind(), StartErrorKind::Data);
    assert!(refused.to_string().contains("cannot be restored"), "{refused}");
}

/// A sum whose snapshots take long: before they are written, or when all of it is.
struct Slow {
    sum: Sum,
    writes_first: bool,
    began: Sender<()>,
    goes_on: Arc<Mutex<Receiver<()>>>,
}

impl StateMachine for Slow {
    type Output = u64;

    fn apply(&mut self, place: &Place, command: &[u8]) -> u64 {
        self.sum.apply(place, command)
    }

    fn freeze(&self) -> Option<Frozen> {
        let frozen = self.sum.freeze()?;
        let (began, goes_on) = (self.began.clone(), Arc::clone(&self.goes_on));
        let hang = move || {
            let _ = began.send(());
            let _ = goes_on.lock().unwrap().recv_timeout(SOON);
        };
        if self.writes_first {
            return Some(Box::new(move |out| frozen(out).map(|()| hang())));
        }
        Some(Box::new(move |out| {
            hang();
            frozen(out)
        }))
    }
}

/// The disk of the snapshots hangs when a replica is stopped. The snapshot is given up, or
/// completed, when the disk goes on, and every call is there again.
#[test]
fn a_replica_is_stopped_in_time_while_its_snapshot_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster_with("snapshot_instances", "300").with_snapshots(folder.path());
    let _nodes = nodes(&cluster);
    let mut called = 0;
    for (id, writes_first) in [(1, false), (2, true)] {
        let ((began, has_begun), (go_on, goes_on)) = (mpsc::channel(), mpsc::channel());
        let goes_on = Arc::new(Mutex::new(goes_on));
        let slow = Slow { sum: Sum::default(), writes_first, began, goes_on };
        let replica = cluster.replica(id, slow).unwrap();
        while has_begun.try_recv().is_err() {
            replica.call("c").unwrap().wait(SOON).unwrap().decided().unwrap();
            called += 1;
        }
        let start = Instant::now();
        let end = replica.stop(Duration::from_secs(2)).err();
        assert!(matches!(end, Some(NodeError::Late)) && start.elapsed() < SOON / 2, "{end:?}");
        let busy = cluster.replica(id, Sum::default()).unwrap_err();
        assert!(busy.may_pass() && busy.to_string().contains("is in use"), "{busy}");

        go_on.send(()).unwrap();
        let replica = loop {
            match cluster.replica(id, Sum::default()) {
                Ok(replica) => break replica,
                Err(busy) => assert!(busy.may_pass() && start.elapsed() < SOON, "{busy}"),
            }
            thread::sleep(Duration::from_millis(10));
        };
        let applied = |machine: &Sum| machine.applied;
        let applied = replica.read(Consistency::Linearizable, SOON, applied).unwrap();
        assert_eq!(applied < called, writes_first, "{applied} of {called}");
        replica.stop(SOON).unwrap();
    }
}

#[test]
fn without_a_cluster_nothing_fails_and_nothing_piles_up() {
    let cluster = cluster();
    let client = cluster.client(1).unwrap();
    let mut tickets = Vec::new();
    // The role takes some of them, which makes room once more.
    let mut in_vain = 0;
    let refused = loop {
        match client.try_propose(vec![b'v'; 1000]) {
            Ok(ticket) => {
                tickets.push(ticket);
                in_vain = 0;
            }
            Err(refused) if in_vain == 10 => break refused,
            Err(_) => {
                in_vain += 1;
                thread::sleep(Duration::from_millis(20));
            }
        }
    };
    assert_eq!(refused, Refused::Full(vec![b'v'; 1000]));
    assert!((1000..20_000).contains(&tickets.len()), "{}", tickets.len());
    let first = tickets.remove(0).wait(Duration::from_millis(10)).unwrap_err().0;
    let waiting = client.clone();
    let waiting = thread::spawn(move || waiting.propose(vec![b'v'; 1000]).err());
    client.stop(SOON).unwrap();
    assert_eq!(waiting.join().unwrap(), Some(Refused::Closed));
    assert_eq!(first.wait(SOON).unwrap(), Fate::Unknown);
    assert!(tickets.into_iter().all(|ticket| ticket.wait(SOON).unwrap() == Fate::Unknown));
    let mut subscription = cluster.subscribe(1).unwrap();
    assert_eq!(subscription.next_timeout(Duration::from_millis(10)), Err(NoEntry::TimedOut));
    subscription.stop(SOON).unwrap();
}

#[test]
fn a_replica_goes_on_from_a_snapshot_and_ends_where_the_others_do() {
    let began = SystemTime::now() - Duration::from_millis(1);
    let cluster = cluster();
    let nodes = nodes(&cluster);
    let replica = cluster.replica(1, History::default()).unwrap();
    for count in 1..=10 {
        let output = replica.call(format!("command {count}")).unwrap().wait(SOON).unwrap();
        assert_eq!(output.decided().unwrap().1, count);
    }
    let copy = |machine: &History, at| (machine.clone(), at);
    let (snapshot, at) = replica.read_at(Consistency::Local, SOON, copy).unwrap();
    assert_eq!(snapshot.0.len(), 10);
    assert_eq!(replica.call("").err(), Some(Refused::Empty));
    replica.call("behind").unwrap().wait(SOON).unwrap();
    let machine = replica.stop(SOON).unwrap();
    assert_eq!(machine.0.len(), 11);

    let restored = cluster.replica_after(1, snapshot, at).unwrap();
    let fresh = cluster.replica(2, History::default()).unwrap();
    let output = restored.call("last").unwrap().wait(SOON).unwrap();
    assert_eq!(output.decided().unwrap().1, 12);
    let count = |replica: &Replica<History>| {
        replica.read(Consistency::Linearizable, SOON, |machine| machine.0.len()).unwrap()
    };
    assert_eq!([count(&restored), count(&fresh)], [12, 12]);
    let digests = [&restored, &fresh].map(|replica| replica.digest(SOON).unwrap().1);
    assert_eq!(digests[0], digests[1]);
    // Both were told the same times, which are those of now and never go back.
    let times = |replica: &Replica<History>| {
        let times = |machine: &History| machine.0.iter().map(|(place, _)| place.time).collect();
        replica.read::<Vec<_>>(Consistency::Local, SOON, times).unwrap()
    };
    let told = times(&fresh);
    assert_eq!(times(&restored), told);
    assert!(told.is_sorted() && told[0].is_some_and(|time| time > began));
    assert!(told[11].is_some_and(|time| time < SystemTime::now()));
    // Without a majority nothing is decided, and a local read does not mind.
    nodes.into_iter().for_each(|node| node.stop(SOON).unwrap());
    let within = Duration::from_millis(100);
    let read = |how| fresh.read(how, within, |machine| machine.0.len());
    assert_eq!(read(Consistency::Linearizable), Err(ReadError::TimedOut));
    assert_eq!(fresh.read(Consistency::Local, SOON, |machine| machine.0.len()), Ok(12));
}

/// While nobody answers, callers that do not wait any more leave room for others, and those that
/// do are bounded.
#[test]
fn reads_in_vain_do_not_pile_up() {
    const MOST: usize = 4096;
    let cluster = cluster();
    let replica = cluster.replica(1, History::default()).unwrap();
    let read = |within| replica.read(Consistency::Linearizable, within, |machine| machine.0.len());
    for _ in 0..=MOST {
        assert_eq!(read(Duration::ZERO), Err(ReadError::TimedOut));
        drop(replica.try_barrier().unwrap());
    }
    let barriers: Vec<_> = (0..MOST).map(|_| replica.try_barrier().unwrap()).collect();
    assert_eq!(replica.try_barrier().err(), Some(Refused::Full(Vec::new())));
    assert_eq!(read(SOON), Err(ReadError::Full));
    assert_eq!(replica.read(Consistency::Local, SOON, |machine| machine.0.len()), Ok(0));
    drop(barriers);
    // Now the acceptors answer, and waiting reads are served.
    let waiting = replica.try_barrier().unwrap();
    let _nodes = nodes(&cluster);
    assert!(waiting.wait(SOON).unwrap().decided().is_some());
    assert_eq!(read(SOON), Ok(0));
    replica.stop(SOON).unwrap();
}

/// Three nodes that are everything, and barriers, which pass after everything that was decided
/// before.
#[test]
fn a_replica_shares_its_node_with_the_roles_that_decide() {
    let cluster = cluster();
    let folder = tempfile::tempdir().unwrap();
    let start = |id| {
        let cluster = cluster.clone().with_data(folder.path());
        let roles = [Role::Acceptor, Role::Proposer];
        cluster.replica_with(id, &roles, History::default()).unwrap()
    };
    let replicas = [1, 2, 3].map(start);
    let names: Vec<_> = replicas[1].node().unwrap().names().collect();
    assert_eq!(names, ["A2", "P2", "L2", "C2"]);
    assert_eq!(cluster.data(), None);
    assert_eq!(cluster.clone().with_data(folder.path()).data(), Some(folder.path()));
    assert_eq!((cluster.acceptor_count(), cluster.value_bytes()), (3, 1 << 20));
    let called = replicas[0].call("one").unwrap().wait(SOON).unwrap().decided().unwrap();
    for replica in &replicas {
        let passed = replica.try_barrier().unwrap().wait(SOON).unwrap().decided().unwrap();
        assert!(passed >= called.0 && replica.applied() >= passed);
        assert_eq!(replica.read(Consistency::Local, SOON, |machine| machine.0.len()), Ok(1));
    }
    for role in [Role::Learner, Role::Client] {
        let refused = cluster.replica_with(4, &[role], History::default()).unwrap_err();
        assert_eq!(refused.kind(), StartErrorKind::Configuration);
    }
    // Two of them end as wholes, so nothing is decided any more.
    let [first, second, third] = replicas;
    first.stop(SOON).unwrap();
    drop(second);
    let open = third.try_barrier().unwrap().wait(Duration::from_millis(100)).unwrap_err().0;
    third.stop(SOON).unwrap();
    assert_eq!(open.wait(SOON).unwrap(), Fate::Unknown);
    assert!(folder.path().join("acceptor-2").is_dir());
}

#[test]
fn a_machine_that_panics_ends_its_replica_and_nobody_waits() {
    let cluster = cluster();
    let _nodes = nodes(&cluster);
    let replica = cluster.replica(1, History::default()).unwrap();
    let [panic, behind] = ["panic", "behind"].map(|command| replica.call(command).unwrap());
    assert_eq!(panic.wait(SOON).unwrap(), Fate::Unknown);
    assert_eq!(behind.wait(SOON).unwrap(), Fate::Unknown);
    assert!(replica.node().unwrap().wait(SOON));
    assert_eq!(replica.call("more").err(), Some(Refused::Closed));
    assert_eq!(replica.read(Consistency::Local, SOON, |_| ()), Err(ReadError::Ended));
    assert!(matches!(replica.stop(SOON), Err(NodeError::Panicked)));
}

/// A waker of a program that has a mistake.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("as the test asks");
    }
}

fn poll_with_panics<T>(mut ticket: Ticket<T>) -> Ticket<T> {
    let waker = Waker::from(Arc::new(Panics));
    // It may be known already, and then nobody is woken.
    assert!(!ticket.is_known());
    assert!(Pin::new(&mut ticket).poll(&mut Context::from_waker(&waker)).is_pending());
    ticket
}

/// One caller's tasks and reads panic; that is heard by that one alone.
#[test]
fn a_caller_that_panics_harms_no_other() {
    let cluster = cluster();
    let client = cluster.client(1).unwrap();
    let replica = cluster.replica(1, History::default()).unwrap();
    // Nobody decides anything before all of them wait.
    let panics = poll_with_panics(client.propose("a").unwrap());
    let calm = client.propose("b").unwrap();
    let called = poll_with_panics(replica.call("c").unwrap());
    let behind = replica.call("d").unwrap();
    let _nodes = nodes(&cluster);
    assert_eq!(calm.wait(SOON).unwrap().decided().unwrap().0, 2);
    assert_eq!(panics.wait(SOON).unwrap().decided().unwrap().0, 1);
    assert!(behind.wait(SOON).unwrap().decided().is_some());
    assert!(called.wait(SOON).unwrap().decided().is_some());
    for how in [Consistency::Linearizable, Consistency::Local] {
        let look = |_: &History| -> usize { panic!("as the test asks") };
        let panic = catch_unwind(AssertUnwindSafe(|| replica.read(how, SOON, look))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"as the test asks"));
        assert_eq!(replica.read(how, SOON, |machine| machine.0.len()), Ok(4));
    }
    client.stop(SOON).unwrap();
    replica.stop(SOON).unwrap();
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn a_ticket_is_a_future_without_a_runtime() {
    let cluster = cluster();
    let _nodes = nodes(&cluster);
    let client = cluster.client(1).unwrap();
    let mut ticket = pin!(client.propose("value").unwrap());
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let fate = loop {
        match ticket.as_mut().poll(&mut context) {
            Poll::Ready(fate) => break fate,
            Poll::Pending => thread::park_timeout(SOON),
        }
    };
    assert_eq!(fate.decided().unwrap().0, 1);
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing() {
    let cluster = cluster();
    let refused = |id, roles: &[Role]| {
        let error = cluster.node(id, roles).unwrap_err();
        (error.kind(), error.to_string())
    };
    let (kind, sentence) = refused(4, &[Role::Proposer, Role::Acceptor]);
    assert_eq!(kind, StartErrorKind::Configuration);
    assert!(sentence.contains("there is no acceptor 4; acceptor_count is 3"), "{sentence}");
    for roles in [vec![], vec![Role::Client], vec![Role::Learner, Role::Learner]] {
        assert_eq!(refused(1, &roles).0, StartErrorKind::Configuration);
    }
    let group = "239.0.0.1".parse().unwrap();
    let builder = || Cluster::builder("library").multicast(group, 19_400);
    let nowhere = builder().interface("no-such").build().unwrap();
    let error = nowhere.client(1).unwrap_err();
    assert!(error.kind() == StartErrorKind::Network && error.may_pass(), "{error}");
    let error = builder().set("retry_max", "7").build().unwrap_err().to_string();
    assert!(error.contains("did you mean retry_max_ms"), "{error}");
    assert!(Cluster::builder("two words").build().is_err());
    assert!(Cluster::builder("library").build().is_err());
    assert!(Cluster::from_file("no/such/file").unwrap_err().to_string().contains("no/such/file"));
}

/// What is served at this path.
fn get(address: SocketAddr, path: &str) -> String {
    http::get(address, path).1
}

/// Each node serves the figures of its roles while it runs: a replica those of its learner and its
/// client.
#[test]
fn a_node_serves_what_the_configuration_says() {
    let cluster = cluster_with("metrics", "127.0.0.1:0");
    let nodes = nodes(&cluster);
    let counting = cluster.clone().with_more_metrics(|| "counted 3\n".to_owned());
    let replica = counting.replica(4, History::default()).unwrap();
    let quiet = cluster.clone().with_metrics(None).client(1).unwrap();
    assert_eq!(quiet.node().metrics(), None);
    let addresses: Vec<SocketAddr> =
        nodes.iter().chain(replica.node()).map(|node| node.metrics().unwrap()).collect();
    replica.call("value").unwrap().wait(SOON).unwrap().decided().unwrap();
    for address in &addresses {
        let deadline = Instant::now() + SOON;
        while get(*address, "/readyz") != "ready\n" && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(get(*address, "/readyz"), "ready\n");
        assert_eq!(get(*address, "/livez"), "alive\n");
    }
    let of_replica = addresses[3];
    let applied = replica.applied();
    let applied = format!("paxos_position{{node=\"L4\",kind=\"applied\"}} {applied}\n");
    let figures = || get(of_replica, "/metrics");
    replica.call("").unwrap_err();
    let known = [
        "paxos_has_leader{node=\"L4\"} 1",
        "paxos_values_total{node=\"C4\",fate=\"decided\"} 1",
        "paxos_refused_total{node=\"C4\",reason=\"empty\"} 1",
        applied.as_str(),
    ];
    let deadline = Instant::now() + SOON;
    let are_known = |text: &str| known.iter().all(|line| text.contains(line));
    while !are_known(&figures()) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    assert!(are_known(&figures()) && figures().ends_with("\ncounted 3\n"), "{}", figures());
    assert!(get(of_replica, "/status.json").contains("\"node\":\"L4\""));
    assert!(get(of_replica, "/").contains("<td>C4"));
    assert!(!get(addresses[0], "/metrics").contains("counted"));
    replica.stop(SOON).unwrap();
    assert!(TcpStream::connect(of_replica).is_err(), "it serves no more");
    assert_eq!(get(addresses[0], "/livez"), "alive\n");
}

#[test]
fn what_cannot_be_served_is_refused_and_a_program_that_panics_loses_its_own_figures_alone() {
    let elsewhere = cluster().with_metrics(Some("192.0.2.1:9187".parse().unwrap()));
    let error = elsewhere.node(1, &[Role::Acceptor]).unwrap_err();
    assert_eq!(error.kind(), StartErrorKind::Network);
    assert!(error.to_string().starts_with("metrics 192.0.2.1:9187 is at no address of this host"));
    let panicking = cluster_with("metrics", "127.0.0.1:0").with_more_metrics(|| panic!("a test"));
    let node = panicking.node(1, &[Role::Acceptor]).unwrap();
    for _ in 0..2 {
        assert!(get(node.metrics().unwrap(), "/metrics").contains("paxos_uptime_seconds{node"));
    }
    node.stop(SOON).unwrap();
}
