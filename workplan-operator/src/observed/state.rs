use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kubeci_api::Workplan;
use kubeci_compiler::Limits;

use super::pod::{ObservedPod, Owner};
use super::warnings::PodWarning;
use crate::admission::Admission;
use crate::refusal::Refusal;

/// All that is observed of a Workplan beside itself.
#[derive(Clone, Debug)]
pub struct ObservedState {
    /// Its pods by the index of their task: the last one, which has those before it.
    pub pods: BTreeMap<usize, ObservedPod>,
    pub certainty: Certainty,
    /// Why the API server did not create pods just now, by the index of their task.
    pub refusals: BTreeMap<usize, Refusal>,
    /// Since when it has refused them; absent where it does so for the first time.
    pub refused_since: Option<Timestamp>,
    /// Warnings of stalled pods (see `pod_reader::is_stalled`), by the index of their task.
    pub warnings: BTreeMap<usize, PodWarning>,
    /// The node that [`assigned_node`](super::assigned_node) names.
    pub node: NodeState,
    pub sweep: SweepState,
    /// The Workplan that this one runs again, if it exists. Only read until the tasks are set.
    pub origin: Option<Box<Workplan>>,
    /// The Workplan that has the folder of the one that is run again, if it exists. It may be that one.
    pub holder: Option<Box<Workplan>>,
    /// Who uses the folder of this Workplan.
    pub user: FolderUse,
    /// Whether the caps of the operator allow it to run.
    pub admission: Admission,
    /// The defaults and limits of the namespace for containers.
    pub limits: Limits,
    /// How long after its last step a pod is left to containers that are no steps.
    pub sidecar_grace: SignedDuration,
    /// How long a plan without `pendingTimeout` may wait for the start of its first step.
    pub pending_timeout: SignedDuration,
    /// In whole microseconds, as the API keeps times.
    pub now: Timestamp,
}

/// Whether a pod that is not among the pods does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// A watch has not shown it; it may lag.
    Watched,
    /// The API server has listed the pods.
    Listed,
}

/// How far another Workplan is that uses the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderUse {
    /// There is no such Workplan.
    Unused,
    InUse,
    /// It has ended, and its pods, too, or it is gone. It may want the folder to be kept until a time.
    Returned(Option<Timestamp>),
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

/// The node of the plan's folder, after its first pod is placed.
#[must_use]
pub fn assigned_node<'a>(
    workplan: &'a Workplan,
    pods: &'a BTreeMap<usize, ObservedPod>,
) -> Option<&'a str> {
    let recorded = workplan
        .status
        .as_ref()
        .and_then(|status| status.node.as_deref());
    let pods = pods
        .values()
        .flat_map(|pod| pod.earlier.iter().chain([pod]));
    let mut own = pods.filter(|pod| pod.owner == Owner::Workplan);
    recorded.or_else(|| own.find_map(|pod| pod.node.as_deref()))
}
