//! How long to wait before something is tried again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_mins(1);

/// The attempts in vain, by the uid of the object that they were for.
#[derive(Default)]
pub struct Retries(Mutex<HashMap<String, u32>>);

impl Retries {
    /// Counts an attempt in vain, and says how long to wait.
    pub fn next(&self, uid: &str) -> Duration {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = attempts.entry(uid.to_owned()).or_default();
        let wait = backoff(*attempt);
        *attempt += 1;
        wait
    }

    /// Forgets the attempts; the next begin anew.
    pub fn reset(&self, uid: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }
}

/// How long to wait after so many attempts before the last: twice as long each time, a little at random.
pub fn backoff(attempts: u32) -> Duration {
    let wait = FIRST.saturating_mul(1 << attempts.min(16)).min(LAST);
    wait.mul_f64(fastrand::f64().mul_add(0.5, 0.75))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew() {
        let retries = Retries::default();
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            let wait = retries.next("uid").as_secs_f64();
            assert!(
                (0.75 * expected..=1.25 * expected).contains(&wait),
                "{wait} is not around {expected}"
            );
        }
        retries.reset("uid");
        assert!(retries.next("uid").as_secs_f64() <= 1.25);
    }
}
