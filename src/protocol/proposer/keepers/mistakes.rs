//! The learners whose snapshots replace removed entries, with deliberate bugs; see
//! `protocol::parts`.

use std::ops::{Deref, DerefMut};

use super::Kept;
use crate::bugs::{self, Bug};
use crate::protocol::message::Durable;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, Sender};

/// [`super::Keepers`], but for its mistakes, and what keepers had in earlier lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Keepers(super::Keepers, Vec<Kept>);

impl Deref for Keepers {
    type Target = super::Keepers;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Keepers {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Keepers {
    /// See [`super::Keepers::on_durable`].
    pub fn on_durable(&mut self, from: Sender, durable: &Durable, settings: &Settings) {
        let before = self.kept.get(&from.node.id).filter(|kept| kept.boot != from.boot);
        let before = before.filter(|_| bugs::has(Bug::CountsKeepersTwice)).cloned();
        self.1.extend(before);
        self.0.on_durable(from, durable, settings);
    }

    /// See [`super::Keepers::limit`].
    pub fn limit(&self, name: u64, settings: &Settings) -> Instance {
        let (mut keepers, mut settings) = (self.0.clone(), settings.clone());
        if bugs::has(Bug::TrimsOnNoCopy) {
            settings.keepers.clear();
        }
        if bugs::has(Bug::TrimsOnOneCopy) {
            settings.snapshot_copies = Some(1);
        }
        if bugs::has(Bug::CountsForeignCopies) {
            keepers.kept.values_mut().for_each(|kept| kept.name = name);
        }
        if bugs::has(Bug::CountsKeepersTwice) {
            settings.snapshot_copies.get_or_insert(settings.keepers.len() / 2 + 1);
            for (id, kept) in (1 << 31..).zip(&self.1) {
                keepers.kept.insert(id, kept.clone());
                settings.keepers.push(id);
            }
        }
        keepers.limit(name, &settings)
    }
}
