//! What clients have asked for and is not in flight yet, and what they are told.

use std::collections::{BTreeMap, VecDeque};

use crate::bugs::{self, Bug};
use crate::protocol::actor::Effects;
use crate::protocol::decided_log::DecidedLog;
use crate::protocol::message::{Message, RequestAck};
use crate::protocol::packing::{gather_unordered, merge, runs_per_page};
use crate::protocol::settings::Settings;
use crate::protocol::types::{
    AssignedBy, Counted, Entry, Instance, Number, Origin, Role, Run, Session, Value,
};

/// The leader-assigned values of one session, from the first that is not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queue {
    session: Session,
    /// The number of the front: the next of the session to be delivered.
    front: Number,
    values: VecDeque<Queued>,
    /// How many of `values`, from the front, are proposed.
    proposed: usize,
    /// Values that came before one that is still missing.
    early: BTreeMap<Number, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Queued {
    value: Value,
    /// Where it is proposed; set for the first `proposed` values.
    instance: Option<Instance>,
}

/// What the leader did with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It holds it.
    Received,
    /// It was delivered before.
    Delivered,
    /// There is no room; the client will ask again.
    Refused,
}

impl Queue {
    /// An empty queue for a session whose values below `front` are delivered.
    pub fn new(session: Session, front: Number) -> Self {
        let (values, early) = (VecDeque::new(), BTreeMap::new());
        Queue { session, front, values, proposed: 0, early }
    }

    /// How many values are held.
    pub fn len(&self) -> usize {
        self.values.len() + self.early.len()
    }

    /// Takes in value `number` of the session.
    pub fn push(&mut self, number: Number, value: Value, limit: usize) -> Fate {
        let end = self.front.plus(self.values.len() as u64);
        if number < self.front {
            return Fate::Delivered;
        }
        if number < end {
            return Fate::Received;
        }
        if number > end.plus(limit as u64) || self.len() >= limit {
            return Fate::Refused;
        }
        if number > end {
            self.early.insert(number, value);
        } else {
            self.values.push_back(Queued { value, instance: None });
            self.join_early();
        }
        Fate::Received
    }

    /// The next value to propose, in the session's order.
    pub fn next(&self) -> Option<Entry> {
        let queued = self.values.get(self.proposed)?;
        let origin = Origin {
            session: self.session,
            number: self.front.plus(self.proposed as u64),
            assigned_by: AssignedBy::Leader,
        };
        Some(Entry::Value { origin, value: queued.value.clone() })
    }

    /// The value of [`Queue::next`] is proposed at `instance`.
    pub fn propose_next(&mut self, instance: Instance) {
        self.values[self.proposed].instance = Some(instance);
        self.proposed += 1;
    }

    /// Everything up to `number` is delivered.
    pub fn on_delivered(&mut self, number: Number) {
        while self.front <= number {
            if self.values.pop_front().is_some() {
                self.proposed = self.proposed.saturating_sub(1);
            }
            self.front = self.front.next();
        }
        if !self.early.is_empty() {
            self.early = self.early.split_off(&self.front);
            self.join_early();
        }
    }

    /// A later value of the session was skipped at `instance`. Unless the front is still under
    /// way to a later instance, everything has to be proposed again.
    pub fn on_skipped(&mut self, instance: Instance) {
        let is_under_way = self
            .values
            .front()
            .is_some_and(|front| front.instance.is_some_and(|proposed| proposed > instance));
        if !is_under_way {
            self.propose_again_from(self.front);
        }
    }

    /// Value `number` and what follows it must be proposed (again).
    pub fn propose_again_from(&mut self, number: Number) {
        let index = number.0.saturating_sub(self.front.0) as usize;
        if index < self.proposed && !bugs::has(Bug::ForgetsSkipped) {
            self.proposed = index;
            self.values.iter_mut().skip(index).for_each(|queued| queued.instance = None);
        }
    }

    fn join_early(&mut self) {
        while !self.early.is_empty()
            && let Some(value) = self.early.remove(&self.front.plus(self.values.len() as u64))
        {
            self.values.push_back(Queued { value, instance: None });
        }
    }
}

/// What has to be told to the clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notes {
    sessions: BTreeMap<Session, Note>,
    /// Who is to be told something at the end of this turn.
    urgent: Vec<Session>,
    /// Who is to be told what was received, when the timer comes.
    waiting: Vec<Session>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Note {
    /// Received, with the instance asked for, if the client asked for one.
    received: Vec<(Number, Option<Instance>)>,
    delivered: Vec<Run<Number>>,
    lost: Vec<Run<Number>>,
    /// Above every number that was received, if there was any.
    end: Option<Number>,
    /// Something before what was received in this turn is missing.
    has_gap: bool,
    /// Whether `urgent` has the session, and whether `waiting` has it.
    is_urgent: bool,
    is_waiting: bool,
    /// What the last acknowledgements told.
    told: VecDeque<Told>,
}

/// What an acknowledgement told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Told {
    delivered: Vec<Run<Number>>,
    lost: Vec<Run<Number>>,
}

/// In how many acknowledgements a client finds what became of a value, as long as others follow: so
/// one that is lost is seldom missed.
const TOLD_AGAIN: usize = 4;

impl Notes {
    /// A value is held, and will be decided if this leader lives. `asked` is the instance, if the
    /// client asked for one.
    pub fn received(&mut self, session: Session, number: Number, asked: Option<Instance>) {
        let note = self.sessions.entry(session).or_default();
        note.received.push((number, asked));
        if !std::mem::replace(&mut note.is_waiting, true) {
            self.waiting.push(session);
        }
    }

    /// A request for `numbers` came. Where the one before it is missing, the client learns at once
    /// what is here, and sends the rest again.
    pub fn requested(&mut self, session: Session, numbers: Run<Number>) {
        let note = self.sessions.entry(session).or_default();
        let has_gap = note.end.is_some_and(|end| numbers.from > end);
        note.has_gap |= has_gap;
        note.end = note.end.max(Some(numbers.until));
        if has_gap && !std::mem::replace(&mut note.is_urgent, true) {
            self.urgent.push(session);
        }
    }

    /// A value is decided where its client asked for it, or delivered.
    pub fn delivered(&mut self, session: Session, number: Number) {
        extend(&mut self.urgent(session).delivered, number);
    }

    /// The value's instance holds something else.
    pub fn lost(&mut self, session: Session, number: Number) {
        extend(&mut self.urgent(session).lost, number);
    }

    /// The note of a session that is to be told something at the end of this turn.
    fn urgent(&mut self, session: Session) -> &mut Note {
        let note = self.sessions.entry(session).or_default();
        if !std::mem::replace(&mut note.is_urgent, true) {
            self.urgent.push(session);
        }
        note
    }

    /// Whether nothing was received that is not told yet.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Tells what is final, and what is here where something is missing. What was merely received
    /// can wait: mostly it is final soon.
    pub fn send_final(&mut self, log: &DecidedLog, settings: &Settings, fx: &mut Effects) {
        for session in self.urgent.drain(..) {
            let Some(note) = self.sessions.get_mut(&session) else { continue };
            note.is_urgent = false;
            let received = if std::mem::take(&mut note.has_gap) {
                note.take_open(session, log)
            } else {
                vec![]
            };
            let delivered = merge(std::mem::take(&mut note.delivered));
            let lost = merge(std::mem::take(&mut note.lost));
            let again = |runs: &Vec<Run<Number>>, before: fn(&Told) -> &Vec<Run<Number>>| {
                merge(runs.iter().chain(note.told.iter().flat_map(before)).copied().collect())
            };
            let all_delivered = again(&delivered, |told| &told.delivered);
            let all_lost = again(&lost, |told| &told.lost);
            send(session, [gather_unordered(received), all_delivered, all_lost], settings, fx);
            if note.told.len() == TOLD_AGAIN - 1 {
                note.told.pop_front();
            }
            note.told.push_back(Told { delivered, lost });
        }
    }

    /// Tells what was received and is still not final, so that clients need not ask again soon.
    pub fn send_received(&mut self, log: &DecidedLog, settings: &Settings, fx: &mut Effects) {
        for session in self.waiting.drain(..) {
            let Some(note) = self.sessions.get_mut(&session) else { continue };
            note.is_waiting = false;
            let open = note.take_open(session, log);
            if !open.is_empty() {
                send(session, [gather_unordered(open), Vec::new(), Vec::new()], settings, fx);
            }
        }
    }
}

/// Adds a number to runs. Mostly it follows the last one.
fn extend(runs: &mut Vec<Run<Number>>, number: Number) {
    match runs.last_mut() {
        Some(last) if last.until == number => last.until = number.next(),
        _ => runs.push(Run::new(number, number.next())),
    }
}

impl Note {
    /// Takes what was received and is still not final.
    fn take_open(&mut self, session: Session, log: &DecidedLog) -> Vec<Number> {
        let next = log.next_number(session);
        let is_open = |(number, asked): &(Number, Option<Instance>)| match asked {
            Some(instance) => log.get(*instance).is_none(),
            None => *number >= next,
        };
        let received = std::mem::take(&mut self.received);
        received.into_iter().filter(is_open).map(|(number, _)| number).collect()
    }
}

/// Sends acknowledgements, each within a datagram.
fn send(
    session: Session,
    [mut received, mut delivered, mut lost]: [Vec<Run<Number>>; 3],
    settings: &Settings,
    fx: &mut Effects,
) {
    // A third of a datagram for each list.
    let most = (runs_per_page(settings.page_bytes()) / 3).max(1);
    while !(received.is_empty() && delivered.is_empty() && lost.is_empty()) {
        let ack = RequestAck {
            session,
            received: received.drain(..most.min(received.len())).collect(),
            delivered: delivered.drain(..most.min(delivered.len())).collect(),
            lost: lost.drain(..most.min(lost.len())).collect(),
        };
        fx.send(Role::Client, Message::RequestAck(ack));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Session = Session { client: 1, boot: 1 };

    fn queue(numbers: impl IntoIterator<Item = u64>) -> Queue {
        let mut queue = Queue::new(SESSION, Number::FIRST);
        for number in numbers {
            queue.push(Number(number), Value::new(b"v"), 100);
        }
        queue
    }

    fn propose_all(queue: &mut Queue, from: u64) -> Vec<u64> {
        let mut instances = from..;
        let mut numbers = Vec::new();
        while let Some(entry) = queue.next() {
            numbers.extend(entry.origin().map(|origin| origin.number.0));
            queue.propose_next(Instance(instances.next().unwrap_or(from)));
        }
        numbers
    }

    #[test]
    fn values_are_proposed_in_the_order_of_the_session() {
        let mut queue = queue([2, 4, 1]);
        assert_eq!(propose_all(&mut queue, 10), [1, 2]);
        queue.push(Number(3), Value::new(b"v"), 100);
        assert_eq!(propose_all(&mut queue, 12), [3, 4]);
    }

    #[test]
    fn what_was_skipped_is_proposed_again_once() {
        let mut queue = queue(1..=3);
        propose_all(&mut queue, 10);
        // Number 1 did not make it at instance 10: 2 and 3 are skipped at 11 and 12.
        queue.on_skipped(Instance(11));
        assert_eq!(propose_all(&mut queue, 13), [1, 2, 3]);
        queue.on_skipped(Instance(12));
        assert!(propose_all(&mut queue, 16).is_empty());
    }

    /// Found by measuring: the timer for what was received came in the turn of a delivery, and the
    /// client was not told before it asked again.
    #[test]
    fn what_is_final_is_told_also_when_the_timer_for_the_rest_comes_first() {
        let (mut notes, settings, mut fx) = (Notes::default(), Settings::default(), Effects::new());
        notes.received(SESSION, Number(1), None);
        notes.delivered(SESSION, Number(1));
        notes.send_received(&DecidedLog::new(), &settings, &mut fx);
        notes.send_final(&DecidedLog::new(), &settings, &mut fx);
        let told = |(_, message): &(Role, Message)| match message {
            Message::RequestAck(ack) => ack.delivered.clone(),
            other => panic!("{other}"),
        };
        let told: Vec<_> = fx.send.iter().flat_map(told).collect();
        assert_eq!(told, [Run::new(Number(1), Number(2))]);
        assert!(notes.is_empty());
    }

    /// An acknowledgement that is lost is made up for by the next.
    #[test]
    fn what_is_final_is_told_several_times_as_long_as_there_is_more() {
        let (mut notes, settings, mut fx) = (Notes::default(), Settings::default(), Effects::new());
        for number in 1..=6 {
            notes.delivered(SESSION, Number(number));
            notes.send_final(&DecidedLog::new(), &settings, &mut fx);
        }
        notes.send_final(&DecidedLog::new(), &settings, &mut fx);
        let told: Vec<String> = fx
            .send
            .iter()
            .map(|(_, message)| match message {
                Message::RequestAck(ack) => ack.delivered[0].to_string(),
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(told, ["#1..#2", "#1..#3", "#1..#4", "#1..#5", "#2..#6", "#3..#7"]);
    }

    /// What a client sent before something that has arrived is asked for at once.
    #[test]
    fn a_gap_is_told_at_once() {
        let (mut notes, settings, mut fx) = (Notes::default(), Settings::default(), Effects::new());
        let mut arrive = |number| {
            let end = Number(number + 1);
            notes.requested(SESSION, Run::new(Number(number), end));
            notes.received(SESSION, Number(number), None);
            notes.send_final(&DecidedLog::new(), &settings, &mut fx);
            fx.send.len()
        };
        assert_eq!(arrive(1), 0);
        assert_eq!(arrive(3), 1);
        assert_eq!(arrive(4), 1);
        assert_eq!(arrive(2), 1);
        let Message::RequestAck(ack) = &fx.send[0].1 else { panic!("an acknowledgement") };
        let runs: Vec<_> = ack.received.iter().map(Run::to_string).collect();
        assert_eq!(runs, ["#1..#2", "#3..#4"]);
    }

    #[test]
    fn a_value_is_told_apart_by_what_became_of_it() {
        let mut queue = queue(1..=2);
        propose_all(&mut queue, 10);
        queue.on_delivered(Number(1));
        assert_eq!(queue.push(Number(1), Value::new(b"v"), 100), Fate::Delivered);
        assert_eq!(queue.push(Number(2), Value::new(b"v"), 100), Fate::Received);
        assert_eq!(queue.push(Number(900), Value::new(b"v"), 100), Fate::Refused);
        assert_eq!(queue.len(), 1);
    }
}
