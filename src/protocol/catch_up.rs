//! Fetching decided entries that were missed, and handing them to those who missed them.
//!
//! Learners and standby proposers ask; the leading learner and the leader answer. A request names
//! what is missing, by runs; an answer is a burst of datagrams whose last one says so, and what is
//! still missing then is asked for at once. Whatever is lost is asked for again after a time-out,
//! from the other source. Entries are final, so answers may come twice, late or in any order.

use log::debug;

use super::actor::Effects;
use super::decided_log::DecidedLog;
use super::message::{CatchUpReply, CatchUpRequest, Message, Progress};
use super::packing::{pages, runs_per_page};
use super::retry::backoff;
use super::settings::Settings;
use super::timer::Timer;
use super::types::{Instance, Role, Time};
use crate::bugs::{self, Bug};

/// How many runs one request names, at most.
const RUNS_MAX: usize = 64;

/// What one process still has to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CatchUp {
    /// The most that anybody was heard to hold.
    heard: Progress,
    /// Holes below it were asked about, and may be open for good.
    asked_until: Instance,
    /// Where the next request begins: nobody may be able to fill the holes below.
    next: Instance,
    /// Whether the timer is set.
    waiting: bool,
    /// Requests in a row without anything new.
    tries: u32,
}

impl Default for CatchUp {
    fn default() -> Self {
        CatchUp {
            heard: DecidedLog::new().progress(),
            asked_until: Instance::FIRST,
            next: Instance::FIRST,
            waiting: false,
            tries: 0,
        }
    }
}

impl CatchUp {
    /// Somebody holds `heard`.
    pub fn on_progress(&mut self, heard: Progress) {
        self.heard.end = self.heard.end.max(heard.end);
        self.heard.decided = self.heard.decided.max(heard.decided);
    }

    /// Starts the timer when `log` lacks something. To be called once a turn.
    pub fn on_turn_end(
        &mut self,
        now: Time,
        log: &DecidedLog,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        // A short wait lets datagrams arrive that are under way.
        if !self.waiting && self.is_behind(log) {
            self.waiting = true;
            fx.set_timer(Timer::CatchUp, now + settings.catch_up_delay);
        }
    }

    /// The timer is due: asks `sources` in turn for what is missing.
    pub fn on_timer(
        &mut self,
        now: Time,
        log: &DecidedLog,
        sources: [Role; 2],
        settings: &Settings,
        fx: &mut Effects,
    ) {
        self.waiting = false;
        if !self.is_behind(log) {
            self.tries = 0;
            return;
        }
        self.ask(now, log, sources[self.tries as usize % 2], settings, fx);
    }

    /// An answer was taken into `log`; `gained` tells whether it held anything new.
    pub fn on_reply(
        &mut self,
        now: Time,
        log: &DecidedLog,
        from: Role,
        answer: (bool, bool),
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let (gained, last) = answer;
        if gained {
            self.tries = 0;
        }
        if gained && last && self.is_behind(log) {
            self.ask(now, log, from, settings, fx);
        }
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
        self.heard.decided > held.decided
            || (held.watermark < held.end && self.asked_until < held.end)
    }

    fn ask(
        &mut self,
        now: Time,
        log: &DecidedLog,
        source: Role,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let end = self.heard.end.max(log.end());
        let limit = RUNS_MAX.min(runs_per_page(settings.page_bytes()));
        let mut missing = log.missing(self.next, end, limit);
        if missing.is_empty() {
            missing = log.missing(Instance::FIRST, end, limit);
        }
        self.asked_until = log.end();
        let Some(last) = missing.last() else { return };
        // Once round the log, and then from the start again.
        self.next = if missing.len() < limit { Instance::FIRST } else { last.until };
        debug!("asks the {source}s for {} runs from {}", missing.len(), missing[0].from);
        fx.send(source, Message::CatchUpRequest(CatchUpRequest { missing }));
        let wait = backoff(settings.retry_catch_up, self.tries, settings.retry_max);
        self.tries = self.tries.saturating_add(1);
        self.waiting = true;
        if !bugs::has(Bug::AsksOnce) {
            fx.set_timer(Timer::CatchUp, now + wait);
        }
    }
}

/// Answers `request` from `log`, to the group of who asked: at most `catch_up_bytes`.
pub fn answer(
    log: &DecidedLog,
    request: &CatchUpRequest,
    asker: Role,
    settings: &Settings,
    fx: &mut Effects,
) {
    let mut bytes = 0;
    let held = request.missing.iter().flat_map(|run| log.pages(*run));
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
        fx.send(asker, Message::CatchUpReply(CatchUpReply { from, entries, last }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::segments::Page;
    use crate::protocol::types::Entry;

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
        catch_up.on_progress(Progress { decided: 1000, ..log.progress() });
        let mut asked = Vec::new();
        for _ in 0..9 {
            catch_up.on_timer(Time::ZERO, &log, [Role::Learner; 2], &settings, &mut fx);
        }
        for (_, message) in fx.send {
            let Message::CatchUpRequest(request) = message else { panic!("{message}") };
            asked.extend(request.missing.iter().map(|run| run.from.0));
        }
        let once: Vec<u64> = (0..199).map(|hole| hole * 2 + 1).collect();
        assert_eq!(asked[..once.len()], once);
        assert_eq!(asked[once.len()], 1, "and then from the start again");
    }
}
