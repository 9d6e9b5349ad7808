//! What must hold of a role's effects, for any input?

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::actor::{Delivery, Effects, Record};
use crate::protocol::message::{Assignment, Message};
use crate::protocol::types::{Ballot, Counted, Entry, Instance, Number, Role, Run, Sender, Time};
use crate::protocol::versions::Version;
use crate::wire::Codec;

/// Watches the effects of one role, turn by turn.
pub struct Judge {
    codec: Codec,
    sender: Sender,
    /// Whether its input held a value that no process of its cluster can have sent. Then a message
    /// that passes it on may be too long for a datagram, and is not sent.
    pub was_told_too_much: bool,
    /// What an acceptor stored, in order.
    pub stored: Vec<Record>,
    /// The highest ballot that an acceptor stored, and where it stored an entry in which.
    promised: Ballot,
    accepted: BTreeSet<(Ballot, Instance)>,
    trimmed: Instance,
    /// What a leader proposed.
    proposed: BTreeMap<(Ballot, Instance), Entry>,
    /// What a learner wrote into its file, and how far it printed.
    filed: BTreeSet<Instance>,
    printed: Option<Instance>,
    /// The highest ballot that an acceptor answered in.
    answered: Ballot,
    /// Where a client has opened its session.
    opened: Option<Instance>,
}

impl Judge {
    /// The judge of `sender`, whose datagrams are those of `codec`.
    pub fn new(sender: Sender, codec: Codec) -> Self {
        Judge {
            codec,
            sender,
            was_told_too_much: false,
            stored: Vec::new(),
            promised: Ballot::ZERO,
            accepted: BTreeSet::new(),
            trimmed: Instance::FIRST,
            proposed: BTreeMap::new(),
            filed: BTreeSet::new(),
            printed: None,
            answered: Ballot::ZERO,
            opened: None,
        }
    }

    /// Later messages are sent in `version`.
    pub fn speak(&self, version: Version) {
        self.codec.speak(version);
    }

    /// Looks at the effects of a whole turn.
    pub fn end_turn(&mut self, fx: &Effects, now: Time) {
        fx.persist.iter().for_each(|record| self.store(record));
        for (to, message) in &fx.send {
            self.travels(message);
            let own = self.sender.node.role;
            assert!(own != Role::Acceptor || to.group() != own, "{message}");
            match message {
                Message::Accept(accept) => {
                    for (instance, entry) in accept.from.numbering(&accept.entries) {
                        let key = (accept.ballot, instance);
                        let entry = entry.to_entry();
                        let before = self.proposed.entry(key).or_insert_with(|| entry.clone());
                        assert_eq!(*before, entry, "two entries for {instance} in one ballot");
                    }
                }
                Message::Request(request)
                    if request.assignment == Assignment::Leader && !request.entries.is_empty() =>
                {
                    let opened = *self.opened.get_or_insert(request.opened);
                    assert!(opened == request.opened && opened >= Instance::FIRST, "{opened}");
                    let first = request.entries.origin().map(|origin| origin.opened);
                    assert!(request.from > Number::FIRST || first == Some(opened), "{first:?}");
                }
                Message::Promise(promise) => self.answers(promise.ballot),
                Message::Accepted(accepted) => {
                    self.answers(accepted.ballot);
                    for instance in accepted.runs.iter().flat_map(Run::iter) {
                        let key = (accepted.ballot, instance);
                        let is_stored = self.accepted.contains(&key) || instance < self.trimmed;
                        assert!(is_stored, "{instance} is not stored");
                    }
                }
                _ => {}
            }
        }
        for (timer, deadline) in &fx.timers {
            assert!(deadline.is_none_or(|deadline| deadline >= now), "{timer:?} lies behind");
        }
        for delivery in &fx.deliver {
            match delivery {
                Delivery::Decided(page) => {
                    for instance in page.run().iter() {
                        assert!(self.filed.insert(instance), "{instance} is in the file twice");
                    }
                }
                Delivery::Delivered(page, _) => {
                    for instance in page.run().iter() {
                        assert!(self.printed < Some(instance), "{instance} is out of order");
                        assert!(self.filed.contains(&instance), "{instance} is not in the file");
                        self.printed = Some(instance);
                    }
                }
                Delivery::Assembled(value) => {
                    let instance = value.instance;
                    assert!(self.filed.insert(instance), "{instance} is in the file twice");
                    assert!(self.printed < Some(instance), "{instance} is out of order");
                    self.printed = Some(instance);
                }
                Delivery::Begins(instance) => {
                    assert!(self.printed < Some(*instance), "{instance} was passed");
                }
                Delivery::Passed(watermark) => {
                    assert!(self.printed < Some(*watermark), "{watermark} was not passed");
                }
                Delivery::Restored(checkpoint) => {
                    let of = checkpoint.head.of;
                    assert!(self.printed < Some(of), "a snapshot of less than was handed out");
                }
                Delivery::Checkpoint(checkpoint) => {
                    assert!(self.printed < Some(checkpoint.head.of), "a snapshot lacks something");
                }
                Delivery::Readable(_) | Delivery::Unreadable(_) => {}
            }
        }
    }

    /// Everything that is sent fits a datagram, and its receiver reads the same.
    fn travels(&self, message: &Message) {
        let mut datagram = Vec::new();
        if let Err(error) = self.codec.encode(message, &mut datagram) {
            assert!(self.was_told_too_much, "{message}: {error}");
            return;
        }
        assert_eq!(self.codec.decode(&datagram), Ok((self.sender, message.clone())));
    }

    fn store(&mut self, record: &Record) {
        match record {
            Record::Promised(ballot) => self.promised = self.promised.max(*ballot),
            Record::Accepted { ballot, from, entries } => {
                self.promised = self.promised.max(*ballot);
                let instances = from.numbering(entries).map(|(instance, _)| instance);
                self.accepted.extend(instances.map(|instance| (*ballot, instance)));
            }
            Record::Trimmed(below) | Record::Forgotten(below) => {
                self.trimmed = self.trimmed.max(*below);
            }
        }
        self.stored.push(record.clone());
    }

    /// An acceptor answers in `ballot`: never below an earlier answer, and never before it stored.
    fn answers(&mut self, ballot: Ballot) {
        assert!(ballot <= self.promised, "answers {ballot} and stored {}", self.promised);
        assert!(ballot >= self.answered, "answers {ballot} after {}", self.answered);
        self.answered = ballot;
    }
}
