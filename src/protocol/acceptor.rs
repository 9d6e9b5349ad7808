//! The acceptor: it promises, accepts, and remembers.
//!
//! It holds one promise for the whole log, so that one Prepare covers every instance. Everything
//! its answers rest on is in [`Effects::persist`] of the same turn, and the driver stores before it
//! sends.

mod hearing;
#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;
mod room;

use std::collections::BTreeSet;

use log::{debug, warn};

use self::hearing::Hearing;

use super::actor::{Actor, Effects, Halt, Ignored, Input, Record, Room};
use super::checkpoint::{self, Head, History};
use super::figures::Figures;
use super::message::{
    Accept, Accepted, AcceptedPage, Disown, Echo, Heard, Interest, Kind, Message, Nack, Prepare,
    Progress, Promise, ReadReply, ReadRequest, Recall, Recalled,
};
use super::packing::{merged, rest, runs_per_page};
use super::recall::Reading;
use super::segments::{Page, Segments};
use super::settings::Settings;
use super::timer::Timer;
use super::types::{Ballot, Counted, Few, Instance, NodeId, Role, Run, Sender, Time, To};
use super::versions::{Followed, Version};

/// No honest round is this far above the one before: a larger jump is broken or hostile, and
/// storing it would use up the rounds.
pub const ROUND_JUMP_MAX: u64 = 1 << 32;

/// How many learners are answered from the disk in one turn, at most.
const READINGS_MAX: usize = 4;

/// One acceptor's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acceptor {
    id: u32,
    /// Its incarnation: the same for as long as its data survive.
    incarnation: u64,
    settings: Settings,
    /// The highest ballot answered: nothing below it is promised or accepted any more.
    promised: Ballot,
    /// What was accepted last in each instance, and in which ballot.
    accepted: Segments<Ballot>,
    /// Votes below it are removed: those instances are decided, and a checkpoint above replaces
    /// them.
    trimmed: Instance,
    /// Votes below it are not in memory. Those instances are decided as well, and a checkpoint
    /// above replaces them; down to `trimmed` the votes are on the disk.
    forgotten: Instance,
    /// Where first pieces of checkpoints were accepted, which may have been replaced since.
    checkpoints: BTreeSet<Instance>,
    /// The highest instance at which a leader has said that the next one may take up the log
    /// (`checkpoint::History`). Everything below is decided, whether that was accepted or not.
    begin: Instance,
    /// The end of what was accepted of values at instances that clients asked for.
    assigned_until: Instance,
    /// Accepted in this turn under `promised`, not answered yet.
    unanswered: Few<Run<Instance>>,
    /// Some of it was stored before this turn, so the earlier answer was lost.
    is_asked_again: bool,
    /// The question that the last promise answered.
    last_asked: Option<(Ballot, Instance, Option<Instance>)>,
    /// The proposers that it hears. This is independent of what is stored.
    hearing: Hearing,
    /// In which version of the wire format the leader sends.
    followed: Followed,
    /// What its disk has room for.
    room: Room,
}

impl Acceptor {
    /// Acceptor `id` (1 to `acceptor_count`), which has not promised anything yet.
    pub fn new(id: u32, incarnation: u64, settings: Settings) -> Self {
        Acceptor {
            id,
            incarnation,
            settings,
            promised: Ballot::ZERO,
            accepted: Segments::new(),
            trimmed: Instance::FIRST,
            forgotten: Instance::FIRST,
            checkpoints: BTreeSet::new(),
            begin: Instance::FIRST,
            assigned_until: Instance::FIRST,
            unanswered: Few::new(),
            is_asked_again: false,
            last_asked: None,
            hearing: Hearing::default(),
            followed: Followed::default(),
            room: Room::Ample,
        }
    }

    /// Takes back a record that an earlier process stored; call it in the order of storing.
    pub fn restore(&mut self, record: Record) {
        match record {
            Record::Promised(ballot) => self.promised = self.promised.max(ballot),
            Record::Accepted { ballot, from, entries } => {
                self.promised = self.promised.max(ballot);
                if !entries.is_empty() {
                    self.keep(Page { from, entries }, ballot);
                }
            }
            Record::Trimmed(below) => {
                self.trimmed = self.trimmed.max(below);
                self.forget(below);
            }
            Record::Forgotten(below) => self.forget(below),
        }
    }

    /// Its incarnation, for as long as its data survive.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The ballot in which `instance` was accepted last.
    pub fn accepted_in(&self, instance: Instance) -> Option<Ballot> {
        self.accepted.get(instance).map(|(_, ballot)| *ballot)
    }

    /// Whether both have promised and accepted the same.
    pub fn remembers_as(&self, other: &Acceptor) -> bool {
        self.promised == other.promised
            && self.accepted == other.accepted
            && (self.trimmed, self.forgotten) == (other.trimmed, other.forgotten)
    }

    /// Votes below it are removed.
    pub fn trimmed(&self) -> Instance {
        self.trimmed
    }

    /// Votes below it are not in memory.
    pub fn forgotten(&self) -> Instance {
        self.forgotten
    }

    /// In how many instances it holds its vote.
    pub fn kept(&self) -> usize {
        self.accepted.len()
    }

    /// In how many instances it has voted, counting those that are forgotten: these are decided,
    /// whether this acceptor voted or not.
    fn accepted_len(&self) -> u64 {
        self.forgotten.0 - 1 + self.accepted.len() as u64
    }

    /// The ballot promised.
    pub fn promised(&self) -> Ballot {
        self.promised
    }

    /// Phase 1b ("Paxos Made Simple", 2.2): promise the ballot unless a higher one is promised,
    /// and report what was accepted.
    fn on_prepare(&mut self, prepare: Prepare, fx: &mut Effects) {
        if prepare.acceptor.is_some_and(|acceptor| acceptor != self.id) {
            return; // For the next page of another acceptor.
        }
        if !self.admit(prepare.ballot, fx) {
            return;
        }
        if prepare.ballot > self.promised && self.room == Room::Exhausted {
            return fx.ignore(Ignored::DiskFull);
        }
        if prepare.ballot > self.promised {
            // Votes from before the promise are answered before it, under their own ballot.
            self.answer_accepts(fx);
            self.promised = prepare.ballot;
            fx.persist.push(Record::Promised(prepare.ballot));
        }
        assert_eq!(self.promised, prepare.ballot);
        let asked = (prepare.ballot, prepare.from, prepare.until);
        let is_owned = prepare.ballot > Ballot::ZERO;
        let again = is_owned && self.last_asked.replace(asked) == Some(asked);
        self.promise(&prepare, owner_of(prepare.ballot, again), fx);
    }

    /// Sends the pages of what was accepted from `prepare.from` on, as many as come at a time.
    fn promise(&self, prepare: &Prepare, owner: To, fx: &mut Effects) {
        let begin = self.takes_up_at();
        // A sender that owns no ballot only looks (`status`, `doctor`).
        let is_owned = prepare.ballot > Ballot::ZERO;
        let mut pages = if is_owned { self.settings.promise_pages() } else { 1 };
        let mut from = Some(prepare.from);
        while let Some(mut promise) = from.map(|from| self.promise_page(prepare, from, begin)) {
            pages -= 1;
            promise.is_followed = promise.next.is_some() && pages > 0;
            from = promise.next.filter(|_| promise.is_followed);
            fx.send(owner, Message::Promise(promise));
        }
    }

    /// The page of accepted entries that begins at `from`, without those below `begin`.
    fn promise_page(&self, prepare: &Prepare, from: Instance, begin: Instance) -> Promise {
        let until = prepare.until.unwrap_or(Instance(u64::MAX));
        let mut promise = Promise {
            ballot: prepare.ballot,
            from,
            until: prepare.until,
            trimmed: begin,
            accepted: Vec::new(),
            next: None,
            is_followed: false,
        };
        let mut room = self.settings.page_bytes();
        for (page, ballot) in self.accepted.pages(Run::new(from.max(begin).min(until), until)) {
            let most = room.saturating_sub(AcceptedPage::BYTES_MAX);
            let fitting = page.entries.prefix(usize::MAX, most).len();
            // The first entry always goes: a datagram has room for the longest.
            let least = usize::from(promise.accepted.is_empty());
            promise.next = Some(page.from);
            if fitting.max(least) == 0 {
                return promise;
            }
            let (page, rest) = page.split(fitting.max(least));
            room = most.saturating_sub(page.entries.bytes());
            promise.next = rest.map(|rest| rest.from);
            promise.accepted.push(AcceptedPage { ballot: *ballot, page });
            if promise.next.is_some() {
                return promise;
            }
        }
        promise
    }

    /// Phase 2b ("Paxos Made Simple", 2.2): accept unless a higher ballot is promised.
    fn on_accept(&mut self, accept: Accept, fx: &mut Effects) {
        if accept.from < Instance::FIRST || accept.entries.is_empty() {
            return fx.ignore(Ignored::Malformed);
        }
        // Judged by the sender's watermark, not by what was accepted here: this acceptor may have
        // slept through a million instances.
        let until = accept.from.plus(accept.entries.len() as u64);
        if until > accept.watermark.plus(self.settings.instances_ahead.saturating_mul(2)) {
            return fx.ignore(Ignored::TooFarAhead);
        }
        if !self.admit(accept.ballot, fx) {
            return;
        }
        if self.room == Room::Ample {
            let Accept { ballot, from, entries, .. } = accept;
            return self.vote(ballot, [Page { from, entries }], fx);
        }
        let pages = self.with_room(&accept);
        if pages.iter().map(|page| page.entries.len()).sum::<usize>() < accept.entries.len() {
            fx.ignore(Ignored::DiskFull);
        }
        // If no page is voted for, the Accept counts as lost, with the promise in it.
        if !pages.is_empty() {
            self.vote(accept.ballot, pages, fx);
        }
    }

    /// Accepts these pages, of one Accept in `ballot`, which is not below the one promised.
    fn vote(&mut self, ballot: Ballot, pages: impl IntoIterator<Item = Page>, fx: &mut Effects) {
        let is_new = ballot > self.promised;
        if is_new {
            // Accepting promises: otherwise a lower ballot could be accepted afterwards.
            self.answer_accepts(fx);
            self.promised = ballot;
        }
        assert_eq!(self.promised, ballot);
        let mut has_stored = false;
        for page in pages {
            self.unanswered.push(page.run());
            has_stored |= self.store(ballot, page, fx);
        }
        if is_new && !has_stored {
            // Forgotten instances are not stored, but the promise that their answer implies is.
            fx.persist.push(Record::Promised(ballot));
        }
    }

    /// Remembers the entries of `page`, and stores those that are not stored already. Returns
    /// whether there were any.
    fn store(&mut self, ballot: Ballot, page: Page, fx: &mut Effects) -> bool {
        let from = page.from;
        // Forgotten instances are decided, so an Accept can only repeat the decision: it is
        // answered like one that is stored already.
        self.is_asked_again |= from < self.forgotten;
        let Some(page) = page.from_on(self.forgotten) else { return false };
        let run = page.run();
        if self.accepted.overlaps(run) {
            let held = self.accepted.spans(run).filter(|(_, known)| **known == ballot);
            let held = held.map(|(span, _)| span.len()).sum::<u64>();
            self.is_asked_again |= held > 0;
            if held == page.entries.len() as u64 {
                return false;
            }
        }
        // A ballot proposes one entry an instance, so storing it again changes nothing.
        let entries = page.entries.clone();
        fx.persist.push(Record::Accepted { ballot, from: page.from, entries });
        self.keep(page, ballot);
        true
    }

    /// A process with this `progress` has passed checkpoints that trim the log at one instance, and
    /// let it be forgotten below another. So everything below is decided, in whichever ballot. But
    /// removed votes are gone for good, and forgotten ones are no longer reported to any leader, so
    /// the claim alone is not enough: both happen only where a checkpoint says so whose first piece
    /// this acceptor has accepted. If it missed that one, the next will do.
    fn let_go(&mut self, progress: Progress, fx: &mut Effects) {
        if progress.first > progress.watermark {
            return;
        }
        if progress.trimmed > self.trimmed {
            let most = progress.trimmed;
            let below = self.said_of(|head| Some(head.trim).filter(|trim| *trim <= most));
            if below > self.trimmed {
                self.trimmed = below;
                self.forget(below);
                fx.persist.push(Record::Trimmed(below));
            }
        }
        if progress.first > self.forgotten && self.settings.hold_bytes.is_some() {
            let most = progress.first;
            let below = self.said_of(|head| Some(head.forget).filter(|forget| *forget <= most));
            if below > self.forgotten {
                self.forget(below);
                fx.persist.push(Record::Forgotten(below));
            }
        }
    }

    /// The highest instance that `point` finds in a checkpoint.
    fn said_of(&self, point: impl Fn(Head) -> Option<Instance>) -> Instance {
        let firsts = self.checkpoints.iter().filter_map(|instance| self.accepted.get(*instance));
        let points = firsts.filter_map(|(entry, _)| point(checkpoint::head(entry)?));
        points.max().unwrap_or(Instance::FIRST)
    }

    /// Everything below it is known to be decided.
    fn known(&self) -> Instance {
        let begin = self.settings.hold_bytes.map_or(Instance::FIRST, |_| self.begin);
        begin.max(self.forgotten)
    }

    /// Where a new leader takes up the log: no promise reports what lies below. If clients have
    /// asked for instances of what is in memory, it must read all of that: only a leader that has
    /// read an instance can say who won it.
    fn takes_up_at(&self) -> Instance {
        if self.assigned_until > self.forgotten { self.forgotten } else { self.known() }
    }

    /// A learner asks for votes that are on the disk.
    fn on_recall(&self, asker: NodeId, recall: Recall, fx: &mut Effects) {
        let Recall { of, again, known, run } = recall;
        if run.is_empty() {
            return fx.ignore(Ignored::Malformed);
        }
        if fx.read.len() >= READINGS_MAX {
            return fx.ignore(Ignored::QueueFull);
        }
        let known = known.max(self.known());
        let (trimmed, has_entries) = (self.trimmed, of == self.id);
        if run.from >= trimmed {
            fx.read.push(Reading { asker, again, run, known, trimmed, has_entries });
            return;
        }
        // There is nothing to read: the learner goes on behind it.
        let from = run.from;
        let (run, votes) = (Run::new(from, trimmed.min(run.until)), Vec::new());
        let entries = Vec::new().into();
        let known = Instance::FIRST;
        let told = Recalled { known, trimmed, run, votes, from, entries, last: true };
        let to = if again { To::Group(Role::Learner) } else { To::Node(asker) };
        fx.send(to, Message::Recalled(told));
    }

    /// A learner asks where the accepted part of the log ends. Entries accepted in this turn count,
    /// since the answer leaves after the sync.
    fn on_read_request(&self, from: Sender, request: ReadRequest, fx: &mut Effects) {
        let ReadRequest { count, again } = request;
        let reply = ReadReply { boot: from.boot, count, end: self.end() };
        let to = if again { To::Group(Role::Learner) } else { To::Node(from.node) };
        fx.send(to, Message::ReadReply(reply));
    }

    /// The instance above everything accepted here. Forgotten instances lie below one that was
    /// accepted and is not forgotten.
    fn end(&self) -> Instance {
        let last = self.accepted.last_run();
        last.map_or(self.forgotten, |run| run.until.max(self.forgotten))
    }

    /// Keeps what was accepted.
    fn keep(&mut self, page: Page, ballot: Ballot) {
        if page.entries.has_checkpoints() {
            let firsts = page.pieces().filter(|(_, piece)| piece.place == 0);
            self.checkpoints.extend(firsts.map(|(instance, _)| instance));
            let histories = page.entries.iter().filter_map(History::read);
            self.begin = histories.fold(self.begin, |begin, history| begin.max(history.begin()));
        }
        if page.entries.has_client_assigned() {
            self.assigned_until = self.assigned_until.max(page.run().until);
        }
        self.accepted.keep(page, ballot);
    }

    /// Drops what was accepted below `below` from memory.
    fn forget(&mut self, below: Instance) {
        self.forgotten = self.forgotten.max(below);
        self.accepted.take(Run::new(Instance::FIRST, self.forgotten), |_, _| {});
        self.checkpoints = self.checkpoints.split_off(&self.forgotten);
    }

    /// A proposer remembers another incarnation of this acceptor: this one has forgotten what that
    /// one promised. It is believed only if it names the incarnation at hand.
    fn on_disown(&self, disown: &Disown, fx: &mut Effects) {
        if disown.acceptor == self.id && disown.incarnation == self.incarnation {
            fx.halt = Some(Halt::Forgotten);
        }
    }

    /// Whether `ballot` may be answered; refuses it otherwise.
    fn admit(&self, ballot: Ballot, fx: &mut Effects) -> bool {
        if ballot.round > self.promised.round.saturating_add(ROUND_JUMP_MAX) {
            warn!("refused the absurd ballot {ballot}; {} is promised", self.promised);
            fx.ignore(Ignored::TooFarAhead);
            return false;
        }
        if ballot < self.promised {
            debug!("refused {ballot}; {} is promised", self.promised);
            let nack = Nack { rejected: ballot, promised: self.promised };
            // If it is lost, every proposer learns from the echoes what is promised.
            fx.send(owner_of(ballot, false), Message::Nack(nack));
            return false;
        }
        true
    }

    /// Tells the proposers which of them it hears. The echo leaves with the answers of this turn,
    /// after their sync, so it proves that this acceptor can vote.
    fn echo(&mut self, now: Time, fx: &mut Effects) {
        let Some(heard) = self.hearing.take_echo(now, &self.settings) else { return };
        let (promised, accepted) = (self.promised, self.accepted_len());
        let (full, reads) = (self.room > Room::Ample, self.settings.versions);
        let most = (self.settings.page_bytes() / Heard::BYTES_MAX).max(1);
        for heard in heard.chunks(most) {
            let echo = Echo { promised, accepted, full, reads, heard: heard.to_vec() };
            fx.send(Role::Proposer, Message::Echo(echo));
        }
    }

    /// One Accepted for everything accepted in this turn.
    fn answer_accepts(&mut self, fx: &mut Effects) {
        let again = std::mem::take(&mut self.is_asked_again);
        if self.unanswered.is_empty() {
            return;
        }
        let mut runs = merged(std::mem::take(&mut self.unanswered));
        let most = runs_per_page(self.settings.page_bytes());
        while !runs.is_empty() {
            let rest = rest(&mut runs, most);
            let accepted = Accepted { ballot: self.promised, runs };
            fx.send(owner_of(self.promised, again), Message::Accepted(accepted));
            runs = rest;
        }
    }
}

/// Where an answer to `ballot` goes: to its proposer, or to the entire group if the question was
/// repeated, for then the address of that proposer may be wrong.
fn owner_of(ballot: Ballot, again: bool) -> To {
    if ballot == Ballot::ZERO || again {
        return To::Group(Role::Proposer);
    }
    To::Node(NodeId::new(Role::Proposer, ballot.proposer))
}

impl Actor for Acceptor {
    fn on_start(&mut self, _now: Time, _fx: &mut Effects) {}

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        match (from.node.role, &message) {
            (Role::Learner, Message::Recall(recall)) => {
                return self.on_recall(from.node, *recall, fx);
            }
            (Role::Learner, Message::ReadRequest(request)) => {
                return self.on_read_request(from, *request, fx);
            }
            (_, _) => {}
        }
        if from.node.role != Role::Proposer {
            return fx.ignore(Ignored::ImpossibleSender);
        }
        match message {
            Message::Prepare(prepare) => self.on_prepare(prepare, fx),
            Message::Accept(accept) => self.on_accept(accept, fx),
            Message::Disown(disown) => self.on_disown(&disown, fx),
            Message::Heartbeat(heartbeat) => {
                self.hearing.hear(now, from, &heartbeat, &self.settings);
                self.followed.hear(now, &heartbeat, &self.settings);
                self.let_go(heartbeat.progress, fx);
            }
            Message::Request(_)
            | Message::RequestAck(_)
            | Message::Promise(_)
            | Message::Accepted(_)
            | Message::Nack(_)
            | Message::Decide(_)
            | Message::DecideAck(_)
            | Message::Durable(_)
            | Message::CatchUpRequest(_)
            | Message::CatchUpReply(_)
            | Message::Echo(_)
            | Message::Plea(_)
            | Message::Offer(_)
            | Message::Chosen(_)
            | Message::Recall(_)
            | Message::Recalled(_)
            | Message::ReadRequest(_)
            | Message::ReadReply(_)
            | Message::Fetch(_)
            | Message::Chunk(_) => fx.ignore(Ignored::Misdirected),
        }
    }

    fn on_timer(&mut self, _now: Time, timer: Timer, _fx: &mut Effects) {
        unreachable!("{} sets no timer, not {timer:?}", NodeId::new(Role::Acceptor, self.id));
    }

    fn on_input(&mut self, _now: Time, _input: Input, _fx: &mut Effects) {
        unreachable!("an acceptor has no input room");
    }

    fn on_room(&mut self, room: Room) {
        self.note_room(room);
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        self.answer_accepts(fx);
        self.echo(now, fx);
    }

    fn version(&self, now: Time) -> Version {
        self.followed.version(now, &self.settings)
    }

    fn interest(&self) -> Interest {
        Interest::of(&[
            Kind::Prepare,
            Kind::Accept,
            Kind::Disown,
            Kind::Heartbeat,
            Kind::Recall,
            Kind::ReadRequest,
        ])
    }

    fn figures(&self, now: Time) -> Figures {
        Figures {
            ballot: Some(self.promised).filter(|ballot| *ballot > Ballot::ZERO),
            leader: self.hearing.leader(now, &self.settings),
            accepted: Some(self.accepted_len()),
            trimmed: Some(self.trimmed),
            full: self.room > Room::Ample,
            ..Figures::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::checkpoint::{Distance, TrimPoint};
    use crate::protocol::types::{AssignedBy, Entry, LogTime, Number, Origin, Session, Value};

    /// A trimmed instance is answered like a stored one; the promise in the Accept is stored even
    /// so.
    #[test]
    fn an_accept_of_what_is_trimmed_is_answered_and_its_promise_stored() {
        let mut acceptor = Acceptor::new(1, 1, Settings::default());
        acceptor.restore(Record::Trimmed(Instance(9)));
        let accept = |from, count, round| Accept {
            ballot: ballot(round, 1),
            watermark: Instance(9),
            chosen: Few::new(),
            full: false,
            from: Instance(from),
            entries: vec![Entry::Noop; count].into(),
        };
        let mut hear = |accept: Accept| {
            let mut fx = Effects::new();
            let proposer = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
            acceptor.on_message(Time::ZERO, proposer, Message::Accept(accept), &mut fx);
            acceptor.on_turn_end(Time::ZERO, &mut fx);
            let runs = fx.send.iter().find_map(|(_, message)| match message {
                Message::Accepted(accepted) => Some(accepted.runs.clone()),
                _ => None,
            });
            (fx.persist, runs.unwrap_or_default())
        };
        let run = |from, until| Few::from([Run::new(Instance(from), Instance(until))]);
        let promised = vec![Record::Promised(ballot(3, 1))];
        assert_eq!(hear(accept(5, 4, 3)), (promised, run(5, 9)));
        assert_eq!(hear(accept(5, 4, 3)), (vec![], run(5, 9)));
        let entries = vec![Entry::Noop; 2].into();
        let stored = Record::Accepted { ballot: ballot(4, 1), from: Instance(9), entries };
        assert_eq!(hear(accept(7, 4, 4)), (vec![stored], run(7, 11)));
    }

    /// In a process with several roles it may hear its group for the others.
    #[test]
    fn it_needs_whatever_others_take_from_its_group() {
        let interest = Acceptor::new(1, 1, Settings::default()).interest();
        let others = [Role::Client, Role::Proposer, Role::Learner];
        let is_taken = |kind: &Kind| others.iter().any(|role| kind.is_taken(*role, Role::Acceptor));
        let taken: Vec<Kind> = Kind::ALL.into_iter().filter(is_taken).collect();
        assert!(
            !taken.is_empty() && taken.iter().all(|kind| interest.includes(*kind)),
            "{taken:?}"
        );
    }

    fn ballot(round: u64, proposer: u32) -> Ballot {
        Ballot { round, proposer, boot: 1 }
    }

    fn prepare(ballot: Ballot) -> Message {
        Message::Prepare(Prepare { ballot, from: Instance(1), until: None, acceptor: None })
    }

    fn accept(ballot: Ballot, from: u64, count: usize) -> Message {
        let (from, entries) = (Instance(from), vec![Entry::Noop; count].into());
        let (watermark, chosen) = (Instance(1), Few::new());
        Message::Accept(Accept { ballot, watermark, chosen, full: false, from, entries })
    }

    fn turn(acceptor: &mut Acceptor, messages: impl IntoIterator<Item = Message>) -> Effects {
        let mut fx = Effects::new();
        let from = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
        for message in messages {
            acceptor.on_message(Time::ZERO, from, message, &mut fx);
        }
        acceptor.on_turn_end(Time::ZERO, &mut fx);
        fx
    }

    fn answers(fx: &Effects) -> Vec<Kind> {
        fx.send.iter().map(|(_, message)| message.kind()).collect()
    }

    fn acceptor() -> Acceptor {
        Acceptor::new(1, 7, Settings::default())
    }

    /// "Paxos Made Simple", 2.2, P1a: an acceptor accepts a proposal numbered n iff it has not
    /// responded to a prepare request having a number greater than n.
    #[test]
    fn below_its_promise_it_accepts_nothing_and_says_so() {
        let mut acceptor = acceptor();
        turn(&mut acceptor, [prepare(ballot(2, 1))]);
        let fx = turn(&mut acceptor, [accept(ballot(1, 9), 1, 1), prepare(ballot(1, 9))]);
        assert_eq!(answers(&fx), [Kind::Nack, Kind::Nack]);
        assert!(fx.persist.is_empty());
        let Message::Nack(nack) = &fx.send[0].1 else { panic!("a Nack") };
        assert_eq!(nack.promised, ballot(2, 1));
    }

    /// Accepting raises the promise: otherwise a lower ballot could be accepted later.
    #[test]
    fn accepting_promises() {
        let mut acceptor = acceptor();
        turn(&mut acceptor, [accept(ballot(3, 1), 1, 1)]);
        let fx = turn(&mut acceptor, [accept(ballot(2, 2), 1, 1)]);
        assert_eq!(answers(&fx), [Kind::Nack]);
    }

    #[test]
    fn what_is_answered_is_to_be_stored_in_the_same_turn() {
        let mut acceptor = acceptor();
        let fx = turn(&mut acceptor, [prepare(ballot(1, 1)), accept(ballot(1, 1), 5, 2)]);
        assert_eq!(answers(&fx), [Kind::Promise, Kind::Accepted]);
        assert_eq!(fx.persist[0], Record::Promised(ballot(1, 1)));
        let mut restored = Acceptor::new(1, 7, Settings::default());
        fx.persist.into_iter().for_each(|record| restored.restore(record));
        assert!(restored.remembers_as(&acceptor));
    }

    /// The answer to a repeated question may have gone to a wrong address.
    #[test]
    fn the_owner_of_a_ballot_is_answered_alone_and_everybody_when_it_asks_again() {
        let mut acceptor = acceptor();
        let mut to = |message: Message| {
            let fx = turn(&mut acceptor, [message]);
            assert_eq!(fx.send.len(), 1);
            fx.send[0].0
        };
        let (owner, all) = (To::Node(NodeId::new(Role::Proposer, 2)), To::Group(Role::Proposer));
        let page = |from| {
            let (from, acceptor) = (Instance(from), Some(1));
            Message::Prepare(Prepare { ballot: ballot(3, 2), from, until: None, acceptor })
        };
        assert_eq!(to(prepare(ballot(3, 2))), owner);
        assert_eq!(to(prepare(ballot(3, 2))), all);
        assert_eq!(to(page(5)), owner);
        assert_eq!(to(page(5)), all);
        assert_eq!(to(accept(ballot(3, 2), 1, 3)), owner);
        assert_eq!(to(accept(ballot(3, 2), 4, 3)), owner);
        assert_eq!(to(accept(ballot(3, 2), 6, 3)), all, "some of it is there");
        assert_eq!(to(accept(ballot(3, 2), 9, 1)), owner);
        let other = To::Node(NodeId::new(Role::Proposer, 1));
        assert_eq!(to(prepare(ballot(2, 1))), other, "the refused one");
    }

    #[test]
    fn an_accept_that_is_repeated_is_answered_and_not_stored_again() {
        let mut acceptor = acceptor();
        turn(&mut acceptor, [accept(ballot(1, 1), 1, 3)]);
        let fx = turn(&mut acceptor, [accept(ballot(1, 1), 1, 3)]);
        assert_eq!(answers(&fx), [Kind::Accepted]);
        assert!(fx.persist.is_empty());
    }

    /// A vote is for one ballot. One that is answered under another might be counted there.
    #[test]
    fn votes_are_answered_under_the_ballot_that_they_were_cast_in() {
        for next in [accept(ballot(2, 2), 9, 1), prepare(ballot(2, 2))] {
            let fx = turn(&mut acceptor(), [accept(ballot(1, 1), 1, 3), next]);
            let votes = fx.send.iter().filter_map(|(_, message)| match message {
                Message::Accepted(accepted) => Some((accepted.ballot.round, accepted.runs[0])),
                _ => None,
            });
            let mut votes: Vec<_> = votes.map(|(round, run)| (round, run.to_string())).collect();
            assert_eq!(votes.remove(0), (1, "1..4".to_owned()));
            assert!(votes.is_empty() || votes == [(2, "9..10".to_owned())], "{votes:?}");
        }
    }

    #[test]
    fn one_answer_covers_all_the_accepts_of_a_turn() {
        let mut acceptor = acceptor();
        let accepts = [4, 1, 2, 9].map(|from| accept(ballot(1, 1), from, 1));
        let fx = turn(&mut acceptor, accepts);
        let Message::Accepted(accepted) = &fx.send[0].1 else { panic!("an Accepted") };
        let runs: Vec<_> = accepted.runs.iter().map(Run::to_string).collect();
        assert_eq!(runs, ["1..3", "4..5", "9..10"]);
        assert_eq!(fx.send.len(), 1);
    }

    #[test]
    fn a_promise_comes_in_pages_that_fit_a_datagram_a_few_at_a_time() {
        let settings =
            Settings { datagram_bytes: 256, catch_up_bytes: 4 * 2 * 256, ..Settings::default() };
        let mut acceptor = Acceptor::new(1, 7, settings);
        turn(&mut acceptor, [accept(ballot(1, 1), 1, 100), accept(ballot(1, 2), 101, 100)]);
        let (mut next, mut reported, mut bursts) = (Some(Instance(1)), Vec::new(), Vec::new());
        while let Some(from) = next {
            let ask = Prepare { ballot: ballot(2, 2), from, until: None, acceptor: Some(1) };
            let fx = turn(&mut acceptor, [Message::Prepare(ask)]);
            bursts.push(fx.send.len());
            for (place, (_, message)) in (1..).zip(&fx.send) {
                let Message::Promise(promise) = message else { panic!("a Promise") };
                assert_eq!(Some(promise.from), next, "the page behind the one before");
                assert_eq!(promise.is_followed, place < fx.send.len());
                for AcceptedPage { ballot, page } in &promise.accepted {
                    let of = |instance: Instance| (instance.0, ballot.proposer);
                    reported.extend(page.run().iter().map(of));
                }
                next = promise.next;
            }
        }
        let expected = (1..=200).map(|instance| (instance, 1 + u32::from(instance > 100)));
        assert_eq!(reported, expected.collect::<Vec<_>>());
        assert!(bursts.len() > 1 && bursts.iter().all(|pages| (1..=2).contains(pages)));
    }

    /// A history says where a new leader begins, unless it must tell who won an instance.
    #[test]
    fn a_promise_leaves_out_what_a_new_leader_need_not_read_and_says_so() {
        let settings = Settings { hold_bytes: Some(1 << 20), ..Settings::default() };
        let mut acceptor = Acceptor::new(1, 1, settings);
        let entry = |entry: Entry, from| {
            let entries = vec![entry].into();
            let (watermark, chosen, full) = (Instance(1), Few::new(), false);
            let (ballot, from) = (ballot(1, 1), Instance(from));
            Message::Accept(Accept { ballot, watermark, chosen, full, from, entries })
        };
        let naming = |keep| {
            let (of, back) = (Instance(keep), Distance::default());
            let points = vec![TrimPoint { of, keep: of, back }];
            History { of: Instance(90), written: LogTime::NONE, points }.entry()
        };
        turn(&mut acceptor, [accept(ballot(1, 1), 1, 100)]);
        let begins = |acceptor: &mut Acceptor, round| {
            let fx = turn(acceptor, [prepare(ballot(round, 2))]);
            let said = fx.send.into_iter().find_map(|(_, message)| match message {
                Message::Promise(Promise { trimmed, accepted, .. }) => Some((trimmed, accepted)),
                _ => None,
            });
            let (trimmed, accepted) = said.expect("it promises");
            (trimmed.0, accepted[0].page.from.0)
        };
        let known = |acceptor: &mut Acceptor| {
            let run = Run::new(Instance(1), Instance(2));
            let (of, again, known) = (1, false, Instance(1));
            let (mut fx, node) = (Effects::new(), NodeId::new(Role::Learner, 1));
            let recall = Message::Recall(Recall { of, again, known, run });
            acceptor.on_message(Time::ZERO, Sender { node, boot: 1 }, recall, &mut fx);
            fx.read[0].known.0
        };
        turn(&mut acceptor, [entry(naming(60), 101)]);
        // A leader that names an older place takes nothing back.
        turn(&mut acceptor, [entry(naming(40), 102)]);
        assert_eq!((begins(&mut acceptor, 2), known(&mut acceptor)), ((60, 60), 60));
        let session = Session { client: 1, boot: 1 };
        let origin = Origin::new(session, Number(1), AssignedBy::Client);
        let value = Entry::Value { origin, value: Value::new(b"asked for") };
        let Message::Accept(asked) = entry(value, 103) else { unreachable!() };
        turn(&mut acceptor, [Message::Accept(Accept { ballot: ballot(2, 2), ..asked })]);
        assert_eq!((begins(&mut acceptor, 3), known(&mut acceptor)), ((1, 1), 60));
        acceptor.forget(Instance(104));
        assert_eq!(acceptor.takes_up_at(), Instance(104));
    }

    #[test]
    fn absurd_rounds_and_instances_are_refused_and_never_stored() {
        let mut acceptor = acceptor();
        let fx = turn(
            &mut acceptor,
            [prepare(ballot(u64::MAX, 1)), accept(ballot(1, 1), u64::MAX - 1, 1)],
        );
        assert_eq!(fx.ignored, [Ignored::TooFarAhead, Ignored::TooFarAhead]);
        assert!(fx.persist.is_empty() && fx.send.is_empty());
    }

    /// A forged watermark lets entries reach the highest instance number, and nothing breaks there.
    #[test]
    fn entries_at_the_end_of_the_numbers_are_survived() {
        let mut acceptor = acceptor();
        for from in [u64::MAX - 1, u64::MAX, u64::MAX - 2] {
            let (from, entries) = (Instance(from), vec![Entry::Noop; 3].into());
            let watermark = Instance(u64::MAX);
            let chosen = Few::new();
            let (first, full) = (ballot(1, 1), false);
            let accept = Accept { ballot: first, watermark, chosen, full, from, entries };
            turn(&mut acceptor, [Message::Accept(accept), prepare(ballot(1, 1))]);
        }
        turn(&mut acceptor, [prepare(ballot(2, 1))]);
    }

    /// Only a message that names its own incarnation convinces it that it has lost data.
    #[test]
    fn it_ends_when_it_is_disowned_by_its_incarnation() {
        let disown = |acceptor, incarnation| Message::Disown(Disown { acceptor, incarnation });
        let mut acceptor = acceptor();
        assert_eq!(turn(&mut acceptor, [disown(1, 8), disown(2, 7)]).halt, None);
        assert_eq!(turn(&mut acceptor, [disown(1, 7)]).halt, Some(Halt::Forgotten));
    }
}
