//! Fetching decided entries that were missed, and handing them to those who missed them.
//!
//! Learners and standby proposers ask, and the process that they name answers: of all that were
//! heard to hold more, one after the other, for any of them may be cut off. A request names what is
//! missing, by runs; an answer is a burst of datagrams whose last one says so, and what is still
//! missing then is asked for at once. A lost answer is asked for again after a time-out, from the
//! next source. Entries are final, so answers may come twice, late or in any order.
//!
//! A learner reads entries that nobody holds in memory any more back from the acceptors (`recall`),
//! in the same bursts and with the same pauses.
//!
//! A process that has much to fetch while others decide leaves them time between two requests.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::BTreeMap;
use std::time::Duration;

use log::debug;

use super::actor::Effects;
use super::decided_log::DecidedLog;
use super::message::{CatchUpReply, CatchUpRequest, Chosen, Message, Progress, Recalled};
use super::packing::{disjoint, merge, pages, runs_per_page};
use super::parts::{Proposals, Recalls};
use super::retry::backoff;
use super::segments::Page;
use super::settings::Settings;
use super::timer::Timer;
use super::types::{Instance, NodeId, Role, Run, Time, To};

/// How many runs one request names, at most, and how many of them are answered.
const RUNS_MAX: usize = 64;

/// How many sources are remembered, at most.
const SOURCES_MAX: usize = 128;

/// Between two requests others have this many times as long for deciding as the answer took.
const PAUSE: u32 = 16;

/// While others are heard to hold more, a request waits for its answer at most this many times as
/// long as the first one.
const LONGEST_WAIT: u32 = 4;

/// What one process still has to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CatchUp {
    /// The most that anybody was heard to hold.
    heard: Progress,
    /// What each source was heard to hold, and when.
    sources: BTreeMap<NodeId, (Progress, Time)>,
    /// Everything below it was said to be decided, ...
    named_until: Instance,
    /// ... and so were these, if they are missing still.
    named: Vec<Run<Instance>>,
    /// Holes below it were asked about, and may be open for good.
    asked_until: Instance,
    /// Where the next request begins: nobody may be able to fill the holes below.
    next: Instance,
    /// Whether the timer is set.
    waiting: bool,
    /// Requests in a row without anything new.
    tries: u32,
    /// The request whose answer is not complete yet.
    asked: Option<Asked>,
    /// Whom to ask after a pause: it has answered.
    proven: Option<NodeId>,
    /// What is read back from acceptors. A proposer has no use for what others have forgotten.
    recalls: Option<Recalling>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Recalling {
    me: NodeId,
    recalls: Recalls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Asked {
    when: Time,
    /// How much was missing then.
    missing: u64,
    /// Whether something was decided since.
    others_decide: bool,
}

impl Default for CatchUp {
    fn default() -> Self {
        CatchUp {
            heard: DecidedLog::new().progress(),
            sources: BTreeMap::new(),
            named_until: Instance::FIRST,
            named: Vec::new(),
            asked_until: Instance::FIRST,
            next: Instance::FIRST,
            waiting: false,
            tries: 0,
            asked: None,
            proven: None,
            recalls: None,
        }
    }
}

impl CatchUp {
    /// What learner `id` has to fetch, who wants all there is.
    pub fn of_learner(id: u32) -> Self {
        let (me, recalls) = (NodeId::new(Role::Learner, id), Recalls::default());
        CatchUp { recalls: Some(Recalling { me, recalls }), ..CatchUp::default() }
    }

    /// `source` holds `heard`.
    pub fn on_progress(&mut self, now: Time, source: NodeId, heard: Progress) {
        if self.sources.len() < SOURCES_MAX || self.sources.contains_key(&source) {
            self.sources.insert(source, (heard, now));
        }
        self.heard.end = self.heard.end.max(heard.end);
        self.heard.decided = self.heard.decided.max(heard.decided);
    }

    /// A leader names what is decided. Returns what of it `proposals` holds and `log` lacks.
    pub fn on_chosen(
        &mut self,
        chosen: Chosen,
        proposals: &mut Proposals,
        log: &DecidedLog,
    ) -> Vec<Page> {
        self.on_named(&chosen, log);
        let decided = proposals.choose(chosen, log);
        if !decided.is_empty() {
            self.on_decide();
        }
        decided
    }

    /// These are decided, whether their values are held or not.
    fn on_named(&mut self, chosen: &Chosen, log: &DecidedLog) {
        self.named_until = self.named_until.max(chosen.until);
        if chosen.runs.is_empty() {
            return;
        }
        let mut named = std::mem::take(&mut self.named);
        named.extend_from_slice(&chosen.runs);
        // What is held must not crowd out what is missing.
        named.retain(|run| log.lacks(*run));
        self.named = merge(named);
        // Of more the heartbeats tell, if they stay missing.
        self.named.truncate(RUNS_MAX);
    }

    /// Something was decided just now.
    pub fn on_decide(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.others_decide = true;
        }
    }

    /// Starts the timer when `log` lacks something. To be called once a turn.
    pub fn on_turn_end(
        &mut self,
        now: Time,
        log: &DecidedLog,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        self.named.retain(|run| log.lacks(*run));
        // A short wait lets datagrams arrive that are under way: what is named has mostly arrived
        // before its name.
        let delay = if self.lacks_named(log) {
            settings.catch_up_delay.min(settings.retry_least)
        } else {
            settings.catch_up_delay
        };
        if !self.waiting && self.is_behind(log) {
            self.waiting = true;
            fx.set_timer(Timer::CatchUp, now + delay);
        }
    }

    /// Whether something was named that `log` lacks.
    fn lacks_named(&self, log: &DecidedLog) -> bool {
        // What was trimmed is missing, and nobody can be asked for it.
        log.decided_below() < self.named_until || self.named.iter().any(|run| log.lacks(*run))
    }

    /// Up to `limit` runs that were named and that `log` lacks.
    fn missing_named(&self, log: &DecidedLog, limit: usize) -> Vec<Run<Instance>> {
        let mut missing = log.missing(Instance::FIRST, self.named_until, limit);
        for run in self.named.iter().filter(|run| run.until > self.named_until) {
            let rest = limit.saturating_sub(missing.len());
            missing.extend(log.missing(run.from.max(self.named_until), run.until, rest));
        }
        missing
    }

    /// The timer is due: asks for what is missing, `first` first, then the other sources in turn.
    pub fn on_timer(
        &mut self,
        now: Time,
        log: &DecidedLog,
        first: Option<NodeId>,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        self.waiting = false;
        if !self.is_behind(log) {
            self.tries = 0;
            return;
        }
        let source = self.proven.take().or_else(|| self.next_source(now, log, first, settings));
        self.ask(now, log, source, settings, fx);
    }

    /// An answer was taken into `log`; `gained` tells whether it held anything new.
    pub fn on_reply(
        &mut self,
        now: Time,
        log: &DecidedLog,
        from: NodeId,
        answer: (bool, bool),
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let (gained, last) = answer;
        // Acceptors are asked for what others have forgotten, and for nothing else.
        let next = Some(from).filter(|from| from.role != Role::Acceptor);
        if gained {
            self.tries = 0;
            if self.waiting && self.asked.is_some() {
                // The rest of the answer is under way.
                fx.set_timer(Timer::CatchUp, now + settings.retry_catch_up);
            }
        }
        let asked = if last { self.asked.take() } else { None };
        if self.waiting && !self.is_behind(log) {
            // Nothing is waited for: what is missed next is asked for as soon as this was.
            self.waiting = false;
            self.tries = 0;
            fx.cancel_timer(Timer::CatchUp);
        }
        if gained && last && self.is_behind(log) {
            let pause = asked.map_or(Duration::ZERO, |asked| self.pause(now, asked, log, settings));
            if pause.is_zero() {
                let next = next.or_else(|| self.next_source(now, log, None, settings));
                return self.ask(now, log, next, settings, fx);
            }
            self.proven = next;
            self.waiting = true;
            fx.set_timer(Timer::CatchUp, now + pause);
        }
    }

    /// An acceptor has read back some of its votes. Returns what is thereby known to be decided,
    /// and whether no more will come.
    pub fn on_recalled(
        &mut self,
        acceptor: u32,
        recalled: Recalled,
        settings: &Settings,
    ) -> (Vec<Page>, bool) {
        match &mut self.recalls {
            Some(Recalling { recalls, .. }) => recalls.on_recalled(acceptor, recalled, settings),
            None => (Vec::new(), false),
        }
    }

    /// The beginning of `run`, which is missing, if those that were heard of late have forgotten it
    /// and nobody else has it: it is on the disks of acceptors.
    fn forgotten(
        &self,
        now: Time,
        run: Run<Instance>,
        settings: &Settings,
    ) -> Option<Run<Instance>> {
        self.recalls.as_ref()?;
        let is_fresh = |when: Time| now.since(when) <= settings.progress_timeout;
        let fresh = || self.sources.values().filter(|(_, when)| is_fresh(*when));
        let holds = |held: &Progress| held.first <= run.from && run.from < held.watermark;
        // Every second try is with the acceptors even so: others may not hear this process.
        if fresh().any(|(held, _)| holds(held)) && self.tries.is_multiple_of(2) {
            return None;
        }
        let forgets = |held: &Progress| held.trimmed <= run.from && run.from < held.first;
        let firsts = fresh().filter(|(held, _)| forgets(held)).map(|(held, _)| held.first);
        Some(Run::new(run.from, firsts.min()?.min(run.until)))
    }

    /// Who is asked at this try: of those heard of late that hold more than `log`, or else of all.
    /// None when nobody is known.
    fn next_source(
        &self,
        now: Time,
        log: &DecidedLog,
        first: Option<NodeId>,
        settings: &Settings,
    ) -> Option<NodeId> {
        let (decided, wanted) = (log.progress().decided, log.decided_below());
        let is_fresh = |when: Time| now.since(when) <= settings.progress_timeout;
        let fresh = || self.sources.iter().filter(|(_, (_, when))| is_fresh(*when));
        let mut able: Vec<NodeId> =
            fresh().filter(|(_, (held, _))| held.decided > decided).map(|(id, _)| *id).collect();
        // What is missing first, some may have forgotten.
        let has_first =
            |id: &NodeId| self.sources.get(id).is_some_and(|(held, _)| held.first <= wanted);
        if able.iter().any(has_first) {
            able.retain(has_first);
        }
        if able.is_empty() {
            // What is missing may be a hole that only few can fill, or its owner has just died.
            able = fresh().map(|(id, _)| *id).collect();
        }
        // Learners before proposers: a leader has more to do.
        able.sort_unstable_by_key(|id| (Some(*id) != first, id.role != Role::Learner, id.id));
        able.get((self.tries as usize).checked_rem(able.len())?).copied()
    }

    /// How long to leave the machine to others. Nothing when nobody else needs it, when the last
    /// answer brought most of what was missing, or when the others have decided more than it
    /// brought: who falls behind must not rest.
    fn pause(&self, now: Time, asked: Asked, log: &DecidedLog, settings: &Settings) -> Duration {
        let gains = (asked.missing / 2..asked.missing).contains(&self.lag(log));
        if !asked.others_decide || !gains {
            return Duration::ZERO;
        }
        (now.since(asked.when) * PAUSE).min(settings.retry_catch_up)
    }

    /// Whether somebody who was heard of late holds something that `log` lacks.
    pub fn lacks(&self, now: Time, log: &DecidedLog, settings: &Settings) -> bool {
        let decided = log.progress().decided;
        let memory = settings.progress_timeout * 2;
        let holds_more =
            |(held, when): &(Progress, Time)| held.decided > decided && now.since(*when) <= memory;
        self.sources.values().any(holds_more)
    }

    /// How much somebody was heard to hold that `log` lacks.
    pub fn lag(&self, log: &DecidedLog) -> u64 {
        self.heard.decided.saturating_sub(log.progress().decided)
    }

    /// Forgets what was heard: its owner has another way to learn, or starts over.
    pub fn stop(&mut self, fx: &mut Effects) {
        if self.waiting {
            fx.cancel_timer(Timer::CatchUp);
        }
        *self = CatchUp::default();
    }

    /// Whether `log` lacks something that somebody holds, or has a hole nobody was asked about.
    ///
    /// A hole between client-assigned values may be open for ever, so holes alone are asked about
    /// once; after that only the number of decided entries tells.
    fn is_behind(&self, log: &DecidedLog) -> bool {
        let held = log.progress();
        self.lag(log) > 0
            || self.lacks_named(log)
            || (held.watermark < held.end && self.asked_until < held.end)
    }

    fn ask(
        &mut self,
        now: Time,
        log: &DecidedLog,
        source: Option<NodeId>,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let end = self.heard.end.max(log.end());
        let limit = RUNS_MAX.min(runs_per_page(settings.page_bytes()));
        // What is known to be decided is asked for in one request, however scattered it is; what
        // may be open for good is asked for once round the log, and then from the start again.
        let mut missing = self.missing_named(log, limit);
        if missing.is_empty() {
            missing = log.missing(self.next, end, limit);
            if missing.is_empty() {
                missing = log.missing(Instance::FIRST, end, limit);
            }
            self.asked_until = log.end();
            let last = missing.last().filter(|_| missing.len() == limit);
            self.next = last.map_or(Instance::FIRST, |last| last.until);
        }
        if missing.is_empty() {
            return;
        }
        let first = self.forgotten(now, missing[0], settings);
        if let (Some(run), Some(Recalling { me, recalls })) = (first, &mut self.recalls) {
            debug!("reads {run} back from the acceptors");
            recalls.ask(*me, self.tries, run, settings, fx);
            return self.await_answer(now, log, settings, fx);
        }
        // Without a source, whoever leads is asked. What is asked again goes to everybody, and is
        // answered to everybody.
        let again = self.tries > 0;
        let to = match source {
            Some(source) if again => To::Group(source.role),
            Some(source) => To::Node(source),
            None => To::Group(Role::Proposer),
        };
        let whom = source.map_or_else(|| "the leader".to_owned(), |source| source.to_string());
        debug!("asks {whom} for {} runs from {}", missing.len(), missing[0].from);
        fx.sent_again += u64::from(again);
        fx.send(to, Message::CatchUpRequest(CatchUpRequest { of: source, again, missing }));
        self.await_answer(now, log, settings, fx);
    }

    /// Something was asked for; if no answer comes, it is asked again.
    fn await_answer(&mut self, now: Time, log: &DecidedLog, settings: &Settings, fx: &mut Effects) {
        // Of many sources one may be all there is: each gets its turn within the longest wait.
        let known = u32::try_from(self.sources.len()).unwrap_or(u32::MAX).max(1);
        let longest = settings.retry_catch_up.max(settings.retry_max / known);
        // Who is heard to hold more is there: requests and answers are lost, and not in vain.
        let longest = if self.lacks(now, log, settings) {
            longest.min(settings.retry_catch_up * LONGEST_WAIT)
        } else {
            longest
        };
        let wait = backoff(settings.retry_catch_up, self.tries, longest);
        self.tries = self.tries.saturating_add(1);
        self.waiting = true;
        self.asked = Some(Asked { when: now, missing: self.lag(log), others_decide: false });
        fx.set_timer(Timer::CatchUp, now + wait);
    }
}

/// Whether `me`, which leads its group or does not, is to answer `request`.
pub fn is_asked(request: &CatchUpRequest, me: NodeId, leads: bool) -> bool {
    request.of.map_or(leads, |of| of == me)
}

/// Answers `request` of `asker` from `log`: at most `catch_up_bytes`.
pub fn answer(
    log: &DecidedLog,
    request: &CatchUpRequest,
    asker: NodeId,
    settings: &Settings,
    fx: &mut Effects,
) {
    let to = if request.again { To::Group(asker.role) } else { To::Node(asker) };
    let mut bytes = 0;
    let missing = disjoint(&request.missing);
    let held = missing.iter().take(RUNS_MAX).flat_map(|run| log.pages(*run));
    let held = held.map_while(|page| {
        let rest = settings.catch_up_bytes.checked_sub(bytes)?;
        // The first entry always goes, however long: or nobody could ever fetch it.
        let count = page.entries.prefix(usize::MAX, rest).len().max(usize::from(bytes == 0));
        let (page, left) = page.split(count);
        bytes += if left.is_none() { page.entries.bytes() } else { settings.catch_up_bytes + 1 };
        (!page.entries.is_empty()).then_some(page)
    });
    let mut pages = pages(held, settings.entries_bytes()).peekable();
    while let Some(page) = pages.next() {
        let (from, entries, last) = (page.from, page.entries, pages.peek().is_none());
        fx.send(to, Message::CatchUpReply(CatchUpReply { from, entries, last }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::segments::Page;
    use crate::protocol::types::{Ballot, Entry};

    fn decide(log: &mut DecidedLog, instance: u64) {
        let page = Page { from: Instance(instance), entries: vec![Entry::Noop].into() };
        log.decide(page, &mut Vec::new()).expect("it is new");
    }

    /// The whole log is fetched in bursts; between them the machine belongs to those who decide.
    #[test]
    fn who_fetches_much_leaves_time_to_those_who_decide() {
        let (mut log, settings) = (DecidedLog::new(), Settings::default());
        let mut catch_up = CatchUp::default();
        let source = NodeId::new(Role::Learner, 2);
        let heard = Progress {
            trimmed: Instance::FIRST,
            first: Instance::FIRST,
            watermark: Instance(1),
            decided: 100,
            end: Instance(101),
            name: 0,
        };
        catch_up.on_progress(Time::ZERO, source, heard);
        // What is set when an answer brings `until` at `now`: when the next request is due, or
        // that it went out at once.
        let mut answer = |catch_up: &mut CatchUp, now, until| {
            for instance in log.progress().decided + 1..=until {
                decide(&mut log, instance);
            }
            let mut fx = Effects::new();
            let from = source;
            catch_up.on_reply(Time(now), &log, from, (true, true), &settings, &mut fx);
            let deadline = fx.timers.last().and_then(|(_, deadline)| *deadline).unwrap();
            (fx.send.len(), deadline.since(Time(now)))
        };
        let retry = (1, settings.retry_catch_up);
        assert_eq!(answer(&mut catch_up, 0, 1), retry, "nobody else needs the machine");
        catch_up.on_decide();
        assert_eq!(answer(&mut catch_up, 1000, 10), (0, Duration::from_millis(1) * PAUSE));
        let (mut fx, mut held) = (Effects::new(), DecidedLog::new());
        (1..=10).for_each(|instance| decide(&mut held, instance));
        catch_up.on_timer(Time(5000), &held, None, &settings, &mut fx);
        assert_eq!(fx.send[0].0, To::Node(source), "who has answered is asked again");
        catch_up.on_decide();
        assert_eq!(answer(&mut catch_up, 6000, 60), retry, "most of it has come");
        catch_up.on_decide();
        let heard = Progress {
            trimmed: Instance::FIRST,
            first: Instance::FIRST,
            watermark: Instance(1),
            decided: 300,
            end: Instance(301),
            name: 0,
        };
        catch_up.on_progress(Time(7000), source, heard);
        assert_eq!(answer(&mut catch_up, 7000, 70), retry, "the others decide faster");
        catch_up.on_decide();
        assert_eq!(answer(&mut catch_up, 990_000, 71), (0, settings.retry_catch_up));
    }

    /// What is named exists, and what was proposed has mostly arrived before: there is no reason to
    /// wait long, and all of it is asked for at once.
    #[test]
    fn what_is_named_and_missing_is_asked_for_soon_and_in_one_request() {
        let (mut log, settings) = (DecidedLog::new(), Settings::default());
        let (mut catch_up, mut fx) = (CatchUp::default(), Effects::new());
        [2, 5, 6, 9, 12].into_iter().for_each(|instance| decide(&mut log, instance));
        let run = |from, until| Run::new(Instance(from), Instance(until));
        let ballot = Ballot { round: 1, proposer: 1, boot: 1 };
        let runs = vec![run(5, 8), run(9, 10), run(11, 13)].into();
        catch_up.on_named(&Chosen { ballot, until: Instance(4), runs }, &log);
        catch_up.on_turn_end(Time::ZERO, &log, &settings, &mut fx);
        assert_eq!(fx.timers, [(Timer::CatchUp, Some(Time::ZERO + settings.retry_least))]);
        catch_up.on_timer(Time(1000), &log, None, &settings, &mut fx);
        let Message::CatchUpRequest(request) = &fx.send[0].1 else { panic!("a request") };
        assert_eq!(request.missing, [run(1, 2), run(3, 4), run(7, 8), run(11, 12)]);
    }

    /// A log that waits for the checkpoint behind what was trimmed is not behind on what is gone.
    #[test]
    fn what_is_trimmed_is_not_asked_for_again_and_again() {
        let (mut log, settings) = (DecidedLog::new(), Settings::default());
        log.note_first(Instance(5));
        let (mut catch_up, mut fx) = (CatchUp::default(), Effects::new());
        let ballot = Ballot { round: 1, proposer: 1, boot: 1 };
        let chosen = Chosen { ballot, until: Instance(4), runs: Vec::new().into() };
        catch_up.on_named(&chosen, &log);
        for turn in 0..9 {
            catch_up.on_turn_end(Time(turn), &log, &settings, &mut fx);
            catch_up.on_timer(Time(turn), &log, None, &settings, &mut fx);
        }
        assert!(fx.timers.len() <= 1 && fx.send.is_empty(), "{:?} {:?}", fx.timers, fx.send);
    }

    /// Found by the simulator: with more holes that nobody can fill than a request has room for,
    /// what lies behind them was never asked for.
    #[test]
    fn holes_that_stay_open_do_not_hide_what_lies_behind_them() {
        let mut log = DecidedLog::new();
        (1..200).for_each(|number| {
            let page = Page { from: Instance(number * 2), entries: vec![Entry::Noop].into() };
            log.decide(page, &mut Vec::new()).expect("it is new");
        });
        let (mut catch_up, settings, mut fx) =
            (CatchUp::default(), Settings::default(), Effects::new());
        let source = NodeId::new(Role::Learner, 2);
        catch_up.on_progress(Time::ZERO, source, Progress { decided: 1000, ..log.progress() });
        let mut asked = Vec::new();
        for _ in 0..9 {
            catch_up.on_timer(Time::ZERO, &log, None, &settings, &mut fx);
        }
        for (_, message) in fx.send {
            let Message::CatchUpRequest(request) = message else { panic!("{message}") };
            asked.extend(request.missing.iter().map(|run| run.from.0));
        }
        let once: Vec<u64> = (0..199).map(|hole| hole * 2 + 1).collect();
        assert_eq!(asked[..once.len()], once);
        assert_eq!(asked[once.len()], 1, "and then from the start again");
    }

    /// Found in a picture: a learner stood still for 0.85 s while every heartbeat told it that
    /// others held more.
    #[test]
    fn who_hears_that_others_hold_more_asks_often() {
        let (log, settings) = (DecidedLog::new(), Settings::default());
        let mut catch_up = CatchUp::default();
        let source = NodeId::new(Role::Learner, 2);
        let held = Progress {
            trimmed: Instance::FIRST,
            first: Instance::FIRST,
            watermark: Instance(1),
            decided: 9,
            end: Instance(10),
            name: 0,
        };
        let mut now = Time::ZERO;
        let mut longest = |hears: bool| {
            let waits = (0..60).map(|_| {
                let mut fx = Effects::new();
                if hears {
                    catch_up.on_progress(now, source, held);
                }
                catch_up.on_timer(now, &log, None, &settings, &mut fx);
                let deadline =
                    fx.timers.last().and_then(|(_, deadline)| *deadline).expect("it is set");
                let wait = deadline.since(now);
                now = deadline;
                wait
            });
            waits.max()
        };
        assert_eq!(longest(true), Some(settings.retry_catch_up * LONGEST_WAIT));
        assert_eq!(longest(false), Some(settings.retry_max), "nobody is there any more");
    }

    /// Any source may be cut off, also the one that others prefer.
    #[test]
    fn every_source_that_holds_more_is_asked_in_turn() {
        let (log, settings) = (DecidedLog::new(), Settings::default());
        let mut catch_up = CatchUp::default();
        let mut fx = Effects::new();
        let held = |decided| Progress {
            trimmed: Instance::FIRST,
            first: Instance::FIRST,
            watermark: Instance(1),
            decided,
            end: Instance(decided + 1),
            name: 0,
        };
        let [l1, l2, l3] = [1, 2, 3].map(|id| NodeId::new(Role::Learner, id));
        let p1 = NodeId::new(Role::Proposer, 1);
        for (source, decided) in [(p1, 9), (l1, 5), (l2, 5), (l3, 0)] {
            catch_up.on_progress(Time::ZERO, source, held(decided));
        }
        for _ in 0..4 {
            catch_up.on_timer(Time::ZERO, &log, Some(l2), &settings, &mut fx);
        }
        let asked: Vec<_> = fx
            .send
            .iter()
            .map(|(to, message)| {
                let Message::CatchUpRequest(request) = message else { panic!("{message}") };
                assert_eq!(request.of.map(|of| of.role), Some(to.group()));
                request.of
            })
            .collect();
        assert_eq!(asked, [l2, l1, p1, l2].map(Some));
    }
}
