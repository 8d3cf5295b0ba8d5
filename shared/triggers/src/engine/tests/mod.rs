use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kubeci_api::{History, Phase, TriggerEvent, Workflow, WorkflowStatus};
use serde_json::{Value, json};

use crate::engine::{Engine, Reference, WatchCommand, WatchError};
use crate::{
    discovery::{DiscoveryResult, ServedResource},
    dispatch_queue::CreateError,
    fingerprint::Fingerprint,
    ledger::ENTRIES_MAX,
    merge_patch,
    object::{ObjectRef, ObservedObject, Uids},
    observed_workplan::{Owner, Run, RunState},
    origin::Origin,
    resource::{Kind, Resource},
    watch_key::{Scope, WatchKey},
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn workflow(generation: i64, triggers: &Value) -> Workflow {
    let workflow = json!({
        "apiVersion": "kube.ci/v1alpha1", "kind": "Workflow",
        "metadata": {"name": "w", "namespace": "own", "uid": "workflow", "generation": generation},
        "spec": {"steps": [{"name": "a", "image": "b"}], "triggers": triggers},
    });
    serde_json::from_value(workflow).unwrap()
}

fn config_maps(more: &Value) -> Value {
    let mut trigger =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "onAddOrUpdate": true, "onDelete": true});
    trigger
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    trigger
}

fn served() -> DiscoveryResult {
    let plural = "configmaps".to_owned();
    DiscoveryResult::Served(vec![ServedResource {
        plural,
        namespaced: true,
        watchable: true,
    }])
}

fn kind() -> Kind {
    Kind::new("v1", "ConfigMap")
}

fn engine(triggers: &Value) -> Engine {
    let mut engine = Engine::default();
    engine.workflow_applied(workflow(1, triggers));
    assert_eq!(
        engine.undiscovered_kinds().into_iter().collect::<Vec<_>>(),
        [kind()]
    );
    engine.kind_discovered(&kind(), served());
    engine
}

/// The watches that are to start now.
fn starts(engine: &mut Engine) -> Vec<(WatchKey, u64)> {
    let start = |order| match order {
        WatchCommand::Start { key, epoch } => Some((key, epoch)),
        WatchCommand::Stop { .. } => None,
    };
    engine
        .take_watch_commands()
        .into_iter()
        .filter_map(start)
        .collect()
}

fn object(name: &str, namespace: &str) -> ObjectRef {
    let resource = Resource {
        kind: kind(),
        plural: "configmaps".to_owned(),
    };
    ObjectRef {
        resource: resource.into(),
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
    }
}

fn see_in(
    engine: &mut Engine,
    (key, epoch): &(WatchKey, u64),
    name: &str,
    namespace: &str,
    token: &str,
) {
    let seen = ObservedObject {
        uid: name.into(),
        object: object(name, namespace),
        labels: std::collections::BTreeMap::new(),
        fingerprint: Fingerprint::named(token),
        deleting: false,
        origin: Origin::Other,
    };
    engine.object_applied(key, *epoch, &seen);
}

fn see(engine: &mut Engine, watch: &(WatchKey, u64), name: &str, token: &str) {
    see_in(engine, watch, name, "own", token);
}

/// What fires, each creation succeeding at once.
fn fired(engine: &mut Engine) -> Vec<(TriggerEvent, String)> {
    let mut fired = Vec::new();
    loop {
        let creations = engine.take_creations();
        if creations.is_empty() {
            return fired;
        }
        for creation in creations {
            let workplan = creation.workplan();
            let trigger = workplan.spec.trigger.unwrap();
            fired.push((trigger.event, trigger.name));
            let name = workplan.metadata.name.unwrap();
            engine.created(&creation.workflow, &creation.object, name, NOW);
        }
    }
}

fn fired_once(engine: &mut Engine) -> Option<TriggerEvent> {
    let fired = fired(engine);
    assert!(fired.len() < 2, "{fired:?}");
    fired.first().map(|(event, _)| *event)
}

/// What the status says in full.
fn status(engine: &mut Engine) -> WorkflowStatus {
    engine.forget_written("workflow");
    let patch = engine.report("workflow", NOW).unwrap().patch.unwrap();
    engine.written("workflow", true);
    let mut status = Value::Null;
    merge_patch::apply(&mut status, &patch);
    serde_json::from_value(status).unwrap()
}

fn condition(engine: &mut Engine, type_: &str) -> (String, String, String) {
    let conditions = status(engine).conditions;
    let condition = conditions
        .into_iter()
        .find(|condition| condition.type_ == type_)
        .unwrap();
    (condition.status, condition.reason, condition.message)
}

fn watched(engine: &mut Engine) -> (String, String) {
    let (status, reason, _) = condition(engine, "TriggersWatched");
    (status, reason)
}

#[test]
fn an_invalid_workflow_fires_nothing_and_goes_on_where_it_was() {
    let triggers = json!([config_maps(&json!({}))]);
    let mut engine = engine(&triggers);
    let watch = starts(&mut engine).remove(0);
    see(&mut engine, &watch, "a", "1");
    assert_eq!(fired_once(&mut engine), Some(TriggerEvent::Add));
    let mut invalid = workflow(2, &triggers);
    invalid.spec.steps[0].dependency = vec!["none".to_owned()];
    engine.workflow_applied(invalid);
    see(&mut engine, &watch, "a", "2");
    assert_eq!(fired_once(&mut engine), None);
    assert_eq!(condition(&mut engine, "Compiled").1, "Invalid");
    engine.workflow_applied(workflow(3, &triggers));
    let watch = starts(&mut engine).remove(0);
    see(&mut engine, &watch, "a", "2");
    assert_eq!(fired_once(&mut engine), Some(TriggerEvent::Update));
}

#[test]
fn a_workflow_that_cannot_be_read_keeps_its_ledger() {
    let triggers = json!([config_maps(&json!({}))]);
    let mut engine = engine(&triggers);
    let watch = starts(&mut engine).remove(0);
    see(&mut engine, &watch, "a", "1");
    fired(&mut engine);
    let reference = Reference::new(&workflow(2, &triggers).metadata).unwrap();
    engine.workflow_unreadable(reference, "spec.steps: not a list");
    assert_eq!(condition(&mut engine, "Ready").1, "InvalidSchema");
    engine.workflow_applied(workflow(3, &triggers));
    let watch = starts(&mut engine).remove(0);
    see(&mut engine, &watch, "a", "1");
    assert_eq!(fired_once(&mut engine), None);
}

#[test]
fn what_no_trigger_covers_any_more_is_an_add_when_it_is_covered_again() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let watch = starts(&mut engine).remove(0);
    see(&mut engine, &watch, "a", "1");
    fired(&mut engine);
    engine.workflow_applied(workflow(2, &json!([config_maps(&json!({"name": "b"}))])));
    engine.workflow_applied(workflow(3, &json!([config_maps(&json!({}))])));
    let watch = starts(&mut engine).remove(0);
    see(&mut engine, &watch, "a", "1");
    assert_eq!(fired_once(&mut engine), Some(TriggerEvent::Add));
}

#[test]
fn each_object_is_seen_through_one_watch_only() {
    let own = config_maps(&json!({}));
    let mut engine = engine(&json!([own, config_maps(&json!({"namespace": "*"}))]));
    let narrow = starts(&mut engine).remove(0);
    assert_eq!(narrow.0.scope, Scope::Namespace("own".to_owned()));
    see(&mut engine, &narrow, "a", "2");
    assert_eq!(fired_once(&mut engine), Some(TriggerEvent::Add));
    let review = engine.access_reviews().into_iter().next().unwrap();
    assert_eq!(watched(&mut engine).1, "Starting");
    engine.access_reviewed(&review, false);
    assert_eq!(
        watched(&mut engine),
        ("False".to_owned(), "Forbidden".to_owned())
    );
    engine.access_reviewed(&review, true);
    // What the narrow watch still shows comes too late.
    see(&mut engine, &narrow, "a", "3");
    assert_eq!(fired_once(&mut engine), None);
    let wide = starts(&mut engine).remove(0);
    assert_eq!(wide.0.scope, Scope::All);
    see(&mut engine, &wide, "a", "3");
    see_in(&mut engine, &wide, "b", "other", "1");
    assert_eq!(fired(&mut engine).len(), 2);
    // The permission is withdrawn: what it covered stays as it is until it is given again.
    engine.access_reviewed(&review, false);
    let narrow = starts(&mut engine).remove(0);
    engine.objects_listed(&narrow.0, narrow.1, &Uids::from(["a".into()]));
    engine.access_reviewed(&review, true);
    let wide = starts(&mut engine).remove(0);
    see_in(&mut engine, &wide, "b", "other", "1");
    engine.objects_listed(&wide.0, wide.1, &Uids::from(["a".into(), "b".into()]));
    assert_eq!(fired(&mut engine), []);
}

#[test]
fn a_new_subscriber_waits_for_a_list_of_its_own() {
    let triggers = json!([config_maps(&json!({}))]);
    let mut engine = engine(&triggers);
    let first = starts(&mut engine).remove(0);
    let mut second = workflow(1, &triggers);
    second.metadata.uid = Some("second".to_owned());
    second.metadata.name = Some("x".to_owned());
    engine.workflow_applied(second);
    see(&mut engine, &first, "a", "1");
    assert_eq!(fired(&mut engine).len(), 1);
    let relisted = starts(&mut engine).remove(0);
    see(&mut engine, &relisted, "a", "1");
    assert_eq!(fired(&mut engine).len(), 1);
}

#[test]
fn with_its_kind_an_object_is_gone() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let (key, epoch) = starts(&mut engine).remove(0);
    see(&mut engine, &(key.clone(), epoch), "a", "1");
    fired(&mut engine);
    engine.resource_not_served(&key, epoch);
    assert_eq!(engine.take_watch_commands(), [WatchCommand::Stop { key }]);
    engine.kind_discovered(&kind(), DiscoveryResult::NotServed { suggestion: None });
    assert_eq!(watched(&mut engine).1, "KindNotFound");
    assert_eq!(fired_once(&mut engine), None);
    engine.kind_removed(&kind());
    assert_eq!(fired_once(&mut engine), Some(TriggerEvent::Delete));
}

#[test]
fn a_watch_in_trouble_is_told_of_and_its_recovery_too() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let (key, epoch) = starts(&mut engine).remove(0);
    engine.watch_error(&key, epoch, Some(WatchError::Forbidden));
    assert_eq!(
        watched(&mut engine),
        ("False".to_owned(), "OperatorForbidden".to_owned())
    );
    engine.objects_listed(&key, epoch, &Uids::new());
    assert_eq!(
        watched(&mut engine),
        ("True".to_owned(), "Watching".to_owned())
    );
}

#[test]
fn a_restart_says_nothing_new_while_the_watches_start() {
    let triggers = json!([config_maps(&json!({}))]);
    let mut before = engine(&triggers);
    let (key, epoch) = starts(&mut before).remove(0);
    before.objects_listed(&key, epoch, &Uids::new());
    let mut workflow = workflow(1, &triggers);
    workflow.status = Some(status(&mut before));
    let mut after = Engine::default();
    after.workflow_applied(workflow);
    assert_eq!(after.report("workflow", NOW).unwrap().patch, None);
}

#[test]
fn a_full_ledger_says_so_and_admits_again_once_there_is_room() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let watch = starts(&mut engine).remove(0);
    for index in 0..ENTRIES_MAX + 10 {
        see(&mut engine, &watch, &format!("object-{index}"), "1");
        fired(&mut engine);
    }
    engine.objects_listed(
        &watch.0,
        watch.1,
        &(0..ENTRIES_MAX + 10)
            .map(|i| format!("object-{i}").into())
            .collect(),
    );
    let (_, reason, message) = condition(&mut engine, "TriggersWatched");
    assert_eq!(reason, "LedgerFull", "{message}");
    let status = status(&mut engine);
    assert!(status.ledger.len() <= ENTRIES_MAX && status.ledger.len() > ENTRIES_MAX * 4 / 5);
    for index in 0..ENTRIES_MAX / 2 {
        let name = format!("object-{index}");
        engine.object_deleted(
            &watch.0,
            watch.1,
            &name.as_str().into(),
            &object(&name, "own"),
        );
        fired(&mut engine);
    }
    let watch = starts(&mut engine).remove(0);
    for index in ENTRIES_MAX / 2..ENTRIES_MAX + 10 {
        see(&mut engine, &watch, &format!("object-{index}"), "1");
    }
    engine.objects_listed(
        &watch.0,
        watch.1,
        &(ENTRIES_MAX / 2..ENTRIES_MAX + 10)
            .map(|i| format!("object-{i}").into())
            .collect(),
    );
    let late = fired(&mut engine);
    assert!(!late.is_empty());
    assert!(late.iter().all(|(event, _)| *event == TriggerEvent::Add));
    assert_eq!(watched(&mut engine).1, "Watching");
}

fn ended(number: i64, phase: Phase) -> Run {
    let workflow = Owner {
        namespace: "own".to_owned(),
        uid: "workflow".into(),
    };
    let state = RunState {
        uid: format!("uid-{number}").as_str().into(),
        phase,
        ended: NOW,
        sequence: Some(number),
        held: false,
        deleting: false,
    };
    Run {
        workflow,
        name: format!("w-{number}"),
        state,
        link: None,
    }
}

#[test]
fn workplans_go_once_the_status_has_told() {
    let mut told = workflow(1, &json!([config_maps(&json!({}))]));
    told.spec.history = Some(History {
        succeeded: Some(1),
        ..History::default()
    });
    told.status = Some(WorkflowStatus {
        last_sequence: Some(2),
        ..WorkflowStatus::default()
    });
    let mut engine = Engine::default();
    for number in 1..=3 {
        engine.workplan_applied(ended(number, Phase::Completed));
    }
    engine.workflow_applied(told);
    let report = engine.report("workflow", NOW).unwrap();
    // The third is not in the ledger yet, so that it may not be deleted; it counts all the same.
    let patch = report.patch.unwrap();
    assert_eq!(patch["succeeded"], 3);
    assert_eq!(patch["history"]["deleting"], json!(["w-1", "w-2"]));
    engine.written("workflow", false);
    assert_eq!(engine.take_deletions(), []);
    engine.report("workflow", NOW).unwrap();
    engine.written("workflow", true);
    let deleted: Vec<String> = engine
        .take_deletions()
        .into_iter()
        .map(|deletion| format!("{}/{} {}", deletion.namespace, deletion.name, deletion.uid))
        .collect();
    assert_eq!(deleted, ["own/w-1 uid-1", "own/w-2 uid-2"]);
    engine.take_untold();
    for number in 1..=2 {
        engine.workplan_deleted(&ended(number, Phase::Completed));
    }
    assert!(!engine.take_untold().is_empty());
    let patch = engine.report("workflow", NOW).unwrap().patch.unwrap();
    assert_eq!(patch, json!({"history": {"deleting": []}}));
}

#[test]
fn an_expired_workplan_is_noticed_by_time_alone() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let mut run = ended(1, Phase::Failed);
    run.state.sequence = Some(0);
    engine.workplan_applied(run);
    status(&mut engine);
    engine.take_untold();
    let week = SignedDuration::from_hours(7 * 24);
    engine.expire(NOW + week - SignedDuration::from_secs(1));
    assert!(engine.take_untold().is_empty());
    engine.expire(NOW + week);
    assert_eq!(engine.take_untold().len(), 1);
}

#[test]
fn a_workflows_own_status_changes_nothing() {
    let triggers = json!([config_maps(&json!({}))]);
    let mut engine = engine(&triggers);
    starts(&mut engine);
    let written = Some(status(&mut engine));
    engine.take_untold();
    engine.take_requirements_changed();
    let mut again = workflow(1, &triggers);
    again.status = written;
    engine.workflow_applied(again);
    assert!(
        engine.take_untold().is_empty()
            && !engine.requirements_changed()
            && !engine.has_watch_commands()
    );
    engine.workflow_applied(workflow(2, &triggers));
    assert!(engine.requirements_changed());
}

#[test]
fn a_status_write_says_only_what_changed() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let watch = starts(&mut engine).remove(0);
    for name in ["a", "b"] {
        see(&mut engine, &watch, name, "1");
    }
    fired(&mut engine);
    status(&mut engine);
    see(&mut engine, &watch, "b", "2");
    fired(&mut engine);
    for heard in [false, true] {
        let patch = engine.report("workflow", NOW).unwrap().patch.unwrap();
        let tokens = &patch["lastObservedResourceGeneration"];
        assert_eq!(*tokens, json!({"b": "h2"}), "until it is heard of");
        engine.written("workflow", heard);
    }
    assert_eq!(engine.report("workflow", NOW).unwrap().patch, None);
}

#[test]
fn events_that_wait_share_one_plan() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let watch = starts(&mut engine).remove(0);
    for index in 0..100 {
        see(&mut engine, &watch, &format!("object-{index}"), "1");
    }
    let waiting = engine.take_creations();
    assert_eq!(waiting.len(), 100);
    assert!(waiting.iter().all(|it| it.shares_plan(&waiting[0])));
}

#[test]
fn a_workflow_that_is_changed_fires_what_was_too_large() {
    let triggers = json!([config_maps(&json!({}))]);
    let mut engine = engine(&triggers);
    let watch = starts(&mut engine).remove(0);
    see(&mut engine, &watch, "object", "1");
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

#[test]
fn a_volume_that_is_not_shared_is_warned_of() {
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
