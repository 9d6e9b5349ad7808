//! The logger of the program, and its end after a panic. There is one a process, so a library must
//! not bring it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;
use std::{panic, process};

use env_logger::{Env, Target};

use super::paced::Paced;
use super::queue::LogQueue;
use super::write_log_line;
use crate::clock::Clock;
use crate::stdio;

/// Only errors, warnings, and lines that a person waits for. `RUST_LOG` overrides it.
const LOG_FILTER: &str = "warn,paxos::report=info";

/// How long the end waits for a standard error that takes nothing.
const LAST_LINES: Duration = Duration::from_millis(100);

static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// Starts to log. Every line: when, who, how bad, what.
pub fn start(clock: Clock, name: String) {
    let target = match LogQueue::start(stdio::stderr()) {
        Ok(queue) => Target::Pipe(Box::new(QUEUE.get_or_init(|| queue).clone())),
        // Without a thread to write there is still the old way.
        Err(_) => Target::Stderr,
    };
    let logger = env_logger::Builder::from_env(Env::default().default_filter_or(LOG_FILTER))
        .target(target)
        .format(move |out, record| write_log_line(out, &name, &record.level(), record.args()))
        .build();
    let filter = logger.filter();
    // There is one logger a process, and this is the only place that sets it.
    if log::set_boxed_logger(Box::new(Paced::new(logger, clock))).is_ok() {
        log::set_max_level(filter);
    }
}

/// Says a line as it is. Behind everything that was logged, if logging has started; without
/// waiting for a reader then.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    // Standard error may be closed, and there is nowhere else to say so.
    let _ = match QUEUE.get() {
        Some(queue) => queue.clone().write_all(line.as_bytes()),
        None => stdio::stderr().write_all(line.as_bytes()),
    };
}

/// Writes the waiting lines, as far as standard error takes them.
pub fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.finish(LAST_LINES);
    }
}

/// From now on a panic of any thread ends the process, by SIGABRT, which supervisors take for a
/// reason to start it again. A process that lost one of its threads looks alive and is of no use:
/// it would be deaf, or never end.
pub fn abort_on_panic() {
    panic::set_hook(Box::new(|panic| {
        say(&format!("this is a bug in paxos; please report it; the process ends: {panic}"));
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            say(&trace.to_string());
        }
        finish();
        process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::thread;

    use super::*;

    /// Set for the copy of this test's program that is to panic.
    const VICTIM: &str = "PAXOS_TEST_PANICS";

    #[test]
    fn a_panic_of_any_thread_ends_the_process_with_a_sentence() {
        const SIGABRT: i32 = 6;
        if env::var_os(VICTIM).is_some() {
            start(Clock::start(), "A1".to_owned());
            abort_on_panic();
            let thread = thread::spawn(|| panic!("of the test"));
            thread::sleep(Duration::from_secs(10));
            drop(thread);
            return;
        }
        let name = "a_panic_of_any_thread_ends_the_process_with_a_sentence";
        let name = format!("logging::program::tests::{name}");
        let mut command = Command::new(env::current_exe().unwrap());
        let output =
            command.args([name.as_str(), "--exact", "--nocapture"]).env(VICTIM, "1").output();
        let output = output.unwrap();
        assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("a bug in paxos; please report it; the process ends: "), "{said}");
        assert!(said.contains("of the test"), "{said}");
    }
}
