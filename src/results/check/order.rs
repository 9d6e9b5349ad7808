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

use std::collections::{BTreeSet, HashMap, HashSet};

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
    explain_within(fed, log, WAYS_BACK_MAX)
}

fn explain_within(fed: &[&[&[u8]]], log: &[Delivered<'_>], ways_back: usize) -> Explained {
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
    let excess = first_excess(&fed, values, &entries);
    let within = excess.map_or(entries.len(), |place| place + 1);
    let found = Search::new(&fed, values, &entries[..within]).run(ways_back);
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

/// The search for an explanation.
struct Search<'a> {
    fed: &'a [Vec<usize>],
    entries: &'a [Entry],
    /// Per client: for each place, a hash of the lines from there on.
    left: Vec<Vec<u128>>,
    places: Vec<usize>,
    /// Per value: the clients whose next line it is, by how many lines they have left.
    waiting: Vec<BTreeSet<(usize, usize)>>,
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
    /// As what a client asked for at this instance.
    Asked,
}

impl<'a> Search<'a> {
    fn new(fed: &'a [Vec<usize>], values: usize, entries: &'a [Entry]) -> Self {
        let left: Vec<Vec<u128>> = fed.iter().map(|lines| hashes(lines)).collect();
        let mut search = Search {
            fed,
            entries,
            state: left.iter().map(|hashes| hashes[0]).fold(0, u128::wrapping_add),
            left,
            places: vec![0; fed.len()],
            waiting: vec![BTreeSet::new(); values],
            taken: Vec::with_capacity(entries.len()),
            delivered: 0,
            dead: HashSet::new(),
        };
        for client in 0..fed.len() {
            search.await_next(client);
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
        self.state ^ mix(self.taken.len() as u128)
    }

    /// The first explanation to try for the next entry.
    fn first_choice(&self) -> Option<Taken> {
        let entry = self.entries.get(self.taken.len())?;
        let line = entry.value.and_then(|value| self.waiting[value].last());
        line.map(|(left, client)| Taken::Line { left: *left, client: *client })
            .or_else(|| entry.is_asked.then_some(Taken::Asked))
    }

    /// Takes the last choice back, and returns the next explanation to try.
    fn other_choice(&mut self) -> Option<Taken> {
        let tried = self.take_back()?;
        let entry = self.entries.get(self.taken.len())?;
        let (Taken::Line { left, client }, Some(value)) = (tried, entry.value) else {
            return None;
        };
        let rest = |client: usize| self.left[client][self.places[client]];
        let others = self.waiting[value].range(..(left, client)).rev();
        // A client with the same lines left would give the same result.
        let mut others = others.filter(|(_, other)| rest(*other) != rest(client));
        others
            .next()
            .map(|(left, client)| Taken::Line { left: *left, client: *client })
            .or_else(|| entry.is_asked.then_some(Taken::Asked))
    }

    fn take(&mut self, taken: Taken) {
        if let Taken::Line { client, .. } = taken {
            self.advance(client, true);
            self.delivered += 1;
        }
        self.taken.push(taken);
    }

    fn take_back(&mut self) -> Option<Taken> {
        let taken = self.taken.pop()?;
        if let Taken::Line { client, .. } = taken {
            self.advance(client, false);
            self.delivered -= 1;
        }
        Some(taken)
    }

    /// Moves a client a line on, or back.
    fn advance(&mut self, client: usize, is_on: bool) {
        let place = self.places[client];
        if let Some(value) = self.fed[client].get(place) {
            self.waiting[*value].remove(&(self.fed[client].len() - place, client));
        }
        self.state = self.state.wrapping_sub(self.left[client][place]);
        self.places[client] = if is_on { place + 1 } else { place - 1 };
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
        explain_within(&lines, &entries, ways_back)
    }

    /// All explanations at once, with which the search must agree.
    fn by_hand(fed: &[&str], log: &str) -> Option<usize> {
        let mut states = BTreeSet::from([vec![0; fed.len()]]);
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
            let expected = by_hand(&fed, &log);
            let exact = explained(&fed, &log, WAYS_BACK_MAX);
            assert_eq!(exact.unexplained, expected, "{fed:?} {log}");
            // Without any way back, nothing right is called wrong, and nothing earlier.
            let hasty = explained(&fed, &log, 0).unexplained;
            assert!(hasty.is_none() || expected.is_some() && hasty >= expected, "{fed:?} {log}");
        }
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
            assert_eq!(explained(&fed, &format!("{all}x"), 0).unexplained, Some(all.len()));
        }
        let fed = ["ab".repeat(10_000), "ab".repeat(10_000), "b".repeat(9)];
        let fed: Vec<&str> = fed.iter().map(String::as_str).collect();
        let log = format!("{}{}", "aabb".repeat(10_000), "b".repeat(9));
        assert_eq!(explained(&fed, &log, 1000).delivered, log.len());
    }
}
