use k8s_openapi::jiff::SignedDuration;
use kubeci_api::{History, Phase, WorkflowStatus};
use serde_json::json;

use super::*;
use crate::observed_workplan::{ObservedWorkplan, WorkflowKey, WorkplanState};

fn finished(number: i64, phase: Phase) -> ObservedWorkplan {
    let workflow = WorkflowKey {
        namespace: "own".to_owned(),
        uid: "workflow".into(),
    };
    let state = WorkplanState {
        uid: format!("uid-{number}").as_str().into(),
        phase,
        finished_at: NOW,
        sequence: Some(number),
        has_workspace: false,
        deleting: false,
    };
    ObservedWorkplan {
        workflow,
        name: format!("w-{number}"),
        state,
        link: None,
    }
}

#[test]
fn workplans_are_deleted_after_status_write() {
    let mut workflow = workflow(1, &json!([config_maps(&json!({}))]));
    workflow.spec.history = Some(History {
        succeeded: Some(1),
        ..History::default()
    });
    workflow.status = Some(WorkflowStatus {
        last_sequence: Some(2),
        ..WorkflowStatus::default()
    });
    let mut engine = Engine::default();
    for number in 1..=3 {
        engine.workplan_applied(finished(number, Phase::Completed));
    }
    engine.workflow_applied(workflow);
    let update = engine.status_update("workflow", NOW).unwrap();
    // The event of the third Workplan is not recorded yet: it is kept, but counted.
    let patch = update.patch.unwrap();
    assert_eq!(patch["succeeded"], 3);
    assert_eq!(patch["history"]["deleting"], json!(["w-1", "w-2"]));
    engine.status_written("workflow", false);
    assert_eq!(engine.take_deletions(), []);
    engine.status_update("workflow", NOW).unwrap();
    engine.status_written("workflow", true);
    let deleted: Vec<String> = engine
        .take_deletions()
        .into_iter()
        .map(|deletion| format!("{}/{} {}", deletion.namespace, deletion.name, deletion.uid))
        .collect();
    assert_eq!(deleted, ["own/w-1 uid-1", "own/w-2 uid-2"]);
    engine.take_dirty();
    for number in 1..=2 {
        engine.workplan_deleted(&finished(number, Phase::Completed));
    }
    assert!(!engine.take_dirty().is_empty());
    let patch = engine
        .status_update("workflow", NOW)
        .unwrap()
        .patch
        .unwrap();
    assert_eq!(patch, json!({"history": {"deleting": []}}));
}

#[test]
fn expired_workplan_makes_workflow_dirty() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let mut workplan = finished(1, Phase::Failed);
    workplan.state.sequence = Some(0);
    engine.workplan_applied(workplan);
    status(&mut engine);
    engine.take_dirty();
    let week = SignedDuration::from_hours(7 * 24);
    engine.expire(NOW + week - SignedDuration::from_secs(1));
    assert!(engine.take_dirty().is_empty());
    engine.expire(NOW + week);
    assert_eq!(engine.take_dirty().len(), 1);
}
