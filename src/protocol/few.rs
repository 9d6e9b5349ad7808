//! A list that mostly holds one thing: what a lone value makes of a vote, an acknowledgement, a
//! turn. Only a second one takes memory of its own.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};

/// A list that is a `Vec` only if it has to be. It reads as a slice.
#[derive(Clone)]
pub struct Few<T>(Held<T>);

#[derive(Clone)]
enum Held<T> {
    One(T),
    Any(Vec<T>),
}

impl<T> Few<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Few(Held::Any(Vec::new()))
    }

    /// Appends `item`.
    pub fn push(&mut self, item: T) {
        match std::mem::take(self).0 {
            Held::Any(held) if held.capacity() == 0 => self.0 = Held::One(item),
            Held::Any(mut held) => {
                held.push(item);
                self.0 = Held::Any(held);
            }
            Held::One(first) => self.0 = Held::Any(vec![first, item]),
        }
    }

    /// Takes away all from `place` on, and returns it.
    #[must_use]
    pub fn split_off(&mut self, place: usize) -> Self {
        match &mut self.0 {
            Held::Any(held) if place < held.len() => held.split_off(place).into(),
            Held::One(_) if place == 0 => std::mem::take(self),
            Held::One(_) | Held::Any(_) => Few::new(),
        }
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match &self.0 {
            Held::One(item) => std::slice::from_ref(item),
            Held::Any(held) => held,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Held::One(item) => std::slice::from_mut(item),
            Held::Any(held) => held,
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few::new()
    }
}

impl<T> From<T> for Few<T> {
    fn from(item: T) -> Self {
        Few(Held::One(item))
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(held: Vec<T>) -> Self {
        Few(Held::Any(held))
    }
}

impl<T> From<Few<T>> for Vec<T> {
    fn from(few: Few<T>) -> Self {
        match few.0 {
            Held::One(item) => vec![item],
            Held::Any(held) => held,
        }
    }
}

impl<T> Extend<T> for Few<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut few = Few::new();
        few.extend(items);
        few
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;
    fn into_iter(self) -> Self::IntoIter {
        let (one, others) = match self.0 {
            Held::One(item) => (Some(item), Vec::new()),
            Held::Any(held) => (None, held),
        };
        one.into_iter().chain(others)
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Few<T> {}

impl<T: PartialOrd> PartialOrd for Few<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (**self).partial_cmp(&**other)
    }
}

impl<T: Ord> Ord for Few<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl<T: Hash> Hash for Few<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for Few<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many there are, it is the list of them.
    #[test]
    fn it_is_a_list() {
        for count in 0..5_usize {
            let list: Vec<usize> = (0..count).collect();
            let few: Few<usize> = list.iter().copied().collect();
            assert_eq!(*few, list[..]);
            assert_eq!(few, Few::from(list.clone()));
            assert_eq!(few.clone().into_iter().collect::<Vec<_>>(), list);
            assert_eq!(Vec::from(few.clone()), list);
            for place in 0..count + 2 {
                let (mut head, middle) = (few.clone(), place.min(count));
                let tail = head.split_off(place);
                assert_eq!((&*head, &*tail), list.split_at(middle));
            }
        }
    }
}
