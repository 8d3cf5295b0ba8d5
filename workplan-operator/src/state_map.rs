//! Something that is kept in mind of each Workplan, until it is forgotten.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By the Workplans' uids.
pub struct ByWorkplan<T>(Mutex<HashMap<String, T>>);

impl<T> ByWorkplan<T> {
    pub fn all(&self) -> MutexGuard<'_, HashMap<String, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn forget(&self, uid: &str) {
        self.all().remove(uid);
    }
}

impl<T> Default for ByWorkplan<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
