//! A bounded map that forgets what was not asked for lately.
//!
//! Never grows beyond its room. What is kept goes on the near board; when that is full it becomes the far one, and what was
//! there is gone. What is found on the far board comes back to the near one. Invariant: whoever holds a lock here does nothing
//! else meanwhile.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts that are locked apart from each other.
const PARTS: usize = 16;

/// See above.
#[derive(Debug)]
pub(super) struct Shelf<K, V> {
    parts: [Mutex<Boards<K, V>>; PARTS],
    hasher: RandomState,
}

#[derive(Debug)]
struct Boards<K, V> {
    near: HashMap<K, V>,
    far: HashMap<K, V>,
    /// How much a board takes.
    room: usize,
}

impl<K: Hash + Eq, V> Shelf<K, V> {
    /// Room for about so many.
    pub(super) fn with_room(room: usize) -> Self {
        let room = room.div_ceil(2 * PARTS);
        let boards = || Mutex::new(Boards { near: HashMap::new(), far: HashMap::new(), room });
        Self { parts: std::array::from_fn(|_| boards()), hasher: RandomState::new() }
    }

    /// What `choose` finds in what is kept under `key`.
    pub(super) fn pick<Q, T>(&self, key: &Q, choose: impl FnOnce(&V) -> Option<T>) -> Option<T>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut boards = self.part(key);
        if let Some(found) = boards.near.get(key) {
            return choose(found);
        }
        let (key, found) = boards.far.remove_entry(key)?;
        let chosen = choose(&found);
        boards.keep(key, found);
        chosen
    }

    /// Forgets what is kept under `key`.
    pub(super) fn forget<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut boards = self.part(key);
        boards.near.remove(key);
        boards.far.remove(key);
    }

    /// Forgets everything.
    pub(super) fn forget_all(&self) {
        for part in &self.parts {
            let mut boards = part.lock().unwrap_or_else(PoisonError::into_inner);
            boards.near.clear();
            boards.far.clear();
        }
    }

    /// Changes what is kept under `key`, or the default.
    pub(super) fn change(&self, key: K, change: impl FnOnce(&mut V))
    where
        V: Default,
    {
        let mut boards = self.part(&key);
        let kept = boards.near.remove(&key).or_else(|| boards.far.remove(&key));
        let mut value = kept.unwrap_or_default();
        change(&mut value);
        boards.keep(key, value);
    }

    fn part<Q: Hash + ?Sized>(&self, key: &Q) -> MutexGuard<'_, Boards<K, V>> {
        let hash = self.hasher.hash_one(key);
        let part = usize::try_from(hash >> 32).unwrap_or_default() % PARTS;
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, V: Clone> Shelf<K, V> {
    /// What is kept under `key`.
    pub(super) fn find<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.pick(key, |found| Some(found.clone()))
    }

    /// Keeps a value under `key`, or forgets what was there; gives it back.
    pub(super) fn put(&self, key: K, value: Option<V>) -> Option<V> {
        match &value {
            Some(value) => self.part(&key).keep(key, value.clone()),
            None => self.forget(&key),
        }
        value
    }
}

impl<K: Hash + Eq, V> Boards<K, V> {
    fn keep(&mut self, key: K, value: V) {
        if self.near.len() >= self.room {
            self.far = std::mem::take(&mut self.near);
        }
        self.near.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_holds_more_than_its_room_and_keeps_what_is_asked_for() {
        let shelf = Shelf::with_room(320);
        shelf.put("asked".to_owned(), Some(1));
        for number in 0..10_000 {
            shelf.put(number.to_string(), Some(number));
            assert_eq!(shelf.find("asked"), Some(1), "after {number}");
        }
        let held = |part: &Mutex<Boards<_, _>>| {
            let boards = part.lock().unwrap();
            boards.near.len() + boards.far.len()
        };
        let held: usize = shelf.parts.iter().map(held).sum();
        assert!((160..=320).contains(&held), "{held}");
    }

    #[test]
    fn what_is_forgotten_is_gone_from_both_boards() {
        let shelf = Shelf::with_room(2 * PARTS);
        for number in 0..8 {
            shelf.put(number, Some(number));
        }
        for number in 0..8 {
            shelf.put(number, None);
            assert_eq!(shelf.find(&number), None);
        }
        shelf.change(9, |list: &mut i32| *list = 4);
        assert_eq!(shelf.find(&9), Some(4));
        shelf.forget_all();
        assert_eq!(shelf.find(&9), None);
    }
}
