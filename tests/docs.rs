//! A test over the documentation: it is short, complete, and its links lead somewhere.
//!
//! That its commands do what it says is tested in `system::documentation`.

// A test that cannot set itself up has failed.
#![allow(clippy::unwrap_used)]

mod pages;

use std::collections::BTreeSet;
use std::fs;

use pages::{Page, home, is_as_said};

/// The other texts whose links are followed, and whose lines are not too long.
const OTHERS: [&str; 7] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benches/peers/README.md",
    "docker/README.md",
    "fuzz/README.md",
];

/// The words allowed behind the opening fence of a block.
const MARKS: [&str; 10] = [
    "sh",
    "sh excerpt",
    "text",
    "text output",
    "rust",
    "rust,no_run",
    "rust,ignore",
    "toml",
    "yaml",
    "json",
];

fn read(path: &str) -> Page {
    let text = fs::read_to_string(home().join(path)).unwrap();
    Page { path: path.to_owned(), text }
}

/// The targets of the links of a page, with their lines.
fn links(page: &Page) -> Vec<(usize, &str)> {
    let targets = |(line, text)| {
        let text: &str = text;
        let parts = text.split("](").skip(1);
        parts.map(move |part| (line, part.split(')').next().unwrap_or_default()))
    };
    page.prose().into_iter().flat_map(targets).collect()
}

/// The names of headings, as links behind `#` spell them.
fn anchors(page: &Page) -> BTreeSet<String> {
    let headings = page.prose().into_iter().filter(|(_, line)| line.starts_with('#'));
    let anchor = |(_, line): (usize, &str)| {
        let words = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn the_readme_is_short_and_names_the_test_command() {
    let readme = read("README.md");
    let lines = readme.text.lines().count();
    assert!(lines <= 150, "README.md has {lines} lines; move some to docs/");
    assert!(readme.text.contains("test command"), "README.md does not name the test command");
    let is_test = |block: &pages::Block| block.text == "bash/ci.sh\n";
    assert!(readme.blocks().iter().any(is_test), "README.md does not show bash/ci.sh");
}

#[test]
fn pages_are_short_enough_to_read() {
    for page in pages::all() {
        let lines = page.text.lines().count();
        assert!(lines <= 160, "{} has {lines} lines; make two pages of it", page.path);
    }
}

#[test]
fn lines_are_short_enough_to_read() {
    for page in pages::all().into_iter().chain(OTHERS.map(read)) {
        for (number, line) in page.prose() {
            // Tables have a row a line.
            let is_long = line.chars().count() > 120 && !line.starts_with('|');
            assert!(!is_long, "{}:{number} is too long", page.path);
        }
    }
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = read("docs/SUMMARY.md");
    let listed: BTreeSet<&str> = links(&summary).into_iter().map(|(_, target)| target).collect();
    for page in pages::all() {
        if let Some(name) = page.path.strip_prefix("docs/")
            && name != "SUMMARY.md"
        {
            assert!(listed.contains(name), "docs/SUMMARY.md does not list {name}");
            assert!(page.text.starts_with("# "), "{} does not begin with its title", page.path);
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let mut followed = 0;
    for page in pages::all().into_iter().chain(OTHERS.map(read)) {
        let (folder, is_in_the_book) = match page.path.rsplit_once('/') {
            Some((folder, _)) => (folder, folder.starts_with("docs")),
            None => ("", false),
        };
        for (line, target) in links(&page) {
            let at = format!("{}:{line}", page.path);
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let known = if path.is_empty() {
                anchors(&page)
            } else {
                let file = home().join(folder).join(path);
                assert!(file.exists(), "{at} links to {target}, which is not there");
                // The book has nothing else.
                assert!(
                    !is_in_the_book || !path.contains(".."),
                    "{at} links out of docs/: {target}"
                );
                if path.ends_with(".md") {
                    let text = fs::read_to_string(file).unwrap();
                    anchors(&Page { path: path.to_owned(), text })
                } else {
                    BTreeSet::new()
                }
            };
            let is_there = anchor.is_empty() || known.contains(anchor);
            assert!(is_there, "{at}: {path} has no heading #{anchor}, only {known:?}");
            followed += 1;
        }
    }
    assert!(followed > 20, "only {followed} links are found");
}

#[test]
fn every_block_says_whether_it_is_run() {
    for page in pages::all() {
        for block in page.blocks() {
            let at = format!("{}:{}", page.path, block.line);
            assert!(MARKS.contains(&&*block.mark), "{at}: ```{} is none of {MARKS:?}", block.mark);
            assert!(!block.text.trim().is_empty(), "{at}: an empty block");
        }
        // An indented block would be run by nobody.
        let mut was_blank = true;
        for (number, line) in page.prose() {
            let is_code = was_blank && line.starts_with("    ");
            assert!(!is_code, "{}:{number}: put the code between fences", page.path);
            was_blank = line.trim().is_empty();
        }
    }
}

/// The variants of a public enum of the sources.
fn variants(path: &str, name: &str) -> Vec<String> {
    let text = read(path).text;
    let (_, body) = text.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let lines = lines.filter(|line| line.starts_with(|letter: char| letter.is_ascii_uppercase()));
    lines.map(|line| line.split(['(', ',', ' ']).next().unwrap().to_owned()).collect()
}

#[test]
fn errors_of_the_library_are_explained_one_by_one() {
    let page = read("docs/library.md");
    let mut explained = 0;
    for (path, name) in [
        ("src/config/error.rs", "ConfigError"),
        ("src/embed/desk.rs", "Refused"),
        ("src/embed/node.rs", "NodeError"),
        ("src/embed/replica.rs", "ReadError"),
        ("src/embed/subscription.rs", "NoEntry"),
    ] {
        let head = format!("| `{name}");
        let rows: Vec<&str> = page.text.lines().filter(|line| line.starts_with(&head)).collect();
        for variant in variants(path, name) {
            let names = [format!("`{name}::{variant}`"), format!("`{variant}`")];
            let is_there = rows.iter().any(|row| names.iter().any(|name| row.contains(name)));
            assert!(is_there, "docs/library.md does not explain {name}::{variant}");
            explained += 1;
        }
    }
    assert!(explained > 12, "only {explained} are found");
}

#[test]
fn output_is_compared_line_by_line() {
    assert!(is_as_said("a\nb\n", "a\nb\n") && is_as_said("", ""));
    assert!(is_as_said("...\nb\n...\n", "a\nb\n") && is_as_said("a\n...\n", "a\n"));
    for (said, printed) in
        [("a\n", "a\nb\n"), ("b\n", "a\nb\n"), ("a\n...\nc\n", "a\nb\n"), ("a\n", "")]
    {
        assert!(!is_as_said(said, printed), "{said:?} {printed:?}");
    }
}

#[test]
fn blocks_and_prose_are_told_apart() {
    let text =
        "# T\n\n```sh excerpt\n# no heading\n```\n\n* x\n\n  ```text\n  y\n   z\n  ```\nend\n";
    let page = Page { path: "x".to_owned(), text: text.to_owned() };
    let blocks = page.blocks();
    let marks: Vec<_> = blocks.iter().map(|block| (block.line, &*block.mark)).collect();
    assert_eq!(marks, [(3, "sh excerpt"), (9, "text")]);
    assert_eq!(blocks[1].text, "y\n z\n");
    assert_eq!(page.prose().last(), Some(&(13, "end")));
    assert_eq!(anchors(&page), ["t".to_owned()].into());
}
