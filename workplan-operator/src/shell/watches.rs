//! All that is watched, and whom a change concerns.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, LimitRange, Node, NodeStatus, Pod, PodSpec, PodStatus,
};
use kube::api::ListParams;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use kubeci_api::names::{SWEEP_LABEL, WORKPLAN_LABEL};
use kubeci_api::{Phase, Workplan};
use kubeci_runtime::{Context, Watch};
use serde::de::DeserializeOwned;

use super::key::Key;
use super::operator::OperatorError;
use super::pods::{Pods, workplan_of};
use super::queue::Queue;
use super::retry::backoff;
use super::watch::{Change, follow, readable};
use super::workplans::{Known, Workplans};
use crate::observed::is_ready;

/// A page of Workplans' metadata is some 250 KB.
const WORKPLANS_PAGE: u32 = 250;

/// What the watches have shown, and where they put what has changed.
#[derive(Clone)]
pub struct Watches {
    pub workplans: Arc<Workplans>,
    pub pods: Arc<Pods>,
    pub sweep_pods: Store<Pod>,
    pub nodes: Store<Node>,
    pub limit_ranges: Store<LimitRange>,
    pub workplan_queue: Arc<Queue<Key>>,
    pub node_queue: Arc<Queue<String>>,
}

impl Watches {
    /// Starts all watches.
    pub fn start(context: &Context, workplan_queue: Queue<Key>, node_queue: Queue<String>) -> Self {
        let (sweep_pods, mut sweep_pods_in) = store();
        let (nodes, mut nodes_in) = store();
        let (limit_ranges, mut limit_ranges_in) = store();
        let watches = Self {
            workplans: Arc::new(Workplans::new()),
            pods: Arc::new(Pods::new()),
            sweep_pods,
            nodes,
            limit_ranges,
            workplan_queue: Arc::new(workplan_queue),
            node_queue: Arc::new(node_queue),
        };
        let (client, tasks) = (&context.client, &context.tasks);
        let all = watcher::Config::default();
        let start = |what: &str| format!("the watch of {what}");
        let following = watches.clone().follow_workplans(context);
        tasks.spawn(start("workplans"), following);

        let of_workplans = all.clone().labels(WORKPLAN_LABEL);
        let events = watch::<Pod>(context, Api::all(client.clone()), of_workplans);
        let (pods, notice) = (Arc::clone(&watches.pods), watches.on_pod());
        let apply = move |event: &_| pods.apply(event);
        let following = follow(events, readable, slim_pod, apply, notice);
        tasks.spawn(start("pods"), following);

        let api = Api::namespaced(client.clone(), &context.namespace);
        let events = watch::<Pod>(context, api, all.clone().labels(SWEEP_LABEL));
        let notice = watches.on_sweep_pod();
        let apply = move |event: &_| sweep_pods_in.apply_watcher_event(event);
        let following = follow(events, readable, |_| {}, apply, notice);
        tasks.spawn(start("sweep pods"), following);

        let events = watch::<Node>(context, Api::all(client.clone()), all.clone());
        let notice = watches.on_node();
        let apply = move |event: &_| nodes_in.apply_watcher_event(event);
        let following = follow(events, readable, slim_node, apply, notice);
        tasks.spawn(start("nodes"), following);

        let events = watch::<LimitRange>(context, Api::all(client.clone()), all);
        let apply = move |event: &_| limit_ranges_in.apply_watcher_event(event);
        // What was refused by one is tried again after a while, so nobody is concerned.
        let following = follow(events, readable, |_| {}, apply, |_| {});
        tasks.spawn(start("limit ranges"), following);
        watches
    }

    /// Of Workplans only the metadata is watched. Which of them had ended before is asked for first: nothing is to be
    /// read of those.
    fn follow_workplans(self, context: &Context) -> impl Future<Output = ()> + use<> {
        let (client, metrics) = (context.client.clone(), context.metrics.clone());
        let notice = self.on_workplan();
        async move {
            let mut attempts = 0;
            while let Err(error) = list_ended(&client, &self.workplans).await {
                tracing::warn!(%error, "the Workplans that have ended cannot be listed, it is tried again");
                tokio::time::sleep(backoff(attempts)).await;
                attempts += 1;
            }
            let api: Api<PartialObjectMeta<Workplan>> = Api::all(client);
            let all = watcher::Config::default();
            let events = Watch::new(api, all, "workplans", &metrics);
            let apply = move |event: &_| self.workplans.apply(event);
            follow(events, Some, |_| {}, apply, notice).await;
        }
    }

    pub async fn wait_until_listed(&self) -> Result<(), OperatorError> {
        let dropped = |_| OperatorError::WatchEnded("before everything was listed".into());
        self.workplans.wait_until_listed().await;
        self.pods.wait_until_listed().await;
        self.sweep_pods.wait_until_ready().await.map_err(dropped)?;
        self.nodes.wait_until_ready().await.map_err(dropped)?;
        self.limit_ranges.wait_until_ready().await.map_err(dropped)
    }

    fn on_workplan(&self) -> impl FnMut(Change<PartialObjectMeta<Workplan>>) + Send + use<> {
        let watches = self.clone();
        move |change| match change {
            Change::Touched(workplan) => watches.workplan_queue.push(Key::of(workplan)),
            Change::Listed => watches.push_workplans(|_, known| !known.is_over()),
        }
    }

    fn on_pod(&self) -> impl FnMut(Change<Pod>) + Send + use<> {
        let watches = self.clone();
        move |change| match change {
            Change::Touched(pod) => {
                if let Some(workplan) = workplan_of(pod) {
                    watches.workplan_queue.push(workplan);
                }
            }
            // A pod that went while nobody watched is told by nothing else, and one that is left over by no Workplan.
            Change::Listed => {
                watches.push_workplans(|key, known| !known.is_over() || watches.pods.has_any(key));
            }
        }
    }

    fn on_sweep_pod(&self) -> impl FnMut(Change<Pod>) + Send + use<> {
        let watches = self.clone();
        move |change| match change {
            Change::Touched(pod) => {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
                if let Some(node) = node {
                    watches.node_queue.push(node.clone());
                }
            }
            Change::Listed => watches.push_nodes(),
        }
    }

    /// A node says something every few minutes; what matters is whether it is ready, and whether it is.
    fn on_node(&self) -> impl FnMut(Change<Node>) + Send + use<> {
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
                watches.push_workplans(|_, known| {
                    !known.is_over() && known.node.as_deref() == Some(&name)
                });
                watches.node_queue.push(name);
            }
            Change::Listed => {
                known.clear();
                watches.push_nodes();
                watches.push_workplans(|_, known| !known.is_over());
            }
        }
    }

    fn push_workplans(&self, concerned: impl Fn(&Key, &Known) -> bool) {
        for workplan in self.workplans.filter(concerned) {
            self.workplan_queue.push(workplan);
        }
    }

    fn push_nodes(&self) {
        for node in self.nodes.state() {
            self.node_queue.push(node.name_any());
        }
    }
}

/// A watch of what may hold objects that cannot be read.
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

/// Takes note of the Workplans that have ended.
async fn list_ended(client: &Client, workplans: &Workplans) -> Result<(), kube::Error> {
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
    pod.status.iter_mut().for_each(slim_status);
}

fn slim_status(status: &mut PodStatus) {
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
