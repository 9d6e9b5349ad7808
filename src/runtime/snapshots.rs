//! Where a process keeps its snapshots, and who hears of them.

use log::info;

use super::held;
use super::inbox::{InboxSender, Offered};
use super::start_error::{StartError, StartErrorKind, no_thread};
use crate::clock::Clock;
use crate::config::Config;
use crate::protocol::actor::Input;
use crate::protocol::types::{NodeId, Role};
use crate::snapshots::file::Kind;
use crate::snapshots::keeper::{Keeper, Shop};
use crate::snapshots::shelf::{Found, Shelf};

/// The snapshots of learner `id`, if the configuration says where they are. No other process can
/// use them meanwhile.
///
/// # Errors
///
/// When the directory cannot be used.
pub(crate) fn open(config: &Config, id: u32, kind: Kind) -> Result<Option<Shop>, StartError> {
    let Some(snapshots) = &config.snapshots else { return Ok(None) };
    let path = snapshots.join(format!("learner-{id}"));
    let directory = held::open(&path, NodeId::new(Role::Learner, id), "snapshots")?;
    Ok(Some(Shop { shelf: Shelf::new(directory), cluster: config.cluster.clone(), kind }))
}

/// The newest snapshot that is whole, if there are any.
///
/// # Errors
///
/// When there are some, and none can be used.
pub(crate) fn newest(shop: &mut Shop) -> Result<Option<Found>, StartError> {
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

/// Starts the thread that writes snapshots. The role behind `inbox` hears of each.
///
/// # Errors
///
/// When the operating system gives no thread.
pub(crate) fn keep(shop: Shop, inbox: InboxSender, clock: Clock) -> Result<Keeper, StartError> {
    // Of a role that has ended nobody needs to hear: what is kept is found at the next start.
    let kept = move |head| inbox.try_input(Input::Kept(head)) != Offered::Full;
    Keeper::spawn(shop, clock, kept).map_err(no_thread)
}
