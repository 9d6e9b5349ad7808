//! The learners whose snapshots replace removed entries, with deliberate bugs; see
//! `protocol::parts`.

use std::ops::{Deref, DerefMut};

use crate::bugs::{self, Bug};
use crate::protocol::settings::Settings;
use crate::protocol::types::Instance;

/// [`super::Keepers`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Keepers(super::Keepers);

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
        keepers.limit(name, &settings)
    }
}
