//! What does a process do with a control entry whose kind it does not know?
//!
//! Logs outlive releases, so a process may meet entries that a later release has written. The
//! number of the kind says what it must do then, as in the chunks of a PNG file:
//!
//! * **Advice** has a kind from 128 to 255. A process that does not know it ignores it.
//! * Every other kind **must be understood**: where sessions stand, who takes part, or what is
//!   delivered above may depend on it. A process that delivers the log, or takes it up, stops in
//!   front of such an entry, and says which release it needs (`DecidedLog::stopped_by`). Acceptors
//!   that run as processes of their own only keep entries, and go on; a node ends as a whole.
//!
//! All kinds have the rest of the form in common: the content begins with [`MARK`] and the kind,
//! stands in consecutive pieces, and its hash is their series. So a process can distinguish a
//! complete entry of an unknown kind from the remains of a leader that died half way, which nobody
//! heeds.
//!
//! The meaning of a kind never changes, and nothing is added to it: that is a new kind. A release
//! whose new kind has lasting effects that a checkpoint cannot say writes its checkpoints in a new
//! kind that must be understood as well, for a process that begins there has not passed the
//! entries below. (What [`Finished`](super::Finished) and a sparing limit do, it says.)
//!
//! Only decided entries count: an entry that is proposed and never decided stops nobody.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::{CHECKPOINT, FINISHED, HISTORY, Instance, LIMIT, MARK, SPARING_LIMIT, UNTIMED, take};

/// The kinds of advice.
const ADVICE: RangeInclusive<u64> = 128..=255;

/// A decided control entry that must be understood, and that this release does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnknownKind {
    /// The number of its kind.
    pub kind: u64,
    /// Where its last piece stands.
    pub at: Instance,
}

/// The kind of a control entry whose content begins like this, unless this release knows it.
/// Content without a kind is of the oldest version, or meaningless.
pub fn unknown_kind(content: &[u8]) -> Option<u64> {
    let known = [UNTIMED, LIMIT, CHECKPOINT, HISTORY, FINISHED, SPARING_LIMIT];
    kind(content).filter(|kind| !known.contains(kind))
}

fn kind(mut content: &[u8]) -> Option<u64> {
    let content = &mut content;
    if take(content)? == MARK { take(content) } else { None }
}

/// What people call a control entry whose content begins like this.
pub fn kind_name(content: &[u8]) -> Cow<'static, str> {
    match kind(content) {
        // The oldest version wrote checkpoints without a kind.
        None | Some(UNTIMED | CHECKPOINT) => "checkpoint".into(),
        Some(LIMIT | SPARING_LIMIT) => "limit".into(),
        Some(FINISHED) => "finished".into(),
        Some(HISTORY) => "history".into(),
        Some(kind) => format!("control-{kind}").into(),
    }
}

/// Whether a process that does not know this kind must not pass it.
pub fn must_be_understood(kind: u64) -> bool {
    !ADVICE.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::checkpoint::{Checkpoint, Finished, Head, History, Limit};
    use crate::protocol::types::{Entry, LogTime};

    fn content(entry: &Entry) -> &[u8] {
        match entry {
            Entry::Checkpoint { bytes, .. } => bytes.as_bytes(),
            other => panic!("{other} is no control entry"),
        }
    }

    #[test]
    fn what_this_release_writes_is_known() {
        let (of, first, time) = (Instance(9), Instance::FIRST, LogTime::NONE);
        let head = Head { of, keep: of, trim: first, forget: first, idle_below: first, time };
        let (sessions, open, horizon) = (Vec::new(), Vec::new(), first);
        let checkpoint = Checkpoint { head, name: 1, sessions, horizon, open };
        let history = History { of, written: time, points: Vec::new() };
        let limit = |is_sparing| Limit { sessions: 9, is_sparing }.entry();
        let finished = Finished { sessions: Vec::new() }.entry();
        let written = checkpoint.pieces(1000).into_iter().chain([
            limit(true),
            limit(false),
            history.entry(),
            finished,
        ]);
        written.for_each(|entry| assert_eq!(unknown_kind(content(&entry)), None));
        // The oldest version wrote no kind.
        assert_eq!(unknown_kind(&[9, 7, 6]), None);
        assert_eq!(unknown_kind(&[]), None);
        assert_eq!(unknown_kind(&[0]), None);
    }

    #[test]
    fn what_is_read_by_people_has_a_name() {
        for (content, name) in [
            (&[0, 1][..], "checkpoint"),
            (&[0, 2, 9], "limit"),
            (&[0, 3], "checkpoint"),
            (&[0, 4], "history"),
            (&[0, 77], "control-77"),
            (&[9, 7], "checkpoint"),
        ] {
            assert_eq!(kind_name(content), name, "{content:?}");
        }
    }

    #[test]
    fn the_number_of_a_kind_says_whether_it_may_be_passed() {
        for (kind, is_needed) in [
            (&[0, 0][..], true),
            (&[0, 7], true),
            (&[0, 127], true),
            (&[0, 128], false),
            (&[0, 250, 1, 2], false),
            (&[0, 251, 255, 0], false),
            (&[0, 251, 0, 1], true),
            (&[0, 253, 0, 0, 0, 0, 0, 0, 0, 1], true),
        ] {
            let unknown = unknown_kind(kind).expect("nobody knows it");
            assert_eq!(must_be_understood(unknown), is_needed, "{unknown}");
        }
    }
}
