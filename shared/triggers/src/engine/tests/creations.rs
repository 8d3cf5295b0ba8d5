use serde_json::json;

use super::*;
use crate::dispatch_queue::CreateError;

#[test]
fn waiting_creations_share_one_plan() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let watch = started_watches(&mut engine).remove(0);
    for index in 0..100 {
        observe(&mut engine, &watch, &format!("object-{index}"), "1");
    }
    let waiting = engine.take_creations();
    assert_eq!(waiting.len(), 100);
    assert!(waiting.iter().all(|it| it.shares_plan(&waiting[0])));
}

#[test]
fn changed_workflow_retries_blocked_creation() {
    let triggers = json!([config_maps(&json!({}))]);
    let mut engine = engine(&triggers);
    let watch = started_watches(&mut engine).remove(0);
    observe(&mut engine, &watch, "object", "1");
    let first = engine.take_creations().remove(0);
    let error = CreateError::TooLarge("etcdserver: request is too large".to_owned());
    engine.failed(&first.workflow, &first.object, error);
    assert!(engine.take_retries().is_empty());
    let (_, reason, message) = condition(&mut engine, "Ready");
    assert_eq!(reason, "WorkplanRefused");
    assert!(message.contains("for a change of the Workflow") && message.contains("ConfigMaps"));
    engine.workflow_applied(workflow(2, &triggers));
    let again = engine.take_creations().remove(0);
    assert_eq!(again.object, first.object);
}
