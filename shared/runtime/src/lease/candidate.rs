use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use tokio::time::{Instant, sleep};

use super::{
    Held, POLL,
    decision::{Bid, Seen, bid},
    record,
    request::{Failure, bounded},
    spread,
};
use crate::Readiness;

/// A process that wants to lead.
pub struct Candidate {
    pub(super) api: Api<Lease>,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) identity: String,
}

/// How one look at the lease ended.
enum Turn {
    Won { lease: Box<Lease>, sent: Instant },
    Behind { holder: String },
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

    /// Stands by until the lease is ours. What keeps it from that is logged when it changes.
    pub async fn acquire(self, readiness: &Readiness) -> Held {
        let (lease, namespace) = (&self.name, &self.namespace);
        let mut seen = None;
        let mut told = String::new();
        loop {
            match self.turn(&mut seen).await {
                Ok(Turn::Won { lease, sent }) => return self.won(*lease, sent),
                Ok(Turn::Behind { holder }) => {
                    readiness.standing_by(&holder);
                    if changed(&mut told, &holder) {
                        tracing::info!(lease, namespace, leader = holder, "standing by");
                    }
                }
                // Another was first; the next look shows who.
                Err(failure) if failure.is_conflict() => {}
                Err(failure) => {
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
            sleep(spread(POLL)).await;
        }
    }

    async fn turn(&self, seen: &mut Option<Seen>) -> Result<Turn, Failure> {
        let lease = bounded(self.api.get_opt(&self.name)).await?;
        let now = Instant::now();
        *seen = lease.map(|lease| Seen::update(seen.take(), lease, now));
        match seen {
            None => self.create().await,
            Some(seen) => match bid(seen, &self.identity, now) {
                Bid::Take => self.take(&seen.lease).await,
                Bid::Wait { holder } => Ok(Turn::Behind { holder }),
            },
        }
    }

    async fn create(&self) -> Result<Turn, Failure> {
        let sent = Instant::now();
        let lease = record::new(&self.namespace, &self.name);
        let lease = record::taken(lease, &self.identity, Timestamp::now());
        let lease = bounded(self.api.create(&PostParams::default(), &lease)).await?;
        let lease = Box::new(lease);
        Ok(Turn::Won { lease, sent })
    }

    async fn take(&self, free: &Lease) -> Result<Turn, Failure> {
        let sent = Instant::now();
        let lease = record::taken(free.clone(), &self.identity, Timestamp::now());
        let params = PostParams::default();
        let lease = bounded(self.api.replace(&self.name, &params, &lease)).await?;
        let lease = Box::new(lease);
        Ok(Turn::Won { lease, sent })
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
                "{failure}; allow get, create and update of leases.coordination.k8s.io in namespace {namespace}"
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
