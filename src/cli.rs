//! The command line: what can be typed, and what it means.
//!
//! Everything wrong with it becomes one line; nothing is opened here.

mod bench;
mod explain;
mod lead;
mod learner;
mod log;
mod manual;
mod picture;
mod scenario;
mod simulate;
mod snapshot;
mod status;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use clap_complete::Shell;

use self::bench::TypedBench;
use self::explain::explain;
use self::lead::TypedLead;
use self::learner::TypedLearner;
use self::log::TypedLog;
pub use self::manual::{completions, write_pages};
use self::simulate::TypedSimulate;
use self::snapshot::TypedSnapshot;
use self::status::TypedStatus;
use self::values::{
    first_instance, flag, ratio, role_of_node, seconds, survey_seconds, whole, yes_or_no,
};
use crate::config::MetricsChoice;
use crate::doctor::DoctorOptions;
use crate::protocol::message::Assignment;
use crate::protocol::types::{Instance, NodeId, Role};
use crate::report::ReportOptions;
use crate::results::check::CheckOptions;
use crate::results::watch::WatchOptions;
use crate::runtime::load::LoadOptions;
use crate::runtime::node::NodeOptions;
use crate::simulate::SimulateOptions;
use crate::snapshots::offline::SnapshotCommand;
use crate::status::StatusOptions;
use crate::storage::offline::LogCommand;

/// The command to run.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Run these roles in this process; at least one, and each once.
    Run(Vec<NodeOptions>),
    /// Make a key file.
    Keygen(KeygenOptions),
    /// Say what a configuration comes to.
    Config(ConfigOptions),
    /// Print random values.
    Generate(GenerateOptions),
    /// Judge the result files.
    Check(CheckOptions),
    /// Wait until the result files are complete.
    Watch(WatchOptions),
    /// Make a page about a run.
    Report(ReportOptions),
    /// Measure a running cluster.
    Bench(BenchOptions),
    /// Say what is wrong with the network.
    Doctor(DoctorOptions),
    /// Say which processes run and which of them leads.
    Status(StatusOptions),
    /// Have a proposer lead.
    Lead(LeadOptions),
    /// Look at an acceptor's directory.
    Log(LogCommand),
    /// Look at a learner's snapshots, or move one.
    Snapshot(SnapshotCommand),
    /// Print what completes this command line in a shell.
    Completions(Shell),
    /// Write man pages to this directory.
    Man(PathBuf),
    /// Run a cluster in one thread, on virtual time.
    Simulate(Box<SimulateOptions>),
}

/// What to generate.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct GenerateOptions {
    /// How many values, one a line
    #[arg(value_name = "COUNT", value_parser = whole(0..=u64::MAX))]
    pub count: u64,
    /// Seed of the values; by default one from the operating system
    #[arg(long, value_parser = whole(0..=u64::MAX))]
    pub seed: Option<u64>,
}

/// Where the key goes.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct KeygenOptions {
    /// The file; there must be none yet
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
}

/// What to say of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigOptions {
    /// The configuration file, as typed.
    pub conf: String,
    /// One setting alone.
    pub key: Option<String>,
}

/// Which proposer leads next.
#[derive(Clone, Debug, PartialEq)]
pub struct LeadOptions {
    /// The process that asks, a client; its lifetime is how long it tries.
    pub node: NodeOptions,
    /// The proposer to hand leadership to.
    pub proposer: u32,
    /// How long to try.
    pub within: Duration,
}

/// What to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchOptions {
    /// The first client; its lifetime ends what does not end by itself.
    pub node: NodeOptions,
    /// How many clients.
    pub clients: u32,
    /// What each of them does.
    pub load: LoadOptions,
    /// Times laps that standard input asks for.
    pub laps: bool,
    /// One JSON object instead of text.
    pub json: bool,
}

/// The command line cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Help or the version was asked for: print this and end well.
    Help(String),
    /// One line that says what is wrong.
    Wrong(String),
}

/// What `--help` begins with.
const ABOUT: &str = "\
Multi-Paxos over UDP/IP multicast.

Processes of four roles agree on one ordered log of values, while datagrams are lost and processes
crash. Start acceptors, learners and proposers, and feed values to clients:

    paxos --conf conf/paxos.conf acceptor 1
    seq 100 | paxos --conf conf/paxos.conf client 1

`bash/run.sh . 1000 30` starts a whole cluster and prints a verdict.";

/// The whole command line, as typed.
#[derive(Parser)]
#[command(name = "paxos", version, about = ABOUT)]
struct Typed {
    /// The configuration file; every role needs it
    #[arg(long, value_name = "PATH", global = true)]
    conf: Option<String>,
    #[command(subcommand)]
    command: TypedCommand,
}

#[derive(Subcommand)]
enum TypedCommand {
    /// Submit the lines of standard input as values
    ///
    /// Ends with status 0 when the outcome of every line is known, with 1 at its lifetime.
    Client {
        #[command(flatten)]
        node: TypedNode,
        /// The instance that the first line asks for, or `auto`: the leader chooses, and every
        /// line is delivered exactly once
        #[arg(long, value_name = "N|auto", default_value = "1", value_parser = first_instance)]
        first_instance: Assignment,
        /// Keep the session in this file: started again with the same input, the client goes on
        /// where the log says it was, and nothing is decided twice; needs `--first-instance auto`
        #[arg(long, value_name = "FILE")]
        session: Option<PathBuf>,
    },
    /// Run ballots; one proposer leads, the others stand by
    Proposer {
        #[command(flatten)]
        node: TypedNode,
        #[command(flatten)]
        proposer: TypedProposer,
    },
    /// Vote, and store the votes; a majority of the acceptors must be alive
    Acceptor {
        #[command(flatten)]
        node: TypedNode,
        #[command(flatten)]
        acceptor: TypedAcceptor,
    },
    /// Print decided values in order, and write them to the learner's file in results/
    Learner {
        #[command(flatten)]
        node: TypedNode,
        #[command(flatten)]
        learner: TypedLearner,
    },
    /// Run the roles of a host in one process: a proposer, an acceptor and a learner
    ///
    /// Each has this ID, and the files and guarantees of a process of its own. Messages between
    /// them cross no socket.
    Node {
        #[command(flatten)]
        node: TypedNode,
        /// The roles, with commas between them
        #[arg(long, value_name = "ROLES", default_value = "proposer,acceptor,learner",
            value_delimiter = ',', value_parser = role_of_node)]
        roles: Vec<Role>,
        #[command(flatten)]
        proposer: TypedProposer,
        #[command(flatten)]
        acceptor: TypedAcceptor,
        #[command(flatten)]
        learner: TypedLearner,
    },
    /// Make a key file, readable by its owner alone, for `key_file` of the configuration
    ///
    /// Copy it over a secure channel to every host of the cluster. A holder of the key can take
    /// part, and speak for any process.
    Keygen(KeygenOptions),
    /// Print the settings of a configuration, defaults included, as the program understands them
    ///
    /// For scripts: with KEY its value alone, and nothing if it is not set and has no default.
    Config {
        /// One setting, such as `acceptor_count`
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
    /// Print random values, one a line
    Generate(GenerateOptions),
    /// Judge integrity, agreement and termination by the result files
    ///
    /// Status 0: all hold. 1: integrity or agreement is broken. 2: unusable input. 3: safe, but not
    /// everything was decided.
    Check {
        #[command(flatten)]
        files: TypedFiles,
        /// Print the decided values: true or false
        #[arg(
            value_name = "PRINT",
            default_value = "false",
            value_parser = yes_or_no,
            action = ArgAction::Set
        )]
        print: bool,
        /// The first instance of each client, or `auto`; by default what the run has recorded, or 1
        #[arg(value_name = "FIRST_INSTANCE", value_parser = first_instance)]
        first_instances: Vec<Assignment>,
        /// Print the verdict as JSON instead
        #[arg(long)]
        json: bool,
    },
    /// Wait until every learner's file holds every value that clients were fed
    ///
    /// Status 0: complete. 3: the time-out came first.
    Watch {
        #[command(flatten)]
        files: TypedFiles,
        /// The first instance of each client, or `auto`; by default what the run has recorded, or 1
        #[arg(value_name = "FIRST_INSTANCE", value_parser = first_instance)]
        first_instances: Vec<Assignment>,
        /// Give up after this long; 0 waits for ever
        #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
        timeout: Duration,
        /// Write to this file what learners had, and when, for `paxos report`
        #[arg(long, value_name = "FILE")]
        timeline: Option<PathBuf>,
    },
    /// Make a page about a run, report.html, of the files in its results directory
    ///
    /// It has the verdict, who led when, what learners had decided over time, and what each process
    /// counted and said. Status 0: it is written. 2: it cannot be written.
    Report {
        #[command(flatten)]
        files: TypedFiles,
        /// The first instance of each client, or `auto`; by default what the run has recorded, or 1
        #[arg(value_name = "FIRST_INSTANCE", value_parser = first_instance)]
        first_instances: Vec<Assignment>,
        /// The command that ran the cluster, to be shown on the page
        #[arg(long, value_name = "TEXT")]
        command: Option<String>,
    },
    /// Measure a running cluster: values decided a second, and how long each takes
    ///
    /// Clients of its own keep values in flight. Their values stay in the cluster's log for good.
    /// Status 0: measured. 1: the cluster did not decide everything.
    Bench(TypedBench),
    /// Find faults of this host and of the network between the hosts, each with its cure
    ///
    /// Start it on every host of the cluster at about the same time, with the configuration of the
    /// roles, which may be running or stopped. It joins the groups, exchanges probes, and listens.
    /// Status 0: healthy. 1: sick.
    Doctor {
        /// Look at this host alone
        #[arg(long)]
        local: bool,
        /// Also listen on all other interfaces, to see whether hosts are reachable there
        #[arg(long, conflicts_with = "local")]
        all_interfaces: bool,
        /// How long to send and listen, 1.5 or more
        #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = survey_seconds)]
        seconds: Duration,
        /// How many hosts there should be, this one included
        #[arg(long, value_name = "COUNT", conflicts_with = "local",
            value_parser = whole::<u32>(1..=10_000))]
        expect: Option<u32>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show which processes run, which of them leads, and how far each is, a line for each
    ///
    /// It listens without taking part. Status 0: there is a leader, and a quorum of the acceptors
    /// answers it. 1: there is none. 3: with --strict, if an acceptor does not help.
    Status(TypedStatus),
    /// Hand leadership over to a proposer, for maintenance of the leader's host
    ///
    /// Values that are being decided meanwhile are not lost. Status 0: it leads. 1: it does not in
    /// time, and a sentence says why, as far as it is known.
    Lead(TypedLead),
    /// Look at an acceptor's directory while no acceptor runs there; nothing in it changes
    #[command(subcommand)]
    Log(TypedLog),
    /// Look at the snapshots of a learner, or copy one to another learner
    #[command(subcommand)]
    Snapshot(TypedSnapshot),
    /// Print a script that completes this command line in a shell
    ///
    /// For bash: `paxos completions bash > /etc/bash_completion.d/paxos`.
    Completions {
        /// bash, zsh, fish, elvish or powershell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Write man pages, paxos.1 and one for each command, to a directory
    Man {
        /// The directory; it must exist
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Run a whole cluster in one thread, on virtual time, and judge it
    ///
    /// The seed draws everything: cluster, clients, network and faults. Once any option describes
    /// the scenario, it consists of what the options say and nothing more. The same seed and
    /// options give the same run. Status 0: good. 1: a promise of safety is broken. 3: safe, but
    /// not everything was decided.
    Simulate(Box<TypedSimulate>),
}

#[derive(Args)]
struct TypedNode {
    /// The process's number within its role, from 1
    #[arg(value_name = "ID", value_parser = whole::<u32>(1..=u32::MAX))]
    id: u32,
    /// Drop each received datagram with this probability, in [0, 1)
    #[arg(long, value_name = "RATIO", default_value = "0", value_parser = ratio)]
    loss: f64,
    /// End after this long; 0 runs until killed
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    lifetime: Duration,
    /// Seed of loss and jitter; by default one from the operating system
    #[arg(long, value_parser = whole(0..=u64::MAX))]
    seed: Option<u64>,
    /// Serve metrics over HTTP at the first free port from this one on, or not at all; by default
    /// what the configuration says
    #[arg(long, value_name = "IP:PORT|off")]
    metrics: Option<MetricsChoice>,
}

#[derive(Args)]
struct TypedProposer {
    /// 1: never send an Accept or a Decide twice
    #[arg(
        long,
        value_name = "0|1",
        default_value = "0",
        value_parser = flag(),
        action = ArgAction::Set
    )]
    no_timeouts: bool,
    /// 1: run phase 1 for each instance as values arrive
    #[arg(
        long,
        value_name = "0|1",
        default_value = "0",
        value_parser = flag(),
        action = ArgAction::Set
    )]
    no_preexecution: bool,
}

#[derive(Args)]
struct TypedAcceptor {
    /// Take over data that was copied here, once. Only if it is byte for byte the last state
    /// of this acceptor, and no other copy will ever run: else decided values may be lost
    #[arg(long)]
    adopt_copy: bool,
}

impl TypedProposer {
    /// The options with what a proposer's say.
    fn of(&self, options: NodeOptions) -> NodeOptions {
        let TypedProposer { no_timeouts, no_preexecution } = *self;
        NodeOptions { no_timeouts, no_preexecution, ..options }
    }
}

impl TypedAcceptor {
    /// The options with what an acceptor's say.
    fn of(&self, options: NodeOptions) -> NodeOptions {
        NodeOptions { adopt_copy: self.adopt_copy, ..options }
    }
}

#[derive(Args)]
struct TypedFiles {
    /// How many learners there are
    #[arg(value_name = "LEARNERS", value_parser = whole::<u32>(1..=10_000))]
    learners: u32,
    /// How many clients there are
    #[arg(value_name = "CLIENTS", value_parser = whole::<u32>(0..=10_000))]
    clients: u32,
    /// Where the files are
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
}

/// Understands the command line, the program's name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Usage> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let Typed { conf, command } =
        Typed::try_parse_from(&arguments).map_err(|error| explain(&error, &arguments))?;
    let node = |role, typed: &TypedNode| {
        let conf = conf.clone().ok_or_else(|| {
            let article = if role == Role::Acceptor { "an" } else { "a" };
            Usage::Wrong(format!("paxos: {article} {role} needs --conf PATH"))
        })?;
        Ok(NodeOptions {
            loss: typed.loss,
            lifetime: Some(typed.lifetime).filter(|lifetime| !lifetime.is_zero()),
            seed: typed.seed,
            metrics: typed.metrics,
            ..NodeOptions::of(conf, NodeId::new(role, typed.id))
        })
    };
    Ok(match command {
        TypedCommand::Client { node: typed, first_instance: assignment, session } => {
            if session.is_some() && assignment != Assignment::Leader {
                return Err(Usage::Wrong(
                    "paxos: --session needs --first-instance auto: an instance that is asked for \
                     is decided once anyway"
                        .to_owned(),
                ));
            }
            let options = node(Role::Client, &typed)?;
            Command::Run(vec![NodeOptions { assignment, session, ..options }])
        }
        TypedCommand::Proposer { node: typed, proposer } => {
            Command::Run(vec![proposer.of(node(Role::Proposer, &typed)?)])
        }
        TypedCommand::Acceptor { node: typed, acceptor } => {
            Command::Run(vec![acceptor.of(node(Role::Acceptor, &typed)?)])
        }
        TypedCommand::Learner { node: typed, learner } => {
            Command::Run(vec![learner.of(node(Role::Learner, &typed)?)?])
        }
        TypedCommand::Node { node: typed, roles, proposer, acceptor, learner } => {
            if conf.is_none() {
                return Err(Usage::Wrong("paxos: a node needs --conf PATH".to_owned()));
            }
            let mut nodes = Vec::new();
            for (place, role) in roles.iter().enumerate() {
                if roles[..place].contains(role) {
                    return Err(Usage::Wrong(format!("paxos: --roles names {role} twice")));
                }
                let options = node(*role, &typed)?;
                nodes.push(learner.of(acceptor.of(proposer.of(options)))?);
            }
            Command::Run(nodes)
        }
        TypedCommand::Keygen(options) => Command::Keygen(options),
        TypedCommand::Config { key } => {
            let conf =
                conf.ok_or_else(|| Usage::Wrong("paxos: config needs --conf PATH".to_owned()))?;
            Command::Config(ConfigOptions { conf, key })
        }
        TypedCommand::Generate(options) => Command::Generate(options),
        TypedCommand::Check { files, print, first_instances, json } => {
            let options = check_options(files, first_instances)?;
            Command::Check(CheckOptions { print, json, ..options })
        }
        TypedCommand::Watch { files, first_instances, timeout, timeline } => {
            Command::Watch(WatchOptions {
                check: check_options(files, first_instances)?,
                timeout: Some(timeout).filter(|timeout| !timeout.is_zero()),
                timeline,
            })
        }
        TypedCommand::Report { files, first_instances, command } => {
            Command::Report(ReportOptions {
                check: check_options(files, first_instances)?,
                command,
            })
        }
        TypedCommand::Bench(typed) => Command::Bench(typed.understood(conf)?),
        TypedCommand::Doctor { local, all_interfaces, seconds, expect, json } => {
            let conf = conf
                .clone()
                .ok_or_else(|| Usage::Wrong("paxos: a doctor needs --conf PATH".to_owned()))?;
            Command::Doctor(DoctorOptions {
                conf,
                is_local: local,
                is_everywhere: all_interfaces,
                duration: seconds,
                expected: expect,
                json,
            })
        }
        TypedCommand::Status(typed) => {
            let conf =
                conf.ok_or_else(|| Usage::Wrong("paxos: status needs --conf PATH".to_owned()))?;
            Command::Status(typed.understood(conf))
        }
        TypedCommand::Lead(typed) => {
            let conf =
                conf.ok_or_else(|| Usage::Wrong("paxos: lead needs --conf PATH".to_owned()))?;
            Command::Lead(typed.understood(conf))
        }
        TypedCommand::Log(typed) => Command::Log(typed.understood()),
        TypedCommand::Snapshot(typed) => Command::Snapshot(typed.understood()),
        TypedCommand::Completions { shell } => Command::Completions(shell),
        TypedCommand::Man { directory } => Command::Man(directory),
        TypedCommand::Simulate(typed) => {
            let command = picture::command_line(&arguments);
            Command::Simulate(Box::new(typed.understood(command).map_err(Usage::Wrong)?))
        }
    })
}

fn check_options(
    files: TypedFiles,
    first_instances: Vec<Assignment>,
) -> Result<CheckOptions, Usage> {
    let TypedFiles { learners, clients, results } = files;
    let given = first_instances.len();
    let clients = match given {
        0 => vec![Assignment::Client { first: Instance::FIRST }; clients as usize],
        _ if given == clients as usize => first_instances,
        _ => {
            return Err(Usage::Wrong(format!(
                "paxos: {given} first instances are given for {clients} clients; give one each, \
                 or none"
            )));
        }
    };
    let is_by_record = given == 0;
    Ok(CheckOptions { learners, clients, is_by_record, print: false, json: false, results })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::learner::Beginning;
    use crate::results::form::Printed;

    fn parse_words(words: &str) -> Result<Command, Usage> {
        let words = std::iter::once("paxos").chain(words.split_whitespace());
        parse(words.map(OsString::from))
    }

    fn run(words: &str) -> Vec<NodeOptions> {
        match parse_words(words) {
            Ok(Command::Run(nodes)) => nodes,
            other => panic!("{words}: {other:?}"),
        }
    }

    fn wrong(words: &str) -> String {
        match parse_words(words) {
            Err(Usage::Wrong(line)) => line,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn clap_agrees_with_itself() {
        use clap::CommandFactory;
        Typed::command().debug_assert();
    }

    #[test]
    fn roles_take_their_options() {
        let [options] =
            &run("--conf c proposer 3 --loss 0.1 --lifetime 2.5 --no-timeouts 1 --seed 7")[..]
        else {
            panic!("one role");
        };
        assert_eq!((options.node.to_string().as_str(), options.loss), ("P3", 0.1));
        assert_eq!(options.lifetime, Some(Duration::from_millis(2500)));
        assert_eq!(
            (options.no_timeouts, options.no_preexecution, options.seed),
            (true, false, Some(7))
        );
        let [options] = &run("--conf c client 1 --first-instance auto")[..] else {
            panic!("one role");
        };
        assert_eq!((options.assignment, options.lifetime), (Assignment::Leader, None));
    }

    #[test]
    fn a_node_has_the_roles_of_a_host_with_one_id() {
        let names = |words| run(words).iter().map(|of| of.node.to_string()).collect::<Vec<_>>();
        assert_eq!(names("--conf c node 2"), ["P2", "A2", "L2"]);
        assert_eq!(names("--conf c node 1 --roles learner,acceptor"), ["L1", "A1"]);
        let nodes = run("--conf c node 1 --no-timeouts 1 --results elsewhere --loss 0.2");
        assert!(nodes.iter().all(|of| of.no_timeouts && of.loss == 0.2));
        assert_eq!(nodes[2].results, PathBuf::from("elsewhere"));
        assert!(wrong("--conf c node 1 --roles client").contains("standard input"));
        assert!(wrong("--conf c node 1 --roles learner,learner").contains("twice"));
    }

    #[test]
    fn a_session_is_kept_where_the_leader_gives_the_instances() {
        let nodes = run("--conf c client 1 --first-instance auto --session there/is");
        assert_eq!(nodes[0].session, Some(PathBuf::from("there/is")));
        assert_eq!(run("--conf c client 1 --first-instance auto")[0].session, None);
        for words in
            ["--conf c client 1 --session s", "--conf c client 1 --first-instance 7 --session s"]
        {
            assert!(wrong(words).contains("--session needs --first-instance auto"));
        }
    }

    #[test]
    fn a_learner_is_told_what_to_print_and_from_where() {
        let told = |words| {
            let nodes = run(words);
            let last = nodes.last().unwrap();
            (last.beginning, last.printed)
        };
        let at = |instance| Beginning::At(Instance(instance));
        assert_eq!(told("--conf c learner 1"), (Beginning::Oldest, Printed::Values));
        assert_eq!(
            told("--conf c learner 1 --from oldest --apply digest"),
            (at(1), Printed::Digest)
        );
        assert_eq!(told("--conf c node 1 --positions --from 7"), (at(7), Printed::Positions));
        assert_eq!(told("--conf c learner 1 --from now").0, Beginning::Now);
        assert_eq!(
            told("--conf c learner 1 --positions --resume /no/file --from 7"),
            (at(7), Printed::Positions)
        );
        let refused = wrong("--conf c learner 1 --resume /no/file");
        assert!(refused.contains("were not provided: --positions"), "{refused}");
        let refused = wrong("--conf c learner 1 --apply digest --from 2");
        assert!(refused.contains("--apply digest needs all values"), "{refused}");
    }

    #[test]
    fn the_checker_takes_a_first_instance_for_each_client_or_none() {
        let Ok(Command::Check(options)) = parse_words("check 2 2 no 1 auto") else {
            panic!("check");
        };
        let first = Assignment::Client { first: Instance(1) };
        assert_eq!((options.clients, options.print), (vec![first, Assignment::Leader], false));
        assert!(matches!(parse_words("check 2 2 TRUE"), Ok(Command::Check(o)) if o.print));
        assert!(wrong("check 2 2 true 1").contains("1 first instances are given for 2 clients"));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for words in [
            "",
            "--conf c",
            "acceptor 1",
            "--conf c acceptor",
            "--conf c acceptor 0",
            "--conf c acceptor x",
            "--conf c acceptor 1 2",
            "--conf c acceptor 1 --loss 1",
            "--conf c acceptor 1 --loss -0.1",
            "--conf c acceptor 1 --loss NaN",
            "--conf c acceptor 1 --lifetime -1",
            "--conf c acceptor 1 --lifetime inf",
            "--conf c acceptor 1 --no-timeouts 1",
            "--conf c acceptor 1 --metrics 9187",
            "--conf c proposer 1 --no-timeouts 2",
            "node 1",
            "--conf c node",
            "--conf c node 1 --roles",
            "--conf c node 1 --roles dancer",
            "--conf c client 1 --first-instance 0",
            "--conf c client 1 --first-instance maybe",
            "--conf c learner 1 --from 0",
            "--conf c learner 1 --from later",
            "--conf c learner 1 --from -1",
            "--conf c learner 1 --apply values",
            "--conf c learner 1 --apply digest --positions",
            "generate",
            "generate -1",
            "check 0 1",
            "check 1",
            "check 1 1 perhaps",
            "watch 1 1 1 2",
            "config",
            "--conf c config ttl 1",
            "doctor",
            "status",
            "--conf c status 1",
            "--conf c status --seconds 0",
            "--conf c doctor --seconds 0",
            "--conf c doctor --expect 0",
            "--conf c doctor --local --expect 2",
            "dance",
        ] {
            let line = wrong(words);
            assert!(line.starts_with("paxos: ") && !line.contains('\n'), "{words}: {line}");
        }
    }

    #[test]
    fn help_is_no_error() {
        assert!(matches!(parse_words("--help"), Err(Usage::Help(text)) if text.contains("run.sh")));
        assert!(matches!(parse_words("client --help"), Err(Usage::Help(_))));
    }
}
