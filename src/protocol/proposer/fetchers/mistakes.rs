//! Learners for which the log is kept, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use crate::bugs::{self, Bug};
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, Time};

/// [`super::Fetchers`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fetchers(super::Fetchers);

impl Deref for Fetchers {
    type Target = super::Fetchers;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Fetchers {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Fetchers {
    /// See [`super::Fetchers::limit`].
    pub fn limit(&mut self, now: Time, name: u64, settings: &Settings) -> Instance {
        if bugs::has(Bug::IgnoresFetchers) {
            return Instance(u64::MAX);
        }
        if bugs::has(Bug::WaitsForFetchersForever) {
            self.0.needs.values_mut().for_each(|need| need.since = now);
        }
        self.0.limit(now, name, settings)
    }
}
