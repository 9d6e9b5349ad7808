//! Which interface does multicast use? It is chosen by name, address or network among those of this
//! host.
//!
//! Choosing is pure; [`host_interfaces`] alone asks the system.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::{fmt, fs, io};

/// How the configuration names an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceChoice {
    /// By its name, such as `eth0`.
    Name(String),
    /// By an address it has.
    Address(IpAddr),
    /// By the network it has an address in, and the length of that network's prefix in bits.
    Network(IpAddr, u8),
}

impl FromStr for InterfaceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("interface {text} is {what}"));
        if let Some((address, length)) = text.split_once('/') {
            let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u8>())
            else {
                return wrong("not a network, such as 10.1.0.0/16");
            };
            let most = if address.is_ipv4() { 32 } else { 128 };
            return if length > most {
                wrong(&format!("not a network: its prefix has more than {most} bits"))
            } else if address.is_multicast() {
                wrong("a range of groups, and not a network of hosts")
            } else {
                Ok(InterfaceChoice::Network(address, length))
            };
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return if address.is_multicast() {
                wrong("a group, and not an address of a host")
            } else if address.is_unspecified() {
                wrong("no address of a host; name an interface, such as lo or 127.0.0.1")
            } else {
                Ok(InterfaceChoice::Address(address))
            };
        }
        let looks_like_an_address =
            text.contains(':') || text.chars().all(|letter| letter == '.' || letter.is_numeric());
        if looks_like_an_address || text.len() >= LONGEST_NAME {
            return wrong("neither a name, such as eth0, nor an address, such as 127.0.0.1");
        }
        Ok(InterfaceChoice::Name(text.to_owned()))
    }
}

/// Linux gives interfaces names that are shorter than this.
const LONGEST_NAME: usize = 16;

impl fmt::Display for InterfaceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InterfaceChoice::Name(name) => f.write_str(name),
            InterfaceChoice::Address(address) => address.fmt(f),
            InterfaceChoice::Network(address, length) => write!(f, "{address}/{length}"),
        }
    }
}

/// An interface, in the form that sockets need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// For IPv4: one of its addresses.
    pub v4: Option<Ipv4Addr>,
    /// For IPv6: its number. 0 leaves the choice to the system.
    pub index: u32,
}

impl Interface {
    /// The loopback interface; Linux gives it the number 1.
    pub const LOOPBACK: Interface = Interface { v4: Some(Ipv4Addr::LOCALHOST), index: 1 };

    /// Whether it is the loopback interface, by number or by address.
    pub fn is_loopback(self) -> bool {
        self.index == Self::LOOPBACK.index || self.v4.is_some_and(|own| own.is_loopback())
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.v4 {
            Some(address) => address.fmt(f),
            None => write!(f, "interface number {}", self.index),
        }
    }
}

/// An interface of this host that has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Its MTU in bytes, where the system says it.
    pub mtu: Option<usize>,
    /// Its addresses, each with the length of its network's prefix in bits.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl HostInterface {
    /// Whether datagrams to `address` end at this interface. Every address of a loopback network
    /// belongs to this host, not only the listed one.
    fn carries(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(own, length)| {
            *own == address || own.is_loopback() && is_within(address, *own, *length)
        })
    }

    /// Its first IPv4 address.
    fn first_v4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|(address, _)| as_v4(*address))
    }
}

fn as_v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// Whether `address` begins with the first `length` bits of `network`.
pub fn is_within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            differing.leading_zeros() >= u32::from(length)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            differing.leading_zeros() >= u32::from(length)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// The interfaces of this host.
///
/// # Errors
///
/// When the system does not list them.
pub fn host_interfaces() -> io::Result<Vec<HostInterface>> {
    let mut found: Vec<HostInterface> = Vec::new();
    for listed in if_addrs::get_if_addrs()? {
        // An address may have a label: `eth0:1` is eth0.
        let name = listed.name.split(':').next().unwrap_or_default().to_owned();
        let length = match &listed.addr {
            if_addrs::IfAddr::V4(address) => address.prefixlen,
            if_addrs::IfAddr::V6(address) => address.prefixlen,
        };
        let address = (listed.ip(), length);
        if let Some(known) = found.iter_mut().find(|known| known.name == name) {
            known.addresses.push(address);
            continue;
        }
        let mtu = fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok();
        let mtu = mtu.and_then(|text| text.trim().parse().ok());
        let index = listed.index.unwrap_or(0);
        found.push(HostInterface { name, index, mtu, addresses: vec![address] });
    }
    Ok(found)
}

/// The MTU of the interface of `host` that carries `address`, in bytes.
pub fn mtu_of(address: IpAddr, host: &[HostInterface]) -> Option<usize> {
    host.iter().find(|interface| interface.carries(address))?.mtu
}

impl InterfaceChoice {
    /// The interface of `host` that is meant, and its MTU in bytes. Where the system lists no
    /// interfaces, an address is taken as it is.
    ///
    /// # Errors
    ///
    /// When there is none, or several: a sentence without the place, which lists the interfaces.
    pub fn among(&self, host: &[HostInterface]) -> Result<(Interface, Option<usize>), String> {
        if let (InterfaceChoice::Address(IpAddr::V4(address)), []) = (self, host) {
            return Ok((Interface { v4: Some(*address), index: 0 }, None));
        }
        let fitting: Vec<&HostInterface> =
            host.iter().filter(|interface| self.fits(interface)).collect();
        match fitting[..] {
            [interface] => {
                let v4 = match self {
                    InterfaceChoice::Address(IpAddr::V4(address)) => Some(*address),
                    InterfaceChoice::Network(network, length) => {
                        let own = interface.addresses.iter().map(|(address, _)| *address);
                        let own = own.filter(|own| is_within(*own, *network, *length));
                        own.filter_map(as_v4).next().or_else(|| interface.first_v4())
                    }
                    InterfaceChoice::Name(_) | InterfaceChoice::Address(IpAddr::V6(_)) => {
                        interface.first_v4()
                    }
                };
                Ok((Interface { v4, index: interface.index }, interface.mtu))
            }
            [] => Err(format!("this host has no interface {self}; it has {}", listing(host))),
            _ => Err(format!(
                "several interfaces of this host are in {self}; name one of {}",
                listing(host)
            )),
        }
    }

    /// Whether no interface of `host` is meant.
    pub fn is_missing(&self, host: &[HostInterface]) -> bool {
        !host.iter().any(|interface| self.fits(interface))
    }

    fn fits(&self, interface: &HostInterface) -> bool {
        match self {
            InterfaceChoice::Name(name) => interface.name == *name,
            InterfaceChoice::Address(address) => interface.carries(*address),
            InterfaceChoice::Network(network, length) => {
                interface.addresses.iter().any(|(own, _)| is_within(*own, *network, *length))
            }
        }
    }
}

/// `lo (127.0.0.1, ::1), eth0 (10.1.0.5)`.
fn listing(host: &[HostInterface]) -> String {
    let one = |interface: &HostInterface| {
        let addresses: Vec<String> =
            interface.addresses.iter().map(|(address, _)| address.to_string()).collect();
        format!("{} ({})", interface.name, addresses.join(", "))
    };
    if host.is_empty() {
        return "none that the system tells".to_owned();
    }
    host.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Vec<HostInterface> {
        let interface = |name: &str, index, mtu, addresses: &[(&str, u8)]| HostInterface {
            name: name.to_owned(),
            index,
            mtu: Some(mtu),
            addresses: addresses
                .iter()
                .map(|(text, bits)| (text.parse().unwrap(), *bits))
                .collect(),
        };
        vec![
            interface("lo", 1, 65536, &[("127.0.0.1", 8), ("::1", 128)]),
            interface("eth0", 2, 1500, &[("10.1.2.3", 16), ("10.1.2.4", 16), ("fd00::3", 64)]),
            interface("eth1", 3, 9000, &[("10.2.0.3", 16)]),
            interface("six", 4, 1400, &[("fd00:0:0:1::4", 64)]),
        ]
    }

    /// The chosen number and IPv4 address, or the error.
    fn chosen(text: &str) -> Result<(u32, String), String> {
        let (interface, _) = text.parse::<InterfaceChoice>()?.among(&host())?;
        Ok((interface.index, interface.v4.map(|v4| v4.to_string()).unwrap_or_default()))
    }

    #[test]
    fn an_interface_is_chosen_by_name_address_or_network() {
        for (text, index, v4) in [
            ("lo", 1, "127.0.0.1"),
            ("eth0", 2, "10.1.2.3"),
            ("six", 4, ""),
            ("127.0.0.1", 1, "127.0.0.1"),
            ("127.0.0.9", 1, "127.0.0.9"),
            ("::1", 1, "127.0.0.1"),
            ("10.1.2.4", 2, "10.1.2.4"),
            ("fd00::3", 2, "10.1.2.3"),
            ("10.1.0.0/16", 2, "10.1.2.3"),
            ("10.2.0.0/16", 3, "10.2.0.3"),
            ("10.1.2.4/32", 2, "10.1.2.4"),
            ("fd00::/64", 2, "10.1.2.3"),
        ] {
            assert_eq!(chosen(text), Ok((index, v4.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_chosen_is_refused_with_what_there_is() {
        for (text, expected) in [
            ("eth9", "no interface eth9; it has lo (127.0.0.1, ::1), eth0 ("),
            ("10.9.0.0/16", "no interface 10.9.0.0/16; it has lo"),
            ("10.0.0.0/8", "several interfaces of this host are in 10.0.0.0/8; name one of"),
            ("203.0.113.9", "no interface 203.0.113.9; it has lo"),
            ("10.1.0.0/33", "more than 32 bits"),
            ("fd00::/129", "more than 128 bits"),
            ("10.1.0.0/x", "not a network, such as 10.1.0.0/16"),
            ("eth0/16", "not a network"),
            ("239.0.0.0/8", "a range of groups"),
            ("239.0.0.1", "a group, and not an address"),
            ("ff02::1", "a group, and not an address"),
            ("0.0.0.0", "no address of a host"),
            ("127.0.0.256", "neither a name"),
            ("fe80:::1", "neither a name"),
            ("an_interface_of_a_long_name", "neither a name"),
        ] {
            let refused = chosen(text).unwrap_err();
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }

    #[test]
    fn an_address_is_enough_where_the_system_tells_nothing() {
        let address = "10.1.2.3".parse::<InterfaceChoice>().unwrap();
        let (interface, mtu) = address.among(&[]).unwrap();
        assert_eq!((interface.to_string().as_str(), mtu), ("10.1.2.3", None));
        let name = "eth0".parse::<InterfaceChoice>().unwrap();
        assert!(name.among(&[]).unwrap_err().contains("none that the system tells"));
    }

    #[test]
    fn every_loopback_address_has_the_mtu_of_the_loopback_interface() {
        let mtu = |text: &str| mtu_of(text.parse().unwrap(), &host());
        assert_eq!(mtu("127.3.2.1"), Some(65536));
        assert_eq!(mtu("fd00:0:0:1::4"), Some(1400));
        assert_eq!((mtu("10.1.9.9"), mtu("::2")), (None, None));
        let own = host_interfaces().unwrap();
        assert!(mtu_of(Ipv4Addr::LOCALHOST.into(), &own).unwrap() >= 1228);
        assert!(own.iter().any(|interface| interface.name == "lo" && interface.index == 1));
    }
}
