//! Is it right what learners deliver, and where the log is trimmed?

use std::collections::BTreeMap;

use super::{Checker, Violation};
use crate::protocol::actor::Delivery;
use crate::protocol::checkpoint::{Checkpoint, Finished, Head};
use crate::protocol::client::ClientTally;
use crate::protocol::types::{Entry, Instance, NodeId, Number, Part, Sender, Session, Value};
use crate::sim::series::{check_checkpoints, check_times, checkpoints};

impl Checker {
    /// A client says that it requests nothing from `next` on: everything below was decided.
    pub(super) fn on_last_request(
        &mut self,
        session: Session,
        next: Number,
    ) -> Result<(), Violation> {
        self.finished.insert((session, next));
        let mut numbers = (Number::FIRST.0..next.0).map(Number);
        let open = numbers.find(|number| !self.placed.contains_key(&(session, *number)));
        open.map_or(Ok(()), |open| Err(format!("{session} is done before {open} is chosen")))
    }

    /// If a leader proposes that sessions have finished, their clients must have said so.
    pub(super) fn expect_finished(&self, from: NodeId, entry: &Entry) -> Result<(), Violation> {
        let Some(Finished { sessions }) = Finished::read(entry.borrowed()) else { return Ok(()) };
        let unsaid = sessions.into_iter().find(|said| !self.finished.contains(said));
        unsaid.map_or(Ok(()), |(session, next)| {
            Err(format!(
                "{from} proposes that {session} is done before {next}, which it never said"
            ))
        })
    }

    /// An entry is chosen, for good.
    pub(super) fn on_chosen(&mut self, instance: Instance, entry: Entry) {
        if let Some(origin) = entry.origin() {
            self.placed.entry((origin.session, origin.number)).or_insert(instance);
        }
        if let Entry::Checkpoint { .. } = entry {
            self.pieces.insert(instance, entry.clone());
            self.checkpoints = checkpoints(&self.pieces);
        }
        self.chosen.insert(instance, entry);
        for (instance, entry) in self.chosen.range(self.reckoned.next()..) {
            if *instance != self.reckoned.next() {
                break;
            }
            self.reckoned.take(*instance, entry);
        }
    }

    /// A learner handed out a value.
    pub fn on_deliver(&mut self, from: Sender, delivery: &Delivery) -> Result<(), Violation> {
        let page = match delivery {
            Delivery::Checkpoint(_) => return Ok(()),
            Delivery::Passed(instance) => {
                self.on_passed(from, *instance);
                return Ok(());
            }
            Delivery::Readable(last) => return self.on_readable(from, *last),
            Delivery::Unreadable(last) => {
                self.on_unreadable(from, *last);
                return Ok(());
            }
            Delivery::Restored(checkpoint) => return self.on_fetched(from, checkpoint.head),
            Delivery::Begins(instance) => return self.on_begins(from, *instance),
            Delivery::Decided(page) => page,
            Delivery::Delivered(page, time) => {
                self.times.insert((page.from, *time));
                page
            }
            Delivery::Assembled(value) => {
                let is_last = self.chosen.get(&value.instance).is_some_and(|entry| {
                    matches!(entry, Entry::Part { part: Part::Last, origin, .. }
                        if (origin.session, origin.number)
                            == (value.origin.session, value.origin.number))
                });
                self.times.insert((Instance(value.instance.0 + 1), value.origin.time));
                if !is_last {
                    let what = (from.node, value.instance);
                    return Err(format!("{} gives out part of a value at {}", what.0, what.1));
                }
                return self.on_delivered(from, value.instance, value.to_value());
            }
        };
        for (instance, entry) in (page.from.0..).map(Instance).zip(&page.entries) {
            let Entry::Value { value, .. } = entry.to_entry() else {
                return Err(format!("{} gives out {entry} of {instance}", from.node));
            };
            match self.chosen.get(&instance) {
                Some(Entry::Value { value: chosen, .. }) if *chosen == value => {}
                Some(_) | None => {
                    return Err(format!("{} gives {value} for {instance}; not chosen", from.node));
                }
            }
            if let Delivery::Delivered(..) = delivery {
                self.on_delivered(from, instance, value)?;
            }
        }
        Ok(())
    }

    /// A learner prints a value.
    fn on_delivered(
        &mut self,
        from: Sender,
        instance: Instance,
        value: Value,
    ) -> Result<(), Violation> {
        let mine = self.delivered.entry(from).or_default();
        let position = mine.len();
        mine.push((instance, value.clone()));
        if self.begun.contains_key(&from) {
            // The deliveries of others are compared at the end.
            return Ok(());
        }
        match self.order.get(position) {
            None => self.order.push((instance, value)),
            Some((first, other)) if (*first, other) == (instance, &value) => {}
            Some((first, other)) => {
                return Err(format!(
                    "{} delivers {value} of {instance} where others delivered {other} of {first}",
                    from.node
                ));
            }
        }
        Ok(())
    }

    /// A learner goes on at `instance`, and has not delivered the log below.
    fn on_begins(&mut self, from: Sender, instance: Instance) -> Result<(), Violation> {
        self.on_passed(from, instance);
        // It has already said so if it began with a snapshot.
        if self.begun.get(&from) == Some(&instance) && self.delivered(from).is_empty() {
            return Ok(());
        }
        let is_checkpoint = self.checkpoints.iter().any(|(_, one)| one.head.of == instance);
        if !is_checkpoint || !self.delivered(from).is_empty() {
            return Err(format!("{} begins at {instance} without a checkpoint", from.node));
        }
        self.begun.insert(from, instance);
        Ok(())
    }

    /// A learner goes on at the place of a snapshot.
    pub fn on_restored(&mut self, from: Sender, head: Head) -> Result<(), Violation> {
        self.begun.insert(from, head.of);
        self.on_passed(from, head.of);
        self.restored.extend([(from.node, head.keep), (from.node, head.of)]);
        self.expect_decided_below(from.node, head.of)
    }

    /// The same for a running learner: what it delivered before was right, and is in the snapshot.
    fn on_fetched(&mut self, from: Sender, head: Head) -> Result<(), Violation> {
        let mine = self.delivered.remove(&from).unwrap_or_default();
        let begun = self.begun.get(&from).copied().unwrap_or(Instance::FIRST);
        let reckoned = &self.reckoned.delivered;
        let expected = reckoned.iter().filter(|(instance, ..)| *instance >= begun);
        for ((instance, value), (at, _, _, of)) in mine.iter().zip(expected) {
            if (at, of) != (instance, value) {
                return Err(format!("{} has delivered {value} at {instance}", from.node));
            }
        }
        if mine.last().is_some_and(|(instance, _)| *instance >= head.of) {
            return Err(format!("{} goes back to {}", from.node, head.of));
        }
        self.on_restored(from, head)
    }

    /// Below which instance the log is trimmed by what is chosen.
    pub fn trimmed(&self) -> Instance {
        let trims = self.checkpoints.iter().map(|(_, one)| one.head.trim);
        trims.max().unwrap_or(Instance::FIRST)
    }

    /// Whether a piece of a checkpoint is chosen there.
    pub fn is_checkpoint(&self, instance: Instance) -> bool {
        matches!(self.chosen.get(&instance), Some(Entry::Checkpoint { .. }))
    }

    fn expect_decided_below(&self, from: NodeId, first: Instance) -> Result<(), Violation> {
        if first <= self.reckoned.next() {
            return Ok(());
        }
        Err(format!("{from} needs nothing below {first}, and not all of that is chosen"))
    }

    /// A process has removed everything below `first`: checks that it is decided, and so is a
    /// checkpoint at which the log can be taken up.
    pub(super) fn expect_trimmed(&self, from: NodeId, first: Instance) -> Result<(), Violation> {
        if first == Instance::FIRST {
            return Ok(());
        }
        let is_kept = |one: &(Instance, Checkpoint)| one.1.head.keep == first;
        self.expect_decided_below(from, first)?;
        if self.checkpoints.iter().any(is_kept) || self.restored.contains(&(from, first)) {
            return Ok(());
        }
        Err(format!(
            "{from} has trimmed below {first}, and no checkpoint that is chosen keeps that"
        ))
    }

    /// What `learner` delivered in its life `boot`.
    pub fn delivered(&self, learner: Sender) -> &[(Instance, Value)] {
        self.delivered.get(&learner).map_or(&[], Vec::as_slice)
    }

    /// Checks that exactly what the log demands was delivered: each leader-assigned value once,
    /// complete, and in its client's order.
    pub fn check_order(&self) -> Result<(), Violation> {
        check_checkpoints(&self.chosen, self.limits)?;
        check_times(&self.chosen, &self.times)?;
        let reckoned = &self.reckoned.delivered;
        for (learner, begun) in &self.begun {
            let mut expected = reckoned.iter().filter(|(instance, ..)| instance >= begun);
            for (instance, value) in self.delivered(*learner) {
                if expected.next().is_none_or(|(at, _, _, of)| (at, of) != (instance, value)) {
                    let who = learner.node;
                    return Err(format!(
                        "{who} began at {begun} and delivers {value} at {instance}"
                    ));
                }
            }
        }
        for (place, (instance, value)) in self.order.iter().enumerate() {
            match reckoned.get(place) {
                Some((expected, _, _, other)) if (expected, other) == (instance, value) => {}
                Some((expected, session, number, other)) => {
                    return Err(format!(
                        "{value} is delivered at {instance}, and {session}{number} {other} of \
                         {expected} is next"
                    ));
                }
                None => return Err(format!("{value} is delivered at {instance}, and nothing is")),
            }
        }
        let mut numbers: BTreeMap<Session, usize> = BTreeMap::new();
        for (instance, session, number, value) in reckoned {
            let Some((typed, None)) = self.typed.get(session) else { continue };
            let count = numbers.entry(*session).or_default();
            if typed.get(*count) != Some(value) {
                return Err(format!("{session}{number} of {instance} is not its next value"));
            }
            *count += 1;
        }
        Ok(())
    }

    /// Checks that `learners` deliver everything the log demands, including all values of these
    /// clients that were not lost. A forgotten client may have been told less.
    pub fn check_complete(
        &self,
        learners: impl Iterator<Item = Sender>,
        clients: impl Iterator<Item = (Session, ClientTally, bool)>,
    ) -> Result<(), Violation> {
        let reckoned = &self.reckoned.delivered;
        for learner in learners {
            let count = self.delivered(learner).len();
            let begun = self.begun.get(&learner).copied().unwrap_or(Instance::FIRST);
            let due = reckoned.iter().filter(|(instance, ..)| *instance >= begun).count();
            if count != due {
                return Err(format!("{} delivered {count} of {due}", learner.node));
            }
        }
        for (session, ClientTally { delivered: told, .. }, is_forgotten) in clients {
            let Some((_, None)) = self.typed.get(&session) else { continue };
            let count = reckoned.iter().filter(|(_, of, ..)| *of == session).count() as u64;
            if count != told && !(is_forgotten && told < count) {
                return Err(format!("{session} was told of {told} values, and {count} are there"));
            }
        }
        Ok(())
    }
}
