//! Is a process alive, and is it ready? If not, why not?
//!
//! *Alive* asks whether a restart would help: only a loop that has stopped turning is cured by
//! that. *Ready* asks whether the process can do its part now; it may become ready by itself, so it
//! should not be restarted for that.

use std::time::Duration;

use super::{Shown, Watched};
use crate::protocol::types::Role;

/// A loop that has not turned for this long is not alive. It turns once a second when nothing
/// happens, and a disk may be slow for a while.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// An acceptor whose disk has been at work for this long is not ready.
const STORING_MAX: Duration = Duration::from_secs(2);

/// A learner that lacks more decided instances than this is not ready: it is still fetching the
/// past, or falls behind.
const MISSING_MAX: u64 = 10_000;

/// Why the process is not alive; empty when it is.
pub fn not_alive(shown: &Shown) -> Vec<String> {
    shown.roles.iter().filter_map(silence).collect()
}

/// Why the process is not ready; empty when it is.
pub fn not_ready(shown: &Shown) -> Vec<String> {
    shown.roles.iter().flat_map(reasons).collect()
}

fn silence(role: &Watched) -> Option<String> {
    let (node, idle) = (role.node, role.gauges.idle());
    let seconds = idle.as_secs();
    (idle > SILENCE_MAX).then(|| format!("{node}: its loop has not turned for {seconds} s"))
}

fn reasons(role: &Watched) -> Vec<String> {
    let node = role.node;
    if let Some(silence) = silence(role) {
        // Its last figures say nothing about now.
        return vec![silence];
    }
    let figures = role.gauges.figures();
    let mut reasons = Vec::new();
    if figures.leader.is_none() {
        let whose = "no leader that a quorum of the acceptors answers";
        reasons.push(match node.role {
            Role::Proposer if figures.leads => {
                format!("{node}: leads, and no quorum of the acceptors answers it")
            }
            Role::Proposer => format!("{node}: knows {whose}"),
            Role::Client | Role::Acceptor | Role::Learner => format!("{node}: hears {whose}"),
        });
    }
    let storing = role.gauges.storing();
    if node.role == Role::Acceptor && storing > STORING_MAX {
        let seconds = storing.as_secs();
        reasons.push(format!("{node}: its disk has not finished a write for {seconds} s"));
    }
    if node.role == Role::Learner && figures.missing > MISSING_MAX {
        let missing = figures.missing;
        reasons.push(format!("{node}: lacks {missing} decided instances that others hold"));
    }
    reasons
}
