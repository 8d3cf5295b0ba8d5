//! All watches, and the keys that are queued for a change.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, LimitRange, Node, NodeStatus, Pod, PodSpec, PodStatus,
};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource, ResourceExt};
use kubeci_api::names::{SWEEP_LABEL, WORKPLAN_LABEL};
use kubeci_controller::{Context, ReadinessCondition, Watch};
use serde::de::DeserializeOwned;

use crate::admission::Caps;
use crate::observed::is_ready;
use crate::pod_index::{PodIndex, workplan_of};
use crate::queue::Queue;
use crate::watch_pump::{Change, pump, valid};
use crate::watched_workplan::WatchedWorkplan;
use crate::workplan_admission::WorkplanAdmission;
use crate::workplan_cache::WorkplanCache;
use crate::workplan_index::{IndexedWorkplan, WorkplanIndex};
use crate::workplan_key::WorkplanKey;

/// The stores that the watches fill, and the queues of what has changed.
#[derive(Clone)]
pub struct Watches {
    pub workplans: Arc<WorkplanIndex>,
    pub cache: Arc<WorkplanCache>,
    pub pods: Arc<PodIndex>,
    pub sweep_pods: Store<Pod>,
    pub nodes: Store<Node>,
    pub limit_ranges: Store<LimitRange>,
    pub workplan_queue: Arc<Queue<WorkplanKey>>,
    pub admission: Arc<WorkplanAdmission>,
    pub node_queue: Arc<Queue<String>>,
    listed: Vec<ReadinessCondition>,
}

impl Watches {
    /// Starts all watches.
    pub fn start(
        context: &Context,
        workplan_queue: Queue<WorkplanKey>,
        node_queue: Queue<String>,
        caps: Caps,
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
        let (workplan_index, workplan_queue) = (Arc::default(), Arc::new(workplan_queue));
        let admission = WorkplanAdmission::new(
            caps,
            Arc::clone(&workplan_index),
            Arc::clone(&workplan_queue),
        );
        let watches = Self {
            workplans: workplan_index,
            admission: Arc::new(admission),
            cache: Arc::new(WorkplanCache::new(context.client.clone())),
            pods: Arc::default(),
            sweep_pods: sweep_pod_store,
            nodes: node_store,
            limit_ranges: limit_range_store,
            workplan_queue,
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

    /// A Workplan that no reconcile has read goes into the cache, so that the first reconcile need not read it.
    fn watch_workplans(&self, context: &Context, listed: ReadinessCondition) {
        let api: Api<WatchedWorkplan> = Api::all(context.client.clone());
        let config = watcher::Config::default();
        let events = Watch::new(api, config, "workplans", &context.metrics);
        let (workplans, cache) = (Arc::clone(&self.workplans), Arc::clone(&self.cache));
        let admission = Arc::clone(&self.admission);
        let apply = move |event: &Event<WatchedWorkplan>| {
            workplans.apply(event);
            match event {
                Event::Apply(workplan) | Event::Delete(workplan) => {
                    admission.observe(&WorkplanKey::of(workplan));
                }
                Event::InitDone => admission.observe_all(),
                Event::Init | Event::InitApply(_) => {}
            }
            if let Event::Apply(workplan) = event
                && let Some(json) = &workplan.json
                && workplans.is_unread(&WorkplanKey::of(workplan))
            {
                cache.put_new(json);
            }
        };
        let task = pump(events, listed, Some, |_| {}, apply, self.on_workplan());
        context.tasks.spawn("the watch of workplans", task);
    }

    fn watch_pods(&self, context: &Context, listed: ReadinessCondition) {
        let config = watcher::Config::default().labels(WORKPLAN_LABEL);
        let events = watch::<Pod>(context, Api::all(context.client.clone()), config);
        let (pods, notify) = (Arc::clone(&self.pods), self.on_pod());
        let admission = Arc::clone(&self.admission);
        let apply = move |event: &_| {
            pods.apply(event);
            if let Event::Apply(pod) = event {
                admission.observe_pod(pod);
            }
        };
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

    fn on_workplan(&self) -> impl FnMut(Change<WatchedWorkplan>) + Send + use<> {
        let watches = self.clone();
        move |change| match change {
            Change::Object(workplan) => {
                let key = WorkplanKey::of(workplan);
                // It waits until this one is done with its folder.
                if let Some(holder) = &workplan.holder {
                    let holder = WorkplanKey::new(&key.namespace, holder);
                    watches.workplan_queue.push(holder);
                }
                watches.workplan_queue.push(key);
            }
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
        active_deadline_seconds: spec.active_deadline_seconds,
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kubeci_api::{Workplan, WorkplanSpec};
    use serde_json::json;

    use super::trim_pod;
    use crate::observed::ObservedPod;

    #[test]
    fn trimmed_pod_is_observed_as_the_whole_one() {
        let ended = json!({"name": "a", "image": "i", "imageID": "x", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 1, "reason": "Error", "message": "m"}}});
        let pod = json!({
            "metadata": {"name": "p", "uid": "u", "annotations": {"x": "y"}},
            "spec": {"nodeName": "n", "activeDeadlineSeconds": 1, "priority": 3,
                "schedulingGates": [{"name": "g"}],
                "initContainers": [{"name": "i", "image": "i", "restartPolicy": "Always", "env": []}],
                "containers": [{"name": "a", "image": "i", "command": ["c"]}]},
            "status": {"phase": "Failed", "reason": "DeadlineExceeded", "message": "m",
                "startTime": "2026-01-01T00:00:00Z", "containerStatuses": [ended],
                "conditions": [{"type": "PodScheduled", "status": "True"}]},
        });
        let whole: Pod = serde_json::from_value(pod).unwrap();
        let mut trimmed = whole.clone();
        trim_pod(&mut trimmed);
        let workplan = Workplan::new("plan", WorkplanSpec::default());
        let observed = ObservedPod::of(&trimmed, &workplan);
        assert!(observed.stopped);
        assert_eq!(observed, ObservedPod::of(&whole, &workplan));
    }
}
