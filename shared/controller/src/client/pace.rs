//! How soon a watch begins again. kube's watcher resumes at once a watch that ends without an error, as those
//! do that an API server under load cuts off.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// How far the beginnings of two watches of the same path are apart at least.
const APART: Duration = Duration::from_secs(1);

/// When the watches of each path began or will begin, as far as that still matters.
#[derive(Debug, Default)]
pub struct Pace(Mutex<HashMap<String, Instant>>);

impl Pace {
    /// Waits until a watch of this path may begin.
    pub async fn wait(&self, path: &str) {
        sleep_until(self.next(path)).await;
    }

    fn next(&self, path: &str) -> Instant {
        let now = Instant::now();
        let mut begins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begins.retain(|_, begin| *begin + APART > now);
        let next = begins.get(path).map_or(now, |begin| *begin + APART);
        begins.insert(path.to_owned(), next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn watches_of_one_path_begin_apart() {
        let pace = Pace::default();
        let begun = Instant::now();
        for _ in 0..5 {
            pace.wait("/api/v1/pods").await;
        }
        assert_eq!(begun.elapsed(), APART * 4);
        let begun = Instant::now();
        pace.wait("/api/v1/nodes").await;
        tokio::time::advance(APART).await;
        pace.wait("/api/v1/pods").await;
        assert_eq!(begun.elapsed(), APART);
        assert_eq!(pace.0.lock().unwrap().len(), 1);
    }
}
