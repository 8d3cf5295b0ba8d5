//! What the API server said, without kube's wrapping.

use kube::{core::Status, runtime::watcher};

pub fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

pub fn said_of_watch(error: &watcher::Error) -> String {
    refusal(error).map_or_else(|| error.to_string(), |status| status.message.clone())
}

/// What the API server answered to a watch, if it did.
pub fn refusal(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}
