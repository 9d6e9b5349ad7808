//! Which life of each acceptor a proposer has heard: the votes of another one do not count.
//!
//! An acceptor that was started again without its data has forgotten what it promised, so it could
//! help to choose a second value. This is a guard and no proof: a proposer that was started again,
//! too, has nothing to compare with.

use std::collections::BTreeMap;

use log::warn;

use crate::protocol::actor::{Effects, Ignored};
use crate::protocol::message::{Disown, Message};
use crate::protocol::types::{Role, Sender};

/// The incarnation that was heard first of each acceptor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Incarnations {
    heard: BTreeMap<u32, u64>,
}

impl Incarnations {
    /// Whether this acceptor is the one that was heard first under its id. Another one has lost its
    /// data, or two processes share an id; it is told so.
    pub fn admit(&mut self, from: Sender, fx: &mut Effects) -> bool {
        let acceptor = from.node.id;
        let known = *self.heard.entry(acceptor).or_insert(from.boot);
        if known == from.boot {
            return true;
        }
        warn!("acceptor {acceptor} came back without what it promised; its votes do not count");
        fx.ignore(Ignored::OtherIncarnation);
        let disown = Disown { acceptor, incarnation: from.boot };
        fx.send(Role::Acceptor, Message::Disown(disown));
        false
    }
}
