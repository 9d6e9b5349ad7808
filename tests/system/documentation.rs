//! The commands of the README and of docs/ do what the pages say.
//!
//! A page's blocks marked `sh` are pasted into one shell, in order, in a copy of the project; each
//! must succeed. A block marked `text output` is what the block before it prints, but for its lines
//! `...`. Pictures of docs/lectures are what the commands draw; `REWRITE=1` draws them anew.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::thread;

use crate::pages::{self, Block, Page, is_as_said};
use crate::scripts::Project;
use crate::world::{Network, PAXOS, text};

/// Stands before the output of each block.
const MARK: &str = "-- the output of a block --";

/// Pastes the blocks of a page; says what is not as the page has it.
fn paste(page: &Page) -> Result<(), String> {
    let blocks = page.blocks();
    let is_run = |block: &&Block| block.mark == "sh";
    if !blocks.iter().any(|block| is_run(&block)) {
        return Ok(());
    }
    let project = Project::new();
    project.write("conf/unicast.conf", &project.lists());
    project.copy("src/protocol/testdata");
    fs::create_dir_all(project.path("target/release")).unwrap();
    symlink(PAXOS, project.path("target/release/paxos")).unwrap();

    let pasted: String = blocks
        .iter()
        .filter(is_run)
        // Half a minute is long for a test.
        .map(|block| format!("echo '{MARK}'\n{}\n", block.text.replace(" 0 30", " 0 5")))
        .collect();
    let output = Command::new("bash")
        .args(["-e", "-o", "pipefail", "-c", &pasted])
        .current_dir(project.path(""))
        .env("PAXOS_BIN", PAXOS)
        .env("TMPDIR", project.path(""))
        .env_remove("RUST_LOG")
        .env_remove("PAXOS_CONF")
        .env_remove("FIRST_INSTANCE")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (told, said) = (text(&output.stdout), text(&output.stderr));
    let path = &page.path;
    if !output.status.success() {
        return Err(format!("{path}: {}\n{told}{said}", output.status));
    }
    let mark = format!("{MARK}\n");
    let mut printed = told.split(&*mark).skip(1);
    let mut last = "";
    for block in &blocks {
        match &*block.mark {
            "sh" => last = printed.next().unwrap_or_default(),
            "text output" if !is_as_said(&block.text, last) => {
                return Err(format!("{path}:{} is not what is printed:\n{last}{said}", block.line));
            }
            _ => {}
        }
    }
    pictures(page, &project)
}

/// Compares the pictures that a page shows with what its commands have drawn.
fn pictures(page: &Page, project: &Project) -> Result<(), String> {
    let Some((folder, _)) = page.path.rsplit_once('/') else { return Ok(()) };
    let shown = page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for name in shown.filter(|name| name.ends_with(".svg") && !name.contains('/')) {
        let kept = pages::home().join(folder).join(name);
        let drawn = fs::read(project.path(name)).map_err(|_| format!("nothing draws {name}"))?;
        if std::env::var_os("REWRITE").is_some() {
            fs::write(&kept, &drawn).unwrap();
        }
        if fs::read(&kept).unwrap() != drawn {
            let path = &page.path;
            let cure = "if it is right, REWRITE=1 cargo test --test system the_commands_of_every";
            return Err(format!("{path}: {name} is not what is drawn; {cure}"));
        }
    }
    Ok(())
}

#[test]
fn the_commands_of_every_page_hold_when_they_are_pasted_in_order() {
    if Network::asked() == Network::Unicast {
        return;
    }
    let pages = pages::all();
    let failures: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = pages.iter().map(|page| scope.spawn(|| paste(page))).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap().err()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn a_page_that_is_wrong_is_seen() {
    if Network::asked() == Network::Unicast {
        return;
    }
    let judged = |text: &str| paste(&Page { path: "x.md".to_owned(), text: text.to_owned() });
    let run = "```sh\nseq 2\nfalse || seq 3 3\n```\n";
    assert_eq!(judged(&format!("{run}```text output\n1\n...\n3\n```\n")), Ok(()));
    let other = judged(&format!("{run}```text output\n1\n2\n```\n")).unwrap_err();
    assert!(other.starts_with("x.md:5 is not what is printed:\n1\n2\n3\n"), "{other}");
    let failed = judged("```sh\ncd nowhere\ntrue\n```\n").unwrap_err();
    assert!(failed.starts_with("x.md: exit status: 1\n"), "{failed}");
    assert_eq!(judged("```sh excerpt\nfalse\n```\n"), Ok(()));
}
