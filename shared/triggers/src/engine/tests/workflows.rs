use serde_json::json;

use super::*;
use crate::engine::WorkflowRef;

#[test]
fn invalid_workflow_fires_nothing_and_keeps_ledger() {
    let triggers = json!([config_maps(&json!({}))]);
    let mut engine = engine(&triggers);
    let watch = started_watches(&mut engine).remove(0);
    observe(&mut engine, &watch, "a", "1");
    assert_eq!(fired_event(&mut engine), Some(TriggerEvent::Add));
    let mut invalid = workflow(2, &triggers);
    invalid.spec.steps[0].dependency = vec!["none".to_owned()];
    engine.workflow_applied(invalid);
    observe(&mut engine, &watch, "a", "2");
    assert_eq!(fired_event(&mut engine), None);
    assert_eq!(condition(&mut engine, "Compiled").1, "Invalid");
    engine.workflow_applied(workflow(3, &triggers));
    let watch = started_watches(&mut engine).remove(0);
    observe(&mut engine, &watch, "a", "2");
    assert_eq!(fired_event(&mut engine), Some(TriggerEvent::Update));
}

#[test]
fn workflow_with_invalid_schema_keeps_ledger() {
    let triggers = json!([config_maps(&json!({}))]);
    let mut engine = engine(&triggers);
    let watch = started_watches(&mut engine).remove(0);
    observe(&mut engine, &watch, "a", "1");
    fired(&mut engine);
    let reference = WorkflowRef::new(&workflow(2, &triggers).metadata).unwrap();
    engine.workflow_invalid(reference, "spec.steps: not a list");
    assert_eq!(condition(&mut engine, "Ready").1, "InvalidSchema");
    engine.workflow_applied(workflow(3, &triggers));
    let watch = started_watches(&mut engine).remove(0);
    observe(&mut engine, &watch, "a", "1");
    assert_eq!(fired_event(&mut engine), None);
}

#[test]
fn recovered_object_fires_add() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let watch = started_watches(&mut engine).remove(0);
    observe(&mut engine, &watch, "a", "1");
    fired(&mut engine);
    engine.workflow_applied(workflow(2, &json!([config_maps(&json!({"name": "b"}))])));
    engine.workflow_applied(workflow(3, &json!([config_maps(&json!({}))])));
    let watch = started_watches(&mut engine).remove(0);
    observe(&mut engine, &watch, "a", "1");
    assert_eq!(fired_event(&mut engine), Some(TriggerEvent::Add));
}
