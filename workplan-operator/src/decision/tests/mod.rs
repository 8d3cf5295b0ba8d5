//! States of Workplans and their pods, and the decisions about them.

mod approval;
mod cleanup;
mod errors;
mod finally;
mod fixtures;
mod other_containers;
mod outputs;
mod preparation;
mod queued;
mod relay;
mod rerun;
mod retry;
mod running;
mod simulation;
mod stopping;
mod waiting;

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::Resource;
use kubeci_api::{Phase, Workplan, WorkplanStatus};
use kubeci_compiler::Limits;

use super::workplan::has_finalizer;
use super::{Action, Decision, decide, holds_folder};
use crate::admission::Admission;
use crate::observed::{
    Certainty, ContainerState, NodeState, ObservedPod, ObservedState, Owner, PodPhase, PodWarning,
    SweepState, assigned_node,
};
use crate::pod_reader::is_stalled;
use crate::refusal::Refusal;
