//! More clients than are remembered.

use std::time::Duration;

use super::series::completes;
use super::{MS, Wrong, cut, proposer};
use crate::protocol::entries::Entries;
use crate::protocol::message::{Assignment, Message, Request};
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{
    AssignedBy, Instance, NodeId, Number, Origin, Role, Sender, Session, To,
};
use crate::sim::cluster::{CLUSTER, Cluster, Plan, values};
use crate::sim::node::AnyRole;
use crate::sim::record::PassageId;
use crate::wire::Codec;

/// How many sessions are remembered, and how many clients come.
const SESSIONS: usize = 8;
const CLIENTS: u32 = 41;

fn cluster(seed: u64, retain: Retain) -> Cluster {
    let settings = Settings { sessions: SESSIONS, retain, ..Settings::default() };
    let mut cluster = Cluster::new(Plan { seed, proposers: 3, settings, ..Plan::default() });
    cluster.run_for(1000 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    cluster
}

/// Client `id` asks for one value and hears that it is decided.
fn passes(cluster: &mut Cluster, id: u32) -> Wrong {
    cluster.start_client(id, Assignment::Leader, values(id, 1));
    let is_told = |cluster: &Cluster| cluster.tally(id).is_some_and(|tally| tally.delivered == 1);
    match cluster.run_until(cluster.now() + 1000 * MS, is_told) {
        Ok(true) => cluster.run_for(MS).err(),
        Ok(false) => Some(format!("client {id} is not served: {}", cluster.describe())),
        Err(violation) => Some(violation),
    }
}

pub(super) fn all_pass(cluster: &mut Cluster, ids: impl IntoIterator<Item = u32>) -> Wrong {
    ids.into_iter().find_map(|id| passes(cluster, id))
}

/// A client that is idle while many others ask is told that it is forgotten when it goes on, and
/// one that sends something in time is not. The table of sessions stays small.
pub fn idle_client() -> Wrong {
    (1..=5).find_map(|seed| idle_client_with(seed).map(|wrong| format!("seed {seed}: {wrong}")))
}

fn idle_client_with(seed: u64) -> Wrong {
    let mut cluster = cluster(seed, Retain::All);
    // Two values each: one is typed long after the others have come and gone.
    cluster.start_typist(1, Assignment::Leader, values(1, 2), 5000 * MS);
    cluster.start_typist(2, Assignment::Leader, values(2, 400), MS);
    let wrong = cluster.run_for(50 * MS).err();
    let wrong = wrong.or_else(|| all_pass(&mut cluster, 3..=CLIENTS));
    let most = SESSIONS + SESSIONS / 4 + 1;
    let wrong = wrong.or_else(|| {
        let held = cluster.sessions_held();
        let fat = held.into_iter().find(|(_, count)| *count > most);
        fat.map(|(id, count)| format!("{id} remembers {count} sessions"))
    });
    let finished = completes(&mut cluster, 10_000 * MS);
    let wrong = wrong.or(finished);
    wrong.or_else(|| {
        let expected = [(1, true, 1), (2, false, 400)];
        expected.into_iter().find_map(|(id, is_forgotten, delivered)| {
            let found = (cluster.is_forgotten(id), cluster.tally(id).unwrap_or_default().delivered);
            let is_right = found == (is_forgotten, delivered);
            (!is_right).then(|| format!("client {id}: forgotten and delivered are {found:?}"))
        })
    })
}

/// A client that is idle while many others come, finish and go is not forgotten: they are.
pub fn idle_among_finished() -> Wrong {
    let wrong = |seed| idle_among_finished_with(seed).map(|wrong| format!("seed {seed}: {wrong}"));
    (1..=5).find_map(wrong)
}

fn idle_among_finished_with(seed: u64) -> Wrong {
    let mut cluster = ending_cluster(seed);
    cluster.start_typist(1, Assignment::Leader, values(1, 2), 5000 * MS);
    let wrong = cluster.run_for(50 * MS).err();
    let wrong = wrong.or_else(|| all_pass(&mut cluster, 2..=CLIENTS));
    let finished = completes(&mut cluster, 10_000 * MS);
    let told = (cluster.is_forgotten(1), cluster.tally(1).unwrap_or_default().delivered);
    let what = || format!("client 1: forgotten and delivered are {told:?}");
    wrong.or(finished).or_else(|| (told != (false, 2)).then(what))
}

/// So many come and go at once that several are done in the time of one decision. The table of
/// sessions stays small, and while word of the others arrives, the one that is idle is not
/// forgotten.
pub fn crowd() -> Wrong {
    [50, 200, 1000].into_iter().find_map(|micros| {
        crowd_with(micros).map(|wrong| format!("a client each {micros} us: {wrong}"))
    })
}

fn crowd_with(micros: u64) -> Wrong {
    let mut cluster = ending_cluster(1);
    cluster.start_typist(1, Assignment::Leader, values(1, 2), 5000 * MS);
    let mut wrong = cluster.run_for(50 * MS).err();
    let mut most = 0;
    for id in 2..300 {
        cluster.start_client(id, Assignment::Leader, values(id, 1));
        wrong = wrong.or_else(|| cluster.run_for(Duration::from_micros(micros)).err());
        most = cluster.sessions_held().into_iter().map(|(_, count)| count).fold(most, usize::max);
    }
    // A limit is decided while more come, and the next is due a quarter later.
    if wrong.is_none() && most > 6 * SESSIONS {
        return Some(format!("{most} sessions are remembered"));
    }
    let wrong = wrong.or_else(|| completes(&mut cluster, 10_000 * MS));
    let told = (cluster.is_forgotten(1), cluster.tally(1).unwrap_or_default().delivered);
    // Where more come in the time of a decision than are remembered, most are not known to be done.
    let may_be_forgotten = micros < 100;
    let is_right = told == (false, 2) || may_be_forgotten;
    wrong.or_else(|| (!is_right).then(|| format!("client 1: {told:?}, {most} at most")))
}

/// A client has opened its session, and its first request does not get through for a while. Others
/// that come and go meanwhile do not end it, unless they are half as many as are remembered.
pub fn first_request_among_finished() -> Wrong {
    let wrong = |seed| first_request_with(seed).map(|wrong| format!("seed {seed}: {wrong}"));
    (1..=5).find_map(wrong)
}

fn first_request_with(seed: u64) -> Wrong {
    let mut cluster = ending_cluster(seed);
    // None of these is done, so they are not forgotten before others.
    let idle = SESSIONS as u32 + 2;
    for id in 2..2 + idle {
        cluster.start_typist(id, Assignment::Leader, values(id, 2), 60_000 * MS);
    }
    let wrong = cluster.run_for(200 * MS).err();
    // It hears from heartbeats where the log is.
    cut(&mut cluster, |from, _| from == NodeId::new(Role::Client, 1));
    cluster.start_client(1, Assignment::Leader, values(1, 1));
    let is_open = |cluster: &Cluster| cluster.session_of(1).is_some();
    let opened = cluster.run_until(cluster.now() + 1000 * MS, is_open);
    if opened != Ok(true) {
        return wrong.or(Some(format!("client 1 opens no session: {}", cluster.describe())));
    }
    let wrong = wrong.or_else(|| all_pass(&mut cluster, CLIENTS..CLIENTS + SESSIONS as u32 / 2));
    cluster.heal();
    let is_told = |cluster: &Cluster| cluster.tally(1).is_some_and(|tally| tally.undecided() == 0);
    let told = cluster.run_until(cluster.now() + 5000 * MS, is_told);
    let delivered = cluster.tally(1).unwrap_or_default().delivered;
    let what = || format!("client 1 is not served: {told:?}, {}", cluster.describe());
    wrong.or_else(|| (delivered != 1).then(what))
}

/// A cluster whose clients say when they are done.
fn ending_cluster(seed: u64) -> Cluster {
    let mut cluster = cluster(seed, Retain::All);
    cluster.plan.inputs_end = true;
    // Until nobody who knows no such entries would still call.
    cluster.run_for(6000 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    cluster
}

/// The first request of a client arrives once more when the client is long forgotten: at the leader
/// that served it, and, with most of the log trimmed, at leaders that took it up at a checkpoint.
/// Nothing of it is delivered again.
pub fn late_request() -> Wrong {
    [Retain::All, Retain::Entries(12)].into_iter().find_map(|retain| {
        let wrong = (1..=5).find_map(|seed| late_request_with(seed, retain));
        wrong.map(|wrong| format!("{retain:?}: {wrong}"))
    })
}

fn late_request_with(seed: u64, retain: Retain) -> Wrong {
    let mut cluster = cluster(seed, retain);
    let wrong = passes(&mut cluster, 1);
    let Some((sender, opened)) = cluster.session_of(1) else { return wrong };
    let wrong = wrong.or_else(|| all_pass(&mut cluster, 2..=CLIENTS));
    let repeat = |cluster: &mut Cluster, next: u32| {
        for _ in 0..3 {
            repeat_first(cluster, sender, opened);
            if let Err(violation) = cluster.run_for(20 * MS) {
                return Some(violation);
            }
        }
        all_pass(cluster, next..next + 20).or_else(|| cluster.checker().check_order().err())
    };
    let wrong = wrong.or_else(|| repeat(&mut cluster, 100));
    if wrong.is_some() {
        return wrong;
    }
    let is_trimmed = cluster.begins_at(proposer(1)) > Instance::FIRST;
    if is_trimmed != (retain != Retain::All) {
        return Some(format!("seed {seed}: the log is trimmed: {is_trimmed}"));
    }
    let newcomers = (1..=3).map(proposer).chain([NodeId::new(Role::Learner, 2)]);
    for id in newcomers {
        cluster.kill(id);
        cluster.start(id);
    }
    wrong
        .or_else(|| cluster.run_for(1000 * MS).err())
        .or_else(|| repeat(&mut cluster, 200))
        .map(|wrong| format!("seed {seed}: {wrong}"))
}

/// A copy of the first request of the client `sender` arrives at every proposer.
fn repeat_first(cluster: &mut Cluster, sender: Sender, opened: Instance) {
    let Settings { acceptor_count, datagram_bytes, .. } = cluster.plan.settings;
    let codec = Codec::new(CLUSTER, acceptor_count, sender, datagram_bytes);
    let session = Session { client: sender.node.id, boot: sender.boot };
    let assigned_by = AssignedBy::Leader;
    let origin = Origin::new(session, Number::FIRST, assigned_by);
    let value = &values(sender.node.id, 1)[0];
    let entries = Entries::numbered(origin.stamped(opened), [value.as_bytes()]);
    let (assignment, from, front) = (Assignment::Leader, Number::FIRST, Number::FIRST);
    let request = Message::Request(Request { assignment, from, front, opened, entries });
    let verdict = cluster.checker_mut().on_send(sender, To::Group(Role::Proposer), &request);
    cluster.note(verdict);
    let mut bytes = Vec::new();
    codec.encode(&request, &mut bytes).expect("it is short");
    for id in 1..=cluster.plan.proposers {
        cluster.arrive(proposer(id), bytes.as_slice().into(), PassageId::default());
    }
}

/// A proposer is cut off while a session that it knows is forgotten, takes up the log at a
/// checkpoint, and leads: the client of that session is told what every other leader would tell it,
/// and no more of it is delivered.
pub fn late_leader() -> Wrong {
    (1..=5).find_map(|seed| late_leader_with(seed).map(|wrong| format!("seed {seed}: {wrong}")))
}

fn late_leader_with(seed: u64) -> Wrong {
    let mut cluster = cluster(seed, Retain::Entries(12));
    let late = proposer(3);
    // One value at once, and one when the others have come and gone.
    cluster.start_typist(1, Assignment::Leader, values(1, 2), 4000 * MS);
    let wrong = cluster.run_for(50 * MS).err();
    cut(&mut cluster, |from, to| from == late || to == late);
    let wrong = wrong.or_else(|| all_pass(&mut cluster, 2..CLIENTS));
    // The last one has so many values that the log is trimmed behind the limit.
    cluster.start_typist(CLIENTS, Assignment::Leader, values(CLIENTS, 300), MS);
    let wrong = wrong.or_else(|| cluster.run_for(500 * MS).err());
    // With the last of them came a limit, so that none is due for one session more.
    let count = cluster.session_count(proposer(1));
    let (begins, missed) = (cluster.begins_at(proposer(1)), cluster.session_count(late));
    if wrong.is_none() && (count, missed) != (SESSIONS, 1) {
        return Some(format!("{count} sessions are remembered, and {missed} where it was cut off"));
    }
    cluster.heal();
    let wrong = wrong.or_else(|| cluster.run_for(500 * MS).err());
    if wrong.is_none() && (begins == Instance::FIRST || cluster.begins_at(late) < begins) {
        return Some(format!("{late} does not take up the log at a checkpoint"));
    }
    [1, 2].map(proposer).into_iter().for_each(|id| cluster.kill(id));
    let finished = completes(&mut cluster, 10_000 * MS);
    let told = (cluster.is_forgotten(1), cluster.tally(1).unwrap_or_default().delivered);
    let is_right = told == (true, 1);
    let what = || format!("client 1: forgotten and delivered are {told:?}");
    wrong.or(finished).or_else(|| (!is_right).then(what))
}

impl Cluster {
    /// The client `id`, and where its session was opened.
    fn session_of(&self, id: u32) -> Option<(Sender, Instance)> {
        let node = self.nodes.get(&NodeId::new(Role::Client, id))?;
        match &node.role {
            AnyRole::Client(client) => Some((node.sender, client.opened()?)),
            _ => None,
        }
    }

    fn is_forgotten(&self, id: u32) -> bool {
        match self.nodes.get(&NodeId::new(Role::Client, id)).map(|node| &node.role) {
            Some(AnyRole::Client(client)) => client.is_forgotten(),
            _ => false,
        }
    }

    /// Where the log of a proposer begins.
    pub(super) fn begins_at(&self, id: NodeId) -> Instance {
        match self.nodes.get(&id).map(|node| &node.role) {
            Some(AnyRole::Proposer(proposer)) => proposer.log().first(),
            _ => Instance::FIRST,
        }
    }

    /// How many sessions a proposer or learner remembers.
    fn session_count(&self, id: NodeId) -> usize {
        self.sessions_held().into_iter().find(|(held, _)| *held == id).map_or(0, |(_, count)| count)
    }

    /// How many sessions each proposer and learner remembers.
    fn sessions_held(&self) -> Vec<(NodeId, usize)> {
        let held = self.nodes.iter().filter_map(|(id, node)| match &node.role {
            AnyRole::Proposer(proposer) => Some((*id, proposer.log().session_count())),
            AnyRole::Learner(learner) => Some((*id, learner.log().session_count())),
            AnyRole::Client(_) | AnyRole::Acceptor(_) => None,
        });
        held.collect()
    }
}
