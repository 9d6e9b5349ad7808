//! The lines of the four groups: an address and a port, or a list of members.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::parse_number;
use crate::net::Group;
use crate::protocol::types::Role;

/// The word that names the group of each role, with the address of the shipped file.
pub(super) const GROUPS: [(Role, &str, &str); 4] = [
    (Role::Client, "clients", "239.0.0.1 5000"),
    (Role::Proposer, "proposers", "239.0.0.1 6000"),
    (Role::Acceptor, "acceptors", "239.0.0.1 7000"),
    (Role::Learner, "learners", "239.0.0.1 8000"),
];

/// How many members a list has, at most: a sender sends to each of them.
const MEMBERS_MAX: usize = 1024;

/// The word of `role`'s group.
pub(super) fn name_of(role: Role) -> &'static str {
    GROUPS.iter().find(|(other, _, _)| *other == role).map_or("", |(_, name, _)| name)
}

/// The group that a line describes.
pub(super) fn parse_group(name: &str, values: &[&str]) -> Result<Group, String> {
    match values {
        ["unicast", members @ ..] => parse_members(name, members).map(Group::Unicast),
        [address, port] => parse_multicast(name, address, port).map(Group::Multicast),
        _ => Err(format!(
            "{name} takes an address and a port, such as `{name} 239.0.0.1 5000`, or `unicast` and \
             its members, such as `{name} unicast 10.0.0.1:5000 10.0.0.2:5000`"
        )),
    }
}

fn parse_multicast(name: &str, address: &str, port: &str) -> Result<SocketAddr, String> {
    let group: IpAddr = address
        .parse()
        .map_err(|_| format!("{address} is not an IP address, such as 239.0.0.1 or ff02::7878"))?;
    if !group.is_multicast() {
        return Err(format!(
            "{address} is not a multicast address; choose one in 224.0.0.0 to 239.255.255.255 or \
             in ff01:: to ff0e::, or list members without multicast as `{name} unicast IP:PORT \
             IP:PORT ...`"
        ));
    }
    if let IpAddr::V6(group) = group
        && matches!(group.segments()[0] & 0xf, 0 | 0xf)
    {
        return Err(format!(
            "{address} has a reserved scope; choose ff01:: for this host, ff02:: for one network, \
             or ff05:: for a site"
        ));
    }
    let port = parse_number("port", port, &(1..=65535))?;
    Ok(SocketAddr::new(group, port as u16))
}

fn parse_members(name: &str, words: &[&str]) -> Result<Vec<SocketAddr>, String> {
    if words.is_empty() || words.len() > MEMBERS_MAX {
        return Err(format!(
            "{name} unicast takes 1 to {MEMBERS_MAX} members, the first for id 1 and so on, and {} \
             are given",
            words.len()
        ));
    }
    let mut members = Vec::new();
    for word in words {
        let member = parse_member(word)?;
        if let Some(place) = members.iter().position(|other| *other == member) {
            return Err(format!(
                "{word} is member {} already; give each member its own address or port",
                place + 1
            ));
        }
        members.push(member);
    }
    Ok(members)
}

fn parse_member(word: &str) -> Result<SocketAddr, String> {
    let Ok(member) = word.parse::<SocketAddr>() else {
        return Err(misread_member(word));
    };
    let refused = |what: &str| Err(format!("member {word} {what}"));
    if member.port() == 0 {
        return refused("has port 0; choose one in 1..65535");
    }
    match member {
        SocketAddr::V4(member) if *member.ip() == Ipv4Addr::BROADCAST => {
            return refused("is a broadcast address; name an address of one host");
        }
        SocketAddr::V6(member) => {
            let ip = member.ip();
            if let Some(v4) = ip.to_ipv4_mapped() {
                let cure = format!("is an IPv4 address in disguise; write {v4}:{}", member.port());
                return refused(&cure);
            }
            match (ip.is_unicast_link_local(), member.scope_id()) {
                (true, 0) => {
                    return refused(
                        "is a link-local address; add the number of its interface, as \
                         [fe80::1%2]:5000, or use another address",
                    );
                }
                (false, 1..) => return refused("needs no interface; leave out what follows the %"),
                (true, 1..) | (false, 0) => {}
            }
        }
        SocketAddr::V4(_) => {}
    }
    if member.ip().is_unspecified() {
        return refused("is not the address of a host; name one that the others can send to");
    }
    if member.ip().is_multicast() {
        return refused("is a group; write `ADDRESS PORT` without `unicast`, or list hosts");
    }
    Ok(member)
}

/// Why a word is no member.
fn misread_member(word: &str) -> String {
    if let Ok(ip) = word.parse::<IpAddr>() {
        let with_port = SocketAddr::new(ip, 5000);
        return format!("member {word} has no port; write it as {with_port}");
    }
    let port = word.rsplit_once(':').map_or("", |(_, port)| port);
    match port.parse::<u64>() {
        Ok(port) if port > 65535 => format!("member {word}: port {port} is not in 1..65535"),
        _ => format!("member {word} is not IP:PORT, such as 10.0.0.1:5000 or [fd00::1]:5000"),
    }
}

/// Says what `group` has in common with those that were `taken` before.
pub(super) fn clash(taken: &BTreeMap<Role, Group>, group: &Group) -> Option<String> {
    let common = |other: &Group| {
        group.addresses().iter().find(|address| other.addresses().contains(address)).copied()
    };
    let (role, address) = taken.iter().find_map(|(role, other)| Some((role, common(other)?)))?;
    Some(match group {
        Group::Multicast(_) => {
            format!("{address} is the group of the {role}s already; give each role its own port")
        }
        Group::Unicast(_) => {
            format!("{address} is a member of the {role}s already; give each process its own port")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Group, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        parse_group(words[0], &words[1..])
    }

    #[test]
    fn groups_are_multicast_or_lists_of_either_ip_version() {
        let addresses = |line: &str| {
            let group = read(line).unwrap_or_else(|error| panic!("{error}"));
            group.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        for (line, expected) in [
            ("clients 239.0.0.1 5000", "239.0.0.1:5000"),
            ("clients ff02::1234 5000", "[ff02::1234]:5000"),
            ("clients ff01::1 1", "[ff01::1]:1"),
            ("clients unicast 10.0.0.1:5000", "10.0.0.1:5000"),
            ("clients unicast 10.0.0.1:1 [::1]:1 10.0.0.1:2", "10.0.0.1:1 [::1]:1 10.0.0.1:2"),
            ("clients unicast [fe80::1%3]:5000", "[fe80::1%3]:5000"),
        ] {
            assert_eq!(addresses(line), expected);
        }
    }

    #[test]
    fn what_is_no_group_is_refused_with_the_cure() {
        for (line, expected) in [
            ("clients", "takes an address and a port"),
            ("clients 239.0.0.1", "takes an address and a port"),
            ("clients 239.0.0.1 5000 6000", "takes an address and a port"),
            ("clients 239.0.0.1 0", "port 0 is not in 1..65535"),
            ("clients 239.0.0.256 5000", "239.0.0.256 is not an IP address"),
            ("clients 10.0.0.1 5000", "`clients unicast IP:PORT IP:PORT ...`"),
            ("clients fd00::1 5000", "`clients unicast IP:PORT IP:PORT ...`"),
            ("clients ff00::1 5000", "reserved scope"),
            ("clients ff0f::1 5000", "reserved scope"),
            ("clients unicast", "takes 1 to 1024 members"),
            ("clients unicast 10.0.0.1", "has no port; write it as 10.0.0.1:5000"),
            ("clients unicast fd00::1", "has no port; write it as [fd00::1]:5000"),
            ("clients unicast 10.0.0.1:0", "has port 0"),
            ("clients unicast 10.0.0.1:70000", "port 70000 is not in 1..65535"),
            ("clients unicast 10.0.0.1:x", "is not IP:PORT"),
            ("clients unicast host:5000", "is not IP:PORT"),
            ("clients unicast fd00::1:5000x", "is not IP:PORT"),
            ("clients unicast 10.0.0.1 5000", "has no port"),
            ("clients unicast 239.0.0.1:5000", "is a group; write `ADDRESS PORT`"),
            ("clients unicast [ff02::1]:5000", "is a group; write `ADDRESS PORT`"),
            ("clients unicast 0.0.0.0:5000", "is not the address of a host"),
            ("clients unicast [::]:5000", "is not the address of a host"),
            ("clients unicast 255.255.255.255:5000", "is a broadcast address"),
            ("clients unicast [::ffff:10.0.0.1]:5000", "write 10.0.0.1:5000"),
            ("clients unicast [fe80::1]:5000", "add the number of its interface"),
            ("clients unicast [fd00::1%2]:5000", "leave out what follows the %"),
            ("clients unicast 10.0.0.1:1 10.0.0.2:1 10.0.0.1:1", "10.0.0.1:1 is member 1 already"),
        ] {
            let refused = read(line).unwrap_err();
            assert!(refused.contains(expected), "{line}: {refused}");
        }
        let members: String = (1..=1025).map(|port| format!(" 10.0.0.1:{port}")).collect();
        assert!(read(&format!("clients unicast{members}")).unwrap_err().contains("1025 are given"));
    }

    #[test]
    fn groups_have_no_address_in_common() {
        let taken = BTreeMap::from([
            (Role::Client, read("clients 239.0.0.1 1").unwrap()),
            (Role::Learner, read("learners unicast 10.0.0.1:1 10.0.0.2:1").unwrap()),
        ]);
        let clash = |line: &str| clash(&taken, &read(line).unwrap());
        assert_eq!(clash("acceptors unicast 10.0.0.1:2 10.0.0.3:1"), None);
        assert_eq!(clash("acceptors 239.0.0.1 2"), None);
        let shared = clash("acceptors unicast 10.0.0.3:1 10.0.0.2:1").unwrap();
        assert!(shared.starts_with("10.0.0.2:1 is a member of the learners already"), "{shared}");
        let shared = clash("acceptors 239.0.0.1 1").unwrap();
        assert!(shared.starts_with("239.0.0.1:1 is the group of the clients already"), "{shared}");
    }
}
