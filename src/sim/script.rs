//! Transcripts: scenarios of the pure roles as text files, in `src/protocol/testdata`.
//!
//! A file is a head comment, then blocks: commands, a line `----`, and their effects, up to an
//! empty line. Messages stay in transit until a command delivers or drops them, so a file can show
//! any order. Run the tests with `REWRITE=1` to write what happens now into the files; commit that
//! only if you understand the difference.
//!
//! Commands: `settings acceptors=3 page=512` (and `hold`, bytes of the log that memories hold;
//! `retain`, entries that are kept; `keepers`, learners that keep snapshots; `copies`, those of
//! them that must have one before anything is removed), `start P1 [no-preexecution] [no-timeouts]`,
//! `tick 20ms`, `run 20ms` (the same, and heartbeats and echoes are delivered meanwhile),
//! `campaign P1` (whoever leads), `plead C9 for P2` (what `paxos lead P2` says),
//! `show elections`, `input C1 [at N|opened] a b*200 c` (the second value has 200 bytes),
//! `end C1`, `deliver [Kind] [from X] [to Y]`,
//! `drop [Kind] [from X] [to Y]`, `kill P1`, `restart A1 [keeps 1]` (of its records),
//! `read L1` (somebody wants to).

mod disks;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::checker::Checker;
use super::disk::SimDisk;
use super::node::AnyRole;
use super::record::{Fate, Passage, PassageId, Record, Sent, What};
use crate::protocol::actor::{Delivery, Effects, Input, Record as Stored};
use crate::protocol::message::{Assignment, Kind, Message, Plea};
use crate::protocol::parts::{Acceptor, Client, Learner, Proposer};
use crate::protocol::proposer::ProposerOptions;
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::timer::Timer;
use crate::protocol::types::{
    Counted, Instance, NodeId, Role, Run, Sender, Session, Time, To, Value,
};
use crate::protocol::versions::Versions;

/// One node on the stage.
struct Player {
    sender: Sender,
    role: AnyRole,
    timers: BTreeMap<Timer, Time>,
    /// What an acceptor has stored.
    disk: Vec<Stored>,
    /// Where a learner keeps snapshots, if it does.
    snapshots: Option<SimDisk>,
}

/// What an acceptor or a learner finds on its disk.
#[derive(Default)]
struct Kept {
    incarnation: Option<u64>,
    records: Vec<Stored>,
    snapshots: Option<SimDisk>,
}

/// A message in transit.
struct InTransit {
    from: Sender,
    to: NodeId,
    message: Message,
    copy: PassageId,
}

/// The stage on which a transcript plays.
pub struct Stage {
    settings: Settings,
    now: Time,
    boots: u64,
    reads: u64,
    nodes: BTreeMap<NodeId, Player>,
    in_transit: Vec<InTransit>,
    /// Whether heartbeats and echoes are shown.
    shows_elections: bool,
    output: String,
    /// The record, for pictures.
    record: Record,
    /// Counts votes for the record. It judges nothing: a transcript may show what must not happen.
    checker: Checker,
    /// When things happen in the record. On the stage many happen at one time.
    moment: Time,
}

impl Default for Stage {
    fn default() -> Self {
        Stage {
            settings: Settings::default(),
            now: Time::ZERO,
            boots: 0,
            reads: 0,
            nodes: BTreeMap::new(),
            in_transit: Vec::new(),
            shows_elections: false,
            output: String::new(),
            record: Record::default(),
            checker: Checker::new(&Settings::default()),
            moment: Time::ZERO,
        }
    }
}

impl Stage {
    /// Plays `text` and returns it with the actual effects in place of the recorded ones.
    pub fn play(text: &str) -> Result<String, String> {
        Self::recorded(text).map(|(played, _)| played)
    }

    /// The same, with what happened as a record.
    pub fn recorded(text: &str) -> Result<(String, Record), String> {
        let mut stage = Stage::default();
        let mut played = String::new();
        let mut lines = text.lines().enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            let _ = writeln!(played, "{line}");
            if line == "----" {
                played += &std::mem::take(&mut stage.output);
                while lines.next_if(|(_, line)| !line.is_empty()).is_some() {}
            } else if !line.is_empty() && !line.starts_with('#') {
                stage.command(line).map_err(|what| format!("line {}: {what}", number + 1))?;
            }
        }
        Ok((played, stage.record))
    }

    /// The next moment of the record: later than what happened before, and not before the stage's
    /// time.
    fn pass_moment(&mut self) -> Time {
        self.moment = self.now.max(self.moment + Duration::from_micros(25));
        self.moment
    }

    fn command(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (verb, words) = words.split_first().ok_or("an empty command")?;
        match *verb {
            "settings" => self.set(words),
            "start" => self.start(words),
            "tick" => self.pass(words, false),
            "run" => self.pass(words, true),
            "campaign" => {
                let id = node(words.first().ok_or("campaign as whom?")?)?;
                self.turn(id, |role, now, fx| {
                    if let AnyRole::Proposer(proposer) = role {
                        proposer.take_over(now, fx);
                    }
                })
            }
            "plead" => {
                let [caller, "for", proposer] = words else { return Err("who, for whom?".into()) };
                let caller = Sender { node: node(caller)?, boot: 0 };
                let offered = vec![node(proposer)?.id];
                let plea =
                    Message::Plea(Plea { pleaded_us: u64::MAX, offered, reads: Versions::ALL });
                self.post(caller, To::Group(Role::Proposer), plea);
                Ok(())
            }
            "show" => {
                self.shows_elections = words == ["elections"];
                Ok(())
            }
            "input" => self.input(words),
            "end" => {
                let client = node(words.first().ok_or("end which client?")?)?;
                self.turn(client, |role, now, fx| role.actor().on_input(now, Input::End, fx))
            }
            "read" => {
                let learner = node(words.first().ok_or("read from which learner?")?)?;
                self.reads += 1;
                let number = self.reads;
                self.turn(learner, |role, now, fx| {
                    role.actor().on_input(now, Input::Read(number), fx);
                })
            }
            "deliver" => self.deliver(words),
            "drop" => {
                let filter = Filter::parse(words)?;
                let (moment, record) = (self.moment, &mut self.record);
                self.in_transit.retain(|transit| {
                    let is_dropped = filter.matches(transit);
                    if is_dropped {
                        record.ended(moment, transit.copy, Fate::Lost);
                    }
                    !is_dropped
                });
                Ok(())
            }
            "kill" => {
                let id = node(words.first().ok_or("kill whom?")?)?;
                let moment = self.pass_moment();
                self.record.happened(moment, What::Dies(id));
                self.nodes.remove(&id).map(|_| ()).ok_or_else(|| format!("{id} is not there"))
            }
            "restart" => {
                let id = node(words.first().ok_or("restart whom?")?)?;
                let node = self.nodes.remove(&id).ok_or_else(|| format!("{id} is not there"))?;
                let moment = self.pass_moment();
                self.record.happened(moment, What::Dies(id));
                let mut records = node.disk;
                // With less than it had stored, as after the wrong copy was put back.
                if let [_, "keeps", count] = words {
                    records.truncate(count.parse().map_err(|_| "keeps how many records?")?);
                }
                let incarnation = Some(node.sender.boot);
                self.insert(id, words, Kept { incarnation, records, snapshots: node.snapshots })
            }
            _ => Err(format!("unknown command {verb}")),
        }
    }

    fn set(&mut self, words: &[&str]) -> Result<(), String> {
        for word in words {
            let (key, number) = word.split_once('=').ok_or("settings are key=number")?;
            let number: usize = number.parse().map_err(|_| format!("{number} is no number"))?;
            match key {
                "acceptors" => {
                    self.settings.acceptor_count = number as u32;
                    self.checker = Checker::new(&self.settings);
                }
                "page" => self.settings.datagram_bytes = number,
                "catch_up" => self.settings.catch_up_bytes = number,
                "take_up" => self.settings.take_up_bytes = number as u64,
                "hold" => self.settings.hold_bytes = Some(number as u64),
                "retain" => self.settings.retain = Retain::Entries(number as u64),
                "keepers" => self.settings.keepers = (1..=number as u32).collect(),
                "copies" => self.settings.snapshot_copies = Some(number),
                _ => return Err(format!("unknown setting {key}")),
            }
        }
        Ok(())
    }

    fn start(&mut self, words: &[&str]) -> Result<(), String> {
        for word in words.iter().filter(|word| !word.starts_with("no-")) {
            self.insert(node(word)?, words, Kept::default())?;
        }
        Ok(())
    }

    fn insert(&mut self, id: NodeId, words: &[&str], kept: Kept) -> Result<(), String> {
        self.boots += 1;
        let (mut boot, settings) = (self.boots, self.settings.clone());
        let Kept { incarnation, records: disk, mut snapshots } = kept;
        let incarnation = incarnation.unwrap_or(boot);
        let role = match id.role {
            Role::Acceptor => {
                let mut acceptor = Acceptor::new(id.id, incarnation, settings);
                disk.iter().for_each(|record| acceptor.restore(record.clone()));
                boot = incarnation;
                AnyRole::Acceptor(Box::new(acceptor))
            }
            Role::Proposer => {
                let options = ProposerOptions {
                    id: id.id,
                    boot,
                    no_timeouts: words.contains(&"no-timeouts"),
                    no_preexecution: words.contains(&"no-preexecution"),
                };
                AnyRole::Proposer(Box::new(Proposer::new(options, settings)))
            }
            Role::Learner => {
                let keeps = settings.keepers.contains(&id.id);
                let learner = Learner::new(id.id, boot, settings, self.now);
                AnyRole::Learner(Box::new(if keeps {
                    disks::keeper(learner, snapshots.get_or_insert_default())
                } else {
                    learner
                }))
            }
            Role::Client => return Err("a client starts with its first input".to_owned()),
        };
        let (sender, timers) = (Sender { node: id, boot }, BTreeMap::new());
        self.enter(Player { sender, role, timers, disk, snapshots })
    }

    fn enter(&mut self, player: Player) -> Result<(), String> {
        let moment = if self.now == Time::ZERO { Time::ZERO } else { self.pass_moment() };
        let sender = player.sender;
        self.record.happened(moment, What::Starts(sender.node));
        self.nodes.insert(sender.node, player);
        self.turn(sender.node, |role, now, fx| role.actor().on_start(now, fx))
    }

    fn input(&mut self, words: &[&str]) -> Result<(), String> {
        let (client, mut words) = words.split_first().ok_or("input to which client?")?;
        let id = node(client)?;
        let mut assignment = Assignment::Leader;
        if words.first() == Some(&"at") {
            let first = words.get(1).and_then(|first| first.parse().ok());
            let first = Instance(first.ok_or("at which instance?")?);
            assignment = Assignment::Client { first };
            words = &words[2..];
        }
        // Else the client asks where the log is, as it does when it starts.
        let is_opened = words.first() == Some(&"opened");
        if is_opened {
            words = &words[1..];
        }
        if !self.nodes.contains_key(&id) {
            self.boots += 1;
            let boot = self.boots;
            let session = Session { client: id.id, boot };
            let mut client = Client::new(session, assignment, self.settings.clone());
            if is_opened {
                client = client.opened_at(Instance::FIRST);
            }
            let (sender, role) = (Sender { node: id, boot }, AnyRole::Client(Box::new(client)));
            let (timers, disk, snapshots) = (BTreeMap::new(), Vec::new(), None);
            self.enter(Player { sender, role, timers, disk, snapshots })?;
        }
        if let Some(player) = self.nodes.get(&id) {
            let session = Session { client: id.id, boot: player.sender.boot };
            let first = match assignment {
                Assignment::Client { first } => Some(first),
                Assignment::Leader => None,
            };
            let values = words.iter().map(|word| value(word)).collect();
            self.checker.on_input(session, values, first);
        }
        self.turn(id, |role, now, fx| {
            for word in words {
                role.actor().on_input(now, Input::Value(value(word)), fx);
            }
        })
    }

    /// Moves time on in steps of a millisecond, and fires what is due. With `talks` heartbeats and
    /// echoes arrive as they are sent.
    fn pass(&mut self, words: &[&str], talks: bool) -> Result<(), String> {
        let word = words.first().ok_or("how long?")?;
        let millis = word.strip_suffix("ms").and_then(|number| number.parse::<u64>().ok());
        for _ in 0..millis.ok_or("a tick is a number of ms")? {
            self.now = self.now + Duration::from_millis(1);
            let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
            for id in ids {
                let Some(player) = self.nodes.get_mut(&id) else { continue };
                let now = self.now;
                let due: Vec<Timer> = player
                    .timers
                    .iter()
                    .filter(|(_, at)| **at <= now)
                    .map(|(due, _)| *due)
                    .collect();
                player.timers.retain(|_, at| *at > now);
                if !due.is_empty() {
                    self.turn(id, |role, now, fx| {
                        due.iter().for_each(|timer| role.actor().on_timer(now, *timer, fx));
                    })?;
                }
            }
            if talks {
                self.deliver(&["Heartbeat"])?;
                self.deliver(&["Echo"])?;
            }
        }
        Ok(())
    }

    /// Delivers what is in transit and matches, and what follows from it, a message a turn.
    fn deliver(&mut self, words: &[&str]) -> Result<(), String> {
        let filter = Filter::parse(words)?;
        for _ in 0..10_000 {
            let Some(next) = self.in_transit.iter().position(|transit| filter.matches(transit))
            else {
                return Ok(());
            };
            let InTransit { from, to, message, copy } = self.in_transit.remove(next);
            let Some(player) = self.nodes.get_mut(&to) else {
                self.record.ended(self.moment, copy, Fate::Dead);
                continue;
            };
            if !player.role.actor().interest().includes(message.kind()) {
                self.record.ended(self.moment, copy, Fate::OfNoUse);
                continue;
            }
            let moment = self.pass_moment();
            self.record.ended(moment, copy, Fate::Read);
            let is_told = match message.kind() {
                Kind::Heartbeat | Kind::Echo | Kind::Durable => self.shows_elections,
                _ => true,
            };
            if is_told {
                let _ = writeln!(self.output, "{} -> {to} {message}", from.node);
            }
            self.turn(to, |role, now, fx| role.actor().on_message(now, from, message, fx))?;
        }
        Err("the messages never end".to_owned())
    }

    /// One turn of one node, and its effects.
    fn turn(
        &mut self,
        id: NodeId,
        events: impl FnOnce(&mut AnyRole, Time, &mut Effects),
    ) -> Result<(), String> {
        let moment = self.moment.max(self.now);
        self.moment = moment;
        let player = self.nodes.get_mut(&id).ok_or_else(|| format!("{id} is not there"))?;
        let mut fx = Effects::new();
        events(&mut player.role, self.now, &mut fx);
        player.role.actor().on_turn_end(self.now, &mut fx);
        self.record.watched(moment, id, &player.role.belief(self.now));
        player.disk.append(&mut fx.persist);
        for (timer, deadline) in fx.timers {
            match deadline {
                Some(deadline) => player.timers.insert(timer, deadline),
                None => player.timers.remove(&timer),
            };
        }
        if let Some(halt) = fx.halt {
            let _ = writeln!(self.output, "  {id} ends: {halt:?}");
            self.record.happened(moment, What::Dies(id));
        }
        for ignored in fx.ignored {
            let _ = writeln!(self.output, "  {id} ignores it: {ignored:?}");
        }
        let mut taken = Vec::new();
        for delivery in fx.deliver {
            let (verb, what, page) = match delivery {
                Delivery::Decided(page) => ("records", What::Learns(id, page.run()), page),
                Delivery::Delivered(page, _) => ("delivers", What::Delivers(id, page.run()), page),
                // It hands nothing out.
                Delivery::Passed(_) => continue,
                Delivery::Checkpoint(checkpoint) => {
                    taken.push(checkpoint);
                    continue;
                }
                Delivery::Restored(checkpoint) => {
                    let of = checkpoint.head.of;
                    let _ = writeln!(self.output, "  {id} goes on from the snapshot of {of}");
                    continue;
                }
                Delivery::Readable(last) => {
                    let _ = writeln!(self.output, "  {id} serves reads up to {last}");
                    continue;
                }
                Delivery::Unreadable(last) => {
                    let _ = writeln!(self.output, "  {id} leaves reads up to {last} to the log");
                    continue;
                }
                Delivery::Begins(instance) => {
                    let _ = writeln!(self.output, "  {id} begins at {instance}");
                    continue;
                }
                Delivery::Assembled(value) => {
                    let (instance, value) = (value.instance, value.to_value());
                    let _ = writeln!(self.output, "  {id} records and delivers {instance} {value}");
                    let run = Run::new(instance, instance.next());
                    self.record.happened(moment, What::Delivers(id, run));
                    continue;
                }
            };
            self.record.happened(moment, what);
            for (instance, value) in page.from.numbering(page.entries.values()) {
                let _ = writeln!(self.output, "  {id} {verb} {instance} {}", Value::new(value));
            }
        }
        let from = player.sender;
        fx.send.into_iter().for_each(|(to, message)| self.post(from, to, message));
        self.read_back(id, fx.read);
        self.run_errands(id, fx.errands)?;
        taken.iter().try_for_each(|checkpoint| self.keep(id, checkpoint))
    }

    /// Puts a message into transit to every process it reaches.
    fn post(&mut self, from: Sender, addressee: To, message: Message) {
        let moment = self.moment.max(self.now);
        // It may be wrong on purpose.
        let _ = self.checker.on_send(from, addressee, &message);
        for chosen in self.checker.take_news() {
            self.record.happened(moment, What::Chosen(chosen));
        }
        self.record.sent(Sent::by(moment, from.node, addressee, &message));
        let kind = message.kind();
        let is_reached = |to: &&NodeId| kind.reaches(addressee, **to) && **to != from.node;
        for to in self.nodes.keys().filter(is_reached) {
            let (to, message) = (*to, message.clone());
            let copy = self.record.copied(Passage::begins(to, moment));
            self.in_transit.push(InTransit { from, to, message, copy });
        }
    }
}

/// The messages that a command selects.
#[derive(Default)]
struct Filter {
    kind: Option<Kind>,
    from: Option<NodeId>,
    to: Option<NodeId>,
}

impl Filter {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let mut filter = Filter::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "from" => filter.from = Some(node(words.next().ok_or("from whom?")?)?),
                "to" => filter.to = Some(node(words.next().ok_or("to whom?")?)?),
                kind => {
                    let known = Kind::ALL.iter().find(|known| format!("{known:?}") == kind);
                    filter.kind = Some(*known.ok_or_else(|| format!("no message is a {kind}"))?);
                }
            }
        }
        Ok(filter)
    }

    fn matches(&self, transit: &InTransit) -> bool {
        self.kind.is_none_or(|kind| transit.message.kind() == kind)
            && self.from.is_none_or(|from| transit.from.node == from)
            && self.to.is_none_or(|to| transit.to == to)
    }
}

/// `a`, or `a*200`: 200 of them.
fn value(word: &str) -> Value {
    let repeated = word.split_once('*').and_then(|(text, count)| {
        let count: usize = count.parse().ok().filter(|count| *count <= 1000)?;
        Some(text.repeat(count))
    });
    Value::new(repeated.as_deref().unwrap_or(word).as_bytes())
}

/// `P1` and the like.
fn node(word: &str) -> Result<NodeId, String> {
    word.parse()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Plays every file of `src/protocol/testdata`.
    #[test]
    fn transcripts_play_as_written() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol/testdata");
        let mut count = 0;
        for file in fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let played = Stage::play(&text).unwrap_or_else(|what| panic!("{path:?}: {what}"));
            if std::env::var_os("REWRITE").is_some() {
                fs::write(&path, &played).unwrap();
            } else {
                assert_eq!(played, text, "{path:?} plays differently; see src/sim/script.rs");
            }
            count += 1;
        }
        assert!(count >= 8, "only {count} transcripts");
    }
}
