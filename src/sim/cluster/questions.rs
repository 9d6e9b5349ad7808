//! How far has a cluster come?
//!
//! What tests, scenarios and reports ask about it: they look at the nodes and at what the checker
//! has seen, and change nothing.

use super::Cluster;
use crate::protocol::actor::Actor;
use crate::protocol::client::ClientTally;
use crate::protocol::types::{NodeId, Role, Sender, Session, Value};
#[cfg(test)]
use crate::protocol::versions::Version;
use crate::sim::checker::Violation;
use crate::sim::node::AnyRole;

impl Cluster {
    /// The version of the wire format in which a node sends, if it is alive.
    #[cfg(test)]
    pub fn version(&self, id: NodeId) -> Option<Version> {
        self.nodes.get(&id).filter(|node| node.is_up).map(|node| node.codec.version())
    }

    /// Whether a node is running.
    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.is_up)
    }

    /// The proposer that leads, if exactly one does.
    pub fn leader(&self) -> Option<NodeId> {
        let mut leaders = self.nodes.iter().filter(|(_, node)| match &node.role {
            AnyRole::Proposer(proposer) => node.is_up && proposer.is_leading(),
            AnyRole::Client(_) | AnyRole::Acceptor(_) | AnyRole::Learner(_) => false,
        });
        let first = leaders.next().map(|(id, _)| *id);
        if leaders.next().is_some() { None } else { first }
    }

    /// Whether every client that is up knows the fate of all its values.
    pub fn clients_finished(&self) -> bool {
        self.nodes.values().filter(|node| node.is_up).all(|node| match &node.role {
            // Values typed after its session has ended are never requested.
            AnyRole::Client(client) => {
                let has_input = !node.input.is_empty() && !client.is_finished();
                let is_known = client.tally().undecided() == 0 || client.is_forgotten();
                !has_input && is_known
            }
            AnyRole::Proposer(_) | AnyRole::Acceptor(_) | AnyRole::Learner(_) => true,
        })
    }

    /// The fates of the values of client `id`.
    pub fn tally(&self, id: u32) -> Option<ClientTally> {
        match &self.nodes.get(&NodeId::new(Role::Client, id))?.role {
            AnyRole::Client(client) => Some(client.tally()),
            AnyRole::Proposer(_) | AnyRole::Acceptor(_) | AnyRole::Learner(_) => None,
        }
    }

    /// The values that learner `id` has delivered since its last start.
    pub fn delivered(&self, id: u32) -> Vec<Value> {
        let Some(node) = self.nodes.get(&NodeId::new(Role::Learner, id)) else { return Vec::new() };
        self.checker.delivered(node.sender).iter().map(|(_, value)| value.clone()).collect()
    }

    /// Whether all learners that are up hold everything that is chosen.
    pub fn learners_complete(&self) -> bool {
        let chosen = self.checker.chosen().len() as u64;
        self.nodes.values().filter(|node| node.is_up).all(|node| match &node.role {
            AnyRole::Learner(learner) => {
                let log = learner.log();
                log.progress().decided == chosen && log.watermark() >= log.first()
            }
            AnyRole::Proposer(_) | AnyRole::Acceptor(_) | AnyRole::Client(_) => true,
        })
    }

    /// Checks that everything that must be delivered is, once clients are finished and learners
    /// complete.
    pub fn check_complete(&self) -> Result<(), Violation> {
        let up = self.nodes.values().filter(|node| node.is_up);
        let clients = up.clone().filter_map(|node| match &node.role {
            AnyRole::Client(client) => {
                let Sender { node, boot } = node.sender;
                let session = Session { client: node.id, boot };
                Some((session, client.tally(), client.is_forgotten()))
            }
            AnyRole::Proposer(_) | AnyRole::Acceptor(_) | AnyRole::Learner(_) => None,
        });
        let learners = up.filter(|node| node.sender.node.role == Role::Learner);
        self.checker.check_complete(learners.map(|node| node.sender), clients)
    }

    /// A running learner with a read that it neither serves nor leaves to the log.
    pub fn find_unread(&self) -> Option<NodeId> {
        self.checker
            .find_unread(self.nodes.values().filter(|node| node.is_up).map(|node| node.sender))
    }

    /// Who leads and what is missing, for reports.
    pub fn describe(&self) -> String {
        let mut parts = vec![format!("{} instances are chosen", self.checker.chosen().len())];
        for (id, node) in &self.nodes {
            parts.push(match &node.role {
                _ if !node.is_up => format!("{id} is dead"),
                AnyRole::Client(client) => format!("{id} {:?}", client.tally()),
                AnyRole::Proposer(proposer) if proposer.is_leading() => {
                    format!("{id} leads, {}", proposer.log().progress())
                }
                AnyRole::Proposer(proposer) => format!("{id} {}", proposer.log().progress()),
                AnyRole::Learner(learner) => format!("{id} {}", learner.log().progress()),
                AnyRole::Acceptor(acceptor) => format!("{id} promised {}", acceptor.promised()),
            });
        }
        parts.join("; ")
    }
}
