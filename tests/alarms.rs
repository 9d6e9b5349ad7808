//! A test over the warnings, errors and alerts: docs/alarms.md explains each, and no other; and
//! what watches metrics knows no others than there are.

// A test that cannot set itself up has failed.
#![allow(clippy::unwrap_used)]

mod pages;
mod sources;

use std::collections::BTreeSet;
use std::fs;

use pages::{Page, home};
use sources::without_tests;

fn page() -> Page {
    let path = "docs/alarms.md".to_owned();
    Page { text: fs::read_to_string(home().join(&path)).unwrap(), path }
}

/// The string literal at the start of `text`, without its quotes and with its lines joined, and the
/// text behind it.
fn literal(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                // The indentation of the next line is no part of it.
                '\n' => while letters.next_if(|(_, next)| next.is_whitespace()).is_some() {},
                escaped => value.push(escaped),
            },
            _ => value.push(letter),
        }
    }
    None
}

/// The words that a reader can search for: the first ones of the first piece between placeholders
/// that has three words, or of the longest piece.
fn beginning(format: &str) -> String {
    let pieces = format.split('{').enumerate().map(|(place, piece)| match place {
        0 => piece,
        _ => piece.split_once('}').map_or("", |(_, behind)| behind),
    });
    let words = |piece: &str| piece.split_whitespace().count();
    let pieces: Vec<&str> = pieces.collect();
    let longest = pieces.iter().max_by_key(|piece| piece.len());
    let found = pieces.iter().find(|piece| words(piece) >= 3).or(longest);
    let first: Vec<&str> = found.unwrap().split_whitespace().take(4).collect();
    first.join(" ").trim_matches([';', ':', ',', ' ']).to_owned()
}

/// Every sentence that a process can log as a warning, as an error or as a report, with its place.
fn alarms() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, text) in sources() {
        let code = without_tests(&text);
        let mut note = |rest: &str| {
            let (format, _) = literal(rest.trim_start())
                .unwrap_or_else(|| panic!("{path}: an alarm has no sentence of its own"));
            found.push((path.clone(), format));
        };
        for name in ["warn!(", "error!(", "info!(", "log::log!("] {
            for rest in code.split(name).skip(1) {
                let rest = rest.trim_start();
                match (rest.strip_prefix("target:"), name) {
                    (Some(rest), _) => {
                        note(literal(rest.trim_start()).unwrap().1.trim_start_matches(','))
                    }
                    (None, "info!(") => {}
                    (None, "log::log!(") => note(rest.split_once(',').unwrap().1),
                    (None, _) => note(rest),
                }
            }
        }
        // These are logged as they are.
        for name in ["Failure", "InputFailure", "Mismatch", "Vanished"] {
            let head = format!("impl fmt::Display for {name} {{");
            if let Some((_, rest)) = code.split_once(&head) {
                let mut body = rest.split("\n}\n").next().unwrap();
                while let Some(start) = body.find('"') {
                    let (format, rest) = literal(&body[start..]).unwrap();
                    found.push((path.clone(), format));
                    body = rest;
                }
            }
        }
    }
    found
}

/// Every source file that a process runs: its path and its text.
fn sources() -> Vec<(String, String)> {
    let mut folders = vec![home().join("src"), home().join("kv/src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(home()).unwrap().to_string_lossy().into_owned();
                if !name.ends_with("tests.rs") && !name.starts_with("src/sim") {
                    found.push((name, fs::read_to_string(&path).unwrap()));
                }
            }
        }
    }
    found
}

#[test]
fn every_alarm_is_explained() {
    let page = page().text;
    let alarms = alarms();
    assert!(alarms.len() > 40, "only {} alarms are found", alarms.len());
    let mut missing = String::new();
    for (path, format) in &alarms {
        let words = beginning(format);
        // A failure that is logged as it is stands among the alarms itself.
        let is_failure = words.is_empty() && ["{failure}", "{mismatch}"].contains(&format.as_str());
        assert!(is_failure || words.len() >= 5, "{path}: {format:?} cannot be searched for");
        if !is_failure && !page.contains(&words) {
            missing += &format!("{path}: `{words}`\n");
        }
    }
    assert!(missing.is_empty(), "docs/alarms.md does not explain:\n{missing}");
}

/// An explanation of a line that is never logged misleads.
#[test]
fn every_explained_alarm_can_be_logged() {
    let page = page();
    let said: String = alarms().into_iter().map(|(_, format)| format + "\n").collect();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut explained = 0;
    for (number, line) in page.prose() {
        let Some(alarm) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) else {
            continue;
        };
        // Alerts are not logged.
        if alarm.starts_with("Paxos") {
            continue;
        }
        explained += 1;
        let pieces = alarm.split("..").map(|piece| piece.trim_matches([' ', '(', ')', ';', ':']));
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            assert!(said.contains(piece), "docs/alarms.md:{number}: nothing logs `{piece}`");
        }
    }
    assert!(explained > 40, "only {explained} lines are explained");
}

/// The names in `text` that begin like a metric's, without what a histogram adds.
fn metrics(text: &str) -> BTreeSet<&str> {
    let is_of_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let starts = text.match_indices("paxos_").map(|(at, _)| &text[at..]);
    let names = starts.map(|rest| rest.split(|letter| !is_of_name(letter)).next().unwrap());
    names.map(|name| name.strip_suffix("_bucket").unwrap_or(name)).collect()
}

fn text(path: &str) -> String {
    fs::read_to_string(home().join(path)).unwrap()
}

#[test]
fn alerts_and_the_dashboard_watch_metrics_that_there_are() {
    let source = text("src/runtime/metrics/text.rs");
    let code = without_tests(&source);
    let known = metrics(&code);
    assert!(known.len() >= 20, "{known:?}");
    for (path, least) in [("ops/alerts.yml", 13), ("ops/grafana.json", 21)] {
        let text = text(path);
        let watched = metrics(&text);
        assert!(watched.len() >= least, "{path} watches only {watched:?}");
        let unknown: Vec<_> = watched.difference(&known).collect();
        assert!(unknown.is_empty(), "{path} watches {unknown:?}, which nobody serves");
    }
    let page = text("docs/metrics.md");
    let explained = metrics(&page);
    let missing: Vec<_> = known.difference(&explained).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not explain {missing:?}");
}

#[test]
fn every_alert_is_explained_and_says_what_to_do() {
    let (rules, page) = (text("ops/alerts.yml"), page().text);
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    for rule in &alerts {
        let name = rule.lines().next().unwrap();
        for part in ["\n        expr: ", "\n          severity: ", "\n          action: "] {
            assert!(rule.contains(part), "ops/alerts.yml: {name} has no `{}`", part.trim());
        }
        let row = format!("| `{name}` | ");
        assert!(page.contains(&row), "docs/alarms.md does not explain {name}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `Paxos")).count();
    assert_eq!(rows, alerts.len(), "docs/alarms.md explains alerts that there are not");
}

#[test]
fn sentences_are_found_in_sources() {
    let (value, rest) = literal("\"a \\\"b\\\" {x} \\\n      c d e\", more").unwrap();
    assert_eq!((&*value, rest), ("a \"b\" {x} c d e", ", more"));
    assert_eq!(
        beginning("{a}: refused a datagram, {reason}; {more} more before"),
        "refused a datagram"
    );
    assert_eq!(beginning("one two three four five"), "one two three four");
    assert_eq!(beginning("hears: {what}"), "hears");
}
