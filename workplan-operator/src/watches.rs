//! All watches, and the keys that are queued for a change.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, LimitRange, Node, NodeStatus, Pod, PodSpec, PodStatus,
};
use kube::api::ListParams;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use kubeci_api::names::{SWEEP_LABEL, WORKPLAN_LABEL};
use kubeci_api::{Phase, Workplan};
use kubeci_controller::api_error::message;
use kubeci_controller::{Context, ReadinessCondition, Watch};
use serde::de::DeserializeOwned;

use crate::observed::is_ready;
use crate::pod_index::{PodIndex, workplan_of};
use crate::queue::{Queue, REQUEUE_BACKOFF};
use crate::watch_pump::{Change, pump, valid};
use crate::workplan_index::{IndexedWorkplan, WorkplanIndex};
use crate::workplan_key::WorkplanKey;

/// The Workplans of one page, whose metadata is some 250 KB.
const WORKPLANS_PAGE: u32 = 250;

/// The stores that the watches fill, and the queues of what has changed.
#[derive(Clone)]
pub struct Watches {
    pub workplans: Arc<WorkplanIndex>,
    pub pods: Arc<PodIndex>,
    pub sweep_pods: Store<Pod>,
    pub nodes: Store<Node>,
    pub limit_ranges: Store<LimitRange>,
    pub workplan_queue: Arc<Queue<WorkplanKey>>,
    pub node_queue: Arc<Queue<String>>,
    listed: Vec<ReadinessCondition>,
}

impl Watches {
    /// Starts all watches.
    pub fn start(
        context: &Context,
        workplan_queue: Queue<WorkplanKey>,
        node_queue: Queue<String>,
    ) -> Self {
        let [workplans, pods, sweep_pods, nodes, limit_ranges] = [
            "workplans listed",
            "pods listed",
            "sweep pods listed",
            "nodes listed",
            "limit ranges listed",
        ]
        .map(|condition| context.readiness.condition(condition));
        let (sweep_pod_store, sweep_pod_writer) = store();
        let (node_store, node_writer) = store();
        let (limit_range_store, limit_range_writer) = store();
        let watches = Self {
            workplans: Arc::default(),
            pods: Arc::default(),
            sweep_pods: sweep_pod_store,
            nodes: node_store,
            limit_ranges: limit_range_store,
            workplan_queue: Arc::new(workplan_queue),
            node_queue: Arc::new(node_queue),
            listed: [&workplans, &pods, &sweep_pods, &nodes, &limit_ranges]
                .map(Clone::clone)
                .into(),
        };
        watches.watch_workplans(context, workplans);
        watches.watch_pods(context, pods);
        watches.watch_sweep_pods(context, sweep_pods, sweep_pod_writer);
        watches.watch_nodes(context, nodes, node_writer);
        watch_limit_ranges(context, limit_ranges, limit_range_writer);
        watches
    }

    pub async fn wait_until_listed(&self) {
        for listed in &self.listed {
            listed.wait().await;
        }
    }

    /// Watches the metadata of Workplans. Before that it lists those that have ended, which need not be read.
    fn watch_workplans(&self, context: &Context, listed: ReadinessCondition) {
        let (client, metrics) = (context.client.clone(), context.metrics.clone());
        let (workplans, notify) = (Arc::clone(&self.workplans), self.on_workplan());
        let task = async move {
            list_ended(&client, &workplans).await;
            let api: Api<PartialObjectMeta<Workplan>> = Api::all(client);
            let events = Watch::new(api, watcher::Config::default(), "workplans", &metrics);
            let apply = move |event: &_| workplans.apply(event);
            pump(events, listed, Some, |_| {}, apply, notify).await;
        };
        context.tasks.spawn("the watch of workplans", task);
    }

    fn watch_pods(&self, context: &Context, listed: ReadinessCondition) {
        let config = watcher::Config::default().labels(WORKPLAN_LABEL);
        let events = watch::<Pod>(context, Api::all(context.client.clone()), config);
        let (pods, notify) = (Arc::clone(&self.pods), self.on_pod());
        let apply = move |event: &_| pods.apply(event);
        let task = pump(events, listed, valid, trim_pod, apply, notify);
        context.tasks.spawn("the watch of pods", task);
    }

    fn watch_sweep_pods(
        &self,
        context: &Context,
        listed: ReadinessCondition,
        mut writer: Writer<Pod>,
    ) {
        let api = Api::namespaced(context.client.clone(), &context.namespace);
        let config = watcher::Config::default().labels(SWEEP_LABEL);
        let events = watch::<Pod>(context, api, config);
        let apply = move |event: &_| writer.apply_watcher_event(event);
        let task = pump(events, listed, valid, |_| {}, apply, self.on_sweep_pod());
        context.tasks.spawn("the watch of sweep pods", task);
    }

    fn watch_nodes(&self, context: &Context, listed: ReadinessCondition, mut writer: Writer<Node>) {
        let api = Api::all(context.client.clone());
        let events = watch::<Node>(context, api, watcher::Config::default());
        let apply = move |event: &_| writer.apply_watcher_event(event);
        let task = pump(events, listed, valid, trim_node, apply, self.on_node());
        context.tasks.spawn("the watch of nodes", task);
    }

    fn on_workplan(&self) -> impl FnMut(Change<PartialObjectMeta<Workplan>>) + Send + use<> {
        let watches = self.clone();
        move |change| match change {
            Change::Object(workplan) => watches.workplan_queue.push(WorkplanKey::of(workplan)),
            Change::List => watches.push_workplans(|_, indexed| !indexed.is_done()),
        }
    }

    fn on_pod(&self) -> impl FnMut(Change<Pod>) + Send + use<> {
        let watches = self.clone();
        move |change| match change {
            Change::Object(pod) => {
                if let Some(workplan) = workplan_of(pod) {
                    watches.workplan_queue.push(workplan);
                }
            }
            // A pod may have been deleted during the list; a Workplan that is done may have a pod.
            Change::List => {
                watches
                    .push_workplans(|key, indexed| !indexed.is_done() || watches.pods.has_any(key));
            }
        }
    }

    fn on_sweep_pod(&self) -> impl FnMut(Change<Pod>) + Send + use<> {
        let watches = self.clone();
        move |change| match change {
            Change::Object(pod) => {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
                if let Some(node) = node {
                    watches.node_queue.push(node.clone());
                }
            }
            Change::List => watches.push_nodes(),
        }
    }

    /// Nodes are updated every few minutes. Only their readiness and existence count.
    fn on_node(&self) -> impl FnMut(Change<Node>) + Send + use<> {
        let watches = self.clone();
        let mut known: HashMap<String, bool> = HashMap::new();
        move |change| match change {
            Change::Object(node) => {
                let name = node.name_any();
                let exists = watches.nodes.get(&ObjectRef::from_obj(node)).is_some();
                let ready = exists && is_ready(node);
                if !exists {
                    known.remove(&name);
                } else if known.insert(name.clone(), ready) == Some(ready) {
                    return;
                }
                watches.push_workplans(|_, indexed| {
                    !indexed.is_done() && indexed.node.as_deref() == Some(&name)
                });
                watches.node_queue.push(name);
            }
            Change::List => {
                known.clear();
                watches.push_nodes();
                watches.push_workplans(|_, indexed| !indexed.is_done());
            }
        }
    }

    fn push_workplans(&self, condition: impl Fn(&WorkplanKey, &IndexedWorkplan) -> bool) {
        for workplan in self.workplans.filter(condition) {
            self.workplan_queue.push(workplan);
        }
    }

    fn push_nodes(&self) {
        for node in self.nodes.state() {
            self.node_queue.push(node.name_any());
        }
    }
}

/// A change of a limit range queues nothing: refused pods are requested again after their backoff.
fn watch_limit_ranges(
    context: &Context,
    listed: ReadinessCondition,
    mut writer: Writer<LimitRange>,
) {
    let api = Api::all(context.client.clone());
    let events = watch::<LimitRange>(context, api, watcher::Config::default());
    let apply = move |event: &_| writer.apply_watcher_event(event);
    let task = pump(events, listed, valid, |_| {}, apply, |_| {});
    context.tasks.spawn("the watch of limit ranges", task);
}

/// A watch of objects that may not be valid.
fn watch<K>(
    context: &Context,
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
) -> Watch<DeserializeGuard<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    Watch::new(api, config, &K::plural(&()), &context.metrics)
}

/// Lists the Workplans that have ended, with retries.
async fn list_ended(client: &Client, workplans: &WorkplanIndex) {
    let mut failures = 0;
    while let Err(error) = try_list_ended(client, workplans).await {
        let error = message(&error);
        tracing::warn!(
            error,
            "the Workplans that have ended cannot be listed, retrying"
        );
        failures += 1;
        tokio::time::sleep(REQUEUE_BACKOFF.delay(failures)).await;
    }
}

async fn try_list_ended(client: &Client, workplans: &WorkplanIndex) -> Result<(), kube::Error> {
    let api: Api<PartialObjectMeta<Workplan>> = Api::all(client.clone());
    for phase in [Phase::Completed, Phase::Failed] {
        let of_phase = format!("status.phase={}", phase.as_str());
        let mut params = ListParams::default()
            .fields(&of_phase)
            .limit(WORKPLANS_PAGE);
        loop {
            let page = api.list(&params).await?;
            let uids = page.items.into_iter().filter_map(|it| it.metadata.uid);
            workplans.ended(uids.map(|uid| (uid, phase)));
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params = params.continue_token(&token),
                _ => break,
            }
        }
    }
    Ok(())
}

/// Keeps the fields of a pod that are used.
fn trim_pod(pod: &mut Pod) {
    let trim = |container: Container| Container {
        name: container.name,
        image: container.image,
        restart_policy: container.restart_policy,
        ..Container::default()
    };
    let trim = |containers: Vec<Container>| containers.into_iter().map(trim).collect();
    pod.meta_mut().annotations = None;
    pod.spec = pod.spec.take().map(|spec| PodSpec {
        node_name: spec.node_name,
        scheduling_gates: spec.scheduling_gates,
        init_containers: spec.init_containers.map(trim),
        containers: trim(spec.containers),
        ..PodSpec::default()
    });
    pod.status.iter_mut().for_each(trim_status);
}

fn trim_status(status: &mut PodStatus) {
    let lists = [
        &mut status.init_container_statuses,
        &mut status.container_statuses,
        &mut status.ephemeral_container_statuses,
    ];
    for container in lists.into_iter().flatten().flatten() {
        *container = ContainerStatus {
            name: std::mem::take(&mut container.name),
            state: container.state.take(),
            ..ContainerStatus::default()
        };
    }
}

/// Keeps the name and the readiness of a node.
fn trim_node(node: &mut Node) {
    node.meta_mut().annotations = None;
    node.meta_mut().labels = None;
    node.spec = None;
    let conditions = node.status.take().and_then(|status| status.conditions);
    let ready = conditions.map(|mut all| {
        all.retain(|condition| condition.type_ == "Ready");
        all
    });
    node.status = Some(NodeStatus {
        conditions: ready,
        ..NodeStatus::default()
    });
}
