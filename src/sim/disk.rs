//! A disk that loses what was not synced, tears it, fails, or is full.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rng::Rng;
use crate::storage::disk::Disk;

/// A simulated disk. Clones share it, as two lives of a process share a real one.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, SimFile>,
    /// How many bytes fit; none is no limit.
    capacity: Option<usize>,
    /// Every sync fails.
    is_broken: bool,
}

#[derive(Clone, Debug, Default)]
struct SimFile {
    content: Vec<u8>,
    /// How much of it survives a crash for sure.
    stable: usize,
    /// Whether there may be room behind it.
    may_have_room: bool,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes: of what was not synced a part is there, and some of that is rubbish.
    pub fn crash(&self, rng: &mut Rng) {
        for file in self.state().files.values_mut() {
            let loose = file.content.len() - file.stable;
            // The length may be on the disk before the bytes are.
            let is_long = rng.chance(0.3);
            let kept = if is_long { loose } else { rng.below(loose as u64 + 1) as usize };
            let kept = file.stable + kept;
            file.content.truncate(kept);
            for byte in &mut file.content[file.stable..] {
                if rng.chance(0.1) {
                    *byte = rng.next_u64() as u8;
                }
            }
            if file.may_have_room && rng.chance(0.3) {
                let room = rng.below(64) as usize;
                file.content.resize(kept + room, 0);
            }
            file.stable = file.content.len();
        }
    }

    /// From now on at most `bytes` fit.
    pub fn limit(&self, bytes: Option<usize>) {
        self.state().capacity = bytes;
    }

    /// From now on syncing fails, or works again.
    pub fn set_broken(&self, is_broken: bool) {
        self.state().is_broken = is_broken;
    }

    /// How many bytes all files take.
    pub fn used(&self) -> usize {
        self.state().files.values().map(|file| file.content.len()).sum()
    }

    /// Changes a file behind its owner's back.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(file) = self.state().files.get_mut(name) {
            change(&mut file.content);
            file.stable = file.content.len();
        }
    }
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.state().files.get(name).map(|file| file.content.clone()).ok_or_else(missing)
    }

    fn create(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let (content, stable) = (content.to_vec(), content.len());
        let file = SimFile { content, stable, may_have_room: false };
        self.state().files.insert(name.to_owned(), file);
        Ok(())
    }

    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let used = self.used();
        let mut state = self.state();
        let room = state.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(used));
        let file = state.files.get_mut(name).ok_or_else(missing)?;
        file.may_have_room = true;
        // A full disk takes a part.
        file.content.extend_from_slice(&content[..content.len().min(room)]);
        if content.len() > room {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if state.is_broken {
            return Err(io::Error::other("the disk is broken"));
        }
        let file = state.files.get_mut(name).ok_or_else(missing)?;
        file.stable = file.content.len();
        Ok(())
    }

    fn cut(&mut self, name: &str, length: u64) -> io::Result<()> {
        let mut state = self.state();
        let file = state.files.get_mut(name).ok_or_else(missing)?;
        file.content.truncate(length as usize);
        file.stable = file.content.len();
        file.may_have_room = false;
        Ok(())
    }

    fn path_of(&self, name: &str) -> String {
        format!("disk/{name}")
    }
}
