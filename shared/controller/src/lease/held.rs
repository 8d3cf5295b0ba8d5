use futures::{StreamExt as _, stream::FuturesUnordered};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    AT_ONCE, BESIDE, Candidate, LONGEST_PAUSE, RELEASE, RENEW, SAFE, record, request::Failure,
};
use crate::backoff;

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
}

/// How one attempt to renew ended.
enum Renewal {
    Done(Lease),
    /// An earlier attempt succeeded, whose answer is not here.
    DoneBefore(Lease),
    /// The lease was changed in passing but is still ours.
    Again(Lease),
    Lost(Lost),
}

impl Held {
    pub(super) fn new(candidate: Candidate, lease: Lease, sent: Instant) -> Self {
        let mut held = Self {
            candidate,
            lease: Lease::default(),
            renewed: sent,
        };
        held.renewed(lease, sent);
        held
    }

    /// Renews the lease until another process holds it. Where the API server does not answer for too long, the
    /// fence closes, until a renewal succeeds after all.
    pub async fn keep(&mut self) -> Lost {
        loop {
            sleep_until(self.renewed + RENEW).await;
            if let Some(lost) = self.renew().await {
                return lost;
            }
        }
    }

    async fn renew(&mut self) -> Option<Lost> {
        let begun = Instant::now();
        let lease = record::renewed(self.lease.clone(), Timestamp::now());
        let mut attempts = FuturesUnordered::new();
        let (mut due, mut failures, mut fenced) = (begun, 0, false);
        let (sent, renewal) = loop {
            tokio::select! {
                () = sleep_until(due), if attempts.len() < AT_ONCE => {
                    attempts.push(attempt(&self.candidate, &lease));
                    due = Instant::now() + BESIDE;
                }
                () = sleep_until(self.renewed + SAFE), if !fenced => {
                    fenced = true;
                    tracing::warn!(
                        "the lease was not renewed for {} s: what would change something waits until it is",
                        SAFE.as_secs()
                    );
                }
                Some((sent, result)) = attempts.next() => match result {
                    Ok(renewal) => break (sent, renewal),
                    Err(failure) => {
                        failures += 1;
                        tracing::warn!("cannot renew the lease, trying again: {failure}");
                        due = Instant::now() + backoff(failures, LONGEST_PAUSE);
                    }
                },
            }
        };
        drop(attempts);
        match renewal {
            Renewal::Done(lease) => self.renewed(lease, sent),
            Renewal::DoneBefore(lease) => self.renewed(lease, begun),
            Renewal::Again(lease) => self.lease = lease,
            Renewal::Lost(lost) => return Some(lost),
        }
        None
    }

    fn renewed(&mut self, lease: Lease, sent: Instant) {
        (self.lease, self.renewed) = (lease, sent);
        self.candidate.fence.open_until(sent + SAFE);
    }

    /// Lets the next leader take over at once. Where that fails, the lease expires by itself.
    pub async fn release(self) {
        let released = async {
            match look_again(&self.candidate, &self.lease).await? {
                Renewal::Lost(_) => Ok(()),
                Renewal::Done(lease) | Renewal::DoneBefore(lease) | Renewal::Again(lease) => {
                    let lease = record::released(lease);
                    replace(&self.candidate, &lease).await.map(|_| ())
                }
            }
        };
        match timeout(RELEASE, released).await {
            Ok(Ok(())) => tracing::info!("lease released"),
            Ok(Err(failure)) => tracing::warn!("the lease is left to expire: {failure}"),
            Err(_) => tracing::warn!("the lease is left to expire: the API server does not answer"),
        }
    }
}

async fn attempt(candidate: &Candidate, lease: &Lease) -> (Instant, Result<Renewal, Failure>) {
    let sent = Instant::now();
    let renewal = match replace(candidate, lease).await {
        Ok(lease) => Ok(Renewal::Done(lease)),
        Err(failure) if failure.is_conflict() => look_again(candidate, lease).await,
        Err(Failure::Refused(status)) if status.is_not_found() => Ok(Renewal::Lost(Lost::Gone)),
        Err(failure) => Err(failure),
    };
    (sent, renewal)
}

/// A refused renewal may be our own earlier one, whose answer was lost.
async fn look_again(candidate: &Candidate, written: &Lease) -> Result<Renewal, Failure> {
    let Some(lease) = candidate.api.get_opt(&candidate.name).await? else {
        return Ok(Renewal::Lost(Lost::Gone));
    };
    Ok(match record::holder(&lease) {
        Some(holder) if holder != candidate.identity => Renewal::Lost(Lost::Taken {
            holder: holder.to_owned(),
        }),
        Some(_) if record::same_renewal(&lease, written) => Renewal::DoneBefore(lease),
        Some(_) => Renewal::Again(lease),
        None => Renewal::Lost(Lost::Gone),
    })
}

async fn replace(candidate: &Candidate, lease: &Lease) -> Result<Lease, Failure> {
    let (name, params) = (&candidate.name, PostParams::default());
    Ok(candidate.api.replace(name, &params, lease).await?)
}
