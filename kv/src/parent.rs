//! A process that a script has started ends with the script, however that ends.
//!
//! The scripts name themselves in the environment, as they do for `paxos`.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The variable of the environment with the number of the process to end with.
const VARIABLE: &str = "PAXOS_PARENT";

/// Lets this process be killed when its parent ends, if that is the one that the environment names.
///
/// # Errors
///
/// One sentence, when the system cannot, or the parent has ended already.
pub fn follow() -> Result<(), String> {
    let Some(named) = std::env::var_os(VARIABLE).filter(|named| !named.is_empty()) else {
        return Ok(());
    };
    let number = named.to_str().and_then(|text| text.parse::<i32>().ok());
    let Some(parent) = number.filter(|number| *number > 1).and_then(Pid::from_raw) else {
        return Err(format!("{VARIABLE}={named:?} is not the number of a process; unset it"));
    };
    let ended =
        || format!("process {parent}, with which this one should end, has ended; unset {VARIABLE}");
    if getppid() != Some(parent) {
        return Err(ended());
    }
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("cannot be told of the end of process {parent}: {error}"))?;
    // It may have ended in between.
    if getppid() == Some(parent) { Ok(()) } else { Err(ended()) }
}
