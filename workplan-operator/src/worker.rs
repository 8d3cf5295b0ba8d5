//! The workers: they reconcile the Workplans and nodes of the queues, with a backoff after errors.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::reflector::{ObjectRef, Store};
use kubeci_controller::{Due, Failures, Heartbeat, Outcome, now};
use tokio::time::Instant;

use crate::queue::{Queue, REQUEUE_BACKOFF, run_workers};
use crate::reconcile::Reconciler;
use crate::reconciliation::Reconciled;
use crate::state_map::StateMap;
use crate::sweeper::Sweeper;
use crate::workplan_index::IndexedWorkplan;
use crate::workplan_key::WorkplanKey;

/// The workers of each queue.
const WORKERS: usize = 64;

/// Reconciles Workplans without an end.
pub fn run_workplans(
    queue: Arc<Queue<WorkplanKey>>,
    heartbeat: Heartbeat,
    reconciler: Reconciler,
) -> impl Future<Output = ()> {
    let reconciler = Arc::new(reconciler);
    let reconcile = move |key: WorkplanKey, due: Due| {
        let reconciler = Arc::clone(&reconciler);
        async move {
            for uid in reconciler.workplans.take_deleted(&key) {
                reconciler.forget(&uid);
            }
            let indexed = reconciler.workplans.get(&key)?;
            reconcile_workplan(&reconciler, &key, &indexed, due).await
        }
    };
    run_workers(queue, WORKERS, heartbeat, reconcile)
}

/// Reconciles a Workplan once; returns when to requeue it. During the backoff after an error it does nothing.
pub async fn reconcile_workplan(
    reconciler: &Reconciler,
    key: &WorkplanKey,
    indexed: &IndexedWorkplan,
    due: Due,
) -> Option<Instant> {
    let (states, uid) = (&reconciler.states, &indexed.uid);
    let retry_at = states.read(uid, |state| state.failures.retry_at());
    if let Some(retry_at) = retry_at.flatten() {
        return Some(retry_at);
    }
    let reconciling = due.begin();
    let result = reconciler.reconcile(key, indexed).await;
    reconciling.end(outcome(&result));
    match result {
        Ok(Reconciled { requeue_at, dirty }) => {
            if !dirty {
                states.change(uid, |state| state.failures = Failures::default());
            }
            requeue_at.map(instant)
        }
        Err(error) if error.is_not_found() => None,
        Err(error) => {
            let retry_at = states.upsert(uid, |state| state.failures.add(REQUEUE_BACKOFF));
            let (namespace, name) = (&*key.namespace, &*key.name);
            let delay = retry_at - Instant::now();
            tracing::warn!(namespace, workplan = name, %error, ?delay, "reconciliation failed; retrying");
            Some(retry_at)
        }
    }
}

/// Reconciles nodes, to sweep their folders, until the process ends.
pub fn run_nodes(
    queue: Arc<Queue<String>>,
    heartbeat: Heartbeat,
    nodes: Store<Node>,
    sweeper: Sweeper,
) -> impl Future<Output = ()> {
    let sweeper = Arc::new(sweeper);
    let failures: Arc<StateMap<Failures>> = Arc::default();
    let reconcile = move |name: String, due: Due| {
        let (sweeper, failures) = (Arc::clone(&sweeper), Arc::clone(&failures));
        let node = nodes.get(&ObjectRef::new(&name));
        async move {
            let Some(node) = node else {
                failures.remove(&name);
                return None;
            };
            reconcile_node(&sweeper, &failures, &node, &name, due).await
        }
    };
    run_workers(queue, WORKERS, heartbeat, reconcile)
}

async fn reconcile_node(
    sweeper: &Sweeper,
    failures: &StateMap<Failures>,
    node: &Node,
    name: &str,
    due: Due,
) -> Option<Instant> {
    if let Some(retry_at) = failures.read(name, Failures::retry_at).flatten() {
        return Some(retry_at);
    }
    let reconciling = due.begin();
    let result = sweeper.reconcile(node).await;
    reconciling.end(outcome(&result));
    match result {
        Ok(requeue_at) => {
            failures.remove(name);
            requeue_at.map(instant)
        }
        Err(_) => Some(failures.upsert(name, |failures| failures.add(REQUEUE_BACKOFF))),
    }
}

fn outcome<T, E>(result: &Result<T, E>) -> Outcome {
    match result {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Error,
    }
}

fn instant(at: Timestamp) -> Instant {
    Instant::now() + Duration::try_from(at.duration_since(now())).unwrap_or_default()
}
