//! What does a process begin with?
//!
//! An acceptor with what its disk holds, a learner with its snapshots, a proposer with nothing, a
//! client with the values that are typed into it; each on its host, whose clock and disk outlive
//! it, and of the release that its operator has installed.

use std::time::Duration;

use super::{CLUSTER, Cluster, Plan};
use crate::protocol::message::Assignment;
use crate::protocol::parts::{Acceptor, Client, Proposer};
use crate::protocol::proposer::ProposerOptions;
use crate::protocol::settings::Settings;
use crate::protocol::types::{NodeId, Role, Sender, Session, Value};
use crate::protocol::versions::Versions;
use crate::rng::Rng;
use crate::sim::disk::SimDisk;
use crate::sim::node::{AnyRole, Host, Node};
use crate::sim::record::What;
use crate::sim::trace::Detail;
use crate::storage::error::LogError;
use crate::storage::identity::Identity;
use crate::storage::log::{Log, LogOptions};
use crate::wire::Codec;

impl Cluster {
    /// Starts a node, or starts it again: an acceptor with what its disk holds, the others afresh.
    pub fn start(&mut self, id: NodeId) {
        let mut boot = self.rng.next_u64();
        self.choose_release(id, boot);
        let host = self.hosts.entry(id).or_default().clone();
        let settings = self.plan.settings.clone();
        let local = host.clock.shows(self.now);
        let (mut log, mut shop) = (None, None);
        let role = match id.role {
            Role::Acceptor => {
                let acceptor_count = settings.acceptor_count;
                let (cluster, token) = (CLUSTER.to_owned(), boot.rotate_left(17));
                let (acceptor, incarnation) = (id.id, boot);
                let mine = Identity { cluster, acceptor, acceptor_count, incarnation, token };
                match open_log(&host, &mine, &self.plan) {
                    Ok((acceptor, opened)) => {
                        self.hosts.entry(id).and_modify(|host| host.operated.started());
                        (log, boot) = (Some(opened), acceptor.incarnation());
                        let accepted = |instance| {
                            let is_trimmed = instance < acceptor.forgotten();
                            let vote = acceptor.accepted_in(instance);
                            if is_trimmed { Some(acceptor.promised()) } else { vote }
                        };
                        let verdict = self.checker.on_restart(id, acceptor.promised(), accepted);
                        self.note(verdict);
                        AnyRole::Acceptor(Box::new(acceptor))
                    }
                    // A full disk, or one that does not sync: it stays dead.
                    Err(error @ LogError::Write { .. }) => {
                        let story = format_args!("{id} cannot start: {error}");
                        return self.trace.tell(Detail::Story, self.now, story);
                    }
                    Err(error) if host.operated.is_tampered() => {
                        let story = format_args!("{id} is refused: {error}");
                        return self.trace.tell(Detail::Story, self.now, story);
                    }
                    Err(error) => return self.note(Err(format!("{id} cannot start: {error}"))),
                }
            }
            Role::Learner => {
                let (learner, kept) = self.learner(Sender { node: id, boot }, local);
                shop = kept;
                AnyRole::Learner(Box::new(learner))
            }
            Role::Proposer => {
                let options = ProposerOptions {
                    id: id.id,
                    boot,
                    no_timeouts: self.plan.no_timeouts,
                    no_preexecution: self.plan.no_preexecution,
                };
                AnyRole::Proposer(Box::new(Proposer::new(options, settings)))
            }
            Role::Client => panic!("clients start with their values, by start_client"),
        };
        let mut node = self.process(Sender { node: id, boot }, role);
        (node.log, node.shop) = (log, shop);
        node.reads = self.plan.reads.filter(|_| id.role == Role::Learner);
        self.enter(node);
    }

    /// Starts client `id` with these values on its standard input.
    pub fn start_client(&mut self, id: u32, assignment: Assignment, values: Vec<Value>) {
        self.start_typist(id, assignment, values, Duration::ZERO);
    }

    /// Starts client `id`, which keeps `outstanding` of these values in flight.
    pub fn start_bounded(&mut self, id: u32, outstanding: usize, values: Vec<Value>) {
        let usual = std::mem::replace(&mut self.plan.settings.client_window, outstanding);
        self.start_client(id, Assignment::Leader, values);
        self.plan.settings.client_window = usual;
    }

    /// Starts client `id`, into which a value is typed after each `pause`.
    pub fn start_typist(
        &mut self,
        id: u32,
        assignment: Assignment,
        values: Vec<Value>,
        pause: Duration,
    ) {
        let node = NodeId::new(Role::Client, id);
        let boot = self.rng.next_u64();
        self.choose_release(node, boot);
        self.hosts.entry(node).or_default();
        let session = Session { client: id, boot };
        let mut typed = self.now;
        let client = Client::new(session, assignment, self.plan.settings.clone());
        let mut client = self.process(Sender { node, boot }, AnyRole::Client(Box::new(client)));
        let first = match assignment {
            Assignment::Client { first } => Some(first),
            Assignment::Leader => None,
        };
        self.checker.on_input(session, values.clone(), first);
        for value in values {
            client.input.push_back((typed, value));
            typed = typed + pause;
        }
        client.input_ends = self.plan.inputs_end;
        self.enter(client);
    }

    /// Chooses the release of the process that starts next.
    fn choose_release(&mut self, id: NodeId, boot: u64) {
        let is_old = Rng::new(boot ^ 0x6f6c_6465).below(100) < self.plan.old_percent;
        let drawn = if is_old { Versions::BEFORE } else { Versions::ALL };
        self.plan.settings.versions = self.installed.get(&id).copied().unwrap_or(drawn);
        if self.plan.settings.versions == Versions::BEFORE {
            self.tell(Detail::Story, format_args!("{id} is of the last release"));
        }
    }

    pub(in crate::sim) fn process(&self, sender: Sender, role: AnyRole) -> Node {
        let Settings { acceptor_count, datagram_bytes, .. } = self.plan.settings;
        let codec = Codec::new(CLUSTER, acceptor_count, sender, datagram_bytes);
        let codec = codec.reading(self.plan.settings.versions);
        Node::new(sender, role, codec, self.now)
    }

    /// A process enters the world.
    pub(in crate::sim) fn enter(&mut self, mut node: Node) {
        let id = node.sender.node;
        let local = self.hosts.entry(id).or_default().clock.shows(self.now);
        node.role.actor().on_start(local, &mut node.fx);
        self.trace.mix(node.sender.boot);
        self.trace.tell(Detail::Story, self.now, format_args!("{id} starts"));
        self.happened(What::Starts(id));
        self.nodes.insert(id, node);
        self.has_moved = true;
        self.schedule_turn(id, self.now);
    }
}

/// An acceptor with what its disk holds.
fn open_log(
    host: &Host,
    mine: &Identity,
    plan: &Plan,
) -> Result<(Acceptor, Log<SimDisk>), LogError> {
    let adopt_copy = host.operated.adopts_copy;
    let Plan { segment_bytes, quota, .. } = *plan;
    let options = LogOptions { adopt_copy, segment_bytes, quota, reads_all: false };
    let opening = Log::open(host.disk.clone(), mine, options)?;
    let mut acceptor = Acceptor::new(mine.acceptor, opening.incarnation(), plan.settings.clone());
    let (log, _) = opening.recover(|record| acceptor.restore(record))?;
    Ok((acceptor, log))
}
