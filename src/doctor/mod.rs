//! `paxos doctor`: what is wrong with the network of a cluster? It answers in plain sentences.
//!
//! It is started on every host at about the same time. Doctors send each other probes over the
//! groups of the cluster, and hear which roles run; their observations become findings, each with
//! its cure. Roles need not know of doctors.
//!
//! ```text
//!   host   --- looks at this host --------.
//!   survey --- sends, hears ---> hearing --+--> facts, hearing ---> diagnosis ---> finding
//! ```
//!
//! `probe`, `hearing`, `diagnosis`, `neighbours` and `finding` are pure; `host` and `survey`
//! touch the system. Nothing that a doctor sends changes a role's state.

mod diagnosis;
mod error;
mod facts;
mod finding;
mod hearing;
mod host;
mod neighbours;
mod probe;
mod survey;

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

pub use self::error::LookError;
use self::facts::{Facts, Settled};
pub use self::finding::{Finding, Report, Severity, Topic, names_not_heard};
pub(crate) use self::hearing::DOCTOR_ID;
use self::survey::Survey;
pub(crate) use self::survey::{hear, question};
use crate::auth::key::KeyRing;
use crate::auth::seal::{self, SEAL_BYTES};
use crate::clock::Clock;
use crate::config;
use crate::net::interface::{HostInterface, Interface, host_interfaces};
use crate::protocol::types::Role;

/// How long a look at this host alone takes: enough for a few rounds of probes.
const LOCAL: Duration = Duration::from_millis(300);

/// How many other interfaces are listened on: each takes a socket and a thread for every group.
const INTERFACES_MAX: usize = 8;

/// The options of an examination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorOptions {
    /// The configuration file, as typed.
    pub conf: String,
    /// Only this host.
    pub is_local: bool,
    /// Also listen on all other interfaces of this host.
    pub is_everywhere: bool,
    /// How long to send and hear.
    pub duration: Duration,
    /// How many hosts there should be, this one included.
    pub expected: Option<u32>,
    /// One JSON object instead of lines.
    pub json: bool,
}

/// Examines this host and, unless the examination is local, those that can be heard. `doctor` is a
/// random number that identifies this doctor.
///
/// # Errors
///
/// When the configuration cannot be used.
pub fn examine(options: &DoctorOptions, doctor: u64, clock: Clock) -> Result<Report, LookError> {
    let config = config::load(&options.conf)?;
    let host = host_interfaces().unwrap_or_default();
    let chosen = config.interface.among(&host);
    let mtu = chosen.as_ref().ok().and_then(|(_, mtu)| *mtu);
    let settings = config.settings(mtu)?;
    let ring = config.key_file.as_deref().map(KeyRing::read).transpose()?;
    let seal_bytes = if ring.is_some() { SEAL_BYTES } else { 0 };
    let key = ring.as_ref().map(|ring| seal::fingerprint(ring, &config.cluster));
    let settled = Settled::new(&config, settings.datagram_bytes + seal_bytes);
    let data = config.data.iter().map(|data| (data.as_path(), Role::Acceptor));
    let folders = data.chain([(Path::new("results"), Role::Learner)]);
    let listed = |interface: &HostInterface| {
        let name = interface.name.clone();
        interface
            .addresses
            .iter()
            .map(move |(address, _)| (name.clone(), *address))
            .collect::<Vec<_>>()
    };
    let mut facts = Facts {
        is_local: options.is_local,
        settings: Settled { key, ..settled },
        addresses: host.iter().flat_map(listed).collect(),
        interface: None,
        no_interface: String::new(),
        buffer_bytes: None,
        failures: Vec::new(),
        joined: 0,
        unsent: [const { None }; 4],
        folders: folders.filter_map(|(path, role)| host::folder(path, role, doctor)).collect(),
        drops: Vec::new(),
        absent: if options.is_local { Vec::new() } else { host::absent(&config.groups) },
        deaf: host::deaf(&config.groups.addresses().map(|at| at.port()).collect::<Vec<_>>()),
        bridges: host::bridges(),
        missed: 0,
    };
    let before = host::drops(&facts.settings.ports);
    let duration = if options.is_local { LOCAL } else { options.duration };
    let hearing = match chosen {
        Ok((interface, _)) if facts.settings.multicast != 0 => {
            let name = host.iter().find(|own| own.index == interface.index);
            facts.interface = name.and_then(|own| host::interface(&own.name));
            if let Some(address) = interface.v4 {
                facts.settings.interface = address.to_string();
            }
            let elsewhere =
                if options.is_everywhere { other_interfaces(&host, interface) } else { Vec::new() };
            let (config, ring) = (&config, ring.as_ref());
            Survey { config, ring, interface, doctor, duration, elsewhere, clock }.run(&mut facts)
        }
        Ok(_) => None,
        Err(what) => {
            facts.no_interface = what;
            None
        }
    };
    facts.drops = host::compare(&before, &host::drops(&facts.settings.ports));
    Ok(diagnosis::diagnose(&facts, hearing.as_ref(), options.expected))
}

/// The interfaces that are neither the configured one nor the loopback, or some of them, each with
/// an address.
fn other_interfaces(host: &[HostInterface], configured: Interface) -> Vec<(IpAddr, Interface)> {
    let other = |own: &HostInterface| {
        let (address, _) = own.addresses.iter().find(|(address, _)| !address.is_loopback())?;
        let mut of_v4 = own.addresses.iter().filter_map(|(address, _)| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let interface = Interface { v4: of_v4.next(), index: own.index };
        (own.index != configured.index).then_some((*address, interface))
    };
    host.iter().filter_map(other).take(INTERFACES_MAX).collect()
}
