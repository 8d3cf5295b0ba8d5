//! All that is watched, and whom a change concerns.

use std::collections::HashMap;
use std::sync::Arc;

use super::operator::OperatorError;
use super::queue::Queue;
use super::watch::{Change, follow};
use crate::core::observe::is_ready;
use k8s_openapi::api::core::v1::{Container, LimitRange, Node, NodeStatus, Pod, PodSpec};
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};
use kubeci_api::Workplan;
use kubeci_api::names::{SWEEP_LABEL, WORKPLAN_LABEL};
use kubeci_runtime::Context;

/// What the watches have shown, and where they put what has changed.
#[derive(Clone)]
pub struct Watches {
    pub workplans: Store<Workplan>,
    pub pods: Store<Pod>,
    pub sweep_pods: Store<Pod>,
    pub nodes: Store<Node>,
    pub limit_ranges: Store<LimitRange>,
    pub workplan_queue: Arc<Queue<Workplan>>,
    pub node_queue: Arc<Queue<Node>>,
}

impl Watches {
    /// Starts all watches.
    pub fn start(
        context: &Context,
        workplan_queue: Queue<Workplan>,
        node_queue: Queue<Node>,
    ) -> Self {
        let (workplans, workplans_in) = store();
        let (pods, pods_in) = store();
        let (sweep_pods, sweep_pods_in) = store();
        let (nodes, nodes_in) = store();
        let (limit_ranges, limit_ranges_in) = store();
        let watches = Self {
            workplans,
            pods,
            sweep_pods,
            nodes,
            limit_ranges,
            workplan_queue: Arc::new(workplan_queue),
            node_queue: Arc::new(node_queue),
        };
        let (client, metrics) = (&context.client, &context.metrics);
        let all = watcher::Config::default();
        let of_workplans = all.clone().labels(WORKPLAN_LABEL);
        let of_sweeps = all.clone().labels(SWEEP_LABEL);
        let start = |what: &str| format!("the watch of {what}");
        let tasks = &context.tasks;
        let api = Api::all(client.clone());
        let notice = watches.on_workplan();
        tasks.spawn(
            start("workplans"),
            follow(
                api,
                all.clone(),
                workplans_in,
                metrics.clone(),
                |_| {},
                notice,
            ),
        );
        let api = Api::all(client.clone());
        let notice = watches.on_pod();
        tasks.spawn(
            start("pods"),
            follow(
                api,
                of_workplans,
                pods_in,
                metrics.clone(),
                slim_pod,
                notice,
            ),
        );
        let api = Api::namespaced(client.clone(), &context.namespace);
        let notice = watches.on_sweep_pod();
        tasks.spawn(
            start("sweep pods"),
            follow(
                api,
                of_sweeps,
                sweep_pods_in,
                metrics.clone(),
                |_| {},
                notice,
            ),
        );
        let api = Api::all(client.clone());
        let notice = watches.on_node();
        tasks.spawn(
            start("nodes"),
            follow(
                api,
                all.clone(),
                nodes_in,
                metrics.clone(),
                slim_node,
                notice,
            ),
        );
        let api = Api::all(client.clone());
        // What was refused by one is tried again after a while, so nobody is concerned.
        let notice = |_: Change<LimitRange>| {};
        tasks.spawn(
            start("limit ranges"),
            follow(api, all, limit_ranges_in, metrics.clone(), |_| {}, notice),
        );
        watches
    }

    pub async fn wait_until_listed(&self) -> Result<(), OperatorError> {
        let dropped = |_| OperatorError::WatchEnded("before everything was listed".into());
        self.workplans.wait_until_ready().await.map_err(dropped)?;
        self.pods.wait_until_ready().await.map_err(dropped)?;
        self.sweep_pods.wait_until_ready().await.map_err(dropped)?;
        self.nodes.wait_until_ready().await.map_err(dropped)?;
        self.limit_ranges.wait_until_ready().await.map_err(dropped)
    }

    fn on_workplan(&self) -> impl FnMut(Change<Workplan>) + Send + 'static {
        let watches = self.clone();
        move |change| match change {
            Change::Touched(workplan) => watches.workplan_queue.push(ObjectRef::from_obj(workplan)),
            Change::Listed => watches.push_workplans(|_| true),
        }
    }

    fn on_pod(&self) -> impl FnMut(Change<Pod>) + Send + 'static {
        let watches = self.clone();
        move |change| match change {
            Change::Touched(pod) => {
                if let (Some(name), Some(namespace)) =
                    (pod.labels().get(WORKPLAN_LABEL), pod.namespace())
                {
                    watches
                        .workplan_queue
                        .push(ObjectRef::new(name).within(&namespace));
                }
            }
            // A pod that went while nobody watched is told by nothing else.
            Change::Listed => watches.push_workplans(|_| true),
        }
    }

    fn on_sweep_pod(&self) -> impl FnMut(Change<Pod>) + Send + 'static {
        let watches = self.clone();
        move |change| match change {
            Change::Touched(pod) => {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
                if let Some(node) = node {
                    watches.node_queue.push(ObjectRef::new(node));
                }
            }
            Change::Listed => watches.push_nodes(),
        }
    }

    /// A node says something every few minutes; what matters is whether it is ready, and whether it is.
    fn on_node(&self) -> impl FnMut(Change<Node>) + Send + 'static {
        let watches = self.clone();
        let mut known: HashMap<String, bool> = HashMap::new();
        move |change| match change {
            Change::Touched(node) => {
                let name = node.name_any();
                let there = watches.nodes.get(&ObjectRef::from_obj(node)).is_some();
                let ready = there && is_ready(node);
                if !there {
                    known.remove(&name);
                } else if known.insert(name.clone(), ready) == Some(ready) {
                    return;
                }
                watches.node_queue.push(ObjectRef::from_obj(node));
                watches.push_workplans(|workplan| {
                    let status = workplan.status.as_ref();
                    status.and_then(|status| status.node.as_ref()) == Some(&name)
                });
            }
            Change::Listed => {
                known.clear();
                watches.push_nodes();
                watches.push_workplans(|_| true);
            }
        }
    }

    fn push_workplans(&self, concerned: impl Fn(&Workplan) -> bool) {
        let all = self.workplans.state();
        for workplan in all.iter().filter(|workplan| concerned(workplan)) {
            self.workplan_queue.push(ObjectRef::from_obj(&**workplan));
        }
    }

    fn push_nodes(&self) {
        for node in self.nodes.state() {
            self.node_queue.push(ObjectRef::from_obj(&*node));
        }
    }
}

/// Keeps of a pod what is looked at.
fn slim_pod(pod: &mut Pod) {
    let slim = |container: Container| Container {
        name: container.name,
        image: container.image,
        restart_policy: container.restart_policy,
        ..Container::default()
    };
    let slim = |containers: Vec<Container>| containers.into_iter().map(slim).collect();
    pod.meta_mut().annotations = None;
    pod.spec = pod.spec.take().map(|spec| PodSpec {
        node_name: spec.node_name,
        scheduling_gates: spec.scheduling_gates,
        init_containers: spec.init_containers.map(slim),
        containers: slim(spec.containers),
        ..PodSpec::default()
    });
}

/// Keeps of a node its name and whether it is ready.
fn slim_node(node: &mut Node) {
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
