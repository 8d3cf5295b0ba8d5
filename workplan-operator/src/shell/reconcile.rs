//! One look at one Workplan: what is known of it, what is decided, what is done.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{LimitRange, Node, Pod};
use kube::core::ObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use kubeci_api::names::WORKSPACE_FINALIZER;
use kubeci_api::{Phase, StepPhase, Workplan, WorkplanSpec, WorkplanStatus};
use kubeci_compiler::{Limits, first_pod_requests};

use super::act::{self, Created, Error, Requests};
use super::announce::Announcer;
use super::change::Change;
use super::key::Key;
use super::linger::Linger;
use super::metrics::Metrics;
use super::plans::{Held, Plans};
use super::pod_events::PodEvents;
use super::pods::Pods;
use super::refused::Refused;
use super::sweeps::Sweeps;
use super::workplans::{Known, Workplans};
use crate::decision::{Action, Decision, decide, fit, holds_folder};
use crate::observed::{
    Certainty, NodeState, ObservedPod, ObservedState, PodWarning, SweepState, assigned_node,
    is_ready,
};
use crate::pod_builder::{self, Placement};
use crate::pod_reader::is_stalled;
use crate::workspace::Folder;

/// How often a Workplan is read and decided upon anew at once because somebody else wrote it meanwhile.
const CONFLICTS: usize = 3;

/// What every look at a Workplan needs.
pub struct Reconciler {
    pub client: Client,
    pub workplans: Arc<Workplans>,
    pub plans: Plans,
    pub pods: Arc<Pods>,
    pub nodes: Store<Node>,
    pub limit_ranges: Store<LimitRange>,
    pub sweeps: Arc<Sweeps>,
    pub linger: Linger,
    pub refused: Refused,
    pub announcer: Announcer,
    pub metrics: Metrics,
    pub image: String,
    pub pod_events: Arc<PodEvents>,
    pub sidecar_grace: SignedDuration,
}

/// How a look at a Workplan ended.
#[derive(Default)]
pub struct Looked {
    /// When to look again though nothing has been seen to change.
    pub again_at: Option<Timestamp>,
    /// Whether a status that is to be written may still fail to be.
    pub unwritten: bool,
}

impl Reconciler {
    /// Does what is next for a Workplan.
    pub async fn reconcile(&self, key: &Key, known: &Known) -> Result<Looked, Error> {
        if known.is_over() && !self.leaves_a_pod(key, &known.uid) {
            self.forget(&known.uid);
            return Ok(Looked::default());
        }
        for _ in 0..CONFLICTS {
            match self.look(key, known).await {
                Err(error) if error.is_conflict() => {}
                looked => return looked,
            }
        }
        self.look(key, known).await
    }

    async fn look(&self, key: &Key, known: &Known) -> Result<Looked, Error> {
        let Some((held, _room)) = self.plans.take(key, known).await? else {
            return Ok(Looked::default());
        };
        let Held {
            mut workplan,
            size,
            replaced,
        } = held;
        self.workplans.read(key, &workplan);
        let uid = workplan.uid().unwrap_or_default();
        if is_over(&workplan) && (holds_folder(&workplan) || !self.leaves_a_pod(key, &uid)) {
            self.forget(&uid);
            return Ok(Looked::default());
        }
        let written = workplan.status.clone().unwrap_or_default();
        if let Some(next) = self.linger.next(&uid, &written) {
            workplan.status = Some(next);
        }
        let mut look = Look {
            requests: Requests::new(&self.client, &workplan),
            facts: self.facts(&workplan).await?,
            written,
            workplan,
            size,
            replaced,
            created: HashSet::new(),
            failure: None,
        };
        let looked = self.carry_out(&uid, &mut look).await?;
        look.workplan.status = Some(look.written);
        self.workplans.read(key, &look.workplan);
        self.plans.keep(Held {
            workplan: look.workplan,
            size,
            replaced: look.replaced,
        });
        Ok(looked)
    }

    async fn carry_out(&self, uid: &str, look: &mut Look) -> Result<Looked, Error> {
        let decision = self.decide(look).await?;
        let unwritten = self.write_status(look, &decision).await?;
        for action in &decision.actions {
            self.act(look, *action).await?;
        }
        if let Some(error) = look.failure.take() {
            return Err(error);
        }
        let (refusals, now) = (&look.facts.refusals, look.facts.now);
        let retry_at = self.refused.note(uid, refusals, now);
        let times = [decision.wake_at, unwritten, retry_at];
        Ok(Looked {
            again_at: times.into_iter().flatten().min(),
            unwritten: unwritten.is_some(),
        })
    }

    /// Forgets a Workplan that is no more, or needs nothing more.
    pub fn forget(&self, uid: &str) {
        self.plans.forget(uid);
        self.linger.forget(uid);
        self.refused.forget(uid);
    }

    /// Decides, and decides again whenever that needed something that changes the facts: the API server
    /// asked, the finalizer added, pods created.
    async fn decide(&self, look: &mut Look) -> Result<Decision, Error> {
        loop {
            let decision = decide(&look.workplan, &look.facts);
            if decision.actions.contains(&Action::ListPods)
                && look.facts.certainty == Certainty::Watched
            {
                look.facts.pods = look.requests.list_pods(&look.workplan).await?;
                look.facts.certainty = Certainty::Listed;
                look.facts.node = self.node_state(&look.workplan, &look.facts.pods).await?;
                look.facts.sweep = self.sweep_state(&look.workplan, &look.facts.pods);
            } else if decision.actions.contains(&Action::AddFinalizer) {
                let written = look.requests.add_finalizer(&look.workplan).await?;
                look.wrote(written);
            } else if !self.create_pods(look, &decision).await {
                return Ok(decision);
            }
        }
    }

    /// Creates the pods that are due, all at once; true if the facts are others now.
    async fn create_pods(&self, look: &mut Look, decision: &Decision) -> bool {
        let tasks = decision.actions.iter().filter_map(|action| match action {
            Action::CreatePod(task) if !look.created.contains(task) => Some(*task),
            _ => None,
        });
        let pods: Vec<_> = tasks
            .map(|task| (task, self.build(look, decision, task)))
            .collect();
        let creations = pods.iter().map(|(_, pod)| {
            look.requests
                .create_pod(&look.workplan, pod, &look.facts.limits)
        });
        let outcomes = join_all(creations).await;
        let mut changed = false;
        for ((task, pod), outcome) in pods.iter().zip(outcomes) {
            look.created.insert(*task);
            match outcome {
                Ok(Created::Yes) => {
                    self.metrics.pods_created.inc();
                    tracing::info!(
                        namespace = pod.namespace(),
                        pod = pod.name_any(),
                        "pod created"
                    );
                }
                Ok(Created::Exists(facts)) => {
                    look.facts.pods.insert(*task, *facts);
                    changed = true;
                }
                Ok(Created::Refused(refusal)) => {
                    tracing::info!(
                        namespace = pod.namespace(),
                        pod = pod.name_any(),
                        refusal.message,
                        "pod refused"
                    );
                    look.facts.refusals.insert(*task, refusal);
                    changed = true;
                }
                Err(error) => look.failure = Some(error),
            }
        }
        changed
    }

    fn build(&self, look: &Look, decision: &Decision, task: usize) -> Pod {
        let node = assigned_node(&look.workplan, &look.facts.pods);
        let limits = &look.facts.limits;
        let room = || {
            let spec = look.workplan.spec.clone();
            let tasks = spec.tasks.into_iter().map(|task| limits.complete(task));
            first_pod_requests(spec.order, &tasks.collect::<Vec<_>>())
        };
        let first = node.is_none() && task == 0;
        let mut steps = decision.status.steps.iter();
        let placement = Placement {
            node,
            fresh: !steps.any(|step| step.phase.has_started()),
            room: first.then(room).flatten(),
            limits,
            image: &self.image,
        };
        let skipped: HashSet<&str> = decision
            .status
            .steps
            .iter()
            .filter(|step| step.phase == StepPhase::Skipped)
            .map(|step| step.name.as_str())
            .collect();
        pod_builder::build(
            &look.workplan,
            task,
            |step| !skipped.contains(step.name.as_str()),
            placement,
        )
    }

    /// Writes the status if it changed, or says when it should be.
    async fn write_status(
        &self,
        look: &mut Look,
        decision: &Decision,
    ) -> Result<Option<Timestamp>, Error> {
        let uid = look.workplan.uid().unwrap_or_default();
        let (before, after) = (&look.written, &decision.status);
        if before == after {
            self.linger.drop_next(&uid);
            return Ok(None);
        }
        let until = self
            .linger
            .until(&look.workplan, look.size, before, after, now());
        if may_linger(decision) && until.is_some() {
            return Ok(until);
        }
        let change = Change::between(before, after);
        let written = look
            .requests
            .write_status(&look.workplan, before, &change)
            .await;
        let written = match written {
            Err(error) if error.is_too_large() => {
                return self.write_least(look, &decision.status, &error).await;
            }
            written => written?,
        };
        let before = std::mem::replace(&mut look.written, after.clone());
        look.workplan.status = Some(after.clone());
        look.wrote(written);
        if after.phase.is_some_and(Phase::is_final) {
            self.linger.forget(&uid);
        } else {
            self.linger.wrote(&uid, now());
        }
        let phase = |status: &WorkplanStatus| status.phase.unwrap_or_default();
        if phase(&before) != phase(after) {
            let (namespace, name) = (look.workplan.namespace(), look.workplan.name_any());
            let (phase, reason) = (phase(after).as_str(), &after.reason);
            tracing::info!(namespace, workplan = name, phase, reason, "phase changed");
        }
        self.announcer
            .announce(&look.workplan, &before, after)
            .await;
        Ok(None)
    }

    /// Writes what fits of a status that does not.
    async fn write_least(
        &self,
        look: &mut Look,
        status: &WorkplanStatus,
        error: &Error,
    ) -> Result<Option<Timestamp>, Error> {
        let least = fit::least(status, &error.to_string());
        let before = look.written.clone();
        let change = Change::between(&before, &least);
        let written = look.requests.write_status(&look.workplan, &before, &change);
        match written.await {
            // Nobody would read it in the status; nor would another attempt be written.
            Err(error) if error.is_too_large() => {}
            written => {
                look.wrote(written?);
                look.written = least.clone();
                look.workplan.status = Some(least.clone());
            }
        }
        self.announcer
            .announce(&look.workplan, &before, &least)
            .await;
        Ok(None)
    }

    async fn act(&self, look: &mut Look, action: Action) -> Result<(), Error> {
        match action {
            Action::DeletePod(task) => match look.facts.pods.get(&task) {
                Some(pod) => look.requests.delete_pod(pod).await,
                None => Ok(()),
            },
            Action::Sweep => {
                if let Some(node) = assigned_node(&look.workplan, &look.facts.pods) {
                    self.sweeps.ask(node, Folder::of(&look.workplan));
                }
                Ok(())
            }
            Action::RemoveFinalizer => self.let_go(look).await,
            Action::AddFinalizer | Action::CreatePod(_) | Action::ListPods => Ok(()),
        }
    }

    async fn let_go(&self, look: &mut Look) -> Result<(), Error> {
        let written = look.requests.remove_finalizer(&look.workplan).await?;
        if let Some(node) = assigned_node(&look.workplan, &look.facts.pods) {
            self.sweeps.forget(node, &Folder::of(&look.workplan));
        }
        look.wrote(written);
        Ok(())
    }

    async fn facts(&self, workplan: &Workplan) -> Result<ObservedState, Error> {
        let pods = self.watched_pods(workplan);
        let now = now();
        let uid = workplan.uid().unwrap_or_default();
        Ok(ObservedState {
            certainty: Certainty::Watched,
            refusals: self.refused.held(&uid, now),
            refused_since: self.refused.since(&uid),
            warnings: self.warnings(workplan, &pods, now).await,
            node: self.node_state(workplan, &pods).await?,
            sweep: self.sweep_state(workplan, &pods),
            limits: self.limits(workplan),
            sidecar_grace: self.sidecar_grace,
            now,
            pods,
        })
    }

    fn limits(&self, workplan: &Workplan) -> Limits {
        let namespace = workplan.namespace();
        let all = self.limit_ranges.state();
        let of_namespace = all.iter().filter(|range| range.namespace() == namespace);
        Limits::of(of_namespace.map(|range| &**range))
    }

    /// What the Events of those pods say that stand still.
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

    /// Whether a plan of which nothing is left to clean up may have a pod that waits in vain.
    fn leaves_a_pod(&self, key: &Key, uid: &str) -> bool {
        let mut owner = Workplan::new(&key.name, WorkplanSpec::default());
        owner.metadata.uid = Some(uid.to_owned());
        let pods = self.pods.of(key);
        let mut pods = pods.values().map(|pod| ObservedPod::of(pod, &owner));
        pods.any(|pod| !pod.is_quiet() && !pod.deleting)
    }

    fn watched_pods(&self, workplan: &Workplan) -> BTreeMap<usize, ObservedPod> {
        let watched = self.pods.of(&Key::of(workplan));
        let tasks = 0..workplan.spec.tasks.len();
        let pods = tasks.filter_map(|task| {
            let pod = watched.get(&*pod_builder::name(workplan, task))?;
            Some((task, ObservedPod::of(pod, workplan)))
        });
        pods.collect()
    }

    async fn node_state(
        &self,
        workplan: &Workplan,
        pods: &BTreeMap<usize, ObservedPod>,
    ) -> Result<NodeState, Error> {
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
        // The watch may not have shown it yet; only the API server knows that it is gone.
        let asked = act::node(&self.client, name).await?;
        Ok(asked.as_ref().map_or(NodeState::Gone, state))
    }

    fn sweep_state(&self, workplan: &Workplan, pods: &BTreeMap<usize, ObservedPod>) -> SweepState {
        let node = assigned_node(workplan, pods);
        node.map_or(SweepState::NotAsked, |node| {
            self.sweeps.state(node, &Folder::of(workplan))
        })
    }
}

/// One look at a Workplan.
struct Look {
    requests: Requests,
    /// With the status that it is to have, where that is not written yet.
    workplan: Workplan,
    written: WorkplanStatus,
    /// The bytes of its JSON.
    size: usize,
    /// The resource versions that were replaced here.
    replaced: Vec<String>,
    facts: ObservedState,
    /// The tasks whose pods were created, or not, in this look.
    created: HashSet<usize>,
    /// What failed on the way, and does not keep the rest from being done.
    failure: Option<Error>,
}

impl Look {
    /// Takes note of what the API server made of a write.
    fn wrote(&mut self, mut meta: ObjectMeta) {
        meta.managed_fields = None;
        self.replaced
            .extend(self.workplan.metadata.resource_version.take());
        self.workplan.metadata = meta;
    }
}

/// Whether nothing depends on the status being written: the plan goes on, and nothing is taken away.
fn may_linger(decision: &Decision) -> bool {
    let creates = |action: &Action| matches!(action, Action::CreatePod(_));
    let ended = decision.status.phase.is_some_and(Phase::is_final);
    !ended && decision.actions.iter().all(creates)
}

/// Whether it has ended and been cleaned up after.
fn is_over(workplan: &Workplan) -> bool {
    let phase = workplan.status.as_ref().and_then(|status| status.phase);
    let held = workplan
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == WORKSPACE_FINALIZER);
    phase.is_some_and(Phase::is_final) && !held
}

/// The time in whole microseconds, as the API keeps it.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}
