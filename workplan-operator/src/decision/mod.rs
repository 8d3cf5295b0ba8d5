//! What is to be done for a Workplan: from it and what is known of its pods to its next status and
//! the actions that bring it on. Pure, and total: every state of the pods has an answer.

mod cleanup;
mod earlier_status;
mod failure;
pub mod fit;
mod order;
mod relay;
mod relayed;
mod report;
mod run;
mod scheduling;
mod settle;
mod sidecar;
mod trouble;
mod unprepared;
mod waiting;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod cleanup_cases;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod relay_cases;
#[cfg(test)]
mod sidecar_cases;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod trouble_cases;
#[cfg(test)]
mod waiting_cases;

use std::collections::BTreeMap;

pub use waiting::is_stalled;

use jiff::{SignedDuration, Timestamp};
use kube::Resource;
use kubeci_api::names::WORKSPACE_FINALIZER;
use kubeci_api::{Phase, Workplan, WorkplanStatus, WorkspaceKind};
use kubeci_compiler::Limits;

use crate::observed::{Owner, PodFacts, PodWarning};
use crate::plan;
use crate::refusal::Refusal;

/// All that is known of a Workplan beside itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its pods by the index of their task.
    pub pods: BTreeMap<usize, PodFacts>,
    pub certainty: Certainty,
    /// What the API server said where it did not create a pod just now.
    pub refusals: BTreeMap<usize, Refusal>,
    /// Since when it has refused them; absent where it does so for the first time.
    pub refused_since: Option<Timestamp>,
    /// What the Events of pods say that stand still (see [`is_stalled`]).
    pub warnings: BTreeMap<usize, PodWarning>,
    /// The node that [`home`] names.
    pub node: NodeState,
    pub sweep: SweepState,
    /// What the namespace gives to containers and asks of them.
    pub limits: Limits,
    /// How long after its last step a pod is left to containers that are no steps.
    pub sidecar_grace: SignedDuration,
    /// In whole microseconds, as the API keeps times.
    pub now: Timestamp,
}

/// Whether a pod that is not among the pods does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// A watch has not shown it; it may lag.
    Watched,
    /// The API server was asked.
    Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    Ready,
    NotReady,
    Gone,
}

/// How the removal of the Workplan's folder from its node goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepState {
    NotAsked,
    Underway,
    Failed(String),
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    AddFinalizer,
    CreatePod(usize),
    /// To be asked what pods there are, and then to be decided again.
    Ask,
    /// Unless it was placed on a node since it was seen: its folder would be forgotten.
    DeletePod(usize),
    Sweep,
    RemoveFinalizer,
}

/// In this order: pods are created, the status is written, the other actions are done.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub status: WorkplanStatus,
    pub actions: Vec<Action>,
    /// When to decide again though nothing has been seen to change.
    pub wake_at: Option<Timestamp>,
}

impl Decision {
    fn wait(status: WorkplanStatus) -> Self {
        Self {
            status,
            actions: Vec::new(),
            wake_at: None,
        }
    }
}

/// Decides what is next for `workplan`.
#[must_use]
pub fn decide(workplan: &Workplan, facts: &Facts) -> Decision {
    let plan = plan::validate(&workplan.spec);
    let status = workplan.status.clone().unwrap_or_default();
    let tasks = plan.as_ref().map_or(&[][..], |plan| &plan.tasks);
    if workplan.meta().deletion_timestamp.is_some() {
        return cleanup::of_deleted(workplan, tasks, status, facts);
    }
    let refused = |reason: &str, message: &str| {
        let status = status.clone();
        Decision::wait(report::refused(
            workplan, status, reason, message, facts.now,
        ))
    };
    let mut decision = if status.phase.is_some_and(Phase::is_final) {
        cleanup::of_ended(workplan, tasks, status, facts)
    } else {
        let mut decision = match &plan {
            Ok(plan) => match fit::refusal(workplan) {
                Some(too_large) => refused("TooLarge", &too_large.to_string()),
                None => run::decide(workplan, plan, status, facts),
            },
            Err(invalid) => refused("InvalidPlan", &invalid.to_string()),
        };
        fit::shorten(workplan, &mut decision.status);
        if decision.status.phase.is_some_and(Phase::is_final) {
            cleanup::of_ended(workplan, tasks, decision.status, facts)
        } else {
            decision
        }
    };
    sidecar::end_pods(tasks, &mut decision, facts);
    decision
}

/// The node on which the plan's folder lies, once its first pod is placed.
#[must_use]
pub fn home<'a>(workplan: &'a Workplan, pods: &'a BTreeMap<usize, PodFacts>) -> Option<&'a str> {
    let recorded = workplan
        .status
        .as_ref()
        .and_then(|status| status.node.as_deref());
    let mut ours = pods.values().filter(|pod| pod.owner == Owner::Ours);
    recorded.or_else(|| ours.find_map(|pod| pod.node.as_deref()))
}

/// Whether the plan's folder lies on a node, and outlasts its pods.
#[must_use]
pub fn holds_folder(workplan: &Workplan) -> bool {
    workplan.spec.workspace == WorkspaceKind::HostPath
}

fn has_finalizer(workplan: &Workplan) -> bool {
    let finalizers = workplan.meta().finalizers.as_ref();
    finalizers.is_some_and(|all| all.iter().any(|name| name == WORKSPACE_FINALIZER))
}
