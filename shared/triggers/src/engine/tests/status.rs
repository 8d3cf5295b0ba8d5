use serde_json::json;

use super::*;
use crate::uid::Uids;

#[test]
fn restart_does_not_change_status() {
    let triggers = json!([config_maps(&json!({}))]);
    let mut before = engine(&triggers);
    let (key, epoch) = started_watches(&mut before).remove(0);
    before.objects_listed(&key, epoch, &Uids::new());
    let mut workflow = workflow(1, &triggers);
    workflow.status = Some(status(&mut before));
    let mut after = Engine::default();
    after.workflow_applied(workflow);
    assert_eq!(after.status_update("workflow", NOW).unwrap().patch, None);
}

#[test]
fn status_change_alone_is_ignored() {
    let triggers = json!([config_maps(&json!({}))]);
    let mut engine = engine(&triggers);
    started_watches(&mut engine);
    let written = Some(status(&mut engine));
    engine.take_dirty();
    engine.take_requirements_changed();
    let mut again = workflow(1, &triggers);
    again.status = written;
    engine.workflow_applied(again);
    assert!(
        engine.take_dirty().is_empty()
            && !engine.requirements_changed()
            && !engine.has_watch_commands()
    );
    engine.workflow_applied(workflow(2, &triggers));
    assert!(engine.requirements_changed());
}

#[test]
fn status_patch_has_only_changes() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let watch = started_watches(&mut engine).remove(0);
    for name in ["a", "b"] {
        observe(&mut engine, &watch, name, "1");
    }
    fired(&mut engine);
    status(&mut engine);
    observe(&mut engine, &watch, "b", "2");
    fired(&mut engine);
    for written in [false, true] {
        let patch = engine
            .status_update("workflow", NOW)
            .unwrap()
            .patch
            .unwrap();
        let tokens = &patch["lastObservedResourceGeneration"];
        assert_eq!(*tokens, json!({"b": "h2"}), "until the write is confirmed");
        engine.status_written("workflow", written);
    }
    assert_eq!(engine.status_update("workflow", NOW).unwrap().patch, None);
}

#[test]
fn unshared_volume_is_a_warning() {
    let mount = json!([{"name": "cache", "mountPath": "/cache"}]);
    let step =
        |name: &str| json!({"name": name, "image": "b", "isolate": true, "volumeMounts": mount});
    let mut workflow = json!(workflow(1, &json!([])));
    workflow["spec"]["steps"] = json!([step("one"), step("other")]);
    workflow["spec"]["volumes"] = json!([{"name": "cache", "emptyDir": {}}]);
    let mut engine = Engine::default();
    engine.workflow_applied(serde_json::from_value(workflow).unwrap());
    let (status, reason, message) = condition(&mut engine, "Compiled");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Compiled"));
    let warning = "2 steps in 2 pods. Warning: spec.volumes[0]: \"cache\" is an emptyDir";
    assert!(message.starts_with(warning), "{message}");
}
