//! What does a fault do to the world, and what ends all of them?
//!
//! The faults themselves are in `fault`; which of them a seed brings, in `scenario`.

use std::time::Duration;

use super::Cluster;
use crate::protocol::types::{NodeId, Role};
use crate::sim::fault::Fault;
use crate::sim::network::Weather;
use crate::sim::node::ReadOften;
use crate::sim::record::{Fate, What};
use crate::sim::trace::Detail;

impl Cluster {
    /// Kills a node. What it synced stays.
    pub fn kill(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id).filter(|node| node.is_up) {
            node.is_up = false;
            self.has_moved = true;
            if let Some(host) = self.hosts.get_mut(&id) {
                host.disk.crash(&mut self.rng);
                host.operated.lost_power = true;
            }
            self.trace.tell(Detail::Story, self.now, format_args!("{id} is dead"));
            let (now, unread) = (self.now, node.waiting().collect::<Vec<_>>());
            self.trace.record(|record| {
                unread.iter().for_each(|copy| record.ended(now, *copy, Fate::Dead));
            });
            self.happened(What::Dies(id));
        }
    }

    /// Removes an acceptor's data.
    pub fn wipe(&mut self, id: NodeId) {
        self.hosts.remove(&id);
    }

    /// Lets a node sleep; what arrives waits in its inbox.
    pub fn pause(&mut self, id: NodeId, length: Duration) {
        let until = self.now + length;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.paused_until = node.paused_until.max(until);
            self.schedule_turn(id, until);
            self.happened(What::Sleeps(id, until));
        }
    }

    /// Lets a proposer campaign now, even if it or another one leads.
    #[cfg(test)]
    pub fn campaign(&mut self, id: u32) {
        let (id, now) = (NodeId::new(Role::Proposer, id), self.now);
        let Some(local) = self.hosts.get(&id).map(|host| host.clock.shows(now)) else { return };
        if let Some(node) = self.nodes.get_mut(&id)
            && let crate::sim::node::AnyRole::Proposer(proposer) = &mut node.role
        {
            proposer.take_over(local, &mut node.fx);
            self.schedule_turn(id, now);
        }
    }

    /// Lets a fault happen now.
    pub fn inject(&mut self, fault: &Fault) {
        self.trace.tell(Detail::Story, self.now, format_args!("fault: {fault}"));
        self.trace.record(|record| record.happened(self.now, What::Fault(fault.clone())));
        match fault {
            Fault::Kill(id) => self.kill(*id),
            Fault::KillAt(id, boundary) => {
                if let Some(node) = self.nodes.get_mut(id) {
                    node.doom = Some(*boundary);
                }
            }
            Fault::Restart(id) => {
                self.kill(*id);
                self.start(*id);
            }
            Fault::Pause(id, length) => self.pause(*id, *length),
            Fault::KillLeader => self.leader().into_iter().for_each(|leader| self.kill(leader)),
            Fault::PauseLeader(length) => {
                self.leader().into_iter().for_each(|leader| self.pause(leader, *length));
            }
            Fault::Cut { pairs, .. } => {
                pairs.iter().for_each(|(from, to)| self.network.cut(*from, *to));
            }
            Fault::Narrow { bytes, pairs } => {
                pairs.iter().for_each(|(from, to)| self.network.narrow(*from, *to, *bytes));
            }
            Fault::SlowDisk(id, length) => self.hosts.entry(*id).or_default().sync = *length,
            Fault::Filter(kind) => self.network.filter(*kind),
            Fault::Misplace(pairs) => {
                pairs.iter().for_each(|(from, to)| self.network.misplace(*from, *to));
            }
            Fault::Forget(node) => self.network.forget(*node),
            Fault::Heal => self.network.heal(),
            Fault::FillDisk(id, bytes) => {
                let disk = &self.hosts.entry(*id).or_default().disk;
                disk.limit(Some(disk.used() + bytes));
            }
            Fault::BreakDisk(id) => self.hosts.entry(*id).or_default().disk.set_broken(true),
            Fault::Operate(id, habit) => self.operate(*id, *habit),
            Fault::ClockRate(id, permille) => {
                let now = self.now;
                self.hosts.entry(*id).or_default().clock.set_rate(now, *permille);
                self.schedule_turn(*id, now);
            }
            Fault::ClockJump(id, length) => {
                let now = self.now;
                self.hosts.entry(*id).or_default().clock.jump(now, *length);
                self.schedule_turn(*id, now);
            }
            Fault::Replay(count) => self.replay(*count),
            Fault::Garbage(id) => (0..8).for_each(|_| self.throw_garbage(*id)),
        }
    }

    /// Makes everything work again: the network, the disks, the clocks, and processes that slept.
    /// Acceptors, learners and proposers that died start again; clients stay dead.
    pub fn heal(&mut self) {
        self.network.heal();
        self.network.weather = Weather::default();
        let now = self.now;
        for host in self.hosts.values_mut() {
            host.disk.limit(None);
            host.disk.set_broken(false);
            host.clock.set_rate(now, 1000);
            host.sync = Duration::ZERO;
        }
        self.put_back_last_states();
        self.plan.reads = self.plan.reads.map(ReadOften::a_few_more);
        let everyone: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in everyone {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.doom = None;
                node.reads = node.reads.map(ReadOften::a_few_more);
                node.paused_until = now;
            }
            if self.is_up(id) {
                self.schedule_turn(id, now);
            } else if id.role != Role::Client {
                self.start(id);
            }
        }
        self.trace.tell(Detail::Story, now, format_args!("all faults end"));
        self.happened(What::Heals);
    }
}
