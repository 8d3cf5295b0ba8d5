//! Observes what a Workplan depends on: its pods, its node, its sweep, and the limits of its namespace.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{LimitRange, Node};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use kubeci_api::{Workplan, WorkplanSpec};
use kubeci_compiler::Limits;
use kubeci_controller::now;

use crate::admission::Admission;
use crate::decision::folder_use;
use crate::decision::rerun::has_no_tasks;
use crate::observed::{
    Certainty, FolderUse, NodeState, ObservedPod, ObservedState, PodWarning, SweepState,
    assigned_node, by_task, is_ready,
};
use crate::pod_events::PodEvents;
use crate::pod_index::PodIndex;
use crate::pod_reader::is_stalled;
use crate::reconciliation::Reconciliation;
use crate::sweeper::SweepRounds;
use crate::workplan_admission::WorkplanAdmission;
use crate::workplan_key::WorkplanKey;
use crate::workplan_requests::{self, RequestError};
use crate::workplan_state::{WorkplanState, WorkplanStates};
use crate::workspace::{Folder, holder};

pub struct Observer {
    pub client: Client,
    pub pods: Arc<PodIndex>,
    pub nodes: Store<Node>,
    pub limit_ranges: Store<LimitRange>,
    pub sweeps: Arc<SweepRounds>,
    pub pod_events: Arc<PodEvents>,
    pub states: Arc<WorkplanStates>,
    pub sidecar_grace: SignedDuration,
    pub admission: Arc<WorkplanAdmission>,
    pub pending_timeout: SignedDuration,
}

impl Observer {
    /// What the watches have returned.
    pub async fn observe(&self, workplan: &Workplan) -> Result<ObservedState, RequestError> {
        let pods = self.watched_pods(workplan);
        let now = now();
        let origin = self.origin(workplan).await?;
        let uid = workplan.uid().unwrap_or_default();
        let refused = |state: &WorkplanState| {
            let refused = &state.refused_pods;
            (refused.pending(now), refused.since())
        };
        let (refusals, refused_since) = self.states.read(&uid, refused).unwrap_or_default();
        Ok(ObservedState {
            certainty: Certainty::Watched,
            refusals,
            refused_since,
            warnings: self.warnings(workplan, &pods, now).await,
            node: self.node_state(workplan, &pods).await?,
            sweep: self.sweep_state(workplan, &pods),
            holder: self.holder(workplan, origin.as_deref()).await?,
            origin,
            user: self.folder_use(workplan).await?,
            admission: self.admission.admission(&WorkplanKey::of(workplan), &uid),
            limits: self.limits(workplan),
            sidecar_grace: self.sidecar_grace,
            pending_timeout: self.pending_timeout,
            now,
            pods,
        })
    }

    /// The Workplan that is run again, as long as its tasks are needed.
    async fn origin(&self, workplan: &Workplan) -> Result<Option<Box<Workplan>>, RequestError> {
        let rerun = workplan.spec.rerun.as_ref();
        let Some(rerun) = rerun.filter(|_| has_no_tasks(workplan)) else {
            return Ok(None);
        };
        let namespace = workplan.namespace().unwrap_or_default();
        workplan_requests::workplan(&self.client, &namespace, &rerun.of).await
    }

    /// The Workplan that has the folder of the one that is run again.
    async fn holder(
        &self,
        workplan: &Workplan,
        origin: Option<&Workplan>,
    ) -> Result<Option<Box<Workplan>>, RequestError> {
        match origin.map(|origin| (origin, holder(origin))) {
            None => Ok(None),
            Some((origin, None)) => Ok(Some(Box::new(origin.clone()))),
            Some((_, Some(name))) => {
                let namespace = workplan.namespace().unwrap_or_default();
                workplan_requests::workplan(&self.client, &namespace, name).await
            }
        }
    }

    async fn folder_use(&self, workplan: &Workplan) -> Result<FolderUse, RequestError> {
        let folder = workplan.status.as_ref().and_then(|it| it.folder.as_ref());
        let Some(user) = folder.and_then(|it| it.used_by.as_ref()) else {
            return Ok(FolderUse::Unused);
        };
        let namespace = workplan.namespace().unwrap_or_default();
        let found = workplan_requests::workplan(&self.client, &namespace, &user.name).await?;
        let same = found.filter(|it| it.uid().as_ref() == Some(&user.uid));
        Ok(same.map_or(FolderUse::Returned(None), |user| folder_use(&user)))
    }

    /// Lists the pods instead of what the watch has returned.
    pub async fn list_pods(&self, run: &mut Reconciliation) -> Result<(), RequestError> {
        let pods = run.requests.list_pods(&run.workplan).await?;
        run.observed.node = self.node_state(&run.workplan, &pods).await?;
        run.observed.sweep = self.sweep_state(&run.workplan, &pods);
        run.observed.certainty = Certainty::Listed;
        run.observed.pods = pods;
        Ok(())
    }

    /// Whether a Workplan waits for its admission, and has nothing to write.
    pub fn waits(&self, key: &WorkplanKey, uid: &str) -> bool {
        self.admission.admission(key, uid) == Admission::Queued(None)
    }

    /// Whether a Workplan that needs no clean-up has a pod that may never end.
    pub fn has_open_pod(&self, key: &WorkplanKey, uid: &str) -> bool {
        let mut owner = Workplan::new(&key.name, WorkplanSpec::default());
        owner.metadata.uid = Some(uid.to_owned());
        let pods = self.pods.of(key);
        let mut pods = pods.values().map(|pod| ObservedPod::of(pod, &owner));
        pods.any(|pod| !pod.is_quiet() && !pod.deleting)
    }

    fn limits(&self, workplan: &Workplan) -> Limits {
        let namespace = workplan.namespace();
        let all = self.limit_ranges.state();
        let of_namespace = all.iter().filter(|range| range.namespace() == namespace);
        Limits::of(of_namespace.map(|range| &**range))
    }

    /// Why pods do not start, from their Events.
    async fn warnings(
        &self,
        workplan: &Workplan,
        pods: &BTreeMap<usize, ObservedPod>,
        now: Timestamp,
    ) -> BTreeMap<usize, PodWarning> {
        let namespace = workplan.namespace().unwrap_or_default();
        let mut warnings = BTreeMap::new();
        for (task, pod) in pods.iter().filter(|(_, pod)| is_stalled(pod, now)) {
            let uid = pod.uid.as_deref().unwrap_or_default();
            if let Some(warning) = self.pod_events.warning(&namespace, uid).await {
                warnings.insert(*task, warning);
            }
        }
        warnings
    }

    fn watched_pods(&self, workplan: &Workplan) -> BTreeMap<usize, ObservedPod> {
        let watched = self.pods.of(&WorkplanKey::of(workplan));
        let pods = watched.values().map(|pod| ObservedPod::of(pod, workplan));
        by_task(workplan, pods)
    }

    async fn node_state(
        &self,
        workplan: &Workplan,
        pods: &BTreeMap<usize, ObservedPod>,
    ) -> Result<NodeState, RequestError> {
        let Some(name) = assigned_node(workplan, pods) else {
            return Ok(NodeState::Ready);
        };
        let state = |node: &Node| {
            if is_ready(node) {
                NodeState::Ready
            } else {
                NodeState::NotReady
            }
        };
        if let Some(node) = self.nodes.get(&ObjectRef::new(name)) {
            return Ok(state(&node));
        }
        // The watch may not have returned the node yet.
        let node = workplan_requests::node(&self.client, name).await?;
        Ok(node.as_ref().map_or(NodeState::Gone, state))
    }

    fn sweep_state(&self, workplan: &Workplan, pods: &BTreeMap<usize, ObservedPod>) -> SweepState {
        let node = assigned_node(workplan, pods);
        node.map_or(SweepState::NotAsked, |node| {
            self.sweeps.state(node, &Folder::of(workplan))
        })
    }
}
