//! Requests about a lease: short, since a leader has little time.

use kube::core::Status;
use tokio::time::timeout;

use super::REQUEST;
use crate::error::with_causes;

/// A request about a lease failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the API server did not answer within {} s", REQUEST.as_secs())]
    Unanswered,
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    #[error("{}", with_causes(.0))]
    Failed(kube::Error),
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

pub async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    let answer = timeout(REQUEST, request).await;
    Ok(answer.map_err(|_| Failure::Unanswered)??)
}
