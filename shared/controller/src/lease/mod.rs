//! Leader election with a `coordination.k8s.io/v1` Lease.

mod election;
#[cfg(test)]
mod election_cases;
#[cfg(test)]
mod fake_server;
mod record;

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

pub use election::{Candidate, HeldLease, LeaseLost};

/// The duration of a lease after its last renewal, as other processes see it.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long a leader sends changes after it sent its last successful renewal. Others count from when they read the
/// renewal, which is later. The rest is for clocks of different speed and for requests in flight.
const RENEW_DEADLINE: Duration = Duration::from_secs(13);
const RENEW_INTERVAL: Duration = Duration::from_secs(6);
/// A renewal without an answer for this long is sent again, in parallel, on another connection.
const PARALLEL_AFTER: Duration = Duration::from_secs(2);
/// The maximum of parallel requests for one renewal.
const MAX_PARALLEL: usize = 4;
/// The longest delay after a request that fails.
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// The duration of one watch of a standby, in seconds.
const WATCH_SECONDS: u32 = 290;
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Delays changes while another process may hold the lease: it is open as long as no other process can, and closed at
/// first.
#[derive(Clone, Debug)]
pub struct Fence(watch::Sender<Option<Instant>>);

impl Fence {
    pub fn closed() -> Self {
        Self(watch::Sender::new(None))
    }

    pub fn open_until(&self, until: Instant) {
        self.0.send_replace(Some(until));
    }

    pub fn is_open(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until it is open.
    pub async fn open(&self) {
        let is_open = |until: &Option<Instant>| until.is_some_and(|until| Instant::now() < until);
        // It fails once the sender is dropped; `self` holds it.
        let _ = self.0.subscribe().wait_for(is_open).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fence_closes_in_time_and_opens_again() {
        let fence = Fence::closed();
        assert!(fence.open().now_or_never().is_none());
        let second = Duration::from_secs(1);
        fence.open_until(Instant::now() + second);
        assert!(fence.open().now_or_never().is_some());
        tokio::time::advance(second).await;
        assert!(!fence.is_open());
        let waiting = tokio::spawn({
            let fence = fence.clone();
            async move { fence.open().await }
        });
        tokio::task::yield_now().await;
        fence.open_until(Instant::now() + second);
        waiting.await.unwrap();
    }
}
