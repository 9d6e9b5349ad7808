//! What do the datagrams of a cluster say about its processes? Pure, and bounded in memory.
//!
//! With a key, only datagrams sealed with it are believed. A replay cannot be distinguished from
//! the present: that takes a handshake, and this process has none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::view::{Leader, Row, View};
use crate::auth::seal::{Broken, Seal};
use crate::doctor::DOCTOR_ID;
use crate::protocol::message::{Announcement, Echo, Heard, Kind, Message, Progress, Standing};
use crate::protocol::quorum::Quorum;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Ballot, NodeId, Role, Sender, Time};
use crate::protocol::versions::{Version, Versions};
use crate::wire::{Codec, Envelope, Refusal};

/// How many processes, and proposers that an acceptor repeats, are kept.
const PROCESSES_MAX: usize = 1024;
const ECHOED_MAX: usize = 64;

/// A process that was silent for this long is not shown any more.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Everything that was heard so far.
#[derive(Debug)]
pub struct Hearing {
    codec: Codec,
    seal: Option<Seal>,
    cluster: String,
    quorum: Quorum,
    acceptor_count: u32,
    /// For how long a word counts.
    fresh: Duration,
    /// By node and boot number.
    processes: BTreeMap<(NodeId, u64), Process>,
    /// Datagrams that were not understood, and that may be of this cluster.
    refused: BTreeMap<Refusal, u64>,
}

/// One process.
#[derive(Clone, Debug)]
struct Process {
    /// In which version it sent last, and which ones it says that it reads.
    version: Option<Version>,
    reads: Option<Versions>,
    /// Where it sends from, if it was heard itself.
    source: Option<SocketAddr>,
    /// When it last gave a sign of life.
    heard: Time,
    announcement: Option<Announcement>,
    progress: Option<Progress>,
    /// How many client sessions it says that it remembers.
    sessions: Option<u32>,
    /// What an acceptor has promised.
    promised: Option<Ballot>,
    /// How much an acceptor has accepted, which proposers it hears, and when it said so.
    echo: Option<(u64, Vec<Heard>, Time)>,
    /// An acceptor says that its disk is full; a leader, that too few acceptors have room.
    full: bool,
}

impl Hearing {
    /// Nothing heard yet, in the cluster of this name.
    pub fn new(codec: Codec, seal: Option<Seal>, cluster: &str, settings: &Settings) -> Self {
        let fresh = settings.leader_timeout * 2;
        Hearing {
            codec,
            seal,
            cluster: cluster.to_owned(),
            quorum: Quorum::majority_of(settings.acceptor_count),
            acceptor_count: settings.acceptor_count,
            fresh: fresh.max(settings.heartbeat_interval * 8).max(Duration::from_millis(800)),
            processes: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// A datagram to the acceptors, sealed if there is a key.
    pub fn sealed(&self, mut datagram: Vec<u8>) -> Vec<u8> {
        if let Some(seal) = &self.seal {
            seal.seal(Role::Acceptor, &mut datagram);
        }
        datagram
    }

    /// A datagram came to the group of `role`.
    pub fn on_datagram(&mut self, now: Time, role: Role, source: SocketAddr, datagram: &[u8]) {
        match self.understand(role, datagram) {
            Ok((sender, version, message)) if sender.node.id != DOCTOR_ID => {
                self.on_message(now, sender, source, message);
                self.note_version(sender, version);
            }
            Ok(_) => {}
            // Other programs, and other clusters, may share a group.
            Err(Refusal::TooShort | Refusal::Probe | Refusal::Foreign | Refusal::OtherCluster) => {}
            Err(reason) => *self.refused.entry(reason).or_insert(0) += 1,
        }
    }

    /// The sender and the message, if it is of interest here.
    fn understand(
        &self,
        role: Role,
        datagram: &[u8],
    ) -> Result<(Sender, Option<Version>, Option<Message>), Refusal> {
        let (sender, kind, version) = match self.codec.envelope(datagram)? {
            Envelope::Message(header) => (header.sender, Some(header.kind), Some(header.version)),
            Envelope::Hello(sender) | Envelope::Knock(sender) => (sender, None, None),
        };
        let is_told = matches!(
            kind,
            Some(
                Kind::Heartbeat
                    | Kind::Echo
                    | Kind::Plea
                    | Kind::Promise
                    | Kind::Nack
                    | Kind::DecideAck
            )
        );
        let Some(seal) = &self.seal else {
            let message = is_told.then(|| self.codec.decode(datagram)).transpose()?;
            return Ok((sender, version, message.map(|(_, message)| message)));
        };
        let opened = seal.open(role, datagram).map_err(|broken| match broken {
            Broken::OtherKey => Refusal::OtherKey,
            Broken::TooShort | Broken::Forged => Refusal::Forged,
        })?;
        let content = datagram.get(..opened.content_bytes).ok_or(Refusal::TooShort)?;
        let message = is_told.then(|| self.codec.decode(content)).transpose()?;
        Ok((sender, version, message.map(|(_, message)| message)))
    }

    fn on_message(
        &mut self,
        now: Time,
        sender: Sender,
        source: SocketAddr,
        message: Option<Message>,
    ) {
        let key = (sender.node, sender.boot);
        let is_acceptor = sender.node.role == Role::Acceptor;
        if is_acceptor && !self.quorum.includes(sender.node.id) {
            return;
        }
        let Some(process) = self.process(now, key) else { return };
        (process.source, process.heard) = (Some(source), now);
        match message {
            Some(Message::Heartbeat(heartbeat)) => {
                process.hear(heartbeat.announcement);
                process.full = heartbeat.full;
                process.progress = Some(heartbeat.progress);
                process.sessions = heartbeat.sessions;
            }
            Some(Message::Plea(plea)) => process.reads = Some(plea.reads),
            Some(Message::DecideAck(ack)) => process.progress = Some(ack.progress),
            Some(Message::Echo(echo)) => self.on_echo(now, key, echo),
            Some(Message::Promise(promise)) if is_acceptor => {
                process.promised = process.promised.max(Some(promise.ballot));
            }
            Some(Message::Nack(nack)) if is_acceptor => {
                process.promised = process.promised.max(Some(nack.promised));
            }
            Some(_) | None => {}
        }
    }

    /// A process that was understood sent in this version.
    fn note_version(&mut self, sender: Sender, version: Option<Version>) {
        if let Some(process) = self.processes.get_mut(&(sender.node, sender.boot)) {
            process.version = version.or(process.version);
        }
    }

    /// An acceptor repeats which proposers it hears: those are alive, even if they are not heard
    /// here.
    fn on_echo(&mut self, now: Time, key: (NodeId, u64), echo: Echo) {
        for heard in echo.heard.iter().take(ECHOED_MAX) {
            let proposer = (NodeId::new(Role::Proposer, heard.proposer), heard.boot);
            if let Some(process) = self.process(now, proposer)
                && process.hear(heard.announcement)
            {
                process.heard = now;
            }
        }
        if let Some(process) = self.processes.get_mut(&key) {
            (process.promised, process.full) = (Some(echo.promised), echo.full);
            process.reads = Some(echo.reads);
            // Of many proposers each has its part of an echo, and the leader is in one of them.
            let heard: Vec<Heard> = echo.heard.into_iter().take(ECHOED_MAX).collect();
            process.echo = Some((echo.accepted, heard, now));
        }
    }

    /// What is known of a process; none when there are too many.
    fn process(&mut self, now: Time, key: (NodeId, u64)) -> Option<&mut Process> {
        if self.processes.len() >= PROCESSES_MAX && !self.processes.contains_key(&key) {
            self.processes.retain(|_, process| now.since(process.heard) < FORGOTTEN);
            if self.processes.len() >= PROCESSES_MAX {
                return None;
            }
        }
        Some(self.processes.entry(key).or_insert_with(|| Process {
            version: None,
            reads: None,
            source: None,
            heard: now,
            announcement: None,
            progress: None,
            sessions: None,
            promised: None,
            echo: None,
            full: false,
        }))
    }

    /// All of it, as it is now.
    pub fn view(&mut self, now: Time) -> View {
        self.processes.retain(|_, process| now.since(process.heard) < FORGOTTEN);
        self.forget_former_lives(now);
        let most = self.processes.values().filter_map(|one| one.progress).map(|it| it.decided);
        let most = most.max();
        let leader = self.leader(now);
        let rows = self.processes.iter().map(|((node, _), process)| Row {
            node: *node,
            standing: process.announcement.map(|said| said.standing),
            is_quorate: process.announcement.is_some_and(|said| said.quorate),
            ballot: match node.role {
                Role::Acceptor => process.promised,
                Role::Client | Role::Proposer | Role::Learner => {
                    process.announcement.map(|said| said.ballot)
                }
            }
            .filter(|ballot| *ballot > Ballot::ZERO),
            progress: process.progress,
            sessions: process.sessions,
            accepted: process.echo.as_ref().map(|(accepted, ..)| *accepted),
            lag: process.progress.zip(most).map(|(held, most)| most.saturating_sub(held.decided)),
            is_full: process.full,
            silent: now.since(process.heard),
            is_fresh: now.since(process.heard) <= self.fresh,
            source: process.source,
            version: process.version,
            reads: process.reads,
        });
        let mut rows: Vec<Row> = rows.collect();
        let place = |role| match role {
            Role::Proposer => 0,
            Role::Acceptor => 1,
            Role::Learner => 2,
            Role::Client => 3,
        };
        rows.sort_by_key(|row| (place(row.node.role), row.node.id));
        View {
            cluster: self.cluster.clone(),
            acceptor_count: self.acceptor_count,
            needed: self.quorum.needed(),
            leader,
            rows,
            refused: self.refused.clone(),
        }
    }

    /// Of several runs of a node only those that are heard now, or else the last one, are shown.
    fn forget_former_lives(&mut self, now: Time) {
        let mut last: BTreeMap<NodeId, Time> = BTreeMap::new();
        for ((node, _), process) in &self.processes {
            let heard = last.entry(*node).or_insert(process.heard);
            *heard = process.heard.max(*heard);
        }
        let fresh = self.fresh;
        self.processes.retain(|(node, _), process| {
            now.since(process.heard) <= fresh || last.get(node) == Some(&process.heard)
        });
    }

    /// The proposer that leads with the highest ballot of those that most acceptors answer.
    fn leader(&self, now: Time) -> Option<Leader> {
        // A learner leads the learners, and no log.
        let proposers = self.processes.iter().filter(|((node, _), _)| node.role == Role::Proposer);
        let leading = proposers.filter_map(|(key, process)| {
            let said = process.announcement.filter(|said| said.standing == Standing::Leads)?;
            let is_fresh = now.since(process.heard) <= self.fresh;
            let answered_by = self.answers(now, *key, said.ballot);
            let is_quorate = said.quorate && answered_by >= self.quorum.needed();
            let (node, ballot, is_full) = (key.0, said.ballot, process.full);
            let leader = Leader { node, ballot, answered_by, is_quorate, is_full };
            is_fresh.then_some(leader)
        });
        leading.max_by_key(|leader| (leader.is_quorate, leader.ballot))
    }

    /// How many acceptors repeat that this proposer leads, and have promised no higher ballot.
    fn answers(&self, now: Time, (node, boot): (NodeId, u64), ballot: Ballot) -> u32 {
        let answers = self.processes.iter().filter_map(|((acceptor, _), process)| {
            let (_, heard, when) = process.echo.as_ref()?;
            let repeats = |heard: &Heard| {
                let said = heard.announcement;
                (heard.proposer, heard.boot) == (node.id, boot)
                    && (said.standing, said.ballot) == (Standing::Leads, ballot)
            };
            let is_ours = now.since(*when) <= self.fresh
                && process.promised <= Some(ballot)
                && heard.iter().any(repeats);
            is_ours.then_some(acceptor.id)
        });
        answers.collect::<BTreeSet<u32>>().len() as u32
    }
}

impl Process {
    /// It announces this, or another process repeats it. Returns whether that is news.
    fn hear(&mut self, said: Announcement) -> bool {
        let is_news = self.announcement.is_none_or(|known| known.stamp < said.stamp);
        if is_news {
            (self.announcement, self.reads) = (Some(said), Some(said.reads));
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::key::KeyRing;
    use crate::protocol::message::{Accept, Heartbeat};
    use crate::protocol::types::Instance;

    const KEY: &str =
        "paxos-key-1 1111111111111111111111111111111111111111111111111111111111111111";

    fn ballot(round: u64, proposer: u32) -> Ballot {
        Ballot { round, proposer, boot: 7 }
    }

    fn codec(role: Role, id: u32) -> Codec {
        Codec::new("paxos", 3, Sender { node: NodeId::new(role, id), boot: 7 }, 1472)
    }

    fn hearing() -> Hearing {
        Hearing::new(codec(Role::Proposer, DOCTOR_ID), None, "paxos", &Settings::default())
    }

    fn announcement(standing: Standing, quorate: bool, ballot: Ballot, stamp: u64) -> Announcement {
        Announcement { standing, quorate, ballot, stamp: Time(stamp), reads: Versions::ALL }
    }

    fn heartbeat(announcement: Announcement, decided: u64) -> Message {
        let progress = Progress::until(Instance(decided + 1));
        Message::Heartbeat(Heartbeat::new(Version::OLDEST, announcement, progress))
    }

    fn echo(promised: Ballot, heard: &[(u32, Announcement)]) -> Message {
        let heard = heard.iter().map(|(proposer, announcement)| Heard {
            proposer: *proposer,
            boot: 7,
            announcement: *announcement,
        });
        Message::Echo(Echo {
            promised,
            accepted: 5,
            full: false,
            reads: Versions::ALL,
            heard: heard.collect(),
        })
    }

    fn say(hearing: &mut Hearing, millis: u64, role: Role, id: u32, message: &Message) {
        let mut datagram = Vec::new();
        codec(role, id).encode(message, &mut datagram).unwrap();
        let source = "10.0.0.1:4000".parse().unwrap();
        hearing.on_datagram(Time(millis * 1000), Role::Proposer, source, &datagram);
    }

    /// P1 leads with ballot 3.P1, and these acceptors repeat it.
    fn led_by_one(acceptors: &[u32], quorate: bool) -> Hearing {
        let mut hearing = hearing();
        let said = announcement(Standing::Leads, quorate, ballot(3, 1), 10);
        say(&mut hearing, 0, Role::Proposer, 1, &heartbeat(said, 12));
        for id in acceptors {
            say(&mut hearing, 0, Role::Acceptor, *id, &echo(ballot(3, 1), &[(1, said)]));
        }
        hearing
    }

    fn is_led(hearing: &mut Hearing, millis: u64) -> bool {
        hearing.view(Time(millis * 1000)).is_healthy()
    }

    #[test]
    fn a_leader_is_one_that_a_quorum_of_the_acceptors_answers() {
        assert!(is_led(&mut led_by_one(&[1, 3], true), 10));
        assert!(!is_led(&mut led_by_one(&[3], true), 10), "one acceptor of three");
        assert!(!is_led(&mut led_by_one(&[3, 3], true), 10), "the same one twice");
        assert!(!is_led(&mut led_by_one(&[1, 2, 9], false), 10), "it hears no quorum itself");
        assert!(!is_led(&mut led_by_one(&[1, 3], true), 900), "all of that is long ago");
        assert!(!is_led(&mut hearing(), 0));
        // An acceptor that has promised more refuses what this leader sends.
        let mut replaced = led_by_one(&[1, 3], true);
        let said = announcement(Standing::Leads, true, ballot(3, 1), 10);
        say(&mut replaced, 1, Role::Acceptor, 3, &echo(ballot(4, 2), &[(1, said)]));
        assert!(!is_led(&mut replaced, 10));
    }

    #[test]
    fn a_learner_that_leads_the_learners_leads_no_cluster() {
        let mut hearing = hearing();
        let said = announcement(Standing::Leads, true, Ballot::ZERO, 10);
        say(&mut hearing, 0, Role::Learner, 1, &heartbeat(said, 12));
        let stands = announcement(Standing::Stands, true, Ballot::ZERO, 10);
        say(&mut hearing, 0, Role::Proposer, 1, &heartbeat(stands, 12));
        let view = hearing.view(Time(10_000));
        assert_eq!((view.rows.len(), view.leader.map(|leader| leader.node)), (2, None));
    }

    #[test]
    fn those_who_are_only_repeated_are_shown_as_well() {
        let mut hearing = led_by_one(&[1, 2], true);
        let stands = |stamp| announcement(Standing::Stands, true, Ballot::ZERO, stamp);
        say(&mut hearing, 5, Role::Acceptor, 1, &echo(ballot(3, 1), &[(2, stands(4))]));
        // A repetition is no sign of life.
        say(&mut hearing, 400, Role::Acceptor, 1, &echo(ballot(3, 1), &[(2, stands(4))]));
        let view = hearing.view(Time(500_000));
        let row = view.rows.iter().find(|row| row.node.to_string() == "P2").unwrap();
        assert_eq!((row.source, row.silent), (None, Duration::from_millis(495)));
    }

    #[test]
    fn a_learner_lags_behind_whoever_holds_most() {
        let mut hearing = led_by_one(&[1, 2], true);
        let learns = announcement(Standing::Stands, false, ballot(3, 1), 1);
        say(&mut hearing, 1, Role::Learner, 2, &heartbeat(learns, 4));
        let view = hearing.view(Time(2000));
        let lags: Vec<_> = view.rows.iter().map(|row| (row.node.to_string(), row.lag)).collect();
        let lag = |name: &str, lag| (name.to_owned(), lag);
        assert_eq!(
            lags,
            [lag("P1", Some(0)), lag("A1", None), lag("A2", None), lag("L2", Some(8))]
        );
    }

    #[test]
    fn of_two_lives_the_silent_one_goes() {
        let mut hearing = led_by_one(&[1, 2], true);
        let again = Sender { node: NodeId::new(Role::Proposer, 1), boot: 8 };
        let codec = Codec::new("paxos", 3, again, 1472);
        let mut datagram = Vec::new();
        let said = announcement(Standing::Stands, false, Ballot::ZERO, 1);
        codec.encode(&heartbeat(said, 0), &mut datagram).unwrap();
        let source = "10.0.0.1:4001".parse().unwrap();
        hearing.on_datagram(Time(500_000), Role::Acceptor, source, &datagram);
        let count = |hearing: &mut Hearing, millis: u64| {
            let view = hearing.view(Time(millis * 1000));
            view.rows.iter().filter(|row| row.node.role == Role::Proposer).count()
        };
        assert_eq!((count(&mut hearing, 500), count(&mut hearing, 1000)), (2, 1));
    }

    #[test]
    fn with_a_key_only_what_is_sealed_with_it_is_believed() {
        let seal =
            |session| Some(Seal::new(&KeyRing::parse("key", KEY).unwrap(), "paxos", session));
        let sealed = codec(Role::Proposer, 1).sealed();
        let mut hearing = Hearing::new(sealed.clone(), seal(1), "paxos", &Settings::default());
        let said = announcement(Standing::Leads, true, ballot(3, 1), 10);
        let mut datagram = Vec::new();
        sealed.encode(&heartbeat(said, 12), &mut datagram).unwrap();
        let source = "10.0.0.1:4000".parse().unwrap();
        let mut hear = |datagram: &[u8]| {
            hearing.on_datagram(Time(0), Role::Learner, source, datagram);
            hearing.view(Time(0)).rows.len()
        };
        let plain = datagram.clone();
        seal(2).unwrap().seal(Role::Learner, &mut datagram);
        let mut forged = datagram.clone();
        // In the body: a wrong key id would be that of another key.
        forged[30] ^= 1;
        assert_eq!((hear(&plain), hear(&forged), hear(&datagram)), (0, 0, 1));
        let view = hearing.view(Time(0));
        let refused: Vec<_> = view.refused.into_iter().collect();
        assert_eq!(refused, [(Refusal::OtherKey, 1), (Refusal::Forged, 1)]);
    }

    #[test]
    fn what_is_not_understood_is_counted_and_what_is_of_no_interest_is_a_sign_of_life() {
        let mut hearing = hearing();
        let (ballot, watermark) = (ballot(1, 2), Instance(1));
        let (from, entries, chosen) = (Instance(1), Vec::new().into(), Vec::new().into());
        let accept = Accept { ballot, watermark, chosen, full: false, from, entries };
        say(&mut hearing, 0, Role::Proposer, 2, &Message::Accept(accept));
        assert_eq!(hearing.view(Time(0)).rows.len(), 1);
        let source = "10.0.0.1:4000".parse().unwrap();
        let of_five = Sender { node: NodeId::new(Role::Acceptor, 1), boot: 7 };
        let mut datagram = Vec::new();
        let codec = Codec::new("paxos", 5, of_five, 1472);
        codec.encode(&echo(Ballot::ZERO, &[]), &mut datagram).unwrap();
        hearing.on_datagram(Time(0), Role::Proposer, source, &datagram);
        hearing.on_datagram(Time(0), Role::Proposer, source, b"M-SEARCH * HTTP/1.1 and so on");
        let refused: Vec<_> = hearing.view(Time(0)).refused.into_values().collect();
        assert_eq!(refused, [1]);
    }
}
