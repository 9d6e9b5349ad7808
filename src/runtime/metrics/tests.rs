//! What the answers say, with invented figures.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::*;
use crate::clock::Moment;
use crate::protocol::actor::Ignored;
use crate::protocol::client::ClientTally;
use crate::protocol::figures::{DiskUse, Figures, HoldReason, Holder, Left};
use crate::protocol::message::Progress;
use crate::protocol::types::{Ballot, Instance, Role, Time};
use crate::protocol::versions::Version;
use crate::runtime::stats::TurnedAway;
use crate::snapshots::tally::{Newest, Tally};
use crate::wire::Refusal;

fn ballot(round: u64, proposer: u32) -> Option<Ballot> {
    Some(Ballot { round, proposer, boot: 1 })
}

fn watched(clock: Clock, role: Role, figures: Figures) -> Watched {
    let gauges = Arc::new(Gauges::new(clock));
    gauges.turned(Time::ZERO, |_| figures);
    Watched { node: NodeId::new(role, 1), stats: Arc::new(Stats::default()), gauges }
}

/// One role of each kind, all of them well.
fn shown() -> Shown {
    let clock = Clock::start();
    let progress = Some(Progress {
        trimmed: Instance(3),
        first: Instance(3),
        watermark: Instance(8),
        decided: 9,
        end: Instance(12),
        name: 0,
    });
    let leader = ballot(3, 1);
    let proposer = Figures {
        leads: true,
        ballot: leader,
        leader,
        quorum_heard: Some(Time::ZERO),
        progress,
        in_flight: 5,
        sessions: Some(6),
        version: Some(Version::OLDEST),
        holders: vec![
            Holder { learner: 2, reason: HoldReason::NoSnapshot },
            Holder { learner: 4, reason: HoldReason::Fetches },
        ],
        ..Figures::default()
    };
    let acceptor = Figures {
        ballot: leader,
        leader,
        accepted: Some(11),
        trimmed: Some(Instance(3)),
        disk: Some(DiskUse {
            log_bytes: 900,
            left: Some(Left { bytes: 700, reserve: 400 }),
            since_ms: Some(0),
        }),
        ..Figures::default()
    };
    let learner = Figures {
        leader,
        progress,
        missing: 2,
        sessions: Some(6),
        durable: Some(Instance(6)),
        ..Figures::default()
    };
    let tally = Some(ClientTally { asked: 7, delivered: 4, lost: 1, trimmed: 2 });
    let client = Figures { leader, in_flight: 2, tally, ..Figures::default() };
    let roles = [
        (Role::Proposer, proposer),
        (Role::Acceptor, acceptor),
        (Role::Learner, learner),
        (Role::Client, client),
    ];
    let roles = roles.map(|(role, figures)| watched(clock, role, figures)).to_vec();
    let tally = roles[2].stats.snapshots.get_or_init(Arc::<Tally>::default);
    tally.on_newest(Some(Newest { bytes: 80, written_ms: Moment::now().millis - 5000 }));
    tally.on_written(Duration::from_millis(1500));
    roles[2].stats.applied.get_or_init(|| Arc::new(AtomicU64::new(6)));
    Shown { cluster: "a \"b\" <c>".to_owned(), clock, roles, more: None }
}

fn sample<'a>(text: &'a str, series: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}"))
}

/// Dashboards and alerts rely on these names.
#[test]
fn the_names_stay() {
    let names: Vec<&str> = text::FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(
        names,
        [
            "paxos_info",
            "paxos_wire_version",
            "paxos_uptime_seconds",
            "paxos_leads",
            "paxos_has_leader",
            "paxos_leader_changes_total",
            "paxos_ballot_round",
            "paxos_quorum_heard_seconds",
            "paxos_position",
            "paxos_decided_total",
            "paxos_catch_up_missing",
            "paxos_in_flight",
            "paxos_accepted_total",
            "paxos_disk_full",
            "paxos_disk_free_bytes",
            "paxos_disk_reserve_bytes",
            "paxos_log_bytes",
            "paxos_log_oldest_seconds",
            "paxos_trim_held_by",
            "paxos_snapshot_bytes",
            "paxos_snapshot_age_seconds",
            "paxos_snapshot_write_seconds",
            "paxos_snapshot_failures_total",
            "paxos_sessions",
            "paxos_sessions_evicted_total",
            "paxos_refused_total",
            "paxos_values_total",
            "paxos_datagrams_total",
            "paxos_resent_total",
            "paxos_dropped_total",
            "paxos_errors_total",
            "paxos_turn_seconds",
            "paxos_sync_seconds",
            "paxos_propose_seconds",
            "paxos_apply_seconds",
            "paxos_storing_seconds",
            "paxos_idle_seconds",
        ]
    );
    let text = text::render(&shown());
    let guide = include_str!("../../../docs/metrics.md");
    for name in names {
        assert!(text.contains(&format!("# TYPE {name} ")), "no role has a sample of {name}");
        assert!(guide.contains(&format!("`{name}`")), "docs/metrics.md does not explain {name}");
    }
}

#[test]
fn the_figures_are_told() {
    let shown = shown();
    shown.roles[2].stats.received.add(6);
    shown.roles[0].gauges.flights.add_all(Duration::from_micros(80), 3);
    shown.roles[0].stats.sent_again.add(13);
    shown.roles[2].stats.sessions_forgotten.add(8);
    shown.roles[3].stats.turned_away.increment(TurnedAway::DisksFull);
    shown.roles[2].stats.snapshots.get().unwrap().on_failure();
    let text = text::render(&shown);
    for (series, value) in [
        ("paxos_wire_version{node=\"P1\"}", "8"),
        ("paxos_leads{node=\"P1\"}", "1"),
        ("paxos_leads{node=\"L1\"}", "0"),
        ("paxos_has_leader{node=\"A1\"}", "1"),
        ("paxos_ballot_round{node=\"L1\"}", "3"),
        ("paxos_position{node=\"P1\",kind=\"decided\"}", "7"),
        ("paxos_position{node=\"L1\",kind=\"highest\"}", "11"),
        ("paxos_position{node=\"L1\",kind=\"applied\"}", "6"),
        ("paxos_position{node=\"L1\",kind=\"durable\"}", "5"),
        ("paxos_position{node=\"L1\",kind=\"trimmed\"}", "2"),
        ("paxos_position{node=\"A1\",kind=\"trimmed\"}", "2"),
        ("paxos_log_bytes{node=\"A1\"}", "900"),
        ("paxos_disk_free_bytes{node=\"A1\"}", "700"),
        ("paxos_disk_reserve_bytes{node=\"A1\"}", "400"),
        ("paxos_trim_held_by{node=\"P1\",learner=\"L2\",reason=\"no_snapshot\"}", "1"),
        ("paxos_trim_held_by{node=\"P1\",learner=\"L4\",reason=\"fetches\"}", "1"),
        ("paxos_snapshot_bytes{node=\"L1\"}", "80"),
        ("paxos_snapshot_write_seconds{node=\"L1\"}", "1.5"),
        ("paxos_snapshot_failures_total{node=\"L1\"}", "1"),
        ("paxos_sessions_evicted_total{node=\"L1\"}", "8"),
        ("paxos_refused_total{node=\"C1\",reason=\"disks_full\"}", "1"),
        ("paxos_refused_total{node=\"C1\",reason=\"too_long\"}", "0"),
        ("paxos_resent_total{node=\"P1\"}", "13"),
        ("paxos_decided_total{node=\"L1\"}", "9"),
        ("paxos_catch_up_missing{node=\"L1\"}", "2"),
        ("paxos_in_flight{node=\"P1\"}", "5"),
        ("paxos_accepted_total{node=\"A1\"}", "11"),
        ("paxos_sessions{node=\"L1\"}", "6"),
        ("paxos_values_total{node=\"C1\",fate=\"decided\"}", "4"),
        ("paxos_datagrams_total{node=\"L1\",direction=\"in\"}", "6"),
        ("paxos_turn_seconds_bucket{node=\"A1\",le=\"+Inf\"}", "1"),
        ("paxos_turn_seconds_count{node=\"A1\"}", "1"),
        ("paxos_sync_seconds_bucket{node=\"A1\",le=\"0.00001\"}", "0"),
        ("paxos_propose_seconds_bucket{node=\"P1\",le=\"0.00001\"}", "0"),
        ("paxos_propose_seconds_bucket{node=\"P1\",le=\"0.0001\"}", "3"),
        ("paxos_apply_seconds_count{node=\"L1\"}", "0"),
    ] {
        assert_eq!(sample(&text, series), value, "{series}");
    }
    let number = |series: &str| sample(&text, series).parse::<f64>().unwrap();
    assert!((5.0..60.0).contains(&number("paxos_snapshot_age_seconds{node=\"L1\"}")), "{text}");
    assert!(number("paxos_log_oldest_seconds{node=\"A1\"}") > 1e9, "since 1970");
    assert!(!text.contains("paxos_sync_seconds_sum{node=\"P1\""), "only acceptors store");
    let escaped = "cluster=\"a \\\"b\\\" <c>\"";
    assert!(text.contains(escaped), "{text}");
}

/// Two details of one reason are one series, or Prometheus would refuse the entire answer.
#[test]
fn what_is_dropped_is_told_by_reason() {
    let shown = shown();
    let stats = &shown.roles[0].stats;
    stats.refused.increment(Refusal::OtherAcceptorCount { theirs: 5, ours: 3 });
    stats.refused.increment(Refusal::OtherAcceptorCount { theirs: 7, ours: 3 });
    stats.ignored.increment(Ignored::StaleBallot);
    stats.inbox_full.add(4);
    let text = text::render(&shown);
    for (reason, value) in [
        ("refused_other_acceptor_count", "2"),
        ("ignored_stale_ballot", "1"),
        ("inbox_full", "4"),
        ("kernel", "0"),
    ] {
        let series = format!("paxos_dropped_total{{node=\"P1\",reason=\"{reason}\"}}");
        assert_eq!(sample(&text, &series), value, "{series}");
    }
    is_valid(&text);
}

/// The text format of Prometheus, as far as this program uses it: every family is announced once,
/// its samples follow, no series comes twice, and histograms add up.
fn is_valid(text: &str) {
    assert!(text.ends_with('\n'));
    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    let (mut last_bucket, mut lines) = (0.0, text.lines());
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && families.insert(name.to_owned()), "{line}");
            let announced = lines.next().and_then(|line| line.strip_prefix("# TYPE ")).unwrap();
            let (typed, what) = announced.split_once(' ').unwrap();
            assert_eq!(typed, name);
            assert!(matches!(what, "gauge" | "counter" | "histogram"), "{announced}");
            assert_eq!(what == "counter", name.ends_with("_total"), "{announced}");
            (family, kind) = (name.to_owned(), what.to_owned());
            continue;
        }
        let (labelled, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert!(series.insert(labelled.to_owned()), "{line} comes again");
        let (name, labels) = labelled.split_once('{').unwrap();
        assert!(labels.starts_with("node=\"") && labels.ends_with("\"}"), "{line}");
        if kind != "histogram" {
            assert_eq!(name, family);
            continue;
        }
        match name.strip_prefix(&family).unwrap() {
            "_bucket" if labels.contains("le=\"0.00001\"") => last_bucket = value,
            "_bucket" => {
                assert!(value >= last_bucket, "{line}");
                last_bucket = value;
            }
            "_count" => assert!((value - last_bucket).abs() < 0.5, "{line}"),
            "_sum" => {}
            other => panic!("{other} in {line}"),
        }
    }
    assert!(!families.is_empty());
}

#[test]
fn the_text_is_valid() {
    let shown = shown();
    is_valid(&text::render(&shown));
    shown.roles[1].gauges.syncs.add(Duration::from_millis(2));
    is_valid(&text::render(&shown));
}

#[test]
fn a_process_is_ready_unless_one_of_its_roles_is_not() {
    let status = |shown: &Shown, path| {
        let Answer { status, body, .. } = answer(shown, path);
        (status, body)
    };
    let mut all = shown();
    assert_eq!(status(&all, "/livez"), (200, "alive\n".to_owned()));
    assert_eq!(status(&all, "/readyz"), (200, "ready\n".to_owned()));
    let clock = all.clock;
    for (role, figures, reason) in [
        (Role::Acceptor, Figures::default(), "A1: hears no leader that a quorum"),
        (Role::Proposer, Figures::default(), "P1: knows no leader that a quorum"),
        (
            Role::Proposer,
            Figures { leads: true, ..Figures::default() },
            "P1: leads, and no quorum of the acceptors answers it",
        ),
        (
            Role::Learner,
            Figures { leader: ballot(1, 1), missing: 10_001, ..Figures::default() },
            "L1: lacks 10001 decided instances",
        ),
    ] {
        let mut ill = all.clone();
        ill.roles.push(watched(clock, role, figures));
        let (code, reasons) = status(&ill, "/readyz");
        assert_eq!((code, reasons.lines().count()), (503, 1), "{reasons}");
        assert!(reasons.starts_with(reason), "{reasons}");
        assert_eq!(status(&ill, "/livez").0, 200, "starting it again would not help");
        let json = page::json(&ill);
        assert_eq!((&json["ready"], &json["alive"]), (&false.into(), &true.into()));
        assert!(page::html(&ill).contains(reason));
    }
    all.roles.truncate(1);
    assert_eq!(status(&all, "/elsewhere").0, 404);
}

/// Only a loop that stands still is cured by a restart.
#[test]
fn a_loop_that_stands_still_is_not_alive_and_a_disk_that_does_is_not_ready() {
    let shown = Shown { clock: Clock::started_ago(Duration::from_secs(100)), ..shown() };
    let figures = Figures { leader: ballot(3, 1), ..Figures::default() };
    let status = |turned_ago: u64, storing_for: u64| {
        let role = watched(shown.clock, Role::Acceptor, figures.clone());
        let ago = |seconds: u64| Time(shown.clock.now().0 - seconds * 1_000_000);
        let storing = if storing_for == 0 { Time::ZERO } else { ago(storing_for) };
        role.gauges.pretend(ago(turned_ago), storing);
        let all = Shown { roles: vec![role], ..shown.clone() };
        ["/livez", "/readyz"].map(|path| (answer(&all, path).status, answer(&all, path).body))
    };
    let well = [(200, "alive\n".to_owned()), (200, "ready\n".to_owned())];
    assert_eq!(status(0, 0), well);
    assert_eq!(status(14, 1), well);
    let still = "A1: its loop has not turned for 16 s\n".to_owned();
    assert_eq!(status(16, 0), [(503, still.clone()), (503, still)]);
    let disk = "A1: its disk has not finished a write for 3 s\n".to_owned();
    assert_eq!(status(0, 3), [(200, "alive\n".to_owned()), (503, disk)]);
}

#[test]
fn the_page_and_the_json_say_the_same() {
    let shown = shown();
    let (json, html) = (page::json(&shown), page::html(&shown));
    assert_eq!((&json["cluster"], &json["ready"]), (&"a \"b\" <c>".into(), &true.into()));
    let learner = &json["roles"][2];
    assert_eq!((&learner["node"], &learner["missing"]), (&"L1".into(), &2.into()));
    assert_eq!((&learner["decided_up_to"], &learner["sessions"]), (&7.into(), &6.into()));
    assert_eq!(
        (&learner["durable_up_to"], &learner["snapshots"]["bytes"]),
        (&5.into(), &80.into())
    );
    assert_eq!(json["roles"][1]["disk"]["free_bytes"], 700);
    assert_eq!(json["roles"][0]["trim_held_by"][0]["learner"], "L2");
    assert_eq!((&json["wire"], &json["roles"][0]["wire"]), (&9.into(), &8.into()));
    assert!(html.contains("<tr><td>P1<td>leads<td>3.P1<td>3.P1<td>7<td>0<td>5<td><td>6<td>8<td>"));
    assert_eq!(json["roles"][3]["values"]["lost"], 1);
    assert_eq!(json["roles"][3]["values"]["trimmed"], 2);
    assert!(html.contains("a &quot;b&quot; &lt;c&gt;: ready") && !html.contains("<c>"), "{html}");
    assert!(html.contains("<tr><td>L1<td><td><td>3.P1<td>7<td>2<td>"), "{html}");
    assert!(!html.contains("src=") && !html.contains("//"), "nothing comes from elsewhere");
}

#[test]
fn the_first_free_port_is_taken() {
    let first = listen("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let taken = first.local_addr().unwrap();
    let next = listen(taken, None).unwrap().local_addr().unwrap();
    assert!(next.port() > taken.port() && next.port() - taken.port() < PORTS, "{next}");
    let error = listen("192.0.2.1:9187".parse().unwrap(), Some("paxos.conf")).unwrap_err();
    assert!(error.may_pass());
    assert!(error.to_string().starts_with("paxos.conf: metrics 192.0.2.1:9187 is at no address"));
}
