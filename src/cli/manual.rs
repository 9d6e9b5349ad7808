//! Files generated from the command line's definition: man pages, and completions for shells.

use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Typed;

/// The script that completes this command line in a shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Typed::command(), "paxos", &mut script);
    script
}

/// Writes `paxos.1`, and a page for each subcommand, to a directory, which must exist.
///
/// # Errors
///
/// When a page cannot be written.
pub fn write_pages(directory: &Path) -> io::Result<()> {
    clap_mangen::generate_to(Typed::command(), directory)
}
