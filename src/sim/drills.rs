//! Drills: one situation each, and how soon the cluster must be over it. The lasting scenarios draw
//! such situations at random and allow more time; here the time is short, and the situation
//! certain.

mod aging;
mod fetching;
mod forgotten;
mod full_disks;
mod later;
mod reading;
mod recalling;
mod releases;
mod series;
mod sessions;
mod snapshots;
mod trimmed_logs;
mod trimming;

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::cluster::{Cluster, Plan, from_instance, long_values, values};
use super::fault::Fault;
use super::lasting::shapes::{Cast, NARROW_BYTES};
use super::script::Stage;
use crate::protocol::message::{Assignment, Kind};
use crate::protocol::types::{NodeId, Role, Time};

const MS: Duration = Duration::from_millis(1);

/// What is wrong, if anything is.
pub type Wrong = Option<String>;

/// A drill and its name.
pub type Drill = (&'static str, fn() -> Wrong);

/// Every drill.
pub const ALL: [Drill; 76] = [
    ("transcripts", transcripts),
    ("fail-over", fail_over),
    ("useless leader", useless_leader),
    ("deaf standby", deaf_standby),
    ("unserved client", unserved_client),
    ("unproven plea", unproven_plea),
    ("zombie", zombie),
    ("useless source", useless_source),
    ("slow disks", slow_disks),
    ("slow disks, unserved client", slow_disks_unserved_client),
    ("narrow leader", narrow_leader),
    ("narrow client", narrow_client),
    ("stray ballot", stray_ballot),
    ("wrong addresses", wrong_addresses),
    ("slow minority", super::links::slow_minority),
    ("a gap before all the rest", gap),
    ("answers that come back", answers_come_back),
    ("forged series", series::forged),
    ("logs with parts", series::logs),
    ("half a value", series::halves),
    ("leaders and parts", series::leaders),
    ("missed value", missed_value),
    ("trimmed logs", trimmed_logs::logs),
    ("sessions that are resumed", sessions::resumed),
    ("a client that is idle", forgotten::idle_client),
    ("a client that is idle among others that finish", forgotten::idle_among_finished),
    ("a crowd of clients that finish", forgotten::crowd),
    ("a first request among clients that finish", forgotten::first_request_among_finished),
    ("a request that is late", forgotten::late_request),
    ("a leader that missed what was forgotten", forgotten::late_leader),
    ("newcomers to a trimmed log", trimming::newcomers),
    ("a leader that missed the end of a value", trimming::late_leader),
    ("acceptors that trimmed unevenly", trimming::uneven),
    ("a leader that hears old news", trimming::old_news),
    ("acceptors that come back trimmed", trimming::returns),
    ("instances that are removed", trimming::asks_for_removed),
    ("accepts of what is trimmed", trimming::late_accepts),
    ("a false word of trimming", trimming::hearsay),
    ("snapshots and crashes", snapshots::crashes),
    ("damaged snapshots", snapshots::changes),
    ("snapshots between parts", snapshots::between_parts),
    ("snapshots of an earlier life", snapshots::earlier_life),
    ("copies that are wanted", snapshots::copies),
    ("which snapshots are fetched", fetching::choices),
    ("a snapshot that is never fetched", fetching::patience),
    ("a snapshot that is stored twice", fetching::stored_twice),
    ("acceptors that are read one after the other", recalling::one_after_the_other),
    ("votes for something else", recalling::lonely_votes),
    ("new leaders of a long log", recalling::new_leaders),
    ("leaders that come back", recalling::leaders_come_back),
    ("new leaders and half a checkpoint", recalling::half_a_checkpoint),
    ("a false word of forgetting", recalling::hearsay),
    ("what is read from disks", recalling::read_back),
    ("copies of another log", snapshots::foreign_copies),
    ("half a checkpoint", snapshots::halves),
    ("reads without a leader", reading::leaderless),
    ("reads behind a hole", reading::behind_a_hole),
    ("reads and an acceptor that forgets", reading::forgetful),
    ("reads and acceptors that are started again", reading::restarted),
    ("disks that are full for a while", full_disks::ages),
    ("disks that keepers fill", full_disks::held_back),
    ("one disk of three is full", full_disks::one_of_three),
    ("an upgrade", releases::upgraded),
    ("kinds of entries that a member does not know", releases::new_kinds_wait),
    ("acceptors that go back a release", releases::acceptors_go_back),
    ("a standby that goes back a release", releases::standby_goes_back),
    ("processes that were left behind", releases::left_behind),
    ("calendars that are wrong", aging::calendars),
    ("kinds of a later release", later::kinds),
    ("a log that a later release has trimmed", later::beginnings),
    ("snapshots of a later release", later::snapshots),
    // These take seconds each, and every bug that none of the others sees comes this far.
    ("snapshots that are fetched", fetching::newcomers),
    ("learners that read everything back", recalling::late_learners),
    ("a snapshot that is fetched slowly", fetching::slow),
    ("a snapshot that is fetched without an acceptor", fetching::slow_without_all),
    ("what is kept over restarts", aging::restarts),
];

const CAST: Cast = Cast { proposers: 3, acceptors: 3, learners: 2, clients: 1 };

fn proposer(id: u32) -> NodeId {
    NodeId::new(Role::Proposer, id)
}

fn client() -> NodeId {
    NodeId::new(Role::Client, 1)
}

/// Three proposers, of which the first leads for a second.
fn led(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(Plan { seed, proposers: 3, ..Plan::default() });
    cluster.run_for(1000 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(cluster.leader(), Some(proposer(1)), "by convention");
    cluster
}

fn cut(cluster: &mut Cluster, is_cut: impl FnMut(NodeId, NodeId) -> bool) {
    let pairs = CAST.links(is_cut);
    cluster.inject(&Fault::Cut { shape: "a drill", pairs });
}

fn types(cluster: &mut Cluster, count: u64) {
    cluster.start_typist(1, Assignment::Leader, values(1, count), 50 * MS);
}

/// Runs until everything is decided and known, or complains.
fn finishes(cluster: &mut Cluster, limit: Duration) -> Wrong {
    let done = |cluster: &Cluster| cluster.clients_finished() && cluster.learners_complete();
    match cluster.run_until(cluster.now() + limit, done) {
        Ok(true) => None,
        Ok(false) => Some(format!("not finished in {limit:?}: {}", cluster.describe())),
        Err(violation) => Some(violation),
    }
}

fn changes(cluster: &Cluster, expected: u32) -> Wrong {
    // The first leader is no change.
    let changes = cluster.elections() - 1;
    (changes != expected).then(|| format!("{changes} changes of leader, not {expected}"))
}

/// The transcripts play as they are written.
fn transcripts() -> Wrong {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol/testdata");
    let files = fs::read_dir(folder).expect("the transcripts are there");
    files.map(|file| file.expect("it is a file").path()).find_map(|path| {
        let text = fs::read_to_string(&path).expect("it is text");
        let name = path.file_name().unwrap_or_default().display().to_string();
        match Stage::play(&text) {
            Ok(played) if played == text => None,
            Ok(_) => Some(format!("{name} plays differently")),
            Err(what) => Some(format!("{name}: {what}")),
        }
    })
}

/// A learner that hears how much others hold, and for a second no answer, asks so often that it
/// has everything soon after answers come through.
fn answers_come_back() -> Wrong {
    (1..=10).find_map(|seed| {
        let mut cluster = led(seed);
        let late = NodeId::new(Role::Learner, 2);
        cut(&mut cluster, |from, to| from.role == Role::Proposer && to == late);
        cluster.inject(&Fault::Filter(Kind::CatchUpReply));
        types(&mut cluster, 5);
        cluster.run_for(MS * (1000 + 30 * seed as u32)).unwrap_or_else(|wrong| panic!("{wrong}"));
        cluster.inject(&Fault::Heal);
        finishes(&mut cluster, 100 * MS).map(|what| format!("seed {seed}: {what}"))
    })
}

/// A leader that dies, at any moment, is replaced once, within one and a half time-outs.
fn fail_over() -> Wrong {
    (1..=20).find_map(|seed| {
        let mut cluster = led(seed);
        cluster.run_for(MS * (seed as u32 * 7 % 60)).unwrap_or_else(|wrong| panic!("{wrong}"));
        cluster.kill(proposer(1));
        let killed = cluster.now();
        let is_led = |cluster: &Cluster| cluster.leader().is_some();
        let soon = match cluster.run_until(killed + 225 * MS, is_led) {
            Ok(soon) => soon,
            Err(violation) => return Some(violation),
        };
        if !soon {
            return Some(format!("seed {seed}: nobody leads 225 ms after the leader's death"));
        }
        cluster.run_for(1000 * MS).err().or_else(|| changes(&cluster, 1))
    })
}

/// A leader that hears no acceptor is replaced soon, even if all of them hear it.
fn useless_leader() -> Wrong {
    let mut cluster = led(1);
    cut(&mut cluster, |from, to| from.role == Role::Acceptor && to == proposer(1));
    types(&mut cluster, 10);
    let is_led = |cluster: &Cluster| cluster.leader() == Some(proposer(2));
    match cluster.run_until(cluster.now() + 600 * MS, is_led) {
        Ok(true) => {}
        Ok(false) => return Some(format!("not replaced in 600 ms: {}", cluster.describe())),
        Err(violation) => return Some(violation),
    }
    finishes(&mut cluster, 1000 * MS).or_else(|| changes(&cluster, 1))
}

/// A proposer that has gone deaf raises no ballot.
fn deaf_standby() -> Wrong {
    let mut cluster = led(1);
    cut(&mut cluster, |_, to| to == proposer(2));
    types(&mut cluster, 60);
    let wrong = finishes(&mut cluster, 4000 * MS).or_else(|| changes(&cluster, 0));
    let ballots = cluster.checker().ballots_of(2);
    wrong.or_else(|| (ballots > 0).then(|| format!("P2 raised {ballots} ballots")))
}

/// A client that does not hear the leader gets another, once and for good.
fn unserved_client() -> Wrong {
    let mut cluster = led(1);
    cut(&mut cluster, |from, to| from == proposer(1) && to == client());
    types(&mut cluster, 10);
    let wrong = finishes(&mut cluster, 2000 * MS);
    wrong.or_else(|| cluster.run_for(3000 * MS).err()).or_else(|| changes(&cluster, 1))
}

/// A proposer that the caller does not hear does not take over: it would serve it no better.
fn unproven_plea() -> Wrong {
    let mut cluster = led(1);
    cluster.kill(proposer(3));
    cut(&mut cluster, |from, to| [proposer(1), proposer(2)].contains(&from) && to == client());
    types(&mut cluster, 10);
    cluster.run_for(5000 * MS).err().or_else(|| changes(&cluster, 0))
}

/// A leader that lost its quorum goes on answering a client, which does not count that as service.
fn zombie() -> Wrong {
    let mut cluster = led(1);
    cut(&mut cluster, |from, to| {
        let is_deaf = to == proposer(1) && from.role != Role::Client;
        is_deaf || from == proposer(2) && to == client()
    });
    types(&mut cluster, 10);
    finishes(&mut cluster, 3000 * MS)
}

/// A learner whose requests the leading learner does not hear gets what it lacks from others.
fn useless_source() -> Wrong {
    let mut cluster = led(1);
    types(&mut cluster, 10);
    let late = NodeId::new(Role::Learner, 3);
    let wrong = finishes(&mut cluster, 1000 * MS);
    cluster.network.cut(late, NodeId::new(Role::Learner, 1));
    cluster.start(late);
    wrong.or_else(|| finishes(&mut cluster, 1000 * MS))
}

/// However long a sync takes, a leader that waits for it is left in office.
fn slow_disks() -> Wrong {
    [100, 250, 310, 600, 1200, 3000, 30_000].into_iter().find_map(|takes| {
        let mut cluster = led(takes);
        for acceptor in CAST.acceptors() {
            // Not in step with each other.
            let takes = MS * (takes as u32 - 7 * acceptor.id);
            cluster.inject(&Fault::SlowDisk(acceptor, takes));
        }
        types(&mut cluster, 100);
        let limit = MS * (takes as u32 * 8 + 5000);
        let wrong = finishes(&mut cluster, limit).or_else(|| changes(&cluster, 0));
        wrong.map(|wrong| format!("syncs of {takes} ms: {wrong}"))
    })
}

/// A client that the leader does not hear gets another, however slow the disks are, and the other
/// stays.
fn slow_disks_unserved_client() -> Wrong {
    [300, 700, 1200, 3000].into_iter().find_map(|takes| {
        let mut cluster = led(takes);
        for acceptor in CAST.acceptors() {
            let takes = MS * (takes as u32 - 7 * acceptor.id);
            cluster.inject(&Fault::SlowDisk(acceptor, takes));
        }
        cut(&mut cluster, |from, to| from == client() && to == proposer(1));
        // Another load keeps the disks busy, for longer than this may take.
        let busy = MS * (takes as u32 * 40 + 5000);
        cluster.start_typist(
            2,
            Assignment::Leader,
            values(2, busy.as_millis() as u64 / 50),
            50 * MS,
        );
        types(&mut cluster, 20);
        let is_served = |cluster: &Cluster| cluster.tally(1).is_some_and(|it| it.delivered == 20);
        let wrong = match cluster.run_until(cluster.now() + busy / 2, is_served) {
            Ok(true) => None,
            Ok(false) => Some(format!("not served in {:?}: {}", busy / 2, cluster.describe())),
            Err(violation) => Some(violation),
        };
        let wrong = wrong.or_else(|| changes(&cluster, 1));
        wrong.map(|wrong| format!("syncs of {takes} ms: {wrong}"))
    })
}

/// A leader whose long values do not reach the acceptors, though its heartbeats and short ones do,
/// steps down.
fn narrow_leader() -> Wrong {
    let mut cluster = led(1);
    let leader = proposer(1);
    let pairs = CAST.links(|from, to| from == leader && to.role == Role::Acceptor);
    cluster.inject(&Fault::Narrow { bytes: NARROW_BYTES, pairs });
    cluster.start_typist(1, Assignment::Leader, long_values(1, 10, Time::ZERO), 50 * MS);
    cluster.start_typist(2, from_instance(1000), values(2, 200), 20 * MS);
    finishes(&mut cluster, 6000 * MS).or_else(|| changes(&cluster, 1))
}

/// A client whose long requests do not reach the leader, though its pleas do, gets another leader.
fn narrow_client() -> Wrong {
    let mut cluster = led(1);
    let pairs = CAST.links(|from, to| from == client() && to == proposer(1));
    cluster.inject(&Fault::Narrow { bytes: NARROW_BYTES, pairs });
    cluster.start_typist(1, Assignment::Leader, long_values(1, 10, Time::ZERO), 50 * MS);
    finishes(&mut cluster, 12_000 * MS).or_else(|| changes(&cluster, 1))
}

/// A leader misses one value and holds so much behind it that a client whose window has shrunk has
/// room for nothing. It sends that one all the same, at the latest at the longest of its time-outs
/// after it can arrive.
fn gap() -> Wrong {
    [600, 700, 800, 900, 1000, 1200].into_iter().find_map(|lasts| {
        let mut cluster = led(1);
        let pairs = CAST.links(|from, to| from == client() && to.role == Role::Proposer);
        cluster.inject(&Fault::Narrow { bytes: NARROW_BYTES, pairs });
        let mut all = values(1, 2);
        all.extend(long_values(1, 1, Time::ZERO));
        all.extend(values(1, 1000));
        cluster.start_typist(1, Assignment::Leader, all, MS / 2);
        let lost = cluster.run_for(lasts * MS).err();
        cluster.inject(&Fault::Heal);
        let wrong = lost.or_else(|| finishes(&mut cluster, 600 * MS));
        wrong.map(|wrong| format!("lost for {lasts} ms: {wrong}"))
    })
}

/// One acceptor has promised a ballot that nobody leads with. That deposes no leader which has a
/// quorum of the others; when it has not, it takes a higher ballot, soon.
fn stray_ballot() -> Wrong {
    let mut cluster = led(1);
    let [first, second] = [1, 2].map(|id| NodeId::new(Role::Acceptor, id));
    // Proposer 2 reaches the first acceptor alone, and campaigns while nobody else is there.
    cut(&mut cluster, |from, to| {
        let is_its = [from, to].contains(&proposer(2)) && ![from, to].contains(&first);
        is_its || [from, to].contains(&proposer(3))
    });
    cluster.campaign(2);
    let wrong = cluster.run_for(30 * MS).err();
    cluster.kill(proposer(2));
    cluster.kill(proposer(3));
    types(&mut cluster, 20);
    let wrong = wrong.or_else(|| finishes(&mut cluster, 1500 * MS));
    let wrong = wrong.or_else(|| changes(&cluster, 0));
    cluster.kill(second);
    types(&mut cluster, 20);
    wrong.or_else(|| finishes(&mut cluster, 2500 * MS))
}

/// All processes have wrong addresses of all others, from the start and for good: all direct
/// messages are lost. Repeated questions arrive all the same.
fn wrong_addresses() -> Wrong {
    (1..=20).find_map(|seed| {
        let mut cluster = Cluster::new(Plan { seed, proposers: 3, ..Plan::default() });
        cluster.inject(&Fault::Misplace(CAST.links(|_, _| true)));
        let started = cluster.run_for(1000 * MS).err();
        cluster.start_client(1, Assignment::Leader, values(1, 200));
        // A learner that comes late has everything to fetch.
        let half = cluster.run_for(200 * MS).err();
        cluster.start(NodeId::new(Role::Learner, 3));
        let late = finishes(&mut cluster, 3000 * MS);
        started.or(half).or(late).map(|wrong| format!("seed {seed}: {wrong}"))
    })
}

/// A learner that hears the name of a decision but not its value fetches it at once, before any
/// heartbeat says that it misses something.
fn missed_value() -> Wrong {
    let mut cluster = led(1);
    let learner = NodeId::new(Role::Learner, 2);
    (1..=20).find_map(|client| {
        let now = cluster.now();
        cluster.network.narrow(proposer(1), learner, NARROW_BYTES);
        cluster.start_client(client, Assignment::Leader, long_values(client, 1, now));
        let done = cluster.run_until(now + 1000 * MS, Cluster::clients_finished);
        cluster.network.heal();
        let wrong = match done {
            Ok(_) => finishes(&mut cluster, 4 * MS),
            Err(violation) => Some(violation),
        };
        wrong.or_else(|| cluster.run_for(MS * (client * 7 % 20)).err())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drill_is_over_in_time() {
        for (name, drill) in ALL {
            assert_eq!(drill(), None, "{name}");
        }
    }
}
