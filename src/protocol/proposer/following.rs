//! What a proposer learns from other leaders, and from processes that hold what it missed.

use super::{Phase, Proposer, ROUND_JUMP_MAX};
use crate::protocol::actor::{Effects, Ignored};
use crate::protocol::catch_up::{self, Answer};
use crate::protocol::message::{Accept, CatchUpReply, CatchUpRequest, Chosen, Decide, Progress};
use crate::protocol::segments::Page;
use crate::protocol::types::{Ballot, NodeId, Role, Sender, Time};

impl Proposer {
    /// Takes in decided entries from elsewhere. Returns whether any was new.
    pub(super) fn learn(&mut self, now: Time, page: Page, fx: &mut Effects) -> bool {
        let mut is_news = false;
        self.decide(now, page, |_| is_news = true, fx);
        self.deliver(now);
        is_news
    }

    /// `source` holds `progress`.
    pub(super) fn on_progress(
        &mut self,
        now: Time,
        source: NodeId,
        progress: Progress,
        fx: &mut Effects,
    ) {
        if self.log.note_forgotten(source, progress) {
            if self.is_leading() {
                // Others have decided something else: this ballot is over, and its watermark must
                // not vouch for what it proposed there.
                self.step_down(now, fx);
            }
            self.deliver(now);
        }
        self.catch_up.on_progress(now, source, progress);
    }

    /// The leader's ballot must be above every round heard of.
    pub(super) fn hear_ballot(&mut self, ballot: Ballot) -> bool {
        let is_sane = ballot.round <= self.round.saturating_add(ROUND_JUMP_MAX);
        if is_sane {
            self.round = self.round.max(ballot.round);
        }
        is_sane
    }

    /// Another leader uses its ballot `ballot`. Returns whether that is credible.
    fn follow(&mut self, ballot: Ballot) -> bool {
        let is_sane = self.hear_ballot(ballot);
        if is_sane && ballot >= self.followed && !self.is_leading() {
            self.followed = ballot;
        }
        is_sane
    }

    /// Another leader proposes something. It may be decided already, and the message says what else
    /// is.
    pub(super) fn on_accept(&mut self, now: Time, from: Sender, accept: Accept, fx: &mut Effects) {
        let Accept { ballot, watermark: until, chosen: runs, from: first, entries, .. } = accept;
        if !ballot.belongs_to(from) || !self.follow(ballot) {
            return fx.ignore(Ignored::Malformed);
        }
        self.proposals.hear(ballot, Page { from: first, entries }, &self.log, &self.settings);
        self.on_named(now, from, Chosen { ballot, until, runs }, fx);
    }

    /// Another leader names what is decided. Nobody but its owner names anything by a ballot.
    pub(super) fn on_named(&mut self, now: Time, from: Sender, chosen: Chosen, fx: &mut Effects) {
        if !chosen.ballot.belongs_to(from) {
            return fx.ignore(Ignored::Malformed);
        }
        for page in self.catch_up.on_chosen(chosen, &mut self.proposals, &self.log) {
            self.learn(now, page, fx);
        }
    }

    pub(super) fn on_decide(&mut self, now: Time, from: Sender, decide: Decide, fx: &mut Effects) {
        if decide.ballot.proposer == from.node.id {
            self.follow(decide.ballot);
        }
        self.catch_up.on_decide();
        self.learn(now, Page { from: decide.from, entries: decide.entries }, fx);
    }

    pub(super) fn on_catch_up_request(
        &mut self,
        asker: NodeId,
        request: &CatchUpRequest,
        fx: &mut Effects,
    ) {
        let me = NodeId::new(Role::Proposer, self.options.id);
        if !catch_up::is_asked(request, me, self.is_leading()) {
            return fx.ignore(Ignored::NotLeading);
        }
        catch_up::answer(&self.log, request, asker, &self.settings, fx);
    }

    pub(super) fn on_catch_up_reply(
        &mut self,
        now: Time,
        from: NodeId,
        reply: CatchUpReply,
        fx: &mut Effects,
    ) {
        let gained = self.learn(now, Page { from: reply.from, entries: reply.entries }, fx);
        if matches!(self.phase, Phase::Standby) {
            let answer = Answer { gained, last: reply.last };
            self.catch_up.on_reply(now, &self.log, from, answer, &self.settings, fx);
        }
    }
}
