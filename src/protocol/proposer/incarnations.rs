//! Which incarnation of each acceptor counts: the votes of another one do not.
//!
//! An acceptor that was restarted without its data, or with an older copy of it, has forgotten what
//! it promised, so it could help to choose a second value. This is a guard and no proof: a proposer
//! that was restarted as well has nothing to compare with; votes that overtake the first echo
//! count; and the loss of what was stored after the last echo goes unnoticed.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::BTreeMap;
use std::time::Duration;

use log::warn;

use crate::protocol::actor::{Effects, Ignored};
use crate::protocol::message::{Disown, Echo, Message};
use crate::protocol::types::{Ballot, Role, Sender, Time, To};

/// How long to wait before a refused acceptor is told so again, however much it sends.
const TELL_AGAIN: Duration = Duration::from_millis(200);

/// What is known of each acceptor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Incarnations {
    heard: BTreeMap<u32, Life>,
}

/// The incarnation that was heard first under an id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Life {
    incarnation: u64,
    /// The most it has said that it promised and accepted, and the last stamp sent from here by
    /// then.
    had: Option<(Time, Ballot, u64)>,
    /// Whether it came back with less.
    is_rolled_back: bool,
    /// The last incarnation that was refused.
    refused: Option<u64>,
    /// When it was last told so.
    told: Option<Time>,
}

impl Incarnations {
    /// Whether this acceptor is the one heard first under its id, with everything it had stored.
    /// Any other has lost its data, or two processes share an id; it is told so.
    pub fn admit(&mut self, now: Time, from: Sender, fx: &mut Effects) -> bool {
        let (acceptor, incarnation) = (from.node.id, from.boot);
        let life = self.heard.entry(acceptor).or_insert(Life {
            incarnation,
            had: None,
            is_rolled_back: false,
            refused: None,
            told: None,
        });
        if life.incarnation == incarnation && !life.is_rolled_back {
            return true;
        }
        if life.refused != Some(incarnation) {
            (life.refused, life.told) = (Some(incarnation), None);
            warn!("acceptor {acceptor} came back without what it promised; its votes do not count");
        }
        fx.ignore(Ignored::OtherIncarnation);
        if life.told.is_none_or(|told| now.since(told) >= TELL_AGAIN) {
            // Directly at first, and then by its group, in case its address has changed.
            let is_first = life.told.is_none();
            let to = if is_first { To::Node(from.node) } else { To::Group(Role::Acceptor) };
            life.told = Some(now);
            fx.send(to, Message::Disown(Disown { acceptor, incarnation }));
        }
        false
    }

    /// An acceptor repeats `stamp` of this proposer, and says how much it has promised and
    /// accepted; `said` is the last stamp sent from here. A stamp that is sent after an echo has
    /// arrived is repeated by an acceptor that has no less than in that echo, however datagrams
    /// overtake each other. An acceptor that had less is believed again once it has everything
    /// back: its last state was restored.
    pub fn on_echo(&mut self, said: Time, from: Sender, stamp: Option<Time>, echo: &Echo) {
        let life = self.heard.get_mut(&from.node.id);
        let (Some(life), Some(stamp)) = (life, stamp) else { return };
        if life.incarnation != from.boot {
            return;
        }
        let (said_before, promised, accepted) = life.had.unwrap_or((said, Ballot::ZERO, 0));
        if echo.promised >= promised && echo.accepted >= accepted {
            life.is_rolled_back &= stamp <= said_before;
            life.had = Some((said, echo.promised, echo.accepted));
        } else if stamp > said_before {
            life.is_rolled_back = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::NodeId;
    use crate::protocol::versions::Versions;

    fn echo(incarnations: &mut Incarnations, stamp: u64, round: u64, accepted: u64) -> bool {
        let from = Sender { node: NodeId::new(Role::Acceptor, 1), boot: 7 };
        let promised = Ballot { round, ..Ballot::ZERO };
        let echo =
            Echo { promised, accepted, full: false, reads: Versions::ALL, heard: Vec::new() };
        let now = Time(stamp);
        assert!(incarnations.admit(now, from, &mut Effects::new()), "it was good so far");
        // It arrives when one more stamp has been sent.
        incarnations.on_echo(Time(stamp + 1), from, Some(Time(stamp)), &echo);
        incarnations.admit(now, from, &mut Effects::new())
    }

    #[test]
    fn who_comes_back_with_less_than_it_had_is_disowned() {
        let had = || {
            let mut incarnations = Incarnations::default();
            assert!(echo(&mut incarnations, 10, 2, 5));
            assert!(echo(&mut incarnations, 9, 1, 4), "it was overtaken");
            assert!(echo(&mut incarnations, 11, 2, 5));
            incarnations
        };
        assert!(echo(&mut had(), 12, 1, 5), "that was said before the last arrived");
        assert!(!echo(&mut had(), 13, 1, 5), "it promised more");
        let mut incarnations = had();
        assert!(!echo(&mut incarnations, 13, 3, 4), "it accepted more");
        let from = Sender { node: NodeId::new(Role::Acceptor, 1), boot: 7 };
        let mut fx = Effects::new();
        (0..=400).for_each(|ms| {
            incarnations.admit(Time(20 + ms * 1000), from, &mut fx);
        });
        let disown = Disown { acceptor: 1, incarnation: 7 };
        let told = (To::Group(Role::Acceptor), Message::Disown(disown));
        assert_eq!(fx.send, [told.clone(), told], "paced, and not for the first time");
        // Given back what it had last, it is welcome.
        let promised = Ballot { round: 3, ..Ballot::ZERO };
        let echo =
            Echo { promised, accepted: 5, full: false, reads: Versions::ALL, heard: Vec::new() };
        incarnations.on_echo(Time(21), from, Some(Time(20)), &echo);
        assert!(incarnations.admit(Time(21), from, &mut Effects::new()));
    }
}
