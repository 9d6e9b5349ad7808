//! What clients have asked for and is not in flight yet, and what they are told.

use std::collections::{BTreeMap, VecDeque};

use crate::bugs::{self, Bug};
use crate::protocol::actor::Effects;
use crate::protocol::decided_log::DecidedLog;
use crate::protocol::entries::Entries;
use crate::protocol::message::{Message, RequestAck};
use crate::protocol::packing::{merge, runs_per_page};
use crate::protocol::segments::Page;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Counted, Instance, Number, Role, Run, Session};

/// The leader-assigned values of one session, from the first that is not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queue {
    /// The next of the session to be delivered.
    front: Number,
    /// Values that are proposed, from the front on, and where.
    proposed: VecDeque<Page>,
    /// The values behind them, which wait for their instances.
    waiting: VecDeque<Entries>,
    /// How many values are in `proposed` and `waiting`.
    held: usize,
    /// Values that came before one that is still missing.
    early: BTreeMap<Number, Entries>,
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
    pub fn new(front: Number) -> Self {
        let (proposed, waiting) = (VecDeque::new(), VecDeque::new());
        Queue { front, proposed, waiting, held: 0, early: BTreeMap::new() }
    }

    /// How many values are held.
    pub fn len(&self) -> usize {
        self.held + self.early.values().map(Entries::len).sum::<usize>()
    }

    /// The number behind the values that are held without a gap.
    fn end(&self) -> Number {
        self.front.plus(self.held as u64)
    }

    /// Takes in consecutive values of the session, and tells what becomes of which.
    pub fn push(
        &mut self,
        entries: &Entries,
        limit: usize,
        mut tell: impl FnMut(Run<Number>, Fate),
    ) {
        let Some((_, numbers)) = entries.numbers() else { return };
        let end = self.end();
        let mut part = |from: Number, until: Number, fate| {
            let part = Run::new(from.max(numbers.from), until.min(numbers.until));
            if !part.is_empty() {
                tell(part, fate);
            }
            part
        };
        part(Number::FIRST, self.front, Fate::Delivered);
        part(self.front, end, Fate::Received);
        let first = end.max(numbers.from);
        let room = first.plus(limit.saturating_sub(self.len()) as u64);
        let taken = part(first, room.min(end.plus(limit as u64 + 1)), Fate::Received);
        part(taken.until.max(first), numbers.until, Fate::Refused);
        if taken.is_empty() {
            return;
        }
        let place = |number: Number| (number.0 - numbers.from.0) as usize;
        let taken = entries.slice(place(taken.from), place(taken.until));
        if first > end {
            let known = self.early.entry(first).or_insert_with(|| taken.clone());
            if known.len() < taken.len() {
                *known = taken;
            }
        } else {
            self.append(taken);
            self.join_early();
        }
    }

    fn append(&mut self, entries: Entries) {
        self.held += entries.len();
        self.waiting.push_back(entries);
    }

    /// The next values to propose, in the session's order: some of them, and no more than came
    /// together.
    pub fn next(&self) -> Option<&Entries> {
        self.waiting.front()
    }

    /// The first `count` values of [`Queue::next`] are proposed from `instance` on. Returns them.
    pub fn propose_next(&mut self, count: usize, instance: Instance) -> Option<Page> {
        let next = Page { from: instance, entries: self.waiting.pop_front()? };
        let (proposed, rest) = next.split(count);
        if let Some(rest) = rest {
            self.waiting.push_front(rest.entries);
        }
        self.proposed.push_back(proposed.clone());
        Some(proposed)
    }

    /// Everything below `until` is delivered.
    pub fn on_delivered(&mut self, until: Number) {
        while self.front < until {
            let count = usize::try_from(until.0 - self.front.0).unwrap_or(usize::MAX);
            let passed = if let Some(page) = self.proposed.pop_front() {
                let (passed, rest) = page.split(count);
                rest.into_iter().for_each(|rest| self.proposed.push_front(rest));
                passed.entries.len()
            } else if let Some(entries) = self.waiting.pop_front() {
                let passed = count.min(entries.len());
                if passed < entries.len() {
                    self.waiting.push_front(entries.slice(passed, entries.len()));
                }
                passed
            } else {
                self.front = until;
                break;
            };
            self.held -= passed;
            self.front = self.front.plus(passed as u64);
        }
        self.join_early();
    }

    /// A later value of the session was skipped at `instance`. Unless the front is still under
    /// way to a later instance, everything has to be proposed again.
    pub fn on_skipped(&mut self, instance: Instance) {
        let is_under_way = self.proposed.front().is_some_and(|front| front.from > instance);
        if !is_under_way {
            self.propose_again_from(self.front);
        }
    }

    /// Value `number` and what follows it must be proposed (again).
    pub fn propose_again_from(&mut self, number: Number) {
        if bugs::has(Bug::ForgetsSkipped) {
            return;
        }
        let proposed: usize = self.proposed.iter().map(|page| page.entries.len()).sum();
        let mut behind = self.front.plus(proposed as u64);
        while behind > number
            && let Some(page) = self.proposed.pop_back()
        {
            let from = Number(behind.0 - page.entries.len() as u64);
            let kept = number.0.saturating_sub(from.0) as usize;
            if kept > 0 {
                let (kept, again) = page.split(kept);
                self.proposed.push_back(kept);
                again.into_iter().for_each(|again| self.waiting.push_front(again.entries));
            } else {
                self.waiting.push_front(page.entries);
            }
            behind = from;
        }
    }

    fn join_early(&mut self) {
        while let Some((from, _)) = self.early.first_key_value()
            && *from <= self.end()
            && let Some((from, entries)) = self.early.pop_first()
        {
            let known = ((self.end().0 - from.0) as usize).min(entries.len());
            if known < entries.len() {
                self.append(entries.slice(known, entries.len()));
            }
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
    /// Received, with the instance asked for by the first, if the client asked for one.
    received: Vec<(Run<Number>, Option<Instance>)>,
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
    /// Values are held, and will be decided if this leader lives. `asked` is the instance of the
    /// first, if the client asked for one.
    pub fn received(&mut self, session: Session, numbers: Run<Number>, asked: Option<Instance>) {
        let note = self.sessions.entry(session).or_default();
        match note.received.last_mut() {
            Some((last, first))
                if last.until == numbers.from
                    && first.map(|first| first.plus(last.len())) == asked =>
            {
                last.until = numbers.until;
            }
            Some(_) | None => note.received.push((numbers, asked)),
        }
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

    /// Values are decided where their client asked for them, or delivered.
    pub fn delivered(&mut self, session: Session, numbers: Run<Number>) {
        extend(&mut self.urgent(session).delivered, numbers);
    }

    /// The value's instance holds something else.
    pub fn lost(&mut self, session: Session, number: Number) {
        extend(&mut self.urgent(session).lost, Run::new(number, number.next()));
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
            send(session, [received, all_delivered, all_lost], settings, fx);
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
                send(session, [open, Vec::new(), Vec::new()], settings, fx);
            }
        }
    }
}

/// Adds numbers to runs. Mostly they follow the last one.
fn extend(runs: &mut Vec<Run<Number>>, numbers: Run<Number>) {
    match runs.last_mut() {
        Some(last) if last.until == numbers.from => last.until = numbers.until,
        _ => runs.push(numbers),
    }
}

impl Note {
    /// Takes what was received and is still not final.
    fn take_open(&mut self, session: Session, log: &DecidedLog) -> Vec<Run<Number>> {
        let next = log.next_number(session);
        let mut open = Vec::new();
        for (numbers, asked) in self.received.drain(..) {
            let Some(first) = asked else {
                open.push(Run::new(numbers.from.max(next), numbers.until));
                continue;
            };
            let number = |instance: Instance| numbers.from.plus(instance.0 - first.0);
            let undecided = log.missing(first, first.plus(numbers.len()), usize::MAX);
            open.extend(undecided.iter().map(|run| Run::new(number(run.from), number(run.until))));
        }
        open.retain(|run| !run.is_empty());
        merge(open)
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
        let [rest_received, rest_delivered, rest_lost] = [&mut received, &mut delivered, &mut lost]
            .map(|runs| runs.split_off(runs.len().min(most)));
        let ack = RequestAck { session, received, delivered, lost };
        fx.send(Role::Client, Message::RequestAck(ack));
        (received, delivered, lost) = (rest_received, rest_delivered, rest_lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::entries::EntryRef;
    use crate::protocol::types::{AssignedBy, Entry, Origin, Value};

    const SESSION: Session = Session { client: 1, boot: 1 };

    fn one(number: u64) -> Run<Number> {
        Run::new(Number(number), Number(number + 1))
    }

    fn values(from: u64, until: u64) -> Entries {
        let entry = |number| {
            let assigned_by = AssignedBy::Leader;
            let origin = Origin { session: SESSION, number: Number(number), assigned_by };
            Entry::Value { origin, value: Value::new(b"v") }
        };
        (from..until).map(entry).collect()
    }

    fn push(queue: &mut Queue, from: u64, until: u64) -> Vec<(String, Fate)> {
        let mut fates = Vec::new();
        queue.push(&values(from, until), 100, |run, fate| fates.push((run.to_string(), fate)));
        fates
    }

    fn queue(numbers: impl IntoIterator<Item = u64>) -> Queue {
        let mut queue = Queue::new(Number::FIRST);
        for number in numbers {
            push(&mut queue, number, number + 1);
        }
        queue
    }

    fn propose_all(queue: &mut Queue, from: u64) -> Vec<u64> {
        let mut instance = Instance(from);
        let mut numbers = Vec::new();
        while let Some(count) = queue.next().map(Entries::len) {
            let page = queue.propose_next(count, instance).expect("there is a next");
            instance = page.run().until;
            numbers.extend(page.entries.iter().filter_map(EntryRef::origin).map(|o| o.number.0));
        }
        numbers
    }

    #[test]
    fn values_are_proposed_in_the_order_of_the_session() {
        let mut queue = queue([2, 4, 1]);
        assert_eq!(propose_all(&mut queue, 10), [1, 2]);
        push(&mut queue, 3, 4);
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

    #[test]
    fn what_came_together_is_cut_where_it_must_be() {
        let mut queue = Queue::new(Number::FIRST);
        push(&mut queue, 1, 7);
        assert_eq!(
            queue.propose_next(4, Instance(10)).map(|page| page.entries),
            Some(values(1, 5))
        );
        queue.on_delivered(Number(3));
        assert_eq!((queue.len(), queue.next()), (4, Some(&values(5, 7))));
        queue.propose_again_from(Number(4));
        assert_eq!(propose_all(&mut queue, 20), [4, 5, 6]);
        // What another leader had decided is delivered, proposed here or not.
        push(&mut queue, 7, 9);
        push(&mut queue, 10, 14);
        queue.on_delivered(Number(12));
        assert_eq!(propose_all(&mut queue, 30), [12, 13]);
    }

    /// Found by measuring: the timer for what was received came in the turn of a delivery, and the
    /// client was not told before it asked again.
    #[test]
    fn what_is_final_is_told_also_when_the_timer_for_the_rest_comes_first() {
        let (mut notes, settings, mut fx) = (Notes::default(), Settings::default(), Effects::new());
        notes.received(SESSION, one(1), None);
        notes.delivered(SESSION, one(1));
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
            notes.delivered(SESSION, one(number));
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
            notes.requested(SESSION, one(number));
            notes.received(SESSION, one(number), None);
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
        queue.on_delivered(Number(2));
        let told = |run: &str, fate| (run.to_owned(), fate);
        assert_eq!(
            push(&mut queue, 1, 5),
            [
                told("#1..#2", Fate::Delivered),
                told("#2..#3", Fate::Received),
                told("#3..#5", Fate::Received)
            ]
        );
        assert_eq!(push(&mut queue, 900, 902), [told("#900..#902", Fate::Refused)]);
        assert_eq!(queue.len(), 3);
        let (most, rest) = (told("#5..#102", Fate::Received), told("#102..#110", Fate::Refused));
        assert_eq!(push(&mut queue, 5, 110), [most, rest]);
    }
}
