//! The sweeps of the nodes: each removes the folders that are due on one node.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{LimitRange, Node, Pod};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use kubeci_compiler::Limits;
use kubeci_controller::api_error::{is_gone, message};
use kubeci_controller::now;

use crate::metrics::{Metrics, SweepResult};
use crate::observed::{SweepState, is_ready};
use crate::pod_events::PodEvents;
use crate::queue::Queue;
use crate::state_map::StateMap;
use crate::sweep::pod::{self, ObservedSweepPod, SweepPodState};
use crate::sweep::round::{Next, Round, RoundDecision};
use crate::workplan_key::WorkplanKey;
use crate::workspace::Folder;

/// The interval of reconciles while a sweep pod has not ended: it may not start.
const INTERVAL: SignedDuration = SignedDuration::from_secs(6);

/// The sweep rounds of all nodes.
pub struct SweepRounds {
    rounds: StateMap<Round>,
    nodes: Arc<Queue<String>>,
}

impl SweepRounds {
    pub fn new(nodes: Arc<Queue<String>>) -> Self {
        Self {
            rounds: StateMap::default(),
            nodes,
        }
    }

    /// Requests the removal of a folder from a node.
    pub fn request(&self, node: &str, folder: Folder) {
        if self.round(node, |round| round.ask(folder)) {
            self.nodes.push(node.to_owned());
        }
    }

    pub fn state(&self, node: &str, folder: &Folder) -> SweepState {
        let state = self.rounds.read(node, |round| round.state(folder));
        state.unwrap_or(SweepState::NotAsked)
    }

    pub fn forget(&self, node: &str, folder: &Folder) {
        self.round(node, |round| round.forget(folder));
    }

    fn round<T>(&self, node: &str, change: impl FnOnce(&mut Round) -> T) -> T {
        let changed = self.rounds.upsert(node, change);
        self.rounds.remove_if(node, Round::is_idle);
        changed
    }
}

/// Reconciles nodes.
pub struct Sweeper {
    pub client: Client,
    pub namespace: String,
    pub image: String,
    pub pods: Store<Pod>,
    pub limit_ranges: Store<LimitRange>,
    pub pod_events: Arc<PodEvents>,
    pub sweeps: Arc<SweepRounds>,
    pub workplans: Arc<Queue<WorkplanKey>>,
    pub metrics: Metrics,
}

impl Sweeper {
    /// Reconciles a node; returns when to requeue it.
    pub async fn reconcile(&self, node: &Node) -> Result<Option<Timestamp>, kube::Error> {
        let name = node.name_any();
        let known = ObjectRef::new(&pod::name(&name)).within(&self.namespace);
        let pod = self.pods.get(&known);
        let warning = match &pod {
            Some(pod) if pod::is_stalled(pod, now()) => {
                let uid = pod.uid().unwrap_or_default();
                self.pod_events.warning(&self.namespace, &uid).await
            }
            _ => None,
        };
        let observed = pod.map(|pod| ObservedSweepPod::of(&pod, warning.as_ref()));
        let is_underway = matches!(&observed, Some(observed) if matches!(observed.state, SweepPodState::Underway(_)));
        let decide = |round: &mut Round| round.decide(observed.as_ref(), is_ready(node), now());
        let RoundDecision { next, changed } = self.sweeps.round(&name, decide);
        self.requeue(&changed);
        match next {
            Next::Wait(None) if is_underway => Ok(Some(now() + INTERVAL)),
            Next::Wait(until) => Ok(until),
            Next::Create(folders) => self.create(&name, &folders).await,
            Next::Clear(uid) => self.clear(&name, uid).await.map(|()| None),
        }
    }

    async fn create(
        &self,
        node: &str,
        folders: &[Folder],
    ) -> Result<Option<Timestamp>, kube::Error> {
        let all = self.limit_ranges.state();
        let own = Some(&self.namespace);
        let limits = all
            .iter()
            .filter(|it| it.metadata.namespace.as_ref() == own);
        let limits = Limits::of(limits.map(|range| &**range));
        let pod = pod::build(node, &self.namespace, &self.image, &limits, folders);
        match self.api().create(&PostParams::default(), &pod).await {
            Ok(created) => {
                tracing::info!(node, folders = folders.len(), "sweep started");
                self.metrics.sweep(SweepResult::Started);
                self.sweeps.round(node, |round| {
                    round.created(created.uid().unwrap_or_default(), now());
                });
                Ok(None)
            }
            // The watch returns it.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
            Err(error) => {
                tracing::warn!(
                    node,
                    error = message(&error),
                    "the sweep pod cannot be created"
                );
                self.metrics.sweep(SweepResult::Refused);
                let text = message(&error);
                let refused = |round: &mut Round| round.refused(folders, &text, now());
                self.requeue(&self.sweeps.round(node, refused));
                Err(error)
            }
        }
    }

    /// Deletes a sweep pod whose container has ended, without a grace period, because the next one has the same name.
    async fn clear(&self, node: &str, uid: String) -> Result<(), kube::Error> {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(uid),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.api().delete(&pod::name(node), &params).await {
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => {
                self.sweeps.round(node, Round::not_cleared);
                Err(error)
            }
        }
    }

    /// Queues the Workplans of these folders.
    fn requeue(&self, folders: &[Folder]) {
        for folder in folders {
            let [namespace, _, name] = folder.parts();
            self.workplans.push(WorkplanKey::new(namespace, name));
        }
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;
    use kubeci_controller::testing::{NO_ANSWER, client};
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn node() -> Node {
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let node = json!({"metadata": {"name": "node"}, "status": {"conditions": ready}});
        serde_json::from_value(node).unwrap()
    }

    fn folder() -> Folder {
        "ns/workflow/plan".parse().unwrap()
    }

    /// A sweeper of the folder, with this sweep pod, whose requests are answered with this code.
    fn sweeper(code: u16, pod: Option<Pod>) -> Sweeper {
        let metrics = kubeci_controller::Metrics::default();
        let sweeps = SweepRounds::new(Arc::new(Queue::new(metrics.clone())));
        sweeps.request("node", folder());
        let (pods, mut writer) = store();
        writer.apply_watcher_event(&Event::Init);
        if let Some(pod) = pod {
            writer.apply_watcher_event(&Event::InitApply(pod));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let client = client(move |_| match code {
            200 => (200, json!({"metadata": {"name": "sweep", "uid": "new"}})),
            code => (code, Value::Null),
        });
        Sweeper {
            namespace: "kubeci-system".into(),
            image: "operator".into(),
            pods,
            limit_ranges: store().0,
            pod_events: Arc::new(PodEvents::new(client.clone())),
            sweeps: Arc::new(sweeps),
            workplans: Arc::new(Queue::new(metrics.clone())),
            metrics: Metrics::new(metrics, Arc::default()),
            client,
        }
    }

    fn ended_pod() -> Pod {
        let terminated = json!({"terminated": {"exitCode": 0, "message": "{}"}});
        let pod = json!({
            "metadata": {"name": pod::name("node"), "namespace": "kubeci-system", "uid": "old"},
            "spec": {"nodeName": "node", "containers": [{"name": "sweep", "args": ["sweep", "ns/workflow/old"]}]},
            "status": {"phase": "Succeeded", "containerStatuses": [{
                "name": "sweep", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": terminated,
            }]},
        });
        serde_json::from_value(pod).unwrap()
    }

    #[rstest]
    #[case::created(200, None)]
    #[case::conflict(409, Some("the sweep pod cannot be created: Conflict"))]
    #[case::server_error(500, Some("the sweep pod cannot be created: InternalServerError"))]
    #[tokio::test]
    async fn sweep_that_is_not_created_has_failed(#[case] code: u16, #[case] error: Option<&str>) {
        let sweeper = sweeper(code, None);
        let result = sweeper.reconcile(&node()).await;
        assert_eq!(result.is_err(), error.is_some());
        let expected = error.map_or(SweepState::Underway, |error| {
            SweepState::Failed(error.to_owned())
        });
        assert_eq!(sweeper.sweeps.state("node", &folder()), expected);
    }

    #[tokio::test]
    async fn failed_sweep_is_retried() {
        let sweeper = sweeper(NO_ANSWER, None);
        assert!(sweeper.reconcile(&node()).await.is_err());
        let retry_at = sweeper.reconcile(&node()).await.unwrap();
        assert!(retry_at.is_some_and(|retry_at| retry_at > now()));
    }

    #[rstest]
    #[case::deleted(200, true)]
    #[case::gone(404, true)]
    #[case::replaced(409, true)]
    #[case::server_error(500, false)]
    #[case::no_answer(NO_ANSWER, false)]
    #[tokio::test]
    async fn ended_sweep_pod_is_deleted(#[case] code: u16, #[case] deleted: bool) {
        let sweeper = sweeper(code, Some(ended_pod()));
        let result = sweeper.reconcile(&node()).await;
        assert_eq!(result.is_ok(), deleted, "{result:?}");
    }
}
