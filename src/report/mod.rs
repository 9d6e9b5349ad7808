//! `paxos report`: a page about a run, made of the files that it left in its results directory. And
//! a similar page about measurements (`bench`).
//!
//! The page is one file, without a script and without other files. It is made after the run, from
//! files alone (`facts`), so making it cannot affect the run.

pub mod bench;
mod chart;
mod facts;
mod page;

use std::fs;
use std::path::PathBuf;

use self::facts::Facts;
use crate::results::check::CheckOptions;
use crate::results::files::Unusable;

/// The name of the page, beside the files that it is made of.
pub const REPORT_FILE: &str = "report.html";

/// The name of the file with what learners had, and when.
pub const TIMELINE_FILE: &str = "timeline.txt";

/// What to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportOptions {
    /// Which files there are, and how they are judged.
    pub check: CheckOptions,
    /// The command that ran the cluster.
    pub command: Option<String>,
}

/// Makes the page. Returns its path, and a summary in one line.
///
/// # Errors
///
/// When the page cannot be written. Files that cannot be read are reported on the page.
pub fn report(options: &ReportOptions) -> Result<(PathBuf, String), Unusable> {
    let facts = Facts::gather(options);
    let path = options.check.results.join(REPORT_FILE);
    match fs::write(&path, page::page(&facts)) {
        Ok(()) => {
            let line = format!("{}; {} shows more", page::in_short(&facts), path.display());
            Ok((path, line))
        }
        Err(error) => Err(Unusable(format!("{}: cannot write it: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests;
