//! What does a leader acknowledge to clients: which values it received, which are final, and which
//! must be sent again?

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::protocol::actor::Effects;
use crate::protocol::decided_log::DecidedLog;
use crate::protocol::message::{Message, RequestAck, Told};
use crate::protocol::packing::{merge, merged, rest, runs_per_page};
use crate::protocol::settings::Settings;
use crate::protocol::types::{
    Counted, Few, Instance, NodeId, Number, Role, Run, Session, TOLD_BYTES_MAX, Time, To,
};

/// The acknowledgements that clients are due.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notes {
    sessions: Sessions,
    /// The sessions to answer at the end of this turn.
    urgent: Vec<Session>,
    /// The sessions to tell, when the timer comes, what was received.
    waiting: Vec<Session>,
    /// Whether the leader is quorate.
    quorate: bool,
    /// Whether it takes no new values.
    full: bool,
    /// How many bytes each session may have waiting.
    grant: u32,
    /// From when on the group of all clients may be told something again, if there are many.
    group_from: Time,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Note {
    /// Received, with the instance asked for by the first, if the client asked for one.
    received: Vec<(Run<Number>, Option<Instance>)>,
    delivered: Few<Run<Number>>,
    lost: Few<Run<Number>>,
    /// Above every number that was received, if there was any.
    end: Option<Number>,
    /// Something is missing before what was received in this turn.
    has_gap: bool,
    /// Whether `urgent` has the session, and whether `waiting` has it.
    is_urgent: bool,
    is_waiting: bool,
    /// Whether it is owed an answer, even an empty one, because it asked.
    is_owed: bool,
    /// Whether a request came since its last answer.
    requested: bool,
    /// For how many timers it has waited to be told what was received.
    waited: usize,
    /// Whether it must be told that it is forgotten.
    is_forgotten: bool,
    /// How often in a row it has asked again for what it had been told.
    asked_again: u32,
    /// The contents of the last acknowledgements.
    told: VecDeque<Earlier>,
}

/// The contents of an earlier acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Earlier {
    delivered: Few<Run<Number>>,
    lost: Few<Run<Number>>,
}

/// In how many acknowledgements the fate of a value is repeated, as long as others follow: so a
/// lost one is seldom missed.
const TOLD_AGAIN: usize = 4;

/// How often a client that asks again is answered directly before it is answered by its group.
const PATIENCE: u32 = 2;

/// More sessions than this that wait at once are a crowd. Where this many wait, each is told what
/// was received when the timer comes; where twice as many do, one with a single value in flight
/// waits for two of them, and so on: a client that is told is woken, and of a thousand most are
/// soon woken again to hear that their values are final.
const CROWD: usize = 64;

/// For how many timers one waits at most.
const TICKS_MAX: usize = 16;

/// The time it takes to wake one client for something that concerns another. A datagram to the
/// group costs that once for each client of a crowd, and no other follows until it has passed: if
/// each that asks again woke all others, those too busy to hear an answer in time would never hear
/// one.
const WAKING: Duration = Duration::from_micros(50);

/// How many sessions are remembered at least after their last answer.
const SESSIONS_KEPT: usize = 4096;

/// The sessions heard from recently.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Sessions {
    recent: BTreeMap<Session, Note>,
    /// The sessions heard from before those, which are forgotten next. No answer is owed to them.
    older: BTreeMap<Session, Note>,
    /// How many were owed an answer when the others became the older ones.
    busy: usize,
}

impl Sessions {
    /// The note of `session`, which was heard from just now.
    fn note(&mut self, session: Session) -> &mut Note {
        if self.recent.len() >= SESSIONS_KEPT.max(self.busy * 2)
            && !self.recent.contains_key(&session)
        {
            let all = std::mem::take(&mut self.recent).into_iter();
            (self.recent, self.older) = all.partition(|(_, note)| note.is_busy());
            self.busy = self.recent.len();
        }
        let older = &mut self.older;
        self.recent.entry(session).or_insert_with(|| older.remove(&session).unwrap_or_default())
    }
}

impl Notes {
    /// Owes `session` an answer, if only to say that a leader is there: it `requested` something,
    /// or it pleaded.
    pub fn owe(&mut self, session: Session, requested: bool) {
        let note = self.sessions.note(session);
        note.is_owed = true;
        note.requested |= requested;
        if !std::mem::replace(&mut note.is_waiting, true) {
            self.waiting.push(session);
        }
    }

    /// Answers `session` by its group, for it has heard from no leader for long.
    pub fn owe_widely(&mut self, session: Session) {
        self.owe(session, false);
        self.sessions.note(session).asked_again = PATIENCE;
    }

    /// Whether the leader that answers is quorate.
    pub fn set_quorate(&mut self, quorate: bool) {
        self.quorate = quorate;
    }

    /// Whether the leader takes no new values.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// How many bytes each session may have waiting.
    pub fn set_grant(&mut self, bytes: usize) {
        self.grant = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    /// Values are held, and will be decided if this leader lives. `asked` is the instance of the
    /// first, if the client asked for one.
    pub fn received(&mut self, session: Session, numbers: Run<Number>, asked: Option<Instance>) {
        let note = self.sessions.note(session);
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
        let note = self.sessions.note(session);
        let has_gap = note.end.is_some_and(|end| numbers.from > end);
        note.has_gap |= has_gap;
        if note.has_told(numbers.from) {
            note.ask_again();
        } else if note.end.is_none_or(|end| numbers.until > end) {
            note.asked_again = 0; // Everything told so far has arrived.
        }
        note.end = note.end.max(Some(numbers.until));
        if has_gap && !std::mem::replace(&mut note.is_urgent, true) {
            self.urgent.push(session);
        }
    }

    /// Values are decided where their client asked for them, or delivered.
    pub fn delivered(&mut self, session: Session, numbers: Run<Number>) {
        extend(&mut self.urgent(session).delivered, numbers);
    }

    /// `session` asks where the log is, and is told at the end of this turn. It asks again if that
    /// does not reach it.
    pub fn greeted(&mut self, session: Session) {
        self.urgent(session).ask_again();
    }

    /// Nothing more of `session` is delivered, and nobody knows how much was.
    pub fn forgotten(&mut self, session: Session) {
        self.urgent(session).is_forgotten = true;
    }

    /// The values' instances hold something else, or their session has ended.
    pub fn lost(&mut self, session: Session, numbers: Run<Number>) {
        extend(&mut self.urgent(session).lost, numbers);
    }

    /// The note of a session that must be answered at the end of this turn.
    fn urgent(&mut self, session: Session) -> &mut Note {
        let note = self.sessions.note(session);
        if !std::mem::replace(&mut note.is_urgent, true) {
            self.urgent.push(session);
        }
        note
    }

    /// Whether everything received has been acknowledged.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn pages(&self, now: Time, log: &DecidedLog, settings: &Settings) -> Pages {
        let (quorate, full, grant) = (self.quorate, self.full, self.grant);
        let (decided_below, told) = (log.decided_below(), Vec::new());
        let crowd = Some(self.waiting.len()).filter(|waiting| *waiting > CROWD);
        Pages {
            ack: RequestAck { quorate, full, grant, decided_below, told },
            page_bytes: settings.page_bytes(),
            to: To::Group(Role::Client),
            bytes: 0,
            group: crowd.map(|crowd| GroupPage::new(crowd, now >= self.group_from)),
        }
    }

    /// Sends what is left of `pages`.
    fn finish(&mut self, now: Time, pages: Pages, fx: &mut Effects) {
        if let Some(crowd) = pages.finish(fx) {
            self.group_from = now + WAKING * u32::try_from(crowd).unwrap_or(u32::MAX);
        }
    }

    /// Sends what is final and, where there is a gap, what has arrived. Values that were merely
    /// received can wait: mostly they are final soon.
    pub fn send_final(
        &mut self,
        now: Time,
        log: &DecidedLog,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let mut pages = self.pages(now, log, settings);
        for session in self.urgent.drain(..) {
            let Some(note) = self.sessions.recent.get_mut(&session) else { continue };
            note.is_urgent = false;
            let received = if std::mem::take(&mut note.has_gap) {
                note.take_open(session, log)
            } else {
                Few::new()
            };
            let delivered = merged(std::mem::take(&mut note.delivered));
            let lost = merged(std::mem::take(&mut note.lost));
            let mut all_delivered = Few::from_slice(&delivered);
            let mut all_lost = Few::from_slice(&lost);
            // Mostly each continues the one before.
            for told in note.told.iter().rev() {
                told.delivered.iter().for_each(|run| precede(&mut all_delivered, *run));
                told.lost.iter().for_each(|run| precede(&mut all_lost, *run));
            }
            (note.is_owed, note.requested) = (false, false);
            if note.waited > 0 && !note.has_one_open(session, log) {
                note.waited = 0;
            }
            let told = Told {
                session,
                requested: true,
                is_forgotten: std::mem::take(&mut note.is_forgotten),
                received,
                delivered: merged(all_delivered),
                lost: merged(all_lost),
            };
            pages.tell(note.to(session), told, fx);
            if note.told.len() == TOLD_AGAIN - 1 {
                note.told.pop_front();
            }
            note.told.push_back(Earlier { delivered, lost });
        }
        self.finish(now, pages, fx);
    }

    /// Sends what was received and is still not final, so that clients need not ask again soon.
    /// Where many wait, those that have waited for less than their time go on to do so.
    pub fn send_received(
        &mut self,
        now: Time,
        log: &DecidedLog,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let mut pages = self.pages(now, log, settings);
        let ticks = self.waiting.len().div_ceil(CROWD).min(TICKS_MAX);
        let sessions = &mut self.sessions.recent;
        self.waiting.retain(|session| {
            let Some(note) = sessions.get_mut(session) else { return false };
            note.waited += 1;
            // With more in flight, a client takes what it is not told for lost.
            if note.waited < ticks
                && note.asked_again < PATIENCE
                && !note.received.is_empty()
                && note.has_one_open(*session, log)
            {
                return true;
            }
            (note.is_waiting, note.waited) = (false, 0);
            let session = *session;
            let open = note.take_open(session, log);
            if std::mem::take(&mut note.is_owed) || !open.is_empty() {
                let requested = std::mem::take(&mut note.requested) || !open.is_empty();
                let told = Told { received: open, ..Told::new(session, requested) };
                pages.tell(note.to(session), told, fx);
            }
            false
        });
        self.finish(now, pages, fx);
    }
}

/// Adds numbers to runs. Mostly they follow the last one.
fn extend(runs: &mut Few<Run<Number>>, numbers: Run<Number>) {
    match runs.last_mut() {
        Some(last) if last.until == numbers.from => last.until = numbers.until,
        _ => runs.push(numbers),
    }
}

/// The same in front of them.
fn precede(runs: &mut Few<Run<Number>>, numbers: Run<Number>) {
    match runs.first_mut() {
        Some(first) if first.from == numbers.until => first.from = numbers.from,
        _ => runs.push(numbers),
    }
}

impl Note {
    fn ask_again(&mut self) {
        self.asked_again = (self.asked_again + 1).min(PATIENCE);
    }

    /// Whether the session is owed an answer.
    fn is_busy(&self) -> bool {
        self.is_urgent || self.is_waiting
    }

    /// Whether one of the last acknowledgements told the session what became of this value.
    fn has_told(&self, number: Number) -> bool {
        let has = |runs: &Few<Run<Number>>| runs.iter().any(|run| run.contains(number));
        self.told.iter().any(|told| has(&told.delivered) || has(&told.lost))
    }

    /// Where answers to the session go: to its client, until that has asked for the same thing
    /// often enough. A single repetition may be an ordinary loss, and a group of a thousand clients
    /// should not hear of each.
    fn to(&self, session: Session) -> To {
        if self.asked_again >= PATIENCE {
            return To::Group(Role::Client);
        }
        To::Node(NodeId::new(Role::Client, session.client))
    }

    /// Whether all that was received is final, but for the last value.
    fn has_one_open(&self, session: Session, log: &DecidedLog) -> bool {
        self.end == Some(log.next_number(session).next())
    }

    /// Takes what was received and is still not final.
    fn take_open(&mut self, session: Session, log: &DecidedLog) -> Few<Run<Number>> {
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
        merge(open).into()
    }
}

/// Acknowledgements on their way out, as many sessions of one addressee in a datagram as fit.
struct Pages {
    /// The one that is being put together.
    ack: RequestAck,
    page_bytes: usize,
    to: To,
    bytes: usize,
    /// What the group is told, where there is a crowd of clients.
    group: Option<GroupPage>,
}

/// The one datagram that a crowd of clients hears; what does not fit goes to its client alone.
struct GroupPage {
    told: Vec<Told>,
    /// How many wait.
    crowd: usize,
    /// Whether there may be one now.
    is_due: bool,
    bytes: usize,
}

impl GroupPage {
    fn new(crowd: usize, is_due: bool) -> Self {
        GroupPage { told: Vec::new(), crowd, is_due, bytes: 0 }
    }

    /// Takes `told`, if it fits.
    fn take(&mut self, told: Told, page_bytes: usize) -> Result<(), Told> {
        let bytes = told.wire_bytes_max();
        if !self.is_due || self.bytes + bytes > page_bytes {
            return Err(told);
        }
        self.bytes += bytes;
        self.told.push(told);
        Ok(())
    }
}

impl Pages {
    /// Sends a session its acknowledgement, in several datagrams if it is too long for one.
    fn tell(&mut self, mut to: To, mut told: Told, fx: &mut Effects) {
        if to == To::Group(Role::Client)
            && let Some(page) = &mut self.group
        {
            match page.take(told, self.page_bytes) {
                Ok(()) => return,
                Err(rest) => told = rest,
            }
            to = To::Node(NodeId::new(Role::Client, told.session.client));
        }
        if to != self.to {
            self.send(fx);
            self.to = to;
        }
        // A third of a datagram for each list.
        let room = self.page_bytes.saturating_sub(TOLD_BYTES_MAX);
        let most = (runs_per_page(room) / 3).max(1);
        while told.received.len().max(told.delivered.len()).max(told.lost.len()) > most {
            let [received, delivered, lost] =
                [&mut told.received, &mut told.delivered, &mut told.lost]
                    .map(|runs| rest(runs, most));
            let rest =
                Told { received, delivered, lost, ..Told::new(told.session, told.requested) };
            self.add(told, fx);
            told = rest;
        }
        self.add(told, fx);
    }

    fn add(&mut self, told: Told, fx: &mut Effects) {
        let bytes = told.wire_bytes_max();
        if self.bytes + bytes > self.page_bytes {
            self.send(fx);
        }
        self.bytes += bytes;
        self.ack.told.push(told);
    }

    /// Sends the rest. Says how large a crowd was told something.
    fn finish(mut self, fx: &mut Effects) -> Option<usize> {
        self.send(fx);
        let GroupPage { told, crowd, .. } = self.group.take()?;
        if told.is_empty() {
            return None;
        }
        (self.to, self.ack.told) = (To::Group(Role::Client), told);
        self.send(fx);
        Some(crowd)
    }

    fn send(&mut self, fx: &mut Effects) {
        if !self.ack.told.is_empty() {
            let told = std::mem::take(&mut self.ack.told);
            self.bytes = 0;
            fx.send(self.to, Message::RequestAck(RequestAck { told, ..self.ack.clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SESSION: Session = Session { client: 1, boot: 1 };

    fn one(number: u64) -> Run<Number> {
        Run::new(Number(number), Number(number + 1))
    }

    /// How many sessions an acknowledgement tells something.
    fn told_by(message: &Message) -> usize {
        match message {
            Message::RequestAck(ack) => ack.told.len(),
            other => panic!("{other}"),
        }
    }

    /// Found by measuring: the timer for what was received came in the turn of a delivery, and the
    /// client was not told before it asked again.
    #[test]
    fn what_is_final_is_told_also_when_the_timer_for_the_rest_comes_first() {
        let (mut notes, settings, mut fx) = (Notes::default(), Settings::default(), Effects::new());
        notes.received(SESSION, one(1), None);
        notes.delivered(SESSION, one(1));
        notes.send_received(Time::ZERO, &DecidedLog::new(), &settings, &mut fx);
        notes.send_final(Time::ZERO, &DecidedLog::new(), &settings, &mut fx);
        let told = |(_, message): &(To, Message)| match message {
            Message::RequestAck(ack) => ack.told[0].delivered.clone(),
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
            notes.send_final(Time::ZERO, &DecidedLog::new(), &settings, &mut fx);
        }
        notes.send_final(Time::ZERO, &DecidedLog::new(), &settings, &mut fx);
        let told: Vec<String> = fx
            .send
            .iter()
            .map(|(_, message)| match message {
                Message::RequestAck(ack) => ack.told[0].delivered[0].to_string(),
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(told, ["#1..#2", "#1..#3", "#1..#4", "#1..#5", "#2..#6", "#3..#7"]);
    }

    /// The memory of sessions does not grow with their number, and no session that is owed an
    /// answer is forgotten.
    #[test]
    fn sessions_that_are_heard_of_no_more_are_forgotten() {
        let (mut notes, settings, mut fx) = (Notes::default(), Settings::default(), Effects::new());
        let session = |client| Session { client, boot: 1 };
        notes.received(session(1), one(1), None);
        for client in 2..=50_000 {
            notes.delivered(session(client), one(1));
            if client % 5000 == 0 {
                notes.send_final(Time::ZERO, &DecidedLog::new(), &settings, &mut fx);
            }
        }
        notes.send_received(Time::ZERO, &DecidedLog::new(), &settings, &mut fx);
        assert_eq!(fx.send.iter().map(|(_, message)| told_by(message)).sum::<usize>(), 50_000);
        let addressees: BTreeSet<To> = fx.send.iter().map(|(to, _)| *to).collect();
        assert_eq!((fx.send.len(), addressees.len()), (50_000, 50_000), "each alone");
        assert!(notes.sessions.recent.len() + notes.sessions.older.len() <= 4 * 5000);
    }

    /// A client that was answered, and asks again and again, may have another address now.
    #[test]
    fn a_client_that_asks_again_and_again_is_answered_by_its_group() {
        let (mut notes, settings, mut fx) = (Notes::default(), Settings::default(), Effects::new());
        let mut ask = |number| {
            notes.requested(SESSION, one(number));
            notes.delivered(SESSION, one(number));
            notes.send_final(Time::ZERO, &DecidedLog::new(), &settings, &mut fx);
            fx.send.drain(..).map(|(to, _)| to).collect::<Vec<_>>()
        };
        let (alone, all) = (To::Node(NodeId::new(Role::Client, 1)), To::Group(Role::Client));
        let asked = [1, 1, 1, 1, 2, 2, 2, 3].map(|number| ask(number)[0]);
        assert_eq!(asked, [alone, alone, all, all, alone, alone, all, alone]);
        notes.owe_widely(SESSION);
        notes.send_received(Time::ZERO, &DecidedLog::new(), &settings, &mut fx);
        assert_eq!(fx.send[0].0, all);
    }

    /// Most of a thousand clients hear that their value is final before they would be told that it
    /// was received. One that pleads is answered, however many there are.
    #[test]
    fn where_many_wait_they_are_told_later_what_was_received() {
        let (settings, log) = (Settings::default(), DecidedLog::new());
        let ticks = |sessions: usize, pleads: bool| {
            let (mut notes, mut fx) = (Notes::default(), Effects::new());
            for client in 1..=sessions as u32 {
                let session = Session { client, boot: 1 };
                notes.owe(session, true);
                notes.requested(session, one(1));
                notes.received(session, one(1), None);
            }
            if pleads {
                notes.owe_widely(SESSION);
            }
            (1..).find(|_| {
                notes.send_received(Time::ZERO, &log, &settings, &mut fx);
                !fx.send.is_empty()
            })
        };
        assert_eq!(
            [1, 64, 65, 1024].map(|sessions| ticks(sessions, false)),
            [1, 1, 2, 16].map(Some)
        );
        assert_eq!(ticks(1024, true), Some(1));
    }

    /// Of a crowd that asks again and again, a datagram's worth is answered by the group at a time.
    #[test]
    fn a_crowd_is_not_woken_for_each_of_its_clients() {
        let (settings, log) = (Settings::default(), DecidedLog::new());
        let (mut notes, mut fx) = (Notes::default(), Effects::new());
        let widely_at = |millis: u64| {
            for client in 1..=1000 {
                let session = Session { client, boot: 1 };
                (0..=PATIENCE).for_each(|_| notes.requested(session, one(1)));
                notes.owe(session, true);
                notes.delivered(session, one(1));
            }
            notes.send_final(Time(millis * 1000), &log, &settings, &mut fx);
            let told: usize = fx.send.iter().map(|(_, message)| told_by(message)).sum();
            assert_eq!(told, 1000, "each is answered");
            fx.send.drain(..).filter(|(to, _)| *to == To::Group(Role::Client)).count()
        };
        // Nobody has been told anything before the first.
        assert_eq!([0, 10, 20, 60, 61, 109, 110].map(widely_at), [0, 1, 0, 1, 0, 0, 1]);
    }

    /// A request that is missing before one that arrived is asked for at once.
    #[test]
    fn a_gap_is_told_at_once() {
        let (mut notes, settings, mut fx) = (Notes::default(), Settings::default(), Effects::new());
        let mut arrive = |number| {
            notes.requested(SESSION, one(number));
            notes.received(SESSION, one(number), None);
            notes.send_final(Time::ZERO, &DecidedLog::new(), &settings, &mut fx);
            fx.send.len()
        };
        assert_eq!(arrive(1), 0);
        assert_eq!(arrive(3), 1);
        assert_eq!(arrive(4), 1);
        assert_eq!(arrive(2), 1);
        let Message::RequestAck(ack) = &fx.send[0].1 else { panic!("an acknowledgement") };
        let runs: Vec<_> = ack.told[0].received.iter().map(Run::to_string).collect();
        assert_eq!(runs, ["#1..#2", "#3..#4"]);
    }
}
