//! What a cluster is, and what this process does in it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::client::Client;
#[cfg(feature = "metrics")]
use super::contained::contain;
use super::desk::{Asking, Desk};
use super::feed::{Feed, Following};
use super::metrics::Metrics;
use super::node::{Node, Ready};
use super::reads::{Readers, Reads};
use super::replica::{Replica, Start, StateMachine};
use super::subscription::{Position, Subscription};
use crate::clock::Clock;
use crate::config::{self, Config, ConfigError, MetricsChoice};
use crate::protocol::learner::{Beginning, Learner};
use crate::protocol::message::StateKind;
use crate::protocol::settings::Retain;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, NodeId, Role};
use crate::runtime::opening::{Opened, Part, RoleOptions};
use crate::runtime::process::Process;
use crate::runtime::snapshots;
use crate::runtime::start_error::{StartError, StartErrorKind};
use crate::snapshots::keeper::Shop;
use crate::snapshots::shelf::Found;
use crate::storage::directory::Directory;

/// The description of a cluster, the same for all of its processes. Nothing is open yet.
#[derive(Clone, Debug)]
pub struct Cluster {
    config: Config,
    metrics: Metrics,
}

impl Cluster {
    /// The cluster of a configuration file, in the form of `conf/paxos.conf`. Nothing else is read:
    /// only the program `paxos` reads variables of the environment.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or understood: a sentence with its line.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Cluster, ConfigError> {
        Ok(Cluster::of(config::read(&path.as_ref().to_string_lossy())?))
    }

    fn of(config: Config) -> Cluster {
        Cluster { config, metrics: Metrics::default() }
    }

    /// The same cluster, whose acceptors keep their data in `directory` instead of where the file
    /// says: for several processes of one file on one host.
    #[must_use = "it is another description, and this one is left as it was"]
    pub fn with_data(mut self, directory: impl Into<PathBuf>) -> Cluster {
        self.config.data = Some(directory.into());
        self
    }

    /// The same cluster, whose replicas keep snapshots of their machines in `directory` instead of
    /// where the file says, each in a directory of its own there.
    #[must_use = "it is another description, and this one is left as it was"]
    pub fn with_snapshots(mut self, directory: impl Into<PathBuf>) -> Cluster {
        self.config.snapshots = Some(directory.into());
        self
    }

    /// The same cluster, whose nodes serve their metrics here instead of where the file says, or
    /// nowhere. Each node takes the first free port of the 256 from this one on, and logs which;
    /// port 0 is any free one.
    ///
    /// Only a library with the feature `metrics` serves anything. Without it nodes log that they do
    /// not.
    #[must_use = "it is another description, and this one is left as it was"]
    pub fn with_metrics(mut self, first: Option<SocketAddr>) -> Cluster {
        self.metrics.choice = Some(first.map_or(MetricsChoice::Off, MetricsChoice::At));
        self
    }

    /// The same cluster, whose nodes add this to what they serve at `/metrics`: lines in the text
    /// format of Prometheus, under names that nodes do not have themselves.
    ///
    /// It is called for every answer, on the thread that serves, so it should be quick. If it
    /// panics, that answer goes without it.
    #[cfg(feature = "metrics")]
    #[must_use = "it is another description, and this one is left as it was"]
    pub fn with_more_metrics(
        mut self,
        more: impl Fn() -> String + Send + Sync + 'static,
    ) -> Cluster {
        self.metrics.more = Some(Arc::new(move || {
            let mut text = String::new();
            contain(|| text = more());
            text
        }));
        self
    }

    /// Where acceptors keep their data; none if they are not durable.
    pub fn data(&self) -> Option<&Path> {
        self.config.data.as_deref()
    }

    /// Where replicas keep snapshots, if they do.
    pub fn snapshots(&self) -> Option<&Path> {
        self.config.snapshots.as_deref()
    }

    /// Whether old entries are removed, as `retain` says, although no `keepers` are named: then a
    /// replica may find that entries it needs are gone.
    pub fn removes_unkept(&self) -> bool {
        self.config.retain() != Retain::All && !self.config.has_keepers()
    }

    /// How many acceptors there are. Their ids run from 1 to that number.
    pub fn acceptor_count(&self) -> u32 {
        self.config.acceptor_count()
    }

    /// How many bytes a value can have, at most.
    pub fn value_bytes(&self) -> usize {
        self.config.value_bytes()
    }

    /// A cluster that is described in code. All processes must give it the same name.
    pub fn builder(name: &str) -> ClusterBuilder {
        let settings = vec![("cluster".to_owned(), name.to_owned())];
        ClusterBuilder { settings, data: None, key_file: None }
    }

    /// Starts these roles in this process, all with this id, from 1: messages between them cross no
    /// socket. A host usually runs an acceptor and a proposer.
    ///
    /// A client is started by [`Cluster::client`], for it is of no use without a caller that
    /// proposes.
    ///
    /// # Errors
    ///
    /// When one of them cannot start; then none has.
    pub fn node(&self, id: u32, roles: &[Role]) -> Result<Node, StartError> {
        if roles.is_empty() {
            return Err(refuse_node(id, "it has no roles; give it one at least"));
        }
        if roles.contains(&Role::Client) {
            return Err(refuse_node(id, "nobody would propose; start a client by itself"));
        }
        let clock = Clock::start();
        self.start(self.ready(id, roles, roles.len(), clock)?, clock)
    }

    fn start(&self, mut roles: Vec<Ready>, clock: Clock) -> Result<Node, StartError> {
        let server = self.metrics.serve(&self.config, &mut roles, clock)?;
        Node::start(roles, server)
    }

    /// These roles of a process in which `holders` roles hold the log.
    fn ready(
        &self,
        id: u32,
        roles: &[Role],
        holders: usize,
        clock: Clock,
    ) -> Result<Vec<Ready>, StartError> {
        for (place, role) in roles.iter().enumerate() {
            if roles[..place].contains(role) {
                return Err(refuse_node(id, &format!("it is {role} twice; name each role once")));
            }
        }
        let open = |role: &Role| {
            let Opened { node, part, process, watch, .. } = self.open(id, *role, holders, clock)?;
            Ok(match part {
                Part::Client(_, client) => Ready::new(node, process, watch, *client),
                Part::Proposer(proposer) => Ready::new(node, process, watch, *proposer),
                Part::Acceptor(acceptor) => Ready::new(node, process, watch, *acceptor),
                Part::Learner(learner) => Ready::new(node, process, watch, *learner),
            })
        };
        roles.iter().map(open).collect()
    }

    /// Starts a client, which is a session of its own.
    ///
    /// # Errors
    ///
    /// When it cannot start.
    pub fn client(&self, id: u32) -> Result<Client, StartError> {
        let clock = Clock::start();
        let (desk, ready) = self.asking(id, clock)?;
        Ok(Client::new(desk, self.start(vec![ready], clock)?))
    }

    /// Starts a learner whose entries are read one by one.
    ///
    /// # Errors
    ///
    /// When it cannot start.
    pub fn subscribe(&self, id: u32) -> Result<Subscription, StartError> {
        self.subscribe_from(id, Position(1))
    }

    /// The same from `first` on, for a reader that has everything below: it gets the entry at this
    /// position, if there is one, and all above.
    ///
    /// The rest of the log must begin at `first` or below. If it begins above, the subscription
    /// ends, and [`Subscription::stop`] says so: [`NodeError::Trimmed`](super::NodeError::Trimmed).
    /// If the log is not as long yet, it waits.
    ///
    /// # Errors
    ///
    /// When it cannot start.
    pub fn subscribe_from(&self, id: u32, first: Position) -> Result<Subscription, StartError> {
        let clock = Clock::start();
        let begins = Beginning::At(Instance(first.0).max(Instance::FIRST));
        let resume =
            |_: &Config, learner: Learner, _: Opening<'_>| Ok((learner.beginning(begins), None));
        let (feed, ready) = self.following(id, 1, clock, resume)?;
        Ok(Subscription::new(self.start(vec![ready], clock)?, feed, clock))
    }

    /// Starts a replica of `machine`, to which no command was applied yet. `id` is that of a
    /// learner and of a client.
    ///
    /// Where the cluster has a place for snapshots, the newest one of this id is restored, and the
    /// log is applied from there on. Else it is applied from its beginning.
    ///
    /// # Errors
    ///
    /// When it cannot start, and when there are snapshots and none of them can be restored.
    pub fn replica<M: StateMachine>(&self, id: u32, machine: M) -> Result<Replica<M>, StartError> {
        self.replica_after(id, machine, Position(0))
    }

    /// The same for a machine that has applied everything up to and including `applied`: one that
    /// keeps its state and its position by itself, a copy that [`Replica::read_at`] gave, or a
    /// machine restored from one. It is given each command above `applied` once.
    ///
    /// Old entries may have been removed, as long as the rest of the log begins at `applied` or
    /// below. If it begins above, the replica ends with [`NodeError::Trimmed`]; but where the
    /// cluster has a place for snapshots, it fetches one of another replica. A snapshot of its own
    /// is restored if it is newer than `applied`. A machine that keeps its position by itself
    /// should write it into its snapshots as well.
    ///
    /// If the log has never reached `applied`, the machine is of another cluster, or the cluster
    /// has lost its data: once a majority of the acceptors has said so, the replica ends with
    /// [`NodeError::Forgotten`]. This cannot be told once such a log is longer than `applied`: to
    /// begin anew with empty acceptors, begin with empty machines as well.
    ///
    /// [`NodeError::Trimmed`]: super::NodeError::Trimmed
    /// [`NodeError::Forgotten`]: super::NodeError::Forgotten
    ///
    /// # Errors
    ///
    /// When it cannot start, and when there are snapshots, none of which can be read.
    pub fn replica_after<M: StateMachine>(
        &self,
        id: u32,
        machine: M,
        applied: Position,
    ) -> Result<Replica<M>, StartError> {
        self.replica_and(id, &[], machine, applied)
    }

    /// A replica in one node with other roles of this id, `Role::Acceptor` and `Role::Proposer`:
    /// messages between them cross no socket, and they end together. It begins as
    /// [`Cluster::replica`] does.
    ///
    /// # Errors
    ///
    /// When one of them cannot start; then none has.
    pub fn replica_with<M: StateMachine>(
        &self,
        id: u32,
        roles: &[Role],
        machine: M,
    ) -> Result<Replica<M>, StartError> {
        self.replica_and(id, roles, machine, Position(0))
    }

    fn replica_and<M: StateMachine>(
        &self,
        id: u32,
        roles: &[Role],
        machine: M,
        applied: Position,
    ) -> Result<Replica<M>, StartError> {
        if roles.iter().any(|role| matches!(role, Role::Learner | Role::Client)) {
            return Err(refuse_node(
                id,
                "a replica is a learner and a client already; leave them out",
            ));
        }
        let clock = Clock::start();
        let holders = roles.len() + 1;
        let mut roles = self.ready(id, roles, holders, clock)?;
        let shown = Arc::default();
        let mut start =
            Start { machine, after: applied, keeper: None, applied: Arc::clone(&shown) };
        let (desk, client) = self.asking(id, clock)?;
        let mut reads = None;
        let (feed, learner) =
            self.following(id, holders, clock, |config, learner, (process, settings)| {
                let readers = Reads::new(Arc::clone(&desk), process.inbox_sender.clone());
                reads = Some(Arc::clone(&readers));
                process.stats().applied.get_or_init(|| shown);
                let readers: Option<Arc<dyn Readers>> = Some(readers);
                let learner = learner.holding(behind(applied));
                let shop = snapshots::open(config, id, StateKind::Replica)?;
                let Some(mut shop) = shop else { return Ok((learner, readers)) };
                let learner = match snapshots::newest(&mut shop)? {
                    Some(found) => restore(&mut shop, found, learner, &mut start)?,
                    None => learner.with_snapshots(StateKind::Replica),
                };
                start.keeper = Some(snapshots::keep(shop, process, settings, clock)?);
                Ok((learner, readers))
            })?;
        roles.extend([learner, client]);
        let Some(reads) = reads else { unreachable!("its learner was opened") };
        Replica::start(self.start(roles, clock)?, desk, feed, reads, start)
    }

    fn open(
        &self,
        id: u32,
        role: Role,
        holders: usize,
        clock: Clock,
    ) -> Result<Opened, StartError> {
        if id == 0 {
            let sentence = format!("{role} 0: ids count from 1; give it one");
            return Err(StartError::new(StartErrorKind::Configuration, sentence));
        }
        let options = RoleOptions::of(NodeId::new(role, id));
        Opened::new(&self.config, RoleOptions { holders: holders as u32, ..options }, clock)
    }

    fn asking<W: Send + 'static>(
        &self,
        id: u32,
        clock: Clock,
    ) -> Result<(Arc<Desk<W>>, Ready), StartError> {
        let Opened { node, part, process, settings, .. } = self.open(id, Role::Client, 1, clock)?;
        let Part::Client(session, client) = part else { unreachable!("a client was opened") };
        let (inbox, stats) = (process.inbox_sender.clone(), Arc::clone(process.stats()));
        let desk = Desk::new(session, settings, inbox, stats);
        let actor = Asking::new(*client, Arc::clone(&desk));
        Ok((desk, Ready::new(node, process, None, actor)))
    }

    fn following(
        &self,
        id: u32,
        holders: usize,
        clock: Clock,
        resume: impl FnOnce(&Config, Learner, Opening<'_>) -> Result<Resumed, StartError>,
    ) -> Result<(Arc<Feed>, Ready), StartError> {
        let Opened { node, part, mut process, settings, .. } =
            self.open(id, Role::Learner, holders, clock)?;
        let Part::Learner(learner) = part else { unreachable!("a learner was opened") };
        let feed = Feed::new(process.inbox_sender.clone());
        // A new state needs the log from its very beginning, or an error.
        let learner = learner.beginning(Beginning::At(Instance::FIRST));
        let (learner, readers) = resume(&self.config, learner, (&mut process, settings))?;
        let actor = Following::new(learner, Arc::clone(&feed)).with_readers(readers);
        Ok((feed, Ready::new(node, process, None, actor)))
    }
}

/// A learner at the point where it goes on, and the readers of the state that it feeds.
type Resumed = (Learner, Option<Arc<dyn Readers>>);

/// A process that is being opened, and its settings.
type Opening<'a> = (&'a mut Process, Settings);

/// The first instance above a position.
fn behind(position: Position) -> Instance {
    Instance(position.0.saturating_add(1))
}

/// Gives a machine and its learner the state of a snapshot. A machine that has as much by itself
/// stays as it is, and its learner alone goes on from the snapshot.
fn restore<M: StateMachine>(
    shop: &mut Shop<Directory>,
    found: Found,
    learner: Learner,
    start: &mut Start<M>,
) -> Result<Learner, StartError> {
    let Found { name, label, .. } = found;
    let (applied, kept) = (start.after, Position(label.of().0.saturating_sub(1)));
    let learner = learner.restored(label.kind, label.checkpoint);
    if applied > Position(0) && kept <= applied {
        return Ok(learner.holding(behind(applied)));
    }
    let restored = shop.shelf.read(&name).and_then(|mut bytes| start.machine.restore(&mut bytes));
    restored.map_err(|error| {
        let path = shop.shelf.path_of(&name);
        let sentence = format!("{path}: it cannot be restored: {error}");
        StartError::new(StartErrorKind::Data, sentence)
    })?;
    start.after = kept;
    Ok(learner)
}

fn refuse_node(id: u32, sentence: &str) -> StartError {
    StartError::new(StartErrorKind::Configuration, format!("node {id}: {sentence}"))
}

/// Describes a cluster in code. Settings that are not given have the defaults of `conf/paxos.conf`.
#[derive(Clone, Debug)]
#[must_use = "nothing is described before `build`"]
pub struct ClusterBuilder {
    settings: Vec<(String, String)>,
    data: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

/// The key of each role's group, in the order of their ports.
const GROUPS: [(Role, &str); 4] = [
    (Role::Client, "clients"),
    (Role::Proposer, "proposers"),
    (Role::Acceptor, "acceptors"),
    (Role::Learner, "learners"),
];

impl ClusterBuilder {
    /// All roles have groups at this multicast address, at four ports from this one on.
    pub fn multicast(mut self, group: IpAddr, first_port: u16) -> Self {
        for ((_, name), port) in GROUPS.iter().zip(u32::from(first_port)..) {
            self = self.set(name, &format!("{group} {port}"));
        }
        self
    }

    /// The group of `role` is this list, without multicast: the process with id 1 is at the first
    /// address, and so on.
    pub fn members(self, role: Role, members: &[SocketAddr]) -> Self {
        let name = GROUPS.iter().find(|(other, _)| *other == role).map_or("", |(_, name)| *name);
        let list: String = members.iter().map(|member| format!(" {member}")).collect();
        self.set(name, &format!("unicast{list}"))
    }

    /// The interface for multicast: its name, its address, or its network. The default is the
    /// loopback interface.
    pub fn interface(self, interface: &str) -> Self {
        self.set("interface", interface)
    }

    /// How many networks a multicast datagram may cross: 0, the default, stays on this host.
    pub fn ttl(self, ttl: u8) -> Self {
        self.set("ttl", &ttl.to_string())
    }

    /// How many acceptors there are, of which a majority decides. The default is 3.
    pub fn acceptors(self, count: u32) -> Self {
        self.set("acceptor_count", &count.to_string())
    }

    /// Where acceptors keep their data, in a directory each. Without it they are not durable: one
    /// that ends must never be started again in the same cluster.
    pub fn data(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data = Some(directory.into());
        self
    }

    /// The file with the key of the cluster, as `paxos keygen` makes it.
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_file = Some(path.into());
        self
    }

    /// Any other setting, as it would stand in the file. If a key is set twice, the last value
    /// counts.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.retain(|(other, _)| other != key);
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The cluster.
    ///
    /// # Errors
    ///
    /// When a setting is impossible, or the groups are missing: a sentence.
    pub fn build(self) -> Result<Cluster, ConfigError> {
        let lines = self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let mut config = config::assemble("the cluster in code", lines)?;
        config.data = self.data.or(config.data);
        config.key_file = self.key_file.or(config.key_file);
        Ok(Cluster::of(config))
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.config.cluster)
    }
}
