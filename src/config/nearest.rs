//! Which known key looks most like an unknown one? For error messages.

use super::KEYS;
use super::groups::GROUPS;

/// Says that there is no such key, and which one may have been meant.
pub(super) fn unknown(key: &str) -> String {
    let (nearest, edits) = nearest(key);
    // If a word shares little with every key, the nearest one was not meant.
    if edits <= 2.max(key.chars().count() / 3) {
        format!("unknown key {key}; did you mean {nearest}?")
    } else {
        format!(
            "unknown key {key}; none is much like it (the nearest is {nearest}); conf/paxos.conf \
             of the project has all of them"
        )
    }
}

/// The known key that looks most like `key`, and how many letters differ.
fn nearest(key: &str) -> (&'static str, usize) {
    let known = GROUPS.iter().map(|(_, name, _)| *name).chain(KEYS.iter().map(|key| key.name));
    let known = known.map(|known| (known, edits(key, known)));
    known.min_by_key(|(_, edits)| *edits).unwrap_or_default()
}

/// How many letters have to be put in, left out or changed (Levenshtein's distance).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_suggested_only_if_it_may_have_been_meant() {
        for (key, meant) in [
            ("acceptor_cuont", "acceptor_count"),
            ("acceptors_count", "acceptor_count"),
            ("til", "ttl"),
            ("learner", "learners"),
        ] {
            assert_eq!(unknown(key), format!("unknown key {key}; did you mean {meant}?"));
        }
        let said = unknown("foo");
        assert!(
            said.starts_with("unknown key foo; none is much like it (the nearest is "),
            "{said}"
        );
        assert!(!said.contains('\n'));
    }
}
