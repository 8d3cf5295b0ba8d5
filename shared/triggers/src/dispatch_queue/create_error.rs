/// A Workplan was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The API server rejected it: it does not exist.
    #[error("rejected: {0}")]
    Rejected(String),
    /// The Workplan is larger than the API server can store.
    #[error("too large: {0}")]
    TooLarge(String),
    /// The request has no definite result: the Workplan may exist.
    #[error("result unknown: {0}")]
    Unknown(String),
    /// The namespace is being deleted, and the Workflow with it.
    #[error("the namespace is being deleted")]
    NamespaceTerminating,
}
