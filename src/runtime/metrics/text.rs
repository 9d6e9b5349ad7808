//! The answer to `/metrics`: the text format of Prometheus, version 0.0.4.
//!
//! `FAMILIES` lists all metrics; docs/metrics.md explains them, and a test pins the names. All
//! samples of a family stand together, under one HELP and one TYPE line.

use std::fmt::Display;
use std::fmt::Write;

use super::{Shown, Watched, named};
use crate::clock::Moment;
use crate::protocol::types::Role;
use crate::runtime::gauges::{Buckets, Durations};
use crate::runtime::stats::TurnedAway;
use crate::wire;

/// A metric: its name, its type, its help text, and its samples of one role.
pub struct Family {
    /// The name.
    pub name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: fn(&Shown, &Watched, &mut Samples<'_>),
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    samples: fn(&Shown, &Watched, &mut Samples<'_>),
) -> Family {
    Family { name, kind: "gauge", help, samples }
}

const fn counter(
    name: &'static str,
    help: &'static str,
    samples: fn(&Shown, &Watched, &mut Samples<'_>),
) -> Family {
    Family { name, kind: "counter", help, samples }
}

const fn histogram(
    name: &'static str,
    help: &'static str,
    samples: fn(&Shown, &Watched, &mut Samples<'_>),
) -> Family {
    Family { name, kind: "histogram", help, samples }
}

/// Every metric there is.
pub const FAMILIES: [Family; 37] = [
    gauge("paxos_info", "Always 1; the labels say what runs.", |shown, _, out| {
        let wire = wire::VERSION.to_string();
        let version = env!("CARGO_PKG_VERSION");
        out.add(&[("version", version), ("wire", &wire), ("cluster", &shown.cluster)], 1);
    }),
    gauge(
        "paxos_wire_version",
        "The version of the datagrams that it sends at the moment.",
        |_, role, out| {
            if let Some(version) = role.gauges.figures().version {
                out.add(&[], version);
            }
        },
    ),
    gauge("paxos_uptime_seconds", "Time since the process started.", |shown, _, out| {
        out.add(&[], shown.clock.now().0 as f64 / 1e6);
    }),
    gauge("paxos_leads", "1 if it leads its group, else 0.", |_, role, out| {
        if let Role::Proposer | Role::Learner = role.node.role {
            out.add(&[], u8::from(role.gauges.figures().leads));
        }
    }),
    gauge(
        "paxos_has_leader",
        "1 if it is, or hears, a leader that a quorum of the acceptors answers, else 0.",
        |_, role, out| out.add(&[], u8::from(role.gauges.figures().leader.is_some())),
    ),
    counter(
        "paxos_leader_changes_total",
        "How often another leader followed the one before, as seen here.",
        |_, role, out| out.add(&[], role.gauges.leader_changes.count()),
    ),
    gauge(
        "paxos_ballot_round",
        "The round of the ballot that it leads with, has promised, or follows; 0 if none.",
        |_, role, out| {
            let figures = role.gauges.figures();
            out.add(&[], figures.ballot.or(figures.leader).map_or(0, |ballot| ballot.round));
        },
    ),
    gauge(
        "paxos_quorum_heard_seconds",
        "How long ago a proposer said what a quorum of the acceptors has repeated since.",
        |shown, role, out| {
            if let Some(when) = role.gauges.figures().quorum_heard {
                out.add(&[], shown.clock.now().since(when).as_secs_f64());
            }
        },
    ),
    gauge(
        "paxos_position",
        "Instances of the log: decided = all up to it are decided here; highest = the highest one \
         that is; applied, durable, trimmed = all up to it are.",
        |_, role, out| {
            for (kind, position) in role.positions() {
                out.add(&[("kind", kind)], position);
            }
        },
    ),
    counter(
        "paxos_decided_total",
        "Decided instances that it knows of, removed ones included.",
        |_, role, out| {
            if let Some(progress) = role.gauges.figures().progress {
                out.add(&[], progress.decided);
            }
        },
    ),
    gauge(
        "paxos_catch_up_missing",
        "Decided instances that others hold and it lacks.",
        |_, role, out| {
            if role.gauges.figures().progress.is_some() {
                out.add(&[], role.gauges.figures().missing);
            }
        },
    ),
    gauge(
        "paxos_in_flight",
        "Instances that a leader has open, or values that a client waits for.",
        |_, role, out| {
            if let Role::Proposer | Role::Client = role.node.role {
                out.add(&[], role.gauges.figures().in_flight);
            }
        },
    ),
    counter(
        "paxos_accepted_total",
        "Instances in which an acceptor has accepted something.",
        |_, role, out| {
            if let Some(accepted) = role.gauges.figures().accepted {
                out.add(&[], accepted);
            }
        },
    ),
    gauge(
        "paxos_disk_full",
        "1 if an acceptor's disk is full; of a leader, if too few acceptors have room; else 0.",
        |_, role, out| {
            if let Role::Acceptor | Role::Proposer = role.node.role {
                out.add(&[], u8::from(role.gauges.figures().full));
            }
        },
    ),
    gauge("paxos_disk_free_bytes", "How much more an acceptor's log may take.", |_, role, out| {
        if let Some(left) = role.gauges.figures().disk.and_then(|disk| disk.left) {
            out.add(&[], left.bytes);
        }
    }),
    gauge(
        "paxos_disk_reserve_bytes",
        "With less than this free, an acceptor's disk counts as full.",
        |_, role, out| {
            if let Some(left) = role.gauges.figures().disk.and_then(|disk| disk.left) {
                out.add(&[], left.reserve);
            }
        },
    ),
    gauge("paxos_log_bytes", "How much an acceptor's log takes on its disk.", |_, role, out| {
        if let Some(disk) = role.gauges.figures().disk {
            out.add(&[], disk.log_bytes);
        }
    }),
    gauge(
        "paxos_log_oldest_seconds",
        "How long ago the oldest file of an acceptor's log was begun.",
        |_, role, out| {
            let disk = role.gauges.figures().disk;
            if let Some(since_ms) = disk.and_then(|disk| disk.since_ms) {
                out.add(&[], seconds_since(since_ms));
            }
        },
    ),
    gauge(
        "paxos_trim_held_by",
        "1 for each learner for which a leader keeps more of the log than it was asked to.",
        |_, role, out| {
            for holder in role.gauges.figures().holders {
                let learner = format!("L{}", holder.learner);
                let reason = named("", &holder.reason);
                out.add(&[("learner", &learner), ("reason", &reason)], 1);
            }
        },
    ),
    gauge("paxos_snapshot_bytes", "The size of a learner's newest snapshot.", |_, role, out| {
        if let Some(newest) = role.snapshots().and_then(|facts| facts.newest) {
            out.add(&[], newest.bytes);
        }
    }),
    gauge(
        "paxos_snapshot_age_seconds",
        "How long ago a learner's newest snapshot was written.",
        |_, role, out| {
            if let Some(newest) = role.snapshots().and_then(|facts| facts.newest) {
                out.add(&[], seconds_since(newest.written_ms));
            }
        },
    ),
    gauge(
        "paxos_snapshot_write_seconds",
        "How long the last snapshot took that a learner has written itself.",
        |_, role, out| {
            if let Some(took) = role.snapshots().and_then(|facts| facts.took) {
                out.add(&[], took.as_secs_f64());
            }
        },
    ),
    counter(
        "paxos_snapshot_failures_total",
        "Snapshots of a learner that could not be stored.",
        |_, role, out| {
            if let Some(facts) = role.snapshots() {
                out.add(&[], facts.failures);
            }
        },
    ),
    gauge("paxos_sessions", "Sessions of clients that it remembers.", |_, role, out| {
        if let Some(sessions) = role.gauges.figures().sessions {
            out.add(&[], sessions);
        }
    }),
    counter(
        "paxos_sessions_evicted_total",
        "Sessions of clients that a learner has forgotten to make room for others.",
        |_, role, out| {
            if role.node.role == Role::Learner {
                out.add(&[], role.stats.sessions_forgotten.count());
            }
        },
    ),
    counter(
        "paxos_refused_total",
        "Values that the library refused to propose, by reason.",
        |_, role, out| {
            if role.node.role == Role::Client {
                for reason in TurnedAway::ALL {
                    let count = role.stats.turned_away.count(reason);
                    out.add(&[("reason", &named("", &reason))], count);
                }
            }
        },
    ),
    counter("paxos_values_total", "Values of a client, by what became of them.", |_, role, out| {
        if let Some(tally) = role.gauges.figures().tally {
            out.add(&[("fate", "asked")], tally.asked);
            out.add(&[("fate", "decided")], tally.delivered);
            out.add(&[("fate", "lost")], tally.lost);
            out.add(&[("fate", "trimmed")], tally.trimmed);
        }
    }),
    counter(
        "paxos_datagrams_total",
        "Datagrams received, sent, and handed over by another role of the process.",
        |_, role, out| {
            out.add(&[("direction", "in")], role.stats.received.count());
            out.add(&[("direction", "out")], role.stats.sent.count());
            out.add(&[("direction", "inside")], role.stats.neighbours.count());
        },
    ),
    counter(
        "paxos_resent_total",
        "Messages sent again because no answer had come.",
        |_, role, out| out.add(&[], role.stats.sent_again.count()),
    ),
    counter(
        "paxos_dropped_total",
        "Datagrams and messages that were not acted on, by reason.",
        |_, role, out| {
            for (reason, count) in role.dropped() {
                out.add(&[("reason", &reason)], count);
            }
        },
    ),
    counter("paxos_errors_total", "Failures of sockets, by kind.", |_, role, out| {
        out.add(&[("kind", "receive")], role.stats.receive_errors.count());
        out.add(&[("kind", "send")], role.stats.send_errors.count());
        out.add(&[("kind", "too_long")], role.stats.too_long.count());
    }),
    histogram(
        "paxos_turn_seconds",
        "How long a turn of the role loop takes, from the end of its wait.",
        |_, role, out| out.add_durations(&role.gauges.turns),
    ),
    histogram(
        "paxos_sync_seconds",
        "How long an acceptor's store takes to make records stable.",
        |_, role, out| {
            if role.node.role == Role::Acceptor {
                out.add_durations(&role.gauges.syncs);
            }
        },
    ),
    histogram(
        "paxos_propose_seconds",
        "From the proposal of an instance until a quorum has answered, at a leader.",
        |_, role, out| {
            if role.node.role == Role::Proposer {
                out.add_durations(&role.gauges.flights);
            }
        },
    ),
    histogram(
        "paxos_apply_seconds",
        "How long the output of a learner takes to take in what a turn delivers.",
        |_, role, out| {
            if role.node.role == Role::Learner {
                out.add_durations(&role.gauges.deliveries);
            }
        },
    ),
    gauge(
        "paxos_storing_seconds",
        "For how long an acceptor's store has been at work; 0 when it is not.",
        |_, role, out| {
            if role.node.role == Role::Acceptor {
                out.add(&[], role.gauges.storing().as_secs_f64());
            }
        },
    ),
    gauge("paxos_idle_seconds", "How long ago the role loop last turned.", |_, role, out| {
        out.add(&[], role.gauges.idle().as_secs_f64());
    }),
];

/// All of it as text.
pub fn render(shown: &Shown) -> String {
    let mut text = String::new();
    for family in &FAMILIES {
        let mut body = String::new();
        for role in &shown.roles {
            let node = role.node.to_string();
            let mut samples = Samples { text: &mut body, name: family.name, node: &node };
            (family.samples)(shown, role, &mut samples);
        }
        if !body.is_empty() {
            let Family { name, kind, help, .. } = family;
            text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{body}");
        }
    }
    text
}

/// Where the samples of one family and one role go.
pub struct Samples<'a> {
    text: &'a mut String,
    name: &'a str,
    node: &'a str,
}

impl Samples<'_> {
    /// A sample with these labels, and that of the role.
    fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.add_as("", labels, value);
    }

    fn add_as(&mut self, ending: &str, labels: &[(&str, &str)], value: impl Display) {
        let Samples { text, name, node } = self;
        // Writing to a string cannot fail.
        let _ = write!(text, "{name}{ending}{{node=\"{node}\"");
        for (label, value) in labels {
            let _ = write!(text, ",{label}=\"{}\"", escaped(value));
        }
        let _ = writeln!(text, "}} {value}");
    }

    fn add_durations(&mut self, durations: &Durations) {
        let Buckets { up_to, seconds } = durations.counted();
        let bounds = Durations::BOUNDS.iter().map(|micros| (*micros as f64 / 1e6).to_string());
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(up_to) {
            self.add_as("_bucket", &[("le", &bound)], count);
        }
        self.add_as("_sum", &[], seconds);
        self.add_as("_count", &[], up_to[up_to.len() - 1]);
    }
}

/// How long ago that was, given in milliseconds since 1970.
fn seconds_since(millis: u64) -> f64 {
    Moment::now().millis.saturating_sub(millis) as f64 / 1e3
}

/// A label's value may hold any character, but these need an escape.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
