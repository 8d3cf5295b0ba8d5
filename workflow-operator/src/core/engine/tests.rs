use k8s_openapi::jiff::Timestamp;
use kubeci_api::{TriggerEvent, Workflow};
use serde_json::{Value, json};

use super::{Engine, Reference, Trouble, WatchOrder};
use crate::core::{
    fingerprint::Fingerprint,
    ledger::ENTRIES_MAX,
    object::{Kind, ObjectRef, Origin, Resource, Scope, Seen, Uids, WatchKey},
    standing::{KindState, Served},
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

fn served() -> KindState {
    let plural = "configmaps".to_owned();
    KindState::Served(vec![Served {
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
        engine.unresolved().into_iter().collect::<Vec<_>>(),
        [kind()]
    );
    engine.kind(&kind(), served());
    engine
}

/// The watches that are to start now.
fn starts(engine: &mut Engine) -> Vec<(WatchKey, u64)> {
    let start = |order| match order {
        WatchOrder::Start { key, run } => Some((key, run)),
        WatchOrder::Stop { .. } => None,
    };
    engine
        .take_watches()
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
    (key, run): &(WatchKey, u64),
    name: &str,
    namespace: &str,
    token: &str,
) {
    let seen = Seen {
        uid: name.into(),
        object: object(name, namespace),
        labels: std::collections::BTreeMap::new(),
        fingerprint: Fingerprint::named(token),
        ending: false,
        origin: Origin::Other,
    };
    engine.seen(key, *run, &seen);
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
            let trigger = creation.workplan.spec.trigger.unwrap();
            fired.push((trigger.event, trigger.name));
            let name = creation.workplan.metadata.name.unwrap();
            engine.created(&creation.workflow, &creation.object, name, NOW);
        }
    }
}

fn fired_once(engine: &mut Engine) -> Option<TriggerEvent> {
    let fired = fired(engine);
    assert!(fired.len() < 2, "{fired:?}");
    fired.first().map(|(event, _)| *event)
}

fn condition(engine: &mut Engine, type_: &str) -> (String, String, String) {
    let conditions = engine.report("workflow", NOW).unwrap().status.conditions;
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
    let question = engine.questions().into_iter().next().unwrap();
    assert_eq!(watched(&mut engine).1, "Starting");
    engine.permit(&question, false);
    assert_eq!(
        watched(&mut engine),
        ("False".to_owned(), "Forbidden".to_owned())
    );
    engine.permit(&question, true);
    // What the narrow watch still shows comes too late.
    see(&mut engine, &narrow, "a", "3");
    assert_eq!(fired_once(&mut engine), None);
    let wide = starts(&mut engine).remove(0);
    assert_eq!(wide.0.scope, Scope::All);
    see(&mut engine, &wide, "a", "3");
    see_in(&mut engine, &wide, "b", "other", "1");
    assert_eq!(fired(&mut engine).len(), 2);
    // The permission is withdrawn: what it covered stays as it is until it is given again.
    engine.permit(&question, false);
    let narrow = starts(&mut engine).remove(0);
    engine.listed(&narrow.0, narrow.1, &Uids::from(["a".into()]));
    engine.permit(&question, true);
    let wide = starts(&mut engine).remove(0);
    see_in(&mut engine, &wide, "b", "other", "1");
    engine.listed(&wide.0, wide.1, &Uids::from(["a".into(), "b".into()]));
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
    let (key, run) = starts(&mut engine).remove(0);
    see(&mut engine, &(key.clone(), run), "a", "1");
    fired(&mut engine);
    engine.not_served(&key, run);
    assert_eq!(engine.take_watches(), [WatchOrder::Stop { key }]);
    engine.kind(&kind(), KindState::Missing { meant: None });
    assert_eq!(watched(&mut engine).1, "KindNotFound");
    assert_eq!(fired_once(&mut engine), None);
    engine.kind_gone(&kind());
    assert_eq!(fired_once(&mut engine), Some(TriggerEvent::Delete));
}

#[test]
fn a_watch_in_trouble_is_told_of_and_its_recovery_too() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let (key, run) = starts(&mut engine).remove(0);
    engine.trouble(&key, run, Some(Trouble::Forbidden));
    assert_eq!(
        watched(&mut engine),
        ("False".to_owned(), "OperatorForbidden".to_owned())
    );
    engine.listed(&key, run, &Uids::new());
    assert_eq!(
        watched(&mut engine),
        ("True".to_owned(), "Watching".to_owned())
    );
}

#[test]
fn a_restart_says_nothing_new_while_the_watches_start() {
    let triggers = json!([config_maps(&json!({}))]);
    let mut before = engine(&triggers);
    let (key, run) = starts(&mut before).remove(0);
    before.listed(&key, run, &Uids::new());
    let mut workflow = workflow(1, &triggers);
    workflow.status = Some(before.report("workflow", NOW).unwrap().status);
    let mut after = Engine::default();
    after.workflow_applied(workflow.clone());
    assert_eq!(
        after.report("workflow", NOW).unwrap().status,
        workflow.status.unwrap()
    );
}

#[test]
fn a_full_ledger_says_so_and_admits_again_once_there_is_room() {
    let mut engine = engine(&json!([config_maps(&json!({}))]));
    let watch = starts(&mut engine).remove(0);
    for index in 0..ENTRIES_MAX + 10 {
        see(&mut engine, &watch, &format!("object-{index}"), "1");
        fired(&mut engine);
    }
    engine.listed(
        &watch.0,
        watch.1,
        &(0..ENTRIES_MAX + 10)
            .map(|i| format!("object-{i}").into())
            .collect(),
    );
    let (_, reason, message) = condition(&mut engine, "TriggersWatched");
    assert_eq!(reason, "LedgerFull", "{message}");
    let status = engine.report("workflow", NOW).unwrap().status;
    assert!(status.ledger.len() <= ENTRIES_MAX && status.ledger.len() > ENTRIES_MAX * 4 / 5);
    for index in 0..ENTRIES_MAX / 2 {
        let name = format!("object-{index}");
        engine.gone(
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
    engine.listed(
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
