//! When a status is written that nothing depends on: a moment late, so that a quick change after it goes
//! with it and no pod that is due meanwhile waits for the write.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

const LINGER: SignedDuration = SignedDuration::from_millis(100);

/// Since when Workplans have a status to be written, by their uids.
#[derive(Default)]
pub struct Linger(Mutex<HashMap<String, Timestamp>>);

impl Linger {
    /// When a status that is to be written should be; none if now.
    pub fn until(&self, uid: &str, now: Timestamp) -> Option<Timestamp> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = *all.entry(uid.to_owned()).or_insert(now) + LINGER;
        (now < until).then_some(until)
    }

    /// Takes note that nothing is to be written any more.
    pub fn forget(&self, uid: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_changes_do_not_hold_a_status_up() {
        let linger = Linger::default();
        let at = |millis: i64| Timestamp::from_millisecond(1_000_000 + millis).unwrap();
        assert_eq!(linger.until("uid", at(0)), Some(at(100)));
        assert_eq!(linger.until("uid", at(99)), Some(at(100)));
        assert_eq!(linger.until("uid", at(100)), None);
        linger.forget("uid");
        assert_eq!(linger.until("uid", at(150)), Some(at(250)));
    }
}
