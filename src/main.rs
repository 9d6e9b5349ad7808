//! The `paxos` binary: parse, run, and turn the outcome into an exit status.
//!
//! 0: done. 1: values are undecided, a promise is broken, or something is sick. 2: unusable
//! arguments, configuration or input. 3: safe, but not everything was decided, or an acceptor is
//! missing (`status --strict`). 75: it could not start for a reason that may pass by itself, such
//! as an interface that is not there yet, or it was away for so long that the entries it had to
//! print next are removed. A bug ends it by SIGABRT. Supervisors start it again
//! after the last two.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use multi_paxos::auth::key;
use multi_paxos::cli::{
    self, BenchOptions, Command, ConfigOptions, GenerateOptions, KeygenOptions, LeadOptions, Usage,
};
use multi_paxos::clock::Clock;
use multi_paxos::config;
use multi_paxos::doctor::{self, DoctorOptions};
use multi_paxos::logging;
use multi_paxos::report::{self, ReportOptions};
use multi_paxos::results::check::{self, CheckOptions};
use multi_paxos::results::generate;
use multi_paxos::results::watch::{self, WatchOptions};
use multi_paxos::runtime::entropy;
use multi_paxos::runtime::handover;
use multi_paxos::runtime::laps::Laps;
use multi_paxos::runtime::load::Measured;
use multi_paxos::runtime::measure;
use multi_paxos::runtime::node::{self, Exit, NodeOptions, StartError};
use multi_paxos::runtime::parent;
use multi_paxos::simulate::{self, SimulateOptions, Trouble, Verdict};
use multi_paxos::snapshots::{self, offline::SnapshotCommand};
use multi_paxos::status::{self, StatusOptions};
use multi_paxos::stdio;
use multi_paxos::storage::offline::{self, LogCommand, OfflineError};

/// The status that `sysexits.h` gives to what is worth another try.
const EX_TEMPFAIL: u8 = 75;

fn main() -> ExitCode {
    logging::abort_on_panic();
    let status = run();
    logging::finish();
    status
}

fn run() -> ExitCode {
    if let Err(error) = parent::follow() {
        return refuse(error);
    }
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(Usage::Help(text)) => {
            // A reader that closes the pipe early has read enough.
            let _ = stdio::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(Usage::Wrong(line)) => return refuse(line),
    };
    let clock = Clock::start();
    match command {
        Command::Run(roles) => {
            logging::start(clock, process_name(&roles));
            match node::run(&roles, clock) {
                Ok(Exit::Well) => ExitCode::SUCCESS,
                Ok(Exit::Undone) => ExitCode::from(1),
                Ok(Exit::TryAgain) => ExitCode::from(EX_TEMPFAIL),
                Ok(Exit::BadInput | Exit::Vanished) => ExitCode::from(2),
                Err(error) => refuse_start(&error),
            }
        }
        Command::Keygen(options) => run_keygen(&options),
        Command::Config(options) => run_config(&options),
        Command::Generate(options) => run_generate(&options),
        Command::Check(options) => run_check(&options),
        Command::Report(options) => run_report(&options),
        Command::Bench(options) => {
            logging::start(clock, "bench".to_owned());
            run_bench(&options, clock)
        }
        Command::Doctor(options) => run_doctor(&options, clock),
        Command::Status(options) => run_status(&options, clock),
        Command::Lead(options) => run_lead(&options, clock),
        Command::Log(command) => run_log(&command),
        Command::Snapshot(command) => run_snapshot(&command),
        Command::Completions(shell) => print(&cli::completions(shell)),
        Command::Man(directory) => match cli::write_pages(&directory) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(format!("{}: cannot write there: {error}", directory.display())),
        },
        Command::Simulate(options) => run_simulate(&options),
        Command::Watch(options) => {
            logging::start(clock, "watch".to_owned());
            run_watch(&options)
        }
    }
}

/// How a process is called in what it says: by its role, or as the node that has several.
fn process_name(roles: &[NodeOptions]) -> String {
    match roles {
        [role] => role.node.to_string(),
        [first, ..] => format!("N{}", first.node.id),
        [] => String::new(),
    }
}

/// Says why nothing was started. An error that may pass by itself has a status of its own.
fn refuse_start(error: &StartError) -> ExitCode {
    let status = refuse(error);
    if error.may_pass() { ExitCode::from(EX_TEMPFAIL) } else { status }
}

/// Says what is wrong in one line.
fn refuse(what: impl std::fmt::Display) -> ExitCode {
    logging::say(&what.to_string());
    ExitCode::from(2)
}

fn run_keygen(options: &KeygenOptions) -> ExitCode {
    let secret = match entropy::random_bytes() {
        Ok(secret) => secret,
        Err(error) => return refuse(error),
    };
    match key::create(&options.path, &secret) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(error),
    }
}

fn run_config(options: &ConfigOptions) -> ExitCode {
    let text = config::load(&options.conf).and_then(|config| {
        let Some(key) = &options.key else { return Ok(config.text()) };
        Ok(config.text_of(key)?.map_or_else(String::new, |value| format!("{value}\n")))
    });
    match text.map(|text| stdio::stdout().write_all(text.as_bytes())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Ok(Err(error)) => refuse(format!("standard output: {error}")),
        Err(error) => refuse(error),
    }
}

fn run_generate(options: &GenerateOptions) -> ExitCode {
    let seed = match options.seed.map_or_else(entropy::random_u64, Ok) {
        Ok(seed) => seed,
        Err(error) => return refuse(error),
    };
    match generate::generate(options.count, seed, stdio::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => refuse(format!("standard output: {error}")),
    }
}

fn run_check(options: &CheckOptions) -> ExitCode {
    let verdict = match check::check(options) {
        Ok(verdict) => verdict,
        Err(error) => return refuse(error),
    };
    let mut stdout = stdio::stdout();
    let lines = if options.json {
        format!("{}\n", serde_json::json!(verdict))
    } else {
        verdict.lines(io::stdout().is_terminal())
    };
    let printed = stdout
        .write_all(verdict.table.as_bytes())
        .and_then(|()| stdout.write_all(lines.as_bytes()));
    for offence in
        [&verdict.integrity, &verdict.agreement, &verdict.begins_late].into_iter().flatten()
    {
        logging::say(&offence.to_string());
    }
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            refuse(format!("standard output: {error}"))
        }
        Ok(()) | Err(_) => ExitCode::from(verdict.status()),
    }
}

fn run_report(options: &ReportOptions) -> ExitCode {
    match report::report(options) {
        Ok((_, line)) => {
            logging::say(&line);
            ExitCode::SUCCESS
        }
        Err(error) => refuse(error),
    }
}

fn run_watch(options: &WatchOptions) -> ExitCode {
    match watch::watch(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => refuse(error),
    }
}

fn run_simulate(options: &SimulateOptions) -> ExitCode {
    match simulate::simulate(options) {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Unsafe) => ExitCode::from(1),
        Ok(Verdict::Unfinished) => ExitCode::from(3),
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(trouble) => refuse(trouble),
    }
}

fn run_doctor(options: &DoctorOptions, clock: Clock) -> ExitCode {
    let report = match entropy::random_u64() {
        Ok(doctor) => doctor::examine(options, doctor, clock),
        Err(error) => return refuse(error),
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => return refuse(error),
    };
    let text = if options.json { format!("{}\n", report.json()) } else { report.lines() };
    // Standard output may be closed; the status tells it all the same.
    let _ = stdio::stdout().write_all(text.as_bytes());
    if report.is_healthy() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn run_status(options: &StatusOptions, clock: Clock) -> ExitCode {
    let number = match entropy::random_u64() {
        Ok(number) => number,
        Err(error) => return refuse(error),
    };
    let redraws = options.watch && !options.json && io::stdout().is_terminal();
    let (mut stdout, mut is_healthy, mut is_degraded) = (stdio::stdout(), false, false);
    let looked = status::look(options, number, clock, |view| {
        (is_healthy, is_degraded) = (view.is_healthy(), view.is_degraded());
        let sentences = view.summary();
        let text = if options.json {
            format!("{}\n", view.json())
        } else if redraws {
            // Home, and nothing below.
            format!("\x1b[H\x1b[J{}\n{}", sentences.join("\n"), view.lines())
        } else {
            sentences.iter().for_each(|sentence| logging::say(sentence));
            view.lines() + if options.watch { "\n" } else { "" }
        };
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => ControlFlow::Continue(()),
            // Nobody reads it any more; the status tells it all the same.
            Err(_) => ControlFlow::Break(()),
        }
    });
    match looked {
        Ok(()) if options.strict && is_degraded => ExitCode::from(3),
        Ok(()) if is_healthy => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(1),
        Err(error) => refuse(error),
    }
}

fn run_lead(options: &LeadOptions, clock: Clock) -> ExitCode {
    let LeadOptions { node, proposer, within } = options;
    match handover::hand_over(node, *proposer, clock) {
        Ok(outcome) if outcome.is_led_by(*proposer) => ExitCode::SUCCESS,
        Ok(outcome) => {
            logging::say(&outcome.sentence(*proposer, *within));
            ExitCode::from(1)
        }
        Err(error) => refuse_start(&error),
    }
}

fn run_log(command: &LogCommand) -> ExitCode {
    let done = match command {
        LogCommand::Verify { path } => {
            offline::verify(path).map(|sentence| logging::say(&sentence))
        }
        LogCommand::Show { path, instances } => {
            let mut out = io::BufWriter::new(stdio::stdout());
            offline::show(path, *instances, &mut out)
        }
    };
    end_offline(done)
}

fn run_snapshot(command: &SnapshotCommand) -> ExitCode {
    let mut out = io::BufWriter::new(stdio::stdout());
    let done = snapshots::offline::run(command, &mut out);
    end_offline(out.flush().map_err(OfflineError::Output).and(done))
}

fn end_offline(done: Result<(), OfflineError>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(OfflineError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error @ OfflineError::Broken(_)) => {
            logging::say(&error.to_string());
            ExitCode::from(1)
        }
        Err(error @ (OfflineError::Unusable(_) | OfflineError::Output(_))) => refuse(error),
    }
}

/// Prints something whole; a reader that has enough of it may leave.
fn print(bytes: &[u8]) -> ExitCode {
    match stdio::stdout().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            refuse(format!("standard output: {error}"))
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

fn run_bench(options: &BenchOptions, clock: Clock) -> ExitCode {
    let BenchOptions { node, clients, load, laps, json } = options;
    let spawn = || Laps::spawn(io::BufReader::new(stdio::stdin()), stdio::stdout());
    let laps = match laps.then(spawn).transpose() {
        Ok(laps) => laps,
        Err(error) => return refuse(format!("the system gives no thread: {error}")),
    };
    let (measured, exit) = match measure::measure(node, *clients, *load, laps, clock) {
        Ok(measured) => measured,
        Err(error) => return refuse_start(&error),
    };
    log::info!(
        target: "paxos::report",
        "values that were proposed here stay in the log of the cluster for ever; measure one that \
         is there for that"
    );
    let (rate, bytes) = (measured.rate(), load.value_bytes);
    let Measured { latency, elapsed, longest_gap } = measured;
    let [p50, p90, p99, p999] =
        [0.5, 0.9, 0.99, 0.999].map(|share| latency.value_at_quantile(share));
    let (mega, max) = (rate * bytes as f64 / 1e6, latency.max());
    let text = if *json {
        let object = serde_json::json!({
            "clients": clients, "outstanding": load.outstanding, "value_bytes": bytes,
            "values_per_datagram": load.values_per_datagram, "seconds": elapsed.as_secs_f64(),
            "values": latency.len(), "values_per_second": rate, "megabytes_per_second": mega,
            "p50_us": p50, "p90_us": p90, "p99_us": p99, "p999_us": p999, "max_us": max,
            "longest_gap_us": longest_gap.as_micros() as u64,
        });
        format!("{object}\n")
    } else {
        format!(
            "{} values of {bytes} bytes in {:.2} s: {rate:.0} a second, {mega:.1} MB/s\n\
             microseconds: p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, longest {max}\n",
            latency.len(),
            elapsed.as_secs_f64(),
        )
    };
    // Standard output may be closed; the status tells how it went all the same.
    let _ = stdio::stdout().write_all(text.as_bytes());
    if exit == Exit::Well && !latency.is_empty() {
        return ExitCode::SUCCESS;
    }
    logging::say("bench: the cluster did not decide everything; does it run?");
    ExitCode::from(1)
}
