//! The names that programs build on, as a list that is committed: nobody changes them by accident.
//!
//! `REWRITE=1 cargo test --test api` rewrites the list. Anything it loses then is a breaking
//! change, and a line of the changelog.

// A test that cannot set itself up has failed.
#![allow(clippy::unwrap_used)]

mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sources::without_tests;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A file without its tests.
fn code(path: &Path) -> String {
    without_tests(&fs::read_to_string(path).unwrap())
}

/// The public items of `text` and their methods, each with the type it belongs to.
fn items(text: &str) -> Vec<String> {
    let (mut found, mut of) = (Vec::new(), String::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (indent, words) = (line.len() - line.trim_start().len(), line.trim_start());
        if indent == 0 {
            of = owner(words).unwrap_or_default();
        }
        let is_member = indent == 4 && !of.is_empty();
        if let Some(rest) = words.strip_prefix("pub ") {
            let mut name = rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            let (kind, name) = (name.next().unwrap(), name.next().unwrap_or_default());
            match kind {
                "fn" if is_member => found.push(format!("{of}::{name}")),
                "fn" | "struct" | "enum" | "trait" => found.push(format!("{kind} {name}")),
                _ if is_member => found.push(format!("{of}.{kind}")),
                _ => {}
            }
        } else if is_member && of.starts_with("trait ") {
            let word = words.strip_prefix("fn ").or_else(|| words.strip_prefix("type "));
            let end = |letter: char| !letter.is_alphanumeric() && letter != '_';
            found
                .extend(word.and_then(|word| word.split(end).next()).map(|n| format!("{of}::{n}")));
        } else if is_member && of.starts_with("enum ") && words.starts_with(char::is_uppercase) {
            let end = |letter: char| !letter.is_alphanumeric();
            found.push(format!("{of}::{}", words.split(end).next().unwrap()));
        }
    }
    found
}

/// The public type, or the implementation of one, that a line begins.
fn owner(line: &str) -> Option<String> {
    let name = |rest: &str| {
        let rest = match rest.strip_prefix('<') {
            // Parameters of an `impl`.
            Some(parameters) => parameters.split_once("> ")?.1,
            None => rest.trim_start(),
        };
        let end = |letter: char| !letter.is_alphanumeric() && letter != '_';
        rest.split(end).next().map(str::to_owned)
    };
    if let Some(rest) = line.strip_prefix("impl").filter(|rest| !rest.contains(" for ")) {
        return name(rest);
    }
    for kind in ["trait", "enum"] {
        if let Some(rest) = line.strip_prefix(&format!("pub {kind} ")) {
            return name(rest).map(|name| format!("{kind} {name}"));
        }
    }
    line.strip_prefix("pub struct ").and_then(name)
}

#[test]
fn the_names_that_programs_build_on_are_those_of_the_list() {
    let (exported, root) = (code(&path("src/embed/mod.rs")), code(&path("src/lib.rs")));
    let is_end = |letter: char| !letter.is_alphanumeric() && letter != '_';
    // What the root has besides is named one by one.
    let functions = root
        .lines()
        .filter_map(|line| line.strip_prefix("pub use self::")?.strip_suffix(';'))
        .filter_map(|path| path.rsplit("::").next().filter(|name| !name.contains('*')));
    let names: BTreeSet<&str> = exported
        .lines()
        .filter(|line| line.starts_with("pub use "))
        .flat_map(|line| line.split(is_end))
        .filter(|name| name.starts_with(char::is_uppercase))
        .chain(functions)
        .collect();
    let mut files: Vec<PathBuf> =
        fs::read_dir(path("src/embed")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.extend(["src/config/error.rs", "src/runtime/start_error.rs"].map(path));
    let mut found: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    for file in files {
        let is_exported = |item: &String| {
            let bare = item.split_once(' ').map_or(item.as_str(), |(_, name)| name);
            let owner = bare.split(is_end).next().unwrap();
            bare != owner && names.contains(owner)
        };
        found.extend(items(&code(&file)).into_iter().filter(is_exported));
    }
    for module in exported.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let module = module.trim_end_matches(';');
        let items = items(&code(&path(&format!("src/embed/{module}.rs"))));
        found.extend(items.into_iter().map(|item| format!("{module}: {item}")));
    }
    let found: String = found.into_iter().map(|item| item + "\n").collect();
    let list = path("tests/api.txt");
    if std::env::var_os("REWRITE").is_some() {
        fs::write(&list, &found).unwrap();
    }
    let listed = fs::read_to_string(&list).unwrap_or_default();
    let differ: Vec<&str> = listed
        .lines()
        .filter(|line| !found.lines().any(|other| other == *line))
        .chain(found.lines().filter(|line| !listed.lines().any(|other| other == *line)))
        .collect();
    assert!(differ.is_empty(), "{differ:?} differ from tests/api.txt; see the head of this file");
}
