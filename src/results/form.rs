//! In which form does a learner print the values that it delivers?
//!
//! The lines depend on the log alone, not on how it came: two learners print the same.

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::digest::{DIGEST_BYTES, Digest};
use crate::protocol::assembly::Assembled;
use crate::protocol::checkpoint::Checkpoint;
use crate::protocol::segments::Page;
use crate::protocol::types::{Counted, Instance};
use crate::snapshots::keeper::Keeper;

/// How often a digest is printed, in instances.
const DIGEST_EVERY: u64 = 1000;

/// What to print on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Printed {
    /// Each value.
    #[default]
    Values,
    /// Each value with its instance.
    Positions,
    /// A digest of all values, every 1,000 instances and at the end.
    Digest,
}

/// Turns deliveries into lines.
#[derive(Debug)]
pub enum Form {
    /// Values, with their instances if requested.
    Values {
        /// Whether each line begins with the instance.
        has_positions: bool,
    },
    /// Digests.
    Digests(Running),
}

/// A digest that is kept while values are delivered.
#[derive(Debug, Default)]
pub struct Running {
    digest: Digest,
    /// The last instance up to which everything was delivered.
    position: u64,
    /// The position that was printed last, if any was.
    printed: Option<u64>,
    /// The writer of its snapshots, if they are kept.
    keeper: Option<Keeper>,
    /// The snapshot to go on from could not be read: nothing more is printed.
    is_lost: bool,
}

impl Form {
    /// The form of these lines; nothing is delivered yet.
    pub fn new(printed: Printed) -> Self {
        match printed {
            Printed::Values => Form::Values { has_positions: false },
            Printed::Positions => Form::Values { has_positions: true },
            Printed::Digest => Form::Digests(Running::default()),
        }
    }

    /// Digests that go on from these.
    pub fn digests(running: Running) -> Self {
        Form::Digests(running)
    }

    /// Discards the digest so far, and goes on from the snapshot of this place.
    pub fn restore(&mut self, checkpoint: &Checkpoint) {
        if let Form::Digests(running) = self {
            running.restore(checkpoint.head.of);
        }
    }

    /// Everything below this place is delivered, and nothing above: a snapshot could be taken.
    pub fn checkpoint(&mut self, checkpoint: &Arc<Checkpoint>) {
        if let Form::Digests(running) = self {
            running.keep(checkpoint);
        }
    }

    /// Whether the form must know how far delivery is, even where no value shows it.
    pub fn follows_positions(&self) -> bool {
        matches!(self, Form::Digests(_))
    }

    /// Appends the lines of values, which are delivered.
    pub fn page(&mut self, page: &Page, lines: &mut Vec<u8>) {
        match self {
            Form::Values { has_positions: false } => {
                for value in page.entries.values() {
                    lines.extend_from_slice(value);
                    lines.push(b'\n');
                }
            }
            Form::Values { has_positions: true } => {
                for (instance, value) in page.from.numbering(page.entries.values()) {
                    put_position(instance, lines);
                    lines.extend_from_slice(value);
                    lines.push(b'\n');
                }
            }
            Form::Digests(running) => {
                for (instance, value) in page.from.numbering(page.entries.values()) {
                    running.add(instance, value.len(), [value], lines);
                }
            }
        }
    }

    /// Appends what comes before the bytes of a long value, which was delivered. Returns whether
    /// its bytes follow, and the end of a line.
    pub fn long(&mut self, value: &Assembled, lines: &mut Vec<u8>) -> bool {
        match self {
            Form::Values { has_positions } => {
                if *has_positions {
                    put_position(value.instance, lines);
                }
                true
            }
            Form::Digests(running) => {
                running.add(value.instance, value.bytes(), value.pieces(), lines);
                false
            }
        }
    }

    /// Everything below `watermark` is delivered.
    pub fn passed(&mut self, watermark: Instance, lines: &mut Vec<u8>) {
        if let Form::Digests(running) = self {
            running.pass(watermark, lines);
        }
    }

    /// Nothing more is delivered.
    pub fn end(&mut self, lines: &mut Vec<u8>) {
        if let Form::Digests(running) = self
            && running.printed != Some(running.position)
            && !running.is_lost
        {
            running.print(running.position, lines);
        }
    }
}

impl Running {
    /// The digest of everything below `of`, as a snapshot has it.
    ///
    /// # Errors
    ///
    /// When it is no digest.
    pub fn resumed(of: Instance, snapshot: &mut impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        snapshot.read_to_end(&mut bytes)?;
        let no_digest = |_| io::Error::new(io::ErrorKind::InvalidData, "it has no digest");
        let bytes: [u8; DIGEST_BYTES] = bytes.try_into().map_err(no_digest)?;
        let position = of.0.saturating_sub(1);
        Ok(Running { digest: bytes.into(), position, ..Running::default() })
    }

    /// The same, with snapshots of it written by `keeper`.
    #[must_use]
    pub fn kept_by(self, keeper: Keeper) -> Self {
        Running { keeper: Some(keeper), ..self }
    }

    fn restore(&mut self, of: Instance) {
        let Some(keeper) = self.keeper.take() else { return };
        let resumed = keeper.read(of, |mut bytes| Running::resumed(of, &mut bytes));
        *self = match resumed {
            Ok(running) => running,
            Err(error) => {
                log::error!(
                    "the snapshot that was fetched cannot be read ({error}): no digest is printed \
                     any more; start the learner again"
                );
                Running { is_lost: true, ..Running::default() }
            }
        }
        .kept_by(keeper);
    }

    fn keep(&self, checkpoint: &Arc<Checkpoint>) {
        if self.is_lost {
            return;
        }
        let Some(keeper) = self.keeper.as_ref().filter(|keeper| keeper.is_free()) else { return };
        let bytes = self.digest.to_bytes();
        keeper.keep(Arc::clone(checkpoint), Box::new(move |out| out.write_all(&bytes)));
    }

    fn add<'a>(
        &mut self,
        instance: Instance,
        bytes: usize,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        lines: &mut Vec<u8>,
    ) {
        // Values are delivered in order, so everything below it was.
        self.pass(instance, lines);
        self.digest.add(instance.0, bytes, pieces);
        self.pass(instance.next(), lines);
    }

    /// Everything below `watermark` is in the digest.
    fn pass(&mut self, watermark: Instance, lines: &mut Vec<u8>) {
        let position = watermark.0.saturating_sub(1);
        while self.position < position {
            let next = (self.position / DIGEST_EVERY + 1) * DIGEST_EVERY;
            self.position = next.min(position);
            if self.position == next {
                self.print(next, lines);
            }
        }
    }

    fn print(&mut self, position: u64, lines: &mut Vec<u8>) {
        if self.is_lost {
            return;
        }
        // Formatting into memory does not fail.
        let _ = writeln!(lines, "{position} {}", self.digest);
        self.printed = Some(position);
    }
}

fn put_position(instance: Instance, lines: &mut Vec<u8>) {
    // Formatting into memory does not fail.
    let _ = write!(lines, "{instance}\t");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::actor::{Actor, Delivery, Effects};
    use crate::protocol::learner::Learner;
    use crate::protocol::message::{Decide, Message};
    use crate::protocol::settings::Settings;
    use crate::protocol::types::{
        AssignedBy, Ballot, Entry, NodeId, Number, Origin, Part, Role, Sender, Session, Time, Value,
    };
    use crate::rng::Rng;

    /// A log of `count` entries: values, no-ops, repetitions, and values in parts.
    fn log(count: u64) -> Vec<Entry> {
        let session = Session { client: 1, boot: 1 };
        let origin = |number, assigned_by| Origin::new(session, Number(number), assigned_by);
        let (mut number, mut entries) = (1, Vec::new());
        while (entries.len() as u64) < count {
            let value = Value::new(format!("value {number}").as_bytes());
            match number % 7 {
                0 => entries.push(Entry::Noop),
                1 => {
                    let origin = origin(number, AssignedBy::Client);
                    entries.push(Entry::Value { origin, value: value.clone() });
                }
                2 => {
                    let first = Part::First { value_bytes: 32 + value.as_bytes().len() as u32 };
                    let origin = origin(number, AssignedBy::Leader);
                    let bytes = Value::new(&[b'p'; 32]);
                    entries.push(Entry::Part { origin, part: first, bytes });
                    number += 1;
                    let origin = Origin { number: Number(number), ..origin };
                    entries.push(Entry::Part { origin, part: Part::Last, bytes: value.clone() });
                }
                _ => {}
            }
            let origin = origin(number, AssignedBy::Leader);
            if !matches!(entries.last(), Some(Entry::Part { .. })) {
                entries.push(Entry::Value { origin, value: value.clone() });
            }
            if number % 11 == 0 {
                entries.push(Entry::Value { origin, value });
            }
            number += 1;
        }
        entries.truncate(count as usize);
        entries
    }

    /// What is printed when the log comes in pages of lengths that `seed` draws, and out of order.
    fn printed(printed: Printed, entries: &[Entry], seed: u64) -> String {
        let mut rng = Rng::new(seed);
        let mut pages = Vec::new();
        let mut place = 0;
        while place < entries.len() {
            let length = 1 + rng.below(if seed == 0 { 1 } else { 400 }) as usize;
            let end = entries.len().min(place + length);
            let page = entries[place..end].to_vec().into();
            pages.push(Page { from: Instance(place as u64 + 1), entries: page });
            place = end;
        }
        for place in 1..if seed == 0 { 0 } else { pages.len() } {
            if rng.chance(0.3) {
                pages.swap(place - 1, place);
            }
        }
        let mut learner = Learner::new(1, 1, Settings::default(), Time::ZERO);
        let sender = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
        let (mut form, mut lines) = (Form::new(printed), Vec::new());
        for Page { from, entries } in pages {
            let mut fx = Effects::new();
            let decide = Decide { ballot: Ballot::ZERO, from, entries };
            learner.on_message(Time::ZERO, sender, Message::Decide(decide), &mut fx);
            for delivery in &fx.deliver {
                match delivery {
                    Delivery::Decided(_) | Delivery::Begins(_) => {}
                    Delivery::Delivered(page, _) => form.page(page, &mut lines),
                    Delivery::Assembled(value) => {
                        if form.long(value, &mut lines) {
                            value.pieces().for_each(|piece| lines.extend_from_slice(piece));
                            lines.push(b'\n');
                        }
                    }
                    Delivery::Passed(watermark) => form.passed(*watermark, &mut lines),
                    Delivery::Checkpoint(checkpoint) => form.checkpoint(checkpoint),
                    Delivery::Readable(_) | Delivery::Unreadable(_) => {}
                    Delivery::Restored(checkpoint) => form.restore(checkpoint),
                }
            }
        }
        form.end(&mut lines);
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn a_digest_depends_on_the_log_and_not_on_how_it_came() {
        let entries = log(4321);
        let expected = printed(Printed::Digest, &entries, 0);
        let positions: Vec<&str> =
            expected.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(positions, ["1000", "2000", "3000", "4000", "4321"]);
        for seed in 1..=20 {
            assert_eq!(printed(Printed::Digest, &entries, seed), expected, "seed {seed}");
        }
        // A longer log begins with the same lines, and another log does not.
        let longer = printed(Printed::Digest, &log(6000), 1);
        let [shared, other] = [&expected, &longer].map(|text| text.lines().take(4));
        assert!(shared.eq(other) && longer.lines().count() == 6, "{longer}");
        let mut changed = entries;
        // One that is delivered in any case.
        let value = changed[1500..].iter_mut().find_map(|entry| match entry {
            Entry::Value { origin, value } if origin.assigned_by == AssignedBy::Client => {
                Some(value)
            }
            Entry::Value { .. } | Entry::Noop | Entry::Part { .. } | Entry::Checkpoint { .. } => {
                None
            }
        });
        *value.unwrap() = Value::new(b"another");
        let other = printed(Printed::Digest, &changed, 1);
        let same = other.lines().zip(expected.lines()).filter(|(one, other)| one == other);
        assert_eq!(same.count(), 1, "{other}");
    }

    #[test]
    fn a_digest_can_be_computed_from_the_lines_with_positions() {
        let entries = log(2500);
        let (mut digest, mut expected, mut next) = (Digest::default(), String::new(), 1000);
        for line in printed(Printed::Positions, &entries, 3).lines() {
            let (instance, value) = line.split_once('\t').unwrap();
            let instance: u64 = instance.parse().unwrap();
            while instance > next {
                expected += &format!("{next} {digest}\n");
                next += 1000;
            }
            digest.add(instance, value.len(), [value.as_bytes()]);
        }
        expected += &format!("2500 {digest}\n");
        assert_eq!(printed(Printed::Digest, &entries, 4), expected);
    }

    #[test]
    fn the_end_is_printed_once() {
        let expected = printed(Printed::Digest, &log(1000), 1);
        assert!(expected.starts_with("1000 ") && expected.lines().count() == 1, "{expected}");
        assert_eq!(printed(Printed::Digest, &[], 1), format!("0 {}\n", Digest::default()));
        // No value shows the end.
        let noops = printed(Printed::Digest, &vec![Entry::Noop; 2001], 1);
        assert_eq!(noops.lines().count(), 3, "{noops}");
    }

    #[test]
    fn values_have_their_instances_if_asked_for() {
        let entries = log(60);
        let with = printed(Printed::Positions, &entries, 1);
        let without: String =
            with.lines().map(|line| format!("{}\n", line.split_once('\t').unwrap().1)).collect();
        assert_eq!(printed(Printed::Values, &entries, 2), without);
        assert_eq!(with.lines().next(), Some("1\tvalue 1"));
    }
}
