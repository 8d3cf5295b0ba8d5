//! Patience with what fails: pauses that grow, and watches that make them.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt};
use kube::runtime::watcher::{Event, Result};
use tokio::time::{Instant, sleep_until, timeout};

const FIRST: Duration = Duration::from_millis(250);
const LONGEST_OF_WATCHES: Duration = Duration::from_secs(20);

/// How long to wait after this many failures: twice as long each time, spread over its upper half.
pub fn pause(failures: u32, longest: Duration) -> Duration {
    let full = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    full.min(longest).mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// A watch that pauses after each failure, longer each time until it shows something again. kube's own
/// `default_backoff` takes the beginning of each attempt to list for a success and never gets slower.
pub struct Steady<S> {
    stream: Pin<Box<S>>,
    failures: u32,
    not_before: Option<Instant>,
}

impl<K, S: Stream<Item = Result<Event<K>>>> Steady<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream: Box::pin(stream),
            failures: 0,
            not_before: None,
        }
    }

    /// How often it has failed since it last showed something.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What comes next, after the pause that is due.
    pub async fn next(&mut self) -> Option<Result<Event<K>>> {
        if let Some(not_before) = self.not_before {
            sleep_until(not_before).await;
            self.not_before = None;
        }
        let next = self.stream.next().await;
        match &next {
            Some(Err(_)) => {
                self.failures += 1;
                self.not_before = Some(Instant::now() + pause(self.failures, LONGEST_OF_WATCHES));
            }
            Some(Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_))) => self.failures = 0,
            _ => {}
        }
        next
    }

    /// What comes next; an error of time if nothing came for so long, which is no failure: a quiet watch
    /// is a good one.
    pub async fn next_within(
        &mut self,
        quiet: Duration,
    ) -> std::result::Result<Option<Result<Event<K>>>, tokio::time::error::Elapsed> {
        let next = timeout(LONGEST_OF_WATCHES + quiet, self.next()).await;
        if next.is_err() {
            self.failures = 0;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::watcher::Error;

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_keeps_failing_gets_slower_although_each_attempt_begins_well() {
        let attempts = (0..40).map(|at| match at % 2 {
            0 => Ok(Event::<ConfigMap>::Init),
            _ => Err(Error::NoResourceVersion),
        });
        let mut steady = Steady::new(futures::stream::iter(attempts));
        let begun = Instant::now();
        while steady.next().await.is_some() {}
        assert_eq!(steady.failures(), 20);
        assert!(
            begun.elapsed() > LONGEST_OF_WATCHES * 6,
            "{:?}",
            begun.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_shows_something_again_is_forgiven() {
        let events = [
            Err(Error::NoResourceVersion),
            Ok(Event::<ConfigMap>::InitDone),
        ];
        let mut steady = Steady::new(futures::stream::iter(events));
        assert!(steady.next().await.is_some_and(|next| next.is_err()));
        assert_eq!(steady.failures(), 1);
        assert!(steady.next().await.is_some_and(|next| next.is_ok()));
        assert_eq!(steady.failures(), 0);
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let longest = Duration::from_secs(30);
        for (failures, full) in [(1, FIRST), (2, FIRST * 2), (5, FIRST * 16), (40, longest)] {
            let pause = pause(failures, longest);
            assert!((full / 2..=full).contains(&pause), "{failures}: {pause:?}");
        }
    }
}
