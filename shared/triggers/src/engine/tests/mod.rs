//! Scenarios with one or two Workflows that watch `ConfigMap`s.

mod cap;
mod creations;
mod history;
mod ledger;
mod status;
mod watches;
mod workflows;

use k8s_openapi::jiff::Timestamp;
use kubeci_api::{TriggerEvent, Workflow, WorkflowStatus};
use serde_json::{Value, json};

use super::{Engine, WatchCommand};
use crate::{
    discovery::{DiscoveryResult, ServedResource},
    fingerprint::Fingerprint,
    merge_patch,
    object::{ObjectRef, ObservedObject},
    origin::Origin,
    resource::{Kind, Resource},
    watch_key::WatchKey,
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

/// The watches that the engine starts.
fn started_watches(engine: &mut Engine) -> Vec<(WatchKey, u64)> {
    let start = |command| match command {
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

fn observe_in(
    engine: &mut Engine,
    (key, epoch): &(WatchKey, u64),
    name: &str,
    namespace: &str,
    hash: &str,
) {
    let observed = ObservedObject {
        uid: name.into(),
        object: object(name, namespace),
        labels: std::collections::BTreeMap::new(),
        fingerprint: Fingerprint::named(hash),
        deleting: false,
        origin: Origin::Other,
    };
    engine.object_applied(key, *epoch, &observed);
}

fn observe(engine: &mut Engine, watch: &(WatchKey, u64), name: &str, hash: &str) {
    observe_in(engine, watch, name, "own", hash);
}

/// The events that fire, if all creations succeed.
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

fn fired_event(engine: &mut Engine) -> Option<TriggerEvent> {
    let fired = fired(engine);
    assert!(fired.len() < 2, "{fired:?}");
    fired.first().map(|(event, _)| *event)
}

/// The whole status.
fn status(engine: &mut Engine) -> WorkflowStatus {
    engine.forget_stored_status("workflow");
    let patch = engine
        .status_update("workflow", NOW)
        .unwrap()
        .patch
        .unwrap();
    engine.status_written("workflow", true);
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
