//! Where a process keeps its snapshots, and how the learner hears of them.

use std::sync::Arc;

use log::info;

use super::held;
use super::inbox::Offered;
use super::process::Process;
use super::start_error::{StartError, StartErrorKind, no_thread};
use crate::clock::Clock;
use crate::config::Config;
use crate::protocol::message::StateKind;
use crate::protocol::settings::Settings;
use crate::protocol::types::{NodeId, Role};
use crate::snapshots::keeper::{Keeper, Shop};
use crate::snapshots::shelf::{Found, Shelf};
use crate::snapshots::tally::Tally;
use crate::storage::directory::Directory;

/// Opens the snapshots of learner `id`, if the configuration says where they are. No other process
/// can use them meanwhile.
///
/// # Errors
///
/// When the directory cannot be used.
pub(crate) fn open(
    config: &Config,
    id: u32,
    kind: StateKind,
) -> Result<Option<Shop<Directory>>, StartError> {
    let Some(snapshots) = &config.snapshots else { return Ok(None) };
    let path = snapshots.join(format!("learner-{id}"));
    let directory = held::open(&path, NodeId::new(Role::Learner, id), "snapshots")?;
    Ok(Some(Shop { shelf: Shelf::new(directory), cluster: config.cluster.clone(), kind }))
}

/// The newest undamaged snapshot, if there are any.
///
/// # Errors
///
/// When there are some, and none can be used.
pub(crate) fn newest(shop: &mut Shop<Directory>) -> Result<Option<Found>, StartError> {
    let found = shop.shelf.newest(&shop.cluster, shop.kind);
    let found = found.map_err(|error| StartError::new(StartErrorKind::Data, error.to_string()))?;
    if let Some(found) = &found {
        let path = shop.shelf.path_of(&found.name);
        info!(
            target: "paxos::report",
            "goes on with instance {} from {path}", found.label.of()
        );
    }
    Ok(found)
}

/// Starts the thread that writes snapshots and does all other work on them for `process`.
///
/// # Errors
///
/// When the operating system gives no thread.
pub(crate) fn keep(
    shop: Shop<Directory>,
    process: &mut Process,
    settings: Settings,
    clock: Clock,
) -> Result<Keeper, StartError> {
    let inbox = process.inbox_sender.clone();
    // A role that has ended need not hear of it: the next start finds what is stored.
    let tell = move |input| inbox.try_input(input) != Offered::Full;
    let tally = Arc::clone(process.stats().snapshots.get_or_init(Arc::<Tally>::default));
    let keeper = Keeper::spawn(shop, settings, clock, tally, tell).map_err(no_thread)?;
    process.errands = Some(keeper.errands());
    Ok(keeper)
}
