//! A process that a script has started ends with the script, even if that is killed.
//!
//! A script that is killed cannot end the processes it has started, and eleven of them would go on
//! for ever on groups that another run uses next. So bash/lib.sh names itself in the environment,
//! and the process asks the system for its own end.

use std::thread;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal, test_kill_process,
};

/// The variable of the environment with the number of the process to end with.
pub const VARIABLE: &str = "PAXOS_PARENT";

/// How often a process that is no child of that one looks whether it is still there.
const LOOK: Duration = Duration::from_millis(100);

/// Ends this process as soon as the one that the environment names has ended; does nothing when it
/// names none. It is killed: nobody is left who needs an orderly end, and a stopped process takes
/// no other signal.
///
/// # Errors
///
/// When that process has ended already, and when the variable holds no number of a process.
pub fn follow() -> Result<(), String> {
    let Some(named) = std::env::var_os(VARIABLE).filter(|named| !named.is_empty()) else {
        return Ok(());
    };
    let number = named.to_str().and_then(|text| text.parse::<i32>().ok());
    let Some(parent) = number.filter(|number| *number > 1).and_then(Pid::from_raw) else {
        return Err(format!("{VARIABLE}={named:?} is not the number of a process; unset it"));
    };
    // Requested before the check, so that an end in between is seen by one of the two.
    if getppid() == Some(parent) {
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|error| format!("cannot be told of the end of process {parent}: {error}"))?;
    } else {
        // The system notifies only children.
        thread::Builder::new()
            .name("parent".to_owned())
            .spawn(move || end_after(parent))
            .map_err(|error| format!("the system gives no thread: {error}"))?;
    }
    if is_gone(parent) {
        return Err(format!("process {parent}, with which this one should end, has ended already"));
    }
    Ok(())
}

fn end_after(parent: Pid) {
    while !is_gone(parent) {
        thread::sleep(LOOK);
    }
    // It fails only if this process is gone as well.
    let _ = kill_process(getpid(), Signal::KILL);
}

fn is_gone(process: Pid) -> bool {
    test_kill_process(process) == Err(rustix::io::Errno::SRCH)
}
