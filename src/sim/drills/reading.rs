//! Reads: what a learner waits for, and what it does not wait for.

use super::{MS, NARROW_BYTES, Wrong, cut, finishes, proposer};
use crate::protocol::actor::{Actor, Delivery, Effects, Input};
use crate::protocol::message::{Assignment, Kind, Message, ReadReply};
use crate::protocol::parts::Learner;
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{Instance, NodeId, Role, Sender, Time};
use crate::sim::cluster::{Cluster, Plan, long_values, values};
use crate::sim::fault::Fault;
use crate::sim::node::ReadOften;

/// Reads decide nothing, and need no leader: they go on when every proposer is dead.
pub(super) fn leaderless() -> Wrong {
    let reads = Some(ReadOften { count: 400, pause: MS });
    let mut cluster = Cluster::new(Plan { reads, ..Plan::default() });
    cluster.start_client(1, Assignment::Leader, values(1, 50));
    let begun = cluster.run_for(300 * MS);
    [1, 2].map(proposer).into_iter().for_each(|id| cluster.kill(id));
    let (before, chosen) = (cluster.checker().reads(), cluster.checker().chosen().len());
    let ended = begun.and_then(|()| cluster.run_for(300 * MS));
    let (after, left) = (cluster.checker().reads(), cluster.find_unread());
    let asked = cluster.checker().sent_of(&[Kind::ReadRequest]);
    let is_fine = before.0 > 400 && after.0 == 800 && after.1 == 0 && asked <= 800;
    if let Err(violation) = ended {
        return Some(violation);
    }
    (!is_fine || chosen != 50 || left.is_some()).then(|| {
        format!("{before:?} and {after:?} were served, {chosen} are chosen, {left:?} waits")
    })
}

/// A learner lacks one value and has those behind it, which it cannot hand out. It knows that they
/// are decided, and that an answer of the acceptors reaches no further; and serves no read that
/// began after they were. The checker looks; here such reads are certain.
pub(super) fn behind_a_hole() -> Wrong {
    let reads = Some(ReadOften { count: 1000, pause: MS });
    let mut cluster = Cluster::new(Plan { reads, ..Plan::default() });
    let begun = cluster.run_for(300 * MS);
    let before = cluster.checker().reads();
    cluster.inject(&Fault::Filter(Kind::CatchUpReply));
    cluster.network.narrow(proposer(1), NodeId::new(Role::Learner, 2), NARROW_BYTES);
    let mut typed = long_values(1, 1, cluster.now());
    typed.extend(values(1, 5));
    cluster.start_typist(1, Assignment::Leader, typed, 2 * MS);
    let behind = cluster.run_for(150 * MS);
    let (during, chosen) = (cluster.checker().reads(), cluster.checker().chosen().len());
    cluster.inject(&Fault::Heal);
    let wrong = begun.and(behind).err().or_else(|| finishes(&mut cluster, 1000 * MS));
    // Reads that were left to the log rest for a while.
    let wrong = wrong.or_else(|| cluster.run_for(1500 * MS).err());
    let after = cluster.checker().reads();
    let is_fine = before.1 == 0 && during.1 > 50 && chosen == 6 && after.0 > during.0 + 500;
    wrong.or_else(|| {
        let told = format!("{before:?}, {during:?} and {after:?} were served, {chosen} are chosen");
        (!is_fine).then_some(told)
    })
}

/// All acceptors are started again, with a log of which most is removed. They still know where it
/// ends: a learner that has not heard of anything serves no read.
pub(super) fn restarted() -> Wrong {
    let settings = Settings { retain: Retain::Entries(20), ..Settings::default() };
    let mut cluster = Cluster::new(Plan { settings, ..Plan::default() });
    cluster.start_typist(1, Assignment::Leader, values(1, 200), MS);
    let mut wrong = finishes(&mut cluster, 2000 * MS);
    if cluster.checker().trimmed() == Instance::FIRST {
        return Some("nothing is trimmed".to_owned());
    }
    (1..=3).map(|id| NodeId::new(Role::Acceptor, id)).for_each(|id| {
        cluster.inject(&Fault::Restart(id));
    });
    let late = NodeId::new(Role::Learner, 3);
    cut(&mut cluster, |from, to| to == late && from.role != Role::Acceptor);
    cluster.plan.reads = Some(ReadOften { count: 50, pause: MS });
    cluster.start(late);
    wrong = wrong.or_else(|| cluster.run_for(100 * MS).err());
    let answers = cluster.checker().sent_of(&[Kind::ReadReply]);
    cluster.inject(&Fault::Heal);
    wrong
        .or_else(|| (answers == 0).then(|| "no acceptor answers".to_owned()))
        .or_else(|| finishes(&mut cluster, 1000 * MS))
}

/// The answers of an acceptor that lost its data, or has less than it had, do not count.
pub(super) fn forgetful() -> Wrong {
    let mut learner = Learner::new(1, 1, Settings::default(), Time::ZERO);
    // A read at a time, and answers to the question of this count: of which acceptor, in which
    // incarnation, and what it has accepted ends there.
    let mut read = |number: u64, time: u64, count: u64, replies: &[(u32, u64, u64)]| {
        let (now, mut fx) = (Time(time), Effects::new());
        learner.on_input(now, Input::Read(number), &mut fx);
        learner.on_turn_end(now, &mut fx);
        for (id, incarnation, end) in replies.iter().copied() {
            let from = Sender { node: NodeId::new(Role::Acceptor, id), boot: incarnation };
            let reply = ReadReply { boot: 1, count, end: Instance(end) };
            learner.on_message(now, from, Message::ReadReply(reply), &mut fx);
        }
        learner.on_turn_end(now, &mut fx);
        fx.deliver.iter().any(|delivery| matches!(delivery, Delivery::Readable(_)))
    };
    let served = [
        read(1, 0, 1, &[(1, 7, 5), (2, 8, 1)]),
        read(2, 1, 2, &[(1, 9, 1), (3, 9, 1)]),
        // The second was not answered in time, and is asked anew.
        read(3, 25_000, 3, &[(1, 7, 4), (3, 9, 1)]),
        read(4, 25_001, 3, &[(2, 8, 1)]),
    ];
    (served != [false, false, false, true]).then(|| format!("served {served:?}"))
}
