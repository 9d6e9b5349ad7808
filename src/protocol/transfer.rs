//! How does a snapshot get from one learner to another?
//!
//! A learner whose log begins above what it has applied cannot go on by itself. If it keeps
//! snapshots, it asks the other learners for one of theirs, puts that among its own, and goes on
//! from there ([`Fetching`]):
//!
//! ```text
//!   L3 --- Fetch (the newest) --> learners        to all: who has one that reaches the log?
//!   L1 --- Chunk (the first) --> L3               its name, and its first bytes
//!   L3 --- Fetch (64 chunks) --> L1 --- Chunk ... --> L3
//!   L3: they are on its disk; and so on, and then all of it is checked
//! ```
//!
//! 1. A snapshot is of use if it is of this log and keeps nothing that was trimmed: `keep` is not
//!    below where the log begins. If the log is trimmed beyond that meanwhile, another is fetched.
//! 2. A chunk counts if it is of the snapshot that is being fetched, whichever learner sends it:
//!    two snapshots of one name are the same bytes, unless one is damaged. The file's own checksums
//!    are looked at once all of it is there, before anything is made of it: a damaged one
//!    is thrown away, and fetched from another learner. A file of a later release is known by its
//!    beginning, and fetched no further.
//! 3. Chunks are fetched in groups of 64. A group is asked for once the one before it is in the
//!    file, so the file has no holes: one that is half there, even from an earlier incarnation
//!    of the process, is gone on with.
//! 4. Lost chunks are asked for again, and answered to the group then. A learner that does not
//!    answer for a while is given up, and so is the whole if none is left.
//! 5. While others decide, three quarters of the time are left to them.
//! 6. Until it has a snapshot, and has caught up from there, it tells the proposers from where on
//!    it needs the log, and they wait for it, within bounds (`proposer::fetchers`).
//!
//! None of this touches a disk: work on files is an [`Errand`], whose outcome comes back as an
//! input.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};

use super::actor::{Effects, Halt};
use super::checkpoint::Checkpoint;
use super::message::{Chunk, Fetch, LaterForm, Message, SnapshotName, StateKind};
use super::retry::{RoundTrip, backoff};
use super::settings::Settings;
use super::timer::Timer;
use super::types::{Instance, MESSAGE_BYTES_MAX, NodeId, Role, Time, To};

/// A chunk is no longer than this even if more fits a datagram, so that 64 of them fit a socket's
/// buffer.
const CHUNK_BYTES_MAX: usize = 1024;

/// How many chunks are requested at once.
const GROUP_CHUNKS: u64 = 64;

/// The pause after a group, as a multiple of the time it took.
const PAUSE: u32 = 3;

/// How long a learner that has begun to answer may be silent.
const SILENCE: Duration = Duration::from_secs(2);

/// After asking all others in vain this many times, the learner ends.
const LOOKS_MAX: u32 = 40;

/// How often a learner may have sent a damaged file: the part left from before a power failure is
/// fetched anew.
const STRIKES: usize = 2;

/// How long the disk may take before the errand is repeated: it may have been too busy to take it.
const DISK: Duration = Duration::from_secs(1);

/// Work on the files of snapshots, outside the role. The driver may skip it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Read what `asker` requests.
    Lend {
        /// The learner.
        asker: NodeId,
        /// Its request.
        fetch: Fetch,
    },
    /// Put this into the file of a snapshot that is being fetched, unless it is there already.
    Put {
        /// The snapshot.
        snapshot: SnapshotName,
        /// Where in the file it belongs: at its end, or before it.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// The outcome of an [`Errand`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// These were read.
    Lent {
        /// For this learner.
        asker: NodeId,
        /// As [`Fetch::again`].
        again: bool,
        /// In order.
        chunks: Vec<Chunk>,
    },
    /// This many bytes of the file are stored, from its beginning.
    Stored {
        /// The snapshot.
        snapshot: SnapshotName,
        /// How many.
        bytes: u64,
    },
    /// All of the file is on stable storage, and undamaged.
    Fetched {
        /// The snapshot.
        snapshot: SnapshotName,
        /// The state of delivery in it.
        checkpoint: Arc<Checkpoint>,
    },
    /// All of the file arrived, but it is damaged, or of no use to this learner. It is removed.
    Spoiled(SnapshotName),
    /// Its beginning says that a later release has written it, in a form that this one cannot read.
    Later(SnapshotName, LaterForm),
}

/// Sends what was read for another learner.
pub fn lend(asker: NodeId, again: bool, chunks: Vec<Chunk>, fx: &mut Effects) {
    let to = if again { To::Group(asker.role) } else { To::Node(asker) };
    chunks.into_iter().for_each(|chunk| fx.send(to, Message::Chunk(chunk)));
}

/// Where the chunks of `fetch` stand in a file of `bytes` bytes, and how long they are. They fit a
/// datagram of these settings: the first chunk tells the asker if that is less than it allows.
pub fn chunks(fetch: &Fetch, bytes: u64, settings: &Settings) -> Vec<(u64, usize)> {
    let chunk = (fetch.chunk_bytes as usize).min(chunk_bytes(settings));
    if fetch.snapshot.is_none() {
        return vec![(0, chunk.min(usize::try_from(bytes).unwrap_or(usize::MAX)))];
    }
    if chunk == 0 || chunk != fetch.chunk_bytes as usize {
        return Vec::new();
    }
    let wanted = (0..GROUP_CHUNKS).filter(|place| fetch.wanted >> place & 1 == 1);
    let place = |number: u64| {
        let offset = fetch.first.checked_add(number)?.checked_mul(chunk as u64)?;
        let rest = bytes.checked_sub(offset).filter(|rest| *rest > 0)?;
        Some((offset, chunk.min(usize::try_from(rest).unwrap_or(usize::MAX))))
    };
    wanted.filter_map(place).collect()
}

/// How long a chunk is.
fn chunk_bytes(settings: &Settings) -> usize {
    settings.datagram_bytes.saturating_sub(MESSAGE_BYTES_MAX).min(CHUNK_BYTES_MAX)
}

/// How long an answer may take.
fn timeout(round_trip: &RoundTrip, settings: &Settings) -> Duration {
    let least = settings.retry_catch_up;
    round_trip.timeout(least, least, settings.retry_max)
}

/// A learner that fetches a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fetching {
    kind: StateKind,
    /// Where the log begins.
    first: Instance,
    /// The name of the log; 0 while that is not known.
    log: u64,
    /// How often it has asked all others since it last got further than before.
    looks: u32,
    /// The most of a file that it has had.
    most: u64,
    /// What it fetches; none while it looks for a learner that has one.
    source: Option<Source>,
    /// Which learner sent a damaged file, and which one it was.
    spoiled: Vec<(u32, SnapshotName)>,
    /// Learners that began to send and did not go on. They are asked again when no other answers.
    silent: Vec<u32>,
    /// A learner of a later release, and the form of its snapshot, which cannot be read here.
    later: Vec<(u32, LaterForm)>,
    round_trip: RoundTrip,
}

/// A snapshot that is being fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Source {
    /// The learner that is asked.
    of: u32,
    name: SnapshotName,
    /// How long a chunk is.
    chunk: usize,
    /// Where in the file the group begins.
    offset: u64,
    /// The bytes of the group.
    bytes: Vec<u8>,
    /// A bit for each chunk of the group that is missing.
    wanted: u64,
    /// When the group was first and last requested; none before.
    asked: Option<(Time, Time)>,
    /// How often it was requested.
    tries: u32,
    /// When something of it last arrived.
    heard: Time,
    /// Something was decided since then.
    others_decide: bool,
}

impl Source {
    fn new(of: u32, name: SnapshotName, now: Time, chunk: usize) -> Self {
        let (bytes, wanted) = (Vec::new(), 0);
        let (asked, tries, others_decide) = (None, 0, false);
        let (offset, heard) = (0, now);
        let mut source =
            Source { of, name, chunk, offset, bytes, wanted, asked, tries, heard, others_decide };
        source.go_to(0);
        source
    }

    /// Goes to the group that begins at `offset`.
    fn go_to(&mut self, offset: u64) {
        let (chunk, group) = (self.chunk, GROUP_CHUNKS as usize * self.chunk);
        let rest = usize::try_from(self.name.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = rest.min(group);
        let count = length.div_ceil(chunk) as u32;
        self.bytes = vec![0; length];
        self.wanted = if count == 0 { 0 } else { u64::MAX >> (u64::BITS - count) };
        (self.offset, self.asked, self.tries, self.others_decide) = (offset, None, 0, false);
    }

    /// Takes a chunk. Returns whether it was missing.
    fn take(&mut self, chunk: &Chunk) -> bool {
        let chunk_bytes = self.chunk;
        let Some(place) = chunk.offset.checked_sub(self.offset) else { return false };
        let Ok(place) = usize::try_from(place) else { return false };
        let (number, bytes) = (place / chunk_bytes, chunk.bytes.as_bytes());
        let end = self.bytes.len().min(place.saturating_add(chunk_bytes));
        let fits = place.is_multiple_of(chunk_bytes) && place < end && bytes.len() == end - place;
        if !fits || self.wanted >> number & 1 == 0 {
            return false;
        }
        self.bytes[place..end].copy_from_slice(bytes);
        self.wanted &= !(1 << number);
        true
    }

    fn put(&self, now: Time, fx: &mut Effects) {
        let (snapshot, offset, bytes) = (self.name, self.offset, self.bytes.clone());
        fx.errands.push(Errand::Put { snapshot, offset, bytes });
        fx.set_timer(Timer::Fetch, now + DISK);
    }
}

impl Fetching {
    /// A learner that can use snapshots of this kind, of a log that begins at `first` and is called
    /// `log`.
    pub fn new(kind: StateKind, first: Instance, log: u64) -> Self {
        Fetching {
            kind,
            first,
            log,
            looks: 0,
            most: 0,
            source: None,
            spoiled: Vec::new(),
            silent: Vec::new(),
            later: Vec::new(),
            round_trip: RoundTrip::default(),
        }
    }

    /// From where on it needs the log: what follows the snapshot, or all that there is.
    pub fn needs(&self) -> Instance {
        self.source.as_ref().map_or(self.first, |source| source.name.keep)
    }

    /// Something was decided: others need the network.
    pub fn on_decide(&mut self) {
        if let Some(source) = &mut self.source {
            source.others_decide = true;
        }
    }

    /// The log begins at `first` by now. Starts to fetch.
    pub fn on_turn_end(
        &mut self,
        now: Time,
        first: Instance,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        self.first = self.first.max(first);
        let is_late = |source: &Source| source.name.keep < self.first;
        if self.source.as_ref().is_some_and(is_late) {
            info!("the snapshot that is being fetched is too old by now: looks for another");
            self.source = None;
            self.look(fx, now, settings);
        }
        if self.looks == 0 && self.source.is_none() {
            info!(
                target: "paxos::report",
                "the log begins at instance {}: fetches a snapshot from another learner", self.first
            );
            self.look(fx, now, settings);
        }
    }

    /// The timer is due. Returns whether to give up.
    pub fn on_timer(&mut self, now: Time, settings: &Settings, fx: &mut Effects) -> bool {
        match &mut self.source {
            Some(source) if source.wanted == 0 => source.put(now, fx),
            Some(source) if now.since(source.heard) < SILENCE => self.ask(now, settings, fx),
            Some(source) => {
                warn!("L{} sends no more of its snapshot: looks for another", source.of);
                self.silent.push(source.of);
                self.source = None;
                self.look(fx, now, settings);
            }
            None if self.looks >= LOOKS_MAX => return true,
            None => {
                self.silent.clear();
                self.look(fx, now, settings);
            }
        }
        false
    }

    /// Asks all learners who has one.
    fn look(&mut self, fx: &mut Effects, now: Time, settings: &Settings) {
        self.looks = self.looks.saturating_add(1);
        let fetch = Fetch {
            of: None,
            again: self.looks.is_multiple_of(2),
            kind: self.kind,
            snapshot: None,
            chunk_bytes: chunk_bytes(settings) as u32,
            first: 0,
            wanted: 1,
        };
        fx.send(Role::Learner, Message::Fetch(fetch));
        fx.set_timer(Timer::Fetch, now + settings.retry_max);
    }

    /// Asks for what is missing of the group.
    fn ask(&mut self, now: Time, settings: &Settings, fx: &mut Effects) {
        let Some(source) = &mut self.source else { return };
        let (again, chunk) = (source.tries > 0, source.chunk);
        let fetch = Fetch {
            of: Some(source.of),
            again,
            kind: self.kind,
            snapshot: Some(source.name),
            chunk_bytes: chunk as u32,
            first: source.offset / chunk as u64,
            wanted: source.wanted,
        };
        let learner = NodeId::new(Role::Learner, source.of);
        let to = if again { To::Group(Role::Learner) } else { To::Node(learner) };
        fx.sent_again += u64::from(again);
        fx.send(to, Message::Fetch(fetch));
        let timeout = timeout(&self.round_trip, settings);
        fx.set_timer(Timer::Fetch, now + backoff(timeout, source.tries, settings.retry_max));
        source.asked = Some((source.asked.map_or(now, |(first, _)| first), now));
        source.tries = source.tries.saturating_add(1);
    }

    /// A chunk has come.
    pub fn on_chunk(
        &mut self,
        now: Time,
        from: NodeId,
        chunk: &Chunk,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        if self.source.is_none() && chunk.offset == 0 && self.is_of_use(from.id, &chunk.snapshot) {
            let SnapshotName { of, bytes, .. } = chunk.snapshot;
            info!("fetches the snapshot of {of} from {from}: {bytes} bytes");
            // The sender's path may carry less.
            let length = match chunk.bytes.as_bytes().len() {
                0 => return,
                sent if (sent as u64) < bytes => sent.min(chunk_bytes(settings)),
                _ => chunk_bytes(settings),
            };
            self.source = Some(Source::new(from.id, chunk.snapshot, now, length));
        }
        let Some(source) = &mut self.source else { return };
        if source.name != chunk.snapshot || !source.take(chunk) {
            return;
        }
        if let (Some((_, asked)), 1) = (source.asked, source.tries) {
            self.round_trip.measure(asked, now);
        }
        source.heard = now;
        if source.wanted == 0 {
            source.put(now, fx);
        } else if source.asked.is_none() {
            self.ask(now, settings, fx);
        } else {
            // The rest is under way.
            fx.set_timer(Timer::Fetch, now + timeout(&self.round_trip, settings));
        }
    }

    fn is_of_use(&self, of: u32, name: &SnapshotName) -> bool {
        let is_of_log = self.log == 0 || name.log == 0 || name.log == self.log;
        let reaches = name.keep >= self.first;
        let strikes = self.spoiled.iter().filter(|spoiled| **spoiled == (of, *name)).count();
        let is_later = self.later.iter().any(|(other, _)| *other == of);
        let is_sound =
            name.bytes > 0 && strikes < STRIKES && !is_later && !self.silent.contains(&of);
        is_of_log && reaches && is_sound
    }

    /// This much of the file is on the disk.
    pub fn on_stored(
        &mut self,
        now: Time,
        (snapshot, bytes): (SnapshotName, u64),
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let Some(source) = self.source.as_mut().filter(|source| source.name == snapshot) else {
            return;
        };
        source.heard = now;
        if bytes > self.most {
            (self.most, self.looks) = (bytes, 0);
        }
        let group = GROUP_CHUNKS * source.chunk as u64;
        let took = source.asked.map_or(Duration::ZERO, |(first, _)| now.since(first));
        let pause = if source.others_decide { took * PAUSE } else { Duration::ZERO };
        // A group that an earlier process left incomplete is fetched again.
        source.go_to(bytes / group * group);
        if pause.is_zero() {
            return self.ask(now, settings, fx);
        }
        fx.set_timer(Timer::Fetch, now + pause.min(settings.retry_max));
    }

    /// The file is damaged, or of no use.
    pub fn on_spoiled(
        &mut self,
        now: Time,
        snapshot: SnapshotName,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        warn!("the snapshot of {} that was fetched cannot be used: looks for another", snapshot.of);
        if let Some(source) = self.source.take_if(|source| source.name == snapshot) {
            self.spoiled.push((source.of, snapshot));
        }
        self.look(fx, now, settings);
    }

    /// It is of a later release. Its learner is not asked again: what it writes next is as well.
    pub fn on_later(
        &mut self,
        now: Time,
        (snapshot, form): (SnapshotName, LaterForm),
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let Some(source) = self.source.take_if(|source| source.name == snapshot) else { return };
        warn!(
            "the snapshot of {} that L{} has is of a later release, which this one cannot read \
             ({form}): looks for another",
            snapshot.of, source.of
        );
        self.later.push((source.of, form));
        self.look(fx, now, settings);
    }

    /// Why this learner ends, when it has asked in vain.
    pub fn in_vain(&self, first: Instance) -> Halt {
        match self.later.last() {
            Some((of, form)) => Halt::LaterSnapshot { first, of: *of, form: *form },
            None => Halt::NoSnapshot(first),
        }
    }

    /// Whether all of this snapshot was fetched and it is still of use.
    pub fn is_at_end_of(&self, snapshot: &SnapshotName) -> bool {
        self.source.as_ref().is_some_and(|source| source.name == *snapshot)
    }
}
