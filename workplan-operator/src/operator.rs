//! The operator: its watches, queues and workers.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kubeci_controller::Context;
use kubeci_controller::api_error::message;

use crate::admission::Caps;
use crate::metrics::Metrics;
use crate::observer::Observer;
use crate::pod_creator::PodCreator;
use crate::pod_events::PodEvents;
use crate::queue::Queue;
use crate::reconcile::Reconciler;
use crate::status_writer::StatusWriter;
use crate::sweeper::{SweepRounds, Sweeper};
use crate::watches::Watches;
use crate::worker::{run_nodes, run_workplans};
use crate::workplan_state::WorkplanStates;

/// A loop that has not run for this long is stuck.
const STUCK: Duration = Duration::from_mins(1);

#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("the queue of {0} has ended unexpectedly")]
    QueueEnded(&'static str),
    #[error(
        "cannot read the image of the operator from pod {pod} in namespace {namespace}; set --image: {why}"
    )]
    NoImage {
        pod: String,
        namespace: String,
        why: String,
    },
}

/// The arguments of the command line.
pub struct Settings {
    /// The image of this operator; absent: that of the pod in which it runs.
    pub image: Option<String>,
    /// How long a pod is kept after its last step for containers that are no steps.
    pub sidecar_grace: SignedDuration,
    /// The most Workplans and pods that run at a time.
    pub caps: Caps,
    /// How long a plan without `pendingTimeout` may wait for the start of its first step.
    pub pending_timeout: SignedDuration,
}

/// Runs Workplans until the process stops. The next leader continues what is unfinished then.
///
/// # Errors
/// When a part of it ends.
pub async fn operate(context: Context, settings: Settings) -> Result<(), OperatorError> {
    let image = match settings.image.clone() {
        Some(image) => image,
        None => own_image(&context).await?,
    };
    let workplan_queue = Queue::new(context.metrics.clone());
    let node_queue = Queue::new(context.metrics.clone());
    let watches = Watches::start(&context, workplan_queue, node_queue, settings.caps);
    watches.wait_until_listed().await;
    watches.admission.open(&watches.pods);
    tracing::info!(
        workplans = watches.workplans.len(),
        "all objects are listed"
    );

    let parts = Parts {
        metrics: Metrics::new(context.metrics.clone(), Arc::clone(&watches.workplans)),
        sweeps: Arc::new(SweepRounds::new(Arc::clone(&watches.node_queue))),
        pod_events: Arc::new(PodEvents::new(context.client.clone())),
        image,
    };
    parts
        .metrics
        .register_admission(Arc::clone(&watches.admission));
    let workplans = run_workplans(
        Arc::clone(&watches.workplan_queue),
        context.liveness.heartbeat("workplans", STUCK),
        parts.reconciler(&context, &watches, &settings),
    );
    let nodes = run_nodes(
        Arc::clone(&watches.node_queue),
        context.liveness.heartbeat("nodes", STUCK),
        watches.nodes.clone(),
        parts.sweeper(&context, &watches),
    );
    let places = Arc::clone(&watches.admission).report_places();
    tokio::select! {
        () = context.shutdown.cancelled() => Ok(()),
        () = workplans => Err(OperatorError::QueueEnded("workplans")),
        () = nodes => Err(OperatorError::QueueEnded("nodes")),
        () = places => Err(OperatorError::QueueEnded("places")),
    }
}

/// What the reconcilers of Workplans and of nodes share.
struct Parts {
    metrics: Metrics,
    sweeps: Arc<SweepRounds>,
    pod_events: Arc<PodEvents>,
    image: String,
}

impl Parts {
    fn reconciler(&self, context: &Context, watches: &Watches, settings: &Settings) -> Reconciler {
        let client = context.client.clone();
        let states: Arc<WorkplanStates> = Arc::default();
        Reconciler {
            workplans: Arc::clone(&watches.workplans),
            cache: Arc::clone(&watches.cache),
            states: Arc::clone(&states),
            observer: Observer {
                client: client.clone(),
                pods: Arc::clone(&watches.pods),
                nodes: watches.nodes.clone(),
                limit_ranges: watches.limit_ranges.clone(),
                sweeps: Arc::clone(&self.sweeps),
                pod_events: Arc::clone(&self.pod_events),
                states: Arc::clone(&states),
                sidecar_grace: settings.sidecar_grace,
                admission: Arc::clone(&watches.admission),
                pending_timeout: settings.pending_timeout,
            },
            pod_creator: PodCreator {
                metrics: self.metrics.clone(),
                image: self.image.clone(),
            },
            status_writer: StatusWriter::new(states, context.event_recorder()),
            sweeps: Arc::clone(&self.sweeps),
            client,
        }
    }

    fn sweeper(&self, context: &Context, watches: &Watches) -> Sweeper {
        Sweeper {
            client: context.client.clone(),
            namespace: context.namespace.clone(),
            image: self.image.clone(),
            pods: watches.sweep_pods.clone(),
            limit_ranges: watches.limit_ranges.clone(),
            pod_events: Arc::clone(&self.pod_events),
            sweeps: Arc::clone(&self.sweeps),
            workplans: Arc::clone(&watches.workplan_queue),
            metrics: self.metrics.clone(),
        }
    }
}

/// The image of the pod in which this process runs.
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
        .map_err(|error| unknown(message(&error)))?;
    let mut containers = pod.spec.into_iter().flat_map(|spec| spec.containers);
    let image = containers.next().and_then(|container| container.image);
    image.ok_or_else(|| unknown("it has none".into()))
}
