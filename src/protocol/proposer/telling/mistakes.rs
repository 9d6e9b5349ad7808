//! Who hears what is decided, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use crate::bugs::{self, Bug};
use crate::protocol::decided_log::DecidedLog;

/// [`super::News`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct News(super::News);

impl Deref for News {
    type Target = super::News;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for News {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl News {
    /// See [`super::News::name`].
    pub fn name(&mut self, log: &DecidedLog) {
        self.0.name(log);
        if bugs::has(Bug::NamesHoles) {
            self.names.until = log.end();
        }
    }
}
