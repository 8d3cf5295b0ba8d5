//! Access reviews: whether a Workflow's `ServiceAccount` may watch what a trigger names.

use crate::watch_key::WatchKey;

/// The `ServiceAccount` of a Workflow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceAccount {
    /// The namespace, which is that of the Workflow.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// The result of an access review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessDecision {
    /// The `ServiceAccount` may watch the objects.
    Allowed,
    /// No rule allows it.
    Denied,
    /// No rule allows it, and the namespace of the objects does not exist.
    NamespaceNotFound,
    /// No rule allows it, and the `ServiceAccount` does not exist.
    ServiceAccountNotFound,
}

/// A review of whether a `ServiceAccount` may watch objects. The API server decides it as a `SubjectAccessReview`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccessReview {
    /// The `ServiceAccount` that must have the right.
    pub service_account: ServiceAccount,
    /// What it must be allowed to watch.
    pub key: WatchKey,
    /// Whether the resource has namespaces.
    pub namespaced: bool,
    /// The name of the only object that the trigger selects, if it names one.
    pub name: Option<String>,
}
