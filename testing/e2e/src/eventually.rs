use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{Instant, sleep};

const INTERVAL: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_mins(2);

/// Asks `probe` until it answers `Ok`, for two minutes at most.
///
/// # Panics
/// When it did not by then: with what was waited for and what the last answer was.
pub async fn eventually<T, E: Debug>(what: &str, probe: impl AsyncFnMut() -> Result<T, E>) -> T {
    eventually_within(PATIENCE, what, probe).await
}

/// As [`eventually`], with a patience of its own.
pub async fn eventually_within<T, E: Debug>(
    patience: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(last) if Instant::now() >= deadline => {
                panic!("{what}: not within {patience:?}; last seen: {last:?}")
            }
            Err(_) => sleep(INTERVAL).await,
        }
    }
}
