//! Holds back what would change something while the lease may be another's.

use tokio::{sync::watch, time::Instant};

/// Open for as long as no other process can hold the lease; closed at first.
#[derive(Clone, Debug)]
pub struct Fence(watch::Sender<Option<Instant>>);

impl Fence {
    pub fn closed() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Opens it until then.
    pub fn open_until(&self, until: Instant) {
        self.0.send_replace(Some(until));
    }

    pub fn is_open(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until it is open.
    pub async fn open(&self) {
        let is_open = |until: &Option<Instant>| until.is_some_and(|until| Instant::now() < until);
        // The sender lives as long as this fence does.
        let _ = self.0.subscribe().wait_for(is_open).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fence_closes_by_itself_and_opens_again() {
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
