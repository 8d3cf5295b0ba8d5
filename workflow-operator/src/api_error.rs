//! Errors of the API server.

use kube::{core::Status, runtime::watcher};

/// The message of an error. For an API error, without the prefix that kube adds.
pub fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether nothing can be created because the namespace is being deleted, or is deleted.
pub fn is_namespace_terminating(status: &Status) -> bool {
    status.details.as_ref().is_some_and(|details| {
        let mut reasons = details.causes.iter().map(|cause| &cause.reason);
        reasons.any(|reason| reason == "NamespaceTerminating")
            || (status.is_not_found() && details.kind == "namespaces")
    })
}

/// The message of a watch error.
pub fn watch_message(error: &watcher::Error) -> String {
    watch_status(error).map_or_else(|| error.to_string(), |status| status.message.clone())
}

/// The status of a watch error, if the API server returned one.
pub fn watch_status(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case::terminating("Forbidden", json!({"name": "w", "kind": "workplans", "causes": [{
        "reason": "NamespaceTerminating", "message": "namespace a is being terminated", "field": "metadata.namespace",
    }]}), true)]
    #[case::deleted("NotFound", json!({"name": "a", "kind": "namespaces"}), true)]
    #[case::not_served("NotFound", json!({}), false)]
    #[case::over_quota("Forbidden", json!({"name": "w", "kind": "workplans"}), false)]
    fn terminating_namespace_is_recognized(
        #[case] reason: &str,
        #[case] details: Value,
        #[case] terminating: bool,
    ) {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "details": details,
        });
        let status = serde_json::from_value(status).unwrap();
        assert_eq!(is_namespace_terminating(&status), terminating);
    }
}
