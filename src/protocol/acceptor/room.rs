//! What an acceptor does when its disk is full.
//!
//! It stops voting for clients' values, as if their Accepts had been lost, so agreement is not
//! affected. It says so in its echoes, and the leader takes no new values once fewer acceptors than
//! a majority have room. It goes on voting for two things, from a reserve on its disk:
//!
//! 1. What the leader writes itself: checkpoints, which make room, and the no-ops and limits that
//!    come with them.
//! 2. Values that were under way before the leader knew, which it says in its Accepts: a checkpoint
//!    is of use once everything below it is decided. While the others have room their votes
//!    suffice, and the reserve is kept.
//!
//! Accepts that need no room are answered as ever: those of entries that it holds already, or that
//! are forgotten.

use log::{info, warn};

use super::Acceptor;
use crate::protocol::actor::Room;
use crate::protocol::entries::EntryRef;
use crate::protocol::message::Accept;
use crate::protocol::segments::Page;
use crate::protocol::types::{Counted, Instance};

impl Acceptor {
    /// Notes how much room the disk has.
    pub(super) fn note_room(&mut self, room: Room) {
        let (was_full, is_full) = (self.room > Room::Ample, room > Room::Ample);
        self.room = room;
        if was_full == is_full {
            return;
        }
        // The leader should know before it has proposed much more.
        self.hearing.hurry();
        if is_full {
            warn!(
                "the disk is full: this acceptor votes for no new values until the log is removed, \
                 as `retain` says, or there is more room (`disk_bytes`, or other files)"
            );
        } else {
            info!(target: "paxos::report", "the disk has room again");
        }
    }

    /// The part of an Accept for which there is room, now that the disk is full.
    pub(super) fn with_room(&self, accept: &Accept) -> Vec<Page> {
        let whole = Page { from: accept.from, entries: accept.entries.clone() };
        let may_take_values = match self.room {
            Room::Ample => true, // Not asked then.
            Room::Short => accept.full,
            Room::Scarce | Room::Exhausted => false,
        };
        if may_take_values {
            return vec![whole];
        }
        if self.room == Room::Exhausted && accept.ballot > self.promised {
            return Vec::new(); // Even the promise would have to be stored.
        }
        let has_room = |(instance, entry): (Instance, EntryRef<'_>)| {
            let is_control = matches!(entry, EntryRef::Noop | EntryRef::Checkpoint { .. });
            (is_control && self.room < Room::Exhausted)
                || instance < self.forgotten
                || self.accepted_in(instance) == Some(accept.ballot)
        };
        let fitting: Vec<bool> = whole.from.numbering(&whole.entries).map(has_room).collect();
        let (mut pages, mut rest) = (Vec::new(), Some(whole));
        for alike in fitting.chunk_by(|one, other| one == other) {
            let Some(page) = rest.take() else { break };
            let (page, behind) = page.split(alike.len());
            if alike[0] {
                pages.push(page);
            }
            rest = behind;
        }
        pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::actor::{Actor, Effects, Ignored, Record};
    use crate::protocol::checkpoint::Limit;
    use crate::protocol::message::Message;
    use crate::protocol::settings::Settings;
    use crate::protocol::types::{
        AssignedBy, Ballot, Entry, NodeId, Number, Origin, Role, Sender, Session, Time, Value,
    };

    fn value(number: u64) -> Entry {
        let session = Session { client: 1, boot: 1 };
        let origin = Origin::new(session, Number(number), AssignedBy::Leader);
        Entry::Value { origin, value: Value::new(b"v") }
    }

    /// What is answered, and how much is stored, of a value, a limit and another value, from
    /// instance 1 on.
    fn hear(acceptor: &mut Acceptor, round: u64, full: bool) -> (String, usize, Vec<Ignored>) {
        let entries =
            vec![value(1), Limit { sessions: 9, is_sparing: true }.entry(), value(2)].into();
        let (watermark, chosen, from) = (Instance(1), Vec::new().into(), Instance(1));
        let ballot = Ballot { round, proposer: 1, boot: 1 };
        let accept = Accept { ballot, watermark, chosen, full, from, entries };
        let from = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
        let mut fx = Effects::new();
        acceptor.on_message(Time::ZERO, from, Message::Accept(accept), &mut fx);
        acceptor.on_turn_end(Time::ZERO, &mut fx);
        let said = fx.send.iter().map(|(_, message)| message.to_string()).collect();
        let is_vote = |record: &&Record| matches!(record, Record::Accepted { .. });
        (said, fx.persist.iter().filter(is_vote).count(), fx.ignored)
    }

    #[test]
    fn a_full_disk_takes_what_makes_room_and_what_the_leader_calls_the_last() {
        let full = vec![Ignored::DiskFull];
        let accepted = |round, runs: &str| format!("Accepted {round}.P1: {runs}");
        let mut acceptor = Acceptor::new(1, 1, Settings::default());
        acceptor.on_room(Room::Short);
        assert_eq!(hear(&mut acceptor, 1, false), (accepted(1, "2..3"), 1, full.clone()));
        assert_eq!(hear(&mut acceptor, 1, true), (accepted(1, "1..4"), 1, vec![]));
        // Entries it holds in this ballot need no room.
        acceptor.on_room(Room::Exhausted);
        assert_eq!(hear(&mut acceptor, 1, false), (accepted(1, "1..4"), 0, vec![]));
        assert_eq!(hear(&mut acceptor, 2, true), (String::new(), 0, full.clone()));
        assert_eq!(acceptor.promised().round, 1, "it is as if that had been lost");
        acceptor.on_room(Room::Scarce);
        assert_eq!(hear(&mut acceptor, 3, true), (accepted(3, "2..3"), 1, full));
        acceptor.on_room(Room::Ample);
        assert_eq!(hear(&mut acceptor, 3, false), (accepted(3, "1..4"), 1, vec![]));
    }
}
