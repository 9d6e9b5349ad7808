//! The verdict: integrity, agreement and termination, by the files of a run.
//!
//! * Integrity: each decided value was requested; a client-assigned one for that very instance; a
//!   leader-assigned one is delivered once, right after its client's value before it. No learner
//!   writes an instance twice.
//! * Agreement: no learner contradicts itself or another, and all deliver the leader-assigned
//!   values in one order: a learner that lags holds a prefix.
//! * Termination: the share of requested instances and values that every learner has.
//!
//! A file may begin late: the learner was started when the beginning of the log was removed, or
//! with `--from`. Nothing wrong was delivered then, so what is missing counts against termination.
//!
//! Equal lines are different values, so which client an entry came from may be open; `order` looks
//! for an explanation.

mod order;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::files::{Content, Unusable, learner_file, propose_file};
use super::mode::recorded;
use crate::protocol::message::Assignment;

/// What to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// How many learners there are, from 1.
    pub learners: u32,
    /// How every client had its instances assigned.
    pub clients: Vec<Assignment>,
    /// Nobody said it: a record beside the results counts for more.
    pub is_by_record: bool,
    /// Whether to print the decided values.
    pub print: bool,
    /// Whether to print the verdict as JSON.
    pub json: bool,
    /// Where the files are.
    pub results: PathBuf,
}

/// What the files say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The first value that nobody requested like that, if there is one.
    pub integrity: Option<Offence>,
    /// The first instance on which learners differ, if there is one.
    pub agreement: Option<Offence>,
    /// The first instance of the file that begins behind what was delivered, if there is one.
    pub begins_late: Option<Offence>,
    /// How many requested instances and values every learner has.
    pub complete: u64,
    /// How many were requested.
    pub requested: u64,
    /// The decided values, if they were wanted; for people alone.
    #[serde(skip)]
    pub table: String,
}

/// A broken promise, or a file that begins late: where, and a sentence with the values and files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Offence {
    /// The instance.
    pub instance: u64,
    /// What is wrong with it.
    pub what: String,
}

impl Verdict {
    /// How much is complete, in percent. Only everything is 100.
    pub fn percent(&self) -> u64 {
        (self.complete * 100).checked_div(self.requested).unwrap_or(100)
    }

    /// The exit status: 0 all holds, 1 broken, 3 safe and not complete.
    pub fn status(&self) -> u8 {
        if self.integrity.is_some() || self.agreement.is_some() {
            1
        } else if self.percent() < 100 {
            3
        } else {
            0
        }
    }

    /// The three lines, in colour or not.
    pub fn lines(&self, colour: bool) -> String {
        let word = |holds: bool| match (holds, colour) {
            (true, false) => "True",
            (false, false) => "False",
            (true, true) => "\x1b[32mTrue\x1b[0m",
            (false, true) => "\x1b[31mFalse\x1b[0m",
        };
        let percent = self.percent();
        format!(
            "Integrity: {}\nAgreement: {}\nTermination: {} ({percent}%)\n",
            word(self.integrity.is_none()),
            word(self.agreement.is_none()),
            word(percent == 100)
        )
    }
}

/// Judges the files.
pub fn check(options: &CheckOptions) -> Result<Verdict, Unusable> {
    let read = |name: String| Content::read(&options.results, &name);
    let proposed: Vec<Content> =
        (1..=options.clients.len() as u32).map(propose_file).map(read).collect::<Result<_, _>>()?;
    let learned: Vec<Content> =
        (1..=options.learners).map(learner_file).map(read).collect::<Result<_, _>>()?;
    let fed: Vec<Vec<&[u8]>> = proposed.iter().map(Content::all_lines).collect();
    let logs: Vec<Log<'_>> = learned.iter().map(Log::read).collect::<Result<_, _>>()?;
    let clients = options.assignments(&proposed)?;
    Ok(Judge::new(&clients, &fed, &logs).judge(options.print))
}

impl CheckOptions {
    /// How every client had its instances assigned, given what each was fed.
    ///
    /// # Errors
    ///
    /// When a record of it is there and cannot be understood.
    pub fn assignments(&self, fed: &[Content]) -> Result<Vec<Assignment>, Unusable> {
        let assignment = |((id, told), fed): ((u32, &Assignment), &Content)| {
            if !self.is_by_record {
                return Ok(*told);
            }
            Ok(recorded(&self.results, id, &fed.bytes)?.unwrap_or(*told))
        };
        (1..).zip(&self.clients).zip(fed).map(assignment).collect()
    }
}

/// What one learner wrote.
struct Log<'a> {
    path: String,
    /// In the order of the file, each instance once.
    entries: Vec<(u64, &'a [u8])>,
    by_instance: HashMap<u64, &'a [u8]>,
    /// The first instance that has two values.
    contradiction: Option<Offence>,
    /// The first instance that has the same value twice. A learner starts a new file whenever it
    /// starts, so it has delivered the value twice.
    repeat: Option<Offence>,
}

impl<'a> Log<'a> {
    fn read(content: &'a Content) -> Result<Self, Unusable> {
        let path = content.path.display().to_string();
        let all = content.entries()?;
        let mut log = Log {
            path,
            entries: Vec::with_capacity(all.len()),
            by_instance: HashMap::with_capacity(all.len()),
            contradiction: None,
            repeat: None,
        };
        for (line, (instance, value)) in (1..).zip(all) {
            let Some(first) = log.by_instance.get(&instance) else {
                log.by_instance.insert(instance, value);
                log.entries.push((instance, value));
                continue;
            };
            let path = &log.path;
            if *first == value {
                let value = shown(value);
                let what = format!(
                    "{value} of instance {instance} is delivered twice, again on line {line} of \
                     {path}"
                );
                log.repeat.get_or_insert(Offence { instance, what });
            } else {
                let (first, value) = (shown(first), shown(value));
                let what = format!("instance {instance} is {first} and {value} in {path}");
                log.contradiction.get_or_insert(Offence { instance, what });
            }
        }
        Ok(log)
    }

    /// Its lowest instance, or 0.
    fn first_instance(&self) -> u64 {
        self.entries.iter().map(|(instance, _)| *instance).min().unwrap_or(0)
    }

    /// Says that it begins late.
    fn beginning(&self) -> Offence {
        let (instance, path) = (self.first_instance(), &self.path);
        let what = format!(
            "{path} begins with instance {instance}, and values that were delivered below are not \
             in it: they were removed, or the learner was told to begin later; the rest is judged, \
             and a learner that runs from the beginning on has everything"
        );
        Offence { instance, what }
    }
}

/// Entries, in the order of a file.
type Entries<'a> = [(u64, &'a [u8])];

/// What `early` holds from the first instance of `late` on.
fn from_beginning_of<'e, 'a>(late: &Entries<'_>, early: &'e Entries<'a>) -> &'e Entries<'a> {
    let first = late.first().map_or(u64::MAX, |(instance, _)| *instance);
    &early[early.partition_point(|(instance, _)| *instance < first)..]
}

/// Whether one of them is the beginning of the other.
fn is_prefix(one: &Entries<'_>, other: &Entries<'_>) -> bool {
    one.iter().zip(other).all(|(one, other)| one == other)
}

/// Whether `late` goes on as `early` does, from an instance on that both have.
fn continues(early: &Entries<'_>, late: &Entries<'_>) -> bool {
    from_beginning_of(late, early).first().is_some_and(|common| Some(common) == late.first())
}

/// A value for people.
fn shown(value: &[u8]) -> String {
    const SHOWN: usize = 40;
    let more = if value.len() > SHOWN { "..." } else { "" };
    format!("\"{}{more}\"", value[..value.len().min(SHOWN)].escape_ascii())
}

struct Judge<'a> {
    clients: &'a [Assignment],
    fed: &'a [Vec<&'a [u8]>],
    logs: &'a [Log<'a>],
    /// The requests of the clients, by instance.
    asked: HashSet<(u64, &'a [u8])>,
}

/// What one learner's log shows.
struct Explained {
    offence: Option<Offence>,
    /// It makes sense only if values are missing in front of it.
    begins_late: bool,
    /// How many leader-assigned values it holds.
    leader_assigned: u64,
}

impl<'a> Judge<'a> {
    fn new(clients: &'a [Assignment], fed: &'a [Vec<&'a [u8]>], logs: &'a [Log<'a>]) -> Self {
        let mut asked = HashSet::new();
        for (assignment, lines) in clients.iter().zip(fed) {
            if let Assignment::Client { first } = assignment {
                asked.extend((first.0..).zip(lines.iter().copied()));
            }
        }
        Judge { clients, fed, logs, asked }
    }

    fn judge(&self, print: bool) -> Verdict {
        let mut explained: Vec<Explained> = self.logs.iter().map(|log| self.explain(log)).collect();
        let repeats = self.logs.iter().filter_map(|log| log.repeat.clone());
        let integrity = explained.iter().filter_map(|log| log.offence.clone()).chain(repeats).min();
        let orders = self.orders(&mut explained);
        let differing = [self.contradictions(), self.differences(), orders];
        let agreement = differing.into_iter().flatten().min();
        let (instances, complete_instances) = self.requested_instances();
        let values: u64 = self.auto().map(|client| self.fed[client].len() as u64).sum();
        let late =
            || self.logs.iter().zip(&explained).filter(|(_, explained)| explained.begins_late);
        let begins_late = late().map(|(log, _)| log.beginning()).max();
        let complete_values = if begins_late.is_some() {
            self.common_values().min(values.saturating_sub(1))
        } else {
            explained.iter().map(|log| log.leader_assigned).min().unwrap_or(0).min(values)
        };
        Verdict {
            integrity,
            agreement,
            begins_late,
            complete: complete_instances + complete_values,
            requested: instances + values,
            table: if print { self.table() } else { String::new() },
        }
    }

    /// The clients that leave instances to the leader.
    fn auto(&self) -> impl Iterator<Item = usize> {
        (0..self.clients.len()).filter(|client| self.clients[*client] == Assignment::Leader)
    }

    /// Whether a client asked for `value` at this very instance.
    fn is_asked(&self, instance: u64, value: &[u8]) -> bool {
        self.asked.contains(&(instance, value))
    }

    /// Explains each entry of `log` by what clients were fed, or names the first that has no
    /// explanation.
    fn explain(&self, log: &Log<'a>) -> Explained {
        let fed: Vec<&[&[u8]]> = self.auto().map(|client| self.fed[client].as_slice()).collect();
        // The last instance that the leader must have assigned: the others come behind it.
        let mut last = 0;
        let mut lasts = Vec::with_capacity(log.entries.len());
        let mut delivered = Vec::with_capacity(log.entries.len());
        for (instance, value) in &log.entries {
            let (is_asked, is_in_order) = (self.is_asked(*instance, value), *instance > last);
            delivered.push(order::Delivered { value, is_asked, is_in_order });
            lasts.push(last);
            if !is_asked {
                last = last.max(*instance);
            }
        }
        let mut explained = order::explain(&fed, &delivered);
        let mut begins_late = false;
        // Every line that is missing in front of the log had an instance there.
        let before = log.first_instance().saturating_sub(1);
        if explained.unexplained.is_some() && before > 0 {
            explained = order::explain_end(&fed, &delivered, before as usize);
            begins_late = explained.unexplained.is_none();
        }
        let offence = explained.unexplained.map(|place| {
            let (instance, value) = log.entries[place];
            Offence { instance, what: self.unexplained(log, instance, value, lasts[place]) }
        });
        Explained { offence, begins_late, leader_assigned: explained.delivered as u64 }
    }

    /// Why nothing explains this entry.
    fn unexplained(&self, log: &Log<'_>, instance: u64, value: &[u8], last: u64) -> String {
        let (path, text) = (&log.path, shown(value));
        let is_fed = self.auto().any(|client| self.fed[client].contains(&value));
        if !is_fed {
            return format!("nobody asked for {text} at instance {instance}, in {path}");
        }
        if instance <= last {
            return format!("{text} of instance {instance} is delivered after {last}, in {path}");
        }
        format!(
            "{text} at instance {instance} is delivered twice or out of its client's order, in \
             {path}"
        )
    }

    /// Learners that contradict themselves.
    fn contradictions(&self) -> Option<Offence> {
        self.logs.iter().filter_map(|log| log.contradiction.clone()).min()
    }

    /// Instances on which two learners differ.
    fn differences(&self) -> Option<Offence> {
        let mut first: HashMap<u64, (&[u8], &str)> = HashMap::new();
        let mut worst: Option<Offence> = None;
        for log in self.logs {
            for (instance, value) in &log.entries {
                let (known, path) = *first.entry(*instance).or_insert((value, &log.path));
                if known == *value || worst.as_ref().is_some_and(|w| w.instance <= *instance) {
                    continue;
                }
                let what = format!(
                    "instance {instance} is {} in {path} and {} in {}",
                    shown(known),
                    shown(value),
                    log.path
                );
                worst = Some(Offence { instance: *instance, what });
            }
        }
        worst
    }

    /// The leader-assigned entries of a log.
    fn leader_assigned(&self, log: &Log<'a>) -> Vec<(u64, &'a [u8])> {
        let entries = log.entries.iter().copied();
        entries.filter(|(instance, value)| !self.is_asked(*instance, value)).collect()
    }

    /// How many leader-assigned values are in every log.
    fn common_values(&self) -> u64 {
        let Some((first, others)) = self.logs.split_first() else { return 0 };
        let all_have = |(instance, _): &(u64, &[u8])| {
            others.iter().all(|log| log.by_instance.contains_key(instance))
        };
        self.leader_assigned(first).iter().filter(|entry| all_have(entry)).count() as u64
    }

    /// Leader-assigned values that learners deliver in different orders: a learner that lags must
    /// hold a prefix of what the others hold, one that begins late what they hold from there on.
    fn orders(&self, explained: &mut [Explained]) -> Option<Offence> {
        self.auto().next()?;
        let orders: Vec<_> = self.logs.iter().map(|log| self.leader_assigned(log)).collect();
        let longest = (0..orders.len()).max_by_key(|index| orders[*index].len())?;
        let mut offences = Vec::new();
        for index in 0..orders.len() {
            let mut pairs = orders[index].iter().zip(&orders[longest]);
            let Some((mine, other)) = pairs.find(|(mine, other)| mine != other) else { continue };
            let (late, early) = if orders[index][0] > orders[longest][0] {
                (index, longest)
            } else {
                (longest, index)
            };
            if explained[late].begins_late || continues(&orders[early], &orders[late]) {
                explained[late].begins_late = true;
                if is_prefix(from_beginning_of(&orders[late], &orders[early]), &orders[late]) {
                    continue;
                }
            }
            let what = format!(
                "{} delivers {} of instance {} where {} delivers {} of instance {}",
                self.logs[index].path,
                shown(mine.1),
                mine.0,
                self.logs[longest].path,
                shown(other.1),
                other.0
            );
            offences.push(Offence { instance: mine.0.min(other.0), what });
        }
        offences.into_iter().min()
    }

    /// How many different instances clients asked for, and how many of them every learner has.
    fn requested_instances(&self) -> (u64, u64) {
        let mut runs: Vec<(u64, u64)> = self
            .clients
            .iter()
            .zip(self.fed)
            .filter_map(|(assignment, lines)| match assignment {
                Assignment::Client { first } => {
                    Some((first.0, first.0.saturating_add(lines.len() as u64)))
                }
                Assignment::Leader => None,
            })
            .collect();
        runs.sort_unstable();
        let (mut requested, mut complete, mut counted_until) = (0, 0, 0);
        for (from, until) in runs {
            for instance in from.max(counted_until)..until {
                requested += 1;
                let has = |log: &Log<'_>| log.by_instance.contains_key(&instance);
                complete += u64::from(self.logs.iter().all(has));
            }
            counted_until = counted_until.max(until);
        }
        (requested, complete)
    }

    /// A line for each instance: its value, or what each learner says.
    fn table(&self) -> String {
        let instances: BTreeSet<u64> =
            self.logs.iter().flat_map(|log| log.by_instance.keys().copied()).collect();
        let mut table = String::new();
        for instance in instances {
            let values: Vec<String> = self
                .logs
                .iter()
                .map(|log| log.by_instance.get(&instance).map_or("-".to_owned(), |v| shown(v)))
                .collect();
            let is_one = values.windows(2).all(|pair| pair[0] == pair[1]);
            let values = if is_one { values[0].clone() } else { values.join(" | ") };
            table += &format!("{instance}\t{values}\n");
        }
        table
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::protocol::types::Instance;

    const FROM_1: Assignment = Assignment::Client { first: Instance(1) };
    const AUTO: Assignment = Assignment::Leader;

    /// Judges clients that were fed and learners that wrote these.
    fn judge(clients: &[(Assignment, &str)], learners: &[&str]) -> Result<Verdict, Unusable> {
        let folder = tempfile::tempdir().unwrap();
        for (id, (_, fed)) in (1..).zip(clients) {
            fs::write(folder.path().join(propose_file(id)), fed).unwrap();
        }
        for (id, wrote) in (1..).zip(learners) {
            fs::write(folder.path().join(learner_file(id)), wrote).unwrap();
        }
        check(&CheckOptions {
            learners: learners.len() as u32,
            clients: clients.iter().map(|(assignment, _)| *assignment).collect(),
            is_by_record: false,
            print: true,
            json: false,
            results: folder.path().to_owned(),
        })
    }

    fn verdict(clients: &[(Assignment, &str)], learners: &[&str]) -> Verdict {
        judge(clients, learners).unwrap_or_else(|error| panic!("{error}"))
    }

    fn integrity(clients: &[(Assignment, &str)], learners: &[&str]) -> String {
        verdict(clients, learners).integrity.map_or("holds".to_owned(), |offence| offence.what)
    }

    fn agreement(clients: &[(Assignment, &str)], learners: &[&str]) -> String {
        verdict(clients, learners).agreement.map_or("holds".to_owned(), |offence| offence.what)
    }

    #[test]
    fn machines_get_the_same_verdict() {
        let bad = verdict(&[(FROM_1, "a\n")], &["1\tx\n"]);
        let json = serde_json::to_value(&bad).unwrap();
        assert_eq!(json["integrity"]["instance"], 1);
        assert!(json["agreement"].is_null());
        assert_eq!((&json["complete"], &json["requested"]), (&1.into(), &1.into()));
    }

    #[test]
    fn a_good_run_is_good() {
        let clients = [(FROM_1, "a\nb\nc\n"), (FROM_1, "x\ny\nz")];
        let good = verdict(&clients, &["1\ta\n2\ty\n3\tc\n", "3\tc\n1\ta\n2\ty\n"]);
        assert_eq!(
            good.lines(false),
            "Integrity: True\nAgreement: True\nTermination: True (100%)\n"
        );
        assert_eq!(good.status(), 0);
        assert_eq!(good.table, "1\t\"a\"\n2\t\"y\"\n3\t\"c\"\n");
        assert!(good.lines(true).contains("\x1b[32mTrue"));
    }

    #[test]
    fn a_wrong_value_mid_run_breaks_integrity() {
        let clients = [(FROM_1, "a\nb\nc\n")];
        let what = integrity(&clients, &["1\ta\n2\tB\n3\tc\n"]);
        assert!(what.contains("nobody asked for \"B\" at instance 2"), "{what}");
        // The right value at the wrong place is an error as well.
        assert_ne!(integrity(&clients, &["1\ta\n2\tc\n"]), "holds");
        assert_ne!(integrity(&clients, &["4\ta\n"]), "holds");
        assert_eq!(verdict(&clients, &["2\tB\n"]).status(), 1);
    }

    #[test]
    fn disagreement_needs_no_hole() {
        let clients = [(FROM_1, "a\nb\n"), (FROM_1, "x\ny\n")];
        let learners = ["1\ta\n2\tb\n", "1\ta\n2\ty\n"];
        assert_eq!(integrity(&clients, &learners), "holds");
        let what = agreement(&clients, &learners);
        assert!(what.contains("instance 2 is \"b\" in") && what.contains("\"y\" in"), "{what}");
    }

    #[test]
    fn a_learner_that_contradicts_itself_breaks_agreement() {
        let clients = [(FROM_1, "a\n"), (FROM_1, "x\n")];
        let what = agreement(&clients, &["1\ta\n1\tx\n"]);
        assert!(what.contains("instance 1 is \"a\" and \"x\""), "{what}");
        assert_eq!(agreement(&clients, &["1\ta\n1\ta\n"]), "holds");
    }

    #[test]
    fn an_instance_that_is_written_twice_is_delivered_twice() {
        let client_assigned = [(FROM_1, "a\nb\n"), (FROM_1, "x\ny\n")];
        for (clients, log) in [
            (&client_assigned[..], "1\ta\n2\ty\n1\ta\n"),
            (&[(AUTO, "a\nb\n")], "1\ta\n2\tb\n1\ta\n"),
            // Two equal lines do not make up for it: each has an instance of its own.
            (&[(AUTO, "a\nb\na\n")], "1\ta\n2\tb\n1\ta\n"),
        ] {
            let bad = verdict(clients, &["1\ta\n", log]);
            let what = bad.integrity.as_ref().map_or("holds", |offence| &offence.what);
            let expected = "\"a\" of instance 1 is delivered twice, again on line 3 of";
            assert!(what.contains(expected), "{what}");
            assert!(what.contains("learner2_decided_value") && bad.agreement.is_none());
            assert_eq!(bad.status(), 1);
            // The torn end of a line that is being written is no second delivery.
            assert_eq!(integrity(clients, &[log.trim_end()]), "holds");
        }
    }

    #[test]
    fn a_torn_last_line_is_ignored() {
        let clients = [(FROM_1, "a\nb\n")];
        let torn = verdict(&clients, &["1\ta\n2\tb"]);
        assert_eq!((torn.status(), torn.percent()), (3, 50));
        assert_eq!(verdict(&clients, &["1\ta\n2"]).status(), 3);
    }

    #[test]
    fn unusable_files_are_named() {
        let name = |learner: &str| judge(&[(FROM_1, "a\n")], &[learner]).unwrap_err().0;
        assert!(name("1\ta\nrubbish\n").contains("learner1_decided_value:2: "));
        assert!(name("0\ta\n").contains(":1: "));
        assert!(name("x\ta\n").contains(":1: "));
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().to_owned();
        let (clients, print, json) = (vec![FROM_1], false, false);
        let is_by_record = false;
        let options = CheckOptions { learners: 1, clients, is_by_record, print, json, results };
        assert!(check(&options).unwrap_err().0.contains("propose1.txt: cannot read it"));
    }

    #[test]
    fn less_than_everything_is_never_100_percent() {
        let fed: String = (0..10_000).map(|line| format!("v{line}\n")).collect();
        let lines: Vec<String> = (1..10_000).map(|i| format!("{i}\tv{}\n", i - 1)).collect();
        let almost = verdict(&[(FROM_1, &fed)], &[&lines.concat()]);
        assert_eq!((almost.percent(), almost.status()), (99, 3));
        // Termination is about every learner.
        let one = verdict(&[(FROM_1, "a\nb\n")], &["1\ta\n2\tb\n", "1\ta\n"]);
        assert_eq!(one.percent(), 50);
        assert_eq!(verdict(&[(FROM_1, "")], &[""]).percent(), 100);
    }

    #[test]
    fn late_clients_have_first_instances_of_their_own() {
        let late = Assignment::Client { first: Instance(3) };
        let clients = [(FROM_1, "a\nb\n"), (late, "c\nd\n")];
        assert_eq!(verdict(&clients, &["3\tc\n1\ta\n4\td\n2\tb\n"]).status(), 0);
        assert_eq!(verdict(&clients, &["1\tc\n"]).status(), 1);
    }

    #[test]
    fn leader_assigned_values_come_once_and_in_their_order() {
        let clients = [(AUTO, "a\nb\nc\n"), (AUTO, "x\ny\n")];
        // Instances that are missing held a no-op or a skipped occurrence.
        let good = ["1\ta\n3\tx\n4\tb\n9\ty\n10\tc\n", "1\ta\n3\tx\n"];
        let good = verdict(&clients, &good);
        assert_eq!((good.status(), good.complete, good.requested), (3, 2, 5));
        let twice = integrity(&clients, &["1\ta\n2\ta\n"]);
        assert!(twice.contains("twice or out of its client's order"), "{twice}");
        assert!(integrity(&clients, &["1\tb\n"]).contains("out of its client's order"));
        assert!(integrity(&clients, &["2\ta\n1\tb\n"]).contains("is delivered after 2"));
        assert!(integrity(&clients, &["1\tq\n"]).contains("nobody asked"));
    }

    #[test]
    fn equal_lines_are_different_values() {
        let clients = [(AUTO, "a\na\nb\n"), (AUTO, "a\nc\n")];
        let all = "1\ta\n2\ta\n3\tc\n4\ta\n5\tb\n";
        assert_eq!(verdict(&clients, &[all, all]).status(), 0);
        assert_ne!(integrity(&clients, &["1\ta\n2\ta\n3\ta\n4\ta\n"]), "holds");
        // After one "a", the "b" cannot be next, whoever's "a" it was.
        assert_ne!(integrity(&clients, &["1\ta\n2\tb\n"]), "holds");
    }

    #[test]
    fn a_file_that_begins_late_is_incomplete_and_not_wrong() {
        let clients = [(AUTO, "a\nb\nc\nd\n"), (AUTO, "x\ny\nz\n")];
        let all = "1\ta\n2\tx\n3\tb\n5\ty\n6\tc\n7\td\n8\tz\n";
        let end = "5\ty\n6\tc\n7\td\n8\tz\n";
        let late = |learners: &[&str]| {
            let verdict = verdict(&clients, learners);
            let what = verdict.begins_late.as_ref().map_or("none", |late| &late.what).to_owned();
            (verdict.status(), verdict.complete, what)
        };
        for (learners, common) in [(&[end][..], 4), (&[end, all], 4), (&[all, "7\td\n8\tz\n"], 2)] {
            let (status, complete, what) = late(learners);
            assert_eq!((status, complete), (3, common), "{learners:?}: {what}");
            assert!(what.contains("decided_value begins with instance "), "{what}");
        }
        assert_eq!(late(&[all, all]), (0, 7, "none".to_owned()));
        // One that ends before another begins has nothing in common with it.
        assert_eq!(late(&["1\ta\n", end]).0, 3);
        // One that could be from the beginning, if another did not show what is missing.
        let sequel = [(AUTO, "a\nb\n"), (AUTO, "x\n")];
        let sequel = verdict(&sequel, &["1\ta\n2\tb\n3\tx\n", "3\tx\n"]);
        assert_eq!((sequel.status(), sequel.complete), (3, 1));
        assert!(sequel.begins_late.is_some());
    }

    #[test]
    fn what_is_wrong_in_a_file_that_begins_late_is_found() {
        let clients = [(AUTO, "a\nb\nc\nd\n"), (AUTO, "x\ny\nz\n")];
        for (log, wrong) in [
            ("5\ty\n6\tc\n7\tc\n", "\"c\" at instance 7 is delivered twice"),
            ("5\ty\n6\tb\n7\td\n", "\"d\" at instance 7 is delivered twice or out of its"),
            ("5\ty\n6\tq\n", "nobody asked for \"q\" at instance 6"),
            ("6\tc\n5\td\n", "\"d\" of instance 5 is delivered after 6"),
            // Three lines were delivered before, which had no more than two instances.
            ("3\td\n", "\"d\" at instance 3 is delivered twice or out of its"),
            ("2\tb\n3\ty\n", "\"y\" at instance 3 is delivered twice or out of its"),
        ] {
            let bad = verdict(&clients, &[log]);
            let what = bad.integrity.as_ref().map_or("holds", |offence| &offence.what);
            assert!(what.contains(wrong) && bad.status() == 1, "{log:?}: {what}");
        }
        let all = "1\ta\n2\tx\n3\tb\n5\ty\n6\tc\n7\td\n8\tz\n";
        for log in ["5\ty\n7\td\n8\tz\n", "5\ty\n6\tc\n8\tz\n", "4\ty\n5\tc\n"] {
            assert_ne!(agreement(&clients, &[all, log]), "holds", "{log:?}");
        }
    }

    #[test]
    fn all_learners_deliver_in_one_order() {
        let clients = [(AUTO, "a\n"), (AUTO, "x\n")];
        let what = agreement(&clients, &["1\ta\n2\tx\n", "3\tx\n"]);
        assert!(what.contains("delivers \"x\" of instance 3 where"), "{what}");
        assert_eq!(agreement(&clients, &["1\ta\n2\tx\n", "1\ta\n"]), "holds");
    }

    #[test]
    fn both_kinds_may_run_in_one_cluster() {
        let clients = [(FROM_1, "a\nb\nc\n"), (AUTO, "x\ny\n")];
        // Client-assigned values stand where they were decided, ahead of what is delivered.
        let log = "3\tc\n1\ta\n2\tb\n4\tx\n5\ty\n";
        assert_eq!(verdict(&clients, &[log, "1\ta\n2\tb\n3\tc\n4\tx\n5\ty\n"]).status(), 0);
        assert_eq!(verdict(&clients, &["1\ta\n2\tb\n3\tc\n5\ty\n"]).status(), 1);
    }

    #[test]
    fn long_logs_of_equal_lines_are_judged() {
        let entries = |count: usize, line: &dyn Fn(usize) -> String| -> String {
            (0..count).map(|place| format!("{}\t{}\n", place + 1, line(place))).collect()
        };
        let all = entries(60_000, &|_| "x".to_owned());
        let fed = "x\n".repeat(20_000);
        let clients = [(AUTO, fed.as_str()), (AUTO, &fed), (AUTO, &fed)];
        let good = verdict(&clients, &[&all, &all]);
        assert_eq!((good.status(), good.complete), (0, 60_000));
        let what = integrity(&clients, &[&format!("{all}60001\tx\n")]);
        assert!(what.contains("at instance 60001 is delivered twice"), "{what}");
        // Three clients with the same lines, and one entry out of order at the end.
        let fed: String = (0..20_000).map(|line| format!("v{line}\n")).collect();
        let clients = [(AUTO, fed.as_str()), (AUTO, &fed), (AUTO, &fed)];
        let all = entries(60_000, &|place| format!("v{}", place / 3));
        assert_eq!(verdict(&clients, &[&all]).status(), 0);
        let swapped = all.replace("59999\tv19999\n", "59999\tv7\n");
        assert!(integrity(&clients, &[&swapped]).contains("\"v7\" at instance 59999"));
    }

    #[test]
    fn a_long_log_is_judged() {
        let fed: String = (0..100_000).map(|line| format!("v{line}\n")).collect();
        let log: String = (0..100_000).map(|line| format!("{}\tv{line}\n", line + 1)).collect();
        assert_eq!(verdict(&[(AUTO, &fed)], &[&log, &log]).status(), 0);
        assert_eq!(verdict(&[(FROM_1, &fed)], &[&log, &log]).status(), 0);
    }
}
