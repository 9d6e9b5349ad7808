//! A disk that loses what was not synced, tears it, fails, or is full.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rng::Rng;
use crate::storage::disk::{Disk, Files, Mark, Space};

/// A simulated disk. Clones share it, as two runs of a process share a real one.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// The files by their inodes.
    files: BTreeMap<u64, SimFile>,
    names: BTreeMap<String, u64>,
    /// The names that survive a crash for sure, ...
    stable_names: BTreeMap<String, u64>,
    /// ... and what happened to names since, one operation after the other.
    renamings: Vec<Vec<(String, Option<u64>)>>,
    /// How many inodes were ever created.
    inodes: u64,
    /// How often the directory was copied: a copy is another one.
    copies: u64,
    /// How many bytes fit; none is no limit.
    capacity: Option<usize>,
    /// Every sync fails.
    is_broken: bool,
    /// How many more steps the process takes before it is killed.
    fuse: Option<u64>,
    /// How many steps were taken.
    steps: u64,
}

#[derive(Clone, Debug, Default)]
struct SimFile {
    content: Vec<u8>,
    /// How much of it survives a crash for sure, ...
    stable: usize,
    /// ... but for what was overwritten since: where, and what was there.
    overwritten: Vec<(usize, Vec<u8>)>,
    /// Whether there may be room behind it.
    may_have_room: bool,
    /// When it was made, and when it was last written by somebody else than its owner.
    birth: u64,
    modified: u64,
}

impl SimFile {
    fn sync(&mut self) {
        self.stable = self.content.len();
        self.overwritten.clear();
    }

    /// The power fails: a part of the unsynced data is there, and some of that is rubbish.
    fn crash(&mut self, rng: &mut Rng) {
        let kept = rng.below(self.overwritten.len() as u64 + 1) as usize;
        let lost = self.overwritten.split_off(kept);
        for (offset, before) in lost.into_iter().rev() {
            self.content[offset..offset + before.len()].copy_from_slice(&before);
        }
        // The last write may be there in part.
        if let Some((offset, before)) = self.overwritten.pop().filter(|_| rng.chance(0.3)) {
            let torn = rng.below(before.len() as u64 + 1) as usize;
            self.content[offset..offset + torn].copy_from_slice(&before[..torn]);
        }
        let loose = self.content.len() - self.stable;
        // The length may be on the disk before the bytes are.
        let is_long = rng.chance(0.3);
        let kept = if is_long { loose } else { rng.below(loose as u64 + 1) as usize };
        self.content.truncate(self.stable + kept);
        for byte in &mut self.content[self.stable..] {
            if rng.chance(0.1) {
                *byte = rng.next_u64() as u8;
            }
        }
        if self.may_have_room && rng.chance(0.3) {
            let room = rng.below(64) as usize;
            self.content.resize(self.content.len() + room, 0);
        }
        self.sync();
    }
}

impl State {
    fn file(&mut self, name: &str) -> io::Result<&mut SimFile> {
        let inode = self.names.get(name);
        inode.and_then(|inode| self.files.get_mut(inode)).ok_or_else(missing)
    }

    /// Frees files that have no name any more.
    fn keep_named(&mut self, names: &BTreeMap<String, u64>) {
        let named: BTreeSet<u64> = names.values().copied().collect();
        self.files.retain(|inode, _| named.contains(inode));
    }

    /// One step of the process that writes, unless it is killed before it.
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        match &mut self.fuse {
            Some(0) => Err(io::Error::other("the process is killed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn room(&self) -> usize {
        self.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    fn used(&self) -> usize {
        let files = self.names.values().filter_map(|inode| self.files.get(inode));
        files.map(|file| file.content.len()).sum()
    }

    fn bind(&mut self, names: Vec<(String, Option<u64>)>) {
        apply(&mut self.names, &names);
        self.renamings.push(names);
    }

    /// A new file of this content, all of it stable.
    fn put(&mut self, name: &str, content: Vec<u8>) {
        self.inodes += 1;
        let stable = content.len();
        let file = SimFile { content, stable, birth: self.inodes, ..SimFile::default() };
        self.files.insert(self.inodes, file);
        self.bind(vec![(name.to_owned(), Some(self.inodes))]);
    }
}

fn apply(names: &mut BTreeMap<String, u64>, changes: &[(String, Option<u64>)]) {
    for (name, inode) in changes {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power fails.
    pub fn crash(&self, rng: &mut Rng) {
        let mut state = self.state();
        state.fuse = None;
        let mut names = state.stable_names.clone();
        for changes in std::mem::take(&mut state.renamings) {
            if rng.chance(0.5) {
                apply(&mut names, &changes);
            }
        }
        state.files.values_mut().for_each(|file| file.crash(rng));
        state.keep_named(&names);
        state.stable_names = names.clone();
        state.names = names;
    }

    /// From now on at most `bytes` fit.
    pub fn limit(&self, bytes: Option<usize>) {
        self.state().capacity = bytes;
    }

    /// From now on syncing fails, or works again.
    pub fn set_broken(&self, is_broken: bool) {
        self.state().is_broken = is_broken;
    }

    /// After this many more steps every step fails, as if the process were dead; never for none.
    pub fn kill_after(&self, steps: Option<u64>) {
        self.state().fuse = steps;
    }

    /// How many steps were taken that change something.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// How many bytes all files take.
    pub fn used(&self) -> usize {
        self.state().used()
    }

    /// The names of the files.
    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// The content of a file; nothing if there is no such file.
    pub fn content(&self, name: &str) -> Vec<u8> {
        self.state().file(name).map(|file| file.content.clone()).unwrap_or_default()
    }

    /// Changes a file behind its owner's back.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        state.inodes += 1;
        let now = state.inodes;
        if let Ok(file) = state.file(name) {
            change(&mut file.content);
            file.sync();
            file.modified = now;
        }
    }

    /// Makes a file behind its owner's back.
    pub fn plant(&self, name: &str, content: &[u8]) {
        let mut state = self.state();
        state.put(name, content.to_vec());
        state.stable_names = state.names.clone();
    }

    /// Removes a file behind its owner's back.
    pub fn take_away(&self, name: &str) {
        let mut state = self.state();
        state.bind(vec![(name.to_owned(), None)]);
        state.stable_names = state.names.clone();
    }

    /// A copy of the whole directory, such as a backup.
    pub fn copy(&self) -> SimDisk {
        let original = self.state();
        let (inodes, copies) = (original.inodes, original.copies + 1);
        drop(original);
        let state = State { inodes, copies, ..State::default() };
        let copy = SimDisk { state: Arc::new(Mutex::new(state)) };
        copy.put_back(self, |_| true);
        copy
    }

    /// Copies files from a back-up over those that are there now.
    pub fn put_back(&self, backup: &SimDisk, is_wanted: impl Fn(&str) -> bool) {
        for name in backup.names().into_iter().filter(|name| is_wanted(name)) {
            self.plant(&name, &backup.content(&name));
        }
    }
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Files for SimDisk {
    fn length(&mut self, name: &str) -> io::Result<u64> {
        self.state().file(name).map(|file| file.content.len() as u64)
    }

    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        let content = &state.file(name)?.content;
        let rest = content.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// The disk as it is read beside the process that writes to it.
struct Beside(SimDisk);

impl Files for Beside {
    fn length(&mut self, name: &str) -> io::Result<u64> {
        self.0.length(name)
    }

    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.state().is_broken {
            return Err(io::Error::other("the disk is broken"));
        }
        self.0.read_at(name, offset, buffer)
    }
}

impl Disk for SimDisk {
    fn files(&self) -> io::Result<Box<dyn Files>> {
        Ok(Box::new(Beside(self.clone())))
    }

    fn list(&mut self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn mark(&mut self, name: &str) -> io::Result<Mark> {
        let mut state = self.state();
        let inode = *state.names.get(name).ok_or_else(missing)?;
        Ok(Mark { inode, birth: state.file(name)?.birth })
    }

    fn modified(&mut self, name: &str) -> io::Result<u64> {
        self.state().file(name).map(|file| file.modified)
    }

    fn own_mark(&mut self) -> io::Result<Mark> {
        Ok(Mark { inode: 2, birth: self.state().copies })
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.put(name, Vec::new());
        Ok(())
    }

    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let (step, room) = (state.step(), state.room());
        let file = state.file(name)?;
        file.may_have_room = true;
        if step.is_err() {
            // It was killed in the middle of it.
            file.content.extend_from_slice(&content[..content.len() / 2]);
            return step;
        }
        // A full disk takes a part.
        file.content.extend_from_slice(&content[..content.len().min(room)]);
        if content.len() > room {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    fn write_at(&mut self, name: &str, offset: u64, content: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let (step, room) = (state.step(), state.room());
        let file = state.file(name)?;
        let (offset, written) = (offset as usize, content.len());
        let written = if step.is_err() { written / 2 } else { written };
        let end = (offset + written).max(file.content.len());
        if end - file.content.len() > room {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        file.content.resize(end, 0);
        let place = &mut file.content[offset..offset + written];
        if offset < file.stable {
            file.overwritten.push((offset, place.to_vec()));
        }
        place.copy_from_slice(&content[..written]);
        step
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if state.is_broken {
            // File systems with delayed allocation may report this after they have dropped data.
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.file(name)?.sync();
        Ok(())
    }

    fn cut(&mut self, name: &str, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let file = state.file(name)?;
        file.content.truncate(length as usize);
        file.sync();
        file.may_have_room = false;
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let inode = *state.names.get(from).ok_or_else(missing)?;
        state.bind(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if !state.names.contains_key(name) {
            return Err(missing());
        }
        state.bind(vec![(name.to_owned(), None)]);
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if state.is_broken {
            // File systems with delayed allocation may report this after they have dropped data.
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.renamings.clear();
        state.stable_names = state.names.clone();
        let named = state.names.clone();
        state.keep_named(&named);
        Ok(())
    }

    fn space(&mut self) -> io::Result<Option<Space>> {
        let state = self.state();
        let (whole, free) = (state.capacity, state.room() as u64);
        Ok(whole.map(|whole| Space { whole: whole as u64, free }))
    }

    fn path_of(&self, name: &str) -> String {
        if name.is_empty() { "disk".to_owned() } else { format!("disk/{name}") }
    }
}
