//! Delays between attempts that fail.

use std::time::Duration;

use tokio::time::Instant;

/// An exponential backoff: the first delay doubles with each failure in a row, up to the longest. A random part,
/// up to a quarter, is subtracted, so that clients that failed together do not retry together.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// A backoff between these delays.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// From a quarter of a second, up to this delay.
    #[must_use]
    pub const fn up_to(longest: Duration) -> Self {
        Self::new(Duration::from_millis(250), longest)
    }

    /// The delay after this many failures in a row.
    #[must_use]
    pub fn delay(self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let full = self.first.saturating_mul(doubled).min(self.longest);
        full.mul_f64(1.0 - fastrand::f64() / 4.0)
    }
}

/// The failures in a row of one object, and the time of its next attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failures {
    count: u32,
    retry_at: Option<Instant>,
}

impl Failures {
    /// Counts a failure; returns the time of the next attempt.
    pub fn add(&mut self, backoff: Backoff) -> Instant {
        self.count = self.count.saturating_add(1);
        let retry_at = Instant::now() + backoff.delay(self.count);
        self.retry_at = Some(retry_at);
        retry_at
    }

    /// The time of the next attempt, if it is in the future.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at.filter(|retry_at| Instant::now() < *retry_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_up_to_a_bound() {
        let (first, longest) = (Duration::from_millis(250), Duration::from_secs(30));
        for (failures, full) in [(1, first), (2, first * 2), (5, first * 16), (40, longest)] {
            let wait = Backoff::up_to(longest).delay(failures);
            assert!((full / 2..=full).contains(&wait), "{failures}: {wait:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_double_up_to_a_minute_and_restart() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        let mut failures = Failures::default();
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            let retry_at = failures.add(backoff);
            let wait = (retry_at - Instant::now()).as_secs_f64();
            assert!(
                (0.75 * expected..=1.25 * expected).contains(&wait),
                "{wait} is not around {expected}"
            );
            assert_eq!(failures.retry_at(), Some(retry_at));
            tokio::time::advance(retry_at - Instant::now()).await;
            assert_eq!(failures.retry_at(), None);
        }
        failures = Failures::default();
        assert!((failures.add(backoff) - Instant::now()).as_secs_f64() <= 1.25);
    }
}
