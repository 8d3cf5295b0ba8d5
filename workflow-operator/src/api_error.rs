//! What the API server said, without kube's wrapping.

use kube::{core::Status, runtime::watcher};

pub fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether the API server creates nothing because the namespace is being deleted, or gone already.
pub fn namespace_ends(status: &Status) -> bool {
    status.details.as_ref().is_some_and(|details| {
        let mut reasons = details.causes.iter().map(|cause| &cause.reason);
        reasons.any(|reason| reason == "NamespaceTerminating")
            || (status.is_not_found() && details.kind == "namespaces")
    })
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

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case::ends("Forbidden", json!({"name": "w", "kind": "workplans", "causes": [{
        "reason": "NamespaceTerminating", "message": "namespace a is being terminated", "field": "metadata.namespace",
    }]}), true)]
    #[case::gone("NotFound", json!({"name": "a", "kind": "namespaces"}), true)]
    #[case::not_served("NotFound", json!({}), false)]
    #[case::over_quota("Forbidden", json!({"name": "w", "kind": "workplans"}), false)]
    fn the_end_of_a_namespace_is_told_from_other_refusals(
        #[case] reason: &str,
        #[case] details: Value,
        #[case] ends: bool,
    ) {
        let answer = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "details": details,
        });
        let status = serde_json::from_value(answer).unwrap();
        assert_eq!(namespace_ends(&status), ends);
    }
}
