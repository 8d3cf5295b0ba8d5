//! Status updates of Workflows.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kubeci_api::WorkflowStatus;
use serde_json::{Map, Value};

use super::{Engine, workflow_ref::WorkflowRef, workflow_state::WorkflowState};
use crate::{
    conditions::{Problem, conditions},
    merge_patch::diff,
    observed_workplan::WorkplanOutcome,
    workplan_index::WorkplanIndex,
};

/// An update of a Workflow's status.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusUpdate {
    /// The Workflow.
    pub reference: WorkflowRef,
    /// The merge patch of the status; `None` if the stored status is up to date.
    pub patch: Option<Value>,
    /// A new problem, for a Kubernetes Event.
    pub warning: Option<Problem>,
}

impl Engine {
    /// The status update of a Workflow; `None` if the Workflow does not exist. [`Engine::status_written`] must be
    /// called before the next update of the same Workflow.
    pub fn status_update(&mut self, uid: &str, now: Timestamp) -> Option<StatusUpdate> {
        let states = self.condition_states(self.workflows.get(uid)?);
        let workflow = self.workflows.get_mut(uid)?;
        let workplans = self.workplans.get(&workflow.reference.key());
        let generation = workflow.reference.generation;
        let conditions = conditions(&workflow.conditions, states, generation, now);
        let warning = warning(&workflow.conditions, &conditions);
        workflow.conditions = conditions;
        let recorded = workflow.queue.recorded_sequence();
        if let Some(workplans) = workplans {
            let limits = workflow.limits.filter(|_| !workflow.is_deleting());
            let deletions = &mut workflow.deletions;
            deletions.advance(limits.as_ref(), workplans, recorded, now);
        }
        // The types of the status exclude that it cannot be serialized.
        let patch = patch(workflow, workplans).ok()?;
        Some(StatusUpdate {
            reference: workflow.reference.clone(),
            patch: (!patch.is_empty()).then(|| patch.into()),
            warning,
        })
    }
}

/// The problem of `Ready`, if it has another reason than before.
fn warning(before: &[Condition], after: &[Condition]) -> Option<Problem> {
    let not_ready =
        |condition: &&Condition| condition.type_ == "Ready" && condition.status == "False";
    let before = before.iter().find(not_ready).map(|ready| &ready.reason);
    let after = after.iter().find(not_ready);
    let changed = after.filter(|after| before != Some(&after.reason));
    changed.map(|ready| Problem::new(&ready.reason, &ready.message))
}

/// The merge patch from the stored status to the current one.
fn patch(
    workflow: &mut WorkflowState,
    workplans: Option<&WorkplanIndex>,
) -> serde_json::Result<Map<String, Value>> {
    let mut fields = serde_json::to_value(fields(workflow, workplans))?;
    if !workflow.is_status_loaded() {
        let known = ["conditions", "observedGeneration"];
        let known = known.map(|field| (field.to_owned(), fields[field].take()));
        fields = known.into_iter().collect();
    }
    let status = &mut workflow.stored_status;
    let stored = status.fields.replace(fields.clone());
    let mut patch = match diff(&stored.unwrap_or_default(), &fields) {
        Some(Value::Object(changed)) => changed,
        _ => Map::new(),
    };
    status.unflushed.extend(workflow.queue.take_dirty_entries());
    patch.extend(workflow.queue.ledger().patch(&status.unflushed)?);
    Ok(patch)
}

/// The status without the ledger.
fn fields(workflow: &WorkflowState, workplans: Option<&WorkplanIndex>) -> WorkflowStatus {
    let count = |outcome| Some(workflow.deletions.count(outcome, workplans));
    let active = workplans.map_or(0, WorkplanIndex::active);
    let recorded = workflow.queue.recorded_sequence();
    let waiting = i64::try_from(workflow.queue.waiting_states()).unwrap_or(i64::MAX);
    WorkflowStatus {
        observed_generation: Some(workflow.reference.generation),
        last_observed_generation: workflow.last_fired_generation,
        last_sequence: Some(recorded).filter(|recorded| *recorded > 0),
        conditions: workflow.conditions.clone(),
        last_workplan: workflow.last_workplan.clone(),
        last_fired: workflow.last_fired.clone(),
        active: i64::try_from(active).ok(),
        succeeded: count(WorkplanOutcome::Succeeded),
        failed: count(WorkplanOutcome::Failed),
        queued: Some(waiting).filter(|waiting| *waiting > 0),
        dropped: Some(workflow.queue.dropped()).filter(|dropped| *dropped > 0),
        history: workflow.deletions.to_status(),
        ..WorkflowStatus::default()
    }
}
