//! How a request about a lease failed.

use kube::core::Status;

use crate::error::with_causes;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    #[error("{}", with_causes(.0))]
    Failed(kube::Error),
    #[error("the watch ended as soon as it began")]
    Ended,
}

impl Failure {
    /// Another process changed the lease first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(status) if status.is_conflict() || status.is_already_exists())
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            error => Self::Failed(error),
        }
    }
}
