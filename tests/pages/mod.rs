//! The README and the pages of docs/, and the blocks of code in them, for the tests that read them.

// Each of the tests that share this uses a part of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// A page of the documentation.
pub struct Page {
    /// Its path from the project's root.
    pub path: String,
    pub text: String,
}

/// A fenced block of code.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its opening fence, from 1.
    pub line: usize,
    /// The word behind the opening fence.
    pub mark: String,
    /// Its lines, without the indentation of the fence.
    pub text: String,
}

pub fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and every page of docs/ and docs/lectures/.
pub fn all() -> Vec<Page> {
    let folders = ["docs", "docs/lectures"].map(|folder| fs::read_dir(home().join(folder)));
    let entries = folders.into_iter().flat_map(Result::unwrap);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "md"));
    paths.push(home().join("README.md"));
    paths.sort();
    let page = |path: &PathBuf| {
        let name = path.strip_prefix(home()).unwrap().to_string_lossy().into_owned();
        Page { path: name, text: fs::read_to_string(path).unwrap() }
    };
    paths.iter().map(page).collect()
}

impl Page {
    /// Its blocks in order.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<(usize, Block)> = None;
        for (line, text) in (1..).zip(self.text.lines()) {
            let fence = text.trim_start().strip_prefix("```");
            match (&mut open, fence) {
                (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
                (Some((indent, block)), None) => {
                    block.text += text.get(*indent..).unwrap_or_default();
                    block.text.push('\n');
                }
                (None, Some(mark)) => {
                    let indent = text.len() - text.trim_start().len();
                    let mark = mark.to_owned();
                    open = Some((indent, Block { line, mark, text: String::new() }));
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is not closed: {open:?}", self.path);
        blocks
    }

    /// Its lines outside of blocks, with their numbers.
    pub fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_code = false;
        let lines = (1..).zip(self.text.lines());
        lines
            .filter(|(_, line)| {
                let is_fence = line.trim_start().starts_with("```");
                is_code ^= is_fence;
                !is_code && !is_fence
            })
            .collect()
    }
}

/// Whether `printed` is what the page says. A line `...` of it stands for any number of lines, even
/// none.
pub fn is_as_said(said: &str, printed: &str) -> bool {
    fn fits(said: &[&str], printed: &[&str]) -> bool {
        match (said, printed) {
            ([], _) => printed.is_empty(),
            (["...", rest @ ..], _) => (0..=printed.len()).any(|from| fits(rest, &printed[from..])),
            ([line, rest @ ..], [first, others @ ..]) => line == first && fits(rest, others),
            ([_, ..], []) => false,
        }
    }
    let [said, printed]: [Vec<&str>; 2] = [said, printed].map(|text| text.lines().collect());
    fits(&said, &printed)
}
