//! How long to wait before something is tried again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_mins(1);

/// The attempts in vain, by the uid of the object that they were for.
#[derive(Default)]
pub struct Retries(Mutex<HashMap<String, Failed>>);

struct Failed {
    attempts: u32,
    retry_at: Instant,
}

impl Retries {
    /// Counts an attempt in vain, and says when to try again.
    pub fn next(&self, uid: &str) -> Instant {
        let mut all = self.all();
        let now = Instant::now();
        let failed = all.entry(uid.to_owned()).or_insert(Failed {
            attempts: 0,
            retry_at: now,
        });
        failed.retry_at = now + backoff(failed.attempts);
        failed.attempts += 1;
        failed.retry_at
    }

    /// When to try again, if that is not yet: whatever happens meanwhile, an attempt would hardly help.
    pub fn wait(&self, uid: &str) -> Option<Instant> {
        let retry_at = self.all().get(uid)?.retry_at;
        (Instant::now() < retry_at).then_some(retry_at)
    }

    /// Forgets the attempts; the next begin anew.
    pub fn reset(&self, uid: &str) {
        self.all().remove(uid);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Failed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_a_minute_and_begin_anew() {
        let retries = Retries::default();
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            let retry_at = retries.next("uid");
            let wait = (retry_at - Instant::now()).as_secs_f64();
            assert!(
                (0.75 * expected..=1.25 * expected).contains(&wait),
                "{wait} is not around {expected}"
            );
            assert_eq!(retries.wait("uid"), Some(retry_at));
            tokio::time::advance(retry_at - Instant::now()).await;
            assert_eq!(retries.wait("uid"), None);
        }
        retries.reset("uid");
        assert!((retries.next("uid") - Instant::now()).as_secs_f64() <= 1.25);
    }
}
