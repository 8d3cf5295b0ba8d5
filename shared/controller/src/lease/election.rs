use futures::{StreamExt as _, stream::FuturesUnordered};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, ResourceExt,
    api::{PostParams, WatchEvent, WatchParams},
    core::Status,
};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::{
    Fence, LONGEST_DELAY, MAX_PARALLEL, PARALLEL_AFTER, RELEASE_TIMEOUT, RENEW_DEADLINE,
    RENEW_INTERVAL, WATCH_SECONDS,
    record::{self, Decision, ObservedLease},
};
use crate::{Backoff, Readiness, error::with_causes, now};

const BACKOFF: Backoff = Backoff::up_to(LONGEST_DELAY);

/// A process that competes for the lease.
pub struct Candidate {
    api: Api<Lease>,
    namespace: String,
    name: String,
    identity: String,
    fence: Fence,
}

/// Why a request about the lease failed.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("{}", .0.message)]
    Rejected(Box<Status>),
    #[error("{}", with_causes(.0))]
    Failed(kube::Error),
    #[error("the watch ended as soon as it began")]
    WatchEnded,
}

impl LeaseError {
    /// Whether another process changed the lease first.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Rejected(status) if status.is_conflict() || status.is_already_exists())
    }
}

impl From<kube::Error> for LeaseError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Rejected(status),
            error => Self::Failed(error),
        }
    }
}

/// The result of one attempt to acquire the lease.
enum Attempt {
    Acquired { lease: Box<Lease>, sent: Instant },
    HeldBy { holder: String },
}

impl Candidate {
    /// A candidate for the lease of this name. The fence is open while the candidate holds the lease.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str, fence: Fence) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            fence,
        }
    }

    /// Waits for the lease. The reason for the wait is logged when it changes.
    pub async fn acquire(self, readiness: &Readiness) -> HeldLease {
        let mut observed = None;
        let (mut logged, mut logged_of_watch) = (String::new(), String::new());
        let mut failures = 0;
        loop {
            match self.attempt(&mut observed).await {
                Ok(Attempt::Acquired { lease, sent }) => return self.acquired(*lease, sent),
                Ok(Attempt::HeldBy { holder }) => {
                    readiness.standing_by(&holder);
                    self.log_holder(&mut logged, &holder);
                    match self.watch(&mut observed).await {
                        Ok(()) => failures = 0,
                        Err(error) => {
                            failures += 1;
                            self.log_error(&mut logged_of_watch, "cannot watch the Lease", &error);
                        }
                    }
                }
                // Another process was first; the next attempt reads its lease.
                Err(error) if error.is_conflict() => {}
                Err(error) => {
                    failures += 1;
                    self.log_error(&mut logged, "cannot get the Lease", &error);
                }
            }
            if failures > 0 {
                sleep(BACKOFF.delay(failures)).await;
            }
        }
    }

    async fn attempt(&self, observed: &mut Option<ObservedLease>) -> Result<Attempt, LeaseError> {
        let lease = self.api.get_opt(&self.name).await;
        if let (Err(_), Some(observed)) = (&lease, &mut *observed) {
            observed.interrupted = true;
        }
        let lease = lease?;
        let now = Instant::now();
        *observed = lease.map(|lease| ObservedLease::update(observed.take(), lease, now));
        match observed {
            None => self.create().await,
            Some(observed) => match observed.decide(&self.identity, now) {
                Decision::Acquire => self.replace(&observed.lease).await,
                Decision::Wait { holder } => Ok(Attempt::HeldBy { holder }),
            },
        }
    }

    /// Watches until the lease may be free, or the watch ends.
    async fn watch(&self, observed: &mut Option<ObservedLease>) -> Result<(), LeaseError> {
        let Some(first) = observed else { return Ok(()) };
        let params = WatchParams::default()
            .fields(&format!("metadata.name={}", self.name))
            .timeout(WATCH_SECONDS);
        let version = first.lease.resource_version().unwrap_or_default();
        let begun = Instant::now();
        let starting = timeout_at(first.expires(), self.api.watch(&params, &version));
        let Ok(events) = starting.await else {
            return Ok(());
        };
        let mut events = events?.boxed();
        loop {
            let Some(known) = observed else { return Ok(()) };
            let Ok(event) = timeout_at(known.expires(), events.next()).await else {
                return Ok(());
            };
            match event.transpose()? {
                Some(WatchEvent::Added(lease) | WatchEvent::Modified(lease)) => {
                    let now = Instant::now();
                    let updated = ObservedLease::update(observed.take(), lease, now);
                    let updated = observed.insert(updated);
                    if updated.decide(&self.identity, now) == Decision::Acquire {
                        return Ok(());
                    }
                }
                Some(WatchEvent::Bookmark(_)) => {}
                Some(WatchEvent::Error(status)) => return Err(LeaseError::Rejected(status)),
                // A watch that ends as soon as it begins counts as a failure.
                None if begun.elapsed() < LONGEST_DELAY => return Err(LeaseError::WatchEnded),
                Some(WatchEvent::Deleted(_)) | None => return Ok(()),
            }
        }
    }

    async fn create(&self) -> Result<Attempt, LeaseError> {
        let sent = Instant::now();
        let lease = record::new(&self.namespace, &self.name);
        let lease = record::acquired(lease, &self.identity, now());
        let lease = self.api.create(&PostParams::default(), &lease).await?;
        let lease = Box::new(lease);
        Ok(Attempt::Acquired { lease, sent })
    }

    async fn replace(&self, free: &Lease) -> Result<Attempt, LeaseError> {
        let sent = Instant::now();
        let lease = record::acquired(free.clone(), &self.identity, now());
        let params = PostParams::default();
        let lease = self.api.replace(&self.name, &params, &lease).await?;
        let lease = Box::new(lease);
        Ok(Attempt::Acquired { lease, sent })
    }

    fn acquired(self, lease: Lease, sent: Instant) -> HeldLease {
        tracing::info!(
            lease = self.name,
            namespace = self.namespace,
            identity = self.identity,
            "leading"
        );
        HeldLease::new(self, lease, sent)
    }

    fn log_holder(&self, logged: &mut String, holder: &str) {
        if changed(logged, holder) {
            let (lease, namespace) = (&self.name, &self.namespace);
            tracing::info!(lease, namespace, leader = holder, "waiting for the Lease");
        }
    }

    fn log_error(&self, logged: &mut String, what: &str, error: &LeaseError) {
        let why = self.explain(error);
        if changed(logged, &why) {
            let (lease, namespace) = (&self.name, &self.namespace);
            tracing::warn!(lease, namespace, "{what}; retrying: {why}");
        }
    }

    fn explain(&self, error: &LeaseError) -> String {
        let namespace = &self.namespace;
        match error {
            LeaseError::Rejected(status) if status.is_forbidden() => format!(
                "{error}; allow get, watch, create and update of leases.coordination.k8s.io in namespace {namespace}"
            ),
            LeaseError::Rejected(status) if status.is_not_found() => format!(
                "{error}; create the namespace {namespace}, or set --namespace to another one"
            ),
            _ => error.to_string(),
        }
    }
}

fn changed(logged: &mut String, line: &str) -> bool {
    let changed = logged != line;
    line.clone_into(logged);
    changed
}

/// The lease, held by this process.
pub struct HeldLease {
    candidate: Candidate,
    lease: Lease,
    /// When the last successful renewal was sent.
    renewed: Instant,
}

/// Why the lease is no longer held.
#[derive(Debug, thiserror::Error)]
pub enum LeaseLost {
    /// Another process holds it.
    #[error("{holder} holds the Lease")]
    Taken {
        /// The identity of the other process.
        holder: String,
    },
    /// The lease was deleted or released.
    #[error("another client deleted or released the Lease")]
    Gone,
}

/// The result of one attempt to renew.
enum Renewal {
    Done(Lease),
    /// An earlier attempt succeeded, and its answer was lost.
    DoneBefore(Lease),
    /// The lease was changed, and this process still holds it.
    Changed(Lease),
    Lost(LeaseLost),
}

impl HeldLease {
    fn new(candidate: Candidate, lease: Lease, sent: Instant) -> Self {
        let mut held = Self {
            candidate,
            lease: Lease::default(),
            renewed: sent,
        };
        held.renewed(lease, sent);
        held
    }

    /// Renews the lease until another process holds it. While renewals fail for too long, the fence is closed.
    pub async fn keep(&mut self) -> LeaseLost {
        loop {
            sleep_until(self.renewed + RENEW_INTERVAL).await;
            if let Some(lost) = self.renew().await {
                return lost;
            }
        }
    }

    async fn renew(&mut self) -> Option<LeaseLost> {
        let begun = Instant::now();
        let lease = record::renewed(self.lease.clone(), now());
        let mut attempts = FuturesUnordered::new();
        let (mut due, mut failures, mut fenced) = (begun, 0, false);
        let (sent, renewal) = loop {
            tokio::select! {
                () = sleep_until(due), if attempts.len() < MAX_PARALLEL => {
                    attempts.push(renew_once(&self.candidate, &lease));
                    due = Instant::now() + PARALLEL_AFTER;
                }
                () = sleep_until(self.renewed + RENEW_DEADLINE), if !fenced => {
                    fenced = true;
                    tracing::warn!(
                        "the Lease was not renewed for {} s; writes wait until it is renewed",
                        RENEW_DEADLINE.as_secs()
                    );
                }
                Some((sent, result)) = attempts.next() => match result {
                    Ok(renewal) => break (sent, renewal),
                    Err(error) => {
                        failures += 1;
                        tracing::warn!("cannot renew the Lease; retrying: {error}");
                        due = Instant::now() + BACKOFF.delay(failures);
                    }
                },
            }
        };
        drop(attempts);
        match renewal {
            Renewal::Done(lease) => self.renewed(lease, sent),
            Renewal::DoneBefore(lease) => self.renewed(lease, begun),
            Renewal::Changed(lease) => self.lease = lease,
            Renewal::Lost(lost) => return Some(lost),
        }
        None
    }

    fn renewed(&mut self, lease: Lease, sent: Instant) {
        (self.lease, self.renewed) = (lease, sent);
        self.candidate.fence.open_until(sent + RENEW_DEADLINE);
    }

    /// Releases the lease, so that the next leader need not wait. If that fails, the lease expires.
    pub async fn release(self) {
        let released = async {
            match read_back(&self.candidate, &self.lease).await? {
                Renewal::Lost(_) => Ok(()),
                Renewal::Done(lease) | Renewal::DoneBefore(lease) | Renewal::Changed(lease) => {
                    let lease = record::released(lease);
                    replace(&self.candidate, &lease).await.map(|_| ())
                }
            }
        };
        match timeout(RELEASE_TIMEOUT, released).await {
            Ok(Ok(())) => tracing::info!("Lease released"),
            Ok(Err(error)) => tracing::warn!("cannot release the Lease, it will expire: {error}"),
            Err(_) => tracing::warn!("cannot release the Lease, it will expire: no answer"),
        }
    }
}

async fn renew_once(
    candidate: &Candidate,
    lease: &Lease,
) -> (Instant, Result<Renewal, LeaseError>) {
    let sent = Instant::now();
    let renewal = match replace(candidate, lease).await {
        Ok(lease) => Ok(Renewal::Done(lease)),
        Err(error) if error.is_conflict() => read_back(candidate, lease).await,
        Err(LeaseError::Rejected(status)) if status.is_not_found() => {
            Ok(Renewal::Lost(LeaseLost::Gone))
        }
        Err(error) => Err(error),
    };
    (sent, renewal)
}

/// Reads the lease after a conflict: the other change may be an earlier renewal whose answer was lost.
async fn read_back(candidate: &Candidate, written: &Lease) -> Result<Renewal, LeaseError> {
    let Some(lease) = candidate.api.get_opt(&candidate.name).await? else {
        return Ok(Renewal::Lost(LeaseLost::Gone));
    };
    Ok(match record::holder(&lease) {
        Some(holder) if holder != candidate.identity => Renewal::Lost(LeaseLost::Taken {
            holder: holder.to_owned(),
        }),
        Some(_) if record::same_renewal(&lease, written) => Renewal::DoneBefore(lease),
        Some(_) => Renewal::Changed(lease),
        None => Renewal::Lost(LeaseLost::Gone),
    })
}

async fn replace(candidate: &Candidate, lease: &Lease) -> Result<Lease, LeaseError> {
    let (name, params) = (&candidate.name, PostParams::default());
    Ok(candidate.api.replace(name, &params, lease).await?)
}
