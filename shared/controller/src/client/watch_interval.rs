//! The interval between watches. A watch that ends without an error is resumed at once; an API server under load may end
//! watches early.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The minimum between the starts of two watches of the same path.
const INTERVAL: Duration = Duration::from_secs(1);

/// The latest start of a watch of each path, kept for the interval.
#[derive(Debug, Default)]
pub struct WatchInterval(Mutex<HashMap<String, Instant>>);

impl WatchInterval {
    /// Waits until a watch of this path may begin.
    pub async fn wait(&self, path: &str) {
        sleep_until(self.next(path)).await;
    }

    fn next(&self, path: &str) -> Instant {
        let now = Instant::now();
        let mut begins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begins.retain(|_, begin| *begin + INTERVAL > now);
        let next = begins.get(path).map_or(now, |begin| *begin + INTERVAL);
        begins.insert(path.to_owned(), next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn watches_of_one_path_have_an_interval() {
        let interval = WatchInterval::default();
        let begun = Instant::now();
        for _ in 0..5 {
            interval.wait("/api/v1/pods").await;
        }
        assert_eq!(begun.elapsed(), INTERVAL * 4);
        let begun = Instant::now();
        interval.wait("/api/v1/nodes").await;
        tokio::time::advance(INTERVAL).await;
        interval.wait("/api/v1/pods").await;
        assert_eq!(begun.elapsed(), INTERVAL);
        assert_eq!(interval.0.lock().unwrap().len(), 1);
    }
}
