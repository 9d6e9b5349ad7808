//! Looks at this host: interfaces, folders, what its kernel dropped. Changes nothing that stays.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::facts::{Absent, Deaf, Drops, FolderFacts, InterfaceFacts, PLACES};
use crate::net::{Group, Groups};
use crate::protocol::types::{NodeId, Role};
use crate::wire::PROBE_MAGIC;

/// How long a host may take to answer that it has no process at a port.
const REFUSAL: Duration = Duration::from_millis(300);

/// Bits of an interface's flags, as Linux has them.
const UP: u32 = 0x1;
const MULTICAST: u32 = 0x1000;

/// The system's facts about the interface of this name; none when there is no such interface.
pub fn interface(name: &str) -> Option<InterfaceFacts> {
    // A label, as eth0:1, is no name.
    let is_it = |listed: &if_addrs::Interface| listed.name.split(':').next() == Some(name);
    let listed = if_addrs::get_if_addrs().ok()?.into_iter().find(is_it)?;
    let read = |path: String| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let index = read(format!("/sys/class/net/{name}/ifindex")).and_then(|text| text.parse().ok());
    // The file system mounted at /sys may describe the interfaces of another network namespace.
    let is_described = listed.index.is_none_or(|number| index == Some(number));
    let of_link =
        |what: &str| read(format!("/sys/class/net/{name}/{what}")).filter(|_| is_described);
    let flags = of_link("flags")
        .and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok());
    let filters = ["all", name].map(|which| {
        read(format!("/proc/sys/net/ipv4/conf/{which}/rp_filter")).and_then(|t| t.parse().ok())
    });
    let has_link = listed.is_oper_up();
    Some(InterfaceFacts {
        mtu: of_link("mtu").and_then(|text| text.parse().ok()),
        is_loopback: listed.is_loopback(),
        is_up: has_link || flags.is_some_and(|flags| flags & UP != 0),
        has_link,
        // A property that the system does not report counts as good.
        has_multicast: flags.is_none_or(|flags| flags & MULTICAST != 0),
        // The kernel takes the larger of the two; 1 is strict.
        is_strict: filters.into_iter().flatten().max() == Some(1_u32),
        name: name.to_owned(),
    })
}

/// The members of lists at which no process takes datagrams, as far as their hosts, or the routers
/// on the way, say so. A member whose host is down, or silent about it, is not among them.
pub fn absent(groups: &Groups) -> Vec<Absent> {
    let mut asked = Vec::new();
    let mut absent = Vec::new();
    for role in PLACES {
        let Group::Unicast(members) = groups.of(role) else { continue };
        for (id, address) in (1..).zip(members.iter().copied()) {
            let node = NodeId::new(role, id);
            match ask(address) {
                Ok(socket) => asked.push((node, address, socket)),
                Err(error) => absent.push(Absent::new(node, address, &error)),
            }
        }
    }
    if !asked.is_empty() {
        thread::sleep(REFUSAL);
    }
    for (node, address, socket) in asked {
        // Roles do not answer a probe: what comes is the refusal of a host.
        if let Ok(Some(error)) | Err(error) = socket.take_error() {
            absent.push(Absent::new(node, address, &error));
        }
    }
    absent.sort_by_key(|absent| (absent.node.role, absent.node.id));
    absent
}

/// Sends what roles drop as a doctor's probe. The socket then knows if it is refused.
fn ask(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    // As long as a header, so that roles count it among probes.
    let mut probe = [0; 64];
    probe[..PROBE_MAGIC.len()].copy_from_slice(&PROBE_MAGIC);
    socket.send(&probe)?;
    Ok(socket)
}

/// Why `path`, or where it would be made, cannot be written; none when it can. `mark` distinguishes
/// this process's file from those of others.
pub fn folder(path: &Path, role: Role, mark: u64) -> Option<FolderFacts> {
    let error = try_to_write(path, mark).err()?;
    Some(FolderFacts { path: path.display().to_string(), role, error: error.to_string() })
}

fn try_to_write(path: &Path, mark: u64) -> io::Result<()> {
    let here = PathBuf::from(".");
    let existing = path.ancestors().find(|folder| folder.exists());
    // A relative path that does not exist begins in the working directory.
    let folder = existing.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(&here);
    if !folder.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    let file = folder.join(format!(".paxos-doctor-{mark:016x}"));
    OpenOptions::new().write(true).create_new(true).open(&file)?;
    fs::remove_file(file)
}

/// A socket that the kernel dropped datagrams of: its inode, its port, and how many.
pub type Dropped = (String, u16, u64);

/// The drops so far of every UDP socket on one of these ports.
pub fn drops(ports: &[u16]) -> Vec<Dropped> {
    let tables = ["/proc/net/udp", "/proc/net/udp6"];
    tables
        .into_iter()
        .flat_map(|path| parse_drops(&fs::read_to_string(path).unwrap_or_default(), ports))
        .collect()
}

/// Reads a table of sockets, as the kernel prints it.
fn parse_drops(table: &str, ports: &[u16]) -> Vec<Dropped> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // The second column is the address, the tenth the inode, the last one counts drops.
        let port = u16::from_str_radix(words.get(1)?.rsplit(':').next()?, 16).ok()?;
        let inode = (*words.get(9)?).to_owned();
        let count: u64 = words.last()?.parse().ok()?;
        (ports.contains(&port)).then_some((inode, port, count))
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// The groups on these ports to which more sockets are bound than are members: an interface that is
/// deleted takes its memberships along.
pub fn deaf(ports: &[u16]) -> Vec<Deaf> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    compare_members(&read("/proc/net/udp"), &read("/proc/net/igmp"), ports)
}

/// Compares a table of sockets with one of memberships, as the kernel prints them.
fn compare_members(sockets: &str, members: &str, ports: &[u16]) -> Vec<Deaf> {
    let mut bound: BTreeMap<&str, usize> = BTreeMap::new();
    for line in sockets.lines().skip(1) {
        let address = line.split_whitespace().nth(1).and_then(|word| word.split_once(':'));
        let Some((address, port)) = address else { continue };
        if u16::from_str_radix(port, 16).is_ok_and(|port| ports.contains(&port)) {
            *bound.entry(address).or_default() += 1;
        }
    }
    let deaf = |(address, bound): (&str, usize)| {
        // The kernel prints the bytes of an address as a number of this machine.
        let group = Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes());
        // One line for each interface: the group, and how many sockets joined it there.
        let joined = members.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(address)).then(|| words.next()?.parse::<usize>().ok())?
        });
        let members = joined.sum();
        (group.is_multicast() && members < bound).then_some(Deaf { group, bound, members })
    };
    bound.into_iter().filter_map(deaf).collect()
}

/// The bridges of this host that take groups to members only, and ask for members by IGMPv2: a host
/// that hears another one answer keeps silent then, and a bridge that has just begun to ask does
/// not know it.
pub fn bridges() -> Vec<String> {
    let names = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let asks = |entry: fs::DirEntry| {
        let says = |what: &str| {
            let path = entry.path().join("bridge").join(what);
            fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let is_it = says("multicast_snooping") == "1"
            && says("multicast_querier") == "1"
            && says("multicast_igmp_version") == "2";
        is_it.then(|| entry.file_name().to_string_lossy().into_owned())
    };
    names.filter_map(asks).collect()
}

/// The drops in between, at sockets that existed before and after.
pub fn compare(before: &[Dropped], after: &[Dropped]) -> Vec<Drops> {
    let drop = |(inode, port, count): &Dropped| {
        let (_, _, earlier) = before.iter().find(|(same, _, _)| same == inode)?;
        let more = count.saturating_sub(*earlier);
        (*count > 0).then_some(Drops { port: *port, count: *count, more })
    };
    after.iter().filter_map(drop).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_described() {
        let facts = interface("lo").unwrap();
        assert!(facts.is_loopback && facts.is_up && facts.has_link, "{facts:?}");
        assert!(facts.mtu.is_some());
        assert_eq!(interface("lo9"), None);
    }

    #[test]
    fn a_folder_is_tried_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert_eq!(super::folder(&path.join("not/there/yet"), Role::Acceptor, 1), None);
        assert_eq!(super::folder(path, Role::Acceptor, 1), None);
        assert_eq!(fs::read_dir(path).unwrap().count(), 0);
        assert_eq!(super::folder(Path::new("nowhere-yet"), Role::Acceptor, 1), None);
        fs::write(path.join("file"), "").unwrap();
        let facts = super::folder(&path.join("file"), Role::Acceptor, 1).unwrap();
        assert!(facts.error.contains("directory"), "{facts:?}");
        assert!(super::folder(&path.join("file/data"), Role::Learner, 1).is_some());
    }

    #[test]
    fn sockets_without_a_membership_are_found() {
        let socket = |at: &str| format!("1: {at} 00000000:0000 07 0:0 00:0 0 0 0 4711 2 0 0\n");
        let sockets = format!(
            "head\n{}{}{}{}",
            socket("010000EF:1388"),
            socket("010000EF:1770"),
            socket("020000EF:1388"),
            socket("0100007F:1388")
        );
        let members = |users: u32| {
            format!(
                "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
                 2\teth0      :     2      V3\n\t\t\t\t010000EF     {users} 0:00000000\t\t0\n\
                 \t\t\t\t020000EF     1 0:00000000\t\t0\n"
            )
        };
        let find = |users| compare_members(&sockets, &members(users), &[5000, 6000]);
        let group = Ipv4Addr::new(239, 0, 0, 1);
        assert_eq!(find(1), [Deaf { group, bound: 2, members: 1 }]);
        assert_eq!((find(2), find(7)), (vec![], vec![]), "others may also be members");
        assert_eq!(compare_members(&sockets, "", &[5000]).len(), 2, "a host without any");
        assert_eq!(compare_members("", "garbage\n", &[5000]), []);
    }

    #[test]
    fn drops_are_read_and_compared() {
        let table = |drops: u64| {
            format!(
                "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt \
                 uid timeout inode ref pointer drops\n\
                 1: 010000EF:1388 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 4711 \
                 2 0000000000000000 {drops}\n\
                 2: 010000EF:1770 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 4712 \
                 2 0000000000000000 9\n garbage\n"
            )
        };
        let [before, after] = [3, 5].map(|drops| parse_drops(&table(drops), &[5000]));
        assert_eq!(before, [("4711".to_owned(), 5000, 3)]);
        assert_eq!(compare(&before, &after), [Drops { port: 5000, count: 5, more: 2 }]);
        assert_eq!(compare(&[], &after), [], "a process that came meanwhile");
    }
}
