//! Values that come in parts, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::{Assembled, AssemblyLimits, Taken};
use crate::bugs::{self, Bug};
use crate::protocol::entries::{Entries, EntryRef};
use crate::protocol::types::{Instance, Number, Part, Session};

/// [`super::Assemblies`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Assemblies(super::Assemblies);

impl Deref for Assemblies {
    type Target = super::Assemblies;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Assemblies {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Assemblies {
    /// See [`super::Assemblies::new`].
    pub fn new(limits: AssemblyLimits) -> Self {
        Assemblies(super::Assemblies::new(limits))
    }

    /// See [`super::Assemblies::emptied`].
    #[must_use]
    pub fn emptied(&self) -> Self {
        if bugs::has(Bug::MergesParts) {
            return self.clone();
        }
        Assemblies(self.0.emptied())
    }

    /// See [`super::Assemblies::is_open`].
    pub fn is_open(&self, session: Session) -> bool {
        self.0.is_open(session) || bugs::has(Bug::MixesSessions) && !self.open.is_empty()
    }

    /// See [`super::Assemblies::drop_open`].
    pub fn drop_open(&mut self, session: Session) -> Option<Number> {
        self.mix(session);
        self.0.drop_open(session)
    }

    /// See [`super::Assemblies::take`].
    pub fn take(&mut self, instance: Instance, entries: Entries) -> Taken {
        let Some(EntryRef::Part { origin, part, bytes }) = entries.first() else {
            unreachable!("the caller hands over parts, one at a time")
        };
        let (session, length) = (origin.session, bytes.len());
        self.mix(session);
        if part == Part::Last && bugs::has(Bug::IgnoresLengths) {
            self.announce_what_is_here(session, length);
        }
        let taken = self.0.take(instance, entries);
        if bugs::has(Bug::DeliversWithoutLastPart)
            && let Some(open) = self.open.get(&session).cloned()
            && open.value_bytes.saturating_sub(open.bytes) <= length
        {
            self.0.drop_open(session);
            let (parts, bytes) = (Arc::new(open.parts), open.bytes);
            return Taken::Whole(Assembled { instance, origin, parts, bytes });
        }
        taken
    }

    /// Makes every open value one of `session`.
    fn mix(&mut self, session: Session) {
        if bugs::has(Bug::MixesSessions)
            && let Some((_, open)) = self.open.pop_first()
        {
            self.order.insert(open.last(), session);
            self.open.insert(session, open);
        }
    }

    /// Declares the open value of `session` to be as long as its parts here plus one more of
    /// `length` bytes.
    fn announce_what_is_here(&mut self, session: Session, length: usize) {
        let Some(open) = self.0.open.get_mut(&session) else { return };
        let value_bytes = open.bytes + length;
        self.0.announced = self.0.announced - open.value_bytes + value_bytes;
        open.value_bytes = value_bytes;
    }
}
