//! `paxos status`: who runs, who leads, and how far each is.
//!
//! It listens to the groups as a doctor does, without being a member, and asks the acceptors the
//! one question that changes nothing (`doctor`). Everything it shows is in messages that processes
//! send each other anyway: heartbeats have ballots and positions, and acceptors repeat which
//! proposers they hear.
//!
//! `hearing` and `view` are pure; this file opens sockets.

mod hearing;
mod view;

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use self::hearing::Hearing;
pub use self::view::View;
use crate::auth::key::KeyRing;
use crate::auth::seal::Seal;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::doctor::{DOCTOR_ID, LookError, hear, question};
use crate::net::interface::{Interface, host_interfaces};
use crate::net::multicast::{MulticastReceiver, MulticastSender, Options};
use crate::net::{DatagramSender, Group};
use crate::protocol::settings::Settings;
use crate::protocol::types::{NodeId, Role, Sender};
use crate::wire::Codec;

/// The acceptors are asked, and the view is renewed, this often at most.
const PERIOD_MIN: Duration = Duration::from_secs(1);

/// How to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusOptions {
    /// The configuration file, as typed.
    pub conf: String,
    /// Look again and again.
    pub watch: bool,
    /// One JSON object for each look.
    pub json: bool,
    /// A cluster that is degraded has an exit status of its own.
    pub strict: bool,
    /// How long each look takes; none means as long as it takes to hear everybody.
    pub duration: Option<Duration>,
}

/// Looks at the cluster, and shows each view, until `show` breaks off. `number` is a random number
/// that identifies this process.
///
/// # Errors
///
/// When the configuration cannot be used, or the groups cannot be heard.
pub fn look(
    options: &StatusOptions,
    number: u64,
    clock: Clock,
    mut show: impl FnMut(View) -> ControlFlow<()>,
) -> Result<(), LookError> {
    let config = config::load(&options.conf)?;
    if let Group::Unicast(_) = config.groups.proposers {
        return Err(LookError::Listed(options.conf.clone()));
    }
    let (interface, mtu) = config
        .interface
        .among(&host_interfaces().unwrap_or_default())
        .map_err(|what| LookError::Interface(options.conf.clone(), what))?;
    let settings = config.settings(mtu)?;
    let ring = config.key_file.as_deref().map(KeyRing::read).transpose()?;
    let ears = Ears::open(&config, interface)?;
    let sender = Sender { node: NodeId::new(Role::Proposer, DOCTOR_ID), boot: number };
    let codec =
        Codec::new(&config.cluster, settings.acceptor_count, sender, settings.datagram_bytes);
    let codec = if ring.is_some() { codec.sealed() } else { codec };
    let seal = ring.map(|ring| Seal::new(&ring, &config.cluster, number));
    let hearing = Hearing::new(codec.clone(), seal, &config.cluster, &settings);
    let period = options.duration.unwrap_or_else(|| period(&settings));
    ears.listen(hearing, clock, |hearing| {
        loop {
            let question = hearing.lock().sealed(question(&codec));
            // A question that does not leave is one that nobody answers, and the view shows it.
            let _ = ears.sender.send(Role::Acceptor, (&question).into());
            thread::sleep(period);
            let view = hearing.lock().view(clock.now());
            if show(view).is_break() || !options.watch {
                return;
            }
        }
    })
}

/// Long enough to hear every process that says anything twice.
fn period(settings: &Settings) -> Duration {
    PERIOD_MIN.max(settings.leader_timeout * 4).max(settings.heartbeat_interval * 8)
}

/// The sockets.
struct Ears {
    groups: Vec<(Role, MulticastReceiver)>,
    sender: MulticastSender,
}

impl Ears {
    fn open(
        config: &Config,
        interface: Interface,
    ) -> Result<Self, crate::net::multicast::NetError> {
        let (ttl, buffer_bytes) = (config.ttl, config.socket_buffer_bytes);
        let options = Options { interface, ttl, buffer_bytes };
        let mut groups = Vec::new();
        for role in Role::ALL {
            if let Group::Multicast(group) = *config.groups.of(role) {
                groups.push((role, MulticastReceiver::join(group, options)?));
            }
        }
        Ok(Ears { groups, sender: MulticastSender::open(&config.groups, options)? })
    }

    /// Hears, a thread for each group, while `work` lasts.
    fn listen(
        &self,
        hearing: Hearing,
        clock: Clock,
        work: impl FnOnce(&Mutex<Hearing>),
    ) -> Result<(), LookError> {
        let (hearing, is_over) = (Mutex::new(hearing), AtomicBool::new(false));
        let spawned: io::Result<()> = thread::scope(|scope| {
            for (role, receiver) in &self.groups {
                let (role, hearing, is_over) = (*role, &hearing, &is_over);
                let spawned = receiver.handle().and_then(|socket| {
                    thread::Builder::new().spawn_scoped(scope, move || {
                        hear(&socket, is_over, |source, datagram| {
                            hearing.lock().on_datagram(clock.now(), role, source, datagram);
                        });
                    })
                });
                if let Err(error) = spawned {
                    is_over.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            work(&hearing);
            is_over.store(true, Ordering::Relaxed);
            Ok(())
        });
        spawned.map_err(LookError::Thread)
    }
}
