use std::future::Future;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Held, POLL, REQUEST,
    decision::{Bid, Seen, bid},
    record, spread,
};
use crate::Readiness;

/// A process that wants to lead.
pub struct Candidate {
    pub(super) api: Api<Lease>,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) identity: String,
}

/// A request about the lease failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the API server did not answer within {} s", REQUEST.as_secs())]
    Unanswered,
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl Failure {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists())
    }
}

pub(super) async fn bounded<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Failure> {
    let answer = timeout(REQUEST, request).await;
    Ok(answer.map_err(|_| Failure::Unanswered)??)
}

impl Candidate {
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
        }
    }

    /// Stands by until the lease is ours. Failures are logged and tried again.
    pub async fn acquire(self, readiness: &Readiness) -> Held {
        let mut seen = None;
        let mut said = String::new();
        loop {
            let line = match self.look(&mut seen).await {
                Ok(Bid::Take) => match self.take(seen.as_ref()).await {
                    Ok(held) => return self.won(held),
                    Err(failure) => self.explain(&failure),
                },
                Ok(Bid::Wait { holder }) => {
                    readiness.standing_by(&holder);
                    format!("standing by, {holder} leads")
                }
                Err(failure) => self.explain(&failure),
            };
            if line != said {
                tracing::info!(lease = self.name, namespace = self.namespace, "{line}");
                said = line;
            }
            sleep(spread(POLL)).await;
        }
    }

    async fn look(&self, seen: &mut Option<Seen>) -> Result<Bid, Failure> {
        let lease = bounded(self.api.get_opt(&self.name)).await?;
        let now = Instant::now();
        *seen = lease.map(|lease| Seen::update(seen.take(), lease, now));
        Ok(match seen {
            Some(seen) => bid(seen, &self.identity, now),
            None => Bid::Take,
        })
    }

    async fn take(&self, seen: Option<&Seen>) -> Result<(Lease, Instant), Failure> {
        let sent = Instant::now();
        let (now, params) = (Timestamp::now(), PostParams::default());
        let lease = if let Some(seen) = seen {
            let lease = record::taken(seen.lease.clone(), &self.identity, now);
            bounded(self.api.replace(&self.name, &params, &lease)).await?
        } else {
            let lease = record::new(&self.namespace, &self.name);
            let lease = record::taken(lease, &self.identity, now);
            bounded(self.api.create(&params, &lease)).await?
        };
        Ok((lease, sent))
    }

    fn won(self, (lease, sent): (Lease, Instant)) -> Held {
        tracing::info!(
            lease = self.name,
            namespace = self.namespace,
            identity = self.identity,
            "leading"
        );
        Held::new(self, lease, sent)
    }

    fn explain(&self, failure: &Failure) -> String {
        if failure.is_conflict() {
            return "another process took the lease first".to_owned();
        }
        let (name, namespace) = (&self.name, &self.namespace);
        let remedy = match failure {
            Failure::Api(kube::Error::Api(status)) if status.is_forbidden() => format!(
                "; allow get, create and update of leases.coordination.k8s.io in namespace {namespace}"
            ),
            Failure::Api(kube::Error::Api(status)) if status.is_not_found() => {
                format!("; create the namespace {namespace} or choose another with --namespace")
            }
            _ => String::new(),
        };
        format!("cannot get hold of the lease {namespace}/{name}, trying again: {failure}{remedy}")
    }
}
