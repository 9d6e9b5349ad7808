//! Clients that measure: many in one process, each with a loop and sockets of its own.

use std::sync::Arc;

use parking_lot::Mutex;

use super::ending::Ending;
use super::entropy;
use super::laps::Laps;
use super::load::{Load, LoadOptions, Measured, Together};
use super::node::{Exit, NodeOptions, attend};
use super::process::{Process, own_interfaces};
use super::start_error::{StartError, StartErrorKind};
use super::stdin::LineLimit;
use crate::clock::Clock;
use crate::config::{self, Config, Endpoint};
use crate::net::lossy::Losing;
use crate::protocol::client::Client;
use crate::protocol::types::{NodeId, Role, Sender, Session};
use crate::results::output::NoOutput;

/// Runs `clients` measuring clients at once, from the options' id on, and adds up what they saw.
/// The first of them times `laps`, if there are any.
pub fn measure(
    options: &NodeOptions,
    clients: u32,
    load: LoadOptions,
    mut laps: Option<Laps>,
    clock: Clock,
) -> Result<(Measured, Exit), StartError> {
    let config = config::load(&options.conf)?;
    let first = options.node.id;
    let places = bench_places(&config, first, clients)?;
    let mtu = places.iter().filter_map(|(_, place)| place.mtu).min();
    let settings = config.settings(mtu)?;
    let limit = LineLimit::new(&settings, options.assignment.assigned_by());
    if load.value_bytes > limit.bytes {
        let cure = match limit.auto_bytes {
            Some(most) => format!("with `auto` as the first instance it is {most}"),
            None => "value_bytes in the configuration says so".to_owned(),
        };
        let sentence = format!(
            "a value of {} bytes is too long; {} is the longest, {cure}",
            load.value_bytes, limit.bytes
        );
        return Err(StartError::new(StartErrorKind::Configuration, sentence));
    }
    let (mut ready, together) = (Vec::new(), Arc::new(Together::new(clients)));
    for (id, place) in places {
        let boot = entropy::random_u64()?;
        let sender = Sender { node: NodeId::new(Role::Client, id), boot };
        let losing = Losing { ratio: options.loss, seed: boot };
        let process = Process::open(&config, &settings, place, sender, losing, clock)?;
        let session = Session { client: id, boot };
        let client = Client::new(session, options.assignment, settings.clone());
        let report = Arc::new(Mutex::new(Measured::new()));
        let actor = Load::new(session, client, load, Arc::clone(&together), Arc::clone(&report))
            .with_laps(laps.take());
        ready.push((process, actor, report));
    }
    let inboxes = ready.iter().map(|(process, ..)| process.inbox_sender.clone()).collect();
    let ending = Ending::new(options, inboxes)?;
    let start = |(process, actor, report): (Process, Load, _)| {
        Ok::<_, StartError>((process.start(actor, Box::new(NoOutput))?, report))
    };
    let running: Vec<_> = ready.into_iter().map(start).collect::<Result<_, _>>()?;
    let (mut sum, mut exit) = (Measured::new(), Exit::Well);
    for (client, report) in running {
        let ended = attend(&client, &ending);
        exit = if ended == Exit::Well { exit } else { ended };
        sum.add(&report.lock());
    }
    Ok((sum, exit))
}

/// The addresses of `count` measuring clients, from id `first` on.
fn bench_places(
    config: &Config,
    first: u32,
    clients: u32,
) -> Result<Vec<(u32, Endpoint)>, StartError> {
    let host = own_interfaces();
    let place = |id| {
        let place = config.endpoint(NodeId::new(Role::Client, id), &host).map_err(|error| {
            let sentence = format!(
                "{error} (--first-id {first} --clients {clients} takes the ids {first}..{})",
                first + clients - 1
            );
            StartError::from(error).reworded(sentence)
        });
        Ok((id, place?))
    };
    (first..first + clients).map(place).collect()
}
