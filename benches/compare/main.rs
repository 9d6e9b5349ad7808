//! Ours, side by side with the limit of the machine, with other systems, or with another build.
//!
//! `bash/bench.sh` calls it. In every round each run happens once, one after the other; what counts
//! are the medians of the ratios within a round, for the machine's speed drifts. It prints a table,
//! and leaves every figure, the table, a page (`report.html`) and charts in `results/bench`.
//!
//! Options: `--rounds 5`, `--seconds 1` for a run, `--only T1,T2` for some rows, `--limit PATH` and
//! `--libraries`, `--libpaxos` and `--etcd PATH` for the programs that it compares with, `--long 1`
//! for a log of 10^7 instances. `--wire 1` demands the rows that need network namespaces, and
//! `--wire 0` leaves them out. `--command` says in the page what was typed. `--against PATH` runs
//! another build of `paxos` in turn with this one instead, and prints what each row of ours is to
//! the other's.
//!
//! Its first word may be `axes` or `endurance`: then it is what `bash/axes.sh` or
//! `bash/endurance.sh` calls, see `axes/mod.rs` and `endurance.rs`.

mod axes;
mod charts;
#[path = "../harness/cluster.rs"]
mod cluster;
mod drawing;
mod embedded;
mod endurance;
mod figures;
mod host;
mod links;
mod measuring;
mod processes;
mod rows;
mod works;

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use multi_paxos::report::{REPORT_FILE, bench};

use self::cluster::FOLDER;
use self::figures::Figures;
use self::measuring::{Asked, Measuring};
use self::rows::ROWS;

fn main() -> ExitCode {
    let mut words = env::args().skip(1).filter(|word| word != "--bench").peekable();
    if words.next_if_eq("axes").is_some() {
        return axes::run(words);
    }
    if words.next_if_eq("endurance").is_some() {
        return endurance::run(words);
    }
    // `cargo test` and a plain `cargo bench` start it without a word; there is nothing to do then.
    let Some(asked) = Asked::parse(words) else {
        println!("compare: bash/bench.sh runs it; its head tells the options");
        return ExitCode::SUCCESS;
    };
    if let Err(refusal) = asked.check() {
        eprintln!("bench.sh: {refusal}");
        return ExitCode::from(2);
    }
    fs::create_dir_all(FOLDER).expect("a folder for the results");
    let mut measuring = Measuring::new(asked);
    measuring.run();
    let Measuring { asked, figures, .. } = measuring;
    let folder = Path::new(FOLDER);
    let table = if asked.against.is_some() {
        figures.versus(ROWS)
    } else {
        let rows = figures.measured(ROWS);
        let table = Figures::table(&rows);
        let page = bench::page(&host::measured(&asked, rows));
        fs::write(folder.join(REPORT_FILE), page).expect("room for the page");
        table
    };
    print!("{table}");
    fs::write(folder.join("table.md"), &table).expect("room for the table");
    fs::write(folder.join("runs.jsonl"), figures.lines()).expect("room for the runs");
    if let Err(error) = drawing::draw(&figures) {
        eprintln!("the charts cannot be drawn: {error}");
    }
    ExitCode::SUCCESS
}
