//! Is a learner's output an interleaving of the clients' inputs?
//!
//! Where lines differ, each entry has one explanation and this is counting. Equal lines are
//! different values, so an entry may be any of several clients' next line, and then whether a
//! whole log has an explanation is a hard question (it is the shuffle problem, NP-complete for many
//! clients). So there are two ways, and both are bounded:
//!
//! 1. [`first_excess`], linear: what every explanation needs. It lets each client advance whenever
//!    its next line is delivered to anybody, and demands that no value is delivered more often than
//!    clients have come to it. Everything it finds is a real error.
//! 2. [`search`]: looks for an explanation, depth first, trying the client with most lines left
//!    first, as it can go on longest. Dead ends are remembered, and clients with the same lines
//!    left count as one. An honest log needs hardly any backtracking. The answer is exact, unless
//!    it had to backtrack more than `WAYS_BACK_MAX` times; then the first method decides.
//!
//! A log may begin behind what others hold: the learner was started when the beginning was removed,
//! or was told to begin later. Then each client may begin with any of its lines, as long as no more
//! lines are missing than there are instances in front of the log.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// How often the search goes back before the linear check has the last word.
const WAYS_BACK_MAX: usize = 1 << 20;

/// An entry of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivered<'a> {
    pub value: &'a [u8],
    /// A client asked for it at this very instance, so it need not be another's next line.
    pub is_asked: bool,
    /// It can be a client's next line: it comes behind all that must be.
    pub is_in_order: bool,
}

/// The result for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Explained {
    /// The place of the first entry that has no explanation.
    pub unexplained: Option<usize>,
    /// How many entries before it are clients' next lines.
    pub delivered: usize,
}

/// Explains `log` by the lines that clients were `fed`.
pub(super) fn explain(fed: &[&[&[u8]]], log: &[Delivered<'_>]) -> Explained {
    explain_within(fed, log, 0, WAYS_BACK_MAX)
}

/// Explains a `log` in front of which up to `missing` lines of the clients may be missing.
pub(super) fn explain_end(fed: &[&[&[u8]]], log: &[Delivered<'_>], missing: usize) -> Explained {
    explain_within(fed, log, missing, WAYS_BACK_MAX)
}

fn explain_within(
    fed: &[&[&[u8]]],
    log: &[Delivered<'_>],
    missing: usize,
    ways_back: usize,
) -> Explained {
    let mut names: HashMap<&[u8], usize> = HashMap::new();
    let mut numbered = Vec::with_capacity(fed.len());
    for lines in fed {
        let mut numbers = Vec::with_capacity(lines.len());
        for line in *lines {
            let next = names.len();
            numbers.push(*names.entry(line).or_insert(next));
        }
        numbered.push(numbers);
    }
    let fed = numbered;
    let values = names.len();
    // A value that nobody was fed is nobody's next line.
    let entries: Vec<Entry> = log
        .iter()
        .map(|entry| Entry {
            value: names.get(entry.value).copied().filter(|_| entry.is_in_order),
            is_asked: entry.is_asked,
        })
        .collect();
    let excess = if missing == 0 {
        first_excess(&fed, values, &entries)
    } else {
        first_beyond_all(&fed, values, &entries)
    };
    let within = excess.map_or(entries.len(), |place| place + 1);
    let found = Search::new(&fed, values, &entries[..within], missing).run(ways_back);
    found.unwrap_or_else(|| {
        let end = excess.unwrap_or(entries.len());
        let delivered = entries[..end].iter().filter(|entry| !entry.is_asked).count();
        Explained { unexplained: excess, delivered }
    })
}

/// An entry with a number for its value.
struct Entry {
    /// None: it can be nobody's next line.
    value: Option<usize>,
    is_asked: bool,
}

/// The first entry that is delivered more often than any explanation allows.
fn first_excess(fed: &[Vec<usize>], values: usize, entries: &[Entry]) -> Option<usize> {
    // Per value: the clients that wait for it, how often clients came to it, how often it must have
    // been a client's line.
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); values];
    let (mut reached, mut used) = (vec![0usize; values], vec![0usize; values]);
    let mut places = vec![0usize; fed.len()];
    for (client, lines) in fed.iter().enumerate() {
        if let Some(first) = lines.first() {
            waiting[*first].push(client);
        }
    }
    for (place, entry) in entries.iter().enumerate() {
        let Some(value) = entry.value else {
            if entry.is_asked {
                continue;
            }
            return Some(place);
        };
        for client in std::mem::take(&mut waiting[value]) {
            reached[value] += 1;
            places[client] += 1;
            if let Some(next) = fed[client].get(places[client]) {
                waiting[*next].push(client);
            }
        }
        used[value] += usize::from(!entry.is_asked);
        if used[value] > reached[value] {
            return Some(place);
        }
    }
    None
}

/// The first entry that is delivered more often than clients were fed it, wherever they began.
fn first_beyond_all(fed: &[Vec<usize>], values: usize, entries: &[Entry]) -> Option<usize> {
    let mut left = vec![0usize; values];
    fed.iter().flatten().for_each(|value| left[*value] += 1);
    entries.iter().position(|entry| match entry.value {
        _ if entry.is_asked => false,
        None => true,
        Some(value) if left[value] == 0 => true,
        Some(value) => {
            left[value] -= 1;
            false
        }
    })
}

/// The search for an explanation.
struct Search<'a> {
    fed: &'a [Vec<usize>],
    entries: &'a [Entry],
    /// Per client: for each place, a hash of the lines from there on.
    left: Vec<Vec<u128>>,
    places: Vec<usize>,
    /// Per value: the clients whose next line it is, by how many lines they have left.
    waiting: Vec<BTreeSet<(usize, usize)>>,
    /// Per client: it has delivered a line, or must begin with its first.
    has_begun: Vec<bool>,
    /// Per value: at which places the clients that may begin anywhere have it.
    beginnings: Vec<BTreeMap<usize, Vec<usize>>>,
    /// How many more lines may be missing in front of the log.
    may_miss: usize,
    /// A hash of what the clients have left, no matter which client has it.
    state: u128,
    /// How each entry so far is explained.
    taken: Vec<Taken>,
    /// How many of them are clients' next lines.
    delivered: usize,
    /// The states from which there is no way on.
    dead: HashSet<u128>,
}

/// How an entry is explained.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// As the next line of a client that had this many left.
    Line { left: usize, client: usize },
    /// As the first line of a client: the one at this place, after lines that are missing.
    Beginning { client: usize, place: usize },
    /// As what a client asked for at this instance.
    Asked,
}

impl<'a> Search<'a> {
    fn new(fed: &'a [Vec<usize>], values: usize, entries: &'a [Entry], may_miss: usize) -> Self {
        let left: Vec<Vec<u128>> = fed.iter().map(|lines| hashes(lines)).collect();
        let mut beginnings = vec![BTreeMap::<usize, Vec<usize>>::new(); values];
        if may_miss > 0 {
            for (client, lines) in fed.iter().enumerate() {
                for (place, value) in lines.iter().enumerate() {
                    beginnings[*value].entry(client).or_default().push(place);
                }
            }
        }
        let mut search = Search {
            fed,
            entries,
            state: left.iter().map(|hashes| hashes[0]).fold(0, u128::wrapping_add),
            left,
            places: vec![0; fed.len()],
            waiting: vec![BTreeSet::new(); values],
            has_begun: vec![may_miss == 0; fed.len()],
            beginnings,
            may_miss,
            taken: Vec::with_capacity(entries.len()),
            delivered: 0,
            dead: HashSet::new(),
        };
        for client in 0..fed.len() {
            if may_miss == 0 {
                search.await_next(client);
            } else {
                search.set_begun(client, false);
            }
        }
        search
    }

    /// None: it would have to go back more than `ways_back` times.
    fn run(mut self, ways_back: usize) -> Option<Explained> {
        let mut deepest = Explained { unexplained: None, delivered: 0 };
        let mut next = self.first_choice();
        loop {
            if self.taken.len() == self.entries.len() {
                return Some(Explained { unexplained: None, delivered: self.delivered });
            }
            if let Some(taken) = next {
                self.take(taken);
                let is_dead = !self.dead.is_empty() && self.dead.contains(&self.key());
                next = if is_dead { self.other_choice() } else { self.first_choice() };
                continue;
            }
            let depth = self.taken.len();
            if deepest.unexplained.is_none_or(|place| place < depth) {
                deepest = Explained { unexplained: Some(depth), delivered: self.delivered };
            }
            if depth == 0 {
                return Some(deepest);
            }
            if self.dead.len() == ways_back {
                return None;
            }
            self.dead.insert(self.key());
            next = self.other_choice();
        }
    }

    /// The state and how far the log is explained: the rest depends on nothing else.
    fn key(&self) -> u128 {
        self.state ^ mix(self.taken.len() as u128 | (self.may_miss as u128) << 64)
    }

    /// The first explanation to try for the next entry.
    fn first_choice(&self) -> Option<Taken> {
        let entry = self.entries.get(self.taken.len())?;
        let line = entry.value.and_then(|value| self.waiting[value].last());
        line.map(|(left, client)| Taken::Line { left: *left, client: *client })
            .or_else(|| self.beginning(entry.value?, (0, 0)))
            .or_else(|| entry.is_asked.then_some(Taken::Asked))
    }

    /// The first client, from this one and this place on, that may begin with `value`.
    fn beginning(&self, value: usize, (from, place): (usize, usize)) -> Option<Taken> {
        self.beginnings[value].range(from..).find_map(|(client, places)| {
            if self.has_begun[*client] {
                return None;
            }
            let least = if *client == from { place } else { 0 };
            let place = *places.get(places.partition_point(|place| *place < least))?;
            (place <= self.may_miss).then_some(Taken::Beginning { client: *client, place })
        })
    }

    /// Takes the last choice back, and returns the next explanation to try.
    fn other_choice(&mut self) -> Option<Taken> {
        let tried = self.take_back()?;
        let entry = self.entries.get(self.taken.len())?;
        let value = entry.value?;
        let asked = || entry.is_asked.then_some(Taken::Asked);
        let (left, client) = match tried {
            Taken::Line { left, client } => (left, client),
            Taken::Beginning { client, place } => {
                return self.beginning(value, (client, place + 1)).or_else(asked);
            }
            Taken::Asked => return None,
        };
        let rest = |client: usize| self.left[client][self.places[client]];
        let others = self.waiting[value].range(..(left, client)).rev();
        // A client with the same lines left would give the same result.
        let mut others = others.filter(|(_, other)| rest(*other) != rest(client));
        others
            .next()
            .map(|(left, client)| Taken::Line { left: *left, client: *client })
            .or_else(|| self.beginning(value, (0, 0)))
            .or_else(asked)
    }

    fn take(&mut self, taken: Taken) {
        match taken {
            Taken::Line { client, .. } => self.advance(client, true),
            Taken::Beginning { client, place } => {
                self.set_begun(client, true);
                self.may_miss -= place;
                self.go_to(client, place + 1);
            }
            Taken::Asked => {}
        }
        self.delivered += usize::from(!matches!(taken, Taken::Asked));
        self.taken.push(taken);
    }

    fn take_back(&mut self) -> Option<Taken> {
        let taken = self.taken.pop()?;
        match taken {
            Taken::Line { client, .. } => self.advance(client, false),
            Taken::Beginning { client, place } => {
                self.go_to(client, 0);
                self.may_miss += place;
                self.set_begun(client, false);
            }
            Taken::Asked => {}
        }
        self.delivered -= usize::from(!matches!(taken, Taken::Asked));
        Some(taken)
    }

    /// Moves a client a line on, or back.
    fn advance(&mut self, client: usize, is_on: bool) {
        let place = self.places[client];
        self.go_to(client, if is_on { place + 1 } else { place - 1 });
    }

    /// Says whether a client, which is at its first line, waits for that one or for any.
    fn set_begun(&mut self, client: usize, has_begun: bool) {
        let first = self.left[client][0];
        let (before, after) = if has_begun { (mix(first), first) } else { (first, mix(first)) };
        self.state = self.state.wrapping_sub(before).wrapping_add(after);
        self.has_begun[client] = has_begun;
        if has_begun {
            self.await_next(client);
        } else if let Some(value) = self.fed[client].first() {
            self.waiting[*value].remove(&(self.fed[client].len(), client));
        }
    }

    fn go_to(&mut self, client: usize, to: usize) {
        let place = self.places[client];
        if let Some(value) = self.fed[client].get(place) {
            self.waiting[*value].remove(&(self.fed[client].len() - place, client));
        }
        self.state = self.state.wrapping_sub(self.left[client][place]);
        self.places[client] = to;
        self.state = self.state.wrapping_add(self.left[client][self.places[client]]);
        self.await_next(client);
    }

    fn await_next(&mut self, client: usize) {
        let place = self.places[client];
        if let Some(value) = self.fed[client].get(place) {
            self.waiting[*value].insert((self.fed[client].len() - place, client));
        }
    }
}

/// For each place of `lines`, and their end, a hash of the rest.
fn hashes(lines: &[usize]) -> Vec<u128> {
    let mut hashes = vec![1; lines.len() + 1];
    for (place, line) in lines.iter().enumerate().rev() {
        hashes[place] = mix(hashes[place + 1] ^ mix(*line as u128 + 1));
    }
    hashes
}

/// Spreads every bit of a number over all of them. Nothing here is a secret.
fn mix(number: u128) -> u128 {
    let number = (number ^ (number >> 67)).wrapping_mul(0xda94_2042_e4dd_58b5_9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 61)).wrapping_mul(0x2545_f491_4f6c_dd1d_d6e8_feb8_6659_fd93);
    number ^ (number >> 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Explains a log of letters by clients' letters; a capital letter is asked for as well.
    fn explained(fed: &[&str], log: &str, ways_back: usize) -> Explained {
        end_explained(fed, log, 0, ways_back)
    }

    /// The same of a log in front of which lines may be missing.
    fn end_explained(fed: &[&str], log: &str, missing: usize, ways_back: usize) -> Explained {
        let lines: Vec<Vec<&[u8]>> =
            fed.iter().map(|lines| lines.as_bytes().chunks(1).collect()).collect();
        let lines: Vec<&[&[u8]]> = lines.iter().map(Vec::as_slice).collect();
        let lower = log.to_ascii_lowercase();
        let entries: Vec<Delivered<'_>> = log
            .bytes()
            .zip(lower.as_bytes().chunks(1))
            .map(|(letter, value)| Delivered {
                value,
                is_asked: letter.is_ascii_uppercase(),
                is_in_order: true,
            })
            .collect();
        explain_within(&lines, &entries, missing, ways_back)
    }

    /// All explanations at once, with which the search must agree.
    fn by_hand(fed: &[&str], log: &str, missing: usize) -> Option<usize> {
        let (mut states, mut all) = (BTreeSet::new(), vec![vec![]]);
        for lines in fed {
            let places = |state: &Vec<usize>| {
                let state = state.clone();
                (0..lines.len().max(1)).map(move |place| [&state[..], &[place]].concat())
            };
            all = all.iter().flat_map(places).collect();
        }
        let is_near = |state: &Vec<usize>| state.iter().sum::<usize>() <= missing;
        states.extend(all.into_iter().filter(is_near));
        for (place, letter) in log.bytes().enumerate() {
            let mut next = BTreeSet::new();
            for state in &states {
                for (client, lines) in fed.iter().enumerate() {
                    let line = lines.as_bytes().get(state[client]);
                    if line == Some(&letter.to_ascii_lowercase()) {
                        let mut advanced = state.clone();
                        advanced[client] += 1;
                        next.insert(advanced);
                    }
                }
                if letter.is_ascii_uppercase() {
                    next.insert(state.clone());
                }
            }
            if next.is_empty() {
                return Some(place);
            }
            states = next;
        }
        None
    }

    #[test]
    fn the_search_agrees_with_all_explanations_at_once() {
        let mut rng = Rng::new(7);
        let mut below = |bound: u64| rng.below(bound);
        for _ in 0..4000 {
            let letters = 1 + below(3);
            let mut word = |most: u64, capitals: bool| -> String {
                (0..below(most))
                    .map(|_| {
                        let letter = (b'a' + below(letters) as u8) as char;
                        let is_capital = capitals && below(4) == 0;
                        if is_capital { letter.to_ascii_uppercase() } else { letter }
                    })
                    .collect()
            };
            let fed = [word(8, false), word(8, false), word(5, false)];
            let fed: Vec<&str> = fed.iter().map(String::as_str).collect();
            let log = word(16, true);
            let expected = by_hand(&fed, &log, 0);
            let exact = explained(&fed, &log, WAYS_BACK_MAX);
            assert_eq!(exact.unexplained, expected, "{fed:?} {log}");
            // Without any way back, nothing right is called wrong, and nothing earlier.
            let hasty = explained(&fed, &log, 0).unexplained;
            assert!(hasty.is_none() || expected.is_some() && hasty >= expected, "{fed:?} {log}");
        }
    }

    #[test]
    fn the_search_agrees_where_the_beginning_is_missing() {
        let mut rng = Rng::new(8);
        let mut held = 0;
        for _ in 0..3000 {
            let letters = 1 + rng.below(4);
            let mut word = |most: u64, capitals: u64| -> String {
                let mut letter = || (b'a' + rng.below(letters) as u8) as char;
                let letters: Vec<char> = (0..most).map(|_| letter()).collect();
                let cased = letters.iter().map(|letter| {
                    if rng.below(8) < capitals { letter.to_ascii_uppercase() } else { *letter }
                });
                cased.collect()
            };
            let fed = [word(6, 0), word(4, 0)];
            let fed: Vec<&str> = fed.iter().map(String::as_str).collect();
            let log = word(5, 1);
            for missing in 1..5 {
                let expected = by_hand(&fed, &log, missing);
                let exact = end_explained(&fed, &log, missing, WAYS_BACK_MAX).unexplained;
                assert_eq!(exact, expected, "{fed:?} {log} {missing}");
                let hasty = end_explained(&fed, &log, missing, 0).unexplained;
                assert!(hasty.is_none() || expected.is_some() && hasty >= expected, "{log}");
                held += u32::from(expected.is_none());
            }
        }
        assert!(held > 1000, "{held}");
    }

    #[test]
    fn what_is_wrong_is_found_without_any_way_back() {
        for (fed, log, place) in [
            (&["aab", "ac"][..], "aaca!", 4),
            (&["aaa", "aa"], "aaaaaa", 5),
            (&["ab", "cd"], "ba", 0),
            (&["ab", "cd"], "acdbb", 4),
        ] {
            assert_eq!(explained(fed, log, 0).unexplained, Some(place), "{fed:?} {log}");
        }
    }

    #[test]
    fn equal_lines_of_many_clients_cost_no_more_than_others() {
        let line = "x".repeat(20_000);
        for clients in [1, 3, 20] {
            let fed = vec![line.as_str(); clients];
            let all = line.repeat(clients);
            // Not one way back: the first explanation that is tried is one.
            assert_eq!(explained(&fed, &all, 0).delivered, all.len());
            let end = &all[..all.len() - 9_999];
            assert_eq!(end_explained(&fed, end, 9_999, 0).delivered, end.len());
            assert_eq!(explained(&fed, &format!("{all}x"), 0).unexplained, Some(all.len()));
        }
        let fed = ["ab".repeat(10_000), "ab".repeat(10_000), "b".repeat(9)];
        let fed: Vec<&str> = fed.iter().map(String::as_str).collect();
        let log = format!("{}{}", "aabb".repeat(10_000), "b".repeat(9));
        assert_eq!(explained(&fed, &log, 1000).delivered, log.len());
    }
}
