//! What is wrong, given the facts? Each finding is a plain sentence with its cure. Pure. Findings
//! between hosts are in `neighbours`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::facts::{Absent, Deaf, Drops, Facts, FolderFacts, InterfaceFacts, PLACES, Unsent, Why};
use super::finding::{Finding, Report, Topic, names_not_heard};
use super::hearing::{Hearing, Stranger, Trace, bit};
use super::neighbours::{CURE_KEY, elsewhere, host, others};
use crate::net::payload_of_mtu;
use crate::protocol::types::Role;
use crate::protocol::versions::Version;
use crate::wire;

/// The findings. `hearing` is none when nothing could be joined; `expected` is how many hosts there
/// should be, this one included.
pub fn diagnose(facts: &Facts, hearing: Option<&Hearing>, expected: Option<u32>) -> Report {
    let mut findings: Vec<Finding> = lists(facts).into_iter().collect();
    if facts.settings.multicast != 0 {
        findings.extend(interface(facts));
    }
    findings.extend(members(facts));
    findings.extend(buffer(facts));
    findings.extend(length(facts));
    findings.extend(facts.folders.iter().map(folder));
    findings.extend(facts.drops.iter().map(dropped));
    findings.extend(facts.deaf.iter().map(deaf));
    if !facts.is_loopback() {
        findings.extend(facts.bridges.iter().map(|name| bridge(name)));
    }
    if facts.missed > 0 {
        findings.push(Finding::note(
            Topic::Dropped,
            format!("this doctor missed {} datagrams: more come than it can fetch", facts.missed),
            "trust what it says of loss only when there is less to do",
        ));
    }
    findings.push(Finding::fine(
        Topic::Clocks,
        "clocks are not compared: only the times of entries depend on them",
    ));
    // Without the interface every other step fails for the same reason.
    if facts.interface.is_some() {
        findings.extend(sockets(facts));
        if let Some(hearing) = hearing {
            findings.extend(own_groups(facts, hearing));
            if !facts.is_local {
                findings.extend(strangers(facts, hearing));
                findings.extend(duplicates(hearing));
                findings.extend(acceptors(facts, hearing));
                findings.extend(full_disks(facts, hearing));
                findings.extend(roles(facts, hearing));
                findings.extend(old_releases(hearing));
                findings.extend(hearing.peers.values().flat_map(|peer| host(facts, hearing, peer)));
                findings.extend(others(facts, hearing, expected));
                findings.extend(elsewhere(facts, hearing));
            }
        }
    }
    Report::new(findings)
}

// This host.

fn interface(facts: &Facts) -> Vec<Finding> {
    let settings = &facts.settings;
    let address = &settings.interface;
    let Some(InterfaceFacts { name, mtu, is_loopback, is_up, has_link, has_multicast, .. }) =
        &facts.interface
    else {
        // The cure lists the existing interfaces.
        let sentence = facts.no_interface.split("; ").next().unwrap_or_default();
        let cure = format!("set `interface` to one of this host's: {}", addresses(facts));
        return vec![Finding::sick(Topic::NoInterface, sentence, cure)];
    };
    let mut findings = Vec::new();
    if !is_up || !has_link {
        let what = if *is_up { "has no link" } else { "is down" };
        findings.push(Finding::sick(
            Topic::InterfaceDown,
            format!("interface {name} ({address}) {what}"),
            format!(
                "bring it up with `ip link set {name} up` and look at its cable, or set \
                 `interface` to another address of this host: {}",
                addresses(facts)
            ),
        ));
    }
    if *is_loopback {
        findings.push(Finding::note(
            Topic::Interface,
            format!("interface {address} is the loopback interface: nothing leaves this host"),
            format!(
                "nothing to do for a cluster on one host; for several, set `ttl` to 1, name the \
                 `cluster`, and set `interface` to an address of the host: {}",
                addresses(facts)
            ),
        ));
        return findings;
    }
    if !has_multicast {
        findings.push(Finding::sick(
            Topic::NoMulticast,
            format!("interface {name} ({address}) does not carry multicast"),
            format!(
                "switch it on with `ip link set {name} multicast on`, or set `interface` to \
                 another address of this host: {}",
                addresses(facts)
            ),
        ));
    }
    if settings.ttl == 0 {
        findings.push(Finding::sick(
            Topic::TtlZero,
            format!("the TTL is 0, so no datagram leaves this host through {name}"),
            "set `ttl` to 1 on every host, or to more where routers lie between them, and name the \
             `cluster`",
        ));
    }
    if findings.is_empty() {
        let mtu = mtu.map_or(String::new(), |mtu| format!(", MTU {mtu}"));
        let sentence = format!("interface {name} ({address}) is up{mtu}, TTL {}", settings.ttl);
        findings.push(Finding::fine(Topic::Interface, sentence));
    }
    findings
}

/// The addresses that other hosts can reach, or how to see them.
fn addresses(facts: &Facts) -> String {
    let listed: Vec<String> = facts
        .addresses
        .iter()
        .filter(|(_, address)| address.is_ipv4() && !address.is_loopback())
        .map(|(name, address)| format!("{address} ({name})"))
        .collect();
    if listed.is_empty() { "see `ip address`".to_owned() } else { listed.join(", ") }
}

/// Groups that are lists of members.
fn lists(facts: &Facts) -> Option<Finding> {
    let listed = !facts.settings.multicast & ((1 << PLACES.len()) - 1);
    let roles: Vec<String> = (0..)
        .zip(PLACES)
        .filter(|(place, _)| listed & bit(*place) != 0)
        .map(|(_, role)| format!("{role}s"))
        .collect();
    (!roles.is_empty()).then(|| {
        Finding::note(
            Topic::Lists,
            format!(
                "the {} are lists of members: doctors ask whether a process is at each address, \
                 and exchange no probes there",
                roles.join(", ")
            ),
            "look whether every member is listed, and let UDP to its port in",
        )
    })
}

/// Members of lists at which no process takes datagrams. If some acceptors are there, the others
/// are missed; and so are all if their hosts cannot be reached.
fn members(facts: &Facts) -> Option<Finding> {
    let text = |absent: &Absent| {
        let Absent { node, address, error, .. } = absent;
        format!("{node} at {address} ({error})")
    };
    let listed: Vec<String> = facts.absent.iter().map(text).collect();
    let acceptors = facts.absent.iter().filter(|absent| absent.node.role == Role::Acceptor).count();
    let left = (facts.settings.acceptor_count as usize).saturating_sub(acceptors);
    let sentence = format!("no process takes datagrams of {}", listed.join(", "));
    let cure = "start them, correct the list, or let UDP to these ports in";
    let is_stopped = left == 0 && facts.absent.iter().all(|absent| absent.is_refused);
    Some(match (listed.len(), acceptors) {
        (0, _) => return None,
        _ if acceptors == 0 || is_stopped => Finding::note(Topic::MembersAbsent, sentence, cure),
        _ if left < quorum(facts) => Finding::sick(Topic::MembersAbsent, sentence, cure),
        _ => Finding::degraded(Topic::MembersAbsent, sentence, cure),
    })
}

fn buffer(facts: &Facts) -> Option<Finding> {
    let (given, asked) = (facts.buffer_bytes?, facts.settings.buffer_bytes);
    Some(if given < asked {
        Finding::sick(
            Topic::BufferClamped,
            format!(
                "the kernel gives sockets a receive buffer of {given} bytes where {asked} are \
                 configured, so bursts are lost"
            ),
            format!(
                "`sysctl -w net.core.rmem_max={asked}` (of a container: on its host), or lower \
                 `socket_buffer_bytes`"
            ),
        )
    } else {
        let sentence = format!("receive buffers have the {asked} bytes that are configured");
        Finding::fine(Topic::BufferClamped, sentence)
    })
}

fn length(facts: &Facts) -> Option<Finding> {
    let InterfaceFacts { name, mtu, .. } = facts.interface.as_ref()?;
    let (carried, bytes) =
        (payload_of_mtu((*mtu)?, facts.settings.header_bytes), facts.settings.datagram_bytes);
    (bytes > carried).then(|| {
        Finding::note(
            Topic::LongDatagrams,
            format!(
                "datagrams of {bytes} bytes go over {name} in pieces, because its MTU carries \
                 {carried}; a host that loses a piece loses the whole datagram"
            ),
            format!("set `datagram_bytes` to {carried} or less"),
        )
    })
}

fn folder(facts: &FolderFacts) -> Finding {
    let FolderFacts { path, role, error } = facts;
    let sentence = format!("{role}s started here cannot write to {path}: {error}");
    match role {
        // Only acceptors stop for it, and they must not be started elsewhere, without their data.
        Role::Acceptor => {
            let cure = "make it a directory that this user may write";
            Finding::sick(Topic::DirectoryUnusable, sentence, cure)
        }
        _ => {
            let cure = "make it a directory that this user may write, or start them elsewhere";
            Finding::note(Topic::DirectoryUnusable, sentence, cure)
        }
    }
}

fn dropped(facts: &Drops) -> Finding {
    let Drops { port, count, more } = facts;
    let cure = "raise `socket_buffer_bytes` (and net.core.rmem_max), or give the host more CPU";
    let what =
        format!("the kernel dropped {count} datagrams to a process of this host at port {port}");
    if *more > 0 {
        let sentence = format!("{what}, {more} of them just now: no process read them in time");
        return Finding::sick(Topic::Dropped, sentence, cure);
    }
    Finding::note(Topic::Dropped, format!("{what} at some time, and none just now"), cure)
}

fn deaf(facts: &Deaf) -> Finding {
    let Deaf { group, bound, members } = facts;
    Finding::sick(
        Topic::NoMember,
        format!(
            "{bound} processes of this host listen to {group}, and {members} are members of it: \
             their interface was deleted and made again"
        ),
        "they rejoin it within seconds; restart those that do not",
    )
}

fn bridge(name: &str) -> Finding {
    Finding::note(
        Topic::BridgeAsks,
        format!(
            "bridge {name} takes groups to members only and asks for them by IGMPv2: hosts that \
             joined before it began to ask are not known to it before its next question"
        ),
        format!(
            "`ip link set {name} type bridge mcast_igmp_version 3`, which lets every host answer; \
             processes that hear no other host any more join anew"
        ),
    )
}

fn sockets(facts: &Facts) -> Vec<Finding> {
    let failures = facts.failures.iter();
    let mut findings: Vec<Finding> =
        failures.map(|(what, cure)| Finding::sick(Topic::NoSocket, what, *cure)).collect();
    let mut seen: BTreeMap<(u8, &str), Vec<usize>> = BTreeMap::new();
    for (place, unsent) in facts.unsent.iter().enumerate() {
        if let Some(Unsent { why, text, .. }) = unsent {
            seen.entry((*why as u8, text)).or_default().push(place);
        }
    }
    for places in seen.values() {
        let Some(Unsent { why, text, bytes }) = &facts.unsent[places[0]] else { continue };
        let groups = places.iter().fold(0, |bits, place| bits | 1 << place);
        let (groups, interface) = (to_groups(facts, groups), &facts.settings.interface);
        let name = facts.interface.as_ref().map_or("", |interface| interface.name.as_str());
        let (sentence, cure) = match why {
            Why::NoRoute => (
                format!("there is no route {groups} through {interface} ({text})"),
                format!(
                    "bring the interface up with `ip link set {name} up`, or give multicast a \
                     route with `ip route add 224.0.0.0/4 dev {name}`"
                ),
            ),
            Why::Forbidden => (
                format!("a firewall of this host forbids sending {groups} ({text})"),
                format!(
                    "allow UDP to ports {} in its output rules (see `nft list ruleset`)",
                    ports(facts)
                ),
            ),
            Why::TooLong => (
                format!("datagrams of {bytes} bytes cannot be sent {groups} ({text})"),
                "lower `datagram_bytes`".to_owned(),
            ),
            Why::Other => (
                format!("nothing can be sent {groups} through {interface} ({text})"),
                format!("look at `ip address show {name}` and `ip route`"),
            ),
        };
        findings.push(Finding::sick(Topic::CannotSend, sentence, cure));
    }
    findings
}

/// The groups that were joined and could be sent to.
pub(super) fn usable(facts: &Facts) -> u8 {
    let unsent = facts.unsent.iter().enumerate();
    let unsent = unsent
        .filter(|(_, unsent)| unsent.as_ref().is_some_and(|unsent| unsent.why != Why::TooLong));
    facts.joined & !unsent.fold(0, |bits, (place, _)| bits | 1 << place)
}

fn own_groups(facts: &Facts, hearing: &Hearing) -> Option<Finding> {
    let usable = usable(facts);
    let silent = usable & !hearing.own_groups;
    if silent != 0 {
        return Some(Finding::sick(
            Topic::OwnUnheard,
            format!("what this host itself sends {} does not come back", to_groups(facts, silent)),
            format!(
                "a firewall of this host drops it: allow UDP to ports {} in its input rules (see \
                 `nft list ruleset`)",
                ports(facts)
            ),
        ));
    }
    (usable == facts.settings.multicast).then(|| {
        let sentence = "every group can be joined, and this host hears itself on each of them";
        Finding::fine(Topic::Groups, sentence)
    })
}

pub(super) fn ports(facts: &Facts) -> String {
    let ports: Vec<String> = facts.settings.ports.iter().map(u16::to_string).collect();
    ports.join(", ")
}

/// `to the groups of the clients (239.0.0.1:5000) and ...`.
pub(super) fn to_groups(facts: &Facts, groups: u8) -> String {
    if groups == facts.settings.multicast {
        return "to any group".to_owned();
    }
    let named: Vec<String> = (0..4)
        .filter(|place| groups & bit(*place) != 0)
        .map(|place| {
            let place = usize::from(place);
            format!("{}s ({})", PLACES[place], facts.settings.groups[place])
        })
        .collect();
    let plural = if named.len() == 1 { "" } else { "s" };
    format!("to the group{plural} of the {}", named.join(" and the "))
}

// Everybody of this cluster.

/// `P1, P2 at 10.0.0.1; A1 at 10.0.0.2`, or that there is nobody.
fn roles(facts: &Facts, hearing: &Hearing) -> Option<Finding> {
    let mut hosts: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    for (node, sources) in hearing.nodes() {
        for address in sources.iter().map(|source| source.ip()).collect::<BTreeSet<_>>() {
            hosts.entry(address).or_default().push(node.to_string());
        }
    }
    let told: Vec<String> =
        hosts.iter().map(|(address, nodes)| format!("{} at {address}", nodes.join(", "))).collect();
    if told.is_empty() {
        let sentence = format!("no process of cluster {} is heard", facts.settings.cluster);
        let cure = "start its processes; if they run, start a doctor on their hosts as well";
        return hears_all(facts).then(|| Finding::note(Topic::Roles, sentence, cure));
    }
    let sentence = format!("these run and are heard: {}", told.join("; "));
    Some(Finding::fine(Topic::Roles, sentence))
}

/// An upgrade that is under way, or was never finished.
fn old_releases(hearing: &Hearing) -> Option<Finding> {
    let old = hearing.old().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let sentence = format!(
        "of the release before this one, or held at it by `wire_version`: {old}; datagrams are of \
         version {} until all are upgraded",
        Version::OLDEST
    );
    let cure = "upgrade them, learners first, then acceptors, then proposers";
    (!old.is_empty()).then(|| Finding::note(Topic::OtherVersion, sentence, cure))
}

fn duplicates(hearing: &Hearing) -> Vec<Finding> {
    let finding = |(node, one, other)| {
        Finding::sick(
            Topic::DuplicateId,
            format!("two processes run as {node} at a time: at {one} and at {other}"),
            "end one of them, and give each its own id (`ss -uanp` on the host shows who has the \
             port)",
        )
    };
    hearing.duplicates().into_iter().map(finding).collect()
}

/// Whether processes that run would be heard: acceptors of a list are not asked, and their answers
/// go to a list.
fn hears_all(facts: &Facts) -> bool {
    facts.settings.multicast & 0b0110 == 0b0110
}

fn acceptors(facts: &Facts, hearing: &Hearing) -> Option<Finding> {
    let (running, count) =
        (hearing.running(Role::Acceptor), facts.settings.acceptor_count as usize);
    let quorum = quorum(facts);
    if !hears_all(facts) || hearing.running(Role::Proposer) == 0 || running >= count {
        return None;
    }
    let cure = "start the others; if they run, start a doctor on their hosts as well";
    let heard: BTreeSet<u32> = hearing.ids(Role::Acceptor).collect();
    let missing: Vec<u32> =
        (1..=facts.settings.acceptor_count).filter(|id| !heard.contains(id)).collect();
    let heard = format!(
        "{running} of {count} acceptors are heard where {quorum} are needed ({})",
        names_not_heard(&missing)
    );
    Some(if running < quorum {
        let sentence = format!("{heard}, so nothing is decided");
        Finding::sick(Topic::AcceptorsMissing, sentence, cure)
    } else {
        let spare = running - quorum;
        let sentence = format!("{heard}: {spare} more may fail");
        Finding::degraded(Topic::AcceptorsMissing, sentence, cure)
    })
}

fn full_disks(facts: &Facts, hearing: &Hearing) -> Option<Finding> {
    let full: Vec<String> = hearing.full_disks().map(|node| node.to_string()).collect();
    if full.is_empty() {
        return None;
    }
    let cure = "make room on their hosts, raise `disk_bytes` there (and start them again), or have \
                less kept (`retain`); they go on by themselves";
    let of = format!("full disks: {}", full.join(", "));
    let (count, quorum) = (facts.settings.acceptor_count as usize, quorum(facts));
    let with_room = hearing.running(Role::Acceptor).min(count).saturating_sub(full.len());
    Some(if with_room < quorum {
        let sentence = format!(
            "{of}; {with_room} acceptors have room where {quorum} are needed, so no new values \
             are taken"
        );
        Finding::sick(Topic::DisksFull, sentence, cure)
    } else {
        let sentence = format!("{of}; the others go on, and {} more may fail", with_room - quorum);
        Finding::degraded(Topic::DisksFull, sentence, cure)
    })
}

/// How many acceptors are a majority.
fn quorum(facts: &Facts) -> usize {
    facts.settings.acceptor_count as usize / 2 + 1
}

fn strangers(facts: &Facts, hearing: &Hearing) -> Vec<Finding> {
    let finding = |((why, from), trace): (&(Stranger, IpAddr), &Trace)| {
        let heard = format!("{} datagrams from {from}", trace.count);
        let groups = if trace.groups == 0 { facts.settings.multicast } else { trace.groups };
        let groups = to_groups(facts, groups);
        match why {
            Stranger::OtherCluster => {
                let name = trace.name.as_ref().map_or(String::new(), |name| format!(" `{name}`"));
                let own = &facts.settings.cluster;
                Finding::sick(
                    Topic::OtherCluster,
                    format!("another cluster{name} uses the groups of `{own}`: {heard} {groups}"),
                    "give one of them other ports, or, if they should be one, the same `cluster`",
                )
            }
            Stranger::OtherVersion => {
                let version = trace.name.as_ref().map_or("another version".to_owned(), |version| {
                    format!("version {version} where this is version {}", wire::VERSION)
                });
                Finding::sick(
                    Topic::OtherVersion,
                    format!("{heard} {groups} are of {version} of the datagrams"),
                    "upgrade one release at a time, until all hosts have the same `paxos`",
                )
            }
            Stranger::OtherKey => {
                let what = trace.name.as_deref().unwrap_or("sealed with another key");
                let sentence = format!("{heard} {groups} are {what}");
                Finding::sick(Topic::KeyDiffers, sentence, CURE_KEY)
            }
            Stranger::OtherAcceptorCount => {
                let what = trace.name.as_deref().unwrap_or("from another acceptor_count");
                Finding::sick(
                    Topic::ConfigDiffers,
                    format!("{heard} {groups} are {what}"),
                    "give every host the same `acceptor_count`; they do not hear each other until \
                     then",
                )
            }
            Stranger::Foreign => Finding::note(
                Topic::Foreign,
                format!("{heard} {groups} are not of this program"),
                "they are dropped; choose other groups or ports if there are many",
            ),
        }
    };
    hearing.strangers.iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::super::facts::Settled;
    use super::super::hearing::DOCTOR_ID;
    use super::super::probe::{Heard, Probe, tests::probe};
    use super::*;
    use crate::config;
    use crate::protocol::message::{Echo, Message};
    use crate::protocol::types::{Ballot, NodeId, Sender, Time};
    use crate::protocol::versions::Versions;
    use crate::wire::Codec;

    const OWN: u64 = 77;
    /// Every group.
    const ALL: u8 = 0b1111;
    const FOUR: &str = "clients 239.0.0.1 5000\nproposers 239.0.0.1 6000\n\
                        acceptors 239.0.0.1 7000\nlearners 239.0.0.1 8000\n\
                        interface 10.0.0.1\nttl 1\ncluster paxos\n";

    /// A host on which everything is as it should be.
    fn healthy() -> Facts {
        let config = config::parse("paxos.conf", FOUR).unwrap();
        Facts {
            is_local: false,
            settings: Settled::new(&config, 1472),
            addresses: vec![("eth0".to_owned(), "10.0.0.1".parse().unwrap())],
            interface: Some(InterfaceFacts {
                name: "eth0".to_owned(),
                mtu: Some(1500),
                is_loopback: false,
                is_up: true,
                has_link: true,
                has_multicast: true,
                is_strict: false,
            }),
            buffer_bytes: Some(4 << 20),
            failures: Vec::new(),
            joined: ALL,
            unsent: [const { None }; 4],
            folders: Vec::new(),
            drops: Vec::new(),
            absent: Vec::new(),
            deaf: Vec::new(),
            bridges: Vec::new(),
            missed: 0,
            no_interface: String::new(),
        }
    }

    /// The probe of another healthy host's doctor.
    fn neighbour() -> Probe {
        Probe {
            groups: healthy().settings.groups_text(),
            wire_version: wire::VERSION,
            heard: vec![Heard { doctor: OWN, groups: ALL, longest: 1472 }],
            ..probe()
        }
    }

    /// What is heard in two seconds of this host itself on the groups of `own`, and on those of
    /// `groups` of a doctor that says `probe`, in datagrams of up to `longest` bytes. One round in
    /// `lost_every` is lost.
    fn hear(own: u8, probe: &Probe, groups: u8, longest: usize, lost_every: u64) -> Hearing {
        let sender = Sender { node: NodeId::new(Role::Proposer, DOCTOR_ID), boot: OWN };
        let codec = Codec::new("paxos", 3, sender, 1472);
        let mut hearing = Hearing::new(OWN, codec, "paxos", Time::ZERO);
        let [here, there] =
            ["10.0.0.1:9", "10.0.0.2:9"].map(|text| text.parse::<SocketAddr>().unwrap());
        for round in 0..20 {
            let now = Time::ZERO + Duration::from_millis(100 * round);
            for place in 0..4 {
                if own & bit(place) != 0 {
                    let echo = Probe { doctor: OWN, ..probe.clone() }.encode(0);
                    hearing.on_datagram(now, Some(place), here, &echo);
                }
                if groups & bit(place) != 0 && round % lost_every != lost_every - 1 {
                    let said = Probe { sequence: round, ..probe.clone() };
                    hearing.on_datagram(now, Some(place), there, &said.encode(0));
                    let padded = Probe { padded: true, ..said }.encode(longest);
                    hearing.on_datagram(now, Some(place), there, &padded);
                }
            }
            if groups != 0 || probe.sequence > 0 {
                hearing.on_datagram(now, None, there, &probe.encode(0));
            }
        }
        hearing
    }

    /// One row of the table: what is different from two healthy hosts.
    struct Case {
        facts: Facts,
        own: u8,
        probe: Probe,
        groups: u8,
        longest: usize,
        lost_every: u64,
        expected: Option<u32>,
    }

    fn case(change: impl FnOnce(&mut Case)) -> Report {
        let mut case = Case {
            facts: healthy(),
            own: ALL,
            probe: neighbour(),
            groups: ALL,
            longest: 1472,
            lost_every: u64::MAX,
            expected: None,
        };
        change(&mut case);
        let Case { facts, own, probe, groups, longest, lost_every, expected } = case;
        let hearing = hear(own, &probe, groups, longest, lost_every);
        diagnose(&facts, Some(&hearing), expected)
    }

    /// Demands that these are the topics of what is not fine, and that each has a cure.
    fn expect(report: &Report, topics: &[Topic]) {
        // Nobody runs but doctors, which has a test of its own.
        let bad = report.findings.iter().filter(|f| f.topic != Topic::Roles);
        let bad = bad.filter(|f| f.severity != super::super::Severity::Fine);
        let bad: Vec<_> = bad.collect();
        let found: Vec<Topic> = bad.iter().map(|finding| finding.topic).collect();
        assert_eq!(found, topics, "{}", report.lines());
        for finding in bad {
            assert!(!finding.cure.is_empty() && !finding.sentence.contains('\n'), "{finding:?}");
        }
    }

    #[test]
    fn two_healthy_hosts_have_nothing_but_what_is_fine() {
        let report = case(|_| {});
        expect(&report, &[]);
        let topics: Vec<Topic> = report.findings.iter().map(|finding| finding.topic).collect();
        let expected = [
            Topic::Roles,
            Topic::BufferClamped,
            Topic::Interface,
            Topic::Groups,
            Topic::Host,
            Topic::Clocks,
        ];
        assert_eq!(topics, expected);
    }

    #[test]
    fn each_fault_of_this_host_is_told_once() {
        let report = case(|c| {
            c.facts.interface = None;
            c.facts.no_interface = "this host has no interface eth9; it has lo".to_owned();
        });
        expect(&report, &[Topic::NoInterface]);
        assert!(report.lines().starts_with("sick: this host has no interface eth9; cure: set"));
        expect(&case(|c| c.facts.settings.multicast = 0b1011), &[Topic::Lists]);
        let report = case(|c| (c.facts.settings.multicast, c.facts.interface) = (0, None));
        expect(&report, &[Topic::Lists]);
        let absent = |names: &[&str], error: io::ErrorKind| {
            let address = "10.0.0.2:7000".parse().unwrap();
            let absent = |name: &&str| Absent::new(name.parse().unwrap(), address, &error.into());
            case(|c| c.facts.absent = names.iter().map(absent).collect())
        };
        let (refused, no_route) =
            (io::ErrorKind::ConnectionRefused, io::ErrorKind::HostUnreachable);
        for (names, error, verdict) in [
            (&["P2"][..], refused, "healthy\n"),
            (&["P2", "A1"], refused, "degraded\n"),
            (&["A1", "A3"], refused, "sick\n"),
            // Nothing runs so far.
            (&["A1", "A2", "A3"], refused, "healthy\n"),
            (&["A1", "A2", "A3"], no_route, "sick\n"),
        ] {
            let report = absent(names, error);
            expect(&report, &[Topic::MembersAbsent]);
            assert!(report.lines().ends_with(verdict), "{}", report.lines());
            let member = format!("{} at 10.0.0.2:7000 ({error})", names[0]);
            assert!(report.lines().contains(&member), "{}", report.lines());
        }
        let link =
            |change: fn(&mut InterfaceFacts)| case(|c| change(c.facts.interface.as_mut().unwrap()));
        expect(&link(|i| i.is_up = false), &[Topic::InterfaceDown]);
        assert!(link(|i| i.has_link = false).lines().contains("has no link"));
        expect(&link(|i| i.has_multicast = false), &[Topic::NoMulticast]);
        expect(&link(|i| i.mtu = Some(1400)), &[Topic::LongDatagrams]);
        expect(&link(|i| i.mtu = None), &[]);
        expect(&case(|c| c.facts.settings.ttl = 0), &[Topic::TtlZero]);
        expect(&case(|c| c.facts.buffer_bytes = Some(212_992)), &[Topic::BufferClamped]);
        expect(&case(|c| c.facts.missed = 3), &[Topic::Dropped]);
        let drops = |more| vec![Drops { port: 5000, count: 9, more }];
        let report = case(|c| c.facts.drops = drops(0));
        expect(&report, &[Topic::Dropped]);
        assert!(report.is_healthy(), "an old drop is no sickness");
        assert!(!case(|c| c.facts.drops = drops(1)).is_healthy());
        let folder = |role| {
            let (path, error) = ("data".to_owned(), "denied".to_owned());
            case(|c| c.facts.folders = vec![FolderFacts { path, role, error }])
        };
        expect(&folder(Role::Acceptor), &[Topic::DirectoryUnusable]);
        assert!(!folder(Role::Acceptor).is_healthy() && folder(Role::Learner).is_healthy());
        let report = case(|c| {
            let group = "239.0.0.1".parse().unwrap();
            c.facts.deaf = vec![Deaf { group, bound: 3, members: 0 }];
        });
        expect(&report, &[Topic::NoMember]);
        assert!(!report.is_healthy(), "{}", report.lines());
        let report = case(|c| c.facts.bridges = vec!["br0".to_owned()]);
        expect(&report, &[Topic::BridgeAsks]);
        assert!(report.is_healthy() && report.lines().contains("mcast_igmp_version 3"));
        let failures = vec![("cannot bind to 239.0.0.1:5000".to_owned(), "choose another")];
        expect(&case(|c| (c.facts.failures, c.facts.joined) = (failures, 14)), &[Topic::NoSocket]);
        expect(&case(|c| c.own = 0b0111), &[Topic::OwnUnheard]);
    }

    #[test]
    fn what_cannot_be_sent_is_told_once_for_all_groups_that_fail_alike() {
        let fails = |why, count: usize| {
            case(|c| {
                for unsent in &mut c.facts.unsent[..count] {
                    *unsent = Some(Unsent { why, text: "os error".to_owned(), bytes: 400 });
                }
                c.own = ALL << count;
            })
        };
        for (why, word) in [
            (Why::NoRoute, "no route"),
            (Why::Forbidden, "firewall"),
            (Why::Other, "nothing can be sent"),
        ] {
            let report = fails(why, 4);
            expect(&report, &[Topic::CannotSend]);
            assert!(report.lines().contains(word), "{}", report.lines());
            let report = fails(why, 1);
            expect(&report, &[Topic::CannotSend]);
            assert!(report.lines().contains("group of the clients (239.0.0.1:5000)"));
        }
    }

    #[test]
    fn each_fault_between_hosts_is_told_once() {
        // Nothing but answers comes.
        expect(&case(|c| c.groups = 0), &[Topic::OneWayIn]);
        expect(&case(|c| c.groups = 0b1011), &[Topic::OneWayIn]);
        expect(&case(|c| c.probe.heard.clear()), &[Topic::OneWayOut]);
        expect(&case(|c| c.probe.heard[0].groups = 0b1110), &[Topic::OneWayOut]);
        expect(&case(|c| c.longest = 1372), &[Topic::MtuLost]);
        expect(&case(|c| c.probe.heard[0].longest = 1372), &[Topic::MtuLost]);
        let report = case(|c| c.lost_every = 5);
        expect(&report, &[Topic::Loss]);
        assert!(report.is_healthy() && report.lines().contains("15 % of what host north"));
        // The TTL explains the silence.
        let report = case(|c| (c.groups, c.probe.ttl) = (0, 0));
        expect(&report, &[Topic::TtlZero]);
        let strict = case(|c| {
            c.groups = 0;
            c.facts.interface.as_mut().unwrap().is_strict = true;
        });
        assert!(strict.lines().contains("net.ipv4.conf.eth0.rp_filter=2"));
    }

    /// What a doctor hears of three acceptors, of which these say that their disks are full, and
    /// said otherwise before.
    fn hear_acceptors(full: &[u32]) -> Report {
        let codec = |node| Codec::new("paxos", 3, Sender { node, boot: 5 }, 1400);
        let doctor = codec(NodeId::new(Role::Proposer, DOCTOR_ID));
        let mut hearing = Hearing::new(OWN, doctor, "paxos", Time::ZERO);
        for (step, id) in (0..).zip([1, 2, 3, 1, 2, 3]) {
            let (promised, reads) = (Ballot::ZERO, Versions::ALL);
            let is_full = full.contains(&id) == (step >= 3);
            let echo = Echo { promised, accepted: 5, full: is_full, reads, heard: vec![] };
            let mut datagram = Vec::new();
            let node = NodeId::new(Role::Acceptor, id);
            codec(node).encode(&Message::Echo(echo), &mut datagram).unwrap();
            let source = SocketAddr::from(([10, 0, 0, id as u8], 9));
            hearing.on_datagram(Time(1000 * step), Some(1), source, &datagram);
        }
        let full = full_disks(&healthy(), &hearing);
        Report::new(full.into_iter().collect())
    }

    #[test]
    fn nobody_at_all_is_said_plainly() {
        let report = case(|_| {});
        let said = report.lines();
        assert!(said.contains("note: no process of cluster paxos is heard; cure: start"), "{said}");
        assert!(report.is_healthy());
        let lists = case(|c| c.facts.settings.multicast = 0b1001).lines();
        assert!(!lists.contains("no process of cluster"), "{lists}");
    }

    #[test]
    fn full_disks_are_named_with_what_follows_from_them() {
        expect(&hear_acceptors(&[]), &[]);
        let report = hear_acceptors(&[2]);
        expect(&report, &[Topic::DisksFull]);
        let said = report.lines();
        assert!(said.starts_with("degraded: full disks: A2; the others go on, and 0 more"));
        let report = hear_acceptors(&[1, 3]);
        let said = report.lines();
        assert!(said.starts_with("sick: full disks: A1, A3; 1 acceptors have room"), "{said}");
        assert!(said.contains("no new values are taken"), "{said}");
    }

    #[test]
    fn each_difference_of_configurations_is_told() {
        expect(&case(|c| c.probe.acceptor_count = 5), &[Topic::ConfigDiffers]);
        expect(&case(|c| c.probe.groups = "others".to_owned()), &[Topic::ConfigDiffers]);
        expect(&case(|c| c.probe.wire_version = 200), &[Topic::OtherVersion]);
        let neighbours = case(|c| c.probe.wire_version = wire::VERSION - 1);
        expect(&neighbours, &[Topic::OtherVersion]);
        assert!(neighbours.lines().contains("note"), "{}", neighbours.lines());
        expect(
            &case(|c| c.probe.cluster = "x".to_owned()),
            &[Topic::OwnUnheard, Topic::NothingHeard, Topic::OtherCluster, Topic::OtherCluster],
        );
        for (own, other, words) in [
            (Some(1), None, "has no key, and this one has"),
            (None, Some(1), "has a key, and this one has not"),
            (Some(1), Some(2), "has another key"),
        ] {
            let report = case(|c| (c.facts.settings.key, c.probe.key) = (own, other));
            expect(&report, &[Topic::KeyDiffers]);
            assert!(report.lines().contains(words), "{}", report.lines());
        }
        expect(&case(|c| (c.facts.settings.key, c.probe.key) = (Some(1), Some(1))), &[]);
    }

    #[test]
    fn who_is_heard_on_another_interface_only_is_told() {
        let mut facts = healthy();
        facts.addresses.push(("eth1".to_owned(), "10.9.0.1".parse().unwrap()));
        let own = "10.9.0.1".parse().unwrap();
        let hear_on_both = |there: &str, own_too: bool| {
            let mut hearing = hear(ALL, &neighbour(), ALL, 1472, u64::MAX);
            let there: IpAddr = there.parse().unwrap();
            hearing.on_elsewhere(own, there, b"garbage");
            hearing.on_elsewhere(own, there, &neighbour().encode(0));
            if own_too {
                let echo = Probe { doctor: OWN, ..neighbour() };
                hearing.on_elsewhere(own, "10.9.0.7".parse().unwrap(), &echo.encode(0));
            }
            diagnose(&facts, Some(&hearing), None)
        };
        expect(&hear_on_both("10.0.0.2", true), &[]);
        let report = hear_on_both("10.9.0.2", false);
        expect(&report, &[Topic::OtherInterface]);
        assert!(report.lines().contains("10.9.0.2 is heard on eth1 (10.9.0.1)"));
    }

    #[test]
    fn silence_is_a_fault_between_hosts_and_none_on_one() {
        let silent = |c: &mut Case| (c.groups, c.probe.sequence) = (0, 0);
        expect(&case(silent), &[Topic::NothingHeard]);
        let alone = |c: &mut Case| {
            silent(c);
            c.facts.interface.as_mut().unwrap().is_loopback = true;
        };
        let report = case(alone);
        expect(&report, &[Topic::Interface]);
        assert!(report.is_healthy());
        expect(&case(|c| c.expected = Some(2)), &[]);
        expect(&case(|c| c.expected = Some(3)), &[Topic::HostsMissing]);
        let local = |c: &mut Case| {
            silent(c);
            c.facts.is_local = true;
        };
        expect(&case(local), &[]);
    }
}
