//! What a program runs of a source file, for the tests that read the sources.

// A test that cannot set itself up has failed.
#![allow(clippy::unwrap_used)]

/// The text of a file without the items that only tests compile: each `#[cfg(test)]` with the item
/// behind it, up to the line that closes it. What follows stays: many files have such an item
/// between others.
pub fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let of_item = |line: &&str| !line.trim_start().starts_with("#[");
        let first = lines.find(of_item).unwrap();
        // An item in several lines ends, as rustfmt writes it, at a brace that is indented like it.
        if !first.ends_with([';', ',', '}']) {
            let end = format!("{indent}}}");
            lines.find(|line| line.starts_with(&end)).unwrap();
        }
    }
    kept
}

#[test]
fn only_what_tests_compile_is_left_out() {
    let text = "\
mod a;
#[cfg(test)]
mod tests;

impl A {
    #[cfg(test)]
    #[must_use]
    pub fn b(
        c: u8,
    ) -> u8 {
        if c > 1 {
            c
        }
    }
    fn d() {
        #[cfg(test)]
        count();
        e();
    }
}
#[cfg(all(test, feature = \"bugs\"))]
mod f;

#[cfg(test)]
mod tests {
    use g;
}
";
    let left = "\
mod a;

impl A {
    fn d() {
        e();
    }
}
#[cfg(all(test, feature = \"bugs\"))]
mod f;

";
    assert_eq!(without_tests(text), left);
}
