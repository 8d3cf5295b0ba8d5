use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, ResourceExt as _,
    api::{PostParams, WatchEvent, WatchParams},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Fence, Held, LONGEST_PAUSE, WATCH_SECONDS,
    decision::{Bid, Seen, bid},
    record,
    request::Failure,
};
use crate::{Readiness, backoff};

/// A process that wants to lead.
pub struct Candidate {
    pub(super) api: Api<Lease>,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) identity: String,
    pub(super) fence: Fence,
}

/// How one look at the lease ended.
enum Look {
    Won { lease: Box<Lease>, sent: Instant },
    Behind { holder: String },
}

impl Candidate {
    /// A candidate for the lease of this name, which opens the fence while it holds it.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str, fence: Fence) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            fence,
        }
    }

    /// Stands by until the lease is ours. What keeps it from that is logged when it changes.
    pub async fn acquire(self, readiness: &Readiness) -> Held {
        let (lease, namespace) = (&self.name, &self.namespace);
        let mut seen = None;
        let (mut told, mut told_of_watch) = (String::new(), String::new());
        let mut failures = 0;
        loop {
            match self.look(&mut seen).await {
                Ok(Look::Won { lease, sent }) => return self.won(*lease, sent),
                Ok(Look::Behind { holder }) => {
                    readiness.standing_by(&holder);
                    if changed(&mut told, &holder) {
                        tracing::info!(lease, namespace, leader = holder, "standing by");
                    }
                    match self.watch(&mut seen).await {
                        Ok(()) => failures = 0,
                        Err(failure) => {
                            failures += 1;
                            let why = self.explain(&failure);
                            if changed(&mut told_of_watch, &why) {
                                tracing::warn!(
                                    lease,
                                    namespace,
                                    "cannot watch the lease, getting it instead: {why}"
                                );
                            }
                        }
                    }
                }
                // Another was first; the next look shows who.
                Err(failure) if failure.is_conflict() => {}
                Err(failure) => {
                    failures += 1;
                    let why = self.explain(&failure);
                    if changed(&mut told, &why) {
                        tracing::warn!(
                            lease,
                            namespace,
                            "cannot get the lease, still trying: {why}"
                        );
                    }
                }
            }
            if failures > 0 {
                sleep(backoff(failures, LONGEST_PAUSE)).await;
            }
        }
    }

    async fn look(&self, seen: &mut Option<Seen>) -> Result<Look, Failure> {
        let lease = self.api.get_opt(&self.name).await;
        if let (Err(_), Some(seen)) = (&lease, &mut *seen) {
            seen.lost = true;
        }
        let lease = lease?;
        let now = Instant::now();
        *seen = lease.map(|lease| Seen::update(seen.take(), lease, now));
        match seen {
            None => self.create().await,
            Some(seen) => match bid(seen, &self.identity, now) {
                Bid::Take => self.take(&seen.lease).await,
                Bid::Wait { holder } => Ok(Look::Behind { holder }),
            },
        }
    }

    /// Watches until the lease may be free, or the watch ends.
    async fn watch(&self, seen: &mut Option<Seen>) -> Result<(), Failure> {
        let Some(first) = seen else { return Ok(()) };
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
            let Some(known) = seen else { return Ok(()) };
            let Ok(event) = timeout_at(known.expires(), events.next()).await else {
                return Ok(());
            };
            match event.transpose()? {
                Some(WatchEvent::Added(lease) | WatchEvent::Modified(lease)) => {
                    let now = Instant::now();
                    let updated = Seen::update(seen.take(), lease, now);
                    if bid(seen.insert(updated), &self.identity, now) == Bid::Take {
                        return Ok(());
                    }
                }
                Some(WatchEvent::Bookmark(_)) => {}
                Some(WatchEvent::Error(status)) => return Err(Failure::Refused(status)),
                // One that ends as soon as it begins is no better than one that fails.
                None if begun.elapsed() < LONGEST_PAUSE => return Err(Failure::Ended),
                Some(WatchEvent::Deleted(_)) | None => return Ok(()),
            }
        }
    }

    async fn create(&self) -> Result<Look, Failure> {
        let sent = Instant::now();
        let lease = record::new(&self.namespace, &self.name);
        let lease = record::taken(lease, &self.identity, Timestamp::now());
        let lease = self.api.create(&PostParams::default(), &lease).await?;
        let lease = Box::new(lease);
        Ok(Look::Won { lease, sent })
    }

    async fn take(&self, free: &Lease) -> Result<Look, Failure> {
        let sent = Instant::now();
        let lease = record::taken(free.clone(), &self.identity, Timestamp::now());
        let params = PostParams::default();
        let lease = self.api.replace(&self.name, &params, &lease).await?;
        let lease = Box::new(lease);
        Ok(Look::Won { lease, sent })
    }

    fn won(self, lease: Lease, sent: Instant) -> Held {
        tracing::info!(
            lease = self.name,
            namespace = self.namespace,
            identity = self.identity,
            "leading"
        );
        Held::new(self, lease, sent)
    }

    fn explain(&self, failure: &Failure) -> String {
        let namespace = &self.namespace;
        match failure {
            Failure::Refused(status) if status.is_forbidden() => format!(
                "{failure}; allow get, watch, create and update of leases.coordination.k8s.io in namespace {namespace}"
            ),
            Failure::Refused(status) if status.is_not_found() => format!(
                "{failure}; create the namespace {namespace} or give another with --namespace"
            ),
            _ => failure.to_string(),
        }
    }
}

fn changed(told: &mut String, line: &str) -> bool {
    let changed = told != line;
    line.clone_into(told);
    changed
}
