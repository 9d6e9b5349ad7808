//! The client: it numbers its inputs, and requests each until it knows its fate.
//!
//! It keeps a bounded window in flight and takes no more input than that, so standard input waits
//! for the cluster and not the other way round.

mod ending;
mod memories;
#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;
mod opening;
mod retries;
mod room;
mod telling;
mod unsent;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use self::memories::Memories;
use self::opening::Opening;
use self::unsent::Unsent;
use super::actor::{Actor, Effects, Ignored, Input};
use super::cutting::{Cutting, Piece, parts_of};
use super::flow::{OVERHEAD_BYTES, Ticket};
use super::message::{
    Announcement, Assignment, Heartbeat, Interest, Kind, Message, RequestAck, Standing,
};
use super::packing::disjoint;
use super::parts::Flow;
use super::pleading::Pleading;
use super::retry::{Deadlines, RoundTrip};
use super::settings::Settings;
use super::timer::Timer;
use super::types::{
    Ballot, Counted, Instance, NodeId, Number, Origin, Role, Run, Sender, Session, Time, To, Value,
};
use super::versions::{Followed, Version};
use super::warned::Warned;

/// How long a leader that only answers pleas is believed to serve: many requests in a row may be
/// lost by bad luck.
const UNASKED_MAX: Duration = Duration::from_secs(8);

/// A client sends at least this many values, however little room the leader has: an occasional
/// refusal costs less than a lost datagram that holds up all the others.
const REACH_MIN: usize = 64;

/// One client session's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    session: Session,
    opening: Opening,
    assignment: Assignment,
    settings: Settings,
    /// Longer values travel in parts of this many bytes.
    part_bytes: usize,
    /// The number of the front of `window`.
    front: Number,
    /// Values, and parts of them, from the first whose fate is not known.
    window: VecDeque<Requested>,
    /// Where the bytes are of what is in the window.
    memories: Memories,
    bytes: usize,
    /// The last value, while not all of it is in the window.
    rest: Option<Cutting>,
    /// A first part that the leader has refused for now: nothing behind it is sent.
    held_up: Option<Number>,
    ended: bool,
    /// Whether the cluster has forgotten the session: any fate unknown by now stays unknown.
    is_forgotten: bool,
    /// Whether to tell the leader when nothing more will be requested.
    takes_leave: bool,
    tally: ClientTally,
    /// The ballot of the last leader heard of.
    leader: Ballot,
    /// In which version of the wire format it sends.
    followed: Followed,
    round_trip: RoundTrip,
    /// What is requested and not final: about as much as the leader lets wait, plus what the path
    /// holds.
    flow: Flow<()>,
    deadlines: Deadlines<Number>,
    /// When the timer is due, if it is set.
    armed: Option<Time>,
    /// Nothing below it is unsent.
    unsent: Number,
    /// How far from the front of the window values are sent: less than the window where the leader
    /// has less room.
    reach: usize,
    /// The number above every value that the leader has answered, and when it last did.
    answered: Number,
    heard: Option<Time>,
    /// When it was last logged that the leader takes no request for the front yet.
    told_far: Option<Time>,
    /// A leader holds nothing below it.
    begins: Instance,
    /// Whether the leader takes no new values, and when that was logged.
    is_full: bool,
    told_full: Option<Time>,
    /// When a quorate leader answered last, or when there was nothing to be answered.
    served: Time,
    /// When a leader last answered a request rather than a plea.
    asked: Time,
    /// Of that no leader answers.
    warned_unserved: Warned,
    pleading: Pleading,
}

/// What became of a client's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientTally {
    /// How many values came from the input so far.
    pub asked: u64,
    /// How many are decided in the instance requested, or delivered. A value in parts counts once.
    pub delivered: u64,
    /// How many lost their instance to another session, or were not delivered before their session
    /// ended.
    pub lost: u64,
    /// How many asked for instances whose decision the leader no longer holds: they may have won or
    /// lost, and nobody can tell.
    pub trimmed: u64,
}

impl ClientTally {
    /// How many are still requested; for the trimmed ones no answer will come.
    pub fn undecided(&self) -> u64 {
        self.asked - self.delivered - self.lost - self.trimmed
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Requested {
    piece: Piece,
    state: State,
    /// The datagram it left in last.
    ticket: Ticket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// To be sent at the end of this turn; `retries` counts earlier times.
    Unsent { retries: u32 },
    /// On its way.
    Sent { at: Time, retries: u32 },
    /// The leader has it.
    Received { at: Time, retries: u32 },
    /// Its fate is known.
    Final,
}

impl Client {
    /// The client of `session`, whose values are placed by `assignment`.
    pub fn new(session: Session, assignment: Assignment, settings: Settings) -> Self {
        let opening = match assignment {
            Assignment::Leader => Opening::default(),
            Assignment::Client { .. } => Opening::at(Origin::UNSTAMPED),
        };
        Client {
            session,
            opening,
            assignment,
            part_bytes: settings.part_bytes(),
            front: Number::FIRST,
            window: VecDeque::new(),
            memories: Memories::default(),
            bytes: 0,
            rest: None,
            held_up: None,
            ended: false,
            is_forgotten: false,
            takes_leave: assignment == Assignment::Leader,
            tally: ClientTally::default(),
            leader: Ballot::ZERO,
            followed: Followed::default(),
            round_trip: RoundTrip::default(),
            flow: Flow::new(&settings),
            deadlines: Deadlines::default(),
            armed: None,
            unsent: Number::FIRST,
            reach: settings.client_window,
            answered: Number::FIRST,
            heard: None,
            told_far: None,
            begins: Instance::FIRST,
            is_full: false,
            told_full: None,
            settings,
            served: Time::ZERO,
            asked: Time::ZERO,
            warned_unserved: Warned::default(),
            pleading: Pleading::default(),
        }
    }

    /// The same for a session that cuts long values into parts of `part_bytes`, which fit a
    /// datagram: a number must mean the same bytes whenever the session is resumed.
    #[must_use]
    pub fn cutting_at(self, part_bytes: usize) -> Self {
        assert!(part_bytes <= self.settings.part_bytes(), "a part must fit a datagram");
        Client { part_bytes, ..self }
    }

    /// The same for a session that an earlier process opened at `opened`.
    #[must_use]
    pub fn opened_at(self, opened: Instance) -> Self {
        Client { opening: Opening::at(opened), ..self }
    }

    /// Where the log was when the session was opened, if it was. It is opened before the first
    /// value is requested.
    pub fn opened(&self) -> Option<Instance> {
        self.opening.opened()
    }

    /// The first number whose fate is not known.
    pub fn front(&self) -> Number {
        self.front
    }

    /// How many numbers of the session a value of this length takes.
    pub fn parts_of(&self, value_bytes: usize) -> u64 {
        match self.assignment {
            Assignment::Leader => parts_of(value_bytes, self.part_bytes),
            Assignment::Client { .. } => 1,
        }
    }

    /// What became of the values so far.
    pub fn tally(&self) -> ClientTally {
        self.tally
    }

    /// Whether the leader takes no new values because the disks of too many acceptors are full.
    /// Requests wait until there is room.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Since when no quorate leader has answered, if there is something to be answered.
    pub fn unserved_since(&self) -> Option<Time> {
        (!self.window.is_empty()).then_some(self.served)
    }

    /// The ballot of the last leader heard of.
    pub fn leader(&self) -> Ballot {
        self.leader
    }

    /// Takes the value in this range of `memory`, like [`Input::Value`]: values that arrive
    /// together share their memory.
    pub fn on_value(&mut self, now: Time, memory: &Value, range: Range<usize>) {
        if self.window.is_empty() {
            // Before this, no answer was due.
            (self.served, self.asked) = (now, now);
        }
        self.tally.asked += 1;
        let part_bytes = match self.assignment {
            Assignment::Leader => self.part_bytes,
            Assignment::Client { .. } => usize::MAX,
        };
        if range.len() <= part_bytes && self.rest.is_none() && self.window_has_room() {
            // Nearly every value, and nothing needs to be cut for it.
            return self.ask(Piece::whole(memory, range), memory);
        }
        self.rest = Some(Cutting::of(memory, range, part_bytes));
        self.fill_window();
    }

    fn on_request_ack(&mut self, now: Time, ack: RequestAck) {
        // The rest is for other clients of the group.
        let mut mine = ack.told.into_iter().filter(|told| told.session == self.session);
        let Some(mut told) = mine.next() else { return };
        for more in mine {
            told.requested |= more.requested;
            told.is_forgotten |= more.is_forgotten;
            told.received.extend(more.received);
            told.delivered.extend(more.delivered);
            told.lost.extend(more.lost);
        }
        if told.requested {
            self.asked = now;
        }
        // A leader that hears pleas may still not hear requests, which are longer.
        let is_asked = now.since(self.asked) <= UNASKED_MAX;
        if ack.quorate {
            self.opening.hear(now, ack.decided_below);
            self.is_full = ack.full;
        }
        if is_asked && ack.quorate {
            self.served = now;
        }
        if self.opening.opened().is_some() {
            // Before the first request a leader does not know how much there is to send.
            self.flow.allow(ack.grant as usize);
        }
        for run in disjoint(&told.delivered).as_ref() {
            self.tally.delivered += self.settle(now, *run);
        }
        for run in disjoint(&told.lost).as_ref() {
            self.tally.lost += self.settle(now, *run);
            if self.assignment == Assignment::Leader {
                self.end_session(run.from);
            }
        }
        if told.is_forgotten {
            self.give_up();
        }
        // Values held by a leader without a quorum are not on their way.
        let held = if ack.quorate { &told.received[..] } else { &[] };
        let received = disjoint(held);
        for run in received.as_ref() {
            self.note_received(now, *run);
        }
        if let Some(last) = received.last() {
            self.resend_before(now, last.from);
        }
        self.pass_final();
    }

    /// The front of the window is the first value whose fate is not known.
    fn pass_final(&mut self) {
        while self.window.front().is_some_and(|asked| asked.state == State::Final) {
            self.window.pop_front();
            self.front = self.front.next();
        }
        self.memories.pass(self.front);
    }

    /// Queues the value at `position` of the window to be sent again.
    fn send_again(&mut self, position: usize, retries: u32) {
        let asked = &mut self.window[position];
        asked.state = State::Unsent { retries };
        // An answer from now on says nothing about that transmission.
        self.flow.forget(std::mem::take(&mut asked.ticket));
        self.unsent = self.unsent.min(self.front.plus(position as u64));
    }

    /// The positions in the window of the numbers of `run`.
    fn positions(&self, run: Run<Number>) -> std::ops::Range<usize> {
        let position = |number: Number| {
            let offset = number.0.saturating_sub(self.front.0);
            usize::try_from(offset).unwrap_or(usize::MAX).min(self.window.len())
        };
        let from = position(run.from);
        from..position(run.until).max(from)
    }

    /// The fate of these values is known. Returns for how many that is news; a value in parts
    /// counts with its last part.
    fn settle(&mut self, now: Time, run: Run<Number>) -> u64 {
        let (mut settled, mut values, mut answered) = (0_u64, 0, Ticket::default());
        for position in self.positions(run) {
            let asked = &mut self.window[position];
            match asked.state {
                State::Final => continue,
                State::Sent { at, retries: 0 } if settled == 0 => self.round_trip.measure(at, now),
                State::Sent { .. } if settled == 0 => self.round_trip.answer(),
                State::Sent { .. } | State::Received { .. } | State::Unsent { .. } => {}
            }
            asked.state = State::Final;
            // One datagram carries many values.
            if asked.ticket != answered {
                answered = asked.ticket;
                self.flow.answer(now, answered);
            }
            self.bytes -= asked.piece.length();
            values += u64::from(asked.piece.is_end());
            settled += 1;
        }
        if settled > 0 {
            self.release(run);
            self.answer(now, run.until);
        }
        // As in TCP: there may be more room than before.
        let reach = self.reach.saturating_add(settled as usize);
        self.reach = reach.min(self.settings.client_window);
        values
    }

    /// The leader has these.
    fn release(&mut self, run: Run<Number>) {
        if self.held_up.is_some_and(|number| run.contains(number)) {
            self.held_up = None;
        }
    }

    /// The leader holds these. It may have waited before it said so, so this is no measure of the
    /// round trip.
    fn note_received(&mut self, now: Time, run: Run<Number>) {
        let positions = self.positions(run);
        let held = self.front.plus(positions.start as u64);
        let run = Run::new(held, self.front.plus(positions.end as u64));
        self.release(run);
        for position in positions {
            let state = &mut self.window[position].state;
            if let State::Sent { .. } = *state {
                *state = State::Received { at: now, retries: 0 };
            }
        }
        let patience = self.patience(State::Received { at: now, retries: 0 });
        self.deadlines.add(now + patience, [run]);
        if !run.is_empty() {
            self.answer(now, run.until);
        }
    }

    /// The leader has answered values below `until`.
    fn answer(&mut self, now: Time, until: Number) {
        let end = self.front.plus(self.window.len() as u64);
        self.answered = self.answered.max(until.min(end));
        self.heard = Some(now);
    }

    /// Values sent before one that arrived, and missing themselves, were lost.
    fn resend_before(&mut self, now: Time, number: Number) {
        // Unless it was sent a moment ago, and was only overtaken.
        let settle_down = self.settings.retry_least / 4;
        for position in self.positions(Run::new(self.front, number)) {
            if let State::Sent { at, retries } = self.window[position].state
                && now.since(at) > settle_down
            {
                self.send_again(position, retries.saturating_add(1));
            }
        }
    }

    /// A new leader does not have what the old one received.
    fn on_heartbeat(&mut self, now: Time, heartbeat: &Heartbeat, fx: &mut Effects) {
        self.followed.hear(now, heartbeat, &self.settings);
        let Announcement { standing, quorate, ballot, .. } = heartbeat.announcement;
        if standing != Standing::Leads || !quorate {
            return;
        }
        if ballot < self.leader {
            return fx.ignore(Ignored::StaleBallot);
        }
        self.opening.hear(now, heartbeat.progress.watermark);
        self.begins = self.begins.max(heartbeat.progress.first);
        self.give_up_trimmed();
        self.tell_far(now, heartbeat.progress.watermark);
        self.is_full = heartbeat.full;
        if ballot == self.leader {
            return;
        }
        self.leader = ballot;
        // The path to another leader is another path.
        self.flow = Flow::new(&self.settings);
        (self.reach, self.answered) = (self.settings.client_window, self.front);
        self.held_up = None;
        for position in 0..self.window.len() {
            if let State::Sent { .. } | State::Received { .. } = self.window[position].state {
                self.send_again(position, 1);
            }
        }
    }

    /// Where first requests go: to the leader, as soon as one is known.
    fn leader_or_all(&self) -> To {
        if self.leader == Ballot::ZERO {
            return To::Group(Role::Proposer);
        }
        To::Node(NodeId::new(Role::Proposer, self.leader.proposer))
    }

    /// Sends what is unsent, in runs that fit a datagram.
    fn send_unsent(&mut self, now: Time, fx: &mut Effects) {
        let from = usize::try_from(self.unsent.0.saturating_sub(self.front.0));
        let mut until = self.reach.min(self.window.len());
        if let Some(number) = self.held_up {
            until = until.min(self.positions(Run::new(self.front, number.next())).end);
        }
        let Some(from) = from.ok().filter(|from| *from < until) else { return };
        let Some(opened) = self.opening.open(now, self.settings.progress_timeout) else {
            return self.ask_to_open(now, fx);
        };
        let mut missed = self.room_for_missed(now, from);
        self.unsent = self.front.plus(until as u64);
        let entries_bytes = self.settings.entries_bytes();
        let (session, assigned_by) = (self.session, self.assignment.assigned_by());
        let to = self.leader_or_all();
        let mut request = Unsent::new(now, to, (self.assignment, opened), self.front);
        let mut sent: Vec<(Run<Number>, u32)> = Vec::new();
        let numbers = (self.front.0 + from as u64..).map(Number);
        let mut memory_of = self.memories.in_order(self.front.plus(from as u64));
        for (number, asked) in numbers.zip(self.window.range_mut(from..until)) {
            let State::Unsent { retries } = asked.state else {
                request.send(&mut self.flow, fx);
                continue;
            };
            let origin = Origin::new(session, number, assigned_by).stamped(opened);
            let entry = asked.piece.entry(memory_of(number), origin);
            let mut bytes = request.entries.bytes_with(entry);
            if bytes > entries_bytes {
                request.send(&mut self.flow, fx);
                bytes = request.entries.bytes_with(entry);
            }
            bytes += OVERHEAD_BYTES;
            let length = asked.piece.length();
            let is_missed = number < self.answered && length <= missed;
            if is_missed {
                missed -= length;
            } else if !self.flow.has_room(bytes, 0) {
                // It goes on from here when something is final.
                self.flow.note_full();
                self.unsent = number;
                break;
            }
            asked.state = State::Sent { at: now, retries };
            asked.ticket = self.flow.next_ticket();
            match sent.last_mut() {
                Some((run, same)) if run.until == number && *same == retries => {
                    run.until = number.next();
                }
                _ => sent.push((Run::new(number, number.next()), retries)),
            }
            request.from = request.from.or(Some(number));
            (request.bytes, request.retries) = (bytes, request.retries.max(retries));
            request.is_missed |= is_missed;
            request.entries.push(entry);
        }
        request.send(&mut self.flow, fx);
        for (run, retries) in sent {
            let patience = self.patience(State::Sent { at: now, retries });
            self.deadlines.add(now + patience, [run]);
        }
    }
}

impl Actor for Client {
    fn on_start(&mut self, now: Time, fx: &mut Effects) {
        if self.opening.opened().is_none() {
            self.ask_to_open(now, fx);
        }
    }

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        if from.node.role != Role::Proposer {
            return fx.ignore(Ignored::ImpossibleSender);
        }
        match message {
            Message::RequestAck(ack) => self.on_request_ack(now, ack),
            Message::Heartbeat(heartbeat) => self.on_heartbeat(now, &heartbeat, fx),
            Message::Offer(offer) => {
                if offer.to.contains(&self.session.client) {
                    self.pleading.on_offer(now, from.node.id, offer.callers);
                }
            }
            Message::Request(_)
            | Message::Prepare(_)
            | Message::Promise(_)
            | Message::Accept(_)
            | Message::Accepted(_)
            | Message::Nack(_)
            | Message::Decide(_)
            | Message::DecideAck(_)
            | Message::Durable(_)
            | Message::CatchUpRequest(_)
            | Message::CatchUpReply(_)
            | Message::Disown(_)
            | Message::Echo(_)
            | Message::Plea(_)
            | Message::Chosen(_)
            | Message::Recall(_)
            | Message::Recalled(_)
            | Message::ReadRequest(_)
            | Message::ReadReply(_)
            | Message::Fetch(_)
            | Message::Chunk(_) => fx.ignore(Ignored::Misdirected),
        }
    }

    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects) {
        match timer {
            Timer::RetryRequest => self.on_retry_request(now),
            Timer::Plea => self.pleading.on_timer(now, &self.settings, fx),
            Timer::Heartbeat
            | Timer::Election
            | Timer::RetryPrepare
            | Timer::RetryAccept
            | Timer::RetryDecide
            | Timer::CloseHoles
            | Timer::RequestAck
            | Timer::DecideAck
            | Timer::CatchUp
            | Timer::Read
            | Timer::Fetch => unreachable!("a client does not set {timer:?}"),
        }
    }

    fn on_input(&mut self, now: Time, input: Input, _fx: &mut Effects) {
        match input {
            Input::Value(value) => {
                let until = value.as_bytes().len();
                self.on_value(now, &value, 0..until);
            }
            Input::End => self.ended = true,
            Input::Kept(_) | Input::Read(_) | Input::Done(_) => {
                unreachable!("they are a learner's")
            }
        }
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        self.fill_window();
        self.give_up_trimmed();
        self.tell_full(now);
        self.tell_unserved(now);
        self.send_unsent(now, fx);
        self.take_leave(fx);
        if self.window.is_empty() {
            self.deadlines.clear();
            if self.armed.take().is_some() {
                fx.cancel_timer(Timer::RetryRequest);
            }
        } else if let Some(deadline) = self.deadline().map(|deadline| deadline.max(now))
            && self.armed.is_none_or(|armed| deadline < armed)
        {
            self.armed = Some(deadline);
            fx.set_timer(Timer::RetryRequest, deadline);
        }
        self.pleading.on_turn_end(now, self.unserved_since(), &self.settings, fx);
    }

    fn on_stop(&mut self, _now: Time, _fx: &mut Effects) {
        self.ended = true;
    }

    fn version(&self, now: Time) -> Version {
        self.followed.version(now, &self.settings)
    }

    fn interest(&self) -> Interest {
        Interest::of(&[Kind::RequestAck, Kind::Heartbeat, Kind::Offer])
    }

    fn input_room(&self) -> usize {
        if self.ended || self.rest.is_some() || self.bytes >= self.settings.window_bytes {
            return 0;
        }
        self.settings.client_window.saturating_sub(self.window.len())
    }

    fn is_finished(&self) -> bool {
        self.ended && self.window.is_empty() && self.rest.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::entries::EntryRef;
    use crate::protocol::message::{Progress, Told};
    use crate::protocol::types::Few;
    use crate::protocol::types::NodeId;

    const SESSION: Session = Session { client: 1, boot: 5 };

    /// A client whose session was opened.
    fn open(settings: Settings) -> Client {
        Client::new(SESSION, Assignment::Leader, settings).opened_at(Instance(1))
    }

    fn client(count: usize) -> (Client, Effects) {
        let mut client = open(Settings::default());
        let mut fx = Effects::new();
        for _ in 0..count {
            client.on_input(Time::ZERO, Input::Value(Value::new(b"v")), &mut fx);
        }
        client.on_turn_end(Time::ZERO, &mut fx);
        (client, fx)
    }

    fn runs(runs: &[(u64, u64)]) -> Few<Run<Number>> {
        runs.iter().map(|(from, until)| Run::new(Number(*from), Number(*until))).collect()
    }

    /// One turn with one acknowledgement; returns the numbers that are sent again.
    fn acknowledge(client: &mut Client, now: Time, told: Told) -> Vec<(u64, usize)> {
        let ack = RequestAck {
            quorate: true,
            full: false,
            grant: 1 << 20,
            decided_below: Instance(1),
            told: vec![told],
        };
        let mut fx = Effects::new();
        let leader = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
        client.on_message(now, leader, Message::RequestAck(ack), &mut fx);
        client.on_turn_end(now, &mut fx);
        sent(&fx)
    }

    fn sent(fx: &Effects) -> Vec<(u64, usize)> {
        fx.send
            .iter()
            .map(|(_, message)| match message {
                Message::Request(request) => (request.from.0, request.entries.len()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn ack() -> Told {
        Told::new(SESSION, true)
    }

    /// A heartbeat of the quorate leader with this ballot.
    fn leads(ballot: Ballot, progress: Progress) -> Heartbeat {
        let announcement = Announcement::new(Standing::Leads, ballot);
        let announcement = Announcement { quorate: true, ..announcement };
        Heartbeat::new(Version::OLDEST, announcement, progress)
    }

    /// Whatever shares its memory with what is final by now, or came from elsewhere, is asked for
    /// again with its own bytes.
    #[test]
    fn what_is_asked_for_again_has_its_own_bytes() {
        let mut client = open(Settings::default());
        let shared = Value::new(b"onetwothree");
        for range in [0..3, 3..6] {
            client.on_value(Time::ZERO, &shared, range);
        }
        client.on_input(Time::ZERO, Input::Value(Value::new(b"alone")), &mut Effects::new());
        client.on_value(Time::ZERO, &shared, 6..11);
        let asked_for = |client: &mut Client, now: Time| {
            let mut fx = Effects::new();
            client.on_timer(now, Timer::RetryRequest, &mut fx);
            client.on_turn_end(now, &mut fx);
            let entries = |message: &Message| match message {
                Message::Request(request) => request.entries.clone(),
                other => panic!("{other:?}"),
            };
            let entries = fx.send.iter().map(|(_, message)| entries(message));
            let values = entries.flat_map(|entries| {
                let values = entries.iter().map(|entry| match entry {
                    EntryRef::Value { value, .. } => String::from_utf8(value.to_vec()).unwrap(),
                    other => panic!("{other:?}"),
                });
                values.collect::<Vec<_>>()
            });
            values.collect::<Vec<_>>()
        };
        let all = ["one", "two", "alone", "three"];
        assert_eq!(asked_for(&mut client, Time::ZERO), all);
        assert_eq!(asked_for(&mut client, Time(1_000_000)), all);
        acknowledge(&mut client, Time(1_000_000), Told { delivered: runs(&[(1, 2)]), ..ack() });
        assert_eq!(asked_for(&mut client, Time(3_000_000)), all[1..]);
        acknowledge(&mut client, Time(3_000_000), Told { delivered: runs(&[(3, 4)]), ..ack() });
        assert_eq!(asked_for(&mut client, Time(5_000_000)), ["two", "three"]);
    }

    /// A request goes to the leader alone once one is known, and to everybody when it was not
    /// answered.
    #[test]
    fn the_leader_is_asked_alone_and_everybody_when_it_does_not_answer() {
        let mut client = open(Settings::default());
        let to = |client: &mut Client, now: u64, is_due: bool| {
            let (now, mut fx) = (Time(now), Effects::new());
            if is_due {
                client.on_timer(now, Timer::RetryRequest, &mut fx);
            } else {
                client.on_input(now, Input::Value(Value::new(b"v")), &mut fx);
            }
            client.on_turn_end(now, &mut fx);
            fx.send.iter().map(|(to, _)| *to).collect::<Vec<_>>()
        };
        let (all, first) = (To::Group(Role::Proposer), NodeId::new(Role::Proposer, 1));
        assert_eq!(to(&mut client, 0, false), [all]);
        let ballot = Ballot { round: 1, proposer: 1, boot: 1 };
        let heartbeat = leads(ballot, Progress::until(Instance::FIRST));
        client.on_heartbeat(Time(1), &heartbeat, &mut Effects::new());
        assert_eq!(to(&mut client, 2, false), [all], "the first is asked for again");
        assert_eq!(to(&mut client, 3, false), [To::Node(first)]);
        assert_eq!(to(&mut client, 1_000_000, true), [all]);
    }

    /// The stamps in the requests that a turn of the client sends, with their values.
    fn opens(client: &mut Client, now: u64, input: &[&str]) -> Vec<(u64, usize)> {
        let (now, mut fx) = (Time(now), Effects::new());
        client.on_timer(now, Timer::RetryRequest, &mut fx);
        for word in input {
            client.on_input(now, Input::Value(Value::new(word.as_bytes())), &mut fx);
        }
        client.on_turn_end(now, &mut fx);
        let stamp = |(_, message): &(To, Message)| match message {
            Message::Request(request) => {
                let first = request.entries.origin().map(|origin| origin.opened);
                assert!(
                    request.from > Number::FIRST || first.is_none_or(|it| it == request.opened)
                );
                (request.opened.0, request.entries.len())
            }
            other => panic!("{other}"),
        };
        fx.send.iter().map(stamp).collect()
    }

    fn hears(client: &mut Client, now: u64, quorate: bool, decided_below: u64) {
        let decided_below = Instance(decided_below);
        client.on_request_ack(
            Time(now),
            RequestAck { quorate, full: false, grant: 1 << 20, decided_below, told: vec![ack()] },
        );
    }

    /// Nothing is requested before the session is opened, at the place where a leader says the log
    /// is; and that place never changes.
    #[test]
    fn a_session_is_opened_before_its_first_value() {
        let mut client = Client::new(SESSION, Assignment::Leader, Settings::default());
        let mut fx = Effects::new();
        client.on_start(Time::ZERO, &mut fx);
        assert_eq!(sent(&fx), [(1, 0)], "it asks when it starts");
        assert_eq!(opens(&mut client, 10, &["a"]), [], "it was asked a moment ago");
        assert_eq!(opens(&mut client, 100_000, &[]), [(0, 0)]);
        hears(&mut client, 100_100, false, 70);
        assert_eq!(opens(&mut client, 100_200, &[]), [], "that is no leader with a quorum");
        hears(&mut client, 100_300, true, 70);
        assert_eq!(opens(&mut client, 100_400, &[]), [(70, 1)]);
        hears(&mut client, 100_500, true, 90);
        assert_eq!(opens(&mut client, 100_600, &["b"]), [(70, 1)]);
        assert_eq!(client.opened(), Some(Instance(70)));
    }

    /// A client that was idle from the start asks where the log is again: other sessions may have
    /// moved the horizon past the old answer.
    #[test]
    fn an_old_word_opens_no_session() {
        let mut client = Client::new(SESSION, Assignment::Leader, Settings::default());
        client.on_start(Time::ZERO, &mut Effects::new());
        hears(&mut client, 100, true, 70);
        assert_eq!(opens(&mut client, 9_000_000, &["a"]), [(0, 0)]);
        hears(&mut client, 9_000_100, true, 80);
        assert_eq!(opens(&mut client, 9_000_200, &[]), [(80, 1)]);
        // Instances that a client chooses itself need no session.
        let assignment = Assignment::Client { first: Instance(5) };
        let mut client = Client::new(SESSION, assignment, Settings::default());
        client.on_start(Time::ZERO, &mut Effects::new());
        assert_eq!(opens(&mut client, 10, &["a"]), [(0, 1)]);
    }

    /// Values whose fate is unknown when the session is forgotten count neither as decided nor as
    /// lost.
    #[test]
    fn a_forgotten_session_ends_and_leaves_the_rest_unknown() {
        let (mut client, _) = client(5);
        // The numbers before one that was delivered were delivered.
        acknowledge(&mut client, Time::ZERO, Told { delivered: runs(&[(3, 4)]), ..ack() });
        assert_eq!(
            client.tally(),
            ClientTally { asked: 5, delivered: 1, ..ClientTally::default() }
        );
        let told = Told { is_forgotten: true, ..ack() };
        assert_eq!(acknowledge(&mut client, Time::ZERO, told.clone()), []);
        assert_eq!(
            client.tally(),
            ClientTally { asked: 5, delivered: 3, ..ClientTally::default() }
        );
        assert!(client.is_finished() && client.is_forgotten() && client.input_room() == 0);
        acknowledge(&mut client, Time::ZERO, told);
        assert_eq!(client.tally().undecided(), 2);
    }

    /// Two answers may have gathered before the client ends. All values so far are decided, but its
    /// input is not at its end.
    #[test]
    fn a_session_that_is_said_twice_to_be_forgotten_is() {
        let (mut client, _) = client(1);
        let told = Told { is_forgotten: true, delivered: runs(&[(1, 2)]), ..ack() };
        for _ in 0..2 {
            acknowledge(&mut client, Time::ZERO, told.clone());
            assert!(client.tally().undecided() == 0 && client.is_forgotten());
        }
    }

    fn begins_at(first: u64) -> Heartbeat {
        let (first, watermark) = (Instance(first), Instance(first + 9));
        let progress = Progress { first, watermark, ..Progress::until(Instance::FIRST) };
        let heartbeat = leads(Ballot { round: 1, proposer: 1, boot: 1 }, progress);
        Heartbeat { version: Version::NEWEST, ..heartbeat }
    }

    /// Nobody knows who won a removed instance: its value counts as neither decided nor lost, and
    /// is not waited for.
    #[test]
    fn instances_that_are_removed_are_given_up_and_the_others_are_not() {
        let assignment = Assignment::Client { first: Instance(5) };
        let mut client = Client::new(SESSION, assignment, Settings::default());
        let mut fx = Effects::new();
        for _ in 0..5 {
            client.on_input(Time::ZERO, Input::Value(Value::new(b"v")), &mut fx);
        }
        client.on_input(Time::ZERO, Input::End, &mut fx);
        client.on_turn_end(Time::ZERO, &mut fx);
        acknowledge(&mut client, Time::ZERO, Told { delivered: runs(&[(2, 3)]), ..ack() });
        client.on_heartbeat(Time(1), &begins_at(5), &mut fx);
        assert_eq!(client.tally().trimmed, 0, "what it asks for is there");
        let mut unheard = begins_at(8);
        unheard.announcement.quorate = false;
        client.on_heartbeat(Time(1), &unheard, &mut fx);
        assert_eq!(client.tally().trimmed, 0, "others may lead, and hold it");
        for _ in 0..2 {
            client.on_heartbeat(Time(1), &begins_at(8), &mut fx);
            let tally = ClientTally { asked: 5, delivered: 1, lost: 0, trimmed: 2 };
            assert_eq!((client.tally(), client.front()), (tally, Number(4)));
        }
        assert_eq!((client.tally().undecided(), client.is_finished()), (2, false));
        // An answer now is too late, and none counts twice.
        let late = Told { delivered: runs(&[(1, 4)]), lost: runs(&[(4, 6)]), ..ack() };
        acknowledge(&mut client, Time::ZERO, late);
        assert_eq!((client.tally().trimmed, client.tally().lost), (2, 2));
        assert!(client.is_finished() && client.bytes == 0);
        let mut client = open(Settings::default());
        client.on_input(Time::ZERO, Input::Value(Value::new(b"v")), &mut fx);
        client.on_heartbeat(Time(1), &begins_at(99), &mut fx);
        assert_eq!(client.tally().trimmed, 0, "the leader places these");
    }

    #[test]
    fn it_is_finished_when_the_fate_of_every_value_is_known() {
        let (mut client, fx) = client(3);
        assert_eq!(sent(&fx), [(1, 3)]);
        client.on_input(Time::ZERO, Input::End, &mut Effects::new());
        let ack = Told { delivered: runs(&[(1, 2)]), lost: runs(&[(3, 4)]), ..ack() };
        acknowledge(&mut client, Time::ZERO, ack.clone());
        acknowledge(&mut client, Time::ZERO, ack);
        assert_eq!((client.tally().undecided(), client.is_finished()), (1, false));
        let rest = Told { delivered: runs(&[(1, u64::MAX)]), ..self::ack() };
        acknowledge(&mut client, Time::ZERO, rest);
        assert_eq!(client.tally(), ClientTally { asked: 3, delivered: 2, lost: 1, trimmed: 0 });
        assert!(client.is_finished());
    }

    /// What a client says last: its numbers end here. It says so once, and only if the session ends
    /// with it and everything of it was delivered.
    #[test]
    fn it_takes_leave_once_when_all_is_decided_and_nobody_goes_on() {
        let end = |client: &mut Client| {
            client.on_input(Time::ZERO, Input::End, &mut Effects::new());
            let first = Told { delivered: runs(&[(1, 3)]), ..ack() };
            assert_eq!(acknowledge(client, Time::ZERO, first), [], "one is still open");
            let last = Told { delivered: runs(&[(3, 4)]), ..ack() };
            let said = acknowledge(client, Time::ZERO, last.clone());
            assert!(client.is_finished());
            assert_eq!(acknowledge(client, Time::ZERO, last), []);
            said
        };
        assert_eq!(end(&mut client(3).0), [(4, 0)]);
        assert_eq!(end(&mut client(3).0.resumable()), []);

        let (mut lost, _) = client(1);
        acknowledge(&mut lost, Time::ZERO, Told { lost: runs(&[(1, 2)]), ..ack() });
        assert!(lost.is_finished(), "its session has ended already");
        let mut fx = Effects::new();
        lost.on_turn_end(Time::ZERO, &mut fx);
        assert_eq!(sent(&fx), []);

        // Without a value no session was opened.
        let mut silent = Client::new(SESSION, Assignment::Leader, Settings::default());
        silent.on_input(Time::ZERO, Input::End, &mut fx);
        silent.on_turn_end(Time::ZERO, &mut fx);
        assert_eq!((silent.is_finished(), sent(&fx)), (true, Vec::new()));
    }

    #[test]
    fn what_is_missing_before_something_that_arrived_is_sent_again() {
        let (mut client, _) = client(5);
        let now = Time::ZERO + Duration::from_millis(20);
        let ack = Told { received: runs(&[(1, 2), (4, 6)]), ..ack() };
        assert_eq!(acknowledge(&mut client, now, ack), [(2, 2)]);
    }

    /// Values the leader holds wait for those it lacks, so the missing ones must not wait for room.
    #[test]
    fn what_is_missing_is_sent_again_however_little_the_leader_allows() {
        let mut client = open(Settings::default());
        let (mut now, mut asked) = (Time::ZERO, 0);
        for _ in 0..3 {
            now = now + Duration::from_millis(20);
            (0..500).for_each(|_| {
                let value = Input::Value(Value::new(&[b'v'; 100]));
                client.on_input(now, value, &mut Effects::new());
            });
            let mut fx = Effects::new();
            client.on_turn_end(now, &mut fx);
            asked = sent(&fx).last().map_or(asked, |(from, count)| from + *count as u64);
            let delivered = runs(&[(1, asked - 200)]);
            acknowledge(&mut client, now, Told { delivered, ..ack() });
        }
        let missed = asked - 200;
        now = now + Duration::from_millis(20);
        let told = vec![Told { received: runs(&[(missed + 2, asked)]), ..ack() }];
        let (quorate, full, grant, decided_below) = (true, false, 0, Instance(1));
        let ack = RequestAck { quorate, full, grant, decided_below, told };
        let leader = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
        let mut fx = Effects::new();
        client.on_message(now, leader, Message::RequestAck(ack), &mut fx);
        client.flow.on_silence(now, Duration::ZERO);
        client.flow.on_silence(now, Duration::ZERO);
        client.on_turn_end(now, &mut fx);
        assert!(client.flow.room() == 0, "{} bytes may leave", client.flow.room());
        assert_eq!(sent(&fx), [(missed, 2)]);
    }

    #[test]
    fn a_new_leader_is_asked_again_at_once() {
        let (mut client, mut fx) = client(2);
        fx.clear();
        let ballot = Ballot { round: 2, proposer: 2, boot: 1 };
        let heartbeat = leads(ballot, Progress::until(Instance::FIRST));
        let leader = Sender { node: NodeId::new(Role::Proposer, 2), boot: 1 };
        for _ in 0..2 {
            client.on_message(Time::ZERO, leader, Message::Heartbeat(heartbeat.clone()), &mut fx);
            client.on_turn_end(Time::ZERO, &mut fx);
        }
        assert_eq!(sent(&fx), [(1, 2)]);
    }

    /// A client with a value of this many parts.
    fn long(parts: usize, settings: Settings) -> (Client, Effects) {
        let bytes = settings.part_bytes() * parts - 1;
        let mut client = open(settings);
        let mut fx = Effects::new();
        client.on_input(Time::ZERO, Input::Value(Value::new(&vec![b'l'; bytes])), &mut fx);
        client.on_turn_end(Time::ZERO, &mut fx);
        (client, fx)
    }

    #[test]
    fn a_long_value_goes_through_the_window_and_counts_once() {
        let settings = Settings { window_bytes: 4000, ..Settings::default() };
        let (mut client, fx) = long(8, settings);
        assert_eq!(sent(&fx), [(1, 1), (2, 1), (3, 1), (4, 1)], "no more than the window");
        assert_eq!((client.input_room(), client.tally().asked), (0, 1));
        let part = |from, until| Told { delivered: runs(&[(from, until)]), ..ack() };
        assert_eq!(acknowledge(&mut client, Time::ZERO, part(1, 3)), [(5, 1), (6, 1)]);
        assert_eq!(acknowledge(&mut client, Time::ZERO, part(3, 7)), [(7, 1), (8, 1)]);
        assert_eq!(client.tally(), ClientTally { asked: 1, ..ClientTally::default() });
        assert!(client.input_room() > 0, "all of it is in the window");
        client.on_input(Time::ZERO, Input::End, &mut Effects::new());
        assert!(!client.is_finished());
        acknowledge(&mut client, Time::ZERO, part(7, 9));
        assert_eq!(
            client.tally(),
            ClientTally { asked: 1, delivered: 1, ..ClientTally::default() }
        );
        assert!(client.is_finished() && client.bytes == 0);
    }

    #[test]
    fn what_follows_a_first_part_that_is_not_taken_in_waits() {
        let (mut client, fx) = long(5, Settings::default());
        assert_eq!(sent(&fx).len(), 5);
        let (mut now, mut sent_again) = (Time::ZERO, 0);
        for _ in 0..1000 {
            now = now + Duration::from_millis(5);
            let mut fx = Effects::new();
            client.on_timer(now, Timer::RetryRequest, &mut fx);
            client.on_turn_end(now, &mut fx);
            assert!(sent(&fx).iter().all(|(from, _)| *from == 1), "{:?}", sent(&fx));
            sent_again += sent(&fx).len();
        }
        assert!((8..20).contains(&sent_again), "{sent_again} times in five seconds");
        let told = Told { received: runs(&[(1, 2)]), ..ack() };
        assert_eq!(acknowledge(&mut client, now, told), [(2, 1), (3, 1), (4, 1), (5, 1)]);
    }

    #[test]
    fn a_session_that_has_ended_asks_for_nothing_more() {
        let settings = Settings { window_bytes: 4000, ..Settings::default() };
        let (mut client, _) = long(8, settings);
        acknowledge(&mut client, Time::ZERO, Told { delivered: runs(&[(1, 3)]), ..ack() });
        let told = Told { lost: runs(&[(4, 5)]), ..ack() };
        assert_eq!(acknowledge(&mut client, Time::ZERO, told), []);
        assert_eq!((client.input_room(), client.is_finished()), (0, false));
        assert_eq!(client.tally(), ClientTally { asked: 1, lost: 1, ..ClientTally::default() });
        acknowledge(&mut client, Time::ZERO, Told { delivered: runs(&[(3, 4)]), ..ack() });
        assert!(client.is_finished() && client.bytes == 0);
    }

    #[test]
    fn it_has_room_for_a_window_and_no_more() {
        let window = Settings::default().client_window;
        let (client, _) = client(window - 1);
        assert_eq!(client.input_room(), 1);
    }

    /// A leader with little room is not sent an entire window again and again.
    #[test]
    fn no_more_is_sent_than_the_leader_has_room_for() {
        const ROOM: u64 = 100;
        let (mut client, fx) = client(4096);
        let (mut now, mut taken, mut sent_all) = (Time::ZERO, 0, 0);
        let mut arrived: Vec<(u64, usize)> = sent(&fx);
        for _ in 0..12_000 {
            sent_all += arrived.iter().map(|(_, count)| count).sum::<usize>();
            // It takes what comes in order, as far as it has room, and gets it decided.
            let room = taken + ROOM;
            for (from, count) in std::mem::take(&mut arrived) {
                if from <= taken + 1 {
                    taken = taken.max(room.min(from - 1 + count as u64));
                }
            }
            now = now + Duration::from_micros(500);
            let delivered = if taken > 0 { runs(&[(1, taken + 1)]) } else { Few::new() };
            arrived = acknowledge(&mut client, now, Told { delivered, ..ack() });
            let mut fx = Effects::new();
            client.on_timer(now, Timer::RetryRequest, &mut fx);
            client.on_turn_end(now, &mut fx);
            arrived.extend(sent(&fx));
            if client.window.is_empty() {
                break;
            }
        }
        assert_eq!(taken, 4096);
        assert!(now < Time::ZERO + Duration::from_secs(3), "{now}");
        assert!(sent_all < 4096 * 8, "{sent_all}");
    }

    #[test]
    fn a_value_that_is_lost_alone_does_not_make_it_send_less() {
        let (mut client, _) = client(4000);
        let now = Time::ZERO + Duration::from_millis(20);
        let ack = Told { received: runs(&[(1, 2000), (2001, 4001)]), ..ack() };
        assert_eq!(acknowledge(&mut client, now, ack), [(2000, 1)]);
        let later = now + Duration::from_secs(1);
        client.on_timer(later, Timer::RetryRequest, &mut Effects::new());
        assert_eq!(client.reach, Settings::default().client_window);
    }

    /// A client that asks for an instance no leader accepts yet logs now and then what it waits
    /// for.
    #[test]
    fn an_instance_too_far_ahead_is_spoken_of() {
        let assignment = Assignment::Client { first: Instance(2_000_000) };
        let mut client = Client::new(SESSION, assignment, Settings::default());
        let mut fx = Effects::new();
        client.on_input(Time::ZERO, Input::Value(Value::new(b"v")), &mut fx);
        let mut told = |millis, watermark| {
            let ballot = Ballot { round: 1, proposer: 1, boot: 1 };
            let progress = Progress { watermark, ..Progress::until(Instance::FIRST) };
            let heartbeat = leads(ballot, progress);
            let now = Time::ZERO + Duration::from_millis(millis);
            client.on_heartbeat(now, &heartbeat, &mut fx);
            client.told_far
        };
        let second = |seconds| Some(Time::ZERO + Duration::from_secs(seconds));
        assert_eq!(told(1000, Instance(7)), second(1));
        assert_eq!(told(2000, Instance(7)), second(1), "once is enough for a while");
        assert_eq!(told(11_000, Instance(8)), second(11));
        assert_eq!(told(12_000, Instance(1_000_000)), None, "it is taken now");
    }
}
