//! The operator as a whole: watches, queues and what is done with what is in them.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::controller::{self, Action, Config, applier};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use kubeci_api::Workplan;
use kubeci_runtime::{Context, Heartbeat, Outcome};
use tokio::time::timeout;

use super::act::{Error, said};
use super::announce::Announcer;
use super::fresh::Fresh;
use super::linger::Linger;
use super::metrics::Metrics;
use super::pod_events::PodEvents;
use super::queue::Queue;
use super::reconcile::{Reconciler, now};
use super::refused::Refused;
use super::retry::Retries;
use super::sweeps::{Sweeper, Sweeps};
use super::watches::Watches;

/// Each loop turns at least this often.
const PULSE: Duration = Duration::from_secs(10);
/// A loop that has not turned for this long is stuck.
const STUCK: Duration = Duration::from_mins(1);

/// The most Workplans, and the most nodes, that are looked at at the same time.
const CONCURRENCY: u16 = 64;

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
    let (workplan_queue, workplans_due) = Queue::new(context.metrics.clone());
    let (node_queue, nodes_due) = Queue::new(context.metrics.clone());
    let watches = Watches::start(&context, workplan_queue, node_queue);
    watches.wait_until_listed().await?;
    listed.iter().for_each(kubeci_runtime::Condition::done);
    tracing::info!(workplans = watches.workplans.len(), "everything is listed");

    let metrics = Metrics::new(context.metrics.clone(), watches.workplans.clone());
    let sweeps = Arc::new(Sweeps::new(Arc::clone(&watches.node_queue)));
    let pod_events = Arc::new(PodEvents::new(context.client.clone()));
    let running = run_workplans(
        watches.clone(),
        Reconciler {
            client: context.client.clone(),
            pods: watches.pods.clone(),
            nodes: watches.nodes.clone(),
            limit_ranges: watches.limit_ranges.clone(),
            sweeps: Arc::clone(&sweeps),
            fresh: Fresh::default(),
            linger: Linger::default(),
            refused: Refused::default(),
            announcer: Announcer::new(context.recorder()),
            metrics: metrics.clone(),
            image: image.clone(),
            pod_events: Arc::clone(&pod_events),
            sidecar_grace: settings.sidecar_grace,
        },
        workplans_due,
        context.liveness.heartbeat("workplans", STUCK),
    );
    let sweeping = sweep_nodes(
        watches.clone(),
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
        nodes_due,
        context.liveness.heartbeat("nodes", STUCK),
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

async fn run_workplans(
    watches: Watches,
    reconciler: Reconciler,
    due: impl Stream<Item = Result<ObjectRef<Workplan>, Infallible>>,
    pulse: Heartbeat,
) {
    let retries = Arc::new(Retries::default());
    let (again, forgotten) = (Arc::clone(&retries), Arc::clone(&retries));
    let queue = Arc::clone(&watches.workplan_queue);
    let failed_queue = Arc::clone(&queue);
    let look = move |workplan: Arc<Workplan>, reconciler: Arc<Reconciler>| {
        let object = ObjectRef::from_obj(&*workplan);
        let reconciling = queue.taken(&object).begin();
        let (retries, queue) = (Arc::clone(&retries), Arc::clone(&queue));
        Box::pin(async move {
            let uid = workplan.uid().unwrap_or_default();
            let result = reconciler.reconcile(workplan).await;
            let outcome = if result.is_ok() {
                Outcome::Success
            } else {
                Outcome::Error
            };
            reconciling.end(outcome);
            result.map(|wake_at| {
                retries.reset(&uid);
                wake_at.map_or_else(Action::await_change, |at| queue.requeue(object, until(at)))
            })
        })
    };
    let failed = move |workplan: Arc<Workplan>, error: &Error, _: Arc<Reconciler>| {
        if error.is_not_found() {
            return Action::await_change();
        }
        let wait = again.next(&workplan.uid().unwrap_or_default());
        if !error.is_conflict() {
            let (namespace, name) = (workplan.namespace(), workplan.name_any());
            tracing::warn!(namespace, workplan = name, %error, ?wait, "failed, is tried again");
        }
        failed_queue.requeue(ObjectRef::from_obj(&*workplan), wait)
    };
    let config = Config::default().concurrency(CONCURRENCY);
    let reconciler = Arc::new(reconciler);
    let looks = applier(
        look,
        failed,
        Arc::clone(&reconciler),
        watches.workplans.clone(),
        due,
        config,
    );
    let forget = |uid: &str| {
        reconciler.forget(uid);
        forgotten.reset(uid);
    };
    drain(looks, &watches.workplan_queue, &pulse, forget).await;
}

async fn sweep_nodes(
    watches: Watches,
    sweeper: Sweeper,
    due: impl Stream<Item = Result<ObjectRef<Node>, Infallible>>,
    pulse: Heartbeat,
) {
    let retries = Arc::new(Retries::default());
    let (again, forgotten) = (Arc::clone(&retries), Arc::clone(&retries));
    let queue = Arc::clone(&watches.node_queue);
    let failed_queue = Arc::clone(&queue);
    let look = move |node: Arc<Node>, sweeper: Arc<Sweeper>| {
        let object = ObjectRef::from_obj(&*node);
        let reconciling = queue.taken(&object).begin();
        let (retries, queue) = (Arc::clone(&retries), Arc::clone(&queue));
        Box::pin(async move {
            let result = sweeper.reconcile(&node).await;
            let outcome = if result.is_ok() {
                Outcome::Success
            } else {
                Outcome::Error
            };
            reconciling.end(outcome);
            let wake_at = result?;
            retries.reset(&node.uid().unwrap_or_default());
            Ok(wake_at.map_or_else(Action::await_change, |at| queue.requeue(object, until(at))))
        })
    };
    let failed = move |node: Arc<Node>, _: &kube::Error, _: Arc<Sweeper>| {
        let wait = again.next(&node.uid().unwrap_or_default());
        failed_queue.requeue(ObjectRef::from_obj(&*node), wait)
    };
    let config = Config::default().concurrency(CONCURRENCY);
    let looks = applier(
        look,
        failed,
        Arc::new(sweeper),
        watches.nodes.clone(),
        due,
        config,
    );
    let forget = |uid: &str| forgotten.reset(uid);
    drain(looks, &watches.node_queue, &pulse, forget).await;
}

/// Lets a loop run, whose every turn is a beat. What is gone by the time its turn comes waits no longer and is
/// forgotten.
async fn drain<K, E>(
    looks: impl Stream<Item = Result<(ObjectRef<K>, Action), controller::Error<E, Infallible>>>,
    queue: &Queue<K>,
    pulse: &Heartbeat,
    forget: impl Fn(&str),
) where
    K: Resource<DynamicType = ()>,
    E: 'static,
{
    let mut looks = pin!(looks);
    loop {
        pulse.beat();
        let look = match timeout(PULSE, looks.next()).await {
            Err(_) => continue,
            Ok(None) => return,
            Ok(Some(look)) => look,
        };
        if let Err(controller::Error::ObjectNotFound(object)) = look {
            object.extra.uid.iter().for_each(|uid| forget(uid));
            let gone = ObjectRef::new(&object.name);
            drop(queue.taken(&match &object.namespace {
                Some(namespace) => gone.within(namespace),
                None => gone,
            }));
        }
    }
}

fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now())).unwrap_or_default()
}
