//! Tasks whose results the main loop takes itself, so that none of them ever waits for it.

use std::panic::resume_unwind;

use tokio::task::JoinSet;

/// The result of the next task that ends; nothing if none runs. A panic goes on here.
pub async fn joined<T: 'static>(tasks: &mut JoinSet<T>) -> Option<T> {
    loop {
        match tasks.join_next().await? {
            Ok(result) => return Some(result),
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // Aborted, which nobody does.
            Err(_) => {}
        }
    }
}
