//! The observed state of Workplans.

use k8s_openapi::jiff::Timestamp;
use kubeci_api::{GROUP, Phase, names};

use crate::{
    ledger::Link,
    partial_workplan::{PartialStatus, PartialWorkplan},
    resource::Kind,
    uid::Uid,
};

/// The Workflow that controls a Workplan. An owner is always in the namespace of the objects that it owns, although a
/// Workplan may name another one until it is garbage collected.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkflowKey {
    /// The namespace of the Workplan.
    pub namespace: String,
    /// The uid in the owner reference.
    pub uid: Uid,
}

/// A Workplan of a Workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedWorkplan {
    /// The Workflow that controls it.
    pub workflow: WorkflowKey,
    /// The name.
    pub name: String,
    /// The state.
    pub state: WorkplanState,
    /// Its link in the chain of events of an object; `None` for a Workplan that a user wrote.
    pub link: Option<Link>,
}

/// The observed state of a Workplan.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkplanState {
    /// The uid.
    pub uid: Uid,
    /// The phase.
    pub phase: Phase,
    /// The time when it finished, else the time when it was created.
    pub finished_at: Timestamp,
    /// Its number among all Workplans of the Workflow; `None` for a Workplan that a user wrote.
    pub sequence: Option<i64>,
    /// Whether its workspace may still be on a node and is not kept there.
    pub has_workspace: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// How a Workplan finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkplanOutcome {
    /// The phase is `completed`.
    Succeeded,
    /// The phase is `failed` or `cancelled`.
    Failed,
}

/// The counter in the Workflow's status that counts a Workplan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    Active,
    Finished(WorkplanOutcome),
}

impl ObservedWorkplan {
    /// Reads a Workplan. Returns `None` if no Workflow controls it.
    #[must_use]
    pub fn new(workplan: &PartialWorkplan) -> Option<Self> {
        let metadata = &workplan.metadata;
        let owner = metadata.owner_references.iter().flatten().find(|owner| {
            let kind = Kind::new(&owner.api_version, &owner.kind);
            owner.controller == Some(true) && kind.group == GROUP && kind.name == "Workflow"
        })?;
        let link = link(workplan);
        Some(Self {
            workflow: WorkflowKey {
                namespace: metadata.namespace.clone()?,
                uid: owner.uid.as_str().into(),
            },
            name: metadata.name.clone()?,
            state: WorkplanState::new(workplan, link.as_ref().map(|link| link.sequence)),
            link,
        })
    }
}

fn link(workplan: &PartialWorkplan) -> Option<Link> {
    let labels = workplan.metadata.labels.as_ref();
    let label = |name: &str| labels?.get(name).cloned();
    Some(Link {
        sequence: label(names::SEQUENCE_LABEL)?.parse().ok()?,
        previous_head: Some(label(names::PREVIOUS_HEAD_LABEL)?).filter(|head| !head.is_empty()),
        head: label(names::HEAD_LABEL)?,
        trigger: workplan.spec.trigger.clone()?,
    })
}

impl WorkplanState {
    fn new(workplan: &PartialWorkplan, sequence: Option<i64>) -> Self {
        let metadata = &workplan.metadata;
        let status = workplan.status.as_ref();
        let finished = status.and_then(|status| Some(status.finished_at.as_ref()?.0));
        let created = || Some(metadata.creation_timestamp.as_ref()?.0);
        let mut finalizers = metadata.finalizers.iter().flatten();
        Self {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            phase: status.and_then(|status| status.phase).unwrap_or_default(),
            finished_at: finished.or_else(created).unwrap_or_default(),
            sequence,
            has_workspace: finalizers.any(|finalizer| finalizer == names::WORKSPACE_FINALIZER)
                && !status.is_some_and(PartialStatus::keeps_workspace),
            deleting: metadata.deletion_timestamp.is_some(),
        }
    }

    /// The counter of the Workplan. Pending and running Workplans count as active; a finished one that is being
    /// deleted has no counter.
    pub(crate) fn counter(&self) -> Option<Counter> {
        match self.phase {
            Phase::Pending | Phase::Running => Some(Counter::Active),
            _ if self.deleting => None,
            Phase::Completed => Some(Counter::Finished(WorkplanOutcome::Succeeded)),
            Phase::Failed | Phase::Cancelled => Some(Counter::Finished(WorkplanOutcome::Failed)),
        }
    }

    /// The outcome of a Workplan that has finished and is not being deleted.
    #[must_use]
    pub fn outcome(&self) -> Option<WorkplanOutcome> {
        match self.counter() {
            Some(Counter::Finished(outcome)) => Some(outcome),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn observed(metadata: &Value) -> Option<ObservedWorkplan> {
        let owner = json!({
            "apiVersion": "kube.ci/v1alpha1", "kind": "Workflow", "name": "w", "uid": "1", "controller": true,
        });
        let trigger = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u", "event": "add", "token": "1",
        });
        let mut workplan = json!({
            "apiVersion": "kube.ci/v1alpha1", "kind": "Workplan",
            "metadata": {"name": "w-h", "namespace": "own", "ownerReferences": [owner], "labels": {
                "kube.ci/head": "h", "kube.ci/previous-head": "", "kube.ci/sequence": "1",
            }},
            "spec": {"trigger": trigger},
        });
        for (path, value) in metadata.as_object().unwrap() {
            *workplan["metadata"].pointer_mut(path).unwrap() = value.clone();
        }
        ObservedWorkplan::new(&serde_json::from_value(workplan).unwrap())
    }

    #[rstest]
    #[case(json!({}), true)]
    #[case(json!({"/ownerReferences/0/apiVersion": "kube.ci/v2"}), true)]
    #[case(json!({"/ownerReferences/0/apiVersion": "example.com/v1alpha1"}), false)]
    #[case(json!({"/ownerReferences/0/kind": "Workplan"}), false)]
    #[case(json!({"/ownerReferences/0/controller": false}), false)]
    #[case(json!({"/ownerReferences": []}), false)]
    #[case(json!({"/namespace": null}), false)]
    fn workplan_belongs_to_its_controlling_workflow(
        #[case] metadata: Value,
        #[case] controlled: bool,
    ) {
        let owner = observed(&metadata).map(|workplan| workplan.workflow);
        let workflow = WorkflowKey {
            namespace: "own".to_owned(),
            uid: "1".into(),
        };
        assert_eq!(owner, controlled.then_some(workflow));
    }

    #[rstest]
    #[case(Phase::Running, None)]
    #[case(Phase::Completed, Some(WorkplanOutcome::Succeeded))]
    #[case(Phase::Failed, Some(WorkplanOutcome::Failed))]
    #[case(Phase::Cancelled, Some(WorkplanOutcome::Failed))]
    fn cancelled_workplan_counts_as_failed(
        #[case] phase: Phase,
        #[case] outcome: Option<WorkplanOutcome>,
    ) {
        let workplan = observed(&json!({})).unwrap();
        let state = WorkplanState {
            phase,
            ..workplan.state
        };
        assert_eq!(state.outcome(), outcome);
    }

    #[rstest]
    #[case(json!(null), true)]
    #[case(json!({"type": "WorkspaceCleaned", "reason": "Kept"}), false)]
    #[case(json!({"type": "WorkspaceCleaned", "reason": "KeepEnded"}), true)]
    #[case(json!({"type": "Succeeded", "reason": "Kept"}), true)]
    fn kept_workspace_may_be_deleted(#[case] condition: Value, #[case] has_workspace: bool) {
        let conditions: Vec<&Value> = [&condition]
            .into_iter()
            .filter(|it| it.is_object())
            .collect();
        let workplan = json!({
            "metadata": {"finalizers": ["kube.ci/workspace"]},
            "spec": {},
            "status": {"phase": "failed", "conditions": conditions},
        });
        let workplan = serde_json::from_value(workplan).unwrap();
        let state = WorkplanState::new(&workplan, None);
        assert_eq!(state.has_workspace, has_workspace);
    }

    #[rstest]
    #[case("1", Some(1))]
    #[case("9223372036854775807", Some(i64::MAX))]
    #[case("9223372036854775808", None)]
    #[case("18446744073709551615", None)]
    #[case("one", None)]
    #[case("", None)]
    fn invalid_sequence_makes_no_link(#[case] label: &str, #[case] sequence: Option<i64>) {
        let workplan = observed(&json!({"/labels/kube.ci~1sequence": label})).unwrap();
        assert_eq!(workplan.link.map(|link| link.sequence), sequence);
    }
}
