//! The operator as a whole: watches, queues and what is done with what is in them.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::reflector::ObjectRef;
use kubeci_controller::{Context, Due, Heartbeat, Outcome};
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::pod_events::PodEvents;
use crate::queue::{Queue, work};
use crate::reconcile::{Reconciler, now};
use crate::refused_pods::Refused;
use crate::retry::Retries;
use crate::status_debounce::Linger;
use crate::sweeper::{Sweeper, Sweeps};
use crate::watches::Watches;
use crate::workplan_cache::Plans;
use crate::workplan_events::Announcer;
use crate::workplan_index::Known;
use crate::workplan_key::Key;
use crate::workplan_requests::said;

/// A loop that has not turned for this long is stuck.
const STUCK: Duration = Duration::from_mins(1);

/// The most Workplans, and the most nodes, that are looked at at the same time.
const CONCURRENCY: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("a watch ended that never should: {0}")]
    WatchEnded(String),
    #[error("the queue of {0} ended although it never should")]
    QueueEnded(&'static str),
    #[error(
        "cannot tell this operator's own image from a pod {pod} in namespace {namespace}; give it with --image: {why}"
    )]
    NoImage {
        pod: String,
        namespace: String,
        why: String,
    },
}

/// What the command line says.
pub struct Settings {
    /// This operator's own image; absent: that of the pod in which it runs.
    pub image: Option<String>,
    /// How long after its last step a pod is left to containers that are no steps.
    pub sidecar_grace: SignedDuration,
}

/// Runs Workplans until the process is asked to stop. What is under way then is left as it is: whoever
/// leads next finds it.
///
/// # Errors
/// When a part of it ends by itself.
pub async fn operate(context: Context, settings: Settings) -> Result<(), OperatorError> {
    let image = match settings.image {
        Some(image) => image,
        None => own_image(&context).await?,
    };
    let listed = [
        "workplans listed",
        "pods listed",
        "nodes listed",
        "limit ranges listed",
    ];
    let listed = listed.map(|what| context.readiness.condition(what));
    let workplan_queue = Queue::new(context.metrics.clone());
    let node_queue = Queue::new(context.metrics.clone());
    let watches = Watches::start(&context, workplan_queue, node_queue);
    watches.wait_until_listed().await?;
    listed.iter().for_each(kubeci_controller::Condition::done);
    tracing::info!(workplans = watches.workplans.len(), "everything is listed");

    let metrics = Metrics::new(context.metrics.clone(), Arc::clone(&watches.workplans));
    let sweeps = Arc::new(Sweeps::new(Arc::clone(&watches.node_queue)));
    let pod_events = Arc::new(PodEvents::new(context.client.clone()));
    let running = run_workplans(
        &watches,
        context.liveness.heartbeat("workplans", STUCK),
        Reconciler {
            client: context.client.clone(),
            workplans: Arc::clone(&watches.workplans),
            plans: Plans::new(context.client.clone()),
            pods: Arc::clone(&watches.pods),
            nodes: watches.nodes.clone(),
            limit_ranges: watches.limit_ranges.clone(),
            sweeps: Arc::clone(&sweeps),
            linger: Linger::default(),
            refused: Refused::default(),
            announcer: Announcer::new(context.recorder()),
            metrics: metrics.clone(),
            image: image.clone(),
            pod_events: Arc::clone(&pod_events),
            sidecar_grace: settings.sidecar_grace,
        },
    );
    let sweeping = sweep_nodes(
        &watches,
        context.liveness.heartbeat("nodes", STUCK),
        Sweeper {
            client: context.client,
            namespace: context.namespace,
            image,
            pods: watches.sweep_pods.clone(),
            limit_ranges: watches.limit_ranges.clone(),
            pod_events,
            sweeps,
            workplans: Arc::clone(&watches.workplan_queue),
            metrics,
        },
    );
    tokio::select! {
        () = context.shutdown.cancelled() => Ok(()),
        () = running => Err(OperatorError::QueueEnded("workplans")),
        () = sweeping => Err(OperatorError::QueueEnded("nodes")),
    }
}

/// The image of the pod in which this runs.
async fn own_image(context: &Context) -> Result<String, OperatorError> {
    let unknown = |why: String| OperatorError::NoImage {
        pod: context.identity.clone(),
        namespace: context.namespace.clone(),
        why,
    };
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &context.namespace);
    let pod = pods
        .get(&context.identity)
        .await
        .map_err(|error| unknown(said(&error)))?;
    let mut containers = pod.spec.into_iter().flat_map(|spec| spec.containers);
    let image = containers.next().and_then(|container| container.image);
    image.ok_or_else(|| unknown("it names none".into()))
}

/// Gives Workplans their turns.
fn run_workplans(
    watches: &Watches,
    pulse: Heartbeat,
    reconciler: Reconciler,
) -> impl Future<Output = ()> + use<> {
    let workplans = Arc::clone(&watches.workplans);
    let (reconciler, retries) = (Arc::new(reconciler), Arc::new(Retries::default()));
    let turn = move |key: Key, due: Due| {
        let workplans = Arc::clone(&workplans);
        let (reconciler, retries) = (Arc::clone(&reconciler), Arc::clone(&retries));
        async move {
            for uid in workplans.take_gone(&key) {
                reconciler.forget(&uid);
                retries.reset(&uid);
            }
            let known = workplans.get(&key)?;
            turn_of(&reconciler, &retries, &key, &known, due).await
        }
    };
    let queue = Arc::clone(&watches.workplan_queue);
    work(queue, CONCURRENCY, pulse, turn)
}

/// One turn of a Workplan; says when its next should be. While it waits for a retry nothing else is tried.
pub async fn turn_of(
    reconciler: &Reconciler,
    retries: &Retries,
    key: &Key,
    known: &Known,
    due: Due,
) -> Option<Instant> {
    if let Some(retry_at) = retries.wait(&known.uid) {
        return Some(retry_at);
    }
    let reconciling = due.begin();
    let result = reconciler.reconcile(key, known).await;
    reconciling.end(outcome(&result));
    match result {
        Ok(looked) => {
            if !looked.unwritten {
                retries.reset(&known.uid);
            }
            looked.again_at.map(instant)
        }
        Err(error) if error.is_not_found() => None,
        Err(error) => {
            let retry_at = retries.next(&known.uid);
            let (namespace, name) = (&*key.namespace, &*key.name);
            let wait = retry_at - Instant::now();
            tracing::warn!(namespace, workplan = name, %error, ?wait, "failed, is tried again");
            Some(retry_at)
        }
    }
}

/// Gives nodes their turns to be swept.
fn sweep_nodes(
    watches: &Watches,
    pulse: Heartbeat,
    sweeper: Sweeper,
) -> impl Future<Output = ()> + use<> {
    let nodes = watches.nodes.clone();
    let (sweeper, retries) = (Arc::new(sweeper), Arc::new(Retries::default()));
    let turn = move |name: String, due: Due| {
        let (sweeper, retries) = (Arc::clone(&sweeper), Arc::clone(&retries));
        let node = nodes.get(&ObjectRef::new(&name));
        async move {
            let Some(node) = node else {
                retries.reset(&name);
                return None;
            };
            if let Some(retry_at) = retries.wait(&name) {
                return Some(retry_at);
            }
            let reconciling = due.begin();
            let result = sweeper.reconcile(&node).await;
            reconciling.end(outcome(&result));
            match result {
                Ok(again_at) => {
                    retries.reset(&name);
                    again_at.map(instant)
                }
                Err(_) => Some(retries.next(&name)),
            }
        }
    };
    let queue = Arc::clone(&watches.node_queue);
    work(queue, CONCURRENCY, pulse, turn)
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
