//! What is wrong between this host and others? Each finding is a plain sentence with its cure.
//! Pure; the tests are with those of `diagnosis`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::diagnosis::{ports, to_groups, usable};
use super::facts::{Facts, InterfaceFacts};
use super::finding::{Finding, Topic};
use super::hearing::{Hearing, Peer};
use crate::auth::seal;
use crate::wire;

/// From this share of lost probes on, in percent, it is said.
const LOSS_SAID: u64 = 3;

/// `host NAME at ADDRESS`.
fn called(peer: &Peer) -> String {
    format!("host {} at {}", peer.probe.host, peer.address)
}

/// The verdict on the path between this host and that of another doctor.
pub(super) fn host(facts: &Facts, hearing: &Hearing, peer: &Peer) -> Vec<Finding> {
    let mut findings = differences(facts, peer);
    if !facts.is_own(peer.address) {
        // Different groups explain why nothing is heard on them.
        if facts.settings.groups_text() == peer.probe.groups {
            findings.extend(one_way(facts, hearing, peer));
        }
        findings.extend(lengths(facts, peer));
        findings.extend(loss(peer));
    }
    let all = facts.settings.multicast;
    if findings.is_empty() && (peer.groups & all, peer.hears_us & all) == (all, all) {
        let (own, other) = (facts.settings.datagram_bytes, peer.probe.datagram_bytes);
        findings.push(Finding::fine(
            Topic::Host,
            format!(
                "{} and this one hear each other on every group, even datagrams of {} bytes",
                called(peer),
                own.min(other)
            ),
        ));
    }
    findings
}

/// The settings that differ on another host.
fn differences(facts: &Facts, peer: &Peer) -> Vec<Finding> {
    let (own, probe, who) = (&facts.settings, &peer.probe, called(peer));
    let mut findings = Vec::new();
    let mut differs = |name: &str, own: &str, other: &str| {
        findings.push(Finding::sick(
            Topic::ConfigDiffers,
            format!("{who} is configured otherwise: {name} {other} there, and {own} here"),
            "give every host the same file, but for `interface`",
        ));
    };
    if own.acceptor_count != probe.acceptor_count {
        let counts = [own.acceptor_count, probe.acceptor_count].map(|count| count.to_string());
        differs("acceptor_count", &counts[0], &counts[1]);
    }
    if own.groups_text() != probe.groups {
        differs("groups", &own.groups_text(), &probe.groups);
    }
    if probe.ttl == 0 && !facts.is_own(peer.address) {
        findings.push(Finding::sick(
            Topic::TtlZero,
            format!("{who} sends with TTL 0, so nothing of it reaches other hosts"),
            "set `ttl` to 1 there, name the `cluster` as here, and start its processes again",
        ));
    }
    if !seal::understand(own.key, probe.key) {
        let sentence = match (own.key, probe.key) {
            (Some(_), None) => format!("{who} has no key, and this one has"),
            (None, Some(_)) => format!("{who} has a key, and this one has not"),
            _ => format!("{who} has another key than this one"),
        };
        findings.push(Finding::sick(Topic::KeyDiffers, sentence, CURE_KEY));
    }
    if probe.wire_version != wire::VERSION {
        let apart = probe.wire_version.abs_diff(wire::VERSION);
        // Neighbours understand each other: an upgrade is under way.
        let finding = if apart == 1 { Finding::note } else { Finding::sick };
        findings.push(finding(
            Topic::OtherVersion,
            format!(
                "{who} runs release {} with version {} of the datagrams, and this one {} with {}",
                probe.release,
                probe.wire_version,
                env!("CARGO_PKG_VERSION"),
                wire::VERSION
            ),
            "finish the upgrade: run the same release of `paxos` on every host",
        ));
    }
    findings
}

/// What helps when keys differ.
pub const CURE_KEY: &str = "give every host the same `key_file`, or none";

/// The cure when the firewalls of both hosts are open.
const CURE_SWITCH: &str = "if that is so, the switch between them loses multicast: give it an IGMP \
                           querier or switch its snooping off";

/// Which of the two hosts does not hear the other.
fn one_way(facts: &Facts, hearing: &Hearing, peer: &Peer) -> Vec<Finding> {
    let who = called(peer);
    let mut findings = Vec::new();
    // If this host does not hear itself on a group, that has a cause of its own.
    let deaf = usable(facts) & hearing.own_groups & !peer.groups;
    if deaf != 0 && peer.is_settled() && peer.probe.ttl > 0 {
        let sentence = if peer.groups == 0 {
            format!("nothing is heard from {who} on the groups, though it hears us (one way)")
        } else {
            format!("{who} is not heard when it sends {}", to_groups(facts, deaf))
        };
        let strict = match &facts.interface {
            Some(InterfaceFacts { is_strict: true, name, .. }) => format!(
                "; if that host has several networks: `sysctl -w \
                 net.ipv4.conf.{name}.rp_filter=2`"
            ),
            _ => String::new(),
        };
        let cure = format!(
            "allow UDP to ports {} from {} in the firewall of this host; {CURE_SWITCH}{strict}",
            ports(facts),
            peer.address
        );
        findings.push(Finding::sick(Topic::OneWayIn, sentence, cure));
    }
    let unheard = usable(facts) & !peer.hears_us;
    if unheard != 0 && peer.has_reported() && facts.settings.ttl > 0 && peer.groups != 0 {
        let sentence = if peer.hears_us == 0 {
            format!("{who} does not hear us, though we hear it (one way)")
        } else {
            format!("{who} does not hear us when we send {}", to_groups(facts, unheard))
        };
        let cure =
            format!("allow UDP to ports {} in the firewall there; {CURE_SWITCH}", ports(facts));
        findings.push(Finding::sick(Topic::OneWayOut, sentence, cure));
    }
    findings
}

/// Which lengths do not arrive, in either direction.
fn lengths(facts: &Facts, peer: &Peer) -> Vec<Finding> {
    let who = called(peer);
    let mut findings = Vec::new();
    let mut lost = |sentence: String, arrived: usize| {
        let cure = format!(
            "set `datagram_bytes` to {arrived} on every host, or make the MTU of every interface \
             and switch on the way the same"
        );
        findings.push(Finding::sick(Topic::MtuLost, sentence, cure));
    };
    let theirs = peer.probe.datagram_bytes;
    if peer.groups != 0 && peer.has_tried_lengths() && peer.longest < theirs {
        let arrived = peer.longest;
        lost(
            format!("datagrams of {theirs} bytes from {who} do not arrive; of {arrived} they do"),
            arrived,
        );
    }
    let (own, arrived) = (facts.settings.datagram_bytes, peer.longest_of_us);
    if peer.hears_us != 0 && peer.has_reported() && arrived < own {
        lost(
            format!("datagrams of {own} bytes do not arrive at {who}; of {arrived} they do"),
            arrived,
        );
    }
    findings
}

fn loss(peer: &Peer) -> Option<Finding> {
    let percent = peer.lost_percent().filter(|percent| *percent >= LOSS_SAID)?;
    Some(Finding::note(
        Topic::Loss,
        format!("{percent} % of what {} sends are lost on the way here", called(peer)),
        "all of it is repeated, but that takes time: look at cables, switches and load",
    ))
}

/// The hosts that are heard, without this one.
fn other_hosts(facts: &Facts, hearing: &Hearing) -> BTreeSet<IpAddr> {
    hearing.hosts().into_iter().filter(|address| !facts.is_own(*address)).collect()
}

/// Hosts that are heard on another interface only.
pub(super) fn elsewhere(facts: &Facts, hearing: &Hearing) -> Vec<Finding> {
    let here = other_hosts(facts, hearing);
    let finding = |(interface, there): (&IpAddr, &BTreeSet<IpAddr>)| {
        let missed = there.iter().filter(|host| !here.contains(host) && !facts.is_own(**host));
        let missed: Vec<String> = missed.map(IpAddr::to_string).collect();
        let name = facts.addresses.iter().find(|(_, own)| own == interface);
        let name = name.map_or("?", |(name, _)| name);
        (!missed.is_empty()).then(|| {
            Finding::sick(
                Topic::OtherInterface,
                format!(
                    "{} is heard on {name} ({interface}), and not on the interface that is \
                     configured, {}",
                    missed.join(", "),
                    facts.settings.interface
                ),
                format!("set `interface` to {interface}"),
            )
        })
    };
    hearing.elsewhere.iter().filter_map(finding).collect()
}

/// Whether anybody else is there.
pub(super) fn others(facts: &Facts, hearing: &Hearing, expected: Option<u32>) -> Option<Finding> {
    let hosts = other_hosts(facts, hearing);
    let count = hosts.len() as u32 + 1;
    let is_silent = hosts.is_empty() && !facts.is_loopback();
    let cure = format!(
        "start `paxos doctor` on the other hosts at the same time (`--seconds 60` gives you \
         time); if it runs there: look whether `interface` is in their network ({} here; \
         `--all-interfaces` listens on the others), whether a firewall drops UDP to ports {}, \
         and whether the switch has an IGMP querier, or no snooping; clouds and container \
         networks often carry no multicast at all",
        facts.settings.interface,
        ports(facts)
    );
    match expected {
        Some(expected) if count < expected => {
            let names: Vec<String> = hosts.iter().map(IpAddr::to_string).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Some(Finding::sick(
                Topic::HostsMissing,
                format!("{count} of {expected} hosts are here; beside this one, heard: {names}"),
                cure,
            ))
        }
        _ if is_silent => {
            let sentence = "nothing is heard from any other host, neither a doctor nor a role";
            Some(Finding::sick(Topic::NothingHeard, sentence, cure))
        }
        _ => None,
    }
}
