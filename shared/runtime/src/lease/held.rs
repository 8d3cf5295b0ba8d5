use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    Candidate, RENEWED_WITHIN,
    decision::next_renewal,
    record,
    request::{Failure, bounded},
};

/// The lease, held by this process.
pub struct Held {
    candidate: Candidate,
    lease: Lease,
    /// When the last renewal that succeeded was sent.
    renewed: Instant,
}

/// Why the lease is no longer held.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Another process holds it now.
    #[error("{holder} has taken the lease")]
    Taken {
        /// The other's identity.
        holder: String,
    },
    /// Somebody deleted or released the lease.
    #[error("the lease was deleted or released by somebody else")]
    Gone,
    /// The API server took no renewal in time; another process may take over soon.
    #[error("the lease could not be renewed for {} s", RENEWED_WITHIN.as_secs())]
    Expired,
}

/// How one attempt to renew ended.
enum Renewal {
    Done,
    Lost(Lost),
    /// The lease was changed in passing but is still ours.
    Again,
}

impl Held {
    pub(super) fn new(candidate: Candidate, lease: Lease, renewed: Instant) -> Self {
        Self {
            candidate,
            lease,
            renewed,
        }
    }

    /// Renews the lease for as long as that works.
    pub async fn keep(&mut self) -> Lost {
        let mut failed = None;
        loop {
            let Some(next) = next_renewal(self.renewed, failed) else {
                return Lost::Expired;
            };
            sleep_until(next).await;
            let deadline = self.renewed + RENEWED_WITHIN;
            let Ok(renewal) = timeout_at(deadline, self.renew()).await else {
                return Lost::Expired;
            };
            failed = match renewal {
                Ok(Renewal::Done) => None,
                Ok(Renewal::Lost(lost)) => return lost,
                Ok(Renewal::Again) => Some(Instant::now()),
                Err(failure) => {
                    tracing::warn!("cannot renew the lease, trying again: {failure}");
                    Some(Instant::now())
                }
            };
        }
    }

    async fn renew(&mut self) -> Result<Renewal, Failure> {
        let sent = Instant::now();
        let lease = record::renewed(self.lease.clone(), Timestamp::now());
        match self.replace(&lease).await {
            Ok(lease) => {
                (self.lease, self.renewed) = (lease, sent);
                Ok(Renewal::Done)
            }
            Err(failure) if failure.is_conflict() => self.look_again().await,
            Err(Failure::Refused(status)) if status.is_not_found() => Ok(Renewal::Lost(Lost::Gone)),
            Err(failure) => Err(failure),
        }
    }

    /// A refused renewal may be our own earlier one, whose answer was lost.
    async fn look_again(&mut self) -> Result<Renewal, Failure> {
        let lease = bounded(self.candidate.api.get_opt(&self.candidate.name)).await?;
        let Some(lease) = lease else {
            return Ok(Renewal::Lost(Lost::Gone));
        };
        Ok(match record::holder(&lease) {
            Some(holder) if holder == self.candidate.identity => {
                self.lease = lease;
                Renewal::Again
            }
            Some(holder) => Renewal::Lost(Lost::Taken {
                holder: holder.to_owned(),
            }),
            None => Renewal::Lost(Lost::Gone),
        })
    }

    /// Lets the next leader take over at once. Where that fails, the lease expires by itself.
    pub async fn release(mut self) {
        let released = match self.look_again().await {
            Ok(Renewal::Again) => {
                let lease = record::released(self.lease.clone());
                self.replace(&lease).await.map(|_| ())
            }
            Ok(_) => Ok(()),
            Err(failure) => Err(failure),
        };
        match released {
            Ok(()) => tracing::info!("lease released"),
            Err(failure) => tracing::warn!("the lease is left to expire: {failure}"),
        }
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, Failure> {
        let (api, name) = (&self.candidate.api, &self.candidate.name);
        bounded(api.replace(name, &PostParams::default(), lease)).await
    }
}
