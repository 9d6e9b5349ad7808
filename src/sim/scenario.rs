//! A scenario: a cluster, the requests of its clients, and what goes wrong when.
//!
//! A seed draws one by itself. Each kind of fault is switched on or off for the whole run, so that
//! some runs are full of one thing and others of everything (swarm testing: Groce et al., ISSTA
//! 2012). While faults last, only safety is demanded. Then everything heals, and every value of
//! every client that is still there must be decided and known to every learner in bounded time,
//! after which only heartbeats may be heard.

use std::fmt;
use std::time::Duration;

use super::checker::Violation;
use super::cluster::{Cluster, Plan, from_instance, mixed_values};
use super::fault::{Boundary, Fault};
use super::habits::Habit;
use super::network::{Line, Weather};
use super::node::ReadOften;
use super::trace::{Detail, Trace};
use crate::protocol::assembly::AssemblyLimits;
use crate::protocol::message::{Assignment, Kind};
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{NodeId, Role, Time};
use crate::rng::Rng;
use crate::storage::room::Quota;

/// How long everything may take once the faults are over.
const LIVENESS: Duration = Duration::from_secs(30);

/// How long the last retries may take once everything is decided.
const SETTLING: Duration = Duration::from_secs(2);

/// How long it must stay quiet: longer than the longest wait between two tries.
const SILENCE: Duration = Duration::from_millis(600);

/// No value is a long one.
pub const NONE_LONG: (u64, usize) = (u64::MAX, 0);

/// How many bytes one client's long values have together, at most, so that runs stay short.
const LONG_BYTES_MAX: u64 = 1 << 19;

/// A cluster and its fate.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The cluster.
    pub plan: Plan,
    /// The clients' requests.
    pub clients: Vec<Asking>,
    /// What happens when, in order of time.
    pub faults: Vec<(Time, Fault)>,
    /// Whether everything works again after the last fault. Otherwise what is broken stays broken.
    pub heals: bool,
}

/// The requests of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The client.
    pub client: u32,
    /// When it starts.
    pub start: Time,
    /// Who gives its values their instances.
    pub assignment: Assignment,
    /// How many values it is given.
    pub values: u64,
    /// How long after each other.
    pub pause: Duration,
    /// One value in this many is a long one, of this many bytes.
    pub long: (u64, usize),
}

/// What one run showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How many instances were chosen.
    pub chosen: usize,
    /// How many messages were sent.
    pub sent: u64,
    /// How often a proposer became the leader.
    pub elections: u32,
    /// When every learner knew everything.
    pub finished: Time,
}

/// A run and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The hash of everything that happened.
    pub hash: u64,
    /// What it showed.
    pub result: Result<Outcome, Failure>,
}

/// What was wrong with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A promise of safety is broken.
    Unsafe(Violation),
    /// Something was not decided, or did not end.
    Unfinished(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unsafe(what) => write!(f, "UNSAFE: {what}"),
            Failure::Unfinished(what) => write!(f, "not finished: {what}"),
        }
    }
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Failure::Unsafe(violation)
    }
}

impl Scenario {
    /// Three acceptors, two proposers, two learners, two clients with 100 values a second each for
    /// five seconds, and nothing goes wrong.
    pub fn calm(seed: u64) -> Self {
        let asking = |client| Asking {
            client,
            start: Time::ZERO,
            assignment: Assignment::Leader,
            values: 500,
            pause: Duration::from_millis(10),
            long: NONE_LONG,
        };
        Scenario {
            plan: Plan { seed, ..Plan::default() },
            clients: vec![asking(1), asking(2)],
            faults: Vec::new(),
            heals: false,
        }
    }

    /// What `seed` draws.
    pub fn drawn(seed: u64) -> Self {
        Draw::new(seed).scenario()
    }

    /// Runs it.
    pub fn run(&self, trace: Trace) -> Ran {
        let mut cluster = Cluster::traced(self.plan.clone(), trace);
        let result = self.play(&mut cluster);
        Ran { hash: cluster.trace().hash(), result }
    }

    fn play(&self, cluster: &mut Cluster) -> Result<Outcome, Failure> {
        let mut asking: Vec<&Asking> = self.clients.iter().collect();
        asking.sort_by_key(|asking| asking.start);
        let mut asking = asking.into_iter().peekable();
        let mut faults = self.faults.iter().peekable();
        loop {
            let client = asking.peek().map(|asking| asking.start);
            let fault = faults.peek().map(|(time, _)| *time);
            let Some(next) = client.into_iter().chain(fault).min() else { break };
            cluster.run_until(next, |_| false)?;
            if let Some(Asking { client, assignment, values: count, pause, long, .. }) =
                asking.next_if(|asking| asking.start <= next)
            {
                let values = mixed_values(*client, *count, *long);
                cluster.start_typist(*client, *assignment, values, *pause);
            } else if let Some((_, fault)) = faults.next() {
                cluster.inject(fault);
            }
        }
        if self.heals {
            cluster.heal();
        }
        self.finish(cluster)
    }

    /// Everything must be decided, and then it must become quiet.
    fn finish(&self, cluster: &mut Cluster) -> Result<Outcome, Failure> {
        let typing = self.clients.iter().map(|asking| {
            let length = asking.pause * u32::try_from(asking.values).unwrap_or(u32::MAX);
            asking.start + length
        });
        let deadline = typing.chain([cluster.now()]).max().unwrap_or(Time::ZERO) + LIVENESS;
        let done = |cluster: &Cluster| cluster.clients_finished() && cluster.learners_complete();
        if !cluster.run_until(deadline, done)? {
            let what = cluster.describe();
            return Err(Failure::Unfinished(format!("by {}: {what}", cluster.now())));
        }
        let finished = cluster.now();
        cluster.check_complete()?;
        cluster.tell(Detail::Story, format_args!("everything is decided and known"));
        if self.heals {
            cluster.run_for(SETTLING)?;
            if let Some(learner) = cluster.find_unread() {
                return Err(Failure::Unfinished(format!("{learner} has reads to serve")));
            }
            let before = cluster.checker().sent_but_heartbeats();
            cluster.run_for(SILENCE)?;
            let sent = cluster.checker().sent_but_heartbeats() - before;
            if sent > 0 {
                let what = format!("{sent} messages in {SILENCE:?} in which nothing happens");
                return Err(Failure::Unfinished(what));
            }
        }
        Ok(Outcome {
            chosen: cluster.checker().chosen().len(),
            sent: cluster.checker().sent(),
            elections: cluster.elections(),
            finished,
        })
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, proposers, learners, settings, weather, .. } = &self.plan;
        write!(
            f,
            "seed {seed}: {}, {}, {}, {}; loss {:.0} %, duplication {:.0} %, delay up to {:?}; \
             datagrams of {} bytes, windows of {} and {}",
            many(u64::from(settings.acceptor_count), "acceptor"),
            many(u64::from(*proposers), "proposer"),
            many(u64::from(*learners), "learner"),
            many(self.clients.len() as u64, "client"),
            weather.loss * 100.0,
            weather.duplication * 100.0,
            weather.delay_max,
            settings.datagram_bytes,
            settings.client_window,
            settings.leader_window,
        )?;
        if self.plan.no_preexecution {
            write!(f, "; phase 1 for each instance")?;
        }
        if self.plan.no_timeouts {
            write!(f, "; nothing is sent twice")?;
        }
        write!(f, "; {}", many(self.faults.len() as u64, "fault"))
    }
}

/// `1 fault`, `2 faults`.
pub fn many(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The kinds of fault that a run has or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Kill,
    KillAt,
    Restart,
    Pause,
    Partition,
    Filter,
    Disk,
    Operator,
    Clock,
    Replay,
    Garbage,
    Addresses,
}

const CLASSES: [Class; 12] = [
    Class::Kill,
    Class::KillAt,
    Class::Restart,
    Class::Pause,
    Class::Partition,
    Class::Filter,
    Class::Disk,
    Class::Operator,
    Class::Clock,
    Class::Replay,
    Class::Garbage,
    Class::Addresses,
];

/// A link for every process, in one of four runs: between 1 and 100 Mbit/s, and a queue of 10 ms or
/// more.
fn drawn_line(seed: u64) -> Option<Line> {
    let mut rng = Rng::new(seed ^ 0x6c69_6e65);
    let rate = [125_000, 1_250_000, 12_500_000][rng.below(3) as usize];
    let queue = 1 << 16 << rng.below(3);
    (rng.below(4) == 0).then_some(Line { rate, queue })
}

/// How much of the log is kept: in half of the runs all, in the others very little.
fn drawn_retain(seed: u64) -> Retain {
    let mut rng = Rng::new(seed ^ 0x7472_696d);
    match rng.below(6) {
        0 => Retain::Entries(1 + rng.below(400)),
        1 => Retain::Bytes(1 + rng.below(20_000)),
        2 => Retain::Age(Duration::from_millis(1 + rng.below(3_000))),
        _ => Retain::All,
    }
}

/// Which learners keep snapshots, in half of the runs whose log is trimmed: all of them, and as
/// many copies are wanted as there are learners, or fewer.
fn draw_keepers(seed: u64, learners: u32, settings: &mut Settings) {
    let mut rng = Rng::new(seed ^ 0x6b65_6570);
    if settings.retain != Retain::All && rng.chance(0.5) {
        settings.keepers = (1..=learners).collect();
        settings.snapshot_copies = Some(1 + rng.below(u64::from(learners)) as usize);
        settings.snapshot_instances = 1 + rng.below(100);
    }
}

/// How many bytes of the log are held in memory: in half of the runs all, in the others very few.
fn drawn_hold(seed: u64) -> Option<u64> {
    let mut rng = Rng::new(seed ^ 0x686f_6c64);
    rng.chance(0.5).then(|| 1 + rng.below(20_000))
}

/// How many bytes of the log a new leader reads at most.
fn drawn_take_up(seed: u64) -> u64 {
    Rng::new(seed ^ 0x7461_6b65).below(20_000)
}

/// How many sessions are remembered: in one of six runs few, and then clients come and go.
fn drawn_sessions(rng: &mut Rng) -> Option<usize> {
    (rng.below(6) == 0).then(|| 1 + rng.below(12) as usize)
}

/// How many bytes fit on the disk of each acceptor, in one of six runs whose log is trimmed: few,
/// so that some disks are full for a while, or until everything heals.
fn drawn_disks(seed: u64, retain: Retain) -> Option<usize> {
    let mut rng = Rng::new(seed ^ 0x6675_6c6c);
    let is_small = rng.below(6) == 0 && retain != Retain::All;
    is_small.then(|| 14_000 + rng.below(60_000) as usize)
}

/// How many of a hundred processes are of the last release: none in three of four runs.
fn drawn_old(seed: u64) -> u64 {
    let mut rng = Rng::new(seed ^ 0x6f6c_6465);
    if rng.below(4) == 0 { [10, 40, 80][rng.below(3) as usize] } else { 0 }
}

/// How often learners are read from: in two of three runs, from all the time to now and then.
fn drawn_reads(seed: u64) -> Option<ReadOften> {
    let mut rng = Rng::new(seed ^ 0x7265_6164);
    let pause = Duration::from_micros([300, 5_000, 30_000, 200_000][rng.below(4) as usize]);
    let count = 1 + rng.below(200);
    (rng.below(3) > 0).then_some(ReadOften { count, pause })
}

/// The ids of clients that come and go begin here.
const PASSING: u32 = 100;

/// Draws a scenario.
struct Draw {
    seed: u64,
    rng: Rng,
    /// For what was added later, so that seeds go on drawing what they always drew.
    more: Rng,
    acceptors: u32,
    proposers: u32,
    learners: u32,
    clients: u32,
}

impl Draw {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut up_to = |most: u64| 1 + rng.below(most) as u32;
        let (acceptors, proposers, learners, clients) = (up_to(7), up_to(5), up_to(4), up_to(6));
        let more = Rng::new(seed ^ 0x7061_7274);
        Draw { seed, rng, more, acceptors, proposers, learners, clients }
    }

    fn scenario(mut self) -> Scenario {
        let mut plan = self.plan();
        let mut clients: Vec<Asking> =
            (1..=self.clients).map(|client| self.asking(client)).collect();
        if self.more.chance(0.5) {
            self.draw_long_values(&mut plan.settings, &mut clients);
        }
        plan.settings.retain = drawn_retain(self.seed);
        draw_keepers(self.seed, self.learners, &mut plan.settings);
        plan.settings.hold_bytes = drawn_hold(self.seed);
        plan.settings.take_up_bytes = drawn_take_up(self.seed);
        plan.reads = drawn_reads(self.seed);
        if plan.settings.retain != Retain::All || plan.settings.hold_bytes.is_some() {
            clients.iter_mut().for_each(|asking| asking.assignment = Assignment::Leader);
        }
        self.draw_sessions(&mut plan, &mut clients);
        let classes: Vec<Class> = CLASSES.into_iter().filter(|_| self.rng.chance(0.5)).collect();
        let mut faults = Vec::new();
        if let Some(bytes) = drawn_disks(self.seed, plan.settings.retain) {
            let acceptors = (1..=self.acceptors).map(|id| NodeId::new(Role::Acceptor, id));
            faults.extend(acceptors.map(|id| (Time::ZERO, Fault::FillDisk(id, bytes))));
        }
        let mut time = Time::ZERO;
        let longest = Duration::from_millis([5, 50, 300, 2000][self.rng.below(4) as usize]);
        for _ in 0..self.rng.below(40) {
            time = time + self.rng.up_to(longest);
            let class = match classes.as_slice() {
                [] => break,
                classes => classes[self.rng.below(classes.len() as u64) as usize],
            };
            let fault = self.fault(class);
            faults.push((time, fault));
        }
        Scenario { plan, clients, faults, heals: true }
    }

    fn plan(&mut self) -> Plan {
        let rng = &mut self.rng;
        let settings = Settings {
            acceptor_count: self.acceptors,
            datagram_bytes: [256, 512, 1472, 65507][rng.below(4) as usize],
            client_window: 1 + rng.below(400) as usize,
            leader_window: 1 + rng.below(400) as usize,
            ..Settings::default()
        };
        let delay_max = [100, 2_000, 20_000, 60_000][rng.below(4) as usize];
        let weather = Weather {
            loss: 0.5 * rng.below(101) as f64 / 100.0 * rng.below(2) as f64,
            duplication: 0.5 * rng.below(101) as f64 / 100.0 * rng.below(2) as f64,
            delay_min: Duration::from_micros(20),
            delay_max: Duration::from_micros(delay_max),
            line: drawn_line(self.seed),
        };
        // Some learners come late: they are started by a fault, or never.
        let learners = 1 + rng.below(u64::from(self.learners)) as u32;
        Plan {
            seed: self.seed,
            proposers: self.proposers,
            learners,
            settings,
            weather,
            no_timeouts: false,
            no_preexecution: rng.chance(0.3),
            // Soon, so that segments begin and are removed often.
            segment_bytes: 512 << (self.seed % 5),
            quota: Quota::NONE,
            reads: None,
            old_percent: drawn_old(self.seed),
            inputs_end: false,
        }
    }

    /// Some clients have long values, and in some runs there is little room for them.
    fn draw_long_values(&mut self, settings: &mut Settings, clients: &mut [Asking]) {
        let rng = &mut self.more;
        let part_bytes = settings.part_bytes() as u64;
        let longest = part_bytes * (1 + rng.below(8)) + rng.below(part_bytes);
        for asking in clients.iter_mut().filter(|asking| asking.assignment == Assignment::Leader) {
            let bytes = longest.min(part_bytes + rng.below(longest));
            let every = 1 + rng.below(20);
            asking.long = (every.max(asking.values * bytes / LONG_BYTES_MAX), bytes as usize);
        }
        if rng.chance(0.5) {
            let count = 2 + rng.below(4) as usize;
            let bytes = longest as usize * (2 + rng.below(4) as usize);
            settings.assembly = AssemblyLimits { count, bytes };
        }
        if rng.chance(0.5) {
            settings.window_bytes = part_bytes as usize * (1 + rng.below(10) as usize);
        }
    }

    /// In some runs few sessions are remembered, and many clients come for a value or two; in most
    /// of these they say that they are done.
    fn draw_sessions(&self, plan: &mut Plan, clients: &mut Vec<Asking>) {
        let mut rng = Rng::new(self.seed ^ 0x7365_7373);
        let Some(sessions) = drawn_sessions(&mut rng) else { return };
        plan.settings.sessions = sessions;
        let count = 1 + rng.below(40) as u32;
        let latest = Duration::from_millis(500 + 500 * rng.below(6));
        clients.extend((PASSING..PASSING + count).map(|client| Asking {
            client,
            start: Time::ZERO + rng.up_to(latest),
            assignment: Assignment::Leader,
            values: 1 + rng.below(4),
            pause: Duration::from_micros([0, 1000, 100_000][rng.below(3) as usize]),
            long: NONE_LONG,
        }));
        plan.inputs_end = rng.chance(0.7);
    }

    fn asking(&mut self, client: u32) -> Asking {
        let rng = &mut self.rng;
        let assignment = if rng.chance(0.5) {
            Assignment::Leader
        } else {
            // Many ask for the same instances.
            from_instance(1 + rng.below(3) * rng.below(60))
        };
        let latest = Duration::from_millis(500 * rng.below(3));
        let start = Time::ZERO + rng.up_to(latest);
        let pause = Duration::from_micros([0, 0, 1000, 10_000][rng.below(4) as usize]);
        let values = 1 + rng.below(300);
        Asking { client, start, assignment, values, pause, long: NONE_LONG }
    }

    fn fault(&mut self, class: Class) -> Fault {
        let victim = self.member();
        let acceptor = NodeId::new(Role::Acceptor, self.id(self.acceptors));
        let rng = &mut self.rng;
        match class {
            Class::Kill => Fault::Kill(victim),
            Class::KillAt => {
                let boundary = rng.below(Boundary::ALL.len() as u64) as usize;
                Fault::KillAt(victim, Boundary::ALL[boundary])
            }
            Class::Restart if victim.role != Role::Client => Fault::Restart(victim),
            Class::Restart => Fault::Kill(victim),
            Class::Pause => {
                let longest = [1, 1, 10, 60][rng.below(4) as usize];
                Fault::Pause(victim, rng.up_to(Duration::from_secs(longest)))
            }
            Class::Partition if rng.chance(0.3) => Fault::Heal,
            Class::Partition => self.partition(),
            Class::Filter if rng.chance(0.3) => Fault::Heal,
            Class::Filter => Fault::Filter(Kind::ALL[rng.below(Kind::ALL.len() as u64) as usize]),
            Class::Disk if rng.chance(0.5) => Fault::FillDisk(acceptor, rng.below(4000) as usize),
            Class::Disk => Fault::BreakDisk(acceptor),
            Class::Operator => {
                let habit = rng.below(Habit::ALL.len() as u64) as usize;
                Fault::Operate(acceptor, Habit::ALL[habit])
            }
            Class::Clock if rng.chance(0.5) => Fault::ClockRate(victim, 500 + rng.below(1501)),
            Class::Clock => Fault::ClockJump(victim, rng.up_to(Duration::from_secs(3600))),
            Class::Replay => Fault::Replay(1 + rng.below(64) as u32),
            Class::Garbage => Fault::Garbage(victim),
            Class::Addresses if rng.chance(0.2) => Fault::Heal,
            Class::Addresses if rng.chance(0.3) => Fault::Forget(victim),
            Class::Addresses => self.misplaced(),
        }
    }

    fn id(&mut self, count: u32) -> u32 {
        1 + self.rng.below(u64::from(count)) as u32
    }

    fn member(&mut self) -> NodeId {
        let (role, count) = match self.rng.below(8) {
            0..=2 => (Role::Acceptor, self.acceptors),
            3..=5 => (Role::Proposer, self.proposers),
            6 => (Role::Learner, self.learners),
            _ => (Role::Client, self.clients),
        };
        NodeId::new(role, self.id(count))
    }

    fn everyone(&self) -> Vec<NodeId> {
        let groups = [
            (Role::Client, self.clients),
            (Role::Proposer, self.proposers),
            (Role::Acceptor, self.acceptors),
            (Role::Learner, self.learners),
        ];
        let members = |(role, count): (Role, u32)| (1..=count).map(move |id| NodeId::new(role, id));
        groups.into_iter().flat_map(members).collect()
    }

    /// One process has wrong addresses of the others, they of it, or some of some.
    fn misplaced(&mut self) -> Fault {
        let (everyone, one, choice) = (self.everyone(), self.member(), self.rng.below(3));
        let pairs = everyone.iter().flat_map(|from| everyone.iter().map(|to| (*from, *to)));
        let pairs = pairs.filter(|(from, to)| match choice {
            0 => *from == one,
            1 => *to == one,
            _ => self.rng.chance(0.2),
        });
        Fault::Misplace(pairs.collect())
    }

    /// A partition of one of the shapes that are known to break things.
    fn partition(&mut self) -> Fault {
        let everyone = self.everyone();
        let one = self.member();
        let proposer = NodeId::new(Role::Proposer, self.id(self.proposers));
        let all_pairs = |keep: &mut dyn FnMut(NodeId, NodeId) -> bool| {
            let pairs = everyone.iter().flat_map(|from| everyone.iter().map(|to| (*from, *to)));
            pairs.filter(|(from, to)| from != to && !keep(*from, *to)).collect::<Vec<_>>()
        };
        let (shape, pairs) = match self.rng.below(8) {
            0 => {
                let sides: Vec<bool> = everyone.iter().map(|_| self.rng.chance(0.5)).collect();
                let side = |node| everyone.iter().position(|one| *one == node);
                let side = |node| side(node).is_some_and(|place| sides[place]);
                ("split", all_pairs(&mut |from, to| side(from) == side(to)))
            }
            1 => ("isolated", all_pairs(&mut |from, to| from != one && to != one)),
            2 => ("deaf", all_pairs(&mut |_, to| to != one)),
            3 => ("dumb", all_pairs(&mut |from, _| from != one)),
            4 => {
                // Proposers hear only their neighbours.
                let apart =
                    |from: NodeId, to: NodeId| from.role == to.role && from.id.abs_diff(to.id) > 1;
                ("chain", all_pairs(&mut |from, to| !apart(from, to)))
            }
            5 => {
                // Only one proposer is heard by, and hears, the acceptors.
                let is_hub = |node: NodeId| node.role != Role::Proposer || node == proposer;
                let about = |from: NodeId, to: NodeId| {
                    from.role == Role::Acceptor || to.role == Role::Acceptor
                };
                let keep = |from, to| !about(from, to) || (is_hub(from) && is_hub(to));
                ("hub", all_pairs(&mut |from, to| keep(from, to)))
            }
            6 => {
                let (from, to) = (self.member(), self.member());
                ("one way", vec![(from, to)])
            }
            _ => ("some", all_pairs(&mut |_, _| self.rng.chance(0.8))),
        };
        Fault::Cut { shape, pairs }
    }
}

/// Runs what `seed` draws, without a trace.
pub fn run_seed(seed: u64) -> Result<Outcome, Failure> {
    Scenario::drawn(seed).run(Trace::silent()).result
}
