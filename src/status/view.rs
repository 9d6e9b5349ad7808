//! The state of the cluster, as lines for people and as JSON for programs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::doctor::names_not_heard;
use crate::protocol::message::{Progress, Standing};
use crate::protocol::types::{Ballot, NodeId, Role};
use crate::protocol::versions::{Version, Versions};
use crate::wire::Refusal;

/// The cluster at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The cluster's name.
    pub cluster: String,
    /// How many acceptors there are.
    pub acceptor_count: u32,
    /// How many of them are a quorum.
    pub needed: u32,
    /// Who leads, if anybody says so.
    pub leader: Option<Leader>,
    /// The processes: proposers first, then acceptors, learners and clients.
    pub rows: Vec<Row>,
    /// Datagrams that were not understood, by reason.
    pub refused: BTreeMap<Refusal, u64>,
}

/// A proposer that says that it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The proposer.
    pub node: NodeId,
    /// Its ballot.
    pub ballot: Ballot,
    /// How many acceptors answer it.
    pub answered_by: u32,
    /// Whether they are a quorum, and it knows.
    pub is_quorate: bool,
    /// Whether it takes no new values, because too few acceptors have room on their disks.
    pub is_full: bool,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its role and id.
    pub node: NodeId,
    /// The standing that it announces.
    pub standing: Option<Standing>,
    /// Of a proposer: whether a quorum of the acceptors repeats its announcements.
    pub is_quorate: bool,
    /// Of a proposer, the ballot it leads or campaigns with; of an acceptor, the one it promised;
    /// of a learner, that of the leader it follows.
    pub ballot: Option<Ballot>,
    /// What it holds of the log.
    pub progress: Option<Progress>,
    /// How many client sessions a proposer or learner remembers, if it says so: version 8 has no
    /// field for it.
    pub sessions: Option<u32>,
    /// In how many instances an acceptor has accepted something.
    pub accepted: Option<u64>,
    /// How many decided instances it lacks that another process holds.
    pub lag: Option<u64>,
    /// Whether an acceptor's disk is full; of a leader, whether too few acceptors have room.
    pub is_full: bool,
    /// How long ago it was heard.
    pub silent: Duration,
    /// Whether that is recent.
    pub is_fresh: bool,
    /// Where it sends from, if it was heard itself, and not only repeated.
    pub source: Option<SocketAddr>,
    /// In which version of the wire format it sent last.
    pub version: Option<Version>,
    /// Which ones it says that it reads.
    pub reads: Option<Versions>,
}

impl Row {
    fn state(&self) -> &'static str {
        if !self.is_fresh {
            return "silent";
        }
        match (self.node.role, self.standing) {
            (Role::Proposer, Some(Standing::Leads)) if !self.is_quorate => "leads unheard",
            (Role::Proposer | Role::Learner, Some(Standing::Leads)) => "leads",
            (Role::Proposer, Some(Standing::Campaigns)) => "campaigns",
            (Role::Proposer, Some(Standing::Abstains)) => "abstains",
            (Role::Proposer | Role::Learner, Some(Standing::Stands)) => "stands by",
            (Role::Acceptor, _) if self.is_full => "disk full",
            _ => "runs",
        }
    }

    /// The version in which it sends, and what it reads beyond that.
    fn wire(&self) -> String {
        let Some(version) = self.version else { return "wire -".to_owned() };
        match self.reads {
            Some(reads) if reads.newest > version => {
                format!("wire {version}, reads {}", reads.newest)
            }
            Some(_) | None => format!("wire {version}"),
        }
    }

    /// Whether it is known to read this release's predecessor alone.
    fn is_old(&self) -> bool {
        self.is_fresh && self.reads.is_some_and(|reads| reads.newest < Version::NEWEST)
    }

    fn leads(&self) -> bool {
        self.is_fresh && self.standing == Some(Standing::Leads)
    }

    /// Its line, in pieces.
    fn cells(&self) -> [String; 9] {
        let dash = || "-".to_owned();
        let position = match (self.progress, self.accepted) {
            (Some(progress), _) => format!("decided {}", progress.watermark.0.saturating_sub(1)),
            (None, Some(accepted)) => format!("accepted {accepted}"),
            (None, None) => dash(),
        };
        [
            self.node.to_string(),
            self.state().to_owned(),
            self.ballot.map_or_else(dash, |ballot| ballot.to_string()),
            position,
            self.lag.map_or_else(dash, |lag| format!("lag {lag}")),
            self.sessions.map_or_else(dash, |sessions| format!("sessions {sessions}")),
            format!("heard {} ms ago", self.silent.as_millis()),
            self.wire(),
            self.source.map_or_else(dash, |source| source.to_string()),
        ]
    }

    fn json(&self) -> Value {
        let progress = self.progress;
        json!({
            "node": self.node.to_string(),
            "role": self.node.role.to_string(),
            "id": self.node.id,
            "state": self.state(),
            "leads": self.leads(),
            "ballot": self.ballot.map(|ballot| ballot.to_string()),
            "decided_up_to": progress.map(|progress| progress.watermark.0.saturating_sub(1)),
            "highest_decided": progress.map(|progress| progress.end.0.saturating_sub(1)),
            "decided": progress.map(|progress| progress.decided),
            "accepted": self.accepted,
            "disk_full": self.is_full,
            "lag": self.lag,
            "sessions": self.sessions,
            "heard_seconds": self.silent.as_secs_f64(),
            "wire": self.version.map(|version| version.0),
            "reads": self.reads.map(|reads| [reads.oldest.0, reads.newest.0]),
            "address": self.source.map(|source| source.to_string()),
        })
    }
}

impl View {
    /// Whether there is a leader that a quorum of the acceptors answers.
    pub fn is_healthy(&self) -> bool {
        self.leader.is_some_and(|leader| leader.is_quorate)
    }

    /// Whether it works and an acceptor does not help: it does not answer, or its disk is full. One
    /// failure less is needed for a stop.
    pub fn is_degraded(&self) -> bool {
        let lacks = |leader: Leader| leader.answered_by < self.acceptor_count || leader.is_full;
        self.is_healthy()
            && (self.leader.is_some_and(lacks)
                || self.rows.iter().any(|row| row.is_fresh && row.is_full))
    }

    /// The acceptors of the cluster that are not heard, or no longer.
    fn not_heard(&self) -> Vec<u32> {
        let is_heard = |id: &u32| {
            let is_it = |row: &Row| (row.node.role, row.node.id) == (Role::Acceptor, *id);
            self.rows.iter().any(|row| row.is_fresh && is_it(row))
        };
        (1..=self.acceptor_count).filter(|id| !is_heard(id)).collect()
    }

    /// The version in which the leader sends, and so all others.
    fn version(&self) -> Option<Version> {
        let leader = self.leader?.node;
        self.rows.iter().find(|row| row.node == leader && row.is_fresh)?.version
    }

    /// A line for each process.
    pub fn lines(&self) -> String {
        let cells: Vec<[String; 9]> = self.rows.iter().map(Row::cells).collect();
        let width = |column: usize| cells.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: [usize; 9] = std::array::from_fn(width);
        let line = |row: &[String; 9]| {
            let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  "));
            format!("{}\n", padded.collect::<String>().trim_end())
        };
        cells.iter().map(line).collect()
    }

    /// One sentence about all of it, and one about datagrams that were not understood, if any.
    pub fn summary(&self) -> Vec<String> {
        let View { cluster, acceptor_count, needed, .. } = self;
        let mut sentences = vec![match self.leader {
            _ if self.rows.is_empty() => format!(
                "nobody of cluster {cluster} is heard; `paxos doctor` says whether the network is \
                 why"
            ),
            Some(Leader { node, ballot, answered_by, is_quorate, .. }) => format!(
                "{node} leads cluster {cluster} with ballot {ballot}; {answered_by} of \
                 {acceptor_count} acceptors answer it{}",
                if is_quorate { String::new() } else { format!(", and {needed} are needed") }
            ),
            None => {
                let is_there = |row: &&Row| row.node.role == Role::Acceptor && row.is_fresh;
                let heard = self.rows.iter().filter(is_there).count();
                format!(
                    "nobody leads cluster {cluster}; {heard} of {acceptor_count} acceptors are \
                     heard, and {needed} are needed"
                )
            }
        }];
        let missing = self.not_heard();
        if !self.rows.is_empty() && !missing.is_empty() {
            sentences.push(format!(
                "{}; start what does not run, and ask `paxos doctor` why others cannot be heard",
                names_not_heard(&missing)
            ));
        }
        let is_full = |row: &&Row| row.node.role == Role::Acceptor && row.is_fresh && row.is_full;
        let full = self.rows.iter().filter(is_full).map(|row| row.node.to_string());
        let full = full.collect::<Vec<_>>().join(", ");
        if !full.is_empty() {
            let goes_on = match self.leader {
                Some(Leader { is_full: true, .. }) => "no new values are taken",
                Some(_) | None => "the others go on",
            };
            sentences.push(format!(
                "full disks: {full}; {goes_on}: make room for the data, raise disk_bytes, or \
                 keep less (retain)"
            ));
        }
        let old = self.rows.iter().filter(|row| row.is_old()).map(|row| row.node.to_string());
        let old = old.collect::<Vec<_>>().join(", ");
        if !old.is_empty() {
            sentences.push(format!(
                "of the release before, or held at it by wire_version: {old}; datagrams are of \
                 version {} until all are upgraded",
                Version::OLDEST
            ));
        }
        if !self.refused.is_empty() {
            let reasons = self.refused.iter().map(|(reason, count)| format!("{count} {reason}"));
            let reasons = reasons.collect::<Vec<_>>().join(", ");
            sentences.push(format!("datagrams that were not understood: {reasons}"));
        }
        sentences
    }

    /// All of it as one object.
    pub fn json(&self) -> Value {
        let leader = self.leader.map(|leader| {
            json!({
                "node": leader.node.to_string(),
                "ballot": leader.ballot.to_string(),
                "answered_by": leader.answered_by,
                "is_quorate": leader.is_quorate,
                "is_full": leader.is_full,
            })
        });
        let mut refused: BTreeMap<String, u64> = BTreeMap::new();
        for (reason, count) in &self.refused {
            *refused.entry(reason.to_string()).or_insert(0) += count;
        }
        json!({
            "cluster": self.cluster,
            "healthy": self.is_healthy(),
            "degraded": self.is_degraded(),
            "leader": leader,
            "wire": self.version().map(|version| version.0),
            "acceptor_count": self.acceptor_count,
            "quorum": self.needed,
            "acceptors_not_heard": self.not_heard(),
            "processes": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "not_understood": refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::Instance;

    fn row(name: &str, standing: Option<Standing>) -> Row {
        Row {
            node: name.parse().unwrap(),
            standing,
            is_quorate: true,
            ballot: Some(Ballot { round: 3, proposer: 1, boot: 1 }),
            progress: Some(Progress {
                trimmed: Instance::FIRST,
                first: Instance::FIRST,
                watermark: Instance(8),
                decided: 7,
                end: Instance(8),
                name: 0,
            }),
            sessions: Some(12),
            accepted: None,
            lag: Some(0),
            is_full: false,
            silent: Duration::from_millis(12),
            is_fresh: true,
            source: Some("10.0.0.1:4000".parse().unwrap()),
            version: Some(Version::OLDEST),
            reads: None,
        }
    }

    fn view() -> View {
        let ballot = Ballot { round: 3, proposer: 1, boot: 1 };
        let acceptor = Row { progress: None, sessions: None, accepted: Some(5), ..row("A1", None) };
        let acceptor = Row { lag: None, ..acceptor };
        let second = Row { node: "A2".parse().unwrap(), ..acceptor.clone() };
        let third = Row { node: "A3".parse().unwrap(), ..acceptor.clone() };
        let silent = Row { is_fresh: false, source: None, ..row("L2", Some(Standing::Leads)) };
        View {
            cluster: "paxos".to_owned(),
            acceptor_count: 3,
            needed: 2,
            leader: Some(Leader {
                node: "P1".parse().unwrap(),
                ballot,
                answered_by: 2,
                is_quorate: true,
                is_full: false,
            }),
            rows: vec![row("P1", Some(Standing::Leads)), acceptor, second, third, silent],
            refused: BTreeMap::new(),
        }
    }

    #[test]
    fn a_process_is_a_line() {
        let expected = "\
P1  leads   3.P1  decided 7   lag 0  sessions 12  heard 12 ms ago  wire 8  10.0.0.1:4000
A1  runs    3.P1  accepted 5  -      -            heard 12 ms ago  wire 8  10.0.0.1:4000
A2  runs    3.P1  accepted 5  -      -            heard 12 ms ago  wire 8  10.0.0.1:4000
A3  runs    3.P1  accepted 5  -      -            heard 12 ms ago  wire 8  10.0.0.1:4000
L2  silent  3.P1  decided 7   lag 0  sessions 12  heard 12 ms ago  wire 8  -
";
        assert_eq!(view().lines(), expected);
    }

    #[test]
    fn one_sentence_says_how_it_is() {
        let mut view = view();
        let said = |view: &View| (view.is_healthy(), view.summary().join("; "));
        let sentence =
            "P1 leads cluster paxos with ballot 3.P1; 2 of 3 acceptors answer it".to_owned();
        assert_eq!(said(&view), (true, sentence.clone()));
        // One that was heard before is as missing as one that never was.
        view.rows[2].is_fresh = false;
        assert_eq!(view.json()["acceptors_not_heard"], json!([2]));
        let (_, both) = said(&view);
        assert!(both.starts_with(&format!("{sentence}; acceptor 2 is not heard; start")), "{both}");
        view.rows[1].is_fresh = false;
        assert!(view.summary()[1].starts_with("acceptors 1 and 2 are not heard; start"));
        (view.rows[1].is_fresh, view.rows[2].is_fresh) = (true, true);
        let degraded = |view: &View| (view.is_degraded(), view.json()["degraded"].clone());
        assert_eq!(degraded(&view), (true, json!(true)));
        view.leader = view.leader.map(|it| Leader { answered_by: 3, ..it });
        assert_eq!(degraded(&view), (false, json!(false)));
        view.rows[1].is_full = true;
        assert!(view.is_degraded(), "it votes for no new values");
        view.rows[1].is_full = false;
        view.leader = view.leader.map(|it| Leader { answered_by: 1, is_quorate: false, ..it });
        assert!(!view.is_degraded(), "it is worse than that");
        assert!(!view.is_healthy() && view.summary()[0].ends_with("it, and 2 are needed"));
        view.leader = None;
        let sentence = "nobody leads cluster paxos; 3 of 3 acceptors are heard, and 2 are needed";
        assert_eq!(said(&view), (false, sentence.to_owned()));
        view.refused.insert(Refusal::OtherVersion, 4);
        assert!(view.summary()[1].ends_with("not understood: 4 of another version"));
        view.rows.clear();
        assert!(view.summary()[0].starts_with("nobody of cluster paxos is heard"));
    }

    #[test]
    fn processes_of_the_release_before_are_named() {
        let mut view = view();
        assert_eq!(view.json()["wire"], 8);
        view.rows[0].reads = Some(Versions::ALL);
        view.rows[1].reads = Some(Versions::BEFORE);
        assert!(view.lines().contains("ms ago  wire 8, reads 9  10"), "{}", view.lines());
        let said = view.summary()[1].clone();
        assert!(said.starts_with("of the release before, or held at it") && said.contains(": A1;"));
        assert_eq!(view.json()["processes"][1]["reads"], json!([8, 8]));
        view.rows[1].reads = Some(Versions::ALL);
        view.rows[0].version = Some(Version::NEWEST);
        assert_eq!((view.summary().len(), &view.json()["wire"]), (1, &json!(9)));
        assert!(view.lines().contains("ms ago  wire 9  "), "{}", view.lines());
    }

    #[test]
    fn full_disks_are_named_with_what_follows_from_them() {
        let mut view = view();
        view.rows[1].is_full = true;
        assert!(view.lines().contains("A1  disk full  3.P1"), "{}", view.lines());
        let said = view.summary()[1].clone();
        assert!(said.starts_with("full disks: A1; the others go on"), "{said}");
        view.leader = view.leader.map(|leader| Leader { is_full: true, ..leader });
        let said = view.summary()[1].clone();
        assert!(said.starts_with("full disks: A1; no new values are taken"), "{said}");
        let json = view.json();
        assert_eq!(json["leader"]["is_full"], true);
        assert_eq!(json["processes"][1]["disk_full"], true);
        // Facts heard long ago are no news.
        view.rows[1].is_fresh = false;
        assert!(!view.summary().join("; ").contains("disk"), "{:?}", view.summary());
    }

    #[test]
    fn programs_read_the_same() {
        let json = view().json();
        assert_eq!((&json["healthy"], &json["leader"]["node"]), (&true.into(), &"P1".into()));
        let leads: Vec<_> =
            json["processes"].as_array().unwrap().iter().map(|p| &p["leads"]).collect();
        let all = [true, false, false, false, false];
        assert_eq!(leads, all, "a silent one does not lead");
        assert_eq!(
            (&json["processes"][0]["sessions"], &json["processes"][1]["accepted"]),
            (&json!(12), &json!(5))
        );
        let acceptor = &json["processes"][1];
        assert!(acceptor["lag"].is_null() && acceptor["sessions"].is_null());
    }
}
