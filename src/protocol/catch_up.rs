//! How a process fetches decided entries that it missed, and how others serve them.
//!
//! Learners and standby proposers ask, and the process that they name answers. They ask all
//! processes that were heard to hold more, one after the other, for any of them may be cut off. A
//! request names the missing runs; an answer is a burst of datagrams, the last of which says so,
//! and anything still missing then is requested at once. If an answer is lost, the next source is
//! asked after a time-out. Entries are final, so answers may come twice, late or in any order.
//!
//! Entries that nobody holds in memory any more are read back from the acceptors by learners
//! (`recall`), in the same bursts and with the same pauses.
//!
//! A process that has much to fetch while others decide leaves them time between its requests.

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

/// The pause between two requests, as a multiple of the time the last answer took.
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
    /// A leader said that everything below it is decided, ...
    named_until: Instance,
    /// ... and so are these; those that are held are dropped.
    named: Vec<Run<Instance>>,
    /// Holes below it were requested once, and may stay open for good.
    asked_until: Instance,
    /// Where the next request begins: nobody may be able to fill the holes below.
    next: Instance,
    /// Whether the timer is set.
    waiting: bool,
    /// Consecutive requests that brought nothing new.
    tries: u32,
    /// The request whose answer is not complete yet.
    asked: Option<OpenRequest>,
    /// The source to ask after a pause, because it has answered.
    proven: Option<NodeId>,
    /// What is read back from acceptors. None for a proposer, which does not need forgotten
    /// entries.
    recalls: Option<Recalling>,
}

/// What an answer to a request has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it held anything new.
    pub gained: bool,
    /// Whether it completes what was asked for.
    pub last: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Recalling {
    me: NodeId,
    recalls: Recalls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct OpenRequest {
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
    /// For learner `id`, which wants the entire log.
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

    /// A leader names what is decided. Returns the decisions that `proposals` holds and `log`
    /// lacks.
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

    /// Notes these decisions, whether or not their values are held.
    fn on_named(&mut self, chosen: &Chosen, log: &DecidedLog) {
        self.named_until = self.named_until.max(chosen.until);
        if chosen.runs.is_empty() {
            return;
        }
        let mut named = std::mem::take(&mut self.named);
        named.extend_from_slice(&chosen.runs);
        // Runs that are held must not crowd out missing ones.
        named.retain(|run| log.lacks(*run));
        self.named = merge(named);
        // If more stay missing, heartbeats tell of them.
        self.named.truncate(RUNS_MAX);
    }

    /// Something was decided just now.
    pub fn on_decide(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.others_decide = true;
        }
    }

    /// Starts the timer if `log` lacks something. Call it once a turn.
    pub fn on_turn_end(
        &mut self,
        now: Time,
        log: &DecidedLog,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        self.named.retain(|run| log.lacks(*run));
        // A short wait lets datagrams under way arrive: a value has mostly arrived before its name.
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
        // Trimmed entries are missing as well, but nobody can be asked for them.
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

    /// The timer is due: requests what is missing, from `first` first, then from the other sources
    /// in turn.
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

    /// An answer was taken into `log`.
    pub fn on_reply(
        &mut self,
        now: Time,
        log: &DecidedLog,
        from: NodeId,
        answer: Answer,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let Answer { gained, last } = answer;
        // Acceptors are asked only for what others have forgotten.
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
            // Nothing is under way now: the next missing entry is requested as promptly as this one
            // was.
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

    /// An acceptor has read back some of its votes. Returns the entries that this proves decided,
    /// and whether the answer is complete.
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

    /// The beginning of the missing `run`, if processes heard from recently have forgotten it and
    /// nobody else has it: it is on the disks of acceptors.
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
        // Every second try goes to the acceptors even so: the others may not hear this process.
        if fresh().any(|(held, _)| holds(held)) && self.tries.is_multiple_of(2) {
            return None;
        }
        let forgets = |held: &Progress| held.trimmed <= run.from && run.from < held.first;
        let firsts = fresh().filter(|(held, _)| forgets(held)).map(|(held, _)| held.first);
        Some(Run::new(run.from, firsts.min()?.min(run.until)))
    }

    /// The source to ask at this try, among those heard from recently that hold more than `log`, or
    /// else among all. None when no source is known.
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
        // Some sources may have forgotten the first missing entry.
        let has_first =
            |id: &NodeId| self.sources.get(id).is_some_and(|(held, _)| held.first <= wanted);
        if able.iter().any(has_first) {
            able.retain(has_first);
        }
        if able.is_empty() {
            // The missing part may be a hole that only few can fill, or its holder has just died.
            able = fresh().map(|(id, _)| *id).collect();
        }
        // Learners before proposers: a leader has more to do.
        able.sort_unstable_by_key(|id| (Some(*id) != first, id.role != Role::Learner, id.id));
        able.get((self.tries as usize).checked_rem(able.len())?).copied()
    }

    /// How long to leave the machine to others. No pause when nobody else needs it, when the last
    /// answer brought most of what was missing, or when the others have decided more than it
    /// brought: a process that falls behind must not pause.
    fn pause(
        &self,
        now: Time,
        asked: OpenRequest,
        log: &DecidedLog,
        settings: &Settings,
    ) -> Duration {
        let gains = (asked.missing / 2..asked.missing).contains(&self.lag(log));
        if !asked.others_decide || !gains {
            return Duration::ZERO;
        }
        (now.since(asked.when) * PAUSE).min(settings.retry_catch_up)
    }

    /// Whether a process heard from recently holds something that `log` lacks.
    pub fn lacks(&self, now: Time, log: &DecidedLog, settings: &Settings) -> bool {
        let decided = log.progress().decided;
        let memory = settings.progress_timeout * 2;
        let holds_more =
            |(held, when): &(Progress, Time)| held.decided > decided && now.since(*when) <= memory;
        self.sources.values().any(holds_more)
    }

    /// How many decided instances `log` lacks, of those that any process was heard to hold.
    pub fn lag(&self, log: &DecidedLog) -> u64 {
        self.heard.decided.saturating_sub(log.progress().decided)
    }

    /// Forgets everything heard, because its owner learns in another way or starts over.
    pub fn stop(&mut self, fx: &mut Effects) {
        if self.waiting {
            fx.cancel_timer(Timer::CatchUp);
        }
        *self = CatchUp::default();
    }

    /// Whether `log` lacks something that another process holds, or has a hole that was never
    /// requested.
    ///
    /// A hole between client-assigned values may stay open for ever, so a hole by itself is
    /// requested once; after that only the number of decided entries counts.
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
        // Instances known to be decided go into one request, however scattered; holes that may stay
        // open for good are requested once around the log, and then from the start again.
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
        // Without a source, the leader is asked. A repeated request goes to the group, and so does
        // its answer.
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

    /// A request has left; if no answer comes, it is repeated.
    fn await_answer(&mut self, now: Time, log: &DecidedLog, settings: &Settings, fx: &mut Effects) {
        // Only one of many sources may be reachable: each gets its turn within the longest wait.
        let known = u32::try_from(self.sources.len()).unwrap_or(u32::MAX).max(1);
        let longest = settings.retry_catch_up.max(settings.retry_max / known);
        // A process that is heard to hold more is there: only requests or answers get lost, so
        // trying again soon is worth it.
        let longest = if self.lacks(now, log, settings) {
            longest.min(settings.retry_catch_up * LONGEST_WAIT)
        } else {
            longest
        };
        let wait = backoff(settings.retry_catch_up, self.tries, longest);
        self.tries = self.tries.saturating_add(1);
        self.waiting = true;
        self.asked = Some(OpenRequest { when: now, missing: self.lag(log), others_decide: false });
        fx.set_timer(Timer::CatchUp, now + wait);
    }
}

/// Whether `me` must answer `request`; `leads` says whether it leads its group.
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
        // The first entry always goes, however long, or nobody could ever fetch it.
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
        log.decide(page, |_| {}).expect("it is new");
    }

    /// The entire log is fetched in bursts; between them the machine belongs to the processes that
    /// decide.
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
        // Returns when the next request is due after an answer up to `until` at `now`, or that it
        // left at once.
        let mut answer = |catch_up: &mut CatchUp, now, until| {
            for instance in log.progress().decided + 1..=until {
                decide(&mut log, instance);
            }
            let mut fx = Effects::new();
            let from = source;
            catch_up.on_reply(
                Time(now),
                &log,
                from,
                Answer { gained: true, last: true },
                &settings,
                &mut fx,
            );
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
        assert_eq!(fx.send[0].0, To::Node(source), "a process that has answered is asked again");
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

    /// A named decision exists, and proposals mostly arrive before their names: there is no reason
    /// to wait long, and everything missing is requested at once.
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

    /// A log that waits for the checkpoint behind the trimmed part does not lag by the part that is
    /// gone.
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
    /// entries behind them were never requested.
    #[test]
    fn holes_that_stay_open_do_not_hide_what_lies_behind_them() {
        let mut log = DecidedLog::new();
        (1..200).for_each(|number| {
            let page = Page { from: Instance(number * 2), entries: vec![Entry::Noop].into() };
            log.decide(page, |_| {}).expect("it is new");
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

    /// Any source may be cut off, even the preferred one.
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
