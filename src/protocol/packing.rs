//! How entries and runs are packed into datagrams.

use std::borrow::Cow;

use super::entries::EntriesBuilder;
use super::segments::Page;
use super::types::{Counted, Few, RUN_BYTES_MAX, Run};

/// Cuts and joins entries, which come in instance order, into pages of consecutive instances with
/// at most `bytes_max` bytes of entries.
///
/// A page holds at least one entry, so an entry that is too large still gets a page of its own.
pub fn pages(held: impl IntoIterator<Item = Page>, bytes_max: usize) -> impl Iterator<Item = Page> {
    let mut held = held.into_iter().peekable();
    let mut rest: Option<Page> = None;
    std::iter::from_fn(move || {
        let mut page = rest.take().or_else(|| held.next())?;
        if page.entries.bytes() > bytes_max {
            let fitting = page.entries.prefix(usize::MAX, bytes_max).len().max(1);
            let (head, tail) = page.split(fitting);
            rest = tail;
            return Some(head);
        }
        // Mostly a page leaves as it came.
        let (mut builder, mut until) = (EntriesBuilder::new(), page.run().until);
        while let Some(next) = held.next_if(|next| {
            let bytes = builder.bytes().max(page.entries.bytes());
            next.from == until && bytes + next.entries.bytes() <= bytes_max
        }) {
            if builder.is_empty() {
                builder.extend(&page.entries);
            }
            builder.extend(&next.entries);
            until = next.run().until;
        }
        if !builder.is_empty() {
            page.entries = builder.finish();
        }
        Some(page)
    })
}

/// How many runs fit a datagram.
pub fn runs_per_page(page_bytes: usize) -> usize {
    (page_bytes / RUN_BYTES_MAX).max(1)
}

/// The instances or numbers that `runs` name, each once and in order. A datagram may name the same
/// a thousand times, at no extra cost.
pub fn disjoint<T: Counted>(runs: &[Run<T>]) -> Cow<'_, [Run<T>]> {
    // Mostly they are.
    if runs.windows(2).all(|pair| pair[0].until < pair[1].from) {
        return Cow::Borrowed(runs);
    }
    Cow::Owned(merge(runs.to_vec()))
}

/// Removes the runs beyond the first `most`, and returns them.
pub fn rest<T>(runs: &mut Few<Run<T>>, most: usize) -> Few<Run<T>> {
    // Mostly there is nothing.
    if runs.len() <= most {
        return Few::new();
    }
    runs.drain(most..).collect()
}

/// The same for a list that is mostly short.
pub fn merged<T: Counted>(runs: Few<Run<T>>) -> Few<Run<T>> {
    if runs.len() < 2 { runs } else { merge(runs.into_vec()).into() }
}

/// Sorts runs and joins those that touch or overlap.
pub fn merge<T: Counted>(mut runs: Vec<Run<T>>) -> Vec<Run<T>> {
    runs.sort_unstable();
    runs.dedup_by(|run, last| {
        let touches = run.from <= last.until;
        if touches {
            last.until = last.until.max(run.until);
        }
        touches
    });
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::{Entry, Instance};

    #[test]
    fn pages_break_at_holes_and_at_the_limit() {
        let held = [(1, 1), (2, 1), (3, 1), (4, 1), (7, 5)].map(|(from, count)| Page {
            from: Instance(from),
            entries: vec![Entry::Noop; count].into(),
        });
        let pages: Vec<_> = pages(held, 3).map(|page| (page.from.0, page.entries.len())).collect();
        assert_eq!(pages, [(1, 3), (4, 1), (7, 3), (10, 2)]);
    }
}
