//! What the API server answers to requests that fail.

use kube::{core::Status, runtime::watcher};

/// Messages of etcd, and of the connection to it, about a request that is too large. The API server returns them
/// as an internal error.
const ETCD_TOO_LARGE: [&str; 2] = [
    "etcdserver: request is too large",
    "trying to send message larger than max",
];

/// The status of the API server; none if it did not answer.
#[must_use]
pub fn status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// The message of the API server, without kube's wrapping; else that of the error.
#[must_use]
pub fn message(error: &kube::Error) -> String {
    status(error).map_or_else(|| error.to_string(), |status| status.message.clone())
}

/// Whether the object was changed since it was read, or a precondition does not hold.
#[must_use]
pub fn is_conflict(error: &kube::Error) -> bool {
    status(error).is_some_and(Status::is_conflict)
}

/// Whether the object does not exist.
#[must_use]
pub fn is_not_found(error: &kube::Error) -> bool {
    status(error).is_some_and(Status::is_not_found)
}

/// Whether the object does not exist, or another one has its name: a precondition on the uid does not hold.
#[must_use]
pub fn is_gone(error: &kube::Error) -> bool {
    is_not_found(error) || is_conflict(error)
}

/// Whether an object is larger than the API server or etcd accepts. A retry does not help.
#[must_use]
pub fn is_too_large(status: &Status) -> bool {
    let of_etcd = || ETCD_TOO_LARGE.iter().any(|it| status.message.contains(it));
    status.code == 413 || (status.code >= 500 && of_etcd())
}

/// Whether nothing can be created in the namespace, because it is being deleted or does not exist.
#[must_use]
pub fn is_namespace_terminating(status: &Status) -> bool {
    status.details.as_ref().is_some_and(|details| {
        let mut reasons = details.causes.iter().map(|cause| &cause.reason);
        reasons.any(|reason| reason == "NamespaceTerminating")
            || (status.is_not_found() && details.kind == "namespaces")
    })
}

/// The status of the API server that ended a list or a watch, if one did.
#[must_use]
pub fn watch_status(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => status(error),
        watcher::Error::WatchError(status) => Some(status),
        watcher::Error::NoResourceVersion => None,
    }
}

/// The message of the API server that ended a list or a watch; else that of the error.
#[must_use]
pub fn watch_message(error: &watcher::Error) -> String {
    watch_status(error).map_or_else(|| error.to_string(), |status| status.message.clone())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn failure(code: u16, reason: &str, message: &str) -> Status {
        Status::failure(message, reason).with_code(code)
    }

    #[rstest]
    #[case::ends("Forbidden", json!({"name": "w", "kind": "workplans", "causes": [{
        "reason": "NamespaceTerminating", "message": "namespace a is being terminated", "field": "metadata.namespace",
    }]}), true)]
    #[case::gone("NotFound", json!({"name": "a", "kind": "namespaces"}), true)]
    #[case::not_served("NotFound", json!({}), false)]
    #[case::over_quota("Forbidden", json!({"name": "w", "kind": "workplans"}), false)]
    fn terminating_namespace_differs_from_other_rejections(
        #[case] reason: &str,
        #[case] details: Value,
        #[case] terminating: bool,
    ) {
        let answer = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "details": details,
        });
        let status = serde_json::from_value(answer).unwrap();
        assert_eq!(is_namespace_terminating(&status), terminating);
    }

    #[rstest]
    #[case(413, "anything", true)]
    #[case(500, "etcdserver: request is too large", true)]
    #[case(
        500,
        "rpc error: trying to send message larger than max (2 vs. 1)",
        true
    )]
    #[case(500, "etcdserver: leader changed", false)]
    #[case(422, "etcdserver: request is too large", false)]
    fn too_large_object_is_recognised(
        #[case] code: u16,
        #[case] message: &str,
        #[case] too_large: bool,
    ) {
        assert_eq!(is_too_large(&failure(code, "", message)), too_large);
    }

    #[test]
    fn message_is_that_of_the_api_server() {
        let error = kube::Error::Api(failure(409, "Conflict", "it was changed").boxed());
        assert_eq!(message(&error), "it was changed");
        assert!(is_conflict(&error) && is_gone(&error) && !is_not_found(&error));
        let error = watcher::Error::WatchStartFailed(error);
        assert_eq!(watch_message(&error), "it was changed");
        let message = watch_message(&watcher::Error::NoResourceVersion);
        assert_eq!(message, watcher::Error::NoResourceVersion.to_string());
    }
}
