//! Writes what is to be told of a Workflow into its status: only what is new, and Events where something
//! is wrong.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::DynamicObject,
    runtime::events::{Event, EventType, Recorder},
};
use kubeci_api::Workflow;
use serde_json::{Map, Value, json};

use super::said::{namespace_ends, said};
use crate::core::{
    conditions::Problem,
    engine::{Reference, Report},
};

/// How telling went.
pub enum Told {
    /// This is in the status now.
    This(Value),
    /// Perhaps not: what is in the status must be read before it is told again.
    Unclear,
    /// The Workflow exists no more.
    Gone,
}

#[derive(Clone)]
pub struct Teller {
    pub client: Client,
    pub recorder: Recorder,
}

impl Teller {
    /// Tells a report, given what the status says already if that is known.
    pub async fn tell(&self, report: Report, known: Option<Value>) -> Told {
        if let Some(warning) = &report.warning {
            self.warn(&report.reference, warning).await;
        }
        match self.write(&report, known).await {
            Ok(told) => told,
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Told::Gone,
            Err(error) => {
                let Reference {
                    namespace, name, ..
                } = &report.reference;
                tracing::warn!(
                    namespace,
                    workflow = name,
                    "status not written, tried again: {}",
                    said(&error)
                );
                Told::Unclear
            }
        }
    }

    async fn write(&self, report: &Report, known: Option<Value>) -> kube::Result<Told> {
        let Reference {
            uid,
            namespace,
            name,
            ..
        } = &report.reference;
        let resource = kube::core::ApiResource::erase::<Workflow>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        let known = match known {
            Some(known) => known,
            None => api.get(name).await?.data["status"].take(),
        };
        let status = status(report, &known).map_err(kube::Error::SerdeError)?;
        let Some(patch) = difference(&known, &status) else {
            return Ok(Told::This(status));
        };
        // With the uid the API server refuses the patch if another Workflow has the name by now.
        let patch = json!({"metadata": {"uid": &**uid}, "status": patch});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(Told::This(status))
    }

    async fn warn(&self, workflow: &Reference, warning: &Problem) {
        let regarding = ObjectReference {
            api_version: Some(Workflow::api_version(&()).into_owned()),
            kind: Some(Workflow::kind(&()).into_owned()),
            namespace: Some(workflow.namespace.clone()),
            name: Some(workflow.name.clone()),
            uid: Some(workflow.uid.to_string()),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: EventType::Warning,
            reason: warning.reason.clone(),
            note: Some(cut(&warning.message)),
            action: "Watch".to_owned(),
            secondary: None,
        };
        match self.recorder.publish(&event, &regarding).await {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if namespace_ends(&status) => {}
            Err(error) => tracing::warn!("an Event was not recorded: {}", said(&error)),
        }
    }
}

/// The most bytes of an Event's note.
const NOTE_MAX: usize = 1000;

fn cut(message: &str) -> String {
    match message.char_indices().find(|(at, _)| *at > NOTE_MAX) {
        Some((at, _)) => format!("{} ...", &message[..at]),
        None => message.to_owned(),
    }
}

fn status(report: &Report, known: &Value) -> serde_json::Result<Value> {
    let status = serde_json::to_value(&report.status)?;
    if report.whole {
        return Ok(status);
    }
    let mut whole = known.clone();
    for field in ["conditions", "observedGeneration"] {
        whole[field] = status[field].clone();
    }
    Ok(whole)
}

/// The JSON merge patch that makes `new` of `old`; nothing if they are the same.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    let empty = Map::new();
    let (old, new) = match (old, new) {
        (old, new) if old == new => return None,
        (Value::Object(old), Value::Object(new)) => (old, new),
        (_, Value::Object(new)) => (&empty, new),
        (_, new) => return Some(new.clone()),
    };
    let nothing = Value::Null;
    let changed = new.iter().filter_map(|(field, value)| {
        let before = old.get(field).unwrap_or(&nothing);
        Some((field.clone(), difference(before, value)?))
    });
    let removed = old
        .iter()
        .filter(|(field, value)| !value.is_null() && !new.contains_key(*field));
    let removed = removed.map(|(field, _)| (field.clone(), Value::Null));
    Some(changed.chain(removed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(json!({"a": 1}), json!({"a": 1}), None)]
    #[case(json!({"a": 1}), json!({"a": 2}), Some(json!({"a": 2})))]
    #[case(json!({"a": {"b": 1, "c": 2}}), json!({"a": {"c": 2}}), Some(json!({"a": {"b": null}})))]
    #[case(json!(null), json!({"a": {"b": 1}}), Some(json!({"a": {"b": 1}})))]
    #[case(json!({"a": [1, 2]}), json!({"a": [1]}), Some(json!({"a": [1]})))]
    #[case(json!({"a": {"b": 1}}), json!({}), Some(json!({"a": null})))]
    #[case(json!({"a": null}), json!({}), Some(json!({})))]
    fn only_what_is_new_is_told(
        #[case] old: Value,
        #[case] new: Value,
        #[case] patch: Option<Value>,
    ) {
        assert_eq!(difference(&old, &new), patch);
    }

    #[test]
    fn a_note_is_cut_between_characters() {
        assert!(cut(&"ä".repeat(2000)).len() < 1024);
    }
}
