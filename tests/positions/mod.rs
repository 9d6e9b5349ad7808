//! Positions of the log: machines and readers that know theirs and go on from there, also after the
//! beginning of the log was removed, and reads that wait for one.

use std::sync::mpsc;

use super::*;
use multi_paxos::Client;

/// Where each command stood, and how long it was; with a snapshot, and a disk of its own as far as
/// the tests are concerned.
#[derive(Clone, Debug, Default, PartialEq)]
struct Diary(Vec<(u64, u64)>);

impl StateMachine for Diary {
    type Output = Position;

    fn apply(&mut self, place: &Place, command: &[u8]) -> Position {
        self.0.push((place.position.0, command.len() as u64));
        place.position
    }

    fn freeze(&self) -> Option<Frozen> {
        let lines = self.0.clone();
        Some(Box::new(move |out| {
            lines.iter().try_for_each(|(position, length)| {
                out.write_all(&position.to_le_bytes())?;
                out.write_all(&length.to_le_bytes())
            })
        }))
    }

    fn restore(&mut self, snapshot: &mut dyn Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        snapshot.read_to_end(&mut bytes)?;
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        self.0 = bytes.chunks(16).map(|line| (number(&line[..8]), number(&line[8..]))).collect();
        Ok(())
    }
}

impl Diary {
    fn position(&self) -> Position {
        Position(self.0.last().map_or(0, |(position, _)| *position))
    }
}

/// Decides this many MiB.
fn fill(client: &Client, mib: usize) {
    let tickets: Vec<_> =
        (0..mib * 2).map(|_| client.propose(vec![b'v'; 512 << 10]).unwrap()).collect();
    tickets.into_iter().for_each(|ticket| {
        ticket.wait(SOON).unwrap().decided().unwrap();
    });
}

/// Everything that was decided so far.
fn all(replica: &Replica<Diary>) -> Diary {
    replica.read(Consistency::Linearizable, SOON, Diary::clone).unwrap()
}

/// How a replica, or a subscription, ended by itself.
fn is_trimmed(end: Result<impl Sized, NodeError>) -> bool {
    match end.err() {
        Some(NodeError::Trimmed(sentence)) => sentence.contains("the log begins at instance"),
        other => panic!("{other:?}"),
    }
}

/// A machine that keeps its own state is stopped while the log goes on. As long as the log begins
/// below its position, it is given each further command once. Else it is told so; or fetches a
/// snapshot, where there are any.
#[test]
fn a_machine_with_its_own_disk_goes_on_in_a_log_that_has_lost_its_beginning() {
    for keeps_snapshots in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = cluster_with("retain", "16MiB");
        if keeps_snapshots {
            cluster = cluster.with_snapshots(folder.path());
        }
        let _nodes = nodes(&cluster);
        let client = cluster.client(9).unwrap();
        let witness = cluster.replica(2, Diary::default()).unwrap();
        let replica = cluster.replica(1, Diary::default()).unwrap();
        fill(&client, 2);
        let early = all(&replica);
        fill(&client, 30);
        assert_eq!(all(&replica), all(&witness));
        let kept = replica.stop(SOON).unwrap();
        fill(&client, 2);

        let whole = cluster.subscribe(3).unwrap();
        assert!(whole.node().wait(SOON) && is_trimmed(whole.stop(SOON)));
        let last = kept.position();
        let mut rest = cluster.subscribe_from(3, last).unwrap();
        let entry = rest.next_timeout(SOON).unwrap();
        assert_eq!((entry.position, entry.value.len()), (last, 512 << 10));
        rest.stop(SOON).unwrap();

        let replica = cluster.replica_after(1, kept, last).unwrap();
        let called = replica.call("more").unwrap().wait(SOON).unwrap().decided().unwrap();
        let read = Consistency::AtLeast(called);
        assert_eq!(all(&replica), witness.read(read, SOON, Diary::clone).unwrap());
        let kept = replica.stop(SOON).unwrap();
        assert_eq!(kept.0.len(), 2 * (2 + 30 + 2) + 1);

        fill(&client, 34);
        let replica = cluster.replica_after(1, kept.clone(), kept.position()).unwrap();
        if keeps_snapshots {
            assert_eq!(all(&replica), all(&witness));
            replica.stop(SOON).unwrap();
            // It has a newer one of its own than this copy.
            let replica = cluster.replica_after(1, early.clone(), early.position()).unwrap();
            assert_eq!(all(&replica), all(&witness));
        } else {
            assert!(replica.node().unwrap().wait(SOON) && is_trimmed(replica.stop(SOON)));
            let replica = cluster.replica_after(1, early.clone(), early.position()).unwrap();
            assert!(replica.node().unwrap().wait(SOON) && is_trimmed(replica.stop(SOON)));
        }
    }
}

/// A machine that has more than was ever decided is of another cluster. Nobody may read it, and it
/// must not wait, silently, until the log is as long.
#[test]
fn a_machine_that_is_ahead_of_the_log_is_refused() {
    let cluster = cluster();
    let ahead = cluster.replica_after(1, Diary::default(), Position(1000)).unwrap();
    // Nobody has said anything yet.
    let within = Duration::from_millis(200);
    assert!(!ahead.node().unwrap().wait(within));
    let _nodes = nodes(&cluster);
    let read = ahead.read(Consistency::Linearizable, SOON, Diary::clone);
    assert_eq!(read, Err(ReadError::Ended));
    match ahead.stop(SOON) {
        Err(NodeError::Forgotten(sentence)) => {
            assert!(sentence.contains("has everything below instance 1001"), "{sentence}");
        }
        other => panic!("{other:?}"),
    }
    // One that has just as much goes on.
    let replica = cluster.replica(2, Diary::default()).unwrap();
    let last = replica.call("one").unwrap().wait(SOON).unwrap().decided().unwrap();
    let copy = all(&replica);
    let same = cluster.replica_after(1, copy.clone(), last).unwrap();
    assert_eq!(all(&same), copy);
    let next = same.call("two").unwrap().wait(SOON).unwrap().decided().unwrap();
    assert!(next > last && all(&same) == all(&replica));
    same.stop(SOON).unwrap();
    // And one that has a little more does not.
    let ahead = cluster.replica_after(1, Diary::default(), Position(next.0 + 100)).unwrap();
    assert!(ahead.node().unwrap().wait(SOON));
    let end = ahead.stop(SOON);
    assert!(matches!(end, Err(NodeError::Forgotten(_))), "{end:?}");
}

/// What one replica has shown, another one shows as well to whoever brings the position.
#[test]
fn a_read_waits_for_a_position_and_no_longer_than_it_may() {
    let cluster = cluster();
    let nodes = nodes(&cluster);
    let replicas = [1, 2].map(|id| cluster.replica(id, Diary::default()).unwrap());
    let mut last = Position(0);
    for count in 1..=20 {
        last = replicas[count % 2].call("command").unwrap().wait(SOON).unwrap().decided().unwrap();
        for replica in &replicas {
            let read = |machine: &Diary| machine.0.len();
            assert_eq!(replica.read(Consistency::AtLeast(last), SOON, read), Ok(count));
        }
    }
    let far = Consistency::AtLeast(Position(last.0 + 1));
    let within = Duration::from_millis(50);
    assert_eq!(replicas[0].read(far, within, |_| ()), Err(ReadError::TimedOut));
    // Nobody is asked, so nobody needs to answer.
    nodes.into_iter().for_each(|node| node.stop(SOON).unwrap());
    let read = |machine: &Diary, at: Position| (machine.0.len(), at);
    assert_eq!(replicas[0].read_at(Consistency::AtLeast(last), SOON, read), Ok((20, last)));
}

/// What a node knows: who leads, and how far the log is decided.
#[test]
fn a_node_says_who_leads_and_how_far_the_log_is() {
    let cluster = cluster();
    let alone = cluster.node(1, &[Role::Acceptor, Role::Proposer]).unwrap();
    let replica = cluster.replica(1, Diary::default()).unwrap();
    thread::sleep(Duration::from_millis(300));
    assert_eq!((alone.status().leader, alone.status().decided), (None, Position(0)));
    let others = [2, 3].map(|id| cluster.node(id, &[Role::Acceptor, Role::Proposer]).unwrap());
    let last = replica.call("one").unwrap().wait(SOON).unwrap().decided().unwrap();
    let start = Instant::now();
    let status = |node: &Node| node.status();
    while [&alone, &others[0], &others[1], replica.node().unwrap()].map(status).iter().any(
        |status| status.leader.is_none_or(|id| !(1..=3).contains(&id)) || status.decided < last,
    ) {
        assert!(start.elapsed() < SOON, "{:?}", alone.status());
        thread::sleep(Duration::from_millis(20));
    }
    // Without a majority nobody leads.
    drop(others);
    while alone.status().leader.is_some() || replica.node().unwrap().status().leader.is_some() {
        assert!(start.elapsed() < SOON, "{:?}", alone.status());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Closures in the place of waiting, of a client and of a replica.
#[test]
fn a_closure_is_told_what_became_of_a_value() {
    let cluster = cluster();
    let (client, replica) = (cluster.client(9).unwrap(), cluster.replica(1, Diary::default()));
    let replica = replica.unwrap();
    let (tell, told) = mpsc::channel();
    let tells = |name| {
        let tell = tell.clone();
        move |is_decided: bool| tell.send((name, is_decided)).unwrap()
    };
    let (of_client, of_replica) = (tells("client"), tells("replica"));
    client.propose("one").unwrap().then(move |fate| of_client(fate.decided().is_some()));
    replica.call("two").unwrap().then(move |fate| of_replica(fate.decided().is_some()));
    assert!(told.recv_timeout(Duration::from_millis(100)).is_err());
    let nodes = nodes(&cluster);
    let mut both = [(); 2].map(|()| told.recv_timeout(SOON).unwrap());
    both.sort_unstable();
    assert_eq!(both, [("client", true), ("replica", true)]);
    drop(nodes);
    let late = tells("late");
    client.propose("three").unwrap().then(move |fate| late(fate == Fate::Unknown));
    client.stop(SOON).unwrap();
    assert_eq!(told.recv_timeout(SOON), Ok(("late", true)));
}
