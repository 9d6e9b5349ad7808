//! Patterns of KEYS and SCAN.

/// Whether the whole of `text` fits the pattern: `*` any bytes, `?` one, `[a-c]` and `[^a]` one of
/// those, `\` the next as it stands. It takes time for pattern times text, and no more.
pub fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where to go on when what follows the last star does not fit.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, from));
            at += 1;
            continue;
        }
        if let Some(next) = one(&pattern[at..], text[from]) {
            (at, from) = (at + next, from + 1);
        } else if let Some((after, tried)) = star {
            star = Some((after, tried + 1));
            (at, from) = (after, tried + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// How long the part of the pattern is that fits one byte, if it does.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', plain, ..] => (*plain == byte).then_some(2),
        [b'[', rest @ ..] => {
            let (is_in, length) = class(rest, byte);
            is_in.then_some(1 + length)
        }
        [plain, ..] => (*plain == byte).then_some(1),
    }
}

/// Whether a byte is in the class behind a bracket, and how long that is with its end. One without
/// an end goes to the end of the pattern.
fn class(pattern: &[u8], byte: u8) -> (bool, usize) {
    let is_not = pattern.first() == Some(&b'^');
    let mut at = usize::from(is_not);
    let mut is_in = false;
    loop {
        match &pattern[at..] {
            [] => return (is_in != is_not, at),
            [b']', ..] => return (is_in != is_not, at + 1),
            [b'\\', plain, ..] => {
                is_in |= *plain == byte;
                at += 2;
            }
            [low, b'-', high, ..] => {
                let (low, high) = (low.min(high), low.max(high));
                is_in |= (*low..=*high).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                is_in |= *plain == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_fit_as_a_whole() {
        for (pattern, text) in [
            ("*", ""),
            ("h?llo", "hallo"),
            ("h*llo*", "heeello there"),
            ("h[ae]llo", "hello"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            (r"h\*llo", "h*llo"),
            (r"[\]]", "]"),
            ("a[bc", "ac"),
            ("**a*", "bab"),
        ] {
            assert!(fits(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("?", ""), ("h[^e]llo", "hello"), ("a", "ab"), ("*a", "ab"), ("[]a]", "a")]
        {
            assert!(!fits(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let pattern = "*a".repeat(2000) + "b";
        assert!(!fits(pattern.as_bytes(), "a".repeat(20_000).as_bytes()));
    }
}
