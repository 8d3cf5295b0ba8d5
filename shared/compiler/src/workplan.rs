use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use kube::{Resource, ResourceExt};
use kubeci_api::names::{
    HEAD_LABEL, PREVIOUS_HEAD_LABEL, TRIGGER_UID_LABEL, WORKFLOW_LABEL, WORKPLAN_NAME_MAX,
    WORKSPACE_FINALIZER,
};
use kubeci_api::{TriggerEvent, TriggeredBy, Workflow, WorkflowSpec, Workplan, WorkplanSpec};
use sha2::{Digest, Sha256};

use crate::Plan;

/// The characters of a head.
const HEAD_LEN: usize = 10;

/// The link that an event adds to the chain of events of one Workflow and one object: 10 characters of
/// `a` to `z` and `2` to `7`. Since each link depends on the one before, a return to an earlier state is
/// another event, while a second attempt at the same event is the same one.
#[must_use]
pub fn head(
    workflow_uid: &str,
    object_uid: &str,
    previous_head: Option<&str>,
    token: &str,
    event: TriggerEvent,
) -> String {
    let mut hash = Sha256::new();
    for field in [
        workflow_uid,
        object_uid,
        previous_head.unwrap_or_default(),
        token,
        event.as_str(),
    ] {
        // With the lengths, no two different lists of fields are the same bytes.
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    let mut head = BASE32_NOPAD.encode(&hash.finalize()).to_ascii_lowercase();
    head.truncate(HEAD_LEN);
    head
}

/// The Workplan that a Workflow's plan becomes for an event, named by its [`head`]. The Workflow is as
/// the API server shows it: with its name, namespace and uid.
#[must_use]
pub fn workplan(
    workflow: &Workflow,
    plan: &Plan,
    trigger: TriggeredBy,
    previous_head: Option<&str>,
) -> Workplan {
    let uid = workflow.uid().unwrap_or_default();
    let head = head(
        &uid,
        &trigger.uid,
        previous_head,
        &trigger.token,
        trigger.event,
    );
    let labels = BTreeMap::from([
        (WORKFLOW_LABEL.to_owned(), workflow.name_any()),
        (TRIGGER_UID_LABEL.to_owned(), trigger.uid.clone()),
        (
            PREVIOUS_HEAD_LABEL.to_owned(),
            previous_head.unwrap_or_default().to_owned(),
        ),
        (HEAD_LABEL.to_owned(), head.clone()),
    ]);
    let spec = workplan_spec(&workflow.spec, plan.clone(), Some(trigger));
    let mut workplan = Workplan::new(&name(&workflow.name_any(), &head), spec);
    workplan.metadata.namespace = workflow.namespace();
    workplan.metadata.labels = Some(labels);
    // An emptyDir is removed with its pod, so the Workplan needs no finalizer.
    if !workflow.spec.workspace.is_empty_dir() {
        workplan.metadata.finalizers = Some(vec![WORKSPACE_FINALIZER.to_owned()]);
    }
    workplan.metadata.owner_references = workflow.controller_owner_ref(&()).map(|mut owner| {
        owner.block_owner_deletion = Some(true);
        vec![owner]
    });
    workplan
}

/// The spec of the Workplan that a Workflow's plan becomes.
#[must_use]
pub fn workplan_spec(
    workflow: &WorkflowSpec,
    plan: Plan,
    trigger: Option<TriggeredBy>,
) -> WorkplanSpec {
    WorkplanSpec {
        tasks: plan.tasks,
        finally: plan.finally,
        rerun: None,
        order: plan.order,
        max_parallel: workflow.max_parallel,
        workspace: workflow.workspace,
        trigger,
        timeout: workflow.timeout,
        pending_timeout: workflow.pending_timeout,
        fail_fast: workflow.fail_fast,
        cancel: false,
        suspend: false,
        pod: workflow.pod.clone(),
    }
}

/// The Workflow's name, cut so that the head fits behind it.
fn name(workflow: &str, head: &str) -> String {
    let cut: String = workflow
        .chars()
        .take(WORKPLAN_NAME_MAX - HEAD_LEN - 1)
        .collect();
    format!("{}-{head}", cut.trim_end_matches(['-', '.']))
}
