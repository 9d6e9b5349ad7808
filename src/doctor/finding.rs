//! The findings of a doctor, each a sentence with its cure, and how they are printed.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How bad a finding is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The cluster does not work, or not as configured.
    Sick,
    /// It works, and one more failure may end that.
    Degraded,
    /// It works, but the operator should know.
    Note,
    /// As it should be.
    Fine,
}

impl Severity {
    /// The word that lines begin with.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Sick => "sick",
            Severity::Degraded => "degraded",
            Severity::Note => "note",
            Severity::Fine => "fine",
        }
    }
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // The sentences in `diagnosis` say it.
pub enum Topic {
    NoInterface,
    InterfaceDown,
    NoMulticast,
    NoSocket,
    CannotSend,
    OwnUnheard,
    TtlZero,
    BufferClamped,
    LongDatagrams,
    Lists,
    MembersAbsent,
    Dropped,
    DirectoryUnusable,
    OtherInterface,
    NothingHeard,
    HostsMissing,
    OneWayIn,
    OneWayOut,
    MtuLost,
    Loss,
    DuplicateId,
    OtherCluster,
    OtherVersion,
    Foreign,
    KeyDiffers,
    ConfigDiffers,
    AcceptorsMissing,
    DisksFull,
    NoMember,
    BridgeAsks,
    Interface,
    Groups,
    Host,
    Roles,
    Clocks,
}

impl Topic {
    /// Every topic, in the order in which findings are printed.
    pub const ALL: [Topic; 35] = [
        Topic::NoInterface,
        Topic::InterfaceDown,
        Topic::NoMulticast,
        Topic::NoSocket,
        Topic::CannotSend,
        Topic::OwnUnheard,
        Topic::TtlZero,
        Topic::BufferClamped,
        Topic::LongDatagrams,
        Topic::Lists,
        Topic::MembersAbsent,
        Topic::Dropped,
        Topic::DirectoryUnusable,
        Topic::OtherInterface,
        Topic::NothingHeard,
        Topic::HostsMissing,
        Topic::OneWayIn,
        Topic::OneWayOut,
        Topic::MtuLost,
        Topic::Loss,
        Topic::DuplicateId,
        Topic::OtherCluster,
        Topic::OtherVersion,
        Topic::Foreign,
        Topic::KeyDiffers,
        Topic::ConfigDiffers,
        Topic::AcceptorsMissing,
        Topic::DisksFull,
        Topic::NoMember,
        Topic::BridgeAsks,
        Topic::Interface,
        Topic::Groups,
        Topic::Host,
        Topic::Roles,
        Topic::Clocks,
    ];

    /// The word for machines.
    pub fn name(self) -> &'static str {
        match self {
            Topic::NoInterface => "no-interface",
            Topic::InterfaceDown => "interface-down",
            Topic::NoMulticast => "no-multicast",
            Topic::NoSocket => "no-socket",
            Topic::CannotSend => "cannot-send",
            Topic::OwnUnheard => "own-unheard",
            Topic::TtlZero => "ttl-zero",
            Topic::BufferClamped => "buffer-clamped",
            Topic::Lists => "lists",
            Topic::MembersAbsent => "members-absent",
            Topic::LongDatagrams => "long-datagrams",
            Topic::Dropped => "dropped",
            Topic::DirectoryUnusable => "directory-unusable",
            Topic::OtherInterface => "other-interface",
            Topic::NothingHeard => "nothing-heard",
            Topic::HostsMissing => "hosts-missing",
            Topic::OneWayIn => "one-way-in",
            Topic::OneWayOut => "one-way-out",
            Topic::MtuLost => "mtu-lost",
            Topic::Loss => "loss",
            Topic::DuplicateId => "duplicate-id",
            Topic::OtherCluster => "other-cluster",
            Topic::OtherVersion => "other-version",
            Topic::Foreign => "foreign",
            Topic::KeyDiffers => "key-differs",
            Topic::ConfigDiffers => "config-differs",
            Topic::AcceptorsMissing => "acceptors-missing",
            Topic::DisksFull => "disks-full",
            Topic::NoMember => "no-member",
            Topic::BridgeAsks => "bridge-asks",
            Topic::Interface => "interface",
            Topic::Groups => "groups",
            Topic::Host => "host",
            Topic::Roles => "roles",
            Topic::Clocks => "clocks",
        }
    }
}

/// One thing that a doctor says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub topic: Topic,
    /// What was found.
    pub sentence: String,
    /// What to do about it; empty if all is well.
    pub cure: String,
}

impl Finding {
    /// Something that is wrong.
    pub fn sick(topic: Topic, sentence: impl Into<String>, cure: impl Into<String>) -> Self {
        let (severity, sentence, cure) = (Severity::Sick, sentence.into(), cure.into());
        Finding { severity, topic, sentence, cure }
    }

    /// Something that works for now.
    pub fn degraded(topic: Topic, sentence: impl Into<String>, cure: impl Into<String>) -> Self {
        Finding { severity: Severity::Degraded, ..Finding::sick(topic, sentence, cure) }
    }

    /// Something worth knowing.
    pub fn note(topic: Topic, sentence: impl Into<String>, cure: impl Into<String>) -> Self {
        Finding { severity: Severity::Note, ..Finding::sick(topic, sentence, cure) }
    }

    /// Something that is as it should be.
    pub fn fine(topic: Topic, sentence: impl Into<String>) -> Self {
        Finding { severity: Severity::Fine, ..Finding::sick(topic, sentence, "") }
    }
}

/// The verdict when nothing is wrong.
const HEALTHY: &str = "healthy";

/// All that a doctor says, the worst first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Sorted.
    pub findings: Vec<Finding>,
}

impl Report {
    /// A report of these findings.
    pub fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort();
        findings.dedup();
        Report { findings }
    }

    /// Whether nothing is wrong, and nothing is missing that should be there.
    pub fn is_healthy(&self) -> bool {
        self.verdict() == HEALTHY
    }

    /// `healthy`, `degraded` or `sick`.
    pub fn verdict(&self) -> &'static str {
        let worst = self.findings.iter().map(|finding| finding.severity).min();
        match worst {
            Some(bad @ (Severity::Sick | Severity::Degraded)) => bad.name(),
            Some(Severity::Note | Severity::Fine) | None => HEALTHY,
        }
    }

    /// A line for each finding, and the verdict.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for Finding { severity, sentence, cure, .. } in &self.findings {
            let cure = if cure.is_empty() { String::new() } else { format!("; cure: {cure}") };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}: {sentence}{cure}", severity.name());
        }
        text.push_str(self.verdict());
        text.push('\n');
        text
    }

    /// The same for machines.
    pub fn json(&self) -> Value {
        let finding = |finding: &Finding| {
            json!({
                "severity": finding.severity.name(), "topic": finding.topic.name(),
                "sentence": finding.sentence, "cure": finding.cure,
            })
        };
        let findings: Vec<Value> = self.findings.iter().map(finding).collect();
        json!({ "verdict": self.verdict(), "findings": findings })
    }
}

/// `acceptor 3 is not heard`, `acceptors 2 and 3 are not heard`.
pub fn names_not_heard(ids: &[u32]) -> String {
    let names: Vec<String> = ids.iter().map(u32::to_string).collect();
    match &names[..] {
        [] => String::new(),
        [one] => format!("acceptor {one} is not heard"),
        [first @ .., last] => format!("acceptors {} and {last} are not heard", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_decides() {
        let fine = Finding::fine(Topic::Clocks, "clocks do not matter");
        let note = Finding::note(Topic::Loss, "some is lost", "look at the cable");
        let sick = Finding::sick(Topic::TtlZero, "nothing leaves", "set `ttl` to 1");
        let report = Report::new(vec![fine.clone(), note.clone(), sick.clone(), sick]);
        assert_eq!(
            report.lines(),
            "sick: nothing leaves; cure: set `ttl` to 1\n\
             note: some is lost; cure: look at the cable\n\
             fine: clocks do not matter\nsick\n"
        );
        assert_eq!(report.json()["findings"][0]["topic"], "ttl-zero");
        assert!(!report.is_healthy());
        let weak = Finding::degraded(Topic::AcceptorsMissing, "one is away", "start it");
        let report = Report::new(vec![note.clone(), weak, fine.clone()]);
        assert_eq!((report.verdict(), report.is_healthy()), ("degraded", false));
        assert!(report.lines().starts_with("degraded: one is away; cure: start it\n"));
        let report = Report::new(vec![fine, note]);
        assert_eq!(
            (report.verdict(), report.json()["verdict"].as_str()),
            ("healthy", Some("healthy"))
        );
    }

    #[test]
    fn every_topic_has_a_name_of_its_own_and_stands_in_the_documentation() {
        let page = include_str!("../../docs/doctor.md");
        let mut names: Vec<&str> = Topic::ALL.iter().map(|topic| topic.name()).collect();
        for name in &names {
            assert!(page.contains(&format!("`{name}`")), "doctor.md does not explain {name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Topic::ALL.len());
    }
}
