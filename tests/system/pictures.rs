//! `paxos simulate --svg` and `--html`: files that are the same for the same seed, and a page that
//! works in a browser, where there is one.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::world::{PAXOS, skip, text};

/// A leader that dies while datagrams are lost.
const CRASH: &[&str] = &[
    "--seed",
    "3",
    "--clients",
    "1",
    "--values",
    "4",
    "--rate",
    "20",
    "--learners",
    "1",
    "--loss",
    "0.15",
    "--kill-leader",
    "92ms",
];

fn simulate(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(PAXOS).arg("simulate").args(arguments).output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The picture that an option draws.
fn drawn(folder: &Path, option: &str, arguments: &[&str]) -> String {
    let path = folder.join("picture");
    let (status, _, said) = simulate(&[arguments, &[option, path.to_str().unwrap()]].concat());
    assert_eq!((status, said.as_str()), (Some(0), ""));
    fs::read_to_string(&path).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_pictures() {
    let folder = tempfile::tempdir().unwrap();
    for option in ["--svg", "--html"] {
        let one = drawn(folder.path(), option, CRASH);
        assert_eq!(one, drawn(folder.path(), option, CRASH));
        let command = format!("paxos simulate {}", CRASH.join(" "));
        assert!(one.contains(&command) && one.contains("P2 leads"), "{option}");
    }
    // Being drawn changes nothing.
    let path = folder.path().join("picture");
    let seen = simulate(&[CRASH, &["--svg", path.to_str().unwrap()]].concat());
    assert_eq!(seen, simulate(CRASH));
}

#[test]
fn a_diagram_shows_what_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let svg = |more: &[&str]| drawn(folder.path(), "--svg", &[CRASH, more].concat());
    let (whole, votes) = (svg(&[]), svg(&["--only", "Accepted"]));
    assert!(whole.contains("Prepare 1.P1") && !votes.contains("Prepare 1.P1 from"));
    assert!(votes.contains(">Accepted ") && !whole.contains("This is the overview"));
    assert!(svg(&["--overview"]).contains("This is the overview"));
    assert!(svg(&["--title", "<One & two>"]).contains("&lt;One &amp; two&gt;"));
    assert!(svg(&["--until", "80ms"]).len() < whole.len());
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    for wrong in [
        &["--only", "Accept"][..],
        &["--svg", "/nowhere/x.svg"],
        &["--svg", "x.svg", "--seeds", "2"],
        &["--svg", "x.svg", "--hide", "Vote"],
        &["--html", "x.html", "--from", "1s"],
        &["--svg", "x.svg", "--from", "20ms", "--until", "20ms"],
        &["--svg", "x.svg", "--from", "1s", "--until", "10ms"],
        &["--transcript", "/nowhere/x.txt"],
    ] {
        let (status, told, said) = simulate(wrong);
        assert_eq!(
            (status, told.as_str(), said.lines().count()),
            (Some(2), "", 1),
            "{wrong:?}: {said}"
        );
    }
}

/// The run is told first: how long it is, is known at its end.
#[test]
fn a_window_behind_the_end_of_the_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let transcript = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol/testdata/decide.txt");
    for run in [CRASH, &["--transcript", transcript.to_str().unwrap()]] {
        for before in [None, Some("an older picture")] {
            let path = folder.path().join(if before.is_some() { "old.svg" } else { "new.svg" });
            if let Some(text) = before {
                fs::write(&path, text).unwrap();
            }
            let window = ["--svg", path.to_str().unwrap(), "--from", "3600s"];
            let (status, _, said) = simulate(&[run, &window].concat());
            assert_eq!((status, said.lines().count()), (Some(2), 1), "{said}");
            assert!(said.starts_with("--from 3600s lies behind the end of the run, "), "{said}");
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), before);
        }
    }
}

#[test]
fn a_transcript_is_played() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol/testdata");
    let path = folder.join("decide.txt");
    let (status, told, _) = simulate(&["--transcript", path.to_str().unwrap()]);
    assert_eq!((status, told), (Some(0), fs::read_to_string(path).unwrap()));
}

/// The document that a browser without a screen makes of the page at `url`; none, said aloud, where
/// there is no browser.
pub fn browsed(url: &str) -> Option<String> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let is_there = |name: &&&str| Command::new(name).arg("--version").output().is_ok();
    let Some(browser) = names.iter().find(is_there) else {
        skip(
            "the pages in a browser",
            &format!("there is no browser; install one of {}", names.join(", ")),
        );
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().display()))
        .arg(url)
        .output()
        .unwrap();
    Some(text(&output.stdout))
}

/// The page lays itself out as the program does, steps to the end and back, and tries each filter.
#[test]
fn the_page_passes_its_own_test_in_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let large = ["--seed", "7", "--loss", "0.3", "--kill-leader", "2s"];
    for arguments in [CRASH, &large, &["--seed", "12"]] {
        let path = folder.path().join("run.html");
        fs::write(&path, drawn(folder.path(), "--html", arguments)).unwrap();
        let Some(page) = browsed(&format!("file://{}#selftest", path.display())) else { return };
        let title = page.split("<title>").nth(1).and_then(|rest| rest.split('<').next());
        assert_eq!(title, Some("selftest ok"), "{arguments:?}");
    }
}
