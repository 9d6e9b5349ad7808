//! The `paxos-kv` binary: parse, run, and turn the outcome into an exit status.
//!
//! 0: it was told to end. 1: it could not go on. 2: unusable arguments or configuration. 75: it
//! could not start for a reason that may go away by itself.

mod files;
mod parent;

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use clap::error::ErrorKind;
use multi_paxos::{Cluster, write_log_line};
use paxos_kv::options::{Metrics, Options, sentence};
use paxos_kv::server::{ServeError, Server, Stopper};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The status that `sysexits.h` gives to failures worth another try.
const EX_TEMPFAIL: u8 = 75;

fn main() -> ExitCode {
    if let Err(sentence) = parent::follow() {
        return refuse(sentence);
    }
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            // A reader that closes the pipe early has read enough.
            let _ = write!(io::stdout(), "{error}");
            return ExitCode::SUCCESS;
        }
        Err(error) => return refuse(sentence(&error)),
    };
    log_as(format!("N{}", options.id));
    match start(&options) {
        Ok(server) => run(server),
        Err(status) => status,
    }
}

/// From now on there are log lines, in the form of those of `paxos`. `name` is this process.
fn log_as(name: String) {
    let environment = env_logger::Env::default().default_filter_or("info");
    env_logger::Builder::from_env(environment)
        .format(move |out, record| write_log_line(out, &name, &record.level(), record.args()))
        .init();
}

fn start(options: &Options) -> Result<Server, ExitCode> {
    // Different in every run of every process.
    let origin = RandomState::new().hash_one(options.id);
    let mut serving = options.serving(origin).map_err(refuse)?;
    serving.clients_max = files::room_for(serving.clients_max);
    let mut cluster = Cluster::from_file(&options.conf).map_err(refuse)?;
    if let Some(data) = &options.data {
        cluster = cluster.with_data(data);
    }
    if let Some(Metrics(first)) = options.metrics {
        cluster = cluster.with_metrics(first);
    }
    let Some(data) = cluster.data().map(Path::to_owned) else {
        return Err(refuse(format!(
            "{}: acknowledged writes must outlive the processes, and there is no place for them: \
             set `data`, or --data",
            options.conf.display()
        )));
    };
    if cluster.removes_unkept() {
        return Err(refuse(format!(
            "{}: `retain` would remove what no process has in a snapshot; add a line `keepers` \
             with the ids of the processes",
            options.conf.display()
        )));
    }
    if cluster.snapshots().is_none() {
        cluster = cluster.with_snapshots(data.join("snapshots"));
    }
    Server::start(&cluster, serving).map_err(|error| {
        let may_pass = match &error {
            ServeError::Start(error) => error.may_pass(),
            ServeError::Listen(..) => true,
        };
        let status = refuse(error);
        if may_pass { ExitCode::from(EX_TEMPFAIL) } else { status }
    })
}

fn run(server: Server) -> ExitCode {
    if let Err(error) = end_by_signal(server.stopper()) {
        return refuse(format!("signals cannot be listened for: {error}; see the system's limits"));
    }
    let ended = server.run(|address| {
        let mut out = io::stdout();
        // Nobody may be reading it any more.
        let _ = writeln!(out, "ready {address}").and_then(|()| out.flush());
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("the store has ended: {error}");
            ExitCode::FAILURE
        }
    }
}

fn end_by_signal(stopper: Stopper) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let wait = move || {
        if signals.forever().next().is_some() {
            stopper.stop();
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}

/// Prints the error in one line.
fn refuse(what: impl std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "paxos-kv: {what}");
    ExitCode::from(2)
}
