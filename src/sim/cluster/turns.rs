//! What does one turn of a node's loop do to the world?
//!
//! The effects of a turn are applied in the order of the role loop: store, send, set timers,
//! deliver. A doomed node dies in between, and one with a slow disk goes on once its sync has
//! ended.

use std::time::Duration;

use super::Cluster;
use crate::protocol::actor::{Delivery, Halt};
use crate::protocol::types::{Counted, NodeId, Role, Run, Time};
use crate::sim::agenda::Event;
use crate::sim::fault::Boundary;
use crate::sim::node::AnyRole;
use crate::sim::record::What;
use crate::sim::trace::Detail;

impl Cluster {
    pub(super) fn schedule_turn(&mut self, id: NodeId, time: Time) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let time = time.max(node.paused_until);
        if node.turn.is_none_or(|turn| turn > time || turn < self.now) {
            node.turn = Some(time);
            self.agenda.schedule(time, Event::Turn { node: id });
        }
    }

    /// One turn of the loop of `id`, and its effects.
    pub(super) fn turn(&mut self, id: NodeId) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if !node.is_up || node.turn != Some(now) {
            return; // Killed, or moved to another time.
        }
        node.turn = None;
        if now < node.paused_until {
            let later = node.paused_until;
            return self.schedule_turn(id, later);
        }
        if std::mem::take(&mut node.is_syncing) {
            return self.say(id);
        }
        let Some(host) = self.hosts.get(&id) else { return };
        let led = leads(&node.role);
        let clock = host.clock;
        node.end_readings(now, &self.plan.settings);
        if let Some(number) = node.begin_read(now, &clock) {
            self.checker.on_read(node.sender, number);
        }
        node.run_turn(now, &clock, &self.plan.settings, &mut self.trace);
        if let Some((host, head)) = self.hosts.get_mut(&id).zip(node.take_stable()) {
            host.kept.note(head);
        }
        let leads = leads(&node.role);
        if leads != led {
            self.elections += u32::from(leads);
            let what = if leads { "leads" } else { "leads no more" };
            let chosen = self.checker.chosen().len();
            let story = format_args!("{id} {what}; {chosen} instances are decided so far");
            self.trace.tell(Detail::Story, now, story);
        }
        self.trace.record(|record| {
            record.believes(now, id, node.role.belief(clock.shows(now)));
            if led && !leads {
                record.happened(now, What::Yields(id));
            }
            if let (AnyRole::Proposer(proposer), true) = (&node.role, leads && !led) {
                record.happened(now, What::Leads(id, proposer.ballot()));
            }
        });
        self.apply(id);
    }

    /// Store, send, timers, deliver: the role loop's order. It may end anywhere.
    fn apply(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let doom = node.doom.filter(|doom| match doom {
            Boundary::BeforeStore | Boundary::BeforeSync | Boundary::MidStore => {
                !node.fx.persist.is_empty()
            }
            Boundary::BeforeSend | Boundary::MidSend => !node.fx.send.is_empty(),
        });
        if doom == Some(Boundary::BeforeStore) {
            return self.kill(id);
        }
        if let (Some(Boundary::BeforeSync), Some(host)) = (doom, self.hosts.get(&id)) {
            host.disk.set_broken(true);
        }
        if let (Some(Boundary::MidStore), Some(host)) = (doom, self.hosts.get(&id)) {
            host.disk.kill_after(Some(self.rng.below(8)));
        }
        let stored = node.store();
        if let (Some(Boundary::BeforeSync), Some(host)) = (doom, self.hosts.get(&id)) {
            host.disk.set_broken(false);
        }
        if let Err(error) = stored {
            self.trace.tell(Detail::Story, self.now, format_args!("{id} cannot store: {error}"));
            return self.kill(id);
        }
        if matches!(doom, Some(Boundary::BeforeSend | Boundary::MidStore)) {
            return self.kill(id);
        }
        let sync = self.hosts.get(&id).map_or(Duration::ZERO, |host| host.sync);
        if node.fx.persist.is_empty() || sync.is_zero() {
            return self.say(id);
        }
        node.is_syncing = true;
        self.pause(id, sync);
    }

    /// Sends a turn's messages, once its records are stored, and applies the rest of its effects.
    fn say(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let dies = node.doom == Some(Boundary::MidSend) && !node.fx.send.is_empty();
        let (sender, codec) = (node.sender, node.codec.clone());
        let messages = std::mem::take(&mut node.fx.send);
        let count = if dies { messages.len() / 2 } else { messages.len() };
        for (to, message) in messages.into_iter().take(count) {
            let verdict = self.checker.on_send(sender, to, &message);
            let news = self.checker.take_news();
            if news.iter().any(|new| self.checker.is_checkpoint(new.instance)) {
                let verdict = self.expect_copies();
                self.note(verdict);
            }
            news.into_iter().for_each(|new| self.happened(What::Chosen(new)));
            self.note(verdict);
            self.send(sender, &codec, to, &message);
        }
        if dies {
            return self.kill(id);
        }
        self.finish(id);
    }

    /// Timers and deliveries, the end of a turn.
    fn finish(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(host) = self.hosts.get(&id) else { return };
        node.set_timers();
        let (sender, halt) = (node.sender, node.fx.halt);
        let checked = match &node.role {
            AnyRole::Proposer(proposer) => proposer.check(),
            AnyRole::Acceptor(_) | AnyRole::Learner(_) | AnyRole::Client(_) => Ok(()),
        };
        for reading in node.fx.read.drain(..) {
            let done = self.now + Duration::from_micros(50 + self.rng.below(3000));
            let done = node.readings.back().map_or(done, |(last, _)| done.max(*last));
            node.readings.push_back((done, reading));
        }
        for errand in node.fx.errands.drain(..) {
            let done = self.now + host.sync + Duration::from_micros(50 + self.rng.below(1000));
            let done = node.errands.back().map_or(done, |(last, _)| done.max(*last));
            node.errands.push_back((done, errand));
        }
        let next = node.next_turn(self.now, &host.clock);
        self.has_moved |= matches!(sender.node.role, Role::Client | Role::Learner);
        let deliveries = std::mem::take(&mut node.fx.deliver);
        node.fx.clear();
        for delivery in deliveries {
            let what = match &delivery {
                Delivery::Decided(page) => What::Learns(id, page.run()),
                Delivery::Delivered(page, _) => What::Delivers(id, page.run()),
                Delivery::Assembled(value) => {
                    What::Delivers(id, Run::new(value.instance, value.instance.next()))
                }
                // They hand nothing out.
                Delivery::Passed(_) | Delivery::Readable(_) | Delivery::Unreadable(_) => {
                    if let Delivery::Readable(last) | Delivery::Unreadable(last) = delivery {
                        self.trace.mix(last);
                        let what = format_args!("  {id} {delivery:?}");
                        self.trace.tell(Detail::Messages, self.now, what);
                    }
                    let verdict = self.checker.on_deliver(sender, &delivery);
                    self.note(verdict);
                    continue;
                }
                Delivery::Checkpoint(checkpoint) => {
                    self.keep(id, checkpoint);
                    continue;
                }
                Delivery::Restored(checkpoint) => {
                    self.fetched += 1;
                    let story = format_args!("{id} goes on at {}", checkpoint.head.of);
                    self.trace.tell(Detail::Story, self.now, story);
                    let verdict = self.checker.on_deliver(sender, &delivery);
                    self.note(verdict);
                    continue;
                }
                Delivery::Begins(instance) => {
                    let story = format_args!("{id} begins at {instance}");
                    self.trace.tell(Detail::Story, self.now, story);
                    let verdict = self.checker.on_deliver(sender, &delivery);
                    self.note(verdict);
                    continue;
                }
            };
            if let What::Learns(_, run) | What::Delivers(_, run) = &what {
                run.iter().for_each(|instance| self.trace.mix(instance.0));
            }
            self.trace.tell(Detail::Messages, self.now, format_args!("  {id} {delivery:?}"));
            self.happened(what);
            let verdict = self.checker.on_deliver(sender, &delivery);
            self.note(verdict);
        }
        self.note(checked.map_err(|what| format!("{id}: {what}")));
        if let Some(halt) = halt {
            self.trace.tell(Detail::Story, self.now, format_args!("{id} ends: {halt:?}"));
            self.kill(id);
            match halt {
                // Its operator restarts it, with what is kept.
                Halt::CutOff(_) => self.start(id),
                Halt::Trimmed(_) | Halt::NoSnapshot(_) | Halt::LaterSnapshot { .. } => {
                    self.import(id);
                }
                Halt::Forgotten | Halt::Foreign | Halt::Ahead(_) | Halt::Unknown(_) => {}
            }
            return;
        }
        if let Some(next) = next {
            self.schedule_turn(id, next);
        }
    }
}

fn leads(role: &AnyRole) -> bool {
    matches!(role, AnyRole::Proposer(proposer) if proposer.is_leading())
}
