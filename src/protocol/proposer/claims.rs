//! What others claim to be decided and no campaign brought up: they are of an earlier life of the
//! cluster, from before its acceptors lost or were given new data.
//!
//! A leader knows of every decision: each was made by a quorum, which told its campaign, or by a
//! later leader, which makes it stand by. So whoever claims more is wrong, and is told of, once.

use std::collections::BTreeSet;

use log::warn;

use crate::protocol::types::Sender;

/// How many processes are remembered, at most.
const CLAIMANTS_MAX: usize = 256;

/// Who has claimed too much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Claims {
    told: BTreeSet<Sender>,
}

impl Claims {
    /// `from` claims that more is decided than there is.
    pub fn note(&mut self, from: Sender) {
        if self.told.len() < CLAIMANTS_MAX && self.told.insert(from) {
            let node = from.node;
            warn!(
                "{node} is of an earlier life of the cluster: it holds decisions that no acceptor \
                 knows of; end it, and start it again"
            );
        }
    }
}
