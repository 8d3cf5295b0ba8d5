//! State that is kept between reconciles, shared by the workers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// State by key: the uid of a Workplan, or the name of a node.
pub struct StateMap<T>(Mutex<HashMap<String, T>>);

impl<T> StateMap<T> {
    /// Reads the state of a key, if there is one.
    pub fn read<R>(&self, key: &str, read: impl FnOnce(&T) -> R) -> Option<R> {
        self.lock().get(key).map(read)
    }

    /// Changes the state of a key, if there is one.
    pub fn change<R>(&self, key: &str, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.lock().get_mut(key).map(change)
    }

    pub fn remove(&self, key: &str) {
        self.lock().remove(key);
    }

    /// Removes the state of a key if this is true of it.
    pub fn remove_if(&self, key: &str, condition: impl FnOnce(&T) -> bool) {
        let mut all = self.lock();
        if all.get(key).is_some_and(condition) {
            all.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> StateMap<T> {
    /// Changes the state of a key, which begins with the default.
    pub fn upsert<R>(&self, key: &str, change: impl FnOnce(&mut T) -> R) -> R {
        let mut all = self.lock();
        match all.get_mut(key) {
            Some(state) => change(state),
            None => change(all.entry(key.to_owned()).or_default()),
        }
    }
}

impl<T> Default for StateMap<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_kept_by_key_until_removed() {
        let map: StateMap<u32> = StateMap::default();
        assert_eq!(map.change("a", |state| *state += 1), None);
        map.upsert("a", |state| *state += 1);
        map.upsert("a", |state| *state += 1);
        map.change("a", |state| *state += 1);
        assert_eq!(map.read("a", |state| *state), Some(3));
        map.remove_if("a", |state| *state == 0);
        assert_eq!(map.read("a", |state| *state), Some(3));
        map.remove_if("a", |state| *state == 3);
        assert_eq!(map.read("a", |state| *state), None);
    }
}
