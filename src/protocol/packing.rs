//! Packing entries and runs into what one datagram carries.

use super::types::{Counted, Entry, Instance, RUN_BYTES_MAX, Run};

/// Entries of consecutive instances: what one Accept, Decide or CatchUpReply carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The instance of the first entry.
    pub from: Instance,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// Splits entries in instance order into pages of consecutive instances that fit a datagram.
///
/// A page holds at least one entry, so one that is too large alone still gets a page of its own.
pub fn pages(
    entries: impl IntoIterator<Item = (Instance, Entry)>,
    page_bytes: usize,
) -> impl Iterator<Item = Page> {
    let mut entries = entries.into_iter().peekable();
    std::iter::from_fn(move || {
        let (from, entry) = entries.next()?;
        let mut bytes = entry.wire_bytes_max();
        let mut page = Page { from, entries: vec![entry] };
        let mut expected = from.next();
        while let Some((_, entry)) = entries.next_if(|(instance, entry)| {
            *instance == expected && bytes + entry.wire_bytes_max() <= page_bytes
        }) {
            bytes += entry.wire_bytes_max();
            expected = expected.next();
            page.entries.push(entry);
        }
        Some(page)
    })
}

/// How many runs fit a datagram.
pub fn runs_per_page(page_bytes: usize) -> usize {
    (page_bytes / RUN_BYTES_MAX).max(1)
}

/// Sorts items and gathers them into runs.
pub fn gather_unordered<T: Counted>(mut items: Vec<T>) -> Vec<Run<T>> {
    items.sort_unstable();
    Run::gather(items)
}

/// Sorts runs and joins those that touch or overlap.
pub fn merge<T: Counted>(mut runs: Vec<Run<T>>) -> Vec<Run<T>> {
    runs.sort_unstable();
    let mut merged: Vec<Run<T>> = Vec::new();
    for run in runs {
        match merged.last_mut() {
            Some(last) if run.from <= last.until => last.until = last.until.max(run.until),
            _ => merged.push(run),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_break_at_holes_and_at_the_limit() {
        let entries = [1, 2, 3, 4, 7].map(|number| (Instance(number), Entry::Noop));
        let pages: Vec<_> =
            pages(entries, 3).map(|page| (page.from.0, page.entries.len())).collect();
        assert_eq!(pages, [(1, 3), (4, 1), (7, 1)]);
    }
}
