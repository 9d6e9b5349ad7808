//! A test over the warnings and errors: docs/alarms.md explains each, and no other.

// A test that cannot set itself up has failed.
#![allow(clippy::unwrap_used)]

mod pages;

use std::fs;

use pages::{Page, home};

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

/// What a reader can search for: the first words of the first piece between the placeholders that
/// has three words, else of the longest.
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
        let code = text.split("#[cfg(test)]").next().unwrap();
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

/// Every source file of what a process runs: its path and its text.
fn sources() -> Vec<(String, String)> {
    let mut folders = vec![home().join("src")];
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

/// What is explained and said no more misleads.
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
        explained += 1;
        let pieces = alarm.split("..").map(|piece| piece.trim_matches([' ', '(', ')', ';', ':']));
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            assert!(said.contains(piece), "docs/alarms.md:{number}: nothing logs `{piece}`");
        }
    }
    assert!(explained > 40, "only {explained} lines are explained");
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
