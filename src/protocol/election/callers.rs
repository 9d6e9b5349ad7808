//! Which proposer should take over for clients and learners that the present leader does not serve?
//!
//! Only they can tell that a leader which has its quorum is cut off from them. A plea names the
//! proposers that answered earlier ones, so both directions are proven for each pair. Of those
//! proposers one takes over: the one that most recent callers reach, so that two callers which
//! reach different proposers find one that serves both, if there is any; of several, the smallest
//! id.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::message::Plea;
use crate::protocol::pleading::OFFERS_MAX;
use crate::protocol::types::{NodeId, Time};

/// How many callers are remembered, at most.
const CALLERS_MAX: usize = 256;

/// How many proposers of a plea are believed, at most: all that it may name.
const OFFERED_MAX: usize = OFFERS_MAX;

/// How long it is remembered which proposers a caller reached.
const MEMORY: Duration = Duration::from_secs(60);

/// The recent pleas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Callers {
    pleas: BTreeMap<NodeId, Pleas>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pleas {
    /// Since when it pleads, by the clock here.
    since: Time,
    last: Time,
    /// The proposers that the caller reaches.
    offered: Vec<u32>,
}

impl Callers {
    /// `from` pleads.
    pub fn on_plea(&mut self, now: Time, from: NodeId, plea: Plea) {
        self.pleas.retain(|_, pleas| now.since(pleas.last) < MEMORY);
        if self.pleas.len() >= CALLERS_MAX && !self.pleas.contains_key(&from) {
            let oldest = self.pleas.iter().min_by_key(|(_, pleas)| pleas.last);
            let oldest = oldest.map(|(caller, _)| *caller);
            oldest.map(|caller| self.pleas.remove(&caller));
        }
        let since = Time(now.0.saturating_sub(plea.pleaded_us));
        let mut offered = plea.offered;
        offered.truncate(OFFERED_MAX);
        self.pleas.insert(from, Pleas { since, last: now, offered });
    }

    /// How many processes plead at present.
    pub fn count(&self, now: Time, patience: Duration) -> u32 {
        let lasts = |pleas: &&Pleas| now.since(pleas.last) <= patience;
        self.pleas.values().filter(lasts).count() as u32
    }

    /// Whether a process has called for `span`, under a leader that has worked since then, and `me`
    /// should serve it. `able` are willing to lead; the `unwilling` could.
    pub fn call(
        &self,
        now: Time,
        me: u32,
        since: Time,
        span: Duration,
        patience: Duration,
        (able, unwilling): (&[u32], &[u32]),
    ) -> bool {
        self.pleas.values().any(|pleas| {
            let is_calling = now.since(pleas.last) <= patience
                && pleas.last.since(pleas.since.max(since)) >= span;
            is_calling
                && self.successor(pleas, able).or_else(|| self.successor(pleas, unwilling))
                    == Some(me)
        })
    }

    /// Which of `able` should serve this caller.
    fn successor(&self, pleas: &Pleas, able: &[u32]) -> Option<u32> {
        let reached = able.iter().copied().filter(|id| pleas.offered.contains(id));
        let callers = |id: u32| self.pleas.values().filter(|one| one.offered.contains(&id)).count();
        reached.min_by_key(|id| (Reverse(callers(*id)), *id))
    }
}
